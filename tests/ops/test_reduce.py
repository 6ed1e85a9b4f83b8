"""Reductions, sorting and counting against PyTorch."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from tests.referee import DTYPES, FLOATS, LAYOUTS, array, compare, draw_array, laid_out, ours

SHAPES = [(3, 4), (), (0, 3), (3, 0), (2, 1, 3), (5,)]
SEVERAL = ["sum", "mean", "var", "std", "amax", "amin", "any", "all", "logsumexp", "norm"]
ONE = ["prod", "max", "min", "argmax", "argmin"]
ALONG = ["softmax", "log_softmax", "cumsum"]


def lenient(name, dtype):
    """Where minitorch computes what PyTorch refuses, or PyTorch keeps an old oddity."""
    return (name in ("argmax", "argmin", "topk") and dtype == "bool") or (
        name == "norm" and dtype not in FLOATS
    )


def finite_gradient(name, special):
    """PyTorch spreads nan over all places where amax, prod and norm meet one; minitorch less."""
    return not (special and name in ("amax", "amin", "prod", "norm", "var", "std"))


def dims_of(ndim, several):
    yield from range(-ndim - 1, ndim + 1)
    if several and ndim > 1:
        yield from [(0,), (0, 1), (-1, 0), (0, 0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_reductions(name, dtype):
    if lenient(name, dtype):
        return
    rng = np.random.default_rng(0)
    for shape, special in itertools.product(SHAPES, (False, True)):
        a = draw_array(rng, shape, dtype, special)
        grad = finite_gradient(name, special)
        tolerance = {"float16": 2e-2, "bfloat16": 1.6e-1}.get(dtype)
        if name != "logsumexp":
            compare(lambda m, x: getattr(m, name)(x), a, grad=grad, tolerance=tolerance)
            compare(lambda m, x: getattr(x, name)(), a, grad=grad, tolerance=tolerance)
        for dim, keep in itertools.product(dims_of(len(shape), name in SEVERAL), (False, True)):
            compare(
                lambda m, x, dim=dim, keep=keep: getattr(m, name)(x, dim=dim, keepdim=keep),
                a,
                grad=grad,
                tolerance=tolerance,
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALONG)
def test_along_a_dimension(name, dtype):
    rng = np.random.default_rng(1)
    for shape, special in itertools.product(SHAPES, (False, True)):
        if "softmax" in name and dtype not in FLOATS and 0 in shape:
            continue
        a = draw_array(rng, shape, dtype, special)
        for dim in dims_of(len(shape), False):
            compare(lambda m, x, dim=dim: getattr(m, name)(x, dim=dim), a)
            compare(lambda m, x, dim=dim: getattr(x, name)(dim), a)


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, float("inf"), -float("inf"), "fro", -1, 0])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 1)])
def test_norms(p, dim):
    a = np.random.default_rng(2).normal(size=(3, 4))
    compare(lambda m, x: m.norm(x, p, dim) if dim is not None else m.norm(x, p), a, grad=p != 0)


def test_the_gradient_of_a_norm_at_zero():
    compare(lambda m, x: x.norm(), np.zeros(3))
    compare(lambda m, x: x.norm(dim=0), np.zeros((3, 2)))


@pytest.mark.parametrize("correction", [0, 1, 2, 5])
def test_variance(correction):
    a = np.random.default_rng(3).normal(size=(3, 4))
    grad = correction < 4  # with no freedom left PyTorch gives inf, but a finite gradient
    compare(lambda m, x: m.var(x, dim=1, correction=correction), a, grad=grad)
    compare(lambda m, x: m.std(x, dim=(0, 1), correction=correction, keepdim=True), a)
    compare(lambda m, x: (m.var(x, 1, bool(correction)), m.std(x, unbiased=False)), a)


def test_dtype_argument():
    rng = np.random.default_rng(4)
    for dtype, to in itertools.product(DTYPES, ("float64", "float32", "int32", "int64")):
        a = draw_array(rng, (3, 4), dtype)

        def call(m, x, to=to):
            to = getattr(m, to)
            return m.sum(x, dtype=to), x.sum(1, dtype=to), m.cumsum(x, 0, dtype=to)

        compare(call, a, grad=False)
        if "float" in to:
            compare(lambda m, x, to=to: m.mean(x, 0, dtype=getattr(m, to)), a, tolerance=4e-3)
            compare(lambda m, x, to=to: m.softmax(x, 0, dtype=getattr(m, to)), a, tolerance=4e-3)
            compare(
                lambda m, x, to=to: m.log_softmax(x, 0, dtype=getattr(m, to)), a, tolerance=4e-3
            )


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min"])
def test_ties_share_the_gradient(name):
    a = np.array([[1.0, 3.0, 3.0], [3.0, 2.0, 2.0]])
    compare(lambda m, x: getattr(m, name)(x), a)
    if name.startswith("a"):
        compare(lambda m, x: getattr(m, name)(x, 1), a)
        compare(lambda m, x: getattr(m, name)(x, (0, 1), keepdim=True), a)
    else:
        compare(lambda m, x: getattr(m, name)(x, 1), a)
        compare(lambda m, x, y: getattr(m, name)(x, y), a, a[:1].copy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_sorting(dtype):
    rng = np.random.default_rng(5)
    for shape, special in itertools.product(SHAPES, (False, True)):
        a = draw_array(rng, shape, dtype, special)
        for dim, down in itertools.product(dims_of(len(shape), False), (False, True)):
            compare(lambda m, x, d=dim, r=down: m.sort(x, dim=d, descending=r, stable=True), a)
            compare(lambda m, x, d=dim, r=down: x.argsort(dim=d, descending=r, stable=True), a)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_topk(dtype):
    rng = np.random.default_rng(6)
    for shape, k, largest in itertools.product(SHAPES, (0, 1, 2, 9), (True, False)):
        a = draw_array(rng, shape, dtype)
        for dim in dims_of(len(shape), False):
            compare(lambda m, x, k=k, d=dim, g=largest: m.topk(x, k, d, g).values, a, grad=False)
    distinct = np.random.default_rng(7).permutation(12).reshape(3, 4).astype(dtype)
    compare(lambda m, x: x.topk(2), distinct)
    compare(lambda m, x: x.topk(3, dim=0, largest=False).indices, distinct)


@pytest.mark.parametrize("shape", [(4096,), (5003,), (3, 2, 4099), (0, 5000)])
@pytest.mark.parametrize("k", [0, 1, 7, 64])
@pytest.mark.parametrize("kind", ["distinct", "ties", "nan"])
def test_topk_of_long_rows_is_the_head_of_argsort(shape, k, kind):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if kind == "ties":
        values = values.round(1)
    elif kind == "nan":
        values.ravel()[::97] = np.nan
    x = minitorch.tensor(values)
    found = x.topk(k)
    order = array(x.argsort(-1, descending=True))[..., :k]
    assert array(found.indices).tolist() == order.tolist()
    np.testing.assert_array_equal(array(found.values), np.take_along_axis(values, order, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique_and_nonzero(dtype):
    rng = np.random.default_rng(8)
    for shape in SHAPES:
        a = draw_array(rng, shape, dtype)
        compare(lambda m, x: m.unique(x), a, grad=False)
        compare(lambda m, x: m.unique(x, return_inverse=True), a, grad=False)
        compare(lambda m, x: x.unique(return_counts=True), a, grad=False)
        compare(lambda m, x: m.unique(x, True, True, True), a, grad=False)
        compare(lambda m, x: (m.nonzero(x), x.nonzero()), a)
        compare(lambda m, x: m.nonzero(x, as_tuple=True), a)
    compare(lambda m, x: m.unique(x), draw_array(rng, (9,), dtype, True), grad=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_bincount(dtype):
    a = np.array([1, 4, 1, 0]).astype(dtype)
    compare(lambda m, x: (m.bincount(x), x.bincount(minlength=9), m.bincount(x[:0])), a)
    for weights in DTYPES:
        w = draw_array(np.random.default_rng(9), (4,), weights)
        compare(lambda m, x, w: m.bincount(x, w), a, w, grad=False)
    compare(lambda m, x: m.bincount(x - 2), a.astype("int64"))
    compare(lambda m, x: m.bincount(x.reshape(2, 2)), a)
    compare(lambda m, x, w: m.bincount(x, w), a, np.ones(3), grad=False)


@given(
    st.sampled_from([n for n in SEVERAL + ONE + ALONG if n != "norm"]),
    st.sampled_from(LAYOUTS),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 10**6),
)
@settings(max_examples=200, derandomize=True)
def test_drawn(name, layout, shape, dim, keepdim, dtype, seed):
    a, view = laid_out(draw_array(np.random.default_rng(seed), shape, dtype), layout)
    options = {} if name in ALONG else {"keepdim": keepdim}
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    compare(
        lambda m, x: getattr(m, name)(x, dim=dim % x.ndim, **options),
        a,
        views=[view],
        tolerance=tolerance,
    )


def test_prod_has_every_derivative_at_zeros():
    x = ours(np.array([2.0, 0.0, 3.0, 0.0]), True)
    (g,) = minitorch.autograd.grad(x.prod(), x, create_graph=True)
    assert array(g).tolist() == [0.0, 0.0, 0.0, 0.0]
    (h,) = minitorch.autograd.grad(g[1], x)
    assert array(h).tolist() == [0.0, 0.0, 0.0, 6.0]


def test_a_large_sum_is_exact_to_rounding():
    n = 2**20
    x = minitorch.full((n,), 0.1)
    assert abs(x.sum().item() - n * float(np.float32(0.1))) < 0.1


@pytest.mark.parametrize("keepdim", [False, True])
def test_a_sum_over_many_rows_keeps_its_digits(keepdim):
    x = minitorch.full((2**18 + 5, 2), 0.1)
    exact = len(x) * float(np.float32(0.1))
    total = x.sum(0, keepdim=keepdim)
    assert total.shape == ((1, 2) if keepdim else (2,))
    np.testing.assert_allclose(array(total), np.full(total.shape, exact), rtol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_running_sums_do_not_lose_their_tail(dtype):
    ones = minitorch.ones(3000, dtype=getattr(minitorch, dtype))
    assert ones.cumsum(0)[-1].item() == 3000
    tenths = minitorch.full((2**17,), 0.1)
    exact = 2**17 * float(np.float32(0.1))
    assert abs(tenths.cumsum(0)[-1].item() - exact) < 1e-3


ERRORS = {
    "sum: dim: expected to be in range of [-2, 1], got 2": lambda x: x.sum(2),
    "sum: dim: expected an integer, got 1.5": lambda x: x.sum(1.5),
    "mean: dim: a dimension appears twice in (0, 0)": lambda x: x.mean((0, 0)),
    "mean: expected a floating-point dtype, got minitorch.int64": lambda x: x.long().mean(),
    "var: expected a floating-point dtype, got minitorch.int64": lambda x: x.long().var(),
    "max: dim: expected to be in range of [-2, 1], got 2": lambda x: x.max(2),
    "min: cannot reduce shape (0, 3)": lambda x: x[:0].min(),
    "sort: dim: expected to be in range": lambda x: x.sort(2),
    "amax: cannot reduce shape (2, 0)": lambda x: x[:, :0].amax(1),
    "argmax: cannot reduce shape (0, 3)": lambda x: x[:0].argmax(),
    "argmax: dim: expected to be in range of [-1, 0], got 1": lambda x: x[0, 0].argmax(1),
    "softmax: expected a floating-point dtype": lambda x: x.long().softmax(0),
    "topk: k: expected 0 to 3 (length of dim -1), got 4": lambda x: x.topk(4),
    "norm: p: expected a number, 'fro' or 'nuc', got 'sum'": lambda x: x.norm("sum"),
    "bincount: expected a 1-D tensor of non-negative integers": lambda x: x.bincount(),
    "bincount: weights has shape (2,), expected (3,)": lambda x: x[0].long().bincount(x[0, :2]),
    "var: give unbiased or correction, not both": lambda x: x.var(unbiased=True, correction=1),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((RuntimeError, TypeError, IndexError)) as error:
        ERRORS[message](ours(np.ones((2, 3), "float32")))
    assert message in str(error.value)


def test_halves_are_added_up_in_float32():
    x = np.full((5000, 2), 100.0, np.float16)
    compare(lambda m, x: x.mean(), x, grad=False)
    compare(lambda m, x: (x.mean(0), (x / 100).sum(0), (x[:1000] / 25).sum(0)), x, grad=False)
    with np.errstate(over="ignore"):
        compare(lambda m, x: x.sum(), x, grad=False)


# ---------------------------------------------------------------------- digits
FAR = [(1.7e9, 1e4, (500,)), (1e5, 1.0, (40, 30)), (1e5, 1.0, (3, 40, 6)), (0.0, 1.0, (5, 7))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("mean", "scale", "shape"), FAR)
def test_variances_of_data_far_from_zero(mean, scale, shape, dtype):
    a = (mean + scale * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    for dim in (None, *range(len(shape))):
        exact = np.var(a.astype(np.longdouble), axis=dim, ddof=1).astype(np.float64)
        x = ours(a)
        tolerance = 3e-7 if dtype == "float32" else 1e-9
        for values in (x, x.clone().transpose(0, -1).clone().transpose(0, -1)):
            np.testing.assert_allclose(array(values.var(dim)), exact, rtol=tolerance)
            np.testing.assert_allclose(array(values.std(dim)), np.sqrt(exact), rtol=tolerance)
        x.requires_grad_().std(dim).sum().backward()
        away = a - np.mean(a.astype(np.longdouble), axis=dim, keepdims=True)
        n = a.size if dim is None else a.shape[dim]
        slope = away / np.sqrt(np.expand_dims(exact, dim) if dim is not None else exact) / (n - 1)
        np.testing.assert_allclose(
            array(x.grad), slope.astype(np.float64), atol=1e-6 * np.abs(slope).max()
        )


@pytest.mark.parametrize("values", [[1e200, 1e200], [1e200] * 100, [1e200, -1e200, 0.0]])
def test_deviations_of_numbers_whose_squares_no_double_holds(values):
    for shape in ((-1,), (-1, 1)):
        compare(lambda m, x, s=shape: (x.reshape(s).var(0), x.std()), np.array(values), grad=False)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 3e20), ("float16", 3e4)])
def test_deviations_whose_squares_overflow(dtype, size):
    a = np.array([size, -size], dtype)
    compare(lambda m, x: x.std(), a, grad=dtype == "float32")
    if dtype == "float16":
        compare(lambda m, x: x.norm(), a)


@pytest.mark.parametrize("dim", [0, 1, 2, (0, 1), (0, 1, 2), (1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_long_sums_along_any_dimension(dim, order):
    shape = [(40000, 2, 3), (2, 40000, 3), (2, 3, 40000)]
    for lengths in shape:
        a = np.random.default_rng(0).random(lengths).astype(np.float32)
        x, b = ours(a).permute(order), a.transpose(order).astype(np.float64)
        for name in ("sum", "mean"):
            exact = getattr(b, name)(axis=dim)
            np.testing.assert_allclose(array(getattr(x, name)(dim)), exact, rtol=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.1, -1, -0.5, 0, 1, 1.5, 2, 3, float("inf")])
def test_slopes_of_norms_at_zero(p):
    for a in (np.zeros(3), np.array([0.0, 0.0, 2.0]), np.array([[0.0, 3.0], [1.0, -2.0]])):
        compare(lambda m, x: m.norm(x, p), a)
        compare(lambda m, x: m.norm(x, p, -1, keepdim=True), a)


@pytest.mark.parametrize("name", ["sum", "mean", "softmax", "argmax", "cumsum", "unbind", "flip"])
@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8, minitorch.tensor])
def test_a_dimension_may_be_any_integer(name, integer):
    x = minitorch.ones(2, 3)
    mine, other = getattr(x, name)(integer(1)), getattr(x, name)(1)
    assert [t.tolist() for t in mine] == [t.tolist() for t in other]


def test_no_dimension_is_none_or_all():
    a = np.array([[0, 1, 2], [0, 0, 3]])
    for name in ("any", "all", "sum", "amax"):
        compare(lambda m, x, name=name: getattr(x, name)(()), a)
    compare(lambda m, x: x.reshape(1, 2, 3, 1).squeeze(()), a)
    compare(lambda m, x: x.reshape(1, 2, 3, 1).squeeze((0, -1)), a)
    compare(lambda m, x: m.cat([m.tensor([]), x.flatten()]), a)
    compare(lambda m, x: m.cat([m.tensor([], dtype=m.uint8), x.flatten() > 0]), a)

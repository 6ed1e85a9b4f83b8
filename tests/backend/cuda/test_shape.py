"""Views and reordered elements on the simulated GPU, against NumPy and the CPU's kernels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch
import minitorch.sim
from minitorch.backend.cuda.shape import view_strides
from minitorch.backend.sim.settings import config
from tests.backend.cuda.kernels import (
    CPU,
    DTYPES,
    LAYOUTS,
    SIM,
    assert_same,
    both,
    get,
    laid_out,
    put,
    sample,
)


@pytest.fixture(autouse=True)
def checked():
    with config(checked=True, processors=1):
        yield


# ---------------------------------------------------------------------- views
def strided(data, shape):
    """An array of this shape: transposed, stepped, broadcast, sliced."""
    x = np.arange(float(np.prod(shape))).reshape(shape)
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    for d in range(x.ndim):
        cut = data.draw(st.sampled_from([slice(None)] * 3 + [slice(None, None, 2), slice(1, None)]))
        x = x[(slice(None),) * d + (cut,)]
    stretch = [data.draw(st.sampled_from([n, n, 3])) if n == 1 else n for n in x.shape]
    return np.broadcast_to(x, stretch)


def factors(data, size):
    """A shape of this size."""
    shape = []
    while size > 1 and len(shape) < 6:
        n = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        shape.append(n)
        size //= n
    return (*shape, *([size] if size != 1 or data.draw(st.booleans()) else []))


@settings(max_examples=400)
@given(st.data())
def test_a_view_is_found_where_numpy_finds_one(data):
    x = strided(data, data.draw(hnp.array_shapes(min_dims=0, max_dims=5, max_side=4, min_side=0)))
    wanted = factors(data, x.size)
    if data.draw(st.booleans()) and x.ndim:  # dimensions joined as they stand, or one split
        d = data.draw(st.integers(0, x.ndim - 1))
        wanted = (*x.shape[:d], *factors(data, x.shape[d]), *x.shape[d + 1 :])
        if d and data.draw(st.booleans()):
            wanted = (*x.shape[: d - 1], x.shape[d - 1] * x.shape[d], *x.shape[d + 1 :])
    try:
        expected = np.reshape(x, wanted, copy=False)
    except ValueError:
        with pytest.raises(ValueError, match="Unable to avoid creating a copy"):
            view_strides(x.shape, x.strides, wanted, x.itemsize)
        return
    strides = view_strides(x.shape, x.strides, wanted, x.itemsize)
    given = np.lib.stride_tricks.as_strided(x, wanted, strides)
    np.testing.assert_array_equal(given, expected)


VIEWS = [
    ("view", {"shape": (4, 30)}),
    ("view", {"shape": (6, 2, 10, 1)}),
    ("expand", {"shape": (3, 6, 20)}),
    ("permute", {"dims": (1, 0)}),
    ("slice", {"index": (slice(1, 5, 2), None, ..., 3)}),
    ("slice", {"index": (2, 3)}),
    ("slice", {"index": (slice(4, 2), slice(None))}),
    ("slice", {"index": ()}),
    ("diagonal", {"dim1": 0, "dim2": 1}),
    ("diagonal", {"dim1": 1, "dim2": 0}),
]


@pytest.mark.parametrize(("op", "params"), VIEWS, ids=str)
def test_views_share_memory_and_launch_nothing(op, params):
    host, x = sample("float32"), put(sample("float32"))
    minitorch.sim.clear()
    view = SIM[op](x, **params)
    assert not minitorch.sim.launches()
    assert_same(view, CPU[op](host, **params))
    if op != "expand" and view.size:
        SIM["copy_"](view, 7.0)
        CPU["copy_"](CPU[op](host, **params), 7.0)
        assert_same(x, host)


def test_a_view_keeps_the_memory_and_the_device():
    x = minitorch.arange(12.0, device="sim:1")
    view = x.reshape(3, 4).t()[1:, 1].expand(2, 3)
    del x
    minitorch.zeros(64, device="sim:1")
    assert str(view.device) == "sim:1"
    assert view.tolist() == [[5, 6, 7]] * 2


def test_a_view_that_cannot_be():
    x = minitorch.zeros(2, 3, device="sim").t()
    with pytest.raises(RuntimeError, match="not compatible with the input's shape"):
        x.view(6)
    assert tuple(x.reshape(6).shape) == (6,)


# ---------------------------------------------------------------------- copies
ARRANGED = [
    ("flip", {"dims": (0,)}),
    ("flip", {"dims": (1,)}),
    ("flip", {"dims": (1, 0)}),
    ("roll", {"shifts": (2,), "dims": (0,)}),
    ("roll", {"shifts": (-3, 50), "dims": (1, 0)}),
    ("roll", {"shifts": (1, 1), "dims": (1, 1)}),
    ("tril", {"diagonal": 0}),
    ("tril", {"diagonal": -2}),
    ("triu", {"diagonal": 3}),
    ("triu", {"diagonal": -1}),
]


@pytest.mark.parametrize(("op", "params"), ARRANGED, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_elements_in_another_order(layout, op, params):
    for dtype in ("float32", "uint8"):
        both(op, laid_out(layout, sample(dtype)), **params)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    for op, params in ARRANGED:
        both(op, sample(dtype), **params)
    both("cat", sample(dtype), sample(dtype, (2, 20)), dim=0, lengths=(6, 2))
    both("slice_backward", sample(dtype, (3,)), shape=(6, 4), index=(slice(0, 6, 2), 1))
    both("diagonal_backward", sample(dtype, (3,)), shape=(3, 4), dim1=0, dim2=1)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 3, 1), (1,)])
def test_small_shapes(shape):
    x = sample("float32", shape)
    both("flip", x, dims=tuple(range(len(shape))))
    both("roll", x, shifts=(1,), dims=(0,))
    if len(shape) > 1:
        both("tril", x, diagonal=0)
        both("triu", x, diagonal=1)


def test_more_elements_than_threads():
    """The device of these tests holds 2048 threads: each one has several elements."""
    x = sample("float32", (70, 60))
    for op, params in ARRANGED:
        both(op, x, **params)
    both("slice_backward", x, shape=(141, 61), index=(slice(0, 140, 2), slice(1, None)))


def test_as_many_dimensions_as_a_kernel_takes():
    """Eight that do not merge."""
    x, axes = sample("float32", (2,) * 8), (6, 4, 2, 0, 7, 5, 3, 1)
    for op, diagonal in (("tril", 0), ("triu", 1)):
        given = SIM[op](put(x).transpose(axes), diagonal=diagonal)
        np.testing.assert_array_equal(given.get(), getattr(np, op)(x.transpose(axes), diagonal))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_cat(dim):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for shape, n in zip(shapes, (5, 0, 1)):
        shape[dim] = n
    parts = [sample("float32", tuple(s), seed=i) for i, s in enumerate(shapes)]
    minitorch.sim.clear()
    both("cat", *parts, dim=dim, lengths=(5, 0, 1))
    assert sum(launch.kind == "kernel" for launch in minitorch.sim.launches()) == 2
    swapped = [(p.swapaxes(0, 2), put(p).transpose(2, 1, 0)) for p in parts]
    both("cat", *swapped, dim=2 - dim, lengths=(5, 0, 1))


def test_results_go_to_out():
    x = sample("float32")
    for op, params in [
        *ARRANGED,
        ("diagonal_backward", {"shape": (6, 20, 7), "dim1": 2, "dim2": 1}),
    ]:
        g = x if op != "diagonal_backward" else sample("float32", (6, 7))
        out = put(np.zeros(CPU[op](g, **params).shape[::-1])).T
        assert SIM[op](put(g), **params, out=out) is out
        assert_same(out, CPU[op](g, **params).astype(np.float64))
    out = put(np.zeros((20, 8))).T
    assert SIM["cat"](put(x), put(x[:2]), dim=0, lengths=(6, 2), out=out) is out
    np.testing.assert_array_equal(get(out), np.concatenate([x, x[:2]]))


@pytest.mark.parametrize("dims", list(itertools.permutations(range(3), 2)))
def test_diagonal_backward(dims):
    for shape in ((4, 4, 4), (2, 5, 3), (3, 1, 0)):
        rest = next(n for d, n in enumerate(shape) if d not in dims)
        g = sample("float32", (rest, min(shape[d] for d in dims)))
        params = {"shape": shape, "dim1": dims[0], "dim2": dims[1]}
        both("diagonal_backward", g, **params)
        both("diagonal_backward", (g[:, ::-1], put(g)[:, ::-1]), **params)


@st.composite
def basic_index(draw, shape):
    """An index tuple of integers, slices, None and perhaps an Ellipsis for some dimensions."""
    ends, steps = st.none() | st.integers(-6, 6), st.sampled_from([None, 1, 2, 3, -1, -2])
    items = []
    for n in shape:
        one = st.builds(slice, ends, ends, steps)
        items.append(draw(one | st.integers(-n, n - 1) if n else one))
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(shape))] * 2)))
    cut = [...] if first < last or draw(st.booleans()) else []
    items[first:last] = cut
    for place in draw(st.lists(st.integers(0, len(items)), max_size=2)):
        items.insert(place, None)
    return tuple(items)


@settings(max_examples=200)
@given(st.data())
def test_slice_backward(data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=5, min_side=0))
    key = data.draw(basic_index(shape))
    whole = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    both("slice_backward", whole[key if ... in key else (*key, ...)], shape=shape, index=key)


def test_more_dimensions_than_a_kernel_takes():
    x = np.arange(2.0**10).reshape((2,) * 10)
    both("flip", x, dims=(0, 1))  # the others lie in a row
    with pytest.raises(RuntimeError, match="more than 8 dimensions"):
        SIM["flip"](put(x), dims=tuple(range(0, 10, 2)))

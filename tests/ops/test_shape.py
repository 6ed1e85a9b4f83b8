"""Shapes, orders, joins and parts against PyTorch; what is a view stays one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from tests.referee import DTYPES, LAYOUTS, array, compare, draw_array, laid_out, ours, theirs

SHAPES = [(3, 4), (), (0, 3), (2, 1, 3), (6,), (1,), (2, 3, 2, 2)]
RNG = np.random.default_rng(0)

# name: calls with one or more dimensions d, e and a number k
ONE_DIM = {
    "squeeze": lambda m, x, d: m.squeeze(x, d),
    "unsqueeze": lambda m, x, d: (m.unsqueeze(x, d), x.unsqueeze(d)),
    "flip": lambda m, x, d: (m.flip(x, (d,)), x.flip(d)),
    "unbind": lambda m, x, d: (m.unbind(x, d), x.unbind(d)),
    "size": lambda m, x, d: x.size(d),
    "cat": lambda m, x, d: m.cat([x, x], d),
    "stack": lambda m, x, d: m.stack([x, x, x], d),
}
TWO_DIMS = {
    "transpose": lambda m, x, d, e: (m.transpose(x, d, e), x.transpose(d, e)),
    "flatten": lambda m, x, d, e: (m.flatten(x, d, e), x.flatten(d, e)),
    "movedim": lambda m, x, d, e: (m.movedim(x, d, e), x.movedim(d, e)),
    "flip": lambda m, x, d, e: m.flip(x, (d, e)),
    "squeeze": lambda m, x, d, e: x.squeeze((d, e)),
    "diagonal": lambda m, x, d, e: m.diagonal(x, 0, d, e),
    "diagonal 1": lambda m, x, d, e: x.diagonal(1, d, e),
    "diagonal -9": lambda m, x, d, e: m.diagonal(x, -9, dim1=d, dim2=e),
}
WITH_NUMBER = {
    "chunk": lambda m, x, k, d: (m.chunk(x, k, d), x.chunk(k, d)),
    "split": lambda m, x, k, d: (m.split(x, k, d), x.split(k, d)),
    "repeat_interleave": lambda m, x, k, d: m.repeat_interleave(x, k, d),
    "unflatten": lambda m, x, k, d: m.unflatten(x, d, (k, -1)),
    "narrow": lambda m, x, k, d: (m.narrow(x, d, k, 1), x.narrow(d, 0, k)),
}


def arrays(dtype="float64"):
    return [draw_array(RNG, shape, dtype) for shape in SHAPES]


@pytest.mark.parametrize("name", ONE_DIM)
def test_one_dimension(name):
    for a in arrays() + arrays("int64"):
        for d in range(-a.ndim - 2, a.ndim + 2):
            compare(lambda m, x, d=d: ONE_DIM[name](m, x, d), a)


@pytest.mark.parametrize("name", TWO_DIMS)
def test_two_dimensions(name):
    for a in arrays():
        for d, e in itertools.product(range(-a.ndim - 1, a.ndim + 1), repeat=2):
            compare(lambda m, x, d=d, e=e: TWO_DIMS[name](m, x, d, e), a)


@pytest.mark.parametrize("name", WITH_NUMBER)
def test_dimension_and_number(name):
    for a in arrays():
        if name == "unflatten" and a.ndim == 0:
            continue
        for d, k in itertools.product(range(-a.ndim - 1, a.ndim + 1), (-1, 0, 1, 2, 5)):
            compare(lambda m, x, d=d, k=k: WITH_NUMBER[name](m, x, k, d), a)


WHOLE = {
    "squeeze": lambda m, x: (m.squeeze(x), x.squeeze()),
    "flatten": lambda m, x: (m.flatten(x), x.flatten()),
    "roll": lambda m, x: (m.roll(x, 2), x.roll(-1)),
    "flip nothing": lambda m, x: m.flip(x, ()),
    "T": lambda m, x: x.T,
    "mT": lambda m, x: x.mT if x.ndim else x,
    "t": lambda m, x: (m.t(x), x.t()),
    "trace": lambda m, x: (m.trace(x), x.trace()),
    "repeat_interleave": lambda m, x: m.repeat_interleave(x, 2),
    "split sizes": lambda m, x: m.split(x, [1, 2], 0),
    "split sizes from the end": lambda m, x: m.split(x, [2, 1], -1),
    "expand_as": lambda m, x: x.expand_as(m.ones(3, 4)),
    "view_as": lambda m, x: x.view_as(m.ones(3, 4)),
    "reshape_as": lambda m, x: x.T.reshape_as(m.ones(3, 4)),
    "contiguous": lambda m, x: x.T.contiguous(),
    "bad permute": lambda m, x: m.permute(x, (0, 0)),
    "short permute": lambda m, x: m.permute(x, (0,)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole(name):
    for a in arrays() + arrays("bool"):
        compare(WHOLE[name], a)


@pytest.mark.parametrize(
    "shape", [(-1,), (12,), (3, -1), (-1, -1), (2, 3), (1, -1, 1), (4, 3), (), (2, -1, 0), (-2, 6)]
)
def test_reshape_and_view(shape):
    for a in arrays():
        compare(lambda m, x: (m.reshape(x, shape), x.reshape(shape)), a)
        compare(lambda m, x: x.view(shape), a)
        if a.ndim == 2:
            compare(lambda m, x: x.T.view(shape), a)
            compare(lambda m, x: x.T.reshape(shape), a)
            compare(lambda m, x: x[:, ::2].reshape(shape), a)
        if shape:
            compare(lambda m, x: (x.reshape(*shape), x.view(*shape)), a)


@pytest.mark.parametrize(
    "shape", [(3, 4), (-1, 4), (2, 3, 4), (2, -1, -1), (-1, 3, 4), (5,), (4, 6), (0, 3), (2, 1, -1)]
)
def test_expand_and_repeat(shape):
    for a in arrays():
        compare(lambda m, x: (x.expand(shape), x.expand(*shape), m.broadcast_to(x, shape)), a)
        if -1 not in shape:
            compare(lambda m, x: (x.repeat(*shape), x.repeat(shape)), a)


def test_permute():
    for a in arrays():
        for order in itertools.permutations(range(a.ndim)):
            compare(lambda m, x, o=order: m.permute(x, o), a)
            if order:
                compare(lambda m, x, o=order: x.permute(*[d - x.ndim for d in o]), a)


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 2, 7])
def test_triangles_and_diagonals(k):
    for a in arrays() + arrays("int64") + [np.arange(4.0)]:
        compare(lambda m, x: (m.tril(x, k), x.triu(k)), a)
        compare(lambda m, x: (m.diag(x, k), x.diag(k)), a)


def test_roll():
    a = draw_array(RNG, (3, 4, 2), "float64")
    for shifts, dims in [(1, 0), (-7, 1), ((1, 2), (0, 2)), ((3, -1), (-1, -1)), ((1,), (0, 1))]:
        compare(lambda m, x, s=shifts, d=dims: (m.roll(x, s, d), x.roll(s, d)), a)


def test_cat_and_stack_promote():
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = draw_array(RNG, (2, 3), first), draw_array(RNG, (2, 3), second)
        compare(lambda m, x, y: m.cat([x, y], 1), a, b)
        compare(lambda m, x, y: m.stack((x, y)), a, b)


SHAPE_PAIRS = [
    ((2, 3), (0,)), ((0,), (2, 3)), ((2, 3), (2, 4)), ((2, 3), (3,)), ((), ()), ((0, 3), (2, 3)),
    ((2, 3), (2, 3)), ((3,), (2,)), ((1, 3), (2, 1)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPE_PAIRS)
def test_joining(shapes):
    a, b = (draw_array(RNG, s, "float64") for s in shapes)
    for d in (0, 1, -1):
        compare(lambda m, x, y, d=d: m.cat([x, y], d), a, b)
        compare(lambda m, x, y, d=d: m.stack([x, y], d), a, b)
    compare(lambda m, x, y: m.hstack([x, y]), a, b)
    compare(lambda m, x, y: m.vstack([x, y]), a, b)
    compare(lambda m, x, y: m.broadcast_tensors(x, y), a, b)


@pytest.mark.parametrize("indexing", ["ij", "xy", "no"])
def test_meshgrid(indexing):
    vectors = [draw_array(RNG, (n,), "float64") for n in (2, 3, 4)]
    for n in (1, 2, 3):
        compare(lambda m, *xs: m.meshgrid(*xs, indexing=indexing), *vectors[:n])
        compare(lambda m, *xs: m.meshgrid(list(xs), indexing=indexing), *vectors[:n])


VIEWS = {
    "view": lambda x: x.view(4, 3),
    "reshape": lambda x: x.reshape(12),
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(1, 0),
    "T": lambda x: x.T,
    "unsqueeze": lambda x: x.unsqueeze(0),
    "squeeze": lambda x: x[:1].squeeze(0),
    "expand": lambda x: x.unsqueeze(0).expand(2, 3, 4),
    "slice": lambda x: x[1:, ::2],
    "row": lambda x: x[1],
    "narrow": lambda x: x.narrow(0, 1, 2),
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(3)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "diagonal": lambda x: x.diagonal(1),
    "flatten": lambda x: x.flatten(),
    "movedim": lambda x: x.movedim(0, 1),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "contiguous": lambda x: x.contiguous(),
    "to": lambda x: x.to(x.dtype),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_strides_are_pytorch_s(name):
    a = np.arange(12.0).reshape(3, 4)
    x, y = ours(a), theirs(a)
    v, w = VIEWS[name](x), VIEWS[name](y)
    assert tuple(v.stride()) == w.stride()
    assert v.is_contiguous() == w.is_contiguous()
    assert (v.data_ptr() - x.data_ptr()) == (w.data_ptr() - y.data_ptr())
    x.fill_(7.0)
    assert (array(v) == 7).all()


COPIES = {
    "clone": lambda x: x.clone(),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(0, 0),
    "tril": lambda x: x.tril(5),
    "repeat": lambda x: x.repeat(1, 1),
    "index": lambda x: x[[0, 1]],
    "diag": lambda x: x.diag(),
    "cat": lambda x: minitorch.cat([x]),
    "transposed contiguous": lambda x: x.T.contiguous(),
    "to a dtype": lambda x: x.to(minitorch.float32),
    "to with copy": lambda x: x.to(x.dtype, copy=True),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_share_nothing(name):
    x = ours(np.arange(12.0).reshape(3, 4))
    y = COPIES[name](x)
    before = array(y).copy()
    x.fill_(-1.0)
    assert (array(y) == before).all()
    assert y.is_contiguous()


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.sampled_from(LAYOUTS),
    st.data(),
)
@settings(max_examples=150, derandomize=True)
def test_drawn_chains(shape, layout, data):
    """Several steps after one another, each drawn for the shape that is there."""
    a, view = laid_out(draw_array(np.random.default_rng(0), shape, "float64"), layout)
    ndim = len(shape)
    order = data.draw(st.permutations(range(ndim)))
    d, e = data.draw(st.integers(0, ndim - 1)), data.draw(st.integers(0, ndim))
    repeats = data.draw(st.integers(1, 3))

    def call(m, x):
        x = x.permute(*order).unsqueeze(e)
        x = x.expand(*[repeats if i == e else n for i, n in enumerate(x.shape)])
        x = m.cat([x.flip(d), x.roll(1, d)], d)
        parts = x.chunk(2, d)
        return x.reshape(-1), parts[-1].flatten(0, d), m.stack(parts[:1], e).squeeze()

    compare(call, a, views=[view], may_raise=False)


ERRORS = {
    "view: shape (4, 4) is invalid for input of shape (2, 3)": lambda x: x.view(4, 4),
    "is not compatible with the input's shape (3, 2)": lambda x: x.T.view(6),
    "reshape: only one dimension can be inferred": lambda x: x.reshape(-1, -1),
    "expand: shape (2, 3) cannot be expanded to (2, 4)": lambda x: x.expand(2, 4),
    "permute: expected 2 dimensions, got (0,)": lambda x: x.permute(0),
    "permute: a dimension appears twice": lambda x: x.permute(0, 0),
    "transpose: dim: expected to be in range of [-2, 1], got 2": lambda x: x.transpose(0, 2),
    "cat: tensors: expected a non-empty list": lambda x: minitorch.cat([]),
    "cat: tensors[1]: expected a tensor, got int": lambda x: minitorch.cat([x, 1]),
    "cat: tensors[1] has shape (2, 2), which differs": lambda x: minitorch.cat([x, x[:, :2]]),
    "stack: tensors[1] has shape (3,), expected (2, 3)": lambda x: minitorch.stack([x, x[0]]),
    "split: sizes [1, 2] do not sum to 2": lambda x: x.split([1, 2]),
    "chunk: chunks must be positive, got 0": lambda x: x.chunk(0),
    "narrow: start 1 and length 5 leave dimension 0 of length 2": lambda x: x.narrow(0, 1, 5),
    "diagonal: dim1 and dim2 are the same dimension": lambda x: x.diagonal(0, 1, 1),
    "tril: expected at least 2 dimensions, got 1": lambda x: x[0].tril(),
    "unflatten: sizes (2, 2) do not make up": lambda x: x.unflatten(1, (2, 2)),
    "meshgrid: indexing: expected 'ij' or 'xy'": lambda x: minitorch.meshgrid(x[0], indexing="a"),
    "repeat: expected at least 2 numbers": lambda x: x.repeat(2),
    "broadcast_tensors: shapes (2, 3) and (2, 2)": lambda x: minitorch.broadcast_tensors(
        x, x[:, :2]
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((RuntimeError, TypeError, IndexError, ValueError)) as error:
        ERRORS[message](ours(np.ones((2, 3), "float32")))
    assert message in str(error.value)

"""Reading and writing by position against PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch
from tests.referee import DTYPES, array, compare, draw_array, ours, settle

a_ = np.array
RNG = np.random.default_rng(0)
BASIC = [
    0, -1, 3, slice(None), slice(1, 3), slice(None, None, 2), slice(5, 9), slice(-2, None),
    slice(2, 1), None, ..., (0, 1), (slice(None), 0), (..., 0), (0, ...), (None, 0), (),
    (slice(None), None, 1), (..., None), (0, slice(1, None), None), (None, None), (0, 0, 0, 0),
    (slice(None, None, 3), slice(1, None, 2)), (-1, -1), slice(None, None, -1), slice(0, 2, 0),
]  # fmt: skip
ADVANCED = [
    a_([0, 2]), a_([[0, 1], [2, -1]]), a_([0, 0, 2]), a_(1), a_([], dtype=np.int64), [0, 2],
    (a_([0, 1]), a_([1, 2])), (slice(None), a_([0, 2])), (a_([0, 2]), slice(None)),
    (a_([0, 1]), slice(None), a_([1, 0])), (slice(None), a_([1, 0]), a_([0, 1])),
    (a_([0, 2]), 0), (0, a_([0, 2])), (a_([[0], [1]]), a_([0, 2])), (None, a_([0, 2])),
    (a_([0, 2]), None), (..., a_([0, 1])), (a_([0, 1]), ...), (a_([0, 1]), ..., a_([0, 1])),
    (slice(0, 2), a_([0, 1]), slice(None)), (a_([0, 1]), slice(None), 0),
    (0, slice(None), a_([0, 1])), (slice(None), a_(2)), a_([9]), a_([-9]),
    (0, None, slice(0, 2), a_([0, 1])), (a_(1), slice(None)),
    (a_(0), a_([1, 2])), (slice(None), [1, 1]), (a_([-1, -3]), a_([-1, 0])),
    [], (slice(None), []), a_([0, 1], dtype=np.int32), (0, slice(None), a_([0, 1]), a_([1, 1])),
]  # fmt: skip
MASKS = [
    a_([True, False, True]), a_([[True, False, True, False]] * 3), a_(True), a_(False), True, False,
    (slice(None), a_([True, False, True, True])), (a_([True, True, False]), a_([0, 2])),
    (a_([True, False, False]), a_([0, 2, 1])), a_([False] * 3), [True, False, True],
    (a_([True, False, True]), slice(1, 3)), (a_([True, False, True]), None), a_([True, False]),
    (..., a_([True, False, True, False])), (0, a_([True, False, True, False])),
    a_([[True, False], [False, True]]),
]  # fmt: skip
WRONG = ["a", 1.5, a_([0.5]), (0, 1, 2, 3, 4), (a_([0, 1]), a_([0, 1, 2]))]
SHAPES = [(3, 4), (3, 4, 2), (3,), (), (0, 4), (3, 4, 2, 2)]


def key_for(m, key):
    """A key with its NumPy arrays as tensors of m."""
    if isinstance(key, tuple):
        return tuple(key_for(m, k) for k in key)
    if isinstance(key, np.ndarray):
        return m.tensor(key.tolist(), dtype=getattr(m, key.dtype.name))
    return key


def name_of(key):
    return repr(key).replace("\n", "").replace("array", "a").replace("slice", "s")[:60]


def skipped(key, shape):
    """Where PyTorch looks the other way: out of range, but with no element to read."""
    return 0 in shape and isinstance(key, np.ndarray) and key.tolist() in ([9], [-9])


@pytest.mark.parametrize("key", BASIC + ADVANCED + MASKS + WRONG, ids=name_of)
def test_reading(key):
    for shape in SHAPES:
        for dtype in ("float64", "int64"):
            if not skipped(key, shape):
                a = draw_array(RNG, shape, dtype)
                compare(lambda m, x: x[key_for(m, key)], a)
        if len(shape) == 2 and 0 not in shape:
            compare(lambda m, x: x.T[key_for(m, key)], a.astype("float64"))
            compare(lambda m, x: (x * 2)[..., ::2][key_for(m, key)], a.astype("float64"))


def value_shapes(a, key):
    """Shapes that fit into a[key] in several ways, and one that does not."""
    try:
        shape = a[key].shape
    except (IndexError, ValueError):
        return [()]
    last = (*shape[:-1], 1) if shape else ()
    return [shape, shape[-1:], last, (), (1, 1, *shape), (7,), (2, *shape)]


@pytest.mark.parametrize("key", BASIC + ADVANCED + MASKS, ids=name_of)
def test_writing(key):
    def write(m, x, *value):
        y = x * 1
        y[key_for(m, key)] = value[0] if value else 7
        return y

    for shape in SHAPES:
        if skipped(key, shape):
            continue
        a = draw_array(RNG, shape, "float64")
        for grad in (True, False):
            compare(write, a, grad=grad)
            for v in value_shapes(a, key):
                if key is False or (isinstance(key, np.ndarray) and key.shape == () and not key):
                    continue  # PyTorch takes a value of any shape where nothing is written
                duplicates = v and ("0, 0" in repr(key) or "1, 1" in repr(key))
                value = np.full(v, 2.5) if duplicates else draw_array(RNG, v, "float64")
                compare(write, a, value, grad=grad and not duplicates)


@pytest.mark.parametrize("dtype", DTYPES)
def test_written_values_take_the_tensor_s_dtype(dtype):
    for value in (True, 3, 2.5):

        def write(m, x, value=value):
            x[0] = value
            x[1, 1:] = m.tensor([value, value])
            return x

        compare(write, draw_array(RNG, (2, 3), dtype), grad=False)


DUPLICATES = a_([[0, 2, 2], [2, 1, 2]])


def test_gradients_of_duplicates_add_up():
    for dtype in ("float32", "float64"):
        a = draw_array(RNG, (3, 4), dtype)
        compare(lambda m, x: x[m.tensor(DUPLICATES)], a)
        compare(lambda m, x: x[:, m.tensor(DUPLICATES)], a)
        compare(lambda m, x: x[m.tensor([2, 2]), m.tensor([1, 1])], a)
        compare(lambda m, x: x[m.tensor([-1, 2, -1])], a)
        compare(lambda m, x: x.T[m.tensor([-1, 2, -1])], a)


# ---------------------------------------------------------------------- along a dimension
ALONG = [
    ((3, 4), 0, a_([[0, 1, 2], [2, 2, 0]])),
    ((3, 4), 1, a_([[0, 1, 3, 3, 3], [2, 2, 0, 0, 0]])),
    ((3, 4), -1, a_([[0], [1], [2]])),
    ((3,), 0, a_([2, 0, 0, 0])),
    ((3, 4), 0, a_([[0, 9]])),
    ((3, 4), 0, a_([[0, -1]])),
    ((3, 4), 0, a_([0, 1])),
    ((), 0, a_(0)),
    ((3, 4), 2, a_([[0]])),
    ((3, 4), 0, a_([[0, 1, 2, 0, 1]])),
    ((3, 4), 0, np.zeros((0, 4), int)),
    ((0, 4), 0, np.zeros((0, 4), int)),
    ((3, 4, 2), 1, a_([[[3, 0], [1, 1]]])),
]


def index_for(m, index, dtype="int64"):
    return m.tensor(index.tolist(), dtype=getattr(m, dtype)).reshape(index.shape)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("case", ALONG, ids=repr)
def test_gather_and_scatter(case, dtype):
    shape, d, index = case
    x, src = draw_array(RNG, shape, "float64"), draw_array(RNG, index.shape, "float64")
    larger = draw_array(RNG, tuple(n + 1 for n in index.shape), "float64")

    def i(m):
        return index_for(m, index, dtype)

    compare(lambda m, x: (m.gather(x, d, i(m)), x.gather(d, i(m))), x)
    compare(lambda m, x, s: (m.scatter_add(x, d, i(m), s), x.scatter_add(d, i(m), s)), x, src)
    compare(lambda m, x: m.scatter(x, d, i(m), 2.5), x)
    for s, grad in ((src, True), (larger, False)):
        compare(lambda m, x, s: m.scatter_add(x, d, i(m), s), x, s, grad=grad)
        duplicates = index.size != len(np.unique(index))
        s = np.full_like(s, 1.5) if duplicates else s
        compare(lambda m, x, s: (m.scatter(x, d, i(m), s), x.scatter(d, i(m), s)), x, s, grad=False)
    if dtype == "int64" and shape:
        compare(lambda m, x: (m.take_along_dim(x, i(m), d), x.take_along_dim(i(m), d)), x)


ROWS = [
    ((3, 4), 0, a_([2, 0, 0])),
    ((3, 4), 1, a_([2, 0, 0])),
    ((3, 4, 2), -1, a_([1, 1])),
    ((3,), 0, a_([1, 1])),
    ((3,), 0, a_([5])),
    ((3, 4), 0, a_([], dtype=int)),
    ((3, 4), 3, a_([0])),
    ((3, 4), 0, a_([[0, 1]])),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("case", ROWS, ids=repr)
def test_rows_and_columns(case, dtype):
    shape, d, index = case
    lengths = list(shape)
    if -len(shape) <= d < len(shape):
        lengths[d] = index.size
    x, source = draw_array(RNG, shape, dtype), draw_array(RNG, lengths, dtype)

    def i(m):
        return index_for(m, index)

    compare(lambda m, x: (m.index_select(x, d, i(m)), x.index_select(d, i(m))), x)
    if index.ndim == 1:
        compare(lambda m, x, s: (m.index_add(x, d, i(m), s), x.index_add(d, i(m), s)), x, source)
        compare(lambda m, x, s: m.index_add(x, d, i(m), s, alpha=-2), x, source)
        compare(lambda m, x, s: m.index_add(x, d, i(m), s[:1].sum()), x, source)


def test_embedding():
    table = draw_array(RNG, (5, 3), "float64")

    def call(m, x, index):
        return (m if m is minitorch else m.nn.functional).__dict__.get("embedding")(
            *((x, index) if m is minitorch else (index, x))
        )

    for index in (a_([0, 4, 4]), a_([[1, 2], [2, 2]]), a_(3), np.zeros((0, 2), int)):
        compare(call, table, index)
    with pytest.raises(IndexError, match=r"embedding: indices: 5 is out of range \[0, 5\)"):
        minitorch.embedding(ours(table), ours(a_([0, 5]))).tolist()
    with pytest.raises(TypeError, match=r"embedding: indices: expected integers"):
        minitorch.embedding(ours(table), ours(a_([0.5])))


def test_masked_select_one_hot_and_searchsorted():
    for dtype in DTYPES:
        a = draw_array(RNG, (3, 4), dtype)
        for mask in (RNG.random((3, 4)) < 0.5, RNG.random(4) < 0.5, RNG.random((3, 1)) < 0.5):
            compare(lambda m, x, k: (m.masked_select(x, k), x.masked_select(k)), a, mask)
        ordered = np.sort(draw_array(RNG, (6,), dtype))
        if dtype != "bool":
            compare(lambda m, s, x: m.searchsorted(s, x), ordered, a, grad=False)
            compare(lambda m, s, x: m.searchsorted(s, x, right=True), ordered, a, grad=False)

    def one_hot(m, x, *classes):
        return (m if m is minitorch else m.nn.functional).one_hot(x, *classes)

    compare(lambda m, x: (one_hot(m, x), one_hot(m, x, 7)), a_([[0, 2], [5, 5]]))
    compare(lambda m, x: one_hot(m, x, 3), a_([0, 3]))
    compare(one_hot, a_([0, -1]))
    compare(one_hot, np.zeros(0, int))


@given(st.data())
@settings(max_examples=250, derandomize=True)
def test_drawn_keys(data):
    """Keys as NumPy's strategies draw them, applied to strided tensors, read and written."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    a = draw_array(np.random.default_rng(0), shape, "float64")
    if data.draw(st.booleans()):
        key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
        items = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, slice) and k.step is not None and k.step < 0 for k in items):
            return
    else:
        result = hnp.array_shapes(min_dims=1, max_dims=2, max_side=3)
        key = data.draw(hnp.integer_array_indices(shape, result_shape=result))
    view = data.draw(st.sampled_from(["x", "transposed"]))

    def read(m, x):
        x = x.permute(*reversed(range(x.ndim))) if view == "transposed" else x
        return x[key_for(m, key)]

    def write(m, x):
        y = x * 1
        v = y.permute(*reversed(range(x.ndim))) if view == "transposed" else y
        v[key_for(m, key)] = 2.5
        return y, v * 2

    a = a.T.copy() if view == "transposed" else a
    compare(read, a)
    compare(write, a)


def test_integers_of_every_kind_are_indices():
    x = ours(np.arange(12.0).reshape(3, 4))
    for i in (1, np.int64(1), np.int32(1), ours(a_(1)), minitorch.tensor(1, dtype=minitorch.int32)):
        assert x[i].tolist() == [4.0, 5.0, 6.0, 7.0]
        assert x[i, i].item() == 5.0
        assert x[i:, i].tolist() == [5.0, 9.0]
    assert x[range(2), 1].tolist() == [1.0, 5.0]
    assert [row.tolist() for row in x] == array(x).tolist()


ERRORS = {
    "index: index 7 is out of bounds for axis 0 with size 3 (shape (3, 4))": lambda x: x[7],
    "too many indices for a tensor of 2 dimensions: 3": lambda x: x[0, 0, 0],
    "an index can have only one Ellipsis": lambda x: x[..., ...],
    "slice step must be greater than zero, got -1; use flip": lambda x: x[::-1],
    "indices: expected integers, slices, None, Ellipsis, integer or bool tensors": lambda x: x["a"],
    "tensors used as indices must be int64, int32 or bool, got minitorch.float64": lambda x: x[x],
    "index: a mask of shape (4,) for a tensor of shape (3, 4): 4 ≠ 3": lambda x: x[x[0] > 0],
    "setitem: a value of shape (3,) does not fit into (4,)": lambda x: x.__setitem__(0, x[:, 0]),
    "copy_: a value of shape (3,) does not fit into (3, 4)": lambda x: x.copy_(x[:, 0]),
    "gather: index: 9 is out of range [0, 3)": lambda x: x.gather(0, ours(a_([[9]]))),
    "gather: index has 1 dimensions, expected 2": lambda x: x.gather(0, ours(a_([0]))),
    "gather: index: expected a tensor, got list": lambda x: x.gather(0, [[0]]),
    "gather: dim: expected to be in range of [-2, 1], got 2": lambda x: x.gather(2, x),
    "index_add: source has shape (4,), expected (1, 4)": lambda x: x.index_add(
        0, ours(a_([0])), x[0]
    ),
    "index_add: source is minitorch.float32, expected minitorch.float64": lambda x: x.index_add(
        0, ours(a_([0])), x[:1].float()
    ),
    "scatter_add: src is minitorch.float32": lambda x: x.scatter_add(0, ours(a_([[0]])), x.float()),
    "one_hot: expected int64 classes, got minitorch.float64": minitorch.ops.one_hot,
    "expected one dimension, or equal leading dimensions": lambda x: x.searchsorted(1.0),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((RuntimeError, TypeError, IndexError, ValueError)) as error:
        settle(ERRORS[message](ours(np.ones((3, 4)))))
    assert message in str(error.value)

"""Reading and writing by position on the simulated GPU, against the CPU's kernels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch
import minitorch.sim
from minitorch.backend import named
from minitorch.backend.indexing import indexed_shape
from minitorch.backend.sim.settings import config
from tests.backend.cuda.kernels import (
    CPU,
    DTYPES,
    FLOATS,
    LAYOUTS,
    SIM,
    assert_same,
    both,
    get,
    laid_out,
    put,
    sample,
)

a_ = np.array
full = slice(None)
# Index tuples for arrays of at least (3, 3), with duplicates and negative indices.
KEYS = {
    "rows": (a_([0, 2, 0, -1]),),
    "rows twice": (a_([[0, -1], [2, 2]]),),
    "one row": (a_(1),),
    "no row": (a_([], dtype=np.int64),),
    "int32": (a_([1, 1, 0], dtype=np.int32),),
    "columns": (full, a_([1, 0, 1])),
    "points": (a_([0, 1, 1]), a_([2, 0, 0])),
    "grid": (a_([[0], [1]]), a_([0, 2, 2])),
    "apart": (a_([0, 1]), None, a_([1, 0])),
    "new dimension": (None, a_([2, 0])),
    "last": (..., a_([0, -1, 1])),
    "after a slice": (slice(1, 3), a_([0, 1, 1])),
    "steps": (slice(0, 3, 2), a_([1, 1])),
}
INDEX_TYPES = ["uint8", "int32", "int64"]


@pytest.fixture(autouse=True)
def checked():
    with config(checked=True, processors=1):
        yield


@pytest.fixture(params=[False, True], ids=["atomic", "sorted"])
def deterministic(request):
    minitorch.use_deterministic_algorithms(request.param)
    yield request.param
    minitorch.use_deterministic_algorithms(False)


# ---------------------------------------------------------------------- x[index]
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_index(layout, key):
    for dtype in ("float32", "bool"):
        both("index", laid_out(layout, sample(dtype)), index=KEYS[key])


@pytest.mark.parametrize("dtype", DTYPES)
def test_index_in_every_dtype(dtype):
    for key in ("rows", "columns", "points"):
        both("index", sample(dtype), index=KEYS[key])
    both("index", sample(dtype, (7, 64)), index=(a_([6, 0, -7]),))  # 128 bits at a time
    both("index", sample(dtype, (7, 33)), index=(a_([6, 0, -7]),))


@pytest.mark.parametrize("key", KEYS)
def test_index_writes_to_out(key):
    x = sample("float32")
    expected = CPU["index"](x, KEYS[key])
    for out in (put(np.zeros(expected.shape)), put(np.zeros((2, *expected.shape)))[1]):
        assert SIM["index"](put(x), put(KEYS[key]), out=out) is out
        assert_same(out, expected.astype(np.float64))


@settings(max_examples=60)
@given(st.data())
def test_index_tuples(data):
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=4, min_side=0))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    picked = [data.draw(st.sampled_from(["array", "slice", "all"])) if n else "all" for n in shape]
    common = data.draw(hnp.array_shapes(max_dims=2, max_side=3))
    key = []
    for n, kind in zip(shape, picked):
        if data.draw(st.integers(0, 5)) == 0:
            key.append(None)
        if kind == "array":
            length = data.draw(st.sampled_from([common, common[-1:], (1,), ()]))
            key.append(data.draw(hnp.arrays(np.int64, length, elements=st.integers(-n, n - 1))))
        else:
            step = st.integers(1, 3)
            key.append(slice(data.draw(st.integers(0, n)), None, data.draw(step)))
            key[-1] = full if kind == "all" else key[-1]
    if data.draw(st.booleans()):
        key.insert(data.draw(st.integers(0, len(key))), ...)
    key = tuple(key)
    if not any(isinstance(item, np.ndarray) for item in key):
        return
    try:
        expected = x[key]
    except IndexError:  # a slice has left nothing to pick from
        with pytest.raises(IndexError, match="with size 0"):
            SIM["index"](put(x), put(key))
        return
    assert indexed_shape(shape, key) == expected.shape
    assert_same(SIM["index"](put(x), put(key)), expected)
    gradient = np.arange(1.0, 1 + expected.size).reshape(expected.shape)
    both("index_backward", gradient, shape=shape, index=key)
    both("put", x, gradient, index=key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "bool"])
def test_index_backward(dtype, key, deterministic):
    g = sample(dtype, indexed_shape((5, 4, 3), KEYS[key]))
    both("index_backward", g, shape=(5, 4, 3), index=KEYS[key], tolerance=8e-3)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_index_put(layout, accumulate, deterministic):
    for key, dtype in itertools.product(KEYS.values(), ["float32", "int64"]):
        host, device = laid_out(layout, sample(dtype))
        shape = indexed_shape(host.shape, key)
        value = sample(dtype, shape, seed=1)
        for part in (value, value[..., :1], sample(dtype, (), seed=2)):
            CPU["index_put_"](host, part, key, accumulate=accumulate)
            SIM["index_put_"](device, put(part), put(key), accumulate=accumulate)
        assert_same(device, host, 1e-5 if dtype == "float32" else None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_duplicates(dtype, deterministic):
    rng = np.random.default_rng(1)
    rows = rng.integers(-9, 9, 700)
    tolerance = {"float16": 0.1, "float32": 1e-4}.get(dtype)
    value = sample(dtype, (700, 20))
    expected = np.zeros((9, 20), np.float64 if dtype in FLOATS else dtype)
    np.add.at(expected, rows, value)
    x = put(np.zeros((9, 20), dtype))
    SIM["index_put_"](x, put(value), (put(rows),), accumulate=True)
    assert_same(x, expected.astype(dtype), tolerance)
    both("put", sample(dtype, (9, 20)), value, index=(rows,))  # the last one stays


def test_put_of_a_basic_index():
    both("put", sample("float32"), sample("float32", (3, 1)), index=(slice(0, 5, 2), 3, None))


def test_what_is_written_may_be_what_is_read():
    host, device = sample("float32"), put(sample("float32"))
    order = a_([5, 4, 3, 2, 1, 0])
    CPU["index_put_"](host, host.copy(), (order,))
    SIM["index_put_"](device, device, (put(order),))
    assert_same(device, host)
    CPU["index_add_"](host, order, host.copy(), 0)
    SIM["index_add_"](device, put(order), device, 0)
    assert_same(device, host)
    rows = put(a_([3, 0, 1, 2]))
    SIM["index_put_"](rows, put(a_([10, 11, 12, 13])), (rows,))
    assert get(rows).tolist() == [11, 12, 13, 10]


# ---------------------------------------------------------------------- along a dimension
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_index_add(dtype, dim, deterministic):
    for kind, alpha in itertools.product(INDEX_TYPES, [1, 3]):
        shape = [4, 5, 6]
        index = a_([1, 3, 1, 0, 1, 2], dtype=kind)
        shape[dim] = len(index)
        both(
            "index_add_",
            sample(dtype, (4, 5, 6)),
            index,
            sample(dtype, tuple(shape), seed=1),
            dim=dim,
            alpha=alpha,
            tolerance={"float16": 5e-2, "float32": 1e-5}.get(dtype),
        )


def test_index_add_of_halves_and_of_strided_rows(deterministic):
    x, source = sample("float32"), sample("float32", (20, 3), seed=2).T
    both("index_add_", x, a_([2, 2, 5]), (source, put(sample("float32", (20, 3), seed=2)).T), dim=0)
    both("index_add_", laid_out("transposed", x), a_([7]), x[:, :1].T.copy(), dim=0, alpha=-0.5)
    both("index_add_", x, a_([], dtype=np.int64), x[:0], dim=0)
    both("index_add_", x, a_(3), x[:1], dim=0)


def test_the_rows_of_a_matrix_of_any_width():
    for width, dtype in itertools.product([1, 3, 4, 33, 257], ["float32", "float64", "uint8"]):
        table, rows = sample(dtype, (9, width)), a_([[8, 0], [3, 3]])
        both("index", table, index=(rows,))
        g = sample(dtype, (2, 2, width))
        both("index_backward", g, shape=(9, width), index=(rows,))
    wide = put(sample("float32", (9, 40)))
    for start in (1, 4):  # rows that begin at 4 bytes, and at 16
        view = (sample("float32", (9, 40))[:, start : start + 32], wide[:, start : start + 32])
        both("index", view, index=(rows,))


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "stepped", "reversed", "3-d"])
def test_gather_and_scatter(layout, deterministic):
    rng = np.random.default_rng(0)
    for dtype, kind in [*itertools.product(["float32", "bool"], INDEX_TYPES), ("float16", "int64")]:
        host, _ = laid_out(layout, sample(dtype))
        for dim in range(host.ndim):
            shape = tuple(n if d == dim else n - 1 for d, n in enumerate(host.shape))
            index = rng.integers(0, host.shape[dim], shape).astype(kind)
            source = sample(dtype, tuple(n + 1 for n in shape), seed=1)
            wide = {"float16": 5e-2, "float32": 1e-5}.get(dtype)
            both("gather", laid_out(layout, sample(dtype)), index=index, dim=dim)
            g = sample(dtype, shape, seed=2)
            both("gather_backward", g, shape=host.shape, index=index, dim=dim, tolerance=wide)
            for accumulate in (False, True):
                both(
                    "scatter_",
                    laid_out(layout, sample(dtype)),
                    index,
                    source,
                    dim=dim,
                    accumulate=accumulate,
                    tolerance=wide,
                )


def test_gather_and_scatter_of_0d():
    both("gather", a_(3.0), index=a_([0, 0]), dim=0)
    both("gather", a_(3.0), index=a_(0), dim=0)
    both("scatter_", a_(3.0), a_(0), a_(5.0), dim=0)
    both("scatter_", a_(3.0), a_([0]), a_([5.0]), dim=0, accumulate=True)
    both("scatter_", sample("float32"), a_([[1, 2]]), 4.5, dim=1)


# ---------------------------------------------------------------------- deterministic sums
def test_sorted_sums_are_the_same_bits_in_every_schedule():
    rng = np.random.default_rng(0)
    rows, value = rng.integers(0, 5, 3000), rng.normal(size=(3000, 3)).astype(np.float32)

    def bits(schedule, seed):
        with config(schedule=schedule, seed=seed, checked=False, processors=4):
            whole = SIM["index_backward"](put(value), shape=(5, 3), index=(put(rows),))
            return get(whole).tobytes()

    orders = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]
    assert len({bits(*order) for order in orders}) > 1  # atomically, sums differ
    minitorch.use_deterministic_algorithms(True)
    try:
        assert minitorch.are_deterministic_algorithms_enabled()
        assert len({bits(*order) for order in orders}) == 1
    finally:
        minitorch.use_deterministic_algorithms(False)


def test_the_last_of_several_values_stays_in_every_schedule():
    rows = np.random.default_rng(0).integers(0, 3, 2000)
    value = np.arange(2000)
    for schedule, seed in (("forward", 0), ("reverse", 0), ("random", 1)):
        with config(schedule=schedule, seed=seed):
            both("put", np.zeros(3, np.int64), value, index=(rows,))


# ---------------------------------------------------------------------- searches
@pytest.mark.parametrize("dtype", DTYPES)
def test_nonzero(dtype):
    both("nonzero", sample(dtype) * sample("bool", seed=3))
    for layout in LAYOUTS:
        both("nonzero", laid_out(layout, sample(dtype)))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (20_000,), (7, 11, 131), (2048,)])
def test_nonzero_of_any_size(shape):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.6, 1.0):
        both("nonzero", np.asarray(rng.random(shape) < share))


def test_nonzero_of_more_chunks_than_a_block_sums_at_once():
    x = np.zeros(1_100_000, bool)
    x[::977] = True
    both("nonzero", x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(dtype, right):
    x = np.sort(sample(dtype, (41,)))
    values = sample("float64" if dtype in FLOATS else "int32", (5, 7), seed=1)
    both("searchsorted", x, values, right=right)
    both("searchsorted", x, x, right=right)  # ties
    both("searchsorted", (x[::2], put(x)[::2]), (values.T, put(values).T), right=right)
    both("searchsorted", x[:0], values, right=right)
    both("searchsorted", x, values[0, 0, ...], right=right)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted_puts_nan_behind_the_numbers(right):
    x = a_([-np.inf, 0.0, 1.0, np.inf, np.nan, np.nan])
    both("searchsorted", x, a_([np.nan, np.inf, -np.inf, 2.0, 0.0]), right=right)


# ---------------------------------------------------------------------- small grids
def test_more_elements_than_threads(deterministic):
    """The device of these tests holds 2048 threads: each one has several elements."""
    rng = np.random.default_rng(0)
    x, value = sample("float32", (70, 60)), sample("float32", (60, 70), seed=1)
    turned = (x.T, put(x).T)
    columns = (full, rng.integers(-70, 70, 70))
    many = (rng.integers(0, 50, 5000),)
    both("index", turned, index=columns)
    both("put", turned, value, index=columns)
    both("put", sample("float32", (5000,)), np.arange(5000, dtype=np.float32), index=many)
    both("index_backward", value, shape=(60, 70), index=columns, tolerance=1e-5)
    both("index_backward", np.ones(5000), shape=(50,), index=many)
    both("index_backward", sample("float32", (4500, 3)), shape=(4500, 3), index=(many[0][:4500],),
         tolerance=1e-4)  # fmt: skip
    both("gather", x, index=rng.integers(0, 70, (70, 60)), dim=0)
    for accumulate in (False, True):
        source = sample("float32", (70, 60), seed=2)
        args = (x, rng.integers(0, 60, (70, 60)), source)
        both("scatter_", *args, dim=1, accumulate=accumulate, tolerance=1e-5)
    both("searchsorted", np.sort(x, axis=None), value, right=False)


@pytest.mark.parametrize("place", [0, 2047, 2048, 4999])
def test_checks_look_at_every_element(place):
    numbers, shares = np.ones(5000, np.int64), np.full(5000, 0.5, np.float32)
    numbers[place], shares[place] = 3, 1.5
    for op, x, args in (("check_range", numbers, (3, "x")), ("check_unit", shares, ("x",))):
        SIM[op](put(x), *args)
        with pytest.raises((IndexError, RuntimeError), match="x"):
            get(put(np.zeros(1)))


def test_the_ends_of_a_range_are_in_it():
    """Neither 0 and 1 nor the first and the last place are errors."""
    SIM["check_unit"](put(np.array([0.0, 1.0])), "x")
    SIM["check_range"](put(np.array([0, 2])), 3, "x")
    assert get(put(np.zeros(1))) == [0]


# ---------------------------------------------------------------------- bad indices
def poisoned():
    return put(np.zeros((4, 3)))


ONES = np.ones((3, 3))
BAD = {
    "index": lambda i: SIM["index"](poisoned(), (put(a_([1, i, 2])),)),
    "index, columns": lambda i: SIM["index"](poisoned().T, (slice(None), put(a_([1, i, 2])))),
    "index_put_": lambda i: SIM["index_put_"](poisoned(), put(ONES), (put(a_([1, i, 2])),)),
    "index_add_": lambda i: SIM["index_add_"](poisoned(), put(a_([1, i, 2])), put(ONES), 0),
    "gather": lambda i: SIM["gather"](poisoned(), put(a_([[1, i, 2]])), 0),
    "scatter_": lambda i: SIM["scatter_"](poisoned(), put(a_([[1, i, 2]])), put(ONES), 0),
    "scatter_, adding": lambda i: SIM["scatter_"](
        poisoned(), put(a_([[1, i, 2]])), put(ONES), 0, accumulate=True
    ),
}


@pytest.mark.parametrize("wrong", [4, -5, 10**15])
@pytest.mark.parametrize("op", BAD)
def test_an_index_out_of_range_is_reported_once(op, wrong, deterministic):
    given = BAD[op](wrong)
    axis = 1 if op == "index, columns" else 0
    text = f"index: index {wrong} is out of bounds for axis {axis} with size 4"
    with pytest.raises(IndexError, match=text):
        get(given)
    result = get(given)  # once
    if op.startswith(("index_put_", "index_add_")):
        assert result.tolist() == [[0] * 3, [1] * 3, [1] * 3, [0] * 3]  # only its row is missing
    if op.startswith("scatter_"):
        assert result.tolist() == [[0] * 3, [1, 0, 0], [0, 0, 1], [0] * 3]


def test_shapes_that_do_not_fit_raise_at_once():
    with pytest.raises(IndexError, match=r"shape mismatch.*\(2,\) \(3,\)"):
        SIM["index"](poisoned(), (put(a_([0, 1])), put(a_([0, 1, 2]))))
    with pytest.raises(IndexError, match="index 0 is out of bounds for axis 0 with size 0"):
        SIM["index"](put(np.zeros((0, 3))), (put(a_([0])),))
    with pytest.raises(ValueError, match="broadcast"):
        SIM["index_put_"](poisoned(), put(np.ones(2)), (put(a_([0, 1])),))


def test_more_than_the_kernels_take():
    x, one = put(np.zeros((2,) * 10)), put(a_([0, 1]))
    with pytest.raises(RuntimeError, match="more than 8 index tensors"):
        SIM["index"](x, (one,) * 9)
    with pytest.raises(RuntimeError, match="more than 8 dimensions"):
        SIM["index"](x.transpose(*range(9, -1, -1)), (one,))


@pytest.mark.parametrize("op", ["index_put_", "index_add_", "scatter_", "copy_"])
def test_an_expanded_array_is_not_written_to(op):
    x = minitorch.zeros(3, device="sim").expand(4, 3)
    rows, ones = minitorch.tensor([1, 2], device="sim"), minitorch.ones(2, 3, device="sim")
    writes = {
        "index_put_": lambda: x.__setitem__(rows, ones),
        "index_add_": lambda: x.index_add_(0, rows, ones),
        "scatter_": lambda: x.scatter_(0, rows.unsqueeze(1), ones),
        "copy_": lambda: x.copy_(ones[0]),
    }
    with pytest.raises(RuntimeError, match=f"{op}: this tensor is expanded or read-only"):
        writes[op]()


# ---------------------------------------------------------------------- no waiting
def test_a_step_with_embeddings_does_not_wait():
    table = minitorch.randn(50, 8, device="sim").requires_grad_()
    words = minitorch.tensor([[3, 9, 3], [49, 0, 9]], device="sim")
    dense = minitorch.ops.embedding(table, words)
    minitorch.sim.clear()
    dense.backward(minitorch.ones_like(dense))
    picked = minitorch.ops.embedding(table.detach().requires_grad_(), words, sparse=True)
    picked.backward(minitorch.ones_like(picked))
    values = minitorch.rand(10, device="sim")
    values[words[0]] = 0.5
    minitorch.bernoulli(values)
    kinds = {launch.kind for launch in minitorch.sim.launches()}
    assert "kernel" in kinds
    assert not [kind for kind in kinds if kind == "sync" or "D2H" in kind]
    rows = np.bincount([3, 9, 3, 49, 0, 9], minlength=50)
    assert table.grad.cpu().numpy()[:, 0].tolist() == rows.tolist()


def test_few_long_rows_are_shared_by_many_blocks(monkeypatch):
    """Columns are cut into parts, of which none is left out, and none counts twice."""
    monkeypatch.setattr(named("sim").gpu, "_processors", {0: 4})
    x, index = (
        np.random.default_rng(0).normal(size=(3, 20_001)).astype("float32"),
        np.array([2, 0, 2]),
    )
    minitorch.sim.clear()
    both("index", x, index=(index,))
    both("index_backward", x, shape=x.shape, index=(index,))
    grids = [r.grid[:2] for r in minitorch.sim.launches() if "_rows_" in r.name]
    assert grids == [(3, 2), (3, 2)]

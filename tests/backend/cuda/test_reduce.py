"""Reductions, softmax, running sums and argsort on the simulated GPU, against the CPU's kernels
(in float64 where that says more)."""

import itertools

import numpy as np
import pytest

from minitorch import sim as simulated
from minitorch.backend import sim
from minitorch.backend.cpu.reduce import REDUCTIONS as CPU
from minitorch.backend.cuda.gpu import Gpu
from minitorch.backend.cuda.reduce import REDUCTIONS

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

FLOATS = ["float16", "float32", "float64"]
DTYPES = [*FLOATS, "uint8", "int8", "int16", "int32", "int64", "bool"]
LENGTHS = [0, 1, 2, 31, 32, 33, 255, 256, 257, 1000, 5000, 100_003]
FOLDS = ["sum", "mean", "prod", "amax", "amin", "any", "all", "argmax", "argmin", "logsumexp"]
OF_NOTHING = ["sum", "mean", "prod", "any", "all", "logsumexp"]
ALONG = ["softmax", "log_softmax", "cumsum"]
FLOATING = ["mean", "logsumexp", "softmax", "log_softmax"]
TOLERANCE = {"float16": 2e-3, "float32": 3e-6, "float64": 1e-14}


@pytest.fixture
def gpu():
    return Gpu("sim", sim)


def sample(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype in FLOATS:
        return rng.uniform(-2, 2, shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


def reference(op, x, *args, **kwargs):
    """The CPU's kernel, floats in float64 and then in their own dtype again."""
    if x.dtype.kind != "f" or op in ("any", "all", "argmax", "argmin", "argsort"):
        return np.asarray(CPU[op](x, *args, **kwargs))
    return np.asarray(CPU[op](x.astype(np.float64), *args, **kwargs)).astype(x.dtype)


def check(gpu, op, x, *args, **kwargs):
    """The GPU's kernel of a host array (or a view of a device array, with its host twin)."""
    host, device = x if isinstance(x, tuple) else (x, sim.asarray(x))
    given = REDUCTIONS[op](gpu, device, *args, **kwargs).get()
    expected = reference(op, host, *args, **kwargs)
    assert given.dtype == expected.dtype
    assert given.shape == expected.shape
    if expected.dtype.kind == "f":
        tolerance = TOLERANCE[str(x.dtype if isinstance(x, np.ndarray) else host.dtype)]
        scale = np.nan_to_num(np.abs(expected.astype(np.float64)), posinf=0)
        size = np.sqrt(host.size) if op in ("sum", "cumsum") else 1
        limit = tolerance * np.maximum(scale, size)
        same = (given == expected) | (np.isnan(given) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            close = np.abs(given.astype(np.float64) - expected) <= limit
        assert np.all(same | close), (op, given[~(same | close)][:5], expected[~(same | close)][:5])
    else:
        np.testing.assert_array_equal(given, expected)


def takes(op, dtype):
    return dtype in FLOATS or op not in FLOATING


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(gpu, n, dtype):
    x = sample((n,), dtype, n)
    for op in FOLDS:
        if takes(op, dtype) and (n or op in OF_NOTHING):
            dim = 0 if op.startswith("arg") else (0,)
            check(gpu, op, x, dim)
            check(gpu, op, x, dim, keepdim=True)
    for op in [*ALONG, "argsort"]:
        if takes(op, dtype):
            check(gpu, op, x, 0)


SHAPES = [
    (5000, 3), (3, 5000), (257, 256), (1000, 33), (33, 1000), (1, 70_001), (7001, 1), (2, 0),
    (0, 2), (1200, 40), (3000, 10), (20, 300, 7), (2, 3000, 5), (2, 17000),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(gpu, shape, dtype):
    x = sample(shape, dtype)
    for d, n in enumerate(shape):
        for op in FOLDS:
            if takes(op, dtype) and (n or op in OF_NOTHING):
                check(gpu, op, x, d if op.startswith("arg") else (d,))
        for op in ALONG:
            if takes(op, dtype):
                check(gpu, op, x, d)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_every_dtype(gpu, dtype):
    x = sample((9, 40), dtype)
    for op in FOLDS:
        if takes(op, dtype):
            check(gpu, op, x, 0 if op.startswith("arg") else (0,))


def layouts(shape, dtype):
    """(host, device) of the same elements, in every layout that arrays come in."""
    whole = sample((2 * shape[0] + 1, *shape[1:]), dtype, 1)
    device = sim.asarray(whole)
    yield whole[1::2], device[1::2]
    yield whole[::-1], device[::-1]
    yield whole[3::-1, ::-1], device[3::-1, ::-1]
    yield whole.transpose(), device.transpose()
    yield whole[1:, 1:], device[1:, 1:]
    order = (1, 0, *range(2, len(shape)))
    yield whole.transpose(order), device.transpose(order)
    one = whole[:1]
    stretched = np.broadcast_to(one, shape)
    view = sim.ndarray(shape, whole.dtype, memptr=device.data, strides=(0, *device.strides[1:]))
    yield stretched, view


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_layouts_and_dims(gpu, dtype):
    for pair in layouts((3, 5, 7, 4), dtype):
        dims = range(pair[0].ndim)
        for k in range(1, len(dims) + 1):
            for dim in itertools.combinations(dims, k):
                for op in ("sum", "amax", "all"):
                    check(gpu, op, pair, dim)
                if dtype != "uint8":
                    check(gpu, "logsumexp", pair, dim, keepdim=True)
        for d in (*dims, None):
            check(gpu, "argmax", pair, d)
            check(gpu, "argmin", pair, d, keepdim=True)
        for d in dims:
            for op in ALONG:
                if takes(op, dtype):
                    check(gpu, op, pair, d)
            check(gpu, "argsort", pair, d)
            check(gpu, "argsort", pair, d, descending=True)


def kernels(run):
    """The names of the kernels that a call launches."""
    simulated.clear()
    run()
    return [launch.name for launch in simulated.launches() if launch.kind == "kernel"]


# op, shape, dim, the kernels that are to run: each kernel of the three files at least once.
CHOICES = [
    ("sum", (40, 10), (1,), ["sum_rows"]),
    ("sum", (3, 1000), (1,), ["sum_row"]),
    ("sum", (100_003,), (0,), ["sum_row"]),
    ("sum", (50, 70), (0,), ["sum_columns"]),
    ("sum", (700, 64), (0,), ["sum_columns"]),  # four columns to a thread
    ("amax", (30, 6, 200), (0, 1), ["amax_columns"]),
    ("sum", (2, 200, 100), (1,), ["sum_columns"]),
    ("argmin", (3, 400, 36), 1, ["argmin_columns"]),
    ("sum", (140, 1200), (1,), ["sum_rows"]),  # as many rows as warps
    ("argmax", (140, 1101), 1, ["argmax_row"]),
    ("sum", (9000, 3), (0,), ["sum_columns"]),
    ("sum", (6, 5, 33, 31), (0, 2, 3), ["sum_row"]),
    ("sum", (50, 5, 100), (0, 2), ["sum_row"]),  # two dimensions, that a block's step skips over
    ("sum", (100, 3, 700), (0, 2), ["sum_row"]),  # and several blocks share
    ("amin", (6, 5, 33, 40), (0, 2), ["amin_columns"]),
    ("sum", (160, 2, 3, 33), (0, 2), ["sum_columns"]),
    ("amax", (100_003,), (0,), ["amax_row"]),
    ("amin", (9000, 3), (0,), ["amin_columns"]),
    ("any", (5000, 3), (0,), ["any_columns"]),
    ("all", (5000,), (0,), ["all_row"]),
    ("argmax", (100_003,), None, ["argmax_row"]),
    ("argmax", (40, 10), 1, ["argmax_rows"]),
    ("argmin", (9000, 3), 0, ["argmin_columns"]),
    ("logsumexp", (40, 10), (1,), ["logsumexp_rows"]),
    ("logsumexp", (20_000,), (0,), ["logsumexp_row"]),
    ("logsumexp", (5000, 3), (0,), ["logsumexp_columns"]),
    ("softmax", (40, 10), 1, ["softmax_rows"]),
    ("softmax", (40, 200), 1, ["softmax_rows_packed"]),
    ("softmax", (3, 1000), 1, ["softmax_wide_packed"]),
    ("softmax", (3, 1001), 1, ["softmax_wide"]),
    ("softmax", (3, 2000), 1, ["softmax_block_packed"]),
    ("softmax", (3, 2001), 1, ["softmax_block"]),
    ("softmax", (3, 4999), 1, ["softmax_tiles"]),
    ("softmax", (20, 9001), 1, ["softmax_long"]),
    ("softmax", (3, 9001), 1, ["logsum_parts", "softmax_long"]),
    ("softmax", (100, 40), 0, ["softmax_tiles"]),
    ("softmax", (17_000,), 0, ["logsum_parts", "softmax_long"]),
    ("log_softmax", (40, 10), 1, ["log_softmax_rows"]),
    ("log_softmax", (2, 500, 3), 1, ["log_softmax_tiles"]),
    ("log_softmax", (3000, 5), 0, ["logsum_parts", "log_softmax_long"]),
    ("mean", (70, 33), (0,), ["mean_columns"]),
    ("prod", (30_000,), (0,), ["prod_row"]),
    ("cumsum", (40, 10), 1, ["cumsum"]),
    ("cumsum", (10, 40), 0, ["cumsum"]),
    ("cumsum", (20_000,), 0, ["cumsum_totals", "cumsum"]),
    ("cumsum", (9000, 3), 0, ["cumsum_totals", "cumsum"]),
    ("argsort", (40, 10), 1, ["sort_short"]),
    ("argsort", (2, 2500), 1, ["sort_counts", "sort_scatter"] * 4),
]


@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
@pytest.mark.parametrize(("op", "shape", "dim", "names"), CHOICES)
def test_kernels_pass_the_checks(gpu, op, shape, dim, names, schedule):
    x = sample(shape, "float32")
    with simulated.config(checked=True, schedule=schedule, seed=7):
        ran = kernels(lambda: check(gpu, op, x, dim))
    assert ran == [name + "_f32" for name in names]


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int32", "int64", "bool"])
def test_kernels_pass_the_checks_in_every_dtype(gpu, dtype):
    with simulated.config(checked=True):
        for op, shape, dim, _ in CHOICES:
            if takes(op, dtype) and np.prod(shape) < 20_001:
                check(gpu, op, sample(shape, dtype), dim)


@pytest.mark.parametrize(("op", "shape", "dim", "names"), CHOICES)
def test_small_grids(op, shape, dim, names):
    """On a device of one multiprocessor every block has many tiles."""
    with simulated.config(processors=1, checked=True):
        check(Gpu("sim", sim), op, sample((3, *shape), "float32"), *map(moved, [dim]))


def moved(dim):
    """The same dimensions behind a leading one; all of them stay all."""
    if dim is None:
        return None
    return tuple(d + 1 for d in dim) if isinstance(dim, tuple) else dim + 1


@pytest.mark.parametrize(("op", "shape", "dim", "names"), CHOICES)
def test_the_same_bits_in_every_schedule(gpu, op, shape, dim, names):
    x = sim.asarray(sample(shape, "float32"))
    runs = []
    for schedule, seed in (("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)):
        with simulated.config(schedule=schedule, seed=seed):
            runs.append(REDUCTIONS[op](gpu, x, dim).get().tobytes())
    assert len(set(runs)) == 1


# Short rows, long ones, such as several blocks share; columns, in groups too; a dimension within.
EXTREMES = [
    ((40, 10), 1), ((140, 1200), 1), ((3, 1000), 1), ((2, 100_003), 1), ((9000, 3), 0),
    ((700, 64), 0), ((3, 400, 36), 1), ((20, 300, 7), 1), ((5,), 0), ((), 0), ((0, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "dim"), EXTREMES)
def test_extremes_and_their_places_in_one_launch(gpu, shape, dim, dtype):
    """Of few different numbers, so that most are equal to others; with NaN among them."""
    x = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
    if dtype in FLOATS and shape:
        x[np.random.default_rng(1).random(shape) < 1e-3] = NAN
    for op, keepdim in itertools.product(("max_dim", "min_dim"), (False, True)):
        for given in (x, np.full_like(x, least(op, dtype))):
            check_extremes(gpu, op, given, dim, keepdim)


def check_extremes(gpu, op, x, dim, keepdim):
    device, found = sim.asarray(x), []
    with simulated.config(checked=True):
        ran = kernels(lambda: found.extend(REDUCTIONS[op](gpu, device, dim, keepdim)))
    assert len(ran) == min(1, x.size)
    values, index = found
    expected, places = CPU[op](x, dim, keepdim)
    assert (values.dtype, index.dtype) == (x.dtype, np.int64)
    np.testing.assert_array_equal(values.get(), expected)
    np.testing.assert_array_equal(index.get(), places)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_tiles_that_many_blocks_share(dtype):
    """So many that the last block's threads have more parts than they load at once."""
    x = sample((6000, 128), dtype)
    with simulated.config(processors=16, checked=True):
        for op in ("sum", "amax", "argmin"):
            check(Gpu("sim", sim), op, x, 0 if op == "argmin" else (0,))


def least(op, dtype):
    """What a search for the largest (smallest) number begins with."""
    if dtype == "bool":
        return op == "min_dim"
    sign = -1 if op == "max_dim" else 1
    if dtype in FLOATS:
        return sign * INF
    return np.iinfo(dtype).min if sign < 0 else np.iinfo(dtype).max


# ---------------------------------------------------------------------- special values
INF, NAN = np.inf, np.nan
ROWS = np.array(
    [
        [1, 2, 3, 4],
        [1, NAN, 3, NAN],
        [NAN, NAN, NAN, NAN],
        [-INF, -INF, -INF, -INF],
        [INF, INF, INF, INF],
        [INF, 1, -INF, 2],
        [-INF, 0, -INF, 1],
        [0, -0.0, 0, -0.0],
        [5, 5, 5, 5],
        [-1000, -1000, -999, -1000],
        [80, 90, 100, 60000],
        [NAN, INF, -INF, 0],
    ]
)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("repeats", [1, 80, 3000])
def test_special_values(gpu, dtype, repeats):
    """Along rows, and along columns; in short rows, long ones, and such as several blocks share."""
    x = np.tile(ROWS, (1, repeats)).astype(dtype)
    columns = np.ascontiguousarray(x.T)
    for op in FOLDS:
        if op in ("sum", "mean", "prod") and (repeats > 1 or dtype == "float16"):
            continue  # too large for the dtype
        check(gpu, op, x, 1 if op.startswith("arg") else (1,))
        check(gpu, op, columns, 0 if op.startswith("arg") else (0,))
    for op in ("softmax", "log_softmax", "argsort"):
        check(gpu, op, x, 1)
        check(gpu, op, columns, 0)
    check(gpu, "argsort", x, 1, descending=True)
    check(gpu, "argsort", columns, 0, descending=True)


@pytest.mark.parametrize("op", ["argmax", "argmin", "argsort"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_and_limits(gpu, op, dtype):
    if dtype in FLOATS:
        limits = np.finfo(dtype)
        least = [limits.min, limits.max, limits.tiny, -limits.tiny, 0.0, -0.0, 1, -1, NAN, -NAN]
        least += [-INF, INF]
    elif dtype == "bool":
        least = [False, True]
    else:
        least = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1, np.iinfo(dtype).max - 1]
    x = np.random.default_rng(0).choice(np.array(least, dtype), 5000)
    check(gpu, op, x, 0)
    check(gpu, op, x[:100], 0)
    if op == "argsort":
        check(gpu, op, x, 0, descending=True)
    else:
        check(gpu, op, x.reshape(50, 100), None)


def test_argsort_keeps_numbers_below_the_normal_ones_apart(gpu):
    x = np.array([3e-45, 1e-45, 0, -1e-45, 1e-40], np.float32)
    check(gpu, "argsort", x, 0)


def test_float32_sums_stay_near_their_exact_values(gpu):
    """Ten million elements: as near as NumPy's pairwise summation, within a factor."""
    x = np.random.default_rng(0).random(10_000_000, dtype=np.float32)
    exact = x.sum(dtype=np.float64)
    total = REDUCTIONS["sum"](gpu, sim.asarray(x), (0,)).get()
    assert abs(total - exact) <= 1e-6 * exact
    columns = REDUCTIONS["sum"](gpu, sim.asarray(x.reshape(-1, 10)), (0,)).get()
    np.testing.assert_allclose(columns, x.reshape(-1, 10).sum(0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("shape", [(30,), (5000,), (100_003,), (9000, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products(gpu, shape, dtype):
    x = np.exp(np.random.default_rng(0).normal(0, 0.01, shape)).astype(dtype)
    given = REDUCTIONS["prod"](gpu, sim.asarray(x), (0,)).get()
    limit = {"float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(given, x.prod(0, dtype=np.float64), rtol=limit)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["softmax_backward", "log_softmax_backward"])
def test_derivatives_of_softmax(gpu, op, dtype):
    """In short rows, long ones, columns; g may be broadcast; z in strides."""
    for shape in [
        (40, 10),
        (40, 12),
        (3, 1000),
        (3, 1003),
        (3, 1600),
        (3, 5000),
        (50, 70),
        (5000, 3),
        (2, 300, 7),
        (),
        (0, 3),
        (3, 0),
    ]:
        for dim in range(max(1, len(shape))):
            with simulated.config(checked=True):
                g, z = sample(shape, dtype, 1), sample(shape, dtype, 2)
                if z.size:
                    z = CPU[op.removesuffix("_backward")](z, dim)
                given = REDUCTIONS[op](gpu, sim.asarray(g), sim.asarray(z), dim).get()
            expected = CPU[op](g.astype(np.float64), z.astype(np.float64), dim)
            assert given.dtype == dtype
            limit = TOLERANCE[dtype] * (1 + np.sqrt(z.size))
            np.testing.assert_allclose(given, expected, rtol=limit, atol=limit)


def test_a_running_sum_does_not_stop_growing(gpu):
    x = np.full(100_000, 1 + 2**-20, np.float32)
    x[0] = 2**24
    check(gpu, "cumsum", x, 0)


# ---------------------------------------------------------------------- shapes of results
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_scalars(gpu, dtype):
    x = sample((), dtype)
    for op in FOLDS:
        if takes(op, dtype):
            check(gpu, op, x, None if op.startswith("arg") else ())
            check(gpu, op, x, None if op.startswith("arg") else (), keepdim=True)
    for op in (*ALONG, "argsort"):
        if takes(op, dtype):
            check(gpu, op, x, 0)


@pytest.mark.parametrize(("op", "dim"), [("sum", (0, 1)), ("argmax", None), ("amax", (1, 0))])
def test_all_dimensions(gpu, op, dim):
    check(gpu, op, sample((70, 90), "float32"), dim)
    check(gpu, op, sample((70, 90), "float32"), dim, keepdim=True)


def test_no_rows(gpu):
    x = np.zeros((0, 3), np.float32)
    assert kernels(lambda: check(gpu, "amax", x, (1,))) == []
    assert kernels(lambda: check(gpu, "softmax", x, 1)) == []
    check(gpu, "argmax", x, 1)
    check(gpu, "argsort", x, 0)
    check(gpu, "cumsum", x, 0)


@pytest.mark.parametrize(
    ("op", "dim"),
    [("sum", (1,)), ("amax", (0,)), ("argmax", 1), ("all", (1,)), ("logsumexp", (0,)),
     ("softmax", 1), ("log_softmax", 0), ("cumsum", 0), ("argsort", 1)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_out(gpu, op, dim, dtype):
    """In its own dtype, in another, strided; and in the argument's own memory."""
    x = sample((6, 6), "float32")
    device = sim.asarray(x)
    expected = np.asarray(CPU[op](x, dim))
    own = gpu.empty(expected.shape, expected.dtype)
    wide = gpu.empty((2 * len(expected), *expected.shape[1:]), dtype)
    for out in (own, wide[: len(expected)], wide[1::2]):
        assert REDUCTIONS[op](gpu, device, dim, out=out) is out
        np.testing.assert_allclose(out.get(), expected.astype(out.dtype), rtol=1e-5, atol=1)
    if expected.shape == x.shape and expected.dtype == x.dtype:
        REDUCTIONS[op](gpu, device, dim, out=device)
        np.testing.assert_allclose(device.get(), expected, rtol=1e-5, atol=1e-6)
    elif expected.dtype == x.dtype:
        REDUCTIONS[op](gpu, device, dim, out=device[0])
        np.testing.assert_allclose(device[0].get(), expected, rtol=1e-5, atol=1e-6)


def test_a_launch_that_breaks_off_leaves_no_counts_behind(gpu):
    x = sim.asarray(sample((100_003,), "float32"))
    REDUCTIONS["sum"](gpu, x, (0,))
    before = gpu.tickets()
    with pytest.raises(RuntimeError), simulated.config(checked=True):
        gpu.launch("reduce", "sum_row", x.dtype, (1,), (64,), (np.float32(1),))
    assert gpu.tickets() is not before
    assert not gpu.tickets().get().any()


def test_streams_share_no_tickets(gpu, monkeypatch):
    monkeypatch.setattr("minitorch.backend.cuda.gpu.STREAMS", 2)
    places = set()
    streams = [sim.cuda.Stream() for _ in range(5)]
    for stream in streams * 2:
        with stream:
            places.add(gpu.tickets().data.ptr)
    assert len(places) == 5

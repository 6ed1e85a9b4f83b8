"""Stable sorting on the simulated GPU, against NumPy's."""

import ml_dtypes
import numpy as np
import pytest

import minitorch
from minitorch import nn, optim
from minitorch import sim as simulated
from minitorch.backend import sim
from minitorch.backend.cuda.gpu import Gpu
from minitorch.backend.cuda.sort import SHORT, TILE, argsort

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

FLOATS = ["float16", "bfloat16", "float32", "float64"]
DTYPES = [*FLOATS, "uint8", "int8", "int16", "int32", "int64", "bool"]
BITS = {
    "bool": 1,
    "uint8": 8,
    "int8": 8,
    "int16": 16,
    "float16": 16,
    "bfloat16": 16,
    "float32": 32,
    "int32": 32,
    "float64": 64,
    "int64": 64,
}
SCHEDULES = ["forward", "reverse", "random"]
LONG = ["sort_counts", "sort_scatter"]


@pytest.fixture
def gpu():
    return Gpu("sim", sim)


def sample(shape, dtype, seed=0):
    """All bits of integers, many magnitudes of floats, and ties."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype not in FLOATS:
        limits = np.iinfo(dtype)
        x = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    else:
        x = (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 4, shape)).astype(dtype)
    return np.where(rng.random(shape) < 0.2, x.dtype.type(3), x)


def reference(x, descending=False):
    """np.argsort along rows; in descending order too, equal elements stay in their places."""
    if x.dtype == "bfloat16":  # NumPy puts nan anywhere
        x = x.astype(np.float32)
    if not descending:
        return np.argsort(x, -1, kind="stable")
    flipped = np.argsort(np.flip(x, -1), -1, kind="stable")
    return np.flip(x.shape[-1] - 1 - flipped, -1)


def check(gpu, x, descending=False):
    given = argsort(gpu, sim.asarray(x), descending).get()
    assert given.dtype == np.int64
    np.testing.assert_array_equal(given, reference(x, descending))


def launched(run):
    """What the log has when something is run: (kind, name) pairs."""
    simulated.clear()
    run()
    return [(launch.kind, launch.name) for launch in simulated.launches()]


# ---------------------------------------------------------------------- against NumPy
SHAPES = [
    (1,), (2,), (3,), (31,), (33,), (512,), (513,), (1000,), (SHORT - 1,), (SHORT,), (SHORT + 1,),
    (2 * TILE,), (2 * TILE + 1,), (20_000,), (7, 1), (1000, 3), (70, 32), (9, 600), (3, 1025),
    (3, 5000), (2, 3, 2500), (40, 2100), (0,), (0, 3), (3, 0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows(gpu, shape, dtype):
    x = sample(shape, dtype)
    check(gpu, x)
    check(gpu, x, descending=True)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_many_elements(gpu, dtype):
    check(gpu, sample((300_000,), dtype))


def test_a_number(gpu):
    assert argsort(gpu, sim.asarray(np.float32(2))).get() == 0


ORDERS = {
    "equal": lambda n: np.full(n, 5),
    "ascending": np.arange,
    "descending": lambda n: np.arange(n)[::-1],
    "two": lambda n: np.arange(n) % 2,
    "first and last swapped": lambda n: np.roll(np.arange(n), 1),
    "in high bits": lambda n: np.random.default_rng(0).integers(0, 9, n) << 28,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [100, SHORT, 9000])
def test_orders(gpu, n, order):
    for dtype in ("int32", "int64", "float64"):
        x = ORDERS[order](n).astype(dtype)
        check(gpu, x)
        check(gpu, x, descending=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [50, 5000])
def test_special_numbers(gpu, n, dtype):
    limits = ml_dtypes.finfo(dtype)
    values = [limits.min, limits.max, limits.tiny, -limits.tiny, limits.smallest_subnormal]
    values += [0.0, -0.0, 1, -1, np.nan, -np.nan, np.inf, -np.inf]
    x = np.random.default_rng(0).choice(np.array(values, dtype), n)
    check(gpu, x)
    check(gpu, x, descending=True)


@pytest.mark.parametrize("shape", [(5, 7, 4), (3, 2100, 2), (2500,), ()])
@pytest.mark.parametrize("descending", [False, True])
def test_dimensions(shape, descending):
    """The op, along each dimension; of a view too."""
    x = sample(shape, "float32")
    for host, device in (
        (x, minitorch.tensor(x, device="sim")),
        (x.T, minitorch.tensor(x, device="sim").permute(tuple(reversed(range(x.ndim))))),
    ):
        for dim in range(x.ndim):
            given = device.argsort(dim, descending=descending)
            expected = np.moveaxis(reference(np.moveaxis(host, dim, -1), descending), -1, dim)
            np.testing.assert_array_equal(given.cpu().numpy(), expected)
        if not x.ndim:
            assert device.argsort(descending=descending).item() == 0


# ---------------------------------------------------------------------- limits
@pytest.mark.parametrize("n", [1, 1000, 6000])
@pytest.mark.parametrize("limit", [1, 2, 255, 256, 70_000, 1 << 40])
def test_indices_below_a_limit(gpu, n, limit):
    """What is out of range, negative or not, comes last, in its place."""
    x = np.random.default_rng(0).integers(0, limit, n)
    x[::7] = -1
    x[3::7] = limit + 5
    x[5::70] = np.iinfo(np.int64).max
    given = argsort(gpu, sim.asarray(x), limit=limit).get()
    inside = (x >= 0) & (x < limit)
    np.testing.assert_array_equal(given, np.argsort(np.where(inside, x, limit), kind="stable"))


# ---------------------------------------------------------------------- launches
def names(dtype, kernels):
    suffix = minitorch.backend.cuda_sources.SUFFIXES[np.dtype(dtype)]
    return [("kernel", f"{name}_{suffix}") for name in kernels]


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_launches_for_eight_bits(gpu, dtype):
    x = sim.asarray(sample((SHORT + 1,), dtype))
    assert launched(lambda: argsort(gpu, x)) == names(dtype, LONG * -(-BITS[dtype] // 8))


@pytest.mark.parametrize(
    ("limit", "passes"), [(1, 1), (255, 1), (256, 2), (65_535, 2), (1 << 20, 3)]
)
def test_a_limit_saves_launches(gpu, limit, passes):
    x = sim.asarray(np.random.default_rng(0).integers(0, limit, 3000))
    assert launched(lambda: argsort(gpu, x, limit=limit)) == names("int64", LONG * passes)


@pytest.mark.parametrize("shape", [(SHORT,), (300, 7), (5, 1500), (1,)])
def test_short_rows_take_one_launch(gpu, shape):
    x = sim.asarray(sample(shape, "float64"))
    assert launched(lambda: argsort(gpu, x)) == names("float64", ["sort_short"])


def test_nothing_takes_no_launch(gpu):
    assert launched(lambda: argsort(gpu, sim.empty((3, 0), np.float32))) == []


@pytest.mark.parametrize("n", [SHORT, 5000])
def test_a_sort_is_captured(gpu, n):
    """No host memory, no waiting: a graph of it sorts what is there when it is launched."""
    x = sim.asarray(sample((n,), "float32"), blocking=True)
    argsort(gpu, x)  # compiles
    stream = sim.cuda.Stream(non_blocking=True)
    pool = sim.cuda.MemoryPool()
    with stream, sim.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        order = argsort(gpu, x)
        graph = stream.end_capture()
    for seed in (1, 2):
        fresh = sample((n,), "float32", seed)
        x.set(fresh)
        graph.launch(stream)
        stream.synchronize()
        np.testing.assert_array_equal(order.get(), reference(fresh))


# ---------------------------------------------------------------------- checks
CHECKED = [(33,), (300, 7), (3, 600), (SHORT,), (SHORT + 1,), (2, 9000)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shape", CHECKED, ids=str)
def test_kernels_pass_the_checks(gpu, shape, schedule):
    for dtype in DTYPES:
        with simulated.config(checked=True, schedule=schedule, seed=3):
            check(gpu, sample(shape, dtype))


@pytest.mark.parametrize("shape", [(5000, 9), (3, 600), (30_000,), (20, 2500)], ids=str)
def test_small_grids(shape):
    """On a device of one multiprocessor every block has many rows, or many tiles."""
    with simulated.config(processors=1, checked=True):
        check(Gpu("sim", sim), sample(shape, "float32"))


@pytest.mark.parametrize("shape", [(30_000,), (3, 5000)], ids=str)
def test_large_grids(shape):
    """On a device of many, every tile of a row is a part of its own."""
    with simulated.config(processors=100, checked=True):
        check(Gpu("sim", sim), sample(shape, "float32"))


# ---------------------------------------------------------------------- who sorts
@pytest.mark.parametrize("n", [5, SHORT, 5000])
def test_permutations(n):
    minitorch.manual_seed(3)
    expected = minitorch.randperm(n, device="cpu")
    minitorch.manual_seed(3)
    log = launched(lambda: minitorch.randperm(n, device="sim"))
    minitorch.manual_seed(3)
    given = minitorch.randperm(n, device="sim")
    np.testing.assert_array_equal(given.cpu().numpy(), expected.numpy())
    assert {kind for kind, _ in log} == {"kernel"}


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1), optim.Adagrad, optim.SparseAdam])
@pytest.mark.parametrize("n", [300, 4000])
def test_sparse_steps(make, n):
    """Rows that are changed often, by a step that runs kernels and nothing else."""
    tables = []
    rows = np.random.default_rng(0).integers(0, 700, n)
    start = np.random.default_rng(1).standard_normal((700, 3))
    for device in ("cpu", "sim"):
        table = nn.Embedding(700, 3, sparse=True, dtype=minitorch.float64).to(device)
        with minitorch.no_grad():
            table.weight.copy_(minitorch.tensor(start, device=device))
        optimizer = make(table.parameters())
        table(minitorch.tensor(rows, device=device)).square().sum().backward()
        log = launched(optimizer.step)
        tables.append(table.weight.detach().cpu().numpy())
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-12, atol=1e-12)
    sorts = [name for kind, name in log if name.startswith("sort_")]
    assert sorts == (
        ["sort_short_i64"] if n <= SHORT else ["sort_counts_i64", "sort_scatter_i64"] * 2
    )
    assert {kind for kind, _ in log} == {"kernel"}


@pytest.mark.parametrize("n", [300, 4000])
def test_a_row_that_there_is_not(n):
    """Is reported once, and no row is changed by two blocks at a time."""
    table = nn.Embedding(700, 3, sparse=True).to("sim")
    optimizer = optim.SGD(table.parameters(), lr=0.1)
    rows = minitorch.tensor(np.random.default_rng(0).integers(0, 700, n), device="sim")
    with simulated.config(checked=True):
        table(rows).sum().backward()
        table.weight.grad.indices[::3] = 5 + 1024
        optimizer.step()
        with pytest.raises(IndexError, match="row: 1029 is out of range"):
            minitorch.sim.synchronize()


@pytest.mark.parametrize("n", [300, 4000])
def test_deterministic_sums(n):
    x = np.random.default_rng(0).standard_normal((40, 3)).astype("float32")
    index = np.random.default_rng(1).integers(0, 40, n)
    value = np.random.default_rng(2).standard_normal((n, 3)).astype("float32")
    minitorch.use_deterministic_algorithms(True)
    try:
        on_host, on_device = (
            minitorch.tensor(x, device=device).index_add_(
                0, minitorch.tensor(index, device=device), minitorch.tensor(value, device=device)
            )
            for device in ("cpu", "sim")
        )
    finally:
        minitorch.use_deterministic_algorithms(False)
    np.testing.assert_allclose(on_device.cpu().numpy(), on_host.numpy(), rtol=1e-4, atol=1e-4)

"""Sources on the simulated GPU: the CPU's numbers, random ones from the same Philox words."""

import numpy as np
import pytest

import minitorch
from minitorch import backend
from minitorch.backend import sim
from minitorch.backend.cpu.source import random_words
from minitorch.backend.sim.settings import config
from minitorch.sim import launches

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

CPU = backend.named("cpu").kernels
SIM = backend.named("sim").kernels
FLOATS = ["float16", "bfloat16", "float32", "float64"]
WHOLE = ["uint8", "int8", "int16", "int32", "int64"]
DTYPES = [*FLOATS, *WHOLE, "bool"]
# Around a block of the stream, a warp's and a thread block's stretch of it, and several of these.
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 255, 1023, 1025, 2047, 2048, 2049, 4100, 20_001]
PLACES = [(0, 0), (7, 3), (2**64 - 1, 2**40 + 1), (2**63 + 12345, 1)]


@pytest.fixture(autouse=True)
def checked():
    with config(checked=True, processors=1):
        yield


def both(name, *args, **params):
    """A kernel's result on both devices, as NumPy arrays of the same shape and dtype."""
    with np.errstate(all="ignore"):
        expected = np.asarray(CPU[name](*args, index=0, **params))
    given = SIM[name](*args, index=0, **params)
    assert given.flags.c_contiguous
    given = given.get()
    assert (given.shape, given.dtype) == (expected.shape, expected.dtype)
    return given, expected


def assert_equal(name, *args, **params):
    found = both(name, *args, **params)
    if found[0].dtype == "bfloat16":  # whose nan NumPy does not know for one
        found = [a.astype(np.float32) for a in found]
    np.testing.assert_array_equal(*found)


# ------------------------------------------------------------------ numbers
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 1, True, 3, 2.75])
def test_full(dtype, value):
    for shape in ((), (0, 3), (1,), (5, 7), (70,), (3, 1001)):
        assert_equal("full", shape, np.dtype(dtype), value=value)


def test_full_of_special_values():
    for value in (np.nan, np.inf, -np.inf, -0.0, 1e300, -1e-42):
        for dtype in FLOATS:
            assert_equal("full", (9,), np.dtype(dtype), value=value)
    for dtype in ("int32", "int64"):
        for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            assert_equal("full", (9,), np.dtype(dtype), value=value)
    with pytest.raises(OverflowError):
        SIM["full"]((2,), np.dtype("int32"), index=0, value=2**40)


def test_empty():
    x = SIM["empty"]((2, 3), np.dtype("float16"), index=1)
    assert (x.shape, x.dtype, x.device.id) == ((2, 3), np.float16, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arange(dtype):
    for n, start, step in ((0, 0, 1), (1, 5, 2), (20, 3, 1), (9, 40, -5), (5000, 0, 1)):
        if dtype not in ("uint8", "int8", "int16") or 0 <= start + n * step < 128:
            assert_equal("arange", n, np.dtype(dtype), start=start, step=step)
    if np.dtype(dtype).kind == "f":  # of integers the numbers are integers
        for n, start, step in ((11, 0.0, 0.1), (1000, 0.5, 1 / 3), (9, 5.0, -0.5)):
            assert_equal("arange", n, np.dtype(dtype), start=start, step=step)


def test_arange_of_large_integers():
    assert_equal("arange", 5, np.dtype("int64"), start=2**62, step=3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_linspace(dtype):
    for n, start, end in ((0, 0, 1), (1, 3, 7), (2, 0, 1), (5000, 0, 3), (38, 0.1, 0.7), (5, 4, 4)):
        assert_equal("linspace", n, np.dtype(dtype), start=start, end=end)


# ------------------------------------------------------------------ random numbers
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("place", PLACES)
def test_uniform_is_the_cpu_s_bit_for_bit(dtype, place):
    seed, offset = place
    for n in LENGTHS:
        assert_equal("uniform", (n,), np.dtype(dtype), seed=seed, offset=offset)
    assert_equal("uniform", (3, 5, 7), np.dtype(dtype), seed=seed, offset=offset)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("place", PLACES)
def test_normal_is_the_cpu_s_to_a_few_ulps(dtype, place):
    seed, offset = place
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 5e-7, "float64": 2e-15}[dtype]
    for n in LENGTHS:
        given, expected = both("normal", (n,), np.dtype(dtype), seed=seed, offset=offset)
        np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ends", [(0, 2), (-5, 6), (0, 256), (3, 4)])
def test_randint(dtype, ends):
    low, high = (0, 5) if dtype == "uint8" and ends[0] < 0 else ends
    for n in LENGTHS:
        assert_equal("randint", (n,), np.dtype(dtype), seed=9, offset=2, low=low, high=high)


def test_randint_of_wide_ranges():
    for low, high in ((0, 2**32), (0, 2**32 + 1), (-(2**63), 2**63 - 1), (-(2**31), 2**31)):
        assert_equal("randint", (999,), np.dtype("int64"), seed=1, offset=0, low=low, high=high)


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
def test_randperm(dtype):
    for n in (0, 1, 2, 9, 1025, 5000):
        assert_equal("randperm", n, np.dtype(dtype), seed=4, offset=1)


def test_the_words_are_numpy_s():
    words = random_words(11, 6, 4100)
    drawn = SIM["randint"](
        (4100,), np.dtype("int64"), index=0, seed=11, offset=6, low=0, high=2**63
    )
    np.testing.assert_array_equal(drawn.get(), (words % np.uint64(2**63)).astype(np.int64))


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_is_the_cpu_s_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    for n in LENGTHS:
        x = rng.normal(size=(n, 3)).astype(dtype)
        y = backend.named("sim").from_host(x, 0)
        for a, b in ((x, y), (x.T, y.T)):
            place = {"p": 0.3, "seed": 7, "offset": n}
            given = SIM["dropout"](b, **place, memo=[]).get()
            np.testing.assert_array_equal(given, CPU["dropout"](a, **place, memo=[]))
    out = backend.named("sim").from_host(np.zeros((3, n)), 0)
    assert SIM["dropout"](y, **place, memo=[], out=out.T) is not None
    np.testing.assert_array_equal(out.get().T, CPU["dropout"](x, **place, memo=[]))


def test_dropout_is_one_launch_each_way():
    x = minitorch.ones(40, 5, device="sim", requires_grad=True)
    g = minitorch.ones(40, 5, device="sim")
    before = len(launches())
    y = minitorch.nn.functional.dropout(x, 0.25)
    y.backward(g)
    names = [launch.name for launch in launches()[before:]]
    assert names == ["dropout_f32", "dropout_f32"]
    assert x.grad.tolist() == y.tolist()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_an_activation_and_its_dropout_are_one_kernel_each_way(activation, dtype):
    """The CPU's values to rounding, zeros in the same positions."""
    params = {"activation": activation, "p": 0.3, "seed": 7, "offset": 2}
    x, g = np.random.default_rng(0).normal(size=(2, 700, 3)).astype(dtype)
    x[:3] = 0, np.nan, np.inf
    memo = []
    on_sim = [backend.named("sim").from_host(a, 0) for a in (x, g)]
    expected, *saved = CPU["activation_dropout"](x, **params, memo=memo)
    wanted = CPU["activation_dropout_backward"](g, *saved, needs=(True,), **params, memo=memo)
    before = len(launches())
    given, *kept = SIM["activation_dropout"](on_sim[0], **params, memo=[])
    found = SIM["activation_dropout_backward"](on_sim[1], *kept, needs=(True,), **params, memo=[])
    assert len(launches()) == before + 2
    limit = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 2e-6, "float64": 1e-13}[dtype]
    for mine, theirs in zip((given, *found), (expected, *wanted), strict=True):
        mine, theirs = (a.astype(np.float64) for a in (mine.get(), theirs))
        np.testing.assert_allclose(mine, theirs, rtol=limit, atol=limit)
    assert (given.get() == 0).tolist() == (expected == 0).tolist()


def test_a_seed_means_the_same_on_every_device():
    def draw(device):
        minitorch.manual_seed(3)
        return [
            minitorch.rand(5, device=device),
            minitorch.randint(9, (4, 2), device=device),
            minitorch.randperm(6, device=device),
            minitorch.bernoulli(minitorch.full((50,), 0.3, device=device)),
        ]

    for given, expected in zip(draw("sim"), draw("cpu"), strict=True):
        assert given.tolist() == expected.tolist()

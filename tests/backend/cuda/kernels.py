"""One kernel on the simulated GPU against the same kernel on the CPU."""

import numpy as np
import pytest

from minitorch import backend
from minitorch.backend import sim

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

CPU = backend.named("cpu").kernels
SIM = backend.named("sim").kernels
FLOATS = ["float16", "float32", "float64"]
WHOLE = ["uint8", "int8", "int16", "int32", "int64"]
DTYPES = [*FLOATS, *WHOLE, "bool"]
TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}
# Of a base array of (6, 20): what both devices are given.
LAYOUTS = {
    "contiguous": lambda a: a[:5],
    "transposed": lambda a: a.T,
    "stepped": lambda a: a[::2, 1::3],
    "reversed": lambda a: a[::-1, ::-2],
    "offset by one": lambda a: a[:, 1:19],
    "3-d": lambda a: a.reshape(6, 4, 5)[:, 1:, ::2],
}


def sample(dtype, shape=(6, 20), seed=0):
    rng = np.random.default_rng(seed)
    if dtype in FLOATS:
        return np.asarray(rng.uniform(-3, 3, shape), dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return np.asarray(rng.integers(0 if dtype == "uint8" else -9, 10, shape), dtype)


def put(value):
    """NumPy arrays on the simulated GPU, also within tuples; all else as it is."""
    if isinstance(value, tuple):
        return tuple(put(item) for item in value)
    if isinstance(value, np.ndarray):
        return backend.named("sim").from_host(value.copy(), 0)
    return value


def get(array):
    """A device array on the host, after the error word has been looked at."""
    return backend.named("sim").to_host(array)


def laid_out(name, array):
    """The array in a layout, on the CPU and on the simulated GPU."""
    return LAYOUTS[name](array.copy()), LAYOUTS[name](put(array))


def assert_same(given, expected, tolerance=None):
    given, expected = get(given), np.asarray(expected)
    assert given.shape == expected.shape
    assert given.dtype == expected.dtype
    if expected.dtype.kind == "f":
        tolerance = TOLERANCE[expected.dtype.name] if tolerance is None else tolerance
        np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(given, expected)


def both(op, *args, tolerance=None, **params):
    """Run a kernel on both devices and compare. args: NumPy arrays, or (host, device) pairs."""
    pairs = [a if isinstance(a, tuple) else (a, put(a)) for a in args]
    expected = CPU[op](*[host for host, _ in pairs], **params)
    given = SIM[op](*[device for _, device in pairs], **{k: put(v) for k, v in params.items()})
    assert_same(given, expected, tolerance)

"""Which BLAS multiplies, its threads, and products through another CBLAS than NumPy's."""

import builtins
import ctypes
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

import minitorch
from minitorch.backend.cpu import blas
from tests.referee import rounding


def test_blas_has_a_name_and_threads():
    found = blas.blas()
    assert set(found) == {"name", "version", "threads"}
    if "openblas" in found["name"]:
        assert int(found["threads"]) >= 1


# ---------------------------------------------------------------------- threads
@pytest.fixture
def threads():
    before = minitorch.get_num_threads()
    yield before
    minitorch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_threads_are_set_for_numpys_blas():
    for n in (1, 2):
        minitorch.set_num_threads(n)
        assert minitorch.get_num_threads() == n
        if "openblas" in blas.blas()["name"]:
            assert blas.blas()["threads"] == str(n)


@pytest.mark.parametrize(
    ("num", "error", "message"),
    [
        (0, RuntimeError, "expected a positive number of threads, got 0"),
        (1.0, TypeError, "expected an int, got float"),
        (True, TypeError, "expected an int, got bool"),
    ],
)
def test_bad_numbers_of_threads(num, error, message):
    with pytest.raises(error, match=message):
        minitorch.set_num_threads(num)


def test_without_threadpoolctl_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "threadpoolctl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install .*\[blas\]"):
        minitorch.set_num_threads(1)
    with pytest.raises(ImportError, match=r"pip install .*\[blas\]"):
        minitorch.get_num_threads()


# ---------------------------------------------------------------------- products by another CBLAS
class Counted:
    """A function of a library that notes its calls."""

    def __init__(self, function, calls):
        vars(self).update(function=function, calls=calls)

    def __setattr__(self, name, value):
        setattr(self.function, name, value)

    def __call__(self, *args):
        self.calls.append(args)
        self.function(*args)


@pytest.fixture(scope="module")
def product():
    """The products as they would run on MKL, on the CBLAS that NumPy brings; and the calls."""
    for path in blas.loaded_libraries("openblas"):
        library = ctypes.CDLL(path)
        if hasattr(library, "scipy_cblas_sgemm64_"):
            calls = []
            names = ("scipy_cblas_sgemm64_", "scipy_cblas_dgemm64_")
            functions = [Counted(getattr(library, name), calls) for name in names]
            return blas.product(*functions, ctypes.c_int64), calls
    pytest.skip("this NumPy brings no OpenBLAS of SciPy's")


def matrix(rows, columns, dtype, lies):
    rng = np.random.default_rng(rows * columns)
    if lies == "rows":
        return rng.standard_normal((rows, columns)).astype(dtype)
    if lies == "columns":
        return rng.standard_normal((columns, rows)).astype(dtype).T
    if lies == "padded":
        return rng.standard_normal((rows, columns + 7)).astype(dtype)[:, 3:-4]
    if lies == "padded columns":
        return rng.standard_normal((columns, rows + 5)).astype(dtype)[:, 2:-3].T
    return rng.standard_normal((rows, 2 * columns)).astype(dtype)[:, ::2]


LIES = ["rows", "columns", "padded", "padded columns"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("y_lies", LIES)
@pytest.mark.parametrize("x_lies", LIES)
def test_products_equal_numpys(product, x_lies, y_lies, dtype):
    matmul, calls = product
    x, y = matrix(70, 230, dtype, x_lies), matrix(230, 110, dtype, y_lies)
    expected = x.astype(np.float64) @ y.astype(np.float64)
    tolerance = rounding(x, y)
    before = len(calls)
    found = matmul(x, y)
    assert len(calls) == before + 1
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=tolerance)
    out = np.full((70, 110), np.nan, dtype)
    assert matmul(x, y, out=out) is out
    np.testing.assert_allclose(out, expected, atol=tolerance)


def test_a_repeated_product_reads_what_the_memory_holds_then(product):
    matmul, calls = product
    x, y = matrix(70, 230, "float32", "rows"), matrix(230, 110, "float32", "columns")
    out = np.full((70, 110), np.nan, np.float32)
    repeat = matmul.repeated(x, y, out)
    before = len(calls)
    for _ in range(2):
        repeat()
        np.testing.assert_array_equal(out, matmul(x, y))
        x *= -2
    assert len(calls) == before + 4
    small = matmul.repeated(SQUARE[:10], SQUARE, out := np.empty((10, 120), np.float32))
    small()
    np.testing.assert_array_equal(out, SQUARE[:10] @ SQUARE)
    assert len(calls) == before + 4


def test_a_repeated_product_keeps_its_memory(product):
    matmul, _ = product
    x = matrix(120, 130, "float32", "rows")
    alive = weakref.ref(x)
    repeat = matmul.repeated(x, x.T, np.empty((120, 120), np.float32))
    del x
    assert alive() is not None
    del repeat
    assert alive() is None


SQUARE = np.random.default_rng(0).standard_normal((120, 120)).astype(np.float32)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (SQUARE[:10], SQUARE),  # small
        (SQUARE[0], SQUARE),
        (SQUARE[None], SQUARE[None]),
        (matrix(120, 120, np.float32, "every other"), SQUARE),
        (SQUARE, matrix(120, 120, np.float32, "every other")),
        (SQUARE[::-1], SQUARE),
        (SQUARE.astype(np.float64), SQUARE),
        (SQUARE.astype(np.float16), SQUARE.astype(np.float16)),
        (np.broadcast_to(SQUARE[0], (120, 120)), SQUARE),
        (SQUARE[:0], SQUARE),
    ],
)
def test_what_cblas_does_not_take_is_numpys(product, x, y):
    matmul, calls = product
    before = len(calls)
    np.testing.assert_array_equal(matmul(x, y), np.matmul(x, y))
    assert len(calls) == before


def test_an_out_that_overlaps_or_does_not_fit_is_numpys(product):
    matmul, calls = product
    before = len(calls)
    expected = SQUARE.astype(np.float64) @ SQUARE
    x, y = SQUARE.copy(), SQUARE.copy()
    turned = np.empty((120, 120), np.float32).T
    for found in (
        matmul(x, SQUARE, out=x),
        matmul(SQUARE, y, out=y),
        matmul(SQUARE, SQUARE, out=turned),
    ):
        np.testing.assert_allclose(found, expected, atol=rounding(SQUARE, SQUARE))
    with pytest.raises(ValueError, match="mismatch"):
        matmul(SQUARE, SQUARE, out=np.empty((120, 119), np.float32))
    with pytest.raises(ValueError, match="mismatch"):
        matmul(SQUARE, SQUARE[:119])
    assert len(calls) == before


# ---------------------------------------------------------------------- the choice
STEP = """
import minitorch, numpy as np
from minitorch import nn
from minitorch.backend.cpu.blas import _openblas_threads, blas
if blas()["name"] == "mkl":  # beside which OpenBLAS keeps still
    assert _openblas_threads() in (1, None)
    minitorch.set_num_threads(2)
    assert _openblas_threads() in (1, None)
    assert minitorch.get_num_threads() == 2
minitorch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
x = minitorch.randn(64, 784)
y = minitorch.arange(64) % 10
nn.functional.cross_entropy(model(x), y).backward()
print(blas()["name"], blas()["threads"])
print(float(model[0].weight.grad.double().norm()))

@minitorch.compile
def step(x, y):
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss

expected = [p.grad.clone() for p in model.parameters()]
for _ in range(3):
    step(x, y)
print(step.replays, all((p.grad == g).all() for p, g in zip(model.parameters(), expected)))
"""


def chosen(name):
    """What a step prints with this BLAS, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", STEP],
        env=os.environ | {"MINITORCH_BLAS": name},
        capture_output=True,
        text=True,
        check=False,
    )


def has_mkl():
    try:
        blas._mkl_library()
    except ImportError:
        return False
    return True


def test_numpys_blas_is_the_default():
    assert "MINITORCH_BLAS" in os.environ or blas.matmul is np.matmul
    assert chosen("numpy").returncode == 0


def test_mkl_is_taken_where_it_is_and_otherwise_named():
    done = chosen("mkl")
    if not has_mkl():
        assert "ImportError: MINITORCH_BLAS=mkl needs MKL: pip install" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    name, norm, compiled = done.stdout.splitlines()
    assert compiled == "1 True"
    assert name.startswith("mkl ")
    assert float(norm) == pytest.approx(float(chosen("numpy").stdout.splitlines()[1]), rel=1e-5)


def test_another_name_is_refused():
    assert "MINITORCH_BLAS: expected numpy or mkl, got 'atlas'" in chosen("atlas").stderr

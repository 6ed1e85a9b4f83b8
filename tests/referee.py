"""Run one piece of code in minitorch and in PyTorch and compare all that can be seen of it.

`compare(call, *arrays)` calls `call(m, *tensors)` with m = minitorch and with m = torch. Results
must agree in structure, dtype, shape, values and whether they require grad; then the gradients of
every floating input. Where one raises, the other must raise too.
"""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch

import minitorch
from minitorch import backend
from minitorch.core.dtypes import KINDS

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES += FLOATS
TOLERANCE = {"float16": 4e-3, "bfloat16": 3.2e-2, "float32": 3e-5, "float64": 1e-10}


def require_newest():
    """Skip a test of names that an older PyTorch lacks, as that of `make gpu` for CUDA 12 may."""
    if torch.__version__ < (2, 13):
        pytest.skip(f"PyTorch {torch.__version__} lacks names of PyTorch 2.13")


def ours(array, requires_grad=False):
    """A minitorch tensor on the default device."""
    return minitorch.tensor(np.asarray(array), requires_grad=requires_grad)


def theirs(array, requires_grad=False):
    """The same as a PyTorch tensor."""
    array = np.asarray(array)
    if array.dtype == "bfloat16":  # which PyTorch does not take from NumPy
        bits = torch.tensor(array.view(np.int16))
        return bits.view(torch.bfloat16).requires_grad_(requires_grad)
    return torch.tensor(array, requires_grad=requires_grad)


# Runs a test in minitorch and in PyTorch: test(m, make)
LIBRARIES = pytest.mark.parametrize(
    ("m", "make"), [(minitorch, ours), (torch, theirs)], ids=["minitorch", "torch"]
)


def is_tensor(x):
    return isinstance(x, (minitorch.Tensor, torch.Tensor))


def array(x):
    """A tensor's elements, or those of an array, as a NumPy array."""
    if isinstance(x, np.ndarray):
        return x
    if x.dtype is torch.bfloat16:
        return x.detach().view(torch.int16).numpy().view("bfloat16")
    return x.detach().cpu().numpy()


def is_floating(a):
    """Whether a NumPy array, or what becomes one, holds floating-point numbers."""
    return KINDS.get(np.asarray(a).dtype) == "f"


def settle(result=None):
    """The result, once the device under test is done; what its kernels found wrong is raised."""
    serving, index = backend.resolve(None)
    serving.synchronize(index)
    return result


def dtype_name(x):
    return str(x.dtype).split(".")[-1]


def flat(x):
    """A result as a flat list of tensors and Python values."""
    if isinstance(x, (tuple, list)):
        return [leaf for item in x for leaf in flat(item)]
    return [x]


def assert_same(mine, other, what="result", tolerance=None):
    """Equal dtype, shape, values and requires_grad, for tensors; equal values for numbers."""
    assert is_tensor(mine) == is_tensor(other), f"{what}: {mine!r} against {other!r}"
    if not is_tensor(mine):
        if isinstance(other, torch.dtype):
            mine, other = str(mine).split(".")[-1], str(other).split(".")[-1]
        if isinstance(other, float):
            np.testing.assert_allclose(mine, other, rtol=3e-5, err_msg=what)
        else:
            assert mine == other, f"{what}: {mine!r} against {other!r}"
        return
    assert dtype_name(mine) == dtype_name(other), f"{what}: {mine.dtype} against {other.dtype}"
    assert tuple(mine.shape) == tuple(other.shape), f"{what}: {mine.shape} against {other.shape}"
    assert mine.requires_grad == other.requires_grad, f"{what}: requires_grad"
    assert_close(array(mine), array(other), what, tolerance)


def assert_close(a, b, what="result", tolerance=None):
    if not is_floating(a):
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    tolerance = TOLERANCE[a.dtype.name] if tolerance is None else tolerance
    if a.dtype == "bfloat16":  # which NumPy's test would compare in bfloat16
        a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)


def rounding(a, b):
    """How far two sums of the products `a @ b` may be apart, added up in whatever order.

    Either is within n u Σ|a||b| of the exact one, n products each and u half of eps (Higham 2002,
    "Accuracy and Stability of Numerical Algorithms", section 3.1).
    """
    sizes = np.abs(a).astype(np.float64) @ np.abs(b)
    return np.shape(a)[-1] * np.finfo(np.result_type(a, b)).eps * sizes.max()


ERRORS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


class Raised:
    """What stands for a result where the code raised."""

    def __init__(self, error):
        self.error = error

    def __repr__(self):
        return f"{type(self.error).__name__}: {self.error}"


def attempt(call, *args):
    """The result, or the error as a `Raised`; PyTorch's warnings are of no interest."""
    library = "ignore" if args and args[0] is torch else "error"
    with warnings.catch_warnings():
        warnings.simplefilter(library)
        try:
            return settle(call(*args))
        except ERRORS as error:
            with suppress(*ERRORS):
                settle()  # nothing that belongs to this failure may wait for the next test
            return Raised(error)


def compare(call, *arrays, grad=True, views=None, tolerance=None, may_raise=True):
    """Compare `call(m, *tensors)`; views: a function of each tensor, applied before the call."""
    views = [lambda x: x] * len(arrays) if views is None else views
    leaves = []
    results = []
    for m, make in ((minitorch, ours), (torch, theirs)):
        mine = [make(a, requires_grad=grad and is_floating(a)) for a in arrays]
        leaves.append(mine)
        results.append(attempt(call, m, *[v(x) for v, x in zip(views, mine)]))
    mine, other = results
    if isinstance(other, Raised) and isinstance(other.error, NotImplementedError):
        return  # PyTorch has no kernel for this dtype; that is no rule
    if isinstance(mine, Raised) or isinstance(other, Raised):
        both = isinstance(mine, Raised) and isinstance(other, Raised)
        assert both and may_raise, f"minitorch: {mine!r}\nPyTorch: {other!r}"
        return
    mine, other = flat(mine), flat(other)
    assert len(mine) == len(other)
    for i, (a, b) in enumerate(zip(mine, other)):
        assert_same(a, b, f"result {i}", tolerance)
    if grad:
        compare_gradients(mine, other, *leaves, tolerance=tolerance)


def compare_gradients(mine, other, our_leaves, their_leaves, tolerance=None):
    """Pull the same random cotangents back through both and compare at the leaves."""
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a, b in zip(mine, other) if is_tensor(a) and a.requires_grad]
    pairs = [(a, b) for a, b in pairs if a.is_leaf is False and b.is_leaf is False]
    if not pairs:
        return
    weights = [rng.normal(size=tuple(b.shape)).astype(dtype_name(b)) for _, b in pairs]

    def pull(m, make, ys):
        m.autograd.backward(ys, [make(w).to(y.device) for w, y in zip(weights, ys)])

    done = [
        attempt(lambda m, ys=ys, make=make: pull(m, make, ys), m)
        for m, make, ys in zip((minitorch, torch), (ours, theirs), zip(*pairs))
    ]
    if any(isinstance(r, Raised) for r in done):
        assert all(isinstance(r, Raised) for r in done), f"backward: {done[0]} against {done[1]}"
        return
    for i, (x, y) in enumerate(zip(our_leaves, their_leaves)):
        if y.grad is None:
            assert x.grad is None or not np.any(array(x.grad)), f"gradient {i}: {x.grad}"
            continue
        if x.grad is None:  # what was overwritten entirely has no gradient here, zeros there
            assert not np.any(array(y.grad)), f"gradient {i} is None against {y.grad}"
            continue
        assert_same(x.grad, y.grad, f"gradient {i}", tolerance)


# ---------------------------------------------------------------------- drawn inputs
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e15])


def draw_array(rng, shape, dtype, special=False):
    """Numbers of a dtype, many of them equal; with nan, infinities and zeros if `special`."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        return rng.integers(0 if kind == "u" else -6, 7, shape).astype(dtype)
    a = np.where(rng.random(shape) < 0.3, rng.integers(-2, 3, shape), 2 * rng.normal(size=shape))
    if special:
        a = np.where(rng.random(shape) < 0.6, rng.choice(SPECIAL, shape), a)
    with np.errstate(over="ignore"):
        return np.asarray(a, dtype)


def laid_out(a, layout):
    """An array and a view of it that has the elements of `a` in another memory layout."""
    if layout == "transposed" and a.ndim:
        return a.T.copy(), lambda x: x.permute(*reversed(range(a.ndim)))
    if layout == "sliced" and a.ndim:
        base = np.ones((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
        base[..., 1::2] = a
        return base, lambda x: x[..., 1::2]
    if layout == "expanded" and a.ndim and a.shape[0] > 1:
        a[:] = a[:1]
        return a[:1].copy(), lambda x: x.expand(a.shape)
    return a, lambda x: x


LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


def in_threads(work, count):
    """Call work(i) in so many threads at once, which change often; raise what one raises."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))
    finally:
        sys.setswitchinterval(before)

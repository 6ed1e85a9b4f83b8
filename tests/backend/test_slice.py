"""A backend of six C++ kernels on memory that NumPy cannot see trains an MLP.

It shows that the backend interface is enough, and that nothing above it leaks NumPy: the array
type has no arithmetic and no conversion, so any use of it outside of an entry raises.
"""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import minitorch
from minitorch import backend, nn, optim

TYPES = {np.dtype("float32"): 0, np.dtype("int64"): 1, np.dtype("bool"): 2}


class View(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int64),
        ("ndim", ctypes.c_int64),
        ("shape", ctypes.c_int64 * 4),
        ("stride", ctypes.c_int64 * 4),
    )


class Flags:
    def __init__(self, c_contiguous):
        self.c_contiguous = c_contiguous


class SliceArray:
    """Memory, shape and steps: all that the framework may ask of an array."""

    def __init__(self, shape, dtype, memory=None, steps=None):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.memory = memory or ctypes.create_string_buffer(max(self.nbytes, 1))
        self.steps = contiguous(shape) if steps is None else tuple(steps)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    strides = property(lambda self: tuple(s * self.dtype.itemsize for s in self.steps))
    flags = property(lambda self: Flags(self.steps == contiguous(self.shape)))

    def view(self):
        pad = (0,) * (4 - self.ndim)
        return View(
            ctypes.addressof(self.memory), TYPES[self.dtype], self.ndim,
            (*self.shape, *pad), (*self.steps, *pad),
        )  # fmt: skip

    def expand(self, shape):
        lead = len(shape) - self.ndim
        have = (1,) * lead + self.shape
        steps = (0,) * lead + self.steps
        steps = [0 if h != n else s for h, n, s in zip(have, shape, steps, strict=True)]
        return SliceArray(shape, self.dtype, self.memory, steps)


def contiguous(shape):
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    library = tmp_path_factory.mktemp("slice") / "slice.so"
    source = Path(__file__).with_name("slice.cpp")
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.binary.argtypes = [ctypes.c_char, View, View, View]
    loaded.copy.argtypes = [View, View]
    loaded.fill.argtypes = [View, ctypes.c_double]
    loaded.sum.argtypes = [View, View]
    loaded.matmul.argtypes = [View, View, View]
    loaded.cross_entropy.argtypes = [View, View, View, View]
    return loaded


def entries_of(k):
    """The ops of a training step, made of the six kernels."""

    def binary(symbol, dtype=None):
        def entry(a, b, out=None):
            a, b = (full((), np.float32, 0, z) if isinstance(z, float) else z for z in (a, b))
            shape = np.broadcast_shapes(a.shape, b.shape)
            out = out or SliceArray(shape, dtype or a.dtype)
            k.binary(symbol, a.expand(shape).view(), b.expand(shape).view(), out.view())
            return out

        return entry

    def full(shape, dtype, index, value):
        out = SliceArray(shape, dtype)
        k.fill(out.view(), value)
        return out

    def cast(x, dtype, source=None):
        out = SliceArray(x.shape, dtype)
        k.copy(x.view(), out.view())
        return out

    def view(x, shape):
        if not x.flags.c_contiguous:
            raise ValueError("a copy would be needed")
        return SliceArray(shape, x.dtype, x.memory)

    def permute(x, dims):
        shape, steps = ([v[d] for d in dims] for v in (x.shape, x.steps))
        return SliceArray(shape, x.dtype, x.memory, steps)

    def total(x, dim, keepdim=False):
        kept = [1 if i in dim else n for i, n in enumerate(x.shape)]
        out = full(kept, x.dtype, 0, 0.0)
        k.sum(x.view(), out.expand(x.shape).view())
        left = kept if keepdim else [n for i, n in enumerate(x.shape) if i not in dim]
        return SliceArray(left, x.dtype, out.memory)

    def matmul(a, b):
        out = SliceArray((a.shape[0], b.shape[1]), a.dtype)
        k.matmul(a.view(), b.view(), out.view())
        return out

    def linear(x, weight, bias):
        product = matmul(x, permute(weight, (1, 0)))
        return binary(b"+")(product, bias, out=product), x, weight

    def linear_backward(g, x, weight, needs):
        grads = (
            lambda: matmul(g, weight),
            lambda: matmul(permute(g, (1, 0)), x),
            lambda: total(g, (0,)),
        )
        return [grad() if need else None for grad, need in zip(grads, needs, strict=True)]

    def cross_entropy(x, target, ignore_index, reduction):
        assert reduction == "mean"
        loss, grad = SliceArray(x.shape[:1], x.dtype), SliceArray(x.shape, x.dtype)
        k.cross_entropy(x.view(), target.view(), loss.view(), grad.view())
        n = float(x.shape[0])
        return binary(b"/")(total(loss, (0,)), n), binary(b"/")(grad, n)

    def copy_(x, source):
        k.copy(source.expand(x.shape).view(), x.view())

    return {
        "add": binary(b"+"), "sub": binary(b"-"), "mul": binary(b"*"), "div": binary(b"/"),
        "gt": binary(b">", "bool"), "relu": lambda x: binary(b"m")(x, 0.0),
        "full": full, "cast": cast, "clone": lambda x: cast(x, x.dtype), "copy_": copy_,
        "view": view, "permute": permute, "expand": lambda x, shape: x.expand(shape),
        "sum": total, "linear": linear, "linear_backward": linear_backward,
        "cross_entropy": cross_entropy,
        "cross_entropy_backward": lambda g, grad, needs, **params: [binary(b"*")(grad, g)],
        "check_range": lambda index, length, what: index,
        "transfer": backend.base.transfer,
    }  # fmt: skip


def from_host(array, index):
    result = SliceArray(array.shape, array.dtype)
    ctypes.memmove(result.memory, np.ascontiguousarray(array).tobytes(), array.nbytes)
    return result


@pytest.fixture
def slice_device(kernels):
    entries = entries_of(kernels)

    def to_host(array):
        whole = entries["clone"](array)
        return np.frombuffer(whole.memory, whole.dtype, whole.size).reshape(whole.shape)

    def refuse(value):
        raise TypeError(f"{type(value)} came out of an entry of another array type")

    def address(array):
        return ctypes.addressof(array.memory)

    views = frozenset({"view", "permute", "expand"})
    backend.register(
        backend.Backend("slice", SliceArray, entries, views, from_host, to_host, refuse, address)
    )
    yield "slice"
    backend.unregister("slice")


def train(device, steps):
    """Losses and final parameters of a small MLP; the same start and data on every device."""
    minitorch.manual_seed(0)
    with minitorch.device("cpu"):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        x, y = minitorch.randn(16, 6), minitorch.randint(3, (16,))
    model.to(device)
    x, y = x.to(device), y.to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.detach().to("cpu") for p in model.parameters()], model


def test_an_mlp_trains_on_six_kernels(slice_device):
    losses, parameters, model = train(slice_device, steps=10)
    assert all(type(p.array) is SliceArray for p in model.parameters())
    assert losses[-1] < 0.9 * losses[0]
    expected_losses, expected, _ = train("cpu", steps=10)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for p, q in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), atol=1e-6)


def test_an_op_that_the_device_lacks_is_named(slice_device):
    x = minitorch.tensor([1.0], device=slice_device)
    with pytest.raises(NotImplementedError, match=r"exp: device 'slice' has no such op"):
        x.exp()


def test_devices_do_not_mix(slice_device):
    x = minitorch.tensor([1.0], device=slice_device)
    y = minitorch.tensor([1.0], device="cpu")
    with pytest.raises(RuntimeError, match=r"add: .*slice and cpu.*\.to\('slice'\)"):
        x + y
    with pytest.raises(TypeError):
        x.numpy()


def test_the_default_device_can_be_set_for_a_block(slice_device):
    with minitorch.device(slice_device):
        assert minitorch.zeros(2).device == minitorch.device("slice")
    assert minitorch.zeros(2).device.type != "slice"

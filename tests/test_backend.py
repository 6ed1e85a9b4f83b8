"""Devices by name, the default device, and what happens between two of them."""

import copy
import pickle
import threading

import numpy as np
import pytest

import minitorch
from minitorch import backend
from minitorch.backend.transfer import transfer
from minitorch.core import device
from minitorch.core.dispatch import REGISTRY
from tests.referee import ours


class OtherArray(np.ndarray):
    """Arrays of a second device, to have one beside the cpu."""


def _other(function):
    def kernel(*args, **kwargs):
        return np.asarray(function(*args, **kwargs)).view(OtherArray)

    return kernel


@pytest.fixture
def other():
    """A second device with two numbers, which computes as the cpu does."""
    cpu = backend.named("cpu")
    kernels = {name: _other(f) for name, f in cpu.kernels.items()}
    kernels["transfer"] = transfer
    backend.register(
        backend.Backend(
            name="other",
            array_type=OtherArray,
            kernels=kernels,
            views=cpu.views,
            from_host=lambda array, index: array.copy().view(OtherArray),
            to_host=lambda array: np.array(array),
            as_array=lambda x: np.asarray(x).view(OtherArray),
            address=cpu.address,
            index=lambda array: 0,
            count=lambda: 2,
        )
    )
    yield "other"
    backend.unregister("other")


def test_names():
    d = minitorch.device("cpu")
    assert (d.type, d.index) == ("cpu", None)
    assert str(d) == "cpu"
    assert repr(d) == "device(type='cpu')"
    e = minitorch.device("cuda:1")
    assert (e.type, e.index) == ("cuda", 1)
    assert e == minitorch.device("cuda", 1) != minitorch.device("cuda")
    assert repr(e) == "device(type='cuda', index=1)"
    assert minitorch.device(e) == e
    assert len({d, minitorch.device("cpu"), e}) == 2
    assert copy.deepcopy(e) == e
    assert pickle.loads(pickle.dumps(e)) == e
    assert minitorch.device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "device: expected one of cpu, .*got 'gpu'"),
        ("", "device: expected one of"),
        ("cpu:x", "device: invalid device string 'cpu:x'"),
        ("cuda:-1", "device: invalid device string 'cuda:-1'"),
        (3, "device: expected a string such as 'cpu', got 3"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises((RuntimeError, TypeError), match=message):
        minitorch.device(name)


def _absent():
    raise RuntimeError("nobody has one")


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setitem(device._makers, "absent", _absent)
    for ask in (
        lambda: minitorch.zeros(1, device="absent"),
        lambda: minitorch.set_default_device("absent"),
        minitorch.device("absent").__enter__,
    ):
        with pytest.raises(RuntimeError, match="device 'absent' is not available: nobody has one"):
            ask()
    with pytest.raises(RuntimeError, match="device 'cpu:5' does not exist: there are 1 of 'cpu'"):
        minitorch.zeros(1, device="cpu:5")


def test_the_default_device(other, device):
    assert minitorch.get_default_device() == minitorch.device(device)
    with minitorch.device(other):
        assert minitorch.zeros(1).device.type == other
        assert minitorch.tensor([1.0]).device.type == other
        assert minitorch.rand(2).device.type == other
        with minitorch.device("cpu"):
            assert minitorch.zeros(1).device.type == "cpu"
        assert minitorch.zeros(1, device="cpu").device.type == "cpu"
        assert minitorch.get_default_device().type == other
    assert minitorch.get_default_device() == minitorch.device(device)
    try:
        minitorch.set_default_device(other)
        assert minitorch.arange(3).device.type == other
    finally:
        minitorch.set_default_device(device)


def test_a_device_s_block_is_for_its_thread_alone(other, device):
    found = []
    with minitorch.device(other):
        thread = threading.Thread(target=lambda: found.append(minitorch.zeros(1).device.type))
        thread.start()
        thread.join()
    assert found == [minitorch.device(device).type]


def test_tensors_travel_and_gradients_travel_back(other):
    x = minitorch.tensor([1.0, 2.0], device="cpu", requires_grad=True)
    y = x.to(other)
    assert y.device == minitorch.device("other:0")
    assert type(y.array) is OtherArray
    (y * y).sum().backward()
    assert x.grad.device.type == "cpu"
    assert x.grad.tolist() == [2.0, 4.0]
    assert y.cpu().tolist() == [1.0, 2.0]
    assert x.to(y).device == y.device
    assert y.to("other").device == y.device
    assert y.detach().to(device="cpu", dtype=minitorch.int64).tolist() == [1, 2]


MIXED = {
    "add": lambda x, y: x + y,
    "matmul": lambda x, y: x @ y,
    "where": lambda x, y: minitorch.where(x > 0, x, y),
    "cat": lambda x, y: minitorch.cat([x, y]),
    "eq": lambda x, y: x == y,
    "setitem": lambda x, y: x.__setitem__(0, y[0]),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_devices_is_an_error_that_names_the_way_out(other, name):
    x, y = minitorch.ones(2, device="cpu"), minitorch.ones(2, device=other)
    with pytest.raises(RuntimeError) as error:
        MIXED[name](x, y)
    assert name in str(error.value)
    assert "cpu" in str(error.value)
    assert "other:0" in str(error.value)
    assert ".to('cpu')" in str(error.value)


def test_indices_of_another_device_are_an_error(other):
    x = minitorch.ones(3, device="cpu")
    with pytest.raises(RuntimeError, match=r"indices on other:0 .*use \.to\('cpu'\)"):
        x[minitorch.tensor([0], device=other)]


def test_numpy_is_for_the_cpu(other):
    x = minitorch.ones(2, device=other)
    with pytest.raises(TypeError, match=r"numpy: this tensor is on other:0; use \.cpu\(\) first"):
        x.numpy()
    assert x.tolist() == [1.0, 1.0]
    assert x.sum().item() == 2.0


def test_no_backend_holds_foreign_arrays():
    with pytest.raises(TypeError, match="no backend holds arrays of"):
        backend.of([1.0])


def test_an_op_that_a_device_lacks(other):
    x = minitorch.ones(2, device=other)
    missing = backend.named(other).kernels.pop("sin")
    REGISTRY["sin"].kernels.pop(OtherArray, None)
    try:
        with pytest.raises(NotImplementedError, match="sin: device 'other' has no such op"):
            x.sin()
    finally:
        backend.named(other).kernels["sin"] = missing


def test_a_device_that_is_gone_is_forgotten(other):
    (minitorch.ones(2, device=other) + 1).sum()
    gone = backend.named(other)
    backend.unregister(other)
    try:
        with minitorch.autograd.detect_anomaly():
            assert (ours([1.0]) + 1).tolist() == [2.0]
        assert OtherArray not in REGISTRY["add"].kernels
    finally:
        backend.register(gone)


def test_results_are_arrays_also_where_numpy_gives_numbers():
    x = ours(np.array(2.0))
    for y in (x + x, x * 2, -x, x.exp(), x.sum(), x > 1, x @ x if x.ndim else x, ours([1.0]).sum()):
        assert type(y.array) is type(x.array)


INF, NAN = float("inf"), float("nan")
EDGES = {
    "index_add": lambda x, i, s: x.index_add(0, i, s),
    "index_add_": lambda x, i, s: x.index_add_(0, i, s, alpha=10),
    "index_add_ of rows": lambda x, i, s: x[:, None].clone().index_add_(0, i, s[:, None], alpha=9),
    "scatter_add_": lambda x, i, s: x.scatter_add_(0, i, s),
    "index, backward": lambda x, i, s: x.requires_grad_()[i].backward(s),
    "gather, backward": lambda x, i, s: x.requires_grad_().gather(0, i).backward(s),
    "inf - inf": lambda x, i, s: (x + s, x - x, x * 0, x / x, s * s, -s, abs(s)),
    "in place": lambda x, i, s: x.add_(s).mul_(0).sub_(s).div_(0),
    "float16": lambda x, i, s: (s.half() + s.half(), s.half() * 2, s.half().exp()),
    "to integers": lambda x, i, s: (x.long(), s.int(), x.bool()),
    "from too large a number": lambda x, i, s: (
        minitorch.tensor([1e300]),
        minitorch.tensor([1e10], dtype=minitorch.float16),
        minitorch.full((2,), 1e300, dtype=minitorch.float32),
        minitorch.arange(0, 1e39, 1e38),
        minitorch.linspace(0, 1e300, 3),
    ),
    "writing too large a number": lambda x, i, s: (
        x.__setitem__(0, 1e300), x.__setitem__(i, 1e300), x.fill_(1e300),
        x.masked_fill(x > 0, 1e300), x.clamp(-1e300, 1e300), x * 1e300,
    ),
    "reductions": lambda x, i, s: (
        s.sum(), s.mean(), s.var(), s.std(), s.norm(), s.cumsum(0), s.logsumexp(0), s.softmax(0),
        s.prod(), s.max(), s.amin(), s.argsort(), s.unique(), (x @ s),
    ),
    "mathematics": lambda x, i, s: [
        getattr(y, name)()
        for y in (x, s, -s, x * NAN)
        for name in ("exp", "log", "sqrt", "rsqrt", "reciprocal", "sin", "tan", "sigmoid", "tanh",
                     "erf", "log1p", "expm1", "sign", "round", "relu")
    ],
    "powers": lambda x, i, s: (x**1.5, s**-3, (-x) ** 0.5, x % 0, x // 0, minitorch.gelu(x)),
    "losses": lambda x, i, s: (
        minitorch.bce_with_logits(x, x), minitorch.softplus(x), minitorch.logsigmoid(s),
        minitorch.fused.cross_entropy(s[None], i[:1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_numpy_s_warnings_do_not_leak(name):
    """Warnings are errors in this suite; what overflows gives inf or nan, in silence."""
    x = minitorch.tensor([INF, 1.0, -2.0])
    i = minitorch.tensor([0, 0, 1])
    s = minitorch.tensor([-INF, 3e38, 3e38])
    EDGES[name](x, i, s)


def test_the_package_passes_on_the_names_of_arrays():
    names = {"ARRAY_DTYPES", "FLOAT32", "FLOAT64", "Array", "HalfScalar"}
    assert names <= set(backend.__all__) and all(hasattr(backend, name) for name in names)

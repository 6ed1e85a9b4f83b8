"""Steps of optimizers by Numba beside those by NumPy: the same to the last bit."""

import sys

import numpy as np
import pytest

import minitorch
from minitorch.backend.cpu import compiled_optim, optim

ADAM = {
    "size": 1.2345e-3,
    "eps": 1e-8,
    "beta1": 0.9,
    "beta2": 0.999,
    "keep": 1,
    "weight_decay": 0,
    "maximize": False,
}
SGD = {
    "lr": 0.0123,
    "momentum": 0,
    "dampening": 0,
    "weight_decay": 0,
    "nesterov": False,
    "maximize": False,
    "first": False,
}


@pytest.fixture(autouse=True)
def start(monkeypatch):
    """As at the start of a process; and what is done here counts for nothing after."""
    monkeypatch.setattr(optim, "_worked", 0)
    monkeypatch.setattr(optim, "_machine_code", None)


def columns(shape, dtype, count=4):
    """Parameter, mean, mean square and gradient, with what is not finite among them."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for _ in range(count)]
    arrays[2:3] = [np.abs(a) for a in arrays[2:3]]
    arrays[-1].flat[:3] = np.nan, np.inf, -np.inf
    return arrays


def run(rule, arrays, options, code):
    """The rule on copies, by this machine code (False: by NumPy)."""
    optim._machine_code = code
    copies = [None if a is None else a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        optim._run(rule, [() if a is None else [a] for a in copies], (), (), options)
    return copies


def same_bits(a, b):
    """Of numbers: what is none may have either sign."""
    x, y = (np.where(np.isnan(c), np.asarray(np.nan, c.dtype), c) for c in (a, b))
    return x.dtype == y.dtype and x.tobytes() == y.tobytes()


class Counted:
    """The machine code, and the names of what was called."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(compiled_optim, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"maximize": True}, {"weight_decay": 0.1, "maximize": True}],
    ids=str,
)
@pytest.mark.parametrize("keep", [1, 0.999])
def test_adam_has_numpys_bits(dtype, options, keep):
    p, mean, square, g = columns((211, 331), dtype)
    arrays = p, mean, square, None, g
    code = Counted()
    ours = run(optim._adam, arrays, ADAM | options | {"keep": keep}, code)
    theirs = run(optim._adam, arrays, ADAM | options | {"keep": keep}, False)
    assert code.calls == ["adam"]
    for a, b in zip(ours, theirs, strict=True):
        assert (a is b is None) or same_bits(a, b)
    assert not same_bits(ours[0], p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"maximize": True}, {"weight_decay": 0.1, "maximize": True}],
    ids=str,
)
def test_sgd_has_numpys_bits(dtype, options):
    p, g = columns((211, 331), dtype, 2)
    code = Counted()
    ours = run(optim._sgd, (p, None, g), SGD | options, code)
    theirs = run(optim._sgd, (p, None, g), SGD | options, False)
    assert code.calls == ["sgd"]
    assert all(same_bits(a, b) for a, b in zip(ours[::2], theirs[::2], strict=True))
    assert not same_bits(ours[0], p)


def turned(arrays):
    """The same numbers, but not in the order of memory."""
    return [None if a is None else np.asfortranarray(a) for a in arrays]


@pytest.mark.parametrize(
    ("rule", "options", "arrays"),
    [
        (optim._sgd, SGD | {"momentum": 0.9}, columns((5, 7), "float32", 3)),
        (optim._sgd, SGD, [columns((5, 7), "float16")[0], None, columns((5, 7), "float16")[3]]),
        (optim._adam, ADAM, columns((5, 7), "float32", 5)),
        (optim._adam, ADAM, turned([*columns((5, 7), "float32", 3), None, np.ones((5, 7), "f4")])),
    ],
    ids=["momentum", "halves", "amsgrad", "columns"],
)
def test_what_machine_code_does_not_take_is_numpys(rule, options, arrays):
    code = Counted()
    with np.errstate(all="ignore"):
        optim._machine_code = code
        ours = [None if a is None else a.copy("K") for a in arrays]
        optim._run(rule, [() if a is None else [a] for a in ours], (), (), options)
    theirs = run(rule, arrays, options, False)
    assert code.calls == []
    for a, b in zip(ours, theirs, strict=True):
        assert (a is b is None) or np.array_equal(a, b, equal_nan=True)


def trained(steps=6):
    """The parameters and the state after some steps of a model with small and large weights."""
    minitorch.manual_seed(0)
    model = minitorch.nn.Sequential(minitorch.nn.Linear(300, 200), minitorch.nn.Linear(200, 3))
    model.to("cpu")
    optimizer = minitorch.optim.AdamW(model.parameters())
    x = minitorch.randn(8, 300, device="cpu")
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    state = optimizer.state_dict()["state"]
    tensors = [*model.parameters(), *[s[name] for s in state.values() for name in s]]
    return [t.detach().numpy().copy() for t in tensors if isinstance(t, minitorch.Tensor)]


def test_numba_takes_over_when_numpy_has_taken_as_long_as_its_import(monkeypatch):
    expected = trained()
    assert optim._machine_code is None
    monkeypatch.setattr(optim, "_WORTH_IT", optim._worked // 2)
    monkeypatch.setattr(optim, "_worked", 0)
    found = trained()
    assert optim._machine_code is compiled_optim
    assert all(map(same_bits, found, expected))


def test_numba_can_be_had_at_once():
    expected = trained(2)
    optim.take_over()
    assert optim._machine_code is compiled_optim
    assert all(map(same_bits, trained(2), expected))


@pytest.mark.parametrize("there", [False, True], ids=["missing", "broken"])
def test_without_numba_it_stays_with_numpy(there, monkeypatch):
    expected = trained()
    monkeypatch.setattr(optim, "_worked", 1 << 40)
    if there:  # as a Numba that does not know this NumPy
        monkeypatch.setitem(sys.modules, compiled_optim.__name__, None)
        monkeypatch.delattr("minitorch.backend.cpu.compiled_optim")
    else:
        monkeypatch.setattr(optim, "find_spec", lambda name: None)
    found = trained()
    assert optim._machine_code is False
    assert all(map(same_bits, found, expected))


def test_where_numba_may_write_nowhere_it_stays_with_numpy(monkeypatch):
    class Refuses:
        def find_spec(self, name, path=None, target=None):
            if name == compiled_optim.__name__:
                raise RuntimeError("cannot cache function 'adam': no locator available")

    expected = trained()
    monkeypatch.setattr(optim, "_worked", 10**12)
    monkeypatch.delitem(sys.modules, compiled_optim.__name__)
    monkeypatch.delattr("minitorch.backend.cpu.compiled_optim")
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    found = trained()
    assert optim._machine_code is False
    assert all(map(same_bits, found, expected))

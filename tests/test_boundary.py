"""Wrong arguments: what is raised, for a table of mistakes and for drawn calls of everything."""

import importlib
import inspect
import pickle
import random
import signal
import warnings

import numpy as np
import pytest

import minitorch
from minitorch import boundary, nn
from tests.referee import settle

F = nn.functional
# BufferError is what DLPack asks for, where memory cannot be shared.
ERRORS = (TypeError, ValueError, RuntimeError, IndexError, BufferError, OSError)


def vector():
    return minitorch.ones(3)


# A call, the error, and what that says.
MISTAKES = [
    (lambda: minitorch.sum([1.0, 2.0]), TypeError, r"sum: input: expected a tensor, got list"),
    (lambda: minitorch.softmax(np.ones(3), 0), TypeError, r"softmax: input: .* got ndarray"),
    (lambda: F.mse_loss(vector(), [1.0]), TypeError, r"mse_loss: target: .* got list"),
    (lambda: F.cross_entropy(None, vector()), TypeError, r"cross_entropy: input: .* NoneType"),
    (lambda: minitorch.hstack([[1], [2]]), TypeError, r"hstack: tensors\[0\]: .* got list"),
    (lambda: minitorch.zeros_like([1]), TypeError, r"like: x: expected a tensor, got list"),
    (lambda: vector().view_as([1]), TypeError, r"view_as: other: expected a tensor, got list"),
    (lambda: nn.Linear(3, 2)([1, 2, 3]), TypeError, r"linear: input: .* got list"),
    (lambda: nn.Sequential(nn.Linear(3, 2))(None), TypeError, r"input: .* got NoneType"),
    (lambda: minitorch.optim.SGD([vector()], lr="a"), TypeError, r"SGD: .*lr: str"),
    (lambda: minitorch.promote_types("a", "b"), TypeError, r"promote_types: a: .* got str"),
    (lambda: minitorch.zeros(2**40, 2**40), RuntimeError, r"zeros: size: .* more elements"),
    (lambda: minitorch.ones(2**50), RuntimeError, r"out of memory"),
    (lambda: minitorch.zeros(2, "a"), TypeError, r"zeros: size: expected integers"),
    (lambda: minitorch.full((2,), "a"), TypeError, r"full: fill_value: expected a number"),
    (lambda: minitorch.linspace("a", 1, 3), TypeError, r"linspace: expected a number, got 'a'"),
    (lambda: minitorch.linspace(0, 1j, 3), TypeError, r"linspace: expected a number, got 1j"),
    (lambda: minitorch.linspace(10**400, 1, 3), RuntimeError, r"linspace: .* does not fit"),
    (lambda: minitorch.linspace(0, 1, 2.5), TypeError, r"linspace: steps: expected an integer, go"),
    (lambda: vector() + 10**400, RuntimeError, r"add: .* does not fit"),
    (lambda: vector().sum("a"), TypeError, r"sum: dim: expected an integer, got 'a'"),
    (lambda: vector().sum(1.0), TypeError, r"sum: dim: expected an integer"),
    (lambda: vector().sum(True), TypeError, r"sum: dim: expected an integer"),
    (lambda: vector().sum(minitorch.arange(2)), TypeError, r"sum: dim: expected an integer"),
    (lambda: vector().reshape("a"), TypeError, r"reshape: shape: expected an integer"),
    (lambda: minitorch.randint("a", (2,)), TypeError, r"randint: .* expected numbers"),
    (lambda: "a" in vector(), TypeError, r"in: expected a tensor or a number, got str"),
    *[
        (lambda state=state: minitorch.set_rng_state(state), (TypeError, ValueError), "set_state: ")
        for state in (None, 1, "a", [1, 2, 3], np.zeros(3, np.int64))
    ],
    *[
        (
            lambda state=state: minitorch.set_rng_state(minitorch.tensor(state)),
            (TypeError, ValueError),
            "set_state: expected what get_state",
        )
        for state in ([1.0, 2.0, 3.0], [1, 2], [-1, 2, 3], [2**40, 0, 0], [1, 2, -3])
    ],
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_a_mistake_is_named(number):
    call, error, text = MISTAKES[number]
    with pytest.raises(error, match=text):
        settle(call())


def test_users_own_errors_stay_as_they_are():
    class Net(nn.Module):
        def forward(self, x):
            return x.nothing_of_that_name

    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        Net()(vector())
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        minitorch.func.grad(lambda x: x.nothing_of_that_name)(vector())
    with pytest.raises(AttributeError, match="no_such_layer"):
        type("Net", (nn.Module,), {"forward": lambda self, x: self.no_such_layer(x)})()(vector())

    def wrong(x):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        minitorch.func.grad(wrong)(vector())


def test_a_guarded_function_looks_like_the_bare_one():
    assert list(inspect.signature(minitorch.sum).parameters)[:2] == ["input", "dim"]
    assert list(inspect.signature(nn.Linear).parameters)[:2] == ["in_features", "out_features"]
    for function in (minitorch.sum, minitorch.zeros, F.softmax, nn.init.xavier_normal_):
        assert pickle.loads(pickle.dumps(function)) is function


def test_operators_and_plain_methods_are_bare():
    """What is called in every step of a training takes no time for errors."""
    bare = """__add__ __mul__ __matmul__ __getitem__ add_ mul_ sum mean reshape view permute
        transpose matmul relu exp to expand"""
    assert not [n for n in bare.split() if hasattr(getattr(minitorch.Tensor, n), "guarded")]
    assert boundary.guarded(minitorch.relu) is minitorch.relu


# ---------------------------------------------------------------------- drawn calls
PACKAGES = """minitorch minitorch.nn minitorch.nn.functional minitorch.nn.init minitorch.nn.utils
    minitorch.optim minitorch.optim.lr_scheduler minitorch.func minitorch.autograd
    minitorch.autograd.functional minitorch.data minitorch.utils.checkpoint
    minitorch.utils.flop_counter minitorch.train minitorch.text minitorch.testing minitorch.viz
    minitorch.apps.projector minitorch.symbolic minitorch.cuda minitorch.sim
    minitorch.text.indexers"""
LEFT_OUT = ["mnist", "fashion_mnist"]  # they may go to the network
GPUS = minitorch.sim, minitorch.cuda
# What changes the process, and what tells how that is.
SETTINGS = [
    (minitorch.set_default_device, minitorch.get_default_device),
    (minitorch.set_default_dtype, minitorch.get_default_dtype),
    (minitorch.set_num_threads, minitorch.get_num_threads),
    (minitorch.set_float32_matmul_precision, minitorch.get_float32_matmul_precision),
    (minitorch.use_deterministic_algorithms, minitorch.are_deterministic_algorithms_enabled),
    (minitorch.set_grad_enabled, minitorch.is_grad_enabled),
    (minitorch.autograd.set_detect_anomaly, minitorch.autograd.is_anomaly_enabled),
    (lambda given: minitorch.set_printoptions(**given), minitorch.get_printoptions),
    (minitorch.set_flush_denormal, lambda: False),
    *(
        (m.set_device, m.current_device)
        for m in (minitorch.sim, minitorch.cuda)
        if m.is_available()
    ),
]
OPERATORS = [
    "__add__",
    "__rsub__",
    "__mul__",
    "__truediv__",
    "__floordiv__",
    "__mod__",
    "__pow__",
    "__matmul__",
    "__and__",
    "__lt__",
    "__eq__",
    "__getitem__",
    "__setitem__",
    "__iadd__",
    "__contains__",
    "__format__",
]


def public():
    """(name, callable, whether it is a tensor's) of all that has a public name."""
    seen = set()
    for package in PACKAGES.split():
        module = importlib.import_module(package)
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == package]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            new = callable(value) and name not in LEFT_OUT and id(value) not in seen
            if new and not name.startswith("_"):
                seen.add(id(value))
                yield f"{package}.{name}", value, False
    for name in [n for n in dir(minitorch.Tensor) if not n.startswith("_")] + OPERATORS:
        value = getattr(minitorch.Tensor, name)
        if callable(value) and name not in LEFT_OUT:
            yield f"Tensor.{name}", value, True


TENSORS = [
    lambda: minitorch.ones(2, 3),
    lambda: minitorch.arange(3),
    lambda: minitorch.ones(3, requires_grad=True),
    lambda: minitorch.tensor(2.0),
]
VALUES = [
    *TENSORS,
    lambda: minitorch.zeros(0),
    lambda: minitorch.tensor([True, False, True]),
    lambda: minitorch.ones(2, 3, dtype=minitorch.float64),
    lambda: [1.0, 2.0],
    lambda: np.ones((2, 3)),
    lambda: [minitorch.ones(2), minitorch.ones(2)],
    lambda: {"a": minitorch.ones(2)},
    lambda: nn.Linear(3, 2),
    *[
        lambda value=value: value
        for value in (
            *(None, "abc", "mean", b"x", 0, 1, -1, 2.5, float("nan"), float("inf"), True, 1j),
            *(10**30, 2**40, (1, 2), (), [], {}, set(), range(3), slice(1), ..., object(), len),
            *(minitorch.float32, np.float32(1), np.int64(1), np.bool_(True), nn.Linear),
        )
    ],
]


def drawn(draw, function, of_tensor):
    """Arguments that a function's signature has room for."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    count = draw.randint(needed, len(places))
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        count += draw.randint(0, 2)
    args = [draw.choice(VALUES)() for _ in range(count)]
    if of_tensor and args:
        args[0] = draw.choice(TENSORS)()
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return args, {n: draw.choice(VALUES)() for n in named if draw.random() < 0.15}


class Hang(BaseException):
    """A call that did not come back."""


def called(function, args, kwargs):
    """What a call raised that it must not raise, or None."""
    try:
        settle(function(*args, **kwargs))
    except ERRORS:
        return None
    except (Exception, Hang) as error:
        return error
    return None


@pytest.fixture
def settings():
    """What restores the settings of the process."""
    before = [(change, get()) for change, get in SETTINGS]

    def restore():
        for change, value in before:
            change(value)

    yield restore
    restore()


@pytest.mark.parametrize("seed", range(4))
def test_drawn_calls_raise_what_a_caller_expects(seed, tmp_path, monkeypatch, settings):
    """No AttributeError, no KeyError, no hang, whatever a public callable is given."""

    def stop(*_):
        raise Hang

    monkeypatch.chdir(tmp_path)  # some of the drawn values are names of files
    draw, wrong, count = random.Random(seed), [], 0
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, function, of_tensor in public():
                for _ in range(8):
                    args, kwargs = drawn(draw, function, of_tensor)
                    signal.alarm(20)
                    error = called(function, args, kwargs)
                    signal.alarm(0)
                    count += 1
                    if error is not None:
                        wrong.append(f"{name}(*{args!r}, **{kwargs!r}): {error!r}")
                if "set_" in name or "use_" in name:
                    settings()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert wrong == []
    assert count > 1000

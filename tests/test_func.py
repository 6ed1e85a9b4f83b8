"""Derivatives as functions: every nesting of the two modes, against torch.func and by hand."""

import gc
import math
import tracemalloc
import warnings

import numpy as np
import pytest
import torch

import minitorch
from minitorch import func
from minitorch.core import engine
from minitorch.utils.checkpoint import checkpoint
from tests.referee import array, compare

X = np.array([0.3, 0.7, 1.1])
V = np.array([1.0, -2.0, 0.5])


def of(values):
    return minitorch.tensor(values, dtype=minitorch.float64)


def wave(x):
    return (x.sin() * x).sum()


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x, v: f.grad(wave)(x),
        lambda f, x, v: f.grad(lambda a, b: (a * b**2).sum(), argnums=(0, 1))(x, v),
        lambda f, x, v: f.grad(lambda a, b: (a * b**2).sum(), argnums=1)(x, v),
        lambda f, x, v: f.vjp(lambda a: a.exp(), x)[1](v),
        lambda f, x, v: f.vjp(lambda a, b: (a * b, a.sum()), x, v)[1]((v, x[0])),
        lambda f, x, v: f.jvp(lambda a: a.exp() * a, (x,), (v,)),
        lambda f, x, v: f.jvp(lambda a, b: (a * b, a.sum()), (x, v), (v, x)),
    ],
)
def test_first_order(call):
    beside_pytorch(lambda f, of: call(f, of(X), of(V)))


def beside_pytorch(call):
    """call(minitorch.func, of) and call(torch.func, of) give the same, in the same structure."""
    mine = call(func, of)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of its forward mode
        other = call(torch.func, torch.tensor)
    agree(mine, other)


def agree(mine, other):
    if isinstance(other, dict):
        assert list(mine) == list(other)
        mine, other = tuple(mine.values()), tuple(other.values())
    if isinstance(other, (tuple, list)):
        assert type(mine) is type(other) and len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            agree(a, b)
    elif isinstance(other, torch.Tensor):
        assert not mine.requires_grad
        assert tuple(mine.shape) == tuple(other.shape)
        np.testing.assert_allclose(array(mine), array(other), rtol=1e-12, atol=1e-14)
    else:
        assert mine == other


def directional(mode, f):
    """The derivative of a scalar function of a 0-d tensor, by either mode."""
    one = of(1.0)
    return func.grad(f) if mode == "r" else lambda x: func.jvp(f, (x,), (one,))[1]


@pytest.mark.parametrize("modes", ["rr", "rf", "fr", "ff", "rrr", "frf", "rff", "ffr", "fff"])
def test_nested_modes(modes):
    s, c = math.sin(0.7), math.cos(0.7)
    expected = {2: 2 * c - 0.7 * s, 3: -3 * s - 0.7 * c}[len(modes)]
    f = wave
    for mode in modes:
        f = directional(mode, f)
    result = f(of(0.7))
    assert result.item() == pytest.approx(expected, rel=1e-13)
    assert not result.requires_grad


@pytest.mark.parametrize("outer", ["r", "f"])
@pytest.mark.parametrize("inner", ["r", "f"])
def test_no_perturbation_confusion(outer, inner):
    # d/dx [x * d/dy (x + y)] = 1, not 2
    result = directional(outer, lambda x: x * directional(inner, lambda y: x + y)(of(1.0)))(of(1.0))
    assert result.item() == 1


def test_the_history_of_the_input_is_kept():
    x = minitorch.tensor(2.0, requires_grad=True)
    slope = func.grad(lambda y: y**3)(x * x)  # 3 (x²)²
    slope.backward()
    assert slope.item() == 48 and x.grad.item() == 96


def test_a_closed_over_variable_can_be_differentiated():
    def call(m, w):
        f = (func if m is minitorch else torch.func).grad(lambda x: (w * x**2).sum())
        return f(w.detach())

    compare(call, X)


def test_value_and_aux():
    value, gradient = func.value_and_grad(wave)(of(X))
    assert value.item() == pytest.approx(float((np.sin(X) * X).sum()))
    assert not value.requires_grad and tuple(gradient.shape) == (3,)
    gradient, aux = func.grad(lambda x: (wave(x), "kept"), has_aux=True)(of(X))
    assert aux == "kept" and tuple(gradient.shape) == (3,)


def test_grad_mode_and_inputs_are_left_alone():
    x = of(X)
    with minitorch.no_grad():
        g = func.grad(wave)(x)
        assert not minitorch.is_grad_enabled()
    assert g.tolist() == func.grad(wave)(x).tolist()
    assert not x.requires_grad


def test_an_input_that_does_not_matter():
    assert func.grad(lambda x, y: y.sum())(of(X), of(V)).tolist() == [0, 0, 0]
    assert func.grad(lambda x: of(1.0))(of(X)).tolist() == [0, 0, 0]
    value, tangent = func.jvp(lambda x: of([1.0, 2.0]), (of(X),), (of(V),))
    assert value.tolist() == [1, 2] and tangent.tolist() == [0, 0]
    assert func.vjp(lambda x: of([1.0]), of(X))[1](of([1.0]))[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: func.grad(lambda x: x)(of(X)), RuntimeError, r"scalar, got shape \(3,\)"),
        (lambda: func.grad(lambda x: x[:1])(of(X)), RuntimeError, r"scalar, got shape \(1,\)"),
        (lambda: func.grad(lambda x: None)(of(X)), TypeError, "must return a tensor, got NoneType"),
        (lambda: func.grad(lambda x: (x, x))(of(X)), TypeError, "return a tensor, got tuple"),
        (lambda: func.grad(lambda x: ())(of(X)), RuntimeError, r"returned no tensor, got \(\)"),
        (
            lambda: func.grad(lambda x: wave(x) > 0)(of(X)),
            RuntimeError,
            "floating dtype, got .*bool",
        ),
        (lambda: func.grad(wave, has_aux=True)(of(X)), RuntimeError, r"\(output, aux\) if has_aux"),
        (
            lambda: func.grad(wave, argnums=1)(of(X)),
            RuntimeError,
            "got 1, but there are only 1 pos",
        ),
        (lambda: func.grad(wave, argnums=())(of(X)), RuntimeError, "argnums is empty"),
        (
            lambda: func.grad(wave, argnums=[0])(of(X)),
            RuntimeError,
            r"an int or a tuple .* got \[0\]",
        ),
        (lambda: func.grad(wave, argnums=(0, -1))(of(X)), RuntimeError, "each argument once"),
        (lambda: func.grad(wave)({}), RuntimeError, "no tensor to differentiate by"),
        (lambda: func.grad(wave)({"x": 1}), TypeError, "argument 0: expected a tensor, got int"),
        (
            lambda: func.jvp(wave, [of(X)], (of(X),)),
            RuntimeError,
            "primals: expected a tuple, got list",
        ),
        (
            lambda: func.jvp(wave, (of(X),), (2.0,)),
            TypeError,
            "tangent 0: expected a tensor, got float",
        ),
        (
            lambda: func.jvp(lambda x: of(V), (of(X),), (of(X),), strict=True),
            RuntimeError,
            "output 0 is independent of the inputs",
        ),
        (
            lambda: func.linearize(wave, of(X))[1](of(X), of(X)),
            RuntimeError,
            r"tangents have the structure \(\*, \*\), expected \(\*,\)",
        ),
        (lambda: func.hvp(wave, of(X), (of(X),)), RuntimeError, "primals: expected a tuple"),
        (
            lambda: func.jacrev(wave, chunk_size=0),
            ValueError,
            "chunk_size: expected a number above 0",
        ),
        (
            lambda: func.vjp(lambda x: {"a": x}, of(X))[1](of(X)),
            RuntimeError,
            r"cotangents have the structure \*, expected \{'a': \*\}",
        ),
        (lambda: func.grad(wave)(1.0), TypeError, "argument 0: expected a tensor, got float"),
        (lambda: func.grad(wave)(minitorch.arange(3)), TypeError, "floating dtype, got .*int64"),
        (lambda: func.grad(lambda x: 1.0)(of(X)), TypeError, "must return a tensor, got float"),
        (lambda: func.jvp(wave, (of(X),), ()), RuntimeError, r"structure \(\), expected \(\*,\)"),
        (
            lambda: func.jvp(wave, (of(X),), (of(1.0),)),
            RuntimeError,
            r"tangent 0 is \(\) .*expected \(3,\)",
        ),
        (
            lambda: func.vjp(wave, of(X))[1]((of(1.0), of(1.0))),
            RuntimeError,
            r"cotangents have the structure \(\*, \*\), expected \*",
        ),
    ],
)
def test_bad_calls(call, error, match):
    with pytest.raises(error, match=match):
        call()


EACH = {
    "grad": lambda f, x: func.grad(f)(x),
    "value_and_grad": lambda f, x: func.value_and_grad(f)(x),
    "grad_and_value": lambda f, x: func.grad_and_value(f)(x),
    "vjp": lambda f, x: func.vjp(f, x),
    "jvp": lambda f, x: func.jvp(f, (x,), (x,)),
    "linearize": lambda f, x: func.linearize(f, x),
    "jacrev": lambda f, x: func.jacrev(f)(x),
    "jacfwd": lambda f, x: func.jacfwd(f)(x),
    "hessian": lambda f, x: func.hessian(f)(x),
    "hvp": lambda f, x: func.hvp(f, (x,), (x,)),
}


@pytest.mark.parametrize("name", EACH)
def test_each_names_itself_and_what_it_was_given(name):
    for result, error, told in [
        (None, TypeError, "must return a tensor, got NoneType"),
        ("a", TypeError, "must return a tensor, got str"),
        ((), RuntimeError, r"the function returned no tensor, got \(\)"),
        (minitorch.tensor(1), RuntimeError, "tensors of a floating dtype, got .*int64"),
    ]:
        with pytest.raises(error, match=f"^{name}: .*{told}"):
            EACH[name](lambda x, result=result: result, of(X))
    for x, told in [
        (minitorch.arange(3), "expected a floating dtype, got .*int64"),
        (None, "expected a tensor, got NoneType"),
    ]:
        with pytest.raises(TypeError, match=f"^{name}: argument 0: {told}"):
            EACH[name](wave, x)


# ---------------------------------------------------------------------- Jacobians
def several(x, y):
    return (x * y).sin(), {"total": (x.exp() * y).sum(), "pairs": [x.unsqueeze(1) * y]}


def nested(p):
    return {"out": (p["w"] * p["parts"][0]).sum() * p["parts"][1]}


def parameters(of):
    return {"w": of(X), "parts": (of(V), of(X[:2]))}


@pytest.mark.parametrize("mode", ["jacrev", "jacfwd"])
@pytest.mark.parametrize("argnums", [0, 1, (0,), (1, 0)])
def test_jacobians_of_nests(mode, argnums):
    beside_pytorch(lambda f, of: getattr(f, mode)(several, argnums)(of(X), of(V)))


def test_arguments_are_counted_from_the_end_too():
    """PyTorch 2.13's own `jacfwd` gives zeros here."""
    for mode in (func.jacrev, func.jacfwd):
        last, second = mode(several, -1)(of(X), of(V)), mode(several, 1)(of(X), of(V))
        assert last[0].tolist() == second[0].tolist()


@pytest.mark.parametrize("mode", ["jacrev", "jacfwd"])
def test_jacobians_by_nests(mode):
    beside_pytorch(lambda f, of: getattr(f, mode)(nested)(parameters(of)))


@pytest.mark.parametrize("mode", ["jacrev", "jacfwd"])
def test_jacobians_with_aux_and_of_nothing(mode):
    def with_aux(x):
        return x**2, {"kept": x, "more": (x + 1,)}

    beside_pytorch(lambda f, of: getattr(f, mode)(with_aux, has_aux=True)(of(X)))
    assert getattr(func, mode)(lambda x: x[:0] * 2)(of(X)).shape == (0, 3)
    assert getattr(func, mode)(lambda x: x.sum())(of(X[:0])).shape == (0,)
    assert getattr(func, mode)(lambda x: of(V))(of(X)).tolist() == np.zeros((3, 3)).tolist()


def test_chunks_change_nothing():
    whole = func.jacrev(lambda x: x.exp() * x.sum())(of(X))
    assert func.jacrev(lambda x: x.exp() * x.sum(), chunk_size=2)(of(X)).tolist() == whole.tolist()


def test_a_jacobian_needs_the_memory_of_a_pass_and_of_the_result():
    """256 rows of 256 numbers are 0.5 MB; what a row needs beside them is a few times 2 kB."""
    x = minitorch.linspace(0, 1, 256, dtype=minitorch.float64, device="cpu")
    for mode in (func.jacrev, func.jacfwd):
        tracemalloc.start()
        try:
            jacobian = mode(lambda x: x.sin() * x.sum())(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert tuple(jacobian.shape) == (256, 256)
        assert peak < 1.3 * jacobian.nbytes


def curved(x, y):
    return (x.sin() * y**3).sum() + x[0] * y[1]


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_hessian(argnums):
    beside_pytorch(lambda f, of: f.hessian(curved, argnums)(of(X), of(V)))


@pytest.mark.parametrize("outer", ["jacrev", "jacfwd"])
@pytest.mark.parametrize("inner", ["jacrev", "jacfwd"])
def test_jacobians_nest(outer, inner):
    def twice(f):
        return getattr(f, outer)(getattr(f, inner)(several, (0, 1)), (0, 1))

    beside_pytorch(lambda f, of: twice(f)(of(X), of(V)))


def test_a_jacobian_is_part_of_a_derivative():
    def stiffness(f, x):
        return (f.jacrev(lambda y: y.sin() * y.sum())(x) ** 2).sum()

    beside_pytorch(lambda f, of: f.grad(lambda x: stiffness(f, x))(of(X)))
    beside_pytorch(lambda f, of: f.jvp(lambda x: stiffness(f, x), (of(X),), (of(V),)))
    x = minitorch.tensor(X, requires_grad=True)
    y = torch.tensor(X, requires_grad=True)
    stiffness(func, x).backward()
    stiffness(torch.func, y).backward()
    np.testing.assert_allclose(array(x.grad), y.grad.numpy(), rtol=1e-12)


def test_hvp_is_the_hessian_times_the_vector():
    whole = func.hessian(curved)(of(X), of(V))
    product = func.hvp(lambda x: curved(x, of(V)), (of(X),), (of(V),))
    np.testing.assert_allclose(array(product[0]), array(whole) @ V, rtol=1e-12)
    both = func.hvp(curved, (of(X), of(V)), (of(V), of(X)))
    blocks = func.hessian(curved, (0, 1))(of(X), of(V))
    for row, got in zip(blocks, both, strict=True):
        expected = array(row[0]) @ V + array(row[1]) @ X
        np.testing.assert_allclose(array(got), expected, rtol=1e-12)


# ---------------------------------------------------------------------- nests, aux, other calls
@pytest.mark.parametrize(
    "call",
    [
        lambda f, of: f.grad(lambda p: nested(p)["out"].sum())(parameters(of)),
        lambda f, of: f.grad_and_value(wave)(of(X)),
        lambda f, of: f.grad(lambda x, k=1: (x * k).sum(), argnums=-1)(of(X), k=3),
        lambda f, of: f.grad(lambda x: (wave(x), (x, x * 2)), has_aux=True)(of(X)),
        lambda f, of: f.vjp(several, of(X), of(V))[0],
        lambda f, of: f.vjp(nested, parameters(of))[1]({"out": of(X[:2])}),
        lambda f, of: f.vjp(lambda x: (x * 2, x), of(X), has_aux=True)[2],
        lambda f, of: f.jvp(several, (of(X), of(V)), (of(V), of(X))),
        lambda f, of: f.jvp(nested, (parameters(of),), (parameters(of),)),
        lambda f, of: f.jvp(lambda x: (x * 2, x), (of(X),), (of(V),), has_aux=True),
        lambda f, of: f.linearize(lambda x, y: x * y.sin(), of(X), of(V))[1](of(V), of(X)),
    ],
)
def test_nests_and_aux(call):
    beside_pytorch(call)


def test_linearize_runs_the_function_once():
    calls = []

    def f(x):
        calls.append(x)
        return x.sin()

    value, push = func.linearize(f, of(X))
    for v in (X, V):
        np.testing.assert_allclose(array(push(of(v))), np.cos(X) * v, rtol=1e-14)
    assert len(calls) == 1 and value.tolist() == np.sin(X).tolist()
    second = func.grad(lambda x: func.linearize(wave, x)[1](of(V)))(of(0.7 * X / X))
    slope = 2 * np.cos(0.7) - 0.7 * np.sin(0.7)
    np.testing.assert_allclose(array(second), slope * V, rtol=1e-13)


def test_passes_are_counted(monkeypatch):
    """A Jacobian takes a pass forward for each input, or a pass backward for each output."""
    passes = {"backward": 0, "forward": 0}

    def count(name, real):
        def counted(*args, **kwargs):
            passes[name] += 1
            return real(*args, **kwargs)

        return counted

    monkeypatch.setattr(engine, "backward_pass", count("backward", engine.backward_pass))
    monkeypatch.setattr(engine, "forward_pass", count("forward", engine.forward_pass))
    x, w = minitorch.ones(5), minitorch.ones(3, 5)
    func.jacrev(lambda x: (w @ x).sigmoid())(x)
    assert passes == {"backward": 3, "forward": 0}
    func.jacfwd(lambda x: (w @ x).sigmoid())(x)
    assert passes == {"backward": 3, "forward": 5}


# ---------------------------------------------------------------------- modules
def layers(m):
    net = m.nn.Sequential(m.nn.Linear(3, 3), m.nn.Tanh(), m.nn.BatchNorm1d(3))
    net.add_module("twin", net[0])
    return net.double()


def test_functional_call():
    def loss(m, f, net, given, x):
        out = f.functional_call(net, given, (x,))
        return (out**2).sum()

    mine, other = layers(minitorch).eval(), layers(torch).eval()
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=tuple(p.shape)) for n, p in other.named_parameters()}
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    x = rng.normal(size=(4, 3))
    a = func.grad(lambda p: loss(minitorch, func, mine, p, of(x)))(
        {name: of(value) for name, value in given.items()}
    )
    b = torch.func.grad(lambda p: loss(torch, torch.func, other, p, torch.tensor(x)))(
        {name: torch.tensor(value) for name, value in given.items()}
    )
    agree(a, b)
    for name, value in mine.state_dict().items():
        assert value.tolist() == before[name].tolist(), name
    assert isinstance(mine[0].weight, minitorch.nn.Parameter)


def test_functional_call_ties_names_of_one_tensor():
    net = layers(minitorch).eval()
    weight, x = of(np.eye(3) * 2), of(np.ones((1, 3)))
    tied = func.functional_call(net, {"0.weight": weight}, x)
    both = func.functional_call(net, {"0.weight": weight, "twin.weight": weight}, (x,))
    assert tied.tolist() == both.tolist()
    with pytest.raises(ValueError, match=r"'0\.weight', 'twin\.weight' are one tensor"):
        func.functional_call(net, {"0.weight": weight, "twin.weight": weight * 2}, x)


@pytest.mark.parametrize(
    ("given", "options", "error", "match"),
    [
        ({"zzz": 0}, {}, TypeError, "'zzz': expected a tensor, got int"),
        ({"zzz": of(1.0)}, {}, RuntimeError, r"Linear: Unexpected key\(s\): 'zzz'"),
        ({"bias": of([0.0])}, {"strict": True}, RuntimeError, r"Missing key\(s\): 'weight'"),
        ([{"bias": of([0.0])}] * 2, {}, ValueError, "'bias' is in several of the dicts"),
        (3, {}, ValueError, "expected a dict or a sequence of dicts, got int"),
    ],
)
def test_functional_call_with_bad_names(given, options, error, match):
    with pytest.raises(error, match=match):
        func.functional_call(minitorch.nn.Linear(2, 1), given, (of([1.0, 2.0]),), **options)


def test_functional_call_puts_back_what_it_replaced():
    layer = minitorch.nn.Linear(2, 1)
    weight = layer.weight
    with pytest.raises(RuntimeError):
        func.functional_call(layer, {"weight": minitorch.ones(1, 7)}, (minitorch.ones(1, 2),))
    assert layer.weight is weight


def test_functions_of_functions_hooks_and_checkpoints_leave_no_garbage():
    layer = minitorch.nn.Linear(4, 4).double()
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: None)
    x = of(np.ones((3, 4)))

    def passes():
        checkpoint(layer, of(np.ones((3, 4))).requires_grad_()).sum().backward()
        func.hessian(lambda x: (layer(x) ** 2).sum())(x[0])
        func.linearize(layer, x)[1](x * 2)
        func.functional_call(layer, dict(layer.named_parameters()), x)
        minitorch.autograd.functional.vhp(wave, x, x)
        with minitorch.autograd.detect_anomaly():
            layer(x).sum().backward()

    passes()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            passes()
        assert gc.collect() == 0
    finally:
        gc.enable()

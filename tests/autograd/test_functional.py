"""`autograd.functional` beside PyTorch's: values, structures, graphs, errors."""

import warnings

import numpy as np
import pytest
import torch

import minitorch
from minitorch.autograd import functional
from tests.referee import array

X = np.array([0.3, 0.7, 1.1])
V = np.array([1.0, -2.0, 0.5])


def of(values, requires_grad=False):
    return minitorch.tensor(values, dtype=minitorch.float64, requires_grad=requires_grad)


def agree(mine, other, tracked=False):
    if isinstance(other, tuple):
        assert isinstance(mine, tuple) and len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            agree(a, b, tracked)
        return
    assert tuple(mine.shape) == tuple(other.shape) and mine.requires_grad == tracked
    np.testing.assert_allclose(array(mine), array(other), rtol=1e-12, atol=1e-14)


def beside_pytorch(call, tracked=False):
    mine = call(functional, of)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = call(
            torch.autograd.functional,
            lambda v, requires_grad=False: torch.tensor(
                v, dtype=torch.float64, requires_grad=requires_grad
            ),
        )
    agree(mine, other, tracked)


def pair(x, y):
    return (x * y).sin(), (x.exp() * y).sum()


def number(x, y):
    return (x.sin() * y**3).sum() + x[0] * y[1]


CALLS = {
    "jacobian": lambda f, of: f.jacobian(lambda x: x.sin() * x.sum(), of(X)),
    "jacobian of a pair": lambda f, of: f.jacobian(pair, (of(X), of(V))),
    "jacobian by one of one": lambda f, of: f.jacobian(lambda x: (x * 2,), (of(X),)),
    "jacobian of a constant": lambda f, of: f.jacobian(lambda x: of(V), of(X)),
    "hessian": lambda f, of: f.hessian(lambda x: (x**3).sum() * x[0], of(X)),
    "hessian by a pair": lambda f, of: f.hessian(number, (of(X), of(V))),
    "hessian of a line": lambda f, of: f.hessian(lambda x: x.sum(), of(X)),
    "vjp": lambda f, of: f.vjp(lambda x: x.sin(), of(X), of(V)),
    "vjp of a pair": lambda f, of: f.vjp(pair, (of(X), of(V)), (of(V), of(2.0))),
    "vjp of a number": lambda f, of: f.vjp(lambda x: x.sin().sum(), of(X)),
    "jvp": lambda f, of: f.jvp(lambda x: x.sin(), of(X), of(V)),
    "jvp of a pair": lambda f, of: f.jvp(pair, (of(X), of(V)), (of(V), of(X))),
    "jvp by a number": lambda f, of: f.jvp(lambda x: x.sin() * 3, of([0.5])),
    "hvp": lambda f, of: f.hvp(lambda x: (x**3).sum() * x[0], of(X), of(V)),
    "hvp by a pair": lambda f, of: f.hvp(number, (of(X), of(V)), (of(V), of(X))),
    "vhp": lambda f, of: f.vhp(lambda x: (x**3).sum() * x[0], of(X), of(V)),
    "vhp by a pair": lambda f, of: f.vhp(number, (of(X), of(V)), (of(V), of(X))),
    "vhp of a line": lambda f, of: f.vhp(lambda x: x.sum(), of(X), of(V)),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    beside_pytorch(CALLS[name])


@pytest.mark.parametrize("name", ["jacobian", "hessian"])
def test_forward_mode_gives_the_same(name):
    option = {"jacobian": "strategy", "hessian": "outer_jacobian_strategy"}[name]
    f = getattr(functional, name)
    function = pair if name == "jacobian" else number
    whole = f(function, (of(X), of(V)))
    other = f(function, (of(X), of(V)), vectorize=True, **{option: "forward-mode"})
    agree(other, whole)


@pytest.mark.parametrize("name", ["vjp", "jvp", "hvp", "vhp"])
def test_products_with_a_graph(name):
    def call(f, of):
        x = of(X, True)
        function = (lambda x: x.sin() * x) if name in ("vjp", "jvp") else lambda x: (x**4).sum()
        _, product = getattr(f, name)(function, x, of(V), create_graph=True)
        product.sum().backward()
        return x.grad

    beside_pytorch(call)


@pytest.mark.parametrize("name", ["jacobian", "hessian"])
def test_matrices_with_a_graph(name):
    def call(f, of):
        x = of(X, True)
        function = (lambda x: x.sin() * x) if name == "jacobian" else lambda x: (x**4).sum()
        (getattr(f, name)(function, x, create_graph=True) ** 2).sum().backward()
        return x.grad

    beside_pytorch(call)


def test_results_have_a_graph_only_on_request():
    x = of(X, True)
    assert not functional.vjp(lambda x: x.sin(), x, of(V))[0].requires_grad
    value, product = functional.vjp(lambda x: x.sin(), x, of(V), create_graph=True)
    assert value.requires_grad and product.requires_grad
    assert x.grad is None


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda f: f.jacobian(lambda x: 3, of(X)), TypeError, "must return a tensor .* got int"),
        (lambda f: f.jacobian(lambda x: None, of(X)), TypeError, "got NoneType"),
        (lambda f: f.jacobian(lambda x: x, 3.0), TypeError, "inputs: expected a tensor .* float"),
        (lambda f: f.vjp(lambda x: x, minitorch.arange(3)), RuntimeError, "int64, expected a flo"),
        (lambda f: f.vjp(lambda x: x, of(X)), RuntimeError, "v can only be left out if .* output"),
        (lambda f: f.jvp(lambda x: x, of(X)), RuntimeError, "v can only be left out if .* input"),
        (lambda f: f.vjp(lambda x: x, of(X), of([1.0])), RuntimeError, r"\(1,\), expected \(3,\)"),
        (lambda f: f.vjp(lambda x: x, of(X), (of(X),) * 2), RuntimeError, "2 tensors, expected 1"),
        (lambda f: f.vjp(lambda x: x, of(X), 2.0), TypeError, "v: expected tensors, got float"),
        (lambda f: f.hessian(lambda x: x, of(X)), RuntimeError, r"single element, got shape \(3,"),
        (lambda f: f.hvp(pair, (of(X), of(V))), RuntimeError, "v can only be left out"),
        (lambda f: f.jacobian(wave, of(X), strategy="up"), ValueError, "strategy: .* got 'up'"),
        (
            lambda f: f.hessian(wave, of(X), outer_jacobian_strategy="up"),
            ValueError,
            "hessian: outer_jacobian_strategy: .* or 'forward-mode', got 'up'",
        ),
        (lambda f: f.hessian(wave, 3.0), TypeError, "hessian: inputs: expected a tensor"),
    ],
)
def test_bad_calls(call, error, match):
    with pytest.raises(error, match=match):
        call(functional)


def apart(x, y):
    return x.sin().sum() + y.sum()


@pytest.mark.parametrize("name", ["vjp", "jvp"])
def test_strict_asks_for_one_result_for_each_input_and_the_reverse(name):
    """As PyTorch's: that each result depends on each input is asked for in matrices alone."""

    def call(functional, of):
        vectors = (of(V), of(X))
        return getattr(functional, name)(
            lambda x, y: (x.exp(), y.sin()), (of(X), of(V)), vectors, True, True
        )

    beside_pytorch(call, tracked=True)


@pytest.mark.parametrize("name", ["hvp", "vhp"])
def test_strict_takes_a_sum_of_functions(name):
    def call(functional, of):
        return getattr(functional, name)(
            lambda x, y: (x.sin() + y.exp()).sum(), (of(X), of(V)), (of(V), of(X)), strict=True
        )

    beside_pytorch(call)


def wave(x):
    return (x.sin() * x).sum()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda f: f.jacobian(lambda x: of(V), of(X), strict=True), "output 0 .* of every input"),
        (
            lambda f: f.jacobian(lambda x, y: (x * y, x), (of(X), of(V)), strict=True),
            "output 1 .* of input 1",
        ),
        (
            lambda f: f.vjp(apart, (of(X), of(V)), None, True, True),
            "derivative 1 of the function is independent of every input",
        ),
        (lambda f: f.vjp(lambda x, y: x * 2, (of(X), of(V)), of(V), strict=True), "of input 1"),
        (lambda f: f.jvp(lambda x: of(V), of(X), of(V), strict=True), "output 0"),
        (lambda f: f.hessian(lambda x: x.sum(), of(X), strict=True), "the gradient by input 0"),
        (lambda f: f.hvp(lambda x: x.sum(), of(X), of(V), strict=True), "the gradient by input 0"),
    ],
)
def test_strict_finds_what_does_not_depend(call, match):
    with pytest.raises(RuntimeError, match=match):
        call(functional)

"""Derivatives as functions: every nesting of the two modes, against torch.func and by hand."""

import math
import warnings

import numpy as np
import pytest
import torch

import minitorch
from minitorch import func
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
    mine = call(func, of(X), of(V))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of its forward mode
        other = call(torch.func, torch.tensor(X), torch.tensor(V))

    def flat(y):
        return [z for item in y for z in flat(item)] if isinstance(y, tuple) else [y]

    for a, b in zip(flat(mine), flat(other), strict=True):
        assert not a.requires_grad
        np.testing.assert_allclose(array(a), array(b), rtol=1e-12)


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
        (lambda: func.grad(wave)(1.0), TypeError, "argument 0: expected a tensor, got float"),
        (lambda: func.grad(wave)(minitorch.arange(3)), TypeError, "floating dtype, got .*int64"),
        (lambda: func.grad(lambda x: 1.0)(of(X)), TypeError, "must return a tensor, got float"),
        (lambda: func.jvp(wave, (of(X),), ()), RuntimeError, "1 primals and 0 tangents"),
        (
            lambda: func.jvp(wave, (of(X),), (of(1.0),)),
            RuntimeError,
            r"tangent 0 is \(\) .*expected \(3,\)",
        ),
        (
            lambda: func.vjp(wave, of(X))[1](of(1.0), of(1.0)),
            RuntimeError,
            "2 cotangents for 1 outputs",
        ),
    ],
)
def test_bad_calls(call, error, match):
    with pytest.raises(error, match=match):
        call()

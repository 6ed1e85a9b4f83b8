import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn

EDGES = [-1e3, -50, 50, 1e3, -1e-3, 1e-3]
X = np.concatenate([EDGES, np.random.default_rng(0).normal(size=24) * 3]).reshape(6, 5)

ACTIVATIONS = {
    "relu": lambda n: n.ReLU(),
    "relu in place": lambda n: n.ReLU(inplace=True),
    "leaky": lambda n: n.LeakyReLU(),
    "leaky 0.2 in place": lambda n: n.LeakyReLU(0.2, inplace=True),
    "elu": lambda n: n.ELU(),
    "elu 0.5 in place": lambda n: n.ELU(0.5, inplace=True),
    "gelu": lambda n: n.GELU(),
    "gelu tanh": lambda n: n.GELU(approximate="tanh"),
    "silu": lambda n: n.SiLU(),
    "silu in place": lambda n: n.SiLU(inplace=True),
    "sigmoid": lambda n: n.Sigmoid(),
    "tanh": lambda n: n.Tanh(),
    "softplus": lambda n: n.Softplus(),
    "softplus 2, 3": lambda n: n.Softplus(beta=2.0, threshold=3.0),
    "logsigmoid": lambda n: n.LogSigmoid(),
    "selu": lambda n: n.SELU(),
    "selu in place": lambda n: n.SELU(inplace=True),
    "celu": lambda n: n.CELU(),
    "celu 0.5 in place": lambda n: n.CELU(0.5, inplace=True),
    "mish": lambda n: n.Mish(),
    "mish in place": lambda n: n.Mish(inplace=True),
    "relu6": lambda n: n.ReLU6(),
    "hardtanh": lambda n: n.Hardtanh(),
    "hardtanh in place": lambda n: n.Hardtanh(-0.5, 2.5, True),
    "hardswish": lambda n: n.Hardswish(),
    "hardswish in place": lambda n: n.Hardswish(True),
    "hardsigmoid": lambda n: n.Hardsigmoid(),
    "softsign": lambda n: n.Softsign(),
    "tanhshrink": lambda n: n.Tanhshrink(),
    "hardshrink": lambda n: n.Hardshrink(),
    "softshrink": lambda n: n.Softshrink(0.7),
    "threshold in place": lambda n: n.Threshold(0.1, 20, True),
    "glu": lambda n: n.GLU(0),
    "softmin": lambda n: n.Softmin(1),
    "rrelu in evaluation": lambda n: n.RReLU(0.1, 0.2).eval(),
    "prelu": lambda n: n.PReLU().double(),
    "prelu of channels": lambda n: n.PReLU(5, init=0.5).double(),
    "alpha dropout in evaluation": lambda n: n.AlphaDropout(0.3).eval(),
    "feature alpha dropout of none": lambda n: n.FeatureAlphaDropout(0.0),
    "softmax 1": lambda n: n.Softmax(dim=1),
    "softmax 0": lambda n: n.Softmax(0),
    "log_softmax": lambda n: n.LogSoftmax(dim=-1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_pytorchs(name):
    a, b = ACTIVATIONS[name](nn), ACTIVATIONS[name](torch.nn)
    assert repr(a) == repr(b)
    x, y = minitorch.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    u, v = x * 1, y * 1
    p, q = a(u), b(v)
    assert (p is u) == (q is v)
    rtol = 1e-7 if name == "hardsigmoid" else 1e-12  # PyTorch's sixth is a float32
    np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().numpy(), rtol, 1e-14)
    (p * p.sin()).sum().backward()
    (q * q.sin()).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), y.grad.numpy(), rtol * 100, 1e-12)
    for w, z in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_allclose(w.grad.cpu().numpy(), z.grad.numpy(), 1e-10)


CORNERS = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0]


@pytest.mark.parametrize(
    "name", ["hardtanh", "relu6", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "selu"]
)
def test_slopes_at_the_corners(name):
    found = []
    for library in (minitorch, torch):
        x = library.tensor(CORNERS, requires_grad=True)
        getattr(library.nn.functional, name)(x).sum().backward()
        found.append(x.grad.tolist())
    assert found[0] == pytest.approx(found[1])


def test_random_slopes():
    x = minitorch.full((1000,), -1.0, requires_grad=True)
    y = -nn.RReLU(0.2, 0.4)(x)
    assert 0.2 <= y.min().item() < 0.21 and 0.39 < y.max().item() <= 0.4
    y.sum().backward()
    assert x.grad.neg().equal(y)


@pytest.mark.parametrize("name", ["AlphaDropout", "FeatureAlphaDropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    minitorch.manual_seed(0)
    x = minitorch.randn(200, 50, 2, dtype=minitorch.float64)
    y = getattr(nn, name)(0.3)(x)
    assert abs(y.mean().item()) < 0.03 and abs(y.std().item() - 1) < 0.03
    alpha = 1.7580993408473766  # the lowest value of SELU, negative
    lowest = minitorch.isclose(
        y, y.new_tensor(-alpha * (0.7 / (0.3 * alpha**2 + 1)) ** 0.5)
    ).float()
    assert abs(lowest.mean().item() - 0.3) < 0.02
    by_channel = lowest.sum(2)
    assert by_channel.eq(1).any().item() == (name == "AlphaDropout")
    assert getattr(nn, name)(1.0)(x).abs().max().item() == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.CELU(0.0)(x), RuntimeError, "not 0"),
        (lambda x: nn.Hardtanh(1.0, 0.0), ValueError, "greater than max_val"),
        (lambda x: nn.functional.hardtanh(x, 1.0, 0.0), ValueError, "greater than max_val"),
        (lambda x: nn.Softshrink(-1.0)(x), RuntimeError, "expected a number >= 0"),
        (lambda x: nn.GLU()(x), RuntimeError, "even size along dim -1"),
        (lambda x: nn.PReLU(2)(x), RuntimeError, r"expected shape \(1,\) or \(3,\)"),
        (lambda x: nn.AlphaDropout(1.5), ValueError, "between 0 and 1, but got 1.5"),
        (lambda x: nn.functional.alpha_dropout(x, -1.0), ValueError, "between 0 and 1"),
        (lambda x: nn.FeatureAlphaDropout()(x[0]), RuntimeError, r"expected \(N, C, \*\)"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(minitorch.zeros(2, 3))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 3)])
def test_softmax_without_dim_warns_and_chooses_as_pytorch(shape):
    x = np.random.default_rng(0).normal(size=shape)
    for name in ("Softmax", "LogSoftmax"):
        with pytest.warns(UserWarning, match="implicit dimension"):
            a = getattr(nn, name)()(minitorch.tensor(x))
        with pytest.warns(UserWarning, match="Implicit dimension"):
            b = getattr(torch.nn, name)()(torch.tensor(x))
        np.testing.assert_allclose(a.cpu().numpy(), b.numpy(), 1e-12)


def test_softmax_casts_first():
    x = minitorch.tensor([1, 2])
    y = nn.functional.softmax(x, dim=0, dtype=minitorch.float64)
    assert y.dtype is minitorch.float64
    assert abs(y.sum().item() - 1) < 1e-15


def test_unknown_gelu():
    with pytest.raises(RuntimeError, match="'none' or 'tanh', got 'other'"):
        nn.GELU("other")(minitorch.zeros(1))

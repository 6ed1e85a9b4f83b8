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
    np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().numpy(), 1e-12, 1e-14)
    (p * p.sin()).sum().backward()
    (q * q.sin()).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), y.grad.numpy(), 1e-10, 1e-12)


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

import numpy as np
import pytest
import torch

import minitorch
import minitorch.nn.functional as F

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
ZERO = np.concatenate([np.zeros((1, 3)), A])

CASES = {
    "linear": (lambda f, x, w, b: f.linear(x, w, b), [A, RNG.normal(size=(2, 3)), np.ones(2)]),
    "linear without bias": (lambda f, x, w: f.linear(x, w), [A, RNG.normal(size=(2, 3))]),
    "normalize": (lambda f, x: f.normalize(x), [A]),
    "normalize 1": (lambda f, x: f.normalize(x, p=1.0, dim=0), [A]),
    "normalize with zeros": (lambda f, x: f.normalize(x, dim=-1), [ZERO]),
    "cosine": (lambda f, x, y: f.cosine_similarity(x, y), [A, B]),
    "cosine 0": (lambda f, x, y: f.cosine_similarity(x, y, dim=0), [A, B]),
    "cosine broadcast": (lambda f, x, y: f.cosine_similarity(x, y, -1), [A[:, None], B[None]]),
    "layer_norm": (
        lambda f, x, w, b: f.layer_norm(x, (3,), w, b, 1e-3),
        [A, RNG.normal(size=3), RNG.normal(size=3)],
    ),
    "batch_norm": (
        lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True),
        [A, RNG.normal(size=3), RNG.normal(size=3)],
    ),
    "embedding": (
        lambda f, w: f.embedding(
            minitorch.tensor([0, 2, 2]) if f is F else torch.tensor([0, 2, 2]), w, 0
        ),
        [A],
    ),
}


def gradients(function, arrays, library):
    inputs = [library.tensor(x, requires_grad=True) for x in arrays]
    output = function(F if library is minitorch else torch.nn.functional, *inputs)
    (output * output.cos()).sum().backward()
    return [x.detach().cpu().numpy() for x in [output, *(x.grad for x in inputs)]]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name):
    function, arrays = CASES[name]
    for a, b in zip(
        gradients(function, arrays, minitorch), gradients(function, arrays, torch), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_one_hot():
    x = minitorch.tensor([[0, 2], [1, 0]])
    expected = torch.nn.functional.one_hot(torch.tensor([[0, 2], [1, 0]]))
    assert F.one_hot(x).tolist() == expected.tolist()
    assert F.one_hot(x, 5).shape == (2, 2, 5)
    assert F.one_hot(x).dtype is minitorch.int64


def test_dropout_arguments():
    x = minitorch.ones(3)
    assert F.dropout(x, training=False) is x
    assert F.dropout(x, 1.0).tolist() == [0, 0, 0]
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(x, p)


def test_dropout_draws_as_bernoulli_does():
    for dtype in (minitorch.float16, minitorch.float32, minitorch.float64):
        x = minitorch.randn(7, 9, dtype=dtype)
        minitorch.manual_seed(5)
        mask = minitorch.empty_like(x).bernoulli_(1 - 0.3).mul_(1 / (1 - 0.3))
        after = minitorch.rand(3).tolist()
        minitorch.manual_seed(5)
        assert F.dropout(x, 0.3).tolist() == (x * mask).tolist()
        assert minitorch.rand(3).tolist() == after
    with pytest.raises(RuntimeError, match="dropout: expected a floating-point dtype"):
        F.dropout(minitorch.ones(3, dtype=minitorch.int64), 0.3)


def test_bad_input():
    with pytest.raises(ValueError, match="running_mean"):
        F.batch_norm(minitorch.zeros(2, 3), None, None)
    with pytest.raises(RuntimeError, match=r"expected input of shape \(\*, 2, 3\), got \(4, 3\)"):
        F.layer_norm(minitorch.zeros(4, 3), (2, 3))
    with pytest.raises(ValueError, match="padding_idx 3 is out of range for 3 rows"):
        F.embedding(minitorch.tensor([0]), minitorch.zeros(3, 2), 3)

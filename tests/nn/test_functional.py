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
    for dtype in (*(minitorch.bfloat16, minitorch.float16), minitorch.float32, minitorch.float64):
        x = minitorch.randn(7, 9, dtype=dtype)
        wide = x if x.element_size() > 2 else x.float()  # halves are rounded once
        minitorch.manual_seed(5)
        mask = minitorch.empty_like(wide).bernoulli_(1 - 0.3).mul_(1 / (1 - 0.3))
        after = minitorch.rand(3).tolist()
        minitorch.manual_seed(5)
        assert F.dropout(x, 0.3).tolist() == (wide * mask).to(dtype).tolist()
        assert minitorch.rand(3).tolist() == after
    with pytest.raises(RuntimeError, match="dropout: expected a floating-point dtype"):
        F.dropout(minitorch.ones(3, dtype=minitorch.int64), 0.3)


def test_bad_input():
    with pytest.raises(ValueError, match="running_mean"):
        F.batch_norm(minitorch.zeros(2, 3), None, None)
    x, of = minitorch.ones(4, 3), minitorch.ones
    for given, error, text in (
        ((of(5), of(3), of(3), of(3)), RuntimeError, r"running_mean should contain 3 elements"),
        ((None, of(3, 1), of(3), of(3)), RuntimeError, r"running_var .* got shape \(3, 1\)"),
        ((None, None, of(1), of(3)), RuntimeError, r"weight should contain 3 elements"),
        ((None, None, None, of(2)), RuntimeError, r"bias should contain 3 elements"),
    ):
        with pytest.raises(error, match=text):
            F.batch_norm(x, *given, True)
    with pytest.raises(IndexError, match=r"expected \(N, C, \*\), got shape \(3,\)"):
        F.batch_norm(of(3), None, None, training=True)
    with pytest.raises(NotImplementedError, match=r"a floating-point dtype, got minitorch\.int64"):
        F.batch_norm(x.long(), None, None, training=True)
    for given, text in (
        ({"activation": "swish"}, r"expected one of none, relu, .*, got 'swish'"),
        ({"p": 1.0}, r"p: expected a probability in \[0, 1\), got 1.0"),
        ({"count": of(1)}, "count: expected one number of minitorch.int64"),
    ):
        with pytest.raises(ValueError, match=text):
            F.batch_norm(x, None, None, training=True, **given)
    with pytest.raises(RuntimeError, match=r"expected input of shape \(\*, 2, 3\), got \(4, 3\)"):
        F.layer_norm(minitorch.zeros(4, 3), (2, 3))
    with pytest.raises(ValueError, match="padding_idx 3 is out of range for 3 rows"):
        F.embedding(minitorch.tensor([0]), minitorch.zeros(3, 2), 3)


@pytest.mark.parametrize(
    ("first", "second", "dim"),
    [((2, 3), (2, 1), 1), ((2, 3), (1, 3), 0), ((3,), (2, 3), 1), ((2, 1, 3), (2, 4, 3), 2)],
)
def test_cosine_similarity_broadcasts_along_its_dimension(first, second, dim):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=first), rng.normal(size=second)
    grads = []
    for m in (minitorch, torch):
        x, y = (m.tensor(v, requires_grad=True) for v in (a, b))
        z = m.nn.functional.cosine_similarity(x, y, dim)
        z.sum().backward()
        grads.append([t.detach().cpu().numpy() for t in (z, x.grad, y.grad)])
    for mine, other in zip(*grads, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "elu", "leaky_relu", "smooth_l1_loss"])
def test_slopes_at_nan_and_infinity(name):
    a = np.array([np.nan, np.inf, -np.inf, 1.0, -1.0])
    slopes = []
    for m in (minitorch, torch):
        x = m.tensor(a, requires_grad=True)
        function = getattr(m.nn.functional, name)
        (function(x, m.zeros_like(x)) if name.endswith("loss") else function(x)).sum().backward()
        slopes.append(x.grad.cpu().numpy())
    np.testing.assert_allclose(*slopes)


def test_a_linear_layer_passes_gradients_through_nan():
    layer = minitorch.nn.Sequential(minitorch.nn.Linear(1, 1), minitorch.nn.ReLU())
    x = minitorch.tensor([[float("nan")]], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.item() == layer[0].weight.item()


def test_norms_of_data_far_from_zero():
    a = (1.7e9 + 128 * np.random.default_rng(0).integers(0, 20, (6, 32))).astype(np.float32)
    x, exact = minitorch.tensor(a), torch.tensor(a).double()
    mine = [F.layer_norm(x, (32,)), minitorch.nn.LayerNorm(32)(x)]
    for y in mine:
        other = torch.nn.functional.layer_norm(exact, (32,))
        np.testing.assert_allclose(y.detach().cpu().numpy(), other.numpy(), atol=1e-6)
    ours, theirs = minitorch.nn.BatchNorm1d(32), torch.nn.BatchNorm1d(32).double()
    np.testing.assert_allclose(
        ours(x).detach().cpu().numpy(), theirs(exact).detach().numpy(), atol=1e-6
    )
    for name in ("running_mean", "running_var"):
        a, b = getattr(ours, name).cpu().numpy(), getattr(theirs, name).numpy()
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_what_layer_norm_returns_may_change_in_place(given):
    arrays = [np.random.default_rng(i).normal(size=(4,) * (i == 0) + (3,)) for i in range(3)]
    grads = []
    for library in (minitorch, torch):
        tensors = [library.tensor(a, requires_grad=True) for a in arrays[: 1 + given]]
        functions = library.nn.functional
        functions.layer_norm(tensors[0], (3,), *tensors[1:]).relu_().square().sum().backward()
        grads.append([t.grad.cpu().numpy() for t in tensors])
    for mine, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_uint8_classes_may_be_ignored_classes_of_other_dtypes():
    x = minitorch.ones(2, 200, 3)
    target = minitorch.full((2, 3), 156, dtype=minitorch.uint8)
    assert F.cross_entropy(x, target).isfinite()

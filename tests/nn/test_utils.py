import math

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn
from minitorch.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)

GRADS = [np.array([[3.0, -4.0], [0.5, 0.0]]), np.array([12.0, -0.1]), np.array(2.0)]


def parameters(library):
    params = []
    for grad in GRADS:
        p = library.nn.Parameter(library.tensor(np.zeros_like(grad)))
        p.grad = library.tensor(grad)
        params.append(p)
    return [*params, library.nn.Parameter(library.zeros(3))]


@pytest.mark.parametrize("norm", [2.0, 1.0, 3, 0.5, 0, -1, -2.0, math.inf, -math.inf, "inf"])
@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_norm_is_pytorchs(norm, limit):
    a, b = parameters(minitorch), parameters(torch)
    total = clip_grad_norm_(iter(a), limit, norm)
    expected = torch.nn.utils.clip_grad_norm_(b, limit, norm)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    for p, q in zip(a[:3], b):
        np.testing.assert_allclose(p.grad.cpu().numpy(), q.grad.numpy(), rtol=1e-12)
    assert a[3].grad is None


@pytest.mark.parametrize("norm", [0, 1, 2, float("inf"), float("-inf")])
@pytest.mark.parametrize("grads", [[[0.0, 0.0], [3.0, -4.0]], [[0.0]]])
def test_norm_of_zeros_is_pytorchs(norm, grads):
    found = []
    for lib in (minitorch, torch):
        params = [lib.nn.Parameter(lib.zeros(len(grad))) for grad in grads]
        for p, grad in zip(params, grads):
            p.grad = lib.tensor(grad)
        total = lib.nn.utils.clip_grad_norm_(params, 1.5, norm)
        found.append([total.item(), *(x for p in params for x in p.grad.tolist())])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("norm", [float("inf"), float("-inf")])
def test_parameters_without_elements_do_not_count(norm):
    params = [nn.Parameter(minitorch.zeros(n)) for n in (0, 2)]
    for p in params:
        p.grad = minitorch.full((len(p),), 3.0)
    assert clip_grad_norm_(params, 1.0, norm).item() == 3
    assert clip_grad_norm_(params[:1], 1.0, norm).item() == 0


def test_value_is_pytorchs():
    a, b = parameters(minitorch), parameters(torch)
    clip_grad_value_(a, 1.5)
    torch.nn.utils.clip_grad_value_(b, 1.5)
    for p, q in zip(a[:3], b):
        assert p.grad.tolist() == q.grad.tolist()


def test_nothing_to_clip_and_a_single_tensor():
    assert clip_grad_norm_([nn.Parameter(minitorch.zeros(2))], 1.0).item() == 0
    p = parameters(minitorch)[0]
    clip_grad_norm_(p, 1.0)
    assert (p.grad * p.grad).sum().item() == pytest.approx(1.0, rel=1e-5)


def test_non_finite_norm():
    p = nn.Parameter(minitorch.zeros(2))
    p.grad = minitorch.tensor([float("nan"), 1.0])
    with pytest.raises(RuntimeError, match=r"norm of order 2.0 .* is nan"):
        clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad[1].item() == 1.0
    clip_grad_norm_([p], 1.0)
    assert p.grad.isnan().all().item()


def test_row_sparse_gradients_count_as_their_sum():
    dense, rows = nn.Embedding(5, 2), nn.Embedding(5, 2, sparse=True)
    ids = minitorch.tensor([1, 3, 1])
    for layer in (dense, rows):
        (layer(ids) ** 2).sum().backward()
    rows.load_state_dict(dense.state_dict())
    for layer in (dense, rows):
        layer.zero_grad()
        (layer(ids) ** 2).sum().backward()
    a, b = clip_grad_norm_(dense.weight, 0.1), clip_grad_norm_(rows.weight, 0.1)
    assert a.item() == pytest.approx(b.item(), rel=1e-6)
    np.testing.assert_allclose(
        dense.weight.grad.cpu().numpy(), rows.weight.grad.to_dense().cpu().numpy(), rtol=1e-5
    )


def test_bad_arguments_of_norms():
    p = nn.Parameter(minitorch.zeros(2))
    p.grad = minitorch.ones(2)
    with pytest.raises(TypeError, match=r"total_norm: expected a tensor of one number, got 2\.0"):
        clip_grads_with_norm_([p], 1.0, 2.0)
    with pytest.raises(RuntimeError, match="expected a floating-point dtype, got one of"):
        get_total_norm([minitorch.ones(2, dtype=minitorch.int64)])
    clip_grads_with_norm_([p], 1.0, get_total_norm([p.grad]) * 2)
    np.testing.assert_allclose(p.grad.tolist(), [0.5 / 2**0.5] * 2, rtol=1e-5)


def test_parameters_as_one_vector():
    model = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.tolist() == [*model.weight.flatten().tolist(), *model.bias.tolist()]
    nn.utils.vector_to_parameters(minitorch.arange(9.0), model.parameters())
    assert model.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and model.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match="8 elements, the parameters 9"):
        nn.utils.vector_to_parameters(minitorch.ones(8), model.parameters())
    with pytest.raises(TypeError, match="expected a Tensor"):
        nn.utils.vector_to_parameters([1.0], model.parameters())

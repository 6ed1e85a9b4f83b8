"""Limits on gradients before an optimizer's step, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

from minitorch import ops, underived
from minitorch.boundary import guard
from minitorch.core import families
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.operands import same_device

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]

_norm_all = families.constant("norm_all")
_clip_all_ = underived.update("clip_all_")
_clamp_all_ = underived.update("clamp_all_")


def _values(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Return the numbers of all gradients; duplicate rows of row-sparse ones are summed first."""
    values = []
    for p in [parameters] if isinstance(parameters, Tensor) else parameters:
        if isinstance(p.grad, RowGrad):
            p.grad = p.grad.sum_duplicates()
            values.append(p.grad.values)
        elif p.grad is not None:
            values.append(p.grad)
    return values


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """The norm of the norms of all tensors.

    For most orders `norm_type`, also ±inf for the largest and the smallest size of an element, this
    is the norm of all tensors as if they were one vector; for 0 it counts the tensors that are not
    all zeros, as PyTorch does. Raises RuntimeError if it is not finite and `error_if_nonfinite`.
    """
    given, order = [tensors] if isinstance(tensors, Tensor) else list(tensors), float(norm_type)
    if not given:
        return tensor(0.0)
    same_device("get_total_norm", given)
    wrong = next((t.dtype for t in given if not t.is_floating_point()), None)
    if wrong is not None:
        raise RuntimeError(
            f"get_total_norm: tensors: expected a floating-point dtype, got one of {wrong}"
        )
    if order == 0:
        total = ops.stack([(g != 0).any().to(g.dtype) for g in given]).sum()
    else:
        total = _norm_all(*given, order=order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients is {total.item()}, so it cannot "
            "be clipped; pass error_if_nonfinite=False to scale by it anyway"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor
) -> None:
    """Scale the gradients in place by max_norm / total_norm, where that is below 1."""
    if not isinstance(total_norm, Tensor) or total_norm.numel() != 1:
        raise TypeError(
            f"clip_grads_with_norm_: total_norm: expected a tensor of one number, got {total_norm}"
        )
    grads = _values(parameters)
    if grads:
        same_device("clip_grads_with_norm_", [*grads, total_norm])
        _clip_all_((grads,), ([total_norm],), limit=float(max_norm))


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients in place so that their joint norm is at most `max_norm`.

    Returns the norm as it was before: see `get_total_norm`.
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    max_norm = float(max_norm)
    total = get_total_norm(_values(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value], in place."""
    grads = _values(parameters)
    if grads:
        _clamp_all_((grads,), (), min=-float(clip_value), max=float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of the parameters, one parameter after the other, as one vector."""
    return ops.cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into the parameters, in the order of `parameters_to_vector`.

    Raises TypeError for what is no Tensor, ValueError for another number of elements.
    """
    given = list(parameters)
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec: expected a Tensor, got {type(vec).__name__}")
    sizes = [p.numel() for p in given]
    if vec.numel() != sum(sizes):
        raise ValueError(
            f"vector_to_parameters: vec has {vec.numel()} elements, the parameters {sum(sizes)}"
        )
    for p, part in zip(given, vec.split(sizes)):
        p.copy_(part.reshape(p.shape))


guard(globals())

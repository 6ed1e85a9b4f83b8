"""Limits on gradients before an optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from minitorch import ops, underived
from minitorch.boundary import guard
from minitorch.core import families
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor, zeros_like
from minitorch.operands import same_device

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

_sum_squares = families.constant("sum_squares")
_scale_all_ = underived.update("scale_all_")
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
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients in place so that their joint norm is at most `max_norm`.

    The norm is that of the norms of the gradients, returned as it was before. For most orders
    `norm_type`, also ±inf for the largest and the smallest size of an element, this is the norm of
    all gradients as if they were one vector; for 0 it counts the gradients that are not all zeros,
    as PyTorch does. Raises RuntimeError if it is not finite and `error_if_nonfinite`.
    """
    max_norm, norm_type = float(max_norm), float(norm_type)
    grads = _values(parameters)
    if not grads:
        return tensor(0.0)
    same_device("clip_grad_norm_", grads)
    total = _joint_norm(grads, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients is {total.item()}, so it cannot "
            "be clipped; pass error_if_nonfinite=False to scale by it anyway"
        )
    scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
    _scale_all_((grads,), ([scale],))
    return total


def _joint_norm(grads: list[Tensor], order: float) -> Tensor:
    if order == 2:
        return _sum_squares(*grads).sqrt()
    if order == 0:
        return ops.stack([(g != 0).any().to(g.dtype) for g in grads]).sum()
    if math.isinf(order):
        sizes = [g.abs() for g in grads if g.numel()] or [zeros_like(grads[0].sum())]
        ends = [size.max() if order > 0 else size.min() for size in sizes]
        return ops.stack(ends).max() if order > 0 else ops.stack(ends).min()
    powers = [(g.abs() ** order).sum() for g in grads]
    total: Tensor = ops.stack(powers).sum() ** (1 / order)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value], in place."""
    grads = _values(parameters)
    if grads:
        _clamp_all_((grads,), (), min=-float(clip_value), max=float(clip_value))


guard(globals())

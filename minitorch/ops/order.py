"""Sorting along a dimension, distinct elements, and counts of them."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

from minitorch.core import dtypes
from minitorch.core.families import constant
from minitorch.core.tensor import Tensor
from minitorch.operands import is_number, same_device
from minitorch.ops import reduce
from minitorch.ops.arguments import one_dim
from minitorch.ops.reduce import Reduced
from minitorch.ops.shape import cat

__all__ = ["argsort", "bincount", "sort", "topk", "unique"]

_argsort = constant("argsort")


class Unique(NamedTuple):
    """The result of `unique` with inverse indices or counts."""

    values: Tensor
    inverse: Tensor
    counts: Tensor


# ---------------------------------------------------------------------- sorting
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """Indices that sort along `dim`; the order is always stable, nan comes as the largest."""
    return _argsort(input, dim=one_dim("argsort", input.ndim, dim), descending=descending)


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Reduced:
    """(values, indices) in order along `dim`; see `argsort`."""
    indices = _argsort(input, dim=one_dim("sort", input.ndim, dim), descending=descending)
    return Reduced(input.gather(dim, indices), indices)


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Reduced:
    """(values, indices) of the k largest (or smallest) along `dim`, in order.

    >>> values, indices = minitorch.tensor([3.0, 9.0, 5.0]).topk(2)
    >>> values, indices
    (tensor([9., 5.]), tensor([1, 2]))
    """
    d = one_dim("topk", input.ndim, dim)
    length = input.array.shape[d] if input.ndim else 1
    if not is_number(k) or not 0 <= k <= length:
        raise RuntimeError(f"topk: k: expected 0 to {length} (length of dim {dim}), got {k}")
    if largest and input.ndim and d == input.ndim - 1 and length >= builtins.max(4096, 64 * k):
        indices = _topk_of_long_rows(input.detach(), builtins.max(k, 1))
    else:
        indices = argsort(input, d, largest)
    if input.ndim:
        indices = indices.narrow(d, 0, k).contiguous()
    return Reduced(input.gather(d, indices), indices)


def _topk_of_long_rows(x: Tensor, k: int) -> Tensor:
    """Indices of the largest elements along the last dimension, k or more, as argsort has them.

    The k pieces with the largest maxima hold them. With pieces of sqrt(n / k) elements about
    2 sqrt(n k) are sorted instead of n.
    """
    *rows, length = x.shape
    piece = math.isqrt(length // k)
    count = length // piece
    best = reduce.amax(x.narrow(-1, 0, count * piece).reshape(*rows, count, piece), -1)
    chosen = argsort(best, -1, descending=True).narrow(-1, 0, k)
    chosen = chosen.gather(-1, argsort(chosen, -1))  # equal elements stay in order
    within = chosen.new_ones(piece).cumsum(0) - 1
    positions = (chosen.unsqueeze(-1) * piece + within).reshape(*rows, k * piece)
    rest = chosen.new_ones(length - count * piece).cumsum(0) + (count * piece - 1)
    positions = cat([positions, rest.expand(*rows, len(rest))], -1)
    return positions.gather(-1, argsort(x.gather(-1, positions), -1, descending=True))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order; with `dim`, the distinct slices along it.

    On request also the index of each element (or slice) of the input among them, and the count of
    each in the input (both int64).
    """
    x = input.detach()
    rows = x.reshape(-1, 1) if dim is None else _as_rows(x, one_dim("unique", x.ndim, dim))
    order = _lexicographic(rows)
    ordered = rows[order]
    first = ordered.new_ones(len(ordered), dtype=dtypes.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(1)
    if dim is None:
        values = ordered[first].reshape(-1)
    else:
        values = x.index_select(dim, order[first])
    if not (return_inverse or return_counts):
        return values
    group = reduce.cumsum(first, 0) - 1
    inverse = group.new_zeros(group.shape).scatter_(0, order, group)
    inverse = inverse.reshape(input.shape) if dim is None else inverse
    counts = bincount(group, minlength=int(reduce.sum(first)))
    result = Unique(values, inverse, counts)
    if return_inverse and return_counts:
        return tuple(result)
    return (values, inverse) if return_inverse else (values, counts)


def _as_rows(x: Tensor, dim: int) -> Tensor:
    """The slices along a dimension as the rows of a matrix."""
    if x.ndim == 0:
        return x.reshape(1, 1)
    order = [dim, *[d for d in range(x.ndim) if d != dim]]
    return x.permute(order).reshape(x.shape[dim], math.prod(x.shape[d] for d in order[1:]))


def _lexicographic(rows: Tensor) -> Tensor:
    """The order of a matrix' rows, by the first column, then by the second, and so on."""
    order = argsort(rows[:, -1]) if rows.shape[1] else rows.new_zeros(0, dtype=dtypes.int64)
    for column in range(rows.shape[1] - 2, -1, -1):
        order = order[argsort(rows[:, column][order])]
    return order


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """The count (or total weight) of each of 0, 1, ... in a 1-D integer tensor."""
    if input.ndim != 1 or input.dtype.is_floating_point:
        raise RuntimeError(
            f"bincount: expected a 1-D tensor of non-negative integers, got {input.dtype}, "
            f"shape {tuple(input.shape)}"
        )
    if input.numel() and int(input.min()) < 0:
        raise RuntimeError(f"bincount: expected non-negative integers, got {int(input.min())}")
    n = builtins.max(minlength, int(input.max()) + 1 if input.numel() else 0)
    if weights is None:
        weights = input.new_ones(input.shape, dtype=dtypes.int64)
    elif tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError(
            f"bincount: weights has shape {tuple(weights.shape)}, expected {tuple(input.shape)}"
        )
    elif weights.dtype is not dtypes.float32:
        weights = weights.double()
    same_device("bincount", (input, weights))
    return weights.new_zeros(n).scatter_add_(0, input.long(), weights)

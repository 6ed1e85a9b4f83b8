"""Reading and writing by index, made of the index ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minitorch import creation
from minitorch.backend.limits import iinfo
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.operands import same_device
from minitorch.ops import index as indexing
from minitorch.ops import inplace, order, reduce, shape
from minitorch.ops.arguments import need_indices, need_tensor, one_dim
from minitorch.ops.elementwise import where

__all__ = ["argwhere", "bucketize", "index_copy", "index_fill", "index_put", "index_reduce"]
__all__ += ["isin", "masked_scatter", "nonzero_static", "put", "scatter_reduce", "take"]


def argwhere(input: Tensor) -> Tensor:
    """Indices of the nonzero elements: int64 (n, ndim)."""
    found: Tensor = indexing.nonzero(input)
    return found


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """`nonzero` in a given number of rows: the rest is cut off, missing rows are `fill_value`."""
    found = indexing.nonzero(input)[:size]
    rest = found.new_full((size - found.shape[0], found.shape[1]), fill_value)
    return shape.cat([found, rest], 0)


def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The index of the bucket between sorted boundaries in which each element is."""
    return indexing.searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among the test elements."""
    given = (elements, test_elements)
    like = next((x for x in given if isinstance(x, Tensor)), None)
    if like is None:
        raise TypeError("isin: expected a tensor among elements and test_elements")
    x, among = (y if isinstance(y, Tensor) else like.new_tensor(y) for y in given)
    same_device("isin", (x, among))
    found = (x.unsqueeze(-1) == among.reshape(-1)).any(-1)
    return found.logical_not() if invert else found


# ---------------------------------------------------------------------- the flattened tensor
def _flat_positions(name: str, x: Tensor, index: Tensor) -> Tensor:
    n = x.numel()
    if need_tensor(name, "index", index).dtype is not dtypes.int64:
        raise TypeError(f"{name}: index: expected int64, got {index.dtype}; use .long()")
    same_device(name, (x, index))
    if index.numel() and not n:
        raise IndexError(f"{name}: index: the input has no elements")
    positions = where(index < 0, index + n, index)
    return need_indices(name, "index", positions, n)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened tensor at these positions, in the shape of index."""
    return input.reshape(-1)[_flat_positions("take", input, index)]


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with source's elements at these positions of the flattened tensor."""
    return put_(input.clone(), index, source, accumulate)


def put_(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`put`, in place."""
    if source.dtype is not input.dtype:
        raise RuntimeError(f"put_: source is {source.dtype}, expected {input.dtype}")
    if source.numel() != index.numel():
        raise RuntimeError(
            f"put_: source has {source.numel()} elements, expected {index.numel()} as index"
        )
    positions = _flat_positions("put_", input, index).reshape(-1)
    flat = input.reshape(-1)
    made = index_put(flat, (positions,), source.reshape(-1), accumulate)
    return inplace.overwritten("put_", input, made.reshape(input.shape))


def index_put(
    input: Tensor, indices: tuple[Any, ...], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy with `copy[indices] = values`, or added to it."""
    return index_put_(input.clone(), indices, values, accumulate)


def index_put_(
    input: Tensor, indices: tuple[Any, ...], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`input[indices] = values`, or, with accumulate, added to it: duplicates add up."""
    if values.dtype is not input.dtype:
        raise RuntimeError(f"index_put_: values is {values.dtype}, expected {input.dtype}")
    key = tuple(slice(None) if i is None else i for i in indices)
    if not accumulate:
        inplace.setitem(input, key, values)
        return input
    flat = creation.arange(input.numel(), device=input.device).reshape(input.shape)[key]
    source = values.expand(flat.shape).reshape(-1)
    added = inplace.index_add(input.reshape(-1), 0, flat.reshape(-1), source)
    return inplace.overwritten("index_put_", input, added.reshape(input.shape))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy in which the elements where the mask holds are source's first ones, in order."""
    if need_tensor("masked_scatter", "mask", mask).dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter: mask: expected a bool tensor, got {mask.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(f"masked_scatter: source is {source.dtype}, expected {input.dtype}")
    input, mask = shape.broadcast_tensors(input, mask)
    flat = mask.reshape(-1)
    if not source.numel():
        if bool(flat.any()):
            raise RuntimeError("masked_scatter: source has no elements for the mask")
        return input.clone()
    numbers = (reduce.cumsum(flat, 0) - 1).clamp(min=0)
    if flat.numel() and int(reduce.sum(flat)) > source.numel():
        raise RuntimeError(
            f"masked_scatter: source has {source.numel()} elements, the mask wants more"
        )
    picked = source.reshape(-1)[numbers.clamp(max=source.numel() - 1)].reshape(mask.shape)
    return where(mask, picked, input)


# ---------------------------------------------------------------------- along a dimension
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with source at the positions `index` along `dim`."""
    return inplace.index_copy_(input.clone(), dim, index, source)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy with a number at the positions `index` along `dim`."""
    return inplace.index_fill_(input.clone(), dim, index, value)


_NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -math.inf, "amin": math.inf}


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """src[i][j] combined at [index[i][j]][j] for dim 0, and so on, with input's element there too.

    reduce: "sum", "prod", "mean", "amax" or "amin". include_self=False leaves input's elements out
    where others come. Equal extremes share the gradient.
    """
    if reduce not in _NEUTRAL:
        raise RuntimeError(
            f"scatter_reduce: reduce: expected one of {list(_NEUTRAL)}, got {reduce!r}"
        )
    if input.dtype is dtypes.bool_:
        given = (input.long(), dim, index, src.long(), reduce)
        return scatter_reduce(*given, include_self=include_self).bool()
    d = indexing._check_gather("scatter_reduce", input, dim, index)
    part = inplace._source_of("scatter_reduce", input, d, index, src)
    if not index.numel():
        return input.clone()
    if input.ndim == 0:
        input, index, part = (x.reshape(1) for x in (input, index, part))
        return scatter_reduce(input, 0, index, part, reduce, include_self=include_self).reshape(())
    ones = part.new_ones(part.shape)
    count = inplace.scatter_add(input.new_zeros(input.shape), d, index, ones)
    touched = count > 0
    start = input
    if not include_self:
        start = where(touched, _neutral(reduce, input.dtype), input)
    if reduce in ("sum", "mean"):
        total = inplace.scatter_add(start, d, index, part)
        number = count + (1 if include_self else 0)
        return _divided(total, number.clamp(min=1)) if reduce == "mean" else total
    return _FOLDS[reduce](start, d, index, part, touched)


def _neutral(reduction: str, dtype: dtypes.dtype) -> Any:
    value = _NEUTRAL[reduction]
    if dtype.is_floating_point or math.isfinite(value):
        return value if dtype.is_floating_point else int(value)
    if dtype is dtypes.bool_:
        return value > 0
    limits = iinfo(dtype)
    return limits.max if value > 0 else limits.min


def _divided(total: Tensor, number: Tensor) -> Tensor:
    return total / number if total.dtype.is_floating_point else total // number


def _extreme(smallest: bool) -> Callable[..., Tensor]:
    def fold(start: Tensor, d: int, index: Tensor, src: Tensor, touched: Tensor) -> Tensor:
        # Which source wins at each element is found by sorting; it and its equals share.
        best = _best(start.detach(), d, index, src.detach(), smallest)
        if start.node is None and src.node is None:
            return best
        wins, own = src == best.gather(d, index), start == best
        number = inplace.scatter_add(own.to(src.dtype), d, index, wins.to(src.dtype)).clamp(min=1)
        share = where(wins, src / number.gather(d, index), 0.0)
        return inplace.scatter_add(where(own, start / number, 0.0), d, index, share)

    return fold


def _best(start: Tensor, d: int, index: Tensor, src: Tensor, smallest: bool) -> Tensor:
    """Sources written in the order of their values: the last one written is the best."""
    ranks = order.argsort(src, d, descending=smallest)
    ranked, targets = src.gather(d, ranks), index.gather(d, ranks)
    last = _last_of_equal(targets, d)
    where_to = targets.gather(d, last)
    written = inplace.scatter(start, d, where_to, ranked.gather(d, last))
    better = start < written if not smallest else start > written
    return where(better | (written != written), written, start)


def _last_of_equal(targets: Tensor, d: int) -> Tensor:
    """For each position the last one along `d` that has the same target."""
    same = targets.unsqueeze(d) == targets.unsqueeze(d + 1)  # [..., later, own, ...]
    n = targets.shape[d]
    positions = creation.arange(n, device=targets.device)
    wide = positions.reshape((-1,) + (1,) * (targets.ndim - d))
    return where(same, wide, -1).amax(d)


def _product(start: Tensor, d: int, index: Tensor, src: Tensor, touched: Tensor) -> Tensor:
    """The product of an element and its sources, by a matrix of who meets whom."""
    n = start.shape[d]
    classes = creation.arange(n, device=start.device).reshape((-1,) + (1,) * (index.ndim - d))
    meets = index.unsqueeze(d) == classes  # [..., element, source, ...]
    factors = where(meets, src.unsqueeze(d), 1 if not src.dtype.is_floating_point else 1.0)
    product = reduce.prod(factors, d + 1).to(start.dtype)
    if product.shape != start.shape:  # index is shorter in other dimensions
        whole = start.clone()
        key = tuple(slice(0, m) for m in product.shape)
        whole[key] = whole[key].clone() * product
        return whole
    return start * product


_FOLDS: dict[str, Callable[..., Tensor]] = {
    "prod": _product,
    "amax": _extreme(False),
    "amin": _extreme(True),
}


def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Slices of source combined at the positions `index` along `dim`, see `scatter_reduce`."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce: reduce: expected 'prod', 'mean', 'amax' or 'amin', got {reduce!r}"
        )
    d = one_dim("index_reduce", input.ndim, dim)
    if index.ndim > 1:
        raise IndexError(f"index_reduce: index: expected 1 dimension, got {index.ndim}")
    if input.ndim == 0:
        index = index.reshape(())
    else:
        index = index.reshape((-1,) + (1,) * (input.ndim - 1 - d)).expand(source.shape)
    return scatter_reduce(input, d, index, source, reduce, include_self=include_self)

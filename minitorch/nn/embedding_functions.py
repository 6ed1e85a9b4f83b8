"""Look-ups in a table of vectors, one by one or a sum of several."""

from __future__ import annotations

from minitorch import ops
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import arange

__all__ = ["embedding", "embedding_bag"]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of `weight` (n, *rest) that the integers `input` (*) name: (*, *rest).

    The row `padding_idx` gets no gradient. The rows named whose `norm_type`-norm is above
    `max_norm` are scaled down to it first, in `weight` itself. `scale_grad_by_freq` divides the
    gradient of a row by how often `input` names it. With `sparse`, weight.grad is a RowGrad.
    """
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    rows = ops.embedding(weight, input, sparse=sparse)
    rest = [1] * (weight.dim() - 1)
    if scale_grad_by_freq and rows.requires_grad:
        fixed = rows.detach()
        rows = fixed + (rows - fixed) / _frequencies(input, weight).reshape(*input.shape, *rest)
    if padding_idx is None:
        return rows
    n = weight.shape[0]
    if not -n <= padding_idx < n:
        raise ValueError(f"embedding: padding_idx {padding_idx} is out of range for {n} rows")
    mask = (input == padding_idx % n).reshape(*input.shape, *rest)
    return ops.where(mask, rows.detach(), rows)


@no_grad()
def _limit_norms(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    named = input.reshape(-1)
    limited = ops.renorm(weight.detach()[named], norm_type, 0, max_norm)
    weight.index_copy_(0, named, limited)


def _frequencies(input: Tensor, weight: Tensor) -> Tensor:
    """How often the whole of `input` names each of its rows: (*) of the weight's dtype."""
    named = input.reshape(-1)
    counts = weight.new_zeros(weight.shape[0])
    counts = counts.index_add(0, named, counts.new_ones(named.shape))
    return counts[named].reshape(input.shape)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return the sum, mean or maximum of the rows of `weight` (n, D) named in each bag: (B, D).

    input: integers (B, L), a bag in each row; or (N,), with `offsets` (B,), where each bag
    begins, and with `include_last_offset` also where the last one ends. An empty bag gives zeros,
    and `padding_idx` in a bag counts nothing. mode: "sum", "mean" or "max"; `per_sample_weights`,
    of the input's shape, multiply the rows of a sum. The other arguments are those of `embedding`.
    Raises ValueError for other shapes and modes, NotImplementedError for weights without a sum.
    """
    _check_bag(input, weight, offsets, mode, per_sample_weights)
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError("embedding_bag: mode 'max' takes no scale_grad_by_freq and no sparse")
    named = input.reshape(-1)
    if offsets is None:
        bags = input.shape[0]
        bag = arange(bags, device=input.device).repeat_interleave(input.shape[1])
    else:
        bags = len(offsets) - include_last_offset
        numbers = arange(len(named), dtype=offsets.dtype, device=offsets.device)
        bag = ops.searchsorted(offsets[:bags], numbers, right=True) - 1
    rows = embedding(named, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    return _pooled(rows, bag, bags, mode, _counted(named, weight, padding_idx))


def _counted(named: Tensor, weight: Tensor, padding_idx: int | None) -> Tensor | None:
    """Whether each number is no padding; None: all of them."""
    return None if padding_idx is None else named != padding_idx % weight.shape[0]


def _pooled(rows: Tensor, bag: Tensor, bags: int, mode: str, counted: Tensor | None) -> Tensor:
    """The sum, mean or maximum of the rows of each bag that are counted, 0 where there are none."""
    pooled = rows.new_zeros(bags, rows.shape[1])
    if counted is not None:
        rows = rows.masked_fill(~counted.unsqueeze(1), -float("inf") if mode == "max" else 0)
    if mode == "sum":
        return pooled.index_add(0, bag, rows)
    ones = rows.new_ones(len(bag)) if counted is None else counted.to(rows.dtype)
    counts = rows.new_zeros(bags).index_add(0, bag, ones).unsqueeze(1)
    if mode == "mean":
        return pooled.index_add(0, bag, rows) / counts.clamp(min=1)
    index = bag.unsqueeze(1).expand(rows.shape)
    largest = pooled.scatter_reduce(0, index, rows, "amax", include_self=False)
    return largest.masked_fill(counts == 0, 0)


def _check_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None, mode: str, weights: Tensor | None
) -> None:
    if weight.dim() != 2:
        raise ValueError(f"embedding_bag: weight has to be 2-D, got {tuple(weight.shape)}")
    if input.dim() not in (1, 2):
        raise ValueError(f"embedding_bag: input has to be 1-D or 2-D, got {tuple(input.shape)}")
    if input.dim() == 2 and offsets is not None:
        raise ValueError("embedding_bag: a 2-D input has its bags in rows: offsets has to be None")
    if input.dim() == 1 and (offsets is None or offsets.dim() != 1):
        raise ValueError("embedding_bag: a 1-D input needs offsets, a 1-D tensor")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if weights is not None and weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: per_sample_weights has shape {tuple(weights.shape)}, expected that "
            f"of the input, {tuple(input.shape)}"
        )
    if weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights are only there for mode='sum', got mode={mode!r}"
        )

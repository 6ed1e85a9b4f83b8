"""The rarer losses as functions, and distances, each a few tensor ops; `functional` has them all.

`reduction` is "mean", "sum" or "none" (the loss of each element or sample).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from minitorch import autocasting, ops
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, full_like

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

REDUCTIONS = ("mean", "sum", "none")
Function = TypeVar("Function", bound=Callable[..., Tensor])


def check_reduction(reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ValueError for a `reduction` that there is not."""
    if reduction not in known:
        raise ValueError(
            f"reduction: {reduction} is not a valid value for reduction: use {', '.join(known)}"
        )


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses, or they themselves."""
    check_reduction(reduction)
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    """Raise ValueError where input and target differ in shape."""
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: target has shape {tuple(target.shape)}, the input {tuple(input.shape)}; "
            "expected the same"
        )


def _widened(function: Function) -> Function:
    """The function, which under autocast gets its tensors in float32."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        if not autocasting.state.dtypes:
            return function(*args, **kwargs)
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        cast = dict(zip(map(id, given), autocasting.casted(function.__name__, *given)))
        named = {name: cast.get(id(x), x) for name, x in kwargs.items()}
        return function(*[cast.get(id(x), x) for x in args], **named)

    return call  # type: ignore[return-value]


# ------------------------------------------------------------------ of elements


@_widened
def kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Return the Kullback-Leibler divergence y · (log y - x) for log-probabilities x.

    `log_target`: `target` is log y. `reduction` may also be "batchmean", the sum divided by the
    number of samples, which is what the definition says.
    """
    check_reduction(reduction, (*REDUCTIONS, "batchmean"))
    if reduction == "mean":
        warnings.warn(
            "kl_div: reduction: 'mean' divides by the number of elements; 'batchmean' by that of "
            "samples, as the definition does",
            UserWarning,
            stacklevel=4,
        )
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = ops.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return loss.sum() / len(input) if input.dim() else loss.sum()
    return reduced(loss, reduction)


@_widened
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return (x - y)² / 2 where |x - y| <= delta, else delta · (|x - y| - delta / 2).

    `weight`, of the input's shape, multiplies it (Huber, 1964). Raises RuntimeError unless
    delta > 0.
    """
    check_same_shape("huber_loss", input, target)
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta: expected a number > 0, got {delta}")
    if weight is not None and weight.shape != input.shape:
        raise ValueError(
            f"huber_loss: weight has shape {tuple(weight.shape)}, expected {tuple(input.shape)}"
        )
    distance = (input - target).abs()
    near = ops.minimum(distance, delta)  # the square of a far one may overflow
    loss = ops.where(distance <= delta, near * near / 2, (distance - delta / 2) * delta)
    return reduced(loss if weight is None else loss * weight, reduction)


@_widened
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return -log of a Poisson probability of `target`, without log(y!): eˣ - y · x.

    x is the logarithm of the rate; without `log_input` the rate, x - y · log(x + eps). `full` adds
    Stirling's approximation of log(y!) where y > 1.
    """
    check_reduction(reduction)
    if log_input:
        loss = input.exp() - target * input
    else:
        loss = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + (target * (2 * math.pi)).log() / 2
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return -log of a normal density of `target` without its constant: (log v + (x - y)² / v) / 2.

    The mean x is `input`; the variance v is `var`, at least `eps`: a number, or a tensor of the
    input's shape, or without the last dimension, or with one dimension of size 1 instead. `full`
    adds the constant. Raises ValueError for a negative variance or one of another shape.
    """
    check_reduction(reduction)
    if not isinstance(var, Tensor):
        var = full_like(input, var)
    if (var < 0).any():
        raise ValueError("gaussian_nll_loss: var: expected numbers >= 0, got a negative one")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif var.dim() != input.dim() or [
            theirs for mine, theirs in zip(input.shape, var.shape) if mine != theirs
        ] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: var is of incorrect size {tuple(var.shape)} for an input of "
                f"{tuple(input.shape)}"
            )
    var = var.clone()
    with no_grad():  # the limit has no slope
        var.clamp_(min=eps)
    loss = (var.log() + (input - target).square() / var) / 2
    return reduced(loss + math.log(2 * math.pi) / 2 if full else loss, reduction)


@_widened
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return log(1 + e^(-y x)) for targets y of 1 or -1."""
    return reduced(-ops.logsigmoid(target * input), reduction)


@_widened
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Return the distance x where the target is 1, max(0, margin - x) where it is -1."""
    far = (margin - input).clamp(min=0).masked_fill(target == 1, 0)
    return reduced(far + input.masked_fill(target == -1, 0), reduction)


@_widened
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, -y (x1 - x2) + margin): y = 1 wants x1 to be the larger one, -1 x2."""
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss: expected as many dimensions in each tensor, got shapes "
            f"{tuple(input1.shape)}, {tuple(input2.shape)}, {tuple(target.shape)}"
        )
    return reduced((margin - target * (input1 - input2)).clamp(min=0), reduction)


# ------------------------------------------------------------------ of vectors


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle along `dim`; norms below `eps` count as `eps`.

    The tensors broadcast, along `dim` too.
    """
    if autocasting.state.dtypes:
        x1, x2 = autocasting.casted("cosine_similarity", x1, x2)
    x1, x2 = ops.broadcast_tensors(x1, x2)
    norm1 = x1.norm(2, dim, keepdim=True).clamp(min=eps)
    norm2 = x2.norm(2, dim, keepdim=True).clamp(min=eps)
    return ((x1 / norm1) * (x2 / norm2)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the `p`-norm of x1 - x2 + eps along the last dimension: (*, D), (*, D) -> (*)."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@_widened
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    input1, input2 (N, D) with target (N,), or (D,) with (). Raises RuntimeError for other shapes.
    """
    if target.dim() > 1 or not input1.dim() == input2.dim() == target.dim() + 1:
        raise RuntimeError(
            "cosine_embedding_loss: expected inputs (N, D) and target (N,), or (D,) and (), got "
            f"shapes {tuple(input1.shape)}, {tuple(input2.shape)}, {tuple(target.shape)}"
        )
    square1, square2 = ((x * x).sum(-1) + 1e-12 for x in (input1, input2))
    cos = (input1 * input2).sum(-1) / (square1 * square2).sqrt()
    alike = (1 - cos).masked_fill(target != 1, 0)
    return reduced(alike + (cos - margin).clamp(min=0).masked_fill(target != -1, 0), reduction)


@_widened
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, |a - p| - |a - n| + margin) for vectors (*, D) (Balntas et al., 2016).

    With `swap` the nearer one of |a - n| and |p - n|. Raises ValueError unless margin > 0.
    """
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "triplet_margin_loss: expected as many dimensions in each tensor, got shapes "
            f"{tuple(anchor.shape)}, {tuple(positive.shape)}, {tuple(negative.shape)}"
        )

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return triplet_margin_with_distance_loss(
        *(anchor, positive, negative),
        distance_function=distance,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, d(a, p) - d(a, n) + margin); d is `pairwise_distance` unless given."""
    check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = distance_function or pairwise_distance
    far = distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced((distance(anchor, positive) - far + margin).clamp(min=0), reduction)


# ------------------------------------------------------------------ of classes


@_widened
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return Σ max(0, margin - x[y] + x[j])ᵖ / C over the classes j other than y.

    input (N, C) or (C,), target (N,) or (): classes. `weight` (C,) weighs them. Raises ValueError
    for p other than 1 and 2.
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 are supported, got {p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"multi_margin_loss: weight must be 1-D, got {tuple(weight.shape)}")
    if input.shape[:-1] != target.shape[: input.dim()]:
        raise RuntimeError(
            f"multi_margin_loss: input {tuple(input.shape)} needs target classes of shape "
            f"{tuple(input.shape[:-1])}, got {tuple(target.shape)}"
        )
    classes = input.shape[-1]
    index = target.unsqueeze(-1)
    excess = ops.relu(margin - input.gather(-1, index) + input)
    if p == 2:
        excess = excess.square()
    if weight is not None:
        excess = excess * weight[index]
    others = arange(classes, device=input.device) != index
    return reduced((excess * others).sum(-1) / classes, reduction)


@_widened
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return Σ max(0, 1 - x[y] + x[j]) / C over the labels y and the classes j that are none.

    input (N, C) or (C,); target of the same shape: the labels of each sample, then -1.
    """
    check_same_shape("multilabel_margin_loss", input, target)
    given = (target < 0).cumsum(-1) == 0
    labels = target.masked_fill(~given, 0)
    counts = labels.new_zeros(labels.shape).scatter_add(-1, labels, given.to(labels.dtype))
    excess = ops.relu(1 - input.gather(-1, labels).unsqueeze(-1) + input.unsqueeze(-2))
    pairs = given.unsqueeze(-1) & (counts == 0).unsqueeze(-2)
    return reduced((excess * pairs).sum((-2, -1)) / input.shape[-1], reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return the binary cross entropy of logits (*, C) against labels of 0 and 1, a mean over C."""
    loss = -(target * ops.logsigmoid(input) + (1 - target) * ops.logsigmoid(-input))
    return reduced((loss if weight is None else loss * weight).mean(-1), reduction)

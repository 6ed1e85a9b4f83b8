"""The rarer activations as functions, each a few tensor ops; `functional` has them all."""

from __future__ import annotations

import math

from minitorch import ops
from minitorch.core.tensor import Tensor
from minitorch.creation import empty_like, zeros_like

__all__ = [
    "alpha_dropout",
    "celu",
    "feature_alpha_dropout",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "mish",
    "prelu",
    "relu6",
    "rrelu",
    "selu",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]

# The fixed point of mean 0 and variance 1 (Klambauer et al., 2017, section 2).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554804


def before(input: Tensor, inplace: bool) -> Tensor:
    """The input, copied where it is overwritten: backward needs the value before."""
    return input.clone() if inplace else input


def maybe_inplace(input: Tensor, output: Tensor, inplace: bool) -> Tensor:
    """The output, written into `input` where that is wanted."""
    return input.copy_(output) if inplace else output


def _exponential(x: Tensor, alpha: float, divisor: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale · x where positive, else scale · alpha · (e^(x / divisor) - 1)."""
    negative = (x.clamp(max=0.0) / divisor).expm1() * (alpha * scale)
    return ops.where(x <= 0, negative, x if scale == 1 else x * scale)


def _limited(x: Tensor, low: float, high: float) -> Tensor:
    """x in [low, high]; unlike that of clamp, the slope at the ends is 0."""
    if not x.is_floating_point():
        low, high = int(low), int(high)
    return ops.where((x <= low) | (x >= high), x.detach().clamp(low, high), x)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return 1.0507 · (x where x > 0, else 1.6733 · (eˣ - 1)) (Klambauer et al., 2017)."""
    x = before(input, inplace)
    return maybe_inplace(input, _exponential(x, SELU_ALPHA, scale=SELU_SCALE), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha · (e^(x / alpha) - 1) (Barron, 2017).

    Raises RuntimeError for an alpha of 0.
    """
    if alpha == 0:
        raise RuntimeError("celu: alpha: expected a number that is not 0, got 0")
    x = before(input, inplace)
    return maybe_inplace(input, _exponential(x, alpha, divisor=alpha), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x · tanh(log(1 + eˣ)) (Misra, 2019)."""
    x = before(input, inplace)
    return maybe_inplace(input, x * ops.softplus(x).tanh(), inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return x limited to [min_val, max_val]; ValueError if min_val > max_val."""
    if min_val > max_val:
        raise ValueError(
            f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}"
        )
    x = before(input, inplace)
    return maybe_inplace(input, _limited(x, min_val, max_val), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(x + 3, 0), 6) / 6."""
    x = before(input, inplace)
    return maybe_inplace(input, _limited(x + 3, 0.0, 6.0) / 6, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x · hardsigmoid(x) (Howard et al., 2019)."""
    x = before(input, inplace)
    return maybe_inplace(input, x * hardsigmoid(x), inplace)


def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh x."""
    return input - input.tanh()


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x where |x| > lambd, else 0."""
    return input.masked_fill(input.abs() <= lambd, 0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x moved towards 0 by `lambd`, and 0 where |x| <= lambd; RuntimeError if lambd < 0."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd: expected a number >= 0, got {lambd}")
    return input - input.clamp(-lambd, lambd)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x where x > threshold, else `value`."""
    return maybe_inplace(input, input.masked_fill(input <= threshold, value), inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return a · σ(b) for the halves a and b of `input` along `dim` (Dauphin et al., 2017).

    Raises RuntimeError for an odd size.
    """
    size = input.shape[dim] if input.dim() else 1
    if size % 2:
        raise RuntimeError(f"glu: expected an even size along dim {dim}, got {tuple(input.shape)}")
    a, b = input.split(size // 2, dim)
    return a * b.sigmoid()


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where x > 0, else weight · x, with one weight () or (1,), or one a channel (C,).

    `input` is (N, C, *) (He et al., 2015). Raises RuntimeError for a weight of another shape.
    """
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.dim() > 1 or weight.numel() not in (1, channels):
        raise RuntimeError(
            f"prelu: weight: expected shape (1,) or ({channels},), one number for each channel, "
            f"got {tuple(weight.shape)}"
        )
    if weight.dim() == 1 and input.dim() != 1:
        weight = weight.reshape(-1, *[1] * (input.dim() - 2)) if input.dim() else weight.reshape(())
    return ops.where(input > 0, input, weight * input)


def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return x where x > 0, else slope · x (Xu et al., 2015).

    In training each slope is drawn from U(lower, upper), else it is their mean.
    """
    slope = empty_like(input).uniform_(lower, upper) if training else (lower + upper) / 2
    return maybe_inplace(input, ops.where(input > 0, input, input * slope), inplace)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Set elements to SELU's lowest value with probability `p`, if `training`.

    What is standard normal keeps its mean and variance (Klambauer et al., 2017).
    """
    return _alpha_dropout("alpha_dropout", input, tuple(input.shape), p, training, inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Do `alpha_dropout` to whole channels of `input` (N, C, *)."""
    if training and p and input.dim() < 2:
        raise RuntimeError(
            f"feature_alpha_dropout: expected (N, C, *), got shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:2], *[1] * (input.dim() - 2))
    return _alpha_dropout("feature_alpha_dropout", input, shape, p, training, inplace)


def _alpha_dropout(
    name: str, input: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool
) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return maybe_inplace(input, input * zeros_like(input), inplace)
    alpha = SELU_ALPHA * SELU_SCALE
    scale = 1 / math.sqrt((alpha**2 * p + 1) * (1 - p))
    kept = input.detach().new_empty(shape).bernoulli_(1 - p)
    shift = (kept - 1) * (alpha * scale) + alpha * scale * p
    return maybe_inplace(input, input * (kept * scale) + shift, inplace)

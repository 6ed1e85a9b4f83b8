"""Fills with random numbers."""

from __future__ import annotations

import math
from typing import Any

from minitorch import creation, random
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.ops import inplace


def normal_(input: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers from the normal distribution."""
    like = creation.like(input)
    values = random.normal(mean, std, input.shape, generator=generator, **like)
    return inplace.copy_(input, values)


def uniform_(
    input: Tensor,
    a: float = 0,
    b: float = 1,
    *,
    generator: Any = None,
    **ends: float,
) -> Tensor:
    """Fill with numbers drawn evenly from [a, b) (PyTorch's names `from` and `to` work too)."""
    a, b = ends.pop("from", a), ends.pop("to", b)
    if ends:
        raise TypeError(f"uniform_: unexpected argument {next(iter(ends))!r}")
    if a > b:
        raise RuntimeError(f"uniform_: expected a <= b, got {a} and {b}")
    values = random.rand(input.shape, generator=generator, **creation.like(input))
    return inplace.copy_(input, values.mul_(b - a).add_(a))


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 1 (probability p, a number or a tensor that broadcasts) and 0."""
    random.check_probabilities("bernoulli_: p", p)
    dtype = input.dtype if input.dtype.is_floating_point else dtypes.float32
    draws = random.rand(input.shape, generator=generator, dtype=dtype, device=input.device)
    return inplace.copy_(input, (draws < p).to(input.dtype))


def random_(input: Tensor, low: int, high: int, *, generator: Any = None) -> Tensor:
    """Fill with integers drawn evenly from low to high - 1."""
    values = random.randint(low, high, input.shape, generator=generator, device=input.device)
    return inplace.copy_(input, values.to(input.dtype))


# ---------------------------------------------------------------------- by a distribution's inverse


def _share(name: str, x: Tensor, generator: Any) -> Tensor:
    """Numbers drawn evenly from (0, 1]."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {x.dtype}")
    return 1 - random.rand(x.shape, generator=generator, **creation.like(x))


def exponential_(input: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers from the exponential distribution of this rate."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_: lambd: expected a positive number, got {lambd}")
    return inplace.copy_(input, -_share("exponential_", input, generator).log() / lambd)


def cauchy_(input: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers from Cauchy's distribution."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_: sigma: expected a positive number, got {sigma}")
    angle = (_share("cauchy_", input, generator) - 0.5) * math.pi
    return inplace.copy_(input, angle.tan() * sigma + median)


def log_normal_(input: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Fill with e to the power of normal numbers."""
    if std <= 0:
        raise RuntimeError(f"log_normal_: std: expected a positive number, got {std}")
    drawn = random.normal(mean, std, input.shape, generator=generator, **creation.like(input))
    return inplace.copy_(input, drawn.exp())


def geometric_(input: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials until one succeeds, each with probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: p: expected a number between 0 and 1, got {p}")
    draws = random.rand(input.shape, generator=generator, device=input.device)
    trials = ((1 - draws).log() / math.log1p(-p)).ceil().clamp(min=1)
    return inplace.copy_(input, trials.to(input.dtype))

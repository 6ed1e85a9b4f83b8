"""Points of the plane to learn: the data sets of the TensorFlow Playground, by their formulas.

Source: D. Smilkov et al., Direct-Manipulation Visualization of Deep Networks (2016), and what
playground.tensorflow.org shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from minitorch.backend import Device, get_default_device
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, tensor
from minitorch.data.dataset import TensorDataset
from minitorch.ops import maximum, stack, where
from minitorch.random import Generator, rand, randn, randperm

__all__ = ["PLANAR", "PlanarSource", "planar"]

RADIUS = 5.0  # the points lie within it, or in the square around it
_HILLS = [(x, y, 1.0 if (x == 0) == (y < 0) else -1.0) for x in (-4, 0, 4) for y in (-2.5, 2.5)]

Drawn = tuple[Tensor, Tensor, Tensor]  # x1, x2 and value, (n,) each


@dataclass(frozen=True)
class PlanarSource:
    """How to draw n points with their values, given the noise; whether the values are classes."""

    draw: Callable[[int, float, Generator], Drawn]
    classes: bool


def planar(
    name: str, n: int = 500, noise: float = 0.0, seed: int = 0, device: Device | str | None = None
) -> TensorDataset:
    """Return n points (n, 2) in random order with their values (n,), float32.

    name: circle, xor, gauss or spiral, whose values are the classes -1 and 1; reg-plane or
    reg-gauss, whose values lie in [-1, 1]. noise, from 0 to 1, blurs the border of the classes; of
    reg-plane and reg-gauss it moves the point where the value is read. Equal seeds give equal
    points on every device. Raises ValueError for another name, n below 1 or other noise.
    """
    if name not in PLANAR:
        raise ValueError(f"planar: name: expected one of {', '.join(PLANAR)}, got {name!r}")
    if n < 1:
        raise ValueError(f"planar: n: expected 1 or more, got {n}")
    if not 0 <= noise <= 1:
        raise ValueError(f"planar: noise: expected a number from 0 to 1, got {noise}")
    generator = Generator().manual_seed(seed)
    with Device("cpu"):
        x1, x2, values = PLANAR[name].draw(n, noise, generator)
        order = randperm(n, generator=generator)
    points, target = stack([x1, x2], dim=1), device or get_default_device()
    return TensorDataset(points[order].to(target), values[order].to(target))


def _uniform(low: float, high: float, n: int, generator: Generator) -> Tensor:
    return low + (high - low) * rand(n, generator=generator)


def _classes(n: int) -> Tensor:
    """1 for the first half, -1 for the others."""
    return where(arange(n) < n // 2, 1.0, -1.0)


def _moved(x1: Tensor, x2: Tensor, noise: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """The points where values are read: off by up to `noise` of the radius."""
    far = noise * RADIUS
    d1, d2 = (_uniform(-far, far, len(x1), generator) for _ in range(2))
    return x1 + d1, x2 + d2


def _circle(n: int, noise: float, generator: Generator) -> Drawn:
    """A disc of up to half the radius in a ring from 0.7 of it on."""
    share = _uniform(0, 1, n, generator)
    far = RADIUS * where(_classes(n) > 0, 0.5 * share, 0.7 + 0.3 * share)
    angle = _uniform(0, 2 * math.pi, n, generator)
    x1, x2 = far * angle.sin(), far * angle.cos()
    a, b = _moved(x1, x2, noise, generator)
    return x1, x2, where(a * a + b * b < (RADIUS / 2) ** 2, 1.0, -1.0)


def _xor(n: int, noise: float, generator: Generator) -> Drawn:
    """Whether both coordinates have the same sign; a gap of 0.3 on either side of the axes."""
    x1, x2 = (_uniform(-RADIUS, RADIUS, n, generator) for _ in range(2))
    x1, x2 = (x + where(x > 0, 0.3, -0.3) for x in (x1, x2))
    a, b = _moved(x1, x2, noise, generator)
    return x1, x2, where(a * b >= 0, 1.0, -1.0)


def _gauss(n: int, noise: float, generator: Generator) -> Drawn:
    """Normal around (2, 2) and (-2, -2); the variance goes from 0.5 to 7.5 with the noise."""
    values = _classes(n)
    spread = math.sqrt(0.5 + 7 * noise)
    x1, x2 = (2 * values + spread * randn(n, generator=generator) for _ in range(2))
    return x1, x2, values


def _spiral(n: int, noise: float, generator: Generator) -> Drawn:
    """Two arms of 1.75 turns from the middle out, half a turn apart."""
    values = _classes(n)
    half = n // 2
    index = arange(n)
    share = where(values > 0, index / max(half, 1), (index - half) / (n - half))
    angle = 1.75 * 2 * math.pi * share + where(values > 0, 0.0, math.pi)
    d1, d2 = (_uniform(-noise, noise, n, generator) for _ in range(2))
    return RADIUS * share * angle.sin() + d1, RADIUS * share * angle.cos() + d2, values


def _plane(n: int, noise: float, generator: Generator) -> Drawn:
    """(x1 + x2) / 10."""
    x1, x2 = (_uniform(-RADIUS, RADIUS, n, generator) for _ in range(2))
    a, b = _moved(x1, x2, noise, generator)
    return x1, x2, (a + b) / (2 * RADIUS)


def _hills(n: int, noise: float, generator: Generator) -> Drawn:
    """Six cones of radius 2, up and down by turns: 1 or -1 in the middle, 0 at the edge."""
    x1, x2 = (_uniform(-RADIUS, RADIUS, n, generator) for _ in range(2))
    a, b = _moved(x1, x2, noise, generator)
    values = tensor([0.0] * n)
    for c1, c2, sign in _HILLS:  # the cones do not meet
        distance = ((a - c1) ** 2 + (b - c2) ** 2).sqrt()
        values = values + sign * maximum(1 - distance / 2, 0 * distance)
    return x1, x2, values


PLANAR = {
    "circle": PlanarSource(_circle, True),
    "xor": PlanarSource(_xor, True),
    "gauss": PlanarSource(_gauss, True),
    "spiral": PlanarSource(_spiral, True),
    "reg-plane": PlanarSource(_plane, False),
    "reg-gauss": PlanarSource(_hills, False),
}

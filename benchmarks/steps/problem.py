"""What a case asks for, and settings that all contestants share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

LR = 1e-3


class Problem(NamedTuple):
    """Layer widths, the optimizer's name, a batch of inputs (N, width) and of classes (N,)."""

    widths: list[int]
    optimizer: str
    x: np.ndarray
    classes: np.ndarray


def case(widths: list[int], batch: int, optimizer: str) -> str:
    """The name of a case."""
    return f"{'-'.join(map(str, widths))}, batch {batch}, {optimizer}"


def problem(case: str) -> Problem:
    """Read the name of a case; equal names give equal numbers."""
    layers, batch, optimizer = case.split(", ")
    widths = [int(n) for n in layers.split("-")]
    rng = np.random.default_rng(0)
    n = int(batch.removeprefix("batch "))
    x = rng.standard_normal((n, widths[0]), dtype=np.float32)
    return Problem(widths, optimizer, x, rng.integers(0, widths[-1], n))


def weights(widths: list[int]) -> Iterator[np.ndarray]:
    """Weight (out, in) and bias (out,) of each layer, distributed as PyTorch's; one at a time."""
    rng = np.random.default_rng(1)
    for n, m in pairwise(widths):
        for shape in ((m, n), (m,)):
            array = rng.random(shape, dtype=np.float32)  # and nothing larger: memory is measured
            array -= np.float32(0.5)
            array *= np.float32(2 / np.sqrt(n))
            yield array


def settings_of_training() -> None:
    """Keep the heap and flush denormals, as minitorch's training loops do."""
    from minitorch.backend.cpu import settings

    settings.keep_heap()
    settings.set_flush_denormal(True)

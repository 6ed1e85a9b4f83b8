"""Arrays made of numbers, random ones among them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cpu.kernel import Array, KernelTable, quiet
from minitorch.core.dtypes import ARRAY_DTYPES, FLOAT64


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
    return np.empty(shape, dtype)


def _full(shape: tuple[int, ...], dtype: np.dtype[Any], index: int, value: complex) -> Array:
    return np.zeros(shape, dtype) if value == 0 else np.full(shape, value, dtype)


def _arange(n: int, dtype: np.dtype[Any], index: int, start: float, step: float) -> Array:
    if dtype.kind in "iu":
        return (start + step * np.arange(n, dtype=np.int64)).astype(dtype)
    return (start + step * np.arange(n, dtype=np.float64)).astype(dtype)


def _linspace(n: int, dtype: np.dtype[Any], index: int, start: float, end: float) -> Array:
    return np.linspace(start, end, n).astype(dtype)


# ------------------------------------------------------------------ random numbers
# Raw words of NumPy's Philox4x64-10 with key = (seed, 0); block i of the stream is counter
# i + 1. The functions below convert words to uniform, normal and integer numbers in a way that any
# other device can repeat.
def random_words(seed: int, offset: int, n: int) -> Array:
    """n unsigned 64-bit words of the stream `seed`, from block `offset` on (4 words a block)."""
    return np.random.Philox(key=seed, counter=offset).random_raw(n)


def _words32(seed: int, offset: int, n: int) -> Array:
    return random_words(seed, offset, (n + 1) // 2).view("<u4")[:n]


def _unit(seed: int, offset: int, n: int, dtype: np.dtype[Any]) -> Array:
    """n numbers in [0, 1): 24 random bits each in float32, 53 in float64, 11 and 8 in halves."""
    if dtype == FLOAT64:
        return (random_words(seed, offset, n) >> np.uint64(11)) * 2.0**-53
    words = _words32(seed, offset, n)
    if dtype in _SPARE:
        words = words >> _SPARE[dtype] << _SPARE[dtype]
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


# Halves take as many of 32 bits as they have digits: more could round up to 1.
_SPARE = {ARRAY_DTYPES["float16"]: np.uint32(32 - 11), ARRAY_DTYPES["bfloat16"]: np.uint32(32 - 8)}


def uniform(
    shape: tuple[int, ...], dtype: np.dtype[Any], index: int, seed: int, offset: int
) -> Array:
    """Uniform numbers in [0, 1), from the Philox stream `seed` at `offset`."""
    n = int(np.prod(shape))
    return _unit(seed, offset, n, dtype).astype(dtype, copy=False).reshape(shape)


def _normal(
    shape: tuple[int, ...], dtype: np.dtype[Any], index: int, seed: int, offset: int
) -> Array:
    """Box and Muller (1958): sqrt(-2 ln u) cos(2 pi v) and sin, u in (0, 1], v in [0, 1)."""
    n = int(np.prod(shape))
    half = (n + 1) // 2
    if dtype == FLOAT64:
        u = 1.0 - _unit(seed, offset, 2 * half, dtype)
    else:
        words = _words32(seed, offset, 2 * half)
        u = words.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    radius = np.sqrt(-2 * np.log(u[:half]))
    angle = (2 * np.pi) * (u[half:] if dtype == FLOAT64 else u[half:].astype(np.float64))
    pair = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return pair[:n].astype(dtype).reshape(shape)


def _randint(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    index: int,
    seed: int,
    offset: int,
    low: int,
    high: int,
) -> Array:
    words = random_words(seed, offset, int(np.prod(shape)))
    span = np.uint64(high - low)
    if high - low <= 2**32:
        words = ((words >> np.uint64(32)) * span) >> np.uint64(32)
    else:
        words = words % span
    return (words.astype(np.int64) + low).astype(dtype).reshape(shape)


def _randperm(n: int, dtype: np.dtype[Any], index: int, seed: int, offset: int) -> Array:
    return np.argsort(random_words(seed, offset, n), kind="stable").astype(dtype)


SOURCES: KernelTable = {
    "empty": _empty,
    "full": quiet(_full),
    "arange": quiet(_arange),
    "linspace": quiet(_linspace),
    "uniform": uniform,
    "normal": _normal,
    "randint": _randint,
    "randperm": _randperm,
}

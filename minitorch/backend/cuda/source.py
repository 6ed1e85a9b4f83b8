"""Arrays made of numbers, random ones among them: launches of source.cu.

The random numbers are the CPU's: the same words of Philox 4x64-10, converted in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cuda.elementwise import fill, wide_number_of
from minitorch.backend.cuda.gpu import Array, Dims, Gpu, KernelTable
from minitorch.backend.cuda.sort import argsort
from minitorch.core.dtypes import FLOAT64

DType = np.dtype[Any]
INT64 = np.dtype("int64")
POSITION = np.dtype([("seed", np.uint64), ("offset", np.uint64)], align=True)  # of philox.cuh
THREADS = 256  # RANDOM_THREADS of kernels/philox.cuh


def _empty(gpu: Gpu, shape: Dims, dtype: DType, index: int) -> Array:
    return gpu.empty(shape, dtype)


def _full(gpu: Gpu, shape: Dims, dtype: DType, index: int, value: complex) -> Array:
    return fill(gpu, gpu.empty(shape, dtype), value)


def _arange(gpu: Gpu, n: int, dtype: DType, index: int, start: float, step: float) -> Array:
    out = gpu.empty((n,), dtype)
    ends: tuple[Any, Any]
    if dtype.kind in "iu":
        ends = np.int64(start), np.int64(step)
    else:
        ends = np.float64(start), np.float64(step)
    gpu.launch_contiguous("source", "arange", out, ends)
    return out


def _linspace(gpu: Gpu, n: int, dtype: DType, index: int, start: float, end: float) -> Array:
    out = gpu.empty((n,), dtype)
    step = (end - start) / (n - 1) if n > 1 else 0.0
    gpu.launch_contiguous(
        "source", "linspace", out, (np.float64(start), np.float64(step), np.float64(end))
    )
    return out


# ------------------------------------------------------------------ random numbers
def _draw(
    gpu: Gpu,
    name: str,
    out: Array,
    n: int,
    word: int,
    args: tuple[Any, ...],
    begin: tuple[int, int],
) -> Array:
    """Launch a kernel of n steps that reads words of `word` bytes from a position in a stream."""
    if n:
        grid = gpu.blocks(n, THREADS * (32 // word))
        seed, offset = begin
        chosen = gpu.numbers(position, {"seed": seed, "offset": offset})
        args = (*args, *chosen, np.int64(out.size))
        gpu.launch("source", name, out.dtype, grid, (THREADS,), (out, *args))
    return out


def position(seed: int, offset: int) -> Any:
    """A kernel's struct of a position in a random stream."""
    return np.array((seed, offset), POSITION)[()]


def _word(dtype: DType) -> int:
    """The number of bytes of the stream that a real number takes."""
    return 8 if dtype == FLOAT64 else 4


def _uniform(gpu: Gpu, shape: Dims, dtype: DType, index: int, seed: int, offset: int) -> Array:
    out = gpu.empty(shape, dtype)
    return _draw(gpu, "uniform", out, out.size, _word(dtype), (), (seed, offset))


def _normal(gpu: Gpu, shape: Dims, dtype: DType, index: int, seed: int, offset: int) -> Array:
    out = gpu.empty(shape, dtype)
    return _draw(gpu, "normal", out, (out.size + 1) // 2, _word(dtype), (), (seed, offset))


def _randint(
    gpu: Gpu, shape: Dims, dtype: DType, index: int, seed: int, offset: int, low: int, high: int
) -> Array:
    out = gpu.empty(shape, dtype)
    limits = (np.int64(low), np.uint64(high - low))
    return _draw(gpu, "randint", out, out.size, 8, limits, (seed, offset))


def _randperm(gpu: Gpu, n: int, dtype: DType, index: int, seed: int, offset: int) -> Array:
    keys = _draw(gpu, "sort_keys", gpu.empty((n,), INT64), n, 8, (), (seed, offset))
    order = argsort(gpu, keys)
    return order if dtype == INT64 else gpu.converted(order, dtype)


def _dropout(
    gpu: Gpu,
    x: Array,
    p: float,
    seed: int,
    offset: int,
    memo: list[Array],
    out: Array | None = None,
) -> Array:
    x = gpu.contiguous(x)
    y = gpu.empty(x.shape, x.dtype)
    factors = (wide_number_of(x.dtype, 1 - p), wide_number_of(x.dtype, 1 / (1 - p)))
    _draw(gpu, "dropout", y, y.size, _word(x.dtype), (x, *factors), (seed, offset))
    return gpu.result(y, out)


SOURCES: KernelTable = {
    "empty": _empty,
    "full": _full,
    "arange": _arange,
    "linspace": _linspace,
    "uniform": _uniform,
    "normal": _normal,
    "randint": _randint,
    "randperm": _randperm,
    "dropout": _dropout,
}

"""Arrays made of numbers, random ones among them: launches of source.cu.

The random numbers are the CPU's: the same words of Philox 4x64-10, converted in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cuda.elementwise import fill, wide_number_of
from minitorch.backend.cuda.fused import ACTIVATION_NUMBERS
from minitorch.backend.cuda.gpu import Array, Dims, Gpu, KernelTable, int32
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
    return gpu.result(_dropped(gpu, "dropout", (x,), (), p, (seed, offset)), out)


def _dropped(
    gpu: Gpu,
    name: str,
    given: tuple[Array, ...],
    more: tuple[Any, ...],
    p: float,
    begin: tuple[int, int],
) -> Array:
    """What a kernel of dropout makes of arrays of one shape, and of more arguments."""
    given = tuple([gpu.contiguous(a) for a in given])
    made = gpu.empty(given[0].shape, given[0].dtype)
    factors = (wide_number_of(made.dtype, 1 - p), wide_number_of(made.dtype, 1 / (1 - p)))
    return _draw(gpu, name, made, made.size, _word(made.dtype), (*given, *more, *factors), begin)


def _activation_dropout(
    gpu: Gpu, x: Array, activation: str, p: float, seed: int, offset: int, memo: list[Array]
) -> tuple[Array, Array]:
    """The result, and x."""
    number = (int32(ACTIVATION_NUMBERS[activation]),)
    return _dropped(gpu, "activation_dropout", (x,), number, p, (seed, offset)), x


def _activation_dropout_backward(
    gpu: Gpu,
    g: Array,
    x: Array,
    needs: tuple[bool, ...],
    activation: str,
    p: float,
    seed: int,
    offset: int,
    memo: list[Array],
) -> list[Array]:
    number = (int32(ACTIVATION_NUMBERS[activation]),)
    name = "activation_dropout_backward"
    return [_dropped(gpu, name, (g, x), number, p, (seed, offset))]


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
    "activation_dropout": _activation_dropout,
    "activation_dropout_backward": _activation_dropout_backward,
}

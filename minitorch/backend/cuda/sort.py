"""Stable sorting: launches of kernels/sort.cu. The host neither waits nor looks at data."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cuda.gpu import MOST_BLOCKS, NULL, THREADS, Array, Gpu

SHORT = 2048  # the longest row that a block sorts, as in kernels/sort.cu
TILE = 2048  # elements of a longer row that a block takes at once, as there
_DIGIT_BITS = 8
_DIGITS = 1 << _DIGIT_BITS
_SORT = np.dtype(  # `Sort` of kernels/sort.cu
    [
        *((name, np.uint64) for name in ("x", "keys", "order", "keys_out", "out", "counts")),
        ("limit", np.uint64),
        *((name, np.int64) for name in ("rows", "n", "part")),
        *((name, np.int32) for name in ("parts", "shift", "bits", "descending")),
    ],
    align=True,
)


def argsort(gpu: Gpu, x: Array, descending: bool = False, limit: int = 0) -> Array:
    """int64 indices that sort each row (the last dimension) of a contiguous array, stably.

    NaN is the largest. limit: x is int64, and a value that is not in range(limit) counts as limit,
    so that the sort needs fewer bits (0: no limit).
    """
    out = gpu.empty(x.shape, np.int64)
    if x.size:
        n = x.shape[-1] if x.ndim else 1
        sort = _sort_short if n <= SHORT else _sort_long
        sort(gpu, x, out, n, descending, limit)
    return out


def _sort_short(gpu: Gpu, x: Array, out: Array, n: int, descending: bool, limit: int) -> None:
    """Sort in one launch; a block takes as many rows as two items a thread allow."""
    rows, width = x.size // n, 1 << (n - 1).bit_length()
    threads = max(THREADS, width // 2)
    grid = gpu.blocks(rows * width, 2 * threads)
    sizes = (np.uint64(limit), np.int64(rows), np.int32(n), np.int32(width))
    args = (x, out, *sizes, np.int32(descending))
    gpu.launch("sort", "sort_short", x.dtype, grid, (threads,), args)


def _sort_long(gpu: Gpu, x: Array, out: Array, n: int, descending: bool, limit: int) -> None:
    """Sort in two launches for each digit; keys and order go from one pass to the next."""
    rows = x.size // n
    bits = limit.bit_length() if limit else _key_bits(x.dtype)
    passes = -(-bits // _DIGIT_BITS)
    part, parts = _cut(n, gpu.blocks(MOST_BLOCKS, waves=2)[0] // rows)
    struct = np.zeros((), _SORT)
    struct["x"], struct["limit"], struct["descending"] = x.data.ptr, limit, descending
    struct["rows"], struct["n"], struct["part"], struct["parts"] = rows, n, part, parts
    struct["bits"] = digit_bits = -(-bits // passes)
    counts = gpu.empty((rows * parts * _DIGITS,), np.uint32)
    struct["counts"] = counts.data.ptr
    key_type = np.uint64 if x.itemsize == 8 else np.uint32
    keys = [gpu.empty((x.size,), key_type) for _ in range(min(2, passes - 1))]
    orders = [out] if passes == 1 else [out, gpu.empty(out.shape, np.int64)]
    grid = gpu.blocks(rows * parts, 1)
    for last in reversed(range(passes)):  # 0 in the last pass, which writes to out
        struct["shift"] = (passes - 1 - last) * digit_bits
        struct["keys_out"] = keys[last % len(keys)].data.ptr if last else NULL
        struct["out"] = orders[last % 2].data.ptr
        for name in ("sort_counts", "sort_scatter"):
            gpu.launch("sort", name, x.dtype, grid, (THREADS,), (struct[()],))
        struct["keys"], struct["order"] = struct["keys_out"], struct["out"]


def _key_bits(dtype: np.dtype[Any]) -> int:
    """The number of bits in which a dtype's keys can differ."""
    return 1 if dtype == np.bool_ else 8 * dtype.itemsize


def _cut(n: int, most: int) -> tuple[int, int]:
    """Elements of each part of a row, and the number of parts: at most `most`, at least one."""
    tiles = -(-n // TILE)
    part = -(-tiles // max(1, most)) * TILE
    return part, -(-n // part)

"""Layer norm; batch norm with the activation and dropout behind it. See kernels/norm.cu."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from minitorch.backend.cuda.elementwise import fill
from minitorch.backend.cuda.fused import (
    ACTIVATION_NUMBERS,
    COLUMNS,
    ROWS,
    row_parts,
)
from minitorch.backend.cuda.gpu import NULL, THREADS, Array, Gpu, KernelTable, int32, int64
from minitorch.backend.cuda.reduce import PER_BLOCK, RESIDENT, split
from minitorch.backend.cuda.source import position
from minitorch.core.dtypes import FLOAT64

_ALL, _PARTS, _REST = range(3)  # phases of kernels/norm.cu


# ---------------------------------------------------------------------- layer norm
def _layer_norm(
    gpu: Gpu,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    dims: int,
    eps: float,
) -> tuple[Array | None, ...]:
    """The result, x, (3, rows) of statistics as of `_batch_norm`, and weight.

    One launch; where rows are few and long, two.
    """
    x, weight, bias = (a if a is None else gpu.contiguous(a) for a in (x, weight, bias))
    rows = prod(x.shape[: x.ndim - dims])
    out, stats = gpu.empty(x.shape, x.dtype), gpu.empty((3, rows), _wide(x.dtype))
    given = (x, _or_null(weight), _or_null(bias))
    _launch_rows(gpu, "layer_norm", (out, stats), given, rows, 3, (np.float64(eps),))
    return out, x, stats, weight


def _launch_rows(
    gpu: Gpu,
    name: str,
    results: tuple[Array, ...],
    given: tuple[Any, ...],
    rows: int,
    sums: int,
    numbers: tuple[Any, ...] = (),
) -> None:
    """One launch, or one for each phase where rows are shared out among blocks.

    sums: numbers that a part writes for a row.
    """
    out = results[0]
    if not out.size:
        return
    columns = out.size // rows
    parts = split(rows, columns, PER_BLOCK, RESIDENT * gpu.processors())
    partial = NULL if parts == 1 else gpu.empty((parts, sums, rows), _wide(out.dtype))
    args = (*results, partial, *given, int64(rows), int64(columns), int32(parts))
    grid, block = gpu.blocks(rows * parts, 1), (_row_threads(columns),)
    for phase in (_ALL,) if parts == 1 else (_PARTS, _REST):
        gpu.launch("norm", name, out.dtype, grid, block, (*args, int32(phase), *numbers))


def _or_null(array: Array | None) -> Any:
    return NULL if array is None else array


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which kernels compute and add up floating-point numbers."""
    return FLOAT64 if dtype == FLOAT64 else np.dtype(np.float32)


def _row_threads(columns: int) -> int:
    """The number of threads that share a row: whole warps, as many as its elements need."""
    return min(THREADS, -(-columns // 32) * 32)


def _layer_norm_backward(
    gpu: Gpu,
    g: Array,
    x: Array,
    stats: Array,
    weight: Array | None,
    needs: tuple[bool, ...],
    dims: int,
    eps: float,
) -> list[Array | None]:
    g = gpu.contiguous(g)
    dx = gpu.empty(g.shape, g.dtype) if needs[0] else None
    if dx is not None:
        given = (g, x, stats, _or_null(weight))
        _launch_rows(gpu, "layer_norm_backward", (dx,), given, stats.shape[1], 2)
    return [dx, *_layer_norm_sums(gpu, g, x, stats, g.shape[g.ndim - dims :], needs[1:])]


def _layer_norm_sums(
    gpu: Gpu, g: Array, x: Array, stats: Array, shape: tuple[int, ...], needs: tuple[bool, ...]
) -> list[Array | None]:
    """The gradients of weight and bias: sums over the rows of g * hat, and of g."""
    sums = [gpu.empty(shape, g.dtype) if needed else None for needed in needs]
    if not g.size:
        return [None if s is None else fill(gpu, s, 0) for s in sums]
    if not any(needs):
        return sums
    rows, columns = stats.shape[1], prod(shape)
    parts = row_parts(gpu, rows, columns)
    pair = [*sums, None][:2]  # there may be no bias
    partial = [
        None if s is None or parts == 1 else gpu.empty((parts, columns), _wide(g.dtype))
        for s in pair
    ]
    given = [None if parts > 1 else s for s in pair]
    across, block = -(-columns // COLUMNS), (COLUMNS, ROWS)
    args = (*map(_or_null, (*given, *partial)), g, x, stats, int64(rows), int64(columns))
    gpu.launch("norm", "layer_norm_sums", g.dtype, (across, parts), block, args)
    for total, part in zip(pair, partial, strict=True):
        if part is not None:
            sizes = (int64(parts), int64(columns))
            gpu.launch("fused", "sum_parts", g.dtype, (across,), block, (total, part, *sizes))
    return sums


# ---------------------------------------------------------------------- batch norm
_BATCH = np.dtype(  # `Batch` of kernels/norm.cu
    [
        (name, np.uint64)
        for name in (
            *("x", "weight", "bias", "out", "mean", "var", "count", "stats", "partial"),
            *("g", "dx", "dw", "db"),
        )
    ]
    + [(name, np.int64) for name in ("channels", "length", "n")]
    + [(name, np.float64) for name in ("eps", "momentum", "keep", "scale")]
    + [
        (name, np.int32)
        for name in ("lanes", "phase", "training", "cumulative", "activation", "pad")
    ],
    align=True,
)
_SECTOR = 32  # bytes of memory that are read at once
_NO_DROPOUT = 0.0, 0, 0
_FILLED = 2  # blocks of a multiprocessor, below which a channel's elements are shared out


def _batch_norm(
    gpu: Gpu,
    x: Array,
    weight: Array,
    bias: Array,
    mean: Array | None,
    var: Array | None,
    count: Array | None,
    momentum: float | None,
    eps: float,
    activation: str,
    p: float,
    seed: int,
    offset: int,
    memo: list[Array],
) -> tuple[Array | None, ...]:
    """As on the CPU; where channels are few, two launches instead of one."""
    rows = {"mean": mean, "var": var}
    running = {name: a if a is None else gpu.contiguous(a) for name, a in rows.items()}
    numbers = {"momentum": momentum or 0.0, "cumulative": momentum is None and count is not None}
    numbers |= {"eps": eps, "training": True}
    given = {**running, "count": count}
    found = _forward(gpu, x, weight, bias, given, activation, (p, seed, offset), numbers)
    for name, a in rows.items():
        if running[name] is not a:
            gpu.copy(running[name], a)
    return found


def _batch_norm_eval(
    gpu: Gpu,
    x: Array,
    weight: Array,
    bias: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str,
) -> tuple[Array | None, ...]:
    running = {"mean": gpu.contiguous(mean), "var": gpu.contiguous(var)}
    return _forward(gpu, x, weight, bias, running, activation, _NO_DROPOUT, {"eps": eps})


def _forward(
    gpu: Gpu,
    x: Array,
    weight: Array,
    bias: Array,
    running: dict[str, Array | None],
    activation: str,
    dropout: tuple[float, int, int],
    numbers: dict[str, Any],
) -> tuple[Array | None, ...]:
    x, weight, bias = (gpu.contiguous(a) for a in (x, weight, bias))
    out = gpu.empty(x.shape, x.dtype)
    stats = gpu.empty((3, len(weight)), _wide(x.dtype))
    arrays = {"x": x, "weight": weight, "bias": bias, "out": out, "stats": stats, **running}
    numbers["activation"] = ACTIVATION_NUMBERS[activation]
    phases = (_PARTS, _REST) if "training" in numbers else (_REST,)
    _launch(gpu, "batch_norm", x, arrays, numbers, phases, 3, dropout)
    return out, x, weight, bias, stats, None


def _batch_norm_backward(
    gpu: Gpu,
    g: Array,
    x: Array,
    weight: Array,
    bias: Array,
    stats: Array,
    seen: None,
    needs: tuple[bool, ...],
    activation: str,
    p: float = 0.0,
    seed: int = 0,
    offset: int = 0,
    training: bool = True,
    **forward: Any,
) -> list[Array | None]:
    """training: the statistics are those of x."""
    g = gpu.contiguous(g)
    shapes = x.shape, weight.shape, bias.shape
    grads = [gpu.empty(s, g.dtype) if needed else None for s, needed in zip(shapes, needs)]
    dx, dw, db = grads
    arrays = {"x": x, "weight": weight, "bias": bias, "stats": stats, "g": g}
    arrays |= {"dx": dx, "dw": dw, "db": db}
    numbers = {"training": training, "activation": ACTIVATION_NUMBERS[activation]}
    phases = _PARTS, _REST
    _launch(gpu, "batch_norm_backward", g, arrays, numbers, phases, 2, (p, seed, offset))
    return [*grads, *[None] * (len(needs) - 3)]  # none for running statistics


def _launch(
    gpu: Gpu,
    name: str,
    x: Array,
    arrays: dict[str, Array | None],
    numbers: dict[str, Any],
    phases: tuple[int, ...],
    sums: int,
    dropout: tuple[float, int, int],
) -> None:
    """One launch where a block can have all of a channel's elements, else one for each phase.

    sums: numbers that a part writes for a channel. dropout: its p, seed and offset.
    """
    channels, length = x.shape[1], prod(x.shape[2:])
    n = x.shape[0] * length
    if not x.size:
        for result in ("dw", "db"):
            if arrays.get(result) is not None:
                fill(gpu, arrays[result], 0)
        return
    lanes = 1 if length > 1 else min(_SECTOR // x.itemsize, 1 << (channels - 1).bit_length())
    across = -(-channels // lanes)
    parts = min(-(-_FILLED * gpu.processors() // across), -(-n * lanes // (4 * THREADS)))
    if parts > 1 and len(phases) > 1:
        arrays["partial"] = gpu.empty((parts, sums, channels), _wide(x.dtype))
    job = np.zeros((), _BATCH)
    for key, array in arrays.items():
        job[key] = 0 if array is None else array.data.ptr
    job["channels"], job["length"], job["n"], job["lanes"] = channels, length, n, lanes
    p, seed, offset = dropout
    if p:
        numbers |= {"keep": 1 - p, "scale": 1 / (1 - p)}
        stream = gpu.numbers(position, {"seed": seed, "offset": offset})
    else:
        stream = position(0, 0), NULL
    for key, number in numbers.items():
        job[key] = number
    for phase in phases if parts > 1 else (_ALL,):
        job["phase"] = phase
        gpu.launch("norm", name, x.dtype, (across, parts), (THREADS,), (job[()], *stream))


NORMS: KernelTable = {
    "layer_norm": _layer_norm,
    "layer_norm_backward": _layer_norm_backward,
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_eval": _batch_norm_eval,
    "batch_norm_eval_backward": partial(_batch_norm_backward, training=False),
}

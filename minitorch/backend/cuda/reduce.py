"""Reductions, and entries that run along one dimension."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.base import Array
from minitorch.backend.cuda.gpu import MOST_BLOCKS, THREADS, Dims, Entries, Gpu
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.cuda.strides import merge, overlap, struct_of

SHORT = 2048  # bytes (of what is computed in) of a row that a warp holds in registers
CACHE = 32768  # bytes of shared memory for the elements of a tile


def _lanes(inner: int) -> int:
    """How many threads lie side by side: a power of two that covers `inner`, up to 32."""
    return min(32, 1 << (inner - 1).bit_length()) if inner else 1


def _parts(tiles: int, n: int, least: int, most: int) -> int:
    """Into how many pieces, of at least `least` of its n rows, a tile is cut: 1 where the tiles
    alone keep the device's `most` blocks busy."""
    if 2 * tiles > most:
        return 1
    return max(1, min(most // tiles, -(-n // least)))


def _target(gpu: Gpu, out: Array | None, shape: Dims, dtype: np.dtype[Any], *xs: Array) -> Array:
    """`out` where a kernel that reads xs can write to it, else new memory."""
    if out is None or out.dtype != dtype or out.shape != shape or not out.flags.c_contiguous:
        return gpu.empty(shape, dtype)
    return gpu.empty(shape, dtype) if any(overlap(x, out) for x in xs) else out


# ---------------------------------------------------------------------- layouts
class Layout(NamedTuple):
    """x as two kept and two reduced dimensions; steps in elements. See kernels/reduce.cu."""

    kept: tuple[int, int]
    reduced: tuple[int, int]
    kept_steps: tuple[int, int]
    reduced_steps: tuple[int, int]


@lru_cache(4096)
def layout(shape: Dims, steps: Dims, dim: Dims, ordered: bool) -> Layout | None:
    """How to walk an array of this shape that is reduced over `dim`; None where it must be copied.

    ordered: the places of reduced elements count, so that their order must stay.
    """
    kept = [d for d in range(len(shape)) if d not in dim]
    reduced = sorted(dim) if ordered else sorted(dim, key=lambda d: -abs(steps[d]))
    found = []
    for dims in (kept, reduced):
        lengths, (merged,) = merge(tuple(shape[d] for d in dims), tuple(steps[d] for d in dims))
        if len(lengths) > 2:
            return None
        lead = 2 - len(lengths)
        found.append(((1,) * lead + lengths, (0,) * lead + merged))
    (kept_lengths, kept_steps), (lengths, reduced_steps) = found
    return Layout(kept_lengths, lengths, kept_steps, reduced_steps)  # type: ignore[arg-type]


def _layout(gpu: Gpu, x: Array, dim: Dims, ordered: bool) -> tuple[Array, Layout]:
    """x, or a copy of it in which the reduced dimensions come last, and how to walk it."""
    steps = tuple([s // x.itemsize for s in x.strides])
    found = layout(x.shape, steps, dim, ordered)
    if found is None:
        kept = [d for d in range(x.ndim) if d not in dim]
        x = gpu.contiguous(x.transpose((*kept, *sorted(dim))))
        last = tuple(range(len(kept), x.ndim))
        steps = tuple([s // x.itemsize for s in x.strides])
        found = layout(x.shape, steps, last, ordered)
        assert found is not None
    return x, found


# ---------------------------------------------------------------------- reductions
_REDUCTION = np.dtype(
    [
        *((name, np.uint64) for name in ("x", "out", "partials", "tickets")),
        *((name, np.int64, (2,)) for name in ("kept", "reduced", "kept_steps", "reduced_steps")),
        ("parts", np.int32),
        ("lanes", np.int32),
    ],
    align=True,
)
_POINTERS = 4  # at its beginning
_STATE = 16  # bytes that hold any op's state


def _whole(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What numbers of this dtype add up to: floats stay, integers and bools become int64."""
    return dtype if dtype.kind == "f" else np.dtype(np.int64)


def _same(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype


def _always(kind: type) -> Callable[[np.dtype[Any]], np.dtype[Any]]:
    return lambda dtype: np.dtype(kind)


def _reduce(
    op: str,
    out_dtype: Callable[[np.dtype[Any]], np.dtype[Any]],
    gpu: Gpu,
    x: Array,
    dim: Dims | int | None,
    keepdim: bool = False,
    out: Array | None = None,
) -> Array:
    """The entry of a reduction; dim None is all dimensions, as one."""
    if dim is None or x.ndim == 0:
        dims = tuple(range(x.ndim))
    else:
        dims = dim if isinstance(dim, tuple) else (dim,)
    lengths = enumerate(x.shape)
    shape = tuple([1 if d in dims else n for d, n in lengths if keepdim or d not in dims])
    result = _target(gpu, out, shape, out_dtype(x.dtype), x)
    if result.size:
        x, walk = _layout(gpu, x, dims, ordered=op.startswith("arg"))
        _launch(gpu, op, x, walk, result)
    return gpu.result(result, out)


class Plan(NamedTuple):
    """Which kernel of reduce.cu walks a layout, and how; form: its struct behind the pointers."""

    kernel: str
    tiles: int
    parts: int
    lanes: int
    form: bytes


@lru_cache(4096)
def plan(walk: Layout, most: int) -> Plan:
    """How to reduce on a device that holds `most` blocks."""
    outer, inner = walk.kept
    n = prod(walk.reduced)
    if inner > 1 and n > 1 and abs(walk.kept_steps[1]) < abs(walk.reduced_steps[1]):
        kernel, lanes = "columns", _lanes(inner)
        tiles = outer * -(-inner // lanes)
        parts = _parts(tiles, n, 32 * THREADS // lanes, most)
    elif n <= 256 or (n <= 1024 and outer * inner >= most):
        kernel, lanes, parts = "rows", _lanes(n), 1
        tiles = -(-outer * inner * lanes // THREADS)
    else:
        kernel, lanes, tiles = "row", 1, outer * inner
        parts = _parts(tiles, n, 16 * THREADS, most)
    form = np.zeros((), _REDUCTION)
    for name, value in walk._asdict().items():
        form[name] = value
    form["parts"], form["lanes"] = parts, lanes
    return Plan(kernel, tiles, parts, lanes, form.tobytes()[_POINTERS * 8 :])


def _launch(gpu: Gpu, op: str, x: Array, walk: Layout, out: Array) -> None:
    kernel, tiles, parts, lanes, form = plan(walk, gpu.blocks(MOST_BLOCKS)[0])
    pointers = [x.data.ptr, out.data.ptr, 0, 0]
    if parts > 1:
        partials = gpu.empty((tiles * parts * lanes * _STATE,), np.uint8)
        pointers[2:] = partials.data.ptr, gpu.tickets().data.ptr
    grid = gpu.blocks(tiles * parts, 1)
    struct = struct_of(_REDUCTION, pointers, form)
    gpu.launch("reduce", f"{op}_{kernel}", x.dtype, grid, (THREADS,), (struct,))


# ---------------------------------------------------------------------- softmax
def _along(x: Array, dim: int) -> tuple[int, int, int]:
    """(outer, n, inner) of a contiguous array, where n is the length of `dim`."""
    if x.ndim == 0:
        return 1, 1, 1
    return prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1 :])


def _run_along(gpu: Gpu, op: str, xs: tuple[Array, ...], dim: int, out: Array | None) -> Array:
    """What a family of kernels of softmax.cu gives for arrays of one shape."""
    dtype = xs[0].dtype
    xs = tuple([gpu.contiguous(x) for x in xs])
    result = _target(gpu, out, xs[0].shape, dtype, *xs)
    if result.size:
        outer, n, inner = _along(result, dim)
        size = n * max(4, dtype.itemsize)  # halves are computed in float32
        shared = 0
        if inner == 1 and size <= SHORT:
            kernel, lanes, grid = "rows", _lanes(n), gpu.blocks(outer * _lanes(n))
            sizes: tuple[Any, ...] = (np.int64(outer), np.int32(n), np.int32(lanes))
        else:
            kernel, lanes = "tiles", _lanes(inner)
            grid = gpu.blocks(outer * -(-inner // lanes), 1)
            sizes = (np.int64(outer), np.int64(n), np.int64(inner), np.int32(lanes))
            if len(xs) == 1:
                shared = size * lanes
                if shared > CACHE:
                    kernel, shared = "long", 0
        args = (*xs, result, *sizes)
        gpu.launch("softmax", f"{op}_{kernel}", dtype, grid, (THREADS,), args, shared)
    return gpu.result(result, out)


def _softmax(op: str, gpu: Gpu, x: Array, dim: int, out: Array | None = None) -> Array:
    return _run_along(gpu, op, (x,), dim, out)


def _softmax_backward(
    op: str, gpu: Gpu, g: Array, z: Array, dim: int, out: Array | None = None
) -> Array:
    return _run_along(gpu, op, (g, z), dim, out)


# ---------------------------------------------------------------------- running sums
_SCAN = np.dtype(
    [
        *((name, np.uint64) for name in ("x", "out", "totals")),
        *((name, np.int64) for name in ("outer", "n", "inner")),
        ("parts", np.int32),
        ("lanes", np.int32),
    ],
    align=True,
)


def _cumsum(gpu: Gpu, x: Array, dim: int, out: Array | None = None) -> Array:
    x = gpu.contiguous(x)
    result = _target(gpu, out, x.shape, _whole(x.dtype), x)
    if result.size:
        outer, n, inner = _along(x, dim)
        lanes = _lanes(inner)
        tiles = outer * -(-inner // lanes)
        parts = _parts(tiles, n, 64 * THREADS // lanes, gpu.blocks(MOST_BLOCKS)[0])
        form = np.zeros((), _SCAN)
        form["x"], form["out"] = x.data.ptr, result.data.ptr
        form["outer"], form["n"], form["inner"] = outer, n, inner
        form["parts"], form["lanes"] = parts, lanes
        grid = gpu.blocks(tiles * parts, 1)
        if parts > 1:
            totals = gpu.empty((tiles * parts * lanes,), np.float64)
            form["totals"] = totals.data.ptr
            gpu.launch("scan", "cumsum_totals", x.dtype, grid, (THREADS,), (form[()],))
        gpu.launch("scan", "cumsum", x.dtype, grid, (THREADS,), (form[()],))
    return gpu.result(result, out)


# ---------------------------------------------------------------------- order
def _argsort(
    gpu: Gpu, x: Array, dim: int, descending: bool = False, out: Array | None = None
) -> Array:
    """Rows are sorted; another dimension changes places with the last one, and back."""
    axes = list(range(x.ndim))
    if x.ndim:
        axes[dim], axes[-1] = axes[-1], axes[dim]
    order = argsort(gpu, gpu.contiguous(x.transpose(axes)), descending).transpose(axes)
    return gpu.contiguous(order) if out is None else gpu.result(order, out)


REDUCTIONS: Entries = {
    **{
        op: partial(_reduce, op, dtype)
        for op, dtype in (
            ("sum", _whole),
            ("mean", _same),
            ("prod", _whole),
            ("amax", _same),
            ("amin", _same),
            ("any", _always(np.bool_)),
            ("all", _always(np.bool_)),
            ("argmax", _always(np.int64)),
            ("argmin", _always(np.int64)),
            ("logsumexp", _same),
        )
    },
    "softmax": partial(_softmax, "softmax"),
    "log_softmax": partial(_softmax, "log_softmax"),
    "softmax_backward": partial(_softmax_backward, "softmax_backward"),
    "log_softmax_backward": partial(_softmax_backward, "log_softmax_backward"),
    "cumsum": _cumsum,
    "argsort": _argsort,
}

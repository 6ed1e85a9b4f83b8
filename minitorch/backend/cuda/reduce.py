"""Reductions, and kernels that run along one dimension."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda.elementwise import ELEMENTWISE
from minitorch.backend.cuda.gpu import (
    MOST_BLOCKS,
    NULL,
    THREADS,
    WAVES,
    Dims,
    Gpu,
    KernelTable,
    int32,
    int64,
)
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.cuda.strides import merge, overlap, struct_of
from minitorch.core.dtypes import KINDS, Array

PER_BLOCK = 32 * THREADS  # elements, fewer of which are not worth a block of their own
HELD = 2048  # bytes of a short row, in the type of computing, that a warp holds in registers
CACHE = 32768  # bytes of shared memory for the elements of a tile


def _lanes(inner: int) -> int:
    """The number of adjacent threads: a power of two that covers `inner`, up to 32."""
    return min(32, 1 << (inner - 1).bit_length()) if inner else 1


def split(tiles: int, n: int, least: int, most: int) -> int:
    """The number of parts of each tile, with at least `least` of its n rows; a block takes a part.

    1 where the tiles alone keep the device's `most` blocks busy.
    """
    if 2 * tiles > most:
        return 1
    return max(1, min(most // tiles, -(-n // least)))


def _target(gpu: Gpu, out: Array | None, shape: Dims, dtype: np.dtype[Any], *xs: Array) -> Array:
    """`out` where a kernel that reads xs can write to it, else new memory."""
    if out is None or out.dtype != dtype or out.shape != shape or not out._c_contiguous:
        return gpu.empty(shape, dtype)
    return gpu.empty(shape, dtype) if any(overlap(x, out) for x in xs) else out


# ---------------------------------------------------------------------- layouts
class Layout(NamedTuple):
    """x as two kept and two reduced dimensions; steps in elements. See kernels/reduce.cu."""

    kept: tuple[int, int]
    reduced: tuple[int, int]
    kept_steps: tuple[int, int]
    reduced_steps: tuple[int, int]


def layout(shape: Dims, steps: Dims, dim: Dims, ordered: bool) -> Layout | None:
    """The layout of an array of this shape reduced over `dim`; None where it must be copied.

    ordered: the op needs the positions of reduced elements, so that their order must stay.
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


def _copied(gpu: Gpu, x: Array, dims: Dims) -> tuple[Array, Layout]:
    """A copy of x in which the reduced dimensions come last, and its layout."""
    kept = [d for d in range(x.ndim) if d not in dims]
    x = gpu.contiguous(x.transpose((*kept, *sorted(dims))))
    steps = tuple([s // x.itemsize for s in x.strides])
    found = layout(x.shape, steps, tuple(range(len(kept), x.ndim)), True)
    assert found is not None
    return x, found


# ---------------------------------------------------------------------- reductions
_REDUCTION = np.dtype(
    [
        *((name, np.uint64) for name in ("x", "out", "values", "partials", "tickets")),
        *((name, np.int64, (2,)) for name in ("kept", "reduced", "kept_steps", "reduced_steps")),
        *((name, np.int64) for name in ("across", "jobs", "piece")),
        *((name, np.int32) for name in ("parts", "lanes", "group", "pad")),
    ],
    align=True,
)
_POINTERS = 5  # at the beginning of the struct
RESIDENT = 3  # blocks of 256 threads that a multiprocessor has registers for: BLOCKS of reduce.cu
_COLUMNS = 4  # GROUP of reduce.cu, where as many elements are not more than 16 bytes
_STATE = 24  # bytes that hold any op's state


def _whole(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of sums: floats keep theirs, integers and bools give int64."""
    return dtype if KINDS[dtype] == "f" else np.dtype(np.int64)


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
    """The kernel of a reduction; dim None stands for all dimensions, as one."""
    ordered = op.startswith("arg")
    dims, shape, found = _recipe(x.shape, x.strides, x.itemsize, dim, keepdim, ordered)
    result = _target(gpu, out, shape, out_dtype(x.dtype), x)
    if result.size:
        _launch(gpu, op, x, dims, found, result)
    return gpu.result(result, out)


def _extreme(op: str, gpu: Gpu, x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """Of argmax or argmin: the elements, and their indices, in one pass over x."""
    dims, shape, found = _recipe(x.shape, x.strides, x.itemsize, dim, keepdim, True)
    values, index = gpu.empty(shape, x.dtype), gpu.empty(shape, np.int64)
    if index.size:
        _launch(gpu, op, x, dims, found, index, values)
    return values, index


def _centre(gpu: Gpu, x: Array, dim: Dims, out: Array | None = None) -> Array:
    """x minus its mean, twice: the second time removes what rounding left of a large mean."""
    for _ in range(2):
        x = ELEMENTWISE["sub"](gpu, x, _reduce("mean", _same, gpu, x, dim, True))
    return gpu.result(x, out)


@lru_cache(4096)
def _recipe(
    lengths: Dims,
    strides: Dims,
    itemsize: int,
    dim: Dims | int | None,
    keepdim: bool,
    ordered: bool,
) -> tuple[Dims, Dims, Layout | None]:
    """The reduced dimensions, the shape of the result, and the array's layout: see `layout`."""
    if dim is None or not lengths:
        dims = tuple(range(len(lengths)))
    else:
        dims = dim if isinstance(dim, tuple) else (dim,)
    kept = [1 if d in dims else n for d, n in enumerate(lengths) if keepdim or d not in dims]
    steps = tuple([s // itemsize for s in strides])
    return dims, tuple(kept), layout(lengths, steps, dims, ordered)


class Plan(NamedTuple):
    """Which kernel of reduce.cu reduces a layout, and how.

    width: the columns of a tile. form: the kernel's struct behind the pointers.
    """

    kernel: str
    grid: Dims
    tiles: int
    parts: int
    width: int
    form: bytes


@lru_cache(4096)
def plan(layout: Layout, processors: int, pack: int) -> Plan:
    """The plan of a reduction on a device with so many multiprocessors.

    pack: how many elements are 16 bytes, or 1 where memory does not begin at a multiple of them.
    """
    outer, inner = layout.kept
    n, rows = prod(layout.reduced), outer * inner
    resident, most = RESIDENT * processors, WAVES * processors
    parts = group = across = 1
    least = 1
    if inner > 1 and n > 1 and abs(layout.kept_steps[1]) < abs(layout.reduced_steps[1]):
        kernel = "columns"
        if layout.reduced[0] == 1 and n * rows >= 4 * THREADS * most:  # else blocks are worth more
            group = _group(
                min(pack, _COLUMNS), layout.kept, layout.kept_steps, layout.reduced_steps
            )
        lanes = _lanes(inner // group)
        across, least = -(-inner // (lanes * group)), THREADS // lanes
        tiles = outer * across
        parts = split(tiles, n, PER_BLOCK // THREADS // group * least, resident)
    else:
        if layout.reduced[0] == 1:
            group = _group(pack, layout.reduced, layout.reduced_steps, layout.kept_steps)
        if n <= 256 or (n <= 1024 and rows >= most) or (n <= 1024 * group and rows >= 4 * most):
            kernel, lanes = "rows", _lanes(-(-n // group))
            tiles = -(-rows * lanes // THREADS)
        else:
            kernel, lanes, tiles = "row", 1, rows
            least = 128  # whole sectors of 32 bytes
            parts = split(tiles, n, 16 * THREADS, resident)
    piece = -(-n // (parts * least)) * least
    numbers = {"across": across, "jobs": tiles * parts, "piece": piece}
    numbers.update(parts=parts, lanes=lanes, group=group)
    struct = np.zeros((), _REDUCTION)
    for name, value in (layout._asdict() | numbers).items():
        struct[name] = value
    grid = (min(tiles * parts, most),)
    return Plan(kernel, grid, tiles, parts, lanes * group, struct.tobytes()[_POINTERS * 8 :])


def _group(pack: int, lengths: Dims, steps: Dims, others: Dims) -> int:
    """`pack` where the last dimension is whole groups of so many contiguous elements; else 1."""
    whole = all(step % pack == 0 for step in (steps[0], *others))
    return pack if steps[1] == 1 and lengths[1] % pack == 0 and whole else 1


def _launch(
    gpu: Gpu,
    op: str,
    x: Array,
    dims: Dims,
    found: Layout | None,
    out: Array,
    values: Array | None = None,
) -> None:
    if found is None:
        x, found = _copied(gpu, x, dims)
    begin = x.data.ptr
    pack = 1 if begin % 16 else 16 // x.itemsize
    kernel, grid, tiles, parts, width, tail = plan(found, gpu.processors(), pack)
    pointers = [begin, out.data.ptr, 0 if values is None else values.data.ptr, 0, 0]
    if parts > 1:
        partials = gpu.empty((tiles * parts * width * _STATE,), np.uint8)
        pointers[3:] = partials.data.ptr, gpu.tickets().data.ptr
    struct = struct_of(_REDUCTION, pointers, tail)
    gpu.launch("reduce", f"{op}_{kernel}", x.dtype, grid, (THREADS,), (struct,))


# ---------------------------------------------------------------------- softmax
@lru_cache(4096)
def _along(shape: Dims, dim: int) -> tuple[int, int, int]:
    """(outer, n, inner) of a contiguous array, where n is the length of `dim`."""
    if not shape:
        return 1, 1, 1
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


class Holding(NamedTuple):
    """The kernel that holds rows in registers: see kernels/rows.cuh."""

    kernel: str
    lanes: int
    per_block: int  # rows


def holding(n: int, dtype: np.dtype[Any], *arrays: Array) -> Holding | None:
    """For contiguous rows of n elements in these arrays; None where they are too long."""
    together = 0
    for a in arrays:
        together |= a.data.ptr
    return _holding(n, dtype.itemsize, together % 16 == 0)


@lru_cache(4096)
def _holding(n: int, itemsize: int, aligned: bool) -> Holding | None:
    pack = 16 // itemsize
    packed = aligned and n % pack == 0
    size = n * max(4, itemsize)  # halves are computed in float32
    if size > HELD * (THREADS // 32):
        return None
    suffix = "_packed" if packed else ""
    if size > 2 * HELD:
        return Holding("block" + suffix, THREADS, 1)
    lanes = _lanes(-(-n // pack) if packed else n)
    return Holding(("rows" if size <= HELD else "wide") + suffix, lanes, THREADS // lanes)


def _run_along(gpu: Gpu, op: str, xs: tuple[Array, ...], dim: int, out: Array | None) -> Array:
    """The result of a family of kernels of softmax.cu for arrays of one shape."""
    dtype = xs[0].dtype
    xs = tuple([gpu.contiguous(x) for x in xs])
    result = _target(gpu, out, xs[0].shape, dtype, *xs)
    if result.size:
        outer, n, inner = _along(result.shape, dim)
        arrays = (*xs, result)
        held = holding(n, dtype, *arrays) if inner == 1 else None
        if held is None:
            _run_tiles(gpu, op, arrays, (outer, n, inner))
        else:
            work = struct_of(_ROWS[len(arrays)], [a.data.ptr for a in arrays], b"")
            sizes = (int64(outer), int32(n), int32(held.lanes))
            grid = gpu.blocks(outer, held.per_block)
            gpu.launch("softmax", f"{op}_{held.kernel}", dtype, grid, (THREADS,), (work, *sizes))
    return gpu.result(result, out)


_ROWS = {  # `Forward` and `Backward` of kernels/softmax.cu
    count: np.dtype([(f"array{i}", np.uint64) for i in range(count)], align=True)
    for count in (2, 3)
}


def _run_tiles(gpu: Gpu, op: str, arrays: tuple[Array, ...], sizes: tuple[int, int, int]) -> None:
    """Launch the kernels for a dimension that is not the last, or too long for registers."""
    outer, n, inner = sizes
    dtype = arrays[0].dtype
    lanes = _lanes(inner)
    tiles = outer * -(-inner // lanes)
    lengths = int64(outer), int64(n), int64(inner), int32(lanes)
    shared = n * max(4, dtype.itemsize) * lanes
    if len(arrays) == 2 and shared <= CACHE:
        grid = gpu.blocks(tiles, 1)
        gpu.launch("softmax", f"{op}_tiles", dtype, grid, (THREADS,), (*arrays, *lengths), shared)
        return
    parts = split(tiles, n, PER_BLOCK // lanes, RESIDENT * gpu.processors())
    grid = gpu.blocks(tiles * parts, 1)
    name = "logsum_parts" if len(arrays) == 2 else f"{op}_parts"
    totals = part_totals(gpu, name, arrays[:-1], sizes, lanes, parts)
    args = (*arrays, totals, *lengths, int32(parts))
    gpu.launch("softmax", f"{op}_long", dtype, grid, (THREADS,), args)


def part_totals(
    gpu: Gpu,
    kernel: str,
    arrays: tuple[Array, ...],
    sizes: tuple[int, int, int],
    lanes: int,
    parts: int,
) -> Any:
    """What a kernel of softmax.cu makes of each part of the tiles; NULL where there is one.

    sizes: (outer, n, inner). The part of a tile has `lanes` results.
    """
    if parts == 1:
        return NULL
    outer, n, inner = sizes
    jobs = outer * -(-inner // lanes) * parts
    dtype = np.float64 if arrays[0].dtype == np.float64 else np.float32
    totals = gpu.empty((jobs * lanes, 2), dtype)  # the derivatives need one number
    args = (*arrays, totals, int64(outer), int64(n), int64(inner), int32(lanes), int32(parts))
    gpu.launch("softmax", kernel, arrays[0].dtype, gpu.blocks(jobs, 1), (THREADS,), args)
    return totals


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
        outer, n, inner = _along(x.shape, dim)
        lanes = _lanes(inner)
        tiles = outer * -(-inner // lanes)
        parts = split(tiles, n, PER_BLOCK // lanes, gpu.blocks(MOST_BLOCKS)[0])
        struct = np.zeros((), _SCAN)
        struct["x"], struct["out"] = x.data.ptr, result.data.ptr
        struct["outer"], struct["n"], struct["inner"] = outer, n, inner
        struct["parts"], struct["lanes"] = parts, lanes
        grid = gpu.blocks(tiles * parts, 1)
        if parts > 1:
            totals = gpu.empty((tiles * parts * lanes,), np.float64)
            struct["totals"] = totals.data.ptr
            gpu.launch("scan", "cumsum_totals", x.dtype, grid, (THREADS,), (struct[()],))
        gpu.launch("scan", "cumsum", x.dtype, grid, (THREADS,), (struct[()],))
    return gpu.result(result, out)


# ---------------------------------------------------------------------- order
def _argsort(
    gpu: Gpu, x: Array, dim: int, descending: bool = False, out: Array | None = None
) -> Array:
    """The kernel sorts rows; another dimension is swapped with the last one, and back."""
    axes = list(range(x.ndim))
    if x.ndim:
        axes[dim], axes[-1] = axes[-1], axes[dim]
    order = argsort(gpu, gpu.contiguous(x.transpose(axes)), descending).transpose(axes)
    return gpu.contiguous(order) if out is None else gpu.result(order, out)


REDUCTIONS: KernelTable = {
    **{
        op: partial(_reduce, op, dtype)
        for op, dtype in (
            ("sum", _whole),
            ("mean", _same),
            ("var", _same),
            ("std", _same),
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
    "centre": _centre,
    "max_dim": partial(_extreme, "argmax"),
    "min_dim": partial(_extreme, "argmin"),
    "softmax": partial(_softmax, "softmax"),
    "log_softmax": partial(_softmax, "log_softmax"),
    "softmax_backward": partial(_softmax_backward, "softmax_backward"),
    "log_softmax_backward": partial(_softmax_backward, "log_softmax_backward"),
    "cumsum": _cumsum,
    "argsort": _argsort,
}

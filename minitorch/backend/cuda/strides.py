"""Strided iteration over several arrays: broadcast to one shape, dimensions merged, in elements.

`iterations` makes the struct `Iteration` of kernels/strides.cuh. A cache holds those of its parts
that depend on shapes and strides alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import product
from math import prod
from operator import add, mul
from struct import Struct
from typing import Any

import numpy as np

Array = Any
Dims = tuple[int, ...]
MAX_DIMS = 8  # as in kernels/common.cuh
TILE = 64  # of kernels/convert.cu
LEAST_ROW = 8  # of a tile, in elements
_KEPT = 4096  # layouts that are remembered
_WIDEST_PACK = 16 * 8  # bytes: as many elements of 8 bytes as those of 1 byte are in 16
_POINTERS = [Struct(f"{n}Q").pack for n in range(17)]


@lru_cache(_KEPT)
def broadcast_shape(*shapes: Dims) -> Dims:
    """The shape that all of these stretch to; ValueError where there is none."""
    return np.broadcast_shapes(*shapes)


def element_steps(x: Array, shape: Dims) -> Dims:
    """Steps of x, in elements, along the dimensions of `shape` that it is broadcast to.

    Leading dimensions of length 1 that `shape` lacks are left out. ValueError where x does not
    stretch.
    """
    return stretched(x.shape, x.strides, x.itemsize, shape)


def batch_steps(x: Array, batch: Dims) -> Dims:
    """`element_steps` of a stack of matrices along its leading dimensions."""
    return stretched(x.shape[:-2], x.strides[:-2], x.itemsize, batch)


@lru_cache(_KEPT)
def stretched(own: Dims, strides: Dims, itemsize: int, shape: Dims) -> Dims:
    """`element_steps` of an array of this shape and these strides."""
    extra = len(own) - len(shape)
    if extra > 0 and prod(own[:extra]) == 1:
        own, strides, extra = own[extra:], strides[extra:], 0
    if extra > 0 or any(n not in (1, m) for n, m in zip(own, shape[-extra or 0 :], strict=True)):
        raise ValueError(f"could not broadcast an array of shape {own} into shape {shape}")
    steps = (0 if n == 1 else stride // itemsize for n, stride in zip(own, strides, strict=True))
    return (0,) * -extra + tuple(steps)


@lru_cache(_KEPT)
def merge(shape: Dims, *steps: Dims) -> tuple[Dims, tuple[Dims, ...]]:
    """The same iteration in fewer dimensions: none of length 1, contiguous ones as one.

    steps: of each array along `shape`. Returns the new shape and steps, outermost first.
    """
    merged: list[tuple[int, Dims]] = []
    for length, step in zip(shape, zip(*steps, strict=True), strict=True):
        if length == 1:
            continue
        if merged:
            outer, outer_step = merged[-1]
            if outer_step == tuple([s * length for s in step]):
                merged[-1] = (outer * length, step)
                continue
        merged.append((length, step))
    new_shape = tuple([length for length, _ in merged])
    return new_shape, tuple([tuple([step[k] for _, step in merged]) for k in range(len(steps))])


@cache
def iteration_type(n: int) -> np.dtype[Any]:
    """`Iteration<n>` of kernels/strides.cuh."""
    return np.dtype(
        [
            ("array", np.uint64, (n,)),
            ("n", np.int64),
            ("dims", np.int32),
            ("narrow", np.int32),
            ("packed", np.int32),
            ("pad", np.int32),
            ("shape", np.int64, (MAX_DIMS,)),
            ("step", np.int64, (n, MAX_DIMS)),
        ],
        align=True,
    )


def iterations(
    shape: Dims, arrays: Sequence[Array | None], pack: int = 1
) -> list[tuple[np.void, int]]:
    """One struct `Iteration` for arrays broadcast to `shape` (None: a number in its stead), and how
    many threads have something to do.

    Several where the arrays have more than MAX_DIMS dimensions that do not merge; none where
    there are no elements. ValueError where an array does not stretch to `shape`, which is that of
    the first. pack: how many elements a kernel moves at once where it may: "packed" says whether.
    """
    # The first array has that shape and is nearly always contiguous: CuPy's `strides` is slow.
    layouts = tuple([None if x is None else (x.shape, x.strides, x.itemsize) for x in arrays[1:]])
    first: Any = arrays[0]
    own = first.itemsize, None if first._c_contiguous else first.strides
    pointers = [0 if x is None else x.data.ptr for x in arrays]
    tails = _struct_tails(shape, pack, own, layouts, tuple([p % _WIDEST_PACK for p in pointers]))
    kind = iteration_type(len(arrays))
    if len(tails) == 1:  # it begins at the arrays' first elements
        tail, _, threads = tails[0]
        return [(struct_of(kind, pointers, tail), threads)]
    return [
        (struct_of(kind, list(map(add, pointers, starts)), tail), threads)
        for tail, starts, threads in tails
    ]


def struct_of(kind: np.dtype[Any], pointers: Sequence[int], rest: bytes) -> Any:
    """A kernel's struct that begins with these pointers. NumPy copies and fills structs slowly."""
    return np.ndarray((), kind, _POINTERS[len(pointers)](*pointers) + rest)[()]


@lru_cache(_KEPT)
def _struct_tails(
    shape: Dims,
    pack: int,
    first: tuple[int, Dims | None],
    others: tuple[tuple[Dims, Dims, int] | None, ...],
    ends: Dims,
) -> list[tuple[bytes, Dims, int]]:
    """Each struct behind its pointers, its offset in each array (in bytes), and its threads.

    first: bytes of an element and strides (None: contiguous) of the first array; others: shape,
    strides and bytes of an element of the others. ends: the low bits of their addresses.
    """
    size, strides = first
    if strides is None:
        strides = tuple([size * prod(shape[d + 1 :]) for d in range(len(shape))])
    layouts = ((shape, strides, size), *others)
    steps = tuple([(0,) * len(shape) if own is None else stretched(*own, shape) for own in layouts])
    sizes = [0 if own is None else own[2] for own in layouts]
    if any(end % (pack * size) for end, size, step in zip(ends, sizes, steps) if any(step)):
        pack = 1
    if 0 in shape:
        return []
    shape, steps = merge(*_ordered(shape, *steps))
    outer = max(0, len(shape) - MAX_DIMS)
    packed = outer == 0 and _packs(shape, steps, pack)
    tail = _struct_tail(shape[outer:], [step[outer:] for step in steps], packed)
    leading = [(step[:outer], size) for step, size in zip(steps, sizes)]
    threads = prod(shape[outer:]) // (pack if packed else 1)
    return [
        (tail, tuple([size * sum(map(mul, index, step)) for step, size in leading]), threads)
        for index in product(*map(range, shape[:outer]))
    ]


def _packs(shape: Dims, steps: Sequence[Dims], pack: int) -> bool:
    """Whether `pack` neighbours are contiguous, or one element, in every array."""
    if pack == 1 or not shape or shape[-1] % pack or steps[0][-1] != 1:
        return False
    return all(
        step[-1] == 0 or (step[-1] == 1 and all(s % pack == 0 for s in step[:-1])) for step in steps
    )


def _ordered(shape: Dims, *steps: Dims) -> tuple[Dims, ...]:
    """Shape and steps with the dimensions in the order of the first array's memory."""
    order = sorted(range(len(shape)), key=lambda d: -abs(steps[0][d]))
    return tuple([tuple([numbers[d] for d in order]) for numbers in (shape, *steps)])


def _struct_tail(shape: Dims, steps: Sequence[Dims], packed: bool = False) -> bytes:
    """A struct `Iteration` behind its pointers."""
    struct = np.zeros((), iteration_type(len(steps)))
    struct["n"] = prod(shape)
    struct["dims"] = len(shape)
    struct["narrow"] = _narrow(shape, steps)
    struct["packed"] = packed
    struct["shape"][: len(shape)] = shape[::-1]
    for row, step in zip(struct["step"], steps, strict=True):
        row[: len(shape)] = step[::-1]
    return struct.tobytes()[struct["array"].nbytes :]


def transposing(out: Array, x: Array) -> tuple[Any, int] | None:
    """The struct `Iteration` of a copy by tiles, and the number of tiles.

    Dimension 0 is contiguous in `out`, dimension 1 in x. None where there are no such dimensions,
    or one is so short that iterating in the order of `out` touches few sectors of 32 bytes as well.
    """
    found = _transposing(out.shape, *(element_steps(a, out.shape) for a in (out, x)))
    if found is None:
        return None
    tail, tiles = found
    return struct_of(iteration_type(2), (out.data.ptr, x.data.ptr), tail), tiles


@lru_cache(_KEPT)
def _transposing(shape: Dims, *steps: Dims) -> tuple[bytes, int] | None:
    shape, (to, of) = merge(*_ordered(shape, *steps))
    if 0 in shape or len(shape) > MAX_DIMS or 1 not in to or 1 not in of:
        return None
    rows, columns = of.index(1), to.index(1)
    height, width = shape[rows], shape[columns]
    if min(height, width) < LEAST_ROW or abs(of[columns]) < 2:
        return None
    tiles = prod(shape) // (height * width) * -(-height // TILE) * -(-width // TILE)
    order = [d for d in range(len(shape)) if d not in (rows, columns)] + [rows, columns]
    shape, to, of = (tuple([numbers[d] for d in order]) for numbers in (shape, to, of))
    return _struct_tail(shape, [to, of]), tiles


def _narrow(shape: Dims, steps: Sequence[Dims]) -> bool:
    """Whether 32 bits hold the number of elements and every offset."""
    extents = [sum((n - 1) * abs(s) for n, s in zip(shape, step, strict=True)) for step in steps]
    return max([prod(shape), *extents]) < 2**31


def bounds(x: Array) -> tuple[int, int]:
    """The first address of x's memory and the one behind the last; x is not empty."""
    low = high = int(x.data.ptr)
    for n, stride in zip(x.shape, x.strides, strict=True):
        if stride < 0:
            low += (n - 1) * stride
        else:
            high += (n - 1) * stride
    return low, high + int(x.itemsize)


def shared(x: Array, out: Array) -> bool:
    """Whether the addresses from first to last element of both have some in common."""
    if not x.size or not out.size:
        return False
    low, high = bounds(x)
    out_low, out_high = bounds(out)
    return low < out_high and out_low < high


def overlap(x: Array, out: Array) -> bool:
    """Whether writing out's elements one by one could change elements of x still to be read.

    False where both have the same addresses in the same order.
    """
    if x is out:
        return False
    same = (x.shape, x.strides, x.dtype) == (out.shape, out.strides, out.dtype)
    return not (same and x.data.ptr == out.data.ptr) and shared(x, out)


def check_writable(x: Array) -> None:
    """ValueError, as NumPy's, where several elements of x share one address."""
    if (
        0 in x.strides
        and x.size
        and any(s == 0 and n > 1 for n, s in zip(x.shape, x.strides, strict=True))
    ):
        raise ValueError("assignment destination is read-only")

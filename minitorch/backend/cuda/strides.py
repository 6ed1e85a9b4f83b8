"""How several arrays are walked together: broadcast to one shape, dimensions merged, in elements.

`walks` makes the struct `Walk` of kernels/strides.cuh. What depends on shapes and strides alone is
worked out once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import product
from math import prod
from operator import mul
from struct import pack
from typing import Any

import numpy as np

Array = Any
Dims = tuple[int, ...]
MAX_DIMS = 8  # as in kernels/common.cuh
_KEPT = 4096  # layouts that are remembered


@lru_cache(_KEPT)
def broadcast_shape(*shapes: Dims) -> Dims:
    """The shape that all of these stretch to; ValueError where there is none."""
    return np.broadcast_shapes(*shapes)


def element_steps(x: Array, shape: Dims) -> Dims:
    """Steps of x, in elements, along the dimensions of `shape` that it is broadcast to.

    Leading dimensions of length 1 that `shape` lacks are left out. ValueError where x does not
    stretch.
    """
    return _stretched(x.shape, x.strides, x.itemsize, shape)


@lru_cache(_KEPT)
def _stretched(own: Dims, strides: Dims, itemsize: int, shape: Dims) -> Dims:
    extra = len(own) - len(shape)
    if extra > 0 and prod(own[:extra]) == 1:
        own, strides, extra = own[extra:], strides[extra:], 0
    if extra > 0 or any(n not in (1, m) for n, m in zip(own, shape[-extra or 0 :], strict=True)):
        raise ValueError(f"could not broadcast an array of shape {own} into shape {shape}")
    steps = (0 if n == 1 else stride // itemsize for n, stride in zip(own, strides, strict=True))
    return (0,) * -extra + tuple(steps)


@lru_cache(_KEPT)
def merge(shape: Dims, *steps: Dims) -> tuple[Dims, tuple[Dims, ...]]:
    """The same walk in fewer dimensions: none of length 1, those that lie in a row as one.

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
def walk_type(n: int) -> np.dtype[Any]:
    """`Walk<n>` of kernels/strides.cuh."""
    return np.dtype(
        [
            ("array", np.uint64, (n,)),
            ("n", np.int64),
            ("dims", np.int32),
            ("narrow", np.int32),
            ("shape", np.int64, (MAX_DIMS,)),
            ("step", np.int64, (n, MAX_DIMS)),
        ],
        align=True,
    )


def walks(shape: Dims, arrays: Sequence[Array | None]) -> list[np.void]:
    """One struct `Walk` for arrays broadcast to `shape` (None: a number stands in for one).

    Several where the arrays have more than MAX_DIMS dimensions that do not merge; none where
    there are no elements. ValueError where an array does not stretch to `shape`.
    """
    steps = [(0,) * len(shape) if x is None else element_steps(x, shape) for x in arrays]
    pointers = [0 if x is None else x.data.ptr for x in arrays]
    sizes = [0 if x is None else x.itemsize for x in arrays]
    found: list[np.void] = []
    for form, starts in _forms(shape, *steps):
        begin = [p + s * size for p, s, size in zip(pointers, starts, sizes, strict=True)]
        found.append(struct_of(walk_type(len(arrays)), begin, form))
    return found


def struct_of(kind: np.dtype[Any], pointers: Sequence[int], rest: bytes) -> Any:
    """A kernel's struct that begins with these pointers. NumPy copies and fills structs slowly."""
    return np.frombuffer(pack(f"{len(pointers)}Q", *pointers) + rest, kind)[0]


@lru_cache(_KEPT)
def _forms(shape: Dims, *steps: Dims) -> list[tuple[bytes, Dims]]:
    """The structs behind their pointers, and where in each array (in elements) they begin."""
    if 0 in shape:
        return []
    shape, steps = merge(shape, *steps)
    outer = max(0, len(shape) - MAX_DIMS)
    form = np.zeros((), walk_type(len(steps)))
    inner = shape[outer:]
    form["n"] = prod(inner)
    form["dims"] = len(inner)
    form["narrow"] = _narrow(inner, [step[outer:] for step in steps])
    form["shape"][: len(inner)] = inner[::-1]
    for row, step in zip(form["step"], steps, strict=True):
        row[: len(inner)] = step[outer:][::-1]
    leading = [step[:outer] for step in steps]
    rest = form.tobytes()[form["array"].nbytes :]
    return [
        (rest, tuple([sum(map(mul, place, step)) for step in leading]))
        for place in product(*map(range, shape[:outer]))
    ]


def _narrow(shape: Dims, steps: list[Dims]) -> bool:
    """Whether 32 bits hold the number of elements and every offset on the way."""
    reach = [sum((n - 1) * abs(s) for n, s in zip(shape, step, strict=True)) for step in steps]
    return max([prod(shape), *reach]) < 2**31


def bounds(x: Array) -> tuple[int, int]:
    """The first address of x's memory and the one behind the last; x is not empty."""
    low = high = int(x.data.ptr)
    for n, stride in zip(x.shape, x.strides, strict=True):
        if stride < 0:
            low += (n - 1) * stride
        else:
            high += (n - 1) * stride
    return low, high + int(x.itemsize)


def overlap(x: Array, out: Array) -> bool:
    """Whether writing out's elements one by one could change elements of x still to be read.

    Not where both are the same places in the same order.
    """
    if x is out or not x.size or not out.size:
        return False
    same = (x.shape, x.strides, x.dtype) == (out.shape, out.strides, out.dtype)
    if same and x.data.ptr == out.data.ptr:
        return False
    low, high = bounds(x)
    out_low, out_high = bounds(out)
    return low < out_high and out_low < high


def check_writable(x: Array) -> None:
    """ValueError, as NumPy's, where several elements of x share one place in memory."""
    if (
        0 in x.strides
        and x.size
        and any(s == 0 and n > 1 for n, s in zip(x.shape, x.strides, strict=True))
    ):
        raise ValueError("assignment destination is read-only")

"""Views of an array in another shape, and kernels that reorder elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda.gpu import MAX_DIMS, THREADS, Dims, Gpu, KernelTable
from minitorch.core.dtypes import Array

Index = tuple[Any, ...]


# ------------------------------------------------------------------ views
def restrided(gpu: Gpu, x: Array, shape: Dims, strides: Dims, offset: int = 0) -> Array:
    """A view of x's memory from `offset` bytes behind its first element on; strides in bytes."""
    return gpu.xp.ndarray(shape, x.dtype, memptr=x.data + offset, strides=strides)


def view_strides(shape: Dims, strides: Dims, wanted: Dims, itemsize: int) -> Dims:
    """The strides (in bytes) that give an array's elements in the shape `wanted` with no copy.

    Raises ValueError where there are none. Contiguous dimensions form groups, from the last one on;
    each group must equal a number of the wanted dimensions.
    """
    if 0 in shape or not shape:
        return tuple(itemsize * prod(wanted[d + 1 :]) for d in range(len(wanted)))
    found: list[int] = []  # from the back
    left = list(wanted)
    size = viewed = 1  # elements of the group so far, and of the wanted dimensions it makes up
    base = strides[-1]
    for d in reversed(range(len(shape))):
        size *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == size * base):
            continue  # the next dimension belongs to the group
        while left and (viewed < size or left[-1] == 1):
            found.append(viewed * base)
            viewed *= left.pop()
        if viewed != size:
            break
        size, viewed, base = 1, 1, strides[d - 1]
    else:
        if not left:
            return tuple(reversed(found))
    raise ValueError("Unable to avoid creating a copy while reshaping.")


def _view(gpu: Gpu, x: Array, shape: Dims) -> Array:
    return restrided(gpu, x, shape, view_strides(x.shape, x.strides, shape, x.dtype.itemsize))


def _expand(gpu: Gpu, x: Array, shape: Dims) -> Array:
    lead = len(shape) - x.ndim
    old = (1,) * lead + x.shape
    if lead < 0 or any(n not in (1, m) for n, m in zip(old, shape, strict=True)):
        raise ValueError(f"cannot expand shape {x.shape} to {shape}")
    strides = (0,) * lead + x.strides
    pairs = zip(strides, old, shape, strict=True)
    return restrided(gpu, x, shape, tuple(s if n == m else 0 for s, n, m in pairs))


def _permute(gpu: Gpu, x: Array, dims: Dims) -> Array:
    shape, strides = ([of[d] for d in dims] for of in (x.shape, x.strides))
    return restrided(gpu, x, tuple(shape), tuple(strides))


def _slice(gpu: Gpu, x: Array, index: Index) -> Array:
    try:
        return x[index]
    except IndexError as error:  # CuPy's begin with a capital, NumPy's do not
        text = str(error)
        raise IndexError(text[:1].lower() + text[1:]) from None


def _diagonal(gpu: Gpu, x: Array, dim1: int, dim2: int) -> Array:
    rest = [d for d in range(x.ndim) if d not in (dim1, dim2)]
    shape = (*(x.shape[d] for d in rest), min(x.shape[dim1], x.shape[dim2]))
    strides = (*(x.strides[d] for d in rest), x.strides[dim1] + x.strides[dim2])
    return restrided(gpu, x, shape, strides)


# ------------------------------------------------------------------ plans
class Dim(NamedTuple):
    """`Dim` of kernels/shape.cu: one dimension of a result, and the source of its elements."""

    length: int
    start: int
    every: int
    taken: int
    step: int  # between the source's elements, in elements


_DIM = np.dtype([(name, np.int64) for name in Dim._fields], align=True)
_PLAN = np.dtype(
    [("data", np.uint64), ("n", np.int64), ("ndim", np.int64), ("dims", _DIM, (MAX_DIMS,))],
    align=True,
)


def _joined(outer: Dim, inner: Dim) -> Dim | None:
    """Two neighbouring dimensions as one; None where they do not merge."""
    whole = inner.start == 0 and inner.every == 1 and inner.taken == inner.length
    if not whole or outer.every != 1 or outer.step != inner.step * inner.length:
        return None
    length, start, _, taken, _ = (n * inner.length for n in outer)
    return Dim(length, start, 1, taken, inner.step)


def _plan(x: Array, dims: Sequence[Dim], offset: int = 0) -> Any:
    """`Plan` of kernels/shape.cu; offset of the first element in bytes."""
    merged: list[Dim] = []
    for dim in dims:
        joined = _joined(merged[-1], dim) if merged else None
        if joined is None:
            merged.append(dim)
        else:
            merged[-1] = joined
    if len(merged) > MAX_DIMS:
        raise RuntimeError(f"more than {MAX_DIMS} dimensions that do not lie in a row")
    plan = np.zeros((), _PLAN)
    plan["data"] = x.data.ptr + offset
    plan["n"] = prod(dim.length for dim in dims)
    plan["ndim"] = len(merged)
    plan["dims"][: len(merged)] = merged
    return plan[()]


def _rearranged(
    gpu: Gpu, kernel: str, x: Array, dims: Sequence[Dim], *args: Any, offset: int = 0
) -> Array:
    """The result of a kernel of shape.cu."""
    out = gpu.empty(tuple(dim.length for dim in dims), x.dtype)
    if out.size:
        plan = _plan(x, dims, offset)
        gpu.launch("shape", kernel, x.dtype, gpu.blocks(out.size), (THREADS,), (plan, out, *args))
    return out


def _steps(x: Array) -> list[int]:
    return [s // x.dtype.itemsize for s in x.strides]


def _whole(x: Array) -> list[Dim]:
    """The dimensions of x, each whole."""
    return [Dim(n, 0, 1, n, step) for n, step in zip(x.shape, _steps(x), strict=True)]


# ------------------------------------------------------------------ copies
def _cat(
    gpu: Gpu, *xs: Array, dim: int, lengths: tuple[int, ...], out: Array | None = None
) -> Array:
    shape = (*xs[0].shape[:dim], sum(lengths), *xs[0].shape[dim + 1 :])
    whole = gpu.empty(shape, xs[0].dtype) if out is None else out
    start = 0
    for x, length in zip(xs, lengths, strict=True):
        if x.size:
            gpu.copy(x, whole[(slice(None),) * dim + (slice(start, start + length),)])
        start += length
    return whole


def _flip(gpu: Gpu, x: Array, dims: Dims) -> Array:
    plan, offset = _whole(x), 0
    for d in dims:
        offset += max(x.shape[d] - 1, 0) * x.strides[d]
        plan[d] = plan[d]._replace(step=-plan[d].step)
    return _rearranged(gpu, "roll", x, plan, offset=offset)


def _roll(gpu: Gpu, x: Array, shifts: tuple[int, ...], dims: Dims) -> Array:
    plan = _whole(x)
    for shift, d in zip(shifts, dims, strict=True):
        plan[d] = plan[d]._replace(start=(plan[d].start + shift) % max(x.shape[d], 1))
    return _rearranged(gpu, "roll", x, plan)


def _triangle(gpu: Gpu, x: Array, diagonal: int, lower: bool) -> Array:
    rows, columns = (np.int64(n) for n in x.shape[-2:])
    args = (rows, columns, np.int64(diagonal), np.int32(lower))
    return _rearranged(gpu, "triangle", x, _whole(x), *args)


def _diagonal_backward(gpu: Gpu, g: Array, shape: Dims, dim1: int, dim2: int) -> Array:
    """g on the diagonal of zeros: in rows * columns elements, every (columns + 1)th."""
    rows, columns = shape[dim1], shape[dim2]
    *rest, last = _whole(g)
    line = Dim(rows * columns, 0, columns + 1, last.taken, last.step)
    flat = _rearranged(gpu, "among_zeros", g, [*rest, line])
    order = [d for d in range(len(shape)) if d not in (dim1, dim2)] + [dim1, dim2]
    matrices = _view(gpu, flat, tuple(shape[d] for d in order))
    return _permute(gpu, matrices, tuple(np.argsort(order).tolist()))


def slice_backward(gpu: Gpu, g: Array, shape: Dims, index: Index) -> Array:
    """Zeros, with g at the index from which x[index] reads."""
    steps = iter(zip(g.shape, _steps(g), strict=True))
    taken = sum(item is not None and item is not Ellipsis for item in index)
    dims: list[Dim] = []
    offset = 0
    for item in index if Ellipsis in index else (*index, Ellipsis):
        lengths = shape[len(dims) : len(dims) + (len(shape) - taken)]
        if item is None:
            next(steps)
        elif item is Ellipsis:
            dims += [Dim(n, 0, 1, *next(steps)) for n in lengths]
        elif isinstance(item, slice):
            start, _, every = item.indices(shape[len(dims)])
            count, step = next(steps)
            if every < 0:  # the same elements, from the last to the first
                start, every = start + max(count - 1, 0) * every, -every
                offset, step = offset + max(count - 1, 0) * step, -step
            dims.append(Dim(shape[len(dims)], start, every, count, step))
        else:
            length = shape[len(dims)]
            dims.append(Dim(length, item % length, 1, 1, 0))
    return _rearranged(gpu, "among_zeros", g, dims, offset=offset * g.itemsize)


def _into(function: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel with `out=`, from a function that always allocates its result."""

    def kernel(gpu: Gpu, *args: Any, out: Array | None = None, **kwargs: Any) -> Array:
        return gpu.result(function(gpu, *args, **kwargs), out)

    return kernel


VIEWS: KernelTable = {
    "view": _view,
    "expand": _expand,
    "permute": _permute,
    "slice": _slice,
    "diagonal": _diagonal,
}

SHAPE: KernelTable = {
    "cat": _cat,
    "flip": _into(_flip),
    "roll": _into(_roll),
    "tril": _into(partial(_triangle, lower=True)),
    "triu": _into(partial(_triangle, lower=False)),
    "diagonal_backward": _into(_diagonal_backward),
}

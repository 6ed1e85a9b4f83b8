"""Reading and writing by position."""

from __future__ import annotations

import numpy as np

from minitorch.backend.cpu.kernel import (
    Array,
    Index,
    KernelTable,
    clone,
    into,
    is_half,
    quiet,
    real,
    zeros,
)
from minitorch.core.dtypes import FLOAT32


def _slice_backward(
    g: Array, shape: tuple[int, ...], index: Index, out: Array | None = None
) -> Array:
    whole = zeros(shape, g.dtype, out)
    whole[index] = g
    return whole


def _index(x: Array, index: Index) -> Array:
    # take is twice as fast as x[index], but copies all of an x that is not contiguous
    if len(index) == 1 and x.flags.c_contiguous:
        return np.take(x, index[0], axis=0)
    return x[index]


def _index_backward(
    g: Array, shape: tuple[int, ...], index: Index, out: Array | None = None
) -> Array:
    whole = zeros(shape, g.dtype, out)
    _index_put_(whole, g, index, accumulate=True)
    return whole


def _index_put_(x: Array, value: Array, index: Index, accumulate: bool = False) -> Array:
    if not accumulate:
        x[index] = value
    elif len(index) == 1 and index[0].ndim and x.ndim == 2 and x.flags.c_contiguous:
        rows = index[0].ravel()
        rows = np.where(rows < 0, rows + len(x), rows)
        value = np.broadcast_to(value, index[0].shape + x.shape[1:])
        index_add_(x, rows, value.reshape(len(rows), x.shape[1]), 0)
    else:
        _add_at(x, index, value)
    return x


def _put(x: Array, value: Array, index: Index, out: Array | None = None) -> Array:
    out = clone(x, out)
    out[index] = value
    return out


def add_rows(x: Array, index: Array, source: Array, alpha: float) -> None:
    """x[index[i]] += alpha * source[i] for matrices, x C-contiguous, duplicates one by one.

    A sparse matrix with `alpha` at (index[i], i) times a dense one, in place: eight times faster
    than sorting and summing groups, fifty times faster than `np.add.at`. The caller has checked
    that the indices are in range; the function does not.
    """
    from scipy.sparse import _sparsetools  # imported late, as erf

    n, width = source.shape
    source = np.ascontiguousarray(source, x.dtype)
    if np.may_share_memory(source, x):
        source = source.copy()
    _sparsetools.coo_matmat_dense(
        n,
        width,
        np.ascontiguousarray(index, dtype=np.int64),
        np.arange(n),
        np.full(n, alpha, x.dtype),
        source.ravel(),
        x.ravel(),
    )


def index_add_(x: Array, index: Array, source: Array, dim: int, alpha: float = 1) -> Array:
    """x[index[i]] += alpha * source[i] along `dim`; duplicates add up."""
    if is_half(x):
        x[...] = index_add_(x.astype(FLOAT32), index, source.astype(FLOAT32), dim, alpha)
    elif dim == 0 and x.ndim == 2 and x.dtype.kind == "f" and _is_plain(x):
        add_rows(x, check_range(index, len(x), "index_add_"), source, alpha)
    else:
        source = source if alpha == 1 else source * np.asarray(alpha, source.dtype)
        np.add.at(np.moveaxis(x, dim, 0), index, np.moveaxis(source, dim, 0))
    return x


def _is_plain(x: Array) -> bool:
    return bool(x.flags.c_contiguous and x.flags.writeable)


def _add_at(x: Array, index: Index, value: Array) -> None:
    """x[index] += value; duplicates add up, halves in float32."""
    wide = x.astype(FLOAT32) if is_half(x) else x
    np.add.at(wide, index, value)
    if wide is not x:
        x[...] = wide


def _along(index: Array, dim: int) -> Index:
    """The index tuple that addresses x along `dim` by an index array of x's rank."""
    grid = np.indices(index.shape, sparse=True)
    return (*grid[:dim], index, *grid[dim + 1 :])


def _gather(x: Array, index: Array, dim: int) -> Array:
    return x[_along(index, dim)] if x.ndim else np.broadcast_to(x, index.shape).copy()


def _gather_backward(
    g: Array, shape: tuple[int, ...], index: Array, dim: int, out: Array | None = None
) -> Array:
    whole = zeros(shape, g.dtype, out)
    _scatter_(whole, index, g, dim, accumulate=True)
    return whole


def _scatter_(x: Array, index: Array, source: Array, dim: int, accumulate: bool = False) -> Array:
    positions = _along(index, dim) if x.ndim else ()
    if isinstance(source, np.ndarray):
        source = source[tuple(slice(n) for n in index.shape)] if x.ndim else source.sum()
    if accumulate:
        _add_at(x, positions, source)
    else:
        x[positions] = source
    return x


def check_range(index: Array, length: int, what: str) -> Array:
    """The index itself; IndexError where an element is not in [0, length)."""
    if index.size:
        low, high = index.min(), index.max()
        if low < 0 or high >= length:
            wrong = low if low < 0 else high
            raise IndexError(f"{what}: {wrong} is out of range [0, {length})")
    return index


def _check_unit(x: Array, what: str) -> Array:
    inside = (x >= 0) & (x <= 1)
    if not inside.all():
        wrong = x[~inside].flat[0]
        raise RuntimeError(f"{what}: expected numbers between 0 and 1, got {wrong:g}")
    return x


def _nonzero(x: Array) -> Array:
    return np.argwhere(x)


def _searchsorted(x: Array, values: Array, right: bool = False) -> Array:
    return np.searchsorted(x, values, side="right" if right else "left")


def _copy_(x: Array, source: Array) -> Array:
    np.copyto(x, source, casting="unsafe")
    return x


INDEX: KernelTable = {
    "slice_backward": _slice_backward,
    "index": into(_index),
    "index_backward": quiet(_index_backward),
    "put": _put,
    "gather": into(_gather),
    "gather_backward": quiet(_gather_backward),
    "check_range": into(check_range),
    "check_unit": into(_check_unit),
    "nonzero": into(_nonzero),
    "searchsorted": real(into(_searchsorted)),
}

WRITES: KernelTable = {
    "copy_": quiet(_copy_),
    "index_put_": quiet(_index_put_),
    "index_add_": quiet(index_add_),
    "scatter_": quiet(_scatter_),
}

"""Reductions, and kernels that run along one dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch.backend.cpu.kernel import Array, KernelTable, clone, into, quiet, real, result


def _axes(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(
        x: Array, dim: tuple[int, ...], keepdim: bool = False, out: Array | None = None
    ) -> Array:
        return function(x, axis=dim, keepdims=keepdim, out=out)

    return kernel


def _sum(x: Array, dim: tuple[int, ...], keepdim: bool = False, out: Array = None) -> Array:
    # NumPy would give uint64 for uint8 and int64 for int32; PyTorch gives int64 for all.
    dtype = x.dtype if x.dtype.kind == "f" else np.int64
    if x.size >= MANY_ROWS and x.ndim > 1 and dtype is not np.int64 and _has_long(x, dim):
        return result(_sum_long(x, dim, keepdim), out)
    return np.add.reduce(x, axis=dim, dtype=dtype, keepdims=keepdim, out=out)


MANY_ROWS = 512


def _has_long(x: Array, dim: tuple[int, ...]) -> bool:
    """Whether NumPy would add up many rows one by one, instead of pairwise."""
    return any(x.shape[d] >= MANY_ROWS and x.strides[d] != x.itemsize for d in dim)


def _sum_long(x: Array, dim: tuple[int, ...], keepdim: bool) -> Array:
    """The sum over several dimensions, one by one, from the last to the first."""
    for d in sorted(dim, reverse=True):
        x = _sum_along(x, d)
    return np.expand_dims(x, dim) if keepdim else x


def _sum_along(x: Array, d: int) -> Array:
    """The sum over dimension d; a long one is split into sqrt(n) partial sums.

    The error grows at most with the square root of the number of rows.
    """
    n = x.shape[d]
    if n < MANY_ROWS or x.ndim == 1:
        return np.asarray(np.add.reduce(x, axis=d))
    side = math.isqrt(n)
    rows, rest = np.split(x, [side * side], axis=d)
    block = rows.reshape(*x.shape[:d], side, side, *x.shape[d + 1 :])
    total = np.add.reduce(np.add.reduce(block, axis=d + 1), axis=d)
    return np.asarray(total + np.add.reduce(rest, axis=d))


def _mean(x: Array, dim: tuple[int, ...], keepdim: bool = False, out: Array | None = None) -> Array:
    n = math.prod([x.shape[d] for d in dim])
    return np.divide(_sum(x, dim, keepdim, out), n, dtype=x.dtype, out=out)


def _centre(x: Array, dim: tuple[int, ...], out: Array | None = None) -> Array:
    """x minus its mean, twice: the second time removes what rounding left of a large mean."""
    out = np.asarray(np.subtract(x, _mean(x, dim, True), out=out))
    out -= _mean(out, dim, True)
    return out


def _var(x: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    return np.asarray(_wide_var(x, dim, keepdim), x.dtype)


def _std(x: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    return np.asarray(np.sqrt(_wide_var(x, dim, keepdim)), x.dtype)


def _wide_var(x: Array, dim: tuple[int, ...], keepdim: bool) -> Array:
    """The variance in float64, where squares of float32 neither overflow nor lose digits."""
    away = _centre(x.astype(np.float64, copy=False), dim)
    return _mean(np.square(away, out=away), dim, keepdim)


def _prod(x: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    dtype = x.dtype if x.dtype.kind == "f" else np.int64
    return np.asarray(np.prod(x, axis=dim, dtype=dtype, keepdims=keepdim))


def _arg(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(x: Array, dim: int | None, keepdim: bool = False, out: Array | None = None) -> Array:
        return function(x, axis=dim, keepdims=keepdim, out=out)

    return kernel


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
        if x.ndim == 0:
            return clone(x), np.zeros((), np.int64)
        index = function(x, axis=dim, keepdims=True)
        values = np.take_along_axis(x, index, dim)
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))

    return kernel


def _logsumexp(x: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    top = np.max(x, axis=dim, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    total = np.log(_sum(np.exp(x - top), dim, True)) + top
    return total if keepdim else np.squeeze(total, axis=dim)


def _softmax(x: Array, dim: int, out: Array | None = None) -> Array:
    if not x.size:
        return clone(x, out)
    out = np.subtract(x, np.max(x, axis=dim, keepdims=True), out=out)
    out = np.asarray(out)
    np.exp(out, out=out)
    out /= _sum(out, (dim,) if x.ndim else (), True)
    return out


def _log_softmax(x: Array, dim: int, out: Array | None = None) -> Array:
    if not x.size:
        return clone(x, out)
    out = np.subtract(x, np.max(x, axis=dim, keepdims=True), out=out)
    out = np.asarray(out)
    out -= np.log(_sum(np.exp(out), (dim,) if x.ndim else (), True))
    return out


def _softmax_backward(g: Array, z: Array, dim: int, out: Array | None = None) -> Array:
    out = np.asarray(np.multiply(g, z, out=out))
    np.subtract(g, _sum(out, (dim,) if z.ndim else (), keepdim=True), out=out)
    out *= z
    return out


def _log_softmax_backward(g: Array, z: Array, dim: int, out: Array | None = None) -> Array:
    out = np.asarray(np.exp(z, out=out))
    out *= _sum(g, (dim,) if z.ndim else (), keepdim=True)
    return np.subtract(g, out, out=out)


def _cumsum(x: Array, dim: int, out: Array | None = None) -> Array:
    dtype = x.dtype if x.dtype.kind == "f" else np.int64
    if x.ndim == 0:
        return result(x.astype(dtype), out)
    wide = np.float64 if x.dtype.kind == "f" else dtype  # a float32 total soon stops growing
    return result(np.cumsum(x, axis=dim, dtype=wide).astype(dtype, copy=False), out)


def _argsort(x: Array, dim: int, descending: bool = False) -> Array:
    if x.ndim == 0:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    flipped = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - flipped, dim).copy()


REDUCTIONS: KernelTable = {
    "sum": real(_sum),
    "mean": real(_mean),
    "centre": real(_centre),
    "var": real(into(_var)),
    "std": real(into(_std)),
    "prod": real(into(_prod)),
    "amax": quiet(_axes(np.maximum.reduce)),
    "amin": quiet(_axes(np.minimum.reduce)),
    "any": _axes(np.logical_or.reduce),
    "all": _axes(np.logical_and.reduce),
    "argmax": _arg(np.argmax),
    "argmin": _arg(np.argmin),
    "max_dim": _extreme(np.argmax),
    "min_dim": _extreme(np.argmin),
    "logsumexp": real(into(_logsumexp)),
    "softmax": real(_softmax),
    "log_softmax": real(_log_softmax),
    "softmax_backward": real(_softmax_backward),
    "log_softmax_backward": real(_log_softmax_backward),
    "cumsum": real(_cumsum),
    "argsort": real(into(_argsort)),
}

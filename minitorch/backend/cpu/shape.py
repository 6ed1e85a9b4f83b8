"""Views of an array in another shape, and kernels that reorder elements."""

from __future__ import annotations

import numpy as np

from minitorch.backend.cpu.kernel import Array, Index, KernelTable, clone, into, zeros


def _view(x: Array, shape: tuple[int, ...]) -> Array:
    return np.reshape(x, shape, copy=False)


def _slice(x: Array, index: Index) -> Array:
    part = x[index]
    # With an integer for every dimension NumPy gives a number; with ... as well, a 0-d view.
    return part if type(part) is np.ndarray else x[(*index, ...)]


def _diagonal(x: Array, dim1: int, dim2: int) -> Array:
    view = np.diagonal(x, axis1=dim1, axis2=dim2)  # read-only, for reasons of NumPy's history
    view.flags.writeable = x.flags.writeable
    return view


def _flip(x: Array, dims: tuple[int, ...], out: Array | None = None) -> Array:
    return clone(np.flip(x, dims), out)


def _diagonal_backward(
    g: Array, shape: tuple[int, ...], dim1: int, dim2: int, out: Array | None = None
) -> Array:
    whole = zeros(shape, g.dtype, out)
    view = np.diagonal(whole, axis1=dim1, axis2=dim2)
    view.flags.writeable = True
    view[...] = g
    return whole


def _cat(*xs: Array, dim: int, lengths: tuple[int, ...], out: Array | None = None) -> Array:
    return np.concatenate(xs, axis=dim, out=out)


VIEWS: KernelTable = {
    "view": _view,
    "expand": lambda x, shape: np.broadcast_to(x, shape),
    "permute": lambda x, dims: np.transpose(x, dims),
    "slice": _slice,
    "diagonal": _diagonal,
}

SHAPE: KernelTable = {
    "cat": _cat,
    "flip": _flip,
    "roll": into(lambda x, shifts, dims: np.roll(x, shifts, dims)),
    "tril": into(lambda x, diagonal: np.tril(x, diagonal)),
    "triu": into(lambda x, diagonal: np.triu(x, diagonal)),
    "diagonal_backward": _diagonal_backward,
}

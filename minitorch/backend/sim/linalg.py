"""`cupy.linalg`: the solvers that `backend.cuda` calls, computed by NumPy in the current stream."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

from minitorch.backend.sim import driver
from minitorch.backend.sim.array import empty, ndarray
from minitorch.backend.sim.cuda.stream import current_queue
from minitorch.backend.sim.driver import Record
from minitorch.backend.sim.machine import current_device


def _solved(name: str, function: Callable[..., Any], *arrays: ndarray) -> Any:
    """New arrays with the results, whose shapes are those of matrices of ones and zeros."""
    device = current_device()
    ones = [np.eye(a.shape[-2], a.shape[-1], dtype=a.dtype) for a in arrays]
    samples = [np.broadcast_to(one, a.shape) for one, a in zip(ones, arrays)]
    like = function(*samples)
    several = isinstance(like, tuple)
    outs = [empty(a.shape, a.dtype) for a in (like if several else (like,))]
    current_queue(device).submit(partial(_work, name, function, arrays, outs, device))
    return tuple(outs) if several else outs[0]


def _work(name: str, function: Any, arrays: Any, outs: list[ndarray], device: int) -> None:
    with np.errstate(all="ignore"):
        found = function(*(a._array for a in arrays))
    for out, value in zip(outs, found if isinstance(found, tuple) else (found,)):
        out._array[...] = value
        if out._array.nbytes:
            driver.mark_written(out._address, out._array.nbytes)
    driver.record(Record("solver", name, device))


def inv(a: ndarray) -> Any:
    """The inverse of square matrices."""
    return _solved("inv", np.linalg.inv, a)


def solve(a: ndarray, b: ndarray) -> Any:
    """x of a @ x = b, for square matrices a."""
    return _solved("solve", np.linalg.solve, a, b)


def cholesky(a: ndarray) -> Any:
    """The lower factor of positive definite matrices."""
    return _solved("cholesky", np.linalg.cholesky, a)


def pinv(a: ndarray, rcond: float = 1e-15) -> Any:
    """The pseudo-inverse; singular values below rcond times the largest count as 0."""
    return _solved("pinv", partial(np.linalg.pinv, rcond=rcond), a)


def slogdet(a: ndarray) -> Any:
    """The sign of the determinant and the logarithm of its size."""
    return _solved("slogdet", lambda x: tuple(np.linalg.slogdet(x)), a)


def eigh(a: ndarray, UPLO: Literal["L", "U"] = "L") -> Any:
    """Eigenvalues and eigenvectors of symmetric matrices, of which one triangle is read."""
    return _solved("eigh", lambda x: tuple(np.linalg.eigh(x, UPLO)), a)


def svd(a: ndarray, full_matrices: bool = True) -> Any:
    """The singular value decomposition: u, s, vh."""
    return _solved("svd", lambda x: tuple(np.linalg.svd(x, full_matrices)), a)


def qr(a: ndarray) -> Any:
    """q with orthonormal columns and an upper triangular r."""
    return _solved("qr", lambda x: tuple(np.linalg.qr(x)), a)

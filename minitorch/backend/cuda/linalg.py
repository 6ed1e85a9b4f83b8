"""Linear algebra by CuPy's solvers; the results of a decomposition come packed, see `solvers`.

A matrix that has no result, a singular one, gives nan: nobody waits for the device to say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch.backend.cuda.gpu import Array, Gpu, KernelTable
from minitorch.backend.cuda.shape import SHAPE
from minitorch.backend.solvers import checked, parts


def _joined(gpu: Gpu, arrays: Any, dim: int) -> Array:
    rows = [gpu.converted(a, a.dtype) for a in arrays]
    return SHAPE["cat"](gpu, *rows, dim=dim, lengths=tuple(a.shape[dim] for a in rows))


def _run(gpu: Gpu, name: str, arrays: tuple[Array, ...], params: dict[str, Any]) -> Array:
    given = [gpu.converted(a, a.dtype) for a in arrays]
    if name in DECOMPOSITIONS:
        return _joined(gpu, parts(name, gpu.xp.linalg, *given, **params), arrays[0].ndim - 2)
    found = getattr(gpu.xp.linalg, name)(*given, **params)
    if name == "slogdet":
        return _joined(gpu, [a[..., None] for a in found], found[0].ndim)
    return found


def _solver(name: str) -> Callable[..., Array]:
    run = checked(name, _run)

    def kernel(gpu: Gpu, *arrays: Array, out: Array | None = None, **params: Any) -> Array:
        return gpu.result(run(gpu, name, arrays, params), out)

    return kernel


SOLVERS = ("inv", "solve", "cholesky", "pinv", "slogdet")
DECOMPOSITIONS = ("eigh", "svd", "qr")
LINALG: KernelTable = {name: _solver(name) for name in (*SOLVERS, *DECOMPOSITIONS)}

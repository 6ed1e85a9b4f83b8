"""PyTorch's older names of linear algebra, functions and methods; see `minitorch.linalg`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from minitorch import linalg
from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.ops.arrange import broadcast_shapes
from minitorch.ops.elementwise import where

__all__ = ["chain_matmul", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse"]
__all__ += ["logdet", "matrix_exp", "matrix_power", "pinverse", "qr", "slogdet", "svd"]
__all__ += ["triangular_solve"]

det = linalg.det
inverse = linalg.inv
matrix_exp = linalg.matrix_exp
matrix_power = linalg.matrix_power
slogdet = linalg.slogdet


class _Svd(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


class _Triangular(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices in the cheapest order."""
    return matrices[0] if len(matrices) == 1 else linalg.multi_dot(matrices)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; singular values below rcond times the largest count as 0."""
    return linalg.pinv(input, rtol=rcond)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; nan where that is negative."""
    sign, size = linalg.slogdet(input)
    return where(sign < 0, math.nan, size)


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return linalg.cholesky(input, upper=upper)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X of A X = B, given the Cholesky factor of A."""
    if B.ndim < 2 or L.ndim < 2:
        raise RuntimeError(f"cholesky_solve: expected 2 dimensions, got {B.ndim} and {L.ndim}")
    lower = L.triu().mT if upper else L.tril()
    return linalg.solve(lower.mT, _solved(lower, B))


def _solved(a: Tensor, b: Tensor) -> Tensor:
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return linalg.solve(a, b.expand(*batch, *b.shape[-2:]))


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, given its Cholesky factor."""
    lower = L.triu().mT if upper else L.tril()
    back = linalg.inv(lower)
    return back.mT @ back


def qr(input: Tensor, some: bool = True) -> Any:
    """`linalg.qr`, complete without `some`."""
    return linalg.qr(input, "reduced" if some else "complete")


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> _Svd:
    """(U, S, V) with input = U diag(S) Vᵀ, square without `some`; 0 without compute_uv."""
    u, s, vh = linalg.svd(input, full_matrices=not some)
    if compute_uv:
        return _Svd(u, s, vh.mT)
    m, n = input.shape[-2:]
    batch = input.shape[:-2]
    return _Svd(input.new_zeros((*batch, m, m)), s, input.new_zeros((*batch, n, n)))


def triangular_solve(
    b: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> _Triangular:
    """(X of A X = b, A), reading one triangle of A; of Aᵀ with transpose."""
    if b.ndim < 2 or A.ndim < 2 or A.shape[-1] != A.shape[-2] or A.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"triangular_solve: incompatible shapes {tuple(A.shape)} of A and {tuple(b.shape)} of b"
        )
    batch = broadcast_shapes(A.shape[:-2], b.shape[:-2])
    wide = A.expand(*batch, *A.shape[-2:])
    matrix, reads_upper = (wide.mT, not upper) if transpose else (wide, upper)
    solution = linalg.solve_triangular(matrix, b, upper=reads_upper, unitriangular=unitriangular)
    return _Triangular(solution, wide.clone())


guard(globals())

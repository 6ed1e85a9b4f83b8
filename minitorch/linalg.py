"""Linear algebra (`torch.linalg`), differentiable in both modes and to any order.

Matrices are the last two dimensions, the others a batch; they are of float32 or float64. A matrix
that has no result, such as the inverse of a singular one, raises LinAlgError on the CPU, and gives
nan on a GPU, which nobody waits for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from minitorch import recording
from minitorch.backend import of as _backend_of
from minitorch.backend.limits import finfo
from minitorch.backend.solvers import LinAlgError
from minitorch.boundary import guard
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.operands import is_number
from minitorch.ops import arrange, decompositions, elementwise, products, reduce, shape
from minitorch.ops import linalg as _products
from minitorch.ops.arguments import Dims, all_dims, need_tensor, one_dim, whole_number
from minitorch.ops.elementwise import where

__all__ = ["LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eigh"]
__all__ += ["eigvalsh", "inv", "inv_ex", "lstsq", "matmul", "matrix_exp", "matrix_norm"]
__all__ += ["matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve"]
__all__ += ["solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander"]
__all__ += ["vecdot", "vector_norm"]


class _Eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class _Svd(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class _Qr(NamedTuple):
    Q: Tensor
    R: Tensor


class _Slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class _Lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


class _Ex(NamedTuple):
    result: Tensor
    info: Tensor


# ---------------------------------------------------------------------- arguments
def _matrix(name: str, x: Tensor, square: bool = True) -> Tensor:
    """x, or an error where it is not a matrix of real numbers that the solvers take."""
    need_tensor(f"linalg.{name}", "A", x)
    if x.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, got {x.ndim}"
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {x.shape[-2]} by "
            f"{x.shape[-1]} matrices"
        )
    return _real(name, x)


def _real(name: str, x: Tensor) -> Tensor:
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"linalg.{name}: expected float32 or float64, got {x.dtype}")
    if recording.recorder and _backend_of(x.array).gpu is not None:
        recording.impossible(f"linalg.{name}: the solvers of a GPU are not recorded")
    return x


# ---------------------------------------------------------------------- inverses, solutions
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices."""
    return decompositions.inv(_matrix("inv", A))


def inv_ex(A: Tensor, *, check_errors: bool = False) -> _Ex:
    """(inverse, info): the inverse, nan where there is none unless check_errors, and 0 or 1."""
    return _quietly(inv, A, check_errors)


def _quietly(function: Any, A: Tensor, check_errors: bool) -> _Ex:
    """A result and an int32 info that says where there is none."""
    batch = A.shape[:-2]
    try:
        return _Ex(function(A), A.new_zeros(batch, dtype=dtypes.int32))
    except LinAlgError:
        if check_errors:
            raise
    if batch:  # one by one
        flat = A.reshape(-1, *A.shape[-2:])
        found = [_quietly(function, flat[i], False) for i in range(len(flat))]
        result = shape.stack([x.result for x in found])
        infos = shape.stack([x.info for x in found])
        return _Ex(result.reshape(*batch, *result.shape[1:]), infos.reshape(batch))
    return _Ex(A * math.nan, A.new_ones((), dtype=dtypes.int32))


def pinv(
    A: Tensor,
    *,
    atol: Any = None,
    rtol: Any = None,
    hermitian: bool = False,
    rcond: Any = None,
) -> Tensor:
    """The pseudo-inverse (Moore, Penrose); singular values that count as 0 see `matrix_rank`."""
    x = _matrix("pinv", A, square=False)
    if not x.numel():
        return x.mT * 0
    plain = all(t is None for t in (atol, rtol, rcond))
    if plain and not hermitian:
        limit = max(x.shape[-2:]) * finfo(x.dtype).eps
        return decompositions.pinv(x, rcond=limit)
    if hermitian:
        s, u = eigh(_matrix("pinv", A))
        v = u
    else:
        u, s, vh = svd(x, full_matrices=False)
        v = vh.mT
    large = s.abs() > _least(x, s.abs(), atol, rcond if rtol is None else rtol).unsqueeze(-1)
    inverse = where(large, 1 / where(large, s, 1.0), 0.0)
    return (v * inverse.unsqueeze(-2)) @ u.mT


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X of A X = B (of X A = B without `left`), for square matrices A; B may be a vector."""
    a = _matrix("solve", A)
    need_tensor("linalg.solve", "B", B)
    if B.dtype is not a.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {a.dtype} "
            f"and B of type {B.dtype} instead"
        )
    is_vector = B.ndim == 1 or (B.ndim == a.ndim - 1 and B.shape == a.shape[:-1])
    b = B.unsqueeze(-1) if is_vector else B
    if not left:
        if is_vector:
            raise RuntimeError("linalg.solve: left=False is not supported for a vector B")
        return solve(a.mT, b.mT).mT
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise RuntimeError(
            f"linalg.solve: incompatible shapes {tuple(A.shape)} of A and {tuple(B.shape)} of B"
        )
    batch = arrange.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])
    x = decompositions.solve(a, b)
    return x.squeeze(-1) if is_vector else x


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> _Ex:
    """(solution, info), see `inv_ex`."""
    try:
        result = solve(A, B, left=left)
        return _Ex(result, A.new_zeros(A.shape[:-2], dtype=dtypes.int32))
    except LinAlgError:
        if check_errors:
            raise
        return _Ex(B * math.nan, A.new_ones(A.shape[:-2], dtype=dtypes.int32))


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X of A X = B (of X A = B without `left`), reading one triangle of A.

    unitriangular: the diagonal counts as ones.
    """
    a = _matrix("solve_triangular", A)
    if unitriangular:
        a = (a.triu(1) if upper else a.tril(-1)) + a.new_ones(a.shape[-1]).diag()
    else:
        a = a.triu() if upper else a.tril()
    if B.ndim < 2:
        raise RuntimeError(f"linalg.solve_triangular: B: expected 2 dimensions, got {B.ndim}")
    n = B.shape[-2] if left else B.shape[-1]
    if n != a.shape[-1]:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({tuple(A.shape)} and {tuple(B.shape)})"
        )
    batch = arrange.broadcast_shapes(a.shape[:-2], B.shape[:-2])
    b = B.expand(*batch, *B.shape[-2:])
    return solve(a, b) if left else solve(a.mT, b.mT).mT


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> _Lstsq:
    """The least squares solution X of A X = B, by the pseudo-inverse; driver means nothing.

    residuals are sums of squares where A has full rank and more rows than columns, else empty; rank
    and singular_values are empty but for drivers that PyTorch gives them for.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            "linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got "
            f"{driver!r}"
        )
    a = _matrix("lstsq", A, square=False)
    is_vector = B.ndim == a.ndim - 1 and B.shape == a.shape[:-1]
    b = B.unsqueeze(-1) if is_vector else B
    if b.ndim < 1 or b.shape[-2] != a.shape[-2]:
        raise RuntimeError(
            f"linalg.lstsq: input.size(-2) should match other.size(-2), got {tuple(A.shape)} and "
            f"{tuple(B.shape)}"
        )
    x = pinv(a, rtol=rcond) @ b
    s = svdvals(a) if driver in ("gelsd", "gelss") else a.new_zeros(0)
    has_rank = driver in (None, "gelsy", "gelsd", "gelss")
    rank = matrix_rank(a) if has_rank else a.new_zeros(0, dtype=dtypes.int64)
    tall = (
        a.shape[-2] > a.shape[-1]
        and driver != "gelsy"
        and bool((matrix_rank(a) == a.shape[-1]).all())
    )
    residuals = ((a @ x - b) ** 2).sum(-2) if tall else a.new_zeros(0)
    return _Lstsq(x.squeeze(-1) if is_vector else x, residuals, rank, s)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse for `tensordot` over `ind` dimensions."""
    if ind <= 0:
        raise RuntimeError("linalg.tensorinv: Expected a strictly positive integer for 'ind'")
    rows = math.prod(A.shape[:ind])
    if rows != math.prod(A.shape[ind:]):
        raise RuntimeError(
            "linalg.tensorinv: Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), got {tuple(A.shape)}"
        )
    return inv(A.reshape(rows, rows)).reshape(*A.shape[ind:], *A.shape[:ind])


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X of tensordot(A, X) = B; dims: dimensions of A that are moved to the end first."""
    if dims is not None:
        A = shape.movedim(A, tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    lengths = A.shape[B.ndim :]
    if math.prod(lengths) != B.numel():
        raise RuntimeError(
            "linalg.tensorsolve: Expected self to satisfy the requirement prod(self.shape[other."
            f"ndim:]) == prod(self.shape[:other.ndim]), got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    n = B.numel()
    return solve(A.reshape(n, n), B.reshape(n)).reshape(lengths)


# ---------------------------------------------------------------------- decompositions
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L Lᵀ (or U with A = Uᵀ U) of positive definite matrices."""
    factor = decompositions.cholesky(_matrix("cholesky", A))
    return factor.mT if upper else factor


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> _Ex:
    """(L, info), see `inv_ex`."""
    return _quietly(lambda x: cholesky(x, upper=upper), A, check_errors)


def eigh(A: Tensor, UPLO: str = "L") -> _Eigh:
    """(eigenvalues, eigenvectors) of symmetric matrices, of which one triangle is read.

    The values ascend; the vectors are columns, whose derivatives want values that differ.
    """
    x = _matrix("eigh", A)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(
            f"linalg.eigh: Expected UPLO argument to be 'L' or 'U', but got {UPLO!r}"
        )
    packed = decompositions.eigh(x, upper=UPLO.upper() == "U")
    vectors, values = decompositions.split(packed, x.shape[-1])
    return _Eigh(values.squeeze(-2), vectors)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices in ascending order, see `eigh`."""
    return eigh(A, UPLO).eigenvalues


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> _Svd:
    """(U, S, Vh) with A = U diag(S) Vh; S descends. driver means nothing.

    full_matrices: U and Vh are square; what that adds has no derivative.
    """
    x = _matrix("svd", A, square=False)
    m, n = x.shape[-2:]
    u, s, v = decompositions._of_svd(decompositions.svd(x), m)
    if full_matrices:
        u, v = _completed(u, m), _completed(v, n)
    return _Svd(u, s, v.mT)


def _completed(q: Tensor, n: int) -> Tensor:
    """Orthonormal columns, and others that make the matrix square."""
    k = q.shape[-1]
    if k == n:
        return q
    more = decompositions.eigh(q.detach() @ q.detach().mT, upper=False)
    vectors, _ = decompositions.split(more, n)  # the eigenvalue 0 comes first
    return shape.cat([q, vectors.narrow(-1, 0, n - k)], -1)


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values in descending order; driver means nothing."""
    return svd(A, False).S


def qr(A: Tensor, mode: str = "reduced") -> _Qr:
    """(Q, R) with A = Q R, Q of orthonormal columns, R upper triangular.

    mode: "reduced", "complete" (Q is square; what that adds has no derivative) or "r" (no Q).
    """
    x = _matrix("qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"linalg.qr: qr received unrecognized mode {mode!r} but expected one of 'reduced' "
            "(default), 'r', or 'complete'"
        )
    m, n = x.shape[-2:]
    k = min(m, n)
    q, turned = decompositions.split(decompositions.qr(x.narrow(-1, 0, k)), m)
    r = turned.mT
    if n > k:
        r = shape.cat([r, q.mT @ x.narrow(-1, k, n - k)], -1)
    if mode == "complete" and m > k:
        q = _completed(q, m)
        r = shape.cat([r, r.new_zeros((*r.shape[:-2], m - k, n))], -2)
    return _Qr(x.new_zeros(0) if mode == "r" else q, r)


def slogdet(A: Tensor) -> _Slogdet:
    """(sign, logabsdet): the determinant's sign, and the logarithm of its size."""
    packed = decompositions.slogdet(_matrix("slogdet", A))
    return _Slogdet(packed[..., 0].detach(), packed[..., 1])


def det(A: Tensor) -> Tensor:
    """The determinant of square matrices; its gradient is right at singular ones too."""
    x = _matrix("det", A)
    u, s, vh = svd(x, full_matrices=False)
    sign = slogdet(u.detach()).sign * slogdet(vh.detach()).sign
    if not x.shape[-1]:
        return x.new_ones(x.shape[:-2])
    return reduce.prod(s, -1) * sign


# ---------------------------------------------------------------------- norms
def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `dim`; of integers, in the default dtype."""
    if not is_number(ord):
        raise TypeError(f"linalg.vector_norm: ord: expected a number, got {ord!r}")
    value = x.to(dtype) if dtype is not None else _floats("vector_norm", x)
    dims = all_dims("linalg.vector_norm", x.ndim, dim)
    if ord < 0 and any(x.shape[d] == 0 for d in dims):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
            "operation does not have an identity"
        )
    if ord == math.inf and any(x.shape[d] == 0 for d in dims):
        return reduce.sum(value, dims, keepdim)
    return reduce.norm(value, ord, dims, keepdim)


def _floats(name: str, x: Tensor) -> Tensor:
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype}"
        )
    return x


def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of matrices: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got {A.ndim}"
        )
    x = A.to(dtype) if dtype is not None else _floats("matrix_norm", A)
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {tuple(dim)}")
    row, column = (one_dim("linalg.matrix_norm", A.ndim, d) for d in dim)
    if row == column:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({row}, {column})")
    x = shape.movedim(x, (row, column), (-2, -1))
    value = _matrix_norm(x, ord)
    if keepdim:
        for d in sorted((row, column)):
            value = value.unsqueeze(d)
    return value


def _matrix_norm(x: Tensor, ord: Any) -> Tensor:
    if ord == "fro":
        return reduce.norm(x, 2, (-2, -1))
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        return s.sum(-1) if ord == "nuc" else reduce.amax(s, -1) if ord == 2 else reduce.amin(s, -1)
    if ord in (1, -1, math.inf, -math.inf):
        sums = x.abs().sum(-2 if abs(ord) == 1 else -1)
        return reduce.amax(sums, -1) if ord > 0 else reduce.amin(sums, -1)
    raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")


def norm(
    A: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of vectors (over one dimension, or all elements) or of matrices (over two)."""
    pair = isinstance(dim, (tuple, list)) and len(dim) == 2
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.ndim}D."
        )
    if pair or (dim is None and A.ndim == 2) or isinstance(ord, str):
        return matrix_norm(A, ord, dim if pair else (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Any:
    """The condition number: the norm `p` (2) of a matrix times that of its inverse."""
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    x = _matrix("cond", A)
    if not x.numel():
        return x.new_zeros(x.shape[:-2])
    found = inv_ex(x)
    inverse = where((found.info != 0).unsqueeze(-1).unsqueeze(-1), math.inf, found.result)
    return matrix_norm(x, p) * matrix_norm(inverse, p)


def matrix_rank(
    A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False
) -> Tensor:
    """The number of singular values above max(atol, rtol * the largest), in int64.

    rtol is the larger length times the dtype's eps, and 0 where atol is given.
    """
    x = _matrix("matrix_rank", A, square=hermitian)
    if not x.numel():
        return x.new_zeros(x.shape[:-2], dtype=dtypes.int64)
    s = eigvalsh(x).abs() if hermitian else svdvals(x)
    least = _least(x, s, atol if tol is None else tol, rtol)
    return (s > least.unsqueeze(-1)).sum(-1)


def _least(x: Tensor, s: Tensor, atol: Any, rtol: Any) -> Tensor:
    if rtol is None:
        rtol = 0.0 if atol is not None else max(x.shape[-2:]) * finfo(x.dtype).eps
    relative: Tensor = reduce.amax(s.detach(), -1) * rtol
    if isinstance(atol, Tensor):
        return elementwise.maximum(relative, atol.to(relative.dtype))
    return relative.clamp(min=0.0 if atol is None else atol)


# ---------------------------------------------------------------------- products
matmul = _products.matmul
diagonal_of = shape.diagonal


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view."""
    return diagonal_of(A, offset, dim1, dim2)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product along a dimension of length 3."""
    return products.cross(input, other, dim)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Any:
    """The sums of products along `dim`."""
    product = x * y
    return reduce.sum(product, dim).to(product.dtype)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0, 1, ... of the elements along a new last dimension."""
    x = x.unsqueeze(0) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {n}")
    x = x if x.dtype.is_floating_point else x.long()
    powers = [x.new_ones(x.shape)]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    return shape.stack(powers, -1)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """The product of n factors A; of the inverse where n is negative."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        _matrix("matrix_power", A)
    n = whole_number("linalg.matrix_power", "n", n)
    base = inv(A) if n < 0 else A
    result = None
    rest = abs(n)
    while rest:
        if rest & 1:
            result = base if result is None else result @ base
        rest >>= 1
        base = base @ base if rest else base
    if result is None:
        return A.new_ones(A.shape[-1]).diag().expand(A.shape).clone()
    return result.clone() if result is A else result


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices (the first and last may be vectors) in the cheapest order."""
    if len(tensors) < 2:
        raise RuntimeError(f"linalg.multi_dot: expected at least 2 tensors but got {len(tensors)}")
    for i, x in enumerate(tensors):
        ends = i in (0, len(tensors) - 1)
        if x.ndim != 2 and not (ends and x.ndim == 1):
            raise RuntimeError(
                f"linalg.multi_dot: tensor {i} must be {'1D or ' * ends}2D but got {x.ndim}D"
            )
    first, last = tensors[0].ndim == 1, tensors[-1].ndim == 1
    chain = list(tensors)
    chain[0] = chain[0].unsqueeze(0) if first else chain[0]
    chain[-1] = chain[-1].unsqueeze(1) if last else chain[-1]
    result = _chained(chain)
    if first:
        result = result.squeeze(0)
    return result.squeeze(-1) if last else result


def _chained(chain: list[Tensor]) -> Tensor:
    """The product, by the order of least multiplications (dynamic programming)."""
    sizes = [chain[0].shape[0], *(x.shape[1] for x in chain)]
    n = len(chain)
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return chain[i]
        k = cost[i, j][1]
        return product(i, k) @ product(k + 1, j)

    return product(0, n - 1)


def matrix_exp(A: Tensor) -> Tensor:
    """The sum of Aⁿ / n! of square matrices, by scaling and squaring of Taylor's polynomial."""
    x = _matrix("matrix_exp", A)
    if not x.numel():
        return x.clone()
    size = float(x.detach().abs().sum(-1).max())
    squarings = max(0, math.ceil(math.log2(size)) + 2) if size > 0 and math.isfinite(size) else 0
    scaled = x / 2.0**squarings
    result = eye = x.new_ones(x.shape[-1]).diag().expand(x.shape)
    for n in range(14 if x.dtype is dtypes.float64 else 9, 0, -1):  # Horner's scheme
        result = eye + scaled @ result / n
    for _ in range(squarings):
        result = result @ result
    return result


guard(globals())

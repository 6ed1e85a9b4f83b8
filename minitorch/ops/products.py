"""Products made of the matrix product: with sums, over given dimensions, of blocks, distances."""

from __future__ import annotations

import math
from typing import Any

from minitorch.core.tensor import Tensor
from minitorch.operands import is_number, result_dtype
from minitorch.ops import linalg, reduce, shape
from minitorch.ops.arguments import one_dim

__all__ = ["addbmm", "addmm", "addmv", "addr", "baddbmm", "cdist", "cross", "inner", "kron"]
__all__ += ["tensordot", "vdot"]


# ---------------------------------------------------------------------- beta * x + alpha * product
def _added(name: str, x: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    if x.dtype is not product.dtype:
        raise RuntimeError(f"{name}: input is {x.dtype}, expected {product.dtype} as the factors")
    if not x.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)
    scaled = product if alpha == 1 else (product * alpha).to(product.dtype)
    if beta == 0:
        return scaled
    base = x if beta == 1 else (x * beta).to(x.dtype)
    try:
        base = shape.expand(base, scaled.shape)
    except RuntimeError:
        raise RuntimeError(
            f"{name}: input of shape {tuple(x.shape)} cannot be expanded to {tuple(scaled.shape)}"
        ) from None
    return base + scaled


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _added("addmm", input, linalg.mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _added("addmv", input, linalg.mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    dtype = result_dtype((vec1, vec2))
    product = linalg.outer(vec1.to(dtype), vec2.to(dtype))
    both = result_dtype((input, product))
    return _added("addr", input.to(both), product.to(both), beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    return _added("baddbmm", input, linalg.bmm(batch1, batch2), beta, alpha)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (the sum of batch1[i] @ batch2[i])."""
    product = linalg.bmm(batch1, batch2)
    total = reduce.sum(product, 0).to(product.dtype)
    return _added("addbmm", input, total, beta, alpha)


# ---------------------------------------------------------------------- products
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products along the last dimension of both; with a number, the product."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner: expected the last dimensions to agree, got {tuple(input.shape)} and "
            f"{tuple(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot`, which for complex numbers would differ."""
    return linalg.dot(input, other)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over dimensions of both: the last and first so many, or two lists."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if is_number(dims):
        n = int(dims)
        if n < 0:
            raise RuntimeError(f"tensordot: dims: expected a number >= 0, got {n}")
        lists: Any = (range(a.ndim - n, a.ndim), range(n))
    else:
        lists = [[d] if is_number(d) else list(d) for d in dims]
    first, second = ([one_dim("tensordot", x.ndim, d) for d in ds] for x, ds in zip((a, b), lists))
    if len(first) != len(second):
        raise RuntimeError(f"tensordot: got {len(first)} and {len(second)} dimensions to sum over")
    for i, j in zip(first, second):
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(j, keepdim=True).to(b.dtype)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, keepdim=True).to(a.dtype)
        elif a.shape[i] != b.shape[j]:
            raise RuntimeError(
                f"tensordot: dimension {i} of {tuple(a.shape)} and {j} of {tuple(b.shape)} differ"
            )
    rows = [d for d in range(a.ndim) if d not in first]
    columns = [d for d in range(b.ndim) if d not in second]
    n = math.prod(a.shape[d] for d in first)
    left = a.permute(rows + first).reshape(math.prod(a.shape[d] for d in rows), n)
    right = b.permute(second + columns).reshape(n, math.prod(b.shape[d] for d in columns))
    lengths = [*(a.shape[d] for d in rows), *(b.shape[d] for d in columns)]
    return linalg.mm(left, right).reshape(lengths)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: blocks of other, each times an element of input."""
    n = max(input.ndim, other.ndim)
    x, y = (z.reshape((1,) * (n - z.ndim) + tuple(z.shape)) for z in (input, other))
    product = x.reshape([m for k in x.shape for m in (k, 1)]) * y.reshape(
        [m for k in y.shape for m in (1, k)]
    )
    return product.reshape([a * b for a, b in zip(x.shape, y.shape)])


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along a dimension of length 3 (the first of that length if left out)."""
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of {tuple(input.shape)} has length 3")
    if input.ndim != other.ndim:
        raise RuntimeError(f"cross: expected equal dimensions, got {input.ndim} and {other.ndim}")
    d = one_dim("cross", input.ndim, dim)
    if input.shape[d] != 3 or other.shape[d] != 3:
        raise RuntimeError(
            f"cross: dimension {d} has length {input.shape[d]} and {other.shape[d]}, expected 3"
        )
    x, y = shape.broadcast_tensors(input, other)
    return x.roll(-1, d) * y.roll(-2, d) - x.roll(-2, d) * y.roll(-1, d)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The p-norms of all differences of rows: (*, n, d) and (*, m, d) -> (*, n, m).

    compute_mode is accepted and means nothing.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist: {name}: expected two dimensions or more, got {x.ndim}")
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist: {name}: expected a floating-point dtype, got {x.dtype}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"cdist: rows of {x1.shape[-1]} and {x2.shape[-1]} elements")
    if p < 0:
        raise RuntimeError(f"cdist: p: expected a number >= 0, got {p}")
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if not difference.shape[-1]:
        return reduce.sum(difference, -1)
    return reduce.norm(difference, p, -1)

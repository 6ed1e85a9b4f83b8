"""The op table's part of linear algebra: inverses, solutions, decompositions and their derivatives.

The formulas are written for batches of real matrices (Giles, "An extended collection of matrix
derivative results for forward and reverse mode AD", 2008; Seeger et al., "Auto-differentiating
linear algebra", 2017). A decomposition's results stand in one tensor, see `backend.solvers`.
"""

from __future__ import annotations

import math
from typing import Any

from minitorch.core.families import TensorFunction, general, sum_to
from minitorch.core.tensor import Tensor

__all__: list[str] = []  # `minitorch.linalg` has the functions


# ---------------------------------------------------------------------- helpers
def _eye(x: Tensor, n: int) -> Tensor:
    return x.new_ones(n).diag()


def _skew(x: Tensor) -> Tensor:
    return x - x.mT


def _lower_half(x: Tensor) -> Tensor:
    """The lower triangle with half of the diagonal: what a factor L takes of a symmetric change."""
    return x.tril(-1) + 0.5 * x.tril().triu()


def _gaps(values: Tensor) -> Tensor:
    """values[j] - values[i], infinite where that is 0: nothing turns equal values' vectors."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    return gaps.masked_fill(gaps == 0, math.inf)


def _off_diagonal(x: Tensor) -> Tensor:
    return x.tril(-1) + x.triu(1)


def _as_diagonal(x: Tensor) -> Tensor:
    return x.unsqueeze(-1) * _eye(x, x.shape[-1])


def split(packed: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The first rows of packed results, and the rest."""
    rest = packed.shape[-2] - rows
    return packed.narrow(-2, 0, rows), packed.narrow(-2, rows, rest)


# ---------------------------------------------------------------------- inverses, solutions
def _solve_vjp(g: Tensor, inputs: Any, x: Tensor, shapes: Any) -> list[Any]:
    along_b = solve(inputs[0].mT, g)
    return [
        None if shapes[0] is None else sum_to(-along_b @ x.mT, shapes[0]),
        None if shapes[1] is None else sum_to(along_b, shapes[1]),
    ]


def _solve_jvp(tangents: Any, inputs: Any, x: Tensor, shape: Any) -> Tensor:
    s, t = tangents
    moved = 0 if s is None else -(s @ x)
    return solve(inputs[0], moved if t is None else moved + t)


def _pinv_vjp(g: Tensor, inputs: Any, p: Tensor, shapes: Any, **params: Any) -> list[Tensor]:
    a = inputs[0]
    left, right = _eye(a, a.shape[-2]) - a @ p, _eye(a, a.shape[-1]) - p @ a
    first = -p.mT @ g @ p.mT
    return [first + left @ g.mT @ p @ p.mT + p.mT @ p @ g.mT @ right]


def _pinv_jvp(tangents: Any, inputs: Any, p: Tensor, shape: Any, **params: Any) -> Tensor:
    a, t = inputs[0], tangents[0]
    left, right = _eye(a, a.shape[-2]) - a @ p, _eye(a, a.shape[-1]) - p @ a
    moved: Tensor = -p @ t @ p + p @ p.mT @ t.mT @ left + right @ t.mT @ p.mT @ p
    return moved


inv: TensorFunction = general(
    "inv",
    lambda g, inputs, z, shapes: [-z.mT @ g @ z.mT],
    lambda ts, inputs, z, shape: -z @ ts[0] @ z,
    save_output=True,
)
solve: TensorFunction = general("solve", _solve_vjp, _solve_jvp, save_inputs=True, save_output=True)
pinv = general("pinv", _pinv_vjp, _pinv_jvp, save_inputs=True, save_output=True)
slogdet = general(
    "slogdet",
    lambda g, inputs, z, shapes: [g.narrow(-1, 1, 1).unsqueeze(-1) * inv(inputs[0]).mT],
    lambda ts, inputs, z, shape: _beside_zero((inv(inputs[0]).mT * ts[0]).sum((-2, -1))),
    save_inputs=True,
)


def _beside_zero(x: Tensor) -> Tensor:
    return x.new_zeros(x.shape).unsqueeze(-1)._cat(x.unsqueeze(-1), dim=-1)


# ---------------------------------------------------------------------- decompositions
def _cholesky_vjp(g: Tensor, inputs: Any, z: Tensor, shapes: Any) -> list[Tensor]:
    back = inv(z)
    both = back.mT @ _lower_half(z.mT @ g) @ back
    return [(both + both.mT) / 2]


def _cholesky_jvp(tangents: Any, inputs: Any, z: Tensor, shape: Any) -> Tensor:
    back = inv(z)
    both = (tangents[0] + tangents[0].mT) / 2
    return z @ _lower_half(back @ both @ back.mT)


def _eigh_vjp(g: Tensor, inputs: Any, z: Tensor, shapes: Any, upper: bool) -> list[Tensor]:
    n = z.shape[-1]
    (v, values), (along_v, along_values) = split(z, n), split(g, n)
    inner = _off_diagonal(v.mT @ along_v) / _gaps(values.squeeze(-2))
    return [v @ (inner + _as_diagonal(along_values.squeeze(-2))) @ v.mT]


def _eigh_jvp(tangents: Any, inputs: Any, z: Tensor, shape: Any, upper: bool) -> Tensor:
    v, values = split(z, z.shape[-1])
    inner = v.mT @ ((tangents[0] + tangents[0].mT) / 2) @ v
    turned = v @ (_off_diagonal(inner) / _gaps(values.squeeze(-2)))
    return turned._cat(inner.diagonal(0, -2, -1).unsqueeze(-2), dim=-2)


def _of_svd(packed: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    u, rest = split(packed, rows)
    s, v = split(rest, 1)
    return u, s.squeeze(-2), v


def _svd_vjp(g: Tensor, inputs: Any, z: Tensor, shapes: Any) -> list[Tensor]:
    m, n = shapes[0][-2:]
    u, s, v = _of_svd(z, m)
    along_u, along_s, along_v = _of_svd(g, m)
    gaps = _gaps(s * s)
    inner = _skew(u.mT @ along_u) / gaps * s.unsqueeze(-2)
    inner = inner + s.unsqueeze(-1) * (_skew(v.mT @ along_v) / gaps) + _as_diagonal(along_s)
    result = u @ inner @ v.mT
    if m > s.shape[-1]:
        rest = along_u - u @ (u.mT @ along_u)
        result = result + rest / s.unsqueeze(-2) @ v.mT
    if n > s.shape[-1]:
        rest = along_v - v @ (v.mT @ along_v)
        result = result + u @ (rest / s.unsqueeze(-2)).mT
    return [result]


def _svd_jvp(tangents: Any, inputs: Any, z: Tensor, shape: Any) -> Tensor:
    t = tangents[0]
    u, s, v = _of_svd(z, t.shape[-2])
    inner = u.mT @ t @ v
    row, column, gaps = s.unsqueeze(-2), s.unsqueeze(-1), _gaps(s * s)
    moved_u = u @ _off_diagonal((inner * row + column * inner.mT) / gaps)
    moved_v = v @ _off_diagonal((column * inner + inner.mT * row) / gaps)
    if t.shape[-2] > s.shape[-1]:
        moved_u = moved_u + (t @ v - u @ (u.mT @ (t @ v))) / row
    if t.shape[-1] > s.shape[-1]:
        moved_v = moved_v + (t.mT @ u - v @ (v.mT @ (t.mT @ u))) / row
    return moved_u._cat(inner.diagonal(0, -2, -1).unsqueeze(-2), moved_v, dim=-2)


def _qr_vjp(g: Tensor, inputs: Any, z: Tensor, shapes: Any) -> list[Tensor]:
    m = shapes[0][-2]
    (q, r), (along_q, along_r) = split(z, m), split(g, m)  # r and its gradient transposed
    inner = r.mT @ along_r - along_q.mT @ q
    both = inner.tril() + inner.tril(-1).mT
    return [solve(r.mT, (along_q + q @ both).mT).mT]


def _qr_jvp(tangents: Any, inputs: Any, z: Tensor, shape: Any) -> Tensor:
    t = tangents[0]
    q, r = split(z, t.shape[-2])
    moved = solve(r, t.mT).mT
    inner = q.mT @ moved
    turn = _skew(inner.tril(-1))
    moved_q = moved + q @ (turn - inner)
    return moved_q._cat(((inner - turn) @ r.mT).mT, dim=-2)


cholesky = general("cholesky", _cholesky_vjp, _cholesky_jvp, save_output=True)
eigh = general("eigh", _eigh_vjp, _eigh_jvp, save_output=True)
svd = general("svd", _svd_vjp, _svd_jvp, save_output=True)
qr = general("qr", _qr_vjp, _qr_jvp, save_output=True)

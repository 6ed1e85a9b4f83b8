"""Products of vectors, matrices and tensors, all by way of one bilinear op."""

from __future__ import annotations

import math
from typing import Any

from minitorch import autocasting
from minitorch.core import dtypes
from minitorch.core.families import TensorFunction, bilinear
from minitorch.core.tensor import Tensor
from minitorch.operands import conversion, result_dtype, same_device
from minitorch.ops.arguments import need_tensor

__all__ = ["bmm", "dot", "einsum", "matmul", "mm", "mv", "outer"]

# Both arguments have two dimensions or more here; leading ones broadcast.
_matmul: TensorFunction = bilinear(
    "matmul",
    lambda g, x_shape, y: _matmul(g, y.mT),
    lambda g, x, y_shape: _matmul(x.mT, g),
)


def _prepare(name: str, *tensors: Any) -> list[Tensor]:
    """Tensors on one device, in their common dtype."""
    for i, x in enumerate(tensors):
        need_tensor(name, ("input", "other")[i] if len(tensors) == 2 else f"operand {i}", x)
    same_device(name, tensors)
    first = tensors[0].array.dtype
    if any(x.array.dtype != first for x in tensors[1:]):
        given = [x.dtype for x in tensors]
        # NumPy's data is float64 as a rule, and what it meets has the default dtype.
        default = dtypes.get_default_dtype()
        wanted = default if default in given else result_dtype(tensors)
        raise RuntimeError(
            f"{name}: expected operands of the same dtype, got "
            f"{' and '.join(d.name for d in given)}; use {conversion(wanted)}"
        )
    return list(tensors)


def _mismatch(name: str, x: Tensor, y: Tensor, n: int, m: int) -> RuntimeError:
    return RuntimeError(f"{name}: {tuple(x.shape)} @ {tuple(y.shape)}: {n} ≠ {m}")


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product of the last two dimensions, the others broadcast; vectors as in PyTorch.

    RuntimeError where the inner lengths differ, as in `matmul: (3, 4) @ (5, 6): 4 ≠ 5`.
    """
    if autocasting.state.dtypes:
        input, other = autocasting.casted("matmul", input, other)
    if isinstance(input, Tensor) and isinstance(
        other, Tensor
    ):  # two matrices that fit: no more ado
        a, b = input.array, other.array
        fit = type(a) is type(b) and a.dtype is b.dtype and a.ndim == b.ndim == 2
        if fit and a.shape[1] == b.shape[0]:
            return _matmul(input, other)
    x, y = _prepare("matmul", input, other)
    if x.ndim == 0 or y.ndim == 0:
        raise RuntimeError(
            f"matmul: {tuple(x.shape)} @ {tuple(y.shape)}: both need at least 1 dimension"
        )
    inner_x, inner_y = x.array.shape[-1], y.array.shape[max(y.ndim - 2, 0)]
    if inner_x != inner_y:
        raise _mismatch("matmul", x, y, inner_x, inner_y)
    left = x.unsqueeze(0) if x.ndim == 1 else x
    right = y.unsqueeze(1) if y.ndim == 1 else y
    try:
        result: Tensor = _matmul(left, right)
    except ValueError:
        raise RuntimeError(
            f"matmul: {tuple(x.shape)} @ {tuple(y.shape)}: the leading dimensions do not broadcast"
        ) from None
    if x.ndim == 1:
        result = result.squeeze(-2)
    return result.squeeze(-1) if y.ndim == 1 else result


def _with_dims(name: str, x: Tensor, y: Tensor, n: int, m: int) -> None:
    need_tensor(name, "input", x)
    need_tensor(name, "other", y)
    if x.ndim != n or y.ndim != m:
        raise RuntimeError(
            f"{name}: expected {n}-D and {m}-D tensors, got {tuple(x.shape)} and {tuple(y.shape)}"
        )


def _as_listed(name: str, x: Tensor, y: Tensor) -> Tensor:
    """The product, in the dtype that autocast gives the function of this name."""
    if not autocasting.state.dtypes:
        return matmul(x, y)
    x, y = autocasting.casted(name, x, y)
    with autocasting.off():
        return matmul(x, y)


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices."""
    _with_dims("mm", input, mat2, 2, 2)
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    _with_dims("mv", input, vec, 2, 1)
    return _as_listed("mv", input, vec)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two equally long stacks of matrices: (b, n, k) @ (b, k, m)."""
    _with_dims("bmm", input, mat2, 3, 3)
    if input.array.shape[0] != mat2.array.shape[0]:
        raise RuntimeError(
            f"bmm: {tuple(input.shape)} @ {tuple(mat2.shape)}: "
            f"{input.array.shape[0]} ≠ {mat2.array.shape[0]} (batch)"
        )
    return matmul(input, mat2)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """Scalar product of two vectors."""
    _with_dims("dot", input, other, 1, 1)
    return _as_listed("dot", input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of the elements of two vectors: (n,), (m,) -> (n, m)."""
    _with_dims("outer", input, vec2, 1, 1)
    return input.unsqueeze(1) * vec2


# ---------------------------------------------------------------------- einsum
def _terms(equation: str, operands: list[Tensor]) -> tuple[list[str], str]:
    """The labels of each operand and of the result; an ellipsis becomes labels."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise RuntimeError(
            f"einsum: {equation!r} names {len(inputs)} operands, got {len(operands)}"
        )
    spare = [c for c in map(chr, range(0x3B1, 0x3C9)) if c not in text]  # Greek, for "..."
    hidden = 0
    for i, (labels, x) in enumerate(zip(inputs, operands, strict=True)):
        if "..." in labels:
            count = x.ndim - (len(labels) - 3)
            hidden = max(hidden, count)
            inputs[i] = labels.replace("...", "".join(spare[:count][::-1]) if count else "")
    ellipsis = "".join(spare[:hidden][::-1])
    if not arrow:
        joined = "".join(inputs)
        named = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in ellipsis)
        right = ellipsis + "".join(named)
    else:
        right = right.replace("...", ellipsis)
    for labels, x in zip(inputs, operands, strict=True):
        if not labels.isalpha() and labels:
            raise RuntimeError(f"einsum: {equation!r}: labels must be letters")
        if len(labels) != x.ndim:
            raise RuntimeError(
                f"einsum: {equation!r}: {len(labels)} labels for shape {tuple(x.shape)}"
            )
    for label in right:
        if right.count(label) > 1 or not any(label in labels for labels in inputs):
            raise RuntimeError(
                f"einsum: {equation!r}: output label {label!r} must be in the input, and once"
            )
    return inputs, right


def _diagonals(x: Tensor, labels: str) -> tuple[Tensor, str]:
    """Repeated labels of one operand taken along their diagonal."""
    for label in labels:
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            x = x.diagonal(0, i, j)
            labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + label
    return x, labels


def _sum_out(x: Tensor, labels: str, keep: set[str]) -> tuple[Tensor, str]:
    gone = [i for i, c in enumerate(labels) if c not in keep]
    return (x.sum(gone) if gone else x), "".join(c for c in labels if c in keep)


def _arrange(x: Tensor, labels: str, wanted: str) -> Tensor:
    """x's dimensions in the order of `wanted`, with length 1 where x lacks the label."""
    x = x.permute([labels.index(c) for c in wanted if c in labels])
    for i, c in enumerate(wanted):
        if c not in labels:
            x = x.unsqueeze(i)
    return x


def _contract(x: Tensor, a: str, y: Tensor, b: str, keep: set[str]) -> tuple[Tensor, str]:
    """Two operands into one, as a batched matrix product; common labels in `keep` are the batch."""
    x, a = _sum_out(x, a, keep | set(b))
    y, b = _sum_out(y, b, keep | set(a))
    batch = "".join(c for c in a if c in b and c in keep)
    summed = "".join(c for c in a if c in b and c not in keep)
    rows = "".join(c for c in a if c not in b)
    columns = "".join(c for c in b if c not in a)
    length = {c: n for labels, t in ((a, x), (b, y)) for c, n in zip(labels, t.shape, strict=True)}
    for c in batch + summed:
        n, m = x.shape[a.index(c)], y.shape[b.index(c)]
        length[c] = max(n, m)
    size = {part: math.prod(length[c] for c in part) for part in (rows, columns)}
    left = _arrange(x, a, batch + rows + summed)
    right = _arrange(y, b, batch + summed + columns)
    left = left.expand([length[c] for c in batch + rows + summed])
    right = right.expand([length[c] for c in batch + summed + columns])
    inner = math.prod(length[c] for c in summed)
    lead = [length[c] for c in batch]
    product = matmul(
        left.reshape((*lead, size[rows], inner)), right.reshape((*lead, inner, size[columns]))
    )
    labels = batch + rows + columns
    return product.reshape([length[c] for c in labels]), labels


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum of products in Einstein's notation: `einsum("bij,bjk->bik", x, y)`.

    Without an arrow, labels that occur once stay, in alphabetical order; "..." broadcasts.

    >>> x, y = minitorch.ones(5, 2, 3), minitorch.ones(5, 3, 4)
    >>> minitorch.einsum("bij,bjk->bik", x, y).shape
    minitorch.Size([5, 2, 4])
    """
    tensors = list(
        operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    )
    if not tensors:
        raise RuntimeError("einsum: expected at least one operand")
    _prepare("einsum", *tensors)
    inputs, output = _terms(equation, tensors)
    _check_lengths(equation, inputs, tensors)
    pairs = [_diagonals(x, labels) for x, labels in zip(tensors, inputs, strict=True)]
    x, labels = pairs[0]
    for i, (y, other) in enumerate(pairs[1:], start=1):
        later = set(output).union(*(set(q[1]) for q in pairs[i + 1 :]))
        x, labels = _contract(x, labels, y, other, later)
    x, labels = _sum_out(x, labels, set(output))
    return x.permute([labels.index(c) for c in output])


def _check_lengths(equation: str, inputs: list[str], tensors: list[Tensor]) -> None:
    length: dict[str, int] = {}
    for labels, x in zip(inputs, tensors, strict=True):
        for c, n in zip(labels, x.shape, strict=True):
            if length.setdefault(c, n) == 1:
                length[c] = n
            elif n not in (1, length[c]):
                raise RuntimeError(
                    f"einsum: {equation!r}: label {c!r} has length {length[c]} and {n}"
                )

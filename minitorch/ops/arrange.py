"""Arrangements made of the shape ops: stacks, splits, padding, copies of views, writes to views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import combinations as _combinations
from itertools import combinations_with_replacement
from typing import Any

from minitorch import creation
from minitorch.core import dtypes
from minitorch.core.dtypes import Size
from minitorch.core.families import sum_to
from minitorch.core.tensor import Tensor
from minitorch.ops import shape
from minitorch.ops.arguments import (
    is_whole,
    need_indices,
    need_tensor,
    one_dim,
    spread,
    whole_number,
)
from minitorch.ops.convert import clone
from minitorch.ops.inplace import copy_

__all__ = ["alias_copy", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag"]
__all__ += ["broadcast_shapes", "cartesian_prod", "column_stack", "combinations", "constant_pad_nd"]
__all__ += ["diag_embed", "diagflat", "diagonal_copy", "diagonal_scatter", "dsplit", "dstack"]
__all__ += ["expand_copy", "fliplr", "flipud", "hsplit", "narrow_copy", "permute_copy", "ravel"]
__all__ += ["rot90", "select", "select_copy", "select_scatter", "slice_scatter", "split_with_sizes"]
__all__ += ["split_with_sizes_copy", "squeeze_copy", "sum_to_size", "t_copy", "tensor_split"]
__all__ += ["tile", "transpose_copy", "tril_indices", "triu_indices", "unbind_copy", "unfold"]
__all__ += ["unfold_copy", "unravel_index", "unsqueeze_copy", "vander", "view_copy", "vsplit"]


# ---------------------------------------------------------------------- parts
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one position along `dim`, which is gone, as a view."""
    d = one_dim("select", input.ndim, dim)
    i = whole_number("select", "index", index)
    if input.ndim == 0:
        raise IndexError("select: a 0-d tensor has no dimension to select from")
    return input[(slice(None),) * d + (i,)]


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All pieces of `size` elements along a dimension, `step` apart: (..., pieces, ..., size).

    A copy, where PyTorch gives a view.
    """
    d = one_dim("unfold", input.ndim, dimension)
    n = input.array.shape[d] if input.ndim else 1
    if not 0 <= size <= n:
        raise RuntimeError(f"unfold: size: expected 0 to {n} (length of dim {d}), got {size}")
    if step <= 0:
        raise RuntimeError(f"unfold: step: expected a positive number, got {step}")
    if input.ndim == 0:
        return input.reshape(1)[:size]
    starts = creation.arange(0, n - size + 1, step, device=input.device)
    positions = starts.unsqueeze(1) + creation.arange(size, device=input.device)
    pieces = input[(slice(None),) * d + (positions,)]
    return shape.movedim(pieces, d + 1, -1)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split` into parts of given sizes."""
    return shape.split(input, list(split_sizes), dim)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts along `dim`: so many of about one size, or cut before these indices."""
    if input.ndim == 0:
        raise RuntimeError("tensor_split: a 0-d tensor cannot be split")
    d = one_dim("tensor_split", input.ndim, dim)
    n = input.array.shape[d]
    cuts = indices_or_sections
    if isinstance(cuts, Tensor):
        cuts = cuts.tolist()
    if is_whole(cuts):
        parts = whole_number("tensor_split", "sections", cuts)
        if parts <= 0:
            raise RuntimeError(f"tensor_split: sections: expected a positive number, got {parts}")
        small, larger = divmod(n, parts)
        cuts = [i * small + min(i, larger) for i in range(1, parts)]
    bounds = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, n])]
    return tuple(input[(slice(None),) * d + (part,)] for part in bounds)


def _splitting(name: str, least: int, dim_of: Callable[[int], int], text: str) -> Any:
    def f(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        if input.ndim < least:
            raise RuntimeError(f"{name}: expected {least} dimensions or more, got {input.ndim}")
        d, sections = dim_of(input.ndim), indices_or_sections
        if isinstance(sections, str):
            raise TypeError(f"{name}: expected a number of parts or indices, got {sections!r}")
        if is_whole(sections) and (sections < 1 or input.shape[d] % sections):
            raise RuntimeError(
                f"{name}: dimension {d} of length {input.shape[d]} cannot be split into {sections}"
            )
        return tensor_split(input, sections, d)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"`tensor_split` along {text}; a number of parts must divide the length."
    return f


hsplit = _splitting(
    "hsplit", 1, lambda n: min(n - 1, 1), "the second dimension, of vectors the first"
)
vsplit = _splitting("vsplit", 2, lambda n: 0, "the first dimension")
dsplit = _splitting("dsplit", 3, lambda n: 2, "the third dimension")


# ---------------------------------------------------------------------- copies of views
def _copying(view: Callable[..., Any]) -> Any:
    @wraps(view)
    def f(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = view(input, *args, **kwargs)
        return tuple(map(clone, found)) if isinstance(found, tuple) else clone(found)

    f.__name__ = f.__qualname__ = f"{view.__name__}_copy"
    f.__module__ = __name__
    f.__doc__ = f"A copy of what `{view.__name__}` views."
    return f


def _alias(input: Tensor) -> Tensor:
    return input


_alias.__name__ = "alias"
alias_copy = _copying(_alias)
diagonal_copy = _copying(shape.diagonal)
expand_copy = _copying(shape.expand)
narrow_copy = _copying(shape.narrow)
permute_copy = _copying(shape.permute)
select_copy = _copying(select)
split_with_sizes_copy = _copying(split_with_sizes)
squeeze_copy = _copying(shape.squeeze)
t_copy = _copying(shape.t)
transpose_copy = _copying(shape.transpose)
unbind_copy = _copying(shape.unbind)
unfold_copy = _copying(unfold)
unsqueeze_copy = _copying(shape.unsqueeze)
view_copy = _copying(shape.view)


# ---------------------------------------------------------------------- writes to views
def _written(name: str, input: Tensor, src: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of input, in which src stands where the view points."""
    result = clone(input)
    target = view(result)
    if tuple(target.shape) != tuple(need_tensor(name, "src", src).shape):
        raise RuntimeError(
            f"{name}: src has shape {tuple(src.shape)}, expected {tuple(target.shape)}"
        )
    copy_(target, src)
    return result


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input, with src in place of `select(dim, index)`."""
    return _written("select_scatter", input, src, lambda x: select(x, dim, index))


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of input, with src in place of `diagonal(offset, dim1, dim2)`."""
    return _written("diagonal_scatter", input, src, lambda x: shape.diagonal(x, offset, dim1, dim2))


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of input, with src in place of the slice start:end:step along `dim`."""
    d = one_dim("slice_scatter", input.ndim, dim)
    key = (slice(None),) * d + (slice(start, end, step),)
    return _written("slice_scatter", input, src, lambda x: x[key])


# ---------------------------------------------------------------------- joining
def _each(tensors: tuple[Any, ...], of_one: Callable[[Tensor], Tensor]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return of_one(tensors[0])
    return tuple(map(of_one, spread(tensors)))


def atleast_1d(*tensors: Any) -> Any:
    """A tensor with one dimension at least; of several, a tuple."""
    return _each(tensors, lambda x: x.reshape(1) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """A tensor with two dimensions at least, new ones in front; of several, a tuple."""
    return _each(tensors, lambda x: x.reshape((1,) * (2 - x.ndim) + tuple(x.shape)))


def atleast_3d(*tensors: Any) -> Any:
    """A tensor with three dimensions at least: (1, n, 1) and (n, m, 1); of several, a tuple."""

    def of_one(x: Tensor) -> Tensor:
        x = atleast_1d(x) if x.ndim == 0 else x
        x = x.unsqueeze(0) if x.ndim == 1 else x
        return x.unsqueeze(-1) if x.ndim == 2 else x

    return _each(tensors, of_one)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`hstack`, of vectors as columns."""
    return shape.hstack([x.reshape(-1, 1) if x.ndim < 2 else x for x in tensors])


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of three dimensions, see `atleast_3d`, joined along the third."""
    if not tensors:
        raise RuntimeError("dstack: tensors: expected a non-empty list of tensors")
    return shape.cat([atleast_3d(x) for x in tensors], 2)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with these matrices (vectors are rows) on its diagonal, the rest 0."""
    blocks = [
        atleast_2d(need_tensor("block_diag", f"tensors[{i}]", x)) for i, x in enumerate(tensors)
    ]
    if any(x.ndim > 2 for x in blocks):
        raise RuntimeError("block_diag: expected tensors of two dimensions or fewer")
    width = sum(x.shape[1] for x in blocks)
    rows, left = [], 0
    for x in blocks:
        rows.append(_padded(x, (left, width - left - x.shape[1]), 0))
        left += x.shape[1]
    return shape.cat(rows, 0)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of the elements of vectors, in rows; of one vector itself."""
    if len(tensors) == 1:
        return tensors[0]
    grids = shape.meshgrid(*tensors, indexing="ij")
    return shape.stack([g.reshape(-1) for g in grids], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in rows."""
    if input.ndim != 1:
        raise RuntimeError(f"combinations: expected 1 dimension, got {input.ndim}")
    if not 0 <= r < 2**10:
        raise RuntimeError(f"combinations: r: expected a number from 0 to {2**10}, got {r}")
    choose = combinations_with_replacement if with_replacement else _combinations
    rows = list(choose(range(len(input)), r))
    if not rows or r == 0:
        return input.new_zeros((len(rows) if r else 0, r) if r else (0,))
    return input[creation.tensor(rows, device=input.device)]


# ---------------------------------------------------------------------- padding, repeating
def _padded(x: Tensor, pad: Sequence[int], value: float) -> Tensor:
    """x with constants around it; `pad` as in `constant_pad_nd`."""
    sides = list(zip(pad[::2], pad[1::2]))[::-1]
    sides = [(0, 0)] * (x.ndim - len(sides)) + sides
    for d, (before, after) in enumerate(sides):
        cut = [max(-before, 0), x.shape[d] - max(-after, 0)]
        if cut[0] > cut[1] or x.shape[d] + before + after < 0:
            raise RuntimeError(
                f"pad: {before} and {after} leave nothing of dimension {d}: {x.shape[d]}"
            )
        x = shape.narrow(x, d, cut[0], cut[1] - cut[0])
        lengths = [(*x.shape[:d], max(n, 0), *x.shape[d + 1 :]) for n in (before, after)]
        ends = [x.new_full(n, value, dtype=x.dtype) for n in lengths]
        if before > 0 or after > 0:
            x = shape.cat([ends[0], x, ends[1]], d)
    return x


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """`value` around a tensor: pad has numbers before and after, for the last dimension first.

    A negative number cuts elements off.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: expected an even number of lengths, at most {2 * input.ndim}, got {len(pad)}"
        )
    return clone(input) if not any(pad) else _padded(input, pad, value)


def tile(input: Tensor, *dims: Any) -> Tensor:
    """`repeat`, for a tensor of more dimensions too, which are repeated once."""
    times = spread(dims)
    return shape.repeat(input, (1,) * (input.ndim - len(times)) + tuple(times))


def ravel(input: Tensor) -> Tensor:
    """The elements in one dimension."""
    return shape.reshape(input, (-1,))


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """The plane of two dimensions turned k times by 90 degrees, from the first to the second."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: dims: expected two dimensions, got {tuple(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected two dimensions or more, got {input.ndim}")
    a, b = (one_dim("rot90", input.ndim, d) for d in dims)
    if a == b:
        raise RuntimeError(f"rot90: dims: expected different dimensions, got {tuple(dims)}")
    turns = k % 4
    if turns == 2:
        return shape.flip(input, a, b)
    if turns == 0:
        return clone(input)
    flipped = shape.flip(input, b if turns == 1 else a)
    return shape.transpose(flipped, a, b)


def fliplr(input: Tensor) -> Tensor:
    """The order along the second dimension reversed."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: expected two dimensions or more, got {input.ndim}")
    return shape.flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The order along the first dimension reversed."""
    if input.ndim < 1:
        raise RuntimeError("flipud: expected a dimension or more, got none")
    return shape.flip(input, 0)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions that broadcasting from `size` would make."""
    wanted = spread(size)
    lead = input.ndim - len(wanted)
    fits = lead >= 0 and all(n in (1, m) for n, m in zip(wanted, input.shape[max(lead, 0) :]))
    if not fits:
        raise RuntimeError(f"sum_to_size: {wanted} does not broadcast to {tuple(input.shape)}")
    return sum_to(input, tuple(wanted))


# ---------------------------------------------------------------------- diagonals, indices
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension as the diagonal over two new dimensions."""
    n = input.ndim + 1
    a, b = one_dim("diag_embed", n, dim1), one_dim("diag_embed", n, dim2)
    if a == b:
        raise RuntimeError(f"diag_embed: dim1 and dim2 are the same dimension, {a}")
    size = input.shape[-1] + abs(offset)
    canvas = input.new_zeros((*input.shape[:-1], size, size))
    whole = diagonal_scatter(canvas, input, offset, -2, -1)
    order = list(range(n - 2))
    for d, axis in sorted(((a, n - 2), (b, n - 1))):
        order.insert(d, axis)
    return shape.permute(whole, order)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flattened tensor on its diagonal."""
    return shape.diag(input.reshape(-1), offset)


def _indices(row: int, col: int, offset: int, upper: bool, dtype: Any, device: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"row and col: expected numbers >= 0, got {row} and {col}")
    rows = creation.arange(row, device=device).unsqueeze(1)
    above = creation.arange(col, device=device) - rows
    mask = above >= offset if upper else above <= offset
    return mask.nonzero().mT.to(dtypes.int64 if dtype is None else dtype)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Rows and columns of a matrix' lower triangle: int64 (2, n)."""
    return _indices(row, col, offset, False, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Rows and columns of a matrix' upper triangle: int64 (2, n)."""
    return _indices(row, col, offset, True, dtype, device)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements in rows, by falling exponents."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: x: expected 1 dimension, got {x.ndim}")
    n = len(x) if N is None else N
    if not 0 <= n < 2**20:
        raise RuntimeError(f"vander: N: expected a number from 0 to {2**20}, got {N}")
    x = x.long() if not x.dtype.is_floating_point else x
    powers: list[Tensor] = [x.new_ones(x.shape)]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    if n == 0:
        return x.new_zeros((len(x), 0))
    return shape.stack(powers if increasing else powers[::-1], 1)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which these shapes broadcast."""
    given = [(s,) if is_whole(s) else tuple(s) for s in shapes]
    result = [1] * max(map(len, given), default=0)
    for s in given:
        for i, n in enumerate(s, start=len(result) - len(s)):
            if n < 0:
                raise RuntimeError(f"broadcast_shapes: lengths cannot be negative, got {s}")
            if n != 1 and result[i] not in (1, n):
                raise RuntimeError(f"broadcast_shapes: {given} do not broadcast")
            result[i] = n if n != 1 else result[i]
    return Size(result)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Indices of a flattened tensor as indices of each dimension of `shape`."""
    lengths = (shape,) if is_whole(shape) else tuple(shape)
    need_indices("unravel_index", "indices", indices, math.prod(lengths))
    rest, found = indices, []
    for n in reversed(lengths):
        found.append(rest % n)
        rest = rest // n
    return tuple(found[::-1])

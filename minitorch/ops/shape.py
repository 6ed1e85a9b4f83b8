"""Ops that change the shape or the order of elements. All linear; most are views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minitorch import creation
from minitorch.core import dtypes
from minitorch.core.families import TensorFunction, general, linear, sum_to
from minitorch.core.tensor import Tensor
from minitorch.operands import result_dtype, same_device
from minitorch.ops.arguments import (
    is_whole,
    named_dims,
    need_tensor,
    one_dim,
    spread,
    whole_number,
)
from minitorch.ops.convert import clone

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "diag",
    "diagonal",
    "flatten",
    "flip",
    "hstack",
    "meshgrid",
    "movedim",
    "narrow",
    "permute",
    "repeat_interleave",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "t",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vstack",
]


# ---------------------------------------------------------------------- the table
def _inverse(dims: Sequence[int]) -> tuple[int, ...]:
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d] = i
    return tuple(back)


def _cat_vjp(
    g: Tensor, inputs: Any, output: Any, shapes: Any, dim: int, lengths: tuple[int, ...]
) -> list[Any]:
    grads: list[Any] = []
    start = 0
    for shape, length in zip(shapes, lengths, strict=True):
        grads.append(None if shape is None else g.narrow(dim, start, length))
        start += length
    return grads


def _cat_jvp(
    tangents: Any, inputs: Any, output: Any, shape: Any, dim: int, lengths: tuple[int, ...]
) -> Tensor:
    like = next(t for t in tangents if t is not None)
    parts = [
        like.new_zeros((*shape[:dim], length, *shape[dim + 1 :])) if t is None else t
        for t, length in zip(tangents, lengths, strict=True)
    ]
    return _cat(*parts, dim=dim, lengths=lengths)


_view = linear("view", lambda g, x_shape, shape: reshaped(g, x_shape), view=True)
_expand = linear("expand", lambda g, x_shape, shape: sum_to(g, x_shape), view=True)
_permute: TensorFunction = linear(
    "permute", lambda g, shape, dims: _permute(g, dims=_inverse(dims)), view=True
)
_diagonal = linear(
    "diagonal",
    lambda g, shape, dim1, dim2: _diagonal_backward(g, shape=shape, dim1=dim1, dim2=dim2),
    view=True,
)
_diagonal_backward: TensorFunction = linear(
    "diagonal_backward", lambda g, x_shape, shape, dim1, dim2: g.diagonal(0, dim1, dim2)
)
_flip: TensorFunction = linear("flip", lambda g, shape, dims: _flip(g, dims=dims))
_roll: TensorFunction = linear(
    "roll",
    lambda g, shape, shifts, dims: _roll(g, shifts=tuple(-s for s in shifts), dims=dims),
)
_tril: TensorFunction = linear("tril", lambda g, shape, diagonal: _tril(g, diagonal=diagonal))
_triu: TensorFunction = linear("triu", lambda g, shape, diagonal: _triu(g, diagonal=diagonal))
_cat = general("cat", _cat_vjp, _cat_jvp)


# ---------------------------------------------------------------------- shapes known to fit
def reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`reshape` to a shape of as many elements, without a check."""
    try:
        return _view(x, shape=shape)
    except ValueError:
        return _view(clone(x), shape=shape)


def expanded(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`expand` to a shape that x broadcasts to, without a check."""
    return _view(x, shape=shape) if shape == x.array.shape else _expand(x, shape=shape)


# ---------------------------------------------------------------------- shapes
def _resolve(name: str, x: Tensor, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A target shape with its -1, if there is one, worked out; RuntimeError if it does not fit."""
    lengths = [n if type(n) is int else whole_number(name, "shape", n) for n in shape]
    size = x.array.size
    if -1 in lengths:
        inferred = lengths.index(-1)
        known = math.prod(lengths[:inferred] + lengths[inferred + 1 :])
        if lengths.count(-1) > 1:
            raise RuntimeError(f"{name}: only one dimension can be inferred, got {tuple(lengths)}")
        if known == 0 or size % known:
            raise RuntimeError(
                f"{name}: shape {tuple(lengths)} is invalid for input of size {size}"
            )
        lengths[inferred] = size // known
    if min(lengths, default=0) < 0 or math.prod(lengths) != size:
        raise RuntimeError(
            f"{name}: shape {tuple(lengths)} is invalid for input of shape {tuple(x.shape)} "
            f"(size {size})"
        )
    return tuple(lengths)


def view(input: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape (one length may be -1); RuntimeError if that cannot be."""
    wanted = _resolve("view", input, spread(shape))
    try:
        return _view(input, shape=wanted)
    except ValueError:
        raise RuntimeError(
            f"view: shape {wanted} is not compatible with the input's shape "
            f"{tuple(input.shape)} and stride {input.stride()}; use .reshape(...) instead"
        ) from None


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in another shape (one length may be -1): a view if possible, else a copy."""
    return reshaped(input, _resolve("reshape", input, spread(shape)))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view(input, other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` in the shape of another tensor."""
    return reshape(input, other.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from start_dim to end_dim made one."""
    start = one_dim("flatten", input.ndim, start_dim)
    end = one_dim("flatten", input.ndim, end_dim)
    if input.ndim == 0:
        return reshape(input, (1,))
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input.array.shape
    return reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension made several (one length may be -1)."""
    d = one_dim("unflatten", input.ndim, dim)
    known = math.prod(n for n in sizes if n != -1)
    if known and list(sizes).count(-1) == 1:
        sizes = [input.array.shape[d] // known if n == -1 else n for n in sizes]
    if math.prod(sizes) != (input.array.shape[d] if input.ndim else 1):
        raise RuntimeError(
            f"unflatten: sizes {tuple(sizes)} do not make up dimension {d} of {tuple(input.shape)}"
        )
    return reshape(input, (*input.shape[:d], *sizes, *input.shape[d + 1 :]))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of length 1 (or those of `dim` that have it; of () none has)."""
    dims = named_dims("squeeze", input.ndim, dim)
    shape = input.array.shape
    return reshape(input, tuple(n for i, n in enumerate(shape) if n != 1 or i not in dims))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of length 1 at `dim`."""
    d = one_dim("unsqueeze", input.ndim + 1, dim)
    shape = input.array.shape
    return _view(input, shape=(*shape[:d], 1, *shape[d:]))


def expand(input: Tensor, *shape: Any) -> Tensor:
    """A view with dimensions of length 1 repeated (-1 keeps a length); new ones come in front."""
    wanted = spread(shape)
    lead = len(wanted) - input.ndim
    have = (1,) * lead + tuple(input.array.shape)
    full = tuple(h if n == -1 and i >= lead else n for i, (h, n) in enumerate(zip(have, wanted)))
    if lead < 0 or any(n < 0 or h not in (1, n) for h, n in zip(have, full, strict=True)):
        raise RuntimeError(f"expand: shape {tuple(input.shape)} cannot be expanded to {wanted}")
    return expanded(input, full)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(input, other.shape)


def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    """`expand` to a shape."""
    return expand(input, shape)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The tensor repeated this often along each dimension (new ones in front), as a copy."""
    times = spread(repeats)
    if len(times) < input.ndim:
        raise RuntimeError(f"repeat: expected at least {input.ndim} numbers, got {len(times)}")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.array.shape)
    split = tuple(n for pair in zip((1,) * len(times), shape, strict=True) for n in pair)
    wide = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    final = tuple(t * n for t, n in zip(times, shape, strict=True))
    return reshape(clone(expand(reshape(input, split), wide)), final)


def repeat_interleave(
    input: Tensor,
    repeats: Any = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element repeated in a row along `dim` (of the flattened tensor if left out).

    repeats: a number, or a tensor with one for each position along `dim`; alone, the positions
    themselves are repeated. output_size is accepted and means nothing.
    """
    if repeats is None:
        return repeat_interleave(creation.arange(len(input), device=input.device), input)
    if dim is None:
        input, dim = flatten(input), 0
    if not is_whole(repeats) or isinstance(repeats, Tensor):
        return _repeated(input, need_tensor("repeat_interleave", "repeats", repeats), dim)
    if repeats < 0:
        raise RuntimeError(f"repeat_interleave: repeats: expected a number >= 0, got {repeats}")
    d = one_dim("repeat_interleave", input.ndim, dim) + 1
    shape = tuple(input.array.shape)
    wide = expand(unsqueeze(input, d), (*shape[:d], repeats, *shape[d:]))
    return flatten(clone(wide), d - 1, d)


def _repeated(input: Tensor, repeats: Tensor, dim: int) -> Tensor:
    """Slices along `dim`, each as often as `repeats` says."""
    if repeats.ndim > 1:
        raise RuntimeError(f"repeat_interleave: repeats: expected 1 dimension, got {repeats.ndim}")
    if repeats.dtype.name not in ("int64", "int32"):
        raise RuntimeError(f"repeat_interleave: repeats: expected int64, got {repeats.dtype}")
    d = one_dim("repeat_interleave", input.ndim, dim)
    length = input.array.shape[d] if input.ndim else 1
    counts = reshape(repeats, (-1,))
    if len(counts) == 1:
        counts = expand(counts, length)
    if len(counts) != length:
        raise RuntimeError(
            f"repeat_interleave: repeats has {len(counts)} elements, expected {length}"
        )
    if bool((counts < 0).any()):
        raise RuntimeError("repeat_interleave: repeats: expected numbers >= 0")
    ends = counts.cumsum(0)
    total = int(ends[-1]) if length else 0
    index = ends.searchsorted(creation.arange(total, device=input.device), right=True)
    if input.ndim == 0:
        input = reshape(input, (1,))
    return input[(slice(None),) * d + (index,)]


# ---------------------------------------------------------------------- order of dimensions
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order, as a view."""
    order = spread(dims)
    if len(order) != input.ndim:
        raise RuntimeError(f"permute: expected {input.ndim} dimensions, got {order}")
    wanted = tuple(one_dim("permute", input.ndim, d) for d in order)
    if len(set(wanted)) < len(wanted):
        raise RuntimeError(f"permute: a dimension appears twice in {order}")
    return _permute(input, dims=wanted)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped, as a view."""
    a = one_dim("transpose", input.ndim, dim0)
    b = one_dim("transpose", input.ndim, dim1)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return _permute(input, dims=tuple(order))


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of fewer dimensions as it is."""
    if input.ndim > 2:
        raise RuntimeError(f"t: expected at most 2 dimensions, got {input.ndim}; use .mT")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def reverse_dims(input: Tensor) -> Tensor:
    """All dimensions in reverse order (`.T`)."""
    return _permute(input, dims=tuple(reversed(range(input.ndim))))


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two dimensions swapped (`.mT`)."""
    if input.ndim < 2:
        raise RuntimeError(f".mT: expected at least 2 dimensions, got {input.ndim}")
    order = (*range(input.ndim - 2), input.ndim - 1, input.ndim - 2)
    return _permute(input, dims=order)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions (one or several) moved to other positions, the others in their order."""
    given = [(x,) if is_whole(x) else tuple(x) for x in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise RuntimeError(
            f"movedim: expected as many in source as in destination, got {source} and {destination}"
        )
    for argument, dims in zip(("source", "destination"), given):
        numbers = [one_dim("movedim", input.ndim, d) for d in dims]
        if len(set(numbers)) < len(numbers):
            raise RuntimeError(f"movedim: {argument}: a dimension appears twice in {dims}")
    sources, destinations = ([one_dim("movedim", input.ndim, d) for d in dims] for dims in given)
    order = [i for i in range(input.ndim) if i not in sources]
    if input.ndim:
        for d, s in sorted(zip(destinations, sources)):
            order.insert(d, s)
    return permute(input, order)


def flip(input: Tensor, *dims: Any) -> Tensor:
    """The order of elements reversed along `dims`, as a copy."""
    numbers = named_dims("flip", input.ndim, spread(dims))
    return _flip(input, dims=numbers) if numbers else clone(input)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements moved along by `shifts`; those that leave at one end come in at the other."""
    if dims is None:
        return reshape(roll(flatten(input), shifts, 0), input.shape)
    steps = (shifts,) if is_whole(shifts) else tuple(shifts)
    steps = tuple(whole_number("roll", "shifts", n) for n in steps)
    along = (dims,) if is_whole(dims) else tuple(dims)
    if len(steps) != len(along):
        raise RuntimeError(f"roll: got {len(steps)} shifts for {len(along)} dimensions")
    numbers = tuple(one_dim("roll", input.ndim, d) for d in along)
    return _roll(input, shifts=steps, dims=numbers)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, the rest 0."""
    _need_matrix("tril", input)
    return _tril(input, diagonal=diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, the rest 0."""
    _need_matrix("triu", input)
    return _triu(input, diagonal=diagonal)


def _need_matrix(name: str, x: Tensor) -> None:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: expected at least 2 dimensions, got {x.ndim}")


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal over two dimensions, as a view whose last dimension it is."""
    a = one_dim("diagonal", input.ndim, dim1)
    b = one_dim("diagonal", input.ndim, dim2)
    if a == b:
        raise RuntimeError(f"diagonal: dim1 and dim2 are the same dimension, {a}")
    if offset > 0:
        input = input.narrow(b, min(offset, input.array.shape[b]), None)
    elif offset < 0:
        input = input.narrow(a, min(-offset, input.array.shape[a]), None)
    return _diagonal(input, dim1=a, dim2=b)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a square matrix; of a matrix, its diagonal (a copy)."""
    if input.ndim == 2:
        return clone(globals()["diagonal"](input, diagonal))
    if input.ndim != 1:
        raise RuntimeError(f"diag: expected 1 or 2 dimensions, got {input.ndim}")
    n = len(input) + abs(diagonal)
    whole = _diagonal_backward(input, shape=(len(input), len(input)), dim1=0, dim2=1)
    if diagonal == 0:
        return whole
    canvas = input.new_zeros((n, n))
    row, column = max(-diagonal, 0), max(diagonal, 0)
    canvas[row : row + len(input), column : column + len(input)] = whole
    return canvas


def trace(input: Tensor) -> Tensor:
    """Sum of a matrix' diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, got {input.ndim} dimensions")
    return _diagonal(input, dim1=0, dim2=1).sum()


# ---------------------------------------------------------------------- joining and splitting
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension that they have; the other lengths must agree.

    >>> minitorch.cat([minitorch.zeros(2), minitorch.ones(1)])
    tensor([0., 0., 1.])
    """
    if hasattr(tensors, "array"):
        raise TypeError("cat: tensors: expected a list of tensors, got a tensor")
    if len(tensors) == 0:
        raise ValueError("cat: tensors: expected a non-empty list of tensors")
    for i, x in enumerate(tensors):
        need_tensor("cat", f"tensors[{i}]", x)
    same_device("cat", tensors)
    dtype = result_dtype(tensors)  # an empty one counts in it
    tensors = [x for x in tensors if tuple(x.shape) != (0,)] or tensors[:1]
    first = tensors[0]
    if first.ndim == 0:
        raise RuntimeError("cat: 0-d tensors cannot be joined; use stack")
    d = one_dim("cat", first.ndim, dim)
    for i, x in enumerate(tensors):
        same = x.ndim == first.ndim and all(
            n == m for k, (n, m) in enumerate(zip(x.shape, first.shape, strict=True)) if k != d
        )
        if not same:
            raise RuntimeError(
                f"cat: tensors[{i}] has shape {tuple(x.shape)}, which differs from "
                f"{tuple(first.shape)} in other dimensions than {d}"
            )
    parts = [x.to(dtype) for x in tensors]
    return _cat(*parts, dim=d, lengths=tuple(x.shape[d] for x in parts))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension.

    >>> minitorch.stack([minitorch.zeros(2), minitorch.ones(2)], dim=1)
    tensor([[0., 1.],
            [0., 1.]])
    """
    if hasattr(tensors, "array") or len(tensors) == 0:
        raise RuntimeError("stack: tensors: expected a non-empty list of tensors")
    first = need_tensor("stack", "tensors[0]", tensors[0])
    for i, x in enumerate(tensors):
        if tuple(need_tensor("stack", f"tensors[{i}]", x).shape) != tuple(first.shape):
            raise RuntimeError(
                f"stack: tensors[{i}] has shape {tuple(x.shape)}, expected {tuple(first.shape)}"
            )
    return cat([unsqueeze(x, dim) for x in tensors], one_dim("stack", first.ndim + 1, dim))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined side by side: along dimension 1, of vectors along 0."""
    parts = [reshape(x, (1,)) if x.ndim == 0 else x for x in tensors]
    if not parts:
        raise RuntimeError("hstack: tensors: expected a non-empty list of tensors")
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined on top of each other; vectors are rows."""
    return cat([reshape(x, (1, -1)) if x.ndim < 2 else x for x in tensors], 0)


def narrow(input: Tensor, dim: int, start: Any, length: int | None) -> Tensor:
    """A view of `length` (None: all the rest) positions along `dim` from `start` on."""
    if input.ndim == 0:
        raise RuntimeError("narrow: a 0-d tensor cannot be narrowed")
    d = one_dim("narrow", input.ndim, dim)
    n = input.array.shape[d]
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != dtypes.INT):
        raise RuntimeError("narrow: start: expected an integer or a 0-d tensor of integers")
    start = whole_number("narrow", "start", start)
    if not -n <= start <= n:
        raise IndexError(f"narrow: start: expected to be in range of [{-n}, {n}], got {start}")
    start = start + n if start < 0 else start
    length = n - start if length is None else length
    if not 0 <= start <= start + length <= n:
        raise RuntimeError(
            f"narrow: start {start} and length {length} leave dimension {d} of length {n}"
        )
    return input[(slice(None),) * d + (slice(start, start + length),)]


def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts along `dim`: of one size (the last may be smaller), or of given sizes."""
    d = one_dim("split", input.ndim, dim)
    n = input.array.shape[d]
    sizes = split_size_or_sections
    if is_whole(sizes):
        sizes = whole_number("split", "split_size", sizes)
        if sizes < 0 or (sizes == 0 and n > 0):
            raise RuntimeError(f"split: split_size must be positive, got {sizes}")
        sizes = [min(sizes, n - i) for i in range(0, n, sizes or 1)] or [0]
    if sum(sizes) != n:
        raise RuntimeError(f"split: sizes {list(sizes)} do not sum to {n}, the length of dim {d}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(input, d, s, length) for s, length in zip(starts, sizes, strict=True))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` parts of equal size (the last may be smaller)."""
    chunks = whole_number("chunk", "chunks", chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk: chunks must be positive, got {chunks}")
    n = input.array.shape[one_dim("chunk", input.ndim, dim)]
    return split(input, -(-n // chunks) if n else [0] * chunks, dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the slices along a dimension, which is gone from them."""
    d = one_dim("unbind", input.ndim, dim)
    return tuple(input[(slice(None),) * d + (i,)] for i in range(input.array.shape[d]))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of the tensors, expanded to their common shape."""
    ndim = max(x.ndim for x in tensors)
    shape = [1] * ndim
    for x in tensors:
        for i, n in enumerate(x.shape, start=ndim - x.ndim):
            if n != 1:
                if shape[i] not in (1, n):
                    shapes = " and ".join(str(tuple(y.shape)) for y in tensors)
                    raise RuntimeError(f"broadcast_tensors: shapes {shapes} do not broadcast")
                shape[i] = n
    return tuple(expand(x, shape) for x in tensors)


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: for vectors of n, m, ... elements, tensors of shape (n, m, ...)."""
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing: expected 'ij' or 'xy', got {indexing!r}")
    vectors = spread(tensors)
    n = len(vectors)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else range(n)
    return broadcast_tensors(
        *[reshape(v, (1,) * i + (-1,) + (1,) * (n - 1 - i)) for i, v in zip(order, vectors)]
    )

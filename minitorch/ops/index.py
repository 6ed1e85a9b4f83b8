"""Reading by position: slices (views), index arrays and masks (copies), gather, embedding."""

from __future__ import annotations

from typing import Any

from minitorch import creation
from minitorch.core import dtypes
from minitorch.core.dispatch import REGISTRY, AnyOp
from minitorch.core.families import TensorFunction, constant, linear
from minitorch.core.grad_mode import grad_mode
from minitorch.core.sparse import RowGrad
from minitorch.core.tape import version_checked
from minitorch.core.tensor import Node, Tensor, saved_of, tensor_of
from minitorch.operands import same_device
from minitorch.ops.arguments import need_indices, need_tensor, one_dim
from minitorch.ops.shape import broadcast_tensors

__all__ = [
    "embedding",
    "gather",
    "index_select",
    "masked_select",
    "nonzero",
    "one_hot",
    "searchsorted",
    "take_along_dim",
]

# ---------------------------------------------------------------------- the table
_slice = linear(
    "slice", lambda g, shape, index: _slice_backward(g, shape=shape, index=index), view=True
)
_slice_backward: TensorFunction = linear(
    "slice_backward", lambda g, x_shape, shape, index: _slice(g, index=index)
)
_index = linear("index", lambda g, shape, index: _index_backward(g, shape=shape, index=index))
_index_backward: TensorFunction = linear(
    "index_backward", lambda g, x_shape, shape, index: _index(g, index=index)
)
_gather = linear(
    "gather",
    lambda g, shape, index, dim: _gather_backward(g, shape=shape, index=index, dim=dim),
)
_gather_backward: TensorFunction = linear(
    "gather_backward", lambda g, x_shape, shape, index, dim: _gather(g, index=index, dim=dim)
)
_nonzero = constant("nonzero")
_searchsorted = constant("searchsorted")


# ---------------------------------------------------------------------- x[...]
def parse(x: Tensor, key: Any) -> tuple[tuple[Any, ...], list[Tensor]]:
    """The key of x[key] as the backend takes it, and the index tensors in it (none: a view).

    The backend takes integers, slices, None, Ellipsis and integer arrays; a mask becomes the
    indices where it holds.
    """
    items = [_item(x, item) for item in (key if isinstance(key, tuple) else (key,))]
    widths = [_width(item) for item in items]
    taken = sum(widths)
    if taken > x.ndim:
        raise IndexError(f"too many indices for a tensor of {x.ndim} dimensions: {taken}")
    if sum(item is Ellipsis for item in items) > 1:
        raise IndexError("an index can have only one Ellipsis")
    index: list[Any] = []
    tensors: list[Tensor] = []
    dim = 0
    for item, width in zip(items, widths, strict=True):
        if isinstance(item, Tensor):
            parts = _index_tensors(x, item, dim)
            index += [part.array for part in parts]
            tensors += parts
        else:
            index.append(item)
        dim += x.ndim - taken if item is Ellipsis else width
    return tuple(index), tensors


def _item(x: Tensor, item: Any) -> Any:
    """One item of a key: None, Ellipsis, a slice of integers, an integer or a tensor."""
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, slice):
        return slice(*(None if v is None else int(v) for v in _ends(item)))
    if isinstance(item, (bool, list, range)) or hasattr(item, "__array_interface__"):
        empty_list = isinstance(item, list) and not item
        item = creation.tensor(item, dtype=dtypes.int64 if empty_list else None, device=x.device)
    if isinstance(item, Tensor):
        scalar = item.ndim == 0 and item.dtype.category == dtypes.INT
        return int(item) if scalar else item
    if hasattr(item, "__index__"):
        return item.__index__()
    raise TypeError(
        "indices: expected integers, slices, None, Ellipsis, integer or bool tensors, "
        f"got {type(item).__name__}"
    )


def _width(item: Any) -> int:
    """How many dimensions an item takes."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is dtypes.bool_ else 1


def _ends(item: slice) -> tuple[Any, Any, Any]:
    if item.step is not None and int(item.step) <= 0:
        raise ValueError(f"slice step must be greater than zero, got {item.step}; use flip")
    return item.start, item.stop, item.step


def _index_tensors(x: Tensor, item: Tensor, dim: int) -> list[Tensor]:
    if item.device != x.device:
        raise RuntimeError(
            f"index: indices on {item.device} for a tensor on {x.device}; use .to('{x.device}')"
        )
    if item.dtype is dtypes.bool_:
        if item.ndim == 0:
            raise IndexError("a 0-d mask is not supported as an index")
        for i, n in enumerate(item.array.shape, start=dim):
            if n != x.array.shape[i]:
                raise IndexError(
                    f"index: a mask of shape {tuple(item.shape)} for a tensor of shape "
                    f"{tuple(x.shape)}: {n} ≠ {x.array.shape[i]} in dimension {i}"
                )
        return list(nonzero(item, as_tuple=True))
    if item.dtype not in (dtypes.int64, dtypes.int32):
        raise IndexError(
            f"tensors used as indices must be int64, int32 or bool, got {item.dtype}; use .long()"
        )
    return [item]


def apart(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The two steps of x[index]: a basic index that gives a view, then index arrays for the view.

    PyTorch applies integers as a view first, where NumPy broadcasts them with the index arrays.
    """
    basic = tuple(slice(None) if hasattr(i, "dtype") else i for i in index)
    rest = tuple(
        i if hasattr(i, "dtype") or i is Ellipsis else slice(None)
        for i in index
        if type(i) is not int
    )
    return basic, rest


def _explain(x: Tensor, error: IndexError) -> IndexError:
    return IndexError(f"index: {error} (shape {tuple(x.shape)})")


def is_flag(key: Any) -> bool:
    """Whether a key is one bool: x[True] is x with a new dimension of length 1, x[False] of 0."""
    return isinstance(key, bool) or (
        isinstance(key, Tensor) and key.ndim == 0 and key.dtype is dtypes.bool_
    )


def as_mask(x: Tensor, flag: Any) -> Tensor:
    """One bool as a mask for a dimension of length 1."""
    return (flag if isinstance(flag, Tensor) else creation.tensor(flag, device=x.device)).reshape(1)


def getitem(input: Tensor, key: Any) -> Tensor:
    """input[key]: a view for integers, slices, None and Ellipsis; a copy for tensors and masks."""
    index: tuple[Any, ...]
    tensors: list[Tensor]
    if type(key) is int:
        index, tensors = (key,), []
    elif is_flag(key):
        return getitem(input.unsqueeze(0), as_mask(input, key))
    else:
        index, tensors = parse(input, key)
    try:
        if not tensors:
            return _slice(input, index=index)
        if int in map(type, index):
            basic, index = apart(index)
            input = _slice(input, index=basic)
        return version_checked(_index(input, index=index), *tensors)
    except IndexError as error:
        raise _explain(input, error) from None


# ---------------------------------------------------------------------- along a dimension
def _check_gather(name: str, x: Tensor, dim: int, index: Tensor) -> int:
    d = one_dim(name, x.ndim, dim)
    length = x.array.shape[d] if x.ndim else 1
    need_tensor(name, "index", index)
    same_device(name, (x, index))
    if index.ndim != x.ndim and not (index.ndim <= 1 and x.ndim <= 1):
        raise RuntimeError(
            f"{name}: index has {index.ndim} dimensions, expected {x.ndim} as the input"
        )
    for i, (n, m) in enumerate(zip(index.shape, x.shape, strict=False)):
        if i != d and n > m:
            raise RuntimeError(
                f"{name}: index of shape {tuple(index.shape)} is larger than the input's "
                f"{tuple(x.shape)} in dimension {i}"
            )
    need_indices(name, "index", index, length)
    return d


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on; the shape is that of index.

    >>> x = minitorch.tensor([[1, 2], [3, 4]])
    >>> x.gather(1, minitorch.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    if isinstance(input, Tensor) and not index.numel() and index.ndim != input.ndim:
        one_dim("gather", input.ndim, dim)
        return input.new_empty(index.shape)
    d = _check_gather("gather", input, dim, index)
    return version_checked(_gather(input, index=index.array, dim=d), index)


def gathered(input: Tensor, dim: int, values: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Values that are known to be gather(input, dim, index), on the tape as that; and the index."""
    node = input.node
    if node is None or not grad_mode.enabled:
        return values, index
    params = {"index": index.array, "dim": dim}
    made = Node(REGISTRY["gather"], (node,), (), params, values.array.shape)
    return version_checked(tensor_of(values.array, made), index), index


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices at the positions `index` (1-D, integers) along `dim`, as a copy."""
    d = one_dim("index_select", input.ndim, dim)
    need_indices("index_select", "index", index, input.array.shape[d] if input.ndim else 1)
    if index.ndim > 1:
        raise IndexError(f"index_select: index: expected 1 dimension, got {index.ndim}")
    if input.ndim == 0:
        return getitem(input.reshape(1), index.reshape(-1)).reshape(())
    return getitem(input, (slice(None),) * d + (index.reshape(-1),))


def rows_in_range(input: Tensor, index: Tensor) -> Tensor:
    """input[index] for a 1-D int64 index of the input's device that is known to be in range.

    The index is not checked: for a batch, a check takes as long as the copy of the rows.
    """
    return version_checked(_index(input, index=(index.array,)), index)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, for an input and indices that broadcast in all dimensions but `dim`.

    Without `dim`, of both flattened.
    """
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    d = one_dim("take_along_dim", input.ndim, dim)
    if indices.ndim != input.ndim:
        raise RuntimeError(
            f"take_along_dim: indices has {indices.ndim} dimensions, expected {input.ndim}"
        )
    same_device("take_along_dim", (input, indices))
    length = input.array.shape[d] if input.ndim else 1
    indices = indices + (indices < 0) * length  # which PyTorch takes here alone
    lengths = [max(n, m) for n, m in zip(input.array.shape, indices.array.shape, strict=True)]
    lengths[d : d + 1] = [-1] * len(lengths[d : d + 1])
    return gather(input.expand(lengths), d, indices.expand(lengths))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements for which the mask holds, in a row."""
    if input.shape != mask.shape:
        input, mask = broadcast_tensors(input, mask)
    return getitem(input, mask)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the nonzero elements: int64 (n, ndim), or a tuple of ndim tensors (n,)."""
    if not as_tuple:
        return _nonzero(input)
    found = _nonzero(input if input.ndim else input.unsqueeze(0))
    return tuple(found[:, i].contiguous() for i in range(found.array.shape[1]))


def searchsorted(
    sorted_sequence: Tensor,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """The index of each value in sorted numbers (behind equal ones with `right`, side="right").

    sorted_sequence: one dimension, or the leading dimensions of values: each row for its own.
    sorter: int64 indices that sort it. The result is int64, or int32 with out_int32.
    """
    right = _side("searchsorted", right, side)
    if sorter is not None:
        if tuple(sorter.shape) != tuple(sorted_sequence.shape):
            raise RuntimeError(
                f"searchsorted: sorter has shape {tuple(sorter.shape)}, expected "
                f"{tuple(sorted_sequence.shape)}"
            )
        if sorter.dtype is not dtypes.int64:
            raise RuntimeError(f"searchsorted: sorter: expected int64, got {sorter.dtype}")
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    if not isinstance(values, Tensor):
        values = creation.tensor(values, device=sorted_sequence.device)
    same_device("searchsorted", (sorted_sequence, values))
    found = _positions(sorted_sequence, values, right)
    return found.int() if out_int32 else found


def _side(name: str, right: bool, side: str | None) -> bool:
    if side not in (None, "left", "right"):
        raise RuntimeError(f"{name}: side: expected 'left' or 'right', got {side!r}")
    if side == "left" and right:
        raise RuntimeError(f"{name}: side and right disagree")
    return right or side == "right"


def _positions(rows: Tensor, values: Tensor, right: bool) -> Tensor:
    if rows.ndim == 1:
        return _searchsorted(rows, values, right=right)
    if rows.ndim != values.ndim or rows.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"searchsorted: sorted_sequence {tuple(rows.shape)} and values {tuple(values.shape)}: "
            "expected one dimension, or equal leading dimensions"
        )
    below = rows.unsqueeze(-2) <= values.unsqueeze(-1)
    if not right:  # a nan is behind all numbers
        below = rows.unsqueeze(-2) < values.unsqueeze(-1)
    return (below | (values != values).unsqueeze(-1)).sum(-1)


# ---------------------------------------------------------------------- embedding
def _rows_or_dense(g: Tensor, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """The gradient of picking rows: a RowGrad, or dense where it has to be differentiable."""
    if grad_mode.enabled:
        return _index_backward(g, shape=shape, index=index)
    rows = tensor_of(index[0])
    return RowGrad(rows.reshape(-1).clone(), g.reshape((-1, *shape[1:])), shape)


class _SparseRows(AnyOp):
    """The `index` op with a row-sparse gradient."""

    name = "embedding"
    family = "linear"

    @staticmethod
    def vjp(node: Node, g: Tensor) -> list[Any]:
        """The rows' gradients: a RowGrad where the parent is a leaf."""
        saved_of(node)
        parent = node.parents[0]
        assert parent is not None
        if parent.op is not None:
            return [_index_backward(g, shape=parent.shape, index=node.params)]
        return [_rows_or_dense(g, parent.shape, node.params)]

    @staticmethod
    def jvp(node: Node, tangents: Any) -> Tensor:
        """The same rows of the tangent."""
        return _index(tangents[0], index=node.params)


_sparse_rows = _SparseRows()


def embedding(weight: Tensor, indices: Tensor, sparse: bool = False) -> Tensor:
    """Rows of `weight` (n, *rest): shape (*indices.shape, *rest).

    With `sparse`, the gradient reaches a leaf `weight` as a RowGrad, outside of create_graph.
    """
    need_tensor("embedding", "weight", weight)
    need_indices("embedding", "indices", indices, weight.array.shape[0])
    same_device("embedding", (weight, indices))
    picked: Tensor = _index(weight, index=(indices.array,))
    if sparse and picked.node is not None:
        parents = picked.node.parents
        node = Node(_sparse_rows, parents, (), (indices.array,), picked.array.shape)
        picked = tensor_of(picked.array, node)
    return version_checked(picked, indices)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 tensor with a further dimension that is 1 at the class and 0 elsewhere."""
    if input.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot: expected int64 classes, got {input.dtype}")
    if num_classes == -1:
        if not input.numel():
            raise RuntimeError("one_hot: num_classes must be given for an empty input")
        num_classes = int(input.max()) + 1
    need_indices("one_hot", "input", input, num_classes)
    classes = creation.arange(num_classes, device=input.device)
    return (input.unsqueeze(-1) == classes).to(dtypes.int64)

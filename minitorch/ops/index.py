"""Reading by position: slices (views), index arrays and masks (copies), gather, embedding."""

from __future__ import annotations

from typing import Any

from minitorch import creation, dtypes
from minitorch.ops.arguments import need_indices, need_tensor, one_dim
from minitorch.rules import TensorFunction, _saved, constant, linear
from minitorch.tensor import Node, RowGrad, Tensor, grad_mode

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
def parse(x: Tensor, key: Any) -> tuple[tuple[Any, ...], bool]:
    """The key of x[key] as the backend takes it, and whether it is basic (a view).

    Basic keys hold integers, slices, None and Ellipsis; others also index arrays (int64).
    A mask becomes the indices where it holds.
    """
    items = list(key) if isinstance(key, tuple) else [key]
    basic = True
    result: list[Any] = []
    taken = 0
    for item in items:
        if item is None or item is Ellipsis:
            result.append(item)
            continue
        if isinstance(item, bool):
            item = creation.tensor(item, device=x.device)
        if isinstance(item, (list, range)) or hasattr(item, "__array_interface__"):
            item = creation.tensor(item, device=x.device)
        if isinstance(item, Tensor):
            if item.ndim == 0 and item.dtype.category == dtypes.INT:
                result.append(int(item))
                taken += 1
                continue
            arrays = _index_arrays(x, item, taken)
            result += arrays
            taken += len(arrays)
            basic = False
        elif isinstance(item, slice):
            result.append(slice(*(None if v is None else int(v) for v in _ends(item))))
            taken += 1
        elif hasattr(item, "__index__"):
            result.append(item.__index__())
            taken += 1
        else:
            raise TypeError(
                "indices: expected integers, slices, None, Ellipsis, integer or bool tensors, "
                f"got {type(item).__name__}"
            )
    if taken > x.ndim:
        raise IndexError(f"too many indices for a tensor of {x.ndim} dimensions: {taken}")
    if items.count(Ellipsis) > 1 if basic else sum(i is Ellipsis for i in items) > 1:
        raise IndexError("an index can have only one Ellipsis")
    return tuple(result), basic


def _ends(item: slice) -> tuple[Any, Any, Any]:
    if item.step is not None and int(item.step) <= 0:
        raise ValueError(f"slice step must be greater than zero, got {item.step}; use flip")
    return item.start, item.stop, item.step


def _index_arrays(x: Tensor, item: Tensor, taken: int) -> list[Any]:
    if item.device != x.device:
        raise RuntimeError(
            f"index: indices on {item.device} for a tensor on {x.device}; use .to('{x.device}')"
        )
    if item.dtype is dtypes.bool_:
        if item.ndim == 0:
            raise IndexError("a 0-d mask is not supported as an index")
        return [part.array for part in nonzero(item, as_tuple=True)]
    if item.dtype.is_floating_point:
        raise IndexError(f"tensors used as indices must be integer or bool, got {item.dtype}")
    return [item.array]


def _explain(x: Tensor, error: IndexError) -> IndexError:
    return IndexError(f"index: {error} (shape {tuple(x.shape)})")


def getitem(input: Tensor, key: Any) -> Tensor:
    """input[key]: a view for integers, slices, None and Ellipsis; a copy for tensors and masks."""
    if type(key) is int:
        index, basic = (key,), True
    else:
        index, basic = parse(input, key)
    try:
        result: Tensor = (_slice if basic else _index)(input, index=index)
    except IndexError as error:
        raise _explain(input, error) from None
    return result


# ---------------------------------------------------------------------- along a dimension
def _check_gather(name: str, x: Tensor, dim: int, index: Tensor) -> int:
    d = one_dim(name, x.ndim, dim)
    length = x.array.shape[d] if x.ndim else 1
    need_indices(name, "index", index, length)
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
    return d


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on; the shape is that of index."""
    d = _check_gather("gather", input, dim, index)
    return _gather(input, index=index.array, dim=d)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The places `index` (1-D, integers) along `dim`, as a copy."""
    d = one_dim("index_select", input.ndim, dim)
    need_indices("index_select", "index", index, input.array.shape[d] if input.ndim else 1)
    if index.ndim > 1:
        raise IndexError(f"index_select: index: expected 1 dimension, got {index.ndim}")
    return getitem(input, (slice(None),) * d + (index.reshape(-1),))


def take_along_dim(input: Tensor, indices: Tensor, dim: int) -> Tensor:
    """`gather` with its arguments in NumPy's order."""
    return gather(input, dim, indices)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements for which the mask holds, in a row."""
    return getitem(input.expand(mask.shape) if input.shape != mask.shape else input, mask)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the nonzero elements: int64 (n, ndim), or a tuple of ndim tensors (n,)."""
    found = _nonzero(input)
    return tuple(found[:, i].contiguous() for i in range(input.ndim)) if as_tuple else found


def searchsorted(sorted_sequence: Tensor, values: Any, *, right: bool = False) -> Tensor:
    """Where each value would stand in a sorted 1-D tensor (behind equal ones with `right`)."""
    if sorted_sequence.ndim != 1:
        raise RuntimeError(
            f"searchsorted: sorted_sequence: expected 1 dimension, got {sorted_sequence.ndim}"
        )
    if not isinstance(values, Tensor):
        values = creation.tensor(values, device=sorted_sequence.device)
    return _searchsorted(sorted_sequence, values, right=right)


# ---------------------------------------------------------------------- embedding
def _rows_or_dense(g: Tensor, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """The gradient of picking rows: a RowGrad, or dense where it has to be differentiable."""
    if grad_mode.enabled:
        return _index_backward(g, shape=shape, index=index)
    rows = Tensor(index[0])
    return RowGrad(rows.reshape(-1), g.reshape((-1, *shape[1:])), shape)


class _SparseRows:
    """The `index` op with a row-sparse gradient: what the walks ask of an op."""

    name = "embedding"
    family = "linear"
    reference = None
    view = False

    @staticmethod
    def vjp(node: Node, g: Tensor) -> list[Any]:
        """The rows' gradients, kept as rows where the parent is a leaf."""
        _saved(node)
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
    picked: Tensor = _index(weight, index=(indices.array,))
    if sparse and picked.node is not None:
        parents = picked.node.parents
        node = Node(_sparse_rows, parents, (), (indices.array,), picked.array.shape)
        return Tensor(picked.array, node)
    return picked


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

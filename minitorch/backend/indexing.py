"""The shape of x[index] from shapes alone, and the dimensions that an index tuple takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.core.dtypes import Array

__all__ = ["indexed_shape"]

Dims = tuple[int, ...]
Index = tuple[Any, ...]


def apart(x: Array, index: Index) -> tuple[Array, dict[int, Array], bool]:
    """For x[index]: a view of x, the index arrays by its dimensions, whether they are adjacent.

    The index consists of integers, slices, None, Ellipsis and index arrays. The view
    takes integers first, as PyTorch does.
    """
    if all(map(_is_array, index)):
        return x, dict(enumerate(index)), True
    view = x[tuple(slice(None) if _is_array(item) else item for item in index)]
    index = tuple(item for item in index if type(item) is not int)
    positions = [i for i, item in enumerate(index) if _is_array(item)]
    arrays: dict[int, Array] = {}
    d = 0
    for item in index:
        if item is Ellipsis:
            d += view.ndim - (len(index) - 1)
        else:
            if _is_array(item):
                arrays[d] = item
            d += 1
    return view, arrays, bool(positions) and positions[-1] - positions[0] == len(positions) - 1


def _is_array(item: Any) -> bool:
    return hasattr(item, "dtype")


def layout(
    shape: Dims, arrays: dict[int, Array], adjacent: bool
) -> tuple[tuple[int, ...], Dims, tuple[int, ...]]:
    """The parts of the result: dimensions of x, the index arrays' shape, further dimensions of x.

    IndexError where the index arrays do not broadcast, or pick from a dimension of length 0.
    """
    try:
        first, *others = {a.shape for a in arrays.values()} or {()}
        common = (
            np.broadcast_shapes(first, *others) if others else first
        )  # `broadcast_shapes` is slow
    except ValueError:
        shapes = " ".join(str(a.shape) for a in arrays.values())
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes}"
        ) from None
    for axis in arrays:
        if shape[axis] == 0 and 0 not in common:
            raise IndexError(f"index 0 is out of bounds for axis {axis} with size 0")
    rest = tuple(d for d in range(len(shape)) if d not in arrays)
    lead = tuple(d for d in rest if adjacent and d < min(arrays))
    return lead, common, rest[len(lead) :]


def indexed_shape(shape: Dims, index: Index) -> Dims:
    """The shape of x[index]; IndexError as `layout` and NumPy raise it. Reads no index array."""
    view, arrays, adjacent = apart(np.broadcast_to(np.False_, shape), index)
    if not arrays:
        return tuple(view.shape)
    lead, common, tail = layout(view.shape, arrays, adjacent)
    return (*(view.shape[d] for d in lead), *common, *(view.shape[d] for d in tail))

"""Row-sparse gradients, of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minitorch.core.device import Device
from minitorch.core.dtypes import Size, dtype

if TYPE_CHECKING:
    from minitorch.core.tensor import Tensor

__all__ = ["RowGrad"]


class RowGrad:
    """The gradient of an embedding: rows of it, everything else zero.

    indices: int64 Tensor (n,), with duplicates. values: Tensor (n, *rest). shape: of the whole.
    Its size does not depend on the number of rows of the whole.
    """

    __slots__ = ("indices", "shape", "values")

    def __init__(self, indices: Tensor, values: Tensor, shape: tuple[int, ...]) -> None:
        self.indices = indices
        self.values = values
        self.shape = Size(shape)

    @property
    def dtype(self) -> dtype:
        """Type of the values."""
        return self.values.dtype

    @property
    def device(self) -> Device:
        """Device of the values."""
        return self.values.device

    def coalesce(self) -> RowGrad:
        """The same gradient with distinct, ascending indices and their values summed.

        The call waits for a GPU, because the number of distinct indices depends on data.
        """
        rows, group = self._grouped()
        n = int(group[-1]) + 1 if len(group) else 0
        return RowGrad(rows.indices[:n], rows.values[:n], self.shape)

    def sum_duplicates(self) -> RowGrad:
        """The same gradient, of the same length, in which no row has two values that count.

        The distinct indices and their sums come first, as in `coalesce`; the remaining positions
        hold zeros for the first of these indices. The call does not wait for a GPU.
        """
        return self._grouped()[0]

    def _grouped(self) -> tuple[RowGrad, Tensor]:
        """`sum_duplicates`, and for each sorted index the number of its distinct index."""
        given: Any = self.indices
        order: Any = given.argsort()
        ordered: Any = given[order]
        group: Any = ordered.new_zeros(ordered.shape)
        group[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
        indices = ordered[:1].expand(ordered.shape).clone().scatter_(0, group, ordered)
        values = self.values.new_zeros(self.values.shape).index_add_(0, group, self.values[order])
        return RowGrad(indices, values, self.shape), group

    def to_dense(self) -> Tensor:
        """The whole gradient, zeros included."""
        whole = self.values.new_zeros(self.shape)
        return whole.index_add_(0, self.indices, self.values)

    def clone(self) -> RowGrad:
        """A copy in memory of its own."""
        return RowGrad(self.indices, self.values.clone(), self.shape)

    def detach(self) -> RowGrad:
        """The same rows, cut off from the tape."""
        return RowGrad(self.indices, self.values.detach(), self.shape)

    def __add__(self, other: Tensor | RowGrad) -> Tensor | RowGrad:
        if not isinstance(other, RowGrad):
            return other.clone().index_add_(0, self.indices, self.values)
        indices = self.indices._cat(other.indices)
        return RowGrad(indices, self.values._cat(other.values), self.shape)

    __radd__ = __add__

    def __mul__(self, factor: float | Tensor) -> RowGrad:
        return RowGrad(self.indices, self.values * factor, self.shape)

    def mul_(self, factor: float | Tensor) -> RowGrad:
        """Multiply the values by a number, in place."""
        self.values.mul_(factor)
        return self

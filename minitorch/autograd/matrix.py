"""Building blocks of Jacobians: unit vectors go in, rows come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minitorch import creation
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor


def unit(x: Tensor, index: int) -> Tensor:
    """1 at an index of the flattened x, 0 elsewhere; shape, dtype and device of x."""
    whole = creation.zeros(x.numel(), dtype=x.dtype, device=x.device)
    whole[index] = 1
    return whole.reshape(x.shape)


def basis(tensors: Sequence[Tensor]) -> Iterator[tuple[int, int, list[Tensor]]]:
    """(k, j, tensors that are 1 at index j of number k, and 0 elsewhere), for all k and j."""
    for k, x in enumerate(tensors):
        for j in range(x.numel()):
            units = [creation.zeros_like(z) for z in tensors]
            units[k] = unit(x, j)
            yield k, j, units


class Matrix:
    """A matrix filled row by row: one tensor; or, if the rows are tracked, a stack of them."""

    def __init__(self, like: Tensor, rows: int, columns: int, tracked: bool) -> None:
        self._rows: list[Tensor] = []
        self._whole = like.detach().new_zeros((rows, columns))
        self._tracked = tracked

    def set(self, i: int, row: Tensor | RowGrad) -> None:
        """Fill row number i with a tensor's elements; the rows come in order."""
        flat: Any = (row.to_dense() if isinstance(row, RowGrad) else row).reshape(-1)
        if self._tracked:
            self._rows.append(flat.unsqueeze(0))
        else:
            self._whole[i] = flat.detach()

    def get(self) -> Tensor:
        """The matrix."""
        if not self._rows:
            return self._whole
        return self._rows[0]._cat(*self._rows[1:], dim=0)

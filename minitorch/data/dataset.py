"""Map-style datasets: whatever has `__getitem__` and `__len__`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from minitorch.core.dtypes import int64
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.ops import index_select
from minitorch.random import Generator, randperm

__all__ = ["ConcatDataset", "Dataset", "StackDataset", "Subset", "TensorDataset", "random_split"]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by number: a subclass defines `__getitem__` and `__len__`."""

    def __getitem__(self, index: int) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is row i of each tensor.

    Raises ValueError for no tensor, for one with no dimension, or for different lengths.

    >>> data = minitorch.data.TensorDataset(minitorch.arange(4), minitorch.zeros(4))
    >>> data[2]
    (tensor(2), tensor(0.))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor, got none")
        if any(t.dim() == 0 for t in tensors):
            raise ValueError("TensorDataset: a tensor with no dimension has no rows")
        lengths = [t.size(0) for t in tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"TensorDataset: tensors differ in length: {lengths}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`, in that order; a negative one counts from the end."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]  # type: ignore[index]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one dataset after the other; ValueError for none."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: datasets should not be an empty iterable")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> T_co:
        if not -len(self) <= index < len(self):
            raise ValueError(
                f"ConcatDataset: index {index} is out of range for {len(self)} samples"
            )
        index %= len(self)
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class StackDataset(Dataset[Any]):
    """Sample i is a tuple of sample i of each dataset; of datasets by name, a dict of them.

    Raises ValueError for no dataset, both kinds, or different lengths.
    """

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: expected datasets, either all by name or none")
        self.datasets: Any = args or kwargs
        lengths = [len(d) for d in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(f"StackDataset: datasets differ in length: {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


def random_split(
    dataset: Dataset[T_co],
    lengths: Sequence[int | float],
    generator: Generator | None = None,
) -> list[Subset[T_co]]:
    """Split `dataset` at random into parts that do not overlap.

    `lengths` are numbers of samples, or fractions that sum to 1; what rounding leaves over goes to
    the parts one by one, first to last, as in PyTorch. Equal generators give equal splits.
    Raises ValueError where the lengths do not sum to the dataset's.
    """
    counts = _counts(lengths, len(dataset))
    order = randperm(len(dataset), generator=generator, device="cpu").tolist()
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return [Subset(dataset, order[a : a + n]) for a, n in zip(starts, counts)]


def _counts(lengths: Sequence[int | float], total: int) -> list[int]:
    if math.isclose(sum(lengths), 1) and any(isinstance(x, float) for x in lengths):
        if any(not 0 <= x <= 1 for x in lengths):
            raise ValueError(f"random_split: fractions must lie in [0, 1], got {list(lengths)}")
        counts = [math.floor(total * x) for x in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        return counts
    if any(x != int(x) or x < 0 for x in lengths) or sum(lengths) != total:
        raise ValueError(
            f"random_split: lengths {list(lengths)} sum to {sum(lengths)}, expected {total} "
            "samples in whole numbers, or fractions that sum to 1"
        )
    return [int(x) for x in lengths]


def rows(dataset: Dataset[Any]) -> tuple[tuple[Tensor, ...], Tensor | None] | None:
    """Return (tensors, row numbers or None for all) of a TensorDataset or Subsets of one."""
    if type(dataset) is TensorDataset:
        return dataset.tensors, None
    if type(dataset) is not Subset:
        return None
    inner = rows(dataset.dataset)
    if inner is None:
        return None
    tensors, outer = inner
    count = len(dataset.dataset)
    numbers = [i + count if -count <= i < 0 else i for i in map(int, dataset.indices)]
    chosen = tensor(numbers, dtype=int64, device=tensors[0].device)
    return tensors, chosen if outer is None else index_select(outer, 0, chosen)

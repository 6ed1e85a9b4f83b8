"""The loader: mini-batches of a dataset, shuffled or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from minitorch import ops
from minitorch.backend import Device, get_default_device, why_unavailable
from minitorch.core.dtypes import float64
from minitorch.core.pytree import tree_map
from minitorch.core.tensor import Tensor
from minitorch.creation import from_numpy, tensor
from minitorch.data.dataset import Dataset, rows
from minitorch.data.prefetch import ahead
from minitorch.ops.index import rows_in_range
from minitorch.random import Generator, randperm

__all__ = ["DataLoader", "default_collate"]

# PyTorch's further arguments, with the only value that is understood here.
_UNSUPPORTED: dict[str, Any] = {
    "batch_sampler": None,
    "timeout": 0,
    "worker_init_fn": None,
    "multiprocessing_context": None,
    "persistent_workers": False,
    "in_order": True,
}


class DataLoader:
    """Iterate over `dataset` in mini-batches.

    With `shuffle`, every pass draws a new order from `generator` (None: the default generator), so
    equal seeds give equal batches. `sampler`, an iterable of sample numbers, gives the order
    instead. `drop_last` leaves out a last batch that is not full; `batch_size=None` yields single
    samples. `collate_fn` makes a batch of a list of samples. Without one, a TensorDataset (and a
    Subset of one) is not read sample by sample: each batch is a copy of one slice, or one gather.

    With `pin_memory`, batches (of tensors on the cpu) come in pinned memory, from which
    `x.to("cuda", non_blocking=True)` copies without waiting. `pin_memory_device` names the device
    whose memory that is ("": the default device's, or cuda's); where there is none, a warning says
    so and the batches come as they are.

    With `num_workers=0` a batch is made in the calling thread when it is asked for. With more, so
    many threads make batches ahead of time, `prefetch_factor` (None: 2) for each thread, and pin
    them: worth it where batches are pinned for a GPU, and where reading a sample waits for files
    or computes in NumPy; rows of tensors on the cpu are faster without. Order, shuffling and
    `generator` are the same as without threads, bit for bit. The dataset is called from several
    threads at once, and a dataset that draws random numbers draws them in no fixed order (with
    one thread: ahead of the caller's), unless it has a generator for each sample.

    PyTorch's other arguments for worker processes raise ValueError unless they have their default
    value.

    >>> data = minitorch.data.TensorDataset(minitorch.arange(5))
    >>> for (batch,) in minitorch.data.DataLoader(data, batch_size=2):
    ...     batch
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        num_workers: int = 0,
        prefetch_factor: int | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
        pin_memory: bool = False,
        pin_memory_device: str = "",
        **unsupported: Any,
    ) -> None:
        for name, value in unsupported.items():
            if name not in _UNSUPPORTED:
                raise TypeError(f"DataLoader: unexpected argument {name!r}")
            if value != _UNSUPPORTED[name]:
                raise ValueError(
                    f"DataLoader: {name}={value!r} is not supported, only {_UNSUPPORTED[name]!r}"
                )
        if batch_size is not None and (int(batch_size) != batch_size or batch_size < 1):
            raise ValueError(f"DataLoader: batch_size must be a whole number > 0, got {batch_size}")
        if int(num_workers) != num_workers or num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must be a whole number, got {num_workers}")
        if prefetch_factor is not None and num_workers == 0:
            raise ValueError(f"DataLoader: prefetch_factor={prefetch_factor} needs num_workers > 0")
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ValueError(f"DataLoader: prefetch_factor must be > 0, got {prefetch_factor}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle=True exclude each other")
        if drop_last and batch_size is None:
            raise ValueError("DataLoader: drop_last=True needs a batch_size")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.sampler = sampler
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.drop_last = drop_last
        self.generator = generator
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.collate_fn = collate_fn or default_collate
        self._by_rows = collate_fn is None and sampler is None
        self._look()

    def _look(self) -> None:
        """Look up the tensors and row numbers that the dataset consists of now."""
        self._rows = rows(self.dataset) if self._by_rows else None
        self._take = _rows_checked if self._rows is None else _taking(*self._rows)

    def __len__(self) -> int:
        """Return the number of batches."""
        samples = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        if self.batch_size is None:
            return samples
        return (samples if self.drop_last else samples + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        self._look()
        make = self._maker()
        if not self.num_workers:
            return map(make, self._parts())
        count = self.num_workers * (self.prefetch_factor or 1)
        return ahead(make, self._parts(), self.num_workers, count)

    def _maker(self) -> Callable[[Any], Any]:
        """The function that makes a batch from a part of the order."""
        if not self.pin_memory:
            return self._batch
        device = Device(self.pin_memory_device or get_default_device())
        device = Device("cuda") if device.type == "cpu" else device
        missing = why_unavailable(device.type)
        if missing is not None:
            warnings.warn(
                f"DataLoader: pin_memory=True has no effect without a GPU: {missing}", stacklevel=3
            )
            return self._batch
        return lambda part: pinned(self._batch(part), device)

    def _parts(self) -> Iterator[Any]:
        """The samples of each batch: a slice or row numbers of tensors, else a list or a number."""
        if self.batch_size is None:
            return iter(self._order())
        if self._rows is None:
            return self._lists(self.batch_size)
        return self._row_numbers(*self._rows, self.batch_size)

    def _batch(self, part: Any) -> Any:
        if self.batch_size is None:
            return self.dataset[part]
        if self._rows is None:
            return self.collate_fn([self.dataset[i] for i in part])
        tensors, _ = self._rows
        if isinstance(part, slice):  # a batch is the caller's own, as one that is gathered
            return [t[part].clone() for t in tensors]
        return [self._take(t, part) for t in tensors]

    def _order(self) -> Iterable[int]:
        if self.sampler is not None:
            return self.sampler
        n = len(self.dataset)
        if self.shuffle:
            order: list[int] = randperm(n, generator=self.generator, device="cpu").tolist()
            return order
        return range(n)

    def _lists(self, size: int) -> Iterator[list[int]]:
        order = iter(self._order())
        while numbers := list(islice(order, size)):
            if len(numbers) == size or not self.drop_last:
                yield numbers

    def _row_numbers(
        self, tensors: tuple[Tensor, ...], chosen: Tensor | None, size: int
    ) -> Iterator[slice | Tensor]:
        order = chosen
        if self.shuffle:
            device = tensors[0].device
            order = randperm(len(self.dataset), generator=self.generator, device=device)
            order = order if chosen is None else chosen[order]
        for batch in range(len(self)):
            part = slice(batch * size, (batch + 1) * size)
            yield part if order is None else order[part]


Take = Callable[[Tensor, Tensor], Tensor]


def _rows_checked(x: Tensor, numbers: Tensor) -> Tensor:
    return ops.index_select(x, 0, numbers)


def _taking(tensors: tuple[Tensor, ...], chosen: Tensor | None) -> Take:
    """The function that takes rows; it skips the bounds check for a permutation of all rows."""
    devices = {t.device for t in tensors}
    return rows_in_range if chosen is None and len(devices) == 1 else _rows_checked


def pinned(batch: Any, device: Device) -> Any:
    """A batch (a pytree) whose tensors are in pinned memory."""

    def pin(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.pin_memory(device)
        return pinned(dict(leaf), device) if isinstance(leaf, Mapping) else leaf

    return tree_map(pin, batch)


def default_collate(batch: list[Any]) -> Any:
    """Make one batch of a list of samples, as PyTorch does.

    Tensors and NumPy arrays are stacked, numbers become a tensor (float64 or int64), strings a
    list; tuples, lists and mappings are collated field by field. Raises TypeError for others and
    ValueError for sequences of different lengths.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return ops.stack(batch, 0)
    if isinstance(first, (np.ndarray, np.generic)):
        return from_numpy(np.stack(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError("default_collate: samples differ in length")
        fields = [default_collate(list(field)) for field in zip(*batch)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        "default_collate: expected tensors, NumPy arrays, numbers, strings, tuples, lists or "
        f"mappings, got {type(first).__name__}"
    )

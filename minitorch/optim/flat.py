"""Flat buffers: small parameters and their optimizer states, side by side in memory.

Where a call costs more than the elements of a small array (`Backend.small`), an optimizer moves
its small parameters into one buffer, their states into one each, and changes all in one call.
Large parameters gain nothing from that and keep their memory. A tensor that shares memory with a
parameter must go on sharing it: only uniquely referenced memory is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from sys import getrefcount
from typing import Any

from minitorch import backend
from minitorch.core.dtypes import Array
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.creation import zeros
from minitorch.recording import edited

ALIGNMENT = 128  # each slot begins at a multiple of so many bytes
PARAM, GRAD = "param", "grad"  # the columns of a buffer that are not states


# ---------------------------------------------------------------------- unique references
def _calibrate(tensor: Tensor) -> int:
    return getrefcount(tensor.array)


# The reference count of an array that only one tensor, or one list, holds.
ALONE = _calibrate(zeros(1, device="cpu"))


def uniquely_referenced(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors, of these distinct NumPy ones, whose memory no other object refers to."""
    alone = [t for t in tensors if getrefcount(t.array) == ALONE]
    views = Counter(id(t.array.base) for t in alone)
    return [t for t in alone if t.array.base is None or _owns(t, views[id(t.array.base)])]


def _owns(view: Tensor, views: int) -> bool:
    """Whether the array behind a view has this many views and no other reference."""
    if type(view.array.base) is not type(view.array) or view.array.base.base is not None:
        return False
    return getrefcount(view.array.base) == ALONE - 1 + views


# ---------------------------------------------------------------------- the buffers
class FlatBuffer:
    """Parameters of one dtype and device in one buffer, and a buffer for each of their states.

    params: dense and uniquely referenced. Slot i of each column is a view with the shape of
    parameter i.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        first = params[0]
        unit = max(1, ALIGNMENT // first.element_size())
        self.sizes = [p.numel() for p in params]
        self.starts = [0, *accumulate(-(-n // unit) * unit for n in self.sizes)]
        self.shapes = [p.array.shape for p in params]
        self.dtype, self.device = first.dtype, first.device
        self.flat: dict[str, Tensor] = {}
        self.views: dict[str, list[Array]] = {}
        for i, p in enumerate(params):
            self.take(PARAM, i, p)

    def column(self, name: str) -> list[Array]:
        """The slots of a column, which begin as zeros."""
        if name not in self.flat:
            flat = zeros(self.starts[-1], dtype=self.dtype, device=self.device)
            self.flat[name] = flat
            self.views[name] = [
                flat.array[start : start + n].reshape(shape)
                for start, n, shape in zip(self.starts, self.sizes, self.shapes, strict=False)
            ]
        return self.views[name]

    def fits(self, i: int, tensor: Tensor) -> bool:
        """Whether a tensor fits the i-th slot of a column: its array type, shape and dtype."""
        like = self.views[PARAM][i]
        a = tensor.array
        return type(a) is type(like) and a.shape == like.shape and a.dtype == like.dtype

    def vacant(self, name: str, i: int) -> bool:
        """Whether no tensor refers to a slot's memory, by its view or by one of the column."""
        views = self.column(name)
        alone = getrefcount(views[i]) == ALONE
        return alone and getrefcount(self.flat[name].array) == ALONE + len(views)

    def take(self, name: str, i: int, tensor: Tensor) -> None:
        """Move a tensor into a slot."""
        view = self.column(name)[i]
        view[...] = tensor.array
        tensor.array = view
        edited()

    def run(self, name: str, first: int, last: int) -> Tensor:
        """The slots from `first` to `last` as one tensor, with the padding between them."""
        flat = self.flat[name]
        end = self.starts[last] + self.sizes[last]
        return tensor_of(flat.array[self.starts[first] : end], None, flat.version)


Slot = tuple[FlatBuffer, int]


class FlatBuffers:
    """The flat buffers of one optimizer, and the slot of each of its parameters."""

    def __init__(self) -> None:
        self._slots: dict[Tensor, Slot] = {}

    def slot(self, p: Tensor) -> Slot | None:
        """The slot of a parameter; None if its array lies elsewhere."""
        slot = self._slots.get(p)
        return slot if slot is not None and p.array is slot[0].views[PARAM][slot[1]] else None

    def gather(self, params: Iterable[Tensor]) -> None:
        """Move small, dense, uniquely referenced parameters into earlier or new slots."""
        outside = [p for p in params if self.slot(p) is None and _is_small(p)]
        new: dict[Any, list[Tensor]] = {}
        for p in uniquely_referenced(outside):
            buffer, i = self._slots.get(p, (None, 0))
            if buffer is not None and buffer.fits(i, p) and buffer.vacant(PARAM, i):
                buffer.take(PARAM, i, p)
            else:
                new.setdefault(p.array.dtype, []).append(p)
        for group in new.values():
            if len(group) > 1:
                new_buffer = FlatBuffer(group)
                self._slots.update({p: (new_buffer, i) for i, p in enumerate(group)})

    def move_states(self, p: Tensor, states: dict[str, Tensor]) -> Slot | None:
        """Move a parameter's states into the slots beside it; its slot, if all fit."""
        slot = self.slot(p)
        if slot is None:
            return None
        buffer, i = slot
        away = {n: t for n, t in states.items() if t.array is not buffer.column(n)[i]}
        for name, tensor in away.items():
            if not (
                buffer.fits(i, tensor) and uniquely_referenced([tensor]) and buffer.vacant(name, i)
            ):
                return None
        for name, tensor in away.items():
            buffer.take(name, i, tensor)
            tensor.version = buffer.flat[name].version
        return slot


def _is_small(p: Tensor) -> bool:
    a = p.array
    if p.node is None or isinstance(p.node.grad, RowGrad):
        return False
    small = backend.of(a).small  # 0: no array is small, not even an empty one
    return 0 < small >= a.size and bool(a.flags.c_contiguous)

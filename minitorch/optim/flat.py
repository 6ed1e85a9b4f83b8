"""Flat storage: small parameters, and what an optimizer keeps for them, side by side in memory.

Where a call costs more than the elements of a small array (`Backend.small`), an optimizer moves
its small parameters into one buffer, their states into one each, and changes all in one call.
Large parameters gain nothing from that and stay where they are. Whatever shares memory with a
parameter today has to share it tomorrow: only memory that nobody else sees is moved.
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

ALIGNMENT = 128  # bytes that the beginnings of two slots are apart, or a multiple
PARAM, GRAD = "param", "grad"  # the columns of a pack that are not states


# ---------------------------------------------------------------------- who sees which memory
def _calibrate(tensor: Tensor) -> int:
    return getrefcount(tensor.array)


# What `getrefcount` says of an array that one tensor, or one list, holds and nobody else does.
ALONE = _calibrate(zeros(1, device="cpu"))


def private(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those of some distinct NumPy tensors whose memory is seen through these tensors only."""
    alone = [t for t in tensors if getrefcount(t.array) == ALONE]
    views = Counter(id(t.array.base) for t in alone)
    return [t for t in alone if t.array.base is None or _owns(t, views[id(t.array.base)])]


def _owns(view: Tensor, views: int) -> bool:
    """Whether the array behind a view has this many views, and no other use."""
    if type(view.array.base) is not type(view.array) or view.array.base.base is not None:
        return False
    return getrefcount(view.array.base) == ALONE - 1 + views


# ---------------------------------------------------------------------- the buffers
class Pack:
    """Parameters of one dtype and device in one buffer, and as much for each of their states.

    params: dense and private. Slot i of each column is a view with the shape of the i-th one.
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
        """The slots of a column, zeros at first."""
        if name not in self.flat:
            flat = zeros(self.starts[-1], dtype=self.dtype, device=self.device)
            self.flat[name] = flat
            self.views[name] = [
                flat.array[start : start + n].reshape(shape)
                for start, n, shape in zip(self.starts, self.sizes, self.shapes, strict=False)
            ]
        return self.views[name]

    def fits(self, i: int, tensor: Tensor) -> bool:
        """Whether a tensor could lie in the i-th slot of a column."""
        like = self.views[PARAM][i]
        a = tensor.array
        return type(a) is type(like) and a.shape == like.shape and a.dtype == like.dtype

    def vacant(self, name: str, i: int) -> bool:
        """Whether nobody sees a slot's memory, by its view or by another of the column's buffer."""
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
        """The slots from `first` to `last` as one tensor, with what lies between them."""
        flat = self.flat[name]
        end = self.starts[last] + self.sizes[last]
        return tensor_of(flat.array[self.starts[first] : end], None, flat.version)


Place = tuple[Pack, int]


class Flat:
    """The packs of one optimizer: where each of its parameters lies."""

    def __init__(self) -> None:
        self._slots: dict[Tensor, Place] = {}

    def place(self, p: Tensor) -> Place | None:
        """The slot that a parameter is in."""
        slot = self._slots.get(p)
        return slot if slot is not None and p.array is slot[0].views[PARAM][slot[1]] else None

    def pack(self, params: Iterable[Tensor]) -> None:
        """Move what is small, dense and private into slots: its own of before, or new ones."""
        outside = [p for p in params if self.place(p) is None and _is_small(p)]
        new: dict[Any, list[Tensor]] = {}
        for p in private(outside):
            pack, i = self._slots.get(p, (None, 0))
            if pack is not None and pack.fits(i, p) and pack.vacant(PARAM, i):
                pack.take(PARAM, i, p)
            else:
                new.setdefault(p.array.dtype, []).append(p)
        for group in new.values():
            if len(group) > 1:
                made = Pack(group)
                self._slots.update({p: (made, i) for i, p in enumerate(group)})

    def settle(self, p: Tensor, states: dict[str, Tensor]) -> Place | None:
        """Move a parameter's states into the slots beside it; its place, if all are there."""
        place = self.place(p)
        if place is None:
            return None
        pack, i = place
        away = {n: t for n, t in states.items() if t.array is not pack.column(n)[i]}
        for name, tensor in away.items():
            if not (pack.fits(i, tensor) and private([tensor]) and pack.vacant(name, i)):
                return None
        for name, tensor in away.items():
            pack.take(name, i, tensor)
            tensor.version = pack.flat[name].version
        return place


def _is_small(p: Tensor) -> bool:
    a = p.array
    if p.node is None or isinstance(p.node.grad, RowGrad):
        return False
    small = backend.of(a).small  # 0: none, not even what is empty
    return 0 < small >= a.size and bool(a.flags.c_contiguous)

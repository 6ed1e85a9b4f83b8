"""A recorded step as a flat list of calls on fixed memory.

What is only needed inside of the step lies in one block of memory, planned so that it is no larger
than what is alive at the same time (greedily by size, as Pisarchyk and Lee, 2020, "Efficient memory
management for deep neural net inference", section 5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cpu.entry import Array, quiet
from minitorch.backend.cpu.shape import VIEWS
from minitorch.backend.recording import Call, HostWork, Live, Recorder

ALIGNMENT = 64  # bytes, of a cache line


def root(a: Array) -> Array:
    """The array that owns the memory of `a`."""
    while type(a.base) is np.ndarray:
        a = a.base
    return a


def address(a: Array) -> int:
    place: int = a.__array_interface__["data"][0]
    return place


class NumpyRecorder(Recorder):
    """Records entries of NumPy, and builds what replays them."""

    def __init__(self) -> None:
        super().__init__(np.ndarray, np.asarray, frozenset(VIEWS))
        self.copy, self.write = _copy, _write

    def memory(self, a: Array) -> int:
        """What is the same for arrays of the same memory, while both live."""
        return id(root(a))

    def build(self, keep: Sequence[Array]) -> tuple[Callable[[], None], list[Array]]:
        """What repeats the step, and the arrays in which it leaves those of `keep`."""
        items = [
            item
            for item in self.needed(keep)
            if isinstance(item, HostWork) or not (item.name in VIEWS or item.name == "empty")
        ]
        memory = Memory(self._lifetimes(items, {self.memory(a) for a in keep}))
        calls: list[Callable[[], Any]] = []
        for item in items:
            if isinstance(item, HostWork):
                calls.append(item.find)
            else:
                calls.append(_lower(item, memory, self._made_by(item)))
        return partial(_run, calls), list(keep)

    def _made_by(self, call: Call) -> set[int]:
        """The ids of the arrays that a call gives in memory that is new."""
        given = self.arrays((call.result, call.appended))
        return {id(a) for a in given if self.makers.get(self.memory(a)) is call}

    def _lifetimes(self, items: Sequence[Any], kept: set[int]) -> dict[int, tuple[Array, int, int]]:
        """Owner, first and last use of all memory that is needed inside of the step alone."""
        lives: dict[int, tuple[Array, int, int]] = {}
        for i, item in enumerate(items):
            if not isinstance(item, Call):
                continue
            for a in self.arrays((item.args, item.params, item.result, item.appended)):
                owner = root(a)
                if self.made(a) and id(owner) not in kept and owner.nbytes:
                    first = lives[id(owner)][1] if id(owner) in lives else i
                    lives[id(owner)] = (owner, first, i)
        return lives


def _copy(a: Array) -> Array:
    return a.copy("K")


def _write(place: Array, array: Array) -> None:
    place[...] = array


class Memory:
    """One block in which the arrays of a step find new places."""

    def __init__(self, lives: dict[int, tuple[Array, int, int]]) -> None:
        self.offsets: dict[int, int] = {}
        self.size = 0
        self._new: dict[int, tuple[Array, Array]] = {}
        placed: list[tuple[int, int, int, int]] = []  # begin, end, first and last use
        for owner, first, last in sorted(lives.values(), key=lambda life: -life[0].nbytes):
            size = -(-owner.nbytes // ALIGNMENT) * ALIGNMENT
            begin = 0
            for low, high, start, end in sorted(placed):
                if start <= last and first <= end:  # at the same time
                    if begin + size <= low:
                        break
                    begin = max(begin, high)
            placed.append((begin, begin + size, first, last))
            self.offsets[id(owner)] = begin
            self.size = max(self.size, begin + size)
        block = np.empty(self.size + ALIGNMENT, np.uint8)
        start = -address(block) % ALIGNMENT
        self.block = block[start : start + self.size]

    def place(self, a: Array) -> Array:
        """The array that stands for `a` in replays: the same one for the same."""
        owner = root(a)
        if id(owner) not in self.offsets:
            return a
        if id(a) not in self._new:
            offset = self.offsets[id(owner)] + address(a) - address(owner)
            new: Array = np.ndarray(a.shape, a.dtype, self.block, offset, a.strides)
            self._new[id(a)] = (new, a)
        return self._new[id(a)][0]

    def all(self, value: Any) -> Any:
        """A nest of tuples, lists and dicts with its arrays replaced."""
        if type(value) is np.ndarray:
            return self.place(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self.all(v) for v in value)
        if type(value) is dict:
            return {k: self.all(v) for k, v in value.items()}
        return value


def _run_all(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


_run = quiet(_run_all)


# ---------------------------------------------------------------------- one item
def _takes_out(entry: Any) -> bool:
    return isinstance(entry, np.ufunc) or "out" in inspect.signature(entry).parameters


def _lower(call: Call, memory: Memory, makes: set[int]) -> Callable[[], Any]:
    """The call on its new places in memory, as a function without arguments.

    makes: the ids of the arrays in its result that are new.
    """
    entry = getattr(call.entry, "bare", call.entry)
    args = memory.all(call.args)
    params = {k: memory.all(v) for k, v in call.params.items() if type(v) is not Live}
    live = {k: v for k, v in call.params.items() if type(v) is Live}
    if makes and not call.appended and "out" not in params and _takes_out(entry):
        places = memory.all(call.result)
        if isinstance(entry, np.ufunc):
            args = (*args, places)
        else:
            params["out"] = places
        makes = set()
    run: Callable[..., Any] = partial(entry, *args, **params)
    if makes:
        run = _copying(call, entry, args, params, memory, makes)
    if not live:
        return run
    first = next(iter(live.values())).cell
    if live.keys() == first.keys() and all(v.cell is first for v in live.values()):
        return lambda: run(**first)
    return lambda: run(**{k: v.value() for k, v in live.items()})


def _copying(
    call: Call,
    entry: Callable[..., Any],
    args: Any,
    params: dict[str, Any],
    memory: Memory,
    makes: set[int],
) -> Callable[..., Any]:
    """An entry that allocates its results, which are then copied to their places."""
    lists = {k: v for k, v in params.items() if type(v) is list}
    wanted = [
        memory.place(a) if id(a) in makes else None
        for a in _leaves((call.result, list(call.appended.values())))
    ]

    def run(**live: Any) -> None:
        given = {k: list(v) for k, v in lists.items()}
        result = entry(*args, **{**params, **given, **live})
        appended = [given[k][len(lists[k]) :] for k in call.appended]
        for place, value in zip(wanted, _leaves((result, appended)), strict=True):
            if place is not None:
                np.copyto(place, value)

    return run


def _leaves(value: Any) -> Iterator[Any]:
    """What is in a nest of tuples and lists."""
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from _leaves(v)
    else:
        yield value

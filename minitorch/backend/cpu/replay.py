"""A recorded step as a flat list of calls on fixed memory.

Arrays that only the step itself needs share one block of memory. A plan gives arrays that live at
the same time different offsets (greedily by size, as Pisarchyk and Lee, 2020, "Efficient memory
management for deep neural net inference", section 5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cpu.kernel import Array, bare, is_half, quiet
from minitorch.backend.cpu.lower import LOWERED
from minitorch.backend.cpu.shape import VIEWS
from minitorch.backend.replay import Call, DynamicScalar, HostCallback, Replay, Trace
from minitorch.core import pytree

ALIGNMENT = 64  # bytes, of a cache line
LARGE = 1 << 20  # bytes of an input whose copy takes longer than to lower its calls again (60 µs)


def root(a: Array) -> Array:
    """The array that owns the memory of `a`."""
    while type(a.base) is np.ndarray:
        a = a.base
    return a


def address(a: Array) -> int:
    """The address of an array's first element."""
    first: int = a.__array_interface__["data"][0]
    return first


class NumpyTrace(Trace):
    """Calls of NumPy's kernels, and their replay."""

    def __init__(self) -> None:
        super().__init__(np.ndarray, np.asarray, frozenset(VIEWS))
        self.copy, self.write = _copy, _write

    def memory(self, a: Array) -> int:
        """A key that is equal for arrays of the same memory, while both live."""
        return id(root(a))

    def build(
        self,
        results: Sequence[Array],
        inputs: Sequence[Array],
        known: dict[int, Array] | None = None,
    ) -> tuple[Replay, list[Array]]:
        """A replay of `items`, and the arrays in which it leaves those of `results`: the same."""
        items = [
            item
            for item in self.needed(results)
            if isinstance(item, HostCallback) or not (item.name in VIEWS or item.name == "empty")
        ]
        temps = [_temps(item) if isinstance(item, Call) else [] for item in items]
        outside = [*results, *(known or {}).values()]
        lives = self._lifetimes(items, {self.memory(a) for a in outside})
        lives |= {id(a): (a, i, i) for i, of_call in enumerate(temps) for a in of_call}
        memory = Memory(lives)
        replay = NumpyReplay(inputs)
        for item, of_call in zip(items, temps, strict=True):
            if isinstance(item, HostCallback):
                replay.calls.append(item.run)
            else:
                made = {id(memory.moved(a)) for a in self._made_by(item)}
                placed = _with(item, memory.moved)
                replay.append(placed, made, [memory.moved(a) for a in of_call])
        return replay, list(results)

    def _made_by(self, call: Call) -> list[Array]:
        """The arrays that a call returns in new memory."""
        given = self.arrays((call.result, call.appended))
        return [a for a in given if self.makers.get(self.memory(a)) is call]

    def _lifetimes(self, items: Sequence[Any], kept: set[int]) -> dict[int, tuple[Array, int, int]]:
        """Owner, first and last use of all memory that only the step itself needs."""
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


def _write(to: Array, array: Array) -> None:
    to[...] = array


class Memory:
    """One block of memory into which the arrays of a step are moved."""

    def __init__(self, lives: dict[int, tuple[Array, int, int]]) -> None:
        self.offsets: dict[int, int] = {}
        self.size = 0
        self._new: dict[int, tuple[Array, Array]] = {}
        placed: list[tuple[int, int, int, int]] = []  # begin, end, first and last use
        for owner, first, last in sorted(lives.values(), key=lambda life: -life[0].nbytes):
            size = -(-owner.nbytes // ALIGNMENT) * ALIGNMENT
            begin = 0
            for low, high, start, end in sorted(placed):
                if start <= last and first <= end:  # both live at the same time
                    if begin + size <= low:
                        break
                    begin = max(begin, high)
            placed.append((begin, begin + size, first, last))
            self.offsets[id(owner)] = begin
            self.size = max(self.size, begin + size)
        block = np.empty(self.size + ALIGNMENT, np.uint8)
        start = -address(block) % ALIGNMENT
        self.block = block[start : start + self.size]

    def moved(self, a: Array) -> Array:
        """The array that replays use instead of `a`; the same one at every call."""
        owner = root(a)
        if id(owner) not in self.offsets:
            return a
        if id(a) not in self._new:
            offset = self.offsets[id(owner)] + address(a) - address(owner)
            self._new[id(a)] = (_view_of(self.block, a, offset), a)
        return self._new[id(a)][0]


def _with(call: Call, other: Callable[[Array], Array]) -> Call:
    """The call with its arrays replaced."""
    changed = Call(call.name, call.kernel, _map(call.args, other), _map(call.params, other))
    changed.result = _map(call.result, other)
    changed.appended = _map(call.appended, other)
    return changed


def _map(tree: Any, other: Callable[[Array], Array]) -> Any:
    """A pytree with its arrays replaced."""
    return pytree.tree_map(lambda x: other(x) if type(x) is np.ndarray else x, tree)


def _view_of(memory: Array, like: Array, offset: int) -> Array:
    """An array like another at an offset in memory."""
    return np.ndarray(like.shape, like.dtype, memory, offset, like.strides)


class NumpyReplay(Replay):
    """Calls without arguments, in order.

    A replay does not copy a large input, but lowers the few calls that read it again.
    """

    def __init__(self, inputs: Sequence[Array]) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.inputs = inputs
        self._bound: dict[int, Array] = {}  # the array bound to an input, by the input's id
        self._readers: list[list[Any]] = [[] for _ in inputs]

    def run(self, inputs: Sequence[Array] = ()) -> None:
        """Call them all."""
        for i, array in enumerate(inputs):
            if not self._bind(i, array):
                self.inputs[i][...] = array
        _run(self.calls)

    def append(self, call: Call, makes: set[int], temps: Sequence[Array]) -> None:
        """Add a call of a kernel."""
        given = pytree.leaves((call.args, call.params, call.result))
        taken = {id(root(a)) for a in given if type(a) is np.ndarray}
        for x, readers in zip(self.inputs, self._readers, strict=True):
            if x.nbytes >= LARGE and id(x) in taken:
                readers.append((len(self.calls), call, makes, temps))
        self.calls += _lower(call, makes, temps)

    def _bind(self, i: int, array: Array) -> bool:
        """Let replays read the i-th input from this array; return whether that is possible."""
        x = self.inputs[i]
        if (
            x.nbytes < LARGE
            or not self.binds
            or not (x.flags.c_contiguous and array.flags.c_contiguous)
        ):
            return False
        if self._bound.get(id(x)) is not array:
            self._bound[id(x)] = array
            for start, call, makes, temps in self._readers[i]:
                again = _lower(_with(call, self._found), makes, temps)
                self.calls[start : start + len(again)] = again
        return True

    def _found(self, a: Array) -> Array:
        """The array, or for a view of a bound input the same view of the bound array."""
        owner = root(a)
        bound = self._bound.get(id(owner))
        return a if bound is None else _view_of(bound, a, address(a) - address(owner))


def _run_all(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


_run = quiet(_run_all)


# ---------------------------------------------------------------------- one item
def _takes_out(kernel: Any) -> bool:
    return isinstance(kernel, np.ufunc) or "out" in inspect.signature(kernel).parameters


def _is_lowered(call: Call) -> bool:
    return call.name in LOWERED and not is_half(call.args[0])


def _temps(call: Call) -> list[Array]:
    """The temporary memory of a lowered call."""
    temps: list[Array] = []

    def temp(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        temps.append(np.empty(shape, dtype))
        return temps[-1]

    if _is_lowered(call):
        LOWERED[call.name](*call.args, **call.params, out=call.result, temp=temp)
    return temps


def _lower(call: Call, makes: set[int], temps: Sequence[Array]) -> list[Callable[[], Any]]:
    """The call as functions without arguments.

    makes: the ids of the new arrays in its result. temps: the arrays of `_temps`.
    """
    if _is_lowered(call):
        given = iter(temps)
        lowered = LOWERED[call.name](
            *call.args, **call.params, out=call.result, temp=lambda shape, dtype: next(given)
        )
        if lowered is not None:
            return lowered
    return [_call(call, makes)]


def _call(call: Call, makes: set[int]) -> Callable[[], Any]:
    """The kernel's call as a function without arguments."""
    kernel = bare(call.kernel, call.args)
    args = call.args
    params = {k: v for k, v in call.params.items() if type(v) is not DynamicScalar}
    dynamic = {k: v for k, v in call.params.items() if type(v) is DynamicScalar}
    if makes and not call.appended and "out" not in params and _takes_out(kernel):
        if isinstance(kernel, np.ufunc) and kernel not in (np.maximum, np.minimum):
            args = (*args, call.result)
        else:
            params["out"] = call.result
        makes = set()
    run: Callable[..., Any] = partial(kernel, *args, **params)
    if makes:
        run = _copying(call, kernel, params, makes)
    if not dynamic:
        return run
    first = next(iter(dynamic.values())).cell
    if dynamic.keys() == first.keys() and all(v.cell is first for v in dynamic.values()):
        return lambda: run(**first)
    return lambda: run(**{k: v.value() for k, v in dynamic.items()})


def _copying(
    call: Call, kernel: Callable[..., Any], params: dict[str, Any], makes: set[int]
) -> Callable[..., Any]:
    """A call of a kernel that allocates its results, and a copy of these to their memory."""
    lists = {k: v for k, v in params.items() if type(v) is list}
    made = [a if id(a) in makes else None for a in pytree.leaves((call.result, call.appended))]

    def run(**dynamic: Any) -> None:
        given = {k: list(v) for k, v in lists.items()}
        result = kernel(*call.args, **{**params, **given, **dynamic})
        appended = [given[k][len(lists[k]) :] for k in call.appended]
        for array, value in zip(made, pytree.leaves((result, appended)), strict=True):
            if array is not None:
                np.copyto(array, value)

    return run

"""The parts of a recorded step, and the methods that each backend adds in order to replay it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from minitorch.core import pytree
from minitorch.core.dtypes import Array
from minitorch.recording import Work


class DynamicScalar:
    """A number that a host callback computes at every replay; kernels get its present value."""

    __slots__ = ("cell", "key")

    def __init__(self, cell: dict[str, Any], key: str) -> None:
        self.cell = cell
        self.key = key

    def value(self) -> Any:
        """The number now."""
        return self.cell[self.key]


def now(value: Any) -> Any:
    """The value of a parameter, which may be a dynamic scalar."""
    return value.value() if type(value) is DynamicScalar else value


class HostCallback:
    """Python code between the calls of kernels: `work()` fills `cell`."""

    __slots__ = ("cell", "undo", "work")

    def __init__(self, work: Work, undo: Callable[[], None] | None = None) -> None:
        self.work = work
        self.undo = undo
        self.cell: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Run the work; return its results, which the cell keeps."""
        self.cell.update(self.work() or ())
        return self.cell


class Call:
    """One call of a kernel: its arguments before the call, and the arrays that it returned."""

    __slots__ = ("appended", "args", "kernel", "name", "params", "result", "written")

    def __init__(self, name: str, kernel: Callable[..., Any], args: Any, params: Any) -> None:
        self.name = name
        self.kernel = kernel
        self.args = args
        self.params = params
        self.result: Any = None
        self.written: list[Array] = []  # arrays that it changed in place
        self.appended: dict[str, list[Array]] = {}  # arrays that it appended to lists in params


class Replay(ABC):
    """A recorded step that can be repeated.

    binds: whether it may read its arguments where they are, instead of copying them. alike: whether
    these lie in memory as the arrays do in which it reads them.
    """

    binds, alike = True, False

    @abstractmethod
    def run(self, inputs: Sequence[Array] = ()) -> None:
        """Repeat the step. inputs: arrays whose elements, and layout, its arguments have now."""


CONSTANT_SOURCES = ("full", "arange", "linspace")  # ops whose result is the same at every replay
CHECKS = ("check_range", "check_unit")  # ops with no effect but the error that they raise


class Trace(ABC):
    """The work of a step, in order: calls of kernels and host callbacks.

    A backend's subclass knows which arrays share memory, and builds the replay.
    """

    def __init__(
        self, array_type: type, as_array: Callable[[Any], Array], views: frozenset[str]
    ) -> None:
        self.array_type = array_type
        self.as_array = as_array
        self.views = views
        self.items: list[Call | HostCallback] = []

    # ---- for a backend to define

    @abstractmethod
    def memory(self, a: Array) -> Hashable:
        """A key that is equal for arrays of the same memory, while both live."""

    properties: tuple[str, ...] = ("shape", "dtype", "strides")  # of an array, as kernels see it
    copy: Callable[[Array], Array]  # copies an array, in its layout where results depend on it
    write: Callable[[Array, Array], None]  # writes the elements of the second into the first

    @abstractmethod
    def build(
        self,
        results: Sequence[Array],
        inputs: Sequence[Array],
        known: dict[int, Array] | None = None,
    ) -> tuple[Replay, list[Array]]:
        """A replay of `items`, and the arrays in which it leaves those of `results`.

        These hold their values until the next replay. inputs: the arrays of the step's arguments.
        known: by an array's id, the array in which an earlier build leaves it. Raises CannotRecord.
        """

    # ---- owners of memory; after `analyse`

    def analyse(self) -> None:
        """Classify memory: what the step allocated, what existed before, and what it changed."""
        self.makers: dict[Hashable, Call] = {}
        self._found: dict[
            int, Array
        ] = {}  # arrays of memory from before the step, by the array's id
        views: set[int] = set()  # ids of views that the step took of such memory
        for call in self.calls():
            given = {self.memory(a) for a in self.arrays((call.args, call.params))}
            for a in self.arrays((call.args, call.params)):
                if self.memory(a) not in self.makers and id(a) not in views:
                    self._found[id(a)] = a
            views |= {id(a) for a in self.arrays(call.result)}
            for a in self.arrays((call.result, call.appended)):
                if self.memory(a) not in given:
                    self.makers.setdefault(self.memory(a), call)
        self._written = {self.memory(a) for call in self.calls() for a in call.written}

    @property
    def found(self) -> list[Array]:
        """The arrays, as kernels got them, of memory that the step did not allocate."""
        return list(self._found.values())

    def made(self, a: Array) -> bool:
        """Whether the step allocated this memory."""
        return self.memory(a) in self.makers

    def changes(self, a: Array) -> bool:
        """Whether the step changes this memory."""
        return self.memory(a) in self._written

    def same_memory(self, a: Array, others: Iterable[Array]) -> bool:
        """Whether `a` shares the memory of one of the others."""
        return self.memory(a) in map(self.memory, others)

    def arrays(self, tree: Any) -> Iterator[Array]:
        """The arrays in a pytree."""
        return (leaf for leaf in pytree.leaves(tree) if type(leaf) is self.array_type)

    def calls(self, start: int = 0) -> Iterator[Call]:
        """The calls among the items from `start` on."""
        return (item for item in self.items[start:] if isinstance(item, Call))

    def callbacks(self, start: int = 0) -> list[HostCallback]:
        """The host callbacks among the items from `start` on."""
        return [item for item in self.items[start:] if isinstance(item, HostCallback)]

    def needed(self, results: Sequence[Array]) -> list[Call | HostCallback]:
        """The items that have an effect or a result that is used, in order."""
        live = {self.memory(a) for a in results}
        needed: list[Call | HostCallback] = []
        for item in reversed(self.items):
            if isinstance(item, Call):
                if not self._counts(item, live):
                    continue
                live |= {self.memory(a) for a in self.arrays((item.args, item.params))}
            needed.append(item)
        return needed[::-1]

    def _counts(self, call: Call, live: set[Hashable]) -> bool:
        given = {self.memory(a) for a in self.arrays((call.result, call.appended))}
        made = {owner for owner in given if self.makers.get(owner) is call}
        if call.name in CONSTANT_SOURCES and made.isdisjoint(self._written):
            for owner in made:
                del self.makers[owner]  # its result is made once for all replays
            return False
        if call.name in self.views:
            return not given.isdisjoint(live)
        return bool(call.written) or call.name in CHECKS or not live.isdisjoint(made)

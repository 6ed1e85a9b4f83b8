"""What a recorded step consists of, and what each backend adds to it in order to replay it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from minitorch.core import pytree
from minitorch.core.dtypes import Array
from minitorch.recording import Work


class DynamicScalar:
    """A number that a host callback finds anew at every replay; kernels get its present value."""

    __slots__ = ("cell", "key")

    def __init__(self, cell: dict[str, Any], key: str) -> None:
        self.cell = cell
        self.key = key

    def value(self) -> Any:
        """The number now."""
        return self.cell[self.key]


def now(value: Any) -> Any:
    """A parameter's value: of a dynamic scalar, the present one."""
    return value.value() if type(value) is DynamicScalar else value


class HostCallback:
    """Python code between the calls of kernels: `work()` fills `cell`."""

    __slots__ = ("cell", "undo", "work")

    def __init__(self, work: Work, undo: Callable[[], None] | None = None) -> None:
        self.work = work
        self.undo = undo
        self.cell: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Do the work; return what it found, which is kept."""
        self.cell.update(self.work() or ())
        return self.cell


class Call:
    """One call of a kernel: arguments as they were before it, and the arrays that it gave."""

    __slots__ = ("appended", "args", "kernel", "name", "params", "result", "written")

    def __init__(self, name: str, kernel: Callable[..., Any], args: Any, params: Any) -> None:
        self.name = name
        self.kernel = kernel
        self.args = args
        self.params = params
        self.result: Any = None
        self.written: list[Array] = []  # arrays that it changed in place
        self.appended: dict[str, list[Array]] = {}  # what it put into lists among its params


class Replay:
    """A recorded step that can be repeated."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run

    def bind(self, i: int, array: Array) -> bool:
        """Let replays read the i-th input from this array; whether that is possible."""
        return False


CONSTANT_SOURCES = ("full", "arange", "linspace")  # what they make is the same at every replay
CHECKS = ("check_range", "check_unit")  # ops that are called for the error that they raise


class Trace(ABC):
    """What a step does, in order: calls of kernels and host callbacks.

    A backend's own knows which arrays share memory, and builds the replay.
    """

    def __init__(
        self, array_type: type, as_array: Callable[[Any], Array], views: frozenset[str]
    ) -> None:
        self.array_type = array_type
        self.as_array = as_array
        self.views = views
        self.items: list[Call | HostCallback] = []

    # ---- what a backend adds

    @abstractmethod
    def memory(self, a: Array) -> Hashable:
        """What is the same for arrays of the same memory, while both live."""

    copy: Callable[[Array], Array]  # of an array, in its layout where results depend on that
    write: Callable[[Array, Array], None]  # puts the elements of the second into the first

    @abstractmethod
    def build(
        self, keep: Sequence[Array], inputs: Sequence[Array], known: dict[int, Array] | None = None
    ) -> tuple[Replay, list[Array]]:
        """What repeats `items`, and the arrays in which it leaves those of `keep`.

        They hold their values until the next time. inputs: where arguments are found. known: by
        the ids of arrays, where an earlier build of other items leaves them. Raises CannotRecord.
        """

    # ---- which memory it is; after `analyse`

    def analyse(self) -> None:
        """Find out which memory the step made, which it found, and which it changed."""
        self.makers: dict[Hashable, Call] = {}
        self._found: dict[int, Array] = {}  # arrays of other memory, by id of the array
        views: set[int] = set()  # of found memory, which the step took
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
        """The arrays of memory that the step did not make, as kernels got them."""
        return list(self._found.values())

    def made(self, a: Array) -> bool:
        """Whether the step made this memory."""
        return self.memory(a) in self.makers

    def changes(self, a: Array) -> bool:
        """Whether the step changes this memory."""
        return self.memory(a) in self._written

    def same_memory(self, a: Array, others: Iterable[Array]) -> bool:
        """Whether `a` lies in memory that one of the others belongs to."""
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

    def needed(self, keep: Sequence[Array]) -> list[Call | HostCallback]:
        """The items that have an effect or a result that is used, in order."""
        live = {self.memory(a) for a in keep}
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
                del self.makers[owner]  # made once for all
            return False
        if call.name in self.views:
            return not given.isdisjoint(live)
        return bool(call.written) or call.name in CHECKS or not live.isdisjoint(made)

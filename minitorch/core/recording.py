"""What a recorder is told while a step runs, so that the step can be replayed without Python.

A recorder belongs to one thread; only one records at a time, because it stands in for the entries
of all ops. Everything that a step does beside calling entries and that must be done again at a
replay, or that a replay relies on, is told to it by the functions here. While nobody records,
`recorders` is empty, and testing that is all that they cost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from threading import RLock, get_ident
from typing import Any

Array = Any
Work = Callable[[], dict[str, Any] | None]

recorders: list[Recorder | Repeater] = []  # the one at work, if any
recording_lock = RLock()
# Programs look at what they take as given only when somebody has changed something of the kind:
edits = [0]  # counts changes of modules' attributes, of hooks, optimizers and defaults
moves = [0]  # counts changes of existing tensors' arrays, and of whether they are tracked


class CannotRecord(RuntimeError):
    """A step does something that a replay could not repeat; the message says what and why."""


class Live:
    """A number that host work finds anew at every replay; an entry gets its value of the time."""

    __slots__ = ("cell", "key")

    def __init__(self, cell: dict[str, Any], key: str) -> None:
        self.cell = cell
        self.key = key

    def value(self) -> Any:
        """The number now."""
        return self.cell[self.key]


class HostWork:
    """Python code in its place between the calls of entries: `work()` fills `cell`."""

    __slots__ = ("cell", "undo", "work")

    def __init__(self, work: Work, undo: Callable[[], None] | None = None) -> None:
        self.work = work
        self.undo = undo
        self.cell: dict[str, Any] = {}

    def find(self) -> dict[str, Any]:
        """Do the work; return what it found, which is kept."""
        self.cell.update(self.work() or ())
        return self.cell


class Call:
    """One call of an entry: arguments as they were before it, and the arrays that it gave."""

    __slots__ = ("appended", "args", "entry", "name", "params", "result", "written")

    def __init__(self, name: str, entry: Callable[..., Any], args: Any, params: Any) -> None:
        self.name = name
        self.entry = entry
        self.args = args
        self.params = params
        self.result: Any = None
        self.written: list[Array] = []  # arrays that it changed in place
        self.appended: dict[str, list[Array]] = {}  # what it put into lists among its params


class Recorder(ABC):
    """Notes what a step asks for, in order. A backend's own knows memory and builds the replay."""

    def __init__(
        self, array_type: type, as_array: Callable[[Any], Array], views: frozenset[str]
    ) -> None:
        self.array_type = array_type
        self.as_array = as_array
        self.views = views
        self.thread = get_ident()
        self.items: list[Call | HostWork] = []
        self.reason: str | None = None  # why there will be no replay
        self.strict = False
        self.constants: list[Array] = []
        self.versions: list[tuple[Array, list[Any]]] = []
        self.things: dict[int, tuple[Any, list[Any]]] = {}
        self.leaves: dict[int, tuple[Any, bool, Any]] = {}

    # ---- what it is told

    def refuse(self, reason: str) -> None:
        """Give the recording up, because of `reason`; raise CannotRecord if strict."""
        if self.reason is None:
            self.reason = reason
        if self.strict:
            raise CannotRecord(reason)

    def host(self, work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
        """Do host work and note its place."""
        item = HostWork(work, undo)
        item.find()
        self.items.append(item)
        return {key: Live(item.cell, key) for key in item.cell}

    def constant(self, array: Array) -> None:
        """Note an array that was made of Python data."""
        self.constants.append(array)

    def changed(self, array: Array, version: list[Any]) -> None:
        """Note that the last call has changed an array."""
        self.versions.append((array, version))
        call = next((item for item in reversed(self.items) if isinstance(item, Call)), None)
        if call is None:
            self.refuse("what changes an array is not an op")
        else:
            call.written.append(array)

    def met(self, thing: Any) -> None:
        """Note a module or an optimizer as it is when it is first used."""
        if id(thing) not in self.things:
            self.things[id(thing)] = (thing, thing._given())

    def gradient(self, node: Any, reads: bool) -> None:
        """Note what a leaf's gradient is before it is first read or set."""
        if id(node) not in self.leaves:
            self.leaves[id(node)] = (node, reads, node.grad)

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

    def undo(self) -> bool:
        """Put gradients and random state back as they were before a step that broke off.

        False where that is not all: it has changed memory, or done other work on the host.
        """
        works = [item for item in self.items if isinstance(item, HostWork)]
        if self.versions or any(item.undo is None for item in works):
            return False
        for item in reversed(works):
            if item.undo is not None:
                item.undo()
        for node, _, before in self.leaves.values():
            node.grad = before
        self.items.clear()  # which held all arrays of the step
        self.leaves.clear()
        return True

    # ---- which memory it is; after `analyse`

    def analyse(self) -> None:
        """Find out which memory the step made, which it found, and which it changed."""
        self.makers: dict[Hashable, Call] = {}
        self._found: dict[int, Array] = {}  # arrays of other memory, by id of the array
        views: set[int] = set()  # of found memory, which the step took
        for call in self._calls():
            given = {self.memory(a) for a in self.arrays((call.args, call.params))}
            for a in self.arrays((call.args, call.params)):
                if self.memory(a) not in self.makers and id(a) not in views:
                    self._found[id(a)] = a
            views |= {id(a) for a in self.arrays(call.result)}
            for a in self.arrays((call.result, call.appended)):
                if self.memory(a) not in given:
                    self.makers.setdefault(self.memory(a), call)
        self._written = {self.memory(a) for call in self._calls() for a in call.written}

    @property
    def found(self) -> list[Array]:
        """The arrays of memory that the step did not make, as entries got them."""
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

    def arrays(self, value: Any) -> Iterator[Array]:
        """The arrays in a nest of tuples, lists and dicts."""
        return arrays_in(value, self.array_type)

    def _calls(self) -> Iterator[Call]:
        return (item for item in self.items if isinstance(item, Call))

    def needed(self, keep: Sequence[Array]) -> list[Call | HostWork]:
        """The items that have an effect or a result that is used, in order."""
        live = {self.memory(a) for a in keep}
        needed: list[Call | HostWork] = []
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

    # ---- what happens

    def stand_in(self, name: str, entry: Callable[..., Any]) -> Callable[..., Any]:
        """An entry that calls the real one and notes the call."""

        def recorded(*args: Any, **params: Any) -> Any:
            if get_ident() != self.thread:
                return entry(*args, **params)
            call = Call(name, entry, frozen(args), frozen(params))
            if name in DATA_DEPENDENT:
                self.refuse(f"{name}: the shape of its result depends on data")
            result = entry(*args, **{k: now(v) for k, v in params.items()})
            call.result = result = self._mend(result)
            if "out" in params:
                call.written.append(params["out"])
            for key, value in params.items():
                if type(value) is list and len(value) > len(call.params[key]):
                    call.appended[key] = value[len(call.params[key]) :]
            self.items.append(call)
            return result

        return recorded

    def stranger(self, name: str, entry: Callable[..., Any], place: str) -> Callable[..., Any]:
        """An entry of another kind of array: the recording does not reach there."""

        def refused(*args: Any, **params: Any) -> Any:
            if get_ident() == self.thread:
                self.refuse(f"{name} runs on '{place}', which is not where the step is recorded")
            return entry(*args, **{k: now(v) for k, v in params.items()})

        return refused

    def _mend(self, result: Any) -> Any:
        """Numbers among the results as arrays, so that they have memory that is known."""
        if result is None or type(result) is self.array_type:
            return result
        if isinstance(result, (tuple, list)):
            known: dict[int, Any] = {}
            for r in result:
                is_array = r is None or type(r) is self.array_type
                known.setdefault(id(r), r if is_array else self.as_array(r))
            return type(result)(known[id(r)] for r in result)
        return self.as_array(result)


DATA_DEPENDENT = ("nonzero",)  # ops whose result has a shape that only the data can tell
CONSTANT_SOURCES = ("full", "arange", "linspace")  # what they make is the same at every replay
CHECKS = ("check_range", "check_unit")  # ops that are called for the error that they raise


def now(value: Any) -> Any:
    """A parameter's value: of a Live one, what it is now."""
    return value.value() if type(value) is Live else value


def frozen(value: Any) -> Any:
    """The same nest of tuples, lists and dicts, which nobody else can change."""
    if isinstance(value, (tuple, list)):
        return type(value)(frozen(v) for v in value)
    if type(value) is dict:
        return {k: frozen(v) for k, v in value.items()}
    return value


def arrays_in(value: Any, array_type: type) -> Iterator[Array]:
    """The arrays in a nest of tuples, lists and dicts."""
    if type(value) is array_type:
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from arrays_in(v, array_type)
    elif type(value) is dict:
        yield from arrays_in(list(value.values()), array_type)


class Replay:
    """A recorded step that can be repeated."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run

    def bind(self, i: int, array: Array) -> bool:
        """Let replays read the i-th input from this array; whether that is possible."""
        return False


class Repeater:
    """Hears of a step that runs once more: host work is not done again, its finds are given."""

    def __init__(self, finds: list[dict[str, Any]]) -> None:
        self.thread = get_ident()
        self.finds = finds

    def host(self, work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
        """What the work found when it was done."""
        return self.finds.pop(0)


# ---------------------------------------------------------------------- what it is told
def busy() -> bool:
    """Whether a step runs in this thread for the sake of compiling it."""
    last = recorders[-1:]  # another thread may take it away at any time
    return bool(last) and last[0].thread == get_ident()


def current() -> Recorder | None:
    """The recorder of this thread, if it is recording."""
    recorder = recorders[-1] if busy() else None
    return recorder if isinstance(recorder, Recorder) else None


def read_by_host(what: str) -> None:
    """A value is about to leave the device for Python, which a replay would not see."""
    impossible(
        f"{what} reads a tensor's value into Python, where a replay would not see it change; "
        "return the tensor and read it outside of the step"
    )


def impossible(reason: str) -> None:
    """Something is about to happen that a replay cannot repeat."""
    recorder = current()
    if recorder is not None:
        recorder.refuse(reason)


def host(work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
    """Do host work, now and in its place at every replay; what it gives, to hand to entries.

    undo: takes it back, where a step breaks off.
    """
    return recorders[-1].host(work, undo) if busy() else work() or {}


def constant(array: Array) -> None:
    """An array was made of Python data: a replay uses it as it is."""
    recorder = current()
    if recorder is not None:
        recorder.constant(array)


def changed(array: Array, version: list[Any]) -> None:
    """The entry called last has changed an array in place, so its version has been counted up."""
    recorder = current()
    if recorder is not None:
        recorder.changed(array, version)


def met(thing: Any) -> None:
    """The step uses `thing`, whose `_given()` lists what a replay relies on."""
    recorder = current()
    if recorder is not None:
        recorder.met(thing)


def gradient(node: Any, reads: bool) -> None:
    """The gradient of a leaf is about to be read or set."""
    recorder = current()
    if recorder is not None:
        recorder.gradient(node, reads)

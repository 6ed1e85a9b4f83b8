"""What a recorder is told while a step runs, so that the step can be replayed without Python.

A recorder belongs to one thread; only one records at a time, because it stands in for the entries
of all ops. Everything that a step does beside calling entries and that must be done again at a
replay, or that a replay relies on, is told to it by the functions here. While nobody records,
`recorders` is empty, and testing that is all that they cost.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any

from minitorch.backend.base import Array

Work = Callable[[], dict[str, Any] | None]

recorders: list[Recorder] = []  # the one at work, if any
recording_lock = RLock()
# Counts changes of what programs take as given and look at only when something has changed:
# attributes and hooks of modules, defaults.
edits = [0]


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

    __slots__ = ("cell", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.cell: dict[str, Any] = {}

    def run(self) -> None:
        """Do the work and keep what it found."""
        self.cell.update(self.work() or {})


class Call:
    """One call of an entry: arguments as they were before it, and the arrays that it gave."""

    __slots__ = ("args", "entry", "name", "params", "result", "written")

    def __init__(self, name: str, entry: Callable[..., Any], args: Any, params: Any) -> None:
        self.name = name
        self.entry = entry
        self.args = args
        self.params = params
        self.result: Any = None
        self.written: list[Array] = []  # arrays that it changed in place


class Recorder:
    """Notes what a step asks for, in order."""

    def __init__(self, array_type: type, as_array: Callable[[Any], Array]) -> None:
        self.array_type = array_type
        self.as_array = as_array
        self.thread = get_ident()
        self.items: list[Call | HostWork] = []
        self.reason: str | None = None  # why there will be no replay
        self.strict = False
        self.constants: list[Array] = []
        self.versions: list[tuple[Array, list[Any]]] = []
        self.things: dict[int, tuple[Any, list[Any]]] = {}
        self.leaves: dict[int, tuple[Any, bool, Any]] = {}

    def refuse(self, reason: str) -> None:
        """Give the recording up, because of `reason`; raise CannotRecord if strict."""
        if self.reason is None:
            self.reason = reason
        if self.strict:
            raise CannotRecord(reason)

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
        if type(result) is self.array_type:
            return result
        if isinstance(result, (tuple, list)):
            known: dict[int, Any] = {}
            for r in result:
                is_array = r is None or type(r) is self.array_type
                known.setdefault(id(r), r if is_array else self.as_array(r))
            return type(result)(known[id(r)] for r in result)
        return self.as_array(result)


# Ops whose result has a shape that only the data can tell.
DATA_DEPENDENT = frozenset({"nonzero"})


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


def current() -> Recorder | None:
    """The recorder of this thread, if it is recording."""
    if recorders and recorders[-1].thread == get_ident():
        return recorders[-1]
    return None


# ---------------------------------------------------------------------- what it is told
def read_by_host(what: str) -> None:
    """A value is about to leave the device for Python, which a replay would not see."""
    recorder = current()
    if recorder is not None:
        recorder.refuse(
            f"{what} reads a tensor's value into Python, where a replay would not see it change: "
            "return the tensor and read it outside of the step"
        )


def impossible(what: str) -> None:
    """Something happens that a replay cannot repeat."""
    recorder = current()
    if recorder is not None:
        recorder.refuse(what)


def host(work: Work) -> dict[str, Any]:
    """Do host work, now and in its place at every replay; what it gives, to hand to entries."""
    recorder = current()
    if recorder is None:
        return work() or {}
    item = HostWork(work)
    item.run()
    recorder.items.append(item)
    return {key: Live(item.cell, key) for key in item.cell}


def constant(array: Array) -> None:
    """An array was made of Python data: a replay uses it as it is."""
    recorder = current()
    if recorder is not None:
        recorder.constants.append(array)


def changed(array: Array, version: list[Any]) -> None:
    """The entry called last has changed an array in place, so its version has been counted up."""
    recorder = current()
    if recorder is None:
        return
    recorder.versions.append((array, version))
    for item in reversed(recorder.items):
        if isinstance(item, Call):
            item.written.append(array)
            return


def met(thing: Any) -> None:
    """The step uses `thing`, whose `_given()` lists what a replay relies on."""
    recorder = current()
    if recorder is not None and id(thing) not in recorder.things:
        recorder.things[id(thing)] = (thing, thing._given())


def gradient(node: Any, reads: bool) -> None:
    """The gradient of a leaf is about to be read or set."""
    recorder = current()
    if recorder is not None and id(node) not in recorder.leaves:
        recorder.leaves[id(node)] = (node, reads, node.grad)

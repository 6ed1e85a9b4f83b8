"""The interface between the house and compiled steps: calls to a recorder, and version stamps.

A recorder belongs to one thread, and only one works at a time, because it wraps the kernels of all
ops. The functions here tell it of host callbacks, in-place changes and guarded objects: all that a
replay must repeat or rely on beside kernels. `recorder` is None while nobody records; callers where
time counts test that first, and pay no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any

Array = Any
Work = Callable[[], dict[str, Any] | None]


class CannotRecord(RuntimeError):
    """A step does something that a replay could not repeat; the message says what and why."""


class Recorder:
    """A listener to the step of its thread; this base runs host callbacks and ignores the rest."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def host(self, work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run a host callback: see `recording.host`."""
        return work() or {}

    def refuse(self, reason: str) -> None:
        """The step does something that a replay cannot repeat."""

    def constant(self, array: Array) -> None:
        """An array was made of Python data."""

    def changed(self, array: Array, version: list[Any]) -> None:
        """The kernel called last has changed an array in place."""

    def guard(self, owner: Any) -> None:
        """The step relies on `owner`."""

    def gradient(self, node: Any, reads: bool) -> None:
        """The gradient of a leaf is about to be read or set."""


_nobody = Recorder()
recorder: Recorder | None = None  # the active one; only `active` sets it
lock = RLock()  # held by the thread that records
epoch = 0  # the number of calls of `edited`


@contextmanager
def active(listener: Recorder) -> Iterator[None]:
    """Make `listener` the recorder of all calls in the block; its thread holds `lock`."""
    global recorder
    recorder = listener
    try:
        yield
    finally:
        recorder = None


def busy() -> bool:
    """Whether a compiled step is being recorded, or compared, in this thread."""
    working = recorder  # another thread may take it away at any time
    return working is not None and working.thread == get_ident()


def _recorder() -> Recorder:
    working = recorder
    return _nobody if working is None or working.thread != get_ident() else working


# ---------------------------------------------------------------------- at any time
def edited() -> int:
    """A guarded object has changed: a new version stamp for its owner.

    Guarded are attributes of modules, hooks, optimizers, defaults, arrays of existing tensors, and
    whether these are tracked. Programs check their guards only when the epoch has changed, and a
    module or an optimizer only when its stamp has.
    """
    global epoch
    epoch += 1
    return epoch


# ---------------------------------------------------------------------- while a step is recorded
def host(work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run a host callback, now and at this point of every replay; its results are for kernels.

    undo: reverts the callback, where a step breaks off.
    """
    return _recorder().host(work, undo)


def impossible(reason: str) -> None:
    """Something is about to happen that a replay cannot repeat."""
    _recorder().refuse(reason)


def read_by_host(what: str) -> None:
    """A value is about to leave the device for Python, which a replay would not see."""
    impossible(
        f"{what} reads a tensor's value into Python, where a replay would not see it change; "
        "return the tensor and read it outside of the step"
    )


def constant(array: Array) -> None:
    """An array was made of Python data: a replay uses it as it is."""
    _recorder().constant(array)


def changed(array: Array, version: list[Any]) -> None:
    """The kernel called last has changed an array in place, so its version has been counted up."""
    _recorder().changed(array, version)


def guard(owner: Any) -> None:
    """The step uses `owner`; a replay relies on the values that its `_guarded()` lists.

    Its `_stamp` is the version stamp of its last change.
    """
    _recorder().guard(owner)


def gradient(node: Any, reads: bool) -> None:
    """The gradient of a leaf is about to be read or set."""
    _recorder().gradient(node, reads)

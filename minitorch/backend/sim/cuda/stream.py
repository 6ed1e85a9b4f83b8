"""`cupy.cuda.Stream` and `Event`: order among the work of one device."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from minitorch.backend.sim import work
from minitorch.backend.sim.driver import Record, record
from minitorch.backend.sim.machine import CUDARuntimeError, current_device

_numbers = itertools.count(3)  # CUDA's own streams have the handles 0, 1 and 2


class _Current(threading.local):
    def __init__(self) -> None:
        self.stacks: dict[int, list[Stream]] = {}
        self.devices: list[int] = []  # of the streams' blocks that we are in


_current = _Current()


def _stack(device: int) -> list[Stream]:
    return _current.stacks.setdefault(device, [Stream.null])


def get_current_stream(device_id: int = -1) -> Stream:
    """This thread's current stream on a device (-1: on the current one)."""
    return _stack(current_device() if device_id == -1 else device_id)[-1]


def current_queue(device: int) -> work.Queue:
    """The queue of this thread's current stream on a device."""
    return _stack(device)[-1]._queue(device)


class Event:
    """A point in a stream's work, which streams and the host can wait for."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess:
            raise NotImplementedError("the simulated GPU has no events between processes")
        self.ptr = next(_numbers)
        self._timed = not disable_timing
        self._work: work.Work | None = None
        self._recording: work.Recording | None = None
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Stand for all that the stream (None: the current one) was given so far."""
        if stream is None:
            stream = get_current_stream()
        queue = stream._queue()
        self._recording, self._time = queue.recording, None
        self._work = queue.submit(self._stamp)

    def _stamp(self) -> None:
        self._time = time.perf_counter()

    def _refuse_captured(self) -> None:
        if self._recording is not None:
            self._recording.broken = True
            raise CUDARuntimeError(
                "cudaErrorCapturedEvent", "this event was recorded in a capture: it never happens"
            )

    @property
    def done(self) -> bool:
        """Whether the work up to this event is over; each question lets one piece go on."""
        self._refuse_captured()
        return work.ask(self._work)

    def synchronize(self) -> None:
        """Wait for the work up to this event."""
        self._refuse_captured()
        record(Record("sync", "event"))
        work.complete(self._work)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events, on the clock of the machine that simulates."""
    for event in (start_event, end_event):
        if event._work is None or not event._timed:
            raise CUDARuntimeError(
                "cudaErrorInvalidResourceHandle", "an event was not recorded, or without a time"
            )
        if event._time is None:
            raise CUDARuntimeError("cudaErrorNotReady", "device not ready")
    assert start_event._time is not None and end_event._time is not None
    return 1000 * (end_event._time - start_event._time)


class Graph:
    """Captured work, launched as one: what `Stream.end_capture` returns."""

    def __init__(self, recording: work.Recording) -> None:
        self._recording = recording

    def launch(self, stream: Stream | None = None) -> None:
        """Do the captured work in a stream (None: the current one)."""
        chosen = get_current_stream() if stream is None else stream
        self._recording.replay(chosen._queue())


class Stream:
    """An order of work; `with stream:` makes it this thread's current one.

    non_blocking: it does not wait for the default stream, nor that for it.
    """

    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if ptds:
            raise NotImplementedError("the simulated GPU has no default stream of each thread")
        self.ptr = 0 if null else next(_numbers)
        self.device_id = -1 if null else current_device()
        self._blocking = not non_blocking
        self._own = True

    @classmethod
    def from_external(cls, obj: Any) -> Stream:
        """The stream of another library's object, by the protocol `__cuda_stream__`."""
        _, pointer = obj.__cuda_stream__()
        self = cls.__new__(cls)
        self.ptr, self.device_id = pointer, current_device()
        self._blocking = self._own = False
        return self

    def _queue(self, device: int | None = None) -> work.Queue:
        """Where its work waits; the default stream has a queue on every device."""
        if self.device_id != -1:
            device = self.device_id
        elif device is None:
            device = current_device()
        return work.queue_of(device, self.ptr, self._blocking)

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if finalizing():
            return
        if self.ptr and self._own:
            work.forget(self.device_id, self.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def _on_this_device(self) -> int:
        current = current_device()
        if self.device_id not in (-1, current):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match "
                f"with the current device ({current})"
            )
        return current

    def __enter__(self) -> Stream:
        device = self._on_this_device()
        _stack(device).append(self)
        _current.devices.append(device)
        return self

    def __exit__(self, *error: object) -> None:
        _stack(_current.devices.pop()).pop()

    def use(self) -> Stream:
        """Make this stream the current one from now on."""
        _stack(self._on_this_device())[-1] = self
        return self

    @property
    def done(self) -> bool:
        """Whether all work is over; each question lets one piece go on."""
        return work.ask(self._queue().last)

    @property
    def is_non_blocking(self) -> bool:
        """Whether it does not wait for the default stream."""
        return not self._blocking

    def synchronize(self) -> None:
        """Wait for all work that this stream was given."""
        self._queue().synchronize()

    def record(self, event: Event | None = None) -> Event:
        """An event (None: a new one) that stands for all work that this stream was given."""
        if event is None:
            event = Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what this stream is given from now on come after an event."""
        self._queue().wait_for(event._work, event._recording)

    def launch_host_func(self, callback: Any, arg: Any) -> None:
        """Call `callback(arg)` on the host after the work so far."""
        self._queue().submit(lambda: callback(arg))

    # ---- graphs

    def begin_capture(self, mode: int | None = None) -> None:
        """Record what this stream is given, instead of doing it, until `end_capture`."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self._queue().begin()

    def end_capture(self) -> Graph:
        """The work that was recorded, to be launched as one."""
        return Graph(self._queue().end())

    def is_capturing(self) -> bool:
        """Whether work is being recorded."""
        return self._queue().recording is not None


Stream.null = Stream(null=True)

"""Work in streams: what is done at once, what waits for a synchronisation, what is recorded.

Each device has queues, one for each stream. A piece of work waits for the one before it in its
queue, for events, and across the legacy default stream as CUDA defines it. In the deferred mode
nothing runs before somebody waits for it, which is the latest that CUDA allows; in the interleaved
mode, the work that waits for nothing more goes on at random.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from minitorch.backend.sim.driver import Record, record
from minitorch.backend.sim.machine import CUDARuntimeError
from minitorch.backend.sim.settings import dice, settings

Action = Callable[[], object]
_turn = threading.RLock()  # threads of the host take turns: one work at a time
_running: list[Work] = []  # at most one
_PAUSE = 0.5  # the chance that interleaved streams pause, after each piece of work


class Work:
    """One launch or copy: what it does, and what it comes after."""

    __slots__ = ("action", "after", "done")

    def __init__(self, action: Action, after: tuple[Work, ...]) -> None:
        self.action: Action | None = action
        self.after = after
        self.done = False

    def run(self) -> None:
        """Do it. A work that fails is over as well: its error is raised once."""
        action, self.action, self.after, self.done = self.action, None, (), True
        if action is not None:
            action()


def complete(work: Work | None, steps: int | None = None) -> None:
    """Run a work and, before it, all that it comes after; at most `steps` of them.

    Nothing where a work is running already: a finalizer has come here out of it.
    """
    stack = [] if work is None else [work]
    with _turn:
        while stack and steps != 0 and not _running:
            waiting = [earlier for earlier in stack[-1].after if not earlier.done]
            if waiting:
                if settings.interleaved:
                    dice.shuffle(waiting)
                stack += waiting
                continue
            last = stack.pop()
            if not last.done:
                _running.append(last)
                try:
                    last.run()
                finally:
                    _running.clear()
                steps = None if steps is None else steps - 1


def ask(work: Work | None) -> bool:
    """Whether a work is done; if not, one piece of what it waits for is done after the answer."""
    answer = work is None or work.done
    complete(work, steps=1)
    return answer


def go_on() -> None:
    """Do some of all streams' work, in a random order that events allow."""
    while dice.random() > _PAUSE:
        lasts = [queue.last for queue in _queues.copy().values() if queue.recording is None]
        ready = [first for last in lasts if (first := _ready(last)) is not None]
        if not ready:
            break
        complete(dice.choice(ready))


def _ready(work: Work | None) -> Work | None:
    """A work that comes before this one, or this one, and itself waits for nothing more."""
    while work is not None and not work.done:
        waiting = [earlier for earlier in work.after if not earlier.done]
        if not waiting:
            return work
        work = dice.choice(waiting)
    return None


class Queue:
    """The work of one stream on one device. blocking: it waits for the default stream."""

    def __init__(self, device: int, pointer: int, blocking: bool) -> None:
        self.device = device
        self.pointer = pointer
        self.blocking = blocking
        self.last: Work | None = None
        self.waits: tuple[Work, ...] = ()  # events that the next work comes after
        self.recording: Recording | None = None
        self.closed = False

    def _before(self) -> Iterator[Work | None]:
        yield self.last
        yield from self.waits
        if self.recording is None and self.blocking:
            for other in queues(self.device):
                if other.blocking and (self.pointer == 0) != (other.pointer == 0):
                    yield other.last

    def submit(self, action: Action, may_run: bool = True) -> Work:
        """Add a piece of work; it runs now, later (deferred mode) or in a graph (capture).

        may_run: not in a finalizer, whose errors nobody hears.
        """
        with _turn:
            self._refuse_implicit_wait()
            after = tuple(w for w in self._before() if w is not None and not w.done)
            work = Work(action, after)
            self.last, self.waits = work, ()
            if self.recording is not None:
                self.recording.works.append(work)
            elif settings.interleaved:
                if may_run:
                    go_on()
            elif not settings.deferred:
                complete(work)
        return work

    def _refuse_implicit_wait(self) -> None:
        if self.pointer == 0:
            for other in queues(self.device):
                if other.recording is not None and other.blocking:
                    other.recording.broken = True
                    raise CUDARuntimeError(
                        "cudaErrorStreamCaptureImplicit",
                        "the default stream waits for a stream that is being captured",
                    )

    def wait_for(self, work: Work | None, recording: Recording | None) -> None:
        """Let what is submitted from now on come after an event's work."""
        if recording is not None and self.recording is None:
            if recording.ended:
                raise CUDARuntimeError(
                    "cudaErrorCapturedEvent", "an event of a capture that has ended never happens"
                )
            self._join(recording)
        if self.recording is not recording:
            assert self.recording is not None
            self.recording.broken = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureIsolation",
                "a captured stream cannot wait for an event that was recorded outside",
            )
        if work is not None and not work.done:
            self.waits = (*self.waits, work)

    def _join(self, recording: Recording) -> None:
        recording.queues.append((self, self.last))
        self.recording, self.last = recording, None

    def synchronize(self) -> None:
        """Let the host wait for all work of this queue."""
        record(Record("sync", "stream", self.device))
        self.finish()

    def finish(self) -> None:
        """Do all work of this queue."""
        if self.recording is not None:
            self.recording.broken = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported",
                "operation not permitted when stream is capturing",
            )
        complete(self.last)

    def begin(self) -> None:
        """Record what is submitted from now on instead of running it."""
        if self.recording is not None:
            raise CUDARuntimeError("cudaErrorIllegalState", "this stream is being captured")
        self._join(Recording())

    def end(self) -> Recording:
        """What was recorded since `begin`."""
        recording = self.recording
        if recording is None or recording.queues[0][0] is not self:
            raise CUDARuntimeError("cudaErrorIllegalState", "this stream began no capture")
        joined = recording.reached_from((self.last, *self.waits))
        for queue, last in recording.queues:
            queue.recording, queue.last, queue.waits = None, last, ()
        recording.ended = True
        if recording.broken:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated",
                "operation failed due to a previous error during capture",
            )
        if len(joined) != len(recording.works):
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnjoined",
                "another stream's captured work was not waited for by the first stream",
            )
        return recording


class Recording:
    """The works of a captured graph, in the order in which they were submitted."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.queues: list[tuple[Queue, Work | None]] = []  # and their last work before
        self.broken = False
        self.ended = False

    def reached_from(self, ends: tuple[Work | None, ...]) -> set[int]:
        """The ids of the works that come before these, and of these."""
        stack = [work for work in ends if work is not None]
        found: set[int] = set()
        while stack:
            work = stack.pop()
            if id(work) not in found:
                found.add(id(work))
                stack += work.after
        return found

    def replay(self, queue: Queue) -> None:
        """Submit all works to a queue, in order; interleaved: in a random one of theirs."""
        for work in _shuffled(self.works) if settings.interleaved else self.works:
            assert work.action is not None
            queue.submit(work.action)


def _shuffled(works: list[Work]) -> list[Work]:
    """Works in a random order, each behind those that it comes after."""
    rest, found, given = [*works], list[Work](), set[int]()
    while rest:
        ready = [work for work in rest if all(id(w) in given for w in work.after)]
        found.append(dice.choice(ready))
        given.add(id(found[-1]))
        rest.remove(found[-1])
    return found


_queues: dict[tuple[int, int], Queue] = {}


def queue_of(device: int, pointer: int, blocking: bool = True) -> Queue:
    """The queue of a stream on a device; made on first use."""
    key = (device, pointer)
    queue = _queues.get(key)  # another thread may make it meanwhile
    return _queues.setdefault(key, Queue(device, pointer, blocking)) if queue is None else queue


def forget(device: int, pointer: int) -> None:
    """A stream is gone; what it had to do is still done."""
    queue = _queues.get((device, pointer))
    if queue is not None:
        queue.closed = True
        if queue.last is None or queue.last.done:
            _queues.pop((device, pointer), None)


def queues(device: int) -> list[Queue]:
    """All queues of a device."""
    known = _queues.copy()  # other threads and the garbage collector may end streams meanwhile
    return [queue for queue in known.values() if queue.device == device]


def synchronize(device: int) -> None:
    """Let the host wait for all work of a device."""
    record(Record("sync", "device", device))
    for queue in queues(device):
        if queue.recording is not None:
            queue.finish()  # which CUDA refuses
    finish(device)


def finish(device: int) -> None:
    """Do all work of a device, but for what is being captured."""
    for queue in queues(device):
        if queue.recording is None:
            queue.finish()
        if queue.closed:
            forget(device, queue.pointer)

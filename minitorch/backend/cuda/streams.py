"""Work that crosses threads and streams: which streams wait, and which memory stays until then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import finalize

if TYPE_CHECKING:
    from minitorch.backend.cuda.gpu import Array, Gpu

PER_THREAD = 2  # CUDA's handle of the default stream that every thread has for itself
_in_flight: deque[tuple[Any, Any]] = deque()  # events, and what is held until they are over


class Streams:
    """The streams of one kind of GPU."""

    def __init__(self, gpu: Gpu) -> None:
        self._cuda = gpu.xp.cuda
        self._captured = gpu.captured
        self._current = gpu.current

    def _of_thread(self) -> list[tuple[int, Any]]:
        """This thread's streams by device: of the current one, and all that were chosen."""
        here, current = self._current(), self._cuda.get_current_stream
        found = [(i, current(i)) for i in range(self._cuda.runtime.getDeviceCount())]
        return [(i, stream) for i, stream in found if i == here or stream.ptr > PER_THREAD]

    def inherited(self) -> Callable[[], None]:
        """A function that gives another thread this one's current device and streams."""
        here, streams, wait = self._current(), self._of_thread(), self.fence()

        def take_over() -> None:
            for i, stream in streams:
                with self._cuda.Device(i):
                    stream.use()
            self._cuda.Device(here).use()
            wait()

        return take_over

    def fence(self) -> Callable[[], bool]:
        """A function that lets another thread's work to come wait for this one's so far.

        It returns whether that work is in another stream.
        """
        events = [(i, s.ptr, self._event(i, s)) for i, s in self._of_thread()]

        def wait() -> bool:
            crosses = False
            for i, pointer, event in events:
                current = self._cuda.get_current_stream(i)
                if current.ptr != pointer or pointer == PER_THREAD:
                    crosses = True
                    with self._cuda.Device(i):
                        current.wait_event(event)
            return crosses

        return wait

    def _event(self, device: int, stream: Any) -> Any:
        """An event that stands for a stream's work so far."""
        with self._cuda.Device(device):
            event = self._cuda.Event(disable_timing=True)
            event.record(stream)
        return event

    def hold(self, held: Any, device: int, stream: Any = None) -> None:
        """Hold on to memory until a stream's (None: the current one's) work so far is over."""
        self.release()
        graph = self._captured.graph
        if graph is not None:  # each replay will use the memory
            graph.held.append(held)
        else:
            if stream is None:
                stream = self._cuda.get_current_stream(device)
            _in_flight.append((self._event(device, stream), held))

    @staticmethod
    def release() -> None:
        """Let go of what was held for work that is over.

        Threads and finalizers may come here at once: whoever looks at an item has it alone.
        """
        while _in_flight:
            try:
                item = _in_flight.popleft()
            except IndexError:
                return
            if not item[0].done:
                _in_flight.appendleft(item)
                return

    def record(self, array: Array, stream: Any = None) -> None:
        """Hold the memory of an array that dies until a stream's work of that time is over.

        stream: None: the current one of its device.
        """
        device = array.data.device_id
        if stream is None:
            stream = self._cuda.get_current_stream(device)
        finalize(array, self.hold, array.data.mem, device, stream).atexit = False

"""Work captured once and launched again as one CUDA graph.

    with capture(gpu, 0) as graph:
        kernels["matmul"](x, y, out=z)       # recorded, not done
    graph.replay()                           # done, in the current stream

What a graph has by value stays as it was captured. Numbers that change (a learning rate, a step's
number, a place in a random stream) are read from device memory instead:

    with capture(gpu, 0) as graph:
        with graph.live(lambda: {"lr": group["lr"], "step": next(steps)}):
            kernels["adam_"](params, means, squares, [], grads, lr=0.1, step=1, ...)

Each replay asks once for the numbers, makes of them what the launch would have been given, and
copies it to the device ahead of the graph if it is not what lies there already.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from minitorch.backend.cuda.gpu import Array, Gpu

Numbers = Callable[[], Mapping[str, Any]]
Make = Callable[..., Any]
CAPACITY = 1 << 14  # bytes of changing numbers that a graph has room for
SLOTS = 16  # replays whose numbers may still be on their way
_ALIGN = 16


class CaptureError(RuntimeError):
    """Work that cannot be part of a graph: it needs the host in between."""


class _Live(NamedTuple):
    """What gives changing numbers, and the places that are made of them."""

    numbers: Numbers
    places: list[tuple[Make, dict[str, Any]]]

    def bytes(self) -> bytes:
        """Of all places, each padded."""
        now = self.numbers()
        found = []
        for make, given in self.places:
            chosen = {name: now.get(name, value) for name, value in given.items()}
            found.append(_padded(make(**chosen).tobytes()))
        return b"".join(found)


def _padded(numbers: bytes) -> bytes:
    return numbers + bytes(-len(numbers) % _ALIGN)


class Graph:
    """Captured work. Its memory, and all that it reads and writes, stays while it lives.

    Replays are made in one stream, or in streams that wait for each other: a replay writes where
    the one before wrote.
    """

    def __init__(self, gpu: Gpu, index: int) -> None:
        self._gpu = gpu
        self._index = index
        self._graph: Any = None
        self._pool = gpu.xp.cuda.MemoryPool()
        self._own: set[int] = set()  # addresses of memory that the pool gave
        self._kept: dict[int, Array] = {}  # other memory that the work reads or writes
        self._live: list[_Live] = []
        self._open: _Live | None = None
        self._size = 0  # bytes of all places so far
        self._sent = b""
        self._staging = _Staging(gpu)
        with gpu.xp.cuda.using_allocator(self.allocate):
            self._numbers = gpu.empty((CAPACITY,), np.uint8)
            self.tickets = gpu.zeros_for_tickets(1)[0]

    # ------------------------------------------------------------------ while capturing
    def allocate(self, size: int) -> Any:
        """Memory that is the graph's: what is freed in it is used again in it only."""
        found = self._pool.malloc(size)
        self._own.add(int(found.mem.ptr))
        return found

    def keep(self, array: Array) -> None:
        """Hold on to memory from outside that captured work reads or writes."""
        place = int(array.data.mem.ptr)
        if place not in self._own:
            self._kept[place] = array

    @contextmanager
    def live(self, numbers: Numbers) -> Iterator[None]:
        """Within the block, kernels take those of their numbers that change from `numbers()`.

        It gives them by the names of the kernel's parameters. Each replay calls it once, in the
        order of the blocks; the capture does not call it.
        """
        self._open = _Live(numbers, [])
        self._live.append(self._open)
        try:
            yield
        finally:
            self._open = None

    def place(self, make: Make, given: Mapping[str, Any]) -> np.uint64 | None:
        """Where a kernel finds make(**given), with the numbers of the replay in `given`.

        make: gives a NumPy scalar or struct. None where no numbers change.
        """
        if self._open is None:
            return None
        offset = self._size
        self._size += len(_padded(make(**given).tobytes()))
        if self._size > CAPACITY:
            raise CaptureError(f"a graph has room for {CAPACITY} bytes of changing numbers")
        self._open.places.append((make, dict(given)))
        return np.uint64(self._numbers.data.ptr + offset)

    # ------------------------------------------------------------------ afterwards
    def replay(self) -> None:
        """Do the work in the current stream; nobody waits for it."""
        with self._gpu.on(self._index):
            numbers = b"".join([live.bytes() for live in self._live])
            if numbers != self._sent:
                self._staging.send(numbers, self._numbers)
                self._sent = numbers
            self._graph.launch()


class _Staging:
    """Pinned memory in which numbers wait for their copy to the device."""

    def __init__(self, gpu: Gpu) -> None:
        self._cuda = gpu.xp.cuda
        self._memory: list[Any] = []
        self._copied: list[Any] = []  # events
        self._turn = 0

    def send(self, numbers: bytes, to: Array) -> None:
        """Copy to an array when the current stream comes to it."""
        turn = self._turn % SLOTS
        self._turn += 1
        if turn == len(self._memory):
            self._memory.append(self._cuda.alloc_pinned_memory(CAPACITY))
            self._copied.append(self._cuda.Event(disable_timing=True))
        elif not self._copied[turn].done:
            self._copied[turn].synchronize()
        ctypes.memmove(self._memory[turn].ptr, numbers, len(numbers))
        to.data.copy_from_host_async(self._memory[turn].ptr, len(numbers))
        self._copied[turn].record()


@contextmanager
def capture(gpu: Gpu, index: int) -> Iterator[Graph]:
    """Record what this thread's block launches on device `index`, instead of doing it.

    Memory allocated in the block is the graph's and has no contents before the first replay.
    Raises CaptureError for what has to wait for the device, such as reading a result on the host.
    """
    if gpu.captured.graph is not None:
        raise CaptureError("capture: this thread is capturing already")
    with gpu.capturing, gpu.on(index):
        graph = Graph(gpu, index)
        stream = gpu.xp.cuda.Stream(non_blocking=True)
        with stream, gpu.xp.cuda.using_allocator(graph.allocate):
            stream.begin_capture()
            gpu.captured.graph = graph
            try:
                yield graph
                graph._graph = stream.end_capture()
            except BaseException as error:
                if stream.is_capturing():
                    with suppress(Exception):  # what broke it is what the user hears of
                        stream.end_capture()
                if _is_about_capture(error):
                    raise CaptureError(
                        "this work cannot be captured, because the host takes part in it (it reads "
                        f"a result, or copies from memory that is not pinned): {error}"
                    ) from error
                raise
            finally:
                gpu.captured.graph = None


def _is_about_capture(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "StreamCapture" in text or "captur" in text or "CapturedEvent" in text
    )

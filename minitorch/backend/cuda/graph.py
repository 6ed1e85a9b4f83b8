"""Work captured once and launched again as one CUDA graph.

    with capture(gpu, 0) as graph:
        kernels["matmul"](x, y, out=z)       # recorded, not run
    graph.replay()                           # runs, in the current stream

A graph keeps the arguments that its launches got by value. Its kernels read dynamic numbers (a
learning rate, a step's number, an offset in a random stream) from device memory instead:

    with capture(gpu, 0) as graph:
        with graph.dynamic(lambda: {"lr": group["lr"], "step": next(steps)}):
            kernels["adam_"](params, means, squares, [], grads, lr=0.1, step=1, ...)

Each replay asks once for the numbers. If the device has others, they are made into the launches'
arguments and copied there ahead of the graph. A number called `step` is counted up on the device:
its kernel adds one at every replay, for the next one.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from minitorch.backend.cuda.gpu import Array, Gpu

Numbers = Callable[[], Mapping[str, Any]]
Make = Callable[..., Any]
CAPACITY = 1 << 14  # bytes of dynamic numbers that a graph has room for
SLOTS = 16  # replays whose numbers may still be on their way
_ALIGN = 16


class CaptureError(RuntimeError):
    """The work cannot be part of a graph, because it needs the host in between."""


class _DynamicNumbers:
    """A function that gives dynamic numbers; `read` says whether kernels read them.

    now: the numbers of this replay. known: those that the device has for it.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.read = False
        self.now: Mapping[str, Any] = {}
        self.known: dict[str, Any] = {}


def _padded(numbers: bytes) -> bytes:
    return numbers + bytes(-len(numbers) % _ALIGN)


class Pool:
    """Memory of graphs, which is reused among them only.

    It goes back to the device when the last graph, and then the last of their results, is gone:
    CuPy's pool would take the memory of results with it, or not free its split blocks at all.
    """

    _all: ClassVar[dict[int, tuple[Any, Any]]] = {}  # devices and CuPy's pools, by the pools' ids
    _retired: ClassVar[list[int]] = []  # of those whose graphs are gone

    def __init__(self, gpu: Gpu) -> None:
        self.sweep()
        cuda = gpu.xp.cuda
        pool = cuda.MemoryPool(partial(_fresh, gpu.xp))
        self._id = id(pool)
        self._all[self._id] = cuda.Device(), pool
        self.malloc: Callable[[int], Any] = pool.malloc

    @classmethod
    def sweep(cls) -> None:
        """Give back what pools have whose graphs are gone.

        Threads and finalizers may come here at once: whoever looks at a pool has it alone.
        """
        used = []
        while cls._retired:
            try:
                known = cls._retired.pop()
            except IndexError:
                break
            device, pool = cls._all[known]
            with device:
                pool.free_all_blocks()
                if pool.used_bytes():  # results that live
                    used.append(known)
                else:
                    del cls._all[known]
        cls._retired += used

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not finalizing():
            self._retired.append(self._id)
            self.sweep()


def _fresh(xp: Any, size: int) -> Any:
    """Memory from the device, for a pool of graphs.

    CUDA's error would let the pool give back its unused blocks, which captured work uses.
    """
    cuda, shared = xp.cuda, xp.get_default_memory_pool()
    for last in (False, True):
        try:
            return cuda.MemoryPointer(cuda.Memory(size), 0)
        except cuda.runtime.CUDARuntimeError as error:
            if last:
                raise cuda.memory.OutOfMemoryError(size, shared.total_bytes()) from error
            shared.free_all_blocks()
    raise AssertionError


class Graph:
    """Captured work. The graph holds its memory, and all that the work reads and writes.

    Replays run in one stream, or in streams that wait for each other: a replay writes to the same
    memory as the one before.
    pool: that of another graph, which then must not be replayed while this one's results are read.
    fixed: refuse work with dynamic numbers, as there are none.
    """

    def __init__(self, gpu: Gpu, index: int, pool: Any = None, fixed: bool = False) -> None:
        self._gpu = gpu
        self.index = index
        self._graph: Any = None
        self.pool: Pool = Pool(gpu) if pool is None else pool
        self._fixed = fixed
        self._own: set[int] = set()  # addresses of memory that the pool gave
        self._held: dict[int, Array] = {}  # memory from outside that the work reads or writes
        self.held: list[Any] = []  # the same of the host, and what another stream still used
        self._dynamic: list[_DynamicNumbers] = []
        self._open: _DynamicNumbers | None = None
        self._slots: list[tuple[_DynamicNumbers, Make, dict[str, Any]]] = []
        self._size = 0  # bytes of all slots so far
        self._fresh = False  # whether the device has not got its numbers
        self._staging = _Staging(gpu)
        self._replaying = threading.RLock()  # numbers and launch belong together
        with gpu.xp.cuda.using_allocator(self.allocate):
            self._numbers = gpu.empty((CAPACITY,), np.uint8)
            self.tickets = gpu.zeros_for_tickets(1)[0]

    def __del__(self) -> None:
        for name in ("_numbers", "tickets"):  # go before their pool
            self.__dict__.pop(name, None)

    # ------------------------------------------------------------------ while capturing
    def allocate(self, size: int) -> Any:
        """Memory of the graph: once freed, it is reused within the graph only."""
        found = self.pool.malloc(size)
        self._own.add(int(found.mem.ptr))
        return found

    def hold(self, array: Array) -> None:
        """Hold on to memory from outside that captured work reads or writes."""
        address = int(array.data.mem.ptr)
        if address not in self._own:
            self._held[address] = array

    @contextmanager
    def dynamic(self, numbers: Numbers) -> Iterator[None]:
        """Within the block, kernels take their dynamic numbers from `numbers()`.

        It returns them by the names of the kernel's parameters, `step` among them where the kernel
        has one. Each replay calls it once, in the order of the first blocks; the capture does not.
        """
        known = [dynamic for dynamic in self._dynamic if dynamic.numbers == numbers]
        if not known:
            known = [_DynamicNumbers(numbers)]
            self._dynamic += known
        self._open = known[0]
        try:
            yield
        finally:
            self._open = None

    def slot(self, make: Make, given: Mapping[str, Any]) -> np.uint64 | None:
        """The address of make(**given), with the numbers of the replay in `given`, for a kernel.

        make: returns a NumPy scalar or struct. None where no numbers are dynamic.
        """
        if self._open is None:
            if self._fixed:
                raise CaptureError(
                    "an optimizer's step, or random numbers, would be the same in each replay; "
                    "minitorch.compile captures steps that have these"
                )
            return None
        offset = self._size
        self._size += len(_padded(make(**given).tobytes()))
        if self._size > CAPACITY:
            raise CaptureError(f"a graph has room for {CAPACITY} bytes of changing numbers")
        self._slots.append((self._open, make, dict(given)))
        self._open.read = self._fresh = True
        return np.uint64(self._numbers.data.ptr + offset)

    # ------------------------------------------------------------------ afterwards
    def replay(self) -> None:
        """Launch the work in the current stream; the host does not wait for it."""
        with self._gpu.on(self.index), self._replaying:
            self.launch()

    def launch(self) -> None:
        """As `replay`; the graph's device is the current one, and no other thread replays it."""
        try:
            changed = self._fresh
            for dynamic in self._dynamic:
                dynamic.now = now = dynamic.numbers()
                known = dynamic.known
                if "step" in known:
                    known["step"] += 1  # as the kernel did
                if now != known and dynamic.read:
                    changed = True
            if changed:
                self._staging.send(self._contents(), self._numbers)
                self._fresh = False
            self._graph.launch()
        except BaseException:
            self._fresh = self._size > 0  # the device may have counted a step, or not
            raise

    def _contents(self) -> bytes:
        """The contents of all slots, which the device is to have."""
        found = []
        for dynamic, make, given in self._slots:
            chosen = {name: dynamic.now.get(name, value) for name, value in given.items()}
            found.append(_padded(make(**chosen).tobytes()))
        for dynamic in self._dynamic:
            dynamic.known = dict(dynamic.now)
        return b"".join(found)


class _Staging:
    """Pinned memory in which numbers wait for their copy to the device."""

    def __init__(self, gpu: Gpu) -> None:
        self._cuda = gpu.xp.cuda
        self._memory: list[Any] = []
        self._copied: list[Any] = []  # events
        self._turn = 0

    def send(self, numbers: bytes, to: Array) -> None:
        """Copy the numbers to an array, in the order of the current stream."""
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
def capture(
    gpu: Gpu, index: int, pool: Any = None, stream: Any = None, fixed: bool = False
) -> Iterator[Graph]:
    """Record what this thread's block launches on device `index`, instead of running it.

    stream: the one to capture in (None: a new one). pool, fixed: the graph's.

    Memory allocated in the block is the graph's and has no contents before the first replay.
    Raises CaptureError for work that waits for the device, such as reading a result on the host.
    """
    if gpu.captured.graph is not None:
        raise CaptureError("capture: this thread is capturing already")
    with gpu.capturing, gpu.on(index):
        graph = Graph(gpu, index, pool, fixed)
        if gpu.products is not None:
            gpu.products.handle()  # to make one may take what a capture forbids
        stream = gpu.xp.cuda.Stream(non_blocking=True) if stream is None else stream
        with stream, gpu.xp.cuda.using_allocator(graph.allocate):
            stream.begin_capture()
            gpu.captured.graph = graph
            try:
                yield graph
                graph._graph = stream.end_capture()
            except BaseException as error:
                if stream.is_capturing():
                    with suppress(Exception):  # the user hears of the first error
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
    return (
        isinstance(error, RuntimeError)
        and not isinstance(error, CaptureError)
        and ("StreamCapture" in text or "captur" in text or "CapturedEvent" in text)
    )

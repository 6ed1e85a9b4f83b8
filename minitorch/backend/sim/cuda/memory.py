"""`cupy.cuda.memory`: device memory, pointers into it, the pool that hands it out.

Every array gets memory of its own, fenced by the driver, and gives it back when it dies: a pool
that handed the same bytes out again would hide their use after that. The pool keeps CuPy's books
all the same. A pool made by hand does reuse its memory, as a captured graph needs it; when the pool
dies, so does all of its memory, also that of arrays.
"""

from __future__ import annotations

import bisect
import ctypes
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from minitorch.backend.sim import driver, work
from minitorch.backend.sim.cuda.device import Device
from minitorch.backend.sim.cuda.memory_hook import MemoryHook
from minitorch.backend.sim.cuda.stream import Stream, current_queue
from minitorch.backend.sim.driver import Record, SimError
from minitorch.backend.sim.machine import (
    CUDARuntimeError,
    current_device,
    memory_info,
    pools,
)
from minitorch.backend.sim.settings import settings

HOST = -1  # where a device's number would stand
ROUND = 512  # CuPy allocates multiples of this
_pool_numbers = itertools.count()


class OutOfMemoryError(MemoryError):
    """The device, or the limit that was set, has too little left."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited})."
        )


# ------------------------------------------------------------------ what is allocated where
class Memory:
    """Bytes on a device, of the current one; released when the last reference dies."""

    def __init__(self, size: int, label: str = "memory", counts: int | None = None) -> None:
        self.size = size
        self._label = label
        self.device_id = current_device()
        self._alive = True
        self.ptr = _allocate(size, label, self.device_id, counts) if size else 0
        if size:
            _known.add(self)

    @property
    def device(self) -> Device:
        """The device that holds it."""
        return Device(self.device_id)

    def _buffer(self) -> Any:
        """The bytes, for NumPy; SimError if they were given back."""
        if not self._alive:
            raise SimError(f"{self._label} is used after it was given back")
        return memoryview(_bytes(self.size.bit_length()).from_address(self.ptr))[: self.size]

    def _release(self) -> None:
        """Give the bytes back."""
        if self._alive and self.size:
            self._alive = False
            _known.remove(self)
            driver.release(self.ptr)


@cache  # each is a class, and a class that dies is a cycle for the garbage collector
def _bytes(bits: int) -> Any:
    """The ctypes type of 2**bits bytes."""
    return ctypes.c_uint8 * (1 << bits)


def _allocate(size: int, label: str, device: int, counts: int | None) -> int:
    """The address of fresh memory; as on a GPU, a lack of it first waits for what is freed."""
    for last in (False, True):
        try:
            if (counts or size) > memory_info(device)[0]:
                raise driver.OutOfMemory
            return driver.allocate(size, label, device, counts)
        except driver.OutOfMemory:
            if last:
                raise _too_little() from None
            work.finish(device)
    raise AssertionError


def _too_little() -> CUDARuntimeError:
    return CUDARuntimeError("cudaErrorMemoryAllocation", "out of memory")


class _Known:
    """All memory that a kernel may be given, by address."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._memories: dict[int, Any] = {}
        self._gone: deque[int] = deque()  # given back, but still among the starts
        self._lock = threading.RLock()

    def add(self, memory: Any) -> None:
        """Know this memory from now on."""
        with self._lock:
            self._settle()
            bisect.insort(self._starts, memory.ptr)
            self._memories[memory.ptr] = memory

    def remove(self, memory: Any) -> None:
        """Only noted: the garbage collector may come here out of the other methods."""
        self._gone.append(memory.ptr)

    def _settle(self) -> None:
        while self._gone:
            address = self._gone.popleft()
            del self._starts[bisect.bisect_left(self._starts, address)]
            del self._memories[address]

    def at(self, address: int) -> Any:
        """The memory that an address points into, or None."""
        with self._lock:  # another thread may allocate or free meanwhile
            self._settle()
            place = bisect.bisect_right(self._starts, address) - 1
            if place < 0:
                return None
            memory = self._memories[self._starts[place]]
        return memory if address < memory.ptr + memory.size else None


_known = _Known()
memory_at = _known.at
add_host_memory = _known.add
remove_host_memory = _known.remove


class _Share:
    """A pool's part of one device: its books, and for a pool made by hand its free memory."""

    def __init__(self) -> None:
        self.used = 0
        self.limit = 0
        self.free: dict[int, list[Memory | None]] = {}  # by size; None: only in the books
        self.given: dict[int, Memory] = {}  # by address: what arrays of a pool made by hand have

    @property
    def free_bytes(self) -> int:
        # A copy: another thread or the garbage collector may free memory of a new size meanwhile,
        # also while a list of tuples is made.
        return sum(size * len(blocks) for size, blocks in self.free.copy().items())

    @property
    def total(self) -> int:
        return self.used + self.free_bytes

    def release(self, of_arrays: bool = False) -> None:
        """Give free memory back to the device; with a pool that dies, also that of arrays."""
        if of_arrays:
            for given in self.given.values():
                given._release()
        free, self.free = self.free, {}
        for blocks in free.values():
            for memory in blocks:
                if memory is not None:
                    memory._release()


class PooledMemory:
    """Memory that goes back to its pool when the last reference dies."""

    def __init__(self, pool: MemoryPool, memory: Memory, size: int) -> None:
        self._pool, self._memory, self._size = pool._number, memory, size
        # Freed memory is reused in the order of the stream that asked for it.
        self._queue = current_queue(memory.device_id)

    ptr = property(lambda self: self._memory.ptr, doc="The address.")
    size = property(lambda self: self._memory.size, doc="The number of bytes.")
    device_id = property(lambda self: self._memory.device_id, doc="The device's number.")
    device = property(lambda self: self._memory.device, doc="The device.")
    _label = property(lambda self: self._memory._label)
    _alive = property(lambda self: self._memory._alive)

    def _buffer(self) -> Any:
        """The bytes, for NumPy."""
        return self._memory._buffer()

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if finalizing():
            return
        pool = pools.get(self._pool)  # in a cycle, a weak reference would be dead by now
        if pool is not None:
            pool._take_back(self._memory, self._size, self._queue)


class MemoryPool:
    """Hands out device memory and keeps the books on it, for each device."""

    def __init__(self, allocator: Allocator | None = None) -> None:
        self._allocator = allocator
        self._shares: dict[int, _Share] = {}
        self._reuses = True
        self._number = next(_pool_numbers)
        pools[self._number] = self

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not finalizing():
            for device, share in self._shares.items():
                work.finish(device)
                share.release(of_arrays=True)

    def _share(self) -> _Share:
        return self._shares.setdefault(current_device(), _Share())

    def _only_booked(self, device: int) -> int:
        """Bytes that it holds by its books, but has given back to the driver."""
        if self._reuses or device not in self._shares:
            return 0
        return self._shares[device].free_bytes

    def malloc(self, size: int, label: str = "memory") -> MemoryPointer:
        """Memory of the current device; OutOfMemoryError if too little is left."""
        device = current_device()
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        queue = current_queue(device)
        if queue.recording is not None and not self._reuses:
            queue.recording.broken = True
            raise SimError(
                f"{label}: memory allocated while a stream is captured must outlive the graph: "
                "use a pool of its own, with cuda.using_allocator(cuda.MemoryPool().malloc)"
            )
        rounded = -(-size // ROUND) * ROUND
        memory = self._take(self._share(), size, rounded, label)
        pooled = PooledMemory(self, memory, rounded)
        MemoryHook._malloced(device, size, rounded, memory.ptr, id(pooled))
        return MemoryPointer(pooled, 0)

    def _take(self, share: _Share, size: int, rounded: int, label: str) -> Memory:
        blocks = share.free.get(rounded)
        free = blocks.pop() if blocks else None
        found = self._fresh(share, size, rounded, label) if free is None else free
        share.used += rounded
        if self._reuses:
            share.given[found.ptr] = found
        return found

    def _fresh(self, share: _Share, size: int, rounded: int, label: str) -> Memory:
        """Memory from the device. A lack of it first takes the pool's unused blocks."""
        for last in (False, True):
            try:
                if share.limit and share.total + rounded > share.limit:
                    raise _too_little()
                if self._allocator is not None:
                    found: Memory = self._allocator(rounded).mem
                    return found
                return Memory(rounded if self._reuses else size, label, counts=rounded)
            except CUDARuntimeError as error:
                if last or error.name != "cudaErrorMemoryAllocation":
                    raise OutOfMemoryError(rounded, share.total, share.limit) from None
            self.free_all_blocks()
        raise AssertionError

    def _take_back(self, memory: Memory, size: int, queue: work.Queue) -> None:
        share = self._shares[memory.device_id]
        share.used -= size
        share.given.pop(memory.ptr, None)
        share.free.setdefault(size, []).append(memory if self._reuses else None)
        MemoryHook._freed(memory.device_id, size, memory.ptr)
        if not self._reuses:
            if (settings.deferred or settings.interleaved) and queue.recording is None:
                queue.submit(memory._release, may_run=False)
            else:
                memory._release()

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        """Give free memory of the current device back to it, which waits for its work."""
        if self._reuses:
            work.finish(current_device())
        self._share().release()

    def n_free_blocks(self) -> int:
        """The number of free blocks."""
        return sum(map(len, self._share().free.copy().values()))

    def used_bytes(self) -> int:
        """Bytes that arrays hold."""
        return self._share().used

    def free_bytes(self) -> int:
        """Bytes that the pool holds for arrays to come."""
        return self._share().free_bytes

    def total_bytes(self) -> int:
        """Bytes that the pool took from the device."""
        return self._share().total

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Allow only so many bytes, or this part of the device's; 0 or nothing: all of them."""
        self._share().limit = int(fraction * settings.memory) if fraction else (size or 0)

    def get_limit(self) -> int:
        """The most bytes that are allowed; 0: all of them."""
        return self._share().limit


_default_pool = MemoryPool()
_default_pool._reuses = False


def get_default_memory_pool() -> MemoryPool:
    """The pool from which arrays take their memory."""
    return _default_pool


# ------------------------------------------------------------------ who allocates
Allocator = Callable[[int], "MemoryPointer"]


class _Allocators(threading.local):
    chosen: Allocator | None = None


_allocators = _Allocators()
_process_allocator: Allocator = _default_pool.malloc


def alloc(size: int, label: str = "memory") -> MemoryPointer:
    """Memory from the current allocator."""
    allocator = _allocators.chosen or _process_allocator
    if isinstance(getattr(allocator, "__self__", None), MemoryPool):
        return allocator(size, label)  # type: ignore[call-arg]
    return allocator(size)


def get_allocator() -> Allocator:
    """The current allocator."""
    return _allocators.chosen or _process_allocator


def set_allocator(allocator: Allocator | None = None) -> None:
    """Make a function of a size the allocator; None: no pool."""
    global _process_allocator
    _process_allocator = allocator or _unpooled


@contextmanager
def using_allocator(allocator: Allocator | None = None) -> Iterator[None]:
    """The same for a block of code in this thread."""
    previous = _allocators.chosen
    _allocators.chosen = allocator or _unpooled
    try:
        yield
    finally:
        _allocators.chosen = previous


def _unpooled(size: int) -> MemoryPointer:
    return MemoryPool().malloc(size)


# ------------------------------------------------------------------ pointers and copies
def _address(host: int | ctypes.c_void_p) -> int:
    return int(host.value or 0) if isinstance(host, ctypes.c_void_p) else int(host)


class MemoryPointer:
    """An address in device memory; it holds the memory."""

    __slots__ = ("mem", "ptr")

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem = mem
        self.ptr: int = mem.ptr + offset

    @property
    def device_id(self) -> int:
        """The number of the device that holds it."""
        return int(self.mem.device_id)

    @property
    def device(self) -> Device:
        """The device that holds it."""
        device: Device = self.mem.device
        return device

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    __radd__ = __add__

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    def _check(self, size: int) -> None:
        """SimError unless `size` bytes from here on lie in the memory, and it is there."""
        self.mem._buffer()
        start = self.ptr - self.mem.ptr
        if start < 0 or size < 0 or start + size > self.mem.size:
            raise SimError(
                f"copy of {size} bytes at byte {start} of {self.mem._label}, "
                f"which has {self.mem.size}"
            )

    def _queue(self, stream: Stream | None) -> work.Queue:
        if stream is None:
            return current_queue(current_device())
        return stream._queue()

    def copy_from_device_async(
        self, src: MemoryPointer, size: int, stream: Stream | None = None
    ) -> None:
        """Copy bytes from device memory, of this or another device."""
        _submit_copy(self._queue(stream), self, src, size)

    def copy_from_host_async(
        self, mem: int | ctypes.c_void_p, size: int, stream: Stream | None = None
    ) -> None:
        """Copy bytes from pinned host memory, which are read when the stream comes to it."""
        _submit_copy(self._queue(stream), self, _address(mem), size)

    def copy_to_host_async(
        self, mem: int | ctypes.c_void_p, size: int, stream: Stream | None = None
    ) -> None:
        """Copy bytes to pinned host memory, which are there when the stream came to it."""
        _submit_copy(self._queue(stream), _address(mem), self, size)

    def copy_from_host(self, mem: int | ctypes.c_void_p, size: int) -> None:
        """Copy bytes from the host, and wait for it."""
        queue = work.queue_of(self.device_id, 0)
        _submit_copy(queue, self, _address(mem), size, pinned=False)
        queue.synchronize()

    def copy_to_host(self, mem: int | ctypes.c_void_p, size: int) -> None:
        """Copy bytes to the host, and wait for it."""
        queue = work.queue_of(self.device_id, 0)
        _submit_copy(queue, _address(mem), self, size, pinned=False)
        queue.synchronize()

    def memset_async(self, value: int, size: int, stream: Stream | None = None) -> None:
        """Set bytes to a value."""
        self._check(size)
        address, block = self.ptr, block_of(self.mem)

        def fill() -> None:
            block._buffer()
            ctypes.memset(address, value, size)
            driver.mark_written(address, size)

        if size:
            self._queue(stream).submit(fill)


def block_of(mem: Memory | PooledMemory) -> Memory:
    """The memory itself, which a pool may take back while somebody holds it."""
    return mem._memory if isinstance(mem, PooledMemory) else mem


def _submit_copy(
    queue: work.Queue,
    to: MemoryPointer | int,
    source: MemoryPointer | int,
    size: int,
    pinned: bool = True,
) -> None:
    """Queue a copy; like a stream, the queue keeps neither of the memories alive."""
    if size == 0:
        return
    for end in (to, source):
        if isinstance(end, MemoryPointer):
            end._check(size)
        elif pinned:
            _require_pinned(end)
    blocks = [block_of(end.mem) for end in (to, source) if isinstance(end, MemoryPointer)]
    to_device, source_device = (
        end.device_id if isinstance(end, MemoryPointer) else HOST for end in (to, source)
    )
    to, source = int(to), int(source)

    def copy() -> None:
        for block in blocks:
            block._buffer()
        ctypes.memmove(to, source, size)
        driver.mark_written(to, size)
        record_copy(size, source_device, to_device)

    queue.submit(copy)


def record_copy(size: int, source_device: int, to_device: int) -> None:
    """Write a copy into the log. Devices by number, HOST for the host."""
    kind = f"copy {'DH'[source_device == HOST]}2{'DH'[to_device == HOST]}"
    device = to_device if source_device == HOST else source_device
    read = 0 if source_device == HOST else size
    driver.record(Record(kind, device=device, read=read, written=0 if to_device == HOST else size))


def _require_pinned(address: int) -> None:
    found = memory_at(address)
    if found is None or found.device_id != HOST:
        raise SimError(
            f"an asynchronous copy needs pinned host memory, given {address:#x}: "
            "use alloc_pinned_memory"
        )

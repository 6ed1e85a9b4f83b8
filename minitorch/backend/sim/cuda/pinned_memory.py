"""`cupy.cuda.pinned_memory`: host memory that devices read and write themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable

from minitorch.backend.sim import driver
from minitorch.backend.sim.cuda import memory


class PinnedMemory:
    """Pinned bytes; released when the last reference dies."""

    device_id = memory.HOST
    _label = "pinned memory"
    _alive = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.ptr = driver.host_allocate(size, self._label)
        memory.add_host_memory(self)

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if finalizing():
            return
        memory.remove_host_memory(self)
        driver.release(self.ptr)


class PinnedMemoryPointer:
    """An address in pinned memory; it holds the memory."""

    def __init__(self, mem: PinnedMemory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset

    def size(self) -> int:
        """Bytes from here to the end."""
        return self.mem.size - (self.ptr - self.mem.ptr)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Pinned memory of at least this many bytes."""
    return PinnedMemoryPointer(PinnedMemory(max(size, 1)), 0)

"""`cupy.cuda`: devices, streams, events and memory of the simulated GPU."""

from minitorch.backend.sim.cuda import compiler, driver, memory, nvtx, pinned_memory, runtime
from minitorch.backend.sim.cuda.device import Device
from minitorch.backend.sim.cuda.memory import (
    Memory,
    MemoryPointer,
    MemoryPool,
    alloc,
    get_allocator,
    set_allocator,
    using_allocator,
)
from minitorch.backend.sim.cuda.memory_hook import MemoryHook
from minitorch.backend.sim.cuda.pinned_memory import PinnedMemoryPointer, alloc_pinned_memory
from minitorch.backend.sim.cuda.stream import (
    Event,
    Graph,
    Stream,
    get_current_stream,
    get_elapsed_time,
)

__all__ = [
    "Device",
    "Event",
    "Graph",
    "Memory",
    "MemoryHook",
    "MemoryPointer",
    "MemoryPool",
    "PinnedMemoryPointer",
    "Stream",
    "alloc",
    "alloc_pinned_memory",
    "compiler",
    "driver",
    "get_allocator",
    "get_current_stream",
    "get_elapsed_time",
    "memory",
    "nvtx",
    "pinned_memory",
    "runtime",
    "set_allocator",
    "using_allocator",
]

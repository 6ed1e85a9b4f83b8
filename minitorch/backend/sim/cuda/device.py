"""`cupy.cuda.Device`: a simulated device, current for a block of code or from now on."""

from __future__ import annotations

from typing import Any

from minitorch.backend.sim import driver, work
from minitorch.backend.sim.machine import (
    checked_device,
    current_device,
    memory_info,
    set_current_device,
)
from minitorch.backend.sim.settings import settings

COMPUTE_CAPABILITY = (9, 0)
# In kHz and bits, an H100's: nothing here is as fast, and shares of them show that.
CLOCK = 1_980_000
MEMORY_CLOCK = 2_619_000
MEMORY_BITS = 5_120


class Device:
    """A device by its number (None: the current one); as a context manager, the current one."""

    __slots__ = ("_previous", "id")

    def __init__(self, device: int | Device | None = None) -> None:
        if device is None:
            device = current_device()
        self.id = int(device)
        self._previous: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        self._previous.append(current_device())
        set_current_device(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        set_current_device(self._previous.pop())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(("Device", self.id))

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        """Make this device the thread's current one."""
        set_current_device(self.id)

    def synchronize(self) -> None:
        """Wait for all work of this device."""
        work.synchronize(checked_device(self.id))

    @property
    def compute_capability(self) -> str:
        """Major and minor version in one string."""
        return "".join(map(str, COMPUTE_CAPABILITY))

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        return memory_info(checked_device(self.id))

    @property
    def attributes(self) -> dict[str, Any]:
        """CUDA's device attributes by name, without their `cudaDevAttr`."""
        checked_device(self.id)
        return {
            "MultiProcessorCount": settings.processors,
            "MaxThreadsPerBlock": driver.MAX_THREADS,
            "MaxSharedMemoryPerBlock": driver.SHARED_BYTES,
            "MaxSharedMemoryPerBlockOptin": driver.SHARED_BYTES_OPT_IN,
            "MaxSharedMemoryPerMultiprocessor": driver.SHARED_BYTES_OPT_IN + 1024,
            "WarpSize": 32,
            "ClockRate": CLOCK,
            "MemoryClockRate": MEMORY_CLOCK,
            "GlobalMemoryBusWidth": MEMORY_BITS,
            "ComputeCapabilityMajor": COMPUTE_CAPABILITY[0],
            "ComputeCapabilityMinor": COMPUTE_CAPABILITY[1],
        }

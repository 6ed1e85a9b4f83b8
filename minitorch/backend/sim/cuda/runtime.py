"""`cupy.cuda.runtime`: devices by number."""

from __future__ import annotations

from typing import Any

from minitorch.backend.sim import work
from minitorch.backend.sim.cuda import memory
from minitorch.backend.sim.machine import (
    CUDARuntimeError,
    checked_device,
    current_device,
    set_current_device,
)
from minitorch.backend.sim.settings import settings

__all__ = [
    "CUDARuntimeError",
    "deviceSynchronize",
    "getDevice",
    "getDeviceCount",
    "getDeviceProperties",
    "memGetInfo",
    "setDevice",
]


def getDeviceCount() -> int:
    """The number of simulated devices."""
    return settings.devices


def getDevice() -> int:
    """The number of this thread's current device."""
    return current_device()


def setDevice(device: int) -> None:
    """Make a device this thread's current one; CUDARuntimeError if there is none of that number."""
    set_current_device(device)


def deviceSynchronize() -> None:
    """Wait for all work of the current device."""
    work.synchronize(current_device())


def getDeviceProperties(device: int) -> dict[str, Any]:
    """What CUDA tells of a device; only what the framework asks for."""
    checked_device(device)
    return {
        "name": b"Simulated GPU",
        "totalGlobalMem": settings.memory,
        "major": 9,
        "minor": 0,
        "multiProcessorCount": settings.processors,
        "maxThreadsPerBlock": 1024,
        "sharedMemPerBlock": 48 * 1024,
        "sharedMemPerBlockOptin": 227 * 1024,
        "warpSize": 32,
    }


def memGetInfo() -> tuple[int, int]:
    """Free and total bytes of the current device."""
    return memory.info(current_device())

"""`cupy.cuda.runtime`: devices by number."""

from __future__ import annotations

from typing import Any

from minitorch.backend.sim import work
from minitorch.backend.sim.cuda.device import Device
from minitorch.backend.sim.machine import (
    CUDARuntimeError,
    current_device,
    memory_info,
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
    attributes = Device(device).attributes
    return {
        "name": b"Simulated GPU",
        "totalGlobalMem": settings.memory,
        "major": attributes["ComputeCapabilityMajor"],
        "minor": attributes["ComputeCapabilityMinor"],
        "multiProcessorCount": attributes["MultiProcessorCount"],
        "maxThreadsPerBlock": attributes["MaxThreadsPerBlock"],
        "sharedMemPerBlock": attributes["MaxSharedMemoryPerBlock"],
        "sharedMemPerBlockOptin": attributes["MaxSharedMemoryPerBlockOptin"],
        "warpSize": attributes["WarpSize"],
    }


def memGetInfo() -> tuple[int, int]:
    """Free and total bytes of the current device."""
    return memory_info(current_device())

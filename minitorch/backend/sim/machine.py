"""What all devices share: which is current, how much memory is left, CUDA's runtime error."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from minitorch.backend.sim import driver
from minitorch.backend.sim.settings import settings


class CUDARuntimeError(RuntimeError):
    """An error of CUDA's runtime, by its name and text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class _Current(threading.local):
    device = 0


_current = _Current()


def current_device() -> int:
    """The number of this thread's current device."""
    return _current.device


def set_current_device(device: int) -> None:
    """Make a device this thread's current one; CUDARuntimeError if there is none of that number."""
    _current.device = checked_device(device)


def checked_device(device: int) -> int:
    """The number of a device that exists."""
    if not 0 <= device < settings.devices:
        raise CUDARuntimeError("cudaErrorInvalidDevice", "invalid device ordinal")
    return device


pools: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # by number


def memory_info(device: int) -> tuple[int, int]:
    """Free and total bytes of a device."""
    living = [reference() for reference in pools.valuerefs()]  # others may come or go meanwhile
    booked = sum(pool._only_booked(device) for pool in living if pool is not None)
    return settings.memory - driver.allocated(device) - booked, settings.memory

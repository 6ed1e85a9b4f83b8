"""The simulated machine: how many devices, how large, and whether they work behind the host."""

from __future__ import annotations

import threading
from dataclasses import dataclass

GIB = 1024**3


class SimError(RuntimeError):
    """A mistake that a GPU would let pass, or would answer with a wrong result or a crash."""


class CUDARuntimeError(RuntimeError):
    """An error of CUDA's runtime, by its name and text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")


@dataclass
class Machine:
    """What the devices are like.

    devices: how many. memory: bytes of each. processors: multiprocessors of each; few, so that
    grids are smaller than the data. deferred: launches and copies wait until something
    synchronises, as on a device that is slower than its host.
    """

    devices: int = 1
    memory: int = 16 * GIB
    processors: int = 4
    deferred: bool = False


MACHINE = Machine()


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
    if not 0 <= device < MACHINE.devices:
        raise CUDARuntimeError("cudaErrorInvalidDevice", "invalid device ordinal")
    return device

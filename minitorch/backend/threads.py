"""Threads that help another one: they have its device and streams, and its work is in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch.core.device import get_default_device, of, registered
from minitorch.core.dtypes import Array

__all__ = ["fence", "inherited", "record_stream"]


def _streams() -> list[Any]:
    """The streams of all kinds of GPUs in use."""
    return [serving.gpu.streams for serving in registered() if serving.gpu is not None]


def inherited() -> Callable[[], None]:
    """A function that gives another thread this one's default and current devices and streams.

    The other thread's work comes after what this one has launched by now.
    """
    device = get_default_device()
    steps = [device.__enter__, *(streams.inherited() for streams in _streams())]

    def take_over() -> None:
        for step in steps:
            step()

    return take_over


def fence() -> Callable[[], bool]:
    """A function that lets another thread's work to come wait for this one's so far.

    It returns whether that work is in another stream, which then uses memory of this one's.
    """
    waits = [streams.fence() for streams in _streams()]
    return lambda: sum(wait() for wait in waits) > 0  # all of them


def record_stream(array: Array, stream: Any = None) -> None:
    """Let no other array have an array's memory before the stream's work is over.

    stream: the backend's; None: the current one of the array's device. Nothing on a CPU.
    """
    gpu = of(array).gpu
    if gpu is not None:
        gpu.streams.record(array, stream)

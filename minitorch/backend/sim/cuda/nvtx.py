"""`cupy.cuda.nvtx`: named ranges of a profiler, which the simulator only checks."""

from __future__ import annotations

import threading

from minitorch.backend.sim.driver import Record, record


class _Open(threading.local):
    def __init__(self) -> None:
        self.names: list[str] = []


_open = _Open()


def RangePush(message: str, id_color: int = -1) -> None:
    """Start a range within those that are open in this thread."""
    _open.names.append(message)
    record(Record("range", message))


def RangePop() -> None:
    """End the range that this thread started last."""
    if not _open.names:
        raise RuntimeError("RangePop: no range is open in this thread")
    _open.names.pop()


def Mark(message: str, id_color: int = -1) -> None:
    """Name a moment."""
    record(Record("mark", message))

"""What the runtime found, in words and by source line: failures, and requests of memory."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Any

from minitorch.backend.sim.build import Kernel, runtime
from minitorch.backend.sim.settings import settings

_PC = re.compile(r"<pc (0x[0-9a-f]+)>")


class _Failure(ctypes.Structure):
    """`Failure` of native/state.h."""

    _fields_ = (
        ("text", ctypes.c_char * 2048),
        ("pc", ctypes.c_uint64),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3),
    )


def failure(kernel: Kernel) -> str:
    """ "sum_f32: block (3,0,0) thread (7,0,0) at reduce.cu:31: ... [random schedule, seed 0]".

    Of the launch that has just failed.
    """
    found = _Failure.in_dll(runtime(), "sim_failure")
    text = found.text.decode(errors="replace")
    addresses = [int(address, 16) for address in _PC.findall(text)]
    place, *others = kernel.module.places([found.pc, *addresses])
    remaining = iter(others)
    text = _PC.sub(lambda match: next(remaining) or "an unknown line", text)
    block, thread = (",".join(map(str, index)) for index in (found.block, found.thread))
    order = f"{settings.schedule} schedule"
    if settings.schedule == "random":
        order += f", seed {settings.seed}"
    at = f" at {place}" if place else ""
    return f"{kernel.name}: block ({block}) thread ({thread}){at}: {text} [{order}]"


class _LineCount(ctypes.Structure):
    """`LineCount` of native/counts.h."""

    _fields_ = (
        ("pc", ctypes.c_uint64),
        ("requests", ctypes.c_uint64),
        ("lanes", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("units", ctypes.c_uint64),
        ("needed", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("write", ctypes.c_uint32),
        ("atomic", ctypes.c_uint32),
        ("shared", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class LineCount:
    """What the warps of a launch asked of memory at one line of the source.

    place: "common.cuh:57, reduce.cu:31". access: "read", "write" or "atomic".
    space: "global" or "shared". size: bytes of one thread's access.
    requests: of warps; lanes: threads in them. bytes: distinct ones, summed over requests.
    units: sectors of 32 bytes touched (global), passes through the 32 banks (shared).
    needed: units that the bytes would fit into.
    """

    place: str
    access: str
    space: str
    size: int
    requests: int
    lanes: int
    bytes: int
    units: int
    needed: int

    @property
    def excess(self) -> float:
        """Units per needed unit: 1 is perfectly coalesced, or free of bank conflicts."""
        return self.units / self.needed


def line_counts(kernel: Kernel) -> list[LineCount]:
    """The requests of the launch that has just ended, if settings.counted was set."""
    room = runtime().sim_line_counts(None, 0)
    found = (_LineCount * room)()
    runtime().sim_line_counts(found, room)
    if not room:
        return []
    places = kernel.module.places([line.pc for line in found])
    merged: dict[Any, list[int]] = {}
    for place, line in zip(places, found, strict=True):
        access = "atomic" if line.atomic else "write" if line.write else "read"
        key = (place, access, "shared" if line.shared else "global", line.size)
        sums = merged.setdefault(key, [0] * 5)
        numbers = (line.requests, line.lanes, line.bytes, line.units, line.needed)
        merged[key] = [a + b for a, b in zip(sums, numbers)]
    return [LineCount(*key, *sums) for key, sums in sorted(merged.items())]


def sectors() -> tuple[int, int]:
    """Bytes that the checked launch that has just ended read and wrote, in whole sectors."""
    found = (ctypes.c_uint64 * 2)()
    runtime().sim_sectors(found)
    return 32 * found[0], 32 * found[1]

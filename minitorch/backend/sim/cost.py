"""Counts of a piece of work: launches, bytes, sectors, synchronisations, host copies.

The counts are facts of the simulated run, and give no times. cublasLt multiplies matrices: the
assumed bytes of a product are those of its operands and result, each moved once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minitorch.backend.sim.driver import Record, clear, launches
from minitorch.backend.sim.settings import config

LIBRARY = ("gemm",)  # of cublasLt: not simulated, its bytes are assumed
LAUNCHES = ("kernel", *LIBRARY)


@dataclass(frozen=True)
class Cost:
    """One launch, copy or synchronisation.

    read, written: bytes in whole sectors of 32, each counted once (of LIBRARY assumed).
    sectors, needed: the sectors that the warps' requests to global memory touched, and the fewest
    sectors that could hold their bytes, added up.
    """

    kind: str
    name: str
    read: int
    written: int
    sectors: int
    needed: int

    @property
    def moved(self) -> int:
        """Bytes in and out."""
        return self.read + self.written

    @property
    def requested(self) -> int:
        """Bytes of all sectors that warps requested; a sector requested twice counts twice."""
        return 32 * self.sectors

    @property
    def excess(self) -> float:
        """The ratio of requested sectors to needed ones; 1 is perfectly coalesced."""
        return self.sectors / self.needed if self.needed else 1.0


class Report(NamedTuple):
    """The costs of a piece of work under a title.

    floors: the fewest bytes that each launch has to move, where they are known. remarks: lines.
    step: makes the same launches again.
    """

    title: str
    costs: Sequence[Cost]
    floors: Sequence[int] = ()
    remarks: Sequence[str] = ()
    step: Callable[[], Any] | None = None


def counted(work: Callable[[], Any]) -> list[Cost]:
    """Run `work` on the checked simulator; return the costs of its launches, in order."""
    with config(checked=True, counted=True):
        clear()
        work()
        return [_cost(kernel) for kernel in launches()]


def names(work: Callable[[], Any]) -> list[str]:
    """Run `work`; return the names of the kernels and products that it launched, in order."""
    clear()
    work()
    return [kernel.name for kernel in launches() if kernel.kind in LAUNCHES]


def _cost(kernel: Record) -> Cost:
    lines = [line for line in kernel.lines if line.space == "global"]
    return Cost(
        kernel.kind,
        kernel.name,
        kernel.read or 0,
        kernel.written or 0,
        sum(line.units for line in lines),
        sum(line.needed for line in lines),
    )


def of_kind(costs: Iterable[Cost], *kinds: str) -> list[Cost]:
    """The costs of some kinds, such as "kernel" or "sync"."""
    return [cost for cost in costs if cost.kind in kinds]


def host_copies(costs: Iterable[Cost]) -> list[Cost]:
    """The costs of copies between host and device."""
    return of_kind(costs, "copy H2D", "copy D2H")

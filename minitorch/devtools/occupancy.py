"""How many blocks of a kernel a GPU holds at once, by the rules of NVIDIA's cuda_occupancy.h."""

from __future__ import annotations

from typing import NamedTuple

WARP = 32
REGISTERS = 65536  # of a multiprocessor
PARTS = 4  # of a multiprocessor; a warp's registers are all in one
REGISTER_UNIT = 256  # in which a warp gets its registers
SHARED_UNIT = 128  # bytes, in which a block gets its shared memory
RESERVED = 1024  # bytes of shared memory that each block takes for the system


class Card(NamedTuple):
    """A GPU from compute capability 8.0 on.

    processors: its multiprocessors. warps, blocks, shared: that one of them holds at most; shared
    memory in bytes.
    """

    name: str
    arch: str
    processors: int
    warps: int
    blocks: int
    shared: int


# NVIDIA's tuning guides of Hopper and Ada.
CARDS = (
    Card("H100", "sm_90", 132, 64, 32, 228 << 10),
    Card("RTX 4090", "sm_89", 128, 48, 24, 100 << 10),
)


def resident(card: Card, threads: int, registers: int, shared: int = 0) -> int:
    """The number of blocks that a multiprocessor holds at once; 0 where not even one fits.

    threads: of a block. registers: of a thread. shared: bytes of a block, static and dynamic.
    """
    warps = -(-threads // WARP)
    of_warp = _rounded(max(1, registers) * WARP, REGISTER_UNIT)
    by_registers = REGISTERS // PARTS // of_warp * PARTS // warps
    by_shared = card.shared // _rounded(shared + RESERVED, SHARED_UNIT)
    return min(card.blocks, card.warps // warps, by_registers, by_shared)


def _rounded(n: int, unit: int) -> int:
    return -(-n // unit) * unit

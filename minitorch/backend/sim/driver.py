"""Memory and launches of the simulated GPU; what a CUDA driver is to a GPU.

Addresses are integers. Arrays, streams and modules as CuPy has them are built on top of this.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field

from minitorch.backend.sim import report
from minitorch.backend.sim.build import CompiledModule, CompileError, Kernel, Param, runtime
from minitorch.backend.sim.settings import SCHEDULES, settings

__all__ = [
    "CompileError",
    "CompiledModule",
    "Kernel",
    "OutOfMemory",
    "Param",
    "Record",
    "SimError",
    "allocate",
    "allocated",
    "clear",
    "empty_pool",
    "host_allocate",
    "is_written",
    "launch",
    "launches",
    "mark_written",
    "record",
    "relabel",
    "release",
]

MAX_THREADS = 1024
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)
SHARED_BYTES = 48 << 10  # static and dynamic together
SHARED_BYTES_OPT_IN = 227 << 10
LOG_LENGTH = 20_000  # the newest; a training run would otherwise fill the memory
_AXES = "xyz"


class SimError(RuntimeError):
    """What a real GPU would answer with a wrong result, a crash, or silence."""


class OutOfMemory(MemoryError):
    """An allocation is larger than what is free on its device."""


# ------------------------------------------------------------------ memory
_sizes: dict[int, tuple[int, int]] = {}  # address -> (bytes that it takes up, device)
_used: dict[int, int] = defaultdict(int)  # device -> bytes
_HOST = -1
_booking = threading.RLock()  # memory may be freed by the garbage collector at any moment


def allocate(nbytes: int, label: str, device: int = 0, counts: int | None = None) -> int:
    """The address of fresh memory, full of 0xFF and counted as unwritten.

    It begins at a multiple of 16, and ends right before a page that nobody may touch.
    label: how errors call it. counts: bytes of the device that it takes up, if more than nbytes.
    Raises OutOfMemory past `settings.memory`.
    """
    counts = nbytes if counts is None else counts
    used = _used.get(device, 0)
    if used + counts > settings.memory:
        free = max(0, settings.memory - used)
        raise OutOfMemory(
            f"sim:{device} is out of memory: {nbytes:,} bytes asked for, {free:,} free "
            f"of {settings.memory:,}"
        )
    return _allocate(nbytes, label, device, counts)


def host_allocate(nbytes: int, label: str = "pinned host memory") -> int:
    """The address of pinned host memory, full of zeros, that kernels may use as well."""
    return _allocate(nbytes, label, _HOST, nbytes)


def _allocate(nbytes: int, label: str, device: int, counts: int) -> int:
    host = device == _HOST
    address: int = runtime().sim_allocate(nbytes, label.encode(), max(device, 0), host)
    if not address:
        raise OutOfMemory(f"the machine has no {nbytes:,} bytes left to simulate a GPU with")
    with _booking:
        _sizes[address] = (counts, device)
        _used[device] += counts
    return address


def release(address: int) -> None:
    """Give memory back; SimError if it is not (or no longer) allocated."""
    try:
        counts, device = _sizes.pop(address)
    except KeyError:
        raise SimError(f"nothing is allocated at {address:#x}: released twice?") from None
    with _booking:
        _used[device] -= counts
    runtime().sim_release(address)


def allocated(device: int = 0) -> int:
    """How many bytes are in use on a device."""
    return _used.get(device, 0)


def empty_pool() -> None:
    """Give freed memory, which is kept for later allocations, back to the machine."""
    runtime().sim_empty_pool()


def relabel(address: int, label: str) -> None:
    """Change how errors call the memory at an address."""
    runtime().sim_relabel(address, label.encode())


def mark_written(address: int, nbytes: int) -> None:
    """Say that the host has written here."""
    runtime().sim_mark_written(address, nbytes)


def is_written(address: int, nbytes: int) -> bool:
    """Whether all of it has been written, as far as is known.

    After a launch that was not checked, all memory allocated before it counts as written.
    """
    return bool(runtime().sim_is_written(address, nbytes))


# ------------------------------------------------------------------ the log
@dataclass(slots=True)
class Record:
    """Something that a device was asked to do.

    kind: "kernel", "gemm", "copy H2D", "copy D2H", "copy D2D", "sync", ...
    name: of the kernel. args: its arguments as bytes, one each.
    read, written: bytes of the device's memory that the launch touched, in whole sectors of 32,
    each counted once; None where nobody looked (a launch that is not checked).
    lines: what warps asked of memory, line by line (settings.counted).
    """

    kind: str
    name: str = ""
    device: int = 0
    grid: tuple[int, int, int] = (1, 1, 1)
    block: tuple[int, int, int] = (1, 1, 1)
    shared: int = 0
    args: tuple[bytes, ...] = ()
    read: int | None = None
    written: int | None = None
    lines: list[report.LineCount] = field(default_factory=list)


_log: deque[Record] = deque(maxlen=LOG_LENGTH)


def record(entry: Record) -> Record:
    """Append to the log what is no kernel launch: copies, matrix products, synchronisations."""
    _log.append(entry)
    return entry


def launches() -> list[Record]:
    """What the devices did since the last `clear`: the newest LOG_LENGTH, oldest first."""
    return list(_log)


def clear() -> None:
    """Empty the log."""
    _log.clear()


# ------------------------------------------------------------------ launches
class _Options(ctypes.Structure):
    """`LaunchOptions` of native/state.h."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("first_block", ctypes.c_uint64),
        ("block_count", ctypes.c_uint64),
        ("schedule", ctypes.c_uint32),
        ("checked", ctypes.c_uint32),
        ("counted", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
    )


_Triple = ctypes.c_uint32 * 3
_one_at_a_time = threading.Lock()
_options, _grid, _block = _Options(), _Triple(), _Triple()


def launch(
    kernel: Kernel,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    packed_args: list[bytes],
    shared: int = 0,
    device: int = 0,
) -> Record:
    """Run a kernel to its end and log it.

    grid, block: up to three numbers. packed_args: each parameter's bytes. shared: bytes of
    dynamic shared memory. Raises SimError for a launch that a device would refuse, and for
    what goes wrong in the kernel: with its name, block, thread, source line and array.
    """
    grid3 = _three(kernel, "grid", grid, MAX_GRID)
    block3 = _three(kernel, "block", block, MAX_BLOCK)
    _check_launch(kernel, block3, packed_args, shared)
    entry = Record("kernel", kernel.name, device, grid3, block3, shared, tuple(packed_args))
    _log.append(entry)
    with _one_at_a_time:
        _grid[:] = list(grid3)
        _block[:] = list(block3)
        _options.seed = settings.seed
        _options.first_block, _options.block_count = settings.blocks or (0, 0)
        _options.schedule = SCHEDULES.index(settings.schedule)
        _options.checked = kernel.module.checked
        _options.counted = settings.counted
        _options.device = device
        failed = runtime().sim_launch(
            kernel.address,
            b"".join(packed_args),
            _grid,
            _block,
            shared,
            kernel.shared,
            kernel.shared_count,
            ctypes.byref(_options),
        )
        message = report.failure(kernel) if failed else ""
        if kernel.module.checked:
            entry.read, entry.written = report.sectors()
            if settings.counted:
                entry.lines = report.line_counts(kernel)
    if failed:
        raise SimError(message)
    return entry


def _three(
    kernel: Kernel, what: str, given: tuple[int, ...], limits: tuple[int, int, int]
) -> tuple[int, int, int]:
    """A grid or block in three numbers; SimError if one is beyond the device's limit."""
    x, y, z = (*given, 1, 1)[:3] if len(given) < 3 else given
    if not (0 < x <= limits[0] and 0 < y <= limits[1] and 0 < z <= limits[2]):
        axis = next(i for i in range(3) if not 0 < (x, y, z)[i] <= limits[i])
        raise SimError(
            f"{kernel.name}: {what} {tuple(given)}: {_AXES[axis]} is not within 1 to {limits[axis]}"
        )
    return x, y, z


def _check_launch(
    kernel: Kernel, block: tuple[int, int, int], args: list[bytes], shared: int
) -> None:
    threads = block[0] * block[1] * block[2]
    if threads > MAX_THREADS:
        raise SimError(
            f"{kernel.name}: block {block} has {threads} threads; {MAX_THREADS} is the most"
        )
    limit = SHARED_BYTES
    if kernel.max_dynamic_shared is not None:
        limit = min(kernel.shared_bytes + kernel.max_dynamic_shared, SHARED_BYTES_OPT_IN)
    if not 0 <= shared <= limit - kernel.shared_bytes:
        raise SimError(
            f"{kernel.name}: {kernel.shared_bytes} + {shared} bytes of static and dynamic shared "
            f"memory; {limit} is the most (max_dynamic_shared_size_bytes allows up to "
            f"{SHARED_BYTES_OPT_IN})"
        )
    params = kernel.params
    if len(args) != len(params):
        raise SimError(f"{kernel.name}: {len(args)} arguments for {len(params)} parameters")
    for number, (param, arg) in enumerate(zip(params, args)):
        if len(arg) != param.size:
            raise SimError(
                f"{kernel.name}: parameter {number} is {param} ({param.size} bytes), "
                f"but {len(arg)} bytes were given"
            )

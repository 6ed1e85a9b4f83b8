"""Settings of the processor and the C library that decide how fast NumPy runs.

The functions reach them through ctypes; where the platform lacks a setting, its function changes
nothing and returns False (or None).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["set_flush_denormal"]

# x86-64 glibc's fenv_t: 28 bytes of x87 state, then the SSE control word mxcsr.
_FENV_BYTES, _MXCSR = 32, 28
_FLUSH_BITS = 0x8040  # flush to zero | denormals are zero
# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1


def _c_library() -> Any:
    """Return the process's own C and mathematics library, or None where it is not glibc."""
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return None
    except (AttributeError, ValueError):  # another system, or another C library
        return None
    try:
        return ctypes.CDLL("libm.so.6")
    except OSError:
        return None


_libm: Any = _c_library() if hasattr(os, "uname") and os.uname().machine == "x86_64" else None


def get_flush_denormal() -> bool | None:
    """Whether this thread flushes denormal numbers to zero; None where the platform hides it."""
    environment = _read_environment()
    return None if environment is None else _flags(environment) & _FLUSH_BITS == _FLUSH_BITS


def set_flush_denormal(mode: bool) -> bool:
    """Treat denormal numbers as zero in this thread, or stop doing so.

    Returns True if the platform can (x86-64 with glibc), else False, and then changes nothing.
    Arithmetic on denormals (below 1.2e-38 in float32) is 20 to 40 times slower; Adam's moments of
    a unit that is never active decay into them and stay there.
    """
    environment = _read_environment()
    if environment is None:
        return False
    flags = _flags(environment)
    flags = flags | _FLUSH_BITS if mode else flags & ~_FLUSH_BITS
    environment[_MXCSR:_FENV_BYTES] = flags.to_bytes(4, "little")
    return bool(_libm.fesetenv(environment) == 0)


@contextmanager
def flush_denormal(mode: bool = True) -> Iterator[None]:
    """`set_flush_denormal(mode)` until the end of the block."""
    before = get_flush_denormal()
    set_flush_denormal(mode)
    try:
        yield
    finally:
        set_flush_denormal(bool(before))


def keep_heap() -> bool:
    """Keep freed memory in the process, so that a training step finds its buffers warm.

    glibc otherwise returns large blocks to the system and pays for page faults at every step.
    Holds for the whole process until its end. Returns False where the C library is not glibc.
    """
    library = _c_library()
    if library is None:
        return False
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, 64 << 20))
    return all(library.mallopt(option, value) == 1 for option, value in options)


def _read_environment() -> Any:
    if _libm is None:
        return None
    environment = ctypes.create_string_buffer(_FENV_BYTES)
    return environment if _libm.fegetenv(environment) == 0 else None


def _flags(environment: Any) -> int:
    return int.from_bytes(environment[_MXCSR:_FENV_BYTES], "little")

"""Arrays on devices: names, availability, and the backend that serves an array.

A backend is a table of entries (one per op of the registry) for one type of array. This package
has never heard of a Tensor. Above it, only data sources, text corpora and plots import NumPy.
"""

from importlib import import_module
from typing import Any

from minitorch.backend import cpu
from minitorch.backend.half import HalfScalar
from minitorch.backend.indexing import indexed_shape
from minitorch.backend.transfer import host_array, is_pinned, mapped_array, pin, same_bits
from minitorch.core.device import (
    Backend,
    Device,
    OutOfMemoryError,
    add_kernel,
    available,
    device_of,
    device_types,
    get_default_device,
    named,
    of,
    of_type,
    register,
    register_lazily,
    registered,
    resolve,
    set_default_device,
    unregister,
    why_unavailable,
)
from minitorch.core.dtypes import ARRAY_DTYPES, FLOAT32, FLOAT64, Array

__all__ = [
    "ARRAY_DTYPES",
    "FLOAT32",
    "FLOAT64",
    "Array",
    "Backend",
    "Device",
    "HalfScalar",
    "OutOfMemoryError",
    "add_kernel",
    "available",
    "device_of",
    "device_types",
    "get_default_device",
    "host_array",
    "indexed_shape",
    "is_pinned",
    "mapped_array",
    "named",
    "of",
    "of_type",
    "pin",
    "register",
    "register_lazily",
    "registered",
    "resolve",
    "same_bits",
    "set_default_device",
    "unregister",
    "why_unavailable",
]


def _cuda(make: str) -> Any:
    """A maker in `backend.cuda`, which is imported when somebody asks for its device."""
    return lambda: getattr(import_module("minitorch.backend.cuda"), make)()


register(cpu.BACKEND)
register_lazily("cuda", _cuda("make"))
register_lazily("sim", _cuda("make_simulated"))

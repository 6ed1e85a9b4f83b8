"""Arrays on devices: names, availability, and the backend that serves an array.

A backend is a table of kernels (one per op of the registry) for one type of array. This package
does not know Tensor. Above it, only data sources, text corpora and plots import NumPy.
"""

from importlib import import_module
from typing import Any

from minitorch.backend import cpu, indexing, threads, transfer
from minitorch.backend.half import HalfScalar
from minitorch.backend.indexing import *
from minitorch.backend.threads import *
from minitorch.backend.transfer import *
from minitorch.core import device
from minitorch.core.device import *
from minitorch.core.dtypes import ARRAY_DTYPES, FLOAT32, FLOAT64, Array

__all__ = [
    "ARRAY_DTYPES",
    "FLOAT32",
    "FLOAT64",
    "Array",
    "HalfScalar",
    *device.__all__,
    *indexing.__all__,
    *threads.__all__,
    *transfer.__all__,
]


def _cuda(make: str) -> Any:
    """A maker in `backend.cuda`, a package that is imported on first use of its device."""
    return lambda: getattr(import_module("minitorch.backend.cuda"), make)()


device.register(cpu.BACKEND)
device.register_lazily("cuda", _cuda("make"))
device.register_lazily("sim", _cuda("make_simulated"))

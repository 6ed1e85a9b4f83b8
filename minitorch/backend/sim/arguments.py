"""A kernel's arguments: each is checked against the parameter that the source declares.

A GPU takes the bytes as they come: an int64 where an int is declared, a host array, a strided
array, an array of float64 where floats are read. Here each of them raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minitorch.backend.sim.array import ndarray
from minitorch.backend.sim.build import Param
from minitorch.backend.sim.cuda import memory
from minitorch.backend.sim.driver import SimError
from minitorch.backend.sim.machine import current_device
from minitorch.core.dtypes import HALVES

# The compiler's letter for a type of elements, by NumPy's.
LETTERS = {"f": "f", "i": "i", "u": "u", "b": "?"}


def pack(kernel: str, params: Sequence[Param], args: Sequence[Any]) -> list[bytes]:
    """The bytes of each argument; SimError names the kernel, the argument, what it should be."""
    if len(args) != len(params):
        raise SimError(f"{kernel}: {len(args)} arguments given, {len(params)} declared")
    device = current_device()
    packed = []
    for number, (param, arg) in enumerate(zip(params, args, strict=True)):
        try:
            packed.append(_pack(param, arg, device))
        except _Mismatch as error:
            raise SimError(
                f"{kernel}, argument {number}: expected {param}, given {error}"
            ) from None
    return packed


class _Mismatch(Exception):
    """What was given, in words."""


def _pack(param: Param, arg: Any, device: int) -> bytes:
    if isinstance(arg, ndarray):
        return _array(param, arg, device)
    if isinstance(arg, np.ndarray):
        raise _Mismatch(f"a NumPy array ({arg.dtype}{list(arg.shape)}), which is on the host")
    if isinstance(arg, np.void):
        return _struct(param, arg)
    if isinstance(arg, np.generic):
        return _scalar(param, arg, device)
    raise _Mismatch(f"{arg!r} of type {type(arg).__name__}, which has no size: use NumPy's scalars")


def _array(param: Param, array: ndarray, device: int) -> bytes:
    what = f"an array ({array.dtype}{list(array.shape)})"
    if param.kind != "p":
        raise _Mismatch(what)
    if not _may_point_to(param, array.dtype):
        raise _Mismatch(what)
    if array._memory.device_id != device:
        raise _Mismatch(
            f"{what} of device {array._memory.device_id} in a launch on device {device}"
        )
    if not array.flags.c_contiguous:
        raise _Mismatch(f"{what} with strides {array.strides}, which a pointer does not carry")
    return np.uint64(array._address).tobytes()


def _may_point_to(param: Param, dtype: np.dtype[Any]) -> bool:
    if dtype in HALVES:
        return param.pointee_size == 2 and param.pointee in "hs"
    if param.pointee in LETTERS.values():
        return bool(LETTERS[dtype.kind] == param.pointee and dtype.itemsize == param.pointee_size)
    return bool(param.pointee != "h" and param.pointee_size != 2)  # void or a struct


def _struct(param: Param, struct: np.void) -> bytes:
    what = f"a struct of {struct.dtype.itemsize} bytes"
    if param.kind != "s" or struct.dtype.itemsize != param.size:
        raise _Mismatch(what)
    if struct.dtype.alignment != param.align:
        raise _Mismatch(
            f"{what} aligned to {struct.dtype.alignment} bytes, not {param.align}: "
            "make its dtype with align=True"
        )
    return struct.tobytes()


def _scalar(param: Param, scalar: np.generic, device: int) -> bytes:
    if param.kind == "p":
        return _pointer(param, scalar, device)
    letter = "h" if scalar.dtype in HALVES else LETTERS.get(scalar.dtype.kind, "")
    if (letter, scalar.dtype.itemsize) != (param.kind, param.size):
        raise _Mismatch(f"{scalar} of type {scalar.dtype}")
    return scalar.tobytes()


def _pointer(param: Param, scalar: np.generic, device: int) -> bytes:
    if scalar.dtype != np.uint64:
        raise _Mismatch(f"{scalar} of type {scalar.dtype}, where np.uint64 is a pointer")
    address = int(scalar)
    if address:
        found = memory.memory_at(address)
        if found is None:
            raise _Mismatch(f"{address:#x}, where no memory is: was its array freed?")
        if found.device_id not in (device, memory.HOST):
            raise _Mismatch(
                f"a pointer into {found._label} of device {found.device_id} "
                f"in a launch on device {device}"
            )
    return scalar.tobytes()

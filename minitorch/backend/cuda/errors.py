"""Errors that kernels find: written on the device, raised at the next synchronisation.

No op makes the host wait for the device to look at data. A kernel that finds a bad index writes
(code, value, bound) into the error word and goes on with a harmless index; the next
synchronisation reads the word and raises the error of this code.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from typing import Any

import numpy as np

_numbering = threading.Lock()
_KINDS: list[tuple[type[Exception], str]] = []
_codes: dict[tuple[type[Exception], str], np.uint64] = {}


def code(error: type[Exception], message: str) -> np.uint64:
    """The number that stands for an error.

    Its message may name {value} and {bound}, and {number}: the value's bits as a double's.
    """
    key = (error, message)
    if key not in _codes:
        with _numbering:
            if key not in _codes:
                _KINDS.append(key)
                _codes[key] = np.uint64(len(_KINDS))  # 0 means no error
    return _codes[key]


def out_of_range(what: str) -> np.uint64:
    """The code of "WHAT: 7 is out of range [0, 5)", an IndexError."""
    return code(IndexError, what + ": {value} is out of range [0, {bound})")


def out_of_unit(what: str) -> np.uint64:
    """The code of "WHAT: expected numbers between 0 and 1, got 1.5", a RuntimeError.

    The value is reported as the bits of a double.
    """
    return code(RuntimeError, what + ": expected numbers between 0 and 1, got {number:g}")


class _Word(ctypes.Structure):
    """`ErrorWord` of kernels/common.cuh."""

    _fields_ = (("code", ctypes.c_uint64), ("value", ctypes.c_int64), ("bound", ctypes.c_int64))


class ErrorWord:
    """One device's error word, in pinned host memory that kernels write to directly."""

    def __init__(self, xp: Any) -> None:
        self._memory = xp.cuda.alloc_pinned_memory(ctypes.sizeof(_Word))
        self._word = _Word.from_address(self._memory.ptr)
        self.clear()

    @property
    def pointer(self) -> np.uint64:
        """Its address, for a kernel's `ErrorWord*`."""
        return np.uint64(self._memory.ptr)

    def clear(self) -> None:
        """Clear the word."""
        self._word.code = self._word.value = self._word.bound = 0

    def check(self) -> None:
        """Raise the error that a kernel wrote, once; the host must have waited for the device."""
        if self._word.code:
            error, message = _KINDS[self._word.code - 1]
            value, bound = self._word.value, self._word.bound
            (number,) = struct.unpack("d", struct.pack("q", value))
            text = message.format(value=value, bound=bound, number=number)
            self.clear()
            raise error(text)

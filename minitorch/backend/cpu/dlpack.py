"""DLPack of bfloat16, which NumPy does not know: it shares memory as uint16, under another name.

The name is one byte of the struct that a capsule holds until its consumer takes it over
(https://dmlc.github.io/dlpack/latest/c_api.html): `DLManagedTensor`, which begins with a DLTensor,
or `DLManagedTensorVersioned`, in which 32 bytes stand before it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from minitorch.core.dtypes import Array, bfloat16

_UINT, _BFLOAT = (1, 16), (4, 16)  # DLDataType's code and bits
_OFFSETS = {b"dltensor": 20, b"dltensor_versioned": 52}  # of the DLDataType, by capsule's name
_is_valid: Any = ctypes.pythonapi["PyCapsule_IsValid"]
_pointer: Any = ctypes.pythonapi["PyCapsule_GetPointer"]
_is_valid.argtypes = _pointer.argtypes = ctypes.py_object, ctypes.c_char_p
_pointer.restype = ctypes.c_void_p


def to_dlpack(array: Array, **options: Any) -> Any:
    """The capsule of an array: `array.__dlpack__(**options)`."""
    if array.dtype != bfloat16.array_dtype:
        return array.__dlpack__(**options)
    capsule = array.view(np.uint16).__dlpack__(**options)
    _rename(capsule, _UINT, _BFLOAT)
    return capsule


def from_dlpack(ext_tensor: Any) -> Array:
    """An array that shares the memory of another library's."""
    given = _AsUint16(ext_tensor)
    array = np.from_dlpack(given)
    return array.view(bfloat16.array_dtype) if given.renamed else array


class _AsUint16:
    """Another library's array, which gives out bfloat16 as uint16."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.renamed = False
        self.__dlpack_device__ = array.__dlpack_device__

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self._array.__dlpack__(**options)
        self.renamed = _rename(capsule, _BFLOAT, _UINT)
        return capsule


def _rename(capsule: Any, old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Change the type of a capsule's elements from one to another; whether it was the old one."""
    for name, offset in _OFFSETS.items():
        if _is_valid(capsule, name):
            kind = (ctypes.c_uint8 * 2).from_address(_pointer(capsule, name) + offset)
            if tuple(kind) == old:
                kind[:] = list(new)
                return True
    return False

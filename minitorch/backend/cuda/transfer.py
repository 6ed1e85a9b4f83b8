"""Copies between host and devices; with pinned memory the host need not wait for them.

An asynchronous copy reads or writes its host memory in the order of its stream. The caller's duties
(synchronise before reading a result, do not change a source too early) are as in PyTorch; this
module keeps the memory itself alive.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from minitorch.backend.cuda.gpu import Gpu

Array = Any


def from_host(gpu: Gpu, array: np.ndarray, index: int, non_blocking: bool = False) -> Array:
    """A NumPy array on a device.

    non_blocking: the device reads pinned memory later; it always reads other memory at once.
    """
    with gpu.on(index):
        if non_blocking and array.nbytes and array.flags.c_contiguous and is_pinned(array):
            result = gpu.empty(array.shape, array.dtype)
            result.data.copy_from_host_async(array.ctypes.data, array.nbytes)
            gpu.streams.hold(array, index)
            return result
        source = np.ascontiguousarray(array)  # never 0-d: CuPy fills those, and makes 0 of -0
        if source.dtype.kind == "V":  # CuPy takes no bfloat16 from the host
            source = source.view(np.uint16)
        # CuPy reads pinned memory in the order of the stream, other memory at once.
        result = gpu.xp.asarray(source, blocking=is_pinned(source)).reshape(array.shape)
        return result if source.dtype == array.dtype else result.view(array.dtype)


def to_host(gpu: Gpu, array: Array, non_blocking: bool = False) -> np.ndarray:
    """A NumPy array of the elements. non_blocking: pinned, and filled after a synchronisation."""
    device = int(array.device.id)
    with gpu.on(device):
        ordered = gpu.contiguous(array)
        if non_blocking and array.nbytes:
            out = pinned(gpu, array.shape, array.dtype)
            ordered.get(out=out, blocking=False)
            gpu.streams.hold(out, device)
            return out
        host: np.ndarray = ordered.get()
    gpu.check(device)
    return host


def across(gpu: Gpu, array: Array, index: int) -> Array:
    """An array on another device of this kind, copied without the host."""
    cuda = gpu.xp.cuda
    here = int(array.device.id)
    with gpu.on(here):
        array = gpu.contiguous(array)
        written = cuda.get_current_stream().record()
    with gpu.on(index):
        result = gpu.empty(array.shape, array.dtype)
        stream = cuda.get_current_stream()
        stream.wait_event(written)
        if array.nbytes:
            result.data.copy_from_device_async(array.data, array.nbytes)
        copied = stream.record()
    with gpu.on(here):  # its stream may reuse the source's memory after the copy
        cuda.get_current_stream().wait_event(copied)
    return result


# ------------------------------------------------------------------ pinned memory
def pinned(gpu: Gpu, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """A NumPy array in pinned memory, which lives as long as the array and its views."""
    nbytes = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    memory = gpu.xp.cuda.alloc_pinned_memory(nbytes)
    buffer: Any = (ctypes.c_uint8 * nbytes).from_address(memory.ptr)
    buffer.pinned_memory = memory
    return np.ndarray(shape, dtype, buffer)


def pin(gpu: Gpu, array: np.ndarray) -> np.ndarray:
    """A copy in pinned memory; the array itself if it is pinned already."""
    if is_pinned(array):
        return array
    copy = pinned(gpu, array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def is_pinned(array: np.ndarray) -> bool:
    """Whether an array's memory was made by `pinned`."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return hasattr(base, "pinned_memory")

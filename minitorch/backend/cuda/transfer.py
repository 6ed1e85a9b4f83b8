"""Copies between host and devices; with pinned memory they need not be waited for.

A copy that is not waited for reads or writes its host memory when the stream comes to it. What
the caller has to do (synchronise before reading a result, not change a source too early) is as
in PyTorch; that the memory itself stays is seen to here.
"""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any

import numpy as np

from minitorch.backend.cuda.gpu import Gpu

Array = Any
_in_flight: deque[tuple[Any, np.ndarray]] = deque()  # events, and what is copied until then


def from_host(gpu: Gpu, array: np.ndarray, index: int, non_blocking: bool = False) -> Array:
    """A NumPy array on a device.

    non_blocking: pinned memory is read later; other memory is always read at once.
    """
    with gpu.on(index):
        if non_blocking and array.nbytes and array.flags.c_contiguous and is_pinned(array):
            result = gpu.empty(array.shape, array.dtype)
            result.data.copy_from_host_async(array.ctypes.data, array.nbytes)
            _keep(gpu, array)
            return result
        source = np.ascontiguousarray(array)  # never 0-d: CuPy fills those, and makes 0 of -0
        # CuPy reads pinned memory when the stream comes to it, any other at once.
        return gpu.xp.asarray(source, blocking=is_pinned(source)).reshape(array.shape)


def to_host(gpu: Gpu, array: Array, non_blocking: bool = False) -> np.ndarray:
    """An array as NumPy's. non_blocking: in pinned memory, there after a synchronisation."""
    device = int(array.device.id)
    with gpu.on(device):
        ordered = gpu.contiguous(array)
        if non_blocking and array.nbytes:
            out = pinned(gpu, array.shape, array.dtype)
            ordered.get(out=out, blocking=False)
            _keep(gpu, out)
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
    with gpu.on(here):  # the source's memory is used again in the order of its stream
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
    """A copy in pinned memory; the array itself if it is there."""
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


def _keep(gpu: Gpu, array: np.ndarray) -> None:
    """Hold on to the host's side of a copy until the copy is over."""
    while _in_flight and _in_flight[0][0].done:
        _in_flight.popleft()
    event = gpu.xp.cuda.Event(disable_timing=True)
    event.record()
    _in_flight.append((event, array))

"""Host arrays on their way to devices and back, pinned memory, equality of bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minitorch.core.device import Device, _by_name, get_default_device, named, of, resolve
from minitorch.core.dtypes import KINDS, Array

__all__ = ["host_array", "is_pinned", "mapped_array", "pin", "same_bits"]


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are equal in shape, dtype and every bit; the host waits for a GPU.

    NaN equals NaN, whatever its sign.
    """
    x, y = (of(array).to_host(array) for array in (a, b))
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.tobytes() == y.tobytes():
        return True
    if KINDS[x.dtype] != "f":
        return False
    equal = (x == y) & (np.signbit(x) == np.signbit(y))
    return bool((equal | (np.isnan(x) & np.isnan(y))).all())


def host_array(data: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """Python data (numbers, nested lists) as a NumPy array in native byte order.

    dtype: the dtype to convert to; a number too large for it becomes inf, with no warning.
    """
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: expected numbers in lists of equal lengths: {error}") from None
    if KINDS.get(array.dtype, array.dtype.kind) not in "biuf":
        raise TypeError(f"tensor: expected numbers, got {array.dtype} from {type(data).__name__}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if dtype is None or array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype, order="C")


def mapped_array(path: str, dtype: str, shape: Sequence[int], offset: int) -> np.ndarray:
    """Part of a file as a read-only array; the system reads it from disk on first use."""
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=tuple(shape)))


def transfer(array: Array, device: Device, non_blocking: bool = False) -> Array:
    """The same elements on another device; every backend's kernel.

    non_blocking: where pinned memory allows it, the host does not wait for the copy.
    """
    here = of(array)
    there, index = resolve(device)
    if here is there and here.across is not None:
        return here.across(array, index)
    waits_for = {} if here.pin is None or not non_blocking else {"non_blocking": True}
    host = here.to_host(array, **waits_for)
    waits_for = {} if there.pin is None or not non_blocking else {"non_blocking": True}
    return there.from_host(host, index, **waits_for)


def pin(array: Array, device: str | Device | None = None) -> np.ndarray:
    """A copy of an array in pinned host memory, which GPUs read and write without the host.

    device: the device of the pinned memory; None: the default device, or cuda. Raises
    RuntimeError where the device is not available, or has no such memory.
    """
    chosen = get_default_device() if device is None else Device(device)
    serving = named("cuda" if device is None and chosen.type == "cpu" else chosen.type)
    if serving.pin is None:
        raise RuntimeError(f"pin_memory: device '{serving.name}' has no pinned memory")
    return serving.pin(of(array).to_host(array))


def is_pinned(array: Array) -> bool:
    """Whether an array is in pinned memory of some device."""
    return type(array) is np.ndarray and any(
        serving.is_pinned(array) for serving in _by_name.values() if serving.is_pinned is not None
    )

"""`cupy.ndarray` and what makes arrays: memory, views and copies, but no arithmetic.

An array wraps NumPy's view of its memory and shows nothing of it: what works here works on a
device, and what would compute behind the kernels' back raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from minitorch.backend.sim import driver, work
from minitorch.backend.sim.cuda import memory
from minitorch.backend.sim.cuda.device import Device
from minitorch.backend.sim.cuda.stream import Stream, current_queue
from minitorch.backend.sim.driver import SimError
from minitorch.backend.sim.machine import current_device

Dims = tuple[int, ...]
_INDICES = (int, np.integer, slice, type(None), type(Ellipsis))


class ndarray:
    """An array in the memory of a simulated device.

    shape: lengths (or one length). memptr: memory to use instead of new memory, with these
    strides in bytes (None: in order). order: "C" only.
    """

    __slots__ = ("__weakref__", "_array", "_memory")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        shape: int | Dims,
        dtype: Any = float,
        memptr: memory.MemoryPointer | None = None,
        strides: Dims | None = None,
        order: str = "C",
    ) -> None:
        if order != "C":
            raise SimError(f"ndarray: only order 'C' is simulated, given {order!r}")
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if memptr is None:
            nbytes = _length(shape) * dtype.itemsize
            memptr = memory.alloc(nbytes, f"{dtype}{list(shape)}")
        self._memory = memptr.mem
        if self._memory.size == 0:
            self._array = np.ndarray(shape, dtype)
        else:
            offset = memptr.ptr - self._memory.ptr
            self._array = np.ndarray(shape, dtype, self._memory._buffer(), offset, strides)

    def _view(self, array: np.ndarray) -> ndarray:
        """Another array in the same memory."""
        view = ndarray.__new__(ndarray)
        view._array, view._memory = array, self._memory
        return view

    # ------------------------------------------------------------------ what it is
    shape = property(lambda self: self._array.shape, doc="Lengths of all dimensions.")
    strides = property(lambda self: self._array.strides, doc="Bytes between neighbours.")
    dtype = property(lambda self: self._array.dtype, doc="Type of the elements.")
    ndim = property(lambda self: self._array.ndim, doc="Number of dimensions.")
    size = property(lambda self: self._array.size, doc="Number of elements.")
    itemsize = property(lambda self: self._array.itemsize, doc="Bytes of an element.")
    nbytes = property(lambda self: self._array.nbytes, doc="Bytes of all elements.")
    flags = property(lambda self: Flags(self._array.flags), doc="How it lies in memory.")
    # What CuPy's flags are made of: they take 0.8 us to ask, these 0.02.
    _c_contiguous = property(lambda self: self._array.flags.c_contiguous)
    _f_contiguous = property(lambda self: self._array.flags.f_contiguous)

    @property
    def data(self) -> memory.MemoryPointer:
        """A pointer to the first element."""
        offset = self._address - self._memory.ptr if self._memory.size else 0
        return memory.MemoryPointer(self._memory, offset)

    @property
    def _address(self) -> int:
        return int(self._array.__array_interface__["data"][0]) if self._memory.size else 0

    @property
    def device(self) -> Device:
        """The device that holds it."""
        device: Device = self._memory.device
        return device

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"<simulated {self.dtype}{list(self.shape)} on device {self._memory.device_id}>"

    # ------------------------------------------------------------------ views
    @property
    def T(self) -> ndarray:
        """The dimensions reversed."""
        return self._view(self._array.T)

    def __getitem__(self, slices: Any) -> ndarray:
        index = slices if isinstance(slices, tuple) else (slices,)
        for part in index:
            if type(part) is bool or not isinstance(part, _INDICES):
                raise SimError(
                    f"x[{type(part).__name__}] is a kernel of CuPy's own: index with numbers, "
                    "slices, None and ..., or write a kernel"
                )
        return self._view(self._array[index if Ellipsis in index else (*index, ...)])

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        """A view in another shape; SimError where the elements would have to be copied."""
        if order != "C" or copy:
            raise SimError("reshape: only views in order 'C' are simulated")
        if len(shape) == 1 and not isinstance(shape[0], int):
            shape = tuple(shape[0])
        try:
            return self._view(np.reshape(self._array, shape, copy=False))
        except ValueError as error:
            if "copy" in str(error):
                raise SimError(
                    f"reshape: strides {self.strides} of shape {self.shape} do not allow a view "
                    f"of shape {shape}; CuPy would copy with a kernel of its own"
                ) from None
            raise

    def transpose(self, *axes: Any) -> ndarray:
        """A view with the dimensions in another order."""
        return self._view(self._array.transpose(*axes))

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory, as elements of another type."""
        return self._view(self._array.view() if dtype is None else self._array.view(dtype))

    # ------------------------------------------------------------------ copies
    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        """A copy on the host.

        blocking: wait for it. Without that the stream writes it later, into `out`, which must be
        pinned memory.
        """
        if out is None:
            out = np.empty(self.shape, self.dtype)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"Only numpy.ndarray can be obtained from GPU; got {type(out)}")
        elif out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError(f"out is {out.dtype}{out.shape}, need {self.dtype}{self.shape}")
        elif not out.flags.c_contiguous:
            raise RuntimeError("out must be C-contiguous")
        if not blocking and not _pinned(out):
            raise SimError("get(blocking=False) needs out= in pinned memory: alloc_pinned_memory")
        queue = _queue(self, stream)
        _submit(queue, partial(_to_host, self._array, out, self._memory.device_id), [self])
        if blocking:
            queue.synchronize()
        return out

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Copy an array of the same shape and dtype from the host."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        queue = _queue(self, stream)
        if queue.recording is not None and not _pinned(arr):
            queue.recording.broken = True
            raise SimError("set: a captured stream can only copy from pinned memory")
        # CUDA takes the bytes of pageable memory at once, those of pinned memory in its turn.
        source = arr if _pinned(arr) else arr.copy()
        _submit(queue, partial(_to_device, source, self._array, self._memory.device_id), [], self)

    def copy(self, order: str = "C") -> ndarray:
        """A copy in memory of the current device, for an array that lies in order."""
        if order != "C" or not self.flags.c_contiguous:
            raise SimError("copy: CuPy copies a strided array with a kernel of its own")
        result = ndarray(self.shape, self.dtype)
        if self.nbytes:
            result.data.copy_from_device_async(self.data, self.nbytes)
        return result

    # ------------------------------------------------------------------ what it refuses
    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"Implicit conversion to a {what} is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse("NumPy array")

    def __bool__(self) -> bool:
        self._refuse("bool")

    def __float__(self) -> float:
        self._refuse("float")

    def __int__(self) -> int:
        self._refuse("int")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"numpy.{ufunc.__name__} on a simulated array: arithmetic is done by kernels only"
        )

    def __eq__(self, other: object) -> Any:
        raise TypeError("== on a simulated array: arithmetic is done by kernels only")


class Flags:
    """How an array lies in memory."""

    __slots__ = ("c_contiguous", "f_contiguous")

    def __init__(self, flags: Any) -> None:
        self.c_contiguous = bool(flags.c_contiguous)
        self.f_contiguous = bool(flags.f_contiguous)


def _length(shape: Dims) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


def _queue(array: ndarray, stream: Stream | None) -> work.Queue:
    """A stream's queue; None: the current stream's of the array's device."""
    return current_queue(array._memory.device_id) if stream is None else stream._queue()


def _pinned(array: np.ndarray) -> bool:
    """Whether a NumPy array lies in pinned memory."""
    found = memory.memory_at(array.ctypes.data)
    return found is not None and found.device_id == memory.HOST


def _to_host(array: np.ndarray, out: np.ndarray, device: int) -> None:
    np.copyto(out, array)
    memory.record_copy(array.nbytes, device, memory.HOST)


def _to_device(host: np.ndarray, array: np.ndarray, device: int) -> None:
    np.copyto(array, host)
    memory.record_copy(array.nbytes, memory.HOST, device)


def _submit(
    queue: work.Queue,
    action: Callable[[], object],
    reads: Sequence[ndarray],
    result: ndarray | None = None,
) -> None:
    """Queue what reads some arrays and writes one; the queue keeps none of them alive."""
    arrays = [*reads, *([] if result is None else [result])]
    blocks = [memory.block_of(a._memory) for a in arrays if a.size]
    written = None if result is None else (result._address, result.nbytes)

    def run() -> None:
        for block in blocks:
            block._buffer()
        with np.errstate(all="ignore"):
            action()
        if written is not None and written[1]:
            driver.mark_written(*written)

    queue.submit(run)


# ------------------------------------------------------------------ functions
def empty(shape: int | Dims, dtype: Any = float, order: str = "C") -> ndarray:
    """An array of memory that nobody has written to."""
    return ndarray(shape, dtype, order=order)


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    blocking: bool = False,
) -> ndarray:
    """Numbers or a NumPy array on the current device; an array of it stays what it is."""
    if isinstance(a, ndarray):
        if dtype is not None and np.dtype(dtype) != a.dtype:
            raise SimError("asarray: CuPy converts with a kernel of its own")
        return a if not copy and a._memory.device_id == current_device() else a.copy()
    host = np.ascontiguousarray(a, dtype).reshape(np.shape(a))
    queue = current_queue(current_device())
    if queue.recording is not None:
        queue.recording.broken = True
        raise SimError("asarray: a captured stream can only copy from pinned memory")
    result = ndarray(host.shape, host.dtype)
    # CuPy copies into a pinned buffer of its own at once, so that the caller's is free again;
    # an array that is in pinned memory is read when the stream comes to it.
    source = host if _pinned(host) else host.copy()
    if host.ndim == 0 and host == 0:  # CuPy fills a 0-d array, with zero bytes for -0 too
        source = np.zeros_like(host)
    read = partial(_to_device, source, result._array, result._memory.device_id)
    _submit(queue, read, [], result)
    if blocking:
        queue.synchronize()
    return result

"""Helpers of kernels: allocation, launches, and the device's error word."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from minitorch.backend.cuda import strides
from minitorch.backend.cuda.cublaslt import Library
from minitorch.backend.cuda.errors import ErrorWord
from minitorch.backend.cuda.graph import Graph
from minitorch.backend.cuda.streams import PER_THREAD, Streams
from minitorch.backend.cuda_sources import SUFFIXES, Kernels
from minitorch.core.device import OutOfMemoryError

Array = Any
Dims = tuple[int, ...]
KernelTable = dict[str, Callable[..., Any]]
THREADS = 256
MAX_DIMS = strides.MAX_DIMS
STREAMS = 64  # that get tickets at once
WAVES = 8  # blocks of THREADS that are launched for a multiprocessor, at most
MOST_BLOCKS = 1 << 62  # asks `blocks` for as many as the device holds
NULL = np.uint64(0)  # a null pointer among a kernel's arguments
BLOCK = (THREADS,)
KEPT = 4096  # launches that are remembered
# A kernel's arguments of these types. NumPy is slow to make one, and the same sizes recur.
int32 = lru_cache(KEPT)(np.int32)
int64 = lru_cache(KEPT)(np.int64)


class _Captured(threading.local):
    graph: Graph | None = None  # that this thread's launches go into

    def __init__(self) -> None:
        self.tickets: dict[tuple[int, int], Array] = {}  # of default streams that are its own


class Gpu:
    """One kind of GPU: CuPy's, or the simulated one.

    name: the device type, "cuda" or "sim". xp: CuPy or its look-alike. cublaslt: gives the
    bindings of cublasLt or their look-alike; None where there are none.
    """

    def __init__(self, name: str, xp: Any, cublaslt: Callable[[], Any] = lambda: None) -> None:
        self.name = name
        self.xp = xp
        self.array_type = xp.ndarray
        self.current: Callable[[], int] = xp.cuda.runtime.getDevice  # the current device's index
        self.copy_on_device = xp.cuda.MemoryPointer.copy_from_device_async  # (to, source, bytes)
        self.kernels = Kernels(xp)
        self._cublaslt = cublaslt
        self.captured = _Captured()
        self.streams = Streams(self)
        self.capturing = (
            threading.RLock()
        )  # while it is held, no other thread may wait for the device
        self._making = threading.Lock()  # what is made once for all threads
        self._processors: dict[int, int] = {}
        self._roofs: dict[int, tuple[float, float]] = {}
        self._error_words: dict[int, ErrorWord] = {}
        self._tickets: dict[tuple[int, int], Array] = {}  # by device and stream
        self._spare: dict[int, list[Array]] = {}
        self._in_rows: dict[Any, Any] = {}  # see `launch_contiguous`

    def empty(self, shape: Dims, dtype: Any) -> Array:
        """Uninitialised memory on the current device."""
        return self.xp.empty(shape, dtype)

    @cached_property
    def products(self) -> Library | None:
        """cublasLt for matrix products; None where our own kernels compute them."""
        lt = self._cublaslt()
        return None if lt is None else Library(self, lt)

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Make a device the current one; OutOfMemoryError replaces CuPy's error."""
        try:
            with self.xp.cuda.Device(device):
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            raise self.out_of_memory(error, device) from None

    def out_of_memory(self, error: MemoryError, device: int) -> OutOfMemoryError:
        """An error with the bytes asked for and the bytes free, instead of CuPy's."""
        asked = re.search(r"allocating ([\d,]+) bytes", str(error))
        free, total = self.xp.cuda.Device(device).mem_info
        return OutOfMemoryError(
            f"{self.name}:{device} is out of memory: {asked[1] if asked else '?'} bytes asked for, "
            f"{free:,} free of {total:,}"
        )

    def launch(
        self,
        file: str,
        name: str,
        dtype: np.dtype[Any],
        grid: Dims,
        block: Dims,
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Run NAME_suffix of kernels/FILE.cu on the current device and stream.

        args: arrays, and NumPy scalars of exactly the parameters' types (np.int64, np.float32,
        a structured np.void, NULL); CuPy does not check them. shared: bytes of dynamic memory.
        """
        self._call(
            self.kernels.function(file, name, dtype, self.current()), grid, block, args, shared
        )

    def _call(self, function: Any, grid: Dims, block: Dims, args: Any, shared: int = 0) -> None:
        try:
            function(grid, block, args, shared_mem=shared)
        except Exception:
            self.broke_off()
            raise

    def broke_off(self) -> None:
        """Take new tickets after an error, as a launch that breaks off leaves them non-zero."""
        with self._making:
            self._tickets.clear()
            self.captured.tickets.clear()

    def capability(self) -> tuple[int, int]:
        """Major and minor compute capability of the current device."""
        found = self.xp.cuda.runtime.getDeviceProperties(self.current())
        return int(found["major"]), int(found["minor"])

    def processors(self) -> int:
        """The number of multiprocessors of the current device."""
        device = self.current()
        if device not in self._processors:
            attributes = self.xp.cuda.Device(device).attributes
            self._processors[device] = int(attributes["MultiProcessorCount"])
        return self._processors[device]

    def roofs(self) -> tuple[float, float]:
        """The most that the current device can do: bytes of memory and float32 operations a second.

        From its clocks: double data rate, and a fused multiply-add of each core in each cycle (64
        of a multiprocessor up to capability 8.0, 128 from 8.6 on). Tensor cores do more. Infinite
        where the driver tells no clock.
        """
        device = self.current()
        if device not in self._roofs:
            self._roofs[device] = self._roofs_of(self.xp.cuda.Device(device).attributes)
        return self._roofs[device]

    @staticmethod
    def _roofs_of(found: dict[str, int]) -> tuple[float, float]:
        capability = found["ComputeCapabilityMajor"], found["ComputeCapabilityMinor"]
        cores = found["MultiProcessorCount"] * (64 if capability < (8, 6) else 128)
        bandwidth = 2e3 * found["MemoryClockRate"] * found["GlobalMemoryBusWidth"] / 8
        return bandwidth or math.inf, 2e3 * found["ClockRate"] * cores or math.inf

    def blocks(self, n: int, per_block: int = THREADS, waves: int = WAVES) -> Dims:
        """A grid for a grid-stride loop over n: at most as many blocks as the device holds."""
        return (max(1, min(-(-n // per_block), waves * self.processors())),)

    def tickets(self) -> Array:
        """Zeros (uint32), as many as blocks the device holds, for the current stream's kernels.

        The blocks of a launch count in them to find the last block; the kernel leaves zeros. One
        allocation serves STREAMS streams; a graph has its own tickets, as it may run in any stream.
        """
        if self.captured.graph is not None:
            return self.captured.graph.tickets
        device = self.current()
        stream = (device, int(self.xp.cuda.get_current_stream().ptr))
        known = self.captured.tickets if stream[1] == PER_THREAD else self._tickets
        found = known.get(stream)
        if found is None:
            with self._making:
                if not self._spare.get(device):
                    self._spare[device] = self.zeros_for_tickets(STREAMS)
                found = known.setdefault(stream, self._spare[device].pop())
        return found

    def zeros_for_tickets(self, streams: int) -> list[Array]:
        """Tickets for so many streams of the current device."""
        zeros = np.zeros((streams, self.blocks(MOST_BLOCKS, 1)[0]), np.uint32)
        made = self.xp.asarray(zeros, blocking=True)
        return [made[i] for i in range(streams)]

    def numbers(self, make: Callable[..., Any], given: dict[str, Any]) -> tuple[Any, np.uint64]:
        """make(**given) for a kernel, and the address of the numbers that replace it (or NULL).

        There is an address while a graph with dynamic numbers is captured: see graph.py.
        """
        graph = self.captured.graph
        address = None if graph is None else graph.slot(make, given)
        return make(**given), NULL if address is None else address

    def contiguous(self, x: Array) -> Array:
        """x itself if it is contiguous, else a contiguous copy."""
        return x if x._c_contiguous else self.converted(x, x.dtype)

    def converted(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """A contiguous copy of x in this dtype."""
        out = self.empty(x.shape, dtype)
        self._copy(x, out)
        return out

    def result(self, value: Array, out: Array | None) -> Array:
        """`value`, or `out` with the value in it: broadcast, converted, whatever its strides."""
        if out is None or out is value:
            return value
        self.copy(value, out)
        return out

    def copy(self, source: Array, out: Array) -> None:
        """Write `source` into `out`: broadcast, converted, any strides; they may overlap.

        Raises ValueError where the shape does not broadcast, or elements of out share memory.
        """
        if strides.overlap(source, out):
            source = self.converted(source, source.dtype)
        self._copy(source, out)

    def _copy(self, source: Array, out: Array) -> None:
        name = "from_" + SUFFIXES[source.dtype]
        same = source.shape == out.shape
        if same and source._c_contiguous and out._c_contiguous:
            self.launch_contiguous("convert", name, out, (source,))
        else:
            strides.check_writable(out)
            found = strides.transposing(out, source)
            if found is None:
                self.launch_strided("convert", name, out.dtype, out.shape, (out, source))
            else:
                struct, tiles = found
                grid = self.blocks(tiles, 1)
                self.launch("convert", name + "_transposed", out.dtype, grid, (THREADS,), (struct,))

    def launch_contiguous(
        self,
        file: str,
        name: str,
        out: Array,
        args: tuple[Any, ...],
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        """Run NAME(out, *args, n) over the n elements of out, several in each thread."""
        n = out.size
        if n:
            key = (file, name, out.dtype if dtype is None else dtype, n, self.current())
            found = self._in_rows.get(key)
            if found is None:
                found = self.plan_in_rows(*key)
            function, grid, number = found
            self._call(function, grid, BLOCK, (out, *args, number))

    def plan_in_rows(
        self, file: str, name: str, dtype: np.dtype[Any], n: int, device: int
    ) -> tuple[Any, Dims, np.int64]:
        """The function, the grid and n for `launch_contiguous`, which a cache keeps."""
        function = self.kernels.function(file, name, dtype, device)
        found = function, self.blocks(-(-n * dtype.itemsize // 16)), np.int64(n)
        if len(self._in_rows) >= KEPT:
            self._in_rows.clear()
        self._in_rows[file, name, dtype, n, device] = found
        return found

    def launch_strided(
        self,
        file: str,
        name: str,
        dtype: np.dtype[Any],
        shape: Dims,
        arrays: Sequence[Array | None],
        args: tuple[Any, ...] = (),
    ) -> None:
        """Run NAME_strided(struct, *args) over arrays of one shape: see `strides.iterations`."""
        pack = 16 // dtype.itemsize
        for struct, threads in strides.iterations(shape, arrays, pack):
            grid = self.blocks(threads)
            self.launch(file, name + "_strided", dtype, grid, (THREADS,), (struct, *args))

    def error_word(self) -> np.uint64:
        """The address of the current device's error word, for a kernel's `ErrorWord*`."""
        device = self.current()
        found = self._error_words.get(device)
        if found is None:
            with self._making:
                found = self._error_words.get(device)
                if found is None:
                    found = self._error_words[device] = ErrorWord(self.xp)
        return found.pointer

    def check(self, device: int) -> None:
        """Raise the error that a kernel found on a device, which the host has just waited for."""
        if device in self._error_words:
            self._error_words[device].check()

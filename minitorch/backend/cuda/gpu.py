"""What entries are made with: allocation, launches, and the device's error word."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cuda.errors import ErrorWord
from minitorch.backend.kernels import Kernels

Array = Any
Dims = tuple[int, ...]
THREADS = 256
MAX_DIMS = 8  # as in kernels/common.cuh
NULL = np.uint64(0)  # a null pointer among a kernel's arguments


class Gpu:
    """One kind of GPU: CuPy's, or the simulated one.

    name: the device type, "cuda" or "sim". xp: CuPy or its look-alike.
    """

    def __init__(self, name: str, xp: Any) -> None:
        self.name = name
        self.xp = xp
        self.kernels = Kernels(xp)
        self._processors: dict[int, int] = {}
        self._error_words: dict[int, ErrorWord] = {}

    def current(self) -> int:
        """The number of the current device."""
        return int(self.xp.cuda.runtime.getDevice())

    def empty(self, shape: Dims, dtype: Any) -> Array:
        """Memory that nobody has written to, on the current device."""
        return self.xp.empty(shape, dtype)

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
        a structured np.void, NULL); CuPy checks none of them. shared: bytes of dynamic memory.
        """
        function = self.kernels.function(file, name, dtype, self.current())
        function(grid, block, args, shared_mem=shared)

    def blocks(self, n: int, per_block: int = THREADS, waves: int = 8) -> Dims:
        """A grid for a grid-stride loop over n: as many blocks as the device holds, not more."""
        device = self.current()
        if device not in self._processors:
            attributes = self.xp.cuda.Device(device).attributes
            self._processors[device] = int(attributes["MultiProcessorCount"])
        return (max(1, min(-(-n // per_block), waves * self._processors[device])),)

    def error_word(self) -> np.uint64:
        """The address of the current device's error word, for a kernel's `ErrorWord*`."""
        device = self.current()
        if device not in self._error_words:
            self._error_words[device] = ErrorWord(self.xp)
        return self._error_words[device].pointer

    def check(self, device: int) -> None:
        """Raise the error that a kernel found on a device that has just been waited for."""
        if device in self._error_words:
            self._error_words[device].check()

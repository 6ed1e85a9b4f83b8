"""Objects that several processes have in common: their arrays are in memory that all of them map.

What an object consists of goes over as JSON, its arrays do not go over at all.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minitorch.backend import Device
from minitorch.core.tensor import Tensor
from minitorch.creation import from_numpy
from minitorch.nn import Module, Parameter

Array = NDArray[Any]

_ALIGNED = 64  # bytes
_CHUNK = 1 << 22  # elements that are written at once
_COLLECTIONS = {kind.__name__: kind for kind in (list, tuple, set)}
_TENSORS: dict[str, Callable[[Tensor], Tensor]] = {"Tensor": Tensor.detach, "Parameter": Parameter}
_TABLES, _REST = range(2)  # the memories that a description speaks of


class Memory(mmap.mmap):
    """Zeros that other processes can map as well, by `descriptor`."""

    descriptor: int

    def __new__(cls, size: int) -> Memory:
        descriptor = _allocated(size, in_memory=True)
        memory = super().__new__(cls, descriptor, size)
        memory.descriptor = descriptor
        return memory

    def __del__(self) -> None:
        os.close(self.descriptor)


def _allocated(size: int, in_memory: bool = False) -> int:
    """The descriptor of a file of zeros that goes away with the processes that have it open.

    in_memory: not of a disk, where the system can do that. All of it is allocated: a map of a file
    with holes kills the process that touches one once the disk is full. Raises OSError that names
    the folder.
    """
    folder = "memory"
    if in_memory and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("minitorch")
    else:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        _fill(descriptor, max(1, size))
    except OSError as error:
        os.close(descriptor)
        reason = f"{error.strerror}: {size:,} bytes are needed"
        raise OSError(error.errno, reason, folder) from None
    return descriptor


def _fill(descriptor: int, size: int) -> None:
    """Make a file as long as this, with no hole in it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for start in range(0, size, _CHUNK):
        os.pwrite(descriptor, bytes(min(_CHUNK, size - start)), start)


class _Layout:
    """The layout of arrays one behind the other: the offset of each, and the end of the last."""

    def __init__(self) -> None:
        self.arrays: list[tuple[int, Array]] = []
        self.end = 0

    def add(self, array: Array) -> int:
        """The offset of one more array."""
        offset = -(-self.end // _ALIGNED) * _ALIGNED
        self.arrays.append((offset, array))
        self.end = offset + array.nbytes
        return offset


def share(model: Module) -> None:
    """Move the parameters of a model on the CPU to one memory that processes can share."""
    layout = _Layout()
    offsets = [(p, layout.add(p.array)) for p in model.parameters()]
    memory = Memory(layout.end)
    del layout  # which holds what is moved
    for p, offset in offsets:
        shared = np.ndarray(p.array.shape, p.array.dtype, memory, offset)
        shared[...] = p.array
        p.data = from_numpy(shared)


def memory_of(model: Module) -> Memory | None:
    """The memory that all of a model's parameters are in, if it can be shared."""
    found = {id(memory): memory for p in model.parameters() for memory in [_behind(p.array)]}
    return found.popitem()[1] if len(found) == 1 else None


def _behind(array: Any) -> Memory | None:
    memory = _mapped(array)
    return memory if isinstance(memory, Memory) else None


def _mapped(array: Any) -> mmap.mmap | None:
    """The map that an array lies in."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def let_go(array: Array) -> None:
    """Let what was read of a file's map be read again when it is wanted again."""
    file = _mapped(array)
    if file is not None and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)


class Description:
    """Objects as JSON knows them: `given`. The classes must be minitorch's.

    Arrays that are not in the memory `tables` are copied to a file; where they are read from it,
    each process may change them for itself.
    """

    def __init__(self, tables: Memory, objects: Any) -> None:
        self._tables, self._rest = tables, _Layout()
        self.given = self._of(objects)

    def _of(self, x: Any) -> Any:
        if x is None or isinstance(x, (bool, int, float, str)):
            return x
        if isinstance(x, Tensor):
            return [type(x).__name__, *self._array(x.array)]
        if isinstance(x, np.ndarray):
            return ["array", *self._array(x)]
        if isinstance(x, Device):
            return ["Device", str(x)]
        kind = type(x)
        if kind.__name__ in _COLLECTIONS:
            return [kind.__name__, *map(self._of, x)]
        if isinstance(x, dict):
            return ["dict", *([self._of(key), self._of(value)] for key, value in x.items())]
        if not kind.__module__.startswith("minitorch."):
            raise TypeError(f"a {kind.__name__} cannot go over to another process: {x!r}")
        return [f"{kind.__module__}:{kind.__qualname__}", self._of(vars(x))]

    def _array(self, array: Array) -> tuple[int, str, tuple[int, ...], int]:
        """Memory, dtype, shape and offset of an array."""
        if _behind(array) is self._tables:
            start = np.frombuffer(self._tables, np.uint8).ctypes.data
            return _TABLES, array.dtype.str, array.shape, array.ctypes.data - start
        return _REST, array.dtype.str, array.shape, self._rest.add(array)

    def file(self) -> int:
        """The descriptor of a new file with all other arrays."""
        descriptor = _allocated(self._rest.end)
        for offset, array in self._rest.arrays:
            flat = array.reshape(-1)
            for start in range(0, len(flat), _CHUNK):
                part = np.ascontiguousarray(flat[start : start + _CHUNK])
                os.pwrite(descriptor, part.data, offset + start * array.itemsize)
                let_go(array)
        return descriptor


def restored(given: Any, descriptors: Sequence[int]) -> Any:
    """Objects of a `Description`, of whose memory and file these are the descriptors."""
    memories = [
        mmap.mmap(descriptor, 0, access=access)
        for descriptor, access in zip(descriptors, (mmap.ACCESS_WRITE, mmap.ACCESS_COPY))
    ]

    def made(said: Any) -> Any:
        if not isinstance(said, list):
            return said
        kind, *rest = said
        if kind in _COLLECTIONS:
            return _COLLECTIONS[kind](map(made, rest))
        if kind == "dict":
            return {made(key): made(value) for key, value in rest}
        if kind == "Device":
            return Device(*rest)
        if ":" not in kind:
            memory, dtype, shape, offset = rest
            array = np.ndarray(shape, dtype, memories[memory], offset)
            return array if kind == "array" else _TENSORS[kind](from_numpy(array))
        module, name = kind.split(":")
        cls = getattr(import_module(module), name)
        thing = cls.__new__(cls)
        vars(thing).update(made(rest[0]))
        return thing

    return made(given)

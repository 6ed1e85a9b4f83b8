"""`cupy.cuda.MemoryHook`: who is told of every allocation."""

from __future__ import annotations

import threading
from typing import Any


class _Active(threading.local):
    def __init__(self) -> None:
        self.hooks: list[MemoryHook] = []


_active = _Active()


class MemoryHook:
    """Base class: `with hook:`, its methods are called at every allocation of this thread."""

    name = "MemoryHook"

    def __enter__(self) -> MemoryHook:
        if self in _active.hooks:
            raise KeyError(f"memory hook {self.name} already exists")
        _active.hooks.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _active.hooks.remove(self)

    def malloc_postprocess(self, **kwargs: Any) -> None:
        """Called after memory was taken: device_id, size, mem_size, mem_ptr, pmem_id."""

    def free_postprocess(self, **kwargs: Any) -> None:
        """Called after memory was given back: device_id, mem_size, mem_ptr, pmem_id."""

    @staticmethod
    def _malloced(device: int, size: int, rounded: int, pointer: int, identity: int) -> None:
        for hook in _active.hooks:
            hook.malloc_postprocess(
                device_id=device, size=size, mem_size=rounded, mem_ptr=pointer, pmem_id=identity
            )

    @staticmethod
    def _freed(device: int, rounded: int, pointer: int) -> None:
        for hook in _active.hooks:
            hook.free_postprocess(device_id=device, mem_size=rounded, mem_ptr=pointer, pmem_id=0)

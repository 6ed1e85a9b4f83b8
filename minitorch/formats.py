"""What PyTorch accepts and means nothing here.

Tensors are stored in the order of their indices. So that PyTorch's scripts run, the arguments
`memory_format`, `layout` and `pin_memory` of functions that make or copy a tensor are accepted, and
have no effect; these are the values that they take.
"""

from __future__ import annotations

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "layout", "memory_format"]
__all__ += ["preserve_format", "strided"]


class _Name:
    """A value that is known by its name alone."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"minitorch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(_Name):
    """An order of elements in memory; there is one here."""


class layout(_Name):
    """A way to store a tensor; there is one here."""


preserve_format = memory_format("preserve_format")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")

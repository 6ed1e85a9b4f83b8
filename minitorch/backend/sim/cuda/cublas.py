"""`cupy.cuda.cublas`: the mode of products, which the log of launches tells."""

from __future__ import annotations

import threading

CUBLAS_DEFAULT_MATH = 0
CUBLAS_TF32_TENSOR_OP_MATH = 3


class _Modes(threading.local):
    def __init__(self) -> None:
        self.of: dict[int, int] = {}  # by handle; CuPy has one for each thread and device


_modes = _Modes()


def setMathMode(handle: int, mode: int) -> None:
    """Let the products that a handle is used for be computed in a mode."""
    _modes.of[handle] = mode


def getMathMode(handle: int) -> int:
    """The mode of a handle's products."""
    return _modes.of.get(handle, CUBLAS_DEFAULT_MATH)

"""Grad mode: whether ops are recorded, in each thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from minitorch.contexts import decorated

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled"]

P = ParamSpec("P")
R = TypeVar("R")


class _GradMode(threading.local):
    enabled = True


grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether ops are recorded in this thread."""
    return grad_mode.enabled


class set_grad_enabled:
    """Switch recording on or off: at once, and as a context manager until the block's end."""

    def __init__(self, mode: bool) -> None:
        self._previous = [grad_mode.enabled]
        self.mode = bool(mode)
        grad_mode.enabled = self.mode

    def __enter__(self) -> None:
        grad_mode.enabled = self.mode

    def __exit__(self, *_: object) -> None:
        grad_mode.enabled = self._previous[-1]

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """As a decorator: the mode holds in the function, not from here on."""
        grad_mode.enabled = self._previous[-1]
        return decorated(lambda: set_grad_enabled(self.mode), function)


class _Mode:
    """A grad mode as a context manager or a decorator; one object may be entered repeatedly."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(grad_mode.enabled)
        grad_mode.enabled = self._enabled

    def __exit__(self, *_: object) -> None:
        grad_mode.enabled = self._previous.pop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return decorated(lambda: _Mode(self._enabled), function)


@overload
def no_grad(function: None = None) -> _Mode: ...
@overload
def no_grad(function: Callable[P, R]) -> Callable[P, R]: ...
def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Nothing is recorded inside: results do not require grad (this thread only).

    >>> w = minitorch.ones(1, requires_grad=True)
    >>> with minitorch.no_grad():
    ...     (w * 2).requires_grad
    False
    """
    return _Mode(False) if function is None else _Mode(False)(function)


@overload
def enable_grad(function: None = None) -> _Mode: ...
@overload
def enable_grad(function: Callable[P, R]) -> Callable[P, R]: ...
def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Ops are recorded inside, also within `no_grad` (this thread only)."""
    return _Mode(True) if function is None else _Mode(True)(function)


def inference_mode(mode: Any = True) -> Any:
    """As `no_grad` (PyTorch's saves more bookkeeping; here there is none left to save)."""
    if callable(mode):
        return _Mode(False)(mode)
    return _Mode(not mode)

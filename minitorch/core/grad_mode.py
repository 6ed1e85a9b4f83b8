"""Grad mode: whether ops are recorded, in each thread."""

from __future__ import annotations

import inspect
import threading
import types
from collections.abc import Callable, Generator
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")

R = TypeVar("R")


class _GradMode(threading.local):
    enabled = True


grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether ops are recorded in this thread."""
    return grad_mode.enabled


@types.coroutine
def _stepped(mode: Callable[[], Any], steps: Any) -> Generator[Any, Any, Any]:
    """A generator or coroutine whose every step, but not what happens between, is in the mode."""
    step, given = steps.send, None
    while True:
        try:
            with mode():
                produced = step(given)
        except StopIteration as stop:
            return stop.value
        try:
            given = yield produced
            step = steps.send
        except GeneratorExit:
            with mode():
                steps.close()
            raise
        except BaseException as error:
            step, given = steps.throw, error


def _decorated(mode: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, generator function or `async` one of either kind, run in the mode."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            return (yield from _stepped(mode, function(*args, **kwargs)))

        return generate
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def work(*args: Any, **kwargs: Any) -> Any:
            return await _stepped(mode, function(*args, **kwargs))

        return work
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def stream(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            step, given = steps.asend, None
            while True:
                try:
                    produced = await _stepped(mode, step(given))
                except StopAsyncIteration:
                    return
                try:
                    given = yield produced
                    step = steps.asend
                except GeneratorExit:
                    await _stepped(mode, steps.aclose())
                    raise
                except BaseException as error:
                    step, given = steps.athrow, error

        return stream

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode():
            return function(*args, **kwargs)

    return wrapped


class set_grad_enabled:
    """Switch recording on or off: at once, and as a context manager until the block's end."""

    def __init__(self, mode: bool) -> None:
        self._previous = [grad_mode.enabled]
        self.mode = bool(mode)
        grad_mode.enabled = self.mode

    def __enter__(self) -> None:
        grad_mode.enabled = self.mode

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        grad_mode.enabled = self._previous[-1]

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """As a decorator: the mode holds in the function, not from here on."""
        grad_mode.enabled = self._previous[-1]
        return _decorated(lambda: set_grad_enabled(self.mode), function)


class _Mode:
    """A grad mode as a context manager or a decorator; one object may be entered repeatedly."""

    _enabled: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(grad_mode.enabled)
        grad_mode.enabled = self._enabled

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        grad_mode.enabled = self._previous.pop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return _decorated(type(self), function)


class _Bare(Protocol):
    """What makes a mode, or puts a function in it."""

    @overload
    def __call__(self, function: None = None) -> _Mode: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...


def _also_bare(name: str, mode: type[_Mode]) -> _Bare:
    """Let `@no_grad` decorate as `@no_grad()` does."""

    def make(function: Callable[..., Any] | None = None) -> Any:
        return mode() if function is None else mode()(function)

    made: Any = make
    made.__doc__ = mode.__doc__
    made.__name__ = name
    bare: _Bare = made
    return bare


class _NoGrad(_Mode):
    """Nothing is recorded inside: results do not require grad (this thread only)."""

    _enabled = False


class _EnableGrad(_Mode):
    """Ops are recorded inside, also within `no_grad` (this thread only)."""

    _enabled = True


no_grad = _also_bare("no_grad", _NoGrad)


enable_grad = _also_bare("enable_grad", _EnableGrad)


def inference_mode(mode: Any = True) -> Any:
    """As `no_grad` (PyTorch's saves more bookkeeping; here there is none left to save)."""
    if callable(mode):
        return _NoGrad()(mode)
    return _NoGrad() if mode else _EnableGrad()

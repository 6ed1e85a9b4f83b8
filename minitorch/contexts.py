"""Functions of every kind that run in a context: plain ones, generators and coroutines."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any


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


def decorated(mode: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
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

"""Options as people give them: NumPy's numbers and 0-d arrays, bools; and names of gensim 3."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

LONGEST_VECTOR = 1 << 19  # numbers to a vector
FEWER = "use a smaller vector_size, or a larger min_count"

P = ParamSpec("P")
T = TypeVar("T")


def integer(
    what: str,
    value: Any,
    least: int | None = None,
    most: float = math.inf,
    *,
    optional: bool = False,
) -> Any:
    """An option as an int; a bool counts as 0 or 1, 5.0 as 5. optional: None stays None.

    Raises ValueError for anything else, for less than `least` and more than `most`.
    """
    number = _number(value)
    if optional and number is None:
        return None
    whole = isinstance(number, Real) and math.isfinite(number) and number == math.floor(number)
    if not whole or (least is not None and number < least) or number > most:
        bound = "" if least is None else f" above {least - 1}"
        bound = f" up to {most:,}" if whole and number > most else bound
        raise ValueError(
            f"{what}: expected {'None or ' * optional}an integer{bound}, got {value!r}"
        )
    return int(number)


def require_memory(what: str, needed: int, instead: str) -> None:
    """Raise ValueError for more bytes than the machine has: it says what they are for.

    They would be used up one after the other, and the process killed. instead: what to do.
    """
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # a system that does not tell
        return
    if needed > there:
        raise ValueError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory, of which this machine has "
            f"{there / 1e9:,.1f}: {instead}"
        )


def real(what: str, value: Any) -> float:
    """An option as a float. Raises ValueError for what is none, and for NaN and infinity."""
    number = _number(value)
    if not isinstance(number, Real) or not math.isfinite(number):
        raise ValueError(f"{what}: expected a number, got {value!r}")
    return float(number)


def flag(what: str, value: Any) -> int:
    """An option that is 0 or 1. Raises ValueError for anything else."""
    if _number(value) not in (0, 1):
        raise ValueError(f"{what}: expected 0 or 1, got {value!r}")
    return int(value)


def _number(value: Any) -> Any:
    """Python's own number for one of NumPy's or a 0-d array; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


# ---------------------------------------------------------------------- names of gensim 3
def renamed(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator: arguments of these names are refused; the error names the new ones."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            old = names.keys() & kwargs.keys()
            if old:
                changes = ", ".join(f"{name} is {names[name]} now" for name in sorted(old))
                raise TypeError(f"{function.__qualname__}: {changes} (as in gensim 4)")
            return function(*args, **kwargs)

        return checked

    return decorate


class _Moved:
    """An attribute that is elsewhere now."""

    def __init__(self, new: str) -> None:
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"{owner.__name__}.{name}"

    def __get__(self, instance: object, owner: type | None = None) -> NoReturn:
        raise AttributeError(f"{self.name} is {self.new} now (as in gensim 4)")

    def __set__(self, instance: object, value: object) -> NoReturn:
        self.__get__(instance)


def moved(names: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Class decorator: attributes of these names are refused; the error names the new ones."""

    def decorate(cls: type[T]) -> type[T]:
        for name, new in names.items():
            attribute = _Moved(new)
            attribute.__set_name__(cls, name)
            setattr(cls, name, attribute)
        return cls

    return decorate


class _ClassOnly:
    def __init__(self, method: Any) -> None:
        self.method = method

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is not None:
            name = f"{type(instance).__name__}.{self.method.__name__}"
            raise AttributeError(f"{name} is called on the class, whose new model it returns")
        return self.method.__get__(None, owner)


def class_only(method: T) -> T:
    """Decorator: a classmethod that instances lack, which it would leave as they are."""
    made: Any = _ClassOnly(method)
    return cast(T, made)

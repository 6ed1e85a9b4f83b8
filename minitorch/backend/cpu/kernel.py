"""Helpers of kernels: results without warnings, `out=` for functions that lack it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy._core import umath

Array = Any
KernelTable = dict[str, Callable[..., Any]]
Index = tuple[Any, ...]
# Every kernel of a fused op takes `out=`: the results and saved arrays of an earlier call on the
# same shapes, which it overwrites. It does not write to saved arguments: they are passed again.
Out = Sequence[Any] | None
NOTHING = (None,) * 8  # an `out` that has no memory to offer


# ------------------------------------------------------------------ results at the edge
# log(0) = -inf and 1/0 = inf are the defined results of these ops, so NumPy's warnings are off for
# them. `np.errstate` takes 800 ns for that, too long for one op; setting the context variable
# behind it takes 120.
try:
    _errors: Any = umath._extobj_contextvar
    _ignore = umath._make_extobj(all="ignore")
except AttributeError:  # pragma: no cover  (a NumPy that has moved its internals)
    _errors = None


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function without NumPy's floating-point warnings."""
    if _errors is None:  # pragma: no cover

        def slow(*args: Any, **kwargs: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)

        return slow

    set_errors, reset_errors = _errors.set, _errors.reset

    def silent(*args: Any, **kwargs: Any) -> Any:
        token = set_errors(_ignore)
        try:
            return function(*args, **kwargs)
        finally:
            reset_errors(token)

    def silent_binary(x: Array, y: Array, out: Array | None = None) -> Array:
        token = set_errors(_ignore)
        try:
            return function(x, y) if out is None else function(x, y, out=out)
        finally:
            reset_errors(token)

    binary = isinstance(function, np.ufunc) and function.nin == 2
    wrapped: Callable[..., Any] = silent_binary if binary else silent
    wrapped.bare = function  # type: ignore[attr-defined]  # for callers that have turned warnings off
    return wrapped


# A 0-d zero for each floating-point dtype: NumPy is slow to convert Python's 0.
ZERO = {np.dtype(t): np.zeros((), t) for t in ("float16", "float32", "float64")}


def result(value: Array, out: Array | None) -> Array:
    """`value`, in `out` where one is given."""
    if out is None:
        return value
    np.copyto(out, value, casting="unsafe")
    return out


def into(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel with `out=`, from a function that always allocates its result."""

    def kernel(*args: Any, out: Array | None = None, **kwargs: Any) -> Array:
        return result(function(*args, **kwargs), out)

    return kernel


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], out: Array | None) -> Array:
    """Zeros, in `out` where one is given."""
    if out is None:
        return np.zeros(shape, dtype)
    out.fill(0)
    return out


def clone(x: Array, out: Array | None = None) -> Array:
    """A contiguous copy of x, in `out` if there is one."""
    return np.array(x, order="C") if out is None else result(x, out)


def scalar(value: Any, out: Array | None) -> Array:
    """A number as a 0-d array."""
    if out is None:
        return np.array(value)
    out[()] = value
    return out

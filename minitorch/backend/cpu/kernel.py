"""Helpers of kernels: no warnings, halves in float32, `out=` for functions that lack it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy._core import umath

from minitorch.core.dtypes import FLOAT32, HALVES

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


# ------------------------------------------------------------------ halves
def is_half(x: Any) -> bool:
    """Whether x is an array of halves."""
    return getattr(x, "dtype", None) in HALVES


def in_float32(kernel: Callable[..., Any], exact: Sequence[int] = ()) -> Callable[..., Any]:
    """The kernel for arrays of halves: it computes in float32, and rounds its results once.

    exact: the positions of results that stay float32.
    """

    def wide(*args: Any, out: Any = None, **params: Any) -> Any:
        half = next(a.dtype for a in args if is_half(a))
        given = [a.astype(FLOAT32) if is_half(a) else a for a in args]
        values = kernel(*given, **params)
        known = {id(v): a for v, a in zip(given, args, strict=True)} | {id(None): None}

        def narrow(v: Any, slot: Any, position: int) -> Any:
            if id(v) not in known:
                v = np.asarray(v)
                keeps = v.dtype != FLOAT32 or position in exact
                known[id(v)] = result(v if keeps else v.astype(half), slot)
            return known[id(v)]

        if not isinstance(values, (tuple, list)):
            return narrow(values, out, 0)
        slots = out or NOTHING[: len(values)]
        return [narrow(*pair, i) for i, pair in enumerate(zip(values, slots, strict=True))]

    return wide if isinstance(kernel, np.ufunc) else wraps(kernel)(wide)


def real(kernel: Callable[..., Any], exact: Sequence[int] = ()) -> Callable[..., Any]:
    """The kernel without warnings, and `in_float32` where its first array is of halves."""
    wide = in_float32(kernel, exact)

    def either(*args: Any, **params: Any) -> Any:
        return (wide if is_half(args[0]) else kernel)(*args, **params)

    def silent(*args: Any, **params: Any) -> Any:  # `quiet(either)` in one call
        token = _errors.set(_ignore)
        try:
            return (wide if getattr(args[0], "dtype", None) in HALVES else kernel)(*args, **params)
        finally:
            _errors.reset(token)

    chosen: Callable[..., Any] = quiet(either) if _errors is None else silent
    vars(chosen).update(bare=kernel, wide=wide)
    return chosen


def bare(kernel: Any, args: Sequence[Any]) -> Any:
    """The kernel for these arguments, for callers that have turned warnings off."""
    if args and is_half(args[0]):
        kernel = getattr(kernel, "wide", kernel)
    return getattr(kernel, "bare", kernel)


# A 0-d zero for each floating-point dtype: NumPy is slow to convert Python's 0.
ZERO = {np.dtype(t): np.zeros((), t) for t in ("float16", "bfloat16", "float32", "float64")}


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

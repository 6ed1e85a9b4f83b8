"""dtypes, PyTorch's rules of promotion, and shapes.

NumPy's rules differ (int64 + float32 is float64 there): in PyTorch the category decides first
(bool < integer < float), and a tensor with dimensions outweighs a 0-d one, which outweighs a
Python number.
"""

from __future__ import annotations

import numbers
from typing import Any

import ml_dtypes
import numpy as np

from minitorch.recording import edited

__all__ = ["Size", "bfloat16", "dtype", "float16", "float32", "float64", "get_default_dtype"]
__all__ += ["int8", "int16", "int32", "int64", "promote_types", "set_default_dtype", "uint8"]

Array = Any  # an array of whatever type the backend uses
FLOAT32 = np.dtype("float32")
FLOAT64 = np.dtype("float64")
HALVES = frozenset((np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)))  # computed in float32
_INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
ARRAY_DTYPES = {name: np.dtype(name) for name in ("bool", *_INTEGERS, *_FLOATS)}
# "b", "i", "u" or "f"; bfloat16's own `kind` is "V", that of a type which NumPy does not know.
KINDS = {d: "f" if name in _FLOATS else d.kind for name, d in ARRAY_DTYPES.items()}


class dtype:
    """The type of a tensor's elements, one object each: `minitorch.float32`, ..."""

    __slots__ = ("array_dtype", "category", "itemsize", "name")

    def __init__(self, name: str, category: int) -> None:
        self.name = name
        self.category = category
        self.array_dtype = ARRAY_DTYPES[name]
        self.itemsize = self.array_dtype.itemsize

    @property
    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.category == FLOAT

    def __repr__(self) -> str:
        return f"minitorch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name


BOOL, INT, FLOAT = range(3)
bool_ = dtype("bool", BOOL)
uint8, int8, int16, int32, int64 = (dtype(name, INT) for name in _INTEGERS)
float16, bfloat16, float32, float64 = (dtype(name, FLOAT) for name in _FLOATS)

DTYPES = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
FROM_ARRAY = {d.array_dtype: d for d in DTYPES}
# PyTorch's other names; `minitorch.float` is one, `from minitorch import *` brings none.
ALIASES = {
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
    "bool": bool_,
}
# Python's types stand for dtypes, as in PyTorch: dtype=float is float64, dtype=int is int64.
_default = float32


def of_array(array: Array) -> dtype:
    """The dtype of a backend's array; TypeError if minitorch has no such dtype."""
    try:
        return FROM_ARRAY[array.dtype]
    except KeyError:
        known = ", ".join(d.name for d in DTYPES)
        raise TypeError(f"dtype {array.dtype} is not supported: use one of {known}") from None


def as_dtype(value: object) -> dtype:
    """Check a `dtype=` argument; Python's bool, int and float are taken too."""
    if isinstance(value, dtype):
        return value
    if value is bool:
        return bool_
    if value is int:
        return int64
    if value is float:
        return float64
    raise TypeError(f"dtype: expected a minitorch dtype such as minitorch.float32, got {value!r}")


def get_default_dtype() -> dtype:
    """The dtype that Python floats become: float32, unless set otherwise."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make `d`, a floating-point dtype, the one that Python floats become."""
    global _default
    if not as_dtype(d).is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported, got {d!r}")
    _default = d
    edited()


def of_number(number: float) -> dtype:
    """The dtype that a number of Python's or NumPy's has among tensors: in Python's terms."""
    number = plain(number)
    if isinstance(number, bool):
        return bool_
    return int64 if isinstance(number, int) else _default


def plain(number: Any) -> Any:
    """A NumPy scalar or other real as Python's bool, int or float."""
    if type(number) in (bool, int, float):
        return number
    if type(number).__name__ in ("bool", "bool_"):
        return bool(number)
    return int(number) if isinstance(number, numbers.Integral) else float(number)


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both can be converted to, by PyTorch's table.

    >>> minitorch.promote_types(minitorch.int64, minitorch.float32)
    minitorch.float32
    """
    if a.itemsize == b.itemsize and a is not b and a.category == b.category:
        return int16 if a.category == INT else float32  # neither holds the other
    if a.category != b.category:
        return a if a.category > b.category else b
    return a if a.itemsize >= b.itemsize else b


def promote_all(dimensioned: list[dtype], zero_dim: list[dtype], numbers: list[dtype]) -> dtype:
    """The dtype of a result, by PyTorch's three tiers of operands."""
    result: dtype | None = None
    for tier in (dimensioned, zero_dim, numbers):
        if not tier:
            continue
        best = tier[0]
        for d in tier[1:]:
            best = promote_types(best, d)
        if result is None or best.category > result.category:
            result = best
    if result is None:
        raise TypeError("result_type: expected at least one operand")
    return result


class Size(tuple[int, ...]):
    """A shape: a tuple with `numel()`."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        n = 1
        for length in self:
            n *= length
        return n

    def __repr__(self) -> str:
        return f"minitorch.Size({list(self)})"

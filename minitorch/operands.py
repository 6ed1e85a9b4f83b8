"""Bringing an op's operands together: one device, one dtype, numbers where there are numbers."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Sequence
from operator import index as as_index
from typing import Any

from minitorch import autocasting, backend
from minitorch.backend.half import HalfScalar
from minitorch.core import dtypes
from minitorch.core.dtypes import FLOAT32, FLOAT64
from minitorch.core.tensor import Tensor


class Number(Tensor):
    """A Python number among an op's operands: `array` is the number, there is no version."""

    __slots__ = ()

    def __init__(self, number: float) -> None:
        self.array = number
        self.node = None
        self.version = None  # type: ignore[assignment]


def is_number(x: object) -> bool:
    """Whether x is a real number in the sense of Python (NumPy's scalars are too)."""
    return type(x) in (float, int, bool) or isinstance(x, numbers.Real) or _is_numpy_bool(x)


def integer(x: Any) -> int | None:
    """An integer of Python's, NumPy's or a tensor's as Python's; None for all else, bools too."""
    try:
        return None if isinstance(x, bool) else int(as_index(x))
    except (TypeError, RuntimeError):  # the latter of a tensor of several elements
        return None


def _is_numpy_bool(x: object) -> bool:
    return type(x).__module__ == "numpy" and type(x).__name__ in ("bool", "bool_")


def result_dtype(operands: Sequence[Any]) -> dtypes.dtype:
    """The dtype that PyTorch gives the result of an op on these tensors and numbers."""
    tensors = [x for x in operands if isinstance(x, Tensor) and x.version is not None]
    return dtypes.promote_all(
        [t.dtype for t in tensors if t.array.ndim],
        [t.dtype for t in tensors if not t.array.ndim],
        [dtypes.of_number(x) for x in operands if is_number(x)],
    )


def same_device(name: str, tensors: Sequence[Tensor]) -> None:
    """RuntimeError, with the call that helps, where the tensors do not share a device."""
    first = tensors[0]
    array_type = type(first.array)
    index = backend.of_type(array_type).index
    ordinal = index(first.array)
    for other in tensors:
        a = other.array
        if type(a) is not array_type or (ordinal is not None and index(a) != ordinal):
            raise RuntimeError(
                f"{name}: expected all tensors on one device, got {first.device} and "
                f"{other.device}; move one with .to('{first.device}')"
            )


def promote(name: str, x: Any, y: Any, floating: bool = False) -> tuple[Tensor, Tensor, type]:
    """Bring two operands to one dtype: the slow path of every binary op.

    A number stays one (as `Number`), in the type that the dtype asks for.
    Returns both and the array type that serves them.
    """
    x_is_tensor, y_is_tensor = isinstance(x, Tensor), isinstance(y, Tensor)
    # The most common case first: a float tensor and a Python number.
    try:
        if x_is_tensor and (type(y) is float or type(y) is int):
            dtype = x.array.dtype
            if dtype is FLOAT32 or dtype is FLOAT64:
                return x, Number(float(y)), type(x.array)
        elif y_is_tensor and (type(x) is float or type(x) is int):
            if name in _TENSOR_FIRST:
                raise TypeError(f"{name}: input: expected a tensor, got {kind(x)}")
            dtype = y.array.dtype
            if dtype is FLOAT32 or dtype is FLOAT64:
                return Number(float(x)), y, type(y.array)
    except OverflowError:
        pass  # `fitting` says which number
    if not (x_is_tensor or y_is_tensor):
        raise TypeError(f"{name}: expected at least one tensor, got {kind(x)} and {kind(y)}")
    for z in (x, y):
        if not isinstance(z, Tensor) and not is_number(z):
            hint = " (use minitorch.from_numpy)" if type(z).__module__ == "numpy" else ""
            raise TypeError(f"{name}: expected a tensor or a number, got {kind(z)}{hint}")
    if x_is_tensor and y_is_tensor:
        same_device(name, (x, y))
    common = result_dtype((x, y))
    if name == "sub" and common is dtypes.bool_:
        raise RuntimeError("sub: bools cannot be subtracted; use ^ or logical_not()")
    if floating and not common.is_floating_point:
        common = dtypes.get_default_dtype()
    if autocasting.state.dtypes:
        common = _autocast_dtype(name, x if x_is_tensor else y, common)
    x = x.to(common) if x_is_tensor else _as_number(name, x, common)
    y = y.to(common) if y_is_tensor else _as_number(name, y, common)
    return x, y, type(x.array if x_is_tensor else y.array)


_TENSOR_FIRST = {
    *("eq", "ne", "lt", "le", "gt", "ge", "fmod", "copysign", "clamp_min", "clamp_max"),
    *("maximum", "minimum", "atan2", "hypot", "nextafter"),
}


def _autocast_dtype(name: str, tensor: Tensor, dtype: dtypes.dtype) -> dtypes.dtype:
    """The dtype that autocast gives an op whose operands have the common one `dtype`."""
    if dtype.array_dtype not in dtypes.HALVES:
        return dtype
    (cast,) = autocasting.casted(name, tensor.to(dtype))
    return cast.dtype  # type: ignore[no-any-return]


def _as_number(name: str, number: Any, dtype: dtypes.dtype) -> Number:
    """The number in the type that `dtype` asks for; in integer arithmetic it wraps around."""
    if name in _WRAPPING and dtype.category == dtypes.INT:
        whole = dtypes.plain(number)
        if not -(2**63) <= whole < 2**64:
            raise RuntimeError(f"{name}: {reprlib.repr(whole)} does not fit into 64 bits")
        low, high = limits(dtype)
        return Number((int(whole) - low) % (high - low + 1) + low)
    value = fitting(name, number, dtype)
    return Number(HalfScalar(value) if dtype.array_dtype in dtypes.HALVES else value)


# Integer arithmetic with a number that the dtype cannot hold wraps around, as in PyTorch. All other
# ops want the number itself.
_WRAPPING = {
    *("add", "sub", "mul", "div", "floor_divide", "remainder"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
}


def fitting(what: str, number: Any, dtype: dtypes.dtype) -> Any:
    """A number as Python's bool, int or float, whichever `dtype` holds.

    RuntimeError where an integer dtype has no such number; the integers -255 to -1 are uint8's from
    the other end, as in PyTorch.
    """
    number = dtypes.plain(number)
    if dtype.category != dtypes.INT:
        try:
            return (bool, int, float)[dtype.category](number)
        except OverflowError:
            raise RuntimeError(
                f"{what}: {reprlib.repr(number)} does not fit into {dtype}"
            ) from None
    low, high = limits(dtype)
    least = low if low or isinstance(number, float) else -high
    if not least <= number <= high:
        raise RuntimeError(
            f"{what}: {number} does not fit into {dtype}, whose numbers are {low} to {high}"
        )
    return int(number) if low else int(number) % (high + 1)


def kind(x: object) -> str:
    """Name of an object's type, for error messages."""
    return f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")


def as_floating(x: Tensor, name: str = "") -> Tensor:
    """x itself if it has a floating-point dtype, else in the default one.

    name: of the op that takes it, which autocast may want in float32.
    """
    if autocasting.state.dtypes:
        (x,) = autocasting.casted(name, x)
    return x if x.dtype.is_floating_point else x.to(dtypes.get_default_dtype())


def conversion(dtype: dtypes.dtype) -> str:
    """The method call that brings a tensor to a dtype, for error messages: ".float()"."""
    name = next((name for name, alias in dtypes.ALIASES.items() if alias is dtype), None)
    return f".to({dtype})" if name is None else f".{name}()"


def limits(dtype: dtypes.dtype) -> tuple[int, int]:
    """The smallest and the largest number of an integer dtype."""
    bits = 8 * dtype.itemsize
    if dtype.name.startswith("u"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

"""Normalising the arguments of ops, as rules and backends take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch.core.families import constant
from minitorch.core.tensor import Tensor
from minitorch.operands import integer

# Raises IndexError where an element is not in [0, length); a GPU need not wait to find out.
_check_range = constant("check_range")

Dims = int | Sequence[int] | None


def one_dim(name: str, ndim: int, dim: int) -> int:
    """A dimension's number, counted from the front; IndexError outside of the range."""
    limit = max(ndim, 1)
    if type(dim) is not int:
        dim = whole_number(name, "dim", dim)
    if not -limit <= dim < limit:
        raise IndexError(
            f"{name}: dim: expected to be in range of [{-limit}, {limit - 1}], got {dim}"
        )
    return dim % limit


def all_dims(name: str, ndim: int, dim: Dims) -> tuple[int, ...]:
    """Numbers of the dimensions that `dim` names; None or () means all."""
    return named_dims(name, ndim, dim) or tuple(range(ndim))


def named_dims(name: str, ndim: int, dim: Dims) -> tuple[int, ...]:
    """Numbers of the dimensions that `dim` names; None means all, () none."""
    if dim is None:
        return tuple(range(ndim))
    named = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    dims = tuple(one_dim(name, ndim, d) for d in named)
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"{name}: dim: a dimension appears twice in {named}")
    return dims if ndim else ()


def whole_number(name: str, argument: str, value: Any) -> int:
    """An integer of Python's, NumPy's or a tensor's as Python's int; bools are none."""
    number = integer(value)
    if number is None:
        raise TypeError(f"{name}: {argument}: expected an integer, got {value!r}")
    return number


def is_whole(value: Any) -> bool:
    """Whether a value is one integer, not a sequence of them."""
    return isinstance(value, int) or hasattr(value, "__index__")


def spread(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments given one by one, or as one sequence."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        return tuple(args[0])
    return args


def need_tensor(name: str, argument: str, x: Any) -> Tensor:
    """x, or a TypeError that names the argument."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: {argument}: expected a tensor, got {type(x).__name__}")
    return x


def need_indices(name: str, argument: str, x: Any, length: int) -> Tensor:
    """An integer tensor, each element in [0, length); IndexError says which is not."""
    index = need_tensor(name, argument, x)
    if index.dtype.name not in ("int64", "int32", "uint8"):
        raise TypeError(
            f"{name}: {argument}: expected integers (int64), got {index.dtype}; use .long()"
        )
    _check_range(index, length=length, what=f"{name}: {argument}")
    return index

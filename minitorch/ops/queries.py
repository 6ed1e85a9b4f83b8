"""Questions about tensors, and what complex numbers would differ in: here it is the tensor."""

from __future__ import annotations

from typing import Any

from minitorch import operands
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.ops.arguments import need_tensor

__all__ = ["can_cast", "conj", "conj_physical", "is_complex", "is_floating_point", "is_nonzero"]
__all__ += ["is_same_size", "is_tensor", "numel", "real", "resolve_conj", "resolve_neg"]
__all__ += ["result_type"]


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floating-point numbers."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """False: there is no complex number."""
    need_tensor("is_complex", "input", input)
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0."""
    if input.numel() != 1:
        raise RuntimeError(f"is_nonzero: expected one element, got {input.numel()}")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return tuple(input.shape) == tuple(other.shape)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of a result of arithmetic with these two tensors or numbers."""
    return operands.result_dtype((tensor1, tensor2))


def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Whether a result of one dtype may be written into another: not from floats to integers."""
    return dtypes.as_dtype(from_).category <= dtypes.as_dtype(to).category


def conj(input: Tensor) -> Tensor:
    """The tensor itself, as for all real numbers."""
    return need_tensor("conj", "input", input)


conj_physical = resolve_conj = resolve_neg = real = conj

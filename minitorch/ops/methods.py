"""Gives Tensor its operators and methods, from tables. Imported for that effect alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch import creation, random
from minitorch.backend import Device
from minitorch.boundary import guarded
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.operands import is_number
from minitorch.ops import convert, elementwise, index, inplace, linalg, reduce, shape

# What stands in the `__all__` of a theme is a method, too, except for these; and so are others.
FUNCTIONS_ONLY = {
    *("bce_with_logits", "broadcast_tensors", "cat", "einsum", "embedding", "gelu", "hstack"),
    *("logsigmoid", "meshgrid", "one_hot", "silu", "softplus", "stack", "vstack", "where"),
}
METHODS_ONLY: dict[Any, str] = {
    elementwise: """bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift
        bitwise_right_shift""",
    convert: "to contiguous pin_memory is_pinned",
    shape: "view view_as reshape_as expand expand_as repeat",
    random: "bernoulli multinomial",
    inplace: """add_ sub_ mul_ div_ pow_ floor_divide_ remainder_ bitwise_and_ bitwise_or_
        bitwise_xor_ bitwise_left_shift_ bitwise_right_shift_ maximum_ minimum_ clamp_
        masked_fill_ addcmul_ addcdiv_ lerp_ copy_ fill_ zero_ normal_ uniform_ bernoulli_ random_
        index_add_ index_copy_ index_fill_ scatter_add_ scatter_ """
    + " ".join(inplace.UNARY),
}


def _where(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """input where `condition` holds, else other."""
    return elementwise.where(condition, input, other)


def _type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in another's dtype."""
    return convert.to(input, other.dtype)


def _cpu(input: Tensor) -> Tensor:
    """The tensor on the cpu."""
    return convert.to(input, device="cpu")


def _cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on the GPU, given by number or name; None: the current one."""
    return convert.to(input, device=Device.cuda(device), non_blocking=non_blocking)


def _equal(input: Tensor, other: Any) -> Any:
    """Elementwise; something that is neither tensor nor number is not equal, as in PyTorch."""
    comparable = isinstance(other, Tensor) or is_number(other)
    return elementwise.eq(input, other) if comparable else NotImplemented


def _not_equal(input: Tensor, other: Any) -> Any:
    """Elementwise; something that is neither tensor nor number is not equal, as in PyTorch."""
    comparable = isinstance(other, Tensor) or is_number(other)
    return elementwise.ne(input, other) if comparable else NotImplemented


OTHER_NAME: dict[str, Callable[..., Any]] = {
    "multiply": elementwise.mul,
    "divide": elementwise.div,
    "subtract": elementwise.sub,
    "negative": elementwise.neg,
    "absolute": elementwise.abs,
    "permute_dims": shape.permute,
    "where": _where,
    "type_as": _type_as,
    "cpu": _cpu,
    "cuda": _cuda,
    "__add__": elementwise.add_,
    "__radd__": lambda x, y: elementwise.add_(y, x),
    "__sub__": elementwise.sub_,
    "__rsub__": lambda x, y: elementwise.sub_(y, x),
    "__mul__": elementwise.mul,
    "__rmul__": lambda x, y: elementwise.mul(y, x),
    "__truediv__": elementwise.div_,
    "__rtruediv__": lambda x, y: elementwise.div_(y, x),
    "__floordiv__": elementwise.floor_divide,
    "__rfloordiv__": lambda x, y: elementwise.floor_divide(y, x),
    "__mod__": elementwise.remainder,
    "__rmod__": lambda x, y: elementwise.remainder(y, x),
    "__pow__": elementwise.pow,
    "__rpow__": lambda x, y: elementwise.pow(y, x),
    "__matmul__": linalg.matmul,
    "__neg__": elementwise.neg,
    "__pos__": lambda x: x,
    "__abs__": elementwise.abs,
    "__eq__": _equal,
    "__ne__": _not_equal,
    "__lt__": elementwise.lt,
    "__le__": elementwise.le,
    "__gt__": elementwise.gt,
    "__ge__": elementwise.ge,
    "__and__": elementwise.bitwise_and,
    "__rand__": lambda x, y: elementwise.bitwise_and(y, x),
    "__or__": elementwise.bitwise_or,
    "__ror__": lambda x, y: elementwise.bitwise_or(y, x),
    "__xor__": elementwise.bitwise_xor,
    "__rxor__": lambda x, y: elementwise.bitwise_xor(y, x),
    "__lshift__": elementwise.bitwise_left_shift,
    "__rlshift__": lambda x, y: elementwise.bitwise_left_shift(y, x),
    "__rshift__": elementwise.bitwise_right_shift,
    "__rrshift__": lambda x, y: elementwise.bitwise_right_shift(y, x),
    "__invert__": elementwise.bitwise_not,
    "__iadd__": inplace.add_,
    "__isub__": inplace.sub_,
    "__imul__": inplace.mul_,
    "__itruediv__": inplace.div_,
    "__ipow__": inplace.pow_,
    "__ifloordiv__": inplace.floor_divide_,
    "__imod__": inplace.remainder_,
    "__iand__": inplace.bitwise_and_,
    "__ior__": inplace.bitwise_or_,
    "__ixor__": inplace.bitwise_xor_,
    "__ilshift__": inplace.bitwise_left_shift_,
    "__irshift__": inplace.bitwise_right_shift_,
    "__getitem__": index.getitem,
    "__setitem__": inplace.setitem,
    "_cat": lambda x, *others, dim=0: shape.cat([x, *others], dim),
}

TO_DTYPE = {**dtypes.ALIASES, "byte": dtypes.uint8, "char": dtypes.int8}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": shape.reverse_dims,
    "mT": shape.matrix_transpose,
}


def _new(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def f(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, **rest: Any) -> Tensor:
        return make(*args, **creation.like(input, dtype, device), **rest)

    f.__doc__ = f"`{make.__name__}` with this tensor's dtype and device."
    return f


def _caster(dtype: dtypes.dtype) -> Callable[[Tensor], Tensor]:
    def f(input: Tensor) -> Tensor:
        return convert.cast(input, dtype)

    f.__doc__ = f"The tensor in {dtype}."
    return f


# Methods that take another tensor, or more, and do not look at it themselves.
GUARDED = """isclose allclose equal view_as reshape_as expand_as type_as where gather index_select
    masked_select take_along_dim searchsorted mm mv bmm dot outer addcmul addcdiv lerp addcmul_
    addcdiv_ lerp_ copy_ masked_fill masked_fill_ index_add index_add_ index_copy_ index_fill_
    scatter scatter_ scatter_add scatter_add_ bincount multinomial normal_ uniform_ bernoulli_
    random_ triu tril diag diagonal repeat repeat_interleave roll topk round"""


def _install() -> None:
    for theme in (elementwise, convert, reduce, shape, index, linalg, inplace):
        for name in theme.__all__:
            if name not in FUNCTIONS_ONLY:
                setattr(Tensor, name, getattr(theme, name))
    for module, names in METHODS_ONLY.items():
        for name in names.split():
            setattr(Tensor, name, getattr(module, name))
    for name, function in OTHER_NAME.items():
        setattr(Tensor, name, function)
    for name in GUARDED.split():
        setattr(Tensor, name, guarded(getattr(Tensor, name)))
    for name, dtype in TO_DTYPE.items():
        setattr(Tensor, name, _caster(dtype))
    for name, function in PROPERTIES.items():
        setattr(Tensor, name, property(function))
    for name in ("zeros", "ones", "full", "empty", "tensor"):
        setattr(Tensor, f"new_{name}", _new(getattr(creation, name)))


_install()

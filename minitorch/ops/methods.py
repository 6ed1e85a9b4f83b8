"""Gives Tensor its operators and methods, from tables. Imported for that effect alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from minitorch import creation, random
from minitorch.backend import Device
from minitorch.boundary import guarded
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.operands import is_number
from minitorch.ops import (
    aliases,
    arrange,
    convert,
    draws,
    elementwise,
    forms,
    functions,
    index,
    inplace,
    linalg,
    order,
    positions,
    products,
    queries,
    reduce,
    shape,
    statistics,
)

# What stands in the `__all__` of a theme is a method, too, except for these; and so are others.
FUNCTIONS_ONLY = {
    *("bce_with_logits", "broadcast_tensors", "cat", "einsum", "embedding", "gelu", "hstack"),
    *("logsigmoid", "meshgrid", "one_hot", "silu", "softplus", "stack", "vstack", "where"),
    *("atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "cartesian_prod"),
    *("column_stack", "combinations", "concat", "concatenate", "constant_pad_nd", "dstack"),
    *("row_stack", "tril_indices", "triu_indices", "trapz", "trapezoid", "vander", "cdist"),
    *("can_cast", "is_tensor", "numel", "is_floating_point", "real", "result_type"),
    *("cumulative_trapezoid", "std_mean", "var_mean", "tensordot", "rsub", "nonzero_static"),
}
METHODS_ONLY: dict[Any, str] = {
    elementwise: """bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift
        bitwise_right_shift""",
    convert: "to contiguous pin_memory is_pinned record_stream",
    shape: "view view_as reshape_as expand expand_as repeat",
    random: "bernoulli multinomial",
    inplace: """add_ sub_ mul_ div_ pow_ floor_divide_ remainder_ bitwise_and_ bitwise_or_
        bitwise_xor_ bitwise_left_shift_ bitwise_right_shift_ maximum_ minimum_ clamp_
        masked_fill_ addcmul_ addcdiv_ lerp_ copy_ fill_ zero_
        index_add_ index_copy_ index_fill_ scatter_add_ scatter_""",
    positions: "put_ index_put_",
    draws: "normal_ uniform_ bernoulli_ random_ cauchy_ exponential_ geometric_ log_normal_",
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


def _itemsize(input: Tensor) -> int:
    """Bytes of one element."""
    return input.element_size()


def _equal(input: Tensor, other: Any) -> Any:
    """Elementwise; something that is neither tensor nor number is not equal, as in PyTorch."""
    comparable = isinstance(other, Tensor) or is_number(other)
    return elementwise.eq(input, other) if comparable else NotImplemented


def _not_equal(input: Tensor, other: Any) -> Any:
    """Elementwise; something that is neither tensor nor number is not equal, as in PyTorch."""
    comparable = isinstance(other, Tensor) or is_number(other)
    return elementwise.ne(input, other) if comparable else NotImplemented


# Of an operator `+`: what `x + y` and, turned round, `1 + x` call; and what `x += y` does.
OPERATORS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (elementwise.add_, inplace.add_),
    "sub": (elementwise.sub_, inplace.sub_),
    "mul": (elementwise.mul, inplace.mul_),
    "truediv": (elementwise.div_, inplace.div_),
    "floordiv": (elementwise.floor_divide, inplace.floor_divide_),
    "mod": (elementwise.remainder, inplace.remainder_),
    "pow": (elementwise.pow, inplace.pow_),
    "and": (elementwise.bitwise_and, inplace.bitwise_and_),
    "or": (elementwise.bitwise_or, inplace.bitwise_or_),
    "xor": (elementwise.bitwise_xor, inplace.bitwise_xor_),
    "lshift": (elementwise.bitwise_left_shift, inplace.bitwise_left_shift_),
    "rshift": (elementwise.bitwise_right_shift, inplace.bitwise_right_shift_),
}

OTHER_NAME: dict[str, Callable[..., Any]] = {
    "where": _where,
    "type_as": _type_as,
    "cpu": _cpu,
    "cuda": _cuda,
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
    "__invert__": elementwise.bitwise_not,
    "__getitem__": index.getitem,
    "__setitem__": inplace.setitem,
    "_cat": lambda x, *others, dim=0: shape.cat([x, *others], dim),
}

TO_DTYPE = {
    **dtypes.ALIASES,
    "byte": dtypes.uint8,
    "char": dtypes.int8,
    "bfloat16": dtypes.bfloat16,
}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": shape.reverse_dims,
    "H": shape.t,
    "mT": shape.matrix_transpose,
    "mH": shape.matrix_transpose,
    "real": queries.real,
    "itemsize": _itemsize,
}


def _reflected(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: function(y, x)


def _new(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def f(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, **rest: Any) -> Tensor:
        return make(*args, **creation.like(input, dtype, device), **rest)

    f.__doc__ = f"`{make.__name__}` with this tensor's dtype and device."
    return f


def _late(name: str) -> Callable[..., Any]:
    """A method whose module is imported when it is called first."""

    def f(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        matrices = importlib.import_module("minitorch.matrices")
        return getattr(matrices, name)(input, *args, **kwargs)

    f.__name__ = name
    f.__doc__ = f"`minitorch.{name}`."
    return f


def _caster(dtype: dtypes.dtype) -> Callable[[Tensor], Tensor]:
    def f(input: Tensor, memory_format: Any = None) -> Tensor:
        return convert.cast(input, dtype)

    f.__doc__ = f"The tensor in {dtype}."
    return f


# Methods that take another tensor, or more, and do not look at it themselves; those of the themes
# in GUARDED_THEMES, too, so that they know NumPy's names of arguments.
GUARDED_THEMES = (
    *(functions, reduce, order, statistics, arrange, positions, products, aliases, queries, draws),
)
BARE = {"sum", "mean"}  # called in every step of a training
GUARDED = """flip movedim isclose allclose equal view_as reshape_as expand_as type_as where gather
    index_select masked_select take_along_dim searchsorted mm mv bmm dot outer addcmul addcdiv lerp
    addcmul_ addcdiv_ lerp_ copy_ masked_fill masked_fill_ index_add index_add_ index_copy_
    index_fill_ scatter scatter_ scatter_add scatter_add_ bincount multinomial normal_ uniform_
    bernoulli_ random_ triu tril diag diagonal repeat repeat_interleave roll topk round"""


THEMES = (
    *(elementwise, functions, convert, reduce, order, statistics, shape, arrange, index, positions),
    *(linalg, products, inplace, aliases, queries),
)
LATE = """cholesky cholesky_inverse cholesky_solve det inverse logdet matrix_exp matrix_power
    pinverse qr slogdet svd triangular_solve"""


def _install() -> None:
    for theme in THEMES:
        for name in theme.__all__:
            if name not in FUNCTIONS_ONLY:
                method = getattr(theme, name)
                guards = theme in GUARDED_THEMES and name not in BARE
                setattr(Tensor, name, guarded(method) if guards else method)
    for module, names in METHODS_ONLY.items():
        for name in names.split():
            method = getattr(module, name)
            setattr(Tensor, name, guarded(method) if module in GUARDED_THEMES else method)
    for name, form in forms.FORMS.items():
        of_one = name.removesuffix("_") in forms.OF_ONE
        setattr(Tensor, name, form if of_one else guarded(form))
    for name, (function, in_place) in OPERATORS.items():
        setattr(Tensor, f"__{name}__", function)
        setattr(Tensor, f"__r{name}__", _reflected(function))
        setattr(Tensor, f"__i{name}__", in_place)
    for name, function in OTHER_NAME.items():
        setattr(Tensor, name, function)
    for name in GUARDED.split():
        setattr(Tensor, name, guarded(getattr(Tensor, name)))
    for name, dtype in TO_DTYPE.items():
        setattr(Tensor, name, _caster(dtype))
    for name, function in PROPERTIES.items():
        setattr(Tensor, name, property(function))
    for name in LATE.split():
        setattr(Tensor, name, guarded(_late(name)))
    for name in ("zeros", "ones", "full", "empty", "empty_strided", "tensor"):
        setattr(Tensor, f"new_{name}", _new(getattr(creation, name)))


_install()

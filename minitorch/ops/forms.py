"""Forms of functions that change their first argument, `x.exp_()`: all that need no own kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch.core import tape
from minitorch.core.tensor import Tensor
from minitorch.ops import (
    aliases,
    elementwise,
    functions,
    inplace,
    positions,
    products,
    reduce,
    shape,
    statistics,
)

_NAMES: dict[Any, str] = {
    elementwise: """neg abs exp log log1p sqrt rsqrt reciprocal sin cos tanh sigmoid relu floor ceil
        round trunc square erf expm1 tan sign clamp_min clamp_max eq ne lt le gt ge
        logical_and logical_or logical_xor logical_not bitwise_not""",
    functions: """acos acosh asin asinh atan atan2 atanh copysign cosh deg2rad digamma erfc erfinv
        exp2 float_power fmod frac gcd heaviside hypot i0 lcm ldexp lgamma log2 log10 logit mvlgamma
        nan_to_num nextafter polygamma rad2deg sgn sinc sinh xlogy""",
    aliases: """absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh clip fix greater
        greater_equal less less_equal multiply negative not_equal subtract divide true_divide""",
    reduce: "cumsum",
    statistics: "cumprod renorm",
    shape: "tril triu",
    products: "addbmm addmm addmv addr baddbmm",
    positions: "index_reduce masked_scatter scatter_reduce",
}
_RESHAPING: dict[Any, str] = {
    shape: "t squeeze unsqueeze transpose",
    aliases: "swapaxes swapdims",
}


def _reshaped_in_place(name: str, view: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def f(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        inplace.check_leaf(name, input)
        result = view(input, *args, **kwargs)
        input.array, input.node = result.array, result.node
        tape.count_change(input)
        return input

    f.__name__ = name
    f.__doc__ = f"`{name[:-1]}`, in place."
    return f


OF_ONE = _NAMES[elementwise].partition("clamp_min")[0].split()  # whose only argument is the tensor
FORMS = {
    f"{name}_": made(f"{name}_", getattr(module, name))
    for table, made in ((_NAMES, inplace.in_place), (_RESHAPING, _reshaped_in_place))
    for module, names in table.items()
    for name in names.split()
}

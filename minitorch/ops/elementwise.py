"""Elementwise ops: each row gives the partial derivatives, from which both modes follow."""

from __future__ import annotations

import math
from typing import Any, overload

from minitorch.core import dtypes
from minitorch.core.families import (
    MINUS_ONE,
    ONE,
    TensorFunction,
    constant,
    elementwise,
    general,
    sum_to,
)
from minitorch.core.tape import version_checked
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.operands import Number, is_number, kind, promote, result_dtype, same_device
from minitorch.ops.arguments import need_tensor
from minitorch.underived import comparison

__all__ = [
    "abs",
    "add",
    "allclose",
    "bce_with_logits",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "div",
    "eq",
    "equal",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "ge",
    "gelu",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsigmoid",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "tan",
    "tanh",
    "trunc",
    "where",
]


# ---------------------------------------------------------------------- partials with a condition
def _share(loses: Tensor, x: Any, y: Any) -> Tensor:
    """Share of one of x and y in their maximum or minimum: 0 where it loses, a half if equal."""
    equal: Tensor = x == y
    dtype = (x if isinstance(x, Tensor) else y).dtype
    return 1 - loses.to(dtype) - equal.to(dtype) * 0.5


def _inverse(y: Any) -> Any:
    return 1 / y if isinstance(y, Tensor) or y else math.copysign(math.inf, y)


def _power_in_x(x: Any, y: Any) -> Any:
    if isinstance(y, Tensor):
        return (y * x ** (y - 1)).masked_fill(y == 0, 0)
    return 0.0 if y == 0 else y * x ** (y - 1)


def _power_in_y(x: Tensor, z: Tensor) -> Tensor:
    # z log x, and 0 at x = 0, where 0**y stays 0 for every y > 0.
    return z * x.masked_fill((x == 0) & (z <= 1), 1).log()


def _flat(g: Tensor) -> Tensor:
    """The gradient of a step function."""
    return g.new_zeros(g.shape)


# ---------------------------------------------------------------------- two arguments
add_ = elementwise("add", ONE, ONE)
sub_ = elementwise("sub", ONE, MINUS_ONE)
mul = elementwise("mul", lambda y: y, lambda x: x)
div_ = elementwise("div", lambda y: _inverse(y), lambda x, y: -(x / y) / y, floating=True)
pow_ = elementwise("pow", _power_in_x, _power_in_y)
maximum = elementwise("maximum", lambda x, y: _share(x < y, x, y), lambda x, y: _share(x > y, x, y))
minimum = elementwise("minimum", lambda x, y: _share(x > y, x, y), lambda x, y: _share(x < y, x, y))
clamp_min = elementwise(  # the maximum, in which a bound counts less than the element
    "clamp_min", lambda g, x, y: where(x >= y, g, 0.0), lambda g, x, y: where(x < y, g, 0.0)
)
clamp_max = elementwise(
    "clamp_max", lambda g, x, y: where(x <= y, g, 0.0), lambda g, x, y: where(x > y, g, 0.0)
)
remainder = elementwise("remainder", ONE, lambda x, y: -(x // y))
floor_divide = elementwise("floor_divide", _flat, _flat)
bce_with_logits = elementwise("bce_with_logits", lambda x, y: x.sigmoid() - y, lambda x: -x)

# ---------------------------------------------------------------------- one argument
neg = elementwise("neg", MINUS_ONE)
abs = elementwise("abs", lambda x: x.sign())
sign = elementwise("sign", _flat)
floor = elementwise("floor", _flat)
ceil = elementwise("ceil", _flat)
trunc = elementwise("trunc", _flat)
_round = elementwise("round", _flat)
relu = elementwise("relu", lambda g, z: relu_backward(g, z.detach()))
exp = elementwise("exp", lambda z: z, floating=True)
log = elementwise("log", lambda x: x.reciprocal(), floating=True)
log1p = elementwise("log1p", lambda x: (x + 1).reciprocal(), floating=True)
expm1 = elementwise("expm1", lambda x: x.exp(), floating=True)  # 1 + z loses what z rounds to -1
sqrt = elementwise("sqrt", lambda z: 0.5 / z, floating=True)
rsqrt = elementwise("rsqrt", lambda z: -0.5 * z * z * z, floating=True)
reciprocal = elementwise("reciprocal", lambda z: -z * z, floating=True)
sin = elementwise("sin", lambda x: x.cos(), floating=True)
cos = elementwise("cos", lambda x: -x.sin(), floating=True)
tan = elementwise("tan", lambda z: z * z + 1, floating=True)
tanh = elementwise("tanh", lambda g, z: tanh_backward(g, z), floating=True)
sigmoid = elementwise("sigmoid", lambda g, z: sigmoid_backward(g, z), floating=True)
erf = elementwise("erf", lambda x: (-x * x).exp() * (2 / math.sqrt(math.pi)), floating=True)
softplus_ = elementwise("softplus", lambda x: x.sigmoid(), floating=True)
gelu_ = elementwise("gelu", lambda g, x: gelu_backward(g, x), floating=True)

# ---------------------------------------------------------------------- derivatives in one op
# x times the derivative of relu, tanh and sigmoid where their result is y; of gelu, Phi(y) +
# y * phi(y) with the normal distribution's Phi and phi, at y.
relu_backward: TensorFunction = elementwise(
    "relu_backward", lambda g, y: relu_backward(g, y), lambda y: y.new_zeros(y.shape)
)
tanh_backward: TensorFunction = elementwise(
    "tanh_backward", lambda g, y: tanh_backward(g, y), lambda x, y: x * y * -2
)
sigmoid_backward: TensorFunction = elementwise(
    "sigmoid_backward", lambda g, y: sigmoid_backward(g, y), lambda x, y: x * (1 - 2 * y)
)
gelu_backward: TensorFunction = elementwise(
    "gelu_backward",
    lambda g, y: gelu_backward(g, y),
    lambda x, y: x * (2 - y * y) * (y * y * -0.5).exp() * (1 / math.sqrt(2 * math.pi)),
)

# ---------------------------------------------------------------------- no derivative
eq = comparison("eq")
ne = comparison("ne")
lt = comparison("lt")
le = comparison("le")
gt = comparison("gt")
ge = comparison("ge")
bitwise_and = comparison("bitwise_and")
bitwise_or = comparison("bitwise_or")
bitwise_xor = comparison("bitwise_xor")
bitwise_left_shift = comparison("bitwise_left_shift")
bitwise_right_shift = comparison("bitwise_right_shift")
_bitwise_not = constant("bitwise_not")


# ---------------------------------------------------------------------- docstrings
# What help() says of the public functions that the table above makes.
_DOCSTRINGS = {
    "mul": "input * other, broadcast; one of the two may be a number.",
    "maximum": "The larger of input and other, broadcast; nan where one of them is.",
    "minimum": "The smaller of input and other, broadcast; nan where one of them is.",
    "clamp_min": "input, or other (a number or a tensor) where input is smaller.",
    "clamp_max": "input, or other (a number or a tensor) where input is larger.",
    "remainder": "input - other * floor(input / other), which has the sign of other.",
    "floor_divide": "floor(input / other), broadcast; its derivative is 0.",
    "bce_with_logits": "log(1 + e^input) - input * other: binary cross-entropy of logits.",
    "neg": "-input.",
    "abs": "The absolute value |input|; its derivative at 0 is 0.",
    "sign": "-1, 0 or 1, as input is negative, zero (or nan) or positive; its derivative is 0.",
    "floor": "The largest integer that is not above input, in input's dtype; its derivative is 0.",
    "ceil": "The smallest integer that is not below input, in input's dtype; its derivative is 0.",
    "trunc": "The integer part of input, in input's dtype; its derivative is 0.",
    "relu": "max(input, 0); its derivative at 0 is 0.",
    "exp": "e^input.",
    "log": "The natural logarithm of input: -inf at 0, nan below.",
    "log1p": "log(1 + input), exact for a small input.",
    "expm1": "e^input - 1, exact for a small input.",
    "sqrt": "The square root of input: nan below 0.",
    "rsqrt": "1 / sqrt(input).",
    "reciprocal": "1 / input.",
    "sin": "The sine of input, an angle in radians.",
    "cos": "The cosine of input, an angle in radians.",
    "tan": "The tangent of input, an angle in radians.",
    "tanh": "The hyperbolic tangent of input.",
    "sigmoid": "1 / (1 + e^-input).",
    "erf": "The error function 2 / sqrt(pi) * (integral of e^(-t^2) for t from 0 to input).",
    "eq": "Where input == other, broadcast: a bool tensor.",
    "ne": "Where input != other, broadcast: a bool tensor.",
    "lt": "Where input < other, broadcast: a bool tensor.",
    "le": "Where input <= other, broadcast: a bool tensor.",
    "gt": "Where input > other, broadcast: a bool tensor.",
    "ge": "Where input >= other, broadcast: a bool tensor.",
    "bitwise_and": "The bits that both integers (or bools) have.",
    "bitwise_or": "The bits that one of two integers (or bools) has.",
    "bitwise_xor": "The bits that exactly one of two integers (or bools) has.",
    "bitwise_left_shift": "input's bits moved up by other: input * 2^other in the integers.",
    "bitwise_right_shift": "input's bits moved down by other: floor(input / 2^other).",
}
for _name, _text in _DOCSTRINGS.items():
    globals()[_name].__doc__ = _text
    globals()[_name].__qualname__ = _name
    globals()[_name].__module__ = __name__


# ---------------------------------------------------------------------- choice
def _where_vjp(g: Tensor, inputs: Any, output: Any, shapes: Any, condition: Any) -> list[Any]:
    chosen = tensor_of(condition)
    return [
        None if shapes[0] is None else sum_to(where(chosen, g, 0.0), shapes[0]),
        None if shapes[1] is None else sum_to(where(chosen, 0.0, g), shapes[1]),
    ]


def _where_jvp(tangents: Any, inputs: Any, output: Any, shape: Any, condition: Any) -> Tensor:
    s, t = (0.0 if t is None else t for t in tangents)
    return where(tensor_of(condition), s, t).expand(shape)


_where = general("where", _where_vjp, _where_jvp)


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Tensor | float, other: Tensor | float) -> Tensor: ...
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` (bool) holds, else `other`; either may be a number.

    With the condition alone: the indices where it holds, a tuple of int64 tensors.

    >>> x = minitorch.tensor([-1.0, 2.0])
    >>> minitorch.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    need_tensor("where", "condition", condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition.dtype is not dtypes.bool_:
        raise RuntimeError(f"where: condition: expected a bool tensor, got {condition.dtype}")
    if is_number(input) and is_number(other):
        dtype = dtypes.promote_types(dtypes.of_number(input), dtypes.of_number(other))
        input = condition.new_full((), input, dtype=dtype)
    input, other, _ = promote("where", input, other)
    same_device("where", [condition, *(t for t in (input, other) if not isinstance(t, Number))])
    return version_checked(_where(input, other, condition=condition.array), condition)


# ---------------------------------------------------------------------- PyTorch's arguments
def scaled(name: str, input: Any, other: Any, alpha: Any) -> Any:
    """alpha * other, in the dtype that input + other has."""
    if not is_number(alpha):
        raise TypeError(f"{name}: alpha: expected a number, got {alpha!r}")
    if alpha == 1:
        return other
    if not isinstance(other, Tensor):
        if not is_number(other):
            raise TypeError(f"{name}: other: expected a tensor or a number, got {kind(other)}")
        return dtypes.plain(other) * dtypes.plain(alpha)
    dtype = result_dtype((input, other))
    if isinstance(alpha, float) and not dtype.is_floating_point:
        raise RuntimeError(
            f"{name}: alpha: expected an integer for a result in {dtype}, got {alpha}"
        )
    return (other.to(dtype) * alpha).to(dtype)


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other, broadcast."""
    result: Tensor = add_(input, scaled("add", input, other, alpha))
    return result


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other, broadcast."""
    result: Tensor = sub_(input, scaled("sub", input, other, alpha))
    return result


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, broadcast; integers become floats unless rounded ("floor" or "trunc")."""
    if rounding_mode is None:
        result: Tensor = div_(input, other)
        return result
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        dtype = result_dtype((input, other))
        if dtype.is_floating_point:
            return div_(input, other).trunc()
        if dtype is dtypes.uint8:  # as which a negative number is positive
            return floor_divide(input, other)
        upwards = (remainder(input, other) != 0) & ((input < 0) ^ (other < 0))
        whole: Tensor = floor_divide(input, other) + upwards
        return whole
    raise RuntimeError(
        f"div: rounding_mode: expected None, 'floor' or 'trunc', got {rounding_mode!r}"
    )


def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent, broadcast; integers to a negative integer power are an error."""
    if isinstance(input, Tensor) and is_number(exponent):
        floating = input.dtype.is_floating_point
        if exponent < 0 and not floating and not isinstance(exponent, float):
            raise RuntimeError("pow: integers to negative integer powers are not allowed")
        keeps_dtype = floating or (input.dtype is not dtypes.bool_ and type(exponent) is int)
        if exponent == 2 and keeps_dtype:
            return mul(input, input)
        if exponent == 1 and keeps_dtype:
            return input.clone()
    if is_number(input) and isinstance(exponent, Tensor):
        dtype = dtypes.promote_types(exponent.dtype, dtypes.of_number(input))
        if dtype.category == exponent.dtype.category:
            dtype = exponent.dtype
        input = exponent.new_full((), input, dtype=dtype)
    result: Tensor = pow_(input, exponent)
    return result


def square(input: Tensor) -> Tensor:
    """input * input."""
    return pow(input, 2)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one; or to this number of decimals."""
    if decimals == 0:
        return _round(input)
    scale = 10.0**decimals
    return _round(input * scale) / scale


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input limited to [min, max], numbers or tensors; nan where one of the three is.

    The gradient is 1 from min to max, 0 outside and at nan.

    >>> minitorch.tensor([-3.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be given")
    if min is not None:
        input = clamp_min(input, min)
    if max is not None:
        input = clamp_max(input, max)
    return input


def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return input * input.sigmoid()


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x); with approximate="tanh" the tanh formula of Hendrycks and Gimpel (2016)."""
    if approximate == "none":
        return gelu_(input)
    if approximate != "tanh":
        raise RuntimeError(f"gelu: approximate: expected 'none' or 'tanh', got {approximate!r}")
    inner = math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)
    return 0.5 * input * (inner.tanh() + 1)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold."""
    scaled = input * beta if beta != 1 else input
    return where(scaled > threshold, input, softplus_(scaled) / beta)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), with no overflow at either end."""
    return -softplus_(-input)


def isnan(input: Tensor) -> Tensor:
    """Where the elements are not a number."""
    return ne(input, input)


def isinf(input: Tensor) -> Tensor:
    """Where the elements are infinite."""
    return eq(abs(input), math.inf)


def isfinite(input: Tensor) -> Tensor:
    """Where the elements are neither infinite nor nan."""
    if not input.dtype.is_floating_point:
        return eq(input, input)
    return lt(abs(input), math.inf)


def bitwise_not(input: Tensor) -> Tensor:
    """The complement of an integer's bits, or of a bool."""
    return _bitwise_not(need_tensor("bitwise_not", "input", input))


def _truth(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x if x.dtype is dtypes.bool_ else ne(x, 0)
    return bool(x) if is_number(x) else x


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Where both are nonzero."""
    return bitwise_and(_truth(input), _truth(other))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Where one of them is nonzero."""
    return bitwise_or(_truth(input), _truth(other))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Where exactly one of them is nonzero."""
    return bitwise_xor(_truth(input), _truth(other))


def logical_not(input: Tensor) -> Tensor:
    """Where the elements are zero."""
    return bitwise_not(_truth(input))


def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    """Where |input - other| <= atol + rtol * |other|."""
    for name, given in (("rtol", rtol), ("atol", atol)):
        if given < 0:
            raise RuntimeError(
                f"isclose: {name} must be greater than or equal to zero, got {given}"
            )
    input, other = (x if x.dtype.is_floating_point else x.double() for x in (input, other))
    near = le(abs(input - other), abs(other) * rtol + atol) & isfinite(input) & isfinite(other)
    result = near | eq(input, other)
    return result | (isnan(input) & isnan(other)) if equal_nan else result


def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether every element is close, see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements."""
    return tuple(input.shape) == tuple(other.shape) and bool(eq(input, other).all())

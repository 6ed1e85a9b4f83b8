"""Elementwise functions beside those of everyday: rows of the op table, and composites of ops."""

from __future__ import annotations

import math
from typing import Any

from minitorch import creation
from minitorch.backend.limits import finfo
from minitorch.core import dtypes
from minitorch.core.families import TensorFunction
from minitorch.core.families import elementwise as _elementwise
from minitorch.core.tensor import Tensor
from minitorch.operands import as_floating, is_number, result_dtype
from minitorch.ops import elementwise, reduce
from minitorch.ops.arguments import need_tensor, whole_number
from minitorch.ops.elementwise import where
from minitorch.ops.shape import broadcast_tensors, stack

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "copysign", "cosh"]
__all__ += ["deg2rad", "digamma", "erfc", "erfinv", "exp2", "float_power", "fmax", "fmin", "fmod"]
__all__ += ["frac", "frexp", "gcd", "heaviside", "hypot", "i0", "isneginf", "isposinf", "isreal"]
__all__ += ["lcm", "ldexp", "lgamma", "log2", "log10", "logaddexp", "logaddexp2", "logit"]
__all__ += ["mvlgamma", "nan_to_num", "nextafter", "polygamma", "positive", "rad2deg", "rsub"]
__all__ += ["sgn", "signbit", "sinc", "sinh", "xlogy"]


# ---------------------------------------------------------------------- the table
def _i1_slope(x: Tensor, z: Tensor) -> Tensor:
    zero = x == 0
    return i0(x) - (z / x.masked_fill(zero, 1)).masked_fill(zero, 0.5)


def _flat(x: Tensor) -> Tensor:
    return x.new_zeros(x.shape)


asin = _elementwise("asin", lambda x: (1 - x * x).rsqrt(), floating=True)
acos = _elementwise("acos", lambda x: -(1 - x * x).rsqrt(), floating=True)
atan = _elementwise("atan", lambda x: (x * x + 1).reciprocal(), floating=True)
sinh: TensorFunction = _elementwise("sinh", lambda x: cosh(x), floating=True)
cosh: TensorFunction = _elementwise("cosh", lambda x: sinh(x), floating=True)
asinh = _elementwise("asinh", lambda x: (x * x + 1).rsqrt(), floating=True)
acosh = _elementwise("acosh", lambda x: (x * x - 1).rsqrt(), floating=True)
atanh = _elementwise("atanh", lambda x: (1 - x * x).reciprocal(), floating=True)
log2 = _elementwise("log2", lambda x: 1 / (x * math.log(2)), floating=True)
log10 = _elementwise("log10", lambda x: 1 / (x * math.log(10)), floating=True)
erfc = _elementwise("erfc", lambda x: (-x * x).exp() * (-2 / math.sqrt(math.pi)), floating=True)
erfinv = _elementwise("erfinv", lambda z: (z * z).exp() * (math.sqrt(math.pi) / 2), floating=True)
lgamma = _elementwise("lgamma", lambda x: digamma(x), floating=True)
digamma: TensorFunction = _elementwise("digamma", lambda x: zeta(2.0, x), floating=True)
i0 = _elementwise("i0", lambda x: i1(x), floating=True)
i1: TensorFunction = _elementwise("i1", _i1_slope, floating=True)

atan2 = _elementwise(
    "atan2",
    lambda g, x, y: _over_norm(g * y, x, y),
    lambda g, x, y: _over_norm(-g * x, x, y),
    floating=True,
)
hypot_ = _elementwise("hypot", lambda x, z: x / z, lambda y, z: y / z)
fmod_ = _elementwise("fmod", "1", lambda x, y: -(x / y).trunc())
copysign_ = _elementwise(
    "copysign",
    lambda x, z: (z / x).masked_fill(x == 0, 0),
    lambda g, y: _flat(g),
    floating=True,
)
nextafter = _elementwise("nextafter", "1", lambda g: _flat(g))
zeta: TensorFunction = _elementwise(  # by its first argument it has no derivative here
    "zeta", lambda g: g * math.nan, lambda x, y: -x * zeta(x + 1, y), floating=True
)


def _over_norm(g: Tensor, x: Any, y: Any) -> Tensor:
    """g / (x^2 + y^2), and 0 where that is 0."""
    norm = x * x + y * y
    return (g / norm).masked_fill(norm == 0, 0) if isinstance(norm, Tensor) else g / norm


_DOCSTRINGS = {
    "asin": "The angle in [-pi/2, pi/2] whose sine is input; nan outside of [-1, 1].",
    "acos": "The angle in [0, pi] whose cosine is input; nan outside of [-1, 1].",
    "atan": "The angle in (-pi/2, pi/2) whose tangent is input.",
    "sinh": "The hyperbolic sine of input.",
    "cosh": "The hyperbolic cosine of input.",
    "asinh": "The inverse hyperbolic sine of input.",
    "acosh": "The inverse hyperbolic cosine of input; nan below 1.",
    "atanh": "The inverse hyperbolic tangent of input; nan outside of [-1, 1].",
    "log2": "The logarithm of input to the base 2.",
    "log10": "The logarithm of input to the base 10.",
    "erfc": "1 - erf(input), also where that is very small.",
    "erfinv": "The number whose erf is input; nan outside of [-1, 1].",
    "lgamma": "The natural logarithm of |gamma(input)|.",
    "digamma": "The derivative of `lgamma`.",
    "i0": "The modified Bessel function of the first kind, of order 0.",
    "i1": "The modified Bessel function of the first kind, of order 1.",
    "atan2": "The angle of the point (other, input) from the first axis, in [-pi, pi].",
    "nextafter": "The number that follows input towards other; floats of one dtype only.",
    "zeta": "Hurwitz' zeta function: the sum of (k + other)^-input for k = 0, 1, ...",
}
for _name, _text in _DOCSTRINGS.items():
    globals()[_name].__doc__ = _text
    globals()[_name].__qualname__ = _name
    globals()[_name].__module__ = __name__


# ---------------------------------------------------------------------- of one argument
def exp2(input: Tensor) -> Tensor:
    """2^input."""
    return elementwise.pow(2.0, as_floating(need_tensor("exp2", "input", input)))


def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / math.pi)


def frac(input: Tensor) -> Tensor:
    """input without its integer part."""
    return input - input.trunc().detach()


def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent): input is mantissa * 2^exponent, |mantissa| in [0.5, 1), int32."""
    x = input.detach()
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"frexp: expected a floating-point dtype, got {x.dtype}")
    plain = (x != 0) & elementwise.isfinite(x)
    size = where(plain, x.abs(), 1.0)
    exponent = log2(size).floor() + 1
    exponent = exponent + (size / exp2(exponent) >= 1) - (size / exp2(exponent) < 0.5)
    exponent = where(plain, exponent, 0.0)
    return input / exp2(exponent), exponent.int()


def positive(input: Tensor) -> Tensor:
    """input itself."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("positive: not defined for bool tensors")
    return input


def sgn(input: Tensor) -> Tensor:
    """`sign`, which for complex numbers would differ."""
    return elementwise.sign(input)


def signbit(input: Tensor) -> Tensor:
    """Where the sign is minus, also that of -0.0."""
    need_tensor("signbit", "input", input)
    if not input.dtype.is_floating_point:
        return elementwise.lt(input, 0)
    return elementwise.lt(copysign_(input.new_ones(input.shape), input.detach()), 0)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = as_floating(need_tensor("sinc", "input", input), "sinc") * math.pi
    zero = x == 0
    safe = x.masked_fill(zero, 1)
    return where(zero, 1 - x * x / 6, safe.sin() / safe)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x limited to [eps, 1 - eps] where eps is given."""
    x = as_floating(need_tensor("logit", "input", input), "logit")
    if eps is None:
        return where((x < 0) | (x > 1), math.nan, (x / (1 - x)).log())
    x = elementwise.clamp(x, eps, 1 - eps)
    return (x / (1 - x)).log()


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """nan as a number (0), infinities as others (the dtype's largest and smallest ones)."""
    if not input.dtype.is_floating_point:
        return input.clone()
    largest = finfo(input.dtype).max
    result = where(elementwise.isnan(input), 0.0 if nan is None else nan, input)
    result = where(input == math.inf, largest if posinf is None else posinf, result)
    return where(input == -math.inf, -largest if neginf is None else neginf, result)


def isposinf(input: Tensor) -> Tensor:
    """Where the elements are positive infinity."""
    return elementwise.eq(input, math.inf)


def isneginf(input: Tensor) -> Tensor:
    """Where the elements are negative infinity."""
    return elementwise.eq(input, -math.inf)


def isreal(input: Tensor) -> Tensor:
    """True everywhere, for there is no complex number."""
    return need_tensor("isreal", "input", input).new_ones(input.shape, dtype=dtypes.bool_)


def polygamma(n: Any, input: Any) -> Tensor:
    """The n-th derivative of `digamma`."""
    if isinstance(n, Tensor):  # the method has the tensor in front
        n, input = input, n
    n = whole_number("polygamma", "n", n)
    if n < 0:
        raise RuntimeError(f"polygamma: n: expected a number >= 0, got {n}")
    if n == 0:
        return digamma(input)
    factor: float = math.gamma(n + 1) * (1 if n % 2 else -1)
    return zeta(float(n + 1), input) * factor


def mvlgamma(input: Tensor, p: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension p."""
    if p < 1:
        raise RuntimeError(f"mvlgamma: p: expected a number >= 1, got {p}")
    x = as_floating(input, "mvlgamma")
    halves = creation.arange(p, dtype=x.dtype, device=x.device) / 2
    return lgamma(x.unsqueeze(-1) - halves).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


# ---------------------------------------------------------------------- of two arguments
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2), with no overflow on the way."""
    need_tensor("hypot", "other", other)
    return hypot_(input, other)


def copysign(input: Any, other: Any) -> Tensor:
    """input with the sign of other."""
    return copysign_(input, other)


def fmod(input: Tensor, other: Any) -> Tensor:
    """The remainder of a division that is cut to an integer; it has the sign of input."""
    need_tensor("fmod", "input", input)
    if result_dtype((input, other)).is_floating_point:
        return fmod_(input, other)
    multiple: Tensor = elementwise.div(input, other, rounding_mode="trunc") * other
    return input - multiple


def _not_nan(extreme: Any, x: Any, y: Any) -> Tensor:
    """maximum or minimum, and of a number and nan the number."""
    found = where(elementwise.isnan(y), x, extreme(x, y))
    return where(elementwise.isnan(x), y, found)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of both, and of a number and nan the number."""
    return _not_nan(elementwise.maximum, input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of both, and of a number and nan the number."""
    return _not_nan(elementwise.minimum, input, other)


def rsub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha * input."""
    need_tensor("rsub", "input", input)
    scaled = elementwise.scaled("rsub", other, input, alpha)
    result: Tensor = elementwise.sub_(other, scaled)
    return result


def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64."""
    x, y = (v.double() if isinstance(v, Tensor) else float(v) for v in (input, exponent))
    return elementwise.pow(x, y)


def ldexp(input: Tensor, other: Any) -> Tensor:
    """input * 2^other."""
    need_tensor("ldexp", "input", input)
    return input * exp2(other)


def xlogy(input: Any, other: Any) -> Any:
    """input * log(other), and 0 where input is 0 and other is not nan."""
    return _times_log(input, other, elementwise.log)


def _times_log(x: Any, y: Any, log: Any, safe: float = 1.0) -> Any:
    if not isinstance(y, Tensor):
        y = x.new_full((), y, dtype=None if is_number(y) else x.dtype)
    y = as_floating(y)
    zero = (x == 0) & (y == y)
    return x * log(where(zero, safe, y)) if isinstance(zero, Tensor) else x * log(y)


def logaddexp(input: Tensor, other: Tensor) -> Any:
    """log(e^input + e^other), with no overflow."""
    return _added_exponentials("logaddexp", input, other)


def logaddexp2(input: Tensor, other: Tensor) -> Any:
    """log2(2^input + 2^other), with no overflow."""
    base = math.log(2)
    return _added_exponentials("logaddexp2", input * base, other * base) / base


def _added_exponentials(name: str, x: Tensor, y: Tensor) -> Any:
    for argument, value in (("input", x), ("other", y)):
        need_tensor(name, argument, value)
    if not result_dtype((x, y)).is_floating_point:
        raise NotImplementedError(f"{name}: expected floating-point tensors, got {x.dtype}")
    return reduce.logsumexp(stack(broadcast_tensors(x, y)), 0)


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where input is negative, values where it is 0, 1 where it is positive."""
    if input.dtype is not values.dtype:
        raise RuntimeError(
            f"heaviside: expected tensors of one dtype, got {input.dtype} and {values.dtype}"
        )
    step = (input > 0).to(input.dtype)
    return where(input == 0, values, where(elementwise.isnan(input), input, step))


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of integers, elementwise."""
    x, y = broadcast_tensors(_whole("gcd", input).abs(), _whole("gcd", other).abs())
    dtype = result_dtype((input, other))
    x, y = x.to(dtype), y.to(dtype)
    while bool(y.any()):  # Euclid's algorithm
        zero = y == 0
        x, y = where(zero, x, y), where(zero, 0, x % where(zero, 1, y))
    return x


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple of integers, elementwise."""
    divisor = gcd(input, other)
    return (input // where(divisor == 0, 1, divisor) * other).abs()


def _whole(name: str, x: Tensor) -> Tensor:
    if need_tensor(name, "input", x).dtype.category != dtypes.INT:
        raise NotImplementedError(f"{name}: expected integers, got {x.dtype}")
    return x

"""Elementwise kernels, conversions and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch.backend.cpu.kernel import (
    ZERO,
    Array,
    KernelTable,
    clone,
    into,
    quiet,
    real,
    result,
)
from minitorch.backend.half import HalfScalar
from minitorch.backend.transfer import transfer
from minitorch.core.dtypes import FLOAT64, KINDS


def _relu(x: Array, out: Array | None = None) -> Array:
    return np.maximum(x, ZERO.get(x.dtype, 0), out=out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1 / (1 + e^-x)."""
    # 1 / (1 + exp(-x)) tends to 0 and 1 at both ends; exp may overflow to inf on the way.
    out = np.negative(x, out=out)
    if type(out) is not np.ndarray:
        out = np.asarray(out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def softplus(x: Array, out: Array | None = None) -> Array:
    """log(1 + e^x)."""
    # log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
    out = np.asarray(np.abs(x, out=out))
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    out += np.maximum(x, 0)
    return out


def _special(name: str) -> Callable[..., Any]:
    """A function of SciPy, which is imported late: that takes longer than all of minitorch."""

    def kernel(x: Array, *others: Array, out: Array | None = None) -> Array:
        import scipy.special

        function = getattr(scipy.special, name)
        given = [np.asarray(a, x.dtype) if np.isscalar(a) else a for a in others]
        return np.asarray(function(x, *given) if out is None else function(x, *given, out=out))

    return kernel


def _erf(x: Array, out: Array | None = None) -> Array:
    from scipy.special import erf

    return erf(x, out=np.empty(x.shape, x.dtype) if out is None else out)


def _zeta(x: Array, q: Array, out: Array | None = None) -> Array:
    dtype = next(a.dtype for a in (x, q) if hasattr(a, "dtype"))
    return _special("zeta")(np.asarray(x, dtype), q, out=out)


def normal_below(x: Array, out: Array | None = None) -> Array:
    """Phi(x), the standard normal distribution function."""
    out = np.asarray(np.multiply(x, 0.5**0.5, out=out))
    _erf(out, out)
    out += 1
    out *= 0.5
    return out


def gelu(x: Array, out: Array | None = None) -> Array:
    """x * Phi(x), with the standard normal distribution's Phi."""
    out = normal_below(x, out)
    out *= x
    return out


_CUBIC, _ROOT = 0.044715, math.sqrt(2 / math.pi)  # of the formula of tanh


def _tanh_of_cubic(x: Array, out: Array | None) -> Array:
    out = np.multiply(x, x, out=out)
    out *= _CUBIC * _ROOT
    out += _ROOT
    out *= x
    return np.tanh(out, out=out)


def gelu_tanh(x: Array, out: Array | None = None) -> Array:
    """x * (1 + tanh(u)) / 2 with u = sqrt(2 / pi) * (x + 0.044715 * x^3)."""
    out = _tanh_of_cubic(x, out)
    out += 1
    out *= x
    out *= 0.5
    return out


def _rsqrt(x: Array, out: Array | None = None) -> Array:
    out = np.asarray(np.sqrt(x, out=out))
    return np.reciprocal(out, out=out)


def _round(x: Array, out: Array | None = None) -> Array:
    return np.rint(x, out=out) if KINDS[x.dtype] == "f" else result(x.copy(), out)


def _keep_ints(function: Callable[..., Any]) -> Callable[..., Any]:
    """floor, ceil and trunc change nothing about integers."""

    def kernel(x: Array, out: Array | None = None) -> Array:
        return function(x, out=out) if KINDS[x.dtype] == "f" else result(x.copy(), out)

    return kernel


def _sign(x: Array, out: Array | None = None) -> Array:
    if x.dtype.kind == "b":
        return clone(x, out)
    out = np.asarray(np.sign(x, out=out))
    np.copyto(out, 0, where=out != out)  # nan has the sign 0 in PyTorch
    return out


def _kinds(name: str, x: Array, y: Array) -> set[str]:
    """The dtype kinds of both; TypeError where both are bool, which NumPy would turn into int8."""
    kinds: set[str] = {KINDS[np.asarray(v).dtype] for v in (x, y)}
    if kinds == {"b"}:
        raise TypeError(f"{name}: not supported for bool")
    return kinds


def _shift(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(x: Array, y: Array, out: Array | None = None) -> Array:
        _kinds(name, x, y)
        return function(x, y, out)

    return kernel


def _whole_quotient(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of floor_divide or remainder, which raises where integers are divided by 0."""

    def kernel(x: Array, y: Array, out: Array | None = None) -> Array:
        whole = "f" not in _kinds(name, x, y)
        if whole and np.size(x) and not np.all(y):
            raise RuntimeError(f"{name}: integer division by zero")
        return function(x, y, out)

    return quiet(kernel)


def _pow(x: Array, y: Array, out: Array | None = None) -> Array:
    if getattr(y, "dtype", FLOAT64).kind == "i" and np.any(np.less(y, 0)):
        raise RuntimeError("pow: integers to negative integer powers are not allowed")
    powers = np.power(x, y, out)
    return powers.astype(bool) if x.dtype == np.bool_ else powers


# ------------------------------------------------------------------ derivatives
# g times the derivative of an activation whose result is y (of gelu: whose argument is x).
def _times(slope: Array, g: Array, out: Array | None) -> Array:
    """slope * g, in slope's memory if it is large enough."""
    return np.multiply(slope, g, out=slope if slope.ndim and slope.shape == g.shape else out)


def relu_backward(g: Array, y: Array, out: Array | None = None) -> Array:
    """g where the result y of relu is positive or nan, else 0."""
    # np.where takes sixteen times as long; it would give 0, not nan, where g is infinite
    slope = np.not_equal(y, ZERO[y.dtype], out=out)  # y is 0, positive, or nan, which passes
    if out is None:  # a product with booleans takes twice as long
        slope = slope.astype(y.dtype)
    return _times(slope, g, out)


def tanh_backward(g: Array, y: Array, out: Array | None = None) -> Array:
    """g * (1 - y^2)."""
    slope = np.asarray(np.multiply(y, y, out=out))
    np.subtract(1, slope, out=slope)
    return _times(slope, g, out)


def sigmoid_backward(g: Array, y: Array, out: Array | None = None) -> Array:
    """g * y * (1 - y)."""
    slope = np.asarray(np.subtract(1, y, out=out))
    slope *= y
    return _times(slope, g, out)


def gelu_backward(g: Array, x: Array, out: Array | None = None) -> Array:
    """g * (Phi(x) + x * phi(x))."""
    slope = np.asarray(np.multiply(x, x, out=out))
    slope *= -0.5
    np.exp(slope, out=slope)
    slope *= x
    slope *= (2 * math.pi) ** -0.5
    slope += normal_below(x)
    return _times(slope, g, out)


def gelu_tanh_backward(g: Array, x: Array, out: Array | None = None) -> Array:
    """g * (1 + t + x * (1 - t^2) * u') / 2, with t = tanh(u)."""
    t = _tanh_of_cubic(x, None)
    slope = np.asarray(np.multiply(x, x, out=out))
    slope *= 3 * _CUBIC * _ROOT
    slope += _ROOT
    slope *= x
    slope *= 1 - t * t
    slope += t
    slope += 1
    slope *= 0.5
    return _times(slope, g, out)


# ------------------------------------------------------------------ losses, choices
def _bce_with_logits(x: Array, y: Array, out: Array | None = None) -> Array:
    # max(x, 0) - x y is exact where the loss is small; the rest is added to it
    rest = np.negative(np.abs(x))
    out = np.subtract(np.maximum(x, 0), np.multiply(x, y), out=out)
    return np.add(out, np.log1p(np.exp(rest)), out=out if isinstance(out, np.ndarray) else None)


def _where(x: Array, y: Array, condition: Array, out: Array | None = None) -> Array:
    if isinstance(x, HalfScalar):
        x = np.asarray(x, y.dtype)
    elif isinstance(y, HalfScalar):
        y = np.asarray(y, x.dtype)
    if out is None:
        return np.where(condition, x, y)
    np.copyto(out, y)
    np.copyto(out, x, where=condition)
    return out


def _cast(x: Array, dtype: np.dtype[Any], source: np.dtype[Any], out: Array | None = None) -> Array:
    return x.astype(dtype) if out is None else result(x, out)


ELEMENTWISE: KernelTable = {
    "add": quiet(np.add),
    "sub": quiet(np.subtract),
    "mul": quiet(np.multiply),
    "div": quiet(np.divide),
    "pow": quiet(_pow),
    "maximum": quiet(np.maximum),
    "minimum": quiet(np.minimum),
    "clamp_min": quiet(np.maximum),
    "clamp_max": quiet(np.minimum),
    "floor_divide": _whole_quotient("floor_divide", np.floor_divide),
    "remainder": _whole_quotient("remainder", np.remainder),
    "neg": np.negative,
    "abs": np.absolute,
    "sign": _sign,
    "floor": _keep_ints(np.floor),
    "ceil": _keep_ints(np.ceil),
    "trunc": _keep_ints(np.trunc),
    "round": _round,
    "relu": _relu,
    "exp": quiet(np.exp),
    "log": quiet(np.log),
    "log1p": quiet(np.log1p),
    "expm1": quiet(np.expm1),
    "sqrt": quiet(np.sqrt),
    "rsqrt": real(_rsqrt),
    "reciprocal": quiet(np.reciprocal),
    "sin": quiet(np.sin),
    "cos": quiet(np.cos),
    "tan": quiet(np.tan),
    "tanh": np.tanh,
    "sigmoid": real(sigmoid),
    "erf": real(_erf),
    "softplus": real(softplus),
    "gelu": real(gelu),
    "asin": quiet(np.arcsin),
    "acos": quiet(np.arccos),
    "atan": quiet(np.arctan),
    "sinh": quiet(np.sinh),
    "cosh": quiet(np.cosh),
    "asinh": quiet(np.arcsinh),
    "acosh": quiet(np.arccosh),
    "atanh": quiet(np.arctanh),
    "log2": quiet(np.log2),
    "log10": quiet(np.log10),
    "erfc": real(_special("erfc")),
    "erfinv": real(_special("erfinv")),
    "lgamma": real(_special("gammaln")),
    "digamma": real(_special("psi")),
    "i0": real(_special("i0")),
    "i1": real(_special("i1")),
    "atan2": quiet(np.arctan2),
    "hypot": quiet(np.hypot),
    "fmod": quiet(np.fmod),
    "copysign": quiet(np.copysign),
    "nextafter": quiet(np.nextafter),
    "zeta": real(_zeta),
    "relu_backward": quiet(relu_backward),
    "tanh_backward": real(tanh_backward),
    "sigmoid_backward": real(sigmoid_backward),
    "gelu_backward": real(gelu_backward),
    "bce_with_logits": real(_bce_with_logits),
    "eq": quiet(np.equal),
    "ne": quiet(np.not_equal),
    "lt": quiet(np.less),
    "le": quiet(np.less_equal),
    "gt": quiet(np.greater),
    "ge": quiet(np.greater_equal),
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "bitwise_left_shift": _shift("bitwise_left_shift", np.left_shift),
    "bitwise_right_shift": _shift("bitwise_right_shift", np.right_shift),
    "bitwise_not": np.bitwise_not,
    "where": quiet(_where),
    "cast": quiet(_cast),
    "clone": clone,
    "transfer": into(transfer),
}

"""Reductions, and ops that run along a dimension: cumulative sums, softmax, sorting."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from minitorch import autocasting
from minitorch.core import dtypes
from minitorch.core.families import TensorFunction, constant, general, linear
from minitorch.core.tensor import Tensor
from minitorch.operands import as_floating, is_number
from minitorch.ops import decompositions, elementwise
from minitorch.ops.arguments import Dims, all_dims, named_dims, one_dim
from minitorch.ops.index import gathered
from minitorch.ops.shape import expanded, reshaped
from minitorch.underived import several

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "softmax",
    "std",
    "sum",
    "var",
]


class Reduced(NamedTuple):
    """The result of max, min, sort and topk along a dimension."""

    values: Tensor
    indices: Tensor


class Extremes(NamedTuple):
    """The result of `aminmax`."""

    min: Tensor
    max: Tensor


# ---------------------------------------------------------------------- helpers
def keep_dims(x: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced tensor with the lost dimensions as 1, so that it broadcasts against `shape`."""
    if keepdim:
        return x
    return reshaped(x, tuple([1 if i in dim else n for i, n in enumerate(shape)]))


def _count(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    return math.prod(shape[d] for d in dim)


def _not_empty(name: str, x: Tensor, dims: tuple[int, ...], whole: bool = False) -> None:
    if 0 in [x.array.shape[d] for d in dims]:
        raise (RuntimeError if whole else IndexError)(
            f"{name}: cannot reduce shape {tuple(x.shape)} over dimension(s) {dims} of length 0"
        )


# ---------------------------------------------------------------------- the table
def _sum_adjoint(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return expanded(keep_dims(g, shape, dim, keepdim), shape)


def _sloped(name: str, slope: Callable[..., Tensor], save_output: bool = False) -> TensorFunction:
    """A reduction whose derivative by each element is slope(x, output, dim), elementwise."""

    def slope_of(inputs: Any, output: Any, dim: tuple[int, ...], keepdim: bool) -> Tensor:
        x = inputs[0]
        saved = keep_dims(output, x.array.shape, dim, keepdim) if save_output else None
        return slope(x, saved, dim)

    def vjp(
        g: Tensor, inputs: Any, output: Any, shapes: Any, dim: tuple[int, ...], keepdim: bool
    ) -> list[Tensor]:
        along = keep_dims(g, shapes[0], dim, keepdim)
        return [along * slope_of(inputs, output, dim, keepdim)]

    def jvp(
        tangents: Any, inputs: Any, output: Any, shape: Any, dim: tuple[int, ...], keepdim: bool
    ) -> Tensor:
        moved = tangents[0] * slope_of(inputs, output, dim, keepdim)
        return _sum(moved, dim=dim, keepdim=keepdim)

    return general(name, vjp, jvp, save_inputs=True, save_output=save_output)


def _share(x: Tensor, extreme: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Equal parts for all elements that are the extreme value."""
    equal = ((x == extreme) | (x != x)).to(x.dtype)
    return equal / _sum(equal, dim=dim, keepdim=True)


def _others(x: Tensor, product: None, dim: tuple[int, ...]) -> Tensor:
    """For each element the product of all others over `dim`; no division, so right at zeros."""
    batch = [d for d in range(x.ndim) if d not in dim]
    order = [*batch, *dim]
    shape = [x.shape[d] for d in order]
    flat = x.permute(order).reshape([*shape[: len(batch)], _count(x.shape, dim)])
    others = _others_last(flat).reshape(shape)
    return others.permute([order.index(d) for d in range(x.ndim)])


def _others_last(x: Tensor) -> Tensor:
    """The same over the last dimension: halves are multiplied until one element is left."""
    n = x.shape[-1]
    if n < 2:
        return x.new_ones(x.shape)
    half = n // 2
    left, right, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    above = _others_last((left * right)._cat(rest, dim=-1))
    both = above[..., :half]
    return (both * right)._cat(both * left, above[..., half:], dim=-1)


def _mean_adjoint(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return _sum_adjoint(g / _count(shape, dim), shape, dim, keepdim)


def _var_slope(x: Tensor, variance: None, dim: tuple[int, ...]) -> Tensor:
    return _centre(x, dim=dim) * (2 / (_count(x.array.shape, dim) or math.nan))


def _std_slope(x: Tensor, deviation: Tensor, dim: tuple[int, ...]) -> Tensor:
    """The distance from the mean over n times the deviation; 0 where that is 0."""
    scale = deviation.masked_fill(deviation == 0, 1)
    return _centre(x, dim=dim) / scale / (_count(x.array.shape, dim) or math.nan)


# Softmax has the Jacobian diag(z) - z z^T, its own transpose: softmax_backward(v, z) is
# z (v - <v, z>), log_softmax_backward(g, z) is g - e^z sum(g).
def _softmax_backward_vjp(
    v: Tensor, inputs: Any, output: Any, shapes: Any, dim: int
) -> list[Tensor | None]:
    g, z = inputs
    along_z = None if shapes[1] is None else _softmax_slope(g, z, v, dim)
    return [_softmax_backward(v, z, dim=dim), along_z]


def _softmax_slope(g: Tensor, z: Tensor, v: Tensor, dim: int) -> Tensor:
    return v * (g - (g * z).sum(dim, keepdim=True)) - g * (v * z).sum(dim, keepdim=True)


def _softmax_backward_jvp(ts: Any, inputs: Any, output: Any, shape: Any, dim: int) -> Any:
    g, z = inputs
    s, t = ts
    along_g = None if s is None else _softmax_backward(s, z, dim=dim)
    if t is None:
        return along_g
    total = (g * z).sum(dim, keepdim=True)
    along_z = t * (g - total) - z * (g * t).sum(dim, keepdim=True)
    return along_z if along_g is None else along_g + along_z


def _log_softmax_backward_vjp(
    v: Tensor, inputs: Any, output: Any, shapes: Any, dim: int
) -> list[Tensor | None]:
    g, z = inputs
    weighted = v * z.exp()
    along_z = None if shapes[1] is None else -weighted * g.sum(dim, keepdim=True)
    return [v - weighted.sum(dim, keepdim=True), along_z]


def _log_softmax_backward_jvp(ts: Any, inputs: Any, output: Any, shape: Any, dim: int) -> Any:
    g, z = inputs
    s, t = ts
    along_g = None if s is None else _log_softmax_backward(s, z, dim=dim)
    if t is None:
        return along_g
    along_z = -z.exp() * t * g.sum(dim, keepdim=True)
    return along_z if along_g is None else along_g + along_z


def _logsumexp_weights(inputs: Any, output: Tensor, dim: Any, keepdim: bool) -> Tensor:
    x: Tensor = inputs[0]
    top = keep_dims(output, x.shape, dim, keepdim)
    return (x - top).exp()


_sum = linear("sum", _sum_adjoint)
_mean = linear("mean", _mean_adjoint)
# x minus its mean, also where rounding the mean changes it by more than the deviation: a
# projection, so it is its own adjoint. var and std are those of the whole population.
_centre: TensorFunction = linear("centre", lambda g, shape, dim: _centre(g, dim=dim))
_var = _sloped("var", _var_slope)
_std = _sloped("std", _std_slope, save_output=True)
_prod = _sloped("prod", _others)
_amax = _sloped("amax", _share, save_output=True)
_amin = _sloped("amin", _share, save_output=True)
_softmax = general(
    "softmax",
    lambda g, inputs, z, shapes, dim: [_softmax_backward(g, z, dim=dim)],
    lambda ts, inputs, z, shape, dim: _softmax_backward(ts[0], z, dim=dim),
    save_output=True,
)
_log_softmax = general(
    "log_softmax",
    lambda g, inputs, z, shapes, dim: [_log_softmax_backward(g, z, dim=dim)],
    lambda ts, inputs, z, shape, dim: ts[0] - (z.exp() * ts[0]).sum(dim, keepdim=True),
    save_output=True,
)
_softmax_backward: TensorFunction = general(
    "softmax_backward", _softmax_backward_vjp, _softmax_backward_jvp, save_inputs=True
)
_log_softmax_backward: TensorFunction = general(
    "log_softmax_backward", _log_softmax_backward_vjp, _log_softmax_backward_jvp, save_inputs=True
)
_logsumexp = general(
    "logsumexp",
    lambda g, inputs, z, shapes, dim, keepdim: [
        keep_dims(g, shapes[0], dim, keepdim) * _logsumexp_weights(inputs, z, dim, keepdim)
    ],
    lambda ts, inputs, z, shape, dim, keepdim: _sum(
        ts[0] * _logsumexp_weights(inputs, z, dim, keepdim), dim=dim, keepdim=keepdim
    ),
    save_inputs=True,
    save_output=True,
)
_cumsum = linear("cumsum", lambda g, shape, dim: g.flip(dim).cumsum(dim).flip(dim) if shape else g)
_any = constant("any")
_all = constant("all")
_argmax = constant("argmax")
_argmin = constant("argmin")
_max_dim = several("max_dim")
_min_dim = several("min_dim")


# ---------------------------------------------------------------------- sums
# As methods these two are called too often for a guard, which knows NumPy's names of arguments.
def sum(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """Sum over `dim` (all dimensions if left out); integers and bools are summed in int64."""
    if axis is not None or keepdims:
        return sum(input, axis, keepdims, dtype=dtype)
    if dtype is not None:
        input = input.to(dtype)
    elif autocasting.state.dtypes:
        (input,) = autocasting.casted("sum", input)
    ndim = input.array.ndim
    dims = tuple(range(ndim)) if dim is None else all_dims("sum", ndim, dim)
    result = _sum(input, dim=dims, keepdim=bool(keepdim))
    return result if dtype is None else result.to(dtype)


def mean(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Dims = None,
    keepdims: bool = False,
) -> Tensor:
    """Mean over `dim` (all dimensions if left out); floats only."""
    if axis is not None or keepdims:
        return mean(input, axis, keepdims, dtype=dtype)
    input = _floating("mean", input, dtype)
    return _mean(input, dim=all_dims("mean", input.array.ndim, dim), keepdim=bool(keepdim))


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over `dim`; divided by n - correction (1; `unbiased=False` is correction 0).

    One pass with a running mean (Welford, 1962), so that a large mean costs no digits.
    """
    dim, unbiased = dim_or_flag(dim, unbiased)
    dims, factor = _moment("var", input, dim, unbiased, correction)
    result = _var(input, dim=dims, keepdim=bool(keepdim))
    return result if factor == 1 else result * factor


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Square root of `var`, also where that overflows; the gradient where it is 0 is 0."""
    dim, unbiased = dim_or_flag(dim, unbiased)
    dims, factor = _moment("std", input, dim, unbiased, correction)
    result = _std(input, dim=dims, keepdim=bool(keepdim))
    return result if factor == 1 else result * math.sqrt(factor)


def dim_or_flag(dim: Any, unbiased: bool | None) -> tuple[Any, bool | None]:
    """`dim` and `unbiased`, where the latter may have come first: `x.var(False)`."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


def _moment(
    name: str, x: Tensor, dim: Dims, unbiased: bool | None, correction: float | None
) -> tuple[tuple[int, ...], float]:
    """The dimensions, and the factor from a population's variance to a sample's."""
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}: give unbiased or correction, not both")
    if correction is None:
        correction = 0 if unbiased is False else 1
    if not is_number(correction):
        raise TypeError(f"{name}: correction: expected a number, got {correction!r}")
    _floating(name, x)
    dims = all_dims(name, x.array.ndim, dim)
    n = _count(x.array.shape, dims)
    freedom = builtins.max(0.0, n - correction)
    return dims, (n / freedom if freedom else math.inf)


def centre(input: Tensor, dim: Dims = None) -> Tensor:
    """input minus its mean over `dim`, exact to rounding also for a mean far from 0."""
    x = _floating("centre", input)
    return _centre(x, dim=all_dims("centre", x.array.ndim, dim))


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Product over `dim` (all elements if left out); integers and bools are multiplied in int64.

    All derivatives are right at zeros too.
    """
    if dtype is not None:
        input = input.to(dtype)
    elif autocasting.state.dtypes:
        (input,) = autocasting.casted("prod", input)
    one = None if dim is None else one_dim("prod", input.ndim, dim)
    dims = all_dims("prod", input.ndim, one)
    result = _prod(input, dim=dims, keepdim=bool(keepdim))
    return result if dtype is None else result.to(dtype)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along `dim`."""
    if dtype is not None:
        input = input.to(dtype)
    elif autocasting.state.dtypes:
        (input,) = autocasting.casted("cumsum", input)
    result = _cumsum(input, dim=one_dim("cumsum", input.ndim, dim))
    return result if dtype is None else result.to(dtype)


def norm(input: Tensor, p: float | str = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """(sum |x|^p)^(1/p) over `dim`; p = inf, -inf, 0 as limits; for p = 2 the slope at 0 is 0."""
    if p == "nuc":
        return _nuclear(input, dim, keepdim)
    if isinstance(p, str):
        if p != "fro":
            raise RuntimeError(f"norm: p: expected a number, 'fro' or 'nuc', got {p!r}")
        p = 2
    dims = all_dims("norm", input.ndim, dim)
    input = as_floating(input, "norm")
    if input.array.dtype in dtypes.HALVES:  # a sum of powers soon exceeds, or rounds, too much
        return norm(input.float(), p, dims, keepdim).to(input.dtype)
    if p == math.inf:
        return amax(input.abs(), dims, keepdim)
    if p == -math.inf:
        return amin(input.abs(), dims, keepdim)
    if p == 0:  # a step function, whose slope is 0
        return sum(elementwise.where(input != 0, 1.0, input * 0.0), dims, keepdim)
    if p == 1:
        return sum(input.abs(), dims, keepdim)
    total = sum(input * input if p == 2 else _powers(input.abs(), p), dims, keepdim)
    zero = total == 0
    root = total.masked_fill(zero, 1)
    return (root.sqrt() if p == 2 else root ** (1 / p)).masked_fill(zero, 0)


def _nuclear(x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The sum of the singular values of matrices, which are the dimensions `dim`, two of them."""
    dims = all_dims("norm", x.ndim, dim)
    if len(dims) != 2:
        raise RuntimeError(f"norm: the nuclear norm is of two dimensions, got {dims}")
    order = [d for d in range(x.ndim) if d not in dims]
    matrices = x.permute([*order, *dims])
    packed = decompositions.svd(matrices)
    total = packed.narrow(-2, matrices.shape[-2], 1).sum((-2, -1))
    return keep_dims(total, tuple(x.shape), dims, False) if keepdim else total


def _powers(x: Tensor, p: float) -> Tensor:
    """x ** p for x >= 0, with the slope 0 at 0, where it is infinite for p < 1."""
    if p > 1:
        return x**p
    zero = x == 0
    return (x.masked_fill(zero, 1) ** p).masked_fill(zero, 0.0 if p > 0 else math.inf)


# ---------------------------------------------------------------------- extremes
def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Largest element over `dim`; equal ones share the gradient."""
    dims = all_dims("amax", input.ndim, dim)
    _not_empty("amax", input, dims, whole=dim is None or dim == ())
    return _amax(input, dim=dims, keepdim=bool(keepdim))


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Smallest element over `dim`; equal ones share the gradient."""
    dims = all_dims("amin", input.ndim, dim)
    _not_empty("amin", input, dims, whole=dim is None or dim == ())
    return _amin(input, dim=dims, keepdim=bool(keepdim))


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Largest element; with `dim` (values, indices) along it; with a tensor as `dim`, maximum."""
    if isinstance(dim, Tensor):
        return elementwise.maximum(input, dim)
    return _extreme("max", _amax, _max_dim, input, dim, keepdim)


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Smallest element; with `dim` (values, indices) along it; with a tensor as `dim`, minimum."""
    if isinstance(dim, Tensor):
        return elementwise.minimum(input, dim)
    return _extreme("min", _amin, _min_dim, input, dim, keepdim)


def _extreme(
    name: str,
    op: TensorFunction,
    along: Callable[..., tuple[Tensor, ...]],
    x: Tensor,
    dim: Any,
    keepdim: bool,
) -> Any:
    if dim is None:
        dims = tuple(range(x.ndim))
        _not_empty(name, x, dims)
        return op(x, dim=dims, keepdim=False)
    d = one_dim(name, x.ndim, dim)
    if x.ndim:
        _not_empty(name, x, (d,))
    values, index = gathered(x, d, *along(x, dim=d, keepdim=True))
    if not keepdim and x.ndim:
        values, index = values.squeeze(d), index.squeeze(d)
    return Reduced(values, index)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) largest element along `dim`, or in the flattened tensor."""
    return _arg("argmax", _argmax, input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) smallest element along `dim`, or in the flattened tensor."""
    return _arg("argmin", _argmin, input, dim, keepdim)


def _arg(name: str, op: TensorFunction, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    d = None if dim is None else one_dim(name, x.ndim, dim)
    if x.ndim == 0:
        d = None
    _not_empty(name, x, tuple(range(x.ndim)) if d is None else (d,))
    return op(x, dim=d, keepdim=bool(keepdim))


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element is nonzero, over `dim` (of () none); uint8 gives uint8, else bool."""
    return _truth("any", _any, input, dim, keepdim)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element is nonzero, over `dim` (of () none); uint8 gives uint8, else bool."""
    return _truth("all", _all, input, dim, keepdim)


def _truth(name: str, op: TensorFunction, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    result = op(x, dim=named_dims(name, x.ndim, dim), keepdim=bool(keepdim))
    return result.to(dtypes.uint8) if x.dtype is dtypes.uint8 else result


# ---------------------------------------------------------------------- exponentials
def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """e^x / sum(e^x) along `dim`, with no overflow.

    >>> minitorch.softmax(minitorch.tensor([0.0, 0.0, 1000.0]), dim=0)
    tensor([0., 0., 1.])
    """
    x = _floating("softmax", input, dtype)
    return _softmax(x, dim=one_dim("softmax", x.ndim, dim))


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """x - log(sum(e^x)) along `dim`, with no overflow."""
    x = _floating("log_softmax", input, dtype)
    return _log_softmax(x, dim=one_dim("log_softmax", x.ndim, dim))


def _floating(name: str, x: Tensor, dtype: Any = None) -> Tensor:
    if dtype is not None:
        x = x.to(dtype)
    elif autocasting.state.dtypes:
        (x,) = autocasting.casted(name, x)
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {x.dtype}; use .float()")
    return x


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(e^x)) over `dim`, with no overflow."""
    x = as_floating(input, "logsumexp")
    return _logsumexp(x, dim=all_dims("logsumexp", x.ndim, dim), keepdim=bool(keepdim))

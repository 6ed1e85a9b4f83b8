"""Reductions and scans made of other ops: medians, quantiles, running products, covariances."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from minitorch import creation
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.operands import as_floating, is_number
from minitorch.ops import functions, order, reduce, shape
from minitorch.ops.arguments import Dims, one_dim, whole_number
from minitorch.ops.elementwise import where
from minitorch.ops.reduce import Extremes, Reduced

__all__ = ["aminmax", "corrcoef", "count_nonzero", "cov", "cummax", "cummin", "cumprod"]
__all__ += ["cumulative_trapezoid", "diff", "dist", "histc", "kthvalue", "logcumsumexp", "median"]
__all__ += ["mode", "msort", "nanmean", "nanmedian", "nanquantile", "nansum", "quantile", "renorm"]
__all__ += ["std_mean", "trapezoid", "unique_consecutive", "var_mean"]


# ---------------------------------------------------------------------- reductions
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Extremes:
    """The smallest and the largest element, over one dimension or all."""
    dims = None if dim is None else one_dim("aminmax", input.ndim, dim)
    return Extremes(reduce.amin(input, dims, keepdim), reduce.amax(input, dims, keepdim))


def var_mean(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`var` and `mean`."""
    dim, unbiased = reduce.dim_or_flag(dim, unbiased)
    variance = reduce.var(input, dim, unbiased, keepdim, correction=correction)
    return variance, reduce.mean(input, dim, keepdim)


def std_mean(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`."""
    dim, unbiased = reduce.dim_or_flag(dim, unbiased)
    deviation = reduce.std(input, dim, unbiased, keepdim, correction=correction)
    return deviation, reduce.mean(input, dim, keepdim)


def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`sum` of the elements that are numbers."""
    return reduce.sum(_without_nan(input), dim, keepdim, dtype=dtype)


def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`mean` of the elements that are numbers."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"nanmean: expected a floating-point dtype, got {input.dtype}")
    count = reduce.sum(input == input, dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


def _without_nan(x: Tensor) -> Tensor:
    return where(x == x, x, 0.0) if x.dtype.is_floating_point else x


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """The number of elements that are not zero, over `dim`, in int64."""
    return reduce.sum(input != 0, dim)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return reduce.norm(input - other, p)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along `dim`, those of a larger p-norm scaled down to `maxnorm`."""
    if p <= 0:
        raise RuntimeError(f"renorm: p: expected a positive number, got {p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: maxnorm: expected a number >= 0, got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: expected two dimensions or more, got {input.ndim}")
    d = one_dim("renorm", input.ndim, dim)
    size = reduce.norm(input, p, [i for i in range(input.ndim) if i != d], keepdim=True)
    return input * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


# ---------------------------------------------------------------------- order
def msort(input: Tensor) -> Tensor:
    """The values in order along the first dimension."""
    return order.sort(input, 0).values


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Reduced:
    """(values, indices) of the k-th smallest along `dim`, counted from 1."""
    d = one_dim("kthvalue", input.ndim, dim)
    length = input.shape[d] if input.ndim else 1
    if not 1 <= k <= length:
        raise _beyond("kthvalue", input, f"k: expected 1 to {length} (length of dim {d}), got {k}")
    return _at_rank(input, order.argsort(input, d), k - 1, d, keepdim)


def _beyond(name: str, x: Tensor, message: str) -> Exception:
    return (RuntimeError if x.numel() or "k:" in message else IndexError)(f"{name}: {message}")


def _at_rank(x: Tensor, ranks: Tensor, rank: Any, d: int, keepdim: bool) -> Reduced:
    """What stands at a position of the order (a number, or a tensor with the dimension 1)."""
    if x.ndim == 0:
        return Reduced(x.clone(), ranks)
    index = ranks.narrow(d, rank, 1) if is_number(rank) else ranks.gather(d, rank)
    values = x.gather(d, index)
    return Reduced(values, index) if keepdim else Reduced(values.squeeze(d), index.squeeze(d))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two), nan where one is; with `dim`, (values, indices)."""
    return _median("median", input, dim, keepdim, False)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """`median` of the elements that are numbers."""
    return _median("nanmedian", input, dim, keepdim, True)


def _median(name: str, x: Tensor, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if dim is None:
        if not x.numel():
            return x.new_full((), math.nan, dtype=x.dtype)
        return _median(name, x.reshape(-1), 0, False, skip).values
    d = one_dim(name, x.ndim, dim)
    if x.ndim and not x.shape[d]:
        raise IndexError(f"{name}: expected elements in dimension {d}, which has length 0")
    ranks = order.argsort(x, d)
    length = x.shape[d] if x.ndim else 1
    if not x.dtype.is_floating_point:
        return _at_rank(x, ranks, (length - 1) // 2, d, keepdim)
    numbers = reduce.sum(x == x, d, keepdim=True)
    middle = (numbers - 1).clamp(min=0) // 2
    rank = middle if skip else where(numbers == length, middle, numbers)
    return _at_rank(x, ranks, rank, d, keepdim)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Reduced:
    """(values, indices) of the most frequent element along `dim`, the smallest of several."""
    d = one_dim("mode", input.ndim, dim)
    if input.ndim == 0:
        return Reduced(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    n = input.shape[d]
    if not n:
        raise IndexError(f"mode: expected elements in dimension {d}, which has length 0")
    ranks = order.argsort(input, d)
    ordered = input.detach().gather(d, ranks)
    positions = creation.arange(n, device=input.device).reshape((-1,) + (1,) * (input.ndim - 1 - d))
    fresh = diff(ordered, dim=d) != 0
    starts = where(fresh, positions.narrow(0, 1, n - 1), 0)
    starts = shape.cat([starts.new_zeros(_one(input, d)), starts], d)
    starts = cummax(starts, d).values
    last = reduce.argmax(positions - starts, d, keepdim=True)
    return _at_rank(input, ranks, last, d, keepdim)


def _one(x: Tensor, d: int) -> tuple[int, ...]:
    return (*x.shape[:d], 1, *x.shape[d + 1 :])


def quantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The value below which the share q lies, over `dim` or all; nan where an element is.

    q: a number or a vector in [0, 1], which is the first dimension of the result. interpolation
    between two elements: "linear", "lower", "higher", "midpoint" or "nearest".
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


def nanquantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """`quantile` of the elements that are numbers."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


_BETWEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda t: t,
    "lower": lambda t: t.floor(),
    "higher": lambda t: t.ceil(),
    "nearest": lambda t: t.round(),
    "midpoint": lambda t: (t.floor() + t.ceil()) / 2,
}


def _quantile(
    name: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, between: str, skip: bool
) -> Tensor:
    if not x.numel():
        raise RuntimeError(f"{name}: expected a tensor with elements, got {tuple(x.shape)}")
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {x.dtype}")
    if between not in _BETWEEN:
        raise RuntimeError(
            f"{name}: interpolation: expected one of {list(_BETWEEN)}, got {between!r}"
        )
    shares = q if isinstance(q, Tensor) else x.new_full((), q, dtype=x.dtype)
    if shares.ndim > 1:
        raise RuntimeError(f"{name}: q: expected a number or 1 dimension, got {shares.ndim}")
    if shares.dtype is not x.dtype:
        raise RuntimeError(f"{name}: q: expected the input's dtype {x.dtype}, got {shares.dtype}")
    if not isinstance(q, Tensor) and not 0 <= q <= 1:
        raise RuntimeError(f"{name}: q: expected values from 0 to 1, got {q}")
    if dim is None:
        rows, kept = x.reshape(-1), (1,) * x.ndim
    else:
        d = one_dim(name, x.ndim, dim)
        rows, kept = (
            shape.movedim(x, d, -1) if x.ndim else x.reshape(1),
            _one(x, d) if x.ndim else (),
        )
    ordered = order.sort(rows, -1).values
    numbers = reduce.sum(rows == rows, -1, keepdim=True)
    last = (numbers if skip else rows.shape[-1]) - 1
    rank = shares.reshape(-1) * last  # (..., number of shares)
    rank = _BETWEEN[between](rank.expand(*rows.shape[:-1], shares.numel()))
    below = rank.detach().floor().clamp(min=0)
    above = rank.detach().ceil().clamp(min=0)
    low, high = ordered.gather(-1, below.long()), ordered.gather(-1, above.long())
    found = low + (high - low) * (rank - below)
    whole = numbers > 0 if skip else numbers == rows.shape[-1]
    found = where(whole, found, math.nan)
    if shares.ndim == 0:
        found = found.squeeze(-1)
        return found.reshape(kept) if keepdim else found
    found = shape.movedim(found, -1, 0)
    return found.reshape((shares.numel(), *kept)) if keepdim else found


# ---------------------------------------------------------------------- scans
def _scan(x: Any, d: int, n: int, step: Callable[[Any, Any], Any], join: Any, part: Any) -> Any:
    """A running result by doubling (Hillis and Steele, 1986): about log2(n) steps."""
    reach = 1
    while reach < n:
        x = join(part(x, 0, reach), step(part(x, 0, n - reach), part(x, reach, n - reach)))
        reach *= 2
    return x


def _scanned(name: str, x: Tensor, dim: int, step: Callable[[Any, Any], Any]) -> Tensor:
    d = one_dim(name, x.ndim, dim)
    if x.ndim == 0:
        return x.clone()
    found: Tensor = _scan(
        x,
        d,
        x.shape[d],
        step,
        lambda a, b: shape.cat([a, b], d),
        lambda y, start, length: shape.narrow(y, d, start, length),
    )
    return found.clone() if found is x else found


def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running product along `dim`; integers and bools in int64."""
    if dtype is not None:
        input = input.to(dtype)
    elif not input.dtype.is_floating_point:
        input = input.long()
    return _scanned("cumprod", input, dim, lambda a, b: a * b)


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of e^x along `dim`, with no overflow."""
    x = as_floating(input, "logcumsumexp")
    return _scanned("logcumsumexp", x, dim, functions.logaddexp)


def cummax(input: Tensor, dim: int) -> Reduced:
    """(values, indices) of the largest element so far along `dim`, the last of equal ones."""
    return _cumulative("cummax", input, dim, lambda a, b: (b >= a) | (b != b))


def cummin(input: Tensor, dim: int) -> Reduced:
    """(values, indices) of the smallest element so far along `dim`, the last of equal ones."""
    return _cumulative("cummin", input, dim, lambda a, b: (b <= a) | (b != b))


def _cumulative(name: str, x: Tensor, dim: int, takes_over: Callable[[Any, Any], Any]) -> Reduced:
    d = one_dim(name, x.ndim, dim)
    if x.ndim == 0:
        return Reduced(x.clone(), x.new_zeros((), dtype=dtypes.int64))
    n = x.shape[d]
    positions = creation.arange(n, device=x.device).reshape((-1,) + (1,) * (x.ndim - 1 - d))

    def step(a: Any, b: Any) -> Any:
        later = takes_over(a[0], b[0]) & ((a[0] == a[0]) | (b[0] != b[0]))
        return [where(later, q, p) for p, q in zip(a, b)]

    start = [x.detach(), positions.expand(x.shape)]
    _, index = _scan(
        start,
        d,
        n,
        step,
        lambda a, b: [shape.cat(pair, d) for pair in zip(a, b)],
        lambda pair, at, length: [shape.narrow(y, d, at, length) for y in pair],
    )
    index = index.clone()
    return Reduced(x.gather(d, index), index)


def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The differences of neighbours along `dim`, n times over."""
    d = one_dim("diff", input.ndim, dim)
    if input.ndim == 0:
        raise RuntimeError("diff: expected a dimension or more, got none")
    n = whole_number("diff", "n", n)
    if n < 0:
        raise RuntimeError(f"diff: n: expected a number >= 0, got {n}")
    if n == 0:
        return input.clone()
    parts = [x for x in (prepend, input, append) if x is not None]
    x = shape.cat(parts, d) if len(parts) > 1 else input
    for _ in range(builtins.min(n, x.shape[d])):
        length = builtins.max(x.shape[d] - 1, 0)
        left, right = shape.narrow(x, d, 0, length), shape.narrow(x, d, x.shape[d] - length, length)
        x = right != left if x.dtype is dtypes.bool_ else right - left
    return x


def _trapezoids(
    name: str, y: Tensor, x: Tensor | None, dx: float | None, dim: int
) -> tuple[Tensor, int]:
    d = one_dim(name, y.ndim, dim)
    if x is not None and dx is not None:
        raise TypeError(f"{name}: give x or dx, not both")
    n = y.shape[d]
    between = (shape.narrow(y, d, 1, n - 1) + shape.narrow(y, d, 0, n - 1)) / 2 if n else y
    if x is None:
        return between * (1 if dx is None else dx), d
    if x.ndim == 1:
        if x.shape[0] != n:
            raise RuntimeError(f"{name}: x has {x.shape[0]} points, expected {n} as y")
        return between * diff(x).reshape((-1,) + (1,) * (y.ndim - 1 - d)), d
    width = diff(x, dim=d - y.ndim)
    return between * width, d


def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, over points x or steps dx (1)."""
    areas, d = _trapezoids("trapezoid", y, x, dx, dim)
    return reduce.sum(areas, d - y.ndim)


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The running integral along `dim`, see `trapezoid`."""
    areas, d = _trapezoids("cumulative_trapezoid", y, x, dx, dim)
    return reduce.cumsum(areas, d - y.ndim)


# ---------------------------------------------------------------------- counts, covariances
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts of the elements in bins of one width from min to max (those of the input if equal)."""
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"histc: expected a floating-point dtype, got {input.dtype}")
    if bins <= 0:
        raise RuntimeError(f"histc: bins: expected a positive number, got {bins}")
    x = input.detach().reshape(-1)
    low, high = float(min), float(max)
    if low == high and x.numel():
        low, high = x.min().item(), x.max().item()
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"histc: expected finite limits, got {low} and {high}")
    if low > high:
        raise RuntimeError(f"histc: max: expected a number above min, got {high} and {low}")
    x = x[(x >= low) & (x <= high)]
    numbers = ((x - low) / (high - low) * bins).floor().clamp(max=bins - 1).long()
    return order.bincount(numbers, minlength=bins).to(input.dtype)


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance matrix of variables in rows, observations in columns.

    fweights count an observation several times; aweights are its relative importance.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: expected two dimensions or fewer, got {input.ndim}")
    x = as_floating(input.reshape(1, -1) if input.ndim < 2 else input, "cov")
    weight = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            _check_weights(name, given, x)
            weight = given if weight is None else weight * given
    if weight is None:
        total = squares = x.new_full((), x.shape[1], dtype=x.dtype)
        centred = x - reduce.mean(x, 1, True)
        weighted = centred
    else:
        weight = weight.to(x.dtype)
        total = weight.sum()
        squares = total if aweights is None else (weight * aweights).sum() / total * 1
        centred = x - (x * weight).sum(1, keepdim=True) / total
        weighted = centred * weight
    freedom = total - correction * (1 if aweights is None else squares)
    result = weighted.matmul(centred.mT) / freedom.clamp(min=0)
    return result.squeeze()


def _check_weights(name: str, weights: Tensor, x: Tensor) -> None:
    if weights.ndim > 1:
        raise RuntimeError(f"cov: {name}: expected one dimension, got {weights.ndim}")
    if (name == "fweights") == weights.dtype.is_floating_point:
        kind = "integers" if name == "fweights" else "floating-point numbers"
        raise RuntimeError(f"cov: {name}: expected {kind}, got {weights.dtype}")
    if weights.numel() != x.shape[1]:
        raise RuntimeError(f"cov: {name}: expected {x.shape[1]} weights, got {weights.numel()}")
    if weights.numel() and bool((weights < 0).any()):
        raise RuntimeError(f"cov: {name}: expected no negative weight")


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables in rows, observations in columns."""
    if input.ndim > 2:
        raise RuntimeError(f"corrcoef: expected two dimensions or fewer, got {input.ndim}")
    found = cov(input)
    if found.ndim == 0:
        return found / found
    deviation = found.diagonal().sqrt()
    return (found / deviation.unsqueeze(1) / deviation).clamp(-1, 1)


def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The elements (or slices along `dim`) without those that equal the one before.

    On request also the index of each element among them, and how often each came in a row.
    """
    x = input.detach()
    d = 0 if dim is None else one_dim("unique_consecutive", x.ndim, dim)
    x = x.reshape(-1) if dim is None or x.ndim == 0 else shape.movedim(x, d, 0)
    rows = x.reshape(len(x), -1) if x.numel() else x.reshape(len(x), 0)
    first = rows.new_ones(len(rows), dtype=dtypes.bool_)
    first[1:] = (rows[1:] != rows[:-1]).any(1)
    values = shape.movedim(x[first], 0, d)
    group = reduce.cumsum(first, 0) - 1
    counts = order.bincount(group, minlength=int(first.sum()))
    inverse = group.reshape(input.shape) if dim is None else group
    result = (values, *[inverse] * return_inverse, *[counts] * return_counts)
    return result if len(result) > 1 else values

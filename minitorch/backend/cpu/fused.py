"""Matrix products and fused entries: several ops in one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minitorch.backend.cpu.elementwise import (
    gelu,
    gelu_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softplus,
    tanh_backward,
)
from minitorch.backend.cpu.entry import ZERO, Array, Entries, Index, clone, quiet, result
from minitorch.backend.cpu.index import add_rows, check_range
from minitorch.backend.cpu.source import uniform

# Every entry of a fused op takes `out=`: what an earlier call on the same shapes gave (results and
# kept arrays), to be overwritten in place. Kept arguments are not written to: they are given anew.
Out = Sequence[Any] | None
_NOTHING = (None,) * 8  # an `out` that has no memory to offer


@lru_cache(16)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """Times this, a sum is a product of BLAS: three times as fast as `np.add.reduce`."""
    return np.ones(n, dtype)


# ------------------------------------------------------------------ linear
# An activation in place (of gelu: in memory of its own), and g times its derivative.
_ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[[Array, Array], Array]]] = {
    "none": (lambda x, out: x, lambda g, y: g),
    "relu": (lambda x, out: np.maximum(x, ZERO[x.dtype], out=x), relu_backward),
    "tanh": (lambda x, out: np.tanh(x, out=x), tanh_backward),
    "sigmoid": (lambda x, out: sigmoid(x, out=x), sigmoid_backward),
    "gelu": (gelu, gelu_backward),
}


def _linear(
    x: Array, weight: Array, bias: Array, activation: str, out: Out = None
) -> tuple[Array, ...]:
    r, _, _, before = out or _NOTHING[:4]
    before = _product(x, weight.T, r if before is None else before)
    before += bias
    r = _ACTIVATIONS[activation][0](before, r)
    # backward reads `before`, which is `r` but for gelu, and nothing of it without activation
    return r, x, weight, None if activation == "none" else before


def _product(x: Array, y: Array, out: Array | None) -> Array:
    """x @ y for a matrix y; `dot` takes half a microsecond less than `matmul`."""
    if x.ndim == 2:
        return x.dot(y, out)
    out = np.empty((*x.shape[:-1], y.shape[1]), x.dtype) if out is None else out
    _rows(x).dot(y, _rows(out))
    return out


def _rows(x: Array) -> Array:
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _linear_backward(
    g: Array,
    x: Array,
    weight: Array,
    seen: Array,
    needs: tuple[bool, ...],
    activation: str,
    out: Out = None,
) -> list[Array | None]:
    dx, dw, db = out or _NOTHING[:3]
    g = _ACTIVATIONS[activation][1](g, seen)
    rows = _rows(g)
    return [
        _product(g, weight, dx) if needs[0] else None,
        rows.T.dot(_rows(x), dw) if needs[1] else None,
        _ones(len(rows), rows.dtype).dot(rows, db) if needs[2] else None,
    ]


# ------------------------------------------------------------------ dropout
def _dropout(
    x: Array, p: float, seed: int, offset: int, memo: list[Array], out: Array | None = None
) -> Array:
    if not memo:
        kept = uniform(x.shape, x.dtype, 0, seed, offset) < 1 - p
        memo.append(np.multiply(kept, 1 / (1 - p), dtype=x.dtype))
    return np.multiply(x, memo[0], out=out)


# ------------------------------------------------------------------ cross entropy
_UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (4, 8)}


@lru_cache(16)
def _row_starts(n: int, classes: int) -> Array:
    """The place of each row's first element in a flat (n, classes)."""
    return np.arange(0, n * classes, classes)


def _cross_entropy(
    x: Array, target: Array, ignore_index: int, reduction: str, out: Out = None
) -> tuple[Array, ...]:
    """The loss, and its derivative by x."""
    if x.itemsize == 2:  # whose largest number a sum would soon exceed
        wide = _cross_entropy(x.astype(np.float32), target, ignore_index, reduction)
        return _narrow(wide, x.dtype, out)
    n, classes = x.shape
    loss, grad = out or (None, np.empty(x.shape, x.dtype))
    ignored = None
    if not _all_count(target, classes, ignore_index):
        ignored = target == ignore_index
        check_range(target[~ignored], classes, "cross_entropy: target")
        target = np.where(ignored, 0, target)
    starts = _row_starts(n, classes)
    places = starts + target
    flat = grad.reshape(-1)
    if n:
        # The place of the largest, and a look there, takes a fifth of `np.maximum.reduce`'s time.
        top = x.take(starts + x.argmax(1)) if x.flags.c_contiguous else x.max(1)
        np.subtract(x, top[:, None], out=grad)
    picked = flat.take(places)
    np.exp(grad, out=grad)
    total = grad.dot(_ones(classes, x.dtype))
    every = np.log(total, out=loss if reduction == "none" else None)
    every -= picked
    if ignored is not None:
        every[ignored] = 0
        n -= int(np.count_nonzero(ignored))
    count = 1.0
    if reduction == "mean":
        count = n or math.nan
        total *= count
    grad /= total[:, None]
    flat[places] -= 1 / count
    if ignored is not None:
        grad[ignored] = 0 / count  # not a number where none counts, as the mean
    if reduction == "none":
        return every, grad
    return _scalar(np.add.reduce(every) / count, loss), grad


def _scalar(value: Any, out: Array | None) -> Array:
    if out is None:
        return np.array(value)
    out[()] = value
    return out


def _all_count(target: Array, classes: int, ignore_index: int) -> bool:
    """Whether it is plain that all targets are in [0, classes) and none is ignored."""
    unsigned = _UNSIGNED.get(target.dtype)
    if unsigned is None or not len(target) or 0 <= ignore_index < classes:
        return False
    target = target.view(unsigned)  # where a negative number is a large one
    return bool(target[target.argmax()] < classes)


def _loss_backward(
    g: Array | float, grad: Array, needs: tuple[bool, ...], out: Out = None, **params: Any
) -> list[Array | None]:
    if isinstance(g, float) and g == 1 and (out is None or out[0] is grad):
        return [grad]
    factor: Any = g
    if np.ndim(factor):
        factor = factor[:, None]
    return [np.multiply(grad, factor, out=None if out is None else out[0])]


# ------------------------------------------------------------------ binary cross entropy
def _logistic_loss(x: Array, target: Array, reduction: str, out: Out = None) -> tuple[Array, ...]:
    """The sum or mean of softplus(x) - x target, and its derivative by x."""
    if x.itemsize == 2:  # whose largest number a sum would soon exceed
        wide = _logistic_loss(x.astype(np.float32), target.astype(np.float32), reduction)
        return _narrow(wide, x.dtype, out)
    loss, grad = out or (None, np.empty(x.shape, x.dtype))
    count = (x.size or math.nan) if reduction == "mean" else 1.0
    power = np.abs(x, out=np.empty(x.shape, x.dtype))
    np.negative(power, out=power)
    np.exp(power, out=power)  # at most 1
    np.add(power, 1, out=grad)
    np.divide(np.where(x < 0, power, 1), grad, out=grad)  # sigmoid(x)
    grad -= target
    grad /= count
    np.log1p(power, out=power)
    power += np.maximum(x, 0)
    power -= x * target
    return _scalar(np.add.reduce(power, axis=None) / count, loss), grad


def _narrow(values: Sequence[Array], dtype: np.dtype[Any], out: Out) -> tuple[Array, ...]:
    """What was computed in float32, as halves."""
    places = out or _NOTHING[: len(values)]
    narrow = (v.astype(dtype) for v in values)
    return tuple(result(v, place) for v, place in zip(narrow, places, strict=True))


# ------------------------------------------------------------------ layer norm
def _layer_norm(
    x: Array, weight: Array, bias: Array, eps: float, out: Out = None
) -> tuple[Array, ...]:
    """The result, x with mean 0 and variance 1, the 1 / deviation of each row, and weight."""
    r, hat, scale, _ = out or _NOTHING[:4]
    if x.itemsize == 2:  # whose largest number a sum would soon exceed
        x, of_weight, of_bias = (a.astype(np.float32) for a in (x, weight, bias))
        *wide, exact, _ = _layer_norm(x, of_weight, of_bias, eps)
        return *_narrow(wide, weight.dtype, out and (r, hat)), result(exact, scale), weight
    shape = math.prod(x.shape[: x.ndim - weight.ndim]), weight.size
    ones = _ones(weight.size, x.dtype)
    rows = x.reshape(shape)
    hat = np.empty(x.shape, x.dtype) if hat is None else hat
    r = np.empty(x.shape, x.dtype) if r is None else r
    flat, product = hat.reshape(shape), r.reshape(shape)
    mean = rows.dot(ones)
    mean /= weight.size
    np.subtract(rows, mean[:, None], out=flat)
    scale = np.vecdot(flat, flat, out=scale)
    scale /= weight.size
    scale += eps
    np.sqrt(scale, out=scale)
    np.reciprocal(scale, out=scale)
    flat *= scale[:, None]
    np.multiply(flat, weight.reshape(-1), out=product)
    product += bias.reshape(-1)
    return r, hat, scale, weight


def _layer_norm_backward(
    g: Array,
    hat: Array,
    scale: Array,
    weight: Array,
    needs: tuple[bool, ...],
    eps: float,
    out: Out = None,
) -> list[Array | None]:
    if g.itemsize == 2:
        args = g.astype(np.float32), hat.astype(np.float32), scale, weight.astype(np.float32)
        wide = _layer_norm_backward(*args, needs, eps)
        places = out or _NOTHING[:3]
        return [
            None if a is None else result(a.astype(g.dtype), place)
            for a, place in zip(wide, places, strict=True)
        ]
    dx, dw, db = out or _NOTHING[:3]
    shape = len(scale), weight.size
    rows, flat = g.reshape(shape), hat.reshape(shape)
    if needs[0]:
        dx = np.empty(g.shape, g.dtype) if dx is None else dx
        through = np.multiply(rows, weight.reshape(-1), out=dx.reshape(shape))
        along = np.vecdot(through, flat)
        along /= weight.size
        mean = through.dot(_ones(weight.size, g.dtype))
        mean /= weight.size
        through -= mean[:, None]
        through -= flat * along[:, None]
        through *= scale[:, None]
    return [
        dx if needs[0] else None,
        _column_sums(rows * flat, weight.shape, dw) if needs[1] else None,
        _column_sums(rows, weight.shape, db) if needs[2] else None,
    ]


def _column_sums(rows: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    out = np.empty(shape, rows.dtype) if out is None else out
    _ones(len(rows), rows.dtype).dot(rows, out.reshape(-1))
    return out


# ------------------------------------------------------------------ word vectors


_FAR = 80.0  # exp is finite up to here in float32, and sigmoid is 1


def _softplus_and_slope(x: Array, out: Array | None = None) -> tuple[Array, Array]:
    """log(1 + e^x), in `out`, and its derivative e^x / (1 + e^x), for one exp, in x."""
    if x.size and not x.max() <= _FAR:  # or is not a number
        return result(softplus(x), out), quiet(sigmoid)(x, out=x)
    np.exp(x, out=x)
    denominator = np.add(x, 1, out=out)
    np.divide(x, denominator, out=x)
    return np.log(denominator, out=denominator), x


def _negative_sampling(
    x: Array, y: Array, weights: Array, width: int, out: Out = None
) -> tuple[Array, ...]:
    """The summed loss, its derivative by y·x (n, span, L), and what else backward reads."""
    summed, scores, _, _, losses = out or _NOTHING[:5]
    # OpenBLAS takes small products with a transposed second factor at less than half the speed.
    scores = np.matmul(y, np.ascontiguousarray(x.transpose(0, 2, 1)), out=scores)
    block, row, column = scores.strides
    size = x.shape[1]
    near = np.ndarray(  # halo words i to i + width - 1 with centre i: a view along the diagonal
        (len(x), width, size), scores.dtype, scores, strides=(block, row, row + column)
    )
    pool = scores[:, size + width - 1 :]
    signed = np.empty(weights.shape, scores.dtype)
    np.negative(near, out=signed[:, :width])
    signed[:, width:] = pool
    losses, slopes = _softplus_and_slope(signed, losses)
    loss = _scalar(_weighted_sum(losses, weights), summed)
    slopes *= weights
    scores.fill(0)
    np.negative(slopes[:, :width], out=near)
    pool[...] = slopes[:, width:]
    return loss, scores, x, y, losses


def _weighted_sum(losses: Array, weights: Array) -> Any:
    flat = len(losses), math.prod(losses.shape[1:])
    return np.vecdot(losses.reshape(flat), weights.reshape(flat)).sum(dtype=np.float64)


def _negative_sampling_backward(
    g: Array | float,
    slopes: Array,
    x: Array,
    y: Array,
    losses: Array,
    needs: Index,
    width: int,
    out: Out = None,
) -> tuple[Array | None, ...]:
    factor = float(g)
    dx, dy, dweights = out or _NOTHING[:3]
    grads = (
        np.matmul(slopes.transpose(0, 2, 1), y, out=dx) if needs[0] else None,
        np.matmul(slopes, x, out=dy) if needs[1] else None,
        clone(losses, dweights) if needs[2] else None,
    )
    for d in grads if factor != 1 else ():
        if d is not None:
            d *= factor
    return grads


def _negative_sampling_sgd_(*columns: Sequence[Array], **params: Any) -> None:
    for vectors, contexts, loss, centres, others, *rest in zip(*columns, strict=True):
        check_range(centres, len(vectors), "negative_sampling_sgd_: centres")
        check_range(others, len(contexts), "negative_sampling_sgd_: others")
        _sgd_steps(vectors, contexts, loss, centres, others, *rest, **params)


def _sgd_steps(
    vectors: Array,
    contexts: Array,
    loss: Array,
    centres: Array,
    others: Array,
    weights: Array,
    *windows: Array,
    width: int,
    size: int,
    lr: Sequence[float],
) -> None:
    gradients = _gradients_of_pairs if width == 1 else _gradients_of_band
    depth = vectors.shape[1]
    for i, rate in enumerate(lr):
        now = slice(i * size, (i + 1) * size)
        rows, columns = centres[now], others[now]
        x, y = np.take(vectors, rows, axis=0), np.take(contexts, columns, axis=0)
        if windows:
            x = np.matmul(windows[0][now], x)
        summed, dx, dy = gradients(x, y, weights[now], width)
        loss += summed
        if windows:
            dx = np.matmul(windows[1][now].transpose(0, 2, 1), dx)
        add_rows(vectors, rows.ravel(), dx.reshape(-1, depth), -rate)
        add_rows(contexts, columns.ravel(), dy.reshape(-1, depth), -rate)


def _gradients_of_band(x: Array, y: Array, weights: Array, width: int) -> tuple[Any, Array, Array]:
    """The summed loss, and its derivatives by x and y."""
    loss, slopes, *_ = _negative_sampling(x, y, weights, width)
    return loss, np.matmul(slopes.transpose(0, 2, 1), y), np.matmul(slopes, x)


def _gradients_of_pairs(x: Array, y: Array, weights: Array, width: int) -> tuple[Any, Array, Array]:
    """The same for width 1: centre i and halo word i alone are a pair, which needs no matrix."""
    size = x.shape[1]
    near, pool = y[:, :size], y[:, size:]
    signed = np.empty(weights.shape, x.dtype)
    np.negative(np.vecdot(x, near), out=signed[:, 0])
    signed[:, 1:] = np.matmul(pool, np.ascontiguousarray(x.transpose(0, 2, 1)))
    losses, slopes = _softplus_and_slope(signed)
    loss = _weighted_sum(losses, weights)
    slopes *= weights
    pull, push = slopes[:, 0, :, None], slopes[:, 1:]
    dx = np.matmul(push.transpose(0, 2, 1), pool)
    dx -= pull * near
    dy = np.empty_like(y)
    np.multiply(-pull, x, out=dy[:, :size])
    np.matmul(push, x, out=dy[:, size:])
    return loss, dx, dy


FUSED: Entries = {
    "matmul": quiet(np.matmul),
    "linear": quiet(_linear),
    "linear_backward": quiet(_linear_backward),
    "dropout": quiet(_dropout),
    "cross_entropy": quiet(_cross_entropy),
    "cross_entropy_backward": _loss_backward,
    "logistic_loss": quiet(_logistic_loss),
    "logistic_loss_backward": _loss_backward,
    "layer_norm": quiet(_layer_norm),
    "layer_norm_backward": quiet(_layer_norm_backward),
    "negative_sampling": quiet(_negative_sampling),
    "negative_sampling_backward": quiet(_negative_sampling_backward),
    "negative_sampling_sgd_": quiet(_negative_sampling_sgd_),
}

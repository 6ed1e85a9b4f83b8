"""Matrix products and fused entries: several ops in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from minitorch.backend.cpu.blas import matmul
from minitorch.backend.cpu.elementwise import (
    gelu,
    gelu_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softplus,
    tanh_backward,
)
from minitorch.backend.cpu.entry import Array, Entries, Index, quiet
from minitorch.backend.cpu.index import add_rows, check_range
from minitorch.backend.cpu.source import uniform

# ------------------------------------------------------------------ linear
# An activation in place, and g times its derivative.
_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "none": (lambda x: x, lambda g, y: g),
    "relu": (lambda x: np.maximum(x, 0, out=x), relu_backward),
    "tanh": (lambda x: np.tanh(x, out=x), tanh_backward),
    "sigmoid": (lambda x: sigmoid(x, out=x), sigmoid_backward),
    "gelu": (gelu, gelu_backward),
}


def _linear(x: Array, weight: Array, bias: Array, activation: str) -> tuple[Array, ...]:
    before = matmul(x, weight.T)
    before += bias
    out = _ACTIVATIONS[activation][0](before)
    # backward reads `before`, which is `out` but for gelu, and nothing of it without activation
    return out, x, weight, None if activation == "none" else before


def _rows(x: Array) -> Array:
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def _linear_backward(
    g: Array, x: Array, weight: Array, seen: Array, needs: tuple[bool, ...], activation: str
) -> list[Array | None]:
    g = _ACTIVATIONS[activation][1](g, seen)
    rows = _rows(g)
    return [
        matmul(g, weight) if needs[0] else None,
        matmul(rows.T, _rows(x)) if needs[1] else None,
        np.add.reduce(rows, axis=0) if needs[2] else None,
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
def _cross_entropy(
    x: Array, target: Array, ignore_index: int, reduction: str
) -> tuple[Array, Array]:
    """The loss, and its derivative by x."""
    n, classes = x.shape
    low, high = (int(target.min()), int(target.max())) if n else (0, 0)
    ignored = None
    if low < 0 or high >= classes or low <= ignore_index <= high:
        ignored = target == ignore_index
        check_range(target[~ignored], classes, "cross_entropy: target")
        target = np.where(ignored, 0, target)
    grad = x - np.maximum.reduce(x, axis=1, keepdims=True)
    rows = np.arange(n)
    loss = -grad[rows, target]
    np.exp(grad, out=grad)
    total = np.add.reduce(grad, axis=1, keepdims=True)
    loss += np.log(total[:, 0])
    grad /= total
    grad[rows, target] -= 1
    if ignored is not None:
        loss[ignored] = 0
        grad[ignored] = 0
        n -= int(np.count_nonzero(ignored))
    if reduction == "none":
        return loss, grad
    summed = np.add.reduce(loss)
    if reduction == "sum":
        return summed, grad
    grad /= n
    return summed / x.dtype.type(n), grad


def _cross_entropy_backward(
    g: Array | float, grad: Array, needs: tuple[bool, ...], **params: Any
) -> list[Array | None]:
    if isinstance(g, float):
        return [grad if g == 1 else grad * g]
    return [grad * (g[:, None] if g.ndim else g)]


# ------------------------------------------------------------------ word vectors


_FAR = 80.0  # exp is finite up to here in float32, and sigmoid is 1


def _softplus_and_slope(x: Array) -> tuple[Array, Array]:
    """log(1 + e^x) and its derivative e^x / (1 + e^x), for one exp; x is overwritten."""
    if x.size and not x.max() <= _FAR:  # or is not a number
        return softplus(x), quiet(sigmoid)(x)
    np.exp(x, out=x)
    denominator = x + 1
    np.divide(x, denominator, out=x)
    return np.log(denominator, out=denominator), x


def _negative_sampling(x: Array, y: Array, weights: Array, width: int) -> tuple[Array, ...]:
    """The summed loss, its derivative by y·x (n, span, L), and what else backward reads."""
    # OpenBLAS takes small products with a transposed second factor at less than half the speed.
    scores = np.matmul(y, np.ascontiguousarray(x.transpose(0, 2, 1)))
    block, row, column = scores.strides
    size = x.shape[1]
    near = np.ndarray(  # halo words i to i + width - 1 with centre i: a view along the diagonal
        (len(x), width, size), scores.dtype, scores, strides=(block, row, row + column)
    )
    pool = scores[:, size + width - 1 :]
    signed = np.empty(weights.shape, scores.dtype)
    np.negative(near, out=signed[:, :width])
    signed[:, width:] = pool
    losses, slopes = _softplus_and_slope(signed)
    loss = _weighted_sum(losses, weights)
    slopes *= weights
    scores.fill(0)
    np.negative(slopes[:, :width], out=near)
    pool[...] = slopes[:, width:]
    return loss, scores, x, y, losses


def _weighted_sum(losses: Array, weights: Array) -> Any:
    flat = len(losses), prod(losses.shape[1:])
    return np.vecdot(losses.reshape(flat), weights.reshape(flat)).sum(dtype=np.float64)


def _negative_sampling_backward(
    g: Array | float, slopes: Array, x: Array, y: Array, losses: Array, needs: Index, width: int
) -> tuple[Array | None, ...]:
    factor = float(g)
    grads = (
        np.matmul(slopes.transpose(0, 2, 1), y) if needs[0] else None,
        np.matmul(slopes, x) if needs[1] else None,
        losses.copy() if needs[2] else None,
    )
    return grads if factor == 1 else tuple(d if d is None else d * factor for d in grads)


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
    "matmul": quiet(matmul),
    "linear": quiet(_linear),
    "linear_backward": quiet(_linear_backward),
    "dropout": quiet(_dropout),
    "cross_entropy": quiet(_cross_entropy),
    "cross_entropy_backward": _cross_entropy_backward,
    "negative_sampling": quiet(_negative_sampling),
    "negative_sampling_backward": quiet(_negative_sampling_backward),
    "negative_sampling_sgd_": quiet(_negative_sampling_sgd_),
}

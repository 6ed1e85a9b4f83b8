"""Matrix products and fused entries: several ops in one."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minitorch.backend.cpu.elementwise import (
    gelu,
    gelu_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh_backward,
)
from minitorch.backend.cpu.entry import Array, Entries, quiet
from minitorch.backend.cpu.index import check_range
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
    before = np.matmul(x, weight.T)
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
        np.matmul(g, weight) if needs[0] else None,
        np.matmul(rows.T, _rows(x)) if needs[1] else None,
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


FUSED: Entries = {
    "matmul": quiet(np.matmul),
    "linear": quiet(_linear),
    "linear_backward": quiet(_linear_backward),
    "dropout": quiet(_dropout),
    "cross_entropy": quiet(_cross_entropy),
    "cross_entropy_backward": _cross_entropy_backward,
}

"""Matrix products and fused kernels: several ops in one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minitorch.backend.cpu.blas import dot, matmul
from minitorch.backend.cpu.elementwise import (
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh_backward,
)
from minitorch.backend.cpu.index import check_range
from minitorch.backend.cpu.kernel import (
    NOTHING,
    ZERO,
    Array,
    KernelTable,
    Out,
    quiet,
    real,
    scalar,
)
from minitorch.backend.cpu.source import uniform


@lru_cache(16)
def ones(n: int, dtype: np.dtype[Any]) -> Array:
    """Ones: a product of BLAS with them is a sum, three times as fast as `np.add.reduce`."""
    return np.ones(n, dtype)


# ------------------------------------------------------------------ linear
# An activation, and g times its derivative by the result (of gelu: by the argument). The order
# is that of the numbers in kernels/activation.cuh.
ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "none": (lambda x, out: x, lambda g, y: g),
    "relu": (lambda x, out: np.maximum(x, ZERO[x.dtype], out=out), relu_backward),
    "tanh": (np.tanh, tanh_backward),
    "sigmoid": (sigmoid, sigmoid_backward),
    "gelu": (gelu, gelu_backward),
    "gelu_tanh": (gelu_tanh, gelu_tanh_backward),
}
BY_ARGUMENT = ("gelu", "gelu_tanh")  # whose derivative reads the argument, not the result


def activate(activation: str, x: Array, out: Array | None) -> Array:
    """The activation in place; one whose derivative needs x in `out` or in new memory."""
    return ACTIVATIONS[activation][0](x, out if activation in BY_ARGUMENT else x)


def _linear(
    x: Array, weight: Array, bias: Array, activation: str, out: Out = None
) -> tuple[Array, ...]:
    r, _, _, before = out or _NO_OUT
    before = _product(x, weight.T, r if before is None else before)
    before += bias
    if activation == "none":
        return before, x, weight, None
    r = activate(activation, before, r)
    return r, x, weight, before  # the backward pass reads `before`, which is `r` except BY_ARGUMENT


_NO_OUT = NOTHING[:4]


def _product(x: Array, y: Array, out: Array | None) -> Array:
    """x @ y for a matrix y; `dot` takes half a microsecond less than `matmul`."""
    if x.ndim == 2:
        return dot(x, y) if out is None else dot(x, y, out)
    out = np.empty((*x.shape[:-1], y.shape[1]), x.dtype) if out is None else out
    dot(_rows(x), y, _rows(out))
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
    dx, dw, db = out or NOTHING[:3]
    if activation != "none":
        g = ACTIVATIONS[activation][1](g, seen)
    if needs[0]:
        dx = _product(g, weight, dx)
    if g.ndim != 2:
        g, x = _rows(g), _rows(x)
    if needs[1]:
        dw = dot(g.T, x) if dw is None else dot(g.T, x, dw)
    if needs[2]:
        db = ones(len(g), g.dtype).dot(g, db)
    return [dx if needs[0] else None, dw if needs[1] else None, db if needs[2] else None]


# ------------------------------------------------------------------ dropout
def dropout(
    x: Array, p: float, seed: int, offset: int, memo: list[Array], out: Array | None = None
) -> Array:
    """x times 1 / (1 - p) or 0; the factors are drawn once, and stay in memo."""
    if not memo:
        mask = uniform(x.shape, x.dtype, 0, seed, offset) < 1 - p
        memo.append(np.multiply(mask, 1 / (1 - p), dtype=x.dtype))
    return np.multiply(x, memo[0], out=out)


def _activation_dropout(
    x: Array, activation: str, out: Out = None, **drop: Any
) -> tuple[Array | None, ...]:
    """The result, x, and activation(x) where backward would take long to compute it again.

    drop: the parameters of `dropout`.
    """
    r, _, seen = out or NOTHING[:3]
    again = activation in ("relu", *BY_ARGUMENT)
    before = np.asarray(ACTIVATIONS[activation][0](x, r if again else seen))
    r = dropout(before, **drop, out=before if again else r)
    return r, x, None if again else before


def _activation_dropout_backward(
    g: Array,
    x: Array,
    seen: Array | None,
    needs: tuple[bool, ...],
    activation: str,
    memo: Sequence[Array],
    out: Out = None,
    **drop: Any,
) -> list[Array]:
    slot = None if out is None else out[0]
    through = g * memo[0]
    if activation == "relu":  # the maximum again would take longer; nan passes
        return [np.multiply(through, ~(x <= 0), out=slot)]
    return [ACTIVATIONS[activation][1](through, x if seen is None else seen, slot)]


# ------------------------------------------------------------------ cross entropy
_multiply = quiet(np.multiply)
_UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (4, 8)}


@lru_cache(16)
def _row_starts(n: int, classes: int) -> Array:
    """The offset of each row's first element in a flat (n, classes)."""
    return np.arange(0, n * classes, classes)


def _cross_entropy(
    x: Array, target: Array, ignore_index: int, reduction: str, out: Out = None
) -> tuple[Array, ...]:
    """The loss, and its derivative by x."""
    n, classes = x.shape
    loss, grad = out or (None, np.empty(x.shape, x.dtype))
    ignored = None
    if not _all_count(target, classes, ignore_index):
        ignored = target == ignore_index
        check_range(target[~ignored], classes, "cross_entropy: target")
        target = np.where(ignored, 0, target)
    starts = _row_starts(n, classes)
    offsets = starts + target
    flat = grad.reshape(-1)
    if n:
        # The largest element by its index takes a fifth of `np.maximum.reduce`'s time.
        top = x.take(starts + x.argmax(1)) if x.flags.c_contiguous else x.max(1)
        np.subtract(x, top[:, None], out=grad)
    picked = flat.take(offsets)
    np.exp(grad, out=grad)
    total = grad.dot(ones(classes, x.dtype))
    every = np.log(total, out=loss if reduction == "none" else None)
    every -= picked
    if ignored is not None:
        every[ignored] = 0
        n -= int(np.count_nonzero(ignored))
    count = 1.0
    if reduction == "mean":
        count = n or math.nan
        total *= n or 1
    grad /= total[:, None]
    flat[offsets] -= 1 / count
    if ignored is not None:
        grad[ignored] = 0
    if reduction == "none":
        return every, grad
    return scalar(np.add.reduce(every) / count, loss), grad


def _all_count(target: Array, classes: int, ignore_index: int) -> bool:
    """Whether a quick look shows that all targets are in [0, classes) and none is ignored."""
    unsigned = _UNSIGNED.get(target.dtype)
    if unsigned is None or not len(target) or 0 <= ignore_index < classes:
        return False
    target = target.view(unsigned)  # a negative number becomes a large one
    return bool(target[target.argmax()] < classes)


def _loss_backward(
    g: Array | float, grad: Array, needs: tuple[bool, ...], out: Out = None, **params: Any
) -> list[Array | None]:
    if isinstance(g, float) and g == 1 and (out is None or out[0] is grad):
        return [grad]
    factor: Any = g
    if np.ndim(factor):
        factor = factor[:, None]
    return [_multiply(grad, factor, None if out is None else out[0])]


def _cross_entropy_backward(
    g: Array | float, grad: Array, needs: tuple[bool, ...], out: Out = None, **params: Any
) -> list[Array | None]:
    """`_loss_backward`, but rows of ignored targets stay 0, even where g is infinite or nan."""
    if type(g) is float or np.isfinite(g).all():
        return _loss_backward(g, grad, needs, out)
    ignored = grad == 0  # before the product, which may overwrite the gradient
    product = _multiply(grad, np.expand_dims(g, -1), None if out is None else out[0])
    product[ignored] = 0
    return [product]


# ------------------------------------------------------------------ binary cross entropy
def _bce_with_logits_loss(
    x: Array, target: Array, reduction: str, out: Out = None
) -> tuple[Array, ...]:
    """The sum or mean of softplus(x) - x target, and its derivative by x."""
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
    power += np.maximum(x, 0) - x * target  # exact where the loss is small
    return scalar(np.add.reduce(power, axis=None) / count, loss), grad


FUSED: KernelTable = {
    "matmul": real(matmul),
    "linear": real(_linear),
    "linear_backward": real(_linear_backward),
    "dropout": real(dropout),
    "activation_dropout": real(_activation_dropout),
    "activation_dropout_backward": real(_activation_dropout_backward),
    "cross_entropy": real(_cross_entropy),
    "cross_entropy_backward": real(_cross_entropy_backward),
    "bce_with_logits_loss": real(_bce_with_logits_loss),
    "bce_with_logits_loss_backward": real(_loss_backward),
}

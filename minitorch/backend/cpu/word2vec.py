"""Word vectors: the loss of negative sampling, and steps over many blocks without a tape."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from minitorch.backend.cpu.elementwise import sigmoid, softplus
from minitorch.backend.cpu.entry import (
    NOTHING,
    Array,
    Entries,
    Index,
    Out,
    clone,
    quiet,
    result,
    scalar,
)
from minitorch.backend.cpu.index import add_rows, check_range

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
    summed, scores, _, _, losses = out or NOTHING[:5]
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
    loss = scalar(_weighted_sum(losses, weights), summed)
    slopes *= weights
    scores.fill(0)
    np.negative(slopes[:, :width], out=near)
    pool[...] = slopes[:, width:]
    return loss, scores, x, y, losses


def _weighted_sum(losses: Array, weights: Array) -> Any:
    flat = len(losses), prod(losses.shape[1:])
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
    dx, dy, dweights = out or NOTHING[:3]
    grads = (
        np.matmul(slopes.transpose(0, 2, 1), y, out=dx) if needs[0] else None,
        np.matmul(slopes, x, out=dy) if needs[1] else None,
        clone(losses, dweights) if needs[2] else None,
    )
    for d in grads if factor != 1 else ():
        if d is not None:
            d *= factor
    return grads


def has_kernels() -> bool:
    """Whether `kernels` will find Numba."""
    return find_spec("numba") is not None


def check_kernels() -> None:
    """Raise ImportError, with the way around, where Numba is not installed."""
    if not has_kernels():
        raise ImportError(
            "compiled=True needs Numba, which is not installed: pip install 'minitorch-cupy[numba]'"
        )


def kernels() -> Any:
    """The module `compiled`, which takes some time to import; see `check_kernels`."""
    check_kernels()
    from minitorch.backend.cpu import compiled

    return compiled


def _negative_sampling_sgd_(
    *columns: Sequence[Array], compiled: bool = False, **params: Any
) -> None:
    for vectors, contexts, loss, centres, others, *rest in zip(*columns, strict=True):
        check_range(centres, len(vectors), "negative_sampling_sgd_: centres")
        check_range(others, len(contexts), "negative_sampling_sgd_: others")
        steps = _compiled_steps if compiled and vectors.dtype == np.float32 else _sgd_steps
        steps(vectors, contexts, loss, centres, others, *rest, **params)


def _compiled_steps(
    vectors: Array,
    contexts: Array,
    loss: Array,
    *blocks: Array,
    width: int,
    size: int,
    lr: Sequence[float],
) -> None:
    given = [np.ascontiguousarray(a) for a in blocks]
    rates = np.array(lr, dtype=np.float32)
    if len(blocks) == 3:
        loss += kernels().skip_gram(vectors, contexts, *given, width, size, rates)
    else:
        loss += kernels().cbow(vectors, contexts, *given, size, rates)


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


WORD2VEC: Entries = {
    "negative_sampling": quiet(_negative_sampling),
    "negative_sampling_backward": quiet(_negative_sampling_backward),
    "negative_sampling_sgd_": quiet(_negative_sampling_sgd_),
}

"""Negative sampling in NumPy: the loss of blocks, and steps over many of them without a tape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from minitorch.backend.cpu.elementwise import sigmoid, softplus
from minitorch.backend.cpu.index import add_rows, check_range
from minitorch.backend.cpu.kernel import (
    NOTHING,
    Array,
    Index,
    Out,
    clone,
    quiet,
    result,
    scalar,
)
from minitorch.core.dtypes import ARRAY_DTYPES
from minitorch.library import register_kernel
from minitorch.text.word2vec.damping import CURVATURE_LIMIT, TINY
from minitorch.text.word2vec.kernels.machine_code import blockwise

_FAR = 80.0  # exp is finite up to here in float32, and sigmoid is 1


def softplus_and_slope(x: Array, out: Array | None = None) -> tuple[Array, Array]:
    """log(1 + e^x), in `out`, and its derivative e^x / (1 + e^x), for one exp, in x."""
    if x.size and not x.max() <= _FAR:  # or is not a number
        return result(softplus(x), out), quiet(sigmoid)(x, out=x)
    np.exp(x, out=x)
    denominator = np.add(x, 1, out=out)
    np.divide(x, denominator, out=x)
    return np.log(denominator, out=denominator), x


@register_kernel("negative_sampling", "cpu")
def _negative_sampling(
    x: Array, y: Array, weights: Array, width: int, out: Out = None
) -> tuple[Array, ...]:
    """The summed loss, its derivative by y·x (n, span, L), and what else backward reads."""
    summed, scores, _, _, losses = out or NOTHING[:5]
    # OpenBLAS takes small products with a transposed second factor at less than half the speed.
    scores = np.matmul(y, np.ascontiguousarray(x.transpose(0, 2, 1)), out=scores)
    near, negatives = _diagonals(scores, width), scores[:, x.shape[1] + width - 1 :]
    signed = np.empty(weights.shape, scores.dtype)
    np.negative(near, out=signed[:, :width])
    signed[:, width:] = negatives
    losses, slopes = softplus_and_slope(signed, losses)
    loss = scalar(_weighted_sum(losses, weights), summed)
    slopes *= weights
    scores.fill(0)
    np.negative(slopes[:, :width], out=near)
    negatives[...] = slopes[:, width:]
    return loss, scores, x, y, losses


def _diagonals(pairs: Array, width: int) -> Array:
    """A view (n, width, L) of (n, span, L): halo words i to i + width - 1 with centre i."""
    (n, _, size), (block, row, column) = pairs.shape, pairs.strides
    return np.ndarray((n, width, size), pairs.dtype, pairs, strides=(block, row, row + column))


def _weighted_sum(losses: Array, weights: Array) -> Any:
    flat = len(losses), prod(losses.shape[1:])
    return np.vecdot(losses.reshape(flat), weights.reshape(flat)).sum(dtype=np.float64)


@register_kernel("negative_sampling_backward", "cpu")
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


@register_kernel("negative_sampling_sgd_", "cpu")
def _negative_sampling_sgd_(
    *columns: Sequence[Array], compiled: bool = False, **params: Any
) -> None:
    for vectors, contexts, loss, centres, others, *rest in zip(*columns, strict=True):
        check_range(centres, len(vectors), "negative_sampling_sgd_: centres")
        check_range(others, len(contexts), "negative_sampling_sgd_: others")
        as_code = compiled and len(rest) == 1 and vectors.dtype == np.float32
        steps = _compiled_steps if as_code else _sgd_steps
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
    rates, limit = np.array(lr, dtype=np.float32), np.float32(CURVATURE_LIMIT)
    loss += blockwise().skip_gram(vectors, contexts, *given, width, size, rates, limit)


class _Curvature:
    """H of each row of a table, summed over its pairs in one step: see `damping`."""

    def __init__(self, table: Array) -> None:
        self.bound = np.zeros(len(table), table.dtype)

    def factors(self, rows: Array, bound: Array) -> Array:
        """The factor of each occurrence of a row."""
        np.add.at(self.bound, rows.ravel(), bound.ravel())  # in two dimensions five times slower
        found = np.take(self.bound, rows)
        self.bound[rows.ravel()] = 0
        return CURVATURE_LIMIT / np.maximum(found, CURVATURE_LIMIT, out=found)


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
    half: str | None = None,
) -> None:
    pairs = _Pairs if width == 1 else _Band
    depth = vectors.shape[1]
    of_vectors, of_contexts = _Curvature(vectors), _Curvature(contexts)
    for i, rate in enumerate(lr):
        now = slice(i * size, (i + 1) * size)
        rows, columns = centres[now], others[now]
        x, y = np.take(vectors, rows, axis=0), np.take(contexts, columns, axis=0)
        if windows:
            into, back = windows[0][now], windows[1][now]
            x = np.matmul(into, x)
        if half is not None:
            x, y = (rows.astype(ARRAY_DTYPES[half]).astype(rows.dtype) for rows in (x, y))
        step = pairs(x, y, weights[now], width)
        by_x, by_y = step.curvature(rate)
        if windows:
            by_x *= into.sum(axis=2)
            by_x = np.matmul(by_x[:, None], back)[:, 0]
        of_x, of_y = of_vectors.factors(rows, by_x), of_contexts.factors(columns, by_y)
        if windows:
            of_x = np.where(back > 0, of_x[:, None], 1).min(axis=2)
        dx, dy = step.gradients(of_x, of_y)
        loss += step.loss
        if windows:
            dx = np.matmul(back.transpose(0, 2, 1), dx)
        add_rows(vectors, rows.ravel(), dx.reshape(-1, depth), -rate)
        add_rows(contexts, columns.ravel(), dy.reshape(-1, depth), -rate)


def coherent(rows: Array, rate: float) -> Array:
    """rate * max(1, (2 R)^2) * |row|^2 of blocks' rows, (n, m, D) -> (n, m): see `damping`."""
    squares = np.vecdot(rows, rows)
    together = np.matmul(np.ones((1, rows.shape[1]), rows.dtype), rows)[:, 0]
    share = np.vecdot(together, together) / np.maximum(squares.sum(axis=1), TINY)
    share *= 2 / rows.shape[1]
    squares *= (rate * np.maximum(share * share, 1))[:, None]
    return squares


class _Band:
    """The pairs of one step's blocks: each centre with its window and with the shared negatives."""

    def __init__(self, x: Array, y: Array, weights: Array, width: int) -> None:
        self.x, self.y, self.weights, self.width = x, y, weights, width
        self.loss, self.slopes, *_ = _negative_sampling(x, y, weights, width)

    def curvature(self, rate: float) -> tuple[Array, Array]:
        """The terms of the pairs in H of each row of x and of y: see `damping`."""
        (n, size, _), width = self.x.shape, self.width
        halo, negatives = size + width - 1, self.weights[:, width:]
        near = np.zeros((n, halo, size), negatives.dtype)
        _diagonals(near, width)[...] = self.weights[:, :width]
        of_x, of_y = coherent(self.x, rate)[..., None], coherent(self.y, rate)[:, None]
        by_x = np.matmul(of_y[..., :halo], near)
        by_x += np.matmul(of_y[..., halo:], negatives)
        by_y = np.empty((n, of_y.shape[2], 1), negatives.dtype)
        np.matmul(near, of_x, out=by_y[:, :halo])
        np.matmul(negatives, of_x, out=by_y[:, halo:])
        return by_x[:, 0], by_y[..., 0]

    def gradients(self, of_x: Array, of_y: Array) -> tuple[Array, Array]:
        """Derivatives of the loss by x and y, where each pair counts by the lesser factor."""
        slopes = self.slopes
        if min(of_x.min(), of_y.min()) < 1:
            slopes *= np.minimum(of_x[:, None], of_y[..., None])
        return np.matmul(slopes.transpose(0, 2, 1), self.y), np.matmul(slopes, self.x)


class _Pairs:
    """The same for width 1: centre i and halo word i alone are a pair, which needs no matrix."""

    def __init__(self, x: Array, y: Array, weights: Array, width: int) -> None:
        self.x, self.y = x, y
        self.near, self.negatives = y[:, : x.shape[1]], y[:, x.shape[1] :]
        self.weights = weights
        signed = np.empty(weights.shape, x.dtype)
        np.negative(np.vecdot(x, self.near), out=signed[:, 0])
        signed[:, 1:] = np.matmul(self.negatives, np.ascontiguousarray(x.transpose(0, 2, 1)))
        losses, self.slopes = softplus_and_slope(signed)
        self.loss = _weighted_sum(losses, weights)
        self.slopes *= weights

    def curvature(self, rate: float) -> tuple[Array, Array]:
        """See `_Band`."""
        one, many = self.weights[:, 0], self.weights[:, 1:]
        of_x, of_y, size = coherent(self.x, rate), coherent(self.y, rate), self.x.shape[1]
        of_near, of_negatives = of_y[:, :size], of_y[:, size:]
        by_x = one * of_near + np.matmul(of_negatives[:, None], many)[:, 0]
        return by_x, np.concatenate([one * of_x, np.matmul(many, of_x[..., None])[..., 0]], axis=1)

    def gradients(self, of_x: Array, of_y: Array) -> tuple[Array, Array]:
        """See `_Band`."""
        x, slopes, size = self.x, self.slopes, self.x.shape[1]
        slopes[:, 0] *= np.minimum(of_x, of_y[:, :size])
        slopes[:, 1:] *= np.minimum(of_x[:, None], of_y[:, size:, None])
        pull, push = slopes[:, 0, :, None], slopes[:, 1:]
        dx = np.matmul(push.transpose(0, 2, 1), self.negatives)
        dx -= pull * self.near
        dy = np.empty((len(x), of_y.shape[1], x.shape[2]), x.dtype)
        np.multiply(-pull, x, out=dy[:, :size])
        np.matmul(push, x, out=dy[:, size:])
        return dx, dy

"""Layer norm; batch norm with the activation and the dropout behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cpu.fused import ACTIVATIONS, activate, dropout, ones
from minitorch.backend.cpu.kernel import NOTHING, Array, KernelTable, Out, real, result


# ------------------------------------------------------------------ layer norm
def _layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    dims: int,
    eps: float,
    out: Out = None,
) -> tuple[Array | None, ...]:
    """The result, x with mean 0 and variance 1, the 1 / deviation of each row, and weight."""
    r, hat, scale, _ = out or NOTHING[:4]
    split = x.ndim - dims
    n = math.prod(x.shape[split:])
    shape = math.prod(x.shape[:split]), n
    units = ones(n, x.dtype)
    rows = x.reshape(shape)
    hat = np.empty(x.shape, x.dtype) if hat is None else hat
    r = np.empty(x.shape, x.dtype) if r is None else r
    flat, product = hat.reshape(shape), r.reshape(shape)
    mean = rows.dot(units)
    mean /= n
    np.subtract(rows, mean[:, None], out=flat)
    flat -= (flat.dot(units) / n)[:, None]  # what rounding left of a large mean
    scale = np.vecdot(flat, flat, out=scale)
    scale /= n
    scale += eps
    np.sqrt(scale, out=scale)
    np.reciprocal(scale, out=scale)
    flat *= scale[:, None]
    if weight is None:
        np.copyto(product, flat)
    else:
        np.multiply(flat, weight.reshape(-1), out=product)
    if bias is not None:
        product += bias.reshape(-1)
    return r, hat, scale, weight


def _layer_norm_backward(
    g: Array,
    hat: Array,
    scale: Array,
    weight: Array | None,
    needs: tuple[bool, ...],
    dims: int,
    eps: float,
    out: Out = None,
) -> list[Array | None]:
    slots = out or NOTHING[: len(needs)]
    normal = g.shape[g.ndim - dims :]
    n = math.prod(normal)
    rows, flat = g.reshape(len(scale), n), hat.reshape(len(scale), n)
    grads: list[Array | None] = [None] * len(needs)
    if needs[0]:
        dx = np.empty(g.shape, g.dtype) if slots[0] is None else slots[0]
        factor = 1 if weight is None else weight.reshape(-1)
        through = np.multiply(rows, factor, out=dx.reshape(len(scale), n))
        along = np.vecdot(through, flat)
        along /= n
        mean = through.dot(ones(n, g.dtype))
        mean /= n
        through -= mean[:, None]
        through -= flat * along[:, None]
        through *= scale[:, None]
        grads[0] = dx
    if any(needs[1:2]):
        grads[1] = _column_sums(rows * flat, normal, slots[1])
    if any(needs[2:]):
        grads[2] = _column_sums(rows, normal, slots[2])
    return grads


def _column_sums(rows: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    out = np.empty(shape, rows.dtype) if out is None else out
    ones(len(rows), rows.dtype).dot(rows, out.reshape(-1))
    return out


# ------------------------------------------------------------------ batch norm
def _batch_norm(
    x: Array,
    weight: Array,
    bias: Array,
    mean: Array | None,
    var: Array | None,
    count: Array | None,
    momentum: float | None,
    eps: float,
    activation: str,
    out: Out = None,
    **drop: Any,
) -> tuple[Array | None, ...]:
    """The result, what backward needs, and the statistics (3, C): see `_normalised`.

    The running mean and var move by momentum (None: 1 / count) to those of the batch, and count,
    unless it is read, is counted up. drop: the parameters of `dropout`.
    """
    n = x.size // len(weight)
    centre = _channel_sums(x) / n
    hat = x - _by_channel(centre, x)
    rest = _channel_sums(hat) / n  # what rounding left of a large mean
    hat -= _by_channel(rest, x)
    variance = _channel_sums(hat * hat) / n
    if count is not None and momentum is not None:
        count += 1
    moved = 1 / float(count) if momentum is None and count is not None else momentum
    for running, now in ((mean, centre + rest), (var, variance * (n / (n - 1)))):
        if running is not None:
            running += (now - running) * moved
    factor = 1 / np.sqrt(variance + eps)
    hat *= _by_channel(factor, x)
    return _scaled(hat, x, weight, bias, (centre, rest, factor), activation, out, drop)


def _batch_norm_eval(
    x: Array,
    weight: Array,
    bias: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str,
    out: Out = None,
) -> tuple[Array | None, ...]:
    """`_batch_norm` by the running statistics."""
    statistics = mean, np.zeros_like(mean), 1 / np.sqrt(var + eps)
    hat = _normalised(x, statistics)
    return _scaled(hat, x, weight, bias, statistics, activation, out, {"p": 0})


def _normalised(x: Array, statistics: Sequence[Array]) -> Array:
    """(x - mean) * factor; the statistics of a channel are a mean, its rounding, and a factor."""
    centre, rest, factor = (_by_channel(s, x) for s in statistics)
    hat = x - centre
    hat -= rest
    hat *= factor
    return hat


def _scaled(
    hat: Array,
    x: Array,
    weight: Array,
    bias: Array,
    statistics: Sequence[Array],
    activation: str,
    out: Out,
    drop: dict[str, Any],
) -> tuple[Array | None, ...]:
    r, *_, found, before = out or NOTHING[:6]
    found = np.stack(statistics, out=found)
    before = np.multiply(hat, _by_channel(weight, x), out=r if before is None else before)
    before += _by_channel(bias, x)
    seen = None
    if activation != "none":
        seen = before
        before = activate(activation, before, r)
    if drop["p"]:
        before = dropout(before, **drop, out=before if seen is None else r)
    return before, x, weight, bias, found, seen


def _batch_norm_backward(
    g: Array,
    x: Array,
    weight: Array,
    bias: Array,
    statistics: Array,
    seen: Array | None,
    needs: tuple[bool, ...],
    activation: str,
    p: float = 0.0,
    memo: Sequence[Array] = (),
    training: bool = True,
    out: Out = None,
    **forward: Any,
) -> list[Array | None]:
    """training: the statistics are those of x."""
    slots = (out or NOTHING)[:3]
    if p:
        g = g * memo[0]
    if seen is not None:
        g = ACTIVATIONS[activation][1](g, seen)
    hat = _normalised(x, statistics)
    dw, db = _channel_sums(g * hat), _channel_sums(g)
    if needs[0]:
        if training:
            n = x.size // len(weight)
            hat *= _by_channel(dw / n, x)
            hat += _by_channel(db / n, x)
            g = np.subtract(g, hat, out=hat)
        dx = np.multiply(g, _by_channel(weight * statistics[2], x), out=slots[0])
    found = (dx if needs[0] else None, dw if needs[1] else None, db if needs[2] else None)
    grads = [None if a is None else result(a, slot) for a, slot in zip(found, slots, strict=True)]
    return [*grads, *[None] * (len(needs) - 3)]  # none for running statistics


def _by_channel(values: Array, x: Array) -> Array:
    return values if x.ndim == 2 else values.reshape(-1, *(1,) * (x.ndim - 2))


def _channel_sums(x: Array) -> Array:
    if x.ndim == 2:
        return ones(len(x), x.dtype).dot(x)
    return np.add.reduce(x, (0, *range(2, x.ndim)))


NORMS: KernelTable = {
    "layer_norm": real(_layer_norm, exact=[2]),
    "layer_norm_backward": real(_layer_norm_backward),
    "batch_norm": real(_batch_norm, exact=[4]),
    "batch_norm_backward": real(_batch_norm_backward),
    "batch_norm_eval": real(_batch_norm_eval, exact=[4]),
    "batch_norm_eval_backward": real(partial(_batch_norm_backward, training=False)),
}

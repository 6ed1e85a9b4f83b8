"""Recurrent layers: a kernel runs all time steps, its gradient's kernel the same steps backwards.

Shapes: gates (T, N, G·H), the input's part of G gates; state (S, N, H), h and for LSTM c; weight
(G·H, H), by which h is multiplied. The result (S, T + 1, N, H) holds the state before the first
step and after each. Inside, gates are separate, (G, N, H), since NumPy is slow on slices of rows.
The kernels compute everything that does not depend on the step before for many steps at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minitorch.backend.cpu.blas import dot
from minitorch.backend.cpu.elementwise import relu_backward, tanh_backward
from minitorch.backend.cpu.kernel import NOTHING, ZERO, Array, KernelTable, Out, real, result

_NEAR = 1 << 18  # bytes that are still in a core's cache when they are read again


# ---------------------------------------------------------------------- pieces
def _states(state: Array, steps: int, out: Array | None) -> Array:
    """Memory for the states of all steps, which holds the first one."""
    kinds, n, size = state.shape
    out = _room((kinds, steps + 1, n, size), state, out)
    out[:, 0] = state
    return out


def _room(shape: tuple[int, ...], like: Array, out: Array | None) -> Array:
    return np.empty(shape, like.dtype) if out is None else out


def _apart(rows: Array, size: int) -> Array:
    """A view (..., G, N, H) of (..., N, G·H)."""
    *lead, n, width = rows.shape
    return np.swapaxes(rows.reshape(*lead, n, width // size, size), -2, -3)


def _turned(weight: Array) -> Array:
    """A contiguous transpose: small products with it take half the time."""
    return np.ascontiguousarray(weight.T)


def _chunks(x: Array) -> Iterator[slice]:
    """Slices of the steps of (T, ...) in chunks that stay in the cache, the last chunk first."""
    length = max(1, _NEAR // max(1, x[:1].nbytes))
    for stop in range(len(x), 0, -length):
        yield slice(max(0, stop - length), stop)


def _backwards(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    return zip(*[a[::-1] for a in arrays], strict=True)


def _weight_grad(dz: Array, h: Array, out: Array | None) -> Array:
    """The sum over steps and rows of dz times the h before the step."""
    steps, n, rows = dz.shape
    return dot(dz.reshape(steps * n, rows).T, h[:-1].reshape(steps * n, h.shape[-1]), out)


# ---------------------------------------------------------------------- tanh, relu
_SLOPES = {"tanh": tanh_backward, "relu": relu_backward}


def _rnn(
    gates: Array, state: Array, weight: Array, nonlinearity: str, out: Out = None
) -> tuple[Array, ...]:
    r = _states(state, len(gates), out and out[0])
    (h,) = r
    turned = _turned(weight)
    for x, before, after in zip(gates, h[:-1], h[1:], strict=True):
        dot(before, turned, after)
        after += x
        if nonlinearity == "tanh":
            np.tanh(after, out=after)
        else:
            np.maximum(after, ZERO[after.dtype], out=after)
    return r, r, weight


def _rnn_backward(
    g: Array,
    states: Array,
    weight: Array,
    needs: tuple[bool, ...],
    nonlinearity: str,
    out: Out = None,
) -> list[Array | None]:
    dx, dstate, dw = out or NOTHING[:3]
    (g,), (h,) = g, states
    dz = _room(g[1:].shape, g, dx)
    dh = g[-1].copy()
    for after, dz_t, g_t in _backwards(h[1:], dz, g[:-1]):
        np.copyto(dz_t, _SLOPES[nonlinearity](dh, after))
        dot(dz_t, weight, dh)
        dh += g_t
    return [
        dz if needs[0] else None,
        result(dh[None], dstate) if needs[1] else None,
        _weight_grad(dz, h, dw) if needs[2] else None,
    ]


# ---------------------------------------------------------------------- LSTM
def _lstm(gates: Array, state: Array, weight: Array, out: Out = None) -> tuple[Array, ...]:
    """The states; the gates i, f, g, o of all steps (T, 4, N, H); tanh(c) of all steps."""
    r, acts, bent, _, _ = out or NOTHING[:5]
    steps, (_, n, size) = len(gates), state.shape
    r = _states(state, steps, r)
    h, c = r
    acts = _room((steps, 4, n, size), gates, acts)
    bent = _room((steps, n, size), gates, bent)
    # As in `_gru`; one tanh does for all four, that of g whole and unshifted
    scale = np.full((4, n, size), 0.5, gates.dtype)  # in full: broadcasting takes twice as long
    scale[2] = 1
    shift = 1 - scale
    turned = _turned(weight)
    product, part = np.empty((n, 4 * size), gates.dtype), np.empty((n, size), gates.dtype)
    moved = _apart(product, size)
    each = zip(_apart(gates, size), acts, bent, h[:-1], c[:-1], h[1:], c[1:], strict=True)
    for x, z, curve, h_t, c_t, h_next, c_next in each:
        dot(h_t, turned, product)
        np.add(x, moved, out=z)
        z *= scale
        np.tanh(z, out=z)
        z *= scale
        z += shift
        i, f, g, o = z
        np.multiply(f, c_t, out=c_next)
        c_next += np.multiply(i, g, out=part)
        np.tanh(c_next, out=curve)
        np.multiply(o, curve, out=h_next)
    return r, acts, bent, r, weight


def _lstm_slopes(acts: Array, bent: Array, c: Array, out: Array) -> tuple[Array, Array]:
    """Factors of dc (i, f, g) or dh (o) in a step, into `out`; then those of dc and dh for dc."""
    i, f, g, o = np.moveaxis(acts, 1, 0)
    np.subtract(1, acts, out=out)
    out *= acts
    slope = np.multiply(g, g, out=out[:, 2])
    np.subtract(1, slope, out=slope)
    for gate, factor in zip((0, 1, 2, 3), (g, c, i, bent), strict=True):
        out[:, gate] *= factor
    onward = np.multiply(bent, bent)
    np.subtract(1, onward, out=onward)
    onward *= o
    return f, onward


def _lstm_backward(
    g: Array,
    acts: Array,
    bent: Array,
    states: Array,
    weight: Array,
    needs: tuple[bool, ...],
    out: Out = None,
) -> list[Array | None]:
    dx, dstate, dw = out or NOTHING[:3]
    (g_h, g_c), (h, c) = g, states
    steps, _, n, size = acts.shape
    dz = _room((steps, n, 4 * size), g, dx)
    dh, dc, part = g_h[-1].copy(), g_c[-1].copy(), np.empty((n, size), g.dtype)
    rows = _apart(dz, size)
    for now in _chunks(acts):
        slopes = np.empty(acts[now].shape, g.dtype)
        forget, onward = _lstm_slopes(acts[now], bent[now], c[now], slopes)
        each = _backwards(slopes, forget, onward, rows[now], dz[now], g_h[now], g_c[now])
        for slope, f, by_c, row, dz_t, gh_t, gc_t in each:
            dc += np.multiply(dh, by_c, out=part)
            slope[:3] *= dc
            slope[3] *= dh
            np.copyto(row, slope)
            dc *= f
            dc += gc_t
            dot(dz_t, weight, dh)
            dh += gh_t
    return [
        dz if needs[0] else None,
        result(np.stack((dh, dc)), dstate) if needs[1] else None,
        _weight_grad(dz, h, dw) if needs[2] else None,
    ]


# ---------------------------------------------------------------------- GRU
def _gru(
    gates: Array, state: Array, weight: Array, bias: Array, out: Out = None
) -> tuple[Array, ...]:
    """The states; r, z, n and n's part of weight h + bias of all steps (T, 4, N, H)."""
    r, acts, _, _ = out or NOTHING[:4]
    steps, (_, n, size) = len(gates), state.shape
    r = _states(state, steps, r)
    (h,) = r
    acts = _room((steps, 4, n, size), gates, acts)
    turned = _turned(weight)
    product = np.empty((n, 3 * size), gates.dtype)
    moved = _apart(product, size)
    each = zip(_apart(gates, size), acts, h[:-1], h[1:], strict=True)
    for x, values, before, after in each:
        dot(before, turned, product)
        product += bias
        both, (reset, update, new, inner) = values[:2], values
        np.add(x[:2], moved[:2], out=both)
        both *= 0.5  # sigmoid(x) is (1 + tanh(x / 2)) / 2: NumPy's tanh takes less than exp
        np.tanh(both, out=both)
        both *= 0.5
        both += 0.5
        np.copyto(inner, moved[2])
        np.multiply(reset, inner, out=new)
        new += x[2]
        np.tanh(new, out=new)
        np.subtract(before, new, out=after)
        after *= update
        after += new
    return r, acts, r, weight


def _gru_slopes(acts: Array, h: Array, out: Array) -> None:
    """A step's factors of dh in the gradients of r, z, n and n's part of weight h + bias."""
    reset, update, new, inner = np.moveaxis(acts, 1, 0)
    by_reset, by_update, by_new, by_inner = np.moveaxis(out, 1, 0)
    np.subtract(1, acts[:, :2], out=out[:, :2])
    np.multiply(new, new, out=by_new)
    np.subtract(1, by_new, out=by_new)
    by_new *= by_update
    by_update *= update
    np.subtract(h, new, out=by_inner)
    by_update *= by_inner
    np.multiply(by_new, reset, out=by_inner)
    by_reset *= by_inner
    by_reset *= inner


def _gru_backward(
    g: Array,
    acts: Array,
    states: Array,
    weight: Array,
    needs: tuple[bool, ...],
    out: Out = None,
) -> list[Array | None]:
    dx, dstate, dw, db = out or NOTHING[:4]
    (g,), (h,) = g, states
    steps, _, n, size = acts.shape
    dx = _room((steps, n, 3 * size), g, dx)
    dz = np.empty(dx.shape, g.dtype)  # gradient of weight h + bias: n's part is times r
    dh, part = g[-1].copy(), np.empty((n, size), g.dtype)
    for now in _chunks(acts):
        slopes = np.empty(acts[now].shape, g.dtype)
        _gru_slopes(acts[now], h[now], slopes)
        each = (slopes, acts[now, 1], _apart(dx[now], size), _apart(dz[now], size), dz[now], g[now])
        for slope, update, row, through, dz_t, g_t in _backwards(*each):
            slope *= dh
            np.copyto(row, slope[:3])
            np.copyto(through[:2], slope[:2])
            np.copyto(through[2], slope[3])
            np.multiply(dh, update, out=part)
            dot(dz_t, weight, dh)
            dh += part
            dh += g_t
    return [
        dx if needs[0] else None,
        result(dh[None], dstate) if needs[1] else None,
        _weight_grad(dz, h, dw) if needs[2] else None,
        np.add.reduce(dz, axis=(0, 1), out=db) if needs[3] else None,
    ]


RECURRENT: KernelTable = {
    "rnn": real(_rnn),
    "rnn_backward": real(_rnn_backward),
    "lstm": real(_lstm),
    "lstm_backward": real(_lstm_backward),
    "gru": real(_gru),
    "gru_backward": real(_gru_backward),
}

"""Recurrent layers: a matrix product and one launch for each step. See kernels/recurrent.cu.

Shapes: as in `backend.cpu.recurrent`; the saved tensors are laid out in rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cuda.elementwise import ELEMENTWISE, fill
from minitorch.backend.cuda.fused import ACTIVATION_NUMBERS, FUSED
from minitorch.backend.cuda.gpu import THREADS, Array, Gpu, KernelTable
from minitorch.backend.cuda.reduce import REDUCTIONS

_matmul = FUSED["matmul"]


# ---------------------------------------------------------------------- pieces
def _step(gpu: Gpu, kernel: str, state: Array, arrays: tuple[Array, ...], number: Any) -> None:
    """Launch a step's kernel over the elements of a state."""
    args = (*arrays, np.int64(state.size), number)
    gpu.launch("recurrent", kernel, state.dtype, gpu.blocks(state.size), (THREADS,), args)


def _states(gpu: Gpu, state: Array, steps: int) -> Array:
    """Room for the states of all steps, with the first one in it."""
    kinds, n, size = state.shape
    r = gpu.empty((kinds, steps + 1, n, size), state.dtype)
    gpu.copy(state, r[:, 0])
    return r


def _zeros(gpu: Gpu, x: Array) -> Array:
    return fill(gpu, gpu.empty(x.shape, x.dtype), 0)


def _weight_grad(gpu: Gpu, dz: Array, h: Array) -> Array:
    """The sum over steps and rows of dz times the h before the step."""
    steps, n, rows = dz.shape
    size = h.shape[-1]
    before = h[:-1].reshape(steps * n, size)
    grad: Array = _matmul(gpu, dz.reshape(steps * n, rows).T, before)
    return grad


def _first(gpu: Gpu, *parts: tuple[Array, ...]) -> Array:
    """The gradient of the given state: for h, or h and c, the sum of its partial gradients."""
    out = gpu.empty((len(parts), *parts[0][0].shape), parts[0][0].dtype)
    for slot, (total, *others) in zip(out, parts, strict=True):
        for other in others:
            total = ELEMENTWISE["add"](gpu, total, other)
        gpu.copy(total, slot)
    return out


# ---------------------------------------------------------------------- tanh, relu
def _rnn(
    gpu: Gpu, gates: Array, state: Array, weight: Array, nonlinearity: str
) -> tuple[Array, ...]:
    gates, number = gpu.contiguous(gates), np.int32(ACTIVATION_NUMBERS[nonlinearity])
    r = _states(gpu, state, len(gates))
    h = r[0]
    for t in range(len(gates) if state.size else 0):
        product = _matmul(gpu, h[t], weight.T)
        _step(gpu, "rnn", h[t], (h[t + 1], gates[t], product), number)
    return r, r, weight


def _rnn_backward(
    gpu: Gpu, g: Array, states: Array, weight: Array, needs: tuple[bool, ...], nonlinearity: str
) -> list[Array | None]:
    g, h = gpu.contiguous(g)[0], states[0]
    number = np.int32(ACTIVATION_NUMBERS[nonlinearity])
    dz, dh = gpu.empty(g[1:].shape, g.dtype), _zeros(gpu, g[0])
    for t in reversed(range(len(dz) if dh.size else 0)):
        _step(gpu, "rnn_backward", dh, (dz[t], dh, g[t + 1], h[t + 1]), number)
        dh = _matmul(gpu, dz[t], weight)
    return [
        dz if needs[0] else None,
        _first(gpu, (dh, g[0])) if needs[1] else None,
        _weight_grad(gpu, dz, h) if needs[2] else None,
    ]


# ---------------------------------------------------------------------- LSTM
def _lstm(gpu: Gpu, gates: Array, state: Array, weight: Array) -> tuple[Array, ...]:
    """The states; the gates i, f, g, o of all steps; tanh(c) of all steps."""
    gates, size = gpu.contiguous(gates), np.int64(state.shape[-1])
    r = _states(gpu, state, len(gates))
    h, c = r[0], r[1]
    acts = gpu.empty(gates.shape, gates.dtype)
    bent = gpu.empty((len(gates), *state.shape[1:]), gates.dtype)
    for t in range(len(gates) if state.size else 0):
        product = _matmul(gpu, h[t], weight.T)
        arrays = (h[t + 1], c[t + 1], acts[t], bent[t], gates[t], product, c[t])
        _step(gpu, "lstm", h[t], arrays, size)
    return r, acts, bent, r, weight


def _lstm_backward(
    gpu: Gpu,
    g: Array,
    acts: Array,
    bent: Array,
    states: Array,
    weight: Array,
    needs: tuple[bool, ...],
) -> list[Array | None]:
    g, size = gpu.contiguous(g), np.int64(weight.shape[-1])
    (g_h, g_c), (h, c) = (g[0], g[1]), (states[0], states[1])
    dz, dh, carry = gpu.empty(acts.shape, g.dtype), _zeros(gpu, g_h[0]), _zeros(gpu, g_c[0])
    for t in reversed(range(len(dz) if dh.size else 0)):
        arrays = (dz[t], carry, dh, g_h[t + 1], g_c[t + 1], acts[t], bent[t], c[t])
        _step(gpu, "lstm_backward", dh, arrays, size)
        dh = _matmul(gpu, dz[t], weight)
    return [
        dz if needs[0] else None,
        _first(gpu, (dh, g_h[0]), (carry, g_c[0])) if needs[1] else None,
        _weight_grad(gpu, dz, h) if needs[2] else None,
    ]


# ---------------------------------------------------------------------- GRU
def _gru(gpu: Gpu, gates: Array, state: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    """The states; r, z, n and n's part of weight h + bias of all steps."""
    gates, bias = gpu.contiguous(gates), gpu.contiguous(bias)
    steps, (_, n, size) = len(gates), state.shape
    r = _states(gpu, state, steps)
    h = r[0]
    acts = gpu.empty((steps, n, 4 * size), gates.dtype)
    for t in range(steps if state.size else 0):
        product = _matmul(gpu, h[t], weight.T)
        arrays = (h[t + 1], acts[t], gates[t], product, bias, h[t])
        _step(gpu, "gru", h[t], arrays, np.int64(size))
    return r, acts, r, weight


def _gru_backward(
    gpu: Gpu, g: Array, acts: Array, states: Array, weight: Array, needs: tuple[bool, ...]
) -> list[Array | None]:
    g, h = gpu.contiguous(g)[0], states[0]
    steps, (n, size) = len(acts), g.shape[1:]
    dx, dz = (gpu.empty((steps, n, 3 * size), g.dtype) for _ in range(2))
    dh, carry = _zeros(gpu, g[0]), _zeros(gpu, g[0])
    for t in reversed(range(steps if dh.size else 0)):
        arrays = (dx[t], dz[t], carry, dh, g[t + 1], acts[t], h[t])
        _step(gpu, "gru_backward", dh, arrays, np.int64(size))
        dh = _matmul(gpu, dz[t], weight)
    return [
        dx if needs[0] else None,
        _first(gpu, (dh, carry, g[0])) if needs[1] else None,
        _weight_grad(gpu, dz, h) if needs[2] else None,
        REDUCTIONS["sum"](gpu, dz, (0, 1), False) if needs[3] else None,
    ]


RECURRENT: KernelTable = {
    "rnn": _rnn,
    "rnn_backward": _rnn_backward,
    "lstm": _lstm,
    "lstm_backward": _lstm_backward,
    "gru": _gru,
    "gru_backward": _gru_backward,
}

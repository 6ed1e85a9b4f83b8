"""Kernels lowered to NumPy's own calls on fixed memory, for recorded steps.

A lowering is a function of the arguments of a call to repeat, `out` (the memory of its results) and
`temp` (a function that allocates memory for the call alone). It returns calls whose results equal
the kernel's to the last bit, or None for arguments that it does not support.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cpu.blas import repeated_dot
from minitorch.backend.cpu.elementwise import relu_backward
from minitorch.backend.cpu.fused import FUSED
from minitorch.backend.cpu.kernel import ZERO, Array

Temp = Callable[[tuple[int, ...], np.dtype[Any]], Array]
Calls = list[Callable[[], Any]]


def _linear(
    x: Array, weight: Array, bias: Array, activation: str, out: Sequence[Any], temp: Temp
) -> Calls | None:
    y, _, _, seen = out
    simple = activation in ("none", "relu", "tanh") and (seen is None or seen is y)
    if x.ndim != 2 or not simple:
        return None
    calls: Calls = [repeated_dot(x, weight.T, y), partial(np.add, y, bias, y)]
    if activation == "relu":
        calls.append(partial(np.maximum, y, ZERO[y.dtype], out=y))
    elif activation == "tanh":
        calls.append(partial(np.tanh, y, y))
    return calls


def _linear_backward(
    g: Array,
    x: Array,
    weight: Array,
    seen: Array,
    needs: tuple[bool, ...],
    activation: str,
    out: Sequence[Any],
    temp: Temp,
) -> Calls | None:
    if x.ndim != 2 or activation not in ("none", "relu"):
        return None
    calls: Calls = []
    if activation == "relu":
        before, g = g, temp(g.shape, g.dtype)
        calls.append(partial(relu_backward, before, seen, g))
    dx, dw, db = out
    if needs[0]:
        calls.append(repeated_dot(g, weight, dx))
    if needs[1]:
        calls.append(repeated_dot(g.T, x, dw))
    if needs[2]:
        calls.append(partial(np.ones(len(g), g.dtype).dot, g, db))
    return calls


def _cross_entropy(
    x: Array,
    target: Array,
    ignore_index: int,
    reduction: str,
    out: Sequence[Any],
    temp: Temp,
) -> Calls | None:
    n, classes = x.shape
    whole = target.dtype.kind == "i" and target.dtype.itemsize >= 4
    if (
        not n
        or not whole
        or not x.flags.c_contiguous
        or reduction != "mean"
        or 0 <= ignore_index < classes
    ):
        return None
    kernel = FUSED["cross_entropy"].bare  # type: ignore[attr-defined]
    loss, grad = out
    unsigned = target.view(f"u{target.dtype.itemsize}")  # a negative number becomes a large one
    starts, all_ones = np.arange(0, n * classes, classes), np.ones(classes, x.dtype)
    offsets, tops = (temp((n,), np.dtype(np.int64)) for _ in range(2))
    top, picked, total, every = (temp((n,), x.dtype) for _ in range(4))
    top_column, total_column, flat = top[:, None], total[:, None], grad.reshape(-1)
    count = x.dtype.type(n)
    share = 1 / count

    def run() -> None:
        if unsigned[unsigned.argmax()] >= classes:  # some are ignored, or wrong
            kernel(x, target, ignore_index, reduction, out)
            return
        np.add(starts, target, offsets)
        x.argmax(1, tops)
        np.add(starts, tops, tops)
        x.take(tops, None, top, "clip")
        np.subtract(x, top_column, grad)
        flat.take(offsets, None, picked, "clip")
        np.exp(grad, grad)
        grad.dot(all_ones, total)
        np.log(total, every)
        np.subtract(every, picked, every)
        np.multiply(total, count, total)
        np.divide(grad, total_column, grad)
        flat.take(offsets, None, picked, "clip")
        np.subtract(picked, share, picked)
        flat[offsets] = picked
        np.divide(np.add.reduce(every), count, loss)

    return [run]


LOWERED: dict[str, Callable[..., Calls | None]] = {
    "linear": _linear,
    "linear_backward": _linear_backward,
    "cross_entropy": _cross_entropy,
}

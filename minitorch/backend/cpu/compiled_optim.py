"""Steps of optimizers by Numba: the rules of `optim.py` in one pass over the memory.

NumPy passes over each piece once for every operation. Here each element goes through the same
operations in the same order, so that the results are the same to the last bit. The import needs the
extra `numba`. Numba caches the machine code (in NUMBA_CACHE_DIR, or else beside this file, or in
the user's cache folder).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_options: Any = {"cache": True, "error_model": "numpy", "nogil": True}  # and no fast mathematics
_inside: Any = njit(inline="always")


@_inside
def _gradient(p: Any, g: Any, weight_decay: Any, maximize: float) -> Any:
    g = -g if maximize else g
    return p * weight_decay + g if weight_decay else g


@njit(**_options)
def adam(
    p: Any,
    mean: Any,
    square: Any,
    gradient: Any,
    size: float,
    eps: float,
    beta1: float,
    beta2: float,
    keep: float,
    weight_decay: float,
    maximize: float,
) -> None:
    """`optim._adam` without `largest`, on arrays of one dimension."""
    real = p.dtype.type
    size_, eps_, keep_, decay = real(size), real(eps), real(keep), real(weight_decay)
    new_mean, new_square, old_square = real(1 - beta1), real(1 - beta2), real(beta2)
    for i in range(len(p)):
        x = p[i] * keep_
        g = _gradient(x, gradient[i], decay, maximize)
        m = mean[i] + (g - mean[i]) * new_mean
        v = square[i] * old_square + g * g * new_square
        mean[i] = m
        square[i] = v
        p[i] = x - m / (np.sqrt(v) + eps_) * size_


@njit(**_options)
def sgd(p: Any, gradient: Any, lr: float, weight_decay: float, maximize: float) -> None:
    """`optim._sgd` without momentum, on arrays of one dimension."""
    rate, decay = p.dtype.type(lr), p.dtype.type(weight_decay)
    for i in range(len(p)):
        p[i] -= _gradient(p[i], gradient[i], decay, maximize) * rate

"""NumPy by hand, with no framework: the floor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.steps.problem import LR, problem, settings_of_training, weights

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def step(case: str) -> Callable[[], float]:
    """One flat buffer for all parameters, one for the gradients, preallocated moments."""
    settings_of_training()
    widths, optimizer, x, classes = problem(case)
    first = list(weights(widths))
    flat = np.concatenate([array.ravel() for array in first])
    grads, mean, square, spare, other = (np.zeros_like(flat) for _ in range(5))
    ends = np.cumsum([array.size for array in first])

    def views(buffer: np.ndarray) -> list[np.ndarray]:
        return [buffer[e - a.size : e].reshape(a.shape) for e, a in zip(ends, first, strict=True)]

    p, g = views(flat), views(grads)
    rows = np.arange(len(x))
    last = len(widths) - 2
    count = 0

    def backward() -> float:
        inputs = [x]
        for i in range(last + 1):
            h = inputs[-1] @ p[2 * i].T
            h += p[2 * i + 1]
            if i < last:
                np.maximum(h, 0, out=h)
            inputs.append(h)
        d = inputs.pop()
        d -= d.max(1, keepdims=True)
        picked = d[rows, classes]
        np.exp(d, out=d)
        total = d.sum(1, keepdims=True)
        loss = (np.log(total[:, 0]) - picked).mean()
        d /= total
        d[rows, classes] -= 1
        d /= len(x)
        for i in range(last, -1, -1):
            h = inputs.pop()
            np.matmul(d.T, h, out=g[2 * i])
            np.add.reduce(d, axis=0, out=g[2 * i + 1])
            if i:
                d = d @ p[2 * i]
                d *= h > 0
        return float(loss)

    def sgd() -> float:
        loss = backward()
        np.multiply(grads, LR, out=spare)
        np.subtract(flat, spare, out=flat)
        return loss

    def adam() -> float:
        nonlocal count
        loss = backward()
        count += 1
        unbias = float(np.sqrt(1 - BETA2**count))
        np.subtract(grads, mean, out=spare)
        np.multiply(spare, 1 - BETA1, out=spare)
        np.add(mean, spare, out=mean)
        np.multiply(grads, grads, out=spare)
        np.multiply(spare, 1 - BETA2, out=spare)
        np.multiply(square, BETA2, out=square)
        np.add(square, spare, out=square)
        np.sqrt(square, out=spare)
        np.add(spare, EPS * unbias, out=spare)
        np.multiply(mean, LR * unbias / (1 - BETA1**count), out=other)
        np.divide(other, spare, out=spare)
        np.subtract(flat, spare, out=flat)
        return loss

    return {"SGD": sgd, "Adam": adam}[optimizer]

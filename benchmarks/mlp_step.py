"""One eager training step of a multi-layer perceptron: forward, backward, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.harness import run

TITLE = "A training step of a multi-layer perceptron"
NOTES = """
Microseconds a step (zero_grad, forward with ReLU and cross-entropy, backward, optimizer), float32,
median of the rounds (quartiles). PyTorch is eager, once with its default optimizer and once with
`fused=True`. NumPy is the same step written by hand, with no framework: the floor. NumPy and
minitorch keep freed memory in the process, and all flush denormal numbers, as minitorch's training
loops do. Each contestant runs in a process of its own, rounds interleaved.
"""
CASES = [
    f"{layers}, batch {batch}, {optimizer}"
    for layers, batch in (("64-32-10", 32), ("784-128-10", 64), ("784-512-256-10", 128))
    for optimizer in ("SGD", "Adam")
]
COLUMNS = [
    ("ratio", "minitorch", "numpy"),
    ("ratio", "minitorch", "pytorch"),
    ("ratio", "minitorch", "pytorch fused"),
]
LR = 1e-3


def _problem(case: str) -> tuple[list[int], str, np.ndarray, np.ndarray]:
    """Layer widths, optimizer, a batch of inputs and of classes."""
    layers, batch, optimizer = case.split(", ")
    widths = [int(n) for n in layers.split("-")]
    rng = np.random.default_rng(0)
    n = int(batch.removeprefix("batch "))
    x = rng.standard_normal((n, widths[0]), dtype=np.float32)
    return widths, optimizer, x, rng.integers(0, widths[-1], n)


def _settings_of_training() -> None:
    from minitorch.backend.cpu import settings

    settings.keep_heap()
    settings.set_flush_denormal(True)


def numpy(case: str) -> Callable[[], Any]:
    """By hand, with preallocated moments and one flat buffer for all parameters."""
    _settings_of_training()
    widths, optimizer, x, classes = _problem(case)
    shapes = [s for n, m in pairwise(widths) for s in ((m, n), (m,))]
    sizes = [int(np.prod(s)) for s in shapes]
    ends = np.cumsum(sizes)
    rng = np.random.default_rng(1)
    flat = (rng.standard_normal(ends[-1]) * 0.05).astype(np.float32)
    grads, mean, square, spare, other = (np.zeros_like(flat) for _ in range(5))

    def views(buffer: np.ndarray) -> list[np.ndarray]:
        return [buffer[e - k : e].reshape(s) for e, k, s in zip(ends, sizes, shapes, strict=True)]

    p, g = views(flat), views(grads)
    rows = np.arange(len(x))
    last = len(widths) - 2
    count = 0

    def backward() -> None:
        inputs = [x]
        for i in range(last + 1):
            h = inputs[-1] @ p[2 * i].T
            h += p[2 * i + 1]
            if i < last:
                np.maximum(h, 0, out=h)
            inputs.append(h)
        d = inputs.pop()
        d -= d.max(1, keepdims=True)
        np.exp(d, out=d)
        d /= d.sum(1, keepdims=True)
        d[rows, classes] -= 1
        d /= len(x)
        for i in range(last, -1, -1):
            h = inputs.pop()
            np.matmul(d.T, h, out=g[2 * i])
            np.add.reduce(d, axis=0, out=g[2 * i + 1])
            if i:
                d = d @ p[2 * i]
                d *= h > 0

    def sgd() -> None:
        backward()
        np.multiply(grads, LR, out=spare)
        np.subtract(flat, spare, out=flat)

    def adam() -> None:
        nonlocal count
        backward()
        count += 1
        unbias = float(np.sqrt(1 - 0.999**count))
        np.subtract(grads, mean, out=spare)
        np.multiply(spare, 0.1, out=spare)
        np.add(mean, spare, out=mean)
        np.multiply(grads, grads, out=spare)
        np.multiply(spare, 0.001, out=spare)
        np.multiply(square, 0.999, out=square)
        np.add(square, spare, out=square)
        np.sqrt(square, out=spare)
        np.add(spare, 1e-8 * unbias, out=spare)
        np.multiply(mean, LR * unbias / (1 - 0.9**count), out=other)
        np.divide(other, spare, out=spare)
        np.subtract(flat, spare, out=flat)

    return {"SGD": sgd, "Adam": adam}[optimizer]


def framework(
    library: Any, optim: Any, case: str, device: str = "cpu", **options: Any
) -> Callable[[], Any]:
    """The same source for both libraries: PyTorch's names."""
    widths, optimizer_name, x_array, classes = _problem(case)
    nn = library.nn
    layers: list[Any] = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    loss_of = nn.CrossEntropyLoss()
    optimizer = getattr(optim, optimizer_name)(model.parameters(), lr=LR, **options)
    x, y = (library.from_numpy(array).to(device) for array in (x_array, classes))

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()

    return step


def minitorch(case: str) -> Callable[[], Any]:
    """minitorch, eager."""
    import minitorch as m

    _settings_of_training()
    return framework(m, m.optim, case)


def pytorch(case: str, **options: Any) -> Callable[[], Any]:
    """PyTorch, eager."""
    import torch

    torch.set_flush_denormal(True)
    return framework(torch, torch.optim, case, **options)


def pytorch_fused(case: str) -> Callable[[], Any]:
    """PyTorch, eager, with the fused optimizer."""
    return pytorch(case, fused=True)


CONTESTANTS = {
    "numpy": numpy,
    "minitorch": minitorch,
    "pytorch": pytorch,
    "pytorch fused": pytorch_fused,
}

if __name__ == "__main__":
    run("mlp_step")

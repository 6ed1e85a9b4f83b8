"""Training steps of a perceptron on random data, for counts of their launches and traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from minitorch import nn
from minitorch.backend import named
from minitorch.backend.cuda.graph import capture
from minitorch.backend.sim import cost
from minitorch.backend.sim.cost import Report
from minitorch.core.tensor import Tensor
from minitorch.optim import Adam
from minitorch.random import randint, randn

WIDTHS = (784, 512, 256, 10)
BATCH = 128
# PyTorch's eager step: launches and megabytes, counted in its sources.
PYTORCH = {"Adam": (28, 48.7), "fused Adam": (23, 25.1)}
FLOOR_MEGABYTES = 22.8  # the traffic that is left where products do all elementwise work


class AsWritten(nn.Module):
    """A multi-layer perceptron as many write it: x = layer(x).relu()."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n, m) for n, m in pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, (n, classes)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x).relu()
        scores: Tensor = last(x)
        return scores


def sequential(widths: tuple[int, ...] = WIDTHS, dropout: float = 0.0) -> nn.Sequential:
    """The same perceptron as nn.Sequential, which fuses a layer, its activation and dropout."""
    layers: list[nn.Module] = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


def mlp_step(model: nn.Module, device: str, batch: int = BATCH) -> Callable[[], None]:
    """A step of the perceptron with Adam, after a first step."""
    model.to(device)
    optimizer = Adam(model.parameters())
    x = randn(batch, WIDTHS[0], device=device)
    y = randint(0, WIDTHS[-1], (batch,), device=device)

    def step() -> None:
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step


def captured(step: Callable[[], object], device: str) -> Callable[[], None]:
    """A step that has run before, as one graph; its dynamic numbers stay as captured."""
    with capture(named(device).gpu, 0) as graph:
        step()
    return graph.replay


def mlp_floors(fused: bool, batch: int = BATCH) -> Iterator[tuple[str, int]]:
    """Kernel and bytes of its distinct inputs and outputs, of each launch of a step in order.

    float32, int64 classes. Of matrix products the name is "gemm"; they add the bias, and sum its
    gradient for a layer without activation.
    """
    widths = WIDTHS
    sizes = [batch * m for m in widths[1:]]
    for layer, (size, m) in enumerate(zip(sizes, widths[1:], strict=True)):
        yield "gemm", 4 * (batch * widths[layer] + widths[layer] * m + m + size)
        if layer < len(sizes) - 1 and not fused:
            yield "relu", 4 * 2 * size
    yield "cross_entropy", 4 * 2 * sizes[-1] + 8 * batch + 4
    for layer in reversed(range(len(sizes))):
        n, m, size = widths[layer], widths[layer + 1], sizes[layer]
        alone = layer == len(sizes) - 1 or not fused
        if layer < len(sizes) - 1 and not fused:
            yield "relu_backward", 4 * 3 * size
        if not alone:
            yield "activation_backward", 4 * (3 * size + m)
        yield "gemm", 4 * (size + batch * n + n * m + (m if alone else 0))
        if layer:
            yield "gemm", 4 * (size + n * m + batch * n)
    parameters = sum((n + 1) * m for n, m in pairwise(widths))
    yield "adam", 4 * 7 * parameters


def mlp_reports() -> Iterator[Report]:
    """A step of the perceptron as many write it, and of those whose layers are fused."""
    models: tuple[tuple[str, nn.Module, list[tuple[str, int]]], ...] = (
        ("as written: layer(x).relu()", AsWritten(), list(mlp_floors(False))),
        ("nn.Sequential", sequential(), list(mlp_floors(True))),
        ("nn.Sequential, dropout 0.2", sequential(dropout=0.2), []),
    )
    pytorch = [f"PyTorch eager, {k}: {n} launches, {mb} MB" for k, (n, mb) in PYTORCH.items()]
    pytorch.append(f"with all elementwise work inside the products: {FLOOR_MEGABYTES} MB")
    for title, model, floors in models:
        step = mlp_step(model, "sim")
        costs = cost.counted(step)
        kernels = len(cost.names(captured(mlp_step(model, "sim"), "sim")))
        yield Report(
            f"MLP {'-'.join(map(str, WIDTHS))}, batch {BATCH}, Adam, {title}",
            costs,
            [floor for _, floor in floors],
            [
                f"captured: 1 launch by the host, of a graph of {kernels} kernels",
                *(pytorch if floors else ()),  # counted without dropout
            ],
            step,
        )

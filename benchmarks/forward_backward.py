"""The forward pass alone against forward and backward, without an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import mlp_step
from benchmarks.harness import run
from benchmarks.steps.frameworks import minitorch, perceptron, pytorch
from benchmarks.steps.problem import case, problem

TITLE = "Forward against forward and backward"
NOTES = """
Microseconds: the forward pass of a perceptron with cross-entropy, recorded for backward, and the
same with `backward()` into gradients that were None. The backward pass has two matrix products for
one of the forward pass, but for the first layer, whose input needs no gradient. Median of the
rounds (quartiles); each contestant in a process of its own, rounds interleaved.
"""
CASES = [case(*size, "SGD").removesuffix(", SGD") for size in mlp_step.SIZES]
COLUMNS = [
    ("ratio", "minitorch both", "minitorch forward"),
    ("ratio", "pytorch both", "pytorch forward"),
    ("ratio", "minitorch forward", "pytorch forward"),
    ("ratio", "minitorch both", "pytorch both"),
]


def _make(library_of: Callable[[], Any], backward: bool, case: str) -> Callable[[], Any]:
    library = library_of()
    widths, _, images, classes = problem(f"{case}, SGD")
    model = perceptron(library, widths)
    loss_of = library.nn.CrossEntropyLoss()
    x, y = library.from_numpy(images), library.from_numpy(classes)
    parameters = list(model.parameters())

    def forward() -> Any:
        return loss_of(model(x), y)

    def both() -> None:
        for parameter in parameters:
            parameter.grad = None
        forward().backward()

    return both if backward else forward


CONTESTANTS = {
    f"{name} {'both' if backward else 'forward'}": partial(_make, library, backward)
    for name, library in (("minitorch", minitorch), ("pytorch", pytorch))
    for backward in (False, True)
}

if __name__ == "__main__":
    run("forward_backward")

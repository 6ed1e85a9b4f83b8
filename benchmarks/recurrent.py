"""Recurrent layers: the forward pass alone against forward and backward, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.harness import run
from benchmarks.steps.frameworks import minitorch, pytorch

TITLE = "Recurrent layers"
STEPS, BATCH = 50, 32
NOTES = f"""
Microseconds of one layer through time in float32: {STEPS} steps of {BATCH} sequences, as many
inputs as hidden units. Forward without a graph, and forward and backward of the sum of squares of
the outputs into gradients that were None. Median of the rounds (quartiles); each contestant in a
process of its own, rounds interleaved.
"""
CASES = [f"{kind}, width {width}" for kind in ("RNN", "GRU", "LSTM") for width in (32, 128)]
CHECKED = [case for case in CASES if case.endswith("32")]
COLUMNS = [
    ("ratio", "minitorch forward", "pytorch forward"),
    ("ratio", "minitorch both", "pytorch both"),
]


def _make(library_of: Callable[[], Any], backward: bool, case: str) -> Callable[[], Any]:
    library = library_of()
    kind, width = case.split(", width ")
    library.manual_seed(0)
    layer = getattr(library.nn, kind)(int(width), int(width))
    x = library.randn(STEPS, BATCH, int(width))
    parameters = list(layer.parameters())

    def forward() -> Any:
        with library.no_grad():
            return layer(x)

    def both() -> None:
        for parameter in parameters:
            parameter.grad = None
        y, _ = layer(x)
        (y * y).sum().backward()

    return both if backward else forward


CONTESTANTS = {
    f"{name} {'both' if backward else 'forward'}": partial(_make, library, backward)
    for name, library in (("minitorch", minitorch), ("pytorch", pytorch))
    for backward in (False, True)
}

if __name__ == "__main__":
    run("recurrent")

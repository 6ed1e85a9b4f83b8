"""How the cost of a training step grows with batch, width, depth and vocabulary, as plots."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import harness
from benchmarks.harness import LeftOut, Times
from benchmarks.steps import frameworks
from benchmarks.steps.problem import LR

TITLE = "How a training step grows"
NOTES = """
Microseconds of an eager training step with SGD. Batch, width (of both hidden layers) and depth
(hidden layers) are those of a perceptron for 128 inputs and 10 classes: batch 64, width 128, depth
2 where a sweep does not say otherwise. Vocabulary: the rows of a sparse embedding of 64 numbers
(`sparse=True`), of which a step reads and updates 256. Median of the rounds (quartiles); each
contestant in a process of its own, rounds interleaved.
"""
SWEEPS = {
    "batch": [1, 4, 16, 64, 256, 1024],
    "width": [16, 64, 128, 256, 512, 1024],
    "depth": [1, 2, 4, 8, 16, 32],
    "vocabulary": [1_000, 10_000, 100_000, 1_000_000],
}
BASE = {"batch": 64, "width": 128, "depth": 2}
INPUTS, CLASSES = 128, 10
ROWS, NUMBERS = 256, 64
ROUNDS = 7
CASES = [f"{sweep} {value}" for sweep, values in SWEEPS.items() for value in values]
CHECKED = [f"{sweep} {values[0]}" for sweep, values in SWEEPS.items()]
COLUMNS = [("ratio", "minitorch", "pytorch")]


def _perceptron(library: Any, batch: int, width: int, depth: int) -> Callable[[], Any]:
    layers = "-".join(map(str, [INPUTS, *[width] * depth, CLASSES]))
    return frameworks.framework(library, library.optim, f"{layers}, batch {batch}, SGD")


def _embedding(library: Any, vocabulary: int) -> Callable[[], Any]:
    library.manual_seed(0)
    table = library.nn.Embedding(vocabulary, NUMBERS, sparse=True)
    optimizer = library.optim.SGD(table.parameters(), lr=LR)
    words = library.randint(vocabulary, (ROWS,))

    def step() -> None:
        optimizer.zero_grad()
        table(words).sum().backward()
        optimizer.step()

    return step


def _make(library_of: Callable[[], Any], case: str) -> Callable[[], Any]:
    sweep, value = case.split()
    library = library_of()
    if sweep == "vocabulary":
        return _embedding(library, int(value))
    return _perceptron(library, **(BASE | {sweep: int(value)}))


CONTESTANTS = {
    "minitorch": partial(_make, frameworks.minitorch),
    "pytorch": partial(_make, frameworks.pytorch),
}


def plot(times: Times, path: Path) -> None:
    """Draw a panel for each sweep, both axes logarithmic."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise LeftOut("matplotlib is not installed") from None
    figure = Figure(figsize=(4 * len(SWEEPS), 3.6), layout="constrained")
    figure.suptitle(TITLE)
    for ax, (sweep, values) in zip(figure.subplots(1, len(SWEEPS)), SWEEPS.items(), strict=True):
        for name, marker in zip(CONTESTANTS, "os", strict=True):
            rows = [times.get(f"{sweep} {value}", {}).get(name) for value in values]
            points = [(v, median(row) * 1e6) for v, row in zip(values, rows, strict=True) if row]
            if points:
                ax.plot(*zip(*points, strict=True), marker=marker, label=name)
        ax.set(xlabel=sweep, ylabel="µs a step", xscale="log", yscale="log")
        ax.grid(alpha=0.3)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center")
    figure.savefig(path)


def main(given: list[str] | None = None) -> None:
    """Measure, print, save and draw."""
    args = harness.options("growth", TITLE, ROUNDS).parse_args(given)
    benchmark = sys.modules[__name__]
    if args.check:
        harness.check("benchmarks.growth")
        return
    measured = harness.measure("benchmarks.growth", args.rounds, args.threads)
    lines = [*harness.report(benchmark, measured), "", "![curves](growth.svg)"]
    harness.finish(args, "growth", benchmark, lines, {"seconds": measured.times})
    if not args.dry:
        plot(measured.times, harness.RESULTS / "growth.svg")


if __name__ == "__main__":
    main()

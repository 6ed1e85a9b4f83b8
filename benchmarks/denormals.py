"""A training run with dead units: does Adam slow down when its moments decay into denormals?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

from benchmarks import harness
from benchmarks.harness import in_own_process, installed, summary
from benchmarks.steps.frameworks import perceptron
from benchmarks.steps.problem import LR, problem

TITLE = "Denormal numbers in Adam's moments"
NOTES = """
784-32-10, batch 32, Adam: after one step all but one of the hidden units die (their bias becomes
-1000), so that their gradients are zero and the moments decay by 0.9 and 0.999 a step; the first
moments are denormal after some 800 steps and stay so. Microseconds a step by the end of the run,
over those by its beginning: the least of stretches of 20 steps. minitorch's training loops
flush. Median of the rounds (quartiles).
"""
CASE = "784-32-10, batch 32, Adam"
CONTESTANTS = {
    "minitorch, flushing": ("minitorch", True),
    "minitorch, not flushing": ("minitorch", False),
    "torch, flushing": ("torch", True),
    "torch, not flushing": ("torch", False),
}
ROUNDS, STEPS, STRETCH, STRETCHES = 3, 10_000, 20, 15
LIMIT = 1.1  # times the start: what noise may add


def run(library: str, flush: bool, steps: int) -> dict[str, float]:
    """Seconds a step near the start and near the end of a run of so many steps."""
    module = import_module(library)
    module.set_flush_denormal(flush)
    step = dying(module)
    first = least(step)
    for _ in range(steps - 2 * STRETCH * STRETCHES):
        step()
    return {"start": first, "end": least(step)}


def dying(library: Any) -> Callable[[], Any]:
    """A step of a model whose hidden units but one have just died."""
    widths, _, images, classes = problem(CASE)
    model = perceptron(library, widths)
    optimizer = library.optim.Adam(model.parameters(), lr=LR)
    x, y = library.from_numpy(images), library.from_numpy(classes)

    def step() -> None:
        optimizer.zero_grad()
        library.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    with library.no_grad():
        model[0].bias[1:] = -1000.0
    return step


def least(step: Callable[[], Any]) -> float:
    """Seconds a step: the least of the stretches."""
    found = []
    for _ in range(STRETCHES):
        begin = time.perf_counter()
        for _ in range(STRETCH):
            step()
        found.append(time.perf_counter() - begin)
    return min(found) / STRETCH


def main(given: list[str] | None = None) -> None:
    """Measure, print and save."""
    args = harness.options("denormals", TITLE, ROUNDS).parse_args(given)
    rounds, steps = (1, 1) if args.check else (args.rounds, STEPS)
    calls = {
        name: partial(
            in_own_process, "benchmarks.denormals:run", library, flush, steps, threads=args.threads
        )
        for name, (library, flush) in CONTESTANTS.items()
        if installed(library)
    }
    found = harness.in_turns(rounds, calls)
    if args.check:
        return
    lines = ["| | start, µs | end, µs | end / start |", "| --- | ---: | ---: | ---: |"]
    slower = {}
    for name, runs in found.items():
        start, end = ([run[key] * 1e6 for run in runs] for key in ("start", "end"))
        slower[name] = harness.compare("ratio", end, start)
        lines.append(f"| {name} | {summary(start)} | {summary(end)} | {summary(slower[name])} |")
    x = median(slower["minitorch, flushing"])
    told = f"{STEPS:,} steps with dead units, minitorch, flushing"
    lines += ["", harness.verdict(told, "ratio", "the end", "the start", x, LIMIT)]
    harness.finish(args, "denormals", sys.modules[__name__], lines, {"runs": found})


if __name__ == "__main__":
    main()

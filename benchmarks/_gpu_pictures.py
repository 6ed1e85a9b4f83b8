"""Pictures of the GPU benchmark: a roofline, speeds beside PyTorch, times of training steps."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks._gpu_cases import CASES
from benchmarks.harness import Times


def draw(times: Times, peaks: dict[str, float], folder: Path) -> None:
    """Draw PICTURES into a folder, with matplotlib.

    peaks: of a type's operations and of "bytes" a second, in 10^12, where they are known.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    medians = {
        case: {name: statistics.median(rounds) for name, rounds in by_name.items()}
        for case, by_name in times.items()
    }
    for name, picture in PICTURES.items():
        figure, axes = pyplot.subplots(layout="constrained")
        picture(axes, medians, peaks)
        figure.savefig(folder / name, dpi=150)
        pyplot.close(figure)


def roofline(axes: Any, medians: dict[str, dict[str, float]], peaks: dict[str, float]) -> None:
    """Operations a second against operations a byte, under what memory and units allow."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for case, row in CASES.items():
        taken = medians.get(case, {}).get("minitorch")
        if taken and row.moved and row.flops:
            point = row.flops / row.moved, row.flops / taken / 1e12
            kinds.setdefault(row.precision, []).append(point)
    for i, (kind, points) in enumerate(kinds.items()):
        axes.scatter(*zip(*points, strict=True), s=12, color=f"C{i}", label=kind)
        if {kind, "bytes"} <= peaks.keys():
            ridge = peaks[kind] / peaks["bytes"]
            xs = [0.01, ridge, max(1e4, 2 * ridge)]
            axes.plot(xs, [min(peaks[kind], x * peaks["bytes"]) for x in xs], color=f"C{i}", lw=1)
    axes.set(
        xscale="log",
        yscale="log",
        title="minitorch, and the data sheet's roofs",
        xlabel="operations / byte",
        ylabel="10¹² operations / s",
    )
    if kinds:
        axes.legend()


def speeds(axes: Any, medians: dict[str, dict[str, float]], peaks: dict[str, float]) -> None:
    """A bar for each case: how many times as fast as PyTorch minitorch is, both eager."""
    pair = {"minitorch", "PyTorch"}
    both = {case: found for case, found in medians.items() if pair <= found.keys()}
    ratios = [found["PyTorch"] / found["minitorch"] for found in both.values()]
    axes.figure.set_size_inches(8, 1.5 + 0.18 * len(both))
    axes.barh(
        list(both), [r - 1 for r in ratios], left=1, color=["C0" if r > 1 else "C3" for r in ratios]
    )
    axes.set(xscale="log", xlabel="times as fast as PyTorch, both eager")
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()


def steps(axes: Any, medians: dict[str, dict[str, float]], peaks: dict[str, float]) -> None:
    """A group of bars for each training step, one for each contestant."""
    cases = [case for case, row in CASES.items() if row.family == "step" and medians.get(case)]
    names = list(dict.fromkeys(name for case in cases for name in medians[case]))
    axes.figure.set_size_inches(8, 1.5 + 0.12 * len(cases) * (len(names) + 1))
    for i, name in enumerate(names):
        there = [(j, medians[case][name]) for j, case in enumerate(cases) if name in medians[case]]
        height = 1 / (len(names) + 1)
        axes.barh(
            [j + i * height for j, _ in there], [s * 1e6 for _, s in there], height, label=name
        )
    axes.set(xscale="log", xlabel="µs a step", title="Training steps")
    axes.set_yticks([j + 0.5 for j in range(len(cases))], cases, fontsize=7)
    axes.invert_yaxis()
    if names:
        axes.legend(fontsize=7)


PICTURES = {"roofline.png": roofline, "speeds.png": speeds, "steps.png": steps}

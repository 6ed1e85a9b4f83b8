"""Peak memory of a training step above what the process has after the import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import harness, mlp_step
from benchmarks.harness import LeftOut, in_own_process, installed, summary
from benchmarks.steps import by_hand, frameworks

TITLE = "Peak memory of a training step"
NOTES = """
MiB of resident memory at the peak of the first 20 steps, model and data included, above what the
process held after the import of the library: Linux's VmHWM, set back through /proc/self/clear_refs
before the first step, less VmRSS after the import. What the library sets up in its first steps
(thread pools, buffers of BLAS, code that is read from its files) counts. Every contestant and case
has a process of its own. Median of the rounds (quartiles).
"""
# What each imports, and how it makes the step.
CONTESTANTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "numpy": ("numpy", by_hand.step),
    "minitorch": ("minitorch", frameworks.eager),
    "minitorch compiled": ("minitorch", frameworks.compiled),
    "pytorch": ("torch", frameworks.torch_eager),
    "pytorch fused": ("torch", frameworks.torch_fused),
}
ROUNDS, STEPS = 5, 20
LIMIT = 1.0  # times PyTorch


def _status(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise LeftOut(f"/proc/self/status has no {key}")


def peak(contestant: str, case: str, steps: int) -> dict[str, Any]:
    """Bytes above the baseline, or why it cannot be told."""
    try:
        module, make = CONTESTANTS[contestant]
        import_module(module)
        before = _status("VmRSS")
        step = make(case)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        for _ in range(steps):
            step()
        return {"bytes": _status("VmHWM") - before}
    except (LeftOut, OSError) as reason:
        return {"left_out": str(reason)}


def main(given: list[str] | None = None) -> None:
    """Measure, print and save."""
    args = harness.options("memory", TITLE, ROUNDS).parse_args(given)
    cases = mlp_step.CASES[:1] if args.check else mlp_step.CASES
    rounds, steps = (1, 2) if args.check else (args.rounds, STEPS)
    found: dict[str, dict[str, list[float]]] = {}
    left_out: dict[str, str] = {}
    for case in cases:
        calls = {
            name: partial(
                in_own_process, "benchmarks.memory:peak", name, case, steps, threads=args.threads
            )
            for name, (module, _) in CONTESTANTS.items()
            if name not in left_out and installed(module)
        }
        rows = found[case] = {}
        for name, runs in harness.in_turns(rounds, calls).items():
            if "left_out" in runs[0]:
                left_out[name] = runs[0]["left_out"]
            else:
                rows[name] = [run["bytes"] / 2**20 for run in runs]
        told = ", ".join(f"{name} {median(row):.1f} MiB" for name, row in rows.items())
        print(f"{case}: {told}", flush=True)
    if not args.check:
        lines = [*tables(found), "", *verdicts(found)]
        lines += [f"- {name} was left out: {why}" for name, why in left_out.items()]
        harness.finish(args, "memory", sys.modules[__name__], lines, {"MiB": found})


def tables(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """A row for each case."""
    names = [name for name in CONTESTANTS if any(name in rows for rows in found.values())]
    lines = ["| case | " + " | ".join(f"{name}, MiB" for name in names) + " |"]
    lines.append("| --- |" + " ---: |" * len(names))
    for case, rows in found.items():
        cells = [summary(rows[name], 1) if name in rows else "" for name in names]
        lines.append(f"| `{case}` | " + " | ".join(cells) + " |")
    return lines


def verdicts(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """minitorch, eager and compiled, against PyTorch with its default optimizer."""
    return [
        harness.verdict(case, "memory", name, "pytorch", x, LIMIT)
        for case, rows in found.items()
        for name in ("minitorch", "minitorch compiled")
        if name in rows and "pytorch" in rows
        for x in [median(rows[name]) / median(rows["pytorch"])]
    ]


if __name__ == "__main__":
    main()

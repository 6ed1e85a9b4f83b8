"""`python -m benchmarks compare A B`: the times of two runs of a benchmark, side by side.

A and B are results, NAME.json, or folders with one of these.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from benchmarks.harness import Times, summary


def times_of(given: str) -> Times:
    """The times of a run; ValueError where there are none."""
    path = Path(given)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if len(files) != 1:
        raise ValueError(f"compare: {path}: expected one .json, found {len(files)}")
    results = json.loads(files[0].read_text(encoding="utf-8")).get("results", {})
    if "seconds" not in results:
        raise ValueError(f"compare: {files[0]}: it has no times by case and contestant")
    times: Times = results["seconds"]
    return times


def verdict(a: list[float], b: list[float]) -> str:
    """What changed, if the middle halves of the rounds do not overlap."""
    low, high = (
        statistics.quantiles(rounds * 2 if len(rounds) == 1 else rounds, n=4, method="inclusive")
        for rounds in (a, b)
    )
    return "faster" if high[2] < low[0] else "slower" if high[0] > low[2] else ""


def table(a: Times, b: Times) -> list[str]:
    """A row for each case and contestant that both have; then how many others there are."""
    lines = [
        "| case | contestant | A, µs | B, µs | A / B | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    pairs = {(case, name) for case, found in a.items() for name in found}
    others = pairs ^ {(case, name) for case, found in b.items() for name in found}
    for case, found in a.items():
        for name in (name for name in found if (case, name) not in others):
            x, y = found[name], b[case][name]
            ratio = statistics.median(x) / statistics.median(y)
            told = [summary([t * 1e6 for t in rounds]) for rounds in (x, y)]
            lines.append(
                f"| `{case}` | {name} | {' | '.join(told)} | {ratio:.2f} | {verdict(x, y)} |"
            )
    return [*lines, "", f"{len(others)} in one of them only."]


def main(arguments: list[str]) -> int:
    """Print the table; 2 where the arguments are wrong."""
    try:
        a, b = map(times_of, arguments)
    except (OSError, ValueError) as error:
        wrong = error if len(arguments) == 2 else __doc__
        print(wrong, file=sys.stderr)
        return 2
    print("\n".join(table(a, b)))
    return 0

"""How long `import minitorch` takes, beside `import numpy` and `import torch`."""

from __future__ import annotations

import sys
import time
from functools import partial
from importlib import import_module
from statistics import median

from benchmarks import harness
from benchmarks.harness import in_own_process, installed, summary

TITLE = "Import time"
NOTES = """
Milliseconds of the import statement in a fresh process (the start of the interpreter is not in
it), median of the rounds (quartiles). Bytecode is cached and files are in memory: each module was
imported once before. The modules take turns.
"""
MODULES = ["numpy", "minitorch", "torch"]
ROUNDS = 21
LIMIT = 1.5  # times NumPy


def seconds(module: str) -> dict[str, float]:
    """Import it."""
    begin = time.perf_counter()
    import_module(module)
    return {"seconds": time.perf_counter() - begin}


def main(given: list[str] | None = None) -> None:
    """Measure, print and save."""
    args = harness.options("import_time", TITLE, ROUNDS).parse_args(given)
    calls = {
        name: partial(in_own_process, "benchmarks.import_time:seconds", name, threads=args.threads)
        for name in MODULES
        if installed(name)
    }
    found = harness.in_turns(1, calls)  # writes the bytecode
    if args.check:
        return
    found = harness.in_turns(args.rounds, calls)
    times = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    lines = ["| import | ms | times NumPy's |", "| --- | ---: | ---: |"]
    ratios = {}
    for name, row in times.items():
        ratios[name] = harness.compare("ratio", row, times["numpy"])
        told = summary([t * 1e3 for t in row], 1)
        lines.append(f"| `{name}` | {told} | {summary(ratios[name])} |")
    x = median(ratios["minitorch"])
    lines += ["", harness.verdict("import", "ratio", "minitorch", "numpy", x, LIMIT)]
    harness.finish(args, "import_time", sys.modules[__name__], lines, {"seconds": times})


if __name__ == "__main__":
    main()

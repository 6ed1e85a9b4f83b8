"""Times contestants against each other, each in a process of its own, in interleaved rounds.

A benchmark is a module with
- TITLE and NOTES: what is measured, for the head of the table;
- CASES: names of what is timed;
- CONTESTANTS: for each contestant a function that takes a case and gives the function to time,
  or None where the contestant has no such case. Only its own process calls it;
- COLUMNS: what to tell of each case, as (what, contestant, other): see `COMPARE`.

Two thread pools in one process disturb each other, hence the processes; whatever else the machine
does hits all contestants alike, hence the rounds and comparisons within a round. A round's time
is the least of some stretches, the table gives the median of the rounds and their quartiles.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
THREADS = 2
ROUNDS = 15
STRETCHES, STRETCH_S, WARM_UP_S = 25, 0.004, 0.3
PACKAGES = ("numpy", "scipy", "torch", "gensim", "numba")

# Of the paired rounds of two contestants (seconds a call), one number a round, and its unit.
COMPARE: dict[str, tuple[Callable[[float, float], float], str]] = {
    "ratio": (lambda a, b: a / b, "{a} / {b}"),
    "difference": (lambda a, b: (a - b) * 1e6, "{a} − {b}, µs"),
}


# ---------------------------------------------------------------------- in a contestant's process
def _repeats(step: Callable[[], Any]) -> int:
    """Warm up, and find how many calls make a stretch."""
    begin = time.perf_counter()
    calls = 0
    while time.perf_counter() - begin < WARM_UP_S or calls < 3:
        step()
        calls += 1
    return max(1, round(calls * STRETCH_S / (time.perf_counter() - begin)))


def _time(step: Callable[[], Any], repeats: int) -> float:
    """Seconds a call: the least of some stretches."""
    best = float("inf")
    for _ in range(STRETCHES):
        calls = range(repeats)
        begin = time.perf_counter()
        for _ in calls:
            step()
        best = min(best, time.perf_counter() - begin)
    return best / repeats


def _serve(module: str, contestant: str) -> None:
    """Read the names of cases, one a line; answer each with seconds a call, or null."""
    make = importlib.import_module(module).CONTESTANTS[contestant]
    steps: dict[str, Any] = {}
    for line in sys.stdin:
        case = line.rstrip("\n")
        if case not in steps:
            step = make(case)
            steps[case] = step and (step, _repeats(step))
        print(json.dumps(steps[case] and _time(*steps[case])), flush=True)


# ---------------------------------------------------------------------- in the first process
class _Contestant:
    def __init__(self, module: str, name: str, threads: int) -> None:
        limits = ("OMP", "OPENBLAS", "MKL")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness", module, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {f"{x}_NUM_THREADS": str(threads) for x in limits},
        )

    def time(self, case: str) -> float | None:
        """Seconds a call."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a contestant died in case {case!r}")
        seconds: float | None = json.loads(answer)
        return seconds

    def end(self) -> None:
        """Let the process go."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def measure(module: str, rounds: int, threads: int) -> dict[str, dict[str, list[float]]]:
    """Seconds a call, by case, contestant and round."""
    benchmark = importlib.import_module(module)
    contestants = {name: _Contestant(module, name, threads) for name in benchmark.CONTESTANTS}
    found: dict[str, dict[str, list[float]]] = {}
    try:
        for case in benchmark.CASES:
            names = [n for n, c in contestants.items() if c.time(case) is not None]  # warms up
            times = found[case] = {name: [] for name in names}
            for i in range(rounds):
                for name in names[i % len(names) :] + names[: i % len(names)]:
                    times[name].append(contestants[name].time(case) or 0.0)
            told = ", ".join(f"{n} {statistics.median(t) * 1e6:.2f} µs" for n, t in times.items())
            print(f"{case}: {told}", flush=True)
    finally:
        for contestant in contestants.values():
            contestant.end()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """What the timings depend on: processor, system, versions, how busy it was; and the date."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: v for name in PACKAGES if (v := _version(name))},
    }


def _summary(values: list[float], digits: int = 2) -> str:
    """Median (quartiles)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(benchmark: Any, times: dict[str, dict[str, list[float]]]) -> list[str]:
    """Lines of a Markdown table: a row per case."""
    names = list(benchmark.CONTESTANTS)
    heads = ["case", *(f"{name}, µs" for name in names)]
    heads += [COMPARE[what][1].format(a=a, b=b) for what, a, b in benchmark.COLUMNS]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for case, by_name in times.items():
        cells = [f"`{case}`"]
        for name in names:
            cells.append(_summary([t * 1e6 for t in by_name[name]]) if name in by_name else "")
        for what, a, b in benchmark.COLUMNS:
            pairs = zip(by_name.get(a, []), by_name.get(b, []), strict=True)
            cells.append(_summary([COMPARE[what][0](x, y) for x, y in pairs]))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def save(name: str, title: str, notes: str, lines: list[str], results: Any) -> None:
    """Write results/NAME.md (title, notes, machine, the lines) and results/NAME.json."""
    about = machine()
    told = "; ".join(f"{key} {value}" for key, value in about.items())
    text = "\n".join([f"# {title}", "", notes.strip(), "", told + ".", "", *lines, ""])
    data = json.dumps({"title": title, "machine": about, "results": results}, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    for suffix, content in ((".md", text), (".json", data)):
        path = RESULTS / (name + suffix)
        temporary = path.with_suffix(suffix + ".part")
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)


def run(name: str) -> None:
    """Measure the benchmark `benchmarks.NAME`, print its table and save it."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{name}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"default: {THREADS}")
    parser.add_argument("--dry", action="store_true", help="print, but save nothing")
    parser.add_argument("--check", action="store_true", help="run each case once, time nothing")
    options = parser.parse_args()
    module = f"benchmarks.{name}"
    benchmark = importlib.import_module(module)
    if options.check:
        for make in benchmark.CONTESTANTS.values():
            for case in benchmark.CASES:
                step = make(case)
                if step is not None:
                    step()
        return
    times = measure(module, options.rounds, options.threads)
    lines = table(benchmark, times)
    print("\n".join(lines))
    if not options.dry:
        notes = f"{benchmark.NOTES.strip()} Threads: {options.threads}."
        results = {"threads": options.threads, "seconds": times}
        suffix = "" if options.threads == THREADS else f"-threads{options.threads}"
        save(name + suffix, benchmark.TITLE, notes, lines, results)


if __name__ == "__main__":
    _serve(*sys.argv[1:])

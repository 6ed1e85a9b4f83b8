"""Times contestants against each other, each in a process of its own, in interleaved rounds.

A benchmark is a module with
- TITLE and NOTES: what is measured, for the head of the table;
- CASES: names of what is timed;
- CONTESTANTS: for each contestant a function that takes a case and gives the function to time
  (`Queued`, where its calls return before their work is done), or None where the contestant has no
  such case. Only its own process calls it. One whose package is not installed, or that raises
  `LeftOut` or anything else, is left out, and the results say why;
- COLUMNS: what to tell of each case, as (what, contestant, other): see `COMPARE`;
- if it likes, TARGETS: what the times are to show, see `Target`; ROUNDS: how many if nobody says;
  CHECKED: the cases that `--check` runs.

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
import random
import statistics
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import combinations, product
from pathlib import Path
from shutil import which
from types import MappingProxyType
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
THREADS = 2
ROUNDS = 15
STRETCHES, STRETCH_S, WARM_UP_S = 25, 0.004, 0.3
ROUND_S, FEWEST_STRETCHES = 0.2, 3  # a contestant's share of a round, where a call is long
FIRST_CALLS = 3  # compile, capture
PACKAGES = ("numpy", "scipy", "mkl", "numba", "torch", "jax", "tinygrad", "autograd", "gensim")
# What OpenMP, BLAS, XLA and tinygrad read.
THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
THREAD_VARIABLES += ["NPROC", "NUM_CPU_THREADS"]
Times = dict[str, dict[str, list[float]]]  # seconds a call, by case, contestant and round

# Of the paired rounds of two contestants (seconds a call), one number a round, and its unit.
COMPARE: dict[str, tuple[Callable[[float, float], float], str]] = {
    "ratio": (lambda a, b: a / b, "{a} / {b}"),
    "speed": (lambda a, b: b / a, "{b} / {a}"),
    "difference": (lambda a, b: (a - b) * 1e6, "{a} − {b}, µs"),
}
# How a target says it, and whether the limit is the least (else the most) that is asked.
VERDICTS: dict[str, tuple[str, bool]] = {
    "ratio": ("{a} takes {x:.2f}× the time of {b}, target at most {limit:g}×", False),
    "speed": ("{a} is {x:.2f}× as fast as {b}, target at least {limit:g}×", True),
    "difference": ("{a} takes {x:.2f} µs more than {b}, target at most {limit:g} µs", False),
    "memory": ("{a} takes {x:.2f}× the memory of {b}, target at most {limit:g}×", False),
}


class LeftOut(Exception):
    """Raised by a contestant that cannot run on this machine; the text says why."""


class Queued(NamedTuple):
    """Work of which a call returns before it is done, and what waits for all of it."""

    call: Callable[[], Any]
    wait: Callable[[], Any]


class Target(NamedTuple):
    """In `case`, the median over the rounds of `what` of a and b is to be within `limit`."""

    case: str
    what: str
    a: str
    b: str
    limit: float


class Measured(NamedTuple):
    """The times, and why contestants were left out (by contestant)."""

    times: Times
    left_out: dict[str, str]


# ---------------------------------------------------------------------- in a contestant's process
def _queued(step: Callable[[], Any] | Queued) -> Queued:
    return step if isinstance(step, Queued) else Queued(step, lambda: None)


def _repeats(step: Queued) -> int:
    """Warm up, and find how many calls make a stretch."""
    for _ in range(FIRST_CALLS):
        step.call()
    step.wait()
    begin = time.perf_counter()
    calls, many = 0, 1  # more and more between two waits, which take time
    while time.perf_counter() - begin < WARM_UP_S:
        for _ in range(many):
            step.call()
        step.wait()
        calls += many
        many = min(2 * many, max(1, round(calls * STRETCH_S / (time.perf_counter() - begin))))
    return max(1, round(calls * STRETCH_S / (time.perf_counter() - begin)))


def _time(step: Queued, repeats: int) -> float:
    """Seconds a call: the least of some stretches."""
    best = float("inf")
    start = time.perf_counter()
    for stretch in range(STRETCHES):
        if stretch >= FEWEST_STRETCHES and time.perf_counter() - start > ROUND_S:
            break
        calls = range(repeats)
        begin = time.perf_counter()
        for _ in calls:
            step.call()
        step.wait()
        best = min(best, time.perf_counter() - begin)
    return best / repeats


def make_step(module: str, contestant: str, case: str) -> Callable[[], Any] | Queued | None:
    """The function to time; LeftOut also where a package is missing."""
    try:
        step: Callable[[], Any] | Queued | None
        step = importlib.import_module(module).CONTESTANTS[contestant](case)
    except ModuleNotFoundError as error:
        raise LeftOut(f"{error.name} is not installed") from None
    return step


def serve(module: str, contestant: str) -> None:
    """Read the names of cases, one a line; answer each with seconds a call.

    Or with null where there is no such case, or with a text that says why there is none.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what compilers print is no answer
    last, found = None, None
    for line in sys.stdin:
        case = line.rstrip("\n")
        if case != last:
            last, found = case, None  # frees the memory of the case before
            found = _prepared(module, contestant, case)
        answer = _time(*found) if isinstance(found, tuple) else found
        print(json.dumps(answer), file=answers, flush=True)


def _prepared(module: str, contestant: str, case: str) -> tuple[Queued, int] | str | None:
    """What to time and how often in a stretch, None for no such case, or why it cannot run."""
    try:
        step = make_step(module, contestant, case)
        return step and (_queued(step), _repeats(_queued(step)))
    except LeftOut as reason:
        return str(reason)
    except Exception as error:  # an hour of other cases is not to be lost
        traceback.print_exc()
        return f"{case}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


# ---------------------------------------------------------------------- in the first process
def environment(threads: int) -> dict[str, str]:
    """Of a contestant's process: its threads, and bytecode cached as users have it."""
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return os.environ | limits | {"PYTHONDONTWRITEBYTECODE": ""}


SERVE = "import sys; from benchmarks.harness import serve; serve(*sys.argv[1:])"


class _Contestant:
    def __init__(self, module: str, name: str, threads: int, python: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, "-c", SERVE, module, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(threads),
        )

    def time(self, case: str) -> float | str | None:
        """Seconds a call, None for no such case, or why it cannot run."""
        assert self.process.stdin
        assert self.process.stdout
        with suppress(BrokenPipeError):
            self.process.stdin.write(case + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            return f"its process has ended, in case {case!r} or before"
        told: float | str | None = json.loads(answer)
        return told

    def end(self) -> None:
        """Let the process go."""
        with suppress(BrokenPipeError):
            self.process.communicate()


def measure(
    module: str, rounds: int, threads: int, pythons: Mapping[str, str] = MappingProxyType({})
) -> Measured:
    """Time every case of every contestant of a benchmark.

    pythons: the interpreters of contestants that are not installed beside this one.
    """
    benchmark = importlib.import_module(module)
    chosen = {name: pythons.get(name, sys.executable) for name in benchmark.CONTESTANTS}
    missing = {name: f"{p} does not exist" for name, p in chosen.items() if not which(p)}
    contestants = {
        name: _Contestant(module, name, threads, python)
        for name, python in chosen.items()
        if name not in missing
    }
    found = Measured({}, missing)
    try:
        for case in benchmark.CASES:
            first = {name: c.time(case) for name, c in contestants.items()}  # warms up
            for name, told in first.items():
                if isinstance(told, str):
                    found.left_out.setdefault(name, told)
            names = [name for name, told in first.items() if isinstance(told, float)]
            times = found.times[case] = {name: [] for name in names}
            for i in range(rounds if names else 0):
                for name in names[i % len(names) :] + names[: i % len(names)]:
                    told = contestants[name].time(case)
                    if isinstance(told, float):
                        times[name].append(told)
                    else:
                        found.left_out[name] = str(told)
                        names.remove(name)
                        del times[name]
            line = ", ".join(f"{n} {statistics.median(t) * 1e6:.2f} µs" for n, t in times.items())
            print(f"{case}: {line or 'nobody is there'}", flush=True)
    finally:
        for contestant in contestants.values():
            contestant.end()
    return found


def in_own_process(
    function: str, *arguments: Any, threads: int = 1, **environs: str
) -> dict[str, Any]:
    """Call "module:function" in a new interpreter; arguments and result travel as JSON."""
    program = (
        "import sys, json, importlib\n"
        "module, name = sys.argv[1].split(':')\n"
        "function = getattr(importlib.import_module(module), name)\n"
        "print(json.dumps(function(*json.loads(sys.argv[2]))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, function, json.dumps(arguments)],
        cwd=ROOT,
        env=environment(threads) | environs,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{function}{arguments} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"load_average": os.getloadavg()[0]}


def in_turns(
    rounds: int, contestants: dict[str, Callable[[], dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """What each contestant gave in each round; another one begins every round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    names = list(contestants)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(contestants[name]())
    return found


class Record:
    """Results in a file, a line of JSON each, so that a benchmark that was killed goes on.

    Several processes may write to it at once. A line that was cut off is measured again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Any] = {}
        self._read = 0  # bytes of the file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def get(self, key: dict[str, Any]) -> Any:
        """What was added under the key, or None."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # somebody is writing it
                self._read += len(line)
                with suppress(ValueError):
                    told = json.loads(line)
                    self._found[_name(told["key"])] = told["result"]
        return self._found.get(_name(key))

    def add(self, key: dict[str, Any], result: Any) -> None:
        """Append a line."""
        line = json.dumps({"key": key, "result": result}) + "\n"
        with self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read() == b"\n" else "\n" + line
            file.write(line.encode())


def _name(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def covering(axes: dict[str, list[Any]], strength: int = 2) -> list[dict[str, Any]]:
    """Points among which any values of so many axes meet; found greedily, always the same ones.

    Values of an axis come about equally often. A strength of all axes gives their product.
    """
    strength = min(strength, len(axes))
    missing = {
        frozenset(zip(names, chosen, strict=True)): None
        for names in combinations(axes, strength)
        for chosen in product(*(axes[name] for name in names))
    }
    used: Counter[tuple[str, Any]] = Counter()
    rng = random.Random(1)  # lest the first values come with the first ones
    points = []
    while missing:
        point = next(iter(missing))
        for axis, values in axes.items():
            if axis in dict(point):
                continue
            worth = {}
            for value in values:
                others = combinations(point, strength - 1)
                new = sum(frozenset({*some, (axis, value)}) in missing for some in others)
                worth[value] = new, -used[axis, value], rng.random()
            point |= {(axis, max(values, key=worth.__getitem__))}
        points.append({axis: dict(point)[axis] for axis in axes})
        used.update(point)
        for some in combinations(point, strength):
            missing.pop(frozenset(some), None)
    return points


def installed(*packages: str) -> bool:
    """Whether all of them are there, to be imported or (MKL) as a library."""
    return all(find_spec(package) is not None or _version(package) for package in packages)


# ---------------------------------------------------------------------- what is told
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


def summary(values: list[float], digits: int = 2) -> str:
    """Median (quartiles)."""
    several = values * 2 if len(values) == 1 else values
    low, middle, high = statistics.quantiles(several, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(benchmark: Any, times: Times) -> list[str]:
    """Lines of a Markdown table: a row per case."""
    there = {name for by_name in times.values() for name in by_name}
    names = [name for name in benchmark.CONTESTANTS if name in there]
    columns = [column for column in benchmark.COLUMNS if {*column[1:]} <= there]
    heads = ["case", *(f"{name}, µs" for name in names)]
    heads += [COMPARE[what][1].format(a=a, b=b) for what, a, b in columns]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for case, by_name in times.items():
        cells = [f"`{case}`"]
        for name in names:
            cells.append(summary([t * 1e6 for t in by_name[name]]) if name in by_name else "")
        for what, a, b in columns:
            cells.append(summary(compare(what, by_name[a], by_name[b])) if a in by_name else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def compare(what: str, a: list[float], b: list[float]) -> list[float]:
    """`COMPARE[what]` of each round of two contestants."""
    return [COMPARE[what][0](x, y) for x, y in zip(a, b, strict=True)]


def verdict(told: str, what: str, a: str, b: str, x: float, limit: float) -> str:
    """One line: what was found, what was asked, and whether it is so."""
    text, at_least = VERDICTS[what]
    met = x >= limit if at_least else x <= limit
    return f"- {told}: {text.format(a=a, b=b, x=x, limit=limit)}: {'met' if met else 'MISSED'}"


def verdicts(targets: list[Target], times: Times) -> list[str]:
    """A line for each target."""
    lines = []
    for case, what, a, b, limit in targets:
        by_name = times.get(case, {})
        missing = [name for name in (a, b) if name not in by_name]
        if missing:
            lines.append(f"- {case}: {a} against {b}: not measured, without {missing[0]}")
        else:
            x = statistics.median(compare(what, by_name[a], by_name[b]))
            lines.append(verdict(case, what, a, b, x, limit))
    return lines


def save(
    name: str,
    title: str,
    notes: str,
    lines: list[str],
    results: Any,
    folder: Path | None = None,
) -> None:
    """Write NAME.md (title, notes, machine, the lines) and NAME.json (default folder: RESULTS)."""
    folder = RESULTS if folder is None else folder
    about = machine()
    told = "; ".join(f"{key} {value}" for key, value in about.items())
    text = "\n".join([f"# {title}", "", notes.strip(), "", told + ".", "", *lines, ""])
    data = json.dumps({"title": title, "machine": about, "results": results}, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in ((".md", text), (".json", data)):
        path = folder / (name + suffix)
        temporary = path.with_suffix(suffix + ".part")
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)


def options(
    name: str, about: str = "", rounds: int = ROUNDS, threads: int = THREADS
) -> argparse.ArgumentParser:
    """The arguments that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=about)
    add = parser.add_argument
    add("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    add("--threads", type=int, default=threads, help=f"of each contestant; default: {threads}")
    add("--dry", action="store_true", help="print, but save nothing")
    add("--check", action="store_true", help="run each case once, small; time nothing")
    return parser


def check(module: str) -> None:
    """Run each case of each contestant once."""
    benchmark = importlib.import_module(module)
    for name in benchmark.CONTESTANTS:
        for case in getattr(benchmark, "CHECKED", benchmark.CASES):
            try:
                step = make_step(module, name, case)
            except LeftOut as reason:
                print(f"{name} is left out: {reason}")
                break
            if step is not None:
                _queued(step).call()


def report(benchmark: Any, measured: Measured) -> list[str]:
    """Table, verdicts, and who was left out."""
    lines = table(benchmark, measured.times)
    targets = verdicts(getattr(benchmark, "TARGETS", []), measured.times)
    left_out = [f"- {name} was left out: {why}" for name, why in measured.left_out.items()]
    return [*lines, *([""] if targets or left_out else []), *targets, *left_out]


def finish(
    args: argparse.Namespace, name: str, benchmark: Any, lines: list[str], results: Any
) -> None:
    """Print the lines, and save them unless the run is dry."""
    print("\n".join(lines))
    if not args.dry:
        notes = f"{benchmark.NOTES.strip()} Threads: {args.threads}; {args.rounds} rounds."
        results = {"threads": args.threads, "rounds": args.rounds, **results}
        suffix = "" if args.threads == THREADS else f"-threads{args.threads}"
        save(name + suffix, benchmark.TITLE, notes, lines, results)


def run(name: str) -> None:
    """Measure the benchmark `benchmarks.NAME`, print its table and save it."""
    module = f"benchmarks.{name}"
    benchmark = importlib.import_module(module)
    args = options(name, benchmark.TITLE, getattr(benchmark, "ROUNDS", ROUNDS)).parse_args()
    if args.check:
        check(module)
        return
    measured = measure(module, args.rounds, args.threads)
    if not any(measured.times.values()):
        print(*[f"{name} was left out: {why}" for name, why in measured.left_out.items()], sep="\n")
        return
    lines = report(benchmark, measured)
    finish(args, name, benchmark, lines, {"seconds": measured.times})

"""What the host does for an op on a GPU and for a replay, in bytecodes of Python: exact counts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import harness
from minitorch import compile, nn, randint, randn
from minitorch.backend import sim
from minitorch.devtools.steps import BATCH, WIDTHS, mlp_step, sequential
from minitorch.nn import functional
from minitorch.optim import SGD, Adam

TITLE = "Bytecodes of a launch and of a replay"
NOTES = """
Bytecodes of Python that the host runs for a call on a GPU; the same in every run of one version of
Python. The device is "sim", whose code stands for CuPy's and for the driver's, which are compiled:
it is left out, and so are the launches. A replay: a compiled step of the perceptron
784-512-256-10, batch 128, whose loss is returned.
"""
LIMITS = {"x + y": 150, "replay, SGD": 400, "replay, Adam": 400}
SHOWN = 8  # functions of each case
_STOOD_IN = str(Path(sim.__file__).parent)


def counted(work: Callable[[], object]) -> Counter[str]:
    """The bytecodes that `work` runs, by function; without those of the simulated GPU."""
    counts: Counter[str] = Counter()
    inside = False  # the simulated GPU, or what it calls

    def leave(frame: Any, event: str, arg: Any) -> Any:
        nonlocal inside
        if event == "return":
            inside = False
        return leave

    def enter(frame: Any, event: str, arg: Any) -> Any:
        nonlocal inside
        code = frame.f_code
        if inside or code is uncounted:
            return None
        frame.f_trace_lines = False
        if code.co_filename.startswith(_STOOD_IN):
            inside = True
            return leave
        frame.f_trace_opcodes = True
        name = f"{Path(code.co_filename).stem}.{code.co_name}"

        def count(frame: Any, event: str, arg: Any) -> Any:
            counts[name] += event == "opcode"
            return count

        return count

    uncounted = work.__code__ if hasattr(work, "__code__") else None
    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return counts


def eager() -> Callable[[], object]:
    """An untracked sum of two matrices."""
    x, y = (randn(64, 64, device="sim") for _ in range(2))
    return lambda: x + y


def tracked() -> Callable[[], object]:
    """A sum that the tape records."""
    x, y = nn.Parameter(randn(64, 64, device="sim")), randn(64, 64, device="sim")
    return lambda: x + y


def step() -> Callable[[], object]:
    """The eager step of the perceptron with Adam."""
    return mlp_step(sequential(), "sim")


def replay(optimizer_of: Callable[..., Any]) -> Callable[[], object]:
    """A replay of the perceptron's step."""
    model = sequential().to("sim")
    optimizer = optimizer_of(model.parameters())
    x = randn(BATCH, WIDTHS[0], device="sim")
    y = randint(0, WIDTHS[-1], (BATCH,), device="sim")

    def step(x: Any, y: Any) -> Any:
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    compiled = compile(step, fullgraph=True)
    return lambda: compiled(x, y)


CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "x + y": eager,
    "x + y, tracked": tracked,
    "eager step, Adam": step,
    "replay, SGD": lambda: replay(lambda parameters: SGD(parameters, lr=0.1)),
    "replay, Adam": lambda: replay(Adam),
}


def count_all(cases: Iterable[str] = tuple(CASES)) -> dict[str, Counter[str]]:
    """The counts of each case, once its first calls are over."""
    found = {}
    for case in cases:
        work = CASES[case]()
        for _ in range(harness.FIRST_CALLS + 2):
            work()
        found[case] = counted(work)
    return found


def main(given: list[str] | None = None) -> None:
    """Count, print and save."""
    args = harness.options("bytecodes", TITLE, 1).parse_args(given)
    found = count_all()
    lines = ["| case | bytecodes | most of them |", "| --- | ---: | --- |"]
    for case, counts in found.items():
        most = ", ".join(f"{name} {n}" for name, n in counts.most_common(SHOWN))
        lines.append(f"| `{case}` | {counts.total():,} | {most} |")
    lines.append("")
    for case, limit in LIMITS.items():
        n = found[case].total()
        verdict = "met" if n <= limit else "missed"
        lines.append(f"- {case}: {n:,} bytecodes, target at most {limit}: {verdict}")
    if args.check:
        print(*lines, sep="\n")
        return
    harness.finish(args, "bytecodes", sys.modules[__name__], lines, {"bytecodes": found})


if __name__ == "__main__":
    main()

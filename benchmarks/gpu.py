"""minitorch on an NVIDIA GPU beside PyTorch, JAX and gensim: kernels, layers, training steps.

`--device sim` counts what a GPU would be asked to do in small cases, and times nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import islice, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import minitorch
from benchmarks import _gpu_pictures, harness
from benchmarks._gpu_cases import CASES as TABLE
from benchmarks._gpu_cases import DEVICE, SMALL
from benchmarks.harness import ROOT, LeftOut, Queued, Times
from minitorch import backend
from minitorch.text import Corpus, Word2Vec

NOTES = """
Microseconds a call, median of the rounds (quartiles). Each contestant is a process of its own,
rounds interleaved; calls are queued and waited for together, a stretch of some milliseconds at a
time, and a round's time is the least of some stretches. "of the copy" is the share of what
`y.copy_(x)` moves a second in the same precision; "of the peak" the share of the operations that
NVIDIA's data sheet states for the type, without sparsity. PyTorch is eager, with fused
optimizers, through `torch.compile(mode="reduce-overhead")`, and as a graph recorded by
`torch.cuda.graph`; JAX is jitted. "minitorch compiled" is `minitorch.compile`, one CUDA graph.
"""
ROUNDS = 7
WORD2VEC = "word2vec, an epoch of Python's own texts"
SENTENCES = 50 if SMALL else 20_000
CASES = [*TABLE, WORD2VEC]
# Dense operations and bytes a second by NVIDIA's data sheets, in 10^12.
_HOPPER = {"float32": 67, "TF32": 494, "float16": 989, "bfloat16": 989}
PEAKS: dict[str, dict[str, float]] = {
    "NVIDIA H200": _HOPPER | {"bytes": 4.8},
    "NVIDIA H100 80GB HBM3": _HOPPER | {"bytes": 3.35},
    "NVIDIA A100-SXM4-80GB": {
        "float32": 19.5,
        "TF32": 156,
        "float16": 312,
        "bfloat16": 312,
        "bytes": 2.04,
    },
    "NVIDIA GeForce RTX 4090": {
        "float32": 82.6,
        "TF32": 82.6,
        "float16": 165,
        "bfloat16": 165,
        "bytes": 1.01,
    },
}


# ---------------------------------------------------------------------- contestants
def _ours(wrap: Any, case: str) -> Queued | None:
    """minitorch; with `wrap` its training steps only."""
    serving, number = backend.resolve(DEVICE)
    wait = partial(serving.synchronize, number)
    if case == WORD2VEC:
        return None if wrap else Queued(_word2vec(Word2Vec, device=DEVICE, progress=False), wait)
    row = TABLE[case]
    if wrap and row.family != "step":
        return None
    row.set_precision(minitorch)
    return Queued(row.make(minitorch, DEVICE, **({"wrap": wrap} if wrap else {})), wait)


def _word2vec(model: Any, **options: Any) -> Callable[[], Any]:
    sentences = list(islice(Corpus("stdlib"), SENTENCES))
    return partial(model, sentences, sg=1, alpha=0.05, workers=1, epochs=1, **options)


def _ours_on_the_cpu(case: str) -> Callable[[], Any] | None:
    return _word2vec(Word2Vec, progress=False) if case == WORD2VEC else None


def _gensim(case: str) -> Callable[[], Any] | None:
    if case != WORD2VEC:
        return None
    from gensim.models import Word2Vec as Theirs

    return _word2vec(Theirs)


def _torch_graph(torch: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """The step as a CUDA graph; it has to have run in another stream before."""

    def recording(*args: Any) -> Any:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(*args)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(*args)
        return graph

    graphs: list[Any] = []

    def replaying(*args: Any) -> None:
        if not graphs:
            graphs.append(recording(*args))
        graphs[0].replay()

    return replaying


# Of PyTorch's contestants: the families that they take part in, the optimizer's options, and what
# makes another function of a step.
TORCH: dict[str, tuple[tuple[str, ...] | None, dict[str, Any], Any]] = {
    "PyTorch": (None, {}, None),
    "PyTorch fused": (("optimizer", "step"), {"fused": True}, None),
    "torch.compile": (
        ("step",),
        {"capturable": True},
        lambda torch, step: torch.compile(step, mode="reduce-overhead"),
    ),
    "PyTorch graph": (("step",), {"capturable": True, "fused": True}, _torch_graph),
}


def _torch(name: str, case: str) -> Queued | None:
    families, options, wrap = TORCH[name]
    if case == WORD2VEC or not (families is None or TABLE[case].family in families):
        return None
    import torch

    row = TABLE[case]
    if not SMALL and not torch.cuda.is_available():
        raise LeftOut(f"PyTorch {torch.__version__} finds no GPU that it can use")
    if SMALL and "capturable" in options:
        raise LeftOut("it needs a GPU")
    row.set_precision(torch)
    if wrap is not None:
        torch.compiler.reset()  # it stops compiling a function that came in too many shapes
        options = options | {"wrap": partial(wrap, torch)}
    wait = (lambda: None) if SMALL else torch.cuda.synchronize
    return Queued(row.make(torch, "cpu" if SMALL else DEVICE, **options), wait)


def _jax(case: str) -> Queued | None:
    if case == WORD2VEC or TABLE[case].jax is None:
        return None
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others use the GPU, too
    import jax

    if not SMALL and jax.default_backend() != "gpu":
        raise LeftOut(f"JAX {jax.__version__} finds no GPU that it can use")
    row, last = TABLE[case], []
    exact = {"TF32": "tensorfloat32"}.get(row.precision, "highest")
    jax.config.update("jax_default_matmul_precision", exact)
    call = row.jax()  # type: ignore[misc]

    def queue() -> None:
        last[:] = [call()]

    return Queued(queue, lambda: jax.block_until_ready(last))


CONTESTANTS: dict[str, Callable[[str], Any]] = {
    "minitorch": partial(_ours, None),
    "minitorch compiled": partial(_ours, minitorch.compile),
    "minitorch, cpu": _ours_on_the_cpu,
    **{name: partial(_torch, name) for name in TORCH},
    "jax.jit": _jax,
    "gensim": _gensim,
}
OTHERS = [name for name in CONTESTANTS if not name.startswith("minitorch")]
COLUMNS = [("speed", "minitorch", other) for other in ("PyTorch", "jax.jit", "gensim")]
COLUMNS += [("speed", "minitorch compiled", other) for other in (*TORCH, "jax.jit")]


# ---------------------------------------------------------------------- what is told
RATES = ["GB/s", "of the copy", "TFLOP/s", "of the peak"]


def rates(times: Times, case: str, peaks: dict[str, float]) -> list[str]:
    """Cells of RATES for minitorch: bytes a second, or operations where there are more of them."""
    row, rounds = TABLE.get(case), times[case].get("minitorch")
    if row is None or rounds is None or not (row.moved or row.flops):
        return [""] * len(RATES)
    taken = statistics.median(rounds)
    if row.flops > row.moved:
        rate, best = row.flops / taken / 1e12, peaks.get(row.precision)
        return ["", "", f"{rate:,.1f}", f"{rate / best:.2f}" if best else ""]
    copy = f"y.copy_(x), {row.precision}"
    copies = times.get(copy, {}).get("minitorch")
    rate = row.moved / taken
    share = rate * statistics.median(copies) / TABLE[copy].moved if copies else None
    return [f"{rate / 1e9:,.0f}", "" if share is None else f"{share:.2f}", "", ""]


def table(times: Times, cases: list[str], peaks: dict[str, float]) -> list[str]:
    """Lines of some cases, with those columns of RATES that say something."""
    shown = SimpleNamespace(CONTESTANTS=CONTESTANTS, COLUMNS=COLUMNS)
    lines = harness.table(shown, {case: times[case] for case in cases})
    told = [rates(times, case, peaks) for case in cases]
    used = [i for i in range(len(RATES)) if any(cells[i] for cells in told)]
    return [
        " | ".join([line.removesuffix(" |"), *(cells[i] for i in used)]) + " |"
        for line, cells in zip(lines, [RATES, ["---:"] * len(RATES), *told], strict=True)
    ]


def tables(times: Times, peaks: dict[str, float]) -> list[str]:
    """A table for each family of cases that somebody was timed in."""
    families: dict[str, list[str]] = {}
    for case in times:
        if times[case]:
            family = TABLE[case].family if case in TABLE else "word2vec"
            families.setdefault(family, []).append(case)
    lines = []
    for family, cases in families.items():
        lines += [f"## {family}", "", *table(times, cases, peaks), ""]
    return lines


def new_folder(given: Path | None, gpu: str) -> Path:
    """The folder of the results, made; FileExistsError rather than write among other files."""
    if given is None:
        slug = re.sub(r"\W+", "-", gpu.lower()).strip("-")
        given = ROOT / "runs" / f"{slug}-{datetime.now():%Y-%m-%d-%H%M%S}"
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        raise FileExistsError(f"--out: {given} is there already and not an empty folder")
    given.mkdir(parents=True, exist_ok=True)
    return given


def measure(rounds: int, out: Path | None, python: Path | None) -> None:
    """Time all cases; write tables, pictures and numbers to a new folder.

    python: the other libraries' interpreter, if it is not this one.
    """
    name = minitorch.cuda.get_device_name(DEVICE)
    out = new_folder(out, name)
    pythons = {} if python is None else dict.fromkeys(OTHERS, str(python))
    found = harness.measure("benchmarks.gpu", rounds, harness.THREADS, pythons)
    peaks = PEAKS.get(name, {})
    lines = tables(found.times, peaks)
    lines += [f"- {who} was left out: {why}" for who, why in found.left_out.items()]
    drawn = harness.installed("matplotlib")
    lines += ["", *(f"![]({name})" for name in _gpu_pictures.PICTURES if drawn)]
    print("\n".join(lines))
    notes = f"{NOTES.strip()}\n\nGPU: {name}; {rounds} rounds."
    results = {"gpu": name, "rounds": rounds, "seconds": found.times}
    results |= {"left_out": found.left_out}
    harness.save("gpu", f"minitorch on an {name}", notes, lines, results, out)
    if drawn:
        _gpu_pictures.draw(found.times, peaks, out)
    print(f"results in {out}")


# ---------------------------------------------------------------------- counts
def counts() -> list[str]:
    """Run each case of minitorch on the simulated GPU; a table of what that was asked to do."""
    from minitorch.backend.sim import cost

    kinds = {"launches": cost.LAUNCHES, "waits": ("sync",), "host copies": ("copy H2D", "copy D2H")}
    heads = ["case", *kinds, "bytes moved", "bytes needed"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for case, name in product(CASES, ("minitorch", "minitorch compiled")):
        work = CONTESTANTS[name](case)
        if work is None:
            continue
        for _ in range(harness.FIRST_CALLS):
            work.call()
        costs = cost.counted(work.call)
        cells = [f"{len(cost.of_kind(costs, *wanted)):,}" for wanted in kinds.values()]
        needed = TABLE[case].moved if case in TABLE else 0
        compiled = name.removeprefix("minitorch")  # its graph counts no bytes
        cells += ["" if compiled else f"{sum(c.moved for c in costs):,}"]
        cells += [f"{needed:,}" if needed else ""]
        lines.append(f"| `{case}`{compiled} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Measure on `--device cuda`, or count on `--device sim`."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    add = parser.add_argument
    which = "default: cuda if there is one; CUDA_VISIBLE_DEVICES chooses among several"
    add("--device", choices=("cuda", "sim"), help=which)
    add("--out", type=Path, help="new folder (default: in runs/, named after GPU and time)")
    add("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    add("--contestants", type=Path, help="the interpreter that has PyTorch, JAX and gensim")
    args = parser.parse_args()
    missing = backend.why_unavailable("cuda")
    if args.device is None and missing is not None:
        print(f"nothing to measure: {missing}")
        return 0
    device = args.device or "cuda"
    if device != DEVICE:  # which the cases are made for, here and in all processes
        os.environ["BENCHMARK_DEVICE"] = device
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:]])
    try:
        backend.named(device)
        if device == "sim":
            print("\n".join(counts()))
        else:
            measure(args.rounds, args.out, args.contestants)
    except (RuntimeError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The CUDA kernels on a GPU: their bandwidth beside a plain copy, and both training jobs.

`--device sim` runs every case once at a tiny size, to see that this script works; it times nothing.
"""

from __future__ import annotations

import argparse
import importlib
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import minitorch
from benchmarks import mlp_step
from benchmarks.harness import ROOT, save
from minitorch import backend, nn, optim
from minitorch.nn import functional as F
from minitorch.text import Corpus, Word2Vec

Step = Callable[[], object]
NOTES = """
Bandwidth: bytes that a kernel has to read and write, over its time between two CUDA events; the
median of {rounds} rounds of {calls} calls, and beside it the share of what the device's own copy
(cudaMemcpy, device to device) of 256 MB reached in the same run. Training steps: {steps} steps
between two synchronisations, median of {rounds} rounds. Each contestant is eager, but for
"compiled", which is the same step through `minitorch.compile`: one CUDA graph.
"""
ROUNDS, CALLS, STEPS = 15, 10, 200
WARM = 0.5  # seconds of steps before the first that counts
LARGE, TINY = 1 << 26, 1 << 10  # elements
MODULES = {"cuda": "cupy", "sim": "minitorch.backend.sim"}


# ---------------------------------------------------------------------- single kernels
@dataclass(frozen=True)
class Kernel:
    """A case: `make(n)` gives what to run on some n elements, and the bytes it has to move."""

    name: str
    make: Callable[[int], tuple[Step, int]]


def _elementwise(function: Callable[..., Any], inputs: int, dtype: Any = None) -> Any:
    def make(n: int) -> tuple[Step, int]:
        given = [minitorch.rand(n, dtype=dtype) for _ in range(inputs)]
        return partial(function, *given), (inputs + 1) * given[0].nbytes

    return make


def _rows(function: Callable[..., Any], passes: int, result: bool) -> Any:
    """On a matrix of 1024 columns; the result is as large as it, or counts for nothing."""

    def make(n: int) -> tuple[Step, int]:
        x = minitorch.randn(max(1, n // 1024), 1024)
        return partial(function, x), (passes + result) * x.nbytes

    return make


def _cross_entropy(n: int) -> tuple[Step, int]:
    """Loss and gradient in one pass: the logits are read, their gradient is written."""
    x = minitorch.randn(max(1, n // 1024), 1024, requires_grad=True)
    y = minitorch.randint(1024, (len(x),))
    return lambda: F.cross_entropy(x, y), 2 * x.nbytes


def _adam(n: int) -> tuple[Step, int]:
    """Parameter, gradient and both moments are read; all but the gradient are written."""
    p = nn.Parameter(minitorch.randn(n))
    p.grad = minitorch.randn(n)
    optimizer = optim.Adam([p], lr=1e-3)
    return optimizer.step, 7 * p.nbytes


KERNELS = [
    Kernel("x + y", _elementwise(lambda x, y: x + y, 2)),
    Kernel("x + y, float16", _elementwise(lambda x, y: x + y, 2, minitorch.float16)),
    Kernel("x.exp()", _elementwise(lambda x: x.exp(), 1)),
    Kernel("x.sigmoid()", _elementwise(lambda x: x.sigmoid(), 1)),
    Kernel("x + row", _rows(lambda x: x + x[0], 1, True)),
    Kernel("x.T.contiguous()", _rows(lambda x: x.T.contiguous(), 1, True)),
    Kernel("x.sum()", _rows(lambda x: x.sum(), 1, False)),
    Kernel("x.sum(1)", _rows(lambda x: x.sum(1), 1, False)),
    Kernel("x.sum(0)", _rows(lambda x: x.sum(0), 1, False)),
    Kernel("x.max(1)", _rows(lambda x: x.max(1), 1, False)),
    Kernel("x.softmax(1)", _rows(lambda x: x.softmax(1), 1, True)),
    Kernel("cross_entropy(x, y)", _cross_entropy),
    Kernel("Adam.step()", _adam),
]


class Events:
    """Times work on the GPU with CUDA events.

    xp: CuPy, or the simulator's look-alike.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def seconds(self, step: Step) -> float:
        """Median of the rounds, per call."""
        step()  # compiles
        found = []
        for _ in range(ROUNDS):
            begin, end = self.xp.cuda.Event(), self.xp.cuda.Event()
            begin.record()
            for _ in range(CALLS):
                step()
            end.record()
            end.synchronize()
            found.append(self.xp.cuda.get_elapsed_time(begin, end) / 1000 / CALLS)
        return statistics.median(found)


def _copy(n: int) -> tuple[Step, int]:
    """The device's own copy: what bandwidth can be had."""
    x, y = minitorch.rand(n).array, minitorch.empty(n).array
    return lambda: y.data.copy_from_device_async(x.data, x.nbytes), 2 * x.nbytes


def bandwidths(events: Events) -> dict[str, float]:
    """Bytes a second, by case; that of the device's copy first."""
    found = {}
    for kernel in [Kernel("device copy", _copy), *KERNELS]:
        step, moved = kernel.make(LARGE)
        found[kernel.name] = moved / events.seconds(step)
        print(f"{kernel.name}: {found[kernel.name] / 1e9:,.0f} GB/s", flush=True)
    return found


# ---------------------------------------------------------------------- training
def _torch_on_cuda() -> Any:
    """PyTorch, if it is here and sees the GPU."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def _wait(library: Any, device: str) -> None:
    if library is not minitorch:
        library.cuda.synchronize()
    elif device != "cpu":
        serving, index = backend.resolve(device)
        serving.synchronize(index)


def _seconds_a_step(step: Step, wait: Step) -> float:
    ready = time.perf_counter() + WARM
    while time.perf_counter() < ready:  # modules are loaded, clocks rise
        step()
    found = []
    for _ in range(ROUNDS):
        wait()
        begin = time.perf_counter()
        for _ in range(STEPS):
            step()
        wait()
        found.append((time.perf_counter() - begin) / STEPS)
    return statistics.median(found)


def mlp_steps(device: str) -> dict[str, dict[str, float]]:
    """Seconds a training step, by case and contestant."""
    torch = _torch_on_cuda()
    compiled: dict[str, Any] = {"wrap": minitorch.compile}
    contestants: list[tuple[str, Any, str, dict[str, Any]]]
    contestants = [(f"minitorch, {device}", minitorch, device, {})]
    contestants += [(f"minitorch compiled, {device}", minitorch, device, compiled)]
    contestants += [("minitorch, cpu", minitorch, "cpu", {})]
    if torch is not None:
        contestants += [("PyTorch, cuda", torch, device, {})]
        contestants += [("PyTorch, cuda, fused", torch, device, {"fused": True})]
    found: dict[str, dict[str, float]] = {}
    for case in mlp_step.CASES:
        times = found[case] = {}
        for name, library, place, options in contestants:
            step = mlp_step.framework(library, library.optim, case, place, **options)
            times[name] = _seconds_a_step(step, partial(_wait, library, place))
        told = ", ".join(f"{name} {seconds * 1e6:,.0f} µs" for name, seconds in times.items())
        print(f"{case}: {told}", flush=True)
    return found


def word2vec_rates(device: str) -> dict[str, float]:
    """Words a second of `Word2Vec` on Python's own texts, one epoch, by device."""
    sentences = list(Corpus("stdlib"))
    found = {}
    for place in (device, "cpu"):
        options = {"sg": 1, "alpha": 0.05, "workers": 1, "epochs": 1, "progress": False}
        Word2Vec(sentences[:2000], device=place, **options)  # compiles
        model = Word2Vec(sentences, device=place, **options)
        found[place] = model.corpus_total_words / model.total_train_time
        print(f"word2vec, {place}: {found[place]:,.0f} words/s", flush=True)
    return found


# ---------------------------------------------------------------------- the whole
def check(device: str) -> None:
    """Run every case once, small; print no time."""
    with minitorch.device(device):
        for kernel in KERNELS:
            step, moved = kernel.make(TINY)
            step()
            _wait(minitorch, device)
            print(f"{kernel.name}: ran, {moved:,} bytes")
    for case in mlp_step.CASES[:2]:
        for wrap in (None, minitorch.compile):
            step = mlp_step.framework(minitorch, optim, case, device, wrap)
            for _ in range(4):  # as it is, recorded, replayed
                step()
        print(f"{case}: ran")
    sentences = [["one", "two", "three", "four"]] * 40
    options = {"vector_size": 8, "min_count": 1, "sample": 0, "epochs": 1, "sg": 1}
    model = Word2Vec(sentences, device=device, **options)
    print(f"word2vec: ran, {model.corpus_total_words} words")


def _device_name(xp: Any, number: int) -> str:
    name = xp.cuda.runtime.getDeviceProperties(number)["name"]
    return str(name.decode() if isinstance(name, bytes) else name)


def new_folder(given: Path | None, gpu: str) -> Path:
    """The folder of the results, made; FileExistsError rather than write among other files."""
    if given is None:
        slug = re.sub(r"\W+", "-", gpu.lower()).strip("-")
        given = ROOT / "runs" / f"{slug}-{datetime.now():%Y-%m-%d-%H%M%S}"
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        raise FileExistsError(f"--out: {given} is there already and not an empty folder")
    given.mkdir(parents=True, exist_ok=True)
    return given


def _tables(
    bandwidth: dict[str, float],
    steps: dict[str, dict[str, float]],
    words: dict[str, float],
) -> list[str]:
    copy = bandwidth["device copy"]
    lines = ["| kernel, 2^26 elements | GB/s | of the device's copy |", "| --- | ---: | ---: |"]
    lines += [f"| `{k}` | {v / 1e9:,.0f} | {v / copy:.2f} |" for k, v in bandwidth.items()]
    names = list(next(iter(steps.values())))
    lines += ["", "| training step | " + " | ".join(f"{name}, µs" for name in names) + " |"]
    lines += ["| --- |" + " ---: |" * len(names)]
    for case, times in steps.items():
        cells = [f"{times[name] * 1e6:,.0f}" for name in names]
        lines.append(f"| `{case}` | " + " | ".join(cells) + " |")
    lines += ["", "| word2vec on | words/s |", "| --- | ---: |"]
    return lines + [f"| {place} | {rate:,.0f} |" for place, rate in words.items()]


def main() -> int:
    """Measure on `--device cuda[:N]`, or check the cases on `--device sim`."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", help="cuda, cuda:1, ... or sim (default: cuda if there is one)")
    parser.add_argument("--out", type=Path, help="new folder (default: runs/, GPU and time)")
    args = parser.parse_args()
    device = args.device
    missing = backend.why_unavailable("cuda")
    if device is None and missing is not None:
        print(f"nothing to measure: {missing}")
        return 0
    chosen = minitorch.device(device or "cuda")
    if chosen.type not in MODULES:
        parser.error(f"--device: expected cuda or sim, got {device}")
    try:
        _, number = backend.resolve(chosen)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.type == "sim":
        check(str(chosen))
        return 0
    xp = importlib.import_module(MODULES[chosen.type])
    name = _device_name(xp, number)
    out = new_folder(args.out, name)
    with minitorch.device(chosen):
        bandwidth = bandwidths(Events(xp))
    steps, words = mlp_steps(str(chosen)), word2vec_rates(str(chosen))
    lines = _tables(bandwidth, steps, words)
    print("\n".join(lines))
    runtime = xp.cuda.runtime
    notes = NOTES.format(rounds=ROUNDS, calls=CALLS, steps=STEPS).strip()
    notes += (
        f"\n\nGPU: {name}; driver for CUDA {runtime.driverGetVersion()}; CuPy {xp.__version__}."
    )
    results = {
        "gpu": name,
        "bytes_per_second": bandwidth,
        "seconds_per_step": steps,
        "words_per_second": words,
    }
    save("gpu", f"{name}: kernels and training", notes, lines, results, out)
    print(f"results in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

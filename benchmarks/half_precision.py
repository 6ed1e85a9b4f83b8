"""Fashion-MNIST in float32, and under autocast in bfloat16 and float16: accuracy and time."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from functools import partial
from statistics import mean, median
from typing import Any

import minitorch
from benchmarks.fashion_epoch import BATCH, HIDDEN, LR, _layers
from benchmarks.harness import in_own_process, in_turns, save, summary

TITLE = "Half precision"
NOTES = f"""
784-{"-".join(map(str, HIDDEN))}-10 with ReLU, Adam with lr {LR}, batch {BATCH}, {{epochs}} epochs
of Fashion-MNIST on the CPU. The forward pass of a half runs under `minitorch.autocast`; float16 has
a `GradScaler`. Weights, their gradients and the optimizer's states are in float32. Accuracy on the
test images after all epochs. On a CPU halves save no time: each product widens its factors to
float32. They are to show that the accuracy is the same.
"""
DTYPES = ("float32", "bfloat16", "float16")
WITHIN = 0.005  # of the means over seeds: what is taken for equal


def run(dtype: str, seed: int, epochs: int, tiny: bool) -> dict[str, Any]:
    """Accuracy on the test images, and the seconds of each epoch."""
    from time import perf_counter

    from minitorch.data import DataLoader, TensorDataset, digits, fashion_mnist
    from minitorch.nn import functional as F

    minitorch.set_flush_denormal(True)
    minitorch.manual_seed(seed)
    source = digits if tiny else fashion_mnist
    train, test = (source(train=t).tensors for t in (True, False))
    model = _layers(minitorch.nn, train[0][0].numel())
    optimizer = minitorch.optim.Adam(model.parameters(), lr=LR)
    scaler = minitorch.amp.GradScaler("cpu", enabled=dtype == "float16")
    half = getattr(minitorch, dtype)
    mode = nullcontext if dtype == "float32" else partial(minitorch.autocast, "cpu", half)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        with mode():
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    seconds = []
    for _ in range(epochs):
        begin = perf_counter()
        for x, y in DataLoader(TensorDataset(*train), BATCH, shuffle=True):
            step(x, y)
        seconds.append(perf_counter() - begin)
    with minitorch.no_grad(), mode():
        right = (model(test[0]).argmax(1) == test[1]).float().mean().item()
    return {"accuracy": right, "seconds": seconds}


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A row for each dtype, and whether a half is as good as float32."""
    lines = ["| | accuracy by seed | mean | s an epoch |", "| --- | --- | ---: | ---: |"]
    means = {name: mean(r["accuracy"] for r in of) for name, of in runs.items()}
    for name, of in runs.items():
        each = ", ".join(f"{r['accuracy']:.4f}" for r in of)
        seconds = summary([median(r["seconds"]) for r in of])
        lines.append(f"| {name} | {each} | {means[name]:.4f} | {seconds} |")
    lines.append("")
    for name in DTYPES[1:]:
        met = "met" if means[name] >= means["float32"] - WITHIN else "MISSED"
        lines.append(f"- {name}: target within {WITHIN} of float32 or better: {met}")
    return lines


def main() -> None:
    """Train once for each dtype and seed, in turns and in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="one epoch of digits, saves nothing")
    args = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in DTYPES}
    for seed in args.seeds[:1] if args.check else args.seeds:
        options = seed, 1 if args.check else args.epochs, args.check
        calls = {
            name: partial(
                in_own_process,
                *("benchmarks.half_precision:run", name, *options),
                threads=args.threads,
            )
            for name in DTYPES
        }
        for name, (found,) in in_turns(1, calls).items():
            runs[name].append(found)
            print(f"seed {seed}: {name}: {found['accuracy']:.4f}", flush=True)
    lines = table(runs)
    print("\n".join(lines))
    if not args.check:
        notes = NOTES.format(epochs=args.epochs)
        save("half_precision", TITLE, notes, lines, {"config": vars(args), "runs": runs})


if __name__ == "__main__":
    main()

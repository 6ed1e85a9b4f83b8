"""An epoch of Fashion-MNIST: minitorch's training loop beside PyTorch with its DataLoader."""

from __future__ import annotations

import sys
import time
from functools import partial
from itertools import pairwise
from statistics import mean, median
from typing import Any, NamedTuple

from benchmarks import harness
from benchmarks.harness import in_own_process, installed, summary

TITLE = "A Fashion-MNIST epoch"
NOTES = """
784-256-128-100-10 with ReLU, Adam with lr 1e-3, batch 128, shuffled, the images as float32 tensors
in memory. minitorch runs `minitorch.train.fit` as users get it: it also sums loss and accuracy,
and its epoch is timed without the pass over the validation images; once with NumPy's OpenBLAS and
once with MKL (MINITORCH_BLAS=mkl). PyTorch runs its usual loop and does nothing else in it, with a
DataLoader of a TensorDataset with 0 and with 2 workers, which the target is about; and of images
as torchvision keeps them, bytes of which each becomes a tensor as by `ToTensor()` when it is read.
Seconds an epoch: the second and later ones of each process. Accuracy on the test images after all
epochs. The contestants take turns, each in a process of its own, with another seed every round.
"""
HIDDEN, BATCH, LR, EPOCHS = (256, 128, 100), 128, 1e-3, 5
ROUNDS = 3


class Contestant(NamedTuple):
    """A library; what multiplies minitorch's matrices; how PyTorch gets its images."""

    library: str
    blas: str = "numpy"
    workers: int = 0
    as_bytes: bool = False


CONTESTANTS = {
    "minitorch": Contestant("minitorch"),
    "minitorch, MKL": Contestant("minitorch", blas="mkl"),
    "pytorch, 0 workers": Contestant("torch"),
    "pytorch, 2 workers": Contestant("torch", workers=2),
    "pytorch, uint8 images and ToTensor, 0 workers": Contestant("torch", as_bytes=True),
    "pytorch, uint8 images and ToTensor, 2 workers": Contestant("torch", workers=2, as_bytes=True),
}
LIMIT = 2.0  # times PyTorch's speed
ACCURACY = 0.01  # of the means over seeds: what is taken for equal


def run(
    library: str, workers: int, as_bytes: bool, seed: int, tiny: bool, threads: int
) -> dict[str, Any]:
    """Seconds of each epoch, and the accuracy on the test images."""
    from minitorch.data import digits, fashion_mnist

    source = digits if tiny else fashion_mnist
    parts = [source(train=train).tensors for train in (True, False)]
    if library == "minitorch":
        return _minitorch(parts, seed)
    return _pytorch(parts, seed, workers, as_bytes, threads)


def _layers(nn: Any, inputs: int) -> Any:
    layers = [nn.Flatten()]
    for n, m in pairwise([inputs, *HIDDEN, 10]):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _minitorch(parts: list[Any], seed: int) -> dict[str, Any]:
    import minitorch
    from minitorch.data import DataLoader, TensorDataset
    from minitorch.train import fit

    minitorch.manual_seed(seed)
    train, test = (TensorDataset(*part) for part in parts)
    model = _layers(minitorch.nn, train[0][0].numel())
    optimizer = minitorch.optim.Adam(model.parameters(), lr=LR)
    loaders = DataLoader(train, BATCH, shuffle=True), DataLoader(test, 1000)
    history = fit(model, optimizer, *loaders, epochs=EPOCHS, progress=False)
    seconds = [row["seconds"] for row in history]
    return {"seconds": seconds, "accuracy": history[-1]["val_accuracy"]}


class Images:
    """Images as bytes and labels, as `torchvision.datasets.FashionMNIST` with `ToTensor()`."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images = (images * 255).round().byte()
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index].float().div(255), int(self.labels[index])

    def __len__(self) -> int:
        return len(self.labels)


def _pytorch(
    parts: list[Any], seed: int, workers: int, as_bytes: bool, threads: int
) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    train, test = (tuple(torch.from_numpy(t.numpy()) for t in part) for part in parts)
    model = _layers(torch.nn, train[0][0].numel())
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    dataset = Images(*train) if as_bytes else TensorDataset(*train)
    loader = DataLoader(dataset, BATCH, shuffle=True, **options)
    seconds = []
    for _ in range(EPOCHS):
        begin = time.perf_counter()
        for x, y in loader:
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - begin)
    with torch.no_grad():
        right = (model(test[0]).argmax(1) == test[1]).float().mean().item()
    return {"seconds": seconds, "accuracy": right}


def main(given: list[str] | None = None) -> None:
    """Measure, print and save."""
    args = harness.options("fashion_epoch", TITLE, ROUNDS).parse_args(given)
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(1 if args.check else args.rounds):
        options = (seed, args.check, args.threads)
        calls = {
            name: partial(
                in_own_process,
                "benchmarks.fashion_epoch:run",
                *(who.library, who.workers, who.as_bytes, *options),
                threads=args.threads,
                MINITORCH_BLAS=who.blas,
            )
            for name, who in CONTESTANTS.items()
            if installed(who.library, who.blas)
        }
        for name, (found,) in harness.in_turns(1, calls).items():
            runs.setdefault(name, []).append(found)
            print(f"seed {seed}: {name}: {found['seconds']} s, {found['accuracy']:.4f}", flush=True)
    if not args.check:
        lines = [*table(runs), "", *verdicts(runs)]
        harness.finish(args, "fashion_epoch", sys.modules[__name__], lines, {"runs": runs})


def _seconds(runs: list[dict[str, Any]]) -> list[float]:
    return [median(run["seconds"][1:]) for run in runs]


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A row for each contestant."""
    lines = ["| | s an epoch | times minitorch's | accuracy |", "| --- |" + " ---: |" * 3]
    ours = _seconds(runs["minitorch"])
    for name, of in runs.items():
        ratio = summary(harness.compare("ratio", _seconds(of), ours))
        accuracy = mean(run["accuracy"] for run in of)
        lines.append(f"| {name} | {summary(_seconds(of))} | {ratio} | {accuracy:.4f} |")
    return lines


def verdicts(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Speed beside the best of PyTorch's loaders, and accuracy beside its."""
    others = [name for name in runs if not name.startswith("minitorch")]
    if not others:
        return []
    best = min(others, key=lambda name: median(_seconds(runs[name])))
    lines = []
    for name in [name for name in runs if name not in others]:
        ours, theirs = runs[name], runs[best]
        x = median(harness.compare("speed", _seconds(ours), _seconds(theirs)))
        a, b = (mean(run["accuracy"] for run in of) for of in (ours, theirs))
        same = "met" if a >= b - ACCURACY else "MISSED"
        lines += [
            harness.verdict("epoch", "speed", name, best, x, LIMIT),
            f"- accuracy: {a:.4f} beside {b:.4f}, target within {ACCURACY} or better: {same}",
        ]
    return lines


if __name__ == "__main__":
    main()

"""How far four paths of every day lead through the package: calls, files, and switches of files.

python -m tests.calls

Counted are calls of Python functions of minitorch, with `sys.setprofile`, when nothing is done for
the first time; files that they are in; how often a call goes from one file to another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import minitorch
from minitorch import nn
from minitorch.nn import functional as F
from minitorch.text import Word2Vec

PACKAGE = str(Path(minitorch.__file__).parent)


class Counts(NamedTuple):
    """What a path touches."""

    calls: int
    files: int
    switches: int


def count(path: Callable[[], object]) -> Counts:
    """Run the path once and count."""
    seen: list[str] = []

    def profile(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            seen.append(frame.f_code.co_filename)

    sys.setprofile(profile)
    try:
        path()
    finally:
        sys.setprofile(None)
    switches = sum(a != b for a, b in pairwise(seen))
    return Counts(len(seen), len(set(seen)), switches)


def product() -> Callable[[], object]:
    """A tracked product on the CPU."""
    x, y = (minitorch.ones(3, requires_grad=True, device="cpu") for _ in range(2))
    return lambda: x * y


def backward() -> Callable[[], object]:
    """A product, its sum and their backward pass, the gradients cleared before."""
    x, y = (minitorch.ones(3, requires_grad=True, device="cpu") for _ in range(2))

    def path() -> None:
        (x * y).sum().backward()

    path()
    x.grad = y.grad = None
    return path


def loss() -> Callable[[], object]:
    """The forward pass of a small classifier."""
    with minitorch.device("cpu"):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        x, y = minitorch.ones(5, 4), minitorch.zeros(5, dtype=minitorch.int64)
    return lambda: F.cross_entropy(model(x), y)


def words() -> Callable[[], object]:
    """An epoch of word vectors on a small corpus."""
    sentences = [["a", "b", "c", "d", "e"] * 4] * 10
    options = {"vector_size": 4, "min_count": 1, "workers": 1, "epochs": 1, "sg": 1}
    model = Word2Vec(**options, device="cpu", progress=False)
    model.build_vocab(sentences)
    return lambda: model.train(sentences, total_examples=10, epochs=1)


PATHS = {
    "x * y": product,
    "(x * y).sum().backward()": backward,
    "F.cross_entropy(model(x), y)": loss,
    "Word2Vec.train": words,
}


def measure() -> dict[str, Counts]:
    """The counts of each path, which ran once before."""
    found = {}
    for name, make in PATHS.items():
        make()()
        found[name] = count(make())
    return found


if __name__ == "__main__":
    print(f"{'path':32}{'calls':>8}{'files':>8}{'switches':>10}")
    for name, counts in measure().items():
        print(f"{name:32}{counts.calls:8}{counts.files:8}{counts.switches:10}")

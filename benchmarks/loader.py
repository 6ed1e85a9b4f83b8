"""The loader of mini-batches alone, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import run

TITLE = "An epoch of the DataLoader"
NOTES = """
Microseconds of a pass over a TensorDataset of 60,000 float32 images of 28×28 with their labels, as
many as Fashion-MNIST has, in batches of 128, nothing done with them. "copy" is what memory takes:
NumPy copies (or gathers) the same rows into new arrays. Median of the rounds (quartiles); each
contestant in a process of its own, rounds interleaved.
"""
CASES = ["in order", "shuffled"]
COLUMNS = [
    ("ratio", "minitorch", "copy"),
    ("speed", "minitorch", "pytorch"),
    ("ratio", "minitorch, 1 thread", "minitorch"),
]
IMAGES, BATCH = 60_000, 128
ROUNDS = 5


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((IMAGES, 28, 28), dtype=np.float32), rng.integers(0, 10, IMAGES)


def _pass(loader: Any) -> Callable[[], Any]:
    def step() -> None:
        for _ in loader:
            pass

    return step


def copy(case: str) -> Callable[[], Any]:
    """By NumPy, with an order drawn anew."""
    arrays = _data()
    rng = np.random.default_rng(1)
    starts = range(0, IMAGES, BATCH)

    def step() -> None:
        order = rng.permutation(IMAGES) if case == "shuffled" else None
        for start in starts:
            part = slice(start, start + BATCH)
            for array in arrays:
                array[part].copy() if order is None else np.take(array, order[part], axis=0)

    return step


def minitorch(case: str, threads: int = 0) -> Callable[[], Any]:
    """Ours; without a shuffle its batches are views."""
    from minitorch import from_numpy
    from minitorch.data import DataLoader, TensorDataset

    dataset = TensorDataset(*(from_numpy(array) for array in _data()))
    return _pass(DataLoader(dataset, BATCH, case == "shuffled", num_workers=threads))


def pytorch(case: str, workers: int = 0) -> Callable[[], Any]:
    """PyTorch's."""
    from torch import from_numpy
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(*(from_numpy(array) for array in _data()))
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    return _pass(DataLoader(dataset, BATCH, case == "shuffled", **options))


CONTESTANTS = {
    "copy": copy,
    "minitorch": minitorch,
    "minitorch, 1 thread": partial(minitorch, threads=1),
    "pytorch": pytorch,
    "pytorch, 2 workers": partial(pytorch, workers=2),
}

if __name__ == "__main__":
    run("loader")

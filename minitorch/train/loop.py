"""The loop: epochs over a loader, validation, the best weights kept, a checkpoint after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minitorch import nn
from minitorch.backend.cpu.settings import flush_denormal, keep_heap
from minitorch.compile import compile
from minitorch.creation import zeros
from minitorch.data import DataLoader
from minitorch.nn import functional as F
from minitorch.optim import Optimizer
from minitorch.optim.lr_scheduler import LRScheduler
from minitorch.random import get_rng_state, set_rng_state
from minitorch.serialization import load, save
from minitorch.tensor import Tensor, no_grad

Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor], Any]
Row = dict[str, float]

READ_EVERY = 50  # steps between two readings of the loss from the device


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train: DataLoader,
    validation: DataLoader,
    *,
    epochs: int,
    scheduler: LRScheduler | None = None,
    loss_fn: Loss = F.cross_entropy,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    metadata: dict[str, Any] | None = None,
    compiled: bool = True,
) -> list[Row]:
    """Train a classifier; leave in it the weights with the best validation accuracy.

    Batches are (inputs, labels); `scheduler` is stepped after every batch. With a `folder`, each
    epoch writes `last.safetensors` there and each improvement `best.safetensors`; `resume` goes on
    from the former, bit for bit as if the run had never stopped. The entries of
    `metadata` are kept in both. `compiled`: record the step and replay it (`minitorch.compile`),
    with equal results; a model that cannot be recorded is run as it is, and a warning says why.

    Returns a row for each epoch: `epoch`, `loss`, `accuracy` (both of the training passes),
    `val_loss`, `val_accuracy`, `lr`, `seconds`, `images_per_second`.
    Raises ValueError for an empty loader, FloatingPointError when the loss is not finite,
    IndexError (of the loss) for a label out of range, FileNotFoundError for nothing to resume.
    """
    for name, loader in (("training", train), ("validation", validation)):
        _require_batches(loader, name)
    if resume and folder is None:
        raise ValueError("fit: resume=True needs the folder of the checkpoint")
    keep_heap()
    run = _Run(model, optimizer, scheduler, train, metadata or {})
    meter = _Meter()
    step = _step(run, loss_fn, meter)
    if compiled:
        step = compile(step)
    last = None if folder is None else Path(folder) / "last.safetensors"
    if resume and last is not None:
        run.load(last)
    elif last is not None:
        run.save(last)
    with flush_denormal():
        try:
            for epoch in range(len(run.history) + 1, epochs + 1):
                row = _epoch(run, epoch, epochs, step, meter, progress)
                row |= dict(zip(("val_loss", "val_accuracy"), evaluate(model, validation, loss_fn)))
                improved = run.add(row)
                if progress:
                    print(_line(row, epochs), flush=True)
                if last is not None:
                    if improved:
                        run.save_best(last.with_name("best.safetensors"))
                    run.save(last)
        except KeyboardInterrupt:
            done = len(run.history)
            where = "nothing was saved" if last is None else f"{last} holds the run up to there"
            raise KeyboardInterrupt(
                f"stopped after {done} of {epochs} epochs; {where}"
                + ("" if last is None else ", and resume=True goes on from it")
            ) from None
    model.load_state_dict(run.best)
    return run.history


def evaluate(
    model: nn.Module, loader: DataLoader, loss_fn: Loss = F.cross_entropy
) -> tuple[float, float]:
    """Return the mean loss and the accuracy of `model` in eval mode on all batches of `loader`.

    Raises ValueError for an empty loader.
    """
    _require_batches(loader, "evaluation")
    was_training = model.training
    model.eval()
    meter = _Meter()
    with no_grad():
        for x, y in loader:
            logits = model(x)
            meter.add(loss_fn(logits, y), logits, y)
            meter.count += y.size(0)
    model.train(was_training)
    return meter.read()


class _Meter:
    """Sums of loss and right answers, kept on the device until they are read."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | None = None

    def reset(self) -> None:
        self.count = 0
        if self.sums is not None:
            self.sums.zero_()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch to the sums; who calls this counts its samples."""
        if self.sums is None:
            self.sums = zeros(2, dtype=loss.dtype, device=loss.device)
        self.sums[0].add_(loss, alpha=labels.size(0))
        self.sums[1].add_((logits.argmax(1) == labels).sum())

    def read(self) -> tuple[float, float]:
        """Return mean loss and accuracy so far; this waits for the device."""
        assert self.sums is not None
        loss, right = self.sums.tolist()
        return loss / self.count, right / self.count


class _Run:
    """Everything that a run is made of and that a checkpoint must hold."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        train: DataLoader,
        metadata: dict[str, Any],
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.train = model, optimizer, scheduler, train
        self.metadata = metadata
        self.history: list[Row] = []
        self.best = _copy(model.state_dict())

    def add(self, row: Row) -> bool:
        """Record an epoch; return whether its validation accuracy is the best so far."""
        improved = all(row["val_accuracy"] > old["val_accuracy"] for old in self.history)
        self.history.append(row)
        if improved:
            self.best = _copy(self.model.state_dict())
        return improved

    def save_best(self, path: Path) -> None:
        save({"model": self.best, "epoch": self.history[-1], **self.metadata}, path)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "random": get_rng_state(),
            "shuffle": None if self.train.generator is None else self.train.generator.get_state(),
            "history": self.history,
        }
        save({**state, **self.metadata}, path)

    def load(self, path: Path) -> None:
        state = load(path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        set_rng_state(state["random"])
        if self.train.generator is not None:
            self.train.generator.set_state(state["shuffle"])
        self.best, self.history = state["best"], state["history"]


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _require_batches(loader: DataLoader, name: str) -> None:
    if len(loader) == 0:
        raise ValueError(
            f"the {name} loader has no batch: {len(loader.dataset)} samples, "
            f"batch_size={loader.batch_size}, drop_last={loader.drop_last}"
        )


def _step(run: _Run, loss_fn: Loss, meter: _Meter) -> Step:
    """A training step on one batch."""
    model, optimizer, scheduler = run.model, run.optimizer, run.scheduler

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        logits = model(x)
        loss = loss_fn(logits, y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        meter.add(loss.detach(), logits.detach(), y)

    return step


def _epoch(run: _Run, epoch: int, epochs: int, step: Step, meter: _Meter, progress: bool) -> Row:
    run.model.train()
    meter.reset()
    shown = 0
    start, lr = time.perf_counter(), float(run.optimizer.param_groups[0]["lr"])
    bar = tqdm(
        total=len(run.train.dataset),
        desc=f"epoch {epoch}/{epochs}",
        unit="img",
        leave=False,
        disable=None if progress else True,
    )
    with bar:
        for number, (x, y) in enumerate(run.train, 1):
            step(x, y)
            meter.count += y.size(0)
            if number % READ_EVERY == 0 or number == len(run.train):
                mean, accuracy = meter.read()
                if not math.isfinite(mean):
                    raise FloatingPointError(
                        f"the training loss is {mean} in epoch {epoch}, by step {number}: "
                        f"try a smaller learning rate (lr={lr:g})"
                    )
                bar.set_postfix(loss=f"{mean:.4f}", accuracy=f"{accuracy:.4f}", refresh=False)
                bar.update(meter.count - shown)
                shown = meter.count
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch,
        "loss": mean,
        "accuracy": accuracy,
        "lr": lr,
        "seconds": seconds,
        "images_per_second": meter.count / seconds,
    }


def _line(row: Row, epochs: int) -> str:
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  "
        f"loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"validation loss {row['val_loss']:.4f}  accuracy {row['val_accuracy']:.4f}  "
        f"{row['images_per_second']:,.0f} images/s"
    )

"""The loop: epochs over a loader, validation, the best weights kept, a checkpoint after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minitorch import nn
from minitorch.backend.cpu.settings import flush_denormal, keep_heap
from minitorch.compiler import compile
from minitorch.core.dtypes import bool_, int64
from minitorch.core.grad_mode import no_grad
from minitorch.core.pytree import tree_map
from minitorch.core.tensor import Tensor
from minitorch.creation import zeros
from minitorch.data import DataLoader
from minitorch.files import recover, run_of
from minitorch.nn import functional as F
from minitorch.optim import Optimizer
from minitorch.optim.lr_scheduler import LRScheduler
from minitorch.random import get_rng_state, set_rng_state
from minitorch.serialization import load, save

__all__ = ["evaluate", "fit"]

Loss = Callable[[Any, Tensor], Tensor]
Metrics = Mapping[str, Callable[[Any, Tensor], Any]]
Step = Callable[[Tensor, Tensor], Any]
Row = dict[str, float]

# Columns of the rows whose better values need no saying.
MODES = {"loss": "min", "val_loss": "min", "accuracy": "max", "val_accuracy": "max"}
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
    metrics: Metrics | None = None,
    monitor: str | None = None,
    mode: str | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    save_every: int | None = None,
    progress: bool = True,
    metadata: dict[str, Any] | None = None,
    compiled: bool = True,
) -> list[Row]:
    """Train a model; leave in it the weights of its best epoch.

    Batches are (inputs, targets); the model's outputs, which `loss_fn` and metrics get, may be a
    tuple or dict as well. `scheduler` is stepped after every batch. `metrics` names
    functions of (outputs, targets) that give a batch's mean, or a value for each sample, as
    tensors; by default it is {"accuracy": the share of targets that the largest output names} for
    classification (outputs (N, C, *), integer targets (N, *)), and nothing else. The best epoch has
    the smallest or largest `monitor`, a name in the rows below, by `mode`, "min" or "max". By
    default that is the largest "val_accuracy" for classification, else the smallest "val_loss"; of
    other names the `mode` has to be said.

    With a `folder`, each epoch writes `last.safetensors` there and each improvement
    `best.safetensors`; `resume` goes on from the former, bit for bit as if the run had never
    stopped, also to more `epochs` than before; with `save_every` it is written after so many steps
    as well. A run that is there already is replaced with
    `overwrite` only. The entries of `metadata` are kept in both files. `compiled`: record the step
    and replay it (`minitorch.compile`), with equal results; a model that cannot be recorded is run
    as it is, and a warning says why.

    Returns a row for each epoch: `epoch`, `loss` and each metric (of the training passes),
    `val_loss` and each metric as `val_...`, `lr`, `seconds`, `images_per_second`.
    Raises ValueError for an empty loader and a `monitor` that is not in the rows,
    FloatingPointError when the loss is not finite, which names inputs and targets that are not,
    IndexError (of the loss) for a label out of range, FileNotFoundError for nothing to resume,
    FileExistsError for a run that would be overwritten.
    """
    if save_every is not None and save_every < 1:
        raise ValueError(f"fit: save_every: expected 1 or more, got {save_every}")
    if mode not in (None, "min", "max"):
        raise ValueError(f"fit: mode: expected 'min' or 'max', got {mode!r}")
    if monitor is not None and mode is None and monitor not in MODES:
        raise ValueError(f"fit: mode: expected 'min' or 'max' for monitor={monitor!r}, got None")
    for name, loader in (("training", train), ("validation", validation)):
        _require_batches(loader, name)
    if resume and folder is None:
        raise ValueError("fit: resume=True needs the folder of the checkpoint")
    keep_heap()
    run = _Run(model, optimizer, scheduler, train, metadata or {}, monitor, mode)
    meter = _Meter(metrics)
    step = _step(run, loss_fn, meter)
    if compiled:
        step = compile(step)
    last = None if folder is None else Path(folder) / "last.safetensors"
    new = None if resume or last is None else partial(run.save, last, keep=False)
    with flush_denormal(), nullcontext() if last is None else run_of(last, new, overwrite):
        if resume and last is not None:
            run.load(last)
        try:
            for epoch in range(len(run.history) + 1, epochs + 1):
                row = _epoch(run, epoch, epochs, step, meter, progress, last, save_every)
                found = evaluate(model, validation, loss_fn, metrics)
                row |= {f"val_{name}": value for name, value in zip(meter.names, found)}
                if not math.isfinite(row["val_loss"]) and (cause := _not_finite(validation)):
                    raise FloatingPointError(
                        f"the validation loss is {row['val_loss']} in epoch {epoch}: {cause}"
                    )
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
    model: nn.Module,
    loader: DataLoader,
    loss_fn: Loss = F.cross_entropy,
    metrics: Metrics | None = None,
) -> tuple[float, ...]:
    """Return the mean loss and the metrics of `model` in eval mode on all batches of `loader`.

    metrics: as in `fit`, so that this is (loss, accuracy) for classification, (loss,) otherwise.
    Raises ValueError for an empty loader.
    """
    _require_batches(loader, "evaluation")
    was_training = model.training
    model.eval()
    meter = _Meter(metrics)
    with no_grad():
        for x, y in loader:
            output = model(x)
            meter.add(loss_fn(output, y), output, y)
            meter.count += y.size(0)
    model.train(was_training)
    return meter.read()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _is_right(output: Tensor, target: Tensor) -> Tensor:
    """Where the largest output names the target: (N, C, *), integers (N, *) -> bools (N, *)."""
    return output.argmax(1) == target


def _default_metrics(output: Any, target: Tensor) -> Metrics:
    """Accuracy where the outputs are scores of classes and the targets numbers of classes."""
    if not isinstance(output, Tensor):
        return {}
    shape = output.shape
    scored = len(shape) > 1 and shape[1] > 1 and (*shape[:1], *shape[2:]) == tuple(target.shape)
    numbered = not target.is_floating_point() and target.dtype is not bool_
    return {"accuracy": _is_right} if scored and numbered else {}


class _Meter:
    """Sums of loss and metrics, on the device until they are read."""

    def __init__(self, metrics: Metrics | None) -> None:
        self.metrics = metrics
        self.count = 0
        self.sums: Tensor | None = None

    @property
    def names(self) -> list[str]:
        """The names of the numbers that `read` returns."""
        return ["loss", *(self.metrics or ())]

    def reset(self) -> None:
        self.count = 0
        if self.sums is not None:
            self.sums.zero_()

    def add(self, loss: Tensor, output: Any, target: Tensor) -> None:
        """Add a batch to the sums; who calls this counts its samples."""
        if self.metrics is None:
            self.metrics = _default_metrics(output, target)
        if self.sums is None:
            self.sums = zeros(1 + len(self.metrics), dtype=loss.dtype, device=loss.device)
        samples = target.size(0)
        self.sums[0].add_(loss.reshape(()), alpha=samples)
        for i, metric in enumerate(self.metrics.values(), 1):
            value = metric(output, target)
            if isinstance(value, Tensor):
                of_each = samples / max(value.numel(), 1)
                value = value.sum() if of_each == 1 else value.sum() * of_each
            else:
                value *= samples
            self.sums[i].add_(value)

    def read(self) -> tuple[float, ...]:
        """Return mean loss and metrics so far; this waits for the device."""
        assert self.sums is not None
        return tuple(total / self.count for total in self.sums.tolist())


class _Run:
    """The state of a run, all of which a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        train: DataLoader,
        metadata: dict[str, Any],
        monitor: str | None,
        mode: str | None,
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.train = model, optimizer, scheduler, train
        self.metadata = metadata
        self.monitor, self.mode = monitor, mode
        self.within: dict[str, Any] | None = None  # how far an epoch is that goes on
        self.lr = 0.0  # at the beginning of the epoch
        self.history: list[Row] = []
        self.best = _copy(model.state_dict())

    def add(self, row: Row) -> bool:
        """Record an epoch; return whether it is the best so far."""
        self._monitored(row)
        improved = not self.history or all(self._is_better(row, old) for old in self.history)
        self.history.append(row)
        if improved:
            self.best = _copy(self.model.state_dict())
        return improved

    def _monitored(self, row: Row) -> str:
        name = self.monitor or ("val_accuracy" if "val_accuracy" in row else "val_loss")
        if name not in row:
            raise ValueError(f"fit: monitor: expected one of {', '.join(row)}, got {name!r}")
        return name

    def _is_better(self, row: Row, old: Row) -> bool:
        """Whether a row has the better value to monitor; anything is better than NaN."""
        name = self._monitored(row)
        sign = 1 if (self.mode or MODES[name]) == "max" else -1
        new, before = sign * row[name], sign * old.get(name, math.nan)
        return new > before or (math.isnan(before) and not math.isnan(new))

    def save_best(self, path: Path) -> None:
        save({"model": self.best, "epoch": self.history[-1], **self.metadata}, path)

    def batches(self, meter: _Meter) -> tuple[Iterator[Any], int]:
        """The rest of an epoch's batches, and how many are done."""
        within, self.within = self.within, None
        self.lr = float(self.optimizer.param_groups[0]["lr"])
        self.begun = self._random()
        meter.reset()
        batches = iter(self.train)
        if within is None:
            return batches, 0
        for _ in range(within["step"]):  # for the same order they are made once more
            next(batches)
        set_rng_state(within["random"])
        meter.sums, meter.count, self.lr = within["sums"], within["count"], within["lr"]
        return batches, within["step"]

    def _random(self) -> dict[str, Any]:
        shuffle = self.train.generator
        return {
            "random": get_rng_state(),
            "shuffle": None if shuffle is None else shuffle.get_state(),
        }

    def save_within(self, path: Path, step: int, meter: _Meter) -> None:
        """Write the checkpoint after so many steps of an epoch."""
        done = {"step": step, "sums": meter.sums, "count": meter.count, "lr": self.lr}
        self.save(path, within={**self.begun, "within": {**done, "random": get_rng_state()}})

    def save(self, path: Path, keep: bool = True, within: dict[str, Any] | None = None) -> None:
        """Write the checkpoint; the previous one stays beside it."""
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "history": self.history,
            **(within or self._random()),
        }
        save({**state, **self.metadata}, path, keep=keep)

    def load(self, path: Path) -> None:
        """Go on from the checkpoint, or from the one before if it is damaged.

        Raises ValueError for a file that holds something else.
        """
        recover(path, load)
        state = load(path)
        try:
            self._restore(state)
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is no checkpoint of this run: {error!r}") from error

    def _restore(self, state: dict[str, Any]) -> None:
        for name in ("best", "model"):
            self.model.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        set_rng_state(state["random"])
        if self.train.generator is not None:
            self.train.generator.set_state(state["shuffle"])
        self.best, self.history = state["best"], [dict(row) for row in state["history"]]
        within = state.get("within")
        if within is not None:
            names = ("step", "sums", "count", "lr", "random")
            self.within = {name: within[name] for name in names}
            if not 0 < within["step"] <= len(self.train):
                raise ValueError(f"step {within['step']} of an epoch of {len(self.train)}")


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
        output = model(x)
        loss = loss_fn(output, y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        meter.add(loss.detach(), tree_map(_detached, output), y)

    return step


def _epoch(
    run: _Run,
    epoch: int,
    epochs: int,
    step: Step,
    meter: _Meter,
    progress: bool,
    last: Path | None,
    save_every: int | None,
) -> Row:
    run.model.train()
    batches, done = run.batches(meter)
    shown, before = 0, meter.count
    start = time.perf_counter()
    bar = tqdm(
        total=len(run.train.dataset),
        desc=f"epoch {epoch}/{epochs}",
        unit="img",
        leave=False,
        disable=None if progress else True,
    )
    with bar:
        for number, (x, y) in enumerate(batches, done + 1):
            step(x, y)
            meter.count += y.size(0)
            if number % READ_EVERY == 0 or number == len(run.train):
                means = dict(zip(meter.names, meter.read()))
                if not math.isfinite(means["loss"]):
                    cause = _not_finite(run.train)
                    raise FloatingPointError(
                        f"the training loss is {means['loss']} in epoch {epoch}, by step {number}: "
                        + (cause or f"try a smaller learning rate (lr={run.lr:g})")
                    )
                bar.set_postfix({k: f"{v:.4f}" for k, v in means.items()}, refresh=False)
                bar.update(meter.count - shown)
                shown = meter.count
            if last is not None and save_every and number % save_every == 0:
                run.save_within(last, number, meter)
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch,
        **means,
        "lr": run.lr,
        "seconds": seconds,
        "images_per_second": (meter.count - before) / seconds,
    }


def _not_finite(loader: DataLoader) -> str | None:
    """Which inputs, else targets, of a loader are NaN or infinite; None where all are finite."""
    for part, name in enumerate(("input", "target")):
        samples, features = 0, zeros(0, dtype=int64, device="cpu")
        for batch in loader:
            x = batch[part]
            if not x.is_floating_point():
                break
            wrong = (~x.detach().isfinite()).reshape(x.size(0), -1).cpu()
            samples += int(wrong.any(1).sum().item())
            found = wrong.sum(0)
            if found.size(0) > features.size(0):
                found, features = features, found
            features[: found.size(0)].add_(found)
        if samples:
            columns = features.nonzero().flatten().tolist()
            where = ", ".join(map(str, columns[:5])) + (", ..." if len(columns) > 5 else "")
            return (
                f"the {name} is NaN or infinite in feature {where} (counted from 0) of "
                f"{samples} sample{'s' * (samples > 1)}"
            )
    return None


def _line(row: Row, epochs: int) -> str:
    measured = [key for key in row if f"val_{key}" in row]
    shown = [
        " ".join(f"{key} {row[prefix + key]:.4f} " for key in measured).rstrip()
        for prefix in ("", "val_")
    ]
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  {shown[0]}  validation {shown[1]}  "
        f"{row['images_per_second']:,.0f} images/s"
    )

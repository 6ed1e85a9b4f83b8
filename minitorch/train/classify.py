"""The job of classifying images with a multi-layer perceptron, from files to test accuracy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from minitorch import nn, optim
from minitorch.data import SOURCES, DataLoader, TensorDataset, random_split
from minitorch.files import recover, replacing
from minitorch.random import Generator, manual_seed
from minitorch.serialization import load
from minitorch.train.loop import Row, evaluate, fit

__all__ = ["ClassifierConfig", "ClassifierResult", "mlp", "train_classifier"]


@dataclass(frozen=True)
class ClassifierConfig:
    """The configuration of `train_classifier`; equal configurations give equal results.

    To the last bit only on one machine with one number of BLAS threads, see `manual_seed`.
    """

    data: str = "fashion-mnist"
    hidden: tuple[int, ...] = (256, 128, 100)
    epochs: int = 20
    batch_size: int = 128
    lr: float = 3e-3
    dropout: float = 0.2
    weight_decay: float = 0.02
    validation: float = 0.1
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.data not in SOURCES:
            raise ValueError(f"data: expected one of {', '.join(SOURCES)}, got {self.data!r}")
        for name in ("epochs", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed: expected an integer of 64 bits, got {self.seed}")
        if any(width <= 0 for width in self.hidden):
            raise ValueError(f"hidden: expected widths of 1 or more, got {self.hidden}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: expected a fraction in (0, 1), got {self.validation}")


@dataclass(frozen=True)
class ClassifierResult:
    """The result of `train_classifier`: the model with its best weights, history, test result."""

    config: ClassifierConfig
    model: nn.Sequential
    history: list[Row]
    test_loss: float
    test_accuracy: float
    test: TensorDataset = field(repr=False)


def mlp(
    inputs: int, hidden: Sequence[int], classes: int, dropout: float = 0.0, norm: bool = True
) -> nn.Sequential:
    """Return a multi-layer perceptron for images of `inputs` pixels: (N, ...) to (N, classes).

    Each hidden layer is Linear, BatchNorm1d (with `norm`), ReLU and Dropout.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    widths = [inputs, *hidden]
    for before, after in pairwise(widths):
        layers.append(nn.Linear(before, after))
        if norm:
            layers.append(nn.BatchNorm1d(after))
        layers += [nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def train_classifier(
    config: ClassifierConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    save_every: int | None = None,
    progress: bool = True,
) -> ClassifierResult:
    """Train an MLP with AdamW and a cosine schedule, and measure it once on the test images.

    A part of the training images (`config.validation`) is held back and chooses the epoch; the
    test images are not even loaded before training is over. With `out`, checkpoints and
    `result.json` are written there; `resume` goes on from the checkpoint of an equal configuration,
    or one of fewer epochs, and `overwrite` replaces what is there already. save_every: steps
    between two checkpoints within an epoch.

    Raises ValueError for a checkpoint of another configuration, FileNotFoundError for none,
    FileExistsError for one that would be overwritten, and what `fit` raises.
    """
    if resume:
        _require_same_config(config, out)
    source = SOURCES[config.data]
    manual_seed(config.seed)
    whole = source.load(train=True, device=config.device)
    held_back = round(len(whole) * config.validation)
    train, validation = random_split(
        whole, [len(whole) - held_back, held_back], Generator().manual_seed(config.seed)
    )
    height, width = source.shape
    model = mlp(height * width, config.hidden, len(source.classes), config.dropout)
    model.to(config.device)
    loader = DataLoader(
        train,
        config.batch_size,
        shuffle=True,
        drop_last=True,
        generator=Generator().manual_seed(config.seed + 1),
    )
    optimizer = optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    steps = config.epochs * max(len(loader), 1)
    history = fit(
        model,
        optimizer,
        loader,
        DataLoader(validation, 1000),
        epochs=config.epochs,
        scheduler=_Cosine(optimizer, T_max=steps),
        folder=out,
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        progress=progress,
        metadata={"config": asdict(config)},
    )
    test = source.load(train=False, device=config.device)
    test_loss, test_accuracy = evaluate(model, DataLoader(test, 1000))
    if out is not None:
        _write_result(Path(out), config, history, test_loss, test_accuracy)
    return ClassifierResult(config, model, history, test_loss, test_accuracy, test)


class _Cosine(optim.lr_scheduler.CosineAnnealingLR):
    """A schedule that goes on in its own length where the state is that of another."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        steps = self.T_max
        super().load_state_dict(state_dict)
        if steps != self.T_max:
            self.T_max = steps
            for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = base * self._height(self.last_epoch)


def _require_same_config(config: ClassifierConfig, out: str | Path | None) -> None:
    if out is None:
        raise ValueError("resume: the folder of the checkpoint is not given")
    path = Path(out) / "last.safetensors"
    recover(path, load)
    if not path.exists():
        raise FileNotFoundError(f"resume: there is no {path} to go on from")
    state = load(path)
    before = state.get("config") if isinstance(state, dict) else None
    if not isinstance(before, dict):
        raise ValueError(f"{path} is no checkpoint of train_classifier")
    for item in fields(config):
        ours = getattr(config, item.name)
        theirs = before.get(item.name)
        longer = item.name == "epochs" and theirs is not None and ours > theirs
        if ours != theirs and item.name != "device" and not longer:
            raise ValueError(f"{path}: made with {item.name}={theirs}, resumed with {ours}")


def _write_result(
    out: Path, config: ClassifierConfig, history: list[Row], loss: float, accuracy: float
) -> None:
    result = {
        "config": asdict(config),
        "test_accuracy": accuracy,
        "test_loss": loss,
        "history": history,
    }
    with replacing(out / "result.json") as unfinished:
        unfinished.write_text(json.dumps(result, indent=1))

"""Runs of training that a file may hold, from which they go on, bit for bit."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from minitorch.backend import Device
from minitorch.files import recover, run_of
from minitorch.text.io import model_file


class CheckpointedRun:
    """A run over epochs.

    kind: of the file, one of `model_file.VERSIONS`. unit: what an epoch consists of.
    position: how far the run is, a dataclass: `epoch`, the number of epochs done, and under the
    name of the unit the number of units of the next one. checkpoint: the file that holds the run,
    None for none; save_every: units between two writings, None for once an epoch.
    overwrite: whether a new run replaces a file of that name. device: where the model is.
    """

    kind: str
    unit: str
    epochs: int
    position: Any
    checkpoint: Path | None
    save_every: int | None
    overwrite: bool
    device: Device | str | None
    unsaved = 0  # units since the last writing
    resumed = False

    def train(self, model: Any, callbacks: Sequence[Any]) -> None:
        """Run to the end of the last epoch, and tell the model and the callbacks."""
        began = time.perf_counter()
        call_all(callbacks, "on_train_begin", model)
        path = self.checkpoint
        new = None if self.resumed else partial(self.save, keep=False)
        opened = nullcontext() if path is None else run_of(path, new, self.overwrite)
        with opened, interrupts(path is not None) as stop:
            self._run(stop)
        model._finished = path
        call_all(callbacks, "on_train_end", model)
        model.total_train_time += time.perf_counter() - began

    def _run(self, stop: list[bool]) -> None:
        """Train from where the run stands to the end; a Ctrl-C is noted in `stop`."""
        raise NotImplementedError

    def _held(self) -> dict[str, Any]:
        """The state that the file holds, with that of the run under "run"."""
        raise NotImplementedError

    # ------------------------------------------------------------------ writing
    def _is_due(self, stop: list[bool], epoch: bool = False) -> bool:
        """Whether to write the file. epoch: at the end of one."""
        if self.checkpoint is None:
            return False
        due = epoch if self.save_every is None else self._is_much(self.unsaved)
        return due or bool(stop) or self.position.epoch == self.epochs

    def _is_much(self, unsaved: int) -> bool:
        return self.save_every is not None and unsaved >= self.save_every

    def _save_if_due(self, stop: list[bool], epoch: bool = False) -> None:
        """Write the file if it is due. Raises KeyboardInterrupt after a Ctrl-C."""
        if self._is_due(stop, epoch):
            self.save()
        if stop:
            raise KeyboardInterrupt(
                f"stopped after {self.position.epoch} of {self.epochs} epochs and "
                f"{getattr(self.position, self.unit)} {self.unit}s; {self.checkpoint} holds the "
                "run up to there, and resume=True goes on from it"
            )

    def save(self, keep: bool = True) -> None:
        """Write the checkpoint; it appears under its name when it is complete.

        keep: the one before stays beside it.
        """
        assert self.checkpoint is not None
        model_file.write(self.checkpoint, self.kind, self._held(), keep)
        self.unsaved = 0

    # ------------------------------------------------------------------ reading
    @contextmanager
    def _resuming(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The checkpoint and what it holds, to be checked and taken over in the `with` block.

        Raises FileNotFoundError, and ValueError for a file that is not a checkpoint.
        """
        path = self.checkpoint
        if path is None:
            raise ValueError(f"{self.kind}: resume=True needs the checkpoint to go on from")
        recover(path, model_file.check)
        with model_file.reading(path, self.kind, device=self.device) as held:
            if "run" not in held:
                raise ValueError(
                    f"{path} holds a model, but no run to go on with: {self.kind}.load reads it"
                )
            yield path, held
        self.resumed = True

    @staticmethod
    def _check_options(path: Path, had: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        """Raise ValueError for an option that differs; only the epochs may have become more."""
        for name, value in here.items():
            longer = name == "epochs" and had[name] < value
            if had[name] != value and not longer:
                raise ValueError(
                    f"{path} is of a run with {name}={had[name]!r}, this one has {name}={value!r}"
                )


@contextmanager
def interrupts(deferred: bool) -> Iterator[list[bool]]:
    """Ctrl-C is noted in the list, to be acted upon between two chunks; a second acts at once.

    So is SIGTERM. In the main thread only, and not without `deferred`.
    """
    noted: list[bool] = []
    if not deferred or threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(*_: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def call_all(callbacks: Sequence[Any], name: str, model: object) -> None:
    """Call a method of each callback, in order; one that has no such method is left out."""
    for callback in callbacks:
        method = getattr(callback, name, None)
        if method is not None:
            method(model)

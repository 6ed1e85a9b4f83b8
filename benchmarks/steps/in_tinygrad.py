"""tinygrad: its optimizers, the step through TinyJit, on its CPU device."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

from benchmarks.harness import LeftOut
from benchmarks.steps.problem import LR, problem, weights


def step(case: str) -> Callable[[], Any]:
    """The first calls are not jitted: TinyJit captures the second."""
    if shutil.which(os.environ.get("CC", "clang")) is None:
        raise LeftOut("tinygrad's CPU device needs clang")
    os.environ["DEV"] = "CPU"
    from tinygrad import Context, Device, Tensor, TinyJit, dtypes
    from tinygrad.nn import optim

    widths, optimizer_name, x_array, classes = problem(case)
    parameters = [Tensor(array).realize() for array in weights(widths)]
    optimizer = getattr(optim, optimizer_name)(parameters, lr=LR)
    x, y = Tensor(x_array).realize(), Tensor(classes, dtype=dtypes.int32).realize()
    device = Device[Device.DEFAULT]

    @TinyJit
    def update() -> Any:
        h = x
        for i in range(0, len(parameters), 2):
            h = h @ parameters[i].T + parameters[i + 1]
            h = h.relu() if i + 2 < len(parameters) else h
        optimizer.zero_grad()
        loss = h.sparse_categorical_crossentropy(y)
        loss.backward()
        return loss.realize(*optimizer.schedule_step())  # the loss of the weights before

    def call() -> Any:
        with Context(TRAINING=1):
            loss = update()
        device.synchronize()
        return loss

    return call

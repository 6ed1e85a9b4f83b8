"""minitorch and PyTorch: the same source for both, since their names are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from benchmarks.harness import LeftOut
from benchmarks.steps.problem import LR, problem, settings_of_training, weights

Step = Callable[[], Any]


def perceptron(library: Any, widths: list[int], device: str = "cpu") -> Any:
    """Linear layers with ReLU between them, from the weights of all contestants."""
    nn = library.nn
    layers: list[Any] = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with library.no_grad():
        for parameter, array in zip(model.parameters(), weights(widths), strict=True):
            parameter.copy_(library.from_numpy(array))
    return model.to(device)


def framework(
    library: Any,
    optim: Any,
    case: str,
    device: str = "cpu",
    wrap: Callable[[Any], Any] | None = None,
    dtype: str = "float32",
    **options: Any,
) -> Step:
    """The step as a user writes it, or what `wrap` makes of it; `options` go to the optimizer."""
    widths, optimizer_name, x_array, classes = problem(case)
    model = perceptron(library, widths, device).to(getattr(library, dtype))
    loss_of = library.nn.CrossEntropyLoss()
    optimizer = getattr(optim, optimizer_name)(model.parameters(), lr=LR, **options)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = (library.from_numpy(array).to(device) for array in (x_array, classes))
    return partial(wrap(step) if wrap else step, x.to(getattr(library, dtype)), y)


def minitorch() -> Any:
    """minitorch, with the settings of its training loops."""
    import minitorch as library

    settings_of_training()
    return library


def pytorch() -> Any:
    """PyTorch, with the same settings as far as it has them."""
    import torch

    torch.set_flush_denormal(True)
    return torch


def eager(case: str) -> Step:
    """minitorch, as written."""
    library = minitorch()
    return framework(library, library.optim, case)


def compiled(case: str) -> Step:
    """minitorch, captured once and replayed."""
    library = minitorch()
    return framework(library, library.optim, case, wrap=library.compile)


def with_mkl(contestant: Callable[[str], Step]) -> Callable[[str], Step]:
    """The same contestant in a process where MKL multiplies matrices."""

    def begin(case: str) -> Step:
        os.environ["MINITORCH_BLAS"] = "mkl"  # read at the import
        try:
            from minitorch.backend.cpu.blas import blas
        except ImportError as error:
            raise LeftOut(str(error)) from None
        finally:
            del os.environ["MINITORCH_BLAS"]
        if blas()["name"] != "mkl":
            raise LeftOut("this process has imported minitorch without MKL before")
        return contestant(case)

    return begin


def with_numba(contestant: Callable[[str], Step]) -> Callable[[str], Step]:
    """The same contestant after half a second of steps: Numba, if installed, has taken over."""

    def begin(case: str) -> Step:
        from minitorch.backend.cpu import optim

        optim.take_over()
        return contestant(case)

    return begin


def torch_eager(case: str, **options: Any) -> Step:
    """PyTorch, as written."""
    library = pytorch()
    return framework(library, library.optim, case, **options)


def torch_fused(case: str) -> Step:
    """PyTorch, as written, with the fused optimizer."""
    return torch_eager(case, fused=True)


def torch_compiled(case: str) -> Step:
    """The whole step through torch.compile, the optimizer's too."""
    if shutil.which("g++") is None:
        raise LeftOut("torch.compile needs g++")
    library = pytorch()
    library.compiler.reset()  # it stops compiling a function that came in too many shapes
    return framework(library, library.optim, case, wrap=library.compile)

"""What an op costs besides its arithmetic: ops on 3×3 arrays, recorded for backward."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Target, run

TITLE = "Overhead of a tracked op"
NOTES = """
Microseconds a call on 3×3 float32 arrays, median of the rounds (quartiles). x requires grad and so
does the Parameter p; y does not. NumPy computes only the value; the difference is what recording
costs. JAX and tinygrad record nothing when an op is called: JAX computes it, tinygrad only puts it
on its list (and computes nothing in this benchmark). HIPS autograd
records while it traces, so its op is called on a traced array. Each contestant runs in a process of
its own, rounds interleaved.
"""
CASES = [
    *("x + y", "x - y", "x * y", "x / y"),
    *("p + y", "p - y", "p * y", "p / y"),
    *("x + 2.0", "x * 2.0", "2.0 - x", "2.0 / x"),
    *("tanh(x)", "x @ y", "x.sum()", "x.reshape(9)", "x[0]"),
]
COLUMNS = [("difference", "minitorch", "numpy"), ("ratio", "minitorch", "pytorch")]
VALUES = [[0.5, -1.0, 2.0], [1.5, 3.0, -0.5], [0.25, 0.125, 1.0]]


def _compiled(case: str, names: dict[str, Any]) -> Callable[[], Any]:
    function: Callable[[], Any] = eval(f"lambda: {case}", names)
    return function


def numpy(case: str) -> Callable[[], Any]:
    """The bare value."""
    import numpy as np

    x = np.array(VALUES, np.float32)
    return _compiled(case, {"x": x, "y": x.copy(), "p": x.copy(), "tanh": np.tanh})


def minitorch(case: str) -> Callable[[], Any]:
    """Recorded by minitorch."""
    import minitorch as m

    x = m.tensor(VALUES, requires_grad=True)
    y, p = m.tensor(VALUES), m.nn.Parameter(m.tensor(VALUES))
    return _compiled(case, {"x": x, "y": y, "p": p, "tanh": m.tanh})


def pytorch(case: str) -> Callable[[], Any]:
    """Recorded by PyTorch."""
    import torch

    x = torch.tensor(VALUES, requires_grad=True)
    y, p = torch.tensor(VALUES), torch.nn.Parameter(torch.tensor(VALUES))
    return _compiled(case, {"x": x, "y": y, "p": p, "tanh": torch.tanh})


def autograd(case: str) -> Callable[[], Any]:
    """Recorded by HIPS autograd: x and p are nodes of a trace that stays open."""
    import autograd.numpy as anp
    from autograd.core import VJPNode
    from autograd.numpy.numpy_boxes import ArrayBox

    x, y, p = (anp.array(VALUES, anp.float32) for _ in "xyp")
    x, p = (ArrayBox(array, 0, VJPNode.new_root()) for array in (x, p))
    return _compiled(case, {"x": x, "y": y, "p": p, "tanh": anp.tanh})


def jax(case: str) -> Callable[[], Any]:
    """The value alone, eager."""
    import jax.numpy as jnp

    x, y, p = (jnp.array(VALUES, jnp.float32) for _ in "xyp")
    step = _compiled(case, {"x": x, "y": y, "p": p, "tanh": jnp.tanh})
    return lambda: step().block_until_ready()


def tinygrad(case: str) -> Callable[[], Any]:
    """The lazy op alone; the device is one that computes nothing."""
    os.environ["DEV"] = "NULL"
    from tinygrad import Tensor

    x, y, p = (Tensor(VALUES) for _ in "xyp")
    return _compiled(case, {"x": x, "y": y, "p": p, "tanh": Tensor.tanh})


CONTESTANTS = {
    "numpy": numpy,
    "minitorch": minitorch,
    "pytorch": pytorch,
    "autograd": autograd,
    "jax": jax,
    "tinygrad": tinygrad,
}
TINY = [f"{name} {sign} y" for name in "xp" for sign in "+-*/"]
TARGETS = [Target(case, "difference", "minitorch", "numpy", 1.0) for case in TINY]
TARGETS += [Target(case, "ratio", "minitorch", "pytorch", 1.0) for case in TINY]

if __name__ == "__main__":
    run("overhead")

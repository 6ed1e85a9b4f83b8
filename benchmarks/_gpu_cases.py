"""What the GPU benchmark times: a table of cases, from one empty launch to whole training steps.

minitorch and PyTorch run the same source, since their names are the same; JAX has its own where one
line says it. With `SMALL` every case has a tiny size, for machines without a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import minitorch
from benchmarks.steps import in_jax
from benchmarks.steps.frameworks import framework
from benchmarks.steps.problem import case as step_name

DEVICE = os.environ.get("BENCHMARK_DEVICE", "cuda")
SMALL = DEVICE != "cuda"
Call = Callable[[], Any]

# Precisions, with the dtype and its bytes. TF32 is how float32 is multiplied. Those that minitorch
# has are measured.
PRECISIONS = {"float32": ("float32", 4), "TF32": ("float32", 4)}
PRECISIONS |= {name: (name, 2) for name in ("float16", "bfloat16") if hasattr(minitorch, name)}
DTYPES = [name for name in PRECISIONS if name != "TF32"]


class Case(NamedTuple):
    """One line of the results.

    make(library, device): what to time, in a library with PyTorch's names. It takes the options of
    an optimizer in the family "optimizer", and in "step" also `wrap`, which compiles the step.
    jax: the same in JAX, where it is there. moved, flops: the bytes that a call has to read and
    write, and its operations; 0 where they tell nothing.
    """

    family: str
    precision: str
    make: Callable[..., Call]
    jax: Callable[[], Call] | None = None
    moved: float = 0
    flops: float = 0

    def set_precision(self, library: Any) -> None:
        """Let products of float32 round their factors to TF32, or not."""
        library.set_float32_matmul_precision("high" if self.precision == "TF32" else "highest")


CASES: dict[str, Case] = {}


def _rand(library: Any, device: str, precision: str, *shape: int) -> Any:
    dtype = getattr(library, PRECISIONS[precision][0])
    return library.rand(*shape, device=device).to(dtype)


# ---------------------------------------------------------------------- functions of arrays
def _op(
    family: str,
    name: str,
    precision: str,
    shapes: list[tuple[int, ...]],
    ours: Callable[..., Any],
    theirs: Callable[..., Any] | None = None,
    **work: float,
) -> None:
    """Add a function of arrays of these shapes; `theirs` takes jax.numpy first."""

    def make(library: Any, device: str) -> Call:
        return partial(ours, *(_rand(library, device, precision, *shape) for shape in shapes))

    def jax() -> Call:
        import jax
        from jax import numpy

        assert theirs is not None
        keys = jax.random.split(jax.random.key(0), len(shapes))
        dtype = PRECISIONS[precision][0]
        given = [jax.random.uniform(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=True)]
        return partial(jax.jit(partial(theirs, numpy)), *given)

    jitted = None if theirs is None else jax
    CASES[f"{name}, {precision}"] = Case(family, precision, make, jitted, **work)


N = 1 << 10 if SMALL else 1 << 26  # elements of an array that no cache holds
WIDE = 64 if SMALL else 1024
ROWS = (N // WIDE, WIDE)
# Inputs, the function, the same in JAX, and how often the bytes of an input are read or written.
ELEMENTWISE: dict[str, tuple[int, Callable[..., Any], Callable[..., Any], int]] = {
    "x + y": (2, lambda x, y: x + y, lambda np, x, y: x + y, 3),
    "x * 2": (1, lambda x: x * 2, lambda np, x: x * 2, 2),
    "x.exp()": (1, lambda x: x.exp(), lambda np, x: np.exp(x), 2),
    "x.sigmoid()": (1, lambda x: x.sigmoid(), lambda np, x: 1 / (1 + np.exp(-x)), 2),
    "x + x[0]": (1, lambda x: x + x[0], lambda np, x: x + x[0], 2),
    "x.T.contiguous()": (1, lambda x: x.T.contiguous(), lambda np, x: x.T.copy(), 2),
}
REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], int]] = {
    "x.sum()": (lambda x: x.sum(), lambda np, x: x.sum(), 1),
    "x.sum(1)": (lambda x: x.sum(1), lambda np, x: x.sum(1), 1),
    "x.sum(0)": (lambda x: x.sum(0), lambda np, x: x.sum(0), 1),
    "x.amax(1)": (lambda x: x.amax(1), lambda np, x: x.max(1), 1),
    "x.softmax(1)": (
        lambda x: x.softmax(1),
        lambda np, x: (e := np.exp(x - x.max(1, keepdims=True))) / e.sum(1, keepdims=True),
        2,
    ),
}
_op("launch", "x + y of one number", "float32", [(1,), (1,)], *ELEMENTWISE["x + y"][1:3])
for dtype in DTYPES:
    size = PRECISIONS[dtype][1]
    _op("copy", "y.copy_(x)", dtype, [(N,), (N,)], lambda x, y: y.copy_(x), moved=2 * N * size)
    for name, (inputs, ours, theirs, passes) in ELEMENTWISE.items():
        work = {"moved": passes * N * size, "flops": N}
        _op("elementwise", name, dtype, [ROWS] * inputs, ours, theirs, **work)
    for name, (ours, theirs, passes) in REDUCTIONS.items():
        work = {"moved": passes * N * size, "flops": N}
        _op("reduction", name, dtype, [ROWS], ours, theirs, **work)
for precision, (_, size) in PRECISIONS.items():
    for n in (16, 48) if SMALL else (256, 1024, 4096, 8192):
        work = {"moved": 3 * n * n * size, "flops": 2 * n**3}
        square = [(n, n)] * 2
        _op("GEMM", f"{n}³", precision, square, lambda x, y: x @ y, lambda np, x, y: x @ y, **work)


# ---------------------------------------------------------------------- layers
def _layer(
    build: Callable[[Any], Any], precision: str, shape: tuple[int, ...], backward: bool
) -> Callable[..., Call]:
    """A layer's forward pass without a graph, or forward and backward into gradients of None."""

    def make(library: Any, device: str) -> Call:
        dtype = getattr(library, PRECISIONS[precision][0])
        layer = build(library.nn).to(device).to(dtype)
        x = _rand(library, device, precision, *shape)

        def forward() -> Any:
            with library.no_grad():
                return layer(x)

        def both() -> None:
            for parameter in layer.parameters():
                parameter.grad = None
            y = layer(x)
            (y[0] if isinstance(y, tuple) else y).sum().backward()

        return both if backward else forward

    return make


BATCH, FEATURES = (8, 16) if SMALL else (8192, 1024)
STEPS, SEQUENCES, HIDDEN = (3, 4, 8) if SMALL else (50, 64, 256)
GATES = STEPS * SEQUENCES * 8 * HIDDEN * HIDDEN  # products of inputs and of the hidden state
LINEAR = BATCH * FEATURES * FEATURES
# How to build it, its inputs, passes over them in a forward pass, operations of a forward pass.
LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], int, float]] = {
    "Linear and ReLU": (
        lambda nn: nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU()),
        (BATCH, FEATURES),
        0,
        2 * LINEAR,
    ),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(FEATURES), (BATCH, FEATURES), 3, 0),
    "LayerNorm": (lambda nn: nn.LayerNorm(FEATURES), (BATCH, FEATURES), 2, 0),
    "LSTM": (lambda nn: nn.LSTM(HIDDEN, HIDDEN), (STEPS, SEQUENCES, HIDDEN), 0, 2 * GATES),
}
for name, (build, shape, passes, flops) in LAYERS.items():
    for precision in PRECISIONS if flops else DTYPES:
        moved = passes * BATCH * FEATURES * PRECISIONS[precision][1]
        forward = _layer(build, precision, shape, False)
        CASES[f"{name}, {precision}"] = Case("layer", precision, forward, None, moved, flops)
        both = _layer(build, precision, shape, True)
        CASES[f"{name}, both passes, {precision}"] = Case(
            "layer", precision, both, None, 0, 3 * flops
        )


# ---------------------------------------------------------------------- rows of a table
WORDS, DEPTH, TAKEN = (100, 8, 32) if SMALL else (1 << 20, 128, 1 << 18)


def _taking(function: Callable[[Any, Any, Any], Any]) -> Callable[..., Call]:
    """A function of a table, of the numbers of some rows, and of those rows."""

    def make(library: Any, device: str) -> Call:
        table = _rand(library, device, "float32", WORDS, DEPTH)
        chosen = library.randint(0, WORDS, (TAKEN,), device=device)
        return partial(function, table, chosen, _rand(library, device, "float32", TAKEN, DEPTH))

    return make


CASES["x[rows], float32"] = Case(
    "rows", "float32", _taking(lambda x, i, y: x[i]), None, TAKEN * (8 * DEPTH + 8)
)
CASES["x.index_add_(0, rows, y), float32"] = Case(
    "rows",
    "float32",
    _taking(lambda x, i, y: x.index_add_(0, i, y)),
    None,
    TAKEN * (12 * DEPTH + 8),
)


# ---------------------------------------------------------------------- optimizers and steps
def _optimizer(name: str) -> Callable[..., Call]:
    def make(library: Any, device: str, **options: Any) -> Call:
        p = library.nn.Parameter(_rand(library, device, "float32", N))
        p.grad = _rand(library, device, "float32", N)
        return getattr(library.optim, name)([p], lr=1e-3, **options).step  # type: ignore[no-any-return]

    return make


for name, passes in (("SGD", 3), ("Adam", 7)):
    moved = passes * 4 * N
    CASES[f"{name}.step(), float32"] = Case("optimizer", "float32", _optimizer(name), None, moved)


def _step(name: str, precision: str) -> Callable[..., Call]:
    def make(library: Any, device: str, wrap: Any = None, **options: Any) -> Call:
        dtype = PRECISIONS[precision][0]
        return framework(library, library.optim, name, device, wrap, dtype, **options)

    return make


TRAINED = [([64, 32, 10], 32), ([784, 128, 10], 64), ([784, 512, 256, 10], 128)]
TRAINED += [([784, 512, 256, 10], 4096), ([784, 2048, 2048, 10], 256)]
TRAINED += [([784, 2048, 2048, 10], 8192)]
for widths, batch in [([9, 8, 5], 4)] if SMALL else TRAINED:
    weights = sum(n * m for n, m in pairwise(widths))
    operations = 2 * batch * (3 * weights - widths[0] * widths[1])  # no gradient of the inputs
    for precision in [p for p in PRECISIONS if p != "float16"]:  # which needs its loss scaled
        told = step_name(widths, batch, "Adam")
        jitted = partial(in_jax.step, told, PRECISIONS[precision][0], wait=False)
        made = _step(told, precision)
        CASES[f"{told}, {precision}"] = Case("step", precision, made, jitted, 0, operations)

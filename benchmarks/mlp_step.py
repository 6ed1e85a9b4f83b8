"""One training step of a multi-layer perceptron: forward, backward, optimizer."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import LeftOut, Target, make_step, run
from benchmarks.steps import by_hand, frameworks, in_jax, in_tinygrad
from benchmarks.steps.frameworks import framework as framework
from benchmarks.steps.problem import case

TITLE = "A training step of a multi-layer perceptron"
NOTES = """
Microseconds a step (zero_grad, forward with ReLU and cross-entropy, backward, optimizer), float32,
median of the rounds (quartiles). All contestants start from the same weights and compute the same
losses. PyTorch is eager, once with its default optimizer and once with `fused=True`, and through
`torch.compile`; JAX is one jitted function of loss, gradient and update with donated buffers;
tinygrad runs its own optimizers under TinyJit. NumPy is the same step written by hand, with no
framework: the floor. minitorch's optimizers are Numba's machine code, where that is installed, as
they are after half a second of training; "MKL" is minitorch with MINITORCH_BLAS=mkl, else its
matrix products are those of NumPy's OpenBLAS. NumPy and minitorch keep freed memory in the process;
they and PyTorch flush denormal numbers, as minitorch's training loops do (XLA does by itself). Each
contestant runs in a process of its own, rounds interleaved.
"""
SIZES = [
    ([64, 32, 10], 32),
    ([784, 128, 10], 64),
    ([784, 512, 256, 10], 128),
    ([784, 2048, 2048, 10], 256),
]
CASES = [case(*size, optimizer) for size in SIZES for optimizer in ("SGD", "Adam")]
CHECKED = CASES[:1]
EAGERLY = frameworks.with_numba(frameworks.eager)
COMPILING = frameworks.with_numba(frameworks.compiled)
CONTESTANTS = {
    "numpy": by_hand.step,
    "minitorch": EAGERLY,
    "minitorch compiled": COMPILING,
    "minitorch, MKL": frameworks.with_mkl(EAGERLY),
    "minitorch compiled, MKL": frameworks.with_mkl(COMPILING),
    "pytorch": frameworks.torch_eager,
    "pytorch fused": frameworks.torch_fused,
    "torch.compile": frameworks.torch_compiled,
    "jax.jit": in_jax.step,
    "tinygrad": in_tinygrad.step,
}
COLUMNS = [
    ("ratio", "minitorch", "numpy"),
    ("ratio", "minitorch", "pytorch"),
    ("ratio", "minitorch compiled", "numpy"),
    ("ratio", "minitorch compiled", "pytorch"),
    ("ratio", "minitorch compiled", "jax.jit"),
    ("ratio", "minitorch, MKL", "pytorch"),
    ("ratio", "minitorch compiled, MKL", "pytorch"),
]
EAGER, COMPILED, WITH_MKL = "minitorch", "minitorch compiled", "minitorch, MKL"
# Of each size: contestant, other, and how many times as fast as it with SGD and with Adam.
SPEEDS = [
    [
        (EAGER, "pytorch", 2.5, 3.0),
        (EAGER, "jax.jit", 1.5, 1.5),
        (COMPILED, "pytorch", 4.0, 4.0),
        (COMPILED, "jax.jit", 2.5, 2.5),
    ],
    [(EAGER, "pytorch", 1.1, 1.25), (EAGER, "jax.jit", 1.25, 1.25)],
    [
        (EAGER, "pytorch", 0.9, 1.2),
        (EAGER, "pytorch fused", None, 0.75),
        (WITH_MKL, "pytorch", 1.0, 1.2),
        (WITH_MKL, "pytorch fused", None, 1.0),
    ],
    [
        (EAGER, "pytorch", 0.87, 1.0),
        (EAGER, "pytorch fused", None, 0.8),
        (WITH_MKL, "pytorch", 1.0, 1.0),
        (WITH_MKL, "pytorch fused", None, 1.0),
    ],
]
TARGETS = [
    Target(case(*size, optimizer), "speed", ours, other, limit)
    for size, rows in zip(SIZES, SPEEDS, strict=True)
    for ours, other, *limits in rows
    for optimizer, limit in zip(("SGD", "Adam"), limits, strict=True)
    if limit is not None
] + [
    Target(case(*SIZES[0], optimizer), "ratio", COMPILED, "numpy", 1.2)
    for optimizer in ("SGD", "Adam")
]


def losses(contestant: str, case: str, steps: int) -> dict[str, Any]:
    """Of a contestant's first steps, or why it cannot run here."""
    try:
        step = make_step("benchmarks.mlp_step", contestant, case)
    except LeftOut as reason:
        return {"left_out": str(reason)}
    assert step
    found = []
    for _ in range(steps):
        loss = step()  # to be read at once: the next call may write to the same memory
        found.append(float(loss if isinstance(loss, float) else loss.item()))
    return {"losses": found}


if __name__ == "__main__":
    run("mlp_step")

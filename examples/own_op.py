"""An op of one's own: x * sigmoid(beta * x), in one kernel on the CPU and on GPUs.

python examples/own_op.py [--device sim]

With beta = 1 it is SiLU (Elfwing et al. 2017), else Swish with a fixed beta (Ramachandran et al.
2017). Written in Tensor ops it takes three passes over the memory, and three backward.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np

import minitorch
from minitorch import Tensor, library, nn, optim
from minitorch.testing import gradcheck


# ---------------------------------------------------------------------- the op
def reference(x: Tensor, beta: float) -> Tensor:
    """What the op is, in Tensor ops: higher derivatives and forward mode go through it."""
    return x * (x * beta).sigmoid()


_swish = library.fused("swish", reference, arity=1)


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    """x * sigmoid(beta * x), elementwise; x is of a floating-point dtype."""
    return _swish(x, beta=beta)


# ---------------------------------------------------------------------- NumPy
def _sigmoid(x: np.ndarray, beta: float) -> np.ndarray:
    return 1 / (1 + np.exp(-x.dtype.type(beta) * x))


@library.register_kernel("swish", "cpu")
def _(x: np.ndarray, beta: float) -> tuple[np.ndarray, ...]:
    """The result, and what backward is given of it."""
    return x * _sigmoid(x, beta), x


@library.register_kernel("swish_backward", "cpu")
def _(g: Any, x: np.ndarray, needs: tuple[bool, ...], beta: float) -> tuple[np.ndarray, ...]:
    """The gradient by each argument; g is 1.0 where `backward` begins."""
    s = _sigmoid(x, beta)
    return (g * (s + x.dtype.type(beta) * x * s * (1 - s)),)


# ---------------------------------------------------------------------- CUDA C++
library.cuda_source(
    "swish",
    r"""
#include "elementwise.cuh"
#if MT_FLOATING
KERNEL(swish)(T* out, const T* x, C beta, i64 n) {
    for (i64 i = first(); i < n; i += step()) {
        const C v = C(x[i]);
        out[i] = T(v / (1 + M(exp)(-beta * v)));
    }
}
// g: of each element, or null for ones.
KERNEL(swish_backward)(T* out, const T* x, const T* g, C beta, i64 n) {
    for (i64 i = first(); i < n; i += step()) {
        const C v = C(x[i]), s = 1 / (1 + M(exp)(-beta * v));
        out[i] = T((g ? C(g[i]) : C(1)) * (s + beta * v * s * (1 - s)));
    }
}
#endif
""",
)


def _launch(gpu: Any, name: str, x: Any, beta: float, *more: Any) -> Any:
    out = gpu.empty(x.shape, x.dtype)
    number = np.float64 if x.dtype == np.float64 else np.float32  # C of kernels/common.cuh
    gpu.launch_contiguous("swish", name, out, (x, *more, number(beta)))
    return out


@library.register_kernel("swish", ("cuda", "sim"))
def _(gpu: Any, x: Any, beta: float) -> tuple[Any, ...]:
    x = gpu.contiguous(x)
    return _launch(gpu, "swish", x, beta), x


@library.register_kernel("swish_backward", ("cuda", "sim"))
def _(gpu: Any, g: Any, x: Any, needs: tuple[bool, ...], beta: float) -> tuple[Any, ...]:
    given = np.uint64(0) if isinstance(g, float) else gpu.contiguous(g)  # a null pointer
    return (_launch(gpu, "swish_backward", x, beta, given),)


# ---------------------------------------------------------------------- using it
def train(device: str, steps: int) -> list[float]:
    """Losses of a small network with the op, whose step is compiled."""
    minitorch.manual_seed(0)
    first, second = nn.Linear(2, 16, device=device), nn.Linear(16, 1, device=device)
    optimizer = optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
    x = minitorch.randn(64, 2, device=device)
    y = x[:, :1] * x[:, 1:]

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = (second(swish(first(x), beta=1.5)) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    fast = minitorch.compile(step, fullgraph=True, verify=1)
    return [float(fast(x, y)) for _ in range(steps)]


def main() -> None:
    """Check the op, then train with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or sim")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    x = minitorch.randn(3, 5, dtype=minitorch.float64, device=args.device, requires_grad=True)
    off = float((swish(x, 1.5) - reference(x, 1.5)).abs().max())
    print(f"largest difference to the reference: {off:.1e}")
    print(f"gradcheck: {gradcheck(partial(swish, beta=1.5), (x,))}")
    losses = train(args.device, args.steps)
    print(f"loss of x * y, compiled step: {losses[0]:.3f} to {losses[-1]:.3f}")


if __name__ == "__main__":
    main()

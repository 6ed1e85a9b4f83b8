"""What derivatives cost: expressions that grow, backward against forward, Jacobians never formed.

python examples/lectures/cost.py [--batch 128] [--out demo/lectures]

Needs SymPy: pip install -e ".[symbolic]".
"""

import argparse
import time
import tracemalloc
from pathlib import Path

from telling import heading

import minitorch
from minitorch import autograd, func, nn
from minitorch.symbolic import differentiate, expression_size, graph_size, to_sympy
from minitorch.utils.checkpoint import checkpoint, checkpoint_sequential
from minitorch.utils.flop_counter import FlopCounterMode


def growth():
    heading("Symbolic: the derivative of y = 4 y (1 - y), repeated")
    print("steps   graph   expression   its derivative   (nodes)")
    x = y = minitorch.tensor(0.3, dtype=minitorch.float64, requires_grad=True)
    for n in range(1, 7):
        y = 4 * y * (1 - y)
        expression = to_sympy(y, {x: "x"})
        slope = expression_size(differentiate(expression, "x"))
        print(f"{n:5} {graph_size(y):7} {expression_size(expression):12} {slope:16}")


def shortest(call, times=30):
    """Seconds of the fastest of several runs."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return min(spans)


def cost(batch):
    heading(f"What backward costs: 784-512-256-10, batch {batch}")
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.Linear(256, 10))
    x = minitorch.randn(batch, 784, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        loss = model(x).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    a, b = forward.get_total_flops(), backward.get_total_flops()
    print(f"FLOPs: forward {a:,}, backward {b:,}: {b / a:.2f} times")
    one = shortest(lambda: model(x).sum().item())

    def step():
        model.zero_grad()
        x.grad = None
        model(x).sum().backward()
        return x.grad.sum().item()

    both = shortest(step)
    print(f"time: forward {one * 1e3:.2f} ms, backward {(both - one) * 1e3:.2f} ms: ", end="")
    print(f"{(both - one) / one:.2f} times")
    loss = checkpoint(lambda x: model(x).sum(), x)
    with FlopCounterMode(display=False) as again:
        loss.backward()
    ratio = again.get_total_flops() / a
    print(f"backward through a checkpoint, which runs forward again: {ratio:.2f} times")


def memory():
    heading("Checkpoints: what is held until backward, 36 layers of tanh on 40 kB")
    x = minitorch.randn(100, 100, device="cpu", requires_grad=True)
    layers = nn.Sequential(*[nn.Tanh() for _ in range(36)])
    for what, forward in (
        ("all layers", layers),
        ("6 checkpoints", lambda x: checkpoint_sequential(layers, 6, x)),
    ):
        tracemalloc.start()
        y = forward(x)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        arrays, most = held / x.nbytes, peak / x.nbytes
        print(f"{what}: {arrays:.0f} arrays held, at most {most:.0f} in backward")


def layer():
    heading("The Jacobian of a sigmoid layer, 100 x 2048")
    x = minitorch.randn(100, 2048, device="cpu")  # where Python sees all memory
    entries = x.numel() ** 2
    print(f"{x.numel():,} x {x.numel():,} numbers: {entries * 4 / 1e9:.0f} GB")
    tracemalloc.start()
    value, pull_back = func.vjp(nn.Sigmoid(), x)
    (product,) = pull_back(minitorch.ones_like(x))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"a vjp never forms it: its peak is {peak / 1e6:.1f} MB, {peak / x.nbytes:.1f} arrays of "
        f"{x.nbytes / 1e6:.1f} MB; it gives the diagonal"
    )
    slope = value * (1 - value)
    print(f"largest difference from z (1 - z): {(product - slope).abs().max().item():.0e}")


def where_it_went_wrong():
    heading("Anomaly mode: where the first infinity was made")
    x = minitorch.tensor([1.0, 0.0], requires_grad=True)
    try:
        with autograd.detect_anomaly():
            x.sqrt().sum().backward()
    except RuntimeError as error:
        print(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"), help="no pictures here")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    minitorch.manual_seed(0)
    growth()
    cost(args.batch)
    memory()
    layer()
    where_it_went_wrong()


if __name__ == "__main__":
    main()

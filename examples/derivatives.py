"""Four ways to differentiate one function, what they cost, and what a backward pass costs.

python examples/derivatives.py [--device cpu] [--batch 128]

Needs SymPy for the symbolic way: pip install '.[symbolic]'.
"""

import argparse
import math
import time

import minitorch
from minitorch import autograd, func, nn
from minitorch.symbolic import differentiate, expression_size, graph_size, to_sympy
from minitorch.testing import numerical_jacobian
from minitorch.utils.checkpoint import checkpoint
from minitorch.utils.flop_counter import FlopCounterMode


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def f(x1, x2):
    return x1.log() + x1 * x2 - x2.sin()


def point(dtype=minitorch.float64):
    return [minitorch.tensor(v, dtype=dtype, requires_grad=True) for v in (2.0, 5.0)]


def numerical():
    heading("Numerical: differences at (2, 5), error of the derivative by x2")
    for dtype, h in (
        (minitorch.float64, 1e-6),
        (minitorch.float32, 1e-6),
        (minitorch.float32, 1e-2),
    ):
        for method in ("forward", "central"):
            ((_, slope),) = numerical_jacobian(f, point(dtype), eps=h, method=method)
            error = abs(slope.item() - (2 - math.cos(5)))
            print(f"{dtype}, h = {h:g}, {method:7}: {error:.1e}")


def symbolic():
    heading("Symbolic: rules on an expression")
    x1, x2 = point()
    expression = to_sympy(f(x1, x2), {x1: "x1", x2: "x2"})
    print(f"f = {expression}")
    for name in ("x1", "x2"):
        print(f"df/d{name} = {differentiate(expression, name)}")
    print("y = 4 y (1 - y) repeated: nodes of the graph, of the expression, of its derivative")
    y = x1
    for n in range(1, 6):
        y = 4 * y * (1 - y)
        expression = to_sympy(y, {x1: "x"})
        slope = differentiate(expression, "x")
        print(f"{n}: {graph_size(y):3} {expression_size(expression):5} {expression_size(slope):6}")


def automatic():
    heading("Automatic: forward mode takes a pass for each input, reverse mode for each output")
    x1, x2 = (x.detach() for x in point())
    one, zero = minitorch.ones_like(x1), minitorch.zeros_like(x1)
    for name, along in (("x1", (one, zero)), ("x2", (zero, one))):
        _, tangent = func.jvp(f, (x1, x2), along)
        print(f"forward, along {name}: {tangent.item():.6f}")
    gradient = func.grad(f, (0, 1))(x1, x2)
    print("reverse, both:", *(f"{g.item():.6f}" for g in gradient))
    hessian = func.hessian(f, (0, 1))(x1, x2)
    print("Hessian:", [[round(h.item(), 6) for h in row] for row in hessian])
    print(f"Hessian · (1, 2): {[h.item() for h in func.hvp(f, (x1, x2), (one, 2 * one))]}")


def shortest(call, times=30):
    """Seconds of the fastest of several runs."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return min(spans)


def cost(device, batch):
    heading(f"What backward costs: 784-512-256-10, batch {batch}")
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.Linear(256, 10))
    model.to(device)
    x = minitorch.randn(batch, 784, device=device, requires_grad=True)
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


def layer(device):
    heading("The Jacobian of a sigmoid layer, 100 x 2048")
    x = minitorch.randn(100, 2048, device=device)
    entries = x.numel() ** 2
    print(f"{x.numel():,} x {x.numel():,} numbers: {entries * 4 / 1e9:.0f} GB")
    value, pull_back = func.vjp(nn.Sigmoid(), x)
    (product,) = pull_back(minitorch.ones_like(x))
    print(f"a vjp needs a few arrays of {product.nbytes / 1e6:.1f} MB, and gives the diagonal:")
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
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    minitorch.set_default_device(options.device)
    minitorch.manual_seed(0)
    numerical()
    symbolic()
    automatic()
    cost(options.device, options.batch)
    layer(options.device)
    where_it_went_wrong()


if __name__ == "__main__":
    main()

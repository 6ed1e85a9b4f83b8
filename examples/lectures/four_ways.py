"""Four ways to differentiate f(x1, x2) = ln x1 + x1·x2 − sin x2 at (2, 5).

python examples/lectures/four_ways.py [--out demo/lectures]

Needs SymPy: pip install -e ".[symbolic]".
"""

import argparse
from pathlib import Path

from telling import heading, see

import minitorch
from minitorch import func
from minitorch.symbolic import compare, differentiate, expression_size, graph_size, to_sympy
from minitorch.viz import draw_graph, trace


def f(x1, x2):
    return x1.log() + x1 * x2 - x2.sin()


def number(value, dtype=minitorch.float64):
    return minitorch.tensor(value, dtype=dtype)


SLOPE = 2 - number(5.0).cos().item()  # ∂f/∂x2 = x1 − cos x2


def numerical():
    heading("1. Numerical: differences")
    print("dtype    h      error of ∂f/∂x2, forward  central")
    for dtype, h in (
        (minitorch.float64, 1e-6),
        (minitorch.float32, 1e-6),
        (minitorch.float32, 1e-2),
    ):
        x1 = number(2.0, dtype)
        here, right, left = (f(x1, number(x2, dtype)).item() for x2 in (5.0, 5.0 + h, 5.0 - h))
        forward, central = (right - here) / h, (right - left) / (2 * h)
        name = str(dtype).split(".")[-1]
        print(f"{name}  {h:.0e}  {abs(forward - SLOPE):23.1e}  {abs(central - SLOPE):7.1e}")


def symbolic():
    heading("2. Symbolic: rules on the expression")
    names = {number(2.0).requires_grad_(): "x1", number(5.0).requires_grad_(): "x2"}
    y = f(*names)
    expression = to_sympy(y, names)  # read off the recorded graph
    print(f"f = {expression}: {expression_size(expression)} nodes, the graph {graph_size(y)}")
    for name, (slope, gradient) in compare(y, names).items():
        rule = differentiate(expression, name)
        print(f"∂f/∂{name} = {rule} = {slope:.6f}, and by reverse mode {gradient:.6f}")


def automatic(out):
    heading("3. and 4. Forward and reverse mode: tangents ∂x1 and adjoints of the same program")
    v0, v1 = number(2.0).requires_grad_(), number(5.0).requires_grad_()
    v2, v3, v4 = v0.log(), v0 * v1, v1.sin()
    v5 = v2 + v3
    names = {"v0": v0, "v1": v1, "v2": v2, "v3": v3, "v4": v4, "v5": v5, "v6": v5 - v4}
    found = trace(names["v6"], names, wrt=v0, digits=6)
    see(
        out / "four-ways.svg",
        "one pass from right to left gives both derivatives, the grads of v0 and v1; the tangents "
        "in the table came from left to right, and for ∂x1 alone",
        lambda path: draw_graph(found, path=path),
    )


def hessian():
    heading("Hessian: forward mode over reverse mode, one pass for each column")
    x = number(2.0), number(5.0)
    zero, one = number(0.0), number(1.0)
    for v in ((one, zero), (zero, one)):
        _, column = func.jvp(lambda *x: func.grad(f, (0, 1))(*x), x, v)
        print("  ".join(f"{h:9.6f}" for h in column))


def passes():
    heading("A Jacobian of 3 outputs by 5 inputs: passes counted")
    generator = minitorch.Generator().manual_seed(0)
    w = minitorch.randn(3, 5, dtype=minitorch.float64, generator=generator)
    x = minitorch.randn(5, dtype=minitorch.float64, generator=generator)

    def layer(x):
        return (w @ x).sigmoid()

    inputs = minitorch.eye(5, dtype=minitorch.float64)
    columns = [func.jvp(layer, (x,), (v,))[1] for v in inputs]
    _, pull = func.vjp(layer, x)
    rows = [pull(v)[0] for v in minitorch.eye(3, dtype=minitorch.float64)]
    gap = (minitorch.stack(columns, 1) - minitorch.stack(rows)).abs().max().item()
    print(
        f"forward mode: {len(columns)} passes; reverse mode: {len(rows)}; they differ by {gap:.0e}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"), help="for the pictures")
    args = parser.parse_args()
    numerical()
    symbolic()
    automatic(args.out)
    hessian()
    passes()


if __name__ == "__main__":
    main()

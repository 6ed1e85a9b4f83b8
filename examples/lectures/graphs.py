"""Computational graphs and reverse mode: the lecture's listing, tables, pictures and frames.

python examples/lectures/graphs.py [--out demo/lectures]
"""

import argparse
import runpy
from pathlib import Path

from telling import heading, see

import minitorch
from minitorch import func
from minitorch.viz import animate_graph, draw_graph, trace


def number(value):
    return minitorch.tensor(value, dtype=minitorch.float64, requires_grad=True)


def listing():
    heading("The lecture's listing, with only the import changed")
    path = Path(__file__).with_name("listing.py")
    print(path.read_text(encoding="utf-8"))
    options = minitorch.get_printoptions()
    runpy.run_path(str(path))
    minitorch.set_printoptions(precision=options["precision"])


def steps():
    """y = 3√x · (log x + 1/x²) at 1.2, by the lecture's names."""
    x = number(1.2)
    z2, z3, z4 = 3 * x.sqrt(), x.log(), 1 / x
    z1 = z4**2 + z3
    return {"x": x, "z2": z2, "z3": z3, "z4": z4, "z1": z1, "y": z1 * z2}


def tables(out):
    heading("Values, tangents and adjoints, and what each edge brings")
    named = steps()
    found = trace(named["y"], named, named_only=True, digits=6)
    print(
        f"contributions into x: {', '.join(f'{c.amount:+.2f}' for c in found['x'].contributions)}"
    )
    print(f"their running sum: {', '.join(f'{c.total:.2f}' for c in found['x'].contributions)}")
    see(
        out / "graph.svg",
        "from left to right the values (data), from right to left the adjoints (grad): three edges "
        "lead into x, and what they bring, in red, adds up to its grad",
        lambda path: [draw_graph(found, path=path.with_suffix(s)) for s in (".svg", ".png")],
    )
    see(
        out / "graph-frames.svg",
        "every op of it, a step at a time: values come in forward, then adjoints backward; the "
        "step that runs is orange",
        lambda path: [
            animate_graph(named["y"], path.with_suffix(s), named) for s in (".svg", ".gif")
        ],
    )


def granularity(out):
    heading("Granularity: 3√x as √ then ×3, or as one function")
    for name, one in (("elementary", False), ("complex", True)):
        named = steps()
        found = trace(named["y"], named, named_only=one, show=False)
        print(f"{name}: {len(found)} nodes, the gradient of x is {found['x'].adjoint:.6f}")
        see(
            out / f"graph-{name}.svg",
            f"{len(found)} boxes; the numbers in x, z1 to z4 and y are the same in both graphs",
            lambda path, found=found: draw_graph(found, path=path),
        )


def derivatives():
    heading("More derivatives")

    def f(x):
        return 3 * x.sqrt() * (x.log() + 1 / x**2)

    x = number(1.2).detach()
    print(f"second derivative of y: {func.grad(func.grad(f))(x):.5f}")
    x = number(1.0)
    y = (-x).exp() ** 2 / x
    y.backward()
    print(f"chain rule, y = (e^-x)²/x at 1: {y:.6f} and {x.grad:.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"), help="for the pictures")
    args = parser.parse_args()
    listing()
    tables(args.out)
    granularity(args.out)
    derivatives()


if __name__ == "__main__":
    main()

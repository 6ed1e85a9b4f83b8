"""Learning: perceptron, gates, approximation, flights, losses, descent, optimizers, recurrence.

python examples/lectures/learning.py [--out demo/lectures] [--device cpu]
"""

import argparse
from pathlib import Path

from telling import heading, see

import minitorch
from minitorch import nn, optim
from minitorch.nn import functional as F
from minitorch.viz import decision_regions, fitted_curve, loss_curves, trajectories

CORNERS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
GATES = {
    "OR": [0, 1, 1, 1],
    "AND": [0, 0, 0, 1],
    "x1 AND NOT x2": [0, 0, 1, 0],
    "XOR": [0, 1, 1, 0],
}
FLIGHTS = [[-20.0, 45.0], [80.0, 0.0], [4.0, 15.0], [45.0, 60.0]]
STRAIGHT = "one straight line (black, probability 1/2) parts the ones from the zeros"
BORDERS = {
    **dict.fromkeys(GATES, STRAIGHT),
    "XOR": "no straight line parts these corners: at least one is on the wrong side",
    "bent": "the hidden layer bends the border, and each corner is on its side",
}
DELAYED = [1.0, 0.0, 1.0, 1.0]
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "Momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "AdaGrad": lambda p: optim.Adagrad(p, lr=0.5),
    "RMSProp": lambda p: optim.RMSprop(p, lr=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.2),
}


def fit(model, loss_of, optimizer, steps):
    """Train, and give the loss before each step."""
    losses = []
    for _ in range(steps):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def perceptron():
    heading("Perceptron")
    x, w = minitorch.tensor([2.0, 3.0, -1.0, 5.0]), minitorch.tensor([0.1, 0.5, 2.5, 0.2])
    z = x @ w + 3.0
    print(f"w·x + b = {z:.1f}, σ = {z.sigmoid():.6f}")
    softmax = F.softmax(minitorch.tensor([1000.0, 1001.0, 1002.0]), 0)
    print(f"softmax of (1000, 1001, 1002): {', '.join(f'{p:.4f}' for p in softmax.tolist())}")


def right(model, truth):
    return int(((model(minitorch.tensor(CORNERS)) > 0).float() == truth).sum().item())


def gates(out):
    heading("Logic gates: one unit, and one hidden layer")
    x = minitorch.tensor(CORNERS)
    for name, values in GATES.items():
        truth = minitorch.tensor(values).float().unsqueeze(1)
        models = {
            "one unit": nn.Linear(2, 1),
            "one hidden layer": nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)),
        }
        for kind, model in models.items():
            optimizer = optim.Adam(model.parameters(), lr=0.1)
            fit(
                model,
                lambda m, t=truth: F.binary_cross_entropy_with_logits(m(x), t),
                optimizer,
                150,
            )
            print(f"{name}, {kind}: {right(model, truth)}/4")
            if name == "XOR" or kind == "one unit":
                path = decision_regions(
                    lambda x, m=model: m(x).sigmoid(),
                    x,
                    values,
                    out / f"gate {name}, {kind}.png".replace(", ", "-").replace(" ", "-"),
                    classes=["0", "1"],
                    title=f"{name} by {kind}",
                )
                see(path, BORDERS["bent" if kind == "one hidden layer" else name])


def approximation(out):
    heading("Universal approximation: the error falls with the width")
    x = minitorch.linspace(-3, 3, 80).unsqueeze(1)
    y = (2 * x).sin() + 0.3 * x
    curves = {}
    for width in (1, 4, 32):
        model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
        with minitorch.no_grad():
            model[0].weight.mul_(3)  # bends all over the interval
            model[0].bias.uniform_(-5, 5)
        optimizer = optim.Adam(model.parameters(), lr=0.03)
        losses = fit(model, lambda m: F.mse_loss(m(x), y), optimizer, 600)
        print(f"width {width}: MSE {losses[-1]:.5f}")
        curves[f"width {width}"] = x, model(x)
    path = fitted_curve(x, y, curves, out / "approximation.png", title="one hidden layer of tanh")
    see(path, "one unit makes one bend; 32 of them follow the examples all along")


def flights(out):
    heading("Will my flight be delayed?")
    said, truth = minitorch.tensor([0.05, 0.02, 0.96, 0.35]), minitorch.tensor(DELAYED)
    print(f"BCE {F.binary_cross_entropy(said, truth):.6f}, MSE {F.mse_loss(said, truth):.6f}")
    x, t = minitorch.tensor(FLIGHTS), truth.unsqueeze(1)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    losses = {}
    for name, penalty in (("BCE", 0.0), ("BCE + 0.01 · L2", 0.01)):
        minitorch.manual_seed(0)
        for layer in (model[0], model[2]):
            layer.reset_parameters()

        def loss_of(m, penalty=penalty):
            size = sum((p * p).sum() for p in m.parameters())
            return F.binary_cross_entropy(m(x / 50), t) + penalty * size

        losses[name] = fit(model, loss_of, optim.Adam(model.parameters(), lr=0.05), 150)
        told = ", ".join(f"{p:.2f}" for p in model(x / 50).reshape(-1).tolist())
        print(f"{name}: from {losses[name][0]:.3f} to {losses[name][-1]:.3f}; it says {told}")
    path = loss_curves(losses, out / "flights.png", title="will my flight be delayed?")
    see(
        path,
        "with the penalty the loss stops falling: larger weights would cost more than they save",
    )


def descent():
    heading("Gradient descent on y = x² + 2x + 3 from x = 2")
    for lr in (0.1, 0.5, 1.0, 1.1):
        x = nn.Parameter(minitorch.tensor(2.0, dtype=minitorch.float64))
        optimizer = optim.SGD([x], lr=lr)
        path = [x.item()]
        for _ in range(100):
            optimizer.zero_grad()
            (x**2 + 2 * x + 3).backward()
            optimizer.step()
            path.append(x.item())
        near = [step for step, at in enumerate(path) if abs(at + 1) < 1e-6]
        if near:
            print(f"lr {lr}: {near[0]} step{'s' * (near[0] > 1)} to 1e-6")
        else:
            print(f"lr {lr}: {', '.join(f'{at:g}' for at in path[:5])}, ..., {path[-1]:.3g}")


def five_optimizers(out):
    heading("Five optimizers on one surface: x²/20 + y² from (−7, 2)")

    def surface(x, y):
        return x**2 / 20 + y**2

    paths, losses = {}, {}
    for name, make in OPTIMIZERS.items():
        p = nn.Parameter(minitorch.tensor([-7.0, 2.0], dtype=minitorch.float64))
        optimizer = make([p])
        places, losses[name] = [p.tolist()], []
        for _ in range(60):
            loss = surface(*p)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            places.append(p.tolist())
            losses[name].append(loss.item())
        paths[name] = places
        print(f"{name}: ({places[-1][0]:.3f}, {places[-1][1]:.3f}), height {losses[name][-1]:.5f}")
    title = "five optimizers on x²/20 + y²"
    path = trajectories(surface, paths, out / "optimizers.png", minimum=(0, 0), title=title)
    see(
        path,
        "SGD drops into the valley and then creeps; momentum swings through it; the three that "
        "scale each coordinate set out along the diagonal",
    )
    path = out / "optimizers-losses.png"
    loss_curves(losses, path, axes=("step", "height"), title=title)
    see(path, "the height above the minimum: waves are swings through the valley")


def recurrence(out):
    heading("Loopy modules: recurrent networks, unrolled, say the next value of a wave")
    wave = (minitorch.arange(41).float() * 0.5).sin().reshape(41, 1, 1)
    curves, losses = {}, {}
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        layer, head = kind(1, 8), nn.Linear(8, 1)
        model = nn.ModuleList([layer, head])
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        name = kind.__name__
        losses[name] = fit(
            model, lambda m: F.mse_loss(m[1](m[0](wave[:-1])[0]), wave[1:]), optimizer, 80
        )
        print(f"{name}: MSE from {losses[name][0]:.3f} to {losses[name][-1]:.5f}")
        curves[name] = minitorch.arange(1, 41), head(layer(wave[:-1])[0])
    steps = minitorch.arange(1, 41)
    title, axes = "the next value of a wave", ("step", "next value")
    path = fitted_curve(steps, wave[1:], curves, out / "recurrence.png", title=title, axes=axes)
    see(path, "off at most in the first steps, when they have seen little of the wave")
    path = loss_curves(losses, out / "recurrence-losses.png", title="mean squared error")
    see(path, "all three learn it, in 80 steps by a factor of a hundred or more")
    try:
        layer.add_module("itself", nn.Sequential(layer))
    except ValueError as error:
        print(f"a true cycle: {str(error).partition(';')[0]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"), help="for the pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    minitorch.set_default_device(args.device)
    minitorch.manual_seed(args.seed)
    perceptron()
    gates(args.out)
    approximation(args.out)
    flights(args.out)
    descent()
    five_optimizers(args.out)
    recurrence(args.out)


if __name__ == "__main__":
    main()

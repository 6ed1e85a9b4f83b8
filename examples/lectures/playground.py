"""Playground: small networks learn points of the plane; minitorch playground shows it live.

python examples/lectures/playground.py [--out demo/lectures] [--device cpu] [--epochs 200]
"""

import argparse
from pathlib import Path

from telling import heading, see

from minitorch.train import PlanarConfig, PlanarExperiment
from minitorch.viz import heat_map, loss_curves

WIDE = {"hidden": (8, 8), "optimizer": "Adam", "lr": 0.01}
SEEN = {
    "circle": "two small layers close the border around the inner points",
    "xor": "four quarters, of which those opposite have one colour",
    "gauss": "two clouds, which one unit parts by a straight line",
    "spiral": "sines among the features let the border wind with the two arms",
    "reg-plane": "numbers and no classes: one linear unit gives the slope from corner to corner",
    "reg-gauss": "hills and hollows of the plane, out of two layers of eight",
}
SETTINGS = {  # those of the playground where nothing else is said
    "circle": {},
    "xor": {},
    "gauss": {"hidden": ()},
    "spiral": {**WIDE, "features": ("x1", "x2", "sin(x1)", "sin(x2)")},
    "reg-plane": {"hidden": ()},
    "reg-gauss": WIDE,
}


def learn(data, options, args):
    """Train on one data set, draw the output; the training losses from the start on."""
    config = PlanarConfig(data=data, noise=0.05, seed=args.seed, **options)
    experiment = PlanarExperiment(config, args.device)
    losses = [experiment.losses()[0]]
    for _ in range(args.epochs):
        experiment.train_epoch()
        losses.append(experiment.losses()[0])
    parts = {
        "training": (experiment.train_points, experiment.train_values),
        "test": (experiment.test_points, experiment.test_values),
    }
    widths = "-".join(map(str, (len(config.features), *config.hidden, 1)))
    path = args.out / f"playground-{data}.png"
    heat_map(experiment.predict, parts, path, title=f"{data} by {widths}")
    train, test = experiment.losses()
    line = f"{data:<10} {widths:<8} {config.optimizer:<5} loss {train:.4f}, of test {test:.4f}"
    if experiment.classes:
        train, test = experiment.accuracies()
        line += f"; right: {train:.1%}, of test {test:.1%}"
    print(line)
    see(path, SEEN[data])
    return losses


def learn_all(args):
    heading(f"Points of the plane, {args.epochs} epochs: data, widths, optimizer, results")
    losses = {data: learn(data, options, args) for data, options in SETTINGS.items()}
    title, axes = "training", ("epoch", "half the mean squared error")
    path = loss_curves(losses, args.out / "playground-losses.png", title=title, axes=axes)
    see(path, "what is easy is learned in a few epochs; the circle and XOR begin with a plateau")
    print("\nthe loss is half the mean squared error; play with it: minitorch playground")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"), help="for the pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=150, help="passes over the points")
    parser.add_argument("--seed", type=int, default=0)
    learn_all(parser.parse_args())


if __name__ == "__main__":
    main()

"""Fashion-MNIST with the defaults of `minitorch train mlp`: test accuracy and images per second."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from statistics import median

from benchmarks.harness import save
from minitorch.train import ClassifierConfig, train_classifier

HEAD = ["| seed | best epoch | validation | test accuracy | images/s |", "| ---: " * 5 + "|"]


def main() -> None:
    """Train once for each seed; the test images are read once, after training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=ClassifierConfig().epochs)
    args = parser.parse_args()
    rows = []
    for seed in args.seeds:
        result = train_classifier(ClassifierConfig(seed=seed, epochs=args.epochs), progress=False)
        best = max(result.history, key=lambda row: row["val_accuracy"])
        rows.append(
            {
                "seed": seed,
                "best_epoch": best["epoch"],
                "validation_accuracy": best["val_accuracy"],
                "test_accuracy": result.test_accuracy,
                "images_per_second": median(r["images_per_second"] for r in result.history),
            }
        )
    lines = [
        f"| {r['seed']} | {r['best_epoch']} | {r['validation_accuracy']:.4f} "
        f"| {r['test_accuracy']:.4f} | {r['images_per_second']:,.0f} |"
        for r in rows
    ]
    notes = (
        f"A perceptron with hidden layers {', '.join(map(str, ClassifierConfig().hidden))}, "
        f"{args.epochs} epochs; the epoch with the best validation accuracy is tested."
    )
    config = asdict(ClassifierConfig(epochs=args.epochs))
    save("fashion_mnist", "Fashion-MNIST", notes, HEAD + lines, {"config": config, "runs": rows})
    print("\n".join(HEAD + lines))


if __name__ == "__main__":
    main()

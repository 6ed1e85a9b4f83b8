"""Classify images with a multi-layer perceptron: data, model, loop, test, pictures.

python examples/mlp_classification.py [--epochs 8] [--device cpu] [--seed 0] [--out demo]
"""

import argparse
from pathlib import Path

from tqdm import tqdm

import minitorch
from minitorch import nn, optim
from minitorch.data import SOURCES, DataLoader, random_split
from minitorch.nn import functional as F
from minitorch.viz import image_grid, training_curves


def load(device):
    """Fashion-MNIST where it is at hand, else the digits that come with the package."""
    try:
        data = SOURCES["fashion-mnist"].load(train=True, download=False, device=device)
        return "fashion-mnist", data
    except FileNotFoundError:
        return "digits", SOURCES["digits"].load(train=True, device=device)


def perceptron(inputs, classes):
    layers = [nn.Flatten()]
    for before, after in [(inputs, 256), (256, 128), (128, 100)]:
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(100, classes))


@minitorch.no_grad()
def evaluate(model, loader):
    """Mean loss and accuracy."""
    model.eval()
    loss = right = count = 0
    for x, y in loader:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        right += (logits.argmax(1) == y).sum().item()
        count += len(y)
    return loss / count, right / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    args = parser.parse_args()

    minitorch.manual_seed(args.seed)
    minitorch.set_flush_denormal(True)  # Adam runs into denormals, which are slow
    name, data = load(args.device)
    source = SOURCES[name]
    train, validation = random_split(data, [0.9, 0.1])
    train_loader = DataLoader(train, batch_size=128, shuffle=True, drop_last=True)
    validation_loader = DataLoader(validation, batch_size=1000)

    model = perceptron(source.shape[0] * source.shape[1], len(source.classes)).to(args.device)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = args.epochs * len(train_loader)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

    history = []
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = minitorch.zeros((), device=args.device)
        for x, y in tqdm(train_loader, desc=f"epoch {epoch}", leave=False, disable=None):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.detach()
        row = {"epoch": epoch, "loss": total.item() / len(train_loader)}
        row["val_loss"], row["val_accuracy"] = evaluate(model, validation_loader)
        history.append(row)
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))

    test = source.load(train=False, device=args.device)
    _, accuracy = evaluate(model, DataLoader(test, batch_size=1000))
    training_curves(history, args.out / "mlp_curves.png", title=name, test_accuracy=accuracy)
    x, y = test[:32]
    image_grid(x, y, model(x).argmax(1), source.classes, args.out / "mlp_predictions.png")
    print(f"{name}: test accuracy {accuracy:.4f}; pictures in {args.out}/")


if __name__ == "__main__":
    main()

"""A small network learns points of the plane, epoch by epoch: what the playground page shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from minitorch import nn, optim
from minitorch.backend import Device
from minitorch.backend.cpu.settings import flush_denormal
from minitorch.compiler import compile
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.data import PLANAR, planar
from minitorch.nn import functional as F
from minitorch.ops import stack
from minitorch.random import Generator, randperm

__all__ = ["PlanarConfig", "PlanarExperiment"]

POINTS = 500  # training and test
FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x1": lambda a, b: a,
    "x2": lambda a, b: b,
    "x1^2": lambda a, b: a * a,
    "x2^2": lambda a, b: b * b,
    "x1*x2": lambda a, b: a * b,
    "sin(x1)": lambda a, b: a.sin(),
    "sin(x2)": lambda a, b: b.sin(),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": optim.SGD,
    "Momentum": lambda parameters, lr: optim.SGD(parameters, lr=lr, momentum=0.9),
    "AdaGrad": optim.Adagrad,
    "RMSProp": optim.RMSprop,
    "Adam": optim.Adam,
}
PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {  # of a matrix of weights
    "none": lambda w: 0 * w.sum(),
    "L1": lambda w: w.abs().sum(),
    "L2": lambda w: (w * w).sum() / 2,
}

Rule = tuple[str, Callable[[Any], bool]]  # what is expected, and whether a value is so


def _one_of(names: Mapping[str, object]) -> Rule:
    return f"one of {', '.join(names)}", lambda given: isinstance(given, str) and given in names


def _number(low: float, high: float) -> Rule:
    kinds = (int, float)
    return (
        f"a number from {low:g} to {high:g}",
        lambda given: (
            isinstance(given, kinds) and not isinstance(given, bool) and low <= given <= high
        ),
    )


def _integer(low: int, high: int) -> Rule:
    _, fits = _number(low, high)
    return f"an integer from {low} to {high}", lambda given: isinstance(given, int) and fits(given)


def _several(low: int, high: int, rule: Rule) -> Rule:
    expected, fits = rule
    return (
        f"a list of {low} to {high}, each {expected}",
        lambda given: (
            isinstance(given, list | tuple) and low <= len(given) <= high and all(map(fits, given))
        ),
    )


RULES = {
    "data": _one_of(PLANAR),
    "noise": _number(0, 0.5),
    "train_fraction": _number(0.1, 0.9),
    "features": _several(1, len(FEATURES), _one_of(FEATURES)),
    "hidden": _several(0, 6, _integer(1, 8)),
    "activation": _one_of(ACTIVATIONS),
    "optimizer": _one_of(OPTIMIZERS),
    "lr": _number(1e-5, 10),
    "penalty": _one_of(PENALTIES),
    "penalty_rate": _number(0, 10),
    "batch_size": _integer(1, 100),
    "seed": _integer(0, 2**32 - 1),
}
# What may change while it learns.
ADJUSTABLE = ("lr", "penalty", "penalty_rate", "batch_size")


@dataclass(frozen=True)
class PlanarConfig:
    """The configuration of a `PlanarExperiment`; equal ones give equal results.

    To the last bit only on one machine with one number of BLAS threads: others add up in another
    order, and training makes the difference grow.

    data: a name of `minitorch.data.PLANAR`; train_fraction: of its points, the others are for
    testing; features: what the network is given of a point; hidden: widths of the hidden layers;
    penalty: L1 (the sum of |w|) or L2 (half the sum of w²) times penalty_rate is added to the loss.
    Raises ValueError, which names the parameter, for what is not as RULES says.
    """

    data: str = "circle"
    noise: float = 0.0
    train_fraction: float = 0.5
    features: tuple[str, ...] = ("x1", "x2")
    hidden: tuple[int, ...] = (4, 2)
    activation: str = "tanh"
    optimizer: str = "SGD"
    lr: float = 0.03
    penalty: str = "none"
    penalty_rate: float = 0.0
    batch_size: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (expected, fits) in RULES.items():
            given = getattr(self, name)
            if not fits(given):
                raise ValueError(f"{name}: expected {expected}, got {repr(given)[:80]}")
        for name in ("features", "hidden"):  # lists, where they come from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PlanarConfig:
        """The defaults, changed as given. Raises ValueError for an unknown name, too."""
        return replace(cls(), **_known(given, [field.name for field in fields(cls)]))


class PlanarExperiment:
    """Data, a network and an optimizer; `train_epoch` goes on.

    train_points, test_points (N, 2) and train_values, test_values (N,) are the data, on `device`.
    The loss is half the mean squared error; for classes (-1 and 1) the output goes through tanh.
    The first weights are drawn as `nn.Linear` draws them, by the seed.
    """

    def __init__(self, config: PlanarConfig, device: Device | str | None = None) -> None:
        self.config = config
        self.classes = PLANAR[config.data].classes
        self.epoch = 0
        points, values = planar(config.data, POINTS, config.noise, config.seed, device)[:]
        cut = round(POINTS * config.train_fraction)
        self.train_points, self.test_points = points[:cut], points[cut:]
        self.train_values, self.test_values = values[:cut], values[cut:]
        self._inputs = self.features(self.train_points)
        self._generator = Generator().manual_seed(config.seed + 1)
        self.model = self._network().to(points.device)
        self._optimizer = OPTIMIZERS[config.optimizer](self.model.parameters(), lr=config.lr)
        self._step = compile(self._one_step)

    def _network(self) -> nn.Sequential:
        config = self.config
        layers: list[nn.Module] = []
        for before, after in pairwise([len(config.features), *config.hidden, 1]):
            layer = nn.Linear(before, after)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(before**-0.5), before**-0.5, self._generator)
            layers += [layer, ACTIVATIONS[config.activation]()]
        layers[-1] = nn.Tanh() if self.classes else nn.Identity()
        return nn.Sequential(*layers)

    def features(self, points: Tensor) -> Tensor:
        """The features of points (N, 2), which the network sees: (N, features)."""
        x1, x2 = points[:, 0], points[:, 1]
        return stack([FEATURES[name](x1, x2) for name in self.config.features], dim=1)

    def predict(self, points: Tensor) -> Tensor:
        """The output (N,) for points (N, 2)."""
        with no_grad():
            said: Tensor = self.model(self.features(points))[:, 0]
        return said

    def units(self, points: Tensor) -> list[Tensor]:
        """The output of each unit for points (N, 2): (N, width) of features, layers and output."""
        found = [self.features(points)]
        with no_grad():
            for layer, activation in zip(self.linears, list(self.model)[1::2]):
                found.append(activation(layer(found[-1])))
        return found

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers with weights, first to last."""
        return [layer for layer in self.model if isinstance(layer, nn.Linear)]

    def adjust(self, given: Mapping[str, Any]) -> None:
        """Change some of ADJUSTABLE. Raises ValueError for others and for wrong values."""
        self.config = replace(self.config, **_known(given, ADJUSTABLE))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.lr
        self._step = compile(self._one_step)  # with this penalty

    def train_epoch(self) -> None:
        """One step for each batch of the training points, in an order of its own."""
        count, device = len(self._inputs), self._inputs.device
        order = randperm(count, generator=self._generator, device=device)
        with flush_denormal():
            for batch in order.split(self.config.batch_size):
                self._step(self._inputs[batch], self.train_values[batch])
        self.epoch += 1

    def _one_step(self, x: Tensor, values: Tensor) -> None:
        loss = F.mse_loss(self.model(x)[:, 0], values) / 2
        if self.config.penalty != "none":
            size = PENALTIES[self.config.penalty]
            for layer in self.linears:
                loss = loss + self.config.penalty_rate * size(layer.weight)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def losses(self) -> tuple[float, float]:
        """Half the mean squared error on the training and on the test points."""
        said = self.predict(self.train_points), self.predict(self.test_points)
        values = self.train_values, self.test_values
        train, test = (F.mse_loss(s, v).item() / 2 for s, v in zip(said, values))
        return train, test

    def accuracies(self) -> tuple[float, float]:
        """The share of training and of test points whose class is right; nan without classes."""
        if not self.classes:
            return math.nan, math.nan
        said = self.predict(self.train_points), self.predict(self.test_points)
        values = self.train_values, self.test_values
        train, test = ((s * v > 0).float().mean().item() for s, v in zip(said, values))
        return train, test


def _known(given: Mapping[str, Any], names: Any) -> Mapping[str, Any]:
    for name in given:
        if name not in names:
            raise ValueError(f"{name}: unknown here, expected some of {', '.join(names)}")
    return given

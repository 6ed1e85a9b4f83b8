"""Small networks on points of the plane, beside PyTorch; what their configuration refuses."""

import math
import re

import numpy as np
import pytest
import torch

import minitorch
from minitorch.train import PlanarConfig, PlanarExperiment, planar
from tests.referee import array

OPTIMIZERS = {
    "SGD": torch.optim.SGD,
    "Momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "AdaGrad": torch.optim.Adagrad,
    "RMSProp": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
}
ACTIVATIONS = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "linear": torch.nn.Identity,
}
PENALTIES = {
    "none": lambda w: 0 * w.sum(),
    "L1": lambda w: w.abs().sum(),
    "L2": lambda w: w.pow(2).sum() / 2,
}


def twin(experiment):
    """The same network in PyTorch."""
    layers = []
    for linear in experiment.linears:
        layer = torch.nn.Linear(*reversed(linear.weight.shape))
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(array(linear.weight)))
            layer.bias.copy_(torch.tensor(array(linear.bias)))
        layers += [layer, ACTIVATIONS[experiment.config.activation]()]
    layers[-1] = torch.nn.Tanh() if experiment.classes else torch.nn.Identity()
    return torch.nn.Sequential(*layers)


CASES = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"activation": name} for name in ACTIVATIONS),
    *({"penalty": name, "penalty_rate": 0.03} for name in PENALTIES),
    {"data": "reg-gauss", "hidden": (), "batch_size": 7, "train_fraction": 0.3},
]


@pytest.fixture
def in_order(monkeypatch):
    """Batches of the points as they stand."""
    arange = lambda n, generator, device: minitorch.arange(n, device=device)  # noqa: E731
    monkeypatch.setattr(planar, "randperm", arange)


def beside_pytorch(experiment, changes=()):
    """Train three epochs both here and there, with changes of the settings between them."""
    mse, model = torch.nn.functional.mse_loss, twin(experiment)
    optimizer = OPTIMIZERS[experiment.config.optimizer](model.parameters(), experiment.config.lr)
    train, test = (
        (torch.tensor(array(experiment.features(points))), torch.tensor(array(values)))
        for points, values in (
            (experiment.train_points, experiment.train_values),
            (experiment.test_points, experiment.test_values),
        )
    )
    for change in (*changes, {}, {}, {})[:3]:
        experiment.adjust(change)
        config = experiment.config
        optimizer.param_groups[0]["lr"] = config.lr
        for x, y in zip(*(t.split(config.batch_size) for t in train)):
            size = sum(PENALTIES[config.penalty](layer.weight) for layer in model[::2])
            optimizer.zero_grad()
            (mse(model(x)[:, 0], y) / 2 + config.penalty_rate * size).backward()
            optimizer.step()
        experiment.train_epoch()
        with torch.no_grad():
            theirs = [mse(model(x)[:, 0], y).item() / 2 for x, y in (train, test)]
        np.testing.assert_allclose(experiment.losses(), theirs, rtol=2e-3)
    assert experiment.epoch == 3


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("options", CASES)
def test_epochs_equal_those_of_pytorch(options):
    beside_pytorch(PlanarExperiment(PlanarConfig(**{"hidden": (5, 3), **options})))


@pytest.mark.usefixtures("in_order")
def test_what_may_change_while_it_learns():
    experiment = PlanarExperiment(PlanarConfig())
    changes = {"penalty": "L2", "penalty_rate": 0.03}, {"lr": 0.2}, {"batch_size": 50}
    beside_pytorch(experiment, changes)
    beside_pytorch(other := PlanarExperiment(PlanarConfig()), ({}, *changes))
    assert (other.config.lr, other.config.penalty) == (0.2, "L2")
    with pytest.raises(ValueError, match=r"^data: unknown here, expected some of lr, penalty, "):
        experiment.adjust({"data": "xor"})
    with pytest.raises(ValueError, match=r"^lr: expected a number from 1e-05 to 10, got -1$"):
        experiment.adjust({"lr": -1})
    assert experiment.config.lr == 0.2


def test_features_are_these_functions():
    experiment = PlanarExperiment(PlanarConfig(features=tuple(planar.FEATURES)))
    x = array(experiment.train_points).astype(np.float64)
    a, b = x.T
    expected = np.stack([a, b, a * a, b * b, a * b, np.sin(a), np.sin(b)], axis=1)
    found = array(experiment.features(experiment.train_points))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_units_are_those_of_each_layer():
    experiment = PlanarExperiment(PlanarConfig(hidden=(4, 3)))
    points = experiment.test_points
    units = experiment.units(points)
    assert [tuple(unit.shape) for unit in units] == [(250, 2), (250, 4), (250, 3), (250, 1)]
    model, values = twin(experiment), torch.tensor(array(units[0]))
    for unit, (linear, activation) in zip(units[1:], zip(model[::2], model[1::2])):
        values = activation(linear(values))
        np.testing.assert_allclose(array(unit), values.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(experiment.predict(points)), array(units[-1])[:, 0], rtol=1e-5)


def test_accuracies():
    experiment = PlanarExperiment(PlanarConfig(data="gauss", train_fraction=0.2))
    said = array(experiment.predict(experiment.test_points))
    right = (np.sign(said) == array(experiment.test_values)).mean()
    assert experiment.accuracies()[1] == pytest.approx(right)
    assert len(experiment.train_points) == 100
    assert all(map(math.isnan, PlanarExperiment(PlanarConfig(data="reg-plane")).accuracies()))


def test_equal_configurations_give_equal_results():
    """Whatever the state of the default generator, and where two learn by turns."""
    first, second = (PlanarExperiment(PlanarConfig(seed=3)) for _ in range(2))
    other = PlanarExperiment(PlanarConfig(seed=4))
    for experiment in (first, second, other, first, second):
        experiment.train_epoch()
    assert first.losses() == second.losses() != other.losses()
    first, other = (PlanarExperiment(PlanarConfig(seed=seed)) for seed in (3, 4))
    assert first.linears[0].weight.tolist() != other.linears[0].weight.tolist()


BAD = [
    ("data", "ring", "one of circle, xor, gauss, spiral, reg-plane, reg-gauss"),
    ("data", ["xor"], "one of circle, xor, gauss, spiral, reg-plane, reg-gauss"),
    ("noise", 0.51, "a number from 0 to 0.5"),
    ("noise", "much", "a number from 0 to 0.5"),
    ("noise", True, "a number from 0 to 0.5"),
    ("noise", math.nan, "a number from 0 to 0.5"),
    ("train_fraction", 0, "a number from 0.1 to 0.9"),
    ("features", (), "a list of 1 to 7, each one of x1, x2, x1^2, x2^2, x1*x2, sin(x1), sin(x2)"),
    ("features", "x1", "a list of 1 to 7, each one of x1, x2, x1^2, x2^2, x1*x2, sin(x1), sin(x2)"),
    ("hidden", (9,), "a list of 0 to 6, each an integer from 1 to 8"),
    ("hidden", (1,) * 7, "a list of 0 to 6, each an integer from 1 to 8"),
    ("hidden", (2.5,), "a list of 0 to 6, each an integer from 1 to 8"),
    ("activation", "step", "one of tanh, relu, sigmoid, linear"),
    ("optimizer", "sgd", "one of SGD, Momentum, AdaGrad, RMSProp, Adam"),
    ("lr", 11, "a number from 1e-05 to 10"),
    ("penalty", "L3", "one of none, L1, L2"),
    ("penalty_rate", -0.1, "a number from 0 to 10"),
    ("batch_size", 0, "an integer from 1 to 100"),
    ("seed", -1, "an integer from 0 to 4294967295"),
    ("seed", None, "an integer from 0 to 4294967295"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_bad_settings(name, value, expected):
    said = re.escape(f"{name}: expected {expected}, got {value!r}")
    with pytest.raises(ValueError, match=f"^{said}$"):
        PlanarConfig.of({name: value})


def test_every_setting_has_a_rule_and_unknown_ones_are_refused():
    assert {name for name, _, _ in BAD} == set(planar.RULES)
    assert set(planar.RULES) == set(PlanarConfig.__dataclass_fields__)
    with pytest.raises(ValueError, match=r"^colour: unknown here, expected some of data, noise, "):
        PlanarConfig.of({"colour": 1})

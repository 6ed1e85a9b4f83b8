import math

import pytest
import torch

import minitorch
from minitorch import optim

STEPS = 40
SCHEDULERS = {
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9 + epoch / 1000),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.5, total_iters=7),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 20, power=1.5),
    "WarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.01),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 5, 8),
    "CyclicLR halved": lambda s, o: s.CyclicLR(o, 0.1, [0.5, 0.7], 6, mode="triangular2"),
    "CyclicLR falling": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 4, mode="exp_range", gamma=0.95),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 9)],
        [6, 20],
    ),
    "SequentialLR restarts": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o), s.CosineAnnealingWarmRestarts(o, 5), s.StepLR(o, 3)], [7, 25]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o), s.ExponentialLR(o, 0.9), s.StepLR(o, 10)], o
    ),
    "StepLR": lambda s, o: s.StepLR(o, 7, gamma=0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [15, 3, 3, 8], gamma=0.5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 9),
    "CosineAnnealingLR eta_min": lambda s, o: s.CosineAnnealingLR(o, T_max=10, eta_min=0.01),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR down": lambda s, o: s.LinearLR(o, 1.0, 0.2, total_iters=12),
    "LinearLR at once": lambda s, o: s.LinearLR(o, 0.5, total_iters=0),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "LambdaLR each": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 0.5**e]),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.7, total_steps=STEPS),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.7, 0.2], epochs=4, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.25
    ),
    "OneCycleLR three phases": lambda s, o: s.OneCycleLR(
        o, 0.7, total_steps=STEPS, three_phase=True, base_momentum=0.5, div_factor=5
    ),
}


def optimizer_of(library, name="SGD"):
    options = {"momentum": 0.9} if name == "SGD" else {}
    a, b = (library.nn.Parameter(library.zeros(2)) for _ in range(2))
    groups = [{"params": [a]}, {"params": [b], "lr": 0.3}]
    return getattr(library.optim, name)(groups, lr=0.1, **options)


def schedulers(library):
    return library.optim.lr_scheduler


def rates(optimizer):
    return [g["lr"] for g in optimizer.param_groups]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_are_pytorchs_step_for_step(name):
    for kind in ("SGD", "Adam"):
        a, b = optimizer_of(minitorch, kind), optimizer_of(torch, kind)
        ours = SCHEDULERS[name](schedulers(minitorch), a)
        theirs = SCHEDULERS[name](schedulers(torch), b)
        for _ in range(STEPS):
            assert rates(a) == pytest.approx(rates(b), rel=1e-12, abs=1e-15)
            assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-15)
            for g, h in zip(a.param_groups, b.param_groups):
                for key in ("momentum", "betas"):
                    if key in g:
                        assert g[key] == pytest.approx(h[key], rel=1e-12)
            b.step()
            ours.step()
            theirs.step()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_resumed_schedule_equals_an_uninterrupted_one(name):
    a = optimizer_of(minitorch)
    whole = SCHEDULERS[name](schedulers(minitorch), a)
    b = optimizer_of(minitorch)
    first = SCHEDULERS[name](schedulers(minitorch), b)
    for _ in range(11):
        whole.step()
        first.step()
    c = optimizer_of(minitorch)
    second = SCHEDULERS[name](schedulers(minitorch), c)
    second.load_state_dict(first.state_dict())
    c.load_state_dict(b.state_dict())
    for _ in range(11):
        whole.step()
        second.step()
        assert rates(a) == rates(c)
    assert "optimizer" not in first.state_dict()


def test_state_can_be_saved(tmp_path):
    for make in SCHEDULERS.values():
        scheduler = make(schedulers(minitorch), optimizer_of(minitorch))
        minitorch.save(scheduler.state_dict(), tmp_path / "scheduler")
        loaded = minitorch.load(tmp_path / "scheduler")
        assert loaded == scheduler.state_dict()


def test_schedulers_combine():
    a, b = optimizer_of(minitorch), optimizer_of(torch)
    pairs = [
        (s.LinearLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 7))
        for s, o in [(schedulers(minitorch), a), (schedulers(torch), b)]
    ]
    b.step()
    for _ in range(20):
        for group in pairs:
            for scheduler in group:
                scheduler.step()
        assert rates(a) == pytest.approx(rates(b), rel=1e-12)


LATER = {
    "StepLR": lambda s, o, k: s.StepLR(o, 3, last_epoch=k),
    "MultiStepLR": lambda s, o, k: s.MultiStepLR(o, [0, 3, 5, 5, 7], last_epoch=k),
    "ExponentialLR": lambda s, o, k: s.ExponentialLR(o, 0.9, last_epoch=k),
    "CosineAnnealingLR": lambda s, o, k: s.CosineAnnealingLR(o, 9, 0.01, k),
    "LinearLR": lambda s, o, k: s.LinearLR(o, 0.2, last_epoch=k),
    "LambdaLR": lambda s, o, k: s.LambdaLR(o, lambda epoch: 0.9**epoch, k),
}


@pytest.mark.parametrize("last_epoch", range(-1, 7))
@pytest.mark.parametrize("name", LATER)
def test_beginning_at_a_later_epoch(name, last_epoch):
    results = []
    for library in (minitorch, torch):
        optimizer = optimizer_of(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        scheduler = LATER[name](schedulers(library), optimizer, last_epoch)
        seen = [rates(optimizer)]
        optimizer.step()
        for _ in range(6):
            scheduler.step()
            seen.append(rates(optimizer))
        results.append(seen)
    for mine, expected in zip(*results):
        assert mine == pytest.approx(expected, rel=1e-12)


GROWING = {
    "StepLR": lambda s, o: s.StepLR(o, 3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 5]),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 9),
}


def add_group(library, optimizer):
    optimizer.add_param_group({"params": [library.nn.Parameter(library.zeros(2))], "lr": 0.5})


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("name", GROWING)
def test_a_group_added_later_is_pytorchs(name, before):
    a, b = optimizer_of(minitorch), optimizer_of(torch)
    ours, theirs = (
        GROWING[name](schedulers(minitorch), a),
        GROWING[name](schedulers(torch), b),
    )
    b.step()
    for i in range(9):
        if i == before:
            add_group(minitorch, a)
            add_group(torch, b)
        ours.step()
        theirs.step()
        assert rates(a) == ours.get_last_lr() == pytest.approx(rates(b), rel=1e-12, abs=1e-15)


def test_where_pytorch_has_no_rule_for_a_group_added_later():
    """It ends with an error of `zip`."""
    a = optimizer_of(minitorch)
    scheduler = schedulers(minitorch).LambdaLR(a, lambda epoch: 0.9**epoch)
    scheduler.step()
    add_group(minitorch, a)
    scheduler.step()
    assert rates(a) == pytest.approx([0.081, 0.243, 0.405])
    b = optimizer_of(minitorch)
    scheduler = schedulers(minitorch).CosineAnnealingLR(b, 4)
    add_group(minitorch, b)
    for epoch in range(1, 9):
        scheduler.step()
        factor = (1 + math.cos(math.pi * epoch / 4)) / 2
        assert rates(b) == pytest.approx([0.1 * factor, 0.3 * factor, 0.5 * factor], abs=1e-12)


@pytest.mark.parametrize("min_lr", [0, 0.02])
def test_plateau_reduces_a_group_added_later(min_lr):
    results = []
    for library in (minitorch, torch):
        optimizer = optimizer_of(library)
        scheduler = schedulers(library).ReduceLROnPlateau(optimizer, patience=0, min_lr=min_lr)
        seen = []
        for i in range(7):
            if i == 2:
                add_group(library, optimizer)
            scheduler.step(1.0)
            seen.append(rates(optimizer))
        results.append(seen)
    for mine, expected in zip(*results):
        assert mine == pytest.approx(expected, rel=1e-12)


def make_steps(scheduler):
    metric = [1.0] if isinstance(scheduler, optim.lr_scheduler.ReduceLROnPlateau) else []
    for _ in range(2):
        scheduler.step(*metric)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s, o: s.LambdaLR(o, [lambda e: 1, lambda e: 2]), "lr_lambda: .* than the 2"),
        (lambda s, o: s.OneCycleLR(o, 0.5, 9), "before the scheduler is made"),
        (lambda s, o: s.ReduceLROnPlateau(o, patience=0, min_lr=[0, 0.1]), "min_lr: .* than the 2"),
    ],
)
def test_a_group_added_later_without_a_value_for_it(make, message):
    optimizer = optimizer_of(minitorch)
    scheduler = make(schedulers(minitorch), optimizer)
    add_group(minitorch, optimizer)
    with pytest.raises(ValueError, match=message):
        make_steps(scheduler)


METRICS = [5, 4, 4.0001, 3.99999, 3.9, 3.9, 3.9, 3.95, 3.95, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2]
PLATEAUS = [
    {"patience": 1},
    {"patience": 0, "factor": 0.5, "cooldown": 2},
    {"mode": "max", "patience": 2},
    {"mode": "max", "patience": 1, "threshold": 0.5, "threshold_mode": "abs"},
    {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "min_lr": 0.02},
    {"patience": 0, "min_lr": [0.001, 0.2], "eps": 1e-3},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_is_pytorchs(options):
    a, b = optimizer_of(minitorch), optimizer_of(torch)
    ours = schedulers(minitorch).ReduceLROnPlateau(a, **options)
    theirs = schedulers(torch).ReduceLROnPlateau(b, **options)
    for i, metric in enumerate(METRICS):
        ours.step(minitorch.tensor(float(metric)) if i % 2 else metric)
        theirs.step(float(metric))
        assert rates(a) == pytest.approx(rates(b), rel=1e-12)
        assert ours.num_bad_epochs == theirs.num_bad_epochs
        assert ours.get_last_lr() == rates(a)
        if i == 7:
            saved = ours.state_dict()
            ours = schedulers(minitorch).ReduceLROnPlateau(a)
            ours.load_state_dict(saved)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, o: s.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda s, o: s.ReduceLROnPlateau(3), TypeError, "int is not an Optimizer"),
        (lambda s, o: s.StepLR(o, 1, last_epoch=3), KeyError, "initial_lr"),
        (lambda s, o: s.LambdaLR(o, [lambda e: 1]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda s, o: s.LinearLR(o, 0.0), ValueError, "Starting multiplicative factor"),
        (lambda s, o: s.LinearLR(o, 1.0, 2.0), ValueError, "Ending multiplicative factor"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "should be < 1.0"),
        (lambda s, o: s.ReduceLROnPlateau(o, mode="low"), ValueError, "mode low is unknown"),
        (
            lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"),
            ValueError,
            "threshold mode x is unknown",
        ),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1]), ValueError, "expected 2 min_lrs, got 1"),
        (lambda s, o: s.ReduceLROnPlateau(o).step(), TypeError, "metric"),
        (lambda s, o: s.OneCycleLR(o, 1.0), ValueError, "total_steps OR"),
        (lambda s, o: s.OneCycleLR(o, [1.0], 5), ValueError, "expected 2 values for max_lr"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 5, pct_start=2.0), ValueError, "pct_start"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 5, anneal_strategy="x"), ValueError, "'linear'"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 0), ValueError, "positive integer total_steps"),
        (
            lambda s, o: too_often(s, o),
            ValueError,
            "Tried to step 4 times",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(schedulers(minitorch), optimizer_of(minitorch))
    other = optimizer_of(torch)
    other.step()
    with pytest.raises(error):
        call(schedulers(torch), other)


def too_often(s, o):
    scheduler = s.OneCycleLR(o, 1.0, 3)
    for _ in range(4):
        o.step()
        scheduler.step()


def test_one_cycle_needs_a_momentum():
    p = minitorch.nn.Parameter(minitorch.zeros(1))
    with pytest.raises(ValueError, match="must support momentum"):
        schedulers(minitorch).OneCycleLR(optim.Adagrad([p]), 0.1, 10)
    schedulers(minitorch).OneCycleLR(optim.Adagrad([p]), 0.1, 10, cycle_momentum=False).step()

import copy

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn, optim

SHAPES = [(4, 3), (5,), ()]
STEPS = 100
RULES = {
    "SGD": [
        {},
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1},
        {"initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True},
    ],
    "RMSprop": [
        {},
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True, "alpha": 0.9},
        {"momentum": 0.5, "centered": True, "weight_decay": 0.01, "maximize": True},
    ],
    "Adam": [
        {},
        {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3},
        {"weight_decay": 0.1},
        {"amsgrad": True, "lr": 0.05},
        {"amsgrad": True, "weight_decay": 0.1, "maximize": True},
    ],
    "AdamW": [
        {},
        {"lr": 0.1, "weight_decay": 0.3},
        {"amsgrad": True, "maximize": True},
    ],
}
TABLE = [(name, options) for name, rows in RULES.items() for options in rows]
IDS = [f"{name} {' '.join(f'{k}={v}' for k, v in options.items())}" for name, options in TABLE]
# Those whose rules are tensor ops, not kernels.
COMPOSITE = {
    "Adadelta": [{}, {"rho": 0.7, "weight_decay": 0.1, "maximize": True}],
    "Adamax": [{}, {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}],
    "NAdam": [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1}],
    "RAdam": [{}, {"betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True}],
    "Rprop": [{}, {"etas": (0.6, 1.1), "step_sizes": (1e-3, 0.1)}],
    "ASGD": [{}, {"lr": 0.1, "lambd": 0.01, "t0": 30, "weight_decay": 0.1}],
}
BOTH = [(name, o) for name, rows in (RULES | COMPOSITE).items() for o in rows]
BOTH_IDS = [f"{name} {' '.join(f'{k}={v}' for k, v in options.items())}" for name, options in BOTH]


def array(x):
    return x.detach().cpu().numpy()


def starts(dtype):
    rng = np.random.default_rng(1)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]


def gradients(dtype):
    """Gradients of every step: noise around a slope, with exact zeros and very small numbers."""
    rng = np.random.default_rng(2)
    for step in range(STEPS):
        grads = [np.asarray(rng.normal(size=s) + np.sin(step / 9), dtype) for s in SHAPES]
        grads[0][0] = 0
        grads[1][0] = 1e-7
        yield grads


def params(library, dtype):
    return [library.nn.Parameter(library.tensor(x)) for x in starts(dtype)]


def descend(library, optimizer, ps, steps):
    for grads in steps:
        for p, g in zip(ps, grads):
            p.grad = library.tensor(g)
        optimizer.step()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), BOTH, ids=BOTH_IDS)
def test_rules_are_pytorchs_over_100_steps(name, options, dtype):
    a, b = params(minitorch, dtype), params(torch, dtype)
    ours, theirs = getattr(optim, name)(a, **options), getattr(torch.optim, name)(b, **options)
    rtol, atol = (2e-5, 2e-6) if dtype == "float32" else (1e-11, 1e-12)
    if options.get("centered"):  # a difference of equal numbers; PyTorch rounds as the machine does
        rtol *= 10
    tolerance = {"rtol": rtol, "atol": atol}
    for grads in gradients(dtype):
        descend(minitorch, ours, a, [grads])
        descend(torch, theirs, b, [grads])
        for p, q in zip(a, b):
            np.testing.assert_allclose(array(p), array(q), **tolerance)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert state["state"].keys() == expected["state"].keys()
    for i, values in expected["state"].items():
        assert state["state"][i].keys() == values.keys()
        for key, value in values.items():
            mine = state["state"][i][key]
            assert key == "step" or not mine.requires_grad
            mine = mine if key == "step" else array(mine)
            np.testing.assert_allclose(mine, array(value), **tolerance)
    for group in expected["param_groups"]:
        for key in state["param_groups"][0]:
            assert state["param_groups"][0][key] == group[key]


@pytest.mark.parametrize(("name", "options"), BOTH, ids=BOTH_IDS)
def test_state_goes_over_to_pytorch_and_back(name, options):
    steps = list(gradients("float64"))
    a, b = params(minitorch, "float64"), params(torch, "float64")
    ours, theirs = getattr(optim, name)(a, **options), getattr(torch.optim, name)(b, **options)
    descend(torch, theirs, b, steps[:50])
    state = theirs.state_dict()
    state["state"] = {
        i: {k: minitorch.tensor(v.numpy()) for k, v in values.items()}
        for i, values in state["state"].items()
    }
    ours.load_state_dict(state)
    with minitorch.no_grad():
        for p, q in zip(a, b):
            p.copy_(minitorch.tensor(q.detach().numpy()))
    descend(minitorch, ours, a, steps[50:])

    back = ours.state_dict()
    back["state"] = {
        i: {k: torch.tensor(array(v)) if k != "step" else v for k, v in values.items()}
        for i, values in back["state"].items()
    }
    again = getattr(torch.optim, name)(b, **options)
    again.load_state_dict(copy.deepcopy(back))
    descend(torch, theirs, b, steps[50:])
    rtol = 1e-6 if name == "ASGD" else 1e-11  # its rate is a float32 until it is loaded
    for p, q in zip(a, b):
        np.testing.assert_allclose(array(p), array(q), rtol=rtol, atol=rtol / 10)
    descend(minitorch, ours, a, steps[:1])
    descend(torch, again, b, steps[:1])
    for p, q in zip(a, b):
        np.testing.assert_allclose(array(p), array(q), rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_a_resumed_run_equals_an_uninterrupted_one(name, options):
    steps = list(gradients("float32"))[:20]
    whole, part = params(minitorch, "float32"), params(minitorch, "float32")
    descend(minitorch, getattr(optim, name)(whole, **options), whole, steps)
    first = getattr(optim, name)(part, **options)
    descend(minitorch, first, part, steps[:7])
    second = getattr(optim, name)(part)
    second.load_state_dict(first.state_dict())
    descend(minitorch, second, part, steps[7:])
    for p, q in zip(whole, part):
        assert p.tolist() == q.tolist()


def network(library):
    """Most layers in one model."""
    n = library.nn
    return n.Sequential(
        n.Embedding(9, 4, padding_idx=0),
        n.BatchNorm1d(3),
        n.Flatten(),
        n.Linear(12, 8),
        n.GELU(),
        n.LayerNorm(8),
        n.Linear(8, 8, bias=False),
        n.ELU(),
        n.Linear(8, 3),
    ).double()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_a_model_trains_as_pytorchs_step_for_step(name):
    models = network(minitorch), network(torch)
    state = models[1].state_dict()
    models[0].load_state_dict({k: minitorch.tensor(v.numpy()) for k, v in state.items()})
    losses = [], []
    ids = np.random.default_rng(5).integers(0, 9, size=(16, 3))
    for library, model, history in zip((minitorch, torch), models, losses):
        optimizer = getattr(library.optim, name)(model.parameters(), lr=0.01)
        scheduler = library.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        loss_of = library.nn.CrossEntropyLoss(label_smoothing=0.1)
        for _ in range(30):
            optimizer.zero_grad()
            loss = loss_of(model(library.tensor(ids)), library.tensor(ids[:, 0] // 3))
            loss.backward()
            library.nn.utils.clip_grad_norm_(model.parameters(), 0.7)
            optimizer.step()
            scheduler.step()
            history.append(loss.item())
    np.testing.assert_allclose(*losses, rtol=1e-8)
    assert losses[0][-1] < losses[0][0]


# ---------------------------------------------------------------------- row-sparse gradients
SPARSE = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "maximize": True}),
    ("SparseAdam", {}),
    ("SparseAdam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2, "maximize": True}),
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("shape", [(7, 3), (7,), (7, 2, 2)])
@pytest.mark.parametrize(("name", "options"), SPARSE)
def test_row_sparse_rules_are_pytorchs(name, options, shape):
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    p, q = minitorch.nn.Parameter(minitorch.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([q], **options)
    for _ in range(STEPS):
        ids = rng.integers(1, 7, size=6) if rng.random() < 0.8 else np.zeros(0, int)
        values = rng.normal(size=(len(ids), *shape[1:]))
        p.grad = minitorch.RowGrad(minitorch.tensor(ids), minitorch.tensor(values), shape)
        q.grad = torch.sparse_coo_tensor(ids[None], values, shape)
        ours.step()
        theirs.step()
        np.testing.assert_allclose(array(p), array(q), rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(array(p)[0], start[0])


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_rows_from_an_embedding(name):
    layer = nn.Embedding(6, 2, sparse=True)
    before = layer.weight.detach().clone()
    (layer(minitorch.tensor([1, 4, 1])) ** 2).sum().backward()
    getattr(optim, name)(layer.parameters(), lr=0.1).step()
    changed = (before != layer.weight).any(1)
    assert changed.tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (optim.Adam, "Adam does not support .* use SGD without momentum, Adagrad or SparseAdam"),
        (optim.AdamW, "AdamW does not support"),
        (optim.RMSprop, "RMSprop does not support"),
        (lambda p: optim.SGD(p, momentum=0.9), "need momentum=0"),
        (lambda p: optim.SGD(p, weight_decay=0.9), "weight_decay option is not compatible"),
        (lambda p: optim.Adagrad(p, weight_decay=0.9), "weight_decay option is not compatible"),
    ],
)
def test_who_cannot_use_rows_says_who_can(make, message):
    layer = nn.Embedding(3, 2, sparse=True)
    layer(minitorch.tensor([1])).sum().backward()
    before = layer.weight.tolist()
    with pytest.raises(RuntimeError, match=message):
        make(layer.parameters()).step()
    assert layer.weight.tolist() == before


def test_sparse_adam_refuses_dense_gradients():
    p = nn.Parameter(minitorch.zeros(2))
    p.grad = minitorch.ones(2)
    with pytest.raises(RuntimeError, match="dense gradients, please consider Adam"):
        optim.SparseAdam([p]).step()


# ---------------------------------------------------------------------- groups and the base class
def test_groups_have_options_of_their_own():
    a, b = params(minitorch, "float64"), params(torch, "float64")
    ours, theirs = (
        library.optim.SGD([{"params": p[0]}, {"params": p[1:2], "lr": 0.5}], 0.1, momentum=0.9)
        for library, p in [(minitorch, a), (torch, b)]
    )
    ours.add_param_group({"params": iter(a[2:]), "momentum": 0.0, "name": "last"})
    theirs.add_param_group({"params": iter(b[2:]), "momentum": 0.0, "name": "last"})
    steps = list(gradients("float64"))
    descend(minitorch, ours, a, steps)
    descend(torch, theirs, b, steps)
    for p, q in zip(a, b):
        np.testing.assert_allclose(array(p), array(q), rtol=1e-12)
    assert [g["params"] for g in ours.state_dict()["param_groups"]] == [[0], [1], [2]]
    assert ours.param_groups[2]["name"] == "last"
    shown = repr(ours)
    assert shown.startswith("SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.1\n")
    assert "Parameter Group 2" in shown


def test_parameters_without_gradient_are_left_alone():
    p, q = nn.Parameter(minitorch.ones(2)), nn.Parameter(minitorch.ones(2))
    optimizer = optim.Adam([p, q], lr=0.1, weight_decay=0.5)
    p.grad = minitorch.ones(2)
    optimizer.step()
    assert q.tolist() == [1, 1]
    assert p.tolist() != [1, 1]
    assert list(optimizer.state_dict()["state"]) == [0]


def test_zero_grad():
    p = nn.Parameter(minitorch.ones(2))
    optimizer = optim.SGD([p], lr=0.1)
    (p * 3).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_a_step_is_not_recorded_and_seen_by_backward():
    p = nn.Parameter(minitorch.ones(2))
    optimizer = optim.SGD([p], lr=0.1)
    loss = (p * p).sum()
    p.grad = minitorch.ones(2)
    optimizer.step()
    assert p.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_closure():
    p = nn.Parameter(minitorch.tensor([2.0]))
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with minitorch.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert p.item() == pytest.approx(1.6)
    assert optimizer.step() is None


P = nn.Parameter(minitorch.zeros(2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda o: o([]), ValueError, "empty parameter list"),
        (lambda o: o(P), TypeError, "but got a Parameter"),
        (lambda o: o({P}), TypeError, "but got a set"),
        (lambda o: o([{"params": {P}}]), TypeError, "got a set"),
        (lambda o: o([3]), TypeError, "one of the params is int"),
        (lambda o: o([P * 2]), ValueError, "non-leaf"),
        (lambda o: o([{"params": [P]}, {"params": [P]}]), ValueError, "more than once"),
        (lambda o: o([P], lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
        (lambda o: o([P], lr=None), TypeError, "Invalid learning rate: expected a number, got N"),
        (lambda o: o([P], lr="0.1"), TypeError, "Invalid learning rate: expected a number, got '"),
        (lambda o: o([P], lr=[0.1]), TypeError, "Invalid learning rate: expected a number"),
        (lambda o: o([{"params": [P], "lr": None}]), TypeError, "Invalid learning rate"),
        (lambda o: o([P], lr=minitorch.tensor(-1.0)), ValueError, "Invalid learning rate"),
        (lambda o: o([P], lr=minitorch.ones(2)), ValueError, "learning rate: a tensor of 2 numb"),
        (lambda o: o([P], lr=float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda o: o([{"params": [P], "lr": -2}]), ValueError, "Invalid learning rate: -2"),
        (lambda o: o([P], lr=0.1).add_param_group([P]), TypeError, "must be a dict"),
    ],
)
@pytest.mark.parametrize("name", [*RULES, "SparseAdam"])
def test_bad_parameters(name, call, error, message):
    with pytest.raises(error, match=message):
        call(getattr(optim, name))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"momentum": -1}, "Invalid momentum value: -1"),
        ("SGD", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov"),
        ("Adagrad", {"lr_decay": -1}, "Invalid lr_decay value: -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value"),
        ("RMSprop", {"alpha": -1}, "Invalid alpha value: -1"),
        ("RMSprop", {"eps": -1}, "Invalid epsilon value: -1"),
        ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("AdamW", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
        ("SparseAdam", {"eps": -1}, "Invalid epsilon value: -1"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([P], **options)
    with pytest.raises(ValueError):
        getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(2))], **options)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "SparseAdam"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_rate_may_be_a_tensor(name, shape):
    def run(rate, halve):
        p = nn.Parameter(minitorch.tensor([1.0, 2.0]))
        optimizer = getattr(optim, name)([p], lr=rate)
        for i in range(6):
            p.grad = p.detach().clone()
            if name == "SparseAdam":
                p.grad = minitorch.RowGrad(minitorch.tensor([0, 1]), p.grad, (2,))
            optimizer.step()
            if i == 3:
                halve(optimizer.param_groups[0])
        scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        scheduler.step()
        optimizer.step()
        return p.tolist(), scheduler.get_last_lr()

    rate = minitorch.full(shape, 0.25)
    found = run(rate, lambda group: rate.mul_(0.5))
    assert found == run(0.25, lambda group: group.update(lr=group["lr"] * 0.5))
    assert rate.item() == 0.125 and found[1] == [0.0625]


def test_options_that_are_tensors_become_numbers():
    half = minitorch.tensor(0.5)
    sgd = optim.SGD([nn.Parameter(minitorch.ones(2))], lr=0.1, momentum=half, weight_decay=half)
    adam = optim.Adam([{"params": [nn.Parameter(minitorch.ones(2))], "betas": [half, 0.75]}])
    assert [sgd.param_groups[0][k] for k in ("momentum", "weight_decay")] == [0.5, 0.5]
    assert adam.param_groups[0]["betas"] == (0.5, 0.75)


def test_a_compiled_step_reads_a_rate_that_is_a_tensor(device):
    def run(rate):
        model = nn.Linear(2, 1)
        nn.init.constant_(model.weight, 0.5)
        nn.init.zeros_(model.bias)
        optimizer = optim.SGD(model.parameters(), lr=rate)
        scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

        @minitorch.compile
        def step(x):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
            scheduler.step()

        for _ in range(6):
            step(minitorch.ones(3, 2))
        assert step.replays > 0
        return model.weight.tolist()

    assert run(minitorch.tensor(0.25)) == run(0.25)


def test_bad_states_change_nothing():
    p, q = nn.Parameter(minitorch.zeros(2)), nn.Parameter(minitorch.zeros(3))
    optimizer = optim.Adam([p, q], lr=0.1)
    for t in (p, q):
        t.grad = minitorch.ones(*t.shape)
    optimizer.step()
    state = optimizer.state_dict()
    before = repr(state)
    groups = state["param_groups"]
    for bad, message in [
        ({"state": {}, "param_groups": []}, "has 0 parameter groups, the optimizer 1"),
        (
            {"state": {}, "param_groups": [{"params": [0], "lr": 5}]},
            "group 0: 1 parameters, expected 2",
        ),
        ({"state": {7: {}}, "param_groups": groups}, "state for parameter 7"),
        (
            {"state": {0: {"exp_avg": minitorch.zeros(5)}}, "param_groups": groups},
            r"exp_avg of shape \(5,\) for a parameter of shape \(2,\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(bad)
    assert repr(optimizer.state_dict()) == before


def test_loaded_state_takes_the_parameters_dtype_and_is_a_copy():
    p = nn.Parameter(minitorch.zeros(2))
    p.grad = minitorch.ones(2)
    first = optim.Adam([p])
    first.step()
    q = nn.Parameter(minitorch.zeros(2, dtype=minitorch.float64))
    second = optim.Adam([q])
    second.load_state_dict(first.state_dict())
    moment = second.state_dict()["state"][0]["exp_avg"]
    assert moment.dtype is minitorch.float64
    first.step()
    assert moment.tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_parameter_that_is_listed_twice_warns_and_moves_twice(name, clear):
    def trained(m):
        x, y = (m.tensor([v, 2.0], requires_grad=True) for v in (1.0, 3.0))
        with pytest.warns(UserWarning, match="duplicate parameters"):
            optimizer = getattr(m.optim, name)([x, y, x], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=clear)
            (x * x * y).sum().backward()
            optimizer.step()
        return [*x.tolist(), *y.tolist()]

    assert trained(minitorch) == pytest.approx(trained(torch), rel=1e-5)


def test_duplicates_in_a_later_group_warn():
    x, y = (minitorch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([x], lr=0.1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer.add_param_group({"params": [y, y]})
    with pytest.raises(ValueError, match="more than once"):
        optimizer.add_param_group({"params": [y]})


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_frozen_parameter_that_holds_a_gradient_is_stepped(name):
    found = []
    for library in (minitorch, torch):
        ps = params(library, "float32")
        optimizer = getattr(library.optim, name)(ps, lr=0.1)
        steps = list(gradients("float32"))
        descend(library, optimizer, ps, steps[:2])
        ps[0].requires_grad_(False)
        optimizer.step()
        descend(library, optimizer, ps, steps[2:4])
        ps[0].grad = None  # and not any longer
        optimizer.step()
        found.append([array(p) for p in ps])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- a rule of one's own
class Lion(optim.Optimizer):
    """The sign of a momentum (Chen et al. 2023), in tensor ops."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @minitorch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", minitorch.zeros_like(p))
                p.mul_(1 - lr * group["weight_decay"]).sub_(m.lerp(p.grad, 1 - beta1).sign() * lr)
                m.lerp_(p.grad, 1 - beta2)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_in_tensor_ops_is_an_optimizer(device, compiled):
    target = np.array([[0.3, -1.0], [2.0, 0.0]])
    p = nn.Parameter(minitorch.zeros(2, 2, dtype=minitorch.float64))
    optimizer = Lion([p], lr=0.1, weight_decay=0.2)

    def step(target):
        optimizer.zero_grad()
        (p - target).square().sum().backward()
        optimizer.step()

    run = minitorch.compile(step, fullgraph=True) if compiled else step
    expected, m = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(8):
        run(minitorch.tensor(target))
        g = 2 * (expected - target)
        update = np.sign(0.9 * m + 0.1 * g)
        expected -= 0.1 * (update + 0.2 * expected)
        m = 0.99 * m + 0.01 * g
        np.testing.assert_allclose(array(p), expected, atol=1e-12)
    np.testing.assert_allclose(array(optimizer.state[p]["exp_avg"]), m, atol=1e-12)
    assert optimizer.state_dict()["state"].keys() == {0}


def test_rules_in_tensor_ops_refuse_what_they_cannot_do():
    (p,) = ps = params(minitorch, "float32")[:1]
    with pytest.raises(ValueError, match="differentiable=True is not supported"):
        optim.NAdam(ps, differentiable=True)
    optimizer = optim.Adadelta(ps, foreach=True, capturable=True)

    def step():
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()

    fast = minitorch.compile(step, fullgraph=True)
    fast()  # the first call is not recorded
    with pytest.raises(RuntimeError, match=r"Adadelta\.step counts in Python"):
        fast()
    step()
    assert optimizer.state[p]["step"] == 2
    table = minitorch.nn.Embedding(4, 3, sparse=True)
    table(minitorch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="RAdam does not support row-sparse"):
        optim.RAdam(table.parameters()).step()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adadelta", {"rho": 2.0}),
        ("NAdam", {"momentum_decay": -1.0}),
        ("Rprop", {"etas": (1.5, 2.0)}),
        ("ASGD", {"lr": -1.0}),
    ],
)
def test_options_that_cannot_be(name, options):
    for library in (minitorch, torch):
        with pytest.raises(ValueError, match="Invalid"):
            getattr(library.optim, name)(params(library, "float32"), **options)

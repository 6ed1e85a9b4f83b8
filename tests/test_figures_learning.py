"""The lectures' figures about learning: one test for each row, exact and as printed."""

import itertools
import math

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn, optim
from minitorch.data import DataLoader, TensorDataset
from minitorch.nn import functional as F
from tests.referee import array

F64 = minitorch.float64


def numbers(values, requires_grad=False):
    return minitorch.tensor(values, dtype=F64, requires_grad=requires_grad)


def sigma(x):
    return 1 / (1 + np.exp(-x))


# ---------------------------------------------------------------------- units
def test_perceptron():
    x, w = numbers([2.0, 3.0, -1.0, 5.0]), numbers([0.1, 0.5, 2.5, 0.2])
    z = x @ w + 3.0
    assert z.item() == pytest.approx(3.2, abs=1e-15)
    assert z.sigmoid().item() == pytest.approx(1 / (1 + math.exp(-3.2)), rel=1e-15)
    assert round(z.sigmoid().item(), 6) == 0.960834
    assert f"{z.sigmoid():.2f}" == "0.96"
    unit = nn.Sequential(nn.Linear(4, 1, dtype=F64), nn.Sigmoid())
    unit[0].load_state_dict({"weight": w.reshape(1, 4), "bias": numbers([3.0])})
    assert round(unit(x).item(), 6) == 0.960834


X = np.array([-2.0, -0.5, 0.0, 0.5, 3.0])
ACTIVATIONS = {
    "linear": (nn.Identity(), X, np.ones(5)),
    "sigmoid": (nn.Sigmoid(), sigma(X), sigma(X) * (1 - sigma(X))),
    "tanh": (nn.Tanh(), np.tanh(X), 1 - np.tanh(X) ** 2),
    "ReLU": (nn.ReLU(), np.maximum(X, 0), (X > 0) * 1.0),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    module, value, slope = ACTIVATIONS[name]
    x = numbers(X, requires_grad=True)
    y = module(x)
    np.testing.assert_allclose(array(y), value, rtol=1e-14)
    y.sum().backward()
    np.testing.assert_allclose(array(x.grad), slope, rtol=1e-13)


def test_softmax_is_positive_sums_to_one_and_is_stable():
    for scale in (1.0, 100.0, 1e300):
        y = nn.Softmax(0)(numbers([scale, scale + 1, scale + 2]))
        assert y.sum().item() == pytest.approx(1, abs=1e-15)
        assert (y > 0).all().item()
    small, large = (array(nn.Softmax(0)(numbers(x))) for x in ([0.0, 1.0, 2.0], [1e3, 1001, 1002]))
    np.testing.assert_allclose(large, small, rtol=1e-13)
    np.testing.assert_allclose(small, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-14)


# ---------------------------------------------------------------------- logic gates
CORNERS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
GATES = {
    "OR": [0, 1, 1, 1],
    "AND": [0, 0, 0, 1],
    "x1 AND NOT x2": [0, 0, 1, 0],
    "NOT x1 AND x2": [0, 1, 0, 0],
    "NOR": [1, 0, 0, 0],
    "NAND": [1, 1, 1, 0],
}
XOR = [0, 1, 1, 0]


def learned(model, targets, steps, lr):
    """How many corners the model has right after training."""
    x, t = minitorch.tensor(CORNERS), minitorch.tensor(targets).float().unsqueeze(1)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), t).backward()
        optimizer.step()
    return int(((model(x) > 0) == (t > 0.5)).sum().item())


@pytest.mark.parametrize("gate", GATES)
def test_or_and_variants_are_learned_by_one_unit(gate):
    assert learned(nn.Linear(2, 1), GATES[gate], steps=60, lr=0.3) == 4


def test_xor_is_not_learned_by_one_unit():
    for seed in range(3):
        minitorch.manual_seed(seed)
        assert learned(nn.Linear(2, 1), XOR, steps=60, lr=0.3) <= 3
    lines = itertools.product(np.linspace(-2, 2, 21), repeat=3)  # nor by any other line
    corners, t = np.array(CORNERS), np.array(XOR) > 0
    assert max((((corners @ (a, b) + c) > 0) == t).sum() for a, b, c in lines) == 3


def test_xor_is_learned_by_one_hidden_layer():
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    assert learned(model, XOR, steps=100, lr=0.1) == 4


def test_universal_approximation_the_error_falls_with_the_width():
    x = minitorch.linspace(-3, 3, 60).unsqueeze(1)
    t = (2 * x).sin() + 0.3 * x
    errors = []
    for width in (1, 4, 32):
        minitorch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
        with minitorch.no_grad():
            model[0].weight.mul_(3)  # bends all over the interval
            model[0].bias.uniform_(-5, 5)
        optimizer = optim.Adam(model.parameters(), lr=0.03)
        for _ in range(400):
            loss = F.mse_loss(model(x), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors.append(loss.item())
    assert errors[0] > 2 * errors[1] > 20 * errors[2]
    assert errors[2] < 0.01


# ---------------------------------------------------------------------- losses
def test_will_my_flight_be_delayed():
    predicted, delayed = numbers([0.05, 0.02, 0.96, 0.35]), numbers([1.0, 0.0, 1.0, 1.0])
    bce, mse = nn.BCELoss()(predicted, delayed).item(), nn.MSELoss()(predicted, delayed).item()
    by_hand = -(math.log(0.05) + math.log(0.98) + math.log(0.96) + math.log(0.35)) / 4
    assert bce == pytest.approx(by_hand, rel=1e-14)
    assert round(bce, 6) == 1.026645
    assert mse == pytest.approx((0.95**2 + 0.02**2 + 0.04**2 + 0.65**2) / 4, rel=1e-14)
    assert f"{mse:.6f}" == "0.331750"


def test_will_my_flight_be_delayed_is_learned():
    """The lecture's inputs, scaled; the loss falls from where it was and all four are right."""
    x = minitorch.tensor([[-20.0, 45.0], [80.0, 0.0], [4.0, 15.0], [45.0, 60.0]]) / 50
    t = minitorch.tensor([[1.0], [0.0], [1.0], [1.0]])
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Sigmoid())
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        loss = F.binary_cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < losses[0]
    assert ((model(x) > 0.5) == (t > 0.5)).all().item()


def test_losses_mse_binary_and_multi_class_cross_entropy():
    x, t = np.array([0.2, 0.7]), np.array([0.0, 1.0])
    assert F.mse_loss(numbers(x), numbers(t)).item() == pytest.approx((0.04 + 0.09) / 2)
    bce = F.binary_cross_entropy(numbers(x), numbers(t)).item()
    assert bce == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = F.cross_entropy(numbers(logits), minitorch.tensor([1, 2])).item()
    assert loss == pytest.approx(-(log_p[0, 1] + log_p[1, 2]) / 2, rel=1e-14)


REGULARISERS = {
    "L2": (lambda w: (w * w).sum(), lambda w: 2 * w),
    "L1": (lambda w: w.abs().sum(), np.sign),
}


@pytest.mark.parametrize("name", REGULARISERS)
def test_losses_plus_a_regulariser(name):
    """The gradient of loss + λΩ(θ) is that of the loss plus λ times that of Ω."""
    omega, slope = REGULARISERS[name]
    x, t = numbers([[1.0, 2.0], [3.0, -1.0]]), numbers([1.0, 0.0])
    w0 = np.array([0.5, -0.25])
    plain, penalised = numbers(w0, requires_grad=True), numbers(w0, requires_grad=True)
    F.mse_loss(x @ plain, t).backward()
    (F.mse_loss(x @ penalised, t) + 0.1 * omega(penalised)).backward()
    np.testing.assert_allclose(
        array(penalised.grad), array(plain.grad) + 0.1 * slope(w0), rtol=1e-14
    )
    if name == "L2":  # is weight decay of 2λ
        decayed = nn.Parameter(numbers(w0))
        optimizer = optim.SGD([decayed], lr=0.1, weight_decay=0.2)
        decayed.grad = plain.grad.clone()
        optimizer.step()
        np.testing.assert_allclose(array(decayed), w0 - 0.1 * array(penalised.grad), rtol=1e-14)


# ---------------------------------------------------------------------- gradients by hand
def test_logistic_regression_on_three_points_equals_the_hand_formula():
    """∂L/∂w = Σ (σ(w·x + b) − y) x, ∂L/∂b = Σ (σ(w·x + b) − y)."""
    x, y = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0]]), np.array([1.0, 0.0, 1.0])
    w, b = numbers([0.3, -0.7], requires_grad=True), numbers(0.2, requires_grad=True)
    p = (numbers(x) @ w + b).sigmoid()
    F.binary_cross_entropy(p, numbers(y), reduction="sum").backward()
    error = sigma(x @ [0.3, -0.7] + 0.2) - y
    np.testing.assert_allclose(array(w.grad), error @ x, rtol=1e-13)
    np.testing.assert_allclose(array(b.grad), error.sum(), rtol=1e-13)


def test_chain_of_two_sigmoids_equals_the_hand_formula():
    """L = (y − t)²/2, y = σ(v h), h = σ(w x)."""
    x, t = 1.5, 0.2
    w, v = numbers(0.4, requires_grad=True), numbers(-1.1, requires_grad=True)
    h = (w * x).sigmoid()
    y = (v * h).sigmoid()
    ((y - t) ** 2 / 2).backward()
    h, y = h.item(), y.item()
    dv = (y - t) * y * (1 - y)
    assert v.grad.item() == pytest.approx(dv * h, rel=1e-14)
    assert w.grad.item() == pytest.approx(dv * -1.1 * h * (1 - h) * x, rel=1e-14)


def test_net_of_two_hidden_units_equals_the_hand_formula():
    """L = −log p for label 1, p = σ(v·h + c), h = σ(W x + b)."""
    x = np.array([0.5, -1.5])
    weights = (
        np.array([[0.1, -0.4], [0.7, 0.2]]),
        np.array([0.3, -0.1]),
        np.array([1.2, -0.8]),
        0.05,
    )
    w, b, v, c = [numbers(value, requires_grad=True) for value in weights]
    h = (w @ numbers(x) + b).sigmoid()
    p = (v @ h + c).sigmoid()
    (-p.log()).backward()
    h, p = array(h), p.item()
    dz = p - 1
    dh = dz * weights[2] * h * (1 - h)
    for mine, by_hand in ((c, dz), (v, dz * h), (b, dh), (w, np.outer(dh, x))):
        np.testing.assert_allclose(array(mine.grad), by_hand, rtol=1e-13)


# ---------------------------------------------------------------------- gradient descent
def descent(lr, steps):
    """x of each step on y = x² + 2x + 3 from x = 2."""
    x = nn.Parameter(numbers(2.0))
    optimizer = optim.SGD([x], lr=lr)
    path = [x.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        (x**2 + 2 * x + 3).backward()
        optimizer.step()
        path.append(x.item())
    return path


def test_gradient_descent_with_rate_a_tenth_takes_67_steps():
    path = descent(0.1, 70)
    near = [abs(x + 1) < 1e-6 for x in path]
    assert near.index(True) == 67
    np.testing.assert_allclose(path, -1 + 3 * 0.8 ** np.arange(71), rtol=1e-12)
    assert path[-1] ** 2 + 2 * path[-1] + 3 == pytest.approx(2, abs=1e-12)


def test_gradient_descent_with_rate_a_half_takes_one_step():
    assert descent(0.5, 2) == [2, -1, -1]


def test_gradient_descent_with_rate_one_cycles():
    assert descent(1.0, 4) == [2, -4, 2, -4, 2]


def test_gradient_descent_with_rate_eleven_tenths_diverges():
    path = np.array(descent(1.1, 30))
    assert (np.diff(np.abs(path + 1)) > 0).all()
    np.testing.assert_allclose(path, -1 + 3 * (-1.2) ** np.arange(31), rtol=1e-10)


def test_mini_batch_gradients_are_unbiased():
    """Their mean over all 15 batches of two is the gradient of all six points."""
    rng = np.random.default_rng(0)
    x, y = numbers(rng.normal(size=(6, 3))), numbers(rng.normal(size=6))
    w = numbers(rng.normal(size=3), requires_grad=True)

    def gradient(rows):
        loss = F.mse_loss(x[rows] @ w, y[rows])
        return array(minitorch.autograd.grad(loss, w)[0])

    batches = [gradient(list(pair)) for pair in itertools.combinations(range(6), 2)]
    whole = gradient(list(range(6)))
    np.testing.assert_allclose(np.mean(batches, axis=0), whole, rtol=1e-12)
    assert np.std(batches, axis=0).min() > 0.1  # each alone is noisy


def test_an_epoch_sees_each_example_once():
    data = TensorDataset(minitorch.arange(10))
    loader = DataLoader(data, batch_size=4, shuffle=True)
    epochs = [[batch.tolist() for (batch,) in loader] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(itertools.chain(*epoch)) == list(range(10))
    assert epochs[0] != epochs[1]


# ---------------------------------------------------------------------- five optimizers
def sgd(p, g, s, t):
    return p - 0.1 * g


def momentum(p, g, s, t):
    s["b"] = 0.9 * s.get("b", 0) + g
    return p - 0.1 * s["b"]


def adagrad(p, g, s, t):
    s["s"] = s.get("s", 0) + g**2
    return p - 0.1 * g / (np.sqrt(s["s"]) + 1e-10)


def rmsprop(p, g, s, t):
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    return p - 0.1 * g / (np.sqrt(s["v"]) + 1e-8)


def adam(p, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    return p - 0.1 * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


OPTIMIZERS = {
    "SGD": (sgd, lambda o, p: o.SGD(p, lr=0.1)),
    "Momentum": (momentum, lambda o, p: o.SGD(p, lr=0.1, momentum=0.9)),
    "AdaGrad": (adagrad, lambda o, p: o.Adagrad(p, lr=0.1)),
    "RMSProp": (rmsprop, lambda o, p: o.RMSprop(p, lr=0.1)),
    "Adam": (adam, lambda o, p: o.Adam(p, lr=0.1)),
}


def trajectory(p, optimizer):
    """40 steps on x²/20 + y², the surface of the picture."""
    path = [array(p).copy()]
    for _ in range(40):
        optimizer.zero_grad()
        (p[0] ** 2 / 20 + p[1] ** 2).backward()
        optimizer.step()
        path.append(array(p).copy())
    return np.array(path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_optimizers_equal_their_formula_and_pytorch(name):
    formula, make = OPTIMIZERS[name]
    start = [-7.0, 2.0]
    ours, theirs = nn.Parameter(numbers(start)), torch.tensor(start, dtype=torch.float64)
    path = trajectory(ours, make(optim, [ours]))
    theirs.requires_grad_()
    np.testing.assert_allclose(path, trajectory(theirs, make(torch.optim, [theirs])), rtol=1e-12)
    p, state, expected = np.array(start), {}, [np.array(start)]
    for t in range(1, 41):
        p = formula(p, p * [0.1, 2.0], state, t)
        expected.append(p)
    np.testing.assert_allclose(path, expected, rtol=1e-11)


# ---------------------------------------------------------------------- modules
def test_modules_feed_forward():
    model = nn.Sequential(nn.Linear(2, 3, dtype=F64), nn.Tanh(), nn.Linear(3, 1, dtype=F64))
    x = np.array([[0.5, -1.0]])
    w, b, v, c = map(array, model.parameters())
    np.testing.assert_allclose(array(model(numbers(x))), np.tanh(x @ w.T + b) @ v.T + c, rtol=1e-14)


class Interweaved(nn.Module):
    """x goes to both a and b, a's result to b as well, and all three to the sum."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, dtype=F64)
        self.b = nn.Linear(2, 2, dtype=F64)

    def forward(self, x):
        a = self.a(x).tanh()
        return (x + a + self.b(x + a).tanh() * a).sum()


def test_modules_interweaved_any_dag():
    model, x = Interweaved(), numbers([0.3, -0.6], requires_grad=True)
    model(x).backward()
    wa, ba, wb, bb = map(array, model.parameters())
    x0 = array(x)
    a = np.tanh(wa @ x0 + ba)
    b = np.tanh(wb @ (x0 + a) + bb)
    da_dx = (1 - a**2)[:, None] * wa
    db_dx = (1 - b**2)[:, None] * wb @ (np.eye(2) + da_dx)
    by_hand = 1 + da_dx.sum(0) + (a[:, None] * db_dx + b[:, None] * da_dx).sum(0)
    np.testing.assert_allclose(array(x.grad), by_hand, rtol=1e-13)


def test_modules_loopy_an_unrolled_rnn_trains():
    """It learns to say the next value of a wave."""
    wave = (minitorch.arange(25).float() * 0.5).sin().reshape(25, 1, 1)
    layer, head = nn.RNN(1, 8), nn.Linear(8, 1)
    optimizer = optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(head(layer(wave[:-1])[0]), wave[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_modules_a_true_cycle_is_an_error():
    inner = nn.Sequential(nn.Linear(2, 2))
    outer = nn.Sequential(inner)
    with pytest.raises(ValueError, match="a module may not contain itself"):
        inner.append(outer)


class Endless(nn.Module):
    def forward(self, x):
        return self(x)


def test_modules_a_recurrent_call_without_a_base_is_an_error():
    with pytest.raises(RecursionError):
        Endless()(minitorch.ones(1))

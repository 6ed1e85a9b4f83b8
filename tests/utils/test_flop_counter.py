"""Operations of matrix products, beside PyTorch's counter."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode as TorchCounter

import minitorch
from minitorch.core.dispatch import REGISTRY
from minitorch.utils.flop_counter import FlopCounterMode
from tests.referee import in_threads

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def passes(m, counter, build, requires_grad):
    """Operations of the forward and the backward pass."""
    model = build(m)
    x = m.tensor(X, requires_grad=requires_grad)
    with counter(display=False) as forward:
        loss = model(x).sum()
    with counter(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


MODELS = {
    "layers": lambda m: m.nn.Sequential(
        m.nn.Linear(5, 7), m.nn.ReLU(), m.nn.Linear(7, 3), m.nn.Tanh(), m.nn.Linear(3, 2)
    ),
    "no bias": lambda m: m.nn.Linear(5, 7, bias=False),
    "matmul": lambda m: lambda x: (x @ x.T) @ x,
    "stacks": lambda m: lambda x: m.bmm(x.reshape(3, 2, 5), x.reshape(3, 5, 2)),
}


@pytest.mark.parametrize(
    ("name", "requires_grad"), [*((name, True) for name in MODELS), ("layers", False)]
)
def test_beside_pytorch(name, requires_grad):
    mine = passes(minitorch, FlopCounterMode, MODELS[name], requires_grad)
    assert mine == passes(torch, TorchCounter, MODELS[name], requires_grad)
    assert mine[0] > 0


def test_backward_costs_twice_the_forward_pass():
    """For each layer a product forward, and two backward; the data need no gradient."""
    forward, backward = passes(minitorch, FlopCounterMode, MODELS["layers"], True)
    assert backward == 2 * forward
    _, less = passes(minitorch, FlopCounterMode, MODELS["layers"], False)
    assert less == 2 * forward - 2 * 6 * 5 * 7


def test_what_it_shows(capsys):
    x = minitorch.ones(2, 3)
    x @ x.T
    before = {name: dict(op.kernels) for name, op in REGISTRY.items()}
    with FlopCounterMode() as counter:
        x @ x.T
        assert counter.get_flop_counts() == {"Global": {"matmul": 24}}
        x.sin()
    assert counter.get_total_flops() == 24
    assert capsys.readouterr().out.split() == ["matmul", "24", "FLOP", "total", "24", "FLOP"]
    after = {name: dict(op.kernels) for name, op in REGISTRY.items()}
    assert after == before


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers(kind, gates):
    """Each of 6 steps of 2 rows multiplies its input (5) and its state (7) by 7 · gates rows."""
    x = minitorch.ones(6, 2, 5, requires_grad=True)
    layer = getattr(minitorch.nn, kind)(5, 7)
    with FlopCounterMode(display=False) as forward:
        y, _ = layer(x)
    assert forward.get_total_flops() == 2 * 6 * 2 * (5 + 7) * 7 * gates
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_all_threads_are_counted_and_compiled_steps_as_well():
    x = minitorch.ones(2, 3)
    product = minitorch.compile(lambda x: x @ x.T)
    for _ in range(3):
        product(x)

    def work(i):
        for _ in range(20):
            x @ x.T

    with FlopCounterMode(display=False) as counter:
        in_threads(work, 4)
        assert counter.get_total_flops() == 4 * 20 * 24
        product(x)
        assert counter.get_total_flops() == (4 * 20 + 1) * 24
    assert product.replays == 1
    product(x)
    assert product.replays == 2


def test_counters_may_end_in_any_order():
    x = minitorch.ones(2, 3)
    x @ x.T
    before = {name: dict(op.kernels) for name, op in REGISTRY.items()}
    first, second = FlopCounterMode(False), FlopCounterMode(False)
    first.__enter__()
    second.__enter__()
    x @ x.T
    first.__exit__(None, None, None)
    x @ x.T
    second.__exit__(None, None, None)
    x @ x.T
    assert (first.get_total_flops(), second.get_total_flops()) == (24, 48)
    assert {name: dict(op.kernels) for name, op in REGISTRY.items()} == before

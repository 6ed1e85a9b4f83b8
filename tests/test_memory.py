"""Depth of graphs, what is left in memory, and when it goes."""

import gc
import sys
import tracemalloc
import weakref

import numpy as np

import minitorch
from minitorch import autograd, nn
from tests.referee import ours
from tests.test_function import Cube, SumAndProduct

A = np.random.default_rng(0).normal(size=(3, 4))
B = np.random.default_rng(1).normal(size=(3, 4))


X = np.array([1.0, 2.0, 3.0])


def leaf():
    return ours(X, True)


def scalar(x):
    return (x * x * x).sum()


def test_a_chain_of_100000_ops():
    x = ours(np.array(1.0), True)
    y = x
    for _ in range(100_000):
        y = y + 1e-6
    y.backward()
    assert x.grad.item() == 1.0
    (t,) = autograd.push_forward([y], [x], [ours(np.array(2.0))])
    assert t.item() == 2.0
    del y, t  # and nothing recurses when it is thrown away
    assert sys.getrecursionlimit() < 100_000


def step(w, x):
    h = (x @ w).tanh() * 1
    h[:, 0] = h[:, 1] * 2
    v = h.T[1:]
    v.mul_(0.5)
    y = minitorch.where(h > 0, h, h.exp()).softmax(1).log()
    y = Cube.apply(y, 0.1) + SumAndProduct.apply(y, h)[0]
    loss = (y.max(1).values.sum() + y[[0, 2]].sum() + y.std()) * 0.1
    loss.backward()
    return loss


def test_a_thousand_passes_leave_no_garbage():
    w, x = ours(A.T[:, :3].copy(), True), ours(A)
    step(w, x)
    gc.collect()
    gc.disable()
    try:
        for _ in range(1000):
            w.grad = None
            step(w, x)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_higher_order_leaves_no_garbage():
    x = ours(A, True)
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            (g,) = autograd.grad(scalar(x), x, create_graph=True)
            autograd.grad((g * g).sum(), x)
            autograd.push_forward([scalar(x)], [x], [ours(B)])
            minitorch.func.jvp(scalar, (x,), (ours(B),))
            minitorch.func.grad(scalar)(x)
        del g
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_saved_values_go_as_backward_passes():
    """While the backward pass is at the first op, what the last one saved must be gone already."""
    x = ours(A, True)
    alive = []

    class Look(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            alive.append(watched() is not None)
            return g

    y = Look.apply(x)
    z = y.exp()
    watched = weakref.ref(z.array)
    loss = z.sum()
    del z
    assert watched() is not None
    loss.backward()
    assert alive == [False]


def test_a_graph_dies_with_its_result():
    x = ours(A, True)
    y = x.exp()
    saved = weakref.ref(y.array)
    z = y * y
    del y
    assert saved() is not None
    del z
    assert saved() is None


def test_no_grad_keeps_nothing():
    x = ours(A, True)
    with minitorch.no_grad():
        y = x.exp()
        z = y * 2
    saved = weakref.ref(y.array)
    del y
    assert saved() is None
    assert z.is_leaf


def test_a_thousand_passes_leave_no_cycle():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    table = nn.Embedding(10, 4, sparse=True)
    target = minitorch.tensor([0, 2])

    def step():
        h = table(minitorch.tensor([1, 3]))
        out = model(Cube.apply(h, 2.0) + h[:, :1].expand(2, 4).reshape(2, 4))
        h = out * 1
        h[0] = out[1]
        nn.functional.cross_entropy(h.clone().add_(1), target).backward()

    step()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(1000):
            step()
        if target.device.type == "sim":
            minitorch.sim.clear()  # the launch log grows, up to its length
        grown = len(gc.get_objects()) - before
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert grown < 3000 + 1000 * 4  # sparse gradients of 1000 steps add up in one RowGrad


def test_saved_values_are_gone_after_backward():
    x = leaf()
    y = (x * x).exp().sum()
    nodes = autograd.topological([y.node])
    y.backward()
    assert all(not node.saved for node in nodes)


def test_a_chain_takes_a_gradient_beside_what_it_saved_and_less_as_backward_goes():
    """As in PyTorch: each step frees a saved value and turns one gradient into another."""
    size, n = 1 << 20, 8
    x = minitorch.ones(size // 4, device="cpu", requires_grad=True)
    at_the_end = []
    x.register_hook(lambda g: at_the_end.append(tracemalloc.get_traced_memory()[0]))

    def run():
        y = x
        for _ in range(n):
            y = y.exp() * 0.1
        loss = y.sum()
        del y
        tracemalloc.reset_peak()
        loss.backward()

    run()  # what is made once
    x.grad = None
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < (n + 2.5) * size
    assert at_the_end[-1] - before < 1.5 * size

"""Checkpoints give what the plain call gives, in less memory."""

import tracemalloc

import numpy as np
import pytest
from torch.utils.checkpoint import checkpoint as torch_checkpoint

import minitorch
from minitorch import autograd, func, nn
from minitorch.testing import check_derivatives
from minitorch.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential
from tests.referee import array, compare, ours

X = np.random.default_rng(0).normal(size=(4, 3))
V = np.random.default_rng(1).normal(size=(4, 3))


def of_library(m):
    if m is minitorch:
        return checkpoint
    return lambda *args, **kwargs: torch_checkpoint(*args, use_reentrant=False, **kwargs)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, cp, x, y: cp(lambda x, y: (x * y).sin() + x, x, y),
        lambda m, cp, x, y: cp(lambda x: x.exp().sin(), x) * cp(lambda z: z * z * y, x * 2),
        lambda m, cp, x, y: cp(lambda x, k, y: (x * k, y.sum(), "text"), x, 3.0, y),
        lambda m, cp, x, y: cp(lambda x, y: {"a": x.tanh(), "b": [y * x]}, x, y)["b"],
        lambda m, cp, x, y: cp(lambda x: cp(lambda z: z.exp() * y, x.sin()) + x, x),
        lambda m, cp, x, y: cp(lambda x, y: (x * 2, x.argmax()), x, y.detach()),
        lambda m, cp, x, y: cp(lambda x, y: (x, y), x, y),
    ],
)
def test_beside_pytorch(call):
    compare(lambda m, x, y: call(m, of_library(m), x, y), X, V, may_raise=False)


def model():
    minitorch.manual_seed(1)
    layers = [nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3), nn.Dropout(0.3)]
    return nn.Sequential(*layers).double()


def gradients(run):
    """Loss and gradients of all parameters and of the input, from the same random state."""
    net, x = model(), ours(X, True)
    seen = []
    net[0].weight.register_hook(lambda g: seen.append(g.tolist()))
    minitorch.manual_seed(5)
    loss = (run(net, x) ** 2).sum()
    loss.backward()
    after = minitorch.rand(2).tolist()
    return [
        loss.tolist(),
        x.grad.tolist(),
        seen,
        *[p.grad.tolist() for p in net.parameters()],
    ], after


def test_parameters_hooks_and_random_numbers():
    expected = gradients(lambda net, x: net(x))
    assert len(expected[0][2]) == 1
    assert gradients(lambda net, x: checkpoint(net, x)) == expected
    for segments in (1, 2, 3, 5, 9):
        assert gradients(lambda net, x: checkpoint_sequential(net, segments, x)) == expected  # noqa: B023
    other = gradients(lambda net, x: checkpoint(net, x, preserve_rng_state=False))
    assert other[0][0] == expected[0][0] and other[0][1] != expected[0][1]


def test_every_order_and_mode():
    w = ours(V, True)

    def plain(x):
        return ((x * w).sin() * x).sum(0)

    def kept_apart(x):
        return checkpoint(plain, x)

    check_derivatives(kept_apart, ours(X), order=2)
    x = ours(X, True)
    grads = []
    for f in (plain, kept_apart):
        (g,) = autograd.grad(f(x).sum(), x, create_graph=True)
        grads.append(autograd.grad((g * g).sum(), (x, w)))
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-12)
    tangents = [
        autograd.push_forward([f(x)], [x, w], [ours(V), ours(X)])[0] for f in (plain, kept_apart)
    ]
    np.testing.assert_allclose(*map(array, tangents), rtol=1e-12)
    hessians = [func.hessian(lambda x, f=f: f(x).sum())(ours(X)) for f in (plain, kept_apart)]
    np.testing.assert_allclose(*map(array, hessians), rtol=1e-12, atol=1e-14)


def test_sparse_gradients_arrive_sparse():
    table = nn.Embedding(10, 3, sparse=True)
    checkpoint(lambda i: table(i).sin(), minitorch.tensor([1, 4])).sum().backward()
    assert isinstance(table.weight.grad, minitorch.RowGrad)


def test_backward_twice_and_changes_in_place():
    x = ours(X, True)
    y = checkpoint(lambda x: x.exp(), x)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    np.testing.assert_allclose(array(x.grad), 2 * np.exp(X), rtol=1e-14)
    with pytest.raises(RuntimeError, match="a second time"):
        y.sum().backward()
    z = x * 1
    y = checkpoint(lambda z: z.exp(), z)
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_nothing_is_kept_where_there_is_no_gradient():
    x = ours(X, True)
    with minitorch.no_grad():
        assert not checkpoint(lambda x: x * 2, x).requires_grad
    assert not checkpoint(lambda x: x * 2, ours(X)).requires_grad


def test_memory():
    """A chain of 36 ops on arrays of 40 kB: 6 parts of 6 keep 2 * 6 of them instead of 36."""
    size = 10_000

    def six(x):
        for _ in range(6):
            x = x.sin()
        return x

    def peak(run):
        x = minitorch.ones(size, device="cpu", requires_grad=True)
        tracemalloc.start()
        try:
            y = x
            for _ in range(6):
                y = run(y)
            y.sum().backward()
            return tracemalloc.get_traced_memory()[1] / x.nbytes, x.grad
        finally:
            tracemalloc.stop()

    (plain, g), (less, h) = peak(six), peak(lambda x: checkpoint(six, x))
    assert g.tolist() == h.tolist()
    assert plain > 36
    assert less < 18


def test_a_second_run_with_other_results_is_an_error():
    lengths = iter((1, 2))
    y = checkpoint(lambda x: x[: next(lengths)], ours(X, True))
    told = r"again: \(2, .*\) minitorch.float64 with a gradient, and \(1, .*\) .*float64 before"
    with pytest.raises(CheckpointError, match=told):
        y.sum().backward()


def test_bad_calls():
    with pytest.raises(TypeError, match="function: expected something to call, got int"):
        checkpoint(3, ours(X))
    with pytest.raises(ValueError, match="segments: expected 1 or more, got 0"):
        checkpoint_sequential([nn.Tanh()], 0, ours(X))

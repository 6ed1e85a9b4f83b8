"""The two walks of the tape, what users see of them, and what they leave in memory."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest
import torch

import minitorch
from minitorch import autograd, func, nn, ops
from tests.referee import compare

X = np.array([1.0, 2.0, 3.0])


def leaf(values=(1.0, 2.0, 3.0), dtype=None):
    return minitorch.tensor(list(values), dtype=dtype or minitorch.float64, requires_grad=True)


# ---------------------------------------------------------------------- backward and grad
def test_gradients_add_up_over_calls():
    x = leaf()
    (x * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0, 9.0]


def test_gradients_share_no_memory():
    a, b = leaf(), leaf()
    (a + b).sum().backward()
    a.grad.mul_(0)
    assert b.grad.tolist() == [1.0, 1.0, 1.0]
    given = minitorch.ones(3, dtype=minitorch.float64)
    c = leaf()
    (c + 1).backward(given)
    given.zero_()
    assert c.grad.tolist() == [1.0, 1.0, 1.0]


def test_a_retained_gradient_is_a_copy():
    x = leaf()
    y = x.reshape(3)
    y.retain_grad()
    (y * 2).sum().backward()
    y.grad.zero_()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_gradient_that_a_hook_keeps_is_not_the_leafs():
    x, kept = leaf(), []
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    kept[0].zero_()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_gradients_of_views_are_contiguous():
    w = minitorch.randn(3, 4, requires_grad=True)
    (minitorch.randn(2, 4) @ w.T).sum().backward()
    assert w.grad.is_contiguous()


def test_a_freed_graph_says_so():
    x = leaf()
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"second time.*mul.*retain_graph=True"):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [6.0, 12.0, 18.0]


def test_backward_with_inputs_reaches_only_them():
    a, b = leaf(), leaf()
    (a * b).sum().backward(inputs=[a])
    assert a.grad is not None and b.grad is None


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: x.detach().sum().backward(), RuntimeError, "does not require grad"),
        (lambda x: (x * 2).backward(), RuntimeError, r"only for scalar outputs, got shape \(3,\)"),
        (
            lambda x: (x * 2).backward(minitorch.ones(2)),
            RuntimeError,
            r"gradient has shape \(2,\), expected \(3,\)",
        ),
        (lambda x: (x * 2).backward(1.0), TypeError, "gradient: expected a tensor, got float"),
        (lambda x: autograd.grad(x.sum(), []), ValueError, "inputs is empty"),
        (
            lambda x: autograd.grad(x.sum(), x.detach()),
            RuntimeError,
            r"inputs\[0\] does not require grad",
        ),
        (lambda x: autograd.grad(x.sum(), leaf()), RuntimeError, "not have been used in the graph"),
        (lambda x: autograd.grad(3.0, x), TypeError, "expected a tensor to differentiate"),
        (lambda x: autograd.backward([x.sum()], [None, None]), RuntimeError, "1 tensors and 2"),
        (lambda x: x.sum().backward(inputs=[]), RuntimeError, "inputs is empty"),
        (lambda x: (x * 2).requires_grad_(False), RuntimeError, "flags of leaf"),
        (lambda x: x.detach().retain_grad(), RuntimeError, "retain_grad"),
        (lambda x: x.detach().register_hook(print), RuntimeError, "register_hook"),
        (lambda x: setattr(x, "grad", minitorch.ones(2)), RuntimeError, r"grad: .*\(2,\)"),
        (lambda x: minitorch.tensor([1], requires_grad=True), RuntimeError, "floating point"),
    ],
)
def test_bad_calls(call, error, match):
    with pytest.raises(error, match=match):
        call(leaf())


def test_unused_inputs():
    a, b = leaf(), leaf()
    assert autograd.grad(a.sum(), [a, b], allow_unused=True)[1] is None
    zeros = autograd.grad(a.sum(), [a, b], materialize_grads=True)[1]
    assert zeros.tolist() == [0.0, 0.0, 0.0]


def test_grad_outputs_and_several_outputs():
    def call(m, x):
        y, z = x * x, x.exp()
        return m.autograd.grad([y, z], [x], [z.detach(), y.detach()])

    compare(call, X, grad=True)


def test_create_graph_gives_higher_derivatives():
    def call(m, x):
        (g,) = m.autograd.grad((x**4).sum(), x, create_graph=True)
        (h,) = m.autograd.grad(g.sum(), x, create_graph=True)
        return h

    compare(call, X)


def test_non_leaf_gradients():
    x = leaf()
    y = x * 2
    with pytest.warns(UserWarning, match="not a leaf"):
        assert y.grad is None
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    y.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0, 1.0]


# ---------------------------------------------------------------------- hooks
def test_hooks_run_in_order_and_replace_the_gradient():
    def call(m, x):
        y = x * 1
        seen = []
        y.register_hook(lambda g: seen.append(g.sum().item()))
        first = y.register_hook(lambda g: g * 2)
        y.register_hook(lambda g: g + 1)
        (g,) = m.autograd.grad(y.sum(), x, retain_graph=True)
        first.remove()
        (h,) = m.autograd.grad(y.sum(), x)
        return g, h, seen

    compare(call, X, grad=True)


def test_a_hook_on_a_leaf_changes_what_accumulates():
    x = leaf()
    with x.register_hook(lambda g: g * 10):
        x.sum().backward()
    x.sum().backward()
    assert x.grad.tolist() == [11.0, 11.0, 11.0]


def test_a_hook_sees_the_whole_gradient_once():
    x, seen = leaf(), []
    y = x * 1
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 2 + y * 3).sum().backward()
    assert seen == [[5.0, 5.0, 5.0]]


# ---------------------------------------------------------------------- grad mode
def test_no_grad_and_its_relatives():
    x = leaf()
    with minitorch.no_grad():
        assert not (x * 2).requires_grad
        with minitorch.enable_grad():
            assert (x * 2).requires_grad
        assert not minitorch.is_grad_enabled()
    with minitorch.inference_mode():
        assert not (x * 2).requires_grad
    with minitorch.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    minitorch.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        minitorch.set_grad_enabled(True)


def test_grad_modes_decorate():
    x = leaf()

    @minitorch.no_grad()
    def quiet(x):
        return x * 2

    @minitorch.no_grad
    def bare(x):
        """Its docstring stays."""
        return x * 2

    assert not quiet(x).requires_grad and not bare(x).requires_grad
    assert bare.__doc__ == "Its docstring stays."
    assert minitorch.is_grad_enabled()


def test_grad_mode_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), minitorch.no_grad():
        raise ZeroDivisionError
    assert minitorch.is_grad_enabled()


def test_threads_have_their_own_grad_mode():
    x = leaf()
    inside, outside = threading.Event(), threading.Event()
    found = []

    def other():
        with minitorch.no_grad():
            inside.set()
            outside.wait(10)
            found.append((x * 2).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    found.append((x * 2).requires_grad)
    outside.set()
    thread.join()
    assert found == [True, False]


def test_threads_differentiate_at_the_same_time():
    results = {}

    def work(i):
        x = leaf()
        for _ in range(200):
            with minitorch.no_grad() if i % 2 else minitorch.enable_grad():
                y = (x * i).exp().sum()
            assert y.requires_grad == (i % 2 == 0)
        (g,) = autograd.grad((x * i).sum(), x)
        results[i] = g.tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {i: [float(i)] * 3 for i in range(4)}


# ---------------------------------------------------------------------- users' own functions
def _both(make):
    """The same Function class for minitorch and torch: make(base, m)."""
    return make(minitorch.autograd.Function, minitorch), make(torch.autograd.Function, torch)


def _square(base, m):
    class Square(base):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x * x * scale

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g * ctx.scale, None

    return Square


def _exponential(base, m):
    class Exponential(base):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    return Exponential


def _two_results(base, m):
    class Both(base):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            top = x > y
            ctx.mark_non_differentiable(top)
            return x * y, x + y, top

        @staticmethod
        def backward(ctx, g, h, _):
            x, y = ctx.saved_tensors
            return g * y + h, g * x + h

    return Both


@pytest.mark.parametrize(
    "use",
    [
        lambda f, m, x: f(_square).apply(x, 3.0),
        lambda f, m, x: f(_exponential).apply(x) * 2,
        lambda f, m, x: f(_exponential).apply(f(_square).apply(x, 0.1)),
        lambda f, m, x: sum(f(_two_results).apply(x, x * x)[:2]),
        lambda f, m, x: f(_two_results).apply(x, x.detach())[1],
    ],
)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_functions(use, order):
    def call(m, x):
        index = 0 if m is minitorch else 1
        y = use(lambda make: _both(make)[index], m, x)
        for _ in range(order - 1):
            (y,) = m.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)
            y = x * 0 if y is None else y
        return y if y.requires_grad else y + x * 0

    compare(call, X)


def test_a_function_in_forward_mode():
    class Cube(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 3 * x * x * t

    x = minitorch.tensor([1.0, 2.0])
    value, tangent = func.jvp(Cube.apply, (x,), (minitorch.ones(2),))
    assert value.tolist() == [1.0, 8.0] and tangent.tolist() == [3.0, 12.0]
    with pytest.raises(NotImplementedError, match="jvp"):
        func.jvp(lambda x: _square(autograd.Function, minitorch).apply(x, 1.0), (x,), (x,))


def test_unused_results_get_zeros_or_none():
    seen = []

    def make(materialize):
        class Pair(autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.set_materialize_grads(materialize)
                return x * 1, x * 2

            @staticmethod
            def backward(ctx, g, h):
                seen.append(h)
                return g

        return Pair

    for materialize in (True, False):
        make(materialize).apply(leaf())[0].sum().backward()
    assert seen[0].tolist() == [0.0, 0.0, 0.0] and seen[0].dtype is minitorch.float64
    assert seen[1] is None


def test_functions_notice_mistakes():
    def make(result):
        class Wrong(autograd.Function):
            @staticmethod
            def forward(ctx, x, y):
                return x * y

            @staticmethod
            def backward(ctx, g):
                return result

        return Wrong

    x, y = leaf(), leaf()
    with pytest.raises(RuntimeError, match="returned 1 gradients, expected 2"):
        make(x).apply(x, y).sum().backward()
    with pytest.raises(RuntimeError, match=r"gradient 1 has shape \(2,\), expected \(3,\)"):
        make((x.detach(), minitorch.ones(2))).apply(x, y).sum().backward()

    class NoTensor(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 3

    with pytest.raises(TypeError, match=r"NoTensor\.forward: expected tensors, got int"):
        NoTensor.apply(x)


def test_a_function_notices_changes_in_place():
    x = leaf()
    y = x * 1
    z = _square(autograd.Function, minitorch).apply(y, 1.0)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_function_is_freed():
    x = leaf()
    y = _square(autograd.Function, minitorch).apply(x, 1.0).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


# ---------------------------------------------------------------------- row-sparse gradients
def rows_of(indices, weight, scale=1.0):
    picked = ops.embedding(weight, minitorch.tensor(indices), sparse=True)
    return (picked * scale).sum()


def test_a_sparse_gradient_keeps_its_rows():
    weight = minitorch.randn(1000, 3, requires_grad=True)
    rows_of([5, 2, 5], weight).backward()
    g = weight.grad
    assert isinstance(g, minitorch.RowGrad)
    assert g.indices.tolist() == [5, 2, 5] and tuple(g.values.shape) == (3, 3)
    c = g.coalesce()
    assert c.indices.tolist() == [2, 5] and c.values[:, 0].tolist() == [1.0, 2.0]
    assert g.to_dense()[5].tolist() == [2.0, 2.0, 2.0] and tuple(g.shape) == (1000, 3)
    assert g.dtype is minitorch.float32 and g.device == weight.device


def test_sparse_and_dense_gradients_add_up():
    weight = minitorch.randn(4, 2, requires_grad=True)
    rows_of([1], weight).backward()
    rows_of([1, 3], weight, 2.0).backward()
    assert isinstance(weight.grad, minitorch.RowGrad)
    assert weight.grad.to_dense()[:, 0].tolist() == [0.0, 3.0, 0.0, 2.0]
    weight.sum().backward()
    assert isinstance(weight.grad, minitorch.Tensor)
    assert weight.grad[:, 0].tolist() == [1.0, 4.0, 1.0, 3.0]
    rows_of([0], weight).backward()
    assert weight.grad[:, 0].tolist() == [2.0, 4.0, 1.0, 3.0]


def test_sparse_gradients_are_dense_where_they_must_be():
    weight = minitorch.randn(4, 2, requires_grad=True)
    (g,) = autograd.grad(rows_of([1], weight * 2), weight)
    assert isinstance(g, minitorch.Tensor)
    (g,) = autograd.grad(rows_of([1], weight), weight, create_graph=True)
    assert isinstance(g, minitorch.Tensor)
    loss = (ops.embedding(weight, minitorch.tensor([1, 1]), sparse=True) ** 3).sum()
    (g,) = autograd.grad(loss, weight, create_graph=True)
    (h,) = autograd.grad(g.sum(), weight)
    assert minitorch.allclose(h.to_dense()[1], 12 * weight.detach()[1])


# ---------------------------------------------------------------------- memory and depth
def test_a_chain_of_100_000_ops():
    x = minitorch.tensor(0.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert y.item() == 100_000 and x.grad.item() == 1
    _, t = func.jvp(lambda x: _chain(x, 20_000), (x.detach(),), (minitorch.tensor(2.0),))
    assert t.item() == 2
    del y


def _chain(x, n):
    for _ in range(n):
        x = x + 1
    return x


def test_a_thousand_passes_leave_no_cycle():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    table = nn.Embedding(10, 4, sparse=True)
    target = minitorch.tensor([0, 2])
    square = _square(autograd.Function, minitorch)

    def step():
        h = table(minitorch.tensor([1, 3]))
        out = model(square.apply(h, 2.0) + h[:, :1].expand(2, 4).reshape(2, 4))
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
        grown = len(gc.get_objects()) - before
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert grown < 3000 + 1000 * 4  # sparse gradients of 1000 steps add up in one RowGrad


def test_backward_frees_saved_values_as_it_passes():
    n = 250_000  # 1 MB each
    x = minitorch.ones(n, requires_grad=True)
    y = x
    for _ in range(30):
        y = y.exp().mul(0.1)
    seen = []
    x.register_hook(lambda g: seen.append(tracemalloc.get_traced_memory()[0]))
    loss = y.sum()
    del y
    tracemalloc.start()
    try:
        # What was made before is not traced: what backward keeps would show as growth.
        loss.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 4 * n


def test_saved_values_are_gone_after_backward():
    x = leaf()
    y = (x * x).exp().sum()
    nodes = autograd.topological([y.node])
    y.backward()
    assert all(not node.saved for node in nodes)


# ---------------------------------------------------------------------- forward walk
def test_push_forward_of_several_outputs():
    x, y = leaf(), leaf()
    outputs = [x * y, y.sum(), minitorch.ones(2)]
    t = minitorch.tensor([1.0, 0.0, 2.0], dtype=minitorch.float64)
    moved = autograd.push_forward(outputs, [x], [t])
    assert moved[0].tolist() == (y.detach() * t).tolist()
    assert moved[1].item() == 0 and moved[2].tolist() == [0.0, 0.0]

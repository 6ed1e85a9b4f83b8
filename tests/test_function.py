"""Users' own ops: `autograd.Function` beside PyTorch's."""

import numpy as np
import pytest
import torch

import minitorch
from minitorch import autograd
from minitorch.testing import check_derivatives, gradcheck
from tests.referee import array, assert_close, compare, ours

A = np.random.default_rng(0).normal(size=(3, 4))
B = np.random.default_rng(1).normal(size=(3, 4))


X = np.array([1.0, 2.0, 3.0])


def leaf():
    return ours(X, True)


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return k * x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * ctx.k * g * x * x, None

    @staticmethod
    def jvp(ctx, t, _):
        (x,) = ctx.saved_tensors
        return 3 * ctx.k * t * x * x


class Exp(autograd.Function):
    """Saves its result."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y

    @staticmethod
    def jvp(ctx, t):
        (y,) = ctx.saved_tensors
        return t * y


class SumAndProduct(autograd.Function):
    """Two results, two arguments."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x + y, x * y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        g = 0 if g is None else g
        h = x * 0 if h is None else h
        return g + h * y, g + h * x

    @staticmethod
    def jvp(ctx, s, t):
        x, y = ctx.saved_tensors
        s = x * 0 if s is None else s
        t = x * 0 if t is None else t
        return s + t, s * y + t * x


def test_function_in_every_mix_of_modes():
    x, y = ours(A), ours(B)
    check_derivatives(lambda x: Cube.apply(x, 2.0), x, order=2)
    check_derivatives(Exp.apply, x, order=2)
    check_derivatives(lambda x, y: SumAndProduct.apply(x, y), (x, y), order=2)
    check_derivatives(lambda x, y: SumAndProduct.apply(x, y)[1].sin(), (x, y), order=2)
    assert gradcheck(lambda x: Cube.apply(x, 2.0), x[:1, :2])


def torch_function(cls):
    """The same Function in PyTorch."""
    return type(cls.__name__, (torch.autograd.Function,), {
        "forward": staticmethod(cls.__dict__["forward"].__func__),
        "backward": staticmethod(cls.__dict__["backward"].__func__),
    })  # fmt: skip


@pytest.mark.parametrize("case", [
    lambda cube, exp, both, x, y: cube.apply(x, 2.0),
    lambda cube, exp, both, x, y: exp.apply(x * y) + x,
    lambda cube, exp, both, x, y: both.apply(x, y),
    lambda cube, exp, both, x, y: both.apply(x, y)[0] * 2,
    lambda cube, exp, both, x, y: both.apply(x, x)[1] * y,
    lambda cube, exp, both, x, y: both.apply(x.detach(), y),
])  # fmt: skip
def test_function_against_pytorch(case):
    def call(m, x, y):
        classes = (Cube, Exp, SumAndProduct)
        return case(*(classes if m is minitorch else map(torch_function, classes)), x, y)

    compare(call, A, B, may_raise=False)


class NotDifferentiable(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        largest = x.argmax()
        ctx.mark_non_differentiable(largest)
        ctx.save_for_backward(x)
        return x * 2, largest

    @staticmethod
    def backward(ctx, g, _):
        return g * 2


class Wrong(autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        return x * y

    @staticmethod
    def backward(ctx, g):
        return g


class WrongShape(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g[0]


def test_function_details():
    x = ours(A, True)
    y, index = NotDifferentiable.apply(x)
    assert not index.requires_grad
    y.sum().backward()
    assert_close(array(x.grad), np.full((3, 4), 2.0))
    with pytest.raises(RuntimeError, match=r"Wrong\.backward: returned 1 gradients, expected 2"):
        Wrong.apply(x, x).sum().backward()
    with pytest.raises(RuntimeError, match=r"gradient 0 has shape \(4,\), expected \(3, 4\)"):
        WrongShape.apply(x).sum().backward()
    z = Cube.apply(x, 1.0)
    z.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        z.sum().backward()
    with minitorch.no_grad():
        assert not Cube.apply(x, 1.0).requires_grad
    assert not Cube.apply(x.detach(), 1.0).requires_grad
    with pytest.raises(NotImplementedError, match="define jvp"):
        autograd.push_forward([WrongShape.apply(x)], [x], [ours(B)])


def test_function_notices_changes_of_what_it_saved():
    x = ours(A, True) * 1
    y = Cube.apply(x, 1.0)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    z = Exp.apply(ours(A, True))
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_needs_input_grad():
    seen = []

    class Look(autograd.Function):
        @staticmethod
        def forward(ctx, x, y, k):
            return x * y

        @staticmethod
        def backward(ctx, g):
            seen.append(tuple(ctx.needs_input_grad))
            return g, g, None

    Look.apply(ours(A, True), ours(B), 3).sum().backward()
    assert seen == [(True, False, False)]


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


def test_forward_must_give_tensors():
    class NoTensor(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 3

    with pytest.raises(TypeError, match=r"NoTensor\.forward: expected tensors, got int"):
        NoTensor.apply(leaf())


def test_backward_must_give_tensors():
    class NoTensor(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return 2.0

    told = r"NoTensor\.backward: gradient 0: expected a tensor or None, got float"
    with pytest.raises(TypeError, match=told):
        NoTensor.apply(leaf()).sum().backward()


def test_what_is_not_defined_is_named():
    class Half(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x / 2

    with pytest.raises(NotImplementedError, match="Half: define backward"):
        Half.apply(leaf()).sum().backward()
    with pytest.raises(NotImplementedError, match="Half: define jvp"):
        minitorch.func.jvp(Half.apply, (ours(X),), (ours(X),))


def powers(m):
    """A Function in PyTorch's newer style, where forward takes no ctx."""

    class Powers(m.autograd.Function):
        @staticmethod
        def forward(x, k):
            return x**k, x ** (k + 1)

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.k = inputs
            ctx.save_for_backward(x, output[0])
            ctx.shapes = [tuple(y.shape) for y in output]

        @staticmethod
        def backward(ctx, g, h):
            x, power = ctx.saved_tensors
            assert ctx.shapes == [tuple(g.shape), tuple(h.shape)]
            return g * ctx.k * x ** (ctx.k - 1) + h * (ctx.k + 1) * power, None

    return Powers


def test_setup_context_is_pytorchs():
    def gradients(m, x):
        y, z = powers(m).apply(x, 3)
        (g,) = m.autograd.grad((y * z.sin()).sum(), x, create_graph=True)
        return y, g, m.autograd.grad((g * g).sum(), x)[0]

    mine = gradients(minitorch, leaf())
    other = gradients(torch, torch.tensor(X, requires_grad=True))
    for a, b in zip(mine, other, strict=True):
        assert_close(array(a), array(b), "setup_context", 1e-12)
    y, _ = powers(minitorch).apply(ours(X), 2)
    assert not y.requires_grad

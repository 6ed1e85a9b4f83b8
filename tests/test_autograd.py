"""Backward, grad, hooks, Function and grad modes: what PyTorch does, and no garbage."""

import gc
import sys
import threading
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest
import torch

import minitorch
from minitorch import RowGrad, Tensor, autograd, nn
from minitorch.testing import check_derivatives, gradcheck
from tests.referee import Raised, array, assert_close, attempt, compare, ours, theirs

A = np.random.default_rng(0).normal(size=(3, 4))
B = np.random.default_rng(1).normal(size=(3, 4))
LIBRARIES = pytest.mark.parametrize(
    ("m", "make"), [(minitorch, ours), (torch, theirs)], ids=["minitorch", "torch"]
)


X = np.array([1.0, 2.0, 3.0])


def leaf():
    return ours(X, True)


def scalar(x):
    return (x * x * x).sum()


# ---------------------------------------------------------------------- backward
@LIBRARIES
def test_backward_twice_needs_retain_graph(m, make):
    x = make(A, True)
    y = scalar(x)
    y.backward(retain_graph=True)
    y.backward()
    assert_close(array(x.grad), 6 * A * A)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_a_graph_that_saves_nothing_may_be_walked_again():
    compare(lambda m, x: [(x + 1).sum(), (x + 1).sum()], A)


@LIBRARIES
def test_gradients_accumulate(m, make):
    x = make(A, True)
    for k in range(1, 4):
        (x * k).sum().backward()
    assert_close(array(x.grad), np.full_like(A, 6.0))
    first = x.grad
    (x * 2).sum().backward()
    assert_close(array(x.grad), np.full_like(A, 8.0))
    x.grad = None
    assert x.grad is None
    (x * 2).sum().backward()
    assert_close(array(first), np.full_like(A, 8.0 if m is torch else 6.0))


@LIBRARIES
def test_backward_with_gradients_of_several_outputs(m, make):
    x = make(A, True)
    y, z = x * x, x.sum(0)
    m.autograd.backward([y, z], [make(B), make(B[0])])
    assert_close(array(x.grad), 2 * A * B + B[0])


@LIBRARIES
def test_backward_to_chosen_inputs_only(m, make):
    x, w = make(A, True), make(B, True)
    y = x * w
    (y * y).sum().backward(inputs=[x])
    assert w.grad is None
    assert_close(array(x.grad), 2 * A * B * B)
    z = w * 3
    (z * z).sum().backward(inputs=z)
    assert_close(array(z.grad if m is torch else z.node.grad), 6 * B)
    assert w.grad is None


@LIBRARIES
def test_an_unused_branch_and_a_diamond(m, make):
    x = make(A, True)
    y = x.sin()
    unused = y.exp()
    z = (y * y + y + x).sum()
    z.backward()
    assert_close(array(x.grad), 2 * np.sin(A) * np.cos(A) + np.cos(A) + 1)
    del unused


@LIBRARIES
def test_the_same_tensor_in_several_places(m, make):
    x = make(A, True)
    (x * x + x - x / x + m.cat([x, x]).sum() + (x @ x.T).sum()).sum().backward()
    y = torch.tensor(A, requires_grad=True)
    (y * y + y - y / y + torch.cat([y, y]).sum() + (y @ y.T).sum()).sum().backward()
    assert_close(array(x.grad), array(y.grad))


ERRORS = {
    "does not require grad": lambda m, x: (x.detach() * 2).sum().backward(),
    "implicitly created only for scalar": lambda m, x: (x * 2).backward(),
    "shape": lambda m, x: (x * 2).backward(m.ones(2, dtype=m.float64)),
    "grad: x twice freed": lambda m, x: [m.autograd.grad(y, x) for y in [scalar(x)] * 2],
    "unused": lambda m, x: m.autograd.grad(scalar(x), m.ones(2, requires_grad=True)),
    "input without grad": lambda m, x: m.autograd.grad(scalar(x), m.ones(2)),
    "empty inputs": lambda m, x: scalar(x).backward(inputs=[]),
    "as many gradients": lambda m, x: m.autograd.backward([x.sum(), x.sum()], [m.ones(())]),
    "integers": lambda m, x: m.ones(2, dtype=m.int64).requires_grad_(),
    "created with grad, integer": lambda m, x: m.tensor([1], requires_grad=True),
    "a result's flag": lambda m, x: (x * 2).requires_grad_(False),
    "numpy of a tracked tensor": lambda m, x: x.numpy(),
    "deepcopy of a result": lambda m, x: __import__("copy").deepcopy(x * 2),
    "hook without grad": lambda m, x: x.detach().register_hook(print),
    "retain_grad without grad": lambda m, x: x.detach().retain_grad(),
    "grad of another shape": lambda m, x: setattr(x, "grad", m.ones(2, dtype=m.float64)),
    "grad of another dtype": lambda m, x: setattr(x, "grad", m.ones(3, 4)),
    "grad that is no tensor": lambda m, x: setattr(x, "grad", 1.0),
    "materialize and no unused": lambda m, x: m.autograd.grad(
        scalar(x), x, allow_unused=False, materialize_grads=True
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    mine = attempt(ERRORS[name], minitorch, ours(A, True))
    other = attempt(ERRORS[name], torch, theirs(A, True))
    assert isinstance(other, Raised), "PyTorch does not raise: the test is wrong"
    assert isinstance(mine, Raised), "minitorch does not raise"


def test_errors_say_what_is_wrong():
    x = ours(A, True)
    with pytest.raises(
        RuntimeError, match=r"backward: gradient has shape \(2,\), expected \(3, 4\)"
    ):
        (x * 2).backward(minitorch.ones(2))
    with pytest.raises(RuntimeError, match=r"scalar outputs, got shape \(3, 4\)"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"grad: inputs\[1\] appears to not have been used"):
        autograd.grad(scalar(x), [x, minitorch.ones(2, requires_grad=True)])
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(TypeError, match=r"grad: inputs\[0\]: expected a tensor, got int"):
        autograd.grad(scalar(x), 3)


def test_reading_the_grad_of_a_result_warns():
    y = ours(A, True) * 2
    with pytest.warns(UserWarning, match="is not a leaf"):
        assert y.grad is None
    y.retain_grad()
    assert y.retains_grad
    y.sum().backward()
    assert array(y.grad).tolist() == np.ones((3, 4)).tolist()


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


def test_gradients_of_views_are_contiguous():
    w = minitorch.randn(3, 4, requires_grad=True)
    (minitorch.randn(2, 4) @ w.T).sum().backward()
    assert w.grad.is_contiguous()


# ---------------------------------------------------------------------- grad
@LIBRARIES
def test_grad_and_its_options(m, make):
    x, w = make(A, True), make(B, True)
    y = (x * x).sum()
    gx, gw = m.autograd.grad(y, [x, w], retain_graph=True, allow_unused=True)
    assert gw is None
    assert x.grad is None
    assert_close(array(gx), 2 * A)
    gx, gw = m.autograd.grad(y, [x, w], materialize_grads=True)
    assert_close(array(gw), np.zeros((3, 4)))
    assert not gw.requires_grad
    (g,) = m.autograd.grad(x * 2, x, grad_outputs=make(B))
    assert_close(array(g), 2 * B)
    y = x * w
    (g,) = m.autograd.grad((y * y).sum(), y)
    assert_close(array(g), 2 * A * B)
    (g,) = m.autograd.grad(x.sum(), (x,))
    assert_close(array(g), np.ones((3, 4)))


@LIBRARIES
def test_derivatives_of_order_three(m, make):
    x = make(A, True)
    y = (x**4).sum() + x.sin().sum()
    for _ in range(3):
        (g,) = m.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    assert_close(array(g), 24 * A - np.cos(A))
    assert g.requires_grad


@LIBRARIES
def test_create_graph_reaches_grad(m, make):
    x = make(A, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of the cycle that it makes
        (x * x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    penalty = (x.grad * x.grad).sum()
    (g,) = m.autograd.grad(penalty, x)
    assert_close(array(g), 36 * A**3)
    x.grad = None


def test_what_grad_returns_is_detached_without_create_graph():
    x = ours(A, True)
    (g,) = autograd.grad(x.sum() * 2, x)
    assert not g.requires_grad
    (g,) = autograd.grad(scalar(x), x, create_graph=True)
    assert g.requires_grad


# ---------------------------------------------------------------------- hooks, retained gradients
@LIBRARIES
def test_hooks_run_in_order_and_replace(m, make):
    x = make(A, True)
    seen = []
    x.register_hook(lambda g: seen.append(("first", array(g).copy())))
    second = x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: seen.append(("third", array(g).copy())))
    (x * 3).sum().backward()
    assert [name for name, _ in seen] == ["first", "third"]
    assert_close(seen[0][1], np.full((3, 4), 3.0))
    assert_close(seen[1][1], np.full((3, 4), 6.0))
    assert_close(array(x.grad), np.full((3, 4), 6.0))
    second.remove()
    second.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert_close(array(x.grad), np.full((3, 4), 3.0))


@LIBRARIES
def test_a_hook_on_a_result_sees_the_whole_gradient(m, make):
    x = make(A, True)
    y = x * 2
    seen = []
    with y.register_hook(lambda g: seen.append(array(g).copy())):
        (y + y * 3).sum().backward()
    assert_close(seen[0], np.full((3, 4), 4.0))
    (x * 2).sum().backward()
    assert len(seen) == 1


@LIBRARIES
def test_hooks_also_run_for_grad(m, make):
    x = make(A, True)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    (g,) = m.autograd.grad(y.sum(), x)
    assert_close(array(g), np.full((3, 4), 20.0))


@LIBRARIES
def test_retained_gradients(m, make):
    x = make(A, True)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    assert_close(array(y.grad), 4 * A)
    assert_close(array(x.grad), 8 * A)


# ---------------------------------------------------------------------- aliasing
def aliased(a, b):
    return np.shares_memory(array(a), array(b))


SHARING = {
    "a + b": lambda a, b: (a + b).sum(),
    "a - b": lambda a, b: (a - b).sum(),
    "cat": lambda a, b: minitorch.cat([a, b]).sum(),
    "views": lambda a, b: (a.T + b.T).reshape(-1).sum(),
    "expanded": lambda a, b: a.expand(2, 3, 4).sum() + b.sum(),
    "where": lambda a, b: minitorch.where(a > 0, a, b).sum(),
    "split": lambda a, b: sum(x.sum() for x in (a + b).split(1)),
    "clone": lambda a, b: (a.clone() + b.clone()).sum(),
    "identity": lambda a, b: (a + b + 0).sum(),
}


@pytest.mark.parametrize("name", SHARING)
def test_gradients_never_share_memory(name):
    a, b = ours(A, True), ours(B, True)
    SHARING[name](a, b).backward()
    assert not aliased(a.grad, b.grad)
    before = array(b.grad).copy()
    a.grad.fill_(100.0)
    assert_close(array(b.grad), before)
    SHARING[name](a, b).backward()
    assert_close(array(b.grad), 2 * before)


def test_the_given_gradient_is_not_the_one_kept():
    x, g = ours(A, True), ours(B)
    x.backward(g)
    assert not aliased(x.grad, g)
    x.grad.zero_()
    assert_close(array(g), B)
    y = ours(A, True)
    z = y + 0
    z.retain_grad()
    z.backward(g)
    assert not aliased(z.grad, y.grad)
    assert not aliased(z.grad, g)


def test_a_kept_gradient_is_not_changed_by_the_next_backward():
    x = ours(A, True)
    (x * 2).sum().backward()
    kept = x.grad
    copy = array(kept).copy()
    x.grad = None
    (x * 2).sum().backward()
    x.grad.mul_(5)
    assert_close(array(kept), copy)


def test_a_hook_s_gradient_may_be_kept():
    x, y = ours(A, True), ours(B, True)
    kept = []
    x.register_hook(kept.append)
    (x + y).sum().backward()
    x.grad.fill_(7.0)
    y.grad.fill_(8.0)
    assert_close(array(kept[0]), np.ones((3, 4)))


# ---------------------------------------------------------------------- Function
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


# ---------------------------------------------------------------------- grad modes
@LIBRARIES
def test_grad_modes(m, make):
    x = make(A, True)
    with m.no_grad():
        assert not m.is_grad_enabled()
        assert not (x * 2).requires_grad
        with m.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
        with m.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not m.is_grad_enabled()
    assert m.is_grad_enabled()
    with m.inference_mode():
        assert not m.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), m.no_grad():
        1 / 0  # noqa: B018
    assert m.is_grad_enabled()
    previous = m.set_grad_enabled(False)
    assert not m.is_grad_enabled()
    m.set_grad_enabled(True)
    del previous
    assert m.is_grad_enabled()


@LIBRARIES
def test_grad_modes_as_decorators(m, make):
    x = make(A, True)

    @m.no_grad()
    def f():
        return m.is_grad_enabled(), (x * 2).requires_grad

    @m.no_grad
    def g(deep):
        return g(deep - 1) if deep else m.is_grad_enabled()

    @m.enable_grad()
    def h():
        """Doc."""
        return m.is_grad_enabled()

    @m.set_grad_enabled(False)
    def i():
        return m.is_grad_enabled()

    @m.inference_mode
    def j():
        return m.is_grad_enabled()

    assert m.is_grad_enabled()
    assert (i(), j(), i()) == (False, False, False)
    assert m.is_grad_enabled()
    assert f() == (False, False)
    assert g(3) is False
    with m.no_grad():
        assert h() is True
        assert f() == (False, False)
    assert m.is_grad_enabled()
    assert h.__name__ == "h"
    assert h.__doc__ == "Doc."


def test_one_no_grad_object_may_be_entered_again():
    mode = minitorch.no_grad()
    with mode, mode:
        assert not minitorch.is_grad_enabled()
    assert minitorch.is_grad_enabled()


def test_threads_have_grad_modes_of_their_own():
    entered, done = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
    found = {}

    def without():
        with minitorch.no_grad():
            entered.wait()
            x = ours(A, True)
            found["without"] = [(x * x).requires_grad for _ in range(200)]
            done.wait()

    def within():
        entered.wait()
        x = ours(A, True)
        for _ in range(200):
            y = (x * x).sum()
            y.backward()
        found["within"] = array(x.grad)
        done.wait()

    threads = [threading.Thread(target=f) for f in (without, within)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert found["without"] == [False] * 200
    assert_close(found["within"], 400 * A)
    assert minitorch.is_grad_enabled()


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


# ---------------------------------------------------------------------- row-sparse gradients
def table(rows=5):
    return ours(np.random.default_rng(2).normal(size=(rows, 3)), True)


def lookup(weight, indices):
    return minitorch.ops.embedding(weight, ours(np.array(indices)), sparse=True)


def test_a_sparse_embedding_gives_rows():
    w = table()
    out = lookup(w, [[1, 4], [1, 0]])
    (out * out).sum().backward()
    g = w.grad
    assert isinstance(g, RowGrad)
    assert g.indices.tolist() == [1, 4, 1, 0]
    assert tuple(g.values.shape) == (4, 3)
    assert tuple(g.shape) == (5, 3)
    assert (g.dtype, g.device) == (w.dtype, w.device)
    dense = table()
    out = minitorch.ops.embedding(dense, ours(np.array([[1, 4], [1, 0]])))
    (out * out).sum().backward()
    assert_close(array(g.to_dense()), array(dense.grad))
    merged = g.coalesce()
    assert merged.indices.tolist() == [0, 1, 4]
    assert_close(array(merged.to_dense()), array(dense.grad))
    assert_close(array((g * 2).to_dense()), 2 * array(dense.grad))
    assert repr(g).startswith("RowGrad(indices=tensor([1, 4, 1, 0])")


@pytest.mark.parametrize("order", ["rows, rows", "rows, dense", "dense, rows"])
@pytest.mark.parametrize("at_once", [True, False])
def test_row_gradients_add_up(order, at_once):
    w, expected = table(), table()
    terms = []
    for kind in order.split(", "):
        if kind == "rows":
            terms.append(lambda w: lookup(w, [1, 3]).sin().sum())
        else:
            terms.append(lambda w: (w * w).sum())
    if at_once:
        (terms[0](w) + terms[1](w)).backward()
    else:
        terms[0](w).backward()
        terms[1](w).backward()
    for term in terms:
        term(expected).backward(create_graph=False)
    dense = w.grad.to_dense() if isinstance(w.grad, RowGrad) else w.grad
    reference = expected.grad
    reference = reference.to_dense() if isinstance(reference, RowGrad) else reference
    e = torch.tensor(array(w), requires_grad=True)
    total = sum(
        e[[1, 3]].sin().sum() if kind == "rows" else (e * e).sum() for kind in order.split(", ")
    )
    total.backward()
    assert_close(array(dense), array(e.grad))
    assert_close(array(reference), array(e.grad))
    assert isinstance(w.grad, RowGrad) == (order == "rows, rows")


def test_row_gradients_do_not_share_memory():
    w, v = table(), table()
    indices = ours(np.array([1, 3]))
    total = minitorch.ops.embedding(w, indices, sparse=True) + minitorch.ops.embedding(
        v, indices, sparse=True
    )
    total.sum().backward()
    before = array(v.grad.values).copy()
    w.grad.mul_(100.0)
    assert_close(array(v.grad.values), before)
    before = w.grad.indices.tolist()
    indices.fill_(0)
    assert w.grad.indices.tolist() == before


def test_row_gradients_are_dense_where_they_must_be():
    w = table()
    out = lookup(w * 2, [1, 1])
    out.sum().backward()
    assert isinstance(w.grad, Tensor)
    w = table()
    (g,) = autograd.grad(lookup(w, [1, 2]).sin().sum(), w, create_graph=True)
    assert isinstance(g, Tensor)
    (h,) = autograd.grad(g.sum(), w, create_graph=True)
    expected = np.zeros((5, 3))
    expected[[1, 2]] = -np.sin(array(w)[[1, 2]])
    assert_close(array(h), expected)


def test_row_gradients_cost_nothing_for_the_other_rows():
    w = minitorch.zeros(1_000_000, 4, requires_grad=True)
    minitorch.ops.embedding(w, minitorch.tensor([5, 7]), sparse=True).sum().backward()
    assert w.grad.values.numel() == 8


# ---------------------------------------------------------------------- depth, garbage, memory
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
    """While the walk is at the first op, what the last one saved must be gone already."""
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


# ---------------------------------------------------------------------- forward mode
def test_push_forward():
    x, y = ours(A, True), ours(B, True)
    z, w = x * y, x.sin()
    tangents = autograd.push_forward([z, w, y * 3], [x], [ours(B)])
    assert_close(array(tangents[0]), B * B)
    assert_close(array(tangents[1]), np.cos(A) * B)
    assert_close(array(tangents[2]), np.zeros((3, 4)))  # does not depend on x


def test_deepcopy_and_detach():
    import copy

    x = ours(A, True)
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad
    assert twin.is_leaf
    assert_close(array(twin.grad), array(x.grad))
    assert not aliased(twin, x)
    assert not aliased(twin.grad, x.grad)
    shared = [x, x]
    first, second = copy.deepcopy(shared)
    assert first is second
    y = x * 2
    assert y.detach_().is_leaf
    assert not y.requires_grad
    assert x.requires_grad_(False) is x

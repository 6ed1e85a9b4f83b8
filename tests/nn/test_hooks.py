"""Backward hooks of modules, beside PyTorch's."""

import numpy as np
import pytest

import minitorch
from minitorch import func, nn
from tests.referee import LIBRARIES, array, compare, is_tensor, ours

X = np.random.default_rng(0).normal(size=(2, 3))
V = np.random.default_rng(1).normal(size=(2, 3))


def layer(m):
    """A fixed layer whose forward takes two tensors and a number, and gives two tensors."""

    class Pair(m.nn.Module):
        def forward(self, x, k, y, *, shift=0.0):
            return x * y * k + shift, (x + y).sum()

    return Pair()


def seen(entries):
    return [item for given in entries for item in given if is_tensor(item)]


def test_gradients_that_hooks_see():
    def call(m, x, y):
        module, log, kinds = layer(m), [], []

        def hook(module, grad_input, grad_output):
            log.append((*grad_input, *grad_output))
            kinds.append([g is None for g in (*grad_input, *grad_output)])

        module.register_full_backward_hook(hook)
        a, b = module(x, 3, y, shift=1.0)
        (a.sum() * b).backward()
        module(x, 3, y)[0].sum().backward()
        return seen(log), [str(kind) for kind in kinds]

    compare(call, X, V, may_raise=False)


def test_arguments_without_a_gradient_have_none():
    module, log = layer(minitorch), []
    module.register_full_backward_hook(lambda module, gi, go: log.append(gi))
    module(ours(X, True), 3, ours(V))[0].sum().backward()
    assert [g is None for g in log[0]] == [False, True, True]


def test_hooks_that_replace():
    def call(m, x, y):
        module, order = layer(m), []

        def first(module, grad_input, grad_output):
            order.append("first")
            return (grad_input[0] * 2, None, grad_input[2])

        def second(module, grad_input, grad_output):
            order.append("second")
            return (grad_input[0] + 1, None, grad_input[2] * 3)

        def before(module, grad_output):
            order.append("before")
            return (grad_output[0] * 5, grad_output[1])

        module.register_full_backward_hook(first)
        module.register_full_backward_hook(second)
        module.register_full_backward_pre_hook(before)
        a, b = module(x, 2, y)
        (a.sum() + b * 3).backward()
        return x.grad, y.grad, "-".join(order)

    compare(call, X, V, may_raise=False)


def test_hooks_of_layers_in_a_row():
    def call(m, x, y):
        model = m.nn.Sequential(m.nn.Tanh(), m.nn.Sigmoid(), m.nn.ReLU())
        log = []
        for i, part in enumerate(model):
            handle = part.register_full_backward_hook(
                lambda module, gi, go, i=i: log.append((i, *gi, *go))
            )
        handle.remove()
        model(x * y).sum().backward()
        return seen(log), [entry[0] for entry in log]

    compare(call, X, V, may_raise=False)


def test_forward_hooks_run_inside():
    def call(m, x, y):
        model, log = m.nn.Tanh(), []
        model.register_full_backward_hook(lambda module, gi, go: log.append((*gi, *go)))
        model.register_forward_hook(lambda module, args, out: out * y)
        model.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        model(x).sum().backward()
        return seen(log)

    compare(call, X, V, may_raise=False)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch's
@LIBRARIES
def test_no_gradient_at_the_inputs(m, make):
    module, log = m.nn.Linear(3, 2).double(), []
    module.register_full_backward_hook(lambda *given: log.append(given))
    module(make(X)).sum().backward()
    (given,) = log
    assert given[0] is module and given[1] == (None,)
    assert array(given[2][0]).tolist() == np.ones((2, 2)).tolist()
    with m.no_grad():
        assert not module(make(X)).requires_grad
    assert len(log) == 1


def test_handles():
    module, log = nn.Tanh(), []
    with module.register_full_backward_hook(lambda *given: log.append("a")):
        module(ours(X, True)).sum().backward()
    module(ours(X, True)).sum().backward()
    later = module.register_full_backward_hook(lambda *given: log.append("later"))
    module.register_full_backward_hook(lambda *given: log.append("first"), prepend=True)
    module(ours(X, True)).sum().backward()
    later.remove()
    module(ours(X, True)).sum().backward()
    assert log == ["a", "first", "later", "first"]


def test_every_mode_goes_through():
    module = nn.Tanh()
    module.register_full_backward_hook(lambda module, gi, go: (gi[0] * 1,))
    square = lambda x: (module(x) ** 2).sum()  # noqa: E731
    plain = lambda x: (x.tanh() ** 2).sum()  # noqa: E731
    x, v = ours(X), ours(V)
    for make in (func.grad, func.hessian, lambda f: lambda x: func.jvp(f, (x,), (v,))[1]):
        np.testing.assert_allclose(array(make(square)(x)), array(make(plain)(x)), rtol=1e-12)


def test_a_wrong_number_of_gradients():
    module = nn.Tanh()
    module.register_full_backward_hook(lambda module, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="returned 2 gradients as grad_input, expected 1"):
        module(ours(X, True)).sum().backward()


def test_a_watched_layer_is_not_fused_away():
    model, log = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double(), []
    model[0].register_full_backward_hook(lambda *given: log.append(given[2][0].shape))
    model(ours(X)).sum().backward()
    assert [tuple(shape) for shape in log] == [(2, 4)]


@pytest.mark.parametrize(
    "name", ["forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook"]
)
def test_a_hook_must_be_callable(name):
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=f"register_{name}: hook: expected something to call, got"):
        getattr(layer, f"register_{name}")(3)

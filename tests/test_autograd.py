"""Backward, grad, hooks, Function and grad modes: what PyTorch does, and no garbage."""

import warnings

import numpy as np
import pytest
import torch

import minitorch
from minitorch import autograd
from minitorch.core import engine
from minitorch.core.dispatch import REGISTRY
from tests.referee import LIBRARIES, Raised, array, assert_close, attempt, compare, ours, theirs

A = np.random.default_rng(0).normal(size=(3, 4))
B = np.random.default_rng(1).normal(size=(3, 4))


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
    assert_close(array(first), np.full_like(A, 8.0))


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@LIBRARIES
@pytest.mark.parametrize("kind", ["plain", "transposed", "zeroed", "of create_graph"])
def test_backward_adds_into_the_gradient_that_is_there(m, make, kind):
    x = make(A, True)
    if kind == "transposed":
        x.grad = make(A.T).T
    else:
        (x * x).sum().backward(create_graph=kind == "of create_graph")
    held, elements = x.grad, x.grad.detach()
    if kind == "zeroed":
        with m.no_grad():
            held.zero_()
    before = array(held).copy()
    (x * 3).sum().backward()
    assert x.grad is held
    assert_close(array(elements), before + 3)
    (x * 3).sum().backward(inputs=[x])
    assert x.grad is held
    (x * 3).sum().backward(create_graph=True)
    assert x.grad is not held
    assert_close(array(held), before + 6)


@pytest.mark.parametrize("first", ["rows", "dense"])
def test_rows_are_added_into_the_gradient_that_is_there(first):
    w = ours(A, True)
    index = ours(np.array([1, 1, 2]))
    terms = {
        "rows": lambda: minitorch.ops.embedding(w, index, sparse=True).sum(),
        "dense": lambda: (w * 2).sum(),
    }
    terms[first]().backward()
    held = w.grad
    terms["rows"]().backward()
    assert w.grad is held
    whole = held.to_dense() if first == "rows" else held
    start = 0 if first == "rows" else 2
    rows = 2 if first == "rows" else 1
    assert_close(array(whole), start + rows * np.array([[0.0], [2], [1]]) * np.ones_like(A))


@LIBRARIES
def test_a_gradient_that_was_expanded_is_no_target(m, make):
    x = make(A, True)
    x.grad = make(A[:1, :1]).expand(3, 4)
    with pytest.raises(RuntimeError):
        x.sum().backward()


@LIBRARIES
def test_who_ceases_to_require_grad_keeps_its_gradient(m, make):
    x = make(A, True)
    (x * x).sum().backward()
    held = x.grad
    x.requires_grad_(False)
    assert x.grad is held
    x.requires_grad = True
    assert x.grad is held
    (x * 1).sum().backward()
    assert_close(array(held), 2 * A + 1)
    x.requires_grad = False
    x.grad = None
    assert x.grad is None
    x.requires_grad_()
    assert x.grad is None
    y = make(A)
    y.grad = make(B)
    assert_close(array(y.requires_grad_().grad), B)


# ---------------------------------------------------------------------- retain_grad and in-place
RETAINED = {
    "mul_": lambda y: y.mul_(3),
    "+=": lambda y: y.__iadd__(1),
    "setitem": lambda y: y.__setitem__(0, 5.0),
    "zero_": lambda y: y.zero_(),
    "exp_": lambda y: y.exp_(),
    "copy_": lambda y: y.copy_(y.detach() + 1),
    "twice": lambda y: y.mul_(3).add_(y.detach().clone()),
    "by a view": lambda y: y[:2].mul_(3),
    "by a deep view": lambda y: y.T.T.view(-1)[2:].mul_(3),
}


@LIBRARIES
@pytest.mark.parametrize("name", RETAINED)
def test_retain_grad_goes_along_with_in_place_changes(name, m, make):
    x = make(A, True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: seen.append(array(g).copy()))
    seen = []
    y.sum().backward(retain_graph=True)
    RETAINED[name](y)
    assert y.retains_grad
    assert_close(array(y.grad), np.ones_like(A))
    (y * make(B)).sum().backward()
    assert_close(array(y.grad), 1 + B)
    assert len(seen) == 2  # a hook stays with the value for which it was registered


@LIBRARIES
@pytest.mark.parametrize("changed", ["base", "itself", "sibling"])
def test_views_go_on_retaining_their_gradients(changed, m, make):
    x = make(A, True)
    y = x * 2
    v, w = y[:2], y[1:]
    w.retain_grad()
    {"base": y, "itself": w, "sibling": v}[changed].mul_(3)
    (w * make(B[1:])).sum().backward()
    assert_close(array(w.grad), B[1:])


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
        (lambda x: autograd.grad(None, x), TypeError, "to differentiate, got NoneType"),
        (lambda x: x.sum().backward(inputs=[3]), TypeError, r"inputs\[0\]: expected a tensor, got"),
        (lambda x: x.sum().backward(inputs=[x, x.detach()]), RuntimeError, r"inputs\[1\] does not"),
        (lambda x: x.register_hook(3), TypeError, "hook: expected something to call, got int"),
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
def extent(x):
    """The addresses of the first byte of a tensor and of the one behind its last."""
    last = sum((n - 1) * step for n, step in zip(x.shape, x.stride()))
    return x.data_ptr(), x.data_ptr() + (last + 1) * x.element_size()


def aliased(a, b):
    (begin, end), (other_begin, other_end) = extent(a), extent(b)
    return begin < other_end and other_begin < end


SHARING = {
    "a + b": lambda a, b: (a + b).sum(),
    "a - b": lambda a, b: (a - b).sum(),
    "cat": lambda a, b: minitorch.cat([a, b]).sum(),
    "views": lambda a, b: (a.T + b.T).reshape(-1).sum(),
    "one view": lambda a, b: ((a + b.reshape(-1).reshape(b.shape)) * 2).sum(),
    "another view": lambda a, b: ((a.reshape(-1) + b.reshape(-1)) * 2).sum(),
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


def test_a_parameter_given_as_gradient_is_not_kept():
    given = minitorch.nn.Parameter(minitorch.ones(3, dtype=minitorch.float64))
    x = leaf()
    y = x * 1
    y.retain_grad()
    y.backward(given.detach_())
    y.grad.zero_()
    x.grad.zero_()
    assert given.tolist() == [1.0, 1.0, 1.0]


def test_a_hook_must_return_a_gradient_of_that_shape():
    x = ours(A, True)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match=r"shape \(\), expected \(3, 4\)"):
        x.sum().backward()


def test_a_hook_must_return_a_gradient():
    x = leaf()
    x.register_hook(lambda g: 2.0)
    with pytest.raises(TypeError, match="hook: expected a tensor or None, got float"):
        x.sum().backward()


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


# ---------------------------------------------------------------------- the implicit gradient 1
def _one_row_loss(x):
    return minitorch.fused.cross_entropy(x, minitorch.tensor([1, 0]))


def _logits():
    return minitorch.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)


def _expected_gradient():
    x = _logits()
    _one_row_loss(x).backward(minitorch.tensor(1.0))
    return x.grad.tolist()


def test_the_implicit_one_is_made_once_and_never_given_away():
    x = _logits()
    loss = _one_row_loss(x)
    one = engine.unit(loss)
    assert engine.unit(loss) is one
    loss.retain_grad()
    loss.backward()
    loss.grad.mul_(5)
    (same,) = autograd.grad(_logits().sum(), _logits().sum(), allow_unused=True)
    assert same is None
    y = _logits().sum()
    (g,) = autograd.grad(y, y)
    g.mul_(7)
    z = minitorch.tensor(2.0, requires_grad=True)
    z.backward()
    z.grad.mul_(3)
    (z * 1).reshape(1).reshape(()).backward()
    z.grad.mul_(3)
    assert (one.item(), one._version) == (1.0, 0)
    assert x.grad.tolist() == _expected_gradient()


def test_the_implicit_one_is_made_anew_after_a_change():
    loss = _one_row_loss(_logits())
    engine.unit(loss).mul_(3)
    assert engine.unit(loss).item() == 1.0
    x = _logits()
    _one_row_loss(x).backward()
    assert x.grad.tolist() == _expected_gradient()


@pytest.mark.parametrize("change", [lambda g: g.mul_(2), lambda g: g.data.mul_(2)])
def test_hooks_that_change_the_gradient_of_a_loss(change):
    expected = 2 * minitorch.tensor(_expected_gradient())
    for place in ("loss", "view", "input"):
        x = _logits()
        y = x * 1
        loss = _one_row_loss(y)
        end = loss.reshape(1).reshape(())
        {"loss": loss, "view": end, "input": y}[place].register_hook(lambda g: (change(g), None)[1])
        end.backward()
        assert x.grad.tolist() == expected.tolist(), place
        assert engine.unit(loss).item() == 1.0


def test_a_function_may_change_the_implicit_one():
    class Twice(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g.mul_(2)

    x = minitorch.tensor(3.0, requires_grad=True)
    Twice.apply(x).backward()
    Twice.apply(x).backward()
    assert x.grad.item() == 4.0


def test_a_loss_that_is_walked_twice_keeps_its_gradient():
    x = _logits()
    expected = minitorch.tensor(_expected_gradient())
    loss = _one_row_loss(x)
    loss.backward(retain_graph=True)
    x.grad.mul_(100)  # must not reach what the graph keeps
    x.grad = None
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == (2 * expected).tolist()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_loss_that_is_used_twice_or_scaled():
    expected = minitorch.tensor(_expected_gradient())
    x = _logits()
    loss = _one_row_loss(x)
    (loss + loss * 2).backward()
    assert minitorch.allclose(x.grad, 3 * expected)
    x.grad = None
    y = x * 1
    (_one_row_loss(y) + _one_row_loss(y)).backward()
    assert minitorch.allclose(x.grad, 2 * expected)
    x.grad = None
    autograd.backward([_one_row_loss(x), _one_row_loss(x)])
    assert minitorch.allclose(x.grad, 2 * expected)


def test_the_gradient_of_a_loss_is_the_leaf_s_own():
    """The kernel's gradient becomes x.grad itself; changing it changes nothing else."""
    x = _logits()
    _one_row_loss(x).backward()
    first = x.grad
    first.mul_(0)
    x.grad = None
    _one_row_loss(x).backward()
    assert x.grad.tolist() == _expected_gradient()
    assert first.tolist() == [[0, 0], [0, 0]]


def test_derivatives_of_a_loss_under_create_graph():
    x = _logits()
    (g,) = autograd.grad(_one_row_loss(x), x, create_graph=True)
    assert minitorch.allclose(g, minitorch.tensor(_expected_gradient()))
    (h,) = autograd.grad((g * g).sum(), x)
    assert h.abs().sum().item() > 0


def test_a_rule_that_gives_too_few_gradients_is_an_error(monkeypatch):
    monkeypatch.setattr(REGISTRY["add"], "vjp", lambda node, g: [g])
    x, y = ours(A, True), ours(B, True)
    with pytest.raises(ValueError, match="shorter"):
        (x + y).sum().backward()


# ---------------------------------------------------------------------- iterables of tensors
ITERABLES = {
    "generator": lambda *xs: (x for x in xs),
    "dict values": lambda *xs: dict(enumerate(xs)).values(),
    "iterator": lambda *xs: iter(xs),
    "tuple": lambda *xs: xs,
}


@pytest.mark.parametrize("kind", ITERABLES)
def test_any_iterable_of_tensors(kind):
    given = ITERABLES[kind]

    def gradients(m):
        x, y = (m.tensor([v, 2.0], requires_grad=True) for v in (1.0, 3.0))
        outs, seeds = (x * y, y * y), (m.tensor([1.0, 2.0]), m.tensor([3.0, 4.0]))
        found = m.autograd.grad(given(*outs), given(x, y), given(*seeds), retain_graph=True)
        m.autograd.backward(given(*outs), given(*seeds), retain_graph=True)
        m.autograd.backward(outs, seeds, inputs=given(x))
        return [g.tolist() for g in (*found, x.grad, y.grad)]

    assert gradients(minitorch) == gradients(torch)


def test_parameters_of_a_module_as_they_come():
    model = minitorch.nn.Linear(2, 1)
    loss = model(minitorch.ones(3, 2)).sum()
    found = minitorch.autograd.grad(loss, model.parameters())
    assert [g.tolist() for g in found] == [[[3.0, 3.0]], [3.0]]
    for wrong in (3, None, "x"):
        with pytest.raises((TypeError, ValueError), match="inputs"):
            minitorch.autograd.grad(loss, wrong)

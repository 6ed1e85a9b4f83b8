"""Traces of recorded graphs against the lectures' figures, `backward` and `func.jvp`."""

import gc

import numpy as np
import pytest

import minitorch
from minitorch import nn
from minitorch.viz import draw_graph, trace
from tests.referee import array


def leaf(value):
    return minitorch.tensor(value, dtype=minitorch.float64, requires_grad=True)


def deck():
    """y = 3√x · (log x + 1/x²) at 1.2, in the lecture's steps."""
    x = leaf(1.2)
    z2, z3, z4 = 3 * x.sqrt(), x.log(), 1 / x
    z1 = z4**2 + z3
    return {"x": x, "z2": z2, "z3": z3, "z4": z4, "z1": z1, "y": z1 * z2}


def four_ways():
    """f(x1, x2) = ln x1 + x1·x2 − sin x2 at (2, 5), in the lecture's steps."""
    v0, v1 = leaf(2.0), leaf(5.0)
    v2, v3, v4 = v0.log(), v0 * v1, v1.sin()
    v5 = v2 + v3
    return {"v0": v0, "v1": v1, "v2": v2, "v3": v3, "v4": v4, "v5": v5, "v6": v5 - v4}


DECK = """\
step               value  tangent ∂x  adjoint
-----------------  -----  ----------  -------
x                   1.20        1.00     0.14
z2 = 3 · sqrt(x)    3.29        1.37     0.88
z3 = log(x)         0.18        0.83     3.29
z4 = 1 / x          0.83       -0.69     5.48
z1 = z4 · z4 + z3   0.88       -0.32     3.29
y = z1 · z2         2.88        0.14     1.00

adjoint of  from  local  adjoint  contribution   sum
----------  ----  -----  -------  ------------  ----
x           z2     1.37     0.88         +1.20  1.20
x           z3     0.83     3.29         +2.74  3.94
x           z4    -0.69     5.48         -3.80  0.14
z2          y      0.88     1.00         +0.88  0.88
z3          z1     1.00     3.29         +3.29  3.29
z4          z1     1.67     3.29         +5.48  5.48
z1          y      3.29     1.00         +3.29  3.29
"""


def test_the_decks_table_is_printed(capsys):
    steps = deck()
    found = trace(steps["y"], steps, named_only=True)
    assert capsys.readouterr().out == DECK
    assert str(found) == DECK.rstrip("\n")
    assert "0.135545" in found.table(6)


def test_the_decks_figures_are_exact():
    steps = deck()
    found = trace(steps["y"], steps, named_only=True, show=False)
    x = 1.2
    z = {"z2": 3 * x**0.5, "z3": np.log(x), "z4": 1 / x}
    z["z1"] = z["z4"] ** 2 + z["z3"]
    adjoints = {"z1": z["z2"], "z2": z["z1"], "z3": z["z2"], "z4": 2 * z["z4"] * z["z2"]}
    for name, value in z.items():
        assert found[name].value == pytest.approx(value, rel=1e-15)
        assert found[name].adjoint == pytest.approx(adjoints[name], rel=1e-15)
    parts = found["x"].contributions
    assert [c.child for c in parts] == ["z2", "z3", "z4"]
    local = [1.5 / x**0.5, 1 / x, -1 / x**2]
    amounts = [d * adjoints[c.child] for d, c in zip(local, parts)]
    np.testing.assert_allclose([c.local for c in parts], local, rtol=1e-14)
    np.testing.assert_allclose([c.amount for c in parts], amounts, rtol=1e-14)
    np.testing.assert_allclose([c.total for c in parts], np.cumsum(amounts), rtol=1e-13)
    assert [round(c.total, 2) for c in parts] == [1.2, 3.94, 0.14]
    assert found["z4"].contributions[0].local == pytest.approx(2 * z["z4"], rel=1e-15)
    assert found["x"].adjoint == pytest.approx(0.135545, abs=5e-7)
    assert found["y"].tangents == {"x": pytest.approx(found["x"].adjoint, rel=1e-13)}


def test_every_elementary_step_is_shown_with_a_name():
    steps = deck()
    found = trace(steps["y"], steps, show=False)
    assert [row.name for row in found] == ["x", "v0", "z2", "z3", "z4", "v1", "z1", "y"]
    assert found["z2"].expression == "3 · v0"
    assert found["v1"].op == "mul"
    assert found["x"].op == "leaf"
    assert found["z1"].parents == ("v1", "z3") or found["z1"].parents == ("z3", "v1")
    assert found.order == ["y", "z2", "v0", "z1", "z3", "v1", "z4", "x"]


FORWARD = [1, 0, 0.5, 5, 0, 5.5, 5.5]
ADJOINT = [5.5, 2 - np.cos(5), 1, 1, -1, 1, 1]


def test_four_ways_values_tangents_and_adjoints():
    steps = four_ways()
    found = trace(steps["v6"], steps, wrt=steps["v0"], show=False)
    assert [row.name for row in found] == list(steps)
    values = [2, 5, np.log(2), 10, np.sin(5), np.log(2) + 10, np.log(2) + 10 - np.sin(5)]
    np.testing.assert_allclose([row.value for row in found], values, rtol=1e-15)
    np.testing.assert_allclose([row.tangents["v0"] for row in found], FORWARD, rtol=1e-15)
    np.testing.assert_allclose([row.adjoint for row in found], ADJOINT, rtol=1e-15)
    by_default = trace(steps["v6"], steps, show=False)
    assert list(by_default["v6"].tangents) == ["v0", "v1"]
    assert by_default["v6"].tangents["v1"] == pytest.approx(2 - np.cos(5), rel=1e-15)


def net():
    """A loss that meets every family of ops, and its leaves by name."""
    minitorch.manual_seed(3)
    f64 = {"dtype": minitorch.float64}
    model = nn.Sequential(nn.Linear(4, 5, **f64), nn.Tanh(), nn.Linear(5, 3, **f64))
    x = minitorch.randn(6, 4, **f64)
    scale = leaf(1.5)
    hidden = model(x) * scale
    mixed = hidden.softmax(1) @ hidden.t()
    loss = mixed.sum() + nn.functional.cross_entropy(hidden, minitorch.tensor([0, 1, 2, 0, 1, 2]))
    return loss, {**dict(model.named_parameters()), "scale": scale}


def test_adjoints_are_the_gradients_of_backward():
    loss, names = net()
    found = trace(loss, names, show=False)
    assert all(x.grad is None for x in names.values())
    for row in found:
        assert row.value is not None
        total = sum(c.amount for c in row.contributions)
        if row.contributions:
            np.testing.assert_allclose(total, row.adjoint, rtol=1e-12, atol=1e-14)
    loss.backward()  # the graph is still there
    for name, x in names.items():
        np.testing.assert_allclose(found[name].adjoint, array(x.grad), rtol=1e-10, atol=1e-14)


def test_tangents_are_those_of_forward_mode():
    loss, names = net()
    weight = names["0.weight"]
    found = trace(loss, names, wrt=[weight, names["scale"]], show=False)
    np.testing.assert_array_equal(found["0.weight"].tangents["0.weight"], np.ones((5, 4)))
    for name in ("0.weight", "scale"):
        slope = found[-1].tangents[name]
        assert slope == pytest.approx(np.sum(found[name].adjoint), rel=1e-10)


def test_values_of_tensors_that_are_gone_follow_from_the_graph():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = (x.t().exp() + x.sum(0)).reshape(4).sum()
    gc.collect()
    found = trace(y, {"x": x}, show=False)
    values = {row.op: row.value for row in found}
    whole = np.exp(array(x).T) + array(x).sum(0)
    np.testing.assert_allclose(values["add"], whole, rtol=1e-15)
    np.testing.assert_allclose(values["view"], whole.reshape(4), rtol=1e-15)


def test_values_of_leaves_are_found_without_names():
    x, w = minitorch.ones(2, 3, dtype=minitorch.float64), leaf([[1.0], [2.0], [3.0]])
    found = trace((x @ w).sum(), show=False)  # the product does not keep w
    assert found[0].value.tolist() == array(w).tolist()
    assert found[-1].value == 12


def test_a_value_that_nobody_keeps_is_a_question_mark():
    x, shift = leaf([1.0, 2.0]), minitorch.tensor([3.0, 4.0], dtype=minitorch.float64)
    y = (x + shift).sum()
    found = trace(y, show=False)
    (row,) = [row for row in found if row.op == "add"]
    assert row.value is None
    assert row.expression == "v0 + …"
    assert "?: the graph does not keep this value" in str(found)
    moved = x + shift
    named = trace(moved.sum(), {"moved": moved}, show=False)
    assert named["moved"].value.tolist() == [4, 6]


def test_expressions_have_brackets_where_they_are_needed():
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    names = {"a": a, "b": b, "c": c}
    for y, text in [
        ((a + b) * c, "(a + b) · c"),
        (a + b * c, "a + b · c"),
        (a - (b - c), "a − (b − c)"),
        (a - b - c, "a − b − c"),
        (a / (b * c), "a / (b · c)"),
        ((a - 3) * b + b.exp().log() + c, "(a − 3) · b + log(exp(b)) + c"),
        (minitorch.maximum(a + b, c) * 1, "maximum(a + b, c) · 1"),
    ]:
        known = {k: v for k, v in names.items() if k != "c" or "c" in text}
        assert trace(y, known, named_only=True, show=False)[-1].expression == text


def test_a_constant_of_one_element_is_a_number_in_any_shape():
    x = leaf([[3.0]])
    assert trace(x * leaf([[2.0]]).detach(), {"x": x}, show=False)["v0"].expression == "x · 2"
    layer = nn.LSTM(1, 1)
    y = layer(minitorch.ones(2, 1, 1))[0]
    found = trace(y.sum(), dict(layer.named_parameters()), show=False)
    assert found["weight_hh_l0"].contributions[0].child in {row.name for row in found}


def test_a_node_used_twice_by_one_child_is_one_edge():
    x = leaf(3.0)
    (part,) = trace(x * x, {"x": x}, show=False)["x"].contributions
    assert (part.local, part.amount, part.total) == (6, 6, 6)


def test_a_branch_that_carries_no_gradient_is_shown_with_zeros():
    x = leaf(2.0)
    y = x * minitorch.where(x > 0, x, x.exp() * 0)
    assert trace(y, {"x": x}, show=False)["x"].adjoint == 4


class Cube(minitorch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2


def test_a_users_function_is_one_step():
    x = leaf(2.0)
    y = Cube.apply(x)
    found = trace(y * 2, {"x": x, "y": y}, show=False)
    assert [row.name for row in found] == ["x", "y", "v0"]
    assert found["y"].expression == "Cube(x)"
    assert found["x"].adjoint == 24
    assert found["y"].tangents == {}  # it has no rule for forward mode
    with pytest.raises(NotImplementedError, match="jvp"):
        trace(y, {"x": x}, wrt=x, show=False)


def test_sparse_gradients_are_shown_whole():
    table = nn.Embedding(4, 2, sparse=True)
    rows = table(minitorch.tensor([1, 1, 3]))
    found = trace(rows.sum(), {"table": table.weight}, show=False)
    assert found["table"].adjoint.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


def test_several_elements_need_a_gradient():
    x = leaf([1.0, 2.0])
    y = x * 3
    found = trace(y, {"x": x}, gradient=minitorch.tensor([1.0, 10.0]), digits=1, show=False)
    assert found["x"].adjoint.tolist() == [3, 30]
    assert "[3.0, 30.0]" in str(found)
    assert trace((y * 0).sum(), show=False)[0].adjoint.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="trace: grad can be implicitly created only for scalar"):
        trace(y, {"x": x})


def test_hooks_do_not_run_and_gradients_stay():
    x = leaf(2.0)
    calls = []
    x.register_hook(calls.append)
    x.grad = minitorch.tensor(7.0, dtype=minitorch.float64)
    trace(x * x, {"x": x}, show=False)
    assert calls == []
    assert x.grad.item() == 7


def test_bad_input():
    x, other = leaf(2.0), leaf(1.0)
    y = x.exp() * x
    for call, error, message in [
        (lambda: trace(y, {"other": other}), ValueError, "'other' is not part of the graph"),
        (lambda: trace(y, {"a": x, "b": x}), ValueError, "'b' is a tensor that has a name"),
        (lambda: trace(y, {"a": 3.0}), TypeError, "names: a: expected a tensor, got float"),
        (lambda: trace(y, wrt=other), ValueError, "tensor 0 is not among the nodes"),
        (lambda: trace(y, wrt="x"), TypeError, "wrt: expected tensors, got str"),
        (lambda: trace(y.detach()), RuntimeError, "trace: the tensor does not require grad"),
        (lambda: trace(y, ["x"]), TypeError, "names: expected a dict .*, got list"),
        (lambda: trace(None), TypeError, "to differentiate, got NoneType"),
        (lambda: trace(3.0), TypeError, "trace: expected a tensor to differentiate"),
        (lambda: trace(y, show=False)["z"], KeyError, "z: the trace has the rows v0, v1, v2"),
    ]:
        with pytest.raises(error, match=message):
            call()
    z = x.exp()
    w = z.sin()
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        trace(w)
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        trace(y)


def test_a_layer_and_its_activation_are_two_rows():
    """Also where a Sequential runs them as one op: a dead unit shows where it dies."""
    layer = minitorch.nn.Linear(2, 1)
    with minitorch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-9.0)
    x = minitorch.ones(1, 2)
    table = trace(minitorch.nn.Sequential(layer, minitorch.nn.ReLU())(x).sum(), show=False)
    other = trace(layer(x).relu().sum(), show=False)
    assert [row.op for row in table] == [row.op for row in other]
    assert [row.op for row in table][-3:] == ["linear", "relu", "sum"]
    assert [row.adjoint for row in table][-3:] == [0.0, 1.0, 1.0]
    assert "relu(" in draw_graph(table, "dot")

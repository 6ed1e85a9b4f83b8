"""Recurrent modules against PyTorch's, with the same weights."""

import itertools

import numpy as np
import pytest
import torch

import minitorch
import minitorch.symbolic
from minitorch import nn
from minitorch.nn import recurrence
from minitorch.testing import check_derivatives
from tests.referee import array, assert_close, theirs

T, N, IN, H = 5, 3, 4, 6


def twins(kind, *args, dtype="float64", **kwargs):
    """The module in both libraries with PyTorch's initial weights."""
    theirs = getattr(torch.nn, kind)(*args, dtype=getattr(torch, dtype), **kwargs)
    ours = getattr(nn, kind)(*args, dtype=getattr(minitorch, dtype), **kwargs)
    ours.load_state_dict({k: minitorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def leaves(*shapes, dtype="float64"):
    """Random leaves of these shapes, in both libraries."""
    rng = np.random.default_rng(0)
    data = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    return (
        [minitorch.tensor(a, requires_grad=True) for a in data],
        [theirs(a, requires_grad=True) for a in data],
    )


def flat(value):
    return [x for part in value for x in flat(part)] if isinstance(value, tuple) else [value]


def loss_of(results):
    """A number that depends on every element of the results differently."""
    return sum((x * x.cos() * (i + 1)).sum() for i, x in enumerate(flat(results)))


def states(kind, h):
    """The argument hx: nothing, a tensor, or LSTM's pair."""
    if not h:
        return ()
    return (tuple(h),) if kind.startswith("LSTM") else (h[0],)


def compare(kind, ours, theirs, x_shape, h_shape, dtype="float64"):
    """Outputs, final states and all gradients are PyTorch's."""
    count = 0 if h_shape is None else 1 + kind.startswith("LSTM")
    mine, other = leaves(x_shape, *[h_shape] * count, dtype=dtype)
    a, b = ours(mine[0], *states(kind, mine[1:])), theirs(other[0], *states(kind, other[1:]))
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    assert len(flat(a)) == len(flat(b))
    for p, q in zip(flat(a), flat(b)):
        assert tuple(p.shape) == tuple(q.shape)
        assert_close(array(p), array(q), "output", tolerance)
    loss_of(a).backward()
    loss_of(b).backward()
    names = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(names)
    pairs = [("input", mine[0], other[0]), *(("state", p, q) for p, q in zip(mine[1:], other[1:]))]
    pairs += [(name, p, names[name]) for name, p in ours.named_parameters()]
    for name, p, q in pairs:
        assert_close(array(p.grad), array(q.grad), f"gradient of {name}", tolerance)


LAYERS = {
    "RNN": {},
    "RNN of relu": {"nonlinearity": "relu"},
    "GRU": {},
    "LSTM": {},
}
SHAPES = list(itertools.product([1, 2], [True, False], [True, False]))  # layers, bias, both ways


@pytest.mark.parametrize(("num_layers", "bias", "bidirectional"), SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_pytorchs(name, num_layers, bias, bidirectional):
    kind = name.split()[0]
    kwargs = dict(LAYERS[name], num_layers=num_layers, bias=bias, bidirectional=bidirectional)
    stacks = num_layers * (1 + bidirectional)
    compare(kind, *twins(kind, IN, H, **kwargs), (T, N, IN), (stacks, N, H))


@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layouts_are_pytorchs(kind, batched, batch_first, given):
    ours, theirs = twins(kind, IN, H, 2, batch_first=batch_first)
    x = ((N, T, IN) if batch_first else (T, N, IN)) if batched else (T, IN)
    compare(kind, ours, theirs, x, ((2, N, H) if batched else (2, H)) if given else None)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("shape", [(1, N, IN), (T, 1, IN), (1, 1, IN), (T, 0, IN)])
def test_short_and_narrow_inputs_are_pytorchs(kind, shape):
    compare(kind, *twins(kind, IN, H), shape, None)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_wide_layers_are_pytorchs(kind):
    """Their gates do not fit the cache, so that backward goes through time in several stretches."""
    compare(kind, *twins(kind, IN, 64), (9, 40, IN), None)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layers_are_pytorchs_in_float32(kind):
    ours, theirs = twins(kind, IN, H, 2, dtype="float32")
    compare(kind, ours, theirs, (T, N, IN), (2, N, H), "float32")


CELLS = {"RNNCell": {}, "RNNCell of relu": {"nonlinearity": "relu"}, "GRUCell": {}, "LSTMCell": {}}


@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_pytorchs(name, batched, bias, given):
    kind = name.split()[0]
    ours, theirs = twins(kind, IN, H, bias, **CELLS[name])
    x, h = ((N, IN), (N, H)) if batched else ((IN,), (H,))
    compare(kind, ours, theirs, x, h if given else None)


@pytest.mark.parametrize(
    ("kind", "args", "kwargs"),
    [
        ("RNN", (4, 6), {}),
        ("RNN", (4, 6, 2, "relu", False, True), {}),
        ("GRU", (4, 6, 2), {"bidirectional": True, "dropout": 0.5}),
        ("LSTM", (4, 6), {"bias": False, "batch_first": True}),
        ("RNNCell", (4, 6), {}),
        ("RNNCell", (4, 6, False, "relu"), {}),
        ("GRUCell", (4, 6, False), {}),
        ("LSTMCell", (4, 6), {}),
    ],
)
def test_names_shapes_and_repr_are_pytorchs(kind, args, kwargs):
    ours, theirs = getattr(nn, kind)(*args, **kwargs), getattr(torch.nn, kind)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    mine = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    assert mine == {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    if "Cell" not in kind:
        ours.flatten_parameters()
        shapes = [[tuple(p.shape) for p in part] for part in ours.all_weights]
        assert shapes == [[tuple(p.shape) for p in part] for part in theirs.all_weights]


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
def test_initial_values_are_uniform(kind):
    for parameter in getattr(nn, kind)(50, 100).parameters():
        values = array(parameter).ravel()
        assert 0.09 < np.abs(values).max() <= 0.1
        assert abs(values.mean()) < 5 * 0.1 / np.sqrt(3 * values.size)
        assert abs(values.std() - 0.1 / np.sqrt(3)) < 0.008


def test_dropout_is_between_layers_and_in_training():
    layer = nn.GRU(IN, H, 2, dropout=1.0, dtype=minitorch.float64)
    plain = nn.GRU(IN, H, 2, dtype=minitorch.float64)
    plain.load_state_dict(layer.state_dict())
    x = minitorch.randn(T, N, IN, dtype=minitorch.float64)
    dropped, (first, _) = layer(x)
    whole, (same, _) = plain(x)
    np.testing.assert_array_equal(array(first), array(same))  # nothing is dropped below
    assert not np.allclose(array(dropped), array(whole))
    with minitorch.no_grad():
        layer.weight_ih_l1.zero_()  # as good as an input of zeros
    np.testing.assert_array_equal(array(layer(x)[0]), array(dropped))
    np.testing.assert_array_equal(array(plain.eval()(x)[0]), array(whole))
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(IN, H, dropout=0.5)


def test_truncated_backpropagation_through_time_is_pytorchs():
    """Stretches of time with the state detached between them: values and gradients agree."""
    ours, theirs = twins("LSTM", IN, H)
    (x,), (y,) = leaves((12, N, IN))
    totals = []
    for model, data in ((ours, x), (theirs, y)):
        state, losses = None, []
        for start in range(0, 12, 4):
            output, state = model(data[start : start + 4], state)
            loss = (output * output).sum()
            loss.backward()
            losses.append(loss.item())
            state = tuple(h.detach() for h in state)
        totals.append(losses)
    np.testing.assert_allclose(*totals, rtol=1e-12)
    for p, q in zip([x, *ours.parameters()], [y, *theirs.parameters()]):
        assert_close(array(p.grad), array(q.grad), "gradient", 1e-10)
    truncated = array(ours.weight_hh_l0.grad).copy()
    ours.zero_grad()
    (ours(x)[0] ** 2).sum().backward()
    assert not np.allclose(truncated, array(ours.weight_hh_l0.grad))  # the whole is another


def test_the_state_that_comes_out_goes_in_again():
    layer = nn.GRU(IN, H, 2, bidirectional=False, dtype=minitorch.float64)
    x = minitorch.randn(8, N, IN, dtype=minitorch.float64)
    whole, end = layer(x)
    first, middle = layer(x[:3])
    second, last = layer(x[3:], middle)
    np.testing.assert_allclose(array(whole)[:3], array(first), rtol=1e-12)
    np.testing.assert_allclose(array(whole)[3:], array(second), rtol=1e-12)
    np.testing.assert_allclose(array(end), array(last), rtol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_cell_in_a_loop_is_the_layer(kind):
    layer = getattr(nn, kind)(IN, H, dtype=minitorch.float64)
    cell = getattr(nn, f"{kind}Cell")(IN, H, dtype=minitorch.float64)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = minitorch.randn(T, N, IN, dtype=minitorch.float64)
    state, outputs = None, []
    for t in range(T):
        state = cell(x[t], state)
        outputs.append(state[0] if kind == "LSTM" else state)
    np.testing.assert_allclose(array(layer(x)[0]), array(minitorch.stack(outputs)), rtol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_derivatives_of_higher_order_and_forward_mode(kind):
    ours, theirs = twins(kind, 2, 3, 2)
    (x, v), (y, _) = leaves((4, 1, 2), (4, 1, 2))
    x, v = x.detach(), v.detach()

    def f(x):
        return (ours(x)[0] ** 2).sum()

    _, forward = minitorch.func.jvp(f, (x,), (v,))
    reverse = (minitorch.func.grad(f)(x) * v).sum()
    np.testing.assert_allclose(forward.item(), reverse.item(), rtol=1e-12)
    mine = minitorch.func.grad(lambda x: (minitorch.func.grad(f)(x) * v).sum())(x)
    w = torch.tensor(array(v))
    _, other = torch.autograd.functional.hvp(lambda y: (theirs(y)[0] ** 2).sum(), y.detach(), w)
    assert_close(array(mine), array(other), "Hessian times v", 1e-10)


def test_an_rnn_learns_to_remember():
    """The first of six bits is asked for at the end."""
    for kind in (nn.GRU, nn.LSTM):
        minitorch.manual_seed(0)
        bits = (minitorch.rand(6, 64, 1) > 0.5).float()
        layer, head = kind(1, 8), nn.Linear(8, 1)
        parameters = [*layer.parameters(), *head.parameters()]
        optimizer = minitorch.optim.Adam(parameters, lr=0.05)
        for _ in range(60):
            logits = head(layer(bits)[0][-1])
            loss = nn.functional.binary_cross_entropy_with_logits(logits, bits[0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert ((logits > 0) == (bits[0] > 0.5)).float().mean().item() == 1


BAD = {
    "1-D": (lambda m, n: n.RNN(4, 6)(m.zeros(4)), ValueError, "2D or 3D, got 1D"),
    "width": (lambda m, n: n.GRU(4, 6)(m.zeros(5, 3, 3)), RuntimeError, "Expected 4, got 3"),
    "no steps": (lambda m, n: n.RNN(4, 6)(m.zeros(0, 3, 4)), RuntimeError, "larger than 0"),
    "state": (
        lambda m, n: n.RNN(4, 6)(m.zeros(5, 3, 4), m.zeros(1, 2, 6)),
        RuntimeError,
        r"Expected hidden size \(1, 3, 6\), got",
    ),
    "state of a batch": (
        lambda m, n: n.RNN(4, 6)(m.zeros(5, 4), m.zeros(1, 1, 6)),
        RuntimeError,
        "2-D|hidden size",
    ),
    "cell state": (
        lambda m, n: n.LSTM(4, 6)(m.zeros(5, 3, 4), (m.zeros(1, 3, 6), m.zeros(1, 3, 5))),
        RuntimeError,
        "got",
    ),
    "cell, 3-D": (lambda m, n: n.LSTMCell(4, 6)(m.zeros(1, 2, 4)), ValueError, "1D or 2D, got 3D"),
    "nonlinearity": (lambda m, n: n.RNN(4, 6, nonlinearity="gelu"), ValueError, "gelu"),
    "hidden": (lambda m, n: n.LSTM(4, 0), ValueError, "hidden_size must be greater than zero"),
    "inputs": (lambda m, n: n.GRU(4.0, 6), TypeError, "input_size should be of type int"),
    "layers": (lambda m, n: n.GRU(4, 6, 0), ValueError, "num_layers must be greater than zero"),
    "dropout": (lambda m, n: n.GRU(4, 6, 2, dropout=1.5), ValueError, "dropout should be a number"),
    "bias": (lambda m, n: n.GRU(4, 6, 2, 1), TypeError, "bias should be of type bool"),
    "batch first": (lambda m, n: n.GRU(4, 6, 2, True, 1), TypeError, "batch_first should be"),
    "integers": (
        lambda m, n: n.GRU(4, 6)(m.zeros(5, 3, 4, dtype=m.int64)),
        ValueError,
        "input dtype .*int64.* does not match weight dtype .*float32",
    ),
    "another dtype": (
        lambda m, n: n.LSTM(4, 6)(m.zeros(5, 3, 4, dtype=m.float64)),
        ValueError,
        "input dtype .*float64.* does not match weight dtype .*float32",
    ),
    "state of another dtype": (
        lambda m, n: n.RNN(4, 6)(m.zeros(5, 3, 4), m.zeros(1, 3, 6, dtype=m.float64)),
        RuntimeError,
        "dtype|float64",
    ),
    "mode": (lambda m, n: n.RNNBase("QRNN", 4, 6), ValueError, "Unrecognized RNN mode: QRNN"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(("m", "n"), [(minitorch, nn), (torch, torch.nn)], ids=["ours", "torch"])
def test_bad_input(m, n, name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call(m, n)


@pytest.mark.parametrize(("dtype", "limit"), [("float16", 4e-3), ("bfloat16", 3.2e-2)])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_halves_are_rounded_singles(kind, dtype, limit):
    layer, wide = (getattr(nn, kind)(IN, H, 2, bidirectional=True) for _ in range(2))
    layer.to(getattr(minitorch, dtype))
    wide.load_state_dict({k: v.float() for k, v in layer.state_dict().items()})
    (x,), _ = leaves((T, N, IN), dtype=dtype)
    results = []
    for model, data in ((layer, x), (wide, x.detach().float().requires_grad_())):
        y, _ = model(data)
        (y * y.detach().cos()).sum().backward()
        results.append([y, data.grad, *(p.grad for p in model.parameters())])
    for mine, exact in zip(*results, strict=True):
        assert mine.dtype is getattr(minitorch, dtype)
        scale = max(1.0, np.abs(array(exact)).max())
        assert np.abs(array(mine) - array(exact)).max() < limit * scale


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_layer_can_be_read_as_symbols(kind):
    minitorch.manual_seed(0)
    layer = getattr(nn, kind)(1, 1, dtype=minitorch.float64).requires_grad_(False)
    x = minitorch.tensor([[[0.3]], [[-0.8]]], dtype=minitorch.float64, requires_grad=True)
    y = layer(x)[0][-1].sum()
    for slope, gradient in minitorch.symbolic.compare(y, {x: "x"}).values():
        assert slope == pytest.approx(gradient, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_many_steps_have_derivatives_of_every_order(kind):
    """Where the reference takes its steps apart in another way."""
    layer = getattr(nn, kind)(1, 2, dtype=minitorch.float64)
    x = minitorch.randn(10, 1, 1, dtype=minitorch.float64)
    check_derivatives(lambda x: layer(x)[0], x)


def test_outputs_changed_in_place_are_noticed():
    y, _ = nn.GRU(IN, H)(minitorch.zeros(T, N, IN))
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace .* that gru needs"):
        y.sum().backward()


def test_operands_of_the_ops():
    ones = minitorch.ones
    with pytest.raises(RuntimeError, match="lstm: expected operands of one floating-point dtype"):
        recurrence.lstm(ones(2, 1, 4), ones(2, 1, 1), ones(4, 1, dtype=minitorch.float64))


def test_bad_states_name_the_module():
    x = minitorch.zeros(5, 3, 4)
    with pytest.raises(TypeError, match=r"LSTM: expected a pair of tensors \(h_0, c_0\) as hx"):
        nn.LSTM(4, 6)(x, minitorch.zeros(1, 3, 6))
    with pytest.raises(TypeError, match="GRU: expected a tensor as hx, got tuple"):
        nn.GRU(4, 6)(x, (minitorch.zeros(1, 3, 6), minitorch.zeros(1, 3, 6)))
    with pytest.raises(TypeError, match="RNN: expected a tensor as input, got list"):
        nn.RNN(4, 6)([1.0])

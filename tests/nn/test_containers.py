from collections import OrderedDict

import pytest
import torch

import minitorch
from minitorch import nn
from minitorch.autograd import topological


def kinds(modules):
    return [type(m).__name__ for m in modules]


def build(library):
    return library.Sequential(library.Linear(2, 3), library.ReLU(), library.Tanh(), library.ELU())


def change_each(library):
    """Yield names and kinds of children after every kind of change."""
    layers = build(library)
    yield list(layers.state_dict()), kinds(layers)
    yield [n for n, _ in layers[1:].named_children()], kinds(layers[1:])
    yield [type(layers[-1]).__name__, type(layers[0]).__name__, len(layers)]
    layers.append(library.Identity())
    layers[1] = library.Sigmoid()
    layers.insert(1, library.GELU())
    yield [(n, type(m).__name__) for n, m in layers.named_children()]
    del layers[0]
    yield [(n, type(m).__name__) for n, m in layers.named_children()]
    del layers[1:3]
    yield [type(layers.pop(-1)).__name__, kinds(layers)]
    layers.extend([library.ReLU()])
    yield kinds(layers + library.Sequential(library.Tanh()))
    named = library.Sequential(OrderedDict(a=library.ReLU(), b=library.Linear(1, 1)))
    yield list(named.state_dict()), [n for n, _ in named[1:].named_children()]

    many = library.ModuleList([library.ReLU(), library.Linear(1, 1)])
    many += [library.Tanh()]
    many.insert(0, library.ELU())
    many.append(library.Identity())
    yield [(n, type(m).__name__) for n, m in many.named_children()], list(many.state_dict())
    yield kinds(many[1:3]), [n for n, _ in many[1:3].named_children()]
    yield kinds(many + library.ModuleList([library.ReLU()])), type(many.pop(1)).__name__, len(many)
    del many[0]
    yield [(n, type(m).__name__) for n, m in many.named_children()]

    table = library.ModuleDict({"x": library.Linear(1, 1), "y": library.ReLU()})
    table["z"] = library.Tanh()
    table.update([("w", library.ELU())])
    table["y"] = library.Identity()
    yield list(table), list(table.keys()), kinds(table.values()), len(table), "x" in table
    yield [n for n, _ in table.items()], list(table.state_dict())
    yield type(table.pop("y")).__name__, "y" in table
    del table["z"]
    yield list(table)
    table.clear()
    yield len(table)


def test_changes_are_pytorchs():
    assert list(change_each(nn)) == list(change_each(torch.nn))


def test_sequential_feeds_through():
    layers = build(nn)
    x = minitorch.randn(4, 2)
    expected = nn.functional.elu(layers[0](x).relu().tanh())
    assert layers(x).tolist() == expected.tolist()
    assert nn.Sequential()(x) is x
    assert nn.Sequential({"a": nn.Identity()})(x) is x


def test_lists_have_no_forward():
    with pytest.raises(NotImplementedError, match="ModuleList"):
        nn.ModuleList()(1)


@pytest.mark.parametrize("library", [nn, torch.nn], ids=["minitorch", "torch"])
def test_bad_access(library):
    layers, table = build(library), library.ModuleDict()
    for error, call in [
        (IndexError, lambda: layers[4]),
        (IndexError, lambda: layers[-5]),
        (TypeError, lambda: layers.append(3)),
        (KeyError, lambda: table["a"]),
        (KeyError, lambda: table.pop("a")),
        (KeyError, lambda: table.update({"keys": library.ReLU()})),
        (TypeError, lambda: table.update({"a": 3})),
    ]:
        with pytest.raises(error):
            call()


# ---------------------------------------------------------------------- fused layers
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


def ops_of(model, x):
    return {node.name for node in topological([model(x).node])}


def fuses(model):
    """Whether the first two layers are one op."""
    return not ops_of(model, minitorch.ones(2, 3)) & set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (3,), (0, 3)])
def test_linear_and_activation_are_one_op_with_the_same_results(name, shape):
    first, second = nn.Linear(3, 5).double(), ACTIVATIONS[name]()
    model = nn.Sequential(first, second)
    x = minitorch.randn(*shape, dtype=minitorch.float64, requires_grad=True)
    if len(shape) > 1:
        assert ops_of(model, x) == {"leaf", "linear"}
    results = []
    for y in (model(x), second(first(x))):
        weights = minitorch.linspace(-1, 2, max(y.numel(), 1), dtype=minitorch.float64)
        loss = (y * weights[: y.numel()].reshape(y.shape)).sum()
        results.append([y, *minitorch.autograd.grad(loss, [x, first.weight, first.bias])])
    for a, b in zip(*results):
        assert minitorch.allclose(a, b, rtol=1e-13, atol=1e-13)


def test_what_is_not_fused():
    def linear():
        return nn.Linear(3, 3)

    class Louder(nn.ReLU):
        pass

    class Wider(nn.Linear):
        pass

    assert fuses(nn.Sequential(linear(), nn.ReLU(), nn.Flatten()))
    assert fuses(nn.Sequential(linear(), nn.ReLU(inplace=True)))
    assert not fuses(nn.Sequential(linear(), nn.GELU(approximate="tanh")))
    assert not fuses(nn.Sequential(linear(), Louder()))
    assert not fuses(nn.Sequential(Wider(3, 3), nn.ReLU()))
    seen = []
    for place in (0, 1):
        for register in ("register_forward_hook", "register_forward_pre_hook"):
            model = nn.Sequential(linear(), nn.ReLU())
            handle = getattr(model[place], register)(lambda *args: seen.append(args))
            assert not fuses(model)
            handle.remove()
            assert fuses(model)
    assert len(seen) == 4
    model = nn.Sequential(linear(), nn.Tanh())
    model[0].forward = lambda x: x * 2
    assert model(minitorch.ones(1, 3)).tolist() == minitorch.ones(1, 3).mul(2).tanh().tolist()
    assert "none" not in repr(nn.Sequential(linear(), nn.ReLU()))


def test_the_result_of_fused_layers_is_not_changed_before_backward():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    y = model(minitorch.ones(2, 3))
    with minitorch.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()

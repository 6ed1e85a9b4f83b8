from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn
from minitorch.autograd import topological
from tests import referee


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
ACTIVATIONS["gelu_tanh"] = partial(nn.GELU, approximate="tanh")


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
    assert fuses(nn.Sequential(linear(), nn.GELU(approximate="tanh")))
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


# ---------------------------------------------------------------------- what else a container holds
def with_own(library, empty):
    """Containers with a parameter and buffers of their own, among their modules."""

    class Scaled(library.Sequential):
        def __init__(self, *modules):
            super().__init__(*modules)
            self.scale = library.Parameter(empty(2))
            self.register_buffer("seen", empty(1))

    class Listed(library.ModuleList):
        def __init__(self, modules=None):
            super().__init__(modules)
            self.scale = library.Parameter(empty(2))
            self.register_buffer("seen", empty(1), persistent=False)

    class Named(library.ModuleDict):
        def __init__(self, modules=None):
            super().__init__(modules)
            self.scale = library.Parameter(empty(2))
            self.register_buffer("seen", empty(1))

    layers = library.Linear(2, 2), library.ReLU()
    for made in (Scaled(*layers), Listed(layers)):
        made.append(library.Tanh())
        made.extend([library.Linear(2, 2)])
        yield len(made), kinds(made), list(made.state_dict()), type(made[-1]).__name__
        made.insert(1, library.ELU())
        made[0] = library.Linear(2, 3)
        yield type(made.pop(2)).__name__, kinds(made), sorted(made.state_dict())
        del made[0]
        yield len(made), [n for n, _ in made.named_parameters()], sorted(made.state_dict())
        yield kinds(made[:1]), kinds(made + made[:1])
    table = Named({"a": library.Linear(2, 2)})
    table["b"] = library.ReLU()
    yield len(table), list(table), "scale" in table, "seen" in table, list(table.state_dict())
    yield [n for n, _ in table.items()], kinds(table.values())
    table.clear()
    yield len(table), list(table.state_dict())


def test_own_parameters_and_buffers_are_no_layers():
    ours = with_own(nn, minitorch.zeros)
    assert [repr(x) for x in ours] == [repr(x) for x in with_own(torch.nn, torch.zeros)]


def test_own_parameters_are_not_called():
    class Scaled(nn.Sequential):
        def __init__(self, *modules):
            super().__init__(*modules)
            self.scale = nn.Parameter(minitorch.full((1,), 2.0))
            self.register_buffer("seen", minitorch.zeros(1))

        def forward(self, x):
            self.seen += 1
            return super().forward(x) * self.scale

    layer = nn.Linear(2, 2)
    model = Scaled(layer, nn.ReLU())
    x = minitorch.randn(3, 2)
    assert minitorch.allclose(model(x), layer(x).relu() * 2)
    assert model.seen.item() == 1 and len(model) == 2
    with pytest.raises(KeyError, match="scale"):
        nn.ModuleDict()["scale"]


def test_slices_and_sums_of_subclasses():
    class MLP(nn.Sequential):
        def __init__(self, features, classes):
            super().__init__(nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, classes))

    class Twice(nn.Sequential):
        def forward(self, x):
            return super().forward(super().forward(x))

    class Layers(nn.ModuleList):
        def __init__(self, n):
            super().__init__(nn.Linear(2, 2) for _ in range(n))

    model = MLP(4, 3)
    assert type(model[1:]) is nn.Sequential and kinds(model[1:]) == ["ReLU", "Linear"]
    assert model[1:][1] is model[2]
    assert type(model + MLP(3, 2)) is nn.Sequential and len(model + MLP(3, 2)) == 6
    assert type(Layers(3)[:2]) is nn.ModuleList and len(Layers(3)[:2]) == 2
    assert type(Layers(3) + nn.ModuleList()) is nn.ModuleList
    twice = Twice(nn.Linear(2, 2), nn.ReLU())
    assert type(twice[:1]) is Twice and type(twice + twice) is nn.Sequential


# ---------------------------------------------------------------------- what a fused node shows
PATCHES = {
    "Linear.forward": (nn.Linear, "forward"),
    "Linear.__call__": (nn.Linear, "__call__"),
    "Module.__call__": (nn.Module, "__call__"),
    "ReLU.forward": (nn.ReLU, "forward"),
    "F.linear": (nn.functional, "linear"),
    "F.relu": (nn.functional, "relu"),
    "F.batch_norm": (nn.functional, "batch_norm"),
}


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("layers", [1, 2], ids=["alone", "fused"])
def test_what_is_patched_is_called(name, layers, monkeypatch):
    if "relu" in name.lower():
        layers = 2
    holder, attribute = PATCHES[name]
    plain, seen = getattr(holder, attribute), []

    def spy(*args, **kwargs):
        seen.append(name)
        return plain(*args, **kwargs)

    first = nn.BatchNorm1d(2) if "norm" in name else nn.Linear(2, 2)
    model = nn.Sequential(first, nn.ReLU())[:layers]
    x = minitorch.tensor([[1.0, 2.0], [3.0, 5.0]])
    expected = model(x)
    monkeypatch.setattr(holder, attribute, spy)
    assert model(x).tolist() == expected.tolist()
    assert seen


def shown(node, depth=3):
    """A graph by names, as its nodes show it."""
    below = [
        shown(p, depth - 1) if p is not None and depth else None for p, _ in node.next_functions
    ]
    return node.name, node.shape, below


LAYERS = {
    "linear": lambda: nn.Linear(3, 5),
    "batch_norm": lambda: nn.BatchNorm1d(3),
    "batch_norm_eval": lambda: nn.BatchNorm1d(3).eval(),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "gelu"])
@pytest.mark.parametrize("state", ["recorded", "freed", "no gradient of x"])
def test_a_fused_node_shows_what_was_written(layer, name, state):
    first, second = LAYERS[layer](), ACTIVATIONS[name]()
    x = minitorch.randn(2, 3, requires_grad=state != "no gradient of x")
    fused_result, plain = nn.Sequential(first, second)(x), second(first(x))
    if state == "freed":
        (fused_result.sum() + plain.sum()).backward()
    assert fused_result.grad_fn.name == name
    assert shown(fused_result.grad_fn) == shown(plain.grad_fn)
    assert fused_result.grad_fn is fused_result.grad_fn
    assert name in repr(fused_result)
    further = fused_result * 2
    assert further.grad_fn.next_functions[0][0] is fused_result.grad_fn


@pytest.mark.parametrize("layer", [lambda: nn.Linear(3, 40), lambda: nn.LayerNorm(3)])
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("state", ["recorded", "freed"])
def test_activation_and_dropout_are_one_op_with_the_same_numbers(layer, name, state):
    parts = [layer(), ACTIVATIONS[name](), nn.Dropout(0.4)]
    model = nn.Sequential(*parts)
    found = []
    for apart in (False, True):
        minitorch.manual_seed(3)
        x = minitorch.linspace(-2, 2, 96).reshape(32, 3).requires_grad_()
        y = parts[2](parts[1](parts[0](x))) if apart else model(x)
        assert ({"activation_dropout"} <= {n.name for n in topological([y.node])}) != apart
        if state == "freed":
            (y + y * y).sum().backward()
        assert y.grad_fn.name == "dropout"
        grads = [x.grad, *[p.grad for p in model.parameters()]] if state == "freed" else []
        hidden = name == "gelu_tanh" and state == "freed"  # then it is one op with another name
        found.append([None if hidden else shown(y.grad_fn), (y == 0).tolist(), y, *grads])
        model.zero_grad()
    assert found[0][:2] == found[1][:2]
    for mine, theirs in zip(found[0][2:], found[1][2:], strict=True):
        assert minitorch.allclose(mine, theirs, rtol=2e-6, atol=1e-6)


def test_dropout_is_done_at_once_only_where_nothing_else_is_asked_for():
    def ops(*layers):
        names = {n.name for n in topological([nn.Sequential(*layers)(minitorch.ones(2, 3)).node])}
        return names & {"activation_dropout", "dropout"}

    linear, relu, dropout = nn.Linear(3, 3), nn.ReLU(), nn.Dropout()
    assert ops(linear, relu, dropout) == {"activation_dropout"}
    assert ops(linear, dropout) == ops(nn.LayerNorm(3), dropout) == {"dropout"}
    assert ops(linear, nn.Flatten(), relu, dropout) == {"dropout"}
    assert ops(linear, relu, nn.Dropout().eval()) == set()
    assert ops(linear, relu, nn.Dropout(1.0)) == set()
    for part in (linear, relu, dropout):
        handle = part.register_forward_hook(lambda *args: None)
        assert ops(linear, relu, dropout) == {"dropout"}
        handle.remove()
    y = nn.Sequential(linear, relu, dropout)(minitorch.ones(2, 3))
    (2 * y).mul_(2).sum().backward()
    nn.Sequential(linear, relu, dropout)(minitorch.ones(2, 3)).mul_(2).sum().backward()


def test_a_fused_gelu_of_tanh_shows_its_formula_until_backward():
    first, second = nn.Linear(3, 5), nn.GELU(approximate="tanh")
    x = minitorch.ones(2, 3)
    fused_result, plain = nn.Sequential(first, second)(x), second(first(x))
    assert shown(fused_result.grad_fn) == shown(plain.grad_fn)
    freed = nn.Sequential(first, second)(x)
    freed.sum().backward()
    assert shown(freed.grad_fn, 1)[0] == "gelu"


def test_looking_changes_no_gradient():
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2), nn.GELU())
    x = minitorch.randn(4, 3)
    found = []
    for look in (False, True):
        y = model(x)
        if look:
            y.register_hook(lambda g, y=y: repr(y) and None)
            assert y.grad_fn.next_functions[0][0].next_functions[0][0].name == "tanh"
        found.append([g.tolist() for g in minitorch.autograd.grad(y.sum(), model.parameters())])
    assert found[0] == found[1]


def test_anomaly_mode_names_the_part():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with minitorch.no_grad():
        model[0].weight.fill_(3e38)
    with (
        minitorch.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="linear made -inf"),
    ):
        model(minitorch.full((1, 1), -10.0))  # a ReLU would make 0 of it


def changes_of_parameters(m, make):
    found = []
    values = [make(np.ones((2, 3))), m.nn.Parameter(make(np.zeros(4))), "text"]
    many = m.nn.ParameterList(values)
    many[0] = make(np.full(2, 5.0))
    many += [make(np.ones(()))]
    found += [list(many.state_dict()), len(many), many[2], len(many[1:]), many[-1].requires_grad]
    found += [repr(many), [type(x).__name__ for x in many]]
    for wrong in (lambda: many[4], lambda: many.extend(make(np.ones(2))), lambda: many(1)):
        with pytest.raises((IndexError, TypeError, RuntimeError)) as error:
            wrong()
        found.append(error.type)
    named = m.nn.ParameterDict({"a": values[0], "b": 3})
    named.update([("c", values[1])])
    found += [
        list(named.state_dict()),
        list(named),
        list(reversed(named)),
        "b" in named,
        len(named),
    ]
    found += [
        len(named),
        named.pop("b"),
        named.get("b", 7),
        named.setdefault("d", 2),
        named.popitem(),
    ]
    found += [list(named | m.nn.ParameterDict({"e": 1})), list(named.fromkeys("xy", 1).values())]
    named |= named.copy()
    named.clear()
    found.append(dict(named.items()))
    return [str(x).replace("minitorch", "torch") for x in found]


def test_lists_and_dicts_of_parameters_are_pytorchs():
    assert changes_of_parameters(minitorch, referee.ours) == changes_of_parameters(
        torch, referee.theirs
    )

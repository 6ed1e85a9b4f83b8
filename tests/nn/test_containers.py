from collections import OrderedDict

import pytest
import torch

import minitorch
from minitorch import nn


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

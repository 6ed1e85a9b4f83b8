"""Nests come apart and together again."""

from collections import OrderedDict, defaultdict, namedtuple

import pytest

from minitorch.core.pytree import LEAF, flatten, leaves, tree_map, unflatten

Pair = namedtuple("Pair", "first second")
NESTS = {
    "a leaf": (3, [3], "*"),
    "a tuple": ((1, 2), [1, 2], "(*, *)"),
    "of one": ((1,), [1], "(*,)"),
    "of none": ((), [], "()"),
    "a list": ([1, [2, (3,)]], [1, 2, 3], "[*, [*, (*,)]]"),
    "a dict": ({"b": 1, "a": (2, 3)}, [1, 2, 3], "{'b': *, 'a': (*, *)}"),
    "an ordered dict": (OrderedDict(x=1), [1], "{'x': *}"),
    "a named tuple": (Pair(1, [2]), [1, 2], "(*, [*])"),
}


@pytest.mark.parametrize("name", NESTS)
def test_nests(name):
    nest, leaves, shown = NESTS[name]
    found, structure = flatten(nest)
    assert found == leaves and str(structure) == shown
    again = unflatten(found, structure)
    assert again == nest and type(again) is type(nest)
    doubled = tree_map(lambda leaf: leaf * 2, nest)
    assert flatten(doubled) == ([leaf * 2 for leaf in leaves], structure)


def test_leaves_alone():
    nest = {"b": [1, (2, {})], "a": defaultdict(int, c=3)}
    assert list(leaves(nest)) == flatten(nest)[0] == [1, 2, 3]
    assert tree_map(str, nest) == {"b": ["1", ("2", {})], "a": {"c": "3"}}


def test_structures_that_differ():
    nests = [1, (1,), [1], {"a": 1}, {"b": 1}, (1, 1), Pair(1, 1), ((1, 1),)]
    structures = [flatten(nest)[1] for nest in nests]
    assert len(set(structures)) == len(nests)
    assert structures[0] == LEAF

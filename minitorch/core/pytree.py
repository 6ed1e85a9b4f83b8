"""Pytrees: nested tuples, lists and dicts, taken apart into leaves and put together again."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class TreeDef(NamedTuple):
    """How a pytree is built: the container's type (None: a leaf), its keys, what it contains."""

    kind: type | None
    keys: tuple[Any, ...] = ()
    children: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.kind is None:
            return "*"
        parts = [str(child) for child in self.children]
        if issubclass(self.kind, dict):
            pairs = zip(self.keys, parts, strict=True)
            return "{" + ", ".join(f"{key!r}: {part}" for key, part in pairs) + "}"
        inner = ", ".join(parts)
        if issubclass(self.kind, list):
            return f"[{inner}]"
        return f"({inner},)" if len(parts) == 1 else f"({inner})"


LEAF = TreeDef(None)


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of nested tuples, named tuples, lists and dicts, in order, and the treedef."""
    found: list[Any] = []
    return found, _treedef(tree, found)


def _treedef(tree: Any, leaves: list[Any]) -> TreeDef:
    if isinstance(tree, (tuple, list)):
        return TreeDef(type(tree), (), tuple([_treedef(item, leaves) for item in tree]))
    if isinstance(tree, dict):
        kind = dict if isinstance(tree, defaultdict) else type(tree)
        return TreeDef(kind, tuple(tree), tuple([_treedef(v, leaves) for v in tree.values()]))
    leaves.append(tree)
    return LEAF


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves, in order."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    else:
        yield tree


def unflatten(leaves: Iterable[Any], treedef: TreeDef) -> Any:
    """The pytree of these leaves: the inverse of `flatten`."""
    return _build(iter(leaves), treedef)


def _build(leaves: Iterator[Any], treedef: TreeDef) -> Any:
    kind: Any
    kind, keys, children = treedef
    if kind is None:
        return next(leaves)
    parts = [next(leaves) if child is LEAF else _build(leaves, child) for child in children]
    if kind is tuple or kind is list:
        return kind(parts)
    if issubclass(kind, dict):
        return kind(zip(keys, parts))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """A new pytree of the same treedef, with `function` of each leaf."""
    found, treedef = flatten(tree)
    return unflatten([function(leaf) for leaf in found], treedef)


exhaust = deque[Any](maxlen=0).extend  # runs a `map` to its end, with no Python code for each item

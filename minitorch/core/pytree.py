"""Nested tuples, lists and dicts: taken apart into their leaves and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class Structure(NamedTuple):
    """How a nest is built: the container's type (None: a leaf), its keys, what it contains."""

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


LEAF = Structure(None)


def flatten(nest: Any) -> tuple[list[Any], Structure]:
    """The leaves of nested tuples, named tuples, lists and dicts, in order, and the structure."""
    leaves: list[Any] = []
    return leaves, _structure(nest, leaves)


def _structure(nest: Any, leaves: list[Any]) -> Structure:
    if isinstance(nest, dict):
        children = tuple([_structure(value, leaves) for value in nest.values()])
        return Structure(type(nest), tuple(nest), children)
    if isinstance(nest, (tuple, list)):
        return Structure(type(nest), (), tuple([_structure(item, leaves) for item in nest]))
    leaves.append(nest)
    return LEAF


def unflatten(leaves: Iterable[Any], structure: Structure) -> Any:
    """What `flatten` took apart, with other leaves."""
    return _build(iter(leaves), structure)


def _build(leaves: Iterator[Any], structure: Structure) -> Any:
    kind: Any = structure.kind
    if kind is None:
        return next(leaves)
    parts = [_build(leaves, child) for child in structure.children]
    if issubclass(kind, dict):
        return kind(zip(structure.keys, parts, strict=True))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def tree_map(function: Callable[[Any], Any], nest: Any) -> Any:
    """The nest with `function` of each leaf in its place."""
    leaves, structure = flatten(nest)
    return unflatten([function(leaf) for leaf in leaves], structure)

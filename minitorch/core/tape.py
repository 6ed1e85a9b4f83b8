"""Saved tensors of nodes, their version checks, and how in-place changes reach views.

A view and its base share memory: an in-place change of one gives the other a new node, too.
A version list counts the changes of such a family; behind its count it holds a Member for each
tensor that a change must reach. A node saves arrays with their counts, so that a rule sees whether
a saved array has changed since.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from minitorch import recording
from minitorch.core.tensor import Node, Tensor, save


# ---------------------------------------------------------------------- saved values
def version_checked(result: Tensor, *tensors: Tensor) -> Tensor:
    """Version-check these tensors (an index, a condition): a pass raises if one was changed."""
    node = result.node
    if node is not None and node.op is not None:
        node.version_checked = tuple([save(x) for x in tensors])
    return result


class Unit(list[Any]):
    """The version list of a cached 1, which marks the 1 and its views."""


def count_change(x: Tensor) -> None:
    """Count up the version of a tensor that has just been changed in place."""
    x.version[0] += 1
    if recording.recorder:
        recording.changed(x.array, x.version)


# ---------------------------------------------------------------------- views
class Member:
    """A tensor among those that share memory: a base, or `function(parent, **params)`, a view.

    tensor: a weak reference to it. depth: the number of views between it and its base, `root`.
    positions: the indices of its elements in the flattened base, computed on first use.
    """

    __slots__ = ("_root", "depth", "function", "params", "parent", "positions", "shape", "tensor")

    def __init__(
        self, x: Tensor, parent: Member | None, function: Any = None, params: Any = None
    ) -> None:
        self.tensor = weakref.ref(x)
        self.shape = x.array.shape
        self.parent = parent
        self._root: Member | None = None if parent is None else parent.root
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.function = function
        self.params = params
        self.positions: Tensor | None = None

    @property
    def root(self) -> Member:
        """The base's member."""
        return self if self._root is None else self._root  # no reference to itself: no cycle

    def retake(self, node: Node | None) -> Node | None:
        """A new node of this view, given the base's node; no array is touched."""
        path = []
        member = self
        while member.parent is not None:
            path.append(member)
            member = member.parent
        for view in reversed(path):
            node = Node(view.function.op, (node,), (), view.params, view.shape)
        return node


def member_of(x: Tensor) -> Member | None:
    """x's Member among the tensors that share its memory; None where it has no views."""
    return getattr(x, "_member", None)


def register_view(
    x: Tensor, result: Tensor, function: Callable[..., Any], params: dict[str, Any]
) -> None:
    """Note that `result` is `function(x, **params)`, a view."""
    node = x.node
    if node is not None and (node.op is None or node.op.view):
        base = x if node.op is None else getattr(x, "_base", x)
        if base.node is not None and base.node.op is None:  # `view_of_leaf`, in one step
            result._base = base  # its views look it up; an in-place change is an error anyway
            return
    member = member_of(x)
    if member is None:
        x._member = member = Member(x, None)
        x.version.append(member)
    result._member = Member(result, member, function, params)
    result._base = x if member.parent is None else x._base  # a base lives as long as its views
    family = x.version
    family.append(result._member)
    n = len(family)
    if n >= 64 and n & (n - 1) == 0:  # at powers of two, so that many living views cost little
        family[1:] = [m for m in family[1:] if m.tensor() is not None]


def view_of_leaf(node: Node | None) -> bool:
    """Whether a node is a leaf, or a view of one."""
    while node is not None:
        if node.op is None:
            return True
        if not node.op.view:
            return False
        node = node.parents[0]
    return False

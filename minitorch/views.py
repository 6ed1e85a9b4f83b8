"""Which tensors share memory, so that an in-place change of one can reach the others.

A view and its base share memory: changing one in place changes the other's place on the tape too.
Behind its count, a version list holds a Member for each tensor that a change must reach:
(weak reference, the Member it is a view of or None for a base, view op, params).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from minitorch.tensor import Node, Tensor

Member = tuple[Any, Any, Any, Any]


def member_of(x: Tensor) -> Member | None:
    """x's entry among the tensors that share its memory; None where it has no views."""
    return getattr(x, "_member", None)


def register_view(
    x: Tensor, result: Tensor, function: Callable[..., Any], params: dict[str, Any]
) -> None:
    """Note that `result` is `function(x, **params)`, a view."""
    if view_of_leaf(x.node):
        return  # changing it in place is an error anyway
    family = x.version
    member = member_of(x)
    if member is None:
        x._member = member = (weakref.ref(x), None, None, None)
        family.append(member)
    result._member = (weakref.ref(result), member, function, params)
    result._base = getattr(x, "_base", x)  # a base lives as long as its views
    family.append(result._member)
    n = len(family)
    if n >= 64 and n & (n - 1) == 0:  # now and then, so that many living views cost little
        family[1:] = [m for m in family[1:] if m[0]() is not None]


def view_of_leaf(node: Node | None) -> bool:
    """Whether a node is a leaf, or a view of one."""
    while node is not None:
        if node.op is None:
            return True
        if not node.op.view:
            return False
        node = node.parents[0]
    return False

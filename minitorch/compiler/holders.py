"""A search for the tensors that hold the arrays of a step, which begins at the step itself.

A kernel gets arrays, and a guard needs the tensors. These are attributes of modules and optimizers,
or the step refers to them: by variables of its closure, globals that it names, its object.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from minitorch.core.dtypes import Array
from minitorch.core.tensor import Node, Tensor

ENOUGH = 10_000
LIBRARIES = {"minitorch", "numpy", *sys.stdlib_module_names}


def holders(arrays: Iterable[Array], roots: Iterable[Any]) -> dict[int, list[Tensor]]:
    """The tensors that hold these very arrays, by the array's id, as far as roots lead to them.

    The search is breadth-first. It goes on when all arrays are found, up to ENOUGH objects: the
    step may use another tensor of the same array.
    """
    wanted = {id(a) for a in arrays}
    held: dict[int, list[Tensor]] = {}
    queue, seen = list(roots), set[int]()
    for x in queue:  # the queue grows
        if id(x) in seen:
            continue
        if len(held) == len(wanted) and len(seen) >= ENOUGH:
            break
        seen.add(id(x))
        if isinstance(x, Tensor) and id(x.array) in wanted:
            held.setdefault(id(x.array), []).append(x)
        queue += _parts(x)
    return held


def _parts(x: Any) -> list[Any]:
    """The objects that an object refers to, as far as they may lead to a tensor."""
    if isinstance(x, Tensor):
        return [getattr(x, "_grad", None) if x.node is None else x.node.grad]
    if isinstance(x, (ModuleType, Node, CodeType)):
        return []
    if isinstance(x, type):
        return [] if _is_library(x.__module__) else list(vars(x).values())
    if isinstance(x, FunctionType):
        inner = [x.__closure__, x.__defaults__, x.__kwdefaults__, x.__dict__]
        return inner if _is_library(x.__module__) else inner + _globals(x)
    return [part for part in gc.get_referents(x) if gc.is_tracked(part)]


def _is_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in LIBRARIES


def _globals(function: FunctionType) -> list[Any]:
    """The globals that a function names, and the attributes of modules that it names."""
    names = set(_names(function.__code__))
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    for module in [x for x in found if isinstance(x, ModuleType) and not _is_library(x.__name__)]:
        found += [vars(module)[name] for name in names if name in vars(module)]
    return found


def _names(code: CodeType) -> list[str]:
    """The names of globals and attributes in a function and in its inner functions."""
    inner = [name for c in code.co_consts if isinstance(c, CodeType) for name in _names(c)]
    return [*code.co_names, *inner]

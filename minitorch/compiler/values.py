"""Arguments and results of a step: pytrees of tensors and constants."""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign
from typing import Any

from minitorch import backend
from minitorch.autograd import topological
from minitorch.core import pytree
from minitorch.core.dtypes import Array
from minitorch.core.tensor import Tensor, tensor_of

CONSTANTS = (type(None), bool, int, float, complex, str, bytes)
_TENSOR = object()  # a tensor's leaf in `_leaves`


class Values:
    """A pytree's tensors, their arrays, and its other leaves.

    problem: the leaf that is neither a tensor nor a constant, as a text that begins with `what`.
    """

    def __init__(self, tree: Any, what: str, constants: tuple[type, ...] = CONSTANTS) -> None:
        leaves, self.treedef = pytree.flatten(tree)
        self.tensors = [x for x in leaves if isinstance(x, Tensor)]
        self._leaves = [_TENSOR if isinstance(x, Tensor) else x for x in leaves]
        self.arrays = [t.array for t in self.tensors]
        self.kinds = [kind_of(a) for a in self.arrays]
        self.problem = self._problem(what, constants)

    def _problem(self, what: str, constants: tuple[type, ...]) -> str | None:
        if constants is CONSTANTS and any(t.node is not None for t in self.tensors):
            return f"{what} a tensor that requires grad; pass it detached"
        for x in self._leaves:
            if x is not _TENSOR and type(x) not in constants:
                names = ", ".join(t.__name__ for t in constants)
                return (
                    f"{what} of type {type(x).__name__}; expected tensors and constants "
                    f"({names}), also in tuples, lists and dicts"
                )
        return None

    @property
    def is_tensor(self) -> bool:
        """Whether it is one tensor alone."""
        return self.treedef == pytree.LEAF and len(self.tensors) == 1

    @property
    def all_positional(self) -> bool:
        """Whether these arguments, a pair (args, kwargs), are tensors given by position."""
        args, kwargs = self.treedef.children
        return all(child == pytree.LEAF for child in args.children) and not (
            kwargs.keys or len(self.tensors) < len(self._leaves)
        )

    def fits(self, other: Values) -> bool:
        """Whether it has the same tensors, but for their elements, among equal constants."""
        return (
            self.kinds == other.kinds
            and self.treedef == other.treedef
            and all(map(alike, self._leaves, other._leaves))
        )

    def filled(self, tensors: Sequence[Tensor]) -> Any:
        """The pytree with other tensors."""
        given = iter(tensors)
        leaves = [next(given) if x is _TENSOR else x for x in self._leaves]
        return pytree.unflatten(leaves, self.treedef)


def alike(a: Any, b: Any) -> bool:
    """Equal in value, sign and type (1 is not True, nor 1.0) at every depth; nan equals itself."""
    if a is b:
        return True
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    if type(a) is not type(b) or not isinstance(a, CONSTANTS):
        return False
    return bool(a == b) and not (isinstance(a, float) and copysign(1, a) != copysign(1, b))


def kind_of(a: Array) -> tuple[Any, ...]:
    """The properties of an argument that a program depends on, beside its elements."""
    return type(a), a.shape, a.dtype, a.strides, backend.of(a).index(a)


def tensors_of(tree: Any) -> list[Tensor]:
    """The tensors among the leaves."""
    return [x for x in pytree.leaves(tree) if isinstance(x, Tensor)]


def is_open(x: Tensor) -> bool:
    """Whether backward may still begin here: no saved tensor of the graph is freed."""
    return x.node is not None and all(
        node.op is None or node.saved is not None for node in topological([x.node])
    )


def finished(result: Any) -> Any:
    """A step's result, cut off from the tape where backward is over."""
    return pytree.tree_map(
        lambda x: (
            tensor_of(x.array, x.node if is_open(x) else None) if isinstance(x, Tensor) else x
        ),
        result,
    )

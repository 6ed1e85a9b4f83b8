"""The tape: a node for each op that was recorded, which knows the nodes of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch.core.recording import edits


class Node:
    """One recorded op, or a leaf (`op` is None).

    parents: a Node or None (untracked) for each tensor argument.
    saved: what the op's rules read, see `versions.save`; None once backward has freed it.
    params: the op's other arguments. shape: the shape of the result.
    Gradient, hooks and the retain flag live here and not on the Tensor, so that nothing
    refers back to the Tensor and memory is returned without the garbage collector.
    """

    __slots__ = ("__dict__", "op", "params", "parents", "saved", "shape")
    grad: Any = None  # a Tensor or RowGrad
    hooks: dict[int, Callable[[Any], Any]] | None = None
    retain = False
    trace: tuple[Any, ...] = ()  # who recorded it, while `autograd.anomaly` is on
    watched: tuple[
        Any, ...
    ] = ()  # `versions.save` of index tensors and the like, see `versions.watch`

    def __init__(
        self,
        op: Any,
        parents: tuple[Node | None, ...],
        saved: Any,
        params: Any,
        shape: tuple[int, ...],
    ) -> None:
        self.op = op
        self.parents = parents
        self.saved = saved
        self.params = params
        self.shape = shape

    def __repr__(self) -> str:
        return "<leaf>" if self.op is None else f"<{self.op.name}>"

    @property
    def written(self) -> Node:
        """This node; of an op that does several calls' work at once, that of the last call.

        What it shows is computed again when it is first looked at.
        """
        parts = getattr(self.op, "parts", None)
        if parts is None:
            return self
        if "_written" not in self.__dict__:
            self._written = parts(self)
        found: Node = self._written
        return found

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each tensor argument its node (None: untracked), and 0, as PyTorch has it."""
        return tuple([(None if p is None else p.written, 0) for p in self.parents])

    @property
    def name(self) -> str:
        """The op's name; "leaf" for a leaf."""
        return "leaf" if self.op is None else str(self.op.name)


class RemovableHandle:
    """Takes a hook away again: `handle.remove()`, or at the end of a `with` block."""

    _next = 0

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self.id = RemovableHandle._next
        RemovableHandle._next += 1
        self._hooks = hooks
        hooks[self.id] = hook
        edits[0] += 1

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self.id, None)
        edits[0] += 1

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

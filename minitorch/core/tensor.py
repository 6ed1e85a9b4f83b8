"""Tensor, and Node, a vertex of the tape.

No operator is defined here: `minitorch.ops` puts operators and methods on Tensor from its table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minitorch import recording
from minitorch.core.dtypes import Array
from minitorch.core.sparse import RowGrad
from minitorch.protocols import Protocols

__all__ = ["Tensor"]


# ---------------------------------------------------------------------- the tape
class Node:
    """One recorded op, or a leaf (`op` is None).

    parents: a Node or None (untracked) for each tensor argument.
    saved: the values that the op's rules read, see `save`; None once backward has freed them.
    params: the op's other arguments. shape: the shape of the result.
    Gradient, hooks and the retain flag live here and not on the Tensor, so that nothing
    refers back to the Tensor and memory is returned without the garbage collector.
    """

    __slots__ = ("__dict__", "op", "params", "parents", "saved", "shape")
    grad: Any = None  # a Tensor or RowGrad
    hooks: dict[int, Callable[[Any], Any]] | None = None
    retain = False
    trace: tuple[Any, ...] = ()  # the recording call, while `autograd.anomaly` is on
    version_checked: tuple[Any, ...] = ()  # index tensors and the like

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
        """This node; for an op that replaces several calls, the node of the last call.

        The nodes of these calls are made on first use.
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
    """Takes a hook away again: `handle.remove()`, or at the end of a `with` block.

    edited: a callback for when hooks have changed.
    """

    _next = 0

    def __init__(
        self, hooks: dict[int, Any], hook: Any, edited: Callable[[], Any] = recording.edited
    ) -> None:
        self.id = RemovableHandle._next
        RemovableHandle._next += 1
        self._hooks, self._edited = hooks, edited
        hooks[self.id] = hook
        edited()

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self.id, None)
        self._edited()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


# ---------------------------------------------------------------------- Tensor
class Tensor(Protocols):
    """An array on a device that remembers how it was made.

    Tensor(2, 3) is of that shape, its elements undefined, Tensor([1, 2]) holds these numbers in
    the default dtype, and Tensor(x) is an alias of a tensor; `tensor` and `empty` say the same
    with a dtype. minitorch itself makes tensors by `tensor_of`.

    array: the backend's array. node: its Node on the tape, None if untracked.
    version: a list whose first element counts in-place changes; a family of views shares it.
    The list goes on with the family's members, `tape.Member`; a tensor knows its own, and a
    view holds its `_base`. `_grad` is the gradient of a tensor that has ceased to require grad.
    """

    __slots__ = ("__weakref__", "_base", "_grad", "_member", "array", "node", "version")
    __array_ufunc__ = None  # numpy_array + tensor comes to Tensor.__radd__, which refuses it
    if TYPE_CHECKING:  # what `creation` and `ops.methods` install: see tensor.pyi
        array: Array
        node: Node | None
        version: list[Any]
        _grad: Any
        __getitem__: Callable[..., Tensor]
        __mul__: Callable[..., Tensor]
        _cat: Callable[..., Tensor]
        any: Callable[..., Tensor]
        clone: Callable[[], Tensor]
        flip: Callable[..., Tensor]
        index_add_: Callable[..., Tensor]
        mul_: Callable[[Any], Tensor]
        new_zeros: Callable[..., Tensor]
        unique: Callable[..., Any]

        def __init__(self, *data: Any, device: Any = None) -> None: ...

    # ------------------------------------------------------------------ gradients
    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Begin (or end) recording ops on this leaf; returns it."""
        recording.edited()
        if not requires_grad:
            if not self.is_leaf:
                raise RuntimeError(
                    "requires_grad_: you can only change requires_grad flags of leaf tensors; "
                    "use detach() to get a tensor that does not require grad"
                )
            grad, self.node = self.grad, None
            self.grad = grad
        elif self.node is None:
            if not self.dtype.is_floating_point:
                raise RuntimeError(
                    f"only tensors of floating point dtype can require gradients, got {self.dtype}"
                )
            node = Node(None, (), None, None, self.array.shape)
            grad, self.node = self.grad, node
            if grad is not None:
                self.grad, self._grad = grad, None
        return self

    @property
    def is_leaf(self) -> bool:
        """True unless an op that was recorded made this tensor."""
        return self.node is None or self.node.op is None

    @property
    def grad_fn(self) -> Node | None:
        """The recorded op that made this tensor; None for a leaf."""
        return None if self.node is None or self.is_leaf else self.node.written

    @property
    def grad(self) -> Any:
        """Gradient accumulated by `backward`: a Tensor, a RowGrad, or None."""
        node = self.node
        if node is None:
            return getattr(self, "_grad", None)
        if recording.recorder:
            recording.gradient(node, reads=True)
        if node.op is not None and not node.retain:
            warnings.warn(
                "the .grad of a tensor that is not a leaf is only filled after "
                "retain_grad() has been called on it",
                UserWarning,
                stacklevel=2,
            )
        return node.grad

    @grad.setter
    def grad(self, value: Tensor | RowGrad | None) -> None:
        if value is not None:
            if not isinstance(value, (Tensor, RowGrad)):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if tuple(value.shape) != tuple(self.shape) or value.dtype != self.dtype:
                raise RuntimeError(
                    f"grad: assigned gradient is {tuple(value.shape)} {value.dtype}, "
                    f"the tensor is {tuple(self.shape)} {self.dtype}"
                )
            if value.device != self.device:
                raise RuntimeError(
                    f"grad: assigned gradient is on {value.device}, the tensor on {self.device}; "
                    f"use .to('{self.device}')"
                )
        if self.node is None:
            self._grad = value
            recording.edited()
            return
        if recording.recorder:
            recording.gradient(self.node, reads=False)
        self.node.grad = value

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in `.grad` although it is not a leaf."""
        if self.node is None:
            raise RuntimeError(
                "retain_grad: can't retain_grad on a tensor that does not require grad"
            )
        self.node.retain = True

    @property
    def retains_grad(self) -> bool:
        """True for a non-leaf that retains its gradient."""
        return not self.is_leaf and self.node is not None and self.node.retain

    def register_hook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call `hook(grad)` when the gradient is known; what it returns replaces the gradient."""
        if self.node is None:
            raise RuntimeError("register_hook: this tensor does not require grad")
        if not callable(hook):
            raise TypeError(
                f"register_hook: hook: expected something to call, got {type(hook).__name__}"
            )
        if self.node.hooks is None:
            self.node.hooks = {}
        return RemovableHandle(self.node.hooks, hook)

    @property
    def data(self) -> Tensor:
        """A detached tensor of the same memory, whose changes autograd does not see."""
        return tensor_of(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: expected a Tensor, got {type(value).__name__}")
        self.array = value.array
        recording.edited()
        if self.node is not None and self.node.op is None:
            self.node.shape = value.array.shape

    def detach(self) -> Tensor:
        """The same memory, cut off from the tape; in-place changes are still seen by backward."""
        return tensor_of(self.array, None, self.version)

    def detach_(self) -> Tensor:
        """Cut this tensor off from the tape."""
        recording.edited()
        self.node = None
        return self

    @property
    def _version(self) -> int:
        """How often this memory was changed in place."""
        return int(self.version[0])


_new = object.__new__


def tensor_of(array: Array, node: Node | None = None, version: list[Any] | None = None) -> Tensor:
    """The tensor of an array as it is: every result of an op is made here."""
    self: Tensor = _new(Tensor)
    self.array = array
    self.node = node
    self.version = [0] if version is None else version
    return self


Saved = tuple[Array, Node | None, list[Any] | None, int]


def save(x: Tensor) -> Saved:
    """The saved value of x for a rule: never the Tensor, which an in-place op could rebind."""
    version = x.version
    return (x.array, x.node, version, version[0])


def saved_of(node: Node) -> Any:
    """A node's saved values; RuntimeError where backward has freed them."""
    if node.saved is None:
        raise RuntimeError(
            f"trying to backward through the graph a second time: the values that {node.op.name} "
            "saved are already freed; specify retain_graph=True the first time"
        )
    return node.saved


def restore(op: Any, saved: Saved) -> Any:
    """The saved tensor (or number); RuntimeError where it was changed in place since."""
    array, node, version, count = saved
    if version is None:
        return array  # a Python number
    if version[0] != count:
        raise _changed(op, saved)
    return tensor_of(array, node, version)


def _changed(op: Any, saved: Saved) -> Exception:
    array, _, version, count = saved
    assert version is not None
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an "
        f"inplace operation: a value of shape {tuple(array.shape)} that {op.name} needs is at "
        f"version {version[0]}; expected version {count} instead"
    )

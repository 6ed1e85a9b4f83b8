"""Tensor, the nodes of the tape, row-sparse gradients and grad mode.

No operator is defined here: `minitorch.ops` puts operators and methods on Tensor from its table.
"""

from __future__ import annotations

import inspect
import threading
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from minitorch import backend
from minitorch.backend import Array, Device, recording
from minitorch.backend.recording import edits, moves, recorders
from minitorch.dtypes import dtype, of_array

P = ParamSpec("P")
R = TypeVar("R")


# ---------------------------------------------------------------------- grad mode
class _GradMode(threading.local):
    enabled = True


grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether ops are recorded in this thread."""
    return grad_mode.enabled


@types.coroutine
def _stepped(mode: Callable[[], Any], steps: Any) -> Generator[Any, Any, Any]:
    """A generator or coroutine whose every step, but not what happens between, is in the mode."""
    step, given = steps.send, None
    while True:
        try:
            with mode():
                produced = step(given)
        except StopIteration as stop:
            return stop.value
        try:
            given = yield produced
            step = steps.send
        except GeneratorExit:
            with mode():
                steps.close()
            raise
        except BaseException as error:
            step, given = steps.throw, error


def _decorated(mode: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, generator function or `async` one of either kind, run in the mode."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            return (yield from _stepped(mode, function(*args, **kwargs)))

        return generate
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def work(*args: Any, **kwargs: Any) -> Any:
            return await _stepped(mode, function(*args, **kwargs))

        return work
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def stream(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            step, given = steps.asend, None
            while True:
                try:
                    produced = await _stepped(mode, step(given))
                except StopAsyncIteration:
                    return
                try:
                    given = yield produced
                    step = steps.asend
                except GeneratorExit:
                    await _stepped(mode, steps.aclose())
                    raise
                except BaseException as error:
                    step, given = steps.athrow, error

        return stream

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode():
            return function(*args, **kwargs)

    return wrapped


class set_grad_enabled:
    """Switch recording on or off: at once, and as a context manager until the block's end."""

    def __init__(self, mode: bool) -> None:
        self._previous = [grad_mode.enabled]
        self.mode = bool(mode)
        grad_mode.enabled = self.mode

    def __enter__(self) -> None:
        grad_mode.enabled = self.mode

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        grad_mode.enabled = self._previous[-1]

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """As a decorator: the mode holds in the function, not from here on."""
        grad_mode.enabled = self._previous[-1]
        return _decorated(lambda: set_grad_enabled(self.mode), function)


class _Mode:
    """A grad mode as a context manager or a decorator; one object may be entered repeatedly."""

    _enabled: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(grad_mode.enabled)
        grad_mode.enabled = self._enabled

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        grad_mode.enabled = self._previous.pop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return _decorated(type(self), function)


def _also_bare(mode: type[_Mode]) -> Callable[..., Any]:
    """Let `@no_grad` decorate as `@no_grad()` does."""

    def make(function: Callable[..., Any] | None = None) -> Any:
        return mode() if function is None else mode()(function)

    make.__doc__ = mode.__doc__
    make.__name__ = mode.__name__
    return make


class _NoGrad(_Mode):
    """Nothing is recorded inside: results do not require grad (this thread only)."""

    _enabled = False


class _EnableGrad(_Mode):
    """Ops are recorded inside, also within `no_grad` (this thread only)."""

    _enabled = True


no_grad = _also_bare(_NoGrad)
no_grad.__name__ = "no_grad"
enable_grad = _also_bare(_EnableGrad)
enable_grad.__name__ = "enable_grad"


def inference_mode(mode: Any = True) -> Any:
    """As `no_grad` (PyTorch's saves more bookkeeping; here there is none left to save)."""
    if callable(mode):
        return _NoGrad()(mode)
    return _NoGrad() if mode else _EnableGrad()


# ---------------------------------------------------------------------- the tape
class Node:
    """One recorded op, or a leaf (`op` is None).

    parents: a Node or None (untracked) for each tensor argument.
    saved: what the op's rules read, see `rules.save`; None once backward has freed it.
    params: the op's other arguments. shape: the shape of the result.
    Gradient, hooks and the retain flag live here and not on the Tensor, so that nothing
    refers back to the Tensor and memory is returned without the garbage collector.
    """

    __slots__ = ("__dict__", "op", "params", "parents", "saved", "shape")
    grad: Tensor | RowGrad | None = None
    hooks: dict[int, Callable[[Any], Any]] | None = None
    retain = False
    trace: tuple[Any, ...] = ()  # who recorded it, while `autograd.anomaly` is on
    watched: tuple[Any, ...] = ()  # `rules.save` of index tensors and the like, see `rules.watch`

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


class Size(tuple[int, ...]):
    """A shape: a tuple with `numel()`."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        n = 1
        for length in self:
            n *= length
        return n

    def __repr__(self) -> str:
        return f"minitorch.Size({list(self)})"


# ---------------------------------------------------------------------- Tensor
class Tensor:
    """An array on a device that remembers how it was made.

    Tensor(2, 3) is of that shape, its elements undefined, Tensor([1, 2]) holds these numbers in
    the default dtype, and Tensor(x) is an alias of a tensor; `tensor` and `empty` say the same
    with a dtype. minitorch itself makes tensors by `tensor_of`.

    array: what the backend stores. node: its place on the tape, None if untracked.
    version: a list whose first element counts in-place changes; a family of views shares it.
    Behind the count stand the family's members, see `views.Member`; a tensor knows its own, and a
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

    # ------------------------------------------------------------------ what it is
    @property
    def shape(self) -> Size:
        """Lengths of all dimensions."""
        return Size(self.array.shape)

    @property
    def dtype(self) -> dtype:
        """Type of the elements."""
        return of_array(self.array)

    @property
    def device(self) -> Device:
        """Device that holds the elements."""
        return backend.device_of(self.array)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return int(self.array.ndim)

    def dim(self) -> int:
        """Number of dimensions."""
        return int(self.array.ndim)

    def numel(self) -> int:
        """Number of elements."""
        return int(self.array.size)

    def nelement(self) -> int:
        """Number of elements."""
        return int(self.array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return int(self.array.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(self.array.nbytes)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        if dim is None:
            return self.shape
        if not -max(self.ndim, 1) <= dim < max(self.ndim, 1):
            raise IndexError(f"size: dim {dim} is out of range for shape {tuple(self.shape)}")
        return self.array.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension (or one), in elements."""
        steps = tuple(s // self.array.dtype.itemsize for s in self.array.strides)
        return steps if dim is None else steps[dim]

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in the order of their indices."""
        return bool(self.array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.dtype.is_floating_point

    def data_ptr(self) -> int:
        """Address of the first element, on its device."""
        return backend.of(self.array).address(self.array)

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
        moves[0] += 1
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
        if recorders:
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
            edits[0] += 1
            return
        if recorders:
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
        """True for a non-leaf whose gradient will be kept."""
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
        moves[0] += 1
        if self.node is not None and self.node.op is None:
            self.node.shape = value.array.shape

    def detach(self) -> Tensor:
        """The same memory, cut off from the tape; in-place changes are still seen by backward."""
        return tensor_of(self.array, None, self.version)

    def detach_(self) -> Tensor:
        """Cut this tensor off from the tape."""
        moves[0] += 1
        self.node = None
        return self

    @property
    def _version(self) -> int:
        """How often this memory was changed in place."""
        return int(self.version[0])

    # ------------------------------------------------------------------ to Python
    def _host(self, what: str = "this") -> Any:
        if recorders:
            recording.read_by_host(what)
        return backend.of(self.array).to_host(self.array)

    def numpy(self) -> Any:
        """The elements as a NumPy array that shares this tensor's memory (cpu only).

        A view of its own: to give it another shape does not reshape the tensor.
        """
        if self.node is not None:
            raise RuntimeError(
                "numpy: can't call numpy() on a tensor that requires grad; use detach().numpy()"
            )
        if self.device.type != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; use .cpu() first")
        if recorders:
            recording.read_by_host("numpy()")
        return self.array.view()

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.array.size != 1:
            raise RuntimeError(
                f"item: a tensor with {self.array.size} elements has no single value"
            )
        return self._host("item() (or bool(), int(), float())").item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._host("tolist()").tolist()

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"the truth value of a tensor with {self.array.size} elements is ambiguous; "
                "use .any() or .all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point:
            raise TypeError(
                f"only integer tensors of one element can be an index, got {self.dtype}"
            )
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        wanted = array.dtype if dtype is None else dtype
        if copy is False and array.dtype != wanted:
            raise ValueError(f"__array__: a copy is needed to convert {array.dtype} to {dtype}")
        return array.astype(wanted, copy=bool(copy))

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self.array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __reversed__(self) -> Tensor:
        """The elements (or slices along the first dimension) in reverse order, as a copy."""
        return self.flip(0) if self.array.ndim else self.clone()

    def __contains__(self, element: Any) -> bool:
        """Whether an element equals this number or (broadcast) some element of this tensor."""
        found = self == element
        if not isinstance(found, Tensor):
            raise TypeError(f"in: expected a tensor or a number, got {type(element).__name__}")
        return bool(found.any())

    __hash__ = object.__hash__

    def __format__(self, spec: str) -> str:
        if self.array.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __copy__(self) -> Tensor:
        """A leaf of the same memory that requires grad as this tensor does, without a gradient."""
        twin = type(self).__new__(type(self))
        twin.array, twin.node, twin.version = self.array, None, self.version
        return twin.requires_grad_() if self.node is not None else twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "deepcopy: only leaf tensors can be copied deeply; use detach() or clone()"
            )
        if recorders:
            recording.impossible("deepcopy makes a tensor that a replay would not make anew")
        twin = type(self).__new__(type(self))
        twin.array, twin.node, twin.version = _cloned(self.array), None, [0]
        memo[id(self)] = twin
        if self.node is not None:
            twin.requires_grad_()
        grad = self.grad
        if isinstance(grad, Tensor):
            twin.grad = tensor_of(_cloned(grad.array))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("tensors are not pickled: use minitorch.save and minitorch.load")


_new = object.__new__


def tensor_of(array: Array, node: Node | None = None, version: list[Any] | None = None) -> Tensor:
    """The tensor of an array as it is: the way by which every result becomes one."""
    self: Tensor = _new(Tensor)
    self.array = array
    self.node = node
    self.version = [0] if version is None else version
    return self


def _cloned(array: Array) -> Array:
    return backend.of(array).entries["clone"](array)


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


class RowGrad:
    """The gradient of an embedding: rows of it, everything else zero.

    indices: int64 Tensor (n,), duplicates kept. values: Tensor (n, *rest). shape: of the whole.
    Its size does not depend on the number of rows of the whole.
    """

    __slots__ = ("indices", "shape", "values")

    def __init__(self, indices: Tensor, values: Tensor, shape: tuple[int, ...]) -> None:
        self.indices = indices
        self.values = values
        self.shape = Size(shape)

    @property
    def dtype(self) -> dtype:
        """Type of the values."""
        return self.values.dtype

    @property
    def device(self) -> Device:
        """Device of the values."""
        return self.values.device

    def coalesce(self) -> RowGrad:
        """The same gradient with distinct, ascending indices and their values summed.

        A GPU is waited for, because the number of distinct indices depends on data.
        """
        rows, group = self._grouped()
        n = int(group[-1]) + 1 if len(group) else 0
        return RowGrad(rows.indices[:n], rows.values[:n], self.shape)

    def sum_duplicates(self) -> RowGrad:
        """The same gradient, no longer and no shorter, in which no row has two values that count.

        First come the distinct indices and their sums, as of `coalesce`; the places left over
        hold zeros for the first of these indices. A GPU is not waited for.
        """
        return self._grouped()[0]

    def _grouped(self) -> tuple[RowGrad, Tensor]:
        """`sum_duplicates`, and for each sorted index which of the distinct ones it is."""
        given: Any = self.indices
        order: Any = given.argsort()
        ordered: Any = given[order]
        group: Any = ordered.new_zeros(ordered.shape)
        group[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
        indices = ordered[:1].expand(ordered.shape).clone().scatter_(0, group, ordered)
        values = self.values.new_zeros(self.values.shape).index_add_(0, group, self.values[order])
        return RowGrad(indices, values, self.shape), group

    def to_dense(self) -> Tensor:
        """The whole gradient, zeros included."""
        whole = self.values.new_zeros(self.shape)
        return whole.index_add_(0, self.indices, self.values)

    def clone(self) -> RowGrad:
        """A copy in memory of its own."""
        return RowGrad(self.indices, self.values.clone(), self.shape)

    def detach(self) -> RowGrad:
        """The same rows, cut off from the tape."""
        return RowGrad(self.indices, self.values.detach(), self.shape)

    def __add__(self, other: Tensor | RowGrad) -> Tensor | RowGrad:
        if isinstance(other, Tensor):
            return other.clone().index_add_(0, self.indices, self.values)
        indices = self.indices._cat(other.indices)
        return RowGrad(indices, self.values._cat(other.values), self.shape)

    __radd__ = __add__

    def __mul__(self, factor: float | Tensor) -> RowGrad:
        return RowGrad(self.indices, self.values * factor, self.shape)

    def mul_(self, factor: float | Tensor) -> RowGrad:
        """Multiply the values by a number, in place."""
        self.values.mul_(factor)
        return self

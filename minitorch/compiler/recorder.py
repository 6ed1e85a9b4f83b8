"""The recorder: writes the kernel calls of a running step into a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from minitorch import autocasting, backend, recording
from minitorch.backend.replay import Call, DynamicScalar, HostCallback, Trace, now
from minitorch.core import pytree
from minitorch.core.dispatch import Op, intercepted
from minitorch.core.dtypes import Array
from minitorch.core.grad_mode import grad_mode
from minitorch.recording import CannotRecord, Work

Kernel = Callable[..., Any]


DATA_DEPENDENT = ("nonzero",)  # ops whose result's shape depends on data


class Recorder(recording.Recorder):
    """Notes a step's kernel calls, in order, in a trace of its backend, and its guarded objects.

    strict: raise CannotRecord where the step cannot be replayed.
    """

    def __init__(self, trace: Trace, step: Callable[..., Any], strict: bool) -> None:
        super().__init__()
        self.trace = trace
        self.step = step
        self.strict = strict
        self.modes = grad_mode.enabled, autocasting.state.dtypes
        self.reason: str | None = None  # against a replay
        self.constants: list[Array] = []
        self.versions: list[tuple[Array, list[Any]]] = []
        self.owners: dict[int, tuple[Any, list[Any]]] = {}  # with their values at first use
        self.leaves: dict[int, tuple[Any, bool, Any]] = {}  # node, whether it is read, gradient

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Record what the block does."""
        with intercepted(self._wrapped, records=True), recording.active(self):
            yield

    # ---- calls of the house

    def refuse(self, reason: str) -> None:
        """Give the recording up, because of `reason`; raise CannotRecord if strict."""
        if self.reason is None:
            self.reason = reason
        if self.strict:
            raise CannotRecord(reason)

    def host(self, work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run a host callback and note its position."""
        item = HostCallback(work, undo)
        item.run()
        self.trace.items.append(item)
        return {key: DynamicScalar(item.cell, key) for key in item.cell}

    def constant(self, array: Array) -> None:
        """Note an array that was made of Python data."""
        self.constants.append(array)

    def changed(self, array: Array, version: list[Any]) -> None:
        """Note that the last call has changed an array."""
        self.versions.append((array, version))
        call = next((i for i in reversed(self.trace.items) if isinstance(i, Call)), None)
        if call is None:
            self.refuse("what changes an array is not an op")
        else:
            call.written.append(array)

    def guard(self, owner: Any) -> None:
        """Note the values of a module or an optimizer before its first use."""
        if id(owner) not in self.owners:
            self.owners[id(owner)] = (owner, owner._guarded())

    def gradient(self, node: Any, reads: bool) -> None:
        """Note a leaf's gradient before its first read or write."""
        if id(node) not in self.leaves:
            self.leaves[id(node)] = (node, reads, node.grad)

    def undo(self) -> bool:
        """Put gradients and random state back as they were before a step that broke off.

        False where the step has also changed memory, or run a callback that has no undo.
        """
        callbacks = self.trace.callbacks()
        if self.versions or any(item.undo is None for item in callbacks):
            return False
        for item in reversed(callbacks):
            if item.undo is not None:
                item.undo()
        for node, _, before in self.leaves.values():
            node.grad = before
        self.trace.items.clear()  # the items held all arrays of the step
        self.leaves.clear()
        return True

    # ---- kernels

    def _wrapped(self, op: Op, array_type: type, kernel: Kernel) -> Kernel:
        if array_type is self.trace.array_type:
            return self.noted(op.name, kernel)
        return self.foreign(op.name, kernel, backend.of_type(array_type).name)

    def noted(self, name: str, kernel: Kernel) -> Kernel:
        """The kernel, with its calls noted."""

        def recorded(*args: Any, **params: Any) -> Any:
            if get_ident() != self.thread:
                return kernel(*args, **params)
            call = Call(name, kernel, _frozen(args), _frozen(params))
            if name in DATA_DEPENDENT:
                self.refuse(f"{name}: the shape of its result depends on data")
            result = kernel(*args, **{k: now(v) for k, v in params.items()})
            call.result = result = self._as_arrays(result)
            if "out" in params:
                call.written.append(params["out"])
            for key, value in params.items():
                if type(value) is list and len(value) > len(call.params[key]):
                    call.appended[key] = value[len(call.params[key]) :]
            self.trace.items.append(call)
            return result

        return recorded

    def foreign(self, name: str, kernel: Kernel, device: str) -> Kernel:
        """The wrapper of a kernel for another device, whose call ends the recording."""

        def refused(*args: Any, **params: Any) -> Any:
            if get_ident() == self.thread:
                self.refuse(f"{name} runs on '{device}', which is not where the step is recorded")
            return kernel(*args, **{k: now(v) for k, v in params.items()})

        return refused

    def _as_arrays(self, result: Any) -> Any:
        """The results with numbers as arrays, so that the trace knows their memory."""
        known: dict[int, Any] = {}  # one array for the same number

        def as_array(r: Any) -> Any:
            is_array = r is None or type(r) is self.trace.array_type
            return known.setdefault(id(r), r if is_array else self.trace.as_array(r))

        return pytree.tree_map(as_array, result)


def _frozen(tree: Any) -> Any:
    """A copy of a pytree, which nobody else can change."""
    return pytree.tree_map(lambda leaf: leaf, tree)


class Repeater(recording.Recorder):
    """The recorder of a step that runs again: it returns stored results of the host callbacks."""

    def __init__(self, callbacks: list[HostCallback]) -> None:
        super().__init__()
        self._found = [dict(item.cell) for item in callbacks]

    def host(self, work: Work, undo: Callable[[], None] | None = None) -> dict[str, Any]:
        """The stored result of the next callback."""
        return self._found.pop(0)

"""The backward pass of a compiled model: recorded behind the forward pass, replayed as one op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from weakref import ref

from minitorch.autograd import topological
from minitorch.backend.replay import Replay, Trace, now
from minitorch.compiler.recorder import Recorder
from minitorch.compiler.values import is_open, tensors_of
from minitorch.core import engine
from minitorch.core.dispatch import AnyOp
from minitorch.core.dtypes import Array
from minitorch.core.function import Part, result_node
from minitorch.core.grad_mode import grad_mode, no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor, tensor_of
from minitorch.creation import zeros_like
from minitorch.nn.hooks import BackwardHook
from minitorch.nn.module import Module


class Backward(AnyOp):
    """The backward pass of a step's results that are still open, recorded behind the step.

    As an op of the tape it replays that pass for the gradients of the results.
    """

    name = "compiled"

    def __init__(self, recorder: Recorder, result: Any, lock: Any) -> None:
        self._lock = lock  # of the calls
        trace = recorder.trace
        self.start = len(trace.items)
        found = tensors_of(result)
        self.roots = [i for i, t in enumerate(found) if is_open(t)]
        nodes = [found[i].node for i in self.roots]
        order = topological(nodes)  # type: ignore[arg-type]
        self.parents = [n for n in order if n.op is None]
        self.seeds = [trace.copy(found[i].array) for i in self.roots]
        seeds = [(node, tensor_of(seed)) for node, seed in zip(nodes, self.seeds)]
        hooks = [(p, p.hooks) for p in self.parents]  # they run when the gradients arrive
        pulled: dict[int, Any] = {}
        if seeds and _has_inner_hooks(order, recorder):
            recorder.refuse("its backward pass runs hooks of modules or of tensors that it makes")
            seeds = []
        try:
            for p in self.parents:
                p.hooks = None
            if seeds:
                with no_grad():
                    pulled = engine.backward_pass(seeds, self.parents, True)  # type: ignore
        finally:
            for p, before in hooks:
                p.hooks = before
        self.grads: list[Any] = [pulled.get(id(p)) for p in self.parents]
        for node in order:  # the recorded call's own backward pass is no replay
            if type(node.params) is dict:
                node.params = {k: now(v) for k, v in node.params.items()}

    def problem(self, trace: Trace) -> str | None:
        """The reason against a replay, or None."""
        if any(call.written for call in trace.calls(self.start)):
            return "its backward pass changes tensors in place"
        if trace.callbacks(self.start):
            return "its backward pass has work for the host"
        return None

    def build(
        self, trace: Trace, outputs: list[Array], inputs: list[Array], held: list[Tensor]
    ) -> tuple[Replay, list[Array]]:
        """Build both passes; the replay of the step, and the arrays in which it leaves `outputs`.

        Arrays of the step that the backward pass reads keep their memory until the next replay.
        """
        items, forward = trace.items, trace.items[: self.start]
        makers = {id(item) for item in forward}
        grads = list(chain.from_iterable(arrays_of(g) for g in self.grads if g is not None))
        taken = [a for c in trace.calls(self.start) for a in trace.arrays((c.args, c.params))]
        read = {id(a): a for a in [*taken, *grads]}
        crossing = [a for a in read.values() if id(trace.makers.get(trace.memory(a))) in makers]
        memories = set(map(trace.memory, read.values()))
        self.versions = [t.version for t in held if trace.memory(t.array) in memories]
        trace.items = forward
        replay, left = trace.build([*outputs, *crossing], inputs)
        replay.binds = False  # the backward pass reads the inputs as well
        trace.items = items[self.start :]
        known = {id(a): array for a, array in zip(crossing, left[len(outputs) :])}
        pull, found = trace.build(grads, self.seeds, known)
        trace.items = items
        self._pull, self._copy, self._write = pull.run, trace.copy, trace.write
        self._held = left, found
        arrays = iter(found)
        self.grads = [of_next(g, arrays) for g in self.grads]
        self._zeros = [zeros_like(tensor_of(seed)) for seed in self.seeds]
        self.call: Callable[[], Any] = lambda: (
            None
        )  # a weak reference to the last call's saved versions
        return replay, left[: len(outputs)]

    def connect(self, tensors: list[Tensor], recorded: Sequence[Tensor] = ()) -> list[Tensor]:
        """Copies of a call's results, on the tape. recorded: the results, if it was no replay."""
        saved = _Saved(self.versions)
        self.call = ref(saved)
        nodes = [recorded[i].node for i in self.roots] if recorded else self.parents
        common = Node(_passing if recorded else self, tuple(nodes), saved, None, ())
        for i, root in enumerate(self.roots):
            tensors[root] = tensor_of(tensors[root].array, result_node(common, i, tensors[root]))
        return tensors

    def vjp(self, node: Node, g: Part) -> list[Any]:
        """The gradients of the leaves."""
        if node.saved is None:
            raise RuntimeError(
                "trying to backward through the graph a second time: what the compiled function "
                "saved is freed; specify retain_graph=True the first time"
            )
        if grad_mode.enabled:
            raise RuntimeError(
                "compile: a compiled function has no second derivative (create_graph=True): call "
                "the function that was compiled"
            )
        if not node.saved.is_current():
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                "inplace operation: a parameter or buffer of a compiled function, since its call"
            )
        with self._lock:
            for i, (seed, zeros) in enumerate(zip(self.seeds, self._zeros)):
                given = g.parts.get(i)
                self._write(seed, (zeros if given is None else given).array)
            self._pull()
            return [None if grad is None else self._copied(grad) for grad in self.grads]

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        """There is none."""
        raise NotImplementedError(
            "compile: a compiled function has no forward mode: call the function that was compiled"
        )

    def _copied(self, grad: Any) -> Any:
        return of_next(grad, iter([self._copy(a) for a in arrays_of(grad)]))


def _has_inner_hooks(nodes: Iterable[Node], recorder: Recorder) -> bool:
    """Whether a backward pass calls hooks other than those of leaves."""
    modules = [owner for owner, _ in recorder.owners.values() if isinstance(owner, Module)]
    hooks = [hook for m in modules for hook, _ in m._forward_pre_hooks.values()]
    return any(isinstance(hook, BackwardHook) for hook in hooks) or any(
        node.hooks for node in nodes if node.op is not None
    )


class _Passing(AnyOp):
    """An op of the tape in front of the recorded call's own graph."""

    name = "compiled"

    def vjp(self, node: Node, g: Part) -> list[Any]:
        """The gradients of the results."""
        return [g.parts.get(i) for i in range(len(node.parents))]

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        """The tangents of the results."""
        return tuple(tangents)


_passing = _Passing()


class _Saved:
    """What the node of a call saves: the versions of the tensors that its memory depends on."""

    __slots__ = ("__weakref__", "_counts", "_versions")

    def __init__(self, versions: list[list[Any]]) -> None:
        self._versions = versions
        self._counts = [version[0] for version in versions]

    def is_current(self) -> bool:
        return [version[0] for version in self._versions] == self._counts


# ---------------------------------------------------------------------- gradients of both kinds
def arrays_of(grad: Tensor | RowGrad) -> list[Array]:
    """The arrays of a gradient."""
    parts = (grad.indices, grad.values) if isinstance(grad, RowGrad) else (grad,)
    return [part.array for part in parts]


def of_next(grad: Any, arrays: Iterator[Array]) -> Any:
    """A gradient of the same kind, made of the next arrays."""
    if isinstance(grad, RowGrad):
        return RowGrad(tensor_of(next(arrays)), tensor_of(next(arrays)), grad.shape)
    return None if grad is None else tensor_of(next(arrays))

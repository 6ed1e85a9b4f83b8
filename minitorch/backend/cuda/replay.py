"""A recorded step as a CUDA graph: it repeats the step's calls while a stream is captured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from operator import attrgetter
from typing import Any

from minitorch.backend.cuda.gpu import Array, Gpu
from minitorch.backend.cuda.graph import CaptureError, Graph, capture
from minitorch.backend.replay import Call, DynamicScalar, HostCallback, Replay, Trace, now
from minitorch.core import pytree
from minitorch.core.pytree import exhaust
from minitorch.recording import CannotRecord


class GraphTrace(Trace):
    """Calls of a GPU's kernels, and the graph that replays them."""

    properties = (*Trace.properties, "data.device_id")

    def __init__(self, gpu: Gpu, kernels: dict[str, Callable[..., Any]], views: frozenset[str]):
        super().__init__(gpu.xp.ndarray, lambda array: array, views)
        self.write, self._clone = kernels["copy_"], kernels["clone"]
        self._gpu = gpu

    def copy(self, a: Array) -> Array:
        """A copy of an array; by one copy of the device where it is contiguous there."""
        if not a._c_contiguous or a.data.device_id != self._gpu.current():
            return self._clone(a)
        try:
            return a.copy()
        except self._gpu.xp.cuda.memory.OutOfMemoryError as error:
            raise self._gpu.out_of_memory(error, a.data.device_id) from None

    def memory(self, a: Array) -> Hashable:
        """A key that is equal for arrays of the same memory, while both live."""
        return int(a.data.mem.ptr) if a.size else id(a)

    def build(
        self,
        results: Sequence[Array],
        inputs: Sequence[Array],
        known: dict[int, Array] | None = None,
    ) -> tuple[Replay, list[Array]]:
        """A replay of `items`, and the arrays in which it leaves those of `results`."""
        items = self.needed(results)
        calls = [item for item in items if isinstance(item, Call)]
        callbacks = [item for item in items if isinstance(item, HostCallback)]
        if not calls:
            left = [(known or {}).get(id(a), a) for a in results]
            return GraphReplay(self, None, callbacks, inputs), left
        index = int(next(self.arrays((calls[0].args, calls[0].params, calls[0].result))).device.id)
        try:
            with capture(self._gpu, index) as graph:
                repetition = _Repetition(self, graph, calls, results, known or {})
                for i, call in enumerate(calls):
                    repetition.make(i, call)
        except CaptureError as error:
            raise CannotRecord(str(error)) from error
        left = [repetition.stands_for(a) for a in results]
        return GraphReplay(self, graph, callbacks, inputs), left


class GraphReplay(Replay):
    """Copies of arguments, host callbacks, then a graph (None: no kernel is called)."""

    def __init__(
        self,
        trace: GraphTrace,
        graph: Graph | None,
        callbacks: Sequence[HostCallback],
        inputs: Sequence[Array],
    ) -> None:
        self._gpu, self._write = trace._gpu, trace.write
        self._graph, self._inputs = graph, inputs
        self._callbacks = [(item.cell.update, item.work) for item in callbacks]
        self._to = [x.data for x in inputs]
        self._sizes = [x.nbytes for x in inputs]
        devices = [graph.index] if graph else [p.device_id for p in self._to]
        self._index = devices[0] if devices else trace._gpu.current()
        self._near = all(p.device_id == self._index for p in self._to)

    def run(self, inputs: Sequence[Array] = ()) -> None:
        """Launch all that in the current stream of the graph's device."""
        gpu = self._gpu
        if gpu.current() != self._index:
            with gpu.on(self._index):
                return self.run(inputs)
        if self._near and all(map(_is_contiguous, inputs)):
            exhaust(map(gpu.copy_on_device, self._to, map(_pointer, inputs), self._sizes))
        else:
            exhaust(map(self._write, self._inputs, inputs))
        for update, work in self._callbacks:
            update(work() or ())
        if self._graph is not None:
            self._graph.launch()
        return None


_is_contiguous, _pointer = attrgetter("_c_contiguous"), attrgetter("data")


class _Repetition:
    """Repeats calls on the arrays that earlier calls gave, and holds each array while needed."""

    def __init__(
        self,
        trace: GraphTrace,
        graph: Graph,
        calls: Sequence[Call],
        results: Sequence[Array],
        known: dict[int, Array],
    ) -> None:
        self._trace = trace
        self._graph = graph
        self._new = dict(known)  # by the id of the recorded array
        self._last: dict[int, int] = {}  # the last call that takes an array, by id
        for i, call in enumerate(calls):
            for a in trace.arrays((call.args, call.params)):
                self._last[id(a)] = i
        self._last.update((id(a), len(calls)) for a in results)

    def stands_for(self, a: Array) -> Array:
        """The array that a replay uses instead of `a`."""
        return self._new.get(id(a), a)

    def make(self, i: int, call: Call) -> None:
        """Make the i-th call."""
        params = {k: self._all(now(v)) for k, v in call.params.items()}
        lists = {k: list(v) for k, v in params.items() if type(v) is list}
        numbers = _numbers(call)
        with nullcontext() if numbers is None else self._graph.dynamic(numbers):
            result = call.kernel(*self._all(call.args), **{**params, **lists})
        appended = {k: lists[k][len(params[k]) :] for k in call.appended}
        arrays = self._trace.arrays
        for old, new in zip(
            arrays((call.result, call.appended)), arrays((result, appended)), strict=True
        ):
            if self._trace.made(old) and self._last.get(id(old), i) > i:
                self._new.setdefault(id(old), new)
        for old in arrays((call.args, call.params)):
            if self._last[id(old)] == i:
                self._new.pop(id(old), None)

    def _all(self, tree: Any) -> Any:
        """A pytree with its arrays replaced."""
        kind = self._trace.array_type
        return pytree.tree_map(lambda x: self.stands_for(x) if type(x) is kind else x, tree)


def _numbers(call: Call) -> Callable[[], dict[str, Any]] | None:
    """A function that gives a call's dynamic scalars at a replay; None where it has none."""
    dynamic = {k: v for k, v in call.params.items() if type(v) is DynamicScalar}
    if not dynamic:
        return None
    cell = next(iter(dynamic.values())).cell
    if all(v.cell is cell and v.key == k for k, v in dynamic.items()):
        return cell.copy
    return lambda: {k: v.value() for k, v in dynamic.items()}

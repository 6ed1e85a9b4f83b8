"""A recorded step as a CUDA graph: it repeats the step's calls while a stream is captured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
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
        if not calls:
            left = [(known or {}).get(id(a), a) for a in results]
            works = [item.run for item in items if isinstance(item, HostCallback)]
            return GraphReplay(self, partial(_run_all, works), inputs), left
        index = int(next(self.arrays((calls[0].args, calls[0].params, calls[0].result))).device.id)
        try:
            with capture(self._gpu, index) as graph:
                repetition = _Repetition(self, graph, calls, results, known or {})
                for item in items:
                    if isinstance(item, HostCallback):
                        repetition.ask(item)
                    else:
                        repetition.make(item)
        except CaptureError as error:
            raise CannotRecord(str(error)) from error
        left = [repetition.stands_for(a) for a in results]
        return GraphReplay(self, graph.launch, inputs, index), left


def _run_all(works: Sequence[Callable[[], Any]]) -> None:
    for work in works:
        work()


class GraphReplay(Replay):
    """Copies of arguments, then the launch of a graph, which asks the host callbacks.

    index: the device of the graph; None: there is none, and work for the host only.
    """

    def __init__(
        self,
        trace: GraphTrace,
        launch: Callable[[], None],
        inputs: Sequence[Array],
        index: int | None = None,
    ) -> None:
        self._gpu, self._write, self._launch = trace._gpu, trace.write, launch
        self._index = trace._gpu.current() if index is None else index
        self._inputs = inputs
        self._to = [x.data for x in inputs]
        self._sizes = [x.nbytes for x in inputs]
        self._here = all(p.device_id == self._index for p in self._to)

    def run(self, inputs: Sequence[Array] = ()) -> None:
        """Do that in the current stream of the graph's device."""
        gpu = self._gpu
        if gpu.current() != self._index:
            with gpu.on(self._index):
                self.run(inputs)
                return
        if self.alike and self._here:
            exhaust(map(gpu.copy_on_device, self._to, map(_pointer, inputs), self._sizes))
        else:
            exhaust(map(self._write, self._inputs, inputs))
        self._launch()


_pointer = attrgetter("data")


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
        self._asked: dict[int, HostCallback] = {}  # by the id of their cells
        self._last: dict[int, int] = {}  # the last call that takes an array, by id
        self._made = 0  # calls so far
        for i, call in enumerate(calls):
            for a in trace.arrays((call.args, call.params)):
                self._last[id(a)] = i
        self._last.update((id(a), len(calls)) for a in results)

    def stands_for(self, a: Array) -> Array:
        """The array that a replay uses instead of `a`."""
        return self._new.get(id(a), a)

    def ask(self, callback: HostCallback) -> None:
        """Let replays run the callback at this point."""
        self._asked[id(callback.cell)] = callback
        with self._graph.dynamic(callback.run):
            pass

    def _numbers(self, call: Call) -> AbstractContextManager[None]:
        """The block of a call whose dynamic scalars a callback gives."""
        dynamic = {k: v for k, v in call.params.items() if type(v) is DynamicScalar}
        if not dynamic:
            return nullcontext()
        cell = next(iter(dynamic.values())).cell
        if not all(v.cell is cell and v.key == k for k, v in dynamic.items()):
            return self._graph.dynamic(lambda: {k: v.value() for k, v in dynamic.items()})
        callback = self._asked.get(id(cell))  # None: that of an earlier graph has the numbers
        return self._graph.dynamic(cell.copy if callback is None else callback.run)

    def make(self, call: Call) -> None:
        """Make the next call."""
        i = self._made
        self._made += 1
        params = {k: self._all(now(v)) for k, v in call.params.items()}
        lists = {k: list(v) for k, v in params.items() if type(v) is list}
        with self._numbers(call):
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

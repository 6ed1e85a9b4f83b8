"""A recorded step: its guards, its replay, and the comparison of both with the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain, repeat, starmap
from operator import add, attrgetter, itemgetter, setitem
from typing import Any

from minitorch import backend, recording
from minitorch.compiler.backward import Backward, arrays_of, of_next
from minitorch.compiler.guards import Guards
from minitorch.compiler.holders import holders
from minitorch.compiler.recorder import Recorder, Repeater
from minitorch.compiler.values import Values, finished, kind_of, tensors_of
from minitorch.core import engine
from minitorch.core.dtypes import Array
from minitorch.core.pytree import exhaust
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.recording import CannotRecord

_array = attrgetter("array")
_count, _FIRST = itemgetter(0), repeat(0)  # a version's count, and where it stands


class Problem:
    """The reason why a recording is of no use. lasting: the next recording would fail, too."""

    def __init__(self, text: str, lasting: bool = True) -> None:
        self.text = text
        self.lasting = lasting


def _lacking(error: Exception) -> Problem:
    return Problem(f"there is too little memory to record it: {error}")


class TooLittleMemory(Exception):
    """The comparison of a replay with the step, which is as if it had not begun.

    Except for host callbacks: `context` has what the step is to run in.
    """

    def __init__(self, text: str, context: AbstractContextManager[Any]) -> None:
        super().__init__(text)
        self.context = context


class Program:
    """A recorded step, with the guards of its replay and the tensors that the replay sets.

    given: its arguments; inputs: the arrays in which a replay reads them.
    """

    def __init__(
        self,
        recorder: Recorder,
        given: Values,
        inputs: list[Array],
        result: Any,
        backward: Backward,
    ) -> None:
        self.compared = False  # whether a replay was compared with the step
        self.backward = backward if backward.roots else None
        self.given = given
        self.inputs = inputs
        self.guards = Guards(recorder)
        self.leaves: list[Any] = [(node, node.grad) for node, _, _ in recorder.leaves.values()]
        self.output = Values(result, "the step returns a value", (type(None),))
        self.results = self.output.arrays
        self.problem = self._problem(recorder)
        if self.problem is None:
            try:
                self._build(recorder)
            except CannotRecord as error:
                self.problem = Problem(str(error))
            except (backend.OutOfMemoryError, MemoryError) as error:
                self.problem = _lacking(error)

    def _problem(self, recorder: Recorder) -> Problem | None:
        """The reason against a replay, or None."""
        trace = recorder.trace
        if recorder.reason is not None:
            return Problem(recorder.reason)
        if self.output.problem is not None:
            return Problem(self.output.problem)
        trace.analyse()
        if any(map(trace.changes, [*self.given.arrays, *self.inputs])):
            return Problem("the step changes one of its arguments in place")
        if (owner := self.guards.changed_by_step()) is not None:
            return Problem(
                f"attributes, options, states or hooks of {type(owner).__name__} are not the "
                "same before and after the step",
                lasting=False,
            )
        rows = [g for _, g in self.guards.entered if isinstance(g, RowGrad)]
        if any(trace.same_memory(a, trace.found) for g in rows for a in arrays_of(g)):
            return Problem("row-sparse gradients of earlier steps are used", lasting=False)
        if self.backward is not None and (text := self.backward.problem(trace)):
            return Problem(text)
        return self._hold(recorder)

    def _hold(self, recorder: Recorder) -> Problem | None:
        """Find the tensors of the step's arrays; a Problem where an array has none."""
        trace = recorder.trace
        seeds = [] if self.backward is None else self.backward.seeds
        known = set(map(trace.memory, (*self.inputs, *recorder.constants, *seeds)))
        outside = [a for a in trace.found if trace.memory(a) not in known]
        owners = [owner for owner, _ in recorder.owners.values()]
        grads = [grad for node, *_ in recorder.leaves.values() for grad in (node.grad,)]
        held = holders(outside, [*owners, *grads, engine.units, recorder.step])
        for array in outside:
            if id(array) not in held:
                return Problem(
                    f"a tensor of shape {tuple(array.shape)} that the step uses is replaced by it, "
                    "so that the next step would use another: change it in place (copy_), or pass "
                    "it as an argument",
                    lasting=False,
                )
        self.held = list(chain.from_iterable(held.values()))
        self.guards.guard(self.held)
        return None

    def _build(self, recorder: Recorder) -> None:
        """Build the replay, and the lists of gradients and versions to set after it."""
        trace = recorder.trace
        self._kind_of = attrgetter(
            "node", *[f"array.{name}" for name in ("__class__", *trace.properties)]
        )
        self.kinds = None
        if self.given.all_positional:
            self.kinds = list(map(self._kind_of, self.given.tensors))
        self.alone = self.output.is_tensor and self.backward is None
        self.carried = [(n, g.array) for n, g in self.guards.entered if isinstance(g, Tensor)]
        grads = [g for _, g in self.leaves if g is not None]
        outputs = [*self.results, *chain.from_iterable(map(arrays_of, grads))]
        versions = _versions(recorder)
        self.callbacks = trace.callbacks()
        self.memory = [a for call in trace.calls() for a in call.written if not trace.made(a)]
        carried = [array for _, array in self.carried]
        self.compares = [a for a in self.memory if not trace.same_memory(a, carried)]
        self.copy = trace.copy
        self.write = trace.write
        if self.backward is None:
            replay, left = trace.build(outputs, self.inputs)
        else:
            replay, left = self.backward.build(trace, outputs, self.inputs, self.held)
        replay.alike = list(map(kind_of, self.inputs)) == self.given.kinds
        self._run = replay.run
        self.holds = _condition(self.guards, self.backward)
        arrays = iter(left)
        self.results = [next(arrays) for _ in self.results]
        self.leaves = [(node, of_next(grad, arrays)) for node, grad in self.leaves]
        versions += [(_version(grad), 1) for _, grad in self.leaves if grad is not None]
        self.versions = [version for version, _ in versions]
        self.changes = [n for _, n in versions]  # of these versions in a replay
        self.grads = [(node, "grad", grad) for node, grad in self.leaves]

    # ---- guards

    def take(self, args: tuple[Any, ...]) -> list[Array] | None:
        """The arrays of tensor arguments that fit, if guards hold; None: look closer."""
        try:
            if list(map(self._kind_of, args)) != self.kinds or not self.holds():
                return None
        except AttributeError:  # of what is not a tensor
            return None
        return list(map(_array, args))

    def is_open(self) -> bool:
        """Whether the backward pass of the last call is still to come."""
        return self.backward is not None and self.backward.call() is not None

    # ---- replay

    def replay(self, arrays: Sequence[Array]) -> Any:
        """Run the program with other arguments."""
        for node, array in self.carried:
            if node.grad.array is not array:
                self.write(array, node.grad.array)
        self._run(arrays)
        exhaust(starmap(setattr, self.grads))
        counts = map(add, map(_count, self.versions), self.changes)
        exhaust(map(setitem, self.versions, _FIRST, counts))
        if self.alone:  # the most common case
            return tensor_of(self.copy(self.results[0]))
        return self._output(self.results)

    def first(self) -> Any:
        """The recorded call's result, released here; replays have results of their own.

        None where there is a problem, which a lack of memory for the result is as well.
        """
        tensors = self.output.tensors
        self.output.tensors = self.output.arrays = []
        if self.problem is None:
            try:
                return self._output([t.array for t in tensors], tensors)
            except (backend.OutOfMemoryError, MemoryError) as error:
                self.problem = _lacking(error)
        return None

    def _output(self, arrays: Sequence[Array], recorded: Sequence[Tensor] = ()) -> Any:
        """The step's result, with copies of these arrays."""
        tensors = [tensor_of(self.copy(a)) for a in arrays]
        if self.backward is not None:
            tensors = self.backward.connect(tensors, recorded)
        return self.output.filled(tensors)

    # ---- comparison with the step

    def verified(
        self, arrays: Sequence[Array], step: Callable[[], Any], exact: bool
    ) -> tuple[Any, str | None]:
        """Replay, then run the step from the same state: its result, and the first difference.

        Host callbacks run once: the step gets the replay's dynamic scalars. exact: to the bit.
        Raises TooLittleMemory.
        """
        self.compared = True
        try:
            before = [self.copy(a) for a in self.memory]
            grads = [(n, None if n.grad is None else n.grad.clone()) for n, _ in self.leaves]
        except (backend.OutOfMemoryError, MemoryError) as error:
            raise TooLittleMemory(str(error), nullcontext()) from None
        try:
            return self._compared(arrays, step, exact, partial(self._restore, before, grads))
        except (backend.OutOfMemoryError, MemoryError) as error:
            self._restore(before, grads)
            repeater = recording.active(Repeater(self.callbacks))
            raise TooLittleMemory(str(error), repeater) from None

    def _restore(self, before: Sequence[Array], grads: Sequence[tuple[Any, Any]]) -> None:
        """Write the memory that a step changes, and set the gradients."""
        for changed, array in zip(self.memory, before):
            self.write(changed, array)
        for node, grad in grads:
            node.grad = grad

    def release(self) -> None:
        """Let go of all arrays, also where somebody still holds the program."""
        vars(self).clear()

    def _compared(
        self,
        arrays: Sequence[Array],
        step: Callable[[], Any],
        exact: bool,
        restore: Callable[[], None],
    ) -> tuple[Any, str | None]:
        mine = self._state(self.replay(arrays))
        restore()
        with recording.lock, recording.active(Repeater(self.callbacks)):
            result = step()
        theirs = self._state(result)
        same = backend.same_bits if exact else _close
        differs = None
        for (what, a), (_, b) in zip(mine, theirs, strict=True):
            if not same(a, b):
                differs = f"{what} of shape {tuple(b.shape)}"
                break
        if differs is None:
            for node, grad in self.leaves:  # the next replay overwrites them
                if isinstance(grad, Tensor):
                    self.write(grad.array, node.grad.array)
                    node.grad = grad
        if self.backward is not None:
            return finished(result), differs
        found = [tensor_of(self.copy(t.array)) for t in tensors_of(result)]
        return self.output.filled(found), differs

    def _state(self, result: Any) -> list[tuple[str, Array]]:
        """Copies of all arrays that a step sets."""
        state = [("a result", t.array) for t in tensors_of(result)]
        state += [("a parameter, buffer or state", a) for a in self.compares]
        for node, _ in self.leaves:
            if node.grad is not None:
                state += [("a gradient", a) for a in arrays_of(node.grad)]
        return [(what, self.copy(a)) for what, a in state]


def _condition(guards: Guards, backward: Backward | None) -> Callable[[], bool]:
    """Whether all guards hold, and no backward pass is outstanding; arguments apart."""
    if backward is None:
        return guards.hold
    return lambda: backward.call() is None and guards.hold()


def _close(a: Array, b: Array) -> bool:
    """Whether two arrays differ at most as sums in different orders do."""
    x, y = tensor_of(a), tensor_of(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if backend.same_bits(a, b):
        return True
    if not x.is_floating_point():
        return False
    x, y = x.double(), y.double()
    return bool(((x - y).abs() <= 1e-2 * y.abs().max()).logical_or(x.isnan() & y.isnan()).all())


def _version(grad: Any) -> list[Any]:
    version: list[Any] = grad.values.version if isinstance(grad, RowGrad) else grad.version
    return version


def _versions(recorder: Recorder) -> list[tuple[list[Any], int]]:
    """The versions that a replay must count up, each with its increment."""
    counts: dict[int, tuple[list[Any], int]] = {}
    for array, version in recorder.versions:
        if not recorder.trace.made(array):
            counts[id(version)] = (version, counts.get(id(version), (version, 0))[1] + 1)
    return list(counts.values())

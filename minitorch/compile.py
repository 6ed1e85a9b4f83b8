"""compile: a training step is recorded once and then replayed with no graph building.

A step is recorded by running it, while a recorder stands in for the entries of all ops and is told
what the step does beside calling them (`backend.recording`). What a replay relies on is looked at
before each one; where it has changed, the step is recorded anew.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import update_wrapper
from itertools import chain
from math import copysign
from operator import attrgetter, is_
from threading import RLock
from typing import Any, TypeVar, overload
from weakref import ref

from minitorch import backend
from minitorch.autograd import topological
from minitorch.backend import Array
from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.core import dtypes, engine, recording
from minitorch.core.dispatch import Op, intercepted, observers
from minitorch.core.function import Part, result_node
from minitorch.core.grad_mode import grad_mode, no_grad
from minitorch.core.recording import CannotRecord, Recorder, edits, moves, recorders
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor, tensor_of
from minitorch.creation import zeros_like
from minitorch.nn.hooks import BackwardHook
from minitorch.nn.module import Module

__all__ = ["CannotRecord", "CompiledStep", "compile"]

Step = Callable[..., Any]
M = TypeVar("M", bound=Module)
PROGRAMS = 8  # recorded for a step at most: shapes of batches, training and evaluation, ...
OPEN = 4  # calls of one form whose backward pass may be outstanding, and be replays
ATTEMPTS = 5  # in a row that fail, before a step runs eagerly for good
CONSTANTS = (type(None), bool, int, float, complex, str, bytes)

_array, _node = attrgetter("array"), attrgetter("node")


@overload
def compile(  # type: ignore[overload-overlap]  # a model is a function too
    step: M, *, fullgraph: bool = False, verify: int = 0
) -> M: ...
@overload
def compile(step: Step, *, fullgraph: bool = False, verify: int = 0) -> CompiledStep: ...
def compile(step: Step, *, fullgraph: bool = False, verify: int = 0) -> Any:
    """A function that does what `step` does, recorded once and then replayed.

    step: a training step: it may zero gradients, compute a loss of its arguments, call `backward`
    and step optimizers and schedulers. Its arguments are tensors, numbers, strings or None; it
    returns tensors, alone or in tuples, lists and dicts, or None. Or a model, or a function of
    one: where results require grad, their backward pass is recorded as well, for an ordinary loop.
    A compiled model is a model of that class, which shares all attributes with the one given.

        def step(x, y):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        fast = minitorch.compile(step)
        loss = fast(x, y)

    The results equal those of the step, on the CPU bit for bit: parameters, gradients, buffers,
    optimizer states, learning rates, random state and version counters. (On a GPU a graph has our
    own matrix product instead of cuBLAS's, from the first call on.) What differs:

    - Tensors that it returns are copies. Those that backward has reached inside of the step are cut
      off from the tape; others have a gradient, but none of second order (`create_graph`) and no
      tangent. A call whose backward pass is still to come keeps its memory: further ones have
      programs of their own, and beyond OPEN of them run as they are.
    - A gradient that a replay leaves is overwritten by the next one, and its memory, as that of
      all that is computed, is kept; so are large arguments of the last replay.
    - Python code does not run again, but for schedulers and optimizers. What it computes, prints
      or appends is frozen as it was when the step was recorded: other than tensors, it should only
      use what does not change. Noticed are changes of arguments' shapes, dtypes, devices and
      numbers; of attributes of modules that are called, such as `training`; of parameters, other
      tensors, their `requires_grad`, and hooks; of the options of optimizers (the rates may
      change); of grad mode and the defaults for dtype and device. The step is recorded anew then.
    - Other Python values that change (a counter, a global), and work on arrays that passes the ops
      by (a kernel of one's own), are not seen by a replay. The first replay of each recording is
      compared with the step, roughly; where they differ, the step runs as it is from then on.

    A step cannot be recorded that reads a tensor's value into Python (`item()`, `if loss > 1`),
    makes shapes that depend on data (`nonzero`, masks), moves tensors to other devices, changes
    its arguments, leaves a backward pass with hooks of modules to its caller, replaces tensors that
    it uses again, or for which memory is too small. It runs as it is then, which a warning says
    with the reason, once. fullgraph: raise CannotRecord instead.

    verify: run this many of the first replays on both ways, and raise RuntimeError where a result,
    parameter, gradient or random state differs.

    Only one thread at a time can record, and a compiled step runs in one at a time.
    """
    compiled = CompiledStep(step, fullgraph, verify)
    return _compiled_model(step, compiled) if isinstance(step, Module) else compiled


def _compiled_model(model: Module, compiled: CompiledStep) -> Module:
    """A model that is the given one, attribute for attribute, but for its calls and copies."""
    kind = type(model)

    def again(other: Module) -> Module:
        return compile(other, fullgraph=compiled._fullgraph, verify=compiled._verify)

    names: dict[str, Any] = {
        "__call__": lambda self, *args, **kwargs: compiled(*args, **kwargs),
        "__copy__": lambda self: again(copy(model)),
        "__deepcopy__": lambda self, memo: again(deepcopy(model, memo)),
        **{name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")},
        **{name: _shown(compiled, name) for name in ("recordings", "replays", "reason")},
    }
    twin: Module = object.__new__(type(kind.__name__, (kind,), names))
    object.__setattr__(twin, "__dict__", model.__dict__)
    return twin


def _shown(compiled: CompiledStep, name: str) -> property:
    return property(lambda self: getattr(compiled, name))


class CompiledStep:
    """What `compile` returns: call it like the step."""

    def __init__(self, step: Step, fullgraph: bool, verify: int) -> None:
        if not callable(step):
            raise TypeError(f"compile: step: expected a function, got {type(step).__name__}")
        if not isinstance(verify, int) or verify < 0:
            raise ValueError(f"compile: verify: expected a count, got {verify!r}")
        update_wrapper(self, step, updated=())
        self._step = step
        self._fullgraph = fullgraph
        self._verify = verify
        self._programs: list[Program] = []
        self._failures = 0  # recordings in a row that are of no use
        self._warm = False  # whether the step has been run
        self._fresh = False  # whether it was just run as it is, to be recorded the next time
        self._lock = RLock()
        self.recordings = 0
        self.replays = 0
        self.reason: str | None = None  # why it runs as it is

    def __getattr__(self, name: str) -> Any:
        """What a function or callable object has beside its call."""
        if name == "_step":  # in a copy that is being made
            raise AttributeError(name)
        return getattr(self._step, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.reason is not None or (recorders and recording.busy()):
            return self._step(*args, **kwargs)
        if observers:
            return self._as_it_is(args, kwargs)
        with self._lock:
            if self._programs and not kwargs:  # the most common case first
                program = self._programs[0]
                arrays = program.take(args)
                if arrays is not None and program.holds():
                    if program.compared and self.replays >= self._verify:
                        self.replays += 1
                        return program.replay(arrays)
                    return self._replay(program, arrays, args, kwargs)
            given = Nest((args, kwargs), "an argument is")
            if given.problem is not None:
                return self._give_up(given.problem, args, kwargs)
            fitting = [p for p in self._programs if given.same_form(p.given)]
            for program in fitting:
                if program.holds():
                    self._programs.remove(program)
                    self._programs.insert(0, program)
                    return self._replay(program, given.arrays, args, kwargs)
            if sum(map(Program.is_open, fitting)) >= OPEN:
                return self._as_it_is(args, kwargs)
            if (not self._warm or fitting) and not self._fresh:
                self._warm = self._fresh = True
                return self._as_it_is(args, kwargs)
            self._fresh = False
            return self._record(given, args, kwargs)

    def _as_it_is(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the step, to the bits of a replay."""
        with _serving(Nest((args, kwargs), "").arrays).as_recorded():
            return _finished(self._step(*args, **kwargs))

    def _replay(self, program: Program, arrays: list[Array], args: Any, kwargs: Any) -> Any:
        self.replays += 1
        exact = self.replays <= self._verify
        if not exact and program.compared:
            return program.replay(arrays)
        with _serving(arrays).as_recorded():
            result, differs = program.verified(arrays, lambda: self._step(*args, **kwargs), exact)
        if differs is not None:
            reason = f"a replay differs from the step in {differs}: "
            if exact:
                raise RuntimeError(f"compile: {reason}does the step use Python values that change?")
            self._explain(
                f"{reason}it uses Python values that change, or works on arrays past the ops"
            )
        return result

    def _record(self, given: Nest, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        serving = _serving(given.arrays)
        if serving.recorder is None:
            return self._give_up(f"device '{serving.name}' has no recorder", args, kwargs)
        with recording.recording_lock:
            recorder: Recorder = serving.recorder()
            recorder.strict = self._fullgraph
            inputs = [recorder.copy(a) for a in given.arrays]
            grad_enabled = grad_mode.enabled
            args, kwargs = given.filled(inputs)
            lacking = ""
            try:
                with _recorded_by(recorder, serving), serving.as_recorded():
                    result = self._step(*args, **kwargs)
                    backward = Backward(recorder, result, self._lock)
            except (backend.OutOfMemoryError, MemoryError) as error:
                lacking = str(error)
                self._explain(f"there is too little memory to record it: {lacking}")
                if not recorder.undo():
                    raise
            if lacking:  # what the recorder and the error held is free again
                return _finished(self._step(*args, **kwargs))
            self.recordings += 1
            program = Program(recorder, given, inputs, result, grad_enabled, backward)
        if program.problem is None:
            result = program.first()
            given.arrays = []  # replays have their own
            self._programs.insert(0, program)
            del self._programs[PROGRAMS:]
            self._failures = 0
        else:
            self._failures += 1
            if program.problem.lasting or self._failures == ATTEMPTS:
                self._explain(program.problem.text)
            result = _finished(result)
        return result

    def _explain(self, reason: str) -> None:
        """Run the step as it is from now on."""
        if self._fullgraph:
            raise CannotRecord(reason)
        self.reason = reason
        self._programs = []
        name = getattr(self._step, "__qualname__", type(self._step).__qualname__)
        warnings.warn(
            f"minitorch.compile: {name} runs without being compiled: {reason}",
            UserWarning,
            stacklevel=4,
        )

    def _give_up(self, reason: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._explain(reason)
        return self._step(*args, **kwargs)


# ---------------------------------------------------------------------- arguments and results
class Nest:
    """Tensors in tuples, lists and dicts, among constants: their arrays, and all the rest.

    problem: why it is not that, where it is not; it begins with `what`.
    """

    def __init__(self, value: Any, what: str, constants: tuple[type, ...] = CONSTANTS) -> None:
        self.tensors: list[Tensor] = []
        self.problem: str | None = None
        self._what = what
        self._constants = constants
        self.form = self._take(value)
        self.arrays = [t.array for t in self.tensors]
        self.kinds = [kind_of(a) for a in self.arrays]

    def _take(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.node is not None and self._constants is CONSTANTS:
                self.problem = f"{self._what} a tensor that requires grad; pass it detached"
            self.tensors.append(value)
            return Place(len(self.tensors) - 1)
        if type(value) in (tuple, list) or _is_named(value):
            return _rebuilt(value, [self._take(v) for v in value])
        if type(value) is dict:
            return {k: self._take(v) for k, v in value.items()}
        if type(value) not in self._constants:
            names = ", ".join(t.__name__ for t in self._constants)
            self.problem = (
                f"{self._what} of type {type(value).__name__}; expected tensors and constants "
                f"({names}), also in tuples, lists and dicts"
            )
        return value

    def same_form(self, other: Nest) -> bool:
        """Whether the same tensors stand in the same places, among equal numbers and strings."""
        return self.kinds == other.kinds and alike(self.form, other.form)

    def filled(self, arrays: Sequence[Array], copy: Callable[[Array], Array] | None = None) -> Any:
        """The nest with new tensors of other arrays, or of copies of them."""
        return _fill(self.form, [tensor_of(copy(a) if copy else a) for a in arrays])


class Place:
    """Stands for the i-th tensor."""

    __slots__ = ("i",)

    def __init__(self, i: int) -> None:
        self.i = i

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.i == other.i

    def __hash__(self) -> int:
        return hash(self.i)


def alike(a: Any, b: Any) -> bool:
    """Equal in value, sign and type, all the way down (1 is not True, nor 1.0); nan is itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(alike, a.values(), b.values()))
    if a is b:
        return True
    return bool(a == b) and (type(a) is not float or copysign(1, a) == copysign(1, b))


def _is_named(value: Any) -> bool:
    """Whether this is a named tuple, as `max` along a dimension gives one."""
    return isinstance(value, tuple) and hasattr(value, "_make")


def _rebuilt(like: Any, items: list[Any]) -> Any:
    """A tuple, named tuple or list like this one, of other items."""
    return type(like)._make(items) if _is_named(like) else type(like)(items)


def kind_of(a: Array) -> tuple[Any, ...]:
    """What of an argument a program depends on, beside its values."""
    return type(a), a.shape, a.dtype, a.strides, backend.of(a).index(a)


def _finished(result: Any) -> Any:
    """What a step returns, cut off from the tape where backward is over."""
    nest = Nest(result, "")
    return _fill(
        nest.form, [tensor_of(t.array, t.node if _is_open(t) else None) for t in nest.tensors]
    )


def _is_open(x: Tensor) -> bool:
    """Whether backward may still begin here: nothing is freed that it needs."""
    return x.node is not None and all(
        node.op is None or node.saved is not None for node in topological([x.node])
    )


def _fill(form: Any, tensors: Sequence[Tensor]) -> Any:
    """A form with tensors in its places."""
    if type(form) is Place:
        return tensors[form.i]
    if isinstance(form, (tuple, list)):
        return _rebuilt(form, [_fill(v, tensors) for v in form])
    if type(form) is dict:
        return {k: _fill(v, tensors) for k, v in form.items()}
    return form


# ---------------------------------------------------------------------- recording
@contextmanager
def _recorded_by(recorder: Recorder, serving: backend.Backend) -> Iterator[None]:
    """Let the recorder stand before the entries of all ops."""

    def wrap(op: Op, array_type: type, entry: Callable[..., Any]) -> Callable[..., Any]:
        if array_type is serving.array_type:
            return recorder.stand_in(op.name, entry)
        return recorder.stranger(op.name, entry, backend.of_type(array_type).name)

    with intercepted(wrap, records=True):
        recorders.append(recorder)
        try:
            yield
        finally:
            recorders.remove(recorder)


def _serving(arrays: Sequence[Array]) -> backend.Backend:
    """The backend that a step is recorded on: its arguments', or the default one."""
    return backend.of(arrays[0]) if arrays else backend.resolve(None)[0]


class Problem:
    """Why a recording is of no use. lasting: so it will be the next time."""

    def __init__(self, text: str, lasting: bool = True) -> None:
        self.text = text
        self.lasting = lasting


class Backward:
    """The backward pass of a step's results that are still open, recorded behind the step.

    As an op of the tape it replays that pass for the gradients of the results.
    """

    name = "compiled"
    family = "function"
    reference = None
    view = False

    def __init__(self, recorder: Recorder, result: Any, lock: Any) -> None:
        self._lock = lock  # of the calls
        self.start = len(recorder.items)
        found = Nest(result, "").tensors
        self.roots = [i for i, t in enumerate(found) if _is_open(t)]
        nodes = [found[i].node for i in self.roots]
        order = topological(nodes)  # type: ignore[arg-type]
        self.parents = [n for n in order if n.op is None]
        self.seeds = [recorder.copy(found[i].array) for i in self.roots]
        seeds = [(node, tensor_of(seed)) for node, seed in zip(nodes, self.seeds)]
        hooks = [(p, p.hooks) for p in self.parents]  # they are run when the gradients arrive
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
        for node in order:  # of the call that is recorded, whose backward pass runs as it is
            if type(node.params) is dict:
                node.params = {k: recording.now(v) for k, v in node.params.items()}

    def problem(self, recorder: Recorder) -> str | None:
        """What stands against a replay."""
        if any(item.written for item in self._calls(recorder)):
            return "its backward pass changes tensors in place"
        if any(isinstance(item, recording.HostWork) for item in recorder.items[self.start :]):
            return "its backward pass has work for the host"
        return None

    def _calls(self, recorder: Recorder) -> list[recording.Call]:
        return [i for i in recorder.items[self.start :] if isinstance(i, recording.Call)]

    def finish(
        self, recorder: Recorder, kept: list[Array], inputs: list[Array], held: list[Tensor]
    ) -> tuple[Any, list[Array]]:
        """Build both passes; the replay of the step, and where it leaves those of `kept`.

        What the backward pass reads of the step stays in place until its next replay.
        """
        items, forward = recorder.items, recorder.items[: self.start]
        makers = {id(item) for item in forward}
        grads = list(chain.from_iterable(_arrays_of(g) for g in self.grads if g is not None))
        read = {
            id(a): a for c in self._calls(recorder) for a in recorder.arrays((c.args, c.params))
        }
        read |= {id(a): a for a in grads}
        crossing = [
            a for a in read.values() if id(recorder.makers.get(recorder.memory(a))) in makers
        ]
        memories = set(map(recorder.memory, read.values()))
        self.versions = [t.version for t in held if recorder.memory(t.array) in memories]
        recorder.items = forward
        replay, places = recorder.build([*kept, *crossing], inputs)
        recorder.items = items[self.start :]
        known = {id(a): place for a, place in zip(crossing, places[len(kept) :])}
        pull, found = recorder.build(grads, self.seeds, known)
        recorder.items = items
        self._pull, self._copy, self._write = pull.run, recorder.copy, recorder.write
        self._held = places, found
        standing = iter(found)
        self.grads = [_standing(g, standing) for g in self.grads]
        self._zeros = [zeros_like(tensor_of(seed)) for seed in self.seeds]
        self.call: Callable[[], Any] = lambda: None  # a weak reference to what the last call saved
        return replay, places[: len(kept)]

    def connect(self, tensors: list[Tensor], recorded: Sequence[Tensor] = ()) -> list[Tensor]:
        """Copies of a call's results, on the tape. recorded: the results, if it was no replay."""
        saved = _Saved(self.versions)
        self.call = ref(saved)
        nodes = [recorded[i].node for i in self.roots] if recorded else self.parents
        common = Node(_passing if recorded else self, tuple(nodes), saved, None, ())
        for i, place in enumerate(self.roots):
            tensors[place] = tensor_of(tensors[place].array, result_node(common, i, tensors[place]))
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
        return _standing(grad, iter([self._copy(a) for a in _arrays_of(grad)]))


def _has_inner_hooks(nodes: Iterable[Node], recorder: Recorder) -> bool:
    """Whether a backward pass calls hooks other than those of leaves."""
    modules = [thing for thing, _ in recorder.things.values() if isinstance(thing, Module)]
    entries = [hook for m in modules for hook, _ in m._forward_pre_hooks.values()]
    return any(isinstance(hook, BackwardHook) for hook in entries) or any(
        node.hooks for node in nodes if node.op is not None
    )


class _Passing:
    """As an op of the tape: the graph of the call that was recorded stands behind it."""

    name = "compiled"
    family = "function"
    reference = None
    view = False

    def vjp(self, node: Node, g: Part) -> list[Any]:
        """The gradients of the results."""
        return [g.parts.get(i) for i in range(len(node.parents))]

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        """The tangents of the results."""
        return tuple(tangents)


_passing = _Passing()


class _Saved:
    """What the node of a call saves: which values its memory was computed from."""

    __slots__ = ("__weakref__", "_counts", "_versions")

    def __init__(self, versions: list[list[Any]]) -> None:
        self._versions = versions
        self._counts = [version[0] for version in versions]

    def is_current(self) -> bool:
        return [version[0] for version in self._versions] == self._counts


class Program:
    """A recorded step, what its replay relies on, and what it leaves behind."""

    def __init__(
        self,
        recorder: Recorder,
        given: Nest,
        inputs: list[Array],
        result: Any,
        grad_enabled: bool,
        backward: Backward,
    ) -> None:
        self.compared = False  # whether a replay was compared with the step
        self.backward = backward if backward.roots else None
        self.given = given
        self.inputs = inputs
        self.grad_enabled = grad_enabled
        self.environment = _environment()
        self.things = [(thing, thing._given()) for thing, _ in recorder.things.values()]
        self.edits, self.moves = edits[0], moves[0]
        self.looks = [look for thing, _ in self.things for look in _glances(thing)]
        self.seen = [look() for look in self.looks]
        self.leaves: list[Any] = [(node, node.grad) for node, _, _ in recorder.leaves.values()]
        self.entered = [(node, before) for node, reads, before in recorder.leaves.values() if reads]
        self.output = Nest(result, "the step returns a value", (type(None),))
        self.results = self.output.arrays
        self.problem = self._problem(recorder, given)
        if self.problem is None:
            try:
                self._finish(recorder)
            except CannotRecord as error:
                self.problem = Problem(str(error))
            except (backend.OutOfMemoryError, MemoryError) as error:
                self.problem = Problem(f"there is too little memory to record it: {error}")

    def _problem(self, recorder: Recorder, given: Nest) -> Problem | None:
        """What stands against a replay."""
        if recorder.reason is not None:
            return Problem(recorder.reason)
        if self.output.problem is not None:
            return Problem(self.output.problem)
        recorder.analyse()
        if any(map(recorder.changes, [*given.arrays, *self.inputs])):
            return Problem("the step changes one of its arguments in place")
        for (thing, before), (_, after) in zip(recorder.things.values(), self.things):
            if not _same(before, after):
                return Problem(
                    f"attributes, options, states or hooks of {type(thing).__name__} are not the "
                    "same before and after the step",
                    lasting=False,
                )
        rows = [g for _, g in self.entered if isinstance(g, RowGrad)]
        if any(recorder.same_memory(a, recorder.found) for g in rows for a in _arrays_of(g)):
            return Problem("row-sparse gradients of earlier steps are used", lasting=False)
        held = _holders(recorder.found)
        if self.backward is not None and (text := self.backward.problem(recorder)):
            return Problem(text)
        seeds = [] if self.backward is None else self.backward.seeds
        for array in recorder.found:
            known = (*self.inputs, *recorder.constants, *seeds)
            if id(array) not in held and not recorder.same_memory(array, known):
                return Problem(
                    f"a tensor of shape {tuple(array.shape)} that the step uses is replaced by it, "
                    "so that the next step would use another: change it in place (copy_), or pass "
                    "it as an argument",
                    lasting=False,
                )
        self.held = [tensor for tensors in held.values() for tensor in tensors]
        return None

    def _finish(self, recorder: Recorder) -> None:
        """Build the replay, and lists of what is looked at before and set after it."""
        form = self.given.form
        self.plain = form == (tuple(map(Place, range(len(self.inputs)))), {})
        known = {id(t): t for t in self.held}
        for _, values in self.things:
            known |= {id(v): v for v in values if isinstance(v, Tensor)}
        self.tensors = list(known.values())
        self.arrays = [t.array for t in self.tensors]
        self.nodes = [t.node for t in self.tensors]
        self.hooks = _hooks(self.nodes)
        self.carried = [(n, g.array) for n, g in self.entered if isinstance(g, Tensor)]
        grads = [g for _, g in self.leaves if g is not None]
        kept = [*self.results, *chain.from_iterable(map(_arrays_of, grads))]
        self.versions = _versions(recorder)
        self.hosts = [i for i in recorder.items if isinstance(i, recording.HostWork)]
        self.memory = [
            a for i in recorder.items if isinstance(i, recording.Call) for a in i.written
        ]
        self.memory = [a for a in self.memory if not recorder.made(a)]
        carried = [array for _, array in self.carried]
        self.compares = [a for a in self.memory if not recorder.same_memory(a, carried)]
        self.copy = recorder.copy
        self.write = recorder.write
        if self.backward is None:
            replay, places = recorder.build(kept, self.inputs)
            self._bind = replay.bind
        else:
            replay, places = self.backward.finish(recorder, kept, self.inputs, self.held)
            self._bind = lambda i, array: False  # the backward pass reads the inputs as well
        self._run = replay.run
        standing = iter(places)
        self.results = [next(standing) for _ in self.results]
        self.leaves = [(node, _standing(grad, standing)) for node, grad in self.leaves]
        self.versions += [(_version(grad), 1) for _, grad in self.leaves if grad is not None]

    # ---- guards

    def take(self, args: tuple[Any, ...]) -> list[Array] | None:
        """The arrays of arguments that are tensors and fit; None: a closer look is needed."""
        if not self.plain or len(args) != len(self.given.kinds):
            return None
        arrays = []
        for x, (array_type, shape, dtype, strides, index) in zip(args, self.given.kinds):
            if not isinstance(x, Tensor) or x.node is not None:
                return None
            a = x.array
            if (
                type(a) is not array_type
                or a.shape != shape
                or a.dtype is not dtype
                or a.strides != strides
                or (index is not None and backend.of(a).index(a) != index)
            ):
                return None
            arrays.append(a)
        return arrays

    def holds(self) -> bool:
        """Whether all that a replay relies on is as it was, arguments apart."""
        return (
            self.grad_enabled is grad_mode.enabled
            and _equal([look() for look in self.looks], self.seen)
            and (moves[0] == self.moves or self._unmoved())
            and (edits[0] == self.edits or self._unedited())
            and all(_enters(node, before) for node, before in self.entered)
            and not self.is_open()
        )

    def is_open(self) -> bool:
        """Whether the backward pass of the last call is still to come."""
        return self.backward is not None and self.backward.call() is not None

    def _unmoved(self) -> bool:
        """Whether all tensors are as they were."""
        count = moves[0]
        same = all(map(is_, map(_array, self.tensors), self.arrays)) and all(
            map(is_, map(_node, self.tensors), self.nodes)
        )
        if same:
            self.moves = count
        return same

    def _unedited(self) -> bool:
        """Whether modules, hooks, optimizers and defaults are as they were."""
        count = edits[0]
        same = (
            self.environment == _environment()
            and self.hooks == _hooks(self.nodes)
            and all(_same(thing._given(), values) for thing, values in self.things)
        )
        if same:
            self.edits = count
        return same

    # ---- replay

    def replay(self, arrays: Sequence[Array]) -> Any:
        """Do it again with other arguments."""
        for i, array in enumerate(arrays):
            if not self._bind(i, array):
                self.write(self.inputs[i], array)
        for node, array in self.carried:
            if node.grad.array is not array:
                self.write(array, node.grad.array)
        self._run()
        for node, grad in self.leaves:
            node.grad = grad
        for version, n in self.versions:
            version[0] += n
        if self.backward is None and type(self.output.form) is Place:  # the most common form
            return tensor_of(self.copy(self.results[0]))
        return self._output(self.results)

    def first(self) -> Any:
        """What the recorded call returns; replays have their own."""
        tensors = self.output.tensors
        self.output.tensors = self.output.arrays = []
        return self._output([t.array for t in tensors], tensors)

    def _output(self, arrays: Sequence[Array], recorded: Sequence[Tensor] = ()) -> Any:
        """What the step returns, with copies of these arrays."""
        tensors = [tensor_of(self.copy(a)) for a in arrays]
        if self.backward is not None:
            tensors = self.backward.connect(tensors, recorded)
        return _fill(self.output.form, tensors)

    def verified(self, arrays: Sequence[Array], step: Step, exact: bool) -> tuple[Any, str | None]:
        """Replay, then do the step itself from the same state: its result, and what differs.

        Host work is not done twice: the step is given what the replay found. exact: to the bit.
        """
        self.compared = True
        before = [self.copy(a) for a in self.memory]
        grads = [(n, None if n.grad is None else n.grad.clone()) for n, _ in self.leaves]
        mine = self._state(self.replay(arrays))
        for place, array in zip(self.memory, before):
            self.write(place, array)
        for node, grad in grads:
            node.grad = grad
        recorder = recording.Repeater([dict(item.cell) for item in self.hosts])
        with recording.recording_lock:
            recorders.append(recorder)
            try:
                result = step()
            finally:
                recorders.remove(recorder)
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
            return _finished(result), differs
        return self.output.filled(Nest(result, "").arrays, self.copy), differs

    def _state(self, result: Any) -> list[tuple[str, Array]]:
        """Copies of all that a step leaves."""
        state = [("a result", a) for a in Nest(result, "").arrays]
        state += [("a parameter, buffer or state", a) for a in self.compares]
        for node, _ in self.leaves:
            if node.grad is not None:
                state += [("a gradient", a) for a in _arrays_of(node.grad)]
        return [(what, self.copy(a)) for what, a in state]


def _close(a: Array, b: Array) -> bool:
    """Whether two arrays differ by no more than sums in another order might."""
    x, y = tensor_of(a), tensor_of(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if backend.same_bits(a, b):
        return True
    if not x.is_floating_point():
        return False
    x, y = x.double(), y.double()
    return bool(((x - y).abs() <= 1e-2 * y.abs().max()).logical_or(x.isnan() & y.isnan()).all())


def _glances(thing: Any) -> list[Callable[[], Any]]:
    """What of a thing is looked at before every replay."""
    looks: list[Callable[[], Any]] = thing._glances() if hasattr(thing, "_glances") else []
    return looks


def _equal(a: list[Any], b: list[Any]) -> bool:
    try:
        return a == b
    except (RuntimeError, ValueError):  # of tensors or arrays, which are not the same ones then
        return False


def _same(a: list[Any], b: list[Any]) -> bool:
    """The same objects, or equal constants."""
    return len(a) == len(b) and all(
        x is y or (isinstance(x, (*CONSTANTS, tuple)) and alike(x, y)) for x, y in zip(a, b)
    )


def _environment() -> tuple[Any, ...]:
    return (
        dtypes.get_default_dtype(),
        backend.get_default_device(),
        are_deterministic_algorithms_enabled(),
    )


def _hooks(nodes: Sequence[Node | None]) -> list[list[int]]:
    return [list(n.hooks) if n is not None and n.hooks else [] for n in nodes]


def _enters(node: Node, before: Any) -> bool:
    """Whether a leaf's gradient can be taken for the one with which the step was recorded."""
    grad = node.grad
    if before is None or type(grad) is not type(before):
        return before is grad
    return isinstance(grad, RowGrad) or kind_of(grad.array) == kind_of(before.array)


def _arrays_of(grad: Tensor | RowGrad) -> list[Array]:
    parts = (grad.indices, grad.values) if isinstance(grad, RowGrad) else (grad,)
    return [part.array for part in parts]


def _holders(arrays: Iterable[Array]) -> dict[int, list[Tensor]]:
    """The living tensors that hold these very arrays, by the array's id."""
    held: dict[int, list[Tensor]] = {}
    for x in gc.get_referrers(*arrays):
        if isinstance(x, Tensor):
            held.setdefault(id(x.array), []).append(x)
    return held


def _standing(grad: Any, arrays: Iterator[Array]) -> Any:
    """A gradient whose arrays are the next ones."""
    if isinstance(grad, RowGrad):
        return RowGrad(tensor_of(next(arrays)), tensor_of(next(arrays)), grad.shape)
    return None if grad is None else tensor_of(next(arrays))


def _version(grad: Any) -> list[Any]:
    version: list[Any] = grad.values.version if isinstance(grad, RowGrad) else grad.version
    return version


def _versions(recorder: Recorder) -> list[tuple[list[Any], int]]:
    """The versions that a replay must count up, and by how much."""
    counts: dict[int, tuple[list[Any], int]] = {}
    for array, version in recorder.versions:
        if not recorder.made(array):
            counts[id(version)] = (version, counts.get(id(version), (version, 0))[1] + 1)
    return list(counts.values())

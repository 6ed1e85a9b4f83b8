"""`minitorch.compile`: which calls of a step are recorded, replayed, or run as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import update_wrapper
from threading import RLock
from typing import Any, TypeVar, overload

from minitorch import backend, recording
from minitorch.compiler.backward import Backward
from minitorch.compiler.program import Program, TooLittleMemory
from minitorch.compiler.recorder import Recorder
from minitorch.compiler.values import Values, finished
from minitorch.core import dispatch
from minitorch.core.dtypes import Array
from minitorch.core.tensor import tensor_of
from minitorch.nn.module import Module
from minitorch.recording import CannotRecord

Step = Callable[..., Any]
M = TypeVar("M", bound=Module)
PROGRAMS = 8  # recorded for a step at most: shapes of batches, training and evaluation, ...
OPEN = 4  # replays with an outstanding backward pass, for arguments of the same kinds
ATTEMPTS = 5  # failures in a row, before a step runs eagerly for good


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
    optimizer states, learning rates, random state and version counters. What differs:

    - Tensors that it returns are copies. Those that backward has reached inside of the step are cut
      off from the tape; others have a gradient, but none of second order (`create_graph`) and no
      tangent. A call whose backward pass is still to come keeps its memory: further ones have
      programs of their own, and beyond OPEN of them run as they are.
    - Each replay overwrites the gradients of the last one. The program holds the memory of all
      results, and that of the last replay's large arguments.
    - Python code does not run again, except schedulers and optimizers. Whatever else it computes,
      prints or appends is frozen at the recording, so that a step should read nothing that changes
      but tensors. The step is recorded anew when one of these changes: the shapes, dtypes, devices
      and numbers of arguments; attributes of modules that are called, such as `training`;
      parameters, other tensors, their `requires_grad`, and hooks; options of optimizers (learning
      rates may change); grad mode, and the defaults for dtype and device.
    - A replay does not see other Python values that change (a counter, a global), nor work on
      arrays without ops (a kernel of one's own). The first replay of each recording is compared
      roughly with the step; if they differ, the step runs eagerly from then on.

    A step cannot be recorded if it reads a tensor's value into Python (`item()`, `if loss > 1`),
    makes shapes that depend on data (`nonzero`, masks), moves tensors to other devices, changes
    its arguments, leaves a backward pass with hooks of modules to its caller, replaces tensors that
    it uses again, or needs more memory than there is. It then runs eagerly, and one warning gives
    the reason. fullgraph: raise CannotRecord instead.

    verify: compare this many of the first replays with the step, and raise RuntimeError if a
    result, parameter, gradient or random state differs.

    Only one thread at a time can record, and a compiled step runs in one at a time.
    """
    compiled = CompiledStep(step, fullgraph, verify)
    return _compiled_model(step, compiled) if isinstance(step, Module) else compiled


def _compiled_model(model: Module, compiled: CompiledStep) -> Module:
    """A model that shares all attributes with the given one, but not its calls and copies."""
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
    """The result of `compile`: call it like the step."""

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
        self._proven: Program | None = None  # the last one replayed, if that needs no comparison
        self._failures = 0  # useless recordings in a row
        self._warm = False  # whether the step has been run
        self._fresh = False  # whether the last call ran eagerly, so that the next one records
        self._lock = RLock()
        self.recordings = 0
        self.replays = 0
        self.reason: str | None = None  # why the step runs eagerly

    def __getattr__(self, name: str) -> Any:
        """The other attributes of the function or callable object."""
        if name == "_step":  # `copy` asks before `_step` is set
            raise AttributeError(name)
        return getattr(self._step, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.reason is not None or (recording.recorder and recording.busy()):
            return self._step(*args, **kwargs)
        if dispatch.observed:
            return finished(self._step(*args, **kwargs))
        with self._lock:
            program = self._proven
            if program is not None and not kwargs:  # the most common case first
                arrays = program.take(args)
                if arrays is not None:
                    self.replays += 1
                    return program.replay(arrays)
            given = Values((args, kwargs), "an argument is")
            if given.problem is not None:
                return self._give_up(given.problem, args, kwargs)
            fitting = [p for p in self._programs if given.fits(p.given)]
            for program in fitting:
                if program.holds():
                    self._programs.remove(program)
                    self._programs.insert(0, program)
                    return self._replay(program, given.arrays, args, kwargs)
            if sum(map(Program.is_open, fitting)) >= OPEN:
                return finished(self._step(*args, **kwargs))
            if (not self._warm or fitting) and not self._fresh:
                self._warm = self._fresh = True
                return finished(self._step(*args, **kwargs))
            self._fresh = False
            return self._record(given, args, kwargs)

    def _replay(self, program: Program, arrays: list[Array], args: Any, kwargs: Any) -> Any:
        self.replays += 1
        exact = self.replays <= self._verify
        if not exact and program.compared:
            self._proven = program
            return program.replay(arrays)
        context = None
        try:
            result, differs = program.verified(arrays, lambda: self._step(*args, **kwargs), exact)
        except TooLittleMemory as error:
            lacking, context = str(error), error.context
        if context is not None:  # the error no longer holds memory
            program.release()
            self._explain(f"there is too little memory to compare a replay with it: {lacking}")
            with recording.lock, context:
                return finished(self._step(*args, **kwargs))
        if differs is not None:
            reason = f"a replay differs from the step in {differs}: "
            if exact:
                raise RuntimeError(f"compile: {reason}does the step use Python values that change?")
            self._explain(
                f"{reason}it uses Python values that change, or works on arrays past the ops"
            )
        return result

    def _record(self, given: Values, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        serving = _serving(given.arrays)
        if serving.trace is None:
            return self._give_up(f"device '{serving.name}' cannot record", args, kwargs)
        with recording.lock:
            recorder = Recorder(serving.trace(), self._step, self._fullgraph)
            inputs = [recorder.trace.copy(a) for a in given.arrays]
            args, kwargs = given.filled([tensor_of(a) for a in inputs])
            lacking = ""
            try:
                with recorder.at_work():
                    result = self._step(*args, **kwargs)
                    backward = Backward(recorder, result, self._lock)
            except (backend.OutOfMemoryError, MemoryError) as error:
                lacking = str(error)
                self._explain(f"there is too little memory to record it: {lacking}")
                if not recorder.undo():
                    raise
            if lacking:  # the recorder and the error no longer hold memory
                return finished(self._step(*args, **kwargs))
            self.recordings += 1
            program = Program(recorder, given, inputs, result, backward)
        first = program.first()
        if program.problem is None:
            result = first
            given.tensors = given.arrays = []  # replays have arrays of their own
            self._programs.insert(0, program)
            del self._programs[PROGRAMS:]
            self._proven = None
            self._failures = 0
        else:
            self._failures += 1
            if program.problem.lasting or self._failures == ATTEMPTS:
                self._explain(program.problem.text)
            result = finished(result)
        return result

    def _explain(self, reason: str) -> None:
        """Run the step eagerly from now on, for this reason."""
        if self._fullgraph:
            raise CannotRecord(reason)
        self.reason = reason
        self._programs, self._proven = [], None
        name = getattr(self._step, "__qualname__", type(self._step).__qualname__)
        warnings.warn(
            f"minitorch.compile: {name} runs without being compiled: {reason}",
            UserWarning,
            stacklevel=4,
        )

    def _give_up(self, reason: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._explain(reason)
        return self._step(*args, **kwargs)


def _serving(arrays: Sequence[Array]) -> backend.Backend:
    """The backend of the recording: that of the arguments, or the default one."""
    return backend.of(arrays[0]) if arrays else backend.resolve(None)[0]

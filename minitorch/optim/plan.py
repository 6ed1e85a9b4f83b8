"""The plan of an optimizer's step for a group, made once and reused while its guards hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter, itemgetter, setitem
from typing import Any, NamedTuple

from minitorch import backend, recording, underived
from minitorch.core.dtypes import Array
from minitorch.core.pytree import exhaust
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.optim.flat import GRAD, PARAM, Slot

Group = dict[str, Any]
State = dict[str, Any]


class UpdateRule(NamedTuple):
    """An optimizer's update rule for dense gradients.

    op: made by `underived.update`; its columns are parameters and states, its options are
    `static` and `numbers` of the group's `options`, among which "lr" is the first.
    states: the names of all columns; those that a group does not use are empty.
    counts: whether the steps of a parameter are counted in its state. varying: the op's options
    that differ from step to step: "step", its number, and "first", whether the states are new.
    """

    op: Callable[..., None]
    states: tuple[str, ...]
    options: tuple[str, ...]
    numbers: Callable[[dict[str, Any]], dict[str, Any]] = dict
    counts: bool = True
    varying: tuple[str, ...] = ()
    static: dict[str, Any] = {}  # noqa: RUF012  (never changed)


class Member(NamedTuple):
    """A parameter of a bucket: the index of its gradient, its state, its slot in a flat buffer."""

    param: Tensor
    grad: int
    state: State
    slot: Slot | None


class Bucket:
    """Parameters of one dtype, device and step count, which one call of the rule updates.

    Neighbours in a flat buffer are one item of the call, which first copies their gradients there.
    """

    def __init__(
        self,
        rule: UpdateRule,
        group: Group,
        used: Sequence[str],
        members: list[Member],
        first: bool,
    ) -> None:
        self.rule, self.group, self.used, self.first = rule, group, used, first
        with_state = members if used or rule.counts else []
        self.params = [m.param for m in with_state]
        self.states = [m.state for m in with_state]
        self.held = [
            m.state[name] for m in members for name in used
        ]  # alive, so that their ids stay unique
        self.before = self._guards()
        self.buffered: list[Tensor] = []  # parameters that the call reaches through a buffer
        self.homes: list[Tensor] = []  # the copies of gradients in a buffer
        self.copied: list[int] = []  # the indices of those gradients
        self.sources: list[int | Tensor] = []  # the gradients of the call
        self.columns: tuple[list[Tensor], ...] = ([], *[[] for _ in rule.states])
        for run in _runs(members):
            self._append(run, used)
        self.kernels = getattr(rule.op, "kernels", None)
        self.read = partial(itemgetter(*rule.options), group)
        self.given: tuple[Any, ...] = ()  # the options of the last step
        self.numbers: dict[str, Any] = {}  # made of them
        self.arrays = [_arrays(column) for column in self.columns]
        self.home_arrays = _arrays(self.homes)
        self.written = [x for column in self.columns for x in column]

    def _append(self, run: list[Member], used: Sequence[str]) -> None:
        first, last = run[0], run[-1]
        params, *states = self.columns
        if len(run) == 1 or first.slot is None or last.slot is None:
            params.append(first.param)
            self.sources.append(first.grad)
            for name, column in zip(self.rule.states, states, strict=True):
                if name in used:
                    column.append(first.state[name])
            return
        buffer, (i, j) = first.slot[0], (first.slot[1], last.slot[1])
        homes = buffer.column(GRAD)[i : j + 1]
        self.buffered += [m.param for m in run]
        self.homes += [tensor_of(home) for home in homes]
        self.copied += [m.grad for m in run]
        params.append(buffer.run(PARAM, i, j))
        self.sources.append(buffer.run(GRAD, i, j))
        for name, column in zip(self.rule.states, states, strict=True):
            if name in used:
                column.append(buffer.run(name, i, j))

    def _guards(self) -> list[Any]:
        """The guards of the states: the ids of their tensors and arrays."""
        found: list[Any] = []
        for name in self.used:
            column = list(map(itemgetter(name), self.states))
            found += map(id, column)
            found += map(id, _arrays(column))
        return found

    def holds(self, state: dict[Tensor, State]) -> bool:
        """Whether the states are still the same tensors, with one step count."""
        states = self.states
        if list(map(id, map(state.get, self.params))) != list(map(id, states)):
            return False
        try:
            if self.used and self._guards() != self.before:
                return False
            ages = list(map(_step, states)) if self.rule.counts else []
        except (KeyError, AttributeError):  # a state is missing
            return False
        return not ages or ages.count(ages[0]) == len(ages)

    def run(self, grads: Sequence[Tensor], skip: Tensor | None = None) -> None:
        """Change the parameters. skip: see `skipping`."""
        static = {**self.rule.static, **skipping(skip)}
        given = [s if isinstance(s, Tensor) else grads[s] for s in self.sources]
        copied = [grads[i] for i in self.copied]
        if recording.recorder or self.kernels is None:
            parts = (self.homes, copied) if copied else ()
            self.rule.op(self.columns, (given, *parts), dynamic=self.dynamic, **static)
            return
        # The same call, with the arrays that were looked up before.
        columns = [*self.arrays, _arrays(given)]
        if copied:
            columns += (self.home_arrays, _arrays(copied))
        underived.run_update(self.kernels, columns, {**self.dynamic(), **static})
        for x in self.written:
            x.version[0] += 1

    def dynamic(self) -> dict[str, Any]:
        """Count the step, also in the versions of buffered parameters; returns its numbers.

        A replay calls it: `map` of a setter runs no Python code for each parameter.
        """
        rule, given, numbers = self.rule, self.read(), self.numbers
        if type(given[0]) is not float or given != self.given:
            self.given = given
            self.numbers = numbers = rule.numbers(options(self.group, rule.options))
        if rule.counts:
            step = self.states[0]["step"] + 1
            exhaust(map(setitem, self.states, _STEPS, repeat(step)))
            if rule.varying:
                numbers["step"] = step
        elif rule.varying:
            numbers["first"], self.first = self.first, False
        if self.buffered:
            for p in self.buffered:
                p.version[0] += 1
        return numbers


def skipping(skip: Tensor | None) -> dict[str, Any]:
    """The option of an update for a step that the device may skip: see `backend.cpu.optim`."""
    return {} if skip is None else {"skip": skip.array}


def _runs(members: list[Member]) -> list[list[Member]]:
    """The members in runs, whose slots are next to each other."""
    runs: list[list[Member]] = []
    after: Slot | None = None
    for m in members:
        if after is not None and m.slot == after:
            runs[-1].append(m)
        else:
            runs.append([m])
        after = None if m.slot is None else (m.slot[0], m.slot[1] + 1)
    return runs


class Plan:
    """The buckets of a group, for parameters with these arrays and kinds of gradients."""

    def __init__(self, group: Group, used: tuple[str, ...]) -> None:
        self.group, self.used = group, used
        self.params: list[Tensor] = list(
            group["params"]
        )  # and arrays: alive, so that ids stay unique
        self.arrays = _arrays(self.params)
        grads = _grads(self.params)
        self.before = self._guards(self.params, grads)
        self.rows = [i for i, g in enumerate(grads) if isinstance(g, RowGrad)]
        self.dense = [i for i, g in enumerate(grads) if isinstance(g, Tensor)]
        self.buckets: list[Bucket] = []

    @staticmethod
    def _guards(params: list[Tensor], grads: list[Any]) -> list[Any]:
        return [*map(id, params), *map(id, _arrays(params)), *map(type, grads)]

    def grads(
        self, group: Group, used: tuple[str, ...], state: dict[Tensor, State]
    ) -> tuple[list[Tensor], list[tuple[Tensor, RowGrad]]] | None:
        """The dense and the row-sparse gradients; None where a guard of the plan fails."""
        params = group["params"]
        grads = _grads(params)
        if (
            group is not self.group
            or used != self.used
            or self._guards(params, grads) != self.before
        ):
            return None
        for bucket in self.buckets:
            if not bucket.holds(state):
                return None
        rows = [(params[i], grads[i]) for i in self.rows] if self.rows else []
        return grads if len(self.dense) == len(grads) else [grads[i] for i in self.dense], rows


def number(value: Any) -> Any:
    """The value of a number or a tensor of one element; a recorder does not see the read."""
    if not isinstance(value, Tensor):
        return value
    return backend.of(value.array).to_host(value.array).item()


def options(group: Group, names: Sequence[str]) -> dict[str, Any]:
    """The options of these names, as an op takes them."""
    found = dict(zip(names, map(group.__getitem__, names)))
    if isinstance(found.get("lr"), Tensor):
        found["lr"] = number(found["lr"])
    return found


_STEPS = repeat("step")
_arrays_of, _grad_of, _step = attrgetter("array"), attrgetter("node.grad"), itemgetter("step")


def _arrays(tensors: Iterable[Tensor]) -> list[Array]:
    """The arrays of the tensors; `map` of a getter runs no Python code for each."""
    return list(map(_arrays_of, tensors))


def _grads(params: Iterable[Tensor]) -> list[Any]:
    """A gradient or None of each parameter."""
    try:
        return list(map(_grad_of, params))
    except AttributeError:  # a parameter is not tracked
        return [getattr(p, "_grad", None) if p.node is None else p.node.grad for p in params]

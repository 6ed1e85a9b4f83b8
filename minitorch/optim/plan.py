"""What an optimizer's step does for a group, worked out once and repeated while nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from minitorch import recording, underived
from minitorch.core.dtypes import Array
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.optim.flat import GRAD, PARAM, Place

Group = dict[str, Any]
State = dict[str, Any]


class Rule(NamedTuple):
    """An optimizer's rule for dense gradients.

    op: made by `underived.update`; its columns are parameters and states, its parameters `static`
    and what `numbers(group, step, first)` gives: the number of the step, and whether states are
    new.
    states: the names of all columns; those that a group does not use are empty. counts: whether
    the steps of a parameter are counted in its state.
    """

    op: Callable[..., None]
    states: tuple[str, ...]
    numbers: Callable[[Group, int, bool], dict[str, Any]]
    counts: bool = True
    static: dict[str, Any] = {}  # noqa: RUF012  (never changed)


class Member(NamedTuple):
    """A parameter of a batch: the number of its gradient, its state, its place in a pack."""

    param: Tensor
    grad: int
    state: State
    place: Place | None


class Batch:
    """Parameters of one dtype, device and age: one call of the rule.

    Neighbours in a pack are one item of the call, which first copies their gradients together.
    """

    def __init__(
        self, rule: Rule, group: Group, used: Sequence[str], members: list[Member], first: bool
    ) -> None:
        self.rule, self.group, self.used, self.first = rule, group, used, first
        with_state = members if used or rule.counts else []
        self.params = [m.param for m in with_state]
        self.states = [m.state for m in with_state]
        self.held = [m.state[name] for m in members for name in used]  # their ids stay theirs
        self.before = self._looks()
        self.packed: list[Tensor] = []  # parameters that the call reaches through a buffer
        self.homes: list[Tensor] = []  # where gradients are copied, and which
        self.copied: list[int] = []
        self.sources: list[int | Tensor] = []  # the gradients of the call
        self.columns: tuple[list[Tensor], ...] = ([], *[[] for _ in rule.states])
        for run in _runs(members):
            self._append(run, used)
        self.kernels = getattr(rule.op, "kernels", None)
        self.arrays = [_arrays(column) for column in self.columns]
        self.home_arrays = _arrays(self.homes)
        self.written = [x for column in self.columns for x in column]

    def _append(self, run: list[Member], used: Sequence[str]) -> None:
        first, last = run[0], run[-1]
        params, *states = self.columns
        if len(run) == 1 or first.place is None or last.place is None:
            params.append(first.param)
            self.sources.append(first.grad)
            for name, column in zip(self.rule.states, states, strict=True):
                if name in used:
                    column.append(first.state[name])
            return
        pack, (i, j) = first.place[0], (first.place[1], last.place[1])
        homes = pack.column(GRAD)[i : j + 1]
        self.packed += [m.param for m in run]
        self.homes += [tensor_of(home) for home in homes]
        self.copied += [m.grad for m in run]
        params.append(pack.run(PARAM, i, j))
        self.sources.append(pack.run(GRAD, i, j))
        for name, column in zip(self.rule.states, states, strict=True):
            if name in used:
                column.append(pack.run(name, i, j))

    def _looks(self) -> list[Any]:
        """What tells whether the states' tensors and their memory are still the same ones."""
        found: list[Any] = []
        for name in self.used:
            column = list(map(itemgetter(name), self.states))
            found += map(id, column)
            found += map(id, _arrays(column))
        return found

    def stands(self, state: dict[Tensor, State]) -> bool:
        """Whether the states are still the same, and of one age."""
        states = self.states
        if list(map(id, map(state.get, self.params))) != list(map(id, states)):
            return False
        try:
            if self.used and self._looks() != self.before:
                return False
            ages = list(map(_step, states)) if self.rule.counts else []
        except (KeyError, AttributeError):  # a state is gone
            return False
        return not ages or ages.count(ages[0]) == len(ages)

    def run(self, grads: Sequence[Tensor]) -> None:
        """Change the parameters."""
        given = [s if isinstance(s, Tensor) else grads[s] for s in self.sources]
        copied = [grads[i] for i in self.copied]
        if recording.recorder or self.kernels is None:
            parts = (self.homes, copied) if copied else ()
            self.rule.op(self.columns, (given, *parts), live=self.live, **self.rule.static)
            return
        # The same call without asking again which arrays these are.
        columns = [*self.arrays, _arrays(given)]
        if copied:
            columns += (self.home_arrays, _arrays(copied))
        underived.run_update(self.kernels, columns, {**self.live(), **self.rule.static})
        for x in self.written:
            x.version[0] += 1

    def live(self) -> dict[str, Any]:
        """Count the step, also in the versions of packed parameters; the numbers of this step."""
        step = self.states[0]["step"] + 1 if self.rule.counts else 0
        numbers = self.rule.numbers(self.group, step, self.first)
        self.first = False
        for p in self.packed:
            p.version[0] += 1
        if self.rule.counts:
            for state in self.states:
                state["step"] = step
        return numbers


def _runs(members: list[Member]) -> list[list[Member]]:
    """Members with a place next to that of the one before go together."""
    runs: list[list[Member]] = []
    after: Place | None = None
    for m in members:
        if after is not None and m.place == after:
            runs[-1].append(m)
        else:
            runs.append([m])
        after = None if m.place is None else (m.place[0], m.place[1] + 1)
    return runs


class Plan:
    """The batches of a group, for parameters with these arrays and kinds of gradients."""

    def __init__(self, group: Group, used: tuple[str, ...]) -> None:
        self.group, self.used = group, used
        self.params: list[Tensor] = list(group["params"])  # and arrays: their ids stay theirs
        self.arrays = _arrays(self.params)
        grads = _grads(self.params)
        self.before = self._looks(self.params, grads)
        self.rows = [i for i, g in enumerate(grads) if isinstance(g, RowGrad)]
        self.dense = [i for i, g in enumerate(grads) if isinstance(g, Tensor)]
        self.batches: list[Batch] = []

    @staticmethod
    def _looks(params: list[Tensor], grads: list[Any]) -> list[Any]:
        return [*map(id, params), *map(id, _arrays(params)), *map(type, grads)]

    def grads(
        self, group: Group, used: tuple[str, ...], state: dict[Tensor, State]
    ) -> tuple[list[Tensor], list[tuple[Tensor, RowGrad]]] | None:
        """The dense gradients, and the row-sparse ones; None where the plan no longer holds."""
        params = group["params"]
        grads = _grads(params)
        if (
            group is not self.group
            or used != self.used
            or self._looks(params, grads) != self.before
        ):
            return None
        for batch in self.batches:
            if not batch.stands(state):
                return None
        rows = [(params[i], grads[i]) for i in self.rows] if self.rows else []
        return grads if len(self.dense) == len(grads) else [grads[i] for i in self.dense], rows


_arrays_of, _grad_of, _step = attrgetter("array"), attrgetter("node.grad"), itemgetter("step")


def _arrays(tensors: Iterable[Tensor]) -> list[Array]:
    """Their arrays; `map` of a getter runs no Python code for each."""
    return list(map(_arrays_of, tensors))


def _grads(params: Iterable[Tensor]) -> list[Any]:
    """A gradient or None of each parameter."""
    try:
        return list(map(_grad_of, params))
    except AttributeError:  # one is not tracked
        return [getattr(p, "_grad", None) if p.node is None else p.node.grad for p in params]

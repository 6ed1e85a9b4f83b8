"""What an optimizer's step does for a group, worked out once and repeated while nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minitorch.backend import Array
from minitorch.optim.flat import GRAD, PARAM, Place
from minitorch.tensor import RowGrad, Tensor

Group = dict[str, Any]
State = dict[str, Any]
ROWS = "rows"  # stands for the array of a parameter whose gradient is row-sparse


class Rule(NamedTuple):
    """An optimizer's rule for dense gradients.

    op: made by `rules.update`; its columns are parameters and states, its parameters `static` and
    what `numbers(group, step, first)` gives: the number of the step, and whether states are new.
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
        self.rule, self.group, self.first = rule, group, first
        self.members = members if used or rule.counts else []
        self.counted = [m.state for m in members] if rule.counts else []
        self.held = [
            (m.state, name, tensor := m.state[name], tensor.array) for m in members for name in used
        ]
        self.packed: list[Tensor] = []  # parameters that the call reaches through a buffer
        self.homes: list[Tensor] = []  # where gradients are copied, and which
        self.copied: list[int] = []
        self.sources: list[int | Tensor] = []  # the gradients of the call
        self.columns: tuple[list[Tensor], ...] = ([], *[[] for _ in rule.states])
        for run in _runs(members):
            self._append(run, used)

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
        self.homes += [Tensor(home) for home in homes]
        self.copied += [m.grad for m in run]
        params.append(pack.run(PARAM, i, j))
        self.sources.append(pack.run(GRAD, i, j))
        for name, column in zip(self.rule.states, states, strict=True):
            if name in used:
                column.append(pack.run(name, i, j))

    def stands(self, state: dict[Tensor, State]) -> bool:
        """Whether the states are still the same, and of one age."""
        for m in self.members:
            if state.get(m.param) is not m.state:
                return False
        for values, name, tensor, array in self.held:
            if tensor.array is not array or values.get(name) is not tensor:
                return False
        if self.counted:
            step = self.counted[0].get("step")
            for values in self.counted:
                if values.get("step") != step:
                    return False
        return True

    def run(self, grads: Sequence[Tensor]) -> None:
        """Change the parameters."""
        given = [grads[s] if type(s) is int else s for s in self.sources]
        parts = (self.homes, [grads[i] for i in self.copied]) if self.homes else ()
        self.rule.op(self.columns, (given, *parts), live=self.live, **self.rule.static)

    def live(self) -> dict[str, Any]:
        """Count the step, also in the versions of packed parameters; the numbers of this step."""
        for p in self.packed:
            p.version[0] += 1
        step = 0
        for values in self.counted:
            values["step"] = step = values["step"] + 1
        first, self.first = self.first, False
        return self.rule.numbers(self.group, step, first)


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
    """The batches of a group, for parameters with these arrays (None, ROWS: not in a batch)."""

    def __init__(self, group: Group, used: tuple[str, ...], arrays: list[Any]) -> None:
        self.group, self.used, self.arrays = group, used, arrays
        self.params: list[Tensor] = list(group["params"])
        self.batches: list[Batch] = []

    def grads(
        self, group: Group, used: tuple[str, ...], state: dict[Tensor, State]
    ) -> tuple[list[Tensor], list[tuple[Tensor, RowGrad]]] | None:
        """The dense gradients, and the row-sparse ones; None where the plan no longer holds."""
        params = group["params"]
        if group is not self.group or used != self.used or len(params) != len(self.params):
            return None
        dense: list[Tensor] = []
        rows: list[tuple[Tensor, RowGrad]] = []
        for p, q, array in zip(params, self.params, self.arrays):
            grad: Any = p.node.grad if p.node is not None else None
            if p is not q or (p.array if type(grad) is Tensor else kind(p, grad)) is not array:
                return None
            if array is ROWS:
                rows.append((p, grad))
            elif array is not None:
                dense.append(grad)
        return (dense, rows) if all(batch.stands(state) for batch in self.batches) else None


def kind(p: Tensor, grad: Any) -> Array | str | None:
    """What a plan keeps of a parameter: its array where the gradient is dense."""
    if grad is None:
        return None
    return ROWS if isinstance(grad, RowGrad) else p.array

"""The base class of optimizers."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from numbers import Real
from operator import itemgetter
from typing import Any

from minitorch import backend, recording
from minitorch.core.grad_mode import enable_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import full_like
from minitorch.nn.module import zero_grads
from minitorch.optim.flat import FlatBuffers
from minitorch.optim.plan import Bucket, Group, Member, Plan, State, UpdateRule, number

__all__ = ["Optimizer"]


class Optimizer:
    """Holds parameters in groups and changes them by their gradients.

    params: tensors, or dicts `{"params": tensors, option: value, ...}`, one for each group.
    defaults: the options of groups without their own. A rate may be a tensor of one number, which
    every step reads anew; other options become numbers. A subclass gives its
    update rule for dense gradients as `_rule`, the names and initial values of its states by
    `_used` and `_initial`, and its rule for row-sparse gradients, if any, as `_update_rows`.
    Small parameters on the CPU are moved into a buffer of the optimizer: see `optim.flat`.
    """

    _rule: UpdateRule
    _stamp = 0  # the version stamp of the last change, for compiled steps
    _skip: Tensor | None = None  # (2,), of `amp.GradScaler`: whether to skip, how many were skipped
    _skips = 0  # how many of these steps the counts in `state` allow for: see `_settle`

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, set)):
            raise TypeError(
                "params argument given to the optimizer should be an ordered iterable of Tensors "
                f"or dicts, but got a {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._flat = FlatBuffers()
        self._plans: dict[int, Plan] = {}  # by id of the group, which a plan keeps alive
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Take in `{"params": tensors, option: value, ...}`; missing options are the defaults.

        Raises TypeError for what is not a Tensor and an option that is no number, ValueError for
        a bad option, a tensor that is not a leaf, or one that is already there.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError("optimizer parameters need to be ordered, but got a set: use a list")
        group = {"params": [given] if isinstance(given, Tensor) else list(given)}
        group.update(self.defaults | {k: v for k, v in param_group.items() if k != "params"})
        self._check(group)
        group.update({k: _plain(v) for k, v in group.items() if k not in ("params", "lr")})
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if len(set(map(id, group["params"]))) < len(group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: each is changed "
                "as often as it is listed",
                UserWarning,
                stacklevel=3,
            )
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in known:
                raise ValueError("some parameters appear more than once in the parameter groups")
        self.param_groups.append(group)
        self._stamp = recording.edited()
        self._flat.gather(dict.fromkeys(group["params"]))

    def _check(self, group: Group) -> None:
        """Raise TypeError for options that are no numbers, ValueError for those that cannot be."""
        for name, low, high, what in LIMITS:
            value = group.get(name, low)
            several = isinstance(value, (tuple, list)) and name == "betas"
            for i, given in enumerate(value if several else (value,)):
                index = f" at index {i}" if several else ""
                if isinstance(given, Tensor) and given.numel() != 1:
                    raise ValueError(f"Invalid {what}{index}: a tensor of {given.numel()} numbers")
                if not isinstance(number(given), Real):
                    raise TypeError(f"Invalid {what}{index}: expected a number, got {given!r}")
                if not low <= number(given) < high:
                    raise ValueError(f"Invalid {what}{index}: {given}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            zero_grads(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; return what `closure` returns, if given.

        `closure` computes the loss anew, with gradients on, before the step.
        """
        loss = None
        if recording.recorder:
            recording.guard(self)
        if closure is not None:
            with enable_grad():
                loss = closure()
        if recording.recorder:
            self._tell()
        for group in self.param_groups:
            self._step(group)
        return loss

    def _tell(self) -> None:
        """Tell a recorder which gradients a step reads."""
        for p in self._params():
            if p.node is not None:
                recording.gradient(p.node, reads=True)

    def _step(self, group: Group) -> None:
        """One step of a group, by the plan of the last step while its guards hold."""
        used, plan = self._used(group), self._plans.get(id(group))
        found = None if plan is None else plan.grads(group, used, self.state)
        if plan is None or found is None:
            self._settle()
            plan = None  # its references would keep arrays from being uniquely referenced
            self._plans.pop(id(group), None)
            plan = self._planned(group, used)
            found = plan.grads(group, used, self.state)
            assert found is not None
        dense, rows = found
        for p, grad in rows:
            self._update_rows(p, grad, group, self.state[p])
        for bucket in plan.buckets:
            bucket.run(dense, self._skip)

    def _settle(self) -> None:
        """Count skipped steps also for parameters that had no gradient in them.

        Kernels take the number of all skipped steps off each count.
        """
        if self._skip is None or not self._rule.counts:
            return
        skips = int(number(self._skip[1]))
        taking = [
            id(plan.params[i]) for plan in self._plans.values() for i in (*plan.dense, *plan.rows)
        ]
        for p, state in self.state.items():
            if "step" in state and id(p) not in taking:
                state["step"] += skips - self._skips
        self._skips = skips

    def _planned(self, group: Group, used: tuple[str, ...]) -> Plan:
        """Buckets of the parameters with a dense gradient and one dtype, device and step count."""
        params = group["params"]
        self._flat.gather(dict.fromkeys(params))
        plan = Plan(group, used)
        buckets: dict[Any, list[Member]] = {}
        times: Counter[int] = Counter()  # how often each was listed so far
        for i, p in enumerate(params[i] for i in plan.dense):
            state = self.state[p]
            first = self._begin(p, group, state)
            slot = self._flat.move_states(p, {name: state[name] for name in used})
            a = p.array
            again = times[id(p)]
            times[id(p)] += 1
            age = None if state.get("step") is None else state["step"] + again
            key = (again, type(a), backend.of(a).index(a), a.dtype, age, first)
            buckets.setdefault(key, []).append(Member(p, i, state, slot))
        plan.buckets = [Bucket(self._rule, group, used, m, k[-1]) for k, m in buckets.items()]
        self._plans[id(group)] = plan
        return plan

    def _begin(self, p: Tensor, group: Group, state: State) -> bool:
        """Make the missing states of a parameter; returns whether any was missing."""
        if self._rule.counts:
            state.setdefault("step", self._skips)
        missing = [name for name in self._used(group) if state.get(name) is None]
        for name in missing:
            state[name] = full_like(p, self._initial(group, name))
        return bool(missing)

    def _used(self, group: Group) -> tuple[str, ...]:
        """The names of the states that a group needs with its options."""
        return self._rule.states

    def _initial(self, group: Group, name: str) -> float:
        """The initial value of a state's elements."""
        return 0

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        raise RuntimeError(
            f"{type(self).__name__} does not support row-sparse gradients (embedding with "
            "sparse=True): use SGD without momentum, Adagrad or SparseAdam"
        )

    def _guarded(self) -> list[Any]:
        """The guarded values of a replay: all options but the rates, and the state tensors.

        The rates are read anew at every step.
        """
        values: list[Any] = [id(self.state), len(self.param_groups)]
        values += [(id(p), *sorted(self.state[p])) for p in self._params() if p in self.state]
        for group in self.param_groups:
            values += [(k, v) for k, v in group.items() if k not in ("params", *RATES)]
            for p in group["params"]:
                values += (p, p.array, p.node, getattr(p, "_grad", None))
        return values

    def _guarded_options(self) -> list[Callable[[], Any]]:
        """Functions that read the options before every replay: dicts have no version stamp."""
        names = [[name for name in g if name not in ("params", *RATES)] for g in self.param_groups]
        return [
            partial(itemgetter(*of_group), group)
            for of_group, group in zip(names, self.param_groups, strict=True)
            if of_group
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return `{"state": {index: ...}, "param_groups": [...]}`.

        Parameters are named by their position over all groups. Tensors are the optimizer's own.
        """
        self._settle()
        index = {p: i for i, p in enumerate(self._params())}
        groups = [
            {**group, "params": [index[p] for p in group["params"]]} for group in self.param_groups
        ]
        state = {index[p]: dict(values) for p, values in self.state.items() if values}
        if self._skips:
            state = {i: {**s, "step": s["step"] - self._skips} for i, s in state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state, copied to the parameters' devices and dtypes.

        Raises ValueError, before anything changes, if groups or shapes are not this optimizer's.
        """
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has {len(saved)} parameter groups, "
                f"the optimizer {len(self.param_groups)}"
            )
        for i, (old, new) in enumerate(zip(self.param_groups, saved)):
            if len(old["params"]) != len(new["params"]):
                raise ValueError(
                    f"loaded state dict contains a parameter group that doesn't match the size "
                    f"of optimizer's group {i}: {len(new['params'])} parameters, "
                    f"expected {len(old['params'])}"
                )
        names = [name for group in saved for name in group["params"]]
        params = dict(zip(names, self._params()))
        state: defaultdict[Tensor, State] = defaultdict(dict)
        for name, values in state_dict["state"].items():
            if name not in params:
                raise ValueError(f"loaded state dict has state for parameter {name}, in no group")
            state[params[name]] = {k: _adopt(k, v, params[name]) for k, v in values.items()}
        self.state = state
        self._skip, self._skips = None, 0
        self._stamp = recording.edited()
        for old, new in zip(self.param_groups, saved):
            old.update({k: deepcopy(v) for k, v in new.items() if k != "params"})

    def __getstate__(self) -> dict[str, Any]:
        """The attributes of a copy, which makes flat buffers and plans of its own."""
        return {**self.__dict__, "_flat": FlatBuffers(), "_plans": {}}

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


# name of an option, lowest value, first value too high, what errors call it
RATES = ("lr", "initial_lr")
INFINITY = float("inf")
LIMITS = (
    ("lr", 0, INFINITY, "learning rate"),
    ("lr_decay", 0, INFINITY, "lr_decay value"),
    ("momentum", 0, INFINITY, "momentum value"),
    ("weight_decay", 0, INFINITY, "weight_decay value"),
    ("alpha", 0, INFINITY, "alpha value"),
    ("eps", 0, INFINITY, "epsilon value"),
    ("initial_accumulator_value", 0, INFINITY, "initial_accumulator_value value"),
    ("betas", 0, 1, "beta parameter"),
)


def _adopt(key: str, value: Any, param: Tensor) -> Any:
    """Copy a value of a loaded state for `param`; a step count becomes a number."""
    if not isinstance(value, Tensor):
        return deepcopy(value)
    if key == "step":
        return int(value.item())
    if value.dim() and value.shape != param.shape:  # 0-d: a number of the rule
        raise ValueError(
            f"loaded state dict has {key} of shape {tuple(value.shape)} for a parameter of shape "
            f"{tuple(param.shape)}"
        )
    copied = value.detach().clone()
    return copied.to(param.device).to(param.dtype) if copied.is_floating_point() else copied


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options among the arguments of an optimizer's constructor, its `locals()`."""
    return {k: v for k, v in arguments.items() if k not in ("self", "params", "__class__")}


def count(states: Iterable[State]) -> int:
    """Count a step in every state; return its number, the last state's."""
    step = 0
    for state in states:
        state["step"] = step = state["step"] + 1
    return step


def _plain(value: Any) -> Any:
    return tuple(map(number, value)) if isinstance(value, (tuple, list)) else number(value)


def refuse_weight_decay(group: Group, name: str) -> None:
    """Raise RuntimeError: weight decay would change every row, not only those of the gradient."""
    if group["weight_decay"]:
        raise RuntimeError(
            f"{name}: weight_decay option is not compatible with row-sparse gradients"
        )

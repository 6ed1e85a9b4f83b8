"""Learning rates that change from step to step.

A scheduler sets group["lr"] of every parameter group when it is made and at each `step()`.
As in PyTorch most rules compute the new rate from the current one, so that schedulers can be
combined. A group added later joins with its own rate as the initial one, and
a rate that is a tensor becomes a number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import cos, floor, inf, pi
from typing import Any

from minitorch import recording
from minitorch.boundary import guard
from minitorch.optim.optimizer import Optimizer
from minitorch.optim.plan import Group, number

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class: counts epochs and asks `get_lr` for the rates of all groups.

    last_epoch: -1 to begin; else the epoch to go on from, with "initial_lr" in every group.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", number(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] "
                    "when resuming an optimizer"
                )
        self.base_lrs: list[float] = [g["initial_lr"] for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """Return the rates of epoch `last_epoch`, one for each group."""
        raise NotImplementedError(f"{type(self).__name__} has no rule: write its get_lr")

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last, one for each group."""
        return self._last_lr

    def step(self) -> None:
        """Go on to the next epoch and set its rates."""
        recording.host(self._advance)

    def _advance(self) -> None:
        self._step_count += 1
        self.last_epoch += 1
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self._join(group)
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _join(self, group: Group) -> None:
        """Take in a group that was added to the optimizer after the scheduler was made."""
        self.base_lrs.append(group.setdefault("initial_lr", number(group["lr"])))

    @property
    def _fresh(self) -> bool:
        """Whether this is the step that the constructor takes."""
        return self._step_count == 1

    def _rates(self) -> list[float]:
        return [number(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; load the optimizer's own state as well."""
        self.__dict__.update(state_dict)


def _one_more(values: list[Any], what: str) -> None:
    """Extend what all groups have in common to another group; raise ValueError if it differs."""
    if any(value != values[0] for value in values):
        raise ValueError(
            f"{what}: the optimizer has more groups than the {len(values)} of the scheduler"
        )
    values.append(values[0])


class LambdaLR(LRScheduler):
    """initial_lr · lr_lambda(epoch); one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        )
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _join(self, group: Group) -> None:
        _one_more(self.lr_lambdas, "LambdaLR: lr_lambda")
        super()._join(group)

    def get_lr(self) -> list[float]:
        return [base * rule(self.last_epoch) for rule, base in zip(self.lr_lambdas, self.base_lrs)]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer and the functions."""
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class StepLR(LRScheduler):
    """Times gamma every `step_size` epochs.

    >>> optimizer = optim.SGD([minitorch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> round(optimizer.param_groups[0]["lr"], 6)
    0.01
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size <= 0:
            raise ValueError(f"StepLR: step_size must be positive, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [rate * self.gamma if due else rate for rate in self._rates()]


class MultiStepLR(LRScheduler):
    """Times gamma at each epoch in `milestones` (twice where it stands there twice)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**times for rate in self._rates()]


class ExponentialLR(LRScheduler):
    """Times gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [rate if self._fresh else rate * self.gamma for rate in self._rates()]


class LinearLR(LRScheduler):
    """The factor goes in a line from start_factor to end_factor over `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(
                f"Starting multiplicative factor expected to be greater than 0 and less or equal "
                f"to 1, got {start_factor}"
            )
        if not 0 <= end_factor <= 1:
            raise ValueError(
                f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters

    def get_lr(self) -> list[float]:
        epoch = self.last_epoch
        if epoch == 0:
            change = self.start_factor
        elif self._fresh or epoch > self.total_iters:
            change = 1.0
        else:
            change = self._factor(epoch) / self._factor(epoch - 1)
        return [rate * change for rate in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """eta_min + (initial_lr - eta_min) · (1 + cos(π epoch / T_max)) / 2.

    Loshchilov and Hutter (2017), without restarts: after T_max the rate rises again.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_max <= 0:
            raise ValueError(f"CosineAnnealingLR: T_max must be positive, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1 + cos(pi * epoch / self.T_max)) / 2

    def get_lr(self) -> list[float]:
        epoch = self.last_epoch
        if self._fresh:
            return self._rates()
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the bottom there is no ratio
            rise = 1 - self._height(1)
            return [
                rate + (base - self.eta_min) * rise
                for rate, base in zip(self._rates(), self.base_lrs)
            ]
        ratio = self._height(epoch) / self._height(epoch - 1)
        return [self.eta_min + (rate - self.eta_min) * ratio for rate in self._rates()]


class ReduceLROnPlateau(LRScheduler):
    """Times `factor` once a metric has not improved for more than `patience` epochs.

    mode: "min" or "max", which way is better. threshold: how much better, as a fraction of the
    best so far ("rel") or as a difference ("abs"). cooldown: epochs to wait after a reduction.
    min_lr: lowest rate, for all groups or for each. eps: smaller changes are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor should be < 1.0, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown: use min or max")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown: use rel or abs")
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"expected {groups} min_lrs, got {len(self.min_lrs)}")
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = self._rates()
        self._reset()

    def _reset(self) -> None:
        self.best = inf if self.mode == "min" else -inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def is_better(self, a: float, best: float) -> bool:
        """Tell whether `a` improves on `best` by more than the threshold."""
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            return sign * a > sign * best + self.threshold
        return sign * a > sign * best * (1 + sign * self.threshold)

    @property
    def in_cooldown(self) -> bool:
        """Whether a reduction was so recent that bad epochs do not count."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any = None) -> None:
        """Take in the metric of an epoch (a number or a tensor of one) and set the rates."""
        if metrics is None:
            raise TypeError("ReduceLROnPlateau.step: give it the metric to watch")
        current = float(metrics)
        self.last_epoch += 1
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        while len(self.min_lrs) < len(groups):
            _one_more(self.min_lrs, "ReduceLROnPlateau: min_lr")
        for group, now, least in zip(groups, self._rates(), self.min_lrs, strict=True):
            rate = max(now * self.factor, least)
            if now - rate > self.eps:
                group["lr"] = rate


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to that start / final_div_factor.

    Smith and Topin (2019). `pct_start`: the rising part of the `total_steps` (or `epochs` times
    `steps_per_epoch`). anneal_strategy: "cos" or "linear". cycle_momentum: momentum (or the first
    of betas) goes the other way, between base_momentum and max_momentum. three_phase: down to the
    start in as many steps as up, then on to the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "You must define either total_steps OR (epochs AND steps_per_epoch)"
                )
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        groups = optimizer.param_groups
        peaks = list(max_lr) if isinstance(max_lr, (list, tuple)) else [max_lr] * len(groups)
        if len(peaks) != len(groups):
            raise ValueError(f"expected {len(groups)} values for max_lr, got {len(peaks)}")
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.total_steps = total_steps
        self.cycle_momentum = cycle_momentum
        self._linear = anneal_strategy == "linear"
        self._phases = _cycle_phases(total_steps, pct_start, three_phase)
        if last_epoch == -1:
            for group, peak in zip(groups, peaks):
                start = peak / div_factor
                group.update(
                    initial_lr=start,
                    max_lr=peak,
                    min_lr=start / final_div_factor,
                    base_momentum=base_momentum,
                    max_momentum=max_momentum,
                )
        super().__init__(optimizer, last_epoch)

    def _join(self, group: Group) -> None:
        raise ValueError("OneCycleLR: groups have to be added before the scheduler is made")

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        ends = [end for end, *_ in self._phases]
        phase = next((i for i, end in enumerate(ends) if step <= end), len(ends) - 1)
        end, from_lr, to_lr, from_momentum, to_momentum = self._phases[phase]
        begin = self._phases[phase - 1][0] if phase else 0.0
        done = (step - begin) / (end - begin) if end != begin else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[from_lr], group[to_lr], done))
            if self.cycle_momentum:
                _set_momentum(group, self._between(group[from_momentum], group[to_momentum], done))
        return rates

    def _between(self, start: float, end: float, done: float) -> float:
        return start + (end - start) * (done if self._linear else (1 - cos(pi * done)) / 2)


def _cycle_phases(
    total: int, pct_start: float, three_phase: bool
) -> list[tuple[float, str, str, str, str]]:
    """Return for each phase its last step and the names of the values it runs between."""
    peak = pct_start * total - 1
    up = (peak, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three_phase:
        return [up, (total - 1.0, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    return [
        up,
        (2 * peak, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
        (total - 1.0, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
    ]


class MultiplicativeLR(LambdaLR):
    """The rate times lr_lambda(epoch) at each epoch; one function, or one for each group."""

    def get_lr(self) -> list[float]:
        if self._fresh:
            return self._rates()
        rules = zip(self.lr_lambdas, self._rates())
        return [rate * rule(self.last_epoch) for rule, rate in rules]


class ConstantLR(LRScheduler):
    """initial_lr · factor in the first `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor: expected a number in [0, 1], got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        return [rate / self.factor for rate in self._rates()]


class PolynomialLR(LRScheduler):
    """initial_lr · (1 - epoch / total_iters) ** power, 0 from `total_iters` on."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, total = self.last_epoch, self.total_iters
        if self._fresh or epoch > total:
            return self._rates()
        factor = ((1 - epoch / total) / (1 - (epoch - 1) / total)) ** self.power
        return [rate * factor for rate in self._rates()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """From initial_lr down to `eta_min` along a cosine in T_0 epochs, then again in T_0 · T_mult.

    Loshchilov and Hutter (2017).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + cos(pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to `epoch`, which may lie between two, and set its rates."""
        recording.host(lambda: self._go(epoch))

    def _go(self, epoch: float | None) -> None:
        if epoch is not None and epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        if epoch is None:
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult
            self._advance()
            return
        self.T_cur, self.T_i = epoch, self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult
        self.last_epoch = floor(epoch) - 1
        self._advance()


class SequentialLR(LRScheduler):
    """One scheduler after the other: the next one begins at each of `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[Any],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                f"the number of milestone points, but got {len(schedulers)} and {len(milestones)}"
            )
        _check_together("SequentialLR", schedulers, optimizer)
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:  # undo the steps of their constructors
            scheduler.last_epoch -= 1
            if isinstance(scheduler, CosineAnnealingWarmRestarts):
                scheduler.T_cur -= 1
        self._restart(self._schedulers[0])
        self._last_lr = self._schedulers[0].get_last_lr()

    def _restart(self, scheduler: Any) -> None:
        scheduler._step_count = 0
        scheduler.step()

    def step(self) -> None:
        """Go on to the next epoch and set its rates."""
        recording.host(self._go)

    def _go(self) -> None:
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index and self._milestones[index - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            scheduler.last_epoch = -1
            if isinstance(scheduler, CosineAnnealingWarmRestarts):
                scheduler.T_cur, scheduler.T_i = -1, scheduler.T_0
            self._restart(scheduler)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, with the schedulers' own."""
        return _state_of_several(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; load the optimizer's own state as well."""
        _load_several(self, state_dict)


class ChainedScheduler(LRScheduler):
    """Several schedulers that each change the rate at every step."""

    def __init__(self, schedulers: Sequence[Any], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler expects at least one scheduler, but got none")
        self.optimizer = optimizer or schedulers[0].optimizer
        _check_together("ChainedScheduler", schedulers, self.optimizer)
        self._schedulers = list(schedulers)
        self._last_lr = self._rates()

    def step(self) -> None:
        """Go on to the next epoch and set its rates."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, with the schedulers' own."""
        return _state_of_several(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; load the optimizer's own state as well."""
        _load_several(self, state_dict)


def _check_together(name: str, schedulers: Sequence[Any], optimizer: Optimizer) -> None:
    for i, scheduler in enumerate(schedulers):
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(f"{name} does not support ReduceLROnPlateau, which needs a metric")
        if scheduler.optimizer is not optimizer:
            raise ValueError(f"{name}: the scheduler at index {i} has another optimizer")


def _state_of_several(scheduler: Any) -> dict[str, Any]:
    own = {k: v for k, v in vars(scheduler).items() if k not in ("optimizer", "_schedulers")}
    return {**own, "_schedulers": [s.state_dict() for s in scheduler._schedulers]}


def _load_several(scheduler: Any, state: dict[str, Any]) -> None:
    vars(scheduler).update({k: v for k, v in state.items() if k != "_schedulers"})
    for one, its in zip(scheduler._schedulers, state["_schedulers"], strict=True):
        one.load_state_dict(its)


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in `step_size_up` steps, down in `step_size_down`, again and again.

    Smith (2017). mode: "triangular", "triangular2" (halved after each cycle), "exp_range" (times
    gamma ** step), or a `scale_fn` of the "cycle" or of "iterations", `scale_mode`.
    cycle_momentum: momentum (or the first of betas) goes the other way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        given = {"base_lr": base_lr, "max_lr": max_lr}
        lists = {
            k: list(v) if isinstance(v, (list, tuple)) else [v] * len(groups)
            for k, v in given.items()
        }
        for name, values in lists.items():
            if len(values) != len(groups):
                raise ValueError(f"expected {len(groups)} values for {name}, got {len(values)}")
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"mode is invalid and scale_fn is None: {mode!r}")
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.total_size = float(step_size_up + (step_size_down or step_size_up))
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.scale_mode = mode, gamma, scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_fn = scale_fn
        self.max_lrs, self.cycle_momentum = lists["max_lr"], cycle_momentum
        for group, base in zip(groups, lists["base_lr"]):
            if last_epoch == -1:
                group["lr"] = base
            if cycle_momentum:
                group["base_momentum"], group["max_momentum"] = base_momentum, max_momentum
                _set_momentum(group, max_momentum)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lists["base_lr"]

    def _join(self, group: Group) -> None:
        raise ValueError("CyclicLR: groups have to be added before the scheduler is made")

    def _scale(self, cycle: float) -> float:
        x = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return self.scale_fn(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 1.0 if self.mode == "triangular" else 1 / 2.0 ** (x - 1)

    def get_lr(self) -> list[float]:
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        share *= self._scale(cycle)
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                high = group["max_momentum"]
                _set_momentum(group, high - (high - group["base_momentum"]) * share)
        return [a + (b - a) * share for a, b in zip(self.base_lrs, self.max_lrs)]


def _set_momentum(group: Group, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


guard(globals())

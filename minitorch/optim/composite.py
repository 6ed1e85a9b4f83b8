"""Optimizers whose rules are tensor ops, one parameter at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minitorch import ops, recording
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import full_like, tensor, zeros_like
from minitorch.optim.optimizer import Optimizer, count, given
from minitorch.optim.plan import Group, State, UpdateRule, number

__all__ = ["ASGD", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop"]


def _no_kernel(*columns: Sequence[Sequence[Tensor]], **options: Any) -> None:
    raise AssertionError("a rule in tensor ops has no kernel")


class _Composite(Optimizer):
    """A subclass gives `_new`, the states of a parameter, and `_update`, its step.

    foreach, capturable: without a meaning here. Raises ValueError for `differentiable`.
    A compiled step cannot have one of these: the number of the step is Python's.
    """

    _rule = UpdateRule(_no_kernel, (), (), counts=False)

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["differentiable"]:
            raise ValueError(f"{type(self).__name__}: differentiable=True is not supported")

    @no_grad()
    def _step(self, group: Group) -> None:
        recording.impossible(
            f"{type(self).__name__}.step counts in Python: in a compiled step use SGD, Adam, "
            "AdamW, Adagrad or RMSprop"
        )
        if self._skip is not None and number(self._skip[0]):
            return
        numbers = {**group, "lr": number(group["lr"])}
        for p in group["params"]:
            grad, state = p.grad, self.state[p]
            if grad is None:
                continue
            if isinstance(grad, RowGrad):
                self._update_rows(p, grad, group, state)
            if not state:
                state.update(step=0, **self._new(p, numbers))
            step = count([state])
            grad = -grad if group["maximize"] else grad
            if group.get("decoupled_weight_decay"):
                p.mul_(1 - numbers["lr"] * group["weight_decay"])
            elif group.get("weight_decay"):
                grad = grad.add(p, alpha=group["weight_decay"])
            self._update(p, grad, state, step, numbers)

    def _new(self, p: Tensor, group: Group) -> State:
        raise NotImplementedError

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        raise NotImplementedError


def _zeros(p: Tensor, *names: str) -> State:
    return {name: zeros_like(p, requires_grad=False) for name in names}


def _moments(state: State, grad: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """The running means of grad and grad², after this step."""
    beta1, beta2 = group["betas"]
    mean = state["exp_avg"].lerp_(grad, 1 - beta1)
    return mean, state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)


class Adadelta(_Composite):
    """p -= lr · grad · √(d + eps) / √(v + eps), v and d running means of grad² and of the steps'.

    Zeiler (2012); `rho` is the weight of the means.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        return _zeros(p, "square_avg", "acc_delta")

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        rho, eps, steps = group["rho"], group["eps"], state["acc_delta"]
        mean = state["square_avg"].mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = (steps + eps).sqrt() / (mean + eps).sqrt() * grad
        steps.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=-group["lr"])


class Adamax(_Composite):
    """p -= lr / (1 - β1ᵗ) · m / u, u the largest |grad| + eps so far, decayed by β2.

    Kingma and Ba (2015, section 7.1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        return _zeros(p, "exp_avg", "exp_inf")

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        beta1, beta2 = group["betas"]
        mean, largest = state["exp_avg"].lerp_(grad, 1 - beta1), state["exp_inf"]
        largest.copy_(ops.maximum(largest * beta2, grad.abs() + group["eps"]))
        p.addcdiv_(mean, largest, value=-group["lr"] / (1 - beta1**step))


class NAdam(_Composite):
    """Adam with Nesterov's momentum (Dozat, 2016); `momentum_decay` lets the momentum grow."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if momentum_decay < 0:
            raise ValueError(f"Invalid momentum_decay value: {momentum_decay}")
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        return {"mu_product": tensor(1.0, device="cpu"), **_zeros(p, "exp_avg", "exp_avg_sq")}

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["momentum_decay"]
        mu, after = (beta1 * (1 - 0.96 ** (t * decay) / 2) for t in (step, step + 1))
        product = number(state["mu_product"].mul_(mu))
        mean, square = _moments(state, grad, group)
        scale = (square / (1 - beta2**step)).sqrt() + group["eps"]
        p.addcdiv_(grad, scale, value=-lr * (1 - mu) / (1 - product))
        p.addcdiv_(mean, scale, value=-lr * after / (1 - product * after))


class RAdam(_Composite):
    """Adam, whose first steps are those of SGD, until the variance is known (Liu et al., 2020)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        return _zeros(p, "exp_avg", "exp_avg_sq")

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        beta1, beta2 = group["betas"]
        mean, square = _moments(state, grad, group)
        last = 2 / (1 - beta2) - 1
        length = last - 2 * step * beta2**step / (1 - beta2**step)
        rate = group["lr"] / (1 - beta1**step)
        if length <= 5:
            p.add_(mean, alpha=-rate)
            return
        rectified = (length - 4) * (length - 2) * last / ((last - 4) * (last - 2) * length)
        rate *= (rectified * (1 - beta2**step)) ** 0.5
        p.addcdiv_(mean, square.sqrt() + group["eps"], value=-rate)


class Rprop(_Composite):
    """p -= sign(grad) · size; a size grows while the sign stays (Riedmiller and Braun, 1993).

    etas: the factors of a size where the sign changes, and where it stays. step_sizes: the lowest
    and the highest size; the first one is `lr`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        size = full_like(p, group["lr"], requires_grad=False)
        return {**_zeros(p, "prev"), "step_size": size}

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        (less, more), size = group["etas"], state["step_size"]
        turn = grad * state["prev"]
        factor = zeros_like(p, requires_grad=False).fill_(1.0)
        factor = factor.masked_fill(turn > 0, more).masked_fill(turn < 0, less)
        size.mul_(factor).clamp_(*group["step_sizes"])
        grad = grad.masked_fill(turn < 0, 0)
        p.addcmul_(grad.sign(), size, value=-1)
        state["prev"].copy_(grad)


class ASGD(_Composite):
    """SGD with a falling rate and an average `ax` of the parameters (Polyak and Juditsky, 1992).

    `lambd` decays the parameters, `alpha` is the power of the rate, `t0` where averaging begins.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    def _new(self, p: Tensor, group: Group) -> State:
        eta, mu = (tensor(float(x), device="cpu") for x in (group["lr"], 1))
        return {"eta": eta, "mu": mu, **_zeros(p, "ax")}

    def _update(self, p: Tensor, grad: Tensor, state: State, step: int, group: Group) -> None:
        eta, mu, average = number(state["eta"]), number(state["mu"]), state["ax"]
        lr, lambd = group["lr"], group["lambd"]
        p.mul_(1 - lambd * eta).add_(grad, alpha=-eta)
        if mu == 1:
            average.copy_(p)
        else:
            average.add_((p - average).mul_(mu))
        state["eta"].fill_(lr / (1 + lambd * lr * step) ** group["alpha"])
        state["mu"].fill_(1 / max(1, step - group["t0"]))

"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch.creation import full_like
from minitorch.optim.optimizer import Group, Optimizer, State, refuse_weight_decay, regularised
from minitorch.tensor import RowGrad, Tensor


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) · lr_decay) · grad / (√s + eps), s the sum of grad² over all steps.

    Duchi et al. (2011). Row-sparse gradients change only their rows.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def _next_rate(self, p: Tensor, group: Group, state: State) -> float:
        """Count the step and return its learning rate."""
        if not state:
            state["step"] = 0
            state["sum"] = full_like(p, group["initial_accumulator_value"])
        state["step"] += 1
        rate: float = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        return rate

    def _update(self, p: Tensor, grad: Tensor, group: Group, state: State) -> None:
        grad = regularised(p, grad, group)
        rate = self._next_rate(p, group, state)
        total = state["sum"].addcmul_(grad, grad)
        p.addcdiv_(grad, total.sqrt().add_(group["eps"]), value=-rate)

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        refuse_weight_decay(group, "Adagrad")
        rate = self._next_rate(p, group, state)
        grad = grad.coalesce()
        rows, values = grad.indices, grad.values
        total = state["sum"].index_select(0, rows).addcmul_(values, values)
        state["sum"].index_copy_(0, rows, total)
        alpha = rate if group["maximize"] else -rate
        p.index_add_(0, rows, values / total.sqrt_().add_(group["eps"]), alpha=alpha)

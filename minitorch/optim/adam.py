"""Adam, AdamW and SparseAdam."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from minitorch import ops
from minitorch.creation import zeros_like
from minitorch.optim.optimizer import Group, Optimizer, State, regularised
from minitorch.tensor import RowGrad, Tensor


def _step_sizes(group: Group, state: State) -> tuple[float, float]:
    """Count the step t; return lr / (1 - β₁ᵗ) and √(1 - β₂ᵗ), which undo the start at zero."""
    state["step"] += 1
    beta1, beta2 = group["betas"]
    step = state["step"]
    return group["lr"] / (1 - beta1**step), sqrt(1 - beta2**step)


class Adam(Optimizer):
    """p -= lr · m̂ / (√v̂ + eps), m and v running means of grad and grad², hats unbiased.

    Kingma and Ba (2015). `amsgrad` takes the largest v so far (Reddi et al., 2018).
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _update(self, p: Tensor, grad: Tensor, group: Group, state: State) -> None:
        if self.decoupled:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            grad = -grad if group["maximize"] else grad
        else:
            grad = regularised(p, grad, group)
        if not state:
            state["step"] = 0
            state["exp_avg"] = zeros_like(p)
            state["exp_avg_sq"] = zeros_like(p)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(p)
        size, unbias = _step_sizes(group, state)
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            square = largest.copy_(ops.maximum(largest, square))
        # With v̂ = v / unbias², √v̂ + eps is (√v + eps · unbias) / unbias: one op less.
        scale = square.sqrt().add_(group["eps"] * unbias)
        p.addcdiv_(mean, scale, value=-size * unbias)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p *= 1 - lr · weight_decay first.

    Loshchilov and Hutter (2019).
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class SparseAdam(Optimizer):
    """Adam for row-sparse gradients: rows without a gradient keep parameter, m and v as they are.

    Raises RuntimeError for dense gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": tuple(betas), "eps": eps, "maximize": maximize}
        )

    def _update(self, p: Tensor, grad: Tensor, group: Group, state: State) -> None:
        raise RuntimeError(
            "SparseAdam does not support dense gradients, please consider Adam instead"
        )

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        if not state:
            state["step"] = 0
            state["exp_avg"] = zeros_like(p)
            state["exp_avg_sq"] = zeros_like(p)
        size, unbias = _step_sizes(group, state)
        beta1, beta2 = group["betas"]
        grad = grad.coalesce()
        rows, values = grad.indices, -grad.values if group["maximize"] else grad.values
        mean = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"].index_select(0, rows)
        square.mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        p.index_add_(0, rows, mean / square.sqrt_().add_(group["eps"]), alpha=-size * unbias)

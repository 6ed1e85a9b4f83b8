"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch.optim.optimizer import Group, Optimizer, State, refuse_weight_decay, regularised
from minitorch.tensor import RowGrad, Tensor


class SGD(Optimizer):
    """p -= lr · b, with b = momentum · b + (1 - dampening) · grad (the first b is grad).

    Without momentum b is the gradient, and row-sparse gradients change only their rows.
    Nesterov's variant steps along grad + momentum · b (Sutskever et al., 2013).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _update(self, p: Tensor, grad: Tensor, group: Group, state: State) -> None:
        grad = regularised(p, grad, group)
        momentum = group["momentum"]
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.detach().clone()
            else:
                buffer.mul_(momentum).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        p.add_(grad, alpha=-group["lr"])

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        if group["momentum"]:
            raise RuntimeError(
                "SGD: momentum would change every row, so row-sparse gradients need momentum=0 "
                "(or use Adagrad or SparseAdam)"
            )
        refuse_weight_decay(group, "SGD")
        alpha = group["lr"] if group["maximize"] else -group["lr"]
        p.index_add_(0, grad.indices, grad.values, alpha=alpha)

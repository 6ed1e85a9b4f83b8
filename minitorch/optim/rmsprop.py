"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch import rules
from minitorch.creation import zeros_like
from minitorch.optim.optimizer import Batch, Group, Optimizer, State, count, options
from minitorch.tensor import Tensor

_rmsprop_ = rules.update("rmsprop_")
OPTIONS = ("lr", "alpha", "eps", "weight_decay", "momentum", "maximize")


class RMSprop(Optimizer):
    """p -= lr · grad / (√v + eps), v the running mean of grad² with weight `alpha`.

    Tieleman and Hinton (2012). `centered` subtracts the square of the running mean of grad from v
    (Graves, 2013); `momentum` accumulates the steps before lr is applied.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _prepare(self, p: Tensor, group: Group, state: State) -> None:
        if not state:
            state["step"] = 0
            state["square_avg"] = zeros_like(p)
            if group["momentum"]:
                state["momentum_buffer"] = zeros_like(p)
            if group["centered"]:
                state["grad_avg"] = zeros_like(p)

    def _update(self, batch: Batch, group: Group, age: None) -> None:
        means = batch.all("grad_avg") if group["centered"] else []
        buffers = batch.all("momentum_buffer") if group["momentum"] else []

        def live() -> dict[str, Any]:
            count(batch.states)
            return options(group, OPTIONS)

        _rmsprop_(
            (batch.params, batch.all("square_avg"), means, buffers), (batch.grads,), live=live
        )

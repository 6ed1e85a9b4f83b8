"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch import underived
from minitorch.optim.optimizer import Optimizer, given
from minitorch.optim.plan import Group, UpdateRule

__all__ = ["RMSprop"]

OPTIONS = ("lr", "alpha", "eps", "weight_decay", "momentum", "maximize")
SQUARE, MEAN, BUFFER = STATES = ("square_avg", "grad_avg", "momentum_buffer")


class RMSprop(Optimizer):
    """p -= lr · grad / (√v + eps), v the running mean of grad² with weight `alpha`.

    Tieleman and Hinton (2012). `centered` subtracts the square of the running mean of grad from v
    (Graves, 2013); `momentum` accumulates the steps before lr is applied.
    """

    _rule = UpdateRule(underived.update("rmsprop_"), STATES, OPTIONS)

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
        super().__init__(params, given(locals()))

    def _used(self, group: Group) -> tuple[str, ...]:
        means = (MEAN,) if group["centered"] else ()
        return (SQUARE, *means, BUFFER) if group["momentum"] else (SQUARE, *means)

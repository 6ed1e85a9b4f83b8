"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch import underived
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.optim.optimizer import Optimizer, count, given, refuse_weight_decay
from minitorch.optim.plan import Group, State, UpdateRule, options, skipping

__all__ = ["Adagrad"]

_adagrad_rows_ = underived.update("adagrad_rows_")
OF_ROWS = ("lr", "lr_decay", "eps", "maximize")


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) · lr_decay) · grad / (√s + eps), s the sum of grad² over all steps.

    Duchi et al. (2011). Row-sparse gradients change only their rows.
    """

    _rule = UpdateRule(
        underived.update("adagrad_"), ("sum",), (*OF_ROWS, "weight_decay"), varying=("step",)
    )

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
        super().__init__(params, given(locals()))

    def _initial(self, group: Group, name: str) -> float:
        initial: float = group["initial_accumulator_value"]
        return initial

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        refuse_weight_decay(group, "Adagrad")
        self._begin(p, group, state)

        def dynamic() -> dict[str, Any]:
            return {"step": count([state]), **options(group, OF_ROWS)}

        columns = ([p], [state["sum"]]), ([grad.indices], [grad.values])
        _adagrad_rows_(*columns, dynamic=dynamic, **skipping(self._skip))

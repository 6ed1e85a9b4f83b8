"""Adam, AdamW and SparseAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch import rules
from minitorch.creation import zeros_like
from minitorch.optim.optimizer import Batch, Group, Optimizer, State, count, options
from minitorch.tensor import RowGrad, Tensor

_adam_ = rules.update("adam_")
_adam_rows_ = rules.update("adam_rows_")
MOMENTS = ("exp_avg", "exp_avg_sq")
LARGEST = "max_exp_avg_sq"


def _begin(p: Tensor, state: State, names: Iterable[str]) -> int:
    """Fill a state at the first step; return the number of steps so far."""
    if not state:
        state["step"] = 0
        for name in names:
            state[name] = zeros_like(p)
    step: int = state["step"]
    return step


def _betas(group: Group) -> dict[str, float]:
    return dict(zip(("beta1", "beta2"), group["betas"], strict=True))


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

    def _prepare(self, p: Tensor, group: Group, state: State) -> int:
        return _begin(p, state, MOMENTS + (LARGEST,) * group["amsgrad"])

    def _update(self, batch: Batch, group: Group, age: int) -> None:
        largest = batch.all(LARGEST) if group["amsgrad"] else []

        def live() -> dict[str, Any]:
            names = ("lr", "eps", "weight_decay", "maximize")
            return {"step": count(batch.states), **_betas(group), **options(group, names)}

        _adam_(
            (batch.params, *map(batch.all, MOMENTS), largest),
            (batch.grads,),
            live=live,
            decoupled=self.decoupled,
        )


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

    def _update(self, batch: Batch, group: Group, age: None) -> None:
        raise RuntimeError(
            "SparseAdam does not support dense gradients, please consider Adam instead"
        )

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        _begin(p, state, MOMENTS)

        def live() -> dict[str, Any]:
            names = ("lr", "eps", "maximize")
            return {"step": count([state]), **_betas(group), **options(group, names)}

        columns = ([p], *[[state[name]] for name in MOMENTS])
        _adam_rows_(columns, ([grad.indices], [grad.values]), live=live)

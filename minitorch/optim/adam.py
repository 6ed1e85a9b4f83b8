"""Adam, AdamW and SparseAdam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minitorch import underived
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.optim.optimizer import Optimizer, count, given
from minitorch.optim.plan import Group, State, UpdateRule, options, skipping

__all__ = ["Adam", "AdamW", "SparseAdam"]

_adam_ = underived.update("adam_")
_adam_rows_ = underived.update("adam_rows_")
MOMENTS = ("exp_avg", "exp_avg_sq")
LARGEST = "max_exp_avg_sq"


OF_ROWS = ("lr", "betas", "eps", "maximize")


def _by_moment(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with a number for each beta."""
    beta1, beta2 = options.pop("betas")
    return {"beta1": beta1, "beta2": beta2, **options}


class Adam(Optimizer):
    """p -= lr · m̂ / (√v̂ + eps), m and v running means of grad and grad², hats unbiased.

    Kingma and Ba (2015). `amsgrad` takes the largest v so far (Reddi et al., 2018).
    """

    _rule = UpdateRule(
        _adam_,
        (*MOMENTS, LARGEST),
        (*OF_ROWS, "weight_decay"),
        _by_moment,
        varying=("step",),
        static={"decoupled": False},
    )

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
        super().__init__(params, given(locals()) | {"betas": tuple(betas)})

    def _used(self, group: Group) -> tuple[str, ...]:
        return (*MOMENTS, LARGEST) if group["amsgrad"] else MOMENTS


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p *= 1 - lr · weight_decay first.

    Loshchilov and Hutter (2019).
    """

    _rule = Adam._rule._replace(static={"decoupled": True})

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


def _refuse(*columns: Sequence[Sequence[Tensor]], **options: Any) -> None:
    raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")


class SparseAdam(Optimizer):
    """Adam for row-sparse gradients: rows without a gradient keep parameter, m and v as they are.

    Raises RuntimeError for dense gradients.
    """

    _rule = UpdateRule(_refuse, MOMENTS, OF_ROWS)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, given(locals()) | {"betas": tuple(betas)})

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        self._begin(p, group, state)

        def dynamic() -> dict[str, Any]:
            return {"step": count([state]), **_by_moment(options(group, OF_ROWS))}

        columns = ([p], *[[state[name]] for name in MOMENTS])
        rows = [grad.indices], [grad.values]
        _adam_rows_(columns, rows, dynamic=dynamic, **skipping(self._skip))

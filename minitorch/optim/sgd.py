"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minitorch import underived
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.optim.optimizer import Optimizer, given, refuse_weight_decay
from minitorch.optim.plan import Group, State, UpdateRule, options, skipping

__all__ = ["SGD"]

_sgd_rows_ = underived.update("sgd_rows_")
OPTIONS = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
BUFFER = ("momentum_buffer",)


class SGD(Optimizer):
    """p -= lr · b, with b = momentum · b + (1 - dampening) · grad (the first b is grad).

    Without momentum b is the gradient, and row-sparse gradients change only their rows.
    Nesterov's variant steps along grad + momentum · b (Sutskever et al., 2013).

    >>> w = minitorch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> w.square().sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.8000, 1.6000])
    """

    _rule = UpdateRule(underived.update("sgd_"), BUFFER, OPTIONS, counts=False, varying=("first",))

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
        super().__init__(params, given(locals()))

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _used(self, group: Group) -> tuple[str, ...]:
        return BUFFER if group["momentum"] else ()

    def _update_rows(self, p: Tensor, grad: RowGrad, group: Group, state: State) -> None:
        if group["momentum"]:
            raise RuntimeError(
                "SGD: momentum would change every row, so row-sparse gradients need momentum=0 "
                "(or use Adagrad or SparseAdam)"
            )
        refuse_weight_decay(group, "SGD")

        def dynamic() -> dict[str, Any]:
            return options(group, ("lr", "maximize"))

        columns = ([p],), ([grad.indices], [grad.values])
        _sgd_rows_(*columns, dynamic=dynamic, **skipping(self._skip))

"""Losses as modules; `reduction` is "mean", "sum" or "none". See `functional` for the formulas."""

from __future__ import annotations

from minitorch.core.tensor import Tensor
from minitorch.nn import functional as F
from minitorch.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """The loss `_function` of `functional`, which is given the attributes `_options`."""

    _function = ""
    _options: tuple[str, ...] = ("reduction",)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        F.check_reduction(reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        options = {name: getattr(self, name) for name in self._options}
        loss: Tensor = getattr(F, self._function)(input, target, **options)
        return loss


class _WeightedLoss(_Loss):
    _options: tuple[str, ...] = ("weight", "reduction")
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """Squared error."""

    _function = "mse_loss"


class L1Loss(_Loss):
    """Absolute error."""

    _function = "l1_loss"


class SmoothL1Loss(_Loss):
    """Squared error below `beta`, absolute above."""

    _function, _options = "smooth_l1_loss", ("reduction", "beta")

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = beta


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities."""

    _function = "binary_cross_entropy"


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of logits."""

    _function = "binary_cross_entropy_with_logits"
    _options = ("weight", "reduction", "pos_weight")
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.register_buffer("pos_weight", pos_weight)


class NLLLoss(_WeightedLoss):
    """Negative log-likelihood of log-probabilities."""

    _function, _options = "nll_loss", ("weight", "ignore_index", "reduction")

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy of logits against classes or class probabilities."""

    _function = "cross_entropy"
    _options = ("weight", "ignore_index", "reduction", "label_smoothing")

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

"""Losses as modules; `reduction` is "mean", "sum" or "none". See `functional` for the formulas."""

from __future__ import annotations

from collections.abc import Callable

from minitorch.core.tensor import Tensor
from minitorch.nn import functional as F
from minitorch.nn.loss_functions import REDUCTIONS, check_reduction
from minitorch.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class _Loss(Module):
    """The loss `_function` of `functional`, which is given the attributes `_options`."""

    _function = ""
    _options: tuple[str, ...] = ("reduction",)
    _reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction, self._reductions)
        self.reduction = reduction

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        options = {name: getattr(self, name) for name in self._options}
        loss: Tensor = getattr(F, self._function)(*inputs, **named, **options)
        return loss


class _MarginLoss(_Loss):
    _options: tuple[str, ...] = ("margin", "reduction")

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = margin


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


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities; `reduction` may be "batchmean"."""

    _function, _options = "kl_div", ("reduction", "log_target")
    _reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target


class HuberLoss(_Loss):
    """Squared error up to `delta`, absolute above."""

    _function, _options = "huber_loss", ("reduction", "delta")

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta


class PoissonNLLLoss(_Loss):
    """Negative log-likelihood of counts of a Poisson distribution."""

    _function, _options = "poisson_nll_loss", ("log_input", "full", "eps", "reduction")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps


class GaussianNLLLoss(_Loss):
    """Negative log-likelihood of normal distributions: (mean, target, variance)."""

    _function, _options = "gaussian_nll_loss", ("full", "eps", "reduction")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps


class SoftMarginLoss(_Loss):
    """Logistic loss of targets 1 and -1."""

    _function = "soft_margin_loss"


class HingeEmbeddingLoss(_MarginLoss):
    """A distance where the target is 1, what it lacks of `margin` where it is -1."""

    _function = "hinge_embedding_loss"

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction=reduction)


class MarginRankingLoss(_MarginLoss):
    """Of two numbers, the one named by the target should be larger by `margin`."""

    _function = "margin_ranking_loss"


class CosineEmbeddingLoss(_MarginLoss):
    """The angle of two vectors, which the target wants alike (1) or not (-1)."""

    _function = "cosine_embedding_loss"


class TripletMarginLoss(_Loss):
    """(anchor, positive, negative): the negative should be farther away by `margin`."""

    _function, _options = "triplet_margin_loss", ("margin", "p", "eps", "swap", "reduction")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: margin must be greater than 0, got {margin}")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap


class TripletMarginWithDistanceLoss(_Loss):
    """The same with a distance of one's own."""

    _function = "triplet_margin_with_distance_loss"
    _options = ("distance_function", "margin", "swap", "reduction")

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: margin must be greater than 0, got {margin}"
            )
        self.distance_function = distance_function or F.pairwise_distance
        self.margin, self.swap = margin, swap


class MultiMarginLoss(_WeightedLoss):
    """Hinge loss of several classes, of which one is right."""

    _function, _options = "multi_margin_loss", ("p", "margin", "weight", "reduction")

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, reduction=reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: only p == 1 and p == 2 are supported, got {p}")
        if weight is not None and weight.dim() != 1:
            raise ValueError(f"MultiMarginLoss: weight must be 1-D, got {tuple(weight.shape)}")
        self.p, self.margin = p, margin


class MultiLabelMarginLoss(_Loss):
    """Hinge loss of several classes, of which some are right."""

    _function = "multilabel_margin_loss"


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross entropy of logits, a mean over the classes."""

    _function = "multilabel_soft_margin_loss"

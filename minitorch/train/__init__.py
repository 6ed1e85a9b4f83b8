"""The training loop, and the job of classifying images."""

from minitorch.train.classify import ClassifierConfig, ClassifierResult, mlp, train_classifier
from minitorch.train.loop import evaluate, fit

__all__ = [
    "ClassifierConfig",
    "ClassifierResult",
    "evaluate",
    "fit",
    "mlp",
    "train_classifier",
]

"""Training loops, checkpoints, and the job of classifying images."""

from minitorch.train.checkpoint import load_checkpoint, save_checkpoint
from minitorch.train.classify import ClassifierConfig, ClassifierResult, mlp, train_classifier
from minitorch.train.loop import evaluate, fit

__all__ = [
    "ClassifierConfig",
    "ClassifierResult",
    "evaluate",
    "fit",
    "load_checkpoint",
    "mlp",
    "save_checkpoint",
    "train_classifier",
]

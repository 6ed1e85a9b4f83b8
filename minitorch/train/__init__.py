"""The training loop, the job of classifying images, small networks on points of the plane."""

from minitorch.boundary import guard
from minitorch.train.classify import ClassifierConfig, ClassifierResult, mlp, train_classifier
from minitorch.train.loop import evaluate, fit
from minitorch.train.planar import PlanarConfig, PlanarExperiment

__all__ = [
    "ClassifierConfig",
    "ClassifierResult",
    "PlanarConfig",
    "PlanarExperiment",
    "evaluate",
    "fit",
    "mlp",
    "train_classifier",
]

guard(globals(), __all__)

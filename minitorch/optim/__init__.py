"""Optimizers, learning-rate schedulers and gradient clipping."""

from minitorch.boundary import guard
from minitorch.nn.utils import clip_grad_norm_, clip_grad_value_
from minitorch.optim import lr_scheduler
from minitorch.optim.adagrad import Adagrad
from minitorch.optim.adam import Adam, AdamW, SparseAdam
from minitorch.optim.optimizer import Optimizer
from minitorch.optim.rmsprop import RMSprop
from minitorch.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "SparseAdam",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]

guard(globals(), __all__)

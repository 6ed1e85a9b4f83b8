"""Optimizers, learning-rate schedulers and gradient clipping."""

from minitorch.boundary import guard
from minitorch.nn import utils
from minitorch.nn.utils import *
from minitorch.optim import adagrad, adam, composite, lr_scheduler, optimizer, rmsprop, sgd
from minitorch.optim.adagrad import *
from minitorch.optim.adam import *
from minitorch.optim.composite import *
from minitorch.optim.optimizer import *
from minitorch.optim.rmsprop import *
from minitorch.optim.sgd import *

__all__ = [
    "lr_scheduler",
    *utils.__all__,
    *adagrad.__all__,
    *adam.__all__,
    *composite.__all__,
    *optimizer.__all__,
    *rmsprop.__all__,
    *sgd.__all__,
]

guard(globals())

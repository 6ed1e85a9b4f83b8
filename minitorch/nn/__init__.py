"""Layers, activations, losses and initialisation."""

from minitorch.boundary import guard
from minitorch.nn import (
    activations,
    containers,
    functional,
    init,
    layers,
    losses,
    module,
    rnn,
    utils,
)
from minitorch.nn.activations import *
from minitorch.nn.containers import *
from minitorch.nn.layers import *
from minitorch.nn.losses import *
from minitorch.nn.module import *
from minitorch.nn.rnn import *

__all__ = [
    "functional",
    "init",
    "utils",
    *activations.__all__,
    *containers.__all__,
    *layers.__all__,
    *losses.__all__,
    *module.__all__,
    *rnn.__all__,
]

guard(globals())

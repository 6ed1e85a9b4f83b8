"""`minitorch.data` under the name it has in PyTorch."""

from minitorch.data import dataset, loader, samplers
from minitorch.data.dataset import *
from minitorch.data.loader import *
from minitorch.data.samplers import *

__all__ = [*dataset.__all__, *loader.__all__, *samplers.__all__]

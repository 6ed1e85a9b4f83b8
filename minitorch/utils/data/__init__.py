"""`minitorch.data` under the name it has in PyTorch."""

from minitorch.data import dataset, loader
from minitorch.data.dataset import *
from minitorch.data.loader import *

__all__ = [*dataset.__all__, *loader.__all__]

"""Datasets, the loader of mini-batches, points of the plane, and sources of real data."""

from minitorch.boundary import guard
from minitorch.data import dataset, loader, samplers, sources
from minitorch.data import planar as _planar
from minitorch.data.dataset import *
from minitorch.data.loader import *
from minitorch.data.planar import *
from minitorch.data.samplers import *
from minitorch.data.sources import *

__all__ = [*dataset.__all__, *loader.__all__, *_planar.__all__, *samplers.__all__, *sources.__all__]

guard(globals())

"""Datasets, the loader of mini-batches, points of the plane, and sources of real data."""

from minitorch.boundary import guard
from minitorch.data.dataset import Dataset, Subset, TensorDataset, random_split
from minitorch.data.loader import DataLoader, default_collate
from minitorch.data.planar import PLANAR, PlanarSource, planar
from minitorch.data.sources import SOURCES, Source, digits, fashion_mnist, read_idx

__all__ = [
    "PLANAR",
    "SOURCES",
    "DataLoader",
    "Dataset",
    "PlanarSource",
    "Source",
    "Subset",
    "TensorDataset",
    "default_collate",
    "digits",
    "fashion_mnist",
    "planar",
    "random_split",
    "read_idx",
]

guard(globals(), __all__)

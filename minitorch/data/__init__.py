"""Datasets, the loader of mini-batches, and sources of real data."""

from minitorch.data.dataset import Dataset, Subset, TensorDataset, random_split
from minitorch.data.loader import DataLoader, default_collate
from minitorch.data.sources import SOURCES, Source, digits, fashion_mnist, read_idx

__all__ = [
    "SOURCES",
    "DataLoader",
    "Dataset",
    "Source",
    "Subset",
    "TensorDataset",
    "default_collate",
    "digits",
    "fashion_mnist",
    "random_split",
    "read_idx",
]

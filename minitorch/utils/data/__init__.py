"""`minitorch.data` under the name it has in PyTorch."""

from minitorch.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split

__all__ = [
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "random_split",
]

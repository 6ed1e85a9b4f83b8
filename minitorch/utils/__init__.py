"""PyTorch's names for things that live elsewhere in minitorch."""

"""The mode in which ops on a GPU add up duplicates in a fixed order."""

from __future__ import annotations

from minitorch.recording import edited

__all__ = ["are_deterministic_algorithms_enabled", "use_deterministic_algorithms"]

_required = False


def use_deterministic_algorithms(mode: bool) -> None:
    """Make ops give the same bits in every run, on a GPU too, where that is slower.

    The mode concerns the ops that add up duplicates: index_add_, index_put_ with accumulate,
    scatter_add_, and the gradients of indexing, gather and embeddings. In this mode they sort their
    indices and sum in that order, instead of adding atomically. The CPU always sums in order.
    """
    global _required
    _required = bool(mode)
    edited()


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms(True)` is in force."""
    return _required

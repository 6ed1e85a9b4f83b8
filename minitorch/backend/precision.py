"""The precision of a GPU's float32 matrix products."""

from __future__ import annotations

__all__ = ["get_float32_matmul_precision", "set_float32_matmul_precision"]

PRECISIONS = ("highest", "high", "medium")
_chosen = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Set the precision of float32 matrix products on an NVIDIA GPU.

    "highest": in float32. "high" and "medium": factors are rounded to TF32 (10 bits of mantissa
    instead of 23) where the GPU has tensor cores for TF32, which are several times faster; sums
    stay in float32. The setting does not concern other dtypes and devices. A compiled step keeps
    the precision that it was recorded with.
    """
    if precision not in PRECISIONS:
        known = ", ".join(map(repr, PRECISIONS))
        raise ValueError(
            f"set_float32_matmul_precision: expected one of {known}, got {precision!r}"
        )
    global _chosen
    _chosen = precision


def get_float32_matmul_precision() -> str:
    """The last argument of `set_float32_matmul_precision`; "highest" at first."""
    return _chosen

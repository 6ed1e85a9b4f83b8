"""What the kernels of linear algebra have in common: names of results, and how they are packed.

An op gives one array: the results of a decomposition of k columns stand below each other, in the
order of `PACKED`; a vector is one row, a matrix whose columns are not k is transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Array = Any


class LinAlgError(RuntimeError):
    """A matrix that has no result: singular, not positive definite, or not converged."""


def _turned(x: Array) -> Array:
    return x.transpose(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)


def parts(name: str, xp_linalg: Any, x: Array, upper: bool = False) -> Sequence[Array]:
    """The results of a decomposition by NumPy's or CuPy's functions, as rows of equal length."""
    if name == "eigh":
        values, vectors = xp_linalg.eigh(x, UPLO="U" if upper else "L")
        return vectors, values[..., None, :]
    if name == "svd":
        u, s, vh = xp_linalg.svd(x, full_matrices=False)
        return u, s[..., None, :], _turned(vh)
    q, r = xp_linalg.qr(x)
    return q, _turned(r)


def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose error is a LinAlgError that names the op."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            if type(error).__name__ != "LinAlgError":
                raise
            raise LinAlgError(f"linalg.{name}: {error}") from None

    return call

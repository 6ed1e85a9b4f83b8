"""Linear algebra by NumPy's LAPACK; the results of a decomposition come packed, see `solvers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.backend.cpu.kernel import Array, KernelTable, into, quiet
from minitorch.backend.solvers import checked, parts


def _packed(name: str) -> Any:
    def kernel(x: Array, **params: Any) -> Array:
        return np.concatenate(parts(name, np.linalg, x, **params), axis=-2)

    return kernel


def _slogdet(x: Array) -> Array:
    return np.stack(np.linalg.slogdet(x), -1)


_FUNCTIONS = {
    "inv": np.linalg.inv,
    "solve": np.linalg.solve,
    "cholesky": np.linalg.cholesky,
    "pinv": np.linalg.pinv,
    "slogdet": _slogdet,
    **{name: _packed(name) for name in ("eigh", "svd", "qr")},
}
LINALG: KernelTable = {
    name: into(quiet(checked(name, function))) for name, function in _FUNCTIONS.items()
}

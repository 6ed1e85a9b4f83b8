"""Limits of dtypes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from minitorch.core import dtypes

__all__ = ["finfo", "iinfo"]

_finfo: Any = ml_dtypes.finfo


class _Limits:
    """What is common to `finfo` and `iinfo`: min, max, bits, dtype (a name)."""

    def __init__(self, type: dtypes.dtype | None = None) -> None:
        d = dtypes.get_default_dtype() if type is None else dtypes.as_dtype(type)
        self._describe(d)
        self.bits = 8 * d.itemsize
        self.dtype = d.name

    def _describe(self, d: dtypes.dtype) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        fields = ", ".join(f"{k}={v}" for k, v in vars(self).items())
        return f"{self.__class__.__name__}({fields})"


class finfo(_Limits):
    """Limits of a floating-point dtype: min, max, eps, tiny, smallest_normal, resolution."""

    def _describe(self, d: dtypes.dtype) -> None:
        if not d.is_floating_point:
            raise TypeError(f"finfo: type: expected a floating-point dtype, got {d}; use iinfo")
        found = _finfo(d.array_dtype)
        self.min, self.max, self.eps = (float(v) for v in (found.min, found.max, found.eps))
        self.tiny = self.smallest_normal = float(found.tiny)
        self.resolution = float(found.resolution)


class iinfo(_Limits):
    """Limits of an integer dtype: min and max."""

    def _describe(self, d: dtypes.dtype) -> None:
        if d.category != dtypes.INT:
            raise TypeError(f"iinfo: type: expected an integer dtype, got {d}; use finfo")
        found = np.iinfo(d.array_dtype)
        self.min, self.max = int(found.min), int(found.max)

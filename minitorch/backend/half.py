"""Numbers beside arrays of halves."""

from __future__ import annotations

from typing import Any

import numpy as np

_ARITHMETIC = (np.add, np.subtract, np.multiply, np.divide)


class HalfScalar(float):
    """A number beside arrays of halves, whose dtype the result of an op has.

    + - * / are computed in float32; all else takes the number in the array's dtype.
    """

    __slots__ = ()

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        half = next(x.dtype for x in inputs if isinstance(x, np.ndarray))
        number = (np.float32 if ufunc in _ARITHMETIC else half.type)(self)
        inputs = tuple(number if x is self else x for x in inputs)
        wide = getattr(ufunc, method)(*inputs, out=out, casting="unsafe", **kwargs)
        return wide if out is not None or wide.dtype == np.bool_ else np.asarray(wide, half)

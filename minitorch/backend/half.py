"""Numbers beside float16 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


class HalfScalar(float):
    """A number beside float16 arrays, whose + - * / with them are computed in float32."""

    __slots__ = ()

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if ufunc not in (np.add, np.subtract, np.multiply, np.divide):
            inputs = tuple(float(x) if x is self else x for x in inputs)
            return getattr(ufunc, method)(*inputs, out=out, **kwargs)
        inputs = tuple(np.float32(x) if x is self else x for x in inputs)
        wide = getattr(ufunc, method)(*inputs, out=out, casting="unsafe", **kwargs)
        return wide if out is not None else np.asarray(wide, np.float16)

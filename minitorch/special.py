"""Special functions (`torch.special`), elementwise and differentiable."""

from __future__ import annotations

import math
from typing import Any

from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.operands import as_floating
from minitorch.ops import elementwise, functions, reduce
from minitorch.ops.elementwise import where

__all__ = ["digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0"]
__all__ += ["i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp"]
__all__ += ["multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax"]
__all__ += ["xlog1py", "xlogy", "zeta"]

digamma = psi = functions.digamma
erf = elementwise.erf
erfc = functions.erfc
erfinv = functions.erfinv
exp2 = functions.exp2
expit = elementwise.sigmoid
expm1 = elementwise.expm1
gammaln = functions.lgamma
i0 = functions.i0
i1 = functions.i1
log1p = elementwise.log1p
log_softmax = reduce.log_softmax
logit = functions.logit
logsumexp = reduce.logsumexp
multigammaln = functions.mvlgamma
polygamma = functions.polygamma
round = elementwise.round
sinc = functions.sinc
softmax = reduce.softmax
xlogy = functions.xlogy
zeta = functions.zeta


def entr(input: Tensor) -> Tensor:
    """-x log(x), 0 at 0 and -inf below."""
    x = as_floating(input, "entr")
    positive = x > 0
    found = -x * where(positive, x, 1.0).log()
    return where(positive, found, where(x == 0, 0.0, where(x < 0, -math.inf, x)))


def ndtr(input: Tensor) -> Tensor:
    """The share of the standard normal distribution below input."""
    return erfc(as_floating(input, "ndtr") * -math.sqrt(0.5)) * 0.5


def ndtri(input: Tensor) -> Tensor:
    """The number below which the share input of the standard normal distribution lies."""
    return erfinv(2 * as_floating(input, "ndtri") - 1) * math.sqrt(2)


def log_ndtr(input: Tensor) -> Tensor:
    """log(ndtr(input)), also where that is very small."""
    x = as_floating(input, "log_ndtr")
    low = x < -5
    safe = where(low, x, -6.0)
    # The asymptotic series of the tail (Abramowitz and Stegun 26.2.12).
    z = 1 / (safe * safe)
    series = 1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z * (1 - 9 * z * (1 - 11 * z)))))
    tail = -safe * safe * 0.5 - (-safe).log() - 0.5 * math.log(2 * math.pi) + series.log()
    return where(low, tail, ndtr(where(low, 0.0, x)).log())


def i0e(input: Tensor) -> Tensor:
    """e^-|input| * i0(input)."""
    x = as_floating(input, "i0e")
    return (-x.abs()).exp() * i0(x)


def i1e(input: Tensor) -> Tensor:
    """e^-|input| * i1(input)."""
    x = as_floating(input, "i1e")
    return (-x.abs()).exp() * i1(x)


def xlog1py(input: Any, other: Any) -> Any:
    """input * log1p(other), and 0 where input is 0 and other is not nan."""
    return functions._times_log(input, other, elementwise.log1p, 0.0)


guard(globals())

"""Activations as modules. See `functional` for the formulas."""

from __future__ import annotations

from typing import Any

from minitorch.backend import Device
from minitorch.core.dtypes import dtype as DType
from minitorch.core.tensor import Tensor
from minitorch.creation import empty
from minitorch.nn import functional as F
from minitorch.nn.init import constant_
from minitorch.nn.module import Module, Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "AlphaDropout",
    "FeatureAlphaDropout",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Activation(Module):
    """The function `_function` of `functional`, which is given the options of the constructor.

    They are attributes. _trains: whether the function takes `training` as well.
    """

    _function = ""
    _trains = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        options = {name: getattr(self, name) for name in self._options}
        if self._trains:
            options["training"] = self.training
        output: Tensor = getattr(F, self._function)(input, **options)
        return output

    def extra_repr(self) -> str:
        shown = {name: getattr(self, name) for name in self._options}
        if not shown.get("inplace", True):
            del shown["inplace"]
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class _Inplace(_Activation):
    """An activation that may overwrite its input."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class ReLU(_Inplace):
    """max(x, 0)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class SiLU(_Inplace):
    """x · σ(x)."""

    _function = "silu"


class LeakyReLU(_Activation):
    """x where positive, else negative_slope · x."""

    _function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class RReLU(_Activation):
    """x where positive, else a slope drawn from U(lower, upper) · x; in evaluation their mean."""

    _function, _trains = "rrelu", True

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(lower=lower, upper=upper, inplace=inplace)


class PReLU(Module):
    """x where positive, else weight · x; one weight, or one for each channel (He et al., 2015)."""

    weight: Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to `init`."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_Activation):
    """x where positive, else alpha · (eˣ - 1)."""

    _function = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class CELU(_Activation):
    """x where positive, else alpha · (e^(x / alpha) - 1)."""

    _function = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class SELU(_Inplace):
    """ELU, scaled so that mean 0 and variance 1 stay (Klambauer et al., 2017)."""

    _function = "selu"


class Mish(_Inplace):
    """x · tanh(log(1 + eˣ))."""

    _function = "mish"


class ReLU6(_Inplace):
    """min(max(x, 0), 6)."""

    _function = "relu6"


class Hardtanh(_Activation):
    """x limited to [min_val, max_val]."""

    _function = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if min_val > max_val:
            raise ValueError(
                f"Hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}"
            )
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)


class Hardsigmoid(_Inplace):
    """min(max(x + 3, 0), 6) / 6."""

    _function = "hardsigmoid"

    def extra_repr(self) -> str:
        return ""


class Hardswish(_Inplace):
    """x · min(max(x + 3, 0), 6) / 6."""

    _function = "hardswish"

    def extra_repr(self) -> str:
        return ""


class Threshold(_Activation):
    """x where above `threshold`, else `value`."""

    _function = "threshold"

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)


class _Shrink(_Activation):
    lambd: float

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(_Shrink):
    """x where |x| > lambd, else 0."""

    _function = "hardshrink"


class Softshrink(_Shrink):
    """x moved towards 0 by `lambd`."""

    _function = "softshrink"


class Tanhshrink(_Activation):
    """x - tanh x."""

    _function = "tanhshrink"

    def __init__(self) -> None:
        super().__init__()


class Softsign(_Activation):
    """x / (1 + |x|)."""

    _function = "softsign"

    def __init__(self) -> None:
        super().__init__()


class GLU(_Activation):
    """a · σ(b) for the halves a and b of the input along `dim`."""

    _function = "glu"

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class GELU(Module):
    """x · Φ(x); approximate="tanh" for the faster formula."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, input: Tensor) -> Tensor:
        return input.sigmoid()


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return input.tanh()


class Softplus(_Activation):
    """log(1 + e^(beta x)) / beta."""

    _function = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class LogSigmoid(_Activation):
    """log σ(x)."""

    _function = "logsigmoid"

    def __init__(self) -> None:
        super().__init__()


class _AlongDim(_Activation):
    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim=dim)


class Softmax(_AlongDim):
    """eˣ / Σ eˣ along `dim`."""

    _function = "softmax"


class Softmin(_AlongDim):
    """e⁻ˣ / Σ e⁻ˣ along `dim`."""

    _function = "softmin"


class LogSoftmax(_AlongDim):
    """log(eˣ / Σ eˣ) along `dim`."""

    _function = "log_softmax"


class AlphaDropout(_Activation):
    """Sets elements to SELU's lowest value with probability `p` in training."""

    _function, _trains = "alpha_dropout", True
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        super().__init__(p=p, inplace=inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class FeatureAlphaDropout(AlphaDropout):
    """The same to whole channels of (N, C, *)."""

    _function = "feature_alpha_dropout"

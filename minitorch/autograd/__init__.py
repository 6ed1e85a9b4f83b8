"""Derivatives of recorded programs: the two walks, users' own ops, and what looks at both."""

from minitorch.autograd import functional
from minitorch.autograd.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from minitorch.boundary import guard
from minitorch.core.engine import Gradient, alias, backward, grad, push_forward, topological
from minitorch.core.function import Function, FunctionCtx
from minitorch.core.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "FunctionCtx",
    "Gradient",
    "alias",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "inference_mode",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "no_grad",
    "push_forward",
    "set_detect_anomaly",
    "set_grad_enabled",
    "topological",
]

guard(globals(), __all__)

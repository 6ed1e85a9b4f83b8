"""Derivatives of recorded programs: the two walks, users' own ops, and what looks at both."""

from minitorch.autograd import functional
from minitorch.autograd.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from minitorch.autograd.engine import (
    Function,
    FunctionCtx,
    Gradient,
    alias,
    backward,
    grad,
    push_forward,
    topological,
)

__all__ = [
    "Function",
    "FunctionCtx",
    "Gradient",
    "alias",
    "backward",
    "detect_anomaly",
    "functional",
    "grad",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "push_forward",
    "set_detect_anomaly",
    "topological",
]

"""What `print` shows of a tensor: PyTorch's layout, digits and options.

Gives Tensor and RowGrad their `repr`. Only the part that is shown is copied to the host.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, NamedTuple

from minitorch.core import pytree
from minitorch.core.dtypes import bool_, get_default_dtype, int64
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor

__all__ = ["get_printoptions", "set_printoptions"]


class _Options(NamedTuple):
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}
_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; what is left out stays as it is, but for sci_mode.

    precision: digits behind the point (4). threshold: with more elements than this (1000), only
    `edgeitems` (3) at either end of each dimension are shown. linewidth: characters per line (80).
    profile: "default", "short" or "full", which the other arguments then modify.
    sci_mode: scientific notation always or never; None, also by being left out: where it helps.
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        known = ", ".join(map(repr, _PROFILES))
        raise ValueError(f"set_printoptions: profile: expected one of {known}, got {profile!r}")
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    base = _options if profile is None else _PROFILES[profile]
    changes: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
    for name, value in changes.items():
        kind: Any = Real if name == "threshold" else Integral
        if not (isinstance(value, kind) and value >= 0):
            raise ValueError(f"set_printoptions: {name}: expected a number >= 0, got {value!r}")
    _options = base._replace(**changes, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """The options of `set_printoptions` as they are now."""
    return _options._asdict()


# ---------------------------------------------------------------------- what is shown
def _shown(x: Tensor, summarize: bool) -> Any:
    """The elements to show as nested lists, in which an Ellipsis stands for what is left out."""
    if not summarize or x.ndim == 0:
        return x.tolist()
    n, edge = len(x), _options.edgeitems
    if n <= 2 * edge:
        return x.tolist() if x.ndim == 1 else [_shown(row, True) for row in x]
    ends = (x[:edge], x[n - edge :])
    if x.ndim == 1:
        head, tail = (end.tolist() for end in ends)
    else:
        head, tail = ([_shown(row, True) for row in end] for end in ends)
    return [*head, ..., *tail]


def _leaves(values: Any) -> list[Any]:
    return [value for value in pytree.leaves(values) if value is not ...]


class _Formatter:
    """Writes elements so that all that are shown have one notation and one width."""

    def __init__(self, values: Any, floating: bool) -> None:
        self.width = 1
        self.spec = ""
        self.whole = False
        if floating:
            self._choose([v for v in _leaves(values) if v and math.isfinite(v)])
        else:
            self.width = max(len(str(v)) for v in _leaves(values)) if values != [...] else 1

    def _choose(self, numbers: list[float]) -> None:
        """Pick the notation by the finite, nonzero numbers: whole, fixed or scientific."""
        self.whole = all(v == math.floor(v) for v in numbers)
        scientific = bool(_options.sci_mode)
        if numbers and _options.sci_mode is None:
            sizes = [abs(v) for v in numbers]
            low, high = min(sizes), max(sizes)
            scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        if scientific and numbers:
            self.whole = False
            self.spec = f".{_options.precision}e"
        else:
            self.spec = ".0f" if self.whole else f".{_options.precision}f"
        self.width = max((len(self._plain(v)) for v in numbers), default=1)

    def _plain(self, value: Any) -> str:
        if not self.spec:
            return str(value)
        text = format(value, self.spec)
        return text + "." if self.whole and math.isfinite(value) else text

    def __call__(self, value: Any) -> str:
        return self._plain(value).rjust(self.width)


def _lay_out(values: Any, ndim: int, indent: int, formatter: _Formatter) -> str:
    """The nested lists as text whose lines after the first are indented by `indent`."""
    if ndim == 0:
        return formatter(values)
    gap = " " * (indent + 1)
    if ndim > 1:
        parts = [
            "..." if v is ... else _lay_out(v, ndim - 1, indent + 1, formatter) for v in values
        ]
        return "[" + ("," + "\n" * (ndim - 1) + gap).join(parts) + "]"
    dots = " ..." if len(values) > 1 else "..."
    words = [dots if v is ... else formatter(v) for v in values]
    per_line = max(1, (_options.linewidth - indent) // (formatter.width + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + gap).join(lines) + "]"


# ---------------------------------------------------------------------- the whole
def _remarks(x: Tensor) -> list[str]:
    """What follows the elements: device, shape and dtype where they do not show, the tape."""
    remarks = []
    if x.device.type != "cpu":
        remarks.append(f"device='{x.device}'")
    empty = x.numel() == 0
    if (x.ndim != 1) if empty else not _options.edgeitems:
        remarks.append(f"size={tuple(x.shape)}")
    obvious = (get_default_dtype(),) if empty else (get_default_dtype(), int64, bool_)
    if x.dtype not in obvious:
        remarks.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        remarks.append(f"grad_fn={x.grad_fn}")
    elif x.requires_grad:
        remarks.append("requires_grad=True")
    return remarks


def _text(x: Tensor, indent: int = 0) -> str:
    prefix = "tensor("
    indent += len(prefix)
    text = "[]"
    if x.numel():
        values = _shown(x.data, x.numel() > _options.threshold)
        text = _lay_out(values, x.ndim, indent, _Formatter(values, x.dtype.is_floating_point))
    text = prefix + text
    column = len(text) - text.rfind("\n") + 1 + (indent - len(prefix)) * ("\n" not in text)
    for remark in _remarks(x):
        if column + len(remark) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + remark
            column = indent + len(remark)
        else:
            text += ", " + remark
            column += len(remark) + 2
    return text + ")"


def _tensor_repr(self: Tensor) -> str:
    return _text(self)


def _row_grad_repr(self: RowGrad) -> str:
    gap = "\n" + " " * len("RowGrad(")
    indices = _text(self.indices, len("RowGrad(indices="))
    values = _text(self.values, len("RowGrad(values="))
    return f"RowGrad(indices={indices},{gap}values={values},{gap}size={tuple(self.shape)})"


Tensor.__repr__ = _tensor_repr  # type: ignore[method-assign]
RowGrad.__repr__ = _row_grad_repr  # type: ignore[method-assign,assignment]

"""Anomaly mode: which op made the first NaN or infinity, and where the user called it.

While the mode is on, it intercepts the kernels and rules of all ops and notes where nodes are made.
"""

from __future__ import annotations

import linecache
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from minitorch import backend, recording
from minitorch.core import pytree
from minitorch.core.dispatch import Op, intercepted
from minitorch.core.function import Part
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor, tensor_of

__all__ = [
    "detect_anomaly",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "set_detect_anomaly",
]

Frame = tuple[str, int, str]  # file, line, function
PACKAGE = str(Path(__file__).parent.parent)
FRAMES = 8  # of the user's, stored with each node
# Families whose kernels compute no number from others.
UNCHECKED = ("constant", "source", "write")


class _Here(threading.local):
    """busy: a check of the mode computes. trace: the forward call whose rule runs."""

    busy = False
    trace: tuple[Frame, ...] = ()


_here = _Here()
_NOWHERE: tuple[Frame, ...] = (("<recorded while anomaly mode was off>", 0, ""),)
_check_nan = True


# ---------------------------------------------------------------------- where ops are called
def _user_frames() -> tuple[Frame, ...]:
    """The innermost calls outside of this package, the last one first."""
    frames: list[Frame] = []
    frame: Any = sys._getframe(1)
    while frame is not None and len(frames) < FRAMES:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            frames.append((code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return tuple(frames)


def _told(frames: Sequence[Frame]) -> str:
    """Frames as a traceback shows them, the last call at the end."""
    lines = []
    for file, line, function in reversed(frames):
        lines.append(f'  File "{file}", line {line}, in {function}')
        if text := linecache.getline(file, line).strip():
            lines.append(f"    {text}")
    return "\n".join(lines) if lines else "  (it was recorded while anomaly mode was off)"


def _trace(node: Node) -> None:
    if node.op is not None:
        node.trace = _here.trace or _user_frames()


@contextmanager
def _traced(node: Node) -> Iterator[None]:
    """Report calls in the block as the forward call of a node."""
    before, _here.trace = _here.trace, node.trace or _here.trace or _NOWHERE
    try:
        yield
    finally:
        _here.trace = before


# ---------------------------------------------------------------------- what is wrong
@contextmanager
def _busy() -> Iterator[None]:
    before, _here.busy = _here.busy, True
    try:
        yield
    finally:
        _here.busy = before


def _finite(value: Any) -> bool:
    """Whether a tensor, a gradient of any kind or a number holds finite numbers only.

    Always true in a step that is being recorded: another thread has switched the mode on then.
    """
    if recording.busy():
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, RowGrad):
        value = value.values
    if isinstance(value, Part):
        return all(map(_finite, value.parts.values()))
    if isinstance(value, (tuple, list)):
        return all(map(_finite, pytree.leaves(value)))
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return True
    with _busy(), no_grad():
        return bool(value.isfinite().all())


def _first_bad(x: Tensor) -> str:
    """The first element that is not finite, and its index."""
    with _busy(), no_grad():
        position = int((~x.detach().isfinite()).reshape(-1).long().argmax())
        value = float(x.detach().reshape(-1)[position])
    index: list[int] = []
    for length in reversed(x.shape):
        position, i = divmod(position, length)
        index.insert(0, i)
    return f"{value} at {index}" if index else str(value)


def _as_tensor(array: Any, array_type: type) -> Tensor:
    """The tensor of a kernel's operand or result: an array of any device, or a NumPy scalar."""
    if any(type(array) is there.array_type for there in backend.registered()):
        return tensor_of(array)
    return tensor_of(backend.of_type(array_type).as_array(array))


# ---------------------------------------------------------------------- what is intercepted
def _checked_kernel(op: Op, array_type: type, kernel: Callable[..., Any]) -> Callable[..., Any]:
    if op.family in UNCHECKED or op.view:
        return kernel

    def checked(*operands: Any, **params: Any) -> Any:
        if _here.busy or _here.trace:
            return kernel(*operands, **params)
        given = [_as_tensor(a, array_type) if type(a) is array_type else a for a in operands]
        was_finite = all(map(_finite, given))  # before the call: `out` may be one of them
        result = kernel(*operands, **params)
        first = result[0] if isinstance(result, (tuple, list)) else result
        if was_finite:
            y = _as_tensor(first, array_type)
            if not _finite(y):
                raise RuntimeError(
                    f"detect_anomaly: {op.name} made {_first_bad(y)} out of finite numbers, in "
                    f"this call:\n{_told(_user_frames())}"
                )
        return result

    return checked


def _checked_rule(name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of a node's rule: finite gradients in must give finite results.

    The ops of a fused op's reference are checked one by one.
    """
    if name == "reference":
        return _through_reference(rule)
    what = "backward" if name == "vjp" else "tangent"

    def checked(node: Node, given: Any) -> Any:
        was_finite = _finite(given)
        try:
            with _traced(node):
                results = rule(node, given)
        except Exception:
            warnings.warn(
                f"error detected in the {what} of {node.name}; its forward call was:\n"
                f"{_told(node.trace)}",
                stacklevel=2,
            )
            raise
        if was_finite and _check_nan:
            _check_results(node, results, what)
        return results

    return checked


def _through_reference(reference: Callable[..., Any]) -> Callable[..., Any]:
    def traced(node: Node, g: Any) -> Any:
        with _traced(node):
            return reference(node, g)

    return traced


def _check_results(node: Node, results: Any, what: str) -> None:
    several = isinstance(results, (list, tuple))
    for i, r in enumerate(results if several else [results]):
        if not _finite(r):
            x = r.values if isinstance(r, RowGrad) else r
            bad = _first_bad(x) if isinstance(x, Tensor) else "nan or inf"
            raise RuntimeError(
                f"detect_anomaly: the {what} of {node.name} made {bad} out of finite numbers"
                f"{f', for its argument {i}' if several else ''}; its forward call was:\n"
                f"{_told(node.trace)}"
            )


# ---------------------------------------------------------------------- settings
class _Setting:
    """The choice of a call or a block: a pair (mode, check_nan)."""

    def __init__(self, mode: bool, check_nan: bool) -> None:
        self.value = mode, check_nan


# The process's setting, then those of the blocks open in any thread; the last setting holds. Each
# block removes its own, so that blocks may end in any order.
_settings = [_Setting(False, True)]
_switching = RLock()
_interception: intercepted | None = None


def _apply() -> None:
    """Intercept as the last setting says; `_switching` is held."""
    global _interception, _check_nan
    mode, check_nan = _settings[-1].value
    if (_interception is not None, _check_nan) == (mode, check_nan):
        return
    if _interception is not None:
        _interception.__exit__()
        _interception = None
    _check_nan = check_nan
    if mode:
        on = intercepted(_checked_kernel if check_nan else None, _checked_rule, _trace)
        on.__enter__()
        _interception = on


def _open(setting: _Setting) -> None:
    with _switching:
        _settings.append(setting)
        try:
            _apply()
        except BaseException:  # a step is being recorded, which refuses: there is no block
            _settings.remove(setting)
            raise


def _close(setting: _Setting) -> None:
    with _switching:
        _settings.remove(setting)
        _apply()


# ---------------------------------------------------------------------- the user's calls
def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _interception is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode, where it is on, looks for NaN and infinity."""
    return _check_nan


class set_detect_anomaly:
    """Switch anomaly mode on or off: at once, and as a context manager until the block's end.

    See `detect_anomaly`. The mode holds for all threads.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._own = _Setting(bool(mode), bool(check_nan))
        with _switching:
            self._changed = _settings[-1]
            self._before = self._changed.value
            self._changed.value = self._own.value
            try:
                _apply()
            except BaseException:
                self._changed.value = self._before
                raise

    def __enter__(self) -> None:
        with _switching:
            self._changed.value = self._before
            _open(self._own)

    def __exit__(self, *_: object) -> None:
        _close(self._own)


class detect_anomaly:
    """A block in which the first NaN or infinity is an error that says where it comes from.

    Run forward and backward inside. An op that makes one out of finite numbers, in the forward
    pass, in backward or in forward mode, raises RuntimeError with its name, the index in the
    tensor, and file and line of the forward call. (PyTorch looks for NaN in backward alone.) If a
    rule of backward raises, a warning says where its forward call was.
    check_nan=False: only that warning. Everything is much slower inside. Updates of optimizers
    and fills with numbers that the user gave (such as -inf in a mask) are not looked at.
    The mode holds for all threads, until the last block that is open in any of them ends.
    Compiled steps run as they are inside.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = bool(check_nan)
        self._own: list[_Setting] = []

    def __enter__(self) -> None:
        setting = _Setting(True, self._check_nan)
        _open(setting)
        self._own.append(setting)

    def __exit__(self, *_: object) -> None:
        _close(self._own.pop())

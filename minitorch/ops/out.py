"""The argument `out=` of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitorch.boundary import writer
from minitorch.core import tape
from minitorch.core.tensor import Tensor
from minitorch.ops import inplace
from minitorch.ops.arguments import need_tensor


def _into(name: str, out: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`out=`: the result written into a tensor, or into a tuple of tensors, which is returned.

    A tensor of another shape takes over the result's memory.
    """
    several = isinstance(out, (tuple, list))
    targets = list(out) if several else [out]
    for target in targets:
        need_tensor(name, "out", target)
        if inplace._tracked(target, *args):
            raise RuntimeError(
                f"{name}: out: functions with out=... do not support automatic differentiation, "
                "but one of the arguments requires grad"
            )
        _check_memory(name, target, function, args)
    result = function(*args, **kwargs)
    values = list(result) if isinstance(result, tuple) else [result]
    if len(values) != len(targets):
        raise TypeError(f"{name}: out: expected {len(values)} tensors, got {len(targets)}")
    for target, value in zip(targets, values):
        _put_into(name, target, value)
    return type(result)(*targets) if hasattr(result, "_fields") else out


def _check_memory(name: str, target: Tensor, function: Any, args: tuple[Any, ...]) -> None:
    """Raise where elements of `out` share an address, or are read after they were written."""
    if any(n > 1 and s == 0 for n, s in zip(target.shape, target.stride())):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers "
            "to a single memory location; clone() it before"
        )
    whole = getattr(function, "__wrapped__", function).__module__ in _ELEMENTWISE
    read = [x for a in args for x in (a if isinstance(a, (list, tuple)) else [a])]
    if not whole and any(isinstance(x, Tensor) and x.version is target.version for x in read):
        raise RuntimeError(f"{name}: unsupported operation: out shares memory with an argument")


# Where element i of the result depends on elements i alone.
_ELEMENTWISE = {
    f"minitorch.{name}"
    for name in ("ops.elementwise", "ops.functions", "ops.inplace", "core.families", "underived")
}
_SAME_DTYPE = {"gather", "amax", "amin", "aminmax", "take", "kthvalue", "multinomial"}


def _put_into(name: str, target: Tensor, value: Tensor) -> None:
    if name in _SAME_DTYPE and value.dtype is not target.dtype:
        raise RuntimeError(
            f"{name}: expected out tensor to have dtype {value.dtype}, but got {target.dtype}"
        )
    if value.dtype.category > target.dtype.category:
        raise RuntimeError(
            f"{name}: out: result type {value.dtype} can't be cast to the desired output type "
            f"{target.dtype}"
        )
    if target.device != value.device:
        raise RuntimeError(f"{name}: out is on {target.device}, the result on {value.device}")
    if target.array.shape == value.array.shape:
        inplace._copy_(target, value)
    else:
        target.data = value.to(target.dtype, copy=True)
        tape.count_change(target)


writer.into = _into

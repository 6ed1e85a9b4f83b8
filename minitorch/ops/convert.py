"""Copies: to another dtype, another device, or new memory. All linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import backend, dtypes
from minitorch.backend import Device
from minitorch.rules import Op, TensorFunction, general, linear
from minitorch.tensor import Node, Tensor, grad_mode

_clone = linear("clone", lambda g, shape: g)
_cast: TensorFunction = general(
    "cast",
    lambda g, inputs, output, shapes, dtype, source: [_cast(g, dtype=source, source=dtype)],
    lambda ts, inputs, output, shape, dtype, source: _cast(ts[0], dtype=dtype, source=source),
)


def _transfer_vjp(node: Node, g: Tensor) -> list[Tensor]:
    return [transfer(g, node.params)]


def _transfer_jvp(node: Node, tangents: Sequence[Any]) -> Tensor:
    return transfer(tangents[0], node.params)


_transfer = Op("transfer", "linear", _transfer_vjp, _transfer_jvp)


def transfer(input: Tensor, device: Device) -> Tensor:
    """A copy of the tensor on another device; its gradient travels back."""
    array = _transfer.entries[type(input.array)](input.array, device)
    if input.node is None or not grad_mode.enabled:
        return Tensor(array)
    return Tensor(array, Node(_transfer, (input.node,), (), input.device, array.shape))


def to(
    input: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    copy: bool = False,
    non_blocking: bool = False,
) -> Tensor:
    """The tensor in another dtype or on another device: `to(dtype)`, `to(device)`, `to(other)`.

    The tensor itself where nothing changes, unless `copy`. Differentiable between floats.
    """
    for value in args:
        if isinstance(value, Tensor):
            dtype, device = value.dtype, value.device
        elif isinstance(value, dtypes.dtype) or value in (float, int, bool):
            dtype = value
        else:
            device = value
    result = input
    if device is not None:
        wanted = Device(device)
        serving = backend.available(wanted)
        here = input.device
        if serving.name != here.type or wanted.index not in (None, here.index):
            result = transfer(input, wanted)
    if dtype is not None:
        result = cast(result, dtypes.as_dtype(dtype))
    return clone(result) if copy and result is input else result


def cast(input: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The tensor in this dtype: itself if it has it. Only floats carry a gradient."""
    source = input.array.dtype
    if source == dtype.array_dtype:
        return input
    if not dtype.is_floating_point:
        input = input.detach()
    return _cast(input, dtype=dtype.array_dtype, source=source)


def clone(input: Tensor) -> Tensor:
    """A contiguous copy in memory of its own; differentiable."""
    return _clone(input)


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself if its elements lie in order in memory, else a copy for which they do."""
    return input if input.is_contiguous() else clone(input)

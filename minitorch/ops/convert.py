"""Copies: to another dtype, another device, or new memory. All linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import backend, recording
from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.core.dispatch import Op
from minitorch.core.families import TensorFunction, general, linear
from minitorch.core.grad_mode import grad_mode
from minitorch.core.tensor import Node, Tensor, tensor_of

__all__ = ["clone"]

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


def transfer(input: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """A copy of the tensor on another device; its gradient travels back."""
    recording.impossible("transfer: a step is recorded on one device, and moves nothing to another")
    array = _transfer.kernels[type(input.array)](input.array, device, non_blocking=non_blocking)
    if input.node is None or not grad_mode.enabled:
        return tensor_of(array)
    return tensor_of(array, Node(_transfer, (input.node,), (), input.device, array.shape))


def to(
    input: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    copy: bool = False,
    non_blocking: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """The tensor in another dtype or on another device: `to(dtype)`, `to(device)`, `to(other)`.

    The tensor itself where nothing changes, unless `copy`. Differentiable between floats.
    non_blocking: the host does not wait for a copy from pinned memory to a GPU, nor for one from
    a GPU, whose result (in pinned memory) is there after the next synchronisation.
    """
    flags = []
    for value in args:
        if isinstance(value, Tensor):
            dtype, device = value.dtype, value.device
        elif isinstance(value, bool):
            flags.append(value)
        elif isinstance(value, (dtypes.dtype, type)):
            dtype = value
        else:
            device = value
    non_blocking, copy = (*flags, *(non_blocking, copy)[len(flags) :])
    result = input
    if device is not None:
        wanted = device if isinstance(device, Device) else Device(device)
        serving = backend.available(wanted)
        here = input.device
        if wanted.index is None and serving.gpu is not None:
            wanted = Device(serving.name, serving.current())
        if serving.name != here.type or wanted.index not in (None, here.index):
            result = transfer(input, wanted, non_blocking)
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


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A contiguous copy in memory of its own; differentiable."""
    return _clone(input)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in order in memory, else a copy for which they do."""
    return input if input.is_contiguous() else clone(input)


def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """A copy in host memory from which GPUs copy by themselves; the tensor itself if it is there.

    device: the GPU's type; None: the default device's, or "cuda". RuntimeError without a GPU.
    """
    if backend.of(input.array).name != "cpu":
        raise RuntimeError(f"pin_memory: only tensors on cpu can be pinned, got {input.device}")
    if backend.is_pinned(input.array):
        return input
    return tensor_of(backend.pin(input.array, device))


def record_stream(input: Tensor, stream: Any) -> None:
    """Let the tensor's memory be used again only after the stream's work of the time when it dies.

    For a tensor that is used in another stream than that which made it. stream: of its device's
    type, such as `minitorch.cuda.Stream`. A view that outlives the tensor needs a call of its own.
    Raises RuntimeError for a tensor on the cpu, ValueError for a stream of another device.
    """
    if backend.of(input.array).gpu is None:
        raise RuntimeError(f"record_stream: expected a tensor on a GPU, got {input.device}")
    if not hasattr(stream, "_stream"):
        raise TypeError(f"record_stream: stream: expected a Stream, got {type(stream).__name__}")
    if stream.device != input.device:
        raise ValueError(
            f"record_stream: stream: expected one of {input.device}, got one of {stream.device}"
        )
    backend.record_stream(input.array, stream._stream)


def is_pinned(input: Tensor, device: Any = None) -> bool:
    """Whether the tensor is in pinned host memory."""
    return backend.is_pinned(input.array)

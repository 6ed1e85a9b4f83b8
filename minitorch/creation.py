"""Making tensors out of Python data, NumPy arrays and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minitorch import backend, recording, underived
from minitorch.backend import Device
from minitorch.boundary import guard
from minitorch.core import dtypes
from minitorch.core.dtypes import Size
from minitorch.core.dtypes import dtype as Dtype
from minitorch.core.tape import member_of, register_view
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.operands import fitting, integer, is_number

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]

_empty = underived.source("empty")
_full = underived.source("full")
_arange = underived.source("arange")
_linspace = underived.source("linspace")

DeviceLike = Device | str | None
_OF_DLPACK = {1: "cpu", 2: "cuda", 3: "cpu", 13: "cuda"}  # pinned and managed memory are 3 and 13


def shape_of(name: str, size: Sequence[Any]) -> tuple[int, ...]:
    """The shape that `size` means: lengths one by one, or one sequence of them."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = size[0]
    shape = tuple([n if type(n) is int else _length(name, n) for n in size])
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{name}: size: lengths cannot be negative, got {shape}")
    if math.prod(shape) >= 2**60:
        raise RuntimeError(f"{name}: size: {shape} are more elements than any memory holds")
    return shape


def _length(name: str, n: Any) -> int:
    length = integer(n)
    if length is None:
        raise TypeError(f"{name}: size: expected integers, got {n!r}")
    return length


def _finish(x: Tensor, requires_grad: bool) -> Tensor:
    return x.requires_grad_() if requires_grad else x


def _dtype(dtype: Any, default: Dtype | None = None) -> Dtype:
    if dtype is None:
        return default or dtypes.get_default_dtype()
    return dtypes.as_dtype(dtype)


def from_host(array: Any, dtype: Dtype | None, device: DeviceLike, copy: bool) -> Tensor:
    """A tensor of a NumPy array; it shares memory unless `copy`, or dtype or device ask for it."""
    serving, index = backend.resolve(device)
    if dtype is not None and array.dtype != dtype.array_dtype:
        array = backend.host_array(array, dtype.array_dtype)
    else:  # a view: who gives the caller's array another shape must not reshape the tensor
        array = array.copy(order="C") if copy else array.view()
    result = tensor_of(serving.from_host(array, index))
    recording.constant(result.array)
    dtypes.of_array(result.array)
    return result


def tensor(
    data: Any, *, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """A new leaf tensor that copies `data`: a number, nested lists, a NumPy array or a tensor.

    Without dtype Python's floats become the default dtype (float32), its integers int64; NumPy
    arrays and tensors keep theirs.

    >>> minitorch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> minitorch.tensor([0.5, 2.0]).dtype
    minitorch.float32
    """
    if isinstance(data, Tensor):
        device = data.device if device is None else device
        data = data.detach().to(dtype=dtype, device=device, copy=True)
        return _finish(data, requires_grad)
    try:
        array = backend.host_array(data)
    except (TypeError, RuntimeError):  # perhaps of tensors that NumPy cannot read
        array = backend.host_array(_readable(data))
    is_python = not hasattr(data, "dtype")
    if dtype is None and is_python and array.dtype == dtypes.FLOAT64 and not _has_float64(data):
        dtype = dtypes.get_default_dtype()
    chosen = None if dtype is None else dtypes.as_dtype(dtype)
    if is_python and chosen is not None and chosen.category == dtypes.INT and array.size:
        for extreme in (array.min(), array.max()):
            fitting("tensor: data", extreme, chosen)
    return _finish(from_host(array, chosen, device, copy=True), requires_grad)


def _readable(data: Any) -> Any:
    """Nested lists, with the tensors in them detached and on the CPU."""
    if isinstance(data, (list, tuple)):
        return [_readable(x) for x in data]
    return data.detach().cpu() if isinstance(data, Tensor) else data


def _init(self: Tensor, *data: Any, device: DeviceLike = None) -> None:
    made = _constructed(data, device)
    self.array, self.node, self.version = made.array, made.node, made.version
    member = member_of(made)
    if member is not None:  # an alias hears of changes to the tensor that it is one of
        register_view(data[0], self, member.function, member.params)


def _constructed(data: tuple[Any, ...], device: DeviceLike) -> Tensor:
    """What `Tensor(*data)` means: lengths, or one sequence of numbers, array, Size or tensor."""
    first = data[0] if len(data) == 1 else 0
    if isinstance(first, Size):
        return empty(first, device=device)
    if isinstance(first, Tensor):
        if device is not None and Device(device).type != first.device.type:
            raise RuntimeError(f"Tensor: the tensor is on {first.device}; use .to('{device}')")
        return first.view(first.shape)
    is_array = hasattr(first, "strides") and hasattr(first, "__len__")  # not NumPy's scalars
    if is_array or isinstance(first, (list, tuple, range)):
        return tensor(first, dtype=dtypes.get_default_dtype(), device=device)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") for n in data):
        kinds = ", ".join(type(x).__name__ for x in data)
        raise TypeError(
            f"Tensor: expected lengths, or a sequence of numbers or a tensor, got {kinds}"
        )
    return empty(shape_of("Tensor", data or (0,)), device=device)


_init.__qualname__ = "Tensor"  # as errors name it
Tensor.__init__ = _init  # type: ignore[method-assign]


def _has_float64(data: Any) -> bool:
    """Whether a float64 scalar, array or tensor is in nested lists: Python's floats are none."""
    if isinstance(data, (list, tuple)):
        return not {float, int, bool}.issuperset(map(type, data)) and any(map(_has_float64, data))
    if isinstance(data, Tensor):
        return data.dtype is dtypes.float64
    return str(getattr(data, "dtype", "")) == "float64"


def from_numpy(array: Any) -> Tensor:
    """A cpu tensor that shares memory with a NumPy array of a dtype that minitorch has."""
    if type(array).__module__.split(".")[0] != "numpy" or not hasattr(array, "strides"):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    return from_host(backend.host_array(array), None, "cpu", copy=False)


def from_dlpack(ext_tensor: Any, *, device: DeviceLike = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares memory with another library's array, by the protocol DLPack.

    ext_tensor: an array of NumPy, CuPy, PyTorch, JAX…, on the CPU or an NVIDIA GPU; the tensor is
    on the same device, and keeps the memory alive. device: another one to copy it to. copy: True
    copies at any rate; False refuses to, with a ValueError.
    """
    if not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(
            "from_dlpack: ext_tensor: expected an array with __dlpack__ and __dlpack_device__, got "
            f"{type(ext_tensor).__name__}"
        )
    kind, _ = ext_tensor.__dlpack_device__()
    if kind not in _OF_DLPACK:
        raise BufferError(f"from_dlpack: ext_tensor: no tensor is on DLPack's device type {kind}")
    serving = backend.named(_OF_DLPACK[kind])
    assert serving.from_dlpack is not None
    array = serving.from_dlpack(ext_tensor)
    dtypes.of_array(array)
    result = tensor_of(array)
    recording.constant(array)
    moved = result if device is None else result.to(device)
    if copy is False and moved is not result:
        raise ValueError(f"from_dlpack: copy=False: to {device} is a copy from {result.device}")
    return moved.clone() if copy and moved is result else moved


def as_tensor(data: Any, dtype: Any = None, device: DeviceLike = None) -> Tensor:
    """`data` as a tensor, sharing memory where dtype and device allow it."""
    if isinstance(data, Tensor):
        return data.to(device=data.device if device is None else device, dtype=dtype)
    if not hasattr(data, "dtype"):
        return tensor(data, dtype=dtype, device=device)
    chosen = None if dtype is None else dtypes.as_dtype(dtype)
    return from_host(backend.host_array(data), chosen, device, copy=False)


def empty(
    *size: Any, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this shape with whatever was in memory."""
    shape = shape_of("empty", size)
    x = _empty(device, shape=shape, dtype=_dtype(dtype).array_dtype)
    return _finish(x, requires_grad)


def full(
    size: Sequence[int],
    fill_value: float | Tensor,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of this shape, every element `fill_value`, whose type decides the dtype."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    if not is_number(value):
        raise TypeError(f"full: fill_value: expected a number, got {fill_value!r}")
    chosen = _dtype(dtype, dtypes.of_number(value))
    value = fitting("full: fill_value", value, chosen)
    x = _full(device, shape=shape_of("full", (size,)), dtype=chosen.array_dtype, value=value)
    return _finish(x, requires_grad)


def zeros(
    *size: Any, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this shape, every element 0."""
    return full(
        shape_of("zeros", size), 0, dtype=_dtype(dtype), device=device, requires_grad=requires_grad
    )


def ones(
    *size: Any, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this shape, every element 1."""
    return full(
        shape_of("ones", size), 1, dtype=_dtype(dtype), device=device, requires_grad=requires_grad
    )


def like(x: Tensor, dtype: Any = None, device: DeviceLike = None) -> dict[str, Any]:
    """dtype and device of x where they are not given."""
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor, got {type(x).__name__}")
    return {
        "dtype": x.dtype if dtype is None else dtype,
        "device": x.device if device is None else device,
    }


def empty_like(
    x: Tensor, *, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """`empty` with x's shape, dtype and device."""
    return empty(x.shape, **like(x, dtype, device), requires_grad=requires_grad)


def zeros_like(
    x: Tensor, *, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """`zeros` with x's shape, dtype and device."""
    return full_like(x, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    x: Tensor, *, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False
) -> Tensor:
    """`ones` with x's shape, dtype and device."""
    return full_like(x, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(
    x: Tensor,
    fill_value: float | Tensor,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """`full` with x's shape, dtype and device."""
    if dtype is None and device is None and fill_value in (0, 1):  # which every dtype has
        filled = _full(x, shape=x.array.shape, dtype=x.array.dtype, value=fill_value)
        return _finish(filled, requires_grad)
    return full(x.shape, fill_value, **like(x, dtype, device), requires_grad=requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from start (0 if only one argument is given) up to, not including, end.

    >>> minitorch.arange(2, 10, 3)
    tensor([2, 5, 8])
    """
    if end is None:
        start, end = 0, start
    start, end, step = [dtypes.plain(_number("arange", v)) for v in (start, end, step)]
    chosen = _dtype(dtype, None if float in {type(start), type(end), type(step)} else dtypes.int64)
    if chosen is dtypes.int64:  # PyTorch counts in what is left of the numbers as integers
        start, end, step = [fitting("arange", v, chosen) for v in (start, end, step)]
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) / step < 0:
        raise RuntimeError(
            f"arange: start {start} and end {end} do not agree with the sign of step {step}"
        )
    if not math.isfinite((end - start) / step):
        raise RuntimeError(f"arange: expected finite numbers, got {start}, {end} and {step}")
    n = -int((start - end) // step)
    if chosen.category == dtypes.INT:
        start, step = int(start), int(step)
    x = _arange(device, n=n, dtype=chosen.array_dtype, start=start, step=step)
    return _finish(x, requires_grad)


def _number(name: str, value: Any) -> Any:
    """A number, or the element of a tensor that has one."""
    value = value.item() if isinstance(value, Tensor) else value
    if not is_number(value):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return value


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included.

    Of an integer dtype both are cut to integers first, and then the numbers between them.

    >>> minitorch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    n, chosen = integer(steps), _dtype(dtype)
    if n is None:
        raise TypeError(f"linspace: steps: expected an integer, got {steps!r}")
    if n < 0:
        raise RuntimeError(f"linspace: steps must be non-negative, got {n}")
    counted = chosen if chosen.category == dtypes.INT else dtypes.float64
    start, end = (fitting("linspace", _number("linspace", v), counted) for v in (start, end))
    x = _linspace(device, n=n, dtype=chosen.array_dtype, start=start, end=end)
    return _finish(x, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """The identity matrix (n, n), or the first n rows of an (n, m) one."""
    shape_of("eye", (n,))
    columns = arange(n if m is None else m, device=device)
    x = (arange(n, device=device).unsqueeze(1) == columns).to(_dtype(dtype))
    return _finish(x, requires_grad)


guard(globals())

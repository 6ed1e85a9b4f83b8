"""A tensor's answers to Python, NumPy and users: shape, dtype, device, values, copies, format."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from minitorch import backend, recording
from minitorch.core.device import Device
from minitorch.core.dtypes import Array, Size, of_array
from minitorch.core.dtypes import dtype as Dtype


class Protocols:
    """The base of Tensor with these answers."""

    __slots__ = ()

    # ------------------------------------------------------------------ what it is
    @property
    def shape(self: Any) -> Size:
        """Lengths of all dimensions."""
        return Size(self.array.shape)

    @property
    def dtype(self: Any) -> Dtype:
        """Type of the elements."""
        return of_array(self.array)

    @property
    def device(self: Any) -> Device:
        """Device that holds the elements."""
        return backend.device_of(self.array)

    @property
    def ndim(self: Any) -> int:
        """Number of dimensions."""
        return int(self.array.ndim)

    def dim(self: Any) -> int:
        """Number of dimensions."""
        return int(self.array.ndim)

    def numel(self: Any) -> int:
        """Number of elements."""
        return int(self.array.size)

    def nelement(self: Any) -> int:
        """Number of elements."""
        return int(self.array.size)

    def element_size(self: Any) -> int:
        """Bytes of one element."""
        return int(self.array.dtype.itemsize)

    @property
    def nbytes(self: Any) -> int:
        """Bytes of all elements."""
        return int(self.array.nbytes)

    def size(self: Any, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        if dim is None:
            return self.shape
        if not -max(self.ndim, 1) <= dim < max(self.ndim, 1):
            raise IndexError(f"size: dim {dim} is out of range for shape {tuple(self.shape)}")
        return self.array.shape[dim]

    def stride(self: Any, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension (or one), in elements."""
        steps = tuple(s // self.array.dtype.itemsize for s in self.array.strides)
        return steps if dim is None else steps[dim]

    def is_contiguous(self: Any) -> bool:
        """Whether the elements lie in memory in the order of their indices."""
        return bool(self.array.flags.c_contiguous)

    def is_floating_point(self: Any) -> bool:
        """Whether the elements are floating-point numbers."""
        return bool(self.dtype.is_floating_point)

    def data_ptr(self: Any) -> int:
        """Address of the first element, on its device."""
        return backend.of(self.array).address(self.array)

    # ------------------------------------------------------------------ its values
    def _host(self: Any, what: str = "this") -> Any:
        if recording.recorder:
            recording.read_by_host(what)
        return backend.of(self.array).to_host(self.array)

    def numpy(self: Any) -> Any:
        """The elements as a NumPy array that shares this tensor's memory (cpu only).

        A view of its own: to give it another shape does not reshape the tensor.
        """
        if self.node is not None:
            raise RuntimeError(
                "numpy: can't call numpy() on a tensor that requires grad; use detach().numpy()"
            )
        if self.device.type != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; use .cpu() first")
        if recording.recorder:
            recording.read_by_host("numpy()")
        return self.array.view()

    def item(self: Any) -> Any:
        """The only element as a Python number."""
        if self.array.size != 1:
            raise RuntimeError(
                f"item: a tensor with {self.array.size} elements has no single value"
            )
        return self._host("item() (or bool(), int(), float())").item()

    def tolist(self: Any) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._host("tolist()").tolist()

    def __bool__(self: Any) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"the truth value of a tensor with {self.array.size} elements is ambiguous; "
                "use .any() or .all()"
            )
        return bool(self.item())

    def __float__(self: Any) -> float:
        return float(self.item())

    def __int__(self: Any) -> int:
        return int(self.item())

    def __index__(self: Any) -> int:
        if self.dtype.is_floating_point:
            raise TypeError(
                f"only integer tensors of one element can be an index, got {self.dtype}"
            )
        return int(self.item())

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        wanted = array.dtype if dtype is None else dtype
        if copy is False and array.dtype != wanted:
            raise ValueError(f"__array__: a copy is needed to convert {array.dtype} to {dtype}")
        return array.astype(wanted, copy=bool(copy))

    # ------------------------------------------------------------------ other libraries
    def _shared(self: Any, what: str) -> Any:
        """The array, for another library that shares its memory."""
        if self.node is not None:
            raise BufferError(
                f"{what}: can't share a tensor that requires grad; use detach() first"
            )
        if backend.of(self.array).from_dlpack is None:
            raise BufferError(
                f"{what}: no other library reads the memory of {self.device}; use .cpu() first"
            )
        if recording.recorder:
            recording.read_by_host(what)
        return self.array

    def __dlpack__(self: Any, **options: Any) -> Any:
        """A capsule through which another library shares this memory: `other.from_dlpack(x)`.

        options: stream, max_version, dl_device, copy, as the array API standard has them.
        Raises BufferError for a tensor that requires grad, and on the simulated GPU.
        """
        return backend.of(self.array).to_dlpack(self._shared("__dlpack__"), **options)

    def __dlpack_device__(self: Any) -> tuple[int, int]:
        """DLPack's device type and number."""
        kind, number = self._shared("__dlpack_device__").__dlpack_device__()
        return int(kind), int(number)

    @property
    def __cuda_array_interface__(self: Any) -> dict[str, Any]:
        """Pointer, shape and type of a tensor on a GPU, for libraries that read them.

        Raises AttributeError elsewhere, so that hasattr tells.
        """
        if self.device.type != "cuda":
            raise AttributeError(
                f"__cuda_array_interface__: there is no device pointer on {self.device}"
            )
        found: dict[str, Any] = self._shared("__cuda_array_interface__").__cuda_array_interface__
        return found

    def __len__(self: Any) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self.array.shape[0])

    def __iter__(self: Any) -> Iterator[Any]:
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __reversed__(self: Any) -> Any:
        """The elements (or slices along the first dimension) in reverse order, as a copy."""
        return self.flip(0) if self.array.ndim else self.clone()

    def __contains__(self: Any, element: Any) -> bool:
        """Whether an element equals this number or (broadcast) some element of this tensor."""
        found: Any = self == element
        if not hasattr(found, "array"):
            raise TypeError(f"in: expected a tensor or a number, got {type(element).__name__}")
        return bool(found.any())

    __hash__ = object.__hash__

    def __format__(self: Any, spec: str) -> str:
        if self.array.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __copy__(self: Any) -> Any:
        """A leaf of the same memory that requires grad as this tensor does, without a gradient."""
        twin: Any = object.__new__(type(self))
        twin.array, twin.node, twin.version = self.array, None, self.version
        return twin.requires_grad_() if self.node is not None else twin

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "deepcopy: only leaf tensors can be copied deeply; use detach() or clone()"
            )
        if recording.recorder:
            recording.impossible("deepcopy makes a tensor that a replay would not make anew")
        twin: Any = object.__new__(type(self))
        twin.array, twin.node, twin.version = _cloned(self.array), None, [0]
        memo[id(self)] = twin
        if self.node is not None:
            twin.requires_grad_()
        if hasattr(self.grad, "array"):  # it is dense
            twin.grad = deepcopy(self.grad.detach(), memo)
        return twin

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        raise TypeError("tensors are not pickled: use minitorch.save and minitorch.load")


def _cloned(array: Array) -> Array:
    return backend.of(array).kernels["clone"](array)

"""What Python and NumPy ask of a tensor: its values, length and elements, copies, a format."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from minitorch import backend
from minitorch.core import recording
from minitorch.core.dtypes import Array


class Protocols:
    """The base of Tensor that answers them."""

    __slots__ = ()

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
    return backend.of(array).entries["clone"](array)

"""Ops without derivatives: several results, comparisons, sources, writes, updates.

| made by    | what it does                                                        |
| ---------- | ------------------------------------------------------------------- |
| several    | gives several results of one tensor                                 |
| comparison | compares two operands, which are brought to one dtype first         |
| source     | makes a tensor of numbers                                           |
| write      | changes a tensor in place (`ops.inplace` records it)                |
| update     | changes many tensors of one device and dtype at once: optimizers    |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch import backend, recording
from minitorch.boundary import writer
from minitorch.core.dispatch import REGISTRY, Function, KernelsByType, Op
from minitorch.core.dtypes import Array
from minitorch.core.families import TensorFunction, constant, named
from minitorch.core.grad_mode import grad_mode
from minitorch.core.tape import count_change
from minitorch.core.tensor import Tensor, tensor_of
from minitorch.operands import promote, same_device


def several(name: str) -> Callable[..., tuple[Tensor, ...]]:
    """An op f(x, **params) of several results, of which none requires grad by itself."""
    op = Op(name, "constant")
    kernels = op.kernels

    def f(x: Tensor, **params: Any) -> tuple[Tensor, ...]:
        a = x.array
        t = type(a)
        as_array = backend.of_type(t).as_array
        results = kernels[t](a, **params)
        return tuple([tensor_of(r if type(r) is t else as_array(r)) for r in results])

    f.__name__ = name
    return f


def comparison(name: str) -> TensorFunction:
    """A constant op on two operands that are brought to one dtype first."""
    apply = constant(name)

    def f(input: Any, other: Any, *, out: Any = None) -> Tensor:
        if out is not None:
            return writer.into(name, out, f, input, other)  # type: ignore[no-any-return]
        x, y, _ = promote(name, input, other)
        return apply(x, y)

    return named(f, REGISTRY[name])


def source(name: str) -> TensorFunction:
    """An op f(device, *args, **params) that makes an array out of numbers.

    The device may also be given by a tensor that is on it.
    """
    kernels = Op(name, "source").kernels

    def f(device: Any, *args: Any, **params: Any) -> Tensor:
        if isinstance(device, Tensor):
            serving = backend.of(device.array)
            index = serving.index(device.array) or 0
        else:
            serving, index = backend.resolve(device)
        try:
            return tensor_of(kernels[serving.array_type](*args, index=index, **params))
        except MemoryError as error:
            raise backend.OutOfMemoryError(f"{name}: out of memory: {error}") from None

    f.__name__ = name
    return f


def _write(name: str, kernel: Function, arrays: Sequence[Any], params: dict[str, Any]) -> None:
    try:
        kernel(*arrays, **params)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise RuntimeError(
            f"{name.rstrip('_')}_: this tensor is expanded or read-only: several of its "
            "elements share one address; clone() it before writing"
        ) from None


def write(name: str, tracked: bool = True) -> TensorFunction:
    """An op f(x, *tensors, **params) that changes x's memory and counts its version up.

    tracked: x may be on the tape, which does not record the change; False: a RuntimeError then.
    """
    kernels = Op(name, "write").kernels

    def f(x: Tensor, *others: Any, **params: Any) -> Tensor:
        if not tracked:
            _refuse_tracked(name, [x])
        arrays = [o.array if isinstance(o, Tensor) else o for o in others]
        _write(name, kernels[type(x.array)], (x.array, *arrays), params)
        count_change(x)
        return x

    f.__name__ = name
    return f


def _refuse_tracked(name: str, tensors: Sequence[Tensor]) -> None:
    if grad_mode.enabled and any(x.node is not None for x in tensors):
        raise RuntimeError(
            f"{name}: it changes a tensor that requires grad, and leaves nothing on the tape: call "
            "it under no_grad()"
        )


def update(name: str, tracked: bool = True) -> Callable[..., None]:
    """An op f(written, read, dynamic, **static) on many tensors of one device and dtype at once.

    written, read: lists of tensors, the i-th tensors of all lists belong together; the kernel gets
    lists of arrays in this order. It changes the memory of those in `written`, whose versions
    are counted up. Where a list is not used it is empty.
    dynamic: gives the parameters that differ from call to call, and does all else that a call has
    to do on the host, such as counting it. A replay calls `dynamic` and runs the kernel on the same
    arrays. static: the other parameters. tracked: as for `write`.
    """
    kernels = Op(name, "write").kernels

    def f(
        written: Sequence[Sequence[Tensor]],
        read: Sequence[Sequence[Tensor]],
        *,
        dynamic: Callable[[], dict[str, Any]] | None = None,
        **static: Any,
    ) -> None:
        if not tracked:
            _refuse_tracked(name, [x for column in written for x in column])
        columns = (*written, *read)
        arrays = [[x.array for x in column] for column in columns]
        t = type(arrays[0][0])
        if len({type(a) for column in arrays for a in column}) > 1 or backend.of_type(t).gpu:
            same_device(name, [x for column in columns for x in column])
        params = static if dynamic is None else {**recording.host(dynamic), **static}
        _write(name, kernels[t], arrays, params)
        for column in written:
            for x in column:
                count_change(x)

    f.__name__ = name
    f.kernels = kernels  # type: ignore[attr-defined]
    return f


def run_update(
    kernels: KernelsByType, arrays: Sequence[Sequence[Array]], params: dict[str, Any]
) -> None:
    """Run the kernel of an op made by `update` on lists of arrays that are known to fit.

    kernels: those of the op. Not for a recorder; versions are the caller's to count up.
    """
    _write(kernels.name, kernels[type(arrays[0][0])], arrays, params)

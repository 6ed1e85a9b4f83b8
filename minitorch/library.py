"""Ops of your own, with kernels for each device; they work wherever the ops of minitorch do.

An op is made by its family, from which its derivatives follow (see `minitorch.core.families`):

    scaled = library.linear("scaled", lambda g, shape, by: scaled(g, by=by))

Then each device gets a kernel, which is a function on its arrays, not on tensors:

    @library.register_kernel("scaled", "cpu")
    def _(x, by):  # NumPy
        return x * by

    library.cuda_source("scaled", pathlib.Path("scaled.cu"))

    @library.register_kernel("scaled", ("cuda", "sim"))
    def _(gpu, x, by):  # a launch of CUDA C++
        x = gpu.contiguous(x)
        out = gpu.empty(x.shape, x.dtype)
        gpu.launch_contiguous("scaled", "scaled", out, (x, np.float32(by)))
        return out

`autograd`, `func`, `compile`, anomaly mode, flop counters and `gradcheck` treat such an op as one
of minitorch's. `examples/own_op.py` is a whole one: a fused op with a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

from minitorch import backend, underived
from minitorch.backend import cuda_sources
from minitorch.boundary import guard
from minitorch.core import dispatch, families

__all__ = [
    "bilinear",
    "constant",
    "cuda_source",
    "elementwise",
    "fused",
    "general",
    "linear",
    "register_kernel",
    "update",
    "write",
]

Kernel = Callable[..., Any]
P = ParamSpec("P")
F = TypeVar("F", bound=Kernel)

_made: set[str] = set()  # the ops that were made here


def _family(make: Callable[P, F]) -> Callable[P, F]:
    """The constructor of a family, which notes the ops that it makes."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> F:
        op = make(*args, **kwargs)
        name = op.__name__
        _made.update({name, name + "_backward"} & dispatch.REGISTRY.keys())
        return op

    made.__module__ = __name__
    return made


elementwise = _family(families.elementwise)
linear = _family(families.linear)
bilinear = _family(families.bilinear)
general = _family(families.general)
fused = _family(families.fused)
constant = _family(families.constant)


@_family
@wraps(underived.write)
def write(name: str) -> families.TensorFunction:
    return underived.write(name, tracked=False)


@_family
@wraps(underived.update)
def update(name: str) -> Callable[..., None]:
    return underived.update(name, tracked=False)


@overload
def register_kernel(
    op: str | Kernel, device_types: str | Sequence[str], func: None = None, /
) -> Callable[[F], F]: ...


@overload
def register_kernel(op: str | Kernel, device_types: str | Sequence[str], func: F, /) -> F: ...


def register_kernel(
    op: str | Kernel, device_types: str | Sequence[str], func: Kernel | None = None, /
) -> Any:
    """Make `func` the implementation of an op on devices; without it, a decorator that does so.

    op: the function that a constructor of this module gave, or its name. A fused op has two
    kernels, `name` and `name_backward`. device_types: "cpu", "cuda", "sim" or several of them;
    whether such a device works here does not matter.
    func: takes the arrays of the op's tensors and the op's parameters, and gives an array (of a
    fused op a tuple). On "cpu" these are NumPy's, and floating-point warnings are off. On "cuda"
    and "sim" an argument comes before them: `gpu`, with `gpu.empty(shape, dtype)`,
    `gpu.contiguous(x)`, `gpu.blocks(n)`, `gpu.launch` and `gpu.launch_contiguous`; the device of
    the arrays is the current one. What a launch is given are arrays, NumPy scalars of exactly the
    parameters' types, and np.uint64(0) for a null pointer. The arrays of arguments are not to be
    written to, unless the op is of the family `write` or `update`. A kernel that has an argument
    `out` is given, in a compiled step, the memory of its results there.

    Raises ValueError for an op that was not made here, an unknown device, and an op that has a
    kernel for the device already.
    """
    name = op if isinstance(op, str) else getattr(op, "__name__", repr(op))
    if name not in _made:
        reason = "it is minitorch's own" if name in dispatch.REGISTRY else "there is no such op"
        raise ValueError(
            f"register_kernel: op: expected one that minitorch.library made, got {name!r}: {reason}"
        )
    types = (device_types,) if isinstance(device_types, str) else tuple(device_types)
    known = backend.device_types()
    for device_type in types:
        if device_type not in known:
            raise ValueError(
                f"register_kernel: device_types: expected some of {', '.join(known)}, "
                f"got {device_type!r}"
            )

    def register(func: F) -> F:
        if not callable(func):
            raise TypeError(f"register_kernel: func: expected a function, got {func!r}")
        is_fused = dispatch.REGISTRY[name.removesuffix("_backward")].family == "fused"
        backend.add_kernel(name, types, _giving_a_tuple(name, func) if is_fused else func)
        return func

    return register if func is None else register(func)


def _giving_a_tuple(name: str, func: Kernel) -> Kernel:
    """The kernel of a fused op; an array that it gives would be taken apart like a tuple."""

    @wraps(func)
    def checked(*args: Any, **params: Any) -> Any:
        results = func(*args, **params)
        if not isinstance(results, (tuple, list)):
            raise TypeError(
                f"{name}: the kernel of a fused op gives a tuple (see library.fused), got "
                f"{type(results).__name__}"
            )
        return results

    return checked


def cuda_source(name: str, source: str | Path) -> None:
    """Give CUDA C++ of your own a name, by which `gpu.launch` and `gpu.launch_contiguous` find it.

    source: the text, or the path of its file. It may include the headers of minitorch's `kernels/`
    (`common.cuh` says what a kernel is written with) and those beside the file. Like the sources
    there it is compiled once for each element type T, when a kernel of it is first launched;
    KERNEL(f) is then the function f_f32, f_f64, ...
    A launch raises RuntimeError, with the compiler's log, where it does not compile. Raises
    ValueError for a name that there is, FileNotFoundError if there is no such file.
    """
    cuda_sources.add_source(name, source)


guard(globals(), ["cuda_source", "register_kernel"])

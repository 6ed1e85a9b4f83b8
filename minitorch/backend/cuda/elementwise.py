"""Elementwise kernels, conversions and choices: launches of elementwise.cu and functions.cu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda import errors
from minitorch.backend.cuda.gpu import BLOCK, KEPT, NULL, Array, Dims, Gpu, KernelTable
from minitorch.backend.cuda.strides import broadcast_shape, check_writable, overlap
from minitorch.backend.transfer import transfer
from minitorch.core.device import Device
from minitorch.core.dtypes import FLOAT32, HALVES, KINDS

BOOL = np.dtype("bool")


def _rounded(half: np.dtype[Any]) -> Callable[[Any], Any]:
    return lambda number: np.float32(half.type(number))


# Conversions of a Python number to a kernel's argument: type C of kernels/common.cuh, rounded to
# the element type.
_NUMBERS: dict[Any, Callable[[Any], Any]] = {
    **{half: _rounded(half) for half in HALVES},
    **{
        np.dtype(name): getattr(np, name)
        for name in ["float32", "float64", "uint8", "int8", "int16", "int32", "int64"]
    },
    BOOL: np.bool_,
}
_ZEROS = {dtype: of(0) for dtype, of in _NUMBERS.items()}


class Kernel(NamedTuple):
    """One op's kernels: their file and name, and the kinds of dtype ("biuf") that have one.

    compares: the result is bool. same: the kinds that the op leaves unchanged. checked: the kinds
    whose kernels report operands without a result; message: the text of that error. chosen: the
    number of the function, of a kernel that has several.
    """

    file: str
    name: str
    kinds: str
    compares: bool = False
    same: str = ""
    checked: str = ""
    message: str = ""
    chosen: tuple[Any, ...] = ()


# ------------------------------------------------------------------ launches
def number_of(dtype: np.dtype[Any], number: Any) -> Any:
    """A Python number as a kernel's argument of type C; too large a float becomes inf."""
    if -60_000 < number < 60_000:  # fits into every float, so that NumPy does not warn
        return _NUMBERS[dtype](number)
    with np.errstate(all="ignore"):
        return _NUMBERS[dtype](number)


def wide_number_of(dtype: np.dtype[Any], number: Any) -> Any:
    """As `number_of`, but a number for a half is rounded to float32 only."""
    return number_of(FLOAT32 if dtype in HALVES else dtype, number)


def _fits(out: Array, shape: Dims, dtype: np.dtype[Any], arrays: Sequence[Array | None]) -> bool:
    """Whether a kernel may write its result straight into `out`."""
    check_writable(out)
    if out.dtype != dtype or out.shape != shape:
        return False
    return not any(x is not None and overlap(x, out) for x in arrays)


def _run(
    gpu: Gpu,
    kernel: Kernel,
    dtype: np.dtype[Any],
    arrays: tuple[Array | None, ...],
    extra: tuple[Any, ...],
    out: Array | None,
) -> Array:
    """Launch a kernel over its operands (None: a number, among `extra`), broadcast to one shape."""
    shape, in_row = _shape_of(arrays)
    to = BOOL if kernel.compares else dtype
    direct = out is not None and _fits(out, shape, to, arrays)
    target = out if direct else gpu.empty(shape, to)
    assert target is not None
    if in_row and (not direct or target._c_contiguous):
        pointers = tuple([NULL if x is None else x for x in arrays])
        gpu.launch_contiguous(kernel.file, kernel.name, target, pointers + extra, dtype)
    else:
        gpu.launch_strided(kernel.file, kernel.name, dtype, shape, (target, *arrays), extra)
    return target if direct or out is None else gpu.result(target, out)


def _shape_of(arrays: tuple[Array | None, ...]) -> tuple[Dims, bool]:
    """The operands' common shape, and whether all have it and are contiguous."""
    shapes = [x.shape for x in arrays if x is not None]
    if len(shapes) > 1 and shapes.count(shapes[0]) < len(shapes):
        return broadcast_shape(*shapes), False
    for x in arrays:
        if x is not None and not x._c_contiguous:
            return shapes[0], False
    return shapes[0], True


def _refuse(kernel: Kernel, dtype: np.dtype[Any]) -> TypeError:
    return TypeError(f"{kernel.name}: not supported for {dtype}")


def _unary(kernel: Kernel) -> Callable[..., Array]:
    def run(gpu: Gpu, x: Array, out: Array | None = None) -> Array:
        dtype = x.dtype
        kind = KINDS[dtype]
        if kind in kernel.same:
            return _clone(gpu, x, out)
        if kind not in kernel.kinds:
            raise _refuse(kernel, dtype)
        return _run(gpu, kernel, dtype, (x,), kernel.chosen, out)

    return run


def _binary(kernel: Kernel) -> Callable[..., Array]:
    kinds, checked, chosen = kernel.kinds, kernel.checked, kernel.chosen
    number_as = wide_number_of if kernel.name in ("add", "sub", "mul", "div") else number_of
    code = errors.code(RuntimeError, kernel.message) if checked else NULL

    def run(gpu: Gpu, x: Any, y: Any, out: Array | None = None) -> Array:
        array = gpu.array_type
        if type(x) is array:
            dtype = x.dtype
            a = b = _ZEROS[dtype]
            if type(y) is not array:
                y, b = None, number_as(dtype, y)
            elif y.dtype != dtype:
                raise TypeError(f"{kernel.name}: expected one dtype, got {dtype} and {y.dtype}")
        else:
            dtype = y.dtype
            x, a, b = None, number_as(dtype, x), _ZEROS[dtype]
        kind = KINDS[dtype]
        if kind not in kinds:
            raise _refuse(kernel, dtype)
        if kind in checked:
            _check_number(kernel, x if y is None else y, y is None, b)
            return _run(gpu, kernel, dtype, (x, y), (a, b, gpu.error_word(), code), out)
        return _run(gpu, kernel, dtype, (x, y), (a, b, *chosen), out)

    return run


def _check_number(kernel: Kernel, array: Array, given: bool, number: Any) -> None:
    """Raise at once the error that the kernel would report of a second operand, a number."""
    wrong = number < 0 if kernel.name == "pow" else number == 0
    if given and wrong and array.size:
        raise RuntimeError(kernel.message)


# ------------------------------------------------------------------ plans
_properties = attrgetter("shape", "dtype", "_c_contiguous", "data.device_id")


class _Plan(NamedTuple):
    """A launch over contiguous arrays, but for these: what makes its result, and its arguments."""

    empty: Callable[[], Array]
    launch: Callable[[tuple[Any, ...]], None]
    numbers: tuple[Any, ...]  # arguments behind the arrays


def _plan(gpu: Gpu, kernel: Kernel, arrays: Sequence[Any]) -> _Plan | None:
    """The plan for such operands; None where it takes more than a launch."""
    x = arrays[0]
    shape, dtype, contiguous, device = kind = _properties(x)
    if (
        KINDS[dtype] not in kernel.kinds
        or KINDS[dtype] in kernel.checked + kernel.same
        or any(_properties(other) != kind for other in arrays)
        or not (x.size and contiguous and device == gpu.current())
    ):
        return None
    function, grid, n = gpu.plan_in_rows(kernel.file, kernel.name, dtype, x.size, device)
    zeros = (_ZEROS[dtype],) * 2 if len(arrays) == 2 else ()
    to = BOOL if kernel.compares else dtype
    return _Plan(partial(gpu.xp.empty, shape, to), partial(function, grid, BLOCK), (*zeros, n))


def planned(gpu: Gpu, kernel: Kernel, unplanned: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel that makes a plan when it first meets operands of a kind, and follows it later.

    unplanned: the kernel for everything else, and while a graph is captured.
    """
    plans: dict[Any, _Plan | None] = {}
    current, captured, properties = gpu.current, gpu.captured, _properties
    too_little = gpu.xp.cuda.memory.OutOfMemoryError

    def make(arrays: Sequence[Array]) -> None:
        if captured.graph is None:
            if len(plans) >= KEPT:
                plans.clear()
            plans[tuple(map(properties, arrays)), current(), None] = _plan(gpu, kernel, arrays)

    def run(*arrays: Any, **params: Any) -> Array:
        try:
            plan = plans[tuple(map(properties, arrays)), current(), captured.graph]
        except AttributeError:  # a number is among them
            return unplanned(*arrays, **params)
        except KeyError:
            made = unplanned(*arrays, **params)
            make(arrays)
            return made
        if plan is None or params:
            return unplanned(*arrays, **params)
        empty, launch, numbers = plan
        try:
            out = empty()
            launch((out, *arrays, *numbers))
        except too_little as error:
            raise gpu.out_of_memory(error, current()) from None
        except Exception:
            gpu.broke_off()
            raise
        return out

    return run


_WHERE = Kernel("elementwise", "where", "biuf")


def _where(gpu: Gpu, x: Any, y: Any, condition: Array, out: Array | None = None) -> Array:
    array = gpu.xp.ndarray
    dtype = x.dtype if type(x) is array else y.dtype
    a = b = _ZEROS[dtype]
    if type(x) is not array:
        x, a = None, number_of(dtype, x)
    elif type(y) is not array:
        y, b = None, number_of(dtype, y)
    elif y.dtype != dtype:
        raise TypeError(f"where: expected one dtype, got {dtype} and {y.dtype}")
    if condition.dtype != BOOL:
        condition = gpu.converted(condition, BOOL)
    return _run(gpu, _WHERE, dtype, (x, y, condition), (a, b), out)


# ------------------------------------------------------------------ copies
def _clone(gpu: Gpu, x: Array, out: Array | None = None) -> Array:
    return gpu.converted(x, x.dtype) if out is None else gpu.result(x, out)


def _cast(
    gpu: Gpu, x: Array, dtype: np.dtype[Any], source: np.dtype[Any], out: Array | None = None
) -> Array:
    if out is None or out.dtype != dtype:
        return gpu.result(gpu.converted(x, dtype), out)
    return gpu.result(x, out)


def _transfer(
    gpu: Gpu, x: Array, device: Device, non_blocking: bool = False, out: Array | None = None
) -> Array:
    moved = transfer(x, device, non_blocking)
    return moved if out is None else gpu.result(moved, out)


def fill(gpu: Gpu, x: Array, value: Any) -> Array:
    """Make every element of x the number `value`, converted as NumPy does it; returns x."""
    with np.errstate(all="ignore"):
        number = number_of(x.dtype, np.full((), value, x.dtype)[()])
    if x._c_contiguous:
        gpu.launch_contiguous("convert", "fill", x, (number,))
    else:
        check_writable(x)
        gpu.launch_strided("convert", "fill", x.dtype, x.shape, (x,), (number,))
    return x


def _copy_(gpu: Gpu, x: Array, source: Any) -> Array:
    if type(source) is gpu.xp.ndarray:
        gpu.copy(source, x)
        return x
    return fill(gpu, x, source)


# ------------------------------------------------------------------ the tables
_ARITHMETIC, _REAL = "elementwise", "functions"
_BY_ZERO = "integer division by zero"
UNARY = [
    Kernel(_ARITHMETIC, "neg", "iuf"),
    Kernel(_ARITHMETIC, "abs", "iuf", same="b"),
    Kernel(_ARITHMETIC, "sign", "iuf", same="b"),
    *[Kernel(_ARITHMETIC, name, "f", same="biu") for name in ("floor", "ceil", "trunc", "round")],
    Kernel(_ARITHMETIC, "relu", "iuf"),
    Kernel(_ARITHMETIC, "bitwise_not", "biu"),
    *[
        Kernel(_REAL, name, "f")
        for name in (
            *("exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan"),
            *("tanh", "sigmoid", "erf", "softplus", "gelu"),
        )
    ],
]
BINARY = [
    *[Kernel(_ARITHMETIC, name, "biuf") for name in ("add", "mul", "maximum", "minimum")],
    Kernel(_ARITHMETIC, "sub", "iuf"),
    Kernel(_ARITHMETIC, "div", "f"),
    *[
        Kernel(_ARITHMETIC, name, "iuf", checked="iu", message=f"{name}: {_BY_ZERO}")
        for name in ("floor_divide", "remainder")
    ],
    Kernel(
        _ARITHMETIC,
        "pow",
        "biuf",
        checked="iu",
        message="pow: integers to negative integer powers are not allowed",
    ),
    *[Kernel(_ARITHMETIC, name, "biu") for name in ("bitwise_and", "bitwise_or", "bitwise_xor")],
    *[Kernel(_ARITHMETIC, f"bitwise_{side}_shift", "iu") for side in ("left", "right")],
    *[
        Kernel(_ARITHMETIC, name, "biuf", compares=True)
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ],
    Kernel(_ARITHMETIC, "relu_backward", "f"),
    *[
        Kernel(_REAL, name, "f")
        for name in ("bce_with_logits", "tanh_backward", "sigmoid_backward", "gelu_backward")
    ],
]
# In the order of the numbers in rare.cu, which has two kernels for all of them.
RARE = [
    *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "log2", "log10"),
    *("erfc", "erfinv", "lgamma", "digamma", "i0", "i1"),
]
RARE_BINARY = ["atan2", "hypot", "fmod", "copysign", "nextafter", "zeta"]


def _rare(kernel: str, names: list[str]) -> dict[str, Kernel]:
    return {n: Kernel("rare", kernel, "f", chosen=(np.int32(i),)) for i, n in enumerate(names)}


PLANNED = {kernel.name: kernel for kernel in (*UNARY, *BINARY)}
ELEMENTWISE: KernelTable = {
    **{kernel.name: _unary(kernel) for kernel in UNARY},
    **{kernel.name: _binary(kernel) for kernel in BINARY},
    **{name: _unary(kernel) for name, kernel in _rare("rare", RARE).items()},
    **{name: _binary(kernel) for name, kernel in _rare("rare_binary", RARE_BINARY).items()},
    "clamp_min": _binary(Kernel(_ARITHMETIC, "maximum", "biuf")),
    "clamp_max": _binary(Kernel(_ARITHMETIC, "minimum", "biuf")),
    "where": _where,
    "cast": _cast,
    "clone": _clone,
    "transfer": _transfer,
}
mul_nonzero = _binary(Kernel(_ARITHMETIC, "mul_nonzero", "f"))
COPIES: KernelTable = {"copy_": _copy_}
mul_nonzero.__doc__ = "x * y, and 0 where x is 0, whatever y is."

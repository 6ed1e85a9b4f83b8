"""The op table as kernel launches, on CuPy's arrays or the simulator's.

Every kernel takes the Gpu first, then what the CPU's kernel of that name takes. `make` binds the
table to CuPy, `make_simulated` to the look-alike of `backend.sim`; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cuda import cublaslt, installed, transfer
from minitorch.backend.cuda.elementwise import COPIES, ELEMENTWISE, PLANNED, planned
from minitorch.backend.cuda.fused import FUSED
from minitorch.backend.cuda.gpu import Gpu, KernelTable
from minitorch.backend.cuda.index import INDEX, WRITES
from minitorch.backend.cuda.linalg import LINALG
from minitorch.backend.cuda.norm import NORMS
from minitorch.backend.cuda.optim import OPTIMIZERS
from minitorch.backend.cuda.recurrent import RECURRENT
from minitorch.backend.cuda.reduce import REDUCTIONS
from minitorch.backend.cuda.replay import GraphTrace
from minitorch.backend.cuda.shape import SHAPE, VIEWS
from minitorch.backend.cuda.source import SOURCES
from minitorch.core.device import Backend

TABLE: KernelTable = {
    **ELEMENTWISE,
    **COPIES,
    **REDUCTIONS,
    **FUSED,
    **LINALG,
    **NORMS,
    **RECURRENT,
    **OPTIMIZERS,
    **SOURCES,
    **SHAPE,
    **INDEX,
    **WRITES,
}


def make() -> Backend:
    """The backend of device "cuda"; RuntimeError says what is missing."""
    wrong = installed.conflict()
    if wrong is not None:
        raise RuntimeError(wrong)
    try:
        import cupy
    except ModuleNotFoundError:
        raise RuntimeError(f"CuPy is not installed: {installed.hint()}") from None
    except ImportError as error:  # a library that it needs, or a version of it
        raise RuntimeError(f"CuPy cannot be imported: {error}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"CuPy finds no NVIDIA driver or GPU: {error}") from None
    if count == 0:
        raise RuntimeError("CuPy finds no NVIDIA GPU")
    installed.library("NVRTC")
    return build("cuda", cupy, cublaslt.bindings)


def make_simulated() -> Backend:
    """The backend of device "sim"; RuntimeError says what is missing."""
    from minitorch.backend import sim

    sim.check_compiler()
    return build("sim", sim, lambda: sim.cublaslt)


def build(name: str, xp: Any, bindings: Callable[[], Any]) -> Backend:
    """The backend of a device type on CuPy or a module that looks like it; bindings: see `Gpu`."""
    gpu = Gpu(name, xp, bindings)
    kernels = {op: _on_device(gpu, op, partial(kernel, gpu)) for op, kernel in TABLE.items()}
    kernels.update({op: planned(gpu, kernel, kernels[op]) for op, kernel in PLANNED.items()})
    kernels.update({op: partial(kernel, gpu) for op, kernel in VIEWS.items()})
    return Backend(
        name=name,
        array_type=xp.ndarray,
        kernels=kernels,
        views=frozenset(VIEWS),
        from_host=partial(transfer.from_host, gpu),
        to_host=partial(transfer.to_host, gpu),
        current=gpu.current,
        across=partial(transfer.across, gpu),
        pin=partial(transfer.pin, gpu),
        is_pinned=transfer.is_pinned,
        gpu=gpu,
        from_dlpack=getattr(xp, "from_dlpack", None),  # simulated memory is no other library's
        kernel_of=lambda op, kernel: _on_device(gpu, op, partial(kernel, gpu)),
        as_array=lambda array: array,
        address=lambda array: int(array.data.ptr),
        index=lambda array: array.data.device_id,
        count=lambda: int(xp.cuda.runtime.getDeviceCount()),
        synchronize=partial(_synchronize, gpu),
        trace=partial(GraphTrace, gpu, kernels, frozenset(VIEWS)),
    )


def _on_device(gpu: Gpu, op: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel on the device of its arrays (or of `index=`), made current for the call.

    Raises RuntimeError, naming op, devices and remedy, where arrays are on different devices.
    """
    device_of = gpu.xp.cuda.Device
    array_type = gpu.xp.ndarray
    too_little = gpu.xp.cuda.memory.OutOfMemoryError

    captured = gpu.captured

    def look(items: Iterable[Any], number: int | None) -> int | None:
        """The device of all arrays among the items, given that of those before."""
        for item in items:
            kind = type(item)
            if kind is array_type:
                device = item.data.device_id
                if number is None:
                    number = device
                elif device != number:
                    raise _mixed(op, f"{gpu.name}:{number}", f"{gpu.name}:{device}")
                if captured.graph is not None:
                    captured.graph.hold(item)
            elif kind is list or kind is tuple:
                number = look(item, number)
            elif kind is np.ndarray:
                raise _mixed(op, f"{gpu.name}:{number or 0}", "cpu")
        return number

    def run(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            index = kwargs.get("index")
            number = look(args, index if type(index) is int else None)
            number = look(kwargs.values(), number)
        else:
            number = look(args, None)
        assert number is not None, f"{op}: no array and no index"
        try:
            if number == gpu.current():
                return kernel(*args, **kwargs)
            with device_of(number):
                return kernel(*args, **kwargs)
        except too_little as error:
            raise gpu.out_of_memory(error, number) from None

    return run


def _mixed(op: str, first: str, other: str) -> RuntimeError:
    return RuntimeError(
        f"{op}: expected all tensors on one device, got {first} and {other}; "
        f"move one with .to('{first}')"
    )


def _synchronize(gpu: Gpu, index: int) -> None:
    with gpu.capturing:
        gpu.xp.cuda.Device(index).synchronize()
    gpu.check(index)

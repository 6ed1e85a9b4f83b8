"""What a backend is, which ones there are, and the names of devices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minitorch.core.dtypes import Array
from minitorch.recording import edited

__all__ = [
    "Backend",
    "Device",
    "OutOfMemoryError",
    "add_kernel",
    "available",
    "device_of",
    "device_types",
    "get_default_device",
    "named",
    "of",
    "of_type",
    "register",
    "register_lazily",
    "registered",
    "resolve",
    "set_default_device",
    "unregister",
    "why_unavailable",
]


class OutOfMemoryError(RuntimeError):
    """A device has too little memory left; the message has the bytes asked for and those free."""


@dataclass(frozen=True, eq=False, repr=False)  # each method that it makes costs import time
class Backend:
    """What a device offers to everything above: its array type, its kernels, its transfers.

    `kernels` maps the name of an op to a function on arrays; every kernel that allocates its
    result takes `out=`. `views` names the kernels whose result shares its argument's memory.
    `to_host` gives a NumPy array that shares no memory with a GPU; `from_host` the reverse. A
    backend with pinned memory (`pin`, `is_pinned`) has `non_blocking=` in both, and copies
    `across` its own devices. `current` is the device that a name without a number means.
    `as_array` converts a result that is not of `array_type` (NumPy returns scalars for 0-d arrays).
    `address` is that of the first element. `from_dlpack` makes an array of another library's; None
    where its memory is of no other library. `to_dlpack` gives the capsule for one. Arrays of up to
    `small` elements are better changed by one call on a buffer that holds them all than by a call
    each.
    """

    name: str
    array_type: type
    kernels: dict[str, Callable[..., Any]]
    views: frozenset[str]
    from_host: Callable[..., Array]
    to_host: Callable[..., np.ndarray]
    as_array: Callable[[Any], Array]
    address: Callable[[Array], int]
    from_dlpack: Callable[[Any], Array] | None = None
    to_dlpack: Callable[..., Any] = field(default=lambda array, **o: array.__dlpack__(**o))
    small: int = 0
    index: Callable[[Array], int | None] = field(default=lambda array: None)
    count: Callable[[], int] = field(default=lambda: 1)
    synchronize: Callable[[int], None] = field(default=lambda index: None)
    current: Callable[[], int] = field(default=lambda: 0)
    across: Callable[[Array, int], Array] | None = None
    pin: Callable[[np.ndarray], np.ndarray] | None = None
    is_pinned: Callable[[np.ndarray], bool] | None = None
    trace: Callable[[], Any] | None = None  # makes a `backend.replay.Trace` of a step
    gpu: Any = None  # a `cuda.gpu.Gpu`, where kernels are launched
    # What stands among `kernels` for a kernel of an op that a user made.
    kernel_of: Callable[[str, Callable[..., Any]], Callable[..., Any]] = field(
        default=lambda op, kernel: kernel
    )


_by_name: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
# Backends that are only made when somebody asks for their device: what makes one. It raises
# RuntimeError, saying what is missing and what to install, where the device cannot work.
_makers: dict[str, Callable[[], Backend]] = {}
# Kernels of ops that users made, by device type and op.
_kernels: dict[str, dict[str, Callable[..., Any]]] = {}


def register(backend: Backend) -> None:
    """Register a backend by its name and its array type."""
    _by_name[backend.name] = backend
    _by_type[backend.array_type] = backend
    for op, kernel in list(_kernels.get(backend.name, {}).items()):
        backend.kernels[op] = backend.kernel_of(op, kernel)


def add_kernel(op: str, device_types: Sequence[str], kernel: Callable[..., Any]) -> None:
    """Make `kernel` an op's kernel in the backends of these types, also in those yet to be made.

    Raises ValueError, and adds nothing, if one of them has a kernel for the op.
    """
    for name in device_types:
        if op in _kernels.get(name, {}):
            raise ValueError(f"register_kernel: {op} has a kernel for device '{name}' already")
    for name in device_types:
        _kernels.setdefault(name, {})[op] = kernel
        if name in _by_name:
            _by_name[name].kernels[op] = _by_name[name].kernel_of(op, kernel)


def register_lazily(name: str, make: Callable[[], Backend]) -> None:
    """Register a device type: `make()` builds its backend on first use, or raises the reason."""
    _makers[name] = make


def unregister(name: str) -> None:
    """Forget a backend (tests add backends of their own)."""
    backend = _by_name.pop(name)
    del _by_type[backend.array_type]


def registered() -> list[Backend]:
    """The backends that are known by now."""
    return list(_by_type.values())


def of_type(array_type: type) -> Backend:
    """The backend that serves arrays of this type."""
    try:
        return _by_type[array_type]
    except KeyError:
        known = ", ".join(sorted(t.__name__ for t in _by_type))
        raise TypeError(f"no backend holds arrays of {array_type}; known: {known}") from None


def of(array: Array) -> Backend:
    """The backend that serves this array."""
    return of_type(type(array))


def named(name: str) -> Backend:
    """The backend of a device type, or a RuntimeError that says what is missing."""
    serving = _by_name.get(name)
    if serving is None:
        missing = why_unavailable(name)
        if missing is not None:
            raise RuntimeError(f"device '{name}' is not available: {missing}")
        serving = _by_name[name]
    return serving


def why_unavailable(name: str) -> str | None:
    """What is missing for a device type, or None where it works."""
    if name in _by_name:
        return None
    if name not in _makers:
        return "no backend of that name"
    try:
        register(_makers[name]())
    except RuntimeError as error:
        return str(error)
    return None


def device_types() -> list[str]:
    """The device types that have a name, available or not."""
    return list(dict.fromkeys([*_by_name, *_makers]))


class Device:
    """A device as PyTorch names them: `device("cpu")`, `device("cuda:1")`, `device("cuda", 1)`.

    As a context manager it is the default device of the block, in this thread. "auto" is the
    best device that really works.
    """

    __slots__ = ("_previous", "index", "type")

    def __init__(self, device: str | Device, index: int | None = None) -> None:
        if isinstance(device, Device):
            index = device.index if index is None else index
            device = device.type
        if not isinstance(device, str):
            raise TypeError(f"device: expected a string such as 'cpu', got {device!r}")
        name, colon, number = device.partition(":")
        if colon:
            if index is not None or not number.isdecimal():
                raise RuntimeError(f"device: invalid device string {device!r}")
            index = int(number)
        if name == "auto":
            name = "cuda" if why_unavailable("cuda") is None else "cpu"
        if name not in _by_name and name not in _makers:
            raise RuntimeError(
                f"device: expected one of {', '.join(device_types())}, got {device!r}"
            )
        self.type: str = name
        self.index: int | None = index
        self._previous: list[Device | None] = []

    @classmethod
    def cuda(cls, device: str | int | Device | None = None) -> Device:
        """A GPU by its number or name; None: the current one."""
        if device is None or isinstance(device, int):
            return cls("cuda", device)
        return cls(device)

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[type[Device], tuple[str]]:
        return Device, (str(self),)

    def __enter__(self) -> Device:
        available(self)
        self._previous.append(_default.device)
        _default.device = self
        edited()
        return self

    def __exit__(self, *_: object) -> None:
        _default.device = self._previous.pop()
        edited()


class _Default(threading.local):
    device: Device | None = None


_default = _Default()
_process_default: Device | None = None


def available(device: Device) -> Backend:
    """The backend of a device; RuntimeError where the type or its number does not exist."""
    backend = named(device.type)
    if device.index is not None and device.index >= backend.count():
        raise RuntimeError(
            f"device '{device}' does not exist: there are {backend.count()} of '{device.type}'"
        )
    return backend


def set_default_device(device: str | Device) -> None:
    """Create tensors on `device` by default."""
    global _process_default
    chosen = Device(device)
    available(chosen)
    _process_default = chosen
    edited()


def get_default_device() -> Device:
    """The device on which tensors are created by default."""
    return _default.device or _process_default or Device("cpu")


def resolve(device: str | Device | None) -> tuple[Backend, int]:
    """Backend and device number for a `device=` argument (None: the default device)."""
    chosen = get_default_device() if device is None else device
    if not isinstance(chosen, Device):
        chosen = Device(chosen)
    serving = available(chosen)
    return serving, serving.current() if chosen.index is None else chosen.index


def device_of(array: Array) -> Device:
    """The device that holds an array."""
    backend = of(array)
    return Device(backend.name, backend.index(array))

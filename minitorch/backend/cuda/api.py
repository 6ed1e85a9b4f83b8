"""PyTorch's `torch.cuda` over a kind of GPU: one class, for CuPy's and the simulated one alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minitorch.backend.cuda.graph import Pool, capture
from minitorch.backend.cuda.streams import Streams
from minitorch.core.device import (
    Backend,
    Device,
    OutOfMemoryError,
    available,
    named,
    why_unavailable,
)

DeviceLike = Device | str | int | None


@dataclass(frozen=True)
class DeviceProperties:
    """The properties of a device: total_memory in bytes, major.minor its compute capability."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


class DeviceApi:
    """The functions and classes of `torch.cuda` for the device type of this name.

    Where the device does not work, `is_available` is False, `device_count` 0, and everything
    else raises RuntimeError with the reason. `device` is an int, "cuda:1", a Device, or None for
    the current one.
    """

    OutOfMemoryError = OutOfMemoryError

    def __init__(self, name: str) -> None:
        self.name = name
        self._peak: Any = None
        self.Stream: type[Stream] = type(
            "Stream", (Stream,), {"api": self, "__doc__": Stream.__doc__}
        )
        self.Event: type[Event] = type("Event", (Event,), {"api": self, "__doc__": Event.__doc__})
        self.ExternalStream: type[ExternalStream] = type(
            "ExternalStream", (ExternalStream, self.Stream), {"__doc__": ExternalStream.__doc__}
        )
        self.CUDAGraph: type[CUDAGraph] = type(
            "CUDAGraph", (CUDAGraph,), {"api": self, "__doc__": CUDAGraph.__doc__}
        )
        self.nvtx = Ranges(self)

    def public(self) -> dict[str, Any]:
        """The functions and classes by their names."""
        names = {*vars(type(self)), *vars(self)} - {"OutOfMemoryError", "name", "public"}
        return {name: getattr(self, name) for name in names if not name.startswith("_")}

    def _backend(self) -> Backend:
        return named(self.name)

    @property
    def _xp(self) -> Any:
        return self._backend().gpu.xp

    def _number(self, device: DeviceLike) -> int:
        """The number of a device that exists."""
        serving = self._backend()
        if device is None:
            return serving.current()
        chosen = Device(self.name, device) if isinstance(device, int) else Device(device)
        if chosen.type != self.name:
            raise ValueError(f"expected a '{self.name}' device, got '{chosen}'")
        available(chosen)
        return serving.current() if chosen.index is None else chosen.index

    def _use(self, device: DeviceLike) -> Any:
        """The device, for a `with` block that makes it current."""
        return self._xp.cuda.Device(self._number(device))

    # ------------------------------------------------------------------ devices
    def is_available(self) -> bool:
        """Whether there is a device that works."""
        return why_unavailable(self.name) is None

    def device_count(self) -> int:
        """The number of devices."""
        return self._backend().count() if self.is_available() else 0

    def current_device(self) -> int:
        """The number of the device that a name without a number means."""
        return self._backend().current()

    def set_device(self, device: DeviceLike) -> None:
        """Make a device the current one, in this thread."""
        self._use(device).use()

    @contextmanager
    def device(self, device: DeviceLike) -> Iterator[None]:
        """Make a device the current one within a block (None: no change)."""
        with self._use(device):
            yield

    def get_device_properties(self, device: DeviceLike = None) -> DeviceProperties:
        """Name, compute capability, memory and multiprocessors."""
        found = self._xp.cuda.runtime.getDeviceProperties(self._number(device))
        return DeviceProperties(
            name=found["name"].decode(),
            major=int(found["major"]),
            minor=int(found["minor"]),
            total_memory=int(found["totalGlobalMem"]),
            multi_processor_count=int(found["multiProcessorCount"]),
        )

    def get_device_name(self, device: DeviceLike = None) -> str:
        """The name of the device."""
        return self.get_device_properties(device).name

    def get_device_capability(self, device: DeviceLike = None) -> tuple[int, int]:
        """Major and minor compute capability."""
        properties = self.get_device_properties(device)
        return properties.major, properties.minor

    def is_bf16_supported(self) -> bool:
        """Whether tensor cores of the current device take bfloat16: from capability 8.0 on."""
        return bool(self._backend().gpu.capability() >= (8, 0))

    def synchronize(self, device: DeviceLike = None) -> None:
        """Wait for all work of a device; raises the errors that its kernels found."""
        self._backend().synchronize(self._number(device))

    # ------------------------------------------------------------------ memory
    def memory_allocated(self, device: DeviceLike = None) -> int:
        """Bytes that tensors hold."""
        with self._use(device):
            return int(self._xp.get_default_memory_pool().used_bytes())

    def memory_reserved(self, device: DeviceLike = None) -> int:
        """Bytes that the pool took from the device, for present and future tensors."""
        with self._use(device):
            return int(self._xp.get_default_memory_pool().total_bytes())

    def reset_peak_memory_stats(self, device: DeviceLike = None) -> None:
        """Let `max_memory_allocated` count this thread's allocations from here on."""
        if self._peak is None:
            self._peak = _peak_hook(self._xp)
            self._peak.__enter__()  # for good
        number = self._number(device)
        self._peak.used[number] = self._peak.most[number] = self.memory_allocated(device)

    def max_memory_allocated(self, device: DeviceLike = None) -> int:
        """The most bytes that tensors held at once since `reset_peak_memory_stats`.

        Counting every allocation costs time, so it starts with the first reset. Before that, the
        result is `memory_reserved`, which is a little larger.
        """
        if self._peak is None or self._number(device) not in self._peak.most:
            return self.memory_reserved(device)
        return int(self._peak.most[self._number(device)])

    def empty_cache(self) -> None:
        """Give the memory that no tensor holds back to the devices."""
        Streams.release()
        Pool.sweep()
        for number in range(self.device_count()):
            with self._use(number):
                self._xp.get_default_memory_pool().free_all_blocks()

    def mem_get_info(self, device: DeviceLike = None) -> tuple[int, int]:
        """Free and total bytes of a device."""
        free, total = self._use(device).mem_info
        return int(free), int(total)

    def memory_stats(self, device: DeviceLike = None) -> dict[str, int]:
        """Bytes that tensors hold and that the pool took, by PyTorch's names.

        Peaks are those of `max_memory_allocated`.
        """
        return {
            "allocated_bytes.all.current": self.memory_allocated(device),
            "allocated_bytes.all.peak": self.max_memory_allocated(device),
            "reserved_bytes.all.current": self.memory_reserved(device),
        }

    def memory_summary(self, device: DeviceLike = None, abbreviated: bool = False) -> str:
        """A table of `memory_stats` and of the device's free memory. abbreviated: nothing here."""
        free, total = self.mem_get_info(device)
        stats = {**self.memory_stats(device), "device.free": free, "device.total": total}
        return "\n".join(f"{name:<30}{count:>20,} bytes" for name, count in stats.items())

    # ------------------------------------------------------------------ graphs
    @contextmanager
    def graph(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> Iterator[None]:
        """Capture the work of a block, which does not run, into a CUDAGraph.

        pool: `other.pool()` of a graph whose memory this one may use again. stream: the one to
        capture in; None: a new one. capture_error_mode: accepted, and means nothing: no other
        thread's work is captured, and none may wait for the device meanwhile.
        """
        self.synchronize()
        cuda_graph._begin(pool, None if stream is None else stream._stream)
        try:
            yield
        except BaseException as error:
            cuda_graph._end(type(error), error, error.__traceback__)
            raise
        cuda_graph._end()

    def is_current_stream_capturing(self) -> bool:
        """Whether this thread's work is being captured."""
        return self.is_available() and self._backend().gpu.captured.graph is not None

    def graph_pool_handle(self) -> Any:
        """A pool of memory for several graphs."""
        return Pool(self._backend().gpu)

    # ------------------------------------------------------------------ streams
    def current_stream(self, device: DeviceLike = None) -> Stream:
        """The stream of this thread's work on a device."""
        number = self._number(device)
        with self._use(number):
            return self.Stream._of(self._xp.cuda.get_current_stream(), number)

    def default_stream(self, device: DeviceLike = None) -> Stream:
        """The stream of work for which no other stream was chosen."""
        return self.Stream._of(self._xp.cuda.Stream.null, self._number(device))

    @contextmanager
    def stream(self, stream: Stream | None) -> Iterator[None]:
        """Do the work of a block in a stream, on its device (None: no change)."""
        if stream is None:
            yield
        else:
            with stream:
                yield


class Stream:
    """A queue of work on a device; two streams have no common order unless one waits.

    `with stream:` puts the work of a block into it. priority: lower is more urgent.
    """

    api: DeviceApi
    _stream: Any
    _number: int

    def __init__(self, device: DeviceLike = None, priority: int = 0) -> None:
        self._number = self.api._number(device)
        with self.api._use(self._number):
            make = self.api._xp.cuda.Stream
            options = {"priority": priority} if priority else {}
            self._stream = make(non_blocking=True, **options)
        self._entered: list[Any] = []

    @classmethod
    def _of(cls, stream: Any, number: int) -> Stream:
        """A wrapper of a stream that exists already."""
        self = cls.__new__(cls)
        self._stream, self._number, self._entered = stream, number, []
        return self

    @property
    def device(self) -> Device:
        """Its device."""
        return Device(self.api.name, self._number)

    @property
    def cuda_stream(self) -> int:
        """CUDA's handle."""
        return int(self._stream.ptr)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Stream)
            and self.device == other.device
            and self.cuda_stream == other.cuda_stream
        )

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<Stream {self.cuda_stream} of {self.device}>"

    def __enter__(self) -> Stream:
        device = self.api._use(self._number)
        device.__enter__()
        self._stream.__enter__()
        self._entered.append(device)
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(*error)
        self._entered.pop().__exit__(*error)

    def query(self) -> bool:
        """Whether all its work is done."""
        with self.api._use(self._number):
            return bool(self._stream.done)

    def synchronize(self) -> None:
        """Wait for all its work; raises the errors that its kernels found."""
        with self.api._use(self._number):
            self._stream.synchronize()
        self.api._backend().gpu.check(self._number)

    def record_event(self, event: Event | None = None) -> Event:
        """An event (None: a new one) that stands for its work so far."""
        event = self.api.Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let the work to come wait for an event."""
        with self.api._use(self._number):
            self._stream.wait_event(event._made())

    def wait_stream(self, stream: Stream) -> None:
        """Let the work to come wait for what another stream was given so far."""
        self.wait_event(stream.record_event())


class ExternalStream(Stream):
    """A stream of another library, by its CUDA handle; the library still owns the stream."""

    def __init__(self, stream_ptr: int, device: DeviceLike = None) -> None:
        if type(stream_ptr) is not int:
            raise TypeError(
                f"ExternalStream: stream_ptr: expected an int, got {type(stream_ptr).__name__}"
            )
        self._number = self.api._number(device)
        self._pointer = stream_ptr
        with self.api._use(self._number):
            self._stream = self.api._xp.cuda.Stream.from_external(self)
        self._entered = []

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer


class CUDAGraph:
    """Work captured by `with graph(g):`, and done again by each `g.replay()`.

    A replay reads and writes the same memory: put new values into the inputs by `copy_`, and read
    the results where the capture left them. Work that would be wrong if it were repeated with the
    same numbers (optimizers' steps, random numbers) cannot be captured and raises RuntimeError;
    `minitorch.compile` does these too.
    """

    api: DeviceApi

    def __init__(self) -> None:
        self._graph: Any = None
        self._capture: Any = None

    def _begin(self, pool: Any, stream: Any) -> None:
        gpu = self.api._backend().gpu
        self._capture = capture(gpu, gpu.current(), pool, stream, fixed=True)
        self._graph = self._capture.__enter__()

    def _end(self, *error: Any) -> None:
        if self._capture is None:
            raise RuntimeError("capture_end: no capture has begun")
        ending, self._capture = self._capture, None
        captured, self._graph = self._graph, None
        ending.__exit__(*(error or (None, None, None)))
        if not error:
            self._graph = captured

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Capture this thread's work from here on, instead of doing it. See `graph`."""
        self._begin(pool, None)

    def capture_end(self) -> None:
        """End the capture."""
        self._end()

    def replay(self) -> None:
        """Do the work, in the current stream; the host does not wait for it."""
        if self._graph is None or self._capture is not None:
            raise RuntimeError("replay: this graph has captured nothing yet")
        self._graph.replay()

    def reset(self) -> None:
        """Forget the work and give its memory back."""
        self._graph = None

    def pool(self) -> Any:
        """The pool of its memory, which another graph may share."""
        if self._graph is None:
            raise RuntimeError("pool: this graph has captured nothing yet")
        return self._graph.pool


class Ranges:
    """`torch.cuda.nvtx`: named ranges and moments that Nsight Systems shows."""

    def __init__(self, api: DeviceApi) -> None:
        self._api = api

    @property
    def _nvtx(self) -> Any:
        return self._api._xp.cuda.nvtx

    def range_push(self, msg: str) -> None:
        """Start a range within those that are open in this thread."""
        self._nvtx.RangePush(msg)

    def range_pop(self) -> None:
        """End the range that was started last."""
        self._nvtx.RangePop()

    def mark(self, msg: str) -> None:
        """Name a moment."""
        self._nvtx.Mark(msg)

    @contextmanager
    def range(self, msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        """A range for a block, or a decorated function: msg.format(*args, **kwargs)."""
        self.range_push(msg.format(*args, **kwargs))
        try:
            yield
        finally:
            self.range_pop()


class Event:
    """A point in a stream's work. enable_timing: it has a time stamp."""

    api: DeviceApi

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._options = {
            "disable_timing": not enable_timing,
            "block": blocking,
            "interprocess": interprocess,
        }
        self._event: Any = None
        self._number = 0

    def _made(self) -> Any:
        """CUDA's event, which belongs to the device on which it is first recorded."""
        if self._event is None:
            self._event = self.api._xp.cuda.Event(**self._options)
        return self._event

    def record(self, stream: Stream | None = None) -> None:
        """Stand for all that a stream (None: the current one) was given so far."""
        stream = self.api.current_stream() if stream is None else stream
        self._number = stream._number
        with self.api._use(stream._number):
            self._made().record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream's (None: the current one's) work to come wait for this event."""
        (self.api.current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether the work up to this event is done; True if it was never recorded."""
        return self._event is None or bool(self._event.done)

    def synchronize(self) -> None:
        """Wait for the work up to this event; raises the errors that kernels found."""
        if self._event is not None:
            self._event.synchronize()
            self.api._backend().gpu.check(self._number)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another; RuntimeError if one has not happened."""
        if self._options["disable_timing"] or end_event._options["disable_timing"]:
            raise ValueError("both events must be made with enable_timing=True")
        if self._event is None or end_event._event is None:
            raise ValueError("both events must be recorded before their time is asked for")
        return float(self.api._xp.cuda.get_elapsed_time(self._event, end_event._event))


def _peak_hook(xp: Any) -> Any:
    """A memory hook of CuPy that counts what is in use, and the most that was, by device."""

    class Peak(xp.cuda.MemoryHook):  # type: ignore[misc]
        name = "minitorch peak"

        def __init__(self) -> None:
            super().__init__()
            self.used: Counter[int] = Counter()
            self.most: dict[int, int] = {}

        def malloc_postprocess(self, **kwargs: Any) -> None:
            if kwargs["mem_ptr"]:
                device = kwargs["device_id"]
                self.used[device] += kwargs["mem_size"]
                if self.used[device] > self.most.get(device, 0):
                    self.most[device] = self.used[device]

        def free_postprocess(self, **kwargs: Any) -> None:
            self.used[kwargs["device_id"]] -= kwargs["mem_size"]

    return Peak()

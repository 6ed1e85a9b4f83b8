"""Where time goes: ops, their backward rules, layers and named ranges, on the host and on a GPU.

    with minitorch.profiler.profile() as prof:
        with minitorch.profiler.record_function("step"):
            loss = criterion(model(x), y)
            loss.backward()
    print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
    prof.export_chrome_trace("trace.json")  # for Perfetto or chrome://tracing

Compiled steps run as they are inside, since a replay has no ops that could be looked at.
"""

from __future__ import annotations

import functools
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from minitorch import backend, files
from minitorch.boundary import guard
from minitorch.core import pytree
from minitorch.core.dispatch import Op, intercepted
from minitorch.nn.module import Module
from minitorch.utils.flop_counter import FLOPS

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "emit_nvtx",
    "profile",
    "record_function",
    "schedule",
    "tensorboard_trace_handler",
]


# ---------------------------------------------------------------------- spans
class _Observer:
    """Is told of the calls of kernels, rules and layers, of all threads, while it is on."""

    def __init__(self) -> None:
        self._interception = intercepted(self._kernel, self._rule)

    def span(self, name: str, kind: str, gpu: Any = None) -> AbstractContextManager[Span | None]:
        """A context manager around a call; it gives the Span that is to be measured, or None."""
        raise NotImplementedError

    def _start(self) -> None:
        self._interception.__enter__()
        _observers.append(self)
        _observe_layers()

    def _stop(self) -> None:
        _observers.remove(self)
        _observe_layers()
        self._interception.__exit__()

    def _kernel(self, op: Op, array_type: type, kernel: Callable[..., Any]) -> Callable[..., Any]:
        gpu = backend.of_type(array_type).gpu

        def observed(*operands: Any, **params: Any) -> Any:
            with self.span(op.name, "op", gpu) as span:
                result = kernel(*operands, **params)
            if span is not None:
                span.measure(op, operands, result, gpu)
            return result

        return observed

    def _rule(self, name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
        suffix = {"vjp": "backward", "jvp": "tangent"}.get(name, name)

        def observed(node: Any, given: Any) -> Any:
            with self.span(f"{node.name} {suffix}", "rule"):
                return rule(node, given)

        return observed


_observers: list[_Observer] = []
_plain_call = Module.__call__


def _observed_call(module: Module, *args: Any, **kwargs: Any) -> Any:
    with ExitStack() as spans:
        for observer in _observers:
            spans.enter_context(observer.span(type(module).__name__, "layer"))
        return _plain_call(module, *args, **kwargs)


def _observe_layers() -> None:
    call: Any = _observed_call if _observers else _plain_call
    Module.__call__ = call  # type: ignore[method-assign]


class record_function:
    """A named range of a block, or of a decorated function's calls, in the profile that is on."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name if args is None else f"{name}({args})"
        self._spans: list[ExitStack] = []

    def __enter__(self) -> record_function:
        spans = ExitStack()
        for observer in _observers:
            spans.enter_context(observer.span(self.name, "range"))
        self._spans.append(spans)
        return self

    def __exit__(self, *_: object) -> None:
        self._spans.pop().close()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def ranged(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return ranged


@dataclass
class Span:
    """A call: times in ns, of the device in ms once it has finished; bytes and flops of an op.

    bytes: of operands and results, each read or written once. least: the ms that the device needs
    for them at its full speed, see `Gpu.roofs`.
    """

    name: str
    kind: str
    thread: int
    start: int
    end: int = 0
    inner: int = 0  # ns of the spans within
    shapes: tuple[tuple[int, ...], ...] = ()
    bytes: int = 0
    flops: int = 0
    least: float = 0.0
    events: tuple[Any, Any, Any] | None = None  # the GPU, and its events before and after
    device: float = 0.0
    device_inner: float = 0.0
    within: Span | None = field(default=None, repr=False)

    def measure(self, op: Op, operands: Any, result: Any, gpu: Any) -> None:
        """Set shapes, bytes, flops and the least time."""
        given = _arrays(operands)
        made = [a for a in _arrays(result) if all(a is not b for b in given)]
        self.shapes = tuple(tuple(a.shape) for a in given)
        if not op.view:
            self.bytes = sum(map(_bytes, given + made))
        if op.name in FLOPS:
            results = result if isinstance(result, (tuple, list)) else [result]
            self.flops = FLOPS[op.name](operands, results)
        if gpu is not None:
            bandwidth, speed = gpu.roofs()
            self.least = 1e3 * max(self.bytes / bandwidth, self.flops / speed)


def _recorded(gpu: Any) -> Any:
    """A new event at this point of the current stream."""
    return gpu.xp.cuda.get_current_stream().record(gpu.xp.cuda.Event())


def _arrays(values: Any) -> list[Any]:
    return [a for a in pytree.leaves(values) if hasattr(a, "strides")]


def _bytes(array: Any) -> int:
    """Of an array's own elements: one that is expanded lies in memory once."""
    lengths = (n for n, step in zip(array.shape, array.strides, strict=True) if step)
    return int(math.prod(lengths) * array.dtype.itemsize) if array.size else 0


# ---------------------------------------------------------------------- when it records
class ProfilerActivity(Enum):
    """What a profile looks at. It always looks at both; the names are PyTorch's."""

    CPU = 0
    CUDA = 1


class ProfilerAction(Enum):
    """What a profile does in a step: nothing, nothing, record, or record the last of a cycle."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0
) -> Callable[[int], ProfilerAction]:
    """A cycle of steps that are not recorded (wait, warmup) and that are (active).

    repeat: the number of cycles; 0: without end. skip_first: steps before the first cycle.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active < 1:
        raise ValueError(
            "schedule: expected active of at least 1 and the others of at least 0, got "
            f"wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, "
            f"skip_first={skip_first}"
        )
    cycle = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        cycles, position = divmod(step - skip_first, cycle)
        if cycles < 0 or (repeat and cycles >= repeat) or position < wait:
            return ProfilerAction.NONE
        if position < wait + warmup:
            return ProfilerAction.WARMUP
        last = position == cycle - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None
) -> Callable[[Any], None]:
    """An `on_trace_ready` that writes each cycle's trace to a file of its own in a folder."""

    def write(prof: profile) -> None:
        folder = Path(dir_name)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{worker_name or 'minitorch'}.{time.time_ns()}.pt.trace.json"
        prof.export_chrome_trace(folder / name)

    return write


# ---------------------------------------------------------------------- what it records
class profile(_Observer):
    """Records the calls of ops, their backward rules, layers and named ranges of a block.

    schedule: the steps that are recorded, see `schedule`; each ends with `prof.step()`.
    on_trace_ready: called with the profile at the end of each cycle, or of the block.
    Shapes, bytes and layers are always recorded, so record_shapes, profile_memory, with_flops and
    with_modules mean nothing here; nor do activities; with_stack is not offered. On a GPU each op
    lies between two events; its time there is known at the end.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
    ) -> None:
        super().__init__()
        self._schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self._ready = on_trace_ready
        self._spans: list[Span] = []
        self._open = threading.local()
        self._running = False
        self.step_num = 0

    # ------------------------------------------------------------------ its block
    def start(self) -> None:
        """Begin."""
        self.step_num, self._spans = 0, []
        self._act()

    def stop(self) -> None:
        """End; `on_trace_ready` is called if something was recorded since the last cycle."""
        if self._running:
            self._pause()
            self._save()

    def step(self) -> None:
        """The next step of the schedule begins."""
        saved = self._schedule(self.step_num) is ProfilerAction.RECORD_AND_SAVE
        if saved and self._running:
            self._pause()
            self._save()
        self.step_num += 1
        self._act()

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _act(self) -> None:
        recording = self._schedule(self.step_num).value >= ProfilerAction.RECORD.value
        if recording and not self._running:
            self._spans, self._running = [], True
            self._start()
        elif not recording and self._running:
            self._pause()

    def _pause(self) -> None:
        self._stop()
        self._running = False
        for span in self._spans:
            if span.events is not None:
                gpu, before, after = span.events
                after.synchronize()
                span.device = float(gpu.xp.cuda.get_elapsed_time(before, after))
                span.events = None
        for span in self._spans:
            within = span.within
            while within is not None and span.device and span.kind == "op":
                within.device_inner += span.device
                within = within.within

    def _save(self) -> None:
        if self._ready is not None:
            self._ready(self)

    # ------------------------------------------------------------------ its spans
    @contextmanager
    def span(self, name: str, kind: str, gpu: Any = None) -> Iterator[Span]:
        """Record a call, within the one that its thread has begun last."""
        opened = self._open.__dict__.setdefault("spans", [])
        within = opened[-1] if opened else None
        timed = gpu is not None and gpu.captured.graph is None
        before = _recorded(gpu) if timed else None
        found = Span(name, kind, threading.get_ident(), time.perf_counter_ns(), within=within)
        opened.append(found)
        try:
            yield found
        finally:
            found.end = time.perf_counter_ns()
            opened.pop()
            if timed:
                found.events = gpu, before, _recorded(gpu)
            if within is not None:
                within.inner += found.end - found.start
            self._spans.append(found)

    def events(self) -> list[Span]:
        """The recorded calls, in the order of their ends."""
        return self._spans

    def key_averages(self, group_by_input_shape: bool = False) -> Averages:
        """The calls of each name (and of operands of the same shapes) together."""
        found: dict[Any, Average] = {}
        for span in self._spans:
            shapes = span.shapes if group_by_input_shape else ()
            key = span.name, span.kind, shapes
            if key not in found:
                found[key] = Average(span.name, span.kind, shapes)
            found[key].add(span)
        return Averages(found.values())

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the calls as a Chrome trace: JSON that Perfetto and chrome://tracing show."""
        events = [
            {
                "ph": "X",
                "name": span.name,
                "cat": span.kind,
                "pid": 0,
                "tid": span.thread,
                "ts": span.start / 1e3,
                "dur": (span.end - span.start) / 1e3,
                "args": {
                    "shapes": span.shapes,
                    "bytes": span.bytes,
                    "flops": span.flops,
                    "device ms": span.device,
                },
            }
            for span in self._spans
        ]
        with files.replacing(path) as unfinished:
            text = json.dumps({"displayTimeUnit": "ms", "traceEvents": events})
            unfinished.write_text(text, encoding="utf-8")


@dataclass
class Average:
    """Calls of one name: times in microseconds, as PyTorch's; bytes and flops of all of them.

    least_device_time: what bytes and flops need at the device's full speed.
    """

    key: str
    kind: str
    input_shapes: tuple[tuple[int, ...], ...]
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    self_device_time_total: float = 0.0
    bytes: int = 0
    flops: int = 0
    least_device_time: float = 0.0

    def add(self, span: Span) -> None:
        """Count a call."""
        took = span.end - span.start
        self.count += 1
        self.cpu_time_total += took / 1e3
        self.self_cpu_time_total += (took - span.inner) / 1e3
        self.device_time_total += (span.device or span.device_inner) * 1e3
        self.self_device_time_total += span.device * 1e3
        self.bytes += span.bytes
        self.flops += span.flops
        self.least_device_time += span.least * 1e3

    @property
    def cpu_time(self) -> float:
        """Microseconds of a call on the host."""
        return self.cpu_time_total / self.count

    @property
    def device_time(self) -> float:
        """Microseconds of a call on the device."""
        return self.device_time_total / self.count


class Averages(list[Average]):
    """What `key_averages` gives: a list of Average."""

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """A line for each name, those with the most first.

        sort_by: an attribute of Average (PyTorch's "cuda_time_total" is "device_time_total").
        Times are in ms; self is without the calls within; GB/s is of the device's own time, or of
        the host's where there is none; roof: the share of the device's full speed (in float32,
        without tensor cores).
        """
        key = "self_cpu_time_total" if sort_by is None else sort_by.replace("cuda_", "device_")
        if key not in _SORTED:
            raise ValueError(
                f"table: sort_by: expected one of {', '.join(_SORTED)}, got {sort_by!r}"
            )
        rows = sorted(self, key=lambda a: getattr(a, key), reverse=True)[:row_limit]
        whole = sum(a.self_cpu_time_total for a in self)
        lines = [_HEAD, "-" * len(_HEAD), *(_line(a, whole) for a in rows), "-" * len(_HEAD)]
        device = sum(a.self_device_time_total for a in self)
        lines.append(f"Self CPU time total: {whole / 1e3:.3f} ms")
        if device:
            lines.append(f"Self device time total: {device / 1e3:.3f} ms")
        return "\n".join(lines)


_SORTED = (
    *("count", "cpu_time", "cpu_time_total", "self_cpu_time_total", "device_time"),
    *("device_time_total", "self_device_time_total", "bytes", "flops"),
)
_HEAD = (
    f"{'name':<28}{'kind':<7}{'calls':>7}{'self CPU':>10}{'%':>7}{'CPU':>10}{'device':>10}"
    f"{'MB':>10}{'GB/s':>8}{'GFLOP':>9}{'roof':>7}  shapes"
)


def _line(a: Average, whole: float) -> str:
    took = a.self_device_time_total or a.self_cpu_time_total
    share = 100 * a.self_cpu_time_total / whole if whole else 0.0
    speed = f"{a.bytes / took / 1e3:.1f}" if took and a.bytes else "-"
    device = f"{a.device_time_total / 1e3:.3f}" if a.device_time_total else "-"
    on_device = a.self_device_time_total
    roof = f"{100 * a.least_device_time / on_device:.1f}%" if on_device else "-"
    return (
        f"{a.key[:27]:<28}{a.kind:<7}{a.count:>7}{a.self_cpu_time_total / 1e3:>10.3f}{share:>7.1f}"
        f"{a.cpu_time_total / 1e3:>10.3f}{device:>10}{a.bytes / 1e6:>10.2f}{speed:>8}"
        f"{a.flops / 1e9:>9.3f}{roof:>7}  {list(map(list, a.input_shapes)) or ''}"
    )


class emit_nvtx(_Observer):
    """Within the block, ops on a GPU, layers and named ranges are NVTX ranges for Nsight Systems.

    record_shapes: accepted, and means nothing.
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        super().__init__()
        self._enabled = enabled
        self._nvtx: Any = None  # of the GPU that worked last; ranges before its first op have none

    def __enter__(self) -> emit_nvtx:
        if self._enabled:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._stop()

    @contextmanager
    def span(self, name: str, kind: str, gpu: Any = None) -> Iterator[None]:
        """An NVTX range."""
        nvtx = self._nvtx = self._nvtx if gpu is None else gpu.xp.cuda.nvtx
        if nvtx is not None:
            nvtx.RangePush(name)
        try:
            yield
        finally:
            if nvtx is not None:
                nvtx.RangePop()


guard(globals())

"""What the host does for an op on a GPU, with no GPU there: the kernels are not launched."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.harness import Target, run
from minitorch.backend.cuda import build
from minitorch.backend.sim import cublaslt

TITLE = "Host time of a launch"
NOTES = """
Microseconds of the host for a kernel call of the CUDA backend, median of the rounds (quartiles).
There is no GPU: the arrays are CuPy's own, over addresses that nobody reads, and what would ask the
driver is stood in for, so that no kernel and no product runs: the pool of CuPy's memory and its
launches (some 2 µs each) are not in it. "call" is the whole call, "arrays" making as many arrays
of those shapes as it makes: the difference is minitorch's own Python, and what it asks of CuPy's
arrays. Tracked ops add what `overhead` measures.
"""
PROCESSORS, MEMORY, LINE = 132, 1 << 40, 1 << 24
LIMIT = 5.0  # µs of our own Python for each launch


# ---------------------------------------------------------------------- a GPU that does nothing
class _Module:
    """A module whose kernels do nothing."""

    def __init__(self, **options: Any) -> None:
        pass

    def compile(self) -> None:
        """Nothing to do."""

    def get_function(self, name: str) -> Callable[..., None]:
        """A kernel that does nothing."""
        return lambda grid, block, args, shared_mem=0: None


class Stand:
    """Stands in for the module cupy: real arrays, nothing behind them. made: shapes and dtypes."""

    def __init__(self) -> None:
        import cupy

        self.ndarray = cupy.ndarray
        self.RawModule = _Module
        self.made: list[tuple[Any, Any]] | None = None
        self._places = cycle(self._pointers(cupy))
        device = SimpleNamespace(attributes={"MultiProcessorCount": PROCESSORS})
        self.cuda = SimpleNamespace(
            Device=lambda number: device,
            runtime=SimpleNamespace(getDevice=lambda: 0),
            memory=SimpleNamespace(OutOfMemoryError=cupy.cuda.memory.OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=RuntimeError),
            get_current_stream=lambda: SimpleNamespace(ptr=0),
            alloc_pinned_memory=self._pinned,
            MemoryPointer=cupy.cuda.MemoryPointer,
        )
        self._kept: list[Any] = []

    def _pointers(self, cupy: Any) -> Iterator[Any]:
        memory = cupy.cuda.UnownedMemory(LINE, MEMORY, None, 0)
        return (cupy.cuda.MemoryPointer(memory, i * LINE) for i in range(1, 4096))

    def _pinned(self, size: int) -> Any:
        self._kept.append(ctypes.create_string_buffer(size))
        return SimpleNamespace(ptr=ctypes.addressof(self._kept[-1]))

    def empty(self, shape: Any, dtype: Any = float) -> Any:
        """An array at the next place."""
        if self.made is not None:
            self.made.append((shape, dtype))
        return self.ndarray(shape, dtype, next(self._places))

    def asarray(self, array: Any, blocking: bool = False) -> Any:
        """An array of that shape."""
        return self.empty(array.shape, array.dtype)


def _products() -> Any:
    """Bindings of cublasLt whose products do nothing: the simulator's, which describe them."""
    return SimpleNamespace(**{**vars(cublaslt), "matmul": lambda *args: None})


# ---------------------------------------------------------------------- the cases
FLOAT, LONG = np.dtype(np.float32), np.dtype(np.int64)
LAYERS = [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)]
ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "step": 3}
ADAM |= {"decoupled": False, "maximize": False}
# Name, kernel, its arguments (shapes stand for float32 arrays), its options, launches.
Case = tuple[str, tuple[Any, ...], dict[str, Any], int]


class Longs(tuple[int, ...]):
    """The shape of an array of int64."""

    __slots__ = ()


WIDE, TALL, ROW, TARGETS_OF = (64, 128), (64, 256), (128,), Longs((64,))
TABLE: dict[str, Case] = {
    "x + y": ("add", (WIDE, WIDE), {}, 1),
    "x + 2": ("add", (WIDE, 2.0), {}, 1),
    "x + row": ("add", (WIDE, ROW), {}, 1),
    "relu": ("relu", (WIDE,), {}, 1),
    "linear, relu": ("linear", (WIDE, (256, 128), (256,)), {"activation": "relu"}, 1),
    "linear_backward, relu": (
        "linear_backward",
        (TALL, WIDE, (256, 128), TALL),
        {"needs": (True, True, True), "activation": "relu"},
        3,
    ),
    "cross_entropy": (
        "cross_entropy",
        ((64, 10), TARGETS_OF),
        {"ignore_index": -100, "reduction": "mean"},
        1,
    ),
    "sum()": ("sum", (WIDE,), {"dim": (0, 1), "keepdim": False}, 1),
    "sum(0)": ("sum", (WIDE,), {"dim": (0,), "keepdim": False}, 1),
    "softmax(1)": ("softmax", (WIDE,), {"dim": 1}, 1),
    "x[i]": ("index", (WIDE,), {"index": [Longs((32,))]}, 1),
    "gather(1, i)": ("gather", (WIDE,), {"index": Longs((64, 1)), "dim": 1}, 1),
    "SGD, six tensors": (
        "sgd_",
        (LAYERS, [], LAYERS),
        {"lr": 0.1, "maximize": False},
        1,
    ),
    "Adam, six tensors": ("adam_", (LAYERS, LAYERS, LAYERS, [], LAYERS), ADAM, 1),
}
CASES = list(TABLE)


@cache
def _device() -> tuple[Stand, dict[str, Callable[..., Any]]]:
    stand = Stand()
    return stand, build("cuda", stand, _products).kernels


def _given(stand: Stand, value: Any) -> Any:
    """Arrays in place of shapes."""
    if isinstance(value, list):
        return [_given(stand, item) for item in value]
    if isinstance(value, tuple) and value and type(value[0]) is int:
        return stand.empty(tuple(value), LONG if isinstance(value, Longs) else FLOAT)
    return value


def call(case: str) -> Callable[[], Any]:
    """The kernel alone, as an op calls it."""
    stand, kernels = _device()
    name, arguments, options, _ = TABLE[case]
    given = [_given(stand, value) for value in arguments]
    params = {
        key: _given(stand, value) if isinstance(value, (list, Longs)) else value
        for key, value in options.items()
    }
    if name == "index":
        params["index"] = tuple(params["index"])
    return partial(kernels[name], *given, **params)


def arrays(case: str) -> Callable[[], Any]:
    """Making the arrays that the kernel makes."""
    stand, _ = _device()
    step = call(case)
    step()  # what is made once
    stand.made = []
    step()
    made, stand.made = stand.made, None

    def make() -> None:
        for shape, dtype in made:
            stand.empty(shape, dtype)

    return make


CONTESTANTS = {"call": call, "arrays": arrays}
COLUMNS = [("difference", "call", "arrays")]
TARGETS = [
    Target(case, "difference", "call", "arrays", LIMIT * launches)
    for case, (_, _, _, launches) in TABLE.items()
]

if __name__ == "__main__":
    run("launch")

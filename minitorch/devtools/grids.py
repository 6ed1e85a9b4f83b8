"""The grids of launches, for devices of any number of multiprocessors; nothing is launched.

A kernel fills a device where it has a block for each multiprocessor. One whose input or output has
more than `threshold` elements has to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from mmap import mmap
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend import named
from minitorch.backend.cuda.elementwise import BINARY, RARE, RARE_BINARY, UNARY
from minitorch.backend.cuda.gpu import THREADS, Array, Dims, Gpu
from minitorch.backend.cuda.reduce import REDUCTIONS
from minitorch.backend.cuda_sources import SUFFIXES, Kernels
from minitorch.backend.sim.cost import Report
from minitorch.backend.sim.settings import config
from minitorch.devtools import static
from minitorch.devtools.occupancy import Card, resident

PER_THREAD = 32  # elements
_LINE = 256  # bytes, at whose multiples CuPy's memory begins


def threshold(processors: int) -> int:
    """The elements of a kernel's input or output above which it has to fill the device."""
    return PER_THREAD * processors * THREADS


class Launch(NamedTuple):
    """A launch that was not made. elements: of the largest array among its arguments."""

    file: str
    name: str
    dtype: np.dtype[Any]
    grid: Dims
    block: Dims
    shared: int
    elements: int

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return prod(self.grid)

    @property
    def threads(self) -> int:
        """The number of threads of a block."""
        return prod(self.block)


def held(launches: Sequence[Launch], card: Card) -> list[int]:
    """How many of each launch's blocks a card holds at once, from the registers of the cubin."""
    units = {static.Unit(launch.file, launch.dtype, card.arch) for launch in launches}
    kernels = {(k.file, k.name): k for k in static.compile_all(sorted(units, key=str))}

    def blocks(launch: Launch) -> int:
        kernel = kernels[launch.file, launch.name]
        shared = kernel.shared + launch.shared
        return card.processors * resident(card, launch.threads, kernel.registers, shared)

    return list(map(blocks, launches))


class _Unwritten:
    """Memory of a device that nobody writes to, so that the machine need not have it."""

    def __init__(self, xp: Any) -> None:
        self._bytes = mmap(-1, 1 << 32)
        self.ptr = np.frombuffer(self._bytes, np.uint8).__array_interface__["data"][0]
        self.size = len(self._bytes)
        self.device = xp.cuda.Device(xp.cuda.runtime.getDevice())
        self.device_id = self.device.id

    def _buffer(self) -> mmap:
        return self._bytes


class _Recorder(Kernels):
    """Kernels that list their launches."""

    def __init__(self, xp: Any) -> None:
        super().__init__(SimpleNamespace(**vars(xp) | {"empty": self._empty}))
        self.launches: list[Launch] = []
        self._memory = _Unwritten(xp)
        self._end = 0
        self._sizes: dict[int, int] = {}  # elements of arrays, by address

    def _empty(self, shape: Dims, dtype: Any = float) -> Array:
        pointer = self.xp.cuda.MemoryPointer(self._memory, self._end)
        made = self.xp.ndarray(shape, dtype, pointer)
        self._end += -(-made.nbytes // _LINE) * _LINE
        self._sizes[made.data.ptr] = made.size
        return made

    def function(self, file: str, name: str, dtype: np.dtype[Any], device: int) -> Any:
        """A function that lists its launch."""

        def launch(grid: Dims, block: Dims, args: tuple[Any, ...], shared_mem: int = 0) -> None:
            elements = max(map(self._elements, args))
            full = f"{name}_{SUFFIXES[dtype]}"
            self.launches.append(Launch(file, full, dtype, grid, block, shared_mem, elements))

        return launch

    def _elements(self, arg: Any) -> int:
        """The elements of an array, or of the largest whose address is in a struct."""
        if isinstance(arg, self.xp.ndarray):
            return int(arg.size)
        data = arg.tobytes()
        words = np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
        return max((self._sizes.get(int(word), 0) for word in words), default=0)


class _NoProducts:
    """In place of the library of matrix products: it does nothing."""

    def multiply(self, *args: Any) -> bool:
        return True


@contextmanager
def recorded(processors: int) -> Iterator[tuple[list[Launch], Gpu]]:
    """Within the block, device "sim" has so many multiprocessors, and lists launches.

    No array gets contents.
    """
    gpu: Gpu = named("sim").gpu
    before = dict(vars(gpu))
    with config(processors=processors):
        recorder = _Recorder(gpu.xp)
        vars(gpu).update(vars(Gpu(gpu.name, recorder.xp, lambda: None)))
        vars(gpu).update(kernels=recorder, captured=before["captured"], products=_NoProducts())
        try:
            yield recorder.launches, gpu
        finally:
            vars(gpu).clear()
            vars(gpu).update(before)


# ---------------------------------------------------------------------- kernels by size
FLOAT, LONG, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)


class Matrix:
    """Makes arrays for calls of kernels with a matrix of n rows and m columns."""

    def __init__(self, gpu: Gpu, n: int, m: int) -> None:
        self._gpu, self.n, self.m = gpu, n, m

    def __call__(self, *shape: int, dtype: np.dtype[Any] = FLOAT) -> Array:
        """An array without contents; a matrix where no shape is given."""
        return self._gpu.empty(shape or (self.n, self.m), dtype)


Work = Callable[[dict[str, Any], Matrix], object]  # calls one of the kernels


def _of(name: str, arrays: int = 1, dtype: np.dtype[Any] = FLOAT, **params: Any) -> Work:
    """A kernel of so many matrices."""
    return lambda k, x: k[name](*[x(dtype=dtype) for _ in range(arrays)], **params)


def _each(names: str, *args: Any, **params: Any) -> dict[str, Work]:
    return {name: _of(name, *args, **params) for name in names.split()}


_NEEDS = (True, True, True, True)
_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def _recurrent(name: str, backward: bool) -> Work:
    """One step of a recurrent layer."""

    def work(k: dict[str, Any], x: Matrix) -> object:
        n, m, gates = x.n, x.m, _GATES[name] * x.m
        kinds = 2 if name == "lstm" else 1
        weight, states = x(gates, m), x(kinds, 2, n, m)
        params: dict[str, Any] = {"nonlinearity": "tanh"} if name == "rnn" else {}
        if not backward:
            bias = [x(gates)] if name == "gru" else []
            return k[name](x(1, n, gates), x(kinds, n, m), weight, *bias, **params)
        acts = {"rnn": [], "lstm": [x(1, n, gates), x(1, n, m)], "gru": [x(1, n, 4 * m)]}[name]
        g = x(kinds, 2, n, m)
        return k[f"{name}_backward"](g, *acts, states, weight, needs=_NEEDS, **params)

    return work


def _linear_backward(activation: str) -> Work:
    def work(k: dict[str, Any], x: Matrix) -> object:
        args = x(), x(x.n, 64), x(x.m, 64), None if activation == "none" else x()
        return k["linear_backward"](*args, needs=_NEEDS[:3], activation=activation)

    return work


def _batch_norm_backward(name: str, arguments: int) -> Work:
    def work(k: dict[str, Any], x: Matrix) -> object:
        saved = x(), x(x.m), x(x.m), x(3, x.m), None
        return k[name](x(), *saved, needs=(True,) * arguments, activation="relu")

    return work


def _index(x: Matrix, *shape: int) -> Array:
    return x(*shape, dtype=LONG)


_NORMALIZED: dict[str, Any] = {
    "mean": None,
    "var": None,
    "count": None,
    "momentum": 0.1,
    "eps": 1e-5,
}
_NORMALIZED |= {"activation": "relu", "p": 0.0, "seed": 0, "offset": 0, "memo": []}
_SGD = {"lr": 0.1, "momentum": 0.9}
_ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 1, "weight_decay": 0.0}
_ADAM |= {"decoupled": False, "maximize": False}
_DRAWN = {"dtype": FLOAT, "index": 0, "seed": 0, "offset": 0}
_DROPPED: dict[str, Any] = {"p": 0.5, "seed": 0, "offset": 0, "memo": []}
_ALONG_ONE = {  # arrays of kernels that take one dimension
    **dict.fromkeys(("argmax", "argmin", "max_dim", "min_dim", "cumsum", "argsort"), 1),
    **dict.fromkeys(("softmax", "log_softmax"), 1),
    **dict.fromkeys(("softmax_backward", "log_softmax_backward"), 2),
}
WORKS: dict[str, Work] = {
    **{
        kernel.name: _of(kernel.name, operands, FLOAT if "f" in kernel.kinds else LONG)
        for operands, table in enumerate((UNARY, BINARY), 1)
        for kernel in table
    },
    **{
        name: _of(name, operands)
        for operands, names in enumerate((RARE, RARE_BINARY), 1)
        for name in names
    },
    **_each("clamp_min clamp_max", 2),
    "where": lambda k, x: k["where"](x(), x(), x(dtype=BOOL)),
    "cast": lambda k, x: k["cast"](x(), dtype=LONG, source=FLOAT),
    "clone": _of("clone"),
    "copy_": _of("copy_", 2),
    # ---- along dimensions
    **{
        f"{name} {dim}": _of(name, dim=dim)
        for name in REDUCTIONS
        if name not in _ALONG_ONE and name != "centre"
        for dim in ((0,), (1,), (0, 1))
    },
    **{
        f"{name} {dim}": _of(name, arrays, dim=dim)
        for name, arrays in _ALONG_ONE.items()
        for dim in (0, 1)
    },
    "centre": _of("centre", dim=(0,)),
    # ---- layers
    "matmul": lambda k, x: k["matmul"](x(dtype=LONG), _index(x, x.m, 64)),
    "linear": lambda k, x: k["linear"](x(x.n, 64), x(x.m, 64), x(x.m), activation="relu"),
    **{f"linear_backward {name}": _linear_backward(name) for name in ("none", "relu")},
    "cross_entropy": lambda k, x: k["cross_entropy"](
        x(), _index(x, x.n), ignore_index=-100, reduction="mean"
    ),
    "cross_entropy_backward": lambda k, x: k["cross_entropy_backward"](x(x.n), x(), needs=_NEEDS),
    "bce_with_logits_loss": _of("bce_with_logits_loss", 2, reduction="mean"),
    "bce_with_logits_loss_backward": lambda k, x: k["bce_with_logits_loss_backward"](
        x(1)[0], x(), needs=_NEEDS
    ),
    "layer_norm": lambda k, x: k["layer_norm"](x(), x(x.m), x(x.m), dims=1, eps=1e-5),
    "layer_norm_backward": lambda k, x: k["layer_norm_backward"](
        x(), x(), x(3, x.n), x(x.m), needs=_NEEDS[:3], dims=1, eps=1e-5
    ),
    "batch_norm": lambda k, x: k["batch_norm"](x(), x(x.m), x(x.m), **_NORMALIZED),
    "batch_norm_backward": _batch_norm_backward("batch_norm_backward", 3),
    "batch_norm_eval": lambda k, x: k["batch_norm_eval"](
        x(), *[x(x.m) for _ in range(4)], eps=1e-5, activation="relu"
    ),
    "batch_norm_eval_backward": _batch_norm_backward("batch_norm_eval_backward", 5),
    **{name: _recurrent(name, False) for name in _GATES},
    **{f"{name}_backward": _recurrent(name, True) for name in _GATES},
    # ---- optimizers
    "fill_all_": lambda k, x: k["fill_all_"]([x()], value=0.0),
    "norm_all": _of("norm_all", 2, order=2.0),
    "clip_all_": lambda k, x: k["clip_all_"]([x()], [x(1)[0]], limit=1.0),
    "unscale_all_": lambda k, x: k["unscale_all_"]([x()], [x(2)], [x(2)]),
    "update_scale_": lambda k, x: k["update_scale_"](
        [x(2)], [x(2)], growth=2.0, backoff=0.5, interval=9
    ),
    "clamp_all_": lambda k, x: k["clamp_all_"]([x()], min=0.0, max=1.0),
    "sgd_": lambda k, x: k["sgd_"]([x()], [x()], [x()], **_SGD),
    "adagrad_": lambda k, x: k["adagrad_"]([x()], [x()], [x()], **_ADAM),
    "rmsprop_": lambda k, x: k["rmsprop_"]([x()], [x()], [], [], [x()], **_ADAM, alpha=0.9),
    "adam_": lambda k, x: k["adam_"]([x()], [x()], [x()], [], [x()], **_ADAM),
    "sgd_rows_": lambda k, x: k["sgd_rows_"]([x()], [_index(x, x.n)], [x()], **_SGD),
    "adagrad_rows_": lambda k, x: k["adagrad_rows_"](
        [x()], [x()], [_index(x, x.n)], [x()], **_ADAM
    ),
    "adam_rows_": lambda k, x: k["adam_rows_"](
        [x()], [x()], [x()], [_index(x, x.n)], [x()], **_ADAM
    ),
    # ---- sources
    "full": lambda k, x: k["full"]((x.n, x.m), dtype=FLOAT, index=0, value=1.0),
    "arange": lambda k, x: k["arange"](x.n * x.m, dtype=FLOAT, index=0, start=0, step=1),
    "linspace": lambda k, x: k["linspace"](x.n * x.m, dtype=FLOAT, index=0, start=0, end=1),
    "uniform": lambda k, x: k["uniform"]((x.n, x.m), **_DRAWN),
    "normal": lambda k, x: k["normal"]((x.n, x.m), **_DRAWN),
    "randint": lambda k, x: k["randint"]((x.n, x.m), **_DRAWN | {"dtype": LONG}, low=0, high=9),
    "randperm": lambda k, x: k["randperm"](x.n * x.m, **_DRAWN | {"dtype": LONG}),
    "dropout": _of("dropout", **_DROPPED),
    "activation_dropout": _of("activation_dropout", activation="relu", **_DROPPED),
    "activation_dropout_backward": _of(
        "activation_dropout_backward", 2, needs=_NEEDS[:1], activation="relu", **_DROPPED
    ),
    # ---- shapes and indices
    "cat": lambda k, x: k["cat"](x(), x(), dim=0, lengths=(x.n, x.n)),
    "flip": _of("flip", dims=(0, 1)),
    "roll": _of("roll", shifts=(1,), dims=(1,)),
    **_each("tril triu", diagonal=0),
    "index": lambda k, x: k["index"](x(), index=(_index(x, x.n),)),
    "index_backward": lambda k, x: k["index_backward"](
        x(), shape=(x.n, x.m), index=(_index(x, x.n),)
    ),
    "put": lambda k, x: k["put"](x(), x(), index=(_index(x, x.n),)),
    "gather": lambda k, x: k["gather"](x(), index=_index(x, x.n, x.m), dim=1),
    "gather_backward": lambda k, x: k["gather_backward"](
        x(), shape=(x.n, x.m), index=_index(x, x.n, x.m), dim=1
    ),
    "slice_backward": lambda k, x: k["slice_backward"](
        x(), shape=(2 * x.n, x.m), index=(slice(0, x.n),)
    ),
    "check_range": _of("check_range", dtype=LONG, length=9, what="x"),
    "check_unit": _of("check_unit", what="x"),
    "searchsorted": lambda k, x: k["searchsorted"](x(x.n * x.m), x()),
    "index_put_": lambda k, x: k["index_put_"](x(), x(), index=(_index(x, x.n),)),
    "index_add_": lambda k, x: k["index_add_"](x(), _index(x, x.n), x(), dim=0),
    "scatter_": lambda k, x: k["scatter_"](x(), _index(x, x.n, x.m), x(), dim=1),
}


# ---------------------------------------------------------------------- what `kernels count` prints
SIZES = {"many short rows": (1 << 18, 8), "a batch": (4096, 1024), "few long rows": (64, 1 << 15)}
SHOWN = (
    *("add", "sum (0,)", "sum (1,)", "softmax 1", "index", "adam_"),
    *("cross_entropy", "linear_backward relu", "layer_norm", "layer_norm_backward"),
)


def size_reports() -> Iterator[Report]:
    """The launches of some kernels for matrices of named sizes."""
    for name, (n, m) in SIZES.items():
        yield Report(f"{name}: {n} x {m}, float32", (), step=partial(_some, n, m))


def _some(n: int, m: int) -> None:
    backend = named("sim")
    for name in SHOWN:
        WORKS[name](backend.kernels, Matrix(backend.gpu, n, m))

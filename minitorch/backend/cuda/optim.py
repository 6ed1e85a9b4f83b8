"""Steps of optimizers: all parameters of a group in one launch. See kernels/optim.cu.

The arguments are those of `backend.cpu.optim`: lists of arrays, one item for each parameter. A rule
is a function that converts the options to the fields of the kernel's struct; for a captured launch
each replay calls it again (see graph.py).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np

from minitorch.backend.cpu.optim import adam_options
from minitorch.backend.cuda import errors
from minitorch.backend.cuda.elementwise import ELEMENTWISE, fill
from minitorch.backend.cuda.gpu import KEPT, THREADS, Array, Dims, Gpu, KernelTable
from minitorch.backend.cuda.reduce import REDUCTIONS
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.cuda.strides import check_writable
from minitorch.core.dtypes import FLOAT64

Arrays = Sequence[Array]
MAX_TENSORS, STATES, CHUNK = 64, 3, 2048  # as in kernels/optim.cu
TABLE = np.dtype(  # `Table` of kernels/optim.cu
    [
        ("param", np.uint64, (MAX_TENSORS,)),
        ("grad", np.uint64, (MAX_TENSORS,)),
        ("state", np.uint64, (STATES, MAX_TENSORS)),
        ("n", np.int64, (MAX_TENSORS,)),
        ("first", np.int32, (MAX_TENSORS + 1,)),
        ("tensors", np.int32),
    ],
    align=True,
)
SPARSE = np.dtype(  # `Sparse` of kernels/optim.cu
    [
        ("param", np.uint64),
        ("state", np.uint64, (2,)),
        *((name, np.uint64) for name in ("values", "rows", "order", "word", "code")),
        *((name, np.int64) for name in ("n", "length", "width")),
    ],
    align=True,
)
INT64 = np.dtype(np.int64)
Options = Mapping[str, Any]
Used = tuple[bool, ...]  # whether a parameter has each of its states
Fields = tuple[tuple[float, ...], tuple[bool, ...]]
Rule = Callable[[Options, Used], Fields]
Prepare = Callable[..., dict[str, Any]]


# ---------------------------------------------------------------------- rules


@cache
def _rule_type(dtype: np.dtype[Any], numbers: int, flags: int) -> np.dtype[Any]:
    """A struct of options: numbers in the kernel's type for computing, then flags."""
    computed = FLOAT64 if dtype == FLOAT64 else np.dtype(np.float32)
    fields = [(f"number{i}", computed) for i in range(numbers)]
    return np.dtype([*fields, *((f"flag{i}", np.int32) for i in range(flags))], align=True)


def _struct(
    rule: Rule, dtype: np.dtype[Any], used: Used, prepare: Prepare = dict, **options: Any
) -> Any:
    """The options as the struct that a rule's kernels of a dtype take; what is left out is 0."""
    numbers, flags = rule(defaultdict(float, prepare(**options)), used)
    return np.array((*numbers, *flags), _rule_type(dtype, len(numbers), len(flags)))[()]


# The fields of the structs in kernels/optim.cu: numbers, then flags.
def _sgd(o: Options, used: Used) -> Fields:
    numbers = o["lr"], o["momentum"], 1 - o["dampening"], o["weight_decay"]
    return numbers, (o["nesterov"], o["maximize"], o["first"], False)


def _adagrad(o: Options, used: Used) -> Fields:
    return (o["lr"], o["eps"], o["weight_decay"]), (o["maximize"],)


def _rmsprop(o: Options, used: Used) -> Fields:
    of_mean = o["alpha"], 1 - o["alpha"]
    numbers = o["lr"], *of_mean, o["eps"], o["weight_decay"], o["momentum"]
    return numbers, (used[1], o["maximize"])


def _adam(o: Options, used: Used) -> Fields:
    of_means = o["beta2"], 1 - o["beta1"], 1 - o["beta2"]
    numbers = o["size"], o["eps"], *of_means, o["keep"], o["weight_decay"]
    return numbers, (used[2], o["maximize"], False)


# ---------------------------------------------------------------------- whole parameters
def _dense(name: str, rule: Rule, prepare: Prepare = dict) -> Callable[..., None]:
    """The launch of a rule for whole parameters. Its columns: parameters, states, gradients."""

    def launch(gpu: Gpu, *columns: Arrays, **options: Any) -> None:
        *written, grads = columns
        rows = []
        for i, g in enumerate(grads):
            changed = [column[i] if len(column) else None for column in written]
            if g.size:
                rows.append((changed, _gradient(gpu, g, changed[0])))
        used = tuple([len(column) > 0 for column in written[1:]])
        chosen = gpu.numbers(partial(_struct, rule, written[0][0].dtype, used, prepare), options)
        for i in range(0, len(rows), MAX_TENSORS):
            _change_some(gpu, name, rows[i : i + MAX_TENSORS], chosen)

    return launch


def _gradient(gpu: Gpu, g: Array, p: Any) -> Array:
    return gpu.contiguous(g) if g.dtype == p.dtype else gpu.converted(g, p.dtype)


def _change_some(
    gpu: Gpu,
    name: str,
    rows: list[tuple[list[Array | None], Array]],
    chosen: tuple[Any, np.uint64],
) -> None:
    dtype = rows[0][1].dtype
    copies: list[tuple[Array, Array]] = []
    columns: list[list[int]] = [[] for _ in range(2 + STATES)]  # addresses, as in a `Table`
    params, grads, *states = columns
    written = (params, *states)
    for changed, g in rows:
        grads.append(g.data.ptr)
        for column, a in zip(written, changed):
            if a is None:
                column.append(0)
            elif a._c_contiguous and a.dtype is dtype:
                column.append(a.data.ptr)
            else:
                flat = _writable(gpu, a, dtype)
                column.append(flat.data.ptr)
                copies += [(flat, a)] if flat is not a else []
    addresses = b"".join([array("Q", c).tobytes().ljust(8 * MAX_TENSORS, b"\0") for c in columns])
    sizes, chunks = _sizes(tuple([g.size for _, g in rows]))
    table = np.ndarray((), TABLE, addresses + sizes)[()]
    grid = gpu.blocks(chunks, per_block=1)
    gpu.launch("optim", name, dtype, grid, (THREADS,), (table, *chosen))
    for copy, original in copies:
        gpu.copy(copy, original)


@lru_cache(KEPT)
def _sizes(sizes: Dims) -> tuple[bytes, int]:
    """A `Table` behind its addresses, and the number of chunks."""
    table = np.zeros((), TABLE)
    chunks = [0, *accumulate(-(-n // CHUNK) for n in sizes)]
    table["n"][: len(sizes)], table["first"][: len(chunks)] = sizes, chunks
    table["tensors"] = len(sizes)
    return table.tobytes()[TABLE.fields["n"][1] :], chunks[-1]  # type: ignore[index]


def _writable(gpu: Gpu, a: Array, dtype: np.dtype[Any]) -> Array:
    """a, or a contiguous copy of that dtype for the kernel to change instead."""
    check_writable(a)
    return gpu.contiguous(a) if a.dtype == dtype else gpu.converted(a, dtype)


# ---------------------------------------------------------------------- some rows
def _sparse(name: str, rule: Rule, prepare: Prepare = dict) -> Callable[..., None]:
    """The launch of a rule for the rows that have a gradient: parameters, states, rows, values."""

    def launch(gpu: Gpu, *columns: Arrays, **options: Any) -> None:
        *written, rows, values = columns
        used = (True,) * (len(written) - 1) + (False,) * STATES
        chosen = gpu.numbers(partial(_struct, rule, written[0][0].dtype, used, prepare), options)
        for i, index in enumerate(rows):
            if values[i].size:
                changed = [column[i] for column in written]
                if index.dtype == INT64:
                    index = gpu.contiguous(index)
                else:
                    index = gpu.converted(index, INT64)
                grad = _gradient(gpu, values[i], changed[0])
                _change_rows_of(gpu, name, changed, index, grad, chosen)

    return launch


def _change_rows_of(
    gpu: Gpu,
    name: str,
    changed: Arrays,
    rows: Array,
    values: Array,
    chosen: tuple[Any, np.uint64],
) -> None:
    flat = [_writable(gpu, a, values.dtype) for a in changed]
    n, length = rows.size, flat[0].shape[0]
    order = argsort(gpu, rows, limit=length)
    width = values.size // n
    job = np.zeros((), SPARSE)
    job["param"], job["values"] = flat[0].data.ptr, values.data.ptr
    job["state"][: len(flat) - 1] = [a.data.ptr for a in flat[1:]]
    job["rows"], job["order"] = rows.data.ptr, order.data.ptr
    job["word"], job["code"] = gpu.error_word(), errors.out_of_range(f"{name}_: row")
    job["n"], job["length"], job["width"] = n, length, width
    across = min(32, 1 << (width - 1).bit_length())
    down = THREADS // across
    grid = gpu.blocks(n, down)
    gpu.launch("optim", name, values.dtype, grid, (across, down), (job[()], *chosen))
    for copy, original in zip(flat, changed):
        if copy is not original:
            gpu.copy(copy, original)


# ---------------------------------------------------------------------- gradients
def _sum_squares(gpu: Gpu, *grads: Array, out: Array | None = None) -> Array:
    parts = gpu.empty((len(grads),), np.result_type(*[g.dtype for g in grads]))
    for i, g in enumerate(grads):
        square = ELEMENTWISE["mul"](gpu, g, g)
        REDUCTIONS["sum"](gpu, square, None, out=parts[i : i + 1].reshape(()))
    return REDUCTIONS["sum"](gpu, parts, None, out=out)


def _fill_all_(gpu: Gpu, grads: Arrays, *, value: float) -> None:
    for g in grads:
        fill(gpu, g, value)


def _scale_all_(gpu: Gpu, grads: Arrays, factors: Arrays) -> None:
    for g in grads:
        _replace(gpu, "mul", g, gpu.converted(factors[0], g.dtype))


def _clamp_all_(gpu: Gpu, grads: Arrays, *, min: float, max: float) -> None:
    for g in grads:
        _replace(gpu, "maximum", g, min)
        _replace(gpu, "minimum", g, max)


def _replace(gpu: Gpu, op: str, x: Array, y: Any) -> None:
    check_writable(x)
    ELEMENTWISE[op](gpu, x, y, out=x)


OPTIMIZERS: KernelTable = {
    "sum_squares": _sum_squares,
    "fill_all_": _fill_all_,
    "scale_all_": _scale_all_,
    "clamp_all_": _clamp_all_,
    "sgd_": _dense("sgd", _sgd),
    "adagrad_": _dense("adagrad", _adagrad),
    "rmsprop_": _dense("rmsprop", _rmsprop),
    "adam_": _dense("adam", _adam, adam_options),
    "sgd_rows_": _sparse("sgd_rows", _sgd),
    "adagrad_rows_": _sparse("adagrad_rows", _adagrad),
    "adam_rows_": _sparse("adam_rows", _adam, partial(adam_options, sparse=True)),
}

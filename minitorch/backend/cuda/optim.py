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
from math import inf, log
from typing import Any

import numpy as np

from minitorch.backend.cpu.optim import joint_dtype
from minitorch.backend.cuda import errors
from minitorch.backend.cuda.elementwise import fill
from minitorch.backend.cuda.gpu import KEPT, NULL, THREADS, Array, Dims, Gpu, KernelTable
from minitorch.backend.cuda.reduce import PER_BLOCK, split
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.cuda.strides import check_writable
from minitorch.core.dtypes import FLOAT32, FLOAT64

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
Fields = tuple[tuple[float, ...], ...]  # numbers, flags and, if any, numbers in double
Rule = Callable[[Options, Used], Fields]


# ---------------------------------------------------------------------- rules


@cache
def _rule_type(dtype: np.dtype[Any], exact: int, numbers: int, flags: int) -> np.dtype[Any]:
    """A struct of options: doubles, numbers in the kernel's type for computing, then flags."""
    computed = FLOAT64 if dtype == FLOAT64 else FLOAT32
    kinds = *[FLOAT64] * exact, *[computed] * numbers, *[np.dtype(np.int32)] * flags
    return np.dtype([(f"field{i}", kind) for i, kind in enumerate(kinds)], align=True)


def _struct(rule: Rule, dtype: np.dtype[Any], used: Used, **options: Any) -> Any:
    """The options as the struct that a rule's kernels of a dtype take; what is left out is 0."""
    numbers, flags, *rest = rule(defaultdict(float, options), used)
    exact = rest[0] if rest else ()
    kind = _rule_type(dtype, len(exact), len(numbers), len(flags))
    return np.array((*exact, *numbers, *flags), kind)[()]


# The fields of the structs in kernels/optim.cu. The number of the step is the first of those that
# have one.
def _sgd(o: Options, used: Used) -> Fields:
    numbers = o["lr"], o["momentum"], 1 - o["dampening"], o["weight_decay"]
    return numbers, (o["nesterov"], o["maximize"], o["first"], False)


def _adagrad(o: Options, used: Used) -> Fields:
    of_step = o["step"], o["lr"], o["lr_decay"]
    return (0, o["eps"], o["weight_decay"]), (o["maximize"], 0), of_step


def _rmsprop(o: Options, used: Used) -> Fields:
    of_mean = o["alpha"], 1 - o["alpha"]
    numbers = o["lr"], *of_mean, o["eps"], o["weight_decay"], o["momentum"]
    return numbers, (used[1], o["maximize"])


def _adam(o: Options, used: Used) -> Fields:
    of_means = o["beta2"], 1 - o["beta1"], 1 - o["beta2"]
    decay = o["weight_decay"]
    keep, decay = (1 - o["lr"] * decay, 0) if o["decoupled"] else (1, decay)
    of_step = o["step"], o["lr"], o["eps"], _log(o["beta1"]), _log(o["beta2"])
    return (0, 0, *of_means, keep, decay), (used[2], o["maximize"], o["sparse"], 0), of_step


def _log(x: float) -> float:
    return log(x) if x else -inf


def _chosen(gpu: Gpu, make: Callable[..., Any], options: dict[str, Any]) -> tuple[Any, ...]:
    """For a launch: its rule, where the rule of a replay lies, and tickets to count its steps."""
    graph = gpu.captured.graph
    return (*gpu.numbers(make, options), NULL if graph is None else graph.tickets)


# ---------------------------------------------------------------------- whole parameters
def _dense(name: str, rule: Rule) -> Callable[..., None]:
    """The launch of a rule for whole parameters. Its columns: parameters, states, gradients."""

    def launch(gpu: Gpu, *columns: Arrays, skip: Array | None = None, **options: Any) -> None:
        *written, grads = columns
        rows = []
        for i, g in enumerate(grads):
            changed = [column[i] if len(column) else None for column in written]
            if g.size:
                rows.append((changed, _gradient(gpu, g, changed[0])))
        used = tuple([len(column) > 0 for column in written[1:]])
        make = partial(_struct, rule, written[0][0].dtype, used)
        skipped = NULL if skip is None else skip
        _change(gpu, name, rows, lambda: (*_chosen(gpu, make, options), skipped))

    return launch


def _change(
    gpu: Gpu,
    name: str,
    rows: list[tuple[list[Array | None], Array]],
    args: Callable[[], tuple[Any, ...]],
) -> None:
    """Launch a kernel as often as so many rows take; args(): its other arguments for a launch."""
    for i in range(0, len(rows), MAX_TENSORS):
        _change_some(gpu, name, rows[i : i + MAX_TENSORS], args())


def _gradient(gpu: Gpu, g: Array, p: Any) -> Array:
    return gpu.contiguous(g) if g.dtype == p.dtype else gpu.converted(g, p.dtype)


def _change_some(
    gpu: Gpu,
    name: str,
    rows: list[tuple[list[Array | None], Array]],
    args: tuple[Any, ...],
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
    table, chunks = _table(columns, tuple([g.size for _, g in rows]))
    grid = gpu.blocks(chunks, per_block=1)
    gpu.launch("optim", name, dtype, grid, (THREADS,), (table, *args))
    for copy, original in copies:
        gpu.copy(copy, original)


def _table(columns: list[list[int]], sizes: Dims) -> tuple[Any, int]:
    """A `Table` of addresses, and the number of its chunks."""
    addresses = b"".join([array("Q", c).tobytes().ljust(8 * MAX_TENSORS, b"\0") for c in columns])
    rest, chunks = _sizes(sizes)
    return np.ndarray((), TABLE, addresses + rest)[()], chunks


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
def _sparse(name: str, rule: Rule, **fixed: Any) -> Callable[..., None]:
    """The launch of a rule for the rows that have a gradient: parameters, states, rows, values."""

    def launch(gpu: Gpu, *columns: Arrays, skip: Array | None = None, **options: Any) -> None:
        *written, rows, values = columns
        used = (True,) * (len(written) - 1) + (False,) * STATES
        make = partial(_struct, rule, written[0][0].dtype, used, **fixed)
        for i, index in enumerate(rows):
            if values[i].size:
                changed = [column[i] for column in written]
                if index.dtype == INT64:
                    index = gpu.contiguous(index)
                else:
                    index = gpu.converted(index, INT64)
                grad = _gradient(gpu, values[i], changed[0])
                args = *_chosen(gpu, make, options), NULL if skip is None else skip
                _change_rows_of(gpu, name, changed, index, grad, args)

    return launch


def _change_rows_of(
    gpu: Gpu,
    name: str,
    changed: Arrays,
    rows: Array,
    values: Array,
    args: tuple[Any, ...],
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
    (blocks,) = gpu.blocks(n, down)
    grid = blocks, split(blocks, width, PER_BLOCK // down, 2 * gpu.processors())
    gpu.launch("optim", name, values.dtype, grid, (across, down), (job[()], *args))
    for copy, original in zip(flat, changed):
        if copy is not original:
            gpu.copy(copy, original)


# ---------------------------------------------------------------------- gradients
NORM = np.dtype(  # `Norm` of kernels/optim.cu
    [(name, np.uint64) for name in ("out", "parts", "tickets")]
    + [("power", np.float64)]
    + [(name, np.int32) for name in ("order", "before", "all", "pad")],
    align=True,
)
_ORDERS = {1.0: 1, 2.0: 2, inf: 3, -inf: 4}  # of kernels/optim.cu; 0 for any other


def _norm_all(gpu: Gpu, *grads: Array, order: float, out: Array | None = None) -> Array:
    dtype = joint_dtype(grads)
    given = [gpu.contiguous(g) if g.dtype == dtype else gpu.converted(g, dtype) for g in grads]
    given = [g for g in given if g.size]
    total = gpu.empty((), dtype)
    if not given:
        return gpu.result(fill(gpu, total, 0), out)
    some = [given[i : i + MAX_TENSORS] for i in range(0, len(given), MAX_TENSORS)]
    unused: list[list[int]] = [[]] * (1 + STATES)
    launches = [
        _table([[g.data.ptr for g in gs], *unused], tuple([g.size for g in gs])) for gs in some
    ]
    grids = [gpu.blocks(chunks, per_block=1) for _, chunks in launches]
    parts = gpu.empty((sum(grid[0] for grid in grids),), FLOAT64)
    job = np.zeros((), NORM)
    job["out"], job["parts"], job["tickets"] = (a.data.ptr for a in (total, parts, gpu.tickets()))
    job["power"], job["order"] = order, _ORDERS.get(order, 0)
    for i, ((table, _), grid) in enumerate(zip(launches, grids, strict=True)):
        job["all"] = parts.size if i == len(grids) - 1 else 0
        gpu.launch("optim", "norm_all", dtype, grid, (THREADS,), (table, job[()]))
        job["before"] += grid[0]
    return gpu.result(total, out)


def _change_each(
    gpu: Gpu, name: str, grads: Arrays, args: Callable[[np.dtype[Any]], tuple[Any, ...]]
) -> None:
    """Change all of many arrays, in a launch for each dtype. args(dtype): more arguments."""
    by_dtype: dict[Any, list[tuple[list[Array | None], Array]]] = {}
    for g in grads:
        if g.size:
            by_dtype.setdefault(g.dtype, []).append(([g], g))
    for dtype, rows in by_dtype.items():
        _change(gpu, name, rows, partial(args, dtype))


def _number(dtype: np.dtype[Any], value: float) -> Any:
    """A number of the type that kernels for a dtype compute in."""
    return np.float64(value) if dtype == FLOAT64 else np.float32(value)


def _fill_all_(gpu: Gpu, grads: Arrays, *, value: float) -> None:
    _change_each(gpu, "fill_all", grads, lambda dtype: (_number(dtype, value),))


def _clamp_all_(gpu: Gpu, grads: Arrays, *, min: float, max: float) -> None:
    limits = min, max
    _change_each(gpu, "clamp_all", grads, lambda dtype: tuple(_number(dtype, n) for n in limits))


def _clip_all_(gpu: Gpu, grads: Arrays, norms: Arrays, *, limit: float) -> None:
    (norm,) = norms

    def args(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        given = norm if norm.dtype == dtype else gpu.converted(norm, dtype)
        return given, _number(dtype, limit)

    _change_each(gpu, "clip_all", grads, args)


def _unscale_all_(gpu: Gpu, grads: Arrays, found: Arrays, scale: Arrays) -> None:
    _change_each(gpu, "unscale", grads, lambda dtype: (found[0], scale[0]))


def _update_scale_(
    gpu: Gpu, state: Arrays, skips: Arrays, *, growth: float, backoff: float, interval: int
) -> None:
    table = np.zeros((), TABLE)
    if len(skips) > MAX_TENSORS:
        raise RuntimeError(f"update: a GradScaler serves up to {MAX_TENSORS} optimizers")
    table["param"][: len(skips)] = [s.data.ptr for s in skips]
    table["tensors"] = len(skips)
    args = (table[()], state[0], np.float32(growth), np.float32(backoff), np.float32(interval))
    gpu.launch("optim", "update_scale", FLOAT32, (1,), (1,), args)


OPTIMIZERS: KernelTable = {
    "unscale_all_": _unscale_all_,
    "update_scale_": _update_scale_,
    "norm_all": _norm_all,
    "fill_all_": _fill_all_,
    "clip_all_": _clip_all_,
    "clamp_all_": _clamp_all_,
    "sgd_": _dense("sgd", _sgd),
    "adagrad_": _dense("adagrad", _adagrad),
    "rmsprop_": _dense("rmsprop", _rmsprop),
    "adam_": _dense("adam", _adam),
    "sgd_rows_": _sparse("sgd_rows", _sgd),
    "adagrad_rows_": _sparse("adagrad_rows", _adagrad),
    "adam_rows_": _sparse("adam_rows", _adam, sparse=True),
}

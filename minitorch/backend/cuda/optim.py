"""Steps of optimizers: all parameters of a group in one launch. See kernels/optim.cu.

The arguments are those of `backend.cpu.optim`: lists of arrays, one item for each parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from minitorch.backend.base import FLOAT64
from minitorch.backend.cpu.optim import adam_numbers
from minitorch.backend.cuda import errors
from minitorch.backend.cuda.elementwise import ELEMENTWISE, fill
from minitorch.backend.cuda.gpu import THREADS, Array, Entries, Gpu
from minitorch.backend.cuda.reduce import REDUCTIONS
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.cuda.strides import check_writable

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


@cache
def _rule_type(dtype: np.dtype[Any], numbers: tuple[str, ...], flags: int) -> np.dtype[Any]:
    """A struct of options: numbers in the type that is computed in, then flags."""
    computed = FLOAT64 if dtype == FLOAT64 else np.dtype(np.float32)
    fields = [(name, computed) for name in numbers]
    return np.dtype([*fields, *((f"flag{i}", np.int32) for i in range(flags))], align=True)


def _rule(dtype: np.dtype[Any], numbers: dict[str, float], *flags: bool) -> Any:
    """Options as the kernels of a dtype take them."""
    kind = _rule_type(dtype, tuple(numbers), len(flags))
    return np.array((*numbers.values(), *flags), kind)[()]


# ---------------------------------------------------------------------- whole parameters
def _change_all(gpu: Gpu, name: str, columns: Sequence[Arrays], grads: Arrays, rule: Any) -> None:
    """Run a rule on parameters and states (columns) with their gradients."""
    rows = []
    for i, g in enumerate(grads):
        changed = [column[i] if len(column) else None for column in columns]
        if g.size:
            rows.append((changed, _gradient(gpu, g, changed[0])))
    for i in range(0, len(rows), MAX_TENSORS):
        _change_some(gpu, name, rows[i : i + MAX_TENSORS], rule)


def _gradient(gpu: Gpu, g: Array, p: Any) -> Array:
    return gpu.contiguous(g) if g.dtype == p.dtype else gpu.converted(g, p.dtype)


def _change_some(
    gpu: Gpu, name: str, rows: list[tuple[list[Array | None], Array]], rule: Any
) -> None:
    table = np.zeros((), TABLE)
    copies = []
    for k, (changed, g) in enumerate(rows):
        flat = [None if a is None else _writable(gpu, a, g.dtype) for a in changed]
        copies += [(a, b) for a, b in zip(flat, changed) if a is not b]
        pointers = [0 if a is None else a.data.ptr for a in flat]
        table["param"][k], table["grad"][k] = pointers[0], g.data.ptr
        table["state"][: len(pointers) - 1, k] = pointers[1:]
        table["n"][k] = g.size
    count = len(rows)
    chunks = [0, *accumulate(-(-g.size // CHUNK) for _, g in rows)]
    table["first"][: count + 1] = chunks
    table["tensors"] = count
    dtype = rows[0][1].dtype
    grid = gpu.blocks(chunks[-1], per_block=1)
    gpu.launch("optim", name, dtype, grid, (THREADS,), (table[()], rule))
    for copy, original in copies:
        gpu.copy(copy, original)


def _writable(gpu: Gpu, a: Array, dtype: np.dtype[Any]) -> Array:
    """a, or a contiguous copy of that dtype to change in its place."""
    check_writable(a)
    return gpu.contiguous(a) if a.dtype == dtype else gpu.converted(a, dtype)


def _sgd_(
    gpu: Gpu,
    params: Arrays,
    buffers: Arrays,
    grads: Arrays,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    numbers = {
        "lr": lr,
        "momentum": momentum,
        "fresh": 1 - dampening,
        "weight_decay": weight_decay,
    }
    rule = _rule(params[0].dtype, numbers, nesterov, maximize, first, False)
    _change_all(gpu, "sgd", (params, buffers), grads, rule)


def _adagrad_(
    gpu: Gpu,
    params: Arrays,
    sums: Arrays,
    grads: Arrays,
    *,
    lr: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    numbers = {"lr": lr, "eps": eps, "weight_decay": weight_decay}
    rule = _rule(params[0].dtype, numbers, maximize)
    _change_all(gpu, "adagrad", (params, sums), grads, rule)


def _rmsprop_(
    gpu: Gpu,
    params: Arrays,
    squares: Arrays,
    means: Arrays,
    buffers: Arrays,
    grads: Arrays,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    numbers = {
        "lr": lr,
        "alpha": alpha,
        "fresh": 1 - alpha,
        "eps": eps,
        "weight_decay": weight_decay,
        "momentum": momentum,
    }
    rule = _rule(params[0].dtype, numbers, len(means) > 0, maximize)
    _change_all(gpu, "rmsprop", (params, squares, means, buffers), grads, rule)


def _adam_rule(
    dtype: np.dtype[Any],
    betas: tuple[float, float],
    size: float,
    eps: float,
    keep: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
) -> Any:
    numbers = {
        "size": size,
        "eps": eps,
        "beta2": betas[1],
        "fresh1": 1 - betas[0],
        "fresh2": 1 - betas[1],
        "keep": keep,
        "weight_decay": weight_decay,
    }
    return _rule(dtype, numbers, amsgrad, maximize, False)


def _adam_(
    gpu: Gpu,
    params: Arrays,
    means: Arrays,
    squares: Arrays,
    largest: Arrays,
    grads: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
    step: int,
) -> None:
    size, unbias = adam_numbers(lr, beta1, beta2, step)
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    dtype, betas = params[0].dtype, (beta1, beta2)
    rule = _adam_rule(dtype, betas, size, eps * unbias, keep, decay, len(largest) > 0, maximize)
    _change_all(gpu, "adam", (params, means, squares, largest), grads, rule)


# ---------------------------------------------------------------------- some rows
def _change_rows(
    gpu: Gpu,
    name: str,
    columns: Sequence[Arrays],
    rows: Arrays,
    values: Arrays,
    rule: Any,
) -> None:
    """Run a rule on the rows that have a gradient; columns: parameters, states."""
    for i, index in enumerate(rows):
        if values[i].size:
            changed = [column[i] for column in columns]
            index = gpu.contiguous(index) if index.dtype == INT64 else gpu.converted(index, INT64)
            _change_rows_of(gpu, name, changed, index, _gradient(gpu, values[i], changed[0]), rule)


def _change_rows_of(
    gpu: Gpu, name: str, changed: Arrays, rows: Array, values: Array, rule: Any
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
    gpu.launch("optim", name, values.dtype, gpu.blocks(n, down), (across, down), (job[()], rule))
    for copy, original in zip(flat, changed):
        if copy is not original:
            gpu.copy(copy, original)


def _sgd_rows_(
    gpu: Gpu, params: Arrays, rows: Arrays, values: Arrays, *, lr: float, maximize: bool
) -> None:
    numbers = {"lr": lr, "momentum": 0.0, "fresh": 1.0, "weight_decay": 0.0}
    rule = _rule(params[0].dtype, numbers, False, maximize, False, False)
    _change_rows(gpu, "sgd_rows", (params,), rows, values, rule)


def _adagrad_rows_(
    gpu: Gpu,
    params: Arrays,
    sums: Arrays,
    rows: Arrays,
    values: Arrays,
    *,
    lr: float,
    eps: float,
    maximize: bool,
) -> None:
    rule = _rule(params[0].dtype, {"lr": lr, "eps": eps, "weight_decay": 0.0}, maximize)
    _change_rows(gpu, "adagrad_rows", (params, sums), rows, values, rule)


def _adam_rows_(
    gpu: Gpu,
    params: Arrays,
    means: Arrays,
    squares: Arrays,
    rows: Arrays,
    values: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    maximize: bool,
    step: int,
) -> None:
    size, _ = adam_numbers(lr, beta1, beta2, step)
    dtype, betas = params[0].dtype, (beta1, beta2)
    rule = _adam_rule(dtype, betas, size, eps, 1.0, 0.0, False, maximize)
    _change_rows(gpu, "adam_rows", (params, means, squares), rows, values, rule)


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


OPTIMIZERS: Entries = {
    "sum_squares": _sum_squares,
    "fill_all_": _fill_all_,
    "scale_all_": _scale_all_,
    "clamp_all_": _clamp_all_,
    "sgd_": _sgd_,
    "adagrad_": _adagrad_,
    "rmsprop_": _rmsprop_,
    "adam_": _adam_,
    "sgd_rows_": _sgd_rows_,
    "adagrad_rows_": _adagrad_rows_,
    "adam_rows_": _adam_rows_,
}

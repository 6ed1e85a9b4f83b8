"""Matrix products and fused kernels: several ops in one. See kernels/matmul.cu and fused.cu."""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import Any

import numpy as np

from minitorch.backend.cpu.fused import ACTIVATIONS, BY_ARGUMENT
from minitorch.backend.cuda import errors
from minitorch.backend.cuda.cublaslt import FORMATS
from minitorch.backend.cuda.elementwise import ELEMENTWISE, fill, mul_nonzero
from minitorch.backend.cuda.gpu import (
    MAX_DIMS,
    MOST_BLOCKS,
    NULL,
    THREADS,
    Array,
    Gpu,
    KernelTable,
    int32,
    int64,
)
from minitorch.backend.cuda.reduce import PER_BLOCK, RESIDENT, holding, part_totals, split
from minitorch.backend.cuda.strides import batch_steps, broadcast_shape, merge, shared, struct_of
from minitorch.core.dtypes import FLOAT64, HALVES

INT64 = np.dtype(np.int64)

# ---------------------------------------------------------------------- matrix products
_MATRICES = np.dtype(
    [
        ("array", np.uint64),
        ("row", np.int64),
        ("column", np.int64),
        ("batch", np.int64, (MAX_DIMS,)),
    ],
    align=True,
)
PRODUCT = np.dtype(  # `Product` of kernels/matmul.cu
    [
        ("a", _MATRICES),
        ("b", _MATRICES),
        ("batches", np.int64),
        ("rows", np.int64),
        ("columns", np.int64),
        ("inner", np.int64),
        ("shape", np.int64, (MAX_DIMS,)),
        *((name, np.uint64) for name in ("bias", "before", "seen", "sums", "partials", "tickets")),
        *((name, np.int32) for name in ("dims", "parts", "activation", "pad")),
    ],
    align=True,
)
_TILE, _WIDE_TILE, _SIDE = 64, 128, 16  # as in kernels/matmul.cu
_SHORTEST = 64  # part of the inner dimension
_RESIDENT = 2  # blocks on a multiprocessor


def _matmul(gpu: Gpu, x: Array, y: Array, out: Array | None = None) -> Array:
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    shape = (*batch, x.shape[-2], y.shape[-1])
    product: Array = out if _fits(out, shape, x, y) else gpu.empty(shape, x.dtype)
    if not product.size or not x.shape[-1]:
        fill(gpu, product, 0)
    elif not _by_library(gpu, x, y, product):
        _gemm(gpu, x, y, product)
    return gpu.result(product, out)


def _fits(out: Any, shape: tuple[int, ...], x: Array, y: Array) -> bool:
    """Whether a product can be written to `out` at once."""
    if out is None or (out.dtype, out.shape) != (x.dtype, shape) or not out._c_contiguous:
        return False
    return not shared(x, out) and not shared(y, out)


def _by_library(
    gpu: Gpu,
    x: Array,
    y: Array,
    out: Array,
    epilogue: str = "DEFAULT",
    bias: Array | None = None,
    aux: Array | None = None,
) -> bool:
    """x @ y into a contiguous out by cublasLt, which may decline: see `cublaslt.Library`.

    A contiguous stack times one matrix is one product.
    """
    if gpu.products is None or x.dtype not in FORMATS:
        return False
    if y.ndim == 2 and x.ndim > 2 and x._c_contiguous:
        x, out = _rows(gpu, x), _rows(gpu, out)
    return gpu.products.multiply(x, y, out, epilogue, bias, aux)


def _gemm(
    gpu: Gpu, x: Array, y: Array, out: Array, kernel: str = "matmul", **more: Array | int | None
) -> None:
    """x @ y into a contiguous out, by a kernel of our own; more: its further arguments."""
    job = np.zeros((), PRODUCT)
    batch = out.shape[:-2]
    shape, steps = merge(batch, *[batch_steps(a, batch) for a in (x, y)])
    if len(shape) > MAX_DIMS:
        raise RuntimeError(f"matmul: more than {MAX_DIMS} leading dimensions")
    for name, a, step in zip("ab", (x, y), steps):
        job[name]["array"] = a.data.ptr
        job[name]["row"], job[name]["column"] = (s // a.itemsize for s in a.strides[-2:])
        job[name]["batch"][: len(shape)] = step[::-1]
    job["batches"], job["inner"] = prod(batch), x.shape[-1]
    job["rows"], job["columns"] = out.shape[-2:]
    job["shape"][: len(shape)], job["dims"] = shape[::-1], len(shape)
    for name, value in more.items():
        if value is not None:
            job[name] = value if isinstance(value, int) else value.data.ptr
    once = gpu.blocks(MOST_BLOCKS, waves=_RESIDENT)[0]
    tile = _WIDE_TILE if _is_wide(out, kernel, once) else _TILE
    tiles = _tiles(out, tile)
    parts = job["parts"] = max(1, min(once // tiles, x.shape[-1] // _SHORTEST))
    if parts > 1:
        kind = _ACC.get(x.dtype, INT64)
        partials = gpu.empty((tiles * int(parts) * (tile + 1) * tile,), kind)
        job["partials"], job["tickets"] = partials.data.ptr, gpu.tickets().data.ptr
    name = kernel + "_wide" * (tile == _WIDE_TILE)
    grid = gpu.blocks(tiles * int(parts), 1)
    gpu.launch("matmul", name, x.dtype, grid, (_SIDE, _SIDE), (out, job[()]))


def _tiles(out: Array, tile: int) -> int:
    across, down = (-(-n // tile) for n in out.shape[-2:])
    return int(prod(out.shape[:-2]) * across * down)


def _is_wide(out: Array, kernel: str, once: int) -> bool:
    """Whether there is a kernel with wide tiles, and enough of these for half of the device."""
    wide = out.dtype in _ACC and out.dtype != FLOAT64 and kernel != "matmul_backward"
    return wide and min(out.shape[-2:]) > _TILE and 2 * _tiles(out, _WIDE_TILE) >= once


_ACC = {  # of kernels/common.cuh
    np.dtype(name): np.dtype(acc)
    for name, acc in (
        *((half, "float32") for half in HALVES),
        *((name, name) for name in ("float32", "float64")),
    )
}


# ---------------------------------------------------------------------- linear
ACTIVATION_NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}
COLUMNS, ROWS = 32, 16  # as in kernels/columns.cuh
EPILOGUES = {"none": "BIAS", "relu": "RELU_BIAS", "gelu_tanh": "GELU_AUX_BIAS"}
_AUX_COLUMNS = 8  # what the columns of an auxiliary output are a multiple of


def _linear(gpu: Gpu, x: Array, weight: Array, bias: Array, activation: str) -> tuple[Any, ...]:
    bias = gpu.contiguous(bias)
    if x.size and weight.size:
        if gpu.products is None:
            return _linear_at_once(gpu, x, weight, bias, activation)
        keeps = activation in BY_ARGUMENT
        if activation in EPILOGUES and not (keeps and len(weight) % _AUX_COLUMNS):
            out = gpu.empty((*x.shape[:-1], len(weight)), x.dtype)
            before = gpu.empty(out.shape, out.dtype) if keeps else None
            rows = _rows(gpu, x), weight.T, _rows(gpu, out)
            if _by_library(gpu, *rows, EPILOGUES[activation], bias, before):
                seen = out if before is None else before
                return out, x, weight, None if activation == "none" else seen
    before = _matmul(gpu, x, weight.T)
    out = gpu.empty(before.shape, before.dtype) if activation in BY_ARGUMENT else before
    if before.size:
        args = (
            *(before, NULL if out is before else out, bias),
            *(int64(before.size), int64(bias.size), _number(activation)),
        )
        grid = gpu.blocks(-(-before.nbytes // 16))
        gpu.launch("fused", "bias_activation", before.dtype, grid, (THREADS,), args)
    return out, x, weight, None if activation == "none" else before


def _linear_at_once(
    gpu: Gpu, x: Array, weight: Array, bias: Array, activation: str
) -> tuple[Any, ...]:
    """`_linear` in one launch."""
    out = gpu.empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    before = gpu.empty(out.shape, out.dtype) if activation in BY_ARGUMENT else None
    number = ACTIVATION_NUMBERS[activation]
    more: dict[str, Any] = {"bias": bias, "before": before, "activation": number}
    _gemm(gpu, _rows(gpu, x), weight.T, _rows(gpu, out), "matmul_linear", **more)
    seen = None if activation == "none" else out if before is None else before
    return out, x, weight, seen


def _number(activation: str) -> np.int32:
    return int32(ACTIVATION_NUMBERS[activation])


def _linear_backward(
    gpu: Gpu,
    g: Array,
    x: Array,
    weight: Array,
    seen: Array | None,
    needs: tuple[bool, ...],
    activation: str,
) -> list[Array | None]:
    g = gpu.contiguous(g)
    if gpu.products is None and g.size and x.size and needs[1]:
        return _linear_backward_at_once(gpu, g, x, weight, seen, needs, activation)
    dw = sums = None
    if seen is None and needs[1] and needs[2] and g.size and x.size:
        dw, sums = gpu.empty(weight.shape, g.dtype), gpu.empty((len(weight),), g.dtype)
        if not _by_library(gpu, _rows(gpu, g).T, _rows(gpu, x), dw, "BGRADB", sums):
            dw = sums = None
    dz = g
    if dw is None:
        dz, sums = _through_activation(gpu, g, seen, needs[2], activation)
        dw = _matmul(gpu, _rows(gpu, dz).T, _rows(gpu, x)) if needs[1] else None
    return [_matmul(gpu, dz, weight) if needs[0] else None, dw, sums]


def _linear_backward_at_once(
    gpu: Gpu,
    g: Array,
    x: Array,
    weight: Array,
    seen: Array | None,
    needs: tuple[bool, ...],
    activation: str,
) -> list[Array | None]:
    """`_linear_backward` in one launch a product, which applies the activation's derivative."""
    rows = _rows(gpu, g)
    more: dict[str, Any] = {"seen": seen, "activation": ACTIVATION_NUMBERS[activation]}
    dx = gpu.empty(x.shape, x.dtype) if needs[0] else None
    if dx is not None:
        _gemm(gpu, rows, weight, _rows(gpu, dx), "matmul_backward", **more)
    sums = gpu.empty((weight.shape[0],), g.dtype) if needs[2] else None
    dw = gpu.empty(weight.shape, weight.dtype)
    _gemm(gpu, rows.T, _rows(gpu, x), dw, "matmul_backward", sums=sums, **more)
    return [dx, dw, sums]


def _rows(gpu: Gpu, x: Array) -> Array:
    return x if x.ndim == 2 else gpu.contiguous(x).reshape(prod(x.shape[:-1]), x.shape[-1])


def row_parts(gpu: Gpu, rows: int, columns: int) -> int:
    """The number of parts of a matrix' rows, whose sums make those over all rows."""
    return split(-(-columns // COLUMNS), rows, PER_BLOCK // COLUMNS, 2 * gpu.processors())


def _through_activation(
    gpu: Gpu, g: Array, seen: Array | None, summed: bool, activation: str
) -> tuple[Array, Array | None]:
    """g times the activation's derivative, and the sums of the products over the rows."""
    if seen is None and not summed:
        return g, None
    columns = g.shape[-1]
    n = g.size // columns if columns else 0
    dz = g if seen is None else gpu.empty(g.shape, g.dtype)
    sums = gpu.empty((columns,), g.dtype) if summed else None
    if not n:
        return dz, None if sums is None else fill(gpu, sums, 0)
    parts = row_parts(gpu, n, columns)
    partial = NULL
    if sums is not None and parts > 1:
        partial = gpu.empty((parts, columns), FLOAT64 if g.dtype == FLOAT64 else np.float32)
    across = -(-columns // COLUMNS)
    args = (
        NULL if seen is None else dz,
        NULL if sums is None or parts > 1 else sums,
        *(partial, g, NULL if seen is None else seen),
        *(int64(n), int64(columns), _number(activation)),
    )
    block = (COLUMNS, ROWS)
    gpu.launch("fused", "activation_backward", g.dtype, (across, parts), block, args)
    if partial is not NULL:
        sizes = (int64(parts), int64(columns))
        gpu.launch("fused", "sum_parts", g.dtype, (across,), block, (sums, partial, *sizes))
    return dz, sums


# ---------------------------------------------------------------------- cross entropy
REDUCTIONS = ("none", "sum", "mean")  # numbers of kernels/fused.cu
JOB = np.dtype(  # `Job` of kernels/fused.cu
    [
        (name, np.uint64)
        for name in ("x", "target", "grad", "loss", "partial", "finished", "counts", "word", "code")
    ]
    + [(name, np.int64) for name in ("n", "classes", "ignored")]
    + [(name, np.int32) for name in ("parts", "reduction")],
    align=True,
)
_NUMBERS = Struct("3q2i").pack  # of a `Job`, behind its pointers
_WRONG_TARGET = errors.out_of_range("cross_entropy: target")
_FEW = 4096  # targets that every thread block counts itself


def _cross_entropy(
    gpu: Gpu, x: Array, target: Array, ignore_index: int, reduction: str
) -> tuple[Array, Array]:
    """The loss, and its derivative by x."""
    n, classes = x.shape
    x = gpu.contiguous(x)
    target = gpu.contiguous(target) if target.dtype == INT64 else gpu.converted(target, INT64)
    grad = gpu.empty(x.shape, x.dtype)
    loss = gpu.empty((n,) if reduction == "none" else (), x.dtype)
    if not n:
        return fill(gpu, loss, np.nan if reduction == "mean" else 0), grad
    held = holding(classes, x.dtype, x, grad)
    pieces = 1 if held else split(n, classes, PER_BLOCK, RESIDENT * gpu.processors())
    grid = gpu.blocks(n, held.per_block, waves=4) if held else gpu.blocks(n * pieces, 1)
    partial = gpu.empty(grid, FLOAT64)
    counts = _count_targets(gpu, target, ignore_index) if reduction == "mean" else None
    pointers = [a.data.ptr for a in (x, target, grad, loss, partial, gpu.tickets())]
    pointers += [0 if counts is None else counts.data.ptr, int(gpu.error_word())]
    pointers.append(int(_WRONG_TARGET))
    parts = 0 if counts is None else counts.size
    numbers = _NUMBERS(n, classes, ignore_index, parts, REDUCTIONS.index(reduction))
    job = struct_of(JOB, pointers, numbers)
    if held is None:
        totals = part_totals(gpu, "logsum_parts", (x,), (n, classes, 1), 1, pieces)
        whole = (job, totals, int32(pieces))
        gpu.launch("fused", "cross_entropy_long", x.dtype, grid, (THREADS,), whole)
    else:
        args = (job, int64(n), int32(classes), int32(held.lanes))
        gpu.launch("fused", f"cross_entropy_{held.kernel}", x.dtype, grid, (THREADS,), args)
    return loss, grad


def _count_targets(gpu: Gpu, target: Array, ignored: int) -> Array | None:
    """The number of targets that count, in parts; None where each block of the loss counts them."""
    n = target.size
    if n <= _FEW:
        return None
    grid = gpu.blocks(n, 16 * THREADS, waves=2)
    counts = gpu.empty(grid, INT64)
    args = (counts, target, np.int64(n), np.int64(ignored))
    gpu.launch("fused", "count_targets", np.dtype(np.float32), grid, (THREADS,), args)
    return counts


def _loss_backward(
    gpu: Gpu, g: Array | float, grad: Array, needs: tuple[bool, ...], **params: Any
) -> list[Array | None]:
    if isinstance(g, float):
        return [grad]  # only `backward` passes a number, and that is 1
    return [ELEMENTWISE["mul"](gpu, grad, _column(g) if g.ndim else g)]


def _cross_entropy_backward(
    gpu: Gpu, g: Array | float, grad: Array, needs: tuple[bool, ...], **params: Any
) -> list[Array | None]:
    """`_loss_backward`, but rows of ignored targets stay 0, even where g is infinite or nan."""
    if isinstance(g, float):
        return [grad]
    return [mul_nonzero(gpu, grad, _column(g) if g.ndim else g)]


def _column(x: Array) -> Array:
    return x.reshape(-1, 1) if x._c_contiguous else x[:, None]


# ---------------------------------------------------------------------- binary cross entropy
def _bce_with_logits_loss(gpu: Gpu, x: Array, target: Array, reduction: str) -> tuple[Array, Array]:
    """The sum or mean of softplus(x) - x target, and its derivative by x."""
    x, target = gpu.contiguous(x), gpu.contiguous(target)
    grad, loss = gpu.empty(x.shape, x.dtype), gpu.empty((), x.dtype)
    if not x.size:
        return fill(gpu, loss, np.nan if reduction == "mean" else 0), grad
    grid = gpu.blocks(x.size)
    job = np.zeros((), JOB)
    arrays = {"x": x, "target": target, "grad": grad, "loss": loss}
    arrays |= {"partial": gpu.empty(grid, FLOAT64), "finished": gpu.tickets()}
    for name, array in arrays.items():
        job[name] = array.data.ptr
    job["n"], job["reduction"] = x.size, REDUCTIONS.index(reduction)
    gpu.launch("fused", "bce_with_logits_loss", x.dtype, grid, (THREADS,), (job[()],))
    return loss, grad


FUSED: KernelTable = {
    "matmul": _matmul,
    "linear": _linear,
    "linear_backward": _linear_backward,
    "cross_entropy": _cross_entropy,
    "cross_entropy_backward": _cross_entropy_backward,
    "bce_with_logits_loss": _bce_with_logits_loss,
    "bce_with_logits_loss_backward": _loss_backward,
}

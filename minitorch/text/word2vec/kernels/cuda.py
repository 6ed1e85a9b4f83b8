"""Negative sampling as launches of kernels/word2vec.cu: loss and gradients are one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda import errors
from minitorch.backend.cuda.elementwise import fill
from minitorch.backend.cuda.fused import FUSED
from minitorch.backend.cuda.gpu import NULL, THREADS, Array, Gpu, KernelTable
from minitorch.backend.cuda.index import INDEX, index_add_
from minitorch.backend.cuda.reduce import REDUCTIONS
from minitorch.text.word2vec.damping import CURVATURE_LIMIT
from minitorch.text.word2vec.kernels import hogwild_cuda

BLOCKS = np.dtype(  # `Blocks` of kernels/word2vec.cu
    [("n", np.int64)]
    + [
        (name, np.int32)
        for name in (
            *("centres", "width", "negatives", "depth"),
            *("tile_centres", "tile_span", "tile_depth", "stride", "pitch"),
        )
    ],
    align=True,
)
ROWS = np.dtype(  # `Rows` there
    [
        *(("data", np.uint64), ("index", np.uint64), ("length", np.int64)),
        *(("word", np.uint64), ("code", np.uint64), ("half", np.int32)),
    ],
    align=True,
)
CURVATURE = np.dtype(  # `Curvature` there
    [
        *((name, np.uint64) for name in ("x", "y", "x_before", "y_before")),
        *(("before", np.int64), ("words", ROWS), ("into", np.uint64), ("back", np.uint64)),
        *((name, np.float64) for name in ("lr", "limit", "most")),
        ("count", np.int32),
    ],
    align=True,
)
_HALVES = {None: 0, "bfloat16": 1, "float16": 2}  # `Half` there
_UNDAMPED = np.zeros((), CURVATURE)[()]
_MOST_UNITS = 2.0**63  # of H, so that it and what is rounded fit into 64 bits
_PACK_BYTES = 16
_BANKS_BYTES = 128  # one row of shared memory's 32 banks
_SHARED_BYTES = 48 * 1024  # what every kernel may have
_STATIC_BYTES = 1024  # at most, of the kernel itself
_FILE_BYTES = 10 * 1024  # at most, of all kernels of the file: the simulator counts them together
_SIDE = 4  # as in kernels/word2vec.cu


class Tiles(NamedTuple):
    """The tiles that a thread block holds in shared memory at once, and their layout.

    centres, span, depth: of the rows X and Y. stride, pitch: elements from one row to the next,
    of X and Y and of the scores. bytes: all of it, and a factor for each row.
    """

    centres: int
    span: int
    depth: int
    stride: int
    pitch: int
    bytes: int


def tiles(centres: int, span: int, depth: int, piece: int, itemsize: int, room: int) -> Tiles:
    """The largest tiles that fit into `room` bytes: all of a word block, if it fits.

    piece: how many elements are moved at once.
    """
    while True:
        # An odd number of pieces, so that equal offsets in neighbouring rows are in other banks.
        stride = (-(-depth // piece) | 1) * piece
        banks = _BANKS_BYTES // itemsize
        pitch = centres + (-(-centres // _SIDE) - centres) % banks
        total = ((centres + span) * (stride + 1) + span * pitch) * itemsize
        if total <= room:
            return Tiles(centres, span, depth, stride, pitch, total)
        if depth > 32:
            depth = max(32, -(-depth // 8) * 4)
        elif span > 64:
            span = -(-span // 2)
        elif centres > 32:
            centres = -(-centres // 2)
        else:
            raise ValueError(f"tiles: {room} bytes of shared memory are too few")


def _negative_sampling(
    gpu: Gpu, x: Array, y: Array, weights: Array, width: int
) -> tuple[Array, ...]:
    """The loss, its gradients by x and y, and what the one by the weights is made from."""
    x, y, weights = (gpu.contiguous(a) for a in (x, y, weights))
    loss = gpu.empty((), np.float64)
    dx, dy = _loss_and_gradients(gpu, _rows(x), _rows(y), weights, width, loss)
    return loss, dx, dy, x, y, weights


class _Rows(NamedTuple):
    """Rows of `data`, (n, count, depth), or those that `index`, (n, count), picks from a table."""

    data: Array
    shape: tuple[int, ...]
    struct: Any


def _rows(data: Array, half: str | None = None) -> _Rows:
    return _Rows(data, data.shape, _struct(data, NULL, 0, NULL, NULL, _HALVES[half]))


def _picked(gpu: Gpu, table: Array, index: Array, what: str, half: str | None) -> _Rows:
    code = errors.out_of_range(f"negative_sampling_sgd_: {what}")
    struct = _struct(table, index.data.ptr, len(table), gpu.error_word(), code, _HALVES[half])
    return _Rows(table, (*index.shape, table.shape[1]), struct)


def _struct(data: Array, *rest: Any) -> Any:
    return np.array((data.data.ptr, *rest), ROWS)[()]


class _Plan(NamedTuple):
    """How the kernels of word2vec.cu take word blocks: X and Y, what pairs count, and `Blocks`."""

    operands: tuple[Any, ...]
    packed: str  # what their names end in
    grid: tuple[int, ...]
    blocks: Any
    tiles: Tiles


def _plan(gpu: Gpu, x: _Rows, y: _Rows, weights: Array, width: int) -> _Plan:
    n, centres, depth = x.shape
    itemsize = weights.dtype.itemsize
    piece = _PACK_BYTES // itemsize
    if depth % piece or any(rows.data.data.ptr % _PACK_BYTES for rows in (x, y)):
        piece = 1
    tile = tiles(centres, y.shape[1], depth, piece, itemsize, _room(gpu, gpu.current()))
    sizes = (n, centres, width, weights.shape[1] - width, depth)
    return _Plan(
        (x.struct, y.struct, weights),
        "" if piece == 1 else "_packed",
        gpu.blocks(n, per_block=1),
        np.array((*sizes, *tile[:-1]), BLOCKS)[()],
        tile,
    )


def _loss_and_gradients(
    gpu: Gpu,
    x: _Rows,
    y: _Rows,
    weights: Array,
    width: int,
    loss: Array,
    losses: Array | None = None,
    curvature: Any = None,
) -> tuple[Array, Array]:
    """The gradients by the rows x and y; the summed loss goes to `loss`, each one to `losses`.

    curvature: `CURVATURE`, where the gradients are to be damped by it; this adds it up first.
    """
    dtype = weights.dtype
    dx, dy = gpu.empty(x.shape, dtype), gpu.empty(y.shape, dtype)
    plan = _plan(gpu, x, y, weights, width)
    if curvature is not None:
        _add_curvature(gpu, plan, curvature, 2 * x.shape[1] + y.shape[1], dtype)
    name, shared = "negative_sampling" + plan.packed, plan.tiles.bytes
    if shared + _FILE_BYTES > _SHARED_BYTES:
        function = gpu.kernels.function("word2vec", name, dtype, gpu.current())
        function.max_dynamic_shared_size_bytes = shared
    args = (
        *(*plan.operands, dx, dy, NULL if losses is None else losses),
        *(gpu.empty(plan.grid, np.float64), loss, gpu.tickets()),
        *(_UNDAMPED if curvature is None else curvature, plan.blocks),
    )
    gpu.launch("word2vec", name, dtype, plan.grid, (THREADS,), args, shared)
    return dx, dy


def _add_curvature(gpu: Gpu, plan: _Plan, curvature: Any, numbers: int, dtype: Any) -> None:
    """H of a step. numbers: those of a word block that its threads share."""
    shared, scratch = numbers * dtype.itemsize, NULL
    if shared + _FILE_BYTES > _SHARED_BYTES:
        shared, scratch = 0, gpu.empty((plan.grid[0], numbers), dtype)
    args = (*plan.operands, scratch, curvature, plan.blocks)
    gpu.launch("word2vec", "curvature" + plan.packed, dtype, plan.grid, (THREADS,), args, shared)


@cache
def _room(gpu: Gpu, device: int) -> int:
    """Bytes of shared memory for the tiles of a thread block."""
    attributes = gpu.xp.cuda.Device(device).attributes
    return int(attributes["MaxSharedMemoryPerBlockOptin"]) - _STATIC_BYTES


def _negative_sampling_backward(
    gpu: Gpu,
    g: Array | float,
    dx: Array,
    dy: Array,
    x: Array,
    y: Array,
    weights: Array,
    needs: tuple[bool, ...],
    width: int,
) -> list[Array | None]:
    losses = None
    if needs[2]:
        losses, loss = gpu.empty(weights.shape, weights.dtype), gpu.empty((), np.float64)
        _loss_and_gradients(gpu, _rows(x), _rows(y), weights, width, loss, losses)
    found = [d if needed else None for d, needed in zip((dx, dy, losses), needs)]
    if isinstance(g, float):
        return found  # nobody but `backward` itself passes a number, and it passes 1
    return [None if d is None else _scaled(gpu, d, g) for d in found]


def _scaled(gpu: Gpu, x: Array, factor: Array) -> Array:
    out = gpu.empty(x.shape, x.dtype)
    gpu.launch_contiguous("word2vec", "scaled_packed", out, (x, factor))
    return out


def _negative_sampling_sgd_(gpu: Gpu, *columns: Sequence[Array], **params: Any) -> None:
    for vectors, contexts, loss, *blocks in zip(*columns, strict=True):
        blocks = [gpu.contiguous(a) for a in blocks]
        _sgd_steps(gpu, vectors, contexts, loss, *blocks, **params)


def _sgd_steps(
    gpu: Gpu,
    vectors: Array,
    contexts: Array,
    loss: Array,
    centres: Array,
    others: Array,
    weights: Array,
    *windows: Array,
    width: int,
    size: int,
    lr: Sequence[float],
    half: str | None = None,
) -> None:
    """Four launches a step: H of each row, the gradients of its blocks, and their rows added to
    each table. With windows three more, since their sums are not rows of a table.

    Steps take turns with two arrays of H, since one clears what the step before left.
    """
    losses = gpu.empty((len(lr) + 1,), np.float64)
    gpu.copy(loss, losses[-1])
    curvature = _Curvature(gpu, vectors, contexts)
    for i, rate in enumerate(lr):
        now = slice(i * size, (i + 1) * size)
        rows, columns = centres[now], others[now]
        words = x = _picked(gpu, vectors, rows, "centres", half)
        y = _picked(gpu, contexts, columns, "others", half)
        here = [window[now] for window in windows]
        if windows:
            taken = INDEX["index"](gpu, vectors, index=(rows,))
            x = _rows(FUSED["matmul"](gpu, here[0], taken), half)
        bound = curvature.of_step(i, size, rate, words, x, y, here)
        dx, dy = _loss_and_gradients(gpu, x, y, weights[now], width, losses[i], curvature=bound)
        if windows:
            dx = FUSED["matmul"](gpu, here[1].transpose(0, 2, 1), dx)
        for table, index, change in ((vectors, rows, dx), (contexts, columns, dy)):
            flat = change.reshape(-1, change.shape[-1])
            index_add_(gpu, table, index.reshape(-1), flat, 0, -rate)
    REDUCTIONS["sum"](gpu, losses, dim=(0,), keepdim=False, out=loss)


class _Curvature:
    """H of each row of two tables, of the step at hand and of the one before it."""

    def __init__(self, gpu: Gpu, *tables: Array) -> None:
        lengths = [len(table) for table in tables]
        both = fill(gpu, gpu.empty((2, sum(lengths)), np.int64), 0)
        self._bounds = [(both[i, : lengths[0]], both[i, lengths[0] :]) for i in range(2)]

    def of_step(
        self,
        i: int,
        size: int,
        rate: float,
        words: _Rows,
        x: _Rows,
        y: _Rows,
        windows: Sequence[Array],
    ) -> Any:
        """`CURVATURE` of step i, which comes after one of `size` blocks if it is not the first."""
        n, count, _ = words.shape
        bounds = [bound.data.ptr for turn in (i, i + 1) for bound in self._bounds[turn % 2]]
        ends = [window.data.ptr for window in windows] or [NULL, NULL]
        # A row of Y adds what each 32 centres give.
        most = _MOST_UNITS / (n * max(count, y.shape[1] * -(-x.shape[1] // 32)))
        numbers = rate, CURVATURE_LIMIT, most, count
        before = size if i else 0
        return np.array((*bounds, before, words.struct, *ends, *numbers), CURVATURE)[()]


KERNELS: KernelTable = {
    "negative_sampling": _negative_sampling,
    "negative_sampling_backward": _negative_sampling_backward,
    "negative_sampling_sgd_": _negative_sampling_sgd_,
    **hogwild_cuda.KERNELS,
}

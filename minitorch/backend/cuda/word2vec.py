"""Word vectors: skip-gram with negative sampling, loss and gradients in one launch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda import errors
from minitorch.backend.cuda.fused import FUSED
from minitorch.backend.cuda.gpu import NULL, THREADS, Array, Entries, Gpu
from minitorch.backend.cuda.index import INDEX, index_add_
from minitorch.backend.cuda.reduce import REDUCTIONS

BLOCKS = np.dtype(  # `Blocks` of kernels/word2vec.cu
    [("n", np.int64)]
    + [
        (name, np.int32)
        for name in (
            *("centres", "width", "pool", "depth"),
            *("tile_centres", "tile_span", "tile_depth", "stride", "pitch"),
        )
    ],
    align=True,
)
ROWS = np.dtype(  # `Rows` there
    [
        *(("data", np.uint64), ("index", np.uint64), ("length", np.int64)),
        *(("word", np.uint64), ("code", np.uint64)),
    ],
    align=True,
)
_PACK_BYTES = 16
_BANKS_BYTES = 128  # one row of shared memory's 32 banks
_SHARED_BYTES = 48 * 1024  # what every kernel may have
_STATIC_BYTES = 1024  # at most, of the kernel itself
_SIDE = 4  # as in kernels/word2vec.cu


class Tiles(NamedTuple):
    """What a thread block holds in shared memory at once, and how it lies there.

    centres, span, depth: of the rows X and Y. stride, pitch: elements from one row to the next,
    of X and Y and of the scores. bytes: all of it.
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
        # An odd number of pieces, so that equal places of neighbouring rows are in other banks.
        stride = (-(-depth // piece) | 1) * piece
        banks = _BANKS_BYTES // itemsize
        pitch = centres + (-(-centres // _SIDE) - centres) % banks
        total = ((centres + span) * stride + span * pitch) * itemsize
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


def _rows(data: Array) -> _Rows:
    return _Rows(data, data.shape, _struct(data, NULL, 0, NULL, NULL))


def _picked(gpu: Gpu, table: Array, index: Array, what: str) -> _Rows:
    code = errors.out_of_range(f"negative_sampling_sgd_: {what}")
    struct = _struct(table, index.data.ptr, len(table), gpu.error_word(), code)
    return _Rows(table, (*index.shape, table.shape[1]), struct)


def _struct(data: Array, *rest: Any) -> Any:
    return np.array((data.data.ptr, *rest), ROWS)[()]


def _loss_and_gradients(
    gpu: Gpu,
    x: _Rows,
    y: _Rows,
    weights: Array,
    width: int,
    loss: Array,
    losses: Array | None = None,
) -> tuple[Array, Array]:
    """The gradients by the rows x and y; the summed loss goes to `loss`, each one to `losses`."""
    dtype = weights.dtype
    dx, dy = gpu.empty(x.shape, dtype), gpu.empty(y.shape, dtype)
    n, centres, depth = x.shape
    pairs = weights.shape[1]
    piece = _PACK_BYTES // dtype.itemsize
    if depth % piece or any(rows.data.data.ptr % _PACK_BYTES for rows in (x, y)):
        piece = 1
    tile = tiles(centres, y.shape[1], depth, piece, dtype.itemsize, _room(gpu, gpu.current()))
    sizes = (n, centres, width, pairs - width, depth)
    grid = gpu.blocks(n, per_block=1)
    name = "negative_sampling" if piece == 1 else "negative_sampling_packed"
    if tile.bytes + _STATIC_BYTES > _SHARED_BYTES:
        function = gpu.kernels.function("word2vec", name, dtype, gpu.current())
        function.max_dynamic_shared_size_bytes = tile.bytes
    args = (
        *(x.struct, y.struct, weights, dx, dy),
        NULL if losses is None else losses,
        *(gpu.empty(grid, np.float64), loss, gpu.tickets()),
        np.array((*sizes, *tile[:-1]), BLOCKS)[()],
    )
    gpu.launch("word2vec", name, dtype, grid, (THREADS,), args, tile.bytes)
    return dx, dy


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
) -> None:
    """Three launches a step: the gradients of its blocks, and their rows added to each table.

    With windows three more, since their sums are not rows of a table.
    """
    losses = gpu.empty((len(lr) + 1,), np.float64)
    gpu.copy(loss, losses[-1])
    for i, rate in enumerate(lr):
        now = slice(i * size, (i + 1) * size)
        rows, columns = centres[now], others[now]
        if windows:
            words = INDEX["index"](gpu, vectors, index=(rows,))
            x = _rows(FUSED["matmul"](gpu, windows[0][now], words))
        else:
            x = _picked(gpu, vectors, rows, "centres")
        y = _picked(gpu, contexts, columns, "others")
        dx, dy = _loss_and_gradients(gpu, x, y, weights[now], width, losses[i])
        if windows:
            dx = FUSED["matmul"](gpu, windows[1][now].transpose(0, 2, 1), dx)
        for table, index, change in ((vectors, rows, dx), (contexts, columns, dy)):
            flat = change.reshape(-1, change.shape[-1])
            index_add_(gpu, table, index.reshape(-1), flat, 0, -rate)
    REDUCTIONS["sum"](gpu, losses, dim=(0,), keepdim=False, out=loss)


WORD2VEC: Entries = {
    "negative_sampling": _negative_sampling,
    "negative_sampling_backward": _negative_sampling_backward,
    "negative_sampling_sgd_": _negative_sampling_sgd_,
}

"""What kernels/hogwild.cu does, in NumPy: the same draws, and groups of words one after the other.

`job.resident` blocks at work at once are imitated by lateness: what a group adds to the tables
reaches them when so many groups have been begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minitorch.backend.cpu.index import add_rows
from minitorch.backend.cpu.kernel import Array
from minitorch.library import register_kernel
from minitorch.text.word2vec.hogwild import Job, Shape
from minitorch.text.word2vec.kernels.cpu import coherent, softplus_and_slope
from minitorch.text.word2vec.sampler import RANDOM

_U64 = np.uint64
_LOW, _HALF = _U64(0xFFFFFFFF), _U64(32)
_MULTIPLIERS = _U64(0xD2E7470EE14C6C93), _U64(0xCA5A826395121157)
_KEYS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_MASK = (1 << 64) - 1


# ------------------------------------------------------------------ random numbers
def _high(a: np.uint64, b: Array) -> Array:
    """The upper 64 bits of a * b."""
    (a1, a0), (b1, b0) = (a >> _HALF, a & _LOW), (b >> _HALF, b & _LOW)
    middle = a1 * b0 + (a0 * b0 >> _HALF)
    return a1 * b1 + (middle >> _HALF) + ((a0 * b1 + (middle & _LOW)) >> _HALF)


def philox(seed: int, blocks: Array) -> Array:
    """The words of some blocks of the stream, uint64 (n,) -> (n, 4): see kernels/philox.cuh."""
    zero = np.zeros_like(blocks)
    c = [blocks + _U64(1), zero, zero, zero]
    for turn in range(10):
        keys = ((start + turn * step) & _MASK for start, step in zip((seed, 0), _KEYS))
        (key0, key1), (m0, m1) = map(_U64, keys), _MULTIPLIERS
        c = [_high(m1, c[2]) ^ c[1] ^ key0, m1 * c[2], _high(m0, c[0]) ^ c[3] ^ key1, m0 * c[0]]
    return np.stack(c, axis=1)


def _draw(job: Job, positions: Array, block: int | Array = 0) -> Array:
    stretch = positions.astype(_U64) * _U64(RANDOM) + _U64(job.stream & _MASK)
    return philox(job.seed, stretch + _U64(1) * np.asarray(block, _U64))


def _unit(words: Array) -> Array:
    """Numbers in [0, 1) of the lower halves of words."""
    return (words.astype(np.uint32) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _below(words: Array, n: int) -> Array:
    """Whole numbers below n of the upper halves of words."""
    return ((words >> _HALF) * _U64(n) >> _HALF).astype(np.int64)


# ------------------------------------------------------------------ the words of a chunk
class _Kept(NamedTuple):
    """The words kept of a chunk and its margins; the chunk's are `first` to `end` - 1."""

    words: Array
    sentences: Array
    reach: Array  # effective windows
    positions: Array
    first: int
    end: int


def _keep(codes: Array, keep: Array, shape: Shape, job: Job, chunk: int) -> _Kept:
    start = job.first + chunk * shape.span
    end = min(start + shape.span, job.end)
    begin = max(start - shape.margin, job.origin)
    part = codes[begin - job.origin : end + shape.margin - job.origin]
    positions, words = np.arange(begin, begin + len(part)), part >> 1
    drawn = _draw(job, positions)[:, 0]
    kept = np.flatnonzero((words >= 0) & (_unit(drawn) < keep[words]))
    sentences, positions = np.cumsum(part & 1)[kept], positions[kept]
    reach = np.full(len(kept), shape.window)
    if job.shrink:
        reach = 1 + _below(drawn[kept], shape.window)
    first, last = np.searchsorted(positions, (start, end)).tolist()
    return _Kept(words[kept], sentences, reach, positions, first, last)


def _at(words: Array, index: Array) -> Array:
    """words[index], and -1 where there is none."""
    inside = (index >= 0) & (index < len(words))
    return np.where(inside, words[np.where(inside, index, 0)], -1)


class _Group:
    """Centres `first` to `end` - 1 of the words kept, and their pairs.

    near: int64 (L + 2w,), the words around them. inside: bool (L, 2w + 1), which of them are in the
    window of each. noise: int64 (K,).
    """

    def __init__(
        self, kept: _Kept, first: int, end: int, noise: Array, shape: Shape, job: Job
    ) -> None:
        window, slots = shape.window, np.arange(first, end)
        self.centres, self.noise, self.cbow = kept.words[first:end], noise, job.cbow
        self.near = _at(kept.words, np.arange(first - window, end + window))
        offsets = np.arange(-window, window + 1)
        other = _at(kept.sentences, slots[:, None] + offsets)
        within = (offsets != 0) & (abs(offsets) <= kept.reach[slots, None])
        self.inside = within & (other == kept.sentences[slots, None])
        self.negative = np.float32(job.negative)

    def band(self) -> Array:
        """`inside` as a matrix (L, L + 2w)."""
        found = np.zeros((len(self.inside), len(self.near)), np.float32)
        row, column = np.nonzero(self.inside)
        found[row, row + column] = 1
        return found

    def weights(self) -> Array:
        """What each row of y counts with each centre, (S, L); CBOW's y begin with the centres."""
        taken = self.centres[:, None]
        if not self.cbow:
            around = np.lib.stride_tricks.sliding_window_view(self.near, self.inside.shape[1])
            taken = np.concatenate([taken, np.where(self.inside, around, -1)], axis=1)
        equal = (taken[:, :, None] == self.noise).any(axis=1)
        count = self.inside.sum(axis=1, dtype=np.float32)
        count = np.minimum(count, 1) if self.cbow else count
        others = np.maximum(len(self.noise) - equal.sum(axis=1), 1).astype(np.float32)
        part = count * self.negative / others
        near = np.diag(count) if self.cbow else self.band().T
        return np.concatenate([near, np.where(equal, 0, part[:, None]).T]).astype(np.float32)


def _groups(
    codes: Array, keep: Array, thresholds: Array, aliases: Array, shape: Shape, job: Job
) -> Iterator[tuple[int, _Group]]:
    """The groups in the order of the queue, each with the number of its chunk in it."""
    chunks = -(-(job.end - job.first) // shape.span)
    calls = np.arange(-(-shape.negatives // 4))
    for item in range(chunks):
        kept = _keep(codes, keep, shape, job, item * job.stride % chunks)
        count = kept.end - kept.first
        size = -(-count // max(1, -(-count // shape.centres)))
        for first in range(kept.first, kept.end, size or 1):
            words = _draw(job, np.full(len(calls), kept.positions[first]), 1 + calls)
            words = words.reshape(-1)[: shape.negatives]
            row = _below(words, len(keep))
            noise = np.where(_unit(words) < thresholds[row], row, aliases[row])
            yield item, _Group(kept, first, min(first + size, kept.end), noise, shape, job)


# ------------------------------------------------------------------ a group's step
class _Rows:
    """Rows of a table that a group reads: their numbers, -1 for none, and what they hold."""

    def __init__(self, table: Array, share: Array, numbers: Array) -> None:
        self.table, self.numbers = table, numbers
        self.values = np.where(numbers[:, None] >= 0, table[numbers], np.float32(0))
        self.known, self.inverse = np.unique(numbers, return_inverse=True)
        self.share = share[self.known]

    def factors(self, bound: Array, weight: Array, rate: float, others: float, job: Job) -> Array:
        """The factor of each row: see `damping`. bound: of H / rate. weight: of the row's pairs."""
        bound, weight = (np.bincount(self.inverse, part) for part in (bound, weight))
        square = np.maximum(bound / np.where(weight > 0, weight, np.inf), job.least)
        h = rate * (bound + (weight > 0) * others * self.share * square)
        return np.asarray(job.limit / np.maximum(h, job.limit))[self.inverse].astype(np.float32)

    def change(self, gradient: Array, rate: float) -> Change:
        """What a step against the gradient does."""
        there = self.numbers >= 0
        return self.table, self.numbers[there], gradient[there], -rate


Change = tuple[Array, Array, Array, float]


def _step(
    group: _Group, tables: Sequence[tuple[Array, Array]], rate: float, others: float, job: Job
) -> tuple[float, float, list[Change]]:
    """The loss and the number of a group's pairs, and what its step changes."""
    weights = group.weights()
    x = _Rows(*tables[0], group.near if job.cbow else group.centres)
    y = _Rows(*tables[1], np.append(group.centres if job.cbow else group.near, group.noise))
    values, windows = x.values, group.band()
    count = np.maximum(windows.sum(axis=1, keepdims=True), 1)
    if job.cbow:
        values = windows @ values
        values = values / count if job.mean else values
    signs = np.where(np.arange(len(weights)) < len(y.numbers) - len(group.noise), -1, 1)[:, None]
    losses, slopes = softplus_and_slope((y.values @ values.T) * signs.astype(np.float32))
    by_x = weights.T @ coherent(y.values[None], 1)[0], weights.sum(axis=0)
    by_y = weights @ coherent(values[None], 1)[0], weights.sum(axis=1)
    if job.cbow:
        of_words = x.factors(windows.T @ by_x[0], windows.T @ by_x[1], rate, others, job)
        of_x = np.where(windows > 0, of_words, 1).min(axis=1)
    else:
        of_x = x.factors(*by_x, rate, others, job)
    of_y = y.factors(*by_y, rate, others, job)
    slopes *= signs * weights * np.minimum(of_y[:, None], of_x)
    dx = slopes.T @ y.values
    if job.cbow:
        dx = windows.T @ (dx if job.mean else dx / count)
    pairs = float(weights[: len(weights) - len(group.noise)].sum())
    loss = float((losses * weights).sum(dtype=np.float64))
    return loss, pairs, [x.change(dx, rate), y.change(slopes @ values, rate)]


@register_kernel("hogwild_sgd_", "cpu")
def _hogwild_sgd_(*columns: Sequence[Array], shape: Shape, job: Job) -> None:
    for arrays in zip(*columns, strict=True):
        train(*arrays, shape=shape, job=job, late=(job.resident or 1) - 1)


def train(
    inputs: Array,
    outputs: Array,
    tally: Array,
    codes: Array,
    keep: Array,
    thresholds: Array,
    aliases: Array,
    x_share: Array,
    y_share: Array,
    *,
    shape: Shape,
    job: Job,
    late: int = 0,
) -> None:
    """Train on the words of a job; late: groups that are begun before a group's step is taken."""
    tables = (inputs, x_share), (outputs, y_share)
    blocks = min(job.resident or 1, -(-(job.end - job.first) // shape.span))
    others = float((blocks - 1) * shape.centres)
    waiting: deque[list[Change]] = deque()
    for item, group in _groups(codes, keep, thresholds, aliases, shape, job):
        done = min(job.progress + item * job.step, 1.0)
        rate = float(np.float32(job.high + (job.low - job.high) * done))
        loss, pairs, changes = _step(group, tables, rate, others, job)
        tally[:2] += loss, pairs
        waiting.append(changes)
        if len(waiting) > late:
            _apply(waiting.popleft())
    for changes in waiting:
        _apply(changes)


def _apply(changes: list[Change]) -> None:
    for table, rows, gradient, factor in changes:
        add_rows(table, rows, gradient, factor)

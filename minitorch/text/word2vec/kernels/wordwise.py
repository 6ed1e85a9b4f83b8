"""Word vectors by Numba, word by word, as word2vec.c trains them: CBOW and hierarchical softmax.

Every centre changes the tables before the next is looked at, so that steps are smaller than those
of NumPy, which takes blocks, and vectors differ by more than rounding. A step, of one centre, is
damped by the rule of `damping`, with one factor for all of it. To import this needs the extra
`numba`: see `blockwise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from minitorch.text.word2vec.damping import SOFTMAX_LIMIT
from minitorch.text.word2vec.kernels.blockwise import (
    _ONE,
    _ZERO,
    _f,
    _fetch,
    _inside,
    _loss,
    _options,
)

_LIMIT = _f(SOFTMAX_LIMIT)
_CALL = "f4[:,::1],f4[:,::1],i8[:,::1],i8[:,::1],f4[:,:,::1],i8"


# ------------------------------------------------------------------ windows
@_inside
def _average(vectors: Any, words: Any, weights: Any, mean: Any, x: Any, rows: Any) -> Any:
    """The mean or sum of a window, in `x`; returns its word count, their weight and the gain of x.

    words: words from w before the centre to w behind it, of which those with a weight count; they
    are written to `rows`. x goes by c² / n for a word that comes c times among n, if each time that
    it comes the word goes by 1.
    """
    count, weight, gain = 0, _ZERO, _ZERO
    x[:] = _ZERO
    for o in range(len(weights)):
        if weights[o] > _ZERO:
            weight = max(weight, weights[o])
            rows[count] = words[o]
            for c in range(count):
                gain += _f(2 * (rows[c] == words[o]))
            count += 1
            for d in range(len(x)):
                x[d] += vectors[words[o], d]
    count_ = _f(max(count, 1))
    for d in range(len(x) if mean else 0):
        x[d] /= count_
    return count, weight, _ONE + gain / count_


@_inside
def _spread(vectors: Any, rows: Any, move: Any, mean: Any) -> None:
    """Move the words of a window: each by `move` for the mean, by its share of it for the sum."""
    share = _ONE if mean else _ONE / _f(len(rows))
    for row in rows:
        for d in range(len(move)):
            vectors[row, d] += share * move[d]


# ------------------------------------------------------------------ negative sampling
@_inside
def _sample(
    x: Any, move: Any, contexts: Any, targets: Any, weights: Any, rate: Any, gain: Any, scores: Any
) -> Any:
    """Move a centre and its negatives, `targets`, by a step of negative sampling; the loss.

    move: is filled with what x is to move by. gain: how far x goes when it is told to go 1.
    """
    depth, steep, own, counted = len(x), _ZERO, _ZERO, _ZERO
    for k in range(len(targets)):
        y, score, norm = contexts[targets[k]], _ZERO, _ZERO
        for d in range(depth):
            score += y[d] * x[d]
            norm += y[d] * y[d]
        scores[k] = score if k else -score
        steep += weights[k] * norm
        counted += weights[k]
    for d in range(depth):
        own += x[d] * x[d]
        move[d] = _ZERO
    loss = _loss(scores, weights)
    step = rate / max(_ONE, rate * (gain * steep + counted * own) / _LIMIT)
    for k in range(len(targets)):
        y, slope = contexts[targets[k]], -step * scores[k] if k else step * scores[k]
        for d in range(depth):
            move[d] += slope * y[d]
            y[d] += slope * x[d]
    return loss


@_inside
def _negatives(shared: Any, weights: Any, first: Any, targets: Any, counted: Any) -> Any:
    """A centre's own negatives, taken in turn from the `first` shared one on; their number.

    Their number is the summed weight of the shared negatives, which they divide among them;
    those of weight 0 are left out.
    """
    total = _ZERO
    for k in range(len(weights)):
        total += weights[k]
    taken = min(len(shared), int(np.ceil(total - _f(1e-3))))  # the sum is a whole number, rounded
    for j in range(taken):
        k = (first + j) % len(shared)
        targets[j] = shared[k]
        counted[j] = total / _f(taken) if weights[k] > _ZERO else _ZERO
    return taken


@njit(f"f8({_CALL},i8,f4[::1],b1)", **_options)
def cbow(
    vectors: Any,
    contexts: Any,
    centres: Any,
    others: Any,
    weights: Any,
    window: Any,
    size: Any,
    rates: Any,
    mean: Any,
) -> Any:
    """A centre's window predicts it, and not its negatives; returns the summed loss.

    rates: one for `size` blocks.
    """
    (n, length), depth = centres.shape, vectors.shape[1]
    width, halo = 2 * window + 1, length + 2 * window
    x, move = np.empty(depth, np.float32), np.empty(depth, np.float32)
    rows, targets = np.empty(width, np.int64), np.empty(1 + others.shape[1] - halo, np.int64)
    counted, scores = np.empty(len(targets), np.float32), np.empty(len(targets), np.float32)
    loss = 0.0
    for b in range(n):
        if b + 1 < n:  # its rows come from memory while this block is worked on
            _fetch(vectors, others[b + 1, :halo])
            _fetch(contexts, centres[b + 1])
            _fetch(contexts, others[b + 1, halo:])
        first, rate = 0, rates[b // size]
        for i in range(length):
            near, around = weights[b, :width, i], others[b, i : i + width]
            count, counted[0], gain = _average(vectors, around, near, mean, x, rows)
            if count == 0:
                continue
            targets[0] = centres[b, i]
            share, shared = weights[b, width:, i], others[b, halo:]
            taken = _negatives(shared, share, first, targets[1:], counted[1:])
            first += taken
            now, part, room = targets[: 1 + taken], counted[: 1 + taken], scores[: 1 + taken]
            loss += _sample(x, move, contexts, now, part, rate, gain, room)
            _spread(vectors, rows[:count], move, mean)
    return loss


# ------------------------------------------------------------------ hierarchical softmax
@_inside
def _predict(
    x: Any, move: Any, nodes: Any, path: Any, rate: Any, gain: Any, scores: Any, ones: Any
) -> Any:
    """Move the nodes of a path by a step of -log P(word | x); the loss.

    move and gain: as of `_sample`. rate: with what the pair counts. scores and ones have the length
    of the longest path.
    """
    depth, length, steep, own = len(x), 0, _ZERO, _ZERO
    while length < len(path) and path[length] != 0:
        row, score, norm = abs(path[length]) - 1, _ZERO, _ZERO
        for d in range(depth):
            score += nodes[row, d] * x[d]
            norm += nodes[row, d] * nodes[row, d]
        scores[length] = score if path[length] < 0 else -score
        steep += norm
        length += 1
    for d in range(depth):
        own += x[d] * x[d]
        move[d] = _ZERO
    loss = _loss(scores[:length], ones)
    step = rate / max(_ONE, rate * (gain * steep + own) / _LIMIT)
    for p in range(length):
        row = abs(path[p]) - 1
        slope = step * scores[p] if path[p] > 0 else -step * scores[p]
        for d in range(depth):
            move[d] += slope * nodes[row, d]
            nodes[row, d] += slope * x[d]
    return loss


@njit(f"f8({_CALL},i4[:,::1],f8)", **_options)
def tree_skip_gram(
    vectors: Any,
    nodes: Any,
    centres: Any,
    others: Any,
    weights: Any,
    window: Any,
    paths: Any,
    rate: Any,
) -> Any:
    """Each vector of a centre's window predicts the centre; returns the summed loss."""
    (n, length), depth = centres.shape, vectors.shape[1]
    move = np.empty(depth, np.float32)
    scores, ones = np.empty(paths.shape[1], np.float32), np.ones(paths.shape[1], np.float32)
    loss, rate = 0.0, _f(rate)
    for b in range(n):
        for i in range(length):
            path = paths[centres[b, i]]
            for o in range(2 * window + 1):
                weight = weights[b, o, i]
                if weight > _ZERO:
                    x, part = vectors[others[b, i + o]], rate * weight
                    loss += weight * _predict(x, move, nodes, path, part, _ONE, scores, ones)
                    for d in range(depth):
                        x[d] += move[d]
    return loss


@njit(f"f8({_CALL},i4[:,::1],f8,b1)", **_options)
def tree_cbow(
    vectors: Any,
    nodes: Any,
    centres: Any,
    others: Any,
    weights: Any,
    window: Any,
    paths: Any,
    rate: Any,
    mean: Any,
) -> Any:
    """The mean or sum of a centre's window predicts the centre; returns the summed loss."""
    (n, length), depth = centres.shape, vectors.shape[1]
    width = 2 * window + 1
    x, move = np.empty(depth, np.float32), np.empty(depth, np.float32)
    rows = np.empty(width, np.int64)
    scores, ones = np.empty(paths.shape[1], np.float32), np.ones(paths.shape[1], np.float32)
    loss, rate = 0.0, _f(rate)
    for b in range(n):
        for i in range(length):
            near, around = weights[b, :width, i], others[b, i : i + width]
            count, weight, gain = _average(vectors, around, near, mean, x, rows)
            if count == 0:
                continue
            path, part = paths[centres[b, i]], rate * weight
            loss += weight * _predict(x, move, nodes, path, part, gain, scores, ones)
            _spread(vectors, rows[:count], move, mean)
    return loss

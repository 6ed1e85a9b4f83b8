"""Hierarchical softmax by Numba: word by word, as word2vec.c trains it.

Every centre changes the tables before the next is looked at, so that steps are smaller than those
of `minitorch.text.softmax`, and vectors differ by more than rounding. To import this needs the
extra `numba`: see `compiled`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from minitorch.backend.cpu.compiled import _ONE, _ZERO, _f, _inside, _loss, _options
from minitorch.backend.damping import SOFTMAX_LIMIT

_LIMIT = _f(SOFTMAX_LIMIT)
_CALL = "f4[:,::1],f4[:,::1],i8[:,::1],i8[:,::1],f4[:,:,::1],i8,i4[:,::1],f8"


@_inside
def _predict(
    x: Any,
    move: Any,
    nodes: Any,
    path: Any,
    rate: Any,
    gain: Any,
    scores: Any,
    ones: Any,
) -> Any:
    """Move the nodes of a path by a step of -log P(word | x); the loss.

    move: is filled with what x is to move by. rate: with what the pair counts. gain: how far x
    goes when it is told to go 1. scores and ones have the length of the longest path.
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
    # The rule of `damping`, with this path as the step.
    step = rate / max(_ONE, rate * (gain * steep + own) / _LIMIT)
    for p in range(length):
        row = abs(path[p]) - 1
        slope = step * scores[p] if path[p] > 0 else -step * scores[p]
        for d in range(depth):
            move[d] += slope * nodes[row, d]
            nodes[row, d] += slope * x[d]
    return loss


@njit(f"f8({_CALL})", **_options)
def skip_gram(
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
                    x = vectors[others[b, i + o]]
                    loss += weight * _predict(
                        x, move, nodes, path, rate * weight, _ONE, scores, ones
                    )
                    for d in range(depth):
                        x[d] += move[d]
    return loss


@njit(f"f8({_CALL},b1)", **_options)
def cbow(
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
    x, move = np.empty(depth, np.float32), np.empty(depth, np.float32)
    scores, ones = np.empty(paths.shape[1], np.float32), np.ones(paths.shape[1], np.float32)
    loss, rate = 0.0, _f(rate)
    for b in range(n):
        for i in range(length):
            count, weight = _ZERO, _ZERO
            x[:] = _ZERO
            for o in range(2 * window + 1):
                if weights[b, o, i] > _ZERO:
                    weight = max(weight, weights[b, o, i])
                    count += _ONE
                    row = others[b, i + o]
                    for d in range(depth):
                        x[d] += vectors[row, d]
            if count == _ZERO:
                continue
            if mean:
                for d in range(depth):
                    x[d] /= count
            path = paths[centres[b, i]]
            loss += weight * _predict(
                x,
                move,
                nodes,
                path,
                rate * weight,
                _ONE,
                scores,
                ones,
            )
            if not mean:
                for d in range(depth):
                    move[d] /= count
            for o in range(2 * window + 1):
                if weights[b, o, i] > _ZERO:
                    row = others[b, i + o]
                    for d in range(depth):
                        vectors[row, d] += move[d]
    return loss

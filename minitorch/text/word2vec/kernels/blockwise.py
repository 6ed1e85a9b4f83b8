"""Skip-gram by Numba: the steps of `cpu.py` as machine code, for nothing but time.

A block is worked on while its rows are in the processor's cache, and its scores are never put
together with others'. Results differ by rounding. To import this needs the extra `numba`; what it
compiles the first time goes to Numba's cache (NUMBA_CACHE_DIR, or else beside this file, or in
the user's folder of caches).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from minitorch.text.word2vec.damping import TINY

# Sums may be taken in another order; infinities and what is not a number stay as they are.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_exact: Any = {"cache": True, "error_model": "numpy", "nogil": True}
_options: Any = _exact | {"fastmath": _FAST}
_inside: Any = njit(inline="always")

_f = np.float32
_ZERO, _HALF, _ONE, _LEAST = _f(0), _f(0.5), _f(1), _f(-87)  # e^-87 is no denormal
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f(1.4426950408889634), _f(0.693359375), _f(-2.12194440e-4)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
# e^r for |r| <= ln(2) / 2 is 1 + r + r^2 p(r) (Moshier's Cephes, expf.c), highest power first.
_E5, _E4, _E3 = _f(1.9875691500e-4), _f(1.3981999507e-3), _f(8.3334519073e-3)
_E2, _E1, _E0 = _f(4.1665795894e-2), _f(1.6666665459e-1), _f(5.0000001201e-1)
# log(1 + e) for 0 <= e <= 1 is e q(e), interpolated at the nodes of Chebyshev: 3e-7 of the value.
_L8, _L7, _L6 = _f(0.005126102123), _f(-0.02907406461), _f(0.07751608662)
_L5, _L4, _L3 = _f(-0.1360224761), _f(0.1907688073), _f(-0.2483539899)
_L2, _L1, _L0 = _f(0.3331812171), _f(-0.4999944498), _f(0.9999999659)


@_inside
def _exp(x: Any) -> Any:
    """e^x for x <= 0."""
    x = max(x, _LEAST)
    n = np.floor(x * _LOG2_E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    power = np.int32((np.int32(n) + _BIAS) << _MANTISSA).view(np.float32)  # 2^n, by its bits
    return (p * r * r + r + _ONE) * power


@_inside
def _log1p(e: Any) -> Any:
    """log(1 + e) for 0 <= e <= 1."""
    q = (((_L8 * e + _L7) * e + _L6) * e + _L5) * e + _L4
    return ((((q * e + _L3) * e + _L2) * e + _L1) * e + _L0) * e


@_inside
def _loss(scores: Any, weights: Any) -> Any:
    """The sum of weights * log(1 + e^scores); its derivatives overwrite the scores."""
    total = _ZERO
    for i in range(len(scores)):
        x = scores[i]
        size = abs(x)
        e = _exp(-size)
        total += weights[i] * (_HALF * (x + size) + _log1p(e))
        scores[i] = weights[i] * ((_ONE if x > _ZERO else e) / (_ONE + e))
    return total


@intrinsic
def _prefetch(context: Any, row: Any) -> Any:
    """Ask for the memory of a row, without waiting for it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        start = builder.bitcast(array.data, byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        length = builder.mul(builder.extract_value(array.shape, 0), array.itemsize)
        with cgutils.for_range_slice(builder, length.type(0), length, length.type(64)) as (
            index,
            _,
        ):
            address = builder.gep(start, [index])
            builder.call(function, [address, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.none(row), code


@_inside
def _fetch(table: Any, rows: Any) -> None:
    for i in range(len(rows)):
        _prefetch(table[rows[i]])


@_inside
def _gather(table: Any, rows: Any, out: Any) -> None:
    for i in range(len(rows)):
        source, target = table[rows[i]], out[i]
        for d in range(len(target)):
            target[d] = source[d]


@_inside
def _scatter(table: Any, rows: Any, gradients: Any, rate: Any) -> None:
    """table[rows[i]] -= rate * gradients[i], one after the other."""
    for i in range(len(rows)):
        target, source = table[rows[i]], gradients[i]
        for d in range(len(target)):
            target[d] -= rate * source[d]


@_inside
def _transpose(x: Any, out: Any) -> None:
    """BLAS takes a second factor that is transposed at little more than half the speed."""
    for d in range(len(out)):
        for i in range(len(x)):
            out[d, i] = x[i, d]


@_inside
def _coherent(x: Any, rate: Any, mean: Any, out: Any) -> None:
    """rate * max(1, (2 R)^2) * |x[i]|^2: see `damping`. mean (D,) is room to work in."""
    mean[:] = _ZERO
    squares = _ZERO
    for i in range(len(x)):
        total = _ZERO
        for d in range(len(mean)):
            total += x[i, d] * x[i, d]
            mean[d] += x[i, d]
        out[i] = total
        squares += total
    together = _ZERO
    for d in range(len(mean)):
        together += mean[d] * mean[d]
    share = together / max(_f(len(x)) * squares, _f(TINY))
    factor = rate * max(_ONE, _f(4) * share * share)
    for i in range(len(x)):
        out[i] *= factor


@_inside
def _add(bounds: Any, rows: Any, values: Any) -> None:
    for i in range(len(rows)):
        bounds[rows[i]] += values[i]


@_inside
def _clear(bounds: Any, rows: Any) -> None:
    for i in range(len(rows)):
        bounds[rows[i]] = _ZERO


@_inside
def _factors(bounds: Any, rows: Any, limit: Any, out: Any) -> Any:
    """The factors of rows: see `damping`. Returns the least."""
    least = _ONE
    for i in range(len(rows)):
        out[i] = limit / max(bounds[rows[i]], limit)
        least = min(least, out[i])
    return least


@_inside
def _curvature(nx: Any, ny: Any, weights: Any, width: Any, hx: Any, hy: Any) -> None:
    """The terms of a block's pairs in H of its rows, from `_coherent` of both."""
    length = len(nx)
    halo = length + width - 1
    hx[:] = _ZERO
    hy[:] = _ZERO
    for o in range(width):
        for i in range(length):
            hx[i] += weights[o, i] * ny[i + o]
            hy[i + o] += weights[o, i] * nx[i]
    for k in range(len(ny) - halo):
        total = _ZERO
        for i in range(length):
            hx[i] += weights[width + k, i] * ny[halo + k]
            total += weights[width + k, i] * nx[i]
        hy[halo + k] = total


@_inside
def _slopes(x: Any, xt: Any, y: Any, weights: Any, width: Any, scores: Any, band: Any) -> Any:
    """The loss of a block's rows x (L, D) and y (L + width - 1 + K, D); its slopes in `scores`.

    xt (D, L) and band (width, L) are room to work in.
    """
    length = len(x)
    halo = length + width - 1
    _transpose(x, xt)
    np.dot(y, xt, scores)
    for o in range(width):
        for i in range(length):
            band[o, i] = -scores[i + o, i]
    loss = 0.0
    for o in range(width):
        loss += _loss(band[o], weights[o])
    for k in range(len(y) - halo):
        loss += _loss(scores[halo + k], weights[width + k])
    scores[:halo] = _ZERO
    for o in range(width):
        for i in range(length):
            scores[i + o, i] = -band[o, i]
    return loss


@_inside
def _damp(scores: Any, fy: Any, fx: Any) -> None:
    """Each pair counts by the lesser factor of its rows."""
    for j in range(len(scores)):
        for i in range(len(fx)):
            scores[j, i] *= min(fy[j], fx[i])


@njit("f8(f4[:,::1],f4[:,::1],i8[:,::1],i8[:,::1],f4[:,:,::1],i8,i8,f4[::1],f4)", **_options)
def skip_gram(
    vectors: Any,
    contexts: Any,
    centres: Any,
    others: Any,
    weights: Any,
    width: Any,
    size: Any,
    rates: Any,
    limit: Any,
) -> Any:
    """The steps of `negative_sampling_sgd_` without windows; returns the summed loss."""
    n, length = centres.shape
    span, depth = others.shape[1], vectors.shape[1]
    xs = np.empty((size, length, depth), np.float32)
    ys = np.empty((size, span, depth), np.float32)
    xt = np.empty((depth, length), np.float32)
    scores = np.empty((size, span, length), np.float32)
    band = np.empty((width, length), np.float32)
    mean = np.empty(depth, np.float32)
    nx, ny = np.empty(length, np.float32), np.empty(span, np.float32)
    hx, hy = np.empty(length, np.float32), np.empty(span, np.float32)
    dx = np.empty((size, length, depth), np.float32)
    dy = np.empty((size, span, depth), np.float32)
    of_vectors = np.zeros(len(vectors), np.float32)
    of_contexts = np.zeros(len(contexts), np.float32)
    loss = 0.0
    for step in range(len(rates)):
        first, last = step * size, min(n, (step + 1) * size)
        for b in range(first, last):
            x, y = xs[b - first], ys[b - first]
            _gather(vectors, centres[b], x)
            _gather(contexts, others[b], y)
            if b + 1 < n:  # its rows come from memory while this block is worked on
                _fetch(vectors, centres[b + 1])
                _fetch(contexts, others[b + 1])
            _coherent(x, rates[step], mean, nx)
            _coherent(y, rates[step], mean, ny)
            _curvature(nx, ny, weights[b], width, hx, hy)
            _add(of_vectors, centres[b], hx)
            _add(of_contexts, others[b], hy)
            loss += _slopes(x, xt, y, weights[b], width, scores[b - first], band)
        for b in range(first, last):
            least = _factors(of_vectors, centres[b], limit, hx)
            if min(least, _factors(of_contexts, others[b], limit, hy)) < _ONE:
                _damp(scores[b - first], hy, hx)
            np.dot(scores[b - first].T, ys[b - first], dx[b - first])
            np.dot(scores[b - first], xs[b - first], dy[b - first])
        for b in range(first, last):
            _scatter(vectors, centres[b], dx[b - first], rates[step])
            _scatter(contexts, others[b], dy[b - first], rates[step])
            _clear(of_vectors, centres[b])
            _clear(of_contexts, others[b])
    return loss


# ------------------------------------------------------------------ blocks
@_inside
def _weigh(
    centres: Any,
    others: Any,
    left: Any,
    right: Any,
    weights: Any,
    window: Any,
    negative: Any,
    cbow: Any,
) -> None:
    """Fill the weights (2w + 1 + K, L) of a block; windows go from -left to right."""
    size, halo = len(centres), len(centres) + 2 * window
    drawn = len(others) - halo
    near, negatives = weights[: 2 * window + 1], weights[2 * window + 1 :]
    touched = np.zeros(size, np.bool_)
    part = _f(negative / drawn) if drawn else _ZERO
    for i in range(size):
        for o in range(len(near)):
            reached = -left[i] <= o - window <= right[i] and o != window
            near[o, i] = _ONE if reached else _ZERO
        count = left[i] + right[i]
        negatives[:, i] = _f(min(count, 1) if cbow else count) * part
    for k in range(drawn):
        found = 0
        for j in range(halo):
            found += others[j] == others[halo + k]
        if found:
            for j in range(halo):
                if others[j] == others[halo + k]:
                    for i in range(max(0, j - 2 * window), min(size, j + 1)):
                        offset = j - i - window
                        if offset == 0 or (not cbow and -left[i] <= offset <= right[i]):
                            negatives[k, i] = _ZERO
                            touched[i] = True
    for i in range(size):
        if touched[i]:  # its other negatives make up for those taken out
            rest = 0
            for k in range(drawn):
                rest += negatives[k, i] > _ZERO
            more = _f(drawn) / _f(max(rest, 1))
            for k in range(drawn):
                negatives[k, i] *= more


@njit("(i8[::1],i8[::1],i8[::1],i8[::1],i8[:,::1],i8,i8,f8,b1)", **_exact)
def blocks(
    tokens: Any,
    sentences: Any,
    windows: Any,
    start: Any,
    negatives: Any,
    size: Any,
    window: Any,
    negative: Any,
    cbow: Any,
) -> Any:
    """Centres, others and weights of `Blocks`: what `BlockSampler` makes of the same numbers.

    tokens, sentences: (m,). windows: the effective window of each word, (n L,). start: index of the
    first word of each block, (n,). negatives: the shared negatives, (n, K).
    """
    n, m = len(start), len(tokens)
    width, halo = 2 * window + 1, size + 2 * window
    centres = np.empty((n, size), np.int64)
    others = np.empty((n, halo + negatives.shape[1]), np.int64)
    weights = np.empty((n, width + negatives.shape[1], size), np.float32)
    left, right = np.empty(size, np.int64), np.empty(size, np.int64)
    for b in range(n):
        others[b, halo:] = negatives[b]
        for j in range(halo):
            index = start[b] - window + j
            others[b, j] = tokens[index] if 0 <= index < m else 0
        centres[b] = others[b, window : window + size]
        for i in range(size):
            index = start[b] + i
            left[i] = right[i] = 0
            if index < m:
                here = sentences[index]
                while (
                    left[i] < min(windows[index], index) and sentences[index - left[i] - 1] == here
                ):
                    left[i] += 1
                last = min(windows[index], m - 1 - index)
                while right[i] < last and sentences[index + right[i] + 1] == here:
                    right[i] += 1
        _weigh(centres[b], others[b], left, right, weights[b], window, negative, cbow)
    return centres, others, weights

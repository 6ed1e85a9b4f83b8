"""The op table in NumPy and SciPy: one entry per op of the registry.

Arguments arrive normalised (dimensions non-negative, dtypes equal, indices as arrays). In a binary
entry one of the two arguments may be a Python number, which never widens the other's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import umath

from minitorch.backend.base import FLOAT64, Backend, transfer

Array = Any
Index = tuple[Any, ...]

# ------------------------------------------------------------------ results at the edge
# log(0) = -inf and 1/0 = inf are what these ops are defined to give, so NumPy's warnings are off
# for them. `np.errstate` does that in 800 ns, which is too much for one op; setting the context
# variable behind it takes 120.
try:
    _errors: Any = umath._extobj_contextvar
    _ignore = umath._make_extobj(all="ignore")
except AttributeError:  # pragma: no cover  (a NumPy that has moved its internals)
    _errors = None


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function without NumPy's floating-point warnings."""
    if _errors is None:  # pragma: no cover

        def slow(*args: Any, **kwargs: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)

        return slow

    set_errors, reset_errors = _errors.set, _errors.reset

    def silent(*args: Any, **kwargs: Any) -> Any:
        token = set_errors(_ignore)
        try:
            return function(*args, **kwargs)
        finally:
            reset_errors(token)

    def silent_binary(x: Array, y: Array, out: Array | None = None) -> Array:
        token = set_errors(_ignore)
        try:
            return function(x, y, out)
        finally:
            reset_errors(token)

    return silent_binary if isinstance(function, np.ufunc) and function.nin == 2 else silent


def _result(value: Array, out: Array | None) -> Array:
    """`value`, in `out` where one is given."""
    if out is None:
        return value
    np.copyto(out, value, casting="unsafe")
    return out


def into(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that always allocates an `out=` like the others'."""

    def entry(*args: Any, out: Array | None = None, **kwargs: Any) -> Array:
        return _result(function(*args, **kwargs), out)

    return entry


# ------------------------------------------------------------------ elementwise
def _relu(x: Array, out: Array | None = None) -> Array:
    return np.maximum(x, 0, out=out)


def _sigmoid(x: Array, out: Array | None = None) -> Array:
    # 1 / (1 + exp(-x)) tends to 0 and 1 at both ends; exp may overflow to inf on the way.
    out = np.negative(x, out=out)
    if type(out) is not np.ndarray:
        out = np.asarray(out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def _softplus(x: Array) -> Array:
    # log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Array) -> Array:
    from scipy.special import erf  # imported late: it takes longer than all of minitorch

    return erf(x).astype(x.dtype, copy=False)


def _gelu(x: Array) -> Array:
    return x * (0.5 * (1 + _erf(x * 0.5**0.5))).astype(x.dtype, copy=False)


def _round(x: Array, out: Array | None = None) -> Array:
    return np.rint(x, out=out) if x.dtype.kind == "f" else _result(x.copy(), out)


def _keep_ints(function: Callable[..., Any]) -> Callable[..., Any]:
    """floor, ceil and trunc change nothing about integers."""

    def entry(x: Array, out: Array | None = None) -> Array:
        return function(x, out=out) if x.dtype.kind == "f" else _result(x.copy(), out)

    return entry


def _sign(x: Array) -> Array:
    if x.dtype.kind == "b":
        return x.copy()
    out = np.asarray(np.sign(x))
    np.copyto(out, 0, where=out != out)  # nan has the sign 0 in PyTorch
    return out


def _whole_quotient(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """floor_divide or remainder, which have no result for integers divided by 0."""

    def entry(x: Array, y: Array, out: Array | None = None) -> Array:
        whole = not any(np.asarray(v).dtype.kind == "f" for v in (x, y))
        if whole and np.size(x) and not np.all(y):
            raise RuntimeError(f"{name}: integer division by zero")
        return function(x, y, out)

    return quiet(entry)


def _pow(x: Array, y: Array, out: Array | None = None) -> Array:
    if getattr(y, "dtype", FLOAT64).kind == "i" and np.any(np.less(y, 0)):
        raise RuntimeError("pow: integers to negative integer powers are not allowed")
    powers = np.power(x, y, out)
    return powers.astype(bool) if powers.dtype == np.int8 else powers  # of bools


def _bce_with_logits(x: Array, y: Array) -> Array:
    return _softplus(x) - x * y


# ------------------------------------------------------------------ reductions
def _axes(function: Callable[..., Any]) -> Callable[..., Any]:
    def entry(
        x: Array, dim: tuple[int, ...], keepdim: bool = False, out: Array | None = None
    ) -> Array:
        return function(x, axis=dim, keepdims=keepdim, out=out)

    return entry


def _sum(x: Array, dim: tuple[int, ...], keepdim: bool = False, out: Array = None) -> Array:
    # NumPy would give uint64 for uint8 and int64 for int32; PyTorch gives int64 for all.
    dtype = x.dtype if x.dtype.kind == "f" else np.int64
    return np.add.reduce(x, axis=dim, dtype=dtype, keepdims=keepdim, out=out)


def _arg(function: Callable[..., Any]) -> Callable[..., Any]:
    def entry(x: Array, dim: int | None, keepdim: bool = False, out: Array | None = None) -> Array:
        return _result(function(x, axis=dim, keepdims=keepdim), out)

    return entry


def _logsumexp(x: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    top = np.max(x, axis=dim, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    total = np.log(np.sum(np.exp(x - top), axis=dim, keepdims=True)) + top
    return total if keepdim else np.squeeze(total, axis=dim)


def _softmax(x: Array, dim: int, out: Array | None = None) -> Array:
    if not x.size:
        return _clone(x, out)
    out = np.subtract(x, np.max(x, axis=dim, keepdims=True), out=out)
    out = np.asarray(out)
    np.exp(out, out=out)
    out /= np.sum(out, axis=dim, keepdims=True)
    return out


def _log_softmax(x: Array, dim: int, out: Array | None = None) -> Array:
    if not x.size:
        return _clone(x, out)
    out = np.subtract(x, np.max(x, axis=dim, keepdims=True), out=out)
    out = np.asarray(out)
    out -= np.log(np.sum(np.exp(out), axis=dim, keepdims=True))
    return out


def _cumsum(x: Array, dim: int, out: Array | None = None) -> Array:
    dtype = x.dtype if x.dtype.kind == "f" else np.int64
    if x.ndim == 0:
        return _result(x.astype(dtype), out)
    return np.cumsum(x, axis=dim, dtype=dtype, out=out)


def _argsort(x: Array, dim: int, descending: bool = False) -> Array:
    if x.ndim == 0:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    flipped = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - flipped, dim).copy()


# ------------------------------------------------------------------ shape
def _view(x: Array, shape: tuple[int, ...]) -> Array:
    return np.reshape(x, shape, copy=False)


def _clone(x: Array, out: Array | None = None) -> Array:
    return np.array(x, order="C") if out is None else _result(x, out)


def _cat(*xs: Array, dim: int, lengths: tuple[int, ...], out: Array | None = None) -> Array:
    return np.concatenate(xs, axis=dim, out=out)


def _where(x: Array, y: Array, condition: Array) -> Array:
    return np.where(condition, x, y)


def _cast(x: Array, dtype: np.dtype[Any], source: np.dtype[Any]) -> Array:
    return x.astype(dtype)


# ------------------------------------------------------------------ indexing
def _diagonal(x: Array, dim1: int, dim2: int) -> Array:
    view = np.diagonal(x, axis1=dim1, axis2=dim2)  # read-only, for reasons of NumPy's history
    view.flags.writeable = x.flags.writeable
    return view


def _diagonal_backward(g: Array, shape: tuple[int, ...], dim1: int, dim2: int) -> Array:
    whole = np.zeros(shape, g.dtype)
    view = np.diagonal(whole, axis1=dim1, axis2=dim2)
    view.flags.writeable = True
    view[...] = g
    return whole


def _slice(x: Array, index: Index) -> Array:
    part = x[index]
    # With an integer for every dimension NumPy gives a number; with ... as well, a 0-d view.
    return part if type(part) is np.ndarray else x[(*index, ...)]


def _slice_backward(g: Array, shape: tuple[int, ...], index: Index) -> Array:
    whole = np.zeros(shape, g.dtype)
    whole[index] = g
    return whole


def _index(x: Array, index: Index) -> Array:
    # take is twice as fast as x[index], but copies all of an x that is not contiguous
    if len(index) == 1 and x.flags.c_contiguous:
        return np.take(x, index[0], axis=0)
    return x[index]


def _index_backward(g: Array, shape: tuple[int, ...], index: Index) -> Array:
    whole = np.zeros(shape, g.dtype)
    _index_put_(whole, g, index, accumulate=True)
    return whole


def _index_put_(x: Array, value: Array, index: Index, accumulate: bool = False) -> Array:
    if not accumulate:
        x[index] = value
    elif len(index) == 1 and index[0].ndim and x.ndim == 2 and x.flags.c_contiguous:
        rows = index[0].ravel()
        rows = np.where(rows < 0, rows + len(x), rows)
        value = np.broadcast_to(value, index[0].shape + x.shape[1:])
        _index_add_(x, rows, value.reshape(len(rows), x.shape[1]), 0)
    else:
        np.add.at(x, index, value)
    return x


def _put(x: Array, value: Array, index: Index, out: Array | None = None) -> Array:
    out = _clone(x, out)
    out[index] = value
    return out


def _add_rows(x: Array, index: Array, source: Array, alpha: float) -> None:
    """x[index[i]] += alpha * source[i] for matrices, x C-contiguous, duplicates one by one.

    A sparse matrix with `alpha` at (index[i], i) times a dense one, in place: eight times faster
    than sorting and summing groups, fifty times faster than `np.add.at`.
    """
    from scipy.sparse import _sparsetools  # imported late, as erf

    n, width = source.shape
    index = np.ascontiguousarray(_check_range(index, len(x), "index_add_"), dtype=np.int64)
    source = np.ascontiguousarray(source, x.dtype)
    if np.may_share_memory(source, x):
        source = source.copy()
    _sparsetools.coo_matmat_dense(
        n,
        width,
        index,
        np.arange(n),
        np.full(n, alpha, x.dtype),
        source.ravel(),
        x.ravel(),
    )


def _index_add_(x: Array, index: Array, source: Array, dim: int, alpha: float = 1) -> Array:
    """x[index[i]] += alpha * source[i] along `dim`; duplicates add up."""
    real = x.dtype.kind == "f" and x.dtype.itemsize > 2
    if dim == 0 and x.ndim == 2 and real and x.flags.c_contiguous and x.flags.writeable:
        _add_rows(x, index, source, alpha)
    else:
        source = source if alpha == 1 else source * np.asarray(alpha, source.dtype)
        np.add.at(np.moveaxis(x, dim, 0), index, np.moveaxis(source, dim, 0))
    return x


def _along(index: Array, dim: int) -> Index:
    """What x[...] needs to address x along `dim` by an index array of x's rank."""
    grid = np.indices(index.shape, sparse=True)
    return (*grid[:dim], index, *grid[dim + 1 :])


def _gather(x: Array, index: Array, dim: int) -> Array:
    return x[_along(index, dim)] if x.ndim else np.broadcast_to(x, index.shape).copy()


def _gather_backward(g: Array, shape: tuple[int, ...], index: Array, dim: int) -> Array:
    whole = np.zeros(shape, g.dtype)
    _scatter_(whole, index, g, dim, accumulate=True)
    return whole


def _scatter_(x: Array, index: Array, source: Array, dim: int, accumulate: bool = False) -> Array:
    place = _along(index, dim) if x.ndim else ()
    if isinstance(source, np.ndarray):
        source = source[tuple(slice(n) for n in index.shape)] if x.ndim else source.sum()
    if accumulate:
        np.add.at(x, place, source)
    else:
        x[place] = source
    return x


def _check_range(index: Array, length: int, what: str) -> Array:
    if index.size:
        low, high = index.min(), index.max()
        if low < 0 or high >= length:
            wrong = low if low < 0 else high
            raise IndexError(f"{what}: {wrong} is out of range [0, {length})")
    return index


def _nonzero(x: Array) -> Array:
    return np.argwhere(x)


def _searchsorted(x: Array, values: Array, right: bool = False) -> Array:
    return np.searchsorted(x, values, side="right" if right else "left")


# ------------------------------------------------------------------ fused
def _linear(x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    out = np.matmul(x, weight.T)
    out += bias
    return out, x, weight


def _linear_backward(
    g: Array, x: Array, weight: Array, needs: tuple[bool, ...]
) -> list[Array | None]:
    rows = g.reshape(-1, g.shape[-1])
    return [
        np.matmul(g, weight) if needs[0] else None,
        np.matmul(rows.T, x.reshape(-1, x.shape[-1])) if needs[1] else None,
        np.add.reduce(rows, axis=0) if needs[2] else None,
    ]


def _cross_entropy(
    x: Array, target: Array, ignore_index: int, reduction: str
) -> tuple[Array, Array]:
    """The loss, and its derivative by x."""
    n, classes = x.shape
    low, high = (int(target.min()), int(target.max())) if n else (0, 0)
    ignored = None
    if low < 0 or high >= classes or low <= ignore_index <= high:
        ignored = target == ignore_index
        _check_range(target[~ignored], classes, "cross_entropy: target")
        target = np.where(ignored, 0, target)
    grad = x - np.maximum.reduce(x, axis=1, keepdims=True)
    rows = np.arange(n)
    loss = -grad[rows, target]
    np.exp(grad, out=grad)
    total = np.add.reduce(grad, axis=1, keepdims=True)
    loss += np.log(total[:, 0])
    grad /= total
    grad[rows, target] -= 1
    if ignored is not None:
        loss[ignored] = 0
        grad[ignored] = 0
        n -= int(np.count_nonzero(ignored))
    if reduction == "none":
        return loss, grad
    summed = np.add.reduce(loss)
    if reduction == "sum":
        return summed, grad
    grad /= n
    return summed / x.dtype.type(n), grad


def _cross_entropy_backward(
    g: Array, grad: Array, needs: tuple[bool, ...], **params: Any
) -> list[Array | None]:
    return [grad * (g[:, None] if g.ndim else g)]


# ------------------------------------------------------------------ writing and creating
def _copy_(x: Array, source: Array) -> Array:
    np.copyto(x, source, casting="unsafe")
    return x


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
    return np.empty(shape, dtype)


def _full(shape: tuple[int, ...], dtype: np.dtype[Any], index: int, value: complex) -> Array:
    return np.zeros(shape, dtype) if value == 0 else np.full(shape, value, dtype)


def _arange(n: int, dtype: np.dtype[Any], index: int, start: float, step: float) -> Array:
    if dtype.kind in "iu":
        return np.arange(start, start + n * step, step, dtype=dtype)
    return (start + step * np.arange(n, dtype=np.float64)).astype(dtype)


def _linspace(n: int, dtype: np.dtype[Any], index: int, start: float, end: float) -> Array:
    return np.linspace(start, end, n).astype(dtype)


# ------------------------------------------------------------------ random numbers
# Raw words of NumPy's Philox4x64-10 with key = (seed, 0); block i of the stream is counter
# i + 1. Uniform, normal and integer numbers are made from the words here, in a way that any
# other device can repeat.
def random_words(seed: int, offset: int, n: int) -> Array:
    """n unsigned 64-bit words of the stream `seed`, from block `offset` on (4 words a block)."""
    return np.random.Philox(key=seed, counter=offset).random_raw(n)


def _words32(seed: int, offset: int, n: int) -> Array:
    return random_words(seed, offset, (n + 1) // 2).view("<u4")[:n]


def _unit(seed: int, offset: int, n: int, dtype: np.dtype[Any]) -> Array:
    """n numbers in [0, 1): 24 random bits each in float32, 53 in float64."""
    if dtype == FLOAT64:
        return (random_words(seed, offset, n) >> np.uint64(11)) * 2.0**-53
    return (_words32(seed, offset, n) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _uniform(
    shape: tuple[int, ...], dtype: np.dtype[Any], index: int, seed: int, offset: int
) -> Array:
    n = int(np.prod(shape))
    return _unit(seed, offset, n, dtype).astype(dtype, copy=False).reshape(shape)


def _normal(
    shape: tuple[int, ...], dtype: np.dtype[Any], index: int, seed: int, offset: int
) -> Array:
    """Box and Muller (1958): sqrt(-2 ln u) cos(2 pi v) and sin, u in (0, 1], v in [0, 1)."""
    n = int(np.prod(shape))
    half = (n + 1) // 2
    if dtype == FLOAT64:
        u = 1.0 - _unit(seed, offset, 2 * half, dtype)
    else:
        words = _words32(seed, offset, 2 * half)
        u = words.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    radius = np.sqrt(-2 * np.log(u[:half]))
    angle = (2 * np.pi) * (u[half:] if dtype == FLOAT64 else u[half:].astype(np.float64))
    pair = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return pair[:n].astype(dtype).reshape(shape)


def _randint(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    index: int,
    seed: int,
    offset: int,
    low: int,
    high: int,
) -> Array:
    words = random_words(seed, offset, int(np.prod(shape)))
    span = np.uint64(high - low)
    if high - low <= 2**32:
        words = ((words >> np.uint64(32)) * span) >> np.uint64(32)
    else:
        words = words % span
    return (words.astype(np.int64) + low).astype(dtype).reshape(shape)


def _randperm(n: int, dtype: np.dtype[Any], index: int, seed: int, offset: int) -> Array:
    return np.argsort(random_words(seed, offset, n), kind="stable").astype(dtype)


# ------------------------------------------------------------------ fused
_FAR = 80.0  # exp is finite up to here in float32, and sigmoid is 1


def _softplus_and_slope(x: Array) -> tuple[Array, Array]:
    """log(1 + e^x) and its derivative e^x / (1 + e^x), for one exp; x is overwritten."""
    if x.size and x.max() > _FAR:
        return _softplus(x), quiet(_sigmoid)(x)
    np.exp(x, out=x)
    denominator = x + 1
    np.divide(x, denominator, out=x)
    return np.log(denominator, out=denominator), x


def _negative_sampling(x: Array, y: Array, weights: Array, width: int) -> tuple[Array, ...]:
    """The summed loss, its derivative by y·x (n, span, L), and what else backward reads."""
    # OpenBLAS takes small products with a transposed second factor at less than half the speed.
    scores = np.matmul(y, np.ascontiguousarray(x.transpose(0, 2, 1)))
    block, row, column = scores.strides
    size = x.shape[1]
    near = np.ndarray(  # halo words i to i + width - 1 with centre i: a view along the diagonal
        (len(x), width, size), scores.dtype, scores, strides=(block, row, row + column)
    )
    pool = scores[:, size + width - 1 :]
    signed = np.empty(weights.shape, scores.dtype)
    np.negative(near, out=signed[:, :width])
    signed[:, width:] = pool
    losses, slopes = _softplus_and_slope(signed)
    loss = np.vecdot(losses.reshape(len(x), -1), weights.reshape(len(x), -1)).sum(dtype=np.float64)
    slopes *= weights
    scores.fill(0)
    np.negative(slopes[:, :width], out=near)
    pool[...] = slopes[:, width:]
    return loss, scores, x, y, losses


def _negative_sampling_backward(
    g: Array, slopes: Array, x: Array, y: Array, losses: Array, needs: Index, width: int
) -> tuple[Array | None, ...]:
    factor = float(g)
    grads = (
        np.matmul(slopes.transpose(0, 2, 1), y) if needs[0] else None,
        np.matmul(slopes, x) if needs[1] else None,
        losses.copy() if needs[2] else None,
    )
    return grads if factor == 1 else tuple(d if d is None else d * factor for d in grads)


# ------------------------------------------------------------------ the table
VIEWS: dict[str, Callable[..., Any]] = {
    "view": _view,
    "expand": lambda x, shape: np.broadcast_to(x, shape),
    "permute": lambda x, dims: np.transpose(x, dims),
    "slice": _slice,
    "diagonal": _diagonal,
}

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": quiet(np.add),
    "sub": quiet(np.subtract),
    "mul": quiet(np.multiply),
    "div": quiet(np.divide),
    "pow": quiet(_pow),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": _whole_quotient("floor_divide", np.floor_divide),
    "remainder": _whole_quotient("remainder", np.remainder),
    "neg": np.negative,
    "abs": np.absolute,
    "sign": into(_sign),
    "floor": _keep_ints(np.floor),
    "ceil": _keep_ints(np.ceil),
    "trunc": _keep_ints(np.trunc),
    "round": _round,
    "relu": _relu,
    "exp": quiet(np.exp),
    "log": quiet(np.log),
    "log1p": quiet(np.log1p),
    "expm1": quiet(np.expm1),
    "sqrt": quiet(np.sqrt),
    "rsqrt": quiet(into(lambda x: np.reciprocal(np.sqrt(x)))),
    "reciprocal": quiet(np.reciprocal),
    "sin": quiet(np.sin),
    "cos": quiet(np.cos),
    "tan": quiet(np.tan),
    "tanh": np.tanh,
    "sigmoid": quiet(_sigmoid),
    "erf": into(_erf),
    "softplus": quiet(into(_softplus)),
    "gelu": quiet(into(_gelu)),
    "bce_with_logits": quiet(into(_bce_with_logits)),
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.bitwise_not,
    "where": into(_where),
    "cast": quiet(into(_cast)),
    "clone": _clone,
}

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": quiet(_sum),
    "amax": _axes(np.maximum.reduce),
    "amin": _axes(np.minimum.reduce),
    "any": _axes(np.logical_or.reduce),
    "all": _axes(np.logical_and.reduce),
    "argmax": _arg(np.argmax),
    "argmin": _arg(np.argmin),
    "logsumexp": quiet(into(_logsumexp)),
    "softmax": quiet(_softmax),
    "log_softmax": quiet(_log_softmax),
    "cumsum": quiet(_cumsum),
    "argsort": into(_argsort),
}

SHAPE_AND_INDEX: dict[str, Callable[..., Any]] = {
    "cat": _cat,
    "flip": into(lambda x, dims: np.flip(x, dims).copy()),
    "roll": into(lambda x, shifts, dims: np.roll(x, shifts, dims)),
    "tril": into(lambda x, diagonal: np.tril(x, diagonal)),
    "triu": into(lambda x, diagonal: np.triu(x, diagonal)),
    "diagonal_backward": into(
        lambda g, shape, dim1, dim2: _diagonal_backward(g, shape, dim1, dim2)
    ),
    "slice_backward": into(_slice_backward),
    "index": into(_index),
    "index_backward": into(_index_backward),
    "put": _put,
    "gather": into(_gather),
    "gather_backward": into(_gather_backward),
    "check_range": into(_check_range),
    "nonzero": into(_nonzero),
    "searchsorted": into(_searchsorted),
    "matmul": quiet(np.matmul),
    "transfer": into(transfer),
}

FUSED: dict[str, Callable[..., Any]] = {
    "linear": quiet(_linear),
    "linear_backward": quiet(_linear_backward),
    "cross_entropy": quiet(_cross_entropy),
    "cross_entropy_backward": _cross_entropy_backward,
    "negative_sampling": quiet(_negative_sampling),
    "negative_sampling_backward": quiet(_negative_sampling_backward),
}

WRITES: dict[str, Callable[..., Any]] = {
    "copy_": quiet(_copy_),
    "index_put_": _index_put_,
    "index_add_": _index_add_,
    "scatter_": _scatter_,
}

SOURCES: dict[str, Callable[..., Any]] = {
    "empty": _empty,
    "full": quiet(_full),
    "arange": _arange,
    "linspace": _linspace,
    "uniform": _uniform,
    "normal": _normal,
    "randint": _randint,
    "randperm": _randperm,
}


BACKEND = Backend(
    name="cpu",
    array_type=np.ndarray,
    entries={
        **VIEWS,
        **ELEMENTWISE,
        **REDUCTIONS,
        **SHAPE_AND_INDEX,
        **FUSED,
        **WRITES,
        **SOURCES,
    },
    views=frozenset(VIEWS),
    from_host=lambda array, index: array,
    to_host=lambda array: array,
    as_array=np.asarray,
    address=lambda array: int(array.ctypes.data),
)

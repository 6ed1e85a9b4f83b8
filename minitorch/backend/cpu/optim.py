"""Steps of optimizers, and kernels that prepare gradients: many tensors in one call, in place.

The arguments are lists of arrays, one item for each parameter: parameters, states, gradients. A
state that the options do not use is an empty list. Where an item is a bucket of several parameters,
the kernel fills its gradient first: two more lists hold the arrays to copy (`parts`) and the slots
of the flat buffer to copy them to (`homes`). `skip`, where given, is an array of two numbers:
whether to change nothing, and how many steps have changed nothing, which do not count. The classes
of `minitorch.optim` document the formulas and their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from importlib.util import find_spec
from itertools import repeat
from math import sqrt
from typing import Any

import numpy as np

from minitorch.backend.cpu.index import check_range, index_add_
from minitorch.backend.cpu.kernel import Array, KernelTable, into, is_half, quiet
from minitorch.core.dtypes import FLOAT32, FLOAT64, HALVES, of_array, promote_types

Arrays = Sequence[Array]
Rule = Callable[..., None]
CHUNK = 1 << 15  # elements; the pieces of all arrays together stay in a core's cache


# ------------------------------------------------------------------ the rules
# Each works on one piece of a parameter: p, its states (None where there is none), the gradient g
# and a piece b of scratch memory.
def _gradient(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient to descend: negated if `maximize`, plus weight_decay · p."""
    if weight_decay:
        a = np.multiply(p, weight_decay, out=np.empty_like(p))
        return np.subtract(a, g, out=a) if maximize else np.add(a, g, out=a)
    return np.negative(g) if maximize else g


def _sgd(
    p: Array,
    buffer: Array | None,
    g: Array,
    b: Array,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    g = _gradient(p, g, weight_decay, maximize)
    if buffer is not None:
        if first:
            buffer[...] = g
        else:
            np.multiply(g, 1 - dampening, out=b)
            buffer *= momentum
            buffer += b
        if nesterov:
            np.multiply(buffer, momentum, out=b)
            g = np.add(b, g, out=b)
        else:
            g = buffer
    p -= np.multiply(g, lr, out=b)


def _adagrad(
    p: Array,
    total: Array,
    g: Array,
    b: Array,
    *,
    lr: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    g = _gradient(p, g, weight_decay, maximize)
    total += np.multiply(g, g, out=b)
    np.sqrt(total, out=b)
    b += eps
    np.divide(g, b, out=b)
    b *= lr
    p -= b


def _rmsprop(
    p: Array,
    square: Array,
    mean: Array | None,
    buffer: Array | None,
    g: Array,
    b: Array,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    g = _gradient(p, g, weight_decay, maximize)
    np.multiply(g, g, out=b)
    b *= 1 - alpha
    square *= alpha
    square += b
    if mean is None:
        np.sqrt(square, out=b)
    else:
        np.subtract(g, mean, out=b)
        b *= 1 - alpha
        mean += b
        np.multiply(mean, mean, out=b)
        np.subtract(square, b, out=b)
        np.sqrt(b, out=b)
    b += eps
    np.divide(g, b, out=b)
    if buffer is not None:
        buffer *= momentum
        buffer += b
        np.multiply(buffer, lr, out=b)
    else:
        b *= lr
    p -= b


def _adam(
    p: Array,
    mean: Array,
    square: Array,
    largest: Array | None,
    g: Array,
    b: Array,
    *,
    size: float,
    eps: float,
    beta1: float,
    beta2: float,
    keep: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    if keep != 1:
        p *= keep
    g = _gradient(p, g, weight_decay, maximize)
    np.subtract(g, mean, out=b)
    b *= 1 - beta1
    mean += b
    np.multiply(g, g, out=b)
    b *= 1 - beta2
    square *= beta2
    square += b
    if largest is not None:
        square = np.maximum(largest, square, out=largest)
    np.sqrt(square, out=b)
    b += eps
    np.divide(mean, b, out=b)
    b *= size
    p -= b


def _adam_options(
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    maximize: bool,
    step: int,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    sparse: bool = False,
) -> dict[str, Any]:
    """The update's options at step t, from 1 on.

    The factors 1 - β₁ᵗ and u = √(1 - β₂ᵗ) correct the bias of moments that start at zero. With
    v̂ = v / u², √v̂ + eps is (√v + eps · u) / u: one operation less. decoupled: the weight decay of
    AdamW. sparse: eps is not scaled by u, as in PyTorch's SparseAdam.
    """
    unbias = sqrt(1 - beta2**step)
    return {
        "size": lr * unbias / (1 - beta1**step),
        "eps": eps if sparse else eps * unbias,
        "beta1": beta1,
        "beta2": beta2,
        "keep": 1 - lr * weight_decay if decoupled else 1.0,
        "weight_decay": 0.0 if decoupled else weight_decay,
        "maximize": maximize,
    }


def _adagrad_options(
    *, lr: float, lr_decay: float = 0.0, step: int = 1, **others: Any
) -> dict[str, Any]:
    """The options of the update at step t, from 1 on."""
    return {"lr": lr / (1 + (step - 1) * lr_decay), **others}


# ------------------------------------------------------------------ the rules by Numba
# Where the extra `numba` is installed, machine code with the same bits takes over as soon as NumPy
# has taken as long as Numba's import (half a second): after _WORTH_IT elements, where each call
# counts as _CALL more.
_WORTH_IT, _CALL = 2_500_000_000, 4096
_worked = 0
_machine_code: Any = None


def _has_paid(calls: int, elements: int) -> bool:
    """Whether to use machine code; counts the work that NumPy would do otherwise."""
    global _worked, _machine_code
    if _machine_code is None:
        _worked += calls * (_CALL + elements)
        if _worked < _WORTH_IT:
            return False
        take_over()
    return _machine_code is not False


def take_over() -> None:
    """Let machine code do the steps from now on, where Numba is installed."""
    global _machine_code
    _machine_code = _imported()


def _imported() -> Any:
    """The module `compiled_optim`; False where Numba is missing or fails.

    The module raises RuntimeError where it may write to no cache folder.
    """
    if find_spec("numba") is None:
        return False
    try:
        from minitorch.backend.cpu import compiled_optim
    except (ImportError, RuntimeError):
        return False
    return compiled_optim


def _flat(*arrays: Array) -> list[Array] | None:
    """The arrays as 1-D; None where machine code cannot change one of them."""
    dtype = arrays[0].dtype
    if dtype not in (FLOAT32, FLOAT64):
        return None
    for a in arrays:
        if a.dtype is not dtype or not a.flags.carray:
            return None
    return [a if a.ndim == 1 else a.reshape(-1) for a in arrays]


# Of the rules that have machine code: its name, the numbers that it takes behind the arrays, and
# how many calls of NumPy it replaces. It does not support the last state of these rules.
_COMPILED: dict[Rule, tuple[str, tuple[str, ...], int]] = {
    _adam: ("adam", ("size", "eps", "beta1", "beta2", "keep", "weight_decay", "maximize"), 12),
    _sgd: ("sgd", ("lr", "weight_decay", "maximize"), 2),
}


def _run_compiled(
    name: str, numbers: Sequence[str], arrays: Sequence[Any], options: dict[str, Any]
) -> bool:
    """Run the machine code of a rule; return whether it supports the arguments."""
    *changed, unsupported, g = arrays
    flat = None if unsupported is not None else _flat(*changed, g)
    if flat is None:
        return False
    getattr(_machine_code, name)(*flat, *[float(options[number]) for number in numbers])
    return True


# ------------------------------------------------------------------ all of many parameters
Piece = Sequence[Array | None]


def _dense(rule: Rule, states: int, prepare: Callable[..., dict[str, Any]] = dict) -> Rule:
    """The kernel of a rule with so many states, for whole parameters.

    Its columns are parameters, states, gradients, and for buckets `homes` and `parts`. prepare:
    converts the optimizer's options to those of the rule.
    """

    def kernel(*columns: Arrays, **options: Any) -> None:
        homes, parts = columns[states + 2 :] or ((), ())
        _run(rule, columns[: states + 2], homes, parts, prepare(**options))

    return _skippable(kernel)


def _skippable(kernel: Rule) -> Rule:
    """The kernel, with `skip`: whether to change nothing, and how many steps changed nothing."""

    def run(*columns: Arrays, skip: Array | None = None, **options: Any) -> None:
        if skip is not None:
            if skip[0]:
                return
            if "step" in options:
                options["step"] -= int(skip[1])
        kernel(*columns, **options)

    return quiet(run)


def _run(
    rule: Rule, columns: Sequence[Arrays], homes: Arrays, parts: Arrays, options: dict[str, Any]
) -> None:
    """Apply the rule to every parameter; columns: parameters, states, gradients."""
    for home, part in zip(homes, parts):
        home[...] = part
    code, numbers, calls = _COMPILED.get(rule, ("", (), 0))
    for arrays in zip(*[column or repeat(None) for column in columns]):
        p = arrays[0]
        if calls and _has_paid(calls, p.size) and _run_compiled(code, numbers, arrays, options):
            continue
        if p.size <= CHUNK or not all(a is None or a.flags.c_contiguous for a in arrays):
            _run_piece(rule, arrays, options, _scratch(p.shape, p.dtype))
            continue
        flat = [None if a is None else a.reshape(-1) for a in arrays]
        scratch = _scratch((CHUNK,), p.dtype)
        for i in range(0, p.size, CHUNK):
            piece = [None if a is None else a[i : i + CHUNK] for a in flat]
            _run_piece(rule, piece, options, scratch[: p.size - i])


def _scratch(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for intermediate results: for halves in float32, or squares would underflow."""
    return np.empty(shape, FLOAT32 if dtype in HALVES else dtype)


def _run_piece(rule: Rule, piece: Piece, options: dict[str, Any], scratch: Array) -> None:
    """Apply the rule to a piece of a parameter, its states and its gradient."""
    p = piece[0]
    assert p is not None
    if p.dtype is scratch.dtype or p.dtype == scratch.dtype:
        rule(*piece, scratch, **options)
        return
    wide = [None if a is None else a.astype(FLOAT32) for a in piece]
    rule(*wide, scratch, **options)
    for a, result in zip(piece[:-1], wide[:-1], strict=True):
        if a is not None:
            a[...] = result


# ------------------------------------------------------------------ some rows of parameters
def _coalesced(rows: Array, values: Array, length: int, what: str) -> tuple[Array, Array]:
    """Distinct rows, and the sums of their values (for halves in float32)."""
    check_range(rows, length, what)
    distinct, inverse = np.unique(rows, return_inverse=True)
    dtype = np.promote_types(values.dtype, np.float32)
    total = np.zeros((len(distinct), *values.shape[1:]), dtype)
    return distinct, index_add_(total, inverse, values.astype(dtype, copy=False), 0)


def _sparse(
    name: str, rule: Rule, states: int, prepare: Callable[..., dict[str, Any]] = dict
) -> Rule:
    """The kernel of a rule for the rows that have a gradient.

    Its columns are parameters, states, rows and their gradients; the rule has so many states, of
    which the columns may lack the last.
    """

    def kernel(*columns: Arrays, **options: Any) -> None:
        options = prepare(**options)
        for *whole, index, values in zip(*columns):
            distinct, total = _coalesced(index, values, len(whole[0]), f"{name}: row")
            parts = [a[distinct] for a in whole]
            piece = *parts, *[None] * (states - len(parts) + 1), total
            _run_piece(rule, piece, options, _scratch(total.shape, total.dtype))
            for a, part in zip(whole, parts, strict=True):
                a[distinct] = part

    return _skippable(kernel)


def _sgd_rows_(params: Arrays, rows: Arrays, values: Arrays, *, lr: float, maximize: bool) -> None:
    for p, index, value in zip(params, rows, values, strict=True):
        check_range(index, len(p), "sgd_rows_: row")
        index_add_(p, index, value, 0, lr if maximize else -lr)


# ------------------------------------------------------------------ gradients
def joint_dtype(arrays: Arrays) -> np.dtype[Any]:
    """The dtype that holds the numbers of all arrays."""
    return reduce(promote_types, map(of_array, arrays)).array_dtype


def _norm_all(*grads: Array, order: float) -> Array:
    """The norm of all elements of all arrays, as 0-d; of no elements 0."""
    flat = [(g.astype(FLOAT32) if is_half(g) else g).reshape(-1) for g in grads if g.size]
    if order == 2:
        total = math.sqrt(sum(float(np.dot(g, g)) for g in flat))
    elif math.isinf(order):
        end = np.max if order > 0 else np.min
        total = float(end([end(np.abs(g)) for g in flat] or [0.0]))
    else:
        powers = sum(float((np.abs(g) ** order).sum(dtype=np.float64)) for g in flat)
        total = powers ** (1 / order) if flat else 0.0
    return np.asarray(total).astype(joint_dtype(grads))


def _fill_all_(grads: Arrays, *, value: float) -> None:
    for g in grads:
        g[...] = value


def _clip_all_(grads: Arrays, norms: Arrays, *, limit: float) -> None:
    """Scale gradients of norm norms[0] (0-d) to one of at most `limit`."""
    for g in grads:
        wide = np.result_type(g, FLOAT32).type
        factor = np.minimum(wide(limit) / (norms[0].astype(wide) + wide(1e-6)), wide(1))
        np.multiply(g, factor, out=g, casting="same_kind")


def _clamp_all_(grads: Arrays, *, min: float, max: float) -> None:
    for g in grads:
        np.maximum(g, min, out=g)
        np.minimum(g, max, out=g)


def _unscale_all_(grads: Arrays, found: Arrays, scale: Arrays) -> None:
    """Divide by scale[0][0]; found[0][0] becomes 1 where an element is not finite."""
    factor = 1 / float(scale[0][0])
    for g in grads:
        g[...] = np.multiply(g, factor, dtype=np.result_type(g, FLOAT32))
        if not np.isfinite(g).all():
            found[0][0] = 1


def _update_scale_(
    state: Arrays, skips: Arrays, *, growth: float, backoff: float, interval: int
) -> None:
    """state: one array of the scale and of the steps since it changed. skips: see above."""
    (at,) = state
    found = any(s[0] for s in skips)
    scale, steps = float(at[0]), int(at[1]) + 1
    if found or steps == interval:
        scale, steps = scale * (backoff if found else growth), 0
        scale = scale if np.isfinite(FLOAT32.type(scale)) else at[0]
    at[...] = scale, steps
    for s in skips:
        s[...] = 0, s[1] + s[0]


OPTIMIZERS: KernelTable = {
    "unscale_all_": quiet(_unscale_all_),
    "update_scale_": quiet(_update_scale_),
    "norm_all": quiet(into(_norm_all)),
    "fill_all_": quiet(_fill_all_),
    "clip_all_": quiet(_clip_all_),
    "clamp_all_": quiet(_clamp_all_),
    "sgd_": _dense(_sgd, 1),
    "adagrad_": _dense(_adagrad, 1, _adagrad_options),
    "rmsprop_": _dense(_rmsprop, 3),
    "adam_": _dense(_adam, 3, _adam_options),
    "sgd_rows_": _skippable(_sgd_rows_),
    "adagrad_rows_": _sparse(
        "adagrad_rows_", _adagrad, 1, partial(_adagrad_options, weight_decay=0)
    ),
    "adam_rows_": _sparse("adam_rows_", _adam, 3, partial(_adam_options, sparse=True)),
}

"""Negative sampling: the loss of blocks of words, and steps over many blocks without a tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import library
from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.creation import arange
from minitorch.operands import same_device
from minitorch.ops import logsigmoid

__all__ = ["negative_sampling", "negative_sampling_sgd_"]


def _negative_sampling_reference(x: Tensor, y: Tensor, weights: Tensor, width: int) -> Tensor:
    scores = y @ x.mT
    n, size, _ = x.shape
    index = arange(width, device=x.device).unsqueeze(1) + arange(size, device=x.device)
    near = scores.gather(1, index.expand(n, width, size))
    negatives = scores[:, size + width - 1 :]
    gains = logsigmoid(near._cat(-negatives, dim=1))
    return -(gains * weights).double().sum()


_negative_sampling = library.fused("negative_sampling", _negative_sampling_reference, 3)


def negative_sampling(x: Tensor, y: Tensor, weights: Tensor, width: int) -> Tensor:
    """Loss of skip-gram with negative sampling on blocks: a float64 scalar, summed in float64.

    x: n blocks of L centres, (n, L, D). y: their halo of L + width - 1 words, then K shared
    negatives, (n, L + width - 1 + K, D). weights: what each pair counts, (n, width + K, L): halo
    words i to i + width - 1 with centre i, then the negatives with centre i. The loss of a pair is
    -log sigmoid(x·y) with a halo word, -log sigmoid(-x·y) with a negative
    (Mikolov et al. 2013, "Distributed representations of words and phrases", equation 4).
    """
    n, size, depth = x.shape
    pairs = y.shape[1] - size + 1
    if tuple(y.shape[::2]) != (n, depth) or tuple(weights.shape) != (n, pairs, size):
        raise RuntimeError(
            f"negative_sampling: shapes x {tuple(x.shape)}, y {tuple(y.shape)} and weights "
            f"{tuple(weights.shape)} are not (n, L, D), (n, L + w - 1 + K, D) and (n, w + K, L)"
        )
    if not 1 <= width <= pairs:
        raise RuntimeError(f"negative_sampling: width {width} is not between 1 and {pairs}")
    same_device("negative_sampling", (x, y, weights))
    return _negative_sampling(x, y, weights, width=width)


_negative_sampling_sgd_ = library.update("negative_sampling_sgd_")


def negative_sampling_sgd_(
    input: Tensor,
    output: Tensor,
    loss: Tensor,
    centres: Tensor,
    others: Tensor,
    weights: Tensor,
    width: int,
    size: int,
    lr: Sequence[float],
    windows: tuple[Tensor, Tensor] | tuple[()] = (),
    compiled: bool = False,
    half: str | None = None,
) -> None:
    """Steps of SGD on `negative_sampling` of x = input[centres] and y = output[others].

    Each step takes the next `size` blocks and its rate of `lr`; nothing goes on the tape.
    Pairs of rows that a step would move too far count less in it: see `damping`.
    input, output: tables (V, D), of which rows change in place; one that comes twice changes
    twice. loss: a float64 scalar, which grows by the losses. centres: int64 (n, L). others: int64
    (n, L + width - 1 + K). weights, width: as `negative_sampling` takes them.
    windows: two stacks of matrices (n, L, M), for CBOW. centres is then (n, M), and x is
    windows[0] @ input[centres]; those rows change by windows[1]ᵀ times the gradient by x.
    compiled: on the CPU, in float32 and without windows let Numba's machine code do it, which
    differs by rounding. half: "bfloat16" or "float16", for tables in float32 and without
    `compiled`: x and y are rounded to it, and multiplied in float32; tables stay as they are.
    Raises RuntimeError for shapes that do not fit, IndexError for a row that there is not.
    """
    (n, rows), length = centres.shape, weights.shape[-1]
    pairs = others.shape[1] - length + 1
    shapes = [tuple(window.shape) for window in windows]
    if (
        len(others) != n
        or tuple(weights.shape) != (n, pairs, length)
        or (shapes != [(n, length, rows)] * 2 if windows else rows != length)
    ):
        raise RuntimeError(
            f"negative_sampling_sgd_: shapes centres {tuple(centres.shape)}, others "
            f"{tuple(others.shape)}, weights {tuple(weights.shape)} and windows {shapes} are not "
            "(n, L), (n, L + w - 1 + K), (n, w + K, L) and none, or (n, M) and two (n, L, M)"
        )
    tables = input, output
    if any(t.ndim != 2 or not t.is_contiguous() for t in tables) or (
        (input.shape[1], input.dtype) != (output.shape[1], output.dtype)
    ):
        raise RuntimeError(
            "negative_sampling_sgd_: expected contiguous tables (V, D) of one dtype, got "
            + " and ".join(f"{t.dtype} {tuple(t.shape)}" for t in tables)
        )
    if len(lr) != -(-n // size):
        raise RuntimeError(
            f"negative_sampling_sgd_: {n} blocks, {size} to a step, are {-(-n // size)} steps, "
            f"but there are {len(lr)} rates"
        )
    written = [input], [output], [loss]
    read = [centres], [others], [weights], *([window] for window in windows)
    params: dict[str, Any] = {"width": width, "size": size, "lr": lr}
    if half is not None:
        params["half"] = half
    elif compiled and input.device.type == "cpu":
        params["compiled"] = True
    _negative_sampling_sgd_(written, read, **params)


guard(globals())

"""Fused ops: one kernel for several ops in a row, each specified by its reference.

The reference is the definition: a test compares kernel and reference in value and gradient, and
forward mode and higher order go through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import random, rules
from minitorch.backend import FLOAT32, Array
from minitorch.boundary import guard
from minitorch.creation import arange
from minitorch.dtypes import conversion
from minitorch.operands import same_device
from minitorch.ops.elementwise import bce_with_logits, gelu, logsigmoid, relu, sigmoid, tanh
from minitorch.ops.linalg import matmul
from minitorch.ops.reduce import centre
from minitorch.tensor import Node, Tensor, enable_grad, tensor_of

_ACTIVATIONS = {"none": None, "relu": relu, "tanh": tanh, "sigmoid": sigmoid, "gelu": gelu}


def _linear_reference(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    return _activate(matmul(x, weight.mT) + bias, activation)


def _activate(x: Tensor, activation: str) -> Tensor:
    function = _ACTIVATIONS[activation]
    return x if function is None else function(x)


def _cross_entropy_reference(x: Tensor, target: Any, ignore_index: int, reduction: str) -> Tensor:
    classes: Tensor = tensor_of(target).long()
    ignored = classes == ignore_index
    picked = x.log_softmax(1).gather(1, classes.masked_fill(ignored, 0).unsqueeze(1))
    loss = (-picked.squeeze(1)).masked_fill(ignored, 0)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / (~ignored).sum()


def _linear_parts(node: Node) -> Node:
    """A layer and its activation as two calls: the second one's node, with the first one's below.

    Where backward is over, nothing but their names is left; what has changed in place is as it is.
    """
    activation = node.params["activation"]
    function = _ACTIVATIONS[activation]
    if function is None:
        return node
    if node.saved is None:
        below = Node(node.op, node.parents, None, {"activation": "none"}, node.shape)
        return Node(rules.REGISTRY[activation], (below,), None, None, node.shape)
    try:
        inputs = rules.fused_inputs(node)
    except RuntimeError:
        return node
    with enable_grad():
        last = function(_linear(*inputs, activation="none")).node
    assert last is not None
    return last


_linear = rules.fused("linear", _linear_reference, 3, _linear_parts)
_cross_entropy = rules.fused("cross_entropy", _cross_entropy_reference, 1)


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """activation(input @ weight.T + bias): (*, in), (out, in), (out,) -> (*, out).

    activation: "none", "relu", "tanh", "sigmoid" or "gelu".
    """
    if bias is None or not _plain(input.array, weight.array, bias.array):
        if input.array.dtype != weight.array.dtype:
            raise RuntimeError(
                f"linear: input is {input.dtype}, the weight {weight.dtype}; "
                f"use x{conversion(weight.dtype)}, or convert the module"
            )
        product = matmul(input, weight.t())
        return _activate(product if bias is None else product + bias, activation)
    features = input.array.shape[-1]
    if features != weight.array.shape[1]:
        raise RuntimeError(
            f"linear: input {tuple(input.shape)} and weight {tuple(weight.shape)}: "
            f"{features} ≠ {weight.array.shape[-1]} features"
        )
    return _linear(input, weight, bias, activation=activation)


def _plain(x: Array, weight: Array, bias: Array) -> bool:
    """Whether the kernel takes the operands as they are."""
    dtype = x.dtype
    return (
        type(x) is type(weight) is type(bias)
        and (dtype is weight.dtype or dtype == weight.dtype)
        and (dtype is bias.dtype or dtype == bias.dtype)
        and (dtype is FLOAT32 or dtype.kind == "f")
        and x.ndim > 1
        and weight.ndim == 2
        and bias.ndim == 1
        and len(bias) == len(weight)
    )


def cross_entropy(
    input: Tensor, target: Tensor, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-log softmax(input)[i, target[i]] for the rows i: (n, classes), integers (n,).

    Their mean or sum, or (n,) for the reduction "none"; targets equal to ignore_index do not
    count. The kernel computes the gradient, softmax minus one-hot, in the forward pass.
    Raises IndexError for another target outside [0, classes).
    """
    if input.array.ndim != 2 or target.array.shape != input.array.shape[:1]:
        raise RuntimeError(
            f"cross_entropy: expected (n, classes) and (n,), got {tuple(input.shape)} and "
            f"{tuple(target.shape)}"
        )
    same_device("cross_entropy", (input, target))
    return _cross_entropy(
        input, target, target=target.array, ignore_index=ignore_index, reduction=reduction
    )


# ---------------------------------------------------------------------- binary cross entropy
def _logistic_loss_reference(x: Tensor, target: Array, reduction: str) -> Tensor:
    loss = bce_with_logits(x, tensor_of(target))
    return loss.mean() if reduction == "mean" else loss.sum()


_logistic_loss = rules.fused("logistic_loss", _logistic_loss_reference, 1)


def logistic_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """-(y log σ(x) + (1 - y) log(1 - σ(x))) of logits x and targets y: their mean or sum.

    Both of one shape, dtype and device; the target gets no gradient. The kernel computes the
    input's, σ(x) - y, in the forward pass.
    """
    same_device("binary_cross_entropy_with_logits", (input, target))
    return _logistic_loss(input, target, target=target.array, reduction=reduction)


# ---------------------------------------------------------------------- layer norm
def standardized(input: Tensor, ndim: int, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps), both over the last `ndim` dimensions."""
    dims = tuple(range(-ndim, 0))
    centred = centre(input, dims)
    return centred * ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()


def _layer_norm_reference(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return standardized(x, weight.ndim, eps) * weight + bias


_layer_norm = rules.fused("layer_norm", _layer_norm_reference, 3)


def layer_norm(input: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias (Ba et al., 2016).

    Mean and variance are those over the last dimensions, which are weight's and bias's. All of
    one floating-point dtype and on one device.
    """
    same_device("layer_norm", (input, weight, bias))
    return _layer_norm(input, weight, bias, eps=eps)


# ---------------------------------------------------------------------- dropout
_dropout: rules.TensorFunction = rules.linear(
    "dropout", lambda g, shape, **params: _dropout(g, **params)
)


def dropout(input: Tensor, p: float) -> Tensor:
    """input / (1 - p) where as many numbers as `rand` would draw are below 1 - p, else 0.

    The op is its own adjoint, for the same place in the random stream. A device draws the numbers
    again there, or keeps what it made of them in `memo`.
    """
    place = random.reserve("dropout", input.shape, input.dtype)
    return _dropout(input, p=p, memo=[], **place)


# ---------------------------------------------------------------------- word vectors
def _negative_sampling_reference(x: Tensor, y: Tensor, weights: Tensor, width: int) -> Tensor:
    scores = y @ x.mT
    n, size, _ = x.shape
    place = arange(width, device=x.device).unsqueeze(1) + arange(size, device=x.device)
    near = scores.gather(1, place.expand(n, width, size))
    pool = scores[:, size + width - 1 :]
    gains = logsigmoid(near._cat(-pool, dim=1))
    return -(gains * weights).double().sum()


_negative_sampling = rules.fused("negative_sampling", _negative_sampling_reference, 3)


def negative_sampling(x: Tensor, y: Tensor, weights: Tensor, width: int) -> Tensor:
    """Loss of skip-gram with negative sampling on blocks: a float64 scalar, summed in float64.

    x: n blocks of L centres, (n, L, D). y: their halo of L + width - 1 words, then K words of a
    pool, (n, L + width - 1 + K, D). weights: what each pair counts, (n, width + K, L): halo words
    i to i + width - 1 with centre i, then the pool with centre i. The loss of a pair is
    -log sigmoid(x·y) with a halo word, -log sigmoid(-x·y) with a pool word
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


_negative_sampling_sgd_ = rules.update("negative_sampling_sgd_")


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
) -> None:
    """Steps of SGD on `negative_sampling` of x = input[centres] and y = output[others].

    Each step takes the next `size` blocks and its rate of `lr`; nothing goes on the tape.
    Pairs of rows that a step would move too far count less in it: see `minitorch.backend.damping`.
    input, output: tables (V, D), of which rows change in place; one that comes twice changes
    twice. loss: a float64 scalar, which grows by the losses. centres: int64 (n, L). others: int64
    (n, L + width - 1 + K). weights, width: as `negative_sampling` takes them.
    windows: two stacks of matrices (n, L, M), for CBOW. centres is then (n, M), and x is
    windows[0] @ input[centres]; those rows change by windows[1]ᵀ times the gradient by x.
    compiled: on the CPU, in float32 and without windows let Numba's machine code do it, which
    differs by rounding.
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
    if compiled and input.device.type == "cpu":
        params["compiled"] = True
    _negative_sampling_sgd_(written, read, **params)


guard(globals())

"""Fused ops: one kernel for several ops in a row, each specified by its reference.

The reference is the definition: a test compares kernel and reference in value and gradient, and
forward mode and higher order go through it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from minitorch import autocasting, random
from minitorch.backend.cpu.fused import ACTIVATIONS
from minitorch.core import dispatch, families
from minitorch.core.dtypes import FLOAT32, KINDS, Array
from minitorch.core.grad_mode import enable_grad
from minitorch.core.tape import count_change
from minitorch.core.tensor import Node, Tensor, tensor_of
from minitorch.operands import conversion, same_device
from minitorch.ops import elementwise
from minitorch.ops.elementwise import bce_with_logits
from minitorch.ops.linalg import matmul
from minitorch.ops.reduce import centre

__all__ = [
    "activation_dropout",
    "batch_norm",
    "bce_with_logits_loss",
    "cross_entropy",
    "dropout",
    "layer_norm",
    "linear",
    "normalized",
]

_ACTIVATIONS: dict[str, Any] = {name: getattr(elementwise, name, None) for name in ACTIVATIONS}
_ACTIVATIONS["gelu_tanh"] = partial(elementwise.gelu, approximate="tanh")


def _linear_reference(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    return _activate(matmul(x, weight.mT) + bias, activation)


def _activate(x: Tensor, activation: str) -> Tensor:
    function = _ACTIVATIONS[activation]
    return x if function is None else function(x)


def pick(logp: Tensor, target: Tensor, ignore_index: int, dim: int) -> tuple[Tensor, Tensor]:
    """logp at the target classes along `dim`, 0 where they are ignored; and where they are."""
    ignored = target == ignore_index
    index = target.masked_fill(ignored, 0).unsqueeze(dim)
    return logp.gather(dim, index).squeeze(dim).masked_fill(ignored, 0), ignored


def _cross_entropy_reference(x: Tensor, target: Any, ignore_index: int, reduction: str) -> Tensor:
    picked, ignored = pick(x.log_softmax(1), tensor_of(target).long(), ignore_index, 1)
    if reduction == "none":
        return -picked
    total = -picked.sum()
    return total if reduction == "sum" else total / (~ignored).sum()


def _parts_of(name: str) -> Any:
    """The `parts` of the op `name`: its calls, of a layer (if any), an activation and dropout.

    They give the last one's node, with the others below. After backward only their names are left;
    a node whose tensors changed in place stays one node.
    """

    def parts(node: Node) -> Node:
        given = node.params
        behind = {given["activation"]: _ACTIVATIONS[given["activation"]]}
        if given.get("p"):
            drop = {key: given[key] for key in _NO_DROPOUT}
            behind["dropout"] = partial(_dropout, **drop)
        behind.pop("none", None)
        if not behind:
            return node
        layer = _LAYERS.get(name)
        alone = {**given, "activation": "none"}
        if "p" in alone:
            alone["p"] = 0.0
        if node.saved is None:
            (below, *_) = node.parents
            if layer is not None:
                below = Node(node.op, node.parents, None, alone, node.shape)
            for op in behind:
                named = dispatch.REGISTRY[op.removesuffix("_tanh")]  # that formula is no op
                below = Node(named, (below,), None, None, node.shape)
            assert below is not None
            return below
        try:
            inputs = node.op.inputs(node)
        except RuntimeError:
            return node
        with enable_grad():
            result = inputs[0] if layer is None else layer(*inputs, **alone)
            for function in behind.values():
                result = function(result)
        assert result.node is not None
        return result.node

    return parts


_linear = families.fused("linear", _linear_reference, 3, _parts_of("linear"))
_cross_entropy = families.fused("cross_entropy", _cross_entropy_reference, 1)


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """activation(input @ weight.T + bias): (*, in), (out, in), (out,) -> (*, out).

    activation: "none", "relu", "tanh", "sigmoid", "gelu" or "gelu_tanh".
    """
    if autocasting.state.dtypes:
        input, weight, bias = autocasting.casted("linear", input, weight, bias)
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
        and (dtype is FLOAT32 or KINDS[dtype] == "f")
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
    if type(input.array) is not type(target.array):
        same_device("cross_entropy", (input, target))
    return _cross_entropy(
        input, target, target=target.array, ignore_index=ignore_index, reduction=reduction
    )


# ---------------------------------------------------------------------- binary cross entropy
def _bce_with_logits_loss_reference(x: Tensor, target: Array, reduction: str) -> Tensor:
    loss = bce_with_logits(x, tensor_of(target))
    return loss.mean() if reduction == "mean" else loss.sum()


_bce_with_logits_loss = families.fused("bce_with_logits_loss", _bce_with_logits_loss_reference, 1)


def bce_with_logits_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """-(y log σ(x) + (1 - y) log(1 - σ(x))) of logits x and targets y: their mean or sum.

    Both of one shape, dtype and device; the target gets no gradient. The kernel computes the
    input's, σ(x) - y, in the forward pass.
    """
    same_device("binary_cross_entropy_with_logits", (input, target))
    return _bce_with_logits_loss(input, target, target=target.array, reduction=reduction)


# ---------------------------------------------------------------------- layer norm
def normalized(input: Tensor, ndim: int, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps), both over the last `ndim` dimensions."""
    dims = tuple(range(-ndim, 0))
    centred = centre(input, dims)
    return centred * ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()


def _layer_norm_reference(x: Tensor, *affine: Tensor, dims: int, eps: float) -> Tensor:
    result = normalized(x, dims, eps)
    if affine:
        result = result * affine[0]
    return result + affine[1] if affine[1:] else result


_layer_norm = families.fused("layer_norm", _layer_norm_reference, None)


def layer_norm(input: Tensor, *affine: Tensor, dims: int, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias (Ba et al., 2016).

    Mean and variance are those over the last `dims` dimensions. affine: nothing, the weight, or
    weight and bias, of these dimensions' shape. All of one floating-point dtype and on one device.
    """
    same_device("layer_norm", (input, *affine))
    return _layer_norm(input, *affine, dims=dims, eps=eps)


# ---------------------------------------------------------------------- batch norm
def _channels(values: Tensor, x: Tensor) -> Tensor:
    """Values of the channels, (C,), for x of (N, C, *)."""
    return values.reshape((1, -1) + (1,) * (x.ndim - 2))


def _batch_norm_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    activation: str,
    p: float,
    seed: int,
    offset: int,
    memo: list[Any],
    **running: Any,
) -> Tensor:
    dims = (0, *range(2, x.ndim))
    centred = centre(x, dims)
    hat = centred * ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()
    result = _activate(hat * _channels(weight, x) + _channels(bias, x), activation)
    return _dropout(result, p=p, seed=seed, offset=offset, memo=memo) if p else result


def _batch_norm_eval_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    activation: str,
) -> Tensor:
    hat = (x - _channels(mean, x)) * (_channels(var, x) + eps).rsqrt()
    return _activate(hat * _channels(weight, x) + _channels(bias, x), activation)


_batch_norm = families.fused("batch_norm", _batch_norm_reference, 3, _parts_of("batch_norm"))
_batch_norm_eval = families.fused(
    "batch_norm_eval", _batch_norm_eval_reference, 5, _parts_of("batch_norm_eval")
)
_NO_DROPOUT: dict[str, Any] = {"p": 0.0, "seed": 0, "offset": 0, "memo": []}
_AT_ONCE = 1 << 18  # elements; for more, drawing them thread by thread costs more than a launch
_NO_RUNNING = {"mean": None, "var": None, "count": None, "momentum": 0.0}
_LAYERS: dict[str, families.TensorFunction] = {
    "linear": _linear,
    "batch_norm": lambda *xs, **params: _batch_norm(*xs, **{**params, **_NO_RUNNING}),
    "batch_norm_eval": _batch_norm_eval,
}


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float | None,
    eps: float,
    activation: str = "none",
    count: Tensor | None = None,
    p: float = 0.0,
) -> Tensor:
    """activation((x - mean) / sqrt(variance + eps) * weight + bias), by channel (N, C, *).

    training: mean and variance are the input's, and the running ones, where given, move to them by
    momentum; else they are the running ones. count, the number of batches, is counted up in
    training, or read where momentum is None: it then moves them by 1 / count. All of one
    floating-point dtype and on one device. p: of dropout behind it, in training.
    """
    running = [t for t in (running_mean, running_var, count) if t is not None]
    same_device("batch_norm", (input, weight, bias, *running))
    if not training:
        assert running_mean is not None and running_var is not None
        return _batch_norm_eval(
            input, weight, bias, running_mean, running_var, eps=eps, activation=activation
        )
    drop = _NO_DROPOUT
    if p and input.numel() <= _AT_ONCE:
        drop = {"p": p, **random.reserve("dropout", input.shape, input.dtype), "memo": []}
    arrays = [None if t is None else t.array for t in (running_mean, running_var, count)]
    mean, var, batches = arrays
    result = _batch_norm(
        *(input, weight, bias),
        mean=mean,
        var=var,
        count=batches,
        momentum=momentum,
        eps=eps,
        activation=activation,
        **drop,
    )
    if result.node is not None:  # the backward pass reads no running statistics
        for name in _NO_RUNNING:
            del result.node.params[name]
    for t in running:
        if t is not count or momentum is not None:
            count_change(t)
    return dropout(result, p) if p and not drop["p"] else result


# ---------------------------------------------------------------------- dropout
_dropout: families.TensorFunction = families.linear(
    "dropout", lambda g, shape, **params: _dropout(g, **params)
)


def dropout(input: Tensor, p: float) -> Tensor:
    """input / (1 - p) where as many numbers as `rand` would draw are below 1 - p, else 0.

    For halves the numbers are those in float32, and the quotient is rounded once.

    The op is its own adjoint, with the same words of the random stream. A device draws the numbers
    again, or caches in `memo` what it computed from them.
    """
    words = random.reserve("dropout", input.shape, input.dtype)
    return _dropout(input, p=p, memo=[], **words)


def _activation_dropout_reference(x: Tensor, activation: str, **drop: Any) -> Tensor:
    return _dropout(_activate(x, activation), **drop)


_activation_dropout = families.fused(
    "activation_dropout",
    _activation_dropout_reference,
    1,
    _parts_of("activation_dropout"),
)


def activation_dropout(input: Tensor, activation: str, p: float) -> Tensor:
    """`dropout` of activation(input): an activation of `linear`."""
    words = random.reserve("dropout", input.shape, input.dtype)
    return _activation_dropout(input, activation=activation, p=p, memo=[], **words)

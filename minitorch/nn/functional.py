"""Layers, activations and losses as plain functions.

Arguments that PyTorch puts after its deprecated ones can only be given by keyword here.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from minitorch import autocasting, fused, ops
from minitorch.backend.cpu.fused import ACTIVATIONS
from minitorch.backend.limits import finfo
from minitorch.boundary import guard
from minitorch.core.dtypes import HALVES, KINDS, Array, float32, int64
from minitorch.core.dtypes import dtype as DType
from minitorch.core.tensor import Tensor
from minitorch.creation import ones_like, zeros_like
from minitorch.nn import activation_functions, embedding_functions, loss_functions
from minitorch.nn.activation_functions import *
from minitorch.nn.activation_functions import before, maybe_inplace
from minitorch.nn.embedding_functions import *
from minitorch.nn.loss_functions import *
from minitorch.nn.loss_functions import (
    REDUCTIONS,
    check_reduction,
    check_same_shape,
    reduced,
)
from minitorch.operands import result_dtype, same_device
from minitorch.random import check_probabilities

__all__ = [
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "group_norm",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softmin",
    "tanh",
    *activation_functions.__all__,
    *embedding_functions.__all__,
    *loss_functions.__all__,
]

# ------------------------------------------------------------------ linear maps and look-ups


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return input @ weightᵀ + bias: (*, in), (out, in), (out,) -> (*, out)."""
    return fused.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x1ᵀ W x2 + bias: (*, in1), (*, in2), (out, in1, in2), (out,) -> (*, out)."""
    result = ops.einsum("...i,kij,...j->...k", input1, weight, input2)
    return result if bias is None else result + bias


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 (*, num_classes) with a one where `tensor` (*) says; -1: its maximum + 1."""
    return ops.one_hot(tensor, num_classes)


# ------------------------------------------------------------------ regularisation, normalisation


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` and scale the rest by 1 / (1 - p), if `training`."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    output = input * zeros_like(input) if p == 1 else fused.dropout(input, p)
    return input.copy_(output) if inplace else output


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Return input / max(its `p`-norm along `dim`, eps)."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Give the last dimensions, which are `normalized_shape`, mean 0 and variance 1.

    Then multiply by `weight` and add `bias`, both of that shape (Ba et al., 2016).
    """
    if autocasting.state.dtypes:
        input, weight, bias = autocasting.casted("layer_norm", input, weight, bias)
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"layer_norm: given normalized_shape={list(shape)}, expected input of shape "
            f"(*, {', '.join(map(str, shape))}), got {tuple(input.shape)}"
        )
    if _is_mixed(input, weight):
        wide = layer_norm(input.float(), normalized_shape, weight, bias, eps)
        return wide.to(input.dtype)
    given = [t for t in (weight, bias) if t is not None]
    if not _one_dtype(input, *given) or any(t.array.shape != shape for t in given):
        return _affine(fused.normalized(input, len(shape), eps), weight, bias)
    if weight is None:
        return _affine(fused.layer_norm(input, dims=len(shape), eps=eps), None, bias)
    return fused.layer_norm(input, *given, dims=len(shape), eps=eps)


def _one_dtype(*tensors: Tensor) -> bool:
    """Whether all are floating-point tensors of one dtype, which the kernels take."""
    dtype = tensors[0].array.dtype
    return KINDS[dtype] == "f" and all(t.array.dtype == dtype for t in tensors)


def _is_mixed(input: Tensor, *others: Tensor | None) -> bool:
    """Whether halves come with parameters in float32, as under autocast."""
    halves = input.array.dtype in HALVES
    return halves and any(x is not None and x.dtype is float32 for x in others)


def _affine(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        input = input * weight
    return input if bias is None else input + bias


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root of the mean square over the last dimensions, then multiply by `weight`.

    `normalized_shape` are these dimensions, and the weight's shape; `eps` is added to the mean
    (None: the eps of the dtype) (Zhang and Sennrich, 2019).
    """
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"rms_norm: given normalized_shape={list(shape)}, expected input of shape "
            f"(*, {', '.join(map(str, shape))}), got {tuple(input.shape)}"
        )
    x = input.float() if input.element_size() == 2 else input
    dims = tuple(range(-len(shape), 0))
    mean = x.square().mean(dims, keepdim=True)
    scale = (mean + (finfo(input.dtype).eps if eps is None else eps)).rsqrt()
    return _affine((x * scale).to(input.dtype), weight, None)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Give each of `num_groups` groups of channels of (N, C, *) mean 0 and variance 1, by sample.

    Then multiply by `weight` and add `bias`, both (C,) (Wu and He, 2018).
    """
    if input.dim() < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise RuntimeError(
            f"group_norm: expected (N, C, *) whose C is divisible by num_groups={num_groups}, got "
            f"shape {tuple(input.shape)}"
        )
    grouped = input.reshape(input.shape[0], num_groups, -1)
    normalised = layer_norm(grouped, grouped.shape[2:], eps=eps).reshape(input.shape)
    channels = (-1, *[1] * (input.dim() - 2))
    weight, bias = (None if t is None else t.reshape(channels) for t in (weight, bias))
    return _affine(normalised, weight, bias)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    activation: str = "none",
    count: Tensor | None = None,
    p: float = 0.0,
) -> Tensor:
    """Give every channel of `input` (N, C, *) mean 0 and variance 1 (Ioffe and Szegedy, 2015).

    If `training`, statistics are the batch's, and the running ones (C,), where given, move
    towards them by `momentum` (the variance unbiased); else the running ones are used.
    Beyond PyTorch's arguments: activation, what is done with the result in the same kernel
    ("relu", "tanh", "sigmoid", "gelu" or "gelu_tanh"); p, that of dropout behind it in training;
    and count, the number of batches so far as an int64 tensor: it is counted up in training, or, if
    momentum is None, it has been, and 1 / count is the momentum.
    """
    by_channel = {"running_mean": running_mean, "running_var": running_var}
    _check_channels(input, by_channel | {"weight": weight, "bias": bias})
    _check_behind(activation, p, count)
    n = input.numel() // input.shape[1] if input.shape[1] else 0
    if training and n <= 1:
        raise ValueError(
            "Expected more than 1 value per channel when training, "
            f"got input size {tuple(input.shape)}"
        )
    if not training and (running_mean is None or running_var is None):
        raise ValueError("Expected running_mean and running_var to be defined when training=False")
    given = [t for t in (input, weight, bias, running_mean, running_var) if t is not None]
    dtype = input.dtype if _one_dtype(*given) else result_dtype(given)
    x = input.to(dtype)
    mean = None if running_mean is None else running_mean.to(dtype)
    var = None if running_var is None else running_var.to(dtype)
    scale = x.new_ones(x.shape[1]) if weight is None else weight.to(dtype)
    shift = x.new_zeros(x.shape[1]) if bias is None else bias.to(dtype)
    if momentum is None and count is None:
        momentum = 0.0
    result = fused.batch_norm(
        x, mean, var, scale, shift, training, momentum, eps, activation, count, p
    )
    for running, moved in ((running_mean, mean), (running_var, var)):
        if running is not None and moved is not None and moved is not running:
            running.copy_(moved)
    return result.to(input.dtype) if input.element_size() == 2 else result


def _check_channels(input: Tensor, by_channel: dict[str, Tensor | None]) -> None:
    """Raise where input is not floating-point (N, C, *), or another tensor not (C,)."""
    if input.dim() < 2:
        raise IndexError(f"batch_norm: input: expected (N, C, *), got shape {tuple(input.shape)}")
    if not input.is_floating_point():
        raise NotImplementedError(
            f"batch_norm: input: expected a floating-point dtype, got {input.dtype}"
        )
    channels = input.shape[1]
    for name, t in by_channel.items():
        if t is not None and tuple(t.shape) != (channels,):
            raise RuntimeError(
                f"batch_norm: {name} should contain {channels} elements, one for each channel; "
                f"got shape {tuple(t.shape)}"
            )


def _check_behind(activation: str, p: float, count: Tensor | None) -> None:
    """Raise for arguments of `batch_norm` that its kernels do not take."""
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"batch_norm: activation: expected one of {known}, got {activation!r}")
    if not 0 <= p < 1:
        raise ValueError(f"batch_norm: p: expected a probability in [0, 1), got {p}")
    if count is not None and (count.dtype is not int64 or count.dim()):
        raise ValueError(
            f"batch_norm: count: expected one number of minitorch.int64, got {count.dtype} of "
            f"shape {tuple(count.shape)}"
        )


# ------------------------------------------------------------------ activations


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(x, 0)."""
    return input.copy_(ops.relu(input)) if inplace else ops.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else negative_slope · x."""
    output = ops.where(input > 0, input, input * negative_slope)
    return maybe_inplace(input, output, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha · (eˣ - 1) (Clevert et al., 2016)."""
    x = before(input, inplace)
    output = ops.where(x <= 0, x.clamp(max=0.0).expm1() * alpha, x)
    return maybe_inplace(input, output, inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return x · Φ(x); "tanh" takes the faster formula (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(input, approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x · σ(x)."""
    x = before(input, inplace)
    return maybe_inplace(input, ops.silu(x), inplace)


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + e⁻ˣ)."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return input.tanh()


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + e^(beta x)) / beta, and x itself where beta x > threshold."""
    return ops.softplus(input, beta, threshold)


def logsigmoid(input: Tensor) -> Tensor:
    """Return log σ(x)."""
    return ops.logsigmoid(input)


def softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return eˣ / Σ eˣ along `dim`."""
    return ops.softmax(input, _softmax_dim(input, dim), dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return e⁻ˣ / Σ e⁻ˣ along `dim`."""
    return ops.softmax(-input, _softmax_dim(input, dim), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return log(eˣ / Σ eˣ) along `dim`."""
    return ops.log_softmax(input, _softmax_dim(input, dim), dtype=dtype)


def _softmax_dim(input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        "softmax with an implicit dimension is deprecated: pass dim=X", UserWarning, stacklevel=3
    )
    return 0 if input.dim() in (0, 1, 3) else 1


# ------------------------------------------------------------------ losses
# `reduction` is "mean", "sum" or "none" (the loss of each element). Input and target of different
# shapes are a ValueError in all of them; PyTorch's mse_loss and l1_loss warn and broadcast.


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the squared error (x - y)²."""
    if autocasting.state.dtypes:
        input, target = autocasting.casted("mse_loss", input, target)
    check_same_shape("mse_loss", input, target)
    difference = input - target
    return reduced(difference * difference, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the absolute error |x - y|."""
    if autocasting.state.dtypes:
        input, target = autocasting.casted("l1_loss", input, target)
    check_same_shape("l1_loss", input, target)
    return reduced((input - target).abs(), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return (x - y)² / (2 beta) where |x - y| < beta, else |x - y| - beta / 2."""
    if autocasting.state.dtypes:
        input, target = autocasting.casted("smooth_l1_loss", input, target)
    check_same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    distance = (input - target).abs()
    if beta == 0:
        return reduced(distance, reduction)
    near = ops.minimum(distance, beta)  # the square of a far one may overflow
    small = near * near * (0.5 / beta)
    return reduced(ops.where(distance < beta, small, distance - 0.5 * beta), reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return -(y log x + (1 - y) log(1 - x)) for probabilities x; logarithms are >= -100.

    Raises RuntimeError for x or y outside [0, 1].
    """
    if autocasting.state.dtypes:
        input, target, weight = autocasting.casted("binary_cross_entropy", input, target, weight)
    check_same_shape("binary_cross_entropy", input, target)
    check_probabilities("binary_cross_entropy: input", input)
    check_probabilities("binary_cross_entropy: target", target)
    loss = -(target * _log_above_100(input) + (1 - target) * _log_above_100(1 - input))
    return reduced(loss if weight is None else loss * weight, reduction)


def _log_above_100(x: Tensor) -> Tensor:
    """Return max(log x, -100) with the slope 1 / max(x, 1e-12), finite at 0 as PyTorch's."""
    fixed = x.detach()
    steep = fixed.log().clamp(min=-100.0) + (x - fixed) * 1e12
    return ops.where(fixed > 1e-12, x.clamp(min=1e-12).log(), steep)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return binary cross entropy of σ(x), stable for large |x|.

    `pos_weight` multiplies the part of the positive class; it broadcasts against `target`.
    """
    if autocasting.state.dtypes:
        input, target, weight, pos_weight = autocasting.casted(
            "binary_cross_entropy_with_logits", input, target, weight, pos_weight
        )
    check_same_shape("binary_cross_entropy_with_logits", input, target)
    if (
        weight is None
        and pos_weight is None
        and target.node is None
        and reduction in ("mean", "sum")
        and _one_dtype(input, target)
    ):
        return fused.bce_with_logits_loss(input, target, reduction)
    if pos_weight is None:
        loss = ops.bce_with_logits(input, target)
    else:
        loss = (1 - target) * input - (1 + (pos_weight - 1) * target) * ops.logsigmoid(input)
    return reduced(loss if weight is None else loss * weight, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return -input[target] for log-probabilities (N, C, *), (C,) and classes (N, *), ().

    `weight` (C,) weighs the classes; targets equal to `ignore_index` count nothing. The mean is
    over the weights of the targets. Raises IndexError for a class outside [0, C).
    """
    if autocasting.state.dtypes:
        input, weight = autocasting.casted("nll_loss", input, weight)
    dim = _class_dim("nll_loss", input)
    _check_classes("nll_loss", input, target, dim)
    picked, counts = _pick("nll_loss", input, target, weight, ignore_index, dim)
    return _weighted_mean(-picked, counts, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy between softmax(input) and `target`.

    input: logits (N, C, *) or (C,). target: classes, integers (N, *) or (), or probabilities,
    floating-point and of the input's shape. `weight` (C,) weighs the classes; class targets equal
    to `ignore_index` count nothing; `label_smoothing` in [0, 1] mixes the uniform distribution
    in (Szegedy et al., 2016). The mean over classes is weighted, over probabilities it is not.
    Raises IndexError for a class outside [0, C).

    >>> logits = minitorch.zeros(2, 4)
    >>> F.cross_entropy(logits, minitorch.tensor([0, 3]))
    tensor(1.3863)
    """
    if autocasting.state.dtypes:
        input, weight = autocasting.casted("cross_entropy", input, weight)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    if reduction not in REDUCTIONS:
        check_reduction(reduction)
    if not isinstance(ignore_index, int):
        raise TypeError(
            f"cross_entropy: ignore_index: expected an int, got {type(ignore_index).__name__}"
        )
    if weight is None and not label_smoothing and _rows_and_classes(input.array, target.array):
        return fused.cross_entropy(input, target, ignore_index, reduction)
    dim = _class_dim("cross_entropy", input)
    classes = input.shape[dim]
    logp = ops.log_softmax(input, dim)
    if target.is_floating_point():
        if target.shape != input.shape:
            raise ValueError(
                f"cross_entropy: target is {target.dtype} of shape {tuple(target.shape)}: class "
                "labels are integers, use target.long(); probabilities have the input's shape, "
                f"{tuple(input.shape)}"
            )
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -(_class_weighted(logp, weight, dim) * target).sum(dim)
        return reduced(loss, reduction)
    _check_classes("cross_entropy", input, target, dim)
    picked, counts = _pick("cross_entropy", logp, target, weight, ignore_index, dim)
    if label_smoothing:
        smooth = _class_weighted(logp, weight, dim).sum(dim)
        smooth = smooth.masked_fill(target.long() == ignore_index, 0.0)
        picked = picked * (1 - label_smoothing) + smooth * (label_smoothing / classes)
    return _weighted_mean(-picked, counts, reduction)


CLASSES = "Bilq"  # NumPy's characters of the dtypes that indices have: uint8, int32, int64


def _rows_and_classes(x: Array, target: Array) -> bool:
    """Whether these are numbers (N, C) and integers (N,), which the kernel takes."""
    return (
        x.ndim == 2
        and target.ndim == 1
        and len(x) == len(target)
        and KINDS[x.dtype] == "f"
        and target.dtype.char in CLASSES
    )


def _class_dim(name: str, input: Tensor) -> int:
    if input.dim() == 0:
        raise ValueError(f"{name}: expected input of shape (C,) or (N, C, *), got a 0-d tensor")
    return 0 if input.dim() == 1 else 1


def _check_classes(name: str, input: Tensor, target: Tensor, dim: int) -> None:
    if target.array.dtype.char not in CLASSES:
        raise RuntimeError(
            f"{name}: expected integer classes as target (int64), got {target.dtype}; "
            "use target.long()"
        )
    same_device(name, (input, target))
    expected = (*input.shape[:dim], *input.shape[dim + 1 :])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"{name}: input {tuple(input.shape)} needs target classes of shape {expected}, "
            f"got {tuple(target.shape)}"
        )


def _class_weighted(logp: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    if weight is None:
        return logp
    if tuple(weight.shape) != (logp.shape[dim],):
        raise RuntimeError(
            f"weight: expected one number for each of {logp.shape[dim]} classes, "
            f"got shape {tuple(weight.shape)}"
        )
    return logp * weight.reshape(-1, *[1] * (logp.dim() - 1 - dim))


def _pick(
    name: str,
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    dim: int,
) -> tuple[Tensor, Tensor]:
    """Return weighted logp at the target classes, 0 where ignored, and the targets' weights."""
    target = target.long()  # uint8 has no -100
    try:
        picked, ignored = fused.pick(_class_weighted(logp, weight, dim), target, ignore_index, dim)
    except IndexError as error:
        raise IndexError(
            f"{name}: a target is outside the classes [0, {logp.shape[dim]}): {error}"
        ) from None
    counts = ones_like(picked) if weight is None else weight[target.masked_fill(ignored, 0)]
    return picked, counts.masked_fill(ignored, 0.0)


def _weighted_mean(loss: Tensor, counts: Tensor, reduction: str) -> Tensor:
    return loss.sum() / counts.sum() if reduction == "mean" else reduced(loss, reduction)


guard(globals())

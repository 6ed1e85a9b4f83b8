"""The state of autocast in each thread, and the dtype that it gives the tensors of an op.

`amp.autocast` switches it on. Functions of the lists below ask for `casted` while `state.dtypes` is
not empty; while it is empty they only look at that.
"""

from __future__ import annotations

import threading
from typing import Any

from minitorch import recording
from minitorch.core.dtypes import HALVES, bfloat16, dtype, float16, float32

# PyTorch's lists ("Automatic Mixed Precision package", op reference), as far as there are such ops.
_PRODUCTS = {"matmul", "linear", "rnn", "lstm", "gru"}
_LOWER = {"cpu": _PRODUCTS, "cuda": {*_PRODUCTS, "mv"}}
_LOSSES = {
    *("binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "l1_loss"),
    *("mse_loss", "nll_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss"),
    *("cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "soft_margin_loss"),
    *("multi_margin_loss", "multilabel_margin_loss", "triplet_margin_loss"),
}
_ON_GPU = {
    *("exp", "expm1", "log", "log1p", "pow", "reciprocal", "rsqrt", "softplus", "tan"),
    *("cosine_similarity", "cumsum", "layer_norm", "log_softmax", "logsumexp", "norm", "prod"),
    *("softmax", "sum"),
}
_FLOAT32 = {"cpu": {"prod", *_LOSSES}, "cuda": _ON_GPU | _LOSSES}
_WIDEST = {"cpu": set[str](), "cuda": {"dot", "scatter_add"}}
_BANNED = """\
nn.functional.binary_cross_entropy and nn.BCELoss are unsafe to autocast.
Many models use a sigmoid layer right before the binary cross entropy layer. In this case, combine
the two layers using binary_cross_entropy_with_logits or BCEWithLogitsLoss, which are safe."""
_DEFAULTS = {"cpu": bfloat16}  # on a GPU float16


class _State(threading.local):
    """dtypes: the half of each device type for which autocast is on.

    chosen: the dtype that the innermost block of a device type has, on or off; the next block's
    default. depth: how many blocks are open. caches: whether casts of weights are kept until the
    outermost one ends. casts: these, by the weight's id, with what they were made of.
    """

    dtypes: dict[str, dtype] = {}  # noqa: RUF012  (replaced, never changed)
    chosen: dict[str, dtype] = {}  # noqa: RUF012
    depth = 0
    caches = True

    def __init__(self) -> None:
        self.casts: dict[int, tuple[Any, ...]] = {}


state = _State()


def default_dtype(device_type: str) -> dtype:
    """The dtype that autocast takes on a device where none is given."""
    return state.chosen.get(device_type) or _DEFAULTS.get(device_type, float16)


def casted(name: str, *tensors: Any) -> list[Any]:
    """The tensors (None stays) in the dtype that autocast gives the function of this name."""
    kind = next(t for t in tensors if t is not None).device.type
    half, list_of = state.dtypes.get(kind), "cpu" if kind == "cpu" else "cuda"
    if half is None:
        return list(tensors)
    if name == "binary_cross_entropy" and list_of == "cuda":  # -log(1 - x) of a rounded x
        raise RuntimeError(_BANNED)
    if name in _LOWER[list_of]:
        return [_cast(t, half) for t in tensors]
    widest = name in _WIDEST[list_of] and any(t.dtype is float32 for t in tensors)
    if widest or name in _FLOAT32[list_of]:
        return [_cast(t, float32) for t in tensors]
    return list(tensors)


def _cast(x: Any, to: dtype) -> Any:
    """x in a dtype; float64, integers and None stay. A weight's cast is made once a step."""
    if x is None or not (x.dtype is float32 or x.array.dtype in HALVES) or x.dtype is to:
        return x
    if not (state.caches and state.depth and x.requires_grad and x.is_leaf and to is not float32):
        return x.to(to)
    weight, array, writer, version, cast = state.casts.get(id(x), (None,) * 5)
    same = weight is x and array is x.array and version == x.version[0] and cast.dtype is to
    if not same or writer is not recording.recorder:  # a recorded step makes its own casts
        cast = x.to(to)
        if cast.requires_grad:
            state.casts[id(x)] = x, x.array, recording.recorder, x.version[0], cast
    return cast


class off:
    """Switch autocast off in a block, on every device."""

    def __enter__(self) -> None:
        self._before, state.dtypes = state.dtypes, {}

    def __exit__(self, *_: object) -> None:
        state.dtypes = self._before

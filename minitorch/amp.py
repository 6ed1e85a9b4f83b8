"""Mixed precision: PyTorch's `torch.amp`, with `autocast` and `GradScaler`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial, wraps
from numbers import Real
from typing import Any

from minitorch import backend, underived
from minitorch.autocasting import default_dtype, state
from minitorch.boundary import guard
from minitorch.contexts import decorated
from minitorch.core.dtypes import as_dtype, bfloat16, dtype, float16
from minitorch.core.grad_mode import no_grad
from minitorch.core.pytree import tree_map
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.optim import Optimizer

__all__ = [
    "GradScaler",
    "autocast",
    "custom_bwd",
    "custom_fwd",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_enabled",
]


# ---------------------------------------------------------------------- autocast
def is_autocast_available(device_type: str) -> bool:
    """Whether there is a kind of device of this name, which autocast can be asked for."""
    try:
        backend.Device(device_type)
    except (RuntimeError, ValueError):
        return False
    return True


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread, for a kind of device.

    Raises RuntimeError for a device that does not exist, TypeError for what is no string.
    """
    return backend.Device(device_type).type in state.dtypes


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype of the innermost block for a kind of device, on or off, or else the default.

    Raises RuntimeError for a device that does not exist, TypeError for what is no string.
    """
    return default_dtype(backend.Device(device_type).type)


def _check_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


class autocast:
    """Run ops of a block (or of a decorated function) in the dtype that suits each.

    device_type: "cpu", "cuda" or "sim"; other devices go on as before. dtype: bfloat16 or float16;
    None: bfloat16 on the CPU, float16 on a GPU. Matrix products, `linear` and recurrent layers
    take halves. Losses, and on a GPU also sums, softmax, norms, exp, log, pow and their like, take
    float32. All else takes what it is given; of two dtypes the wider one. float64 stays.
    A weight (a leaf in float32 that requires grad) is cast once until the outermost block ends, or
    until it changes, unless `cache_enabled` is False. Its gradient has its own dtype. `backward`
    computes in the dtypes of the forward pass, inside of the block or outside.

    Blocks nest; one without a dtype takes that of the block around it, even if that is off.

    Raises ValueError for a device_type that is no string, RuntimeError for one that does not
    exist, and for bfloat16 on a GPU of compute capability below 8.0, TypeError for a dtype that is
    none and for an `enabled` that is no bool. Another dtype, or no GPU, is a warning, and autocast
    stays off.

    >>> layer = nn.Linear(2, 3, device="cpu")
    >>> with minitorch.autocast("cpu"):
    ...     layer(minitorch.ones(1, 2, device="cpu")).dtype
    minitorch.bfloat16
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        _check_type(device_type)
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        if not isinstance(enabled, bool):
            raise TypeError(f"enabled: expected a bool, got {enabled!r}")
        self.device = backend.Device(device_type).type
        self.fast_dtype = default_dtype(self.device) if dtype is None else as_dtype(dtype)
        self._caches = state.caches if cache_enabled is None else cache_enabled
        self._enabled = enabled and self._works()
        self._before: list[tuple[Any, Any, bool]] = []

    def _works(self) -> bool:
        """Whether autocast can be on; a warning says why not."""
        reason = backend.why_unavailable(self.device)
        if reason is not None:
            warnings.warn(f"{reason}. Disabling autocast.", UserWarning, stacklevel=4)
            return False
        if self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"In {self.device.upper()} autocast, but the target dtype {self.fast_dtype} is not "
                f"supported. Disabling autocast.\n{self.device.upper()} Autocast only supports "
                "dtypes of minitorch.bfloat16, minitorch.float16 currently.",
                UserWarning,
                stacklevel=4,
            )
            return False
        if self.fast_dtype is bfloat16:
            _require_bfloat16(self.device)
        return True

    def __enter__(self) -> autocast:
        self._before.append((state.dtypes, state.chosen, state.caches))
        others = {kind: half for kind, half in state.dtypes.items() if kind != self.device}
        state.chosen = state.chosen | {self.device: self.fast_dtype}
        state.dtypes = others | ({self.device: self.fast_dtype} if self._enabled else {})
        state.caches = self._caches
        state.depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        state.depth -= 1
        if not state.depth:
            state.casts.clear()
        state.dtypes, state.chosen, state.caches = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(
                "autocast()(func) requires a callable, but got "
                f"{type(function).__name__}. Did you mean to use autocast as a context manager?"
            )
        return decorated(lambda: self, function)


def _require_bfloat16(device_type: str) -> None:
    """RuntimeError for a GPU whose tensor cores do not take bfloat16."""
    gpu = backend.named(device_type).gpu
    if gpu is None:
        return
    major, minor = gpu.capability()
    if major < 8:
        raise RuntimeError(
            f"Current {device_type} device, of compute capability {major}.{minor}, does not "
            "support bfloat16, which takes 8.0. Please switch dtype to float16."
        )


def _casting(value: Any, device_type: str, to: dtype) -> Any:
    """A pytree, its float tensors of that device (but those in float64) in a dtype."""

    def cast(x: Any) -> Any:
        fits = isinstance(x, Tensor) and x.is_floating_point() and x.device.type == device_type
        return x.to(to) if fits and x.element_size() < 8 else x

    return tree_map(cast, value)


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: dtype | None = None
) -> Any:
    """Decorate the `forward` of an `autograd.Function` that is used under autocast.

    It runs under the autocast that it meets. With cast_inputs, under autocast, its tensors are
    cast to this dtype and it runs with autocast off. Its `backward` needs `custom_bwd`.
    """
    _check_type(device_type)
    if fwd is None:
        return partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @wraps(forward)
    def decorated_forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        enabled = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return forward(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            args, kwargs = _casting((args, kwargs), device_type, cast_inputs)
            return forward(ctx, *args, **kwargs)

    return decorated_forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """Decorate the `backward` of such a function: it runs under its forward's autocast."""
    _check_type(device_type)
    if bwd is None:
        return partial(custom_bwd, device_type=device_type)
    backward = bwd

    @wraps(backward)
    def decorated_backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._dtype, ctx._fwd_used_autocast):
            return backward(ctx, *args, **kwargs)

    return decorated_backward


# ---------------------------------------------------------------------- gradient scaling
_unscale_all_ = underived.update("unscale_all_")
_update_scale_ = underived.update("update_scale_")


class _Stage(Enum):
    READY, UNSCALED, STEPPED = range(3)


_EARLIER = (
    "This may indicate your script did not use scaler.scale(loss or outputs) earlier in the "
    "iteration."
)


class GradScaler:
    """Scale a loss up, so that its gradients in float16 do not underflow, and gradients down again.

        with minitorch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    A step whose gradients hold an infinity or nan changes nothing, and `update` multiplies the
    scale by backoff_factor; after growth_interval steps in a row without one it multiplies it by
    growth_factor. The check, the step that may be skipped and the new scale happen on the device,
    for which the host does not wait, in compiled steps too; an optimizer's `state_dict` counts the
    steps that were not skipped. device: "cuda", "cpu" or "sim"; a warning, and no scaling, where
    it does not work. Factors of 1 are an AssertionError. Parameters are on one device; of
    row-sparse gradients the values are scaled.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = backend.Device(device).type
        reason = backend.why_unavailable(self._device) if enabled else None
        if reason is not None:
            warnings.warn(f"GradScaler: {reason}. Disabling.", UserWarning, stacklevel=3)
        self._enabled = bool(enabled) and reason is None
        if self._enabled and growth_factor <= 1.0:
            raise AssertionError(f"The growth factor must be > 1.0, got {growth_factor}.")
        if self._enabled and backoff_factor >= 1.0:
            raise AssertionError(f"The backoff factor must be < 1.0, got {backoff_factor}.")
        self._initial = [float(init_scale), 0.0]
        self._state: Tensor | None = None  # (2,): the scale, and the steps since it changed
        self._scale: Any = None  # a view of it
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._stages: dict[int, _Stage] = {}
        self._checked: dict[int, Optimizer] = {}  # since the last `update`

    def _begin(self, device: backend.Device) -> None:
        self._state = tensor(self._initial, device=device)
        self._scale = self._state[0]

    def scale(self, outputs: Any) -> Any:
        """The outputs, a tensor or an iterable of them, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._begin(outputs.device)
            return outputs * self._scale
        if not isinstance(outputs, Iterable):
            raise ValueError("outputs must be a Tensor or an iterable of Tensors")
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    def _begun(self, name: str) -> Tensor:
        if self._state is None:
            raise AssertionError(f"Attempted {name} but _scale is None. {_EARLIER}")
        return self._state

    @no_grad()
    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, to clip them before `step`."""
        if not self._enabled:
            return
        begun = self._begun("unscale_")
        stage = self._stages.get(id(optimizer), _Stage.READY)
        if stage is _Stage.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if stage is _Stage.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        grads = _grads(optimizer)
        if grads:
            if optimizer._skip is None:
                optimizer._skip = tensor([0.0, 0.0], device=begun.device)
            _unscale_all_((grads, [optimizer._skip]), ([begun],))
            self._checked[id(optimizer)] = optimizer
        self._stages[id(optimizer)] = _Stage.UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`unscale_`, unless that was done, then the optimizer's step, which may be skipped."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._begun("step")
        stage = self._stages.get(id(optimizer), _Stage.READY)
        if stage is _Stage.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if stage is _Stage.READY:
            self.unscale_(optimizer)
        if id(optimizer) not in self._checked:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = optimizer.step(**kwargs)
        self._stages[id(optimizer)] = _Stage.STEPPED
        return result

    @no_grad()
    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Set the scale for the next step: by what the last one found, or to `new_scale`.

        new_scale: a number, or a tensor of one on the scaler's kind of device.
        """
        if not self._enabled:
            return
        begun = self._begun("update")
        if new_scale is None and not self._checked:
            raise AssertionError("No inf checks were recorded prior to update.")
        if new_scale is not None and not self._is_scale(new_scale):
            raise AssertionError(
                f"new_scale should be a float or a 1-element tensor on {self._device} with "
                f"requires_grad=False, got {new_scale!r}"
            )
        skips = [found._skip for found in self._checked.values() if found._skip is not None]
        # A given scale leaves the steps that count for the next growth as they are.
        _update_scale_(
            ([begun if new_scale is None else begun.clone()], skips),
            (),
            growth=self._growth_factor,
            backoff=self._backoff_factor,
            interval=self._growth_interval,
        )
        if new_scale is not None:
            begun[:1] = new_scale
        self._stages.clear()
        self._checked.clear()

    def _is_scale(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return isinstance(value, Real)
        return (value.device.type, value.numel(), value.requires_grad) == (self._device, 1, False)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes of a copy, which begins with the numbers of this scaler."""
        if self._stages:
            raise AssertionError(
                "A GradScaler instance may only be copied at the beginning of an iteration, or at "
                "the end after scaler.update()."
            )
        return {**self.__dict__, "_initial": self._numbers(), "_state": None, "_scale": None}

    # ------------------------------------------------------------------ its numbers
    def _numbers(self) -> list[float]:
        """The scale, and the steps since it changed."""
        return self._initial if self._state is None else self._state.tolist()

    def get_scale(self) -> float:
        """The scale; the host waits for the device. 1.0 where the scaler is not enabled."""
        if not self._enabled:
            return 1.0
        return self._initial[0] if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """The factor by which the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """The factor by which the scale shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """The number of steps in a row after which the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the number of steps in a row after which the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, its factors and counts; empty where the scaler is not enabled."""
        if not self._enabled:
            return {}
        scale, tracker = self._numbers()
        return {
            "scale": scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(tracker),
        }

    @no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._initial = [float(state_dict["scale"]), float(state_dict["_growth_tracker"])]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._state is not None:
            self._state.copy_(tensor(self._initial, device=self._state.device))


def _grads(optimizer: Optimizer) -> list[Tensor]:
    """The gradients of an optimizer's parameters, which a scaler can change."""
    grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
    if any(g is not None and g.dtype is float16 for g in grads):
        raise ValueError("Attempting to unscale FP16 gradients.")
    return [g.values if isinstance(g, RowGrad) else g for g in grads if g is not None]


guard(globals())

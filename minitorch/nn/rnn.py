"""Recurrent modules: RNN, GRU and LSTM through time, and their cells for one step.

All inputs of a layer go through its input weights in one product; what depends on the step before
is one op, see `recurrence`. Truncated backpropagation through time is `detach()` on the state
between two chunks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from minitorch.backend import Device
from minitorch.core.dtypes import dtype as DType
from minitorch.core.tensor import Tensor
from minitorch.creation import empty, zeros
from minitorch.nn import functional as F
from minitorch.nn import init
from minitorch.nn.module import Module, Parameter
from minitorch.nn.recurrence import gru, lstm, rnn
from minitorch.operands import conversion
from minitorch.ops import cat, stack

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell"]

DeviceLike = Device | str | None
State = tuple[Tensor, ...]  # (h,) or (h, c), each (N, hidden_size)


# Kind: gates, tensors of the state, all its steps. Those of GRU, where r multiplies a part of the
# product with its bias, take bias_hh; for the others it is added to the other bias before.
_KINDS: dict[str, tuple[int, int, Callable[..., Tensor]]] = {
    "RNN_TANH": (1, 1, partial(rnn, nonlinearity="tanh")),
    "RNN_RELU": (1, 1, partial(rnn, nonlinearity="relu")),
    "LSTM": (4, 2, lstm),
    "GRU": (3, 1, gru),
}


def _mode_of(nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
    return f"RNN_{nonlinearity.upper()}"


def _stacked(state: State) -> Tensor:
    return stack(state) if len(state) > 1 else state[0].unsqueeze(0)


class _Recurrent(Module):
    """The common base of cells and layers: the kind, the weights, and the loop over time steps."""

    bias: bool

    def __init__(self, mode: str, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int):
                raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
            if size <= 0:
                raise ValueError(f"{name} must be greater than zero, got {size}")
        if not isinstance(bias, bool):
            raise TypeError(f"bias should be of type bool, got: {type(bias).__name__}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias

    def _add_weights(
        self, suffix: str, input_size: int, device: DeviceLike, dtype: DType | None
    ) -> None:
        rows = _KINDS[self.mode][0] * self.hidden_size
        shapes: list[tuple[str, tuple[int, ...]]] = [
            ("weight_ih", (rows, input_size)),
            ("weight_hh", (rows, self.hidden_size)),
        ]
        if self.bias:
            shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
        for name, shape in shapes:
            setattr(self, name + suffix, Parameter(empty(*shape, device=device, dtype=dtype)))

    def reset_parameters(self) -> None:
        """Draw new initial values, from U(-1/√hidden_size, 1/√hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _run(self, input: Tensor, state: Tensor, suffix: str) -> Tensor:
        """The states (S, T + 1, N, H), the given one first, of all steps of (T, N, in)."""
        own, all_steps = vars(self), _KINDS[self.mode][2]
        weight, bias, other = own["weight_hh" + suffix], None, None
        if self.bias:
            bias, other = own["bias_ih" + suffix], own["bias_hh" + suffix]
            if all_steps is not gru:
                bias = bias + other
        gates = F.linear(input, own["weight_ih" + suffix], bias)
        if all_steps is not gru:
            return all_steps(gates, state, weight)
        return gru(gates, state, weight, weight.new_zeros(len(weight)) if other is None else other)

    def _check_input(self, input: Tensor, batched: int) -> None:
        """Raise for an input that has not `batched` dimensions, or one less."""
        name, dims = type(self).__name__, (batched - 1, batched)
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: expected a tensor as input, got {type(input).__name__}")
        if input.dim() not in dims:
            raise ValueError(
                f"{name}: Expected input to be {dims[0]}D or {dims[1]}D, got {input.dim()}D instead"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.shape[-1]}"
            )
        dtype = next(self.parameters()).dtype
        if input.dtype is not dtype:
            raise ValueError(
                f"{name}: input dtype ({input.dtype}) does not match weight dtype ({dtype}); "
                f"use input{conversion(dtype)}, or convert the module"
            )

    def _state(self, hx: Any, shape: tuple[int, ...], input: Tensor) -> State:
        """The initial state: `hx`, whose tensors must have this shape, or zeros."""
        name, count = type(self).__name__, _KINDS[self.mode][1]
        if hx is None:
            return (zeros(*shape, device=input.device, dtype=input.dtype),) * count
        given = tuple(hx) if count > 1 and isinstance(hx, (tuple, list)) else (hx,)
        if len(given) != count or not all(isinstance(h, Tensor) for h in given):
            expected = "a tensor" if count == 1 else "a pair of tensors (h_0, c_0)"
            raise TypeError(f"{name}: expected {expected} as hx, got {type(hx).__name__}")
        for label, h in zip(("hx", "cx"), given):
            if h.dtype is not input.dtype:
                raise RuntimeError(
                    f"{name}: {label}: expected {input.dtype}, as the input, got {h.dtype}"
                )
            if tuple(h.shape) != shape:
                raise RuntimeError(
                    f"{name}: {label}: Expected hidden size {shape}, got {tuple(h.shape)}, "
                    f"for an input of shape {tuple(input.shape)}"
                )
        return given

    def extra_repr(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


# ---------------------------------------------------------------------- cells
class _Cell(_Recurrent):
    """One step of one layer, of the kind `_mode`."""

    _mode = ""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: DeviceLike = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(self._mode, input_size, hidden_size, bias)
        self._add_weights("", input_size, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The state after one step: input (N, in) or (in,), states (N, H) or (H,)."""
        self._check_input(input, 2)
        state = self._state(hx, (*input.shape[:-1], self.hidden_size), input)
        x, first = input.unsqueeze(0), _stacked(state)
        if input.dim() == 1:
            x, first = x.unsqueeze(1), first.unsqueeze(1)
        both = self._run(x, first, "")
        index = (1,) if input.dim() == 2 else (1, 0)
        states = tuple([both[(i, *index)] for i in range(len(state))])
        return states if len(states) > 1 else states[0]


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: (N, in), (N, H) -> (N, H).

    Without the batch: (in,), (H,) -> (H,). No `hx` means zeros.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: DeviceLike = None,
        dtype: DType | None = None,
    ) -> None:
        self._mode = _mode_of(nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        kind = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + kind


class GRUCell(_Cell):
    """A gated recurrent unit (Cho et al., 2014): (N, in), (N, H) -> (N, H).

    Without the batch: (in,), (H,) -> (H,). No `hx` means zeros. The rows of the weights are those
    of the gates r, z, n.
    """

    _mode = "GRU"


class LSTMCell(_Cell):
    """Long short-term memory: (N, in), ((N, H), (N, H)) -> ((N, H), (N, H)), the states (h, c).

    Without the batch: (in,) and (H,). No `hx` means zeros. The rows of the weights are those of
    the gates i, f, g, o (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).
    """

    _mode = "LSTM"


# ---------------------------------------------------------------------- layers through time
class RNNBase(_Recurrent):
    """Layers of one kind through time; `mode` is RNN_TANH, RNN_RELU, LSTM or GRU.

    input (T, N, in), with batch_first (N, T, in), or (T, in). Gives the last layer's h of all
    steps, (T, N, D · H) as the input is laid out, and the final state h_n (D · num_layers, N, H),
    for LSTM (h_n, c_n), where D is 2 if bidirectional, else 1. The initial state `hx` has the
    shape of the final one; None means zeros. `dropout` is between the layers, in training.
    Parameters: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then l1, ..., with `_reverse`
    for the direction backwards in time.
    Backward reads the outputs, so they must not be changed in place before it.
    Raises RuntimeError for shapes that do not fit and for a sequence of no steps, ValueError for
    an input of another dtype than the weights'.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: DeviceLike = None,
        dtype: DType | None = None,
    ) -> None:
        if mode not in _KINDS:
            raise ValueError(f"Unrecognized RNN mode: {mode}; expected one of {', '.join(_KINDS)}")
        super().__init__(mode, input_size, hidden_size, bias)
        if num_layers <= 0:
            raise ValueError(f"num_layers must be greater than zero, got {num_layers}")
        if not isinstance(batch_first, bool):
            raise TypeError(
                f"batch_first should be of type bool, got: {type(batch_first).__name__}"
            )
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a number in range [0, 1], got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                UserWarning,
                stacklevel=3,
            )
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self._suffixes = ["", "_reverse"] if bidirectional else [""]
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self._suffixes)
            for suffix in self._suffixes:
                self._add_weights(f"_l{layer}{suffix}", width, device, dtype)
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch's call that lays weights out for cuDNN."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        parameters, size = list(self.parameters()), 4 if self.bias else 2
        return [parameters[i : i + size] for i in range(0, len(parameters), size)]

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Outputs of all steps and the final state, see the class."""
        self._check_input(input, 3)
        batched, swap = input.dim() == 3, self.batch_first and input.dim() == 3
        x = input.transpose(0, 1) if swap else input
        if not x.shape[0]:
            raise RuntimeError(
                f"{type(self).__name__}: expected sequence length to be larger than 0, "
                f"got input of shape {tuple(input.shape)}"
            )
        stacks = self.num_layers * len(self._suffixes)
        first = _stacked(self._state(hx, (stacks, *x.shape[1:-1], self.hidden_size), input))
        if not batched:
            x, first = x.unsqueeze(1), first.unsqueeze(2)
        x, last = self._layers(x, first)
        if not batched:
            x, last = x.squeeze(1), last.squeeze(2)
        states = last.unbind(0)
        return x.transpose(0, 1) if swap else x, states if len(states) > 1 else states[0]

    def _layers(self, x: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's outputs (T, N, D · H) and the final states (S, L · D, N, H)."""
        starts = iter(first.unbind(1))
        ends = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes:
                states = self._run(x.flip(0) if suffix else x, next(starts), f"_l{layer}{suffix}")
                ends.append(states[:, -1])
                outputs.append(states[0, 1:].flip(0) if suffix else states[0, 1:])
            x = outputs[0] if len(outputs) == 1 else cat(outputs, -1)
        return x, stack(ends, 1)

    def extra_repr(self) -> str:
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults["bidirectional"] = False
        shown = [
            f", {name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return f"{self.input_size}, {self.hidden_size}" + "".join(shown)


class RNN(RNNBase):
    """An Elman network: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu.

    Arguments, shapes and errors: see `RNNBase`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        mode = _mode_of(nonlinearity)
        super().__init__(mode, input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units through time (Cho et al., 2014); gates r, z, n.

    Arguments, shapes and errors: see `RNNBase`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory through time; gates i, f, g, o; the state is (h, c).

    Arguments, shapes and errors: see `RNNBase`. There is no `proj_size`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

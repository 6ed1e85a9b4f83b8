"""Recurrent steps through time as one op for each kind: rnn, lstm, gru.

Each is specified by its step in ordinary ops, below; forward mode and derivatives of higher order
go through that. Kernels are in `backend/cpu/recurrent.py` and `kernels/recurrent.cu`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from minitorch import autocasting
from minitorch.autograd import Function
from minitorch.core import families
from minitorch.core.tensor import Tensor
from minitorch.operands import same_device
from minitorch.ops import stack

Gates = Sequence[Tensor]
State = Sequence[Tensor]  # [h] or [h, c], each (N, H)
Step = Callable[[Gates, State, Gates, Gates], State]


# ---------------------------------------------------------------------- one step
# Each takes for every gate the input's part (N, H), the transpose of its rows of weight_hh and, if
# it is not in the input's part already, its bias (H,). Gates apart cost less than cutting one
# product into gates: slices are dear on the way back.


def _tanh_step(x: Gates, state: State, w: Gates, bias: Gates) -> State:
    """h' = tanh(x + W h) (Elman, 1990)."""
    return [(x[0] + state[0] @ w[0]).tanh()]


def _relu_step(x: Gates, state: State, w: Gates, bias: Gates) -> State:
    """h' = max(x + W h, 0)."""
    return [(x[0] + state[0] @ w[0]).relu()]


def _lstm_step(x: Gates, state: State, w: Gates, bias: Gates) -> State:
    """c' = f c + i g, h' = o tanh(c') (Hochreiter and Schmidhuber, 1997; Gers et al., 2000)."""
    h, c = state
    i, f, o = [(x[k] + h @ w[k]).sigmoid() for k in (0, 1, 3)]
    c = f * c + i * (x[2] + h @ w[2]).tanh()
    return [o * c.tanh(), c]


def _gru_step(x: Gates, state: State, w: Gates, bias: Gates) -> State:
    """h' = n + z (h - n), n = tanh(x_n + r (W_n h + b_n)) (Cho et al., 2014; r as in cuDNN)."""
    (h,) = state
    r, z = [(x[k] + h @ w[k] + bias[k]).sigmoid() for k in (0, 1)]
    n = (x[2] + r * (h @ w[2] + bias[2])).tanh()
    return [n + z * (h - n)]


# ---------------------------------------------------------------------- all steps
class _Steps(Function):
    """As `unbind(0)`, but T steps cost one gradient of the whole, not T that are mostly zeros."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> tuple[Tensor, ...]:
        return input.unbind(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return stack(grads)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, ...]:
        return tangent.unbind(0)


_FEW = 8  # steps that ordinary ops take apart: they can be read as symbols


def _unbound(input: Tensor) -> tuple[Tensor, ...]:
    return input.unbind(0)


def _through_time(
    step: Step, gates: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    size = weight.shape[1]
    weights = [w.t() for w in weight.split(size)]
    biases = () if bias is None else bias.split(size)
    apart = _Steps.apply if len(gates) > _FEW else _unbound
    columns = [apart(gate) for gate in gates.split(size, -1)]
    now: State = state.unbind(0)
    states = [now]
    for x in zip(*columns):
        now = step(x, now, weights, biases)
        states.append(now)
    return stack([stack(column) for column in zip(*states)])


_RNN_STEPS: dict[str, Step] = {"tanh": _tanh_step, "relu": _relu_step}


def _rnn_reference(gates: Tensor, state: Tensor, weight: Tensor, nonlinearity: str) -> Tensor:
    return _through_time(_RNN_STEPS[nonlinearity], gates, state, weight)


_rnn = families.fused("rnn", _rnn_reference, 3)
_lstm = families.fused("lstm", partial(_through_time, _lstm_step), 3)
_gru = families.fused("gru", partial(_through_time, _gru_step), 4)


# ---------------------------------------------------------------------- as the modules call them
def _check(name: str, *tensors: Tensor) -> None:
    """RuntimeError unless the operands are on one device, and floats of one dtype."""
    same_device(name, tensors)
    dtypes = {x.dtype: None for x in tensors}
    if len(dtypes) > 1 or not tensors[0].dtype.is_floating_point:
        given = ", ".join(map(str, dtypes))
        raise RuntimeError(f"{name}: expected operands of one floating-point dtype, got {given}")


def rnn(gates: Tensor, state: Tensor, weight: Tensor, nonlinearity: str = "tanh") -> Tensor:
    """All states of an Elman network: gates (T, N, H), state (1, N, H), weight (H, H).

    gates is what each step adds to weight times h, before tanh or relu. The result,
    (1, T + 1, N, H), begins with the given state.
    """
    if autocasting.state.dtypes:
        gates, state, weight = autocasting.casted("rnn", gates, state, weight)
    _check("rnn", gates, state, weight)
    return _rnn(gates, state, weight, nonlinearity=nonlinearity)


def lstm(gates: Tensor, state: Tensor, weight: Tensor) -> Tensor:
    """All states h and c of an LSTM: gates (T, N, 4 H), state (2, N, H), weight (4 H, H).

    The gates are i, f, g, o. The result, (2, T + 1, N, H), begins with the given states.
    """
    if autocasting.state.dtypes:
        gates, state, weight = autocasting.casted("lstm", gates, state, weight)
    _check("lstm", gates, state, weight)
    return _lstm(gates, state, weight)


def gru(gates: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """All states of gated recurrent units: gates (T, N, 3 H), state (1, N, H), weight (3 H, H).

    The gates are r, z, n; bias (3 H,) is added to weight times h. The result, (1, T + 1, N, H),
    begins with the given state.
    """
    if autocasting.state.dtypes:
        gates, state, weight, bias = autocasting.casted("gru", gates, state, weight, bias)
    _check("gru", gates, state, weight, bias)
    return _gru(gates, state, weight, bias)

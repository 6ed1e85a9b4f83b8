"""Floating-point operations of matrix products, counted as they run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from minitorch.boundary import guard
from minitorch.core.dispatch import Op, intercepted

__all__ = ["FlopCounterMode"]


def _matmul(operands: Sequence[Any], results: Sequence[Any]) -> int:
    return int(2 * math.prod(results[0].shape) * operands[0].shape[-1])


def _linear_backward(operands: Sequence[Any], results: Sequence[Any]) -> int:
    """Two products: the gradient times the weight, and its transpose times the input."""
    columns = int(operands[0].shape[-1])
    rows = math.prod(operands[0].shape) // columns if columns else 0
    by_input, by_weight = results[0], results[1]
    flops = 0 if by_input is None else 2 * math.prod(by_input.shape) * columns
    return flops + (0 if by_weight is None else 2 * math.prod(by_weight.shape) * rows)


def _recurrent(operands: Sequence[Any], results: Sequence[Any]) -> int:
    """A product of each step's h and the weight."""
    gates, weight = operands[0], operands[2]
    return int(2 * math.prod(gates.shape) * weight.shape[1])


def _recurrent_backward(operands: Sequence[Any], results: Sequence[Any]) -> int:
    """Each step's gradient times the weight, and the transpose of it times h."""
    (_, states, n, _), weight = operands[0].shape, operands[-1]
    flops = int(2 * (states - 1) * n * math.prod(weight.shape))
    return flops if results[2] is None else 2 * flops


# What a call of an op's kernel costs, from its operands and results: a multiplication and an
# addition are two.
FLOPS: dict[str, Callable[[Sequence[Any], Sequence[Any]], int]] = {
    "matmul": _matmul,
    "linear": _matmul,
    "linear_backward": _linear_backward,
    **dict.fromkeys(("rnn", "lstm", "gru"), _recurrent),
    **dict.fromkeys(("rnn_backward", "lstm_backward", "gru_backward"), _recurrent_backward),
}


class FlopCounterMode:
    """Counts the operations of matrix products while it is on, forward and backward.

        with FlopCounterMode(display=False) as counter:
            model(x).sum().backward()
        counter.get_total_flops()

    As PyTorch's, it counts products of matrices (matmul, linear layers) and nothing else, exactly,
    on every device and in all threads. Compiled steps run as they are inside. display: print a
    table at the end.
    """

    def __init__(self, display: bool = True) -> None:
        self._display = display
        self._counts: Counter[str] = Counter()
        self._lock = Lock()
        self._interception = intercepted(self._counting)

    def _counting(self, op: Op, array_type: type, kernel: Callable[..., Any]) -> Callable[..., Any]:
        flops = FLOPS.get(op.name)
        if flops is None:
            return kernel

        def counted(*operands: Any, **params: Any) -> Any:
            given = kernel(*operands, **params)
            results = given if isinstance(given, (tuple, list)) else (given,)
            with self._lock:
                self._counts[op.name] += flops(operands, results)
            return given

        return counted

    def get_total_flops(self) -> int:
        """The number of operations so far."""
        return sum(self._counts.values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """The same by op, under the name "Global"."""
        return {"Global": dict(self._counts)}

    def get_table(self) -> str:
        """A line for each op, then the total."""
        rows = [*sorted(self._counts.items()), ("total", self.get_total_flops())]
        return "\n".join(f"{name:<16}{flops:>20,} FLOP" for name, flops in rows)

    def __enter__(self) -> FlopCounterMode:
        self._counts.clear()
        self._interception.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._interception.__exit__()
        if self._display:
            print(self.get_table())


guard(globals())

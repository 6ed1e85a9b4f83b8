"""Activation checkpointing: the backward pass computes a segment again, and so saves memory.

Chen et al. 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from minitorch import autograd, random
from minitorch.autograd import Function
from minitorch.boundary import guard
from minitorch.core import pytree
from minitorch.core.grad_mode import enable_grad, grad_mode
from minitorch.core.tensor import Node, Tensor, tensor_of

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(RuntimeError):
    """A function gave other results when backward called it again."""


class _Segment:
    """A function whose results are on the tape without its intermediate values."""

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, preserve_rng_state: bool
    ) -> None:
        self.function = function
        leaves, self.treedef = pytree.flatten((args, kwargs))
        self.indices = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.tensors = [leaves[i] for i in self.indices]
        self.others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.random_state = random.get_rng_state() if preserve_rng_state else None

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """The function's result for these tensor arguments, recorded."""
        leaves = list(self.others)
        for i, tensor in zip(self.indices, tensors, strict=True):
            leaves[i] = tensor
        args, kwargs = pytree.unflatten(leaves, self.treedef)
        with enable_grad():
            return self.function(*args, **kwargs)

    def again(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results that have a gradient, computed again with the same random numbers."""
        now = random.get_rng_state()
        if self.random_state is not None:
            random.set_rng_state(self.random_state)
        try:
            return _tracked(self.run(tensors))
        finally:
            if self.random_state is not None:
                random.set_rng_state(now)


def _check_same(before: Sequence[Tensor], again: Sequence[Tensor]) -> None:
    """CheckpointError where the second run gave other results than the first one did."""
    first, second = ([(tuple(y.shape), y.dtype) for y in ys] for ys in (before, again))
    if first != second:
        raise CheckpointError(
            "checkpoint: function gave other results when backward called it again: "
            f"{_told(second)} with a gradient, and {_told(first)} before"
        )


def _told(kinds: Sequence[tuple[tuple[int, ...], Any]]) -> str:
    return ", ".join(f"{shape} {dtype}" for shape, dtype in kinds) or "none"


def _tracked(result: Any) -> list[Tensor]:
    return [y for y in pytree.flatten(result)[0] if isinstance(y, Tensor) and y.requires_grad]


def _apart(x: Tensor) -> Tensor:
    """x as a leaf of its own, with a gradient if x has one."""
    return x.detach().requires_grad_() if x.requires_grad else x


def _placeholder(node: Node) -> Tensor:
    """A placeholder of a leaf that the function uses but was not given, such as a parameter."""
    return tensor_of(None, node)


@contextmanager
def _without_hooks(closed: Sequence[Tensor]) -> Iterator[None]:
    """Hooks of parameters wait for the outer backward pass, which brings the whole gradient."""
    nodes = [x.node for x in closed if x.node is not None]
    hooks = [node.hooks for node in nodes]
    try:
        for node in nodes:
            node.hooks = None
        yield
    finally:
        for node, own in zip(nodes, hooks, strict=True):
            node.hooks = own


class _Checkpoint(Function):
    """The results of a segment, which backward and forward mode compute again."""

    @staticmethod
    def forward(
        ctx: Any, segment: _Segment, results: tuple[Tensor, ...], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        count = len(segment.tensors)
        ctx.segment = segment
        ctx.closed = inputs[count:]
        ctx.save_for_backward(*inputs[:count])
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        deep = grad_mode.enabled  # create_graph: stay connected to the history of the arguments
        given = [autograd.alias(x) if deep else _apart(x) for x in ctx.saved_tensors]
        outputs = ctx.segment.again(given)
        _check_same(grads, outputs)
        inputs = [*given, *ctx.closed]
        moving = [x for x in inputs if x.node is not None]
        with _without_hooks(ctx.closed):
            found = iter(
                autograd.grad(outputs, moving, grads, create_graph=deep, allow_unused=True)
            )
        return None, None, *[None if x.node is None else next(found) for x in inputs]

    @staticmethod
    def jvp(ctx: Any, segment: Any, results: Any, *tangents: Tensor | None) -> tuple[Any, ...]:
        with enable_grad():
            given = [autograd.alias(x) for x in ctx.saved_tensors]
        outputs = ctx.segment.again(given)
        pairs = [
            (x, t)
            for x, t in zip([*given, *ctx.closed], tangents, strict=True)
            if t is not None and x.node is not None
        ]
        inputs, moving = zip(*pairs, strict=True)
        return tuple(autograd.push_forward(outputs, inputs, moving, grad_mode.enabled))


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), of which only arguments and results are saved for backward.

    The backward pass calls function again, with the random state of the first call (unless
    preserve_rng_state is False); so it must do the same both times, and what it changes, such as
    running statistics of a batch norm, changes twice. Parameters that it uses get their
    gradients; other tensors that have been computed should be arguments, not closed over: their
    history would be traversed again. Arguments and results are pytrees of tensors and other
    objects. Higher derivatives and forward mode work. use_reentrant: accepted for PyTorch's sake;
    there is one way here, which can do what either can.
    Backward raises CheckpointError where the results have other shapes or dtypes than before.
    """
    if not callable(function):
        raise TypeError(
            f"checkpoint: function: expected something to call, got {type(function).__name__}"
        )
    if not grad_mode.enabled:
        return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, preserve_rng_state)
    inner = [_apart(x) for x in segment.tensors]
    result = segment.run(inner)
    tracked = _tracked(result)
    if not tracked:
        return result
    own = {id(x.node) for x in inner}
    nodes = autograd.topological([y.node for y in tracked if y.node is not None])
    closed = [_placeholder(node) for node in nodes if node.op is None and id(node) not in own]
    del nodes
    apart = tuple([y.detach() for y in tracked])
    outputs = iter(_Checkpoint.apply(segment, apart, *segment.tensors, *closed))
    return pytree.tree_map(
        lambda y: next(outputs) if isinstance(y, Tensor) and y.requires_grad else y, result
    )


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """The functions (a Sequential, or a list) one after another, in `segments` equal parts.

    Each part but the last is a `checkpoint`. Raises ValueError for fewer than 1 segment.
    """
    functions = list(functions)
    if not isinstance(segments, int) or segments < 1:
        raise ValueError(f"checkpoint_sequential: segments: expected 1 or more, got {segments!r}")
    size = max(1, len(functions) // segments)

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for function in functions[start:end]:
                x = function(x)
            return x

        return run

    end = size * (segments - 1) if segments <= len(functions) else len(functions) - 1
    for start in range(0, end, size):
        input = checkpoint(
            part(start, min(start + size, end)), input, use_reentrant=use_reentrant, **kwargs
        )
    return part(max(end, 0), len(functions))(input)


guard(globals())

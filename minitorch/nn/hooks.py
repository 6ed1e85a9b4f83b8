"""Hooks on the gradients of a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from minitorch.autograd import Function
from minitorch.core import pytree
from minitorch.core.grad_mode import grad_mode
from minitorch.core.tensor import Tensor

if TYPE_CHECKING:
    from minitorch.nn.module import Module


class BackwardHook(NamedTuple):
    """A hook of a module's backward pass, kept among its forward pre-hooks.

    before: called as `hook(module, grad_output)` ahead of that pass, else after it as
    `hook(module, grad_input, grad_output)`.
    """

    hook: Callable[..., Any]
    before: bool


class _Observe(Function):
    """Copies of tensors, whose gradients pass through `see` in the backward pass."""

    @staticmethod
    def forward(ctx: Any, see: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.see = see
        ctx.set_materialize_grads(False)
        return tuple([t.clone() for t in tensors])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return None, *ctx.see(grads)

    @staticmethod
    def jvp(ctx: Any, see: Any, *tangents: Any) -> tuple[Any, ...]:
        return tangents


class Observer:
    """One call of a module with backward hooks: observes the gradients of inputs and outputs."""

    def __init__(self, module: Module, hooks: Sequence[BackwardHook]) -> None:
        self._module = module
        self._before = [h.hook for h in hooks if h.before]
        self._after = [h.hook for h in hooks if not h.before]
        self._inputs: list[int] = []  # which arguments have a gradient
        self._argument_count = 0
        self._outputs: list[int] = []
        self._output_count = 0
        self._grad_output: tuple[Any, ...] = ()

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The positional arguments, observed."""
        self._argument_count = len(args)
        observed, self._inputs = _observed(self._see_inputs, list(args))
        return tuple(observed)

    def outputs(self, output: Any) -> Any:
        """The module's output, observed: a tensor, or a pytree with tensors."""
        leaves, treedef = pytree.flatten(output)
        self._output_count = len(leaves)
        observed, self._outputs = _observed(self._see_outputs, leaves)
        return pytree.unflatten(observed, treedef)

    def _see_outputs(self, grads: Sequence[Any]) -> Sequence[Any]:
        given = _spread(grads, self._outputs, self._output_count)
        for hook in self._before:
            given = _replaced("grad_output", given, hook(self._module, given))
        if self._inputs:
            self._grad_output = given  # until the gradients of the inputs are known
        else:
            self._call_after((None,) * self._argument_count, given)
        return [given[i] for i in self._outputs]

    def _see_inputs(self, grads: Sequence[Any]) -> Sequence[Any]:
        given = _spread(grads, self._inputs, self._argument_count)
        grad_output, self._grad_output = self._grad_output, ()
        given = self._call_after(given, grad_output)
        return [given[i] for i in self._inputs]

    def _call_after(
        self, grad_input: tuple[Any, ...], grad_output: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        for hook in self._after:
            answer = hook(self._module, grad_input, grad_output)
            grad_input = _replaced("grad_input", grad_input, answer)
        return grad_input


def observer_of(module: Module) -> Observer | None:
    """The observer of a call of a module; None if the module has no backward hooks."""
    hooks = [h for h, _ in module._forward_pre_hooks.values() if isinstance(h, BackwardHook)]
    return Observer(module, hooks) if hooks else None


def _observed(see: Callable[..., Any], values: list[Any]) -> tuple[list[Any], list[int]]:
    """The values, with observed copies of those that require grad, and the indices of these."""
    if not grad_mode.enabled:
        return values, []
    indices = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if indices:
        for i, copy in zip(
            indices, _Observe.apply(see, *[values[i] for i in indices]), strict=True
        ):
            values[i] = copy
    return values, indices


def _spread(grads: Sequence[Any], indices: Sequence[int], count: int) -> tuple[Any, ...]:
    spread: list[Any] = [None] * count
    for i, g in zip(indices, grads, strict=True):
        spread[i] = g
    return tuple(spread)


def _replaced(what: str, given: tuple[Any, ...], answer: Any) -> tuple[Any, ...]:
    """The gradients that a hook returned, or the given ones if it returned None."""
    if answer is None:
        return given
    replaced: tuple[Any, ...] = answer if isinstance(answer, tuple) else (answer,)
    if len(replaced) != len(given):
        raise RuntimeError(
            f"backward hook: returned {len(replaced)} gradients as {what}, expected {len(given)}"
        )
    return replaced

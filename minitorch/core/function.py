"""`autograd.Function`: users' own ops, with both rules by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch.core.dispatch import AnyOp, wrapped_rule
from minitorch.core.engine import owned
from minitorch.core.grad_mode import grad_mode, no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor, tensor_of

__all__ = ["Function", "FunctionCtx"]


class FunctionCtx:
    """The context in which a Function's forward saves tensors for its backward."""

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._versions: list[Any] = []
        self._results: dict[int, int] = {}  # id of a result -> its number
        self._not_differentiable: set[int] = set()
        self._node: Node | None = None  # the shared node, while a rule runs
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save tensors (arguments or results) for backward, version-checked."""
        self._saved = tensors
        self._versions = [None if t is None else t._version for t in tensors]

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for results that nobody used."""
        self._materialize = bool(value)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these results have no gradient."""
        self._not_differentiable = {id(t) for t in tensors}

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The saved tensors; RuntimeError where one was changed in place since."""
        for tensor, version in zip(self._saved, self._versions, strict=True):
            if tensor is not None and tensor._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by "
                    f"an inplace operation: a saved tensor of shape {tuple(tensor.shape)}"
                )
        return tuple(self._on_tape(t) for t in self._saved)

    def _on_tape(self, tensor: Any) -> Any:
        """A saved result gets its node again (to save it with the node would be a cycle)."""
        i = self._results.get(id(tensor))
        if i is None or self._node is None:
            return tensor
        return tensor_of(tensor.array, result_node(self._node, i, tensor), tensor.version)


def result_node(common: Node, i: int, result: Tensor) -> Node:
    """The node of the i-th of several results; its parent is the node that the results share."""
    return Node(_result_op, (common,), (), i, result.array.shape)


class Part:
    """Gradients of some of a Function's results, on their way to the shared node."""

    __slots__ = ("parts",)

    def __init__(self, parts: dict[int, Tensor]) -> None:
        self.parts = parts

    def __add__(self, other: Part) -> Part:
        merged = dict(self.parts)
        for i, g in other.parts.items():
            merged[i] = merged[i] + g if i in merged else g
        return Part(merged)


class Function:
    """Base of users' own differentiable ops, as in PyTorch.

    Subclasses define `forward(ctx, *args)` and `backward(ctx, *grads)`, and `jvp(ctx, *tangents)`
    if forward mode is wanted, as static methods; use them by `MyFunction.apply(*args)`.

    >>> class Cube(minitorch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x**2 * g
    >>> x = minitorch.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """The result, a Tensor or a tuple of Tensors, computed without recording."""
        raise NotImplementedError("Function: define forward(ctx, *args)")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save tensors for backward. With this method, forward is `forward(*args)`."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """A gradient (or None) for each argument of forward."""
        raise NotImplementedError("Function: define backward(ctx, *grads)")

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The tangent of the result, for tangents (or None) of the arguments."""
        raise NotImplementedError("Function: define jvp(ctx, *tangents) for forward mode")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward on the arguments and record it."""
        ctx = FunctionCtx()
        parents = tuple([a.node if isinstance(a, Tensor) else None for a in args])
        tracked = grad_mode.enabled and any(p is not None for p in parents)
        ctx.needs_input_grad = tuple(p is not None for p in parents)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        results = result if isinstance(result, tuple) else (result,)
        for r in results:
            if not isinstance(r, Tensor):
                raise TypeError(f"{cls.__name__}.forward: expected tensors, got {type(r).__name__}")
        if not tracked:
            return result
        kinds = [(tuple(r.shape), r.dtype, r.device) for r in results]
        common = Node(_function_op(cls), parents, ctx, kinds, ())
        ctx._results = {id(r): i for i, r in enumerate(results)}
        outputs = tuple(
            r
            if id(r) in ctx._not_differentiable
            else tensor_of(r.array, result_node(common, i, r), r.version)
            for i, r in enumerate(results)
        )
        return outputs if isinstance(result, tuple) else outputs[0]


class FunctionOp(AnyOp):
    """The op of the node that a Function's results share."""

    __slots__ = ("cls", "name")

    def __init__(self, cls: type[Function]) -> None:
        self.cls = cls
        self.name = cls.__name__

    def _call(self, rule: Any, node: Node, values: Sequence[Any]) -> Any:
        node.saved._node = node
        try:
            return rule(node.saved, *values)
        finally:
            node.saved._node = None

    def vjp(self, node: Node, g: Part) -> list[Any]:
        """Call the user's backward."""
        gradients: list[Any] = wrapped_rule("vjp", self._vjp)(node, g)
        return gradients

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        """Call the user's jvp."""
        return wrapped_rule("jvp", self._jvp)(node, tangents)

    def _vjp(self, node: Node, g: Part) -> list[Any]:
        if node.saved is None:
            raise RuntimeError(
                f"trying to backward through the graph a second time: {self.name} is freed; "
                "specify retain_graph=True the first time"
            )
        if self.cls.backward is Function.backward:
            raise NotImplementedError(f"{self.name}: define backward(ctx, *grads) for reverse mode")
        given = [owned(g.parts.get(i)) for i in range(len(node.params))]
        if node.saved._materialize:
            like = next(iter(g.parts.values()))
            given = [
                like.new_zeros(shape, dtype=dtype, device=device) if part is None else part
                for part, (shape, dtype, device) in zip(given, node.params, strict=True)
            ]
        grads = self._call(self.cls.backward, node, given)
        grads = grads if isinstance(grads, tuple) else (grads,)
        if len(grads) != len(node.parents):
            raise RuntimeError(
                f"{self.name}.backward: returned {len(grads)} gradients, "
                f"expected {len(node.parents)}, one for each argument of forward"
            )
        for i, (p, gradient) in enumerate(zip(node.parents, grads, strict=True)):
            if p is None or gradient is None:
                continue
            if not isinstance(gradient, (Tensor, RowGrad)):
                raise TypeError(
                    f"{self.name}.backward: gradient {i}: expected a tensor or None, got "
                    f"{type(gradient).__name__}"
                )
            if tuple(gradient.shape) != p.shape:
                raise RuntimeError(
                    f"{self.name}.backward: gradient {i} has shape {tuple(gradient.shape)}, "
                    f"expected {p.shape}"
                )
        return list(grads)

    def _jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        if self.cls.jvp is Function.jvp:
            raise NotImplementedError(f"{self.name}: define jvp(ctx, *tangents) for forward mode")
        result = self._call(self.cls.jvp, node, tangents)
        return result if isinstance(result, tuple) else (result,)


_function_ops: dict[type[Function], FunctionOp] = {}


def _function_op(cls: type[Function]) -> FunctionOp:
    if cls not in _function_ops:
        _function_ops[cls] = FunctionOp(cls)
    return _function_ops[cls]


class _ResultOp(AnyOp):
    """The op of a single result's node; the node's `params` is the number of the result."""

    __slots__ = ()
    name = "function_result"

    def vjp(self, node: Node, g: Tensor) -> list[Any]:
        """Hand the gradient to the shared node."""
        return [Part({node.params: g})]

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        """Pick the tangent of this result."""
        return tangents[0][node.params]


_result_op = _ResultOp()

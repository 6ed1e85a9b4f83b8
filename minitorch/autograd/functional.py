"""Jacobians, Hessians and products with them, with the arguments of `torch.autograd.functional`.

`inputs` is a tensor or a tuple of them, and func takes them as its arguments; its result is a
tensor or a tuple of them. Results have no graph unless `create_graph`. With `strict`, a
RuntimeError says which result depends on no input, and on which input no result depends (in
matrices: which result does not depend on which input), or, with a graph, which first derivative
depends on no input; else such derivatives are zero, or constants.
There is no vectorisation over passes: `vectorize` is accepted and changes nothing.
`minitorch.func` has the same derivatives as functions of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch import creation
from minitorch.autograd.recorded import Recorded
from minitorch.boundary import guard
from minitorch.core.engine import push_forward
from minitorch.core.grad_mode import enable_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]
STRATEGIES = ("reverse-mode", "forward-mode")


class _Recorded(Recorded):
    """func(*inputs), recorded with variables of its own."""

    def __init__(self, name: str, func: Function, inputs: Any, create_graph: bool) -> None:
        self.name = name
        self.create_graph = create_graph
        self.one_input = not isinstance(inputs, tuple)
        self.variables = [
            _variable(name, i, x, create_graph)
            for i, x in enumerate((inputs,) if self.one_input else inputs)
        ]
        with enable_grad():
            result = func(*self.variables)
        self.one_output = not isinstance(result, tuple)
        self.outputs = [result] if self.one_output else list(result)
        for y in self.outputs:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{name}: the function must return a tensor or a tuple of tensors, got "
                    f"{type(y).__name__}"
                )

    def settle(self, y: Tensor) -> Tensor:
        """A result, with its graph if one was asked for."""
        return y if self.create_graph else y.detach()

    def like_outputs(self, ys: Sequence[Any]) -> Any:
        """ys in the structure of func's result: a tensor or a tuple."""
        return ys[0] if self.one_output else tuple(ys)

    def like_inputs(self, xs: Sequence[Any]) -> Any:
        """xs in the structure of the inputs: a tensor or a tuple."""
        return xs[0] if self.one_input else tuple(xs)

    def value(self) -> Any:
        """func's result."""
        return self.like_outputs([self.settle(y) for y in self.outputs])

    def gradients(self, ys: Sequence[Tensor], gs: Sequence[Tensor], create: bool) -> list[Tensor]:
        """The dense gradients of the variables, for cotangents gs of ys."""
        grads = self.pull(ys, gs, create)
        return [g.to_dense() if isinstance(g, RowGrad) else g for g in grads]

    def check_strict(self, ys: Sequence[Tensor], what: str = "output", each: bool = False) -> None:
        """RuntimeError unless each of ys depends on an input, and on each input one of them.

        each: each of ys on each input.
        """
        inputs = range(len(self.variables))
        depends = [self.depends(y) for y in ys]
        for i, row in enumerate(depends):
            if not any(row):
                self._independent(f"{what} {i}", "every input")
        for j in inputs:
            if not any(row[j] for row in depends):
                self._independent(f"every {what}", f"input {j}")
            for i in range(len(ys)) if each else ():
                if not depends[i][j]:
                    self._independent(f"{what} {i}", f"input {j}")

    def check_moving(self, derivatives: Sequence[Tensor], strict: bool) -> None:
        """With `strict` and a graph, RuntimeError for a derivative that depends on no input."""
        for j, d in enumerate(derivatives if strict and self.create_graph else ()):
            if not d.requires_grad:
                self._independent(f"derivative {j}", "every input")

    def _independent(self, what: str, of: str) -> None:
        raise RuntimeError(
            f"{self.name}: {what} of the function is independent of {of} (strict=True)"
        )

    def scalar(self) -> Tensor:
        """func's result, which must have a single element."""
        if not self.one_output or self.outputs[0].numel() != 1:
            got = [tuple(y.shape) for y in self.outputs]
            raise RuntimeError(
                f"{self.name}: the function must return one tensor with a single element, got "
                f"{'shape' if self.one_output else 'shapes'} {got[0] if self.one_output else got}"
            )
        return self.outputs[0]

    def gradient(self, strict: bool) -> list[Tensor]:
        """The recorded gradient of func's single number."""
        y = self.scalar()
        if strict:
            self.check_strict([y])
        gradient = self.gradients([y], [creation.ones_like(y)], create=True)
        if strict:
            self.check_strict(gradient, "the gradient by input")
        return gradient


def _variable(name: str, i: int, x: Any, create_graph: bool) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}: inputs: expected a tensor or a tuple of tensors, got {type(x).__name__} "
            f"as number {i}"
        )
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: inputs: number {i} is {x.dtype}, expected a floating dtype")
    if create_graph and x.requires_grad:
        return x.clone()  # stays connected to x
    return x.detach().clone().requires_grad_()


def _vector(name: str, v: Any, like: Sequence[Tensor], side: str) -> list[Tensor]:
    """v as a list with a tensor for each of `like`; ones where it is left out for a number."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"{name}: v can only be left out if the function's {side} is a single tensor with "
                "a single element"
            )
        return [creation.ones_like(like[0])]
    vs = list(v) if isinstance(v, tuple) else [v]
    if len(vs) != len(like):
        raise RuntimeError(f"{name}: v has {len(vs)} tensors, expected {len(like)} as the {side}")
    for i, (a, x) in enumerate(zip(vs, like, strict=True)):
        if not isinstance(a, Tensor):
            raise TypeError(f"{name}: v: expected tensors, got {type(a).__name__} as number {i}")
        if tuple(a.shape) != tuple(x.shape):
            raise RuntimeError(
                f"{name}: v: number {i} has shape {tuple(a.shape)}, expected {tuple(x.shape)}"
            )
    return vs


# ---------------------------------------------------------------------- products
def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), vᵀ J): J is the Jacobian, v has the shapes of the result."""
    call = _Recorded("vjp", func, inputs, create_graph)
    vs = _vector("vjp", v, call.outputs, "output")
    if strict:
        call.check_strict(call.outputs)
    grads = call.gradients(call.outputs, vs, create_graph)
    call.check_moving(grads, strict)
    return call.value(), call.like_inputs(grads)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), J v): J is the Jacobian, v has the shapes of the inputs. Forward mode."""
    call = _Recorded("jvp", func, inputs, create_graph)
    vs = _vector("jvp", v, call.variables, "input")
    if strict:
        call.check_strict(call.outputs)
    moved = push_forward(call.outputs, call.variables, vs, create_graph=create_graph)
    call.check_moving(moved, strict)
    return call.value(), call.like_outputs(moved)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), H v): H is the Hessian of a function with a single number as its result.

    Forward mode over reverse mode.
    """
    call = _Recorded("hvp", func, inputs, create_graph)
    vs = _vector("hvp", v, call.variables, "input")
    gradient = call.gradient(strict)
    moved = push_forward(gradient, call.variables, vs, create_graph=create_graph)
    return call.value(), call.like_inputs(moved)


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), vᵀ H): H is the Hessian of a function with a single number as its result.

    Reverse mode over reverse mode; H is symmetric, so `hvp` gives the same numbers.
    """
    call = _Recorded("vhp", func, inputs, create_graph)
    vs = _vector("vhp", v, call.variables, "input")
    gradient = call.gradient(strict)
    return call.value(), call.like_inputs(call.gradients(gradient, vs, create_graph))


# ---------------------------------------------------------------------- matrices
def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of func at `inputs`: for each output and input, the shape of both in a row.

    For a tuple of outputs a tuple, for a tuple of inputs (inside of it) a tuple.
    strategy: "reverse-mode", a pass for each element of the outputs; or "forward-mode", a pass
    for each element of the inputs. Raises ValueError for another.
    """
    if strategy not in STRATEGIES:
        raise ValueError(
            f"jacobian: strategy: expected {' or '.join(map(repr, STRATEGIES))}, got {strategy!r}"
        )
    return _jacobian("jacobian", func, inputs, create_graph, strict, strategy == "reverse-mode")


def _jacobian(
    name: str, func: Function, inputs: Any, create_graph: bool, strict: bool, by_rows: bool
) -> Any:
    call = _Recorded(name, func, inputs, create_graph)
    if strict:
        call.check_strict(call.outputs, each=True)
    blocks = call.jacobian(by_rows, create_graph)
    call.check_moving([block for row in blocks for block in row], strict)
    return call.like_outputs([call.like_inputs(row) for row in blocks])


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of func, whose result is a single number, at `inputs`.

    For a tuple of inputs a tuple of tuples; each part has the shapes of both inputs in a row.
    """

    if outer_jacobian_strategy not in STRATEGIES:
        raise ValueError(
            f"hessian: outer_jacobian_strategy: expected {' or '.join(map(repr, STRATEGIES))}, got "
            f"{outer_jacobian_strategy!r}"
        )

    def gradient(*xs: Tensor) -> Any:
        call = _Recorded("hessian", func, xs, create_graph=True)
        grads = call.gradient(strict)
        return tuple(grads) if isinstance(inputs, tuple) else grads[0]

    by_rows = outer_jacobian_strategy == "reverse-mode"
    return _jacobian("hessian", gradient, inputs, create_graph, strict, by_rows)


guard(globals())

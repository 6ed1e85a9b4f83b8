"""Jacobians, Hessians and products with them, with the arguments of `torch.autograd.functional`.

`inputs` is a tensor or a tuple of them, and func takes them as its arguments; its result is a
tensor or a tuple of them. Results have no graph unless `create_graph`. With `strict`, a
RuntimeError says which result depends on no input, and on which input no result depends (in
matrices: which result does not depend on which input), or, with a graph, which first derivative
depends on no input; else such derivatives are zero, or constants.
There is no vectorisation over passes: `vectorize` is accepted and changes nothing.
`minitorch.func` has the same derivatives, of the same recorded calls, as functions of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch import creation
from minitorch.autograd.recorded import Recorded
from minitorch.boundary import guard
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]
STRATEGIES = ("reverse-mode", "forward-mode")


class _Recorded(Recorded):
    """func(*inputs), recorded; what is computed from it has a graph if `create_graph`."""

    def __init__(
        self, name: str, func: Function, inputs: Any, create_graph: bool, has_aux: bool = False
    ) -> None:
        given = _inputs(name, inputs)
        if not create_graph:
            given = [x.detach() for x in given]
        argnums = None if isinstance(inputs, tuple) else 0
        super().__init__(name, func, given, argnums, has_aux, nested=create_graph)

    def _check_result(self, result: Any) -> None:
        _tensors(f"{self.name}: the function must return a tensor or a tuple of tensors", result)

    def dense_gradients(self, cotangents: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of the variables; row-sparse ones are made dense."""
        grads = self.gradients(cotangents)
        return [g.to_dense() if isinstance(g, RowGrad) else g for g in grads]

    def check_strict(self, ys: Sequence[Tensor], what: str = "output", each: bool = False) -> None:
        """RuntimeError unless each of ys depends on an input, and on each input one of them.

        each: each of ys on each input.
        """
        depends = [self.depends(y) for y in ys]
        for i, row in enumerate(depends):
            if not any(row):
                self._independent(f"{what} {i}", "every input")
        for j in range(len(self.variables)):
            if not any(row[j] for row in depends):
                self._independent(f"every {what}", f"input {j}")
            for i, row in enumerate(depends if each else ()):
                if not row[j]:
                    self._independent(f"{what} {i}", f"input {j}")

    def check_moving(self, derivatives: Sequence[Tensor]) -> None:
        """With a graph, RuntimeError for a derivative that depends on no input."""
        for j, d in enumerate(derivatives if self.nested else ()):
            if not d.requires_grad:
                self._independent(f"derivative {j}", "every input")

    def _independent(self, what: str, of: str) -> None:
        raise RuntimeError(
            f"{self.name}: {what} of the function is independent of {of} (strict=True)"
        )


def _tensors(expected: str, given: Any) -> list[Tensor]:
    """A tensor or the tensors of a tuple. Raises TypeError for anything else."""
    xs = list(given) if isinstance(given, tuple) else [given]
    for x in xs:
        if not isinstance(x, Tensor):
            raise TypeError(f"{expected}, got {type(x).__name__}")
    return xs


def _inputs(name: str, inputs: Any) -> list[Tensor]:
    xs = _tensors(f"{name}: inputs: expected a tensor or a tuple of tensors", inputs)
    for i, x in enumerate(xs):
        if not x.dtype.is_floating_point:
            raise RuntimeError(
                f"{name}: inputs: number {i} is {x.dtype}, expected a floating dtype"
            )
    return xs


def _vector(name: str, v: Any, like: Sequence[Tensor], side: str, graph: bool) -> list[Tensor]:
    """v as a list with a tensor for each of `like`; ones where it is left out for a number."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"{name}: v can only be left out if the function's {side} is a single tensor with "
                "a single element"
            )
        return [creation.ones_like(like[0])]
    vs = _tensors(f"{name}: v: expected tensors", v)
    if len(vs) != len(like):
        raise RuntimeError(f"{name}: v has {len(vs)} tensors, expected {len(like)} as the {side}")
    for i, (a, x) in enumerate(zip(vs, like, strict=True)):
        if tuple(a.shape) != tuple(x.shape):
            raise RuntimeError(
                f"{name}: v: number {i} has shape {tuple(a.shape)}, expected {tuple(x.shape)}"
            )
    return vs if graph else [a.detach() for a in vs]


def _gradient(name: str, func: Function, inputs: Any, strict: bool) -> Function:
    """The function that gives (gradient, value) of func, whose result is a single number."""

    def gradient(*xs: Tensor) -> tuple[Any, Any]:
        call = _Recorded(name, func, xs if isinstance(inputs, tuple) else xs[0], create_graph=True)
        y = call.value()
        if not isinstance(y, Tensor) or y.numel() != 1:
            raise RuntimeError(
                f"{name}: the function must return one tensor with a single element, got "
                f"{f'shape {tuple(y.shape)}' if isinstance(y, Tensor) else f'{len(y)} tensors'}"
            )
        grads = call.dense_gradients([creation.ones_like(y)])
        if strict:
            call.check_strict([y])
            call.check_strict(grads, "the gradient by input")
        return call.by_input(grads), y

    return gradient


# ---------------------------------------------------------------------- products
def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), vᵀ J): J is the Jacobian, v has the shapes of the result."""
    call = _Recorded("vjp", func, inputs, create_graph)
    vs = _vector("vjp", v, call.outputs, "output", create_graph)
    grads = call.dense_gradients(vs)
    if strict:
        call.check_strict(call.outputs)
        call.check_moving(grads)
    return call.value(), call.by_input(grads)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), J v): J is the Jacobian, v has the shapes of the inputs. Forward mode."""
    call = _Recorded("jvp", func, inputs, create_graph)
    moved = call.push(_vector("jvp", v, call.variables, "input", create_graph))
    if strict:
        call.check_strict(call.outputs)
        call.check_moving(moved)
    return call.value(), call.by_output(moved)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), H v): H is the Hessian of a function with a single number as its result.

    Forward mode over reverse mode.
    """
    vs = _vector("hvp", v, _inputs("hvp", inputs), "input", create_graph)
    gradient = _gradient("hvp", func, inputs, strict)
    call = _Recorded("hvp", gradient, inputs, create_graph, has_aux=True)
    return call.aux, call.by_output(call.push(vs))


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(*inputs), vᵀ H): H is the Hessian of a function with a single number as its result.

    Reverse mode over reverse mode; H is symmetric, so `hvp` gives the same numbers.
    """
    vs = _vector("vhp", v, _inputs("vhp", inputs), "input", create_graph)
    gradient = _gradient("vhp", func, inputs, strict)
    call = _Recorded("vhp", gradient, inputs, create_graph, has_aux=True)
    return call.aux, call.by_input(call.dense_gradients(vs))


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
    by_rows = _by_rows("jacobian: strategy", strategy)
    return _jacobian(_Recorded("jacobian", func, inputs, create_graph), strict, by_rows)


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
    by_rows = _by_rows("hessian: outer_jacobian_strategy", outer_jacobian_strategy)
    gradient = _gradient("hessian", func, inputs, strict)
    call = _Recorded("hessian", gradient, inputs, create_graph, has_aux=True)
    return _jacobian(call, strict, by_rows)


def _by_rows(argument: str, strategy: str) -> bool:
    if strategy not in STRATEGIES:
        expected = " or ".join(map(repr, STRATEGIES))
        raise ValueError(f"{argument}: expected {expected}, got {strategy!r}")
    return strategy == "reverse-mode"


def _jacobian(call: _Recorded, strict: bool, by_rows: bool) -> Any:
    if strict:
        call.check_strict(call.outputs, each=True)
    blocks = call.jacobian(by_rows)
    if strict:
        call.check_moving([block for row in blocks for block in row])
    return call.by_output(map(call.by_input, blocks))


guard(globals())

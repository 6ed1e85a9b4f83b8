"""Derivatives of functions, as functions: they nest in any order and mix.

Each call gives the function fresh variables that stay connected to the history of what was
passed in, so an inner derivative is not confused with an outer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch import autograd, creation
from minitorch.tensor import Tensor, enable_grad


def _variables(name: str, xs: Sequence[Any]) -> list[Tensor]:
    """New vertices of the tape with the values (and the history) of xs."""
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: argument {i}: expected a tensor, got {type(x).__name__}")
        if not x.dtype.is_floating_point:
            raise TypeError(f"{name}: argument {i}: expected a floating dtype, got {x.dtype}")
    return [x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for x in xs]


def _output(name: str, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"{name}: the function must return a tensor, got {type(y).__name__}")
    return y


def _is_nested(outputs: Sequence[Tensor], variables: Sequence[Tensor]) -> bool:
    """Whether the outputs depend on a leaf other than the variables made here."""
    own = {id(x.node) for x in variables}
    order = autograd.topological([y.node for y in outputs if y.node is not None])
    return any(node.op is None and id(node) not in own for node in order)


def _settle(value: Any, nested: bool) -> Any:
    return value if nested else value.detach()


def _as_tuple(argnums: int | Sequence[int]) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def value_and_grad(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives (value, gradient) of the scalar function `func`.

    argnums: the argument(s) to differentiate by; with a sequence the gradient is a tuple.
    has_aux: func returns (scalar, anything), and so the value is that pair.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen = _as_tuple(argnums)
        variables = _variables("grad", [args[i] for i in chosen])
        full = list(args)
        for i, x in zip(chosen, variables, strict=True):
            full[i] = x
        with enable_grad():
            result = func(*full, **kwargs)
        y = _output("grad", result[0] if has_aux else result)
        if y.numel() != 1:
            raise RuntimeError(
                f"grad: the function must return a scalar, got shape {tuple(y.shape)}"
            )
        if y.node is None:
            grads = tuple(creation.zeros_like(x) for x in variables)
            nested = False
        else:
            nested = _is_nested([y], variables)
            grads = autograd.grad(
                y, variables, create_graph=nested, retain_graph=True, materialize_grads=True
            )
        value = (_settle(y, nested), result[1]) if has_aux else _settle(y, nested)
        return value, grads[0] if isinstance(argnums, int) else grads

    return wrapped


def grad(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of the scalar function `func`.

    Arguments as for `value_and_grad`; with has_aux the result is (gradient, aux).
    """
    both = value_and_grad(func, argnums, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(func: Callable[..., Any], *primals: Tensor) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the function that maps a cotangent of it to those of the primals."""
    variables = _variables("vjp", primals)
    with enable_grad():
        result = func(*variables)
    several = isinstance(result, tuple)
    outputs = [_output("vjp", y) for y in (result if several else (result,))]
    nested = _is_nested(outputs, variables)

    def pull_back(*cotangents: Any) -> tuple[Tensor, ...]:
        given = cotangents[0] if several and isinstance(cotangents[0], tuple) else cotangents
        if len(given) != len(outputs):
            raise RuntimeError(f"vjp: got {len(given)} cotangents for {len(outputs)} outputs")
        pairs = [(y, g) for y, g in zip(outputs, given, strict=True) if y.node is not None]
        if not pairs:
            return tuple(creation.zeros_like(x) for x in variables)
        deep = nested or any(g.requires_grad for _, g in pairs)
        return autograd.grad(
            [y for y, _ in pairs],
            variables,
            [g for _, g in pairs],
            retain_graph=True,
            create_graph=deep,
            materialize_grads=True,
        )

    values = tuple(_settle(y, nested) for y in outputs)
    return (values if several else values[0]), pull_back


def jvp(
    func: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]
) -> tuple[Any, Any]:
    """func(*primals), and its derivative along `tangents`, in forward mode."""
    if len(primals) != len(tangents):
        raise RuntimeError(f"jvp: got {len(primals)} primals and {len(tangents)} tangents")
    for i, (x, t) in enumerate(zip(primals, tangents, strict=True)):
        if tuple(x.shape) != tuple(t.shape) or x.dtype != t.dtype:
            raise RuntimeError(
                f"jvp: tangent {i} is {tuple(t.shape)} {t.dtype}, "
                f"expected {tuple(x.shape)} {x.dtype}"
            )
    variables = _variables("jvp", primals)
    with enable_grad():
        result = func(*variables)
    several = isinstance(result, tuple)
    outputs = [_output("jvp", y) for y in (result if several else (result,))]
    nested = _is_nested(outputs, variables) or any(t.requires_grad for t in tangents)
    moved = autograd.push_forward(outputs, variables, tangents, create_graph=nested)
    values = tuple(_settle(y, nested) for y in outputs)
    if several:
        return values, tuple(moved)
    return values[0], moved[0]

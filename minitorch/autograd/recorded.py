"""A function's recorded call with variables of its own, which `func` and `functional` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from minitorch import creation
from minitorch.autograd.matrix import Matrix, basis
from minitorch.core import pytree
from minitorch.core.engine import grad, push_forward, topological
from minitorch.core.grad_mode import enable_grad
from minitorch.core.tensor import Tensor

Argnums = int | tuple[int, ...]


class Recorded:
    """func(*args, **kwargs), recorded with fresh variables for the arguments `argnums`.

    argnums: None for all. nested: whether what is computed from the result has to be recorded too;
    None: where the result is part of an outer derivative, or of a graph of the user's.
    """

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        args: Sequence[Any],
        argnums: Argnums | None = None,
        has_aux: bool = False,
        kwargs: Mapping[str, Any] | None = None,
        nested: bool | None = None,
    ) -> None:
        self.name = name
        self._argnums = argnums
        chosen = _chosen(name, argnums, len(args))
        leaves, self.treedef = pytree.flatten(tuple([args[i] for i in chosen]))
        self.variables = _variables(name, leaves)
        full = list(args)
        for i, x in zip(chosen, pytree.unflatten(self.variables, self.treedef), strict=True):
            full[i] = x
        with enable_grad():
            result = func(*full, **(kwargs or {}))
        aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise RuntimeError(
                    f"{name}: the function must return (output, aux) if has_aux is True, got "
                    f"{_described(result)}"
                )
            result, aux = result
        self._check_result(result)
        self.outputs, self.output_treedef = pytree.flatten(result)
        if not self.outputs:
            raise RuntimeError(f"{name}: the function returned no tensor, got {result!r}")
        if nested is None:
            extra = [a for a in pytree.leaves(aux) if isinstance(a, Tensor)]
            nested = _is_nested([*self.outputs, *extra], self.variables)
        self.nested = nested
        self.aux = pytree.tree_map(self._settle, aux)

    def _check_result(self, result: Any) -> None:
        for y in pytree.leaves(result):
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{self.name}: the function must return a tensor, got {type(y).__name__}"
                )
            if not y.dtype.is_floating_point:
                raise RuntimeError(
                    f"{self.name}: the function must return tensors of a floating dtype, got "
                    f"{y.dtype}"
                )

    def _settle(self, value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) and not self.nested else value

    def value(self) -> Any:
        """The result, without a graph that nobody could use."""
        return pytree.unflatten(map(self._settle, self.outputs), self.output_treedef)

    def gradients(
        self, cotangents: Sequence[Tensor], retain: bool = True, create: bool | None = None
    ) -> list[Any]:
        """The gradients of the variables, for a cotangent of each output; one backward pass."""
        if create is None:
            create = self.nested or any(
                g.requires_grad
                for y, g in zip(self.outputs, cotangents, strict=True)
                if y.node is not None
            )
        return self._pull(cotangents, create, retain)

    def _pull(self, cotangents: Sequence[Tensor], create: bool, retain: bool = True) -> list[Any]:
        pairs = [
            (y, g) for y, g in zip(self.outputs, cotangents, strict=True) if y.node is not None
        ]
        if not pairs:
            return [creation.zeros_like(x) for x in self.variables]
        tracked, given = zip(*pairs, strict=True)
        grads = grad(
            tracked,
            self.variables,
            given,
            retain_graph=retain or create,
            create_graph=create,
            materialize_grads=True,
        )
        return list(grads)

    def push(self, tangents: Sequence[Tensor]) -> list[Tensor]:
        """The tangents of the outputs, for a tangent of each variable; one forward pass."""
        deep = self.nested or any(t.requires_grad for t in tangents)
        return push_forward(self.outputs, self.variables, tangents, create_graph=deep)

    def jacobian(self, by_rows: bool) -> list[list[Tensor]]:
        """For each output and variable a tensor with the shapes of both in a row.

        by_rows: a backward pass for each element of the outputs; else a forward pass for each
        element of the variables.
        """
        ys, xs = self.outputs, self.variables
        given, found = (ys, xs) if by_rows else (xs, ys)
        parts = [[Matrix(b, a.numel(), b.numel(), self.nested) for b in found] for a in given]
        for k, j, units in basis(given):
            rows = self._pull(units, self.nested) if by_rows else self.push(units)
            for matrix, row in zip(parts[k], rows, strict=True):
                matrix.set(j, row)
        if by_rows:
            matrices = [[matrix.get() for matrix in row] for row in parts]
        else:
            matrices = [[matrix.get().t() for matrix in row] for row in zip(*parts, strict=True)]
        return [
            [matrix.reshape((*y.shape, *x.shape)) for matrix, x in zip(row, xs, strict=True)]
            for row, y in zip(matrices, ys, strict=True)
        ]

    def by_input(self, parts: Iterable[Any]) -> Any:
        """A part for each variable, in the pytree of the arguments."""
        row = pytree.unflatten(parts, self.treedef)
        return row[0] if isinstance(self._argnums, int) else row

    def by_output(self, parts: Iterable[Any]) -> Any:
        """A part for each output, in the pytree of the outputs."""
        return pytree.unflatten(parts, self.output_treedef)

    def depends(self, y: Tensor) -> list[bool]:
        """For each variable, whether y depends on it."""
        reached = set() if y.node is None else set(map(id, topological([y.node])))
        return [id(x.node) in reached for x in self.variables]


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return type(value).__name__


def _chosen(name: str, argnums: Any, count: int) -> list[int]:
    """The positions of the arguments to differentiate by."""
    if argnums is None:
        return list(range(count))
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers:
        raise RuntimeError(f"{name}: argnums is empty")
    for n in numbers:
        if not isinstance(n, int):
            raise RuntimeError(
                f"{name}: argnums: expected an int or a tuple of ints, got {argnums!r}"
            )
        if not -count <= n < count:
            raise RuntimeError(
                f"{name}: argnums: got {n}, but there are only {count} positional arguments"
            )
    chosen = [n % count for n in numbers]
    if len(set(chosen)) < len(chosen):
        raise RuntimeError(f"{name}: argnums: expected each argument once, got {argnums!r}")
    return chosen


def _variables(name: str, xs: Sequence[Any]) -> list[Tensor]:
    """New vertices of the tape with the values (and the history) of xs."""
    if not xs:
        raise RuntimeError(f"{name}: there is no tensor to differentiate by")
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: argument {i}: expected a tensor, got {type(x).__name__}")
        if not x.dtype.is_floating_point:
            raise TypeError(f"{name}: argument {i}: expected a floating dtype, got {x.dtype}")
    return [x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for x in xs]


def _is_nested(outputs: Sequence[Tensor], variables: Sequence[Tensor]) -> bool:
    """Whether the outputs depend on a leaf other than the variables made here."""
    own = {id(x.node) for x in variables}
    order = topological([y.node for y in outputs if y.node is not None])
    return any(node.op is None and id(node) not in own for node in order)

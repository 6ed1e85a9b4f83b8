"""A function's recorded call with variables of its own, which `func` and `functional` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import creation
from minitorch.autograd.matrix import Matrix, basis
from minitorch.core.engine import grad, push_forward, topological
from minitorch.core.tensor import Tensor


class Recorded:
    """The variables of a call and its outputs, and derivatives of one by the other."""

    name: str
    variables: list[Tensor]
    outputs: list[Tensor]

    def pull(
        self, ys: Sequence[Tensor], cotangents: Sequence[Tensor], create: bool, retain: bool = True
    ) -> list[Any]:
        """The gradients of the variables, for a cotangent of each of ys; one backward pass."""
        pairs = [(y, g) for y, g in zip(ys, cotangents, strict=True) if y.node is not None]
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

    def jacobian(self, by_rows: bool, create: bool) -> list[list[Tensor]]:
        """For each output and variable a tensor with the shapes of both in a row.

        by_rows: a backward pass for each element of the outputs; else a forward pass for each
        element of the variables.
        """
        ys, xs = self.outputs, self.variables
        given, found = (ys, xs) if by_rows else (xs, ys)
        parts = [[Matrix(b, a.numel(), b.numel(), create) for b in found] for a in given]
        for k, j, units in basis(given):
            if by_rows:
                rows = self.pull(ys, units, create)
            else:
                rows = push_forward(ys, xs, units, create_graph=create)
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

    def depends(self, y: Tensor) -> list[bool]:
        """For each variable, whether y depends on it."""
        reached = set() if y.node is None else set(map(id, topological([y.node])))
        return [id(x.node) in reached for x in self.variables]

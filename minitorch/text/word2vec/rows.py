"""Rows of a table as the vectors of a step of SGD, which takes no row further than it may go."""

from __future__ import annotations

from minitorch import ops
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.text.word2vec.damping import SOFTMAX_LIMIT


def rounded(x: Tensor, half: str | None) -> Tensor:
    """The numbers of x, rounded to a half ("bfloat16" or "float16"), in x's dtype."""
    return x if half is None else x.to(getattr(dtypes, half)).to(x.dtype)


class Rows:
    """Rows of a table (V, D), int64 (*): their vectors (*, D), and how a step moves them.

    half: what the vectors are rounded to.
    """

    def __init__(self, table: Tensor, rows: Tensor, half: str | None = None) -> None:
        self.table, self.rows, self.half = table, rows, half
        self.vectors = rounded(table[rows], half)

    def curvature(self, bounds: Tensor) -> Tensor:
        """H of each row, (*): see `damping`. bounds: what each occurrence adds to it."""
        total = self.table.new_zeros(len(self.table))
        total.index_add_(0, self.rows.reshape(-1), bounds.reshape(-1))
        return total[self.rows]

    def move_(self, gradient: Tensor, rate: float) -> None:
        """A step against the gradient by the vectors, each of which counts."""
        depth = self.table.shape[1]
        rows = self.rows.reshape(-1)
        self.table.index_add_(0, rows, gradient.reshape(-1, depth), alpha=-rate)


class Windows(Rows):
    """Vectors of windows, into (n, L, M) @ rows (n, M), which move by backᵀ times the gradient."""

    def __init__(
        self, table: Tensor, rows: Tensor, into: Tensor, back: Tensor, half: str | None = None
    ) -> None:
        super().__init__(table, rows)
        self.vectors, self.back, self.half = rounded(into @ self.vectors, half), back, half
        self.gain = into.sum(2)  # the step of a vector where each of its words moves by 1

    def curvature(self, bounds: Tensor) -> Tensor:
        """The largest H of the words of each vector."""
        of_words = super().curvature((bounds * self.gain).unsqueeze(1) @ self.back)
        return ops.where(self.back > 0, of_words.reshape(len(self.rows), 1, -1), 0.0).amax(2)

    def move_(self, gradient: Tensor, rate: float) -> None:
        super().move_(self.back.mT @ gradient, rate)


def factors(of_x: Tensor, of_y: Tensor) -> Tensor:
    """The weights of pairs whose rows have such H: less where both sides together go too far."""
    return SOFTMAX_LIMIT / (of_x + of_y).clamp(min=SOFTMAX_LIMIT)

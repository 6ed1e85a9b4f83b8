"""Softmax over the vocabulary: hierarchical, along the branches of a tree, and in full.

Both take what negative sampling takes: n blocks of L vectors that predict, L + width - 1 words to
be predicted, and what pairs count, (n, width, L): words i to i + width - 1 with vector i.
"""

from __future__ import annotations

from collections.abc import Sequence

from minitorch import ops
from minitorch.backend import Device
from minitorch.creation import tensor, zeros
from minitorch.dtypes import dtype as DType
from minitorch.nn import Embedding, Module, Parameter
from minitorch.tensor import Tensor
from minitorch.text.huffman import huffman

_OFTEN = 40.0  # pairs of a step that may move a node at full rate


class HierarchicalSoftmax(Module):
    """P(word | x) as the product of the turns on the way to the word (Morin and Bengio, 2005).

    counts: how often each of the V words occurs, which makes the tree (`huffman`). At a node the
    turn is 0 with probability sigmoid(x·node), as in word2vec.c. Node vectors, (V - 1, D), start
    at zero. pairs: how many pairs a step has. A node that more than 40 of them pass on average
    (the root: all of them) moves that much less, since gradients of a step are summed at one place.
    """

    def __init__(
        self,
        counts: Sequence[int],
        vector_size: int,
        pairs: float = 0.0,
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        tree = huffman(counts)
        depth = max(map(len, tree.points))
        pad = [[0] * (depth - len(way)) for way in tree.points]
        turns = [[1.0 - 2.0 * turn for turn in code] for code in tree.codes]
        share = [min(1.0, _OFTEN * tree.counts[-1] / max(pairs * n, 1e-9)) for n in tree.counts]
        start = zeros(len(counts) - 1, vector_size, dtype=dtype, device=device)
        self.nodes = Embedding(*start.shape, sparse=True, _weight=start)
        self._points = tensor([a + b for a, b in zip(tree.points, pad)], device=device)
        self._signs = tensor([a + b for a, b in zip(turns, pad)], dtype=start.dtype, device=device)
        self._share = tensor(share, dtype=start.dtype, device=device)

    def forward(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """-log P(word | x), summed over pairs: (n, L, D), (n, M), (n, width, L) -> float64."""
        (n, size, _), (_, count), width = x.shape, words.shape, weights.shape[1]
        points = self._points[words].mT.reshape(n, -1)
        nodes, share = self.nodes(points), self._share[points].unsqueeze(2)
        # The value is that of the nodes, the gradient its share.
        nodes = nodes.detach() + (nodes - nodes.detach()) * share
        scores = (nodes @ x.mT).reshape(n, -1, count, size)
        near = band(scores.mT, width).permute(0, 2, 3, 1)  # (n, L, width, length of a code)
        signs = self._signs[band(words.unsqueeze(1).expand(n, size, count), width)]
        gains = ops.logsigmoid(near * signs) * (signs.abs() * weights.mT.unsqueeze(3))
        return -gains.double().sum()


class FullSoftmax(Module):
    """P(word | x) = exp(x·output[word]) over the sum of that for all V words.

    Output vectors, (V, D), start at zero. A step costs as much as the vocabulary is large.
    """

    def __init__(
        self,
        num_words: int,
        vector_size: int,
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.weight = Parameter(zeros(num_words, vector_size, dtype=dtype, device=device))

    def forward(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """-log P(word | x), summed over pairs: (n, L, D), (n, M), (n, width, L) -> float64."""
        n, size, depth = x.shape
        gains = (x.reshape(-1, depth) @ self.weight.mT).log_softmax(1).reshape(n, size, -1)
        chosen = words.unsqueeze(1).expand(n, size, words.shape[1])
        return -(gains.gather(2, chosen) * dense(weights).mT).double().sum()


def band(matrix: Tensor, width: int) -> Tensor:
    """The inverse of `dense`: entries i + o of rows i, (*, L, L + width - 1) -> (*, L, width)."""
    *lead, size, count = matrix.shape
    tail = zeros(*lead, size, dtype=matrix.dtype, device=matrix.device)
    flat = ops.cat([matrix.reshape(*lead, size * count), tail], dim=-1)
    return flat.reshape(*lead, size, count + 1)[..., :width]


def dense(band: Tensor) -> Tensor:
    """A band as a matrix: (n, width, L) -> (n, L + width - 1, L), row i + o of column i from row o.

    That is what pairs of L centres and their halo count, from what `Blocks` holds.
    """
    n, width, size = band.shape
    # Column i, written behind i zeros: rows that are one longer shift by one each.
    rows = zeros(n, size, size + width, dtype=band.dtype, device=band.device)
    rows[:, :, :width] = band.mT
    flat = rows.reshape(n, -1)[:, : size * (size + width - 1)]
    return flat.reshape(n, size, size + width - 1).mT

"""Softmax over the vocabulary: hierarchical, along the branches of a tree, and in full.

Both take n blocks of L words to be predicted, the L + width - 1 vectors around them, and what each
pair counts, (n, width, L): vectors i to i + width - 1 predict word i, as in word2vec.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.core.dtypes import dtype as DType
from minitorch.core.grad_mode import no_grad
from minitorch.core.tape import count_change
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, tensor, zeros
from minitorch.nn import Embedding, Module, Parameter
from minitorch.ops import logsigmoid
from minitorch.text.word2vec.huffman import huffman
from minitorch.text.word2vec.kernels.machine_code import hierarchical_softmax_sgd_
from minitorch.text.word2vec.rows import Rows, factors, rounded


class HierarchicalSoftmax(Module):
    """P(word | x) as the product of the turns on the path to the word (Morin and Bengio, 2005).

    counts: how often each of the V words occurs, which makes the tree (`huffman`). At a node the
    turn is 0 with probability sigmoid(x·node), as in word2vec.c. Node vectors, (V - 1, D), start
    at zero. pairs: how many nodes a word's path has on average.
    """

    def __init__(
        self,
        counts: Sequence[int],
        vector_size: int,
        *,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        tree = huffman(counts)
        self.pairs = sum(tree.counts) / sum(counts)
        start = zeros(len(counts) - 1, vector_size, dtype=dtype, device=device)
        self.nodes = Embedding(len(start), vector_size, sparse=True, _weight=start)
        # A row for each word: 1 + the number of each node of its path, negative where the turn is
        # 1, and then 0.
        longest = max(map(len, tree.points))
        paths = [
            [(1 - 2 * turn) * (1 + node) for node, turn in zip(path, code, strict=True)]
            + [0] * (longest - len(path))
            for path, code in zip(tree.points, tree.codes, strict=True)
        ]
        self.paths = tensor(paths, dtype=dtypes.int32, device=device)

    def _paths_to(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes on the paths, (n, L, P), and the sign of x·node there; 0 behind the end."""
        paths = self.paths[words].long()
        return (paths.abs() - 1).clamp(min=0), paths.sign().to(self.nodes.weight.dtype)

    def forward(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """-log P(word | x), summed over pairs, float64.

        x: (n, L + width - 1, D). words: int64 (n, L). weights: (n, width, L).
        """
        rows, signs = self._paths_to(words)
        scores = _around(x, words.shape[1]) @ self.nodes(rows).mT
        gains = logsigmoid(scores * signs.unsqueeze(2))
        return -(gains * _counted(weights.mT, signs)).double().sum()

    @no_grad()
    def sgd_step_(self, x: Rows, words: Tensor, weights: Tensor, rate: float, loss: Tensor) -> None:
        """A step of SGD without a tape, damped as `damping` says; the loss is added to `loss`.

        x: whose vectors are (n, L + width - 1, D); the rest as `forward` takes it.
        """
        rows, signs = self._paths_to(words)
        nodes, passed = Rows(self.nodes.weight, rows, x.half), signs.abs()
        near, paths = _around(x.vectors, words.shape[1]), nodes.vectors
        pairs = dense(weights)
        steep = pairs @ (paths.square().sum(3) * passed).sum(2, keepdim=True)
        of_x = _around(x.curvature(steep.squeeze(2) * rate), words.shape[1])
        lengths = pairs.mT @ x.vectors.square().sum(2, keepdim=True)
        of_nodes = nodes.curvature(lengths * passed * rate)

        scores = near @ paths.mT * signs.unsqueeze(2)
        counted = _counted(weights.mT, signs)
        loss -= (logsigmoid(scores) * counted).double().sum()
        counted = counted * factors(of_x.unsqueeze(3), of_nodes.unsqueeze(2))
        slopes = (-scores).sigmoid() * counted * -signs.unsqueeze(2)
        x.move_(_folded(slopes @ paths), rate)
        # Numbers times a vector are no matrix product for BLAS.
        push = slopes.mT * near if near.shape[2] == 1 else slopes.mT @ near
        nodes.move_(push, rate)

    def word_by_word_(
        self, table: Tensor, blocks: Sequence[Tensor], window: int, rate: float, mean: bool | None
    ) -> float:
        """Steps by Numba, each of one centre: see `hierarchical_softmax_sgd_`; returns the loss.

        table: of word vectors, float32 like the nodes, on the CPU.
        """
        nodes = self.nodes.weight
        arrays = [part.array for part in blocks]
        loss = hierarchical_softmax_sgd_(
            table.array, nodes.array, arrays, self.paths.array, window, rate, mean
        )
        count_change(table)
        count_change(nodes)
        return loss


class FullSoftmax(Module):
    """P(word | x) = exp(x·output[word]) over the sum of that for all V words.

    Output vectors, (V, D), start at zero. A step costs as much as the vocabulary is large.
    """

    pairs = 2.0  # the word, and in part all words

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
        """-log P(word | x), summed over pairs, float64.

        x: (n, L + width - 1, D). words: int64 (n, L). weights: (n, width, L).
        """
        n, size, depth = x.shape
        gains = (x.reshape(-1, depth) @ self.weight.mT).log_softmax(1).reshape(n, size, -1)
        chosen = words.unsqueeze(1).expand(n, size, words.shape[1])
        return -(gains.gather(2, chosen) * dense(weights)).double().sum()

    @no_grad()
    def sgd_step_(self, x: Rows, words: Tensor, weights: Tensor, rate: float, loss: Tensor) -> None:
        """See HierarchicalSoftmax. A vector that predicts a word is a pair with it, and with
        every word as much of one as its probability is: negatives, of which nothing is sampled.
        """
        table, vectors = self.weight, x.vectors
        read = rounded(table, x.half)
        scores = vectors @ read.mT
        gains = scores.log_softmax(2)
        pairs = dense(weights)
        chosen = words.unsqueeze(1).expand(*pairs.shape)
        loss -= (gains.gather(2, chosen) * pairs).double().sum()
        positive = scores.new_zeros(scores.shape).scatter_add_(2, chosen, pairs)
        negative = gains.exp() * pairs.sum(2, keepdim=True)
        counted = positive + negative
        of_x = x.curvature(counted @ table.square().sum(1) * rate)
        rows = Rows(table, arange(len(table), device=table.device))
        steep = (counted * vectors.square().sum(2, keepdim=True)).sum((0, 1))
        of_table = rows.curvature(steep * rate)
        slopes = (negative - positive) * factors(of_x.unsqueeze(2), of_table)
        change = slopes @ read
        table.sub_((slopes.mT @ vectors).sum(0), alpha=rate)
        x.move_(change, rate)


def _counted(weights: Tensor, signs: Tensor) -> Tensor:
    """The weight of each vector at each node of a path: (n, L, width, P)."""
    return weights.unsqueeze(3) * signs.abs().unsqueeze(2)


def _around(x: Tensor, size: int) -> Tensor:
    """The vectors (or numbers) of blocks around each word: (n, L, width, *)."""
    width = x.shape[1] - size + 1
    if width == 1:
        return x.unsqueeze(2)
    index = arange(size, device=x.device).unsqueeze(1) + arange(width, device=x.device)
    return x[:, index]


def _folded(parts: Tensor) -> Tensor:
    """The adjoint of `_around`: sums over windows, (n, L, width, *) -> (n, L + width - 1, *)."""
    n, size, width, *depth = parts.shape
    total = parts.new_zeros(n, size + width - 1, *depth)
    for o in range(width):
        total[:, o : o + size].add_(parts[:, :, o])
    return total


def dense(band: Tensor) -> Tensor:
    """A band as a matrix: (n, width, L) -> (n, L + width - 1, L), row i + o of column i from row o.

    That is what pairs of L centres and their halo count, from what `Blocks` holds.
    """
    n, width, size = band.shape
    # Column i, written behind i zeros: rows that are one longer shift by one each.
    rows = zeros(n, size, size + width, dtype=band.dtype, device=band.device)
    rows[:, :, :width] = band.mT
    flat = rows.reshape(n, size * (size + width))[:, : size * (size + width - 1)]
    return flat.reshape(n, size, size + width - 1).mT

"""Softmax over the vocabulary: hierarchical, along the branches of a tree, and in full.

Both take n blocks of L words to be predicted, the L + width - 1 vectors around them, and what each
pair counts, (n, width, L): vectors i to i + width - 1 predict word i, as in word2vec.c.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from math import gcd
from typing import Any

from minitorch import dtypes, ops
from minitorch.autograd import Function
from minitorch.backend import Device
from minitorch.creation import arange, tensor, zeros
from minitorch.dtypes import dtype as DType
from minitorch.nn import Embedding, Module, Parameter
from minitorch.tensor import Tensor, grad_mode
from minitorch.text.huffman import huffman

_OFTEN = 40.0  # pairs of a step that may move a node at full rate
_COMMON = 0.02  # share of the words below a node from which it belongs to the top of the tree
_TOGETHER = 8  # words whose nodes are multiplied with all vectors around them
_LARGEST = 80.0  # exp is finite up to here in float32, and sigmoid is 1


class HierarchicalSoftmax(Module):
    """P(word | x) as the product of the turns on the way to the word (Morin and Bengio, 2005).

    counts: how often each of the V words occurs, which makes the tree (`huffman`). At a node the
    turn is 0 with probability sigmoid(x·node), as in word2vec.c. Node vectors, (V - 1, D), start
    at zero. pairs: how many pairs a step has. A node that more than 40 of them pass on average
    (the root: all of them) moves that much less, since gradients of a step are summed at one place.

    The few nodes at the top of the tree, which many pairs pass, are multiplied with all vectors,
    nodes further down with those around their words only.
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
        tree, total = huffman(counts), sum(counts)
        start = zeros(len(counts) - 1, vector_size, dtype=dtype, device=device)
        self.nodes = Embedding(*start.shape, sparse=True, _weight=start)
        # Nodes are in ascending order of their counts: a way begins with those of the top.
        common = total * min(_COMMON, _OFTEN / max(pairs, 1.0))
        first = min(bisect(tree.counts, common), len(start) - 1)
        share = [min(1.0, _OFTEN * total / max(pairs * n, 1.0)) for n in tree.counts[first:]]
        self._top = arange(first, len(start), device=device)
        self._share = tensor(share, dtype=start.dtype, device=device).unsqueeze(1)

        exits: dict[tuple[int, int], int] = {}  # the turns that leave the top, numbered
        exit_of, lengths, turns = [], [], []
        low: list[int] = []
        left: list[int] = []
        for way, code in zip(tree.points, tree.codes, strict=True):
            n = sum(node >= first for node in way)
            edge = way[n - 1], code[n - 1]
            if edge not in exits:
                exits[edge] = len(exits)
                turns.append(_turns([node - first for node in way[:n]], code, len(share)))
            exit_of.append(exits[edge])
            lengths.append(len(way) - n)
            low += way[n:]
            left += [1 - turn for turn in code[n:]]
        self._exit, self._length = (tensor(part, device=device) for part in (exit_of, lengths))
        self._turns = tensor(turns, dtype=start.dtype, device=device)
        self._low = tensor(low or [0], device=device)
        self._left = tensor(left or [0], dtype=start.dtype, device=device).unsqueeze(1)
        self._begin = self._length.cumsum(0) - self._length

    def forward(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """-log P(word | x), summed over pairs, float64.

        x: (n, L + width - 1, D). words: int64 (n, L). weights: (n, width, L).
        """
        loss: Tensor = self._of_top(x, words, weights) + self._of_low(*_cut(x, words, weights))
        return loss

    def _of_top(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """The loss of the turns at the top of the tree."""
        nodes, turns = self.nodes(self._top), self._turns[self._exit[words]]
        still, n = nodes.detach(), len(nodes)
        nodes = still + (nodes - still) * self._share  # the value is the nodes', the gradient less
        counted = dense(weights) @ turns if weights.shape[1] > 1 else weights.mT * turns
        counted = counted.reshape(-1, 2 * n)
        return _branches(x.reshape(-1, x.shape[2]), nodes, counted[:, :n], counted[:, n:])

    def _of_low(self, x: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """The loss of all other turns. Nodes of a block's words stand behind each other."""
        n, size = words.shape
        words = words.reshape(-1)
        length = self._length[words]
        end = length.cumsum(0)
        last = end[size - 1 :: size]
        first = ops.cat([last.new_zeros(1), last[:-1]])
        longest, total = int((last - first).max()), int(last[-1])
        if not total:
            return zeros((), dtype=dtypes.float64, device=x.device)
        place = first.unsqueeze(1) + arange(longest, device=x.device)
        real = (place < last.unsqueeze(1)).to(x.dtype).unsqueeze(2)  # shorter blocks are filled up
        place = place.clamp(max=total - 1)
        word = end.searchsorted(place, right=True)
        at = (self._begin[words] - end + length)[word] + place
        passes = dense(weights).mT.reshape(n * size, -1)[word] * real
        return _branches(self.nodes(self._low[at]), x, passes, passes * self._left[at])


def _turns(nodes: Sequence[int], code: Sequence[int], size: int) -> list[float]:
    """For each node 1 if it is passed, and then for each of them 1 if the turn there is 0."""
    row = [0.0] * (2 * size)
    for node, turn in zip(nodes, code, strict=False):
        row[node], row[size + node] = 1.0, 1.0 - turn
    return row


class _Branches(Function):
    """`_branches`, with one exp for the value and the gradient; scores above 80 count as 80."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, passes: Tensor, left: Tensor) -> Tensor:
        scores = (x @ y.mT).clamp(max=_LARGEST)
        odds = scores.exp()
        ones = odds + 1
        ctx.slopes = odds.div_(ones).mul_(passes).sub_(left)
        ctx.save_for_backward(x, y, passes, left)
        return ones.log_().mul_(passes).sub_(scores.mul_(left)).sum(-1).double().sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, passes, left = ctx.saved_tensors
        slopes = ctx.slopes
        if grad_mode.enabled:  # for derivatives of higher order
            slopes = (x @ y.mT).sigmoid() * passes - left
        slopes = slopes * g
        return slopes @ y, slopes.mT @ x, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, y, passes, left = ctx.saved_tensors
        slopes = (x @ y.mT).sigmoid() * passes - left
        dx, dy = tangents[:2]
        changes = [dx @ y.mT] if dx is not None else []
        changes += [x @ dy.mT] if dy is not None else []
        change: Tensor = sum((slopes * change).double().sum() for change in changes)
        return change


def _branches(x: Tensor, y: Tensor, passes: Tensor, left: Tensor) -> Tensor:
    """-log of the probability of turns, summed, float64: (*, n, D), (*, m, D), twice (*, n, m).

    passes: what the turns at x·y count together, left: those of them that are 0.
    """
    loss: Tensor = _Branches.apply(x, y, passes, left)
    return loss


def _cut(x: Tensor, words: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs as shorter blocks, with fewer products that do not count."""
    (n, width, size), (_, count, depth) = weights.shape, x.shape
    part = gcd(size, _TOGETHER)
    if width > 1:
        block, start = arange(n, device=x.device), arange(0, size, part, device=x.device)
        row = (block.unsqueeze(1) * count + start).unsqueeze(2)
        x = x.reshape(-1, depth)[row + arange(part + width - 1, device=x.device)]
    weights = weights.reshape(n, width, -1, part).transpose(1, 2)
    return (
        x.reshape(-1, part + width - 1, depth),
        words.reshape(-1, part),
        weights.reshape(-1, width, part),
    )


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
        """-log P(word | x), summed over pairs, float64.

        x: (n, L + width - 1, D). words: int64 (n, L). weights: (n, width, L).
        """
        n, size, depth = x.shape
        gains = (x.reshape(-1, depth) @ self.weight.mT).log_softmax(1).reshape(n, size, -1)
        chosen = words.unsqueeze(1).expand(n, size, words.shape[1])
        return -(gains.gather(2, chosen) * dense(weights)).double().sum()


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

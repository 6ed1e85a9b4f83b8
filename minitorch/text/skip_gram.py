"""Skip-gram with negative sampling, as matrix products over blocks of neighbouring words.

word2vec.c takes one pair of words at a time. Here a block of consecutive words (the centres) meets
the block widened by the window (its halo) and a pool of noise words in one matrix product. Of the
products of centres and halo only a band counts: the pairs within each centre's window. Every pair
of a block shares the pool, weighted so that a pair has `negative` negatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from minitorch import dtypes, fused, ops
from minitorch.backend import Device
from minitorch.creation import arange, empty, like, ones, zeros
from minitorch.dtypes import dtype as DType
from minitorch.nn import Embedding, Module
from minitorch.random import Generator, rand, randint, randperm
from minitorch.tensor import Tensor, no_grad


class Blocks(NamedTuple):
    """n blocks of L centres, w words of halo at either end, and K pool words.

    centres: int64 (n, L). others: int64 (n, L + 2w + K), the halo and then the pool.
    weights: (n, 2w + 1 + K, L), what each pair counts: first the words from w before the centre
    to w behind it, then the pool; 0 is no pair.
    """

    centres: Tensor
    others: Tensor
    weights: Tensor

    def split(self, size: int) -> Iterator[Blocks]:
        """The same blocks, `size` of them at a time."""
        for start in range(0, len(self.centres), size):
            end = start + size
            yield Blocks(self.centres[start:end], self.others[start:end], self.weights[start:end])


class BlockSampler:
    """Turns tokens into blocks: sub-sampling, dynamic windows, negatives, masks.

    keep: probability that sub-sampling keeps each word, (V,). thresholds, aliases: the noise
    distribution as an alias table, (V,) each. negative: negatives to a pair.

    Gradients of a step are all taken at one place, so words that repeat within it would go too
    far. Hence blocks come in random order, and of equal centres in a block each counts less, so
    that together they count as `repeats`.
    """

    def __init__(
        self,
        keep: Tensor,
        thresholds: Tensor,
        aliases: Tensor,
        generator: Generator,
        *,
        window: int = 5,
        negative: int = 5,
        block_size: int = 32,
        pool_size: int = 48,
        repeats: int = 2,
    ) -> None:
        self.keep, self.thresholds, self.aliases = keep, thresholds, aliases
        self.generator = generator
        self.window, self.negative = window, negative
        self.block_size, self.pool_size, self.repeats = block_size, pool_size, repeats
        self._device = keep.device
        # A row for each reach of a window to the left and to the right: 1 where it goes.
        reach = arange(window + 1, device=self._device)
        offset = arange(-window, window + 1, device=self._device)
        left = (offset < 0) & (-offset <= reach.reshape(-1, 1, 1))
        right = (offset > 0) & (offset <= reach.reshape(1, -1, 1))
        self._bands = (left | right).to(keep.dtype).reshape(-1, 2 * window + 1)

    @no_grad()
    def blocks(self, tokens: Tensor, sentences: Tensor) -> Blocks:
        """Blocks of a stretch of a corpus: its words and the sentence of each, int64 (n,)."""
        kept = (self._draw(len(tokens)) < self.keep[tokens]).nonzero().squeeze(1)
        tokens, sentences = tokens[kept], sentences[kept]
        w, size = self.window, self.block_size
        n = -(-len(tokens) // size)
        tail = n * size - len(tokens) + w
        # The words that fill up the first and last halo stand in sentences of their own.
        around = arange(-w - tail, 0, device=self._device)
        sentences = ops.cat([around[:w], sentences, around[w:]])
        filler = zeros(w + tail, dtype=dtypes.int64, device=self._device)
        tokens = ops.cat([filler[:w], tokens, filler[w:]])
        band = self._reach(sentences)

        start = randperm(n, generator=self.generator, device=self._device) * size
        place = start.unsqueeze(1) + arange(size + 2 * w, device=self._device)
        halo = tokens[place]
        centres = halo[:, w : w + size].contiguous()
        pool = self.noise(n, self.pool_size)
        weights = self._weights(centres, halo, pool, band[place[:, :size]])
        return Blocks(centres, ops.cat([halo, pool], dim=1), weights)

    def _weights(self, centres: Tensor, halo: Tensor, pool: Tensor, band: Tensor) -> Tensor:
        """What each pair counts: see `Blocks`. band: row of `_bands` for each centre."""
        n, size = centres.shape
        width = self._bands.shape[1]
        weights = empty(n, width + self.pool_size, size, **like(self.keep))
        share = self._share(centres)
        weights[:, :width] = (self._bands[band] * share.unsqueeze(2)).transpose(1, 2)
        count = self._bands.sum(dim=1)[band] * share  # of positive pairs
        weights[:, width:] = (count * (self.negative / self.pool_size)).unsqueeze(1)
        block, centre, drawn = self._not_negative(halo, pool, band)
        weights[block, width + drawn, centre] = 0.0
        # The rest of such a centre's pool makes up for what was taken out.
        rest = weights[block, width:, centre]
        left = (rest > 0).sum(dim=1, keepdim=True).clamp(min=1)
        weights[block, width:, centre] = rest * (self.pool_size / left)
        return weights

    def pairs(self, blocks: Blocks) -> Tensor:
        """How many pairs of words in a window the blocks stand for, a float64 scalar."""
        return blocks.weights[:, : 2 * self.window + 1].double().sum()

    def noise(self, *shape: int) -> Tensor:
        """Words drawn from the noise distribution, int64."""
        n = len(self.aliases)
        row = randint(n, shape, generator=self.generator, device=self._device)
        return ops.where(self._draw(*shape) < self.thresholds[row], row, self.aliases[row])

    def _draw(self, *shape: int) -> Tensor:
        return rand(*shape, dtype=self.keep.dtype, generator=self.generator, device=self._device)

    def _reach(self, sentences: Tensor) -> Tensor:
        """Row of `_bands` for each word but the first and last w: as far as its sentence goes."""
        w = self.window
        n = len(sentences) - 2 * w
        here = sentences[w : w + n]
        reach = randint(1, w + 1, (n,), generator=self.generator, device=self._device)
        left, right = zeros(2, n, dtype=dtypes.int64, device=self._device)
        for i in range(w):
            left += sentences[i : i + n] == here
            right += sentences[i + w + 1 : i + w + 1 + n] == here
        return left.minimum(reach) * (w + 1) + right.minimum(reach)

    def _share(self, centres: Tensor) -> Tensor:
        """What each centre counts, (n, L): together equal ones count at most `repeats`."""
        equal = (centres.unsqueeze(2) == centres.unsqueeze(1)).to(self.keep.dtype)
        times = equal @ ones(centres.shape[1], **like(equal))
        return (self.repeats / times).clamp(max=1)

    def _not_negative(
        self, halo: Tensor, pool: Tensor, band: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pool words that are the centre or in its window: block, centre and place in the pool.

        A word that stands there twice comes twice.
        """
        size, width, drawn_of = band.shape[1], self._bands.shape[1], pool.shape[1]
        equal = (halo.unsqueeze(2) == pool.unsqueeze(1)).view(-1).nonzero()
        word, drawn = equal // drawn_of, equal % drawn_of
        block, place = word // halo.shape[1], word % halo.shape[1]
        offset = arange(width, device=self._device)
        centre = place - offset  # the one that has this word of the halo at this offset
        inside = (centre >= 0) & (centre < size)
        in_window = self._bands[band[block, centre.clamp(0, size - 1)], offset] > 0
        hit, at = (inside & (in_window | (offset == self.window))).nonzero().unbind(1)
        return block[hit, 0], centre[hit, at], drawn[hit, 0]


class SkipGram(Module):
    """The two tables of skip-gram: `input` has the word vectors, `output` those of contexts.

    Input vectors start evenly drawn from ±1/(2 D), output vectors at zero, as in word2vec.c, so
    that every pair's loss starts at (negative + 1) log 2. Gradients are row-sparse.
    """

    def __init__(
        self,
        num_words: int,
        vector_size: int,
        window: int = 5,
        *,
        generator: Generator | None = None,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        shape = num_words, vector_size
        start = rand(shape, generator=generator, dtype=dtype, device=device)
        start.sub_(0.5).div_(vector_size)
        zero = zeros(shape, dtype=dtype, device=device)
        self.input = Embedding(*shape, sparse=True, _weight=start)
        self.output = Embedding(*shape, sparse=True, _weight=zero)

    def forward(self, blocks: Blocks) -> Tensor:
        """Loss summed over the pairs of the blocks, a float64 scalar."""
        x, y = self.input(blocks.centres), self.output(blocks.others)
        return fused.negative_sampling(x, y, blocks.weights, width=2 * self.window + 1)

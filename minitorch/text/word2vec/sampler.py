"""Blocks of neighbouring words: sub-sampling, dynamic windows, negatives, masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import NamedTuple

from minitorch import ops
from minitorch.core import dtypes
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, empty, from_numpy, full, like, tensor, zeros
from minitorch.random import Generator, rand, randint, randperm
from minitorch.text.word2vec.kernels.machine_code import blockwise

RANDOM = 1 << 20  # blocks of the random stream that are set aside for each word of a corpus


class Blocks(NamedTuple):
    """n blocks of L centres, w words of halo at either end, and K shared negatives.

    centres: int64 (n, L). others: int64 (n, L + 2w + K), the halo, then the negatives.
    weights: (n, 2w + 1 + K, L), what each pair counts: first the words from w before the centre
    to w behind it, then the negatives; 0 is no pair.
    """

    centres: Tensor
    others: Tensor
    weights: Tensor

    def halves(self, window: int) -> tuple[Tensor, Tensor]:
        """The halo and the shared negatives, the two parts of `others`."""
        end = self.centres.shape[1] + 2 * window
        return self.others[:, :end], self.others[:, end:]

    def split(self, size: int) -> Iterator[Blocks]:
        """The same blocks, `size` of them at a time."""
        for start in range(0, len(self.centres), size):
            end = start + size
            yield Blocks(self.centres[start:end], self.others[start:end], self.weights[start:end])


class Drawn(NamedTuple):
    """The random choices for the blocks of a chunk.

    start: the index of the first word of each block, int64 (n,). negatives: their shared
    negatives, int64 (n, K). cut: makes blocks of some of both.
    """

    start: Tensor
    negatives: Tensor
    cut: Callable[[Tensor, Tensor], Blocks]

    def blocks(self, first: int = 0, last: int | None = None) -> Blocks:
        """Blocks `first` to `last`, which is not among them."""
        return self.cut(self.start[first:last], self.negatives[first:last])


class BlockSampler:
    """Turns tokens into blocks: sub-sampling, dynamic windows, negatives, masks.

    keep: probability that sub-sampling keeps each word, (V,). thresholds, aliases: the noise
    distribution as an alias table, (V,) each. negative: negatives to a pair, 0 for none.
    shrink_windows: each centre draws its own effective window, evenly from 1 ... window.
    cbow: a centre is one pair with its whole window, which may have the centre's negatives in it.
    compiled: let Numba's machine code make the blocks, which are the same; on the CPU, in float32.

    Blocks come in random order, so that those of a step are from all over the chunk; in CBOW in the
    order of the text, which gives better vectors there.
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
        shrink_windows: bool = True,
        cbow: bool = False,
        compiled: bool = False,
    ) -> None:
        self.keep, self.thresholds, self.aliases = keep, thresholds, aliases
        self.generator = generator
        self.window, self.negative = window, negative
        self.block_size = block_size
        self.pool_size = pool_size if negative else 0
        self.shrink_windows, self.cbow, self.compiled = shrink_windows, cbow, compiled
        self._device = keep.device
        # A row for each pair of effective windows, left and right: 1 for the words inside.
        bands = [
            [*[0] * (window - left), *[1] * left, 0, *[1] * right, *[0] * (window - right)]
            for left in range(window + 1)
            for right in range(window + 1)
        ]
        self._bands = tensor(bands, **like(keep))

    def blocks(self, tokens: Tensor, sentences: Tensor) -> Blocks:
        """Blocks of a chunk of a corpus: its words and the sentence of each, int64 (n,)."""
        return self.draw(tokens, sentences).blocks()

    @no_grad()
    def draw(self, tokens: Tensor, sentences: Tensor) -> Drawn:
        """The random choices for those blocks, which `Drawn` makes some at a time."""
        kept = (self._draw(len(tokens)) < self.keep[tokens]).nonzero().squeeze(1)
        tokens, sentences = tokens[kept], sentences[kept]
        n = -(-len(tokens) // self.block_size)
        windows = self._effective_windows(n * self.block_size)
        order = arange(n, device=self._device)  # that of the text suits CBOW better
        if not self.cbow:
            order = randperm(n, generator=self.generator, device=self._device)
        negatives = self.noise(n, self.pool_size)
        if self.compiled:
            cut = partial(self._cut_compiled, tokens, sentences, windows)
        else:
            cut = partial(self._cut, *self._widened(tokens, sentences, windows))
        return Drawn(order * self.block_size, negatives, cut)

    def _cut_compiled(
        self, tokens: Tensor, sentences: Tensor, windows: Tensor, start: Tensor, negatives: Tensor
    ) -> Blocks:
        """The blocks that `_cut` makes, by Numba, from words that have not been widened."""
        words = (x.array for x in (tokens, sentences, windows, start, negatives))
        options = self.block_size, self.window, self.negative, self.cbow
        return Blocks(*map(from_numpy, blockwise().blocks(*words, *options)))

    def _widened(self, tokens: Tensor, sentences: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The words with filler for the first and last halo; `_band` of the words with windows."""
        w = self.window
        tail = len(windows) - len(tokens) + w
        # Each filler word is a sentence of its own.
        around = arange(-w - tail, 0, device=self._device)
        sentences = _short(ops.cat([around[:w], sentences, around[w:]]))
        filler = zeros(w + tail, dtype=dtypes.int64, device=self._device)
        return ops.cat([filler[:w], tokens, filler[w:]]), self._band(sentences, windows)

    @no_grad()
    def _cut(self, tokens: Tensor, bands: Tensor, start: Tensor, negatives: Tensor) -> Blocks:
        """The blocks of sub-sampled words that begin at `start`: see `_widened`."""
        w, size = self.window, self.block_size
        index = start.unsqueeze(1) + arange(size + 2 * w, device=self._device)
        halo = tokens[index]
        centres = halo[:, w : w + size].contiguous()
        band = bands[index[:, :size]]
        if not self.pool_size:
            return Blocks(centres, halo, self._bands[band].transpose(1, 2).contiguous())
        weights = self._weights(centres, halo, negatives, band)
        return Blocks(centres, ops.cat([halo, negatives], dim=1), weights)

    def _weights(self, centres: Tensor, halo: Tensor, negatives: Tensor, band: Tensor) -> Tensor:
        """The weight of each pair: see `Blocks`. band: row of `_bands` for each centre."""
        n, size = centres.shape
        width = self._bands.shape[1]
        weights = empty(n, width + self.pool_size, size, **like(self.keep))
        weights[:, :width] = self._bands[band].transpose(1, 2)
        count = self._bands.sum(dim=1)[band]  # of positive pairs
        count = count.clamp(max=1) if self.cbow else count
        weights[:, width:] = (count * (self.negative / self.pool_size)).unsqueeze(1)
        block, centre, drawn = self._not_negative(halo, negatives, band)
        weights[block, width + drawn, centre] = 0.0
        # The other negatives of such a centre make up for those taken out.
        rest = weights[block, width:, centre]
        left = (rest > 0).sum(dim=1, keepdim=True).clamp(min=1)
        weights[block, width:, centre] = rest * (self.pool_size / left)
        return weights

    def pairs(self, blocks: Blocks) -> Tensor:
        """How many pairs of words in a window (CBOW: windows) the blocks hold, a scalar."""
        weights = blocks.weights[:, : 2 * self.window + 1]
        return (weights.amax(1) if self.cbow else weights).sum()

    def noise(self, *shape: int) -> Tensor:
        """Words drawn from the noise distribution, int64."""
        if not prod(shape):  # nothing is drawn, and no launch made
            return zeros(*shape, dtype=dtypes.int64, device=self._device)
        n = len(self.aliases)
        row = randint(n, shape, generator=self.generator, device=self._device)
        return ops.where(self._draw(*shape) < self.thresholds[row], row, self.aliases[row])

    def _draw(self, *shape: int) -> Tensor:
        return rand(*shape, dtype=self.keep.dtype, generator=self.generator, device=self._device)

    def _effective_windows(self, n: int) -> Tensor:
        """The effective window of each of n words."""
        if not self.shrink_windows:
            return full((n,), self.window, dtype=dtypes.int64, device=self._device)
        return randint(1, self.window + 1, (n,), generator=self.generator, device=self._device)

    def _band(self, sentences: Tensor, windows: Tensor) -> Tensor:
        """Row of `_bands` for each word but the first and last w: as far as its sentence goes."""
        w, n = self.window, len(windows)
        here = sentences[w : w + n]
        left, right = zeros(2, n, dtype=here.dtype, device=self._device)
        for i in range(w):
            left += sentences[i : i + n] == here
            right += sentences[i + w + 1 : i + w + 1 + n] == here
        return left.minimum(windows) * (w + 1) + right.minimum(windows)

    def _not_negative(
        self, halo: Tensor, negatives: Tensor, band: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Negatives that are the centre or in its window: block, centre and index of the negative.

        CBOW leaves out the centre only. A word that stands there twice comes twice.
        """
        size, width, drawn_of = band.shape[1], self._bands.shape[1], negatives.shape[1]
        equal = _short(halo).unsqueeze(2) == _short(negatives).unsqueeze(1)
        equal = equal.view(-1).nonzero()
        word, drawn = equal // drawn_of, equal % drawn_of
        block, index = word // halo.shape[1], word % halo.shape[1]
        offset = arange(width, device=self._device)
        centre = index - offset  # the one that has this word of the halo at this offset
        inside = (centre >= 0) & (centre < size)
        taken = offset == self.window
        if not self.cbow:
            taken = (self._bands[band[block, centre.clamp(0, size - 1)], offset] > 0) | taken
        hit, at = (inside & taken).nonzero().unbind(1)
        return block[hit, 0], centre[hit, at], drawn[hit, 0]


def _short(numbers: Tensor) -> Tensor:
    """Numbers of words as the CPU compares them at twice the speed; a GPU spares the launch."""
    return numbers.to(dtypes.int32) if numbers.device.type == "cpu" else numbers

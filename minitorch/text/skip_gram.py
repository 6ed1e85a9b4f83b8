"""Skip-gram and CBOW as matrix products over blocks of neighbouring words.

word2vec.c takes one pair of words at a time. Here a block of consecutive words (the centres) meets
the block widened by the window (its halo) and a pool of noise words in one matrix product. Of the
products of centres and halo only a band counts: the pairs within each centre's window. Every pair
of a block shares the pool, weighted so that a pair has `negative` negatives.

In CBOW the words of a window together are the one side of a pair, and the centre is the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

from minitorch import dtypes, fused, ops
from minitorch.backend import Device
from minitorch.backend.cpu.word2vec import kernels
from minitorch.backend.cpu.word_by_word import cbow_sgd_
from minitorch.creation import arange, empty, from_numpy, full, like, zeros
from minitorch.dtypes import dtype as DType
from minitorch.nn import Embedding, Module, ModuleList
from minitorch.random import Generator, rand, randint, randperm
from minitorch.rules import count_change
from minitorch.tensor import Tensor, no_grad
from minitorch.text.rows import Rows, Windows
from minitorch.text.softmax import dense


class Blocks(NamedTuple):
    """n blocks of L centres, w words of halo at either end, and K pool words.

    centres: int64 (n, L). others: int64 (n, L + 2w + K), the halo and then the pool.
    weights: (n, 2w + 1 + K, L), what each pair counts: first the words from w before the centre
    to w behind it, then the pool; 0 is no pair.
    """

    centres: Tensor
    others: Tensor
    weights: Tensor

    def halves(self, window: int) -> tuple[Tensor, Tensor]:
        """Of `others` the halo and the pool."""
        end = self.centres.shape[1] + 2 * window
        return self.others[:, :end], self.others[:, end:]

    def split(self, size: int) -> Iterator[Blocks]:
        """The same blocks, `size` of them at a time."""
        for start in range(0, len(self.centres), size):
            end = start + size
            yield Blocks(self.centres[start:end], self.others[start:end], self.weights[start:end])


class Drawn(NamedTuple):
    """All that chance has to say about the blocks of a stretch.

    start: where each begins, int64 (n,). pool: their noise words, int64 (n, K). cut: makes blocks
    of some of both.
    """

    start: Tensor
    pool: Tensor
    cut: Callable[[Tensor, Tensor], Blocks]

    def blocks(self, first: int = 0, last: int | None = None) -> Blocks:
        """Blocks `first` to `last`, which is not among them."""
        return self.cut(self.start[first:last], self.pool[first:last])


class BlockSampler:
    """Turns tokens into blocks: sub-sampling, dynamic windows, negatives, masks.

    keep: probability that sub-sampling keeps each word, (V,). thresholds, aliases: the noise
    distribution as an alias table, (V,) each. negative: negatives to a pair, 0 for none.
    shrink_windows: each centre draws its own reach, evenly from 1 ... window.
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
        # A row for each reach of a window to the left and to the right: 1 where it goes.
        reach = arange(window + 1, device=self._device)
        offset = arange(-window, window + 1, device=self._device)
        left = (offset < 0) & (-offset <= reach.reshape(-1, 1, 1))
        right = (offset > 0) & (offset <= reach.reshape(1, -1, 1))
        self._bands = (left | right).to(keep.dtype).reshape(-1, 2 * window + 1)

    def blocks(self, tokens: Tensor, sentences: Tensor) -> Blocks:
        """Blocks of a stretch of a corpus: its words and the sentence of each, int64 (n,)."""
        return self.draw(tokens, sentences).blocks()

    @no_grad()
    def draw(self, tokens: Tensor, sentences: Tensor) -> Drawn:
        """What makes those blocks, some at a time."""
        kept = (self._draw(len(tokens)) < self.keep[tokens]).nonzero().squeeze(1)
        tokens, sentences = tokens[kept], sentences[kept]
        n = -(-len(tokens) // self.block_size)
        reach = self._reach(n * self.block_size)
        order = arange(n, device=self._device)  # that of the text suits CBOW better
        if not self.cbow:
            order = randperm(n, generator=self.generator, device=self._device)
        pool = self.noise(n, self.pool_size)
        if self.compiled:
            cut = partial(self._cut_compiled, tokens, sentences, reach)
        else:
            cut = partial(self._cut, *self._widened(tokens, sentences, reach))
        return Drawn(order * self.block_size, pool, cut)

    def _cut_compiled(
        self, tokens: Tensor, sentences: Tensor, reach: Tensor, start: Tensor, pool: Tensor
    ) -> Blocks:
        """What `_cut` gives, by Numba, of what has not been widened."""
        words = (x.array for x in (tokens, sentences, reach, start, pool))
        options = self.block_size, self.window, self.negative, self.cbow
        return Blocks(*map(from_numpy, kernels().blocks(*words, *options)))

    def _widened(self, tokens: Tensor, sentences: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Words and what fills up the first and last halo; `_band` of those that have windows."""
        w = self.window
        tail = len(reach) - len(tokens) + w
        # What fills up stands in sentences of its own.
        around = arange(-w - tail, 0, device=self._device)
        sentences = _short(ops.cat([around[:w], sentences, around[w:]]))
        filler = zeros(w + tail, dtype=dtypes.int64, device=self._device)
        return ops.cat([filler[:w], tokens, filler[w:]]), self._band(sentences, reach)

    @no_grad()
    def _cut(self, tokens: Tensor, bands: Tensor, start: Tensor, pool: Tensor) -> Blocks:
        """The blocks of sub-sampled words that begin at `start`: see `_widened`."""
        w, size = self.window, self.block_size
        place = start.unsqueeze(1) + arange(size + 2 * w, device=self._device)
        halo = tokens[place]
        centres = halo[:, w : w + size].contiguous()
        band = bands[place[:, :size]]
        if not self.pool_size:
            return Blocks(centres, halo, self._bands[band].transpose(1, 2).contiguous())
        weights = self._weights(centres, halo, pool, band)
        return Blocks(centres, ops.cat([halo, pool], dim=1), weights)

    def _weights(self, centres: Tensor, halo: Tensor, pool: Tensor, band: Tensor) -> Tensor:
        """What each pair counts: see `Blocks`. band: row of `_bands` for each centre."""
        n, size = centres.shape
        width = self._bands.shape[1]
        weights = empty(n, width + self.pool_size, size, **like(self.keep))
        weights[:, :width] = self._bands[band].transpose(1, 2)
        count = self._bands.sum(dim=1)[band]  # of positive pairs
        count = count.clamp(max=1) if self.cbow else count
        weights[:, width:] = (count * (self.negative / self.pool_size)).unsqueeze(1)
        block, centre, drawn = self._not_negative(halo, pool, band)
        weights[block, width + drawn, centre] = 0.0
        # The rest of such a centre's pool makes up for what was taken out.
        rest = weights[block, width:, centre]
        left = (rest > 0).sum(dim=1, keepdim=True).clamp(min=1)
        weights[block, width:, centre] = rest * (self.pool_size / left)
        return weights

    def pairs(self, blocks: Blocks) -> Tensor:
        """How many pairs of words in a window (CBOW: windows) the blocks hold, a float64 scalar."""
        weights = blocks.weights[:, : 2 * self.window + 1]
        return (weights.amax(1) if self.cbow else weights).double().sum()

    def noise(self, *shape: int) -> Tensor:
        """Words drawn from the noise distribution, int64."""
        if not prod(shape):  # nothing is drawn, and no launch made
            return zeros(*shape, dtype=dtypes.int64, device=self._device)
        n = len(self.aliases)
        row = randint(n, shape, generator=self.generator, device=self._device)
        return ops.where(self._draw(*shape) < self.thresholds[row], row, self.aliases[row])

    def _draw(self, *shape: int) -> Tensor:
        return rand(*shape, dtype=self.keep.dtype, generator=self.generator, device=self._device)

    def _reach(self, n: int) -> Tensor:
        """How far the window of each of n words may go."""
        if not self.shrink_windows:
            return full((n,), self.window, dtype=dtypes.int64, device=self._device)
        return randint(1, self.window + 1, (n,), generator=self.generator, device=self._device)

    def _band(self, sentences: Tensor, reach: Tensor) -> Tensor:
        """Row of `_bands` for each word but the first and last w: as far as its sentence goes."""
        w, n = self.window, len(reach)
        here = sentences[w : w + n]
        left, right = zeros(2, n, dtype=here.dtype, device=self._device)
        for i in range(w):
            left += sentences[i : i + n] == here
            right += sentences[i + w + 1 : i + w + 1 + n] == here
        return left.minimum(reach) * (w + 1) + right.minimum(reach)

    def _not_negative(
        self, halo: Tensor, pool: Tensor, band: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pool words that are the centre or in its window: block, centre and place in the pool.

        CBOW leaves out the centre only. A word that stands there twice comes twice.
        """
        size, width, drawn_of = band.shape[1], self._bands.shape[1], pool.shape[1]
        equal = _short(halo).unsqueeze(2) == _short(pool).unsqueeze(1)
        equal = equal.view(-1).nonzero()
        word, drawn = equal // drawn_of, equal % drawn_of
        block, place = word // halo.shape[1], word % halo.shape[1]
        offset = arange(width, device=self._device)
        centre = place - offset  # the one that has this word of the halo at this offset
        inside = (centre >= 0) & (centre < size)
        taken = offset == self.window
        if not self.cbow:
            taken = (self._bands[band[block, centre.clamp(0, size - 1)], offset] > 0) | taken
        hit, at = (inside & taken).nonzero().unbind(1)
        return block[hit, 0], centre[hit, at], drawn[hit, 0]


def _short(numbers: Tensor) -> Tensor:
    """Numbers of words as the CPU compares them at twice the speed; a GPU spares the launch."""
    return numbers.to(dtypes.int32) if numbers.device.type == "cpu" else numbers


class SkipGram(Module):
    """The tables of skip-gram: `input` has the word vectors, `output` those of contexts.

    Input vectors start evenly drawn from ±1/(2 D), output vectors at zero, as in word2vec.c, so
    that every pair's loss starts at (negative + 1) log 2. Gradients are row-sparse.

    negative: learn by negative sampling. others: softmaxes that are learnt as well,
    `HierarchicalSoftmax` or `FullSoftmax`; losses are added.
    compiled: whether `sgd_steps_` is Numba's machine code, on the CPU; set it to change that.
    """

    mean: bool | None = None  # a vector alone predicts

    def __init__(
        self,
        num_words: int,
        vector_size: int,
        window: int = 5,
        *,
        negative: bool = True,
        others: Sequence[Module] = (),
        generator: Generator | None = None,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        self.compiled = False
        shape = num_words, vector_size
        start = rand(shape, generator=generator, dtype=dtype, device=device)
        start.sub_(0.5).div_(vector_size)
        self.input = Embedding(*shape, sparse=True, _weight=start)
        self.output: Embedding | None = None
        if negative:
            zero = zeros(shape, dtype=dtype, device=device)
            self.output = Embedding(*shape, sparse=True, _weight=zero)
        self.others = ModuleList(others)

    def forward(self, blocks: Blocks) -> Tensor:
        """Loss summed over the pairs of the blocks, a float64 scalar."""
        losses = []
        if self.output is not None:
            x, words, weights, width = self._pairs(blocks)
            y = self.output(words)
            losses.append(fused.negative_sampling(x, y, weights, width=width))
        if len(self.others):
            predicted = self.predicted(blocks)
            losses += [other(*predicted) for other in self.others]
        loss = losses[0]
        for other in losses[1:]:
            loss = loss + other
        return loss

    @no_grad()
    def sgd_steps_(self, blocks: Blocks, size: int, lr: Sequence[float], loss: Tensor) -> None:
        """Forward, backward and a step of SGD for `size` blocks after the other, without a tape.

        lr: the rate of each step. The losses are added to `loss`, a float64 scalar.
        """
        if not len(self.others):
            self._sample_steps_(blocks, size, lr, loss)
            return
        for batch, rate in zip(blocks.split(size), lr, strict=True):
            for other in self.others:
                self._predict_step_(other, batch, rate, loss)
            if self.output is not None:
                self._sample_steps_(batch, size, [rate], loss)

    def _sample_steps_(self, blocks: Blocks, size: int, lr: Sequence[float], loss: Tensor) -> None:
        """Steps of negative sampling."""
        assert self.output is not None
        fused.negative_sampling_sgd_(
            *(self.input.weight, self.output.weight, loss, *blocks),
            width=2 * self.window + 1,
            size=size,
            lr=lr,
            compiled=self.compiled,
        )

    def _predict_step_(self, other: Any, blocks: Blocks, rate: float, loss: Tensor) -> None:
        """A step of one of `others`."""
        table = self.input.weight
        if self.compiled and hasattr(other, "word_by_word_") and table.dtype is dtypes.float32:
            loss += other.word_by_word_(table, blocks, self.window, rate, self.mean)
        else:
            other.sgd_step_(*self._predicting(blocks), rate, loss)

    def _predicting(self, blocks: Blocks) -> tuple[Rows, Tensor, Tensor]:
        """What `predicted` gives, with the rows that the vectors are made of."""
        halo, _ = blocks.halves(self.window)
        rows = Rows(self.input.weight.detach(), halo)
        return rows, blocks.centres, blocks.weights[:, : 2 * self.window + 1]

    def _pairs(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, int]:
        """As `negative_sampling` takes them: x, the words of y, weights and width."""
        return self.input(blocks.centres), blocks.others, blocks.weights, 2 * self.window + 1

    def predicted(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor]:
        """As `others` take them: vectors, the words that they predict, and what pairs count."""
        halo, _ = blocks.halves(self.window)
        return self.input(halo), blocks.centres, blocks.weights[:, : 2 * self.window + 1]


class CBOW(SkipGram):
    """Continuous bag of words: the mean of a window's input vectors predicts its centre.

    As in word2vec.c every word of a window moves by the whole of what the mean should move by,
    not by its share. mean: False for the sum of the vectors instead, of which, as in gensim, every
    word moves by its share.
    """

    def __init__(self, *args: Any, mean: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mean = mean

    def _pairs(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, int]:
        inside, count, halo, targets = self._windows(blocks)
        total = inside @ self.input(halo)
        value, slope = (total / count, total) if self.mean else (total, total / count)
        return value.detach() + (slope - slope.detach()), *targets, 1

    def predicted(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor]:
        """As of SkipGram: one vector for each centre."""
        x, _, weights, width = self._pairs(blocks)
        return x, blocks.centres, weights[:, :width]

    def _windows(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Which words of the halo are in each centre's window, (n, L, L + 2w); how many they are,
        (n, L, 1); the halo; what is to be predicted, and what that counts.
        """
        width = 2 * self.window + 1
        halo, pool = blocks.halves(self.window)
        weights = blocks.weights[:, :width]
        inside = (weights > 0).to(weights.dtype)
        count = inside.sum(1).clamp(min=1).unsqueeze(2)
        counted = ops.cat([weights.amax(1, keepdim=True), blocks.weights[:, width:]], dim=1)
        return dense(inside).mT, count, halo, (ops.cat([blocks.centres, pool], dim=1), counted)

    def _sample_steps_(self, blocks: Blocks, size: int, lr: Sequence[float], loss: Tensor) -> None:
        """As of SkipGram."""
        assert self.output is not None
        tables = self.input.weight, self.output.weight
        if self.compiled and tables[0].dtype is dtypes.float32:
            arrays = [table.array for table in tables], [part.array for part in blocks]
            loss += cbow_sgd_(*arrays, self.window, size, lr, bool(self.mean))
            for table in tables:
                count_change(table)
            return
        into, back, halo, targets = self._matrices(blocks)
        fused.negative_sampling_sgd_(
            *(*tables, loss, halo, *targets), width=1, size=size, lr=lr, windows=(into, back)
        )

    def _predicting(self, blocks: Blocks) -> tuple[Rows, Tensor, Tensor]:
        """As of SkipGram."""
        into, back, halo, (_, counted) = self._matrices(blocks)
        rows = Windows(self.input.weight.detach(), halo, into, back)
        return rows, blocks.centres, counted[:, :1]

    def _matrices(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """`windows` of `negative_sampling_sgd_`, and otherwise as `_windows`."""
        inside, count, halo, targets = self._windows(blocks)
        into, back = (inside / count, inside) if self.mean else (inside, inside / count)
        return into, back, halo, targets

"""Skip-gram and CBOW as matrix products over blocks of neighbouring words.

word2vec.c takes one pair of words at a time. Here a block of consecutive words (the centres) meets
the block widened by the window (its halo) and K shared negatives in one matrix product. Of the
products of centres and halo only a band counts: the pairs within each centre's window. Every pair
of a block shares the negatives, weighted so that a pair has `negative` of them.

In CBOW the words of a window together are the one side of a pair, and the centre is the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch import autocasting, ops
from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.core.dtypes import dtype as DType
from minitorch.core.grad_mode import no_grad
from minitorch.core.tape import count_change
from minitorch.core.tensor import Tensor
from minitorch.creation import zeros
from minitorch.nn import Embedding, Module, ModuleList
from minitorch.random import Generator, rand
from minitorch.text.word2vec.kernels.machine_code import cbow_sgd_
from minitorch.text.word2vec.negative_sampling import negative_sampling, negative_sampling_sgd_
from minitorch.text.word2vec.rows import Rows, Windows
from minitorch.text.word2vec.sampler import Blocks
from minitorch.text.word2vec.softmax import dense


class SkipGram(Module):
    """The tables of skip-gram: `input` has the word vectors, `output` those of contexts.

    Input vectors start evenly drawn from ±1/(2 D), output vectors at zero, as in word2vec.c, so
    that every pair's loss starts at (negative + 1) log 2. Gradients are row-sparse.

    negative: learn by negative sampling. others: softmaxes that are learnt as well,
    `HierarchicalSoftmax` or `FullSoftmax`; losses are added.
    compiled: whether `sgd_steps_` is Numba's machine code, on the CPU; set it to change that.
    rounds_to: "bfloat16" or "float16", to which `sgd_steps_` rounds rows before products. It
    multiplies in float32, not by machine code, and its tables stay in float32; autocast does
    nothing there. Of `forward`'s ops autocast casts what it lists; the loss is as it is given.
    """

    mean: bool | None = None  # a vector alone predicts

    def __init__(
        self,
        num_words: int,
        vector_size: int,
        window: int = 5,
        *,
        negative: bool = True,
        others: Sequence[Any] = (),
        generator: Generator | None = None,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        self.compiled = False
        self.rounds_to: str | None = None
        shape = num_words, vector_size
        start = rand(shape, generator=generator, dtype=dtype, device=device)
        start.sub_(0.5).div_(vector_size)
        self.input = Embedding(*shape, sparse=True, _weight=start)
        self.output: Embedding | None = None
        if negative:
            zero = zeros(shape, dtype=dtype, device=device)
            self.output = Embedding(*shape, sparse=True, _weight=zero)
        self.others = ModuleList(others)
        self.pairs = sum(other.pairs for other in others)  # that they make of one pair of words

    def forward(self, blocks: Blocks) -> Tensor:
        """Loss summed over the pairs of the blocks, a float64 scalar."""
        losses = []
        if self.output is not None:
            x, words, weights, width = self._pairs(blocks)
            y = self.output(words)
            losses.append(negative_sampling(x, y, weights, width=width))
        if len(self.others):
            predicted = self.predicted(blocks)
            losses += [other(*predicted) for other in self.others]
        loss = losses[0]
        for other in losses[1:]:
            loss = loss + other
        return loss

    def sgd_steps_(self, blocks: Blocks, size: int, lr: Sequence[float], loss: Tensor) -> None:
        """Forward, backward and a step of SGD for `size` blocks after the other, without a tape.

        lr: the rate of each step. The losses are added to `loss`, a float64 scalar.
        """
        if autocasting.state.dtypes:
            with autocasting.off():
                self.sgd_steps_(blocks, size, lr, loss)
            return
        with no_grad():
            if not self.pairs:
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
        negative_sampling_sgd_(
            *(self.input.weight, self.output.weight, loss, *blocks),
            width=2 * self.window + 1,
            size=size,
            lr=lr,
            compiled=self.compiled,
            half=self.rounds_to,
        )

    def _predict_step_(self, other: Any, blocks: Blocks, rate: float, loss: Tensor) -> None:
        """A step of one of `others`."""
        table = self.input.weight
        if self._word_by_word() and hasattr(other, "word_by_word_"):
            loss += other.word_by_word_(table, blocks, self.window, rate, self.mean)
        else:
            other.sgd_step_(*self._predicting(blocks), rate, loss)

    def _word_by_word(self) -> bool:
        """Whether machine code that goes word by word takes the tables."""
        wide = self.input.weight.dtype is dtypes.float32 and self.rounds_to is None
        return self.compiled and wide

    def _predicting(self, blocks: Blocks) -> tuple[Rows, Tensor, Tensor]:
        """The result of `predicted`, with the rows that its vectors are made of."""
        halo, _ = blocks.halves(self.window)
        rows = Rows(self.input.weight.detach(), halo, self.rounds_to)
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
        """See SkipGram; one vector for each centre."""
        x, _, weights, width = self._pairs(blocks)
        return x, blocks.centres, weights[:, :width]

    def _windows(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """A mask of the halo words in each window, (n, L, L + 2w); their number, (n, L, 1);
        the halo; the words to be predicted, and their weights.
        """
        width = 2 * self.window + 1
        halo, negatives = blocks.halves(self.window)
        weights = blocks.weights[:, :width]
        inside = (weights > 0).to(weights.dtype)
        count = inside.sum(1).clamp(min=1).unsqueeze(2)
        counted = ops.cat([weights.amax(1, keepdim=True), blocks.weights[:, width:]], dim=1)
        return dense(inside).mT, count, halo, (ops.cat([blocks.centres, negatives], dim=1), counted)

    def _sample_steps_(self, blocks: Blocks, size: int, lr: Sequence[float], loss: Tensor) -> None:
        """See SkipGram."""
        assert self.output is not None
        tables = self.input.weight, self.output.weight
        if self._word_by_word():
            arrays = [table.array for table in tables], [part.array for part in blocks]
            loss += cbow_sgd_(*arrays, self.window, size, lr, bool(self.mean))
            for table in tables:
                count_change(table)
            return
        into, back, halo, targets = self._matrices(blocks)
        negative_sampling_sgd_(
            *(*tables, loss, halo, *targets),
            width=1,
            size=size,
            lr=lr,
            windows=(into, back),
            half=self.rounds_to,
        )

    def _predicting(self, blocks: Blocks) -> tuple[Rows, Tensor, Tensor]:
        """See SkipGram."""
        into, back, halo, (_, counted) = self._matrices(blocks)
        rows = Windows(self.input.weight.detach(), halo, into, back, self.rounds_to)
        return rows, blocks.centres, counted[:, :1]

    def _matrices(self, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The two `windows` of `negative_sampling_sgd_`; the halo and the targets of `_windows`."""
        inside, count, halo, targets = self._windows(blocks)
        into, back = (inside / count, inside) if self.mean else (inside, inside / count)
        return into, back, halo, targets

"""The training of word vectors by launches that take a million words and more each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, gcd
from typing import Any

from minitorch.backend.cpu import settings
from minitorch.core import dtypes
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import from_numpy, zeros
from minitorch.text.word2vec.damping import LEAST_SQUARE
from minitorch.text.word2vec.hogwild import Job, Shape, hogwild_sgd_
from minitorch.text.word2vec.sampler import RANDOM
from minitorch.text.word2vec.shared import let_go
from minitorch.text.word2vec.training import Chunk, Sums, Trainer

LAUNCH = 1 << 20  # words of one launch, at least, or those of the epoch
RESIDENT = 1 << 28  # words of a corpus that stay on the device, at most; else those of a launch
# Times as many words as are in flight has an epoch, at least, after sub-sampling: rows that many
# steps at once read before they change learn in fewer turns, and the more so in CBOW.
IN_FLIGHT = {"sg": 128, "cbow": 384}
_GOLDEN = 0.6180339887498949  # neighbours in the queue lie apart in the corpus


class HogwildTrainer(Trainer):
    """A `Trainer` whose chunks are launches of `hogwild_sgd_`.

    shape: of the groups. shares: see `hogwild_sgd_`. resident: blocks at work at once, at most;
    None: as many as the device holds.
    """

    def __init__(
        self,
        *about: Any,
        shape: Shape,
        shares: tuple[Tensor, Tensor],
        resident: int | None = None,
    ) -> None:
        super().__init__(*about)
        self.shape, self.shares, self.resident = shape, shares, resident
        self._codes: Tensor | None = None  # of the whole corpus

    @property
    def length(self) -> int:
        """See `Trainer`."""
        launches = max(1, self.words // LAUNCH)
        return ceil(self.words / launches / self.shape.span) * self.shape.span

    def train(self, chunks: Iterable[Chunk | None]) -> Iterator[Sums]:
        """See `Trainer`."""
        with settings.flush_denormal():
            for chunk in filter(None, chunks):
                yield self._launch(chunk)

    def _launch(self, chunk: Chunk) -> Sums:
        sampler, model = self.sampler, self.model
        device = sampler.keep.device
        assert model.output is not None
        origin, codes = self._numbers(chunk)
        tally = zeros(3, dtype=dtypes.float64, device=device)
        with no_grad():
            hogwild_sgd_(
                (model.input.weight, model.output.weight),
                tally,
                codes,
                (sampler.keep, sampler.thresholds, sampler.aliases),
                self.shares,
                self.shape,
                self._job(chunk, origin),
            )
        loss, pairs, _ = tally.tolist()
        return Sums(loss, pairs)

    def _job(self, chunk: Chunk, origin: int) -> Job:
        sampler, schedule, span = self.sampler, self.schedule, self.shape.span
        high, low = self.seed
        words = schedule.epochs * schedule.words
        return Job(
            origin,
            chunk.start,
            chunk.end,
            _stride(ceil((chunk.end - chunk.start) / span)),
            high << 32 | low,
            self.offset + chunk.epoch * self.words * RANDOM,
            (chunk.epoch * schedule.words + chunk.start) / words,
            span / words,
            schedule.high,
            schedule.low,
            sampler.negative,
            sampler.cbow,
            bool(self.model.mean),
            sampler.shrink_windows,
            LEAST_SQUARE["cbow" if sampler.cbow else "sg"],
            self.resident,
        )

    def _numbers(self, chunk: Chunk) -> tuple[int, Tensor]:
        """The codes of a chunk's words on the device, and the position of the first of them."""
        corpus, table, _ = self.numbered
        device, margin = self.sampler.keep.device, self.shape.margin
        if self.words > RESIDENT:
            first = max(0, chunk.start - margin)
            codes = from_numpy(corpus.codes(table, first, chunk.end + margin)).to(device)
            let_go(corpus.tokens)
            return first, codes
        if self._codes is None:
            self._codes = from_numpy(corpus.codes(table)).to(device)
            let_go(corpus.tokens)
        return 0, self._codes


def _stride(chunks: int) -> int:
    """A number that has no divisor in common with this one, a golden part of it."""
    stride = max(1, round(chunks * _GOLDEN))
    while gcd(stride, chunks) > 1:
        stride += 1
    return stride

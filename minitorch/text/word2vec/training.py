"""The training of word vectors: chunks of a corpus, epochs, checkpoints."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from minitorch.backend import inherited
from minitorch.backend.cpu import settings
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.creation import from_numpy, tensor, zeros
from minitorch.data.prefetch import Sent
from minitorch.text.io.encoded import Encoded
from minitorch.text.progress import Progress
from minitorch.text.runs import CheckpointedRun
from minitorch.text.vocab import Vocab
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.sampler import RANDOM, Blocks, BlockSampler, Drawn
from minitorch.text.word2vec.shared import let_go

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

CHUNK = 1 << 16  # words that are made into blocks at once, at most
_EVEN = 8  # long corpora have a multiple of so many chunks, so that workers end together
# Times the loss of vectors of zeros from which on training has failed: in a chunk of the corpus, in
# the first epoch, which begins with steps into the unknown, and in any other.
_FAR_BEYOND, _BEYOND_AT_FIRST, _BEYOND = 10.0, 1.5, 1.1
_BLOCKS = 1024  # at once, on a CPU: fewer take less memory, and the other thread longer


def up_to_date(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a file under the names of today: `step_words` was once called batch_words."""
    options = {"deterministic": None, **options}
    if "step_words" in options:
        return options
    return {**options, "step_words": options["batch_words"], "batch_words": 10_000}


class Numbered(NamedTuple):
    """A corpus, the vocabulary's number of each of its words, and where it is from."""

    corpus: Encoded
    table: Any  # int32
    source: object


class Chunk(NamedTuple):
    """Consecutive words of the corpus: the epoch, the first word and the end."""

    epoch: int
    start: int
    end: int


def chunk_length(words: int) -> int:
    """The length of the equal chunks of a corpus; only the last one may be shorter."""
    count = -(-words // CHUNK)
    if count > _EVEN:
        count = -(-count // _EVEN) * _EVEN
    return -(-words // max(count, 1))


class Sums(NamedTuple):
    """The summed loss of the pairs of a chunk, and their number."""

    loss: float
    pairs: float


class Part(NamedTuple):
    """Some blocks of a chunk, the number of pairs, the rate of each step; `last`: of the chunk."""

    blocks: Blocks
    pairs: Tensor
    rates: list[float]
    last: bool


def _early(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, prefetched by a thread while the caller works on the one before."""
    end: Any = object()

    def send() -> Sent:
        return Sent(next(items, end))

    with ThreadPoolExecutor(1, initializer=inherited()) as thread:
        following = thread.submit(send)
        while (item := following.result().received()) is not end:
            following = thread.submit(send)
            yield item


@dataclass(frozen=True)
class Schedule:
    """How long, and at which rates: alpha falls linearly while epochs * words words go by."""

    epochs: int
    words: int
    high: float
    low: float

    def alpha(self, epoch: int, words: float) -> float:
        """The learning rate after `words` words of an epoch."""
        done = (epoch + words / self.words) / self.epochs
        return self.high + (self.low - self.high) * min(done, 1.0)


class Trainer:
    """Trains a model on chunks of a corpus, in any order.

    random: the generator's state at the beginning of the run. Every chunk has a part of the
    stream to itself, so that its random numbers depend on its position only.
    writing: entered for each step.
    locks: rows of the word vectors, int64 (n,), and which part of a step each of them takes, (n,).
    ahead: prepare the next chunk in a thread, for which NumPy often frees the interpreter.
    """

    def __init__(
        self,
        model: SkipGram,
        sampler: BlockSampler,
        numbered: Numbered,
        schedule: Schedule,
        blocks_at_once: int,
        random: Tensor,
        writing: AbstractContextManager[object] | None = None,
        locks: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.model, self.sampler, self.numbered = model, sampler, numbered
        self.schedule, self.blocks_at_once = schedule, blocks_at_once
        *self.seed, self.offset = random.tolist()
        self.writing, self.locks = writing, locks
        self.ahead = True
        self.words = len(numbered.corpus.tokens)

    @property
    def length(self) -> int:
        """Words of the chunks that the corpus is to come in."""
        return chunk_length(self.words)

    def random(self, epoch: int, start: int = 0) -> Tensor:
        """The generator's state for a chunk."""
        state = [*self.seed, self.offset + (epoch * self.words + start) * RANDOM]
        return tensor(state, dtype=dtypes.int64, device="cpu")

    def train(self, chunks: Iterable[Chunk | None]) -> Iterator[Sums]:
        """Train on one chunk after another; None is no chunk."""
        parts = self._parts(chunks)
        done = Sums(0.0, 0.0)
        with settings.flush_denormal():
            for part in _early(parts) if self.ahead else parts:
                sums = self._step_over(part)
                done = Sums(done.loss + sums.loss, done.pairs + sums.pairs)
                if part.last:
                    yield done
                    done = Sums(0.0, 0.0)

    def _parts(self, chunks: Iterable[Chunk | None]) -> Iterator[Part]:
        """The chunks in parts that take little memory; on a GPU, in few launches."""
        size = self.blocks_at_once
        for chunk in filter(None, chunks):
            drawn = self._drawn(chunk)
            n = len(drawn.start)
            on_cpu = self.sampler.keep.device.type == "cpu"
            length = max(1, _BLOCKS // size) * size if on_cpu else max(1, n)
            words = (chunk.end - chunk.start) / max(1, n)  # to a block
            for first in range(0, max(1, n), length):
                last = min(first + length, n)
                rates = [
                    self.schedule.alpha(chunk.epoch, chunk.start + i * words)
                    for i in range(first, last, size)
                ]
                blocks = drawn.blocks(first, last)
                yield Part(blocks, self.sampler.pairs(blocks), rates, last == n)

    def _drawn(self, chunk: Chunk) -> Drawn:
        corpus, table, _ = self.numbered
        self.sampler.generator.set_state(self.random(chunk.epoch, chunk.start))
        tokens, sentences = (
            from_numpy(part).to(self.sampler.keep.device).long()
            for part in corpus.number(table, chunk.start, chunk.end)
        )
        let_go(corpus.tokens)
        return self.sampler.draw(tokens, sentences)

    def _step_over(self, part: Part) -> Sums:
        """Steps over the blocks of a part."""
        (blocks, pairs, rates, _), size = part, self.blocks_at_once
        loss = zeros((), dtype=dtypes.float64, device=self.sampler.keep.device)
        if self.writing is None and self.locks is None:
            self.model.sgd_steps_(blocks, size, rates, loss)
        else:
            for batch, rate in zip(blocks.split(size), rates, strict=True):
                with self.writing or nullcontext(), self._locked():
                    self.model.sgd_steps_(batch, size, [rate], loss)
        return Sums(loss.item(), pairs.item())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Locked rows take only their part of what a step does to them."""
        if self.locks is None:
            yield
            return
        (rows, parts), table = self.locks, self.model.input.weight.detach()
        before = table[rows]
        yield
        table[rows] = before + parts.unsqueeze(1) * (table[rows] - before)


class Team(Protocol):
    """An object that trains on chunks: a `Trainer`, or several processes that have one each."""

    def train(self, chunks: Iterable[Chunk | None]) -> Iterator[Sums]:
        """Train on chunks; their sums come in the order of the chunks."""


@dataclass
class Position:
    """How far a run is: epochs done, words of the next one, sums of its loss and of its pairs."""

    epoch: int = 0
    word: int = 0
    loss: float = 0.0
    pairs: float = 0.0
    losses: list[float] = field(default_factory=list)  # of the epochs done
    total: float = 0.0  # the sum of the loss over the pairs of the epochs done


@dataclass
class Run(CheckpointedRun):
    """The state and options of one call of `train`.

    state: gives what the file of the model holds, to which a checkpoint adds the run.
    identity: options that must equal those of a checkpoint. begun, ended: called with each epoch.
    zeros: mean loss per pair of vectors of zeros. team: opens the trainer or the worker processes.
    """

    trainer: Trainer
    vocab: Vocab
    progress: bool | None
    state: Callable[[], dict[str, Any]]
    identity: dict[str, Any]
    begun: Callable[[], object]
    ended: Callable[[float], object]
    zeros: float
    checkpoint: Path | None = None
    save_every: int | None = None
    team: Callable[[Trainer], AbstractContextManager[Team]] = nullcontext
    overwrite: bool = False

    def __post_init__(self) -> None:
        self.kind, self.unit, self.position = "Word2Vec", "word", Position()
        self.model, self.schedule = self.trainer.model, self.trainer.schedule
        self.epochs, self.device = self.schedule.epochs, self.trainer.sampler.keep.device
        self.words = self.trainer.words
        self.length = self.trainer.length

    # ------------------------------------------------------------------ epochs
    def _run(self, stop: list[bool]) -> None:
        settings.keep_heap()
        position, epochs = self.position, self.epochs
        done = position.epoch * self.words + position.word
        shown = Progress("training", epochs * self.words, "word", self.progress, done)
        with shown, self.team(self.trainer) as team:
            for epoch in range(position.epoch, epochs):
                shown.name(f"epoch {epoch + 1}/{epochs}")
                self._epoch(team, shown, stop)
        self.trainer.sampler.generator.set_state(self.trainer.random(epochs))

    def _epoch(self, team: Team, shown: Progress, stop: list[bool]) -> None:
        """The rest of an epoch."""
        position = self.position
        if not position.word:
            self.begun()
        began, words = time.perf_counter(), position.word
        while position.word < self.words:
            for loss, pairs in team.train(self._chunks(stop)):
                self._check(loss, pairs, _FAR_BEYOND)
                position.loss += loss
                position.pairs += pairs
                before, position.word = position.word, min(position.word + self.length, self.words)
                rate = (position.word - words) / max(time.perf_counter() - began, 1e-9)
                text = f"{rate:,.0f} words/s, loss={self._mean():.4f}"
                shown.show(position.epoch * self.words + position.word, text)
                self.unsaved += position.word - before
            if position.word < self.words:
                self._save_if_due(stop)
        if not position.pairs:
            warnings.warn(
                f"Word2Vec: sub-sampling (sample={self.identity['sample']}) has left no pair of "
                "words in an epoch: a corpus as small as this needs a larger sample, or 0",
                stacklevel=5,
            )
        self._check(position.loss, position.pairs, _BEYOND if position.epoch else _BEYOND_AT_FIRST)
        position.losses.append(self._mean() if position.pairs else math.nan)
        position.total += position.loss
        logger.info(
            "%s: %.1f s, loss=%.4f", shown.what, time.perf_counter() - began, position.losses[-1]
        )
        position.epoch, position.word = position.epoch + 1, 0
        position.loss, position.pairs = 0.0, 0.0
        self.ended(position.losses[-1])
        self._save_if_due(stop, epoch=True)

    def _chunks(self, stop: list[bool]) -> Iterator[Chunk]:
        """The chunks of the epoch, until a checkpoint is due."""
        epoch, first, unsaved = self.position.epoch, self.position.word, self.unsaved
        for start in range(first, self.words, self.length):
            due = self._is_much(unsaved + start - first) or stop
            if self.checkpoint is not None and due and start > first:
                return
            yield Chunk(epoch, start, min(start + self.length, self.words))

    def _mean(self) -> float:
        """Mean loss per pair so far."""
        mean: float = self.position.loss / max(self.position.pairs, 1.0)
        return mean

    def _check(self, loss: float, pairs: float, times: float) -> None:
        """Raise FloatingPointError for a loss so many times that of vectors of zeros, or no number.

        Training goes below it at once, and stays there unless steps are too long.
        """
        mean = loss / max(pairs, 1.0)
        if mean <= times * self.zeros or (math.isfinite(mean) and not self.schedule.high):
            return
        raise FloatingPointError(
            f"Word2Vec: the loss is {mean:.6g} a pair in epoch {self.position.epoch + 1}, vectors "
            f"of zeros have {self.zeros:.4g}: use a smaller alpha than {self.schedule.high}, fewer "
            f"negatives than {self.identity['negative']} or a smaller window than "
            f"{self.identity['window']}"
        )

    # ------------------------------------------------------------------ checkpoints
    def _held(self) -> dict[str, Any]:
        run = {
            "place": asdict(self.position),
            "schedule": asdict(self.schedule),
            "corpus": self.trainer.numbered.corpus.fingerprint(),
            "random": self.trainer.random(0),
        }
        random = self.trainer.random(self.position.epoch)
        return {**self.state(), "random": random, "run": run}

    def load(self) -> list[float]:
        """Go on from the checkpoint; returns the losses of the model's epochs up to there.

        Raises FileNotFoundError, and ValueError, before anything changes, for a file that is not a
        checkpoint or is one of another vocabulary, corpus, schedule or other options.
        """
        with self._resuming() as (path, held):
            run, losses = held["run"], [float(loss) for loss in held["record"]["losses"]]
            self._check_run(path, Vocab.from_state_dict(held["vocab"]), held["options"], run)
            position, (*seed, offset) = Position(**run["place"]), run["random"].tolist()
            self.model.load_state_dict(held["model"])
        self.position, self.trainer.seed, self.trainer.offset = position, seed, offset
        return losses

    def _check_run(
        self, path: Path, vocab: Vocab, options: dict[str, Any], run: dict[str, Any]
    ) -> None:
        """Raise ValueError if a checkpoint is not one of this run."""
        if (
            vocab.index_to_key != self.vocab.index_to_key
            or (vocab.counts != self.vocab.counts).any()
        ):
            raise ValueError(
                f"{path} is of another vocabulary: it has {len(vocab)} words with "
                f"{vocab.counts.sum()} occurrences, the corpus {len(self.vocab)} with "
                f"{self.vocab.counts.sum()}"
            )
        had = {**up_to_date(options), **run["schedule"]}
        self._check_options(path, had, {**self.identity, **asdict(self.schedule)})
        if run["corpus"] != self.trainer.numbered.corpus.fingerprint():
            raise ValueError(f"{path} is of another corpus")

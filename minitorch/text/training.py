"""The training of word vectors: stretches of a corpus, epochs, checkpoints."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tqdm import tqdm

from minitorch import dtypes
from minitorch.backend.cpu import settings
from minitorch.creation import from_numpy, tensor
from minitorch.optim import SGD
from minitorch.serialization import load, save
from minitorch.tensor import Tensor
from minitorch.text.corpus import hidden
from minitorch.text.encoded import Encoded
from minitorch.text.skip_gram import Blocks, BlockSampler, SkipGram
from minitorch.text.vocab import Vocab

STRETCH = 1 << 16  # words that are made into blocks at once
_FORMAT = "minitorch word2vec 1"


class Numbered(NamedTuple):
    """A corpus, the vocabulary's number of each of its words, and where it is from."""

    corpus: Encoded
    table: Any  # int32
    source: object


class _Stretch(NamedTuple):
    """The words start ... end - 1 as blocks, and the place in the random stream behind them."""

    start: int
    end: int
    blocks: Blocks
    random: Tensor


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


@dataclass
class Place:
    """How far a run is: epochs done, words of the next one, sums of its loss and of its pairs."""

    epoch: int = 0
    word: int = 0
    loss: float = 0.0
    pairs: float = 0.0
    losses: list[float] = field(default_factory=list)  # of the epochs done


@dataclass
class Run:
    """Everything that one call of `train` works with.

    identity: options that a checkpoint must have in common. begun, ended: called with each epoch.
    checkpoint: the file that holds the run; save_every: words between two writings, None for once
    an epoch.
    """

    model: SkipGram
    sampler: BlockSampler
    vocab: Vocab
    numbered: Numbered
    schedule: Schedule
    blocks_at_once: int
    progress: bool | None
    identity: dict[str, Any]
    begun: Callable[[], object]
    ended: Callable[[float], object]
    checkpoint: Path | None = None
    save_every: int | None = None

    def __post_init__(self) -> None:
        self.optimizer = SGD(self.model.parameters(), lr=self.schedule.high)
        self.place = Place()
        self.random = self.sampler.generator.get_state()  # for the word at self.place
        self.unsaved = 0

    # ------------------------------------------------------------------ epochs
    def run(self) -> None:
        """Train from where the run stands to the end of its last epoch."""
        if self.checkpoint is not None:
            self.save()
        settings.keep_heap()
        words, place = len(self.numbered.corpus.tokens), self.place
        bar: tqdm[NoReturn] = tqdm(
            total=self.schedule.epochs * words,
            initial=place.epoch * words + place.word,
            unit="word",
            unit_scale=True,
            disable=hidden(self.progress),
        )
        with settings.flush_denormal(), bar, _interrupts(self.checkpoint is not None) as stop:
            for epoch in range(place.epoch, self.schedule.epochs):
                bar.set_description(f"epoch {epoch + 1}/{self.schedule.epochs}")
                self._epoch(bar, stop)

    def _epoch(self, bar: tqdm[NoReturn], stop: list[bool]) -> None:
        """The rest of an epoch."""
        place, words = self.place, len(self.numbered.corpus.tokens)
        if not place.word:
            self.begun()
        device = self.sampler.keep.device
        sums = tensor([place.loss, place.pairs], dtype=dtypes.float64, device=device)
        loss, pairs = sums
        for stretch in self._stretches(place.word):
            self._train(stretch, loss)
            pairs += self.sampler.pairs(stretch.blocks)
            place.word, self.random = stretch.end, stretch.random
            place.loss, place.pairs = loss.item(), pairs.item()
            bar.set_postfix(loss=f"{self._mean():.4f}", refresh=False)
            bar.update(stretch.end - stretch.start)
            self.unsaved += stretch.end - stretch.start
            if stretch.end < words:
                self._save_if_due(stop)
        if not place.pairs:
            raise ValueError(
                "Word2Vec: the corpus has no pair of words in one sentence that sub-sampling kept"
            )
        place.losses.append(self._mean())
        place.epoch, place.word, place.loss, place.pairs = place.epoch + 1, 0, 0.0, 0.0
        self.ended(place.losses[-1])
        self._save_if_due(stop, epoch=True)

    def _train(self, stretch: _Stretch, loss: Tensor) -> None:
        """Steps over the blocks of a stretch, whose losses are added to `loss`."""
        group, size = self.optimizer.param_groups[0], self.blocks_at_once
        start, end, blocks, _ = stretch
        step = (end - start) * size / max(1, len(blocks.centres))
        for i, batch in enumerate(blocks.split(size)):
            group["lr"] = self.schedule.alpha(self.place.epoch, start + i * step)
            batch_loss = self.model(batch)
            batch_loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            loss += batch_loss.detach()

    def _stretches(self, first: int) -> Iterator[_Stretch]:
        """One stretch of the corpus after another, from a word on.

        A thread prepares the next while the caller works on one: NumPy frees the interpreter.
        """
        corpus, table, _ = self.numbered
        words, device = len(corpus.tokens), self.sampler.keep.device
        generator = self.sampler.generator

        def prepare(start: int) -> _Stretch:
            end = min(start + STRETCH, words)
            tokens, sentences = (
                from_numpy(part).to(device).long() for part in corpus.number(table, start, end)
            )
            blocks = self.sampler.blocks(tokens, sentences)
            return _Stretch(start, end, blocks, generator.get_state())

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(prepare, first)
            for start in range(first + STRETCH, words, STRETCH):
                ready = ahead.result()
                ahead = thread.submit(prepare, start)
                yield ready
            yield ahead.result()

    def _mean(self) -> float:
        """Mean loss per pair so far. Raises FloatingPointError if it is not finite."""
        mean = self.place.loss / max(self.place.pairs, 1.0)
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"Word2Vec: the loss is {mean} after {self.place.word} words of an epoch: "
                f"use a smaller alpha than {self.schedule.high} or a smaller batch_words than "
                f"{self.identity['batch_words']}"
            )
        return mean

    # ------------------------------------------------------------------ checkpoints
    def _save_if_due(self, stop: list[bool], epoch: bool = False) -> None:
        if self.checkpoint is None:
            return
        due = epoch if self.save_every is None else self.unsaved >= self.save_every
        if due or stop or self.place.epoch == self.schedule.epochs:
            self.save()
        if stop:
            raise KeyboardInterrupt(
                f"stopped after {self.place.epoch} of {self.schedule.epochs} epochs and "
                f"{self.place.word} words; {self.checkpoint} holds the run up to there, and "
                "resume=True goes on from it"
            )

    def save(self) -> None:
        """Write the checkpoint; it appears under its name when it is complete."""
        assert self.checkpoint is not None
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "format": _FORMAT,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random,
            "place": asdict(self.place),
            "words": json.dumps(self.vocab.index_to_key),
            "counts": json.dumps(self.vocab.counts.tolist()),
            **self._expected(),
        }
        save(state, self.checkpoint)
        self.unsaved = 0

    def _expected(self) -> dict[str, Any]:
        """What a checkpoint and the run that goes on from it have in common."""
        corpus = self.numbered.corpus.fingerprint()
        return {"options": self.identity, "schedule": asdict(self.schedule), "corpus": corpus}

    def load(self) -> None:
        """Go on from the checkpoint.

        Raises FileNotFoundError, and ValueError, before anything changes, for a file that is not a
        checkpoint or is one of another vocabulary, corpus, schedule or other options.
        """
        assert self.checkpoint is not None
        state = load(self.checkpoint, device=self.sampler.keep.device)
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise ValueError(f"{self.checkpoint} is not a checkpoint of Word2Vec")
        words, counts = json.loads(state["words"]), json.loads(state["counts"])
        if words != self.vocab.index_to_key or counts != self.vocab.counts.tolist():
            raise ValueError(
                f"{self.checkpoint} is of another vocabulary: it has {len(words)} words with "
                f"{sum(counts)} occurrences, the corpus {len(self.vocab)} with "
                f"{self.vocab.counts.sum()}"
            )
        expected = self._expected()
        for kind in ("options", "schedule"):
            for name, value in expected[kind].items():
                if state[kind].get(name) != value:
                    raise ValueError(
                        f"{self.checkpoint} is of a run with {name}={state[kind].get(name)!r}, "
                        f"this one has {name}={value!r}"
                    )
        if state["corpus"] != expected["corpus"]:
            raise ValueError(f"{self.checkpoint} is of another corpus")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random = state["random"].cpu()
        self.sampler.generator.set_state(self.random)
        self.place = Place(**state["place"])


@contextmanager
def _interrupts(deferred: bool) -> Iterator[list[bool]]:
    """Ctrl-C is noted in the list, to be acted upon between two stretches; a second acts at once.

    In the main thread only, and not without `deferred`.
    """
    noted: list[bool] = []
    if not deferred or threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(*_: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def call_all(callbacks: Sequence[Any], name: str, model: object) -> None:
    """Call a method of each callback, in order; one that has no such method is left out."""
    for callback in callbacks:
        method = getattr(callback, name, None)
        if method is not None:
            method(model)

"""Word2Vec: word vectors of a corpus, with gensim's names."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tqdm import tqdm

from minitorch import dtypes
from minitorch.backend import Device, get_default_device
from minitorch.backend.cpu import settings
from minitorch.creation import from_numpy, zeros
from minitorch.optim import SGD
from minitorch.random import Generator
from minitorch.tensor import Tensor
from minitorch.text.corpus import Corpus, hidden
from minitorch.text.encoded import Encoded, encode
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.skip_gram import Blocks, BlockSampler, SkipGram
from minitorch.text.vocab import Vocab, alias_table

Sentences = Iterable[Sequence[str]]

_CHUNK = 1 << 16  # tokens that are made into blocks at once
_MOST_OFTEN = 6.1  # times that a step may have the most frequent word, on average


class _Numbered(NamedTuple):
    """A corpus, the vocabulary's number of each of its words, and where it is from."""

    corpus: Encoded
    table: Any  # int32
    source: object


def _stretches(
    numbered: _Numbered, sampler: BlockSampler, device: Device
) -> Iterator[tuple[int, int, Blocks]]:
    """Blocks of one stretch of the corpus after another, with its first and last word.

    A thread prepares the next while the caller works on one: NumPy frees the interpreter.
    """
    corpus, table, _ = numbered
    words = len(corpus.tokens)

    def prepare(start: int) -> tuple[int, int, Blocks]:
        end = min(start + _CHUNK, words)
        tokens, sentences = (
            from_numpy(part).to(device).long() for part in corpus.number(table, start, end)
        )
        return start, end, sampler.blocks(tokens, sentences)

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(prepare, 0)
        for start in range(_CHUNK, words, _CHUNK):
            ready = ahead.result()
            ahead = thread.submit(prepare, start)
            yield ready
        yield ahead.result()


class Word2Vec:
    """Skip-gram with negative sampling (Mikolov et al. 2013), on any device.

    sentences: lists of words, e.g. `Corpus("gcide")`.
    corpus_file: a text file instead (plain, .gz, .bz2 or .xz) or a folder of them, a sentence on
    each line, words between blanks. A corpus is read once; its numbers, past a million words, are
    in a temporary file, or in the folder `cache`, where later runs find those of the same files.
    vector_size: length of a vector. window: words on either side, at most; each centre draws its
    own reach evenly from 1 ... window. min_count: leave out words seen less often. sample:
    threshold of sub-sampling, 0 for none. negative: noise words to a pair, drawn in proportion
    to count ** ns_exponent. epochs: passes over the corpus. alpha, min_alpha: learning rate at
    the beginning and the end, linear between. seed: equal seeds give equal vectors.
    progress: show bars (None: where stderr is a terminal).

    block_size, pool_size, batch_words: how the work is cut up. A step takes blocks of
    `block_size` words with `pool_size` noise words each, `batch_words` in all, or fewer where
    the most frequent word would come more than six times among them.

    As in gensim: `wv` (KeyedVectors), `build_vocab`, `train`, `corpus_count`,
    `corpus_total_words`. Besides: `vocab`, `model` (the SkipGram module) and `losses`, the mean
    loss per pair of each epoch, summed in float64.

    Where it differs from word2vec.c and gensim: gradients of `batch_words` words are summed
    before they are applied. The pairs of a block share their negatives, among which there is
    neither the centre nor a word of its window. A word that stands in a block more than twice
    counts as a centre (in the loss, too) as if it stood there twice. Blocks come in random order
    within stretches of 65,536 words. The default of alpha is higher.

    Raises ValueError for options out of range and a corpus without pairs, FloatingPointError
    if the loss is not finite.
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | Path | None = None,
        vector_size: int = 100,
        alpha: float = 0.05,
        window: int = 5,
        min_count: int = 5,
        *,
        sample: float = 1e-3,
        seed: int = 1,
        min_alpha: float = 1e-4,
        sg: int = 1,
        negative: int = 5,
        ns_exponent: float = 0.75,
        epochs: int = 5,
        device: Device | str | None = None,
        block_size: int = 32,
        pool_size: int = 48,
        batch_words: int = 512,
        progress: bool | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if sg != 1:
            raise ValueError(
                f"Word2Vec: sg: expected 1 (skip-gram), the only model here, got {sg!r}"
            )
        self.vector_size, self.window, self.negative = vector_size, window, negative
        self.min_count, self.sample, self.ns_exponent = min_count, sample, ns_exponent
        self.alpha, self.min_alpha, self.epochs, self.seed = alpha, min_alpha, epochs, seed
        self.block_size, self.pool_size, self.batch_words = block_size, pool_size, batch_words
        self.device = get_default_device() if device is None else Device(device)
        self.progress, self.cache = progress, cache
        self._check()
        self.generator = Generator().manual_seed(seed)
        self.corpus_count = self.corpus_total_words = 0
        self.losses: list[float] = []  # of each epoch
        self.total_train_time = 0.0
        self._numbered: _Numbered | None = None
        if sentences is not None or corpus_file is not None:
            _check_passes(sentences, epochs + 1)
            self.build_vocab(sentences, corpus_file)
            self.train()

    def _check(self) -> None:
        for name in (
            *("vector_size", "window", "negative", "min_count", "epochs"),
            *("block_size", "pool_size", "batch_words"),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Word2Vec: {name}: expected an integer above 0, got {value!r}")
        if not 0 <= self.min_alpha <= self.alpha:
            raise ValueError(
                f"Word2Vec: expected 0 <= min_alpha <= alpha, got min_alpha={self.min_alpha} and "
                f"alpha={self.alpha}"
            )
        if not 0 <= self.sample < 1:
            raise ValueError(f"Word2Vec: sample: expected 0 <= sample < 1, got {self.sample}")

    # ------------------------------------------------------------------ vocabulary
    def build_vocab(
        self, corpus_iterable: Sentences | None = None, corpus_file: str | Path | None = None
    ) -> None:
        """Count the words of a corpus (see the constructor), number it, and make new vectors."""
        source, corpus = self._read(corpus_iterable, corpus_file)
        vocab = Vocab.from_encoded(corpus, self.min_count)
        if len(vocab) == 1:
            raise ValueError(
                f"Word2Vec: the corpus has one word only, {vocab.index_to_key[0]!r}: nothing to "
                "tell it from"
            )
        self.vocab = vocab
        self.corpus_count, self.corpus_total_words = corpus.count, corpus.total
        self._numbered = self._number(source, corpus)
        self.model = SkipGram(
            len(vocab), self.vector_size, self.window, generator=self.generator, device=self.device
        )
        self.losses = []
        self.wv = KeyedVectors(
            self.vector_size,
            vocab.index_to_key,
            self.model.input.weight.detach(),
            vocab.counts.tolist(),
        )

    def _read(
        self, sentences: Sentences | None, corpus_file: str | Path | None
    ) -> tuple[object, Encoded]:
        if (sentences is None) == (corpus_file is None):
            raise TypeError("Word2Vec: expected either sentences (corpus_iterable) or corpus_file")
        if corpus_file is not None:
            return str(corpus_file), self._encode(Corpus(corpus_file, tokenizer=str.split))
        assert sentences is not None
        if isinstance(sentences, str):
            raise TypeError(
                f"Word2Vec: sentences: expected lists of words, got the string {sentences[:40]!r} "
                "(corpus_file takes the path of a file, minitorch.text.Corpus names of sources)"
            )
        return sentences, self._encode(sentences)

    def _encode(self, sentences: Sentences) -> Encoded:
        return encode(sentences, self.progress, cache=self.cache)

    def _number(self, source: object, corpus: Encoded) -> _Numbered:
        return _Numbered(corpus, self.vocab.table(corpus), source)

    # ------------------------------------------------------------------ training
    def train(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | Path | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
    ) -> float:
        """Train on the corpus of `build_vocab`, or on another; returns the last epoch's loss.

        Without epochs, start_alpha or end_alpha those of the constructor hold. total_examples
        and total_words are there for gensim's sake: the corpus is counted.
        """
        epochs = self.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"Word2Vec: train: epochs: expected at least 1, got {epochs}")
        _check_passes(corpus_iterable, epochs)
        corpus = self._corpus(corpus_iterable, corpus_file)
        high = self.alpha if start_alpha is None else start_alpha
        low = self.min_alpha if end_alpha is None else end_alpha

        def alpha(passes: float) -> float:
            return high + (low - high) * passes / epochs

        sampler = self._sampler()
        optimizer = SGD(self.model.parameters(), lr=high)
        began = time.perf_counter()
        settings.keep_heap()
        words = len(corpus.corpus.tokens)
        bar = tqdm(
            total=epochs * words, unit="word", unit_scale=True, disable=hidden(self.progress)
        )
        with settings.flush_denormal(), bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}")
                self.losses.append(self._epoch(corpus, sampler, optimizer, epoch, alpha, bar))
        self.total_train_time += time.perf_counter() - began
        return self.losses[-1]

    def _epoch(
        self,
        corpus: _Numbered,
        sampler: BlockSampler,
        optimizer: SGD,
        epoch: int,
        alpha: Callable[[float], float],
        bar: tqdm[NoReturn],
    ) -> float:
        """One pass over the corpus; returns the mean loss per pair."""
        group = optimizer.param_groups[0]
        blocks_at_once = self._blocks_at_once()
        loss, pairs = zeros(2, dtype=dtypes.float64, device=self.device)
        words = len(corpus.corpus.tokens)
        for start, end, blocks in _stretches(corpus, sampler, self.device):
            step = (end - start) * blocks_at_once / max(1, len(blocks.centres))
            for i, batch in enumerate(blocks.split(blocks_at_once)):
                group["lr"] = alpha(epoch + (start + i * step) / words)
                batch_loss = self.model(batch)
                batch_loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                loss += batch_loss.detach()
            pairs += sampler.pairs(blocks)
            bar.set_postfix(loss=f"{self._mean(loss, pairs, end):.4f}", refresh=False)
            bar.update(end - start)
        if not pairs.item():
            raise ValueError(
                "Word2Vec: the corpus has no pair of words in one sentence that sub-sampling kept"
            )
        return self._mean(loss, pairs, words)

    def _blocks_at_once(self) -> int:
        """Blocks to a step: few enough that no word's gradients are summed too often."""
        kept = self.vocab.keep_probabilities(self.sample) * self.vocab.counts
        noise = self.vocab.noise_probabilities(self.ns_exponent)
        often = max(kept.max() / kept.sum(), noise.max())
        return max(1, int(min(self.batch_words, _MOST_OFTEN / often)) // self.block_size)

    def _mean(self, loss: Tensor, pairs: Tensor, words: int) -> float:
        mean: float = loss.item() / max(pairs.item(), 1.0)
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"Word2Vec: the loss is {mean} after {words} words of an epoch: "
                f"use a smaller alpha than {self.alpha} or a smaller batch_words than "
                f"{self.batch_words}"
            )
        return mean

    def _corpus(self, sentences: Sentences | None, corpus_file: str | Path | None) -> _Numbered:
        if self._numbered is None:
            raise RuntimeError("Word2Vec: train: build_vocab has to come first")
        source = self._numbered.source
        given = sentences if corpus_file is None else str(corpus_file)
        if given is None or given is source or (isinstance(given, str) and given == source):
            return self._numbered
        corpus = self._number(*self._read(sentences, corpus_file))
        if not (corpus.table >= 0).any():
            raise ValueError("Word2Vec: train: the corpus has no word of the vocabulary")
        return corpus

    def _sampler(self) -> BlockSampler:
        tables = (
            self.vocab.keep_probabilities(self.sample),
            *alias_table(self.vocab.noise_probabilities(self.ns_exponent)),
        )
        keep, thresholds, aliases = (from_numpy(table).to(self.device) for table in tables)
        return BlockSampler(
            keep.float(),
            thresholds.float(),
            aliases,
            self.generator,
            window=self.window,
            negative=self.negative,
            block_size=self.block_size,
            pool_size=self.pool_size,
        )

    def get_latest_training_loss(self) -> float:
        """Mean loss per pair of the last epoch (gensim has a running sum here)."""
        return self.losses[-1] if self.losses else 0.0

    def __repr__(self) -> str:
        words = len(self.vocab) if self._numbered else 0
        return (
            f"Word2Vec(vocab={words}, vector_size={self.vector_size}, alpha={self.alpha}, "
            f"epochs={self.epochs}, device={str(self.device)!r})"
        )


def _check_passes(sentences: Sentences | None, passes: int) -> None:
    """TypeError for an iterator where one pass is not enough, as in gensim."""
    if passes > 1 and sentences is not None and iter(sentences) is sentences:
        raise TypeError(
            f"Word2Vec: sentences: {passes} passes need what can be read again (a list, a Corpus, "
            f"an object with __iter__), got an iterator ({type(sentences).__name__})"
        )

"""Word2Vec: word vectors of a corpus, with gensim's names."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from minitorch.backend import Device, get_default_device
from minitorch.backend.cpu.word2vec import check_kernels, has_kernels
from minitorch.creation import empty, from_numpy
from minitorch.nn import Module
from minitorch.random import Generator
from minitorch.tensor import Tensor, no_grad
from minitorch.text import model_file, prediction
from minitorch.text.corpus import Corpus
from minitorch.text.encoded import Encoded, encode, from_frequencies
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.parallel import Starting, processes
from minitorch.text.shared import memory_of, share
from minitorch.text.skip_gram import CBOW, BlockSampler, SkipGram
from minitorch.text.softmax import FullSoftmax, HierarchicalSoftmax
from minitorch.text.training import STRETCH, Numbered, Run, Schedule, Trainer, call_all
from minitorch.text.vocab import TrimRule, Vocab, alias_table, scan

Sentences = Iterable[Sequence[str]]

# Times that a step may have the most frequent word, on average: CBOW has fewer pairs of it.
_MOST_OFTEN = {"sg": 6.1, "cbow": 12.2}
# Words, those of all epochs, that take as long without Numba's machine code as with its import.
_WORTH_IT = 2_000_000
_BYTES = 6  # of a file to a word, about
# Options that the result depends on: a checkpoint must have them in common.
_OPTIONS = (
    *("vector_size", "window", "negative", "hs", "full_softmax", "sg", "cbow_mean"),
    *("shrink_windows", "sample", "ns_exponent", "seed", "block_size", "pool_size", "batch_words"),
)
# What the file of a model holds besides these options, words and tables.
_OTHER_OPTIONS = (
    *("alpha", "min_alpha", "epochs", "min_count", "max_vocab_size", "max_final_vocab"),
    *("sorted_vocab", "workers", "compute_loss", "comment"),
)
_RECORD = ("corpus_count", "corpus_total_words", "losses", "total_train_time")


class Word2Vec:
    """Skip-gram and CBOW (Mikolov et al. 2013), on any device.

    sentences: lists of words, e.g. `Corpus("gcide")`.
    corpus_file: a text file instead (plain, .gz, .bz2 or .xz) or a folder of them, a sentence on
    each line, words between blanks. A corpus is read once; its numbers, past a million words, are
    in a temporary file, or in the folder `cache`, where later runs find those of the same files.
    vector_size: length of a vector. window: words on either side, at most; each centre draws its
    own reach evenly from 1 ... window, unless shrink_windows is False. min_count: leave out words
    seen less often. sample: threshold of sub-sampling, 0 for none.
    sg: 1 for skip-gram, 0 for CBOW, in which the mean (cbow_mean=1) or sum (0) of a window's
    vectors predicts its centre. What is learnt: negative sampling with `negative` noise words to
    a pair, drawn in proportion to count ** ns_exponent; with hs=1 hierarchical softmax, with
    full_softmax=1 the softmax over all words. Of several the losses are added, as in gensim:
    negative=0 leaves only the others.
    epochs: passes over the corpus. alpha, min_alpha: learning rate at the beginning and the end,
    linear between. seed: equal seeds give equal vectors (but see workers; on a GPU, which adds up
    rows in no fixed order, under `use_deterministic_algorithms(True)`).
    max_vocab_size: forget the rarest words while counting where there are more; the corpus is
    then read twice. max_final_vocab: raise min_count until no more words are left. trim_rule: see
    `vocab.keep`. sorted_vocab: 0 to leave words in the order in which they appear.
    callbacks: see `CallbackAny2Vec`. progress: show bars (None: where stderr is a terminal).
    workers: processes that train at once on the CPU, on tables that they share (see
    `minitorch.text.parallel`); a GPU has one, and a corpus of n words no more than n / 65,536.
    Several write without a lock, so that no two runs are equal. Under
    `use_deterministic_algorithms(True)` they keep in step, and equal seeds and workers give equal
    vectors, in about twice the time: one worker is then faster at skip-gram.
    compute_loss, hashfxn, comment, null_word: for gensim's sake, without effect: the loss is
    always there.

    checkpoint: file that holds the run; it is written at the start, after each epoch or (with
    save_every) after so many words, and on Ctrl-C. resume=True goes on from it: the vectors are
    then, bit for bit, those of a run that never stopped.

    block_size, pool_size, batch_words: how the work is cut up. A step takes blocks of
    `block_size` words with `pool_size` noise words each (None: 48, in CBOW 16), `batch_words` in
    all, or fewer where the most frequent word would come more than six times among them (CBOW:
    twelve times).

    compiled: whether Numba's machine code does the work of negative sampling on the CPU (None:
    where the extra `numba` is installed and two million words or more are to be trained on, those
    of all epochs). Vectors differ by rounding only; what is promised about equal ones holds between
    runs of one setting. A checkpoint can go on with another.

    As in gensim: `wv` (KeyedVectors), `build_vocab`, `build_vocab_from_freq`, `reset_from`,
    `train`, `save`, `load`, `predict_output_word`, `score`, `syn1`, `syn1neg`, `corpus_count`,
    `corpus_total_words`. Left out are the parts that gensim's build_vocab consists of
    (scan_vocab, prepare_vocab, prepare_weights, ...), `init_sims`, which is obsolete,
    `estimate_memory`, and the log of its life. Besides: `vocab`, `model` (the SkipGram or CBOW
    module) and `losses`, the mean loss per pair of each epoch, summed in float64.

    Where it differs from word2vec.c and gensim: gradients of `batch_words` words are summed
    before they are applied. The pairs of a block share their negatives, among which there is
    neither the centre nor (skip-gram) a word of its window. A word that stands in a block more
    than twice counts as a centre (in the loss, too) as if it stood there twice. Blocks come in
    random order within stretches of at most 65,536 words.
    With hs=1 nodes of the tree that many pairs of a step pass move less; with it or full_softmax=1
    in skip-gram so do vectors of words that stand in a block and its window more than twice.
    Defaults: alpha is higher, sg is 1.

    Raises ValueError for options out of range, a corpus without pairs and a checkpoint of another
    run, TypeError for an iterator, which cannot be read again, FloatingPointError if the loss is
    not finite. Where sub-sampling leaves no pair to an epoch there is a warning, and no loss (nan).
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
        max_vocab_size: int | None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int = 1,
        min_alpha: float = 1e-4,
        sg: int = 1,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: object = None,
        epochs: int = 5,
        null_word: int = 0,
        trim_rule: TrimRule | None = None,
        sorted_vocab: int = 1,
        batch_words: int = 512,
        compute_loss: bool = False,
        callbacks: Sequence[Any] = (),
        comment: str | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
        full_softmax: int = 0,
        device: Device | str | None = None,
        block_size: int = 32,
        pool_size: int | None = None,
        progress: bool | None = None,
        cache: str | Path | None = None,
        checkpoint: str | Path | None = None,
        save_every: int | None = None,
        resume: bool = False,
        compiled: bool | None = None,
    ) -> None:
        self.vector_size, self.window, self.min_count = vector_size, window, min_count
        self.negative, self.hs, self.full_softmax = negative, hs, full_softmax
        self.sg, self.cbow_mean, self.shrink_windows = sg, cbow_mean, bool(shrink_windows)
        self.sample, self.ns_exponent = sample, ns_exponent
        self.alpha, self.min_alpha, self.epochs, self.seed = alpha, min_alpha, epochs, seed
        self.max_vocab_size, self.max_final_vocab = max_vocab_size, max_final_vocab
        self.sorted_vocab = sorted_vocab
        self.workers, self.compute_loss, self.comment = workers, compute_loss, comment
        self.block_size, self.batch_words = block_size, batch_words
        self.pool_size = (48 if sg else 16) if pool_size is None else pool_size
        self.callbacks = tuple(callbacks)
        self.device = get_default_device() if device is None else Device(device)
        self.progress, self.cache, self.compiled = progress, cache, compiled
        self.checkpoint, self.save_every = checkpoint, save_every
        self._check()
        self.generator = Generator().manual_seed(seed)
        self.corpus_count = self.corpus_total_words = 0
        self.losses: list[float] = []  # of each epoch
        self.total_train_time = 0.0
        self.vocab: Vocab
        self.model: SkipGram
        self._numbered: Numbered | None = None
        self._starting: Starting | None = None  # workers, while a corpus is read
        self._end_workers: Callable[[], object] = lambda: None
        self.wv = KeyedVectors(vector_size, vectors=empty(0, vector_size, device=self.device))
        if sentences is not None or corpus_file is not None:
            _check_passes(sentences, epochs + 1)
            self.build_vocab(sentences, corpus_file, trim_rule=trim_rule)
            self.train(resume=resume)

    def _check(self) -> None:
        for name, least in (
            *(("vector_size", 1), ("window", 1), ("negative", 0), ("min_count", 1), ("epochs", 1)),
            *(("block_size", 1), ("pool_size", 1), ("batch_words", 1), ("workers", 1)),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"Word2Vec: {name}: expected an integer above {least - 1}, got {value!r}"
                )
        for name in ("max_vocab_size", "max_final_vocab", "save_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(
                    f"Word2Vec: {name}: expected None or an integer above 0, got {value!r}"
                )
        for name in ("sg", "hs", "cbow_mean", "full_softmax"):
            if getattr(self, name) not in (0, 1):
                raise ValueError(f"Word2Vec: {name}: expected 0 or 1, got {getattr(self, name)!r}")
        if not (self.negative or self.hs or self.full_softmax):
            raise ValueError(
                "Word2Vec: negative=0, hs=0 and full_softmax=0 leave nothing to learn: set one"
            )
        if not 0 <= self.min_alpha <= self.alpha:
            raise ValueError(
                f"Word2Vec: expected 0 <= min_alpha <= alpha, got min_alpha={self.min_alpha} and "
                f"alpha={self.alpha}"
            )
        if not 0 <= self.sample < 1:
            raise ValueError(f"Word2Vec: sample: expected 0 <= sample < 1, got {self.sample}")
        if self.compiled not in (None, True, False):
            raise ValueError(
                f"Word2Vec: compiled: expected True, False or None, got {self.compiled!r}"
            )
        if self.compiled:
            if self.device.type != "cpu":
                raise ValueError(f"Word2Vec: compiled=True is for the CPU, not for {self.device}")
            check_kernels()

    # ------------------------------------------------------------------ vocabulary
    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | Path | None = None,
        update: bool = False,
        progress_per: int = 10_000,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
    ) -> None:
        """Count the words of a corpus (see the constructor), number it, and make new vectors.

        With `update` its new words get vectors besides those there are, and the counts of known
        words grow; `train` without a corpus then takes the new one. progress_per and
        keep_raw_vocab are there for gensim's sake. Raises RuntimeError if there is nothing to
        update.
        """
        source, corpus = self._read(corpus_iterable, corpus_file, trim_rule)
        self._take(source, corpus, update, trim_rule)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[str, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Make the vocabulary from counts; `train` then needs a corpus."""
        self._take(None, from_frequencies(word_freq, corpus_count or 0), update, trim_rule)

    def _take(
        self, source: object, corpus: Encoded, update: bool, trim_rule: TrimRule | None
    ) -> None:
        """Make a corpus the one to train on."""
        if update and self._numbered is None:
            raise RuntimeError("Word2Vec: build_vocab: there is no vocabulary yet to update")
        options: dict[str, Any] = {"max_final_vocab": self.max_final_vocab, "trim_rule": trim_rule}
        if update:
            vocab = self.vocab.extended(corpus, self.min_count, **options)
        else:
            ordered = bool(self.sorted_vocab)
            vocab = Vocab.from_encoded(corpus, self.min_count, **options, sorted_vocab=ordered)
        if len(vocab) == 1:
            raise ValueError(
                f"Word2Vec: the corpus has one word only, {vocab.index_to_key[0]!r}: nothing to "
                "tell it from"
            )
        old = self.model if update else None
        self._begin(vocab, Numbered(corpus, vocab.table(corpus), source))
        if old is None:
            self.losses = []
        else:
            _copy_rows(old, self.model)

    def _begin(self, vocab: Vocab, numbered: Numbered) -> None:
        """Make new vectors for a vocabulary and its corpus."""
        self.vocab, self._numbered = vocab, numbered
        self.corpus_count, self.corpus_total_words = numbered.corpus.count, numbered.corpus.total
        self.model = self._model()
        if self.workers > 1 and self.device.type == "cpu":
            share(self.model)
        self.wv = KeyedVectors(
            self.vector_size,
            vocab.index_to_key,
            self.model.input.weight.detach(),
            vocab.counts.tolist(),
        )

    def reset_from(self, other_model: Word2Vec) -> None:
        """Take vocabulary and corpus of another model, and make new vectors.

        Raises RuntimeError if it has none.
        """
        if other_model._numbered is None:
            raise RuntimeError("Word2Vec: reset_from: the other model has no vocabulary yet")
        self._begin(other_model.vocab, other_model._numbered)
        self.losses = []

    def _model(self) -> SkipGram:
        """New tables for the vocabulary."""
        words, size, device = len(self.vocab), self.vector_size, self.device
        others: list[Module] = []
        if self.hs:
            pairs = self._blocks_at_once() * self.block_size * (self.window + 1 if self.sg else 1)
            counts = self.vocab.counts.tolist()
            others.append(HierarchicalSoftmax(counts, size, pairs, device=device))
        if self.full_softmax:
            others.append(FullSoftmax(words, size, device=device))
        options: dict[str, Any] = {
            "negative": self.negative > 0,
            "others": others,
            "generator": self.generator,
            "device": device,
        }
        if self.sg:
            return SkipGram(words, size, self.window, **options)
        return CBOW(words, size, self.window, mean=bool(self.cbow_mean), **options)

    def _read(
        self,
        sentences: Sentences | None,
        corpus_file: str | Path | None,
        trim_rule: TrimRule | None = None,
    ) -> tuple[object, Encoded]:
        if (sentences is None) == (corpus_file is None):
            raise TypeError("Word2Vec: expected either sentences (corpus_iterable) or corpus_file")
        source: object = sentences
        if corpus_file is not None:
            source, sentences = str(corpus_file), Corpus(corpus_file, tokenizer=str.split)
        assert sentences is not None
        if isinstance(sentences, str):
            raise TypeError(
                f"Word2Vec: sentences: expected lists of words, got the string {sentences[:40]!r} "
                "(corpus_file takes the path of a file, minitorch.text.Corpus names of sources)"
            )
        if isinstance(sentences, Corpus) and self.workers > 1 and self.device.type == "cpu":
            words = sentences.size() // _BYTES
            if words > self.workers * STRETCH:
                self._start(self.workers, words * self.epochs)
        if self.max_vocab_size is None:
            return source, encode(sentences, self.progress, cache=self.cache)
        _check_passes(sentences, 2)
        counts = scan(sentences, self.max_vocab_size, trim_rule, self.progress)
        corpus = encode(sentences, self.progress, words=counts, cache=self.cache)
        return source, corpus.with_counts(counts)

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
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        compute_loss: bool = False,
        callbacks: Sequence[Any] = (),
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> float:
        """Train on the corpus of `build_vocab`, or on another; returns the last epoch's loss.

        Without epochs, start_alpha, end_alpha, callbacks or checkpoint those of the constructor
        hold. total_words or total_examples (sentences) say after how much an epoch counts as done
        for alpha, if not after the whole corpus. word_count, queue_factor, report_delay and
        compute_loss are there for gensim's sake: they change nothing.
        """
        epochs = self.epochs if epochs is None else epochs
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"Word2Vec: train: epochs: expected an integer above 0, got {epochs}")
        _check_passes(corpus_iterable, epochs)
        numbered = self._corpus(corpus_iterable, corpus_file)
        if not numbered.corpus.has_pair(numbered.table):
            raise ValueError(
                f"Word2Vec: train: the corpus ({numbered.corpus.count} sentences with "
                f"{numbered.corpus.total} words) has no pair of words of the vocabulary in one "
                "sentence"
            )
        high = self.alpha if start_alpha is None else start_alpha
        low = self.min_alpha if end_alpha is None else end_alpha
        for name, alpha in (("start_alpha", high), ("end_alpha", low)):
            if alpha < 0:
                raise ValueError(f"Word2Vec: train: {name}: expected at least 0, got {alpha}")
        words = _words_of_an_epoch(numbered.corpus, total_examples, total_words)
        called = tuple(callbacks) or self.callbacks

        def ended(loss: float) -> None:
            self.losses.append(loss)
            call_all(called, "on_epoch_end", self)

        path = self.checkpoint if checkpoint is None else checkpoint
        run = Run(
            self.trainer(numbered, Schedule(epochs, words, high, low)),
            self.vocab,
            self.progress,
            self.state_dict,
            {name: getattr(self, name) for name in _OPTIONS},
            lambda: call_all(called, "on_epoch_begin", self),
            ended,
            None if path is None else Path(path),
            self.save_every,
            self._team(numbered, epochs),
        )
        if resume:
            if path is None:
                raise ValueError("Word2Vec: resume=True needs the checkpoint to go on from")
            self.losses = run.load()
        began = time.perf_counter()
        call_all(called, "on_train_begin", self)
        run.run()
        call_all(called, "on_train_end", self)
        self.total_train_time += time.perf_counter() - began
        return self.losses[-1]

    def trainer(
        self,
        numbered: Numbered,
        schedule: Schedule,
        writing: AbstractContextManager[object] | None = None,
    ) -> Trainer:
        """What trains the model on stretches of a corpus."""
        random = self.generator.get_state()
        blocks = self._blocks_at_once()
        sampler = self._sampler()
        self.model.compiled = sampler.compiled = self._is_compiled(numbered, schedule.epochs)
        return Trainer(self.model, sampler, numbered, schedule, blocks, random, writing)

    def _is_compiled(self, numbered: Numbered, epochs: int) -> bool:
        """Whether Numba's machine code is to be used."""
        if self.compiled is not None:
            return self.compiled
        return self._gains_from_numba(len(numbered.corpus.tokens) * epochs)

    def _gains_from_numba(self, words: int) -> bool:
        """Whether so many words, those of all epochs, take longer without it than its import."""
        sampling = self.negative > 0 and not (self.hs or self.full_softmax)
        enough = sampling and words >= _WORTH_IT
        return enough and self.device.type == "cpu" and has_kernels()

    def _start(self, workers: int, words: int) -> Starting:
        """Workers that have begun to start, if need be now, for so many words of all epochs."""
        starting = self._starting
        if starting is None or len(starting.workers) != workers:
            self._end_workers()
            gains = self._gains_from_numba(words)
            starting = Starting(workers, gains if self.compiled is None else self.compiled)
            self._starting, self._end_workers = starting, weakref.finalize(self, starting.close)
        return starting

    def _team(self, numbered: Numbered, epochs: int) -> Any:
        """What opens the processes that train, or this one where one is enough."""
        words = len(numbered.corpus.tokens)
        workers = min(self.workers, -(-words // STRETCH))
        if workers == 1 or self.device.type != "cpu":
            self._end_workers()
            return nullcontext
        if memory_of(self.model) is None:  # there was one worker, when the tables were made
            share(self.model)
            self.wv.vectors = self.model.input.weight.detach()
        return partial(processes, partial(self._start, workers, words * epochs))

    def _blocks_at_once(self) -> int:
        """Blocks to a step: few enough that no word's gradients are summed too often."""
        kept = self.vocab.keep_probabilities(self.sample) * self.vocab.counts
        often = kept.max() / kept.sum()
        if self.negative:
            often = max(often, self.vocab.noise_probabilities(self.ns_exponent).max())
        most = _MOST_OFTEN["sg" if self.sg else "cbow"] / often
        return max(1, int(min(self.batch_words, most)) // self.block_size)

    def _corpus(self, sentences: Sentences | None, corpus_file: str | Path | None) -> Numbered:
        if self._numbered is None:
            raise RuntimeError("Word2Vec: train: build_vocab has to come first")
        source = self._numbered.source
        given = sentences if corpus_file is None else str(corpus_file)
        if given is None and source is None:
            raise TypeError(
                "Word2Vec: train: the vocabulary is from a file or from counts: a corpus is needed"
            )
        if given is None or given is source or (isinstance(given, str) and given == source):
            return self._numbered
        source, corpus = self._read(sentences, corpus_file)
        table = self.vocab.table(corpus)
        if not (table >= 0).any():
            raise ValueError("Word2Vec: train: the corpus has no word of the vocabulary")
        return Numbered(corpus, table, source)

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
            shrink_windows=self.shrink_windows,
            cbow=not self.sg,
        )

    # ------------------------------------------------------------------ files
    def save(self, path: str | Path) -> None:
        """Write the whole model to a safetensors file, from which `train` goes on, bit for bit.

        The corpus is not in it, nor are callbacks, trim_rule, and what is about this run only
        (device, progress, cache, checkpoint, compiled). `KeyedVectors.load` reads the vectors.
        """
        model_file.write(path, "Word2Vec", self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What the file holds: see `KeyedVectors.state_dict`, and besides all that is learnt."""
        built = self._numbered is not None
        return {
            **self.wv.state_dict(),
            "options": {name: getattr(self, name) for name in (*_OPTIONS, *_OTHER_OPTIONS)},
            "record": {name: getattr(self, name) for name in _RECORD},
            "random": self.generator.get_state(),
            "vocab": self.vocab.state_dict() if built else None,
            "model": self.model.state_dict() if built else None,
        }

    @classmethod
    def load(
        cls, path: str | Path, mmap: str | None = None, device: Device | str | None = None
    ) -> Word2Vec:
        """Read what `save` wrote, or a checkpoint: the model as it was then.

        To go on, give `train` a corpus (a checkpoint's run goes on with resume=True as well), or
        `build_vocab(update=True)` first. mmap is there for gensim's sake: it changes nothing.
        Raises ValueError for any other file; gensim's pickles are refused, with the way around.
        """
        with model_file.reading(path, "Word2Vec", device=device) as state:
            # These only: with others a file could have others read and written.
            options = {name: state["options"][name] for name in (*_OPTIONS, *_OTHER_OPTIONS)}
            model = cls(**options, device=device)
            if state["vocab"] is not None:
                model._restore(state)
            model.generator.set_state(state["random"])
            for name in _RECORD:
                setattr(model, name, state["record"][name])
            return model

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take vocabulary, tables and vectors from what `state_dict` gave."""
        vocab, nothing = Vocab.from_state_dict(state["vocab"]), from_frequencies({})
        self._begin(vocab, Numbered(nothing, vocab.table(nothing), None))
        self.model.load_state_dict(state["model"])
        held = KeyedVectors.from_state_dict(state)
        if held.index_to_key != vocab.index_to_key or not held.vectors.equal(self.wv.vectors):
            self.wv = held  # which somebody has changed
        self.wv.expandos = held.expandos

    # ------------------------------------------------------------------ asking
    def predict_output_word(
        self, context_words_list: Iterable[Any], topn: int = 10
    ) -> list[tuple[Any, float]] | None:
        """The most probable words in the midst of these: see `prediction.output_words`.

        Raises RuntimeError unless the model has output vectors: negative > 0 or full_softmax=1.
        """
        output = self._table("output.weight", "others.0.weight", "others.1.weight")
        if output is None:
            raise RuntimeError(
                "Word2Vec: predict_output_word: needs negative > 0 or full_softmax=1, and a "
                "vocabulary"
            )
        return prediction.output_words(
            self.wv, output, context_words_list, topn, bool(self.cbow_mean)
        )

    def score(
        self,
        sentences: Sentences,
        total_sentences: int = 1_000_000,
        chunksize: int = 100,
        queue_factor: int = 2,
        report_delay: float = 1,
    ) -> Tensor:
        """Log probability of each sentence, float64 (n,): see `prediction.log_probabilities`.

        total_sentences: of the first so many only; what follows is there for gensim's sake.
        Raises RuntimeError unless the model has hs=1 (or, unlike gensim's, full_softmax=1) and a
        vocabulary.
        """
        if self._numbered is None or not len(self.model.others):
            raise RuntimeError("Word2Vec: score: needs hs=1 or full_softmax=1, and a vocabulary")
        return prediction.log_probabilities(self.model, self.wv, islice(sentences, total_sentences))

    @property
    def syn1neg(self) -> Tensor:
        """Output vectors of negative sampling, (V, D). Raises AttributeError if there are none."""
        return self._named("syn1neg", "output.weight")

    @property
    def syn1(self) -> Tensor:
        """Vectors of the nodes of hs=1, (V - 1, D). Raises AttributeError if there are none."""
        return self._named("syn1", "others.0.nodes.weight")

    def _named(self, name: str, place: str) -> Tensor:
        table = self._table(place)
        if table is None:
            raise AttributeError(f"Word2Vec: {name}: the model has no such vectors")
        return table

    def _table(self, *places: str) -> Tensor | None:
        """The first of these tables that there is."""
        tables = {} if self._numbered is None else self.model.state_dict()
        return next((tables[place] for place in places if place in tables), None)

    def get_latest_training_loss(self) -> float:
        """Mean loss per pair of the last epoch (gensim has a running sum here)."""
        return self.losses[-1] if self.losses else 0.0

    def __repr__(self) -> str:
        size = len(self.vocab) if self._numbered is not None else 0
        return (
            f"Word2Vec(vocab={size}, vector_size={self.vector_size}, alpha={self.alpha}, "
            f"epochs={self.epochs}, device={str(self.device)!r})"
        )


def _copy_rows(old: SkipGram, new: SkipGram) -> None:
    """Words keep their rows; the nodes of a tree, which is another now, start anew."""
    with no_grad():
        for name, table in old.named_parameters():
            if not name.endswith("nodes.weight"):
                new.get_parameter(name)[: len(table)] = table


def _words_of_an_epoch(corpus: Encoded, examples: int | None, words: int | None) -> int:
    """How many words count as an epoch. Raises ValueError for less than one."""
    for name, given in (("total_words", words), ("total_examples", examples)):
        if given is not None and given < 1:
            raise ValueError(f"Word2Vec: train: {name}: expected at least 1, got {given}")
    kept, total = max(1, len(corpus.tokens)), max(1, corpus.total)
    if words is None and examples is not None:
        words = total * examples // max(1, corpus.count)
    return kept if words is None else max(1, words * kept // total)


def _check_passes(sentences: Sentences | None, passes: int) -> None:
    """TypeError for an iterator where one pass is not enough, as in gensim."""
    if passes > 1 and sentences is not None and iter(sentences) is sentences:
        raise TypeError(
            f"Word2Vec: sentences: {passes} passes need what can be read again (a list, a Corpus, "
            f"an object with __iter__), got an iterator ({type(sentences).__name__})"
        )

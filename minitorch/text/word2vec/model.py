"""Word2Vec: word vectors of a corpus, with gensim's names."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import log
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from minitorch import autocasting
from minitorch.backend import Device
from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.core import dtypes
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor, empty, ones
from minitorch.files import require_no_run
from minitorch.random import Generator
from minitorch.text.io.corpus import Corpus
from minitorch.text.io.encoded import Encoded, encode, from_frequencies
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.options import (
    integer,
    moved,
    real,
    renamed,
)
from minitorch.text.runs import call_all
from minitorch.text.vocab import (
    TrimRule,
    Vocab,
    alias_table,
    effective_min_count,
    kept_words,
    report,
    scan,
)
from minitorch.text.word2vec.hogwild import Shape, pairs_in_flight, shape
from minitorch.text.word2vec.hogwild_trainer import IN_FLIGHT, HogwildTrainer
from minitorch.text.word2vec.kernels.machine_code import has_numba
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.options import RESULT, Sentences
from minitorch.text.word2vec.parallel import Starting, processes, usable_cores
from minitorch.text.word2vec.prediction import Predictions
from minitorch.text.word2vec.sampler import BlockSampler
from minitorch.text.word2vec.shared import memory_of, share
from minitorch.text.word2vec.state import no_workers
from minitorch.text.word2vec.training import (
    CHUNK,
    Numbered,
    Run,
    Schedule,
    Trainer,
)

__all__ = ["Scanned", "Word2Vec"]

logger = logging.getLogger(__name__)

# What a step may have of the most frequent word and of one word with another, as rate * pairs:
# 512 words of a text at alpha 0.05. CBOW has fewer pairs. Beyond that steps are shorter.
_LOADS = {"sg": (11.0, 3.0), "cbow": (22.0, 6.0)}
# Words, those of all epochs, that take as long without Numba's machine code as with its import.
_WORTH_IT = 2_000_000
_BYTES = 6  # of a file to a word, about
_ASKING = (
    *("most_similar", "most_similar_cosmul", "similarity", "n_similarity", "doesnt_match"),
    *("similar_by_word", "similar_by_vector", "wmdistance", "evaluate_word_pairs"),
)
# Attributes of gensim 3's Word2Vec, and their names now.
_MOVED = {
    "size": "vector_size",
    "iter": "epochs",
    "vocabulary": "wv (words and counts) and build_vocab",
    "trainables": "syn1 and syn1neg",
    "syn0": "wv.vectors",
    "syn0norm": "wv.get_normed_vectors()",
    "index2word": "wv.index_to_key",
    "accuracy": "wv.evaluate_word_analogies",
    "init_sims": "wv.get_normed_vectors()",
    "load_word2vec_format": "KeyedVectors.load_word2vec_format",
    "save_word2vec_format": "wv.save_word2vec_format",
    **{name: f"wv.{name}" for name in _ASKING},
}


class Scanned(NamedTuple):
    """A corpus that has been read, and where it is from."""

    source: object
    corpus: Encoded


@moved(_MOVED)
@dataclass(eq=False, repr=False)
class Word2Vec(Predictions):
    """Skip-gram and CBOW (Mikolov et al. 2013), on any device, with gensim's names and defaults.

    sentences: lists of words, e.g. `Corpus("gcide")`; a word is whatever a file can hold (see
    `model_file.plain`), most often a string.
    corpus_file: a text file instead (plain, .gz, .bz2 or .xz) or a folder of them, a sentence on
    each line, words between blanks. A corpus is read once; its numbers, past a million words, are
    in a temporary file, or in the folder `cache`, where later runs find those of the same files.
    vector_size: length of a vector. window: words on either side, at most; each centre draws its
    own effective window, evenly from 1 ... window, unless shrink_windows is False. min_count: leave
    out words seen less often; 0 is as good as 1. sample: threshold of sub-sampling, 0 for none.
    sg: 1 for skip-gram, 0 for CBOW, in which the mean (cbow_mean=1) or sum (0) of a window's
    vectors predicts its centre. What is learnt: negative sampling with `negative` noise words to
    a pair, drawn in proportion to count ** ns_exponent; with hs=1 hierarchical softmax, with
    full_softmax=1 the softmax over all words. Of several the losses are added, as in gensim:
    negative=0 leaves only the others.
    epochs: passes over the corpus. alpha, min_alpha: learning rate at the beginning and the end,
    linear between. seed: with workers=1, equal seeds give equal vectors (on a GPU, which adds up
    rows in no fixed order, under `use_deterministic_algorithms(True)`).
    max_vocab_size: forget the rarest words while counting where there are more; the corpus is
    then read twice. max_final_vocab: raise min_count until no more words are left. trim_rule: see
    `vocab.keep`. sorted_vocab: 0 to leave words in the order in which they appear.
    callbacks: see `CallbackAny2Vec`. progress: show bars (None: where stderr is a terminal); where
    there is none, `logging` gets a line now and then (minitorch.text, INFO).
    workers: processes that train at once on the CPU, on tables that they share (see
    `word2vec.parallel`), no more than the machine has processors for this one; a GPU has one,
    and a corpus of n words no more than n / 65,536. Several write without a lock, so that no two
    runs are equal. Under `use_deterministic_algorithms(True)` they keep in step, and equal seeds
    and workers give equal vectors, in about twice the time: one worker is then faster at skip-gram.
    batch_words, compute_loss, hashfxn, comment, null_word: for gensim's sake, without effect: the
    loss is always there. Numbers may be NumPy's, and bools count as 0 and 1.

    checkpoint: file that holds the run; it is written at the start, after each epoch or (with
    save_every) after so many words, and on Ctrl-C. resume=True goes on from it: the vectors are
    then, bit for bit, those of a run that never stopped. A file that is there already, but for one
    of this model's own finished runs, is replaced with overwrite=True only.

    block_size, pool_size, step_words: how the work is cut up; leave them alone unless it is too
    slow. A step takes blocks of `block_size` words, `step_words` in all: more mean fewer launches
    on a GPU. Steps are shorter by themselves where words come too often for that (few words, high
    alpha, many negatives, wide windows). The words of a block share `pool_size` noise words (None:
    40, in CBOW 16, and more in proportion to window * negative, in CBOW to negative, beyond 5 * 5).

    compiled: whether Numba's machine code does the work of negative sampling and hierarchical
    softmax on the CPU (None: where the extra `numba` is installed and two million words or more are
    to be trained on, those of all epochs). Skip-gram by negative sampling differs by rounding only.
    CBOW and hierarchical softmax then change their tables centre by centre, as word2vec.c does, not
    after `step_words` words; of its block's noise words a centre of CBOW takes `negative` in turn.
    What is promised about equal vectors holds between runs of one setting. A checkpoint can go on
    with another.

    Under `minitorch.autocast`, `train` rounds the vectors that it multiplies to a half; it
    multiplies in float32, without `compiled`, and the vectors that it changes stay in float32.

    deterministic: False lets a GPU train by negative sampling with thousands of words in flight, a
    million and more to a launch: its thread blocks add to the tables at once, without locks, so
    that no two runs are equal (see `word2vec.hogwild`). None and True, the CPU, other losses,
    locked rows, autocast and `use_deterministic_algorithms(True)` keep the steps of `step_words`
    words.

    As in gensim: `wv` (KeyedVectors, the same object as long as the model lives, but for
    `reset_from`), whose words have the attributes "count", "sample_int" and (hs=1) "code" and
    "point"; `wv.vectors_lockf`, the part of each step that a word's vector takes: one value or one
    for each word, which has one process train (0 keeps a vector as it is); `build_vocab`, its parts
    `scan_vocab`, `prepare_vocab` and `prepare_weights`, `build_vocab_from_freq`, `reset_from`,
    `train`, `save`, `load`, `predict_output_word`, `score`, `syn1`, `syn1neg`, `corpus_count`,
    `corpus_total_words`, `get_latest_training_loss`. What gensim warns about, is in the log. Left
    out are the tables that its training needs (`cum_table`), `init_sims`, which is obsolete,
    `estimate_memory`, and the log of its life. Besides: `vocab`, `model` (the SkipGram or CBOW
    module) and `losses`, the mean loss per pair of each epoch, summed in float64.

    The update rule: gradients of the pairs of a step are summed, each pair times
    min(1, limit / H(x), limit / H(y)), before they are applied: table[row] -= lr * sum. H of a row
    bounds lr * curvature of the step's loss by that row, and grows with its pairs in the step and
    with the squared lengths of the rows that it meets; below the limit this is plain SGD, beyond it
    a row goes no further than an implicit step would, however often it comes.
    `word2vec.damping` has the derivation.

    Where it differs from word2vec.c and gensim: that rule, where they change both rows after each
    pair. The pairs of a block share their negatives, among which there is neither the centre nor
    (skip-gram) a word of its window. Blocks of skip-gram come in random order within chunks of
    at most 65,536 words. With hs=1 or full_softmax=1 a step learns the softmax first, and then,
    where the tables are by then, by negative sampling.

    `copy.deepcopy` gives a model of its own; models are not pickled.

    Raises ValueError for options out of range, a corpus without pairs and a checkpoint of another
    run, FileExistsError for one that would be overwritten, TypeError for an iterator, which cannot
    be read again, and for words that no file can hold, FloatingPointError if the loss stays above
    that of vectors of zeros, (1 + negative) log 2 a pair (hierarchical softmax: code length *
    log 2), or is no number. Where sub-sampling leaves no pair to an epoch there is a warning, and
    no loss (nan).
    """

    KIND = "Word2Vec"

    def __post_init__(
        self,
        sentences: Sentences | None,
        corpus_file: str | Path | None,
        trim_rule: TrimRule | None,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self.read()
        self.generator = Generator().manual_seed(self.seed)
        self.corpus_count = self.corpus_total_words = 0
        self.effective_min_count = self.min_count
        self.losses: list[float] = []  # of each epoch
        self.running_training_loss = 0.0
        self.min_alpha_yet_reached = self.alpha
        self.total_train_time = 0.0
        self._scanned: Scanned | None = None
        self._prepared: tuple[Vocab, Numbered] | None = None
        self._numbered: Numbered | None = None
        self._starting: Starting | None = None  # workers, while a corpus is read
        self._end_workers: Callable[[], object] = no_workers
        self._finished: Path | None = None  # the checkpoint of the last run
        size = self.vector_size
        self.wv = KeyedVectors(size, vectors=empty(0, size, device=self.device))
        self.wv.vectors_lockf = ones(1, device="cpu").numpy()
        if sentences is not None or corpus_file is not None:
            _check_passes(sentences, self.epochs + 1)
            if self.checkpoint is not None and not (resume or overwrite):
                require_no_run(self.checkpoint)  # before the corpus is read
            self.build_vocab(sentences, corpus_file, trim_rule=trim_rule)
            self.train(resume=resume, overwrite=overwrite)
        elif trim_rule is not None:
            logger.warning("Word2Vec: trim_rule without a corpus has no effect: see build_vocab")

    # ------------------------------------------------------------------ vocabulary
    @renamed(sentences="corpus_iterable")
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
        words grow; `train` without a corpus then takes the new one. `wv` stays the object that it
        is. progress_per is there for gensim's sake; keep_raw_vocab: see `raw_vocab`. Raises
        RuntimeError if there is nothing to update.
        """
        scanned = self._read(corpus_iterable, corpus_file, trim_rule)
        self._build(scanned, update, keep_raw_vocab, trim_rule)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[Any, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Make the vocabulary from counts; `train` then needs a corpus."""
        scanned = Scanned(None, from_frequencies(word_freq, corpus_count or 0))
        self._build(scanned, update, keep_raw_vocab, trim_rule)

    def _build(
        self, scanned: Scanned, update: bool, keep_raw_vocab: bool, trim_rule: TrimRule | None
    ) -> None:
        before, self._scanned = (self._scanned, self._prepared), scanned
        try:
            self.prepare_vocab(update, keep_raw_vocab, trim_rule)
            self.prepare_weights(update)
        except BaseException:
            self._scanned, self._prepared = before
            raise

    def scan_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | Path | None = None,
        progress_per: int = 10_000,
        workers: int | None = None,
        trim_rule: TrimRule | None = None,
    ) -> tuple[int, int]:
        """The first third of `build_vocab`: read and count; returns how many words and sentences.

        progress_per and workers are there for gensim's sake.
        """
        self._scanned = self._read(corpus_iterable, corpus_file, trim_rule)
        return self._scanned.corpus.total, self._scanned.corpus.count

    @property
    def raw_vocab(self) -> dict[Any, int]:
        """Counts of all words: after `scan_vocab`, or where keep_raw_vocab said so; else empty."""
        if self._scanned is None:
            return {}
        corpus = self._scanned.corpus
        return dict(zip(corpus.words, corpus.counts.tolist()))

    def prepare_vocab(
        self,
        update: bool = False,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        min_count: int | None = None,
        sample: float | None = None,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """The second third of `build_vocab`: choose words; returns the numbers of `vocab.report`.

        min_count, sample: instead of the constructor's, from here on. dry_run: only return
        the numbers. Raises RuntimeError without a scanned corpus, NoWordsError if no word is left.
        """
        if self._scanned is None:
            raise RuntimeError("Word2Vec: prepare_vocab: scan_vocab has to come first")
        if update and self._numbered is None:
            raise RuntimeError("Word2Vec: build_vocab: there is no vocabulary yet to update")
        min_count = integer("prepare_vocab: min_count", min_count or self.min_count, 0)
        sample = real("prepare_vocab: sample", sample or self.sample)
        source, corpus = self._scanned
        kept = kept_words(corpus, min_count, self.max_final_vocab, trim_rule)
        numbers = report(corpus, kept, sample)
        self.effective_min_count = effective_min_count(corpus, min_count, self.max_final_vocab)
        if dry_run:
            return numbers
        if update:
            vocab = self.vocab.extended(corpus, kept)
        else:
            vocab = Vocab.from_kept(corpus, kept, min_count, bool(self.sorted_vocab))
        self._prepared = vocab, Numbered(corpus, vocab.table(corpus), source)
        self.min_count, self.sample = min_count, sample
        if not keep_raw_vocab:
            self._scanned = None
        return numbers

    def prepare_weights(self, update: bool = False) -> None:
        """The last third of `build_vocab`: `init_weights` or `update_weights`."""
        (self.update_weights if update else self.init_weights)()

    def init_weights(self) -> None:
        """Make new vectors for the words of `prepare_vocab`, or for those that there are."""
        self._begin(*self._taken())
        self.losses = []

    def update_weights(self) -> None:
        """Make vectors for the new words of `prepare_vocab`; the others keep theirs."""
        if self._numbered is None:
            raise RuntimeError("Word2Vec: update_weights: there are no vectors yet to update")
        self._adopt()
        vocab, numbered = self._taken()
        old, attributes = self.model, self.wv.expandos
        self._begin(vocab, numbered)
        _copy_rows(old, self.model)
        for name, values in attributes.items():
            new = [type(values[0])()] * (len(vocab) - len(values))
            if name not in self.wv.expandos:
                self.wv.expandos[name] = [*values, *new]

    def _taken(self) -> tuple[Vocab, Numbered]:
        """The vocabulary that is prepared, or the one that there is."""
        if self._prepared is None:
            if self._numbered is None:
                raise RuntimeError("Word2Vec: prepare_weights: prepare_vocab has to come first")
            return self.vocab, self._numbered
        vocab, numbered = self._prepared
        if len(vocab) == 1:
            raise ValueError(
                f"Word2Vec: the corpus has one word only, {vocab.index_to_key[0]!r}: nothing to "
                "tell it from"
            )
        self._prepared = None
        return vocab, numbered

    def _tables(self) -> SkipGram:
        """New tables, in memory that processes share where several train."""
        model = super()._tables()
        if self._processes(self._numbered) > 1:
            share(model)
        return model

    def reset_from(self, other_model: Word2Vec) -> None:
        """Take vocabulary and corpus of another model, and make new vectors and a new `wv`.

        Raises RuntimeError if it has none.
        """
        if other_model._numbered is None:
            raise RuntimeError("Word2Vec: reset_from: the other model has no vocabulary yet")
        self.wv = KeyedVectors(self.vector_size)
        self._begin(other_model.vocab, other_model._numbered)
        self.losses = []

    def _read(
        self,
        sentences: Sentences | None,
        corpus_file: str | Path | None,
        trim_rule: TrimRule | None = None,
    ) -> Scanned:
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
        workers = self._processes()
        if isinstance(sentences, Corpus) and workers > 1:
            words = sentences.size() // _BYTES
            if words > workers * CHUNK:
                self._start(workers, words * self.epochs)
        if self.max_vocab_size is None:
            return Scanned(source, encode(sentences, self.progress, cache=self.cache))
        _check_passes(sentences, 2)
        counts = scan(sentences, self.max_vocab_size, trim_rule, self.progress)
        corpus = encode(sentences, self.progress, words=counts, cache=self.cache)
        return Scanned(source, corpus.with_counts(counts))

    def _processes(self, numbered: Numbered | None = None) -> int:
        """How many train on a corpus: one where the tables are on a GPU or have locked rows."""
        if self.workers == 1 or cast(Device, self.device).type != "cpu" or len(self.wv.locked()[0]):
            return 1
        most = min(self.workers, usable_cores())
        if numbered is None:
            return most
        return max(1, min(most, -(-len(numbered.corpus.tokens) // CHUNK)))

    # ------------------------------------------------------------------ training
    @renamed(sentences="corpus_iterable")
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
        overwrite: bool = False,
    ) -> tuple[int, int]:
        """Train on the corpus of `build_vocab`, or on another.

        Returns over how many words it went, those that sub-sampling leaves (on average) and all;
        `losses` has the loss of each epoch. With a corpus, epochs and total_examples (sentences) or
        total_words have to be given, as in gensim; after so much an epoch counts as done for alpha.
        Without one they are those of `build_vocab` and of the constructor. epochs, start_alpha and
        end_alpha become the model's epochs, alpha and min_alpha. Without callbacks or checkpoint
        the constructor's hold. word_count, queue_factor, report_delay and compute_loss are there
        for gensim's sake: they change nothing.
        """
        given = corpus_iterable is not None or corpus_file is not None
        if given and total_examples is None and total_words is None:
            raise ValueError(
                "Word2Vec: train: total_examples or total_words: expected the length of the "
                "corpus, e.g. total_examples=model.corpus_count"
            )
        if given and epochs is None:
            raise ValueError(
                "Word2Vec: train: epochs: expected how often to go over the corpus, e.g. "
                "epochs=model.epochs"
            )
        epochs = integer("Word2Vec: train: epochs", self.epochs if epochs is None else epochs, 1)
        _check_passes(corpus_iterable, epochs)
        numbered = self._corpus(corpus_iterable, corpus_file)
        corpus = numbered.corpus
        if not corpus.has_pair(numbered.table):
            raise ValueError(
                f"Word2Vec: train: the corpus ({corpus.count} sentences with {corpus.total} words) "
                "has no pair of words of the vocabulary in one sentence"
            )
        high = real("train: start_alpha", self.alpha if start_alpha is None else start_alpha)
        low = real("train: end_alpha", self.min_alpha if end_alpha is None else end_alpha)
        for name, alpha in (("start_alpha", high), ("end_alpha", low)):
            if alpha < 0:
                raise ValueError(f"Word2Vec: train: {name}: expected at least 0, got {alpha}")
        words = _words_of_an_epoch(corpus, total_examples, total_words)
        called = tuple(callbacks) or self.callbacks
        given_path = self.checkpoint if checkpoint is None else checkpoint
        path = None if given_path is None else Path(given_path)
        if resume and path is None:
            raise ValueError("Word2Vec: resume=True needs the checkpoint to go on from")
        self._adopt()
        self.wv._writable()
        self._warn(high)

        def ended(loss: float) -> None:
            self.losses.append(loss)
            self.running_training_loss = run.position.total
            self.min_alpha_yet_reached = run.schedule.alpha(run.position.epoch, 0)
            call_all(called, "on_epoch_end", self)

        run = Run(
            self.trainer(numbered, Schedule(epochs, words, high, low)),
            self.vocab,
            self.progress,
            self.state_dict,
            self.held(RESULT),
            lambda: call_all(called, "on_epoch_begin", self),
            ended,
            self._loss_of_zeros(),
            path,
            self.save_every,
            self._team(numbered, epochs),
            overwrite or path == self._finished,
        )
        if resume:
            self.losses = run.load()
        self.epochs, self.alpha, self.min_alpha = epochs, high, low
        self.running_training_loss = run.position.total
        run.train(self, called)
        return round(epochs * self.vocab.sampled(corpus, self.sample)), epochs * corpus.total

    def _warn(self, alpha: float) -> None:
        """Log what gensim warns about."""
        if self.hs and self.negative:
            logger.warning(
                "Both hierarchical softmax and negative sampling are activated. Their losses are "
                "added; set hs=0 or negative=0 for one of them alone."
            )
        if alpha > self.min_alpha_yet_reached:
            logger.warning(
                "Effective 'alpha' higher than previous training cycles: %g after %g",
                alpha,
                self.min_alpha_yet_reached,
            )

    def _adopt(self) -> None:
        """Take over the vectors of `wv`, should somebody have given it others.

        Raises RuntimeError if they are for other words than those of the vocabulary.
        """
        if self._shows_model():
            return
        given, weight = self.wv.tensor, self.model.input.weight
        if self.wv.index_to_key != self.vocab.index_to_key or given.shape != weight.shape:
            raise RuntimeError(
                f"Word2Vec: wv has {len(self.wv)} keys and vectors of {self.wv.vector_size} "
                f"numbers that are not those of the vocabulary ({len(self.vocab)} words, "
                f"vector_size={self.vector_size}): build_vocab(update=True) adds words to train"
            )
        with no_grad():
            weight.copy_(given)
        self.wv.tensor = weight.detach()

    def _locks(self) -> tuple[Tensor, Tensor] | None:
        """Rows whose `wv.vectors_lockf` is not 1, and it, on the device; None if all are 1."""
        rows, factors = self.wv.locked()
        if not len(rows):
            return None
        return as_tensor(rows, device=self.device), as_tensor(factors, device=self.device)

    def trainer(
        self,
        numbered: Numbered,
        schedule: Schedule,
        writing: AbstractContextManager[object] | None = None,
    ) -> Trainer:
        """The `Trainer` of the model for chunks of a corpus."""
        random = self.generator.get_state()
        blocks = self._blocks_at_once(schedule.high)
        sampler = self._sampler()
        self.model.compiled = sampler.compiled = self._is_compiled(numbered, schedule.epochs)
        self.model.rounds_to = self._half()
        locks = self._locks()
        about = self.model, sampler, numbered, schedule, blocks, random
        in_flight = None if locks or writing else self._shape(numbered)
        if in_flight is None:
            return Trainer(*about, writing, locks)
        words = self.vocab.sampled(numbered.corpus, self.sample)
        words /= IN_FLIGHT["sg" if self.sg else "cbow"]
        resident = max(1, int(words / in_flight.centres))
        return HogwildTrainer(*about, shape=in_flight, shares=self._shares(), resident=resident)

    def _shape(self, numbered: Numbered) -> Shape | None:
        """The shape of launches with words in flight; None where steps are to be made."""
        if self.deterministic is not False or are_deterministic_algorithms_enabled():
            return None
        if not self.negative or self.model.pairs or self.model.rounds_to is not None:
            return None
        if cast(Device, self.device).type == "cpu":
            return None
        kept = self.vocab.sampled(numbered.corpus, self.sample) / len(numbered.corpus.tokens)
        sizes = self.vector_size, self.block_size, cast(int, self.pool_size), self.window
        return shape(*sizes, kept)

    def _shares(self) -> tuple[Tensor, Tensor]:
        """The shares of `hogwild_sgd_`."""
        kept = self.vocab.keep_probabilities(self.sample) * self.vocab.counts
        noise = self.vocab.noise_probabilities(self.ns_exponent)
        near = self.window + 1 if self.shrink_windows else 2 * self.window
        found = pairs_in_flight(kept / kept.sum(), noise, near, self.negative, not self.sg)
        x, y = (as_tensor(share, dtypes.float32, self.device) for share in found)
        return x, y

    def _half(self) -> str | None:
        """The half to which autocast rounds words on this device; None: it is off here."""
        half = autocasting.state.dtypes.get(cast(Device, self.device).type)
        wide = self.model.input.weight.dtype is dtypes.float32
        return half.name if wide and half is not None else None

    def _is_compiled(self, numbered: Numbered, epochs: int) -> bool:
        """Whether Numba's machine code is to be used."""
        if self.compiled is not None:
            return self.compiled
        return self._gains_from_numba(len(numbered.corpus.tokens) * epochs)

    def _gains_from_numba(self, words: int) -> bool:
        """Whether so many words, those of all epochs, take longer without it than its import."""
        enough = (self.negative > 0 or self.hs > 0) and words >= _WORTH_IT
        return enough and cast(Device, self.device).type == "cpu" and has_numba()

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
        """A context manager of the processes that train, or of this one where one is enough."""
        workers = self._processes(numbered)
        if workers == 1:
            self._end_workers()
            return nullcontext
        if memory_of(self.model) is None:  # there was one worker, when the tables were made
            share(self.model)
            self.wv.tensor = self.model.input.weight.detach()
        words = len(numbered.corpus.tokens) * epochs
        return partial(processes, partial(self._start, workers, words))

    def _loss_of_zeros(self) -> float:
        """The mean loss per pair of vectors of zeros: every turn and every word is even then."""
        loss = (1 + self.negative) * log(2) if self.negative else 0.0
        if self.hs:
            kept = self.vocab.keep_probabilities(self.sample) * self.vocab.counts
            turns = [len(code) for code in self.wv.expandos["code"]]
            loss += float(kept @ turns / kept.sum()) * log(2)
        return loss + (log(len(self.vocab)) if self.full_softmax else 0.0)

    def _blocks_at_once(self, alpha: float) -> int:
        """Blocks to a step at a rate: few enough that no word comes too often, see `_LOADS`."""
        kept = self.vocab.keep_probabilities(self.sample) * self.vocab.counts
        shares = [kept / kept.sum()]
        if self.negative:
            shares.append(self.vocab.noise_probabilities(self.ns_exponent))
        near = self.window + 1 if self.shrink_windows else 2 * self.window
        pairs = (1 + self.negative) * (self.negative > 0) + self.model.pairs
        load = max(alpha, 1e-9) * near * pairs  # of one occurrence
        most, mean = _LOADS["sg" if self.sg else "cbow"]
        words = min(min(most / p.max(), mean / (p @ p)) for p in shares) / load
        return max(1, int(min(words, self.step_words)) // self.block_size)

    def _corpus(self, sentences: Sentences | None, corpus_file: str | Path | None) -> Numbered:
        if self._numbered is None:
            raise RuntimeError("Word2Vec: train: build_vocab has to come first")
        if sentences is not None and corpus_file is not None:
            raise TypeError("Word2Vec: train: expected corpus_iterable or corpus_file, got both")
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
        keep = self.vocab.keep_probabilities(self.sample)
        thresholds, aliases = alias_table(self.vocab.noise_probabilities(self.ns_exponent))
        return BlockSampler(
            as_tensor(keep, dtypes.float32, self.device),
            as_tensor(thresholds, dtypes.float32, self.device),
            as_tensor(aliases, device=self.device),
            self.generator,
            window=self.window,
            negative=self.negative,
            block_size=self.block_size,
            pool_size=cast(int, self.pool_size),
            shrink_windows=self.shrink_windows,
            cbow=not self.sg,
        )

    def get_latest_training_loss(self) -> float:
        """The loss summed over the pairs of all epochs since `train` began, as in gensim.

        `losses` has the mean per pair of each epoch.
        """
        return self.running_training_loss

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError("Word2Vec: model[word] is model.wv[word] now (as in gensim 4)")

    def __repr__(self) -> str:
        size = len(self.vocab) if self._numbered is not None else 0
        return (
            f"Word2Vec(vocab={size}, vector_size={self.vector_size}, alpha={self.alpha}, "
            f"epochs={self.epochs}, device={str(self.device)!r})"
        )


# The annotations of a dataclass's constructor have InitVar[...]; a reader needs the type inside.
_annotations = Word2Vec.__init__.__annotations__
_annotations |= {
    name: re.sub(r"InitVar\[(.*)\]", r"\1", said) for name, said in _annotations.items() if said
}
Word2Vec.__init__ = renamed(size="vector_size", iter="epochs")(Word2Vec.__init__)  # type: ignore[method-assign]


def _copy_rows(old: SkipGram, new: SkipGram) -> None:
    """Words keep their rows, and nodes of a tree, which grows, theirs, as in gensim."""
    with no_grad():
        for name, table in old.named_parameters():
            new.get_parameter(name)[: len(table)] = table


def _words_of_an_epoch(corpus: Encoded, examples: int | None, words: int | None) -> int:
    """How many words count as an epoch. Raises ValueError for less than one."""
    for name, given in (("total_words", words), ("total_examples", examples)):
        if given is not None:
            integer(f"Word2Vec: train: {name}", given, 1)
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

"""Phrases: words that stand together more often than chance would have it, joined to one.

Counting and scoring are those of word2phrase (Mikolov et al. 2013, "Distributed representations
of words and phrases and their compositionality", section 4); names and behaviour are gensim's.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from math import log
from pathlib import Path
from typing import Any, TypeVar

from minitorch.text.io import model_file
from minitorch.text.io.encoded import with_progress

__all__ = ["ENGLISH_CONNECTOR_WORDS", "FrozenPhrases", "Phraser", "Phrases"]

Sentences = Iterable[Sequence[str]]
Scorer = Callable[..., float]
Scored = tuple[str, float | None]  # a word or phrase, and the score of a phrase

_NEVER = float("-inf")
_AnyModel = TypeVar("_AnyModel", bound="_Model")

# Words that may stand inside a phrase but neither begin nor end one, for English.
ENGLISH_CONNECTOR_WORDS = frozenset(
    [
        *("a", "an", "the", "and", "or"),
        *("for", "of", "with", "without", "at", "from", "to", "in", "on", "by"),
    ]
)


def original_scorer(
    worda_count: float,
    wordb_count: float,
    bigram_count: float,
    len_vocab: float,
    min_count: float,
    corpus_word_count: float,
) -> float:
    """(bigram_count - min_count) / (worda_count · wordb_count) · len_vocab.

    (Mikolov et al. 2013, equation 6, with δ = min_count, times the size of the vocabulary.)
    """
    product = worda_count * wordb_count
    return (bigram_count - min_count) / product * len_vocab if product else _NEVER


def npmi_scorer(
    worda_count: float,
    wordb_count: float,
    bigram_count: float,
    len_vocab: float,
    min_count: float,
    corpus_word_count: float,
) -> float:
    """ln(p(a, b) / (p(a) p(b))) / -ln p(a, b), between -1 and 1; p = count / corpus_word_count.

    (Bouma 2009, "Normalized (pointwise) mutual information in collocation extraction".)
    """
    if bigram_count < min_count or not worda_count * wordb_count * bigram_count:
        return _NEVER
    a, b, both = (n / corpus_word_count for n in (worda_count, wordb_count, bigram_count))
    return log(both / (a * b)) / -log(both) if both < 1 else _NEVER


SCORERS: dict[str, Scorer] = {"default": original_scorer, "npmi": npmi_scorer}
_LIMITS = {"default": (0.0, float("inf"), "above 0"), "npmi": (-1.0, 1.0, "from -1 to 1")}
_COUNTS = tuple(inspect.signature(original_scorer).parameters)


class _Transformed:
    """A corpus whose phrases are joined as it is read; can be read as often as the corpus."""

    def __init__(self, model: _Model, sentences: Sentences) -> None:
        self.model, self.sentences = model, sentences

    def __iter__(self) -> Iterator[list[str]]:
        return map(self.model.transform, self.sentences)


class _Model(model_file.Saved):
    """A model that finds phrases: a delimiter, connector words, and a score for each candidate."""

    delimiter: str
    threshold: float
    scoring: Scorer
    connector_words: frozenset[str]

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        """The phrase of two words with connector words between, and its score; else two Nones."""
        raise NotImplementedError

    def analyze_sentence(self, sentence: Iterable[str]) -> Iterator[Scored]:
        """The words of a sentence with phrases joined, and the score of each phrase (else None).

        From left to right: a word that has become part of a phrase begins no other.
        """
        start: str | None = None
        between: list[str] = []
        for word in sentence:
            if word in self.connector_words:
                if start is None:
                    yield word, None
                else:
                    between.append(word)
                continue
            if start is not None:
                phrase, score = self.score_candidate(start, word, between)
                if phrase is not None:
                    yield phrase, score
                    start, between = None, []
                    continue
                yield from ((single, None) for single in (start, *between))
            start, between = word, []
        if start is not None:
            yield from ((single, None) for single in (start, *between))

    def transform(self, sentence: Iterable[str]) -> list[str]:
        """The words of one sentence, phrases joined."""
        return [word for word, _ in self.analyze_sentence(sentence)]

    def __getitem__(self, sentence: Iterable[Any]) -> Any:
        """One sentence (a list of words) with phrases joined, or a corpus of such sentences.

        A corpus is read when the result is, and again each time, as far as it can be. Raises
        TypeError for a string.
        """
        if isinstance(sentence, str):
            raise TypeError(
                f"phrases: expected a list of words or a corpus of such lists, got the string "
                f"{sentence[:40]!r}; split it first, e.g. with minitorch.text.tokenize"
            )
        words = iter(sentence)
        first = next(words, None)
        whole = chain([first], words) if words is sentence else sentence
        if first is None:
            return []
        return self.transform(whole) if isinstance(first, str) else _Transformed(self, whole)

    def find_phrases(self, sentences: Sentences) -> dict[str, float]:
        """Phrases that occur in sentences, and their scores."""
        return {
            phrase: score
            for sentence in sentences
            for phrase, score in self.analyze_sentence(sentence)
            if score is not None
        }

    _OPTIONS: tuple[str, ...]
    _COUNTS: str  # the numbers of the phrases, a dict

    def state_dict(self) -> dict[str, Any]:
        """The state for a file: a scorer of one's own by the name of its function, "module:name".

        Raises ValueError for one that is not found under its name, as a lambda.
        """
        return {
            "options": {name: getattr(self, name) for name in self._OPTIONS},
            "scoring": _name_of(self.scoring),
            "connector_words": sorted(self.connector_words),
            **model_file.counted(getattr(self, self._COUNTS)),
        }

    @classmethod
    def load(
        cls: type[_AnyModel],
        path: str | Path,
        mmap: str | None = None,
        scoring: Scorer | None = None,
    ) -> _AnyModel:
        """Read what `save` wrote. mmap has no effect.

        scoring: the scorer of one's own that the file names. Without, the function of that name is
        taken if its module has been imported; a file has nothing imported. Raises ValueError for
        any other file, and for a scorer that is not there.
        """
        with model_file.reading(path, cls.KIND, device="cpu") as state:
            model = cls.__new__(cls)
            for name in cls._OPTIONS:
                setattr(model, name, state["options"][name])
            model.scoring = _function(state["scoring"]) if scoring is None else _checked(scoring)
            model.connector_words = frozenset(state["connector_words"])
            setattr(model, cls._COUNTS, model_file.from_counted(state))
            model._restore(state)
            return model

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take what only some models have from what `state_dict` gave."""


class Phrases(_Model):
    """Learns from counts which words make phrases; `phrases[sentence]` joins them.

    sentences: lists of words, read once. min_count: leave out words and phrases seen less often.
    threshold: a phrase has to score more. max_vocab_size: words and phrases to be counted; beyond
    it the rarest are forgotten, which bounds the memory. delimiter: what joins the words.
    scoring: "default" (`original_scorer`), "npmi" (`npmi_scorer`) or a function of the same
    arguments. connector_words: may stand inside a phrase ("bank_of_america"), neither begin nor
    end one, and do not count in its score (`ENGLISH_CONNECTOR_WORDS`). progress: show a bar
    (None: where stderr is a terminal). progress_per is there for gensim's sake.

    vocab: how often each word and each candidate, joined, occurred. corpus_word_count: words read.

    Phrases of three words and more come from a second model on the first one's output. There
    gensim's `export_phrases` takes "new_york" + "times" for "new", "york", "times" and loses it;
    this one tries every way to cut the phrase. As in gensim the ways are counted together, so
    that the parts may have been seen less often than the phrase; "npmi" takes the phrase to be as
    frequent as its rarer part then, and stays between -1 and 1.

    Raises ValueError for options out of range, TypeError if a sentence is a string.
    """

    KIND = "Phrases"
    _OPTIONS = (
        *("min_count", "threshold", "max_vocab_size", "delimiter"),
        *("min_reduce", "corpus_word_count", "progress", "progress_per"),
    )
    _COUNTS = "vocab"

    def __init__(
        self,
        sentences: Sentences | None = None,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        progress_per: int = 10_000,
        scoring: str | Scorer = "default",
        connector_words: Iterable[str] = frozenset(),
        progress: bool | None = None,
    ) -> None:
        min_count, threshold, max_vocab_size, delimiter, progress_per = (
            model_file.plain(value, "Phrases: options")
            for value in (min_count, threshold, max_vocab_size, delimiter, progress_per)
        )
        if min_count <= 0:
            raise ValueError(f"Phrases: min_count: expected more than 0, got {min_count}")
        if max_vocab_size < 1:
            raise ValueError(f"Phrases: max_vocab_size: expected at least 1, got {max_vocab_size}")
        if not delimiter:
            raise ValueError("Phrases: delimiter: expected a character or more, got ''")
        self.scoring = _scorer(scoring, threshold)
        self.min_count, self.threshold, self.max_vocab_size = min_count, threshold, max_vocab_size
        self.delimiter = delimiter
        self.connector_words = _strings(connector_words, "connector_words")
        self.progress, self.progress_per = progress, progress_per
        self.vocab: dict[str, int] = {}
        self.min_reduce = 1  # what is seen so often, or less, is forgotten next
        self.corpus_word_count = 0
        if sentences is not None:
            self.add_vocab(sentences)

    def add_vocab(self, sentences: Sentences) -> None:
        """Count the words and candidates of more sentences.

        They are counted by themselves first, so that what was counted before does not crowd them
        out where max_vocab_size is reached.
        """
        vocab, words, reduce = self._count(sentences)
        self.corpus_word_count += words
        if not self.vocab:
            self.vocab = vocab  # and min_reduce stays, as in gensim
            return
        self.min_reduce = max(self.min_reduce, reduce)
        for word, count in vocab.items():
            self.vocab[word] = self.vocab.get(word, 0) + count
        if len(self.vocab) > self.max_vocab_size:
            _prune(self.vocab, self.min_reduce)
            self.min_reduce += 1

    def _count(self, sentences: Sentences) -> tuple[dict[str, int], int, int]:
        """Counts, number of words read, and the count that would be forgotten next."""
        vocab: dict[str, int] = {}
        words, reduce = 0, 1
        connectors, join = self.connector_words, self.delimiter.join
        for sentence in with_progress(sentences, "counting phrases", self.progress):
            candidate: list[str] = []  # the last word, and the connectors since
            try:
                for word in sentence:
                    words += 1
                    if word not in connectors:
                        vocab[word] = vocab.get(word, 0) + 1
                        if candidate:
                            candidate.append(word)
                            phrase = join(candidate)
                            vocab[phrase] = vocab.get(phrase, 0) + 1
                        candidate = [word]
                    elif candidate:
                        candidate.append(word)
            except TypeError:
                _strings(sentence, "sentences")  # which says what is wrong
                raise
            if len(vocab) > self.max_vocab_size:
                _prune(vocab, reduce)
                reduce += 1
        _strings(vocab, "sentences")
        return vocab, words, reduce

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        a, b, both = (self.vocab.get(word, 0) for word in (word_a, word_b, phrase))
        if not (a > 0 and b > 0 and both > 0):
            return None, None
        score = self.scoring(
            worda_count=a,
            wordb_count=b,
            bigram_count=min(a, b, both) if self.scoring is npmi_scorer else both,
            len_vocab=len(self.vocab),
            min_count=self.min_count,
            corpus_word_count=self.corpus_word_count,
        )
        if self.scoring is npmi_scorer and self.delimiter in word_a + word_b:
            score = min(score, 1.0)  # it may be above by rounding
        return (phrase, score) if score > self.threshold else (None, None)

    def export_phrases(self) -> dict[str, float]:
        """All phrases and their scores."""
        return {phrase: max(scores.values()) for phrase, scores, _ in self._phrases()}

    def _phrases(self) -> Iterator[tuple[str, dict[tuple[int, int], float], bool]]:
        """Each phrase, its score for each way to cut it, and whether there are other ways, too.

        A way to cut: the lengths of its first and its last word.
        """
        words = "|".join(map(re.escape, self.connector_words))
        between = re.compile(f"(?:{words})(?:{re.escape(self.delimiter)}(?:{words}))*")
        for token in self.vocab:
            scores: dict[tuple[int, int], float] = {}
            ways = 0
            for first, middle, last in self._cuts(token, between):
                ways += 1
                score = self.score_candidate(first, last, middle)[1]
                if score is not None:
                    scores[len(first), len(last)] = score
            if scores:
                yield token, scores, ways > 1

    def _cuts(self, token: str, between: re.Pattern[str]) -> Iterator[tuple[str, list[str], str]]:
        """Ways in which a token may be two words, and connector words between them."""
        delimiter, size = self.delimiter, len(self.delimiter)
        if delimiter not in token:
            return
        ends = [i for i in range(len(token)) if token.startswith(delimiter, i)]
        for i in ends:
            yield token[:i], [], token[i + size :]
        for i, j in combinations(ends, 2):
            if self.connector_words and between.fullmatch(token, i + size, j):
                yield token[:i], [token[i + size : j]], token[j + size :]

    def freeze(self) -> FrozenPhrases:
        """The phrases alone: small and fast, but cannot learn more."""
        return FrozenPhrases(self)

    def __repr__(self) -> str:
        return (
            f"Phrases({len(self.vocab)} words and candidates, min_count={self.min_count}, "
            f"threshold={self.threshold}, max_vocab_size={self.max_vocab_size})"
        )


class FrozenPhrases(_Model):
    """The phrases that a Phrases model has found, which it finds wherever the model does.

    phrasegrams: from a phrase to its highest score. cuts: of phrases that may be two words in more
    than one way ("new_york" + "times", "new" + "york_times"), which tell from them how they are
    made, the score of each way that makes the phrase, by the lengths of its two words.
    """

    KIND = "FrozenPhrases"
    _OPTIONS = ("min_count", "threshold", "delimiter")
    _COUNTS = "phrasegrams"

    def __init__(self, phrases_model: Phrases) -> None:
        self.min_count, self.threshold = phrases_model.min_count, phrases_model.threshold
        self.delimiter, self.scoring = phrases_model.delimiter, phrases_model.scoring
        self.connector_words = phrases_model.connector_words
        self.phrasegrams: dict[str, float] = {}
        self.cuts: dict[str, dict[tuple[int, int], float]] = {}
        for phrase, scores, ambiguous in phrases_model._phrases():
            self.phrasegrams[phrase] = max(scores.values())
            if ambiguous:
                self.cuts[phrase] = scores

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["options"]["cuts"] = model_file.text(self.cuts)  # which older files have not
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        cuts = state["options"].get("cuts")
        self.cuts = {} if cuts is None else model_file.from_text(cuts)

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        score = self.phrasegrams.get(phrase, _NEVER)
        if score > self.threshold and phrase in self.cuts:
            score = self.cuts[phrase].get((len(word_a), len(word_b)), _NEVER)
        return (phrase, score) if score > self.threshold else (None, None)

    def __len__(self) -> int:
        return len(self.phrasegrams)

    def __repr__(self) -> str:
        return f"FrozenPhrases({len(self)} phrases, threshold={self.threshold})"


Phraser = FrozenPhrases  # as gensim called it before its version 4


def _strings(words: Iterable[str], name: str) -> frozenset[str]:
    """Words as a set. Raises TypeError for one that is no string."""
    listed = list(words)
    for word in listed:
        if not isinstance(word, str):
            raise TypeError(f"Phrases: {name}: expected words that are strings, got {word!r}")
    return frozenset(listed)


def _scorer(scoring: str | Scorer, threshold: float) -> Scorer:
    """The function that `scoring` names or is, after a look at its threshold and arguments."""
    if isinstance(scoring, str):
        if scoring not in SCORERS:
            raise ValueError(
                f"Phrases: scoring: expected a function or one of {', '.join(SCORERS)}, "
                f"got {scoring!r}"
            )
        low, high, expected = _LIMITS[scoring]
        if not low <= threshold <= high or (scoring == "default" and threshold == 0):
            raise ValueError(
                f"Phrases: threshold: expected {expected} for scoring {scoring!r}, got {threshold}"
            )
        return SCORERS[scoring]
    return _checked(scoring)


def _checked(scoring: Scorer) -> Scorer:
    """A scorer of one's own. Raises ValueError if it lacks an argument."""
    if not callable(scoring):
        raise ValueError(f"Phrases: scoring: expected a function, got {scoring!r}")
    parameters = inspect.signature(scoring).parameters
    missing = [name for name in _COUNTS if name not in parameters]
    if missing:
        raise ValueError(f"Phrases: scoring: the function lacks the arguments {', '.join(missing)}")
    return scoring


def _name_of(scoring: Scorer) -> str:
    """The name of a scorer in a file. Raises ValueError if it would not be found under the name."""
    for name, scorer in SCORERS.items():
        if scorer is scoring:
            return name
    name = f"{getattr(scoring, '__module__', None)}:{getattr(scoring, '__qualname__', None)}"
    if _found(name) is not scoring:
        raise ValueError(
            f"save: scoring is a function that no file can hold, {scoring!r}; expected one of "
            f"{', '.join(SCORERS)}, or a function that a module has under its name"
        )
    return name


def _function(name: str) -> Scorer:
    """The scorer that a file names. Raises ValueError if it is not there."""
    if name in SCORERS:
        return SCORERS[name]
    scoring = _found(name)
    if scoring is None:
        raise ValueError(
            f"scoring is a function of its own, {name}, which has not been imported: import it "
            "first if the file is to be trusted, or give it as load(..., scoring=function)"
        )
    return _checked(scoring)


def _found(name: str) -> Any:
    """The object named "module:name", if the module has been imported already, or None."""
    module, _, path = name.partition(":")
    held: Any = sys.modules.get(module)
    for part in path.split("."):
        held = inspect.getattr_static(held, part, None)  # which runs nothing
    return held


def _prune(vocab: dict[str, int], count: int) -> None:
    """Forget what was seen `count` times or less."""
    for word in [word for word, seen in vocab.items() if seen <= count]:
        del vocab[word]

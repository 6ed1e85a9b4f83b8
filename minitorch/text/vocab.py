"""Which words a model knows, how often they occur, and the probabilities that follow."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minitorch.creation import from_numpy
from minitorch.text.io.encoded import Encoded, check_words, with_progress
from minitorch.text.io.model_file import from_text, plain_keys, text

__all__ = ["Vocab"]

Probabilities = NDArray[np.float64]
Chosen = NDArray[np.int64]  # indices of words
TrimRule = Callable[[str, int, int], int]  # word, count, min_count -> one of the rules below

RULE_DEFAULT, RULE_DISCARD, RULE_KEEP = 0, 1, 2  # gensim.utils has the same names and numbers


class NoWordsError(ValueError, RuntimeError):
    """A corpus or its limits leave a vocabulary without words; RuntimeErrors in gensim's train."""


def keep(word: Any, count: int, min_count: int, trim_rule: TrimRule | None = None) -> bool:
    """Whether a word stays: as the rule says, or if it was seen `min_count` times."""
    rule = None if trim_rule is None else trim_rule(word, count, min_count)
    rule = RULE_DEFAULT if rule is None else rule
    if rule not in (RULE_DEFAULT, RULE_DISCARD, RULE_KEEP):
        raise ValueError(
            f"trim_rule: expected RULE_DEFAULT, RULE_DISCARD or RULE_KEEP (0, 1, 2), got {rule!r} "
            f"for {word!r}"
        )
    return rule == RULE_KEEP or (rule == RULE_DEFAULT and count >= min_count)


def scan(
    sentences: Iterable[Sequence[str]],
    max_vocab_size: int,
    trim_rule: TrimRule | None = None,
    progress: bool | None = False,
) -> dict[str, int]:
    """Count words in bounded memory: the rarest are forgotten where there are too many.

    As in gensim: whenever more than `max_vocab_size` words are held, those seen less than 1, 2,
    3, ... times are dropped, so that counts of rare words are lower bounds.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    least = 1
    for sentence in with_progress(sentences, "counting", progress):
        try:
            for word in sentence:
                counts[word] += 1
        except TypeError:
            check_words(sentence)
            raise
        if len(counts) > max_vocab_size:
            for word in [w for w, n in counts.items() if not keep(w, n, least, trim_rule)]:
                del counts[word]
            least += 1
    return dict(counts)


class Vocab:
    """Words with their counts, the most frequent first.

    index_to_key: the words; key_to_index: their numbers; counts: int64 (len(self),).
    Words of equal count stand in gensim's order: the one seen last comes first. With
    sorted_vocab=False all stand in the order given. Words may be whatever a file can hold: see
    `model_file.plain`, which raises TypeError for anything else.
    """

    def __init__(
        self, words: Sequence[Any], counts: NDArray[np.int64], sorted_vocab: bool = True
    ) -> None:
        order = np.arange(len(counts))
        if sorted_vocab:
            order = np.lexsort((-order, -counts))
        self.counts = counts[order].astype(np.int64)
        self.index_to_key = plain_keys((words[i] for i in order.tolist()), "words")
        for word in self.index_to_key:
            if word != word:
                raise TypeError(f"words: {word!r} equals nothing, so that nobody could find it")
        self.key_to_index = {word: i for i, word in enumerate(self.index_to_key)}

    @classmethod
    def from_encoded(
        cls,
        corpus: Encoded,
        min_count: int = 5,
        *,
        max_final_vocab: int | None = None,
        trim_rule: TrimRule | None = None,
        sorted_vocab: bool = True,
    ) -> "Vocab":
        """Vocabulary of the words that a corpus has at least `min_count` times.

        max_final_vocab: raise min_count until no more words are left than this. trim_rule: says of
        each word whether it stays, see `keep`. Raises NoWordsError, a ValueError, if no word is
        left, TypeError for a word that no file can hold.
        """
        kept = kept_words(corpus, min_count, max_final_vocab, trim_rule)
        return cls.from_kept(corpus, kept, min_count, sorted_vocab)

    @classmethod
    def from_kept(
        cls, corpus: Encoded, kept: Chosen, min_count: int, sorted_vocab: bool = True
    ) -> "Vocab":
        """Vocabulary of the words that `kept_words` has chosen for `min_count`."""
        counts = corpus.counts
        if not len(kept):
            most = (
                f"the most frequent occurs {counts.max()} times" if len(counts) else "it is empty"
            )
            raise NoWordsError(f"min_count={min_count} leaves no word of the corpus: {most}")
        return cls([corpus.words[i] for i in kept.tolist()], counts[kept], sorted_vocab)

    def extended(self, corpus: Encoded, kept: Chosen) -> "Vocab":
        """This vocabulary with a corpus added: of its new words those of `kept_words`, at the end.

        Counts of all its words that are known then are added up.
        """
        new = [i for i in kept.tolist() if corpus.words[i] not in self]
        words = self.index_to_key + [corpus.words[i] for i in new]
        counts = np.concatenate([self.counts, np.zeros(len(new), dtype=np.int64)])
        index = {word: i for i, word in enumerate(words)}
        numbers = np.array([index.get(word, -1) for word in corpus.words], dtype=np.int64)
        counts[numbers[numbers >= 0]] += corpus.counts[numbers >= 0]
        return Vocab(words, counts, sorted_vocab=False)

    def state_dict(self) -> dict[str, Any]:
        """The state for a file: "words" as `text`, and the tensor "counts"."""
        return {"words": text(self.index_to_key), "counts": from_numpy(self.counts)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Vocab":
        """The vocabulary that `state_dict` was taken of. Raises ValueError if it does not fit."""
        words, counts = from_text(state["words"]), state["counts"].cpu().numpy()
        if len(words) != len(counts):
            raise ValueError(f"{len(words)} words do not fit {len(counts)} counts")
        return cls(words, counts, sorted_vocab=False)

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, word: str) -> bool:
        return word in self.key_to_index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index_to_key)

    def __repr__(self) -> str:
        return f"Vocab({len(self)} words, {self.counts.sum()} occurrences)"

    def table(self, corpus: Encoded) -> NDArray[np.int32]:
        """This vocabulary's number of each word of a corpus, -1 for those that it lacks."""
        number = self.key_to_index.get
        return np.array([number(word, -1) for word in corpus.words], dtype=np.int32)

    def number(self, corpus: Encoded) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tokens of a corpus as numbers of this vocabulary, and their sentences, both int32 (n,).

        Words that the vocabulary lacks are left out, so that their neighbours become adjacent.
        """
        return corpus.number(self.table(corpus))

    def keep_probabilities(self, sample: float) -> Probabilities:
        """Probability that sub-sampling keeps an occurrence of each word, (len(self),).

        (sqrt(f/t) + 1) t/f, at most 1, for frequency f and threshold t = `sample` (word2vec.c;
        Mikolov et al. 2013, section 2.3, print another formula). 0 keeps every word.
        """
        return keep_probabilities(self.counts, sample)

    def sample_ints(self, sample: float) -> list[int]:
        """`keep_probabilities` as gensim has them: of the numbers below 2**32."""
        scaled = (self.keep_probabilities(sample) * (2**32 - 1)).astype(np.uint32)
        numbers: list[int] = scaled.tolist()
        return numbers

    def sampled(self, corpus: Encoded, sample: float) -> float:
        """How many words of a corpus sub-sampling leaves, on average; unknown ones are none."""
        table = self.table(corpus)
        known = table >= 0
        probability = self.keep_probabilities(sample)[table[known]]
        return float((probability * corpus.counts[known]).sum())

    def noise_probabilities(self, exponent: float = 0.75) -> Probabilities:
        """Distribution of the negatives, proportional to count**exponent, (len(self),)."""
        weights: Probabilities = self.counts.astype(np.float64) ** exponent
        weights /= weights.sum()
        return weights


def effective_min_count(corpus: Encoded, min_count: int, max_final_vocab: int | None = None) -> int:
    """The least count that leaves no more than `max_final_vocab` words, `min_count` at least."""
    if max_final_vocab is None or max_final_vocab >= len(corpus.counts):
        return min_count
    ordered = np.sort(corpus.counts)[::-1]
    return max(min_count, int(ordered[max_final_vocab]) + 1)


def kept_words(
    corpus: Encoded,
    min_count: int,
    max_final_vocab: int | None = None,
    trim_rule: TrimRule | None = None,
) -> Chosen:
    """Indices of the words of a corpus that stay in a vocabulary; what never occurs does not."""
    min_count = effective_min_count(corpus, min_count, max_final_vocab)
    if trim_rule is None:
        return np.flatnonzero(corpus.counts >= max(min_count, 1))
    counted = enumerate(zip(corpus.words, corpus.counts.tolist()))
    chosen = [i for i, (word, n) in counted if n and keep(word, n, min_count, trim_rule)]
    return np.array(chosen, dtype=np.int64)


def keep_probabilities(counts: NDArray[np.int64], sample: float) -> Probabilities:
    """Probability that sub-sampling keeps an occurrence of each word: see `Vocab`."""
    if not 0 <= sample < 1:
        raise ValueError(f"sample: expected 0 <= sample < 1, got {sample}")
    if sample == 0:
        return np.ones(len(counts))
    ratio = sample * counts.sum() / counts
    keep: Probabilities = np.minimum(np.sqrt(ratio) + ratio, 1.0)
    return keep


def report(corpus: Encoded, kept: Chosen, sample: float) -> dict[str, int]:
    """The effect of limits and sub-sampling on a corpus, by gensim's names.

    drop_unique, num_retained_words: words left out and kept. retain_total: occurrences of those
    that are kept. downsample_unique: words that sub-sampling thins; downsample_total: occurrences
    that it leaves, on average.
    """
    counts = corpus.counts[kept]
    probability = keep_probabilities(counts, sample)
    return {
        "drop_unique": len(corpus.words) - len(kept),
        "retain_total": int(counts.sum()),
        "downsample_unique": int((probability < 1).sum()),
        "downsample_total": int((probability * counts).sum()),
        "num_retained_words": len(kept),
    }


def alias_table(probabilities: Probabilities) -> tuple[Probabilities, NDArray[np.int64]]:
    """Thresholds and aliases, both (n,), to draw from a distribution in two look-ups.

    Draw i uniformly and u in [0, 1): the sample is i if u < thresholds[i], else aliases[i].
    (A. J. Walker, "An efficient method for generating discrete random variables", 1977.)
    """
    n = len(probabilities)
    share = (probabilities * n).tolist()
    thresholds, aliases = np.ones(n), np.arange(n)
    poor = [i for i in range(n) if share[i] < 1]
    rich = [i for i in range(n) if share[i] >= 1]
    while poor and rich:
        i, j = poor.pop(), rich[-1]
        thresholds[i], aliases[i] = share[i], j
        share[j] -= 1 - share[i]
        if share[j] < 1:
            poor.append(rich.pop())
    return thresholds, aliases

"""Which words a model knows, how often they occur, and the probabilities that follow."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from minitorch.text.corpus import Encoded

Probabilities = NDArray[np.float64]


class Vocab:
    """Words with their counts, the most frequent first.

    index_to_key: the words; key_to_index: their numbers; counts: int64 (len(self),).
    Words of equal count stand in gensim's order: the one seen last comes first.
    """

    def __init__(self, words: Sequence[str], counts: NDArray[np.int64]) -> None:
        order = np.lexsort((-np.arange(len(counts)), -counts))
        self.counts = counts[order].astype(np.int64)
        self.index_to_key = [words[i] for i in order.tolist()]
        self.key_to_index = {word: i for i, word in enumerate(self.index_to_key)}

    @classmethod
    def from_encoded(cls, corpus: Encoded, min_count: int = 5) -> "Vocab":
        """Vocabulary of the words that a corpus has at least `min_count` times.

        Raises ValueError if no word is left.
        """
        counts = np.bincount(corpus.tokens, minlength=len(corpus.words))
        kept = np.flatnonzero(counts >= min_count)
        if not len(kept):
            most = (
                f"the most frequent occurs {counts.max()} times" if len(counts) else "it is empty"
            )
            raise ValueError(f"min_count={min_count} leaves no word of the corpus: {most}")
        return cls([corpus.words[i] for i in kept.tolist()], counts[kept])

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, word: str) -> bool:
        return word in self.key_to_index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index_to_key)

    def __repr__(self) -> str:
        return f"Vocab({len(self)} words, {self.counts.sum()} occurrences)"

    def number(self, corpus: Encoded) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tokens of a corpus as numbers of this vocabulary, and their sentences, both int32 (n,).

        Words that the vocabulary lacks are left out, so that their neighbours become adjacent.
        """
        number = self.key_to_index.get
        table = np.array([number(word, -1) for word in corpus.words], dtype=np.int32)
        tokens = table[corpus.tokens] if len(table) else corpus.tokens
        known = tokens >= 0
        return tokens[known], corpus.sentences[known]

    def keep_probabilities(self, sample: float) -> Probabilities:
        """Probability that sub-sampling keeps an occurrence of each word, (len(self),).

        (sqrt(f/t) + 1) t/f, at most 1, for frequency f and threshold t = `sample` (word2vec.c;
        Mikolov et al. 2013, section 2.3, print another formula). 0 keeps every word.
        """
        if not 0 <= sample < 1:
            raise ValueError(f"sample: expected 0 <= sample < 1, got {sample}")
        if sample == 0:
            return np.ones(len(self))
        ratio = sample * self.counts.sum() / self.counts
        keep: Probabilities = np.minimum(np.sqrt(ratio) + ratio, 1.0)
        return keep

    def noise_probabilities(self, exponent: float = 0.75) -> Probabilities:
        """Distribution of the negatives, proportional to count**exponent, (len(self),)."""
        weights: Probabilities = self.counts.astype(np.float64) ** exponent
        weights /= weights.sum()
        return weights


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

"""Which words stand near each other: window counts, and what they say beyond chance (PPMI)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from minitorch.creation import from_numpy
from minitorch.text.io import model_file
from minitorch.text.io.encoded import Encoded, encode, with_progress
from minitorch.text.options import integer
from minitorch.text.progress import Progress
from minitorch.text.vector_table import UnknownKeyError
from minitorch.text.vocab import Vocab

Sentences = Iterable[Sequence[str]]
# Words and the sentence of each, (n,), and where the new ones begin.
_Part = tuple[NDArray[np.int32], NDArray[np.int32], int]
# What each pair counts, and its two words, (n,).
_Pairs = tuple[NDArray[np.float64], tuple[NDArray[np.int32], NDArray[np.int32]]]

_CHUNK = 1 << 18  # words that are counted at once

# What a pair counts, by its distance.
WEIGHTINGS: dict[str, Callable[[int], float]] = {
    "flat": lambda distance: 1.0,
    "distance": lambda distance: 1.0 / distance,
}
# Which neighbours of a word count, from the counts of pairs (word, a later word).
SIDES: dict[str, Callable[[Any], Any]] = {
    "both": lambda later: later + later.T,
    "left": lambda later: later.T,
    "right": lambda later: later,
}


@dataclass(frozen=True)
class Cooccurrence:
    """How often words stand near each other.

    vocab: the words. counts: a sparse float64 matrix (len(vocab), len(vocab)); the row is the
    word, the column its neighbour.
    """

    vocab: Vocab
    counts: sparse.csr_array[Any, Any]

    def __getitem__(self, pair: tuple[str, str]) -> float:
        """The count of a word and its neighbour.

        Raises KeyError for an unknown word, with the nearest spellings.
        """
        for word in pair:
            if word not in self.vocab:
                raise UnknownKeyError(word, self.vocab.index_to_key)
        row, column = (self.vocab.key_to_index[word] for word in pair)
        return float(self.counts[row, column])

    def state_dict(self) -> dict[str, Any]:
        """The state for a file: the vocabulary's state, and the matrix by row."""
        parts = ("data", "indices", "indptr")
        matrix = {part: from_numpy(getattr(self.counts, part)) for part in parts}
        return {"vocab": self.vocab.state_dict(), "matrix": matrix}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Cooccurrence:
        """The counts that `state_dict` was taken of."""
        vocab = Vocab.from_state_dict(state["vocab"])
        parts = [state["matrix"][part].cpu().numpy() for part in ("data", "indices", "indptr")]
        counts = sparse.csr_array(tuple(parts), shape=(len(vocab), len(vocab)))
        counts.check_format()
        return cls(vocab, counts)

    def save(self, path: str | Path) -> None:
        """Write words and counts to a safetensors file."""
        model_file.write(path, "Cooccurrence", self.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Cooccurrence:
        """Read what `save` wrote. Raises ValueError for any other file."""
        with model_file.reading(path, "Cooccurrence", device="cpu") as state:
            return cls.from_state_dict(state)

    def __repr__(self) -> str:
        return f"Cooccurrence({len(self.vocab)} words, {self.counts.nnz} pairs)"


def count_cooccurrences(
    sentences: Sentences | Encoded,
    window: int = 5,
    *,
    sides: str = "both",
    weighting: str = "flat",
    vocab: Vocab | None = None,
    min_count: int = 1,
    chunk_words: int = _CHUNK,
    progress: bool | None = False,
) -> Cooccurrence:
    """Count the pairs of words within `window` words of each other in one sentence.

    sentences: lists of words, read once, or what `encode` made of them. sides: "both" neighbours
    of a word (a symmetric matrix), or those to its "left" or "right" only. weighting: a pair
    counts 1 ("flat") or 1 / distance ("distance", as in GloVe).
    min_count: leave out words seen less often. Words that are left out are taken away before
    windows are cut, so that their neighbours become adjacent, as in word2vec.c and GloVe.
    vocab: the words to count, instead. progress: show bars (None: on a terminal).

    Memory is that of the distinct pairs, 12 bytes each, up to four times over while they are
    merged, and of `chunk_words` words at a time: the length of the corpus does not matter.

    Raises ValueError for an option out of range and where no word is left, TypeError for a string
    instead of a list of words.
    """
    window = integer("co-occurrence: window", window, 1)
    min_count = integer("co-occurrence: min_count", min_count, 0)
    chunk_words = integer("co-occurrence: chunk_words", chunk_words, 1)
    for name, given, known in (("sides", sides, SIDES), ("weighting", weighting, WEIGHTINGS)):
        if given not in known:
            raise ValueError(
                f"co-occurrence: {name}: expected one of {', '.join(known)}, got {given!r}"
            )
    corpus = sentences if isinstance(sentences, Encoded) else encode(sentences, progress)
    vocab = Vocab.from_encoded(corpus, min_count) if vocab is None else vocab
    later = _Sum((len(vocab), len(vocab)))
    with Progress("counting pairs", len(corpus.tokens), " words", progress) as shown:
        for done, part in _numbered(corpus, vocab, window, chunk_words):
            later.add(_pairs(part, window, weighting, sides))
            shown.show(done, f"{sum(held.nnz for held in later.parts):,} pairs")
    counts = SIDES[sides](later.total()).tocsr()
    counts.sort_indices()
    return Cooccurrence(vocab, counts)


def _numbered(corpus: Encoded, vocab: Vocab, window: int, size: int) -> Iterator[tuple[int, _Part]]:
    """Parts of `size` words of a corpus, and before each the last `window` of the one before.

    With each comes how many words of the corpus have gone by then.
    """
    table = vocab.table(corpus)
    words = numbers = np.empty(0, dtype=np.int32)
    before = 0  # sentences that began in the parts before
    for start in range(0, len(corpus.tokens), size):
        new, sentence = corpus.number(table, start, start + size)
        kept = max(0, len(words) - window)
        words = np.concatenate([words[kept:], new])
        numbers = np.concatenate([numbers[kept:], sentence + np.int32(before)])
        before += int(np.count_nonzero(corpus.tokens[start : start + size] < 0))
        done = min(start + size, len(corpus.tokens))
        yield done, (words, numbers, len(words) - len(new))


def _pairs(part: _Part, window: int, weighting: str, sides: str) -> _Pairs:
    """Weights, words and later words of the pairs whose later word is a new one.

    For both sides the order of a pair does not matter: the smaller number comes first, which
    halves what is to be kept.
    """
    words, numbers, start = part
    weights, firsts, seconds = [], [], []
    for distance in range(1, min(window, len(words) - 1) + 1):
        later = slice(max(start, distance), None)
        earlier = slice(max(start, distance) - distance, len(words) - distance)
        together = numbers[earlier] == numbers[later]
        firsts.append(words[earlier][together])
        seconds.append(words[later][together])
        weights.append(np.full(len(firsts[-1]), WEIGHTINGS[weighting](distance)))
    if not weights:
        nothing = np.empty(0, dtype=np.int32)
        return np.empty(0), (nothing, nothing)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    if sides == "both":
        first, second = np.minimum(first, second), np.maximum(first, second)
    return np.concatenate(weights), (first, second)


class _Sum:
    """A sum of many sparse matrices, merged like with like: each pair is merged log times."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.parts: list[Any] = []

    def add(self, pairs: _Pairs) -> None:
        """Add numbers at (rows, columns); a position may be named more than once."""
        self.parts.append(sparse.coo_array(pairs, shape=self.shape).tocsr())
        while len(self.parts) > 1 and self.parts[-2].nnz <= 2 * self.parts[-1].nnz:
            self._merge()

    def _merge(self) -> None:
        last = self.parts.pop()
        self.parts[-1] = self.parts[-1] + last

    def total(self) -> Any:
        """The sum of all."""
        while len(self.parts) > 1:
            self._merge()
        return self.parts.pop() if self.parts else sparse.csr_array(self.shape, dtype=np.float64)


def ppmi(
    counts: Cooccurrence | Any, alpha: float = 1.0, shift: float = 1.0
) -> sparse.csr_array[Any, Any]:
    """Positive pointwise mutual information: max(0, ln(p(w, c) / (p(w) p(c))) - ln shift).

    counts: of words and contexts, a matrix (words, contexts), or a Cooccurrence. alpha: contexts
    have p(c) ∝ count(c)^alpha; 0.75 keeps rare ones from scoring too high. shift: k takes ln k
    off, as k negatives do in skip-gram. Returns a sparse float64 matrix of the same shape.
    (Levy, Goldberg and Dagan 2015, "Improving distributional similarity with lessons learned from
    word embeddings", sections 2.1 and 3.2.)

    Raises ValueError for an option out of range and for negative counts.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"ppmi: alpha: expected 0 to 1, got {alpha}")
    if not shift > 0:
        raise ValueError(f"ppmi: shift: expected more than 0, got {shift}")
    matrix: Any = counts.counts if isinstance(counts, Cooccurrence) else counts
    pairs: Any = sparse.coo_array(sparse.csr_array(matrix, dtype=np.float64))
    pairs.eliminate_zeros()
    if not (np.isfinite(pairs.data).all() and (pairs.data > 0).all()):
        raise ValueError("ppmi: counts: expected finite numbers of at least 0")
    words, contexts = pairs.sum(axis=1), pairs.sum(axis=0)
    smoothed = np.where(contexts > 0, contexts**alpha, 0.0)
    row, column = pairs.coords
    information = np.log(pairs.data) - np.log(words[row]) - np.log(smoothed[column])
    information += np.log(smoothed.sum() or 1.0) - np.log(shift)
    kept = information > 0
    coordinates = row[kept], column[kept]
    return sparse.csr_array((information[kept], coordinates), shape=pairs.shape)


def keyword_in_context(
    sentences: Sentences, keyword: str, width: int = 4
) -> Iterator[tuple[list[str], str, list[str]]]:
    """Each occurrence of a word with up to `width` words before and behind it.

    Raises ValueError for a negative width, TypeError for a string instead of a list of words.
    """
    if width < 0:
        raise ValueError(f"keyword_in_context: width: expected at least 0, got {width}")
    for sentence in with_progress(sentences, "", progress=False):
        for i, word in enumerate(sentence):
            if word == keyword:
                before, behind = sentence[max(0, i - width) : i], sentence[i + 1 : i + 1 + width]
                yield list(before), keyword, list(behind)

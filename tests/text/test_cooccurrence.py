import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from minitorch.text import (
    Cooccurrence,
    Corpus,
    Vocab,
    count_cooccurrences,
    encode,
    keyword_in_context,
    ppmi,
)
from minitorch.text.io import encoded

DECK = [s.split() for s in ("I like deep learning .", "I like NLP .", "I enjoy flying .")]
SINGULAR = [2.7573, 2.6782, 1.8922, 1.6180, 1.1915, 0.9483, 0.6180, 0.5700]


def brute_force(sentences, window, sides, weighting, min_count):
    """Counts of pairs of words, one pair of places at a time."""
    seen = Counter(word for sentence in sentences for word in sentence)
    counts = Counter()
    for sentence in sentences:
        words = [word for word in sentence if seen[word] >= min_count]
        for i, word in enumerate(words):
            for j, other in enumerate(words):
                near = 0 < abs(i - j) <= window
                wanted = sides == "both" or (sides == "left") == (j < i)
                if near and wanted:
                    counts[word, other] += 1 / abs(i - j) if weighting == "distance" else 1
    return counts


def as_dict(found):
    rows, columns = found.counts.nonzero()
    names = found.vocab.index_to_key
    return {(names[i], names[j]): found.counts[i, j] for i, j in zip(rows, columns)}


def test_the_decks_corpus():
    found = count_cooccurrences(DECK, window=1)
    assert found.counts.sum() == 20
    dense = found.counts.toarray()
    assert_array_equal(dense, dense.T)
    assert_allclose(np.linalg.svd(dense, compute_uv=False), SINGULAR, atol=5e-5)
    assert found["I", "like"] == found["like", "I"] == 2
    assert found["like", "deep"] == 1
    assert found["I", "flying"] == 0
    assert repr(found) == "Cooccurrence(8 words, 18 pairs)"


sentences_of = st.lists(st.lists(st.sampled_from("abcdef"), max_size=9), min_size=1, max_size=9)


@given(
    sentences_of,
    st.integers(1, 5),
    st.sampled_from(["both", "left", "right"]),
    st.sampled_from(["flat", "distance"]),
    st.integers(1, 3),
    st.integers(1, 12),
)
def test_any_corpus_as_by_brute_force(sentences, window, sides, weighting, min_count, chunk):
    options = {"sides": sides, "weighting": weighting, "min_count": min_count}
    seen = Counter(word for sentence in sentences for word in sentence)
    if max(seen.values(), default=0) < min_count:
        with pytest.raises(ValueError, match=f"min_count={min_count} leaves no word"):
            count_cooccurrences(sentences, window, **options)
        return
    found = count_cooccurrences(sentences, window, chunk_words=chunk, **options)
    assert as_dict(found) == pytest.approx(brute_force(sentences, window, **options), rel=1e-12)
    assert found.counts.dtype == np.float64
    assert found.counts.has_canonical_format
    assert_array_equal(found.vocab.counts, [seen[word] for word in found.vocab])


def test_a_vocabulary_of_ones_own():
    vocab = Vocab(["I", "NLP", "."], np.array([3, 2, 1]))
    found = count_cooccurrences(iter(DECK), 1, vocab=vocab)
    assert found.vocab is vocab
    assert as_dict(found) == {
        ("I", "NLP"): 1,
        ("NLP", "I"): 1,
        ("NLP", "."): 1,
        (".", "NLP"): 1,
        ("I", "."): 2,
        (".", "I"): 2,
    }


def test_an_empty_corpus_of_a_known_vocabulary():
    found = count_cooccurrences([], vocab=Vocab(["a", "b"], np.array([1, 1])))
    assert found.counts.shape == (2, 2)
    assert found.counts.nnz == 0
    assert ppmi(found).nnz == 0


def test_a_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in DECK))
    found = count_cooccurrences(Corpus(path, tokenizer=str.split), 2)
    assert as_dict(found) == brute_force(DECK, 2, "both", "flat", 1)
    again = count_cooccurrences(encode(DECK), 2)
    assert (again.counts != found.counts).nnz == 0


def test_memory_does_not_grow_with_the_corpus(monkeypatch):
    monkeypatch.setattr(encoded, "_AT_ONCE", 1000)

    class Long:
        def __init__(self, count):
            self.count = count

        def __iter__(self):
            rng = np.random.default_rng(0)
            words = [f"w{i}" for i in range(40)]
            for _ in range(self.count):
                yield [words[i] for i in rng.integers(40, size=20)]

    def peak(count):
        tracemalloc.start()
        count_cooccurrences(Long(count), 5, chunk_words=1000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(2000) < 1.3 * peak(200) < 1_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window: expected an integer above 0, got 0"),
        ({"window": 1.5}, "window: expected an integer above 0, got 1.5"),
        ({"min_count": -1}, "min_count: expected an integer above -1"),
        ({"chunk_words": 0}, "chunk_words: expected an integer above 0"),
        ({"sides": "up"}, "sides: expected one of both, left, right, got 'up'"),
        ({"weighting": "harmonic"}, "weighting: expected one of flat, distance, got 'harm"),
        (
            {"min_count": 4},
            "min_count=4 leaves no word of the corpus: the most frequent",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        count_cooccurrences(DECK, **options)


def test_numbers_of_numpy_are_options():
    given = {"window": np.int64(2), "min_count": np.array(0), "chunk_words": np.int32(7)}
    found = count_cooccurrences(DECK, **given)
    assert (found.counts != count_cooccurrences(DECK, 2).counts).nnz == 0
    information = ppmi(found, alpha=np.float32(0.5), shift=np.int64(2))
    assert (information != ppmi(found, alpha=0.5, shift=2)).nnz == 0


def test_bad_corpora():
    with pytest.raises(ValueError, match="min_count=1 leaves no word of the corpus: it is empty"):
        count_cooccurrences([])
    with pytest.raises(TypeError, match="expected lists of words, got the string 'I like'"):
        count_cooccurrences(["I like"])


# ---------------------------------------------------------------------- PPMI
def ppmi_by_hand(counts, alpha, shift):
    """Levy et al. 2015, in the probabilities that they write."""
    joint = counts / counts.sum()
    context = counts.sum(axis=0) ** alpha
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(joint / (joint.sum(axis=1)[:, None] * (context / context.sum())))
    return np.nan_to_num(np.maximum(pmi - np.log(shift), 0))


@pytest.mark.parametrize("alpha", [1.0, 0.75, 0.5])
@pytest.mark.parametrize("shift", [1, 5, 0.5])
def test_ppmi(alpha, shift):
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.7, (7, 9)) * rng.integers(1, 30, 9)
    counts[2] = 0
    counts[:, 4] = 0
    found = ppmi(sparse.csr_array(counts), alpha, shift)
    assert_allclose(found.toarray(), ppmi_by_hand(counts.astype(float), alpha, shift), atol=1e-12)
    assert (found.data > 0).all()
    assert_allclose(ppmi(counts, alpha, shift).toarray(), found.toarray())


def test_ppmi_of_independent_words_is_nothing():
    assert ppmi(np.outer([1, 2, 3], [5, 1, 4])).toarray().max() < 1e-12
    counted = count_cooccurrences(DECK, 1)
    assert isinstance(counted, Cooccurrence)
    found = ppmi(counted)
    assert found.toarray().max() == pytest.approx(np.log(20 * 1 / (2 * 2)))  # enjoy, flying
    assert_allclose(found.toarray(), ppmi_by_hand(counted.counts.toarray(), 1, 1))


def test_ppmi_refuses():
    with pytest.raises(ValueError, match="alpha: expected 0 to 1, got 2"):
        ppmi(np.ones((2, 2)), alpha=2)
    with pytest.raises(ValueError, match="shift: expected more than 0, got 0"):
        ppmi(np.ones((2, 2)), shift=0)
    with pytest.raises(ValueError, match="counts: expected finite numbers of at least 0"):
        ppmi(-np.ones((2, 2)))
    with pytest.raises(ValueError, match="counts: expected finite numbers of at least 0"):
        ppmi(np.full((2, 2), np.nan))


# ---------------------------------------------------------------------- keyword in context
def test_keyword_in_context():
    text = [
        "government",
        "debt",
        "problems",
        "turning",
        "into",
        "banking",
        "crises",
        "as",
        "has",
        "happened",
        "in",
    ]
    more = [
        "saying",
        "that",
        "europe",
        "needs",
        "unified",
        "banking",
        "regulation",
        "to",
        "replace",
        "the",
        "hodgepodge",
    ]
    assert list(keyword_in_context([text, more], "banking", 3)) == [
        (["problems", "turning", "into"], "banking", ["crises", "as", "has"]),
        (["europe", "needs", "unified"], "banking", ["regulation", "to", "replace"]),
    ]
    twice = ["moon", "and", "moon"]
    assert list(keyword_in_context([twice], "moon", 1)) == [
        ([], "moon", ["and"]),
        (["and"], "moon", []),
    ]
    assert list(keyword_in_context([twice], "moon", 0)) == [([], "moon", [])] * 2
    assert list(keyword_in_context([twice], "wampimuk")) == []
    with pytest.raises(ValueError, match="width: expected at least 0, got -1"):
        next(keyword_in_context([twice], "moon", -1))

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

import minitorch
from minitorch.text import (
    LSA,
    KeyedVectors,
    Vocab,
    count_cooccurrences,
    ppmi,
    term_documents,
    truncated_svd,
)
from minitorch.text.lsa import WEIGHTINGS, weight
from tests.referee import array

# Landauer, Foltz and Laham 1998, "An introduction to latent semantic analysis", figure 1.
TITLES = [
    title.split()
    for title in (
        "human machine interface for abc computer applications",
        "a survey of user opinion of computer system response time",
        "the eps user interface management system",
        "system and human system engineering testing of eps",
        "relation of user perceived response time to error measurement",
        "the generation of random binary ordered trees",
        "the intersection graph of paths in trees",
        "graph minors iv widths of trees and well quasi ordering",
        "graph minors a survey",
    )
]
STOP_WORDS = {"a", "and", "for", "in", "of", "the", "to"}
CONTENT = {
    *("human", "interface", "computer", "user", "system", "response", "time", "eps"),
    *("survey", "trees", "graph", "minors"),
}
SINGULAR = [3.3409, 2.5417, 2.3539, 1.6445]


def nine_titles(**options):
    return LSA(TITLES, weighting="tf", min_documents=2, stop_words=STOP_WORDS, **options)


def pearson(matrix, model, *words):
    return np.corrcoef(matrix[[model.wv.get_index(word) for word in words]])[0, 1]


def test_the_nine_titles():
    vocab, counts = term_documents(TITLES, min_documents=2, stop_words=STOP_WORDS)
    assert set(vocab) == CONTENT
    assert counts.shape == (12, 9)
    assert counts.sum() == 29
    model = nine_titles(vector_size=9, dtype=minitorch.float64)
    assert_allclose(array(model.singular_values)[:4], SINGULAR, atol=5e-5)
    assert_allclose(model.reconstruct(), counts.toarray(), atol=1e-12)
    assert round(pearson(counts.toarray(), model, "human", "user"), 3) == -0.378
    assert round(pearson(counts.toarray(), model, "human", "minors"), 3) == -0.286


def test_the_nine_titles_at_rank_two():
    model = nine_titles(vector_size=2)
    low = model.reconstruct()
    assert round(pearson(low, model, "human", "user"), 4) == 0.9385
    assert round(pearson(low, model, "human", "minors"), 4) == -0.8309
    assert_allclose(array(model.singular_values), SINGULAR[:2], atol=5e-5)
    assert model.wv.most_similar("trees", topn=2)[0][0] in ("graph", "minors")
    # Cosines of word vectors are those of the rows of the low-rank matrix.
    rows = low / np.linalg.norm(low, axis=1, keepdims=True)
    human, user = map(model.wv.get_index, ("human", "user"))
    assert model.wv.similarity("human", "user") == pytest.approx(rows[human] @ rows[user], abs=1e-6)


def random_counts(shape, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.random_array(shape, density=0.02 if min(shape) > 100 else 0.3, rng=rng)


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (700, 900)])
def test_svd_as_sklearn(shape):
    matrix = random_counts(shape)
    found = truncated_svd(matrix, 10)
    theirs = TruncatedSVD(10, algorithm="arpack", random_state=0)
    scaled = theirs.fit_transform(matrix.tocsr())
    assert_allclose(found.values, theirs.singular_values_, rtol=1e-10)
    sign = np.sign((scaled * found.left).sum(axis=0))
    assert_allclose(found.left * found.values * sign, scaled, atol=1e-8)
    assert_allclose(found.right * sign[:, None], theirs.components_, atol=1e-8)


@pytest.mark.parametrize("shape", [(40, 30), (600, 700)])
def test_svd_is_repeated_to_the_last_bit(shape):
    matrix = random_counts(shape)
    first, again = truncated_svd(matrix, 5), truncated_svd(matrix.tocsr(), 5)
    for one, other in zip(first, again):
        assert_array_equal(one, other)
    other_start = truncated_svd(matrix, 5, seed=2)
    for one, other in zip(first, other_start):
        assert_allclose(one, other, atol=1e-9)  # signs included
    largest = np.abs(first.left).argmax(axis=0)
    assert (first.left[largest, np.arange(5)] > 0).all()
    turned = truncated_svd(-matrix, 5)
    assert_allclose(turned.left, first.left, atol=1e-9)
    assert_allclose(turned.right, -first.right, atol=1e-9)


def test_a_tie_does_not_turn_the_sign():
    matrix = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    found = truncated_svd(matrix, 1)
    assert_allclose(found.left, [[math.sqrt(0.5)], [-math.sqrt(0.5)], [0]], atol=1e-12)


@pytest.mark.parametrize("rank", [0, 31])
def test_ranks_that_cannot_be(rank):
    with pytest.raises(ValueError, match=rf"rank: expected 1 to 30 .* \(40, 30\), got {rank}"):
        truncated_svd(random_counts((40, 30)), rank)


def test_numbers_that_cannot_be():
    with pytest.raises(ValueError, match="matrix: expected finite numbers"):
        truncated_svd([[1.0, math.nan]], 1)
    with pytest.raises(ValueError, match="counts: expected numbers of at least 0"):
        weight([[1.0, -1.0]], "tf")


# ---------------------------------------------------------------------- weighting
COUNTS = np.array([[1, 1, 1, 1], [4, 0, 0, 0], [2, 1, 0, 1], [0, 3, 0, 2]], dtype=float)


def test_log_entropy_by_its_formula():
    weighed, words = weight(COUNTS, "log-entropy")
    p = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    logs = np.log(np.where(p > 0, p, 1))
    expected = 1 + (p * logs).sum(axis=1) / np.log(4)
    assert_allclose(words, expected, atol=1e-12)
    assert_allclose(words[:2], [0, 1], atol=1e-12)  # spread evenly, in one document
    assert_allclose(weighed.toarray(), np.log(1 + COUNTS) * expected[:, None], atol=1e-12)


def test_tf_idf_as_sklearn():
    weighed, words = weight(COUNTS, "tf-idf")
    theirs = TfidfTransformer(norm=None, smooth_idf=False).fit(COUNTS.T)
    assert_allclose(words, theirs.idf_ - 1)  # sklearn adds one
    assert_allclose(weighed.toarray(), COUNTS * words[:, None])
    same, ones = weight(COUNTS, "tf")
    assert_array_equal(same.toarray(), COUNTS)
    assert_array_equal(ones, 1)
    assert set(WEIGHTINGS) == {"tf", "tf-idf", "log-entropy"}
    with pytest.raises(ValueError, match="weighting: expected one of tf, tf-idf, log-entropy, got"):
        weight(COUNTS, "bm25")


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_folding_in_a_known_document_gives_its_vector(weighting):
    model = LSA(TITLES, 4, weighting, stop_words=STOP_WORDS, dtype=minitorch.float64)
    for number, title in enumerate(TITLES):
        expected = array(model.document_vectors[number])
        assert_allclose(array(model.infer_vector(title)), expected, atol=1e-10)
    assert_allclose(array(model.infer_vector(["unseen"])), 0)


# ---------------------------------------------------------------------- the model
def test_term_documents():
    documents = [["b", "a", "b"], [], ["a", "c"]]
    vocab, counts = term_documents(iter(documents))
    assert list(vocab) == ["a", "b", "c"]
    assert vocab.counts.tolist() == [2, 2, 1]
    assert_array_equal(counts.toarray(), [[1, 0, 1], [2, 0, 0], [0, 0, 1]])
    kept = Vocab(["z", "b"], np.array([2, 1]))
    assert_array_equal(term_documents(documents, vocab=kept)[1].toarray(), [[0, 0, 0], [2, 0, 0]])
    vocab, counts = term_documents(documents, min_count=2)
    assert list(vocab) == ["a", "b"]
    with pytest.raises(ValueError, match="no word of the 3 in 3 documents is left by min_count=9"):
        term_documents(documents, min_count=9)
    with pytest.raises(TypeError, match="expected lists of words, got the string"):
        term_documents(["a b"])


def test_vectors_of_a_cooccurrence_matrix(device):
    found = count_cooccurrences(TITLES, 3)
    model = LSA.from_matrix(found, vector_size=5, power=0.5)
    assert isinstance(model.wv, KeyedVectors)
    assert model.wv.index_to_key == found.vocab.index_to_key
    assert model.wv.get_vecattr("graph", "count") == 3
    assert model.wv.device.type == device
    assert model.wv.tensor.dtype == minitorch.float32
    u, s, _ = np.linalg.svd(found.counts.toarray())
    vectors = array(model.wv.vectors)
    assert_allclose(np.abs(vectors), np.abs(u[:, :5] * np.sqrt(s[:5])), atol=1e-5)
    words = found.vocab.index_to_key
    again = LSA.from_matrix(ppmi(found), words, vector_size=3, dtype=minitorch.float64)
    assert again.wv.vectors.shape == (len(words), 3)
    assert again.wv.tensor.dtype == minitorch.float64
    assert repr(again) == f"LSA({len(words)} words, {len(words)} documents, vector_size=3)"
    with pytest.raises(ValueError, match=r"words: expected one for each row of \(3, 3\), got 2"):
        LSA.from_matrix(np.eye(3), ["a", "b"], 2)
    with pytest.raises(ValueError, match=r"words: expected one for each row of \(3, 3\), got none"):
        LSA.from_matrix(np.eye(3), vector_size=2)


KINDS = [np.int64(7), 8, np.str_("word"), (1, "b"), b"bytes", frozenset({3}), None, 2.5]


@pytest.mark.parametrize("word", KINDS, ids=repr)
def test_words_of_every_kind_are_saved_and_loaded(tmp_path, word):
    documents = [[word, "king"], ["king", "queen", word], ["queen"]]
    made = LSA(documents, np.int64(2), min_count=np.int64(1), power=np.float32(0.5))
    given = LSA.from_matrix(np.eye(2), [word, "king"], np.int64(2))
    for model in (made, given):
        model.save(tmp_path / "model")
        for found in (model, LSA.load(tmp_path / "model")):
            held = found.wv.index_to_key[found.wv.key_to_index[word]]
            assert held == word
            assert type(held) in (int, float, str, tuple, bytes, frozenset, type(None))
            assert_array_equal(
                array(found.infer_vector([word, "?"])), array(model.infer_vector([word]))
            )
    assert LSA(documents, 2, min_count=0, min_documents=0).wv.index_to_key == made.wv.index_to_key


def test_words_that_no_file_holds_are_refused():
    for word, message in ((["a"], "'a'.* cannot be a word"), (1j, "words.*1j"), (object, "object")):
        with pytest.raises(TypeError, match=message):
            LSA([[word, "king"]] * 3, 1)
        with pytest.raises(TypeError, match="LSA: words"):
            LSA.from_matrix(np.eye(2), [word, "king"], 2)
    for options, message in (
        ({"vector_size": 1.5}, "vector_size: expected an integer, got 1.5"),
        ({"power": math.nan}, "power: expected a number, got nan"),
        ({"min_documents": -1}, "min_documents: expected an integer above -1"),
    ):
        with pytest.raises(ValueError, match=message):
            LSA(TITLES, **options)

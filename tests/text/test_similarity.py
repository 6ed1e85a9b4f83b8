"""Similarities against gensim's, for the same vectors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import KeyedVectors
from minitorch.text import similarity as module
from tests.referee import array

GIVEN = [
    (["frog"], []),
    ("frog", None),
    (["king", "woman"], ["man"]),
    (["king", 2, np.int64(9)], ["man"]),
    ([("a", 2.0), "dog"], [("cat", -0.5)]),
    (["cat"], "dog"),
]
VECTOR = np.random.default_rng(5).normal(size=12).astype(np.float32)


def assert_same(ours, theirs):
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    assert_allclose([x for _, x in ours], [x for _, x in theirs], rtol=2e-5, atol=1e-6)


def test_similarities_equal_gensims(both):
    theirs, ours = both
    assert ours.similarity("frog", "king") == pytest.approx(theirs.similarity("frog", "king"))
    assert ours.distance("frog", 1) == pytest.approx(theirs.distance("frog", 1))
    lists = ["frog", "dog"], ["king", "man", "cat"]
    assert ours.n_similarity(*lists) == pytest.approx(theirs.n_similarity(*lists), abs=1e-6)
    lists = ["no such word"], ["king"]
    assert ours.n_similarity(*lists) == theirs.n_similarity(*lists) == 0
    found = ours.relative_cosine_similarity("frog", "king", 5)
    assert found == pytest.approx(theirs.relative_cosine_similarity("frog", "king", 5), rel=1e-5)
    with pytest.raises(ValueError, match="no similar key"):
        ours.relative_cosine_similarity("frog", "king", 0)
    for kv in both:
        with pytest.raises(ZeroDivisionError):
            kv.n_similarity([], ["frog"])


def test_distances_equal_gensims(both):
    theirs, ours = both
    for given in ("frog", 3, VECTOR):
        assert_allclose(array(ours.distances(given)), theirs.distances(given), atol=1e-6)
        some = ["king", "cat", 4]
        assert_allclose(
            array(ours.distances(given, some)), theirs.distances(given, some), atol=1e-6
        )
    cosines = ours.cosine_similarities(VECTOR, ours.vectors)
    assert_allclose(array(cosines), theirs.cosine_similarities(VECTOR, theirs.vectors), atol=1e-6)


def test_ranks_equal_gensims(both):
    theirs, ours = both
    for keys in (("frog", "king"), ("king", "dog"), (1, "cat"), ("a", "a")):
        assert ours.rank(*keys) == theirs.rank(*keys)
        assert ours.closer_than(*keys) == theirs.closer_than(*keys)
        assert ours.words_closer_than(*keys) == theirs.closer_than(*keys)
    some = ["king", "cat", "dog"]
    assert ours.most_similar_to_given("frog", some) == theirs.most_similar_to_given("frog", some)


@pytest.mark.parametrize("use_norm", [True, False])
@pytest.mark.parametrize(
    "words", [["king", "woman", "man", "frog"], ["a", "dog", "cat"], ["cat", "cat"], ["cat"]]
)
def test_centrality_equals_gensims(both, words, use_norm):
    theirs, ours = (kv.rank_by_centrality(words, use_norm=use_norm) for kv in both)
    assert [word for _, word in ours] == [word for _, word in theirs]
    assert_allclose([x for x, _ in ours], [x for x, _ in theirs], rtol=1e-5)
    theirs, ours = (kv.doesnt_match(words) for kv in both)
    assert ours == theirs


def test_unknown_words_that_do_not_match(both):
    theirs, ours = both
    words = ["king", "woman", "no such word", "man"]
    with pytest.warns(UserWarning, match="left out: 'no such word'"):
        found = ours.doesnt_match(words)
    assert found == theirs.doesnt_match(words)
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="empty list"):
        ours.doesnt_match(["no such word"])


# ---------------------------------------------------------------------- nearest keys
@pytest.mark.parametrize(("positive", "negative"), GIVEN)
@pytest.mark.parametrize(
    "clip", [{}, {"restrict_vocab": 200}, {"clip_start": 50, "clip_end": 90}, {"clip_start": 2000}]
)
def test_most_similar_equals_gensims(both, positive, negative, clip):
    negative = [negative] if isinstance(negative, str) else negative
    for topn in (15, 1, 10**6):
        theirs, ours = (kv.most_similar(positive, negative, topn=topn, **clip) for kv in both)
        assert_same(ours[:100], theirs[:100])
        assert len(ours) == len(theirs)
    theirs, ours = (kv.most_similar(positive, negative, topn=None, **clip) for kv in both)
    assert_allclose(array(ours), theirs, atol=1e-6)


def test_most_similar_takes_vectors(both):
    theirs, ours = both
    for positive in (VECTOR, [VECTOR, "frog"], np.stack([VECTOR, VECTOR + 1]), [(VECTOR, 2.0)]):
        expected = theirs.most_similar(positive, negative=["man"])
        assert_same(ours.most_similar(positive, negative=["man"]), expected)
    tensors = minitorch.tensor(np.stack([VECTOR, VECTOR + 1]))
    expected = theirs.most_similar(np.stack([VECTOR, VECTOR + 1]))
    assert_same(ours.most_similar(tensors), expected)
    assert_same(ours.most_similar(list(tensors)), expected)


def test_similar_by_equals_gensims(both):
    theirs, ours = both
    for name, given in (("key", "frog"), ("word", "frog"), ("vector", VECTOR)):
        for options in ({}, {"topn": 3}, {"restrict_vocab": 100}):
            found = getattr(ours, f"similar_by_{name}")(given, **options)
            assert_same(found, getattr(theirs, f"similar_by_{name}")(given, **options))
    assert ours.most_similar("frog") == ours.most_similar(["frog"]) == ours.similar_by_word("frog")
    assert ours.similar_by_vector(ours["frog"], topn=1)[0][0] == "frog"  # nothing is left out
    assert ours.most_similar("frog", topn=0) == theirs.most_similar("frog", topn=0) == []


@pytest.mark.parametrize("topn", [5, 10**6])
def test_batch_gives_what_each_query_gives(both, monkeypatch, topn):
    ours = both[1]
    positive = [given[0] for given in GIVEN] + [VECTOR]
    negative = [given[1] for given in GIVEN] + [None]
    expected = [ours.most_similar(p, n, topn=topn) for p, n in zip(positive, negative)]
    scores = [ours.most_similar(p, n, topn=None) for p, n in zip(positive, negative)]
    for at_once in (module._SCORES_AT_ONCE, 3 * len(ours), 1):
        monkeypatch.setattr(module, "_SCORES_AT_ONCE", at_once)
        found = ours.most_similar_batch(positive, negative, topn=topn)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert dict(one).keys() == dict(other).keys()
            assert_allclose([x for _, x in one], [x for _, x in other], atol=1e-6)
    assert_allclose(
        array(ours.most_similar_batch(positive, negative, topn=None)),
        np.stack([array(row) for row in scores]),
        atol=1e-6,
    )


def test_batch_of_words_or_of_rows(both):
    ours = both[1]
    found = ours.most_similar_batch(["frog", "king"], topn=3, restrict_vocab=500)
    expected = [ours.most_similar(w, topn=3, restrict_vocab=500) for w in ("frog", "king")]
    for one, other in zip(found, expected):
        assert_same(one, other)
    found = ours.most_similar_batch(ours[["frog", "king"]], topn=1)
    assert [answer[0][0] for answer in found] == ["frog", "king"]
    assert ours.most_similar_batch([]) == []
    assert ours.most_similar_batch(["frog", "king"], topn=0) == [[], []]
    with pytest.raises(ValueError, match="1 queries do not fit 2 negatives"):
        ours.most_similar_batch(["frog"], ["a", "dog"])
    with pytest.raises(KeyError, match="frogg"):
        ours.most_similar_batch(["frog", "frogg"])
    with pytest.raises(ValueError, match="no input"):
        ours.most_similar_batch(["frog", None])


@pytest.mark.parametrize(
    ("positive", "negative"),
    [("frog", None), ("dog", "cat"), (["king", "woman"], ["man"]), ([VECTOR / 9, "a"], [])],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # gensim's own call of init_sims
def test_cosmul_equals_gensims(both, positive, negative):
    for restrict_vocab in (None, 200):
        theirs, ours = (kv.most_similar_cosmul(positive, negative, topn=9) for kv in both)
        assert_same(ours, theirs)
        limited = both[1].most_similar_cosmul(positive, negative, restrict_vocab=restrict_vocab)
        rows = range(restrict_vocab or len(both[1]))
        assert all(both[1].key_to_index[word] in rows for word, _ in limited)
    theirs, ours = (kv.most_similar_cosmul(positive, negative, topn=None) for kv in both)
    assert_allclose(array(ours), theirs, rtol=1e-4)
    assert both[1].most_similar_cosmul(positive, topn=0) == []
    with pytest.raises(ValueError, match="no input"):
        both[1].most_similar_cosmul()


def test_zero_vector_is_similar_to_nothing():
    kv = KeyedVectors(2, ["a", "b"], minitorch.tensor([[3.0, 0.0], [0.0, 0.0]]))
    assert kv.similarity("a", "b") == 0
    assert kv.most_similar("a") == [("b", 0.0)]
    assert kv.distances("b").tolist() == [1, 1]


def test_nothing_to_compare(both):
    for kv in both:
        with pytest.raises(ValueError, match="no input"):
            kv.most_similar()
        with pytest.raises(KeyError, match="frogg"):
            kv.most_similar("frogg")


def test_many_keys_are_ranked_by_a_part_of_them():
    vectors = np.random.default_rng(4).normal(size=(20000, 8)).astype(np.float32)
    ours = KeyedVectors(8, list(map(str, range(20000))), minitorch.tensor(vectors))
    units = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1)[:, None]
    for key in (0, 9999):
        cosines = units @ units[key]
        best = np.argsort(-cosines)[1:11]
        found = ours.most_similar(key)
        assert [int(word) for word, _ in found] == best.tolist()
        assert_allclose([x for _, x in found], cosines[best], rtol=1e-5)

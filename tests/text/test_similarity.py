"""Similarities against gensim's, for the same vectors."""

import math
import sys

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


# ---------------------------------------------------------------------- equal vectors
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_vector_is_at_no_distance_from_itself(dtype, scale):
    vectors = np.random.default_rng(7).normal(size=(50, 9))
    if dtype is np.float16:
        scale = 1.0
    vectors = (vectors * scale).astype(dtype)
    keys = [f"w{i}" for i in range(50)]
    kv = KeyedVectors(
        9, [*keys, "twin", "opposite"], np.vstack([vectors, vectors[:1], -vectors[:1]])
    )
    for key in keys:
        assert kv.similarity(key, key) == kv.n_similarity([key], [key]) == 1
        assert kv.distance(key, key) == 0
        assert kv.n_similarity(["w0"], [key]) == kv.similarity("w0", key)
    assert (kv.similarity("w0", "twin"), kv.similarity("w0", "opposite")) == (1, -1)
    assert (kv.distance("w0", "twin"), kv.distance("w0", "opposite")) == (0, 2)
    found, cosine = kv.most_similar("w0", topn=1)[0]
    assert found == "twin"
    assert cosine == pytest.approx(1, abs=1e-2 if dtype is np.float16 else 1e-6)


def test_a_zero_vector_is_like_nothing():
    kv = KeyedVectors(2, ["a", "zero"], minitorch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    assert kv.similarity("a", "zero") == kv.similarity("zero", "zero") == 0
    assert kv.most_similar("a") == [("zero", 0)]


# ---------------------------------------------------------------------- NaN and infinity
@pytest.fixture(params=["nan", "inf", "-inf", "row"])
def with_bad(request):
    """Ten keys, of which "bad" in the midst has a number that is none."""
    vectors = np.random.default_rng(2).normal(size=(10, 4)).astype(np.float32)
    if request.param == "row":
        vectors[4] = np.nan
    else:
        vectors[4, 1] = float(request.param)
    keys = [f"w{i}" for i in range(10)]
    keys[4] = "bad"
    return KeyedVectors(4, keys, minitorch.tensor(vectors))


def test_what_is_not_finite_comes_last(with_bad):
    kv = with_bad
    good = [key for key in kv.index_to_key if key != "bad"]
    rest = kv.vectors_for_all(good)
    for call in (
        lambda kv: kv.most_similar("w0", topn=20),
        lambda kv: kv.most_similar(["w0", "w1"], ["w2"], topn=20),
        lambda kv: kv.similar_by_word("w0", topn=20),
        lambda kv: kv.similar_by_vector(np.ones(4, np.float32), topn=20),
        lambda kv: kv.most_similar_batch(["w0", "w1"], topn=20)[1],
        lambda kv: kv.most_similar_cosmul(["w0"], ["w1"], topn=20),
    ):
        found, expected = call(kv), call(rest)
        assert found[-1][0] == "bad"
        assert math.isnan(found[-1][1])
        assert [key for key, _ in found[:-1]] == [key for key, _ in expected]
        assert_allclose([x for _, x in found[:-1]], [x for _, x in expected], rtol=1e-5, atol=1e-6)
    for key in good[1:]:
        assert kv.rank("w0", key) == rest.rank("w0", key)
        assert kv.closer_than("w0", key) == rest.closer_than("w0", key)
    assert kv.rank("w0", "bad") == 9
    assert kv.closer_than("w0", "bad") == good[1:]
    assert kv.most_similar_to_given("w0", ["bad", "w3"]) == "w3"
    assert math.isnan(kv.similarity("w0", "bad"))
    assert math.isnan(kv.distances("w0").tolist()[4])


@pytest.mark.parametrize(
    "call",
    [
        lambda kv: kv.most_similar("bad"),
        lambda kv: kv.most_similar(["w0", ("bad", 0.5)]),
        lambda kv: kv.most_similar_batch(["w0", "bad"], topn=None),
        lambda kv: kv.most_similar_cosmul("w0", "bad"),
        lambda kv: kv.most_similar("bad", indexer=object()),
        lambda kv: kv.closer_than("bad", "w0"),
        lambda kv: kv.rank("bad", "w0"),
        lambda kv: kv.most_similar_to_given("bad", ["w0"]),
        lambda kv: kv.doesnt_match(["w0", "w1", "bad"]),
        lambda kv: kv.rank_by_centrality(["w0", "w1", "bad"], use_norm=False),
        lambda kv: kv.wmdistance(["w0", "w1"], ["bad"]),
        lambda kv: kv.relative_cosine_similarity("bad", "w0"),
    ],
)
def test_neighbours_of_what_is_not_finite_are_refused(with_bad, call):
    with pytest.raises(ValueError, match="the vector of 'bad' has NaN or infinity in it"):
        call(with_bad)
    with pytest.raises(ValueError, match="a given vector has NaN or infinity in it"):
        with_bad.similar_by_vector(np.array([1, np.nan, 0, 0], np.float32))


def test_long_and_short_vectors_have_lengths():
    vectors = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)
    plain = KeyedVectors(4, list("abcdefgh"), minitorch.tensor(vectors))
    scales = np.float32([1e25, 1e-25, 1, 1e30, 1e-30, 1, 1, 1e20])[:, None]
    scaled = KeyedVectors(4, list("abcdefgh"), minitorch.tensor(vectors * scales))
    assert_allclose(array(scaled.norms), array(plain.norms) * scales[:, 0], rtol=1e-5)
    for key in "abc":
        assert_same(scaled.most_similar(key), plain.most_similar(key))


# ---------------------------------------------------------------------- documents
def test_word_movers_distances_are_gensims(both):
    theirs, ours = both
    documents = [["frog", "king"], ["frog"], ["king", "woman", "man", "man"], ["dog", "frog", "x"]]
    documents += [["a"], ["no such word"], [], ["KING", "king", "a", 3]]
    for first in documents:
        for second in documents:
            if 3 in first + second:  # gensim knows no rows here
                continue
            for norm in (True, False):
                expected = theirs.wmdistance(first, second, norm=norm)
                found = ours.wmdistance(first, second, norm=norm)
                assert type(found) is float
                assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert ours.wmdistance(["king", "king"], ["king"]) == 0
    assert ours.wmdistance([5, "king"], [5]) > 0


def test_word_movers_distance_without_its_package(both, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"needs POT: pip install .*\[wmd\]"):
        both[1].wmdistance(["frog"], ["king"])

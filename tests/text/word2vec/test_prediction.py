"""Which words would stand in a place, and how probable sentences are: against gensim and sums."""

import math

import gensim.models
import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import Word2Vec
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES

OPTIONS = {"vector_size": 6, "window": 2, "sample": 0, "min_count": 1, "epochs": 1, "seed": 2}
SOME = [SENTENCES[0], ["c0", "unknown", "c1", "c2"], ["c0", "c1"]]


def twins(**options):
    """gensim's model and ours with the same vectors in all tables."""
    theirs = gensim.models.Word2Vec(SENTENCES[:60], **OPTIONS, **options)
    ours = Word2Vec(**OPTIONS, **options)
    ours.build_vocab(SENTENCES[:60])
    rng = np.random.default_rng(4)
    for name, place in (
        ("vectors", "input.weight"),
        ("syn1neg", "output.weight"),
        ("syn1", "others.0.nodes.weight"),
    ):
        holder = theirs.wv if name == "vectors" else theirs
        if hasattr(holder, name):
            table = getattr(holder, name)
            table[:] = numbers = rng.normal(0, 0.6, table.shape).astype(np.float32)
            with minitorch.no_grad():
                parameter = ours.model.get_parameter(place)
                parameter.copy_(minitorch.tensor(numbers[: len(parameter)]))
    return theirs, ours


@pytest.mark.parametrize("sg", [0, 1])
@pytest.mark.parametrize("cbow_mean", [0, 1])
def test_words_in_the_midst_of_others_are_gensims(sg, cbow_mean):
    theirs, ours = twins(sg=sg, cbow_mean=cbow_mean)
    for context in (["c0"], ["c0", "t1w2", "unknown", "c0"], [3, "c1"]):
        expected = theirs.predict_output_word(context, topn=7)
        found = ours.predict_output_word(context, topn=7)
        assert [word for word, _ in found] == [word for word, _ in expected]
        assert_allclose([p for _, p in found], [p for _, p in expected], rtol=1e-4)
    assert ours.predict_output_word(["unknown"]) is None
    everything = ours.predict_output_word(["c0"], topn=10**6)
    assert sum(p for _, p in everything) == pytest.approx(1, abs=1e-5)


def score_by_gensims_tree(theirs, sentence):
    """The sum of log sigmoid(±x·node) over pairs (CBOW: words) and the nodes of gensim's tree."""
    kv, window = theirs.wv, theirs.window
    codes, points = kv.expandos["code"], kv.expandos["point"]
    vectors, nodes = kv.vectors.astype(float), theirs.syn1.astype(float)
    rows = [kv.key_to_index[word] for word in sentence if word in kv]
    total = 0.0
    for i, row in enumerate(rows):
        near = rows[max(0, i - window) : i] + rows[i + 1 : i + 1 + window]
        xs = vectors[near]
        if not theirs.sg:
            xs = [xs.mean(0) if theirs.cbow_mean else xs.sum(0)]
        signs = 1 - 2 * codes[row].astype(float)
        for x in xs:
            total -= np.log1p(np.exp(-signs * (nodes[points[row]] @ x))).sum()
    return total


@pytest.mark.parametrize("options", [{"sg": 1}, {"sg": 0}, {"sg": 0, "cbow_mean": 0}], ids=str)
def test_scores_are_gensims(options):
    theirs, ours = twins(hs=1, negative=0, **options)
    found = array(ours.score(SOME))
    assert found.dtype == np.float64
    expected = [score_by_gensims_tree(theirs, sentence) for sentence in SOME]
    assert_allclose(found, expected, rtol=1e-5)
    if theirs.sg or theirs.cbow_mean:  # its table ends at ±6, and is 0.03 aside
        assert_allclose(found, theirs.score(SOME, total_sentences=3), rtol=0.025)
    assert ours.score(iter(SOME), total_sentences=2).tolist() == found[:2].tolist()
    assert ours.score([[], ["c0"]]).tolist() == [0, 0]


def test_a_score_by_hand():
    _, ours = twins(sg=1, hs=1, negative=0)
    model = Word2Vec(**OPTIONS, sg=1, negative=0, full_softmax=1)
    model.build_vocab(SENTENCES[:60])
    assert model.score([["c0", "c1"]]).item() == pytest.approx(-2 * math.log(len(model.wv)))
    with minitorch.no_grad():
        model.model.others[0].weight.copy_(ours.wv.tensor)
    x, output = array(model.wv.vectors).astype(float), array(ours.wv.vectors).astype(float)
    scores = x @ output.T
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    i, j, k = (model.wv.key_to_index[word] for word in ("c0", "c1", "c2"))
    expected = sum(log_p[a, b] for a, b in ((i, j), (i, k), (j, i), (j, k), (k, i), (k, j)))
    assert model.score([["c0", "c1", "c2"]]).item() == pytest.approx(expected, rel=1e-5)
    chosen = model.predict_output_word(["c0"], topn=1)[0]
    assert chosen[0] == model.wv.index_to_key[log_p[i].argmax()]
    assert chosen[1] == pytest.approx(math.exp(log_p[i].max()), rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_words_whose_vectors_are_not_finite(bad):
    ours = twins()[1]
    expected = ours.predict_output_word(["c0", "c1"], topn=10**6)
    left_out = expected[0][0]
    with minitorch.no_grad():
        ours.syn1neg[ours.wv.get_index(left_out), 1] = bad
        ours.wv.tensor[ours.wv.get_index("c2"), 0] = bad
    found = ours.predict_output_word(["c0", "c1"], topn=10**6)
    assert found[-1] == (left_out, 0)
    assert [word for word, _ in found[:-1]] == [word for word, _ in expected[1:]]
    assert sum(p for _, p in found) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="the vector of 'c2' has NaN or infinity in it"):
        ours.predict_output_word(["c0", "c2"])


def test_what_a_model_cannot_say():
    empty = Word2Vec(**OPTIONS)
    with pytest.raises(RuntimeError, match="predict_output_word: needs negative > 0 or full_soft"):
        empty.predict_output_word(["a"])
    with pytest.raises(RuntimeError, match="score: needs hs=1 or full_softmax=1"):
        empty.score(SOME)
    _, ours = twins(hs=1, negative=0)
    with pytest.raises(RuntimeError, match="predict_output_word: needs negative > 0 or full_soft"):
        ours.predict_output_word(["c0"])
    assert not hasattr(ours, "syn1neg")
    assert ours.syn1.shape == (len(ours.wv), 6)  # the last row is no node's
    assert not ours.syn1[-1].any()
    _, ours = twins()
    with pytest.raises(RuntimeError, match="score: needs hs=1 or full_softmax=1"):
        ours.score(SOME)
    assert not hasattr(ours, "syn1")
    assert (array(ours.syn1neg) == array(ours.model.output.weight)).all()

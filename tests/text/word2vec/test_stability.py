"""Training must not diverge where gensim's does not: few words, long windows, many negatives."""

from contextlib import suppress

import gensim.models
import numpy as np
import pytest

from minitorch.text import Word2Vec
from tests.referee import array

WORDS = [str(i) for i in range(20)]


def even(sentences=40, length=200):
    """Words drawn evenly: every one of them comes in every block."""
    rng = np.random.default_rng(3)
    return [[WORDS[i] for i in rng.integers(0, 20, length)] for _ in range(sentences)]


def walks(steps=40):
    """Walks over two cliques with a bridge, as node2vec makes them."""
    rng = np.random.default_rng(1)
    near = {i: [j for j in range(24) if j // 12 == i // 12 and j != i] for i in range(24)}
    near[0], near[12] = [*near[0], 12], [*near[12], 0]
    found = []
    for node in [*near] * 8:
        walk = [node]
        while len(walk) < steps:
            walk.append(int(rng.choice(near[walk[-1]])))
        found.append([str(i) for i in walk])
    return found


CORPORA = {"even": even(), "walks": walks()}
MODELS = {
    "sg": {"sg": 1},
    "sg-hs": {"sg": 1, "hs": 1},
    "cbow": {"sg": 0},
    "cbow-sum": {"sg": 0, "cbow_mean": 0},
}


def largest(model):
    """The largest component of either table."""
    outputs = model.syn1neg if model.negative else model.syn1
    return max(abs(array(model.wv.tensor)).max(), abs(array(outputs)).max())


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "options",
    [{}, {"window": 10, "negative": 15}, {"window": 10, "alpha": 0.1, "step_words": 4096}],
    ids=str,
)
def test_few_words_that_come_often(corpus, kind, options):
    options = {"vector_size": 16, "min_count": 1, "epochs": 2, "alpha": 0.05} | options
    options |= MODELS[kind] | {"workers": 1}
    model = Word2Vec(CORPORA[corpus], **options)
    assert np.isfinite(model.losses).all()
    assert model.losses[-1] < model._loss_of_zeros()
    options.pop("step_words", None)
    theirs = gensim.models.Word2Vec(CORPORA[corpus], **options)
    assert largest(model) < 4 * max(abs(theirs.wv.vectors).max(), abs(theirs.syn1neg).max())


@pytest.mark.parametrize("sg", [1, 0])
def test_no_learning_rate_is_too_large_for_numbers(sg, device):
    """However long steps are no number overflows; the loss may say that nothing is learnt.

    A GPU adds up in 64 bits with a point that stays, whose end is where no rate should be.
    """
    alpha = 1e30 if device == "cpu" else 100.0
    options = {"vector_size": 16, "min_count": 1, "epochs": 1, "sg": sg, "alpha": alpha}
    model = Word2Vec(**options, workers=1)
    model.build_vocab(CORPORA["even"])
    with suppress(FloatingPointError):
        model.train(CORPORA["even"], total_examples=model.corpus_count, epochs=1)
    assert np.isfinite(array(model.wv.tensor)).all()


def test_a_loss_that_stays_beyond_that_of_zeros_is_an_error(monkeypatch):
    for backend in ("cpu", "cuda"):
        monkeypatch.setattr(f"minitorch.text.word2vec.kernels.{backend}.CURVATURE_LIMIT", 1e30)
    message = r"pair in epoch 1, vectors of zeros have 4\.159: use a smaller alpha than 0\.3, fewer"
    with pytest.raises(FloatingPointError, match=message):
        Word2Vec(CORPORA["even"], sg=1, alpha=0.3, min_count=1, vector_size=16, workers=1)

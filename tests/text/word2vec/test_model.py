import math

import gensim.models
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import Corpus, Word2Vec
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.negative_sampling import negative_sampling_sgd_
from tests.referee import array

pytestmark = pytest.mark.usefixtures("_repeatable")

TOPICS = 6


def sentences_of(count=1500, length=12, seed=0):
    """Sentences of one topic each, mixed with words that all topics share."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 13)
    weights /= weights.sum()
    return [
        [f"t{topic}w{i}" if own else f"c{i}" for i, own in zip(words, rng.random(length) < 0.6)]
        for topic in rng.integers(TOPICS, size=count)
        for words in [rng.choice(12, length, p=weights)]
    ]


SENTENCES = sentences_of()
SMALL = {"vector_size": 16, "sample": 0, "min_count": 1, "epochs": 4, "seed": 3}
SMALL |= {"sg": 1, "alpha": 0.05, "workers": 1}


def _host(vector):
    """Ours or gensim's as a NumPy array."""
    return array(vector) if isinstance(vector, minitorch.Tensor) else vector


def separation(kv):
    """Mean cosine within topics minus that between topics."""
    words = [f"t{t}w{i}" for t in range(TOPICS) for i in range(12)]
    units = np.stack([_host(kv.get_vector(word, norm=True)) for word in words])
    cosines = units @ units.T
    topic = np.repeat(np.arange(TOPICS), 12)
    same = topic[:, None] == topic
    return cosines[same & ~np.eye(len(words), dtype=bool)].mean() - cosines[~same].mean()


@pytest.fixture(scope="module")
def trained(_repeatable):
    return Word2Vec(SENTENCES, **SMALL)


def test_learns_what_gensim_learns(trained):
    theirs = gensim.models.Word2Vec(SENTENCES, **SMALL)
    assert separation(theirs.wv) > 0.5
    assert separation(trained.wv) > 0.5
    assert all(word.startswith("t2") for word, _ in trained.wv.most_similar("t2w0", topn=8))
    assert trained.losses[-1] < trained.losses[0] < 6 * math.log(2)


@pytest.mark.parametrize("broken", ["no negatives", "gradient turned round"])
def test_a_broken_path_learns_nothing(monkeypatch, broken):
    at_once = negative_sampling_sgd_

    def broken_steps(*args, width, lr, **options):
        if broken == "no negatives":
            weights = args[-1].clone()
            weights[:, width:] = 0.0
            args = (*args[:-1], weights)
        else:
            lr = [-rate for rate in lr]
        at_once(*args, width=width, lr=lr, **options)

    monkeypatch.setattr("minitorch.text.word2vec.modules.negative_sampling_sgd_", broken_steps)
    try:
        model = Word2Vec(SENTENCES, **SMALL)
    except FloatingPointError:
        return
    assert separation(model.wv) < 0.3


def test_names_and_counts_are_gensims(trained):
    theirs = gensim.models.Word2Vec(**SMALL)
    theirs.build_vocab(SENTENCES)
    assert trained.wv.index_to_key == theirs.wv.index_to_key
    assert trained.corpus_count == theirs.corpus_count
    assert trained.corpus_total_words == theirs.corpus_total_words
    for name in ("vector_size", "window", "min_count", "epochs", "negative", "seed", "sample"):
        assert getattr(trained, name) == getattr(theirs, name), name
    count = trained.wv.get_vecattr("t0w0", "count")
    assert count == theirs.wv.get_vecattr("t0w0", "count")
    assert tuple(trained.wv.vectors.shape) == (len(trained.vocab), 16)


def test_same_seed_same_vectors(trained):
    again = Word2Vec(SENTENCES, **SMALL)
    assert again.wv.tensor.equal(trained.wv.tensor)
    assert again.losses == trained.losses
    other = Word2Vec(SENTENCES, **(SMALL | {"seed": 4}))
    assert not other.wv.tensor.equal(trained.wv.tensor)
    minitorch.manual_seed(12)  # nor does it touch the numbers of others
    before = minitorch.get_rng_state()
    Word2Vec(SENTENCES[:50], **SMALL)
    assert minitorch.get_rng_state().equal(before)


@pytest.mark.parametrize("options", [{}, {"sg": 0}, {"hs": 1, "negative": 0}, {"sg": 0, "hs": 1}])
def test_words_under_autocast_are_those_of_float32_but_for_rounding(options):
    options = {**SMALL, "epochs": 1, **options}
    wide = Word2Vec(SENTENCES[:30], **options)
    narrow = Word2Vec(**options)
    narrow.build_vocab(SENTENCES[:30])
    with minitorch.autocast(narrow.wv.tensor.device.type, minitorch.bfloat16):
        narrow.train(SENTENCES[:30], total_examples=narrow.corpus_count, epochs=1)
    assert narrow.model.rounds_to == "bfloat16" and wide.model.rounds_to is None
    a, b = (array(model.wv.tensor) for model in (wide, narrow))
    assert a.dtype == b.dtype == np.float32
    assert_allclose(b, a, atol=0.01 * abs(a).max())
    assert (a != b).mean() > 0.5  # neither float32 nor numbers of a half


def test_loss_is_the_true_mean_per_pair():
    """With a learning rate of nothing the loss of an epoch is that of the vectors as they are."""
    options = SMALL | {"alpha": 0.0, "min_alpha": 0.0, "negative": 2, "epochs": 1}
    model = Word2Vec(SENTENCES, **options)
    assert model.losses == [pytest.approx(3 * math.log(2), rel=2**-22)]  # two steps of float32
    pairs = sum(sum(min(i, 5) + min(11 - i, 5) for i in range(12)) for _ in SENTENCES)
    assert 0.5 * pairs < model.get_latest_training_loss() / model.losses[0] < 0.7 * pairs
    with minitorch.no_grad():
        model.model.output.weight.fill_(0.5)
        model.model.input.weight.fill_(0.25)  # every score is 2
    model.train()
    [_, loss] = model.losses
    score = torch.tensor(2.0, dtype=torch.float64)
    expected = -torch.nn.functional.logsigmoid(score) - 2 * torch.nn.functional.logsigmoid(-score)
    assert loss == pytest.approx(expected.item(), rel=1e-6)


def test_alpha_falls_linearly(monkeypatch):
    rates = []
    steps = SkipGram.sgd_steps_
    monkeypatch.setattr(SkipGram, "sgd_steps_", lambda *args: (rates.extend(args[3]), steps(*args)))
    Word2Vec(SENTENCES, **(SMALL | {"alpha": 0.04, "min_alpha": 0.01}))
    assert rates[0] == 0.04
    assert rates[-1] == pytest.approx(0.01, abs=0.04 / len(rates))
    assert_allclose(rates, np.linspace(0.04, rates[-1], len(rates)), rtol=1e-2)


def test_corpus_file_is_read_as_gensim_reads_it(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in SENTENCES[:200]) + "\n")
    model = Word2Vec(corpus_file=path, **SMALL)
    same = Word2Vec(SENTENCES[:200], **SMALL)
    assert model.wv.index_to_key == same.wv.index_to_key
    assert model.wv.tensor.equal(same.wv.tensor)


def test_build_vocab_and_train_apart_equal_the_constructor(trained):
    model = Word2Vec(**SMALL)
    model.build_vocab(SENTENCES)
    assert not model.model.output.weight.any()
    model.train(SENTENCES, total_examples=model.corpus_count, epochs=model.epochs)
    assert model.losses == trained.losses
    assert model.wv.tensor.equal(trained.wv.tensor)
    start = model.wv["t0w0"] + 0
    more = [*sentences_of(seed=5), ["unknown", "words"]]
    model.train(more, total_examples=len(more), epochs=1, start_alpha=0.01)
    assert len(model.losses) == 5
    assert (model.wv["t0w0"] != start).any()
    assert "unknown" not in model.wv


def test_new_words_join_a_vocabulary_as_in_gensim():
    more = [["new", "words", "t0w0"], ["new", "words", "t0w1"]] * 40
    options = SMALL | {"epochs": 1}
    model, theirs = Word2Vec(**options), gensim.models.Word2Vec(**options)
    with pytest.raises(RuntimeError, match="no vocabulary yet to update"):
        model.build_vocab(more, update=True)
    for each in (model, theirs):
        each.build_vocab(SENTENCES[:200])
        each.train(SENTENCES[:200], total_examples=200, epochs=1)
    before = model.wv["t3w0"] + 0
    context = model.model.output.weight[3].clone()
    for each in (model, theirs):
        each.build_vocab(more, update=True)
    assert model.wv.index_to_key == theirs.wv.index_to_key
    for word in ("new", "t0w0", "t3w0"):
        assert model.wv.get_vecattr(word, "count") == theirs.wv.get_vecattr(word, "count")
    assert model.corpus_count == theirs.corpus_count == 80
    assert model.corpus_total_words == theirs.corpus_total_words == 240
    assert (model.wv["t3w0"] == before).all()
    assert model.model.output.weight[3].equal(context)
    new = model.wv["new"] + 0
    assert 0 < abs(new).max().item() <= 0.5 / 16
    assert not model.model.output.weight[len(model.wv) - 1].any()
    model.train(more, total_words=model.corpus_total_words, epochs=3)
    assert (model.wv["new"] != new).any()
    assert len(model.losses) == 4


def test_counts_alone_make_a_vocabulary_as_in_gensim():
    counts = {"a": 30, "b": 90, "c": 4, "d": 60}
    model, theirs = Word2Vec(sample=0), gensim.models.Word2Vec(sample=0)
    for each in (model, theirs):
        each.build_vocab_from_freq(counts, corpus_count=7)
    assert model.wv.index_to_key == theirs.wv.index_to_key == ["b", "d", "a"]
    assert model.corpus_count == theirs.corpus_count == 7
    with pytest.raises(TypeError, match="from counts: a corpus is needed"):
        model.train()
    model.train([["a", "b", "d"]] * 50, total_examples=50, epochs=1)


@pytest.mark.parametrize("size", [30, 60])
def test_vocabularies_with_limits_are_gensims(size):
    options = {"max_vocab_size": size, "max_final_vocab": size // 2, "min_count": 2}
    model = Word2Vec(**options)
    theirs = gensim.models.Word2Vec(**options)
    for each in (model, theirs):
        each.build_vocab(SENTENCES[:300])
    assert model.wv.index_to_key == theirs.wv.index_to_key
    counts = [theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key]
    assert model.vocab.counts.tolist() == counts
    assert model.corpus_total_words == theirs.corpus_total_words
    model.train(epochs=1)
    with pytest.raises(TypeError, match="2 passes"):
        model.build_vocab(iter(SENTENCES))


def test_total_words_and_examples_set_the_pace_of_alpha(monkeypatch):
    rates = []
    steps = SkipGram.sgd_steps_
    monkeypatch.setattr(SkipGram, "sgd_steps_", lambda *args: (rates.extend(args[3]), steps(*args)))
    model = Word2Vec(**(SMALL | {"alpha": 0.04, "min_alpha": 0.0}))
    model.build_vocab(SENTENCES[:300])
    ends = []
    for pace in ({}, {"total_words": 2 * 3600}, {"total_examples": 600}, {"total_words": 1800}):
        rates.clear()
        model.train(epochs=1, **pace)
        ends.append(rates[-1])
    assert ends[0] < 0.008
    assert ends[1] == ends[2] == pytest.approx((0.04 + ends[0]) / 2)
    assert ends[3] == 0
    with pytest.raises(ValueError, match="total_words: expected an integer above 0, got 0"):
        model.train(total_words=0)


def test_names_that_gensim_has_are_taken(tmp_path):
    """A script written for gensim runs after its import is changed."""
    script = """
model = Word2Vec(sentences, vector_size=8, window=3, min_count=1, workers=4, sg=1, hs=0,
                 negative=5, sample=0, compute_loss=True, null_word=0, sorted_vocab=1,
                 hashfxn=hash, comment="x", max_final_vocab=None, trim_rule=None, epochs=1)
model.build_vocab([["some", "more"]] * 9, update=True, progress_per=10, keep_raw_vocab=False)
model.train([["some", "more"]] * 9, total_examples=model.corpus_count, epochs=model.epochs,
            compute_loss=True, start_alpha=0.02, end_alpha=0.01)
near = model.wv.most_similar("some", topn=3)
"""
    for kind in (gensim.models.Word2Vec, Word2Vec):
        names = {"Word2Vec": kind, "sentences": SENTENCES[:50]}
        exec(script, names)
        assert len(names["near"]) == 3


def test_steps_of_any_size_learn():
    for options in ({"block_size": 8, "pool_size": 16}, {"step_words": 64}, {"window": 2}):
        assert separation(Word2Vec(SENTENCES, **SMALL, **options).wv) > 0.4


def test_subsampling_and_min_count():
    model = Word2Vec(SENTENCES, **(SMALL | {"sample": 1e-2, "min_count": 200}))
    counts = model.vocab.counts
    assert counts.min() >= 200
    assert model.losses[-1] < model.losses[0]


def test_a_real_corpus_in_a_few_seconds(tmp_path):
    sentences = [words for _, words in zip(range(6000), Corpus("stdlib"))]
    model = Word2Vec(sentences, vector_size=32, epochs=2, sg=1, alpha=0.05)
    assert model.losses[-1] < model.losses[0] < 6 * math.log(2)
    model.wv.save(tmp_path / "vectors")
    assert "Word2Vec(vocab=" in repr(model)


def test_progress_shows_words_and_loss(capsys):
    Word2Vec(SENTENCES[:30], **SMALL, progress=True)
    shown = capsys.readouterr().err
    assert "reading" in shown
    assert "epoch 4/4" in shown
    assert "word/s" in shown
    assert "loss=" in shown
    Word2Vec(SENTENCES[:30], **SMALL, progress=False)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_size": 0}, "vector_size: expected an integer above 0, got 0"),
        ({"window": -1}, "window"),
        ({"negative": -1}, "negative: expected an integer above -1, got -1"),
        ({"negative": 0}, "negative=0, hs=0 and full_softmax=0 leave nothing to learn"),
        ({"hs": 2}, "hs: expected 0 or 1, got 2"),
        ({"max_final_vocab": 0}, "max_final_vocab: expected None or an integer above 0"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"step_words": 0}, "step_words"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": 0.01, "min_alpha": 0.02}, "min_alpha=0.02"),
        ({"sample": 2}, "sample"),
        ({"sg": 2}, "sg: expected 0 or 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Word2Vec(SENTENCES, **options)


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        ([], ValueError, "leaves no word"),
        ([["a", "b"]], ValueError, "min_count=5 leaves no word"),
        ([["a"] * 50], ValueError, "one word only, 'a'"),
        ([["a"], ["b"]] * 50, ValueError, "no pair of words"),
        (["the cat sat"], TypeError, "the string 'the cat sat'"),
        ("the cat sat", TypeError, "the string 'the cat sat'"),
    ],
)
def test_corpora_that_cannot_be_trained_on(sentences, error, message):
    with pytest.raises(error, match=message):
        Word2Vec(sentences)


def test_an_iterator_that_is_read_once_is_refused_as_in_gensim():
    message = "6 passes need what can be read again .* got an iterator"
    with pytest.raises(TypeError, match="generator"):
        gensim.models.Word2Vec((s for s in SENTENCES), epochs=5)
    with pytest.raises(TypeError, match=message):
        Word2Vec((s for s in SENTENCES), epochs=5)
    with pytest.raises(TypeError, match=message):
        Word2Vec(iter(SENTENCES), epochs=5)
    model = Word2Vec(**SMALL)
    model.build_vocab(s for s in SENTENCES)  # one pass is enough to count, and for one epoch
    before = model.wv["c0"] + 0
    model.train((s for s in SENTENCES), total_examples=len(SENTENCES), epochs=1)
    assert (model.wv["c0"] != before).any()
    with pytest.raises(TypeError, match="2 passes"):
        model.train((s for s in SENTENCES), total_examples=len(SENTENCES), epochs=2)


def test_token_files_are_used_again(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in SENTENCES[:200]) + "\n")
    models = [Word2Vec(corpus_file=path, cache=tmp_path / "c", **SMALL) for _ in range(2)]
    assert models[0].wv.tensor.equal(models[1].wv.tensor)
    assert len(list((tmp_path / "c").iterdir())) == 1
    assert Word2Vec(corpus_file=path, **SMALL).wv.tensor.equal(models[0].wv.tensor)


def test_train_without_a_vocabulary_or_a_known_word():
    model = Word2Vec(**SMALL)
    with pytest.raises(RuntimeError, match="build_vocab has to come first"):
        model.train()
    with pytest.raises(TypeError, match="expected either sentences"):
        model.build_vocab()
    model.build_vocab(SENTENCES[:50])
    with pytest.raises(ValueError, match="epochs"):
        model.train(epochs=0)
    with pytest.raises(ValueError, match="no word of the vocabulary"):
        model.train([["x", "y"]], total_examples=1, epochs=1)


def test_a_loss_that_is_not_a_number_is_an_error():
    model = Word2Vec(SENTENCES, **SMALL)
    with minitorch.no_grad():
        model.model.input.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan a pair in epoch 1"):
        model.train()

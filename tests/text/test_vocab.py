import numpy as np
import pytest
from scipy import stats

from minitorch.text.io.encoded import encode
from minitorch.text.vocab import Vocab, alias_table, kept_words, scan

SENTENCES = [line.split() for line in ("b a c d", "b e a c", "a b f", "f a")]


@pytest.mark.parametrize("min_count", [1, 2, 3])
def test_words_counts_and_order_are_gensims(min_count):
    from gensim.models import Word2Vec

    model = Word2Vec(min_count=min_count)
    model.build_vocab(SENTENCES)
    vocab = Vocab.from_encoded(encode(SENTENCES), min_count)
    assert vocab.index_to_key == model.wv.index_to_key
    assert vocab.counts.tolist() == [model.wv.get_vecattr(word, "count") for word in vocab]
    assert [vocab.key_to_index[word] for word in vocab] == list(range(len(vocab)))


RULES = {
    "keep f": lambda word, count, least: 2 if word == "f" else 0,
    "discard a": lambda word, count, least: 1 if word == "a" else 0,
}


@pytest.mark.parametrize("sorted_vocab", [True, False])
@pytest.mark.parametrize("max_final_vocab", [None, 2, 3, 9])
@pytest.mark.parametrize("rule", [None, *RULES])
def test_rules_and_limits_are_gensims(sorted_vocab, max_final_vocab, rule):
    from gensim.models import Word2Vec

    trim_rule = RULES.get(rule)
    model = Word2Vec(
        min_count=2,
        sorted_vocab=sorted_vocab,
        max_final_vocab=max_final_vocab,
        trim_rule=trim_rule,
    )
    model.build_vocab(SENTENCES, trim_rule=trim_rule)
    options = {"max_final_vocab": max_final_vocab, "trim_rule": trim_rule}
    vocab = Vocab.from_encoded(encode(SENTENCES), 2, **options, sorted_vocab=sorted_vocab)
    assert vocab.index_to_key == model.wv.index_to_key
    more = [["f", "f", "g", "g", "a"], ["e", "h", "d", "d"]]
    model.build_vocab(more, update=True, trim_rule=trim_rule)
    corpus = encode(more)
    kept = kept_words(corpus, model.effective_min_count, trim_rule=trim_rule)
    vocab = vocab.extended(corpus, kept)
    assert vocab.index_to_key == model.wv.index_to_key
    assert vocab.counts.tolist() == [model.wv.get_vecattr(word, "count") for word in vocab]


@pytest.mark.parametrize("size", [5, 20, 100])
@pytest.mark.parametrize("rule", [None, lambda word, count, least: 2 if word == "w3" else 0])
def test_scan_forgets_rare_words_as_gensim_does(size, rule):
    from gensim.models import Word2Vec

    rng = np.random.default_rng(1)
    sentences = [[f"w{i}" for i in rng.zipf(1.3, 20) if i < 500] for _ in range(200)]
    model = Word2Vec(max_vocab_size=size)
    model.scan_vocab(sentences, trim_rule=rule)
    counts = scan(sentences, size, rule)
    assert list(counts.items()) == list(model.raw_vocab.items())


def test_a_rule_that_says_nothing_known():
    with pytest.raises(ValueError, match=r"trim_rule: expected .* got 7 for 'b'"):
        Vocab.from_encoded(encode(SENTENCES), trim_rule=lambda word, count, least: 7)


def test_number_drops_unknown_words_and_keeps_sentences():
    vocab = Vocab(["a", "b"], np.array([2, 9]))
    tokens, sentences = vocab.number(encode([["x", "a", "b"], ["x"], ["b", "y", "b"]]))
    assert tokens.tolist() == [1, 0, 0, 0]
    assert sentences.tolist() == [1, 1, 3, 3]
    assert "a" in vocab
    assert "x" not in vocab


def test_keep_probability_is_word2vecs():
    vocab = Vocab(["a", "b"], np.array([1, 99]))
    keep = vocab.keep_probabilities(1e-3)
    assert keep[vocab.key_to_index["a"]] == pytest.approx(0.416228, abs=1e-6)  # f = 0.01
    assert vocab.keep_probabilities(0).tolist() == [1, 1]
    assert vocab.keep_probabilities(0.9).tolist() == [1, 1]  # never above one


def test_keep_probability_equals_gensims():
    from gensim.models import Word2Vec

    model = Word2Vec(min_count=1, sample=0.05)
    model.build_vocab(SENTENCES)
    vocab = Vocab.from_encoded(encode(SENTENCES), 1)
    theirs = [model.wv.get_vecattr(word, "sample_int") / (2**32 - 1) for word in vocab]
    np.testing.assert_allclose(vocab.keep_probabilities(0.05), theirs, atol=1e-8)


def test_noise_probabilities():
    vocab = Vocab(["a", "b", "c"], np.array([1, 16, 81]))
    np.testing.assert_allclose(vocab.noise_probabilities(), np.array([27, 8, 1]) / 36)
    np.testing.assert_allclose(vocab.noise_probabilities(0), np.ones(3) / 3)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_alias_table_holds_the_distribution_exactly(n):
    p = np.random.default_rng(n).random(n) ** 4
    p /= p.sum()
    thresholds, aliases = alias_table(p)
    got = thresholds.copy()
    np.add.at(got, aliases, 1 - thresholds)
    np.testing.assert_allclose(got / n, p, rtol=1e-9, atol=1e-12)


def test_drawing_through_the_alias_table_passes_chi_square():
    p = Vocab(list("abcdefgh"), np.array([900, 300, 100, 50, 20, 10, 5, 5])).noise_probabilities()
    thresholds, aliases = alias_table(p)
    rng = np.random.default_rng(0)
    i, n = rng.integers(0, len(p), 100_000), 100_000
    drawn = np.where(rng.random(n) < thresholds[i], i, aliases[i])
    assert stats.chisquare(np.bincount(drawn, minlength=len(p)), p * n).pvalue > 1e-3


def test_min_count_that_leaves_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"min_count=9 leaves no word.*occurs 4 times"):
        Vocab.from_encoded(encode(SENTENCES), 9)
    with pytest.raises(ValueError, match="it is empty"):
        Vocab.from_encoded(encode([]), 1)


@pytest.mark.parametrize("sample", [-0.1, 1, 7])
def test_sample_out_of_range(sample):
    with pytest.raises(ValueError, match="sample"):
        Vocab(["a"], np.array([3])).keep_probabilities(sample)

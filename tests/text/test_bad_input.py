"""Bad input: errors that say what was given and expected, and leave what there was as it was."""

import gzip
import math
import re

import pytest

import minitorch
from minitorch.text import (
    LSA,
    Cooccurrence,
    Corpus,
    GloVe,
    KeyedVectors,
    Phrases,
    Word2Vec,
    count_cooccurrences,
)

SENTENCES = [["alpha", "beta", "gamma"], ["delta", "epsilon"]] * 20
OPTIONS = {"vector_size": 4, "min_count": 2, "epochs": 2, "sample": 0, "seed": 1}


@pytest.fixture
def folder(tmp_path):
    """Files that are wrong, and some that are right for another model."""
    (tmp_path / "latin.txt").write_bytes(b"good words\ncaf\xe9 au lait\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"some words\n" * 9999)[:-9])
    (tmp_path / "header.txt").write_text("alpha 1 2 3 4\n")
    (tmp_path / "short.txt").write_text("3 4\nalpha 1 2 3 4\nbeta 1 2 3 4\n")
    (tmp_path / "narrow.txt").write_text("1 2\nalpha 1 2\n")
    Word2Vec(SENTENCES[:30], **OPTIONS, checkpoint=tmp_path / "other.run")
    return tmp_path


def held(model):
    """All that a model has learnt and counted."""
    state = minitorch.serialization._encode(model.state_dict(), "", tensors := {}, {})
    return repr(state), {name: tensor.tolist() for name, tensor in tensors.items()}


TWICE = {"total_examples": 1, "epochs": 2}
ONCE = "sentences: {} passes need what can be read again .* got an iterator (generator)"
LISTS = "sentences: expected lists of words, got "
NO_PAIR = "the corpus (2 sentences with 2 words) has no pair of words"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        # an iterator that can be read once only
        (lambda m, f: m.train((s for s in SENTENCES), **TWICE), TypeError, ONCE.format(2)),
        # no sentences at all
        (lambda m, f: m.build_vocab(7), TypeError, LISTS + "7"),
        (lambda m, f: m.build_vocab([None]), TypeError, LISTS + "None as number 1"),
        (lambda m, f: m.build_vocab([["a"], b"bytes"]), TypeError, LISTS + "b'bytes' as number 2"),
        (lambda m, f: m.build_vocab([iter("ab")]), TypeError, LISTS + "<str_"),
        (lambda m, f: m.build_vocab([["a"], "the cat"]), TypeError, LISTS + "the string 'the cat'"),
        (lambda m, f: m.build_vocab("the cat"), TypeError, LISTS + "the string 'the cat'"),
        (lambda m, f: m.build_vocab(), TypeError, "either sentences (corpus_iterable) or corpus_f"),
        # a vocabulary of no word, or of one
        (lambda m, f: m.build_vocab([]), ValueError, "min_count=2 leaves no word .* it is empty"),
        (lambda m, f: m.build_vocab([["a", "b"]]), ValueError, "min_count=2 .* occurs 1 times"),
        (lambda m, f: m.build_vocab([["a", "a", "b"]]), ValueError, "one word only, 'a'"),
        (lambda m, f: m.build_vocab_from_freq({}), ValueError, "min_count=2 leaves no word"),
        (
            lambda m, f: m.build_vocab_from_freq({"a": -1}),
            ValueError,
            "word_freq: .* got -1 for 'a'",
        ),
        (lambda m, f: m.build_vocab_from_freq({"a": 2.5}), ValueError, "word_freq: .* got 2.5 for"),
        # no pair
        (lambda m, f: m.train([["alpha"], ["beta"]], **TWICE), ValueError, NO_PAIR),
        (
            lambda m, f: m.train([["alpha"], ["beta"]], **TWICE, checkpoint=f / "other.run"),
            ValueError,
            NO_PAIR,
        ),
        (lambda m, f: m.train([["new", "words"]], **TWICE), ValueError, "no word of the vocab"),
        # bytes that are no text
        (
            lambda m, f: m.build_vocab(corpus_file=f / "latin.txt"),
            ValueError,
            r"latin.txt: line 2 is not utf-8: byte 0xe9 at offset 14 of the text",
        ),
        (
            lambda m, f: m.train(corpus_file=f / "latin.txt", **TWICE),
            ValueError,
            "latin.txt: line 2 is not",
        ),
        (
            lambda m, f: m.train(corpus_file=f / "cut.gz", **TWICE),
            ValueError,
            "cut.gz: damaged or cut short",
        ),
        (lambda m, f: m.build_vocab(corpus_file=f / "none"), FileNotFoundError, "none"),
        # unknown words
        (lambda m, f: m.wv["alpa"], KeyError, "'alpa' is not among .* nearest spellings: alpha"),
        (lambda m, f: m.wv.most_similar(["alpha"], ["betta"]), KeyError, "nearest spellings: beta"),
        (lambda m, f: m.wv.similarity("Gamma", "beta"), KeyError, "nearest spellings: gamma"),
        # files of vectors
        (
            lambda m, f: m.wv.intersect_word2vec_format(f / "short.txt"),
            EOFError,
            "short.txt: cut short, or line 1 is wrong: 2 vectors up to line 4, expected 3",
        ),
        (
            lambda m, f: m.wv.intersect_word2vec_format(f / "header.txt"),
            ValueError,
            "header.txt: line 1 should say 'vectors dimensions', got b'alpha 1 2 3 4",
        ),
        (
            lambda m, f: m.wv.intersect_word2vec_format(f / "narrow.txt"),
            ValueError,
            "narrow.txt: has vectors of 2 numbers, expected 4",
        ),
        # a checkpoint of another vocabulary, or none
        (
            lambda m, f: m.train(checkpoint=f / "other.run", resume=True),
            ValueError,
            "other.run is of another vocabulary: it has 5 words with 75 occurrences, the corpus 5 "
            "with 100",
        ),
        (
            lambda m, f: m.train(checkpoint=f / "short.txt", resume=True),
            ValueError,
            "short.txt is no model of minitorch",
        ),
        # options
        (lambda m, f: m.train(epochs=1.5), ValueError, "train: epochs: .* integer .* got 1.5"),
        (lambda m, f: m.train(start_alpha=-1), ValueError, "train: start_alpha: .* got -1"),
        (lambda m, f: m.train(end_alpha=-1), ValueError, "train: end_alpha: .* got -1"),
        (
            lambda m, f: m.train(SENTENCES, epochs=1),
            ValueError,
            "total_examples or total_words: ex",
        ),
        (lambda m, f: m.train(SENTENCES, total_examples=40), ValueError, "train: epochs: expected"),
        (lambda m, f: m.train(SENTENCES, f / "a", **TWICE), TypeError, "or corpus_file, got both"),
    ],
)
def test_word2vec_stays_as_it_was(folder, call, error, message):
    model = Word2Vec(SENTENCES, **OPTIONS)
    before, files = held(model), {path: path.read_bytes() for path in folder.iterdir()}
    pattern = ".*".join(map(re.escape, message.split(" .* ")))
    with pytest.raises(error, match=pattern):
        call(model, folder)
    assert held(model) == before
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    assert model.wv.tensor.equal(model.model.input.weight)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GloVe(["abc"]), TypeError, LISTS + "the string 'abc'"),
        (lambda: GloVe([]), ValueError, "min_count=5 leaves no word"),
        (lambda: GloVe([["a"]] * 9), ValueError, "no two of the 1 words"),
        (lambda: GloVe([["a"], ["b"]] * 9), ValueError, "no two of the 2 words"),
        (lambda: LSA([]), ValueError, "no word of the 0 in 0 documents"),
        (lambda: LSA([["a", "b"]], 3), ValueError, "rank: expected 1 to 1"),
        (lambda: Phrases("abc"), TypeError, LISTS + "'abc'"),
        (lambda: Phrases(5), TypeError, LISTS + "5"),
        (lambda: count_cooccurrences([]), ValueError, "min_count=1 leaves no word"),
        (lambda: count_cooccurrences([["cat"]])["cat", "cats"], KeyError, "spellings: cat"),
        (lambda: Corpus("no such file"), FileNotFoundError, "no such file"),
        (lambda: KeyedVectors(1, ["a"], minitorch.ones(1, 1))["b"], KeyError, "among the 1 keys"),
        (lambda: Cooccurrence.load("no such file"), FileNotFoundError, "no such file"),
    ],
)
def test_other_models_say_it_too(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.parametrize("sg", [1, 0])
def test_a_corpus_of_which_sub_sampling_leaves_nothing(sg):
    """As in gensim, whose own first example is such a corpus, it is trained on all the same."""
    with pytest.warns(
        UserWarning, match=r"sub-sampling \(sample=1e-09\) has left no pair of words"
    ):
        model = Word2Vec(SENTENCES, **(OPTIONS | {"sample": 1e-9, "sg": sg}))
    assert all(math.isnan(loss) for loss in model.losses)
    fresh = Word2Vec(**OPTIONS)
    fresh.build_vocab(SENTENCES)
    assert model.wv.tensor.equal(fresh.wv.tensor)


def test_glove_stays_as_it_was():
    model = GloVe(SENTENCES, vector_size=4, min_count=1, epochs=2)
    before, losses = model.wv.tensor.clone(), [*model.losses]
    for sentences in ([], [["a"], ["b"]], ["abc"]):
        with pytest.raises((ValueError, TypeError)):
            model.build_vocab(sentences)
    assert model.wv.tensor.equal(before)
    assert model.losses == losses
    assert len(model.vocab) == len(model.wv) == 5
    model.train(epochs=1)
    assert model.loss() < losses[-1]

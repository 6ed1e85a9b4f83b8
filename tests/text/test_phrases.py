import shutil
import subprocess
import sys

import gensim.models.phrases as gensims
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from minitorch.text import Phrases, Word2Vec, tokenize
from minitorch.text.phrases import (
    ENGLISH_CONNECTOR_WORDS,
    SCORERS,
    FrozenPhrases,
    Phraser,
    npmi_scorer,
    original_scorer,
)

TEXT = """the mayor of new york was there
machine learning can be useful sometimes
new york mayor was present in the city of new york
the bank of america is in new york and not the bank of the river
machine learning in new york machine learning at the bank of america
new york times and the new york times again
mayor of the city of new york"""
SENTENCES = [line.split() for line in TEXT.splitlines()] * 2

OPTIONS = [
    {"min_count": 1, "threshold": 1},
    {"min_count": 2, "threshold": 2.5},
    {"min_count": 3, "threshold": 0.1, "connector_words": ENGLISH_CONNECTOR_WORDS},
    {"min_count": 1, "threshold": 0.1, "delimiter": "-~-"},
    {"min_count": 1, "threshold": 0.2, "scoring": "npmi"},
    {"min_count": 2, "threshold": -1, "scoring": "npmi", "connector_words": {"of", "the"}},
    {"min_count": 1, "threshold": 0.1, "max_vocab_size": 12},
    {"min_count": 0.5, "threshold": 1e-9},
]


def assert_same(ours, theirs, sentences):
    """Counts, phrases, scores and joined sentences equal gensim's, to the last bit."""
    assert ours.vocab == theirs.vocab
    assert list(ours.vocab) == list(theirs.vocab)
    for name in ("corpus_word_count", "min_reduce", "min_count", "threshold", "delimiter"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.export_phrases() == theirs.export_phrases()
    assert ours.find_phrases(sentences) == theirs.find_phrases(sentences)
    assert list(ours[sentences]) == list(theirs[sentences])
    for sentence in sentences:
        analyzed = list(theirs.analyze_sentence(sentence))
        assert list(ours.analyze_sentence(sentence)) == analyzed
    frozen, gensims_frozen = ours.freeze(), theirs.freeze()
    assert frozen.phrasegrams == gensims_frozen.phrasegrams
    assert list(frozen[sentences]) == list(gensims_frozen[sentences])


@pytest.mark.parametrize("options", OPTIONS)
def test_phrases_and_scores_are_gensims(options):
    ours, theirs = Phrases(SENTENCES, **options), gensims.Phrases(SENTENCES, **options)
    assert_same(ours, theirs, [*SENTENCES, [], ["of", "new"], ["york", "of"], ["unseen", "york"]])
    more = [["new", "jersey", "and", "new", "york"]] * 5
    ours.add_vocab(iter(more))
    theirs.add_vocab(more)
    assert_same(ours, theirs, more)


def test_phrases_of_the_sentences():
    phrases = Phrases(SENTENCES, min_count=1, threshold=1)
    assert phrases[["new", "york", "has", "machine", "learning"]] == [
        "new_york",
        "has",
        "machine_learning",
    ]
    connected = Phrases(
        SENTENCES, min_count=1, threshold=1, connector_words=ENGLISH_CONNECTOR_WORDS
    )
    assert connected[["the", "bank", "of", "america"]] == ["the", "bank_of_america"]
    assert gensims.ENGLISH_CONNECTOR_WORDS == ENGLISH_CONNECTOR_WORDS
    assert Phraser is FrozenPhrases


words = st.sampled_from(["a", "b", "c", "of", "the"])
corpora = st.lists(st.lists(words, max_size=8), max_size=8)


@given(corpora, st.sampled_from(["default", "npmi"]), st.integers(1, 3), st.booleans())
def test_any_corpus_as_gensim(sentences, scoring, min_count, connect):
    options = {
        "min_count": min_count,
        "scoring": scoring,
        "threshold": 0.05,
        "connector_words": {"of", "the"} if connect else (),
    }
    ours = Phrases(sentences, **options)
    theirs = gensims.Phrases(sentences, **options)
    try:
        theirs.export_phrases()
    except ZeroDivisionError:  # gensim's npmi where every pair of the corpus is the same
        return
    assert_same(ours, theirs, sentences)


@given(
    *[st.integers(1, 50)] * 2,
    st.integers(0, 50),
    st.integers(1, 100),
    st.integers(1, 5),
    st.integers(60, 1000),
)
def test_scorers(a, b, both, vocab, min_count, total):
    counts = (a, b, both, vocab, min_count, total)
    assert original_scorer(*counts) == gensims.original_scorer(*counts)
    assert npmi_scorer(*counts) == gensims.npmi_scorer(*counts)
    assert {"default": original_scorer, "npmi": npmi_scorer} == SCORERS


def test_default_score_by_hand():
    phrases = Phrases(SENTENCES, min_count=2, threshold=1)
    new, york, both, n = 16, 16, 16, len(phrases.vocab)  # eight in the text, which is doubled
    assert phrases.vocab["new"] == new
    assert phrases.export_phrases()["new_york"] == (both - 2) / (new * york) * n


def test_a_second_model_makes_longer_phrases():
    pairs = Phrases(SENTENCES, min_count=5, threshold=1, connector_words=["of"])
    longer = Phrases(pairs[SENTENCES], min_count=1, threshold=1)
    sentence = ["new", "york", "times"]
    assert longer[pairs[sentence]] == ["new_york_times"]
    assert longer.freeze()[pairs.freeze()[sentence]] == longer[pairs[sentence]]
    assert "new_york_times" in longer.export_phrases()


def test_a_joined_corpus_can_be_read_again():
    joined = Phrases(SENTENCES, min_count=1, threshold=1)[SENTENCES]
    assert list(joined) == list(joined) != []
    model = Word2Vec(joined, vector_size=4, min_count=1, epochs=1)
    assert "new_york" in model.wv
    once = Phrases(SENTENCES, min_count=1, threshold=1)[iter(SENTENCES)]
    assert list(once) == list(joined)
    assert list(once) == []
    assert Phrases()[[]] == [] == Phrases()[iter([])]


def test_a_scorer_of_ones_own(tmp_path):
    def count(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
        return bigram_count

    phrases = Phrases(SENTENCES, threshold=15, scoring=count)
    assert phrases.export_phrases() == {"new_york": 16}
    with pytest.raises(ValueError, match="scoring is a function that no file can hold"):
        phrases.save(tmp_path / "phrases.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="scoring: the function lacks the arguments worda_count"):
        Phrases(scoring=lambda bigram_count: 1.0)


def test_save_and_load(tmp_path):
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.3, scoring="npmi", connector_words={"of"})
    for model, kind in ((phrases, Phrases), (phrases.freeze(), FrozenPhrases)):
        path = tmp_path / kind.__name__
        model.save(path)
        again = kind.load(path)
        assert list(again[SENTENCES]) == list(model[SENTENCES])
        assert again.__dict__ == model.__dict__
        assert repr(again) == repr(model)
    again = Phrases.load(tmp_path / "Phrases")
    again.add_vocab(SENTENCES)
    assert again.corpus_word_count == 2 * phrases.corpus_word_count
    with pytest.raises(ValueError, match=r"holds a model of the kind FrozenPhrases, expected Phr"):
        Phrases.load(tmp_path / "FrozenPhrases")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "min_count: expected more than 0, got 0"),
        ({"threshold": 0}, "threshold: expected above 0 for scoring 'default', got 0"),
        ({"threshold": 2, "scoring": "npmi"}, "threshold: expected from -1 to 1"),
        ({"scoring": "pmi"}, "scoring: expected a function or one of default, npmi, got 'pmi'"),
        ({"max_vocab_size": 0}, "max_vocab_size: expected at least 1, got 0"),
        ({"delimiter": ""}, "delimiter: expected a character or more"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Phrases(**options)


def test_a_string_is_no_sentence():
    with pytest.raises(TypeError, match="expected lists of words, got the string 'new york'"):
        Phrases(["new york"])
    with pytest.raises(TypeError, match="got the string 'new york'; split it first"):
        Phrases()["new york"]


# ---------------------------------------------------------------------- models on models' output
CHAINS = [
    {"min_count": 1, "threshold": 0.5},
    {"min_count": 1, "threshold": 0.2, "scoring": "npmi"},
    {"min_count": 1, "threshold": 0.3, "connector_words": ENGLISH_CONNECTOR_WORDS},
    {"min_count": 1, "threshold": -0.9, "scoring": "npmi", "connector_words": ["of"]},
    {"min_count": 1, "threshold": 0.5, "delimiter": "__"},
]


def assert_frozen_alike(sentences, options, tmp_path=None):
    """Three models, each on the output of the one before, and what each becomes when frozen."""
    for _ in range(3):
        model = Phrases(sentences, **options)
        joined, frozen = list(model[sentences]), model.freeze()
        if tmp_path is not None:
            frozen.save(tmp_path / "frozen")
            frozen = FrozenPhrases.load(tmp_path / "frozen")
        assert list(frozen[sentences]) == joined
        for sentence in sentences:
            assert list(frozen.analyze_sentence(sentence)) == list(model.analyze_sentence(sentence))
        assert frozen.phrasegrams == model.export_phrases()
        if options.get("scoring") == "npmi":
            assert all(-1 <= score < 1 + 1e-12 for score in frozen.phrasegrams.values())
        else:
            assert list(gensims.Phrases(sentences, **options)[sentences]) == joined
        sentences = joined


@pytest.mark.parametrize("options", CHAINS, ids=map(str, range(len(CHAINS))))
def test_frozen_models_of_long_phrases_join_what_the_model_joins(options, tmp_path):
    assert_frozen_alike(SENTENCES, options, tmp_path)


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.sampled_from("abco"), max_size=12), max_size=8), st.sampled_from(CHAINS)
)
def test_any_chain_of_frozen_models(sentences, options):
    assert_frozen_alike(sentences, options | {"connector_words": ["o"]})


def test_words_with_the_delimiter_in_them():
    sentences = [
        ["a_", "b"],
        ["a", "_b"],
        ["a", "b"],
        ["a_b"],
        ["a", "of_the", "b"],
        ["_", "_"],
    ] * 3
    for connect in ([], ["of_the", "_"], ["of", "the"]):
        options = {"min_count": 1, "connector_words": connect}
        assert_frozen_alike(sentences, options | {"threshold": 0.1})
        assert_frozen_alike(sentences, options | {"threshold": -1, "scoring": "npmi"})


def test_a_phrase_that_is_taken_out_of_a_frozen_model_is_none():
    pairs = Phrases(SENTENCES, min_count=5, threshold=1)
    longer = Phrases(pairs[SENTENCES], min_count=1, threshold=1).freeze()
    assert "new_york_times" in longer.cuts
    assert longer[["new_york", "times"]] == ["new_york_times"]
    assert longer[["new", "york_times"]] == ["new", "york_times"]
    del longer.phrasegrams["new_york_times"]
    assert longer[["new_york", "times"]] == ["new_york", "times"]


def test_the_bible_in_trigrams():
    bible = shutil.which("bible")
    if bible is None:
        pytest.skip("the program bible (Debian: bible-kjv, bible-kjv-text) is not installed")
    done = subprocess.run([bible, "-f", "gen1:1-50:26"], capture_output=True, text=True)
    verses = [tokenize(line.partition(" ")[2]) for line in done.stdout.splitlines()]
    assert len(verses) > 1500
    assert_frozen_alike(verses, {"min_count": 2, "threshold": 2})


# ---------------------------------------------------------------------- files
def bigram_count_scorer(
    worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count
):
    """A scorer that is found under its name."""
    return np.float32(bigram_count)


class Scorers:
    @staticmethod
    def static(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
        return bigram_count


@pytest.mark.parametrize("freeze", [False, True])
def test_a_scorer_is_saved_by_its_name(tmp_path, freeze):
    phrases = Phrases(SENTENCES, threshold=15, scoring=bigram_count_scorer)
    model = phrases.freeze() if freeze else phrases
    path = tmp_path / "phrases"
    model.save(path)
    again = type(model).load(path)
    assert again.scoring is bigram_count_scorer
    assert again.find_phrases(SENTENCES) == model.find_phrases(SENTENCES) == {"new_york": 16}
    given = type(model).load(path, scoring=Scorers.static)
    assert given.scoring is Scorers.static
    with pytest.raises(ValueError, match="lacks the arguments worda_count"):
        type(model).load(path, scoring=len)


@pytest.mark.parametrize(
    "name",
    [
        *("this:function", "os:system", "builtins:eval", "tests.text.test_phrases:SENTENCES"),
        *("minitorch.text:GloVe", "no such:name", "os", "", ":", "subprocess:Popen"),
    ],
)
def test_a_file_has_nothing_imported_or_run(tmp_path, name):
    Phrases(SENTENCES, scoring=bigram_count_scorer).save(tmp_path / "phrases")
    state = minitorch.load(tmp_path / "phrases", device="cpu")
    minitorch.save(state | {"scoring": name}, tmp_path / "phrases")
    before = set(sys.modules)
    with pytest.raises(ValueError, match="scoring"):
        Phrases.load(tmp_path / "phrases")
    assert set(sys.modules) == before
    assert Phrases.load(tmp_path / "phrases", scoring=bigram_count_scorer)[["new", "york"]]


def test_files_of_gensims_arguments_and_open_ones(tmp_path):
    phrases = Phrases(SENTENCES, min_count=1, threshold=1)
    phrases.save(tmp_path / "a", separately=[], sep_limit=1, ignore=["x"], pickle_protocol=2)
    with open(tmp_path / "b", "wb") as file:
        phrases.freeze().save(file)
    assert Phrases.load(tmp_path / "a").vocab == phrases.vocab
    assert FrozenPhrases.load(tmp_path / "b").phrasegrams == phrases.export_phrases()


def test_numbers_of_numpy_as_options_are_saved(tmp_path):
    phrases = Phrases(
        [[np.str_(word) for word in sentence] for sentence in SENTENCES],
        min_count=np.int64(1),
        threshold=np.float32(0.5),
        max_vocab_size=np.int32(1000),
        progress_per=np.uint8(9),
        delimiter=np.str_("-"),
        connector_words=np.array(["of", "the"]),
    )
    plain = Phrases(
        SENTENCES, min_count=1, threshold=0.5, delimiter="-", connector_words=["of", "the"]
    )
    for model, expected in ((phrases, plain), (phrases.freeze(), plain.freeze())):
        model.save(tmp_path / "phrases")
        again = type(model).load(tmp_path / "phrases")
        assert list(again[SENTENCES]) == list(expected[SENTENCES])
        assert repr(again) == repr(model)


@pytest.mark.parametrize("sentences", [[[1, 2]], [[1], [2]], [["a", (1,)]], [[b"new", b"york"]]])
def test_words_that_are_no_strings_are_refused_at_once(sentences, tmp_path):
    phrases = Phrases(SENTENCES, min_count=1, threshold=1)
    before = dict(phrases.vocab)
    with pytest.raises(TypeError, match=r"Phrases: .*expected words that are strings, got"):
        phrases.add_vocab(sentences)
    assert phrases.vocab == before
    with pytest.raises(
        TypeError, match=r"Phrases: connector_words: expected words that are strings, got 7"
    ):
        Phrases(connector_words=["a", 7])

import gensim.models.phrases as gensims
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch.text import Phrases, Word2Vec
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

"""Words of texts in many scripts, and what tokenizers leave of the letters."""

import re
import unicodedata

import pytest
from gensim.utils import tokenize as gensims

from minitorch.text import tokenize
from minitorch.text.tokenizers import TOKENIZERS, LetterCheck, find_tokenizer, tokenize_ascii

TEXTS = {
    "german": ("Größe über Straße: ÄRGER! 3D", "größe über straße ärger d"),
    "russian": ("Ёлка — съешь-же ещё", "ёлка съешь же ещё"),
    "greek": ("Ὁ ΣΟΦΟΣ Ὀδυσσεύς, καλημέρα", "ὁ σοφος ὀδυσσεύς καλημέρα"),
    "hindi": ("हिन्दी भाषा क्षत्रिय।", "हिन्दी भाषा क्षत्रिय"),
    "arabic": ("العَرَبِيَّةُ، كتاب ١٢", "العَرَبِيَّةُ كتاب"),
    "hebrew": ("שָׁלוֹם! צה״ל, ג׳ירף", "שָׁלוֹם צה״ל ג׳ירף"),
    "persian": ("می\u200cخواهم، کتاب\u200c ", "می\u200cخواهم کتاب"),
    "vietnamese": ("Tiếng Việt, ĐƯỜNG", "tiếng việt đường"),
    "turkish": ("İSTANBUL İzmir ılık", "istanbul izmir ılık"),
    "korean": ("한국어 문장.", "한국어 문장"),
    "chinese": ("我 爱 北京。", "我 爱 北京"),
    "beyond": ("葛\U000e0100飾 𠮷野家 𐐀𐐁!", "葛\U000e0100飾 𠮷野家 𐐨𐐩"),
    "catalan": ("Col·legi l'home d’or", "col·legi l home d or"),
    "no letters": ("m² ½ Ⅷ x_1 ... \u0301", "m x"),
    "soft hyphen": ("Zucker\xadrübe", "zuckerrübe"),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_are_runs_of_letters_with_their_marks(name, form):
    text, words = TEXTS[name]
    composed = unicodedata.normalize("NFC", words).split(" ")
    assert tokenize(unicodedata.normalize(form, text)) == composed


def test_ascii_has_the_words_that_it_had():
    text = "King's-man, can't 3D x_1\nQUEEN" + "".join(map(chr, range(128)))
    expected = re.findall("[a-z]+", text.lower())
    assert tokenize(text) == tokenize_ascii(text) == expected
    assert tokenize_ascii("naïve") == ["na", "ve"]


def test_where_gensim_has_other_words():
    """gensim.utils.tokenize keeps underscores and numerals, and cuts words at their marks."""
    text = "Größe, Ёлка don't 3D"
    assert tokenize(text) == list(gensims(text, lowercase=True))
    assert list(gensims("x_y m²")) == ["x_y", "m²"]
    assert list(gensims("हिन्दी")) == ["ह", "न", "द"]


def test_a_tokenizer_has_a_name(tmp_path, monkeypatch):
    assert [find_tokenizer(name) for name in TOKENIZERS] == list(TOKENIZERS.values())
    assert find_tokenizer("re:split") is re.split
    (tmp_path / "tokenizer_of_this_test.py").write_text("class A:\n    cut = str.split\n")
    monkeypatch.chdir(tmp_path)
    assert find_tokenizer("tokenizer_of_this_test:A.cut") is str.split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("123 ...", []),
        ("é", ["e\u0301"]),
        ("한국어", [unicodedata.normalize("NFD", "한국어")]),
        ("ÄRGER", ["ärger"]),
        ("a" * 91 + "é" * 9, ["a" * 91]),
    ],
)
def test_letters_that_are_not_lost(text, words):
    check = LetterCheck()
    assert check.is_due(len(text))
    check.look(text, words)
    check.warn("text", [tokenize])


def test_a_tenth_of_the_letters_lost_is_told():
    check = LetterCheck()
    assert check.is_due(100)
    check.look("a" * 90 + "é" * 10, ["a" * 90])
    with pytest.warns(
        UserWarning, match=r"corpus x: the tokenizer words drops 10% .* \(é\); known"
    ):
        check.warn("x", [tokenize])

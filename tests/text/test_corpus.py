import bz2
import gzip
import lzma
from itertools import islice

import numpy as np
import pytest

from minitorch.text import corpus
from minitorch.text.corpus import Corpus, encode, tokenize

LINES = "The cat sat.\n\nOn the mat, THE cat's 2 mats\n"
SENTENCES = [["the", "cat", "sat"], ["on", "the", "mat", "the", "cat", "s", "mats"]]


def test_tokenize_keeps_runs_of_letters_in_lower_case():
    assert tokenize("King's-man, naïve 3D\nQUEEN") == ["king", "s", "man", "na", "ve", "d", "queen"]


@pytest.mark.parametrize(
    ("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
)
def test_text_file_is_a_sentence_a_line_and_can_be_read_again(tmp_path, suffix, opener):
    path = tmp_path / f"text{suffix}"
    with opener(path, "wb") as file:
        file.write(LINES.encode())
    source = Corpus(path)
    assert list(source) == SENTENCES
    assert list(source) == SENTENCES


def test_str_split_reads_a_file_as_gensim_does(tmp_path):
    from gensim.models.word2vec import LineSentence

    path = tmp_path / "text"
    path.write_text(LINES)
    assert list(Corpus(path, tokenizer=str.split)) == [s for s in LineSentence(str(path)) if s]


def test_gcide_splits_paragraphs_and_survives_bad_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITORCH_DATA", str(tmp_path))
    with gzip.open(tmp_path / "gcide.dict.dz", "wb") as file:
        file.write(b"Frog \\Frog\\, n.\n   An amphibious\n   animal \xff.\n  \n\n   A toad.\n")
    assert list(Corpus("gcide")) == [
        ["frog", "frog", "n", "an", "amphibious", "animal"],
        ["a", "toad"],
    ]


def test_wordnet_gives_first_lemma_and_gloss(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITORCH_DATA", str(tmp_path))
    for part in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{part}").write_text("  1 licence\n")
    (tmp_path / "data.noun").write_text(
        "  1 licence | text\n"
        '01639765 05 n 02 tree_frog 0 anuran 0 001 @ 01 n 0000 | a tailless amphibian; "hop"  \n'
    )
    assert list(Corpus("wordnet")) == [["tree", "frog", "a", "tailless", "amphibian", "hop"]]
    assert len(list(Corpus("wordnet+wordnet"))) == 2


def test_stdlib_is_in_every_python():
    sentences = list(islice(Corpus("stdlib"), 3000))
    assert len(sentences) == 3000
    words = {word for sentence in sentences for word in sentence}
    assert {"function", "class", "return", "expression"} <= words


def test_real_dictionaries():
    try:
        sentences = list(islice(Corpus("gcide+wordnet"), 20000))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert sum(map(len, sentences)) > 200_000


def test_encode_numbers_words_in_order_of_appearance():
    numbers = encode(iter(SENTENCES))  # a generator will do: one pass
    assert numbers.words == ["the", "cat", "sat", "on", "mat", "s", "mats"]
    assert numbers.tokens.tolist() == [0, 1, 2, 3, 0, 4, 0, 1, 5, 6]
    assert numbers.sentences.tolist() == [0] * 3 + [1] * 7
    assert numbers.tokens.dtype == numbers.sentences.dtype == np.int32
    assert numbers.count == 2


def test_encode_of_nothing_is_empty():
    numbers = encode([])
    assert (numbers.words, len(numbers.tokens), len(numbers.sentences)) == ([], 0, 0)


def test_unknown_source_names_the_choices():
    with pytest.raises(FileNotFoundError, match=r"gcidee.*gcide, wordnet, stdlib"):
        Corpus("gcidee")


@pytest.mark.parametrize(
    ("name", "package"), [("gcide", "dict-gcide"), ("wordnet", "wordnet-base")]
)
def test_missing_dictionary_names_the_debian_package(monkeypatch, tmp_path, name, package):
    monkeypatch.setenv("MINITORCH_DATA", str(tmp_path))
    monkeypatch.setattr(corpus.Path, "is_file", lambda path: False)
    with pytest.raises(FileNotFoundError, match=f"Debian package {package}"):
        list(Corpus(name))


def test_cut_gzip_file_is_named(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"word " * 9999 + np.random.default_rng(0).bytes(9999))[:-9])
    with pytest.raises(ValueError, match=r"text\.gz"):
        list(Corpus(path))


def test_a_file_that_is_not_gzip(tmp_path):
    path = tmp_path / "text.gz"
    path.write_text("plain")
    with pytest.raises(ValueError, match="damaged"):
        list(Corpus(path))


def test_bytes_that_are_not_utf8_name_file_and_line(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"good\n" * 5000 + b"\xff\xfe\n")
    with pytest.raises(ValueError, match=r"text: not UTF-8 somewhere after line \d+"):
        list(Corpus(path))


def test_a_string_is_not_a_sentence():
    with pytest.raises(TypeError, match="expected lists of words, got the string 'the cat'"):
        encode(["the cat"])

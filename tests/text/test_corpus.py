import bz2
import gzip
import lzma
from itertools import chain, islice

import numpy as np
import pytest

from minitorch.text import corpus
from minitorch.text.corpus import Corpus, tokenize

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


@pytest.mark.parametrize("options", [{}, {"limit": 2}, {"max_sentence_length": 3, "limit": 3}])
def test_line_sentences_are_gensims(tmp_path, options):
    from gensim.models import word2vec as gensims

    (tmp_path / "a.gz").write_bytes(gzip.compress(LINES.encode()))
    theirs = gensims.LineSentence(str(tmp_path / "a.gz"), **options)
    ours = corpus.LineSentence(tmp_path / "a.gz", **options)
    assert list(ours) == list(ours) == list(theirs)
    (tmp_path / "b.txt").write_text("more words\n")
    whole = corpus.LineSentence(tmp_path)
    assert list(whole) == list(gensims.PathLineSentences(str(tmp_path)))
    prints = {corpus.LineSentence(tmp_path, **o).fingerprint() for o in ({}, {"limit": 1})}
    assert len(prints | {Corpus(tmp_path, str.split).fingerprint()}) == 3


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


def test_bytes_that_are_not_utf8_name_file_line_and_byte(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"good\n" * 5000 + b"a\xff\xfe\n"))
    expected = r"text\.gz: line 5001 is not utf-8: byte 0xff at offset 25001 of the text"
    with pytest.raises(ValueError, match=expected):
        list(Corpus(path))


def test_a_folder_is_read_file_after_file(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "b.txt").write_text("the b\n")
    (tmp_path / "more" / "c.bz2").write_bytes(bz2.compress(b"the c\n"))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"the a\n"))
    (tmp_path / ".hidden").write_bytes(b"\xff")
    source = Corpus(tmp_path)
    assert list(source) == [["the", "a"], ["the", "b"], ["the", "c"]]
    assert [path.name for path in source.files()] == ["a.gz", "b.txt", "c.bz2"]
    assert source.position() == source.size() == sum(p.stat().st_size for p in source.files())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="the folder has no file"):
        Corpus(empty)


def test_position_grows_while_files_are_read(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("some words\n" * 20_000)
    source = Corpus(tmp_path)
    places = [source.position() for _ in source]
    assert places == sorted(places)
    half = source.size() // 2
    assert abs(places[10_000] - half / 2) < 10_000
    assert abs(places[30_000] - 3 * half / 2) < 10_000


def test_a_very_long_line_is_cut_at_blanks(tmp_path):
    words = [f"w{i}" for i in range(400_000)]
    path = tmp_path / "line"
    path.write_text(" ".join(words) + "\nlast line")
    sentences = list(Corpus(path, tokenizer=str.split))
    assert list(chain.from_iterable(sentences)) == [*words, "last", "line"]
    assert len(sentences) == 4
    assert max(len(" ".join(s)) for s in sentences) <= 1 << 20
    unbroken = tmp_path / "unbroken"
    unbroken.write_text("é" * (3 << 20) + "\nend")
    assert [len(s[0]) for s in Corpus(unbroken, tokenizer=str.split)] == [3 << 20, 3]


def test_fingerprint_changes_with_what_is_read(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b")
    first = Corpus(path).fingerprint()
    assert Corpus(path).fingerprint() == first
    assert Corpus(path, tokenizer=str.split).fingerprint() != first
    assert Corpus(path, tokenizer=lambda text: [text]).fingerprint() is None
    path.write_text("a b c")
    assert Corpus(path).fingerprint() != first

import bz2
import gzip
import lzma
import pickle
import re
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from gensim.models import word2vec as gensims

import minitorch.text
from minitorch.text import Word2Vec
from minitorch.text.io import corpus
from minitorch.text.io.corpus import SOURCES, Corpus, LineSentence
from minitorch.text.tokenizers import tokenize_ascii

LINES = "The cat sat.\n\nOn the mat, THE cat's 2 mats\n"
SENTENCES = [["the", "cat", "sat"], ["on", "the", "mat", "the", "cat", "s", "mats"]]


@pytest.mark.parametrize(
    ("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
)
def test_text_file_is_a_sentence_a_line_and_can_be_read_again(tmp_path, suffix, opener):
    path = tmp_path / f"text{suffix}"
    with opener(path, "wb") as file:
        file.write(LINES.encode())
    source = Corpus(path)
    copy = pickle.loads(pickle.dumps(source))
    assert list(source) == list(copy) == SENTENCES
    assert list(source) == SENTENCES


def test_utf_16_without_its_mark_is_named(tmp_path):
    (tmp_path / "wide.txt").write_bytes("a b\n".encode("utf-16-be"))
    with pytest.raises(ValueError, match=r"wide.txt: line 1 is not utf-16: .* start with BOM"):
        list(Corpus(tmp_path / "wide.txt", encoding="utf-16"))


def test_str_split_reads_a_file_as_gensim_does(tmp_path):
    path = tmp_path / "text"
    path.write_text(LINES)
    assert list(Corpus(path, tokenizer=str.split)) == list(gensims.LineSentence(str(path)))


@pytest.mark.parametrize("options", [{}, {"limit": 2}, {"max_sentence_length": 3, "limit": 3}])
@pytest.mark.parametrize("source", ["path", "folder", "bytes", "text", "gzip"])
def test_line_sentences_are_gensims(tmp_path, options, source):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "b.txt").write_text("more words\r\nund größere, ohne Ende")
    (tmp_path / "c.bz2").write_bytes(bz2.compress(b"\n\nlast"))
    name, opened = "LineSentence", tmp_path / "b.txt"
    if source == "path":
        given = path
    elif source == "folder":
        name, given = "PathLineSentences", tmp_path
    elif source == "gzip":
        given = gzip.open(path)  # noqa: SIM115 (closed below)
    else:
        given = opened.open("rb") if source == "bytes" else opened.open(encoding="utf-8")
    theirs = getattr(gensims, name)(str(given) if isinstance(given, Path) else given, **options)
    ours = getattr(minitorch.text, name)(given, **options)
    assert list(ours) == list(ours) == list(theirs)
    if not isinstance(given, Path):
        assert ours.fingerprint() is None
        given.close()


def test_a_line_of_more_than_a_mebibyte_is_one_line_of_line_sentence(tmp_path):
    path = tmp_path / "text"
    path.write_text(" ".join(f"w{i}" for i in range(200_000)) + "\nlast line\nno more")
    ours, theirs = (module.LineSentence(str(path), limit=2) for module in (corpus, gensims))
    assert list(ours) == list(theirs)
    assert len(list(ours)) == 21


@pytest.mark.parametrize("length", [1, 3, 7, 10_000])
def test_text8_corpus_is_gensims(tmp_path, length):
    path = tmp_path / "text8"
    path.write_text(" " + " ".join(f"w{i}" for i in range(20_000)))
    ours, theirs = (module.Text8Corpus(str(path), length) for module in (corpus, gensims))
    assert list(ours) == list(ours) == list(theirs)
    path.write_text("a b c\nd e\n\nf")  # where gensim's last sentence has two words too many
    assert list(corpus.Text8Corpus(path, 3)) == [["a", "b", "c"], ["d", "e", "f"]]


def test_sentences_of_gensims_kind_by_kind(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "text").write_text("c d")
    assert list(corpus.PathLineSentences(tmp_path)) == list(corpus.LineSentence(path))
    assert list(corpus.PathLineSentences(path)) == [["a", "b"]]
    kinds = [LineSentence(path), LineSentence(path, limit=1), LineSentence(path, 3)]
    kinds += [corpus.Text8Corpus(path), Corpus(path, str.split)]
    assert len({kind.fingerprint() for kind in kinds}) == 5
    with pytest.raises(ValueError, match=r"expected max_sentence_length > 0 .* got 0"):
        LineSentence(path, max_sentence_length=0)
    with pytest.raises(FileNotFoundError, match=r"corpus 'stdlib': no such file$"):
        LineSentence("stdlib")
    with (tmp_path / "latin").open("wb+") as file:
        file.write(b"good\ncaf\xe9\n")
        with pytest.raises(ValueError, match="latin: line 2 is not utf-8: byte 0xe9 at offset 8"):
            list(LineSentence(file))


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
    texts = SOURCES["stdlib"].read(lambda path, file: None)
    words_of = (re.findall("[a-z]+", text.lower()) for text in texts)
    assert sentences == list(islice(filter(None, words_of), 3000))
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
    assert Corpus(source.files()).source.endswith("b.txt, " + str(source.files()[2]))
    assert repr(Corpus([source.files()[0]] * 9)).endswith("a.gz, ... (9 sources)')")
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


def test_a_method_or_a_changed_module_is_no_known_tokenizer(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_text("a b")
    for tokenizer in (re.compile("a").findall, partial(str.split, sep=",")):
        assert Corpus(path, tokenizer).fingerprint() is None
    module = tmp_path / "mine.py"
    module.write_text("def cut(text):\n    return text.split()\n")
    monkeypatch.chdir(tmp_path)
    before = Corpus(path, "mine:cut")
    assert list(before) == [["a", "b"]]
    first = before.fingerprint()
    assert first == Corpus(path, "mine:cut").fingerprint() is not None
    module.write_text("def cut(text):\n    return list(text)\n")
    assert Corpus(path, "mine:cut").fingerprint() != first
    assert Corpus(path, encoding="latin-1").fingerprint() != Corpus(path).fingerprint()


# ---------------------------------------------------------------------- scripts and encodings
def test_files_have_letters_of_any_script_and_named_sources_a_to_z(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITORCH_DATA", str(tmp_path))
    text = "Größe, naïve 3D\n"
    with gzip.open(tmp_path / "gcide.dict.dz", "wb") as file:
        file.write(text.encode())
    path = tmp_path / "text"
    path.write_text(text)
    assert list(Corpus(path)) == [["größe", "naïve", "d"]]
    assert all(source.tokenizer is tokenize_ascii for source in SOURCES.values())
    ascii_words = ["gr", "e", "na", "ve", "d"]
    with pytest.warns(UserWarning, match=r"ascii drops 27% of the letters \(.*ö.*\); known are"):
        assert list(Corpus("gcide")) == [ascii_words]
    assert list(Corpus("gcide", "words")) == list(Corpus(path))
    mixed = Corpus([path, "gcide"])
    with pytest.warns(UserWarning, match="words and ascii drops 14% of the letters"):
        assert list(mixed) == [["größe", "naïve", "d"], ascii_words]
    assert list(mixed) == list(mixed)  # it is said once


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_are_no_part_of_a_word(tmp_path, encoding, end):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(f"Größe zählt{end}Ёлка{end}{end}ende".encode(encoding)))
    known = "utf-8" if encoding == "utf-8-sig" else encoding
    expected = [["Größe", "zählt"], ["Ёлка"], ["ende"]]
    assert list(Corpus(path, str.split, known)) == expected
    marked = tmp_path / "marked"
    marked.write_bytes("\ufeffGröße zählt".encode("utf-16-le"))
    assert list(Corpus(marked, str.split, "utf-16-le")) == expected[:1]


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        ("Größe".encode("latin-1"), "utf-8", "line 1 is not utf-8: byte 0xf6 .*'latin-1'"),
        ("Größe".encode("utf-16"), "utf-8", r"is a text in UTF-16 \(encoding='utf-16'\)"),
        (
            "a\nb".encode("utf-16-le"),
            "utf-8",
            "line 1 has a NUL byte: it is no text, or one in another",
        ),
        (b"a\n\x89PNG\0\0", "latin-1", "line 2 has a NUL byte: it is no text"),
        (
            gzip.compress(b"text", mtime=0),
            "utf-8",
            "it is a gzip file, whose name has to end in .gz",
        ),
        ("a\n\ud800".encode("utf-16-le", "surrogatepass"), "utf-16-le", "line 2 is not utf-16-le"),
        (b"a\xff" + b"b" * 10_000, "ascii", "line 1 is not ascii: byte 0xff at offset 1"),
    ],
)
def test_what_is_no_text_is_said(tmp_path, data, encoding, message):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"text\.txt.*{message}"):
        list(Corpus(path, encoding=encoding))


def test_bad_sources_encodings_and_tokenizers(tmp_path):
    (tmp_path / "text").write_text("a b")
    for given, error, message in (
        ({"encoding": "utf-9"}, ValueError, "encoding: unknown encoding: utf-9"),
        ({"encoding": "rot13"}, ValueError, "encoding: 'rot13' is not a text encoding"),
        (
            {"tokenizer": "wrods"},
            ValueError,
            "words, whitespace, ascii or module:function",
        ),
        ({"tokenizer": "os:nothing"}, ValueError, "os has no function nothing"),
        ({"tokenizer": "no_such:thing"}, ImportError, "tokenizer 'no_such:thing': No mod"),
        ({"source": []}, ValueError, "expected a source or more"),
        ({"source": 5}, TypeError, "expected a name, a path or a list of these, got 5"),
        ({"source": [None]}, TypeError, "or a list of these, got None"),
    ):
        with pytest.raises(error, match=message):
            Corpus(**({"source": tmp_path / "text"} | given))
    with pytest.raises(ValueError, match=r"str\.upper: expected a list of words, got 'A B'"):
        list(Corpus(tmp_path / "text", str.upper))
    assert list(Corpus(tmp_path / "text", iter)) == [["a", " ", "b"]]


def test_letters_that_are_dropped_are_told_of_late_ones_too(tmp_path):
    path = tmp_path / "text"
    path.write_text("many words of English\n" * 20_000 + "много русских слов\n" * 10_000)
    with pytest.warns(UserWarning, match=r"corpus .*text: the tokenizer ascii drops 3\d% of"):
        encoded = minitorch.text.encode(Corpus(path, "ascii"))
    assert encoded.words == ["many", "words", "of", "english"]
    path.write_text("words " * 9 + "é")
    assert len(list(Corpus(path, "ascii"))) == 1  # less than a tenth


@pytest.mark.parametrize(
    "text",
    ["我爱北京天安门，天安门上太阳升。", "吾輩は猫である。名前はまだ無い。", "ความรักทำให้คนตาบอด"],
)
def test_words_without_blanks_are_told_of(tmp_path, text):
    path = tmp_path / "text"
    path.write_text(text)
    for tokenizer in (None, "whitespace"):
        with pytest.warns(UserWarning, match="do not seem to be separated"):
            list(Corpus(path, tokenizer))
    path.write_text("我 爱 北京 天安门 。 天安门 上 太阳 升 。 ความ รัก ทำ ให้ คน ตา บอด")
    assert len(next(iter(Corpus(path)))) == 15


def test_an_empty_file_is_an_empty_corpus(tmp_path):
    path = tmp_path / "text"
    path.write_text("")
    assert list(Corpus(path)) == list(LineSentence(path)) == []
    with pytest.raises(ValueError, match="leaves no word of the corpus: it is empty"):
        Word2Vec(Corpus(path))

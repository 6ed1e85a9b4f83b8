"""Files of vectors: to gensim and back, and files that are wrong."""

import bz2
import gzip
import lzma
import struct

import gensim.models
import numpy as np
import pytest
from gensim.scripts.word2vec2tensor import word2vec2tensor
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from minitorch.text import KeyedVectors
from minitorch.text.io.files import open_file
from minitorch.text.io.vector_files import read_vectors
from tests.referee import array
from tests.text.conftest import pair

WORDS = [
    "straße",
    "кошка",
    "猫",
    "😀",
    "e\u0301",
    "\u00a0",
    "a\tb",
    "\u2028",
    '"',
    "#",
    "1.5",
    "</s>",
]
SUFFIXES = ["", ".gz", ".bz2", ".xz"]
KEYS = st.text(st.characters(exclude_characters=" \n", exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(width=32, allow_nan=False)


@pytest.fixture(scope="module")
def odd():
    """A pair with odd words and numbers of all sizes, without counts."""
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(len(WORDS), 5)) * 10.0 ** rng.integers(-37, 37, (len(WORDS), 5))
    vectors[0] = [0.0, -0.0, 1e-45, np.finfo(np.float32).max, 1 / 3]
    vectors[1] = 1000 + np.arange(1, 6) * 2.0**-14  # neighbours that need nine digits
    return pair(WORDS, vectors.astype(np.float32))


def read_both(path, **options):
    theirs = gensim.models.KeyedVectors.load_word2vec_format(str(path), **options)
    return theirs, KeyedVectors.load_word2vec_format(path, **options)


def assert_equal(ours, theirs):
    assert ours.index_to_key == theirs.index_to_key
    assert array(ours.vectors).dtype == theirs.vectors.dtype
    assert array(ours.vectors).tobytes() == theirs.vectors.tobytes()
    if "count" in theirs.expandos:
        assert ours.counts == theirs.expandos["count"].tolist()


# ---------------------------------------------------------------------- to gensim and back
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_go_to_gensim_and_back(odd, tmp_path, binary, suffix):
    theirs, ours = odd
    ours.save_word2vec_format(tmp_path / f"ours{suffix}", binary=binary)
    theirs.save_word2vec_format(str(tmp_path / f"theirs{suffix}"), binary=binary)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"ours{suffix}", f"theirs{suffix}"]
    for name in names:
        for limit in (None, 3, 10**6):
            read = read_both(tmp_path / name, binary=binary, limit=limit)
            assert_equal(*read[::-1])
        assert read[1].index_to_key == WORDS
        assert array(read[1].vectors).tobytes() == theirs.vectors.tobytes()


ODD = [
    *("3", "4", "3_4", "12", "1e5", "nan", "inf", "-0", "+1", ".", "0x10", "1_0", "١٢"),
    *("'", '"', "''", '"a"', "{", '{"', "\\n", "</s>", "<unk>", "PK\x03\x04", "\x80abc"),
    *("a" * 5000, "ß" * 3000, "\u200b", "\ufeff", "\u3000x", "\x85", "\U0010ffff", "e\u0301"),
    *("\t", "a\rb", "a\x0bb", "a\x0cb", "\x1c", "\u2029"),
]


@pytest.mark.parametrize(("binary", "header"), [(False, True), (False, False), (True, True)])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # gensim leaves the file open
def test_odd_words_go_to_gensim_and_back(tmp_path, binary, header, size):
    numbers = np.random.default_rng(8).normal(size=(len(ODD), size)).astype(np.float32)
    tables = [ODD, *([word, "word"] for word in ODD)]
    for words in tables:  # together, and each at the beginning of a file
        vectors = numbers[: len(words)]
        for kv in pair(words, vectors):
            path = str(tmp_path / "file")
            kv.save_word2vec_format(path, binary=binary, write_header=header)
            theirs, ours = read_both(path, binary=binary, no_header=not header)
            assert_equal(ours, theirs)
            assert ours.index_to_key == words
            assert array(ours.vectors).tobytes() == vectors.tobytes()


def test_counts_of_odd_words_come_back(tmp_path):
    path, vocab = tmp_path / "file", tmp_path / "counts"
    numbers = range(len(ODD), 0, -1)
    KeyedVectors(1, ODD, minitorch.zeros(len(ODD), 1), numbers).save_word2vec_format(path, vocab)
    assert KeyedVectors.load_word2vec_format(path, vocab).counts == [*numbers]
    vocab.write_bytes(b"a\t7 \r\ncaf\xe9 4\n")  # and as others write them
    (tmp_path / "latin").write_bytes(b"2 1\na 1\ncaf\xe9 2\n")
    options = {"encoding": "latin1"}
    assert KeyedVectors.load_word2vec_format(tmp_path / "latin", vocab, **options).counts == [7, 4]
    with pytest.raises(ValueError, match=r"counts: line 2: the key b'caf\\xe9': .* can't decode"):
        KeyedVectors.load_word2vec_format(path, vocab)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compressed_files_are_what_their_suffix_says(odd, tmp_path, suffix):
    odd[1].save_word2vec_format(tmp_path / "plain")
    odd[1].save_word2vec_format(tmp_path / f"file{suffix}")
    opener = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[suffix]
    with opener(tmp_path / f"file{suffix}", "rb") as file:
        assert file.read() == (tmp_path / "plain").read_bytes()


def test_binary_files_are_gensims_byte_for_byte(odd, tmp_path):
    theirs, ours = odd
    ours.save_word2vec_format(tmp_path / "ours", binary=True)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=True)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types_are_read_as_gensim_reads_them(tmp_path, binary, dtype):
    vectors = np.random.default_rng(7).normal(size=(6, 3)).astype(dtype)
    theirs, ours = pair(list("abcdef"), vectors)
    ours.save_word2vec_format(tmp_path / "ours", binary=binary)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    for name in ("ours", "theirs"):
        for datatype in (np.float16, np.float32, np.float64):
            assert_equal(*read_both(tmp_path / name, binary=binary, datatype=datatype)[::-1])
    for datatype in (minitorch.float64, np.dtype("float64"), float, "float64"):
        read = KeyedVectors.load_word2vec_format(tmp_path / "ours", None, binary, datatype=datatype)
        if not binary:
            assert array(read.vectors).astype(dtype).tolist() == vectors.tolist()
    with pytest.raises(ValueError, match=r"datatype: expected one of float16, .*int32"):
        KeyedVectors.load_word2vec_format(tmp_path / "ours", datatype=np.int32)


@pytest.mark.parametrize("binary", [False, True])
def test_counts_prefixes_and_order_as_gensim(small, tmp_path, binary):
    for kv in small:
        for i, key in enumerate("abcdefghij"):
            kv.set_vecattr(key, "count", (7 * i) % 10)
            kv.set_vecattr(key, "age", i % 3)
    theirs, ours = small
    for options in ({}, {"sort_attr": "age"}, {"prefix": "*dt_"}, {"total_vec": 20}):
        files = []
        for name, kv in (("theirs", theirs), ("ours", ours)):
            path, vocab = tmp_path / name, tmp_path / f"{name}.vocab"
            kv.save_word2vec_format(str(path), str(vocab), binary=binary, **options)
            files.append((path.read_bytes() if binary else path.read_text(), vocab.read_text()))
        assert files[0][1] == files[1][1]
        if binary:
            assert files[0][0] == files[1][0]
    for name in ("ours", "theirs"):  # total_vec=20
        path = tmp_path / name
        if not binary:
            path.write_text(path.read_text().replace("20 4", "10 4", 1))
        else:
            path.write_bytes(path.read_bytes().replace(b"20 4", b"10 4", 1))
        read = read_both(path, fvocab=str(tmp_path / f"{name}.vocab"), binary=binary)
        assert_equal(*read[::-1])
        assert read[1].get_vecattr("b", "count") == 7


def test_files_are_appended_to_as_gensim_does(small, tmp_path):
    for suffix in SUFFIXES:
        for name, kv in zip(("theirs", "ours"), small):
            path = str(tmp_path / f"{name}{suffix}")
            kv.save_word2vec_format(path, total_vec=20)
            kv.save_word2vec_format(path, prefix="x", append=True, write_header=False)
            assert len(KeyedVectors.load_word2vec_format(path)) == 20
        assert_equal(*read_both(tmp_path / f"ours{suffix}")[::-1])
    assert len(list(tmp_path.iterdir())) == 2 * len(SUFFIXES)


@pytest.mark.parametrize("limit", [None, 4, 100])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # gensim leaves the file open
def test_glove_files(small, tmp_path, limit):
    theirs, ours = small
    theirs.save_word2vec_format(str(tmp_path / "theirs"), write_header=False)
    ours.save_word2vec_format(tmp_path / "ours", write_header=False)
    for name in ("ours", "theirs"):
        read = read_both(tmp_path / name, no_header=True, limit=limit)
        assert_equal(*read[::-1])
        assert len(read[1]) == min(limit or 10, 10)
    with pytest.raises(ValueError, match=r"line 1 should say .*no_header=True reads them"):
        KeyedVectors.load_word2vec_format(tmp_path / "ours")
    with pytest.raises(ValueError, match="no_header is for text files only"):
        KeyedVectors.load_word2vec_format(tmp_path / "ours", binary=True, no_header=True)


def test_glove_keys_with_blanks(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2\n. . . 3 4\nat name@domain.com 5 6\n")
    read = KeyedVectors.load_word2vec_format(path, no_header=True)
    assert read.index_to_key == ["the", ". . .", "at name@domain.com"]
    assert read.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(ValueError, match=r"cannot hold the key '. . .'.*new_york"):
        read.save_word2vec_format(tmp_path / "again")
    for key in ("new\nyork", "\udc80"):
        with pytest.raises(ValueError, match="the key"):
            KeyedVectors(1, [key], minitorch.ones(1, 1)).save_word2vec_format(tmp_path / "again")
    assert [file.name for file in tmp_path.iterdir()] == ["glove.txt"]


def test_other_encodings_as_gensim(tmp_path):
    numbers = struct.pack("<2f", 1, 2)
    files = {
        False: "2 2\ncafé 1 2\nx 1 2\n".encode("latin1"),
        True: b"2 2\n" + "café ".encode("latin1") + numbers + b"x " + numbers,
    }
    path = tmp_path / "file"
    for binary, content in files.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"(line 2|byte 4): the key b'caf\\xe9' is not utf8"):
            KeyedVectors.load_word2vec_format(path, binary=binary)
        for options in ({"encoding": "latin1"}, {"unicode_errors": "ignore"}):
            assert_equal(*read_both(path, binary=binary, **options)[::-1])


def test_word2vec_c_ends_binary_vectors_with_a_new_line(tmp_path):
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    path = tmp_path / "file"
    path.write_bytes(b"2 3\na " + rows[0].tobytes() + b"\nb " + rows[1].tobytes() + b"\n")
    theirs, ours = read_both(path, binary=True)
    assert_equal(ours, theirs)
    assert ours.index_to_key == ["a", "b"]
    path.write_text("2 3 \na 1 2 3 \nb 4 5 6 \n")  # and those of text with a blank
    assert_equal(*read_both(path)[::-1])


def test_first_of_equal_keys_counts(tmp_path):
    path = tmp_path / "file"
    path.write_text("3 2\na 1 2\nb 3 4\na 5 6\n")
    theirs, read = read_both(path)
    assert [*read.index_to_key, None] == theirs.index_to_key  # gensim leaves a gap
    assert read.vectors.tolist() == theirs.vectors[:2].tolist() == [[1, 2], [3, 4]]
    assert read.counts == theirs.expandos["count"][:2].tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_no_vectors_go_to_gensim_and_back(tmp_path, binary):
    path = str(tmp_path / "file")
    for kv in (KeyedVectors(3), gensim.models.KeyedVectors(3)):
        kv.save_word2vec_format(path, binary=binary)
        theirs, ours = read_both(path, binary=binary)
        assert (len(ours), ours.vector_size) == (len(theirs), theirs.vector_size) == (0, 3)
    KeyedVectors(3).save(path)
    assert tuple(KeyedVectors.load(path).vectors.shape) == (0, 3)


@pytest.mark.parametrize("binary", [False, True])
@settings(max_examples=40)
@given(data=st.data())
def test_any_vectors_come_back(tmp_path_factory, binary, data):
    keys = data.draw(st.lists(KEYS, min_size=1, max_size=6, unique=True))
    size = data.draw(st.integers(1, 4))
    rows = st.lists(FLOATS, min_size=size, max_size=size)
    numbers = data.draw(st.lists(rows, min_size=len(keys), max_size=len(keys)))
    path = tmp_path_factory.mktemp("any") / "file"
    ours = KeyedVectors(size, keys, np.array(numbers, np.float32))
    ours.save_word2vec_format(path, binary=binary)
    read = KeyedVectors.load_word2vec_format(path, binary=binary)
    assert read.index_to_key == keys
    assert array(read.vectors).tobytes() == array(ours.vectors).tobytes()
    if not any(ord(char) < 32 for key in keys for char in key):  # gensim's own files break on some
        theirs = gensim.models.KeyedVectors.load_word2vec_format(str(path), binary=binary)
        assert_equal(read, theirs)


def test_intersect_takes_the_vectors_of_known_keys(small, tmp_path):
    ours = small[1]
    path = tmp_path / "file"
    path.write_text("3 4\nb 1 2 3 4\nnew 5 6 7 8\nj 9 10 11 12\n")
    before = array(ours.vectors).copy()
    assert ours.intersect_word2vec_format(path) == 2
    assert ours.vectors[[1, 9]].tolist() == [[1, 2, 3, 4], [9, 10, 11, 12]]
    assert (np.delete(array(ours.vectors), [1, 9], 0) == np.delete(before, [1, 9], 0)).all()
    assert "new" not in ours
    assert np.flatnonzero(ours.vectors_lockf == 0).tolist() == [1, 9]
    ours.intersect_word2vec_format(path, lockf=0.5)
    assert ours.vectors_lockf[[0, 1, 9]].tolist() == [1, 0.5, 0.5]
    with pytest.raises(ValueError, match="lockf: expected a number, got 'no'"):
        ours.intersect_word2vec_format(path, lockf="no")
    path.write_text("1 2\nb 1 2\n")
    with pytest.raises(ValueError, match="vectors of 2 numbers, expected 4"):
        ours.intersect_word2vec_format(path)


# ---------------------------------------------------------------------- wrong files
@pytest.mark.parametrize("key", [("a",), b"a", 1.5, frozenset()])
def test_keys_that_are_no_strings_have_no_word2vec_format(tmp_path, key):
    kv = KeyedVectors(1, ["a", 7, key], minitorch.ones(3, 1), [1, 2, 3])
    for options in ({}, {"fvocab": tmp_path / "counts"}, {"binary": True}):
        with pytest.raises(ValueError, match=r"format holds strings .*not the key .*: use save"):
            kv.save_word2vec_format(tmp_path / "file", **options)
    assert list(tmp_path.iterdir()) == []
    kv.vectors_for_all(["a", 7]).save_word2vec_format(tmp_path / "file")
    assert KeyedVectors.load_word2vec_format(tmp_path / "file").index_to_key == ["a", "7"]


def test_attributes_of_any_number_say_the_order(small, tmp_path):
    order = [3, 0, 7, 1, 9, 2, 8, 4, 6, 5]
    for dtype in (np.int64, np.uint32, np.float32):
        for kv in small:
            kv.expandos["rank"] = np.array(order, dtype=dtype).astype(dtype)
        small[1].save_word2vec_format(tmp_path / "ours", sort_attr="rank")
        read = KeyedVectors.load_word2vec_format(tmp_path / "ours").index_to_key
        assert read == [key for _, key in sorted(zip(order, "abcdefghij"), reverse=True)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("left", ["", " ", "\r"])
def test_a_last_line_without_its_end_is_whole(tmp_path, suffix, end, left):
    path = tmp_path / f"file{suffix}"
    lines = ["a 1 2.5", "b 3 4e0", "new york 5 -6"]
    for no_header in (False, True):
        text = end.join(lines if no_header else ["3 2", *lines]) + left
        with open_file(path, "wb") as file:
            file.write(text.encode())
        for limit in (None, 3, 2, 100):
            read = KeyedVectors.load_word2vec_format(path, no_header=no_header, limit=limit)
            assert read.index_to_key == ["a", "b", "new york"][:limit]
            assert read.tensor.tolist() == [[1, 2.5], [3, 4], [5, -6]][:limit]
        assert read_vectors(path).index_to_key == read.index_to_key
    with open_file(path, "wb") as file:
        file.write(b"only 1 2")
    one = KeyedVectors.load_word2vec_format(path, no_header=True)
    assert one.tensor.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "last", ["c 5", "c", "c 5 -", "c 5 1e", "c 5 1e-", "c 5 .", "c 5 na", "é"], ids=ascii
)
@pytest.mark.parametrize("no_header", [False, True])
def test_a_last_line_that_is_cut_is_not(tmp_path, last, no_header):
    path = tmp_path / "file"
    lines = ["a 1 2", "b 3 4", last]
    text = "\n".join(lines if no_header else ["3 2", *lines]).encode()
    path.write_bytes(text if last.isascii() else text[:-1])
    with pytest.raises(EOFError, match=rf"file: cut short.* 2 vectors up to line {4 - no_header}"):
        KeyedVectors.load_word2vec_format(path, no_header=no_header)
    assert len(KeyedVectors.load_word2vec_format(path, no_header=no_header, limit=2)) == 2


def test_numbers_that_are_none_are_read_and_come_last(tmp_path):
    path = tmp_path / "file"
    path.write_text("3 2\na nan 1\nb 1 2\nc 2 1\n")
    kv = KeyedVectors.load_word2vec_format(path)
    assert [key for key, _ in kv.most_similar("b")] == ["c", "a"]
    kv.save_word2vec_format(path, binary=True)
    again = KeyedVectors.load_word2vec_format(path, binary=True)
    assert [key for key, _ in again.most_similar("b")] == ["c", "a"]


def test_a_header_that_counts_more_than_there_is(tmp_path):
    path = tmp_path / "file"
    for end in ("", "\n"):
        path.write_text(f"3 2\na 1 2\nb 3 4{end}")
        with pytest.raises(EOFError, match="2 vectors up to line 4, expected 3"):
            KeyedVectors.load_word2vec_format(path)
        with pytest.raises(EOFError, match="2 vectors up to line 4, expected 3"):
            KeyedVectors.load_word2vec_format(path, limit=9)


@pytest.mark.parametrize(("binary", "lost"), [(False, 40), (True, 1), (True, 5), (True, 40)])
def test_files_that_are_cut_short(odd, tmp_path, binary, lost):
    path = tmp_path / "file"
    odd[1].save_word2vec_format(path, binary=binary)
    path.write_bytes(path.read_bytes()[:-lost])
    content = path.read_bytes()
    line = content.count(b"\n") + 1
    place = f"byte {len(content)}" if binary else f"line {line}"
    with pytest.raises(EOFError, match=f"file: cut short.* 1[01] vectors up to {place}, exp"):
        KeyedVectors.load_word2vec_format(path, binary=binary)
    if not binary:
        path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
        with pytest.raises(EOFError, match=r"cut short: 1[01] vectors up to line 1[12]"):
            KeyedVectors.load_word2vec_format(path, no_header=True)


def test_the_place_in_a_long_binary_file(tmp_path):
    path = tmp_path / "file"
    words = [f"w{i}" for i in range(3000)]
    KeyedVectors(200, words, np.zeros((3000, 200), np.float32)).save_word2vec_format(
        path, binary=True
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(EOFError, match=f"2999 vectors up to byte {len(whole) - 1}, expected 3000"):
        KeyedVectors.load_word2vec_format(path, binary=True)
    path.write_bytes(whole.replace(b"w2500 ", b"w\xff500 "))
    with pytest.raises(ValueError, match=f"byte {whole.index(b'w2500 ')}: the key"):
        KeyedVectors.load_word2vec_format(path, binary=True)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_files_that_are_damaged(odd, tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    odd[1].save_word2vec_format(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(EOFError, match=f"file{suffix}: cut short"):
        KeyedVectors.load_word2vec_format(path)
    path.write_bytes(b"2 2\na 1 2\n")
    with pytest.raises(ValueError, match=f"file{suffix}: damaged, or not {suffix}"):
        KeyedVectors.load_word2vec_format(path)


@pytest.mark.parametrize("header", ["", "word 1 2", "3", "-1 5", "2 0", "\x80\x04"])
def test_files_with_a_wrong_header(tmp_path, header):
    path = tmp_path / "file"
    path.write_text(f"{header}\na 1 2\n")
    for binary in (False, True):
        with pytest.raises(ValueError, match="file: line 1"):
            KeyedVectors.load_word2vec_format(path, binary=binary)


@pytest.mark.parametrize("binary", [False, True])
def test_headers_that_count_too_few_vectors(odd, tmp_path, binary):
    path = tmp_path / "file"
    odd[1].save_word2vec_format(path, binary=binary)
    path.write_bytes(path.read_bytes().replace(b"12 5", b"11 5", 1))
    with pytest.raises(ValueError, match="line 1 counts 11 vectors of 5 numbers, but more follows"):
        KeyedVectors.load_word2vec_format(path, binary=binary)
    assert len(KeyedVectors.load_word2vec_format(path, binary=binary, limit=11)) == 11


@pytest.mark.parametrize("size", [3, 4, 6, 7, 100])
def test_binary_files_of_another_dimension(both, tmp_path, size):
    path = tmp_path / "file"
    both[1].save_word2vec_format(path, binary=True)
    path.write_bytes(path.read_bytes().replace(b" 12\n", f" {size}\n".encode(), 1))
    with pytest.raises((ValueError, EOFError), match=r"file: .*line 1"):
        KeyedVectors.load_word2vec_format(path, binary=True)


@pytest.mark.parametrize("content", [b"2 2\n" + bytes(1 << 18), b"2 2\n" + b"\xff" * (1 << 22)])
def test_files_that_are_no_vectors(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    for binary in (False, True):
        with pytest.raises((ValueError, EOFError), match="file: "):
            KeyedVectors.load_word2vec_format(path, binary=binary)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b 1 2 3", "line 3: 3 numbers after the key, expected 2"),
        ("b 1", "line 3: 1 numbers after the key, expected 2"),
        ("", "line 3: 0 numbers after the key, expected 2"),
        ("b 1 x", "line 3: could not convert string to float: b'x'"),
        ("b  1", "line 3: could not convert"),
    ],
)
def test_text_with_a_wrong_line(tmp_path, line, message):
    path = tmp_path / "file"
    path.write_text(f"3 2\na 1 2\n{line}\nc 1 2\n")
    with pytest.raises(ValueError, match=message):
        KeyedVectors.load_word2vec_format(path)


def test_glove_files_that_hold_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="there is no vector in it"):
        KeyedVectors.load_word2vec_format(path, no_header=True)
    path.write_text("word\n")
    with pytest.raises(ValueError, match="line 1: 0 numbers after the key, expected at least one"):
        KeyedVectors.load_word2vec_format(path, no_header=True)


def test_files_of_counts_that_are_wrong(tmp_path, small):
    path, vocab = tmp_path / "file", tmp_path / "vocab"
    with pytest.raises(ValueError, match="fvocab: the keys have no attribute 'count'"):
        small[1].save_word2vec_format(path, fvocab=vocab)
    assert list(tmp_path.iterdir()) == []
    small[1].save_word2vec_format(path)
    vocab.write_text("a 5\nb 4\n")
    with pytest.raises(ValueError, match=r"vocab: has no count of 8 keys of .*file, 'c' is the"):
        KeyedVectors.load_word2vec_format(path, fvocab=vocab)
    vocab.write_text("a 5\nb four\n")
    with pytest.raises(ValueError, match="vocab: line 2 should have a key and its count"):
        KeyedVectors.load_word2vec_format(path, fvocab=vocab)


@pytest.mark.parametrize("binary", [False, True])
def test_a_file_that_fails_leaves_the_earlier_one(small, tmp_path, binary, monkeypatch):
    path = tmp_path / "file"
    small[1].save_word2vec_format(path, binary=binary)
    before = path.read_bytes()

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(KeyboardInterrupt):
            small[1].save_word2vec_format(path, binary=not binary)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------- the projector
def test_projector_files_are_those_of_gensims_script(small, tmp_path):
    theirs, ours = small
    theirs.save_word2vec_format(str(tmp_path / "vectors.txt"))
    word2vec2tensor(str(tmp_path / "vectors.txt"), str(tmp_path / "theirs"))
    ours.save_projector(tmp_path / "out")
    assert (tmp_path / "out/metadata.tsv").read_bytes() == (
        tmp_path / "theirs_metadata.tsv"
    ).read_bytes()
    found, expected = (
        np.loadtxt(path, np.float32, delimiter="\t")
        for path in (tmp_path / "out/vectors.tsv", tmp_path / "theirs_tensor.tsv")
    )
    assert found.tobytes() == expected.tobytes() == theirs.vectors.tobytes()


def test_projector_files_have_a_header_if_there_is_more_than_keys(tmp_path):
    kv = KeyedVectors(2, ["ä b", "c"], minitorch.tensor([[1.0, 2.0], [3.0, 4.5]]), [7, 3])
    kv.save_projector(tmp_path)
    assert (tmp_path / "metadata.tsv").read_text("utf8") == "key\tcount\nä b\t7\nc\t3\n"
    assert (tmp_path / "vectors.tsv").read_text() == "1\t2\n3\t4.5\n"
    with pytest.raises(ValueError, match=r"cannot hold the key 'a\\tb'"):
        KeyedVectors(1, ["a\tb"], minitorch.ones(1, 1)).save_projector(tmp_path)
    assert (tmp_path / "metadata.tsv").read_text("utf8").startswith("key")

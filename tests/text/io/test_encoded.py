import os
import subprocess
import sys
import tracemalloc
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from minitorch.text import Corpus, Vocab, encode
from minitorch.text.io import encoded
from minitorch.text.vocab import scan

SENTENCES = [["the", "cat", "sat"], [], ["on", "the", "mat", "the", "cat", "s", "mats"]]


def test_words_are_numbered_in_order_of_appearance():
    numbers = encode(iter(SENTENCES))  # a generator will do: one pass
    assert numbers.words == ["the", "cat", "sat", "on", "mat", "s", "mats"]
    assert numbers.tokens.tolist() == [~0, 1, 2, ~3, 0, 4, 0, 1, 5, 6]
    assert numbers.sentences.tolist() == [1] * 3 + [2] * 7
    assert numbers.counts.tolist() == [3, 2, 1, 1, 1, 1, 1]
    assert numbers.tokens.dtype == numbers.sentences.dtype == np.int32
    assert (numbers.count, numbers.total) == (3, 10)


def test_nothing_is_empty():
    numbers = encode([])
    assert (numbers.words, len(numbers.tokens), numbers.count) == ([], 0, 0)
    assert len(numbers.counts) == len(numbers.sentences) == 0


def test_only_the_words_given():
    numbers = encode(SENTENCES, words=["mat", "the", "dog"])
    assert numbers.words == ["mat", "the", "dog"]
    assert numbers.tokens.tolist() == [~1, ~1, 0, 1]
    assert numbers.counts.tolist() == [1, 3, 0]
    assert (numbers.count, numbers.total) == (3, 10)


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_pairs_are_found_wherever_they_stand(monkeypatch, at_once):
    monkeypatch.setattr(encoded, "_LOOKED_AT", at_once)
    for sentences, expected in (
        ([["a", "x", "x", "b"]], True),
        ([["x", "a"], ["b", "x"], [], ["a"]], False),
        ([["x", "x"], ["a"], ["x", "x", "b", "x", "x", "a"]], True),
        ([["a"], ["a"]], False),
        ([["a", "a"]], True),
        ([["x"], ["x"]], False),
        ([], False),
    ):
        numbers = encode(sentences)
        table = np.array([-1 if word == "x" else 0 for word in numbers.words], dtype=np.int32)
        assert numbers.has_pair(table) == expected


def test_a_string_is_not_a_sentence():
    with pytest.raises(TypeError, match="expected lists of words, got the string 'the cat'"):
        encode(["the cat"])


def test_what_goes_to_a_file_is_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    sentences = [[f"w{i}" for i in rng.integers(0, 500, rng.integers(0, 30))] for _ in range(400)]
    whole = encode(sentences)
    monkeypatch.setattr(encoded, "_AT_ONCE", 100)
    mapped = encode(sentences)
    assert isinstance(mapped.tokens, np.memmap)
    assert not isinstance(whole.tokens, np.memmap)
    for name in ("words", "count", "total"):
        assert getattr(mapped, name) == getattr(whole, name)
    for name in ("counts", "tokens", "sentences"):
        assert np.array_equal(getattr(mapped, name), getattr(whole, name))
    assert mapped.fingerprint() == whole.fingerprint()
    assert encode(sentences[1:]).fingerprint() != whole.fingerprint()
    # Any part is what the whole is there; sentences are told apart.
    table = Vocab.from_encoded(whole, 20).table(whole)
    tokens, numbers = whole.number(table)
    expected = [table[whole.words.index(w)] for s in sentences for w in s]
    assert tokens.tolist() == [number for number in expected if number >= 0]
    start = len(whole.number(table, 0, 700)[0])
    part, borders = mapped.number(table, 700, 2000)
    assert np.array_equal(part, tokens[start : start + len(part)])
    assert np.array_equal(np.diff(borders), np.diff(numbers[start : start + len(part)]))


# ---------------------------------------------------------------------- the cache
@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a b c\nd a\n\ne a b\n")
    return path


def _unreadable(path):
    def tokenize(text):
        raise AssertionError(f"{path} was read again")

    tokenize.__module__, tokenize.__qualname__ = "somewhere", "tokenize"
    return tokenize


def _named(text):
    return text.split()


def test_a_token_file_is_found_again_until_the_corpus_changes(text, tmp_path):
    cache = tmp_path / "cache" / "tokens"
    first = encode(Corpus(text, tokenizer=_named), cache=cache)
    assert isinstance(first.tokens, np.memmap)
    corpus = Corpus(text, tokenizer=_unreadable(text))
    corpus.tokenizer.__module__, corpus.tokenizer.__qualname__ = _named.__module__, "_named"
    again = encode(corpus, cache=cache)
    assert (again.words, again.count, again.total) == (first.words, 3, 8)
    assert np.array_equal(again.tokens, first.tokens)
    assert np.array_equal(again.counts, first.counts)
    corpus = Corpus(text, _named)
    assert encode(corpus, words=["a"], cache=cache).words == ["a"]
    assert len(list(cache.iterdir())) == 2
    os.utime(text, (1, 1))
    assert encode(corpus, cache=cache).words == first.words
    assert len(list(cache.iterdir())) == 3


def _flipped(place):
    return lambda b: b[:place] + bytes([b[place] ^ 1]) + b[place:][1:]


DAMAGES = {
    "cut": lambda b: b[:-20],
    "empty": lambda b: b"",
    "without its beginning": lambda b: b[8:],
    "longer": lambda b: b + b"x",
    "a bit of a word": _flipped(5),
    "a sign": _flipped(3),
    "a bit of the counts": lambda b: b.replace(b"[3, 2", b"[2, 2"),
    "a bit of the length": _flipped(-12),
    "a bit of the checksum": _flipped(-1),
    "a page of zeros": lambda b: bytes(16) + b[16:],
    "zeros": lambda b: bytes(len(b)),
    "another form": lambda b: b.replace(b"minitok2", b"minitok1"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_token_file_is_written_anew(text, tmp_path, name, caplog):
    first = encode(Corpus(text, _named), cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole, expected = file.read_bytes(), first.tokens.tolist()
    del first
    damaged = DAMAGES[name](whole)
    assert damaged != whole
    file.write_bytes(damaged)
    assert encode(Corpus(text, _named), cache=tmp_path / "cache").tokens.tolist() == expected
    assert file.read_bytes() == whole
    assert f"{file}: it is damaged, or no token file: the corpus is read again" in caplog.text
    caplog.clear()
    encode(Corpus(text, _named), cache=tmp_path / "cache")
    assert not caplog.text


def test_a_token_file_that_cannot_be_read_is_written_anew(text, tmp_path, monkeypatch, caplog):
    expected = encode(Corpus(text, _named), cache=tmp_path / "cache").tokens.tolist()
    opened, calls = encoded._open, []

    def refused(path):
        calls.append(path)
        if len(calls) == 1:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(encoded, "_open", refused)
    assert encode(Corpus(text, _named), cache=tmp_path / "cache").tokens.tolist() == expected
    assert "Permission denied" in caplog.text


@pytest.mark.parametrize("cached", [True, False])
def test_a_full_disk_is_named(monkeypatch, tmp_path, cached):
    monkeypatch.setattr(encoded, "_AT_ONCE", 10)
    folder = tmp_path / "tokens"
    corpus = tmp_path / "text.txt"
    corpus.write_text("a b c d e f g h\n" * 10)
    opened = Path.open

    def full(path, mode="r", **options):
        return opened(Path("/dev/full") if "w" in mode else path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    monkeypatch.setattr(encoded.tempfile, "TemporaryFile", lambda: opened(Path("/dev/full"), "wb"))
    with pytest.raises(OSError, match="No space left on device") as told:
        encode(Corpus(corpus, _named), cache=folder if cached else None)
    expected = str(folder) if cached else encoded.tempfile.gettempdir()
    assert str(told.value.filename).startswith(expected)


def test_reading_that_fails_leaves_no_file(text, tmp_path):
    text.write_bytes(b"good\n\xff\n")
    with pytest.raises(ValueError, match="line 2"):
        encode(Corpus(text), cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_has_no_files_is_not_cached(tmp_path):
    assert encode(SENTENCES, cache=tmp_path / "cache").count == 3
    assert not (tmp_path / "cache").exists()
    (tmp_path / "empty").write_text("")
    assert len(encode(Corpus(tmp_path / "empty"), cache=tmp_path / "cache").tokens) == 0


# ---------------------------------------------------------------------- memory and progress
def test_memory_is_bounded():
    sentence = [f"w{i}" for i in range(1000)]
    tracemalloc.start()
    try:
        numbers = encode(repeat(sentence, 10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert numbers.tokens.nbytes == 40_000_000
    assert peak < 25_000_000


LIMITED = """
import resource, sys
from minitorch.text import Word2Vec

class Sentences:
    def __iter__(self):
        sentence = [f"w{i % 50}" for i in range(1000)]
        for _ in range(WORDS // 1000):
            yield sentence

WORDS = int(sys.argv[1])
OPTIONS = {"vector_size": 8, "epochs": 1, "sg": 1, "workers": 1, "alpha": 1e-3, "progress": False}
OPTIONS["compiled"] = False  # Numba needs memory of its own
Word2Vec([[f"w{i % 50}" for i in range(1000)]] * 9, **OPTIONS)  # warm
with open("/proc/self/status") as status:
    data = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
limit = data * 1024 + 45_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
model = Word2Vec(Sentences(), sample=1e-7, **OPTIONS)
assert model.corpus_total_words == WORDS
if len(sys.argv) > 2:
    list(range(10_000_000))  # the limit is one
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
def test_a_corpus_larger_than_memory_trains():
    """16 million words, 64 MB as numbers, with 45 MB of memory to spare."""
    command = [sys.executable, "-c", LIMITED, "16000000"]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [*command[:3], "1000000", "more"], check=False, capture_output=True, text=True
    )
    assert "MemoryError" in done.stderr


def test_progress_shows_words_and_time_left(text, capsys):
    text.write_text("a b c d\n" * 3000)
    encode(Corpus(text), progress=True)
    shown = capsys.readouterr().err
    assert "reading: 100%" in shown
    assert "words/s" in shown
    assert "24.0k/24.0k" in shown  # bytes
    encode([["a"]] * 3000, progress=True)
    assert "3.00k/3.00k" in capsys.readouterr().err
    scan([["a"]], 5, progress=True)
    assert "counting: 100%" in capsys.readouterr().err
    encode(iter(SENTENCES), progress=False)
    assert capsys.readouterr().err == ""

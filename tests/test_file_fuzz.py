"""A short form of the fuzz of files, and files made to use up time and memory."""

import bz2
import gzip
import lzma
import struct
import subprocess
import sys
import tracemalloc

import pytest

import minitorch
from minitorch.data import read_idx
from minitorch.text import Corpus, GloVe, KeyedVectors, LineSentence, Text8Corpus, Word2Vec
from minitorch.text.io.files import _RATIO, _UNPACKED, open_file
from tests import file_fuzz

PACKERS = {".gz": gzip, ".bz2": bz2, ".xz": lzma}
HUGE = 1 << 26


def test_damaged_files_are_read_right_or_refused_by_name():
    command = [sys.executable, "-m", "tests.file_fuzz", "--cases", "400", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_fuzz_finds_what_is_wrong(tmp_path):
    path = tmp_path / "name"

    def judged(read, cut=False, **promises):
        reader = file_fuzz.Reader("name", path.touch, read, **promises)
        return file_fuzz.outcome(reader, path, "right", cut)

    def fails(error):
        def read(_):
            raise error

        return read

    assert judged(lambda _: "wrong") == judged(lambda _: "right", checked=True) == "read"
    assert judged(fails(ValueError("name"))) == judged(fails(OSError(1, "", "name"))) == "refused"
    assert "does not name" in judged(fails(ValueError("what")))
    assert "KeyError" in judged(fails(KeyError("name")))
    assert "MemoryError" in judged(fails(MemoryError("name")))
    assert "something else" in judged(lambda _: "wrong", checked=True)
    assert "something else" in judged(lambda _: "wrong", cut=True, whole=True)


# ---------------------------------------------------------------------- bombs
@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Small files, some of them of zeros without end."""
    folder = tmp_path_factory.mktemp("bombs")
    for suffix, module in PACKERS.items():
        (folder / f"zeros{suffix}").write_bytes(module.compress(bytes(HUGE)))
    with gzip.open(folder / "ones.gz", "wb", compresslevel=1) as file:
        for _ in range(4):
            file.write(b" 1" * (1 << 23))
    (folder / "word.txt").write_bytes(b"a" * (1 << 25))
    (folder / "head.bin").write_bytes(b"1 1000000000\na " + bytes(1 << 21))
    (folder / "wide.txt").write_bytes(b"1 200000000\na 1 2\n")
    (folder / "many.txt").write_bytes(b"1000000000 3\na 1 2 3\n")
    (folder / "huge.txt").write_bytes(b"9" * 90 + b" 3\na 1 2 3\n")
    (folder / "digits.txt").write_bytes(b"a " + b"9" * 5000)
    (folder / "good.txt").write_bytes(b"1 3\na 1 2 3\n")
    (folder / "shape.idx").write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)
    (folder / "none.idx").write_bytes(bytes([0, 0, 8, 3]) + bytes(4) + b"\xff" * 8)
    (folder / "dimensions.idx").write_bytes(bytes([0, 0, 8, 255]) + b"\0\0\0\1" * 255 + b"x")
    (folder / "zeros.idx.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 2, 0, 0, 32, 0]) + (HUGE >> 13).to_bytes(4, "big"))
        + (folder / "zeros.gz").read_bytes()
    )
    for name, text in {
        "header": struct.pack("<Q", 1 << 40) + b"{}",
        "deep": b'{"__metadata__":{"minitorch":"' + b"[" * 100_000 + b'"}}',
        "shape": b'{"a":{"dtype":"F32","shape":[1000000000,1000],"data_offsets":[0,4]}}',
        "none": b'{"a":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}',
        "axes": b'{"a":{"dtype":"U8","shape":[' + b"1," * 99 + b'4],"data_offsets":[0,4]}}',
    }.items():
        head = b"" if name == "header" else struct.pack("<Q", len(text))
        (folder / f"{name}.safetensors").write_bytes(
            head + text + b"abcd" * (name in ("shape", "axes"))
        )
    return folder


def _read(path, **options):
    return KeyedVectors.load_word2vec_format(path, **options)


def _all(sentences):
    return sum(map(len, sentences))


def _read_open(path):
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return _all(LineSentence(file))


ONE = [["a", "b"]] * 9
BOMBS = {
    "corpus": (lambda p: _all(Corpus(p)), ("word.txt", "zeros.gz", "zeros.bz2", "zeros.xz")),
    "utf-16": (lambda p: _all(Corpus(p, encoding="utf-16-le")), ("zeros.gz",)),
    "lines": (lambda p: _all(LineSentence(p)), ("word.txt", "zeros.gz")),
    "text8": (lambda p: _all(Text8Corpus(p)), ("word.txt", "zeros.gz")),
    "open": (_read_open, ("word.txt", "zeros.gz")),
    "word2vec": (_read, ("word.txt", "zeros.gz", "wide.txt", "many.txt", "huge.txt")),
    "binary": (lambda p: _read(p, binary=True), ("head.bin", "zeros.gz", "many.txt", "huge.txt")),
    "glove": (lambda p: _read(p, no_header=True), ("word.txt", "zeros.gz", "ones.gz")),
    "counts": (
        lambda p: _read(p.parent / "good.txt", fvocab=p),
        ("word.txt", "zeros.gz", "digits.txt"),
    ),
    "pairs": (
        lambda p: _read(p.parent / "good.txt").evaluate_word_pairs(p),
        ("word.txt", "zeros.gz"),
    ),
    "analogies": (
        lambda p: _read(p.parent / "good.txt").evaluate_word_analogies(p),
        ("word.txt", "zeros.gz"),
    ),
    "model": (KeyedVectors.load, ("word.txt", "zeros.gz", "deep.safetensors")),
    "idx": (read_idx, ("shape.idx", "none.idx", "dimensions.idx", "zeros.gz", "zeros.idx.gz")),
    "load": (
        minitorch.load,
        [f"{name}.safetensors" for name in ("header", "deep", "shape", "none", "axes")],
    ),
    "workers": (lambda p: Word2Vec(corpus_file=p, workers=2), ("word.txt",)),
}


CASES = [(kind, name) for kind, (_, names) in BOMBS.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_bombs_are_refused(bombs, kind, name, monkeypatch):
    for module in ("text.io.files", "data.sources"):  # so that small ones will do
        monkeypatch.setattr(f"minitorch.{module}._UNPACKED", 1 << 24)
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, EOFError), match=name):
            BOMBS[kind][0](bombs / name)
        assert tracemalloc.get_traced_memory()[1] < 130_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", PACKERS)
def test_what_is_packed_well_is_no_bomb(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(PACKERS[suffix].compress(bytes(1 << 20)))
    with open_file(path) as file:
        assert file.read() == bytes(1 << 20)
    assert _UNPACKED > (1 << 20) > _RATIO * path.stat().st_size
    path.write_bytes(b"")
    with open_file(path) as file, pytest.raises(EOFError, match="it is empty"):
        file.read()


def test_a_long_line_is_cut_at_any_blank(tmp_path):
    path = tmp_path / "file"
    for blank in "\t", "\r", " ":
        path.write_bytes(f"word{blank}".encode() * 700_000)
        assert [*map(set, LineSentence(path, max_sentence_length=1 << 30))] == [{"word"}]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Word2Vec(ONE, vector_size=200_000_000), "vector_size: .* up to 524,288, got 2000"),
        (lambda: GloVe(ONE, vector_size=200_000_000), "vector_size: .* up to 524,288, got 2000"),
        (lambda: Word2Vec(ONE, window=10**9), "window=1000000000, .* GB of memory"),
        (lambda: Word2Vec(ONE, negative=10**9), "pool_size=.* GB of memory"),
        (lambda: Word2Vec(ONE, pool_size=10**10), "pool_size=10000000000 .* GB of memory"),
        (lambda: Word2Vec(ONE, block_size=10**9), "block_size=1000000000 .* GB of memory"),
    ],
)
def test_absurd_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("model", "tables"), [(Word2Vec, "vectors of 2 w"), (GloVe, "vectors of")])
def test_tables_that_the_machine_cannot_hold_are_refused(monkeypatch, model, tables):
    monkeypatch.setattr("os.sysconf", lambda name: 100)  # 10,000 bytes
    with pytest.raises(ValueError, match=f"{tables}.* GB of memory, of which this machine has 0.0"):
        model(ONE, vector_size=1000, min_count=1, **({"window": 1} if model is GloVe else {}))

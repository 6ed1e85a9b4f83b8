"""Damaged files, and what every reader of files makes of them.

    python -m tests.file_fuzz --cases 5000 --seed 0

Each case damages one file and reads it, in a process with little memory to spare. It is good if
what comes is right, or an OSError, EOFError or ValueError that names the file; from the command
line one line of error. Anything else is printed, and the exit status is 1: another exception (a
MemoryError among them), a reader that takes too long, a file that is cut short but read, or one
with a checksum that is read as something else.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import logging
import lzma
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minitorch
from minitorch import cli, files, nn, optim
from minitorch.backend.sim import build
from minitorch.data import read_idx
from minitorch.text import (
    LSA,
    Cooccurrence,
    Corpus,
    FrozenPhrases,
    GloVe,
    KeyedVectors,
    LineSentence,
    Phrases,
    Word2Vec,
    count_cooccurrences,
    encode,
)
from minitorch.text.io.vector_files import read_vectors
from minitorch.train import ClassifierConfig, train_classifier

REFUSALS = (OSError, EOFError, ValueError)
# What is wrong with what has been read: a word has become another one, a number infinite.
READ = ("is not among the", "has NaN or infinity in it")
SECONDS = 20  # for a case
MEMORY = 3 << 29  # bytes to spare
SENTENCES = [["the", "cat", "sat", "on", "the", "mat"], ["a", "dog", "ate", "the", "cat"]] * 20
TINY: dict[str, Any] = {"vector_size": 4, "min_count": 1, "epochs": 2, "seed": 1}
W2V: dict[str, Any] = {**TINY, "sample": 0, "workers": 1, "progress": False, "device": "cpu"}


class Hang(BaseException):
    """A reader took too long."""


@dataclass(frozen=True)
class Reader:
    """A good file and what reads it.

    write: writes it to a path. read: reads it; its result can be compared. name: of the file.
    whole: whether a part of it must be refused. checked: whether it is right if it is read.
    """

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    whole: bool = False
    checked: bool = False


# ---------------------------------------------------------------------- damages
def _part(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + 2 ** chance.randrange(8))


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _flip(data: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(data)
    near = chance.choice((len(data), min(len(data), 64)))  # headers are short
    for _ in range(chance.choice((1, 1, 4))):
        flipped[chance.randrange(near)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _zeros(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + bytes(end - start) + data[end:]


def _leave_out(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + data[end:]


def _twice(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 100)) + data[end:]


def _noise(data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(4 * len(data)))


def _numbers(data: bytes, chance: random.Random) -> bytes:
    """Another number where one stands as text."""
    places = list(re.finditer(rb"\d+", data))
    if not places:
        return _flip(data, chance)
    place = chance.choice(places)
    other = chance.choice(
        (b"1000000000", b"200000000", b"-1", b"0", b"1e999", b"NaN", b"null", b"9" * 5000)
    )
    return data[: place.start()] + other + data[place.end() :]


def _structure(data: bytes, chance: random.Random) -> bytes:
    """Other JSON where some stands."""
    places = list(re.finditer(rb'"[^"]*"|\[[^\[\]]*\]|\d+', data))
    if not places:
        return _flip(data, chance)
    place = chance.choice(places)
    other = chance.choice((b"[" * 50_000, b'{"a":' * 5000, b"[]", b"{}", b'""', b"true"))
    return data[: place.start()] + other + data[place.end() :]


DAMAGES = (
    *(_cut, _flip, _overwrite, _zeros, _leave_out, _twice, _noise, _numbers, _structure),
    lambda data, chance: b"",
)


# ---------------------------------------------------------------------- readers
def _idx(shape: tuple[int, ...]) -> bytes:
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return head + bytes(i % 251 for i in range(int(np.prod(shape))))


def _text() -> bytes:
    return "".join(" ".join(sentence) + "\n" for sentence in SENTENCES).encode()


def _values(loaded: Any) -> Any:
    """What was loaded, for a comparison."""
    if isinstance(loaded, minitorch.Tensor):
        return loaded.tolist()
    if isinstance(loaded, dict):
        return {key: _values(item) for key, item in loaded.items()}
    return [*map(_values, loaded)] if isinstance(loaded, (list, tuple)) else loaded


def _network() -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters())
    model(minitorch.ones(2, 3)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    return {**state, "history": [{"loss": 0.5, "epoch": 1}], "nan": float("nan")}


def _vectors(loaded: KeyedVectors) -> Any:
    return [loaded.index_to_key, loaded.tensor.tolist()]


def _command(*words: str) -> Callable[[Path], str]:
    """A command that is given the file where "FILE" stands; its last line if it refuses it."""

    def run(path: Path) -> str:
        given = [word.replace("FILE", str(path)).replace("OUT", str(path.parent)) for word in words]
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            status = cli.main(given)
        if status == 0:
            return out.getvalue()
        last = errors.getvalue().splitlines()[-1]
        if any(text in last for text in READ):
            return last
        if status == cli.EXIT_USER_ERROR and last.startswith("minitorch: error: "):
            raise ValueError(last)
        raise AssertionError(f"status {status}: {errors.getvalue()}")

    return run


def readers(folder: Path) -> Iterator[Reader]:
    """Every kind of file that is read; what they need besides is in the folder."""
    os.environ["XDG_CACHE_HOME"] = str(folder)
    model = Word2Vec(SENTENCES, **W2V)
    vectors = model.wv

    def binary(path: Path) -> None:
        vectors.save_word2vec_format(path, binary=True)

    def loaded(cls: Any, **options: Any) -> Callable[[Path], Any]:
        return lambda path: repr(cls.load(path, **options))

    # tensors
    yield Reader("a.safetensors", lambda p: minitorch.save(_network(), p), _load, whole=True)
    yield Reader("b.safetensors", lambda p: minitorch.save(_network(), p), _load_mapped, whole=True)
    # images
    for shape in ((3, 4, 5), (7,)):
        yield Reader("a.idx", lambda p, s=shape: p.write_bytes(_idx(s)), _read_idx, whole=True)
    packed = gzip.compress(_idx((3, 4, 5)))
    yield Reader("a.idx.gz", lambda p: p.write_bytes(packed), _read_idx, True, True)
    # vectors
    text = vectors.save_word2vec_format
    read = KeyedVectors.load_word2vec_format
    yield Reader("a.txt", text, lambda p: _vectors(read(p)))
    yield Reader("a.txt.gz", text, lambda p: _vectors(read(p)), True, True)
    yield Reader("a.bin", binary, lambda p: _vectors(read(p, binary=True)), whole=True)
    yield Reader("a.bin.xz", binary, lambda p: _vectors(read(p, binary=True)), True, True)
    yield Reader(
        "a.glove",
        lambda p: text(p, write_header=False),
        lambda p: _vectors(read(p, no_header=True)),
    )
    yield Reader("b.bin", binary, lambda p: _vectors(read_vectors(p)))
    yield Reader("b.txt", text, lambda p: vectors.intersect_word2vec_format(p))
    good = folder / "good.txt"
    text(good)
    yield Reader(
        "a.counts",
        lambda p: text(folder / "other.txt", fvocab=p),
        lambda p: _vectors(read(good, fvocab=p)),
    )
    # judgments
    yield Reader("a.pairs", _write_pairs, lambda p: vectors.evaluate_word_pairs(p))
    yield Reader("a.analogies", _write_analogies, lambda p: vectors.evaluate_word_analogies(p))
    # models
    hierarchical = Word2Vec(SENTENCES, **W2V, hs=1, sg=1, negative=0)
    glove = GloVe(SENTENCES, **TINY, progress=False)
    pairs = count_cooccurrences(SENTENCES)
    phrases = Phrases(SENTENCES, min_count=1, threshold=1)
    for saved in (model, hierarchical, vectors, glove, LSA(SENTENCES, 2), pairs, phrases):
        yield Reader("a.model", saved.save, loaded(type(saved)), whole=True)
    yield Reader("a.model", phrases.freeze().save, loaded(FrozenPhrases), whole=True)
    yield Reader("b.model", model.save, loaded(Word2Vec, mmap="r"), whole=True)
    yield Reader("b.model", model.save, loaded(KeyedVectors, mmap="r"), whole=True)
    yield Reader("a.model.gz", model.save, loaded(Word2Vec), True, True)
    yield Reader("a.model", pairs.save, loaded(Cooccurrence), whole=True)
    # checkpoints
    yield Reader(
        "a.run",
        lambda p: Word2Vec(SENTENCES, **W2V, checkpoint=p),
        lambda p: repr(Word2Vec(SENTENCES, **W2V, checkpoint=p, resume=True)),
        whole=True,
    )
    yield Reader(
        "b.run",
        lambda p: GloVe(SENTENCES, **TINY, progress=False, checkpoint=p),
        lambda p: repr(GloVe(SENTENCES, **TINY, progress=False, checkpoint=p, resume=True)),
        whole=True,
    )
    yield Reader("last.safetensors", _train, lambda p: _train(p, resume=True), True, True)
    yield Reader("last.safetensors", _train, _resume_alone, True, True)
    # corpora
    yield Reader("corpus", lambda p: p.write_bytes(_text()), lambda p: [*Corpus(p)])
    yield Reader("lines", lambda p: p.write_bytes(_text()), lambda p: [*LineSentence(p)])
    yield Reader(
        "wide",
        lambda p: p.write_bytes(_text().decode().encode("utf-16")),
        lambda p: [*Corpus(p, encoding="utf-16")],
    )
    for suffix, pack in ((".gz", gzip), (".bz2", bz2), (".xz", lzma)):
        data = pack.compress(_text())  # type: ignore[attr-defined]
        yield Reader(f"corpus{suffix}", lambda p, d=data: p.write_bytes(d), _corpus, True, True)
    # caches
    source = folder / "source.txt"
    source.write_bytes(_text())
    key = folder / "tokens"
    encode(Corpus(source), cache=key)
    (kept,) = key.iterdir()
    whole = kept.read_bytes()

    def encoded(path: Path) -> Any:
        kept.write_bytes(path.read_bytes())
        found = encode(Corpus(source), cache=key)
        return [found.words, found.tokens.tolist(), found.counts.tolist(), found.total]

    yield Reader("a.tokens", lambda p: p.write_bytes(whole), encoded, checked=True)

    def made(path: Path) -> dict[str, Any]:
        path.write_bytes(b"code")
        return {"a": [1]}

    def compiled(path: Path) -> Any:
        library, _ = build._cached("fuzz", made)
        library.with_suffix(".json").write_bytes(path.read_bytes())
        return build._cached("fuzz", made)

    def describe(path: Path) -> None:
        library, _ = build._cached("fuzz", made)
        path.write_bytes(library.with_suffix(".json").read_bytes())

    yield Reader("a.json", describe, compiled, checked=True)
    # commands
    train = ("train", "word2vec", "--quiet", "--vector-size", "4", "--min-count", "1", "--epochs")
    train += ("1", "--overwrite", "--out", "OUT/out", "--corpus")
    commands: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
        "c.txt": (text, ("vectors", "similar", "FILE", "cat")),
        "c.bin": (binary, ("vectors", "analogy", "FILE", "cat", "dog", "mat")),
        "c.glove": (text, ("vectors", "convert", "FILE", "OUT/converted.kv")),
        "c.safetensors": (vectors.save, ("vectors", "similar", "FILE", "cat")),
        "c.model": (model.save, ("vectors", "convert", "FILE", "OUT/converted.txt")),
        "c.kv": (vectors.save, ("projector", "FILE", "--out", "OUT/page.html")),
        "c.corpus": (lambda p: p.write_bytes(_text()), (*train, "FILE")),
        "c.corpus.gz": (lambda p: p.write_bytes(gzip.compress(_text())), (*train, "FILE")),
    }
    for name, (write, words) in commands.items():
        yield Reader(name, write, _command(*words))


def _load(path: Path) -> Any:
    return repr(_values(minitorch.load(path)))


def _load_mapped(path: Path) -> Any:
    return repr(_values(minitorch.load(path, mmap=True)))


def _read_idx(path: Path) -> Any:
    return read_idx(path).tolist()


def _train(path: Path, resume: bool = False) -> Any:
    config = ClassifierConfig("digits", (2,), epochs=1, batch_size=1000)
    found = train_classifier(
        config, path.parent, resume=resume, overwrite=not resume, progress=False
    )
    return _values([found.model.state_dict(), found.test_loss])


def _resume_alone(path: Path) -> Any:
    """Resume with no checkpoint before the last one."""
    files.forget_previous(path)
    return _train(path, resume=True)


def _corpus(path: Path) -> Any:
    return [*Corpus(path)]


def _write_pairs(path: Path) -> None:
    path.write_text("# judgments\ncat\tdog\t7.5\nmat\tcat\t1\nthe\ta\t3.25\nate\tsat\t4\n")


def _write_analogies(path: Path) -> None:
    path.write_text(": one\ncat dog mat the\n: two\nthe a cat sat\nate sat on mat\n")


# ---------------------------------------------------------------------- cases
def outcome(reader: Reader, path: Path, right: Any, cut: bool) -> str:
    """ "read", "refused", or what is wrong with how a damaged file was read."""
    signal.alarm(SECONDS)
    try:
        found = reader.read(path)
    except REFUSALS as error:
        told = f"{error} {getattr(error, 'filename', '')}"
        return "refused" if path.name in told else f"does not name the file: {error!r}"
    except Hang:
        return f"takes more than {SECONDS} s"
    except BaseException:
        return traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
    if (reader.checked or (cut and reader.whole)) and found != right:
        return "is read as something else than it was"
    return "read"


def _hang(*_: object) -> None:
    raise Hang


def run(cases: int, seed: int, only: str = "") -> Counter[str]:
    """Read so many damaged files; prints what went wrong. Returns how often each outcome came."""
    signal.signal(signal.SIGALRM, _hang)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known: list[tuple[Reader, bytes, Any, Path]] = []
        for i, reader in enumerate(readers(folder)):
            place = folder / str(i)
            place.mkdir()
            path = place / reader.name
            reader.write(path)
            known.append((reader, path.read_bytes(), reader.read(path), path))
        known = [row for row in known if only in row[0].name]
        _limit_memory()
        for case in range(cases):
            chance = random.Random(f"{seed} {case}")
            reader, whole, right, path = known[case % len(known)]
            damage = DAMAGES[chance.randrange(len(DAMAGES))]
            damaged = damage(whole, chance)
            path.write_bytes(damaged)
            found = outcome(reader, path, right, damaged != whole and whole.startswith(damaged))
            if found not in ("read", "refused"):
                kind = getattr(damage, "__name__", "")
                print(f"case {case} ({path.parent.name}/{reader.name}, {kind}): {found}")
                found = "bad"
            outcomes[found] += 1
    return outcomes


def _limit_memory() -> None:
    with open("/proc/self/statm") as pages:
        used = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the names of the files")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()  # what is told of caches that are made anew
    outcomes = run(args.cases, args.seed, args.only)
    print(", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())))
    return 1 if outcomes["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())

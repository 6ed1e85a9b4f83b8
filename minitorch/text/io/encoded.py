"""Corpora as numbers: read once, then held in a file that is mapped into memory."""

import hashlib
import json
import logging
import os
import reprlib
import struct
import tempfile
import time
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from minitorch.files import replacing
from minitorch.text.io.corpus import Corpus
from minitorch.text.options import integer
from minitorch.text.progress import Progress

__all__ = ["encode"]

Numbers = NDArray[np.int32]

logger = logging.getLogger(__name__)

_AT_ONCE = 1 << 20  # words that are held before they go to the file
_LOOKED_AT = 1 << 16  # words of a corpus that are looked at together
_LATELY = 1000  # sentences between two looks at the clock
_END = struct.Struct("<8sQI")  # last bytes of a token file: format, number of words, checksum
_FORMAT = b"minitok2"


@dataclass(frozen=True)
class Encoded:
    """A corpus as numbers, word after word.

    words: every distinct word, in order of first appearance. counts: int64, how often each occurs.
    tokens: int32 (n,), indices into `words`, of which the first of a sentence is stored as ~index;
        mapped from a file if there are many.
    count: number of sentences. total: number of words, with those that `words` lacks.
    """

    words: list[str]
    counts: NDArray[np.int64]
    tokens: Numbers
    count: int
    total: int

    def number(
        self, table: NDArray[np.int32], start: int = 0, end: int | None = None
    ) -> tuple[Numbers, Numbers]:
        """table[i] for the words i from `start` to `end`, and their sentences, both int32 (m,).

        Words with a negative entry are left out, so that their neighbours become adjacent.
        """
        part = np.asarray(self.tokens[start:end])
        begins = part < 0
        tokens = table[np.where(begins, ~part, part)] if len(table) else part
        known = tokens >= 0
        return tokens[known], np.cumsum(begins, dtype=np.int32)[known]

    def codes(self, table: NDArray[np.int32], start: int = 0, end: int | None = None) -> Numbers:
        """2 * table[i] for the words i from `start` to `end`, 1 more for the first of a sentence.

        int32 (m,), one for each word, also for those with a negative entry.
        """
        part = np.asarray(self.tokens[start:end])
        begins = part < 0
        tokens = table[np.where(begins, ~part, part)] if len(table) else part
        codes: Numbers = 2 * tokens + begins
        return codes

    @property
    def sentences(self) -> Numbers:
        """The number of the sentence that each token stands in, int32 (n,), from 1."""
        return np.cumsum(self.tokens < 0, dtype=np.int32)

    def has_pair(self, table: NDArray[np.int32]) -> bool:
        """Whether two words that `number` does not leave out stand in one sentence."""
        last = before = 0  # the sentence of the last of them, and how many have begun
        for start in range(0, len(self.tokens), _LOOKED_AT):
            _, sentences = self.number(table, start, start + _LOOKED_AT)
            sentences = np.concatenate([[last], sentences + before])
            if (sentences[1:] == sentences[:-1]).any():
                return True
            last = int(sentences[-1])
            before += int((self.tokens[start : start + _LOOKED_AT] < 0).sum())
        return False

    def with_counts(self, counts: Mapping[str, int]) -> "Encoded":
        """The same corpus with other counts of its words."""
        numbers = np.array([counts[word] for word in self.words], dtype=np.int64)
        return replace(self, counts=numbers)

    def fingerprint(self) -> str:
        """A number that changes with the words, their counts or the length of the corpus."""
        about = [self.words, self.counts.tolist(), self.count, len(self.tokens)]
        text = json.dumps(about, default=_told)
        return hashlib.sha256(text.encode()).hexdigest()


def from_frequencies(counts: Mapping[str, int], sentences: int = 0) -> Encoded:
    """A corpus of which only the counts are known, without tokens.

    Raises ValueError for a count that cannot be.
    """
    for word, count in counts.items():
        try:
            integer("word_freq", count, 0)
        except ValueError:
            raise ValueError(
                f"word_freq: expected whole numbers of at least 0, got {count!r} for {word!r}"
            ) from None
    numbers = np.array(list(counts.values()), dtype=np.int64)
    nothing = np.zeros(0, dtype=np.int32)
    return Encoded(list(counts), numbers, nothing, sentences, int(numbers.sum()))


def with_progress(
    sentences: Iterable[Sequence[str]], what: str, progress: bool | None
) -> Iterator[Sequence[str]]:
    """The sentences, while a bar shows how far they are, words/s and the time left.

    Of files it knows how many bytes there are, of lists how many sentences. Raises TypeError for
    what is not sentences, and if one of them is a string instead of a list of words.
    """
    size = sentences.size() if isinstance(sentences, Corpus) else 0
    corpus = sentences if isinstance(sentences, Corpus) and size else None
    total, unit = len(sentences) if isinstance(sentences, Sized) else None, " sentences"
    if corpus is not None:
        total, unit = size, "B"
    began, words = time.perf_counter(), 0
    with Progress(what, total, unit, progress) as shown:

        def show(done: int) -> None:
            rate = words / max(time.perf_counter() - began, 1e-9)
            shown.show(corpus.position() if corpus is not None else done, f"{rate:,.0f} words/s")

        number = 0
        for number, sentence in enumerate(_iterator(sentences), 1):
            if type(sentence) is not list:
                _check_sentence(number, sentence)
            yield sentence
            words += len(sentence)
            if number % _LATELY == 0:
                show(number)
        show(number)


def _iterator(sentences: object) -> Iterator[Any]:
    """An iterator over what may be sentences. Raises TypeError for what can be none."""
    if isinstance(sentences, Iterable) and not isinstance(sentences, str | bytes):
        return iter(sentences)
    raise TypeError(f"sentences: expected lists of words, got {reprlib.repr(sentences)}")


def _check_sentence(number: int, sentence: object) -> None:
    if isinstance(sentence, str):
        raise TypeError(
            f"sentences: expected lists of words, got the string {sentence[:40]!r}; "
            "split it first, e.g. with minitorch.text.tokenize"
        )
    if isinstance(sentence, bytes) or not isinstance(sentence, Sized):
        raise TypeError(
            f"sentences: expected lists of words, got {reprlib.repr(sentence)} as number {number}"
        )


def check_words(sentence: Iterable[object]) -> None:
    """Raise TypeError that names the first word that cannot be one, if there is such."""
    for word in sentence:
        try:
            hash(word)
        except TypeError as error:
            raise TypeError(
                f"sentences: {reprlib.repr(word)} in {reprlib.repr(sentence)} cannot be a word: "
                f"{error}"
            ) from None


def _told(word: object) -> object:
    """A word that JSON lacks, as it looks, whatever the order of a set."""
    return sorted(map(repr, word)) if isinstance(word, frozenset) else repr(word)


def encode(
    sentences: Iterable[Sequence[str]],
    progress: bool | None = False,
    *,
    words: Iterable[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Encoded:
    """Read sentences once and number their words, in bounded memory.

    sentences: lists of words; a generator will do. progress: show a bar (None: on a terminal).
    words: the words to number, where others are left out (None: all, as they appear).
    cache: folder in which the numbers of a `Corpus` of files are kept. They are found there again
        as long as paths, sizes and times of the files stay the same. Without it, what is longer
        than a million words goes to a temporary file, which goes away with the result.
    Raises TypeError if a sentence is a string instead of a list of words.
    """
    given = None if words is None else list(words)
    path = None if cache is None else _cached(sentences, given, Path(cache))
    if path is not None:
        try:
            return _open(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            logger.warning("%s: the corpus is read again", error)
        path.parent.mkdir(parents=True, exist_ok=True)
    opened = nullcontext() if path is None else replacing(path)
    with opened as unfinished, closing(_Writer(given, unfinished)) as writer:
        for sentence in with_progress(sentences, "reading", progress):
            writer.add(sentence)
        if path is None:
            return writer.result()
        writer.finish()
    return _open(path)


def _cached(sentences: object, words: list[str] | None, folder: Path) -> Path | None:
    """Where the token file of a corpus is, or None if it cannot be told from others."""
    content = sentences.fingerprint() if isinstance(sentences, Corpus) else None
    if content is None:
        return None
    key = hashlib.sha256(json.dumps([_FORMAT.decode(), content, words]).encode()).hexdigest()
    return folder / f"{key[:24]}.tokens"


class _Writer:
    """Numbers sentences; what does not fit into memory goes to a file."""

    def __init__(self, words: list[str] | None, path: Path | None) -> None:
        self.index: dict[str, int] = {}
        if words is None:
            growing: defaultdict[str, int] = defaultdict()
            growing.default_factory = growing.__len__  # a new word gets the next number
            self.index = growing
        else:
            self.index = {word: i for i, word in enumerate(words)}
        self.look: Callable[[str], Any] = (
            self.index.__getitem__ if words is None else lambda word: self.index.get(word, -1)
        )
        self.closed = words is not None
        self.tokens = array("i")
        self.counts = np.zeros(0, dtype=np.int64)
        self.count = self.total = self.written = self.checksum = 0
        self.path = path
        self.file: IO[bytes] | None = None if path is None else path.open("wb")

    def add(self, sentence: Sequence[str]) -> None:
        """Number one sentence."""
        start = len(self.tokens)
        numbers = map(self.look, sentence)
        try:
            self.tokens.extend(filter((-1).__ne__, numbers) if self.closed else numbers)
        except TypeError:
            check_words(sentence)
            raise
        if len(self.tokens) > start:
            self.tokens[start] = ~self.tokens[start]
        self.count += 1
        self.total += len(sentence)
        if len(self.tokens) >= _AT_ONCE:
            self._flush()

    def _numbers(self) -> Numbers:
        """The numbers that have not been written yet, counted."""
        numbers = np.array(self.tokens, dtype=np.int32)
        counts = np.bincount(np.where(numbers < 0, ~numbers, numbers), minlength=len(self.index))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        self.written += len(numbers)
        return numbers

    def _flush(self) -> None:
        if self.file is None:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._write(self.file, self._numbers().astype("<i4", copy=False).tobytes())
        del self.tokens[:]

    def _write(self, file: IO[bytes], data: bytes) -> None:
        """Write at once, and count it into the checksum. Raises OSError that names the file."""
        self.checksum = zlib.crc32(data, self.checksum)
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            folder = self.path or tempfile.gettempdir()
            raise OSError(error.errno, error.strerror, str(folder)) from None

    def finish(self) -> None:
        """Write the rest, and behind it what the numbers mean."""
        self._flush()
        assert self.file is not None
        about = [list(self.index), self.counts.tolist(), self.count, self.total]
        self._write(self.file, json.dumps(about).encode())
        checksum = zlib.crc32(b"%d" % self.written, self.checksum)
        self._write(self.file, _END.pack(_FORMAT, self.written, checksum))

    def result(self) -> Encoded:
        """The corpus, in memory or mapped from a file that has no name."""
        if self.file is None:
            tokens = self._numbers()
        else:
            self._flush()
            tokens = np.memmap(self.file, dtype="<i4", mode="r")
        return Encoded(list(self.index), self.counts, tokens, self.count, self.total)

    def close(self) -> None:
        """Close the file; what is mapped stays."""
        if self.file is not None:
            with suppress(OSError):  # of a write that failed, and told so
                self.file.close()


def _open(path: Path) -> Encoded:
    """Map a token file. Raises ValueError if it is not one, or not as it was written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _END.size
        file.seek(max(0, size))
        form, length, checksum = _END.unpack(file.read()) if size >= 0 else (b"", 0, 0)
        whole = form == _FORMAT and 4 * length <= size
        if not whole or zlib.crc32(b"%d" % length, _crc(file, size)) != checksum:
            raise ValueError(f"{path}: it is damaged, or no token file")
        file.seek(4 * length)
        words, counts, count, total = json.loads(file.read(size - 4 * length))
    tokens = (
        np.memmap(path, dtype="<i4", mode="r", shape=(length,))
        if length
        else np.zeros(0, dtype=np.int32)
    )
    return Encoded(words, np.array(counts, dtype=np.int64), tokens, count, total)


def _crc(file: IO[bytes], size: int) -> int:
    """The checksum of the first bytes of a file."""
    file.seek(0)
    checksum = 0
    for start in range(0, size, _AT_ONCE):
        checksum = zlib.crc32(file.read(min(_AT_ONCE, size - start)), checksum)
    return checksum

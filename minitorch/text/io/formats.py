"""Files of word vectors: word2vec.c's text and binary, GloVe's text, the Embedding Projector's."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from tqdm import tqdm

from minitorch.core.dtypes import float64
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.text.io.files import DAMAGED, open_file, replacing, said_with
from minitorch.text.options import LONGEST_VECTOR
from minitorch.text.progress import hidden
from minitorch.text.vector_table import Key

_ROWS_AT_ONCE = 1024
_BYTES_AT_ONCE = 1 << 20
_LONGEST_KEY = 1 << 16  # bytes: with more and no blank it is no such file
_LONGEST_HEADER = 100  # bytes
_LONGEST_LINE = 1 << 24  # bytes of a key and its vector as text
_LONGEST_COUNT = 1 << 17  # bytes of a key and its count
_ENDS_KEY = re.compile("[ \n]")
_DIGITS = 18  # of a count: it has 64 bits
_KEY_AND_COUNT = re.compile(rb"(.*)[ \t](\d+)\s*", re.DOTALL)
_BREAKS_TABLE = re.compile("[\t\r\n]")


class Read(NamedTuple):
    """The contents of a file of vectors: keys, and their numbers one vector after the other."""

    keys: list[str]
    numbers: array[float]
    size: int  # numbers to a vector


# ---------------------------------------------------------------------- writing
def write_word2vec(
    path: Path,
    keys: Sequence[Key],
    vectors: Tensor,
    order: Sequence[int],
    *,
    binary: bool = False,
    header: str | None = None,
    prefix: str = "",
    append: bool = False,
    progress: bool | None = None,
) -> None:
    """Write the format of word2vec.c and gensim: a header, then a key and its vector each.

    vectors: (len(keys), D). order: the rows, as they are to stand in the file. Text gives a
    float32 nine digits and a float64 all it needs, so that it is read as what it was; binary
    files hold float32. Raises ValueError for a key with a blank or a line end, which would end
    it in the file.
    """
    codes = [_encode(prefix, key, path) for key in keys]
    lines = _binary_rows if binary else _text_rows
    bar = tqdm(total=len(order), unit=" vectors", disable=hidden(progress))
    with replacing(path, append) as file, bar:
        if header is not None:
            file.write(f"{header}\n".encode())
        for start in range(0, len(order), _ROWS_AT_ONCE):
            rows = order[start : start + _ROWS_AT_ONCE]
            part = vectors[tensor(list(rows), device=vectors.device)]
            file.writelines(codes[i] + b" " + line for i, line in zip(rows, lines(part)))
            bar.update(len(rows))


def _encode(prefix: str, key: Key, path: Path) -> bytes:
    if not isinstance(key, str | int):
        raise ValueError(
            f"{path}: the word2vec format holds strings (and integers as such), not the key "
            f"{key!r}: use save"
        )
    written = f"{prefix}{key}"
    if _ENDS_KEY.search(written):
        raise ValueError(
            f"{path}: the word2vec format cannot hold the key {key!r}: a blank or a line end is "
            "where a key ends; write it in another way (new_york), or use save"
        )
    try:
        return written.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path}: the key {key!r} cannot be written as UTF-8: {error}") from None


def _binary_rows(vectors: Tensor) -> Iterator[bytes]:
    for row in vectors.float().cpu().numpy().astype("<f4"):
        yield row.tobytes()


def _text_rows(vectors: Tensor) -> Iterator[bytes]:
    number = "%r" if vectors.dtype is float64 else "%.9g"
    line = " ".join([number] * vectors.shape[1]) + "\n"
    for row in vectors.tolist():
        yield (line % tuple(row)).encode()


def write_counts(
    path: Path, keys: Sequence[Key], counts: Sequence[Any], prefix: str = "", append: bool = False
) -> None:
    """Write a key and its count on each line, as word2vec.c's -save-vocab does."""
    with replacing(path, append) as file:
        for key, count in zip(keys, counts):
            file.write(_encode(prefix, key, path) + f" {count}\n".encode())


def write_projector(
    folder: Path, keys: Sequence[Key], vectors: Tensor, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Write vectors.tsv and metadata.tsv for the TensorFlow Embedding Projector.

    columns: more about each key; with any, a line of names comes first, as the projector
    demands. Raises ValueError for a key with a tab or a line end.
    """
    for key in keys:
        if _BREAKS_TABLE.search(str(key)):
            raise ValueError(f"{folder}: a table cannot hold the key {key!r}: tab or line end")
    folder.mkdir(parents=True, exist_ok=True)
    rows: Iterator[tuple[Any, ...]] = zip(keys, *columns.values())
    with replacing(folder / "metadata.tsv") as file:
        if columns:
            file.write(_tabbed(("key", *columns)))
        file.writelines(map(_tabbed, rows))
    with replacing(folder / "vectors.tsv") as file:
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            lines = _text_rows(vectors[start : start + _ROWS_AT_ONCE])
            file.writelines(line.replace(b" ", b"\t") for line in lines)


def _tabbed(row: Sequence[Any]) -> bytes:
    return ("\t".join(map(str, row)) + "\n").encode()


# ---------------------------------------------------------------------- reading
FileSelf = TypeVar("FileSelf", bound="_File")


class _File:
    """A file that is read, plain or compressed: what is wrong with it is said with its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] = open_file(path)

    def __enter__(self: FileSelf) -> FileSelf:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self, size: int = _BYTES_AT_ONCE) -> bytes:
        return self._try(self.file.read, size)

    def readline(self, size: int = -1) -> bytes:
        return self._try(self.file.readline, size)

    def _try(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except EOFError as error:
            raise EOFError(f"{self.path}: cut short: {error}") from error
        except DAMAGED as error:
            raise ValueError(f"{self.path}: damaged, or not {self.path.suffix}: {error}") from error


def guess(path: Path) -> str:
    """Which format a file seems to be in, by its first lines: "word2vec" (text), "word2vec-binary"
    or, if it has no header, "glove".
    """
    with _File(path) as file:
        header, line = file.readline(_LONGEST_HEADER).split(), file.readline(_BYTES_AT_ONCE)
    if len(header) != 2 or not all(map(bytes.isdigit, header)):
        return "glove"
    count, size = map(int, header)
    numbers = line.rstrip().split(b" ")[1:][-size:]
    is_text = not count or (len(numbers) == size and all(map(_is_number, numbers)))
    return "word2vec" if is_text else "word2vec-binary"


def read_word2vec(
    path: Path,
    *,
    binary: bool = False,
    no_header: bool = False,
    limit: int | None = None,
    encoding: str = "utf8",
    unicode_errors: str = "strict",
    double: bool = False,
    progress: bool | None = None,
) -> Read:
    """Read the format of word2vec.c and gensim, or (no_header) of GloVe.

    limit: read so many of the first vectors only. double: keep a text's numbers as float64.
    In text a key may have blanks, as some of GloVe's have, if what follows them is no number, and
    the last line need not have an end: a file that is cut short within its last number cannot be
    told from one that is whole.
    Raises ValueError for a wrong header, line or key and for vectors that the header does not
    count, EOFError for a file that is cut short; they name the line or the byte.
    """
    if binary and no_header:
        raise ValueError("load_word2vec_format: no_header is for text files only")
    with _Word2VecFile(path, encoding, unicode_errors, double and not binary) as file:
        if not no_header:
            file.read_header()
        total = min((n for n in (file.count, limit or None) if n is not None), default=None)
        with tqdm(total=total, unit=" vectors", disable=hidden(progress)) as bar:
            rest = file.read_binary(total or 0, bar) if binary else file.read_text(total, bar)
        if not limit and (rest + file.read()).strip():
            raise ValueError(
                f"{path}: line 1 counts {total} vectors of {file.size} numbers, but more follows: "
                "is that wrong? limit= reads so many and no more"
            )
        return Read(file.keys, file.numbers, file.size)


class _Word2VecFile(_File):
    """The part of a file of vectors that has been read: `keys` and their `numbers`."""

    def __init__(self, path: Path, encoding: str, unicode_errors: str, double: bool) -> None:
        super().__init__(path)
        self.encoding, self.unicode_errors = encoding, unicode_errors
        self.keys: list[str] = []
        self.numbers = array("d" if double else "f")
        self.count: int | None = None  # vectors, and numbers to a vector: from the header
        self.size = 0

    def read_header(self) -> None:
        line = self.readline(_LONGEST_HEADER)
        try:
            self.count, self.size = map(int, line.split())
        except ValueError:
            raise ValueError(
                f"{self.path}: line 1 should say 'vectors dimensions', got {line[:40]!r}; GloVe's "
                "text files have no such line: no_header=True reads them"
            ) from None
        if self.count < 0 or not 0 < self.size <= LONGEST_VECTOR:
            raise ValueError(
                f"{self.path}: line 1: cannot hold {self.count} vectors of {self.size} dimensions "
                f"(at most {LONGEST_VECTOR:,})"
            )

    def read_text(self, total: int | None, bar: Any) -> bytes:
        """Read so many lines, or all; without a header the first says how long a vector is."""
        before = 1 if self.count is None else 2  # the number of the first vector's line
        while total is None or len(self.keys) < total:
            line = self.readline(_LONGEST_LINE)
            if not line and self.count is None:
                break
            position = f"line {before + len(self.keys)}"
            if len(line) == _LONGEST_LINE:
                raise ValueError(f"{self.path}: {position} is too long for a key and a vector")
            try:
                key = self._read_line(line, position)
            except ValueError as error:
                if line.endswith(b"\n") or isinstance(error, UnicodeDecodeError):
                    raise
                raise self._short(position) from error
            self.keys.append(key)
            bar.update()
        if not self.size:
            raise ValueError(f"{self.path}: there is no vector in it")
        return b""

    def _read_line(self, line: bytes, position: str) -> str:
        """Take the numbers of a line, and return its key."""
        parts = line.rstrip().split(b" ")
        self.size = self.size or len(parts) - 1
        split = len(parts) - self.size  # the numbers begin here
        if not 0 < self.size <= LONGEST_VECTOR or split < 1 or any(map(_is_number, parts[1:split])):
            raise ValueError(
                f"{self.path}: {position}: {len(parts) - 1} numbers after the key, expected "
                f"{self.size or 'at least one'}"
            )
        key = self._decode(b" ".join(parts[:split]), position)
        try:
            numbers = [*map(float, parts[split:])]
        except ValueError as error:
            raise ValueError(f"{self.path}: {position}: {error}") from None
        self.numbers.extend(numbers)
        return key

    def read_binary(self, total: int, bar: Any) -> bytes:
        """Read so many vectors; returns bytes behind them that have been read, too."""
        length = 4 * self.size
        buffer, offset, end = b"", 0, -1
        before = self.file.tell()  # bytes before the buffer
        for _ in range(total):
            end = buffer.find(b" ", offset)
            while end < 0 or len(buffer) < end + 1 + length:
                more = self.read()
                if not more or (end < 0 and len(buffer) - offset > _LONGEST_KEY):
                    raise self._short(f"byte {before + len(buffer)}")
                before += offset
                buffer, offset = buffer[offset:] + more, 0
                end = buffer.find(b" ")
            # word2vec.c ends a vector with \n, which stands before the next key
            key = buffer[offset:end].lstrip(b"\n")
            self.keys.append(self._decode(key, f"byte {before + offset}"))
            offset = end + 1 + length
            self.numbers.frombytes(buffer[end + 1 : offset])
            bar.update()
        if sys.byteorder == "big":
            self.numbers.byteswap()
        return buffer[offset:]

    def _decode(self, key: bytes, position: str) -> str:
        try:
            return key.decode(self.encoding, self.unicode_errors)
        except UnicodeDecodeError as error:
            raise said_with(
                error,
                f"{self.path}: {position}: the key {key[:40]!r} is not {self.encoding} "
                f"({error.reason}); give its encoding=, or unicode_errors='replace'; or are the "
                "dimensions in line 1, or binary=, wrong?",
            ) from None

    def _short(self, position: str) -> EOFError:
        found = f"{len(self.keys)} vectors up to {position}"
        if self.count is None:
            return EOFError(f"{self.path}: cut short: {found}")
        return EOFError(
            f"{self.path}: cut short, or line 1 is wrong: {found}, expected {self.count}"
        )


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_counts(
    path: Path, encoding: str = "utf8", unicode_errors: str = "strict"
) -> dict[str, int]:
    """Read a key and its count from each line. Raises ValueError that names a wrong line."""
    counts: dict[str, int] = {}
    with _File(path) as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST_COUNT), b""), 1):
            parts = _KEY_AND_COUNT.fullmatch(line)
            if parts is None or len(parts[2]) > _DIGITS:
                raise ValueError(
                    f"{path}: line {number} should have a key and its count, got {line[:40]!r}"
                )
            try:
                counts[parts[1].decode(encoding, unicode_errors)] = int(parts[2])
            except UnicodeDecodeError as error:
                reason = f"{path}: line {number}: the key {parts[1]!r}: {error}"
                raise said_with(error, reason) from None
    return counts

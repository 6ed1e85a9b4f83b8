"""Files, plain or compressed: how they are opened, read, and replaced in one step."""

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, AnyStr

from minitorch import files

OnFile = Callable[[Path, IO[bytes] | None], object]

_OPENERS: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".dz": gzip.open,  # dictzip: gzip with an index in its header
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
COMPRESSED = tuple(_OPENERS)  # suffixes of files that are
# The errors of reading a file whose suffix is wrong; EOFError where the file is cut short.
DAMAGED = (zlib.error, lzma.LZMAError, OSError)
_LONGEST = 1 << 20  # bytes of a line, past which it is cut
_LONGEST_WORD = 1 << 24  # bytes without a blank, past which it is no text
# The bound on an unpacked file: so many bytes, or so many times its size if that is more.
_UNPACKED, _RATIO = 1 << 28, 200
_BUFFER = 1 << 16  # bytes
_BLANKS = (" ", "\t", "\r")  # where a long line is cut
_LOOKED_AT = 8192  # bytes of a text, in which a NUL says that it is none
# Kinds of files that are not text in UTF-8, by their first bytes.
_MARKS = {
    codecs.BOM_UTF32_LE: "a text in UTF-32 (encoding='utf-32')",
    codecs.BOM_UTF16_LE: "a text in UTF-16 (encoding='utf-16')",
    codecs.BOM_UTF16_BE: "a text in UTF-16 (encoding='utf-16')",
    b"\x1f\x8b": "a gzip file, whose name has to end in .gz",
    b"BZh": "a bzip2 file, whose name has to end in .bz2",
    b"\xfd7zXZ": "an xz file, whose name has to end in .xz",
    b"PK\x03\x04": "a zip file, to be unpacked first",
}


def open_file(
    path: Path, mode: str = "rb", raw: IO[bytes] | None = None, **options: Any
) -> IO[Any]:
    """`open` for plain and compressed files, by the suffix: .gz, .dz, .bz2 or .xz.

    raw: the file itself, where it is open already. Reading raises ValueError where a small file
    becomes a huge one (a "bomb").
    """
    opener = _OPENERS.get(path.suffix)
    if opener is None:
        return path.open(mode, **options) if raw is None else raw
    if "r" not in mode:
        return opener(path if raw is None else raw, mode, **options)
    file = io.BufferedReader(_Unpacked(path, opener(path if raw is None else raw, "rb")), _BUFFER)
    return io.TextIOWrapper(file, **options) if "t" in mode else file


class _Unpacked(io.RawIOBase):
    """The contents of a compressed file, as long as they are in proportion to it."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file, self._read = path, file, 0
        self._size = path.stat().st_size
        self._most = max(_UNPACKED, _RATIO * self._size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._size:  # which gzip takes for the end of many files
            raise EOFError("it is empty")
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._read += count
        if self._read > self._most:
            raise ValueError(
                f"{self._path}: it becomes more than {self._most:,} bytes, more than {_RATIO} "
                "times its size: unpack it first if that is right"
            )
        return count

    def tell(self) -> int:
        return self._read

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def replacing(path: Path, append: bool = False, keep: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to that appears under its name only when it is complete.

    append: it begins with what stands there already. keep: that stays as NAME.previous.
    """
    with files.replacing(path, keep) as unfinished:
        if append and path.exists():
            shutil.copyfile(path, unfinished)
        with open_file(unfinished, "ab" if append else "wb") as file:
            yield file


def read_lines(
    path: Path, encoding: str = "utf-8", errors: str = "strict", on_file: OnFile | None = None
) -> Iterator[str]:
    """Lines of a text file, plain or compressed; a byte order mark at its beginning is left out.

    on_file is called with the path and the open file, whose position tells how far it is read.
    Raises ValueError, with the number of the line, if the file is cut short, is not what its
    suffix says, has bytes that are not of the encoding (unless `errors` says otherwise), a NUL
    among its first ones, or 16 MiB with neither blank nor line end.
    """
    by_line = is_by_line(encoding)
    line, offset, head = 1, 0, b""
    try:
        with path.open("rb") as raw:
            if on_file is not None:
                on_file(path, raw)
            with open_file(path, raw=raw) as file:
                if not by_line:
                    file = io.TextIOWrapper(file, encoding, errors, newline="\n")
                for data in pieces(file):
                    text = data.decode(encoding, errors) if by_line else data
                    if offset == 0:
                        head, text = data[:8] if by_line else b"", text.removeprefix("\ufeff")
                    if offset < _LOOKED_AT and "\0" in text:
                        raise ValueError(f"{path}: line {line} has a NUL byte: {_what(head)}")
                    yield text
                    line += text.endswith("\n")
                    offset += len(data)
    except EndlessWordError as error:
        raise ValueError(f"{path}: line {line} {error}: {_what(head)}") from None
    except UnicodeDecodeError as error:
        whole = undecodable(path, error, line, offset)
        raise ValueError(f"{whole}: {_what(head or error.object[:8])}") from error
    except UnicodeError as error:  # which does not say where, as of a byte order mark
        raise ValueError(f"{path}: line {line} is not {encoding}: {error}: {_what(head)}") from None
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (EOFError, *DAMAGED) as error:
        raise ValueError(f"{path}: damaged or cut short after line {line - 1}: {error}") from error


def is_by_line(encoding: str) -> bool:
    """Whether a text of this encoding can be cut into lines before it is decoded.

    Raises ValueError if there is no such encoding.
    """
    try:
        return "\n".encode(encoding) == b"\n"
    except LookupError as error:
        raise ValueError(f"encoding: {error}") from None


def _what(head: bytes) -> str:
    """The likely kind of a file that is no text of the expected encoding, by its first bytes."""
    for mark, what in _MARKS.items():
        if head.startswith(mark):
            return f"it is {what}"
    return "it is no text, or one in another encoding (encoding='latin-1', 'utf-16-le', ...)"


class EndlessWordError(ValueError):
    """A text has no blank for too long."""


def pieces(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Lines of an open file, text or bytes; one of more than a mebibyte is cut at blanks.

    Raises ValueError for 16 MiB without any.
    """
    rest: Any = file.read(0)  # empty, of the file's type
    end: Any = "\n" if isinstance(rest, str) else b"\n"
    blanks: Any = _BLANKS if isinstance(rest, str) else [blank.encode() for blank in _BLANKS]
    while data := file.readline(_LONGEST):
        if not rest and len(data) < _LONGEST:
            yield data
            continue
        data = rest + data
        cut = len(data) if data.endswith(end) else max(map(data.rfind, blanks)) + 1
        if len(data) < _LONGEST:
            cut = len(data)
        if not cut and len(data) > _LONGEST_WORD:
            raise EndlessWordError(f"has no blank in {len(data):,} bytes")
        rest = data[cut:]
        if cut:
            yield data[:cut]
    if rest:
        yield rest


def said_with(error: UnicodeDecodeError, reason: str) -> UnicodeDecodeError:
    """The same error with another reason. (It is a ValueError.)"""
    return UnicodeDecodeError(error.encoding, error.object, error.start, error.end, reason)


def undecodable(
    path: Path, error: UnicodeDecodeError, line: int = 1, offset: int = 0
) -> ValueError:
    """The error for bytes that are no text, with their position.

    line, offset: the line of the file and the byte at which the undecodable text begins.
    """
    held, start = error.object, error.start
    line += held.count(b"\n", 0, start)
    return ValueError(
        f"{path}: line {line} is not {error.encoding}: byte "
        f"{held[start]:#04x} at offset {offset + start} of the text ({error.reason})"
    )

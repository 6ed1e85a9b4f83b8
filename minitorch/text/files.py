"""Files, plain or compressed: how they are opened, and how they are replaced in one step."""

import bz2
import gzip
import lzma
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_OPENERS: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".dz": gzip.open,  # dictzip: gzip with an index in its header
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
COMPRESSED = tuple(_OPENERS)  # suffixes of files that are
# What reading raises where a file is not what its suffix says; EOFError where it is cut short.
DAMAGED = (zlib.error, lzma.LZMAError, OSError)


def open_file(
    path: Path, mode: str = "rb", raw: IO[bytes] | None = None, **options: Any
) -> IO[Any]:
    """`open` for plain and compressed files, by the suffix: .gz, .dz, .bz2 or .xz.

    raw: the file itself, where it is open already.
    """
    opener = _OPENERS.get(path.suffix)
    if opener is not None:
        return opener(path if raw is None else raw, mode, **options)
    return path.open(mode, **options) if raw is None else raw


@contextmanager
def replacing(path: Path, append: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to that appears under its name only when it is complete.

    append: it begins with what stands there already.
    """
    unfinished = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        if append and path.exists():
            shutil.copyfile(path, unfinished)
        with open_file(unfinished, "ab" if append else "wb") as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.remove(unfinished)
        raise


def said_with(error: UnicodeDecodeError, reason: str) -> UnicodeDecodeError:
    """The same error with another reason. (It is a ValueError.)"""
    return UnicodeDecodeError(error.encoding, error.object, error.start, error.end, reason)


def undecodable(path: Path, error: UnicodeDecodeError, line: int = 1, place: int = 0) -> ValueError:
    """What to raise for bytes that are no text: it says where they are.

    line, place: at which line of the file and which byte what could not be decoded begins.
    """
    held, start = error.object, error.start
    line += held.count(b"\n", 0, start)
    return ValueError(
        f"{path}: line {line} is not {error.encoding}: byte "
        f"{held[start]:#04x} at offset {place + start} of the text ({error.reason})"
    )

"""Text corpora: where sentences come from, and sentences as numbers."""

import ast
import json
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from itertools import chain, groupby, islice
from pathlib import Path
from typing import IO, NamedTuple

from minitorch.text.files import DAMAGED, open_file, undecodable

Tokenizer = Callable[[str], list[str]]
OnFile = Callable[[Path, IO[bytes] | None], object]

_WORD = re.compile("[a-z]+")
_BLANK_LINES = re.compile(r"\n\s*\n")
_LONGEST = 1 << 20  # bytes of a line, past which it is cut


def tokenize(text: str) -> list[str]:
    """Words of a text: the runs of a to z after lower-casing."""
    return _WORD.findall(text.lower())


class Corpus:
    """Sentences of a source, each a list of words; can be iterated any number of times.

    source: one of SOURCES ("gcide", "wordnet", "stdlib"), several joined by "+"
        ("gcide+wordnet"), or the path of a UTF-8 text file with a sentence on each line
        (plain, .gz, .bz2 or .xz), or of a folder of such files, which are read in the order of
        their names, those of folders in it as well; hidden ones are not.
    tokenizer: turns the text of a sentence into words. With `str.split` a file is read as
        gensim's LineSentence reads it.

    A line of more than a mebibyte is cut at a blank and becomes several sentences.
    Raises FileNotFoundError if there is no such source or file; while iterating, ValueError
    if a file is damaged or is not UTF-8.
    """

    def __init__(self, source: str | Path, tokenizer: Tokenizer = tokenize) -> None:
        self.source = str(source)
        self.tokenizer = tokenizer
        names = self.source.split("+")
        self._names = names if all(name in SOURCES for name in names) else []
        if not self._names and not Path(source).exists():
            raise FileNotFoundError(
                f"corpus {self.source!r}: no such file, nor a source ({', '.join(SOURCES)})"
            )
        if not self._names and not self.files():
            raise FileNotFoundError(f"corpus {self.source!r}: the folder has no file")
        self._rewind()

    def __iter__(self) -> Iterator[list[str]]:
        self._rewind()
        return filter(None, map(self.tokenizer, self._texts()))

    def _texts(self) -> Iterator[str]:
        if not self._names:
            for path in self.files():
                yield from read_lines(path, on_file=self._begun)
        for name in self._names:
            yield from SOURCES[name].read(self._begun)

    def files(self) -> list[Path]:
        """The files that the sentences come from, in order."""
        if self._names:
            return [path for name in self._names for path in SOURCES[name].files()]
        root = Path(self.source)
        if not root.is_dir():
            return [root]
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        return [p for p in found if not any(s.startswith(".") for s in p.relative_to(root).parts)]

    def size(self) -> int:
        """Bytes of the files, as they are on disk."""
        return sum(path.stat().st_size for path in self.files())

    def position(self) -> int:
        """How many of these bytes have been read by now."""
        reading = self._file is not None and not self._file.closed
        here = self._file.tell() if reading and self._file else self._path.stat().st_size
        return self._before + here

    def _rewind(self) -> None:
        self._before, self._path = 0, Path(os.devnull)
        self._file: IO[bytes] | None = None

    def _begun(self, path: Path, file: IO[bytes] | None) -> None:
        self._before += self._path.stat().st_size
        self._path, self._file = path, file

    def fingerprint(self) -> str | None:
        """What says whether the sentences are still the same: of files path, size and time.

        None for a tokenizer that has no name of its own.
        """
        name = getattr(self.tokenizer, "__qualname__", "<")
        if "<" in name:
            return None
        files = []
        for path in self.files():
            stat = path.stat()
            files.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
        module = getattr(self.tokenizer, "__module__", None)
        return json.dumps([files, self._names, module, name])

    def __repr__(self) -> str:
        return f"Corpus({self.source!r})"


class LineSentence(Corpus):
    """A text file, or a folder of them, with a sentence on each line and words between blanks.

    That is what gensim's LineSentence and PathLineSentences are. max_sentence_length: a longer
    line becomes several sentences. limit: so many of the first lines only (of all files together).
    """

    def __init__(
        self, source: str | Path, max_sentence_length: int = 10_000, limit: int | None = None
    ) -> None:
        super().__init__(source, tokenizer=str.split)
        self.max_sentence_length, self.limit = max_sentence_length, limit

    def __iter__(self) -> Iterator[list[str]]:
        self._rewind()
        for words in map(self.tokenizer, islice(self._texts(), self.limit)):
            for start in range(0, len(words), self.max_sentence_length):
                yield words[start : start + self.max_sentence_length]

    def fingerprint(self) -> str | None:
        return json.dumps([super().fingerprint(), self.max_sentence_length, self.limit])


def hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable` for: show a bar, do not, or (None) do where stderr is a terminal."""
    return None if progress is None else not progress


def read_lines(path: Path, errors: str = "strict", on_file: OnFile | None = None) -> Iterator[str]:
    """Lines of a UTF-8 text file, plain or compressed (by its suffix: .gz, .dz, .bz2, .xz).

    on_file is called with the path and the open file, whose place tells how far it is read.
    Raises ValueError, with the number of the line, if the file is cut short, is not what its
    suffix says, or has bytes that are not UTF-8 (unless `errors` says otherwise).
    """
    line, place = 1, 0
    try:
        with path.open("rb") as raw:
            if on_file is not None:
                on_file(path, raw)
            with open_file(path, raw=raw) as file:
                for data in _pieces(file):
                    yield data.decode("utf-8", errors)
                    line += data.endswith(b"\n")
                    place += len(data)
    except UnicodeDecodeError as error:
        raise undecodable(path, error, line, place) from error
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (EOFError, *DAMAGED) as error:
        raise ValueError(f"{path}: damaged or cut short after line {line - 1}: {error}") from error


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Lines; one that is very long is cut at blanks."""
    rest = b""
    while data := file.readline(_LONGEST):
        if not rest and len(data) < _LONGEST:
            yield data
            continue
        data = rest + data
        cut = len(data) if data.endswith(b"\n") else data.rfind(b" ") + 1
        if len(data) < _LONGEST:
            cut = len(data)
        rest = data[cut:]
        if cut:
            yield data[:cut]
    if rest:
        yield rest


def _find(package: str, folder: str, file: str) -> Path:
    """Path of a file that a Debian package brings, or a copy of it in $MINITORCH_DATA."""
    own = os.environ.get("MINITORCH_DATA")
    places = [Path(place) for place in (own, folder) if place]
    for place in places:
        if (place / file).is_file():
            return place / file
    raise FileNotFoundError(
        f"{file} is not in {' or '.join(map(str, places))}: install the Debian package {package} "
        f"(apt install {package}), or put the file into the folder $MINITORCH_DATA"
    )


def _gcide_files() -> list[Path]:
    return [_find("dict-gcide", "/usr/share/dictd", "gcide.dict.dz")]


def _gcide(on_file: OnFile) -> Iterator[str]:
    """Paragraphs of the GNU Collaborative International Dictionary of English."""
    (path,) = _gcide_files()
    for blank, lines in groupby(read_lines(path, "replace", on_file), key=str.isspace):
        if not blank:
            yield "".join(lines)


def _wordnet_files() -> list[Path]:
    parts = ("noun", "verb", "adj", "adv")
    return [_find("wordnet-base", "/usr/share/wordnet", f"data.{part}") for part in parts]


def _wordnet(on_file: OnFile) -> Iterator[str]:
    """First lemma and gloss of each synonym set of WordNet (format: wndb(5WN))."""
    for path in _wordnet_files():
        for line in read_lines(path, on_file=on_file):
            if not line.startswith("  "):  # the licence
                entry, _, gloss = line.partition("|")
                yield f"{entry.split()[4]} {gloss}"


_CODE = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NO_PROSE = {"idlelib", "lib2to3", "turtledemo", "test", "tests", "site-packages", "encodings"}


def _stdlib(on_file: OnFile) -> Iterator[str]:
    """Paragraphs of the language's help topics and of the standard library's docstrings."""
    from pydoc_data.topics import topics

    for text in chain(topics.values(), _docstrings(on_file)):
        yield from _BLANK_LINES.split(text)


def _docstrings(on_file: OnFile) -> Iterator[str]:
    for path in _stdlib_files():
        on_file(path, None)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, _CODE):
                yield ast.get_docstring(node) or ""


def _stdlib_files() -> list[Path]:
    files: list[Path] = []
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in sorted(sys.stdlib_module_names - _NO_PROSE):
        module = root / f"{name}.py"
        paths = [module] if module.is_file() else sorted((root / name).rglob("*.py"))
        files += [path for path in paths if _NO_PROSE.isdisjoint(path.parts)]
    return files


class Source(NamedTuple):
    """A source that has a name: its files, and the texts of its sentences."""

    files: Callable[[], list[Path]]
    read: Callable[[OnFile], Iterator[str]]


SOURCES = {
    "gcide": Source(_gcide_files, _gcide),
    "wordnet": Source(_wordnet_files, _wordnet),
    "stdlib": Source(_stdlib_files, _stdlib),
}

"""Text corpora: where sentences come from, and sentences as numbers."""

import ast
import bz2
import gzip
import lzma
import os
import re
import sys
import sysconfig
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

Tokenizer = Callable[[str], list[str]]

_WORD = re.compile("[a-z]+")
_BLANK_LINES = re.compile(r"\n\s*\n")
_OPENERS: dict[str, Callable[..., IO[str]]] = {
    ".gz": gzip.open,
    ".dz": gzip.open,  # dictzip: gzip with an index in its header
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def tokenize(text: str) -> list[str]:
    """Words of a text: the runs of a to z after lower-casing."""
    return _WORD.findall(text.lower())


class Corpus:
    """Sentences of a source, each a list of words; can be iterated any number of times.

    source: one of SOURCES ("gcide", "wordnet", "stdlib"), several joined by "+"
        ("gcide+wordnet"), or the path of a UTF-8 text file with a sentence on each line
        (plain, .gz, .bz2 or .xz).
    tokenizer: turns the text of a sentence into words. With `str.split` a file is read as
        gensim's LineSentence reads it.

    Raises FileNotFoundError if there is no such source or file; while iterating, ValueError
    if a file is damaged or is not UTF-8.
    """

    def __init__(self, source: str | Path, tokenizer: Tokenizer = tokenize) -> None:
        self.source = str(source)
        self.tokenizer = tokenizer
        names = self.source.split("+")
        self._names = names if all(name in SOURCES for name in names) else []
        if not self._names and not Path(source).is_file():
            raise FileNotFoundError(
                f"corpus {self.source!r}: no such file, nor a source ({', '.join(SOURCES)})"
            )

    def __iter__(self) -> Iterator[list[str]]:
        return filter(None, map(self.tokenizer, self._texts()))

    def _texts(self) -> Iterator[str]:
        if not self._names:
            yield from read_lines(Path(self.source))
        for name in self._names:
            yield from SOURCES[name]()

    def __repr__(self) -> str:
        return f"Corpus({self.source!r})"


def read_lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """Lines of a UTF-8 text file, plain or compressed (by its suffix: .gz, .dz, .bz2, .xz).

    Raises ValueError, with the number of the line, if the file is cut short, is not what its
    suffix says, or has bytes that are not UTF-8 (unless `errors` says otherwise).
    """
    line = 0
    try:
        with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8", errors=errors) as file:
            for text in file:
                line += 1
                yield text
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 somewhere after line {line}: {error}") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise ValueError(f"{path}: damaged or cut short after line {line}: {error}") from error


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


def _gcide() -> Iterator[str]:
    """Paragraphs of the GNU Collaborative International Dictionary of English."""
    path = _find("dict-gcide", "/usr/share/dictd", "gcide.dict.dz")
    for blank, lines in groupby(read_lines(path, errors="replace"), key=str.isspace):
        if not blank:
            yield "".join(lines)


def _wordnet() -> Iterator[str]:
    """First lemma and gloss of each synonym set of WordNet (format: wndb(5WN))."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in read_lines(_find("wordnet-base", "/usr/share/wordnet", f"data.{part}")):
            if not line.startswith("  "):  # the licence
                entry, _, gloss = line.partition("|")
                yield f"{entry.split()[4]} {gloss}"


_CODE = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NO_PROSE = {"idlelib", "lib2to3", "turtledemo", "test", "tests", "site-packages", "encodings"}


def _stdlib() -> Iterator[str]:
    """Paragraphs of the language's help topics and of the standard library's docstrings."""
    from pydoc_data.topics import topics

    for text in chain(topics.values(), _docstrings()):
        yield from _BLANK_LINES.split(text)


def _docstrings() -> Iterator[str]:
    for path in _stdlib_files():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, _CODE):
                yield ast.get_docstring(node) or ""


def _stdlib_files() -> Iterator[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in sorted(sys.stdlib_module_names - _NO_PROSE):
        module = root / f"{name}.py"
        paths = [module] if module.is_file() else sorted((root / name).rglob("*.py"))
        yield from (path for path in paths if _NO_PROSE.isdisjoint(path.parts))


SOURCES: dict[str, Callable[[], Iterator[str]]] = {
    "gcide": _gcide,
    "wordnet": _wordnet,
    "stdlib": _stdlib,
}


@dataclass(frozen=True)
class Encoded:
    """A corpus as numbers, word after word.

    words: every distinct word, in order of first appearance.
    tokens: int32 (n,), indices into `words`.
    sentences: int32 (n,), the number of the sentence that each token stands in.
    count: number of sentences.
    """

    words: list[str]
    tokens: NDArray[np.int32]
    sentences: NDArray[np.int32]
    count: int


def hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable` for: show a bar, do not, or (None) do where stderr is a terminal."""
    return None if progress is None else not progress


def encode(sentences: Iterable[Sequence[str]], progress: bool | None = False) -> Encoded:
    """Read sentences once and number their words.

    sentences: lists of words; a generator will do. progress: show a bar (None: on a terminal).
    Raises TypeError if a sentence is a string instead of a list of words.
    """
    index: defaultdict[str, int] = defaultdict()
    index.default_factory = index.__len__  # a new word gets the next number
    tokens, lengths = array("i"), array("i")
    for sentence in tqdm(sentences, "reading", unit=" sentences", disable=hidden(progress)):
        if isinstance(sentence, str):
            raise TypeError(
                f"sentences: expected lists of words, got the string {sentence[:40]!r}; "
                "split it first, e.g. with minitorch.text.tokenize"
            )
        tokens.extend(map(index.__getitem__, sentence))
        lengths.append(len(sentence))
    numbers = np.arange(len(lengths), dtype=np.int32)
    return Encoded(
        words=list(index),
        tokens=np.array(tokens, dtype=np.int32),
        sentences=np.repeat(numbers, np.array(lengths, dtype=np.int32)),
        count=len(lengths),
    )

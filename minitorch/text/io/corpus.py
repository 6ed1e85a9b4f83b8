"""Text corpora: where sentences come from, and sentences as numbers."""

import ast
import json
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple

from minitorch.text.io.files import (
    EndlessWordError,
    OnFile,
    is_by_line,
    pieces,
    read_lines,
    undecodable,
)
from minitorch.text.tokenizers import (
    LetterCheck,
    Tokenizer,
    find_tokenizer,
    listed,
    tokenize,
    tokenize_ascii,
)

__all__ = ["SOURCES", "Corpus", "LineSentence", "PathLineSentences", "Text8Corpus"]

_TOLD = 3  # sources that are named, at most
_BLANK_LINES = re.compile(r"\n\s*\n")


class Corpus:
    """Sentences of a source, each a list of words; can be iterated any number of times.

    source: one of SOURCES ("gcide", "wordnet", "stdlib"), several joined by "+"
        ("gcide+wordnet"), or the path of a text file with a sentence on each line (plain, .gz,
        .bz2 or .xz), or of a folder of such files, which are read in the order of their names,
        those of folders in it as well; hidden ones are not. Or a list of these.
    tokenizer: turns the text of a sentence into words: a function, or "words" (`tokenize`: runs of
        letters of any script, lower-cased), "whitespace" (`str.split`, as gensim's LineSentence),
        "ascii" (runs of a to z) or "module:function". None is "words" for files, and "ascii" for
        SOURCES, which are English, so that they stay the corpora that they were.
    encoding: of the files.

    A line of more than a mebibyte is cut at a blank and becomes several sentences; 16 MiB without
    a blank are no text.
    Warns, at the end of the first pass, where the tokenizer drops a tenth of the letters or more,
    and where words of scripts without blanks do not seem to be separated.
    Raises FileNotFoundError if there is no such source or file; while iterating, ValueError
    if a file is damaged, no text, or not of the encoding.
    """

    _in_folders = True  # whether folders in folders are read

    def __init__(
        self,
        source: str | Path | Iterable[str | Path],
        tokenizer: Tokenizer | str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        one = isinstance(source, str) or not isinstance(source, Iterable)
        given: list[Any] = [source] if one else [*source]  # type: ignore[misc]
        more = f", ... ({len(given)} sources)" if len(given) > _TOLD else ""
        self.source = ", ".join(map(str, given[:_TOLD])) + more
        self.tokenizer = find_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
        self.encoding = encoding
        is_by_line(encoding)  # which raises for none
        self._parts = [part for one in given for part in self._parts_of(one)]
        if not self._parts:
            raise ValueError("corpus: expected a source or more, got none")
        self._checked = False  # whether a pass has looked at the letters
        self._rewind()

    def _parts_of(self, one: str | Path) -> "list[Source]":
        if not isinstance(one, str | os.PathLike):
            raise TypeError(f"corpus: expected a name, a path or a list of these, got {one!r}")
        names = str(one).split("+")
        if all(name in SOURCES for name in names):
            return [SOURCES[name] for name in names]
        return self._files_of(Path(one), f", nor a source ({', '.join(SOURCES)})")

    def _files_of(self, path: Path, nor: str = "") -> "list[Source]":
        if not path.exists():
            raise FileNotFoundError(f"corpus {str(path)!r}: no such file{nor}")
        found = [path]
        if path.is_dir():
            found = sorted(path.glob("**/*" if self._in_folders else "*"))
            found = [p for p in found if p.is_file() and not _is_hidden(p.relative_to(path))]
        if not found:
            raise FileNotFoundError(f"corpus {str(path)!r}: the folder has no file")
        return [_file(path, self.encoding) for path in found]

    def __iter__(self) -> Iterator[list[str]]:
        self._rewind()
        check = None if self._checked else LetterCheck()
        for part in self._parts:
            tokenizer = self.tokenizer or part.tokenizer
            for text in part.read(self._begun):
                words = tokenizer(text)
                if type(words) is not list:
                    words = listed(words, tokenizer)
                if check is not None and check.is_due(len(text)):
                    check.look(text, words)
                if words:
                    yield words
        if check is not None:
            self._checked = True
            check.warn(self.source, self._tokenizers())

    def _tokenizers(self) -> list[Tokenizer]:
        return list(dict.fromkeys(self.tokenizer or part.tokenizer for part in self._parts))

    def files(self) -> list[Path]:
        """The files that the sentences come from, in order."""
        return [path for part in self._parts for path in part.files()]

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
        """A fingerprint of the sentences: of files path, size and time.

        None for a tokenizer that cannot be told from others by its name and its module's file.
        """
        parts: list[object] = []
        for part in self._parts:
            tokenizer = _identity(self.tokenizer or part.tokenizer)
            if tokenizer is None:
                return None
            parts.append([part.name, tokenizer, [_stamp(path) for path in part.files()]])
        return json.dumps([parts, self.encoding])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r})"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def _identity(tokenizer: Tokenizer) -> list[object] | None:
    """The name of a tokenizer and the time stamp of its file."""
    name = getattr(tokenizer, "__qualname__", "<")
    owner = getattr(tokenizer, "__self__", None)
    if "<" in name or not (owner is None or isinstance(owner, ModuleType)):
        return None
    module = getattr(tokenizer, "__module__", None)
    path = Path(getattr(sys.modules.get(module or ""), "__file__", None) or os.devnull)
    if not path.is_file() and module == "__main__":  # typed in
        return None
    return [module, name, _stamp(path) if path.is_file() else None]


class LineSentence(Corpus):
    """Sentences of a file as gensim's LineSentence has them: a line each, words between blanks.

    source: the path of a UTF-8 text file (plain or compressed); or a file that is open (text or
        bytes, e.g. by `gzip.open`) and is read from its beginning each time; or a folder of files.
    max_sentence_length: a longer line becomes several sentences.
    limit: so many of the first lines of each file only.

    Raises ValueError for numbers out of range, and otherwise as Corpus does.
    """

    _by_line = True  # whether a sentence ends where a line does

    def __init__(
        self,
        source: str | Path | IO[str] | IO[bytes],
        max_sentence_length: int = 10_000,
        limit: int | None = None,
    ) -> None:
        if max_sentence_length < 1 or (limit is not None and limit < 0):
            raise ValueError(
                f"{type(self).__name__}: expected max_sentence_length > 0 and limit of at least 0 "
                f"or None, got {max_sentence_length} and {limit}"
            )
        self.max_sentence_length, self.limit = max_sentence_length, limit
        super().__init__([source], tokenizer=str.split)  # type: ignore[list-item]

    def _parts_of(self, one: Any) -> "list[Source]":
        if hasattr(one, "readline"):
            return [Source("", list, partial(_open_lines, one), str.split)]
        return self._files_of(Path(one))

    def __iter__(self) -> Iterator[list[str]]:
        self._rewind()
        for part in self._parts:
            yield from self._sentences(part.read(self._begun))

    def _sentences(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Sentences of a file, whose lines come in one piece or in several."""
        words: list[str] = []
        most, lines = self.max_sentence_length, 0
        for text in texts:
            if lines == self.limit:
                break
            words += text.split()
            lines += text.endswith("\n")
            ends = self._by_line and text.endswith("\n")
            whole = len(words) if ends else len(words) // most * most
            for start in range(0, whole, most):
                yield words[start : min(start + most, whole)]
            del words[:whole]
        for start in range(0, len(words), most):
            yield words[start : start + most]

    def fingerprint(self) -> str | None:
        content = super().fingerprint() if all(part.files() for part in self._parts) else None
        options = [self._by_line, self.max_sentence_length, self.limit]
        return None if content is None else json.dumps([content, *options])


class PathLineSentences(LineSentence):
    """The same of every file of a folder, in the order of their names; folders in it are not read.

    source: the folder, or a file. Hidden files are not read.
    """

    _in_folders = False


class Text8Corpus(LineSentence):
    """Sentences of a file of one endless line (text8): so many words each, wherever lines end.

    fname: the path, or an open file. The last sentence is shorter. (http://mattmahoney.net/dc/)
    """

    _by_line = False

    def __init__(
        self, fname: str | Path | IO[str] | IO[bytes], max_sentence_length: int = 10_000
    ) -> None:
        super().__init__(fname, max_sentence_length)


def _open_lines(file: IO[Any], on_file: OnFile) -> Iterator[str]:
    """Lines of an open file, from its beginning on."""
    file.seek(0)
    line, offset = 1, 0
    try:
        for data in pieces(file):
            yield data.decode() if isinstance(data, bytes) else data
            line += data.endswith(b"\n" if isinstance(data, bytes) else "\n")
            offset += len(data)
    except UnicodeDecodeError as error:
        raise undecodable(_name(file), error, line, offset) from error
    except EndlessWordError as error:
        raise ValueError(f"{_name(file)}: line {line} {error}: it is no text") from None


def _name(file: IO[Any]) -> Path:
    return Path(str(getattr(file, "name", file)))


def _find(package: str, folder: str, file: str) -> Path:
    """Path of a file that a Debian package brings, or a copy of it in $MINITORCH_DATA."""
    own = os.environ.get("MINITORCH_DATA")
    folders = [Path(each) for each in (own, folder) if each]
    for each in folders:
        if (each / file).is_file():
            return each / file
    raise FileNotFoundError(
        f"{file} is not in {' or '.join(map(str, folders))}: install the Debian package {package} "
        f"(apt install {package}), or put the file into the folder $MINITORCH_DATA"
    )


def _gcide_files() -> list[Path]:
    return [_find("dict-gcide", "/usr/share/dictd", "gcide.dict.dz")]


def _gcide(on_file: OnFile) -> Iterator[str]:
    """Paragraphs of the GNU Collaborative International Dictionary of English."""
    (path,) = _gcide_files()
    for blank, lines in groupby(
        read_lines(path, errors="replace", on_file=on_file), key=str.isspace
    ):
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
    """Where sentences come from: a name (of SOURCES), its files, the texts of its sentences."""

    name: str
    files: Callable[[], list[Path]]
    read: Callable[[OnFile], Iterator[str]]
    tokenizer: Tokenizer


def _file(path: Path, encoding: str) -> Source:
    return Source("", partial(list, [path]), partial(_texts, path, encoding), tokenize)


def _texts(path: Path, encoding: str, on_file: OnFile) -> Iterator[str]:
    return read_lines(path, encoding, on_file=on_file)


SOURCES = {
    source.name: source
    for source in (
        Source("gcide", _gcide_files, _gcide, tokenize_ascii),
        Source("wordnet", _wordnet_files, _wordnet, tokenize_ascii),
        Source("stdlib", _stdlib_files, _stdlib, tokenize_ascii),
    )
}

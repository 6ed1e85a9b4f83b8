"""Files of vectors by the name of their format: which one a file is in, and the ways to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from minitorch.text.io import formats
from minitorch.text.io.files import COMPRESSED
from minitorch.text.keyed_vectors import KeyedVectors


class Format(NamedTuple):
    """A format of files of vectors.

    suffixes: of the names of such files. compressed: whether .gz, .bz2 or .xz may follow them.
    read: with limit, encoding and progress as options; None if it is only written.
    """

    about: str
    suffixes: tuple[str, ...]
    compressed: bool
    read: Callable[..., KeyedVectors] | None
    write: Callable[[KeyedVectors, Path], None]


def _load(path: Path, limit: int | None = None, **_: Any) -> KeyedVectors:
    vectors = KeyedVectors.load(path)
    if limit is None:
        return vectors
    return vectors.vectors_for_all(vectors.index_to_key[:limit], copy_vecattrs=True)


def _read(**form: Any) -> Callable[..., KeyedVectors]:
    def read(path: Path, **options: Any) -> KeyedVectors:
        vectors = KeyedVectors.load_word2vec_format(path, **form, **options)
        vectors.expandos.pop("count")  # made up, as gensim does: the file has none
        return vectors

    return read


def _write(**form: Any) -> Callable[[KeyedVectors, Path], None]:
    return lambda vectors, path: vectors.save_word2vec_format(path, **form)


FORMATS = {
    "safetensors": Format(
        "keys, vectors, counts; reads whole models, too",
        (".safetensors", ".model", ".kv"),
        False,
        _load,
        KeyedVectors.save,
    ),
    "word2vec": Format("word2vec.c's text", (".txt", ".vec"), True, _read(), _write()),
    "word2vec-binary": Format(
        "word2vec.c's binary", (".bin",), True, _read(binary=True), _write(binary=True)
    ),
    "glove": Format(
        "GloVe's text", (".glove",), True, _read(no_header=True), _write(write_header=False)
    ),
    "projector": Format(
        "written only: a folder for the Embedding Projector",
        ("",),
        False,
        None,
        KeyedVectors.save_projector,
    ),
}


def read_vectors(path: str | Path, form: str | None = None, **options: Any) -> KeyedVectors:
    """Read a file of vectors in any of the FORMATS (None: the one that its content shows).

    options: limit, encoding and progress of `KeyedVectors.load_word2vec_format`. Where a file has
    no counts there are none.
    Raises OSError if there is no such file, ValueError and EOFError for a wrong one.
    """
    path = Path(path)
    if form is None:
        return _read_guessed(path, options)
    read = _named(form).read
    if read is None:
        raise ValueError(f"{path}: the format {form} is written only")
    return read(path, **options)


def _read_guessed(path: Path, options: dict[str, Any]) -> KeyedVectors:
    form = "safetensors" if _is_for_load(path) else formats.guess(path)
    try:
        return read_vectors(path, form, **options)
    except ValueError as error:
        if form != "glove":
            raise
        # What is none of the other formats need not be a file of vectors at all.
        raise ValueError(
            f"{error} (is it a file of vectors? It has no header, and was read as GloVe's text)"
        ) from error


def write_vectors(vectors: KeyedVectors, path: str | Path, form: str | None = None) -> str:
    """Write vectors in one of the FORMATS (None: that of the name); returns which one it is.

    Raises ValueError for an unknown format and for a key that the format cannot hold.
    """
    path = Path(path)
    form = _by_name(path) if form is None else form
    if path.suffix in COMPRESSED and not _named(form).compressed:
        raise ValueError(f"{path}: the format {form} is not compressed: leave {path.suffix} out")
    _named(form).write(vectors, path)
    return form


def _is_for_load(path: Path) -> bool:
    """Whether a file begins as safetensors, or as a pickle, which `load` refuses and says why."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[4:] == b"\0\0\0\0{" or start.startswith(b"\x80")


def _by_name(path: Path) -> str:
    suffix = (path.with_suffix("") if path.suffix in COMPRESSED else path).suffix
    for name, form in FORMATS.items():
        if suffix in form.suffixes:
            return name
    known = ", ".join(suffix for form in FORMATS.values() for suffix in form.suffixes if suffix)
    raise ValueError(f"{path}: expected a name that ends in one of {known}, or a format")


def _named(form: str) -> Format:
    if form not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {form!r}")
    return FORMATS[form]

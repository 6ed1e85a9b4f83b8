"""Files of whole models: safetensors that say of which kind the model is, and in which version."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import IO, Any

import numpy as np

from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.serialization import PickleError, load, save
from minitorch.text.io.files import COMPRESSED, DAMAGED, open_file, replacing

# The format version of each kind of file, raised when the format changes.
VERSIONS = {
    "KeyedVectors": 1,
    "Word2Vec": 1,
    "GloVe": 1,
    "LSA": 1,
    "Cooccurrence": 1,
    "Phrases": 1,
    "FrozenPhrases": 1,
}
_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError)
_OTHER_FILES = (
    "text and binary files of word2vec.c, gensim and GloVe are read by "
    "KeyedVectors.load_word2vec_format"
)
_PICKLED = (
    "gensim's pickles can run any code, so minitorch does not read them: load it in gensim, write "
    "its vectors with save_word2vec_format, and read those with KeyedVectors.load_word2vec_format"
)

Path = str | os.PathLike[str]
Target = Path | IO[bytes]


class WrongKindError(ValueError, AttributeError):
    """A file holds another kind of model (in gensim the wrong object comes, without attributes)."""


def write(path: Target, kind: str, state: Mapping[str, Any], keep: bool = False) -> None:
    """Write the state of a model; the file appears under its name when it is complete.

    path: one that ends in .gz, .bz2 or .xz is compressed; or a binary file that is open. state:
    tensors, and what `minitorch.save` takes besides; much text goes through `text`. keep: what had
    the name before stays as NAME.previous.
    """
    if isinstance(path, str | os.PathLike):
        if _is_compressed(path):
            with replacing(pathlib.Path(path), keep=keep) as file:
                write(file, kind, state)
        else:
            save({"kind": kind, "version": VERSIONS[kind], **state}, path, keep=keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "model")
        write(whole, kind, state)
        with open(whole, "rb") as file:
            shutil.copyfileobj(file, path)


class Saved:
    """A model with gensim's `save`. `KIND`: of its files, one of VERSIONS."""

    KIND = ""

    def state_dict(self) -> dict[str, Any]:
        """The state for a file."""
        raise NotImplementedError

    def save(
        self,
        fname_or_handle: Target,
        separately: Sequence[str] | None = None,
        sep_limit: int = 10 * 1024**2,
        ignore: Iterable[str] = frozenset(),
        pickle_protocol: int = 4,
    ) -> None:
        """Write the model to a safetensors file, or to an open binary file; see `state_dict`.

        The other arguments are there for gensim's sake, whose pickles come in parts: they change
        nothing.
        """
        write(fname_or_handle, self.KIND, self.state_dict())


@contextmanager
def reading(
    path: Path, *kinds: str, device: Device | str | None = None, mmap: str | None = None
) -> Iterator[dict[str, Any]]:
    """The state of a model of one of these kinds, to be taken apart in the `with` block.

    mmap: "r" for tensors whose memory is that of the file, see `minitorch.load`.
    Raises ValueError that names the file: for a pickle, a file that is cut short or was not
    written by `write`, another kind or version, and for whatever goes wrong in the block (unless
    that names the file already).
    """
    if mmap not in (None, "r"):
        raise ValueError(f"load: mmap: expected None or 'r' (read only), got {mmap!r}")
    state = _state(path, device, mmap is not None)
    kind = state.get("kind")
    if kind not in kinds:
        raise WrongKindError(
            f"{path} holds a model of the kind {kind}, expected {' or '.join(kinds)}: "
            f"{kind}.load reads it"
        )
    if state["version"] != VERSIONS[kind]:
        raise ValueError(
            f"{path} holds version {state['version']} of a {kind}, expected {VERSIONS[kind]}: it "
            "is from another version of minitorch"
        )
    try:
        yield state
    except _ERRORS as error:
        if str(path) in str(error):  # it has been said what is wrong with it
            raise
        raise ValueError(f"{path} is a damaged file of a {kind}: {error!r}") from error


def check(path: Path) -> None:
    """Raise ValueError if a file of a model cannot be read."""
    _load(path, "cpu", mmap=False)


def _is_compressed(path: Path) -> bool:
    return pathlib.Path(path).suffix in COMPRESSED


def _load(path: Path, device: Device | str | None, mmap: bool) -> Any:
    """The contents of a file that `minitorch.save` wrote, compressed or not."""
    with open(path, "rb") as file:
        plain = file.read(9)[8:] == b"{"
    if plain or not _is_compressed(path):
        return load(path, device=device, mmap=mmap)
    if mmap:
        raise ValueError("compressed: it cannot be mapped, load it without mmap")
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "model")
        try:
            with open_file(pathlib.Path(path)) as file, open(whole, "wb") as target:
                shutil.copyfileobj(file, target)
        except (EOFError, *DAMAGED) as error:
            if isinstance(error, OSError) and error.errno:  # not of the file: the disk is full
                raise OSError(error.errno, error.strerror, folder) from None
            raise ValueError(f"damaged or cut short: {error}") from error
        return load(whole, device=device)


def _state(path: Path, device: Device | str | None, mmap: bool) -> dict[str, Any]:
    try:
        state = _load(path, device, mmap)
    except PickleError as error:
        raise ValueError(f"{path} is a pickle: {_PICKLED}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no model of minitorch ({error}); {_OTHER_FILES}") from error
    if not isinstance(state, dict) or state.get("kind") not in VERSIONS or "version" not in state:
        raise ValueError(f"{path} is a safetensors file, but no model of minitorch; {_OTHER_FILES}")
    return state


def counted(counts: Mapping[str, float]) -> dict[str, Tensor]:
    """Numbers by word: "words" as `text`, and "counts", int64 or float64 (n,)."""
    numbers = list(counts.values())
    whole = all(isinstance(number, Integral) for number in numbers)
    kind, dtype = ("q", dtypes.int64) if whole else ("d", dtypes.float64)
    held = tensor(array(kind, numbers), dtype=dtype, device="cpu")
    return {"words": text(list(counts)), "counts": held}


def from_counted(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The counts that `counted` was given."""
    return dict(zip(from_text(state["words"]), state["counts"].tolist(), strict=True))


def text(value: object) -> Tensor:
    """A value of JSON, or one that `plain` gives, as bytes of JSON: uint8 (n,).

    A file's header has no room for so much. Raises TypeError for anything else.
    """
    return tensor(array("B", json.dumps(_encode(value)).encode()), device="cpu")


def from_text(held: Tensor) -> Any:
    """The value that `text` was given."""
    return json.loads(held.cpu().numpy().tobytes(), object_hook=_decode)


# What JSON has no word for is {its name here: a list}.
_MADE: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "frozenset": frozenset,
    "bytes": bytes,
    "dict": dict,
    "array": lambda held: _array(*held),
}
_NAMES: dict[Any, str] = {tuple: "tuple", frozenset: "frozenset", bytes: "bytes"}
_SAID_BY_JSON = (str, int, float, bool, type(None))


def plain(value: Any, about: str) -> Any:
    """A key or an option as a file gives it back: equal, and of Python's own type.

    NumPy's numbers and strings become Python's; tuples, frozensets and bytes stay. Raises
    TypeError that begins with `about` for what no file can hold.
    """
    if type(value) in _SAID_BY_JSON:
        return value
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        held = value.item()
        if type(held) is not type(value):  # as a long double's is
            return plain(held, about)
    if isinstance(value, str):
        return str.__str__(value)  # of an Enum the value, not the name
    kinds: tuple[Any, ...] = (int, float, bytes)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    for made in (tuple, frozenset):
        if isinstance(value, made):
            return made(plain(item, about) for item in value)
    raise TypeError(
        f"{about}: expected strings, numbers, bools, None, bytes, or tuples and frozensets of "
        f"them, which a file can hold, got {value!r} of type {type(value).__name__}"
    )


def plain_keys(keys: Iterable[Any], about: str) -> list[Any]:
    """`plain` of each key, in no time where they are all strings or integers."""
    listed = list(keys)
    if {*map(type, listed)} <= {str, int}:
        return listed
    return [plain(key, about) for key in listed]


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind in _SAID_BY_JSON:
        return value
    if kind is list:
        return value if set(map(type, value)) <= {*_SAID_BY_JSON} else [*map(_encode, value)]
    if kind in _NAMES:
        return {_NAMES[kind]: [*map(_encode, value)]}
    if isinstance(value, dict):
        if all(type(key) is str for key in value) and not (len(value) == 1 and {*value} & {*_MADE}):
            return {key: _encode(item) for key, item in value.items()}
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": [str(value.dtype), _encode(value.tolist())]}
    return _encode(plain(value, "save"))


def _decode(held: dict[str, Any]) -> Any:
    if len(held) == 1:
        [(name, content)] = held.items()
        if name in _MADE and isinstance(content, list):
            return _MADE[name](content)
    return held


def _array(dtype: str, items: list[Any]) -> Any:
    if dtype != "object":
        return np.array(items, dtype=dtype)
    made = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        made[i] = item
    return made

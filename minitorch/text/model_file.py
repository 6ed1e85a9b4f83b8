"""Files of whole models: safetensors that say of which kind the model is, and in which version."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np

from minitorch import dtypes
from minitorch.backend import Device
from minitorch.creation import tensor
from minitorch.serialization import PickleError, load, save
from minitorch.tensor import Tensor

# The version of what stands in a file of each kind: to be raised when that changes.
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


def write(path: Path, kind: str, state: Mapping[str, Any]) -> None:
    """Write the state of a model; the file appears under its name when it is complete.

    state: tensors, and what `minitorch.save` takes besides; much text goes through `text`.
    """
    save({"kind": kind, "version": VERSIONS[kind], **state}, path)


@contextmanager
def reading(
    path: Path, *kinds: str, device: Device | str | None = None
) -> Iterator[dict[str, Any]]:
    """The state of a model of one of these kinds, to be taken apart in the `with` block.

    Raises ValueError that names the file: for a pickle, a file that is cut short or was not
    written by `write`, another kind or version, and for whatever goes wrong in the block (unless
    that names the file already).
    """
    state = _state(path, device)
    kind = state.get("kind")
    if kind not in kinds:
        raise ValueError(
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


def _state(path: Path, device: Device | str | None) -> dict[str, Any]:
    try:
        state = load(path, device=device)
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
    """What `counted` was given."""
    return dict(zip(from_text(state["words"]), state["counts"].tolist(), strict=True))


def text(value: object) -> Tensor:
    """What JSON can say, or `plain` gives, as bytes of JSON: uint8 (n,).

    A file's header has no room for so much. Raises TypeError for anything else.
    """
    return tensor(array("B", json.dumps(_encode(value)).encode()), device="cpu")


def from_text(held: Tensor) -> Any:
    """What `text` was given."""
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

"""Vectors by key: looking up, adding, attributes of keys."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from minitorch.backend import Device
from minitorch.core import dtypes
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor, empty, from_numpy, tensor
from minitorch.ops import cat, stack, where
from minitorch.text.io.model_file import plain_keys

Key = Any  # what a file can hold: see `model_file.plain`
Item = tuple[Any, float]  # a key or a vector, and its weight
Table = TypeVar("Table", bound="VectorTable")

_COMPARED = 500_000  # keys whose spelling is compared, which takes a second
_SMALL = 1e-15  # the squares of shorter vectors may vanish in float32
# What gensim called things before its version 4, and what they are called now.
_OLD_NAMES = {
    "vocab": "key_to_index, index_to_key and get_vecattr(key, 'count')",
    **dict.fromkeys(("index2word", "index2entity"), "index_to_key"),
    "syn0": "vectors",
    **dict.fromkeys(("syn0norm", "vectors_norm"), "get_normed_vectors()"),
    "init_sims": "fill_norms(), or, for replace=True, unit_normalize_all()",
    "word_vec": "get_vector",
    "add": "add_vectors",
    "wv": "the vectors themselves: leave .wv out",
    "accuracy": "evaluate_word_analogies",
}


class UnknownKeyError(KeyError):
    """A key that is not there; its text has the nearest spellings, looked for when it is read."""

    def __init__(self, key: object, keys: Sequence[Key] = ()) -> None:
        super().__init__(key)
        self._keys = keys

    def __str__(self) -> str:
        key = self.args[0]
        words = [word for word in self._keys[:_COMPARED] if isinstance(word, str)]
        near = difflib.get_close_matches(key, words, n=3) if isinstance(key, str) else []
        hint = f"; nearest spellings: {', '.join(near)}" if near else ""
        return f"{key!r} is not among the {len(self._keys)} keys{hint}"


class Attributes(dict[str, Any]):
    """Attributes of keys by their names: arrays of one value to a key, however they are given."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        for attr, values in (given or {}).items():
            self[attr] = values

    def __setitem__(self, attr: str, values: Any) -> None:
        super().__setitem__(attr, attribute(values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping) or self.keys() != other.keys():
            return False
        return all(_equal(values, other[attr]) for attr, values in self.items())

    def __ne__(self, other: object) -> bool:  # dict has one of its own
        return not self == other

    __hash__ = None


class VectorTable:
    """Vectors (n, vector_size) by key, and attributes of the keys.

    dtype: of the vectors, if it is not to be theirs. count, mapfile_path: for gensim's sake,
    without effect: a table grows by itself.
    index_to_key: the keys; key_to_index: their rows. tensor: the vectors, a floating-point Tensor
    on any device; `vectors` shows its memory. expandos: an array of n values for each attribute.
    vectors_lockf: the part of each of its steps that a row takes in further training, one value
    for all or n: see `Word2Vec`.
    """

    vectors_lockf: Any = 1.0

    def __init__(
        self,
        vector_size: int,
        keys: Sequence[Key] = (),
        vectors: Any = None,
        counts: Sequence[int] | None = None,
        *,
        count: int = 0,
        dtype: Any = None,
        mapfile_path: str | None = None,
    ) -> None:
        name = type(self).__name__
        if isinstance(keys, Integral):
            raise TypeError(
                f"{name}: keys: expected strings or other keys, got {keys}; gensim's arguments "
                "count and dtype are given by their names"
            )
        self._lengths: tuple[Tensor, int, Tensor, Tensor] | None = None
        given = empty(0, vector_size) if vectors is None else vectors
        self.tensor = given if dtype is None else as_tensor(given).to(floating(dtype))
        self.index_to_key = plain_keys(keys, f"{name}: keys")
        self.key_to_index = {key: i for i, key in enumerate(self.index_to_key)}
        self.expandos = Attributes(None if counts is None else {"count": counts})
        if tuple(self.tensor.shape) != (len(self), vector_size):
            raise ValueError(
                f"{name}: {len(self)} keys of vector_size {vector_size} do not fit vectors "
                f"of shape {tuple(self.tensor.shape)}"
            )
        if len(self.key_to_index) != len(self):
            twice = next(k for i, k in enumerate(self.index_to_key) if self.key_to_index[k] != i)
            raise ValueError(f"{name}: keys: {twice!r} stands there more than once")
        if counts is not None and len(counts) != len(self):
            raise ValueError(f"{name}: {len(self)} keys do not fit {len(counts)} counts")

    # ------------------------------------------------------------------ the vectors
    @property
    def tensor(self) -> Tensor:
        """The vectors, (n, vector_size), a Tensor on any device, to which arrays are taken."""
        return self._tensor

    @tensor.setter
    def tensor(self, given: Any) -> None:
        stays = None if isinstance(given, Tensor) or "_tensor" not in self.__dict__ else self.device
        held = as_tensor(given, device=stays).detach()
        if not held.dtype.is_floating_point or held.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: vectors: expected a floating-point dtype and shape (n, "
                f"vector_size), got {held.dtype} and {tuple(held.shape)}"
            )
        self._tensor = held
        # Whoever holds an array of this memory may write to it, which nobody sees.
        self._shared = isinstance(given, np.ndarray) and given.flags.writeable

    @property
    def vectors(self) -> Any:
        """The vectors, (n, vector_size): on the CPU a NumPy array of the memory of `tensor`.

        It can be written to and be replaced, as in gensim. On other devices it is the Tensor.
        """
        found = shown(self._tensor)
        self._shared = self._shared or (found is not self._tensor and found.flags.writeable)
        return found

    @vectors.setter
    def vectors(self, given: Any) -> None:
        self.tensor = given

    @property
    def vector_size(self) -> int:
        """Length of a vector."""
        return self.tensor.shape[1]

    @property
    def device(self) -> Device:
        """Where the vectors are."""
        return self.tensor.device

    def to(self: Table, device: Device | str) -> Table:
        """The same keys, with their vectors on another device."""
        return self._derived(self.index_to_key, self.tensor.to(device), self.expandos)

    def _derived(
        self: Table, keys: Sequence[Key], vectors: Tensor, expandos: Mapping[str, Any]
    ) -> Table:
        made = type(self)(self.vector_size, keys, vectors)
        made.expandos = Attributes(expandos)
        return made

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return self.has_index_for(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vector_size={self.vector_size}, {len(self)} keys)"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            now = f"; since gensim 4 it is {_OLD_NAMES[name]}" if name in _OLD_NAMES else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{now}")

    # ------------------------------------------------------------------ copies
    def __copy__(self: Table) -> Table:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self: Table, memo: dict[int, Any]) -> Table:
        made = memo[id(self)] = object.__new__(type(self))
        made.__dict__.update(copy.deepcopy(self.__dict__ | {"_lengths": None}, memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"{name} are not pickled, for a pickle can run any code: write them with save, and "
            f"read them with {name}.load"
        )

    # ------------------------------------------------------------------ looking up
    def __getitem__(self, key: Any) -> Any:
        """The vector of a key (D,), see `get_vector`, or those of several, new (n, D).

        NumPy arrays on the CPU, else Tensors. Raises KeyError.
        """
        return self.get_vector(key) if self._is_key(key) else shown(self._picked(key))

    def get_index(self, key: Any, default: int | None = None) -> int:
        """The row of a key; an integer that is no key stands for the row of that number.

        Raises KeyError, which suggests the keys that are spelt most like it, unless there is a
        default.
        """
        index = self.key_to_index.get(key)
        if index is not None:
            return index
        if isinstance(key, Integral) and 0 <= int(key) < len(self):
            return int(key)
        if default is not None:
            return default
        raise UnknownKeyError(key, self.index_to_key)

    def has_index_for(self, key: Any) -> bool:
        """Whether a key has a vector here."""
        return self.get_index(key, -1) >= 0

    def get_vector(self, key: Any, norm: bool = False) -> Any:
        """The vector of a key, (D,); with `norm` scaled to length one.

        On the CPU a NumPy array that cannot be written to, as in gensim; else a Tensor.
        """
        row, table = self.get_index(key), shown(self._tensor)
        found = shown(unit(self._tensor[row])) if norm else table[row]
        if isinstance(found, np.ndarray):
            found.setflags(write=False)
        return found

    def vectors_for_all(
        self: Table, keys: Iterable[Key], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> Table:
        """A table of those of the keys that are known, each once, in the order given.

        allow_inference: an integer that is no key stands for the row of that number; no other
        vector is inferred. copy_vecattrs: take the attributes along; without, there are counts as
        gensim makes them up, which fall from n by one to the key.
        """
        known = [
            key
            for key in dict.fromkeys(keys)
            if (key in self if allow_inference else key in self.key_to_index)
        ]
        rows = [self.get_index(key) for key in known]
        expandos = {"count": np.arange(len(known), 0, -1)}
        if copy_vecattrs:
            expandos = {attr: values[rows] for attr, values in self.expandos.items()}
        return self._derived(known, self.tensor[self._numbers(rows)], expandos)

    def _is_key(self, item: Any) -> bool:
        """Whether something is a key or the number of a row, not a vector or a list.

        A tuple or the like is one if it is among the keys.
        """
        if isinstance(item, str | bytes | Integral):
            return True
        try:
            return item in self.key_to_index
        except TypeError:  # a list or an array
            return False

    def _picked(self, keys: Iterable[Any]) -> Tensor:
        return self.tensor[self._numbers([self.get_index(key) for key in keys])]

    def _numbers(self, numbers: list[int]) -> Tensor:
        return tensor(numbers, dtype=int, device=self.device)

    def _vector(self, given: Any) -> Tensor:
        """The vector of a key, or one that somebody gave. Raises ValueError for another shape."""
        if self._is_key(given):
            return self.tensor[self.get_index(given)]
        vector = as_tensor(given).detach().to(self.device, self.tensor.dtype)
        if tuple(vector.shape) != (self.vector_size,):
            raise ValueError(
                f"expected a key or a vector of shape {(self.vector_size,)}, got one of shape "
                f"{tuple(vector.shape)}"
            )
        return vector

    def _require_finite(self, items: Iterable[Any]) -> None:
        """Raise ValueError that names a key, or a vector, which has NaN or infinity."""
        for item in items:
            if not self._vector(item).isfinite().all():
                what = f"the vector of {item!r}" if self._is_key(item) else "a given vector"
                raise ValueError(f"{what} has NaN or infinity in it, and no angle to any other")

    # ------------------------------------------------------------------ lengths
    @property
    def norms(self) -> Any:
        """Lengths of the vectors, (n,): a NumPy array on the CPU, else a Tensor.

        They are computed again after a change of the vectors: see `fill_norms`.
        """
        return shown(self._norms()[0])

    def _norms(self) -> tuple[Tensor, Tensor]:
        """Lengths of the vectors and, with 1 for 0, what to divide them by, both (n,)."""
        self.fill_norms()
        assert self._lengths is not None
        return self._lengths[2:]

    def fill_norms(self, force: bool = False) -> None:
        """Have `norms` ready; `force`: also if the vectors look unchanged.

        Changes of `tensor` by the framework are seen. An array is written to unseen, so once
        `vectors` has been handed out as one, or taken from one, lengths are computed for each use.
        Only who writes to the memory of `tensor` in yet another way has to use `force`.
        """
        held, version = self.tensor, self.tensor._version
        known = self._lengths
        seen = known is not None and known[0] is held and known[1] == version
        if force or self._shared or not seen:
            norms = lengths(held)
            self._lengths = held, version, norms, safe(norms)

    def get_normed_vectors(self) -> Any:
        """All vectors scaled to length one, (n, D); a zero vector stays zero.

        A NumPy array on the CPU, else a Tensor.
        """
        return shown(self._units())

    def _units(self) -> Tensor:
        return self.tensor / self._norms()[1].unsqueeze(1)

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length one, for good. Further training makes no sense then."""
        self._writable().div_(self._norms()[1].unsqueeze(1))

    def _writable(self) -> Tensor:
        """`tensor`, to be changed. Raises ValueError if its memory is read-only."""
        held = shown(self.tensor)
        if isinstance(held, np.ndarray) and not held.flags.writeable:
            raise ValueError(
                f"{type(self).__name__}: the vectors are read-only, as those of a file loaded with "
                "mmap='r': load it without, or copy.deepcopy them"
            )
        return self.tensor

    # ------------------------------------------------------------------ locks
    def lock_factors(self) -> Any:
        """`vectors_lockf` of each key, a new NumPy array float32 (n,).

        Raises ValueError unless it has one value or n.
        """
        factors = np.array(self.vectors_lockf, dtype=np.float32).reshape(-1)
        if len(factors) not in (1, len(self)):
            raise ValueError(
                f"{type(self).__name__}: vectors_lockf: expected 1 value or {len(self)}, one for "
                f"each key, got {len(factors)}"
            )
        return np.array(np.broadcast_to(factors, len(self)))

    def locked(self) -> tuple[Any, Any]:
        """Rows whose factor is not 1, and it: NumPy arrays int64 and float32 (m,)."""
        factors = self.lock_factors()
        rows = np.flatnonzero(factors != 1)
        return rows, factors[rows]

    # ------------------------------------------------------------------ means
    def get_mean_vector(
        self,
        keys: Sequence[Any],
        weights: Sequence[float] | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Any:
        """Weighted mean of keys' vectors and of given vectors, (D,).

        It is divided by the sum of the weights' magnitudes. pre_normalize: keys' vectors count
        with length one (given ones as they are). Raises ValueError if there are no keys,
        KeyError for an unknown one unless ignore_missing.
        """
        if len(keys) == 0:
            raise ValueError("get_mean_vector: cannot compute mean with no input")
        weights = [1.0] * len(keys) if weights is None else weights
        if len(weights) != len(keys):
            raise ValueError(f"get_mean_vector: {len(keys)} keys do not fit {len(weights)} weights")
        used = [
            (key, float(weight))
            for key, weight in zip(keys, weights)
            if not (ignore_missing and self._is_key(key) and key not in self)
        ]
        mean = self._means([used], pre_normalize)[0]
        return shown(unit(mean) if post_normalize else mean)

    def _means(self, lists: Sequence[Sequence[Item]], pre_normalize: bool = True) -> Tensor:
        """The mean of each list of weighted keys and vectors, (len(lists), D)."""
        rows: list[int] = []
        given: list[Tensor] = []
        positions: list[list[int]] = []  # of each list, in `rows` or, below zero, in `given`
        for items in lists:
            positions.append([])
            for item, _ in items:
                if self._is_key(item):
                    positions[-1].append(len(rows))
                    rows.append(self.get_index(item))
                else:
                    positions[-1].append(-1 - len(given))
                    given.append(self._vector(item))
        if not rows and not given:
            return self.tensor.new_zeros(len(lists), self.vector_size)
        table = self.tensor[self._numbers(rows)]
        table = unit(table) if pre_normalize else table
        if given:
            table = cat([table, stack(given[::-1])])  # so that position -1 is the first of them
        longest = max(len(items) for items in lists)
        index = [position + [0] * (longest - len(position)) for position in positions]
        numbers = [
            [weight for _, weight in items] + [0.0] * (longest - len(items)) for items in lists
        ]
        weights = tensor(numbers, dtype=self.tensor.dtype, device=self.device)
        picked = table[self._numbers([i % len(table) for row in index for i in row])]
        picked = picked.reshape(len(lists), longest, self.vector_size)
        total = safe(weights.abs().sum(dim=1)).unsqueeze(1)
        return (picked * weights.unsqueeze(2)).sum(dim=1) / total

    # ------------------------------------------------------------------ attributes
    @property
    def counts(self) -> list[int] | None:
        """How often each key occurred, or None if nobody knows."""
        counts = self.expandos.get("count")
        return None if counts is None else counts.tolist()

    def get_vecattr(self, key: Any, attr: str) -> Any:
        """An attribute of a key, such as "count". Raises KeyError if either is unknown."""
        row = self.get_index(key)
        if attr not in self.expandos:
            known = ", ".join(map(repr, self.expandos)) or "none"
            raise KeyError(f"no attribute {attr!r}; known: {known}")
        return self.expandos[attr][row]

    def set_vecattr(self, key: Any, attr: str, val: Any) -> None:
        """Set an attribute of a key; a new attribute is 0 for all other keys.

        Raises TypeError if the values of other keys are of another kind.
        """
        row = self.get_index(key)
        values = attribute([val])
        self._allocated(attr, values, "set_vecattr")[row] = values[0]

    def _allocated(self, attr: str, values: Any, caller: str) -> Any:
        """The array of an attribute, new if need be, to which values like these can be written."""
        if attr not in self.expandos:
            self.expandos[attr] = np.zeros(len(self), dtype=values.dtype)
        held = self.expandos[attr]
        kinds = {held.dtype.kind, values.dtype.kind}
        if len(kinds) > 1 and kinds != {"i", "u"}:
            raise TypeError(
                f"{caller}: attribute {attr!r} is of dtype {held.dtype}, got {values.tolist()[0]!r}"
            )
        return held

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent keys first; of equally frequent ones the last comes first.

        Raises KeyError if there are keys, but no counts.
        """
        if not len(self):
            return
        counts = self.expandos.get("count")
        if counts is None:
            raise KeyError("sort_by_descending_frequency: the keys have no attribute 'count'")
        order = np.lexsort((-np.arange(len(self)), -counts.astype(np.int64)))
        self.index_to_key = [self.index_to_key[i] for i in order.tolist()]
        self.key_to_index = {key: i for i, key in enumerate(self.index_to_key)}
        self.expandos = Attributes({k: values[order] for k, values in self.expandos.items()})
        self.tensor = self.tensor[self._numbers(order.tolist())]

    # ------------------------------------------------------------------ changing
    def add_vectors(
        self,
        keys: Key | Sequence[Key],
        weights: Any,
        extras: Mapping[str, Sequence[Any]] | None = None,
        replace: bool = False,
    ) -> None:
        """Add keys with their vectors (len(keys), D); known keys keep theirs unless `replace`.

        extras: attributes of the keys, a sequence each; other attributes of new keys are 0.
        Of a key given twice the first vector counts. Raises ValueError for other shapes, TypeError
        for keys that no file can hold.
        """
        if self._is_key(keys):
            keys, weights = [keys], as_tensor(weights).reshape(1, -1)
        keys = plain_keys(keys, "add_vectors: keys")
        given = stack(list(weights)) if _are_tensors(weights) else as_tensor(weights)
        given = given.detach().to(self.device, self.tensor.dtype)
        if tuple(given.shape) != (len(keys), self.vector_size):
            raise ValueError(
                f"add_vectors: expected vectors of shape {(len(keys), self.vector_size)}, "
                f"got {tuple(given.shape)}"
            )
        added = {attr: attribute(values) for attr, values in (extras or {}).items()}
        for attr, values in added.items():
            if len(values) != len(keys):
                raise ValueError(
                    f"add_vectors: extras: {len(keys)} keys do not fit {len(values)} values of "
                    f"{attr!r}"
                )
            self._allocated(attr, values, "add_vectors: extras")
        first: dict[Key, int] = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        changed = [key for key in first if replace and key in self.key_to_index]
        new = [key for key in first if key not in self.key_to_index]
        if changed:
            rows = self._numbers([self.get_index(key) for key in changed])
            self._writable()[rows] = given[self._numbers([first[key] for key in changed])]
        if new:
            rows = self._numbers([first[key] for key in new])
            self.tensor = cat([self.tensor, given[rows]])
            self.key_to_index.update((key, len(self) + i) for i, key in enumerate(new))
            self.index_to_key += new
            for attr, held in self.expandos.items():
                self.expandos[attr] = np.concatenate([held, np.zeros(len(new), held.dtype)])
        for attr, values in added.items():
            for key in changed + new:
                self.expandos[attr][self.get_index(key)] = values[first[key]]

    def add_vector(self, key: Key, vector: Any) -> int:
        """Add one key with its vector (D,), or give a known one that vector; returns its row."""
        self.add_vectors([key], as_tensor(vector).reshape(1, -1), replace=True)
        return self.get_index(key)

    def __setitem__(self, keys: Key | Sequence[Key], weights: Any) -> None:
        """`add_vectors` with `replace`: a key (a tuple is one) with its vector, or a list."""
        if isinstance(keys, Hashable):
            self.add_vector(keys, weights)
        else:
            self.add_vectors(keys, weights, replace=True)


def shown(found: Tensor) -> Any:
    """A table for the user: on the CPU a NumPy array of the same memory, elsewhere the Tensor."""
    return found.numpy() if found.device.type == "cpu" else found


def _equal(values: Any, others: Any) -> bool:
    """Whether two arrays of an attribute, which may hold arrays, are equal."""
    if len(values) != len(others):
        return False
    if values.dtype.kind == "O":
        return all(map(np.array_equal, values, others))
    return np.array_equal(values, others)


def attribute(values: Any) -> Any:
    """Values of an attribute, an array: int64, float64 or bool if all are, else of objects."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufO":
        return values.copy()
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step)
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    for kind, dtype in ((int, np.int64), (float, np.float64), (bool, np.bool_)):
        if all(type(value) is kind for value in values):
            return np.array(values, dtype=dtype)
    made = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        made[i] = value
    return made


_FLOATS = {d.name: d for d in dtypes.DTYPES if d.is_floating_point} | {"float": dtypes.float64}


def floating(datatype: Any) -> dtypes.dtype:
    """The dtype that goes by the name of a dtype or type of minitorch, NumPy or Python."""
    name = getattr(datatype, "name", None) or getattr(datatype, "__name__", datatype)
    if name not in _FLOATS:
        raise ValueError(f"datatype: expected one of {', '.join(_FLOATS)}, got {datatype!r}")
    return _FLOATS[name]


def safe(norms: Tensor) -> Tensor:
    """Lengths to divide by: 1 instead of 0."""
    return norms.masked_fill(norms == 0, 1.0)


def lengths(x: Tensor) -> Tensor:
    """|x| along the last dimension, without it, also where squares overflow or vanish."""
    held = shown(x)
    if isinstance(held, np.ndarray) and held.dtype.itemsize >= 4:  # in a fifth of the time
        with np.errstate(all="ignore"):
            norms = from_numpy(np.asarray(np.sqrt(np.vecdot(held, held))))
    else:
        norms = x.norm(dim=-1)
    usual = (norms > _SMALL) & (norms < float("inf"))
    if usual.all():
        return norms
    largest = safe(x.abs().amax(dim=-1)) if x.shape[-1] else norms
    scaled = (x / largest.unsqueeze(-1)).norm(dim=-1) * largest
    return where(usual | ~largest.isfinite(), norms, scaled)


def unit(x: Tensor) -> Tensor:
    """x / |x| along the last dimension; zero stays zero."""
    return x / safe(lengths(x)).unsqueeze(-1)


def _are_tensors(weights: Any) -> bool:
    return isinstance(weights, list | tuple) and bool(weights) and isinstance(weights[0], Tensor)

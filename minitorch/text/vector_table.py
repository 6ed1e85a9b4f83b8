"""Vectors by key: looking up, adding, attributes of keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeGuard, TypeVar

from minitorch.backend import Device
from minitorch.creation import as_tensor, empty, tensor
from minitorch.ops import cat, stack
from minitorch.tensor import Tensor

Key = str | int
Item = tuple[Any, float]  # a key or a vector, and its weight
Table = TypeVar("Table", bound="VectorTable")

_COMPARED = 500_000  # keys whose spelling is compared, which takes a second


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


class VectorTable:
    """Vectors (n, vector_size) by key, and attributes of the keys.

    index_to_key: the keys, strings or integers; key_to_index: their rows in `vectors`, a
    floating-point Tensor on any device; expandos: a list of n values for each attribute.
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
    ) -> None:
        self.vectors = empty(0, vector_size) if vectors is None else as_tensor(vectors).detach()
        self.index_to_key = list(keys)
        self.key_to_index = {key: i for i, key in enumerate(self.index_to_key)}
        self.expandos: dict[str, list[Any]] = {} if counts is None else {"count": list(counts)}
        self._norms: tuple[Tensor, int, Tensor, Tensor] | None = None
        name = type(self).__name__
        if tuple(self.vectors.shape) != (len(self), vector_size):
            raise ValueError(
                f"{name}: {len(self)} keys of vector_size {vector_size} do not fit vectors "
                f"of shape {tuple(self.vectors.shape)}"
            )
        if not self.vectors.dtype.is_floating_point:
            raise ValueError(
                f"{name}: vectors: expected a floating-point dtype, got {self.vectors.dtype}"
            )
        if len(self.key_to_index) != len(self):
            twice = next(k for i, k in enumerate(self.index_to_key) if self.key_to_index[k] != i)
            raise ValueError(f"{name}: keys: {twice!r} stands there more than once")
        if counts is not None and len(counts) != len(self):
            raise ValueError(f"{name}: {len(self)} keys do not fit {len(counts)} counts")

    @property
    def vector_size(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    @property
    def device(self) -> Device:
        """Where the vectors are."""
        return self.vectors.device

    def to(self: Table, device: Device | str) -> Table:
        """The same keys, with their vectors on another device."""
        return self._derived(self.index_to_key, self.vectors.to(device), self.expandos)

    def _derived(
        self: Table, keys: Sequence[Key], vectors: Tensor, expandos: Mapping[str, list[Any]]
    ) -> Table:
        made = type(self)(self.vector_size, keys, vectors)
        made.expandos = {attr: list(values) for attr, values in expandos.items()}
        return made

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return self.has_index_for(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vector_size={self.vector_size}, {len(self)} keys)"

    # ------------------------------------------------------------------ looking up
    def __getitem__(self, key: Any) -> Tensor:
        """The vector of a key (D,), or those of several (n, D). Raises KeyError."""
        return self.get_vector(key) if is_key(key) else self.vectors[self._rows(key)]

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

    def get_vector(self, key: Any, norm: bool = False) -> Tensor:
        """The vector of a key, (D,); with `norm` scaled to length one."""
        vector = self.vectors[self.get_index(key)]
        return unit(vector) if norm else vector

    def vectors_for_all(
        self: Table, keys: Iterable[Key], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> Table:
        """A table of those of the keys that are known, each once, in the order given.

        copy_vecattrs: take their attributes along. allow_inference is there for gensim's sake:
        no vector is inferred here.
        """
        known = [key for key in dict.fromkeys(keys) if key in self]
        rows = [self.get_index(key) for key in known]
        attributes = self.expandos if copy_vecattrs else {}
        expandos = {attr: [values[i] for i in rows] for attr, values in attributes.items()}
        return self._derived(known, self.vectors[self._numbers(rows)], expandos)

    def _rows(self, keys: Iterable[Any]) -> Tensor:
        return self._numbers([self.get_index(key) for key in keys])

    def _numbers(self, numbers: list[int]) -> Tensor:
        return tensor(numbers, dtype=int, device=self.device)

    def _vector(self, given: Any) -> Tensor:
        """A vector that somebody gave, as one of ours. Raises ValueError for another shape."""
        vector = as_tensor(given).detach().to(self.device, self.vectors.dtype)
        if tuple(vector.shape) != (self.vector_size,):
            raise ValueError(
                f"expected a key or a vector of shape {(self.vector_size,)}, got one of shape "
                f"{tuple(vector.shape)}"
            )
        return vector

    # ------------------------------------------------------------------ lengths
    @property
    def norms(self) -> Tensor:
        """Lengths of the vectors, (n,), computed again after a change of `vectors`."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms[2]

    @property
    def _divisors(self) -> Tensor:
        """`norms` with 1 for 0, (n,)."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms[3]

    def fill_norms(self, force: bool = False) -> None:
        """Have `norms` ready; `force`: also if the vectors look unchanged.

        Only who writes to the memory of `vectors` past the framework needs that.
        """
        held, version = self.vectors, self.vectors._version
        known = self._norms
        if force or known is None or known[0] is not held or known[1] != version:
            norms = held.norm(dim=1)
            self._norms = held, version, norms, safe(norms)

    def get_normed_vectors(self) -> Tensor:
        """All vectors scaled to length one, (n, D); a zero vector stays zero."""
        return self.vectors / self._divisors.unsqueeze(1)

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length one, for good. Further training makes no sense then."""
        self.vectors /= self._divisors.unsqueeze(1)

    # ------------------------------------------------------------------ means
    def get_mean_vector(
        self,
        keys: Sequence[Any],
        weights: Sequence[float] | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Tensor:
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
            if not (ignore_missing and is_key(key) and key not in self)
        ]
        mean = self._means([used], pre_normalize)[0]
        return unit(mean) if post_normalize else mean

    def _means(self, lists: Sequence[Sequence[Item]], pre_normalize: bool = True) -> Tensor:
        """The mean of each list of weighted keys and vectors, (len(lists), D)."""
        rows: list[int] = []
        given: list[Tensor] = []
        places: list[list[int]] = []  # of each list, in `rows` or, below zero, in `given`
        for items in lists:
            places.append([])
            for item, _ in items:
                if is_key(item):
                    places[-1].append(len(rows))
                    rows.append(self.get_index(item))
                else:
                    places[-1].append(-1 - len(given))
                    given.append(self._vector(item))
        if not rows and not given:
            return self.vectors.new_zeros(len(lists), self.vector_size)
        table = self.vectors[self._numbers(rows)]
        table = unit(table) if pre_normalize else table
        if given:
            table = cat([table, stack(given[::-1])])  # so that place -1 is the first of them
        longest = max(len(items) for items in lists)
        index = [place + [0] * (longest - len(place)) for place in places]
        numbers = [
            [weight for _, weight in items] + [0.0] * (longest - len(items)) for items in lists
        ]
        weights = tensor(numbers, dtype=self.vectors.dtype, device=self.device)
        picked = table[self._numbers([i % len(table) for row in index for i in row])]
        picked = picked.reshape(len(lists), longest, self.vector_size)
        total = safe(weights.abs().sum(dim=1)).unsqueeze(1)
        return (picked * weights.unsqueeze(2)).sum(dim=1) / total

    # ------------------------------------------------------------------ attributes
    @property
    def counts(self) -> list[int] | None:
        """How often each key occurred, or None if nobody knows."""
        return self.expandos.get("count")

    def get_vecattr(self, key: Any, attr: str) -> Any:
        """An attribute of a key, such as "count". Raises KeyError if either is unknown."""
        row = self.get_index(key)
        if attr not in self.expandos:
            known = ", ".join(map(repr, self.expandos)) or "none"
            raise KeyError(f"no attribute {attr!r}; known: {known}")
        return self.expandos[attr][row]

    def set_vecattr(self, key: Any, attr: str, val: Any) -> None:
        """Set an attribute of a key; a new attribute is 0 (or "") for all other keys.

        Raises TypeError if other keys have a value of another type.
        """
        val = val.item() if hasattr(val, "item") else val
        row = self.get_index(key)
        held = self.expandos.get(attr)
        if held and type(held[0]) is not type(val):
            raise TypeError(
                f"set_vecattr: attribute {attr!r} is of type {type(held[0]).__name__}, got {val!r}"
            )
        self.expandos.setdefault(attr, [type(val)()] * len(self))[row] = val

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent keys first; of equally frequent ones the last comes first.

        Raises KeyError if there are no counts.
        """
        counts = self.counts
        if counts is None:
            raise KeyError("sort_by_descending_frequency: the keys have no attribute 'count'")
        order = sorted(range(len(self)), key=lambda i: (-counts[i], -i))
        self.index_to_key = [self.index_to_key[i] for i in order]
        self.key_to_index = {key: i for i, key in enumerate(self.index_to_key)}
        self.expandos = {attr: [values[i] for i in order] for attr, values in self.expandos.items()}
        self.vectors = self.vectors[self._numbers(order)]

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
        Of a key given twice the first vector counts. Raises ValueError for other shapes.
        """
        if isinstance(keys, str | int):
            keys, weights = [keys], as_tensor(weights).reshape(1, -1)
        given = stack(list(weights)) if _are_tensors(weights) else as_tensor(weights)
        given = given.detach().to(self.device, self.vectors.dtype)
        if tuple(given.shape) != (len(keys), self.vector_size):
            raise ValueError(
                f"add_vectors: expected vectors of shape {(len(keys), self.vector_size)}, "
                f"got {tuple(given.shape)}"
            )
        for attr, values in (extras or {}).items():
            if len(values) != len(keys):
                raise ValueError(
                    f"add_vectors: extras: {len(keys)} keys do not fit {len(values)} values of "
                    f"{attr!r}"
                )
        first: dict[Key, int] = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        changed = [key for key in first if replace and key in self.key_to_index]
        new = [key for key in first if key not in self.key_to_index]
        if changed:
            self.vectors[self._rows(changed)] = given[self._numbers([first[k] for k in changed])]
        if new:
            added = given[self._numbers([first[key] for key in new])]
            self.vectors = cat([self.vectors, added])
            self.key_to_index.update((key, len(self) + i) for i, key in enumerate(new))
            self.index_to_key += new
            for values in self.expandos.values():
                values += [type(values[0])() if values else 0] * len(new)
        for attr, extra in (extras or {}).items():
            for key in changed + new:
                self.set_vecattr(key, attr, extra[first[key]])

    def add_vector(self, key: Key, vector: Any) -> int:
        """Add one key with its vector (D,), or give a known one that vector; returns its row."""
        self.add_vectors([key], as_tensor(vector).unsqueeze(0), replace=True)
        return self.get_index(key)

    def __setitem__(self, keys: Key | Sequence[Key], weights: Any) -> None:
        """`add_vectors` with `replace`: one key with its vector, or a list of them."""
        self.add_vectors(keys, weights, replace=True)


def is_key(item: Any) -> TypeGuard[Key]:
    """Whether something is a key or the number of a row, not a vector or a list."""
    return isinstance(item, str | Integral)


def safe(lengths: Tensor) -> Tensor:
    """Lengths to divide by: 1 instead of 0."""
    return lengths.masked_fill(lengths == 0, 1.0)


def unit(x: Tensor) -> Tensor:
    """x / |x| along the last dimension; zero stays zero."""
    return x / safe(x.norm(dim=-1, keepdim=True))


def _are_tensors(weights: Any) -> bool:
    return isinstance(weights, list | tuple) and bool(weights) and isinstance(weights[0], Tensor)

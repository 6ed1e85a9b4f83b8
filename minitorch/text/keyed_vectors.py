"""Vectors with a name each: looking up, comparing, evaluating, and files."""

from __future__ import annotations

import difflib
import os
import secrets
import sys
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from minitorch.backend import Device
from minitorch.creation import as_tensor, empty, tensor
from minitorch.ops import cat, stack
from minitorch.serialization import load, save
from minitorch.tensor import Tensor
from minitorch.text import evaluation
from minitorch.text.evaluation import Correlation, Section

Weighted = str | int | Tensor | tuple[str | int | Tensor, float]  # a key or vector, its weight


class KeyedVectors:
    """Vectors (n, vector_size) by key, with the interface of gensim's KeyedVectors.

    index_to_key: the keys; key_to_index: their rows in `vectors`, a Tensor on any device.
    counts: how often each key occurred, or None. Vectors come back as Tensors.
    """

    def __init__(
        self,
        vector_size: int,
        keys: Sequence[str] = (),
        vectors: Tensor | None = None,
        counts: Sequence[int] | None = None,
    ) -> None:
        self.vectors = empty(0, vector_size) if vectors is None else vectors
        self.index_to_key = list(keys)
        self.key_to_index = {key: i for i, key in enumerate(self.index_to_key)}
        self.counts = None if counts is None else list(counts)
        self._units: tuple[Tensor, int, Tensor] | None = None
        if tuple(self.vectors.shape) != (len(self), vector_size):
            raise ValueError(
                f"KeyedVectors: {len(self)} keys of vector_size {vector_size} do not fit vectors "
                f"of shape {tuple(self.vectors.shape)}"
            )
        if len(self.key_to_index) != len(self):
            raise ValueError("KeyedVectors: a key stands there more than once")

    @property
    def vector_size(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        is_row = isinstance(key, int) and 0 <= key < len(self)
        return is_row or key in self.key_to_index

    def __repr__(self) -> str:
        return f"KeyedVectors(vector_size={self.vector_size}, {len(self)} keys)"

    # ------------------------------------------------------------------ looking up
    def __getitem__(self, key: str | int | Iterable[str | int]) -> Tensor:
        """The vector of a key (D,), or those of several (n, D). Raises KeyError."""
        if isinstance(key, str | int):
            return self.get_vector(key)
        return self.vectors[self._rows(key)]

    def get_index(self, key: str | int) -> int:
        """The row of a key; a row number stands for itself.

        Raises KeyError, which suggests the keys that are spelt most like it.
        """
        index = self.key_to_index.get(key, -1)  # type: ignore[arg-type]
        if index >= 0:
            return index
        if isinstance(key, int) and 0 <= key < len(self):
            return key
        near = difflib.get_close_matches(str(key), self.index_to_key, n=3)
        hint = f"; nearest spellings: {', '.join(near)}" if near else ""
        raise KeyError(f"{key!r} is not among the {len(self)} keys{hint}")

    def get_vector(self, key: str | int, norm: bool = False) -> Tensor:
        """The vector of a key, (D,); with `norm` scaled to length one."""
        return (self.get_normed_vectors() if norm else self.vectors)[self.get_index(key)]

    def get_vecattr(self, key: str | int, attr: str) -> int:
        """An attribute of a key; "count" is the only one there is."""
        if attr != "count" or self.counts is None:
            raise KeyError(f"no attribute {attr!r}")
        return self.counts[self.get_index(key)]

    def get_normed_vectors(self) -> Tensor:
        """All vectors scaled to length one, (n, D); a zero vector stays zero."""
        held, version = self.vectors, self.vectors._version
        if self._units is None or self._units[0] is not held or self._units[1] != version:
            self._units = held, version, _unit(held.detach())
        return self._units[2]

    def get_mean_vector(
        self,
        keys: Sequence[str | int | Tensor],
        weights: Sequence[float] | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Tensor:
        """Weighted mean of keys' vectors and of given vectors, (D,).

        It is divided by the sum of the weights' magnitudes. Raises ValueError if there are no
        keys, KeyError for an unknown one unless ignore_missing.
        """
        if len(keys) == 0:
            raise ValueError("cannot compute mean with no input")
        weights = [1.0] * len(keys) if weights is None else weights
        if len(weights) != len(keys):
            raise ValueError(f"{len(keys)} keys do not fit {len(weights)} weights")
        vectors: list[Tensor] = []
        used: list[float] = []
        for key, weight in zip(keys, weights):
            if isinstance(key, Tensor):
                vectors.append(key)
            elif key in self or not ignore_missing:
                vectors.append(self.get_vector(key, norm=pre_normalize))
            else:
                continue
            used.append(weight)
        if not vectors:
            return self.vectors.new_zeros(self.vector_size)
        factors = tensor(used, dtype=self.vectors.dtype, device=self.vectors.device)
        mean = (stack(vectors) * factors.unsqueeze(1)).sum(dim=0) / factors.abs().sum()
        return _unit(mean) if post_normalize else mean

    def add_vectors(self, keys: Sequence[str], weights: Any, replace: bool = False) -> None:
        """Add keys with their vectors (len(keys), D); known keys keep theirs unless `replace`."""
        given = as_tensor(weights).to(self.vectors.device, self.vectors.dtype)
        if tuple(given.shape) != (len(keys), self.vector_size):
            raise ValueError(
                f"add_vectors: expected vectors of shape {(len(keys), self.vector_size)}, "
                f"got {tuple(given.shape)}"
            )
        first: dict[str, int] = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        vectors = self.vectors.detach().clone()
        known = [key for key in first if key in self]
        if replace and known:
            vectors[self._rows(known)] = given[self._numbers([first[key] for key in known])]
        new = [key for key in first if key not in self]
        if new:
            vectors = cat([vectors, given[self._numbers([first[key] for key in new])]])
            self.key_to_index.update((key, len(self) + i) for i, key in enumerate(new))
            self.index_to_key += new
            self.counts = None
        self.vectors = vectors

    def add_vector(self, key: str, vector: Any) -> int:
        """Add one key with its vector (D,); returns its row."""
        self.add_vectors([key], as_tensor(vector).unsqueeze(0), replace=True)
        return self.get_index(key)

    def _rows(self, keys: Iterable[str | int]) -> Tensor:
        return self._numbers([self.get_index(key) for key in keys])

    def _numbers(self, numbers: list[int]) -> Tensor:
        return tensor(numbers, device=self.vectors.device)

    # ------------------------------------------------------------------ comparing
    def similarity(self, w1: str | int, w2: str | int) -> float:
        """Cosine of the angle between the vectors of two keys."""
        units = self.get_normed_vectors()
        return float((units[self.get_index(w1)] * units[self.get_index(w2)]).sum())

    def distance(self, w1: str | int, w2: str | int) -> float:
        """1 - similarity(w1, w2)."""
        return 1 - self.similarity(w1, w2)

    def n_similarity(self, ws1: Sequence[str], ws2: Sequence[str]) -> float:
        """Cosine of the angle between the mean vectors of two lists of keys.

        Raises ZeroDivisionError if a list is empty.
        """
        if not ws1 or not ws2:
            raise ZeroDivisionError("at least one of the lists of keys is empty")
        means = (self.get_mean_vector(ws, pre_normalize=False) for ws in (ws1, ws2))
        left, right = map(_unit, means)
        return float((left * right).sum())

    def most_similar(
        self,
        positive: Weighted | Sequence[Weighted] | None = None,
        negative: Weighted | Sequence[Weighted] | None = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The keys nearest to the sum of `positive` minus `negative`, all scaled to length one.

        positive, negative: keys or vectors, or pairs of one and its weight. The answer leaves
        the given keys out and has (key, cosine) pairs, the nearest first; with topn=None all
        cosines, (n,). restrict_vocab: look among so many of the first keys only.
        Raises KeyError for an unknown key, ValueError if nothing is given.
        (Linguistic regularities: Mikolov, Yih and Zweig 2013, "3CosAdd".)
        """
        if topn is not None and topn < 1:
            return []
        items = [_weighted(item, 1.0) for item in _listed(positive)]
        items += [_weighted(item, -1.0) for item in _listed(negative)]
        keys, weights = [key for key, _ in items], [weight for _, weight in items]
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        cosines = self.get_normed_vectors()[:restrict_vocab] @ mean
        if topn is None:
            return cosines
        given = {self.get_index(key) for key in keys if not isinstance(key, Tensor)}
        values, rows = cosines.topk(min(topn + len(given), len(cosines)))
        found = zip(rows.tolist(), values.tolist())
        return [(self.index_to_key[row], value) for row, value in found if row not in given][:topn]

    def similar_by_word(
        self, word: str, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """`most_similar` to one key."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_vector(
        self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """`most_similar` to a vector (D,)."""
        vector = as_tensor(vector).to(self.vectors.device, self.vectors.dtype)
        return self.most_similar([vector], topn=topn, restrict_vocab=restrict_vocab)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The key farthest from the mean of them all; unknown ones do not count.

        Raises ValueError if none is known.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError("doesnt_match: cannot select a word from an empty list")
        units = self.get_normed_vectors()[self._rows(known)]
        cosines: list[float] = (units @ _unit(units.mean(dim=0))).tolist()
        return min(zip(cosines, known))[1]

    # ------------------------------------------------------------------ evaluating
    def evaluate_word_pairs(
        self, pairs: str | Path, **options: Any
    ) -> tuple[Correlation, Correlation, float]:
        """Pearson, Spearman and per cent of unknown pairs: see `evaluation.word_pairs`."""
        units = self.get_normed_vectors()
        return evaluation.word_pairs(self.index_to_key, units, pairs, **options)

    def evaluate_word_analogies(
        self, analogies: str | Path, **options: Any
    ) -> tuple[float, list[Section]]:
        """Part answered rightly, and the answers by section: see `evaluation.word_analogies`."""
        units = self.get_normed_vectors()
        return evaluation.word_analogies(self.index_to_key, units, analogies, **options)

    # ------------------------------------------------------------------ files
    def save(self, path: str | Path) -> None:
        """Write keys, vectors and counts to a safetensors file."""
        vectors = self.vectors.detach()
        save({"vectors": vectors, "keys": self.index_to_key, "counts": self.counts}, path)

    @classmethod
    def load(cls, path: str | Path, device: Device | str | None = None) -> KeyedVectors:
        """Read what `save` wrote. Raises ValueError for any other file, a pickle among them."""
        try:
            held = load(path, device=device)
            return cls(held["vectors"].size(1), held["keys"], held["vectors"], held["counts"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} was not written by KeyedVectors.save ({error}); vectors of gensim come "
                "over with its save_word2vec_format and load_word2vec_format here"
            ) from error

    def save_word2vec_format(self, path: str | Path, binary: bool = False) -> None:
        """Write the format of word2vec.c and gensim: a header, then a key and its vector each."""
        rows = self.vectors.detach().float().cpu().numpy()
        path = Path(path)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with open(unfinished, "wb") as file:
                file.write(f"{len(self)} {self.vector_size}\n".encode())
                for key, row in zip(self.index_to_key, rows):
                    numbers = row.tobytes() if binary else " ".join(map(str, row)).encode() + b"\n"
                    file.write(key.encode() + b" " + numbers)
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                os.remove(unfinished)
            raise

    @classmethod
    def load_word2vec_format(
        cls,
        path: str | Path,
        binary: bool = False,
        limit: int | None = None,
        device: Device | str | None = None,
    ) -> KeyedVectors:
        """Read the format of word2vec.c and gensim; `limit`: only so many of the first vectors.

        Of a key that stands there twice the first vector counts. Raises ValueError for a wrong
        header or line, EOFError for a file that is cut short.
        """
        with open(path, "rb") as file:
            count, size = _header(file, path)
            read = _read_binary if binary else _read_text
            keys, numbers = read(file, path, min(count, limit or count), size)
        vectors = tensor(numbers, device=device).reshape(len(keys), size)
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        if len(first) < len(keys):
            rows = sorted(first.values())
            keys, vectors = [keys[i] for i in rows], vectors[tensor(rows, device=device)]
        return cls(size, keys, vectors)


def _unit(x: Tensor) -> Tensor:
    """x / |x| along the last dimension; zero stays zero."""
    length = (x * x).sum(dim=-1, keepdim=True).sqrt()
    return x / length.masked_fill(length == 0, 1.0)


def _listed(items: Any) -> list[Any]:
    """One item, or several, as a list."""
    if items is None:
        return []
    single = isinstance(items, str | int) or (isinstance(items, Tensor) and items.dim() == 1)
    return [items] if single else list(items)


def _weighted(item: Weighted, weight: float) -> tuple[str | int | Tensor, float]:
    return item if isinstance(item, tuple) else (item, weight)


def _header(file: IO[bytes], path: str | Path) -> tuple[int, int]:
    line = file.readline(100)
    try:
        count, size = map(int, line.split())
    except ValueError:
        raise ValueError(
            f"{path}: the first line should say 'vectors dimensions', got {line[:40]!r}"
        ) from None
    if count < 0 or size < 1:
        raise ValueError(f"{path}: cannot hold {count} vectors of {size} dimensions")
    return count, size


def _short(path: str | Path, found: int, count: int) -> EOFError:
    return EOFError(f"{path}: cut short, or its header is wrong: {found} of {count} vectors")


def _read_text(
    file: IO[bytes], path: str | Path, count: int, size: int
) -> tuple[list[str], array[float]]:
    keys, numbers = [], array("f")
    for i in range(count):
        line = file.readline()
        if not line.endswith(b"\n"):
            raise _short(path, i, count)
        key, *values = line.rstrip().split(b" ")
        if len(values) != size:
            raise ValueError(f"{path}: vector {i + 1} has {len(values)} numbers, expected {size}")
        keys.append(key.decode())
        numbers.extend(map(float, values))
    return keys, numbers


def _read_binary(
    file: IO[bytes], path: str | Path, count: int, size: int
) -> tuple[list[str], array[float]]:
    keys, numbers = [], array("f")
    buffer, place = b"", 0
    for i in range(count):
        end = buffer.find(b" ", place)
        while end < 0 or len(buffer) < end + 1 + 4 * size:
            more = file.read(1 << 20)
            if not more:
                raise _short(path, i, count)
            buffer, place = buffer[place:] + more, 0
            end = buffer.find(b" ")
        keys.append(buffer[place:end].lstrip(b"\n").decode())  # word2vec.c ends a vector with \n
        place = end + 1 + 4 * size
        numbers.frombytes(buffer[end + 1 : place])
    if sys.byteorder == "big":
        numbers.byteswap()
    return keys, numbers

"""Indexers: they find keys that are about the nearest to a vector without comparing it to all.

`KeyedVectors.most_similar(..., indexer=...)` takes anything with `most_similar(vector, topn)`.
"""

from __future__ import annotations

import errno
import os
import zlib
from abc import ABC, abstractmethod
from array import array
from pathlib import Path
from typing import Any

from minitorch.backend.extras import install_hint
from minitorch.boundary import guard
from minitorch.creation import tensor
from minitorch.files import replacing
from minitorch.text.io.model_file import from_text, text
from minitorch.text.vector_table import Key, VectorTable

__all__ = ["AnnoyIndexer", "HnswIndexer", "Indexer"]


class Indexer(ABC):
    """An index of the unit vectors of a model, on the host; it does not follow their changes.

    model: KeyedVectors, or what has them as `wv`; None for an index that `load` is to read.
    """

    def __init__(self, model: Any = None) -> None:
        self.labels: list[Key] = []
        self.size = 0  # of a vector
        self.index: Any = None
        if model is not None:
            wv = model if isinstance(model, VectorTable) else model.wv
            self.labels, self.size = list(wv.index_to_key), wv.vector_size
            self.index = self._new(self.size)
            self._fill(wv.to("cpu").get_normed_vectors())

    def most_similar(self, vector: Any, num_neighbors: int) -> list[tuple[Key, float]]:
        """Keys that are about the nearest to a vector (D,), on the host, and their cosines."""
        rows, cosines = self._nearest(vector, min(num_neighbors, len(self.labels)))
        return [(self.labels[row], float(cosine)) for row, cosine in zip(rows, cosines)]

    def save(self, fname: str | Path) -> None:
        """Write the index to a file, and the keys to one whose name ends in .dict."""
        with replacing(fname) as unfinished:
            try:
                self._write(str(unfinished))
            except OSError as error:
                if error.errno is None:  # Annoy's
                    raise OSError(f"{fname}: {error}") from None
                raise
            checksum = _checksum(unfinished)
        with replacing(f"{fname}.dict") as unfinished:
            known = text([self.size, self.labels, checksum])
            unfinished.write_bytes(known.numpy().tobytes())

    def load(self, fname: str | Path) -> None:
        """Read what `save` wrote. Raises OSError without these files, ValueError for others."""
        path = Path(f"{fname}.dict")
        held = tensor(array("B", path.read_bytes()), device="cpu")
        try:
            size, labels, checksum = from_text(held)
            size, labels = int(size), list(labels)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: damaged: {error}") from None
        if _checksum(Path(fname)) != checksum:  # which may end the process if it is read
            raise ValueError(f"{fname}: damaged, or not the index of {path}")
        self.size, self.labels, self.index = size, labels, self._new(size)
        self._read(str(fname))

    @abstractmethod
    def _new(self, size: int) -> Any: ...

    @abstractmethod
    def _fill(self, vectors: Any) -> None: ...

    @abstractmethod
    def _nearest(self, vector: Any, count: int) -> tuple[Any, Any]: ...

    @abstractmethod
    def _write(self, path: str) -> None: ...

    @abstractmethod
    def _read(self, path: str) -> None: ...


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            checksum = zlib.crc32(data, checksum)
    return checksum


class AnnoyIndexer(Indexer):
    """Trees of random planes (Spotify's Annoy), as gensim's AnnoyIndexer; needs the extra `annoy`.

    num_trees: more of them find more of the nearest keys, and take more memory.
    """

    def __init__(self, model: Any = None, num_trees: int | None = None) -> None:
        self.num_trees = 10 if num_trees is None else num_trees
        super().__init__(model)

    def _new(self, size: int) -> Any:
        try:
            from annoy import AnnoyIndex
        except ImportError as error:
            raise ImportError(f"AnnoyIndexer needs Annoy: {install_hint('annoy')}") from error
        return AnnoyIndex(size, metric="angular")

    def _fill(self, vectors: Any) -> None:
        for row, vector in enumerate(vectors):
            self.index.add_item(row, vector)
        self.index.build(self.num_trees)

    def _nearest(self, vector: Any, count: int) -> tuple[Any, Any]:
        rows, distances = self.index.get_nns_by_vector(vector, count, include_distances=True)
        return rows, [1 - distance**2 / 2 for distance in distances]

    def _write(self, path: str) -> None:
        self.index.save(path)

    def _read(self, path: str) -> None:
        self.index.load(path)


class HnswIndexer(Indexer):
    """A graph of small worlds (Malkov and Yashunin 2018); needs the extra `hnswlib`.

    ef_construction, m: more of them find more of the nearest keys; building takes longer, the
    graph more memory. ef: the same at search, at least topn.
    """

    def __init__(
        self, model: Any = None, ef_construction: int = 200, m: int = 16, ef: int = 50
    ) -> None:
        self.ef_construction, self.m, self.ef = ef_construction, m, ef
        super().__init__(model)

    def _new(self, size: int) -> Any:
        try:
            from hnswlib import Index
        except ImportError as error:
            raise ImportError(f"HnswIndexer needs hnswlib: {install_hint('hnswlib')}") from error
        return Index(space="cosine", dim=size)

    def _fill(self, vectors: Any) -> None:
        options = {"ef_construction": self.ef_construction, "M": self.m, "random_seed": 1}
        self.index.init_index(max_elements=len(vectors), **options)
        self.index.add_items(vectors, num_threads=1)  # of several no two are alike

    def _nearest(self, vector: Any, count: int) -> tuple[Any, Any]:
        self.index.set_ef(max(self.ef, count))
        rows, distances = self.index.knn_query(vector, k=count)
        return rows[0].tolist(), (1 - distances[0]).tolist()

    def _write(self, path: str) -> None:
        self.index.save_index(path)
        if Path(path).stat().st_size < self.index.index_file_size():  # hnswlib does not tell
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _read(self, path: str) -> None:
        self.index.load_index(path)


guard(globals())

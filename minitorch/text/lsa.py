"""Latent semantic analysis: words as the rows of a matrix of low rank (truncated SVD)."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from minitorch.backend import Device
from minitorch.core.dtypes import dtype as DType
from minitorch.core.dtypes import get_default_dtype
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor, from_numpy
from minitorch.text.cooccurrence import Cooccurrence
from minitorch.text.io import model_file
from minitorch.text.io.encoded import check_words, with_progress
from minitorch.text.io.model_file import plain
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.options import integer, real
from minitorch.text.vocab import Vocab

Sentences = Iterable[Sequence[str]]
Array = NDArray[np.float64]

_SMALL = 500  # up to so many rows or columns a whole SVD is as fast as a truncated one
_TIE = 1 - 1e-6  # magnitudes nearer than this may change their order by rounding


class Factors(NamedTuple):
    """matrix ≈ left · diag(values) · right: (m, k), (k,) descending, (k, n), all float64."""

    left: Array
    values: Array
    right: Array


def truncated_svd(matrix: Any, rank: int, seed: int = 1) -> Factors:
    """The `rank` largest singular values of a matrix (m, n), sparse or not, and their vectors.

    The largest entry of each left vector is positive (the first of several that are equal), so
    that equal matrices have equal factors. A large matrix is never made dense: ARPACK starts from
    a vector that `seed` gives.

    Raises ValueError if rank is not between 1 and min(m, n), or for numbers that are not finite.
    """
    rank = integer("truncated_svd: rank", rank)
    matrix = sparse.csr_array(matrix, dtype=np.float64)
    least = min(matrix.shape)
    if not 1 <= rank <= least:
        raise ValueError(
            f"truncated_svd: rank: expected 1 to {least} for a matrix of shape {matrix.shape}, "
            f"got {rank}"
        )
    if not np.isfinite(matrix.data).all():
        raise ValueError("truncated_svd: matrix: expected finite numbers")
    if least <= _SMALL or rank >= least - 1:  # ARPACK finds fewer than all
        left, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(seed).standard_normal(least)
        left, values, right = linalg.svds(matrix, k=rank, v0=start)
        left, values, right = left[:, ::-1], values[::-1], right[::-1]
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    magnitude = np.abs(left)
    first = (magnitude >= _TIE * magnitude.max(axis=0)).argmax(axis=0)
    sign = np.sign(left[first, np.arange(rank)])
    return Factors(left * sign, values, right * sign[:, None])


# ---------------------------------------------------------------------- weighting
def _inverse_document_frequency(counts: Any) -> Array:
    """ln(N / documents that have the word)."""
    spread = np.bincount(counts.coords[0], minlength=counts.shape[0])
    weights: Array = np.log(counts.shape[1] / np.maximum(spread, 1))
    return weights


def _entropy(counts: Any) -> Array:
    """1 + Σ p ln p / ln N, p the part of the word's occurrences that a document has."""
    total = counts.sum(axis=1)
    row = counts.coords[0]
    p = counts.data / total[row]
    sums = np.bincount(row, weights=p * np.log(p), minlength=counts.shape[0])
    weights: Array = 1 + sums / np.log(max(counts.shape[1], 2))
    return weights


def _one(counts: Any) -> float:
    return 1.0


# How a count is weighed in its document, and a word in all documents.
WEIGHTINGS: dict[str, tuple[Callable[[Array], Array], Callable[[Any], Any]]] = {
    "tf": (lambda count: count, _one),
    "tf-idf": (lambda count: count, _inverse_document_frequency),
    "log-entropy": (np.log1p, _entropy),
}


def weight(counts: Any, weighting: str) -> tuple[sparse.csr_array[Any, Any], Array]:
    """Counts (words, documents) weighed, and the weight of each word, (words,).

    "tf": as they are. "tf-idf": count · ln(N / documents with the word). "log-entropy":
    ln(1 + count) · (1 + Σ p ln p / ln N), p the part of the word's occurrences that each of the
    N documents has (Dumais 1991, "Improving the retrieval of information from external sources").
    Raises ValueError for another name and for negative counts.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting: expected one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    local, globally = WEIGHTINGS[weighting]
    held: Any = sparse.coo_array(sparse.csr_array(counts, dtype=np.float64))
    held.eliminate_zeros()
    if not (held.data > 0).all():
        raise ValueError("counts: expected numbers of at least 0")
    words = np.broadcast_to(globally(held), held.shape[:1])
    weighed = local(held.data) * words[held.coords[0]]
    return sparse.csr_array((weighed, held.coords), shape=held.shape), np.array(words)


def term_documents(
    documents: Sentences,
    *,
    vocab: Vocab | None = None,
    min_count: int = 1,
    min_documents: int = 1,
    stop_words: Iterable[str] = (),
    progress: bool | None = False,
) -> tuple[Vocab, sparse.csr_array[Any, Any]]:
    """How often each word stands in each document: the words, and counts (words, documents).

    documents: lists of words, read once; an empty one has a column, too. vocab: the words to
    count; otherwise those that come `min_count` times or more, in `min_documents` documents or
    more, and are not among stop_words.
    Raises ValueError if no word is left, TypeError for a string instead of a list of words.
    """
    min_count = integer("LSA: min_count", min_count, 0)
    min_documents = integer("LSA: min_documents", min_documents, 0)
    index: defaultdict[str, int] = defaultdict()
    index.default_factory = index.__len__  # a new word gets the next number
    rows, columns, data = array("i"), array("i"), array("d")
    length = 0
    for document in with_progress(documents, "counting words", progress):
        try:
            counted = Counter(document)
        except TypeError:
            check_words(document)
            raise
        rows.extend(map(index.__getitem__, counted))
        columns.extend([length] * len(counted))
        data.extend(counted.values())
        length += 1
    coordinates = np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32)
    counts: Any = sparse.csr_array((np.array(data), coordinates), shape=(len(index), length))
    if vocab is None:
        barred = set(stop_words)
        allowed = np.array([word not in barred for word in index], dtype=bool)
        often, spread = counts.sum(axis=1), np.diff(counts.indptr)
        kept = np.flatnonzero(allowed & (often >= min_count) & (spread >= min_documents))
        if not len(kept):
            raise ValueError(
                f"LSA: no word of the {len(index)} in {length} documents is left by "
                f"min_count={min_count}, min_documents={min_documents} and the stop_words"
            )
        words = list(index)
        vocab = Vocab([words[i] for i in kept.tolist()], often[kept].astype(np.int64))
    wanted = [(i, index[word]) for i, word in enumerate(vocab) if word in index]
    to, of = np.array(wanted, dtype=np.int64).reshape(-1, 2).T
    pick = sparse.csr_array((np.ones(len(to)), (to, of)), shape=(len(vocab), len(index)))
    return vocab, sparse.csr_array(pick @ counts)


class LSA:
    """Latent semantic analysis of documents: word vectors are the rows of U·S^power.

    documents: lists of words, e.g. the paragraphs of a text. vector_size: the rank, at most the
    number of words and of documents. weighting: "tf", "tf-idf" or "log-entropy" (see `weight`).
    min_count, min_documents, stop_words: which words count (see `term_documents`). power: of the
    singular values in the word vectors; 1 gives the words of the low-rank matrix their cosines, 0
    plain singular vectors. seed: of the start of the iteration. device, dtype: of the vectors.

    wv: KeyedVectors of the words. singular_values: (vector_size,). factors: U, S and Vᵀ in
    float64. document_vectors: rows of V·S^power, (documents, vector_size). Signs are fixed: see
    `truncated_svd`. (Deerwester et al. 1990, "Indexing by latent semantic analysis".)

    Raises ValueError for options out of range and where no word is left.
    """

    def __init__(
        self,
        documents: Sentences,
        vector_size: int = 100,
        weighting: str = "log-entropy",
        *,
        min_count: int = 1,
        min_documents: int = 1,
        stop_words: Iterable[str] = (),
        power: float = 1.0,
        seed: int = 1,
        device: Device | str | None = None,
        dtype: DType | None = None,
        progress: bool | None = None,
    ) -> None:
        vocab, counts = term_documents(
            documents,
            min_count=min_count,
            min_documents=min_documents,
            stop_words=stop_words,
            progress=progress,
        )
        weighed, self.word_weights = weight(counts, weighting)
        self.weighting = weighting
        self._factor(weighed, vocab, vector_size, power, seed, device, dtype)

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        words: Vocab | Sequence[str] | None = None,
        vector_size: int = 100,
        *,
        power: float = 1.0,
        seed: int = 1,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> LSA:
        """The LSA of word rows: of a Cooccurrence, its `ppmi`, or term-document counts.

        words: the word of each row (a Cooccurrence has them). Raises ValueError if they are not
        as many as the rows.
        """
        if isinstance(matrix, Cooccurrence):
            words, matrix = matrix.vocab, matrix.counts
        rows = sparse.csr_array(matrix)
        if words is None or len(words) != rows.shape[0]:
            given = "none" if words is None else len(words)
            raise ValueError(f"LSA: words: expected one for each row of {rows.shape}, got {given}")
        model = cls.__new__(cls)
        model.weighting, model.word_weights = "tf", np.ones(len(words))
        model._factor(rows, words, vector_size, power, seed, device, dtype)
        return model

    def _factor(
        self,
        matrix: Any,
        words: Vocab | Sequence[str],
        vector_size: int,
        power: float,
        seed: int,
        device: Device | str | None,
        dtype: DType | None,
    ) -> None:
        vector_size, power = integer("LSA: vector_size", vector_size), real("LSA: power", power)
        if isinstance(words, Vocab):
            known, counts = words.index_to_key, words.counts.tolist()
        else:
            known, counts = [plain(word, "LSA: words") for word in words], None
        self.factors = truncated_svd(matrix, vector_size, integer("LSA: seed", seed))
        self.vector_size, self.power = vector_size, power
        left, values, right = self.factors

        def tensor_of(numbers: Array) -> Tensor:
            return as_tensor(numbers, dtype=dtype or get_default_dtype(), device=device)

        scale = values**power
        self.wv = KeyedVectors(vector_size, known, tensor_of(left * scale), counts)
        self.document_vectors = tensor_of(right.T * scale)
        self.singular_values = tensor_of(values)

    def save(self, path: str | Path) -> None:
        """Write the whole model to a safetensors file."""
        state = {
            **self.wv.state_dict(),
            "options": {"weighting": self.weighting, "power": self.power},
            "word_weights": from_numpy(self.word_weights),
            "factors": [from_numpy(np.ascontiguousarray(factor)) for factor in self.factors],
            "documents": self.document_vectors,
            "values": self.singular_values,
        }
        model_file.write(path, "LSA", state)

    @classmethod
    def load(
        cls, path: str | Path, mmap: str | None = None, device: Device | str | None = None
    ) -> LSA:
        """Read what `save` wrote. Raises ValueError for any other file. mmap has no effect."""
        with model_file.reading(path, "LSA", device=device) as state:
            model = cls.__new__(cls)
            model.weighting, model.power = (state["options"][n] for n in ("weighting", "power"))
            model.word_weights = state["word_weights"].cpu().numpy()
            model.factors = Factors(*(factor.cpu().numpy() for factor in state["factors"]))
            model.wv = KeyedVectors.from_state_dict(state)
            model.vector_size = model.wv.vector_size
            model.document_vectors, model.singular_values = state["documents"], state["values"]
            return model

    def reconstruct(self) -> Array:
        """The matrix of low rank that stands for the weighed counts, (words, documents)."""
        low: Array = (self.factors.left * self.factors.values) @ self.factors.right
        return low

    def infer_vector(self, document: Iterable[str]) -> Tensor:
        """A vector for a new document, comparable with `document_vectors`: (vector_size,).

        Its weighed counts d become dᵀ U S^(power - 1) (Deerwester et al. 1990, "folding-in");
        unknown words do not count.
        """
        counts = np.zeros(len(self.wv))
        for word in document:
            if word in self.wv.key_to_index:
                counts[self.wv.key_to_index[word]] += 1
        weighed = WEIGHTINGS[self.weighting][0](counts) * self.word_weights
        left, values, _ = self.factors
        inverse = np.where(values > 0, 1 / np.where(values > 0, values, 1), 0)
        folded = (weighed @ left) * inverse * values**self.power
        like = self.document_vectors
        return as_tensor(folded, dtype=like.dtype, device=like.device)

    def __repr__(self) -> str:
        return (
            f"LSA({len(self.wv)} words, {len(self.document_vectors)} documents, "
            f"vector_size={self.vector_size})"
        )

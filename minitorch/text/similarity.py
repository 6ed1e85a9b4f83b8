"""Which vectors are near to which: cosines, nearest keys, odd ones out."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from minitorch.backend.extras import install_hint
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor
from minitorch.ops import stack
from minitorch.text.vector_table import Item, Key, VectorTable, lengths, safe, shown, unit

_SCORES_AT_ONCE = 1 << 24  # bounds the matrix of scores, (queries, keys)
COSMUL_EPSILON = 1e-6  # Levy and Goldberg 2014, equation 4

Found = list[tuple[Key, float]]


class Similarity(VectorTable):
    """Comparisons of the vectors of a table by their cosines; a zero vector's are 0."""

    def similarity(self, w1: Key, w2: Key) -> float:
        """Cosine of the angle between the vectors of two keys; 1 if they are equal."""
        return _cosine(self._vector(w1), self._vector(w2))

    def distance(self, w1: Key, w2: Key) -> float:
        """1 - similarity(w1, w2)."""
        return 1 - self.similarity(w1, w2)

    @staticmethod
    def cosine_similarities(vector_1: Any, vectors_all: Any) -> Any:
        """Cosines of the angles between a vector (D,) and each of some vectors (n, D): (n,).

        A NumPy array, or, for vectors that are a Tensor on another device, a Tensor there.
        """
        device = None if isinstance(vectors_all, Tensor) else "cpu"
        vectors = as_tensor(vectors_all, device=device).detach()
        vector = as_tensor(vector_1).detach().to(vectors.device, vectors.dtype)
        return shown(vectors @ unit(vector) / safe(lengths(vectors)))

    def distances(self, word_or_vector: Any, other_words: Iterable[Key] | None = ()) -> Any:
        """1 - cosine of a key or vector (D,) to other keys, or (with none given) to all, (n,).

        A NumPy array on the CPU, else a Tensor.
        """
        return shown(self._distances(word_or_vector, list(other_words or ())))

    def _distances(self, given: Any, others: Sequence[Key] = ()) -> Tensor:
        query = unit(self._vector(given)).unsqueeze(0)
        if others:
            return 1 - (query @ unit(self._picked(others)).T)[0]
        return 1 - self._cosines(query, range(len(self)))[0]

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """Cosine of the angle between the mean vectors of two lists of keys.

        Unknown keys do not count. Raises ZeroDivisionError if a list is empty.
        """
        if not len(ws1) or not len(ws2):
            raise ZeroDivisionError("n_similarity: at least one of the lists of keys is empty")
        left, right = (as_tensor(self.get_mean_vector(w, pre_normalize=False)) for w in (ws1, ws2))
        return _cosine(left, right)

    def wmdistance(
        self, document1: Sequence[Key], document2: Sequence[Key], norm: bool = True
    ) -> float:
        """Word Mover's Distance between two documents, lists of keys; needs the extra `wmd`.

        The least sum of distances, each times the share of a document that is moved by it from
        one word to another (Kusner et al. 2015, "From word embeddings to document distances").
        norm: between vectors scaled to length one. Computed on the host. Unknown keys do not
        count; inf if a document has no other.
        """
        transport = _optimal_transport()
        from scipy.spatial.distance import cdist  # late: it takes longer than all the rest

        shares, vectors = [], []
        for document in (document1, document2):
            counts = Counter(self.get_index(key) for key in document if key in self)
            if not counts:
                return float("inf")
            self._require_finite(self.index_to_key[row] for row in counts)
            held = self.tensor[self._numbers(list(counts))]
            vectors.append((unit(held) if norm else held).double().cpu().numpy())
            shares.append([count / counts.total() for count in counts.values()])
        return float(transport(*shares, cdist(*vectors)))

    def relative_cosine_similarity(self, wa: Key, wb: Key, topn: int = 10) -> float:
        """similarity(wa, wb) over the sum of the `topn` highest similarities to wa.

        (Leeuwenberg et al. 2016, "A minimally supervised approach for synonym extraction with
        word embeddings", equation 1.)
        """
        nearest = self.similar_by_key(wa, topn)
        if not nearest:
            raise ValueError("relative_cosine_similarity: there is no similar key")
        total: float = sum(value for _, value in nearest)
        return self.similarity(wa, wb) / total

    # ------------------------------------------------------------------ nearest keys
    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
    ) -> Any:
        """The keys nearest to the sum of `positive` minus `negative`, all scaled to length one.

        positive, negative: keys or vectors, one or a list, or pairs of one and its weight;
        vectors count as they are. The answer leaves the given keys out and has (key, cosine)
        pairs, the nearest first; a key whose vector is not finite comes last, with nan. With
        topn=None all cosines, (n,): a NumPy array on the CPU, else a Tensor.
        clip_start, clip_end: look among the keys of these rows only; restrict_vocab: among so
        many of the first.
        indexer: what finds neighbours fast and roughly, see `minitorch.text.indexers`. Its
        `most_similar(vector, topn)` is asked with the unit vector of the sum, a NumPy array on the
        host, and gives the answer, the given keys among it.
        Raises KeyError for an unknown key, ValueError if nothing is given or it is not finite.
        (Linguistic regularities: Mikolov, Yih and Zweig 2013, "3CosAdd".)
        """
        positive, negative = self._listed(positive), self._listed(negative)
        if indexer is not None and topn is not None and topn > 0:
            query = self._queries([positive], [negative])[0][0]
            return indexer.most_similar(query.cpu().numpy(), topn)
        return self.most_similar_batch(
            [positive],
            [negative],
            topn=topn,
            clip_start=clip_start,
            clip_end=clip_end,
            restrict_vocab=restrict_vocab,
        )[0]

    def most_similar_batch(
        self,
        positive: Any,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
    ) -> Any:
        """`most_similar` for many queries: a list of answers, by one matrix product.

        positive, negative: what most_similar takes, for each query: a list of keys asks for the
        neighbours of each, a Tensor (q, D) for those of each row. With topn=None a Tensor (q, n).
        """
        positive = list(positive)
        negative = [None] * len(positive) if negative is None else list(negative)
        if len(negative) != len(positive):
            raise ValueError(
                f"most_similar_batch: {len(positive)} queries do not fit {len(negative)} negatives"
            )
        if topn is not None and topn < 1:
            return [[] for _ in positive]
        if restrict_vocab:
            clip_start, clip_end = 0, restrict_vocab
        rows = range(len(self))[clip_start : clip_end or len(self)]
        queries, given = self._queries(positive, negative)
        if topn is None:
            return shown(self._cosines(queries, rows))
        answers: list[Found] = []
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(rows)))
        for start in range(0, len(queries), at_once):
            part = slice(start, start + at_once)
            answers += self._best(self._cosines(queries[part], rows), topn, given[part], rows.start)
        return answers

    def _queries(
        self, positive: Sequence[Any], negative: Sequence[Any]
    ) -> tuple[Tensor, list[set[int]]]:
        """Unit vectors to look for, (q, D), and the rows of the keys that each is made of."""
        lists = [
            [self._weighted(item, 1.0) for item in self._listed(liked)]
            + [self._weighted(item, -1.0) for item in self._listed(disliked)]
            for liked, disliked in zip(positive, negative)
        ]
        if not all(lists):
            raise ValueError("most_similar: cannot compute similarity with no input")
        means = self._means(lists)
        if not means.isfinite().all():
            self._require_finite(item for items in lists for item, _ in items)
        return unit(means), [self._given(item for item, _ in items) for items in lists]

    def _listed(self, items: Any) -> list[Any]:
        """One key or vector, or several of them, as a list."""
        if items is None:
            return []
        one = self._is_key(items) or getattr(items, "ndim", 0) == 1
        return [items] if one else list(items)

    def _weighted(self, item: Any, weight: float) -> Item:
        """Something given with or without a weight; a weight of its own replaces the sign."""
        if isinstance(item, tuple | list) and len(item) == 2 and not self._is_key(item):
            return item[0], float(item[1])
        return item, weight

    def most_similar_cosmul(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The keys whose cosines with `positive` have a large product, over that of `negative`.

        The cosines are shifted to [0, 1]; the arguments and the answer are those of
        `most_similar`, without weights. (Levy and Goldberg 2014, "Linguistic regularities in
        sparse and explicit word representations", equation 4: "3CosMul".)
        """
        if topn is not None and topn < 1:
            return []
        liked, disliked = self._listed(positive), self._listed(negative)
        if not liked:
            raise ValueError("most_similar_cosmul: cannot compute similarity with no input")
        self._require_finite(liked + disliked)
        terms = [
            unit(self._vector(item)) if self._is_key(item) else self._vector(item)
            for item in liked + disliked
        ]
        rows = range(len(self))[: restrict_vocab or len(self)]
        shifted = (1 + self._cosines(stack(terms), rows)) / 2
        split = len(liked)
        scores = shifted[:split].prod(dim=0)
        scores = scores / (shifted[split:].prod(dim=0) + COSMUL_EPSILON)
        if topn is None:
            return shown(scores)
        return self._best(scores.unsqueeze(0), topn, [self._given(liked + disliked)])[0]

    def similar_by_key(
        self, key: Key, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """`most_similar` to one key."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_word(
        self, word: Key, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """`similar_by_key` by another name."""
        return self.similar_by_key(word, topn, restrict_vocab)

    def similar_by_vector(
        self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """`most_similar` to a vector (D,)."""
        return self.most_similar([as_tensor(vector)], topn=topn, restrict_vocab=restrict_vocab)

    def _cosines(self, queries: Tensor, rows: range) -> Tensor:
        """Dot products of queries (q, D) with the vectors of these rows at length one, (q, n)."""
        part = slice(rows.start, rows.stop)
        return queries @ self.tensor[part].T / self._norms()[1][part]

    def _given(self, items: Iterable[Any]) -> set[int]:
        return {self.get_index(item) for item in items if self._is_key(item)}

    def _best(
        self, scores: Tensor, topn: int, given: Sequence[set[int]], start: int = 0
    ) -> list[Found]:
        """The `topn` best keys of each row of scores (q, n), without those given; nan comes last.

        start: the row of the table that column 0 of the scores is about.
        """
        count = min(topn + max(map(len, given)), scores.shape[1])
        columns = scores.masked_fill(scores.isnan(), -float("inf")).topk(count)[1]
        values = scores.gather(1, columns)
        answers: list[Found] = []
        for skipped, cosines, positions in zip(given, values.tolist(), columns.tolist()):
            found = ((start + position, cosine) for position, cosine in zip(positions, cosines))
            kept = [(self.index_to_key[row], cos) for row, cos in found if row not in skipped]
            answers.append(kept[:topn])
        return answers

    # ------------------------------------------------------------------ ranks and lists
    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """That of the keys which is most similar to `key1`. Raises ValueError if there is none."""
        if not len(keys_list):
            raise ValueError("most_similar_to_given: the list of keys is empty")
        return keys_list[int(self._finite_distances(key1, keys_list).argmin())]

    def closer_than(self, key1: Key, key2: Key) -> list[Key]:
        """All keys that are closer to `key1` than `key2` is, in the order of their rows."""
        distances = self._finite_distances(key1)
        own, other = self.get_index(key1), self.get_index(key2)
        rows = (distances < distances[other]).nonzero().flatten().tolist()
        return [self.index_to_key[row] for row in rows if row != own]

    def _finite_distances(self, key: Key, others: Sequence[Key] = ()) -> Tensor:
        """`_distances`, infinite to vectors that are not. Raises ValueError if the key's is not."""
        self._require_finite([key])
        distances = self._distances(key, others)
        return distances.masked_fill(distances.isnan(), float("inf"))

    def words_closer_than(self, word1: Key, word2: Key) -> list[Key]:
        """`closer_than` by its old name."""
        return self.closer_than(word1, word2)

    def rank(self, key1: Key, key2: Key) -> int:
        """The position of `key2` among all keys by their distance from `key1`, the nearest is 1."""
        return len(self.closer_than(key1, key2)) + 1

    def rank_by_centrality(
        self, words: Sequence[Key], use_norm: bool = True
    ) -> list[tuple[float, Key]]:
        """(dot product with the mean of them all at length one, key), the most central first.

        use_norm: the keys' vectors are scaled to length one before. Unknown keys do not count
        (with a warning). Raises ValueError if none is known.
        """
        known = [word for word in words if word in self]
        if len(known) < len(words):
            unknown = ", ".join(repr(word) for word in words if word not in self)
            warnings.warn(f"rank_by_centrality: unknown keys are left out: {unknown}", stacklevel=2)
        if not known:
            raise ValueError("rank_by_centrality: cannot select a word from an empty list")
        self._require_finite(known)
        vectors = unit(self._picked(known)) if use_norm else self._picked(known)
        central: list[float] = (vectors @ unit(vectors.mean(dim=0))).tolist()
        return sorted(zip(central, known), reverse=True)

    def doesnt_match(self, words: Sequence[Key]) -> Key:
        """The key farthest from the mean of them all: see `rank_by_centrality`."""
        return self.rank_by_centrality(words)[-1][1]


def _cosine(left: Tensor, right: Tensor) -> float:
    """Cosine of the angle between two vectors (D,): exactly 1 if they are equal; 0 with zero."""
    left, right = left.double(), right.double()
    squares = (left * left).sum().item() * (right * right).sum().item()
    if not 1e-200 < squares < math.inf:  # too long, too short, zero or not finite
        left, right = (v / safe(v.abs().amax()) for v in (left, right))
        squares = (left * left).sum().item() * (right * right).sum().item()
    return float((left * right).sum().item() / (math.sqrt(squares) or 1.0))


def _optimal_transport() -> Any:
    try:
        from ot import emd2
    except ImportError as error:
        raise ImportError(f"wmdistance needs POT: {install_hint('wmd')}") from error
    return emd2

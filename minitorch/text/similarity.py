"""Which vectors are near to which: cosines, nearest keys, odd ones out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from minitorch.creation import as_tensor
from minitorch.ops import stack
from minitorch.tensor import Tensor
from minitorch.text.vector_table import Item, Key, VectorTable, is_key, safe, unit

_SCORES_AT_ONCE = 1 << 24  # bounds the matrix of scores, (queries, keys)
COSMUL_EPSILON = 1e-6  # Levy and Goldberg 2014, equation 4

Found = list[tuple[Key, float]]


class Similarity(VectorTable):
    """Comparisons of the vectors of a table by their cosines; a zero vector's are 0."""

    def similarity(self, w1: Key, w2: Key) -> float:
        """Cosine of the angle between the vectors of two keys."""
        left, right = self.get_index(w1), self.get_index(w2)
        lengths = float(self.norms[left]) * float(self.norms[right])
        return float((self.vectors[left] * self.vectors[right]).sum()) / (lengths or 1.0)

    def distance(self, w1: Key, w2: Key) -> float:
        """1 - similarity(w1, w2)."""
        return 1 - self.similarity(w1, w2)

    @staticmethod
    def cosine_similarities(vector_1: Any, vectors_all: Any) -> Tensor:
        """Cosines of the angles between a vector (D,) and each of some vectors (n, D): (n,)."""
        vectors = as_tensor(vectors_all).detach()
        vector = as_tensor(vector_1).detach().to(vectors.device, vectors.dtype)
        return vectors @ unit(vector) / safe(vectors.norm(dim=1))

    def distances(self, word_or_vector: Any, other_words: Iterable[Key] | None = ()) -> Tensor:
        """1 - cosine of a key or vector (D,) to other keys, or (with none given) to all, (n,)."""
        given = word_or_vector
        vector = self.get_vector(given) if is_key(given) else self._vector(given)
        others = list(other_words or ())
        if others:
            return 1 - self.cosine_similarities(vector, self[others])
        return 1 - self._cosines(unit(vector).unsqueeze(0), range(len(self)))[0]

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """Cosine of the angle between the mean vectors of two lists of keys.

        Unknown keys do not count. Raises ZeroDivisionError if a list is empty.
        """
        if not ws1 or not ws2:
            raise ZeroDivisionError("n_similarity: at least one of the lists of keys is empty")
        left, right = (unit(self.get_mean_vector(ws, pre_normalize=False)) for ws in (ws1, ws2))
        return float((left * right).sum())

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
    ) -> Any:
        """The keys nearest to the sum of `positive` minus `negative`, all scaled to length one.

        positive, negative: keys or vectors, one or a list, or pairs of one and its weight;
        vectors count as they are. The answer leaves the given keys out and has (key, cosine)
        pairs, the nearest first; with topn=None all cosines, a Tensor (n,).
        clip_start, clip_end: look among the keys of these rows only; restrict_vocab: among so
        many of the first.
        Raises KeyError for an unknown key, ValueError if nothing is given.
        (Linguistic regularities: Mikolov, Yih and Zweig 2013, "3CosAdd".)
        """
        return self.most_similar_batch(
            [_listed(positive)],
            [_listed(negative)],
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
        queries = [
            [_weighted(item, 1.0) for item in _listed(liked)]
            + [_weighted(item, -1.0) for item in _listed(disliked)]
            for liked, disliked in zip(positive, negative)
        ]
        if not all(queries):
            raise ValueError("most_similar: cannot compute similarity with no input")
        if restrict_vocab:
            clip_start, clip_end = 0, restrict_vocab
        rows = range(len(self))[clip_start : clip_end or len(self)]
        if topn is None:
            return self._cosines(unit(self._means(queries)), rows)
        answers: list[Found] = []
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(rows)))
        for start in range(0, len(queries), at_once):
            part = queries[start : start + at_once]
            scores = self._cosines(unit(self._means(part)), rows)
            given = [self._given(item for item, _ in query) for query in part]
            answers += self._best(scores, topn, given, rows.start)
        return answers

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
        liked, disliked = _listed(positive), _listed(negative)
        if not liked:
            raise ValueError("most_similar_cosmul: cannot compute similarity with no input")
        terms = [
            self.get_vector(item, norm=True) if is_key(item) else self._vector(item)
            for item in liked + disliked
        ]
        rows = range(len(self))[: restrict_vocab or len(self)]
        shifted = (1 + self._cosines(stack(terms), rows)) / 2
        split = len(liked)
        scores = shifted[:split].prod(dim=0)
        scores = scores / (shifted[split:].prod(dim=0) + COSMUL_EPSILON)
        if topn is None:
            return scores
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
        return queries @ self.vectors[part].T / self._divisors[part]

    def _given(self, items: Iterable[Any]) -> set[int]:
        return {self.get_index(item) for item in items if is_key(item)}

    def _best(
        self, scores: Tensor, topn: int, given: Sequence[set[int]], start: int = 0
    ) -> list[Found]:
        """The `topn` best keys of each row of scores (q, n), without those given.

        start: the row of the table that column 0 of the scores is about.
        """
        count = min(topn + max(map(len, given)), scores.shape[1])
        values, columns = scores.topk(count)
        answers: list[Found] = []
        for skipped, cosines, places in zip(given, values.tolist(), columns.tolist()):
            found = ((start + place, cosine) for place, cosine in zip(places, cosines))
            kept = [(self.index_to_key[row], cos) for row, cos in found if row not in skipped]
            answers.append(kept[:topn])
        return answers

    # ------------------------------------------------------------------ ranks and lists
    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """That of the keys which is most similar to `key1`."""
        return keys_list[int(self.distances(key1, keys_list).argmin())]

    def closer_than(self, key1: Key, key2: Key) -> list[Key]:
        """All keys that are closer to `key1` than `key2` is, in the order of their rows."""
        distances = self.distances(key1)
        own, other = self.get_index(key1), self.get_index(key2)
        rows = (distances < distances[other]).nonzero().flatten().tolist()
        return [self.index_to_key[row] for row in rows if row != own]

    def words_closer_than(self, word1: Key, word2: Key) -> list[Key]:
        """`closer_than` by its old name."""
        return self.closer_than(word1, word2)

    def rank(self, key1: Key, key2: Key) -> int:
        """The place of `key2` among all keys by their distance from `key1`, the nearest is 1."""
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
        vectors = unit(self[known]) if use_norm else self[known]
        central: list[float] = (vectors @ unit(vectors.mean(dim=0))).tolist()
        return sorted(zip(central, known), reverse=True)

    def doesnt_match(self, words: Sequence[Key]) -> Key:
        """The key farthest from the mean of them all: see `rank_by_centrality`."""
        return self.rank_by_centrality(words)[-1][1]


def _listed(items: Any) -> list[Any]:
    """One key or vector, or several of them, as a list."""
    if items is None:
        return []
    return [items] if is_key(items) or getattr(items, "ndim", 0) == 1 else list(items)


def _weighted(item: Any, weight: float) -> Item:
    """Something given with or without a weight; a weight of its own replaces the sign."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], float(item[1])
    return item, weight

"""Predictions of trained word vectors: which words fit a context, and how likely they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from minitorch.core import dtypes
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, tensor
from minitorch.ops import cat
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.vector_table import shown
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.options import Sentences
from minitorch.text.word2vec.sampler import Blocks
from minitorch.text.word2vec.state import State


class Predictions(State):
    """What a model with a vocabulary predicts, and the tables that it does so with."""

    def predict_output_word(
        self, context_words_list: Iterable[Any], topn: int = 10
    ) -> list[tuple[Any, float]] | None:
        """The most probable words in the midst of these: see `output_words`.

        Raises RuntimeError unless the model has output vectors: negative > 0 or full_softmax=1.
        """
        output = self._table("output.weight", "others.0.weight", "others.1.weight")
        if output is None:
            raise RuntimeError(
                "Word2Vec: predict_output_word: needs negative > 0 or full_softmax=1, and a "
                "vocabulary"
            )
        return output_words(self.wv, output, context_words_list, topn, bool(self.cbow_mean))

    def score(
        self,
        sentences: Sentences,
        total_sentences: int = 1_000_000,
        chunksize: int = 100,
        queue_factor: int = 2,
        report_delay: float = 1,
    ) -> Any:
        """Log probability of each sentence, float64 (n,); on the CPU a NumPy array.

        See `log_probabilities`.

        total_sentences: of the first so many only; what follows is there for gensim's sake.
        Raises RuntimeError unless the model has hs=1 (or, unlike gensim's, full_softmax=1) and a
        vocabulary.
        """
        if self._numbered is None or not len(self.model.others):
            raise RuntimeError("Word2Vec: score: needs hs=1 or full_softmax=1, and a vocabulary")
        scored = islice(sentences, total_sentences)
        return shown(log_probabilities(self.model, self.wv, scored))

    @property
    def syn1neg(self) -> Any:
        """Output vectors of negative sampling, (V, D), in the memory that is trained.

        On the CPU a NumPy array, elsewhere a Tensor. Raises AttributeError if there are none.
        """
        return shown(self._named("syn1neg", "output.weight"))

    @property
    def syn1(self) -> Any:
        """Vectors of the nodes of hs=1, (V, D): a copy, on the CPU a NumPy array.

        A tree of V words has V - 1 nodes; the last row is zero, as in gensim. Raises
        AttributeError if there are none.
        """
        nodes = self._named("syn1", "others.0.nodes.weight")
        return shown(cat([nodes, nodes.new_zeros(1, self.vector_size)]))

    def _named(self, name: str, key: str) -> Tensor:
        table = self._table(key)
        if table is None:
            raise AttributeError(f"Word2Vec: {name}: the model has no such vectors")
        return table

    def _table(self, *names: str) -> Tensor | None:
        """The first of these tables that there is."""
        tables = {} if self._numbered is None else self.model.state_dict()
        return next((tables[name] for name in names if name in tables), None)


@no_grad()
def output_words(
    wv: KeyedVectors, output: Tensor, context: Iterable[Any], topn: int, mean: bool
) -> list[tuple[Any, float]] | None:
    """The `topn` words that are most probable in the midst of others, with their probabilities.

    The softmax of output (V, D) times the sum or mean of the others' vectors, as in gensim. None
    if no word of the context is known. A word whose output vector is not finite has probability 0;
    raises ValueError for a context whose vectors are not.
    """
    known = [word for word in context if word in wv]
    if not known:
        return None
    wv._require_finite(known)
    rows = [wv.get_index(word) for word in known]
    x = wv.tensor[tensor(rows, dtype=int, device=wv.device)].sum(dim=0)
    x = x / len(rows) if mean else x
    scores = output @ x
    scores = scores.masked_fill(~scores.isfinite(), -float("inf"))
    values, words = scores.softmax(0).topk(min(topn, len(wv)))
    return [(wv.index_to_key[i], p) for i, p in zip(words.tolist(), values.tolist())]


@no_grad()
def log_probabilities(model: SkipGram, wv: KeyedVectors, sentences: Sentences) -> Tensor:
    """The sum of log P(word | other word) over the pairs of each sentence's windows, float64 (n,).

    CBOW: of log P(word | its window). By the softmax that the model has learnt; unknown words are
    left out. A sentence of less than two words has no pair, and 0.
    """
    found = [_log_probability(model, wv, sentence) for sentence in sentences]
    return tensor(found, dtype=dtypes.float64, device=wv.device)


def _log_probability(model: SkipGram, wv: KeyedVectors, sentence: Sequence[str]) -> float:
    words = [wv.key_to_index[word] for word in sentence if word in wv.key_to_index]
    if len(words) < 2:
        return 0.0
    w, n, device = model.window, len(words), wv.device
    halo = tensor([0] * w + words + [0] * w, dtype=int, device=device).unsqueeze(0)
    offset = arange(-w, w + 1, device=device).unsqueeze(1)
    index = arange(n, device=device) + offset
    inside = (index >= 0) & (index < n) & (offset != 0)
    block = Blocks(halo[:, w : w + n], halo, inside.to(wv.tensor.dtype).unsqueeze(0))
    log_probability: float = -model.others[0](*model.predicted(block)).item()
    return log_probability

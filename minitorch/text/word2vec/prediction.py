"""Predictions of trained word vectors: which words fit a context, and how likely they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minitorch.core import dtypes
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, tensor
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.sampler import Blocks

Sentences = Iterable[Sequence[str]]


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

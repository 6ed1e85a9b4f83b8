"""Word vectors word by word: what lies between `minitorch.text` and Numba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minitorch.backend.cpu.entry import Array
from minitorch.backend.cpu.index import check_range
from minitorch.backend.cpu.word2vec import check_kernels


def word_kernels() -> Any:
    """The module `compiled_words`: see `kernels`."""
    check_kernels()
    from minitorch.backend.cpu import compiled_words

    return compiled_words


def cbow_sgd_(
    tables: Sequence[Array],
    blocks: Sequence[Array],
    window: int,
    size: int,
    lr: Sequence[float],
    mean: bool,
) -> float:
    """Change vectors and contexts, float32 (V, D), by CBOW as word2vec.c does; returns the loss.

    blocks: centres (n, L), others (n, L + 2 window + K) and weights (n, 2 window + 1 + K, L).
    lr: the rate of each `size` blocks. mean: of the window, or its sum. Needs Numba. Raises
    IndexError for a word that there is not.
    """
    vectors, contexts = tables
    centres, others, weights = map(np.ascontiguousarray, blocks)
    check_range(centres, len(contexts), "cbow_sgd_: centres")
    check_range(others, min(len(vectors), len(contexts)), "cbow_sgd_: others")
    rates = np.array(lr, dtype=np.float32)
    given = vectors, contexts, centres, others, weights, window, size, rates, mean
    return float(word_kernels().cbow(*given))


def hierarchical_softmax_sgd_(
    vectors: Array,
    nodes: Array,
    blocks: Sequence[Array],
    paths: Array,
    window: int,
    rate: float,
    mean: bool | None = None,
) -> float:
    """Change vectors and nodes, float32 (V, D) and (V - 1, D), as word2vec.c does; the loss.

    blocks: as of `cbow_sgd_`. paths: int32 (V, P), see `HierarchicalSoftmax`. mean: CBOW of the
    mean or the sum, None for skip-gram. Needs Numba. Raises IndexError for a word that there is
    not.
    """
    centres, others, weights = map(np.ascontiguousarray, blocks)
    check_range(centres, len(paths), "hierarchical_softmax_sgd_: centres")
    check_range(others, len(vectors), "hierarchical_softmax_sgd_: others")
    given = vectors, nodes, centres, others, weights, window, paths, rate
    if mean is None:
        return float(word_kernels().tree_skip_gram(*given))
    return float(word_kernels().tree_cbow(*given, mean))

"""Hierarchical softmax word by word: what lies between `minitorch.text` and Numba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minitorch.backend.cpu.entry import Array
from minitorch.backend.cpu.index import check_range
from minitorch.backend.cpu.word2vec import check_kernels


def softmax_kernels() -> Any:
    """The module `compiled_softmax`: see `kernels`."""
    check_kernels()
    from minitorch.backend.cpu import compiled_softmax

    return compiled_softmax


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

    blocks: centres (n, L), others (n, L + 2 window + K) and weights (n, 2 window + 1 + K, L).
    paths: int32 (V, P), see `HierarchicalSoftmax`. mean: CBOW of the mean or the sum, None for
    skip-gram. Needs Numba. Raises IndexError for a word that there is not.
    """
    centres, others, weights = map(np.ascontiguousarray, blocks)
    check_range(centres, len(paths), "hierarchical_softmax_sgd_: centres")
    check_range(others, len(vectors), "hierarchical_softmax_sgd_: others")
    given = vectors, nodes, centres, others, weights, window, paths, rate
    if mean is None:
        return float(softmax_kernels().skip_gram(*given))
    return float(softmax_kernels().cbow(*given, mean))

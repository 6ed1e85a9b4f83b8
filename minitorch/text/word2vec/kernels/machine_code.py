"""The interface between word vectors and the machine code that Numba compiles for them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from minitorch.backend.cpu.index import check_range
from minitorch.backend.cpu.kernel import Array
from minitorch.backend.extras import install_hint


def has_numba() -> bool:
    """Whether `blockwise` and `wordwise` will find Numba."""
    return find_spec("numba") is not None


def check_numba() -> None:
    """Raise ImportError, with the way around, where Numba is not installed."""
    if not has_numba():
        raise ImportError(
            f"compiled=True needs Numba, which is not installed: {install_hint('numba')}"
        )


def blockwise() -> Any:
    """The module of that name, which takes some time to import; see `check_numba`."""
    check_numba()
    from minitorch.text.word2vec.kernels import blockwise as module

    return module


def wordwise() -> Any:
    """The module of that name: as `blockwise`."""
    check_numba()
    from minitorch.text.word2vec.kernels import wordwise as module

    return module


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
    return float(wordwise().cbow(*given))


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
        return float(wordwise().tree_skip_gram(*given))
    return float(wordwise().tree_cbow(*given, mean))

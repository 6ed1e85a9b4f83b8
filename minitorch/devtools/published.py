"""GPU costs of other people's programs, counted in their sources, to compare with our counts."""

from __future__ import annotations

from minitorch.devtools.steps import NEGATIVE, WINDOW

# PyTorch's eager step of the perceptron of `steps`: launches and megabytes.
PYTORCH = {"Adam": (28, 48.7), "fused Adam": (23, 25.1)}


def word2vec_rows(window: int = WINDOW, negative: int = NEGATIVE) -> dict[str, float]:
    """Rows of a table that a word of the corpus costs published implementations on GPUs.

    A row that a kernel reads from global memory counts one, and so does a row that it adds to. We
    counted rows in the kernels that the authors publish, in their favour: a row that is read twice
    in succession counts once, numbers of words and labels do not count. A word has w + 1 contexts
    on average (each centre draws its effective window evenly from 1 ... w) and is trained with
    k + 1 targets.

    - accSGNS (Bae & Yi 2016, "Acceleration of Word2vec Using GPUs"; word2vec-acc-cuda): for each
      pair and target, both rows are read and the target's is added to; then the context's.
    - Wombat (Simonton & Alaghband 2017, "Efficient and accurate Word2Vec implementations in GPU
      and shared-memory multicore architectures"): tiles of four targets and eight contexts take
      their twelve rows in and out; the pairs that fill no tile are trained one by one.
    - FULL-Register (Randall et al. 2021, see below): a target stays in a register while its
      contexts pass.
    - Windows as matrices (Ji et al. 2016, "Parallelizing Word2Vec in Shared and Distributed
      Memory", for CPUs; BlazingText, Gupta & Khare 2017, shares negatives likewise, but its
      kernels are not public): the least number of rows where the contexts of a word and its
      targets are read and written once. Derived from the papers' descriptions.
    - FULL-W2V (Randall et al. 2021, "FULL-W2V: Fully Exploiting Data Reuse for W2V on
      GPU-Accelerated Systems"): targets stay in registers, and a context in shared memory for as
      long as windows hold it. The paper measures over 89% fewer accesses than earlier work; these
      counts give 88% against accSGNS.
    """
    contexts, targets = window + 1, negative + 1
    windows = range(1, window + 1)
    return {
        "accSGNS": contexts * (3 * targets + 1),
        "Wombat": sum(_wombat_rows(2 * effective, targets) for effective in windows) / window,
        "FULL-Register": 2 * targets * (1 + contexts),
        "windows as matrices": 2 * (contexts + targets),
        "FULL-W2V": 2 * targets + 2,
    }


def _wombat_rows(contexts: int, targets: int) -> int:
    tiles = (targets // 4) * (contexts // 8)
    return 2 * (4 + 8) * tiles + 2 * 2 * (contexts * targets - 4 * 8 * tiles)

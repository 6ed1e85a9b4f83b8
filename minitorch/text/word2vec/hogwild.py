"""Training in place by thread blocks that do not wait for each other.

Several write to the tables without a lock (Recht et al. 2011, "Hogwild!: A Lock-Free Approach to
Parallelizing Stochastic Gradient Descent"). A launch of `kernels/hogwild.cu` trains on a million
words and more. What a word draws depends on its position in the corpus alone: whether sub-sampling
keeps it, its effective window, and the noise words of the group of words that it is the first of.
On the CPU the same steps come one after the other, or as late as so many blocks at work would make
them: `kernels.hogwild`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from minitorch import library
from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.text.word2vec.damping import CURVATURE_LIMIT

__all__ = ["Job", "Shape", "hogwild_sgd_", "pairs_in_flight", "shape"]

_PASS = 256  # positions that a thread block looks at together
_LONGEST = 4 * _PASS  # positions of a chunk and its margins, at most
_ROOM = 64 * 1024 - 768  # bytes of shared memory: those of capability 7.5, less the kernel's own


class Shape(NamedTuple):
    """The sizes of a chunk of the corpus and of the groups that it is trained in.

    depth: D. centres, negatives: L words of a group, at most, that share K noise words. window: on
    either side. span, margin: positions of a chunk, and those on either side among which the
    windows of its words end.
    """

    depth: int
    centres: int
    negatives: int
    window: int
    span: int
    margin: int

    @property
    def rows_of_y(self) -> int:
        """Rows of the output table, or of CBOW's windows, that a group has at once, at most."""
        return self.centres + 2 * self.window + self.negatives

    @property
    def stride(self) -> int:
        """Elements from one row to the next in shared memory: equal offsets in other banks."""
        piece = 1 if self.depth % 4 else 4
        return (ceil(self.depth / piece) | 1) * piece

    @property
    def pitch(self) -> int:
        """Elements from one row of scores to the next."""
        return self.centres + (ceil(self.centres / 4) - self.centres) % 32

    @property
    def capacity(self) -> int:
        """Positions of a chunk and its margins."""
        return self.span + 2 * self.margin

    @property
    def bytes(self) -> int:
        """Shared memory: `laid_out` in kernels/hogwild.cu."""
        rows = self.centres + self.rows_of_y
        scores = max(self.rows_of_y * self.pitch, 32 * 8 * 4)
        of_rows = 5 * (rows + self.centres + 2 * self.window)
        of_centres = self.centres * (3 + ceil(self.negatives / 32))
        return 4 * (rows * self.stride + scores + of_rows + of_centres) + 8 * self.capacity


def shape(depth: int, centres: int, negatives: int, window: int, kept: float) -> Shape | None:
    """The shape for groups of so many words and noise words, or fewer where rows are long.

    kept: the share of the corpus that sub-sampling keeps. None if not even four words fit.
    """
    margin = min(8 * ceil(window / 2 / max(kept, 1 / _LONGEST)), _LONGEST // 4)
    margin = max(margin, min(8 * window, _LONGEST // 4))
    words = min(max(128.0, 2 * centres / max(kept, 1 / _LONGEST)), _LONGEST / 2)
    span = _PASS * ceil((words + 2 * margin) / _PASS) - 2 * margin
    for size in range(centres, min(centres, 4) - 1, -1):
        found = Shape(depth, size, ceil(negatives * size / centres), window, span, margin)
        if found.bytes <= _ROOM:
            return found
    return None


class Job(NamedTuple):
    """What `hogwild_sgd_` trains on, and how.

    origin, first, end: the position of the first of `codes`, and those to train on. stride: item i
    of the queue is chunk i * stride modulo their number. seed, stream: of the random numbers, and
    where those of position 0 are. progress, step: of the run, at the first item and for each.
    high, low: the rate at progress 0 and 1. negative: noise words to a pair.
    least: the least square that other blocks' pairs count with, limit: of H, see `damping`.
    resident: blocks that are at work at once, at most; None: as many as the device holds.
    """

    origin: int
    first: int
    end: int
    stride: int
    seed: int
    stream: int
    progress: float
    step: float
    high: float
    low: float
    negative: float
    cbow: bool
    mean: bool
    shrink: bool
    least: float
    resident: int | None = None
    limit: float = CURVATURE_LIMIT


_hogwild_sgd_ = library.update("hogwild_sgd_")


def hogwild_sgd_(
    tables: tuple[Tensor, Tensor],
    tally: Tensor,
    codes: Tensor,
    sampling: Sequence[Tensor],
    shares: tuple[Tensor, Tensor],
    shape: Shape,
    job: Job,
) -> None:
    """Train two float32 tables (V, D) in place on the words from `job.first` to `job.end` - 1.

    tally: float64 (3,), zeros, which get the summed loss and the number of pairs. codes: int32
    (n,), see `Encoded.codes`. sampling: the probability that sub-sampling keeps each word, and the
    noise distribution as an alias table, (V,) each. shares: for the rows of each table the weight
    of the pairs that a word in flight is expected to bring them, (V,), see `damping`.
    Raises RuntimeError for shapes that do not fit.
    """
    words, depth = tables[0].shape
    of_words = [*sampling, *shares]
    if depth != shape.depth or any(tuple(t.shape) != (words,) for t in of_words):
        raise RuntimeError(
            f"hogwild_sgd_: tables (V, D), D = {shape.depth}, and (V,) of each word: got "
            + ", ".join(str(tuple(t.shape)) for t in (*tables, *of_words))
        )
    written = [[tables[0]], [tables[1]], [tally]]
    _hogwild_sgd_(written, [[codes], *([t] for t in of_words)], shape=shape, job=job)


def pairs_in_flight(
    kept: Any, noise: Any, near: float, negative: float, cbow: bool
) -> tuple[Any, Any]:
    """The weights of pairs that a word is expected to bring each row of both tables, (V,) each.

    kept, noise: the distributions of words that sub-sampling leaves, and of noise words, (V,).
    near: words in a window, on average. negative: noise words to a pair.
    """
    of_input = near * (1 + negative) * kept
    of_output = kept + negative * noise
    return of_input, of_output if cbow else near * of_output


guard(globals())

"""How far word vectors go on ordinary text, at ordinary and at extreme options, beside gensim.

python -m benchmarks.word2vec_stability [--full] [--words 300000] [--corpus gcide+wordnet]
                                        [--work FOLDER] [--contestant gensim] [--compiled no]

An epoch over the first words of the corpus, at points among which any values of three AXES meet, or
with --full at all of their product, where A point fails where
training raises an error, where the loss is not below that of zero vectors, and where a component
is not finite or larger than four times gensim's largest. The work folder keeps what was measured:
a run that was stopped goes on there. Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._contest import MODELS, STEP, Contest, listed, parser, points, summary, told
from benchmarks.harness import save
from benchmarks.word2vec import sentences

NAME = "word2vec-stability"
AXES: dict[str, list[Any]] = {
    "model": list(MODELS),
    "negative": [2, 5, 10, 20],
    "window": [2, 5, 10, 15],
    "alpha": [0.025, 0.05, 0.1],
    "vector_size": [50, 300],
    STEP: [512, 4096],
}
FIXED = {"min_count": 5, "sample": 1e-3, "epochs": 1, "seed": 1}


def beginning(name: str, words: int) -> Iterator[list[str]]:
    """The sentences of a corpus until they have so many words."""
    for sentence in sentences(name):
        yield sentence[:words]
        words -= len(sentence)
        if words <= 0:
            return


def main(given: list[str] | None = None) -> None:
    """Measure the points, print and save the table."""
    made = parser("word2vec_stability", __doc__.splitlines()[0])
    add = made.add_argument
    add("--corpus", default="gcide+wordnet", help="as in benchmarks.word2vec")
    add("--words", type=int, default=300_000)
    add("--full", action="store_true", help="the product of the axes")
    args = made.parse_args(given)
    contest, name = Contest(args), Path(args.corpus).name
    path = contest.file(f"{name}-{args.words}", partial(beginning, args.corpus, args.words))
    rows = contest.extents(path, points(AXES, {}, args.full), FIXED)
    lines = summary(rows, AXES, learns=True)
    print("\n".join(lines))
    if not args.dry:
        notes = (
            f"The first {args.words:,} words of {name}; {listed(FIXED)}. {told(args.full)} Also "
            "where the loss is not below that of zero vectors, ln 2 for each word of a pair and "
            "each turn of hierarchical softmax."
        )
        save(NAME, "Word vectors: how far they go on ordinary text", notes, lines, rows)


if __name__ == "__main__":
    main()

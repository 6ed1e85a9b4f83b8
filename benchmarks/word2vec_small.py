"""How far vectors of few words go, in drawn text and in walks on graphs, beside gensim.

python -m benchmarks.word2vec_small [--full] [--part text walks]
                                    [--work FOLDER] [--contestant gensim] [--compiled no]

Text: words drawn evenly or by Zipf's law. Walks: of node2vec (Grover and Leskovec, 2016; p and q
are 1), ten of 80 steps from each node of a graph, window 10, 128 dimensions. Points are such that
any values of three axes meet, or with --full the product of the axes. A point fails where training
raises an error, and where a component is not finite or larger than four times gensim's largest.
The work folder keeps what was measured: a run that was stopped goes on there. Results go to
benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from benchmarks._contest import (
    MODELS,
    STEP,
    Contest,
    Point,
    Rows,
    listed,
    parser,
    points,
    summary,
    told,
)
from benchmarks.harness import save
from benchmarks.word2vec_curves import frequencies, sentences

NAME = "word2vec-small"
WORDS = 60_000  # of a drawn text
LAWS: dict[str, Callable[[int], list[int]]] = {
    "even": lambda words: [WORDS // words] * words,
    "Zipf": lambda words: frequencies(words, WORDS),
}
GRAPHS: dict[str, tuple[str, tuple[Any, ...]]] = {  # functions of networkx and their arguments
    "karate club": ("karate_club_graph", ()),
    "ring": ("cycle_graph", (50,)),
    "path": ("path_graph", (30,)),
    "star": ("star_graph", (40,)),
    "clique": ("complete_graph", (20,)),
    "grid": ("grid_2d_graph", (10, 10)),
    "tree": ("balanced_tree", (3, 4)),
    "barbell": ("barbell_graph", (12, 6)),
    "cube": ("hypercube_graph", (6,)),
    "caves": ("connected_caveman_graph", (10, 8)),
    "blocks": ("planted_partition_graph", (4, 25, 0.3, 0.02, 1)),
    "small world": ("watts_strogatz_graph", (150, 6, 0.1, 1)),
    "hubs": ("barabasi_albert_graph", (150, 3, 1)),
}
WALKS, WALK_LENGTH = 10, 80
FIXED = {"min_count": 1, "seed": 1}


class Part(NamedTuple):
    """What sentences are made of, from the values of the first axes, and the points.

    Of the minor axes --full takes a value at random for each point of the others' product.
    """

    title: str
    make: Callable[..., Iterator[list[str]]]
    of: tuple[str, ...]
    axes: dict[str, list[Any]]
    minor: dict[str, list[Any]]
    fixed: dict[str, Any]


def text(words: int, law: str, length: int) -> Iterator[list[str]]:
    """Sentences of words in random order, each as often as the law wants."""
    return sentences(LAWS[law](words), length)


def walks(graph: str) -> Iterator[list[str]]:
    """Random walks from each node of a graph, in random order."""
    import networkx

    name, arguments = GRAPHS[graph]
    neighbours = networkx.to_dict_of_lists(getattr(networkx, name)(*arguments))
    rng = random.Random(1)
    for _ in range(WALKS):
        for node in rng.sample(sorted(neighbours), len(neighbours)):
            walk = [node]
            while len(walk) < WALK_LENGTH and neighbours[walk[-1]]:
                walk.append(rng.choice(neighbours[walk[-1]]))
            yield ["_".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in walk]


STEPS = {STEP: [512, 4096]}
PARTS = {
    "text": Part(
        f"drawn texts of {WORDS:,} words",
        text,
        ("words", "law", "length"),
        {
            "words": [10, 30, 100, 300, 1000],
            "law": list(LAWS),
            "length": [20, 200, 1000],
            "model": list(MODELS),
            "window": [2, 5, 10],
            "negative": [5, 15],
        },
        {"alpha": [0.025, 0.05], "sample": [1e-3, 0], "epochs": [1, 5], "vector_size": [16, 100]}
        | STEPS,
        FIXED,
    ),
    "walks": Part(
        f"{WALKS} walks of {WALK_LENGTH} steps from each node of a graph",
        walks,
        ("graph",),
        {"graph": list(GRAPHS), "model": list(MODELS), "alpha": [0.025, 0.05]},
        {"epochs": [1, 5]} | STEPS,
        FIXED | {"window": 10, "vector_size": 128, "negative": 5, "sample": 1e-3},
    ),
}


def measure(contest: Contest, part: Part, full: bool) -> Rows:
    """Run every point, those of one text together."""
    by_text: dict[tuple[Any, ...], list[Point]] = {}
    for point in points(part.axes, part.minor, full):
        by_text.setdefault(tuple(point[axis] for axis in part.of), []).append(point)
    rows: Rows = []
    for values, of in by_text.items():
        path = contest.file("-".join(map(str, values)), partial(part.make, *values))
        rows += contest.extents(path, of, part.fixed, without=part.of)
    return rows


def main(given: list[str] | None = None) -> None:
    """Measure the parts, print and save their tables."""
    made = parser("word2vec_small", __doc__.splitlines()[0])
    made.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--full", action="store_true", help="the product of the axes")
    args = made.parse_args(given)
    contest, lines, results = Contest(args), [], {}
    for name in args.part:
        part = PARTS[name]
        rows = results[name] = measure(contest, part, args.full)
        lines += [f"## {part.title}: {len(rows)} points", "", listed(part.fixed), ""]
        lines += [*summary(rows, part.axes | part.minor), ""]
    print("\n".join(lines))
    if not args.dry:
        notes = told(args.full)
        save(NAME, "Word vectors: how far few words go", notes, lines[:-1], results)


if __name__ == "__main__":
    main()

"""Quality of word vectors at options off the defaults, beside gensim at the same options.

python -m benchmarks.word2vec_quality [--corpus gcide+wordnet bible+wikipedia]
                                      [--point "negative 15" ...] [--seeds 3]
                                      [--work FOLDER] [--contestant gensim] [--compiled no]

Each of the POINTS tells what it has instead of BASE's options. Both train with one worker, each
run in a process of its own, and gensim measures everybody's quality. The work folder keeps what
was measured: a run that was stopped goes on there. Results go to benchmarks/results/ as JSON,
Markdown and a plot.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._contest import LIBRARIES, OURS, Contest, listed, parser
from benchmarks.harness import RESULTS, save
from benchmarks.word2vec import (
    MODELS,
    OPTIONS,
    QUALITY,
    REFEREE,
    Runs,
    deviation,
    mean,
    sentences,
    spread,
    values,
)

NAME = "word2vec-quality"
BASE: dict[str, Any] = OPTIONS | {"sg": 1, "alpha": 0.025}
POINTS: dict[str, dict[str, Any]] = {
    "negative 10": {"negative": 10},
    "negative 15": {"negative": 15},
    "negative 20": {"negative": 20},
    "window 2": {"window": 2},
    "window 10": {"window": 10},
    "window 15": {"window": 15},
    "window 10, negative 10": {"window": 10, "negative": 10},
    "alpha 0.1": {"alpha": 0.1},
    "300 dimensions": {"vector_size": 300},
    "CBOW": MODELS["cbow"],
    "hierarchical softmax": MODELS["sg-hs"],
    "CBOW, hierarchical softmax": MODELS["cbow-hs"],
}
EPOCHS = {"gcide+wordnet": 1, "bible+wikipedia": 5}
KEPT = (*QUALITY, "losses", "neighbours", "error")  # of a run: its times may be of any hour
Rows = list[dict[str, Any]]  # corpus, point, and of each contestant a run of each seed


def measure(args: argparse.Namespace) -> Rows:
    """Run every point on every corpus, the first seed of all of them first."""
    contest = Contest(args)
    rows: Rows = [
        {"corpus": Path(name).name, "point": point, **{who: [] for who in LIBRARIES}}
        for name in args.corpus
        for point in args.point
    ]
    paths = {Path(n).name: contest.file(Path(n).name, partial(sentences, n)) for n in args.corpus}
    for seed in range(1, args.seeds + 1):
        for row in rows:
            name, point = row["corpus"], row["point"]
            epochs = args.epochs or EPOCHS.get(name, 5)
            options = BASE | POINTS[point] | {"epochs": epochs, "seed": seed}
            for who in LIBRARIES:
                call = (who, "benchmarks.word2vec:run", paths[name], [options])
                (run,) = contest.results(*call)
                if run:
                    kept = {key: run[key] for key in KEPT if key in run}
                    row[who].append({"seed": seed} | kept)
                    print(f"{name}, {point}, seed {seed}, {who}: {told(run)}", flush=True)
    return rows


def told(run: dict[str, Any]) -> str:
    """A run's figures, or its error."""
    figures = (f"{title} {run.get(key, math.nan):.3f}" for key, title in QUALITY.items())
    return f"{run['train_s']:.0f} s, {', '.join(figures)}" if "train_s" in run else run["error"]


def figures(runs: Runs, key: str) -> list[float]:
    """A figure of each seed, in which a run that failed is worth nothing."""
    return values([{key: 0.0, **run} for run in runs], key)


# ---------------------------------------------------------------------- what is told
def table(rows: Rows) -> list[str]:
    """Lines of Markdown: a row for each point, a verdict after each pair of figures."""
    heads = ["corpus", "point"]
    heads += [head for title in QUALITY.values() for head in (title, REFEREE, "")]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for row in rows:
        cells = [row["corpus"], row["point"]]
        for key in QUALITY:
            of = [figures(row[who], key) for who in (OURS, REFEREE)]
            cells += [*(spread(found) if found else "" for found in of), verdict(*of)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def verdict(ours: list[float], theirs: list[float]) -> str:
    """Whether our mean is at least gensim's, or within a standard deviation of it."""
    if not ours or not theirs or math.isnan(mean(ours + theirs)):
        return "not measured"
    if mean(ours) >= mean(theirs):
        return "at or above"
    return "within" if mean(ours) >= mean(theirs) - deviation(theirs) else "BELOW"


def count(rows: Rows) -> str:
    """One line: how many figures are above, within, below."""
    of = [
        verdict(*(figures(row[who], key) for who in (OURS, REFEREE)))
        for row in rows
        for key in QUALITY
    ]
    told = ", ".join(f"{of.count(kind)} {kind}" for kind in dict.fromkeys(of))
    return f"Of {len(of)} figures of {len(rows)} points: {told}."


def plot(rows: Rows, path: Path) -> None:
    """Draw a panel for each corpus and figure: mean and standard deviation at each point."""
    from matplotlib.figure import Figure

    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    height = 1.2 + 0.3 * max(sum(row["corpus"] == name for row in rows) for name in corpora)
    figure = Figure(figsize=(13, height * len(corpora)), layout="constrained")
    figure.suptitle("Quality off the defaults: mean and standard deviation over the seeds")
    panels = figure.subplots(len(corpora), len(QUALITY), squeeze=False, sharey="row")
    for line, corpus in zip(panels, corpora):
        of = [row for row in rows if row["corpus"] == corpus]
        line[0].set_yticks(range(len(of)), [row["point"] for row in of])
        line[0].set_ylim(len(of) - 0.5, -0.5)
        for ax, (key, title) in zip(line, QUALITY.items()):
            for who, marker, shift in ((OURS, "o", -0.14), (REFEREE, "s", 0.14)):
                known = [
                    (i, found) for i, row in enumerate(of) if (found := figures(row[who], key))
                ]
                ax.errorbar(
                    [mean(found) for _, found in known],
                    [i + shift for i, _ in known],
                    xerr=[deviation(found) for _, found in known],
                    fmt=marker,
                    markersize=5,
                    capsize=3,
                    label=who,
                )
            ax.set(title=f"{title}, {corpus}")
            ax.grid(alpha=0.3)
    handles = panels[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=len(LIBRARIES))
    figure.savefig(path, dpi=120)


def main(given: list[str] | None = None) -> None:
    """Measure the points, print and save table and plot."""
    made = parser("word2vec_quality", __doc__.splitlines()[0])
    add = made.add_argument
    add("--corpus", nargs="+", default=list(EPOCHS), help="as in benchmarks.word2vec")
    add("--point", nargs="+", choices=POINTS, default=list(POINTS))
    add("--seeds", type=int, default=3, help="from 1")
    add("--epochs", type=int, help=f"default: {EPOCHS}, of other corpora 5")
    args = made.parse_args(given)
    rows = measure(args)
    lines = [*table(rows), "", count(rows)]
    print("\n".join(lines))
    if args.dry:
        return
    notes = (
        f"A point has {listed(BASE)} besides what it tells; otherwise defaults. Epochs: "
        f"{args.epochs or EPOCHS}. Seeds 1 to {args.seeds}; each run in a process of its own, with "
        "one worker and BLAS of one thread; mean ± standard deviation. Quality is measured by "
        "gensim; a run that failed is worth nothing. Within: below gensim's mean by less than its "
        "standard deviation."
    )
    title = "Word vectors at options off the defaults"
    save(NAME, title, notes, [*lines, "", f"![quality]({NAME}.png)"], rows)
    plot(rows, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()

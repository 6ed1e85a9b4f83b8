"""minitorch and gensim at the same options, in runs that can be stopped and go on.

A contest trains with each of many options, a few of them to a process, with one worker and BLAS of
one thread. A folder keeps what was measured: of gensim for its version, of minitorch as long as
the code of its word vectors is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Record, covering, in_own_process
from benchmarks.word2vec import REFEREE, array, write_corpus

OURS = "minitorch"
LIBRARIES = {OURS: "minitorch.text", REFEREE: "gensim.models"}
STEP = "step_words"  # what minitorch calls the words of a step; gensim has no such thing
COMPILED = {"auto": None, "yes": True, "no": False}
SOURCES = ("text", "backend/cpu", "core", "nn", "ops")  # in minitorch, of word vectors
AT_ONCE = 8  # runs of a process, after which they are kept
MODELS: dict[str, dict[str, Any]] = {
    "skip-gram": {"sg": 1},
    "CBOW": {"sg": 0},
    "CBOW of sums": {"sg": 0, "cbow_mean": 0},
    "skip-gram, hierarchical": {"sg": 1, "hs": 1, "negative": 0},
    "CBOW, hierarchical": {"sg": 0, "hs": 1, "negative": 0},
    "skip-gram, hierarchical and negatives": {"sg": 1, "hs": 1},
}
KINDS = ("vectors", "outputs")
TIMES = 4  # gensim's largest component, beyond which a point fails
Axes = dict[str, list[Any]]  # values of options, and of what a corpus is made of
Point = dict[str, Any]  # a value of each
Rows = list[dict[str, Any]]  # of each point: the point, and of each contestant its result or None


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The arguments that every contest has."""
    made = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=about)
    add = made.add_argument
    add("--work", type=Path, default=Path("runs/word2vec"), help="folder of corpora and results")
    add(
        "--contestant",
        nargs="*",
        choices=LIBRARIES,
        default=list(LIBRARIES),
        help="who runs; of the others the report tells what the folder has",
    )
    add("--compiled", choices=COMPILED, default="auto", help="whether Numba does minitorch's work")
    add("--dry", action="store_true", help="print, but save nothing")
    return made


def points(axes: Axes, minor: Axes, full: bool) -> list[Point]:
    """Those among which any values of three axes meet; full: the product.

    Of the minor axes it has values drawn at random, always the same.
    """
    if not full:
        return covering(axes | minor, 3)
    rng = random.Random(1)
    return [
        point | {axis: rng.choice(values) for axis, values in minor.items()}
        for point in covering(axes, len(axes))
    ]


class Contest:
    """Runs each contestant, or finds in the work folder what it did before."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.folder, self.running = args.work, args.contestant
        self.record = Record(args.work / "runs.jsonl")
        ours = {"progress": False, "compiled": COMPILED[args.compiled]}
        self.own: dict[str, dict[str, Any]] = {OURS: ours, REFEREE: {}}
        self.code = {OURS: _code(), REFEREE: version("gensim")}

    def file(self, name: str, make: Callable[[], Iterable[list[str]]]) -> Path:
        """The file of a corpus in the work folder, written where it is not yet there."""
        path: Path = self.folder / "corpora" / f"{name}.txt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_corpus(make(), path.with_suffix(".part")).replace(path)
        return path

    def results(
        self, who: str, function: str, corpus: Path, options: Sequence[dict[str, Any]]
    ) -> list[Any]:
        """What the function made of each of the options; None where nobody ran it yet.

        function: "module:name", called with library, path and options. A run that raises
        FloatingPointError gives {"error": its text}.
        """
        keys = [
            {
                "function": function,
                "library": LIBRARIES[who],
                "code": self.code[who],
                "corpus": corpus.stem,
                "options": one | {"workers": 1} | self.own[who],
            }
            for one in options
        ]
        if who in self.running:
            new = {json.dumps(key): key for key in keys if self.record.get(key) is None}
            missing = [*new.values()]  # each once, where an axis has no effect
            for start in range(0, len(missing), AT_ONCE):
                some = missing[start : start + AT_ONCE]
                call = (function, LIBRARIES[who], str(corpus), [key["options"] for key in some])
                told = in_own_process("benchmarks._contest:run", *call)
                for key, result in zip(some, told["results"], strict=True):
                    self.record.add(key, result)
                print(f"{corpus.stem}: {who}: {len(missing) - start - len(some)} left", flush=True)
        return [self.record.get(key) for key in keys]

    def extents(
        self,
        corpus: Path,
        points: list[Point],
        fixed: dict[str, Any],
        without: Sequence[str] = (),
    ) -> Rows:
        """Train at each point; the results are `extent`'s.

        A point has a model of MODELS, options of Word2Vec, STEP, which is not for gensim, and
        what is said by `without`, which is the corpus's.
        """
        left_out = {"model", *without}
        given = [
            fixed
            | {name: point[name] for name in point if name not in left_out}
            | MODELS[point["model"]]
            for point in points
        ]
        theirs = [{name: one[name] for name in one if name != STEP} for one in given]
        rows: Rows = [{"point": point} for point in points]
        for who, options in ((OURS, given), (REFEREE, theirs)):
            found = self.results(who, "benchmarks._contest:extent", corpus, options)
            for row, result in zip(rows, found, strict=True):
                row[who] = result
        return rows


# ---------------------------------------------------------------------- in a contestant's process
def run(function: str, library: str, path: str, options: list[dict[str, Any]]) -> dict[str, Any]:
    """Call the function for each of the options."""
    module, name = function.split(":")
    call = getattr(import_module(module), name)
    results = []
    for one in options:
        try:
            results.append(call(library, path, one))
        except FloatingPointError as error:
            results.append({"error": str(error)})
    return {"results": results}


def extent(library: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train on the file at `path`: the largest components, the loss, and that of zero vectors."""
    model = import_module(library).Word2Vec(**options)
    model.build_vocab(corpus_file=path)
    model.train(corpus_file=path, total_words=model.corpus_total_words, epochs=model.epochs)
    outputs = [getattr(model, name, None) for name in ("syn1neg", "syn1")]
    told = {
        "vectors": largest(model.wv.vectors),
        "outputs": max(largest(table) for table in outputs if table is not None),
    }
    if library == LIBRARIES[OURS]:
        told |= {"losses": model.losses, "zeros": loss_of_zeros(model)}
    return told


def largest(table: Any) -> float:
    """The largest magnitude among the components; inf where one is not finite."""
    found = float(abs(array(table)).max())
    return math.inf if math.isnan(found) else found


def loss_of_zeros(model: Any) -> float:
    """Mean loss per pair while all products are zero: ln 2 for each word, and each turn of hs."""
    from minitorch.text.word2vec.huffman import huffman

    counts = model.vocab.counts
    choices = 1 + model.negative if model.negative else 0
    if model.hs:
        kept = counts * model.vocab.keep_probabilities(model.sample)
        lengths = [len(code) for code in huffman(counts.tolist()).codes]
        choices += float((kept * lengths).sum() / kept.sum())
    return choices * math.log(2)


def _code() -> str:
    """A digest of minitorch's sources that matter."""
    digest = hashlib.sha256()
    for source in SOURCES:
        place = ROOT / "minitorch" / source
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(os.fsencode(path.relative_to(ROOT)) + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------------- what is told
def failed(row: dict[str, Any], learns: bool = False) -> str | None:
    """What is wrong at a point, if anything is; `learns`: also a loss beyond that of zeros."""
    ours, theirs = row[OURS], row[REFEREE]
    if not ours:
        return None
    if "error" in ours:
        return str(ours["error"])
    for kind in KINDS:
        if not math.isfinite(ours[kind]):
            return f"{kind} are not finite"
        if theirs and ours[kind] > TIMES * theirs[kind]:
            return f"{kind} reach {ours[kind]:.3g}, those of {REFEREE} {theirs[kind]:.3g}"
    if learns and not ours["losses"][-1] < ours["zeros"]:
        return f"the loss is {ours['losses'][-1]:.3f}, that of zeros {ours['zeros']:.3f}"
    return None


def summary(rows: Rows, axes: Axes, learns: bool = False) -> list[str]:
    """Markdown: how many points fail and how far components go at each value of each axis.

    Below the table a line for each point that fails.
    """
    heads = ["axis", "value", "points", "failed"]
    heads += [head for kind in KINDS for head in (f"{kind}: {OURS}", REFEREE, "largest ratio")]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    groups = [("all", "", rows)]
    for axis, values in axes.items():
        groups += [(axis, v, [row for row in rows if row["point"][axis] == v]) for v in values]
    for axis, value, of in groups:
        measured = [row for row in of if row[OURS]]
        count = sum(failed(row, learns) is not None for row in measured)
        cells = [axis, str(value), str(len(measured)), str(count)]
        for kind in KINDS:
            cells += [_most(reach(row, who, kind) for row in of) for who in (OURS, REFEREE)]
            cells.append(_most(ratio(row, kind) for row in of))
        lines.append("| " + " | ".join(cells) + " |")
    reasons = [(row["point"], failed(row, learns)) for row in rows]
    bad = [f"- {listed(point)}: {reason}" for point, reason in reasons if reason]
    none = "No point fails." if any(row[OURS] for row in rows) else "Nothing was measured."
    return [*lines, "", *(bad or [none])]


def told(full: bool) -> str:
    """For the head of a table: what the points are, and when one fails."""
    which = "the product of the axes" if full else "such that any values of three axes meet"
    return (
        f"Points are {which}. One worker, BLAS of one thread. Components are the largest, of the "
        "vectors and of the output tables (syn1neg, syn1), over the points of a line. A point "
        f"fails where training raises an error and where a component is not finite or larger than "
        f"{TIMES} times {REFEREE}'s largest."
    )


def listed(options: dict[str, Any]) -> str:
    """Options in words."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


def reach(row: dict[str, Any], who: str, kind: str) -> float | None:
    """The largest component, where it is known: inf where training raised an error."""
    result = row[who] or {kind: None}
    found: float | None = math.inf if "error" in result else result[kind]
    return found


def ratio(row: dict[str, Any], kind: str) -> float | None:
    """Our largest component over gensim's, where both are known."""
    ours, theirs = (reach(row, who, kind) for who in (OURS, REFEREE))
    return ours / theirs if ours is not None and theirs else None


def _most(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.3g}" if known else ""

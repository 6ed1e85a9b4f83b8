"""Word vectors: words per second and quality, beside gensim.

python -m benchmarks.word2vec [--model sg cbow] [--corpus gcide+wordnet bible+wikipedia]
                              [--alpha 0.05 0.025] [--rounds 3] [--epochs 5] [--workers 2]

All contestants read one text file (a sentence a line, `corpus_file`) through the same calls, and
train with the OPTIONS, at each learning rate alpha, and otherwise with their own defaults; ours
also with the machine code of the extra `numba`, where that is installed (what it compiles is kept
for the next process). gensim is the measure of those that have its alpha. Each run is a process of
its own, where BLAS has one thread, and rounds alternate between the contestants, so that what else
the machine does falls on all. Words per second count the words of the file times the
epochs; once with `build_vocab` and once over `train` alone. gensim measures everybody's quality, on
the files that it brings. Each corpus and model has its files in benchmarks/results/, as JSON and
Markdown.
"""

from __future__ import annotations

import argparse
import bz2
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

from benchmarks.harness import in_own_process, save

Runs = dict[str, list[dict[str, Any]]]  # of each contestant, round by round

OPTIONS: dict[str, Any] = {
    "vector_size": 100,
    "window": 5,
    "negative": 5,
    "sample": 1e-3,
    "min_count": 5,
}
MODELS: dict[str, dict[str, Any]] = {
    "sg": {"sg": 1},
    "cbow": {"sg": 0},
    "sg-hs": {"sg": 1, "hs": 1, "negative": 0},
    "cbow-hs": {"sg": 0, "hs": 1, "negative": 0},
}
QUALITY = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}
SPEEDS = {"words_per_s": "words/s", "train_words_per_s": "words/s in train"}
REFEREE = "gensim"


class Contestant(NamedTuple):
    """Where `Word2Vec` is from, its options, and the module without which it is left out."""

    library: str
    options: dict[str, Any]
    needs: str | None = None


def contestants(workers: int, alphas: Sequence[float]) -> dict[str, Contestant]:
    """Who runs, by name; at each alpha the last is the referee."""
    many = f"{workers} worker" + "s" * (workers > 1)
    table = {}
    for alpha in alphas:
        for title, compiled in (("minitorch", False), ("minitorch with Numba", True)):
            for count, name in ((workers, many), (1, "1 worker")):
                options = {"progress": False, "workers": count, "compiled": compiled}
                needs = "numba" if compiled else None
                contestant = Contestant("minitorch.text", options | {"alpha": alpha}, needs)
                table[f"{title}, {name}, alpha {alpha:g}"] = contestant
        options = {"workers": workers, "alpha": alpha}
        table[f"{REFEREE}, {many}, alpha {alpha:g}"] = Contestant("gensim.models", options)
    return {name: c for name, c in table.items() if c.needs is None or find_spec(c.needs)}


# ---------------------------------------------------------------------- corpora
def bible() -> Iterator[str]:
    """Verses of the King James Bible, from the Debian packages bible-kjv and bible-kjv-text."""
    command = ["bible", "-f", "gen1:1-rev22:21"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise SystemExit("the corpus 'bible' needs: apt install bible-kjv bible-kjv-text") from None
    for line in done.stdout.splitlines():
        yield line.partition(" ")[2]  # behind book, chapter and verse


def wikipedia() -> Iterator[str]:
    """Paragraphs of the 106 articles of Wikipedia that come with gensim."""
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki
    from gensim.test.utils import datapath

    name = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    with bz2.open(datapath(name)) as file:
        for _, text, _ in extract_pages(file, ("0",)):
            yield from filter_wiki(text).splitlines()


CORPORA = {"bible": bible, "wikipedia": wikipedia}  # besides those of minitorch.text.Corpus


def sentences(name: str) -> Iterator[list[str]]:
    """Those of CORPORA, of minitorch's sources or of a file; several are joined by "+"."""
    from minitorch.text import Corpus
    from minitorch.text.tokenizers import tokenize_ascii

    for part in [name] if Path(name).exists() else name.split("+"):
        if part in CORPORA:
            yield from filter(None, map(tokenize_ascii, CORPORA[part]()))
        else:
            yield from Corpus(part)


def write_corpus(given: Iterable[list[str]], path: Path) -> Path:
    """Write sentences as everybody reads them, one a line."""
    with path.open("w", encoding="utf8") as file:
        file.writelines(" ".join(sentence) + "\n" for sentence in given)
    return path


# ---------------------------------------------------------------------- one run, in its own process
def run(library: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train on the file at `path` and tell times, rates, loss and quality."""
    model = import_module(library).Word2Vec(**options)
    start = time.perf_counter()
    model.build_vocab(corpus_file=path)
    built = time.perf_counter()
    model.train(corpus_file=path, total_words=model.corpus_total_words, epochs=model.epochs)
    trained = time.perf_counter()
    words = model.corpus_total_words * model.epochs
    return {
        "words": model.corpus_total_words,
        "vocabulary": len(model.wv),
        "build_vocab_s": built - start,
        "train_s": trained - built,
        "train_words_per_s": words / (trained - built),
        "words_per_s": words / (trained - start),
        "losses": getattr(model, "losses", None),
        **quality(model.wv.index_to_key, model.wv.vectors),
    }


def quality(words: list[str], vectors: Any) -> dict[str, Any]:
    """What gensim makes of the vectors; NaN for a corpus too small to know any word asked for."""
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    kv = KeyedVectors(vectors.shape[1])
    kv.add_vectors(words, array(vectors))
    try:
        figures = [
            *(
                float(kv.evaluate_word_pairs(datapath(name))[1][0])
                for name in ("wordsim353.tsv", "simlex999.txt")
            ),
            kv.evaluate_word_analogies(datapath("questions-words.txt"))[0],
        ]
    except ValueError:
        figures = [float("nan")] * len(QUALITY)
    near = {}
    for positive, negative in ((["frog"], []), (["king", "woman"], ["man"])):
        if all(word in kv for word in positive + negative):
            found = kv.most_similar(positive, negative, topn=5)
            asked = " + ".join(positive) + "".join(f" - {word}" for word in negative)
            near[asked] = [word for word, _ in found]
    return dict(zip(QUALITY, figures, strict=True)) | {"neighbours": near}


def array(table: Any) -> Any:
    """A NumPy array of a table of either library."""
    import numpy

    return table if isinstance(table, numpy.ndarray) else table.cpu().numpy()


# ---------------------------------------------------------------------- all runs
def main(given: list[str] | None = None) -> None:
    """Measure each model on each corpus, print the tables and save them."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.word2vec", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--model", nargs="+", choices=MODELS, default=["sg", "cbow"])
    add(
        "--corpus",
        nargs="+",
        default=["gcide+wordnet", "bible+wikipedia"],
        help=f"gcide, wordnet, stdlib, {', '.join(CORPORA)}, several joined by +, or a file",
    )
    add("--alpha", nargs="+", type=float, default=[0.05, 0.025], help="at the beginning")
    add("--rounds", type=int, default=1, help="runs of each; seeds 1, 2, ...")
    add("--epochs", type=int, default=5)
    add("--workers", type=int, default=2, help="threads of gensim, processes of minitorch")
    add("--dry", action="store_true", help="print, but save nothing")
    args = parser.parse_args(given)
    for corpus in args.corpus:
        with tempfile.TemporaryDirectory() as folder:
            path = write_corpus(sentences(corpus), Path(folder) / "corpus.txt")
            for model in args.model:
                print(f"{model} on {corpus}", flush=True)
                runs = measure(str(path), model, args)
                lines = [*table(runs), "", *verdicts(runs), "", *neighbours(runs)]
                print("\n".join(lines), flush=True)
                if not args.dry:
                    report(corpus, model, args, runs, lines)


def measure(path: str, model: str, args: argparse.Namespace) -> Runs:
    """Run every contestant in each round."""
    who = contestants(args.workers, args.alpha)
    runs: Runs = {name: [] for name in who}
    for seed in range(1, args.rounds + 1):
        for name, contestant in who.items():
            options = OPTIONS | MODELS[model] | contestant.options
            options |= {"epochs": args.epochs, "seed": seed}
            found = in_own_process("benchmarks.word2vec:run", contestant.library, path, options)
            runs[name].append(found | {"seed": seed, "options": options})
            figures = ", ".join(f"{title} {found[key]:.3f}" for key, title in QUALITY.items())
            print(
                f"round {seed}: {name}: {found['words_per_s']:,.0f} words/s; {figures}", flush=True
            )
    return runs


def report(corpus: str, model: str, args: argparse.Namespace, runs: Runs, lines: list[str]) -> None:
    """Write the files of a corpus and a model."""
    words, vocabulary = (next(iter(runs.values()))[0][key] for key in ("words", "vocabulary"))
    options = ", ".join(f"{key} {value}" for key, value in (OPTIONS | MODELS[model]).items())
    notes = (
        f"{corpus}: {words:,} words, {vocabulary:,} of them different and seen often enough; "
        f"{args.epochs} epochs; {options}; otherwise defaults (alpha is given; by default it is "
        f"{default_alphas()}); BLAS of one thread. Rounds "
        f"alternate ({args.rounds}, seeds from 1): words/s are medians and count the words of the "
        "file times the epochs, with `build_vocab` and in `train` alone; ratios are of medians, to "
        "gensim at the same alpha; quality is mean ± standard deviation, measured by gensim."
    )
    name = re.sub(r"\W+", "-", f"word2vec-{model}-{Path(corpus).name}")
    results = {"corpus": corpus, "model": model, "epochs": args.epochs, "runs": runs}
    save(name, f"Word vectors: {model} on {corpus}", notes, lines, results)


def values(runs: list[dict[str, Any]], figure: str) -> list[float]:
    """A figure of each round."""
    return [run[figure] for run in runs]


def referee(runs: Runs, name: str) -> list[dict[str, Any]]:
    """The runs of gensim at the alpha of a contestant, with which its name ends."""
    alpha = name.rpartition(", ")[2]
    there = (other for other in runs if other.startswith(REFEREE))
    return runs[next(other for other in there if other.rpartition(", ")[2] == alpha)]


def default_alphas() -> str:
    """What alpha is for who does not give it."""
    found = {}
    for library in ("minitorch.text", "gensim.models"):
        parameters = signature(import_module(library).Word2Vec).parameters
        found[library.partition(".")[0]] = parameters["alpha"].default
    return ", ".join(f"{alpha:g} in {library}" for library, alpha in found.items())


def table(runs: Runs) -> list[str]:
    """Lines of Markdown: a row for each contestant."""
    heads = ["", *(head for speed in SPEEDS.values() for head in (speed, f"/ {REFEREE}"))]
    heads += QUALITY.values()
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, found in runs.items():
        cells = []
        for speed in SPEEDS:
            ours, theirs = (median(values(of, speed)) for of in (found, referee(runs, name)))
            cells += [f"{ours:,.0f}", f"{ours / theirs:.2f}"]
        cells += [spread(values(found, figure)) for figure in QUALITY]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def verdicts(runs: Runs) -> list[str]:
    """Whether each figure is at least the referee's mean less one standard deviation."""
    lines = []
    for name, found in runs.items():
        if name.startswith(REFEREE):
            continue
        for figure, title in QUALITY.items():
            ours, theirs = mean(values(found, figure)), values(referee(runs, name), figure)
            least = mean(theirs) - deviation(theirs)
            holds = "at or above" if ours >= least else "BELOW"
            if ours != ours or least != least:
                holds = "not to be compared with"
            lines.append(
                f"- {name}, {title}: {ours:.3f} is {holds} {least:.3f}, {REFEREE}'s mean less one "
                "standard deviation"
            )
    return lines


def neighbours(runs: Runs) -> list[str]:
    """What words are near, in the first round."""
    return [
        f"- {name}, {words}: {', '.join(near)}"
        for name, found in runs.items()
        for words, near in found[0]["neighbours"].items()
    ]


def deviation(values: list[float]) -> float:
    """Of the sample; 0 for a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.3f}" + (f" ± {deviation(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()

"""Skip-gram's time per word against dimensions, negatives, window and vocabulary, beside gensim.

python -m benchmarks.word2vec_curves [--sweep vector_size negative window vocabulary]
                                     [--rounds 1] [--words 1000000] [--workers 2]

The corpus is drawn up so that word r of the vocabulary comes in proportion to 1 / (r + 2.7)
(Zipf, Mandelbrot), rounded, once at least. Timed is the second epoch, each run in a process of its
own, over the words that sub-sampling is expected to keep: of a larger vocabulary it keeps more.
Results go to benchmarks/results/ as JSON, Markdown and a plot.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import RESULTS, in_own_process, save
from benchmarks.word2vec import write_corpus

NAME = "word2vec-curves"
SWEEPS: dict[str, list[int]] = {
    "vector_size": [50, 100, 200, 300],
    "negative": [2, 5, 10, 20],
    "window": [2, 5, 10],
    "vocabulary": [10_000, 30_000, 100_000, 300_000, 1_000_000],
}
TITLES = {
    "vector_size": "dimensions",
    "negative": "negatives to a pair",
    "window": "window, words on either side",
    "vocabulary": "words in the vocabulary",
}
BASE: dict[str, Any] = {"vector_size": 100, "negative": 5, "window": 5, "vocabulary": 30_000}
FIXED: dict[str, Any] = {"sample": 1e-3, "min_count": 1, "sg": 1, "epochs": 2, "seed": 1}
LIBRARIES: dict[str, tuple[str, dict[str, Any]]] = {
    "minitorch": ("minitorch.text", {"progress": False}),
    "gensim": ("gensim.models", {}),
}
Rows = list[dict[str, Any]]  # sweep, value, and of each library seconds per word, round by round


# ---------------------------------------------------------------------- the corpus
def frequencies(vocabulary: int, words: int) -> list[int]:
    """How often each word comes in a corpus of about `words` words."""
    shares = [1 / (rank + 2.7) for rank in range(1, vocabulary + 1)]
    scale = words / sum(shares)
    return [max(1, round(share * scale)) for share in shares]


def kept(counts: list[int], sample: float) -> float:
    """Words that sub-sampling keeps on average: each with probability (√(f/t) + 1) t/f."""
    total = sum(counts)
    ratios = (count / total / sample for count in counts)
    return sum(n * min(1.0, (r**0.5 + 1) / r) for n, r in zip(counts, ratios))


def sentences(counts: list[int], length: int = 20) -> Iterator[list[str]]:
    """The words in random order, the same every time."""
    words = [f"w{rank}" for rank, count in enumerate(counts) for _ in range(count)]
    random.Random(1).shuffle(words)
    for start in range(0, len(words), length):
        yield words[start : start + length]


# ---------------------------------------------------------------------- timing
class EpochEnds:
    """A callback, for both libraries, that notes when each epoch ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_end(self, model: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())

    def _nothing(self, model: object) -> None:
        """gensim calls it."""

    on_train_begin = on_train_end = on_epoch_begin = _nothing


def epoch_seconds(library: str, path: str, options: dict[str, Any]) -> dict[str, float]:
    """Seconds of an epoch, the first left out: processes start in it."""
    model = import_module(library).Word2Vec(**options)
    model.build_vocab(corpus_file=path)
    ends = EpochEnds()
    words, epochs = model.corpus_total_words, model.epochs
    model.train(corpus_file=path, total_words=words, epochs=epochs, callbacks=[ends])
    first, *_, last = ends.times
    return {"seconds": (last - first) / (epochs - 1)}


def measure(sweeps: list[str], rounds: int, words: int, workers: int) -> Rows:
    """Time every point of the sweeps."""
    rows: Rows = []
    points = [(sweep, value) for sweep in sweeps for value in SWEEPS[sweep]]
    for sweep, value in points:
        options = BASE | {sweep: value} | FIXED | {"workers": workers}
        counts = frequencies(options.pop("vocabulary"), words)
        row: dict[str, Any] = {"sweep": sweep, "value": value, "words": sum(counts)}
        row |= {"kept": kept(counts, FIXED["sample"])} | {library: [] for library in LIBRARIES}
        with tempfile.TemporaryDirectory() as folder:
            path = str(write_corpus(sentences(counts), Path(folder) / "corpus.txt"))
            for _ in range(rounds):
                for name, (library, own) in LIBRARIES.items():
                    call = (library, path, options | own)
                    took = in_own_process("benchmarks.word2vec_curves:epoch_seconds", *call)
                    row[name].append(took["seconds"] / row["kept"])
        times = ", ".join(f"{name} {median(row[name]) * 1e6:.2f} µs a word" for name in LIBRARIES)
        print(f"{sweep} {value:,}: {times}", flush=True)
        rows.append(row)
    return rows


# ---------------------------------------------------------------------- what is told
def tables(rows: Rows) -> list[str]:
    """A Markdown table for each sweep, and how flat its curves are."""
    lines = []
    for sweep in dict.fromkeys(row["sweep"] for row in rows):
        lines += [
            f"| {TITLES[sweep]} | "
            + " | ".join(f"{name}, µs a word" for name in LIBRARIES)
            + " | gensim / minitorch |",
            "| ---: |" + " ---: |" * (len(LIBRARIES) + 1),
        ]
        of = [row for row in rows if row["sweep"] == sweep]
        for row in of:
            times = [median(row[name]) * 1e6 for name in LIBRARIES]
            cells = [
                f"{row['value']:,}",
                *(f"{t:.2f}" for t in times),
                f"{times[1] / times[0]:.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", f"Slowest point over fastest: {flatness(of)}.", ""]
    return lines[:-1]


def flatness(rows: Rows) -> str:
    """The largest time of each library over its smallest."""
    ratios = {}
    for name in LIBRARIES:
        times = [median(row[name]) for row in rows]
        ratios[name] = max(times) / min(times)
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())


def plot(rows: Rows, path: Path) -> None:
    """Draw a panel for each sweep."""
    from matplotlib.figure import Figure

    sweeps = list(dict.fromkeys(row["sweep"] for row in rows))
    figure = Figure(figsize=(4.2 * len(sweeps), 3.6), layout="constrained")
    figure.suptitle("Skip-gram: training time per word")
    for ax, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps):
        of = [row for row in rows if row["sweep"] == sweep]
        for name, marker in zip(LIBRARIES, "os"):
            times = [median(row[name]) * 1e6 for row in of]
            ax.plot([row["value"] for row in of], times, marker=marker, label=name)
        if sweep == "vocabulary":
            ax.set_xscale("log")
        else:
            ax.set_xticks(SWEEPS[sweep])
        ax.set(xlabel=TITLES[sweep], ylabel="µs a word that sub-sampling keeps", ylim=(0, None))
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(path, dpi=120)


def main(given: list[str] | None = None) -> None:
    """Measure the sweeps, print and save tables and plot."""
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="benchmarks.word2vec_curves", description=about)
    add = parser.add_argument
    add("--sweep", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    add("--rounds", type=int, default=1, help="runs of each point; the median counts")
    add("--words", type=int, default=1_000_000, help="length of the corpus")
    add("--workers", type=int, default=2, help="threads of gensim, processes of minitorch")
    add("--dry", action="store_true", help="print, but save nothing")
    args = parser.parse_args(given)
    rows = measure(args.sweep, args.rounds, args.words, args.workers)
    lines = tables(rows)
    print("\n".join(lines))
    if args.dry:
        return
    base = ", ".join(f"{name} {value}" for name, value in (BASE | FIXED).items())
    notes = (
        f"Where a sweep does not say otherwise: {base}, workers {args.workers}. {args.words:,} "
        "words drawn by Zipf's law (more where the vocabulary needs them). Time of the second "
        "epoch (in the first, processes start), over the words that sub-sampling keeps; gensim "
        f"reads the file again in it. Medians of {args.rounds} round(s), each run in a process of "
        "its own with BLAS of one thread. minitorch's blocks share a pool of noise words of one "
        "size, whatever the number of negatives, which is a weight."
    )
    save(NAME, "Skip-gram: time per word", notes, [*lines, "", f"![curves]({NAME}.png)"], rows)
    plot(rows, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()

"""Skip-gram with negative sampling: words per second and quality, beside gensim.

python -m benchmarks.word2vec [--corpus gcide+wordnet] [--rounds 3] [--epochs 5] [--workers 2]

Both read one text file (a sentence a line, `corpus_file`) and train with D 100, window 5, k 5,
sample 1e-3 and otherwise their own defaults. Each run is a process of its own and rounds
alternate between the two, so that what else the machine does falls on both. Words per second
count the words of the file times the epochs; once over `train` alone and once with `build_vocab`.
gensim measures the quality of both, on the files that it brings.
Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.harness import save

OPTIONS: dict[str, Any] = {
    "vector_size": 100,
    "window": 5,
    "negative": 5,
    "sample": 1e-3,
    "min_count": 5,
}
QUALITY = ("wordsim353", "simlex999", "analogies")
SPEEDS = ("words_per_s", "train_words_per_s")


# ---------------------------------------------------------------------- one run, in its own process
def run_minitorch(path: str, epochs: int, seed: int, workers: int) -> dict[str, Any]:
    from minitorch.text import Word2Vec

    model = Word2Vec(epochs=epochs, seed=seed, progress=False, **OPTIONS)
    result = timed(model, path, lambda: model.train())
    result["loss"] = model.losses[-1]
    vectors = model.wv.vectors.numpy()
    return result | quality(model.wv.index_to_key, vectors)


def run_gensim(path: str, epochs: int, seed: int, workers: int) -> dict[str, Any]:
    from gensim.models import Word2Vec

    model = Word2Vec(sg=1, epochs=epochs, seed=seed, workers=workers, **OPTIONS)
    result = timed(
        model,
        path,
        lambda: model.train(
            corpus_file=path, total_words=model.corpus_total_words, epochs=model.epochs
        ),
    )
    return result | quality(model.wv.index_to_key, model.wv.vectors)


def timed(model: Any, path: str, train: Any) -> dict[str, Any]:
    start = time.perf_counter()
    model.build_vocab(corpus_file=path)
    built = time.perf_counter()
    train()
    trained = time.perf_counter()
    words = model.corpus_total_words * model.epochs
    return {
        "words": model.corpus_total_words,
        "vocabulary": len(model.wv),
        "build_vocab_s": built - start,
        "train_s": trained - built,
        "train_words_per_s": words / (trained - built),
        "words_per_s": words / (trained - start),
    }


def quality(words: list[str], vectors: Any) -> dict[str, Any]:
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    kv = KeyedVectors(vectors.shape[1])
    kv.add_vectors(words, vectors)
    try:
        pairs = [
            kv.evaluate_word_pairs(datapath(f))[1][0] for f in ("wordsim353.tsv", "simlex999.txt")
        ]
        figures = [
            *map(float, pairs),
            kv.evaluate_word_analogies(datapath("questions-words.txt"))[0],
        ]
    except ValueError:  # a corpus too small to know any word of them
        figures = [float("nan")] * 3
    neighbours = {
        "frog": [word for word, _ in kv.most_similar("frog", topn=5)] if "frog" in kv else [],
        "king - man + woman": (
            [word for word, _ in kv.most_similar(["king", "woman"], ["man"], topn=3)]
            if all(word in kv for word in ("king", "man", "woman"))
            else []
        ),
    }
    return dict(zip(QUALITY, figures)) | {"neighbours": neighbours}


CONTESTANTS = {"minitorch": run_minitorch, "gensim": run_gensim}


# ---------------------------------------------------------------------- all runs
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--corpus", default="gcide+wordnet", help="gcide, wordnet, stdlib or a file"
    )
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; seeds 1, 2, ...")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="threads of gensim")
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:  # in the process of one run: args.corpus is the text file
        run = CONTESTANTS[args.one]
        print(json.dumps(run(args.corpus, args.epochs, args.seed, args.workers)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        path = write_corpus(args.corpus, Path(folder) / "corpus.txt")
        for seed in range(1, args.rounds + 1):
            for name in CONTESTANTS:
                runs[name].append(in_own_process(name, path, seed, args))
                print(f"round {seed}: {name}: {line_about(runs[name][-1])}", flush=True)
    lines = table(runs)
    notes = (
        f"{args.corpus}: {runs['gensim'][0]['words']:,} words, {args.epochs} epochs, skip-gram, "
        f"D 100, window 5, k 5, sample 1e-3; gensim with {args.workers} workers, minitorch in one "
        f"process. Rounds alternate ({args.rounds}, seeds from 1): speeds and ratio are medians, "
        "quality is mean ± standard deviation, measured by gensim. Words/s count the words of the "
        "file times the epochs, with `build_vocab` and in `train` alone."
    )
    results = {"corpus": args.corpus, "epochs": args.epochs, "options": OPTIONS, "runs": runs}
    save("word2vec", "Word vectors", notes, lines, results)
    print("\n".join(lines))


def write_corpus(name: str, path: Path) -> Path:
    """Write the corpus as both read it, a sentence a line."""
    from minitorch.text import Corpus

    with open(path, "w", encoding="utf8") as file:
        file.writelines(" ".join(sentence) + "\n" for sentence in Corpus(name))
    return path


def in_own_process(name: str, path: Path, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.word2vec", "--one", name, "--corpus", str(path)]
    command += ["--seed", str(seed), "--epochs", str(args.epochs), "--workers", str(args.workers)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"seed": seed, "load_average": os.getloadavg()[0]}


def line_about(run: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {run[name]:.3f}" for name in QUALITY)
    return (
        f"{run['words_per_s']:,.0f} words/s ({run['train_words_per_s']:,.0f} in train); {figures}"
    )


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Lines of Markdown: a row for each contestant, the ratio, and what words are near."""
    lines = [
        "| | words/s | words/s in train | WordSim-353 | SimLex-999 | analogies |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, results in runs.items():
        cells = [f"{median(run[speed] for run in results):,.0f}" for speed in SPEEDS]
        cells += [spread([run[figure] for run in results]) for figure in QUALITY]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rounds = list(zip(runs["minitorch"], runs["gensim"], strict=True))
    ratios = [
        f"{median(ours[speed] / theirs[speed] for ours, theirs in rounds):.2f}" for speed in SPEEDS
    ]
    lines += [f"| ratio | {' | '.join(ratios)} | | | |", ""]
    for name, results in runs.items():
        for words, near in results[0]["neighbours"].items():
            lines.append(f"- {name}, {words}: {', '.join(near)}")
    return lines


def spread(values: list[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()

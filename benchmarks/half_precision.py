"""Images and words in float32, and under autocast in bfloat16 and float16: how well they learn."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Any

import minitorch
from benchmarks.fashion_epoch import BATCH, HIDDEN, LR, _layers
from benchmarks.harness import in_own_process, in_turns, save, summary
from benchmarks.word2vec import (
    MODELS,
    OPTIONS,
    QUALITY,
    deviation,
    quality,
    sentences,
    spread,
    values,
    write_corpus,
)

TITLE = "Half precision"
NOTES = f"""
784-{"-".join(map(str, HIDDEN))}-10 with ReLU, Adam with lr {LR}, batch {BATCH}, {{epochs}} epochs
of Fashion-MNIST on the CPU. The forward pass of a half runs under `minitorch.autocast`; float16 has
a `GradScaler`. Weights, their gradients and the optimizer's states are in float32. Accuracy on the
test images after all epochs. On a CPU halves save no time: each product widens its factors to
float32. They are to show that the accuracy is the same.
"""
CORPUS, ALPHA, WORD_EPOCHS = "bible+wikipedia", 0.05, 5
WORD_NOTES = f"""
Word2Vec on {CORPUS}, {WORD_EPOCHS} epochs at alpha {ALPHA}; one process, NumPy;
{{options}}. The call of `train` of
a half runs under `minitorch.autocast`: vectors are rounded to the half before they are multiplied,
in float32, and what is learnt is added to vectors in float32. Seeds {{seeds}}; quality is mean ±
standard deviation, measured by gensim. On a CPU halves take longer: each step rounds its vectors.
They are to show that the quality is the same.
"""
WORDS = "benchmarks.half_precision:run_words"
DTYPES = ("float32", "bfloat16", "float16")
WITHIN = 0.005  # of the means over seeds: what is taken for equal


def run(dtype: str, seed: int, epochs: int, tiny: bool) -> dict[str, Any]:
    """Accuracy on the test images, and the seconds of each epoch."""
    from time import perf_counter

    from minitorch.data import DataLoader, TensorDataset, digits, fashion_mnist
    from minitorch.nn import functional as F

    minitorch.set_flush_denormal(True)
    minitorch.manual_seed(seed)
    source = digits if tiny else fashion_mnist
    train, test = (source(train=t).tensors for t in (True, False))
    model = _layers(minitorch.nn, train[0][0].numel())
    optimizer = minitorch.optim.Adam(model.parameters(), lr=LR)
    scaler = minitorch.amp.GradScaler("cpu", enabled=dtype == "float16")
    mode = _mode(dtype)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        with mode():
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    seconds = []
    for _ in range(epochs):
        begin = perf_counter()
        for x, y in DataLoader(TensorDataset(*train), BATCH, shuffle=True):
            step(x, y)
        seconds.append(perf_counter() - begin)
    with minitorch.no_grad(), mode():
        right = (model(test[0]).argmax(1) == test[1]).float().mean().item()
    return {"accuracy": right, "seconds": seconds}


def _mode(dtype: str) -> Any:
    """What makes the context in which a dtype is computed."""
    half = getattr(minitorch, dtype)
    return nullcontext if dtype == "float32" else partial(minitorch.autocast, "cpu", half)


def run_words(dtype: str, seed: int, model: str, path: str) -> dict[str, Any]:
    """The quality of the vectors of a corpus."""
    from minitorch.text import Word2Vec

    options: dict[str, Any] = OPTIONS | MODELS[model] | {"alpha": ALPHA, "seed": seed}
    words = Word2Vec(**options, workers=1, compiled=False, progress=False)
    words.build_vocab(corpus_file=path)
    with _mode(dtype)():
        words.train(corpus_file=path, total_words=words.corpus_total_words, epochs=WORD_EPOCHS)
    figures = quality(words.wv.index_to_key, words.wv.vectors)
    return {key: figures[key] for key in QUALITY}


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A row for each dtype, and whether a half is as good as float32."""
    lines = ["| | accuracy by seed | mean | s an epoch |", "| --- | --- | ---: | ---: |"]
    means = {name: mean(r["accuracy"] for r in of) for name, of in runs.items()}
    for name, of in runs.items():
        each = ", ".join(f"{r['accuracy']:.4f}" for r in of)
        seconds = summary([median(r["seconds"]) for r in of])
        lines.append(f"| {name} | {each} | {means[name]:.4f} | {seconds} |")
    lines.append("")
    for name in DTYPES[1:]:
        met = "met" if means[name] >= means["float32"] - WITHIN else "MISSED"
        lines.append(f"- {name}: target within {WITHIN} of float32 or better: {met}")
    return lines


def word_table(runs: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """A row for each model and dtype, and whether a half is as good as float32."""
    heads = ["", *QUALITY.values()]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    verdicts = []
    for model, by_dtype in runs.items():
        for dtype, of in by_dtype.items():
            cells = [spread(values(of, key)) for key in QUALITY]
            lines.append(f"| {model}, {dtype} | {' | '.join(cells)} |")
            for key, title in QUALITY.items():
                wide = values(by_dtype["float32"], key)
                met = mean(values(of, key)) >= mean(wide) - deviation(wide)
                if dtype != "float32":
                    verdicts.append(
                        f"- {model}, {dtype}, {title}: target float32's mean less one standard "
                        f"deviation: {'met' if met else 'MISSED'}"
                    )
    return [*lines, "", *verdicts]


def images(args: argparse.Namespace) -> None:
    """Train a perceptron, in turns and in processes of their own."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in DTYPES}
    for seed in args.seeds[:1] if args.check else args.seeds:
        options = seed, 1 if args.check else args.epochs, args.check
        calls = {
            name: partial(
                in_own_process,
                *("benchmarks.half_precision:run", name, *options),
                threads=args.threads,
            )
            for name in DTYPES
        }
        for name, (found,) in in_turns(1, calls).items():
            runs[name].append(found)
            print(f"seed {seed}: {name}: {found['accuracy']:.4f}", flush=True)
    lines = table(runs)
    print("\n".join(lines))
    if not args.check:
        notes = NOTES.format(epochs=args.epochs)
        save("half_precision", TITLE, notes, lines, {"config": vars(args), "runs": runs})


def words(args: argparse.Namespace) -> None:
    """Train words for each model, dtype and seed."""
    with tempfile.TemporaryDirectory() as folder:
        given = islice(sentences("stdlib"), 200) if args.check else sentences(CORPUS)
        path = str(write_corpus(given, Path(folder) / "corpus.txt"))
        runs: dict[str, Any] = {m: {d: [] for d in DTYPES} for m in ("sg", "cbow")}
        for seed in args.seeds[:1] if args.check else args.seeds:
            for model, by_dtype in runs.items():
                for dtype, of in by_dtype.items():
                    call = run_words if args.check else partial(in_own_process, WORDS)
                    of.append(call(dtype, seed + 1, model, path))
                    print(f"seed {seed + 1}, {model}, {dtype}: {of[-1]}", flush=True)
    lines = word_table(runs)
    print("\n".join(lines))
    if not args.check:
        options = ", ".join(f"{key} {value}" for key, value in OPTIONS.items())
        seeds = ", ".join(str(seed + 1) for seed in args.seeds)
        notes = WORD_NOTES.format(options=options, seeds=seeds)
        save("half_precision_words", f"{TITLE}: words", notes, lines, {"runs": runs})


PARTS = {"images": images, "words": words}


def main() -> None:
    """Train once for each dtype and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5, help="of images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="a little of each, saves nothing")
    args = parser.parse_args()
    for part in args.part:
        PARTS[part](args)


if __name__ == "__main__":
    main()

"""The benchmarks run, and their tables say what was measured; no test looks at a time."""

import importlib
import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minitorch
from minitorch.backend.cpu import settings
from minitorch.text import Vocab

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def harness(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    flush = settings.get_flush_denormal()
    yield importlib.import_module("benchmarks.harness")
    settings.set_flush_denormal(bool(flush))  # which contestants turn on


HARNESS = ["denormals", "fashion_epoch", "forward_backward", "growth", "import_time", "memory"]
HARNESS += ["launch", "loader", "mlp_step", "overhead", "recurrent"]


@pytest.mark.parametrize("name", HARNESS)
def test_every_case_of_every_contestant_runs(name):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--check", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pytorch is left out" not in done.stdout


def test_every_benchmark_is_run_by_the_command():
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("benchmarks: ")]
    names = line.removeprefix("benchmarks: ").split(", ")
    assert sorted(names) == sorted(
        p.stem
        for p in (ROOT / "benchmarks").glob("*.py")
        if p.stem[0] != "_" and p.stem != "harness"
    )
    assert {*HARNESS} < {*names}
    wrong = subprocess.run([*command[:-1], "colour"], cwd=ROOT, check=False, capture_output=True)
    assert wrong.returncode == 2


def test_the_gpu_benchmark_runs_every_case_on_sim_and_times_nothing():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    command = [sys.executable, "-W", "error", "-m", "benchmarks.gpu", "--device", "sim"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 16
    assert all(": ran" in line for line in lines)


def test_table_compares_within_a_round(harness):
    benchmark = SimpleNamespace(
        CONTESTANTS={"a": None, "b": None, "c": None},
        COLUMNS=[("ratio", "a", "b"), ("speed", "a", "b"), ("difference", "a", "b")],
    )
    benchmark.COLUMNS.append(("ratio", "a", "c"))  # nobody measured c
    # b is always twice as slow as a, although both vary by a factor of ten over the rounds.
    times = {"case": {"a": [1e-6, 1e-5, 2e-6], "b": [2e-6, 2e-5, 4e-6]}}
    assert harness.table(benchmark, times) == [
        "| case | a, µs | b, µs | a / b | b / a | a − b, µs |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| `case` | 2.00 (1.50–6.00) | 4.00 (3.00–12.00) | 0.50 (0.50–0.50) "
        "| 2.00 (2.00–2.00) | -2.00 (-6.00–-1.50) |",
    ]


@pytest.mark.parametrize(
    ("what", "limit", "line"),
    [
        ("speed", 2.0, "a is 2.00× as fast as b, target at least 2×: met"),
        ("speed", 2.1, "a is 2.00× as fast as b, target at least 2.1×: MISSED"),
        ("ratio", 0.5, "a takes 0.50× the time of b, target at most 0.5×: met"),
        ("ratio", 0.4, "a takes 0.50× the time of b, target at most 0.4×: MISSED"),
        ("difference", -1.0, "a takes -2.00 µs more than b, target at most -1 µs: met"),
        ("difference", -3.0, "a takes -2.00 µs more than b, target at most -3 µs: MISSED"),
    ],
)
def test_verdicts_are_about_medians_of_rounds(harness, what, limit, line):
    times = {"case": {"a": [1e-6, 1e-5, 2e-6], "b": [2e-6, 2e-5, 4e-6]}}
    targets = [harness.Target("case", what, "a", "b", limit)]
    assert harness.verdicts(targets, times) == [f"- case: {line}"]
    missing = [harness.Target("case", what, "a", "c", limit)]
    assert harness.verdicts(missing, times) == ["- case: a against c: not measured, without c"]


CONTEST = """
import time
from benchmarks.harness import LeftOut, Target
TITLE, NOTES, CASES = "A contest", "Notes.", ["one", "two"]
COLUMNS = [("ratio", "slow", "quick")]
TARGETS = [Target("one", "speed", "quick", "slow", 1.5)]
def sleeps(seconds):
    return lambda case: lambda: time.sleep(seconds)
def compiles(case):
    raise LeftOut("there is no compiler")
def absent(case):
    import a_package_that_is_nowhere
def one_case(case):
    print("what a compiler prints is no answer")
    return (lambda: time.sleep(0.001)) if case == "one" else None
CONTESTANTS = {
    "quick": sleeps(0.001), "slow": sleeps(0.002),
    "compiled": compiles, "absent": absent, "half": one_case,
}
"""


def test_contestants_are_timed_left_out_or_without_a_case(harness, tmp_path, monkeypatch):
    (tmp_path / "contest.py").write_text(CONTEST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    measured = harness.measure("contest", 2, 1)
    assert measured.left_out == {
        "compiled": "there is no compiler",
        "absent": "a_package_that_is_nowhere is not installed",
    }
    assert [list(times) for times in measured.times.values()] == [
        ["quick", "slow", "half"],
        ["quick", "slow"],
    ]
    assert all(len(t) == 2 for times in measured.times.values() for t in times.values())
    lines = harness.report(importlib.import_module("contest"), measured)
    assert lines[0] == "| case | quick, µs | slow, µs | half, µs | slow / quick |"
    assert lines[-3].startswith("- one: quick is ")
    assert lines[-1] == "- absent was left out: a_package_that_is_nowhere is not installed"


def test_where_nobody_is_there_nothing_is_measured_or_saved(harness, monkeypatch, capsys):
    found = harness.Measured({"one": {}}, {"absent": "it is not installed"})
    monkeypatch.setattr(harness, "measure", lambda *arguments: found)
    monkeypatch.setattr(harness, "save", None)
    monkeypatch.setattr(sys, "argv", ["launch"])
    harness.run("launch")
    assert capsys.readouterr().out == "absent was left out: it is not installed\n"


def test_contestants_that_are_all_left_out_are_no_error(harness, tmp_path, monkeypatch):
    (tmp_path / "nobody.py").write_text(CONTEST + 'CONTESTANTS = {"absent": absent}\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    measured = harness.measure("nobody", 2, 1)
    assert measured.times == {"one": {}, "two": {}}
    assert list(measured.left_out) == ["absent"]


def test_turns_begin_with_another_contestant_each_round(harness):
    order = []
    calls = {name: lambda name=name: order.append(name) or {"name": name} for name in "abc"}
    found = harness.in_turns(2, calls)
    assert "".join(order) == "abcbca"
    assert found == {name: [{"name": name}] * 2 for name in "abc"}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_all_contestants_of_the_step_compute_the_same_losses(harness, optimizer):
    """Each in its process: libraries that compile leave their settings behind."""
    steps = importlib.import_module("benchmarks.mlp_step").CONTESTANTS
    case = f"9-8-7-5, batch 6, {optimizer}"
    found = {}
    for name in steps.keys() - {"torch.compile"}:  # ten seconds; the check above runs it
        told = harness.in_own_process("benchmarks.mlp_step:losses", name, case, 5)
        if "left_out" in told:
            assert name in ("jax.jit", "tinygrad", "minitorch compiled") or "MKL" in name, told
        else:
            found[name] = told["losses"]
    for name, losses in found.items():
        assert losses == pytest.approx(found["pytorch"], rel=2e-5), name
    assert losses[0] - losses[-1] > 1e-4


def test_memory_counts_what_a_step_holds(harness):
    memory = importlib.import_module("benchmarks.memory")
    case = "500-2000-10, batch 8, SGD"
    told = harness.in_own_process("benchmarks.memory:peak", "numpy", case, 2)
    if "left_out" in told:
        pytest.skip("this system does not tell a process's peak")
    # a flat buffer of the parameters and five of its size
    assert told["bytes"] > 0.8 * 6 * 4 * (500 * 2000)
    rows = {"case": {"minitorch": [10.0, 30.0, 20.0], "pytorch": [40.0]}}
    assert memory.verdicts(rows) == [
        "- case: minitorch takes 0.50× the memory of pytorch, target at most 1×: met"
    ]


def test_memory_of_word2vec_counts_all_processes(harness):
    memory = importlib.import_module("benchmarks.word2vec_memory")
    function = "benchmarks.word2vec_memory:peak"
    told = harness.in_own_process(function, "minitorch, 2 workers", 300, "stdlib")
    if "left_out" in told:
        pytest.skip("this system does not tell what a process holds")
    assert told["processes"] == 4  # this one, and one that became two
    assert told["bytes"] > told["tables"] > 0
    run = {"bytes": 500 << 20, "processes": 4, "tables": 20 << 20}
    rows = {"case": {"minitorch": [run], "gensim": [run]}}
    assert memory.verdicts(rows) == [
        "- case: minitorch takes 120 MiB a process besides the tables, target at most 100: MISSED"
    ]


def test_growth_is_drawn(harness, tmp_path):
    growth = importlib.import_module("benchmarks.growth")
    times = {"batch 1": {"minitorch": [1e-6, 2e-6]}, "batch 4": {"minitorch": [4e-6, 2e-6]}}
    growth.plot(times, tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()


def test_images_from_bytes_are_the_same_tensors():
    import torch

    epoch = importlib.import_module("benchmarks.fashion_epoch")
    images = torch.arange(256).reshape(1, 1, 16, 16).repeat(2, 1, 1, 1) / 255
    dataset = epoch.Images(images, torch.tensor([3, 7]))
    assert len(dataset) == 2 and dataset.images.dtype == torch.uint8
    image, label = dataset[1]
    assert torch.equal(image, images[1]) and label == 7


def test_dead_units_stay_dead_and_their_moments_decay(harness):
    denormals = importlib.import_module("benchmarks.denormals")
    step = denormals.dying(minitorch)
    for _ in range(3):
        step()
    model = step.__closure__[[*step.__code__.co_freevars].index("model")].cell_contents
    grad = model[0].weight.grad
    assert not grad[1:].any() and grad[0].any()


def test_an_epoch_is_compared_with_the_better_loader(harness):
    epoch = importlib.import_module("benchmarks.fashion_epoch")
    runs = {
        "minitorch": [{"seconds": [9.0, 1.0, 1.0], "accuracy": 0.85}],
        "minitorch, MKL": [{"seconds": [9.0, 2.0, 2.0], "accuracy": 0.88}],
        "pytorch, 0 workers": [{"seconds": [2.0, 4.0, 4.0], "accuracy": 0.5}],
        "pytorch, 2 workers": [{"seconds": [2.0, 3.0, 3.0], "accuracy": 0.87}],
    }
    assert epoch.verdicts(runs) == [
        "- epoch: minitorch is 3.00× as fast as pytorch, 2 workers, target at least 2×: met",
        "- accuracy: 0.8500 beside 0.8700, target within 0.01 or better: MISSED",
        "- epoch: minitorch, MKL is 1.50× as fast as pytorch, 2 workers, "
        "target at least 2×: MISSED",
        "- accuracy: 0.8800 beside 0.8700, target within 0.01 or better: met",
    ]
    assert epoch.table(runs)[2] == "| minitorch | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) | 0.8500 |"


# ---------------------------------------------------------------------- word vectors
@pytest.fixture
def word2vec(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.word2vec")


@pytest.fixture
def curves(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.word2vec_curves")


@pytest.fixture
def text(tmp_path):
    """400 sentences of nine words, out of 40 that stand in one order."""
    words = [a + b for a in "abcd" for b in "klmnopqrst"]
    rng = random.Random(0)
    starts = [rng.randrange(32) for _ in range(400)]
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(words[s : s + 9]) + "\n" for s in starts))
    return str(path)


def _rounds(rates, scores):
    """Runs with these words a second, and the same score for every figure of quality."""
    return [
        {"words_per_s": rate, "train_words_per_s": 2 * rate, "neighbours": {"frog": ["toad"]}}
        | dict.fromkeys(("wordsim353", "simlex999", "analogies"), score)
        for rate, score in zip(rates, scores, strict=True)
    ]


def test_word2vec_table_has_ratios_of_medians_and_spreads(word2vec):
    runs = {
        "minitorch, 2 workers": _rounds([4000, 9000, 1000], [0.5, 0.6, 0.7]),
        "gensim, 2 workers": _rounds([2000, 1000, 3000], [0.4, 0.4, 0.4]),
    }
    assert word2vec.table(runs)[2:] == [
        "| minitorch, 2 workers | 4,000 | 2.00 | 8,000 | 2.00 " + "| 0.600 ± 0.100 " * 3 + "|",
        "| gensim, 2 workers | 2,000 | 1.00 | 4,000 | 1.00 " + "| 0.400 ± 0.000 " * 3 + "|",
    ]
    assert word2vec.neighbours(runs)[1] == "- gensim, 2 workers, frog: toad"


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.51, "at or above 0.500"), (0.49, "BELOW 0.500"), (float("nan"), "not to be compared")],
)
def test_word2vec_verdict_is_about_the_mean_less_a_standard_deviation(word2vec, score, verdict):
    runs = {
        "minitorch": _rounds([1, 1], [score] * 2),
        "gensim": _rounds([1, 1, 1], [0.5, 0.6, 0.7]),
    }
    lines = word2vec.verdicts(runs)
    assert [line.split(",")[1].split(":")[0] for line in lines] == [
        " WordSim-353",
        " SimLex-999",
        " analogies",
    ]
    assert all(verdict in line for line in lines)


def test_word2vec_contestants_without_their_module_are_left_out(word2vec, monkeypatch):
    there = word2vec.contestants(2)
    assert list(there)[-1] == "gensim, 2 workers"
    assert there["minitorch, 2 workers"].options["workers"] == 2
    assert there["minitorch, 1 worker"].options["workers"] == 1
    assert there["minitorch, 2 workers"].options["compiled"] is False
    assert there["minitorch with Numba, 2 workers"].options["compiled"] is True
    assert there["minitorch with Numba, 2 workers"].needs == "numba"
    monkeypatch.setattr(word2vec, "find_spec", lambda name: None)
    assert all(c.needs is None for c in word2vec.contestants(2).values())


@pytest.mark.parametrize("model", ["sg", "cbow", "sg-hs", "cbow-hs"])
def test_word2vec_runs_each_model_through_the_same_calls(word2vec, text, model):
    options = word2vec.OPTIONS | word2vec.MODELS[model]
    options |= {"vector_size": 8, "sample": 0, "epochs": 1, "seed": 1}
    found = {}
    for library, own in (("minitorch.text", {"progress": False}), ("gensim.models", {})):
        found[library] = word2vec.run(library, text, options | own)
    ours, theirs = found.values()
    assert ours["words"] == theirs["words"] == 3600
    assert ours["vocabulary"] == theirs["vocabulary"]
    assert ours["losses"][0] > 0 and theirs["losses"] is None
    assert math.isnan(ours["wordsim353"])  # the text knows no word of it


def test_word2vec_bible_and_wikipedia_are_sentences(word2vec):
    if shutil.which("bible") is None:
        pytest.skip("the Debian packages bible-kjv and bible-kjv-text are not installed")
    verses = word2vec.sentences("bible")
    assert next(verses)[:5] == ["in", "the", "beginning", "god", "created"]
    assert sum(len(verse) for verse in verses) > 780_000


def test_word2vec_command_measures_and_saves(word2vec, text, tmp_path, monkeypatch, capsys):
    harness = importlib.import_module("benchmarks.harness")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    word2vec.main(["--corpus", text, "--model", "cbow", "--epochs", "1", "--workers", "1"])
    out = capsys.readouterr().out
    assert "| minitorch, 1 worker |" in out and "| gensim, 1 worker |" in out
    saved = json.loads((tmp_path / "results/word2vec-cbow-text-txt.json").read_text())
    assert saved["results"]["runs"]["gensim, 1 worker"][0]["words"] == 3600
    assert "gensim" in saved["machine"] and "date" in saved["machine"]
    assert "3,600 words" in (tmp_path / "results/word2vec-cbow-text-txt.md").read_text()


def test_curves_corpus_follows_zipf_and_has_every_word(curves):
    counts = curves.frequencies(100, 20_000)
    assert abs(sum(counts) - 20_000) < 100
    assert counts[0] / counts[20] == pytest.approx(23.7 / 3.7, rel=0.01)
    assert min(curves.frequencies(1000, 1000)) == 1
    words = [word for sentence in curves.sentences(counts) for word in sentence]
    assert len(words) == sum(counts) and words.count("w3") == counts[3]


def test_curves_kept_words_are_those_of_the_vocabulary(curves):
    counts = curves.frequencies(50, 5000)
    vocab = Vocab([f"w{i}" for i in range(50)], np.array(counts))
    expected = (vocab.keep_probabilities(1e-3) * counts).sum()
    assert curves.kept(counts, 1e-3) == pytest.approx(expected)


def test_curves_tables_and_plot(curves, tmp_path):
    rows = [
        {"sweep": "window", "value": v, "minitorch": [a, a, 9.0], "gensim": [b] * 3}
        for v, a, b in ((2, 2e-6, 3e-6), (5, 4e-6, 10e-6))
    ]
    assert curves.tables(rows) == [
        "| window, words on either side | minitorch, µs a word | gensim, µs a word "
        "| gensim / minitorch |",
        "| ---: | ---: | ---: | ---: |",
        "| 2 | 2.00 | 3.00 | 1.50 |",
        "| 5 | 4.00 | 10.00 | 2.50 |",
        "",
        "Slowest point over fastest: minitorch 2.00, gensim 3.33.",
    ]
    curves.plot(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_time_both_on_a_tiny_corpus(curves, monkeypatch, capsys):
    monkeypatch.setattr(curves, "SWEEPS", {"vocabulary": [50]})
    (row,) = curves.measure(["vocabulary"], 1, 2000, 1)
    assert row["minitorch"][0] > 0 and row["gensim"][0] > 0
    assert 0 < row["kept"] < row["words"]
    assert "vocabulary 50: minitorch" in capsys.readouterr().out

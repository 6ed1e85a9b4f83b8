"""The benchmarks run, and their tables say what was measured; no test looks at a time."""

import dis
import importlib
import json
import math
import random
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations, pairwise, product
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
HARNESS += ["bytecodes", "half_precision", "launch", "loader", "mlp_step", "overhead", "recurrent"]


@pytest.mark.parametrize("name", HARNESS)
def test_every_case_of_every_contestant_runs(name):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--check", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pytorch is left out" not in done.stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_bytecodes_are_counted_by_function_and_not_of_the_simulated_gpu():
    bytecodes = importlib.import_module("benchmarks.bytecodes")
    x = minitorch.zeros(3, device="sim")

    def helper():
        return None

    code = [i for i in dis.get_instructions(helper) if i.opname not in ("CACHE", "RESUME")]
    found = bytecodes.counted(lambda: [helper(), helper(), x.array.copy()])
    assert found == {"test_benchmarks.helper": 2 * len(code)}


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="bytecodes are those of one Python")
def test_launches_and_replays_stay_within_their_bytecodes():
    bytecodes = importlib.import_module("benchmarks.bytecodes")
    found = bytecodes.count_all(bytecodes.LIMITS)
    over = {case: n.total() for case, n in found.items() if n.total() > bytecodes.LIMITS[case]}
    assert over == {}


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


# ---------------------------------------------------------------------- on a GPU
@pytest.fixture
def gpu(monkeypatch):
    """The benchmark of a GPU, with cases of tiny sizes."""
    monkeypatch.setenv("BENCHMARK_DEVICE", "sim")  # read at the import
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.gpu")


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_case_on_sim_is_counted(gpu):
    """Ops are one launch that never waits, and move the bytes that they have to."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    command = [sys.executable, "-W", "error", "-m", "benchmarks.gpu", "--device", "sim"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    heads, _, *rows = map(_cells, done.stdout.splitlines())
    assert heads == ["case", "launches", "waits", "host copies", "bytes moved", "bytes needed"]
    counted = {row[0].strip("`"): row[1:] for row in rows}
    steps = {f"{case}` compiled" for case, row in gpu.TABLE.items() if row.family == "step"}
    assert counted.keys() == {*gpu.CASES, *steps} and steps
    for case, row in gpu.TABLE.items():
        launches, waits, copies, moved, _ = counted[case]
        assert int(launches) > 0 and (waits, copies) == ("0", "0"), case
        if row.family in ("elementwise", "reduction", "copy", "optimizer", "GEMM"):
            assert launches == "1", case
            assert row.moved <= int(moved.replace(",", "")) <= 1.1 * row.moved, case


def test_dtypes_that_the_library_has_are_measured(gpu):
    precisions = {row.precision for row in gpu.TABLE.values()}
    assert {"float32", "TF32", "float16"} <= precisions
    assert ("bfloat16" in precisions) == hasattr(minitorch, "bfloat16")
    assert all(case.endswith(row.precision) for case, row in gpu.TABLE.items())


def test_every_case_of_the_other_contestants_runs_without_a_gpu(gpu, monkeypatch, harness):
    for name in [name for name in gpu.CONTESTANTS if name not in gpu.OTHERS]:
        monkeypatch.delitem(gpu.CONTESTANTS, name)
    ran = []
    make_step = harness.make_step

    def make(module, name, case):
        ran.append(name)
        return make_step(module, name, case)

    monkeypatch.setattr(harness, "make_step", make)
    harness.check("benchmarks.gpu")
    assert (
        ran.count("PyTorch") == ran.count("PyTorch fused") == ran.count("gensim") == len(gpu.CASES)
    )


def test_rates_are_shares_of_the_copy_and_of_the_peak(gpu):
    n = 48
    product = f"{n}³, float32"
    times = {
        "y.copy_(x), float32": {"minitorch": [2e-6, 1e-6, 3e-6]},  # 8192 bytes
        "x + y, float32": {"minitorch": [6e-6], "PyTorch": [3e-6]},  # 12288 bytes
        product: {"minitorch": [2 * n**3 / 10e12]},
    }
    lines = gpu.tables(times, {"float32": 40.0})
    rows = {cells[0].strip("`"): cells for cells in map(_cells, lines)}
    assert rows["y.copy_(x), float32"][-2:] == ["4", "1.00"]
    assert rows["x + y, float32"][-3:] == ["0.50 (0.50–0.50)", "2", "0.50"]
    assert rows[product][-2:] == ["10.0", "0.25"]
    assert _cells(lines[lines.index("## GEMM") + 2])[-2:] == ["TFLOP/s", "of the peak"]
    unknown = gpu.tables(times, {})
    assert _cells(unknown[unknown.index("## GEMM") + 2])[-1] == "TFLOP/s"


def test_measuring_writes_tables_pictures_and_numbers(gpu, harness, tmp_path, monkeypatch):
    times = {case: {"minitorch": [1e-5, 2e-5], "PyTorch": [3e-5, 1e-5]} for case in gpu.TABLE}
    asked = []

    def measure(*arguments):
        asked.append(arguments)
        return harness.Measured(times, {"jax.jit": "it finds no GPU"})

    monkeypatch.setattr(harness, "measure", measure)
    monkeypatch.setattr(minitorch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    gpu.measure(2, tmp_path / "out", Path("/there"))
    assert asked[0][3]["jax.jit"] == "/there" and "minitorch" not in asked[0][3]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("gpu.md", "gpu.json", "roofline.png", "speeds.png", "steps.png")
    }
    told = (tmp_path / "out" / "gpu.md").read_text()
    assert told.startswith("# minitorch on an NVIDIA H200\n")
    assert "- jax.jit was left out: it finds no GPU" in told
    assert importlib.import_module("benchmarks._compare").times_of(tmp_path / "out") == times


def test_two_runs_are_compared_by_the_middle_halves_of_their_rounds(harness, tmp_path, capsys):
    main = importlib.import_module("benchmarks.__main__").main
    a = {"one": {"x": [4e-6] * 3, "y": [1e-6, 2e-6, 3e-6]}, "two": {"x": [1e-6]}}
    b = {"one": {"x": [2e-6] * 3, "y": [2e-6, 3e-6, 4e-6], "z": [1e-6]}}
    for name, seconds in (("a", a), ("b", b)):
        harness.save("gpu", "Title", "", [], {"seconds": seconds}, tmp_path / name)
    folders = [str(tmp_path / name) for name in "ab"]
    assert main(["compare", folders[0], f"{folders[1]}/gpu.json"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| `one` | x | 4.00 (4.00–4.00) | 2.00 (2.00–2.00) | 2.00 | faster |",
        "| `one` | y | 2.00 (1.50–2.50) | 3.00 (2.50–3.50) | 0.67 |  |",
        "",
        "2 in one of them only.",
    ]
    main(["compare", *reversed(folders)])
    assert "| 0.50 | slower |" in capsys.readouterr().out
    for wrong in (
        folders[:1],
        [folders[0], str(tmp_path)],
        [folders[0], str(tmp_path / "no.json")],
    ):
        assert main(["compare", *wrong]) == 2


def test_results_of_a_gpu_go_to_a_new_folder_only(gpu, harness, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    named = gpu.new_folder(None, "NVIDIA H200")
    assert named.parent == tmp_path / "runs" and named.name.startswith("nvidia-h200-20")
    assert gpu.new_folder(tmp_path / "a" / "b", "any") == tmp_path / "a" / "b"
    harness.save("gpu", "Title", "Notes.", [], {}, tmp_path / "a" / "b")
    with pytest.raises(FileExistsError, match=r"--out: .*b is there already"):
        gpu.new_folder(tmp_path / "a" / "b", "any")


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
import os, time
from benchmarks.harness import LeftOut, Queued, Target
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
def queues(case):
    waiting = []
    def wait():
        time.sleep(0.001 * len(waiting))
        waiting.clear()
    return Queued(lambda: waiting.append(1), wait)
def raises(case):
    raise ValueError("no memory")
def ends(case):
    os._exit(1)
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


def test_queued_work_is_waited_for_and_who_fails_is_left_out(harness, tmp_path, monkeypatch):
    named = (
        'CONTESTANTS = {"queues": queues, "raises": raises, "ends": ends, "no python": queues}\n'
    )
    (tmp_path / "queued.py").write_text(CONTEST + named)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    measured = harness.measure("queued", 1, 1, {"no python": "/no/python"})
    assert measured.left_out == {
        "no python": "/no/python does not exist",
        "raises": "one: ValueError: no memory",
        "ends": "its process has ended, in case 'one' or before",
    }
    assert [list(times) for times in measured.times.values()] == [["queues"]] * 2
    assert measured.times["one"]["queues"][0] > 0.0009


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
    ours, theirs = "minitorch, 2 workers, alpha 0.05", "gensim, 2 workers, alpha 0.05"
    runs = {
        "gensim, 2 workers, alpha 0.025": _rounds([1000, 1000, 1000], [0.1, 0.1, 0.1]),
        ours: _rounds([4000, 9000, 1000], [0.5, 0.6, 0.7]),
        theirs: _rounds([2000, 1000, 3000], [0.4, 0.4, 0.4]),
    }
    assert word2vec.table(runs)[3:] == [
        f"| {ours} | 4,000 | 2.00 | 8,000 | 2.00 " + "| 0.600 ± 0.100 " * 3 + "|",
        f"| {theirs} | 2,000 | 1.00 | 4,000 | 1.00 " + "| 0.400 ± 0.000 " * 3 + "|",
    ]
    assert word2vec.neighbours(runs)[2] == f"- {theirs}, frog: toad"


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.51, "at or above 0.500"), (0.49, "BELOW 0.500"), (float("nan"), "not to be compared")],
)
def test_word2vec_verdict_is_about_the_mean_less_a_standard_deviation(word2vec, score, verdict):
    runs = {
        "gensim, alpha 0.05": _rounds([1, 1, 1], [0.9, 0.9, 0.9]),
        "minitorch, alpha 0.025": _rounds([1, 1], [score] * 2),
        "gensim, alpha 0.025": _rounds([1, 1, 1], [0.5, 0.6, 0.7]),
    }
    lines = word2vec.verdicts(runs)
    assert [line.split(",")[2].split(":")[0] for line in lines] == [
        " WordSim-353",
        " SimLex-999",
        " analogies",
    ]
    assert all(verdict in line for line in lines)


def test_word2vec_contestants_without_their_module_are_left_out(word2vec, monkeypatch):
    there = word2vec.contestants(2, [0.05])
    assert list(there)[-1] == "gensim, 2 workers, alpha 0.05"
    assert there["minitorch, 2 workers, alpha 0.05"].options["workers"] == 2
    assert there["minitorch, 1 worker, alpha 0.05"].options["workers"] == 1
    assert there["minitorch, 2 workers, alpha 0.05"].options["compiled"] is False
    assert there["minitorch with Numba, 2 workers, alpha 0.05"].options["compiled"] is True
    assert there["minitorch with Numba, 2 workers, alpha 0.05"].needs == "numba"
    monkeypatch.setattr(word2vec, "find_spec", lambda name: None)
    assert all(c.needs is None for c in word2vec.contestants(2, [0.05]).values())


def test_word2vec_contestants_have_the_alpha_of_their_name(word2vec):
    there = word2vec.contestants(2, [0.05, 0.025])
    assert len(there) == 2 * len(word2vec.contestants(2, [0.05]))
    for name, contestant in there.items():
        assert name.endswith(f", alpha {contestant.options['alpha']:g}")


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
    word2vec.main(f"--corpus {text} --model cbow --epochs 1 --workers 1 --alpha 0.025".split())
    out = capsys.readouterr().out
    for name in ("minitorch", "gensim"):
        assert f"| {name}, 1 worker, alpha 0.025 |" in out
    saved = json.loads((tmp_path / "results/word2vec-cbow-text-txt.json").read_text())
    assert saved["results"]["runs"]["gensim, 1 worker, alpha 0.025"][0]["words"] == 3600
    assert "gensim" in saved["machine"] and "date" in saved["machine"]
    told = (tmp_path / "results/word2vec-cbow-text-txt.md").read_text()
    assert "3,600 words" in told and "0.025 in gensim" in told


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


# ---------------------------------------------------------------------- word vectors at all options
def test_a_record_is_read_where_a_run_was_killed(harness, tmp_path):
    path = tmp_path / "work" / "runs.jsonl"
    record = harness.Record(path)
    assert record.get({"a": 1}) is None
    record.add({"a": 1, "b": [2]}, {"found": math.inf})
    with path.open("a") as file:
        file.write('{"key": {"a": 2}, "result": {"fou')  # cut off
    other = harness.Record(path)
    assert other.get({"b": [2], "a": 1}) == {"found": math.inf}
    assert other.get({"a": 2}) is None
    record.add({"a": 2}, {"found": 3})
    assert record.get({"a": 2}) == other.get({"a": 2}) == {"found": 3}
    assert harness.Record(path).get({"a": 2}) == {"found": 3}


def test_covering_points_have_all_pairs_and_few_points(harness):
    axes = {"a": [1, 2, 3, 4], "b": ["x", "y"], "c": [0.1, 0.2, 0.3], "d": [True, False]}
    points = harness.covering(axes)
    for (one, ones), (two, twos) in combinations(axes.items(), 2):
        assert {(point[one], point[two]) for point in points} == {*product(ones, twos)}
    assert 12 <= len(points) <= 14  # a and c alone need 12
    everything = harness.covering(axes, len(axes))
    assert len({tuple(point.values()) for point in everything}) == len(everything) == 48


@pytest.fixture
def contest(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks._contest")


def _reach(vectors, outputs=1.0, **others):
    return {"vectors": vectors, "outputs": outputs, **others}


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (_reach(4.0), _reach(1.0), None),
        (_reach(4.1), _reach(1.0), "vectors reach 4.1, those of gensim 1"),
        (_reach(1.0, 9.0), _reach(1.0, 2.0), "outputs reach 9, those of gensim 2"),
        (_reach(math.inf), None, "vectors are not finite"),
        ({"error": "the loss is nan"}, _reach(1.0), "the loss is nan"),
        (_reach(1.0, losses=[9.0, 2.5], zeros=2.4), None, "the loss is 2.500, that of zeros 2.400"),
        (_reach(1.0, losses=[math.nan], zeros=2.4), None, "the loss is nan, that of zeros 2.400"),
        (_reach(1.0, losses=[9.0, 2.3], zeros=2.4), None, None),
        (None, _reach(1.0), None),
    ],
)
def test_a_point_fails_for_a_reason(contest, ours, theirs, reason):
    row = {"point": {"window": 5}, "minitorch": ours, "gensim": theirs}
    assert contest.failed(row, learns=ours is not None and "losses" in ours) == reason


def test_a_summary_counts_by_axis(contest):
    rows = [
        {"point": {"window": 2}, "minitorch": _reach(1.0), "gensim": _reach(2.0)},
        {"point": {"window": 5}, "minitorch": _reach(9.0), "gensim": _reach(2.0)},
        {"point": {"window": 5}, "minitorch": {"error": "no"}, "gensim": _reach(3.0)},
        {"point": {"window": 5}, "minitorch": None, "gensim": None},
    ]
    assert contest.summary(rows, {"window": [2, 5]})[2:] == [
        "| all |  | 3 | 2 | inf | 3 | inf | inf | 1 | inf |",
        "| window | 2 | 1 | 0 | 1 | 2 | 0.5 | 1 | 1 | 1 |",
        "| window | 5 | 2 | 2 | inf | 3 | inf | inf | 1 | inf |",
        "",
        "- window 5: vectors reach 9, those of gensim 2",
        "- window 5: no",
    ]


def test_the_loss_of_zeros_is_that_of_a_first_step(contest, text):
    for model in contest.MODELS.values():
        options = {"vector_size": 8, "min_count": 1, "sample": 0, "epochs": 1, "negative": 3}
        options |= {"alpha": 1e-9, "min_alpha": 0.0, "workers": 1, "progress": False} | model
        told = contest.extent("minitorch.text", text, options)
        assert told["losses"][0] == pytest.approx(told["zeros"], rel=0.01), model
        assert told["outputs"] < 1e-6 and 0 < told["vectors"] <= 0.5 / 8


@pytest.fixture
def small(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.word2vec_small")


def test_small_texts_and_walks_are_what_they_say(small):
    even = list(small.text(10, "even", 1000))
    assert [len(sentence) for sentence in even] == [1000] * 60
    counts = Counter(word for sentence in even for word in sentence)
    assert {*counts.values()} == {6000} and len(counts) == 10
    zipf = Counter(word for sentence in small.text(100, "Zipf", 20) for word in sentence)
    assert len(zipf) == 100 and zipf["w0"] > 20 * zipf["w99"]
    for name in small.GRAPHS:
        walks = list(small.walks(name))
        starts = Counter(walk[0] for walk in walks)
        assert {*starts.values()} == {10} and {len(walk) for walk in walks} == {80}, name
    ring = next(small.walks("ring"))
    assert all((int(a) - int(b)) % 50 in (1, 49) for a, b in pairwise(ring))


def test_contests_go_on_where_they_stopped(small, contest, tmp_path, monkeypatch, capsys):
    harness = importlib.import_module("benchmarks.harness")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    part = small.PARTS["walks"]
    axes = {"graph": ["path"], "model": ["CBOW"], "alpha": [0.025]}
    few = part._replace(axes=axes, minor={contest.STEP: [512]}, fixed=part.fixed | {"epochs": 1})
    monkeypatch.setattr(small, "PARTS", {"walks": few})
    given = ["--work", str(tmp_path), "--compiled", "no"]
    small.main([*given, "--contestant", "gensim", "--dry"])
    assert "Nothing was measured." in capsys.readouterr().out
    small.main(given)
    out = capsys.readouterr().out
    assert "path: minitorch: 0 left" in out and "gensim: 0 left" not in out
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 2
    saved = json.loads((tmp_path / "results/word2vec-small.json").read_text())
    (row,) = saved["results"]["walks"]
    assert 0 < row["gensim"]["vectors"] < 10 and row["point"]["graph"] == "path"
    assert row["minitorch"]["zeros"] == pytest.approx(6 * math.log(2))
    assert "1 points" in (tmp_path / "results/word2vec-small.md").read_text()


def test_stability_is_measured_on_the_beginning_of_a_corpus(text, tmp_path, monkeypatch, capsys):
    stability = importlib.import_module("benchmarks.word2vec_stability")
    assert sum(map(len, stability.beginning(text, 1000))) == 1000
    monkeypatch.setattr(stability, "AXES", {"model": ["skip-gram"], "negative": [2, 5]})
    given = ["--work", str(tmp_path), "--corpus", text, "--words", "2000", "--dry"]
    stability.main([*given, "--contestant", "minitorch"])
    out = capsys.readouterr().out
    assert "| negative | 5 | 1 | 0 | " in out and "No point fails." in out


def test_quality_is_judged_by_the_spread_of_the_referee(tmp_path):
    quality = importlib.import_module("benchmarks.word2vec_quality")
    theirs = [0.5, 0.6, 0.7]
    assert quality.verdict([0.6], theirs) == "at or above"
    assert quality.verdict([0.55], theirs) == "within"
    assert quality.verdict([0.45], theirs) == "BELOW"
    assert quality.verdict([], theirs) == "not measured"
    runs = {
        "minitorch": [dict.fromkeys(quality.QUALITY, 0.7), {"error": "the loss is nan"}],
        "gensim": [dict.fromkeys(quality.QUALITY, score) for score in theirs],
    }
    rows = [{"corpus": "text", "point": "CBOW", **runs}]
    cells = "| 0.350 ± 0.495 | 0.600 ± 0.100 | BELOW "
    assert quality.table(rows)[2:] == ["| text | CBOW " + cells * 3 + "|"]
    assert quality.count(rows) == "Of 3 figures of 1 points: 3 BELOW."
    quality.plot(rows, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_quality_points_are_twelve_off_the_defaults_and_run(text, tmp_path, capsys):
    quality = importlib.import_module("benchmarks.word2vec_quality")
    assert len(quality.POINTS) == 12
    assert all(quality.BASE | point != quality.BASE for point in quality.POINTS.values())
    given = ["--work", str(tmp_path), "--corpus", text, "--point", "CBOW", "--seeds", "1", "--dry"]
    quality.main(given)
    out = capsys.readouterr().out
    assert "| text.txt | CBOW | nan | nan | not measured |" in out
    quality.main([*given, "--contestant"])
    again = capsys.readouterr().out
    assert " left" not in again and again.splitlines()[-4:] == out.splitlines()[-4:]

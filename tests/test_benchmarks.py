"""The benchmarks run, and their tables say what was measured; no test looks at a time."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["overhead", "mlp_step"])
def test_every_case_of_every_contestant_runs(name):
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", "--check"]
    subprocess.run(command, cwd=ROOT, check=True)


def test_the_gpu_benchmark_runs_every_case_on_sim_and_times_nothing():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    command = [sys.executable, "-W", "error", "-m", "benchmarks.gpu", "--device", "sim"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 16
    assert all(": ran" in line for line in lines)


def test_table_compares_within_a_round(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import harness

    benchmark = SimpleNamespace(
        CONTESTANTS={"a": None, "b": None},
        COLUMNS=[("ratio", "a", "b"), ("difference", "a", "b")],
    )
    # b is always twice as slow as a, although both vary by a factor of ten over the rounds.
    times = {"case": {"a": [1e-6, 1e-5, 2e-6], "b": [2e-6, 2e-5, 4e-6]}}
    lines = harness.table(benchmark, times)
    assert lines == [
        "| case | a, µs | b, µs | a / b | a − b, µs |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| `case` | 2.00 (1.00–10.00) | 4.00 (2.00–20.00) | 0.50 (0.50–0.50) "
        "| -2.00 (-10.00–-1.00) |",
    ]

"""The examples, on data that is always at hand."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from minitorch.backend.cpu import settings
from minitorch.data import sources

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys, device):
    """Run an example as a script on the device under test; return what it prints."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [name, "--device", device, *map(str, words)])
        with settings.flush_denormal():  # which an example may leave on
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_mlp_classification_falls_back_on_digits(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("MINITORCH_DATA", raising=False)
    out = run("mlp_classification.py", "--epochs", 4, "--out", tmp_path / "demo")
    assert float(re.search(r"digits: test accuracy (\S+);", out)[1]) > 0.8
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["mlp_curves.png", "mlp_predictions.png"]


def test_word2vec(run, tmp_path):
    corpus = tmp_path / "corpus.txt"
    lines = ["red blue green yellow purple brown crimson are colours", "one two three four five"]
    corpus.write_text("\n".join(lines * 30))
    out = run("word2vec.py", "--corpus", corpus, "--epochs", 2, "--out", tmp_path / "demo")
    assert "420 words, 14 vectors" in out
    assert re.search(r"^blue: ", out, re.MULTILINE)
    assert re.search(r"^one : two = three : ", out, re.MULTILINE)
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["vectors.safetensors", "words.png"]

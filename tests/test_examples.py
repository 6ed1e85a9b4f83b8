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


WORD_FIGURES = """
hotel · motel = 0
a dense gradient of 500,000 vectors of 300: 0.6 GB
1,000 words: 3,624 bytes of gradient, changed rows [3, 8]
10,000 words: 3,624 bytes of gradient, changed rows [3, 8]
he filled the [wampimuk] , passed it around
sum of the entries: 20
singular values: 2.7573 2.6782 1.8922 1.6180 1.1915 0.9483 0.6180 0.5700
3.3409 2.5417 2.3539 1.6445; human–user -0.3780, human–minors -0.2857
human–user 0.9385, human–minors -0.8309
apricot: 4 positive pairs (tablespoon, of, preserves, or),
8 negative (
k = 5: a pair's loss starts at 4.158883 = 6 ln 2
full softmax 150,000,000
kept with probability 0.416228
king → queen, prince
"""


def test_words(run, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("red blue green\nking queen prince\n" * 30)
    out = run("words.py", "--corpus", corpus, "--epochs", 2, "--out", tmp_path / "demo")
    for line in WORD_FIGURES.strip().splitlines():
        assert line in out
    (negatives,) = re.findall(r"^8 negative \((.*)\)$", out, re.MULTILINE)
    assert set(negatives.split(", ")) <= {"lemon", "a", "jam"}
    start, end = map(float, re.search(r"J falls from (\S+) to (\S+):", out).groups())
    assert end < 0.05 < start
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["cooccurrence.png", "glove.png", "lsa.png", "projector.html"]


def test_own_op(run, own_ops):
    out = run("own_op.py", "--steps", 40)
    assert float(re.search(r"difference to the reference: (\S+)$", out, re.MULTILINE)[1]) < 1e-15
    assert "gradcheck: True" in out
    start, end = map(float, re.search(r"compiled step: (\S+) to (\S+)$", out).groups())
    assert end < 0.1 < 0.5 < start

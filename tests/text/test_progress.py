"""How far long work is: a bar, or a line of the log now and then."""

import logging

import pytest

from minitorch.text import Word2Vec, progress
from minitorch.text.progress import Progress
from tests.text.word2vec.test_model import SENTENCES, SMALL


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_there_is_a_line_every_ten_seconds(clock, caplog, capsys):
    caplog.set_level(logging.INFO, "minitorch.text")
    with Progress("counting", 200, "word", None, 20) as shown:
        for done in range(21, 121):
            clock[0] += 0.3
            shown.show(done, f"note {done}")
            if done == 60:
                shown.name("reading")
    assert caplog.messages == [
        "counting: 27.0%, note 54",
        "reading: 44.0%, note 88",
    ]
    assert capsys.readouterr().err == ""


def test_a_total_that_nobody_knows(clock, caplog):
    caplog.set_level(logging.INFO, "minitorch.text")
    with Progress("counting", None, "word", False) as shown:
        clock[0] = 11
        shown.show(5, "2 words/s")
    assert caplog.messages == ["counting: 2 words/s"]


def test_a_bar_and_no_line(clock, caplog, capsys):
    caplog.set_level(logging.INFO, "minitorch.text")
    with Progress("counting", 10, "word", True) as shown:
        clock[0] = 99
        shown.show(5, "note")
    assert "counting:  50%" in capsys.readouterr().err
    assert not caplog.messages


def test_training_tells_where_it_is(monkeypatch, caplog):
    """Of every epoch its loss, and in between, here at once, how far it is and how fast."""
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    monkeypatch.setattr("minitorch.text.word2vec.training.CHUNK", 2000)
    caplog.set_level(logging.INFO, "minitorch.text")
    model = Word2Vec(SENTENCES[:300], **SMALL | {"epochs": 2})
    lines = caplog.messages
    assert any(line.startswith("reading: ") and "words/s" in line for line in lines)
    assert any(line.startswith("epoch 1/2: 25.0%, ") and ", loss=" in line for line in lines)
    ends = [line for line in lines if line.startswith("epoch") and " s, loss=" in line]
    assert [line.partition("loss=")[2] for line in ends] == [f"{x:.4f}" for x in model.losses]

"""`minitorch kernels compile`; what the others print is tested with what they print."""

import re
import shutil
import sys

import pytest

from minitorch import cli
from minitorch.devtools import commands


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_compile_fills_the_cache(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = ["kernels", "compile", "word2vec", "--device", "sim", "--checked"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"20 modules ready for device 'sim' in \d+ s\n", out)
    libraries = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")}
    assert len(libraries) == 20 + 1  # and the runtime
    assert cli.main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")} == libraries


@pytest.mark.parametrize("command", ["compile", "check"])
def test_unknown_files(capsys, command):
    assert cli.main(["kernels", command, "nowhere"]) == 2
    assert "kernels/nowhere.cu does not exist: there are convert," in capsys.readouterr().err


def test_a_device_that_does_not_work(capsys, monkeypatch):
    monkeypatch.setattr(commands, "why_unavailable", lambda name: "no g++")
    assert cli.main(["kernels", "compile"]) == 2
    assert cli.main(["kernels", "count"]) == 2
    expected = "minitorch: error: device 'sim' is not available: no g++\n"
    assert capsys.readouterr().err == expected * 2


def test_bars_are_drawn_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert not commands._hidden(quiet=False)
    assert commands._hidden(quiet=True)

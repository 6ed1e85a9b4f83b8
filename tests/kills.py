"""Runs that are killed, at moments that are chosen, and resumed: `python -m tests.kills`.

A job is a command line of `minitorch`. It runs once undisturbed, and then again and again in a
process that kills itself with SIGKILL at the n-th time that it comes to some place: a step of
training, or a point within the writing of a checkpoint. Each run is resumed and has to end with
the same bits as the undisturbed one, with nothing left lying about. Then the newest checkpoint is
damaged, and the disk is full.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import minitorch
from minitorch import files

TEXT = "the king rules the land and the queen rules the sea\na frog sits in a pond\n"
JOBS = {
    "mlp": [
        *(
            "train",
            "mlp",
            "--device",
            "cpu",
            "--data",
            "digits",
            "--hidden",
            "16",
            "--epochs",
            "4",
            "--quiet",
        ),
    ],
    "words": [
        *(
            "train",
            "word2vec",
            "--device",
            "cpu",
            "--vector-size",
            "8",
            "--epochs",
            "3",
            "--min-count",
            "1",
        ),
        *("--save-every", "100000", "--quiet", "--corpus"),
    ],
}
# Where a process may end, as "module:attribute", and how many times it goes on between moments;
# "half" is in the middle of what is written at once.
STEP = {
    "mlp": ("minitorch.data.loader:DataLoader._batch", 9),
    "words": ("minitorch.text.word2vec.training:Trainer._step_over", 2),
}
SAVE = (("half", 8), ("os:fsync", 2), ("os:link", 1), ("os:replace", 2))
_PRELUDE = """
import importlib, os, sys
place, number, *words = sys.argv[1:]
from minitorch import cli, serialization
seen = []
def counted(function):
    def wrapper(*args, **options):
        seen.append(1)
        if len(seen) == int(number):
            %s
        return function(*args, **options)
    return wrapper
class Half:
    def __init__(self, file):
        self.file = file
    def write(self, data):
        data = memoryview(data).cast("B") if memoryview(data).nbytes else b""
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        counted(lambda: None)()
        self.file.write(data[len(data) // 2 :])
if place == "half":
    write = serialization._write
    serialization._write = lambda file, *rest: write(Half(file), *rest)
elif place:
    module, _, path = place.partition(":")
    holder, *names = [importlib.import_module(module), *path.split(".")]
    for name in names[:-1]:
        holder = getattr(holder, name)
    setattr(holder, names[-1], counted(getattr(holder, names[-1])))
sys.exit(cli.main(words))
"""
KILLED = _PRELUDE % "os.kill(os.getpid(), 9)"
FULL = _PRELUDE % 'raise OSError(28, "No space left on device")'


def run(words: list[str], place: str = "", number: int = 0, script: str = KILLED):
    """The ended process of a command line; at the number-th time at `place` it is killed."""
    command = [sys.executable, "-c", script, place, str(number), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Job:
    """A command line, its outcome when nothing disturbs it, and folders for other outcomes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.words = list(JOBS[name])
        if name == "words":
            corpus = folder / "corpus.txt"
            corpus.write_text(TEXT * 10000)
            self.words.append(str(corpus))
        self.expected = self.finished(folder / "whole")

    def finished(self, out: Path, *options: str) -> object:
        """Run to the end; what came out."""
        done = run([*self.words, "--out", str(out), *options])
        assert done.returncode == 0, done.stderr
        return self.outcome(out)

    def outcome(self, out: Path) -> object:
        """What does not differ between equal runs."""
        left = [path.name for path in out.rglob("*") if ".tmp" in path.name or ".lock" in path.name]
        assert left == []
        if self.name == "words":
            return (out / "vectors.safetensors").read_bytes()
        history = json.loads((out / "result.json").read_text())["history"]
        rows = [{k: v for k, v in row.items() if "second" not in k} for row in history]
        best = minitorch.load(out / "best.safetensors", device="cpu")["model"]
        return rows, {name: value.tolist() for name, value in best.items()}

    def check_killed(self, place: str, number: int) -> bool:
        """Kill, resume, compare; whether the run came to that moment at all."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            ended = run([*self.words, "--out", out], place, number)
            if ended.returncode == 0:
                return False
            assert ended.returncode == -9, ended.stderr
            begun = (Path(out) / "last.safetensors").exists()
            assert self.finished(Path(out), *["--resume"] * begun) == self.expected
            return True

    def check_damaged(self) -> None:
        """Damage the newest checkpoint of a finished run, resume, compare."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            self.finished(Path(out))
            last = Path(out) / "last.safetensors"
            data = bytearray(last.read_bytes())
            data[-len(data) // 3] ^= 0xFF
            last.write_bytes(data)
            resumed = run([*self.words, "--out", out, "--resume"])
            assert resumed.returncode == 0, resumed.stderr
            assert f"warning: {last} cannot be read" in resumed.stderr
            assert files.previous(last).name in resumed.stderr
            assert self.outcome(Path(out)) == self.expected

    def check_full(self, place: str, number: int) -> None:
        """Let the disk be full at a moment: one line that says so, and the run can go on."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            ended = run([*self.words, "--out", out], place, number, FULL)
            assert ended.returncode == 2, ended.stderr
            line = rf"minitorch: error: {out}/[\w./]+: No space left on device\n"
            assert re.fullmatch(line, ended.stderr), ended.stderr
            begun = (Path(out) / "last.safetensors").exists()
            assert self.finished(Path(out), *["--resume"] * begun) == self.expected


def moments(name: str, count: int) -> list[tuple[str, int]]:
    """So many moments: a fifth each at steps and at the places within saves."""
    places = (STEP[name], *SAVE)
    chosen = ((*places[i % len(places)], i // len(places)) for i in range(count))
    return [(place, 1 + apart * times) for place, apart, times in chosen]


def main() -> None:
    """Kill every job at each of its moments."""
    parser = argparse.ArgumentParser(prog="tests.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20, metavar="N", help="of each job")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    args = parser.parse_args()
    for name in args.jobs:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(name, Path(folder))
            for place, number in moments(name, args.moments):
                reached = job.check_killed(place, number)
                told = "resumed to the same bits" if reached else "ended before"
                print(f"{name}: killed at {place}, time {number}: {told}", flush=True)
            job.check_damaged()
            print(f"{name}: a damaged newest checkpoint: resumed from the one before", flush=True)
            for number in (1, 3):
                job.check_full("os:fsync", number)
            print(f"{name}: a full disk: one line, and resumed to the same bits", flush=True)


if __name__ == "__main__":
    main()

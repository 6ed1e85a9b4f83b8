"""Peak memory of word2vec, of all processes together: minitorch and gensim, one worker and two."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

from benchmarks import harness
from benchmarks.harness import in_own_process, installed, summary

TITLE = "Peak memory of word2vec"
NOTES = """
MiB of one epoch over GCIDE and WordNet at the defaults but for vector_size, all processes together,
what they share counted once: the largest sum of Pss of /proc/PID/smaps_rollup, looked at every 20
ms. Tables: the two of float32 (V, vector_size). Median of the rounds (quartiles).
"""
SIZES = (100, 300)
# workers, and of minitorch whether Numba's machine code is used.
CONTESTANTS: dict[str, tuple[str, int, bool | None]] = {
    "minitorch": ("minitorch", 1, False),
    "minitorch, 2 workers": ("minitorch", 2, False),
    "minitorch, 2 workers, Numba": ("numba", 2, True),
    "gensim": ("gensim", 1, None),
    "gensim, 2 workers": ("gensim", 2, None),
}
ROUNDS = 3
LIMIT = 100.0  # MiB a process above the tables


def _tree(pid: int) -> Iterator[int]:
    """A process and all that come from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _pss(pid: int) -> int:
    """Bytes of a process, what it shares divided by those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


class _Watch(Thread):
    """Looks again and again; `most` is (bytes, processes)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.done = (0, 0), Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            try:
                sizes = [_pss(pid) for pid in _tree(os.getpid())]
            except OSError:  # one has ended meanwhile
                continue
            self.most = max(self.most, (sum(sizes), len(sizes)))


def peak(contestant: str, size: int, source: str) -> dict[str, Any]:
    """Bytes at the peak, of how many processes; bytes of the tables; or why it cannot be told."""
    from minitorch.text import Corpus, Word2Vec

    try:
        corpus = Corpus(source)
        _pss(os.getpid())
    except OSError as reason:
        return {"left_out": str(reason)}
    _, workers, compiled = CONTESTANTS[contestant]
    options: dict[str, Any] = {"vector_size": size, "sg": 1, "workers": workers, "epochs": 1}
    watch = _Watch()
    watch.start()
    if compiled is None:
        from gensim.models import Word2Vec as Gensims

        words = len(Gensims(corpus, **options).wv)
    else:
        words = len(Word2Vec(corpus, **options, compiled=compiled, progress=False, device="cpu").wv)
    watch.done.set()
    watch.join()
    most, processes = watch.most
    return {"bytes": most, "processes": processes, "tables": 2 * 4 * words * size}


def main(given: list[str] | None = None) -> None:
    """Measure, print and save."""
    args = harness.options("word2vec_memory", TITLE, ROUNDS).parse_args(given)
    sizes, rounds, source = SIZES, args.rounds, "gcide+wordnet"
    if args.check:
        sizes, rounds, source = SIZES[:1], 1, "stdlib"
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for size in sizes:
        calls = {
            name: partial(
                in_own_process, "benchmarks.word2vec_memory:peak", name, size, source, threads=1
            )
            for name, (package, _, _) in CONTESTANTS.items()
            if installed(package)
        }
        rows = harness.in_turns(rounds, calls)
        left_out = [run["left_out"] for runs in rows.values() for run in runs if "left_out" in run]
        if left_out:
            print(f"left out: {left_out[0]}")
            return
        found[f"vector_size={size}"] = rows
        told = (f"{name} {runs[0]['bytes'] / 2**20:.0f} MiB" for name, runs in rows.items())
        print(f"vector_size={size}: {', '.join(told)}", flush=True)
    if not args.check:
        lines = [*tables(found), "", *verdicts(found)]
        harness.finish(args, "word2vec_memory", sys.modules[__name__], lines, {"peaks": found})


def tables(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """A row for each contestant and size."""
    lines = ["| case | contestant | processes | tables, MiB | peak, MiB |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for case, rows in found.items():
        for name, runs in rows.items():
            most = summary([run["bytes"] / 2**20 for run in runs], 0)
            held = runs[0]["tables"] / 2**20
            lines.append(f"| `{case}` | {name} | {runs[0]['processes']} | {held:.0f} | {most} |")
    return lines


def verdicts(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """What each process of minitorch takes besides the tables."""
    lines = []
    for case, rows in found.items():
        for name, runs in rows.items():
            if name.startswith("minitorch"):
                more = [(run["bytes"] - run["tables"]) / run["processes"] for run in runs]
                x = median(more) / 2**20
                met = "met" if x <= LIMIT else "MISSED"
                lines.append(
                    f"- {case}: {name} takes {x:.0f} MiB a process besides the tables, target at "
                    f"most {LIMIT:g}: {met}"
                )
    return lines


if __name__ == "__main__":
    main()

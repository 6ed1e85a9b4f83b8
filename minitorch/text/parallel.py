"""Several processes that train one model: its tables are in memory that they share.

A worker is a Python of its own (`minitorch.text.worker`), which starts while a long corpus is read.
It gets the options as a line of JSON, then stretches of the corpus, a line each, and answers with a
line for each. It reads and writes the tables without a lock, as the threads of word2vec.c do (Recht
et al. 2011, "Hogwild!"), or in turns where the result must not depend on who is faster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from mmap import mmap
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.text.training import Stretch, Sums, Trainer

_AHEAD = 2  # stretches that a worker has at once: it need not wait for the next
_ALIGNED = 64  # bytes
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
_CHUNK = 1 << 22  # words of a corpus that are copied at once
ROUND, LEG = 1 << 24, 1 << 44  # of a clock of `Turns`


def usable_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Shared:
    """Arrays in memory that processes share through a file without a name.

    layout: dtype, shape and place of each array, as JSON knows it.
    """

    def __init__(self, descriptor: int, layout: dict[str, Any]) -> None:
        self.descriptor, self.layout = descriptor, layout
        memory = mmap(descriptor, 0)
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.ndarray(shape, dtype, memory, place)
            for name, (dtype, shape, place) in layout.items()
        }

    @classmethod
    def like(cls, arrays: Mapping[str, NDArray[Any]], descriptor: int) -> Shared:
        """Zeros of the shapes of other arrays, in an empty file."""
        layout, size = {}, 1
        for name, array in arrays.items():
            place = -(-size // _ALIGNED) * _ALIGNED
            layout[name] = [array.dtype.str, array.shape, place]
            size = place + array.nbytes
        os.truncate(descriptor, size)
        return cls(descriptor, layout)


def _file(in_memory: bool) -> int:
    """An empty file that goes away with the processes that have it open."""
    if in_memory and hasattr(os, "memfd_create"):
        return os.memfd_create("minitorch")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Turns:
    """A lock-step: all compute their gradients, then each in order changes the tables.

    clocks: int64 (2, workers), how far everybody has read and has written. me: which is mine.
    A clock shows leg, round and step. Who has done its stretch of a round, or has none left,
    sets its own to the next round or leg, so that the others do not wait for it.
    """

    def __init__(self, clocks: NDArray[np.int64], me: int) -> None:
        self.read, self.written = clocks
        self.me, self.now = me, 0

    def __enter__(self) -> None:
        self.now += 1
        self.read[self.me] = self.now
        self._wait(self.read)
        self._wait(self.written[: self.me])

    def __exit__(self, *_: object) -> None:
        self.written[self.me] = self.now
        self._wait(self.written)

    def _wait(self, clocks: NDArray[np.int64]) -> None:
        while clocks.size and clocks.min() < self.now:
            os.sched_yield()

    def pass_on(self, unit: int) -> None:
        """Go on to the next ROUND or LEG, together with all others."""
        self.now = (self.now // unit + 1) * unit
        self.read[self.me] = self.written[self.me] = self.now
        self._wait(self.written)


Answers: TypeAlias = "SimpleQueue[tuple[_Worker, Sums | None]]"


class _Worker:
    """One process, its pipes, and the numbers of the stretches that it has."""

    def __init__(self, descriptors: Sequence[int], answers: Answers, compiled: bool) -> None:
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        alone = dict.fromkeys(_ONE_THREAD, "1")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the worker)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minitorch.text.worker", *["compiled"] * compiled],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            pass_fds=descriptors,
            env=os.environ | alone | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self.has: deque[int] = deque()
        self.idle = True
        Thread(target=self._listen, args=(answers,), daemon=True).start()

    def say(self, what: object) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which `answers` will tell
            print(json.dumps(what), file=self.process.stdin, flush=True)

    def _listen(self, answers: Answers) -> None:
        """Put what it answers into the queue, and at its end None."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answers.put((self, Sums(*map(float.fromhex, line.split()))))
        answers.put((self, None))

    def last_words(self) -> str:
        """What it left on stderr."""
        self.errors.seek(0)
        return self.errors.read().strip()

    def close(self) -> None:
        """End it, if need be at once."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


class Starting:
    """Workers that have no work yet: they start while the corpus is read.

    compiled: whether they will need Numba, whose import takes longer than all the rest.
    """

    def __init__(self, workers: int, compiled: bool) -> None:
        self.answers: Answers = SimpleQueue()
        self.descriptors = [_file(in_memory=True), _file(in_memory=False)]
        self.workers: list[_Worker] = []
        for _ in range(workers):
            self.workers.append(_Worker(self.descriptors, self.answers, compiled))

    def close(self) -> None:
        """End them; once is enough."""
        while self.workers:
            self.workers.pop().close()
        while self.descriptors:
            os.close(self.descriptors.pop())


class Processes:
    """A `Team` of processes.

    copy: brings the tables to the memory that is shared (True) or from there to the model.
    """

    def __init__(
        self, workers: Sequence[_Worker], answers: Answers, copy: Callable[[bool], None]
    ) -> None:
        self.workers, self.answers, self.copy = workers, answers, copy

    def train(self, stretches: Iterable[Stretch | None]) -> Iterator[Sums]:
        """Hand out stretches; their sums come in the order of the stretches.

        Whoever is ready gets the next stretch; in turns, stretch i is for worker i modulo their
        number, whoever is ready.
        """
        self.copy(True)
        in_turns = are_deterministic_algorithms_enabled()
        coming, done, next_one = enumerate(stretches), dict[int, Sums](), 0
        for worker in self.workers:
            worker.idle = False
        for worker in [*self.workers] * _AHEAD:
            self._hand_out(worker, coming)
        while any(worker.has for worker in self.workers):
            worker, sums = self.answers.get()
            if sums is None:
                raise RuntimeError(f"Word2Vec: a worker has ended: {worker.last_words()}")
            done[worker.has.popleft()] = sums
            if not in_turns:
                self._hand_out(worker, coming)
            while next_one in done:
                yield done.pop(next_one)
                if in_turns:
                    self._hand_out(self.workers[next_one % len(self.workers)], coming)
                next_one += 1
        self.copy(False)

    @staticmethod
    def _hand_out(worker: _Worker, coming: Iterator[tuple[int, Stretch | None]]) -> None:
        """Give a worker the next stretch, or tell it once that there is none."""
        number, stretch = next(coming, (-1, None))
        if stretch is not None:
            worker.has.append(number)
            worker.say(stretch)
        elif not worker.idle:
            worker.idle = True
            worker.say(None)


@contextmanager
def processes(
    start: Callable[[], Starting],
    options: dict[str, Any],
    counts: Sequence[int],
    trainer: Trainer,
) -> Iterator[Processes]:
    """Processes that do what `trainer` does, each with options and counts of its Word2Vec.

    They end with the block. start: gives workers that start or have started.
    """
    with closing(start()) as starting:
        yield _instructed(starting, options, counts, trainer)


def _instructed(
    starting: Starting, options: dict[str, Any], counts: Sequence[int], trainer: Trainer
) -> Processes:
    """Tell workers what to do, and give them the corpus."""
    workers = len(starting.workers)
    corpus, table, _ = trainer.numbered
    params = {name: p.array for name, p in trainer.model.named_parameters()}
    clocks = np.zeros((2, workers), dtype=np.int64)
    tables = Shared.like({**params, "clocks": clocks}, starting.descriptors[0])
    given = {"tokens": corpus.tokens, "table": table, "counts": np.array(counts, dtype=np.int64)}
    words = Shared.like(given, starting.descriptors[1])
    in_turns = are_deterministic_algorithms_enabled()

    def copy(to_workers: bool) -> None:
        for name, array in params.items():
            shared = tables.arrays[name]
            np.copyto(*((shared, array) if to_workers else (array, shared)))

    about = {
        "options": options,
        "schedule": asdict(trainer.schedule),
        "random": trainer.random(0).tolist(),
        # In turns, the gradients of all workers are taken at one place.
        "blocks_at_once": max(1, trainer.blocks_at_once // (workers if in_turns else 1)),
        "tables": [tables.descriptor, tables.layout],
        "words": [words.descriptor, words.layout],
        "in_turns": in_turns,
    }
    for me, worker in enumerate(starting.workers):
        worker.say(about | {"me": me})
    for name, array in given.items():  # while they make ready
        for start in range(0, len(array), _CHUNK):
            words.arrays[name][start : start + _CHUNK] = array[start : start + _CHUNK]
    for worker in starting.workers:
        worker.say("filled")
    return Processes(starting.workers, starting.answers, copy)

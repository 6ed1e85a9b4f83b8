"""Several processes that train one model: its tables are in memory that they share.

One Python (`minitorch.text.worker`) starts while a long corpus is read. It learns what there is to
do, and becomes as many workers as are wanted, which share what it has imported and made. A worker
gets stretches of the corpus, a line of JSON each, and answers with a line for each. It reads and
writes the tables without a lock, as the threads of word2vec.c do (Recht et al. 2011, "Hogwild!"),
or in turns where the result must not depend on who is faster.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from mmap import mmap
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.text.shared import Description, memory_of
from minitorch.text.training import Stretch, Sums, Trainer

_AHEAD = 2  # stretches that a worker has at once: it need not wait for the next
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
ROUND, LEG = 1 << 24, 1 << 44  # of a clock of `Turns`


def usable_cores() -> int:
    """How many processors this process may use for workers: one where none can be forked."""
    if not hasattr(os, "fork"):  # Windows
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def clocks(workers: int) -> NDArray[np.int64]:
    """Clocks for the `Turns` of as many processes, which are to come from this one."""
    return np.frombuffer(mmap(-1, workers * 8), dtype=np.int64)


class Turns:
    """A lock-step: each in order takes a step, so that the result does not depend on who is faster.

    clocks: int64 (workers,), how far everybody is. me: which is mine.
    A clock shows leg, round and step. Who has done its stretch of a round, or has none left,
    sets its own to the next round or leg, so that the others do not wait for it.
    """

    def __init__(self, clocks: NDArray[np.int64], me: int) -> None:
        self.clocks, self.me, self.now = clocks, me, 0

    def __enter__(self) -> None:
        self.now += 1
        self._wait(self.clocks[: self.me])

    def __exit__(self, *_: object) -> None:
        self.clocks[self.me] = self.now
        self._wait(self.clocks)

    def _wait(self, clocks: NDArray[np.int64]) -> None:
        while clocks.size and clocks.min() < self.now:
            os.sched_yield()

    def pass_on(self, unit: int) -> None:
        """Go on to the next ROUND or LEG, together with all others."""
        self.now = (self.now // unit + 1) * unit
        self.clocks[self.me] = self.now
        self._wait(self.clocks)


Answers: TypeAlias = "SimpleQueue[tuple[_Worker, Sums | None]]"


class _Worker:
    """A process: this end of the pipes to and from it, and the numbers of its stretches."""

    def __init__(self, answers: Answers) -> None:
        there, to = os.pipe()
        here, back = os.pipe()
        self.theirs = there, back
        self.said, self.heard = os.fdopen(to, "w"), os.fdopen(here)
        self.has: deque[int] = deque()
        self.idle = True
        self.listener = Thread(target=self._listen, args=(answers,), daemon=True)

    def say(self, what: object) -> None:
        """Send a line."""
        with suppress(BrokenPipeError):  # it has ended, which `answers` will tell
            print(json.dumps(what), file=self.said, flush=True)

    def _listen(self, answers: Answers) -> None:
        """Put what it answers into the queue, and at its end None."""
        for line in self.heard:
            answers.put((self, Sums(*map(float.fromhex, line.split()))))
        answers.put((self, None))

    def started(self) -> None:
        """Leave its ends to the process, and listen to it."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.listener.start()

    def close(self) -> None:
        """Close the pipes of a process, which ends it if nothing else has."""
        with suppress(BrokenPipeError):
            self.said.close()
        self.listener.join()
        self.heard.close()


class Starting:
    """Workers that have no work yet: what they are made of starts while the corpus is read.

    compiled: whether they will need Numba, whose import takes longer than all the rest.
    """

    def __init__(self, workers: int, compiled: bool) -> None:
        self.answers: Answers = SimpleQueue()
        self.workers = [_Worker(self.answers) for _ in range(workers)]
        ends = [worker.theirs for worker in self.workers]
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        alone = dict.fromkeys(_ONE_THREAD, "1")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        self.instructions, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "minitorch.text.worker", json.dumps([compiled, ends])],
                stdin=theirs.fileno(),
                stdout=self.errors,
                stderr=self.errors,
                pass_fds=[end for both in ends for end in both],
                env=os.environ | alone | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        self.instructed = False
        for worker in self.workers:
            worker.started()

    def instruct(self, trainer: Trainer) -> None:
        """Tell what there is to do; the model's parameters must be in memory that is shared."""
        corpus, table, _ = trainer.numbered
        tables = memory_of(trainer.model)
        assert tables is not None
        in_turns = are_deterministic_algorithms_enabled()
        about = Description(
            tables,
            {
                "model": trainer.model,
                "sampler": trainer.sampler,
                "numbered": [replace(corpus, words=[]), table, None],
                "schedule": trainer.schedule,
                "blocks_at_once": trainer.blocks_at_once,
                "random": trainer.random(0),
                "in_turns": in_turns,
            },
        )
        rest = about.file()
        self.instructed = True
        with suppress(ConnectionError):  # it has ended, which `answers` will tell
            socket.send_fds(self.instructions, [b"."], [tables.descriptor, rest])
            self.instructions.sendall(json.dumps(about.given).encode() + b"\n")
        os.close(rest)

    def last_words(self) -> str:
        """What the workers left on stderr."""
        self.errors.seek(0)
        return self.errors.read().strip()

    def close(self) -> None:
        """End them; once is enough."""
        if not self.instructed:
            self.process.kill()
        self.instructions.close()  # which ends all workers
        self.process.wait()
        while self.workers:
            self.workers.pop().close()
        self.errors.close()


class Processes:
    """A `Team` of processes."""

    def __init__(self, starting: Starting) -> None:
        self.starting, self.workers = starting, starting.workers

    def train(self, stretches: Iterable[Stretch | None]) -> Iterator[Sums]:
        """Hand out stretches; their sums come in the order of the stretches.

        Whoever is ready gets the next stretch; in turns, stretch i is for worker i modulo their
        number, whoever is ready.
        """
        in_turns = are_deterministic_algorithms_enabled()
        coming, done, next_one = enumerate(stretches), dict[int, Sums](), 0
        for worker in self.workers:
            worker.idle = False
        for worker in [*self.workers] * _AHEAD:
            self._hand_out(worker, coming)
        while any(worker.has for worker in self.workers):
            worker, sums = self.starting.answers.get()
            if sums is None:
                raise RuntimeError(f"Word2Vec: a worker has ended: {self.starting.last_words()}")
            done[worker.has.popleft()] = sums
            if not in_turns:
                self._hand_out(worker, coming)
            while next_one in done:
                yield done.pop(next_one)
                if in_turns:
                    self._hand_out(self.workers[next_one % len(self.workers)], coming)
                next_one += 1

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
def processes(start: Callable[[], Starting], trainer: Trainer) -> Iterator[Processes]:
    """Processes that do what `trainer` does; they end with the block.

    start: gives workers that start or have started.
    """
    with closing(start()) as starting:
        starting.instruct(trainer)
        yield Processes(starting)

"""Several processes that train one model: its tables are in memory that they share.

One Python (`worker`) starts while a long corpus is read. It learns what there is to
do, and becomes as many workers as are wanted, which share what it has imported and made. A worker
gets chunks of the corpus, a line of JSON each, and answers with a line for each. It reads and
writes the tables without a lock, as the threads of word2vec.c do (Recht et al. 2011, "Hogwild!"),
or in turns where the result must not depend on who is faster.
"""

from __future__ import annotations

import json
import os
import select
import signal
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
from minitorch.text.word2vec.shared import Description, memory_of
from minitorch.text.word2vec.training import Chunk, Sums, Trainer

_AHEAD = 2  # chunks that a worker has at once: it need not wait for the next
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
_LOOKS = 1000  # turns of a waiting loop between two looks whether the parent is there
_MAIN = "from minitorch.text.word2vec.worker import main; main()"
NUMBER = 4  # bytes of the number of a worker whose end is asked for
_PATIENCE, _LONGEST_STATUS = 10, 16  # seconds, bytes of the word about a worker that has ended
_LAST_WORDS = 4000  # bytes of what workers have printed, in an error
_SUSPECTED = {"SIGKILL": " (is there too little memory?)", "SIGBUS": " (is a disk full?)"}
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

    clocks: int64 (workers,), how far everybody is. me: which is mine. given_up: whether nobody
        wants the result any more, in which case waiting raises `SystemExit`.
    A clock shows leg, round and step. Who has done its chunk of a round, or has none left,
    sets its own to the next round or leg, so that the others do not wait for it.
    """

    def __init__(
        self, clocks: NDArray[np.int64], me: int, given_up: Callable[[], bool] = bool
    ) -> None:
        self.clocks, self.me, self.now, self.given_up = clocks, me, 0, given_up

    def __enter__(self) -> None:
        self.now += 1
        self._wait(self.clocks[: self.me])

    def __exit__(self, *_: object) -> None:
        self.clocks[self.me] = self.now
        self._wait(self.clocks)

    def _wait(self, clocks: NDArray[np.int64]) -> None:
        waited = 0
        while clocks.size and clocks.min() < self.now:
            os.sched_yield()
            waited += 1
            if waited % _LOOKS == 0 and self.given_up():
                raise SystemExit  # one that has ended would be waited for without end

    def pass_on(self, unit: int) -> None:
        """Go on to the next ROUND or LEG, together with all others."""
        self.now = (self.now // unit + 1) * unit
        self.clocks[self.me] = self.now
        self._wait(self.clocks)


def hung_up(descriptor: int) -> Callable[[], bool]:
    """A check whether the other end of a pipe that is read from has been closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return lambda: bool(poll.poll(0))


Answers: TypeAlias = "SimpleQueue[tuple[_Worker, Sums | str]]"


class _Worker:
    """A process: this end of the pipes to and from it, and the numbers of its chunks."""

    def __init__(self, number: int, answers: Answers) -> None:
        self.number = number
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
        """Put the answers of the process into the queue, and at its end the reason."""
        line, fault = "", ""
        try:
            for line in self.heard:
                answers.put((self, Sums(*map(float.fromhex, line.split()))))
        except (TypeError, ValueError, OverflowError):
            fault = f"answered with {line[:80]!r}"
        answers.put((self, fault))

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


def _module_folders() -> list[str]:
    """Where the workers find modules: where this process does, but for the current folder.

    The minitorch that they find is this one, also where it was imported from there.
    """
    folders = [folder for folder in sys.path if os.path.isabs(folder)]
    others = (i for i, folder in enumerate(folders) if Path(folder, "minitorch").is_dir())
    first = next(others, len(folders))
    return [*folders[:first], str(Path(__file__).parents[3]), *folders[first:]]


def _ending(status: int) -> str:
    """The text of an exit status."""
    if status >= 0:
        return f"has ended with status {status}"
    killer = signal.Signals(-status).name
    return f"was killed by {killer}" + _SUSPECTED.get(killer, "")


class Starting:
    """Workers that have no work yet: what they are made of starts while the corpus is read.

    compiled: whether they will need Numba, whose import takes longer than all the rest.
    """

    def __init__(self, workers: int, compiled: bool) -> None:
        self.answers: Answers = SimpleQueue()
        self.workers = [_Worker(i, self.answers) for i in range(workers)]
        ends = [worker.theirs for worker in self.workers]
        code = f"import sys; sys.path[:] = {_module_folders()}; {_MAIN}"
        about = json.dumps([compiled, os.getpid(), ends])
        alone = dict.fromkeys(_ONE_THREAD, "1")
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self.instructions, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", *["-B"] * sys.dont_write_bytecode, "-c", code, about],
                stdin=theirs.fileno(),
                stdout=self.errors,
                stderr=self.errors,
                pass_fds=[end for both in ends for end in both],
                env=os.environ | alone,
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

    def end_of(self, worker: _Worker, fault: str) -> str:
        """Which worker has ended, how, and what all of them have printed."""
        lines = [f"worker {worker.number + 1} of {len(self.workers)} {fault or self._end(worker)}"]
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - _LAST_WORDS))
        words = self.errors.read().decode(errors="replace").strip()
        return "\n".join([*lines, words] if words else lines)

    def _end(self, worker: _Worker) -> str:
        """How a process has ended, of which its own parent knows; or how that parent has."""
        with suppress(OSError, ValueError):
            self.instructions.settimeout(_PATIENCE)
            self.instructions.sendall(worker.number.to_bytes(NUMBER, "big"))
            return _ending(int(self.instructions.recv(_LONGEST_STATUS)))
        with suppress(subprocess.TimeoutExpired):
            return f"has ended with its parent, which {_ending(self.process.wait(_PATIENCE))}"
        return "does not answer any more"

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

    def train(self, chunks: Iterable[Chunk | None]) -> Iterator[Sums]:
        """Hand out chunks; their sums come in the order of the chunks.

        Whoever is ready gets the next chunk; in turns, chunk i is for worker i modulo their
        number, whoever is ready.
        """
        in_turns = are_deterministic_algorithms_enabled()
        coming, done, next_one = enumerate(chunks), dict[int, Sums](), 0
        for worker in self.workers:
            worker.idle = False
        for worker in [*self.workers] * _AHEAD:
            self._hand_out(worker, coming)
        while any(worker.has for worker in self.workers):
            worker, sums = self.starting.answers.get()
            if isinstance(sums, str):
                raise RuntimeError(
                    f"Word2Vec: a worker has ended: {self.starting.end_of(worker, sums)}"
                )
            done[worker.has.popleft()] = sums
            if not in_turns:
                self._hand_out(worker, coming)
            while next_one in done:
                yield done.pop(next_one)
                if in_turns:
                    self._hand_out(self.workers[next_one % len(self.workers)], coming)
                next_one += 1

    @staticmethod
    def _hand_out(worker: _Worker, coming: Iterator[tuple[int, Chunk | None]]) -> None:
        """Give a worker the next chunk, or tell it once that there is none."""
        number, chunk = next(coming, (-1, None))
        if chunk is not None:
            worker.has.append(number)
            worker.say(chunk)
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

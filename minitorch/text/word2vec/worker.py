"""The processes that train word vectors: see `parallel`, which starts the first."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import IO

from minitorch.backend.cpu import settings
from minitorch.text.word2vec.kernels.machine_code import blockwise, wordwise
from minitorch.text.word2vec.parallel import LEG, NUMBER, ROUND, Turns, clocks, hung_up
from minitorch.text.word2vec.shared import restored
from minitorch.text.word2vec.training import Chunk, Numbered, Trainer


def main() -> None:
    """Become as many workers as there are pipes, once stdin says what they are to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    settings.keep_heap()
    compiled, parent, pipes = json.loads(sys.argv[1])
    if compiled:
        blockwise()  # which takes long to import
    with socket.socket(fileno=0) as instructions:
        _await(instructions, parent)
        _, memories, _, _ = socket.recv_fds(instructions, 1, 2)
        if not memories:  # nobody has anything to do
            return
        about = restored(json.loads(instructions.makefile().readline()), memories)
        times = clocks(len(pipes)) if about.pop("in_turns") else None
        numbered = Numbered(*about.pop("numbered"))
        if compiled and (about["model"].mean is not None or len(about["model"].others)):
            wordwise()
        gc.freeze()  # so that workers leave alone what they share
        sys.stdout.flush()  # what has been printed is printed once
        workers: dict[int, int] = {}
        for me, ends in enumerate(pipes):
            worker = os.fork()
            if not worker:
                _close(end for i, other in enumerate(pipes) if i != me for end in other)
                turns = None if times is None else Turns(times, me, hung_up(ends[0]))
                trainer = Trainer(**about, numbered=numbered, writing=turns)
                # The end of its answers is the end of the process, which first says why.
                with os.fdopen(ends[0]) as given, open(ends[1], "w", closefd=False) as answers:
                    _work(trainer, turns, given, answers)
                return
            workers[me] = worker
        _close(end for both in pipes for end in both)
        try:
            _tell_ends(instructions, parent, workers)
        finally:
            for worker in workers.values():
                os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)


def _tell_ends(instructions: socket.socket, parent: int, workers: dict[int, int]) -> None:
    """Answer which status a worker has ended with, until nobody needs them any more."""
    while True:
        _await(instructions, parent)
        number = instructions.recv(NUMBER, socket.MSG_WAITALL)
        if not number:
            return
        _, status = os.waitpid(workers.pop(int.from_bytes(number, "big")), 0)
        instructions.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _await(instructions: socket.socket, parent: int) -> None:
    """Wait for the parent's next word; end with it, also where a fork of it keeps the socket."""
    while not select.select([instructions], [], [], 1)[0]:
        if os.getppid() != parent:
            raise SystemExit


def _close(descriptors: Iterable[int]) -> None:
    """Close what belongs to others, who would not see its end."""
    for descriptor in descriptors:
        os.close(descriptor)


def _work(trainer: Trainer, turns: Turns | None, given: IO[str], answers: IO[str]) -> None:
    """Train on the chunks that come in; after each write the sums of its pairs."""
    trainer.ahead = False  # the other workers keep the processor busy

    def chunks() -> Iterator[Chunk | None]:
        for line in given:
            chunk = json.loads(line)
            yield None if chunk is None else Chunk(*chunk)
            if chunk is None and turns is not None:
                turns.pass_on(LEG)

    for sums in trainer.train(chunks()):
        print(*(number.hex() for number in sums), file=answers, flush=True)
        if turns is not None:
            turns.pass_on(ROUND)

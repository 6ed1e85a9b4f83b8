"""Making batches ahead of time, in threads."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any

from minitorch.backend import fence, inherited, record_stream
from minitorch.core.grad_mode import is_grad_enabled, set_grad_enabled
from minitorch.core.pytree import leaves
from minitorch.core.tensor import Tensor

_PATIENCE = 0.5  # seconds that an iterator which ends early waits for batches that are being made


def ahead(
    make: Callable[[Any], Any], parts: Iterable[Any], threads: int, count: int
) -> Iterator[Any]:
    """Yield `make(part)` of each part, in order, up to `count` of them made before they are due.

    `parts` is read in the calling thread; default device, streams and grad mode in the threads are
    the caller's, of the first batch. Whoever gets a batch in another stream waits for it there.
    What `make` raises is raised here, instead of its batch, with its traceback. The
    threads end when the iterator does, also where it is dropped in the middle; but neither Ctrl-C
    nor the end of the process waits for a batch that is being made.
    Raises RuntimeError in a process that was forked after the first batch, which lacks the threads.
    """
    process = os.getpid()
    rest = iter(parts)
    waiting: deque[Future[Sent]] = deque()
    pool = _Pool(make, threads)
    patience = _PATIENCE
    try:
        waiting.extend(map(pool.submit, islice(rest, count)))
        while waiting:
            if os.getpid() != process:
                raise RuntimeError(
                    "DataLoader: this iterator was begun before the process was forked, which "
                    "leaves its threads behind: begin a new one here"
                )
            batch = waiting.popleft().result().received()
            waiting.extend(map(pool.submit, islice(rest, 1)))
            yield batch
    except KeyboardInterrupt:
        patience = 0
        raise
    finally:
        if os.getpid() == process:  # locks of a fork may be held by threads that it lacks
            pool.end(waiting, patience)


class Sent:
    """A pytree on its way to another thread, which may work in another stream."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._wait = fence()

    def received(self) -> Any:
        """The pytree; this thread's work to come waits for what computes its tensors."""
        if self._wait():
            for leaf in leaves(self._tree):
                if isinstance(leaf, Tensor):
                    record_stream(leaf.array)
        return self._tree


class _Pool:
    """Threads that no exit of the process waits for, as it does for those of an Executor."""

    def __init__(self, make: Callable[[Any], Any], threads: int) -> None:
        self._make, self._jobs = make, SimpleQueue[Any]()
        modes = inherited(), is_grad_enabled()
        self._threads = [
            Thread(target=self._serve, args=modes, name=f"DataLoader-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, part: Any) -> Future[Sent]:
        """The batch of a part, once it is made."""
        future: Future[Sent] = Future()
        self._jobs.put((future, Sent(part)))
        return future

    def _serve(self, take_over: Callable[[], None], grad: bool) -> None:
        take_over()
        with set_grad_enabled(grad):
            while (job := self._jobs.get()) is not None:
                future, part = job
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(Sent(self._make(part.received())))
                    except BaseException as error:
                        future.set_exception(error)
                del job, future, part  # the caller alone holds the batch

    def end(self, waiting: Iterable[Future[Any]], patience: float) -> None:
        """Drop what has not begun, and wait so many seconds for what has."""
        for future in waiting:
            future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + patience
        for thread in self._threads:
            if not sys.is_finalizing():
                thread.join(max(0.0, until - time.monotonic()))

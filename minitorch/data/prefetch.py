"""Making batches ahead of time, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from minitorch.backend import get_default_device
from minitorch.tensor import is_grad_enabled, set_grad_enabled


def ahead(
    make: Callable[[Any], Any], parts: Iterable[Any], threads: int, count: int
) -> Iterator[Any]:
    """Yield `make(part)` of each part, in order, up to `count` of them made before they are due.

    `parts` is read in the calling thread; default device and grad mode in the threads are the
    caller's. What `make` raises is raised here, in place of its batch, with its traceback. The
    threads end when the iterator does, also where it is dropped in the middle.
    """
    device, grad = get_default_device(), is_grad_enabled()

    def work(part: Any) -> Any:
        with device, set_grad_enabled(grad):
            return make(part)

    rest = iter(parts)
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="DataLoader")
    try:
        waiting.extend(pool.submit(work, part) for part in islice(rest, count))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(work, part) for part in islice(rest, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)

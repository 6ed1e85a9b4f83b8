"""Threads of the host that share one simulated device lose none of each other's work."""

import sys
import threading

import pytest

import minitorch
from minitorch.backend.sim.cuda import memory

if not minitorch.sim.is_available():
    pytest.skip("g++ is not installed", allow_module_level=True)


@pytest.mark.parametrize("deferred", [False, True])
def test_threads_lose_no_work(deferred):
    found = {}

    def work(i):
        x = minitorch.full((3,), float(i), device="sim")
        for _ in range(50):
            x = x + 1
        found[i] = x.tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with minitorch.sim.config(deferred=deferred):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert found == {i: [i + 50.0] * 3 for i in range(4)}


def test_memory_is_found_while_another_thread_allocates():
    fixed = memory.Memory(64, "fixed")
    done = threading.Event()

    def allocate():
        while not done.is_set():
            for other in [memory.Memory(64) for _ in range(20)]:
                other._release()

    thread = threading.Thread(target=allocate)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        found = {memory.memory_at(fixed.ptr + 8) for _ in range(100_000)}
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)
        fixed._release()
    assert found == {fixed}

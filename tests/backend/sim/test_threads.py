"""Threads of the host that share one simulated device lose none of each other's work."""

import gc
import sys
import threading

import numpy as np
import pytest

import minitorch
from minitorch.backend import sim
from minitorch.backend.sim import cuda
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


# Asking while others come and go: (what another thread makes and lets die, the question)
QUESTIONS = {
    "streams": (
        lambda: [stream._queue() for stream in [cuda.Stream() for _ in range(50)]],
        cuda.runtime.deviceSynchronize,
    ),
    "pools": (cuda.MemoryPool, cuda.runtime.memGetInfo),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_while_another_thread_makes_things_and_lets_them_die(name):
    make, ask = QUESTIONS[name]
    done = threading.Event()

    def work():
        while not done.is_set():
            make()

    thread = threading.Thread(target=work)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(3000):
            ask()
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)


@pytest.fixture
def _no_collection():
    thresholds = gc.get_threshold()
    gc.collect()
    gc.disable()
    yield
    gc.set_threshold(*thresholds)
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
def test_the_garbage_collector_frees_memory_while_the_pool_counts():
    pool = cuda.MemoryPool()
    tuples = [(i, i) for i in range(5000)]  # none is left that could be had without allocating
    for delay in range(30):
        with cuda.using_allocator(pool.malloc):
            cycle = [sim.empty(512 * (delay + 1), np.uint8)]
        cycle.append(cycle)
        del cycle
        gc.set_threshold(gc.get_count()[0] + delay)
        gc.enable()
        pool.free_bytes()
        gc.disable()
    gc.collect()
    assert tuples and pool.free_bytes() == 512 * sum(range(1, 31))


def test_the_garbage_collector_frees_memory_while_an_address_is_looked_up(monkeypatch):
    low, fixed = sorted((memory.Memory(64) for _ in range(2)), key=lambda m: m.ptr)
    real = memory.bisect.bisect_right

    def collected(starts, address):
        place = real(starts, address)
        low._release()  # as a finalizer may, right here
        return place

    monkeypatch.setattr(memory.bisect, "bisect_right", collected)
    assert memory.memory_at(fixed.ptr + 8) is fixed
    assert memory.memory_at(low.ptr + 8) is None
    fixed._release()

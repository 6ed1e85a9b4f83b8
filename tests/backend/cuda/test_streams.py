"""What threads and streams share, and what each of them has for itself."""

import threading
import time
from types import SimpleNamespace

import pytest

import minitorch
from minitorch.backend import sim
from minitorch.backend.cuda import errors, streams
from minitorch.backend.cuda.gpu import Gpu

if not minitorch.sim.is_available():
    pytest.skip("g++ is not installed", allow_module_level=True)


def in_threads(call, count=4):
    """What call() gives in each of so many threads that begin together."""
    together, found = threading.Barrier(count), []

    def work():
        together.wait()
        found.append(call())

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def slowly(call):
    """The function, so slow that another thread comes while it runs."""

    def slow(*args, **kwargs):
        time.sleep(0.02)
        return call(*args, **kwargs)

    return slow


def test_a_device_has_one_error_word(monkeypatch):
    gpu = Gpu("sim", sim, lambda: None)
    monkeypatch.setattr(sim.cuda, "alloc_pinned_memory", slowly(sim.cuda.alloc_pinned_memory))
    assert len(set(in_threads(gpu.error_word))) == 1


def test_a_stream_has_one_set_of_tickets_and_each_thread_one_on_its_own_default_stream(monkeypatch):
    gpu = Gpu("sim", sim, lambda: None)
    gpu.zeros_for_tickets = slowly(gpu.zeros_for_tickets)

    def pair():
        first, second = gpu.tickets(), gpu.tickets()
        return first.data.ptr, second.data.ptr

    (shared,) = {pointer for both in in_threads(pair) for pointer in both}
    stream = SimpleNamespace(ptr=streams.PER_THREAD)
    monkeypatch.setattr(sim.cuda, "get_current_stream", lambda: stream)
    gpu.zeros_for_tickets = slowly(gpu.zeros_for_tickets)
    own = in_threads(pair)
    assert all(first == second for first, second in own)
    assert len({shared, *(first for first, _ in own)}) == 5


def test_errors_have_different_numbers(monkeypatch):
    class Kinds(list):
        def append(self, kind):
            super().append(kind)
            time.sleep(0.02)

    names = iter("abcd")
    monkeypatch.setattr(errors, "_KINDS", Kinds())
    monkeypatch.setattr(errors, "_codes", {})
    found = in_threads(lambda: errors.code(ValueError, next(names)))
    assert sorted(found) == [1, 2, 3, 4]

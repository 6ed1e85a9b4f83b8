"""The plan of a recorded step's memory."""

import gc
import tracemalloc

import numpy as np

import minitorch


def test_memory_is_reused():
    """A chain of ops on one size needs two places, however long it is."""

    def step(x):
        for _ in range(20):
            x = (x * 1.5).tanh()
        return x.sum()

    fast = minitorch.compile(step, fullgraph=True)
    x = minitorch.randn(1000, device="cpu")
    for _ in range(3):
        assert fast(x).item() == step(x).item()
    calls = fast._programs[0]._run.__self__.calls
    blocks = {id(a.base) for c in calls for a in c.args if isinstance(a, np.ndarray)} - {id(None)}
    sizes = [
        a.base.nbytes
        for c in calls
        for a in c.args
        if isinstance(a, np.ndarray) and a.base is not None
    ]
    assert len(blocks) == 1 and max(sizes) <= 2 * 4096


def test_a_program_keeps_no_more_than_it_needs():
    """Of a recording that held 40 arrays of 400 kB, two places are left, and the argument's."""

    def step(x):
        for _ in range(20):
            x = (x * 1.5).tanh()
        return x.sum()

    fast = minitorch.compile(step, fullgraph=True)
    x = minitorch.randn(100_000, device="cpu")
    fast(x)
    gc.collect()
    tracemalloc.start()
    try:
        fast(x)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        fast(x)  # the first replay, which is compared with the step
        tracemalloc.reset_peak()
        fast(x)
        more = tracemalloc.get_traced_memory()[1] - kept
    finally:
        tracemalloc.stop()
    assert fast.replays == 2
    assert kept < 3.5 * x.nbytes and more < x.nbytes / 4

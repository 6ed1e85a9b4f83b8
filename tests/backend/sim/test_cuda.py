"""Devices, streams, events, graphs and memory of the simulated GPU."""

import ctypes
import gc
import threading

import numpy as np
import pytest

import minitorch.sim
from tests.backend.sim.common import add, floats, sim

cuda = sim.cuda
POOL = sim.get_default_memory_pool()


@pytest.fixture
def deferred():
    """Work waits in its stream until somebody synchronises."""
    cuda.Device().synchronize()
    with minitorch.sim.config(deferred=True):
        yield
        cuda.Device().synchronize()


def pinned(*values):
    """A float32 NumPy array in pinned memory (and what keeps it there)."""
    pointer = cuda.alloc_pinned_memory(4 * len(values))
    array = np.ctypeslib.as_array((ctypes.c_float * len(values)).from_address(pointer.ptr))
    array[:] = values
    return array, pointer


# ------------------------------------------------------------------ devices
def test_devices():
    assert cuda.runtime.getDeviceCount() == 2
    assert cuda.runtime.getDevice() == 0
    with cuda.Device(1) as device:
        assert cuda.runtime.getDevice() == device.id == cuda.Device().id == 1
        x = floats(1)
        with cuda.Device(0):
            assert floats(1).device.id == 0
    assert cuda.runtime.getDevice() == 0
    assert x.device == cuda.Device(1) != cuda.Device(0)
    assert x[0].device.id == 1
    np.testing.assert_array_equal(x.get(), [1])
    assert x.copy().device.id == 0  # copies go to the current device, as in CuPy
    assert cuda.Device(0).attributes["MultiProcessorCount"] == minitorch.sim.settings.processors
    assert cuda.runtime.getDeviceProperties(0)["name"] == b"Simulated GPU"
    assert cuda.Device(0).compute_capability == "90"


@pytest.mark.parametrize("number", [2, -1])
def test_a_device_that_is_not_there(number):
    with pytest.raises(RuntimeError, match="cudaErrorInvalidDevice: invalid device ordinal"):
        cuda.Device(number).use()
    assert cuda.runtime.getDevice() == 0


def test_the_current_device_is_a_thread_s_own():
    found = []
    with cuda.Device(1):
        thread = threading.Thread(target=lambda: found.append(cuda.runtime.getDevice()))
        thread.start()
        thread.join()
    assert found == [0]


# ------------------------------------------------------------------ streams
def test_the_current_stream():
    assert cuda.get_current_stream() == cuda.Stream.null == cuda.Stream(null=True)
    s = cuda.Stream(non_blocking=True)
    assert s.is_non_blocking and not cuda.Stream().is_non_blocking
    with s as entered:
        assert entered is s
        assert cuda.get_current_stream() is s
        with cuda.Stream() as t:
            assert cuda.get_current_stream() == t != s
    assert cuda.get_current_stream() == cuda.Stream.null
    s.use()
    assert cuda.get_current_stream() == s
    cuda.Stream.null.use()
    with cuda.Device(1):
        with pytest.raises(RuntimeError, match="does not match with the current device"), s:
            pass
        assert cuda.get_current_stream() == cuda.Stream.null


def test_work_is_done_at_once_unless_deferred():
    x, y = floats(1), floats(2)
    s = cuda.Stream()
    with s:
        add(x, y)
    assert s.done and y._array[0] == 3


def test_deferred_work_waits_for_a_synchronisation(deferred):
    x, y = floats(1), floats(2)
    add(x, y)
    assert np.isnan(y._array[0])  # not even the copy of the 2 has happened
    cuda.Stream.null.synchronize()
    assert y._array[0] == 3
    add(x, y)
    cuda.Device(0).synchronize()
    assert y._array[0] == 4
    add(x, y)
    assert y.get() == [5]


def test_a_missing_synchronisation_shows(deferred):
    """The bug: reading a result that is copied behind the host's back, without waiting."""
    x, y = floats(1), floats(2)
    out, _keep = pinned(-1)
    add(x, y)
    y.get(out=out, blocking=False)
    assert out[0] == -1
    cuda.get_current_stream().synchronize()
    assert out[0] == 3


def test_a_pinned_buffer_that_is_reused_too_early_shows(deferred):
    """The bug: filling the buffer with the next batch while the first is still to be copied."""
    buffer, _keep = pinned(1, 2)
    first, second = sim.empty(2, np.float32), sim.empty(2, np.float32)
    first.data.copy_from_host_async(buffer.ctypes.data, 8)
    buffer[:] = [3, 4]
    second.data.copy_from_host_async(buffer.ctypes.data, 8)
    np.testing.assert_array_equal(first.get(), [3, 4])  # the second batch, twice
    copied = cuda.get_current_stream().record()
    copied.synchronize()
    buffer[:] = [5, 6]
    np.testing.assert_array_equal(second.get(), [3, 4])


def test_pageable_memory_is_read_at_once(deferred):
    host = np.array([1, 2], np.float32)
    x, y = sim.asarray(host), sim.empty(2, np.float32)
    y.set(host)
    host[:] = 0
    np.testing.assert_array_equal(x.get(), [1, 2])
    np.testing.assert_array_equal(y.get(), [1, 2])


def test_asarray_reads_pinned_memory_later(deferred):
    """As CuPy does, unless it is told to wait."""
    host, _keep = pinned(1, 2)
    x = sim.asarray(host)
    host[:] = 3
    y = sim.asarray(host, blocking=True)
    host[:] = 0
    np.testing.assert_array_equal(x.get(), [3, 3])
    np.testing.assert_array_equal(y.get(), [3, 3])


def test_asynchronous_copies_need_pinned_memory():
    x, host = floats(1), np.zeros(1, np.float32)
    for copy in (x.data.copy_from_host_async, x.data.copy_to_host_async):
        with pytest.raises(sim.SimError, match="needs pinned host memory"):
            copy(host.ctypes.data, 4)
    with pytest.raises(sim.SimError, match="needs out= in pinned memory"):
        x.get(blocking=False)
    x.data.copy_to_host(host.ctypes.data, 4)
    assert host[0] == 1
    x.data.copy_from_host(np.float32(7).reshape(1).ctypes.data, 4)
    assert x.get() == [7]
    with pytest.raises(sim.SimError, match="copy of 8 bytes at byte 0 of float32"):
        x.data.copy_from_device_async(floats(1, 2).data, 8)


def test_streams_do_not_wait_for_each_other_unless_told_to(deferred):
    """The bug: a second stream reads what the first is still to write."""
    x, y = floats(1), floats(2)
    cuda.Device().synchronize()
    a, b = cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)
    z = floats(10)
    cuda.Device().synchronize()
    with a:
        add(x, y)
    with b:
        add(y, z)
    b.synchronize()
    assert z._array[0] == 12  # of y's old value
    a.synchronize()
    with a:
        add(x, y)
        written = a.record()
    b.wait_event(written)
    with b:
        add(y, z)
    b.synchronize()
    assert z._array[0] == 16


def test_blocking_streams_wait_for_the_default_stream(deferred):
    x, y = floats(1), floats(2)
    blocking, free = cuda.Stream(), cuda.Stream(non_blocking=True)
    with blocking:
        add(x, y)
    blocking.synchronize()
    assert y._array[0] == 3
    with blocking:
        add(x, y)
    assert y.get() == [4]  # the default stream waits for it too
    with free:
        add(x, y)
    assert y.get() == [4]
    free.synchronize()
    assert y.get() == [5]


def test_asking_whether_work_is_done_lets_it_go_on(deferred):
    x, y = floats(1), floats(2)
    add(x, y)
    event = cuda.get_current_stream().record()
    questions = 0
    while not event.done:
        questions += 1
    assert questions > 1
    assert y._array[0] == 3


def test_events(deferred):
    start, end, unrecorded = cuda.Event(), cuda.Event(), cuda.Event()
    x, y = floats(1), floats(2)
    start.record()
    add(x, y)
    end.record()
    with pytest.raises(RuntimeError, match="cudaErrorNotReady"):
        cuda.get_elapsed_time(start, end)
    end.synchronize()
    assert y._array[0] == 3
    assert cuda.get_elapsed_time(start, end) > 0
    with pytest.raises(RuntimeError, match="cudaErrorInvalidResourceHandle"):
        cuda.get_elapsed_time(start, unrecorded)
    quick = cuda.Event(disable_timing=True)
    quick.record()
    with pytest.raises(RuntimeError, match="cudaErrorInvalidResourceHandle"):
        cuda.get_elapsed_time(start, quick)


def test_memory_freed_while_another_stream_still_uses_it_shows(deferred):
    """The bug: freed memory goes back in the order of the stream that asked for it."""
    x, y = floats(1), floats(2)
    cuda.Device().synchronize()
    other = cuda.Stream(non_blocking=True)
    with other:
        y.data.copy_from_device_async(x.data, 4)
    del x
    cuda.Stream.null.synchronize()
    with pytest.raises(sim.SimError, match=r"float32\[1\] is used after it was given back"):
        other.synchronize()


def test_memory_freed_in_its_own_stream_is_used_before(deferred):
    x, y = floats(1), floats(2)
    add(x, y)
    del x
    assert y.get() == [3]


def test_an_error_is_raised_by_the_synchronisation(deferred):
    x, y = floats(*range(8)), floats(*range(8))
    with minitorch.sim.config(checked=True):
        from tests.backend.sim.common import MODULE

        MODULE.get_function("add")((1,), (32,), (x, y, np.int64(9)))
        with pytest.raises(sim.SimError, match="add: block"):
            cuda.Device().synchronize()
    cuda.Device().synchronize()


def test_synchronisations_are_logged():
    x = floats(1)
    minitorch.sim.clear()
    x.get()
    cuda.Stream.null.synchronize()
    cuda.Device().synchronize()
    kinds = [launch.kind for launch in minitorch.sim.launches()]
    assert kinds == ["copy D2H", "sync", "sync", "sync"]


# ------------------------------------------------------------------ graphs
@pytest.mark.parametrize("late", [False, True])
def test_a_captured_graph_is_replayed(late):
    with minitorch.sim.config(deferred=late):
        x, y = floats(1), floats(2)
        cuda.Device().synchronize()
        s = cuda.Stream(non_blocking=True)
        with s:
            s.begin_capture()
            assert s.is_capturing()
            add(x, y)
            add(x, y)
            graph = s.end_capture()
        assert not s.is_capturing()
        assert y.get() == [2]
        minitorch.sim.clear()
        for expected in (4, 6):
            graph.launch(s)
            s.synchronize()
            assert y.get() == [expected]
        kernels = [e.name for e in minitorch.sim.launches() if e.kind == "kernel"]
        assert kernels == ["add"] * 4
        x.set(np.array([10], np.float32))
        graph.launch()
        assert y.get() == [26]


def test_streams_that_are_captured_together():
    x, y, z = floats(1), floats(2), floats(3)
    a, b = cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)
    a.begin_capture()
    with a:
        add(x, y)
        forked = a.record()
    b.wait_event(forked)
    assert b.is_capturing()
    with b:
        add(y, z)
        joined = b.record()
    a.wait_event(joined)
    graph = a.end_capture()
    assert not b.is_capturing()
    graph.launch(a)
    assert z.get() == [6]


def captured(function):
    """Capture a function's work in a stream; what it and the end of the capture raise."""
    s = cuda.Stream(non_blocking=True)
    errors = []
    with s:
        s.begin_capture()
        for step in (lambda: function(s), s.end_capture):
            try:
                step()
            except (RuntimeError, NotImplementedError) as error:
                errors.append(f"{type(error).__name__}: {error}")
    return errors


X, Y = floats(1), floats(2)
BEFORE = cuda.Event()
BEFORE.record()
FORBIDDEN = {
    "synchronising the stream": (lambda s: s.synchronize(), "StreamCaptureUnsupported"),
    "synchronising the device": (lambda s: cuda.Device().synchronize(), "StreamCaptureUnsupported"),
    "reading an array": (lambda s: X.get(), "StreamCaptureUnsupported"),
    "copying from the host": (lambda s: sim.asarray(np.ones(3)), "only copy from pinned memory"),
    "setting from the host": (lambda s: X.set(np.ones(1, np.float32)), "only copy from pinned"),
    "an event's end": (lambda s: s.record().synchronize(), "cudaErrorCapturedEvent"),
    "an event from outside": (lambda s: s.wait_event(BEFORE), "cudaErrorStreamCaptureIsolation"),
    "the pool of all": (lambda s: sim.empty(3), "must outlive the graph"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_capture_forbids(name):
    function, message = FORBIDDEN[name]
    first, second = captured(function)
    assert message in first
    assert "cudaErrorStreamCaptureInvalidated" in second


def test_the_default_stream_is_not_captured_nor_used_meanwhile():
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cuda.Stream.null.begin_capture()
    s = cuda.Stream()
    s.begin_capture()
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureImplicit"):
        add(X, Y)
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        s.end_capture()
    with pytest.raises(RuntimeError, match="cudaErrorIllegalState"):
        s.end_capture()


def test_a_captured_stream_must_be_joined_again():
    a, b = cuda.Stream(non_blocking=True), cuda.Stream(non_blocking=True)
    a.begin_capture()
    with a:
        add(X, Y)
    b.wait_event(a.record())
    with b:
        add(X, Y)
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnjoined"):
        a.end_capture()


def test_a_graph_with_a_pool_of_its_own():
    pool, x, s = cuda.MemoryPool(), floats(1), cuda.Stream(non_blocking=True)
    with s, cuda.using_allocator(pool.malloc):
        s.begin_capture()
        y = x.copy()
        address = y.data.ptr
        add(x, y)
        result = y.copy()
        del y
        again = sim.empty(1, np.float32)  # the pool's order is that of the stream
        assert again.data.ptr == address
        graph = s.end_capture()
    del again
    graph.launch(s)
    assert result.get() == [2]
    assert pool.n_free_blocks() == 1
    pool.free_all_blocks()
    with pytest.raises(sim.SimError, match="used after it was given back"):
        graph.launch(s)


# ------------------------------------------------------------------ memory
def test_the_pool_s_books():
    gc.collect()
    POOL.free_all_blocks()
    used, total, free = POOL.used_bytes(), POOL.total_bytes(), POOL.n_free_blocks()
    assert used == total and free == 0
    x = sim.empty(1000, np.uint8)
    assert POOL.used_bytes() - used == 1024 == POOL.total_bytes() - total
    del x
    assert POOL.used_bytes() == used and POOL.total_bytes() - total == 1024
    assert POOL.n_free_blocks() == 1 and POOL.free_bytes() == 1024
    x = sim.empty(600, np.uint8)
    assert POOL.n_free_blocks() == 0 and POOL.total_bytes() - total == 1024
    del x
    POOL.free_all_blocks()
    assert POOL.total_bytes() == total
    with cuda.Device(1):
        before = POOL.used_bytes()
        y = sim.empty(1, np.uint8)
        assert POOL.used_bytes() - before == 512
    assert POOL.used_bytes() == used
    del y


def test_a_pool_that_dies_takes_its_arrays_memory():
    """CuPy's arrays do not hold their pool."""
    pool = cuda.MemoryPool()
    with cuda.using_allocator(pool.malloc):
        x = sim.empty(8, np.uint8)
    del pool
    with pytest.raises(sim.SimError, match="used after it was given back"):
        x.get()


@pytest.mark.parametrize("outside", [0, 4096])
def test_out_of_memory_says_how_much_and_gives_everything_back(outside):
    """A device's memory is full of what pools have, rounded, and of what nobody's pool has."""
    held = cuda.Memory(outside)
    gc.collect()
    POOL.free_all_blocks()
    free, _total = cuda.Device().mem_info
    in_use = minitorch.sim.settings.memory - free
    with minitorch.sim.config(memory=in_use + 4096):
        assert cuda.Device().mem_info == (4096, in_use + 4096)
        x = sim.empty(3072, np.uint8)
        with pytest.raises(cuda.memory.OutOfMemoryError, match="allocating 2,048 bytes") as error:
            sim.empty(2000, np.uint8)
        assert f"allocated so far: {POOL.total_bytes():,} bytes" in str(error.value)
        del x
        y = sim.empty(2000, np.uint8)  # the freed block goes back to the device first
        assert cuda.runtime.memGetInfo()[0] == 2048
        del y
    held._release()


def test_a_limit_of_the_pool():
    gc.collect()
    POOL.free_all_blocks()
    POOL.set_limit(POOL.used_bytes() + 512)
    try:
        x = sim.empty(512, np.uint8)
        with pytest.raises(cuda.memory.OutOfMemoryError, match="limit set to"):
            sim.empty(1, np.uint8)
        del x
    finally:
        POOL.set_limit()
    assert POOL.get_limit() == 0
    sim.empty(1024, np.uint8)


def test_hooks_are_told_of_allocations():
    calls = []

    class Hook(cuda.MemoryHook):
        name = "test"

        def malloc_postprocess(self, **kwargs):
            calls.append(("malloc", kwargs["device_id"], kwargs["size"], kwargs["mem_size"]))

        def free_postprocess(self, **kwargs):
            calls.append(("free", kwargs["device_id"], kwargs["mem_size"]))

    with Hook():
        x = sim.empty(100, np.uint8)
        del x
    sim.empty(100, np.uint8)
    assert calls == [("malloc", 0, 100, 512), ("free", 0, 512)]


def test_pinned_memory():
    pointer = cuda.alloc_pinned_memory(100)
    assert pointer.size() >= 100
    assert not np.ctypeslib.as_array((ctypes.c_uint8 * 100).from_address(pointer.ptr)).any()


def test_memset():
    x = sim.empty(4, np.int32)
    x.data.memset_async(0, x.nbytes)
    assert not x.get().any()

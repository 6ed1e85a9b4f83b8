"""`minitorch.cuda`, tested on the simulated GPU: `minitorch.sim` has the same functions."""

import gc
import inspect
import shutil

import numpy as np
import pytest
import torch

import minitorch

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

import minitorch.sim

GPU = minitorch.sim
NAMES = sorted(set(minitorch.cuda.__all__) - {"manual_seed", "manual_seed_all", "OutOfMemoryError"})


@pytest.fixture
def deferred():
    """Work waits in its stream until somebody synchronises."""
    GPU.synchronize()
    with minitorch.sim.config(deferred=True):
        yield
        GPU.synchronize()


@pytest.mark.parametrize("name", sorted(set(minitorch.cuda.__all__) - {"DeviceProperties"}))
def test_the_names_are_pytorch_s(name):
    assert hasattr(torch.cuda, name)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"nvtx"}))
def test_the_simulated_gpu_has_the_same(name):
    ours, simulated = getattr(minitorch.cuda, name), getattr(GPU, name)
    assert inspect.signature(ours) == inspect.signature(simulated)


def parameters(function):
    return [p for p in inspect.signature(function).parameters if p != "self"]


CLASSES = {"CUDAGraph", "DeviceProperties", "Event", "ExternalStream", "Stream", "graph", "nvtx"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - CLASSES))
def test_they_take_what_pytorch_s_take(name):
    assert parameters(getattr(minitorch.cuda, name)) == parameters(getattr(torch.cuda, name))


def test_without_a_gpu():
    if minitorch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert minitorch.cuda.is_available() is False
    assert minitorch.cuda.device_count() == 0
    for ask in (
        minitorch.cuda.current_device,
        minitorch.cuda.get_device_name,
        minitorch.cuda.synchronize,
        minitorch.cuda.memory_allocated,
        minitorch.cuda.Stream,
        minitorch.cuda.current_stream,
        lambda: minitorch.cuda.set_device(0),
        lambda: minitorch.cuda.Event().record(),
        minitorch.ones(2, device="cpu").cuda,
        minitorch.nn.Linear(2, 2, device="cpu").cuda,
    ):
        with pytest.raises(RuntimeError, match="device 'cuda' is not available: CuPy"):
            ask()
    minitorch.cuda.empty_cache()
    minitorch.cuda.manual_seed_all(3)
    first = minitorch.rand(2).tolist()
    minitorch.manual_seed(3)
    assert minitorch.rand(2).tolist() == first


# ------------------------------------------------------------------ devices
def test_devices():
    assert GPU.is_available() and GPU.device_count() == 2
    assert GPU.current_device() == 0
    with GPU.device(1):
        assert GPU.current_device() == 1
        x = minitorch.ones(2, device="sim")
        with GPU.device("sim:0"):
            assert minitorch.ones(2, device="sim").device == minitorch.device("sim:0")
    assert GPU.current_device() == 0
    assert x.device == minitorch.device("sim:1")
    assert (x + x).device == minitorch.device("sim:1")
    assert (x + x).tolist() == [2, 2]
    assert x.to("sim").device == minitorch.device("sim:0")  # a name alone: the current one
    GPU.set_device(1)
    try:
        assert minitorch.zeros(1, device="sim").device.index == 1
        assert x.to("sim") is x
    finally:
        GPU.set_device("sim:0")


def test_what_a_device_is():
    assert GPU.get_device_name() == GPU.get_device_name("sim:1") == "Simulated GPU"
    assert GPU.get_device_capability(0) == (9, 0)
    properties = GPU.get_device_properties(minitorch.device("sim:1"))
    assert (properties.major, properties.minor) == (9, 0)
    assert properties.total_memory == minitorch.sim.settings.memory
    assert properties.multi_processor_count == minitorch.sim.settings.processors


@pytest.mark.parametrize("number", [2, "sim:7"])
def test_a_number_that_does_not_exist(number):
    for ask in (GPU.set_device, GPU.get_device_name, GPU.memory_allocated, GPU.Stream):
        with pytest.raises(RuntimeError, match=r"device 'sim:[27]' does not exist: there are 2"):
            ask(number)
    with pytest.raises(ValueError, match="expected a 'sim' device, got 'cpu'"):
        GPU.synchronize("cpu")


# ------------------------------------------------------------------ copies
A = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_pinned_memory():
    x = minitorch.from_numpy(A.copy())
    p = x.pin_memory("sim")
    assert p.is_pinned() and not x.is_pinned()
    assert p.pin_memory("sim") is p
    assert p[1:].T.is_pinned() and not (p + 1).is_pinned()
    assert p.device == minitorch.device("cpu") and p.tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="only tensors on cpu can be pinned, got sim:0"):
        x.to("sim").pin_memory()
    with pytest.raises(RuntimeError, match="device 'cpu' has no pinned memory"):
        x.pin_memory("cpu")
    assert not x.to("sim").is_pinned()
    p[0, 0] = 9
    assert p.tolist()[0][0] == 9 and x.tolist()[0][0] == 0


LAYOUTS = {
    "in order": lambda x: x,
    "transposed": lambda x: x.T,
    "sliced": lambda x: x[:, ::2],
    "broadcast": lambda x: x[0].expand(4, 3),
    "0-d": lambda x: x[1, 2],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("non_blocking", [False, True])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_there_and_back(name, pinned, non_blocking, deferred):
    x = minitorch.from_numpy(A.copy())
    part = LAYOUTS[name](x.pin_memory("sim") if pinned else x)
    there = part.to("sim:1", non_blocking=non_blocking)
    across = there.to("sim:0", non_blocking=non_blocking)
    back = LAYOUTS[name](x.to("sim")).to("cpu", non_blocking=non_blocking)
    back2 = across.to("cpu", non_blocking=non_blocking)
    assert there.device == minitorch.device("sim:1")
    assert across.device == minitorch.device("sim:0")
    GPU.synchronize(0)
    for y in (there, across, back, back2):
        assert y.tolist() == part.tolist()
        assert y.shape == part.shape and y.dtype == part.dtype


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_a_negative_zero_stays_one(shape):
    x = minitorch.from_numpy(np.full(shape, -0.0, np.float32)).to("sim")
    assert x.shape == shape and np.signbit(x.cpu().numpy()).all()


def test_copies_that_are_not_waited_for_do_not_wait(deferred):
    p = minitorch.from_numpy(A.copy()).pin_memory("sim")
    GPU.synchronize()
    minitorch.sim.clear()
    x = p.to("sim", non_blocking=True)
    y = (x + x).to("cpu", non_blocking=True)
    z = x.to("sim:1", non_blocking=True)
    assert [e for e in minitorch.sim.launches() if e.kind == "sync"] == []
    assert z.tolist() == A.tolist()
    GPU.synchronize()
    assert y.tolist() == (2 * A).tolist()


def test_reading_a_result_too_early_shows(deferred):
    """The bug: a copy to the host that was not waited for is read without a synchronisation."""
    x = minitorch.from_numpy(A + 1).to("sim")
    y = x.to("cpu", non_blocking=True)
    assert y.is_pinned()
    assert y.tolist() != (A + 1).tolist()
    GPU.current_stream().synchronize()
    assert y.tolist() == (A + 1).tolist()
    assert x.to("cpu").tolist() == (A + 1).tolist()


def test_changing_a_source_too_early_shows(deferred):
    """The bug: a pinned buffer is filled again before the copy from it is over."""
    p = minitorch.from_numpy(A.copy()).pin_memory("sim")
    first = p.to("sim", non_blocking=True)
    p += 10
    assert first.tolist() == (A + 10).tolist()
    waited = p.to("sim")
    p += 10
    assert waited.tolist() == (A + 10).tolist()


def test_a_source_may_die_before_its_copy(deferred):
    x = minitorch.from_numpy(A.copy()).pin_memory("sim").to("sim", non_blocking=True)
    gc.collect()
    assert x.tolist() == A.tolist()
    (x + 1).to("cpu", non_blocking=True)
    gc.collect()
    GPU.synchronize()


def test_a_copy_between_devices_does_not_touch_the_host():
    x = minitorch.from_numpy(A.copy()).to("sim:0")
    minitorch.sim.clear()
    y = x.to("sim:1")
    assert [e.kind for e in minitorch.sim.launches()] == ["copy D2D"]
    assert y.tolist() == A.tolist()


def test_gradients_travel_back():
    x = minitorch.from_numpy(A.copy()).pin_memory("sim").requires_grad_()
    (x.to("sim:1", non_blocking=True).to("sim:0") * 3).backward(minitorch.ones(2, 3, device="sim"))
    assert x.grad.device == minitorch.device("cpu")
    assert x.grad.tolist() == np.full((2, 3), 3.0).tolist()


@pytest.mark.parametrize("args", [("sim", True), ("sim", minitorch.float32, True)])
def test_non_blocking_by_position(args, deferred):
    p = minitorch.from_numpy(A.copy()).pin_memory("sim")
    x = p.to(*args)
    p += 1
    assert x.tolist() == (A + 1).tolist()


def test_a_module_travels(deferred):
    model = minitorch.nn.Linear(3, 2, device="cpu")
    weight = model.weight
    before = weight.tolist()
    model.weight.data = model.weight.data.pin_memory("sim")
    assert model.to("sim:1", non_blocking=True) is model
    assert model.weight is weight and weight.device == minitorch.device("sim:1")
    x = minitorch.ones(1, 3, device="sim:1")
    there = model(x).tolist()
    model.cpu()
    assert weight.tolist() == before
    np.testing.assert_allclose(model(minitorch.ones(1, 3, device="cpu")).tolist(), there, rtol=1e-6)


# ------------------------------------------------------------------ streams and events
def test_streams(deferred):
    x = minitorch.ones(2, device="sim")
    GPU.synchronize()
    a, b = GPU.Stream(), GPU.Stream()
    assert GPU.current_stream() == GPU.default_stream() != a
    with GPU.stream(a):
        assert GPU.current_stream() == a
        y = x + x
        with GPU.stream(None):
            assert GPU.current_stream() == a
    assert GPU.current_stream() == GPU.default_stream()
    assert not a.query()
    b.wait_stream(a)
    with b:
        z = y * 3
        done = b.record_event()
    done.synchronize()
    assert done.query() and a.query()
    out = z.to("cpu")
    assert out.tolist() == [6, 6]


def test_a_stream_of_another_device(deferred):
    s = GPU.Stream("sim:1")
    assert s.device == minitorch.device("sim:1")
    with GPU.stream(s):
        assert GPU.current_device() == 1
        assert GPU.current_stream() == s
        x = minitorch.ones(2, device="sim") * 2
    assert GPU.current_device() == 0
    assert x.device == s.device
    s.synchronize()
    assert x.tolist() == [2, 2]


def test_events(deferred):
    start, end = GPU.Event(enable_timing=True), GPU.Event(enable_timing=True)
    assert start.query()
    start.record()
    x = minitorch.ones(2, device="sim") + 1
    end.record()
    with pytest.raises(RuntimeError, match="NotReady"):
        start.elapsed_time(end)
    end.synchronize()
    assert start.elapsed_time(end) > 0
    s = GPU.Stream()
    end.wait(s)
    with GPU.stream(s):
        y = x * 2
    s.synchronize()
    assert y.tolist() == [4, 4]
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(GPU.Event())


def test_a_synchronisation_raises_what_kernels_found():
    x = minitorch.zeros(3, device="sim")
    for wait in (GPU.synchronize, GPU.current_stream().synchronize, x.tolist):
        x[minitorch.tensor([5], device="sim")]
        with pytest.raises(IndexError, match="index: index 5 is out of bounds"):
            wait()
        wait()


def test_a_stream_of_another_library(deferred):
    theirs = GPU.Stream()
    with GPU.ExternalStream(theirs.cuda_stream) as stream:
        x = minitorch.ones(2, device="sim") + 1
    assert stream == theirs == GPU.ExternalStream(theirs.cuda_stream, "sim:0")
    assert not theirs.query()
    del stream
    theirs.synchronize()
    assert x.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="'sim:7' does not exist"):
        GPU.ExternalStream(theirs.cuda_stream, 7)


# ------------------------------------------------------------------ graphs
def test_a_graph_is_replayed():
    x = minitorch.ones(2, 3, device="sim")
    w = minitorch.ones(3, 1, device="sim", requires_grad=True)
    graph = GPU.CUDAGraph()
    with GPU.graph(graph):
        assert GPU.is_current_stream_capturing()
        y = (x @ w).sum()
        y.backward()
    assert not GPU.is_current_stream_capturing()
    for value in (1.0, 5.0):
        x.fill_(value)
        graph.replay()
        assert y.item() == 6 * value and w.grad.tolist() == [[2 * value]] * 3
    graph.reset()
    with pytest.raises(RuntimeError, match="captured nothing yet"):
        graph.replay()


def test_graphs_share_a_pool():
    x = minitorch.ones(1024, device="sim")
    first, second = GPU.CUDAGraph(), GPU.CUDAGraph()
    with GPU.graph(first, stream=GPU.Stream()):
        y = x + 1
    address = y.data_ptr()
    del y
    with GPU.graph(second, pool=first.pool()):
        z = x * 2
    assert z.data_ptr() == address
    second.replay()
    assert z.sum().item() == 2048
    begun = GPU.CUDAGraph()
    with GPU.stream(GPU.Stream()):
        begun.capture_begin(GPU.graph_pool_handle())
        u = x * 3
        begun.capture_end()
    begun.replay()
    assert u.sum().item() == 3072


REFUSED = {
    "an optimizer": (
        lambda x: minitorch.optim.Adam([x]).step(),
        "would be the same in each replay; minitorch.compile",
    ),
    "random numbers": (
        lambda x: minitorch.nn.functional.dropout(x.detach()),
        "would be the same in each replay; minitorch.compile",
    ),
    "a value": (lambda x: x.sum().item(), "the host takes part in it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_refuses_what_a_replay_would_get_wrong(name):
    work, reason = REFUSED[name]
    x = minitorch.ones(4, device="sim", requires_grad=True)
    x.grad = minitorch.ones(4, device="sim")
    graph = GPU.CUDAGraph()
    with pytest.raises(RuntimeError, match=reason), GPU.graph(graph):
        work(x)
    with pytest.raises(RuntimeError, match="captured nothing yet"):
        graph.replay()
    assert (x + 1).tolist() == [2, 2, 2, 2]
    with pytest.raises(RuntimeError, match="no capture has begun"):
        graph.capture_end()


def test_a_block_that_fails_captures_nothing():
    graph = GPU.CUDAGraph()
    with pytest.raises(ZeroDivisionError), GPU.graph(graph):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="captured nothing yet"):
        graph.pool()


# ------------------------------------------------------------------ memory
def test_the_summary_of_memory():
    GPU.reset_peak_memory_stats()
    x = minitorch.zeros(1 << 18, device="sim")
    stats = GPU.memory_stats()
    assert stats["allocated_bytes.all.current"] == GPU.memory_allocated() >= x.nbytes
    assert stats["allocated_bytes.all.peak"] >= stats["allocated_bytes.all.current"]
    assert set(stats) <= set(torch.cuda.memory_stats()) or not torch.cuda.is_available()
    assert f"{stats['allocated_bytes.all.current']:,} bytes" in GPU.memory_summary()


def test_memory_is_counted():
    gc.collect()
    GPU.empty_cache()
    before = GPU.memory_allocated()
    assert GPU.memory_reserved() == before
    x = minitorch.empty(1024, device="sim")
    assert GPU.memory_allocated() - before == 4096
    with GPU.device(1):
        assert GPU.memory_allocated(0) - before == 4096
    GPU.reset_peak_memory_stats()
    assert GPU.max_memory_allocated() == before + 4096
    y = minitorch.empty(2048, device="sim")
    del y
    z = minitorch.empty(512, device="sim:1")
    assert GPU.max_memory_allocated() == before + 4096 + 8192
    assert GPU.memory_allocated() == before + 4096
    assert GPU.memory_reserved() == before + 4096 + 8192
    GPU.empty_cache()
    assert GPU.memory_reserved() == before + 4096
    free, total = GPU.mem_get_info()
    assert total == minitorch.sim.settings.memory and free <= total - before - 4096
    del x, z
    assert GPU.memory_allocated() == before
    assert GPU.max_memory_allocated() == before + 4096 + 8192
    GPU.reset_peak_memory_stats()
    assert GPU.max_memory_allocated() == before


def test_out_of_memory():
    gc.collect()
    w = minitorch.ones(2048, device="sim")
    assert (w + w).tolist()[0] == 2  # a plan is made
    GPU.empty_cache()
    used = minitorch.sim.settings.memory - GPU.mem_get_info()[0]
    with minitorch.sim.config(memory=used + 8192):
        x = minitorch.ones(1024, device="sim")
        free = f"4,096 free of {used + 8192:,}"
        for ask in (
            lambda: minitorch.empty(2048, device="sim"),
            lambda: x.repeat(2),
            lambda: w + w,
            lambda: minitorch.from_numpy(np.ones(2048, np.float32)).to("sim"),
        ):
            with pytest.raises(minitorch.cuda.OutOfMemoryError) as error:
                ask()
            message = f"sim:0 is out of memory: 8,192 bytes asked for, {free}"
            assert str(error.value).startswith(message)
        y = x + x
        assert y.tolist()[:2] == [2, 2]
        x = y = error = None
        gc.collect()
        assert minitorch.empty(2048, device="sim").shape == (2048,)

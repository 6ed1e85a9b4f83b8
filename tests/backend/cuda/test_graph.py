"""Captured work replays as the kernels that were captured: on the device under test, or on sim."""

import gc
import itertools
import shutil
import weakref

import numpy as np
import pytest

import minitorch
from minitorch import backend
from minitorch.backend.cuda import graph as graphs
from minitorch.backend.cuda.graph import CaptureError, capture
from minitorch.backend.sim import driver
from minitorch.core.device import OutOfMemoryError
from tests.referee import rounding

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

CPU = backend.named("cpu").kernels
FLOAT32 = np.dtype("float32")


class Under:
    """Kernels of a device, and copies to and from it."""

    def __init__(self, name):
        self.serving = backend.named(name)
        self.gpu, self.kernels = self.serving.gpu, self.serving.kernels
        self.on_sim = name == "sim"

    def put(self, array):
        return self.serving.from_host(np.asarray(array), 0)

    def get(self, array):
        return self.serving.to_host(array)

    def capture(self):
        return capture(self.gpu, 0)


@pytest.fixture(params=["fast", "checked", "deferred", "interleaved"])
def under(request, device):
    name = "sim" if device == "cpu" else device.split(":")[0]
    if name == "cuda" and request.param != "fast":
        name = "sim"
    with minitorch.sim.config(
        checked=request.param == "checked" or None,
        deferred=request.param == "deferred",
        interleaved=request.param == "interleaved",
    ):
        yield Under(name)


def rng():
    return np.random.default_rng(0)


def test_nothing_is_done_before_the_replay(under):
    x, out = under.put(np.ones((3, 4), "float32")), under.put(np.zeros((3, 4), "float32"))
    with under.capture() as graph:
        under.kernels["add"](x, 2.0, out=out)
    assert under.get(out).max() == 0
    graph.replay()
    assert (under.get(out) == 3).all()


def test_a_replay_reads_what_lies_there_now(under):
    x, y = rng().random((2, 65, 70), "float32")
    a, b = under.put(x), under.put(y)
    with under.capture() as graph:
        product = under.kernels["matmul"](a, b.T)
        scores = under.kernels["softmax"](product, 1)
        total = under.kernels["sum"](scores, (0,))
    for scale in (1.0, 0.5, 3.0):
        under.kernels["copy_"](a, under.put(x * np.float32(scale)))
        graph.replay()
        now = x * np.float32(scale)
        expected = CPU["softmax"](now @ y.T, 1)
        # What exponents are apart by is relative in the exponentials, and in their sum once more.
        limit = 2 * rounding(now, y.T)
        np.testing.assert_allclose(under.get(scores), expected, rtol=limit)
        np.testing.assert_allclose(under.get(total), expected.sum(0), rtol=limit)


def test_reductions_by_several_blocks_count_anew(under):
    """Their tickets are the graph's, and zero again after each replay."""
    x = rng().random((2, 100_000), "float32")
    a = under.put(x)
    with under.capture() as graph:
        sums = under.kernels["sum"](a, 1)
    for _ in range(3):
        graph.replay()
        np.testing.assert_allclose(under.get(sums), x.sum(1, dtype="float64"), rtol=1e-6)
        again = under.kernels["sum"](a, 1)  # the stream's own tickets
        np.testing.assert_array_equal(under.get(again), under.get(sums))


def test_cross_entropy(under):
    x, target = rng().random((70, 10), "float32"), rng().integers(0, 10, 70)
    a, t = under.put(x), under.put(target)
    with under.capture() as graph:
        loss, grad = under.kernels["cross_entropy"](a, t, ignore_index=-100, reduction="mean")
    expected = CPU["cross_entropy"](x, target, ignore_index=-100, reduction="mean")
    for _ in range(2):
        graph.replay()
        for given, wanted in zip((loss, grad), expected, strict=True):
            np.testing.assert_allclose(under.get(given), wanted, rtol=1e-5, atol=1e-7)


OPTIONS = {
    "sgd_": (1, {"momentum": 0.9, "dampening": 0.1, "nesterov": False}),
    "adagrad_": (1, {"eps": 1e-8}),
    "rmsprop_": (3, {"alpha": 0.9, "eps": 1e-8, "momentum": 0.5}),
    "adam_": (3, {"beta1": 0.8, "beta2": 0.99, "eps": 1e-8, "decoupled": True}),
}


def _changing(name):
    """What changes from step to step: the rate, and what an op counts."""
    for step in itertools.count(1):
        yield {
            "lr": 0.1 / step,
            **({"step": step} if name.startswith("adam_") else {}),
            **({"first": step == 1} if name == "sgd_" else {}),
        }


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_optimizers_take_the_numbers_of_the_replay(name, dtype, under):
    states, options = OPTIONS[name]
    options = {**options, "weight_decay": 0.01, "maximize": False}
    sizes = (5000, 7)
    host = [[np.ones(n, dtype) for n in sizes]]
    host += [[np.zeros(n, dtype) for n in sizes] for _ in range(states)]
    host += [[rng().random(n).astype(dtype) for n in sizes]]
    on_gpu = [[under.put(a) for a in column] for column in host]
    numbers, on_cpu = _changing(name), _changing(name)
    captured = {"lr": 99.0, "step": 5, "first": True}
    with under.capture() as graph, graph.dynamic(lambda: next(numbers)):
        known = {k: captured[k] for k in next(_changing(name))}
        under.kernels[name](*on_gpu, **options, **known)
    limit = {"float32": 2e-6, "float64": 1e-13, "float16": 1e-2}[dtype]
    for _ in range(3):
        graph.replay()
        CPU[name](*host, **options, **next(on_cpu))
        for given, wanted in zip(on_gpu, host, strict=True):
            for a, b in zip(given, wanted, strict=True):
                np.testing.assert_allclose(under.get(a), b, rtol=limit, atol=limit)


@pytest.mark.parametrize("name", ["sgd_rows_", "adagrad_rows_", "adam_rows_"])
def test_sparse_optimizers_take_the_numbers_of_the_replay(name, under):
    states = {"sgd_rows_": 0, "adagrad_rows_": 1, "adam_rows_": 2}[name]
    options = {"sgd_rows_": {}, "adagrad_rows_": {"eps": 1e-8}}.get(
        name, {"beta1": 0.8, "beta2": 0.99, "eps": 1e-8}
    )
    columns = [[np.ones((9, 4), "float32")], *[[np.zeros((9, 4), "float32")]] * states]
    host = [[a.copy() for a in column] for column in columns]
    rows, values = np.array([3, 0, 3]), rng().random((3, 4), "float32")
    on_gpu = [[under.put(a) for a in column] for column in host]
    numbers, on_cpu = _changing(name), _changing(name)
    known = {"lr": 9.0, **({"step": 3} if name == "adam_rows_" else {})}
    given = ([under.put(rows)], [under.put(values)])
    with under.capture() as graph, graph.dynamic(lambda: next(numbers)):
        under.kernels[name](*on_gpu, *given, maximize=False, **options, **known)
    for _ in range(3):
        graph.replay()
        CPU[name](*host, [rows], [values], maximize=False, **options, **next(on_cpu))
        for (a,), (b,) in zip(on_gpu, host, strict=True):
            np.testing.assert_allclose(under.get(a), b, rtol=2e-6, atol=2e-6)


DRAWS = {
    "uniform": {},
    "normal": {},
    "randint": {"low": -3, "high": 60},
    "dropout": {"p": 0.4},
    "randperm": {},
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_are_those_of_the_replay(name, under):
    places = [{"seed": seed, "offset": offset} for seed, offset in ((5, 0), (5, 9), (2**63, 2**40))]
    kind = np.dtype("int64") if name in ("randint", "randperm") else FLOAT32
    host = {"dropout": (np.ones(300, kind),), "randperm": (300, kind)}.get(name, ((300,), kind))
    params = {**DRAWS[name], **({"memo": []} if name == "dropout" else {"index": 0})}
    on_gpu = tuple(under.put(a) if isinstance(a, np.ndarray) else a for a in host)
    numbers = iter(places)
    with under.capture() as graph, graph.dynamic(lambda: next(numbers)):
        drawn = under.kernels[name](*on_gpu, seed=1, offset=1, **params)
    for place in places:
        graph.replay()
        params = {**DRAWS[name], **({"memo": []} if name == "dropout" else {"index": None})}
        expected = CPU[name](*host, **place, **params)
        np.testing.assert_allclose(under.get(drawn), expected, rtol=1e-5, atol=1e-6)


def test_each_live_block_is_asked_once_in_order(under):
    asked = []
    p, g = under.put(np.zeros(4, "float32")), under.put(np.ones(4, "float32"))

    def dynamic(name):
        asked.append(name)
        return {"lr": 1.0}

    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    options |= {"maximize": False, "first": False}
    with under.capture() as graph:
        with graph.dynamic(lambda: dynamic("a")):
            for _ in range(2):
                under.kernels["sgd_"]([p], [], [g], lr=0.0, **options)
        with graph.dynamic(lambda: dynamic("b")):
            pass
    assert asked == []
    graph.replay()
    graph.replay()
    assert asked == ["a", "b"] * 2
    assert (under.get(p) == -4).all()


def test_the_host_may_run_ahead_of_the_device(under):
    """More replays than there are places for numbers on their way, with nobody waiting."""
    rounds = 3 * graphs.SLOTS + 1
    p, g = under.put(np.zeros(4, "float64")), under.put(np.ones(4, "float64"))
    rates = iter(range(1, rounds + 1))
    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    options |= {"maximize": True, "first": False}
    with under.capture() as graph, graph.dynamic(lambda: {"lr": next(rates)}):
        under.kernels["sgd_"]([p], [], [g], lr=0.0, **options)
    for _ in range(rounds):
        graph.replay()
    assert (under.get(p) == rounds * (rounds + 1) / 2).all()


def test_a_replay_is_one_launch_of_the_host(under):
    """And a copy where numbers have changed; the log of the simulator has the graph's kernels."""
    if not under.on_sim:
        pytest.skip("about the simulator's log")
    x = under.put(np.ones((40, 30), "float32"))
    p, g = under.put(np.zeros(4, "float32")), under.put(np.ones(4, "float32"))
    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    options |= {"maximize": False, "first": False}
    rates = iter([0.1, 0.1, 0.2])
    with under.capture() as graph:
        under.kernels["exp"](x)
        with graph.dynamic(lambda: {"lr": next(rates)}):
            under.kernels["sgd_"]([p], [], [g], lr=0.0, **options)
    found = []
    for _ in range(3):
        under.serving.synchronize(0)
        minitorch.sim.clear()
        graph.replay()
        under.gpu.xp.cuda.get_current_stream().synchronize()
        found.append([r.name or r.kind for r in minitorch.sim.launches() if r.kind != "sync"])
    kernels = ["exp_f32", "sgd_f32"]
    assert found == [["copy H2D", *kernels], kernels, ["copy H2D", *kernels]]


@pytest.mark.parametrize("name", ["adam_", "adagrad_"])
def test_steps_are_counted_on_the_device(name, under):
    """The host sends numbers where a rate or a step is not what the device expects."""
    states, options = OPTIONS[name]
    options = {**options, "weight_decay": 0.01, "maximize": False}
    options |= {"lr_decay": 0.5} if name == "adagrad_" else {}
    columns = [[np.ones(5000, "float32")], *[[np.zeros(5000, "float32")]] * states]
    columns += [[rng().random(5000, "float32")]]
    mine, plain = ([[under.put(a) for a in column] for column in columns] for _ in range(2))
    given = [(0.1, 1), (0.1, 2), (0.1, 3), (0.2, 4), (0.2, 5), (0.2, 9), (0.2, 10)]
    numbers = ({"lr": lr, "step": step} for lr, step in given)
    with under.capture() as graph, graph.dynamic(lambda: next(numbers)):
        under.kernels[name](*mine, **options, lr=9.0, step=1)
    sent = []
    for lr, step in given:
        minitorch.sim.clear()
        graph.replay()
        under.serving.synchronize(0)
        sent.append(any(r.kind == "copy H2D" for r in minitorch.sim.launches()))
        under.kernels[name](*plain, **options, lr=lr, step=step)
        for (a,), (b,) in zip(mine, plain, strict=True):
            np.testing.assert_array_equal(under.get(a), under.get(b))
    if under.on_sim:
        assert sent == [True, False, False, True, False, True, False]


# ---------------------------------------------------------------------- memory
def test_temporary_memory_is_the_graphs(under):
    """It is used again within the graph, and by nobody else."""
    x = under.put(rng().random((50, 60), "float32"))
    with under.capture() as graph:
        y = x
        for _ in range(20):
            y = under.kernels["mul"](y, 2.0)
    _, pool = graph.pool._all[graph.pool._id]
    with under.gpu.on(0):
        assert pool.total_bytes() < 5 * x.nbytes + 2 * graphs.CAPACITY
    others = [under.put(np.full((50, 60), 7, "float32")) for _ in range(30)]
    graph.replay()
    np.testing.assert_array_equal(under.get(y), under.get(x) * np.float32(2**20))
    assert all((under.get(other) == 7).all() for other in others)


def test_what_is_read_stays(under):
    x = under.put(np.ones((50, 60), "float32"))
    with under.capture() as graph:
        y = under.kernels["mul"](x[3], 2.0)
    del x
    gc.collect()
    others = [under.put(np.full((50, 60), 7, "float32")) for _ in range(5)]
    graph.replay()
    assert (under.get(y) == 2).all()
    del others


def test_a_graph_that_is_gone_gives_its_memory_back(under):
    x = under.put(np.ones((50, 60), "float32"))
    with under.capture() as graph:
        y = under.kernels["mul"](x, 2.0)
    graph.replay()
    before = under.get(y)
    known = weakref.ref(graph)
    del graph
    gc.collect()
    assert known() is None
    np.testing.assert_array_equal(under.get(y), before)  # a result outlives it
    if under.on_sim:
        held = driver.allocated(0)
        del y
        graphs.Pool.sweep()
        assert driver.allocated(0) == held - 12288  # the numbers of y, rounded


class Interrupted(list):
    """A list of retired pools, which are swept once more while somebody sweeps them."""

    def __getitem__(self, i):
        found = super().__getitem__(i)
        self.interrupt()
        return found

    def pop(self):
        self.interrupt()
        return super().pop()

    def interrupt(self):
        if not vars(self).get("done"):
            self.done = True
            graphs.Pool.sweep()


def test_pools_may_be_swept_by_a_finalizer_or_thread_in_between(device, monkeypatch):
    gpu = backend.named("sim" if device == "cpu" else device.split(":")[0]).gpu
    with gpu.on(0):
        pool = graphs.Pool(gpu)
        memory, known = pool.malloc(512), pool._id
        del pool
    waiting = graphs.Pool._retired
    assert known in waiting
    del memory
    monkeypatch.setattr(graphs.Pool, "_retired", Interrupted(waiting))
    waiting.clear()
    graphs.Pool.sweep()
    waiting += graphs.Pool._retired
    assert known not in waiting
    assert known not in graphs.Pool._all


def test_a_capture_with_too_little_memory(under):
    """What its work uses for a while is not given back for what comes later."""
    if not under.on_sim:
        pytest.skip("a real device cannot be made small")

    def too_much(x):
        under.kernels["mul"](x, 2.0)  # whose result dies at once
        under.gpu.empty((25_000,), FLOAT32)

    x = under.put(np.ones((50, 60), "float32"))
    minitorch.sim.empty_cache()
    free, total = minitorch.sim.mem_get_info()
    with minitorch.sim.config(memory=total - free + 124 * 1024):
        with pytest.raises(OutOfMemoryError, match="100,352 bytes asked for"), under.capture():
            too_much(x)
        assert (under.get(under.kernels["mul"](x, 2.0)) == 2).all()
        with under.capture() as graph:
            y = under.kernels["mul"](x, 3.0)
        graph.replay()
        assert (under.get(y) == 3).all()


def test_two_graphs(under):
    x = under.put(np.arange(100_000, dtype="float32"))
    found = []
    for factor in (1.0, 2.0):
        with under.capture() as graph:
            found.append((graph, under.kernels["sum"](under.kernels["mul"](x, factor), None)))
    for _ in range(2):
        for graph, _ in found:
            graph.replay()
    one, two = (under.get(total) for _, total in found)
    assert two == 2 * one


# ---------------------------------------------------------------------- what cannot be captured
def test_the_host_cannot_read_in_a_capture(under):
    x = under.put(np.ones((3, 4), "float32"))
    with (
        pytest.raises(CaptureError, match="the host takes part"),
        under.capture(),
    ):
        under.get(under.kernels["mul"](x, 2.0))
    assert (under.get(under.kernels["mul"](x, 2.0)) == 2).all()  # all is as before
    with under.capture() as graph:
        y = under.kernels["mul"](x, 3.0)
    graph.replay()
    assert (under.get(y) == 3).all()


def test_shapes_that_depend_on_numbers_cannot_be_captured(under):
    x = under.put(np.ones((3, 4), "float32"))
    with pytest.raises(CaptureError, match="cannot be captured"), under.capture():
        under.kernels["nonzero"](x)


def test_an_error_of_the_block_ends_the_capture(under):
    with pytest.raises(KeyError, match="mine"), under.capture():
        raise KeyError("mine")
    assert under.gpu.captured.graph is None
    x = under.put(np.ones(3, "float32"))
    assert (under.get(under.kernels["neg"](x)) == -1).all()


def test_no_capture_within_a_capture(under):
    with (
        pytest.raises(CaptureError, match="capturing already"),
        under.capture(),
        under.capture(),
    ):
        pass
    assert under.gpu.captured.graph is None


def test_too_many_numbers(under):
    x = under.put(np.ones(3, "float32"))
    rooms = graphs.CAPACITY // 16

    def draw(graph):
        with graph.dynamic(dict):
            under.kernels["dropout"](x, p=0.5, seed=0, offset=0, memo=[])

    with under.capture() as graph:
        for _ in range(rooms):
            draw(graph)
        with pytest.raises(CaptureError, match="room for"):
            draw(graph)


def test_an_error_that_a_replay_finds(under):
    x, target = under.put(np.ones((3, 4), "float32")), under.put(np.array([0, 9, 1]))
    with under.capture() as graph:
        under.kernels["cross_entropy"](x, target, ignore_index=-100, reduction="mean")
    under.serving.synchronize(0)
    for _ in range(2):
        graph.replay()
        with pytest.raises(IndexError, match=r"target: 9 is out of range \[0, 4\)"):
            under.serving.synchronize(0)

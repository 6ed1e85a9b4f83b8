"""What several streams and threads do is the same in every order that events allow.

In the deferred mode work runs as late as CUDA allows, in the interleaved one at random: a wait that
is missing shows in one of them.
"""

import gc

import numpy as np
import pytest

import minitorch
from minitorch import sim as GPU
from minitorch.data import DataLoader, TensorDataset
from minitorch.text.word2vec import Word2Vec

if not minitorch.sim.is_available():
    pytest.skip("g++ is not installed", allow_module_level=True)

MODES = [{"deferred": True}, *({"interleaved": True, "seed": seed} for seed in range(4))]
A = np.arange(12, dtype=np.float32)


@pytest.fixture(params=MODES, ids=["deferred", *map(str, range(4))])
def _mode(request):
    GPU.synchronize()
    with minitorch.sim.config(**request.param):
        yield
        GPU.synchronize()


def two_streams(seed, wait):
    """What b finds of what a does in three steps, if it waits and if it does not."""
    with minitorch.sim.config(interleaved=True, seed=seed):
        a, b = GPU.Stream(), GPU.Stream()
        x = minitorch.ones(1, device="sim")
        GPU.synchronize()
        with a:
            x += 1
            x += 1
        if wait:
            b.wait_stream(a)
        with b:
            y = x * 10
        if wait:
            a.wait_stream(b)
        with a:
            x += 1
        GPU.synchronize()
        return y.item()


def test_a_missing_wait_shows():
    assert {two_streams(seed, wait=True) for seed in range(20)} == {30}
    assert {two_streams(seed, wait=False) for seed in range(20)} == {10, 20, 30, 40}


def test_the_same_seed_gives_the_same_order():
    def orders():
        return [two_streams(seed, wait=False) for seed in range(10)]

    assert orders() == orders()


@pytest.mark.usefixtures("_mode")
def test_a_graph_of_two_streams():
    x = minitorch.ones(1, device="sim")
    other, graph = GPU.Stream(), GPU.CUDAGraph()
    with GPU.graph(graph):
        other.wait_stream(GPU.current_stream())
        y = x * 2
        with other:
            z = x * 3
        GPU.current_stream().wait_stream(other)
        total = y + z
    graph.replay()
    x.fill_(2)
    graph.replay()
    assert total.tolist() == [10]


# ------------------------------------------------------------------ helper threads
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("_mode")
def test_a_loader_in_a_stream(workers):
    with GPU.Stream():
        x = minitorch.tensor(A, device="sim") * 2
        loader = DataLoader(TensorDataset(x), 3, num_workers=workers)
        sums = [s.item() for s in [batch.sum() for (batch,) in loader]]
    assert sums == (2 * A).reshape(4, 3).sum(1).tolist()


@pytest.mark.usefixtures("_mode")
def test_a_loader_whose_batches_are_used_in_other_streams():
    x = minitorch.tensor(np.repeat(A, 50), device="sim")
    GPU.synchronize()
    iterator = iter(DataLoader(TensorDataset(x), 50, num_workers=1, shuffle=True))
    sums, streams = [], [GPU.Stream() for _ in range(12)]
    for stream in streams:
        with stream:
            (batch,) = next(iterator)
            sums.append((batch * 2).sum())
            del batch  # its memory goes back to the loader's stream
    GPU.synchronize()
    assert sum(s.item() for s in sums) == 100 * A.sum()


def test_a_loader_on_the_current_device():
    dataset = TensorDataset(minitorch.arange(3))
    with GPU.device(1):
        loader = DataLoader(dataset, 1, num_workers=1, collate_fn=lambda _: GPU.current_device())
        assert list(loader) == [1, 1, 1]


@pytest.mark.parametrize("mode", MODES[:2], ids=list)
def test_word_vectors_in_a_stream(mode):
    sentences = [["a", "b", "c", "d"], ["b", "c", "e"]] * 9

    def vectors():
        options = {"vector_size": 4, "min_count": 1, "epochs": 1, "sample": 0, "seed": 3}
        return Word2Vec(sentences, **options, device="sim").wv.vectors.tolist()

    expected = vectors()
    with minitorch.sim.config(**mode), GPU.Stream():
        assert vectors() == expected


# ------------------------------------------------------------------ memory that crosses streams
def used_elsewhere(records):
    """What another stream finds in a tensor that dies before that stream's work is done."""
    x, other = minitorch.ones(1000, device="sim"), GPU.Stream()
    other.wait_stream(GPU.current_stream())
    with other:
        y = x * 2
    if records:
        x.record_stream(other)
    with other:
        y = y + x  # work after the call counts as well
    del x
    GPU.current_stream().synchronize()
    other.synchronize()
    return y.sum().item()


@pytest.mark.usefixtures("_mode")
def test_recorded_streams_are_waited_for():
    assert used_elsewhere(True) == 3000


def test_a_stream_that_is_not_recorded_shows():
    mode = minitorch.sim.config(deferred=True, checked=True)
    with mode, pytest.raises(RuntimeError):
        used_elsewhere(False)


def test_a_recorded_tensors_memory_goes_back():
    x, other = minitorch.ones(1000, device="sim"), GPU.Stream()
    x.record_stream(other)
    gc.collect()
    GPU.synchronize()
    GPU.empty_cache()
    before = GPU.memory_allocated()
    del x
    GPU.synchronize()
    GPU.empty_cache()
    assert GPU.memory_allocated() == before - 4096


def test_record_stream_names_what_is_wrong():
    with pytest.raises(RuntimeError, match="expected a tensor on a GPU, got cpu"):
        minitorch.ones(1, device="cpu").record_stream(GPU.Stream())
    with pytest.raises(ValueError, match="one of sim:0, got one of sim:1"):
        minitorch.ones(1, device="sim").record_stream(GPU.Stream("sim:1"))


# ------------------------------------------------------------------ transfers
@pytest.mark.usefixtures("_mode")
def test_copies_in_streams():
    a, b = GPU.Stream("sim:0"), GPU.Stream("sim:1")
    with a, b:
        pinned = minitorch.from_numpy(A.copy()).pin_memory("sim")
        x = pinned.to("sim:0", non_blocking=True) * 2
        del pinned  # memory that the copy reads
        y = x.to("sim:1") * 3
        del x
        back = (y.to("sim:0") + 1).to("cpu", non_blocking=True)
    a.synchronize()
    assert back.tolist() == (6 * A + 1).tolist()

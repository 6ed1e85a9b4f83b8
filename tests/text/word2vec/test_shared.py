"""Models whose arrays several processes have in common."""

import copy
import errno
import json
import os
import tempfile
import tracemalloc

import numpy as np
import pytest

import minitorch
from minitorch.text import Word2Vec
from minitorch.text.word2vec import shared
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.shared import Description, memory_of, restored, share
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES, SMALL

OPTIONS = SMALL | {"device": "cpu", "epochs": 1}
MODELS = [{}, {"sg": 0, "cbow_mean": 0}, {"hs": 1}, {"full_softmax": 1, "negative": 0}]


@pytest.fixture(autouse=True)
def _several_processes(monkeypatch):
    monkeypatch.setattr("minitorch.text.word2vec.model.CHUNK", 2000)
    monkeypatch.setattr("minitorch.text.word2vec.training.CHUNK", 2000)
    monkeypatch.setattr("minitorch.text.word2vec.model.usable_cores", lambda: 2)


@pytest.fixture
def description():
    """Makes descriptions, and what another process would make of them."""
    files = []

    def of(model, objects):
        memory = memory_of(model)
        made = Description(memory, objects)
        files.append(made.file())
        return json.dumps(made.given), (memory.descriptor, files[-1])

    yield of
    for file in files:
        os.close(file)


def built(**options):
    model = Word2Vec(**OPTIONS | options)
    model.build_vocab(SENTENCES[:600])
    return model


def tables_of(module):
    return {name: p.array for name, p in module.named_parameters()}


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_tables_are_common_and_nothing_else(options, description):
    ours = built(workers=2, **options)
    sampler = ours._sampler()
    given, memories = description(ours.model, [ours.model, sampler])
    theirs, their_sampler = restored(json.loads(given), memories)
    assert type(theirs) is type(ours.model) and str(theirs) == str(ours.model)
    assert all(p.requires_grad for p in theirs.parameters())
    pairs = zip(tables_of(ours.model).values(), tables_of(theirs).values(), strict=True)
    for mine, other in pairs:
        np.testing.assert_array_equal(mine, other)
        other[0, 0] = 7.5
        assert mine[0, 0] == 7.5
    assert their_sampler.keep.equal(sampler.keep)
    their_sampler.keep.zero_()
    assert sampler.keep.max() > 0
    _, again = restored(json.loads(given), memories)
    assert again.keep.equal(sampler.keep)


def test_arrays_of_all_kinds_go_over(tmp_path, description, monkeypatch):
    monkeypatch.setattr("minitorch.text.word2vec.shared._CHUNK", 1000)
    tokens = np.arange(5000, dtype=np.int32)
    tokens.tofile(tmp_path / "tokens")
    arrays = [
        np.memmap(tmp_path / "tokens", np.int32, mode="r"),
        np.arange(6000.0).reshape(60, 100).T[::2],
        np.broadcast_to(np.float32(2), (3, 700)),
        np.array(1.5),
        np.zeros((0, 4)),
    ]
    model = SkipGram(5, 3, device="cpu")
    share(model)
    given, memories = description(model, {"many": arrays, "one": (arrays[3], {"a": None})})
    found = restored(json.loads(given), memories)
    assert found["one"] == (1.5, {"a": None})
    for ours, theirs in zip(arrays, found["many"], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_another_process_needs_no_memory_for_tables(options, description):
    ours = built(workers=2, vector_size=2000, **options)
    given, memories = description(ours.model, [ours.model, ours._sampler()])
    said = json.loads(given)
    restored(said, memories)  # what is imported
    tracemalloc.start()
    try:
        restored(said, memories)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 50_000 < min(table.nbytes for table in tables_of(ours.model).values())


def test_the_parent_holds_the_tables_once():
    tracemalloc.start()
    try:
        model = built(workers=2, vector_size=5000)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    size = sum(table.nbytes for table in tables_of(model.model).values())
    assert memory_of(model.model).size() >= size
    assert held < size / 2  # words, counts, the corpus
    assert model.wv.tensor.data_ptr() == model.model.input.weight.data_ptr()


@pytest.mark.parametrize("change", ["workers", "copy"])
def test_tables_that_are_not_shared_yet(change):
    model = built(workers=1 if change == "workers" else 2)
    if change == "copy":
        model = copy.deepcopy(model)
    assert memory_of(model.model) is None
    model.workers = 2
    before = model.wv.tensor.clone()
    model.train()
    assert memory_of(model.model) is not None
    assert model.wv.tensor.equal(model.model.input.weight)
    assert not model.wv.tensor.equal(before)


def test_memory_goes_with_the_model():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        built(workers=2)
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the last one's descriptor and map


def test_gradients_and_steps_of_shared_tables():
    model = SkipGram(5, 3, generator=minitorch.Generator().manual_seed(0), device="cpu")
    before = [array(p).copy() for p in model.parameters()]
    share(model)
    memory = memory_of(model)
    for p, value in zip(model.parameters(), before):
        np.testing.assert_array_equal(array(p), value)
    optimizer = minitorch.optim.SGD(model.parameters(), lr=1.0)
    (model.input.weight * 2).sum().backward()
    optimizer.step()
    assert memory_of(model) is memory
    np.testing.assert_array_equal(array(model.input.weight), before[0] - 2)


@pytest.mark.parametrize("strange", [len, 1j, np.float64(1)], ids=str)
def test_what_cannot_go_over_is_named(strange):
    model = SkipGram(5, 3, device="cpu")
    share(model)
    if isinstance(strange, float):  # a float is one
        assert Description(memory_of(model), strange).given == 1.0
        return
    with pytest.raises(TypeError, match=r"cannot go over to another process"):
        Description(memory_of(model), {"model": model, "strange": strange})


def test_memory_has_no_holes():
    for in_memory in (True, False):
        descriptor = shared._allocated(1 << 20, in_memory)
        try:
            assert os.fstat(descriptor).st_blocks * 512 >= os.fstat(descriptor).st_size == 1 << 20
        finally:
            os.close(descriptor)


@pytest.mark.parametrize("memfd", [True, False])
def test_a_full_folder_is_told(monkeypatch, memfd):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    before = len(os.listdir("/proc/self/fd"))
    model = SkipGram(5, 3, device="cpu")
    share(model)
    description = Description(memory_of(model), np.ones(1000))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: 1\d\d bytes are needed") as told:
        share(SkipGram(5, 3, device="cpu"))
    assert told.value.filename == ("memory" if memfd else tempfile.gettempdir())
    with pytest.raises(OSError, match="No space left on device: 8,000 bytes") as told:
        description.file()
    assert told.value.filename == tempfile.gettempdir()
    del model, description, told
    assert len(os.listdir("/proc/self/fd")) <= before

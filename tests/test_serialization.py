import errno
import json
import math
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import minitorch
from minitorch import nn, optim
from tests.referee import DTYPES, array, ours, theirs


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def again(obj, path):
    minitorch.save(obj, path)
    return minitorch.load(path)


def same(a, b):
    """Equal types, structure, numbers (nan is nan), and tensors with dtype and shape."""
    assert type(a) is type(b)
    if isinstance(a, minitorch.Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert [type(k) for k in a] == [type(k) for k in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_tensors_round_trip(name, shape, path):
    x = minitorch.tensor(np.random.default_rng(0).integers(0, 9, size=shape).astype(name))
    same(again(x, path), x)


@pytest.mark.parametrize("name", DTYPES)
def test_pytorch_s_files_both_ways(name, path):
    a = np.arange(6).reshape(2, 3).astype(name)
    minitorch.save({"x": minitorch.tensor(a)}, path)
    other = safetensors.torch.load_file(path)["x"]
    assert other.dtype is getattr(torch, name)
    np.testing.assert_array_equal(array(other), a)
    safetensors.torch.save_file({"x": theirs(a), "y": theirs(a[0, 1])}, path)
    for mmap in (False, True):
        same(
            minitorch.load(path, "cpu", mmap),
            {k: ours(v).cpu() for k, v in (("x", a), ("y", a[0, 1]))},
        )


def test_layouts_round_trip(path):
    x = minitorch.arange(24.0).reshape(2, 3, 4)
    views = {
        "transposed": x.transpose(0, 2),
        "sliced": x[:, ::2, 1:3],
        "expanded": minitorch.arange(3).expand(2, 3),
        "flipped": x.flip(1),
        "diagonal": x[0, :, :3].diagonal(),
    }
    same(again(views, path), views)


def test_structures_round_trip(path):
    obj = {
        "numbers": [1, -(2**70), 0.1, -0.0, math.inf, -math.inf, math.nan, True, None],
        "text": ("", 'ünïcode \n\0 "quotes"', "a.b"),
        3: {"int key": minitorch.ones(1)},
        "nested": [[], {}, (), [(minitorch.zeros(2), {"x": {1: [2]}})]],
        "a.b": minitorch.tensor([1]),
        "a": {"b": minitorch.tensor([2]), "__metadata__": minitorch.tensor([3])},
        "__metadata__": minitorch.tensor([4]),
        "": minitorch.tensor([5]),
        None: 1,
        2.5: 2,
        True: 3,
    }
    same(again(obj, path), obj)
    for single in (3, "text", None, [], {}, 1.5):
        same(again(single, path), single)


def test_parameters_come_back_as_plain_tensors(path):
    x = again(nn.Parameter(minitorch.ones(2)), path)
    assert type(x) is minitorch.Tensor
    assert not x.requires_grad
    x += 1  # its memory is its own and can be written
    assert x.tolist() == [2, 2]


def test_tied_tensors_are_written_once_and_stay_tied(path):
    model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
    model[2].weight = model[0].weight
    state = again(model.state_dict(), path)
    assert state["0.weight"].data_ptr() == state["2.weight"].data_ptr()
    state["0.weight"].zero_()
    assert state["2.weight"].abs().sum().item() == 0
    assert os.path.getsize(path) < 1.5 * 40 * 40 * 4


def test_a_training_run_resumes_bit_for_bit(path):
    def build():
        minitorch.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.05, amsgrad=True)
        return model, optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)

    def train(model, optimizer, scheduler, steps):
        for i in steps:
            x = minitorch.randn(8, 3, generator=minitorch.Generator().manual_seed(i))
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), x[:, :1]).backward()
            optimizer.step()
            scheduler.step()

    whole = build()
    train(*whole, range(20))
    part = build()
    train(*part, range(8))
    minitorch.save([x.state_dict() for x in part], path)
    fresh = build()
    for x, state in zip(fresh, minitorch.load(path)):
        x.load_state_dict(state)
    train(*fresh, range(8, 20))
    same(fresh[0].state_dict(), whole[0].state_dict())


def test_files_of_others_load_flat(path):
    arrays = {"a.b": np.arange(6.0).reshape(2, 3), "c": np.array([1, 2], np.int32)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "np"})
    loaded = minitorch.load(path)
    assert list(loaded) == ["a.b", "c"]
    for name, a in arrays.items():
        np.testing.assert_array_equal(loaded[name].cpu().numpy(), a)


def test_others_read_our_files_by_dotted_names(path):
    model = nn.Sequential(nn.Linear(2, 3))
    minitorch.save({"model": model.state_dict(), "epoch": 3}, path)
    arrays = safetensors.numpy.load_file(path)
    assert sorted(arrays) == ["model.0.bias", "model.0.weight"]
    np.testing.assert_array_equal(arrays["model.0.weight"], model[0].weight.detach().cpu().numpy())


def test_device(path, device):
    minitorch.save(minitorch.ones(2), path)
    assert minitorch.load(path).device.type == device
    assert minitorch.load(path, device="cpu").device.type == "cpu"


def test_text_paths(tmp_path):
    name = str(tmp_path / "x")
    minitorch.save(minitorch.ones(1), name)
    assert minitorch.load(name).tolist() == [1]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (nn.Linear(1, 1), "obj is a Linear; expected tensors"),
        ({"a": [1, object()]}, "a.1 is a object"),
        ({"a": np.ones(3)}, "a is a ndarray"),
        ({(1, 2): 3}, r"obj has a key of tuple: \(1, 2\)"),
        ({"a": {1, 2}}, "a is a set"),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(obj, message, path):
    minitorch.save(7, path)
    with pytest.raises(TypeError, match=message):
        minitorch.save(obj, path)
    assert minitorch.load(path) == 7
    assert os.listdir(path.parent) == [path.name]


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    minitorch.save(minitorch.ones(2), path)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        minitorch.save(minitorch.zeros(2), path)
    assert minitorch.load(path).tolist() == [1, 1]
    assert os.listdir(path.parent) == [path.name]


def test_missing_places(tmp_path):
    with pytest.raises(FileNotFoundError):
        minitorch.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        minitorch.save(1, tmp_path / "no folder" / "x")
    with pytest.raises(IsADirectoryError):
        minitorch.load(tmp_path)


def test_pickles_are_refused_with_the_way_around(path):
    for write in (
        lambda: torch.save({"a": torch.ones(2)}, path),
        lambda: torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps({"a": 1})),
    ):
        write()
        with pytest.raises(ValueError, match=r"is a pickle.*safetensors\.torch\.save_file"):
            minitorch.load(path)


def test_damaged_files(path):
    minitorch.save({"a": minitorch.ones(50), "b": [1, 2]}, path)
    whole = path.read_bytes()
    for cut in [*range(0, 64, 7), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="is not a complete safetensors file"):
            minitorch.load(path)
    path.write_bytes(whole[:8] + b"#" + whole[9:])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        minitorch.load(path)


@pytest.mark.parametrize(
    "structure",
    [
        "{",
        '{"tensor": "missing"}',
        '{"what": 3}',
        "{}",
        '{"dict": 3}',
        '{"dict": [["a", 1, 2]]}',
        '{"dict": [[[1], 2]]}',
        '{"list": 1}',
        '{"float": "x"}',
    ],
)
def test_damaged_structure(structure, path):
    safetensors.numpy.save_file({"a": np.ones(1)}, path, metadata={"minitorch": structure})
    with pytest.raises(ValueError, match="has damaged metadata"):
        minitorch.load(path)


def test_unknown_dtypes(path):
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(ValueError, match="dtype that is not supported"):
        minitorch.load(path)
    safetensors.numpy.save_file({"a": np.ones(1, np.uint16)}, path)
    with pytest.raises(ValueError, match="dtype that is not supported"):
        minitorch.load(path)


def test_a_header_of_any_length_is_read(path):
    """A safetensors file begins with the length of its header, whose low byte may be a pickle's."""
    starts = set()
    for n in range(0, 300, 4):
        assert again({"x" * n: 1}, path) == {"x" * n: 1}
        starts.add(path.read_bytes()[:1])
    assert b"\x80" in starts


def test_mapped_tensors_are_the_file(tmp_path):
    path = tmp_path / "file"
    state = {
        "a": minitorch.arange(6).reshape(2, 3),
        "b": [minitorch.ones(2), minitorch.zeros(0, 2)],
    }
    state |= {"c": minitorch.tensor(2.0), "d": minitorch.tensor([True, False])}
    minitorch.save(state, path)
    read = minitorch.load(path, mmap=True)
    here = minitorch.get_default_device().type == "cpu"
    assert read["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["b"][0].tolist() == [1, 1]
    assert read["b"][1].shape == (0, 2)
    assert read["c"].item() == 2
    assert read["c"].shape == ()
    assert read["d"].tolist() == [True, False]
    if here:
        assert not read["a"].numpy().flags.writeable
    else:
        read["a"] += 1


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_deep_metadata_are_damaged_metadata(text, tmp_path):
    path = tmp_path / "deep.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2)}, path, metadata={"minitorch": text})
    with pytest.raises(ValueError, match="damaged metadata"):
        minitorch.load(path)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        minitorch.save(deep, path)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "U16", "U64", "C64", "NONE"])
@pytest.mark.parametrize("mmap", [False, True])
def test_dtypes_that_are_not_ours_are_named(dtype, mmap, tmp_path):
    size = {"U16": 2, "U64": 8, "C64": 8}.get(dtype, 1)
    about = {"a": {"dtype": dtype, "shape": [64 // size], "data_offsets": [0, 64]}}
    header = json.dumps(about).encode()
    path = tmp_path / "other.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(ValueError, match=r"load: .*other\.safetensors"):
        minitorch.load(path, mmap=mmap)

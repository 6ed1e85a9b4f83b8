"""Memory shared with NumPy and PyTorch by DLPack."""

import gc

import numpy as np
import pytest
import torch

import minitorch

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64"]
DTYPES += ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture(autouse=True)
def memory_that_others_read(_default_device_and_seeds):
    with minitorch.device("cpu"):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_both_ways(dtype):
    x = minitorch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(minitorch, dtype))
    theirs = torch.from_dlpack(x)
    assert theirs.dtype == getattr(torch, dtype) and theirs.tolist() == x.tolist()
    back = minitorch.from_dlpack(theirs)
    assert back.dtype == x.dtype and back.data_ptr() == x.data_ptr()
    if dtype != "bfloat16":  # of which NumPy knows nothing
        assert np.from_dlpack(x).tolist() == x.tolist()


def test_memory_is_shared():
    x = minitorch.zeros(2, 3)
    torch.from_dlpack(x)[0, 1] = 5
    np.from_dlpack(x)[1, 2] = 7
    assert x.tolist() == [[0, 5, 0], [0, 0, 7]]
    theirs = torch.zeros(3, 2)
    y = minitorch.from_dlpack(theirs.T)
    y += 1
    assert theirs.tolist() == [[1, 1]] * 3 and y.stride() == theirs.T.stride()


LAYOUTS = {
    "transposed": lambda x: x.T,
    "sliced": lambda x: x[1:, ::2],
    "0-d": lambda x: x[1, 2],
    "empty": lambda x: x[:0],
    "expanded": lambda x: x[0].expand(4, 3),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name, dtype):
    x = LAYOUTS[name](minitorch.arange(6.0, dtype=getattr(minitorch, dtype)).reshape(2, 3))
    theirs = torch.from_dlpack(x)
    assert theirs.tolist() == x.tolist() and tuple(theirs.shape) == x.shape
    assert minitorch.from_dlpack(theirs).tolist() == x.tolist()


class Older:
    """An array of a library that gives capsules without a version."""

    def __init__(self, array):
        self.array = array
        self.__dlpack_device__ = array.__dlpack_device__

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()


def test_capsules_without_a_version():
    theirs = torch.ones(3, dtype=torch.bfloat16)
    mine = minitorch.from_dlpack(Older(theirs))
    theirs[0] = 3
    assert mine.tolist() == [3, 1, 1] and mine.dtype is minitorch.bfloat16
    mine = minitorch.ones(3, dtype=minitorch.bfloat16)
    theirs = torch.from_dlpack(Older(mine))
    theirs[0] = 3
    assert mine.tolist() == [3, 1, 1] and theirs.dtype is torch.bfloat16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_outlives_its_owner(dtype):
    mine = minitorch.full((1000,), 3.0, dtype=getattr(minitorch, dtype))
    theirs = torch.full((1000,), 4.0, dtype=getattr(torch, dtype))
    there, here = torch.from_dlpack(mine), minitorch.from_dlpack(theirs)
    del mine, theirs
    gc.collect()
    others = [minitorch.zeros(1000) for _ in range(20)], [torch.zeros(1000) for _ in range(20)]
    assert there.sum() == 3000 and here.sum() == 4000 and others


def test_copies(device):
    theirs = torch.ones(2)
    kept = minitorch.from_dlpack(theirs, device="cpu", copy=True)
    moved = minitorch.from_dlpack(theirs, device=device)
    theirs[0] = 9
    assert kept.tolist() == [1, 1] and moved.device.type == minitorch.device(device).type
    assert minitorch.from_dlpack(theirs, device="cpu", copy=False).tolist() == [9, 1]
    if device != "cpu":
        assert moved.tolist() == [1, 1]
        with pytest.raises(ValueError, match=r"copy=False: to .* is a copy"):
            minitorch.from_dlpack(theirs, device=device, copy=False)


def test_what_cannot_be_shared():
    p = minitorch.ones(2, device="cpu", requires_grad=True)
    for share in (torch.from_dlpack, np.from_dlpack):
        with pytest.raises(BufferError, match=r"requires grad; use detach\(\) first"):
            share(p)
    assert p.detach().__dlpack_device__() == (1, 0)
    with pytest.raises(TypeError, match="ext_tensor: expected an array with __dlpack__"):
        minitorch.from_dlpack([1.0])
    with pytest.raises(TypeError, match="dtype complex64 is not supported"):
        minitorch.from_dlpack(np.zeros(2, np.complex64))


@pytest.mark.parametrize("name", ["cpu", "sim"])
def test_no_device_pointer(name):
    x = minitorch.ones(2, device=name)
    assert not hasattr(x, "__cuda_array_interface__")
    with pytest.raises(AttributeError, match=f"there is no device pointer on {name}"):
        x.__cuda_array_interface__  # noqa: B018


def test_the_simulated_gpu_shares_nothing():
    x = minitorch.ones(2, device="sim")
    for ask in (x.__dlpack__, x.__dlpack_device__):
        with pytest.raises(BufferError, match=r"memory of sim:0; use \.cpu\(\) first"):
            ask()


class OnAGpu:
    """Says that it is on a GPU, or on something that nobody knows."""

    def __init__(self, kind):
        self.kind = kind

    def __dlpack_device__(self):
        return self.kind, 0


def test_arrays_of_other_devices():
    with pytest.raises(BufferError, match="no tensor is on DLPack's device type 10"):
        minitorch.from_dlpack(OnAGpu(10))
    if not minitorch.cuda.is_available():
        with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
            minitorch.from_dlpack(OnAGpu(2))

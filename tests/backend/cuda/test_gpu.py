"""Copies between layouts: transposed ones go by tiles, so that both sides are read in rows."""

import itertools

import numpy as np
import pytest

import minitorch
from minitorch.backend.cuda import strides
from tests.backend.cuda.kernels import DTYPES, SIM, assert_same, put, sample


@pytest.fixture(params=[False, True], ids=["fast", "checked"])
def checked(request):
    """Both builds of the simulated GPU."""
    with minitorch.sim.config(checked=request.param):
        yield


def copied(host, device):
    """The names of the kernels that copy a device's array, which has to come out as the host's."""
    minitorch.sim.clear()
    given = SIM["clone"](device)
    names = [launch.name for launch in minitorch.sim.launches()]
    assert given.flags.c_contiguous
    assert_same(given, host)
    return names


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 128), (33, 70), (8, 9), (100, 8), (1, 8), (0, 40), (7, 40)])
def test_transposed(shape, dtype):
    x = sample(dtype, shape)
    (name,) = copied(x.T, put(x).T) or [""]
    assert ("_transposed_" in name) == (min(shape) >= 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tile_has_no_bank_conflicts(dtype):
    x = put(sample(dtype, (64, 64))).T
    with minitorch.sim.config(checked=True, counted=True):
        minitorch.sim.clear()
        SIM["clone"](x)
    (launch,) = minitorch.sim.launches()
    assert {line.space for line in launch.lines} == {"global", "shared"}
    assert [line for line in launch.lines if line.excess > 1] == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_permuted(order):
    x = sample("float32", (3, 10, 9, 35))
    (name,) = copied(x.transpose(order), put(x).transpose(order))
    assert ("_transposed_" in name) == (order[-1] in (1, 2))  # 0 is short, 3 is contiguous


def test_batches_of_views():
    x = sample("int32", (4, 6, 50, 40))
    for view in (
        lambda a: a[:, ::2, 5:, ::-1].transpose(0, 1, 3, 2)[..., ::-1],
        lambda a: a[::-1, 1:, ::3, 2:].transpose(1, 3, 0, 2),
        lambda a: a[:, :1, :, 1:].transpose(3, 1, 0, 2),
    ):
        copied(view(x), view(put(x)))
        memory = put(np.zeros_like(x))
        SIM["copy_"](view(memory), put(view(x)))
        expected = np.zeros_like(x)
        view(expected)[...] = view(x)
        assert_same(memory, expected)


@pytest.mark.parametrize("to", DTYPES)
def test_transposed_and_converted(to):
    for of in DTYPES:
        x = sample(of, (34, 20))
        if to == "uint8":
            x = np.abs(x)
        out = put(np.zeros((20, 34), to))
        SIM["copy_"](out, put(x).T)
        assert_same(out, x.T.astype(to))


def test_both_transposed_is_a_plain_iteration():
    x, out = sample("float32", (40, 48)), put(np.zeros((40, 96), "float32"))
    minitorch.sim.clear()
    SIM["copy_"](out[:, 48:].T, put(x).T)
    (launch,) = [one for one in minitorch.sim.launches() if one.kind == "kernel"]
    assert launch.name == "from_f32_strided_f32"
    assert_same(out, np.concatenate([np.zeros_like(x), x], 1))


def test_what_stretches_is_not_a_transposed_copy():
    x = sample("float32", (40,))
    device = minitorch.tensor(x, device="sim")[:, None].expand(40, 50).array
    (name,) = copied(np.broadcast_to(x[:, None], (40, 50)), device)
    assert name == "from_f32_strided_f32"


def test_a_matrix_onto_its_transpose():
    x = sample("float32", (40, 40))
    memory = put(x)
    SIM["copy_"](memory, memory.T)
    assert_same(memory, x.T)


def test_wide_positions_transpose_as_narrow_ones(monkeypatch):
    x = sample("float64", (3, 40, 50))
    strides._transposing.cache_clear()
    monkeypatch.setattr(strides, "_narrow", lambda shape, steps: False)
    try:
        copied(x.transpose(2, 0, 1), put(x).transpose(2, 0, 1))
    finally:
        strides._transposing.cache_clear()


def test_more_tiles_than_blocks():
    x = sample("uint8", (32 * 9, 32 * 10))
    with minitorch.sim.config(processors=1):
        gpu = minitorch.backend.named("sim").gpu
        gpu._processors.clear()
        try:
            copied(x.T, put(x).T)
        finally:
            gpu._processors.clear()
    assert max(launch.grid[0] for launch in minitorch.sim.launches()) == 8


def test_the_number_of_tiles():
    x, out = put(np.zeros((3, 65, 128), "float32")), put(np.zeros((3, 128, 65), "float32"))
    iteration, tiles = strides.transposing(out, x.transpose(0, 2, 1))
    assert iteration["shape"][:3].tolist() == [65, 128, 3]
    assert tiles == 3 * 2 * 2

"""Errors that kernels find in data are raised at the next synchronisation, with the CPU's words."""

import numpy as np
import pytest

import minitorch
from minitorch import backend
from minitorch.backend.cuda import errors
from tests.backend.cuda.kernels import CPU, DTYPES, SIM, get, put

SYNCHRONISE = {
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "item": lambda x: x[0, 0].item(),
    "synchronize": lambda x: backend.named("sim").synchronize(0),
    "nonzero": lambda x: x.nonzero(),
}
# What is wrong, as a tensor op on a device; each raises on the CPU.
WRONG = {
    "embedding": lambda d: minitorch.ops.embedding(
        minitorch.zeros(4, 3, device=d), minitorch.tensor([1, 4], device=d)
    ),
    "index": lambda d: minitorch.zeros(4, 3, device=d)[minitorch.tensor([1, 4], device=d)],
    "index_select": lambda d: minitorch.zeros(4, 3, device=d).index_select(
        0, minitorch.tensor([-1, 2], device=d)
    ),
    "gather": lambda d: minitorch.zeros(4, 3, device=d).gather(
        1, minitorch.tensor([[3]], device=d)
    ),
    "setitem": lambda d: minitorch.zeros(4, 3, device=d).__setitem__(
        minitorch.tensor([7], device=d), 1.0
    ),
    "index_add": lambda d: minitorch.zeros(4, 3, device=d).index_add(
        0, minitorch.tensor([9], device=d), minitorch.ones(1, 3, device=d)
    ),
    "scatter": lambda d: minitorch.zeros(4, 3, device=d).scatter(
        0, minitorch.tensor([[-5]], device=d), 1.0
    ),
    "bernoulli": lambda d: minitorch.full((2, 2), 1.5, device=d).bernoulli(),
    "binary_cross_entropy": lambda d: minitorch.nn.functional.binary_cross_entropy(
        minitorch.full((2,), float("nan"), device=d), minitorch.ones(2, device=d)
    ),
}


@pytest.mark.parametrize("op", WRONG)
def test_the_error_is_the_cpus(op):
    with pytest.raises((IndexError, RuntimeError)) as expected:
        WRONG[op]("cpu")
    WRONG[op]("sim")
    with pytest.raises(type(expected.value)) as given:
        backend.named("sim").synchronize(0)
    text = str(expected.value).partition(" (shape")[0]
    assert str(given.value) == text


@pytest.mark.parametrize("how", SYNCHRONISE)
def test_every_synchronisation_raises_it_once(how):
    x = minitorch.zeros(2, 2, device="sim")
    WRONG["embedding"]("sim")
    with pytest.raises(IndexError, match=r"embedding: indices: 4 is out of range \[0, 4\)"):
        SYNCHRONISE[how](x)
    SYNCHRONISE[how](x)


def test_the_first_error_stays():
    WRONG["gather"]("sim")
    WRONG["embedding"]("sim")
    with pytest.raises(IndexError, match="gather: index: 3 is out of range"):
        backend.named("sim").synchronize(0)
    backend.named("sim").synchronize(0)


def test_an_error_belongs_to_its_device():
    WRONG["embedding"]("sim:1")
    backend.named("sim").synchronize(0)
    with pytest.raises(IndexError, match="embedding"):
        backend.named("sim").synchronize(1)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_check_range(dtype):
    index = put(np.arange(20, dtype=dtype).reshape(4, 5))
    assert SIM["check_range"](index, length=20, what="f") is index
    get(SIM["check_range"](index[:, ::2].T, length=20, what="f"))
    get(SIM["check_range"](index[:0], length=0, what="f"))
    SIM["check_range"](index[:, 4], length=19, what="f: x")
    with pytest.raises(IndexError, match=r"f: x: 19 is out of range \[0, 19\)"):
        get(index)


def test_check_range_refuses_negative_numbers():
    index = put(np.array([3, -1]))
    SIM["check_range"](index, length=4, what="f")
    with pytest.raises(IndexError, match=r"f: -1 is out of range \[0, 4\)"):
        get(index)


@pytest.mark.parametrize("wrong", [float("nan"), -0.5, float("inf")])
def test_check_unit_refuses(wrong):
    x = put(np.array([0.5, wrong]))
    SIM["check_unit"](x, what="f")
    with pytest.raises(RuntimeError, match=f"f: expected numbers between 0 and 1, got {wrong:g}"):
        get(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_check_unit(dtype):
    x = np.array([0, 1, 1, 0], dtype)
    given = put(x)
    assert SIM["check_unit"](given, what="f") is given
    get(given)
    if dtype == "bool":
        return
    wrong = np.array([0, 2, 1], dtype)
    with pytest.raises(RuntimeError) as expected:
        CPU["check_unit"](wrong, what="f: p")
    with pytest.raises(RuntimeError) as raised:
        get(SIM["check_unit"](put(wrong), what="f: p"))
    assert str(raised.value) == str(expected.value)


def test_codes():
    first = errors.out_of_range("somewhere")
    assert first == errors.out_of_range("somewhere") != errors.out_of_range("elsewhere")
    assert first.dtype == np.uint64 and first > 0

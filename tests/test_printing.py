"""The text of tensors is PyTorch's, character by character."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch
from minitorch import nn

DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.fixture(autouse=True)
def _same_names_and_fresh_options(monkeypatch):
    # Lines are broken by length, so that both libraries need names of one length.
    monkeypatch.setattr(minitorch.dtype, "__repr__", lambda dtype: f"torch.{dtype.name}")
    with minitorch.device("cpu"):  # as PyTorch's tensors: another device would be named
        yield
    set_both(profile="default")


def set_both(**options):
    minitorch.set_printoptions(**options)
    torch.set_printoptions(**options)


def check(array):
    assert repr(minitorch.from_numpy(array)) == repr(torch.from_numpy(array))


TABLE = {
    "0-d": 1.5,
    "0-d whole": 2.0,
    "0-d tiny": 1e-7,
    "0-d nan": math.nan,
    "0-d zero": 0.0,
    "whole floats": [1.0, -20.0, 300.0],
    "whole with nan and inf": [1.0, math.nan, math.inf, -math.inf],
    "nothing finite": [math.nan, math.inf],
    "zeros": [0.0, -0.0],
    "fractions": [[0.5, -1.25], [100.0, 3.0]],
    "fractions with nan and inf": [0.5, math.nan, -math.inf],
    "a wide range": [1.0, 1001.5],
    "whole and a wide range": [1.0, 1001.0],
    "large": [1e8 + 8, 2e8],
    "just not large": [1e8, 5e7],
    "small": [0.00009, 0.00005],
    "just not small": [0.0002, 0.0001],
    "a long line": list(np.linspace(0, 1, 40)),
    "3-d": np.arange(24.0).reshape(2, 3, 4) / 7,
    "4-d": np.arange(16.0).reshape(2, 2, 2, 2),
    "summary": np.arange(1001.0),
    "matrix summary": np.arange(2000.0).reshape(20, 100) / 3,
    "tall summary": np.arange(2000.0).reshape(1000, 2),
    "3-d summary": np.arange(8000.0).reshape(20, 20, 20),
    "empty": [],
    "empty matrix": np.zeros((0, 3)),
    "empty in the middle": np.zeros((2, 0, 5)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLE)
def test_text_of_a_table(name, dtype):
    with np.errstate(invalid="ignore", over="ignore"):
        check(np.array(TABLE[name], np.float64).astype(dtype))


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    elements = None
    if dtype.kind == "f":
        elements = st.one_of(
            st.integers(-1000, 1000).map(float),
            st.floats(-10, 10, width=16),
            st.floats(width=dtype.itemsize * 8),
        )
    return draw(hnp.arrays(dtype, shape, elements=elements))


@given(
    arrays(),
    st.fixed_dictionaries(
        {"sci_mode": st.sampled_from([None, True, False])},
        optional={
            "precision": st.integers(0, 8),
            "threshold": st.integers(0, 60),
            "edgeitems": st.integers(0, 3),
            "linewidth": st.integers(10, 150),
            "profile": st.sampled_from(["default", "short", "full"]),
        },
    ),
)
def test_text_of_drawn_arrays_and_options(array, options):
    set_both(profile="default")
    set_both(**options)
    check(array)


def test_options_stay_until_the_next_call():
    set_both(precision=2, sci_mode=True)
    check(np.array([0.5, 2.0]))
    set_both(linewidth=30)  # the precision stays, sci_mode goes back to None
    check(np.linspace(0, 1, 20))
    assert minitorch.get_printoptions() == torch._tensor_str.get_printoptions()
    with pytest.raises(ValueError, match="profile: expected one of 'default', 'short', 'full'"):
        minitorch.set_printoptions(profile="long")
    for wrong in ({"precision": 2.5}, {"edgeitems": -1}, {"threshold": "a"}, {"linewidth": [1]}):
        with pytest.raises(ValueError, match=f"set_printoptions: {next(iter(wrong))}: expected a"):
            minitorch.set_printoptions(**wrong)


def test_only_what_is_shown_is_copied(monkeypatch):
    copied = []
    to_list = minitorch.Tensor.tolist
    monkeypatch.setattr(
        minitorch.Tensor, "tolist", lambda x: copied.append(x.numel()) or to_list(x)
    )
    repr(minitorch.zeros(1000, 1000))
    assert sum(copied) == 36


def test_default_dtype_is_not_named():
    minitorch.set_default_dtype(minitorch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        for dtype in DTYPES:
            check(np.zeros(2, dtype))
            check(np.zeros(0, dtype))
    finally:
        minitorch.set_default_dtype(minitorch.float32)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", TABLE)
def test_text_of_a_tensor_of_the_device_under_test(name, device):
    """It has the elements of the same tensor of the cpu, and names the device if it is another."""
    set_both(linewidth=400)  # so that no line is broken for the device's sake
    host = minitorch.tensor(TABLE[name])
    x = host.to(device)
    where = "" if x.device.type == "cpu" else f"device='{x.device}'"
    text = repr(x)
    assert where in text
    shown = [part for part in text[:-1].split(", ") if part != where]
    assert ", ".join(shown) == repr(host)[:-1]


@pytest.mark.parametrize("n", [2, 9, 12, 13])  # from some length on the remark has its own line
def test_leaf_that_requires_grad(n):
    ours = minitorch.ones(n, dtype=minitorch.float64, requires_grad=True)
    theirs = torch.ones(n, dtype=torch.float64, requires_grad=True)
    assert repr(ours) == str(ours) == repr(theirs)


def test_result_of_an_op_names_the_op():
    x = minitorch.ones(2, requires_grad=True)
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<mul>)"
    assert repr((x * 2).detach()) == "tensor([2., 2.])"
    version = x._version
    assert len(x.version) == 1, "printing leaves no views behind"
    assert version == 0


def test_parameter():
    ours, theirs = nn.Parameter(minitorch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    assert repr(ours) == repr(theirs)


def test_format_of_a_scalar_is_that_of_its_number():
    assert f"{minitorch.tensor(0.5):.2f}" == f"{torch.tensor(0.5):.2f}" == "0.50"
    x = minitorch.tensor([0.5])
    assert f"{x}" == repr(x)


def test_row_gradient():
    weight = minitorch.zeros(9, 2, requires_grad=True)
    rows = minitorch.ops.embedding(weight, minitorch.tensor([4, 1, 4]), sparse=True)
    rows.sum().backward()
    assert repr(weight.grad) == "\n".join(
        [
            "RowGrad(indices=tensor([4, 1, 4]),",
            "        values=tensor([[1., 1.],",
            "                       [1., 1.],",
            "                       [1., 1.]]),",
            "        size=(9, 2))",
        ]
    )

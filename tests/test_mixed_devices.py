"""Tensors of different devices in one op: an error that names the op, both devices, the way out."""

import shutil

import numpy as np
import pytest

import minitorch
import minitorch.nn.functional as F

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)


class On:
    """Operands on one device: x (3,), X (3, 3), i (3,) integers, m (3,) a mask, s 0-d."""

    def __init__(self, device):
        self.x = minitorch.ones(3, device=device)
        self.X = minitorch.ones(3, 3, device=device)
        self.i = minitorch.tensor([0, 1, 2], device=device)
        self.m = self.x > 0


METHODS = """add sub mul div pow maximum minimum remainder floor_divide eq ne lt le gt ge isclose
    allclose equal dot outer add_ sub_ mul_ div_ pow_ maximum_ minimum_ clamp clamp_"""
BITS = "bitwise_and bitwise_or bitwise_xor logical_and logical_or"
LOSSES = "mse_loss l1_loss smooth_l1_loss binary_cross_entropy binary_cross_entropy_with_logits"
CASES = {
    **{name: lambda a, b, name=name: getattr(a.x.clone(), name)(b.x)
       for name in METHODS.split()},
    **{name: lambda a, b, name=name: getattr(a.i, name)(b.i)
       for name in BITS.split()},
    **{name: lambda a, b, name=name: getattr(F, name)(a.x, b.x)
       for name in LOSSES.split()},
    "cosine_similarity": lambda a, b: F.cosine_similarity(a.x, b.x, dim=0),
    "where, condition": lambda a, b: minitorch.where(b.m, a.x, a.x),
    "where, other": lambda a, b: minitorch.where(a.m, a.x, b.x),
    "masked_fill": lambda a, b: a.x.masked_fill(b.m, 0.0),
    "masked_fill_": lambda a, b: a.x.clone().masked_fill_(b.m, 0.0),
    "masked_fill, value": lambda a, b: a.x.masked_fill(a.m, b.x.sum()),
    "masked_select": lambda a, b: a.x.masked_select(b.m),
    "addcmul": lambda a, b: a.x.addcmul(a.x, b.x),
    "addcdiv": lambda a, b: a.x.addcdiv(b.x, a.x),
    "lerp": lambda a, b: a.x.lerp(b.x, 0.5),
    "lerp, weight": lambda a, b: a.x.lerp(a.x, b.x),
    "matmul": lambda a, b: a.X @ b.X,
    "mv": lambda a, b: a.X.mv(b.x),
    "bmm": lambda a, b: a.X[None].bmm(b.X[None]),
    "cat": lambda a, b: minitorch.cat([a.x, b.x]),
    "stack": lambda a, b: minitorch.stack([a.x, b.x]),
    "getitem": lambda a, b: a.x[b.i],
    "getitem, mask": lambda a, b: a.x[b.m],
    "getitem, two": lambda a, b: a.X[a.i, b.i],
    "setitem, key": lambda a, b: a.x.clone().__setitem__(b.i, 1.0),
    "setitem, mask": lambda a, b: a.x.clone().__setitem__(b.m, 1.0),
    "setitem, value": lambda a, b: a.x.clone().__setitem__(slice(0, 3), b.x),
    "setitem, value at indices": lambda a, b: a.x.clone().__setitem__(a.i, b.x),
    "gather": lambda a, b: a.x.gather(0, b.i),
    "index_select": lambda a, b: a.x.index_select(0, b.i),
    "take_along_dim": lambda a, b: a.x.take_along_dim(b.i, 0),
    "index_add": lambda a, b: a.x.index_add(0, b.i, a.x),
    "index_add, source": lambda a, b: a.x.index_add(0, a.i, b.x),
    "index_add_": lambda a, b: a.x.clone().index_add_(0, b.i, a.x),
    "index_add_, source": lambda a, b: a.x.clone().index_add_(0, a.i, b.x),
    "index_copy_": lambda a, b: a.x.clone().index_copy_(0, b.i, a.x),
    "index_copy_, source": lambda a, b: a.x.clone().index_copy_(0, a.i, b.x),
    "index_fill_": lambda a, b: a.x.clone().index_fill_(0, b.i, 1.0),
    "scatter_": lambda a, b: a.x.clone().scatter_(0, b.i, a.x),
    "scatter_, src": lambda a, b: a.x.clone().scatter_(0, a.i, b.x),
    "scatter_add": lambda a, b: a.x.scatter_add(0, b.i, a.x),
    "scatter_add, src": lambda a, b: a.x.scatter_add(0, a.i, b.x),
    "scatter_add_": lambda a, b: a.x.clone().scatter_add_(0, b.i, a.x),
    "searchsorted": lambda a, b: minitorch.searchsorted(a.x, b.x),
    "bincount": lambda a, b: minitorch.bincount(a.i, weights=b.x),
    "embedding": lambda a, b: F.embedding(b.i, a.X),
    "linear, weight": lambda a, b: F.linear(a.X, b.X),
    "linear, bias": lambda a, b: F.linear(a.X, a.X, b.x),
    "layer_norm, weight": lambda a, b: F.layer_norm(a.X, (3,), b.x),
    "layer_norm, bias": lambda a, b: F.layer_norm(a.X, (3,), a.x, b.x),
    "batch_norm": lambda a, b: F.batch_norm(a.X, b.x, b.x, training=True),
    "batch_norm, weight": lambda a, b: F.batch_norm(a.X, a.x, a.x, b.x, b.x, training=True),
    "cross_entropy": lambda a, b: F.cross_entropy(a.X, b.i),
    "cross_entropy, weight": lambda a, b: F.cross_entropy(a.X, a.i, weight=b.x),
    "cross_entropy, probabilities": lambda a, b: F.cross_entropy(a.X, b.X),
    "nll_loss": lambda a, b: F.nll_loss(a.X, b.i),
    "nll_loss, weight": lambda a, b: F.nll_loss(a.X, a.i, weight=b.x),
    "backward": lambda a, b: a.x.clone().requires_grad_().mul(2).backward(b.x),
    "grad": lambda a, b: setattr(a.x.clone().requires_grad_(), "grad", b.x),
    "a layer": lambda a, b: minitorch.nn.Linear(3, 3, device=a.x.device)(b.X),
}  # fmt: skip
PAIRS = [("sim:0", "cpu"), ("cpu", "sim:0"), ("sim:0", "sim:1")]


@pytest.mark.parametrize(("here", "there"), PAIRS, ids=["sim, cpu", "cpu, sim", "sim, sim:1"])
@pytest.mark.parametrize("name", CASES)
def test_an_error_names_both_devices_and_the_way_out(name, here, there):
    with pytest.raises(RuntimeError) as error:
        CASES[name](On(here), On(there))
    message = str(error.value)
    assert type(error.value) is RuntimeError, message
    assert here in message and there in message and ".to('" in message


def test_copies_cross_devices():
    x, y = minitorch.zeros(3, device="sim:0"), minitorch.ones(3, device="sim:1")
    assert x.copy_(y).tolist() == [1, 1, 1]
    layer = minitorch.nn.Linear(2, 2, device="sim:1")
    layer.load_state_dict(minitorch.nn.Linear(2, 2, device="cpu").state_dict())
    assert layer.weight.device == minitorch.device("sim:1")


def test_a_numpy_array_among_device_tensors():
    x = minitorch.ones(3, device="sim")
    for function in (
        lambda a: x + a,
        lambda a: a + x,
        lambda a: minitorch.maximum(x, a),
        lambda a: x @ a,
        lambda a: minitorch.where(x > 0, x, a),
        lambda a: minitorch.cat([x, a]),
        lambda a: F.mse_loss(x, a),
    ):
        with pytest.raises(TypeError, match="ndarray"):
            function(np.ones(3, np.float32))


def test_a_row_gradient_moves_with_its_parameter():
    table = minitorch.nn.Embedding(4, 2, sparse=True, device="cpu")
    table(minitorch.tensor([1, 1], device="cpu")).sum().backward()
    table.to("sim")
    grad = table.weight.grad
    assert grad.indices.device == grad.values.device == table.weight.device
    assert grad.to_dense().tolist() == [[0, 0], [2, 2], [0, 0], [0, 0]]

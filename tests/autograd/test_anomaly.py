"""Anomaly mode names the op and the line; outside of it nothing is left behind."""

import re
from contextlib import nullcontext

import numpy as np
import pytest

import minitorch
from minitorch import autograd, func, nn
from minitorch.core.dispatch import REGISTRY
from minitorch.core.tensor import Node
from minitorch.utils.flop_counter import FlopCounterMode
from tests.referee import in_threads, ours
from tests.test_function import Cube


def zeros():
    return ours(np.array([1.0, 0.0, 2.0]), True)


def line_of(error, text):
    """The last call that the message tells of is the line `text` of this file."""
    *_, place, shown = str(error.value).splitlines()
    assert re.search(r'File ".*test_anomaly\.py", line \d+, in \w+', place), place
    assert shown.strip() == text


def test_forward():
    x = zeros()
    with autograd.detect_anomaly():
        y = x * 2
        with pytest.raises(RuntimeError, match=r"log made -inf at \[1\] out of finite") as e:
            y.log()  # here
    line_of(e, "y.log()  # here")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: x / x, "div made nan"),
        (lambda x: (x * 1000).exp(), "exp made inf"),
        (lambda x: x.reshape(3, 1) @ (x.reshape(1, 3) * 1e200) * 1e200, "mul made inf"),
        (lambda x: (x * 1e308).sum() + (x * 1e308).sum(), "sum made inf"),
        (lambda x: (x - 1).sqrt(), "sqrt made nan"),
        (lambda x: x[:0].mean(), "mean made nan"),
        (lambda x: (-x.detach()).log_(), "log made nan"),
        (lambda x: (x.detach() * 1e9).half(), "cast made inf"),
    ],
)
def test_kinds_of_ops(call, name):
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match=name):
        call(zeros())


def test_backward():
    x = zeros()
    with autograd.detect_anomaly():
        y = x.sqrt()  # infinitely steep at 0
        z = (y * 3).sum()
        with pytest.raises(RuntimeError, match=r"backward of sqrt made inf at \[1\] .* 0;") as e:
            z.backward()
    line_of(e, "y = x.sqrt()  # infinitely steep at 0")


def test_forward_mode():
    wrong = pytest.raises(RuntimeError, match=r"tangent of sqrt made inf at \[1\]")
    with autograd.detect_anomaly(), wrong as e:
        func.jvp(lambda x: x.sqrt(), (zeros().detach(),), (ours(np.ones(3)),))
    assert "test_anomaly.py" in str(e.value)


def test_second_order_names_the_forward_call():
    x = ours(np.array(0.0), True)
    with autograd.detect_anomaly():
        y = x**1.5
        (g,) = autograd.grad(y, x, create_graph=True)
        with pytest.raises(RuntimeError, match="backward of pow made inf") as e:
            g.backward()
    line_of(e, "y = x**1.5")


class Broken(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return g * float("inf")


def test_users_functions():
    x = zeros()
    with autograd.detect_anomaly():
        Cube.apply(x, 2.0).sum().backward()
        y = Broken.apply(x)
        with pytest.raises(RuntimeError, match="backward of Broken made inf") as e:
            y.sum().backward()
    line_of(e, "y = Broken.apply(x)")


def test_what_is_right_passes():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3))
    table = nn.Embedding(5, 4, sparse=True)
    with autograd.detect_anomaly():
        out = model(table(minitorch.tensor([1, 3])))
        nn.functional.cross_entropy(out, minitorch.tensor([0, 2])).backward()
        masked = out.masked_fill(out > out.max(), float("-inf"))  # the user's own infinity
        assert masked.softmax(1).sum().item() == pytest.approx(2)
    assert table.weight.grad is not None


def test_an_infinity_that_was_given_is_no_anomaly():
    with autograd.detect_anomaly():
        x = ours(np.array([1.0, np.inf, np.nan]), True)
        (x * 2 - x).sum().backward()
        y = zeros()
        (y * 2).backward(ours(np.array([np.inf, 1.0, np.nan])))
        assert y.grad.tolist()[:2] == [np.inf, 2.0]


def test_only_what_is_recorded_inside_has_a_line():
    y = zeros().sqrt()
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="while anomaly mode was off"):
        y.sum().backward()


def test_errors_of_backward_tell_of_the_forward_call():
    x = zeros()
    with autograd.detect_anomaly(check_nan=False):
        assert x.log().tolist()[1] == -np.inf  # not looked at
        h = x * 1
        y = h.exp() * h
        h.add_(1)
        with (
            pytest.warns(UserWarning, match=r"(?s)in the backward of mul;.*y = h.exp\(\) \* h"),
            pytest.raises(RuntimeError, match="modified by an inplace operation"),
        ):
            y.sum().backward()


def standing():
    kernels = {name: dict(op.kernels) for name, op in REGISTRY.items()}
    rules = {name: (op.vjp, op.jvp) for name, op in REGISTRY.items()}
    return Node.__init__, rules, kernels


def test_nothing_is_left_behind():
    zeros().log()
    before = standing()
    with autograd.detect_anomaly():
        assert standing() != before
        with autograd.set_detect_anomaly(False):
            assert standing() == before and not autograd.is_anomaly_enabled()
        assert autograd.is_anomaly_enabled()
    assert standing() == before
    autograd.set_detect_anomaly(True, check_nan=False)
    assert autograd.is_anomaly_enabled() and not autograd.is_anomaly_check_nan_enabled()
    assert zeros().exp().node.trace[0][2] == "test_nothing_is_left_behind"
    autograd.set_detect_anomaly(False)
    assert standing() == before
    assert zeros().exp().node.trace == ()


def test_blocks_may_end_in_any_order():
    """As those of several threads do: each takes its own setting away."""
    zeros().log()
    before = standing()
    first, second = autograd.detect_anomaly(), autograd.detect_anomaly(check_nan=False)
    first.__enter__()
    second.__enter__()
    third = autograd.set_detect_anomaly(False)
    third.__enter__()
    first.__exit__(None, None, None)
    assert not autograd.is_anomaly_enabled()
    third.__exit__(None, None, None)
    assert autograd.is_anomaly_enabled() and not autograd.is_anomaly_check_nan_enabled()
    autograd.set_detect_anomaly(False)  # until the end of the block
    assert standing() == before
    second.__exit__(None, None, None)
    assert standing() == before and not autograd.is_anomaly_enabled()


def test_blocks_of_several_threads_leave_nothing_behind(device):
    x = minitorch.tensor([1.0, 4.0], device=device)

    def work(i, block=nullcontext):
        for _ in range(5):
            w = x.clone().requires_grad_()
            with block(False):
                (w * w.sqrt()).sum().backward()
            assert w.grad.tolist() == [1.5, 3.0]

    def observed(i):
        work(i, autograd.detect_anomaly if i % 2 else FlopCounterMode)

    work(0)
    before = standing()
    in_threads(observed, 4)
    assert standing() == before and not autograd.is_anomaly_enabled()


COPIES = {
    "to": lambda x, device: x.to(device),
    "and back": lambda x, device: x.to(device).cpu(),
    "non_blocking": lambda x, device: x.to(device, non_blocking=True),
    "copy_": lambda x, device: minitorch.zeros(3, device=device).copy_(x),
    "copy_ back": lambda x, device: minitorch.zeros(3, device="cpu").copy_(x.to(device)),
    "module": lambda x, device: nn.Linear(3, 1, device="cpu").to(device)(x.to(device)),
    "half": lambda x, device: x.half().to(device, minitorch.float32),
    "long": lambda x, device: x.long().to(device).float(),
    "bool": lambda x, device: (x > 0).to(device).cpu().float(),
    "number": lambda x, device: x.sum().to(device),
    "nothing": lambda x, device: x[:0].to(device),
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("other", ["cpu", "sim"])
def test_copies_to_a_device(name, other):
    x = minitorch.tensor([1.0, 0.0, 2.0], device="cpu", requires_grad=True)
    with autograd.detect_anomaly():
        y = COPIES[name](x, other)
        y.tolist()
        if y.requires_grad:
            y.sum().backward()
        with pytest.raises(RuntimeError, match=r"log made -inf at \[1\] out of finite"):
            x.to(other).log()
        steep = x.sqrt().to(other)
        with pytest.raises(RuntimeError, match=r"backward of sqrt made inf at \[1\]"):
            steep.sum().backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_fused_ops(create_graph):
    x = ours(np.array([[1e-100, 0.0]]), True)
    w, b = ours(np.array([[1e200, 1.0]]), True), ours(np.array([1.0]), True)
    with autograd.detect_anomaly():
        y = nn.functional.linear(x, w, b)
        assert y.grad_fn.name == "linear"
        loss = (y * 1e200).sum()
        with pytest.raises(RuntimeError, match=r"backward of (linear|matmul) made inf") as e:
            autograd.grad(loss, (x, w, b), create_graph=create_graph)
    line_of(e, "y = nn.functional.linear(x, w, b)")

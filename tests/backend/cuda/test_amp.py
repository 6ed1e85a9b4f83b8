"""Mixed precision on a GPU: its lists of ops, what it takes, and what the host waits for."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import minitorch
from minitorch import amp, backend, nn, optim
from minitorch.data import DataLoader, TensorDataset, digits
from tests.backend.cuda import kernels as kernels  # skips all where there is no g++
from tests.referee import dtype_name, ours
from tests.test_amp import CALLS, functional, mlp, numbers


@pytest.fixture(autouse=True)
def on_sim():
    with minitorch.device("sim"):
        yield


def pytorch_s_list(*names):
    """The ops of these lists of PyTorch's own tests of autocast on a GPU."""
    path = Path(torch.__file__).parent / "testing/_internal/autocast_test_lists.py"
    first = next(n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef))
    lists = [
        node.value
        for node in ast.walk(first)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", None) in names
    ]
    assert len(lists) == len(names)
    entries = [n for part in lists for n in ast.walk(part) if isinstance(n, ast.Tuple) and n.elts]
    heads = [entry.elts[0] for entry in entries]
    return {head.value for head in heads if isinstance(head, ast.Constant)}


@pytest.mark.parametrize("name", CALLS)
def test_dtypes_on_a_gpu_are_in_pytorch_s_lists(name):
    lower = pytorch_s_list("torch_fp16", "nn_fp16", "methods_fp16")
    wide = pytorch_s_list("torch_fp32", "nn_fp32")
    wide |= {
        "softmax",
        "log_softmax",
        "sum",
        "prod",
        "cumsum",
        "norm",
        "cross_entropy",
        "layer_norm",
    }
    for given in ("float32", "float16"):
        x, y = (ours(numbers(3, 3, seed=i)).to(getattr(minitorch, given)) for i in range(2))
        with amp.autocast("sim"):
            result = CALLS[name](minitorch, functional(minitorch), x, y)
        as_is = "float32" if name == "cat" else given
        expected = "float16" if name in lower else "float32" if name in wide else as_is
        assert dtype_name(result) == expected, given


def test_bfloat16_takes_a_gpu_of_capability_8(monkeypatch):
    gpu = backend.named("sim").gpu
    monkeypatch.setattr(gpu, "capability", lambda: (7, 5))
    with pytest.raises(
        RuntimeError, match=r"of compute capability 7\.5, does not support bfloat16"
    ):
        amp.autocast("sim", minitorch.bfloat16)
    with amp.autocast("sim", minitorch.float16):
        pass


@pytest.mark.parametrize("compiled", [False, True])
def test_the_host_does_not_wait(compiled):
    model = mlp(nn)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scales = amp.GradScaler("sim")
    x, y = ours(numbers(8, 6)), ours(np.arange(8) % 3)

    def step(x, y):
        optimizer.zero_grad()
        with amp.autocast("sim"):
            loss = functional(minitorch).cross_entropy(model(x), y)
        scales.scale(loss).backward()
        scales.step(optimizer)
        scales.update()
        return loss

    run = minitorch.compile(step, fullgraph=True) if compiled else step
    for _ in range(4):
        run(x, y)
    minitorch.sim.clear()
    run(x, y)
    kinds = {launch.kind for launch in minitorch.sim.launches()}
    assert "kernel" in kinds
    assert not kinds & {"sync", "copy D2H"}


# ---------------------------------------------------------------------- training
def epoch_of_digits(device, half):
    """The loss of each step, and the accuracy on the test images."""
    minitorch.manual_seed(0)
    with minitorch.device(device):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    scaler = amp.GradScaler(device, init_scale=2.0**20, growth_interval=5)
    train, test = (TensorDataset(*digits(train=t, device=device).tensors) for t in (True, False))
    losses = []
    for x, y in DataLoader(train, 64, shuffle=True):
        optimizer.zero_grad()
        with amp.autocast(device, half):
            loss = functional(minitorch).cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    x, y = test.tensors
    with minitorch.no_grad(), amp.autocast(device, half):
        return losses, (model(x).argmax(1) == y).float().mean().item(), scaler.get_scale()


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_an_epoch_of_digits_is_the_cpus(half):
    """But for sums in another order, which a rounding to 8 or 11 digits shows."""
    (a, right_a, scale_a), (b, right_b, scale_b) = (
        epoch_of_digits(device, getattr(minitorch, half)) for device in ("cpu", "sim")
    )
    assert scale_a == scale_b
    np.testing.assert_allclose(a, b, rtol=2e-2)
    assert right_a > 0.6
    assert abs(right_a - right_b) < 0.01

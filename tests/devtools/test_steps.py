"""What training steps ask of the device, counted on the simulated GPU.

Those of word2vec: tests/text/word2vec/test_counts.py.
"""

import shutil
from functools import partial

import pytest

import minitorch
from minitorch import cli, nn, optim
from minitorch.backend import named
from minitorch.backend.sim import cost
from minitorch.devtools import static, steps

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

MODELS = {
    "as written": (steps.AsWritten, False, 14),
    "fused layers": (steps.sequential, True, 12),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def mlp(request):
    """(costs of a step, floors of its launches, the most launches allowed)."""
    model, fused, most = request.param
    return cost.counted(steps.mlp_step(model(), "sim")), list(steps.mlp_floors(fused)), most


def test_mlp_launches(mlp):
    costs, _, most = mlp
    assert len(cost.of_kind(costs, *cost.LAUNCHES)) <= most


def test_mlp_never_waits(mlp):
    costs, _, _ = mlp
    assert cost.of_kind(costs, "sync") == []
    assert cost.host_copies(costs) == []
    assert {c.kind for c in costs} == {"kernel", "gemm"}


def test_a_captured_step_is_one_launch_of_the_host():
    """Its graph has the kernels and products of the step, with biases in the products."""
    step = steps.mlp_step(steps.sequential(), "sim")
    replay = steps.captured(step, "sim")
    work = cost.names(replay)
    assert work == cost.names(step)
    after = [name.split(" ")[0].removeprefix("gemm_float32") for name in work]
    products = ["_relu_bias", "_relu_bias", "_bias"], ["_bgradb", ""], ["", ""], [""]
    derivative = "activation_backward_f32"
    forward, last, middle, first = products
    assert after == [
        *(*forward, "cross_entropy_rows_f32", *last),
        *(derivative, *middle, derivative, *first, "adam_f32"),
    ]


def test_without_cublaslt_a_captured_step_has_ten_kernels(monkeypatch):
    """Bias, activations and their derivatives are in our own products."""
    monkeypatch.setattr(named("sim").gpu, "products", None)
    step = steps.mlp_step(steps.sequential(), "sim")
    work = [name.replace("_wide", "") for name in cost.names(steps.captured(step, "sim"))]
    products = ["matmul_linear_f32"] * 3, ["matmul_backward_f32"] * 5
    assert work == [*products[0], "cross_entropy_rows_f32", *products[1], "adam_f32"]


def test_mlp_kernels_move_what_they_must(mlp):
    costs, floors, _ = mlp
    for c, (name, floor) in zip(costs, floors, strict=True):
        assert c.name.startswith(name)
        assert floor <= c.moved <= 1.1 * floor, c


def test_mlp_kernels_are_coalesced(mlp):
    costs, _, _ = mlp
    # Adam takes one parameter after another: a sector more where one ends within a sector.
    assert [c for c in costs if c.excess > (1.001 if c.name == "adam_f32" else 1)] == []


@pytest.mark.parametrize("make", [partial(optim.SGD, lr=0.1), optim.Adagrad, optim.SparseAdam])
@pytest.mark.parametrize(("words", "sorts"), [(1000, 1), (3000, 2 * 2)])
def test_sparse_embedding(make, words, sorts):
    """One launch sorts the rows, or two for eight bits of their numbers."""
    table = nn.Embedding(5000, 8, sparse=True).to("sim")
    scores = nn.Linear(8, 3).to("sim")
    optimizer, dense = make(table.parameters()), optim.SGD(scores.parameters(), lr=0.1)
    text = minitorch.randint(0, 5000, (words,), device="sim")
    classes = minitorch.randint(0, 3, (words,), device="sim")

    def step():
        nn.functional.cross_entropy(scores(table(text)), classes).backward()
        for one in (optimizer, dense):
            one.step()
            one.zero_grad()

    step()
    costs = cost.counted(step)
    assert {c.kind for c in costs} == {"kernel", "gemm"}
    assert sum(c.name.startswith("sort_") for c in costs) == sorts


@pytest.fixture
def no_nvrtc(monkeypatch):
    """Compile nothing."""

    def missing(architectures):
        raise ImportError("NVRTC is not installed")

    monkeypatch.setattr(static, "check_installed", missing)


def test_command(capsys, no_nvrtc):
    assert cli.main(["kernels", "count"]) == 0
    out = capsys.readouterr().out.splitlines()
    totals = [line for line in out if "synchronisations" in line]
    assert [line.split()[0] for line in totals] == ["14", "12", "14", "12", "19", "2", "2"]
    assert all("0 synchronisations, 0 copies" in line for line in totals[:5])
    assert all("1 synchronisations, 1 copies" in line for line in totals[5:])
    assert [line.split()[-2] for line in out if line.startswith("captured")] == ["14", "12", "14"]
    assert out.count("the blocks that an H100 holds at once: NVRTC is not installed") == 10
    assert "PyTorch eager, Adam: 28 launches, 48.7 MB" in out
    assert any(line.startswith("0.30 launches a block, and 0.06 for making") for line in out)
    assert [line.split()[-2:] for line in out if line.startswith("FULL-W2V")] == [["5,600", "14.0"]]


def test_command_refuses_another_step(capsys):
    assert cli.main(["kernels", "count", "cnn"]) == 2
    assert "no step 'cnn': there are mlp, word2vec, sizes" in capsys.readouterr().err

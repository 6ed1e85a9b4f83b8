"""Layer norm and batch norm on the simulated GPU, against the CPU's kernels and PyTorch."""

from functools import partial

import numpy as np
import pytest
import torch

import minitorch
import minitorch.sim
from minitorch import nn
from minitorch.backend import sim
from tests.backend.cuda.test_fused import FLOATS, SIM, kernels, numbers, on_sim

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)


@pytest.fixture(params=[False, True], ids=["fast", "checked"])
def build(request):
    with minitorch.sim.config(checked=request.param):
        yield


# ---------------------------------------------------------------------- layer norm
NORMS = [((4, 6), 1), ((3, 2, 5), 2), ((2, 3, 33), 1), ((3, 700), 1), ((4100, 3), 1), ((0, 3), 1)]
LONG = (3, 20000)  # in parts, with fewer multiprocessors than a GPU has
LIMITS = {"float16": 2e-2, "bfloat16": 0.16, "float32": 2e-4, "float64": 1e-11}


def layer_norm_both_ways(shape, dims, dtype, given=3, shift=0.0):
    """Compare results and gradients with PyTorch's in float64; given: x, weight, bias."""
    g, x = (numbers(shape, dtype, seed) for seed in (0, 1))
    x += (shift * np.linspace(1, 1.001, shape[-1])).astype(dtype)  # parts differ in their means
    arrays = [x, *(numbers(shape[-dims:], dtype, seed) for seed in (2, 3))][:given]
    exact = [torch.tensor(a.astype("float64"), requires_grad=True) for a in arrays]
    expected = torch.nn.functional.layer_norm(exact[0], shape[-dims:], *exact[1:], eps=1e-3)
    expected.backward(torch.tensor(g.astype("float64")))
    got, *saved = SIM["layer_norm"](*map(on_sim, arrays), dims=dims, eps=1e-3)
    np.testing.assert_allclose(got.get(), expected.detach(), rtol=LIMITS[dtype], atol=LIMITS[dtype])
    for n in range(given + 1):  # every gradient alone, and all
        needs = tuple(n in (i, given) for i in range(given))
        grads = SIM["layer_norm_backward"](on_sim(g), *saved, needs=needs, dims=dims, eps=1e-3)
        for mine, theirs, needed in zip(grads, exact, needs, strict=True):
            assert (mine is not None) == needed
            if needed:
                limit = LIMITS[dtype] * (2 if theirs is exact[0] else 1)
                np.testing.assert_allclose(mine.get(), theirs.grad, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "dims"), NORMS)
def test_layer_norm_both_ways(shape, dims, dtype, build):
    layer_norm_both_ways(shape, dims, dtype)


@pytest.mark.parametrize("given", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4, 6), LONG], ids=str)
def test_layer_norm_with_part_of_its_weights(shape, given, build):
    layer_norm_both_ways(shape, 1, "float32", given)


@pytest.mark.parametrize("shape", [(3, 700), LONG], ids=str)
def test_layer_norm_of_numbers_far_from_zero(shape):
    layer_norm_both_ways(shape, 1, "float32", shift=1e4)


@pytest.mark.parametrize(
    ("shape", "given", "forward", "backward"),
    [
        ((8, 16), 1, ["layer_norm"], ["layer_norm_backward"]),
        ((8, 16), 2, ["layer_norm"], ["layer_norm_backward", "layer_norm_sums"]),
        ((8, 16), 3, ["layer_norm"], ["layer_norm_backward", "layer_norm_sums"]),
        (LONG, 1, ["layer_norm"] * 2, ["layer_norm_backward"] * 2),
    ],
)
def test_launches_of_layer_norm(shape, given, forward, backward):
    shapes = (shape, shape[1:], shape[1:])[:given]
    x, *affine = (minitorch.ones(s, device="sim", requires_grad=True) for s in shapes)
    minitorch.sim.clear()
    result = nn.functional.layer_norm(x, shape[1:], *affine)
    assert kernels() == [name + "_f32" for name in forward]
    g = minitorch.ones_like(result)
    minitorch.sim.clear()
    result.backward(g)
    assert kernels() == [name + "_f32" for name in backward]


# ---------------------------------------------------------------------- batch norm
SHAPES = [(5, 3), (40, 17), (3, 2, 7), (900, 3), (2, 3, 400)]  # the last two in parts
TORCH = {"none": lambda x: x, "relu": torch.relu, "gelu": torch.nn.functional.gelu}
TORCH |= {"tanh": torch.tanh, "sigmoid": torch.sigmoid}
TORCH["gelu_tanh"] = partial(torch.nn.functional.gelu, approximate="tanh")


def both_ways(shape, dtype, activation, training, shift=0.0):
    """Result, gradients, running mean and variance of ours on sim, and of PyTorch in float64."""
    x, g = (numbers(shape, "float64", seed) for seed in (0, 1))
    weight, bias = (numbers(shape[1], "float64", seed) for seed in (2, 3))
    arrays = [a.astype(dtype) for a in (x + shift, weight, bias, weight, bias**2)]
    given = [minitorch.tensor(a, device="sim", requires_grad=i < 3) for i, a in enumerate(arrays)]
    theirs = [torch.tensor(a.astype("float64"), requires_grad=i < 3) for i, a in enumerate(arrays)]
    y = nn.functional.batch_norm(
        given[0], *given[3:], *given[1:3], training, 0.3, 1e-3, activation=activation
    )
    z = torch.nn.functional.batch_norm(theirs[0], *theirs[3:], *theirs[1:3], training, 0.3, 1e-3)
    z = TORCH[activation](z)
    y.backward(minitorch.tensor(g.astype(dtype), device="sim"))
    z.backward(torch.tensor(g.astype(dtype).astype("float64")))
    ours = [y, *[t.grad for t in given[:3]], *given[3:]]
    return ours, [z, *[t.grad for t in theirs[:3]], *theirs[3:]]


LIMITS = {"float16": 2e-2, "bfloat16": 0.16, "float32": 1e-4, "float64": 1e-10}


def assert_close(found, limit):
    for mine, theirs in zip(*found, strict=True):
        wanted = theirs.detach().numpy()
        got = mine.detach().cpu().numpy().astype("float64")
        np.testing.assert_allclose(got, wanted, rtol=limit, atol=limit * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_is_pytorch_s(shape, dtype, training, build):
    assert_close(both_ways(shape, dtype, "none", training), LIMITS[dtype])


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("activation", [name for name in TORCH if name != "none"])
def test_the_activation_behind_it(activation, training):
    for shape in ((6, 5), (900, 2)):
        assert_close(both_ways(shape, "float32", activation, training), LIMITS["float32"])


def test_running_statistics_may_lie_apart():
    """Views of one array, every second element of which is another's."""
    x = numbers((9, 3), "float32")
    found = []
    for library, device in ((minitorch, "sim"), (torch, "cpu")):
        both = library.ones(3, 2, device=device)
        mean, var = both[:, 0], both[:, 1]
        weights = library.ones(3, device=device), library.zeros(3, device=device)
        given = library.tensor(x, device=device)
        library.nn.functional.batch_norm(given, mean, var, *weights, True, 0.3)
        found.append(both.tolist())
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("shape", [(30, 3), (900, 3)], ids=["one launch", "in parts"])
def test_a_large_mean_is_not_lost(shape):
    assert_close(both_ways(shape, "float32", "none", True, 1024.0), 2e-3)


def test_launches():
    few, many = minitorch.ones(64, 32, device="sim"), minitorch.ones(4000, 8, device="sim")
    for x, launches in ((few, 1), (many, 2)):
        layer = nn.Sequential(nn.BatchNorm1d(x.shape[1]), nn.ReLU()).to("sim")
        x = (x * 1).requires_grad_()
        minitorch.sim.clear()
        y = layer(x)
        assert kernels() == ["batch_norm_f32"] * launches
        assert layer[0].num_batches_tracked.item() == 1
        g = minitorch.ones(*y.shape, device="sim")
        minitorch.sim.clear()
        y.backward(g)
        assert kernels() == ["batch_norm_backward_f32"] * launches
    layer.eval()
    minitorch.sim.clear()
    layer(many)
    assert kernels() == ["batch_norm_f32"]


@pytest.mark.parametrize("activation", [None, nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("shape", [(40, 6), (900, 3), (4, 3, 50)])
@pytest.mark.parametrize("device", ["cpu", "sim"])
def test_dropout_behind_it(device, shape, activation):
    """The same numbers as by calls of their own, to rounding, and one launch each way."""
    layers = [nn.BatchNorm1d(shape[1]), *([activation()] if activation else []), nn.Dropout(0.4)]
    model = nn.Sequential(*layers).to(device)
    found, graphs = [], []
    for apart in (False, True):
        x = minitorch.tensor(numbers(shape, "float32"), device=device, requires_grad=True)
        minitorch.manual_seed(7)
        minitorch.sim.clear()
        y = x
        for part in layers if apart else [model]:
            y = part(y)
        (y * y).sum().backward()
        names = {r.name for r in minitorch.sim.launches()}
        assert ("dropout_f32" in names) == (apart and device == "sim")
        found.append([y, x.grad, *[p.grad for p in model.parameters()]])
        graphs.append(shown(y.grad_fn))
        model.zero_grad()
    assert graphs[0] == graphs[1] and len(graphs[0]) == len(layers)
    assert (found[0][0] == 0).sum().item() == (found[1][0] == 0).sum().item() > 0
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine.tolist(), theirs.tolist(), rtol=2e-5, atol=2e-5)


def shown(node):
    """The names of a chain of nodes."""
    below = node.next_functions[0][0] if node.next_functions else None
    return [node.name, *(shown(below) if below is not None and below.op is not None else [])]


def test_a_large_array_is_dropped_by_a_launch_of_its_own():
    model = nn.Sequential(nn.BatchNorm1d(64), nn.Dropout(0.5)).to("sim")
    minitorch.sim.clear()
    model(minitorch.ones(1 << 13, 64, device="sim"))
    assert kernels()[-1] == "dropout_f32"


def test_a_compiled_step_drops_other_elements_each_time():
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)).to("sim")

    def step(x):
        return model(x)

    x = minitorch.tensor(numbers((20, 3), "float32"), device="sim")
    found = []
    for run in (step, minitorch.compile(step)):
        minitorch.manual_seed(3)
        found.append([(run(x) == 0).tolist() for _ in range(4)])
    assert found[0] == found[1] and found[0][2] != found[0][3]


def test_the_average_of_all_batches_reads_nothing_on_the_host():
    layer = nn.BatchNorm1d(3, momentum=None, device="sim")
    theirs = torch.nn.BatchNorm1d(3, momentum=None)
    for seed in range(3):
        x = numbers((6, 3), "float32", seed)
        given = minitorch.tensor(x, device="sim")
        minitorch.sim.clear()
        layer(given)
        assert all(r.kind == "kernel" for r in minitorch.sim.launches())
        theirs(torch.tensor(x))
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(layer.state_dict()[name].cpu().numpy(), value.numpy(), rtol=1e-5)

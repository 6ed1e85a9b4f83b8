import numpy as np
import pytest
import torch
from scipy import stats

import minitorch
from minitorch.nn import init

SHAPE = (60, 80)
UNIFORM = {
    "uniform_": lambda i, w: i.uniform_(w, -0.2, 0.7),
    "xavier_uniform_": lambda i, w: i.xavier_uniform_(w, gain=2.0),
    "kaiming_uniform_": lambda i, w: i.kaiming_uniform_(w, a=5**0.5),
    "kaiming_uniform_ out": lambda i, w: i.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"),
}
NORMAL = {
    "normal_": lambda i, w: i.normal_(w, 0.3, 2.0),
    "xavier_normal_": lambda i, w: i.xavier_normal_(w, gain=2.0),
    "kaiming_normal_": lambda i, w: i.kaiming_normal_(w, nonlinearity="tanh"),
    "kaiming_normal_ out": lambda i, w: i.kaiming_normal_(w, 0.1, "fan_out"),
    "trunc_normal_": lambda i, w: i.trunc_normal_(w, 0.1, 0.5, -0.4, 1.0),
}


def draws(fill, device_independent=minitorch):
    if device_independent is minitorch:
        weight = minitorch.empty(SHAPE, requires_grad=True)
        assert fill(init, weight) is weight
        return weight.detach().cpu().numpy().ravel()
    weight = torch.empty(SHAPE)
    return fill(torch.nn.init, weight).numpy().ravel()


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_bounds_are_pytorchs(name):
    ours, theirs = draws(UNIFORM[name]), draws(UNIFORM[name], torch)
    np.testing.assert_allclose(ours.min(), theirs.min(), atol=np.ptp(theirs) * 0.01)
    np.testing.assert_allclose(ours.max(), theirs.max(), atol=np.ptp(theirs) * 0.01)
    scaled = (ours - ours.min()) / np.ptp(ours)
    assert stats.kstest(scaled, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", NORMAL)
def test_normal_distributions_are_pytorchs(name):
    torch.manual_seed(0)
    ours, theirs = draws(NORMAL[name]), draws(NORMAL[name], torch)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    if name == "trunc_normal_":
        assert ours.min() >= -0.4
        assert ours.max() <= 1.0


def test_constants():
    w = minitorch.empty(2, 3, requires_grad=True)
    assert init.constant_(w, 0.5).tolist() == [[0.5] * 3] * 2
    assert init.ones_(w).tolist() == [[1] * 3] * 2
    assert init.zeros_(w).tolist() == [[0] * 3] * 2
    assert init.eye_(w).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert w.is_leaf
    assert w.requires_grad


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "selu"])
def test_gains(name):
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


def test_leaky_gain():
    for slope in (None, 0.3, 1):
        expected = torch.nn.init.calculate_gain("leaky_relu", slope)
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(expected)


def test_fans_of_kernels():
    ours = init.xavier_uniform_(minitorch.empty(20, 30, 3, 2)).abs().max().item()
    assert ours == pytest.approx((6 / (50 * 6)) ** 0.5, rel=0.01)


def test_generator_repeats():
    first = init.normal_(minitorch.empty(4), generator=minitorch.Generator().manual_seed(3))
    again = init.normal_(minitorch.empty(4), generator=minitorch.Generator().manual_seed(3))
    assert first.tolist() == again.tolist()


def test_bad_arguments():
    w = minitorch.empty(3)
    for call, message in [
        (lambda: init.calculate_gain("swish"), "Unsupported nonlinearity swish"),
        (lambda: init.kaiming_uniform_(w), "fewer than 2 dimensions"),
        (lambda: init.eye_(w), "2-D"),
        (lambda: init.kaiming_normal_(minitorch.empty(2, 2), mode="both"), "Mode both"),
        (lambda: init.trunc_normal_(w, a=1.0, b=0.0), "a < b"),
        (lambda: init.trunc_normal_(w, a=5.0, b=6.0), "within two std"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()

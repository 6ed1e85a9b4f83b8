"""Points of the plane: their formulas, noise, seeds."""

import numpy as np
import pytest

import minitorch
from minitorch.data import PLANAR, planar
from tests.referee import array

CLASSES = ["circle", "xor", "gauss", "spiral"]


def drawn(name, n=500, **options):
    x, y = planar(name, n, **options)[:]
    assert x.dtype is y.dtype is minitorch.float32
    assert (tuple(x.shape), tuple(y.shape)) == ((n, 2), (n,))
    return array(x).astype(np.float64), array(y).astype(np.float64)


def on_arm(x, turned):
    """How far points are from the arm: at distance r its angle is 1.75 turns times r / 5."""
    far = np.hypot(*x.T)
    angle = 2 * np.pi * 1.75 * far / 5 + turned
    return np.hypot(x[:, 0] - far * np.sin(angle), x[:, 1] - far * np.cos(angle))


def hills(x):
    """Six cones, by turns up and down."""
    total = np.zeros(len(x))
    signs = {(-4, 1): 1, (0, 1): -1, (4, 1): 1, (-4, -1): -1, (0, -1): 1, (4, -1): -1}
    for (middle, side), sign in signs.items():
        far = np.hypot(x[:, 0] - middle, x[:, 1] - 2.5 * side)
        total += sign * np.clip(1 - far / 2, 0, None)
    return total


def test_the_names():
    assert list(PLANAR) == [*CLASSES, "reg-plane", "reg-gauss"]
    assert [name for name, source in PLANAR.items() if source.classes] == CLASSES


def test_circle():
    x, y = drawn("circle")
    far = np.hypot(*x.T)
    assert (y == np.where(far < 2.5, 1, -1)).all()
    assert far.max() <= 5 and not ((far > 2.5) & (far < 3.5)).any()


def test_xor():
    x, y = drawn("xor")
    assert (y == np.sign(x[:, 0] * x[:, 1])).all()
    assert (np.abs(x) >= 0.3).all() and (np.abs(x) <= 5.3).all()
    assert 200 < (y > 0).sum() < 300


@pytest.mark.parametrize(("noise", "variance"), [(0.0, 0.5), (0.5, 4.0)])
def test_gauss(noise, variance):
    x, y = drawn("gauss", 4000, noise=noise)
    for value in (1, -1):
        cloud = x[y == value]
        assert len(cloud) == 2000
        np.testing.assert_allclose(cloud.mean(0), 2 * value, atol=4 * (variance / 2000) ** 0.5)
        np.testing.assert_allclose(cloud.var(0), variance, rtol=0.15)


def test_spiral():
    x, y = drawn("spiral")
    assert on_arm(x[y > 0], 0).max() < 1e-4
    assert on_arm(x[y < 0], np.pi).max() < 1e-4
    assert (y > 0).sum() == 250
    noisy, _ = drawn("spiral", noise=0.3)
    assert 0.1 < np.abs(noisy - x).max() <= 0.3 + 1e-6


def test_plane_and_hills():
    x, y = drawn("reg-plane")
    np.testing.assert_allclose(y, x.sum(1) / 10, atol=1e-6)
    x, y = drawn("reg-gauss", 2000)
    np.testing.assert_allclose(y, hills(x), atol=1e-5)
    assert y.max() > 0.9 and y.min() < -0.9


@pytest.mark.parametrize("name", PLANAR)
def test_noise_moves_where_the_value_is_read(name):
    (x, y), (noisy_x, noisy_y) = drawn(name), drawn(name, noise=0.3)
    if name in ("gauss", "spiral"):
        assert np.abs(noisy_x - x).max() > 0.1
        return
    np.testing.assert_array_equal(noisy_x, x)
    changed = (np.abs(noisy_y - y) > 1e-6).mean()
    assert 0.02 < changed < (0.5 if name in CLASSES else 1.01)


@pytest.mark.parametrize("name", PLANAR)
def test_equal_seeds_give_equal_points_in_random_order(name):
    (x, y), (again_x, again_y), (other_x, _) = drawn(name), drawn(name), drawn(name, seed=1)
    np.testing.assert_array_equal(x, again_x)
    np.testing.assert_array_equal(y, again_y)
    assert np.abs(x - other_x).max() > 0.1
    before = minitorch.get_rng_state()
    drawn(name)
    assert before.tolist() == minitorch.get_rng_state().tolist()
    assert 0.2 < (y[:250] > 0).mean() < 0.8  # not class after class


def test_the_device(device):
    x, y = planar("circle", 10)[:]
    assert x.device.type == y.device.type == device.partition(":")[0]
    there = planar("circle", 10, device="cpu")[:]
    assert there[0].device.type == there[1].device.type == "cpu"
    np.testing.assert_array_equal(array(x), array(there[0]))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", PLANAR)
def test_few_points(name, n):
    x, y = drawn(name, n, noise=0.1)
    assert np.isfinite(x).all() and np.isfinite(y).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "ring"}, "name: expected one of circle, xor, .*, got 'ring'"),
        ({"n": 0}, "n: expected 1 or more, got 0"),
        ({"noise": 1.5}, "noise: expected a number from 0 to 1, got 1.5"),
        ({"noise": float("nan")}, "noise: expected a number from 0 to 1, got nan"),
    ],
)
def test_bad_input(options, said):
    with pytest.raises(ValueError, match=f"^planar: {said}$"):
        planar(**{"name": "circle", **options})

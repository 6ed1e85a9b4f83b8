"""Pictures of learning: what stands on them."""

import itertools

import numpy as np
import pytest

import minitorch
from minitorch.viz import (
    decision_regions,
    fitted_curve,
    heat_map,
    loss_curves,
    plots,
    trajectories,
)

PNG = b"\x89PNG\r\n\x1a\n"
CORNERS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], plots._save

    def spy(figure, path):
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "_save", spy)
    return figures


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def assert_nothing_overlaps(figure):
    """The title, the legend and what belongs to the axes lie apart."""
    figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    boxes += [x.get_window_extent() for x in figure.legends]
    if figure.get_suptitle():
        boxes.append(figure._suptitle.get_window_extent())
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1


def test_decision_regions_of_two_classes(tmp_path, drawn):
    seen = []

    def predict(x):
        seen.append(x)
        return (3 * (x[:, :1] - 0.5)).sigmoid()

    points = minitorch.tensor(CORNERS)
    path = decision_regions(
        predict, points, [0, 0, 1, 1], tmp_path / "d.png", classes=["no", "yes"], title="x₁"
    )
    assert path.read_bytes().startswith(PNG)
    (figure,), (grid,) = drawn, seen
    assert grid.dtype is points.dtype and grid.device == points.device
    assert tuple(grid.shape) == (150 * 150, 2)
    assert legend(figure) == ["no", "yes"]
    plane, bar = figure.axes
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("x₁", "x₂")
    assert bar.get_ylabel() == "probability of yes"
    dots = [c for c in plane.collections if len(c.get_offsets()) == 2]
    np.testing.assert_array_equal(dots[1].get_offsets(), CORNERS[2:])
    border = plane.collections[1].get_paths()[0].vertices  # where the probability is a half
    np.testing.assert_allclose(border[:, 0], 0.5, atol=0.01)
    assert_nothing_overlaps(figure)


def test_decision_regions_of_three_classes(tmp_path, drawn):
    points = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    scores = minitorch.tensor(points.T)  # the nearest of three directions
    decision_regions(lambda x: x @ scores, points, [0, 1, 2], tmp_path / "d.png")
    (figure,) = drawn
    assert len(figure.axes) == 1
    assert legend(figure) == ["class 0", "class 1", "class 2"]
    assert_nothing_overlaps(figure)


def test_heat_map(tmp_path, drawn):
    seen = []

    def predict(x):
        seen.append(x)
        return x[:, :1] / 3

    points, values = minitorch.tensor(CORNERS), minitorch.tensor([-1.0, 0.0, 0.5, 1.0])
    parts = {"training": (points, values), "test": (points + 2, values)}
    path = heat_map(predict, parts, tmp_path / "h.png", title="one third of x₁", resolution=20)
    assert path.read_bytes().startswith(PNG)
    (figure,), (grid,) = drawn, seen
    assert grid.dtype is points.dtype and grid.device == points.device
    assert grid.tolist()[0] == pytest.approx([-0.3, -0.3])  # a tenth more than all the points
    assert grid.tolist()[-1] == pytest.approx([3.3, 3.3])
    plane, bar = figure.axes
    mesh, *dots = plane.collections
    np.testing.assert_allclose(mesh.get_array(), grid[:, 0].cpu().numpy().reshape(20, 20) / 3)
    assert mesh.get_clim() == (-1, 1)
    for some, place in zip(dots, (points, points + 2), strict=True):
        np.testing.assert_array_equal(some.get_offsets(), place.cpu().numpy())
        np.testing.assert_allclose(some.get_facecolor(), mesh.to_rgba(values.tolist()))
    assert [some.get_edgecolor()[0, 0] for some in dots] == [1, 0]  # a white rim, a black one
    assert legend(figure) == ["training", "test"]
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("x₁", "x₂")
    assert bar.get_ylabel() == "output, and values of the examples"
    assert_nothing_overlaps(figure)


def test_fitted_curve(tmp_path, drawn):
    x = minitorch.linspace(-3, 3, 20).unsqueeze(1)
    curves = {"width 4": (x, x.sin()), "width 32": (x, x.cos())}
    fitted_curve(x, x.sin(), curves, tmp_path / "f.png", axes=("time in s", "height in m"))
    (figure,) = drawn
    (ax,) = figure.axes
    assert legend(figure) == ["examples", "width 4", "width 32"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time in s", "height in m")
    ys = x.cos().reshape(-1).cpu().numpy()
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), ys)
    assert_nothing_overlaps(figure)


def test_trajectories(tmp_path, drawn):
    t = np.linspace(1, 0, 30)[:, None]
    paths = {"SGD": t * [-7, 2], "Adam": minitorch.tensor(t[:10] * [-7, 1])}
    for name in ("Momentum", "AdaGrad", "RMSProp"):
        paths[name] = t**2 * [-7, 2]
    seen = []

    def surface(x, y):
        seen.append((x.shape, x.dtype))
        return x * x / 20 + y * y

    trajectories(surface, paths, tmp_path / "t.png", minimum=(0, 0), title="five on one surface")
    (figure,) = drawn
    assert seen == [((160, 160), minitorch.float64)]
    steps = {"SGD": 29, "Adam": 9, "Momentum": 29, "AdaGrad": 29, "RMSProp": 29}
    assert legend(figure) == [*(f"{k} ({n})" for k, n in steps.items()), "start", "minimum"]
    ax, bar = figure.axes
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), t * [-7, 2])
    assert bar.get_ylabel() == "height of the contour lines"
    for contour in ax.collections[0].get_paths():  # each is a line of one height
        if len(contour.vertices):
            x, y = contour.vertices.T
            assert np.ptp(x * x / 20 + y * y) < 0.01
    assert_nothing_overlaps(figure)


def test_losses_may_be_tensors(tmp_path, drawn):
    whole = minitorch.tensor([3.0, 2.0, 1.5])
    loss_curves({"a": whole, "b": list(whole), "c": whole.requires_grad_()}, tmp_path / "l.png")
    for line in drawn[0].axes[0].lines:
        assert line.get_xydata().tolist() == [[0, 3], [1, 2], [2, 1.5]]
    with pytest.raises(TypeError, match=r"loss_curves: a: expected numbers .* got \[None\]"):
        loss_curves({"a": [None]}, tmp_path / "l.png")


def test_loss_curves(tmp_path, drawn):
    losses = {"SGD": [3.0, 2.0, 1.5], "Adam": [3.0, 0.1]}
    loss_curves(losses, tmp_path / "l.png", title="losses")
    loss_curves({"SGD": [1.0, 0.0]}, tmp_path / "m.png")
    first, _ = drawn
    assert legend(first) == ["SGD", "Adam"]
    (ax,) = first.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")
    assert ax.lines[0].get_xydata().tolist() == [[0, 3], [1, 2], [2, 1.5]]
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["log", "linear"]
    assert_nothing_overlaps(first)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda p: decision_regions(None, np.ones((2, 3)), [0, 1], p),
            r"points \(N, 2\) and labels \(N,\), got \(2, 3\)",
        ),
        (
            lambda p: decision_regions(lambda x: x[:3, 0], np.array(CORNERS), [0, 1, 1, 0], p),
            r"predict gave shape \(3,\) for 22500 points",
        ),
        (
            lambda p: decision_regions(
                lambda x: x[:, 0], np.array(CORNERS), [0, 1, 1, 0], p, classes=["a"]
            ),
            "1 names for 2 classes",
        ),
        (lambda p: heat_map(None, {}, p), "no example"),
        (
            lambda p: heat_map(None, {"training": (np.array(CORNERS), np.ones(3))}, p),
            r"training: expected points \(N, 2\) and values \(N,\), got \(4, 2\) and \(3,\)",
        ),
        (
            lambda p: heat_map(lambda x: x, {"training": (np.array(CORNERS), np.ones(4))}, p),
            r"predict gave shape \(14400, 2\) for 14400 points",
        ),
        (lambda p: fitted_curve([1, 2], [1], {}, p), "examples: 2 x and 1 y"),
        (lambda p: fitted_curve([1], [1], {"w": ([1], [1, 2])}, p), "w: 1 x and 2 y"),
        (lambda p: trajectories(None, {}, p), "no path"),
        (lambda p: trajectories(None, {"SGD": [1, 2]}, p), r"SGD: expected places .* got \(2,\)"),
        (lambda p: loss_curves({}, p), "at least one loss"),
        (
            lambda p: trajectories(lambda x, y: x.sum(), {"SGD": [[1, 2]]}, p),
            r"surface gave shape \(\) for x and y",
        ),
        (lambda p: loss_curves({"SGD": []}, p), "at least one loss"),
        (lambda p: loss_curves({"SGD": itertools.repeat(1.0)}, p), "at most 1,000,000 points"),
        (lambda p: fitted_curve(range(10**9), range(10**9), {}, p), "at most 1,000,000 points"),
        (lambda p: fitted_curve(range(10**30), range(10**30), {}, p), "out of range"),
        (
            lambda p: decision_regions(lambda x: x[:, 0], np.array(CORNERS), [0, 1, 10**9, 0], p),
            r"labels from 0 to 1000000000, predict tells classes 0 to 1",
        ),
        (
            lambda p: decision_regions(None, np.array(CORNERS), [0, 1, 1, 0], p, resolution=10**6),
            "resolution: expected an integer from 2 to 2000",
        ),
        (
            lambda p: trajectories(None, {"SGD": [[1, 2]]}, p, levels=10**7),
            "levels: expected an integer from 1 to 1000",
        ),
    ],
)
def test_bad_input(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []

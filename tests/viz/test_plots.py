"""Plots: what stands on them, and the files they leave."""

import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

import minitorch
from minitorch.viz import (
    decision_regions,
    fitted_curve,
    heat_map,
    image_grid,
    loss_curves,
    plots,
    training_curves,
    trajectories,
    word_map,
)

PNG = b"\x89PNG\r\n\x1a\n"
HISTORY = [
    {"epoch": e, "loss": 1 / e, "accuracy": 0.8, "val_loss": 1.5 / e, "val_accuracy": v}
    for e, v in ((1, 0.7), (2, 0.9), (3, 0.8))
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], plots._save

    def spy(figure, path):
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "_save", spy)
    return figures


def is_png_alone(path):
    return path.read_bytes().startswith(PNG) and [p.name for p in path.parent.iterdir()] == [
        path.name
    ]


def test_training_curves(tmp_path, drawn):
    path = training_curves(HISTORY, tmp_path / "new" / "c.png", title="run", test_accuracy=0.85)
    assert is_png_alone(path)
    loss, accuracy = drawn[0].axes
    lines = {line.get_label(): line for line in loss.lines}
    assert lines["training"].get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert lines["validation"].get_ydata().tolist() == [1.5, 0.75, 0.5]
    texts = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert texts == ["training", "validation", "best: epoch 2", "test 0.8500"]
    assert drawn[0].get_suptitle() == "run"


def test_training_curves_without_validation(tmp_path, drawn):
    training_curves([{"epoch": 1, "loss": 2.0, "accuracy": 0.5}], tmp_path / "c.png")
    assert [len(ax.lines) for ax in drawn[0].axes] == [1, 1]


def test_training_curves_of_a_regression_are_those_of_its_loss(tmp_path, drawn):
    training_curves([{"epoch": 1, "loss": 2.0, "val_loss": 1.0}], tmp_path / "c.png")
    (ax,) = drawn[0].axes
    assert (ax.get_ylabel(), len(ax.lines)) == ("loss", 2)


def test_principal_components_are_pca():
    points = np.random.default_rng(0).normal(size=(20, 7))
    plane, share = plots.principal_components(points)
    pca = PCA(2).fit(points / np.linalg.norm(points, axis=1, keepdims=True))
    theirs = pca.transform(points / np.linalg.norm(points, axis=1, keepdims=True))
    np.testing.assert_allclose(np.abs(plane), np.abs(theirs), atol=1e-12)
    np.testing.assert_allclose(share, pca.explained_variance_ratio_, atol=1e-12)


def test_word_map_labels_every_word_without_overlap(tmp_path, drawn):
    words = [f"word{i}" for i in range(24)]
    vectors = minitorch.tensor(np.random.default_rng(1).normal(size=(24, 10)))
    groups = ["a", "b"] * 12
    assert is_png_alone(word_map(words, vectors, tmp_path / "m.png", groups=groups))
    (ax,) = drawn[0].axes
    assert [text.get_text() for text in ax.texts] == words
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    boxes = [text.get_window_extent() for text in ax.texts]
    clashes = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert clashes == 0


def test_image_grid_marks_what_is_wrong(tmp_path, drawn):
    images = minitorch.zeros(3, 4, 4)
    path = image_grid(images, [0, 1, 1], [0, 1, 0], ["cat", "dog"], tmp_path / "g.png", columns=2)
    assert is_png_alone(path)
    titles = [ax.title for ax in drawn[0].axes]
    assert [title.get_text() for title in titles] == ["cat", "dog", "cat\n(dog)", ""]
    assert [title.get_color() for title in titles[:3]] == ["black", "black", "#c1121f"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: training_curves([], path), "history is empty"),
        (lambda path: word_map(["a", "b"], np.ones((2, 2)), path), "three words"),
        (lambda path: word_map(list("abc"), np.ones((2, 2)), path), r"3 words .* \(2, 2\)"),
        (lambda path: word_map(list("abc"), np.eye(3), path, groups=["x"]), "3 words and 1 groups"),
        (lambda path: image_grid(np.ones((2, 2, 2)), [1], [1, 1], "ab", path), "2 images, 1 label"),
        (lambda path: image_grid(np.ones((0, 2, 2)), [], [], "ab", path), "0 images"),
        (
            lambda path: image_grid(np.ones((1, 2, 2)), [0], [0], "ab", path, columns=10**5),
            "columns: expected an integer from 1 to 400",
        ),
        (
            lambda path: image_grid(np.ones((9000, 1, 1)), [0] * 9000, [0] * 9000, "ab", path),
            "pixels: expected fewer than 65,536 on a side",
        ),
        (lambda path: word_map(list("abc"), np.full((3, 2), np.nan), path), "NaN or infinity"),
    ],
)
def test_bad_input(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install .*\[viz\]"):
        training_curves(HISTORY, tmp_path / "c.png")


STARTS = {
    "c.png": PNG,
    "C.PNG": PNG,
    "c": PNG,
    "v1.2/c": PNG,
    "c.pdf": b"%PDF-",
    "c.Pdf": b"%PDF-",
    "c.svg": b"<?xml",
    "c.jpg": b"\xff\xd8\xff",
}
POINTS = np.arange(6.0).reshape(3, 2)
PLOTS = {
    "training_curves": lambda path: training_curves(HISTORY, path),
    "word_map": lambda path: word_map(list("abc"), np.eye(3), path),
    "image_grid": lambda path: image_grid(np.ones((1, 2, 2)), [0], [0], "ab", path, columns=1),
    "decision_regions": lambda path: decision_regions(
        lambda x: x[:, 0] / 10, POINTS, [0, 1, 1], path, resolution=5
    ),
    "heat_map": lambda path: heat_map(
        lambda x: x[:, 0] / 10, {"points": (POINTS, POINTS[:, 0])}, path, resolution=5
    ),
    "fitted_curve": lambda path: fitted_curve([1, 2], [1, 2], {"f": ([1, 2], [1, 2])}, path),
    "trajectories": lambda path: trajectories(lambda x, y: x + y, {"SGD": POINTS}, path),
    "loss_curves": lambda path: loss_curves({"SGD": [2.0, 1.0]}, path),
}


@pytest.mark.parametrize("name", STARTS)
def test_the_suffix_is_the_format(tmp_path, name):
    path = training_curves(HISTORY, tmp_path / name)
    assert path == tmp_path / name
    assert path.read_bytes().startswith(STARTS[name])


@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_obeys_the_suffix(tmp_path, plot):
    assert PLOTS[plot](tmp_path / "c.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(ValueError, match=r"path: expected a name in .*\.png.*, got c\.xyz"):
        PLOTS[plot](tmp_path / "c.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["c.svg"]


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def broken(self, path, format):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        training_curves(HISTORY, tmp_path / "c.png")
    assert list(tmp_path.iterdir()) == []

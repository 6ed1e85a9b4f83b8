"""Plots, drawn with matplotlib (the extra `viz`).

The suffix of a path is the format of its file: .png, .pdf, .svg and the others of matplotlib; PNG
where there is none. Each plot returns its path, and raises ValueError for another suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minitorch.backend.extras import install_hint
from minitorch.core.tensor import Tensor
from minitorch.files import replacing
from minitorch.operands import integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["image_grid", "training_curves", "word_map"]

DPI = 120
LARGEST = 1 << 16  # pixels of a side of a picture
MOST = 1_000_000  # points in a plot
TRAIN, VALIDATION, TEST = "#1f77b4", "#d95f02", "#2a9d4a"
# Where a label is tried around its point: offset in points, and alignment.
_SPOTS = [
    (4, 0, "left", "center"),
    (-4, 0, "right", "center"),
    (0, 4, "center", "bottom"),
    (0, -4, "center", "top"),
    (4, 5, "left", "bottom"),
    (-4, 5, "right", "bottom"),
    (4, -5, "left", "top"),
    (-4, -5, "right", "top"),
]


def training_curves(
    history: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    title: str = "",
    test_accuracy: float | None = None,
) -> Path:
    """Draw loss and accuracy against epochs, side by side; return the path.

    Each row of `history` has `epoch` and `loss`, and may have `accuracy`, `val_loss` and
    `val_accuracy` (fractions of one); without accuracies the loss stands alone. The epoch of the
    best validation accuracy is marked.
    Raises ValueError for an empty history.
    """
    if not history:
        raise ValueError("training_curves: the history is empty")
    seen = {key.removeprefix("val_") for row in history for key in row}
    classified = "accuracy" in seen or test_accuracy is not None
    keys = ["loss", "accuracy"] if classified else ["loss"]
    figure = _figure(4.75 * len(keys), 3.8, title)
    axes = figure.subplots(1, len(keys), squeeze=False)[0]
    for ax, key in zip(axes, keys):
        _curves(ax, history, key)
    scored = [row for row in history if "val_accuracy" in row]
    if scored:
        best = max(scored, key=lambda row: row["val_accuracy"])
        label = f"best: epoch {best['epoch']}"
        axes[1].plot(best["epoch"], best["val_accuracy"], "o", color=VALIDATION, label=label)
    if test_accuracy is not None:
        label = f"test {test_accuracy:.4f}"
        axes[1].axhline(test_accuracy, color=TEST, ls="--", lw=1.2, label=label)
    for ax in axes:
        ax.legend(frameon=False)
    return _save(figure, path)


def word_map(
    words: Sequence[str],
    vectors: Tensor | Any,
    path: str | Path,
    *,
    groups: Sequence[str] | None = None,
    title: str = "",
) -> Path:
    """Draw words at the first two principal components of their unit vectors; return the path.

    `vectors` has shape (len(words), D). `groups` names a group for each word: a colour each.
    Raises ValueError for fewer than three words, or where the lengths do not agree.
    """
    points = _array(vectors)
    if points.ndim != 2 or len(points) != len(words) or len(words) < 3:
        raise ValueError(
            f"word_map: {len(words)} words and vectors of shape {points.shape}; "
            "expected (words, dimensions) and at least three words"
        )
    groups = list(groups) if groups is not None else [""] * len(words)
    if len(groups) != len(words):
        raise ValueError(f"word_map: {len(words)} words and {len(groups)} groups")
    plane, share = principal_components(points)
    figure, ax = _axes(9.5, 7.5, title)
    names = list(dict.fromkeys(groups))
    colours = dict(zip(names, _palette(len(names))))
    for name in names:
        member = [i for i, group in enumerate(groups) if group == name]
        ax.scatter(
            plane[member, 0], plane[member, 1], s=14, color=colours[name], label=name or None
        )
    ax.margins(0.08)
    ax.set(
        xlabel=f"first principal component ({share[0]:.0%} of the variance)",
        ylabel=f"second principal component ({share[1]:.0%})",
    )
    _label_points(figure, ax, words, plane, [colours[group] for group in groups])
    if len(names) > 1:
        columns = min(len(names), 6)
        ax.legend(frameon=False, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _save(figure, path)


def image_grid(
    images: Tensor | Any,
    labels: Tensor | Sequence[int],
    predictions: Tensor | Sequence[int],
    classes: Sequence[str],
    path: str | Path,
    *,
    columns: int = 8,
    title: str = "",
) -> Path:
    """Draw images (N, H, W) with what a model says they are; return the path.

    A wrong prediction is red, with the true class in brackets.
    Raises ValueError where the lengths do not agree or there is no image.
    """
    columns = _bounded("columns", columns, 1, 400)
    pictures = _array(images)
    truth, said = (np.asarray(_array(x)).tolist() for x in (labels, predictions))
    if not len(pictures) == len(truth) == len(said) > 0:
        raise ValueError(
            f"image_grid: {len(pictures)} images, {len(truth)} labels, {len(said)} predictions"
        )
    rows = -(-len(pictures) // columns)
    figure = _figure(1.25 * columns, 1.5 * rows + 0.3, title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, picture, true, guess in zip(axes, pictures, truth, said):
        ax.imshow(picture, cmap="gray_r", interpolation="nearest")
        right = true == guess
        caption = classes[guess] if right else f"{classes[guess]}\n({classes[true]})"
        ax.set_title(caption, fontsize=8, color="black" if right else "#c1121f", pad=3)
    return _save(figure, path)


def principal_components(
    points: np.ndarray[Any, Any], count: int = 2
) -> tuple[np.ndarray[Any, Any], list[float]]:
    """Project the unit vectors of `points` (N, D) on their first `count` principal components.

    Returns the coordinates (N, count), 0 past the D-th, and the shares of the variance. Signs are
    fixed by making the largest weight of each component positive. Source: PCA by SVD of the
    centred rows.
    """
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise ValueError("vectors: NaN or infinity among them")
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.where(norms > 0, norms, 1)
    centred = unit - unit.mean(0)
    _, s, axes = np.linalg.svd(centred, full_matrices=False)
    axes = (
        axes[:count]
        * np.sign(axes[range(len(axes[:count])), np.abs(axes[:count]).argmax(1)])[:, None]
    )
    variance = s**2 / max(float((s**2).sum()), 1e-30)
    absent = max(count - len(axes), 0)
    coordinates = np.pad(centred @ axes.T, ((0, 0), (0, absent)))
    return coordinates, [*variance[:count].tolist(), *[0.0] * absent]


def _array(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().to("cpu").numpy()
    if isinstance(x, Sequence):
        _require_few(len(x))
    return np.asarray(x)


def _require_few(points: int) -> None:
    if points > MOST:
        raise ValueError(f"expected at most {MOST:,} points, got more: draw every n-th of them")


def _bounded(what: str, value: Any, least: int, most: int) -> int:
    """An option as an integer in its bounds. Raises ValueError for others."""
    number = integer(value)
    if number is None or not least <= number <= most:
        raise ValueError(f"{what}: expected an integer from {least} to {most}, got {value!r}")
    return number


def _figure(width: float, height: float, title: str) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"plots need matplotlib: {install_hint('viz')}") from error
    if max(width, height) * DPI >= LARGEST:
        raise ValueError(
            f"a picture of {width * DPI:,.0f} by {height * DPI:,.0f} pixels: expected fewer than "
            f"{LARGEST:,} on a side"
        )
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """A figure, and its only axes."""
    figure = _figure(width, height, title)
    return figure, figure.subplots()


def _palette(n: int) -> list[Any]:
    from matplotlib import colormaps

    return list(
        colormaps["tab10"](range(n)) if n <= 10 else colormaps["turbo"](np.linspace(0, 1, n))
    )


def _orange_to_blue() -> Any:
    """The colours of the playground page, light enough in the end for black and white rims."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("values", ["#e07b00", "#f3f4f6", "#1769aa"])


def _curves(ax: Axes, history: Sequence[Mapping[str, float]], key: str) -> None:
    for name, column, colour in (
        ("training", key, TRAIN),
        ("validation", f"val_{key}", VALIDATION),
    ):
        rows = [row for row in history if column in row]
        if rows:
            ax.plot(
                [row["epoch"] for row in rows],
                [row[column] for row in rows],
                color=colour,
                marker=".",
                label=name,
            )
    _label_axes(ax, ("epoch", key))
    ax.locator_params(axis="x", integer=True)


def _label_axes(ax: Axes, axes: tuple[str, str]) -> None:
    """Label the axes, and draw a grid instead of a frame."""
    ax.set(xlabel=axes[0], ylabel=axes[1])
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _label_points(
    figure: Figure,
    ax: Axes,
    words: Sequence[str],
    points: np.ndarray[Any, Any],
    colours: Sequence[Any],
) -> None:
    """Write each word beside its point, at the first spot that is free, else at its right."""
    figure.draw_without_rendering()
    dots = ax.transData.transform(points)
    taken: list[Any] = []
    for i, (word, point, colour) in enumerate(zip(words, points, colours)):
        others = np.delete(dots, i, axis=0)
        text = ax.annotate(
            word, point, (0, 0), textcoords="offset points", fontsize=8, color=colour
        )
        boxes = []
        for dx, dy, ha, va in _SPOTS:
            text.set(position=(dx, dy), ha=ha, va=va)
            box = text.get_window_extent()
            boxes.append(box)
            near = box.padded(3).count_contains(others)
            if not near and not any(box.overlaps(other) for other in taken):
                break
        else:
            dx, dy, ha, va = _SPOTS[0]
            text.set(position=(dx, dy), ha=ha, va=va)
            box = boxes[0]
        taken.append(box)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    format, known = suffix_of(path) or "png", figure.canvas.get_supported_filetypes()
    if format not in known:
        raise ValueError(f"path: expected a name in .{', .'.join(known)}, got {path.name}")
    return write_whole(path, lambda partial: figure.savefig(partial, format=format))


def suffix_of(path: Path) -> str:
    """The format that a file's name gives: the suffix in lower case, without its dot."""
    return path.suffix[1:].lower()


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a file beside `path` and put it there when it is whole; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        write(partial)
    return path

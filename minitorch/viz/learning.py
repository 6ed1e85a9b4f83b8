"""Pictures of learning: decision regions, fitted curves, paths of optimizers, losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minitorch.backend import Device
from minitorch.core.dtypes import float64
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.viz import plots

__all__ = ["decision_regions", "fitted_curve", "heat_map", "loss_curves", "trajectories"]

Array = Any  # of NumPy
_MARKERS = "osD^vP*X"
FINEST = 2000  # points to a side of the plane


def decision_regions(
    predict: Callable[[Tensor], Tensor],
    points: Tensor | Array,
    labels: Tensor | Sequence[int],
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    axes: tuple[str, str] = ("x₁", "x₂"),
    title: str = "",
    resolution: int = 150,
) -> Path:
    """Draw what a classifier says on the plane, with its examples; return the path.

    predict: gives for points (n, 2) of the examples' dtype the probabilities of class 1, (n,) or
    (n, 1), or scores of K classes, (n, K). points (N, 2) and labels (N,) from 0 on are the
    examples. classes: their names. Raises ValueError for shapes that do not fit.
    """
    where, truth = plots._array(points), np.asarray(plots._array(labels)).astype(int)
    _require_points("decision_regions: expected points (N, 2) and labels (N,)", where, truth, 1)
    resolution = plots._bounded("resolution", resolution, 2, FINEST)
    device = points.device if isinstance(points, Tensor) else None
    xs, ys, said = _over_the_plane(predict, where, 0.25, resolution, device)
    if said.shape[:1] != (resolution**2,) or said.ndim > 2:
        raise ValueError(
            f"decision_regions: predict gave shape {said.shape} for {resolution**2} points, "
            "expected (n,), (n, 1) or (n, K)"
        )
    count = 2 if said.ndim == 1 else said.shape[1]
    if not 0 <= truth.min() <= truth.max() < count:
        raise ValueError(
            f"decision_regions: labels from {truth.min()} to {truth.max()}, predict tells classes "
            f"0 to {count - 1}"
        )
    names = list(classes) if classes is not None else [f"class {k}" for k in range(count)]
    if len(names) != count:
        raise ValueError(f"decision_regions: {len(names)} names for {count} classes")
    figure, ax = plots._axes(6.2 if said.ndim == 1 else 5.4, 4.6, title)
    colours = ["#2166ac", "#b2182b"] if said.ndim == 1 else plots._palette(count)
    if said.ndim == 1:
        z = said.reshape(resolution, resolution)
        filled = ax.contourf(xs, ys, z, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.75)
        figure.colorbar(filled, ax=ax, label=f"probability of {names[1]}")
        if z.min() < 0.5 < z.max():
            ax.contour(xs, ys, z, [0.5], colors="black", linewidths=1.2)
    else:
        z = said.argmax(1).reshape(resolution, resolution)
        ax.contourf(xs, ys, z, np.arange(count + 1) - 0.5, colors=colours, alpha=0.35)
    for k in range(count):
        member = where[truth == k]
        ax.scatter(
            member[:, 0],
            member[:, 1],
            s=46,
            color=colours[k],
            edgecolor="white",
            marker=_MARKERS[k % len(_MARKERS)],
            label=names[k],
            zorder=3,
        )
    ax.set(xlabel=axes[0], ylabel=axes[1])
    _legend_below(figure)
    return plots._save(figure, path)


def heat_map(
    predict: Callable[[Tensor], Tensor],
    parts: Mapping[str, tuple[Tensor | Array, Tensor | Array]],
    path: str | Path,
    *,
    axes: tuple[str, str] = ("x₁", "x₂"),
    title: str = "",
    resolution: int = 120,
) -> Path:
    """Draw a number for each point of the plane, -1 to 1, with examples; return the path.

    predict: gives for points (n, 2) the numbers (n,) or (n, 1). parts: by name the points (N, 2) of
    examples and their values (N,), in the same colours, such as those for training and testing; the
    first have a white rim, the others a black one. Raises ValueError for shapes that do not fit.
    """
    found = {name: tuple(map(plots._array, part)) for name, part in parts.items()}
    for name, part in found.items():
        _require_points(f"heat_map: {name}: expected points (N, 2) and values (N,)", *part)
    if not found:
        raise ValueError("heat_map: there is no example to draw")
    resolution = plots._bounded("resolution", resolution, 2, FINEST)
    device = next(x.device if isinstance(x, Tensor) else None for x, _ in parts.values())
    everywhere = np.concatenate([where for where, _ in found.values()])
    xs, ys, said = _over_the_plane(predict, everywhere, 0.1, resolution, device)
    if said.shape != (resolution**2,):
        raise ValueError(
            f"heat_map: predict gave shape {said.shape} for {resolution**2} points, expected (n,) "
            "or (n, 1)"
        )
    figure, ax = plots._axes(5.6, 4.8, title)
    z = said.reshape(resolution, resolution)
    mesh = ax.pcolormesh(xs, ys, z, cmap=plots._orange_to_blue(), vmin=-1, vmax=1)
    figure.colorbar(mesh, ax=ax, label="output, and values of the examples", extend="both")
    marks = []
    for rim, (name, (where, values)) in zip(["white", *["black"] * len(found)], found.items()):
        x, y = where.T
        dots = ax.scatter(x, y, s=22, color="0.6", edgecolor=rim, linewidth=0.8, label=name)
        marks.append((dots, mesh.to_rgba(values).tolist()))
    ax.set(xlabel=axes[0], ylabel=axes[1], xlim=xs[[0, -1]], ylim=ys[[0, -1]])
    _legend_below(figure)
    for dots, colours in marks:  # after the legend, whose dots stand for any value
        dots.set_facecolor(colours)
    return plots._save(figure, path)


def _require_points(expected: str, where: Array, values: Array, least: int = 0) -> None:
    planar = where.ndim == 2 and where.shape[1] == 2
    if not planar or values.shape != where.shape[:1] or len(where) < least:
        raise ValueError(f"{expected}, got {where.shape} and {values.shape}")


def _over_the_plane(
    predict: Callable[[Tensor], Tensor],
    where: Array,
    margin: float,
    resolution: int,
    device: Device | None,
) -> tuple[Array, Array, Array]:
    """x and y (resolution,) around the points, and what is predicted on their grid, row by row."""
    low, high = where.min(0), where.max(0)
    rim = margin * np.maximum(high - low, 1e-3)
    xs, ys = np.linspace(low - rim, high + rim, resolution).T
    grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(where.dtype)
    with no_grad():
        said = plots._array(predict(tensor(grid, device=device)))
    return xs, ys, said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said


def fitted_curve(
    x: Tensor | Array,
    y: Tensor | Array,
    curves: Mapping[str, tuple[Any, Any]],
    path: str | Path,
    *,
    axes: tuple[str, str] = ("x", "y"),
    title: str = "",
) -> Path:
    """Draw examples (x, y) as dots and each curve (x, y) as a line; return the path.

    All x and y are vectors, each pair of one length; curves are labelled by their names.
    Raises ValueError where lengths do not agree.
    """
    figure, ax = plots._axes(6.2, 4.2, title)
    dots = _pair("fitted_curve: examples", x, y)
    ax.scatter(*dots, s=16, color="#6b7280", label="examples")
    for (name, curve), colour in zip(curves.items(), plots._palette(max(len(curves), 1))):
        ax.plot(*_pair(f"fitted_curve: {name}", *curve), color=colour, lw=1.8, label=name)
    plots._label_axes(ax, axes)
    _legend_below(figure)
    return plots._save(figure, path)


def trajectories(
    surface: Callable[[Tensor, Tensor], Tensor],
    paths: Mapping[str, Tensor | Array],
    path: str | Path,
    *,
    minimum: tuple[float, float] | None = None,
    axes: tuple[str, str] = ("x", "y"),
    title: str = "",
    levels: int = 14,
) -> Path:
    """Draw the ways of optimizers over the contour lines of one surface; return the path.

    surface: z for coordinates x and y, all of one shape, float64. paths: for each name the points
    (steps + 1, 2), the start first; the legend has the number of steps. minimum: marked
    by a star.
    Raises ValueError for no path and for one of another shape.
    """
    levels = plots._bounded("levels", levels, 1, 1000)
    ways = {name: np.asarray(plots._array(way), np.float64) for name, way in paths.items()}
    for name, way in ways.items():
        if way.ndim != 2 or way.shape[1] != 2 or not len(way):
            raise ValueError(
                f"trajectories: {name}: expected places (steps + 1, 2), got {way.shape}"
            )
    if not ways:
        raise ValueError("trajectories: there is no path to draw")
    corners = np.concatenate([*ways.values(), *([[minimum]] if minimum else [])])
    low, high = corners.min(0), corners.max(0)
    margin = 0.12 * np.maximum(high - low, 1e-3)
    xs, ys = np.linspace(low - margin, high + margin, 160).T
    with no_grad():
        z = plots._array(surface(*[tensor(a, dtype=float64) for a in np.meshgrid(xs, ys)]))
    if z.shape != (160, 160):
        raise ValueError(f"trajectories: surface gave shape {z.shape} for x and y (160, 160)")
    figure, ax = plots._axes(7.4, 4.8, title)
    # Levels at equal steps of the root: close enough near the minimum to be seen.
    heights = z.min() + (z.max() - z.min()) * np.linspace(0, 1, levels + 2)[1:] ** 2
    greys = [str(grey) for grey in np.linspace(0.3, 0.8, len(heights))]
    lines = ax.contour(xs, ys, z, heights, colors=greys, linewidths=0.9)
    figure.colorbar(lines, ax=ax, label="height of the contour lines", format="%.2g")
    for i, ((name, way), colour) in enumerate(zip(ways.items(), plots._palette(len(ways)))):
        ax.plot(
            *way.T,
            color=colour,
            lw=1.4,
            marker=_MARKERS[i % len(_MARKERS)],
            ms=3.5,
            label=f"{name} ({len(way) - 1})",
        )
    start = next(iter(ways.values()))[0]
    ax.plot(*start, "o", ms=9, mfc="none", color="black", label="start")
    if minimum is not None:
        ax.plot(*minimum, "*", ms=13, color="black", label="minimum")
    plots._label_axes(ax, axes)
    _legend_below(figure)
    return plots._save(figure, path)


def loss_curves(
    losses: Mapping[str, Tensor | Sequence[Any]],
    path: str | Path,
    *,
    axes: tuple[str, str] = ("step", "loss"),
    title: str = "",
    log: bool = True,
) -> Path:
    """Draw losses against steps from 0 on, one line for each name; return the path.

    losses: numbers or tensors of one element, or a tensor (steps,), for each name. log: a
    logarithmic loss axis, where all losses are positive.
    Raises ValueError where there is no loss, TypeError where one is not a number.
    """
    lines = {name: _losses(name, values) for name, values in (losses or {}).items()}
    if not lines or not all(map(len, lines.values())):
        raise ValueError("loss_curves: expected at least one loss for each name")
    figure, ax = plots._axes(6.4, 4.0, title)
    for (name, values), colour in zip(lines.items(), plots._palette(len(lines))):
        ax.plot(range(len(values)), values, color=colour, lw=1.6, label=name)
    if log and min(map(min, lines.values())) > 0:
        ax.set_yscale("log")
    plots._label_axes(ax, axes)
    _legend_below(figure)
    return plots._save(figure, path)


def _losses(name: str, values: Any) -> list[float]:
    try:
        found = [float(value) for value in islice(values, plots.MOST + 1)]
    except (TypeError, ValueError):
        raise TypeError(
            f"loss_curves: {name}: expected numbers or tensors of one element, got {values!r}"
        ) from None
    plots._require_few(len(found))
    return found


def _pair(what: str, x: Any, y: Any) -> tuple[Array, Array]:
    a, b = (np.asarray(plots._array(v)).reshape(-1) for v in (x, y))
    if len(a) != len(b):
        raise ValueError(f"{what}: {len(a)} x and {len(b)} y")
    return a, b


def _legend_below(figure: Any) -> None:
    """The legend under the axes, where it hides nothing."""
    entries = len(figure.axes[0].get_legend_handles_labels()[1])
    figure.legend(frameon=False, ncols=min(entries, 4), loc="outside lower center", fontsize=9)

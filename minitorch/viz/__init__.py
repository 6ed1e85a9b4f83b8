"""Pictures of training, words, learning and graphs; traces as tables; two pages to play with."""

import importlib
from typing import TYPE_CHECKING, Any

from minitorch.boundary import guard
from minitorch.viz.graphs import animate_graph, draw_graph
from minitorch.viz.learning import (
    decision_regions,
    fitted_curve,
    heat_map,
    loss_curves,
    trajectories,
)
from minitorch.viz.plots import image_grid, training_curves, word_map
from minitorch.viz.traces import Contribution, Row, Trace, trace

__all__ = [
    "Contribution",
    "Row",
    "Trace",
    "animate_graph",
    "decision_regions",
    "draw_graph",
    "fitted_curve",
    "heat_map",
    "image_grid",
    "loss_curves",
    "playground",
    "projector",
    "trace",
    "training_curves",
    "trajectories",
    "word_map",
]

guard(globals(), __all__)

if TYPE_CHECKING:
    from minitorch.apps import playground as playground
    from minitorch.apps import projector as projector


def __getattr__(name: str) -> Any:
    """The pages are applications, built on this package: imported where they are first used."""
    if name in ("playground", "projector"):
        return importlib.import_module(f"minitorch.apps.{name}")
    raise AttributeError(f"module 'minitorch.viz' has no attribute {name!r}")

"""Pictures of training, of words, of learning and of graphs; traces of graphs as tables."""

from minitorch.viz.graphs import animate_graph, draw_graph
from minitorch.viz.learning import decision_regions, fitted_curve, loss_curves, trajectories
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
    "image_grid",
    "loss_curves",
    "trace",
    "training_curves",
    "trajectories",
    "word_map",
]

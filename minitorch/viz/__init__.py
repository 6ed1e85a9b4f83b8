"""Pictures: training curves, maps of word vectors, images with predictions; traces of graphs."""

from minitorch.viz.graphs import animate_graph, draw_graph
from minitorch.viz.plots import image_grid, training_curves, word_map
from minitorch.viz.traces import Contribution, Row, Trace, trace

__all__ = [
    "Contribution",
    "Row",
    "Trace",
    "animate_graph",
    "draw_graph",
    "image_grid",
    "trace",
    "training_curves",
    "word_map",
]

"""Pictures: training curves, maps of word vectors, images with predictions; traces of graphs."""

from minitorch.viz.plots import image_grid, training_curves, word_map
from minitorch.viz.traces import Contribution, Row, Trace, trace

__all__ = [
    "Contribution",
    "Row",
    "Trace",
    "image_grid",
    "trace",
    "training_curves",
    "word_map",
]

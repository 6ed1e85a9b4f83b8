"""Pictures: training curves, maps of word vectors, images with predictions."""

from minitorch.viz.plots import image_grid, training_curves, word_map

__all__ = ["image_grid", "training_curves", "word_map"]

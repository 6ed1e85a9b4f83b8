"""Pictures of training, words, learning and graphs; traces as tables; two pages to play with."""

import importlib
from typing import TYPE_CHECKING, Any

from minitorch.boundary import guard
from minitorch.viz import graphs, learning, plots, traces
from minitorch.viz.graphs import *
from minitorch.viz.learning import *
from minitorch.viz.plots import *
from minitorch.viz.traces import *

__all__ = [
    "playground",
    "projector",
    *graphs.__all__,
    *learning.__all__,
    *plots.__all__,
    *traces.__all__,
]

guard(globals())

if TYPE_CHECKING:
    from minitorch.apps import playground as playground
    from minitorch.apps import projector as projector


def __getattr__(name: str) -> Any:
    """The pages are applications, built on this package: imported where they are first used."""
    if name in ("playground", "projector"):
        return importlib.import_module(f"minitorch.apps.{name}")
    raise AttributeError(f"module 'minitorch.viz' has no attribute {name!r}")

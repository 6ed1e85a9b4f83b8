"""Applications for the browser: a playground for small networks, a projector of word vectors."""

from minitorch.apps import playground, projector

__all__ = ["playground", "projector"]

"""Callbacks of the training of word vectors."""

from __future__ import annotations

from typing import Any

__all__ = ["CallbackAny2Vec"]


class CallbackAny2Vec:
    """Base class of callbacks of `Word2Vec`, with gensim's names; each gets the model."""

    def on_train_begin(self, model: Any) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, model: Any) -> None:
        """Before each epoch; not where a run resumes within one."""

    def on_epoch_end(self, model: Any) -> None:
        """After each epoch; `model.losses[-1]` is its loss."""

    def on_train_end(self, model: Any) -> None:
        """After the last epoch."""

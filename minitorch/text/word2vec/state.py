"""What a Word2Vec has learnt: its vocabulary and tables, and the file that has them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from minitorch.backend import Device
from minitorch.creation import as_tensor
from minitorch.nn import Module
from minitorch.random import Generator
from minitorch.text.io import model_file
from minitorch.text.io.encoded import from_frequencies
from minitorch.text.io.model_file import text
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.options import FEWER, class_only, require_memory
from minitorch.text.vocab import Vocab
from minitorch.text.word2vec.huffman import huffman
from minitorch.text.word2vec.modules import CBOW, SkipGram
from minitorch.text.word2vec.options import FILE, RESULT, Options, held
from minitorch.text.word2vec.softmax import FullSoftmax, HierarchicalSoftmax
from minitorch.text.word2vec.training import Numbered, up_to_date

S = TypeVar("S", bound="State")

_OLD_RECORD = ("corpus_count", "corpus_total_words", "losses", "total_train_time")
_RECORD = (
    *_OLD_RECORD,
    *("min_alpha_yet_reached", "running_training_loss", "effective_min_count"),
)
# Attributes of the words in `wv` that follow from their counts.
_DERIVED = ("sample_int", "code", "point")
# Attributes that a deep copy shares with its model: they never change.
_SHARED = ("_scanned", "_numbered", "vocab", "callbacks", "hashfxn", "device")


class State(model_file.Saved, Options):
    """A vocabulary and the tables of its words, which are saved, loaded and copied.

    Before a vocabulary is built there is no `vocab`, no `model`, and `_numbered` is None.
    """

    wv: KeyedVectors
    vocab: Vocab
    model: SkipGram
    generator: Generator
    corpus_count: int
    corpus_total_words: int
    _numbered: Numbered | None

    def _begin(self, vocab: Vocab, numbered: Numbered) -> None:
        """Make new vectors for a vocabulary and its corpus."""
        self.vocab, self._numbered = vocab, numbered
        self.corpus_count, self.corpus_total_words = numbered.corpus.count, numbered.corpus.total
        self.model = self._tables()
        self._show(vocab)

    def _tables(self) -> SkipGram:
        """New tables for the vocabulary."""
        words, size, device = len(self.vocab), self.vector_size, self.device
        tables = 1 + (self.negative > 0) + self.hs + self.full_softmax
        require_memory(f"Word2Vec: vectors of {words:,} words", 4 * tables * words * size, FEWER)
        others: list[Module] = []
        if self.hs:
            counts = self.vocab.counts.tolist()
            others.append(HierarchicalSoftmax(counts, size, device=device))
        if self.full_softmax:
            others.append(FullSoftmax(words, size, device=device))
        options: dict[str, Any] = {
            "negative": self.negative > 0,
            "others": others,
            "generator": self.generator,
            "device": device,
        }
        if self.sg:
            return SkipGram(words, size, self.window, **options)
        return CBOW(words, size, self.window, mean=bool(self.cbow_mean), **options)

    def _show(self, vocab: Vocab) -> None:
        """Have `wv`, which stays the object that it is, show the model's vectors."""
        made = KeyedVectors(
            self.vector_size,
            vocab.index_to_key,
            self.model.input.weight.detach(),
            vocab.counts.tolist(),
        )
        made.expandos["sample_int"] = vocab.sample_ints(self.sample)
        for softmax in self.model.others:
            if isinstance(softmax, HierarchicalSoftmax):
                tree = huffman(vocab.counts.tolist())
                made.expandos["code"], made.expandos["point"] = tree.codes, tree.points
        vars(self.wv).update(vars(made))

    def _shows_model(self) -> bool:
        """Whether the vectors of `wv` are those that are trained."""
        return self.wv.tensor.array is self.model.input.weight.array

    def state_dict(self) -> dict[str, Any]:
        """The state for a file, from which `train` goes on, bit for bit.

        That of `KeyedVectors`, whose `load` reads the vectors, and all learnt tensors. The corpus
        is not in it, nor are callbacks, trim_rule, hashfxn, and what is about this run only
        (device, progress, cache, checkpoint, compiled).
        """
        built = self._numbered is not None
        locks = as_tensor(self.wv.vectors_lockf, device="cpu")
        expandos = self.wv.expandos.items()
        return {
            **self.wv.state_dict(),
            "attributes": text({name: v for name, v in expandos if name not in _DERIVED}),
            "lockf": locks,
            "options": self.held(RESULT, FILE),
            "record": {name: getattr(self, name) for name in _RECORD},
            "random": self.generator.get_state(),
            "vocab": self.vocab.state_dict() if built else None,
            "model": self.model.state_dict() if built else None,
        }

    @class_only
    @classmethod
    def load(
        cls: type[S],
        path: str | Path,
        mmap: str | None = None,
        device: Device | str | None = None,
    ) -> S:
        """Read what `save` wrote, or a checkpoint: the model as it was then.

        To go on, give `train` a corpus (a checkpoint's run goes on with resume=True as well), or
        `build_vocab(update=True)` first. mmap="r": on the CPU the tables are the memory of the
        file, which is read where it is used, and cannot be trained (a `copy.deepcopy` can).
        Raises ValueError for any other file; gensim's pickles are refused, with the way around.
        """
        with model_file.reading(path, "Word2Vec", device=device, mmap=mmap) as state:
            given = up_to_date(state["options"])
            # These only: with others a file could have others read and written.
            options = {name: given[name] for name in held(RESULT, FILE)}
            model = cls(**options, device=device)
            if state["vocab"] is not None:
                model._restore(state, mmap is not None)
            model.generator.set_state(state["random"])
            before = "step_words" not in state["options"]  # when much of this was not there
            for name in _OLD_RECORD if before else _RECORD:
                setattr(model, name, state["record"][name])
            if not before:
                model.wv.vectors_lockf = state["lockf"].cpu().numpy()
            return model

    def __deepcopy__(self: S, memo: dict[int, Any]) -> S:
        """A model of its own, but for the corpus, which both read."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        shows_model = self._numbered is not None and self._shows_model()
        of_this_run = {"_starting": None, "_end_workers": no_workers}
        for name, value in vars(self).items():
            if name in of_this_run:
                value = of_this_run[name]
            elif name not in _SHARED:
                value = copy.deepcopy(value, memo)
            setattr(twin, name, value)
        if shows_model:
            twin.wv.tensor = twin.model.input.weight.detach()
        return twin

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "Word2Vec: models are not pickled: write one with model.save(path), which "
            "Word2Vec.load reads, or copy it with copy.deepcopy"
        )

    def _restore(self, state: Mapping[str, Any], mapped: bool) -> None:
        """Take vocabulary, tables and vectors from what `state_dict` gave.

        mapped: take the memory of tables, which is a file's, instead of a copy.
        """
        vocab, nothing = Vocab.from_state_dict(state["vocab"]), from_frequencies({})
        shape = tuple(state["model"]["input.weight"].shape)
        if shape != (len(vocab), self.vector_size):  # before memory is taken for what is claimed
            raise ValueError(f"{len(vocab)} words of {self.vector_size} numbers are not {shape}")
        self._begin(vocab, Numbered(nothing, vocab.table(nothing), None))
        self.model.load_state_dict(state["model"])
        if mapped:
            for name, parameter in self.model.named_parameters():
                parameter.data = state["model"][name]
            self._show(vocab)
        held = KeyedVectors.from_state_dict(state)
        if held.index_to_key != vocab.index_to_key or not held.tensor.equal(self.wv.tensor):
            self.wv = held  # which somebody has changed
        for name, values in held.expandos.items():
            self.wv.expandos[name] = values


def no_workers() -> None:
    """End the workers where there are none."""

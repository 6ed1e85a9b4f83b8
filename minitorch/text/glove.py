"""GloVe: word vectors whose products are the logarithms of co-occurrence counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minitorch.backend import Device, get_default_device
from minitorch.core import dtypes
from minitorch.core.dtypes import dtype as DType
from minitorch.core.grad_mode import no_grad
from minitorch.core.tensor import Tensor
from minitorch.creation import as_tensor, empty, tensor
from minitorch.files import require_no_run
from minitorch.nn import Embedding, Module
from minitorch.optim import Adagrad
from minitorch.random import Generator, rand, randperm
from minitorch.text.cooccurrence import Cooccurrence, count_cooccurrences
from minitorch.text.io import model_file
from minitorch.text.io.corpus import Corpus
from minitorch.text.io.encoded import encode
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.options import FEWER, LONGEST_VECTOR, flag, integer, real, require_memory
from minitorch.text.progress import Progress
from minitorch.text.runs import CheckpointedRun, call_all

Sentences = Iterable[Sequence[str]]

# What a file holds besides vectors and counts: how the model is made, and what it has been through.
_OPTIONS = (
    *("vector_size", "window", "min_count", "x_max", "alpha", "lr", "epochs", "symmetric", "seed"),
    *("batch_size", "save_every", "progress"),
)
# Pairs to a step, at most, and for each word: the rows of a small vocabulary would come so often in
# a step that the sum of their gradients overshoots (with 30 words J grew 84-fold in an epoch).
_STEP, _STEP_OF_WORD = 4096, 2
# Which of these a run can go on without.
_FREE = {"save_every", "progress", "epochs"}
_RECORD = ("corpus_count", "corpus_total_words", "losses", "total_train_time")


class Pairs(NamedTuple):
    """Pairs of words that stand near each other.

    rows, columns: int64 (n,), the words. logs: (n,), ln of their count. weights: (n,), what each
    counts in the loss.
    """

    rows: Tensor
    columns: Tensor
    logs: Tensor
    weights: Tensor

    def take(self, which: Tensor | slice) -> Pairs:
        """Some of the pairs."""
        return Pairs(*(part[which] for part in self))


class GloVeModel(Module):
    """The tables of GloVe: a vector and a bias for each word, and for each word as a context.

    All start evenly drawn from ±1/(2 D), as in the original program. Gradients are row-sparse.
    """

    def __init__(
        self,
        num_words: int,
        vector_size: int,
        *,
        generator: Generator | None = None,
        device: Device | str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()

        def table(columns: int) -> Embedding:
            shape = num_words, columns
            start = rand(shape, generator=generator, dtype=dtype, device=device)
            return Embedding(*shape, sparse=True, _weight=start.sub_(0.5).div_(vector_size))

        self.word, self.context = table(vector_size), table(vector_size)
        self.word_bias, self.context_bias = table(1), table(1)

    def forward(self, pairs: Pairs) -> Tensor:
        """J of some pairs: Σ f(X) (w·w̃ + b + b̃ - ln X)², a float64 scalar."""
        rows, columns, logs, weights = pairs
        products = (self.word(rows) * self.context(columns)).sum(dim=1)
        biases = (self.word_bias(rows) + self.context_bias(columns)).squeeze(1)
        error = products + biases - logs
        loss: Tensor = (weights * error * error).double().sum()
        return loss


class GloVe:
    """GloVe (Pennington, Socher and Manning 2014), on any device.

    sentences: lists of words, e.g. `Corpus("gcide")`, read once; or a Cooccurrence, counted
    before. corpus_file: a text file instead, a sentence on each line, words between blanks.
    vector_size: length of a vector. window: words on either side, whose pairs count 1 / distance.
    min_count: leave out words seen less often. x_max, alpha: a pair of count X weighs
    min(1, X / x_max) ** alpha. lr: AdaGrad's learning rate. epochs: passes over the pairs.
    symmetric: count the words on both sides, else those on the left. seed: equal seeds give equal
    vectors. batch_size: pairs to a step (None: 4,096, but at most twice the number of words).
    progress: show bars (None: where stderr is a terminal).
    callbacks: called with the model, see `CallbackAny2Vec`.
    checkpoint: a file that holds the run, written after each epoch, or each `save_every` pairs, and
    on Ctrl-C, which then ends the run in good order. resume: go on from it, bit for bit. overwrite:
    replace a file that is there already and not of a finished run of this model.

    As in gensim's models: `wv` (KeyedVectors, w + w̃), `build_vocab`, `train`, `save`, `load`,
    `corpus_count`, `corpus_total_words`. Besides: `cooccurrence`, `vocab`, `model` (GloVeModel),
    `losses`: for each epoch J = Σ f(X) (w·w̃ + b + b̃ - ln X)² (equation 8) over all pairs, each
    as it was when its turn came, summed in float64; and `loss()`, J of the vectors as they are.

    A step follows the gradient of J / 2, as in the original program, with that program's AdaGrad:
    x -= lr·g / √(1 + Σ (lr·g)²), which is g / √(1/lr² + Σ g²). It differs in two points: gradients
    of a batch are summed for each word before they are applied, and the sum has the square of
    this step's gradient in it, where the original adds it after the step. Gradients are not
    clipped (at 100 there, a number that J does not reach unless training diverges).

    Raises ValueError for options out of range and a corpus without pairs, FileExistsError for a
    checkpoint that would be overwritten, FloatingPointError if the loss is not finite.
    """

    def __init__(
        self,
        sentences: Sentences | Cooccurrence | None = None,
        corpus_file: str | Path | None = None,
        vector_size: int = 100,
        window: int = 10,
        min_count: int = 5,
        *,
        x_max: float = 100.0,
        alpha: float = 0.75,
        lr: float = 0.05,
        epochs: int = 25,
        symmetric: bool = True,
        seed: int = 1,
        batch_size: int | None = None,
        device: Device | str | None = None,
        dtype: DType | None = None,
        progress: bool | None = None,
        callbacks: Sequence[Any] = (),
        checkpoint: str | Path | None = None,
        save_every: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.vector_size, self.window, self.min_count = vector_size, window, min_count
        self.x_max, self.alpha, self.lr, self.epochs = x_max, alpha, lr, epochs
        self.symmetric, self.seed, self.batch_size = symmetric, seed, batch_size
        self.callbacks = tuple(callbacks)
        self.checkpoint, self.save_every = checkpoint, save_every
        self._check()
        self.device = get_default_device() if device is None else Device(device)
        self.dtype = dtype or dtypes.get_default_dtype()
        self.progress = None if progress is None else bool(progress)
        self.generator = Generator().manual_seed(self.seed)
        self.corpus_count = self.corpus_total_words = 0
        self.losses: list[float] = []  # of each epoch
        self.total_train_time = 0.0
        self.cooccurrence: Cooccurrence | None = None
        self._finished: Path | None = None  # the checkpoint of the last run
        self.wv = KeyedVectors(self.vector_size, vectors=empty(0, self.vector_size))
        if sentences is not None or corpus_file is not None:
            if checkpoint is not None and not (resume or overwrite):
                require_no_run(checkpoint)  # before the corpus is read
            self.build_vocab(sentences, corpus_file)
            self.train(resume=resume, overwrite=overwrite)

    def _check(self) -> None:
        """Make options Python's own numbers. Raises ValueError for those out of range."""
        for name, least in (
            *(("vector_size", 1), ("window", 1), ("min_count", 0), ("epochs", 1)),
            *(("batch_size", 1), ("save_every", 1), ("seed", None)),
        ):
            optional = name in ("batch_size", "save_every")
            value = integer(f"GloVe: {name}", getattr(self, name), least, optional=optional)
            setattr(self, name, value)
        integer("GloVe: vector_size", self.vector_size, 1, LONGEST_VECTOR)
        self.symmetric = bool(flag("GloVe: symmetric", self.symmetric))
        for name in ("x_max", "lr", "alpha"):
            setattr(self, name, real(f"GloVe: {name}", getattr(self, name)))
        for name in ("x_max", "lr"):
            if getattr(self, name) <= 0:
                given = getattr(self, name)
                raise ValueError(f"GloVe: {name}: expected a number > 0, got {given!r}")
        if self.alpha < 0:
            raise ValueError(
                f"GloVe: alpha: expected a number of at least 0 (the exponent of the weights; the "
                f"learning rate is lr), got {self.alpha!r}"
            )

    # ------------------------------------------------------------------ counting
    def build_vocab(
        self,
        corpus_iterable: Sentences | Cooccurrence | None = None,
        corpus_file: str | Path | None = None,
    ) -> None:
        """Count words and pairs of a corpus (see the constructor), and make new vectors."""
        if (corpus_iterable is None) == (corpus_file is None):
            raise TypeError("GloVe: expected either sentences (corpus_iterable) or corpus_file")
        if corpus_file is not None:
            corpus_iterable = Corpus(corpus_file, tokenizer=str.split)
        assert corpus_iterable is not None
        count = words = 0
        if isinstance(corpus_iterable, Cooccurrence):
            found = corpus_iterable
        else:
            corpus = encode(corpus_iterable, self.progress)
            count, words = corpus.count, len(corpus.tokens)
            found = count_cooccurrences(
                corpus,
                self.window,
                sides="both" if self.symmetric else "left",
                weighting="distance",
                min_count=self.min_count,
                progress=self.progress,
            )
        if not found.counts.nnz:
            raise ValueError(
                f"GloVe: no two of the {len(found.vocab)} words of the vocabulary stand in one "
                "sentence, so there is nothing to learn from"
            )
        rows = len(found.vocab)
        needed = 4 * rows * self.vector_size * self.dtype.itemsize
        require_memory(f"GloVe: vectors of {rows:,} words", needed, FEWER)
        self.corpus_count, self.corpus_total_words = count, words
        self.cooccurrence, self.vocab, self.losses = found, found.vocab, []
        self.pairs = self._pairs(found)
        self.step_pairs = self.batch_size or min(_STEP, _STEP_OF_WORD * len(self.vocab))
        self.model = GloVeModel(
            len(self.vocab),
            self.vector_size,
            generator=self.generator,
            device=self.device,
            dtype=self.dtype,
        )
        self.optimizer = Adagrad(
            self.model.parameters(), lr=1.0, initial_accumulator_value=self.lr**-2, eps=0.0
        )
        self._publish()

    def _pairs(self, found: Cooccurrence) -> Pairs:
        """The pairs on the device; their logarithms and weights are taken in float64."""
        held = found.counts.tocoo()
        rows, columns = (
            as_tensor(part, dtype=dtypes.int64, device=self.device) for part in held.coords
        )
        counts = as_tensor(held.data, dtype=dtypes.float64, device=self.device)
        weights = (counts / self.x_max).clamp(max=1) ** self.alpha
        return Pairs(rows, columns, counts.log().to(self.dtype), weights.to(self.dtype))

    @no_grad()
    def _publish(self) -> None:
        """Have `wv`, which stays the object that it is, hold the vectors as they are."""
        shown = KeyedVectors(
            self.vector_size,
            self.vocab.index_to_key,
            self.model.word.weight + self.model.context.weight,
            self.vocab.counts.tolist(),
        )
        vars(self.wv).update(vars(shown))

    # ------------------------------------------------------------------ training
    def train(
        self,
        epochs: int | None = None,
        *,
        callbacks: Sequence[Any] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> float:
        """Train on the pairs of `build_vocab`, again and again; returns the last epoch's J.

        Without epochs, callbacks or checkpoint those of the constructor hold.
        """
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: train: build_vocab has to come first")
        epochs = integer("GloVe: train: epochs", self.epochs if epochs is None else epochs, 1)
        called = tuple(callbacks) or self.callbacks
        given = self.checkpoint if checkpoint is None else checkpoint
        path = None if given is None else Path(given)
        run = _Run(self, epochs, called, path, overwrite or path == self._finished)
        if resume:
            run.load()
        run.train(self, called)
        return self.losses[-1]

    def step(self, pairs: Pairs) -> Tensor:
        """One step of AdaGrad over some pairs; returns their J before it, a float64 scalar."""
        loss: Tensor = self.model(pairs)
        self.optimizer.zero_grad()
        (loss / 2).backward()
        self.optimizer.step()
        return loss.detach()

    @no_grad()
    def loss(self) -> float:
        """J of all pairs for the vectors as they are, summed in float64."""
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: loss: build_vocab has to come first")
        total = tensor(0.0, dtype=dtypes.float64, device=self.device)
        for start in range(0, len(self.pairs.rows), _STEP):
            total += self.model(self.pairs.take(slice(start, start + _STEP)))
        loss: float = total.item()
        return loss

    # ------------------------------------------------------------------ files
    def save(self, path: str | Path) -> None:
        """Write the whole model to a safetensors file: `train` goes on from it, bit for bit.

        That takes the pairs, too, which are most of it. `KeyedVectors.load` reads the vectors.
        Raises RuntimeError if there is nothing yet.
        """
        model_file.write(path, "GloVe", self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The state for a file: that of `KeyedVectors.state_dict`, and all learnt tensors."""
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: save: build_vocab has to come first")
        return {
            **self.wv.state_dict(),
            "options": {name: getattr(self, name) for name in _OPTIONS},
            "dtype": self.dtype.name,
            "record": {name: getattr(self, name) for name in _RECORD},
            "cooccurrence": self.cooccurrence.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.generator.get_state(),
        }

    @classmethod
    def load(
        cls, path: str | Path, mmap: str | None = None, device: Device | str | None = None
    ) -> GloVe:
        """Read what `save` wrote, or a checkpoint: the model as it was then.

        A checkpoint's run goes on with `train(checkpoint=path, resume=True)`. mmap is there for
        gensim's sake: it changes nothing. Raises ValueError for any other file.
        """
        with model_file.reading(path, "GloVe", device=device) as state:
            had = state["options"]
            options = {name: had[name] for name in _OPTIONS if name in had}  # and no other
            model = cls(**options, device=device, dtype=getattr(dtypes, state["dtype"]))
            model.build_vocab(Cooccurrence.from_state_dict(state["cooccurrence"]))
            model._restore(state)
            model.wv = KeyedVectors.from_state_dict(state)
            return model

    def _restore(self, state: dict[str, Any]) -> None:
        """Take what is learnt of what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["random"])
        for name in _RECORD:
            setattr(self, name, state["record"][name])

    def get_latest_training_loss(self) -> float:
        """J of the last epoch."""
        return self.losses[-1] if self.losses else 0.0

    def __repr__(self) -> str:
        words = 0 if self.cooccurrence is None else len(self.vocab)
        return (
            f"GloVe(vocab={words}, vector_size={self.vector_size}, lr={self.lr}, "
            f"epochs={self.epochs}, device={str(self.device)!r})"
        )


@dataclass
class _Position:
    """How far a run is: epochs done, pairs of the next one, and J of these."""

    epoch: int = 0
    pair: int = 0
    loss: float = 0.0


class _Run(CheckpointedRun):
    """The state of one call of `train`."""

    kind, unit = "GloVe", "pair"

    def __init__(
        self,
        model: GloVe,
        epochs: int,
        callbacks: Sequence[Any],
        checkpoint: Path | None,
        overwrite: bool,
    ) -> None:
        self.model, self.epochs, self.overwrite = model, epochs, overwrite
        self.callbacks, self.checkpoint = callbacks, checkpoint
        self.save_every, self.device = model.save_every, model.device
        self.n = len(model.pairs.rows)
        self.position = _Position()
        self.random = model.generator.get_state()  # at the beginning of the epoch

    def _run(self, stop: list[bool]) -> None:
        done = self.position.epoch * self.n + self.position.pair
        shown = Progress("training", self.epochs * self.n, " pairs", self.model.progress, done)
        with shown:
            while self.position.epoch < self.epochs:
                shown.name(f"epoch {self.position.epoch + 1}/{self.epochs}")
                self._epoch(shown, stop)
        self.model._publish()

    def _epoch(self, shown: Progress, stop: list[bool]) -> None:
        """The rest of a pass over the pairs in random order."""
        model, position, n = self.model, self.position, self.n
        if not position.pair:
            self._call("on_epoch_begin")
        self.random = model.generator.get_state()
        order = randperm(n, generator=model.generator, device=model.device)
        total = tensor(position.loss, dtype=dtypes.float64, device=model.device)
        while position.pair < n:
            batch = model.pairs.take(order[position.pair : position.pair + model.step_pairs])
            total += model.step(batch)
            position.pair += len(batch.rows)
            self.unsaved += len(batch.rows)
            shown.show(position.epoch * n + position.pair, self._told())
            if position.pair < n and self._is_due(stop):
                position.loss = self._finite(total.item())
                self._save_if_due(stop)
        model.losses.append(self._finite(total.item()))
        self.random = model.generator.get_state()
        position.epoch, position.pair, position.loss = position.epoch + 1, 0, 0.0
        shown.show(position.epoch * n, self._told())
        self._call("on_epoch_end")
        self._save_if_due(stop, epoch=True)

    def _call(self, name: str) -> None:
        if self.callbacks:
            self.model._publish()
            call_all(self.callbacks, name, self.model)

    def _told(self) -> str:
        """J per pair of the last epoch."""
        return f"loss={self.model.losses[-1] / self.n:.4f}" if self.model.losses else ""

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"GloVe: the loss is {loss}: use a smaller lr than {self.model.lr} or a smaller "
                f"batch_size than {self.model.step_pairs}"
            )
        return loss

    # ------------------------------------------------------------------ checkpoints
    def _held(self) -> dict[str, Any]:
        self.model._publish()
        run = {"place": asdict(self.position), "epochs": self.epochs}
        return {**self.model.state_dict(), "random": self.random, "run": run}

    def load(self) -> None:
        """Go on from the checkpoint.

        Raises FileNotFoundError, and ValueError, before anything changes, for a file that is no
        checkpoint or is one of other counts or options.
        """
        with self._resuming() as (path, state):
            self._check_run(path, state)
            self.model._restore(state)
            self.position = _Position(**state["run"]["place"])

    def _check_run(self, path: Path, state: dict[str, Any]) -> None:
        """Raise ValueError if a checkpoint is not one of this run."""
        model = self.model
        here = {name: getattr(model, name) for name in _OPTIONS if name not in _FREE}
        here |= {"epochs": self.epochs, "dtype": model.dtype.name}
        had = {**state["options"], "epochs": state["run"]["epochs"], "dtype": state["dtype"]}
        self._check_options(path, had, here)
        found: Any = Cooccurrence.from_state_dict(state["cooccurrence"])
        mine: Any = model.cooccurrence
        if found.vocab.index_to_key != mine.vocab.index_to_key:
            raise ValueError(
                f"{path} is of another vocabulary: it has {len(found.vocab)} words, the corpus "
                f"{len(mine.vocab)}"
            )
        if (found.counts != mine.counts).nnz:
            raise ValueError(f"{path} is of another corpus: the words' counts of pairs differ")

"""GloVe: word vectors whose products are the logarithms of co-occurrence counts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from minitorch import dtypes
from minitorch.backend import Device, get_default_device
from minitorch.creation import as_tensor, zeros
from minitorch.dtypes import dtype as DType
from minitorch.nn import Embedding, Module
from minitorch.optim import Adagrad
from minitorch.random import Generator, rand, randperm
from minitorch.tensor import Tensor, no_grad
from minitorch.text import model_file
from minitorch.text.cooccurrence import Cooccurrence, count_cooccurrences
from minitorch.text.corpus import Corpus, hidden
from minitorch.text.encoded import encode
from minitorch.text.keyed_vectors import KeyedVectors

Sentences = Iterable[Sequence[str]]

# What a file holds besides vectors and counts: how the model is made, and what it has been through.
_OPTIONS = (
    *("vector_size", "window", "min_count", "x_max", "alpha", "lr", "epochs", "symmetric", "seed"),
    *("batch_size", "progress"),
)
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
    vectors. batch_size: pairs to a step. progress: show bars (None: where stderr is a terminal).

    As in gensim's models: `wv` (KeyedVectors, w + w̃), `build_vocab`, `train`, `save`, `load`,
    `corpus_count`, `corpus_total_words`. Besides: `cooccurrence`, `vocab`, `model` (GloVeModel),
    `losses`: for each epoch J = Σ f(X) (w·w̃ + b + b̃ - ln X)² (equation 8) over all pairs, each
    as it was when its turn came, summed in float64; and `loss()`, J of the vectors as they are.

    A step follows the gradient of J / 2, as in the original program, with that program's AdaGrad:
    x -= lr·g / √(1 + Σ (lr·g)²), which is g / √(1/lr² + Σ g²). It differs in two points: gradients
    of a batch are summed for each word before they are applied, and the sum has the square of
    this step's gradient in it, where the original adds it after the step. Gradients are not
    clipped (at 100 there, a number that J does not reach unless training diverges).

    Raises ValueError for options out of range and a corpus without pairs, FloatingPointError if
    the loss is not finite.
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
        batch_size: int = 4096,
        device: Device | str | None = None,
        dtype: DType | None = None,
        progress: bool | None = None,
    ) -> None:
        self.vector_size, self.window, self.min_count = vector_size, window, min_count
        self.x_max, self.alpha, self.lr, self.epochs = x_max, alpha, lr, epochs
        self.symmetric, self.seed, self.batch_size = symmetric, seed, batch_size
        self._check()
        self.device = get_default_device() if device is None else Device(device)
        self.dtype = dtype or dtypes.get_default_dtype()
        self.progress = progress
        self.generator = Generator().manual_seed(seed)
        self.corpus_count = self.corpus_total_words = 0
        self.losses: list[float] = []  # of each epoch
        self.total_train_time = 0.0
        self.cooccurrence: Cooccurrence | None = None
        if sentences is not None or corpus_file is not None:
            self.build_vocab(sentences, corpus_file)
            self.train()

    def _check(self) -> None:
        for name in ("vector_size", "window", "min_count", "epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"GloVe: {name}: expected a whole number > 0, got {value!r}")
        for name, low in (("x_max", 0.0), ("lr", 0.0)):
            value = getattr(self, name)
            if not low < value < math.inf:
                raise ValueError(f"GloVe: {name}: expected a number > {low:g}, got {value!r}")
        if not 0 <= self.alpha < math.inf:
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
        self.corpus_count, self.corpus_total_words = count, words
        self.cooccurrence, self.vocab, self.losses = found, found.vocab, []
        self.pairs = self._pairs(found)
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
        """Make `wv` of the vectors as they are."""
        self.wv = KeyedVectors(
            self.vector_size,
            self.vocab.index_to_key,
            self.model.word.weight + self.model.context.weight,
            self.vocab.counts.tolist(),
        )

    # ------------------------------------------------------------------ training
    def train(self, epochs: int | None = None) -> float:
        """Train on the pairs of `build_vocab`, again and again; returns the last epoch's J."""
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: train: build_vocab has to come first")
        epochs = self.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"GloVe: train: epochs: expected at least 1, got {epochs}")
        began = time.perf_counter()
        bar: tqdm[NoReturn] = tqdm(
            total=epochs * len(self.pairs.rows),
            unit=" pairs",
            unit_scale=True,
            disable=hidden(self.progress),
        )
        with bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}")
                self.losses.append(self._epoch(bar))
        self._publish()
        self.total_train_time += time.perf_counter() - began
        return self.losses[-1]

    def _epoch(self, bar: tqdm[NoReturn]) -> float:
        """One pass over the pairs in random order; returns J."""
        n = len(self.pairs.rows)
        order = randperm(n, generator=self.generator, device=self.device)
        total = zeros((), dtype=dtypes.float64, device=self.device)
        for start in range(0, n, self.batch_size):
            batch = self.pairs.take(order[start : start + self.batch_size])
            loss = self.model(batch)
            self.optimizer.zero_grad()
            (loss / 2).backward()
            self.optimizer.step()
            total += loss.detach()
            bar.update(len(batch.rows))
        bar.set_postfix(loss=f"{total.item() / n:.4f}", refresh=False)
        return self._finite(total.item())

    @no_grad()
    def loss(self) -> float:
        """J of all pairs for the vectors as they are, summed in float64."""
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: loss: build_vocab has to come first")
        total = zeros((), dtype=dtypes.float64, device=self.device)
        for start in range(0, len(self.pairs.rows), self.batch_size):
            total += self.model(self.pairs.take(slice(start, start + self.batch_size)))
        loss: float = total.item()
        return loss

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"GloVe: the loss is {loss}: use a smaller lr than {self.lr} or a smaller "
                f"batch_size than {self.batch_size}"
            )
        return loss

    # ------------------------------------------------------------------ files
    def save(self, path: str | Path) -> None:
        """Write the whole model to a safetensors file: `train` goes on from it, bit for bit.

        That takes the pairs, too, which are most of it. `KeyedVectors.load` reads the vectors.
        Raises RuntimeError if there is nothing yet.
        """
        if self.cooccurrence is None:
            raise RuntimeError("GloVe: save: build_vocab has to come first")
        state = {
            **self.wv.state_dict(),
            "options": {name: getattr(self, name) for name in _OPTIONS},
            "dtype": self.dtype.name,
            "record": {name: getattr(self, name) for name in _RECORD},
            "cooccurrence": self.cooccurrence.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.generator.get_state(),
        }
        model_file.write(path, "GloVe", state)

    @classmethod
    def load(
        cls, path: str | Path, mmap: str | None = None, device: Device | str | None = None
    ) -> GloVe:
        """Read what `save` wrote. Raises ValueError for any other file.

        mmap is there for gensim's sake: it changes nothing.
        """
        with model_file.reading(path, "GloVe", device=device) as state:
            options = {name: state["options"][name] for name in _OPTIONS}  # and no other
            model = cls(**options, device=device, dtype=getattr(dtypes, state["dtype"]))
            model.build_vocab(Cooccurrence.from_state_dict(state["cooccurrence"]))
            model.model.load_state_dict(state["model"])
            model.optimizer.load_state_dict(state["optimizer"])
            model.generator.set_state(state["random"])
            for name in _RECORD:
                setattr(model, name, state["record"][name])
            model.wv = KeyedVectors.from_state_dict(state)
            return model

    def get_latest_training_loss(self) -> float:
        """J of the last epoch."""
        return self.losses[-1] if self.losses else 0.0

    def __repr__(self) -> str:
        words = 0 if self.cooccurrence is None else len(self.vocab)
        return (
            f"GloVe(vocab={words}, vector_size={self.vector_size}, lr={self.lr}, "
            f"epochs={self.epochs}, device={str(self.device)!r})"
        )

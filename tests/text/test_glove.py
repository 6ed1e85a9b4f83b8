import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minitorch
from minitorch.text import Cooccurrence, Corpus, GloVe, count_cooccurrences
from minitorch.text.glove import GloVeModel, Pairs
from tests.referee import array

TOPICS, WORDS = 4, 8


def sentences_of(count=400, length=10, seed=0):
    """Sentences of one topic each, mixed with words that all topics share."""
    rng = np.random.default_rng(seed)
    return [
        [
            f"t{topic}w{i}" if own else f"c{i}"
            for i, own in zip(rng.integers(WORDS, size=length), rng.random(length) < 0.7)
        ]
        for topic in rng.integers(TOPICS, size=count)
    ]


SENTENCES = sentences_of()
SMALL = {"vector_size": 10, "window": 4, "min_count": 1, "x_max": 20.0, "lr": 0.2, "seed": 3}


def tables(model):
    """Copies of the vectors and biases, float64: w, w~, b, b~."""
    held = model.model
    parts = held.word, held.context, held.word_bias, held.context_bias
    w, c, bw, bc = (array(part.weight).astype(np.float64).copy() for part in parts)
    return w, c, bw[:, 0], bc[:, 0]


def untrained(sentences=SENTENCES, **options):
    model = GloVe(**(SMALL | options))
    model.build_vocab(sentences)
    return model


def separation(kv):
    """Mean cosine within topics minus that between topics."""
    words = [f"t{t}w{i}" for t in range(TOPICS) for i in range(WORDS)]
    units = array(kv.get_normed_vectors())[[kv.get_index(word) for word in words]]
    cosines = units @ units.T
    topic = np.repeat(np.arange(TOPICS), WORDS)
    same = topic[:, None] == topic
    return cosines[same & ~np.eye(len(words), dtype=bool)].mean() - cosines[~same].mean()


# ---------------------------------------------------------------------- the formula
def published(tables, counts, x_max, alpha):
    """J, equation 8, and the gradients of J / 2 by hand, pair by pair."""
    w, c, bw, bc = tables
    gradients = [np.zeros_like(table) for table in tables]
    loss = 0.0
    for i, j, x in zip(*counts.coords, counts.data):
        f = (x / x_max) ** alpha if x < x_max else 1.0
        error = w[i] @ c[j] + bw[i] + bc[j] - math.log(x)
        loss += f * error**2
        for gradient, at, part in zip(gradients, (i, j, i, j), (c[j], w[i], 1.0, 1.0)):
            gradient[at] += f * error * part
    return loss, gradients


@pytest.mark.parametrize(("x_max", "alpha"), [(100.0, 0.75), (3.0, 0.5), (0.5, 0.0)])
def test_loss_and_gradients_are_the_published_ones(x_max, alpha):
    model = untrained(SENTENCES[:40], x_max=x_max, alpha=alpha, dtype=minitorch.float64)
    counts = model.cooccurrence.counts.tocoo()
    expected, gradients = published(tables(model), counts, x_max, alpha)
    loss = model.model(model.pairs)
    assert loss.dtype == minitorch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert model.loss() == pytest.approx(expected, rel=1e-12)
    (loss / 2).backward()
    held = model.model
    for part, gradient in zip(
        (held.word, held.context, held.word_bias, held.context_bias), gradients
    ):
        found = array(part.weight.grad.to_dense())
        assert_allclose(found.reshape(gradient.shape), gradient, rtol=1e-9, atol=1e-12)


def test_the_loss_is_summed_in_float64():
    """A million pairs of equal loss: a float32 sum would stray after the 24th bit."""
    n = 1 << 20
    model = GloVeModel(2, 3, dtype=minitorch.float32)
    with minitorch.no_grad():
        for p in model.parameters():
            p.fill_(0.0)
    pairs = Pairs(
        minitorch.zeros(n, dtype=minitorch.int64),
        minitorch.ones(n, dtype=minitorch.int64),
        minitorch.ones(n),
        minitorch.full((n,), 0.1),
    )
    assert model(pairs).item() == pytest.approx(n * float(np.float32(0.1)), rel=1e-12)


def step(table, squares, gradient, lr):
    """This module's AdaGrad: the sum has this step's square in it."""
    squares += (lr * gradient) ** 2
    table -= lr * gradient / np.sqrt(squares)


def original_step(table, squares, gradient, lr):
    """glove.c: the step, then the square into the sum, which starts at one."""
    table -= lr * gradient / np.sqrt(squares)
    squares += (lr * gradient) ** 2


def train_by_hand(model, steps, rule):
    """Batches of the whole corpus, J before each, in float64."""
    held = tables(model)
    squares = [np.ones_like(table) for table in held]
    counts, losses = model.cooccurrence.counts.tocoo(), []
    for _ in range(steps):
        loss, gradients = published(held, counts, model.x_max, model.alpha)
        losses.append(loss)
        for table, total, gradient in zip(held, squares, gradients):
            rule(table, total, gradient, model.lr)
    return held, losses


def test_training_by_hand():
    model = untrained(SENTENCES[:20], batch_size=10**6, dtype=minitorch.float64)
    held, losses = train_by_hand(model, 4, step)
    model.train(epochs=3)
    model.train(epochs=1)  # which goes on with the sums of squares
    assert model.losses == pytest.approx(losses, rel=1e-9)
    for found, expected in zip(tables(model), held):
        assert_allclose(found, expected, atol=1e-9)
    assert_allclose(array(model.wv.vectors), held[0] + held[1], atol=1e-9)


def test_the_originals_order_of_adagrad_is_near():
    """For small steps the place of a step's own square is a matter of the second order."""
    model = untrained(SENTENCES[:20], lr=0.01, batch_size=10**6, dtype=minitorch.float64)
    start = tables(model)
    held, _ = train_by_hand(model, 3, original_step)
    model.train(epochs=3)
    for found, expected, before in zip(tables(model), held, start):
        moved = np.abs(expected - before).max()
        assert np.abs(found - expected).max() < 0.05 * moved


def test_batches_touch_their_rows_only():
    model = untrained(SENTENCES[:20])
    before = tables(model)
    first = model.pairs.take(slice(1))
    (model.model(first) / 2).backward()
    model.optimizer.step()
    i, j = first.rows.item(), first.columns.item()
    for old, new, row in zip(before, tables(model), (i, j, i, j)):
        changed = np.flatnonzero((old != new).reshape(len(old), -1).any(axis=1))
        assert_array_equal(changed, [row])


# ---------------------------------------------------------------------- the model
@pytest.fixture(scope="module")
def trained():
    return GloVe(SENTENCES, epochs=12, batch_size=256, **SMALL)


def test_learns_the_topics(trained):
    assert separation(untrained().wv) < 0.1
    assert separation(trained.wv) > 0.5
    assert trained.losses[-1] < 0.2 * trained.losses[0]
    assert trained.loss() < trained.losses[-1] * 1.1
    assert all(word.startswith("t2") for word, _ in trained.wv.most_similar("t2w0", topn=5))


def test_a_gradient_turned_round_learns_nothing(monkeypatch):
    forward = GloVeModel.forward

    def turned(self, pairs):
        loss = forward(self, pairs)
        return 2 * loss.detach() - loss

    monkeypatch.setattr(GloVeModel, "forward", turned)
    try:
        model = GloVe(SENTENCES, epochs=3, batch_size=256, **SMALL)
    except FloatingPointError:
        return
    assert model.losses[-1] > model.losses[0]
    assert separation(model.wv) < 0.3


def test_counts_and_names(trained, device):
    found = count_cooccurrences(SENTENCES, 4, weighting="distance")
    assert (trained.cooccurrence.counts != found.counts).nnz == 0
    assert trained.corpus_count == len(SENTENCES)
    assert trained.corpus_total_words == sum(map(len, SENTENCES))
    assert trained.wv.index_to_key == found.vocab.index_to_key
    assert (
        trained.wv.get_vecattr("t0w0", "count")
        == found.vocab.counts[found.vocab.key_to_index["t0w0"]]
    )
    assert trained.wv.device.type == device
    assert trained.get_latest_training_loss() == trained.losses[-1]
    assert trained.total_train_time > 0
    assert repr(trained).startswith(f"GloVe(vocab={len(found.vocab)}, vector_size=10, lr=0.2")
    left = untrained(symmetric=False).cooccurrence
    assert (left.counts + left.counts.T - found.counts).max() < 1e-9
    assert left["t0w0", "t0w1"] != left["t0w1", "t0w0"]


def test_same_seed_same_vectors(trained):
    options = SMALL | {"epochs": 12, "batch_size": 256}
    again = GloVe(iter(SENTENCES), **options)
    assert again.losses == trained.losses
    assert again.wv.tensor.equal(trained.wv.tensor)
    other = GloVe(SENTENCES, **(options | {"seed": 4, "epochs": 1}))
    assert not other.wv.tensor.equal(trained.wv.tensor)
    counted = count_cooccurrences(SENTENCES, 4, weighting="distance")
    assert isinstance(counted, Cooccurrence)
    given = GloVe(counted, **options)
    assert given.wv.tensor.equal(trained.wv.tensor)


def test_every_device_as_the_cpu(device):
    for dtype, tolerance in ((minitorch.float32, 1e-4), (minitorch.float64, 1e-9)):
        options = SMALL | {"epochs": 3, "batch_size": 300, "dtype": dtype}
        here = GloVe(SENTENCES[:60], device=device, **options)
        cpu = GloVe(SENTENCES[:60], device="cpu", **options)
        assert_allclose(array(here.wv.vectors), array(cpu.wv.vectors), atol=tolerance)
        assert here.losses == pytest.approx(cpu.losses, rel=tolerance)


def test_a_corpus_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in SENTENCES))
    options = SMALL | {"epochs": 1}
    model = GloVe(corpus_file=path, **options)
    assert model.wv.tensor.equal(GloVe(SENTENCES, **options).wv.tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_size": 0}, "vector_size: expected a whole number > 0, got 0"),
        ({"window": 0}, "window: expected a whole number > 0, got 0"),
        ({"min_count": 0}, "min_count: expected a whole number > 0"),
        ({"epochs": 0}, "epochs: expected a whole number > 0"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number > 0, got 2.5"),
        ({"x_max": 0.0}, "x_max: expected a number > 0, got 0"),
        ({"lr": math.nan}, "lr: expected a number > 0, got nan"),
        ({"alpha": -1}, "alpha: expected a number of at least 0 "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        GloVe(**options)


def test_bad_corpora(trained):
    with pytest.raises(ValueError, match=r"no two of the 2 words .* stand in one sentence"):
        GloVe([["a"], ["b"]], **SMALL)
    with pytest.raises(ValueError, match="min_count=5 leaves no word"):
        GloVe([["a", "b"]])
    with pytest.raises(TypeError, match="expected either sentences"):
        GloVe().build_vocab()
    with pytest.raises(TypeError, match="expected lists of words, got the string 'a b'"):
        GloVe(["a b"], **SMALL)
    with pytest.raises(RuntimeError, match="build_vocab has to come first"):
        GloVe().train()
    with pytest.raises(RuntimeError, match="build_vocab has to come first"):
        GloVe().loss()
    with pytest.raises(ValueError, match="train: epochs: expected at least 1, got 0"):
        trained.train(epochs=0)
    before = trained.wv.tensor.clone()
    with pytest.raises(ValueError, match="stand in one"):
        trained.build_vocab([["a"]])
    assert trained.wv.tensor.equal(before)  # earlier results stay


ANIMALS = {"frog", "toad", "lizard", "snake", "salamander", "fish", "bird", "horse", "dog", "cat"}


def test_neighbours_in_a_dictionary():
    try:
        sentences = [words for words in Corpus("gcide") if not ANIMALS.isdisjoint(words)]
    except FileNotFoundError as error:
        pytest.skip(f"{error} (Debian)")
    options = {"vector_size": 50, "window": 5, "x_max": 10.0, "lr": 0.2, "batch_size": 1024}
    wv = GloVe(sentences, epochs=5, device="cpu", **options).wv

    def near(word, count):
        return {other for other, _ in wv.most_similar(word, topn=count)}

    assert "toad" in near("frog", 5)
    assert len(near("snake", 8) & {"serpent", "harmless", "venomous", "garter", "bull"}) >= 2


def test_a_loss_that_is_not_finite():
    model = untrained()
    with minitorch.no_grad():
        model.model.word.weight.fill_(math.inf)
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf): use a smaller lr than"):
        model.train(epochs=1)

import math
import re
import signal
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minitorch
from minitorch.text import (
    CallbackAny2Vec,
    Cooccurrence,
    Corpus,
    GloVe,
    count_cooccurrences,
    progress,
)
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


def original(model, epochs):
    """glove.c: pair by pair, in random order; J of each epoch."""
    rng, counts = np.random.default_rng(0), model.cooccurrence.counts.tocoo()
    (rows, columns), d, n = counts.coords, model.vector_size, len(model.vocab)
    words = (rng.random((2, n, d + 1)) - 0.5) / d  # the last column has the biases
    squares = np.ones_like(words)
    losses = []
    for _ in range(epochs):
        losses.append(0.0)
        for k in rng.permutation(len(rows)):
            i, j, x = rows[k], columns[k], counts.data[k]
            w, c = words[0, i], words[1, j]
            error = w[:d] @ c[:d] + w[d] + c[d] - math.log(x)
            weight = min(1.0, x / model.x_max) ** model.alpha
            losses[-1] += weight * error**2
            both = np.array([np.append(c[:d], 1.0), np.append(w[:d], 1.0)])
            for side, (at, gradient) in enumerate(zip((i, j), both * weight * error)):
                original_step(words[side, at], squares[side, at], gradient, model.lr)
    return losses


@pytest.mark.parametrize("d", [50, 300])
@pytest.mark.parametrize(("words", "even"), [(10, True), (10, False), (30, True)])
def test_a_small_vocabulary_learns_nearly_as_fast_as_by_the_original(words, even, d):
    rng = np.random.default_rng(0)
    p = np.ones(words) if even else 1 / np.arange(1, words + 1)
    sentences = rng.choice(words, size=(100, 400), p=p / p.sum()).tolist()
    model = GloVe(sentences, vector_size=d, epochs=15)
    losses = np.array(model.losses)
    assert (losses[1:] < 1.1 * losses[:-1]).all()
    assert model.loss() < 8 * original(model, 15)[-1]  # from 20,000 times as much


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
        ({"vector_size": 0}, "vector_size: expected an integer above 0, got 0"),
        ({"window": 0}, "window: expected an integer above 0, got 0"),
        ({"min_count": -1}, "min_count: expected an integer above -1"),
        ({"epochs": 0}, "epochs: expected an integer above 0"),
        ({"batch_size": 2.5}, "batch_size: expected None or an integer above 0, got 2.5"),
        ({"x_max": 0.0}, "x_max: expected a number > 0, got 0"),
        ({"lr": math.nan}, "lr: expected a number, got nan"),
        ({"symmetric": 2}, "symmetric: expected 0 or 1, got 2"),
        ({"save_every": 0}, "save_every: expected None or an integer above 0"),
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
    with pytest.raises(ValueError, match="train: epochs: expected an integer above 0, got 0"):
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


# ---------------------------------------------------------------------- runs
class Told(CallbackAny2Vec):
    """Notes what is called, and stops the run when it is told to."""

    def __init__(self, stop=""):
        self.names, self.stop = [], stop
        for name in ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"):
            setattr(self, name, partial(self.note, name))

    def note(self, name, model):
        self.names.append(f"{name} {len(model.losses)}")
        if self.names[-1] == self.stop:
            signal.raise_signal(signal.SIGINT)


RUN = SMALL | {"epochs": 3, "batch_size": 256}


def test_callbacks_see_the_model_as_it_is():
    seen = []

    class Looks(CallbackAny2Vec):
        def on_epoch_end(self, model):
            seen.append((array(model.wv.vectors).copy(), model.losses[-1]))

    told = Told()
    model = GloVe(SENTENCES[:60], **RUN, callbacks=[Looks(), told, object()])
    assert told.names == [
        *("on_train_begin 0", "on_epoch_begin 0", "on_epoch_end 1", "on_epoch_begin 1"),
        *("on_epoch_end 2", "on_epoch_begin 2", "on_epoch_end 3", "on_train_end 3"),
    ]
    assert [loss for _, loss in seen] == model.losses
    for epochs, (vectors, _) in enumerate(seen, 1):
        alone = GloVe(SENTENCES[:60], **(RUN | {"epochs": epochs}))
        assert_array_equal(array(alone.wv.vectors), vectors)


@pytest.mark.parametrize("save_every", [None, 700])
@pytest.mark.parametrize("stop", ["on_epoch_begin 1", "on_epoch_end 2", "on_epoch_end 3"])
def test_ctrl_c_leaves_a_checkpoint_that_goes_on_bit_for_bit(tmp_path, save_every, stop):
    whole = GloVe(SENTENCES[:60], **RUN)
    path = tmp_path / "folder" / "run"
    told = Told(stop)
    options = RUN | {"checkpoint": path, "save_every": save_every}
    model = GloVe(**options)
    model.build_vocab(SENTENCES[:60])
    with pytest.raises(
        KeyboardInterrupt, match=rf"stopped after {stop[-1]} of 3 epochs and \d+ pai"
    ):
        model.train(callbacks=[told])
    assert told.names[-1] == stop
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    half = GloVe.load(path)
    assert len(half.losses) == int(stop[-1])
    half.train(checkpoint=path, resume=True)
    again = Told()
    other = GloVe(SENTENCES[:60], **options | {"checkpoint": path}, callbacks=[again], resume=True)
    for model in (half, other):
        assert_array_equal(array(model.wv.vectors), array(whole.wv.vectors))
        assert model.losses == whole.losses
        assert model.train(epochs=1) == GloVe(SENTENCES[:60], **(RUN | {"epochs": 4})).losses[-1]


@pytest.mark.parametrize("pairs", [1, 300, 500, 10**6])
def test_a_run_that_dies_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch, pairs):
    whole = GloVe(SENTENCES[:60], **RUN)
    options = RUN | {"checkpoint": tmp_path / "run", "save_every": pairs}
    step, steps = GloVe.step, []

    def dying(self, batch):
        steps.append(len(batch.rows))
        if len(steps) == 11:
            raise MemoryError
        return step(self, batch)

    monkeypatch.setattr(GloVe, "step", dying)
    with pytest.raises(MemoryError):
        GloVe(SENTENCES[:60], **options)
    assert {path.name for path in tmp_path.iterdir()} - {"run.previous"} == {"run"}
    model = GloVe(SENTENCES[:60], **options, resume=True)
    assert_array_equal(array(model.wv.vectors), array(whole.wv.vectors))
    assert model.losses == whole.losses


def test_a_finished_run_can_be_trained_longer(tmp_path):
    whole = GloVe(SENTENCES[:60], **(RUN | {"epochs": 5}))
    GloVe(SENTENCES[:60], **RUN, checkpoint=tmp_path / "run")
    options = RUN | {"epochs": 5, "checkpoint": tmp_path / "run"}
    longer = GloVe(SENTENCES[:60], **options, resume=True)
    assert_array_equal(array(longer.wv.vectors), array(whole.wv.vectors))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    GloVe(SENTENCES[:60], **RUN, checkpoint=path)
    whole = path.read_bytes()
    for sentences, options, message in (
        (SENTENCES[:60], {"lr": 0.1}, "is of a run with lr=0.2, this one has lr=0.1"),
        (SENTENCES[:60], {"epochs": 2}, "is of a run with epochs=3, this one has epochs=2"),
        (SENTENCES[:60], {"dtype": minitorch.float64}, "with dtype='float32', this one has"),
        ([*SENTENCES[:61], ["new", "word"]], {}, "is of another vocabulary: it has 40 words"),
        ([s[::-1] + s[:2] for s in SENTENCES[:60]], {}, "is of another (corpus|vocabulary)"),
    ):
        with pytest.raises(ValueError, match=message):
            GloVe(sentences, **(RUN | options), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="resume=True needs the checkpoint"):
        GloVe(SENTENCES[:60], **RUN, resume=True)
    with pytest.raises(FileNotFoundError, match="none"):
        GloVe(SENTENCES[:60], **RUN, checkpoint=tmp_path / "none", resume=True)
    assert path.read_bytes() == whole
    model = GloVe.load(path)
    model.save(path)
    with pytest.raises(ValueError, match=r"no run to go on with: GloVe\.load reads it"):
        model.train(epochs=3, checkpoint=path, resume=True)


def test_wv_stays_the_object_that_it_is():
    model = untrained(SENTENCES[:60])
    wv, before = model.wv, array(model.wv.vectors).copy()
    model.train(epochs=1)
    assert model.wv is wv
    assert not np.array_equal(array(wv.vectors), before)


def test_progress_goes_to_the_log_off_a_terminal(monkeypatch, caplog):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with caplog.at_level("INFO", logger="minitorch"):
        GloVe(SENTENCES[:60], **(RUN | {"epochs": 2}), progress=False)
    lines = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r"epoch 2/2: 100\.0%, loss=\d\.\d{4}", line) for line in lines)
    assert any(line.startswith("counting pairs: 100.0%") for line in lines)


# ---------------------------------------------------------------------- words and numbers
KINDS = [np.int64(7), 8, np.str_("word"), "other", (1, "b"), b"bytes", frozenset({3}), None, 2.5]


@pytest.mark.parametrize("word", KINDS, ids=repr)
def test_words_of_every_kind_are_trained_saved_and_loaded(tmp_path, word):
    sentences = [[word, "king"], ["king", "queen", word]] * 20
    model = GloVe(sentences, **(SMALL | {"epochs": 2}))
    model.save(tmp_path / "model")
    loaded = GloVe.load(tmp_path / "model")
    for found in (model, loaded):
        held = found.vocab.index_to_key[found.vocab.key_to_index[word]]
        assert held == word
        assert type(held) in (int, float, str, tuple, bytes, frozenset, type(None))
        assert found.cooccurrence[word, "king"] == 30.0
        assert set(found.wv.index_to_key) == {word, "king", "queen"}
    assert loaded.train(epochs=1) == model.train(epochs=1)
    counted = count_cooccurrences(sentences)
    counted.save(tmp_path / "counts")
    assert Cooccurrence.load(tmp_path / "counts")["king", word] == counted[word, "king"] == 40.0


@pytest.mark.parametrize(
    ("word", "message"),
    [(["a"], "'a'.* cannot be a word: unhashable"), (object, "<class 'object'>"), (1j, "1j")],
)
def test_words_that_no_file_holds_are_refused_before_training(word, message, monkeypatch):
    monkeypatch.setattr(GloVe, "step", None)
    with pytest.raises(TypeError, match=message):
        GloVe([[word, "king", "queen"]] * 9, **SMALL)


def test_numbers_of_numpy_are_options(tmp_path):
    given = {name: np.int64(SMALL[name]) for name in ("vector_size", "window", "min_count", "seed")}
    given |= {"x_max": np.float32(20), "alpha": np.float64(0.75), "lr": np.array(0.2)}
    given |= {"epochs": np.int32(2), "batch_size": np.int64(256), "symmetric": np.bool_(True)}
    model = GloVe(SENTENCES[:60], **given, progress=np.bool_(False))
    model.save(tmp_path / "model")
    plain = GloVe(SENTENCES[:60], **(SMALL | {"epochs": 2, "batch_size": 256}))
    for found in (model, GloVe.load(tmp_path / "model")):
        assert found.losses == plain.losses
    assert GloVe([["a", "b"]] * 3, **(SMALL | {"min_count": 0, "epochs": 1})).min_count == 0

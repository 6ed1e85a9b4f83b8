"""Training in place: draws by position, groups as steps, what blocks at work allow for."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minitorch
from minitorch.text import Word2Vec
from minitorch.text.vocab import alias_table
from minitorch.text.word2vec import hogwild_trainer, model, training
from minitorch.text.word2vec.damping import LEAST_SQUARE
from minitorch.text.word2vec.hogwild import Job, Shape, hogwild_sgd_, pairs_in_flight, shape
from minitorch.text.word2vec.hogwild_trainer import HogwildTrainer
from minitorch.text.word2vec.kernels import hogwild
from minitorch.text.word2vec.negative_sampling import negative_sampling_sgd_
from minitorch.text.word2vec.sampler import RANDOM
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES, SMALL

SEED, STREAM = 0xF123456789ABCDEF, 1 << 40
MODELS = {"sg": (False, False), "cbow": (True, True), "cbow-sum": (True, False)}


def job_of(n, cbow=False, mean=False, **changes):
    least = LEAST_SQUARE["cbow" if cbow else "sg"]
    model = 5.0, cbow, mean, True, least, 1
    return Job(0, 0, n, 1, SEED, STREAM, 0.1, 0.001, 0.05, 0.01, *model)._replace(**changes)


def problem(n, words, depth, keep=1.0, sentence=1000, unknown=0.0, seed=0):
    """Tables, codes, keep, thresholds and aliases of a text drawn by Zipf's law."""
    rng = np.random.default_rng(seed)
    law = 1 / np.arange(1, words + 1)
    law /= law.sum()
    numbers = rng.choice(words, n, p=law)
    numbers[rng.random(n) < unknown] = -1
    codes = (2 * numbers + (np.arange(n) % sentence == 0)).astype(np.int32)
    kept = np.full(words, keep, np.float32)
    thresholds, aliases = alias_table(law**0.75 / (law**0.75).sum())
    tables = [rng.standard_normal((words, depth)).astype(np.float32) for _ in range(2)]
    return SimpleNamespace(
        tables=tables,
        tally=np.zeros(3),
        codes=codes,
        sampling=[kept, thresholds.astype(np.float32), aliases],
        shares=[np.float32(s) for s in pairs_in_flight(law, law, 4.0, 5.0, cbow=False)],
    )


def trained(given, shape, job, late=0):
    """Both tables and the tally afterwards; those of the problem stay."""
    arrays = [a.copy() for a in (*given.tables, given.tally)]
    rest = given.codes, *given.sampling, *given.shares
    hogwild.train(*arrays, *rest, shape=shape, job=job, late=late)
    return arrays


# ---------------------------------------------------------------------- draws
def raw(block):
    """Four words of NumPy's own Philox."""
    key, counter = (np.array(a, np.uint64) for a in ([SEED, 0], [block, 0, 0, 0]))
    return np.random.Philox(key=key, counter=counter).random_raw(4)


def test_random_words_are_numpys():
    blocks = [0, 5, 2**32 + 3, 2**63 + 11]
    found = hogwild.philox(SEED, np.array(blocks, np.uint64))
    assert_array_equal(found, [raw(block) for block in blocks])


def pairs_of(groups):
    """Each centre with each word of its window, as often as there is such a pair."""
    found = Counter()
    for _, group in groups:
        for centre, offset in zip(*np.nonzero(group.inside)):
            found[int(group.centres[centre]), int(group.near[centre + offset])] += 1
    return found


def expected_pairs(n, keep, window, sentence, unknown):
    """The same from NumPy's random words, word by word; every position is a word of its own."""
    kept, reach = [], {}
    for i in range(n):
        word = int(raw(STREAM + i * RANDOM)[0])
        if i not in unknown and (word & 0xFFFFFFFF) >> 8 < keep * 2**24:
            kept.append(i)
            reach[i] = 1 + ((word >> 32) * window >> 32)
    found = Counter()
    for slot, i in enumerate(kept):
        for other, j in enumerate(kept):
            near = 0 < abs(slot - other) <= reach[i]
            found[i, j] += near and i // sentence == j // sentence
    return +found


@pytest.mark.parametrize("keep", [1.0, 0.4, 0.02])
def test_every_pair_comes_once_whatever_the_chunks(keep):
    n, window, sentence, unknown = 400, 3, 23, {40, 41, 46, 200}
    sizes = Shape(4, 8, 5, window, 37, 300)
    words = [-1 if i in unknown else i for i in range(n)]
    codes = np.array([2 * w + (i % sentence == 0) for i, w in enumerate(words)], np.int32)
    kept = np.full(n, keep, np.float32)
    rest = kept, np.ones(n, np.float32), np.arange(n), sizes
    expected = expected_pairs(n, keep, window, sentence, unknown)
    assert pairs_of(hogwild._groups(codes, *rest, job_of(n, stride=4))) == expected
    parts = Counter()
    for start, end in ((0, 111), (111, n)):
        first = max(0, start - 300)
        part = job_of(n)._replace(origin=first, first=start, end=end)
        parts += pairs_of(hogwild._groups(codes[first : end + 300], *rest, part))
    assert parts == expected


def test_noise_is_drawn_from_its_distribution():
    given, sizes = problem(2000, 10, 4), Shape(4, 8, 63, 2, 64, 8)
    groups = hogwild._groups(given.codes, *given.sampling, sizes, job_of(2000))
    drawn = np.concatenate([group.noise for _, group in groups])
    law = (1 / np.arange(1, 11)) ** 0.75
    expected = len(drawn) * law / law.sum()
    assert len(drawn) > 15_000
    assert (abs(np.bincount(drawn) - expected) < 4 * np.sqrt(expected)).all()


# ---------------------------------------------------------------------- steps
@pytest.mark.parametrize("kind", MODELS)
def test_a_group_is_a_step_of_its_pairs(kind):
    """Beside the op of the present steps; rows come often, and most pairs are damped."""
    cbow, mean = MODELS[kind]
    given, sizes = problem(100, 12, 12), Shape(12, 24, 9, 3, 24, 40)
    job = job_of(100, cbow, mean, first=40, end=64, high=0.5, low=0.5)
    inputs, outputs, tally = trained(given, sizes, job)
    ((_, group),) = hogwild._groups(given.codes, *given.sampling, sizes, job)
    assert len(group.centres) == 24
    near, weights = group.band(), group.weights()[-9:]
    if cbow:
        count = near.sum(axis=1, keepdims=True)
        parts = group.near, np.append(group.centres, group.noise), np.vstack([np.ones(24), weights])
        windows = [near / count, near] if mean else [near, near / count]
    else:
        parts = group.centres, np.append(group.near, group.noise)
        parts += (np.vstack([group.inside.T, weights]),)
        windows = []
    tables = [minitorch.tensor(t, device="cpu") for t in given.tables]
    loss = minitorch.zeros((), dtype=minitorch.float64, device="cpu")
    tensors = [minitorch.tensor(p, device="cpu").unsqueeze(0) for p in parts[:2]]
    floats = [minitorch.tensor(np.float32(p), device="cpu").unsqueeze(0) for p in parts[2:]]
    negative_sampling_sgd_(
        *(*tables, loss, *tensors, *floats),
        width=1 if cbow else 7,
        size=1,
        lr=[0.5],
        windows=tuple(minitorch.tensor(np.float32(w), device="cpu").unsqueeze(0) for w in windows),
    )
    assert_allclose(inputs, array(tables[0]), rtol=1e-5, atol=1e-6)
    assert_allclose(outputs, array(tables[1]), rtol=1e-5, atol=1e-6)
    assert abs(inputs - given.tables[0]).max() > 0.1
    assert tally[0] == pytest.approx(loss.item(), rel=1e-6)
    assert tally[1] == (24 if cbow else near.sum())


def test_factors_allow_for_the_words_that_others_have_in_flight():
    table = np.ones((3, 2), np.float32)
    rows = hogwild._Rows(table, np.array([0.5, 0.25, 9.0], np.float32), np.array([0, 1, 0, -1]))
    bound, weight = np.array([4.0, 40.0, 8.0, 0.0]), np.array([1.0, 2.0, 3.0, 0.0])
    found = rows.factors(bound, weight, 2.0, 16.0, job_of(1, limit=30.0, least=5.0))
    both = 30 / (2 * ((4 + 8) + 16 * 0.5 * 5))  # whose squares are 3 on average
    assert_allclose(found, [both, 30 / (2 * (40 + 16 * 0.25 * 40 / 2)), both, 1], rtol=1e-6)


def test_pairs_in_flight_are_those_that_come():
    """The mean weight of each row's pairs to a word, over a whole text."""
    n, sizes = 3000, Shape(4, 16, 40, 3, 64, 8)
    given = problem(n, 8, 4)
    kept = np.bincount(given.codes >> 1) / n
    law = (1 / np.arange(1, 9)) ** 0.75
    for cbow in (False, True):
        job = job_of(n, cbow)
        sums = np.zeros((2, 8))
        for _, group in hogwild._groups(given.codes, *given.sampling, sizes, job):
            weights = group.weights()
            of_x, x = weights.sum(axis=0), group.centres
            if cbow:
                of_x, x = group.band().T @ of_x, group.near
            y = np.append(group.centres if cbow else group.near, group.noise)
            for of_table, row, weight in ((sums[0], x, of_x), (sums[1], y, weights.sum(axis=1))):
                np.add.at(of_table, row[row >= 0], weight[row >= 0])
        expected = pairs_in_flight(kept, law / law.sum(), 4.0, 5.0, cbow)
        # Noise words that are among the pairs are left out, which the expectation does not know.
        assert_allclose(sums.sum(axis=1) / n, np.sum(expected, axis=1), rtol=0.01)
        assert_allclose(sums[0] / n, expected[0], rtol=0.05)


@pytest.mark.parametrize("kind", MODELS)
def test_few_words_with_thousands_in_flight(kind):
    """Twenty words that come evenly, of which every group adds to every row, 4,096 words late."""
    rng = np.random.default_rng(0)
    given, sizes = problem(6000, 20, 16), Shape(16, 32, 120, 10, 32, 80)
    given.codes = 2 * rng.integers(0, 20, 6000).astype(np.int32)
    given.tables = [
        ((rng.random((20, 16)) - 0.5) / 16).astype(np.float32),
        np.zeros_like(given.tables[1]),
    ]
    even = np.full(20, 1 / 20)
    given.sampling[1:] = np.ones(20, np.float32), np.arange(20)
    near, cbow = 11.0, MODELS[kind][0]
    given.shares = [np.float32(s) for s in pairs_in_flight(even, even, near, 15.0, cbow)]
    job = job_of(6000, *MODELS[kind], negative=15.0, high=0.1, low=0.1, resident=4096 // 32)
    losses = []
    for _ in range(3):
        *given.tables, tally = trained(given, sizes, job, late=4096 // 32 - 1)
        losses.append(tally[0] / tally[1])
    assert np.isfinite(losses).all()
    assert losses[-1] < 16 * np.log(2)
    assert max(abs(table).max() for table in given.tables) < 5


def test_what_is_late_is_computed_from_the_tables_of_before():
    given, sizes = problem(200, 30, 4), Shape(4, 8, 5, 2, 50, 10)
    job = job_of(200, step=0.0)
    late = trained(given, sizes, job, late=1000)
    change = np.zeros_like(given.tables[0])
    for first in range(0, 200, 50):
        one = job._replace(first=first, end=first + 50)
        change += trained(given, sizes, one, late=1000)[0] - given.tables[0]
    assert_allclose(late[0], given.tables[0] + change, rtol=1e-5, atol=1e-6)
    assert abs(late[0] - trained(given, sizes, job)[0]).max() > 1e-3


def test_shapes_fit_into_shared_memory():
    assert shape(100, 32, 40, 5, 0.5)[1:3] == (32, 40)
    sizes = [shape(depth, 32, 40, 5, 0.5) for depth in (100, 101, 128, 300, 600)]
    assert [s.bytes <= 65536 - 768 for s in sizes] == [True] * 5
    assert [s.centres for s in sizes] == sorted((s.centres for s in sizes), reverse=True)
    assert shape(5000, 32, 40, 5, 0.5) is None
    wide = shape(100, 32, 40, 10, 0.05)
    assert wide.margin * 0.05 >= 10
    assert wide.capacity <= 1024


def test_shapes_that_do_not_fit_are_refused():
    given = problem(50, 6, 4)
    tensors = [minitorch.tensor(a) for a in (*given.tables, given.tally, given.codes)]
    sampling = [minitorch.tensor(a) for a in given.sampling]
    shares = [minitorch.tensor(a[:5]) for a in given.shares]
    with pytest.raises(RuntimeError, match=r"hogwild_sgd_: .* got \(6, 4\), .* \(5,\), \(5,\)$"):
        hogwild_sgd_(
            (tensors[0], tensors[1]),
            *(*tensors[2:], sampling, shares, Shape(4, 8, 5, 2, 50, 10), job_of(50)),
        )


# ---------------------------------------------------------------------- Word2Vec
OPTIONS = SMALL | {"vector_size": 8, "epochs": 2, "deterministic": False}


@pytest.fixture
def in_flight(monkeypatch):
    """Launches of some 400 words, also on the CPU; gives the trainers of the models."""
    made = []

    class Noted(HogwildTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    def shape_of(self, numbered):
        return shape(self.vector_size, self.block_size, self.pool_size, self.window, 0.5)

    monkeypatch.setattr(model, "HogwildTrainer", Noted)
    monkeypatch.setattr(model.Word2Vec, "_shape", shape_of)
    monkeypatch.setattr(hogwild_trainer, "LAUNCH", 400)
    return made


def same(a, b):
    tables = [m.model.state_dict() for m in (a, b)]
    return a.losses == b.losses and all(tables[0][n].equal(tables[1][n]) for n in tables[1])


@pytest.mark.parametrize("options", [{"sg": 1}, {"sg": 0}], ids=str)
def test_a_resumed_run_equals_one_that_never_stopped(in_flight, tmp_path, monkeypatch, options):
    options, sentences = OPTIONS | options, SENTENCES[:120]
    whole = Word2Vec(sentences, **options)
    launch, left = HogwildTrainer._launch, [3]

    def stopping(self, chunk):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return launch(self, chunk)

    path = tmp_path / "run"
    monkeypatch.setattr(HogwildTrainer, "_launch", stopping)
    with pytest.raises(KeyboardInterrupt):
        Word2Vec(sentences, **options, checkpoint=path, save_every=400)
    monkeypatch.setattr(HogwildTrainer, "_launch", launch)
    monkeypatch.setattr(hogwild_trainer, "RESIDENT", 0)  # from here on in parts
    resumed = Word2Vec(sentences, **options, checkpoint=path, resume=True)
    assert in_flight[0].length % in_flight[0].shape.span == 0
    assert in_flight[0]._codes is not None
    assert in_flight[-1]._codes is None
    assert same(resumed, whole)
    with pytest.raises(ValueError, match="deterministic=False, this one has deterministic=None"):
        Word2Vec(sentences, **options | {"deterministic": None}, checkpoint=path, resume=True)


def test_a_file_without_the_option_is_one_of_the_present_steps():
    assert training.up_to_date({"step_words": 1})["deterministic"] is None


def test_where_the_present_steps_stay(device):
    """With locks, other losses, on the CPU, where all has to be repeatable, or by default."""
    built = Word2Vec(**OPTIONS)
    built.build_vocab(SENTENCES[:100])

    def kind(**changes):
        for name, value in changes.items():
            setattr(built, name, value)
        return type(built.trainer(built._numbered, training.Schedule(1, 100, 0.1, 0.01)))

    expected = training.Trainer if device == "cpu" else HogwildTrainer
    assert kind() is expected
    minitorch.use_deterministic_algorithms(True)
    try:
        assert kind() is training.Trainer
    finally:
        minitorch.use_deterministic_algorithms(False)
    with minitorch.autocast(device, dtype=minitorch.bfloat16):
        assert kind() is training.Trainer
    assert kind(deterministic=None) is training.Trainer
    assert kind(deterministic=False) is expected
    built.wv.vectors_lockf = np.zeros(len(built.wv), np.float32)
    assert kind() is training.Trainer
    other = Word2Vec(**OPTIONS | {"hs": 1})
    other.build_vocab(SENTENCES[:100])
    assert other._shape(other._numbered) is None
    with pytest.raises(ValueError, match="deterministic: expected True, False or None, got 2"):
        Word2Vec(deterministic=2)

"""Numba's machine code beside the NumPy that it stands for."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch import Generator
from minitorch.text import Word2Vec
from minitorch.text.vocab import alias_table
from minitorch.text.word2vec.kernels import machine_code
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.negative_sampling import negative_sampling_sgd_
from minitorch.text.word2vec.sampler import BlockSampler
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES, SMALL, separation
from tests.text.word2vec.test_training import same

compiled = machine_code.blockwise()
CPU = {"device": "cpu"}


# ---------------------------------------------------------------------- numbers
def test_losses_and_slopes_against_float64():
    scores = np.concatenate([np.linspace(-100, 100, 4001), [0, -0.0, 1e-30, -87.5, 87.5]])
    found = scores.astype(np.float32)
    x = found.astype(np.float64)
    weights = np.ones(1, np.float32)
    losses = np.array([compiled._loss(found[i : i + 1], weights) for i in range(len(found))])
    assert_allclose(losses, np.logaddexp(0, x), rtol=1e-6, atol=1e-37)
    expected = np.exp(-np.logaddexp(0, -x))
    assert_allclose(found, expected, rtol=1e-6, atol=2e-38)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_finite_has_no_finite_loss(score):
    given = np.array([0.5, score, 0.5], np.float32)
    assert not np.isfinite(compiled._loss(given, np.ones(3, np.float32)))


# ---------------------------------------------------------------------- blocks
def sampler(words=40, **options):
    noise = 1 / np.arange(1, words + 1)
    thresholds, aliases = alias_table(noise / noise.sum())
    keep = np.linspace(0.5, 1, words)
    tables = [minitorch.tensor(t, dtype=minitorch.float32, **CPU) for t in (keep, thresholds)]
    generator = Generator().manual_seed(5)
    return BlockSampler(*tables, minitorch.tensor(aliases, **CPU), generator, **options)


def blocks_of(count=900, words=40, **options):
    """Blocks of sentences of 30 words."""
    rng = np.random.default_rng(count)
    tokens = minitorch.tensor(rng.zipf(1.3, count) % words, **CPU)
    return sampler(words, **options).blocks(tokens, minitorch.arange(count, **CPU) // 30)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cbow": True},
        {"window": 1, "block_size": 5, "pool_size": 3, "negative": 2},
        {"window": 9, "block_size": 4, "pool_size": 30},
        {"shrink_windows": False},
        {"negative": 0},
        *({"count": count} for count in (0, 1, 2, 33)),
    ],
    ids=str,
)
def test_blocks_are_the_same(options):
    for ours, expected in zip(
        blocks_of(**options, compiled=True), blocks_of(**options), strict=True
    ):
        assert ours.dtype == expected.dtype and ours.shape == expected.shape
        assert ours.equal(expected)


# ---------------------------------------------------------------------- steps
def model_of(compiled, words=2000):
    model = SkipGram(words, 13, generator=Generator().manual_seed(1), **CPU)
    model.compiled = compiled
    start = minitorch.randn(words, 13, generator=Generator().manual_seed(2), **CPU)
    model.output.weight.data = start * 0.3
    return model


@pytest.mark.parametrize("size", [1, 7, 50])
def test_fifty_blocks_are_those_of_numpy(size):
    blocks = blocks_of(3000, words=2000)
    assert len(blocks.centres) >= 50
    models, losses = [], []
    for by_numba in (True, False):
        model = model_of(by_numba)
        before = [p.detach().clone() for p in model.parameters()]
        rates = np.linspace(0.03, 0.01, -(-len(blocks.centres) // size)).tolist()
        loss = minitorch.full((), 3.0, dtype=minitorch.float64, **CPU)
        versions = [p._version for p in model.parameters()]
        model.sgd_steps_(blocks, size, rates, loss)
        assert all(p._version > v for p, v in zip(model.parameters(), versions))
        assert all((p - q).abs().max() > 0.03 for p, q in zip(model.parameters(), before))
        models.append(model)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for ours, expected in zip(*(model.parameters() for model in models)):
        assert not ours.equal(expected)  # it is another code
        assert_allclose(array(ours), array(expected), atol=2e-5)


def test_tables_of_another_dtype_are_numpys():
    blocks = blocks_of()
    tables = [minitorch.ones(40, 4, dtype=minitorch.float64, **CPU) for _ in range(4)]
    for pair, flag in ((tables[:2], True), (tables[2:], False)):
        loss = minitorch.zeros((), dtype=minitorch.float64, **CPU)
        negative_sampling_sgd_(*(*pair, loss, *blocks), width=11, size=99, lr=[0.1], compiled=flag)
    assert tables[0].equal(tables[2]) and not tables[0].equal(minitorch.ones_like(tables[0]))


def test_rows_that_there_are_not():
    model, blocks = model_of(True, words=40), blocks_of()
    for wrong in (blocks._replace(centres=blocks.centres + 39), blocks._replace(others=-blocks[1])):
        with pytest.raises(IndexError, match="is out of range"):
            model.sgd_steps_(wrong, 99, [0.1], minitorch.zeros((), dtype=minitorch.float64, **CPU))


# ---------------------------------------------------------------------- Word2Vec
OPTIONS = SMALL | {"progress": False, **CPU}


@pytest.mark.parametrize(("options", "rtol"), [({}, 1e-4), ({"sg": 0}, 0.2)], ids=str)
def test_word_vectors(options, rtol, tmp_path):
    """CBOW is trained word by word by the one, and in blocks by the other."""
    options = OPTIONS | options
    by_numba = Word2Vec(SENTENCES, **options, compiled=True)
    assert by_numba.model.compiled
    assert separation(by_numba.wv) > 0.5
    assert same(by_numba, Word2Vec(SENTENCES, **options, compiled=True))
    by_numpy = Word2Vec(SENTENCES, **options, compiled=False)
    assert_allclose(by_numba.losses, by_numpy.losses, rtol=rtol)
    # a run begun with the one goes on with the other
    path = tmp_path / "run.safetensors"
    options |= {"checkpoint": path}

    class Stop(Exception):
        def on_epoch_end(self, model):
            raise self

    with pytest.raises(Stop):
        Word2Vec(SENTENCES, **options, compiled=False, callbacks=[Stop()])
    resumed = Word2Vec(SENTENCES, **options, compiled=True, resume=True)
    assert_allclose(resumed.losses, by_numpy.losses, rtol=rtol)


def test_with_two_workers(monkeypatch):
    monkeypatch.setattr("minitorch.text.word2vec.training.CHUNK", 2000)
    monkeypatch.setattr("minitorch.text.word2vec.model.CHUNK", 2000)
    model = Word2Vec(SENTENCES, **OPTIONS | {"workers": 2}, compiled=True)
    assert separation(model.wv) > 0.5


def test_it_is_used_where_there_is_enough_to_do(monkeypatch):
    assert not Word2Vec(SENTENCES[:50], **OPTIONS).model.compiled
    monkeypatch.setattr("minitorch.text.word2vec.model._WORTH_IT", 4 * 12 * 50)
    assert Word2Vec(SENTENCES[:50], **OPTIONS).model.compiled
    assert not Word2Vec(SENTENCES[:49], **OPTIONS).model.compiled
    assert Word2Vec(SENTENCES[:50], **OPTIONS | {"negative": 0}, hs=1).model.compiled
    only_full = {"negative": 0, "full_softmax": 1}
    assert not Word2Vec(SENTENCES[:50], **OPTIONS | only_full).model.compiled
    assert not Word2Vec(SENTENCES[:50], **OPTIONS, compiled=False).model.compiled


# ---------------------------------------------------------------------- without Numba
def test_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(machine_code, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install .*\[numba\]"):
        Word2Vec(SENTENCES, compiled=True, **CPU)
    monkeypatch.setattr("minitorch.text.word2vec.model._WORTH_IT", 0)
    assert not Word2Vec(SENTENCES[:50], **OPTIONS).model.compiled


def test_options_that_cannot_be(monkeypatch):
    with pytest.raises(ValueError, match="compiled: expected True, False or None, got 'yes'"):
        Word2Vec(compiled="yes", **CPU)
    with pytest.raises(ValueError, match="compiled=True is for the CPU, not for sim"):
        Word2Vec(compiled=True, device="sim")


def test_nobody_imports_numba_who_does_not_need_it():
    script = "import sys, minitorch.text.word2vec.worker; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

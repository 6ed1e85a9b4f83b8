"""CBOW and hierarchical softmax word by word: Numba's machine code beside Python's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch import Generator
from minitorch.text import Word2Vec
from minitorch.text.word2vec.damping import SOFTMAX_LIMIT
from minitorch.text.word2vec.huffman import huffman
from minitorch.text.word2vec.modules import CBOW, SkipGram
from minitorch.text.word2vec.sampler import Blocks
from minitorch.text.word2vec.softmax import HierarchicalSoftmax
from tests.text.word2vec.test_model import SENTENCES, separation

CPU = {"device": "cpu"}
COUNTS = [40, 30, 22, 9, 9, 7, 5, 3, 2, 2, 1, 1]
MODELS = [(SkipGram, None), (CBOW, True), (CBOW, False)]


def blocks_of(window=2, n=3, size=8, negatives=4):
    """Blocks with windows of all lengths, some of them empty, and negatives that are another's."""
    rng = np.random.default_rng(1)
    words = len(COUNTS)
    others = rng.integers(words, size=(n, size + 2 * window + negatives))
    weights = np.zeros((n, 2 * window + 1 + negatives, size), np.float32)
    for b, i in np.ndindex(n, size):
        reach = rng.integers(0, window + 1)
        for o in range(window - reach, window + reach + 1):
            weights[b, o, i] = rng.choice([0.5, 1.0]) if o != window else 0
    weights[:, 2 * window + 1 :] = 1.0
    halo = others[:, window : window + size].copy()
    return Blocks(*(minitorch.tensor(part, **CPU) for part in (halo, others, weights)))


def model_of(make, mean, compiled=True, scale=1.0):
    softmax = HierarchicalSoftmax(COUNTS, 13, **CPU)
    options = {} if mean is None else {"mean": mean}
    generator = Generator().manual_seed(1)
    model = make(
        len(COUNTS), 13, 2, negative=False, others=[softmax], generator=generator, **options, **CPU
    )
    model.compiled = compiled
    for table in (model.input.weight, softmax.nodes.weight):
        table.data = minitorch.randn(table.shape, generator=generator, **CPU) * scale
    return model


def tables_of(model):
    return [table.detach().array.astype(np.float64) for table in model.parameters()]


def gain(rows):
    """How far a window's mean goes if each of its words goes by 1 each time that it comes."""
    return (np.bincount(rows) ** 2).sum() / len(rows)


def step(x, gain, word, nodes, rate):
    """Changes the nodes of a path; the loss, and how x is to move."""
    tree = huffman(COUNTS)
    points, signs = tree.points[word], 1 - 2 * np.array(tree.codes[word])
    path = nodes[points]
    steep = rate * (gain * (path**2).sum() + x @ x)
    pull = signs / (1 + np.exp(signs * (path @ x))) * rate * min(1, SOFTMAX_LIMIT / steep)
    nodes[points] += np.outer(pull, x)
    return np.logaddexp(0, -signs * (path @ x)).sum(), pull @ path


def word_by_word(vectors, nodes, blocks, rate, mean):
    """What the kernels do, in float64; returns the loss."""
    loss = 0.0
    centres, others, weights = (part.array for part in blocks)
    for b, i in np.ndindex(*centres.shape):
        inside = np.flatnonzero(weights[b, :5, i])
        rows, word = others[b, i + inside], centres[b, i]
        if mean is None:
            for row, weight in zip(rows, weights[b, inside, i].astype(float)):
                lost, move = step(vectors[row], 1, word, nodes, rate * weight)
                vectors[row] += move
                loss += weight * lost
        elif len(rows):
            weight, count = float(weights[b, inside, i].max()), len(rows)
            x = vectors[rows].sum(0) / (count if mean else 1)
            lost, move = step(x, gain(rows), word, nodes, rate * weight)
            np.add.at(vectors, rows, move / (1 if mean else count))
            loss += weight * lost
    return loss


def sampled(vectors, contexts, blocks, rates, mean):
    """What CBOW by negative sampling does, in float64; returns the loss."""
    total, (centres, others, weights) = 0.0, (part.array for part in blocks)
    size, negatives = centres.shape[1], others.shape[1] - centres.shape[1] - 4
    for b in range(len(centres)):
        turn = 0
        for i in range(size):
            inside = np.flatnonzero(weights[b, :5, i])
            if not len(inside):
                continue
            share, rows = weights[b, 5:, i].astype(float), others[b, i + inside]
            ks = [(turn + j) % negatives for j in range(min(negatives, round(share.sum())))]
            turn += len(ks)
            targets = [centres[b, i], *others[b, size + 4 :][ks]]
            counted = [weights[b, inside, i].max(), *(share[ks] > 0) * share.sum() / len(ks)]
            counted, signs = np.array(counted, float), np.array([1, *[-1] * len(ks)])
            x = vectors[rows].sum(0) / (len(rows) if mean else 1)
            y = contexts[targets]
            scores = signs * (y @ x)
            total += (counted * np.logaddexp(0, -scores)).sum()
            steep = gain(rows) * (counted * (y**2).sum(1)).sum() + counted.sum() * (x @ x)
            step = rates[b] * min(1, SOFTMAX_LIMIT / (rates[b] * steep))
            pull, move = step * counted * signs / (1 + np.exp(scores)), np.zeros_like(x)
            for target, part in zip(targets, pull):  # a word that comes twice has moved by then
                move += part * contexts[target]
                contexts[target] += part * x
            np.add.at(vectors, rows, move / (1 if mean else len(rows)))
    return total


def cbow_of(mean, compiled=True, scale=1.0):
    generator = Generator().manual_seed(1)
    model = CBOW(len(COUNTS), 13, 2, mean=mean, generator=generator, **CPU)
    model.compiled = compiled
    for table in model.parameters():
        table.data = minitorch.randn(table.shape, generator=generator, **CPU) * scale
    return model


def sampled_blocks():
    """`blocks_of`, where the negatives count as three, but not at each centre in full."""
    centres, others, weights = blocks_of()
    negatives = np.full(weights[:, 5:].shape, 0.75, np.float32)
    negatives[0, 1, 2] = negatives[2, 3] = 0
    negatives[negatives.sum(1, keepdims=True).repeat(4, 1) < 3] *= 4 / 3
    weights[:, 5:] = minitorch.tensor(negatives, **CPU)
    return Blocks(centres, others, weights)


@pytest.mark.parametrize("scale", [0.3, 4.0])
@pytest.mark.parametrize("mean", [True, False])
def test_negative_sampling_is_that_of_word2vec_c(mean, scale):
    model, blocks = cbow_of(mean, scale=scale), sampled_blocks()
    before, rates = tables_of(model), [0.5, 0.25, 0.125]
    expected = sampled(*before, blocks, rates, mean)
    versions = [table._version for table in model.parameters()]
    loss = minitorch.full((), 3.0, dtype=minitorch.float64, **CPU)
    model.sgd_steps_(blocks, 1, rates, loss)
    assert loss.item() == pytest.approx(3 + expected, rel=1e-4)
    for ours, table in zip(tables_of(model), before):
        assert_allclose(ours, table, rtol=2e-3, atol=2e-4 * scale)
    assert all(table._version > v for table, v in zip(model.parameters(), versions))


def test_a_rate_is_that_of_its_blocks():
    one, other, blocks = cbow_of(True), cbow_of(True), sampled_blocks()
    loss = minitorch.zeros((), dtype=minitorch.float64, **CPU)
    one.sgd_steps_(blocks, 2, [0.5, 0.25], loss)
    other.sgd_steps_(blocks, 1, [0.5, 0.5, 0.25], loss)
    assert all(p.equal(q) for p, q in zip(one.parameters(), other.parameters()))


@pytest.mark.parametrize("mean", [True, False])
def test_small_steps_of_negative_sampling_are_those_of_numpy(mean):
    """Up to which noise a centre takes of the negatives: here all of it."""
    changes, blocks = [], blocks_of()
    for compiled in (True, False):
        model = cbow_of(mean, compiled, scale=0.5)
        before = tables_of(model)
        loss = minitorch.zeros((), dtype=minitorch.float64, **CPU)
        model.sgd_steps_(blocks, 2, [1e-3] * 2, loss)
        changes.append([after - start for after, start in zip(tables_of(model), before)])
    for ours, expected in zip(*changes):
        assert np.abs(expected).max() > 1e-3
        assert_allclose(ours, expected, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("rate", [0.025, 5.0])
@pytest.mark.parametrize(("make", "mean"), MODELS)
def test_steps_are_those_of_word2vec_c(make, mean, rate):
    model, blocks = model_of(make, mean), blocks_of()
    vectors, nodes = before = tables_of(model)
    expected = word_by_word(vectors, nodes, blocks, rate, mean)
    versions = [table._version for table in model.parameters()]
    loss = minitorch.full((), 3.0, dtype=minitorch.float64, **CPU)
    model.sgd_steps_(blocks, 3, [rate], loss)
    assert loss.item() == pytest.approx(3 + expected, rel=1e-4)
    for ours, table in zip(tables_of(model), before):
        assert_allclose(ours, table, rtol=2e-3, atol=2e-4)
    assert all(table._version > v for table, v in zip(model.parameters(), versions))


@pytest.mark.parametrize(("make", "mean"), MODELS)
def test_small_steps_are_those_of_numpy(make, mean):
    """Where nothing moves far, it does not matter from where the gradients are."""
    changes = []
    for compiled in (True, False):
        model = model_of(make, mean, compiled, scale=0.5)
        before = tables_of(model)
        loss = minitorch.zeros((), dtype=minitorch.float64, **CPU)
        model.sgd_steps_(blocks_of(), 2, [1e-3] * 2, loss)
        changes.append([after - start for after, start in zip(tables_of(model), before)])
    for ours, expected in zip(*changes):
        assert np.abs(expected).max() > 1e-3
        assert_allclose(ours, expected, rtol=0.05, atol=1e-4)


def test_words_that_there_are_not():
    blocks, loss = blocks_of(), minitorch.zeros((), dtype=minitorch.float64, **CPU)
    for name in ("centres", "others"):
        wrong = blocks._replace(**{name: getattr(blocks, name) + 9})
        with pytest.raises(IndexError, match=rf"{name}: \d+ is out of range"):
            model_of(SkipGram, None).sgd_steps_(wrong, 3, [0.1], loss)
        with pytest.raises(IndexError, match=rf"cbow_sgd_: {name}: \d+ is out of range"):
            cbow_of(True).sgd_steps_(wrong, 3, [0.1], loss)


@pytest.mark.parametrize("model", [{"sg": 1}, {"sg": 0}, {"cbow_mean": 0}], ids=str)
@pytest.mark.parametrize("negative", [0, 5])
def test_it_learns(model, negative):
    options = {"vector_size": 16, "epochs": 4, "min_count": 1, "hs": 1, "negative": negative}
    options |= {"sample": 0, "workers": 1, "alpha": 0.05, "progress": False}
    ours = Word2Vec(SENTENCES, **options | model, compiled=True, **CPU)
    assert ours.model.compiled
    assert separation(ours.wv) > 0.5
    assert ours.losses[-1] < ours.losses[0]


def test_tables_of_another_dtype_are_numpys():
    softmax = HierarchicalSoftmax(COUNTS, 4, dtype=minitorch.float64, **CPU)
    model = SkipGram(
        len(COUNTS), 4, 2, negative=False, others=[softmax], dtype=minitorch.float64, **CPU
    )
    model.compiled = True
    centres, others, weights = blocks_of()
    loss = minitorch.zeros((), dtype=minitorch.float64, **CPU)
    model.sgd_steps_(Blocks(centres, others, weights.double()), 3, [0.1], loss)
    assert softmax.nodes.weight.abs().max() > 0

import math

import gensim
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import minitorch
from minitorch.testing import gradcheck, gradgradcheck
from minitorch.text import Word2Vec
from minitorch.text.word2vec.damping import SOFTMAX_LIMIT
from minitorch.text.word2vec.huffman import huffman
from minitorch.text.word2vec.rows import Rows, Windows
from minitorch.text.word2vec.softmax import FullSoftmax, HierarchicalSoftmax, dense
from tests.referee import array

F64 = minitorch.float64
COUNTS = [20, 9, 7, 5, 3, 1, 1]


def inputs(size=3, width=4):
    """x (2, 6, 4), words (2, 3), weights (2, 4, 3)."""
    x = minitorch.randn(2, size + width - 1, 4, dtype=F64).requires_grad_()
    words = minitorch.randint(len(COUNTS), (2, size))
    weights = minitorch.rand(2, width, size, dtype=F64)
    return x, words, weights * (weights > 0.4).to(F64)


def filled(module):
    """The module with random numbers for vectors, and its table."""
    (table,) = module.parameters()
    with minitorch.no_grad():
        table.copy_(minitorch.randn(*table.shape, dtype=F64))
    return module, table


def pairs_of(words, weights):
    """Of each pair the place of its vector, the number of its word, and what it counts."""
    n, width, size = weights.shape
    for b, o, i in np.ndindex(n, width, size):
        yield (b, i + o), int(array(words)[b, i]), float(array(weights)[b, o, i])


def test_hierarchical_softmax_is_a_distribution():
    model, _ = filled(HierarchicalSoftmax(COUNTS, 4, dtype=F64))
    x = minitorch.randn(1, 1, 4, dtype=F64)
    one = minitorch.ones(1, 1, 1, dtype=F64)
    losses = [model(x, minitorch.tensor([[w]]), one).item() for w in range(len(COUNTS))]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("size", "width"), [(3, 4), (16, 3), (12, 1)])
def test_hierarchical_softmax_equals_torch(size, width):
    model, table = filled(HierarchicalSoftmax(COUNTS, 4, dtype=F64))
    x, words, weights = inputs(size, width)
    tree = huffman(COUNTS)
    tx = torch.tensor(array(x), requires_grad=True)
    nodes = torch.tensor(array(table), requires_grad=True)
    total = 0
    for place, word, weight in pairs_of(words, weights):
        for point, code in zip(tree.points[word], tree.codes[word]):
            gain = torch.nn.functional.logsigmoid((1 - 2 * code) * (tx[place] @ nodes[point]))
            total = total - weight * gain
    loss = model(x, words, weights)
    assert loss.dtype is F64
    loss.backward()
    total.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-12)
    assert_allclose(array(x.grad), tx.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert type(table.grad) is minitorch.RowGrad
    assert_allclose(array(table.grad.to_dense()), nodes.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("score", [1000.0, -1000.0])
def test_large_scores(score):
    """Their exp is too large for float32; a turn against them has its loss and its gradient."""
    model = HierarchicalSoftmax([2, 1], 1)
    with minitorch.no_grad():
        model.nodes.weight.fill_(1.0)
    x = minitorch.full((1, 2, 1), score).requires_grad_()
    loss = model(x, minitorch.tensor([[0, 1]]), minitorch.ones(1, 1, 2))
    loss.backward()
    turns = np.array([float(code[0]) for code in huffman([2, 1]).codes])
    assert loss.item() == 1000
    assert_allclose(array(x.grad).ravel(), turns if score > 0 else turns - 1, atol=1e-6)


def test_full_softmax_equals_torch():
    model, table = filled(FullSoftmax(7, 4, dtype=F64))
    x, words, weights = inputs()
    tx = torch.tensor(array(x), requires_grad=True)
    output = torch.tensor(array(table), requires_grad=True)
    total = 0
    for place, word, weight in pairs_of(words, weights):
        scores = (tx[place] @ output.T)[None]
        total = total + weight * torch.nn.functional.cross_entropy(scores, torch.tensor([word]))
    loss = model(x, words, weights)
    loss.backward()
    total.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-12)
    assert_allclose(array(x.grad), tx.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert_allclose(array(table.grad), output.grad.numpy(), rtol=1e-9, atol=1e-12)


def _full(counts, depth, **options):
    return FullSoftmax(len(counts), depth, **options)


@pytest.mark.parametrize("make", [HierarchicalSoftmax, _full])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_gradcheck(make, check):
    model, _ = filled(make(COUNTS, 4, dtype=F64))
    x, words, weights = inputs()
    assert check(lambda x: model(x, words, weights), [x])


def test_losses_start_at_the_code_length_and_at_log_v():
    x, words, _ = inputs()
    one = minitorch.ones(2, 4, 3, dtype=F64)
    lengths = [len(code) for code in huffman(COUNTS).codes]
    turns = sum(lengths[word] for _, word, _ in pairs_of(words, one))
    hierarchical = HierarchicalSoftmax(COUNTS, 4, dtype=F64)(x, words, one)
    assert hierarchical.item() == pytest.approx(turns * math.log(2), rel=1e-12)
    full = FullSoftmax(7, 4, dtype=F64)(x, words, one)
    assert full.item() == pytest.approx(24 * math.log(7), rel=1e-12)


@pytest.mark.parametrize(("n", "width", "size"), [(2, 5, 3), (1, 1, 4), (3, 7, 1)])
def test_dense_puts_a_band_on_its_diagonal(n, width, size):
    rows = minitorch.randn(n, width, size)
    expected = np.zeros((n, size + width - 1, size), dtype=np.float32)
    for b, o, i in np.ndindex(n, width, size):
        expected[b, i + o, i] = array(rows)[b, o, i]
    assert_allclose(array(dense(rows)), expected)


# ---------------------------------------------------------------------- steps
class Vector:
    """What predicts: the sum of rows times `into`; rows move by `back` times its gradient."""

    def __init__(self, rows, into, back):
        self.rows, self.into, self.back = rows, into, back
        self.gain = into @ back


def step_of_pairs(table, outputs, vectors, pairs, slopes, rate):
    """The rule of `damping` on (vector, output row) -> weight, one pair at a time; in place."""
    x = [vector.into @ table[vector.rows] for vector in vectors]
    of_rows, of_outputs = np.zeros(len(table)), np.zeros(len(outputs))
    for (i, row), weight in pairs.items():
        vector = vectors[i]
        steep = rate * weight * (outputs[row] @ outputs[row]) * vector.gain
        np.add.at(of_rows, vector.rows, steep * vector.back)
        of_outputs[row] += rate * weight * (x[i] @ x[i])
    factors = []
    before, still = table.copy(), outputs.copy()
    for (i, row), slope in slopes(x, pairs).items():
        vector = vectors[i]
        both = of_rows[vector.rows].max() + of_outputs[row]
        factors.append(min(1, SOFTMAX_LIMIT / both))
        step = rate * factors[-1] * slope
        np.subtract.at(table, vector.rows, np.outer(vector.back, step * still[row]))
        outputs[row] -= step * x[i]
    assert np.abs(table - before).max() > 1e-3
    return factors


def halo_of(kind, table):
    """Rows with n = 2 blocks of L = 3 words, and the vectors in them: width 4, for CBOW 1."""
    halo = minitorch.randint(len(table), (2, 6))
    if kind == "sg":
        one = np.ones(1)
        vectors = [Vector([row], one, one) for row in array(halo).ravel()]
        return Rows(table, halo), vectors, 4
    inside = array(dense(minitorch.ones(2, 4, 3, dtype=F64))).transpose(0, 2, 1).copy()
    inside[0, 1, 2] = 0
    into = inside / inside.sum(2, keepdims=True) if kind == "mean" else inside
    parts = [
        (array(halo)[b][mask := inside[b, i] > 0], into[b, i][mask], inside[b, i][mask])
        for b, i in np.ndindex(2, 3)
    ]
    both = (minitorch.tensor(part, dtype=F64) for part in (into, inside))
    return Windows(table, halo, *both), [Vector(*part) for part in parts], 1


@pytest.mark.parametrize("rate", [0.01, 30.0])
@pytest.mark.parametrize("kind", ["sg", "mean", "sum"])
@pytest.mark.parametrize("make", [HierarchicalSoftmax, _full])
def test_a_step_is_that_of_its_pairs_one_by_one(make, kind, rate):
    model, outputs = filled(make(COUNTS, 4, dtype=F64))
    table = minitorch.randn(len(COUNTS), 4, dtype=F64)
    rows, vectors, width = halo_of(kind, table)
    words = minitorch.randint(len(COUNTS), (2, 3))
    weights = minitorch.rand(2, width, 3, dtype=F64)
    if kind == "sg":
        weights *= (weights > 0.4).to(F64)
    expected, out = array(table).copy(), array(outputs).copy()
    tree, size = huffman(COUNTS), 3 + width - 1
    given, total = {}, 0.0
    for (b, place), word, weight in pairs_of(words, weights):
        key = b * size + place, word
        given[key] = given.get(key, 0) + weight
    if make is HierarchicalSoftmax:
        turns, pairs = {}, {}
        for (i, word), weight in given.items():
            for point, code in zip(tree.points[word], tree.codes[word]):
                turns.setdefault((i, point), []).append((1 - 2 * code, weight))
        pairs = {key: sum(w for _, w in found) for key, found in turns.items()}

        def slopes(x, pairs):
            return {
                (i, point): sum(
                    -sign * w / (1 + np.exp(sign * (x[i] @ out[point]))) for sign, w in found
                )
                for (i, point), found in turns.items()
            }

    else:
        x = [vector.into @ expected[vector.rows] for vector in vectors]
        chances = [np.exp(out @ v) / np.exp(out @ v).sum() for v in x]
        count = [sum(w for (j, _), w in given.items() if j == i) for i in range(len(x))]
        both = {
            (i, v): (given.get((i, v), 0.0), count[i] * chances[i][v])
            for i in range(len(x))
            for v in range(len(COUNTS))
        }
        pairs = {key: sum(parts) for key, parts in both.items()}

        def slopes(x, pairs):
            return {key: negative - positive for key, (positive, negative) in both.items()}

    loss = minitorch.full((), 2.0, dtype=F64)
    total = model(rows.vectors, words, weights).item()
    versions = table._version, outputs._version
    factors = step_of_pairs(expected, out, vectors, pairs, slopes, rate)
    assert (min(factors) < 0.5) == (rate > 1)
    model.sgd_step_(rows, words, weights, rate, loss)
    assert loss.item() == pytest.approx(2 + total, rel=1e-12)
    assert_allclose(array(table), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(array(outputs), out, rtol=1e-9, atol=1e-9)
    assert table._version > versions[0] and outputs._version > versions[1]


# ---------------------------------------------------------------------- few words
def even(count, sentences):
    """Sentences of 400 words, drawn evenly."""
    rng = np.random.default_rng(0)
    return [[f"w{i}" for i in rng.integers(count, size=400)] for _ in range(sentences)]


FEW = {"vector_size": 16, "window": 10, "alpha": 0.1, "min_count": 1, "epochs": 1, "workers": 1}


@pytest.mark.parametrize("negative", [0, 5])
@pytest.mark.parametrize("model", [{"sg": 1}, {"sg": 0}, {"cbow_mean": 0}], ids=str)
@pytest.mark.parametrize("learnt", [{"hs": 1}, {"full_softmax": 1}], ids=str)
def test_few_words_in_long_sentences(model, learnt, negative, device):
    """Rows that come a hundred times in a step go no further than gensim's, one at a time."""
    sentences = even(20, 10 if device == "sim" else 150)
    options = FEW | model | {"negative": negative}
    ours = Word2Vec(sentences, **options, **learnt, progress=False)
    theirs = gensim.models.Word2Vec(sentences, **options, hs=1)
    assert np.abs(array(ours.wv.tensor)).max() < 4 * np.abs(theirs.wv.vectors).max()
    if learnt == {"hs": 1}:
        assert np.abs(array(ours.syn1)).max() < 4 * np.abs(theirs.syn1).max()
    zeros = math.log(20) + (6 * math.log(2) if negative else 0)
    assert ours.losses[0] < (1.5 if negative else 1.1) * zeros

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import minitorch
from minitorch.testing import gradcheck, gradgradcheck
from minitorch.text import softmax
from minitorch.text.huffman import huffman
from minitorch.text.softmax import FullSoftmax, HierarchicalSoftmax, dense
from tests.referee import array

F64 = minitorch.float64
COUNTS = [20, 9, 7, 5, 3, 1, 1]


@pytest.fixture(params=[0.02, 0.3, 0.7], ids="top {}".format)
def common(request, monkeypatch):
    """How large the top of the tree is: all nodes, some of them, the root alone."""
    monkeypatch.setattr(softmax, "_COMMON", request.param)
    return request.param


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


def test_hierarchical_softmax_is_a_distribution(common):
    model, _ = filled(HierarchicalSoftmax(COUNTS, 4, dtype=F64))
    x = minitorch.randn(1, 1, 4, dtype=F64)
    one = minitorch.ones(1, 1, 1, dtype=F64)
    losses = [model(x, minitorch.tensor([[w]]), one).item() for w in range(len(COUNTS))]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("size", "width"), [(3, 4), (16, 3), (12, 1)])
def test_hierarchical_softmax_equals_torch(common, size, width):
    model, table = filled(HierarchicalSoftmax(COUNTS, 4, dtype=F64))
    assert len(model._top) == {0.02: 6, 0.3: 3, 0.7: 1}[common]
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


def test_nodes_that_many_pairs_pass_move_less(common):
    """80 pairs a step pass the root, which moves by the half; the loss is the same."""
    x, words, weights = inputs()
    grads = []
    for pairs in (0.0, 80.0):
        model, table = filled(HierarchicalSoftmax(COUNTS, 4, pairs, dtype=F64))
        with minitorch.no_grad():
            table.fill_(0.5)
        loss = model(x, words, weights)
        loss.backward()
        grads.append((loss.item(), array(table.grad.to_dense()), array(x.grad)))
        x.grad = None
    (loss, before, dx), (same, after, same_dx) = grads
    assert same == pytest.approx(loss, rel=1e-12)
    assert_allclose(same_dx, dx, rtol=1e-12, atol=1e-15)
    passed = np.array(huffman(COUNTS).counts) / sum(COUNTS)
    assert passed[-1] == 1
    assert_allclose(after, before * np.minimum(1, 0.5 / passed)[:, None], rtol=1e-12)


def test_words_that_leave_the_tree_at_its_top(common):
    """Blocks of which some, or all, have no node but those of the top."""
    model, table = filled(HierarchicalSoftmax(COUNTS, 4, dtype=F64))
    x, _, weights = inputs()
    tree = huffman(COUNTS)
    for rows in ([[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 6, 0]]):
        words = minitorch.tensor(rows)
        expected = 0.0
        for place, word, weight in pairs_of(words, weights):
            scores = array(table)[tree.points[word]] @ array(x)[place]
            signs = 1 - 2 * np.array(tree.codes[word])
            expected += weight * np.log1p(np.exp(-signs * scores)).sum()
        assert model(x, words, weights).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("score", [1000.0, -1000.0])
def test_large_scores(score):
    """Their exp is too large for float32; a turn against them still has a loss and a gradient."""
    model = HierarchicalSoftmax([2, 1], 1)
    with minitorch.no_grad():
        model.nodes.weight.fill_(1.0)
    x = minitorch.full((1, 2, 1), score).requires_grad_()
    loss = model(x, minitorch.tensor([[0, 1]]), minitorch.ones(1, 1, 2))
    loss.backward()
    turns = np.array([float(code[0]) for code in huffman([2, 1]).codes])
    assert 80 <= loss.item() <= 1000
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
def test_gradcheck(make, check, common):
    model, _ = filled(make(COUNTS, 4, dtype=F64))
    x, words, weights = inputs()
    assert check(lambda x: model(x, words, weights), [x])


def test_losses_start_at_the_code_length_and_at_log_v(common):
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

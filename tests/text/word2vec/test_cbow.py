import gensim.models
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import minitorch
from minitorch import Generator
from minitorch.text import Word2Vec
from minitorch.text.word2vec.modules import CBOW, SkipGram
from minitorch.text.word2vec.softmax import FullSoftmax, HierarchicalSoftmax
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES, SMALL, separation
from tests.text.word2vec.test_skip_gram import arrays, sampler

F64 = minitorch.float64


def blocks_of(window=2, negative=3, size=8, **options):
    tokens = minitorch.randint(12, (40,), generator=Generator().manual_seed(0))
    sample = sampler(
        12,
        window=window,
        negative=negative,
        block_size=size,
        pool_size=6,
        cbow=True,
        dtype=F64,
        **options,
    )
    return sample, sample.blocks(tokens, minitorch.arange(40) // 15)


def filled(model):
    with minitorch.no_grad():
        for table in model.parameters():
            table.copy_(minitorch.randn(*table.shape, dtype=F64))
    return model


def by_hand(blocks, window, inputs, outputs, mean):
    """Loss of the blocks in PyTorch; the mean moves words by the whole of its own gradient."""
    centres, others, weights = arrays(blocks)
    size, width = centres.shape[1], 2 * window + 1
    total = 0
    for b, i in np.ndindex(*centres.shape):
        inside = np.flatnonzero(weights[b, i, :width])
        if not len(inside):
            continue
        x = inputs[torch.tensor(others[b, i + inside])].sum(0)
        value, slope = (x / len(inside), x) if mean else (x, x / len(inside))
        x = value.detach() + (slope - slope.detach())
        gain = weights[b, i, inside[0]] * torch.nn.functional.logsigmoid(x @ outputs[centres[b, i]])
        for k in range(others.shape[1] - size - width + 1):
            word = others[b, size + width - 1 + k]
            loss = torch.nn.functional.logsigmoid(-(x @ outputs[word]))
            gain = gain + weights[b, i, width + k] * loss
        total = total - gain
    return total


@pytest.mark.parametrize("mean", [True, False])
def test_loss_and_gradient_equal_torch(mean):
    _, blocks = blocks_of()
    model = filled(CBOW(12, 5, 2, mean=mean, dtype=F64))
    tables = [
        torch.tensor(array(t.weight), requires_grad=True) for t in (model.input, model.output)
    ]
    loss, expected = model(blocks), by_hand(blocks, 2, *tables, mean)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for ours, theirs in zip((model.input, model.output), tables):
        assert_allclose(array(ours.weight.grad.to_dense()), theirs.grad.numpy(), atol=1e-12)


def test_a_centre_is_one_pair_with_its_negatives():
    sample, blocks = blocks_of()
    centres, others, weights = arrays(blocks)
    has = weights[:, :, :5].any(axis=2)
    assert sample.pairs(blocks).item() == pytest.approx(has.sum())
    assert_allclose(weights[:, :, 5:].sum(axis=2), 3 * has, rtol=1e-6)
    negatives = others[:, 12:]
    the_centre = centres[:, :, None] == negatives[:, None]
    assert not weights[:, :, 5:][the_centre].any()
    window = [
        set(row[i : i + 5]) & set(drawn) for row, drawn in zip(others, negatives) for i in range(8)
    ]
    used = [set(d[w > 0]) for d, ws in zip(negatives, weights[:, :, 5:]) for w in ws]
    assert any(near & drawn for near, drawn in zip(window, used))  # but a word of its window


def test_windows_may_keep_their_whole_reach():
    tokens = minitorch.arange(100)
    sample = sampler(100, window=3, block_size=10, pool_size=2, shrink_windows=False)
    _, _, weights = arrays(sample.blocks(tokens, minitorch.zeros_like(tokens)))
    assert sorted(weights[:, :, :7].sum(axis=2).ravel())[:6] == [3, 3, 4, 4, 5, 5]
    assert (weights[:, :, :7].sum(axis=2) == 6).sum() == 94


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_losses_are_added(kind):
    sample, blocks = blocks_of()
    others = HierarchicalSoftmax(range(12, 0, -1), 5, dtype=F64), FullSoftmax(12, 5, dtype=F64)
    whole = filled(kind(12, 5, 2, others=others, dtype=F64))
    parts = [
        kind(12, 5, 2, negative=n, others=o, dtype=F64)
        for n, o in ((True, ()), (False, others[:1]), (False, others[1:]))
    ]
    for part in parts:
        part.input = whole.input
        part.output = part.output and whole.output
    total = sum(part(blocks).item() for part in parts)
    assert whole(blocks).item() == pytest.approx(total, rel=1e-12)
    none, no_pool = blocks_of(negative=0)
    assert no_pool.others.shape[1] == 12
    assert parts[1](no_pool).item() > 0
    assert none.pairs(no_pool).item() == sample.pairs(blocks).item()


# What learns, and how well gensim does; it has no full softmax.
MODELS = [
    {"sg": 0},
    {"sg": 0, "cbow_mean": 0},
    {"sg": 1, "hs": 1, "negative": 0},
    {"sg": 0, "hs": 1, "negative": 0},
    {"sg": 1, "hs": 1},
    {"sg": 1, "full_softmax": 1, "negative": 0},
    {"sg": 0, "full_softmax": 1, "negative": 0},
]


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_learns_topics_as_well_as_gensim(options, device):
    if device != "cpu":
        model = Word2Vec(SENTENCES[:60], **(SMALL | {"epochs": 2} | options))
        cpu = Word2Vec(SENTENCES[:60], **(SMALL | {"epochs": 2} | options), device="cpu")
        assert_allclose(array(model.wv.vectors), array(cpu.wv.vectors), atol=1e-4)
        return
    model = Word2Vec(SENTENCES, **(SMALL | options))
    assert model.losses[-1] < model.losses[0]
    found = separation(model.wv)
    assert found > (0.5 if options.get("cbow_mean", 1) else 0.35)  # a sum's words move by shares
    if "full_softmax" not in options:
        theirs = gensim.models.Word2Vec(SENTENCES, **(SMALL | options))
        assert found > separation(theirs.wv) - 0.05

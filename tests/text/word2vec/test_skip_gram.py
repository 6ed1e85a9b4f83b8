import math
from collections import defaultdict
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import special, stats

import minitorch
from minitorch import Generator
from minitorch.nn import Embedding
from minitorch.optim import SGD
from minitorch.testing import gradcheck
from minitorch.text.vocab import alias_table
from minitorch.text.word2vec.damping import CURVATURE_LIMIT
from minitorch.text.word2vec.modules import CBOW, SkipGram
from minitorch.text.word2vec.negative_sampling import (
    _negative_sampling,
    negative_sampling,
    negative_sampling_sgd_,
)
from minitorch.text.word2vec.sampler import Blocks, BlockSampler
from minitorch.text.word2vec.softmax import FullSoftmax
from tests.referee import array

F64 = minitorch.float64


def sampler(num_words, noise=None, keep=None, dtype=minitorch.float32, **options):
    noise = np.ones(num_words) / num_words if noise is None else noise
    thresholds, aliases = alias_table(noise)
    keep = np.ones(num_words) if keep is None else keep
    return BlockSampler(
        minitorch.tensor(keep, dtype=dtype),
        minitorch.tensor(thresholds, dtype=dtype),
        minitorch.tensor(aliases),
        Generator().manual_seed(0),
        **options,
    )


def arrays(blocks):
    """centres, others, and weights as (n, L, 2w + 1 + K)."""
    centres, others, weights = map(array, blocks)
    return [centres, others, weights.transpose(0, 2, 1)]


def pairs_of(blocks, window):
    """{(centre, other): weight} of one block, positives and negatives."""
    centres, others, weights = (part[0] for part in arrays(blocks))
    width, size = 2 * window + 1, len(centres)
    positives, negatives = {}, {}
    for i, centre in enumerate(centres):
        for o in np.flatnonzero(weights[i, :width]):
            key = (int(centre), int(others[i + o]))
            positives[key] = positives.get(key, 0) + weights[i, o]
        for k in np.flatnonzero(weights[i, width:]):
            key = (int(centre), int(others[size + width - 1 + k]))
            negatives[key] = negatives.get(key, 0) + weights[i, width + k]
    return positives, negatives


# ---------------------------------------------------------------------- the sampler
def test_apricot():
    """lemon, a [tablespoon of apricot preserves or] jam: window 2, k = 2 (Jurafsky and Martin)."""
    words = ["lemon", "a", "tablespoon", "of", "apricot", "preserves", "or", "jam"]
    number = {word: i for i, word in enumerate(words)}
    aardvark = len(words)
    sample = sampler(aardvark + 20, window=2, negative=2, block_size=8, pool_size=64)
    for _ in range(20):  # until the centre reaches two words to either side
        blocks = sample.blocks(minitorch.arange(8), minitorch.zeros(8, dtype=minitorch.int64))
        positives, negatives = pairs_of(blocks, 2)
        apricot = number["apricot"]
        near = {other for centre, other in positives if centre == apricot}
        if len(near) == 4:
            break
    assert near == {number[word] for word in ("tablespoon", "of", "preserves", "or")}
    drawn = {other: weight for (centre, other), weight in negatives.items() if centre == apricot}
    assert sum(drawn.values()) == pytest.approx(8)  # two to a pair
    assert not set(drawn) & {apricot, *near}  # the target is no negative, nor are its pairs
    shared = set(arrays(blocks)[1][0, 8 + 4 :].tolist())
    assert shared & {apricot, *near}  # though some were drawn


def test_windows_are_drawn_evenly_and_stop_at_sentences():
    tokens = minitorch.arange(40_000)
    sentences = tokens // 2000
    window = 5
    sample = sampler(40_000, window=window, block_size=32, pool_size=4)
    _, _, weights = arrays(sample.blocks(tokens, sentences))
    reach = weights[:, :, :11].sum(axis=2)
    inner = reach[(reach % 2 == 0) & (reach > 0)] / 2
    counts = np.bincount(inner.astype(int), minlength=6)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
    # At the edges of 20 sentences a window is cut; the first word has none to its left.
    centres, _, weights = arrays(sample.blocks(tokens, sentences))
    first = centres % 2000 == 0
    assert weights[first][:, :5].sum() == 0
    assert (weights[first][:, 6:11].sum(axis=1) >= 1).all()
    left, right = weights[:, :, :5].sum(axis=2), weights[:, :, 6:11].sum(axis=2)
    assert (left[~first & (centres % 2000 != 1999)] >= 1).all()
    assert (right[centres % 2000 == 1999] == 0).all()


def test_every_token_is_a_centre_once_with_its_true_neighbours():
    tokens = minitorch.randperm(1000)
    place = {word: i for i, word in enumerate(tokens.tolist())}
    sample = sampler(1000, window=3, block_size=16, pool_size=2)
    centres, others, weights = arrays(sample.blocks(tokens, minitorch.zeros_like(tokens)))
    used = weights[:, :, :7].sum(axis=2) > 0
    assert sorted(centres[used].tolist()) == list(range(1000))
    assert not (np.diff([place[word] for word in centres[:, 0]]) == 16).all()  # mixed
    for block, row in zip(*np.nonzero(used)):
        for o in np.flatnonzero(weights[block, row, :7]):
            distance = place[others[block, row + o]] - place[centres[block, row]]
            assert distance == o - 3


def test_subsampling_keeps_words_with_their_probability_and_closes_the_gaps():
    n = 40_000
    tokens = minitorch.tensor([0, 1] * (n // 2))
    sample = sampler(2, keep=[0.25, 1.0], window=1, block_size=32, pool_size=2)
    centres, others, weights = arrays(sample.blocks(tokens, minitorch.zeros(n).long()))
    kept = centres[weights[:, :, :3].sum(axis=2) > 0]
    assert len(kept) - kept.sum() == pytest.approx(n / 8, abs=5 * math.sqrt(n / 2 * 0.25 * 0.75))
    both_ones = (others[:, :34][:, 1:] == 1) & (others[:, :34][:, :-1] == 1)
    assert both_ones.any()  # neighbours now


def test_noise_passes_chi_square():
    p = np.array([0.5, 0.25, 0.15, 0.06, 0.04])
    drawn = array(sampler(5, noise=p).noise(200, 500)).ravel()
    assert stats.chisquare(np.bincount(drawn, minlength=5), p * len(drawn)).pvalue > 1e-3


def test_each_pair_has_k_negatives_and_none_is_in_the_window():
    tokens = minitorch.randint(30, (5000,), generator=Generator().manual_seed(3))
    sample = sampler(30, window=4, negative=7, block_size=16, pool_size=24)
    blocks = sample.blocks(tokens, minitorch.arange(5000) // 50)
    centres, others, weights = arrays(blocks)
    positives, negatives = weights[:, :, :9], weights[:, :, 9:]
    assert_allclose(negatives.sum(axis=2), 7 * positives.sum(axis=2), rtol=1e-5)
    assert (negatives >= 0).all()
    for b in range(0, len(centres), 20):
        for i in range(16):
            words = {int(others[b, i + o]) for o in np.flatnonzero(positives[b, i])}
            chosen = set(others[b, 24 + np.flatnonzero(negatives[b, i])].tolist())
            shared = set(others[b, 24:].tolist())
            if words:
                assert chosen == shared - words - {int(centres[b, i])}


def test_blocks_of_almost_nothing():
    sample = sampler(5, window=2, block_size=4, pool_size=2)
    for tokens in ([], [3], [3, 1]):
        tokens = minitorch.tensor(tokens, dtype=minitorch.int64)
        blocks = sample.blocks(tokens, minitorch.zeros_like(tokens))
        assert sample.pairs(blocks).item() == {0: 0, 1: 0, 2: 2}[len(tokens)]


def test_split_covers_the_blocks():
    sample = sampler(50, block_size=4, pool_size=2)
    blocks = sample.blocks(minitorch.arange(50), minitorch.zeros(50).long())
    parts = list(blocks.split(5))
    assert [len(part.centres) for part in parts] == [5, 5, 3]
    for whole, *pieces in zip(blocks, *parts):
        assert minitorch.cat(pieces).equal(whole)


# ---------------------------------------------------------------------- the loss
def loss_inputs(dtype, scale=1.0):
    shapes = (3, 4, 6), (3, 4 + 4 + 5, 6)
    x, y = (minitorch.randn(*shape, dtype=dtype) for shape in shapes)
    weights = minitorch.rand(3, 5 + 5, 4, dtype=dtype)
    return [t.requires_grad_() for t in (x * scale, y, weights)]


def torch_loss(x, y, weights, width):
    total = 0
    for b, i in np.ndindex(*x.shape[:2]):
        scores = y[b] @ x[b, i]
        near, shared = scores[i : i + width], scores[x.shape[1] + width - 1 :]
        signed = torch.cat([near, -shared])
        total = total - (weights[b, :, i] * torch.nn.functional.logsigmoid(signed)).sum()
    return total


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(minitorch.float32, 1e-5), (F64, 1e-12)])
def test_fused_loss_equals_its_reference_and_torch(dtype, tolerance, scale):
    given = loss_inputs(dtype, scale)
    references = [t.detach().requires_grad_() for t in given]
    expected = [torch.tensor(array(t), requires_grad=True) for t in given]
    losses = (
        negative_sampling(*given, width=5),
        _negative_sampling.op.reference(*references, width=5),
        torch_loss(*expected, width=5),
    )
    assert losses[0].dtype is F64
    for loss in losses:
        (loss * 0.5).backward()
        assert loss.item() == pytest.approx(losses[-1].item(), rel=tolerance)
    for ours, reference, theirs in zip(given, references, expected):
        atol = tolerance * float(theirs.grad.abs().max())
        assert_allclose(array(ours.grad), theirs.grad.numpy(), rtol=tolerance, atol=atol)
        assert_allclose(array(reference.grad), theirs.grad.numpy(), rtol=tolerance, atol=atol)


def test_fused_loss_passes_gradcheck():
    assert gradcheck(lambda *xs: negative_sampling(*xs, width=5), loss_inputs(F64))


def test_fused_loss_of_nan_is_nan():
    x, y, weights = loss_inputs(minitorch.float32)
    assert math.isnan(negative_sampling(x * float("nan"), y, weights, width=5).item())


def test_fused_loss_names_shapes_that_do_not_fit():
    x, y, weights = loss_inputs(minitorch.float32)
    with pytest.raises(RuntimeError, match=r"weights \(3, 9, 4\)"):
        negative_sampling(x, y, weights[:, 1:], width=5)
    with pytest.raises(RuntimeError, match="width 11"):
        negative_sampling(x, y, weights, width=11)


# ---------------------------------------------------------------------- the model
def toy_blocks(num_words=40, seed=0, **options):
    options = {"window": 2, "block_size": 8, "pool_size": 6} | options
    tokens = minitorch.randint(num_words, (64,), generator=Generator().manual_seed(seed))
    sample = sampler(num_words, **options)
    return sample, sample.blocks(tokens, minitorch.arange(64) // 20)


@pytest.mark.parametrize("negative", [1, 5])
def test_loss_starts_at_k_plus_one_times_log_two(negative):
    sample, blocks = toy_blocks(negative=negative)
    model = SkipGram(40, 16, window=2)
    mean = model(blocks) / sample.pairs(blocks)
    assert mean.item() == pytest.approx((negative + 1) * math.log(2), rel=1e-6)


def test_vectors_start_as_in_word2vec_c():
    model = SkipGram(2000, 10, generator=Generator().manual_seed(1))
    start = model.input.weight.detach()
    assert abs(start.max().item() - 0.05) < 1e-4
    assert abs(start.min().item() + 0.05) < 1e-4
    assert abs(start.mean().item()) < 1e-3
    assert not model.output.weight.any()
    again = SkipGram(2000, 10, generator=Generator().manual_seed(1))
    assert again.input.weight.equal(model.input.weight)


def test_gradients_are_row_sparse_and_a_step_changes_only_their_rows():
    _, blocks = toy_blocks(num_words=1000)
    model = SkipGram(1000, 6, window=2)
    minitorch.nn.init.normal_(model.output.weight)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(blocks).backward()
    for table, rows in ((model.input, blocks.centres), (model.output, blocks.others)):
        grad = table.weight.grad
        assert type(grad) is minitorch.RowGrad
        assert sorted(grad.indices.tolist()) == sorted(rows.flatten().tolist())
    SGD(model.parameters(), lr=0.1).step()
    for name, rows in (("input.weight", blocks.centres), ("output.weight", blocks.others)):
        changed = (dict(model.named_parameters())[name] != before[name]).any(1)
        assert set(changed.nonzero().flatten().tolist()) <= set(rows.flatten().tolist())
        assert changed.any()


def random_tables(make=SkipGram, dtype=None):
    """A model of 12 words whose tables are not zero."""
    model = make(12, 5, window=2, dtype=dtype, generator=Generator().manual_seed(0))
    with minitorch.no_grad():
        for table in (model.input.weight, model.output.weight):
            table.copy_(minitorch.randn(table.shape, generator=Generator().manual_seed(1)))
    return model


def pairs_of_step(blocks, window, cbow, mean):
    """Every pair of a step, as word2vec.c sees it: what makes x, y's place, weight and sign.

    x is a sum of rows (place in the block, share), which all move by x's gradient.
    """
    width = 2 * window + 1
    for b, (centres, others, weights) in enumerate(zip(*arrays(blocks))):
        halo = len(centres) + 2 * window
        for i in range(len(centres)):
            near = np.flatnonzero(weights[i, :width])
            if not len(near):
                continue
            x = [((b, i), centres[i], 1.0)]
            if cbow:
                share = 1 / len(near) if mean else 1.0
                x = [((b, i + o), others[i + o], share) for o in near]
            for o in near[:1] if cbow else near:
                y = (b, "centre", i) if cbow else (b, i + o)
                yield x, y, centres[i] if cbow else others[i + o], weights[i, o], 1
            for k in np.flatnonzero(weights[i, width:]):
                yield x, (b, halo + k), others[halo + k], weights[i, width + k], -1


def coherences(blocks, tables, window, cbow, mean):
    """Of each block c of the rows x and of the rows y: see `backend.damping`."""
    found = []
    for centres, others, weights in zip(*arrays(blocks)):
        x, y = tables[0][centres], tables[1][others]
        if cbow:
            y = tables[1][np.concatenate([centres, others[len(centres) + 2 * window :]])]
            near = [row[: 2 * window + 1] > 0 for row in weights]
            x = np.array(
                [tables[0][others[i + np.flatnonzero(o)]].sum(0) for i, o in enumerate(near)]
            )
            x /= np.array([max(1, o.sum()) if mean else 1 for o in near])[:, None]
        shares = [(m.mean(0) ** 2).sum() / (m**2).sum(1).mean() for m in (x, y)]
        found.append([max(1, (2 * share) ** 2) for share in shares])
    return found


def damped_steps(tables, blocks, size, rates, window=2, cbow=False, mean=True):
    """The steps of `backend.damping` in float64, pair by pair: loss, and pairs that count less."""
    total, damped = 0.0, 0
    vectors, contexts = tables

    def part(x):  # of x's gradient that each of its rows moves by: those of a sum share it
        return 1 if mean else 1 / len(x)

    for batch, rate in zip(blocks.split(size), rates):
        pairs = list(pairs_of_step(batch, window, cbow, mean))
        coherence = coherences(batch, tables, window, cbow, mean)
        bounds = [defaultdict(float), defaultdict(float)]  # H of the rows of each table
        for x, y, word, weight, _ in pairs:
            hidden = sum(share * vectors[row] for _, row, share in x)
            gain, (of_x, of_y) = sum(share for *_, share in x), coherence[y[0]]
            for _, row, _ in x:
                bounds[0][row] += (
                    rate * weight * part(x) * gain * (contexts[word] @ contexts[word]) * of_y
                )
            bounds[1][word] += rate * weight * (hidden @ hidden) * of_x
        changes = np.zeros_like(vectors), np.zeros_like(contexts)
        for x, _, word, weight, sign in pairs:
            hidden = sum(share * vectors[row] for _, row, share in x)
            score = sign * (hidden @ contexts[word])
            total += weight * np.logaddexp(0, -score)
            worst = max(bounds[1][word], *(bounds[0][row] for _, row, _ in x))
            slope = -sign * weight * special.expit(-score) * min(1, CURVATURE_LIMIT / worst)
            damped += worst > CURVATURE_LIMIT
            for _, row, _ in x:
                changes[0][row] -= rate * slope * part(x) * contexts[word]
            changes[1][word] -= rate * slope * hidden
        vectors += changes[0]
        contexts += changes[1]
    return total, damped


@pytest.mark.parametrize("dtype", [minitorch.float32, F64])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("rate", [0.003, 0.3, 30.0])
@pytest.mark.parametrize(
    ("make", "mean"), [(SkipGram, True), (CBOW, True), (CBOW, False)], ids=["sg", "mean", "sum"]
)
def test_steps_are_damped_where_rows_come_too_often(make, mean, rate, dtype, size):
    cbow = make is CBOW
    _, blocks = toy_blocks(num_words=12, dtype=dtype, cbow=cbow)
    rates = [rate / (1 + i) for i in range(-(-len(blocks.centres) // size))]
    model = random_tables(partial(CBOW, mean=mean) if cbow else SkipGram, dtype)
    loss = minitorch.full((), 7.0, dtype=F64)
    versions = [p._version for p in model.parameters()]
    expected = [array(p).astype(float) for p in model.parameters()]
    total, damped = damped_steps(expected, blocks, size, rates, cbow=cbow, mean=mean)
    model.sgd_steps_(blocks, size, rates, loss)
    tolerance = 1e-11 if dtype is F64 else 2e-5
    assert loss.item() == pytest.approx(7 + total, rel=tolerance)
    for p, table in zip(model.parameters(), expected):
        assert_allclose(array(p), table, rtol=tolerance, atol=tolerance * (1 + abs(table).max()))
    assert (damped > 0) == (rate > 0.003)
    assert all(p._version > v for p, v in zip(model.parameters(), versions))


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("rate", [0.003, 30.0])
def test_a_step_reads_rows_rounded_to_a_half_and_changes_them_in_float32(rate, half):
    _, blocks = toy_blocks(num_words=12)
    model, loss = random_tables(), minitorch.zeros((), dtype=F64)
    model.rounds_to = half
    before = [p.detach().clone() for p in model.parameters()]
    read = [array(p.to(getattr(minitorch, half)).double()) for p in before]
    moved = [table.copy() for table in read]
    total, damped = damped_steps(moved, blocks, 100, [rate])
    model.sgd_steps_(blocks, 100, [rate], loss)
    assert loss.item() == pytest.approx(total, rel=2e-5) and (damped > 0) == (rate > 1)
    for p, table, start, end in zip(model.parameters(), before, read, moved, strict=True):
        expected = array(table) + (end - start)
        assert_allclose(array(p), expected, rtol=2e-5, atol=2e-5 * (1 + abs(expected).max()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a: a | {"lr": [0.1]}, RuntimeError, "8 blocks, 3 to a step, are 3 steps"),
        (lambda a: a | {"weights": a["weights"][:, 1:]}, RuntimeError, r"shapes centres \(8, 8\)"),
        (lambda a: a | {"output": a["output"][:, 1:]}, RuntimeError, "contiguous tables"),
        (lambda a: a | {"output": a["output"].double()}, RuntimeError, "tables .*float64"),
        (lambda a: a | {"centres": a["centres"] + 9}, IndexError, r"centres: \d+ is out of range"),
        (lambda a: a | {"others": a["others"] - 12}, IndexError, r"others: -\d+ is out of range"),
    ],
)
def test_steps_refuse_what_does_not_fit(change, error, message):
    _, (centres, others, weights) = toy_blocks(num_words=12)
    model = random_tables()
    given = {
        "input": model.input.weight.detach(),
        "output": model.output.weight.detach(),
        "loss": minitorch.zeros((), dtype=F64),
        "centres": centres,
        "others": others,
        "weights": weights,
        "width": 5,
        "size": 3,
        "lr": [0.1, 0.1, 0.1],
    }

    def step():
        negative_sampling_sgd_(**change(given))
        minitorch.zeros(1).tolist()  # a GPU reports what it has found

    with pytest.raises(error, match=message):
        step()


@pytest.mark.parametrize("dtype", [minitorch.float32, F64])
def test_one_step_by_hand(dtype):
    """Each pair moves both its vectors by lr * weight * (label - sigmoid(u·v)), all at once."""
    window, size, lr = 2, 8, 0.3
    _, blocks = toy_blocks(num_words=12, dtype=dtype)
    model = SkipGram(12, 5, window=window, dtype=dtype)
    minitorch.nn.init.normal_(model.input.weight)
    minitorch.nn.init.normal_(model.output.weight)
    inputs, outputs = (array(t.weight).copy() for t in (model.input, model.output))
    new_inputs, new_outputs = inputs.copy(), outputs.copy()
    centres, others, weights = arrays(blocks)
    width = 2 * window + 1
    for b, i, p in np.ndindex(*weights.shape):
        label = p < width
        place = i + p if label else size + width - 1 + p - width
        u, v = centres[b, i], others[b, place]
        slope = label - 1 / (1 + np.exp(-inputs[u] @ outputs[v]))
        new_inputs[u] += lr * weights[b, i, p] * slope * outputs[v]
        new_outputs[v] += lr * weights[b, i, p] * slope * inputs[u]
    model(blocks).backward()
    SGD(model.parameters(), lr=lr).step()
    tolerance = 1e-12 if dtype is F64 else 1e-5
    assert_allclose(array(model.input.weight), new_inputs, rtol=tolerance, atol=tolerance)
    assert_allclose(array(model.output.weight), new_outputs, rtol=tolerance, atol=tolerance)


def test_vectors_trained_with_the_reference_are_the_same(monkeypatch):
    tables = []
    for loss in (negative_sampling, _negative_sampling.op.reference):
        monkeypatch.setattr("minitorch.text.word2vec.modules.negative_sampling", loss)
        model = SkipGram(40, 8, window=2, generator=Generator().manual_seed(0), dtype=F64)
        optimizer = SGD(model.parameters(), lr=0.2)
        for seed in range(20):
            _, blocks = toy_blocks(seed=seed, dtype=F64)
            model(Blocks(*blocks)).backward()
            optimizer.step()
            optimizer.zero_grad()
        tables.append((model.input.weight, model.output.weight))
    for ours, reference in zip(*tables):
        assert ours.abs().max() > 0.1
        assert_allclose(array(ours), array(reference), atol=1e-12)


def test_what_predicts_in_a_softmax_is_the_halo():
    model = SkipGram(7, 3, window=1, negative=False, others=[FullSoftmax(7, 3)])
    halo = minitorch.tensor([[0, 1, 1, 2, 1], [3, 3, 4, 5, 6]])
    blocks = Blocks(halo[:, 1:4], halo, minitorch.ones(2, 3, 3))
    x, words, weights = model.predicted(blocks)
    assert_allclose(array(x), array(model.input.weight)[array(halo)], rtol=1e-6)
    assert words.tolist() == [[1, 1, 2], [3, 4, 5]] and tuple(weights.shape) == (2, 3, 3)


def test_tables_are_embeddings():
    model = SkipGram(7, 3)
    assert isinstance(model.input, Embedding)
    assert sorted(model.state_dict()) == ["input.weight", "output.weight"]

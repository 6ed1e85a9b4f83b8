"""The fused skip-gram block against the CPU's kernel, and word vectors trained on the device."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch import sim
from minitorch.backend import named
from minitorch.optim import SGD
from minitorch.random import Generator
from minitorch.text import Corpus, Vocab
from minitorch.text.vocab import alias_table
from minitorch.text.word2vec.damping import CURVATURE_LIMIT as LIMIT
from minitorch.text.word2vec.kernels import cpu, cuda
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.negative_sampling import negative_sampling
from minitorch.text.word2vec.sampler import Blocks, BlockSampler

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

ALL = (True, True, True)
SMALL_ROOM = 47 * 1024
# n, L, width, K, D: the defaults of Word2Vec, odd ones, one of each, no negatives, no blocks, more
# than a grid has, rows that do not fit into shared memory, many centres, many negatives; rows
# that fit into 48 KB but for the kernel's own shared memory.
SHAPES = [
    (3, 32, 11, 48, 100),
    (2, 5, 3, 2, 7),
    (1, 1, 1, 0, 1),
    (2, 6, 5, 0, 8),
    (0, 4, 3, 2, 8),
    (70, 2, 3, 1, 4),
    (2, 40, 21, 70, 130),
    (1, 300, 3, 5, 6),
    (1, 8, 3, 200, 260),
    (1, 4, 5, 50, 160),
]


def problem(shape, dtype, seed=0):
    n, centres, width, negatives, depth = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, centres, depth)) / 2
    y = rng.standard_normal((n, centres + width - 1 + negatives, depth)) / 2
    weights = rng.random((n, width + negatives, centres))
    weights[weights < 0.3] = 0
    return [part.astype(dtype) for part in (x, y, weights)]


def on_device(array):
    return named("sim").from_host(np.asarray(array), 0)


def kernel(name):
    return named("sim").kernels[name]


def compare(parts, width, g=0.7, given=None):
    """Loss and gradients of the device and of the CPU."""
    expected = cpu._negative_sampling(*parts, width=width)
    wanted = cpu._negative_sampling_backward(np.asarray(g), *expected[1:], needs=ALL, width=width)
    loss, *kept = kernel("negative_sampling")(*(given or map(on_device, parts)), width=width)
    seed = g if g == 1 else on_device(np.asarray(g))
    found = kernel("negative_sampling_backward")(seed, *kept, needs=ALL, width=width)
    tolerance = 3e-6 if parts[0].dtype == np.float32 else 1e-13
    assert loss.dtype == np.float64
    assert_allclose(loss.get(), expected[0], rtol=tolerance)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert_allclose(ours.get(), theirs, rtol=tolerance, atol=2 * tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(shape, dtype):
    with sim.config(checked=True):
        compare(problem(shape, dtype), shape[2])


@pytest.mark.parametrize("schedule", ["forward", "reverse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_where_rows_do_not_fit(shape, dtype, schedule, monkeypatch):
    monkeypatch.setattr(cuda, "_room", lambda gpu, device: SMALL_ROOM)
    with sim.config(checked=True, schedule=schedule):
        compare(problem(shape, dtype), shape[2], g=1.0)


def test_far_scores_and_not_a_number():
    x, y, weights = problem((2, 4, 3, 2, 4), "float64")
    x[0] *= 1000  # e to these overflows
    x[1, 2, 1] = np.nan
    with np.errstate(all="ignore"):
        compare([x, y, weights], 3)


def test_strided_and_unaligned_operands():
    parts = problem((3, 4, 3, 2, 8), "float32")
    x, _, weights = map(on_device, parts)
    room = on_device(np.zeros(x.size + 1, x.dtype))
    shifted = room[1:].reshape(x.shape)
    kernel("copy_")(shifted, x)
    apart = on_device(np.repeat(parts[1], 2, axis=2))[:, :, ::2]
    with sim.config(checked=True):
        compare(parts, 3, given=(shifted, apart, weights))


def test_the_sum_has_one_order():
    parts = [on_device(part) for part in problem((50, 8, 5, 8, 16), "float32")]
    losses = set()
    for seed in range(4):
        with sim.config(schedule="random", seed=seed):
            losses.add(float(kernel("negative_sampling")(*parts, width=5)[0].get()))
    assert len(losses) == 1


def test_only_what_is_needed():
    parts = [on_device(part) for part in problem((2, 4, 3, 2, 8), "float32")]
    _, *kept = kernel("negative_sampling")(*parts, width=3)
    sim.clear()
    dx, dy, dw = kernel("negative_sampling_backward")(
        1.0, *kept, needs=(True, False, False), width=3
    )
    assert dx is kept[0]
    assert dy is None and dw is None
    assert sim.launches() == []


def test_backward_twice_gives_gradients_of_their_own():
    x, y, weights = (minitorch.tensor(p, device="sim") for p in problem((2, 4, 3, 2, 8), "float32"))
    x.requires_grad_()
    loss = negative_sampling(x, y, weights, width=3)
    loss.backward(retain_graph=True)
    once = x.grad.cpu().numpy().copy()
    x.grad.zero_()
    loss.backward()
    assert_allclose(x.grad.cpu().numpy(), once)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("piece", [1, 2, 4])
def test_tiles_fit(piece, itemsize):
    for sizes in ((32, 90, 100), (1, 1, 1), (500, 3000, 1000), (4, 4000, 8), (3000, 3010, 4)):
        tile = cuda.tiles(*sizes, piece, itemsize, SMALL_ROOM)
        assert tile.bytes <= SMALL_ROOM
        assert (tile.stride // piece) % 2 == 1
        assert tile.stride >= tile.depth
        assert tile.pitch >= tile.centres
        assert tile.depth == sizes[2] or tile.depth % 4 == 0


def test_tiles_are_whole_where_they_fit():
    assert cuda.tiles(32, 90, 100, 4, 4, 227 * 1024)[:3] == (32, 90, 100)
    with pytest.raises(ValueError, match="too few"):
        cuda.tiles(32, 90, 100, 4, 4, 1024)


# ---------------------------------------------------------------------- steps of SGD
# Blocks, blocks to a step; L, width, K, D; words of a window, 0 for none.
STEPS = [
    (6, 2, (32, 11, 48, 20), 0),
    (3, 2, (5, 3, 2, 7), 0),
    (3, 3, (1, 1, 1, 1), 0),
    (3, 1, (300, 3, 0, 6), 0),  # more rows than threads are cleared
    (140, 70, (2, 3, 0, 4), 0),
    (5, 2, (40, 1, 6, 132), 50),
    (6, 3, (3, 3, 2, 5), 1),
]


def step_problem(n, shape, window, dtype, scale=0.5, seed=0, shift=0):
    """Tables of 60 and 50 words, of which some come often; blocks, and windows if there are.

    shift: what all rows have in common, in deviations.
    """
    size, width, negatives, depth = shape
    rng = np.random.default_rng(seed)
    tables = [(rng.standard_normal((n, depth)) + shift) * scale for n in (60, 50)]
    spans = window or size, size + width - 1 + negatives
    numbers = [(len(t) * rng.random((n, s)) ** 4).astype(np.int64) for t, s in zip(tables, spans)]
    weights = rng.random((n, width + negatives, size))
    weights[weights < 0.3] = 0
    windows = []
    if window:
        back = rng.random((n, size, window)) * (rng.random((n, size, window)) < 0.3)
        windows = [back / np.maximum((back > 0).sum(2, keepdims=True), 1), back]
    floats = [part.astype(dtype) for part in (*tables, weights, *windows)]
    return floats[:2], (*numbers, floats[2]), floats[3:]


def reference_steps(tables, blocks, windows, width, size, lr):
    """The summed loss, both tables, and the factors of all pairs; in float64, a step at a time."""
    vectors, contexts = (np.array(t, np.float64) for t in tables)
    centres, others, weights, *windows = (np.asarray(a) for a in (*blocks, *windows))
    loss, factors = 0.0, []
    for step, rate in enumerate(lr):
        now = slice(step * size, (step + 1) * size)
        words, columns, counted = centres[now], others[now], np.float64(weights[now])
        x, y = vectors[words], contexts[columns]
        if windows:
            into, back = (np.float64(window[now]) for window in windows)
            x = into @ x
        n, length, _ = x.shape
        halo = length + width - 1
        pairs = np.zeros((n, y.shape[1], length))
        for i in range(length):
            pairs[:, i : i + width, i] = counted[:, :width, i]
            pairs[:, halo:, i] = counted[:, width:, i]
        of_x = rate * np.einsum("nsl,ns->nl", pairs, coherent_squares(y))
        of_y = rate * np.einsum("nsl,nl->ns", pairs, coherent_squares(x))
        if windows:
            of_x = np.einsum("nlm,nl->nm", back, into.sum(2) * of_x)
        for_x, for_y = damping(of_x, words, len(vectors)), damping(of_y, columns, len(contexts))
        if windows:
            for_x = np.where(back > 0, for_x[:, None, :], 1).min(2)
        factor = np.minimum(for_x[:, None, :], for_y[:, :, None])
        factors.append(factor[pairs > 0])
        sign = np.where(np.arange(y.shape[1]) < halo, -1, 1)[:, None]
        scores = sign * (y @ x.transpose(0, 2, 1))
        loss += (pairs * np.logaddexp(0, scores)).sum()
        slopes = sign * factor * pairs / (1 + np.exp(-scores))
        dx, dy = slopes.transpose(0, 2, 1) @ y, slopes @ x
        if windows:
            dx = back.transpose(0, 2, 1) @ dx
        np.add.at(vectors, words, -rate * dx)
        np.add.at(contexts, columns, -rate * dy)
    return loss, vectors, contexts, np.concatenate(factors)


def coherent_squares(rows):
    """|row|² of the rows of blocks, times max(1, (2 R)²)."""
    squares = (rows**2).sum(2)
    share = (rows.mean(1) ** 2).sum(1) / np.maximum(squares.mean(1), 1e-30)
    return squares * np.maximum(1, (2 * share) ** 2)[:, None]


def rates(tables, blocks, windows, width, size):
    """Rates at which H is up to five times the limit in the first step, in the last half of it."""
    first = ([part[:size] for part in parts] for parts in (blocks, windows))
    *_, factors = reference_steps(tables, *first, width, size, [1e3])
    return list(np.geomspace(5, 0.5, -(-len(blocks[0]) // size)) * 1e3 * factors.min())


def damping(bounds, rows, length):
    """1 / max(1, H / LIMIT) of each occurrence of a row."""
    total = np.zeros(length)
    np.add.at(total, rows, bounds)
    return 1 / np.maximum(1, total / LIMIT)[rows]


def device_steps(tables, blocks, windows, width, size, lr):
    """The loss, which was 1 before, and both tables."""
    tables, loss = [on_device(t) for t in tables], on_device(np.ones(()))
    columns = [[a] for a in (*tables, loss, *map(on_device, (*blocks, *windows)))]
    kernel("negative_sampling_sgd_")(*columns, width=width, size=size, lr=lr)
    named("sim").synchronize(0)
    return loss.get() - 1, *(t.get() for t in tables)


@pytest.mark.parametrize(("schedule", "shift"), [("forward", 0), ("reverse", 1.5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "size", "shape", "window"), STEPS, ids=str)
def test_steps_are_damped(n, size, shape, window, dtype, schedule, shift):
    problem = step_problem(n, shape, window, dtype, shift=shift)
    lr = rates(*problem, shape[1], size)
    *expected, factors = reference_steps(*problem, shape[1], size, lr)
    assert factors.min() < 0.3
    assert n == size or factors.max() == 1
    with sim.config(checked=True, schedule=schedule):
        found = device_steps(*problem, shape[1], size, lr)
    tolerance = 1e-4 if dtype == "float32" else 1e-8
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_steps_where_rows_do_not_fit(monkeypatch):
    """Nor a number to each row, as of blocks of thousands of words."""
    monkeypatch.setattr(cuda, "_room", lambda gpu, device: SMALL_ROOM)
    monkeypatch.setattr(cuda, "_FILE_BYTES", cuda._SHARED_BYTES)
    for shape, window in (((40, 21, 70, 130), 0), ((300, 1, 5, 6), 20)):
        problem = step_problem(2, shape, window, "float64")
        lr = rates(*problem, shape[1], 1)
        *expected, _ = reference_steps(*problem, shape[1], 1, lr)
        with sim.config(checked=True):
            found = device_steps(*problem, shape[1], 1, lr)
        for ours, theirs in zip(found, expected, strict=True):
            assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("window", [0, 30])
def test_equal_steps_have_equal_bits(window):
    """Where sums have an order those of H have none: they are of integers."""
    shape = 16, 1 if window else 5, 6, 8
    problem = step_problem(12, shape, window, "float32")
    found = set()
    minitorch.use_deterministic_algorithms(True)
    try:
        for seed in range(4):
            with sim.config(schedule="random", seed=seed):
                parts = device_steps(*problem, shape[1], 4, [0.3] * 3)
            found.add(b"".join(part.tobytes() for part in parts))
    finally:
        minitorch.use_deterministic_algorithms(False)
    assert len(found) == 1


@pytest.mark.parametrize("window", [0, 4])
def test_steps_of_enormous_rows(window):
    """H is then more than 64 bits hold, and stays the most that they do."""
    shape = 4, 1, 3, 8
    tables, blocks, windows = step_problem(2, shape, window, "float64", scale=1e8)
    _, *found = device_steps(tables, blocks, windows, 1, 2, [0.1])
    undamped = 0.1 * 1e8
    for table, before in zip(found, tables, strict=True):
        change = np.abs(table - before).max()
        assert 0 < change < 1e-6 * undamped


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("which", ["centres", "others"])
@pytest.mark.parametrize("number", [-1, 60])
def test_a_row_that_there_is_not(which, number, window):
    shape = 4, 1, 3, 8
    tables, blocks, windows = step_problem(2, shape, window, "float32")
    blocks[which == "others"][1, 2] = number
    with sim.config(checked=True), pytest.raises(IndexError, match=f"sgd_: {which}|index: index"):
        device_steps(tables, blocks, windows, 1, 1, [0.1] * 2)


# ---------------------------------------------------------------------- training
@pytest.fixture(scope="module")
def text():
    """Tokens, sentences and vocabulary of 12,000 words of real text."""
    encoded = minitorch.text.encode(Corpus("stdlib"), progress=False)
    vocab = Vocab.from_encoded(encoded, 5)
    return *(part[:12000] for part in vocab.number(encoded)), vocab


def _trained(device, dtype, text, one_op, steps=50):
    """The summed loss and both tables after `steps` steps on the device."""
    *corpus, vocab = text
    generator = Generator().manual_seed(5)
    noise = alias_table(vocab.noise_probabilities(0.75))
    tables = [
        minitorch.from_numpy(table).to(device) for table in (vocab.keep_probabilities(1e-3), *noise)
    ]
    keep, thresholds = (table.to(dtype) for table in tables[:2])
    sampler = BlockSampler(keep, thresholds, tables[2], generator)
    model = SkipGram(len(vocab), 20, generator=generator, device=device, dtype=dtype)
    blocks = sampler.blocks(*(minitorch.from_numpy(p).to(device).long() for p in corpus))
    blocks = Blocks(*(part[: 4 * steps] for part in blocks))
    assert len(blocks.centres) == 4 * steps
    loss = minitorch.zeros((), dtype=minitorch.float64, device=device)
    if one_op:
        model.sgd_steps_(blocks, 4, [0.05] * steps, loss)
    else:
        optimizer = SGD(model.parameters(), lr=0.05)
        for batch in blocks.split(4):
            batch_loss = model(batch)
            batch_loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss += batch_loss.detach()
    kept = loss, model.input.weight.detach(), model.output.weight.detach()
    return [part.cpu().numpy() for part in kept]


@pytest.mark.parametrize("one_op", [True, False], ids=["one op", "autograd"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
def test_training_follows_the_cpu(dtype, tolerance, one_op, text):
    """50 steps with the same random numbers, on real text; the CPU's are of autograd."""
    dtype = getattr(minitorch, dtype)
    ours = _trained("sim", dtype, text, one_op)
    theirs = _trained("cpu", dtype, text, False)
    assert np.abs(theirs[2]).max() > 0.01  # it has learnt something
    for found, expected in zip(ours, theirs, strict=True):
        assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_no_step_waits_for_the_device():
    """Reading the loss is the only thing that waits, once for a chunk of the corpus."""
    words = [f"w{i}" for i in range(60)]
    rng = np.random.default_rng(0)
    sentences = [list(rng.choice(words, 12)) for _ in range(60)]
    options = {
        "vector_size": 8,
        "min_count": 1,
        "sample": 0,
        "epochs": 1,
        "progress": False,
        "sg": 1,
    }
    waits = []
    for step_words in (128, 64):
        sim.clear()
        model = minitorch.text.Word2Vec(
            sentences, device="sim", step_words=step_words, block_size=8, pool_size=8, **options
        )
        assert np.isfinite(model.losses[-1])
        kinds = [record.kind for record in sim.launches()]
        waits.append((kinds.count("sync"), kinds.count("copy D2H"), kinds.count("kernel")))
    assert waits[0][:2] == waits[1][:2]
    assert waits[0][2] < waits[1][2]

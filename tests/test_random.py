"""Random numbers: the stream is NumPy's Philox, the distributions are what they say."""

import numpy as np
import pytest
from scipy import stats

import minitorch
from minitorch import Generator
from minitorch.backend.cpu.source import random_words
from tests.referee import settle


def seeded(seed=0):
    return Generator().manual_seed(seed)


def test_words_are_philox():
    words = np.random.Philox(key=7).random_raw(40)
    np.testing.assert_array_equal(random_words(7, 0, 40), words)
    np.testing.assert_array_equal(random_words(7, 3, 28), words[12:])


def test_uniform_is_made_of_the_words():
    words = np.random.Philox(key=5).random_raw(4)
    x = minitorch.rand(4, dtype=minitorch.float64, generator=seeded(5))
    np.testing.assert_array_equal(x.tolist(), (words >> np.uint64(11)) * 2.0**-53)
    halves = words.view("<u4")[:7]
    y = minitorch.rand(7, generator=seeded(5))
    np.testing.assert_array_equal(y.tolist(), (halves >> np.uint32(8)) * 2.0**-24)


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: minitorch.rand(5, generator=g),
        lambda g: minitorch.randn(5, generator=g),
        lambda g: minitorch.randint(100, (5,), generator=g),
        lambda g: minitorch.randperm(5, generator=g),
        lambda g: minitorch.zeros(5).normal_(generator=g),
        lambda g: minitorch.zeros(5).uniform_(generator=g),
        lambda g: minitorch.zeros(64).bernoulli_(0.5, generator=g),
        lambda g: minitorch.zeros(5).random_(0, 1000, generator=g),
        lambda g: minitorch.full((64,), 0.5).bernoulli(generator=g),
        lambda g: minitorch.multinomial(minitorch.ones(50), 5, generator=g),
        lambda g: minitorch.ones(50).multinomial(5, True, generator=g),
    ],
)
def test_seeds_and_states(draw):
    g = seeded(3)
    first, second = draw(g).tolist(), draw(g).tolist()
    assert first != second
    assert draw(seeded(3)).tolist() == first != draw(seeded(4)).tolist()
    h = seeded(3)
    draw(h)
    state = h.get_state()
    assert draw(h).tolist() == second
    other = Generator()
    other.set_state(state)
    assert draw(other).tolist() == second and other.initial_seed() == 3


def test_the_default_generator():
    minitorch.manual_seed(11)
    first = minitorch.rand(3).tolist()
    state = minitorch.get_rng_state()
    second = minitorch.randn(3).tolist()
    minitorch.set_rng_state(state)
    assert minitorch.randn(3).tolist() == second
    minitorch.manual_seed(11)
    minitorch.rand(1000, generator=seeded(99))  # another generator does not move this one
    assert minitorch.rand(3).tolist() == first
    assert minitorch.initial_seed() == 11


def test_large_and_negative_seeds():
    a = minitorch.rand(3, generator=Generator().manual_seed(2**64 - 1)).tolist()
    b = minitorch.rand(3, generator=Generator().manual_seed(-1)).tolist()
    assert a == b
    g = Generator().manual_seed(2**64 - 1)
    assert Generator().set_state(g.get_state()).initial_seed() == 2**64 - 1
    assert Generator().seed() != Generator().seed()


@pytest.mark.parametrize("dtype", [minitorch.float32, minitorch.float64])
def test_distributions(dtype):
    n = 200_000
    u = minitorch.rand(n, dtype=dtype, generator=seeded(1)).tolist()
    assert min(u) >= 0 and max(u) < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    z = minitorch.randn(n, dtype=dtype, generator=seeded(2)).tolist()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(stats.pearsonr(z[: n // 2], z[n // 2 :]).statistic) < 0.01


def test_randint_is_even():
    x = minitorch.randint(-3, 7, (100_000,), generator=seeded(1))
    counts = minitorch.bincount(x + 3)
    assert len(counts) == 10
    assert stats.chisquare(counts.tolist()).pvalue > 1e-3
    wide = minitorch.randint(0, 2**40, (1000,), generator=seeded(1))
    assert int(wide.max()) > 2**39


def test_permutations_are_even():
    g = seeded(1)
    seen = {}
    for _ in range(6000):
        order = tuple(minitorch.randperm(3, generator=g).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6 and stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_bernoulli():
    p = minitorch.full((100_000,), 0.3)
    drawn = minitorch.bernoulli(p, generator=seeded(1))
    assert drawn.dtype is minitorch.float32 and abs(drawn.mean().item() - 0.3) < 0.01
    with pytest.raises(RuntimeError, match="between 0 and 1, got 1"):
        settle(minitorch.bernoulli(p + 1))


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_follows_the_weights(replacement):
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    rows = minitorch.tensor(weights).expand(40_000, 4)
    drawn = minitorch.multinomial(rows, 1, replacement, generator=seeded(1))
    assert tuple(drawn.shape) == (40_000, 1)
    counts = np.array(minitorch.bincount(drawn.flatten(), minlength=4).tolist())
    assert counts[1] == 0
    keep = weights > 0
    assert stats.chisquare(counts[keep], weights[keep] / 8 * 40_000).pvalue > 1e-3


def test_multinomial_shapes():
    w = minitorch.tensor([[1.0, 2.0, 3.0], [3.0, 0.0, 1.0]])
    drawn = minitorch.multinomial(w, 2, generator=seeded(1))
    assert tuple(drawn.shape) == (2, 2)
    assert all(len(set(row)) == 2 for row in drawn.tolist()) and 1 not in drawn[1].tolist()
    assert tuple(minitorch.multinomial(w[0], 50, replacement=True).shape) == (50,)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: minitorch.manual_seed("1"), TypeError, "expected an integer, got '1'"),
        (lambda: minitorch.manual_seed(2**64), RuntimeError, "64 bits"),
        (lambda: Generator().set_state(minitorch.zeros(2)), TypeError, "set_state"),
        (lambda: minitorch.rand(-1), RuntimeError, r"rand: .*negative.*\(-1,\)"),
        (lambda: minitorch.rand(2, dtype=minitorch.int64), RuntimeError, "rand: .*int64"),
        (lambda: minitorch.randint(5, 5, (2,)), RuntimeError, "low 5 is not below high 5"),
        (lambda: minitorch.randint(5), TypeError, r"\(high, size\)"),
        (lambda: minitorch.normal(0, -1, (2,)), RuntimeError, "std must be non-negative"),
        (lambda: minitorch.zeros(2).uniform_(3, 1), RuntimeError, "3 and 1"),
        (lambda: minitorch.zeros(2).bernoulli_(2), RuntimeError, "bernoulli_: p: .*1, got 2"),
        (lambda: minitorch.full((2,), -1.0).bernoulli(), RuntimeError, "bernoulli: p: .*got -1"),
        (lambda: minitorch.multinomial(minitorch.ones(3), 4), RuntimeError, "4 samples"),
        (lambda: minitorch.multinomial(minitorch.zeros(3), 1), RuntimeError, "positive sum"),
        (lambda: minitorch.multinomial(-minitorch.ones(3), 1), RuntimeError, ">= 0"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        settle(call())

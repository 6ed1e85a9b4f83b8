"""Single training steps on random data, for counts of their launches and traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from minitorch import nn
from minitorch.backend import named
from minitorch.backend.cuda.graph import capture
from minitorch.core.dtypes import float64
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, ones, zeros
from minitorch.optim import SGD, Adam
from minitorch.random import Generator, rand, randint, randn
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.sampler import Blocks, BlockSampler

WIDTHS = (784, 512, 256, 10)
BATCH = 128
# word2vec: blocks of a step, their words, window, shared negatives, negatives a pair, dimensions.
BLOCKS, CENTRES, WINDOW, POOL, NEGATIVE, DEPTH = 16, 32, 5, 48, 5, 100
WORDS = 5000  # of the vocabulary
STEPS = 4  # of word2vec in one call; `Word2Vec` makes some 130


class AsWritten(nn.Module):
    """A multi-layer perceptron as many write it: x = layer(x).relu()."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n, m) for n, m in pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, (n, classes)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x).relu()
        scores: Tensor = last(x)
        return scores


def sequential(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """The same perceptron as nn.Sequential, which fuses a layer with its activation."""
    layers: list[nn.Module] = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def mlp_step(model: nn.Module, device: str, batch: int = BATCH) -> Callable[[], None]:
    """A step of the perceptron with Adam, after a first step."""
    model.to(device)
    optimizer = Adam(model.parameters())
    x = randn(batch, WIDTHS[0], device=device)
    y = randint(0, WIDTHS[-1], (batch,), device=device)

    def step() -> None:
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step


def captured(step: Callable[[], object], device: str) -> Callable[[], None]:
    """A step that has run before, as one graph; its dynamic numbers stay as captured."""
    with capture(named(device).gpu, 0) as graph:
        step()
    return graph.replay


def mlp_floors(fused: bool, batch: int = BATCH) -> Iterator[tuple[str, int]]:
    """Kernel and bytes of its distinct inputs and outputs, of each launch of a step in order.

    float32, int64 classes. Of matrix products the name is "gemm".
    """
    widths = WIDTHS
    sizes = [batch * m for m in widths[1:]]
    for layer, (size, m) in enumerate(zip(sizes, widths[1:], strict=True)):
        yield "gemm", 4 * (batch * widths[layer] + widths[layer] * m + size)
        yield "bias_activation", 4 * (2 * size + m)
        if layer < len(sizes) - 1 and not fused:
            yield "relu", 4 * 2 * size
    yield "cross_entropy", 4 * 2 * sizes[-1] + 8 * batch + 4
    for layer in reversed(range(len(sizes))):
        n, m, size = widths[layer], widths[layer + 1], sizes[layer]
        last = layer == len(sizes) - 1
        if not last and not fused:
            yield "relu_backward", 4 * 3 * size
        yield "activation_backward", 4 * ((1 if last or not fused else 3) * size + m)
        if layer:
            yield "gemm", 4 * (size + n * m + batch * n)
        yield "gemm", 4 * (size + batch * n + n * m)
    parameters = sum((n + 1) * m for n, m in pairwise(widths))
    yield "adam", 4 * 7 * parameters


def word2vec_step(device: str) -> Callable[[], None]:
    """A step of skip-gram with the defaults of `Word2Vec` and autograd, after a first step.

    Words are drawn evenly: a text repeats some words and has fewer rows to move.
    """
    model, batch, loss = _word2vec(device, BLOCKS)
    optimizer = SGD(model.parameters(), lr=0.05)

    def step() -> None:
        batch_loss = model(batch)
        batch_loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.add_(batch_loss.detach())

    step()
    return step


def word2vec_steps(device: str) -> Callable[[], None]:
    """STEPS steps of skip-gram in one op, as in `Word2Vec`."""
    model, blocks, loss = _word2vec(device, STEPS * BLOCKS)

    def steps() -> None:
        model.sgd_steps_(blocks, BLOCKS, [0.05] * STEPS, loss)

    steps()
    return steps


def _word2vec(device: str, blocks: int) -> tuple[SkipGram, Blocks, Tensor]:
    """A model, blocks of words drawn evenly, and a scalar for the loss."""
    batch = Blocks(
        randint(0, WORDS, (blocks, CENTRES), device=device),
        randint(0, WORDS, (blocks, CENTRES + 2 * WINDOW + POOL), device=device),
        rand(blocks, 2 * WINDOW + 1 + POOL, CENTRES, device=device),
    )
    loss = zeros((), dtype=float64, device=device)
    return SkipGram(WORDS, DEPTH, WINDOW, device=device), batch, loss


def word2vec_blocks(device: str, words: int) -> Callable[[], object]:
    """A function that makes blocks of a chunk of `words` words, after a first call."""
    even = ones(WORDS, device=device)
    aliases = arange(WORDS, device=device)
    sampler = BlockSampler(even, even, aliases, Generator(), window=WINDOW, negative=NEGATIVE)
    tokens, sentences = randint(0, WORDS, (words,), device=device), arange(words, device=device)

    def make() -> object:
        return sampler.blocks(tokens, sentences // 20)

    make()
    return make

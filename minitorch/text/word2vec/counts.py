"""Counts of training steps on the simulated GPU, beside those of published implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minitorch.backend.sim import cost
from minitorch.backend.sim.cost import Cost, Report
from minitorch.core.dtypes import float64, int32
from minitorch.core.tensor import Tensor
from minitorch.creation import arange, ones, zeros
from minitorch.optim import SGD
from minitorch.random import Generator, rand, randint
from minitorch.text.word2vec.hogwild import Job, hogwild_sgd_, shape
from minitorch.text.word2vec.modules import SkipGram
from minitorch.text.word2vec.sampler import Blocks, BlockSampler
from minitorch.text.word2vec.training import CHUNK

# Of a step: blocks, their words, window, shared negatives, negatives a pair, dimensions.
BLOCKS, CENTRES, WINDOW, SHARED, NEGATIVE, DEPTH = 16, 32, 5, 48, 5, 100
WORDS = 5000  # of the vocabulary
NOISE = 40  # shared negatives, as Word2Vec has them in flight
STEPS = 4  # in one call; `Word2Vec` makes some 130
IN_FLIGHT = 800  # words of a launch that is counted
SAMPLED = 1 << 12  # words of the chunk whose blocks are counted: launches are those of any chunk


def reports() -> Iterator[Report]:
    """A step with autograd, and the steps of `Word2Vec` with their traffic beside others'."""
    about = f"of {BLOCKS * CENTRES} words, {DEPTH} dimensions, SGD"
    step, some = autograd_step("sim"), steps("sim")
    yield Report(f"word2vec: a step {about}, autograd", cost.counted(step), step=step)
    costs = cost.counted(some)
    making = cost.counted(sampling("sim", SAMPLED))
    yield Report(
        f"word2vec: {STEPS} steps {about}, as Word2Vec makes them",
        costs,
        remarks=[_launches(costs, making), "", *_traffic(costs)],
        step=some,
    )
    for model, cbow in (("skip-gram", False), ("CBOW", True)):
        launch = in_flight("sim", IN_FLIGHT, cbow)
        costs = cost.counted(launch)
        yield Report(
            f"word2vec: a launch of {IN_FLIGHT} words in flight, {DEPTH} dimensions, {model}",
            costs,
            remarks=[_of_a_word(costs, IN_FLIGHT)],
            step=launch,
        )


def in_flight(device: str, words: int = 800, cbow: bool = False) -> Callable[[], object]:
    """A launch that trains in place on a text drawn by Zipf's law, without sub-sampling.

    The first call of what is returned may compile kernels.
    """
    noise = 16 if cbow else NOISE
    sizes = shape(DEPTH, CENTRES, noise, WINDOW, 1.0)
    assert sizes is not None
    job = Job(0, 0, words, 1, 1, 0, 0.0, 0.0, 0.05, 0.05, NEGATIVE, cbow, True, True, 1.0)
    uniform = rand(words, generator=Generator().manual_seed(1), device="cpu")
    numbers = (float(WORDS) ** uniform).long() - 1  # about as 1 / rank
    begins = (arange(words, device="cpu") % 20 == 0).long()
    codes = (2 * numbers + begins).to(int32).to(device)
    tables = [rand(WORDS, DEPTH, device=device) - 0.5 for _ in range(2)]
    even = ones(WORDS, device=device)
    sampling = even, even, arange(WORDS, device=device)
    shares = even / WORDS, even / WORDS

    def launch() -> object:
        tally = zeros(3, dtype=float64, device=device)
        hogwild_sgd_((tables[0], tables[1]), tally, codes, sampling, shares, sizes, job)
        return tally.tolist()

    return launch


def autograd_step(device: str) -> Callable[[], None]:
    """A step of skip-gram with the defaults of `Word2Vec` and autograd, after a first step.

    Words are drawn evenly: a text repeats some words and has fewer rows to move.
    """
    model, batch, loss = _random(device, BLOCKS)
    optimizer = SGD(model.parameters(), lr=0.05)

    def step() -> None:
        batch_loss = model(batch)
        batch_loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.add_(batch_loss.detach())

    step()
    return step


def steps(device: str) -> Callable[[], None]:
    """STEPS steps of skip-gram in one op, as in `Word2Vec`."""
    model, blocks, loss = _random(device, STEPS * BLOCKS)

    def steps() -> None:
        model.sgd_steps_(blocks, BLOCKS, [0.05] * STEPS, loss)

    steps()
    return steps


def _random(device: str, blocks: int) -> tuple[SkipGram, Blocks, Tensor]:
    """A model, blocks of words drawn evenly, and a scalar for the loss."""
    batch = Blocks(
        randint(0, WORDS, (blocks, CENTRES), device=device),
        randint(0, WORDS, (blocks, CENTRES + 2 * WINDOW + SHARED), device=device),
        rand(blocks, 2 * WINDOW + 1 + SHARED, CENTRES, device=device),
    )
    loss = zeros((), dtype=float64, device=device)
    return SkipGram(WORDS, DEPTH, WINDOW, device=device), batch, loss


def sampling(device: str, words: int) -> Callable[[], object]:
    """A function that makes the blocks of a chunk of `words` words, after a first call."""
    even = ones(WORDS, device=device)
    aliases = arange(WORDS, device=device)
    sampler = BlockSampler(even, even, aliases, Generator(), window=WINDOW, negative=NEGATIVE)
    tokens, sentences = randint(0, WORDS, (words,), device=device), arange(words, device=device)

    def make() -> object:
        return sampler.blocks(tokens, sentences // 20)

    make()
    return make


def _launches(costs: Sequence[Cost], making: Sequence[Cost]) -> str:
    """A line on the launches of the steps, and on those that make the blocks of a chunk."""
    launches = len(cost.of_kind(making, *cost.LAUNCHES))
    return (
        f"{len(costs) / STEPS / BLOCKS:.2f} launches a block, and "
        f"{launches / (CHUNK // CENTRES):.2f} for making the blocks of {CHUNK} words: "
        f"{launches} launches, {sum(c.moved for c in making) / SAMPLED:,.0f} bytes a word"
    )


def _of_a_word(costs: Sequence[Cost], words: int) -> str:
    """A line on the requests of a launch that trains in place."""
    requested = sum(c.requested for c in costs) / words
    row = 4 * DEPTH
    about = f"{requested:,.0f} bytes a word, {requested / row:.1f} rows"
    return f"{about}; the launches of Word2Vec have a million words and more"


def _traffic(costs: Sequence[Cost]) -> Iterator[str]:
    """A table of the traffic to global memory for a word of the corpus, ours in the last line."""
    row = 4 * DEPTH
    requested = sum(c.requested for c in costs) / (STEPS * BLOCKS * CENTRES)
    head = f"global memory, window {WINDOW}, k {NEGATIVE}"
    yield f"{head}  bytes a word   rows"
    for name, rows in {**published_rows(), "minitorch": requested / row}.items():
        yield f"{name:{len(head)}}  {rows * row:12,.0f}  {rows:5.1f}"
    yield f"those of others as derived from their sources: see {__name__}.published_rows"


def published_rows(window: int = WINDOW, negative: int = NEGATIVE) -> dict[str, float]:
    """Rows of a table that a word of the corpus costs published implementations on GPUs.

    A row that a kernel reads from global memory counts one, and so does a row that it adds to. We
    counted rows in the kernels that the authors publish, in their favour: a row that is read twice
    in succession counts once, numbers of words and labels do not count. A word has w + 1 contexts
    on average (each centre draws its effective window evenly from 1 ... w) and is trained with
    k + 1 targets.

    - accSGNS (Bae & Yi 2016, "Acceleration of Word2vec Using GPUs"; word2vec-acc-cuda): for each
      pair and target, both rows are read and the target's is added to; then the context's.
    - Wombat (Simonton & Alaghband 2017, "Efficient and accurate Word2Vec implementations in GPU
      and shared-memory multicore architectures"): tiles of four targets and eight contexts take
      their twelve rows in and out; the pairs that fill no tile are trained one by one.
    - FULL-Register (Randall et al. 2021, see below): a target stays in a register while its
      contexts pass.
    - Windows as matrices (Ji et al. 2016, "Parallelizing Word2Vec in Shared and Distributed
      Memory", for CPUs; BlazingText, Gupta & Khare 2017, shares negatives likewise, but its
      kernels are not public): the least number of rows where the contexts of a word and its
      targets are read and written once. Derived from the papers' descriptions.
    - FULL-W2V (Randall et al. 2021, "FULL-W2V: Fully Exploiting Data Reuse for W2V on
      GPU-Accelerated Systems"): targets stay in registers, and a context in shared memory for as
      long as windows hold it. The paper measures over 89% fewer accesses than earlier work; these
      counts give 88% against accSGNS.
    """
    contexts, targets = window + 1, negative + 1
    windows = range(1, window + 1)
    return {
        "accSGNS": contexts * (3 * targets + 1),
        "Wombat": sum(_wombat_rows(2 * effective, targets) for effective in windows) / window,
        "FULL-Register": 2 * targets * (1 + contexts),
        "windows as matrices": 2 * (contexts + targets),
        "FULL-W2V": 2 * targets + 2,
    }


def _wombat_rows(contexts: int, targets: int) -> int:
    tiles = (targets // 4) * (contexts // 8)
    return 2 * (4 + 8) * tiles + 2 * 2 * (contexts * targets - 4 * 8 * tiles)

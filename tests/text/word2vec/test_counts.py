"""What steps of word vectors ask of the device, counted on the simulated GPU."""

import shutil

import pytest

from minitorch.backend.sim import cost
from minitorch.text.word2vec import counts

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)


def test_a_step_with_autograd():
    costs = cost.counted(counts.autograd_step("sim"))
    assert {c.kind for c in costs} == {"kernel"}
    assert len(costs) <= 12
    assert sum(c.name == "sort_short_i64" for c in costs) == 2
    (block,) = (c for c in costs if c.name == "negative_sampling_packed_f32")
    floor = _block_floor()
    assert floor <= block.moved <= 1.01 * floor
    assert floor <= block.requested <= 1.01 * floor
    assert block.excess == 1


def _block_floor():
    """Bytes that the kernel has to move: 16 blocks, 32 words and 48 shared negatives in each."""
    rows, weights = 16 * (32 + 90), 16 * 59 * 32
    return 4 * (2 * rows * 100 + weights)


@pytest.fixture(scope="module")
def costs():
    """Costs of four steps as `Word2Vec` makes them: 512 words, 100 dimensions, float32."""
    return cost.counted(counts.steps("sim"))


def test_steps(costs):
    """Four launches a step of 16 blocks, the first of which adds up the curvature of every row.

    All of it has to be there before a gradient is damped by it, so that launch reads the rows, too.
    More than the floor are the numbers of the rows, which begin within sectors, and for the
    gradients a sector of each row's sum of curvature.
    """
    assert {c.kind for c in costs} == {"kernel"}
    blocks = [c for c in costs if c.name == "negative_sampling_packed_f32"]
    assert len(blocks) == 4
    assert sum(c.name == "add_rows_f32" for c in costs) == 2 * 4
    curvature = [c for c in costs if c.name == "curvature_packed_f32"]
    assert len(curvature) == 4
    assert len(costs) <= 4 * 4 + 3
    floor = _block_floor()
    for block in blocks:
        assert floor <= block.requested <= 1.13 * floor
    rows, weights = (4 * n for n in (16 * (32 + 90) * 100, 16 * 59 * 32))
    for launch in curvature:
        assert rows + weights <= launch.requested <= 1.4 * (rows + weights)


def test_rows_of_published_kernels():
    """By hand, for six contexts (of Wombat 2, 4, 6, 8 and 10) and six targets."""
    assert counts.published_rows(window=5, negative=5) == {
        "accSGNS": 6 * (6 * 3 + 1),
        "Wombat": (4 * (2 + 4 + 6) * 6 + (24 + 4 * 8 * 2) + (24 + 4 * 2 * 4 + 4 * 10 * 2)) / 5,
        "FULL-Register": 6 * (2 + 6 * 2),
        "windows as matrices": 2 * (6 + 6),
        "FULL-W2V": 2 * 6 + 2,
    }
    rows = counts.published_rows()
    assert 0.87 < 1 - rows["FULL-W2V"] / rows["accSGNS"] < 0.93  # the paper: more than 89%


def test_steps_move_less_than_published_kernels(costs):
    """Every request of a step, indices and weights too, against the others' rows alone.

    FULL-W2V adds to the tables in its one kernel, and moves less: here the sums of a step are
    written once, and read once, before they are added. None of the others damps its steps: the
    curvature, a quarter of all requests here, stands apart.
    """
    rows = counts.published_rows()
    damped = ("curvature_packed_f32", "fill_i64")
    step = _rows_of_a_word(costs)
    plain = _rows_of_a_word([c for c in costs if c.name not in damped])
    for name in ("accSGNS", "Wombat", "FULL-Register"):
        assert plain < rows[name] / 4
        assert step < rows[name] / 3
    assert step - plain < 0.25 * step
    assert plain < 0.82 * rows["windows as matrices"]
    assert plain - 2 * (32 + 90) / 32 < 0.85 * rows["FULL-W2V"]
    assert plain < 1.4 * rows["FULL-W2V"]
    assert plain < counts.published_rows(negative=10)["FULL-W2V"]  # as many shared negatives


def _rows_of_a_word(costs):
    """Requests of four steps of 512 words, in rows of 100 dimensions to a word."""
    return sum(c.requested for c in costs) / 4 / 512 / (4 * 100)


def test_blocks_of_a_chunk():
    """Launches do not grow with the chunk, and bytes only in proportion to it."""
    small, large = (cost.counted(counts.sampling("sim", n)) for n in (640, 1280))
    assert [c.name for c in cost.of_kind(small, "kernel")] == [
        c.name for c in cost.of_kind(large, "kernel")
    ]
    assert len(cost.of_kind(large, *cost.LAUNCHES)) <= 130
    assert sum(c.moved for c in large) / 1280 < 3000
    assert len(cost.of_kind(large, "sync")) <= 3


@pytest.mark.parametrize("cbow", [False, True])
def test_words_in_flight(cbow):
    """A launch is a cleared tally, a kernel and a wait for the tally, however many words it has.

    FULL-W2V's rows are 5,600 bytes a word; here a group's rows come once and go once.
    """
    costs = cost.counted(counts.in_flight("sim", 800, cbow))
    assert len(cost.of_kind(costs, *cost.LAUNCHES)) <= 2
    assert len(cost.of_kind(costs, "sync")) <= 1
    (kernel,) = [c for c in costs if c.name == "hogwild_packed_f32"]
    # Chunks of 176 words are 6 groups of 30 at most, the last 96 words 3; ten more words are near.
    rows = 2 * 800 + (4 * 6 + 3) * (10 + (16 if cbow else 40))
    # A row is 12.5 sectors, read and added to; numbers of words and their shares come on top.
    assert 1 < kernel.requested / (2 * 400 * rows) < 1.15
    assert kernel.requested / 800 < 3400
    assert kernel.excess < 1.15

"""What training steps ask of the device, counted on the simulated GPU."""

import shutil
from functools import partial

import pytest

import minitorch
from minitorch import cli, nn, optim
from minitorch.devtools import cost, published, steps

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

MODELS = {
    "as written": (steps.AsWritten, False, 20),
    "fused layers": (steps.sequential, True, 16),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def mlp(request):
    """(costs of a step, floors of its launches, the most launches allowed)."""
    model, fused, most = request.param
    return cost.counted(steps.mlp_step(model(), "sim")), list(steps.mlp_floors(fused)), most


def test_mlp_launches(mlp):
    costs, _, most = mlp
    assert len(cost.of_kind(costs, *cost.LAUNCHES)) <= most


def test_mlp_never_waits(mlp):
    costs, _, _ = mlp
    assert cost.of_kind(costs, "sync") == []
    assert cost.host_copies(costs) == []
    assert {c.kind for c in costs} == {"kernel", "gemm"}


def test_a_captured_step_is_one_launch_of_the_host():
    """Its graph has ten kernels: bias, activations and their derivatives are in the products."""
    step = steps.mlp_step(steps.sequential(), "sim")
    work = cost.names(steps.captured(step, "sim"))
    products = ["matmul_linear_f32"] * 3, ["matmul_backward_f32"] * 5
    assert work == [*products[0], "cross_entropy_rows_f32", *products[1], "adam_f32"]


def test_mlp_kernels_move_what_they_must(mlp):
    costs, floors, _ = mlp
    for c, (name, floor) in zip(costs, floors, strict=True):
        assert c.name.startswith(name)
        assert floor <= c.moved <= 1.1 * floor, c


def test_mlp_kernels_are_coalesced(mlp):
    costs, _, _ = mlp
    # Adam walks a parameter after another: a sector more where one ends within a sector.
    assert [c for c in costs if c.excess > (1.001 if c.name == "adam_f32" else 1)] == []


def test_word2vec_with_autograd():
    costs = cost.counted(steps.word2vec_step("sim"))
    assert {c.kind for c in costs} == {"kernel"}
    assert len(costs) <= 12
    assert sum(c.name == "sort_short_i64" for c in costs) == 2
    (block,) = (c for c in costs if c.name == "negative_sampling_packed_f32")
    floor = _block_floor()
    assert floor <= block.moved <= 1.01 * floor
    assert floor <= block.requested <= 1.01 * floor
    assert block.excess == 1


def _block_floor():
    """Bytes that the kernel of 16 blocks of 32 words and 48 pool words has to read and write."""
    rows, weights = 16 * (32 + 90), 16 * 59 * 32
    return 4 * (2 * rows * 100 + weights)


@pytest.fixture(scope="module")
def word2vec():
    """Costs of four steps as `Word2Vec` makes them: 512 words, 100 dimensions, float32."""
    return cost.counted(steps.word2vec_steps("sim"))


def test_word2vec(word2vec):
    """Four launches a step of 16 blocks, the first of which adds up the curvature of every row.

    All of it has to be there before a gradient is damped by it, so that launch reads the rows, too.
    More than the floor are the numbers of the rows, which begin within sectors, and for the
    gradients a sector of each row's sum of curvature.
    """
    assert {c.kind for c in word2vec} == {"kernel"}
    blocks = [c for c in word2vec if c.name == "negative_sampling_packed_f32"]
    assert len(blocks) == 4
    assert sum(c.name == "add_rows_f32" for c in word2vec) == 2 * 4
    curvature = [c for c in word2vec if c.name == "curvature_packed_f32"]
    assert len(curvature) == 4
    assert len(word2vec) <= 4 * 4 + 3
    floor = _block_floor()
    for block in blocks:
        assert floor <= block.requested <= 1.13 * floor
    rows, weights = (4 * n for n in (16 * (32 + 90) * 100, 16 * 59 * 32))
    for launch in curvature:
        assert rows + weights <= launch.requested <= 1.4 * (rows + weights)


def test_word2vec_rows_of_published_kernels():
    """By hand, for six contexts (of Wombat 2, 4, 6, 8 and 10) and six targets."""
    assert published.word2vec_rows(window=5, negative=5) == {
        "accSGNS": 6 * (6 * 3 + 1),
        "Wombat": (4 * (2 + 4 + 6) * 6 + (24 + 4 * 8 * 2) + (24 + 4 * 2 * 4 + 4 * 10 * 2)) / 5,
        "FULL-Register": 6 * (2 + 6 * 2),
        "windows as matrices": 2 * (6 + 6),
        "FULL-W2V": 2 * 6 + 2,
    }
    rows = published.word2vec_rows()
    assert 0.87 < 1 - rows["FULL-W2V"] / rows["accSGNS"] < 0.93  # the paper: more than 89%


def test_word2vec_moves_less_than_published_kernels(word2vec):
    """Every request of a step, indices and weights too, against the others' rows alone.

    FULL-W2V adds to the tables in its one kernel, and moves less: here the sums of a step are
    written once, and read once, before they are added. None of the others damps its steps: the
    curvature, a quarter of all requests here, stands apart.
    """
    rows = published.word2vec_rows()
    damped = ("curvature_packed_f32", "fill_i64")
    step = _rows_of_a_word(word2vec)
    plain = _rows_of_a_word([c for c in word2vec if c.name not in damped])
    for name in ("accSGNS", "Wombat", "FULL-Register"):
        assert plain < rows[name] / 4
        assert step < rows[name] / 3
    assert step - plain < 0.25 * step
    assert plain < 0.82 * rows["windows as matrices"]
    assert plain - 2 * (32 + 90) / 32 < 0.85 * rows["FULL-W2V"]
    assert plain < 1.4 * rows["FULL-W2V"]
    assert plain < published.word2vec_rows(negative=10)["FULL-W2V"]  # the pool is as large as ever


def _rows_of_a_word(costs):
    """Requests of four steps of 512 words, in rows of 100 dimensions to a word."""
    return sum(c.requested for c in costs) / 4 / 512 / (4 * 100)


def test_word2vec_blocks_of_a_stretch():
    """Launches do not grow with the stretch, and bytes only in proportion to it."""
    small, large = (cost.counted(steps.word2vec_blocks("sim", n)) for n in (640, 1280))
    assert [c.name for c in cost.of_kind(small, "kernel")] == [
        c.name for c in cost.of_kind(large, "kernel")
    ]
    assert len(cost.of_kind(large, *cost.LAUNCHES)) <= 130
    assert sum(c.moved for c in large) / 1280 < 3000
    assert len(cost.of_kind(large, "sync")) <= 3


@pytest.mark.parametrize("make", [partial(optim.SGD, lr=0.1), optim.Adagrad, optim.SparseAdam])
@pytest.mark.parametrize(("words", "sorts"), [(1000, 1), (3000, 2 * 2)])
def test_sparse_embedding(make, words, sorts):
    """One launch sorts the rows, or two for eight bits of their numbers."""
    table = nn.Embedding(5000, 8, sparse=True).to("sim")
    scores = nn.Linear(8, 3).to("sim")
    optimizer, dense = make(table.parameters()), optim.SGD(scores.parameters(), lr=0.1)
    text = minitorch.randint(0, 5000, (words,), device="sim")
    classes = minitorch.randint(0, 3, (words,), device="sim")

    def step():
        nn.functional.cross_entropy(scores(table(text)), classes).backward()
        for one in (optimizer, dense):
            one.step()
            one.zero_grad()

    step()
    costs = cost.counted(step)
    assert {c.kind for c in costs} == {"kernel", "gemm"}
    assert sum(c.name.startswith("sort_") for c in costs) == sorts


def test_command(capsys):
    assert cli.main(["kernels", "count"]) == 0
    out = capsys.readouterr().out.splitlines()
    totals = [line for line in out if "synchronisations" in line]
    assert [line.split()[0] for line in totals] == ["20", "16", "12", "19"]
    assert all("0 synchronisations, 0 copies" in line for line in totals)
    assert [line.split()[-2] for line in out if line.startswith("captured")] == ["14", "10"]
    assert "PyTorch eager, Adam: 28 launches, 48.7 MB" in out
    assert any(line.startswith("0.30 launches a block, and 0.06 for making") for line in out)
    assert [line.split()[-2:] for line in out if line.startswith("FULL-W2V")] == [["5,600", "14.0"]]


def test_command_refuses_another_step(capsys):
    assert cli.main(["kernels", "count", "cnn"]) == 2
    assert "no step 'cnn': there are mlp, word2vec" in capsys.readouterr().err

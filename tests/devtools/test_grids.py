"""Whether launches fill a GPU, and how many blocks of a kernel it holds."""

import shutil

import pytest

from minitorch import cli
from minitorch.backend import named
from minitorch.backend.cuda import TABLE
from minitorch.backend.sim.cost import Report
from minitorch.devtools import grids, static
from minitorch.devtools.occupancy import CARDS, Card, resident

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

H100, RTX_4090 = CARDS
V100 = Card("V100", "sm_70", 80, 64, 32, 96 << 10)

EXCEPTIONS = {
    "transfer": "copies",
    "empty": "launches nothing",
    "diagonal_backward": "writes as many elements as a matrix has rows",
    "nonzero": "the host reads a result in between",
    **dict.fromkeys(
        ("cholesky", "eigh", "inv", "pinv", "qr", "slogdet", "solve", "svd"), "CuPy's solvers"
    ),
}
# Rows and columns: many short rows, few long ones, hardly above the threshold, one row.
SIZES = [(1 << 18, 8), (33, 1 << 16), (1100, 1000), (4096, 1024), (1, 1 << 21), (1 << 21, 1)]


# ---------------------------------------------------------------------- occupancy
@pytest.mark.parametrize(
    ("threads", "registers", "blocks"),
    [(128, 37, 12), (320, 37, 4), (256, 32, 8), (1024, 64, 1), (1024, 65, 0), (32, 16, 32)],
)
def test_blocks_by_registers(threads, registers, blocks):
    """The first two: CUDA C++ Best Practices Guide, "Effects of Register Pressure", of 7.0."""
    assert resident(V100, threads, registers) == blocks


@pytest.mark.parametrize(
    ("card", "threads", "shared", "blocks"),
    [
        (H100, 256, 0, 8),
        (RTX_4090, 256, 0, 6),
        (H100, 32, 0, 32),
        (RTX_4090, 32, 0, 24),
        (H100, 256, 227 << 10, 1),  # the most that a block may have, by the tuning guides
        (RTX_4090, 256, 99 << 10, 1),
        (H100, 256, (227 << 10) + 1, 0),
        (H100, 256, 113 << 10, 2),
        (H100, 256, (113 << 10) + 1, 1),
    ],
)
def test_blocks_by_threads_and_shared_memory(card, threads, shared, blocks):
    assert resident(card, threads, 32, shared) == blocks


# ---------------------------------------------------------------------- grids
def _launches(work, size, processors):
    with grids.recorded(processors) as (launches, _):
        _call(work, size)
    return launches


def _call(work, size):
    device = named("sim")
    work(device.kernels, grids.Matrix(device.gpu, *size))


def _square(name):
    """Whether a call has a matrix of as many rows as its size has columns."""
    return name.split("_")[0] in ("rnn", "lstm", "gru")


def test_every_kernel_is_looked_at():
    looked_at = {name.split()[0] for name in grids.WORKS}
    assert looked_at | set(EXCEPTIONS) == set(TABLE)
    assert looked_at.isdisjoint(EXCEPTIONS)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_large_launches_fill_the_device(size, card):
    least = grids.threshold(card.processors)
    large, empty = 0, []
    for name, work in grids.WORKS.items():
        if _square(name) and size[1] > 2000:
            continue
        for launch in _launches(work, size, card.processors):
            large += launch.elements > least
            if launch.elements > least and launch.blocks < card.processors:
                empty.append((name, launch.name, launch.grid))
    assert empty == []
    assert large > len(grids.WORKS) / 2


def test_nothing_is_left_behind():
    gpu = named("sim").gpu
    before = dict(vars(gpu))
    launches = _launches(grids.WORKS["add"], (64, 64), 132)
    assert vars(gpu) == before
    assert [(f.name, f.grid, f.elements) for f in launches] == [("add_f32", (4,), 64 * 64)]


def test_command_prints_blocks_and_waves(capsys, monkeypatch):
    try:
        static.check_installed(())
    except ImportError as missing:
        pytest.skip(str(missing))
    report = Report("", (), step=lambda: _call(grids.WORKS["adam_"], (1024, 1024)))
    monkeypatch.setitem(cli.COUNTED, "sizes", lambda: [report])
    assert cli.main(["kernels", "count", "sizes"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = [row[1:] for row in rows if row and row[0] == "adam_f32"]
    assert len(found) == len(CARDS)
    for (blocks, threads, held, waves), card in zip(found, CARDS):
        assert (blocks, threads) == ("512", "256")  # 2,048 elements a block
        assert int(held) % card.processors == 0
        assert waves == f"{512 / int(held):.2f}"

"""The kernel of training in place against the same steps in NumPy, in builds that check all."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minitorch import sim
from minitorch.backend import named
from minitorch.backend.sim import driver
from minitorch.devtools import grids
from minitorch.devtools.occupancy import CARDS, resident
from minitorch.text.word2vec.hogwild import Shape, shape
from minitorch.text.word2vec.kernels import hogwild_cuda
from tests.text.word2vec.test_hogwild import MODELS, job_of, problem, trained

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)


def on_device(given, shape, job, codes=None):
    """Both tables and the loss and pairs of the tally after a launch on the simulated GPU."""
    arrays = *given.tables, given.tally, given.codes if codes is None else codes
    there = [named("sim").from_host(a, 0) for a in (*arrays, *given.sampling, *given.shares)]
    named("sim").kernels["hogwild_sgd_"](*[[a] for a in there], shape=shape, job=job)
    inputs, outputs, tally = (a.get() for a in there[:3])
    return inputs, outputs, tally[:2]


def compare(found, expected):
    for ours, theirs in zip(found, (*expected[:2], expected[2][:2]), strict=True):
        assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


# Of the problem, of its shape and of the job, where they are not those of the test.
CASES = {
    "whole packs": ({}, {}, {}),
    "odd depth": ({"depth": 7}, {"depth": 7}, {}),
    "window 1": ({}, {"window": 1}, {}),
    "whole windows": ({"sentence": 9}, {"window": 5}, {"shrink": False}),
    "chunks are empty": ({"keep": 0.02}, {}, {}),
    "one word to a group": ({}, {"centres": 1, "negatives": 3}, {}),
    "many noise words": ({}, {"negatives": 45}, {}),
    "words that come often": ({"words": 5}, {}, {"high": 0.5, "end": 150}),
    "one block at work": ({}, {}, {"resident": 1}),
    "rows of many pairs": ({}, {}, {"high": 1.0}),
    "a part": ({}, {}, {"first": 120, "end": 333}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", MODELS)
def test_values(kind, case):
    of_problem, of_shape, of_job = CASES[case]
    text = {"words": 40, "depth": 12, "keep": 0.6, "sentence": 31, "unknown": 0.1}
    given = problem(400, **text | of_problem)
    sizes = Shape(12, 8, 7, 3, 70, 24)._replace(**of_shape)
    job = job_of(400, *MODELS[kind], stride=5, step=0.1, resident=4)._replace(**of_job)
    with sim.config(checked=True):
        found = on_device(given, sizes, job)
    expected = trained(given, sizes, job)
    compare(found, expected)
    if case != "chunks are empty":
        assert abs(expected[0] - given.tables[0]).max() > 0.05


def test_codes_of_a_part_are_enough():
    given, sizes = problem(400, 40, 12, keep=0.6), Shape(12, 8, 7, 3, 70, 24)
    job = job_of(400, first=120, end=333)
    whole = on_device(given, sizes, job)
    part = on_device(given, sizes, job._replace(origin=96), given.codes[96:357].copy())
    for one, other in zip(whole, part, strict=True):
        assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_several_blocks_have_a_part_in_it():
    """Or the check of races between blocks would check nothing."""
    given, sizes = problem(900, 40, 12), Shape(12, 8, 7, 3, 70, 24)
    driver.clear()
    on_device(given, sizes, job_of(900, resident=4))
    (launch,) = [r for r in driver.launches() if r.kind == "kernel"]
    job = np.frombuffer(launch.args[0], hogwild_cuda.JOB)[0]
    assert (launch.grid, job["chunks"], job["most"]) == ((4, 1, 1), 13, 8)


def test_a_launch_fills_a_large_device():
    """Two blocks to a multiprocessor, as the registers of KERNEL_OF and the shared memory allow."""
    sizes, n = shape(100, 32, 40, 5, 1.0), 1 << 20
    h100 = CARDS[0]
    with grids.recorded(h100.processors) as (launches, gpu):
        tables = [gpu.empty((1000, 100), np.float32) for _ in range(2)]
        rest = gpu.empty((3,), np.float64), gpu.empty((n,), np.int32)
        of_words = [gpu.empty((1000,), kind) for kind in ("f4", "f4", "i8", "f4", "f4")]
        columns = [[a] for a in (*tables, *rest, *of_words)]
        named("sim").kernels["hogwild_sgd_"](*columns, shape=sizes, job=job_of(n, resident=None))
    (launch,) = launches
    assert launch.blocks == 2 * h100.processors
    assert resident(h100, launch.threads, 128, launch.shared + hogwild_cuda.STATIC_BYTES) == 2

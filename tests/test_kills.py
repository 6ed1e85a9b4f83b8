"""A few of the moments of `python -m tests.kills`, which has them all."""

import pytest

from tests import kills


@pytest.fixture(scope="module", params=kills.JOBS)
def job(request, tmp_path_factory):
    return kills.Job(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("place", "number"), [("step", 5), ("half", 3), ("os:replace", 3)])
def test_a_killed_run_resumes_to_the_same_bits(job, place, number):
    assert job.check_killed(kills.STEP[job.name][0] if place == "step" else place, number)


def test_a_damaged_newest_checkpoint(job):
    job.check_damaged()


def test_a_full_disk(job):
    job.check_full("os:fsync", 3)

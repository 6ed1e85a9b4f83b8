"""A sample of PyTorch's database of operators; all of it: python -m tests.conformance."""

import pytest

import minitorch
from tests.conformance import reasons
from tests.conformance.operators import (
    COVERED,
    changed_in_place,
    covered,
    database,
    difference,
    run,
)
from tests.referee import ours, require_newest, theirs


@pytest.fixture(scope="module", autouse=True)
def _newest():
    pytest.importorskip("expecttest", reason="PyTorch's database of operators wants expecttest")
    require_newest()


def test_a_sample_of_each_name(device):
    """One test, for the import of the database takes seconds."""
    listed = COVERED.read_text().split()
    assert listed == covered(), "run `python -m tests.conformance --write`"
    failures = []
    for name in sorted(set(listed) & set(database())):
        result = run(name, limit=1, device=device)
        if name not in reasons.REASONS:
            failures += [f"{name}: {failure}" for failure in result.failures]
    assert failures == []


@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")
def test_forms_that_change_their_tensor(device):
    names = [name for name in minitorch.ops.forms.FORMS if name[:-1] in database()]
    assert len(names) > 80
    assert [failure for name in names for failure in changed_in_place(name, device)] == []


def test_a_difference_is_found():
    one = ours([1.0, 2.0]), theirs([1.0, 2.0])
    assert difference(*one, 1e-5) == ""
    assert "not np.float64(3.0) at (1,)" in difference(one[0], theirs([1.0, 3.0]), 1e-5)
    assert difference(one[0], theirs([[1.0, 2.0]]), 1e-5) == "shape (2,), not (1, 2)"
    assert "dtype" in difference(one[0], one[1].float(), 1e-5)
    assert "True, not False" in difference(True, False, 1e-5)

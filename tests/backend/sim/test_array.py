"""Arrays of the simulated GPU: views, copies, products against NumPy; what they refuse."""

import gc

import numpy as np
import pytest

from minitorch.backend.sim.driver import is_written
from tests.backend.sim.common import add, floats, sim

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_an_array_says_what_it_is():
    x = sim.empty((2, 3), np.float64)
    assert (x.shape, x.ndim, x.size, x.nbytes, x.itemsize) == ((2, 3), 2, 6, 48, 8)
    assert x.dtype == np.float64 and x.strides == (24, 8) and len(x) == 2
    assert x.flags.c_contiguous and not x.T.flags.c_contiguous and x.T.flags.f_contiguous
    assert x.device == sim.cuda.Device(0) and x.data.device.id == 0
    assert sim.empty(3).dtype == np.float64 and sim.empty(3).shape == (3,)
    assert sim.empty(()).shape == ()


def test_fresh_memory_is_poisoned():
    assert np.isnan(sim.empty(5, np.float32).get()).all()


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(1, None), (0, 1), (0, 1, 2), ..., (..., 0), None, (slice(None), None, 1),
     (slice(None, None, -1), slice(0, 3, 2)), np.int64(1), (slice(5, 9),)],
    ids=repr,
)  # fmt: skip
def test_basic_indexing_gives_views(key):
    x = sim.asarray(A)
    part, expected = x[key], A[key]
    assert isinstance(part, sim.ndarray)
    assert part.shape == np.shape(expected)
    np.testing.assert_array_equal(part.get(), expected)
    if part.size:
        assert x.data.ptr <= part.data.ptr < x.data.ptr + x.nbytes


@pytest.mark.parametrize("key", [[0, 1], np.array([0]), True, (0, [1])], ids=repr)
def test_other_indices_are_refused(key):
    with pytest.raises(sim.SimError, match="a kernel of CuPy's own"):
        sim.asarray(A)[key]


def test_views_share_memory():
    x = sim.asarray(A)
    for view, expected in [
        (x.T, A.T),
        (x.transpose(1, 0, 2), A.transpose(1, 0, 2)),
        (x.transpose((2, 0, 1)), A.transpose(2, 0, 1)),
        (x.reshape(6, 4), A.reshape(6, 4)),
        (x.reshape((4, -1)), A.reshape(4, -1)),
        (x.view(), A),
        (x.view(np.int32), A.view(np.int32)),
    ]:
        assert view.data.ptr == x.data.ptr and view.device.id == 0
        np.testing.assert_array_equal(view.get(), expected)
    x.set(A + 1)
    np.testing.assert_array_equal(x.T.get(), A.T + 1)
    with pytest.raises(sim.SimError, match="do not allow a view"):
        x.T.reshape(24)
    with pytest.raises(ValueError, match="reshape"):
        x.reshape(5)


def test_an_array_over_given_memory():
    x = sim.asarray(A)
    rows = sim.ndarray((3, 2), np.float32, memptr=x.data + 16, strides=(16, 4))
    np.testing.assert_array_equal(rows.get(), A.reshape(6, 4)[1:4, :2])
    repeated = sim.ndarray((2, 4), np.float32, memptr=x.data, strides=(0, 4))
    np.testing.assert_array_equal(repeated.get(), np.stack([A[0, 0]] * 2))
    with pytest.raises((ValueError, TypeError)):
        sim.ndarray((30,), np.float32, memptr=x.data)
    alone = sim.asarray(A)[1]
    gc.collect()
    np.testing.assert_array_equal(alone.get(), A[1])


def test_copies():
    x = sim.asarray(A)
    y = x.copy()
    x.set(A * 2)
    np.testing.assert_array_equal(y.get(), A)
    out = np.empty_like(A)
    assert x.get(out=out) is out
    np.testing.assert_array_equal(out, A * 2)
    host = x.get()
    host += 1
    np.testing.assert_array_equal(x.get(), A * 2)
    assert sim.asarray(x) is x
    assert sim.asarray([1, 2]).dtype == np.int64
    assert sim.asarray(3.5).shape == ()
    np.testing.assert_array_equal(sim.asarray(A.T).get(), A.T)
    with pytest.raises(sim.SimError, match="kernel of its own"):
        x.T.copy()
    with pytest.raises(ValueError, match="Shape mismatch"):
        x.set(A[0])
    with pytest.raises(TypeError, match="cannot be set"):
        x.set(A.astype(np.float64))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x.T.set(A.T)


def test_copies_count_as_written_and_fresh_memory_does_not():
    x, fresh = sim.asarray(A), sim.empty(24, np.float32)
    assert is_written(x.data.ptr, x.nbytes)
    assert not is_written(fresh.data.ptr, 4)
    assert is_written(x.copy().data.ptr, x.nbytes)


def test_asarray_of_one_number_loses_the_sign_of_zero():
    """As CuPy's, which fills memory with the number."""
    assert not np.signbit(sim.asarray(np.float32(-0.0)).get())
    assert np.signbit(sim.asarray(np.array([-0.0], np.float32)).get()).all()


REFUSED = {
    "np.asarray": lambda x, a: np.asarray(x),
    "x + x": lambda x, a: x + x,
    "x + a": lambda x, a: x + a,
    "a + x": lambda x, a: a + x,
    "x * 2": lambda x, a: x * 2,
    "-x": lambda x, a: -x,
    "x == x": lambda x, a: x == x,
    "x < a": lambda x, a: x < a,
    "np.exp": lambda x, a: np.exp(x),
    "np.sum": lambda x, a: np.add.reduce(x),
    "bool": lambda x, a: bool(x[0, 0, 0]),
    "float": lambda x, a: float(x[0, 0, 0]),
    "int": lambda x, a: int(x[0, 0, 0]),
    "x[0] = 1": lambda x, a: x.__setitem__(0, 1),
    "hash": lambda x, a: hash(x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arithmetic_and_silent_conversions_are_refused(name):
    with pytest.raises((TypeError, AttributeError)):
        REFUSED[name](sim.asarray(A), A)


def test_memory_is_given_back_with_the_array():
    pool = sim.get_default_memory_pool()
    gc.collect()
    before = pool.used_bytes()
    x = floats(1, 2, 3)
    assert pool.used_bytes() == before + 512
    view = x[1:]
    del x
    assert pool.used_bytes() == before + 512
    add(view, view)
    del view
    assert pool.used_bytes() == before

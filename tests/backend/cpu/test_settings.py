"""Settings of the processor: flush-to-zero and the heap."""

import threading

import numpy as np
import pytest

from minitorch.backend.cpu import settings
from minitorch.backend.cpu.settings import (
    flush_denormal,
    get_flush_denormal,
    keep_heap,
    set_flush_denormal,
)

TINY = np.full(100, 1e-39, np.float32)


def halved():
    return float((TINY * np.float32(0.5))[0])


@pytest.fixture
def supported():
    before = get_flush_denormal()
    if before is None:
        pytest.skip("not on this platform")
    yield
    set_flush_denormal(before)


@pytest.mark.usefixtures("supported")
def test_denormals_become_zero_and_come_back():
    assert set_flush_denormal(True)
    assert get_flush_denormal()
    assert halved() == 0
    assert set_flush_denormal(False)
    assert not get_flush_denormal()
    assert halved() == pytest.approx(5e-40, rel=1e-4)


@pytest.mark.usefixtures("supported")
def test_it_is_a_setting_of_the_thread():
    set_flush_denormal(False)
    thread = threading.Thread(target=set_flush_denormal, args=(True,))
    thread.start()
    thread.join()
    assert not get_flush_denormal()


@pytest.mark.usefixtures("supported")
def test_block_restores_what_was():
    set_flush_denormal(False)
    with flush_denormal():
        assert halved() == 0
    assert halved() > 0


def test_a_platform_that_lacks_them(monkeypatch):
    monkeypatch.setattr(settings, "_libm", None)
    monkeypatch.setattr(settings, "_c_library", lambda: None)
    assert get_flush_denormal() is None
    assert set_flush_denormal(True) is False
    assert keep_heap() is False
    with flush_denormal():
        assert halved() > 0


def test_keep_heap_is_glibcs():
    assert keep_heap() is (settings._c_library() is not None)

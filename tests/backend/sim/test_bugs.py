"""Every planted bug of bugs.cu is caught, and names kernel, block, thread, line and array."""

import ctypes
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minitorch.backend import cuda_sources
from minitorch.backend.sim import driver
from minitorch.backend.sim.build import CompiledModule
from minitorch.sim import SimError, config

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

SOURCE = Path(__file__).with_name("bugs.cu").read_text()
N = 256
RACE = "race in {} memory: .* are not ordered: .*{}"

GLOBAL_RACE = RACE.format("global", r"\bout$")
SHARED_RACE = RACE.format("shared", r"\bshared array \w+ of \d+ bytes$")
# kernel -> what the message says (of which array), and how it is launched if not with one block
# of 256 threads on a[256] and out[256].
BUGS = {
    "read_past_end": ("out-of-bounds read of 4 bytes: 0 bytes past the end of a$", {"grid": 2}),
    "write_past_end": ("out-of-bounds write of 4 bytes: 0 bytes past the end of out$", {"grid": 2}),
    "read_before_start": ("out-of-bounds read of 4 bytes: 4 bytes before the start of a$", {}),
    "vector_past_end": ("out-of-bounds read of 16 bytes: 0 bytes past the end of a$", {"n": 255}),
    "misaligned_vector": (r"misaligned read of 16 bytes: byte \d+ of a$", {}),
    "null_pointer": ("out-of-bounds read of 4 bytes: a null pointer", {}),
    "local_array": (r"index 8 is out of bounds of an array '(float|T) \[8\]'", {}),
    "shared_array": (r"index 256 is out of bounds of an array '(float|T) \[256\]'", {}),
    "dynamic_shared": (
        "out-of-bounds write of 4 bytes: 0 bytes past the end of dynamic shared memory$",
        {"shared": 4 * (N - 1)},
    ),
    "wrong_device": (
        "read of memory of device 1 by a kernel on device 0: .* of a$",
        {"a_device": 1},
    ),
    "freed_array": ("out-of-bounds read of 4 bytes: ", {"a_freed": True}),
    "host_array": ("out-of-bounds read of 4 bytes: ", {"a_host": True}),
    "uninitialised_shared": (
        "read of uninitialised shared memory: byte 1020 of shared array s of 1024 bytes$",
        {},
    ),
    "uninitialised_global": ("read of uninitialised global memory: .* of out$", {}),
    "uninitialised_atomic": ("read of uninitialised global memory: byte 0 of out$", {}),
    "missing_barrier": (SHARED_RACE + "|uninitialised shared memory: .* shared array s", {}),
    "missing_second_barrier": (SHARED_RACE, {}),
    "missing_syncwarp": (SHARED_RACE, {}),
    "read_by_warp_then_written": (SHARED_RACE, {}),
    "scratch_reused": (SHARED_RACE, {}),
    "scatter_in_block": (GLOBAL_RACE, {}),
    "global_without_barrier": (GLOBAL_RACE + "|uninitialised global memory: .* of out$", {}),
    "scatter_between_blocks": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "other_blocks_result": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "counter_read_plainly": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "relaxed_load_and_plain_write": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "plain_load_and_atomic": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "vector_added_plainly": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "ticket_without_fence": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "ticket_without_atomic": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "fence_before_write": (GLOBAL_RACE, {"grid": 4, "zeros": True, "out": 2048}),
    "write_after_fence": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "read_by_all_then_written": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "sum_read_without_fence": (GLOBAL_RACE, {"grid": 4, "zeros": True}),
    "ticket_before_barrier": (GLOBAL_RACE, {"grid": 4, "zeros": True, "out": 2048}),
    "barrier_in_branch": (r"divergent (__syncthreads|synchronisation)", {}),
    "return_before_barrier": (r"divergent __syncthreads\(\) .* 56 of 256 threads have ended", {}),
    "barrier_in_both_branches": (r"divergent __syncthreads\(\): \d+ threads wait at", {}),
    "vote_in_branch": (r"divergent (__syncthreads|synchronisation)", {}),
    "shuffle_in_branch": ("divergent synchronisation|different operations", {}),
    "shuffle_in_partial_warp": (r"lane \d+ reads lane \d+, which takes no part", {"block": 40}),
    "mask_without_caller": (r"lane \d+ is not in the mask 0x0000ffff", {}),
    "masks_differ": ("gives the mask", {}),
    "shuffle_width": ("width 12 is no power of two", {}),
    "overflow": (r"signed integer overflow: 4000\d \* 65536 does not fit into 'int'", {"n": 65536}),
    "narrowed_index": (
        "out-of-bounds write of 4 bytes: .* before the start of",
        {"out": 2**31 + 256},
    ),
    "division_by_zero": ("integer division by zero", {}),
    "shift_too_far": ("shift by 32 bits", {}),
}
# What stops an unchecked launch as well: guard pages, barriers, masks, faults of the machine.
ALSO_UNCHECKED = {
    "read_past_end",
    "write_past_end",
    "misaligned_vector",
    "null_pointer",
    "barrier_in_branch",
    "return_before_barrier",
    "barrier_in_both_branches",
    "vote_in_branch",
    "shuffle_in_branch",
    "shuffle_in_partial_warp",
    "mask_without_caller",
    "masks_differ",
    "shuffle_width",
    "division_by_zero",
}


@cache
def module(checked, mended=False):
    common = (cuda_sources.folder() / "common.cuh").read_text().replace("#pragma once", "")
    bugs = SOURCE.replace('#include "common.cuh"', "")
    code = f'#line 1 "common.cuh"\n{common}\n#line 1 "bugs.cu"\n{bugs}'
    options = ("-DMT_f32", "-DMENDED") if mended else ("-DMT_f32",)
    return CompiledModule(code, options, checked)


class Memory:
    """a[256] = 0, 1, ..., and out; both go back when the launch is over."""

    def __init__(self, n, out=N, zeros=False, a_device=0, a_freed=False, a_host=False):
        self.host = np.arange(min(n, N), dtype=np.float32)
        self.a = driver.allocate(self.host.nbytes, "a", a_device)
        ctypes.memmove(self.a, self.host.ctypes.data, self.host.nbytes)
        driver.mark_written(self.a, self.host.nbytes)
        self.out = driver.allocate(4 * out, "out")
        self.owned = [self.a, self.out]
        if zeros:
            ctypes.memset(self.out, 0, 4 * out)
            driver.mark_written(self.out, 4 * out)
        if a_freed:
            driver.release(self.owned.pop(0))
        if a_host:
            self.a = self.host.ctypes.data

    def release(self):
        for address in self.owned:
            driver.release(address)


def launch(kernel, grid=1, block=N, shared=0, n=N, **memory):
    places = Memory(n, **memory)
    try:
        args = [np.uint64(places.a), np.uint64(places.out), np.int32(n)]
        driver.launch(kernel, (grid,), (block,), [arg.tobytes() for arg in args], shared)
    finally:
        places.release()


def marked_lines(name):
    """The lines of bugs.cu that a kernel's message may name."""
    lines = SOURCE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"KERNEL({name})"))
    end = next(i for i in range(start, len(lines)) if lines[i] == "}")
    return {f"bugs.cu:{i + 1}" for i in range(start, end) if "// here" in lines[i]}


def caught(name, checked):
    """The message for a bug, in its parts; None if the kernel ran to its end."""
    with pytest.raises(SimError) as error:
        launch(module(checked).kernels[f"{name}_f32"], **BUGS[name][1])
    message = str(error.value)
    parts = re.match(
        r"(?P<kernel>\w+): block \((?P<block>\d+,0,0)\) thread \((?P<thread>\d+,0,0)\) "
        r"at (?P<place>[^ ]+:\d+(, [^ ]+:\d+)*): (?P<text>.*) \[(?P<order>.*)\]$",
        message,
    )
    assert parts, message
    return parts


def test_every_kernel_has_its_row():
    assert set(re.findall(r"^KERNEL\((\w+)\)", SOURCE, re.MULTILINE)) == set(BUGS)
    assert len(BUGS) >= 26


@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
@pytest.mark.parametrize("name", BUGS)
def test_bug_is_caught(name, schedule):
    with config(schedule=schedule):
        parts = caught(name, checked=True)
    assert parts["kernel"] == f"{name}_f32"
    assert re.search(BUGS[name][0], parts["text"]), parts["text"]
    assert marked_lines(name) & set(parts["place"].split(", ")), parts["place"]
    assert parts["order"].startswith(f"{schedule} schedule")


@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
@pytest.mark.parametrize("name", BUGS)
def test_mended_kernel_runs(name, schedule):
    with config(schedule=schedule):
        launch(module(True, mended=True).kernels[f"{name}_f32"], **BUGS[name][1])


@pytest.mark.parametrize("name", sorted(ALSO_UNCHECKED))
def test_bug_is_caught_without_checks(name):
    parts = caught(name, checked=False)
    assert parts["kernel"] == f"{name}_f32"

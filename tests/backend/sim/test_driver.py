"""The simulator's driver: memory, launches, schedules, counts, device functions, the cache."""

import ctypes
import errno
import json
import math
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minitorch.backend.sim import build, driver
from minitorch.backend.sim.build import CompiledModule, CompileError
from minitorch.sim import SimError, clear, config, launches, settings

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

MODES = pytest.mark.parametrize("checked", [False, True], ids=["fast", "checked"])
SCHEDULES = pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])


class Array:
    """Memory of the device and a NumPy view of it."""

    def __init__(self, values, written=True):
        values = np.asarray(values)
        self.address = driver.allocate(values.nbytes, f"array of {values.dtype}")
        raw = (ctypes.c_uint8 * values.nbytes).from_address(self.address)
        self.host = np.frombuffer(raw, values.dtype).reshape(values.shape)
        if written:
            self.host[...] = values
            driver.mark_written(self.address, values.nbytes)

    def tobytes(self):
        return np.uint64(self.address).tobytes()


@pytest.fixture
def array():
    """Makes arrays, and gives them back after the test."""
    made = []

    def make(values, written=True):
        made.append(Array(values, written))
        return made[-1]

    yield make
    for one in made:
        driver.release(one.address)


@cache
def module(code, checked=False, options=()):
    return CompiledModule(code, options, checked)


def launch(code, args, grid=(1,), block=(32,), shared=0, checked=False, **kwargs):
    """Run the one kernel of a source."""
    (kernel,) = module(code, checked).kernels.values()
    return driver.launch(kernel, grid, block, [arg.tobytes() for arg in args], shared, **kwargs)


# ------------------------------------------------------------------ what is found in a source
def test_parameters_are_described():
    source = """
    struct Pair { int a; double b; };
    #define KERNEL(name) extern "C" __global__ void name##_f32
    KERNEL(many)(const float* a, double* __restrict__ b, Pair pair, long long n, unsigned u,
                 bool flag, const float f, void* p, const Pair* const pairs, unsigned char c) {}
    extern "C" __global__ void __launch_bounds__(256) bounded(int n) {}
    """
    kernels = module(source).kernels
    assert list(kernels) == ["many_f32", "bounded"]
    described = [str(param) for param in kernels["many_f32"].params]
    assert described == [
        "const float32*",
        "float64*",
        "struct of 16 bytes",
        "int64",
        "uint32",
        "bool",
        "float32",
        "void*",
        "const struct of 16 bytes*",
        "uint8",
    ]
    assert [p.size for p in kernels["many_f32"].params] == [8, 8, 16, 8, 4, 1, 4, 8, 8, 1]


@MODES
def test_arguments_of_all_kinds_arrive(array, checked):
    source = """
    struct Pair { int a; double b; };
    extern "C" __global__ void sum(Pair p, bool flag, short s, float f, double* out, long long n) {
        out[0] = p.a + p.b + flag + s + f + n;
    }
    """
    pair = np.zeros((), np.dtype([("a", "i4"), ("b", "f8")], align=True))
    pair["a"], pair["b"] = 1, 0.25
    out = array(np.zeros(1))
    args = [pair, np.bool_(True), np.int16(-7), np.float32(0.5), out, np.int64(10**12)]
    launch(source, args, block=(1,), checked=checked)
    assert out.host[0] == 1 + 0.25 + 1 - 7 + 0.5 + 10**12


def test_a_source_without_kernels_is_an_empty_module():
    assert module("// nothing\n").kernels == {}


def test_compile_errors_have_our_line_numbers():
    with pytest.raises(CompileError, match=r"reduce\.cu:8:\d+: error: .*nonsense"):
        module('#line 7 "reduce.cu"\nextern "C" __global__ void f(int n) {\n    nonsense(n);\n}\n')


def test_only_atomics_that_cuda_has_compile():
    with pytest.raises(CompileError, match="atomicAdd"):
        module('extern "C" __global__ void f(long long* p) { atomicAdd(p, 1ll); }')


# ------------------------------------------------------------------ memory
def test_memory_is_poisoned_aligned_and_used_again():
    for nbytes in (1, 4, 400, 4096, 100_000):
        for _ in range(3):
            address = driver.allocate(nbytes, "x")
            assert address % 16 == 0
            raw = (ctypes.c_uint8 * nbytes).from_address(address)
            assert set(raw) == {0xFF}
            ctypes.memset(address, 0, nbytes)
            driver.release(address)


def test_memory_is_counted_and_limited():
    before = driver.allocated()
    address = driver.allocate(1000, "x")
    assert driver.allocated() == before + 1000
    with (
        config(memory=before + 5000),
        pytest.raises(driver.OutOfMemory, match=r"4,001 bytes asked"),
    ):
        driver.allocate(4001, "y")
    driver.release(address)
    assert driver.allocated() == before
    with pytest.raises(SimError, match="released twice"):
        driver.release(address)


def test_what_is_written_is_known():
    address = driver.allocate(64, "x")
    assert not driver.is_written(address, 64)
    driver.mark_written(address + 16, 16)
    assert driver.is_written(address + 16, 16)
    assert not driver.is_written(address + 16, 17)
    driver.mark_written(address, 64)
    assert driver.is_written(address, 64)
    driver.release(address)


def test_a_checked_launch_writes_what_it_writes(array):
    source = 'extern "C" __global__ void f(float* x) { if (threadIdx.x < 5) x[threadIdx.x] = 1; }'
    x = array(np.zeros(32, np.float32), written=False)
    launch(source, [x], checked=True)
    assert driver.is_written(x.address, 20)
    assert not driver.is_written(x.address, 24)
    launch(source, [x], checked=False)  # might have written anywhere
    assert driver.is_written(x.address, 128)


@MODES
def test_kernels_reach_pinned_host_memory(checked):
    source = 'extern "C" __global__ void f(unsigned long long* x) { atomicCAS(x, 0ull, 7ull); }'
    address = driver.host_allocate(8)
    launch(source, [np.uint64(address)], checked=checked)
    assert ctypes.c_uint64.from_address(address).value == 7
    driver.release(address)


# ------------------------------------------------------------------ launches
STORE = 'extern "C" __global__ void store(float* x, int n) { if (threadIdx.x < n) x[0] = 1; }'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": (2, 65536)}, r"store: grid \(2, 65536\): y is not within 1 to 65535"),
        ({"grid": (2**31,)}, "x is not within 1 to 2147483647"),
        ({"grid": (0,)}, "x is not within"),
        ({"block": (1025,)}, r"block \(1025,\): x is not within 1 to 1024"),
        ({"block": (1, 1, 65)}, "z is not within 1 to 64"),
        ({"block": (32, 33)}, r"1056 threads; 1024 is the most"),
        ({"shared": 48 * 1024 + 1}, "49152 is the most"),
        ({"shared": -1}, "is the most"),
        ({"args": [np.uint64(0)]}, "1 arguments for 2 parameters"),
        (
            {"args": [np.uint64(0), np.int64(1)]},
            r"store: parameter 1 is int32 \(4 bytes\), but 8 bytes were given",
        ),
    ],
)
def test_impossible_launches_are_refused(change, message):
    with pytest.raises(SimError, match=message):
        launch(**{"code": STORE, "args": [np.uint64(0), np.int32(0)], **change})


def test_shared_memory_above_48_kib_has_to_be_allowed(array):
    source = """extern "C" __global__ void f(float* out) {
        extern __shared__ float s[];
        s[threadIdx.x + 16000] = threadIdx.x;
        __syncthreads();
        out[threadIdx.x] = s[16031 - threadIdx.x];
    }"""
    out = array(np.zeros(32, np.float32))
    (kernel,) = module(source, False).kernels.values()
    kernel.max_dynamic_shared = 100 * 1024
    launch(source, [out], shared=100 * 1024)
    assert (out.host == np.arange(32)[::-1]).all()
    with pytest.raises(SimError, match="is the most"):
        launch(source, [out], shared=100 * 1024 + 1)
    kernel.max_dynamic_shared = 300 * 1024
    with pytest.raises(SimError, match="232448 is the most"):
        launch(source, [out], shared=230 * 1024)
    kernel.max_dynamic_shared = None


INDICES = """extern "C" __global__ void indices(int* out) {
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1000 * block + thread;
}"""


@MODES
@SCHEDULES
def test_every_thread_of_every_block_runs_once(array, checked, schedule):
    for grid, block in [((3,), (33,)), ((2, 3, 2), (4, 3, 5)), ((1,), (1,)), ((2,), (1024,))]:
        blocks, threads = math.prod(grid), math.prod(block)
        out = array(np.zeros((blocks, threads), np.int32))
        with config(schedule=schedule):
            launch(INDICES, [out], grid, block, checked=checked)
        assert (out.host == 1000 * np.arange(blocks)[:, None] + np.arange(threads)).all()


ORDER = """extern "C" __global__ void order(unsigned* ticket, int* out) {
    out[atomicAdd(ticket, 1u)] = blockIdx.x * blockDim.x + threadIdx.x;
}"""


def order_of_threads(array, **settings_):
    out = array(np.zeros(256, np.int32))
    with config(**settings_):
        launch(ORDER, [array(np.zeros(1, np.uint32)), out], (4,), (64,))
    return list(out.host)


def test_schedules_order_threads(array):
    forward = order_of_threads(array, schedule="forward")
    assert forward == list(range(256))
    assert order_of_threads(array, schedule="reverse") == forward[::-1]
    shuffled = order_of_threads(array, schedule="random", seed=1)
    assert shuffled not in (forward, forward[::-1])
    assert sorted(shuffled) == forward
    assert order_of_threads(array, schedule="random", seed=1) == shuffled
    assert order_of_threads(array, schedule="random", seed=2) != shuffled


def test_shared_memory_is_fresh_in_every_block(array):
    source = """extern "C" __global__ void f(unsigned* out, int first) {
        extern __shared__ unsigned dynamic[];
        __shared__ unsigned s[32];
        const int i = threadIdx.x;
        if (blockIdx.x < first) s[i] = dynamic[i] = i;
        out[(2 * blockIdx.x + 0) * 32 + i] = s[i];
        out[(2 * blockIdx.x + 1) * 32 + i] = dynamic[i];
    }"""
    out = array(np.zeros((3, 2, 32), np.uint32))
    with config(schedule="forward"):
        launch(source, [out, np.int32(1)], (3,), shared=128)
        assert (out.host[0] == np.arange(32)).all()
        assert (out.host[1:] == 0xFFFFFFFF).all()
        with pytest.raises(SimError, match=r"block \(1,0,0\) .*uninitialised shared memory"):
            launch(source, [out, np.int32(1)], (3,), shared=128, checked=True)
        launch(source, [out, np.int32(3)], (3,), shared=128, checked=True)


@pytest.mark.parametrize("checked", [False, True], ids=["fast", "checked"])
def test_shared_arrays_of_a_type_with_constructors(array, checked):
    source = """
    struct Half { unsigned short bits; Half() = default; Half(int x) { bits = x; } };
    extern "C" __global__ void f(int* out) {
        __shared__ Half tile[8][8];
        const int x = threadIdx.x, y = threadIdx.y;
        tile[y][x] = Half(8 * y + x);
        __syncthreads();
        out[8 * y + x] = tile[x][y].bits;
    }"""
    out = array(np.zeros((8, 8), np.int32))
    launch(source, [out], (1,), (8, 8), checked=checked)
    assert (out.host == np.arange(64).reshape(8, 8).T).all()


def test_part_of_a_grid_runs(array):
    out = array(np.zeros((4, 32), np.int32))
    with config(schedule="forward", blocks=(2, 1)):
        launch(INDICES, [out], (4,), (32,))
    assert (out.host[2] == 2000 + np.arange(32)).all()
    assert not out.host[[0, 1, 3]].any()


# ------------------------------------------------------------------ barriers and warps
EXCHANGE = """extern "C" __global__ void exchange(int* out) {
    const int i = threadIdx.x, n = blockDim.x;
    const unsigned all = 0xffffffffu;
    __shared__ int s[256];
    s[i] = i;
    __syncthreads();
    out[0 * n + i] = s[n - 1 - i];
    out[1 * n + i] = __shfl_sync(all, i, 5);
    out[2 * n + i] = __shfl_up_sync(all, i, 3);
    out[3 * n + i] = __shfl_down_sync(all, i, 3);
    out[4 * n + i] = __shfl_xor_sync(all, i, 9);
    out[5 * n + i] = __shfl_sync(all, i, 3, 8);
    out[6 * n + i] = __shfl_down_sync(all, i, 5, 16);
    out[7 * n + i] = (int)__ballot_sync(all, i % 3 == 0);
    out[8 * n + i] = __any_sync(all, i == 40) * 2 + __all_sync(all, i >= 32);
    out[9 * n + i] = __syncthreads_count(i % 4 == 0);
    out[10 * n + i] = __syncthreads_or(i == 77) * 2 + __syncthreads_and(i < 100);
    __shared__ double d[256];
    d[i] = __shfl_xor_sync(all, i * 0.5, 1);
    __syncwarp();
    out[11 * n + i] = (int)(2 * d[i ^ 1]);
}"""


@MODES
@SCHEDULES
def test_barriers_and_warp_operations(array, checked, schedule):
    n = 256
    out = array(np.zeros((12, n), np.int32))
    with config(schedule=schedule):
        launch(EXCHANGE, [out], block=(n,), checked=checked)
    i = np.arange(n)
    warp, lane = i // 32 * 32, i % 32
    thirds = [sum(1 << k for k in range(32) if (w + k) % 3 == 0) for w in warp]
    expected = [
        i[::-1],
        warp + 5,
        np.where(lane >= 3, i - 3, i),
        np.where(lane < 29, i + 3, i),
        i ^ 9,
        i // 8 * 8 + 3,
        np.where(i % 16 < 11, i + 5, i),
        np.array(thirds, np.uint32).view(np.int32),
        2 * (warp == 32) + (warp >= 32),
        np.full(n, 64),
        np.full(n, 2),
        i,
    ]
    np.testing.assert_array_equal(out.host, expected)


TICKET = """extern "C" __global__ void sum(const float* x, float* partial, unsigned* ticket,
                                           float* out) {
    __shared__ bool last;
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    PUBLISH
    if (last) {
        for (int k = threadIdx.x; k < (int)(gridDim.x * blockDim.x); k += blockDim.x)
            out[k] = 2 * partial[k];
        if (threadIdx.x == 0) *ticket = 0;
    }
}"""
PUBLISHED = {
    "every thread fences, then a barrier": """
        partial[at] = x[at];
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
        __syncthreads();""",
    "a barrier, then one thread fences": """
        partial[at] = x[at];
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            last = atomicAdd(ticket, 1u) == gridDim.x - 1;
            __threadfence();
        }
        __syncthreads();""",
    "one thread writes, fences and counts": """
        if (threadIdx.x == 0) {
            for (int k = 0; k < (int)blockDim.x; ++k) partial[at + k] = x[at + k];
            __threadfence();
            last = atomicInc(ticket, 0xffffffffu) == gridDim.x - 1;
        }
        __syncthreads();""",
}


@SCHEDULES
@pytest.mark.parametrize("publish", PUBLISHED.values(), ids=PUBLISHED)
def test_publishing_between_blocks_is_no_race(array, publish, schedule):
    x = array(np.arange(320, dtype=np.float32))
    partial, out = (array(np.zeros(320, np.float32), written=False) for _ in range(2))
    ticket = array(np.zeros(1, np.uint32))
    with config(schedule=schedule):
        for _ in range(2):  # the last block has set the ticket back
            launch(
                TICKET.replace("PUBLISH", publish),
                [x, partial, ticket, out],
                (5,),
                (64,),
                checked=True,
            )
    assert (out.host == 2 * x.host).all()
    assert ticket.host[0] == 0


@SCHEDULES
@pytest.mark.parametrize("lost", ["__threadfence();", "atomicAdd(ticket, 1u)"])
def test_publishing_needs_each_of_its_parts(array, lost, schedule):
    publish = PUBLISHED["every thread fences, then a barrier"]
    instead = "(*ticket)++" if "ticket" in lost else ""
    source = TICKET.replace("PUBLISH", publish.replace(lost, instead))
    x = array(np.arange(320, dtype=np.float32))
    partial, out = (array(np.zeros(320, np.float32)) for _ in range(2))
    args = [x, partial, array(np.zeros(1, np.uint32)), out]
    with config(schedule=schedule), pytest.raises(SimError, match="race in global memory"):
        launch(source, args, (5,), (64,), checked=True)


@SCHEDULES
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_neighbours_are_no_race(array, dtype, schedule):
    size = int(dtype[4:])
    kind = {8: "unsigned char", 16: "unsigned short", 32: "unsigned", 64: "unsigned long long"}
    source = f"""extern "C" __global__ void write({kind[size]}* x) {{
        x[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x;
    }}"""
    read = """extern "C" __global__ void read(const unsigned long long* x, unsigned* out) {
        if (x[0] == 7) out[0] = 1;
    }"""
    x = array(np.zeros(104, dtype))
    with config(schedule=schedule):
        launch(read, [x, array(np.zeros(1, np.uint32))], checked=True)  # wide, before narrow
        launch(source, [x], (3,), (33,), checked=True)
    assert (x.host[:99] == np.tile(np.arange(33), 3)).all()


def test_who_acquires_does_so_for_itself_until_a_barrier(array):
    source = """extern "C" __global__ void f(unsigned* ticket, float* partial, float* out) {
        __shared__ int last;
        if (threadIdx.x == 0) last = 0;
        __syncthreads();
        if (threadIdx.x == 0) {
            partial[blockIdx.x] = 1;
            __threadfence();
            atomicExch(&last, atomicAdd(ticket, 1u) == gridDim.x - 1);
        }
        BARRIER
        if (threadIdx.x == 32 && atomicOr(&last, 0)) out[0] = partial[0];
    }"""
    args = [array(np.zeros(n, t)) for n, t in ((1, np.uint32), (2, np.float32), (1, np.float32))]
    with config(schedule="forward"):
        launch(source.replace("BARRIER", "__syncthreads();"), args, (2,), (64,), checked=True)
        assert args[2].host[0] == 1
        args[0].host[0] = 0
        with pytest.raises(SimError, match="race in global memory: this read"):
            launch(source.replace("BARRIER", ""), args, (2,), (64,), checked=True)


# ------------------------------------------------------------------ the log and the counts
def test_launches_are_logged(array):
    clear()
    x = array(np.zeros(1, np.float32))
    launch(STORE, [x, np.int32(1)], (3,), (64, 2), shared=16)
    driver.record(driver.Record("copy D2H", "x"))
    kernel, copy = launches()
    assert (kernel.kind, kernel.name, kernel.grid, kernel.block, kernel.shared, kernel.device) == (
        "kernel",
        "store",
        (3, 1, 1),
        (64, 2, 1),
        16,
        0,
    )
    assert kernel.args == (x.tobytes(), np.int32(1).tobytes())
    assert kernel.read is None
    assert copy.kind == "copy D2H"
    clear()
    assert launches() == []


def test_bytes_are_whole_sectors_counted_once(array):
    source = """extern "C" __global__ void f(const float* x, float* y, int stride) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        y[i] = x[i * stride] + x[0];
    }"""
    x, y = array(np.ones(64 * 8, np.float32)), array(np.zeros(64, np.float32))
    for stride, read in ((1, 256), (2, 512), (8, 64 * 32)):
        entry = launch(source, [x, y, np.int32(stride)], (2,), checked=True)
        assert (entry.read, entry.written) == (read, 256)


def counted(array, source, *arrays, block=(32,)):
    with config(counted=True, schedule="random"):
        return launch(source, [array(a) for a in arrays], block=block, checked=True).lines


def test_sectors_of_a_warp_request(array):
    source = """extern "C" __global__ void f(const float* x, float* y) {
        const int i = threadIdx.x;
        float sum = x[i];
        sum += x[i + 1];
        sum += x[8 * i];
        sum += x[7];
        y[i] = sum;
    }"""
    lines = counted(array, source, np.ones(256, np.float32), np.zeros(32, np.float32))
    found = {line.place: line for line in lines}
    assert {place: (line.units, line.needed) for place, line in found.items()} == {
        "kernel.cu:3": (4, 4),
        "kernel.cu:4": (5, 4),  # begins in the middle of a sector
        "kernel.cu:5": (32, 4),
        "kernel.cu:6": (1, 1),  # the same for all
        "kernel.cu:7": (4, 4),
    }
    strided = found["kernel.cu:5"]
    assert (strided.access, strided.space, strided.size) == ("read", "global", 4)
    assert (strided.requests, strided.lanes, strided.bytes) == (1, 32, 128)
    assert strided.excess == 8
    assert found["kernel.cu:7"].access == "write"


def test_bank_conflicts(array):
    source = """extern "C" __global__ void f(float* y) {
        __shared__ float s[32][32], padded[32][33];
        __shared__ double wide[32];
        const int i = threadIdx.x;
        s[i][0] = 1;
        padded[i][0] = 1;
        wide[i] = 1;
        s[0][i] = 1;
        __syncthreads();
        y[i] = s[i][0] + padded[i][0] + (float)wide[i];
    }"""
    lines = counted(array, source, np.zeros(32, np.float32))
    passes = {
        line.place: (line.units, line.needed)
        for line in lines
        if line.space == "shared" and line.access == "write"
    }
    assert passes == {
        "kernel.cu:5": (32, 1),
        "kernel.cu:6": (1, 1),
        "kernel.cu:7": (2, 2),
        "kernel.cu:8": (1, 1),
    }


def test_lines_of_inlined_functions_name_their_callers(array):
    source = """__device__ __forceinline__ float get(const float* x, int i) {
        return x[i];
    }
    extern "C" __global__ void f(const float* x, float* y) {
        y[0] =
            get(x, 3);
    }"""
    lines = counted(array, source, np.ones(4, np.float32), np.zeros(1, np.float32), block=(1,))
    assert {line.place for line in lines} == {"kernel.cu:2, kernel.cu:6", "kernel.cu:5"}


# ------------------------------------------------------------------ faults of the machine
@MODES
def test_endless_recursion_is_a_full_stack(checked):
    source = """__device__ __noinline__ int deep(int n) {
        volatile int kept[64];
        kept[n & 63] = n;
        return n < 0 ? 0 : deep(n + 1) + kept[(n + 1) & 63];
    }
    extern "C" __global__ void f(int n) { if (deep(n)) __trap(); }"""
    with pytest.raises(SimError, match=r"f: block \(0,0,0\) thread .*stack is full"):
        launch(source, [np.int32(0)], block=(1,), checked=checked)


@MODES
def test_trap(checked):
    with pytest.raises(SimError, match=r"kernel\.cu:1: __trap\(\)"):
        launch('extern "C" __global__ void f(int n) { __trap(); }', [np.int32(0)], checked=checked)


def test_work_goes_on_after_a_failure(array):
    out = array(np.zeros((1, 32), np.int32))
    with pytest.raises(SimError, match="null pointer"):
        launch(STORE, [np.uint64(0), np.int32(1)])
    launch(INDICES, [out])
    assert out.host[0, 31] == 31


# ------------------------------------------------------------------ device functions
def evaluate(array, expression, x, dtype="float", checked=False):
    """An expression in x, for every element, as a kernel computes it."""
    numpy = {"float": np.float32, "double": np.float64, "int": np.int32}[dtype]
    source = f"""extern "C" __global__ void f(const {dtype}* in, {dtype}* out, int n) {{
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= n) return;
        const {dtype} x = in[i];
        out[i] = {expression};
    }}"""
    x = array(np.asarray(x, numpy))
    out = array(np.zeros_like(x.host))
    n = np.int32(x.host.size)
    launch(source, [x, out, n], (-(-x.host.size // 256),), (256,), checked=checked)
    return out.host


POSITIVE = np.geomspace(1e-3, 30, 200)
FUNCTIONS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf),
    "erfc": np.vectorize(math.erfc),
    "lgamma": np.vectorize(math.lgamma),
    "fabs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "rint": np.rint,
    "trunc": np.trunc,
}


FUNCTION = """
extern "C" __global__ void NAME_kernel(const double* x, double* d, float* f, float* g) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    d[i] = NAME(x[i]);
    f[i] = NAME((float)x[i]);
    g[i] = NAMEf((float)x[i]);
}
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(array, name):
    kernels = module("".join(FUNCTION.replace("NAME", name) for name in FUNCTIONS)).kernels
    x = array(POSITIVE.astype(np.float32).astype(np.float64))
    doubles = array(np.zeros(200))
    floats, spelled_f = (array(np.zeros(200, np.float32)) for _ in range(2))
    args = [one.tobytes() for one in (x, doubles, floats, spelled_f)]
    driver.launch(kernels[f"{name}_kernel"], (8,), (25,), args)
    expected = FUNCTIONS[name](x.host)
    np.testing.assert_allclose(doubles.host, expected, rtol=4e-15, atol=1e-15)
    for one in (floats, spelled_f):
        np.testing.assert_allclose(one.host, expected, rtol=5e-7, atol=2e-7)


def test_other_functions(array):
    x = np.linspace(-3, 3, 41)
    assert (
        evaluate(array, "min(x, 1.f) + max(x, 0.f)", x)
        == (np.minimum(x, 1).astype("f") + np.maximum(x, 0).astype("f"))
    ).all()
    assert (
        evaluate(array, "fma(x, x, -1.0)", x, "double")
        == evaluate(array, "__fma_rn(x, x, -1.0)", x, "double")
    ).all()
    assert (evaluate(array, "__int_as_float(__float_as_int(x))", x) == x.astype("f")).all()
    assert (
        evaluate(array, "__longlong_as_double(__double_as_longlong(x))", x, "double") == x
    ).all()
    integers = np.array([0, 1, -1, 5, 2**31 - 1, -(2**31)])
    expected = [bin(int(i) & 0xFFFFFFFF).count("1") for i in integers]
    assert list(evaluate(array, "__popc((unsigned)x)", integers, "int")) == expected
    expected = [32 - (int(i) & 0xFFFFFFFF).bit_length() for i in integers]
    assert list(evaluate(array, "__clz(x)", integers, "int")) == expected
    products = evaluate(
        array, "(int)__umul64hi((unsigned)x * 7ull << 32, 1ull << 33)", integers, "int"
    )
    expected = [((int(i) & 0xFFFFFFFF) * 7 << 1) & 0xFFFFFFFF for i in integers]
    assert [int(p) & 0xFFFFFFFF for p in products] == expected


def test_nan_is_passed_over_by_min_and_max(array):
    nan = np.array([np.nan], "f")
    assert evaluate(array, "fmaxf(x, 2.f) + fminf(1.f, x)", nan)[0] == 3


def test_subnormal_floats_count_as_zero(array):
    tiny = np.array([1e-40, 1.2e-38], "f")
    assert list(evaluate(array, "x * 2.f", tiny)) == [0, np.float32(2) * tiny[1]]
    assert list(evaluate(array, "x * 0.5f", tiny)) == [0, 0]
    assert np.float32(1e-40) * np.float32(2) != 0  # and the host is as it was


@MODES
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("f4", "float"),
        ("f8", "double"),
        ("i4", "int"),
        ("u4", "unsigned"),
        ("u8", "unsigned long long"),
    ],
)
def test_atomic_add(array, dtype, kind, checked):
    source = f"""extern "C" __global__ void f({kind}* x) {{
        atomicAdd(&x[0], ({kind})threadIdx.x);
        atomicAdd(&x[1], ({kind})1);
    }}"""
    x = array(np.zeros(2, dtype))
    launch(source, [x], (3,), (64,), checked=checked)
    assert list(x.host) == [3 * 63 * 32, 3 * 64]


@pytest.mark.parametrize(
    ("dtype", "kind"), [("i4", "int"), ("u4", "unsigned"), ("u8", "unsigned long long")]
)
def test_other_atomics(array, dtype, kind):
    source = f"""extern "C" __global__ void f({kind}* x) {{
        const {kind} t = threadIdx.x;
        atomicMax(&x[0], t);
        atomicMin(&x[1], t);
        atomicOr(&x[2], t);
        atomicAnd(&x[3], t | 64);
        atomicXor(&x[4], t);
        atomicCAS(&x[5], ({kind})9, t);
        atomicExch(&x[6], ({kind})5);
    }}"""
    x = array(np.array([0, 99, 0, 127, 0, 9, 0], dtype))
    with config(schedule="forward"):
        launch(source, [x], block=(64,))
    assert list(x.host) == [63, 0, 63, 64, 0, 0, 5]


def test_halves_round_like_numpys(array):
    source = """extern "C" __global__ void f(const float* x, unsigned short* bits, float* back,
                                             int n) {
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            bits[i] = half_bits(x[i]);
            back[i] = half_value(bits[i]);
        }
    }"""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].astype(np.float32)
    between = np.nextafter(halves, np.float32(1e9)), np.nextafter(halves, np.float32(-1e9))
    ordered = np.sort(halves)
    ties = (ordered[1:] + ordered[:-1]) / 2
    special = np.array([np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, 1e30, 2**-25, 1e-40], "f")
    x = np.concatenate([halves, *between, ties, special]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    bits = array(np.zeros(x.size, np.uint16))
    back = array(np.zeros(x.size, np.float32))
    launch(source, [array(x), bits, back, np.int32(x.size)], block=(256,))
    finite = ~np.isnan(expected)
    assert (bits.host.view(np.uint16)[finite] == expected.view(np.uint16)[finite]).all()
    assert np.isnan(bits.host.view(np.float16)[~finite]).all()
    np.testing.assert_array_equal(back.host, expected.astype(np.float32))


# ------------------------------------------------------------------ settings
def test_config_holds_for_a_block_or_for_good():
    before = (settings.checked, settings.schedule)
    with config(checked=True, schedule="reverse", seed=None) as now:
        assert (now.checked, now.schedule) == (True, "reverse")
        config(schedule="forward")
        assert settings.schedule == "forward"
    assert (settings.checked, settings.schedule) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cheked": True}, TypeError, "no setting 'cheked'; there are checked, "),
        ({"schedule": "backward"}, ValueError, "there are forward, reverse, random"),
        ({"devices": 0}, ValueError, "devices"),
        ({"memory": -1}, ValueError, "memory"),
    ],
)
def test_config_refuses_what_there_is_not(changes, error, message):
    with pytest.raises(error, match=message):
        config(**changes)


# ------------------------------------------------------------------ the compiler and the cache
def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"g\+\+, which is not installed: apt install g\+\+"):
        build.check_compiler()


def run_in_new_process(program, cache_folder, count=1):
    """The output of processes that run a program at the same time."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_folder)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * count
    return [json.loads(output) for output in outputs]


BUILD = """
import json
from minitorch.backend.sim import build
compiled = []
run = build._run
def counting(call, text=None):
    compiled.append(call[1])
    return run(call, text)
build._run = counting
module = build.CompiledModule('extern "C" __global__ void f(int n) {}')
print(json.dumps([len(compiled), list(module.kernels), str(module.path)]))
"""


def test_processes_build_once_and_share(tmp_path):
    built = run_in_new_process(BUILD, tmp_path, count=2)
    # the runtime; then the names, the code, and the library: by one or the other
    assert sum(calls for calls, _, _ in built) == 4
    (again,) = run_in_new_process(BUILD, tmp_path)
    assert again == [0, ["f"], built[0][2]]
    folder = tmp_path / "minitorch" / "sim"
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".so", ".so"]
    for i, path in enumerate(sorted(folder.glob("*.so"))):  # the disk was full, or worse
        path.write_bytes(path.read_bytes()[: i * 5000])
    (again,) = run_in_new_process(BUILD, tmp_path)
    assert again == [4, ["f"], built[0][2]]


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "whole": lambda library, about: None,
    "empty": lambda library, about: library.write_bytes(b""),
    "cut": lambda library, about: library.write_bytes(b"libr"),
    "a bit": lambda library, about: library.write_bytes(b"librarz"),
    "empty description": lambda library, about: about.write_bytes(b""),
    "cut description": lambda library, about: about.write_bytes(about.read_bytes()[:-2]),
    "a bit of it": lambda library, about: about.write_bytes(flipped(about.read_bytes(), -4)),
    "another's": lambda library, about: about.write_bytes(b'{"a": 1, "b": 2}'),
    "a number": lambda library, about: about.write_bytes(b"[1, 2]"),
    "deep": lambda library, about: about.write_bytes(b"[" * 100_000),
    "no description": lambda library, about: about.unlink(),
    "a group's": lambda library, about: library.chmod(0o770),
    "everybody's": lambda library, about: about.chmod(0o666),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_library_is_built_anew(monkeypatch, tmp_path, caplog, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make(target):
        made.append(target)
        target.write_bytes(b"library")
        return {"kernels": ["f"]}

    before = os.umask(0o002)  # a group's members may write, by default
    try:
        library, known = build._cached("key", make)
    finally:
        os.umask(before)
    assert known == {"kernels": ["f"]}
    DAMAGES[name](library, library.with_suffix(".json"))
    assert build._cached("key", make) == (library, known)
    assert library.read_bytes() == b"library"
    assert len(made) == 1 + (name != "whole")
    assert ("is built anew" in caplog.text) == (name != "whole")
    assert build._cached("key", make) == (library, known)
    assert len(made) == 1 + (name != "whole")


@pytest.mark.parametrize("whose", ["library", "description", "folder"])
def test_code_of_another_user_is_not_run(monkeypatch, tmp_path, whose):
    """What somebody else owns is built anew, in a folder of our own if need be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make(target):
        made.append(target)
        target.write_bytes(b"library")
        return {}

    library, _ = build._cached("key", make)
    foreign = {"library": library, "description": library.with_suffix(".json")}
    strange = foreign.get(whose, library.parent).stat().st_ino
    stat = Path.stat

    def owned(path, **options):
        found = stat(path, **options)
        if found.st_ino != strange:
            return found
        return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])

    monkeypatch.setattr(Path, "stat", owned)
    again, _ = build._cached("key", make)
    assert len(made) == 2
    assert (again == library) == (whose != "folder")
    assert stat(again.parent).st_mode & 0o777 == 0o700
    build._cached("key", make)
    assert len(made) == 2


def test_a_folder_that_others_can_write_to_is_closed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = build.cache_folder()
    folder.chmod(0o777)
    assert build.cache_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("case", ["a file in its place", "read-only"])
def test_a_cache_that_cannot_be_written_to(monkeypatch, tmp_path, case):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if case == "read-only":
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        (tmp_path / "minitorch").write_text("")
    folder = build.cache_folder()
    assert not folder.is_relative_to(tmp_path / "minitorch")
    assert build.cache_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    say = f"echo ld: {os.strerror(errno.ENOSPC)} >&2; exit 1"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        build._run(["sh", "-c", say])
    assert caught.value.filename == str(build.cache_folder())


def test_other_processors_switch_by_ucontext(tmp_path):
    program = f"""
import ctypes, json, sys
import numpy as np
from minitorch.backend.sim import build, driver
build.RUNTIME_FLAGS = (*build.RUNTIME_FLAGS, "-DSIM_UCONTEXT")
module = build.CompiledModule({EXCHANGE!r})
out = driver.allocate(4 * 12 * 64, "out")
for schedule in ("forward", "reverse", "random"):
    driver.settings.schedule = schedule
    args = [np.uint64(out).tobytes()]
    driver.launch(module.kernels["exchange"], (2,), (64,), args)
last = np.ctypeslib.as_array((ctypes.c_int * (12 * 64)).from_address(out)).reshape(12, 64).tolist()
try:
    driver.launch(module.kernels["exchange"], (2,), (40,), args)
except driver.SimError as error:
    print(json.dumps([last[0], last[11], "takes no part" in str(error)]))
"""
    ((first, last, caught),) = run_in_new_process(program, tmp_path)
    assert first == list(range(63, -1, -1))
    assert last == list(range(64))
    assert caught

"""What the tests of the look-alike share: a kernel, and skipping where there is no compiler."""

import shutil

import numpy as np
import pytest

if shutil.which("g++") is None:
    pytest.skip("g++ is not installed", allow_module_level=True)

from minitorch.backend import sim

ADD = """
extern "C" __global__ void add(const float* x, float* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] += x[i];
}
struct Pair { int a; double b; };
extern "C" __global__ void kinds(Pair pair, int i, float f, double d, bool b, double* out) {
    out[0] = pair.a + pair.b + i + f + d + (b ? 1 : 0);
}
extern "C" __global__ void dynamic(float* out) {
    extern __shared__ float scratch[];
    scratch[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = scratch[blockDim.x - 1 - threadIdx.x];
}
"""
MODULE = sim.RawModule(code=ADD)


def add(x, y):
    """y += x, in the current stream."""
    MODULE.get_function("add")((2,), (32,), (x, y, np.int64(y.size)))


def floats(*values):
    """A float32 array on the current device."""
    return sim.asarray(np.array(values, np.float32))

"""The simulated GPU: the kernels of `kernels/` run thread by thread, and checked.

It looks like CuPy, as far as `backend.cuda` needs it: every name here is one of CuPy's, with its
meaning (`SimError` and `check_compiler` aside), and it is stricter wherever CuPy is lenient;
`cublaslt` looks like NVIDIA's bindings of cublasLt.
"""

from minitorch.backend.sim import cublaslt, cuda, linalg
from minitorch.backend.sim.array import asarray, empty, ndarray
from minitorch.backend.sim.build import check_compiler
from minitorch.backend.sim.cuda.memory import get_default_memory_pool
from minitorch.backend.sim.driver import SimError
from minitorch.backend.sim.module import RawKernel, RawModule

__all__ = [
    "RawKernel",
    "RawModule",
    "SimError",
    "asarray",
    "check_compiler",
    "cublaslt",
    "cuda",
    "empty",
    "get_default_memory_pool",
    "linalg",
    "ndarray",
]

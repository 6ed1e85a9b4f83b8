"""The kernels of the word-vector ops on each device.

`cpu` is NumPy, `cuda` launches `kernels/word2vec.cu`. `blockwise` and `wordwise` are machine code
by Numba, which `machine_code` calls.
"""

from typing import Any

from minitorch.library import register_kernel
from minitorch.text.word2vec import negative_sampling
from minitorch.text.word2vec.kernels import cpu

__all__ = ["cpu", "negative_sampling"]


def _register(op: str) -> None:
    """Register a kernel of `cuda`, which is imported when a GPU first needs one."""

    @register_kernel(op, ("cuda", "sim"))
    def launch(*args: Any, **params: Any) -> Any:
        from minitorch.text.word2vec.kernels import cuda

        return cuda.KERNELS[op](*args, **params)


for _op in ("negative_sampling", "negative_sampling_backward", "negative_sampling_sgd_"):
    _register(_op)

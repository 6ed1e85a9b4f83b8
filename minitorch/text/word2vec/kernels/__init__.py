"""The kernels of the word-vector ops on each device.

`cpu` and `hogwild` are NumPy, `cuda` and `hogwild_cuda` launch `kernels/word2vec.cu` and
`kernels/hogwild.cu`. `blockwise` and `wordwise` are machine code
by Numba, which `machine_code` calls.
"""

from typing import Any

from minitorch.library import register_kernel
from minitorch.text.word2vec import negative_sampling
from minitorch.text.word2vec.kernels import cpu, hogwild

__all__ = ["cpu", "hogwild", "negative_sampling"]


def _register(op: str) -> None:
    """Register a kernel of `cuda`, which is imported when a GPU first needs one."""

    @register_kernel(op, ("cuda", "sim"))
    def launch(*args: Any, **params: Any) -> Any:
        from minitorch.text.word2vec.kernels import cuda

        return cuda.KERNELS[op](*args, **params)


for _op in ("negative_sampling", "negative_sampling_backward", "negative_sampling_sgd_"):
    _register(_op)
_register("hogwild_sgd_")

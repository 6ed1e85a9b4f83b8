"""The op table in NumPy and SciPy: one kernel per op of the registry.

Arguments arrive normalised (dimensions non-negative, dtypes equal, indices as arrays). In a binary
kernel one of the two arguments may be a Python number, which never widens the other's dtype.
"""

import numpy as np

from minitorch.backend.cpu.dlpack import from_dlpack, to_dlpack
from minitorch.backend.cpu.elementwise import ELEMENTWISE
from minitorch.backend.cpu.fused import FUSED
from minitorch.backend.cpu.index import INDEX, WRITES
from minitorch.backend.cpu.kernel import quiet
from minitorch.backend.cpu.linalg import LINALG
from minitorch.backend.cpu.norm import NORMS
from minitorch.backend.cpu.optim import OPTIMIZERS
from minitorch.backend.cpu.recurrent import RECURRENT
from minitorch.backend.cpu.reduce import REDUCTIONS
from minitorch.backend.cpu.replay import NumpyTrace
from minitorch.backend.cpu.shape import SHAPE, VIEWS
from minitorch.backend.cpu.source import SOURCES
from minitorch.core.device import Backend

BACKEND = Backend(
    name="cpu",
    array_type=np.ndarray,
    kernels={
        **VIEWS,
        **ELEMENTWISE,
        **REDUCTIONS,
        **SHAPE,
        **INDEX,
        **FUSED,
        **LINALG,
        **NORMS,
        **RECURRENT,
        **WRITES,
        **OPTIMIZERS,
        **SOURCES,
    },
    views=frozenset(VIEWS),
    from_host=lambda array, index: array,
    to_host=lambda array: array,
    as_array=np.asarray,
    trace=NumpyTrace,
    address=lambda array: int(array.ctypes.data),
    from_dlpack=from_dlpack,
    to_dlpack=to_dlpack,
    small=1 << 13,
    kernel_of=lambda op, kernel: quiet(kernel),
)

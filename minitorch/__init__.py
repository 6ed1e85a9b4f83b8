"""minitorch: a deep-learning mini-framework with PyTorch's names.

In short:

>>> import minitorch
>>> x = minitorch.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

import difflib
import importlib
import typing

from minitorch import (
    amp,
    autograd,
    creation,
    formats,
    func,
    fused,
    nn,
    ops,
    optim,
    printing,
    random,
    serialization,
    utils,
)
from minitorch.amp import autocast, get_autocast_dtype, is_autocast_enabled
from minitorch.backend import Device as device
from minitorch.backend import determinism as _determinism
from minitorch.backend import get_default_device, set_default_device
from minitorch.backend import limits as _limits
from minitorch.backend import precision as _precision
from minitorch.backend.cpu import blas as _blas
from minitorch.backend.cpu import settings as _settings
from minitorch.backend.cpu.blas import *
from minitorch.backend.cpu.settings import *
from minitorch.backend.determinism import *
from minitorch.backend.limits import *
from minitorch.backend.precision import *
from minitorch.boundary import guard as _guard
from minitorch.compiler import compile
from minitorch.core import dtypes as _dtypes
from minitorch.core import grad_mode as _grad_mode
from minitorch.core import sparse as _sparse
from minitorch.core import tensor as _tensor
from minitorch.core.dtypes import *
from minitorch.core.grad_mode import *
from minitorch.core.sparse import *
from minitorch.core.tensor import *
from minitorch.creation import *
from minitorch.formats import *
from minitorch.ops import *
from minitorch.ops import methods as _methods
from minitorch.printing import *
from minitorch.random import *
from minitorch.serialization import *

__version__ = "0.1.0"

__all__ = [
    "amp",
    "autocast",
    "autograd",
    "compile",
    "cuda",
    "device",
    "func",
    "fused",
    "get_autocast_dtype",
    "get_default_device",
    "is_autocast_enabled",
    "nn",
    "ops",
    "optim",
    "set_default_device",
    "utils",
    *_blas.__all__,
    *_determinism.__all__,
    *_limits.__all__,
    *_precision.__all__,
    *_settings.__all__,
    *_dtypes.__all__,
    *_grad_mode.__all__,
    *_sparse.__all__,
    *_tensor.__all__,
    *creation.__all__,
    *formats.__all__,
    *ops.__all__,
    *printing.__all__,
    *random.__all__,
    *serialization.__all__,
]
_guard(globals(), [n for n in __all__ if not isinstance(globals().get(n), type)] + ["dtype"])

if typing.TYPE_CHECKING:
    from minitorch import cuda as cuda
    from minitorch import library as library
    from minitorch import linalg as linalg
    from minitorch import profiler as profiler
    from minitorch import sim as sim
    from minitorch import special as special
    from minitorch import symbolic as symbolic
    from minitorch import testing as testing


_LATE = ("cuda", "library", "linalg", "profiler", "sim", "special", "symbolic", "testing")


def __getattr__(name: str) -> typing.Any:
    """What not every program needs is imported where it is first used.

    Nor are other names of dtypes globals: `float`, `int` and `bool` would hide Python's here.
    """
    if name in _dtypes.ALIASES:
        return _dtypes.ALIASES[name]
    if name in _LATE:
        return importlib.import_module(f"minitorch.{name}")
    if name in _methods.LATE.split() or name == "chain_matmul":
        return getattr(importlib.import_module("minitorch.matrices"), name)
    message = f"module 'minitorch' has no attribute {name!r}"
    if not name.startswith("_"):  # which tools ask for
        close = difflib.get_close_matches(name, __dir__(), 3)
        message += f"; close to it are {', '.join(close)}" * bool(close)
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE, *_methods.LATE.split(), "chain_matmul"})


def _checks_of_testing(name: str) -> typing.Any:
    if name in ("gradcheck", "gradgradcheck"):
        return getattr(importlib.import_module("minitorch.testing"), name)
    raise AttributeError(f"module 'minitorch.autograd' has no attribute {name!r}")


vars(autograd)["__getattr__"] = _checks_of_testing  # PyTorch has these two there

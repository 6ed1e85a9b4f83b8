"""minitorch: a deep-learning mini-framework with PyTorch's names.

In short:

    import minitorch
    x = minitorch.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad  # tensor([2., 4.])
"""

import importlib
import typing

from minitorch import autograd, func, fused, nn, ops, optim, utils
from minitorch.backend import Device as device
from minitorch.backend import get_default_device, set_default_device
from minitorch.backend.cpu.blas import get_num_threads, set_num_threads
from minitorch.backend.cpu.settings import set_flush_denormal
from minitorch.backend.determinism import (
    are_deterministic_algorithms_enabled,
    use_deterministic_algorithms,
)
from minitorch.backend.precision import (
    get_float32_matmul_precision,
    set_float32_matmul_precision,
)
from minitorch.boundary import guard as _guard
from minitorch.compiler import compile
from minitorch.core.dtypes import (
    ALIASES,
    Size,
    dtype,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)
from minitorch.core.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from minitorch.ops import *  # noqa: F403
from minitorch.printing import get_printoptions, set_printoptions
from minitorch.random import (
    Generator,
    bernoulli,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    set_rng_state,
)
from minitorch.serialization import load, save

__version__ = "0.1.0"

__all__ = [
    "Generator",
    "RowGrad",
    "Size",
    "Tensor",
    "arange",
    "are_deterministic_algorithms_enabled",
    "as_tensor",
    "autograd",
    "bernoulli",
    "compile",
    "cuda",
    "device",
    "dtype",
    "empty",
    "empty_like",
    "enable_grad",
    "eye",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "fused",
    "get_default_device",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "get_printoptions",
    "get_rng_state",
    "inference_mode",
    "initial_seed",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "linspace",
    "load",
    "manual_seed",
    "multinomial",
    "nn",
    "no_grad",
    "normal",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "promote_types",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "save",
    "set_default_device",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "tensor",
    "uint8",
    "use_deterministic_algorithms",
    "utils",
    "zeros",
    "zeros_like",
]
__all__ += ops.__all__
_guard(globals(), [n for n in __all__ if not isinstance(globals().get(n), type)] + ["dtype"])

if typing.TYPE_CHECKING:
    from minitorch import cuda as cuda
    from minitorch import library as library
    from minitorch import sim as sim
    from minitorch import symbolic as symbolic
    from minitorch import testing as testing


def __getattr__(name: str) -> typing.Any:
    """What not every program needs is imported where it is first used.

    Nor are other names of dtypes globals: `float`, `int` and `bool` would hide Python's here.
    """
    if name in ALIASES:
        return ALIASES[name]
    if name in ("cuda", "library", "sim", "symbolic", "testing"):
        return importlib.import_module(f"minitorch.{name}")
    raise AttributeError(f"module 'minitorch' has no attribute {name!r}")


def _checks_of_testing(name: str) -> typing.Any:
    if name in ("gradcheck", "gradgradcheck"):
        return getattr(importlib.import_module("minitorch.testing"), name)
    raise AttributeError(f"module 'minitorch.autograd' has no attribute {name!r}")


vars(autograd)["__getattr__"] = _checks_of_testing  # PyTorch has these two there

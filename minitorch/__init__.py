"""minitorch: a deep-learning mini-framework with PyTorch's names.

    import minitorch
    x = minitorch.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad  # tensor([2., 4.])
"""

from minitorch import autograd, func, fused, nn, optim, utils
from minitorch.backend import Device as device
from minitorch.backend import get_default_device, set_default_device
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
from minitorch.dtypes import (
    bool_ as bool,
)
from minitorch.dtypes import (
    dtype,
    float16,
    float32,
    float64,
    get_default_dtype,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
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
from minitorch.tensor import (
    RowGrad,
    Size,
    Tensor,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

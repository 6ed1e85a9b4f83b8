"""Random numbers: counter-based (Philox 4x64-10), so that every device gives the same ones.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A generator is a seed and a
count of blocks already used; a call takes the blocks that it needs and moves the count on.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any

from minitorch import recording, underived
from minitorch.boundary import guard
from minitorch.core import dtypes, families
from minitorch.core.tensor import Tensor
from minitorch.creation import DeviceLike, arange, like, shape_of, tensor
from minitorch.operands import is_number

__all__ = [
    "Generator",
    "bernoulli",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "set_rng_state",
]

_uniform = underived.source("uniform")
_normal = underived.source("normal")
_randint = underived.source("randint")
_randperm = underived.source("randperm")
_check_unit = families.constant("check_unit")  # RuntimeError where an element is not in [0, 1]

WORDS_PER_BLOCK = 4  # of 64 bits


class Generator:
    """A stream of random numbers of its own."""

    def __init__(self, device: DeviceLike = None) -> None:
        self._seed = 0
        self._offset = 0

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream number `seed` (0 <= seed < 2**64); returns the generator."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed: expected an integer, got {seed!r}")
        seed = seed.__index__()
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"manual_seed: expected a seed of 64 bits, got {seed}")
        recording.host(lambda: self._begin(seed % 2**64))
        return self

    def _begin(self, seed: int) -> None:
        self._seed, self._offset = seed, 0

    def seed(self) -> int:
        """Begin a stream of an unpredictable number; returns the number."""
        recording.impossible("seed() begins another stream of random numbers at every step")
        number = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        """The number of the stream."""
        return self._seed

    def get_state(self) -> Tensor:
        """Seed (as two halves of 32 bits) and blocks used: an int64 tensor (3,)."""
        recording.impossible("get_state() reads the random state, which differs at every step")
        values = [self._seed >> 32, self._seed & 0xFFFFFFFF, self._offset]
        return tensor(values, dtype=dtypes.int64, device="cpu")

    def set_state(self, state: Tensor) -> Generator:
        """Continue where `get_state` was called."""
        expected = "set_state: expected what get_state() gave, an int64 tensor (3,)"
        if not isinstance(state, Tensor) or tuple(state.shape) != (3,):
            raise TypeError(expected)
        if state.dtype is not dtypes.int64:
            raise TypeError(f"{expected}, got {state.dtype}")
        high, low, offset = state.tolist()
        if not (0 <= high < 2**32 and 0 <= low < 2**32 and offset >= 0):
            raise ValueError(f"{expected}, got {state.tolist()}")
        self._seed, self._offset = (high << 32) | low, offset
        return self

    def take(self, words: int) -> dict[str, int]:
        """Reserve 64-bit words of the stream; their `seed` and `offset`."""
        if not recording.recorder:
            return self._take(words)
        return recording.host(lambda: self._take(words), partial(self._rewind, self._offset))

    def _rewind(self, offset: int) -> None:
        self._offset = offset

    def _take(self, words: int) -> dict[str, int]:
        start = {"seed": self._seed, "offset": self._offset}
        self._offset += -(-words // WORDS_PER_BLOCK)
        return start


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Begin stream number `seed` for all that draws without a generator of its own.

    The numbers drawn are the same everywhere. What is computed of them is so on one machine with
    one number of BLAS threads (OPENBLAS_NUM_THREADS); others add up in another order.

    >>> _ = minitorch.manual_seed(0)
    >>> first = minitorch.rand(3)
    >>> _ = minitorch.manual_seed(0)
    >>> bool((minitorch.rand(3) == first).all())
    True
    """
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The number of the default generator's stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Set the default generator to a state from `get_rng_state`."""
    default_generator.set_state(state)


def reserve(
    name: str, shape: tuple[int, ...], dtype: dtypes.dtype, generator: Generator | None = None
) -> dict[str, int]:
    """Reserve the words for an array of real numbers; their `seed` and `offset`."""
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {dtype}")
    words = (math.prod(shape) + 1) // (1 if dtype is dtypes.float64 else 2) + 1
    return (generator or default_generator).take(words)


def _draw(
    source: Any, name: str, shape: tuple[int, ...], dtype: Any, device: Any, generator: Any
) -> Tensor:
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    start = reserve(name, shape, chosen, generator)
    result: Tensor = source(device, shape=shape, dtype=chosen.array_dtype, **start)
    return result


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn evenly from [0, 1)."""
    x = _draw(_uniform, "rand", shape_of("rand", size), dtype, device, generator)
    return x.requires_grad_() if requires_grad else x


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: DeviceLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn from the normal distribution with mean 0 and variance 1."""
    x = _draw(_normal, "randn", shape_of("randn", size), dtype, device, generator)
    return x.requires_grad_() if requires_grad else x


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: DeviceLike = None,
) -> Tensor:
    """Integers drawn evenly from low (0 if left out) to high - 1: `randint(10, (2, 3))`."""
    if size is None:
        low, high, size = 0, low, high
    if size is None or high is None:
        raise TypeError("randint: expected (high, size) or (low, high, size)")
    if not is_number(low) or not is_number(high):
        raise TypeError(f"randint: low and high: expected numbers, got {low!r} and {high!r}")
    if high <= low:
        raise RuntimeError(f"randint: low {low} is not below high {high}")
    shape = shape_of("randint", (size,))
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    start = (generator or default_generator).take(math.prod(shape))
    x: Tensor = _randint(
        device, shape=shape, dtype=chosen.array_dtype, low=int(low), high=int(high), **start
    )
    return x


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: DeviceLike = None
) -> Tensor:
    """The numbers 0 to n - 1 in random order (int64)."""
    shape_of("randperm", (n,))
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    start = (generator or default_generator).take(n)
    x: Tensor = _randperm(device, n=n, dtype=chosen.array_dtype, **start)
    return x


def rand_like(x: Tensor, *, dtype: Any = None, device: DeviceLike = None) -> Tensor:
    """`rand` with x's shape, dtype and device."""
    return rand(x.shape, **like(x, dtype, device))


def randn_like(x: Tensor, *, dtype: Any = None, device: DeviceLike = None) -> Tensor:
    """`randn` with x's shape, dtype and device."""
    return randn(x.shape, **like(x, dtype, device))


def randint_like(
    x: Tensor, low: int, high: int | None = None, *, dtype: Any = None, device: DeviceLike = None
) -> Tensor:
    """`randint` with x's shape, dtype and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, x.shape, **like(x, dtype, device))


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: DeviceLike = None,
) -> Tensor:
    """Numbers drawn from the normal distribution with this mean and standard deviation.

    Either may be a tensor, with one for each element; then there is no size.
    """
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        each: Tensor = _normal_of_each(mean, std, generator)
        return each
    if size is None:
        raise TypeError("normal: size: expected lengths, where neither mean nor std is a tensor")
    if std < 0:
        raise RuntimeError(f"normal: std must be non-negative, got {std}")
    return randn(size, generator=generator, dtype=dtype, device=device).mul_(std).add_(mean)


def _normal_of_each(mean: Any, std: Any, generator: Generator | None) -> Any:
    if bool((std < 0).any()) if isinstance(std, Tensor) else std < 0:
        raise RuntimeError("normal: std: expected all elements to be >= 0")
    like_both = (mean + std).detach()
    drawn = randn(like_both.shape, generator=generator, **like(like_both))
    return drawn * std + mean


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """For each element of p, 1 with that probability, else 0; dtype of p."""
    check_probabilities("bernoulli: p", p)
    draws = rand(p.shape, generator=generator, **like(p))
    return (draws < p).to(p.dtype)


def check_probabilities(what: str, p: Any) -> None:
    """RuntimeError unless p, a number or a tensor, is in [0, 1] throughout.

    A GPU need not wait to find out: it raises at the next synchronisation.
    """
    if isinstance(p, Tensor):
        _check_unit(p, what=what)
    elif not is_number(p):
        raise TypeError(f"{what}: expected a number or a tensor, got {type(p).__name__}")
    elif not 0 <= p <= 1:
        raise RuntimeError(f"{what}: expected numbers between 0 and 1, got {p:g}")


def multinomial(
    weights: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Indices (..., num_samples) drawn in proportion to the rows of `weights` (n,) or (m, n).

    Without replacement: the largest of log(w) + Gumbel noise (Efraimidis and Spirakis, 2006).
    """
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: weights: expected 1 or 2 dimensions, got {weights.ndim}")
    if not weights.dtype.is_floating_point:
        raise RuntimeError(f"multinomial: weights: expected floats, got {weights.dtype}")
    if not bool((weights >= 0).all()) or not bool((weights.sum(-1) > 0).all()):
        raise RuntimeError("multinomial: weights must be >= 0, finite, with a positive sum")
    positive = int((weights > 0).sum(-1).min())
    if num_samples <= 0 or (not replacement and num_samples > positive):
        raise RuntimeError(
            f"multinomial: cannot draw {num_samples} samples"
            f"{'' if replacement else f' without replacement from {positive} categories'}"
        )
    w = weights.detach().double()
    if not replacement:
        noise = -rand(w.shape, generator=generator, **like(w)).neg_().add_(1).log_()
        return (noise / w).argsort(-1)[..., :num_samples].clone()
    rows = w.reshape(-1, w.shape[-1]).cumsum(-1)
    rows = rows / rows[:, -1:]
    # One search for all rows: row i lies between i and i + 1.
    shift = arange(len(rows), dtype=dtypes.float64, device=w.device).unsqueeze(1)
    draws = rand((len(rows), num_samples), generator=generator, **like(w)) + shift
    found = (rows + shift).flatten().searchsorted(draws, right=True)
    found = (found - shift.long() * w.shape[-1]).clamp(max=w.shape[-1] - 1)
    return found.reshape((*w.shape[:-1], num_samples))


guard(globals())

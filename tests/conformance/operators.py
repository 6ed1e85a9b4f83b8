"""One operator of PyTorch's database, run in both libraries and compared."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, reduce
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import minitorch
from tests.conformance import reasons

DTYPES = (torch.float32, torch.int64, torch.bool)
TOLERANCE = 2e-5
RTOL_OF = {torch.float16: 4e-3, torch.bfloat16: 3.2e-2, torch.float64: 1e-7}


class NoCounterpart(Exception):
    """A sample that uses what minitorch does not have: complex numbers, sparse tensors."""


@cache
def database() -> dict[str, list[Any]]:
    """The variants of each name. The import takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found: dict[str, list[Any]] = {}
    for op in op_db:
        found.setdefault(op.name, []).append(op)
    return found


COVERED = Path(__file__).with_name("covered.txt")


def covered() -> list[str]:
    """The names of the database, and their aliases, that minitorch has."""
    variants = [op for name in database() for op in database()[name]]
    names = {op.name for op in variants if counterpart(op) is not None}
    aliases = {a.name for op in variants for a in op.aliases or () if lookup(a.name) is not None}
    return sorted(names | aliases)


# ---------------------------------------------------------------------- finding the counterpart
def lookup(name: str) -> Any:
    """minitorch's function of a dotted name, else the method of that name; None: there is none."""
    try:
        found = reduce(getattr, name.split("."), minitorch)
    except AttributeError:
        found = getattr(minitorch.Tensor, name, None)
    if isinstance(found, (property, minitorch.dtype)):
        return getattr(minitorch.Tensor, name)
    return found


def counterpart(op: Any) -> Callable[..., Any] | None:
    """What to call for a variant of an operator."""
    name = reasons.NAMED.get((op.name, op.variant_test_name), op.name)
    name = reasons.NAMED.get(op.name, name)
    found = lookup(name)
    if isinstance(found, property):
        return found.fget
    if found is not None and _symmetric(op):
        return lambda x, *args, **kwargs: found(x + x.mT, *args, **kwargs)
    written = getattr(op.op, "__name__", "") == "<lambda>" and op.name[-1] != "_"
    if found is not None and written:
        return translated(op.op)
    return found if callable(found) else None


def _symmetric(op: Any) -> bool:
    """Whether the database makes a matrix symmetric before its gradient is looked at."""
    return bool(op.gradcheck_wrapper.__name__ == "gradcheck_wrapper_hermitian_input")


def translated(function: Any) -> Any:
    """A Python function of PyTorch's tests with `torch` meaning minitorch."""
    if not isinstance(function, types.FunctionType):
        return function
    names = {**function.__globals__, "torch": minitorch}
    made = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


# ---------------------------------------------------------------------- bringing samples over
class Translation:
    """The arguments of a sample as minitorch's; each tensor once."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.tensors: list[tuple[Any, torch.Tensor]] = []

    def __call__(self, x: Any) -> Any:
        """The counterpart of a value."""
        if isinstance(x, torch.Tensor):
            return self._tensor(x)
        if isinstance(x, torch.Size):
            return minitorch.Size(x)
        if isinstance(x, (list, tuple)):
            return type(x)(map(self, x))
        if isinstance(x, dict):
            return {k: self(v) for k, v in x.items()}
        if isinstance(x, slice):
            return slice(self(x.start), self(x.stop), self(x.step))
        if isinstance(x, (torch.dtype, torch.memory_format, torch.layout)):
            return self._named(x)
        if isinstance(x, torch.device) or x == "cpu":
            return self.device
        if isinstance(x, complex):
            raise NoCounterpart("complex numbers")
        return translated(x)

    def _named(self, x: Any) -> Any:
        name = str(x).removeprefix("torch.")
        if "complex" in name or name[:1] == "q":
            raise NoCounterpart(name)
        try:
            return getattr(minitorch, name)
        except AttributeError:
            raise NoCounterpart(name) from None

    def _tensor(self, x: torch.Tensor) -> Any:
        for mine, theirs in self.tensors:
            if theirs is x:
                return mine
        self._named(x.dtype)
        if x.layout is not torch.strided:
            raise NoCounterpart(str(x.layout))
        if x.ndim > 64:
            raise NoCounterpart("more dimensions than NumPy has")
        copy = x.detach().clone(memory_format=torch.preserve_format)
        if copy.dtype is torch.bfloat16:
            mine = minitorch.from_numpy(copy.float().numpy()).bfloat16()
        else:
            mine = minitorch.from_numpy(copy.numpy())
        mine = mine.to(self.device).requires_grad_(x.requires_grad)
        self.tensors.append((mine, x))
        return mine


def leaves(x: Any) -> list[Any]:
    """The leaves of a nested result."""
    if isinstance(x, (tuple, list)) and not isinstance(x, (torch.Size, minitorch.Size)):
        return [leaf for item in x for leaf in leaves(item)]
    return [x]


# ---------------------------------------------------------------------- comparing
def array(x: Any) -> Any:
    """A tensor's elements on the host, halves in float32."""
    x = x.detach().cpu()
    x = x.float() if x.element_size() == 2 and x.dtype.is_floating_point else x
    return x.numpy(force=True) if isinstance(x, torch.Tensor) else x.numpy()


def difference(mine: Any, theirs: Any, tolerance: float, values: bool = True) -> str:
    """What differs between two leaves; an empty string where nothing does."""
    if not isinstance(theirs, torch.Tensor):
        if isinstance(theirs, torch.dtype):
            mine, theirs = (str(x).split(".")[-1] for x in (mine, theirs))
        if isinstance(theirs, torch.Size):
            mine, theirs = tuple(mine), tuple(theirs)
        same = mine == theirs or (mine != mine and theirs != theirs)
        if isinstance(theirs, float) and isinstance(mine, float):
            same = np.allclose(mine, theirs, tolerance, equal_nan=True)
        return "" if same else f"{mine!r}, not {theirs!r}"
    if not isinstance(mine, minitorch.Tensor):
        return f"{type(mine).__name__}, not a tensor"
    if str(mine.dtype).split(".")[-1] != str(theirs.dtype).split(".")[-1]:
        return f"dtype {mine.dtype}, not {theirs.dtype}"
    if tuple(mine.shape) != tuple(theirs.shape):
        return f"shape {tuple(mine.shape)}, not {tuple(theirs.shape)}"
    if not values:
        return ""
    a, b = array(mine), array(theirs)
    with np.errstate(all="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=0) if theirs.is_floating_point() else 0
        near = np.isclose(a, b, tolerance, tolerance * max(min(scale, 1e6), 0.1), equal_nan=True)
    if near.all():
        return ""
    at = np.argwhere(~near)[0]
    return f"{a[tuple(at)]!r}, not {b[tuple(at)]!r} at {tuple(map(int, at))}"


@dataclass
class Result:
    """What came out for a name."""

    name: str
    covered: bool = True
    samples: int = 0
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    errors: int = 0
    raised: int = 0
    typed: int = 0
    error_failures: list[str] = field(default_factory=list)

    def count(self, failure: str) -> None:
        """Count a sample."""
        self.samples += 1
        self.passed += not failure
        if failure:
            self.failures.append(failure)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def check(op: Any, function: Callable[..., Any], sample: Any, device: str) -> str | None:
    """What differs in a sample; "" where nothing does, None where it has no counterpart."""
    to = Translation(device)
    compared = not (op.name in reasons.RANDOM or op.name in reasons.UNDEFINED)
    try:
        args, kwargs = to([sample.input, *sample.args]), to(sample.kwargs)
    except NoCounterpart:
        return None
    copies = [x.detach().clone().requires_grad_(x.requires_grad) for _, x in to.tensors]
    swap = {id(x): c for (_, x), c in zip(to.tensors, copies)}
    given = [_swapped(x, swap) for x in (sample.input, *sample.args)]
    try:
        if _symmetric(op):
            given[0] = given[0] + given[0].mT
        theirs = op.op(*given, **_swapped(sample.kwargs, swap))
    except Exception as error:
        return None if not isinstance(error, AssertionError) else str(error)
    if any(isinstance(y, torch.Tensor) and _foreign(y) for y in leaves(theirs)):
        return None
    try:
        mine = function(*args, **kwargs)
        mine = translated(sample.output_process_fn_grad)(mine)
        theirs = sample.output_process_fn_grad(theirs)
        return compare(op, mine, theirs, to.tensors, copies, compared)
    except NotImplementedError as error:
        return first_line(error)
    except Exception as error:
        return first_line(error)


def changed_in_place(name: str, device: str, limit: int = 2) -> list[str]:
    """What differs after the method `name`, which changes its tensor, in samples of float32."""
    failures = []
    for op in database()[name[:-1]]:
        for sample in islice(samples_of(op, torch.float32), limit):
            to, theirs = Translation(device), sample.input.detach().clone()
            try:
                mine, args, kwargs = (
                    to([sample.input, *sample.args])[0],
                    to([*sample.args]),
                    to(sample.kwargs),
                )
                with torch.no_grad():
                    getattr(theirs, name)(*sample.args, **sample.kwargs)
            except (NoCounterpart, AttributeError, RuntimeError, TypeError):
                continue
            if theirs.numel() != sample.input.numel():
                continue  # PyTorch made room for more elements
            mine = mine.detach().clone()
            getattr(mine, name)(*args, **kwargs)
            found = difference(mine, theirs, reasons.TOLERANCE.get(op.name, 1) * TOLERANCE)
            failures += [f"{name}: {shown(sample)}: {found}"] if found else []
    return failures


def _foreign(y: torch.Tensor) -> bool:
    return y.is_complex() or y.layout is not torch.strided or y.is_quantized


def _swapped(x: Any, swap: dict[int, Any]) -> Any:
    """A nested value with the tensors exchanged."""
    if isinstance(x, torch.Tensor):
        return swap[id(x)]
    if isinstance(x, (list, tuple)) and not isinstance(x, torch.Size):
        return type(x)(_swapped(v, swap) for v in x)
    if isinstance(x, dict):
        return {k: _swapped(v, swap) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(*(_swapped(v, swap) for v in (x.start, x.stop, x.step)))
    return x


def compare(
    op: Any, mine: Any, theirs: Any, tensors: list[Any], copies: list[Any], compared: bool
) -> str:
    """What differs in results and gradients."""
    ours, results = leaves(mine), leaves(theirs)
    if len(ours) != len(results):
        return f"{len(ours)} results, not {len(results)}"
    factor = reasons.TOLERANCE.get(op.name, 100 if op.name.startswith("linalg.") else 1)
    for a, b in zip(ours, results):
        dtype = b.dtype if isinstance(b, torch.Tensor) else None
        found = difference(a, b, factor * RTOL_OF.get(dtype, TOLERANCE), compared)
        if found:
            return found
    pairs = [
        (a, b)
        for a, b in zip(ours, results)
        if isinstance(b, torch.Tensor) and b.requires_grad and b.is_floating_point()
    ]
    if not pairs or not compared:
        return ""
    return compare_gradients(pairs, tensors, copies, factor)


def compare_gradients(pairs: Any, tensors: Any, copies: Any, factor: float) -> str:
    """What differs in the gradients of the leaves, for the same random cotangents."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, tuple(b.shape)) for _, b in pairs]
    try:
        torch.autograd.backward(
            [b for _, b in pairs],
            [torch.tensor(w, dtype=b.dtype) for w, (_, b) in zip(weights, pairs)],
        )
    except (RuntimeError, NotImplementedError):
        return ""
    tracked = [(a, w) for (a, _), w in zip(pairs, weights) if a.requires_grad]
    if tracked:  # a result without a gradient is right where PyTorch's is zero
        minitorch.autograd.backward(
            [a for a, _ in tracked],
            [minitorch.tensor(w, dtype=a.dtype, device=a.device) for a, w in tracked],
        )
    for (x, _), y in zip(tensors, copies):
        if y.grad is None:
            continue
        if x.grad is None:
            if bool(y.grad.any()):
                return "gradient: None"
            continue
        found = difference(x.grad, y.grad, 5 * factor * TOLERANCE)
        if found:
            return f"gradient: {found}"
    return ""


# ---------------------------------------------------------------------- a name
def samples_of(op: Any, dtype: torch.dtype) -> Iterator[Any]:
    """A variant's samples in a dtype, if it has that dtype."""
    if dtype not in op.supported_dtypes("cpu"):
        return
    torch.manual_seed(0)
    grad = dtype.is_floating_point and op.supports_autograd
    yield from op.sample_inputs("cpu", dtype, requires_grad=grad)


def run(name: str, dtypes: Any = DTYPES, limit: int | None = None, device: str = "cpu") -> Result:
    """Run a name's samples, or `limit` of each dtype and variant, spread evenly."""
    result = Result(name)
    variants = [(op, counterpart(op)) for op in database()[name]]
    result.covered = all(function is not None for _, function in variants)
    if not result.covered:
        return result
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op, function in variants:
            for dtype in dtypes:
                _run_samples(result, op, function, dtype, limit, device)
            if limit is None or limit > 1:
                _run_errors(result, op, function, device)
    return result


def _run_samples(
    result: Result, op: Any, function: Any, dtype: Any, limit: int | None, device: str
) -> None:
    samples = samples_of(op, dtype)
    if limit is not None:  # drawn from the first ones: some names have thousands
        samples = Random(op.name).sample(first := list(islice(samples, 8)), min(limit, len(first)))
    for i, sample in enumerate(samples):
        failure = check(op, function, sample, device)
        if failure is not None:
            result.count(failure and f"{str(dtype)[6:]} {i}: {shown(sample)}: {failure}")


def _run_errors(result: Result, op: Any, function: Any, device: str) -> None:
    if op.error_inputs_func is None:
        return
    torch.manual_seed(0)
    for given in op.error_inputs("cpu"):
        sample = given.sample_input
        try:
            to = Translation(device)
            args, kwargs = to([sample.input, *sample.args]), to(sample.kwargs)
        except NoCounterpart:
            continue
        method_of_number = op.name[:2] == "__" and not isinstance(args[0], minitorch.Tensor)
        if method_of_number or not _raises(op, sample):
            continue
        result.errors += 1
        try:
            function(*args, **kwargs)
        except Exception as error:
            result.raised += 1
            result.typed += isinstance(error, given.error_type)
            found = "" if isinstance(error, given.error_type) else first_line(error)
        else:
            found = "raised nothing"
        if found:
            wanted = f"{given.error_type.__name__} {given.error_regex!r}"
            result.error_failures.append(f"error: {shown(sample)}: {found}; expected {wanted}")


def _raises(op: Any, sample: Any) -> bool:
    """Whether PyTorch raises as its database says."""
    try:
        op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return True
    return False


def shown(sample: Any) -> str:
    """A sample's arguments, tensors by their shapes."""
    parts = [_shown(x) for x in (sample.input, *sample.args)]
    parts += [f"{k}={_shown(v)}" for k, v in sample.kwargs.items()]
    return f"({', '.join(parts)})"


def _shown(x: Any) -> str:
    if isinstance(x, torch.Tensor):
        return f"{str(x.dtype)[6:]}{list(x.shape)}"
    if isinstance(x, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in x):
        return f"[{', '.join(map(_shown, x))}]"
    return repr(x)

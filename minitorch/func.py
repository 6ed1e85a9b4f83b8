"""Derivatives of functions, as functions: they nest in any order and mix.

The names, arguments and results are those of `torch.func`. Arguments and results may be nested
tuples, lists and dicts of tensors. Each call gives the function fresh variables that stay
connected to the history of what was passed in, so an inner derivative is not confused with an
outer one. There is no `vmap` here: the rows (or columns) of a Jacobian come one after another, so
that it needs the memory of one pass and of the result, however many rows it has.

A Jacobian with n outputs and m inputs takes n backward passes with `jacrev` and m forward passes
with `jacfwd`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from minitorch import creation
from minitorch.autograd.recorded import Argnums, Recorded
from minitorch.boundary import guard
from minitorch.core import pytree
from minitorch.core.tensor import Tensor
from minitorch.nn.module import Module

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "value_and_grad",
    "vjp",
]


def _matched(
    name: str, what: str, given: Any, treedef: pytree.TreeDef, like: Sequence[Tensor]
) -> list[Tensor]:
    """The leaves of cotangents or tangents, which must match treedef, shapes and dtypes."""
    leaves, found = pytree.flatten(given)
    if found != treedef:
        raise RuntimeError(f"{name}: {what}s have the structure {found}, expected {treedef}")
    for i, (t, x) in enumerate(zip(leaves, like, strict=True)):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: {what} {i}: expected a tensor, got {type(t).__name__}")
        if tuple(t.shape) != tuple(x.shape) or t.dtype != x.dtype:
            raise RuntimeError(
                f"{name}: {what} {i} is {tuple(t.shape)} {t.dtype}, "
                f"expected {tuple(x.shape)} {x.dtype}"
            )
    return leaves


# ---------------------------------------------------------------------- gradients
def _value_and_grad(
    name: str,
    func: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[Any, Any, Any]:
    """(value, gradient, aux)"""
    call = Recorded(name, func, args, argnums, has_aux, kwargs)
    container = call.output_treedef.kind
    if container is not None:
        raise TypeError(f"{name}: the function must return a tensor, got {container.__name__}")
    y = call.outputs[0]
    if y.ndim:
        raise RuntimeError(
            f"{name}: the function must return a scalar, got shape {tuple(y.shape)}; "
            "use vjp or jacrev for others"
        )
    gradient = call.by_input(call.gradients([creation.ones_like(y)]))
    return call.value(), gradient, call.aux


def value_and_grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives (value, gradient) of the scalar function `func`.

    argnums: the argument(s) to differentiate by; with a tuple the gradient is a tuple.
    has_aux: func returns (scalar, anything), and so the value is that pair.
    Raises RuntimeError for a result that is not 0-d, TypeError for arguments to differentiate by
    that are not floating-point tensors (or pytrees of them).

    >>> minitorch.func.value_and_grad(lambda x: x**3)(minitorch.tensor(2.0))
    (tensor(8.), tensor(12.))
    """

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = "value_and_grad"
        value, gradient, aux = _value_and_grad(name, func, argnums, has_aux, args, kwargs)
        return ((value, aux) if has_aux else value), gradient

    return wrapped


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """`value_and_grad` in the order of PyTorch: (gradient, value)."""

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = "grad_and_value"
        value, gradient, aux = _value_and_grad(name, func, argnums, has_aux, args, kwargs)
        return gradient, ((value, aux) if has_aux else value)

    return wrapped


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of the scalar function `func`.

    Arguments as for `value_and_grad`; with has_aux the result is (gradient, aux).

    >>> minitorch.func.grad(lambda x: x**3)(minitorch.tensor(2.0))
    tensor(12.)
    """

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _, gradient, aux = _value_and_grad("grad", func, argnums, has_aux, args, kwargs)
        return (gradient, aux) if has_aux else gradient

    return wrapped


# ---------------------------------------------------------------------- products
def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """func(*primals), and the function that maps a cotangent of it to those of the primals.

    That function, vjp_fn(cotangents, retain_graph=True, create_graph=None), takes what has the
    structure of func's result, and gives a tuple with a gradient for each primal. Each call is
    one backward pass. has_aux: func returns (result, aux), and aux comes third.

    >>> y, vjp_fn = minitorch.func.vjp(lambda x: x * x, minitorch.tensor([1.0, 2.0]))
    >>> vjp_fn(minitorch.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    call = Recorded("vjp", func, primals, None, has_aux)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        gs = _matched("vjp", "cotangent", cotangents, call.output_treedef, call.outputs)
        return pytree.unflatten(call.gradients(gs, retain_graph, create_graph), call.treedef)

    return (call.value(), vjp_fn, call.aux) if has_aux else (call.value(), vjp_fn)


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """func(*primals), and its derivative along `tangents`, in forward mode: one pass.

    primals, tangents: tuples of the same structure. strict: RuntimeError where a result does not
    depend on them (else its tangent is zero). has_aux: func returns (result, aux); aux comes third.

    >>> x, t = minitorch.tensor([1.0, 2.0]), minitorch.tensor([1.0, 0.0])
    >>> minitorch.func.jvp(lambda x: x * x, (x,), (t,))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    return _jvp("jvp", func, primals, tangents, strict, has_aux)


def _jvp(
    name: str,
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            raise RuntimeError(f"{name}: {what}: expected a tuple, got {type(given).__name__}")
    call = Recorded(name, func, primals, None, has_aux)
    moving = _matched(name, "tangent", tangents, call.treedef, call.variables)
    if strict:
        _check_dependence(call)
    moved = pytree.unflatten(call.push(moving), call.output_treedef)
    return (call.value(), moved, call.aux) if has_aux else (call.value(), moved)


def _check_dependence(call: Recorded) -> None:
    for i, y in enumerate(call.outputs):
        if not any(call.depends(y)):
            raise RuntimeError(
                f"{call.name}: output {i} is independent of the inputs (strict=True)"
            )


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the function that maps tangents of the primals to that of the result.

    That function takes as many arguments as func does. func runs once; each call is a
    forward pass over the recorded graph.
    """
    call = Recorded("linearize", func, primals, None, False)

    def jvp_fn(*tangents: Any) -> Any:
        moving = _matched("linearize", "tangent", tangents, call.treedef, call.variables)
        return pytree.unflatten(call.push(moving), call.output_treedef)

    return call.value(), jvp_fn


def hvp(func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """The Hessian of the scalar function `func` at `primals` times `tangents`; both are tuples.

    Forward mode over reverse mode: the cost is a small multiple of that of func, and the Hessian
    itself is never formed (Pearlmutter 1994, "Fast exact multiplication by the Hessian").
    The result has the structure of `primals`.
    """
    if not isinstance(primals, tuple) or not primals:
        raise RuntimeError(f"hvp: primals: expected a tuple of tensors, got {primals!r}")
    every = tuple(range(len(primals)))

    def gradient(*xs: Any) -> Any:
        return _value_and_grad("hvp", func, every, False, xs, {})[1]

    return _jvp("hvp", gradient, primals, tangents)[1]


# ---------------------------------------------------------------------- Jacobians
def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, in reverse mode: a pass for each output.

    The Jacobian has the structure of func's result, and in it that of the argument (a tuple for a
    tuple of argnums); each part has the shape of that output followed by that of the input.
    Rows are computed one after another, so `chunk_size` (rows at a time) changes nothing and is
    accepted for PyTorch's sake: memory is that of one pass, and of the result.

    >>> minitorch.func.jacrev(lambda x: x * x)(minitorch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"jacrev: chunk_size: expected a number above 0, got {chunk_size}")
    return _jacobian("jacrev", func, argnums, has_aux, by_rows=True)


def _jacobian(
    name: str, func: Callable[..., Any], argnums: Argnums, has_aux: bool = False, *, by_rows: bool
) -> Callable[..., Any]:
    @wraps(func)
    def wrapped(*args: Any) -> Any:
        call = Recorded(name, func, args, argnums, has_aux)
        jacobian = call.by_output(map(call.by_input, call.jacobian(by_rows)))
        return (jacobian, call.aux) if has_aux else jacobian

    return wrapped


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, in forward mode: a pass for each input.

    Its structure is that of `jacrev`. func runs once, so that `randomness` has no meaning here.
    """
    return _jacobian("jacfwd", func, argnums, has_aux, by_rows=False)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the Hessian of `func`: forward mode over reverse mode.

    For a scalar function of n numbers: one pass backward, then n forward through both.

    >>> minitorch.func.hessian(lambda x: x.prod())(minitorch.tensor([1.0, 2.0, 3.0]))
    tensor([[0., 3., 2.],
            [3., 0., 1.],
            [2., 1., 0.]])
    """
    gradient = _jacobian("hessian", func, argnums, by_rows=True)
    return _jacobian("hessian", gradient, argnums, by_rows=False)


# ---------------------------------------------------------------------- modules
def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with these tensors for its parameters and buffers of those names.

    parameter_and_buffer_dicts: by dotted name, as of `named_parameters`; or several dicts, no
    name in two of them. Names that are left out keep the module's own, unless `strict`.
    args: one argument, or a tuple of them. tie_weights: a tensor that has several names in the
    module is replaced under all of them. A buffer that forward replaces changes in the dict's
    tensor or not at all.
    Raises RuntimeError for names that the module does not have, ValueError for a name that comes
    twice.
    """
    given = _merged(parameter_and_buffer_dicts)
    slots = _slots(module)
    missing = [name for name in slots if name not in given]
    unexpected = [name for name in given if name not in slots]
    if unexpected or (strict and missing):
        lines = [("Unexpected", unexpected), ("Missing", missing if strict else [])]
        faults = [
            f"{what} key(s): {', '.join(map(repr, names))}." for what, names in lines if names
        ]
        kind = type(module).__name__
        raise RuntimeError(f"functional_call: {kind}: {' '.join(faults)}")
    if tie_weights:
        given = _tied(slots, given)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced([(*slots[name], value) for name, value in given.items()]):
        return module(*arguments, **(kwargs or {}))


def _merged(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, Mapping):
        dicts = [dicts]
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(d, Mapping) for d in dicts):
        raise ValueError(
            "functional_call: parameter_and_buffer_dicts: expected a dict or a sequence of dicts, "
            f"got {type(dicts).__name__}"
        )
    merged: dict[str, Tensor] = {}
    for given in dicts:
        for name, value in given.items():
            if name in merged:
                raise ValueError(f"functional_call: {name!r} is in several of the dicts")
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"functional_call: {name!r}: expected a tensor, got {type(value).__name__}"
                )
            merged[name] = value
    return merged


def _slots(module: Module) -> dict[str, tuple[Module, str]]:
    """The slot (module, attribute) of each parameter and buffer, by dotted name."""
    slots = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for name, value in [*part._parameters.items(), *part._buffers.items()]:
            if value is not None:
                slots[f"{path}.{name}" if path else name] = (part, name)
    return slots


def _tied(
    slots: Mapping[str, tuple[Module, str]], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The given tensors, each under all names of the tensor that it replaces."""
    own = {name: getattr(*slot) for name, slot in slots.items()}
    by_tensor = {id(own[name]): value for name, value in given.items()}
    for name, value in given.items():
        if by_tensor[id(own[name])] is not value:
            others = [n for n in given if own[n] is own[name]]
            raise ValueError(
                f"functional_call: {', '.join(map(repr, others))} are one tensor of the module, "
                "but have different values; use tie_weights=False if this is intended"
            )
    return {name: by_tensor[id(value)] for name, value in own.items() if id(value) in by_tensor}


@contextmanager
def _replaced(values: Sequence[tuple[Module, str, Tensor]]) -> Iterator[None]:
    """Attributes of modules replaced in the block, without registering parameters."""
    before = [(part, name, part.__dict__[name]) for part, name, _ in values]
    try:
        for part, name, value in values:
            part.__dict__[name] = value
            part._edited()
        yield
    finally:
        for part, name, value in before:
            part.__dict__[name] = value
            part._edited()


guard(globals())

"""Families of ops: from one line about an op's Jacobian follow both of its derivative rules.

| family      | declared                         | reverse (vjp)       | forward (jvp)      |
| ----------- | -------------------------------- | ------------------- | ------------------ |
| elementwise | one partial per argument         | sum_to(g * partial) | sum of t * partial |
| linear      | the adjoint                      | the adjoint         | the op itself      |
| bilinear    | two adjoints                     | the adjoints        | f(t, b) + f(a, t)  |
| general     | both rules                       | given               | given              |
| fused       | two kernels and a reference      | the kernel          | of the reference   |
| constant    | nothing: its derivative is zero or it has none            ||                    |

Sources (ops that make tensors of numbers) and in-place writes: `minitorch.underived`.
Rules are written with Tensor methods and operators only, so that derivatives of any order and mix
come by themselves. The functions made here are closures specialised by family and arity, because
a tracked + on tiny arrays must cost less than 1 us more than NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from minitorch import backend
from minitorch.boundary import writer
from minitorch.core.dispatch import Function, Op, require_new
from minitorch.core.dtypes import FLOAT32, FLOAT64, Array
from minitorch.core.grad_mode import grad_mode
from minitorch.core.tape import Unit, register_view
from minitorch.core.tensor import Node, Saved, Tensor, restore, save, saved_of, tensor_of
from minitorch.operands import as_floating, kind, promote

TensorFunction = Callable[..., Tensor]
Partial = Callable[..., Any] | str
ONE, MINUS_ONE = "1", "-1"  # partials that need no multiplication


def named(f: Any, op: Op) -> TensorFunction:
    """The function of an op, marked with it."""
    f.__name__ = op.name
    f.op = op
    function: TensorFunction = f
    return function


# ---------------------------------------------------------------------- shapes
def _shapes_differ(op: Op, arrays: Sequence[Array], error: Exception) -> Exception:
    """The error for shapes that do not broadcast; the backend's own where that is not the cause."""
    shapes = [tuple(a.shape) for a in arrays if hasattr(a, "shape")]
    for i in range(1, 1 + max(map(len, shapes), default=0)):
        lengths = {s[-i] for s in shapes if len(s) >= i} - {1}
        if len(lengths) > 1:
            given = " and ".join(map(str, shapes))
            return RuntimeError(
                f"{op.name}: shapes {given} do not broadcast: dimension {-i} is "
                f"{' against '.join(map(str, sorted(lengths)))}"
            )
    return error


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The adjoint of broadcasting: sum g over the dimensions that were broadcast from `shape`."""
    if g.array.shape == shape:
        return g
    lead = g.array.ndim - len(shape)
    dims = [*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1)]
    return g.sum(dims, keepdim=True).reshape(shape) if lead else g.sum(dims, keepdim=True)


def _times(g: Tensor, partial: Partial, values: dict[str, Any], names: tuple[str, ...]) -> Tensor:
    if isinstance(partial, str):
        return g if partial == ONE else -g
    if names[:1] == ("g",):
        product: Tensor = partial(g, *[values[name] for name in names[1:]])
        return product
    factor: Tensor = partial(*[values[name] for name in names])
    return g * factor


def _reads(partial: Partial) -> tuple[str, ...]:
    """A partial's parameter names say what it reads: x, y (the arguments), z (the result).

    One whose first is g gives the product with g instead.
    """
    if isinstance(partial, str):
        return ()
    return partial.__code__.co_varnames[: partial.__code__.co_argcount]


# ---------------------------------------------------------------------- elementwise
def elementwise(name: str, *partials: Partial, floating: bool = False) -> TensorFunction:
    """An op with a diagonal Jacobian: one partial derivative per argument serves both modes.

    A partial is a function whose parameter names say what it reads: x, y (arguments), z (result);
    only that is saved. If its first is g, it gives the product of g and the partial: for those
    that have an op for that. `floating`: integers become the default float first.
    """
    reads = [_reads(p) for p in partials]

    def values_of(node: Node) -> dict[str, Any]:
        saved = saved_of(node)
        values = {n: restore(node.op, s) for n, s in zip("xy", saved[1], strict=False) if s}
        if saved[0] is not None:
            array, _, version, count = saved[0]
            values["z"] = restore(node.op, (array, node, version, count))
        return values

    def vjp(node: Node, g: Tensor) -> list[Tensor | None]:
        values = values_of(node) if node.saved != () else {}
        return [
            None if parent is None else sum_to(_times(g, partial, values, names), parent.shape)
            for partial, names, parent in zip(partials, reads, node.parents, strict=True)
        ]

    def jvp(node: Node, tangents: Sequence[Tensor | None]) -> Tensor:
        values = values_of(node) if node.saved != () else {}
        total = None
        for partial, names, t in zip(partials, reads, tangents, strict=True):
            if t is not None:
                term = _times(t, partial, values, names)
                total = term if total is None else total + term
        assert total is not None
        return total if total.array.shape == node.shape else total.expand(node.shape)

    op = Op(name, "elementwise", vjp, jvp, layout=lambda node: node.saved[::-1])
    return (_unary if len(partials) == 1 else _binary)(op, reads, floating)


def _unary(op: Op, reads: list[tuple[str, ...]], floating: bool) -> TensorFunction:
    kernels = op.kernels
    save_x, save_z = "x" in reads[0], "z" in reads[0]

    def f(input: Tensor, *, out: Any = None) -> Tensor:
        if out is not None:
            return writer.into(op.name, out, f, input)  # type: ignore[no-any-return]
        if not isinstance(input, Tensor):
            raise TypeError(f"{op.name}: expected a tensor, got {kind(input)}")
        a = input.array
        if floating and a.dtype is not FLOAT32 and a.dtype is not FLOAT64:
            input = as_floating(input, op.name)
            a = input.array
        t = type(a)
        r = kernels[t](a)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        node = input.node
        if node is None or not grad_mode.enabled:
            return tensor_of(r)
        if not (save_x or save_z):
            return tensor_of(r, Node(op, (node,), (), None, r.shape))
        version = [0]
        saved = ((r, None, version, 0) if save_z else None, (save(input) if save_x else None,))
        return tensor_of(r, Node(op, (node,), saved, None, r.shape), version)

    return named(f, op)


def _binary(op: Op, reads: list[tuple[str, ...]], floating: bool) -> TensorFunction:
    kernels = op.kernels
    # What to save, by which of the two arguments is tracked.
    save_x, save_y, save_z = (
        [bool(n & 1 and letter in reads[0]) or bool(n & 2 and letter in reads[1]) for n in range(4)]
        for letter in "xyz"
    )
    saves = [save_x[n] or save_y[n] or save_z[n] for n in range(4)]

    def f(input: Any, other: Any, *, out: Any = None) -> Tensor:
        if out is not None:
            return writer.into(op.name, out, f, input, other)  # type: ignore[no-any-return]
        number = None
        if isinstance(input, Tensor) and isinstance(other, Tensor):
            a = input.array
            b = other.array
            t = type(a)
            dtype = a.dtype
            if (
                dtype is not b.dtype
                or t is not type(b)
                or (dtype is not FLOAT32 and dtype is not FLOAT64)
            ):
                input, other, t = promote(op.name, input, other, floating)
                a = input.array
                b = other.array
        else:
            number = other if isinstance(input, Tensor) else input  # see `symbolic`
            input, other, t = promote(op.name, input, other, floating)
            a = input.array
            b = other.array
        try:
            r = kernels[t](a, b)
        except ValueError as error:
            raise _shapes_differ(op, (a, b), error) from None
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        p = input.node
        q = other.node
        if p is None:
            if q is None:
                return tensor_of(r)
            tracked = 2
        else:
            tracked = 1 if q is None else 3
        if not grad_mode.enabled:
            return tensor_of(r)
        if not saves[tracked]:
            return tensor_of(r, Node(op, (p, q), (), number, r.shape))
        version = [0]
        saved = (
            (r, None, version, 0) if save_z[tracked] else None,
            (
                (a, p, v := input.version, 0 if v is None else v[0]) if save_x[tracked] else None,
                (b, q, v := other.version, 0 if v is None else v[0]) if save_y[tracked] else None,
            ),
        )
        return tensor_of(r, Node(op, (p, q), saved, None, r.shape), version)

    return named(f, op)


# ---------------------------------------------------------------------- linear
def linear(name: str, adjoint: Function, view: bool = False) -> TensorFunction:
    """A linear op f(x, **params): its own jvp; its vjp is `adjoint(g, shape_of_x, **params)`.

    view: the result shares x's memory.
    """

    def vjp(node: Node, g: Tensor) -> list[Any]:
        parent = node.parents[0]
        assert parent is not None
        return [adjoint(g, parent.shape, **node.params)]

    def jvp(node: Node, tangents: Sequence[Tensor | None]) -> Tensor:
        return f(tangents[0], **node.params)

    op = Op(name, "linear", vjp, jvp, view=view)
    kernels = op.kernels

    def f(x: Any, **params: Any) -> Tensor:
        a = x.array
        t = type(a)
        r = kernels[t](a, **params)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        node = x.node
        tracked = node is not None and grad_mode.enabled
        node = Node(op, (node,), (), params, r.shape) if tracked else None
        if not view:
            return tensor_of(r, node)
        result = tensor_of(r, node, x.version)
        if grad_mode.enabled:
            register_view(x, result, f, params)
        return result

    return named(f, op)


# ---------------------------------------------------------------------- bilinear
def bilinear(name: str, adjoint_x: Function, adjoint_y: Function) -> TensorFunction:
    """A bilinear op f(x, y): adjoint_x(g, x, y) and adjoint_y(g, x, y) are its two transposes.

    x's gradient needs only y, and the reverse: the one that is not needed arrives as None.
    """

    def vjp(node: Node, g: Tensor) -> list[Any]:
        x, y = _restore_pair(node)
        p, q = node.parents
        return [
            None if p is None else sum_to(adjoint_x(g, p.shape, y), p.shape),
            None if q is None else sum_to(adjoint_y(g, x, q.shape), q.shape),
        ]

    def jvp(node: Node, tangents: Sequence[Tensor | None]) -> Tensor:
        x, y = _restore_pair(node)
        s, t = tangents
        terms = [] if s is None else [f(s, y)]
        if t is not None:
            terms.append(f(x, t))
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    op = Op(name, "bilinear", vjp, jvp, layout=lambda node: (node.saved, None))
    kernels = op.kernels

    def f(x: Tensor, y: Tensor) -> Tensor:
        a, b = x.array, y.array
        t = type(a)
        r = kernels[t](a, b)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        p, q = x.node, y.node
        if (p is None and q is None) or not grad_mode.enabled:
            return tensor_of(r)
        saved = (save(x) if q is not None else None, save(y) if p is not None else None)
        return tensor_of(r, Node(op, (p, q), saved, None, r.shape))

    return named(f, op)


def _restore_pair(node: Node) -> list[Any]:
    return [None if s is None else restore(node.op, s) for s in saved_of(node)]


# ---------------------------------------------------------------------- general, fused
def general(
    name: str, vjp: Function, jvp: Function, save_inputs: bool = False, save_output: bool = False
) -> TensorFunction:
    """An op f(*tensors, **params) with both rules by hand.

    vjp(g, inputs, output, shapes, **params) gives a gradient per input; jvp(tangents, inputs,
    output, shape, **params) a tangent. inputs and output are None unless saved.
    """

    def unpack(node: Node) -> tuple[Any, Any]:
        if node.saved == ():
            return None, None
        inputs, output = saved_of(node)
        inputs = inputs and [restore(node.op, s) for s in inputs]
        if output is not None:
            array, _, version, count = output
            output = restore(node.op, (array, node, version, count))
        return inputs, output

    def vjp_of(node: Node, g: Tensor) -> Any:
        shapes = [None if p is None else p.shape for p in node.parents]
        return vjp(g, *unpack(node), shapes, **node.params)

    def jvp_of(node: Node, tangents: Sequence[Tensor | None]) -> Any:
        return jvp(tangents, *unpack(node), node.shape, **node.params)

    op = Op(
        name,
        "general",
        vjp_of,
        jvp_of,
        layout=lambda node: (node.saved[0] or (), node.saved[1]),
    )
    kernels = op.kernels

    def f(*xs: Tensor, **params: Any) -> Tensor:
        arrays = [x.array for x in xs]
        t = next(type(x.array) for x in xs if x.version is not None)
        try:
            r = kernels[t](*arrays, **params)
        except ValueError as error:
            raise _shapes_differ(op, [*arrays, *params.values()], error) from None
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        parents = tuple([x.node for x in xs])
        if not grad_mode.enabled or not any(p is not None for p in parents):
            return tensor_of(r)
        version = [0]
        saved = (
            (
                [save(x) for x in xs] if save_inputs else None,
                (r, None, version, 0) if save_output else None,
            )
            if save_inputs or save_output
            else ()
        )
        return tensor_of(r, Node(op, parents, saved, params, r.shape), version)

    return named(f, op)


def fused(
    name: str, reference: Function, arity: int | None, parts: Function | None = None
) -> TensorFunction:
    """An op with kernels for both directions, specified by a reference in ordinary ops.

    arity: the number of its tensors, None where it varies. With one, tensors among the params may
    be passed again behind it, to be version-checked.
    The kernel `name` gives (result, *saved arrays), where the result is an array, and may be among
    the saved ones. The kernel `name_backward` takes the gradient, the saved arrays and the params,
    and gives a gradient (or None) for each argument. For the implicit gradient of a scalar's
    `backward()` it gets the number 1.0, and may return a saved array, which no one needs again.
    Forward mode and higher order differentiate `reference(*tensors, **params)` instead.
    parts: parts(node) is the last node of the calls that the op replaces, or the node itself, see
    `Node.written`.
    """

    def vjp(node: Node, g: Tensor) -> list[Any]:
        versions, counts, arrays, needs, _ = node.saved or saved_of(node)
        if list(map(_count, versions)) != counts:
            op.inputs(node)  # the error names the changed tensor
        a = g.array
        t = type(a)
        given = 1.0 if type(g.version) is Unit and a.ndim == 0 else a
        grads = backward_kernels[t](given, *arrays, needs=needs, **node.params)
        return [
            None if r is None else tensor_of(r if type(r) is t else backend.of_type(t).as_array(r))
            for r in grads
        ]

    require_new(name)
    backward_kernels = Op(name + "_backward", "constant").kernels
    op = Op(name, "fused", vjp, None, reference=reference, layout=_fused_layout)
    op.parts = parts
    kernels = op.kernels

    def unary(x: Tensor, *checked: Tensor, **params: Any) -> Tensor:
        a = x.array
        t = type(a)
        r, *to_save = kernels[t](a, **params)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        p = x.node
        if p is None or not grad_mode.enabled:
            return tensor_of(r)
        arrays = (a, *[other.array for other in checked])
        versions = (x.version, *[other.version for other in checked])
        return _recorded(op, r, (p,), arrays, versions, to_save, _ONE_NEEDED, params)

    def ternary(x: Tensor, y: Tensor, z: Tensor, **params: Any) -> Tensor:
        a, b, c = x.array, y.array, z.array
        t = type(a)
        r, *to_save = kernels[t](a, b, c, **params)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        p, q, o = x.node, y.node, z.node
        if (p is q is o is None) or not grad_mode.enabled:
            return tensor_of(r)
        versions = x.version, y.version, z.version
        needs = p is not None, q is not None, o is not None
        return _recorded(op, r, (p, q, o), (a, b, c), versions, to_save, needs, params)

    def several(*xs: Tensor, **params: Any) -> Tensor:
        arrays = tuple([x.array for x in xs])
        t = type(arrays[0])
        r, *to_save = kernels[t](*arrays, **params)
        if type(r) is not t:
            r = backend.of_type(t).as_array(r)
        parents = tuple([x.node for x in xs])
        needs = tuple([p is not None for p in parents])
        if not grad_mode.enabled or not any(needs):
            return tensor_of(r)
        versions = tuple([x.version for x in xs])
        return _recorded(op, r, parents, arrays, versions, to_save, needs, params)

    by_arity: dict[int | None, TensorFunction] = {1: unary, 3: ternary}
    return named(by_arity.get(arity, several), op)


_ONE_NEEDED = (True,)
_count = itemgetter(0)  # of a version


def _recorded(
    op: Op,
    r: Array,
    parents: tuple[Node | None, ...],
    arrays: tuple[Array, ...],
    versions: tuple[list[Any], ...],
    to_save: list[Array],
    needs: tuple[bool, ...],
    params: dict[str, Any],
) -> Tensor:
    """The result of a fused op, on the tape."""
    version = [0]
    for array in to_save:
        if array is r:  # backward reads the result, too
            arrays, versions = (*arrays, r), (*versions, version)
    saved = versions, list(map(_count, versions)), to_save, needs, arrays
    return tensor_of(r, Node(op, parents, saved, params, r.shape), version)


def _fused_layout(node: Node) -> tuple[list[Saved], Saved | None]:
    """The saved values of arguments and version-checked tensors, and of the result."""
    versions, counts, saved, _, arrays = node.saved
    nodes = (*node.parents, *[None] * (len(arrays) - len(node.parents)))
    values = list(zip(arrays, nodes, versions, counts))
    last = arrays[-1] if len(arrays) > len(node.parents) else None
    has_result = last is not None and any(array is last for array in saved)
    return (values[:-1], values[-1]) if has_result else (values, None)


# ---------------------------------------------------------------------- no derivative
def constant(name: str) -> TensorFunction:
    """An op f(*tensors, **params) whose result never requires grad."""
    op = Op(name, "constant")
    kernels = op.kernels

    def f(*xs: Tensor, **params: Any) -> Tensor:
        t = next(type(x.array) for x in xs if x.version is not None)
        arrays = [x.array for x in xs]
        try:
            r = kernels[t](*arrays, **params)
        except ValueError as error:
            raise _shapes_differ(op, arrays, error) from None
        return tensor_of(r if type(r) is t else backend.of_type(t).as_array(r))

    return named(f, op)

"""One tape, two passes: backward for vector-Jacobian products, forward for Jacobian-vector ones.

Both passes emit ordinary Tensor ops, so they nest to any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getrefcount
from typing import Any

from minitorch import backend, recording
from minitorch.autocasting import off, state
from minitorch.core.dispatch import wrapped_rule
from minitorch.core.grad_mode import grad_mode, set_grad_enabled
from minitorch.core.sparse import RowGrad
from minitorch.core.tape import Unit
from minitorch.core.tensor import Node, Tensor, restore, tensor_of

__all__ = ["Gradient", "alias", "backward", "grad", "push_forward", "topological"]

Gradient = Tensor | RowGrad


# ---------------------------------------------------------------------- order
def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots depend on, each after its parents."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[Any] = list(roots)
    while stack:
        node = stack.pop()
        if node is None:  # a mark: all parents of the node below it are in `order`
            order.append(stack.pop())
        elif id(node) not in seen:
            seen.add(id(node))
            stack += (node, None)
            stack += [p for p in node.parents if p is not None and id(p) not in seen]
    return order


def _leading_to(order: list[Node], targets: set[Node]) -> set[Node]:
    """The nodes of `order` that depend on a target, targets included."""
    found = set(targets)
    for node in order:
        if any(p in found for p in node.parents):
            found.add(node)
    return found


def _in_degrees(roots: Iterable[Node], useful: set[Node] | None) -> dict[Any, int]:
    """The in-degree of each node that the roots depend on: how many partial gradients it receives.

    useful: the nodes that count; None: all do.
    """
    degrees = {node: 0 for node in roots if useful is None or node in useful}
    stack = list(degrees)
    while stack:
        for p in stack.pop().parents:
            if p in degrees:
                degrees[p] += 1
            elif p is not None and (useful is None or p in useful):
                degrees[p] = 1
                if p.parents:
                    stack.append(p)
    return degrees


# ---------------------------------------------------------------------- the seed of a scalar
units: dict[tuple[type, int | None, Any], Tensor] = {}


def unit(y: Tensor) -> Tensor:
    """The cached 0-d tensor 1 of y's device and dtype, which nobody may change."""
    a = y.array
    serving = backend.of(a)
    key = (type(a), serving.index(a), a.dtype)
    found = units.get(key)
    if found is None or found.version[0]:
        one = serving.kernels["full"]((), a.dtype, index=serving.index(a) or 0, value=1)
        found = units[key] = tensor_of(serving.as_array(one), None, Unit([0]))
    return found


def owned(g: Any) -> Any:
    """A gradient that may be handed to users: a copy in place of the cached 1."""
    return g.clone() if type(getattr(g, "version", None)) is Unit else g


# ---------------------------------------------------------------------- backward pass
def backward_pass(
    seeds: Sequence[tuple[Node, Tensor]],
    targets: Sequence[Node] | None,
    retain_graph: bool,
) -> dict[int, Gradient]:
    """Reverse mode: the gradients of `targets`, by id of node; without targets, leaves and
    retaining nodes accumulate their gradients in `.grad`.

    The pass visits every node once, when its partial gradients are all added up. The node's hooks
    run, and its rule turns the sum into a partial gradient for each parent. A parent with no
    gradient pending is ready, and comes next; the partial sums of the others wait.
    """
    roots = [node for node, _ in seeds]
    wanted = None if targets is None else set(targets)
    useful = None if wanted is None else _leading_to(topological(roots), wanted)
    pending = _in_degrees(roots, useful)  # how many gradients each node still waits for
    partial: dict[Node, Any] = {}  # sums of the gradients that have arrived at waiting nodes
    found: dict[int, Gradient] = {}
    node: Any
    g: Any = None
    for node, g in seeds:
        partial[node] = _sum(partial.get(node), g)
    ready = [(node, partial.pop(node)) for node in pending if not pending[node]]
    del seeds, g
    recorded = grad_mode.enabled
    gradients: Sequence[Any]
    gradient: Any
    while ready:
        # Only g may refer to the gradient: a leaf takes over one that has no other reference.
        node, g = ready.pop()
        if g is None:
            gradients = (None,) * len(node.parents)
        else:
            if node.hooks:
                g = _run_hooks(node, g)
            if wanted is not None:
                if node in wanted:
                    found[id(node)] = owned(g)
            elif node.op is None:
                references = getrefcount(g)
                _accumulate(node, g, references)
            elif node.retain:
                _accumulate(node, g)  # a copy: g itself goes on to the parents
            if node.op is None:
                continue
            gradients = _vjp(node, g, recorded)
            g = None
        for parent, gradient in zip(node.parents, gradients, strict=True):
            left = pending.get(parent)
            if left is None:  # the parent is not tracked, or leads to no target
                continue
            if left > 1 or partial:
                pending[parent] = left - 1
                gradient = _sum(partial.pop(parent, None), gradient)
                if left > 1:
                    partial[parent] = gradient
                    continue
            ready.append((parent, gradient))
        gradients, gradient = (), None
        if not retain_graph and node.saved:
            node.saved = None
    return found


def _vjp(node: Node, g: Any, recorded: bool) -> Sequence[Any]:
    """The gradients of a node's parents; a recorded pass differentiates a fused op's reference."""
    for saved in node.version_checked:
        restore(node.op, saved)
    if recorded and node.op.reference is not None:
        return wrapped_rule("reference", _through_reference)(node, g)  # type: ignore[no-any-return]
    gradients: Sequence[Any] = node.op.vjp(node, g)
    return gradients


def _through_reference(node: Node, g: Tensor) -> list[Gradient | None]:
    """vjp of a fused op in ordinary ops: differentiate its reference."""
    inputs = [alias(x) for x in node.op.inputs(node)]
    output = node.op.reference(*inputs, **node.params)
    targets = [x.node for x in inputs if x.node is not None]
    if output.node is None:
        return [None] * len(inputs)
    found = backward_pass([(output.node, g)], targets, retain_graph=True)
    return [None if x.node is None else found.get(id(x.node)) for x in inputs]


def alias(x: Tensor) -> Tensor:
    """x as a new node of the tape, still connected to x's history."""
    return x.clone() if x.node is not None else x


def _sum(a: Any, b: Any) -> Any:
    """a + b of tensors or RowGrads; None counts as zero."""
    if a is None or b is None:
        return b if a is None else a
    return b + a if isinstance(b, RowGrad) else a + b


def _run_hooks(node: Node, g: Any) -> Any:
    g = owned(g)  # a hook may change the gradient
    for hook in list((node.hooks or {}).values()):
        replaced = hook(g)
        if replaced is None:
            continue
        if not isinstance(replaced, (Tensor, RowGrad)):
            raise TypeError(f"hook: expected a tensor or None, got {type(replaced).__name__}")
        if tuple(replaced.shape) != tuple(g.shape):
            raise RuntimeError(
                f"hook: returned a gradient of shape {tuple(replaced.shape)}, "
                f"expected {tuple(g.shape)}"
            )
        g = replaced
    return g


def _calibrate(g: Any) -> tuple[int, int]:
    g = g()
    return getrefcount(g), getrefcount(g.version)


# The reference counts of a gradient that only one name refers to, and of its version list, which
# the gradient would share with its views.
SOLE, SOLE_VERSION = _calibrate(lambda: tensor_of(None))


def _accumulate(node: Node, g: Any, references: int | None = None) -> None:
    """Add g to node.grad: into its array, if there is one and the pass is not recorded.

    A first gradient gets memory of its own (the same g may go to several nodes).

    references: the reference count of g, if the caller gives g away.
    """
    if recording.recorder and node.op is None:
        recording.gradient(node, reads=True)
    recorded = grad_mode.enabled
    old = node.grad
    if old is not None:
        if recorded or not _added_to(old, g):
            total = _sum(old, g)
            node.grad = total if recorded else total.detach()
        return
    sparse = type(g) is RowGrad
    sole = references == SOLE and getrefcount((g.values if sparse else g).version) == SOLE_VERSION
    if sparse:
        node.grad = g if sole and g.values.is_contiguous() else g.clone()
    elif recorded:
        node.grad = g if sole else g.clone()
    elif sole and g.node is None and g.array.flags.c_contiguous:
        node.grad = g
    else:
        node.grad = tensor_of(g.clone().array)


def _added_to(old: Gradient, g: Gradient) -> bool:
    """Add g to a gradient in place; False where that is impossible: dense rows, another dtype."""
    if isinstance(old, RowGrad):
        if not isinstance(g, RowGrad):
            return False
        total: Any = old + g
        old.indices, old.values = total.indices, total.values.detach()
    elif old.dtype is not g.dtype or old.shape != g.shape:
        return False
    elif isinstance(g, RowGrad):
        old.index_add_(0, g.indices, g.values)
    else:
        old.add_(g)
    return True


# ---------------------------------------------------------------------- forward pass
def forward_pass(outputs: Sequence[Node], tangents: dict[int, Tensor]) -> dict[int, Tensor]:
    """Push tangents (by id of node) forward to the outputs."""
    known = dict(tangents)
    for node in topological(outputs):
        if id(node) in known or node.op is None:
            continue
        moving = [None if p is None else known.get(id(p)) for p in node.parents]
        if any(t is not None for t in moving):
            known[id(node)] = _jvp(node, moving)
    return known


def _jvp(node: Node, tangents: Sequence[Tensor | None]) -> Tensor:
    for saved in node.version_checked:
        restore(node.op, saved)
    if node.op.reference is not None:
        with set_grad_enabled(True):
            inputs = [alias(x) for x in node.op.inputs(node)]
            output = node.op.reference(*inputs, **node.params)
        given = {
            id(x.node): t
            for x, t in zip(inputs, tangents, strict=True)
            if x.node is not None and t is not None
        }
        return forward_pass([output.node], given)[id(output.node)]
    if node.op.jvp is None:
        raise NotImplementedError(f"{node.op.name}: no forward-mode rule")
    tangent: Tensor = node.op.jvp(node, tangents)
    return tangent


def push_forward(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    tangents: Sequence[Tensor],
    create_graph: bool = True,
) -> list[Tensor]:
    """Tangents of `outputs` when `inputs` (on the same tape) move along `tangents`.

    The forward pass runs over the recorded tape. An output that does not depend on the inputs
    gets zeros.
    """
    given = {id(x.node): t for x, t in zip(inputs, tangents, strict=True) if x.node is not None}
    roots = [y.node for y in outputs if y.node is not None]
    with set_grad_enabled(create_graph), off():
        known = forward_pass(roots, given)
    return [
        known[id(y.node)] if y.node is not None and id(y.node) in known else y.new_zeros(y.shape)
        for y in outputs
    ]


# ---------------------------------------------------------------------- the user's calls
def _seed(name: str, y: Tensor, g: Tensor | None, once: bool) -> tuple[Node, Tensor]:
    if not isinstance(y, Tensor):
        raise TypeError(f"{name}: expected a tensor to differentiate, got {type(y).__name__}")
    if y.node is None:
        raise RuntimeError(
            f"{name}: the tensor does not require grad and does not have a grad_fn; "
            "set requires_grad=True on what it is computed from"
        )
    if g is None:
        if y.array.size != 1:
            raise RuntimeError(
                f"{name}: grad can be implicitly created only for scalar outputs, "
                f"got shape {tuple(y.shape)}: pass a gradient of that shape"
            )
        # A later pass may read a retained graph: its ops must not give their saved arrays away.
        return y.node, unit(y) if once and not y.array.ndim else y.new_ones(y.shape)
    if not isinstance(g, Tensor):
        raise TypeError(f"{name}: gradient: expected a tensor, got {type(g).__name__}")
    if tuple(g.shape) != tuple(y.shape):
        raise RuntimeError(
            f"{name}: gradient has shape {tuple(g.shape)}, expected {tuple(y.shape)}"
        )
    if g.device != y.device:
        raise RuntimeError(
            f"{name}: gradient is on {g.device}, expected {y.device}; use .to('{y.device}')"
        )
    return y.node, g if g.dtype == y.dtype else g.to(y.dtype)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Tensor) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _tracked(name: str, inputs: Any) -> list[Any]:
    """The inputs as a list; TypeError or RuntimeError for one that has no node."""
    chosen = _as_list(inputs)
    for i, x in enumerate(chosen):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: inputs[{i}]: expected a tensor, got {type(x).__name__}")
        if x.node is None:
            raise RuntimeError(f"{name}: inputs[{i}] does not require grad")
    return chosen


def _seeds(name: str, outputs: Any, gradients: Any, once: bool) -> list[tuple[Node, Tensor]]:
    """The roots of a pass and their gradients. once: the pass frees the graph, unrecorded."""
    if gradients is None and isinstance(outputs, Tensor):
        return [_seed(name, outputs, None, once)]
    ys = [outputs] if outputs is None else _as_list(outputs)
    gs = _as_list(gradients) or [None] * len(ys)
    if len(ys) != len(gs):
        raise RuntimeError(f"{name}: got {len(ys)} tensors and {len(gs)} gradients")
    return [_seed(name, y, g, once) for y, g in zip(ys, gs, strict=True)]


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they depend on.

    grad_tensors: a gradient per tensor, of its shape; may be left out for scalars.
    retain_graph: keep the saved tensors, to call backward again (default: as create_graph).
    create_graph: record this pass too, for higher derivatives. inputs: only these accumulate.
    """
    retain = create_graph if retain_graph is None else retain_graph
    seeds = _seeds("backward", tensors, grad_tensors, not (retain or create_graph))
    if inputs is None:
        enabled, grad_mode.enabled = grad_mode.enabled, create_graph
        casts, state.dtypes = state.dtypes, {}
        try:
            backward_pass(seeds, None, retain)
        finally:
            grad_mode.enabled, state.dtypes = enabled, casts
        return
    chosen = _tracked("backward", inputs)
    if not chosen:
        raise RuntimeError("backward: inputs is empty; leave it out to reach every leaf")
    with set_grad_enabled(create_graph), off():
        found = backward_pass(seeds, [x.node for x in chosen], retain)
        for x in chosen:
            if id(x.node) in found:
                _accumulate(x.node, found[id(x.node)])


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of (the sum of) `outputs` with respect to `inputs`, as a tuple.

    allow_unused: an input that the outputs do not depend on gets None instead of an error;
    materialize_grads: it gets zeros. The other arguments are those of `backward`.
    """
    chosen = _tracked("grad", inputs)
    if not chosen:
        raise ValueError("grad: inputs is empty")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True needs allow_unused=True or None")
    retain = create_graph if retain_graph is None else retain_graph
    seeds = _seeds("grad", outputs, grad_outputs, not (retain or create_graph))
    with set_grad_enabled(create_graph), off():
        found = backward_pass(seeds, [x.node for x in chosen], retain)
    del seeds
    result: list[Any] = []
    for i, x in enumerate(chosen):
        g = found.get(id(x.node))
        if g is None and not (allow_unused or materialize_grads):
            raise RuntimeError(
                f"grad: inputs[{i}] appears to not have been used in the graph; "
                "set allow_unused=True if this is intended"
            )
        if g is None and materialize_grads:
            g = x.new_zeros(x.shape)
        result.append(g if create_graph or g is None else g.detach())
    return tuple(result)


def _backward_method(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to the `.grad` of the leaves it depends on.

    gradient: of this tensor's shape; may be left out for a scalar. See `autograd.backward`.
    """
    backward(self, gradient, retain_graph, create_graph, inputs)


Tensor.backward = _backward_method  # type: ignore[method-assign]

"""Tables of a recorded graph, as in a lecture on automatic differentiation.

Each node of the tape is a row: its value, forward tangents, the adjoint, and what each edge brings
into the adjoint. The adjoints are computed apart: no `.grad` changes, no hook runs, and the graph
is there afterwards.
"""

from __future__ import annotations

import gc
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minitorch import autograd, backend
from minitorch.core import engine
from minitorch.core.function import FunctionOp
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor, restore, tensor_of
from minitorch.creation import ones_like

__all__ = ["Contribution", "Row", "Trace", "trace"]

Value = Any  # float for one element, else a NumPy array; None where it is not known
_INFIX = {"add": "+", "sub": "−", "mul": "·", "div": "/", "matmul": "@"}
_TIGHT = {"+": 1, "−": 1, "·": 2, "/": 2, "@": 2}  # how an operator binds
_FEW = 4  # a vector of so many elements is printed in full


@dataclass(frozen=True)
class Contribution:
    """A term of a node's adjoint from one child, a node that was computed from it.

    local: the derivative of the child by the node, where both are single numbers, else None.
    amount: the child's adjoint times the local derivative (a vector-Jacobian product).
    total: the sum of this and the amounts before it.
    """

    child: str
    local: float | None
    amount: Value
    total: Value


@dataclass(frozen=True)
class Row:
    """A node: tangents by the name of the input, adjoint = the sum of the contributions."""

    name: str
    op: str
    expression: str
    shape: tuple[int, ...]
    value: Value
    tangents: Mapping[str, Value]
    adjoint: Value
    parents: tuple[str, ...]
    contributions: tuple[Contribution, ...]


class Trace(Sequence[Row]):
    """The rows of a graph, each after its parents; by name: `trace["z1"].adjoint`.

    `str()` gives two tables with `digits` digits behind the point; the data are not rounded.
    order: names in the order in which their adjoints were complete.
    """

    def __init__(self, rows: Sequence[Row], order: Sequence[str], digits: int = 2) -> None:
        self.rows = list(rows)
        self.order = list(order)
        self.digits = digits
        self._by_name = {row.name: row for row in rows}

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.rows[key]
        if key not in self._by_name:
            raise KeyError(f"{key}: the trace has the rows {', '.join(self._by_name)}")
        return self._by_name[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        return self.table(self.digits)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} nodes: {', '.join(self._by_name)}>"

    def table(self, digits: int = 2) -> str:
        """The values, tangents and adjoints, then what each edge brings into an adjoint."""
        wrt = list(self.rows[0].tangents) if self.rows else []
        lines = [["step", "value", *(f"tangent ∂{name}" for name in wrt), "adjoint"]]
        for row in self:
            numbers = [row.value, *row.tangents.values(), row.adjoint]
            step = row.name if row.op == "leaf" else f"{row.name} = {row.expression}"
            lines.append([step, *(shown(x, digits) for x in numbers)])
        edges = [["adjoint of", "from", "local", "adjoint", "contribution", "sum"]]
        for row in self:
            for c in row.contributions:
                local = "" if c.local is None else shown(c.local, digits)
                there = shown(self[c.child].adjoint, digits)
                amount, total = shown(c.amount, digits, signed=True), shown(c.total, digits)
                edges.append([row.name, c.child, local, there, amount, total])
        text = _columns(lines, 1) + "\n\n" + _columns(edges, 2)
        if any(row.value is None for row in self):
            text += "\n?: the graph does not keep this value; name the tensor to see it"
        if "norm" in text:
            text += "\nnorm: the root of the sum of all squares"
        return text


def trace(
    y: Tensor,
    names: Mapping[str, Tensor] | None = None,
    wrt: Tensor | Sequence[Tensor] | None = None,
    *,
    gradient: Tensor | None = None,
    named_only: bool = False,
    digits: int = 2,
    show: bool = True,
) -> Trace:
    """Print and return the table of the graph of `y`: values, tangents, adjoints, contributions.

    names: what tensors of the graph are called, in the order in which rows are wanted; other
    nodes are called v0, v1, ... With `named_only` they are not shown, and an edge is what they
    do together. wrt: inputs whose tangents are shown, all elements moving by one; by default
    every leaf of one element. gradient: the adjoint of y, if y has more than one element.
    digits: of the printed numbers; those returned are exact.
    The graph must not be freed: call this before `backward()`, or keep it by `retain_graph=True`.
    Raises RuntimeError for a y that does not require grad, one of several elements without a
    gradient, and a freed graph; ValueError for a name of what is not in the graph.
    """
    ((root, seed),) = engine._seeds("trace", y, gradient, False)
    _split(root)
    named = _named_nodes(names or {}, root)
    order = autograd.topological([root, *reversed(named.values())])
    graph = _Graph(order, root, {id(node): name for name, node in named.items()}, named_only)
    with no_grad():
        values = _values(order, {id(y.node): y.array} | _arrays((names or {}).values()))
        tangents = _tangents(graph, wrt, values)
        adjoints, found, done = _adjoints(graph, seed)
    rows = [
        Row(
            graph.names[id(node)],
            _op_name(node),
            "leaf" if node.op is None else graph.expression(node, values),
            node.shape,
            _plain(values.get(id(node))),
            {name: _plain(known.get(id(node), 0.0)) for name, known in tangents.items()},
            _plain(adjoints.get(id(node), 0.0)),
            tuple(graph.names[id(p)] for p in graph.parents(node)),
            tuple(found[id(node)]),
        )
        for node in graph.shown
    ]
    result = Trace(rows, [graph.names[id(node)] for node in done], digits)
    if show:
        print(result)
    return result


# ---------------------------------------------------------------------- the graph
def _split(root: Node) -> None:
    """Replace a node that was written by several calls by the nodes of those calls."""
    for node in autograd.topological([root]):
        last = node.written
        if last is not node:
            node.op, node.parents, node.params = last.op, last.parents, last.params
            node.saved = last.saved


def _named_nodes(names: Mapping[str, Tensor], root: Node) -> dict[str, Node]:
    if not isinstance(names, Mapping):
        raise TypeError(f"names: expected a dict from names to tensors, got {type(names).__name__}")
    inside = {id(node) for node in autograd.topological([root])}
    nodes: dict[str, Node] = {}
    for name, x in names.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"names: {name}: expected a tensor, got {type(x).__name__}")
        if x.node is None or id(x.node) not in inside:
            raise ValueError(f"names: '{name}' is not part of the graph, which is that of y")
        if x.node in nodes.values():
            raise ValueError(f"names: '{name}' is a tensor that has a name already")
        nodes[name] = x.node
    return nodes


def _is_common(node: Node) -> bool:
    """Whether a node stands for a user's Function as such, and not for one of its results."""
    return isinstance(node.op, FunctionOp)


def _op_name(node: Node) -> str:
    if node.parents and node.parents[0] is not None and _is_common(node.parents[0]):
        return node.parents[0].name
    return node.name


class _Graph:
    """The nodes that are shown, their names, and the paths between them through hidden nodes."""

    def __init__(
        self, order: list[Node], root: Node, names: dict[int, str], named_only: bool
    ) -> None:
        self.order = order
        self.root = root
        self.position = {id(node): i for i, node in enumerate(order)}
        self.shown = [
            node
            for node in order
            if not _is_common(node) and (not named_only or id(node) in names or node is root)
        ]
        self.names = names
        number = 0
        for node in self.shown:
            if id(node) in names:
                continue
            while f"v{number}" in names.values():
                number += 1
            names[id(node)] = f"v{number}"
            number += 1

    def region(self, node: Node) -> list[Node]:
        """The node and the hidden nodes that lead to it, each before its parents."""
        found = {id(node): node}
        stack = [node]
        while stack:
            for p in stack.pop().parents:
                if p is not None and id(p) not in self.names and id(p) not in found:
                    found[id(p)] = p
                    stack.append(p)
        return sorted(found.values(), key=lambda n: -self.position[id(n)])

    def parents(self, node: Node) -> list[Node]:
        """The nodes shown that a node is computed from, in forward order, each once."""
        found = {
            id(p): p
            for n in self.region(node)
            for p in n.parents
            if p is not None and id(p) in self.names
        }
        return sorted(found.values(), key=lambda n: self.position[id(n)])

    def pull(self, node: Node, g: Any) -> dict[int, Any]:
        """The vector-Jacobian product of a node, for each node shown that it depends on."""
        grads: dict[int, Any] = {id(node): g}
        for n in self.region(node):
            g = grads.pop(id(n), None)
            if g is None or n.op is None:
                continue
            for p, part in zip(n.parents, _vjp(n, g), strict=True):
                if p is not None and part is not None:
                    old = grads.get(id(p))
                    grads[id(p)] = part if old is None else engine._sum(old, part)
        return grads

    def expression(self, node: Node, values: dict[int, Any]) -> str:
        """How a node was computed from those shown: infix or a call."""
        operands = self._operands(node, values)
        sign = _INFIX.get(_op_name(node))
        if sign is None or len(operands) != 2:
            return f"{_op_name(node)}({', '.join(text for text, _ in operands)})"
        tight = _TIGHT[sign]
        (left, a), (right, b) = operands
        loose = b < tight or (b == tight and sign in "−/@")
        return f"{_wrapped(left, a < tight)} {sign} {_wrapped(right, loose)}"

    def _operands(self, node: Node, values: dict[int, Any]) -> list[tuple[str, int]]:
        """The text of each operand and how tight it binds."""
        if node.parents and node.parents[0] is not None and _is_common(node.parents[0]):
            node = node.parents[0]
        saved, _ = node.op.saved(node)
        texts = []
        for i, p in enumerate(node.parents):
            if p is None:
                texts.append((_constant(node, i, saved, values), 9))
            elif id(p) in self.names:
                texts.append((self.names[id(p)], 9))
            else:
                sign = _INFIX.get(_op_name(p), "")
                texts.append((self.expression(p, values), _TIGHT.get(sign, 9)))
        return texts


def _vjp(node: Node, g: Any) -> Sequence[Any]:
    """The gradients of a node's parents, from the gradient of its result."""
    for saved in node.version_checked:
        restore(node.op, saved)
    gradients: Sequence[Any] = node.op.vjp(node, g)
    return gradients


def _wrapped(text: str, yes: bool) -> str:
    return f"({text})" if yes else text


def _constant(node: Node, i: int, saved: Sequence[Any], values: dict[int, Any]) -> str:
    """An untracked operand: a number, a shape, or dots where the graph does not keep it."""
    x = saved[i][0] if i < len(saved) and saved[i] is not None else None
    if x is None and node.name in ("add", "sub") and node.shape == ():
        x = _missing_term(node, i, values)
    if x is None:
        return "…"
    if not hasattr(x, "shape"):
        return f"{float(x):g}"
    return f"{_plain(x):g}" if x.size == 1 else f"[{'×'.join(map(str, x.shape))}]"


def _missing_term(node: Node, i: int, values: dict[int, Any]) -> float | None:
    """The number that was added or subtracted, from the result and the other operand."""
    other = node.parents[1 - i]
    if other is None or id(other) not in values or id(node) not in values:
        return None
    result, operand = _plain(values[id(node)]), _plain(values[id(other)])
    if node.name == "add":
        return float(result - operand)
    return float(operand - result if i else result + operand)


# ---------------------------------------------------------------------- values
def _arrays(tensors: Iterable[Tensor]) -> dict[int, Any]:
    return {id(x.node): x.array for x in tensors}


def _values(order: list[Node], known: dict[int, Any]) -> dict[int, Any]:
    """Arrays by node: what rules have saved, tensors that are alive, what follows from these."""
    values = dict(known)
    for node in order:
        inputs, output = ((), None) if node.op is None else node.op.saved(node)
        if output is not None:
            values.setdefault(id(node), output[0])
        for p, saved in zip(node.parents, inputs):
            if p is not None and saved is not None:
                values.setdefault(id(p), saved[0])
    missing = {id(node): node for node in order if id(node) not in values}
    for x in gc.get_referrers(*missing.values()) if missing else ():
        if isinstance(x, Tensor) and id(x.node) in missing:
            values.setdefault(id(x.node), x.array)
    for node in order:
        if id(node) not in values:
            array = _recomputed(node, values)
            if array is not None:
                values[id(node)] = array
    return values


def _recomputed(node: Node, values: dict[int, Any]) -> Any:
    """The result of an op from the values of its arguments; None where one is not known."""
    family = getattr(node.op, "family", None)
    if family not in ("elementwise", "linear", "bilinear", "general", "fused"):
        return None
    if node.params is not None and not isinstance(node.params, dict):
        return None  # a transfer between devices
    (saved, _), arrays = node.op.saved(node), []
    for i, p in enumerate(node.parents):
        if p is not None:
            arrays.append(values.get(id(p)))
        else:
            arrays.append(saved[i][0] if i < len(saved) and saved[i] is not None else None)
    if any(a is None for a in arrays):
        return None
    kind = next(type(a) for a, p in zip(arrays, node.parents) if p is not None)
    result = node.op.kernels[kind](*arrays, **(node.params or {}))
    if family == "fused":
        result = result[0]
    return result if type(result) is kind else backend.of_type(kind).as_array(result)


def _plain(x: Any) -> Value:
    """A float for one element, else a NumPy array in main memory."""
    if x is None or isinstance(x, float):
        return x
    if isinstance(x, RowGrad):
        x = x.to_dense()
    host = np.array((x if isinstance(x, Tensor) else tensor_of(x))._host("a trace"))
    return float(host.item()) if host.size == 1 else host


# ---------------------------------------------------------------------- both passes
def _tangents(
    graph: _Graph, wrt: Any, values: dict[int, Any]
) -> dict[str, dict[int, Tensor | float]]:
    """Tangents of all nodes, by the name of the input that moves."""
    if wrt is None:
        leaves = [node for node in graph.shown if node.op is None and node.shape == ()]
        chosen = [node for node in leaves if id(node) in values]
    else:
        chosen = _chosen(graph, wrt)
    found: dict[str, dict[int, Tensor | float]] = {}
    for node in chosen:
        one = ones_like(tensor_of(values[id(node)]))
        try:
            moved = engine.forward_pass([graph.root], {id(node): one})
        except NotImplementedError:
            if wrt is not None:
                raise
            return {}  # a user's Function without a forward-mode rule
        found[graph.names[id(node)]] = {**moved}
    return found


def _chosen(graph: _Graph, wrt: Any) -> list[Node]:
    nodes = []
    for i, x in enumerate(wrt if isinstance(wrt, (list, tuple)) else [wrt]):
        if not isinstance(x, Tensor):
            raise TypeError(f"wrt: expected tensors, got {type(x).__name__}")
        if x.node is None or id(x.node) not in graph.names:
            raise ValueError(f"wrt: tensor {i} is not among the nodes that are shown")
        nodes.append(x.node)
    return nodes


def _adjoints(
    graph: _Graph, seed: Tensor
) -> tuple[dict[int, Any], dict[int, list[Contribution]], list[Node]]:
    """Adjoints, contributions and the order in which adjoints were complete.

    Of the nodes whose children are all done, the first in forward order is next.
    """
    adjoints: dict[int, Any] = {id(graph.root): seed}
    found: dict[int, list[Contribution]] = {id(node): [] for node in graph.shown}
    by_position = {graph.position[id(node)]: node for node in graph.shown}
    waiting = dict.fromkeys(found, 0)
    for node in graph.shown:
        for p in graph.parents(node):
            waiting[id(p)] += 1
    ready = [graph.position[id(node)] for node in graph.shown if not waiting[id(node)]]
    heapq.heapify(ready)
    done = []
    while ready:
        node = by_position[heapq.heappop(ready)]
        done.append(node)
        g: Any = adjoints.get(id(node))
        amounts = {} if g is None else graph.pull(node, g)
        for p in graph.parents(node):
            amount = amounts.get(id(p))
            if amount is not None:
                old = adjoints.get(id(p))
                adjoints[id(p)] = amount if old is None else engine._sum(old, amount)
                found[id(p)].append(
                    Contribution(
                        graph.names[id(node)],
                        _local(graph, node, p, g),
                        _plain(amount),
                        _plain(adjoints[id(p)]),
                    )
                )
            waiting[id(p)] -= 1
            if not waiting[id(p)]:
                heapq.heappush(ready, graph.position[id(p)])
    return adjoints, found, done


def _local(graph: _Graph, node: Node, parent: Node, g: Any) -> float | None:
    """The derivative of a node by a parent where both have one element."""
    if _elements(node) != 1 or _elements(parent) != 1:
        return None
    derivative = graph.pull(node, ones_like(g)).get(id(parent))
    return None if derivative is None else float(_plain(derivative))


def _elements(node: Node) -> int:
    return int(np.prod(node.shape, dtype=int))


# ---------------------------------------------------------------------- printing
def shown(x: Value, digits: int, signed: bool = False) -> str:
    """A number; a short vector in full; of anything larger the shape and the norm."""
    if x is None:
        return "?"
    if isinstance(x, float):
        text = f"{x:+.{digits}f}" if signed else f"{x:.{digits}f}"
        return text if float(text) else text.lstrip("-+")  # no negative zero
    if x.ndim == 1 and x.size <= _FEW:
        return "[" + ", ".join(shown(float(v), digits) for v in x) + "]"
    norm = float(np.sqrt((x.astype(np.float64) ** 2).sum()))
    return f"{'×'.join(map(str, x.shape))}, norm {norm:.{digits}f}"


def _columns(lines: list[list[str]], left: int) -> str:
    """Lines of cells as a table: the first `left` columns to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines = [lines[0], ["-" * w for w in widths], *lines[1:]]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )

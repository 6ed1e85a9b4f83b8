"""Symbolic derivatives beside automatic ones: recorded graphs as SymPy expressions.

    x = minitorch.tensor(2.0, requires_grad=True)
    y = x.log() + x * 3
    e = to_sympy(y, {x: "x"})          # 3*x + log(x)
    differentiate(e, "x")              # 3 + 1/x, by the sum, product and chain rules

SymPy is an optional extra: `pip install -e ".[symbolic]"` in the clone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from importlib import import_module
from typing import Any, NamedTuple

from minitorch import autograd, backend, creation
from minitorch.backend.extras import install_hint
from minitorch.boundary import guard
from minitorch.core.dtypes import float64, int64
from minitorch.core.grad_mode import enable_grad
from minitorch.core.tensor import Node, Tensor, tensor_of

__all__ = ["compare", "differentiate", "expression_size", "graph_size", "to_sympy"]

Expr = Any  # SymPy is imported when it is needed
Names = Mapping[Tensor, Any]


def _sympy() -> Any:
    try:
        return import_module("sympy")
    except ImportError:
        raise ImportError(
            f"minitorch.symbolic needs SymPy, an optional extra: {install_hint('symbolic')}"
        ) from None


# ---------------------------------------------------------------------- the tables
# Elementwise ops: what SymPy (s) calls them, or what they are made of.
ELEMENTWISE: dict[str, Callable[..., Expr]] = {
    "add": lambda s, x, y: x + y,
    "sub": lambda s, x, y: x - y,
    "mul": lambda s, x, y: x * y,
    "div": lambda s, x, y: x / y,
    "pow": lambda s, x, y: x**y,
    "maximum": lambda s, x, y: s.Max(x, y),
    "minimum": lambda s, x, y: s.Min(x, y),
    "clamp_min": lambda s, x, y: s.Max(x, y),
    "clamp_max": lambda s, x, y: s.Min(x, y),
    "floor_divide": lambda s, x, y: s.floor(x / y),
    "remainder": lambda s, x, y: x - y * s.floor(x / y),
    "neg": lambda s, x: -x,
    "abs": lambda s, x: s.Abs(x),
    "sign": lambda s, x: s.sign(x),
    "floor": lambda s, x: s.floor(x),
    "ceil": lambda s, x: s.ceiling(x),
    "relu": lambda s, x: s.Max(x, 0),
    "exp": lambda s, x: s.exp(x),
    "log": lambda s, x: s.log(x),
    "log1p": lambda s, x: s.log(x + 1),
    "expm1": lambda s, x: s.exp(x) - 1,
    "sqrt": lambda s, x: s.sqrt(x),
    "rsqrt": lambda s, x: 1 / s.sqrt(x),
    "reciprocal": lambda s, x: 1 / x,
    "sin": lambda s, x: s.sin(x),
    "cos": lambda s, x: s.cos(x),
    "tan": lambda s, x: s.tan(x),
    "tanh": lambda s, x: s.tanh(x),
    "sigmoid": lambda s, x: 1 / (1 + s.exp(-x)),
    "erf": lambda s, x: s.erf(x),
    "softplus": lambda s, x: s.log(1 + s.exp(x)),
    "gelu": lambda s, x: x * _normal_cdf(s, x),
    "bce_with_logits": lambda s, x, y: s.log(1 + s.exp(x)) - x * y,
    # What derivatives are made of, so that a recorded gradient can be read too.
    "relu_backward": lambda s, x, y: x * s.Heaviside(y, 0),
    "tanh_backward": lambda s, x, y: x * (1 - y**2),
    "sigmoid_backward": lambda s, x, y: x * y * (1 - y),
    "gelu_backward": lambda s, x, y: (
        x * (_normal_cdf(s, y) + y * s.exp(-(y**2) / 2) / s.sqrt(2 * s.pi))
    ),
}

# Ops that make one number of a group of them.
REDUCTIONS: dict[str, Callable[..., Expr]] = {
    "var": lambda s, *xs: _variance(s, xs),
    "std": lambda s, *xs: s.sqrt(_variance(s, xs)),
    "prod": lambda s, *xs: s.Mul(*xs),
    "amax": lambda s, *xs: s.Max(*xs),
    "amin": lambda s, *xs: s.Min(*xs),
    "logsumexp": lambda s, *xs: s.log(s.Add(*map(s.exp, xs))),
}

# Ops that change each number of a group.
ALONG: dict[str, Callable[..., list[Expr]]] = {
    "softmax": lambda s, *xs: [s.exp(x) / s.Add(*map(s.exp, xs)) for x in xs],
    "log_softmax": lambda s, *xs: [x - s.log(s.Add(*map(s.exp, xs))) for x in xs],
}

SAME = ("cast", "clone", "transfer")  # ops that give the same numbers

# Derivatives of functions of one argument, for the chain rule.
DERIVATIVES: dict[str, Callable[..., Expr]] = {
    "exp": lambda s, u: s.exp(u),
    "log": lambda s, u: 1 / u,
    "sin": lambda s, u: s.cos(u),
    "cos": lambda s, u: -s.sin(u),
    "tan": lambda s, u: 1 + s.tan(u) ** 2,
    "tanh": lambda s, u: 1 - s.tanh(u) ** 2,
    "erf": lambda s, u: 2 * s.exp(-(u**2)) / s.sqrt(s.pi),
    "Abs": lambda s, u: s.sign(u),
    "sign": lambda s, u: s.Integer(0),
    "floor": lambda s, u: s.Integer(0),
    "ceiling": lambda s, u: s.Integer(0),
}


def _variance(s: Any, xs: Sequence[Expr]) -> Expr:
    mean = s.Add(*xs) / len(xs)
    return s.Add(*[(x - mean) ** 2 for x in xs]) / len(xs)


def _normal_cdf(s: Any, x: Expr) -> Expr:
    return (1 + s.erf(x / s.sqrt(2))) / 2


def _number(s: Any, value: float) -> Expr:
    """A float as the simple fraction that it is the nearest float of, if there is one."""
    if not math.isfinite(value):
        return s.nan if math.isnan(value) else s.oo if value > 0 else -s.oo
    simple = Fraction(value).limit_denominator(1000)
    if float(simple) == value:
        return s.Rational(simple.numerator, simple.denominator)
    return s.Float(value)


# ---------------------------------------------------------------------- from graph to expression
class _Values(NamedTuple):
    """Expressions for the elements of a tensor, in order."""

    shape: tuple[int, ...]
    flat: list[Expr]


def _no_symbol(node: Node) -> Exception:
    return NotImplementedError(
        f"to_sympy: the op '{node.name}' has no symbol; those that have one: "
        f"{', '.join(sorted((*ELEMENTWISE, *REDUCTIONS, *ALONG, *SAME)))}, matmul, cat, "
        "where, and linear ones"
    )


class _Reader:
    """A pass over a graph, parents first, that finds the expressions of each node."""

    def __init__(self, known: Mapping[int, _Values], device: Any) -> None:
        self.s = _sympy()
        self.known = dict(known)
        self.alive: list[Tensor] = []
        self.device = device

    def read(self, root: Node) -> _Values:
        """The expressions of a node."""
        for node in self._order(root):
            if id(node) not in self.known:
                self.known[id(node)] = self._of(node)
        return self.known[id(root)]

    def _order(self, root: Node) -> list[Node]:
        """The nodes in order, parents first, without the ancestors of named nodes."""
        needed, stack = {id(root)}, [root]
        while stack:
            node = stack.pop()
            for p in node.parents if id(node) not in self.known else ():
                if p is not None and id(p) not in needed:
                    needed.add(id(p))
                    stack.append(p)
        return [node for node in autograd.topological([root]) if id(node) in needed]

    def _of(self, node: Node) -> _Values:
        if node.op is None:
            raise ValueError(
                f"to_sympy: a leaf of shape {tuple(node.shape)} has no name; add it to `names`"
            )
        name, family = node.op.name, node.op.family
        if name in SAME:
            return self._parent(node, 0)
        if name in ELEMENTWISE:
            return self._elementwise(node)
        if family == "linear" and hasattr(node.op, "kernels"):
            return self._linear(node)
        if name in REDUCTIONS or name in ALONG:
            return self._along(node)
        if name == "matmul":
            return self._matmul(node)
        if name == "cat":
            return self._cat(node)
        if name == "where":
            return self._where(node)
        if family == "fused":
            return self._reference(node)
        raise _no_symbol(node)

    def _reference(self, node: Node) -> _Values:
        """A fused op in ordinary ops; its untracked inputs become constants."""
        with enable_grad():
            inputs = [
                x.detach().requires_grad_() if x.node is None else autograd.alias(x)
                for x in node.op.inputs(node)
            ]
            output = node.op.reference(*inputs, **node.params)
        self.alive.append(output)  # `known` goes by ids, which new nodes must not reuse
        for x, parent in zip(inputs, node.parents, strict=True):
            if parent is None:
                self.known[id(x.node)] = self._constant(x.array)
        return self.read(output.node)

    def _constant(self, value: Any) -> _Values:
        """A number, or the values of a tensor that is not tracked."""
        if not hasattr(value, "shape"):
            return _Values((), [_number(self.s, float(value))])
        flat = tensor_of(value).reshape(-1).tolist()
        return _Values(tuple(value.shape), [_number(self.s, float(v)) for v in flat])

    def _parent(self, node: Node, i: int) -> _Values:
        """The expressions of an argument."""
        parent = node.parents[i]
        if parent is not None:
            return self.known[id(parent)]
        if node.saved is None:
            raise RuntimeError(
                f"to_sympy: the values that '{node.name}' saved are freed; call backward with "
                "retain_graph=True, or to_sympy before it"
            )
        arguments, _ = node.op.saved(node)
        if arguments and (saved := arguments[i]) is not None:
            return self._constant(saved[0])
        if node.op.family == "elementwise" and node.params is not None:
            return self._constant(node.params)
        raise ValueError(
            f"to_sympy: the graph does not keep argument {i} of '{node.name}', a tensor that does "
            "not require grad; let it require grad and give it a name"
            + ("" if node.name == "where" else ", or use a Python number")
        )

    def _spread(self, values: _Values, shape: Sequence[int]) -> list[Expr]:
        """The elements as broadcast to a shape."""
        positions: Any = creation.arange(len(values.flat), dtype=int64, device=self.device)
        moved = positions.reshape(values.shape).expand(tuple(shape)).reshape(-1)
        return [values.flat[i] for i in moved.tolist()]

    def _elementwise(self, node: Node) -> _Values:
        arguments = [
            self._spread(self._parent(node, i), node.shape) for i in range(len(node.parents))
        ]
        formula = ELEMENTWISE[node.name]
        return _Values(node.shape, [formula(self.s, *xs) for xs in zip(*arguments, strict=True)])

    def _linear(self, node: Node) -> _Values:
        """The matrix of a linear op, from what it makes of unit vectors, times the elements."""
        x = self._parent(node, 0)
        rows: list[list[Expr]] = [[] for _ in range(math.prod(node.shape))]
        for j, element in enumerate(x.flat):
            unit: Any = creation.zeros(len(x.flat), dtype=float64, device=self.device)
            unit[j] = 1
            array = unit.reshape(x.shape).array
            made = node.op.kernels[type(array)](array, **node.params)
            column = tensor_of(backend.of(array).as_array(made)).reshape(-1)
            for terms, factor in zip(rows, column.tolist(), strict=True):
                if factor:
                    terms.append(_number(self.s, factor) * element)
        return _Values(node.shape, [self.s.Add(*terms) for terms in rows])

    def _groups(self, shape: Sequence[int], dims: Sequence[int]) -> list[list[int]]:
        """Positions of the elements that lie in a row along `dims`, group by group."""
        reduced = [1 if d in dims else n for d, n in enumerate(shape)]
        number: Any = creation.arange(math.prod(reduced), dtype=int64, device=self.device)
        groups: list[list[int]] = [[] for _ in range(math.prod(reduced))]
        for position, group in enumerate(
            number.reshape(reduced).expand(tuple(shape)).reshape(-1).tolist()
        ):
            groups[group].append(position)
        return groups

    def _along(self, node: Node) -> _Values:
        x = self._parent(node, 0)
        dim = node.params["dim"]
        groups = self._groups(x.shape, (dim,) if isinstance(dim, int) else dim)
        if node.name in REDUCTIONS:
            made = [REDUCTIONS[node.name](self.s, *[x.flat[i] for i in g]) for g in groups]
            return _Values(node.shape, made)
        flat = list(x.flat)
        for g in groups:
            for i, e in zip(g, ALONG[node.name](self.s, *[x.flat[i] for i in g]), strict=True):
                flat[i] = e
        return _Values(node.shape, flat)

    def _matmul(self, node: Node) -> _Values:
        x, y = self._parent(node, 0), self._parent(node, 1)
        *batch, n, m = node.shape
        k = x.shape[-1]
        left, right = self._spread(x, (*batch, n, k)), self._spread(y, (*batch, k, m))
        sums = [
            self.s.Add(*[left[(b * n + i) * k + q] * right[(b * k + q) * m + j] for q in range(k)])
            for b, i, j in itertools.product(range(math.prod(batch)), range(n), range(m))
        ]
        return _Values(node.shape, sums)

    def _where(self, node: Node) -> _Values:
        """What was chosen when the graph was recorded, element by element."""
        condition: Any = tensor_of(node.params["condition"])
        first = condition.expand(node.shape).reshape(-1).tolist()
        wanted = {0: any(first), 1: not all(first)}
        spread = {
            i: self._spread(self._parent(node, i), node.shape) for i, some in wanted.items() if some
        }
        return _Values(node.shape, [spread[0 if one else 1][k] for k, one in enumerate(first)])

    def _cat(self, node: Node) -> _Values:
        parts = [self._parent(node, i) for i in range(len(node.parents))]
        starts = itertools.accumulate((len(part.flat) for part in parts), initial=0)
        positions: list[Any] = [
            (creation.arange(len(part.flat), dtype=int64, device=self.device) + start).reshape(
                part.shape
            )
            for part, start in zip(parts, starts, strict=False)
        ]
        flat = [e for part in parts for e in part.flat]
        moved = positions[0]._cat(*positions[1:], dim=node.params["dim"]).reshape(-1).tolist()
        return _Values(node.shape, [flat[i] for i in moved])


def _symbols(x: Tensor, name: Any) -> _Values:
    """A symbol for each element: `x` for a 0-d tensor, else `x_0`, `x_1`, `x_0_1`, ..."""
    s = _sympy()
    indices = itertools.product(*map(range, x.shape))
    named = [s.Symbol("_".join([str(name), *map(str, index)]), real=True) for index in indices]
    return _Values(tuple(x.shape), named)


def _known(y: Tensor, names: Names) -> dict[int, _Values]:
    if not isinstance(y, Tensor):
        raise TypeError(f"to_sympy: y: expected a tensor, got {type(y).__name__}")
    if y.node is None:
        raise RuntimeError(
            "to_sympy: y is not part of a graph: nothing it is made of requires grad"
        )
    if not isinstance(names, Mapping):
        raise TypeError(
            f"to_sympy: names: expected a dict from tensors to names, got {type(names).__name__}"
        )
    reached = set(map(id, autograd.topological([y.node])))
    known: dict[int, _Values] = {}
    taken: set[Expr] = set()
    for x, name in names.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"to_sympy: names: expected tensors, got {type(x).__name__}")
        if x.node is None or id(x.node) not in reached:
            raise ValueError(f"to_sympy: names: {name!r} is not part of the graph of y")
        if not isinstance(name, (str, _sympy().Symbol)):
            raise TypeError(
                f"to_sympy: names: expected a str or a Symbol as a name, got {type(name).__name__}"
            )
        values = _symbols(x, name)
        if not taken.isdisjoint(values.flat):
            raise ValueError(f"to_sympy: names: {str(name)!r} would give two numbers one symbol")
        taken.update(values.flat)
        known[id(x.node)] = values
    return known


def to_sympy(y: Tensor, names: Names) -> Expr:
    """The expression that y is of the named tensors: a SymPy expression, or an Array of y's shape.

    names: for each leaf that y depends on, the name of its symbol; the elements of a tensor with
    dimensions are called `x_0`, `x_1`, or `x_0_1`. Other tensors on the way may be named too.
    Numbers are exact fractions where they are simple. What `where` chose (in a mask, or in clamp
    where no bound took effect) and the order that a sort found are those of the recorded values.
    Only the graph is read, so y must not have been freed by backward; constants that were tensors
    may not be in it (the error says so).

    Raises ImportError without SymPy, RuntimeError for a y that is not recorded, ValueError for a
    leaf without a name or a name that is not in the graph, NotImplementedError for an op that has
    no symbol (it names the op).

    >>> x, w = (minitorch.tensor(v, requires_grad=True) for v in (2.0, 5.0))
    >>> minitorch.symbolic.to_sympy(x.log() + x * w, {x: "x", w: "w"})
    w*x + log(x)
    """
    known = _known(y, names)
    assert y.node is not None
    values = _Reader(known, y.device).read(y.node)
    return values.flat[0] if not values.shape else _sympy().Array(values.flat, values.shape)


# ---------------------------------------------------------------------- differentiation by rules
def differentiate(expression: Expr, symbol: Any) -> Expr:
    """The derivative of a SymPy expression by a symbol (or its name), by three rules.

    Sum: (u + v)' = u' + v'. Product: (u v)' = u' v + u v'. Chain: f(u)' = f'(u) u', with f' from
    a table; powers: (u^v)' = u^v (v' log u + v u' / u). Nothing is simplified beyond what SymPy
    does as it builds a sum or a product, so that the growth of expressions shows.
    Raises NotImplementedError for a function that the table does not have.
    """
    s = _sympy()
    expression = _expression("differentiate", expression)
    if not isinstance(symbol, (str, s.Symbol)):
        raise TypeError(
            f"differentiate: symbol: expected a Symbol or its name, got {type(symbol).__name__}"
        )
    names = {x.name: x for x in expression.free_symbols}
    x = names.get(symbol, s.Symbol(symbol)) if isinstance(symbol, str) else symbol
    return _derivative(s, expression, x, {})


def _expression(name: str, value: Any) -> Expr:
    """A SymPy expression, from one, a number or text."""
    made = _sympy().sympify(value)
    if not isinstance(made, _sympy().Basic):
        raise TypeError(f"{name}: expected a SymPy expression, got {type(value).__name__}")
    return made


def _derivative(s: Any, e: Expr, x: Expr, known: dict[Expr, Expr]) -> Expr:
    if e == x:
        return s.Integer(1)
    if x not in e.free_symbols:
        return s.Integer(0)
    if e not in known:
        known[e] = _by_rule(s, e, x, known)
    return known[e]


def _by_rule(s: Any, e: Expr, x: Expr, known: dict[Expr, Expr]) -> Expr:
    parts = e.args
    slopes = [_derivative(s, part, x, known) for part in parts]
    if e.is_Add:
        return s.Add(*slopes)
    if e.is_Mul:
        terms = [
            s.Mul(*parts[:i], slope, *parts[i + 1 :]) for i, slope in enumerate(slopes) if slope
        ]
        return s.Add(*terms)
    if e.is_Pow:
        (base, exponent), (base_slope, exponent_slope) = parts, slopes
        if exponent_slope == 0:
            return exponent * base ** (exponent - 1) * base_slope
        return e * (exponent_slope * s.log(base) + exponent * base_slope / base)
    name = type(e).__name__
    if name in ("Max", "Min"):
        # The slope of the one that wins.
        wins = 1 if name == "Max" else -1
        first, rest = parts[0], e.func(*parts[1:])
        share = s.Heaviside(wins * (first - rest), s.Rational(1, 2))
        return share * slopes[0] + (1 - share) * _derivative(s, rest, x, known)
    if name in DERIVATIVES:
        return DERIVATIVES[name](s, parts[0]) * slopes[0]
    raise NotImplementedError(f"differentiate: no rule for the function '{name}'")


# ---------------------------------------------------------------------- sizes and comparison
def expression_size(expression: Expr) -> int:
    """How many nodes the tree of an expression has: one for each operation, symbol and number."""
    sizes: dict[Any, int] = {}

    def size(e: Any) -> int:
        if e not in sizes:
            sizes[e] = 1 + sum(map(size, e.args))
        return sizes[e]

    return size(_expression("expression_size", expression))


def graph_size(y: Tensor) -> int:
    """How many nodes the recorded graph of y has: one for each op and each leaf."""
    if not isinstance(y, Tensor):
        raise TypeError(f"graph_size: expected a tensor, got {type(y).__name__}")
    return 0 if y.node is None else len(autograd.topological([y.node]))


def compare(y: Tensor, names: Names) -> dict[str, tuple[float, float]]:
    """For each symbol the derivative of y, a single number: (symbolic, by reverse mode).

    names: as for `to_sympy`; the values are those that the named tensors have. The graph of y
    is retained.
    """
    if isinstance(y, Tensor) and y.numel() != 1:
        raise RuntimeError(f"compare: y: expected a single number, got shape {tuple(y.shape)}")
    whole = to_sympy(y, names)
    expression = whole if not y.ndim else _sympy().flatten(whole.tolist())[0]
    tensors = list(names)
    grads = autograd.grad(y, tensors, retain_graph=True, materialize_grads=True)
    symbols = [(symbol, x) for x, name in names.items() for symbol in _symbols(x, name).flat]
    flat = [v for x in tensors for v in x.detach().reshape(-1).tolist()]
    values = {symbol: _sympy().Float(v) for (symbol, _), v in zip(symbols, flat, strict=True)}
    slopes = [g for grad in grads for g in grad.detach().reshape(-1).tolist()]
    return {
        symbol.name: (float(differentiate(expression, symbol).evalf(20, subs=values)), slope)
        for (symbol, _), slope in zip(symbols, slopes, strict=True)
    }


guard(globals())

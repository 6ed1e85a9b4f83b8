"""Graphs as SymPy expressions, beside autograd, differences and SymPy's own derivatives."""

import itertools
import sys

import numpy as np
import pytest
import sympy
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import minitorch
from minitorch import autograd, func, nn, symbolic
from minitorch.backend.cuda.elementwise import RARE, RARE_BINARY
from minitorch.core.dispatch import REGISTRY
from minitorch.ops import elementwise
from minitorch.symbolic import compare, differentiate, expression_size, graph_size, to_sympy
from minitorch.testing import numerical_jacobian
from tests.referee import array, ours


def leaf(value):
    return ours(np.array(value, dtype=np.float64), True)


def at(expression, **values):
    """A SymPy expression as a number."""
    named = {symbol: sympy.Float(values[symbol.name]) for symbol in expression.free_symbols}
    return float(expression.evalf(20, subs=named))


# ---------------------------------------------------------------------- 30 drawn functions
# Each smooth elementwise op of the table, on arguments that it is defined for.
SMOOTH = {
    "add": lambda u, v: u + v,
    "sub": lambda u, v: u - v,
    "mul": lambda u, v: u * v,
    "div": lambda u, v: u / (v * v + 1),
    "pow": lambda u, v: (u * u + 0.5) ** (v / 3),
    "neg": lambda u, v: -u,
    "exp": lambda u, v: (u / 3).exp(),
    "log": lambda u, v: (u * u + 0.25).log(),
    "log1p": lambda u, v: (u * u).log1p(),
    "expm1": lambda u, v: (u / 2).expm1(),
    "sqrt": lambda u, v: (u * u + v * v + 1).sqrt(),
    "rsqrt": lambda u, v: (u * u + 1).rsqrt(),
    "reciprocal": lambda u, v: (u * u + 0.5).reciprocal(),
    "sin": lambda u, v: u.sin(),
    "cos": lambda u, v: u.cos(),
    "tan": lambda u, v: (u.sin() * 0.5).tan(),
    "tanh": lambda u, v: u.tanh(),
    "sigmoid": lambda u, v: u.sigmoid(),
    "erf": lambda u, v: u.erf(),
    "softplus": lambda u, v: elementwise.softplus_(u),
    "gelu": lambda u, v: minitorch.gelu(u),
    "bce_with_logits": lambda u, v: minitorch.bce_with_logits(u, v),
}
NOT_SMOOTH = {
    *("maximum", "minimum", "clamp_min", "clamp_max", "remainder", "floor_divide"),
    *("abs", "sign", "floor", "ceil", "relu"),
}

places = st.integers(0, 5)  # of the values so far, counted round
steps = st.lists(st.tuples(st.sampled_from(sorted(SMOOTH)), places, places), max_size=3)
numbers = st.floats(0.3, 1.7)


def test_the_drawn_ops_are_all_that_have_a_symbol():
    derivatives = {name for name in symbolic.ELEMENTWISE if name.endswith("_backward")}
    assert set(SMOOTH) | NOT_SMOOTH | derivatives == set(symbolic.ELEMENTWISE)
    without = {n for n, op in REGISTRY.items() if op.family == "elementwise"}
    assert without - set(symbolic.ELEMENTWISE) == {"trunc", "round", *RARE, *RARE_BINARY}


def program(drawn):
    """A function of two numbers: the drawn ops, each of two of the values so far; all count."""

    def f(x1, x2):
        pool = [x1, x2]
        for name, i, j in drawn:
            pool.append(SMOOTH[name](pool[i % len(pool)], pool[j % len(pool)]))
        return sum(v / k for k, v in enumerate(reversed(pool), 1)) + x1 * x2

    return f


# Two functions with each of the ops: 44. What fails is not made smaller, which takes minutes.
@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=2, derandomize=True, phases=[Phase.generate])
@given(st.tuples(places, places), steps, numbers, numbers)
def test_four_ways_agree_on_drawn_functions(name, operands, more, a, b):
    f = program([(name, *operands), *more])
    assume(abs(f(leaf(a), leaf(b)).item()) < 1e3)
    four_ways_agree(f, a, b)


@pytest.mark.parametrize("mode", ["vjp", "jvp"])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_wrong_derivative_is_noticed(name, mode, monkeypatch):
    op = REGISTRY[name]
    rule = getattr(op, mode)

    def wrong(node, given):
        right = rule(node, given)
        return right * 1.0001 if mode == "jvp" else [g if g is None else g * 1.0001 for g in right]

    f = program([(name, 0, 1)])
    four_ways_agree(f, 0.7, 1.1)
    monkeypatch.setattr(op, mode, wrong)
    with pytest.raises(AssertionError, match="reverse" if mode == "vjp" else "forward"):
        four_ways_agree(f, 0.7, 1.1)


def four_ways_agree(f, a, b):
    """Numerical, symbolic, forward and reverse derivatives; Hessians by all four mixes."""
    x1, x2 = leaf(a), leaf(b)
    y = f(x1, x2)
    expression = to_sympy(y, {x1: "x1", x2: "x2"})
    place = {"x1": a, "x2": b}
    np.testing.assert_allclose(at(expression, **place), y.item(), rtol=1e-12, atol=1e-12)

    variables = [sympy.Symbol(name, real=True) for name in ("x1", "x2")]
    sympys = [at(expression.diff(v), **place) for v in variables]
    ways = {
        "symbolic": [at(differentiate(expression, v), **place) for v in variables],
        "reverse": [g.item() for g in autograd.grad(y, (x1, x2), retain_graph=True)],
        "forward": [
            autograd.push_forward([y], [x1, x2], [leaf(p).detach(), leaf(q).detach()])[0].item()
            for p, q in ((1.0, 0.0), (0.0, 1.0))
        ],
    }
    for way, slopes in ways.items():
        np.testing.assert_allclose(slopes, sympys, rtol=1e-9, atol=1e-11, err_msg=way)
    (numerical,) = numerical_jacobian(f, (x1, x2))
    slopes = [block.item() for block in numerical]
    np.testing.assert_allclose(slopes, sympys, rtol=1e-5, atol=1e-6, err_msg="numerical")

    hessian = [[at(expression.diff(u).diff(v), **place) for u in variables] for v in variables]
    whole = lambda x: f(x[0], x[1])  # noqa: E731
    for outer, inner in itertools.product((func.jacrev, func.jacfwd), repeat=2):
        mixed = array(outer(inner(whole))(ours(np.array([a, b]))))
        np.testing.assert_allclose(mixed, hessian, rtol=1e-8, atol=1e-9)


# ---------------------------------------------------------------------- op by op
KINKED = {
    "abs": lambda x, w: abs(x - w) * x,
    "relu": lambda x, w: (x - w).relu() + (w - x).relu() * 3,
    "maximum": lambda x, w: minitorch.maximum(x, w * w),
    "minimum": lambda x, w: minitorch.minimum(x * w, w),
    "remainder": lambda x, w: (x * 3) % w + x % 0.4,
    "sign": lambda x, w: x.sign() * w,
    "floor": lambda x, w: x.floor() + w * x.ceil(),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks(name):
    x, w = leaf(1.3), leaf(0.8)
    for slope, gradient in compare(KINKED[name](x, w), {x: "x", w: "w"}).values():
        assert slope == pytest.approx(gradient, rel=1e-12)


VECTORS = {
    "sums": lambda v: (v * v).sum() + v.mean() * 3 + v.cumsum(0).sin().sum(),
    "softmax": lambda v: (v.softmax(0) * v).sum() + v.log_softmax(0)[1],
    "groups": lambda v: v.reshape(1, 3).logsumexp(1).sum() + v.prod() + v.amax() * v.amin(),
    "movements": lambda v: (v[[2, 0]] * v[1:]).sum() + (v.flip(0) * v.roll(1, 0)).sum(),
    "matrices": lambda v: ((v.unsqueeze(1) @ v.unsqueeze(0)).tril().sin()).sum(),
    "stacks of matrices": lambda v: (
        ((v.reshape(1, 3, 1) @ v.exp().reshape(1, 3)) @ v.reshape(3, 1).expand(2, 3, 1))
        .sin()[1]
        .sum()
    ),
    "cat": lambda v: (minitorch.cat([v, v * 2]) * minitorch.cat([v.exp(), v])).sum(),
    "linear": lambda v: nn.functional.linear(v.reshape(1, 3), v.reshape(1, 3), v[:1]).sum(),
    "choices": lambda v: (
        minitorch.where(v > 0, v * v, v.exp()).sum()
        + nn.functional.leaky_relu(v).prod()
        + v.clamp(-1, 2).prod()
        + nn.functional.softplus(v).sum()
    ),
    "losses": lambda v: (
        nn.functional.cross_entropy(minitorch.stack([v, v * 2]), minitorch.tensor([1, 2]))
        + v.norm() * v.std()
        + nn.functional.layer_norm(v, (3,), v, v).sin().sum()
    ),
    "order": lambda v: (v.sort()[0].cumsum(0) * v).sum() + v.topk(2)[0].prod(),
    "numbers": lambda v: (2.5 / v - 1 + v**3 + 2**v - v / 7).sum(),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    v = leaf([0.4, 1.7, -0.6])
    found = compare(VECTORS[name](v), {v: "v"})
    assert list(found) == ["v_0", "v_1", "v_2"]
    for slope, gradient in found.values():
        assert slope == pytest.approx(gradient, rel=1e-10)


def test_several_fused_ops():
    """Each is read through a graph of its own; those must not be taken for each other."""
    minitorch.manual_seed(0)
    layers = [nn.Linear(1, 1, dtype=minitorch.float64) for _ in range(3)]
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())])
    x = leaf([[0.4]])
    names = {x: "x"} | {p: name.replace(".", "_") for name, p in model.named_parameters()}
    for name, (slope, gradient) in compare(model(x).sum(), names).items():
        assert slope == pytest.approx(gradient, rel=1e-9), name
    for p in model.parameters():
        p.requires_grad_(False)  # their values come from what the ops keep
    ((slope, gradient),) = compare(model(x).sum(), {x: "x"}).values()
    assert slope == pytest.approx(gradient, rel=1e-9)


@pytest.mark.parametrize("f", ["tanh", "sigmoid", "relu", "gelu", "erf"])
def test_recorded_gradients_can_be_read(f):
    x = leaf(0.7)
    y = getattr(minitorch, f)(x) * x
    (g,) = autograd.grad(y, x, create_graph=True)
    assert at(to_sympy(g, {x: "x"}), x=0.7) == pytest.approx(g.item(), rel=1e-12)
    slope = differentiate(to_sympy(y, {x: "x"}), "x")
    assert at(slope, x=0.7) == pytest.approx(g.item(), rel=1e-12)


def test_what_is_printed():
    x1, x2 = leaf(2.0), leaf(5.0)
    y = x1.log() + x1 * x2 - x2.sin()
    e = to_sympy(y, {x1: "x1", x2: "x2"})
    assert str(e) == "x1*x2 + log(x1) - sin(x2)"
    assert str(differentiate(e, "x1")) == "x2 + 1/x1"
    assert str(differentiate(e, "x2")) == "x1 - cos(x2)"
    assert str(differentiate(e, "x3")) == "0"
    x = leaf(1.0)
    assert str(to_sympy(x * 0.1 + x / 3 + 2, {x: "x"})) == "13*x/30 + 2"
    assert str(to_sympy(minitorch.ones(2) * 2 * x, {x: sympy.Symbol("a")})) == "[2*a, 2*a]"


def test_a_tensor_on_the_way_can_be_named():
    x = leaf(1.2)
    z = x.sin()
    y = z * z + x.new_ones(()) * z
    assert str(to_sympy(z * z + 1, {z: "z"})) == "z**2 + 1"
    with pytest.raises(ValueError, match=r"leaf of shape \(\) has no name"):
        to_sympy(z * x, {z: "z"})
    assert str(to_sympy(y, {x: "x"})) == "sin(x)**2 + sin(x)"


@pytest.mark.parametrize(
    "text",
    ["x**3*y + 2*x", "exp(x*y)*sin(x)/y", "x**y + y**x", "log(x)*tanh(x)**2", "sqrt(x + erf(y))"],
)
def test_rules_give_what_sympy_gives(text):
    e = sympy.sympify(text)
    for name in ("x", "y"):
        mine, other = differentiate(e, name), e.diff(sympy.Symbol(name))
        assert at(mine, x=0.8, y=1.7) == pytest.approx(at(other, x=0.8, y=1.7), rel=1e-14)


# ---------------------------------------------------------------------- growth
def test_expressions_grow_faster_than_graphs():
    """The logistic map of Baydin et al. 2018, table 1: y_{n+1} = 4 y_n (1 - y_n)."""
    x = leaf(0.3)
    y, sizes = x, []
    for _ in range(6):
        y = 4 * y * (1 - y)
        e = to_sympy(y, {x: "x"})
        slope = differentiate(e, "x")
        (g,) = autograd.grad(y, x, retain_graph=True)
        assert at(slope, x=0.3) == pytest.approx(g.item(), rel=1e-9)
        sizes.append((graph_size(y), expression_size(e), expression_size(slope)))
    graphs, expressions, derivatives = np.array(sizes).T
    assert graphs.tolist() == [4, 7, 10, 13, 16, 19]  # three ops a step
    assert (expressions[1:] > 1.9 * expressions[:-1]).all()
    assert (derivatives[1:] > 2.5 * derivatives[:-1]).all()


def test_expression_size():
    x = sympy.Symbol("x")
    assert [expression_size(e) for e in (x, 3 * x, sympy.sin(x) + x**2)] == [1, 3, 6]
    big = x
    for _ in range(15):
        big = sympy.sin(big) + sympy.cos(big)  # the tree doubles each time
    assert expression_size(big) > 2**15


# ---------------------------------------------------------------------- what cannot be read
def test_bad_input():
    x = leaf(1.5)
    with pytest.raises(NotImplementedError, match=r"op 'round' has no symbol; those .* exp, expm1"):
        to_sympy(x.round() * x, {x: "x"})
    with pytest.raises(ValueError, match="does not keep argument 1 of 'where', a tensor"):
        to_sympy(minitorch.where(x > 2, x, 0.0), {x: "x"})

    class Mine(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="op 'Mine' has no symbol"):
        to_sympy(Mine.apply(x) * 2, {x: "x"})
    with pytest.raises(ValueError, match="does not keep argument 1 of 'add', a tensor"):
        to_sympy(x + ours(2.0), {x: "x"})
    with pytest.raises(ValueError, match="'w' is not part of the graph"):
        to_sympy(x * 2, {x: "x", leaf(1.0): "w"})
    with pytest.raises(RuntimeError, match="y is not part of a graph"):
        to_sympy(x.detach() * 2, {x: "x"})
    with pytest.raises(TypeError, match="y: expected a tensor, got float"):
        to_sympy(1.0, {x: "x"})
    with pytest.raises(TypeError, match="names: expected a dict from tensors to names, got list"):
        to_sympy(x * 2, [x])
    with pytest.raises(TypeError, match="expected a str or a Symbol as a name, got int"):
        to_sympy(x * 2, {x: 3})
    z = leaf(2.0)
    with pytest.raises(ValueError, match="'a' would give two numbers one symbol"):
        compare(x * z, {x: "a", z: "a"})
    row = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match="'v_1' would give two numbers one symbol"):
        to_sympy((row * x).sum(), {row: "v", x: "v_1"})
    with pytest.raises(TypeError, match="names: expected tensors, got str"):
        to_sympy(x * 2, {"x": x})
    y = x * 3
    y.backward()
    with pytest.raises(RuntimeError, match="that 'mul' saved are freed; call backward with retain"):
        to_sympy(y, {x: "x"})
    v = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"compare: y: expected a single number, .* \(2,\)"):
        compare(v * 2, {v: "v"})
    with pytest.raises(NotImplementedError, match="no rule for the function 'besselj'"):
        differentiate(sympy.besselj(1, sympy.Symbol("x")), "x")
    with pytest.raises(TypeError, match="differentiate: expected a SymPy expression, got NoneType"):
        differentiate(None, "x")
    with pytest.raises(TypeError, match="symbol: expected a Symbol or its name, got int"):
        differentiate(sympy.Symbol("x"), 3)
    with pytest.raises(TypeError, match="expression_size: expected a SymPy expression, got None"):
        expression_size(None)
    with pytest.raises(TypeError, match="graph_size: expected a tensor, got int"):
        graph_size(3)


def test_without_sympy(monkeypatch):
    x = leaf(1.0)
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(ImportError, match=r"pip install .*\[symbolic\]"):
        to_sympy(x * 2, {x: "x"})

"""Elementwise functions against PyTorch: values, dtypes, gradients, edges, errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from tests.referee import (
    DTYPES,
    FLOATS,
    LAYOUTS,
    TOLERANCE,
    array,
    compare,
    draw_array,
    is_floating,
    laid_out,
    ours,
)

# fmt: off
UNARY = [
    "neg", "abs", "sign", "floor", "ceil", "trunc", "round", "relu", "exp", "log", "log1p",
    "expm1", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "tanh", "sigmoid", "erf",
    "square", "isnan", "isinf", "isfinite", "logical_not",
    "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "log2", "log10", "erfc",
    "erfinv", "lgamma", "digamma", "i0", "exp2", "sinc", "deg2rad", "rad2deg", "frac", "signbit",
    "isposinf", "isneginf", "nan_to_num",
]
# fmt: on
# fmt: off
BINARY = [
    "add", "sub", "mul", "div", "maximum", "minimum", "remainder", "floor_divide", "pow", "eq",
    "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor",
]
# fmt: on
BITWISE = {
    "&": lambda m, x, y: (x & y, x.bitwise_and(y)),
    "|": lambda m, x, y: (x | y, x.bitwise_or(y)),
    "^": lambda m, x, y: (x ^ y, x.bitwise_xor(y)),
}
SHAPES = [(3, 4), (), (0, 3), (2, 1, 3)]
PAIRS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (3,)), ((0, 3), (3,))]


def quiet_gradient(name, *arrays):
    """Whether gradients can be compared: not where PyTorch has none, or others at nan."""
    floats = [a for a in arrays if is_floating(a)]
    special = any(not np.isfinite(a).all() for a in floats)
    return name not in ("floor_divide", "digamma") and not (special and name in ("pow", "gelu"))


def lenient(name, *dtypes):
    """Where minitorch computes what PyTorch refuses, or refuses what PyTorch leaves undefined."""
    return (name == "sub" and "bool" in dtypes) or (name == "relu" and "bool" in dtypes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    rng = np.random.default_rng(0)
    for shape, special in itertools.product(SHAPES, (False, True)):
        a = draw_array(rng, shape, dtype, special)
        if lenient(name, dtype):
            continue
        if name == "i0":  # PyTorch's vectorised i0(-inf) is nan
            a = np.where(np.isinf(a.astype("float64")), a.dtype.type(1), a)
        compare(lambda m, x: getattr(m, name)(x), a, grad=quiet_gradient(name, a))
        compare(lambda m, x: getattr(x, name)(), a, grad=quiet_gradient(name, a))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["gelu", "silu", "softplus", "logsigmoid"])
def test_activations(name, dtype):
    def call(m, x):
        return getattr(m if m is minitorch else m.nn.functional, name)(x)

    rng = np.random.default_rng(0)
    for shape, special in itertools.product(SHAPES, (False, True)):
        a = draw_array(rng, shape, dtype, special)
        if name == "gelu":  # PyTorch's vectorised gelu(inf) is nan
            a = np.where(np.isinf(a), 1, a).astype(dtype)
        compare(call, a, grad=not special)
    compare(call, np.array([-800.0, -30, 0, 19.9, 20.1, 800], dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "name", ["exp", "log1p", "rsqrt", "sigmoid", "softplus", "gelu", "erf", "tanh"]
)
def test_halves_are_computed_in_float32_and_rounded_once(name, dtype):
    x = np.linspace(0.01, 6, 997).astype(dtype)
    expected = getattr(minitorch, name)(ours(x).float()).to(ours(x).dtype)
    np.testing.assert_array_equal(array(getattr(minitorch, name)(ours(x))), array(expected))


def test_activations_with_options():
    a = np.linspace(-5, 5, 11)

    def f(m):
        return m if m is minitorch else m.nn.functional

    compare(lambda m, x: f(m).gelu(x, approximate="tanh"), a)
    compare(lambda m, x: f(m).softplus(x, 2.0, 3.0), a)
    compare(lambda m, x: f(m).softplus(x, beta=0.5), a)
    for bad in (lambda x: minitorch.gelu(x, approximate="no"),):
        with pytest.raises(RuntimeError, match="gelu: approximate: expected 'none' or 'tanh'"):
            bad(ours(a))


@pytest.mark.parametrize("name", BINARY)
def test_binary_in_all_dtypes(name):
    rng = np.random.default_rng(1)
    for first, second in itertools.product(DTYPES, DTYPES):
        if lenient(name, first, second):
            continue
        for s, t in PAIRS:
            a, b = draw_array(rng, s, first), draw_array(rng, t, second)
            if name in ("remainder", "floor_divide", "pow") and b.dtype.kind in "iub":
                b = np.abs(b) if name == "pow" else np.where(b == 0, 1, b).astype(second)
            low = max(TOLERANCE.get(d, 0) for d in (first, second))
            tolerance = 1e-4 if low == TOLERANCE["float32"] else low or None
            grad = quiet_gradient(name, a, b) and not (
                name == "pow" and (second == "bool" or {"float16", "bfloat16"} & {first, second})
            )
            compare(lambda m, x, y: getattr(m, name)(x, y), a, b, grad=grad, tolerance=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_binary_at_the_edges(name, dtype):
    rng = np.random.default_rng(2)
    for s, t in PAIRS * 4:
        a, b = draw_array(rng, s, dtype, True), draw_array(rng, t, dtype, True)
        compare(lambda m, x, y: getattr(m, name)(x, y), a, b, grad=quiet_gradient(name, a, b))


NUMBERS = (2, -3, 0, 2.5, -1.5, 0.0, True, False, math.inf, math.nan)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", [n for n in BINARY if n not in ("maximum", "minimum") and "logical" not in n]
)
def test_tensor_and_number(name, dtype):
    rng = np.random.default_rng(3)
    for number, shape in itertools.product(NUMBERS, [(3, 4), ()]):
        if lenient(name, dtype) or (name == "sub" and isinstance(number, bool)):
            continue
        if name == "pow" and dtype in ("uint8", "bool") and number == -3:
            continue  # PyTorch wraps the exponent around; an error here
        a = draw_array(rng, shape, dtype)
        grad = name != "floor_divide" and math.isfinite(number) and not isinstance(number, bool)
        compare(lambda m, x, c=number: getattr(x, name)(c), a, grad=grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_truth_of_a_number(name, dtype):
    a = np.array([0, 1, 2]).astype(dtype)
    for number in (*NUMBERS, 0):  # PyTorch takes tensors only

        def call(m, x, c=number):
            return getattr(m, name)(x, c if m is minitorch else m.tensor(c))

        compare(call, a, grad=False)


OPERATORS = {
    "+": (lambda m, x: 2 + x, lambda m, x: 2.5 + x, lambda m, x: x + 2),
    "-": (lambda m, x: 2 - x, lambda m, x: 2.5 - x, lambda m, x: x - 2),
    "*": (lambda m, x: 2 * x, lambda m, x: 2.5 * x, lambda m, x: x * 2),
    "/": (lambda m, x: 2 / (x + 9), lambda m, x: 2.5 / (x + 9), lambda m, x: x / 2),
    "//": (lambda m, x: 20 // (x + 9), lambda m, x: 2.5 // (x + 9), lambda m, x: x // 2),
    "%": (lambda m, x: 20 % (x + 9), lambda m, x: 2.5 % (x + 9), lambda m, x: x % 2),
    "**": (lambda m, x: 2 ** (x + 9), lambda m, x: 1.1**x, lambda m, x: x**2),
    "unary": (lambda m, x: -(x + 0), lambda m, x: +(x + 0), lambda m, x: abs(x + 0)),
    "compare": (lambda m, x: 2 < x, lambda m, x: 2.5 >= x, lambda m, x: x == 2),  # noqa: SIM300
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name, dtype):
    rng = np.random.default_rng(4)
    for call, shape in itertools.product(OPERATORS[name], [(3, 4), ()]):
        if name == "-" and dtype == "bool":
            continue
        compare(call, draw_array(rng, shape, dtype), grad=name not in ("//", "%"))


@pytest.mark.parametrize("name", BITWISE)
def test_bitwise(name):
    rng = np.random.default_rng(5)
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = draw_array(rng, (3, 4), first), draw_array(rng, (4,), second)
        compare(BITWISE[name], a, b, grad=False)
    whole = draw_array(rng, (3,), "int64")
    compare(lambda m, x: (x & 3, 3 | x, x ^ 1, ~x, x.bitwise_not()), whole)
    compare(lambda m, x: (x & True, False | x, x ^ True, ~x), whole > 0)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if "int" in d])
def test_shifts(dtype):
    """Also by less than nothing, and by more bits than there are."""
    shifts = np.array([0, 1, 3, 7, 8, 15, 31, 63, 64, 100, -1], "int64")
    bits = np.array([1, 3, -1, 5, 127, -128, 77]).astype(dtype)[:, None]
    by = shifts.astype(dtype)
    compare(lambda m, x, y: (x << y, x.bitwise_left_shift(y)), bits, by, grad=False)
    compare(lambda m, x, y: (x >> y, x.bitwise_right_shift(y)), bits, by, grad=False)
    compare(lambda m, x: (x << 2, x >> 1, 3 << x.clamp(0, 3), 100 >> x.clamp(0, 3)), bits)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 2.0, 1.0, 0.0, -1.0, 0.5, -0.5, 2.5, True])
def test_powers(exponent):
    rng = np.random.default_rng(6)
    for dtype in DTYPES:
        a = np.abs(draw_array(rng, (3, 4), dtype)) if dtype != "bool" else rng.random((3, 4)) < 0.5
        compare(lambda m, x: (m.pow(x, exponent), x**exponent), a)
        compare(lambda m, x: m.pow(exponent, x), a, grad=exponent is not True)


def test_negative_powers_of_integers_are_an_error():
    with pytest.raises(RuntimeError, match="pow: integers to negative integer powers"):
        ours(np.array([1, 2])) ** -1
    with pytest.raises(RuntimeError, match="pow: integers to negative integer powers"):
        (ours(np.array([1, 2])) ** ours(np.array([1, -1]))).tolist()


@pytest.mark.parametrize("bounds", [(0, 1), (None, 1), (-1, None), (1, -1), (0.5, 1.5)])
def test_clamp(bounds):
    rng = np.random.default_rng(7)
    for dtype in DTYPES:
        if dtype in ("uint8", "bool") and bounds[0] == -1:
            continue
        a = draw_array(rng, (3, 4), dtype, True)
        grad = not np.isnan(a).any() if dtype in FLOATS else False
        compare(lambda m, x: m.clamp(x, *bounds), a, grad=grad)
        compare(lambda m, x: x.clamp(min=bounds[0], max=bounds[1]), a, grad=grad)


def test_clamp_by_tensors():
    a = np.random.default_rng(8).normal(size=(3, 4))
    compare(lambda m, x, lo, hi: m.clamp(x, lo, hi), a, a[0] - 0.5, a[1])
    with pytest.raises(RuntimeError, match="clamp: at least one of min and max"):
        minitorch.clamp(ours(a))


def test_where():
    rng = np.random.default_rng(9)
    shapes = [((3, 4),) * 3, ((3, 1), (4,), ()), ((), (3,), (2, 1)), ((), (), ()), ((0, 2),) * 3]
    for (first, second), (c, s, t) in itertools.product(itertools.product(DTYPES, DTYPES), shapes):
        arrays = rng.random(c) < 0.5, draw_array(rng, s, first), draw_array(rng, t, second)
        low = {"float16", "bfloat16", "float32"} & {first, second}
        compare(lambda m, k, x, y: m.where(k, x, y), *arrays, tolerance=1e-2 if low else None)
    for dtype, number in itertools.product(DTYPES, (2, 2.5, True)):
        arrays = rng.random((3, 4)) < 0.5, draw_array(rng, (3, 4), dtype)
        compare(lambda m, k, x, c=number: (m.where(k, x, c), m.where(k, c, x)), *arrays)
        compare(lambda m, k, c=number: (m.where(k, 1, c), m.where(k, c, 0.5)), arrays[0])
        compare(lambda m, k, x, c=number: x.where(k, c), *arrays)
        compare(lambda m, k: m.where(k), arrays[0])
    with pytest.raises(RuntimeError, match="where: condition: expected a bool tensor"):
        minitorch.where(ours(np.ones(2)), ours(np.ones(2)), 0.0)


def test_masked_fill():
    rng = np.random.default_rng(10)
    for dtype, (s, t) in itertools.product(DTYPES, PAIRS):
        a, mask = draw_array(rng, s, dtype), rng.random(t) < 0.5
        compare(lambda m, x, k: m.masked_fill(x, k, 2), a, mask)
        compare(lambda m, x, k, v: x.masked_fill(k, v), a, mask, draw_array(rng, (), dtype))
        compare(lambda m, x, k, v: x.masked_fill(k, v), a, mask, draw_array(rng, (1,), dtype))


@pytest.mark.parametrize("decimals", [0, 1, 2, -1])
def test_round(decimals):
    a = np.array([0.5, 1.5, 2.5, -0.5, 1.005, 123.456])
    compare(lambda m, x: m.round(x, decimals=decimals), a, tolerance=1e-7)


@pytest.mark.parametrize("mode", [None, "floor", "trunc", "no"])
def test_div_with_rounding(mode):
    rng = np.random.default_rng(11)
    for first, second in itertools.product(DTYPES, ("float32", "int64", "int32", "uint8")):
        b = draw_array(rng, (4,), second)
        b = np.where(b == 0, 3, b).astype(second)
        a = draw_array(rng, (3, 4), first)
        compare(lambda m, x, y: m.div(x, y, rounding_mode=mode), a, b, grad=False)


def test_division_of_integers_by_zero_is_an_error():
    a = ours(np.array([1, 2]))
    for name in ("floor_divide", "remainder"):
        with pytest.raises(RuntimeError, match=f"{name}: integer division by zero"):
            getattr(a, name)(ours(np.array([1, 0]))).tolist()
        with pytest.raises(RuntimeError, match=f"{name}: integer division by zero"):
            getattr(a, name)(0).tolist()
    assert (a / 0).tolist() == [math.inf, math.inf]


@pytest.mark.parametrize("alpha", [1, 2, -1, 0.5])
def test_alpha(alpha):
    rng = np.random.default_rng(12)
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = draw_array(rng, (3, 4), first), draw_array(rng, (4,), second)
        tolerance = max(TOLERANCE.get(d, 0) for d in (first, second)) or None
        compare(lambda m, x, y: m.add(x, y, alpha=alpha), a, b, tolerance=tolerance)
        if "bool" not in (first, second):
            compare(lambda m, x, y: m.sub(x, y, alpha=alpha), a, b, tolerance=tolerance)


def test_addcmul_addcdiv_and_lerp():
    rng = np.random.default_rng(13)
    for dtype in ("float32", "float64"):
        a, b, c = (draw_array(rng, s, dtype) for s in ((3, 4), (4,), (3, 1)))
        compare(lambda m, x, y, z: m.addcmul(x, y, z, value=-2), a, b, c)
        compare(lambda m, x, y, z: m.addcdiv(x, y, z, value=0.5), a, b, c * c + 1)
        compare(lambda m, x, y: m.lerp(x, y, 0.3), a, b)
        compare(lambda m, x, y, z: m.lerp(x, y, z), a, b, c)


def test_closeness_and_equality():
    rng = np.random.default_rng(14)
    for dtype in DTYPES:
        a = draw_array(rng, (3, 4), dtype, True)
        for b in (a, a[::-1].copy(), a[:1].copy()):
            compare(lambda m, x, y: (m.isclose(x, y), m.allclose(x, y)), a, b, grad=False)
            compare(lambda m, x, y: x.isclose(y, rtol=0.1, equal_nan=True), a, b, grad=False)
            compare(lambda m, x, y: m.allclose(x, y, atol=10.0), a, b, grad=False)
            compare(lambda m, x, y: m.equal(x, y), a, b, grad=False)


def test_bce_with_logits():
    rng = np.random.default_rng(15)
    x, y = rng.normal(size=(3, 4)) * 50, rng.random((3, 4))

    def call(m, x, y):
        if m is minitorch:
            return m.bce_with_logits(x, y)
        return m.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none")

    compare(call, x, y)


@given(
    st.sampled_from([n for n in BINARY if n not in ("floor_divide", "remainder", "pow")]),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyb")), max_size=4),
    st.sampled_from(FLOATS[2:]),
    st.integers(0, 10**6),
)
@settings(max_examples=200, derandomize=True)
def test_drawn_shapes_and_layouts(name, left, right, lengths, dtype, seed):
    """Both shapes broadcast: each dimension is 1 in x ("x"), in y ("y") or in neither ("b")."""
    rng = np.random.default_rng(seed)
    x = draw_array(rng, [1 if who == "x" else n for n, who in lengths], dtype)
    y = draw_array(rng, [1 if who == "y" else n for n, who in lengths], dtype)
    (x, f), (y, g) = laid_out(x, left), laid_out(y, right)
    compare(lambda m, x, y: getattr(m, name)(x, y), x, y, views=[f, g])


@given(
    st.sampled_from(UNARY),
    st.sampled_from(LAYOUTS),
    st.lists(st.integers(0, 3), max_size=4),
    st.sampled_from(DTYPES),
    st.integers(0, 10**6),
)
@settings(max_examples=200, derandomize=True)
def test_drawn_unary(name, layout, shape, dtype, seed):
    if lenient(name, dtype):
        return
    a, view = laid_out(draw_array(np.random.default_rng(seed), shape, dtype), layout)
    compare(lambda m, x: getattr(m, name)(x), a, views=[view])


@pytest.mark.parametrize("name", ["abs", "sign", "relu", "maximum", "minimum", "clamp"])
def test_gradient_at_a_tie(name):
    zeros, ones = np.zeros(3), np.ones(3)
    if name in ("maximum", "minimum"):
        compare(lambda m, x, y: getattr(m, name)(x, y), ones, ones)
        compare(lambda m, x: getattr(m, name)(x, x), ones)
    elif name == "clamp":
        compare(lambda m, x: x.clamp(0.0, 1.0), np.array([0.0, 1.0, 0.5]))
    else:
        compare(lambda m, x: getattr(m, name)(x), zeros)


ERRORS = {
    "add: shapes (2, 3) and (4,) do not broadcast: dimension -1 is 3 against 4": lambda x: (
        x + minitorch.ones(4)
    ),
    "mul: expected a tensor or a number, got str": lambda x: x * "a",
    "mul: expected a tensor or a number, got list": lambda x: x * [1, 2, 3],
    "add: alpha: expected a number": lambda x: minitorch.add(x, x, alpha="2"),
    "sub: bools cannot be subtracted": lambda x: (x > 0) - (x > 0),
    "div: rounding_mode: expected None, 'floor' or 'trunc'": lambda x: x.div(2, rounding_mode="up"),
    "exp: expected a tensor, got float": lambda x: minitorch.exp(1.0),
    "use minitorch.from_numpy": lambda x: x + np.ones(3),
    "masked_fill: mask: expected a bool tensor": lambda x: x.masked_fill(x, 0.0),
    "where: shapes (2, 3) and (9,) do not broadcast": lambda x: x.masked_fill(
        minitorch.ones(9) > 0, 0.0
    ),
    "maximum: shapes": lambda x: minitorch.maximum(x, minitorch.ones(2, 2)),
    "where: shapes": lambda x: minitorch.where(x > 0, minitorch.ones(5), x),
    "eq: shapes": lambda x: x == minitorch.ones(5),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((RuntimeError, TypeError)) as error:
        ERRORS[message](ours(np.ones((2, 3), "float32")))
    assert message in str(error.value)


def test_other_objects_are_not_equal():
    x = minitorch.ones(2)
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    assert x not in [None, "a"]


# ---------------------------------------------------------------------- numbers at the edge
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("mode", ["trunc", "floor"])
def test_whole_quotients_are_exact(mode, dtype):
    large = {"int64": 2**62 + 1, "int32": 2**31 - 1, "uint8": 255}[dtype]
    signs = (1,) if dtype == "uint8" else (1, -1)
    x = np.array([s * v for v in (large, 123 % large, 7, 0) for s in signs], dtype)
    for y in (10, 3, *(() if dtype == "uint8" else (-10, -3))):
        compare(lambda m, a, y=y: m.div(a, y, rounding_mode=mode), x)
        compare(lambda m, a, b: m.div(a, b, rounding_mode=mode), x, np.full_like(x, y))
        compare(lambda m, a, y=y: m.div(m.tensor(y, dtype=a.dtype), a, rounding_mode=mode), x[:4])
        compare(lambda m, a, y=y: a.clone().div_(y, rounding_mode=mode), x)
    compare(lambda m, a: a.div(0, rounding_mode=mode), x)
    if dtype == "uint8":  # 253
        compare(lambda m, a: a.div(-3, rounding_mode=mode), x)


@pytest.mark.parametrize("name", ["__lshift__", "__rshift__", "__mod__", "__floordiv__"])
def test_bool_has_no_such_operator(name):
    x = minitorch.tensor([True, False])
    for other in (x, True):
        with pytest.raises(TypeError, match="not supported for bool"):
            getattr(x, name)(other)


@pytest.mark.parametrize("mode", ["trunc", "floor"])
def test_rounded_quotients_stay_on_the_tape(mode):
    x, y = np.array([5.0, -5.0]), np.array([2.0, 3.0])
    compare(lambda m, a, b: a.div(b, rounding_mode=mode), x, y)
    compare(lambda m, a: (a * 1).div_(2, rounding_mode=mode), x)


BOUNDS = [np.nan, -1.0, 0.5, np.inf, -np.inf]


@pytest.mark.parametrize("low", [None, *BOUNDS])
@pytest.mark.parametrize("high", [None, *BOUNDS])
def test_clamp_with_bounds_that_are_not_numbers(low, high):
    x = np.array([np.nan, -2.0, -1.0, 0.0, 0.5, 1.0, np.inf, -np.inf])
    if low is None and high is None:
        return
    compare(lambda m, a: a.clamp(low, high), x)
    compare(lambda m, a: a.clone().clamp_(low, high), x)
    if low is not None and high is not None:
        ends = np.full(8, low), np.full(8, high)
        compare(lambda m, a, b, c: a.clamp(b, c), x[1:], *(e[1:] for e in ends), grad=low < high)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("number", [70000, 0.1, 3e-8, 1e10])
def test_halves_are_computed_with_a_number_in_float32(name, number):
    x = np.array([0.001, 3.0, -2.0, 0.5], np.float16)
    for layout in (lambda a: a, lambda a: a[::2], lambda a: a.repeat(3)):
        compare(lambda m, a, f=layout: getattr(m, name)(f(a), number), x, grad=False)
        compare(lambda m, a, f=layout: getattr(f(a).clone(), name + "_")(number), x, grad=False)
    compare(lambda m, a: 70000 / a, x, grad=False)
    compare(lambda m, a: a == 0.1, np.array([0.1], np.float16))


def test_numpys_bools_are_bools():
    for flag in (np.bool_(True), np.bool_(False)):
        for a in (np.array([True, False]), np.array([1, 2]), np.array([1.0, 2.0])):
            for call in (
                lambda x, y: y * x,
                lambda x, y: y + x,
                lambda x, y: y == x,
                lambda x, y: x != y,
                lambda x, y: y & x if x.dtype is minitorch.bool else y * x,
            ):
                mine, other = call(ours(a), flag), call(ours(a), bool(flag))
                assert mine.dtype is other.dtype
                assert mine.tolist() == other.tolist()


def test_the_slope_of_expm1_keeps_its_digits():
    x = np.linspace(-80, 5, 50)
    a = ours(x.astype(np.float32), requires_grad=True)
    a.expm1().sum().backward()
    np.testing.assert_allclose(a.grad.tolist(), np.exp(x.astype(np.float32)), rtol=1e-5)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_small_logistic_losses_keep_their_digits(target):
    x = np.linspace(-30, 30, 61)
    exact = np.logaddexp(0, x if target == 0 else -x)
    a = ours(x.astype(np.float32))
    y = minitorch.full_like(a, target)
    np.testing.assert_allclose(minitorch.bce_with_logits(a, y).tolist(), exact, rtol=1e-6)
    small = np.exp(-20.0)
    logits = ours(np.array([20.0 if target else -20.0], np.float32))
    loss = minitorch.nn.functional.binary_cross_entropy_with_logits(logits, y[:1])
    np.testing.assert_allclose(loss.item(), small, rtol=1e-5)

"""Elementwise kernels, copies and conversions on the simulated GPU, against the CPU's kernels."""

import itertools

import numpy as np
import pytest

import minitorch
from minitorch import backend
from minitorch.backend import sim
from minitorch.backend.cuda import strides
from minitorch.backend.sim.settings import config
from minitorch.core.tensor import tensor_of

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

CPU = backend.named("cpu").kernels
SIM = backend.named("sim").kernels
FLOATS = ["float16", "float32", "float64"]
WHOLE = ["uint8", "int8", "int16", "int32", "int64"]
DTYPES = [*FLOATS, *WHOLE, "bool"]
# Ops by the dtypes that they have: NumPy's own choice where the CPU's kernel is a ufunc.
EVERYWHERE = ["add", "mul", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "pow"]
ON_NUMBERS = ["sub", "floor_divide", "remainder"]
ON_BITS = ["bitwise_and", "bitwise_or", "bitwise_xor"]
SHIFTS = ["bitwise_left_shift", "bitwise_right_shift"]
BACKWARD = ["relu_backward", "tanh_backward", "sigmoid_backward", "gelu_backward"]
ON_FLOATS = ["div", "bce_with_logits", *BACKWARD]
UNARY_ON_NUMBERS = ["neg", "abs", "sign", "floor", "ceil", "trunc", "round", "relu"]
UNARY_ON_BITS = ["bitwise_not", "abs", "sign", "floor", "round"]
FUNCTIONS = [
    *("exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan"),
    *("tanh", "sigmoid", "erf", "softplus", "gelu"),
]  # fmt: skip
BINARY = [
    *itertools.product(EVERYWHERE, DTYPES),
    *itertools.product(ON_NUMBERS, FLOATS + WHOLE),
    *itertools.product(ON_BITS, [*WHOLE, "bool"]),
    *itertools.product(SHIFTS, WHOLE),
    *itertools.product(ON_FLOATS, FLOATS),
]
UNARY = [
    *itertools.product(UNARY_ON_NUMBERS, FLOATS + WHOLE),
    *((name, "bool") for name in UNARY_ON_BITS),
    *(("bitwise_not", dtype) for dtype in WHOLE),
    *itertools.product(FUNCTIONS, FLOATS),
]
# The CPU rounds every step of a composed function to the dtype, the kernel only the last.
TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}
# From a base array of (6, 20): what both devices are given.
LAYOUTS = {
    "contiguous": lambda a: a[:2],
    "transposed": lambda a: a.T,
    "stepped": lambda a: a[::2, 1::3],
    "reversed": lambda a: a[::-1, ::-2],
    "offset by one": lambda a: a.reshape(-1)[1:],
    "a row": lambda a: a[1],
    "0-d": lambda a: a[2, 3, ...],
    "empty": lambda a: a[:, :0],
    "one element": lambda a: a[:1, :1],
}


@pytest.fixture(autouse=True)
def checked():
    with config(checked=True, processors=1):
        yield


def sample(dtype, shape=(6, 20), seed=0):
    rng = np.random.default_rng(seed)
    if dtype in FLOATS:
        return rng.uniform(-3, 3, shape).astype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return rng.integers(0 if dtype == "uint8" else -9, 10, shape).astype(dtype)


def put(array):
    return backend.named("sim").from_host(array, 0)


def assert_same(given, expected, tolerance=0.0):
    given, expected = given.get(), np.asarray(expected)
    assert given.shape == expected.shape
    assert given.dtype == expected.dtype
    if expected.dtype.kind == "f":
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(given, expected)


def second(name, dtype, shape=(6, 20)):
    """A second operand for which the op is defined."""
    y = sample(dtype, shape, seed=1)
    if name in ("floor_divide", "remainder"):
        y = np.where(y == 0, 3, y).astype(dtype)
    if name == "pow":
        y = np.abs(y) % 5 if dtype != "bool" else y
    return y.astype(dtype)


def compare_unary(name, host, device):
    assert_same(SIM[name](device), CPU[name](host), TOLERANCE.get(host.dtype.name, 0))


# ------------------------------------------------------------------ every op
@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_one_argument(name, dtype):
    host = sample(dtype)
    device = put(host)
    for layout in LAYOUTS.values():
        compare_unary(name, layout(host), layout(device))


@pytest.mark.parametrize(("name", "dtype"), BINARY)
def test_two_arguments(name, dtype):
    x, y = sample(dtype), second(name, dtype)
    if name == "pow" and dtype in FLOATS:
        x = np.abs(x)
    p, q = put(x), put(y)
    tolerance = TOLERANCE.get(dtype, 0)
    for layout in LAYOUTS.values():
        expected = CPU[name](layout(x), layout(y))
        assert_same(SIM[name](layout(p), layout(q)), expected, tolerance)
    # other layouts against each other, broadcast, and numbers
    for view, other in ((lambda a: a, lambda a: a[:1]), (lambda a: a[:, 2:3], lambda a: a[3])):
        assert_same(SIM[name](view(p), other(q)), CPU[name](view(x), other(y)), tolerance)
        assert_same(SIM[name](other(p), view(q)), CPU[name](other(x), view(y)), tolerance)
    if name in BACKWARD:
        return  # no derivative is a number
    number = y[0, 0].item()
    for layout in ("contiguous", "stepped", "0-d"):
        a, b = LAYOUTS[layout](x), LAYOUTS[layout](p)
        if a.ndim or dtype != "bool":
            assert_same(SIM[name](b, number), np.asarray(CPU[name](a, number)), tolerance)
    if name not in ("pow", "bce_with_logits"):  # they have no number there
        number = x[0, 0].item()
        assert_same(SIM[name](number, q), CPU[name](number, y), tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(dtype):
    x, y, condition = sample(dtype), sample(dtype, seed=1), sample("bool", seed=2)
    p, q, c = put(x), put(y), put(condition)
    for layout in LAYOUTS.values():
        expected = CPU["where"](layout(x), layout(y), condition=layout(condition))
        assert_same(SIM["where"](layout(p), layout(q), condition=layout(c)), expected)
    row = CPU["where"](x[0], y[:, :1], condition=condition)
    assert_same(SIM["where"](p[0], q[:, :1], condition=c), row)
    number = x[0, 0].item()
    assert_same(SIM["where"](number, q, condition=c), np.where(condition, x[0, 0], y))
    assert_same(SIM["where"](p, number, condition=c[0]), np.where(condition[0], x, x[0, 0]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("n", [*range(1, 71), 10_000])
def test_every_length_around_a_pack(n, dtype):
    x, y = sample(dtype, (n + 1,)), sample(dtype, (n + 1,), seed=1)
    p, q = put(x), put(y)
    assert_same(SIM["add"](p[:n], q[:n]), x[:n] + y[:n])
    assert_same(SIM["add"](p[1:], q[1:]), x[1:] + y[1:])  # not a multiple of 16
    assert_same(SIM["add"](p[1:], q[:n]), x[1:] + y[:n])
    assert_same(SIM["lt"](p[:n], q[:n]), x[:n] < y[:n])
    assert_same(SIM["neg"](p[:n]), -x[:n])
    assert_same(SIM["cast"](p[:n], np.dtype("float64"), None), x[:n].astype("float64"))
    assert_same(SIM["neg"](p[1:]), -x[1:])
    assert_same(SIM["clone"](p[1:]), x[1:])
    chosen = x > y
    for part in (slice(0, n), slice(1, None)):
        given = SIM["where"](p[part], q[part], condition=put(chosen)[part])
        assert_same(given, np.where(chosen, x, y)[part])
    SIM["copy_"](p[1:], 1)
    assert_same(p, [*x[:1], *[x.dtype.type(1)] * n])


@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
def test_a_grid_smaller_than_the_data(schedule):
    x = sample("float32", (50, 1001))
    with config(schedule=schedule):
        p = put(x)
        assert_same(SIM["mul"](p, p), x * x)
        assert_same(SIM["mul"](p.T, p.T), (x * x).T)
        assert_same(SIM["add"](p, p[:1]), x + x[:1])
        assert_same(SIM["clone"](p.T), x.T)
        x, p = (a.reshape(5, 77, 130)[:, ::2, ::3] for a in (x, p))
        assert_same(SIM["mul"](p, p), x * x)


# ------------------------------------------------------------------ special values
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -0.5, -2.5, 1e4, -1e4]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*UNARY_ON_NUMBERS, *FUNCTIONS])
def test_special_values_of_one_argument(name, dtype):
    x = np.array(SPECIAL, dtype)
    if name in ("sin", "cos", "tan"):
        x = x[np.abs(x) < 100]
    compare_unary(name, x, put(x))
    if name in ("neg", "floor", "ceil", "trunc", "round", "sqrt"):
        zero = np.array([0.0, -0.0], dtype)
        given = SIM[name](put(zero)).get()
        np.testing.assert_array_equal(np.signbit(given), np.signbit(CPU[name](zero)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*EVERYWHERE, *ON_NUMBERS, *ON_FLOATS])
def test_special_values_of_two_arguments(name, dtype):
    x, y = (np.array(v, dtype) for v in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    if name in BACKWARD:  # of results: their squares are finite
        y = np.where(np.abs(y) > 100, y.dtype.type(1), y)
    if name == "relu_backward":  # the CPU multiplies by 0, see there
        expected = np.where(y == 0, x.dtype.type(0), x)
    else:
        expected = np.asarray(CPU[name](x, y))
    given = SIM[name](put(x), put(y))
    assert_same(given, expected, TOLERANCE[dtype])
    if name in ("floor_divide", "remainder", "div", "mul"):
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(given.get())[known], np.signbit(expected)[known])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_extremes_wrap_around(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x, y = (
        np.array(v, dtype)
        for v in zip(*itertools.product([low, low + 1, -1, 0, 1, high], [low, -1, 1, 3, high]),
                     strict=True)
    )  # fmt: skip
    p, q = put(x), put(y)
    for name in ("add", "sub", "mul", "floor_divide", "remainder", "maximum", "lt"):
        with np.errstate(all="ignore"):
            assert_same(SIM[name](p, q), CPU[name](x, y))
    assert_same(SIM["neg"](p), -x)
    assert_same(SIM["abs"](p), np.abs(x))


# ------------------------------------------------------------------ operands without a result
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
@pytest.mark.parametrize("dtype", WHOLE)
def test_integer_division_by_zero(name, dtype):
    x = minitorch.tensor([4, 5], device="sim").to(getattr(minitorch, dtype))
    message = f"{name}: integer division by zero"
    for of, zero in ((x, x * 0), (x.expand(2, 2), (x * 0).unsqueeze(1))):
        result = tensor_of(SIM[name](of.array, zero.array))
        with pytest.raises(RuntimeError, match=message):
            result.tolist()
        assert x.tolist() == [4, 5]  # raised once
    with pytest.raises(RuntimeError, match=message):
        SIM[name](x.array, 0)
    assert SIM[name](x[:0].array, 0).shape == (0,)


@pytest.mark.parametrize("name", ["add", "lt", "exp"])
def test_a_plan_serves_operands_of_its_kind(name, monkeypatch):
    """The second launch takes no look at its operands' layout; others take theirs."""
    gpu, made = backend.named("sim").gpu, []

    def note(launch):
        run = getattr(gpu, launch)
        monkeypatch.setattr(gpu, launch, lambda *args: made.append(launch) or run(*args))

    note("launch_contiguous")
    note("launch_strided")
    rng = np.random.default_rng(0)
    n = 1 if name == "exp" else 2
    for layout, dtype, expected in (
        (lambda a: a, "float32", ["launch_contiguous"]),
        (lambda a: a, "float32", []),
        (lambda a: a.T, "float32", ["launch_strided"]),
        (lambda a: a.T, "float32", ["launch_strided"]),
        (lambda a: a, "float64", ["launch_contiguous"]),
        (lambda a: a, "float32", []),
    ):
        arrays = [rng.random((17, 17)).astype(dtype) for _ in range(n)]
        on_sim = [backend.named("sim").from_host(a, 0) for a in arrays]
        made.clear()
        result = SIM[name](*map(layout, on_sim))
        assert made == expected
        np.testing.assert_allclose(
            backend.named("sim").to_host(result), CPU[name](*map(layout, arrays)), rtol=1e-6
        )
        out = backend.named("sim").from_host(np.zeros_like(CPU[name](*arrays)), 0)
        assert SIM[name](*on_sim, out=out) is out
        np.testing.assert_allclose(backend.named("sim").to_host(out), CPU[name](*arrays), rtol=1e-6)


def test_negative_powers_of_integers():
    x = minitorch.tensor([2, 3], device="sim")
    result = x ** minitorch.tensor([1, -1], device="sim")
    with pytest.raises(RuntimeError, match="integers to negative integer powers"):
        result.tolist()


def test_dtypes_that_an_op_does_not_have():
    bits = put(sample("bool"))
    with pytest.raises(TypeError, match="neg: not supported for bool"):
        SIM["neg"](bits)
    with pytest.raises(TypeError, match="sub: not supported for bool"):
        SIM["sub"](bits, bits)
    with pytest.raises(TypeError, match="add: expected one dtype, got bool and float32"):
        SIM["add"](bits, put(sample("float32")))


# ------------------------------------------------------------------ conversions
@pytest.mark.parametrize(("source", "dtype"), [*itertools.product(DTYPES, DTYPES)])
def test_cast(source, dtype):
    x = sample(source, (6, 23))
    if source in FLOATS:
        x.flat[:19] = [*SPECIAL, 300.7, -129.2, 65504, 3e4, 5e-8]
    if source in ("int32", "int64"):
        x.flat[:4] = [np.iinfo(source).min, np.iinfo(source).max, 70_000, 256]
    if source == "float64":
        x.flat[20:24] = [3e9, 1e30, 2049.0000001, 1 + 2**-11 + 2**-40]
    p = put(x)
    with np.errstate(all="ignore"):
        for layout in LAYOUTS.values():
            expected = layout(x).astype(dtype)
            given = SIM["cast"](layout(p), np.dtype(dtype), source=x.dtype)
            assert_same(given, expected, 0)


def test_doubles_are_rounded_to_halves_once():
    rng = np.random.default_rng(0)
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = (halves[:-1] + halves[1:]) / 2
    x = np.concatenate([middle, middle * (1 + 2**-50), middle * (1 - 2**-50), -middle])
    rng.shuffle(x)
    x = x[np.abs(x) > 1e-5]
    given = SIM["cast"](put(x), np.dtype("float16"), source=x.dtype)
    assert_same(given, x.astype(np.float16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bfloat16_to_and_from_other_dtypes(dtype):
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[(bits & 0x7FFF == 0) | (bits & 0x7F80 > 0)].view("bfloat16")  # no subnormal ones
    single = bits.astype(np.float32)
    x = sample(dtype)
    if dtype == "float32":  # between two neighbours, and just beside the middle
        words = (np.arange(1 << 16, dtype=np.uint32) << 16)[:, None] + np.array(
            [0, 0x7FFF, 0x8000, 0x8001], np.uint32
        )
        x = words.view(np.float32)
        x = x[~np.isnan(x) & ((np.abs(x) > 1e-37) | (x == 0))]
    with np.errstate(all="ignore"):
        given = SIM["cast"](put(bits), np.dtype(dtype), source=bits.dtype)
        assert_same(given, single.astype(dtype), 0)
        given = SIM["cast"](put(x), np.dtype("bfloat16"), source=x.dtype).get()
        np.testing.assert_array_equal(given.view(np.uint16), x.astype("bfloat16").view(np.uint16))


# ------------------------------------------------------------------ out=, overlaps
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "stepped", "reversed"])
def test_out_of_any_layout_and_dtype(layout, dtype):
    x, y = sample("float32"), sample("float32", seed=1)
    view = LAYOUTS[layout]
    for name, arguments in (("add", (x, y)), ("exp", (x,)), ("mul", (x, 2.0)), ("clone", (x,))):
        expected, given = (np.zeros((6, 20), dtype) for _ in range(2))
        with np.errstate(all="ignore"):
            result = CPU[name](*[a if isinstance(a, float) else view(a) for a in arguments])
            view(expected)[...] = result.astype(dtype)
        memory = put(given)
        out = view(memory)
        device = [a if isinstance(a, float) else view(put(a)) for a in arguments]
        assert SIM[name](*device, out=out) is out
        assert_same(memory, expected, 2e-3 if dtype == "float16" else 2e-6)


def test_out_that_does_not_fit():
    x = put(sample("float32"))
    with pytest.raises(ValueError, match="could not broadcast"):
        SIM["neg"](x, out=x[0])
    with pytest.raises(ValueError, match="broadcast"):
        SIM["add"](x, x[:, :7])
    wide = minitorch.zeros(1, 3, device="sim").expand(2, 3).array
    with pytest.raises(ValueError, match="read-only"):
        SIM["add"](wide, 1.0, out=wide)


def test_operands_that_overlap_their_result():
    host = sample("float32", (5, 40))
    for read, write in (
        (lambda a: a[:-1], lambda a: a[1:]),
        (lambda a: a[::-1], lambda a: a),
        (lambda a: a[:, :-1], lambda a: a[:, 1:]),
        (lambda a: a[0], lambda a: a),
    ):
        expected, memory = host.copy(), put(host)
        np.add(write(expected), read(expected), out=write(expected))
        SIM["add"](write(memory), read(memory), out=write(memory))
        assert_same(memory, expected)
        np.copyto(write(expected), read(expected))
        SIM["copy_"](write(memory), read(memory))
        assert_same(memory, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copy_into_any_layout(dtype):
    for name, layout in LAYOUTS.items():
        expected = sample(dtype)
        memory = put(expected)
        row = sample("float64", seed=3)
        source = (
            np.broadcast_to(row[:1, 0], layout(row).shape) if name == "stepped" else layout(row)
        )
        device = put(row)[:1, 0] if name == "stepped" else layout(put(row))
        with np.errstate(all="ignore"):
            layout(expected)[...] = source.astype(dtype)
        SIM["copy_"](layout(memory), device)
        assert_same(memory, expected)
        layout(expected)[...] = 1
        SIM["copy_"](layout(memory), 1)
        assert_same(memory, expected)


def test_transfer_goes_both_ways():
    x = sample("int32")
    there = SIM["transfer"](put(x).T, backend.Device("cpu"))
    np.testing.assert_array_equal(there, x.T)
    back = CPU["transfer"](there, backend.Device("sim", 1))
    assert back.device.id == 1
    assert_same(SIM["add"](back, back), x.T * 2)


# ------------------------------------------------------------------ strided iteration
def test_dimensions_that_lie_in_a_row_are_merged():
    assert strides.merge((2, 3, 4), (12, 4, 1)) == ((24,), ((1,),))
    assert strides.merge((2, 3, 4), (12, 4, 1), (0, 0, 1)) == ((6, 4), ((4, 1), (0, 1)))
    assert strides.merge((2, 1, 4), (4, 9, 1), (4, 0, 1)) == ((8,), ((1,), (1,)))
    assert strides.merge((1, 1), (5, 5)) == ((), ((),))


def test_more_dimensions_than_a_kernel_has():
    x = sample("float32", (2,) * 11)
    order = (10, 3, 8, 1, 6, 5, 4, 7, 2, 9, 0)
    p = put(x).transpose(order)
    assert_same(SIM["clone"](p), x.transpose(order))
    assert_same(SIM["add"](p, put(x)), x.transpose(order) + x)


def test_places_past_32_bits():
    def narrow(shape, *steps):
        others = tuple((shape, step, 1) for step in steps[1:])
        ((form, _, _),) = strides._struct_tails(shape, 1, (1, steps[0]), others, (0,) * len(steps))
        return strides.struct_of(strides.iteration_type(len(steps)), [0] * len(steps), form)[
            "narrow"
        ]

    assert not narrow((2**16, 2**16), (2**16, 1), (1, 2**16))
    assert not narrow((4, 4), (2**30, 1))
    assert narrow((4, 4), (-4, 1))


def test_wide_positions_iterate_as_narrow_ones(monkeypatch):
    x = sample("float32")
    strides._struct_tails.cache_clear()
    monkeypatch.setattr(strides, "_narrow", lambda shape, steps: False)
    try:
        assert_same(SIM["add"](put(x)[::-1].T, put(x)[:, ::2][:, :1].T), x[::-1].T + x[:, :1].T)
        assert_same(SIM["clone"](put(x)[::-2, ::-1]), x[::-2, ::-1])
    finally:
        strides._struct_tails.cache_clear()


# What is broadcast or cut out of rows: (both operands of an array (6, 64), packs of 16 bytes).
PACKED = {
    "a row": (lambda a: a, lambda a: a[0], True),
    "a column": (lambda a: a, lambda a: a[:, :1], True),
    "one element": (lambda a: a, lambda a: a[2:3, 3:4], True),
    "parts of rows": (lambda a: a[:, 16:48], lambda a: a[:, :32], True),
    "every other row": (lambda a: a[::2], lambda a: a[::-2], True),
    "stacks": (lambda a: a.reshape(6, 4, 16), lambda a: a.reshape(6, 4, 16)[:1], True),
    "odd parts": (lambda a: a[:, 16:47], lambda a: a[:, :31], False),
    "parts from an odd place on": (lambda a: a[:, 1:33], lambda a: a[:, :32], False),
    "every other element": (lambda a: a[:, ::2], lambda a: a[:, :32], False),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", PACKED)
def test_rows_are_read_in_packs(layout, dtype):
    first, second, packed = PACKED[layout]
    x, y = sample(dtype, (6, 64), 1), sample(dtype, (6, 64), 2)
    condition = sample("bool", (6, 64), 3)
    a, b, c = put(x), put(y), put(condition)
    with minitorch.sim.config(checked=True, counted=True):
        minitorch.sim.clear()
        for op in ("add", "lt", "maximum"):
            assert_same(SIM[op](first(a), second(b)), CPU[op](first(x), second(y)))
            assert_same(SIM[op](second(b), first(a)), CPU[op](second(y), first(x)))
        chosen = SIM["where"](first(a), second(b), first(c))
        assert_same(chosen, CPU["where"](first(x), second(y), first(condition)))
        if dtype != "bool":
            assert_same(SIM["relu"](first(a)), CPU["relu"](first(x)))
    runs = [r for r in minitorch.sim.launches() if "strided" in r.name and r.kind == "kernel"]
    sizes = {line.size for r in runs for line in r.lines if line.access == "read"}
    assert runs and (16 in sizes) == packed

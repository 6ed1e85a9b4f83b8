"""Matrix products, linear, cross-entropy on the simulated GPU; launches of a training step."""

import math

import numpy as np
import pytest
import torch

import minitorch
import minitorch.sim
from minitorch import backend, fused, nn
from minitorch.backend import sim
from minitorch.backend.cpu.fused import ACTIVATIONS
from minitorch.backend.cuda.fused import REDUCTIONS

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

F = nn.functional
CPU = backend.named("cpu").kernels
SIM = backend.named("sim").kernels
FLOATS = ["float16", "bfloat16", "float32", "float64"]
DTYPES = [*FLOATS, "uint8", "int8", "int16", "int32", "int64", "bool"]
TOLERANCE = {"float16": 8e-3, "bfloat16": 6.4e-2, "float32": 3e-6, "float64": 1e-13}


def numbers(shape, dtype, seed=0):
    drawn = np.random.default_rng(seed).normal(size=shape)
    if dtype == "bool":
        return drawn > 1
    return (drawn if dtype in FLOATS else np.abs(drawn) * 3).astype(dtype)


def on_sim(a):
    return sim.asarray(np.ascontiguousarray(a)).reshape(a.shape)


def close(got, expected, dtype):
    got = got.get() if isinstance(got, sim.ndarray) else got
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    limit = TOLERANCE.get(dtype, 0)
    np.testing.assert_allclose(
        got.astype(np.float64), expected.astype(np.float64), rtol=limit, atol=limit
    )


def kernels():
    """Names of the kernels and matrix products since the log was cleared."""
    return [r.name.split(" ")[0] for r in minitorch.sim.launches() if r.kind in ("kernel", "gemm")]


def others():
    """What else stands in the log: copies, synchronisations."""
    return [r.kind for r in minitorch.sim.launches() if r.kind not in ("kernel", "gemm")]


@pytest.fixture(params=[False, True], ids=["fast", "checked"])
def build(request):
    with minitorch.sim.config(checked=request.param):
        yield


@pytest.fixture
def own_gemm(monkeypatch):
    """Products without cublasLt."""
    monkeypatch.setattr(backend.named("sim").gpu, "products", None)


# ---------------------------------------------------------------------- matrix products
SHAPES = [
    ((3, 4), (4, 5)),
    ((1, 1), (1, 1)),
    ((70, 33), (33, 129)),
    ((2, 0), (0, 3)),
    ((0, 4), (4, 2)),
    ((5, 3, 4), (4, 2)),
    ((2, 1, 3, 17), (4, 17, 2)),
    ((3, 4), (2, 3, 4, 5)),
    ((2, 0, 3, 4), (4, 5)),
]


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul(a, b, dtype):
    x, y = numbers(a, dtype), numbers(b, dtype, 1)
    close(SIM["matmul"](on_sim(x), on_sim(y)), CPU["matmul"](x, y), dtype)


@pytest.mark.usefixtures("own_gemm", "build")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_our_own_matrix_product(a, b, dtype):
    x, y = numbers(a, dtype), numbers(b, dtype, 1)
    expected = np.matmul(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    minitorch.sim.clear()
    got = SIM["matmul"](on_sim(x), on_sim(y))
    assert not [name for name in kernels() if name.startswith("gemm")]
    limit = {"float16": 4e-3, "bfloat16": 3.2e-2, "float32": 2e-5}.get(dtype, 1e-12)
    np.testing.assert_allclose(
        got.get().astype(np.float64), expected.astype(np.float64), rtol=limit, atol=limit
    )


def test_a_product_of_one_element_is_exact_in_halves():
    x, y = (np.array([300, 300, n], np.float16) for n in (1, 0.5))
    y[1] = -300
    got = SIM["matmul"](on_sim(x[None]), on_sim(y[:, None]))
    assert got.shape == (1, 1) and got.get().item() == 0.5


# Of a stack and a matrix (5, 2) or stacks: the one product that they are, with no copy before it.
ONE_PRODUCT = {
    "matrix": (lambda a: a, (5, 2), "m=12 n=2 k=5 batch=1"),
    "strided": (lambda a: a.transpose(1, 0, 2), (5, 2), "m=4 n=2 k=5 batch=3"),
    "stacks": (lambda a: a, (4, 5, 2), "m=3 n=2 k=5 batch=4"),
    "q @ k.mT": (lambda a: a, (4, 2, 5), "m=3 n=2 k=5 batch=4"),
    "x.mT @ g": (lambda a: a.transpose(0, 2, 1), (4, 3, 2), "m=5 n=2 k=3 batch=4"),
    "every second row": (lambda a: a[:, ::2], (5, 2), "m=2 n=2 k=5 batch=4"),
    "heads": (lambda a: a.reshape(1, 3, 4, 5).transpose(0, 2, 1, 3), (1, 4, 2, 5), "batch=4"),
    "expanded": (lambda a: a[:1], (4, 5, 2), "m=3 n=2 k=5 batch=4"),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ONE_PRODUCT)
def test_a_stack_of_products_is_one_and_copies_nothing(kind, dtype):
    view, shape, sizes = ONE_PRODUCT[kind]
    x, y = numbers((4, 3, 5), dtype), numbers(shape, dtype, 1)
    a, b = view(on_sim(x)), on_sim(y)
    x = view(x)
    if shape[-1] == 5:
        y, b = np.swapaxes(y, -1, -2), b.transpose(*range(len(shape) - 2), -1, -2)
    minitorch.sim.clear()
    got = SIM["matmul"](a, b)
    (only,) = minitorch.sim.launches()
    assert only.name.startswith(f"gemm_{dtype} ") and only.name.endswith(sizes)
    close(got, CPU["matmul"](x, y), dtype)


LAYOUTS = {
    "transposed": (lambda a: a.T, (5, 7), (9, 5)),
    "stepped": (lambda a: a[::2, 1::2], (13, 10), (9, 12)),
    "reversed": (lambda a: a[::-1, ::-1], (7, 5), (5, 9)),
    "swapped stack": (lambda a: a.transpose(1, 2, 0), (5, 2, 7), (9, 2, 5)),
    "offset": (lambda a: a.reshape(-1)[1:].reshape(4, 4), (17,), (17,)),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matmul_of_views(layout, dtype):
    view, a, b = LAYOUTS[layout]
    x, y = numbers(a, dtype), numbers(b, dtype, 1)
    close(SIM["matmul"](view(on_sim(x)), view(on_sim(y))), np.matmul(view(x), view(y)), dtype)


@pytest.mark.usefixtures("own_gemm")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_our_own_matrix_product_of_views(layout):
    view, a, b = LAYOUTS[layout]
    x, y = numbers(a, "float64"), numbers(b, "float64", 1)
    close(SIM["matmul"](view(on_sim(x)), view(on_sim(y))), np.matmul(view(x), view(y)), "float64")


# A matrix as a view of another one: with whole quads in memory, without, and at odd addresses.
WIDE = {
    "by rows": on_sim,
    "by columns": lambda a: on_sim(a.T).T,
    "every second": lambda a: on_sim(np.repeat(a, 2, 1))[:, ::2],
    "an odd address": lambda a: on_sim(np.pad(a, ((0, 0), (1, 0))))[:, 1:],
}


@pytest.mark.usefixtures("own_gemm", "build")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("layout", WIDE)
@pytest.mark.parametrize(("k", "columns"), [(21, 259), (196, 132)])  # of these one in two parts
def test_large_products_have_wide_tiles(k, columns, layout, dtype):
    x, y = numbers((130, k), dtype) / 4, numbers((k, columns), dtype, 1)
    bias = numbers((columns,), dtype, 2)
    a, b = WIDE[layout](x), WIDE[layout](y)
    minitorch.sim.clear()
    got = [SIM["matmul"](a, b), SIM["linear"](a, b.T, on_sim(bias), "relu")[0]]
    suffix = {"float16": "f16", "float32": "f32"}[dtype]
    assert kernels() == [f"matmul_wide_{suffix}", f"matmul_linear_wide_{suffix}"]
    exact = x.astype(float) @ y.astype(float)
    for mine, expected in zip(got, (exact, np.maximum(exact + bias, 0))):
        close(mine, expected.astype(dtype), dtype)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "columns"), [((70, 33), 129), ((3, 500), 4), ((2, 3, 200), 10), ((1, 1), 1)]
)
def test_a_linear_layer_by_our_own_products(shape, columns, activation, dtype, request):
    """One launch forward, two backward; parts of the inner dimension are added up in order."""
    x, g = numbers(shape, dtype), numbers((*shape[:-1], columns), dtype, 1)
    weight, bias = numbers((columns, shape[-1]), dtype, 2), numbers((columns,), dtype, 3)
    device = [on_sim(a) for a in (x, weight, bias)]
    found = []
    for own in (False, True):
        if own:
            request.getfixturevalue("own_gemm")
        minitorch.sim.clear()
        out, *saved = SIM["linear"](*device, activation=activation)
        needs = {"needs": (True, True, True), "activation": activation}
        found.append([out, *SIM["linear_backward"](on_sim(g), *saved, **needs)])
    assert kernels() == [f"matmul_{name}_{SUFFIX[dtype]}" for name in LINEAR]
    limit = {"float32": 5e-4, "float64": 1e-11}[dtype]
    for mine, theirs in zip(found[1], found[0], strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine.get(), theirs.get(), rtol=limit, atol=limit)


LINEAR, SUFFIX = ("linear", "backward", "backward"), {"float32": "f32", "float64": "f64"}


@pytest.fixture
def highest():
    yield
    minitorch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("highest")
def test_precision_of_products():
    """It reaches cublasLt for float32, and is taken back."""
    assert minitorch.get_float32_matmul_precision() == "highest"
    for precision, suffix in (("highest", ""), ("high", "_tf32"), ("medium", "_tf32")) * 2:
        minitorch.set_float32_matmul_precision(precision)
        assert minitorch.get_float32_matmul_precision() == precision
        for dtype in FLOATS:
            x, y = numbers((3, 4), dtype), numbers((4, 5), dtype, 1)
            minitorch.sim.clear()
            close(SIM["matmul"](on_sim(x), on_sim(y)), CPU["matmul"](x, y), dtype)
            assert kernels() == [f"gemm_{dtype}" + suffix * (dtype == "float32")]
    with pytest.raises(ValueError, match="expected one of 'highest', 'high', 'medium', got 'low'"):
        minitorch.set_float32_matmul_precision("low")
    assert minitorch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("kind", ["plain", "strided", "other dtype", "an operand"])
def test_matmul_into_out(kind, dtype):
    x, y = numbers((4, 4), dtype), numbers((4, 4), dtype, 1)
    a, b = on_sim(x), on_sim(y)
    out = {
        "plain": lambda: sim.empty((4, 4), dtype),
        "strided": lambda: sim.empty((4, 8), dtype)[:, ::2],
        "other dtype": lambda: sim.empty((4, 4), "float64"),
        "an operand": lambda: a,
    }[kind]()
    assert SIM["matmul"](a, b, out=out) is out
    expected = np.matmul(x, y)
    close(out.get(), expected.astype(out.dtype), dtype)


def test_leading_dimensions_that_do_not_broadcast():
    with pytest.raises(RuntimeError, match="leading dimensions do not broadcast"):
        minitorch.zeros(2, 3, 4, device="sim") @ minitorch.zeros(3, 4, 5, device="sim")


# ---------------------------------------------------------------------- linear
@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 3, 2), (5, 7, 9), (33, 8, 40), (0, 3, 4), (3, 0, 2)])
def test_linear_and_its_gradients(shape, activation, dtype):
    n, inner, columns = shape
    x, weight = numbers((n, inner), dtype), numbers((columns, inner), dtype, 1)
    bias, g = numbers((columns,), dtype, 2), numbers((n, columns), dtype, 3)
    out, *kept = CPU["linear"](x, weight, bias, activation=activation)
    expected = CPU["linear_backward"](g, *kept, needs=(True,) * 3, activation=activation)
    got, *kept = SIM["linear"](*map(on_sim, (x, weight, bias)), activation=activation)
    close(got, out, dtype)
    kept = [on_sim(x), on_sim(weight), kept[2]]
    grads = SIM["linear_backward"](on_sim(g), *kept, needs=(True,) * 3, activation=activation)
    for mine, theirs in zip(grads, expected, strict=True):
        # Halves are rounded after every step; else errors of a sum are as many random steps.
        limit = 10 if dtype in FLOATS[:2] else math.sqrt(max(1, *shape))
        np.testing.assert_allclose(
            mine.get().astype(float),
            theirs.astype(float),
            rtol=limit * TOLERANCE[dtype],
            atol=limit * TOLERANCE[dtype],
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("rows", [256, 257, 9000, 17_000])  # of the last two, 8 partial sums
def test_bias_gradients_of_many_rows_in_one_or_two_stages(rows, activation, dtype):
    g, seen = numbers((rows, 5), dtype), numbers((rows, 5), dtype, 1)
    x, weight = numbers((rows, 1), dtype), numbers((5, 1), dtype)
    needs = (False, False, True)
    seen_or_none = None if activation == "none" else seen
    exact = (a.astype("float64") for a in (g, x, weight, seen))
    expected = CPU["linear_backward"](*exact, needs, activation)[2]
    minitorch.sim.clear()
    seen_or_none = None if seen_or_none is None else on_sim(seen)
    args = (on_sim(g), on_sim(x), on_sim(weight), seen_or_none, needs, activation)
    grads = SIM["linear_backward"](*args)
    stages = [name.rpartition("_")[0] for name in kernels()]
    assert stages == ["activation_backward"] + ["sum_parts"] * (rows > 256)
    assert grads[:2] == [None, None]
    rtol, atol = {"float16": (1e-3, 1e-2), "bfloat16": (8e-3, 8e-2), "float32": (1e-5, 1e-4)}.get(
        dtype, (1e-13, 1e-11)
    )
    np.testing.assert_allclose(grads[2].get(), expected, rtol=rtol, atol=atol)
    again = SIM["linear_backward"](*args)
    assert again[2].get().tolist() == grads[2].get().tolist()


@pytest.mark.parametrize(("columns", "products"), [(8, ["gelu_aux_bias"]), (7, ["", "own"])])
def test_a_layer_with_the_gelu_of_tanh_is_one_product_that_keeps_its_argument(columns, products):
    """What is kept has a multiple of 8 columns, or else the activation is a launch of its own."""
    x, weight, bias = numbers((5, 3), "float32"), numbers((columns, 3), "float32", 1), None
    bias = numbers((columns,), "float32", 2)
    for _ in range(2):  # the second time with memory at other addresses
        minitorch.sim.clear()
        out, *_, before = SIM["linear"](*map(on_sim, (x, weight, bias)), activation="gelu_tanh")
        names = kernels()
        exact = torch.tensor(x @ weight.T + bias)
        close(before, exact.numpy(), "float32")
        close(out, torch.nn.functional.gelu(exact, approximate="tanh").numpy(), "float32")
    ends = {"": "gemm_float32", "own": "bias_activation_f32"}
    assert names == [ends.get(name, f"gemm_float32_{name}") for name in products]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_takes_views_of_every_kind(activation):
    rng = np.random.default_rng(0)
    results = []
    values = [rng.normal(size=s) for s in [(7, 2, 5), (7, 3), (6,), (2, 5, 3)]]
    for device in ("cpu", "sim"):
        x, weight, bias, g = [minitorch.tensor(v, device=device) for v in values]
        for t in (x, weight, bias):
            t.requires_grad_()
        y = fused.linear(x.permute(1, 2, 0), weight.t(), bias[::2], activation)
        y.backward(g)
        results.append([t.detach().cpu().numpy() for t in (y, x.grad, weight.grad, bias.grad)])
    for mine, theirs in zip(*results):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [0, 1])
def test_bias_and_activation_of_unaligned_arrays(offset):
    """An address that is no multiple of 16 takes the way without 128-bit loads."""
    bias = numbers((9,), "float32")[offset : offset + 8]
    x, weight = numbers((3, 4), "float32"), numbers((8, 4), "float32", 1)
    whole = on_sim(numbers((9,), "float32"))
    with minitorch.sim.config(checked=True):
        got = SIM["linear"](on_sim(x), on_sim(weight), whole[offset : offset + 8], "gelu")
    for mine, theirs in zip(got, CPU["linear"](x, weight, bias, "gelu"), strict=True):
        close(mine, theirs, "float32")


# ---------------------------------------------------------------------- binary cross entropy
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (130, 33), (0, 2)])
def test_logistic_loss_and_its_gradient_in_one_launch(shape, reduction, dtype, build):
    x = 3 * numbers(shape, "float64").astype(dtype)
    target = (numbers(shape, "float64", 1) > 0).astype(dtype)
    minitorch.sim.clear()
    got = SIM["bce_with_logits_loss"](on_sim(x), on_sim(target), reduction=reduction)
    assert len(kernels()) == 1
    with np.errstate(all="ignore"):
        expected = CPU["bce_with_logits_loss"](x, target, reduction=reduction)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        limit = TOLERANCE[dtype]
        np.testing.assert_allclose(mine.get(), theirs, rtol=limit, atol=limit)


# ---------------------------------------------------------------------- cross entropy
CASES = [(1, 1), (6, 10), (20, 2), (9, 129), (3, 2000), (2, 13000), (2, 30000), (4100, 3)]


def losses(n, classes, dtype, reduction, ignored, target_dtype="int64"):
    """(loss, gradient) of both devices; a few targets are ignored."""
    x = 3 * numbers((n, classes), "float64").astype(dtype)
    target = np.random.default_rng(1).integers(0, classes, size=n)
    target[::4] = ignored
    target = target.astype(target_dtype)
    args = {"ignore_index": ignored, "reduction": reduction}
    return (
        SIM["cross_entropy"](on_sim(x), on_sim(target), **args),
        CPU["cross_entropy"](x, target, **args),
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("n", "classes"), CASES)
def test_cross_entropy_and_its_gradient_at_once(n, classes, reduction, dtype):
    minitorch.sim.clear()
    got, expected = losses(n, classes, dtype, reduction, -100)
    names = [name.rpartition("_")[0] for name in kernels()]
    counting = ["count_targets"] * (n > 4096 and reduction == "mean")
    parts = ["logsum_parts"] * (classes > 8192)  # of few long rows
    assert names[:-1] == counting + parts
    assert names[-1].startswith("cross_entropy_")
    if dtype == "float16":  # the CPU adds up in halves: more exact is better
        exact = losses(n, classes, "float64", reduction, -100)[1]
        got = [a.get().astype(np.float64) for a in got]
        for mine, theirs in zip(got, exact, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-2, atol=2e-3)
        return
    for mine, theirs in zip(got, expected, strict=True):
        close(mine, np.asarray(theirs), dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("classes", [7, 2000])
@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
def test_cross_entropy_checked(classes, reduction, schedule):
    with minitorch.sim.config(checked=True, schedule=schedule):
        for n in (3, 37):
            got, expected = losses(n, classes, "float32", reduction, 0)
            for mine, theirs in zip(got, expected, strict=True):
                close(mine, np.asarray(theirs), "float32")
        got, expected = losses(4100, 3, "float32", reduction, 2, "uint8")
        close(got[1], expected[1], "float32")


def test_cross_entropy_of_100_000_classes():
    got, expected = losses(2, 100_000, "float32", "mean", -1)
    for mine, theirs in zip(got, expected, strict=True):
        close(mine, np.asarray(theirs), "float32")


@pytest.mark.parametrize("classes", [5376, 5377, 6016])
def test_cross_entropy_of_rows_that_just_fit_into_shared_memory(classes):
    got, expected = losses(2, classes, "float64", "mean", -1)
    for mine, theirs in zip(got, expected, strict=True):
        close(mine, np.asarray(theirs), "float64")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("n", [0, 5])
def test_cross_entropy_without_a_target_that_counts(n, reduction):
    x = numbers((n, 4), "float32")
    target = np.full(n, 3)
    args = {"ignore_index": 3, "reduction": reduction}
    with np.errstate(all="ignore"):
        expected = CPU["cross_entropy"](x, target, **args)
    got = SIM["cross_entropy"](on_sim(x), on_sim(target), **args)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine.get(), theirs)


@pytest.mark.parametrize("classes", [5, 2000])
def test_cross_entropy_of_numbers_that_are_none(classes):
    x = numbers((5, classes), "float32")
    x[0, 1], x[1, 0], x[2, 3], x[3] = np.nan, np.inf, -np.inf, -np.inf
    target = np.array([1, 2, 3, 0, 4])
    args = {"ignore_index": -100, "reduction": "none"}
    expected = CPU["cross_entropy"](x, target, **args)
    got = SIM["cross_entropy"](on_sim(x), on_sim(target), **args)
    for mine, theirs in zip(got, expected, strict=True):
        close(mine, theirs, "float32")


@pytest.mark.parametrize("classes", [5, 2000])
@pytest.mark.parametrize("bad", [-1, "classes", 10**10])
def test_a_target_that_is_out_of_range(bad, classes):
    bad = classes if bad == "classes" else bad
    x = minitorch.zeros(3, classes, device="sim", requires_grad=True)
    loss = F.cross_entropy(x, minitorch.tensor([0, bad, 1], device="sim"))
    message = rf"cross_entropy: target: {bad} is out of range \[0, {classes}\)"
    with pytest.raises(IndexError, match=message):
        loss.item()
    assert F.cross_entropy(x, minitorch.tensor([0, 2, 1], device="sim")).item() > 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_with_a_gradient_given(reduction):
    grads = []
    for device in ("cpu", "sim"):
        x = minitorch.tensor(numbers((4, 3), "float64"), device=device, requires_grad=True)
        loss = F.cross_entropy(
            x, minitorch.tensor([0, 2, -100, 1], device=device), reduction=reduction
        )
        g = numbers(tuple(loss.shape) or (1,), "float64", 5).reshape(tuple(loss.shape))
        loss.backward(minitorch.tensor(g, device=device))
        grads.append(x.grad.cpu().numpy())
    np.testing.assert_allclose(*grads, rtol=1e-12, atol=1e-14)


def test_the_implicit_gradient_of_a_loss_costs_nothing():
    x = minitorch.tensor(numbers((4, 3), "float32"), device="sim", requires_grad=True)
    target = minitorch.tensor([0, 2, 1, 1], device="sim")
    F.cross_entropy(x, target).backward()
    x.grad = None
    loss = F.cross_entropy(x, target)
    minitorch.sim.clear()
    loss.backward()
    assert kernels() == []
    expected = minitorch.tensor(numbers((4, 3), "float32"), device="cpu", requires_grad=True)
    F.cross_entropy(expected, target.cpu()).backward()
    close(x.grad.array, expected.grad.array, "float32")


# ---------------------------------------------------------------------- a training step
class Network(nn.Module):
    """What a user writes by hand."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 512)
        self.second = nn.Linear(512, 256)
        self.third = nn.Linear(256, 10)

    def forward(self, x):
        return self.third(F.relu(self.second(F.relu(self.first(x)))))


def sequence():
    return nn.Sequential(
        *(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    )


@pytest.mark.parametrize(("model", "most"), [(Network, 20), (sequence, 16)])
def test_launches_of_a_training_step(model, most):
    minitorch.manual_seed(0)
    model = model().to("sim")
    optimizer = minitorch.optim.Adam(model.parameters())
    x = minitorch.randn(128, 784).to("sim")
    target = minitorch.randint(0, 10, (128,)).to("sim")
    for _ in range(2):  # the first step also makes the optimizer's state
        minitorch.sim.clear()
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()
    names = kernels()
    assert len(names) <= most, "\n".join(names)
    assert others() == []

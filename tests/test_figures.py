"""The lectures' figures: which test covers each row, and the rows about differentiation."""

import ast
import io
import math
import tracemalloc
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

import minitorch
from minitorch import autograd, func, nn
from minitorch.core import engine
from minitorch.symbolic import differentiate, expression_size, graph_size, to_sympy
from minitorch.testing import numerical_jacobian
from minitorch.utils.flop_counter import FlopCounterMode
from tests.micro import Value
from tests.referee import array

TESTS = Path(__file__).parent
HERE = "test_figures.py"
LEARNING = "test_figures_learning.py"
SKIP_GRAM = "text/word2vec/test_skip_gram.py"

# Section -> row -> the tests that cover it, as file::function.
FIGURES = {
    "Computational graphs and reverse mode": {
        "y = 3√x (log x + 1/x²): values and gradients": [
            f"{HERE}::test_the_decks_values_and_gradients",
            "viz/test_traces.py::test_the_decks_figures_are_exact",
        ],
        "local derivatives": [f"{HERE}::test_local_derivatives_and_contributions"],
        "contributions into x": [f"{HERE}::test_local_derivatives_and_contributions"],
        "second derivative": [f"{HERE}::test_second_derivative"],
        "the deck's listing": [f"{HERE}::test_the_decks_listing_prints_the_same_lines"],
        "chain rule example y = (e^-x)²/x": [f"{HERE}::test_chain_rule_example"],
        "pictures: boxes, a frame a step": [
            "viz/test_graphs.py::test_boxes_show_data_and_grad_and_edges_their_contribution",
            "viz/test_graphs.py::test_frames_fill_forward_then_backward",
        ],
        "granularity of 3√x": [f"{HERE}::test_granularity"],
        "micrograd side by side": [f"{HERE}::test_a_scalar_engine_fits_the_same_toy"],
    },
    "Four ways to differentiate": {
        "f(x1, x2) = ln x1 + x1 x2 - sin x2: the table": [
            f"{HERE}::test_values_tangents_and_adjoints",
            "viz/test_traces.py::test_four_ways_values_tangents_and_adjoints",
        ],
        "gradient and Hessian": [f"{HERE}::test_gradient_and_hessian"],
        "numerical: forward and central differences": [f"{HERE}::test_numerical_errors"],
        "symbolic: rules, and growth": [
            f"{HERE}::test_symbolic_derivatives",
            "test_symbolic.py::test_expressions_grow_faster_than_graphs",
        ],
        "forward mode m passes, reverse mode n passes": [
            f"{HERE}::test_passes",
            "test_func.py::test_passes_are_counted",
        ],
        "backward costs twice the forward pass": [
            f"{HERE}::test_backward_costs_twice_the_forward_pass",
            "utils/test_flop_counter.py::test_beside_pytorch",
        ],
        "sum and copy are duals": [f"{HERE}::test_sum_and_copy_are_duals"],
        "the Jacobian of a sigmoid layer": [
            f"{HERE}::test_the_jacobian_of_a_sigmoid_layer_is_diagonal",
            f"{HERE}::test_a_vjp_never_forms_the_jacobian",
        ],
    },
    "Learning": {
        "perceptron": [f"{LEARNING}::test_perceptron"],
        "activations": [
            f"{LEARNING}::test_activations",
            f"{LEARNING}::test_softmax_is_positive_sums_to_one_and_is_stable",
        ],
        "OR, AND, XOR": [
            f"{LEARNING}::test_or_and_variants_are_learned_by_one_unit",
            f"{LEARNING}::test_xor_is_not_learned_by_one_unit",
            f"{LEARNING}::test_xor_is_learned_by_one_hidden_layer",
            "viz/test_learning.py::test_decision_regions_of_two_classes",
        ],
        "universal approximation": [
            f"{LEARNING}::test_universal_approximation_the_error_falls_with_the_width"
        ],
        "will my flight be delayed?": [f"{LEARNING}::test_will_my_flight_be_delayed"],
        "losses and regularisers": [
            f"{LEARNING}::test_losses_mse_binary_and_multi_class_cross_entropy",
            f"{LEARNING}::test_losses_plus_a_regulariser",
        ],
        "hand formulas: logistic regression, a chain, a net": [
            f"{LEARNING}::test_logistic_regression_on_three_points_equals_the_hand_formula",
            f"{LEARNING}::test_chain_of_two_sigmoids_equals_the_hand_formula",
            f"{LEARNING}::test_net_of_two_hidden_units_equals_the_hand_formula",
        ],
        "gradient descent on x² + 2x + 3": [
            f"{LEARNING}::test_gradient_descent_with_rate_a_tenth_takes_67_steps",
            f"{LEARNING}::test_gradient_descent_with_rate_a_half_takes_one_step",
            f"{LEARNING}::test_gradient_descent_with_rate_one_cycles",
            f"{LEARNING}::test_gradient_descent_with_rate_eleven_tenths_diverges",
        ],
        "mini-batches, epochs, five optimizers": [
            f"{LEARNING}::test_mini_batch_gradients_are_unbiased",
            f"{LEARNING}::test_an_epoch_sees_each_example_once",
            f"{LEARNING}::test_five_optimizers_equal_their_formula_and_pytorch",
            "viz/test_learning.py::test_trajectories",
        ],
        "modules: feed-forward, interweaved, loopy": [
            f"{LEARNING}::test_modules_feed_forward",
            f"{LEARNING}::test_modules_interweaved_any_dag",
            f"{LEARNING}::test_modules_loopy_an_unrolled_rnn_trains",
            f"{LEARNING}::test_modules_a_true_cycle_is_an_error",
        ],
        "demo: a playground page": [
            "data/test_planar.py::test_the_names",
            "apps/test_playground.py::test_classes_are_learned",
            "apps/test_playground.py::test_regression_is_learned",
            "apps/test_pages.py::test_the_playground_trains_while_it_plays",
        ],
    },
    "Words": {
        "one-hot; a dense gradient's size": ["test_examples.py::test_words"],
        "keyword in context": ["text/test_cooccurrence.py::test_keyword_in_context"],
        "window-1 co-occurrence": ["text/test_cooccurrence.py::test_the_decks_corpus"],
        "LSA of nine titles": [
            "text/test_lsa.py::test_the_nine_titles",
            "text/test_lsa.py::test_the_nine_titles_at_rank_two",
        ],
        "toy local loss, CBOW, skip-gram, full softmax": [
            "test_examples.py::test_words",
            "text/word2vec/test_cbow.py::test_loss_and_gradient_equal_torch",
            f"{SKIP_GRAM}::test_fused_loss_equals_its_reference_and_torch",
            "text/word2vec/test_softmax.py::test_full_softmax_equals_torch",
        ],
        "negative sampling: apricot, (k + 1) ln 2": [
            f"{SKIP_GRAM}::test_apricot",
            f"{SKIP_GRAM}::test_loss_starts_at_k_plus_one_times_log_two",
        ],
        "word2vec.c's keep probability": ["text/test_vocab.py::test_keep_probability_is_word2vecs"],
        "sparse gradients": [
            f"{SKIP_GRAM}::test_gradients_are_row_sparse_and_a_step_changes_only_their_rows"
        ],
        "GloVe's neighbours and analogies": [
            "text/test_glove.py::test_neighbours_in_a_dictionary",
            "test_examples.py::test_words",
        ],
        "demo: a projector page, and its TSV export": [
            "apps/test_pages.py::test_the_projector_finds_words_and_their_neighbours",
            "text/io/test_formats.py::test_projector_files_are_those_of_gensims_script",
        ],
    },
}


def test_every_row_is_covered_by_a_test_that_exists():
    uncovered, unknown = [], []
    for rows in FIGURES.values():
        for row, tests in rows.items():
            if not tests:
                uncovered.append(row)
            for test in tests:
                file, _, name = test.partition("::")
                path = TESTS / file
                names = functions(path) if path.exists() else set()
                if name not in names:
                    unknown.append(f"{row}: {test}")
    assert uncovered == []
    assert unknown == []


def test_every_test_of_this_file_is_in_the_table():
    named = {t for rows in FIGURES.values() for tests in rows.values() for t in tests}
    about_the_table = {n for n in functions(Path(__file__)) if n.startswith("test_every_")}
    mine = {f"{HERE}::{name}" for name in functions(Path(__file__)) - about_the_table}
    assert mine == {test for test in named if test.startswith(HERE)}


def functions(path):
    """The names of a file's test functions."""
    tree = ast.parse(path.read_text())
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[:5] == "test_"}


def number(value):
    return minitorch.tensor(value, dtype=minitorch.float64, requires_grad=True)


def check(tensor, exact, printed, digits=6):
    """The exact value, and what the deck prints of it."""
    assert tensor.item() == pytest.approx(exact, rel=1e-14)
    assert f"{tensor.item():.{digits}f}" == printed


# ---------------------------------------------------------------------- graphs, reverse mode
def deck(x):
    """y = 3√x (log x + 1/x²) and its parts, from x on."""
    z2 = 3 * x.sqrt()
    z3 = x.log()
    z4 = 1 / x
    z1 = z4**2 + z3
    return {"x": x, "z2": z2, "z3": z3, "z4": z4, "z1": z1, "y": z1 * z2}


R = 1.2
Z2, Z3, Z4 = 3 * math.sqrt(R), math.log(R), 1 / R
Z1 = Z4**2 + Z3
SLOPE = Z1 * 1.5 / math.sqrt(R) + Z2 / R - Z2 * 2 * Z4 / R**2
TABLE = {  # name: value, printed to six places and two; gradient of y, the same
    "x": (R, "1.200000", "1.20", SLOPE, "0.135545", "0.14"),
    "z2": (Z2, "3.286335", "3.29", Z1, "0.876766", "0.88"),
    "z3": (Z3, "0.182322", "0.18", Z2, "3.286335", "3.29"),
    "z4": (Z4, "0.833333", "0.83", 2 * Z4 * Z2, "5.477226", "5.48"),
    "z1": (Z1, "0.876766", "0.88", Z2, "3.286335", "3.29"),
    "y": (Z1 * Z2, "2.881347", "2.88", 1.0, "1.000000", "1.00"),
}


def test_the_decks_values_and_gradients():
    parts = deck(number(R))
    for part in parts.values():
        part.retain_grad()
    parts["y"].backward()
    assert list(parts) == list(TABLE)
    for name, (value, six, two, gradient, g_six, g_two) in TABLE.items():
        check(parts[name], value, six)
        check(parts[name], value, two, 2)
        assert parts[name].grad.item() == pytest.approx(gradient, rel=1e-12)
        assert f"{parts[name].grad.item():.6f}" == g_six
        assert f"{parts[name].grad.item():.2f}" == g_two


def test_local_derivatives_and_contributions():
    parts = deck(number(R))
    x, y = parts["x"], parts["y"]
    slope = lambda a, b: autograd.grad(a, b, retain_graph=True)[0]  # noqa: E731
    local = {name: slope(parts[name], x) for name in ("z2", "z3", "z4")}
    check(slope(parts["z1"], parts["z4"]), 2 / R, "1.666667")
    check(local["z2"], 1.5 / math.sqrt(R), "1.369306")
    check(local["z3"], 1 / R, "0.833333")
    check(local["z4"], -1 / R**2, "-0.694444")
    into_x = {name: slope(y, parts[name]) * local[name] for name in local}
    assert f"{into_x['z2'].item():+.6f}" == "+1.200561"
    assert f"{into_x['z3'].item():+.6f}" == "+2.738613"
    assert f"{(into_x['z2'] + into_x['z3']).item():.6f}" == "3.939174"
    assert f"{into_x['z4'].item():+.6f}" == "-3.803629"
    assert sum(c.item() for c in into_x.values()) == pytest.approx(SLOPE, rel=1e-12)


def test_second_derivative():
    x = number(R)
    (g,) = autograd.grad(deck(x)["y"], x, create_graph=True)
    (h,) = autograd.grad(g, x)
    # y = 3 x^(1/2) log x + 3 x^(-3/2)
    exact = 3 * (-(R**-1.5) * math.log(R) / 4) + 3 * 15 / 4 * R**-3.5
    assert h.item() == pytest.approx(exact, rel=1e-12)
    assert f"{h.item():.5f}" == "5.83915"
    assert func.hessian(lambda x: deck(x)["y"])(x.detach()).item() == pytest.approx(exact)


LISTING = """
import torch
torch.set_printoptions(precision=2)
x = torch.tensor(1.2, requires_grad=True)
z2 = 3 * torch.sqrt(x)
z3 = torch.log(x)
z4 = 1 / x
z1 = z4 ** 2 + z3
y = z1 * z2
for z in (y, z1, z2, z3, z4):
    z.retain_grad()
y.backward()
for name, z in dict(x=x, z2=z2, z3=z3, z4=z4, z1=z1, y=y).items():
    print(name, z.data, z.grad)
    print(f"{name} = {z.data:.2f}, dy/d{name} = {z.grad:.2f}")
"""


def printed(program):
    out = io.StringIO()
    with redirect_stdout(out):
        exec(program, {})
    return out.getvalue()


def test_the_decks_listing_prints_the_same_lines(device):
    options = minitorch.get_printoptions()
    try:
        mine = printed(LISTING.replace("import torch", "import minitorch as torch"))
        theirs = printed(LISTING)
    finally:
        minitorch.set_printoptions(**options)
        torch.set_printoptions(profile="default")
    if device != "cpu":
        mine = mine.replace(f", device='{device}:0'", "").replace(f", device='{device}'", "")
    assert mine == theirs
    for _, _, two, _, _, g_two in TABLE.values():
        assert f"= {two}, dy" in mine and f"= {g_two}\n" in mine


def test_chain_rule_example():
    x = number(1.0)
    y = (-x).exp() ** 2 / x
    y.backward()
    check(y, math.exp(-2), "0.135335")
    assert x.grad.item() == pytest.approx(-3 * math.exp(-2), rel=1e-14)
    assert f"{x.grad.item():.6f}" == "-0.406006"


class ThreeRoots(autograd.Function):
    """3√x as one elementary function."""

    @staticmethod
    def forward(ctx, x):
        z = 3 * x.sqrt()
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * 4.5 / z


def test_granularity():
    whole, parts = number(R), number(R)
    a, b = ThreeRoots.apply(whole), 3 * parts.sqrt()
    a.backward()
    b.backward()
    assert a.item() == b.item()
    assert whole.grad.item() == pytest.approx(parts.grad.item(), rel=1e-15)
    assert (graph_size(ThreeRoots.apply(whole) * 1), graph_size(3 * parts.sqrt() * 1)) == (4, 4)


TOY = [((2.0, 3.0), 1.0), ((3.0, -1.0), -1.0), ((0.5, -1.0), -1.0), ((1.0, 1.0), 1.0)]


def test_a_scalar_engine_fits_the_same_toy():
    """2-4-1 units of tanh, 40 steps of gradient descent: the same losses in both engines."""
    rng = np.random.default_rng(0)
    w1, b1, w2 = rng.normal(size=(4, 2)), rng.normal(size=4), rng.normal(size=4)

    p1 = [[Value(v) for v in row] for row in w1]
    p2, p3 = [Value(v) for v in b1], [Value(v) for v in w2]
    scalars = [*(v for row in p1 for v in row), *p2, *p3]

    def scalar_loss():
        total = Value(0.0)
        for (u, v), t in TOY:
            hidden = [(r[0] * u + r[1] * v + b).tanh() for r, b in zip(p1, p2, strict=True)]
            score = Value(0.0)
            for w, h in zip(p3, hidden, strict=True):
                score = score + w * h
            error = score.tanh() - t
            total = total + error * error
        return total

    tensors = [number(w1), number(b1), number(w2)]
    x = minitorch.tensor([p for p, _ in TOY], dtype=minitorch.float64)
    t = minitorch.tensor([q for _, q in TOY], dtype=minitorch.float64)
    losses = []
    for _ in range(40):
        slow = scalar_loss()
        fast = ((((x @ tensors[0].T + tensors[1]).tanh() @ tensors[2]).tanh() - t) ** 2).sum()
        losses.append((slow.data, fast.item()))
        for value in scalars:
            value.grad = 0.0
        slow.backward()
        fast.backward()
        for value in scalars:
            value.data -= 0.1 * value.grad
        with minitorch.no_grad():
            for tensor in tensors:
                tensor -= 0.1 * tensor.grad
                tensor.grad = None
    slow, fast = np.array(losses).T
    np.testing.assert_allclose(fast, slow, rtol=1e-9)
    assert slow[-1] < 0.1 < 1 < slow[0]


# ---------------------------------------------------------------------- four ways
def f(x1, x2):
    return x1.log() + x1 * x2 - x2.sin()


SIN, COS = math.sin(5), math.cos(5)
STEPS = {  # value, tangent along x1, adjoint
    "v0": (2.0, 1.0, 5.5),
    "v1": (5.0, 0.0, 2 - COS),
    "v2": (math.log(2), 0.5, 1.0),
    "v3": (10.0, 5.0, 1.0),
    "v4": (SIN, 0.0, -1.0),
    "v5": (math.log(2) + 10, 5.5, 1.0),
    "v6": (math.log(2) + 10 - SIN, 5.5, 1.0),
}
PRINTED = {  # value, adjoint
    "v1": ("5.000000", "1.716338"),
    "v2": ("0.693147", "1.000000"),
    "v4": ("-0.958924", "-1.000000"),
    "v5": ("10.693147", "1.000000"),
    "v6": ("11.652071", "1.000000"),
}


def test_values_tangents_and_adjoints():
    v0, v1 = number(2.0), number(5.0)
    v2, v3, v4 = v0.log(), v0 * v1, v1.sin()
    v5 = v2 + v3
    v6 = v5 - v4
    steps = dict(zip(STEPS, (v0, v1, v2, v3, v4, v5, v6), strict=True))
    one, zero = number(1.0).detach(), number(0.0).detach()
    tangents = autograd.push_forward(list(steps.values()), [v0, v1], [one, zero])
    for v in steps.values():
        v.retain_grad()
    v6.backward()
    for (name, (value, tangent, adjoint)), t in zip(STEPS.items(), tangents, strict=True):
        v = steps[name]
        found = v.item(), t.item(), v.grad.item()
        np.testing.assert_allclose(found, (value, tangent, adjoint), rtol=1e-13, atol=1e-15)
        if name in PRINTED:
            assert (f"{v.item():.6f}", f"{v.grad.item():.6f}") == PRINTED[name]


def test_gradient_and_hessian():
    x1, x2 = number(2.0).detach(), number(5.0).detach()
    gradient = func.grad(f, (0, 1))(x1, x2)
    check(gradient[0], 5.5, "5.500000")
    check(gradient[1], 2 - COS, "1.716338")
    for outer in (func.jacrev, func.jacfwd):
        for inner in (func.jacrev, func.jacfwd):
            rows = outer(inner(f, (0, 1)), (0, 1))(x1, x2)
            found = [[entry.item() for entry in row] for row in rows]
            np.testing.assert_allclose(found, [[-0.25, 1], [1, SIN]], rtol=1e-13)
            assert f"{found[1][1]:.6f}" == "-0.958924"


def test_numerical_errors():
    """On the CPU: these digits are those of its rounding."""

    def error(dtype, h, method):
        x1, x2 = (minitorch.tensor(v, dtype=dtype, device="cpu") for v in (2.0, 5.0))
        ((_, slope),) = numerical_jacobian(f, (x1, x2), eps=h, method=method)
        return abs(slope.item() - (2 - COS))

    f64, f32 = minitorch.float64, minitorch.float32
    assert f"{error(f64, 1e-6, 'forward'):.1e}" == "4.8e-07"
    assert f"{error(f64, 1e-6, 'central'):.1e}" == "4.5e-10"
    assert f"{error(f32, 1e-6, 'central'):.2f}" == "0.19"
    assert f"{error(f32, 1e-6, 'forward'):.2f}" == "0.19"
    assert f"{error(f32, 1e-2, 'central'):.1e}" == "3.8e-05"


def test_symbolic_derivatives():
    x1, x2 = number(2.0), number(5.0)
    y = f(x1, x2)
    expression = to_sympy(y, {x1: "x1", x2: "x2"})
    assert str(expression) == "x1*x2 + log(x1) - sin(x2)"
    slopes = [differentiate(expression, name) for name in ("x1", "x2")]
    assert list(map(str, slopes)) == ["x2 + 1/x1", "x1 - cos(x2)"]
    named = {s: {"x1": 2.0, "x2": 5.0}[s.name] for s in expression.free_symbols}
    grads = [g.item() for g in autograd.grad(y, (x1, x2), retain_graph=True)]
    np.testing.assert_allclose([float(s.evalf(20, subs=named)) for s in slopes], grads, rtol=1e-14)
    second = [
        [float(differentiate(s, n).evalf(20, subs=named)) for n in ("x1", "x2")] for s in slopes
    ]
    np.testing.assert_allclose(second, [[-0.25, 1], [1, SIN]], rtol=1e-14)
    assert (graph_size(y), expression_size(expression)) == (7, 10)


def test_passes(monkeypatch):
    """m inputs: m passes forward; n outputs: n passes backward. Here m = 2 and n = 1."""
    passes = []
    for name in ("forward_pass", "backward_pass"):
        real = getattr(engine, name)
        counted = lambda *a, name=name, real=real: (passes.append(name), real(*a))[1]  # noqa: E731
        monkeypatch.setattr(engine, name, counted)
    point = number(2.0).detach(), number(5.0).detach()
    forward = func.jacfwd(f, (0, 1))(*point)
    assert passes == ["forward_pass"] * 2
    reverse = func.jacrev(f, (0, 1))(*point)
    assert passes == ["forward_pass"] * 2 + ["backward_pass"]
    np.testing.assert_allclose([s.item() for s in forward], [s.item() for s in reverse], rtol=1e-15)


def test_backward_costs_twice_the_forward_pass():
    """Products of matrices: one forward for each layer, two backward (`examples` print times)."""
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.Linear(256, 10))
    x = minitorch.ones(2, 784, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        loss = model(x).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    assert forward.get_total_flops() == 2 * 2 * (784 * 512 + 512 * 256 + 256 * 10)
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_sum_and_copy_are_duals():
    """Backward of a broadcast is a sum, backward of a sum is a broadcast; so both ways."""
    x, g = number([1.0, 2.0, 3.0]), minitorch.ones(4, 3, dtype=minitorch.float64)
    copied = x.expand(4, 3)
    assert copied.grad_fn.name == "expand"
    assert autograd.grad(copied, x, g * 2)[0].tolist() == [8.0, 8.0, 8.0]
    summed = number(np.ones((4, 3)))
    (back,) = autograd.grad(summed.sum(0), summed, x.detach())
    assert back.tolist() == copied.tolist()
    # <g, copy(x)> = <sum(g), x>
    assert (g * copied).sum().item() == (g.sum(0) * x).sum().item()


BATCH, WIDTH = 100, 2048


def test_the_jacobian_of_a_sigmoid_layer_is_diagonal():
    """At a width at which it can be formed: 64 outputs, so 64 passes backward."""
    x = minitorch.linspace(-3, 3, 64, dtype=minitorch.float64)
    jacobian = array(func.jacrev(nn.Sigmoid())(x))
    z = 1 / (1 + np.exp(-np.linspace(-3, 3, 64)))
    np.testing.assert_allclose(jacobian, np.diag(z * (1 - z)), rtol=1e-12)


def test_a_vjp_never_forms_the_jacobian():
    """204,800 x 204,800 numbers are 168 GB in float32; a vjp needs a few arrays of 0.8 MB."""
    entries = (BATCH * WIDTH) ** 2
    assert BATCH * WIDTH == 204_800
    assert f"{4 * entries / 1e9:.0f} GB" == "168 GB"
    x = minitorch.rand(BATCH, WIDTH, device="cpu")
    v = minitorch.rand(BATCH, WIDTH, device="cpu")
    tracemalloc.start()
    try:
        value, pull_back = func.vjp(nn.Sigmoid(), x)
        (product,) = pull_back(v)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    z = array(value)
    np.testing.assert_allclose(array(product), array(v) * z * (1 - z), rtol=1e-5)
    assert peak < 6 * x.nbytes == 6 * 819_200

"""The tables agree: registry, backends, views, kernels that write into `out`."""

import inspect

import numpy as np
import pytest

import minitorch
import minitorch.text  # which has ops of its own
from minitorch import backend
from minitorch.backend.cuda.elementwise import RARE, RARE_BINARY
from minitorch.core import dispatch
from minitorch.core.dispatch import REGISTRY

CPU = backend.named("cpu")
FAMILIES = {
    "elementwise", "linear", "bilinear", "general", "fused", "constant", "source", "write",
}  # fmt: skip
X = np.linspace(0.1, 0.9, 12).reshape(3, 4)
Y = np.linspace(0.2, 1.7, 12).reshape(3, 4)
BITS = X > 0.5
SQUARE = X @ X.T + np.eye(3)
ROWS = np.array([2, 0, 2])
PLACES = np.array([[0, 1, 2, 3], [1, 1, 0, 0]])

# Arguments for each kernel that allocates its result, where they are not one or two matrices.
ARGUMENTS = {
    **{name: ((X,), {}) for name in (
        "neg", "abs", "sign", "floor", "ceil", "trunc", "round", "relu", "exp", "log", "log1p",
        "expm1", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "tanh", "sigmoid", "erf",
        "softplus", "gelu", "clone", "nonzero", *RARE,
    )},
    **{name: ((X, Y), {}) for name in (
        "add", "sub", "mul", "div", "pow", "maximum", "minimum", "floor_divide", "remainder",
        "clamp_min", "clamp_max", "bce_with_logits",
        *RARE_BINARY, "relu_backward", "tanh_backward", "sigmoid_backward", "gelu_backward",
        "eq", "ne", "lt", "le", "gt", "ge",
    )},
    **{name: ((BITS, ~BITS), {}) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    **{f"bitwise_{side}_shift": ((ROWS, ROWS), {}) for side in ("left", "right")},
    "bitwise_not": ((BITS,), {}),
    "where": ((X, Y), {"condition": BITS}),
    "cast": ((X,), {"dtype": np.dtype("float32"), "source": X.dtype}),
    **{name: ((X,), {"dim": (0,), "keepdim": True}) for name in (
        "sum", "mean", "var", "std", "prod", "amax", "amin", "any", "all", "logsumexp",
    )},
    "centre": ((X,), {"dim": (0,)}),
    "argmax": ((X,), {"dim": 1}),
    "argmin": ((X,), {"dim": None}),
    "softmax": ((X,), {"dim": 1}),
    "log_softmax": ((X,), {"dim": 0}),
    "softmax_backward": ((X, Y), {"dim": 1}),
    "log_softmax_backward": ((X, Y), {"dim": 0}),
    "cumsum": ((X,), {"dim": 1}),
    "argsort": ((X,), {"dim": 1, "descending": True}),
    "cat": ((X, Y), {"dim": 1, "lengths": (4, 4)}),
    "flip": ((X,), {"dims": (0, 1)}),
    "roll": ((X,), {"shifts": (1,), "dims": (1,)}),
    "tril": ((X,), {"diagonal": 0}),
    "triu": ((X,), {"diagonal": 1}),
    "diagonal_backward": ((X[:, 0],), {"shape": (3, 3), "dim1": 0, "dim2": 1}),
    "slice_backward": ((X,), {"shape": (6, 4), "index": (slice(0, 6, 2),)}),
    "index": ((X,), {"index": (ROWS,)}),
    "index_backward": ((X,), {"shape": (5, 4), "index": (ROWS,)}),
    "put": ((X, Y), {"index": (ROWS,)}),
    "gather": ((X,), {"index": PLACES, "dim": 1}),
    "gather_backward": ((X[:2],), {"shape": (3, 4), "index": PLACES, "dim": 1}),
    "check_range": ((ROWS,), {"length": 3, "what": "test"}),
    "check_unit": ((X,), {"what": "test"}),
    "searchsorted": ((X[0], Y), {}),
    "matmul": ((X, Y.T), {}),
    **{name: ((SQUARE,), {}) for name in ("inv", "cholesky", "pinv", "slogdet", "svd", "qr")},
    "eigh": ((SQUARE,), {"upper": False}),
    "solve": ((SQUARE, X[:, :2]), {}),
    "norm_all": ((X, Y), {"order": 2.0}),
    "dropout": ((X,), {"p": 0.3, "seed": 1, "offset": 2, "memo": []}),
}  # fmt: skip
# Kernels that do not allocate one result of their own: nothing to write into.
WITHOUT_OUT = set(CPU.views) | {
    name
    for name, op in REGISTRY.items()
    if op.family in ("source", "write", "fused") or (name.endswith("_backward")
    and name.removesuffix("_backward") in REGISTRY
    and REGISTRY[name.removesuffix("_backward")].family == "fused")
} | {"transfer", "max_dim", "min_dim"}  # fmt: skip


def test_every_op_has_an_entry_and_every_entry_an_op():
    assert set(REGISTRY) == set(CPU.kernels)


def test_families():
    for name, op in REGISTRY.items():
        assert op.family in FAMILIES
        differentiable = op.family not in ("constant", "source", "write")
        assert (op.vjp is not None) == differentiable, name
        assert (op.reference is not None) == (op.family == "fused"), name


def test_views_are_tagged_on_both_sides():
    assert {name for name, op in REGISTRY.items() if op.view} == set(CPU.views)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("view", {"shape": (4, 3)}),
        ("expand", {"shape": (2, 3, 4)}),
        ("permute", {"dims": (1, 0)}),
        ("slice", {"index": (slice(1, 3), 2)}),
        ("diagonal", {"dim1": 0, "dim2": 1}),
    ],
)
def test_views_share_memory(name, arguments):
    assert np.shares_memory(CPU.kernels[name](X, **arguments), X)


def test_the_samples_cover_every_entry_that_allocates():
    assert set(ARGUMENTS) == set(REGISTRY) - WITHOUT_OUT


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_entries_write_into_out(name):
    arguments, params = ARGUMENTS[name]
    expected = np.asarray(CPU.kernels[name](*arguments, **params))
    out = np.empty_like(expected)
    given = CPU.kernels[name](*arguments, **params, out=out)
    assert given is out
    assert out.tobytes() == expected.tobytes()
    for argument in arguments:
        assert not np.shares_memory(expected, argument) or name in ("check_range", "check_unit")


def test_an_entry_can_be_stood_in_for():
    op, calls = REGISTRY["add"], []
    real = op.kernels[np.ndarray]

    def spy(x, y, out=None):
        calls.append(x.shape)
        return real(x, y, out)

    op.kernels[np.ndarray] = spy
    try:
        x = minitorch.tensor([1.0, 2.0], device="cpu")
        assert (x + x).tolist() == [2.0, 4.0]
    finally:
        op.kernels[np.ndarray] = real
    assert calls == [(2,)]


def test_an_op_is_defined_once():
    with pytest.raises(ValueError, match="there is an op of the name 'add' already"):
        dispatch.Op("add", "constant")


def test_partials_read_only_what_they_name():
    x = minitorch.ones(3, requires_grad=True)
    y = minitorch.ones(3)
    assert (x + y).node.saved == ()
    _, inputs = (x * y).node.saved
    assert inputs[0] is None and inputs[1] is not None
    output, inputs = x.exp().node.saved
    assert output is not None and inputs == (None,)


def test_public_functions_say_what_they_do():
    for name in minitorch.ops.__all__:
        function = getattr(minitorch.ops, name)
        assert callable(function), name
        if not hasattr(function, "op"):
            assert inspect.getdoc(function), name

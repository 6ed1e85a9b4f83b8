"""Every differentiable op of the table: both modes, order two in every mix, in many layouts.

A row is (op, function, shapes of its inputs, domain). The function is run through
`check_derivatives` on contiguous, transposed, sliced and expanded inputs.
"""

from functools import partial

import numpy as np
import pytest

import minitorch
from minitorch import fused, linalg, ops
from minitorch.autograd import topological
from minitorch.core.dispatch import REGISTRY
from minitorch.nn import recurrence
from minitorch.ops import elementwise, reduce
from minitorch.ops.reduce import centre
from minitorch.testing import check_derivatives
from minitorch.text.word2vec.negative_sampling import negative_sampling
from tests.referee import ours

DIFFERENTIABLE = {"elementwise", "linear", "bilinear", "general", "fused"}
ANY, POSITIVE, SMALL, APART = (-2.0, 2.0), (0.5, 2.5), (-1.0, 1.0), (0.1, 0.9)
VECTOR = [(4,)]
UNARY = [(3, 4)], [()], [(0, 3)]
SQUARE, OBLONG = ([(3, 3)], [(2, 3, 3)]), ([(4, 3)], [(2, 3, 4)])
SOLVED = [(3, 3), (3, 2)], [(2, 3, 3), (3, 1)]
BINARY = [(3, 4), (3, 4)], [(3, 1), (4,)], [(), (2, 3)], [(2, 1), ()], [(0, 3), (1, 3)]


# Indices and masks, made when a test runs: on the device under test.
def ids():
    return minitorch.tensor([[0, 2], [2, 1]])


def rows():
    return minitorch.tensor([2, 0, 2, -1])


def columns():
    return minitorch.tensor([1, 1, 0, 3])


def mask():
    return minitorch.tensor([[True, False, True, False]] * 2 + [[False] * 4])


def choice():
    return minitorch.tensor([[True, False, True, True], [False, False, True, False]])


def targets():
    return minitorch.tensor([2, 0, 3])


def _set(x, v, key):
    y = x * 1
    y[key] = v
    return y


def _slice_backward(x):
    return minitorch.ops.index._slice_backward(x, shape=(5, 3), index=(slice(1, 5, 2), slice(0, 2)))


def _regular(x):
    """A matrix of full rank, whose singular values differ."""
    m, n = x.shape[-2:]
    scale = minitorch.arange(1, n + 1, dtype=minitorch.float64) + 1
    return x + minitorch.eye(m, n, dtype=minitorch.float64) * scale


def _sizes(parts):
    """What does not depend on the signs that a decomposition has chosen."""
    return minitorch.cat([x.abs().flatten() for x in parts])


def _negative_sampling(x, y, w):
    return negative_sampling(x, y, w, 3)


def _batch_norm(training, activation, x, weight, bias):
    channels = np.linspace(0.5, 1.5, x.shape[1])
    running = (None, None) if training else (ours(channels), ours(channels**2))
    return fused.batch_norm(
        x, *running, weight, bias, training, 0.1, eps=1e-3, activation=activation
    )


# op, function, the shapes of its arguments (several sets), the domain of their elements (None
# where central differences cannot tell: float32 on the way)
TABLE = [
    ("add", ops.add, BINARY, ANY),
    ("add", lambda x: 2.5 + x, UNARY, ANY),
    ("sub", ops.sub, BINARY, ANY),
    ("sub", lambda x: 2.5 - x, UNARY, ANY),
    ("mul", ops.mul, BINARY, ANY),
    ("mul", lambda x: x * 3.0, UNARY, ANY),
    ("mul", lambda x: x * x, UNARY, ANY),
    ("div", ops.div, BINARY, POSITIVE),
    ("div", lambda x: x / 3.0, UNARY, ANY),
    ("div", lambda x: 3.0 / x, UNARY, POSITIVE),
    ("pow", ops.pow, BINARY, POSITIVE),
    ("pow", lambda x: x**3, UNARY, ANY),
    ("pow", lambda x: x**0.5, UNARY, POSITIVE),
    ("pow", lambda x: x**-1.5, UNARY, POSITIVE),
    ("pow", lambda x: 1.7**x, UNARY, ANY),
    ("mul", lambda x: x**2, UNARY, ANY),
    ("maximum", ops.maximum, BINARY, ANY),
    ("minimum", ops.minimum, BINARY, ANY),
    ("maximum", lambda x: minitorch.maximum(x, x.new_full((), 0.3)), UNARY, ANY),
    ("remainder", ops.remainder, ([(3, 4), (3, 4)], [(3, 1), (4,)]), POSITIVE),
    ("remainder", lambda x: x % 0.7, UNARY, POSITIVE),
    ("bce_with_logits", ops.bce_with_logits, BINARY, ANY),
    ("relu_backward", elementwise.relu_backward, BINARY, POSITIVE),
    ("tanh_backward", elementwise.tanh_backward, BINARY, ANY),
    ("sigmoid_backward", elementwise.sigmoid_backward, BINARY, ANY),
    ("gelu_backward", elementwise.gelu_backward, BINARY, ANY),
    ("neg", ops.neg, UNARY, ANY),
    ("abs", ops.abs, UNARY, ANY),
    ("sign", ops.sign, UNARY, ANY),
    ("floor", ops.floor, UNARY, APART),
    ("ceil", ops.ceil, UNARY, APART),
    ("trunc", ops.trunc, UNARY, APART),
    ("round", ops.round, UNARY, (0.6, 1.4)),
    ("relu", ops.relu, UNARY, ANY),
    ("exp", ops.exp, UNARY, ANY),
    ("log", ops.log, UNARY, POSITIVE),
    ("log1p", ops.log1p, UNARY, POSITIVE),
    ("expm1", ops.expm1, UNARY, ANY),
    ("sqrt", ops.sqrt, UNARY, POSITIVE),
    ("rsqrt", ops.rsqrt, UNARY, POSITIVE),
    ("reciprocal", ops.reciprocal, UNARY, POSITIVE),
    ("sin", ops.sin, UNARY, ANY),
    ("cos", ops.cos, UNARY, ANY),
    ("tan", ops.tan, UNARY, SMALL),
    ("tanh", ops.tanh, UNARY, ANY),
    ("sigmoid", ops.sigmoid, UNARY, ANY),
    ("erf", ops.erf, UNARY, ANY),
    ("asin", ops.asin, UNARY, APART),
    ("acos", ops.acos, UNARY, APART),
    ("atan", ops.atan, UNARY, ANY),
    ("sinh", ops.sinh, UNARY, ANY),
    ("cosh", ops.cosh, UNARY, ANY),
    ("asinh", ops.asinh, UNARY, ANY),
    ("acosh", ops.acosh, UNARY, (1.5, 3.0)),
    ("atanh", ops.atanh, UNARY, APART),
    ("log2", ops.log2, UNARY, POSITIVE),
    ("log10", ops.log10, UNARY, POSITIVE),
    ("erfc", ops.erfc, UNARY, ANY),
    ("erfinv", ops.erfinv, UNARY, APART),
    ("lgamma", ops.lgamma, UNARY, POSITIVE),
    ("digamma", ops.digamma, UNARY, POSITIVE),
    ("i0", ops.i0, UNARY, ANY),
    ("i1", ops.functions.i1, UNARY, POSITIVE),
    ("atan2", ops.atan2, BINARY, POSITIVE),
    ("hypot", ops.hypot, BINARY, POSITIVE),
    ("fmod", ops.fmod, ([(3, 4), (3, 4)], [(3, 1), (4,)]), POSITIVE),
    ("copysign", ops.copysign, BINARY, POSITIVE),
    ("zeta", lambda x: ops.functions.zeta(3.0, x), UNARY, POSITIVE),
    ("nextafter", ops.nextafter, BINARY, None),
    ("softplus", ops.softplus, UNARY, ANY),
    ("softplus", lambda x: ops.softplus(x, beta=2.0, threshold=1.0), UNARY, ANY),
    ("gelu", ops.gelu, UNARY, ANY),
    ("tanh", lambda x: ops.gelu(x, approximate="tanh"), UNARY, ANY),
    ("sigmoid", ops.silu, UNARY, ANY),
    ("softplus", ops.logsigmoid, UNARY, ANY),
    ("clamp_min", lambda x: x.clamp(min=-0.7), UNARY, ANY),
    ("clamp_max", lambda x: x.clamp(-0.7, 0.9), UNARY, ANY),
    ("clamp_max", lambda x, y: x.clamp(max=y), ([(3, 4), (3, 4)], [(3, 1), (4,)]), ANY),
    ("floor_divide", lambda x: x // 0.7, UNARY, APART),
    ("where", lambda x, y: ops.where(choice(), x, y), ([(2, 4), (2, 4)], [(4,), (2, 1)]), ANY),
    ("where", lambda x: x.masked_fill(choice(), 3.0), ([(2, 4)], [(4,)]), ANY),
    ("cast", lambda x: x.float().double() + 0 * x.sin(), ([(2,)],), None),
    ("clone", ops.clone, UNARY, ANY),
    ("transfer", lambda x: minitorch.ops.convert.transfer(x, x.device).sin(), UNARY, ANY),
    ("sum", lambda x: x.sum(), UNARY, ANY),
    ("sum", lambda x: x.sum(1), ([(3, 4)], [(2, 3, 2)], [(0, 3)]), ANY),
    ("sum", lambda x: x.sum((0, -1), keepdim=True), ([(3, 4)], [(2, 3, 2)]), ANY),
    ("mean", lambda x: x.mean(0), ([(3, 4)], [(2, 3, 2)]), ANY),
    ("centre", lambda x: centre(x, 0), ([(3, 4)], [(2, 3, 2)]), ANY),
    ("var", lambda x: x.var(-1), ([(3, 4)], [(2, 3, 2)]), ANY),
    ("std", lambda x: x.std(unbiased=False), ([(3, 4)],), ANY),
    ("std", lambda x: x.std((0, 1), keepdim=True), ([(2, 3, 2)],), ANY),
    ("amax", lambda x: x.amax(), ([(3, 4)], [()]), ANY),
    ("amax", lambda x: x.amax((0, 2)), ([(2, 3, 4)],), ANY),
    ("amax", lambda x: x.norm(float("inf"), 1), ([(3, 4)],), ANY),
    ("amin", lambda x: x.amin(0, keepdim=True), ([(3, 4)], [(2, 3, 2)]), ANY),
    ("gather", lambda x: x.max(1).values, ([(3, 4)],), ANY),
    ("gather", lambda x: x.sort(0, descending=True).values, ([(3, 4)],), ANY),
    ("gather", lambda x: x.topk(2).values, ([(3, 4)],), ANY),
    ("softmax", lambda x: x.softmax(-1), ([(3, 4)], [()], [(0, 3)]), ANY),
    ("softmax", lambda x: x.softmax(0), ([(3, 4)],), ANY),
    ("log_softmax", lambda x: x.log_softmax(1), ([(3, 4)], [(2, 0)]), ANY),
    ("softmax_backward", partial(reduce._softmax_backward, dim=1), ([(3, 4), (3, 4)],), ANY),
    ("log_softmax_backward", partial(reduce._log_softmax_backward, dim=0), ([(3, 4)] * 2,), ANY),
    ("logsumexp", lambda x: x.logsumexp(0), ([(3, 4)], [()]), ANY),
    ("logsumexp", lambda x: x.logsumexp((0, 1), keepdim=True), ([(3, 4)],), ANY),
    ("cumsum", lambda x: x.cumsum(0), ([(3, 4)], [()], [(0, 3)]), ANY),
    ("cumsum", lambda x: x.cumsum(-1), ([(3, 4)],), ANY),
    ("prod", lambda x: x.prod(), ([(5,)], [(2, 3)], [()]), ANY),
    ("prod", lambda x: x.prod(1), ([(2, 3)],), ANY),
    ("sum", lambda x: x.norm(), ([(3, 4)],), ANY),
    ("pow", lambda x: x.norm(3, 0), ([(3, 4)],), ANY),
    ("view", lambda x: x.reshape(-1), UNARY, ANY),
    ("view", lambda x: x.unsqueeze(0).flatten(0, 1), ([(3, 4)],), ANY),
    ("expand", lambda x: x.expand(2, 3, 4), ([(3, 4)], [(1, 4)], [()]), ANY),
    ("permute", lambda x: x.permute(2, 0, 1), ([(2, 3, 4)],), ANY),
    ("diagonal", lambda x: x.diagonal(1, 0, 1), ([(3, 4)],), ANY),
    ("diagonal_backward", lambda x: x.diag(), (VECTOR,), ANY),
    ("diagonal_backward", lambda x: x.diag(-2), (VECTOR,), ANY),
    ("flip", lambda x: x.flip(0, -1), ([(3, 4)], [(0, 3)]), ANY),
    ("roll", lambda x: x.roll((1, -2), (0, 1)), ([(3, 4)],), ANY),
    ("tril", lambda x: x.tril(1), ([(3, 4)], [(2, 3, 3)]), ANY),
    ("triu", lambda x: x.triu(-1), ([(3, 4)],), ANY),
    ("cat", lambda x, y: ops.cat([x, y], 1), ([(3, 4), (3, 2)],), ANY),
    ("cat", lambda x, y: ops.stack([x, y, x], -1), ([(3, 4), (3, 4)], [(), ()]), ANY),
    ("slice", lambda x: x[1:, None, ::2], ([(3, 4)],), ANY),
    ("slice", lambda x: x[-1], ([(3, 4)], [(3,)]), ANY),
    ("slice_backward", lambda x: _slice_backward(x), ([(2, 2)],), ANY),
    ("index", lambda x: x[rows()], ([(3, 4)], [(3,)], [(3, 2, 2)]), ANY),
    ("index", lambda x: x[ids(), :, columns()[:2]], ([(3, 2, 4)],), ANY),
    ("index", lambda x: x[0, :, rows()], ([(2, 2, 4)],), ANY),
    ("index", lambda x: x[mask()], ([(3, 4)],), ANY),
    ("index", lambda x: ops.embedding(x, ids()), ([(3, 4)],), ANY),
    ("embedding", lambda x: ops.embedding(x, ids(), sparse=True), ([(3, 4)],), ANY),
    ("index_backward", lambda x, v: x.index_add(0, ids()[0], v), ([(3, 4), (2, 4)],), ANY),
    ("gather", lambda x: x.gather(0, ids()), ([(3, 4)],), ANY),
    ("gather_backward", lambda x, v: x.scatter_add(1, ids(), v), ([(2, 4), (2, 2)],), ANY),
    ("put", lambda x, v: _set(x, v, 1), ([(3, 4), (4,)], [(3, 4), ()]), ANY),
    ("put", lambda x, v: _set(x, v, (slice(None), ids()[0])), ([(3, 4), (3, 2)],), ANY),
    ("put", lambda x, v: _set(x, v, mask()), ([(3, 4), ()],), ANY),
    ("put", lambda x, v: x.scatter(0, ids(), v), ([(3, 2), (2, 2)],), ANY),
    ("inv", lambda x: linalg.inv(_regular(x)), SQUARE, SMALL),
    ("solve", lambda x, y: linalg.solve(_regular(x), y), SOLVED, SMALL),
    ("cholesky", lambda x: linalg.cholesky(_regular(x @ x.mT)), SQUARE, ANY),
    ("pinv", lambda x: linalg.pinv(_regular(x)), OBLONG, SMALL),
    ("slogdet", lambda x: linalg.slogdet(_regular(x)).logabsdet, SQUARE, SMALL),
    ("eigh", lambda x: _sizes(linalg.eigh(_regular(x + x.mT))), SQUARE, SMALL),
    ("svd", lambda x: _sizes(linalg.svd(_regular(x), False)), OBLONG, SMALL),
    ("qr", lambda x: _sizes(linalg.qr(_regular(x))), OBLONG, SMALL),
    ("matmul", ops.matmul, ([(3, 4), (4, 2)], [(4,), (4, 2)], [(3, 4), (4,)], [(4,), (4,)]), ANY),
    ("matmul", ops.matmul, ([(2, 3, 4), (4, 2)], [(2, 1, 3, 4), (3, 4, 2)]), ANY),
    ("matmul", ops.matmul, ([(0, 4), (4, 2)], [(3, 0), (0, 2)]), ANY),
    ("matmul", lambda x, y: ops.einsum("bij,kj->bik", x, y), ([(2, 3, 4), (2, 4)],), ANY),
    (
        "matmul",
        lambda x, y, z: ops.einsum("ij,jk,kl->il", x, y, z),
        ([(2, 3), (3, 2), (2, 2)],),
        ANY,
    ),
    ("linear", fused.linear, ([(3, 4), (2, 4), (2,)], [(2, 3, 4), (5, 4), (5,)]), ANY),
    *[
        ("linear", partial(fused.linear, activation=name), ([(2, 3, 4), (5, 4), (5,)],), ANY)
        for name in ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh")
    ],
    ("dropout", lambda x: fused._dropout(x, p=0.4, seed=3, offset=1, memo=[]), UNARY, ANY),
    *[
        (
            "activation_dropout",
            lambda x, a=a: fused._activation_dropout(
                x, activation=a, p=0.4, seed=3, offset=1, memo=[]
            ),
            UNARY,
            ANY,
        )
        for a in ("relu", "tanh", "sigmoid", "gelu")
    ],
    (
        "bce_with_logits_loss",
        lambda x: fused.bce_with_logits_loss(x, ours(np.linspace(0, 1, 12).reshape(3, 4))),
        ([(3, 4)],),
        ANY,
    ),
    *[
        ("layer_norm", partial(fused.layer_norm, dims=dims, eps=1e-3), shapes, ANY)
        for dims, shapes in (
            (1, ([(3, 4), (4,), (4,)], [(3, 4), (4,)], [(3, 4)])),
            (2, ([(2, 3, 4), (3, 4), (3, 4)],)),
        )
    ],
    *[
        (
            "batch_norm" if training else "batch_norm_eval",
            partial(_batch_norm, training, activation),
            ([(3, 2), (2,), (2,)], [(2, 3, 2), (3,), (3,)]),
            ANY,
        )
        for training in (True, False)
        for activation in ("none", "tanh", "gelu", "gelu_tanh")
    ],
    *[
        ("rnn", partial(recurrence.rnn, nonlinearity=f), ([(3, 2, 4), (1, 2, 4), (4, 4)],), ANY)
        for f in ("tanh", "relu")
    ],
    ("lstm", recurrence.lstm, ([(3, 2, 8), (2, 2, 2), (8, 2)],), ANY),
    ("gru", recurrence.gru, ([(3, 2, 6), (1, 2, 2), (6, 2), (6,)],), ANY),
    ("cross_entropy", lambda x: fused.cross_entropy(x, targets()), ([(3, 4)],), ANY),
    ("negative_sampling", _negative_sampling, ([(2, 4, 3), (2, 8, 3), (2, 5, 4)],), SMALL),
]


LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


def laid_out(shape, layout):
    """The shape of a leaf, and the view of it that has this shape and layout."""
    if not shape or layout == "contiguous":
        return shape, lambda x: x
    if layout == "transposed":
        return shape[::-1], lambda x: x.permute(*reversed(range(len(shape))))
    if layout == "sliced":
        return (2 * shape[0] + 1, *shape[1:]), lambda x: x[1::2]
    return (1, *shape[1:]), lambda x: x.expand(shape)


def cases():
    for number, (name, function, shape_sets, domain) in enumerate(TABLE):
        for i, shapes in enumerate(shape_sets if domain else ()):
            for layout in LAYOUTS:
                if layout == "contiguous" or (i == 0 and any(shapes)):
                    yield pytest.param(
                        function, shapes, domain, layout, id=f"{number}-{name}-{i}-{layout}"
                    )


@pytest.mark.parametrize(("function", "shapes", "domain", "layout"), list(cases()))
def test_derivatives(function, shapes, domain, layout):
    rng = np.random.default_rng(len(shapes))
    leaves, views = zip(*[laid_out(s, layout) for s in shapes])
    inputs = [ours(rng.uniform(*domain, size=s)) for s in leaves]
    check_derivatives(lambda *xs: function(*[v(x) for v, x in zip(views, xs)]), inputs)


def recorded(function, shapes, domain):
    """The names of the ops that a function puts on the tape."""
    rng = np.random.default_rng(0)
    domain = domain or ANY
    inputs = [ours(rng.uniform(*domain, size=s), requires_grad=True) for s in shapes]
    return {node.name for node in topological([function(*inputs).node])}


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_a_row_checks_the_op_that_it_names(number):
    name, function, shape_sets, domain = TABLE[number]
    assert name in recorded(function, shape_sets[0], domain)


def test_every_differentiable_op_has_a_row():
    missing = {n for n, op in REGISTRY.items() if op.family in DIFFERENTIABLE}
    assert not missing - {row[0] for row in TABLE}


def test_casts_carry_tangents_and_gradients_in_their_dtypes():
    x = ours(np.array([1.5, -2.0]), requires_grad=True)
    y = x.float()
    (g,) = minitorch.autograd.grad(y, x, minitorch.ones(2), retain_graph=True)
    (t,) = minitorch.autograd.push_forward([y], [x], [ours(np.array([1.0, 3.0]))])
    assert g.dtype is minitorch.float64
    assert t.dtype is minitorch.float32
    assert t.tolist() == [1.0, 3.0]
    assert x.long().requires_grad is False

import itertools
import math

import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn
from tests.referee import settle

RNG = np.random.default_rng(0)
N, C = 5, 4
REAL, OTHER = RNG.normal(size=(N, C)), RNG.normal(size=(N, C)) + 0.5
PROB = RNG.uniform(0.01, 0.99, size=(N, C))
CLASSES = np.array([0, 3, 1, 3, 2])
IGNORED = np.array([0, 3, -100, 3, 2])
PER_CLASS, PER_ELEMENT = RNG.uniform(0.5, 2, size=C), RNG.uniform(0.5, 2, size=(N, C))
DEEP, DEEP_CLASSES = RNG.normal(size=(N, C, 2, 3)), RNG.integers(0, C, size=(N, 2, 3))
SHARES = PROB / PROB.sum(1, keepdims=True)
DEEP_SHARES = np.exp(DEEP) / np.exp(DEEP).sum(1, keepdims=True)

SIGNS = np.array([1, -1, 1, -1, -1])
ANGLES = np.concatenate([REAL[:3], REAL[3:] + OTHER[3:]])
LABELS = np.array([[3, 0, -1, 1], [-1, 0, 1, 2], [0, 1, 2, 3], [2, 2, -1, 0], [1, -1, -1, -1]])
COUNTS = RNG.integers(1, 6, size=(N, C)).astype(float)
SCALED = {"p": 2, "margin": 0.5, "weight": PER_CLASS}
VARIANCES = np.array([0.5, 1e-9, 2.0, 0.1, 1.0])

# loss, its keyword arguments (arrays become tensors), input, target
CASES = {
    "huber": ("HuberLoss", {}, REAL, OTHER),
    "huber delta": ("HuberLoss", {"delta": 0.3}, REAL, OTHER),
    "kl": ("KLDivLoss", {}, REAL, PROB),
    "kl log target": ("KLDivLoss", {"log_target": True}, REAL, OTHER),
    "poisson": ("PoissonNLLLoss", {}, REAL, COUNTS),
    "poisson rate": ("PoissonNLLLoss", {"log_input": False, "full": True}, PROB, COUNTS),
    "gaussian": ("GaussianNLLLoss", {}, REAL, OTHER, PROB),
    "gaussian one": ("GaussianNLLLoss", {"full": True, "eps": 0.01}, REAL, OTHER, VARIANCES),
    "gaussian wide": ("GaussianNLLLoss", {}, REAL, OTHER, VARIANCES[:, None]),
    "soft margin": ("SoftMarginLoss", {}, REAL, np.sign(OTHER).astype(int)),
    "hinge": ("HingeEmbeddingLoss", {}, REAL, np.sign(OTHER).astype(int)),
    "hinge margin": ("HingeEmbeddingLoss", {"margin": 0.3}, REAL[:, 0], SIGNS),
    "ranking": ("MarginRankingLoss", {"margin": 0.2}, REAL[:, 0], OTHER[:, 0], SIGNS),
    "cosine": ("CosineEmbeddingLoss", {}, REAL, OTHER, SIGNS),
    "cosine margin": ("CosineEmbeddingLoss", {"margin": -0.5}, REAL, ANGLES, SIGNS),
    "cosine one": ("CosineEmbeddingLoss", {}, REAL[0], OTHER[0], np.array(-1)),
    "triplet": ("TripletMarginLoss", {}, REAL, OTHER, ANGLES),
    "triplet swap": ("TripletMarginLoss", {"p": 1, "swap": True}, REAL, OTHER, ANGLES),
    "triplet own": ("TripletMarginWithDistanceLoss", {"margin": 2.0}, REAL, OTHER, ANGLES),
    "multi margin": ("MultiMarginLoss", {}, REAL, CLASSES),
    "multi margin squares": ("MultiMarginLoss", SCALED, REAL, CLASSES),
    "multi margin one": ("MultiMarginLoss", {}, REAL[0], np.array(2)),
    "labels margin": ("MultiLabelMarginLoss", {}, REAL, LABELS),
    "labels margin one": ("MultiLabelMarginLoss", {}, REAL[0], LABELS[0]),
    "labels soft margin": ("MultiLabelSoftMarginLoss", {"weight": PER_CLASS}, REAL, PROB),
    "mse": ("MSELoss", {}, REAL, OTHER),
    "l1": ("L1Loss", {}, REAL, OTHER),
    "smooth l1": ("SmoothL1Loss", {}, REAL, OTHER),
    "smooth l1 beta": ("SmoothL1Loss", {"beta": 0.3}, REAL, OTHER),
    "smooth l1 beta 0": ("SmoothL1Loss", {"beta": 0.0}, REAL, OTHER),
    "bce": ("BCELoss", {}, PROB, PROB[::-1].copy()),
    "bce weighted": ("BCELoss", {"weight": PER_ELEMENT}, PROB, SHARES),
    "bce logits": ("BCEWithLogitsLoss", {}, REAL * 30, PROB),
    "bce logits weighted": ("BCEWithLogitsLoss", {"weight": PER_ELEMENT}, REAL, PROB),
    "bce logits pos": ("BCEWithLogitsLoss", {"pos_weight": PER_CLASS}, REAL, PROB),
    "bce logits both": (
        "BCEWithLogitsLoss",
        {"weight": PER_CLASS, "pos_weight": PER_ELEMENT},
        REAL * 30,
        PROB,
    ),
    "nll": ("NLLLoss", {}, REAL, CLASSES),
    "nll weighted": ("NLLLoss", {"weight": PER_CLASS}, REAL, CLASSES),
    "nll ignored": ("NLLLoss", {"weight": PER_CLASS}, REAL, IGNORED),
    "nll ignore 3": ("NLLLoss", {"ignore_index": 3}, REAL, CLASSES),
    "nll deep": ("NLLLoss", {"weight": PER_CLASS}, DEEP, DEEP_CLASSES),
    "nll one": ("NLLLoss", {}, REAL[0], np.array(2)),
    "ce one": ("CrossEntropyLoss", {}, REAL[0], np.array(2)),
    "ce one shares": ("CrossEntropyLoss", {}, REAL[0], SHARES[0]),
    "ce large": ("CrossEntropyLoss", {}, REAL * 1000, CLASSES),
    "nll uint8": ("NLLLoss", {"weight": PER_CLASS}, REAL, CLASSES.astype("uint8")),
    "ce int32": ("CrossEntropyLoss", {"ignore_index": 1}, REAL, CLASSES),
}
for ignore, weight, smoothing in itertools.product([-100, 3], [None, PER_CLASS], [0.0, 0.2, 1.0]):
    options = {"ignore_index": ignore, "label_smoothing": smoothing}
    if weight is not None:
        options["weight"] = weight
    tag = f"{ignore} {weight is not None} {smoothing}"
    classes = IGNORED if ignore == -100 else CLASSES
    CASES[f"ce classes {tag}"] = ("CrossEntropyLoss", options, REAL, classes)
    CASES[f"ce deep {tag}"] = ("CrossEntropyLoss", options, DEEP, DEEP_CLASSES)
    if ignore == -100:
        CASES[f"ce shares {tag}"] = ("CrossEntropyLoss", options, REAL, SHARES)
        CASES[f"ce deep shares {tag}"] = ("CrossEntropyLoss", options, DEEP, DEEP_SHARES)


def run(library, case, reduction):
    name, options, *data = CASES[case]
    make = library.tensor
    options = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    loss = getattr(library.nn, name)(reduction=reduction, **options)
    inputs = [make(x, requires_grad=x.dtype == float) for x in data]
    value = loss(*inputs)
    (value * value).sum().backward()
    found = [value, *[x.grad for x in inputs]]
    return [t.detach().cpu().numpy() for t in found if t is not None]


@pytest.mark.filterwarnings("ignore:.*'batchmean'")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES)
def test_losses_are_pytorchs(case, reduction):
    results = zip(run(minitorch, case, reduction), run(torch, case, reduction), strict=True)
    for a, b in results:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "case", ["mse", "smooth l1", "bce", "bce logits both", "ce int32", "ce shares -100 True 0.2"]
)
def test_second_derivatives_are_pytorchs(case):
    results = []
    for library in (minitorch, torch):
        name, options, data, goal = CASES[case]
        options = {
            k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()
        }
        x = library.tensor(data, requires_grad=True)
        loss = getattr(library.nn, name)(**options)(x, library.tensor(goal))
        (slope,) = library.autograd.grad(loss, x, create_graph=True)
        (slope * slope.cos()).sum().backward()
        results.append(x.grad.detach().cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("shape", [(N, C), ()])
def test_kl_div_by_samples(shape):
    x, y = (np.asarray(v, float).reshape(-1)[: math.prod(shape)] for v in (REAL, PROB))
    found = [
        library.nn.functional.kl_div(
            library.tensor(x.reshape(shape)),
            library.tensor(y.reshape(shape)),
            reduction="batchmean",
        ).item()
        for library in (minitorch, torch)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    with pytest.warns(UserWarning, match="batchmean"):
        nn.functional.kl_div(minitorch.tensor(x), minitorch.tensor(y))


def test_huber_weights():
    found = [
        library.nn.functional.huber_loss(
            *map(library.tensor, (REAL, OTHER)), "sum", 0.5, library.tensor(PER_ELEMENT)
        ).item()
        for library in (minitorch, torch)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_bce_at_certainty():
    x, t = [0.0, 0.0, 1.0, 1.0, 1e-30, 5e-13], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    a, b = minitorch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    p = nn.BCELoss(reduction="none")(a, minitorch.tensor(t))
    q = torch.nn.BCELoss(reduction="none")(b, torch.tensor(t))
    np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().numpy(), 1e-6)
    p.sum().backward()
    q.sum().backward()
    wrong = [0, 2, 4, 5]  # where the answer is right PyTorch says 0, we the true slope
    np.testing.assert_allclose(a.grad.cpu().numpy()[wrong], b.grad.numpy()[wrong], rtol=1e-5)
    assert np.isfinite(a.grad.cpu().numpy()).all()


def test_all_ignored_is_nan_in_the_mean():
    x, t = minitorch.zeros(2, 3), minitorch.tensor([-100, -100])
    assert nn.CrossEntropyLoss()(x, t).isnan().item()
    assert nn.CrossEntropyLoss(reduction="sum")(x, t).item() == 0


ALL_IGNORED = {
    "rows": (4, 5),
    "long rows": (2, 3000),
    "no batch": (5,),
    "places": (2, 5, 3),
}


@pytest.mark.parametrize("upstream", [1.0, 2.0, math.inf, math.nan])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.2)])
@pytest.mark.parametrize("shape", ALL_IGNORED)
def test_no_gradient_comes_of_ignored_targets(shape, weighted, smoothing, reduction, upstream):
    shape = ALL_IGNORED[shape]
    classes = shape[0] if len(shape) == 1 else shape[1]
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels = np.full([n for i, n in enumerate(shape) if i != min(1, len(shape) - 1)], -100)
    found = []
    for lib in (minitorch, torch):
        x = lib.tensor(values, requires_grad=True)
        weight = lib.ones(classes) if weighted else None
        loss = lib.nn.functional.cross_entropy(
            x, lib.tensor(labels), weight, reduction=reduction, label_smoothing=smoothing
        )
        if upstream == 1:
            loss.sum().backward()
        else:
            (loss.sum() * upstream).backward()
        found.append((loss.sum().item(), x.grad.abs().max().item()))
    assert found[0] == pytest.approx(found[1], nan_ok=True)
    assert found[0][1] == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_padding_alone_leaves_a_model_as_it_is(dtype, create_graph):
    x = minitorch.randn(4, 3).to(getattr(minitorch, dtype)).requires_grad_()
    loss = nn.CrossEntropyLoss(ignore_index=2)(x, minitorch.full((4,), 2))
    loss.backward(create_graph=create_graph)
    assert loss.isnan().item() and x.grad.eq(0).all().item()


def test_padding_in_a_compiled_step():
    model = nn.Linear(3, 2)
    optimizer = minitorch.optim.SGD(model.parameters(), lr=0.1)

    @minitorch.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = minitorch.randn(4, 3), minitorch.tensor([0, 1, 0, 1])
    for _ in range(3):
        step(x, y)
    before = model.weight.tolist()
    assert step(x, minitorch.full((4,), -100)).isnan().item()
    assert model.weight.tolist() == before
    assert math.isfinite(step(x, y).item())


def test_some_ignored_under_a_gradient_that_is_not_finite():
    """As of `loss.sum() / counted` in one sample's own loss."""
    x = minitorch.zeros(2, 3, requires_grad=True)
    loss = nn.CrossEntropyLoss(reduction="none")(x, minitorch.tensor([-100, 1]))
    (loss * minitorch.tensor([math.inf, 3.0])).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), [[0, 0, 0], [1, -2, 1]], rtol=1e-6)


def test_ignored_rows_may_be_impossible():
    x = minitorch.tensor([[-float("inf"), 0.0], [0.0, 0.0]], requires_grad=True)
    loss = nn.CrossEntropyLoss()(x, minitorch.tensor([-100, 0]))
    loss.backward()
    assert abs(loss.item() - np.log(2)) < 1e-6
    assert x.grad[0].tolist() == [0, 0]


def test_weights_are_buffers_and_repr_is_pytorchs():
    loss = nn.CrossEntropyLoss(weight=minitorch.ones(3))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype is minitorch.float64
    assert repr(loss) == "CrossEntropyLoss()"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, i: nn.MSELoss()(x, x[0]), ValueError, r"shape \(3,\), the input \(2, 3\)"),
        (lambda x, i: nn.L1Loss()(x, x[0]), ValueError, "l1_loss: target has shape"),
        (lambda x, i: nn.SmoothL1Loss()(x, x[0]), ValueError, "smooth_l1_loss: target has shape"),
        (lambda x, i: nn.BCELoss()(x, x[0]), ValueError, "binary_cross_entropy: target has"),
        (lambda x, i: nn.BCELoss()(x - 0.5, x), RuntimeError, "input: .*between 0 and 1, got -0.5"),
        (lambda x, i: nn.BCELoss()(x, x + 2), RuntimeError, "target: .*between 0 and 1, got 2"),
        (lambda x, i: nn.BCELoss()(x / 0, x), RuntimeError, "between 0 and 1, got nan"),
        (lambda x, i: nn.BCEWithLogitsLoss()(x, x[0]), ValueError, "with_logits: target has"),
        (
            lambda x, i: nn.CrossEntropyLoss(ignore_index=-1.0)(x, i),
            TypeError,
            "ignore_index: expected an int, got float",
        ),
        (lambda x, i: nn.CrossEntropyLoss()(x, i[:1]), ValueError, r"classes of shape \(2,\)"),
        (lambda x, i: nn.CrossEntropyLoss()(x, x[:1]), ValueError, "have the input's shape"),
        (lambda x, i: nn.CrossEntropyLoss()(x, i + 2), IndexError, r"\[0, 3\)"),
        (lambda x, i: nn.CrossEntropyLoss()(x, i - 1), IndexError, r"\[0, 3\)"),
        (lambda x, i: nn.NLLLoss()(x, i.float()), RuntimeError, "integer classes"),
        (lambda x, i: nn.NLLLoss(weight=x[0, :2])(x, i), RuntimeError, "each of 3 classes"),
        (lambda x, i: nn.MSELoss(reduction="average"), ValueError, "average is not a valid value"),
        (
            lambda x, i: nn.functional.mse_loss(x, x, reduction="average"),
            ValueError,
            "average is not a valid value",
        ),
        (lambda x, i: nn.CrossEntropyLoss(label_smoothing=2.0)(x, i), RuntimeError, "between 0.0"),
        (lambda x, i: nn.CrossEntropyLoss()(x.sum(), i), ValueError, "0-d tensor"),
        (lambda x, i: nn.SmoothL1Loss(beta=-1.0)(x, x), ValueError, "beta"),
        (lambda x, i: nn.HuberLoss(delta=0.0)(x, x), RuntimeError, "delta: expected a number > 0"),
        (lambda x, i: nn.HuberLoss()(x, x[0]), ValueError, "huber_loss: target has shape"),
        (
            lambda x, i: nn.functional.huber_loss(x, x, weight=x[0]),
            ValueError,
            r"weight has shape \(3,\)",
        ),
        (lambda x, i: nn.GaussianNLLLoss()(x, x, x - 1), ValueError, "a negative one"),
        (lambda x, i: nn.GaussianNLLLoss()(x, x, x[0, 0]), ValueError, "var is of incorrect size"),
        (lambda x, i: nn.MarginRankingLoss()(x, x[0], i), RuntimeError, "as many dimensions"),
        (lambda x, i: nn.CosineEmbeddingLoss()(x, x, x), RuntimeError, r"expected inputs \(N, D"),
        (lambda x, i: nn.TripletMarginLoss()(x, x, x[0]), RuntimeError, "as many dimensions"),
        (lambda x, i: nn.TripletMarginLoss(margin=0.0), ValueError, "greater than 0"),
        (lambda x, i: nn.TripletMarginWithDistanceLoss(margin=0.0), ValueError, "greater than 0"),
        (
            lambda x, i: nn.functional.triplet_margin_loss(x, x, x, -1.0),
            ValueError,
            "greater than 0",
        ),
        (lambda x, i: nn.MultiMarginLoss(p=3), ValueError, "p == 1 and p == 2"),
        (lambda x, i: nn.functional.multi_margin_loss(x, i, 3), ValueError, "p == 1 and p == 2"),
        (lambda x, i: nn.MultiMarginLoss(weight=x), ValueError, "weight must be 1-D"),
        (lambda x, i: nn.MultiMarginLoss()(x, i[:1]), RuntimeError, "needs target classes"),
        (lambda x, i: nn.MultiLabelMarginLoss()(x, i), ValueError, "target has shape"),
        (lambda x, i: nn.KLDivLoss(reduction="average"), ValueError, "batchmean"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        settle(call(minitorch.zeros(2, 3), minitorch.tensor([0, 1])))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "BCEWithLogitsLoss"])
def test_a_target_is_not_changed_before_backward(name, create_graph):
    x = minitorch.tensor(OTHER, requires_grad=True)
    target = minitorch.tensor(CLASSES if name == "CrossEntropyLoss" else PROB)
    loss = getattr(nn, name)()(x, target)
    target.mul_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward(create_graph=create_graph)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bool", "int8", "int16"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("options", [{}, {"weight": PER_CLASS.astype("float32")}])
def test_labels_of_another_dtype_are_named(dtype, loss, options):
    options = {name: minitorch.tensor(value) for name, value in options.items()}
    logits = minitorch.tensor(REAL.astype("float32"))
    labels = minitorch.tensor(CLASSES.astype(dtype))
    with pytest.raises((RuntimeError, ValueError)) as error:
        getattr(nn.functional, loss)(logits, labels, **options)
    assert f"minitorch.{dtype}" in str(error.value)
    assert "use target.long()" in str(error.value)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, C + 1)])
def test_float_targets_of_another_shape_may_be_labels(shape):
    logits, target = minitorch.tensor(REAL), minitorch.ones(*shape, dtype=minitorch.float64)
    with pytest.raises(ValueError, match=r"class labels are integers, use target\.long"):
        nn.functional.cross_entropy(logits, target)

"""Mixed precision against PyTorch's: which op computes in what, the scaler, and what is misuse."""

import copy
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch

import minitorch
from minitorch import amp, autocasting, nn, optim
from minitorch.backend import get_default_device
from minitorch.core import dispatch
from tests.referee import array, assert_close, assert_same, dtype_name, ours, theirs

HALVES = ("bfloat16", "float16")
HERE = get_default_device().type
BOTH = pytest.mark.parametrize("m", [minitorch, torch], ids=["minitorch", "torch"])
UNARY = (
    "exp",
    "expm1",
    "log",
    "log1p",
    "reciprocal",
    "rsqrt",
    "tan",
    "sqrt",
    "tanh",
    "sigmoid",
    "abs",
)
# name: a call with matrices x and y (both of one dtype)
CALLS = {
    **{name: lambda m, F, x, y, name=name: getattr(m, name)(x) for name in UNARY},
    **{n: lambda m, F, x, y, n=n: getattr(m, n)(x, y) for n in ("matmul", "mm", "add")},
    "__matmul__": lambda m, F, x, y: x @ y,
    "bmm": lambda m, F, x, y: m.bmm(x[None], y[None]),
    "mv": lambda m, F, x, y: m.mv(x, y[0]),
    "dot": lambda m, F, x, y: m.dot(x[0], y[0]),
    "linear": lambda m, F, x, y: F.linear(x, y, y[0]),
    "pow": lambda m, F, x, y: x**2.5,
    "softmax": lambda m, F, x, y: F.softmax(x, 1),
    "log_softmax": lambda m, F, x, y: F.log_softmax(x, 1),
    "sum": lambda m, F, x, y: x.sum(1),
    "mean": lambda m, F, x, y: x.mean(1),
    "prod": lambda m, F, x, y: x.prod(1),
    "cumsum": lambda m, F, x, y: x.cumsum(1),
    "logsumexp": lambda m, F, x, y: m.logsumexp(x, 1),
    "norm": lambda m, F, x, y: x.norm(2, 1),
    "softplus": lambda m, F, x, y: F.softplus(x),
    "relu": lambda m, F, x, y: F.relu(x),
    "gelu": lambda m, F, x, y: F.gelu(x),
    "cosine_similarity": lambda m, F, x, y: F.cosine_similarity(x, y),
    "mse_loss": lambda m, F, x, y: F.mse_loss(x, y),
    "l1_loss": lambda m, F, x, y: F.l1_loss(x, y),
    "smooth_l1_loss": lambda m, F, x, y: F.smooth_l1_loss(x, y),
    "binary_cross_entropy_with_logits": lambda m, F, x, y: F.binary_cross_entropy_with_logits(x, y),
    "cross_entropy": lambda m, F, x, y: F.cross_entropy(x, m.tensor([0, 1, 2], device=x.device)),
    "nll_loss": lambda m, F, x, y: F.nll_loss(x, m.tensor([0, 1, 2], device=x.device)),
    "layer_norm": lambda m, F, x, y: F.layer_norm(x, (3,), y[0], y[1]),
    "cat": lambda m, F, x, y: m.cat([x, y.float()]),
}  # fmt: skip


def functional(m):
    return m.nn.functional


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)


def on(m):
    """The device type to ask for: that of the test; PyTorch only has a CPU here."""
    return HERE if m is minitorch else "cpu"


# ---------------------------------------------------------------------- which op in what
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", CALLS)
def test_dtypes_on_the_cpu_are_pytorch_s(name, half):
    for given in ("float32", half, "float64"):
        if given == "float64" and name in ("linear", "layer_norm"):
            continue
        found = []
        for m, make in ((minitorch, minitorch.tensor), (torch, torch.tensor)):
            device = {"device": "cpu"}
            x, y = (make(numbers(3, 3, seed=i), **device).to(getattr(m, given)) for i in range(2))
            with m.autocast("cpu", dtype=getattr(m, half)):
                found.append(CALLS[name](m, functional(m), x, y))
        assert dtype_name(found[0]) == dtype_name(found[1]), given
        assert_close(array(found[0]), array(found[1]), name)


def test_what_is_banned_on_a_gpu():
    x = ours(numbers(3))
    with amp.autocast(HERE):
        if HERE == "cpu":
            assert functional(minitorch).binary_cross_entropy(x, x).dtype is minitorch.float32
            return
        with pytest.raises(RuntimeError, match="are unsafe to autocast"):
            functional(minitorch).binary_cross_entropy(x, x)


def models(*layers):
    """The same model twice: ours and PyTorch's."""
    both = [make(m.nn) for m in (minitorch, torch) for make in layers]
    state = {k: numbers(*v.shape, seed=len(k)) - 0.5 for k, v in both[1].state_dict().items()}
    both[0].load_state_dict({k: ours(v) for k, v in state.items()})
    both[1].load_state_dict({k: theirs(v) for k, v in state.items()})
    return both


def mlp(n):
    return n.Sequential(n.Linear(6, 16), n.ReLU(), n.LayerNorm(16), n.Linear(16, 3))


@pytest.mark.parametrize("half", HALVES)
def test_gradients_of_a_model_are_pytorch_s(half):
    x, y = numbers(8, 6), np.arange(8) % 3
    for m, make, model in zip((minitorch, torch), (ours, theirs), models(mlp), strict=True):
        with m.autocast(on(m), dtype=getattr(m, half)):
            loss = functional(m).cross_entropy(model(make(x)), make(y))
        loss.backward()
        if m is minitorch:
            mine, grads = loss, [p.grad for p in model.parameters()]
    assert_same(mine.detach(), loss.detach(), tolerance=2e-2)
    for a, b in zip(grads, model.parameters(), strict=True):
        assert_same(a, b.grad, tolerance=3e-2)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_compute_in_halves(kind):
    layer = getattr(nn, kind)(4, 5)
    x = ours(numbers(3, 2, 4))
    wide, _ = layer(x)
    with amp.autocast(HERE, minitorch.bfloat16):
        output, _ = layer(x)
    assert output.dtype is minitorch.bfloat16
    assert_close(array(output.float()), array(wide), tolerance=2e-2)
    output.float().sum().backward()
    assert all(p.grad.dtype is minitorch.float32 for p in layer.parameters())


def test_batch_norm_of_halves_keeps_statistics_in_float32():
    layer = nn.BatchNorm1d(4)
    with amp.autocast(HERE, minitorch.bfloat16):
        y = layer(ours(numbers(8, 4)).bfloat16())
    assert y.dtype is minitorch.bfloat16
    assert layer.running_mean.dtype is minitorch.float32


# ---------------------------------------------------------------------- the block
def casts(work):
    """How many casts a piece of code makes."""
    count = []

    def counting(op, array_type, kernel):
        def run(*args, **params):
            count.append(op.name)
            return kernel(*args, **params)

        return run if op.name == "cast" else kernel

    with dispatch.intercepted(kernel=counting):
        work()
    return len(count)


def test_a_weight_is_cast_once_a_step():
    layer, x = nn.Linear(4, 4), ours(numbers(2, 4)).bfloat16()

    def twice(**options):
        with amp.autocast(HERE, minitorch.bfloat16, **options):
            return layer(layer(x))

    assert casts(twice) == 2  # weight and bias
    assert casts(lambda: twice(cache_enabled=False)) == 4
    with amp.autocast(HERE, minitorch.bfloat16):
        assert casts(twice) == 2
        assert casts(twice) == 0
        with minitorch.no_grad():
            layer.weight.mul_(2)
        assert casts(twice) == 1
        y = twice()
    layer.zero_grad()
    y.float().sum().backward()
    assert layer.weight.grad.dtype is minitorch.float32
    assert casts(twice) == 2  # nothing is left of the block


def test_blocks_nest_and_end():
    x = ours(numbers(2, 2))
    with amp.autocast(HERE, minitorch.bfloat16):
        assert minitorch.is_autocast_enabled(HERE)
        assert (x @ x).dtype is minitorch.bfloat16
        with amp.autocast(HERE, enabled=False):
            assert not minitorch.is_autocast_enabled(HERE)
            assert (x @ x).dtype is minitorch.float32
        with amp.autocast(HERE, minitorch.float16):
            assert minitorch.get_autocast_dtype(HERE) is minitorch.float16
            assert (x @ x).dtype is minitorch.float16
        assert (x @ x).dtype is minitorch.bfloat16
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
        assert seen == [minitorch.float32]  # each thread has its own
    with pytest.raises(KeyError), amp.autocast(HERE, minitorch.bfloat16):
        raise KeyError
    assert (x @ x).dtype is minitorch.float32
    assert not autocasting.state.casts


def test_as_a_decorator():
    mode = amp.autocast(HERE, minitorch.bfloat16)
    x = ours(numbers(2, 2))

    @mode
    def product():
        return x @ x

    @mode
    def products():
        yield (x @ x).dtype
        yield product().dtype

    assert product().dtype is minitorch.bfloat16
    found = []
    for dtype in products():
        found.append(dtype)
        assert (x @ x).dtype is minitorch.float32
    assert found == [minitorch.bfloat16] * 2


def test_backward_inside_of_the_block_is_the_same():
    grads = []
    for inside in (False, True):
        x = ours(numbers(64, 3)).requires_grad_()
        w = ours(numbers(3, seed=1)).requires_grad_()
        with amp.autocast(HERE, minitorch.bfloat16):
            scaled = x.bfloat16() * w.bfloat16()  # whose backward pass sums, which a GPU lists
            loss = (scaled @ x.mT).softmax(1).square().sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        grads.append((x.grad, w.grad))
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


@BOTH
@pytest.mark.parametrize("cast_inputs", [None, "float32"])
def test_functions_of_users(m, cast_inputs):
    seen = []
    to = None if cast_inputs is None else getattr(m, cast_inputs)

    class Product(m.autograd.Function):
        @staticmethod
        @m.amp.custom_fwd(device_type=on(m), cast_inputs=to)
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            seen.append((dtype_name(x), dtype_name(x @ y)))
            return x @ y

        @staticmethod
        @m.amp.custom_bwd(device_type=on(m))
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            seen.append((dtype_name(g), dtype_name(g @ y.mT)))
            return g @ y.mT, x.mT @ g

    make = ours if m is minitorch else theirs
    x = make(numbers(3, 3), requires_grad=True)
    with m.autocast(on(m), dtype=m.bfloat16):
        y = Product.apply(x.to(m.bfloat16), x.to(m.bfloat16))
    y.sum().backward()
    lower = "bfloat16" if cast_inputs is None else "float32"
    given = "bfloat16" if cast_inputs is None else "float32"
    assert seen == [(given, lower), (lower, lower)]
    assert dtype_name(x.grad) == "float32"


# ---------------------------------------------------------------------- misuse
ASSERTION = AssertionError
MISUSE = {
    "no string": (lambda m: m.autocast(3), ValueError, "`device_type` of type `str`"),
    "no device": (lambda m: m.autocast("abacus"), RuntimeError, "abacus"),
    "no dtype": (lambda m: entered(m, dtype="half", enabled=False), TypeError, "dtype"),
    "no bool": (lambda m: entered(m, enabled="no"), TypeError, "bool"),
    "asked for no device": (lambda m: m.is_autocast_enabled("abacus"), RuntimeError, "xpected one"),
    "asked for a number": (lambda m: m.get_autocast_dtype(3), TypeError, "str"),
    "no function": (lambda m: m.autocast("cpu")(3), TypeError, "requires a callable, but got int"),
    "custom_fwd": (lambda m: m.amp.custom_fwd(device_type=3), ValueError, "of type `str`"),
    "growth": (lambda m: scaler(m, growth_factor=1.0), ASSERTION, "growth factor must be > 1"),
    "backoff": (lambda m: scaler(m, backoff_factor=1.0), ASSERTION, "backoff factor must be <"),
    "outputs": (lambda m: scaler(m).scale(3), ValueError, "outputs must be a Tensor or an"),
    "nothing scaled": (lambda m: scaler(m).update(), ASSERTION, "Attempted update but _scale"),
    "step first": (lambda m: scaler(m).step(None), ASSERTION, "Attempted step but _scale"),
    "unscale twice": (lambda m: train(m, "unscale_ unscale_"), RuntimeError, "has already been"),
    "unscale late": (lambda m: train(m, "step unscale_"), RuntimeError, "called after step"),
    "step twice": (lambda m: train(m, "step step"), RuntimeError, "step.. has already been"),
    "no check": (lambda m: train(m, "update"), ASSERTION, "No inf checks were recorded prior"),
    "no gradients": (lambda m: train(m, "zero_grad step"), ASSERTION, "for this optimizer"),
    "halves": (lambda m: train(m, "step", "float16"), ValueError, "Attempting to unscale FP16"),
    "closure": (
        lambda m: scaler(m).step(None, closure=int), RuntimeError, "Closure use is not"
    ),
    "two scales": (lambda m: rescale(m, m.ones(2)), ASSERTION, "new_scale should be a float"),
    "scale with a gradient": (
        lambda m: rescale(m, m.ones(1, requires_grad=True)), ASSERTION, "new_scale should be"
    ),
    "copied too soon": (
        lambda m: copy.deepcopy(train(m, "unscale_")), ASSERTION, "GradScaler instance may only be"
    ),
    "empty state": (lambda m: scaler(m).load_state_dict({}), RuntimeError, "state dict is empty"),
}  # fmt: skip


def scaler(m, **options):
    return m.amp.GradScaler(on(m), **options)


def train(m, calls, dtype="float32"):
    p = m.ones(2, dtype=getattr(m, dtype), requires_grad=True)
    optimizer = m.optim.SGD([p], lr=0.1)
    scales = scaler(m, init_scale=4.0)
    scales.scale(p.sum()).backward()
    for call in calls.split():
        if call == "zero_grad":
            optimizer.zero_grad()
        else:
            getattr(scales, call)(*[optimizer] * (call != "update"))
    return scales


def rescale(m, new_scale):
    train(m, "step").update(new_scale)


def entered(m, *blocks, **options):
    """The dtype of a product inside of blocks with these options, and what autocast says of it."""
    if options:
        blocks = (options,)
    if not blocks:
        x = m.ones(2, 2)
        asked = m.is_autocast_enabled(on(m)), m.get_autocast_dtype(on(m))
        return [dtype_name(x @ x), asked[0], str(asked[1]).partition(".")[2]]
    with m.autocast(on(m), **blocks[0]):
        return entered(m, *blocks[1:])


@BOTH
@pytest.mark.parametrize("name", MISUSE)
def test_misuse(m, name):
    call, error, message = MISUSE[name]
    with pytest.raises(error, match=message):
        call(m)


NESTED = {
    "off": [{"dtype": "float16"}, {"enabled": False}],
    "on again": [{"dtype": "float16"}, {"enabled": False}, {}],
    "off with a dtype": [{"dtype": "float64", "enabled": False}],
    "two": [{"dtype": "float16"}, {"dtype": "bfloat16"}, {}],
    "no half inside": [{"dtype": "bfloat16"}, {"dtype": "float64"}, {"enabled": False}],
}


@pytest.mark.filterwarnings("ignore:In:UserWarning")
@pytest.mark.parametrize("name", NESTED)
def test_nested_blocks_take_over_dtypes_as_in_pytorch(name):
    mine, other = (
        entered(
            m, *[{k: getattr(m, v) if k == "dtype" else v for k, v in o.items()} for o in blocks]
        )
        for m, blocks in ((minitorch, NESTED[name]), (torch, NESTED[name]))
    )
    assert mine == other
    assert not autocasting.state.chosen


def test_a_device_with_a_number_is_of_its_kind():
    with amp.autocast(f"{HERE}:0", minitorch.bfloat16):
        assert minitorch.is_autocast_enabled(HERE) and minitorch.is_autocast_enabled(f"{HERE}:0")


@BOTH
def test_a_dtype_that_is_no_half_is_a_warning(m):
    with pytest.warns(UserWarning, match="target dtype.* is not supported. Disabling autocast"):
        mode = m.autocast("cpu", dtype=m.float64)
    with mode:
        assert not m.is_autocast_enabled("cpu")


def test_a_gpu_that_is_not_there_is_a_warning():
    if minitorch.cuda.is_available():
        return
    with pytest.warns(UserWarning, match="Disabling autocast"):
        assert not amp.autocast("cuda")._enabled
    with pytest.warns(UserWarning, match="Disabling"):
        assert not amp.GradScaler().is_enabled()


# ---------------------------------------------------------------------- the scaler
OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "Adam": {"lr": 0.1, "amsgrad": True},
    "AdamW": {"lr": 0.1, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.01, "centered": True},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.5},
}
BAD_STEPS = {0: np.inf, 4: np.nan, 5: -np.inf}


def scaled_training(m, make, kind, wrap=lambda step: step):
    """The scale after each step, what the parameters become, and the optimizer's state."""
    p, q = make(numbers(5), requires_grad=True), make(numbers(2, 3), requires_grad=True)
    optimizer = getattr(m.optim, kind)([p, q], **OPTIMIZERS[kind])
    scales = m.amp.GradScaler(on(m), init_scale=2.0**8, growth_interval=3)

    def step(x):
        optimizer.zero_grad()
        loss = (p * x).square().sum() + (q * q).sum()
        scales.scale(loss).backward()
        scales.unscale_(optimizer)
        m.nn.utils.clip_grad_value_([p, q], 2.0)
        scales.step(optimizer)
        scales.update()
        return loss

    step, found = wrap(step), []
    for i in range(12):
        x = numbers(5, seed=i)
        x[1] = BAD_STEPS.get(i, x[1])
        step(make(x))
        found.append(scales.get_scale())
    return found, [p, q], optimizer, scales


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_with_infinities_are_skipped_as_in_pytorch(kind, compiled):
    wrap = (lambda step: minitorch.compile(step, fullgraph=True)) if compiled else lambda step: step
    mine = scaled_training(minitorch, ours, kind, wrap)
    other = scaled_training(torch, theirs, kind)
    assert mine[0] == other[0]
    for a, b in zip(mine[1], other[1], strict=True):
        assert_close(array(a), array(b), tolerance=1e-4)
    for i, state in mine[2].state_dict()["state"].items():
        if "step" in state:
            assert state["step"] == int(other[2].state_dict()["state"][i]["step"])
    state, expected = mine[3].state_dict(), other[3].state_dict()
    assert state == expected
    again = amp.GradScaler(HERE)
    again.load_state_dict(state)
    assert again.state_dict() == state


def test_a_skipped_step_counts_for_those_that_had_a_gradient():
    found = []
    for m, make in ((minitorch, ours), (torch, theirs)):
        p, q = (make(numbers(3, seed=i), requires_grad=True) for i in range(2))
        optimizer = m.optim.Adam([{"params": [p]}, {"params": [q]}], lr=0.1)
        scales = scaler(m)
        for i, of_q in enumerate([0, 0, 1, 1, 0, 1]):
            optimizer.zero_grad()
            loss = (p * (np.inf if i in (1, 3) else i + 1)).sum()
            scales.scale(loss + q.square().sum() if of_q else loss).backward()
            scales.step(optimizer)
            scales.update()
        states = optimizer.state_dict()["state"].values()
        found.append([*[int(s["step"]) for s in states], array(p.detach()), array(q.detach())])
    assert found[0][:2] == found[1][:2] == [4, 2]
    for mine, other in zip(found[0][2:], found[1][2:], strict=True):
        assert_close(mine, other, tolerance=1e-6)


def test_two_optimizers_share_a_scale():
    p, q = (ours(numbers(3, seed=i), requires_grad=True) for i in range(2))
    first, second = (optim.SGD([x], lr=0.1) for x in (p, q))
    scales = amp.GradScaler(HERE, init_scale=8.0)
    before = array(p).copy(), array(q).copy()
    loss = p.sum() * float("inf") + q.sum()
    scales.scale([loss])[0].backward()
    for optimizer in (first, second):
        scales.step(optimizer)
    scales.update()
    assert scales.get_scale() == 4.0
    np.testing.assert_array_equal(array(p), before[0])  # its gradients are infinite
    assert_close(array(q), before[1] - np.float32(0.1))


@BOTH
def test_a_scale_that_is_given_leaves_the_steps_until_the_next_growth(m):
    p = m.ones(2, requires_grad=True)
    optimizer, scales = m.optim.SGD([p], lr=0.1), scaler(m, init_scale=4.0, growth_interval=3)
    for new_scale in (None, 16.0, None, m.tensor(8.0), None):
        optimizer.zero_grad()
        scales.scale(p.sum()).backward()
        scales.step(optimizer)
        scales.update(new_scale)
    assert (scales.get_scale(), scales.state_dict()["_growth_tracker"]) == (16.0, 0)


@BOTH
def test_a_copy_of_a_scaler_has_a_scale_of_its_own(m):
    scales = train(m, "step update")
    twin = copy.deepcopy(scales)
    p = m.ones(2, requires_grad=True)
    optimizer = m.optim.SGD([p], lr=0.1)
    twin.scale(p.sum()).backward()
    twin.step(optimizer)
    twin.update(8.0)
    assert (scales.get_scale(), twin.get_scale()) == (4.0, 8.0)
    assert twin.scale(m.ones(1)).item() == 8.0


@BOTH
def test_a_scaler_that_is_off_takes_any_factor(m):
    assert not scaler(m, growth_factor=1.0, backoff_factor=2.0, enabled=False).is_enabled()


def test_a_scaler_that_is_off():
    p = ours(numbers(3), requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    scales = amp.GradScaler(HERE, enabled=False)
    loss = p.sum()
    assert scales.scale(loss) is loss
    loss.backward()
    scales.unscale_(optimizer)
    scales.step(optimizer)
    scales.update()
    assert (scales.get_scale(), scales.state_dict()) == (1.0, {})
    assert_close(array(p), numbers(3) - np.float32(0.1))


SPARSE = {
    "SGD": {"lr": 0.1},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.5},
    "SparseAdam": {"lr": 0.1, "eps": 1e-3},
}


def sparse_training(m, make, kind, wrap=lambda step: step):
    """The scale after each step, the table and the step counts of a row-sparse embedding."""
    layer = m.nn.Embedding(6, 3, sparse=True)
    layer.load_state_dict({"weight": make(numbers(6, 3))})
    optimizer = getattr(m.optim, kind)(layer.parameters(), **SPARSE[kind])
    scales = m.amp.GradScaler(on(m), init_scale=2.0**8, growth_interval=3)

    def step(rows, x):
        optimizer.zero_grad()
        loss = (layer(rows).square() * x).sum()
        scales.scale(loss).backward()
        scales.step(optimizer)
        scales.update()
        return loss

    step, found = wrap(step), []
    for i in range(8):
        x = numbers(4, 3, seed=i)
        x[1] = BAD_STEPS.get(i, x[1])
        step(make(np.array([1, i % 6, 1, 4])), make(x))
        found.append(scales.get_scale())
    states = optimizer.state_dict()["state"].values()
    return found, layer.weight.detach(), [int(s["step"]) for s in states if "step" in s]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", SPARSE)
def test_row_sparse_gradients_are_scaled_as_in_pytorch(kind, compiled):
    wrap = partial(minitorch.compile, fullgraph=True) if compiled else lambda step: step
    mine = sparse_training(minitorch, ours, kind, wrap)
    with torch.sparse.check_sparse_tensor_invariants():
        other = sparse_training(torch, theirs, kind)
    assert mine[::2] == other[::2]
    assert_close(array(mine[1]), array(other[1]), tolerance=1e-5)


@BOTH
def test_a_scale_divides_the_values_of_row_sparse_gradients(m):
    layer = m.nn.Embedding(4, 2, sparse=True)
    optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
    scales = scaler(m, init_scale=4.0)
    scales.scale(layer(m.tensor([1, 3, 1])).sum()).backward()
    scales.unscale_(optimizer)
    grad = layer.weight.grad
    values = grad.values if m is minitorch else grad._values()
    np.testing.assert_array_equal(array(values), np.ones((3, 2)))  # duplicates stay


# ---------------------------------------------------------------------- training
def test_a_training_run_that_is_compiled_is_the_same():
    x, y = ours(numbers(16, 6)), ours(np.arange(16) % 3)
    results = []
    model = mlp(nn)
    for compiled in (False, True):
        net = copy.deepcopy(model)
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(x, y, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = functional(minitorch).cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = minitorch.compile(step, fullgraph=True) if compiled else step
        with amp.autocast(HERE, minitorch.bfloat16), warnings.catch_warnings():
            losses = [run(x, y).item() for _ in range(6)]
        losses += [run(x, y).item() for _ in range(3)]  # in float32: the guard notices
        results.append(losses)
    assert run.recordings == 2
    assert results[0][0] > results[0][-1]
    np.testing.assert_allclose(*results, rtol=1e-3)

"""Every op of the registry runs a kernel of `kernels/`: the launch log names it."""

from functools import partial

import pytest

import minitorch
from minitorch import amp, backend, fused, nn, optim
from minitorch.backend.cuda.linalg import LINALG
from minitorch.backend.cuda_sources import SUFFIXES, files
from minitorch.core.dispatch import REGISTRY
from minitorch.nn import recurrence
from minitorch.text.word2vec import counts
from minitorch.text.word2vec.negative_sampling import negative_sampling, negative_sampling_sgd_
from tests.backend.cuda.kernels import SIM, put
from tests.test_rules import ARGUMENTS

F = nn.functional
# What needs no kernel, and why.
WITHOUT = {
    **dict.fromkeys(backend.named("sim").views, "shares the memory of its argument"),
    "empty": "nothing is written",
    "transfer": "a copy, not a kernel",
}
BY_LIBRARY = {"matmul", "linear"}  # of floats: cublasLt; of integers our own kernel, below
SOLVED = set(LINALG)  # by CuPy's solvers; parts of a result are put together by a kernel of ours


def ones(*shape, **options):
    return minitorch.ones(*shape, device="sim", **options)


def rows():
    return minitorch.tensor([2, 0, 2], device="sim")


def step(make, sparse):
    table = nn.Embedding(5, 4, sparse=sparse).to("sim")
    optimizer = make(table.parameters())
    table(rows()).sum().backward()
    optimizer.step()


def assign(x, value, index):
    x[index] = value


def differentiated(function):
    """The kernels of a function and of its derivative by an outer gradient that is not 1."""
    x = ones(3, 4, requires_grad=True)
    y = function(x)
    y.backward(ones(y.shape, dtype=y.dtype) * 2)


def scores(x):
    y, weights = ones(1, 5, 4, dtype=x.dtype), ones(1, 3, 3, dtype=x.dtype)
    return negative_sampling(x.reshape(1, 3, 4), y, weights, width=1)


def sgd_steps():
    places, weights = minitorch.zeros(3, 5, dtype=minitorch.int64, device="sim"), ones(3, 3, 3)
    loss = ones((), dtype=minitorch.float64)
    tables = ones(4, 6), ones(4, 6), loss
    options = {"width": 1, "size": 2, "lr": [0.1, 0.2]}
    negative_sampling_sgd_(*tables, places[:, :3], places, weights, **options)


def gradients(change):
    p = ones(3, requires_grad=True)
    p.sum().backward()
    change([p])


def scaled_step():
    p = ones(3, requires_grad=True)
    optimizer, scaler = optim.SGD([p], lr=0.1), amp.GradScaler("sim")
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()


linear = partial(F.linear, weight=ones(2, 4), bias=ones(2, requires_grad=True))
cross_entropy = partial(F.cross_entropy, target=rows())
logistic = partial(F.binary_cross_entropy_with_logits, target=ones(3, 4))
layer_norm = partial(F.layer_norm, normalized_shape=(4,), weight=ones(4), bias=ones(4))


dropped = partial(fused.activation_dropout, activation="relu", p=0.5)


def batch_norm(training):
    running = [None, None] if training else [ones(4), ones(4)]
    weights = ones(4), ones(4)
    return lambda x: F.batch_norm(x, *running, *weights, training)


def through_time(gates, call, *more):
    """Of an input (3, 4): one step, size 4 and what weights there are for so many gates."""

    def run(x):
        stretch = minitorch.cat([x] * gates, 1).unsqueeze(0)
        return call(stretch, ones(1 + (gates == 4), 3, 4), ones(4 * gates, 4), *more)

    return run


rnn, lstm = through_time(1, recurrence.rnn), through_time(4, recurrence.lstm)
gru = through_time(3, recurrence.gru, ones(12, requires_grad=True))
WORK = {
    "adagrad_": partial(step, optim.Adagrad, sparse=False),
    "adagrad_rows_": partial(step, optim.Adagrad, sparse=True),
    "adam_": partial(step, optim.Adam, sparse=False),
    "adam_rows_": partial(step, optim.SparseAdam, sparse=True),
    "rmsprop_": partial(step, optim.RMSprop, sparse=False),
    "sgd_": partial(step, partial(optim.SGD, lr=0.1), sparse=False),
    "sgd_rows_": partial(step, partial(optim.SGD, lr=0.1), sparse=True),
    "clamp_all_": partial(gradients, lambda ps: nn.utils.clip_grad_value_(ps, 0.5)),
    "clip_all_": partial(gradients, lambda ps: nn.utils.clip_grad_norm_(ps, 0.5)),
    "fill_all_": partial(gradients, lambda ps: optim.SGD(ps).zero_grad(set_to_none=False)),
    "unscale_all_": scaled_step,
    "update_scale_": scaled_step,
    "max_dim": lambda: ones(3, 4).max(1),
    "min_dim": lambda: ones(3, 4).min(0),
    "copy_": lambda: ones(3).copy_(ones(3)),
    "index_add_": lambda: ones(3).index_add_(0, rows(), ones(3)),
    "index_put_": lambda: assign(ones(3), ones(3), rows()),
    "scatter_": lambda: ones(3).scatter_(0, rows(), ones(3)),
    "arange": lambda: minitorch.arange(5, device="sim"),
    "full": lambda: minitorch.full((3,), 2.0, device="sim"),
    "linspace": lambda: minitorch.linspace(0, 1, 5, device="sim"),
    "normal": lambda: minitorch.randn(3, 4, device="sim"),
    "uniform": lambda: minitorch.rand(3, 4, device="sim"),
    "randint": lambda: minitorch.randint(0, 9, (3, 4), device="sim"),
    "randperm": lambda: minitorch.randperm(7, device="sim"),
    "linear": lambda: linear(ones(3, 4)),
    "linear_backward": lambda: differentiated(linear),
    "cross_entropy": lambda: cross_entropy(ones(3, 4)),
    "cross_entropy_backward": lambda: differentiated(cross_entropy),
    "bce_with_logits_loss": lambda: logistic(ones(3, 4)),
    "bce_with_logits_loss_backward": lambda: differentiated(logistic),
    "activation_dropout": lambda: dropped(ones(3, 4)),
    "activation_dropout_backward": lambda: differentiated(dropped),
    "layer_norm": lambda: layer_norm(ones(3, 4)),
    "layer_norm_backward": lambda: differentiated(layer_norm),
    "batch_norm": lambda: batch_norm(True)(ones(3, 4)),
    "batch_norm_backward": lambda: differentiated(batch_norm(True)),
    "batch_norm_eval": lambda: batch_norm(False)(ones(3, 4)),
    "batch_norm_eval_backward": lambda: differentiated(batch_norm(False)),
    "rnn": lambda: rnn(ones(3, 4)),
    "rnn_backward": lambda: differentiated(rnn),
    "lstm": lambda: lstm(ones(3, 4)),
    "lstm_backward": lambda: differentiated(lstm),
    "gru": lambda: gru(ones(3, 4)),
    "gru_backward": lambda: differentiated(gru),
    "negative_sampling": lambda: scores(ones(3, 4)),
    "negative_sampling_backward": lambda: differentiated(scores),
    "negative_sampling_sgd_": sgd_steps,
    "hogwild_sgd_": lambda: counts.in_flight("sim", 40)(),
}


def launched(op, work):
    """What the log has when the kernel of `op` runs within `work`: (kind, name) pairs."""
    array_type = backend.named("sim").array_type
    kernels, found = REGISTRY[op].kernels, []
    real = SIM[op]

    def spy(*args, **params):
        minitorch.sim.clear()
        result = real(*args, **params)
        found.extend((launch.kind, launch.name) for launch in minitorch.sim.launches())
        return result

    kernels[array_type] = spy
    try:
        work(spy)
    finally:
        kernels[array_type] = real
    return found


def by_sample(op, kernel):
    arguments, params = ARGUMENTS[op]
    kernel(*map(put, arguments), **{name: put(value) for name, value in params.items()})


def kernels():
    """The names of all kernels that were loaded so far, out of files of `kernels/`."""
    functions = backend.named("sim").gpu.kernels.loaded()
    assert {file for file, _, _ in functions} <= set(files())
    return {f"{name}_{SUFFIXES[dtype]}" for _, name, dtype in functions}


def test_every_op_is_here():
    assert set(REGISTRY) == set(ARGUMENTS) | set(WORK) | set(WITHOUT)
    assert set(REGISTRY) == set(SIM)


@pytest.mark.parametrize("op", sorted(set(REGISTRY) - set(WITHOUT)))
def test_the_launch_log_names_a_kernel(op):
    log = launched(op, (lambda spy: WORK[op]()) if op in WORK else partial(by_sample, op))
    names = {name for kind, name in log if kind == "kernel"}
    if op in BY_LIBRARY:
        assert [kind for kind, _ in log] == ["gemm"]
        return
    if op in SOLVED:
        assert ("solver", op) in log
    else:
        assert names, log
    assert names <= kernels()


@pytest.mark.parametrize("op", sorted(set(WITHOUT) - {"transfer"}))
def test_what_needs_no_kernel_launches_none(op):
    x = ones(3, 3)
    calls = {
        "view": lambda: x.view(9),
        "expand": lambda: x.expand(2, 3, 3),
        "permute": lambda: x.T,
        "slice": lambda: x[1:, 2],
        "diagonal": lambda: x.diagonal(),
        "empty": lambda: minitorch.empty(3, device="sim"),
    }
    minitorch.sim.clear()
    calls[op]()
    assert minitorch.sim.launches() == []


def test_products_of_integers_are_our_own():
    x = ones(3, 4, dtype=minitorch.int64)
    log = launched("matmul", lambda spy: x @ x.T)
    assert [kind for kind, _ in log] == ["kernel"]

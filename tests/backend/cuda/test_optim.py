"""Optimizers on the simulated GPU: their kernels against the CPU's kernels, training as on cpu."""

import numpy as np
import pytest

import minitorch
import minitorch.sim
from minitorch import backend, nn, optim
from minitorch.backend import sim
from minitorch.backend.cuda.optim import CHUNK, MAX_TENSORS

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

CPU = backend.named("cpu").kernels
SIM = backend.named("sim").kernels
FLOATS = ["float16", "bfloat16", "float32", "float64"]
TOLERANCE = {"float16": 4e-3, "bfloat16": 3.2e-2, "float32": 2e-6, "float64": 1e-13}
STEP = {"lr": 0.1, "maximize": False}
BETAS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 3}
# op, which of its states are used, options
DENSE = [
    ("sgd_", [False], {"momentum": 0.0}),
    ("sgd_", [False], {"momentum": 0.0, "weight_decay": 0.1, "maximize": True}),
    ("sgd_", [True], {"first": True, "dampening": 0.3}),
    ("sgd_", [True], {"dampening": 0.3, "maximize": True}),
    ("sgd_", [True], {"nesterov": True, "weight_decay": 0.2}),
    ("adagrad_", [True], {}),
    ("adagrad_", [True], {"weight_decay": 0.2, "maximize": True}),
    ("rmsprop_", [True, False, False], {"momentum": 0.0}),
    ("rmsprop_", [True, True, False], {"momentum": 0.0, "weight_decay": 0.2}),
    ("rmsprop_", [True, False, True], {"maximize": True}),
    ("rmsprop_", [True, True, True], {}),
    ("adam_", [True, True, False], {}),
    ("adam_", [True, True, False], {"weight_decay": 0.2, "maximize": True}),
    ("adam_", [True, True, False], {"weight_decay": 0.2, "decoupled": True}),
    ("adam_", [True, True, True], {"weight_decay": 0.2, "decoupled": True, "maximize": True}),
]
DEFAULTS = {
    "sgd_": {**STEP, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "first": False},
    "adagrad_": {**STEP, "eps": 1e-10},
    "rmsprop_": {**STEP, "alpha": 0.9, "eps": 1e-8, "momentum": 0.9},
    "adam_": {**STEP, **BETAS, "decoupled": False},
}
IDS = [f"{name} {states} {options}" for name, states, options in DENSE]


def on_sim(a):
    return sim.asarray(np.ascontiguousarray(a)).reshape(a.shape)


def drawn(shapes, dtype, states, seed=0):
    """Columns of arrays: parameters, states (empty where not used), gradients."""
    rng = np.random.default_rng(seed)

    def column(positive):
        values = [rng.normal(size=s) for s in shapes]
        return [np.asarray(np.abs(v) if positive else v, dtype) for v in values]

    return [column(False), *[column(True) if used else [] for used in states], column(False)]


def compare(name, columns, options, dtype, rows=()):
    """Run the kernel of both devices; all that it changed must agree."""
    theirs = [[a.copy() for a in column] for column in columns]
    mine = [[on_sim(a) for a in column] for column in columns]
    CPU[name](*theirs, **options)
    SIM[name](*mine, **options)
    for got, expected in zip(mine, theirs, strict=True):
        for a, b in zip(got, expected, strict=True):
            limit = TOLERANCE[dtype]
            np.testing.assert_allclose(
                a.get().astype(float), b.astype(float), rtol=limit, atol=limit
            )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "states", "options"), DENSE, ids=IDS)
def test_dense_steps(name, states, options, dtype):
    options = DEFAULTS[name] | {"weight_decay": 0.0} | options
    shapes = [(3, 5), (), (0,), (1,), (17,), (CHUNK,), (2, CHUNK + 1)]
    columns = drawn(shapes, dtype, states)
    if name == "rmsprop_" and states[1]:  # the mean of squares is above the square of the mean
        for square, mean in zip(*columns[1:3]):
            square += 1
            mean *= 0.1
    minitorch.sim.clear()
    compare(name, columns, options, dtype)
    kernels = [r.name for r in minitorch.sim.launches() if r.kind == "kernel"]
    assert len(kernels) == 1, kernels


@pytest.mark.parametrize("schedule", ["forward", "reverse", "random"])
@pytest.mark.parametrize(("name", "states", "options"), DENSE[3::3], ids=IDS[3::3])
def test_dense_steps_checked(name, states, options, schedule):
    options = DEFAULTS[name] | {"weight_decay": 0.0} | options
    with minitorch.sim.config(checked=True, schedule=schedule):
        columns = drawn([(3, 5), (CHUNK + 3,)], "float32", states)
        if name == "rmsprop_":
            for square in columns[1]:
                square += 9
        compare(name, columns, options, "float32")


def test_the_first_momentum_is_the_gradient_and_needs_no_memory_filled():
    g = np.arange(5, dtype=np.float32)
    with minitorch.sim.config(checked=True):
        p, buffer = on_sim(np.zeros(5, np.float32)), sim.empty(5, "float32")
        options = DEFAULTS["sgd_"] | {"weight_decay": 0.0, "first": True}
        SIM["sgd_"]([p], [buffer], [on_sim(g)], **options)
    assert buffer.get().tolist() == g.tolist()
    np.testing.assert_allclose(p.get(), -0.1 * g, rtol=1e-6)


@pytest.mark.parametrize("count", [MAX_TENSORS, MAX_TENSORS + 1, 3 * MAX_TENSORS])
def test_more_tensors_take_more_launches(count):
    columns = drawn([(i % 7,) for i in range(count)], "float32", [True])
    minitorch.sim.clear()
    compare("adagrad_", columns, DEFAULTS["adagrad_"] | {"weight_decay": 0.0}, "float32")
    filled = sum(1 for i in range(count) if i % 7)
    kernels = [r.name for r in minitorch.sim.launches() if r.kind == "kernel"]
    assert kernels == ["adagrad_f32"] * -(-filled // MAX_TENSORS)


@pytest.mark.parametrize("which", ["parameter", "state", "gradient", "offset by one"])
def test_views_and_unaligned_arrays(which):
    options = DEFAULTS["adagrad_"] | {"weight_decay": 0.1}
    p, s, g = (c[0] for c in drawn([(6, 8)], "float32", [True]))
    views = {"parameter": 0, "state": 1, "gradient": 2}
    mine, whole = [on_sim(a) for a in (p, s, g)], None
    if which in views:
        i = views[which]
        held = np.zeros((8, 12), np.float32)
        held.T[::2] = (p, s, g)[i]
        whole = on_sim(held)
        mine[i] = whole.T[::2]
    else:
        for i, a in enumerate((p, s, g)):
            mine[i] = on_sim(np.concatenate(([0], a.ravel())).astype("float32"))[1:].reshape(6, 8)
    with minitorch.sim.config(checked=True):
        SIM["adagrad_"](*[[a] for a in mine], **options)
    CPU["adagrad_"]([p], [s], [g], **options)
    for a, b in zip(mine, (p, s, g), strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=2e-6)
    if whole is not None:  # what lies between the view's elements is untouched
        assert not whole.get()[:, 1::2].any()


@pytest.mark.parametrize("which", range(5))
def test_one_array_that_is_not_aligned(which):
    """It alone keeps the others from being moved 128 bits at a time."""
    options = DEFAULTS["adam_"] | {"weight_decay": 0.1}
    arrays = [c[0] for c in drawn([(24,)], "float32", [True] * 3)]
    mine = [on_sim(a) for a in arrays]
    mine[which] = on_sim(np.concatenate((arrays[which][:1], arrays[which])))[1:]
    with minitorch.sim.config(checked=True):
        SIM["adam_"](*[[a] for a in mine], **options)
    CPU["adam_"](*[[a] for a in arrays], **options)
    for a, b in zip(mine, arrays, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=2e-6)


def test_gradients_of_another_dtype():
    options = DEFAULTS["adagrad_"] | {"weight_decay": 0.0}
    p, s, g = (c[0] for c in drawn([(5,)], "float32", [True]))
    mine = [on_sim(p), on_sim(s), on_sim(g.astype(np.float64))]
    SIM["adagrad_"](*[[a] for a in mine], **options)
    CPU["adagrad_"]([p], [s], [g], **options)
    np.testing.assert_allclose(mine[0].get(), p, rtol=2e-6)


def test_states_of_another_dtype():
    options = DEFAULTS["adagrad_"] | {"weight_decay": 0.0}
    p, s, g = (c[0] for c in drawn([(5,)], "float64", [True]))
    s = s.astype("float32")
    mine = [on_sim(a) for a in (p, s, g)]
    SIM["adagrad_"](*[[a] for a in mine], **options)
    CPU["adagrad_"]([p], [s], [g], **options)
    assert mine[1].dtype == np.float32
    for a, b in zip(mine, (p, s), strict=False):
        np.testing.assert_allclose(a.get(), b, rtol=2e-6)


@pytest.mark.parametrize("dtypes", [["float32"] * 3, ["float64"] * 3, ["float16", "float32"]])
@pytest.mark.parametrize(
    ("name", "more", "options"),
    [
        ("fill_all_", [], {"value": 0}),
        ("clip_all_", [[np.asarray(2.0, np.float32)]], {"limit": 1.0}),
        ("clip_all_", [[np.asarray(2.0, np.float32)]], {"limit": 3.0}),
        ("clamp_all_", [], {"min": -0.5, "max": 0.25}),
        ("unscale_all_", [[np.zeros(2, np.float32)], [np.array([4, 0], np.float32)]], {}),
    ],
)
def test_gradients_are_changed_in_place(name, more, options, dtypes):
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=s).astype(d) for s, d in zip([(5, 8), (), (3,)], dtypes)]
    grads[0][0, 0] = np.nan
    mine = [on_sim(g) for g in grads]
    views = [mine[0][:, ::2], *mine[1:]]
    SIM[name](views, *[[on_sim(a) for a in column] for column in more], **options)
    CPU[name]([grads[0][:, ::2], *grads[1:]], *more, **options)
    for a, b in zip(mine, grads, strict=True):
        np.testing.assert_array_equal(a.get(), b)


@pytest.mark.parametrize("order", [2.0, 1.0, 3.0, -1.0, float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "dtypes", [["float16"] * 2, ["bfloat16"] * 2, ["float32"] * 2, ["float32", "float64"]]
)
@pytest.mark.parametrize("count", [1, 70])
def test_norms_of_many_arrays(dtypes, order, count):
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=s).astype(d) for s, d in zip([(5, 70), ()], dtypes)] * count
    exact = np.linalg.norm(np.concatenate([g.astype("float64").ravel() for g in grads]), order)
    theirs = [on_sim(grads[0]).T, *map(on_sim, grads[1:])]
    with minitorch.sim.config(checked=True):
        minitorch.sim.clear()
        mine = SIM["norm_all"](*theirs, order=order)
        names = [r.name for r in minitorch.sim.launches() if r.name.startswith("norm_all")]
    assert len(names) == -(-2 * count // 64)
    for total in (CPU["norm_all"](grads[0].T, *grads[1:], order=order), mine.get()):
        assert total.dtype == dtypes[1] and total.shape == ()
        np.testing.assert_allclose(total, exact, rtol=2 * TOLERANCE[dtypes[0]])


@pytest.mark.parametrize("order", [2.0, float("inf"), -float("inf")])
def test_a_norm_of_nan_is_nan_and_of_nothing_zero(order):
    a = np.array([1.0, np.nan, 2.0], np.float32)
    for kernels, put in ((CPU, np.asarray), (SIM, on_sim)):
        of_nan, of_nothing = (kernels["norm_all"](put(x), order=order) for x in (a, a[:0]))
        of_nan, of_nothing = (x if kernels is CPU else x.get() for x in (of_nan, of_nothing))
        assert np.isnan(of_nan) and of_nothing == 0


def test_clipping_is_two_launches():
    params = [nn.Parameter(minitorch.zeros(n, 3, device="sim")) for n in range(1, 20)]
    for p in params:
        p.grad = minitorch.ones(*p.shape, device="sim")
    minitorch.sim.clear()
    total = nn.utils.clip_grad_norm_(params, 1.0)
    assert [r.kind for r in minitorch.sim.launches()] == ["kernel"] * 2
    assert total.item() == pytest.approx((3 * 190) ** 0.5)
    minitorch.sim.clear()
    nn.utils.clip_grad_value_(params, 0.01)
    optim.SGD(params).zero_grad(set_to_none=False)
    assert [r.kind for r in minitorch.sim.launches()] == ["kernel"] * 2


def test_an_expanded_parameter_is_refused():
    p = nn.Parameter(minitorch.zeros(1, device="sim"))
    p.data = minitorch.zeros(1, device="sim").expand(4)
    p.grad = minitorch.ones(4, device="sim")
    with pytest.raises(RuntimeError, match="expanded or read-only"):
        optim.SGD([p], lr=0.1).step()


# ---------------------------------------------------------------------- rows
ROWS = [
    ("sgd_rows_", 0, {"lr": 0.1}),
    ("adagrad_rows_", 1, {"lr": 0.1, "eps": 1e-10}),
    ("adam_rows_", 2, {"lr": 0.1, **BETAS}),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("shape", [(9, 3), (9,), (9, 2, 40), (9, 64), (9, 2100)])
@pytest.mark.parametrize(("name", "states", "options"), ROWS, ids=[r[0] for r in ROWS])
def test_row_steps(name, states, options, shape, maximize, dtype):
    rng = np.random.default_rng(2)
    whole = [np.abs(rng.normal(size=shape)).astype(dtype) for _ in range(1 + states)]
    for ids in ([7, 0, 7, 7, 3, 0], [4], [], [8] * 40):
        values = rng.normal(size=(len(ids), *shape[1:])).astype(dtype)
        columns = [*[[a] for a in whole], [np.array(ids, np.int64)], [values]]
        with minitorch.sim.config(checked=dtype == "float32"):
            compare(name, columns, options | {"maximize": maximize}, dtype)
        mine = [[on_sim(a)] for (a,) in columns]
        SIM[name](*mine, **options, maximize=maximize)
        untouched = np.setdiff1d(np.arange(9), ids)
        for (a,), b in zip(mine, whole):
            np.testing.assert_array_equal(a.get()[untouched], b[untouched])


def test_rows_are_changed_without_waiting_and_in_two_steps():
    """A sort and one kernel; nobody looks at the indices."""
    layer = nn.Embedding(50, 8, sparse=True).to("sim")
    optimizer = optim.SparseAdam(layer.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        layer(minitorch.tensor([1, 4, 1], device="sim")).backward(
            minitorch.ones(3, 8, device="sim")
        )
        minitorch.sim.clear()
        optimizer.step()
    records = [(r.kind, r.name) for r in minitorch.sim.launches()]
    assert len(records) == 2, records
    assert records[-1] == ("kernel", "adam_rows_f32")


@pytest.mark.parametrize("device", ["cpu", "sim"])
@pytest.mark.parametrize("bad", [-1, 5])
@pytest.mark.parametrize(("name", "states", "options"), ROWS, ids=[r[0] for r in ROWS])
def test_a_row_that_there_is_not(name, states, options, bad, device):
    kernels, put = {"cpu": (CPU, np.asarray), "sim": (SIM, on_sim)}[device]
    whole = [[put(np.ones((5, 2), np.float32))] for _ in range(1 + states)]
    rows, values = put(np.array([1, bad])), put(np.ones((2, 2), np.float32))

    def step():
        kernels[name](*whole, [rows], [values], **options, maximize=False)
        minitorch.zeros(1, device=device).tolist()

    with pytest.raises(IndexError, match=rf"{name}: row: {bad} is out of range \[0, 5\)"):
        step()


# ---------------------------------------------------------------------- training
TRAINED = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 1e-3}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.5, "centered": True}),
    ("Adam", {"lr": 3e-3}),
    ("Adam", {"lr": 3e-3, "amsgrad": True, "weight_decay": 1e-2}),
    ("AdamW", {"lr": 3e-3}),
]


def trained(device, dtype, name, options):
    """Losses and parameters of 50 steps of a small network."""
    minitorch.manual_seed(3)
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        *(nn.Linear(11, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5))
    ).to(getattr(minitorch, dtype))
    model = model.to(device)
    optimizer = getattr(optim, name)(model.parameters(), **options)
    losses = []
    for _ in range(50):
        x = minitorch.tensor(rng.normal(size=(13, 11)).astype(dtype), device=device)
        target = minitorch.tensor(rng.integers(0, 5, size=13), device=device)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), [p.detach().cpu().numpy() for p in model.parameters()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), TRAINED, ids=str)
def test_fifty_steps_follow_the_cpu(name, options, dtype):
    limit = {"float32": 1e-4, "float64": 1e-9}[dtype]
    mine, theirs = (trained(device, dtype, name, options) for device in ("sim", "cpu"))
    np.testing.assert_allclose(mine[0], theirs[0], rtol=0, atol=limit)
    for p, q in zip(mine[1], theirs[1], strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=limit)


def test_states_come_from_and_go_to_the_cpu():
    """A run that moves from cpu to sim after some steps goes on as if it had not."""
    rng = np.random.default_rng(1)
    steps = [rng.normal(size=(4, 3)) for _ in range(10)]

    def run(devices):
        values, state = np.ones((4, 3)), None
        for device, grads in zip(devices, (steps[:5], steps[5:])):
            p = nn.Parameter(minitorch.tensor(values, device=device))
            optimizer = optim.Adam([p], lr=0.1, amsgrad=True)
            if state is not None:
                optimizer.load_state_dict(state)
            for g in grads:
                p.grad = minitorch.tensor(g, device=device)
                before = p._version
                optimizer.step()
                assert p._version > before
            values, state = p.detach().cpu().numpy(), optimizer.state_dict()
        return values

    np.testing.assert_allclose(run(("cpu", "sim")), run(("cpu", "cpu")), rtol=1e-12)
    np.testing.assert_allclose(run(("sim", "cpu")), run(("cpu", "cpu")), rtol=1e-12)

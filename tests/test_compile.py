"""A compiled step leaves what the step leaves: every bit of it, step after step."""

import copy
import importlib
import pkgutil
import shutil
import threading
import warnings
from contextlib import nullcontext
from functools import partial
from types import FunctionType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from minitorch import backend, nn, optim, recording
from minitorch.compiler import CannotRecord
from minitorch.compiler.recorder import Recorder
from minitorch.compiler.step import ATTEMPTS, OPEN, PROGRAMS
from minitorch.core.dispatch import REGISTRY
from minitorch.core.sparse import RowGrad
from minitorch.core.tape import count_change
from minitorch.nn import functional as F
from minitorch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR
from minitorch.utils.flop_counter import FlopCounterMode
from tests.referee import in_threads, settle

FEATURES, CLASSES, WORDS = 6, 3, 9


@pytest.fixture(autouse=True)
def _same_sums():
    """On a GPU, atomic sums come in any order."""
    minitorch.use_deterministic_algorithms(backend.resolve(None)[0].gpu is not None)
    yield
    minitorch.use_deterministic_algorithms(False)


# ---------------------------------------------------------------------- all that a step leaves
def bits(x):
    """A tensor, a row-sparse gradient or a plain value, as something that can be compared."""
    if isinstance(x, dict):
        return {k: bits(v) for k, v in x.items()}
    if isinstance(x, (tuple, list)):
        return [bits(v) for v in x]
    if isinstance(x, RowGrad):
        return ("rows", bits(x.indices), bits(x.values))
    if isinstance(x, minitorch.Tensor):
        a = x.detach().cpu().numpy()
        if a.dtype.kind == "f":  # the sign of what is not a number says nothing
            a = np.where(np.isnan(a), np.array(np.nan, a.dtype), a)
        return a.dtype.name, a.shape, a.tobytes()
    return x


class World:
    """A model, its optimizer and a step, made from a seed; compiled or not."""

    def __init__(self, make, compiled, **options):
        minitorch.manual_seed(1)
        self.__dict__.update(make())
        self.run = (
            minitorch.compile(self.step, fullgraph=True, **options) if compiled else self.step
        )

    def state(self):
        """Everything that a step may have changed."""
        found = {"random": bits(minitorch.get_rng_state())}
        for name, p in self.model.named_parameters():
            found[name] = bits(p)
            found[name + ".grad"] = bits(p.grad)
        found |= {name: bits(b) for name, b in self.model.named_buffers()}
        for key, values in self.optimizer.state_dict()["state"].items():
            found |= {(key, name): bits(v) for name, v in values.items()}
        found["lr"] = [group["lr"] for group in self.optimizer.param_groups]
        return found


def batches(sizes, seed=0):
    """Inputs, classes and words for each batch size."""
    rng = np.random.default_rng(seed)
    for n in sizes:
        x = minitorch.tensor(rng.normal(size=(n, FEATURES)).astype("float32"))
        y = minitorch.tensor(rng.integers(0, CLASSES, n))
        words = minitorch.tensor(rng.integers(0, WORDS, (n, 2)))
        yield x, y, words


def run(make, sizes, compiled, between=None, **options):
    """The states after each step, and the world."""
    world = World(make, compiled, **options)
    minitorch.manual_seed(7)
    states = []
    for i, batch in enumerate(batches(sizes)):
        result = world.run(*batch)
        states.append({"result": bits(result), **world.state()})
        if between is not None:
            between(i, world)
    return states, world


def assert_equal_runs(make, sizes, between=None, **options):
    """Run both ways and compare; the compiled world."""
    expected, _ = run(make, sizes, False, between)
    found, world = run(make, sizes, True, between, **options)
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert a.keys() == b.keys(), f"step {i}"
        assert [k for k in a if a[k] != b[k]] == [], f"step {i}"
    return world


def mlp(**changes):
    """A maker of worlds: a perceptron with all that has state."""
    model = nn.Sequential(
        nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, CLASSES)
    )
    optimizer = changes.get("optimizer", optim.Adam)(model.parameters())

    def step(x, y, words):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step}


def test_replays_equal_the_step():
    world = assert_equal_runs(mlp, [5] * 6)
    assert (world.run.recordings, world.run.replays) == (1, 4)


COUNTING = {
    "AdamW": partial(optim.AdamW, lr=0.01),
    "Adagrad": partial(optim.Adagrad, lr=0.01, lr_decay=0.1),
}


@pytest.mark.parametrize("name", COUNTING)
def test_steps_count_whoever_makes_them(name):
    """Programs of two batch sizes, the plain step and a scheduler take turns."""

    def make():
        model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))
        groups = [{"params": [p], "lr": 0.01 * i} for i, p in enumerate(model.parameters(), 1)]
        optimizer = COUNTING[name](groups)
        scheduler = StepLR(optimizer, 3)

        def step(x, y, words):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss

        return {"model": model, "optimizer": optimizer, "step": step}

    def between(i, world):
        if i in (4, 6):
            world.step(*next(batches([5], seed=i)))
        if i == 8:
            world.optimizer.load_state_dict(world.optimizer.state_dict())

    world = assert_equal_runs(make, [5, 5, 5, 5, 5, 4, 4, 5, 4, 5, 5, 5], between)
    assert (world.run.recordings, world.run.replays) == (3, 7)


def test_a_program_for_each_batch_size():
    world = assert_equal_runs(mlp, [5, 5, 4, 5, 4, 3, 5, 3])
    assert (world.run.recordings, world.run.replays) == (3, 4)


# ---------------------------------------------------------------------- drawn programs
class Drawn(nn.Module):
    """A network of drawn layers, each of which takes the last value and maybe one before."""

    def __init__(self, layers):
        super().__init__()
        self.words = nn.Embedding(WORDS, 2, sparse="sparse" in layers)
        self.first = nn.Linear(FEATURES + 4, 8)
        self.last = nn.Linear(8, CLASSES)
        self.kinds = [kind for kind in layers if kind != "sparse"]
        for i, kind in enumerate(self.kinds):
            make = {
                "linear": lambda: nn.Linear(8, 8),
                "tied": lambda: nn.Linear(8, 8),
                "norm": lambda: nn.BatchNorm1d(8),
                "layer norm": lambda: nn.LayerNorm(8),
                "dropout": lambda: nn.Dropout(0.4),
            }.get(kind)
            if make is not None:
                self.add_module(f"layer{i}", make())

    def forward(self, x, words):
        x = self.first(minitorch.cat([x, self.words(words).flatten(1)], 1))
        values = [x]
        for i, kind in enumerate(self.kinds):
            layer = getattr(self, f"layer{i}", None)
            x, old = values[-1], values[i // 2]
            if kind == "tied":
                x = F.linear(layer(x).tanh(), layer.weight.t())
            elif layer is not None:
                x = layer(x)
            else:
                x = OPS[kind](x, old)
            values.append(x)
        return self.last(values[-1])


def _written(x, old):
    y = x.clone()
    y[:, 1:3] = old[:, :2]
    return y.mul_(1.5)


OPS = {
    "residual": lambda x, old: x + old,
    "product": lambda x, old: x.sigmoid() * old,
    "softmax": lambda x, old: x.softmax(1) - old.mean(0, keepdim=True),
    "views": lambda x, old: x.t().reshape(2, -1).flip(0).reshape(x.shape) + old[:, :1],
    "gelu": lambda x, old: F.gelu(x),
    "where": lambda x, old: minitorch.where(x > old, x, old * 0.5),
    "max along": lambda x, old: x.max(1, keepdim=True).values - old.min(0).values,
    "max": lambda x, old: x.clamp(min=-1) / (old.abs().amax(1, keepdim=True) + 1),
    "noise": lambda x, old: x + 0.1 * minitorch.randn_like(x) * minitorch.rand(8),
    "written": _written,
    "gather": lambda x, old: x.gather(1, old.argsort(1)) * minitorch.arange(8),
    "cumsum": lambda x, old: x.cumsum(1) - old.std(),
}
LAYERS = ("linear", "tied", "norm", "layer norm", "dropout", *OPS)
OPTIMIZERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda ps: optim.Adam(ps, lr=0.01),
    "amsgrad": lambda ps: optim.AdamW(ps, lr=0.01, amsgrad=True),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.1, lr_decay=0.1),
}
SPARSE = ("sgd", "adagrad")
CLIPS = {
    "none": lambda ps: None,
    "norm": lambda ps: nn.utils.clip_grad_norm_(ps, 0.5),
    "inf": lambda ps: nn.utils.clip_grad_norm_(ps, 0.1, norm_type=float("inf")),
    "value": lambda ps: nn.utils.clip_grad_value_(ps, 0.05),
}
SCHEDULERS = {
    "none": lambda optimizer: None,
    "step": lambda optimizer: StepLR(optimizer, 2, 0.5),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=5),
    "cycle": lambda optimizer: OneCycleLR(optimizer, 0.2, total_steps=50, cycle_momentum=False),
}
LOSSES = {
    "cross entropy": lambda z, y: F.cross_entropy(z, y),
    "mse": lambda z, y: F.mse_loss(z, F.one_hot(y, CLASSES).float()),
    "bce": lambda z, y: F.binary_cross_entropy_with_logits(z, F.one_hot(y, CLASSES).float()),
    "smooth": lambda z, y: (z.logsumexp(1) - z[:, 0]).mean(),
}


@st.composite
def programs(draw):
    sparse = draw(st.booleans())
    return {
        "layers": [*draw(st.lists(st.sampled_from(LAYERS), max_size=6)), *["sparse"] * sparse],
        "optimizer": draw(st.sampled_from(SPARSE if sparse else list(OPTIMIZERS))),
        "clip": draw(st.sampled_from(list(CLIPS))),
        "scheduler": draw(st.sampled_from(list(SCHEDULERS))),
        "loss": draw(st.sampled_from(list(LOSSES))),
        "zero": draw(st.sampled_from(["before", "after", "fill"])),
        "passes": draw(st.integers(1, 2)),
        "two groups": draw(st.booleans()),
    }


def maker(program):
    """What makes the world of a drawn program."""

    def make():
        model = Drawn(program["layers"])
        params = list(model.parameters())
        groups = params
        if program["two groups"]:
            groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}]
        optimizer = OPTIMIZERS[program["optimizer"]](groups)
        scheduler = SCHEDULERS[program["scheduler"]](optimizer)

        def step(x, y, words):
            if program["zero"] != "after":
                optimizer.zero_grad(set_to_none=program["zero"] == "before")
            for _ in range(program["passes"]):
                loss = LOSSES[program["loss"]](model(x, words), y)
                loss.backward()
            norm = CLIPS[program["clip"]](params)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            if program["zero"] == "after":
                model.zero_grad()
            return {"loss": loss, "norm": (norm, None)}

        return {"model": model, "optimizer": optimizer, "step": step}

    return make


@settings(max_examples=60)
@given(program=programs(), sizes=st.lists(st.sampled_from([4, 3]), min_size=4, max_size=7))
def test_drawn_programs_replay_as_they_run(program, sizes):
    world = assert_equal_runs(maker(program), sizes)
    assert world.run.reason is None
    assert world.run.replays >= len(sizes) - 5


@pytest.mark.parametrize("kind", LAYERS)
def test_each_layer_is_replayed(kind):
    program = {"layers": ["linear", kind], "optimizer": "adam", "clip": "norm"}
    program |= {"scheduler": "cosine", "loss": "cross entropy", "zero": "before", "passes": 1}
    world = assert_equal_runs(maker({**program, "two groups": False}), [4] * 4)
    assert world.run.replays == 2


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers_are_replayed(kind):
    def make(**changes):
        layer = getattr(nn, kind)(FEATURES, 3, 2, bidirectional=True, dropout=0.3)
        model = nn.ModuleList([layer, nn.Linear(6, CLASSES)])
        optimizer = optim.Adam(model.parameters())

        def step(x, y, words):
            optimizer.zero_grad()
            output, _ = model[0](minitorch.stack([x, x * 2, x.sin()]))
            loss = F.cross_entropy(model[1](output[-1]), y)
            loss.backward()
            optimizer.step()
            return loss

        return {"model": model, "optimizer": optimizer, "step": step}

    world = assert_equal_runs(make, [4] * 5)
    assert (world.run.recordings, world.run.replays) == (1, 3)


# ---------------------------------------------------------------------- guards
def changing(change, sizes=(4,) * 8, make=mlp, after=3):
    """`change(world)` is made after some step; both ways must go on alike. The compiled world."""
    return assert_equal_runs(make, sizes, lambda i, world: change(world) if i == after else None)


def _replace_data(world):
    layer = world.model[0]
    layer.weight.data = layer.weight.data * 2


def _replace_parameter(world):
    world.model[4].bias = nn.Parameter(minitorch.ones(CLASSES))
    world.optimizer.add_param_group({"params": [world.model[4].bias]})


def _load_model(world):
    world.model.load_state_dict({k: v * 0.5 for k, v in world.model.state_dict().items()})


def _load_optimizer(world):
    world.optimizer.load_state_dict(world.optimizer.state_dict())


def _hook_parameter(world):
    world.model[0].weight.register_hook(lambda g: g * 2)


def _hook_module(world):
    world.model[1].register_forward_hook(lambda module, args, output: output * 2)


def _set_option(world):
    world.optimizer.param_groups[0]["weight_decay"] = 0.1


GUARDS = {
    "training": lambda world: world.model.eval(),
    "training of one module": lambda world: world.model[2].eval(),
    "an attribute of a module": lambda world: setattr(world.model[2], "p", 0.9),
    "a parameter's array": _replace_data,
    "a parameter": _replace_parameter,
    "a module": lambda world: world.model.__setitem__(0, nn.Linear(FEATURES, 8)),
    "requires_grad": lambda world: world.model[0].weight.requires_grad_(False),
    "state of the model": _load_model,
    "state of the optimizer": _load_optimizer,
    "a parameter's hook": _hook_parameter,
    "a module's hook": _hook_module,
    "an option": _set_option,
    "a learning rate": lambda world: world.optimizer.param_groups[0].update(lr=0.5),
    "a gradient set to None": lambda world: world.model.zero_grad(),
    "the dtype": lambda world: (world.model.double(), _load_optimizer(world)),
    "the random stream": lambda world: minitorch.manual_seed(99),
    "a buffer": lambda world: setattr(world.model[3], "running_mean", minitorch.ones(8)),
}
# What a program does not depend on, or reads anew every time.
LIVE = {"a learning rate", "a gradient set to None", "the random stream", "state of the model"}


@pytest.mark.parametrize("name", GUARDS)
def test_a_change_between_steps_is_seen(name):
    if name == "the dtype":

        def make():
            world = mlp()
            inner = world["step"]
            dtype = lambda: world["model"][0].weight.dtype  # noqa: E731
            return {**world, "step": lambda x, y, w: inner(x.to(dtype()), y, w)}

        world = changing(GUARDS[name], make=make)
    else:
        world = changing(GUARDS[name])
    assert world.run.recordings == (1 if name in LIVE else 2), world.run.recordings
    assert world.run.replays >= 4


def test_gradients_of_a_frozen_parameter_are_seen():
    def make():
        model = nn.Linear(FEATURES, CLASSES)
        optimizer = optim.Adam(model.parameters(), 0.1)

        def step(x, y, words):
            model.weight.grad = None
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return {"model": model, "optimizer": optimizer, "step": step}

    def change(i, world):
        bias = world.model.bias
        if i == 2:
            bias.requires_grad_(False)
        elif i in (5, 8, 11):
            bias.grad = None if i == 8 else minitorch.full((CLASSES,), float(i))

    world = assert_equal_runs(make, [4] * 14, change)
    assert (world.run.recordings, world.run.reason) == (5, None)


def test_arguments_of_other_dtypes_and_layouts_are_recorded_anew():
    def step(x, y, words):
        return (x.t().contiguous() @ x).sum() + y.sum()

    fast = minitorch.compile(step, fullgraph=True)
    x = minitorch.randn(4, 4)
    y = minitorch.arange(4)
    for z in (x, x, x, x.t(), x.double(), x, x[:, :3], x.t(), x):
        for _ in range(3):
            assert bits(fast(z, y, None)) == bits(step(z, y, None))
    assert fast.recordings == 4


def test_numbers_among_arguments_are_part_of_what_is_recorded():
    fast = minitorch.compile(lambda x, factor, name="a": x * factor + len(name), fullgraph=True)
    x = minitorch.ones(3)
    for _ in range(3):
        for factor in (2, 2.5, True, float("nan")):
            for name in ("a", "bc"):
                expected = x * factor + len(name)
                assert bits(fast(x, factor, name=name)) == bits(expected)
    assert fast.reason is None
    nested = minitorch.compile(lambda pair: {"sum": pair["x"][0] + pair["x"][1]}, fullgraph=True)
    for i in range(4):
        result = nested({"x": [x * i, x], "n": (1, None)})
        assert bits(result["sum"]) == bits(x * i + x)
    assert nested.replays == 2


def test_large_arguments_are_read_where_they_are():
    """Each in memory of its own, changed in place, a slice of another, or not in order."""
    w = minitorch.randn(40, 7, requires_grad=True)

    def step(x, flag):
        w.grad = None
        y = (x[1:] @ w).relu() + x.t()[:7].t()[1:]
        y.sum().backward()
        return y.mean(0), w.grad.clone()

    fast = minitorch.compile(step, fullgraph=True)
    whole = minitorch.randn(21_000, 40)
    wide = minitorch.randn(7000, 80)
    given = [whole[i : i + 7000] for i in (0, 3500, 7000, 7000, 14_000)]
    given += [whole[:7000].mul_(2), given[0], whole[:7000] * 3, given[0].clone(), given[1]]
    for x in given:
        expected = step(x, None)
        assert bits(fast(x, None)) == bits(expected)
    assert (fast.recordings, fast.replays) == (1, 8)
    for x in (wide[:, :40], wide[:, 40:], wide[:, ::2], wide.t()[:40].t(), given[0]) * 2:
        expected = step(x, None)
        assert bits(fast(x, None)) == bits(expected)


def test_grad_mode_is_part_of_what_is_recorded():
    w = minitorch.ones(3, requires_grad=True)

    def step(x):
        y = (x * w).sum()
        if y.requires_grad:
            y.backward()
        return y

    fast = minitorch.compile(step, fullgraph=True)
    for i in range(6):
        w.grad = None
        x = minitorch.full((3,), float(i))
        with minitorch.no_grad():
            assert fast(x).item() == 3 * i and w.grad is None
        assert fast(x).item() == 3 * i and w.grad.tolist() == [i] * 3
    assert fast.reason is None and fast.replays >= 6


def test_defaults_are_part_of_what_is_recorded():
    fast = minitorch.compile(lambda x: x + minitorch.ones(3) / 3, fullgraph=True)
    x = minitorch.ones(3, dtype=minitorch.float64)
    before = minitorch.get_default_dtype()
    seen = []
    try:
        for dtype in (minitorch.float32, minitorch.float64) * 2:
            minitorch.set_default_dtype(dtype)
            seen += [bits(fast(x)) for _ in range(3)]
    finally:
        minitorch.set_default_dtype(before)
    assert len(set(seen)) == 2 and seen[:3] == [seen[0]] * 3 == seen[6:9]


def test_gradients_that_are_kept_go_into_the_next_step():
    """Accumulation over calls: the step does not zero, the caller does now and then."""

    def make():
        world = mlp()
        model, optimizer = world["model"], world["optimizer"]
        calls = []

        def step(x, y, words):
            F.cross_entropy(model(x), y).backward()

        def between(x, y, words):
            fast(x, y, words)
            calls.append(1)
            if len(calls) % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()

        fast = minitorch.compile(step, fullgraph=True) if compiled[0] else step
        return {**world, "step": between, "fast": fast}

    compiled = [False]
    expected, _ = run(make, [4] * 12, False)
    compiled[0] = True
    found, world = run(make, [4] * 12, False)
    assert expected == found
    assert world.fast.replays >= 6


def test_programs_are_few():
    fast = minitorch.compile(lambda x: x * 2, fullgraph=True)
    for n in [1, 1, *range(2, PROGRAMS + 4)]:
        assert bits(fast(minitorch.ones(n))) == bits(minitorch.full((n,), 2.0))
    assert len(fast._programs) == PROGRAMS


# ---------------------------------------------------------------------- what cannot be recorded
def _if(x):
    return x * 2 if x.sum() > 0 else x


REFUSED = {
    "item": (lambda x: x * x.sum().item(), "reads a tensor's value"),
    "tolist": (lambda x: x * len(x.tolist()), "reads a tensor's value"),
    "numpy": (lambda x: x * float(x.cpu().numpy()[0]), "reads a tensor's value|one device"),
    "if": (_if, "reads a tensor's value"),
    "nonzero": (lambda x: x.nonzero().float(), "nonzero: the shape of its result depends on data"),
    "mask": (lambda x: x[x > 0], "nonzero: the shape of its result depends on data"),
    "returned number": (lambda x: (x, 3.0), "the step returns a value of type float"),
    "changed by no op": (count_change, "what changes an array is not an op"),
    "changed argument": (lambda x: x.add_(1), "changes one of its arguments"),
    "random state": (lambda x: (x, minitorch.get_rng_state()), "random state"),
    "deepcopy": (lambda x: __import__("copy").deepcopy(x), "deepcopy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded(name):
    step, reason = REFUSED[name]
    x = minitorch.tensor([1.0, 2.0])
    strict = minitorch.compile(step, fullgraph=True)
    with pytest.raises(CannotRecord, match=reason):  # noqa: PT012
        for _ in range(ATTEMPTS + 1):
            strict(x.clone())
    assert recording.recorder is None
    fast = minitorch.compile(step)
    with pytest.warns(UserWarning, match=reason):
        results = [fast(x * (i - 1)) for i in range(ATTEMPTS + 2)]
    expected = [step(x * (i - 1)) for i in range(ATTEMPTS + 2)]
    assert bits(results) == bits(expected)
    assert fast.replays == 0 and fast.reason is not None


def test_a_tensor_that_is_replaced_is_noticed():
    """The hidden state of a recurrent step, kept outside of tensors that are arguments."""
    w = minitorch.eye(3)
    state = [minitorch.ones(1, 3)]

    def step(x):
        state[0] = (state[0] @ w + x).tanh()
        return state[0]

    fast = minitorch.compile(step)
    x = minitorch.ones(1, 3)
    expected = minitorch.ones(1, 3)
    with pytest.warns(UserWarning, match=r"shape \(1, 3\) that the step uses is replaced"):
        results = [bits(fast(x)) for _ in range(ATTEMPTS + 3)]
    for result in results:
        expected = (expected @ w + x).tanh()
        assert result == bits(expected)


def test_an_attribute_that_changes_at_every_step_is_noticed():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    fast = minitorch.compile(Counting())
    with pytest.warns(UserWarning, match="of Counting are not the same before and after"):
        results = [fast(minitorch.ones(1)).item() for _ in range(ATTEMPTS + 3)]
    assert results == [*map(float, range(1, ATTEMPTS + 4))]


def test_arguments_that_cannot_be_compiled():
    step = lambda x, other: x * 2  # noqa: E731
    w = minitorch.ones(2, requires_grad=True)
    for args, reason in (((w, 1), "requires grad"), ((minitorch.ones(2), {1, 2}), "type set")):
        with pytest.raises(CannotRecord, match=reason):
            minitorch.compile(step, fullgraph=True)(*args)
        with pytest.warns(UserWarning, match=reason):
            assert minitorch.compile(step)(*args).tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="expected a function, got int"):
        minitorch.compile(3)
    with pytest.raises(ValueError, match="verify: expected a count"):
        minitorch.compile(step, verify=-1)


def test_results_are_copies_cut_off_from_the_tape_where_backward_is_over():
    w = minitorch.ones(3, requires_grad=True)

    def step(x):
        y = x * w
        y.sum().backward()
        return y, w.detach()

    fast = minitorch.compile(step, fullgraph=True)
    kept = [fast(minitorch.full((3,), float(i))) for i in range(5)]
    assert [a.tolist() for a, _ in kept] == [[float(i)] * 3 for i in range(5)]
    assert not any(t.requires_grad for pair in kept for t in pair)
    kept[-1][1].mul_(5)
    assert w.tolist() == [1.0] * 3


def test_named_tuples_come_and_go():
    fast = minitorch.compile(lambda pair: pair.values.max(0), fullgraph=True)
    x = minitorch.tensor([[1.0, 4.0], [3.0, 2.0]])
    for i in range(4):
        found = fast((x + i).sort(1))
        assert type(found) is type(x.max(0))
        assert (found.values.tolist(), found.indices.tolist()) == ([2.0 + i, 4.0 + i], [1, 0])
    assert fast.replays == 2


def test_the_sign_of_zero_is_part_of_what_is_recorded():
    class Over(nn.Module):
        def forward(self, x):
            return x / self.number

    module, x = Over(), minitorch.ones(1)
    given = minitorch.compile(lambda x, number: x / number)
    held = minitorch.compile(lambda x: module(x))
    for number, expected in [(0.0, "inf")] * 3 + [(-0.0, "-inf")] * 3 + [(0.0, "inf")]:
        module.number = number
        assert str(given(x, number).item()) == expected
        assert str(held(x).item()) == expected


# ---------------------------------------------------------------------- verify
def test_verify_compares_with_the_step():
    world = assert_equal_runs(mlp, [4] * 7, verify=3)
    assert world.run.replays == 5


def test_verify_finds_what_is_frozen():
    factor = [1.0]
    fast = minitorch.compile(lambda x: x * factor[0], verify=1, fullgraph=True)
    x = minitorch.ones(2)
    fast(x), fast(x)
    factor[0] = 2.0
    with pytest.raises(RuntimeError, match="a replay differs from the step in a result"):
        fast(x)


def test_runs_before_a_replay_give_its_bits():
    """A run that resumes begins uncompiled."""

    def trained(recorded_anew):
        minitorch.manual_seed(1)
        model = nn.Sequential(nn.Linear(300, 40), nn.Tanh(), nn.Linear(40, 5))
        optimizer = minitorch.optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        fast = minitorch.compile(step)
        for i in range(8):
            if recorded_anew and i % 3 == 0:
                fast = minitorch.compile(step)
            fast(minitorch.randn(16, 300), minitorch.randint(5, (16,)))
        return [bits(p) for p in model.parameters()]

    assert trained(False) == trained(True)


# ---------------------------------------------------------------------- the machinery
def test_compile_stays_the_function():
    """Also after each module of its room was imported."""
    found = [name for _, name, _ in pkgutil.iter_modules(minitorch.compiler.__path__)]
    for name in found:
        importlib.import_module(f"minitorch.compiler.{name}")
    assert "step" in found and isinstance(minitorch.compile, FunctionType)


SCALE = [minitorch.ones(1, device="cpu")]


class Keeper:
    """Tensors in an attribute, in one of its class, and in a global that a method names."""

    shared = minitorch.ones(1, device="cpu")

    def __init__(self, device):
        self.deep = {"tensors": [(minitorch.ones(1, device=device),)]}
        self.alias = self.deep["tensors"][0][0].detach()
        SCALE[0], Keeper.shared = (minitorch.ones(1, device=device) for _ in range(2))

    def __call__(self, x):
        return x * self.deep["tensors"][0][0] * self.shared * SCALE[0]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda step: step,
        lambda step: step.__call__,
        lambda step: partial(lambda f, x: f(x), step),
        lambda step: lambda x, f=step: f(x),
        minitorch.no_grad(),
    ],
    ids=["object", "method", "partial", "default", "decorated"],
)
def test_tensors_are_guarded_wherever_a_step_has_them(wrap, device):
    keeper = Keeper(device)
    fast = minitorch.compile(wrap(keeper), fullgraph=True)
    x = minitorch.ones(1, device=device)
    for tensor in (keeper.deep["tensors"][0][0], Keeper.shared, SCALE[0]):
        assert [fast(x).item() for _ in range(3)] == [keeper(x).item()] * 3
        tensor.data = tensor * 2
    assert fast(x).item() == keeper(x).item() == 8.0


def test_a_guard_compares_what_was_edited_alone(monkeypatch):
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Dropout(0.0))
    other = nn.Linear(2, 2)
    fast = minitorch.compile(lambda x: model(x), fullgraph=True)
    x = minitorch.ones(1, 2)
    _, _, expected = [bits(fast(x)) for _ in range(3)]
    guarded, compared = nn.Module._guarded, []
    monkeypatch.setattr(nn.Module, "_guarded", lambda self: compared.append(self) or guarded(self))
    other.extra = 3
    other.weight.data = other.weight * 2
    assert bits(fast(x)) == expected and compared == []
    model[1].note = "a"
    del model[1].note
    assert bits(fast(x)) == expected and compared == [model[1]]
    handle = model[1].register_forward_hook(lambda module, args, output: output * 2)
    assert bits(fast(x)) != expected and fast.recordings == 1
    handle.remove()
    assert bits(fast(x)) == expected and fast.replays == 4


def entries_in_place():
    serving = {there.array_type: there.kernels for there in backend.registered()}
    return all(
        kernel is serving[array_type][name]
        for name, op in REGISTRY.items()
        for array_type, kernel in op.kernels.items()
        if array_type in serving  # and not that of a test
    )


def test_nothing_stays_after_an_error():
    world = World(mlp, True)
    batch, *_ = batches([4])
    x, y, words = batch
    world.run(x, y, words)
    with pytest.raises(IndexError, match="target"):
        settle(world.run(x, y + 100, words))
    assert entries_in_place() and recording.recorder is None
    for _ in range(3):
        world.run(x, y, words)
    with pytest.raises(IndexError, match="target"):  # of a replay
        settle(world.run(x, y + 100, words))
    assert world.run.replays >= 3


def test_a_compiled_step_in_a_compiled_step():
    inner = minitorch.compile(lambda x: x * 2, fullgraph=True)
    outer = minitorch.compile(lambda x: inner(x) + 1, fullgraph=True)
    for i in range(5):
        assert outer(minitorch.full((2,), float(i))).tolist() == [2 * i + 1.0] * 2
    assert outer.replays == 3 and inner.recordings == 0


def test_other_threads_are_not_recorded():
    seen = []
    started, done = threading.Event(), threading.Event()

    def work():
        started.wait()
        seen.append((minitorch.ones(3) + 1).sum().item())
        done.set()

    def step(x):
        started.set()
        assert done.wait(10)
        return x * 2

    thread = threading.Thread(target=work)
    fast = minitorch.compile(step, fullgraph=True)
    thread.start()
    for i in range(4):
        assert fast(minitorch.full((2,), float(i))).tolist() == [2.0 * i] * 2
    thread.join()
    assert seen == [6.0] and fast.replays == 2


@pytest.mark.parametrize(
    "find",
    [
        lambda model: model[0].weight,
        lambda model: model[3].running_mean,
        lambda model: model[4].bias.grad,
    ],
    ids=["parameter", "buffer", "gradient"],
)
def test_graphs_of_before_raise(find):
    """A replay counts up versions as the step does, so that stale values are noticed."""
    world = World(mlp, True)
    batch, *_ = batches([4])
    for _ in range(3):
        world.run(*batch)
    value = find(world.model)
    w = minitorch.ones(value.shape, requires_grad=True)
    loss = (value * w * w).sum()
    world.run(*batch)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_is_as_quiet_as_the_step():
    fast = minitorch.compile(lambda x: (x.log() + 1 / x).sum(), fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            assert np.isnan(fast(minitorch.zeros(3)).item())


# ---------------------------------------------------------------------- several threads
@pytest.mark.parametrize("block", ["nothing", "anomaly", "flops", "synchronize"])
def test_trainings_in_threads_give_the_same_bits(block, device):
    """While others record, come and go with interceptors, or wait for the device."""
    serving, index = backend.resolve(None)
    data = list(batches([4] * 5))
    blocks = {
        "anomaly": minitorch.autograd.detect_anomaly,
        "flops": lambda: FlopCounterMode(display=False),
    }

    def train(i=0):
        world = linear_world()
        world["model"].load_state_dict(weights)
        run = minitorch.compile(world["step"])
        for n, batch in enumerate(data):
            with blocks.get(block, nullcontext)() if i % 2 and n % 2 else nullcontext():
                run(*batch)
            if block == "synchronize" and i % 2:
                serving.synchronize(index)
        return [bits(p) for p in world["model"].parameters()]

    def linear_world():
        model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES))
        optimizer = optim.Adam(model.parameters())

        def step(x, y, words):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return {"model": model, "step": step}

    weights = linear_world()["model"].state_dict()
    expected = train()

    def work(i):
        for _ in range(2):
            assert train(i) == expected

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_threads(work, 4)
    assert train() == expected and entries_in_place() and recording.recorder is None


def test_anomaly_mode_sees_through_a_compiled_step():
    fast = minitorch.compile(lambda x: x.log())
    for _ in range(3):
        fast(minitorch.ones(2))
    with (
        minitorch.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"log made -inf at \[0\]"),
    ):
        fast(minitorch.zeros(2))
    assert fast(minitorch.ones(2)).tolist() == [0, 0] and fast.replays == 2


def test_anomaly_mode_inside_a_step_is_not_recorded():
    def step(x):
        with minitorch.autograd.detect_anomaly():
            return x.log()

    with pytest.raises(CannotRecord, match="ops are looked at while they run"):  # noqa: PT012
        fast = minitorch.compile(step, fullgraph=True)
        for _ in range(3):
            fast(minitorch.ones(2))
    with minitorch.autograd.detect_anomaly():  # whose end leaves what was before
        pass
    assert not minitorch.autograd.is_anomaly_enabled() and entries_in_place()


# ---------------------------------------------------------------------- an ordinary loop
class Several(nn.Module):
    """Results of many kinds, one of which nobody uses."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, FEATURES, sparse=True)
        self.layers = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Dropout(0.3))
        self.norm, self.last = nn.BatchNorm1d(8), nn.Linear(8, CLASSES)
        self.unused = nn.Linear(2, 2)

    def forward(self, x, words):
        h = self.norm(self.layers(x + self.words(words).sum(1)))
        return {"logits": self.last(h), "h": (h, h.argmax(1)), "bias": self.last.bias}


def pair_loss(out, y):
    return F.cross_entropy(out["logits"], y) + out["h"][0].square().mean() * 0.1


LOOPS = {
    "one call": lambda model, x, y, w: pair_loss(model(x, w), y),
    "two calls": lambda model, x, y, w: pair_loss(model(x, w), y) + pair_loss(model(x * 2, w), y),
    "a result that is a parameter": lambda model, x, y, w: (
        pair_loss(model(x, w), y) + model(x, w)["bias"].sum()
    ),
    "a call that nobody needs": lambda model, x, y, w: (model(x, w), pair_loss(model(x, w), y))[1],
}


def trained_in_a_loop(name, compiled, hook=False, steps=9):
    """All that an ordinary loop leaves, and the model that was called in it."""
    minitorch.manual_seed(1)
    model = Several()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    called = minitorch.compile(model) if compiled else model
    seen = []
    if hook:
        model.last.weight.register_hook(lambda g: seen.append(bits(g)) or g * 0.5)
    for i, (x, y, words) in enumerate(batches([5] * steps)):
        called.train()
        optimizer.zero_grad()
        loss = LOOPS[name](called, x, y, words)
        loss.backward()
        seen.append(bits([p.grad for p in called.parameters() if p.grad is not None]))
        optimizer.step()
        seen.append(bits(loss))
        if i % 2:
            called.eval()
            with minitorch.no_grad():
                seen.append(bits(called(x, words)["logits"]))
    return seen, bits(called.state_dict()), bits(minitorch.get_rng_state()), called


@pytest.mark.parametrize("hook", [False, True], ids=["", "hook"])
@pytest.mark.parametrize("name", ["one call", "a call that nobody needs"])
def test_a_model_trains_in_an_ordinary_loop(name, hook):
    *expected, _ = trained_in_a_loop(name, False, hook)
    *found, model = trained_in_a_loop(name, True, hook)
    assert found == expected
    assert model.reason is None and model.replays > 5


@pytest.mark.parametrize("name", LOOPS)
def test_gradients_of_several_calls_add_up(name):
    """Up to rounding: they come in another order."""
    expected = trained_in_a_loop(name, False)[1]
    found, model = (trained_in_a_loop(name, True)[i] for i in (1, 3))
    assert found.keys() == expected.keys() and model.reason is None and model.replays > 5
    for key, (dtype, _, value) in expected.items():
        a, b = (np.frombuffer(v, dtype) for v in (found[key][2], value))
        assert np.allclose(a, b, rtol=1e-3, atol=1e-4), key


def test_a_compiled_model_is_a_model():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.5))
    fast = minitorch.compile(model, fullgraph=True)
    assert isinstance(fast, nn.Sequential) and len(fast) == 3 and repr(fast) == repr(model)
    assert fast.to(minitorch.float32) is fast.eval() is fast and not model.training
    fast.training = fast[2].training = True
    fast.extra = nn.Parameter(minitorch.zeros(1))
    assert model.training and list(fast.state_dict()) == list(model.state_dict())
    assert model.extra is fast.extra
    del fast.extra
    outer = nn.Sequential(fast, nn.Linear(3, 1))
    assert len(list(outer.parameters())) == 4
    x = minitorch.ones(4, 2)
    for _ in range(5):
        outer(x).sum().backward()
    assert fast.replays == 3 and fast.reason is None
    twin = copy.deepcopy(fast)
    with minitorch.no_grad():
        twin.eval()[0].bias.fill_(7.0)
        assert [bits(twin(x)) for _ in range(4)] == [bits(twin.forward(x))] * 4
        assert twin.replays > 0 and model[0].bias.max() < 7 and model.training


def test_other_parameters_of_a_functional_call_are_seen():
    def calls(model):
        found = []
        for i, (x, _, _) in enumerate(batches([4] * 8)):
            state = {k: v.detach() * i for k, v in model.named_parameters()}
            found += [bits(minitorch.func.functional_call(model, state, x)), bits(model(x))]
        return found

    model = nn.Linear(FEATURES, CLASSES)
    assert calls(minitorch.compile(model, fullgraph=True)) == calls(model)


@pytest.mark.parametrize("inner", [False, True])
def test_hooks_in_a_backward_pass_to_come_are_called(inner):
    class Model(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            if inner and y.requires_grad:
                y.register_hook(lambda g: seen.append(bits(g)))
            return y * 2

    found = []
    for compiled in (False, True):
        seen = []
        minitorch.manual_seed(0)
        model = Model(FEATURES, CLASSES)
        if not inner:
            model.register_full_backward_hook(lambda *_, to=seen: to.append(bits(_[2])))
        called = minitorch.compile(model) if compiled else model
        with pytest.warns(UserWarning, match="runs hooks of") if compiled else nullcontext():
            for x, _, _ in batches([4] * 5):
                called(x).square().sum().backward()
        found.append(seen)
    assert found[0] == found[1] and len(seen) == 5


def test_a_loss_is_compiled_with_its_model():
    model = nn.Linear(2, 1)
    loss = minitorch.compile(lambda x: model(x).square().mean(), fullgraph=True)
    for i in range(5):
        x = minitorch.full((3, 2), float(i))
        model.zero_grad()
        loss(x).backward()
        found = [bits(p.grad) for p in model.parameters()]
        model.zero_grad()
        model(x).square().mean().backward()
        assert found == [bits(p.grad) for p in model.parameters()]
    assert loss.replays == 3


def warm(step, x, calls=4):
    fast = minitorch.compile(step, fullgraph=True)
    for _ in range(calls):
        fast(x)
    return fast


def test_a_graph_that_waits_is_not_overwritten():
    w = minitorch.ones(2, requires_grad=True)
    fast = warm(lambda x: (x * w).exp(), minitorch.zeros(2))
    results = [fast(minitorch.full((2,), float(i))) for i in range(12)]
    assert len(fast._programs) == OPEN  # the calls beyond them run as they are
    for i, y in enumerate(results):
        (g,) = minitorch.autograd.grad(y.sum(), w)
        assert g.tolist() == pytest.approx([i * np.exp(i)] * 2, rel=1e-5)


def test_what_backward_of_a_replay_refuses():
    w = minitorch.ones(2, requires_grad=True)
    x = minitorch.ones(2)
    fast = warm(lambda x: (w * w).exp().sum(), x)
    y = fast(x)
    y.backward(retain_graph=True)
    y.backward()
    assert w.grad.tolist() == pytest.approx([4 * np.e] * 2)
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="no second derivative"):
        minitorch.autograd.grad(fast(x), w, create_graph=True)
    y = fast(x)
    with minitorch.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_arguments_that_require_grad_get_theirs():
    w = minitorch.ones(2, requires_grad=True)
    fast = minitorch.compile(lambda x: x * w)
    xs = [minitorch.ones(2, requires_grad=True) for _ in range(4)]
    with pytest.warns(UserWarning, match="requires grad") as seen:
        sum(fast(x).sum() for x in xs).backward()
    assert len(seen) == 1 and w.grad.tolist() == [4, 4]
    assert [x.grad.tolist() for x in xs] == [[1, 1]] * 4


# ---------------------------------------------------------------------- what a replay cannot see
def test_python_values_that_change_are_noticed():
    factor = [0.0]

    def step(x):
        factor[0] += 1
        return x * factor[0]

    fast = minitorch.compile(step)
    with pytest.warns(UserWarning, match="a replay differs from the step in a result") as seen:
        found = [fast(minitorch.ones(1)).item() for _ in range(6)]
    assert found == [1, 2, 3, 4, 5, 6] and len(seen) == 1


def test_work_on_arrays_that_passes_by_is_noticed():
    buffer = minitorch.zeros(2)

    def step(x):
        backend.of(x.array).kernels["copy_"](buffer.array, x.array)
        return buffer * 2

    fast = minitorch.compile(step)
    with pytest.warns(UserWarning, match="works on arrays past the ops"):
        found = [fast(minitorch.full((2,), float(i))).tolist() for i in range(6)]
    assert found == [[2.0 * i] * 2 for i in range(6)]


@pytest.mark.parametrize("error", [MemoryError, backend.OutOfMemoryError])
@pytest.mark.parametrize("when", ["build", "step"])
def test_too_little_memory_to_record(when, error, monkeypatch):
    """The step is applied once, also where the lack shows in its middle."""
    trace = type(backend.resolve(None)[0].trace())

    def make():
        model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES))
        optimizer = optim.Adam(model.parameters())

        def step(x, y, words):
            F.cross_entropy(model(x).softmax(1), y).backward()
            optimizer.step()
            model.zero_grad()

        return {"model": model, "optimizer": optimizer, "step": step}

    def fail(*args, **params):
        raise error("no memory is left")

    def compiled():
        world = make()
        return {**world, "step": minitorch.compile(world["step"])}

    expected, _ = run(make, [4] * 6, False)
    if when == "build":
        monkeypatch.setattr(trace, "build", fail)
    else:
        noted = Recorder.noted
        monkeypatch.setattr(
            Recorder,
            "noted",
            lambda self, name, kernel: fail if name == "softmax" else noted(self, name, kernel),
        )
    with pytest.warns(UserWarning, match="too little memory to record it: no memory") as seen:
        found, world = run(compiled, [4] * 6, False)
    assert found == expected and len(seen) == 1 and world.step.replays == 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_a_small_device_applies_each_step_once():
    """Recording and comparing need more memory than the eager step, for which there is enough."""

    def trained(make, left=None):
        minitorch.manual_seed(1)
        model = nn.Sequential(nn.Linear(64, 128), nn.Dropout(0.1), nn.Linear(128, 8))
        optimizer = optim.Adam(model.parameters())

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = make(step)
        minitorch.sim.empty_cache()
        free, total = minitorch.sim.mem_get_info()
        room = None if left is None else total - free + left
        with minitorch.sim.config(memory=room):
            found = [run(x) for _ in range(4)]
        return [*map(bits, found), *map(bits, model.parameters())], run

    with minitorch.device("sim"):
        x = minitorch.rand(64, 64)
        expected, _ = trained(lambda step: step)
        reasons = set()
        for left in range(340 << 10, 1400 << 10, 40 << 10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, run = trained(minitorch.compile, left)
            assert found == expected, f"{left} bytes: {run.reason}"
            reasons.add(run.reason and run.reason.split(":")[0])
    assert reasons == {
        None,
        "there is too little memory to record it",
        "there is too little memory to compare a replay with it",
    }

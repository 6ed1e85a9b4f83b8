"""A compiled step leaves what the step leaves: every bit of it, step after step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from minitorch import nn, optim
from minitorch.nn import functional as F
from minitorch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR
from minitorch.tensor import RowGrad

FEATURES, CLASSES, WORDS = 6, 3, 9


# ---------------------------------------------------------------------- all that a step leaves
def bits(x):
    """A tensor, a row-sparse gradient or a plain value, as something that can be compared."""
    if isinstance(x, RowGrad):
        return ("rows", bits(x.indices), bits(x.values))
    if isinstance(x, minitorch.Tensor):
        a = x.detach().cpu().numpy()
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


@settings(max_examples=40, deadline=None)
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

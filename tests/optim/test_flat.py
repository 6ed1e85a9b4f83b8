"""Flat storage: what it moves, and that nobody can tell, with PyTorch as the referee."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from minitorch import nn, optim
from minitorch.core.dispatch import REGISTRY
from minitorch.core.tensor import tensor_of
from minitorch.optim.flat import uniquely_referenced
from tests.optim.test_optimizer import IDS, TABLE, array, descend, gradients, params
from tests.referee import LIBRARIES

# Only there is anything moved: other devices change many arrays in one launch anyhow.
on_the_cpu = pytest.mark.usefixtures("cpu")


@pytest.fixture
def cpu():
    """Tensors are made on the cpu, whatever the device under test."""
    with minitorch.device("cpu"):
        yield


def buffers(ps):
    """The buffers that parameters lie in, None for memory of its own."""
    return [p.array.base for p in ps]


def leaves(library, shapes=((4, 3), (5,), (), (2, 2)), dtype="float64"):
    rng = np.random.default_rng(3)
    return [library.nn.Parameter(library.tensor(rng.normal(size=s).astype(dtype))) for s in shapes]


def fill(library, ps, seed):
    """Give every parameter a gradient."""
    rng = np.random.default_rng(seed)
    for p in ps:
        p.grad = library.tensor(rng.normal(size=p.shape)).to(p.dtype)


def both(story):
    """Tell a story in minitorch and in PyTorch; the tensors it returns must agree."""
    mine, theirs = story(minitorch), story(torch)
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-6 if a.dtype.itemsize < 8 else 1e-11)


# ---------------------------------------------------------------------- what is moved
@on_the_cpu
def test_small_parameters_lie_in_one_buffer_and_large_ones_do_not():
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10), nn.Linear(100, 100))
    ps = list(model.parameters())
    optim.Adam(ps)
    first, *rest = buffers(ps)
    assert first is not None
    assert [b is first for b in rest] == [True, True, True, False, True]
    small = [p for p in ps if p.numel() < 10000]
    assert {(p.data_ptr() - ps[0].data_ptr()) % 128 for p in small} == {0}
    assert all(p.is_contiguous() for p in ps)


@on_the_cpu
@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_a_step_is_one_call(name, options, monkeypatch):
    ps = leaves(minitorch)
    optimizer = getattr(optim, name)(ps, **options)
    kernels = REGISTRY[optimizer._rule.op.__name__].kernels
    real, calls = kernels[np.ndarray], []

    def spy(*columns, **numbers):
        calls.append([len(column) for column in columns[: len(columns) - 2]])
        return real(*columns, **numbers)

    monkeypatch.setitem(kernels, np.ndarray, spy)
    for seed in range(3):
        fill(minitorch, ps, seed)
        optimizer.step()
    assert len(calls) == 3
    assert {n for call in calls for n in call} <= {0, 1}
    assert len({id(b) for b in buffers(ps)}) == 1
    for values in optimizer.state.values():
        for value in values.values():
            assert not isinstance(value, minitorch.Tensor) or value.array.base is not None


@on_the_cpu
@pytest.mark.parametrize(
    "hold",
    [
        lambda p: p.detach(),
        lambda p: p.data,
        lambda p: p.detach()[:1],
        lambda p: p.detach().numpy(),
        lambda p: p.detach().numpy()[1:],
        lambda p: (p * p).sum(),
        lambda p: nn.Parameter(p),
        lambda p: memoryview(p.detach().numpy()),
    ],
)
def test_memory_that_somebody_sees_stays(hold):
    ps = leaves(minitorch)
    held = hold(ps[0])
    optim.SGD(ps)
    assert ps[0].array.base is None
    assert ps[1].array.base is not None
    del held
    optimizer = optim.SGD(ps[:1])
    fill(minitorch, ps, 0)
    optimizer.step()
    assert ps[0].array.base is None  # nobody to share a buffer with


@on_the_cpu
def test_private():
    a, b, c, d, e, f = (tensor_of(np.zeros(6)) for _ in range(6))
    e.array = e.array[2:]
    whole = np.zeros(6)
    halves = [tensor_of(whole[:3]), tensor_of(whole[3:])]
    buffer = bytearray(48)
    foreign = tensor_of(np.frombuffer(buffer))
    view, same, slice_of = b.array[1:], c.array, f[1:]

    def found(*tensors):
        known = {id(x): i for i, x in enumerate(tensors)}
        return [known[id(x)] for x in uniquely_referenced(tensors)]

    assert found(a, b, c, d, e, f, foreign) == [0, 3, 4]
    assert found(*halves) == []
    del whole, view, same, slice_of
    assert found(b, c, f) == [0, 1, 2]
    assert found(*halves) == [0, 1]
    assert found(halves[0]) == []


@on_the_cpu
def test_what_is_left_out():
    """Frozen and row-sparse parameters, other layouts and memory that is one place for many."""
    plain, frozen, turned, spread, sparse = leaves(minitorch, [(4, 3)] * 5)
    frozen.requires_grad_(False)
    turned.data = minitorch.zeros(3, 4, dtype=minitorch.float64).T
    spread.data = minitorch.zeros(1, dtype=minitorch.float64).expand(4, 3)
    ids = minitorch.tensor([1])
    sparse.grad = minitorch.RowGrad(ids, minitorch.ones(1, 3, dtype=minitorch.float64), (4, 3))
    ps = [plain, frozen, turned, spread, sparse]
    before = [p.data_ptr() for p in ps]
    optimizer = optim.SGD(ps)
    fill(minitorch, [plain], 0)
    optimizer.step()
    assert [p.data_ptr() for p in ps] == before
    assert turned.stride() == (1, 4)


def test_a_dtype_has_a_buffer_of_its_own():
    def story(library):
        ps = [*leaves(library, dtype="float32"), *leaves(library)]
        optimizer = library.optim.Adam(ps[::-1], lr=0.1)
        for seed in range(4):
            fill(library, ps, seed)
            optimizer.step()
        return ps

    both(story)


# ---------------------------------------------------------------------- what users may do
def test_aliases_made_before_and_after_stay_aliases():
    def story(library):
        a, b, c = leaves(library, [(2, 2)] * 3)
        early = [a.detach(), b.data, a.detach()[0]]
        optimizer = library.optim.SGD([a, b, c], lr=0.1, momentum=0.5)
        fill(library, [a, b, c], 1)
        optimizer.step()
        late = [a.detach(), c.data, c.detach()[:, 1]]
        optimizer.step()
        late[1].mul_(3.0)
        optimizer.step()
        return [a, b, c, *early, *late]

    both(story)


def test_parameters_that_share_memory():
    def story(library):
        a, b, c = leaves(library, [(2, 2)] * 3)
        b.data = a.data
        optimizer = library.optim.Adam([a, b, c], lr=0.1)
        for seed in range(3):
            fill(library, [a, b, c], seed)
            optimizer.step()
        return [a, b, c]

    both(story)


def test_optimizers_that_share_a_parameter():
    def story(library):
        a, b, c = leaves(library, [(2, 2)] * 3)
        first = library.optim.Adam([a, b], lr=0.1)
        second = library.optim.SGD([b, c], lr=0.1, momentum=0.9)
        for seed in range(4):
            fill(library, [a, b, c], seed)
            first.step()
            second.step()
        third = library.optim.RMSprop([a, c])
        del first, second
        third.step()
        return [a, b, c]

    both(story)


@on_the_cpu
def test_a_second_optimizer_takes_over_from_one_that_is_gone():
    ps = leaves(minitorch)
    optimizer = optim.Adam(ps)
    fill(minitorch, ps, 0)
    optimizer.step()
    old = buffers(ps)[0]
    optimizer = optim.SGD(ps)
    assert buffers(ps)[0] is old  # the first was still there
    optimizer = optim.RMSprop(ps)
    del old
    fill(minitorch, ps, 1)
    optimizer.step()
    assert optimizer._flat.slot(ps[0]) is not None


def test_tied_weights():
    def story(library):
        a, b = library.nn.Linear(3, 3), library.nn.Linear(3, 3)
        for p, values in zip([*a.parameters(), *b.parameters()], [(3, 3), (3,)] * 2):
            p.data = library.linspace(-1, 1, p.numel(), dtype=library.float64).reshape(values)
        b.weight = a.weight
        model = library.nn.Sequential(a, library.nn.Tanh(), b)
        optimizer = library.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            model(library.ones(2, 3, dtype=library.float64)).sum().backward()
            optimizer.step()
        return list(model.parameters())

    both(story)


def test_a_gradient_that_somebody_holds_is_left_alone():
    def story(library):
        ps = leaves(library)
        optimizer = library.optim.Adam(ps, lr=0.1)
        held = []
        for factor in (1.0, -2.0, 3.0):
            optimizer.zero_grad()
            sum((p * p).sum() for p in ps).mul(factor).backward()
            held += [p.grad for p in ps]
            optimizer.step()
        return [*ps, *held]

    both(story)


def test_zero_grad_fills_what_is_there():
    def story(library):
        ps = leaves(library)
        optimizer = library.optim.SGD(ps, lr=0.1)
        fill(library, ps[1:], 0)
        held = [p.grad for p in ps[1:]]
        optimizer.zero_grad(set_to_none=False)
        assert ps[0].grad is None
        assert all(p.grad is g for p, g in zip(ps[1:], held))
        return held

    both(story)


def test_data_replaced_between_steps():
    def story(library):
        ps = leaves(library)
        optimizer = library.optim.Adam(ps, lr=0.1)
        given, shown = library.ones(5, dtype=library.float64), []
        for seed in range(9):
            fill(library, ps, seed)
            optimizer.step()
            if seed == 2:
                ps[0].data = ps[0].data * 2
            if seed == 4:
                ps[1].data = given
            if seed == 6:
                shown.append(ps[3].detach()[1])
                ps[3].data = ps[3].data + 1
        return [*ps, given, *shown]

    both(story)


@on_the_cpu
def test_replaced_data_is_taken_in_again():
    ps = leaves(minitorch)
    optimizer = optim.SGD(ps)
    places = [p.data_ptr() for p in ps]
    ps[1].data = ps[1].data * 2
    fill(minitorch, ps, 0)
    optimizer.step()
    assert [p.data_ptr() for p in ps] == places
    optimizer.step()
    ps[1].data = ps[1].data * 2
    optimizer.step()  # also where there was a plan of the step before
    assert [p.data_ptr() for p in ps] == places


@on_the_cpu
@pytest.mark.parametrize("hold", [lambda p: p.detach(), lambda p: p.detach().numpy()[1:]])
def test_a_place_that_somebody_sees_is_not_written_over(hold):
    ps = leaves(minitorch)
    optimizer = optim.SGD(ps)
    fill(minitorch, ps, 0)
    optimizer.step()
    held = hold(ps[1])
    before = held.tolist()
    ps[1].data = ps[1].data * 2
    optimizer.step()
    assert ps[1].array.base is None
    assert held.tolist() == before


def test_data_of_another_shape():
    def story(library):
        ps = leaves(library)
        optimizer = library.optim.SGD(ps, lr=0.1)
        fill(library, ps, 0)
        optimizer.step()
        ps[1].grad = None
        ps[1].data = ps[1].data[:1].clone()
        fill(library, ps, 1)
        optimizer.step()
        return ps

    both(story)


def test_a_state_of_another_dtype_keeps_it():
    ps = leaves(minitorch)
    optimizer = optim.SGD(ps, lr=0.1, momentum=0.9)
    fill(minitorch, ps, 0)
    optimizer.step()
    optimizer.state[ps[1]]["momentum_buffer"] = minitorch.zeros(5, dtype=minitorch.float32)
    before = ps[1].detach().clone()
    optimizer.step()
    assert optimizer.state[ps[1]]["momentum_buffer"].dtype is minitorch.float32
    expected = array(before) - 0.1 * array(ps[1].grad)
    np.testing.assert_allclose(array(ps[1]), expected, rtol=1e-6)


def test_another_dtype_after_some_steps():
    def story(library):
        model = library.nn.Sequential(library.nn.Linear(2, 2), library.nn.Linear(2, 1)).double()
        for p in model.parameters():
            p.data = library.linspace(0, 1, p.numel(), dtype=library.float64).reshape(p.shape)
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        for dtype in (library.float64, library.float32, library.float64):
            model.to(dtype)
            fill(library, model.parameters(), 0)
            optimizer.step()
            optimizer.step()
        return list(model.parameters())

    mine, theirs = story(minitorch), story(torch)
    for a, b in zip(mine, theirs):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-6)


def test_groups_added_after_steps():
    def story(library):
        ps = leaves(library, [(2, 2)] * 5)
        optimizer = library.optim.Adam(ps[:2], lr=0.1)
        for seed in range(6):
            fill(library, ps, seed)
            optimizer.step()
            if seed == 2:
                optimizer.add_param_group({"params": ps[2:], "lr": 0.5})
        return ps

    both(story)


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_states_load_and_models_copy_in_the_middle(name, options):
    """Beside the run that is not interrupted, bit for bit."""
    steps = list(gradients("float32"))[:12]
    plain, ps = params(minitorch, "float32"), params(minitorch, "float32")
    descend(minitorch, getattr(optim, name)(plain, **options), plain, steps)
    optimizer = getattr(optim, name)(ps, **options)
    descend(minitorch, optimizer, ps, steps[:4])
    saved = copy.deepcopy(optimizer.state_dict())
    held = optimizer.state_dict()
    values = [p.detach().clone() for p in ps]
    descend(minitorch, optimizer, ps, steps[4:6])
    before = repr(held)
    optimizer.load_state_dict(saved)
    for p, value in zip(ps, values):
        p.data = value
    descend(minitorch, optimizer, ps, steps[4:8])
    assert repr(held) == before  # what was there before is not written over
    old, older = ps, [p.tolist() for p in ps]
    ps, optimizer = copy.deepcopy((ps, optimizer))
    descend(minitorch, optimizer, ps, steps[8:])
    assert [p.tolist() for p in ps] == [p.tolist() for p in plain]
    assert [p.tolist() for p in old] == older


def test_models_load_and_save_in_the_middle(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    fill(minitorch, model.parameters(), 0)
    optimizer.step()
    path = tmp_path / "model.safetensors"
    minitorch.save(model.state_dict(), path)
    places = [p.array for p in model.parameters()]
    saved = [p.tolist() for p in model.parameters()]
    optimizer.step()
    model.load_state_dict(minitorch.load(path))
    assert [p.tolist() for p in model.parameters()] == saved
    assert all(p.array is a for p, a in zip(model.parameters(), places))


@LIBRARIES
def test_graphs_see_a_step(m, make):
    ps = leaves(m)
    optimizer = m.optim.SGD(ps, lr=0.1)
    fill(m, ps, 0)
    for _ in range(3):
        versions = [p._version for p in ps]
        loss = sum((p * p).sum() for p in ps)
        loss.backward(retain_graph=True)
        optimizer.step()
        assert all(p._version > version for p, version in zip(ps, versions))
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_step_leaves_the_versions_of_others_alone():
    ps = leaves(minitorch)
    optimizer = optim.SGD(ps, lr=0.1)
    fill(minitorch, ps[:3], 0)
    loss = (ps[3] * ps[3]).sum()
    optimizer.step()
    loss.backward()
    assert ps[3].grad is not None


def test_states_that_users_change():
    def story(library):
        ps = leaves(library)
        optimizer = library.optim.SGD(ps, lr=0.1, momentum=0.9)
        key, held = "momentum_buffer", []
        for seed in range(10):
            fill(library, ps, seed)
            optimizer.step()
            if seed == 2:
                optimizer.state[ps[0]][key].mul_(0.5)
                held.append(optimizer.state[ps[1]][key])
                optimizer.state[ps[1]][key] = library.ones(5, dtype=library.float64)
                held.append(optimizer.state[ps[1]][key].detach())
            if seed == 3:
                optimizer.state[ps[3]][key] = library.ones(2, 2, dtype=library.float64)
                held.append(optimizer.state[ps[3]][key].detach())
            if seed == 4:
                held.append(optimizer.state[ps[2]][key])
                optimizer.state.clear()
            if seed == 6:
                optimizer.param_groups[0]["momentum"] = 0.0
            if seed == 7:
                optimizer.param_groups[0]["momentum"] = 0.8
        return [*ps, *held, *[values[key] for values in optimizer.state.values()]]

    both(story)


def test_groups_that_users_change():
    def story(library):
        ps = leaves(library, [(2, 2)] * 4)
        optimizer = library.optim.SGD(ps[:3], lr=0.1, momentum=0.9)
        listed = optimizer.param_groups[0]["params"]
        for seed in range(8):
            fill(library, ps, seed)
            optimizer.step()
            if seed == 2:
                listed.append(ps[3])
            if seed == 4:
                del listed[0]
            if seed == 6:
                ps.append(library.nn.Parameter(listed[0].data))
                listed[0] = ps[-1]
        return [*ps, *[optimizer.state[p]["momentum_buffer"] for p in ps]]

    both(story)


def test_a_count_that_users_change():
    def story(library):
        ps = leaves(library, [(2, 2)] * 3)
        optimizer = library.optim.Adam(ps, lr=0.1)
        for seed in range(5):
            fill(library, ps, seed)
            optimizer.step()
            if seed == 2:
                step = 40 if library is minitorch else torch.tensor(40.0)
                optimizer.state[ps[1]]["step"] = step
        return ps

    both(story)


def test_a_step_is_seen_in_the_versions_of_states():
    ps = leaves(minitorch)
    optimizer = optim.SGD(ps, momentum=0.9)
    for seed in range(3):
        fill(minitorch, ps, seed)
        before = [values["momentum_buffer"]._version for values in optimizer.state.values()]
        optimizer.step()
        after = [values["momentum_buffer"]._version for values in optimizer.state.values()]
        assert all(x < y for x, y in zip(before, after))


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_a_recorded_call_is_repeated_by_its_live_numbers(name, options):
    """`dynamic()` and the kernel on the same arrays are a step."""
    steps = list(gradients("float64"))[:6]
    plain, ps = params(minitorch, "float64"), params(minitorch, "float64")
    first, second = (getattr(optim, name)(x, **options) for x in (plain, ps))
    recorded = []

    def record(written, read, *, dynamic, **static):
        arrays = [[x.array for x in column] for column in (*written, *read)]
        kernel = REGISTRY[first._rule.op.__name__].kernels[type(arrays[0][0])]
        recorded.append(lambda: kernel(*arrays, **dynamic(), **static))
        recorded[-1]()

    descend(minitorch, first, plain, steps[:1])
    second._rule = second._rule._replace(op=record)
    descend(minitorch, second, ps, steps[:1])
    for i, grads in enumerate(steps[1:]):
        for optimizer in (first, second):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        descend(minitorch, first, plain, [grads])
        for p, grad in zip(ps, grads):
            p.grad.copy_(minitorch.tensor(grad))
        for call in recorded:
            call()
    assert [p.tolist() for p in ps] == [p.tolist() for p in plain]
    states = [repr(optimizer.state_dict()["state"]) for optimizer in (first, second)]
    assert states[0] == states[1]


# ---------------------------------------------------------------------- programs
class Side:
    """One library's parameters and optimizer, and what a program does with them."""

    def __init__(self, library, name, options):
        self.library = library
        self.params = leaves(library, [(2, 3), (3,), (), (2, 2)])
        self.optimizer = getattr(library.optim, name)(self.params[:3], lr=0.1, **options)
        self.held, self.saved = [], None

    def step(self, seed, chosen):
        for i, p in enumerate(self.params):
            if i in chosen:
                fill(self.library, [p], seed + i)
        self.optimizer.step()

    def zero(self, to_none):
        self.optimizer.zero_grad(set_to_none=to_none)

    def rate(self, lr):
        self.optimizer.param_groups[0]["lr"] = lr

    def replace(self, i):
        self.params[i].data = self.params[i].data * 0.5 + 1

    def share(self, i):
        self.held.append(self.params[i].data * -1)
        self.params[i].data = self.held[-1]

    def hold(self, i):
        self.held.append(self.params[i].detach())

    def hold_gradient(self, i):
        if self.params[i].grad is not None:
            self.held.append(self.params[i].grad)

    def drop(self):
        self.held.clear()

    def write(self, i):
        with self.library.no_grad():
            self.params[i].mul_(-0.5)

    def add(self):
        if len(self.optimizer.param_groups) == 1:
            self.optimizer.add_param_group({"params": self.params[3:]})

    def save(self):
        groups = len(self.optimizer.param_groups)
        self.saved = groups, copy.deepcopy(self.optimizer.state_dict())

    def load(self):
        if self.saved is not None and self.saved[0] == len(self.optimizer.param_groups):
            self.optimizer.load_state_dict(copy.deepcopy(self.saved[1]))

    def twin(self):
        self.params, self.optimizer = copy.deepcopy((self.params, self.optimizer))
        for p in self.params:
            p.grad = None  # PyTorch's copies of Parameters have none
        self.held.clear()

    def clip(self):
        self.library.nn.utils.clip_grad_norm_(self.params, 0.3)

    def tensors(self):
        grads = [p.grad for p in self.params if p.grad is not None]
        return [*self.params, *grads, *self.held], self.optimizer.state_dict()["state"]


WHICH = st.integers(0, 3)
ACTIONS = st.one_of(
    *[st.tuples(st.just("step"), st.integers(0, 99), st.frozensets(WHICH)) for _ in range(4)],
    st.tuples(st.just("zero"), st.booleans()),
    st.tuples(st.just("rate"), st.sampled_from([0.01, 0.3])),
    *[st.tuples(st.just(n), WHICH) for n in ("replace", "share", "hold", "hold_gradient", "write")],
    *[st.tuples(st.just(n)) for n in ("drop", "add", "save", "load", "twin", "clip")],
)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("Adagrad", {})],
    ids=str,
)
@settings(max_examples=60)
@given(program=st.lists(ACTIONS, max_size=25))
def test_programs_end_as_pytorchs(name, options, program):
    mine, theirs = (Side(library, name, options) for library in (minitorch, torch))
    for action, *arguments in program:
        for side in (mine, theirs):
            getattr(side, action)(*arguments)
        check = partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-9, err_msg=str(program))
        (a, states), (b, expected) = mine.tensors(), theirs.tensors()
        assert len(a) == len(b)
        for x, y in zip(a, b):
            check(array(x), array(y))
        for i, values in states.items():  # PyTorch's Adagrad has states before the first step
            for key, x in values.items():
                check(array(x) if isinstance(x, minitorch.Tensor) else x, array(expected[i][key]))


def test_an_empty_parameter_is_left_alone():
    empty, p = (minitorch.zeros(n, requires_grad=True) for n in (0, 3))
    optimizer = optim.Adam([empty, p], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (empty.sum() + p.sum()).backward()
        optimizer.step()
    assert empty.shape == (0,)
    assert p.tolist() == pytest.approx([-1.0] * 3)


def test_a_step_that_fails_is_not_counted():
    p = minitorch.ones(3, requires_grad=True)
    optimizer = optim.Adam([p])
    p.sum().backward()
    optimizer.step()
    lr = optimizer.param_groups[0].pop("lr")
    before = p.tolist()
    with pytest.raises(KeyError):
        optimizer.step()
    assert (optimizer.state[p]["step"], p.tolist()) == (1, before)
    optimizer.param_groups[0]["lr"] = lr
    optimizer.step()
    assert optimizer.state[p]["step"] == 2

import copy

import numpy as np
import pytest
import torch

import minitorch
from minitorch import backend, nn
from tests.referee import array


class Block(nn.Module):
    def __init__(self, scale=2.0):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.gain = nn.Parameter(minitorch.full((3,), scale))
        self.register_buffer("count", minitorch.tensor(0))
        self.register_buffer("scratch", minitorch.zeros(2), persistent=False)

    def forward(self, x, extra=0):
        return self.fc(x) * self.gain + extra


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.out = nn.Linear(3, 2, bias=False)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.out(x)


class TorchBlock(torch.nn.Module):
    def __init__(self, scale=2.0):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)
        self.gain = torch.nn.Parameter(torch.full((3,), scale))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([TorchBlock(), TorchBlock()])
        self.out = torch.nn.Linear(3, 2, bias=False)


NAMES = {
    "parameters": lambda m: [n for n, _ in m.named_parameters()],
    "own parameters": lambda m: [n for n, _ in m.named_parameters(prefix="p", recurse=False)],
    "buffers": lambda m: [n for n, _ in m.named_buffers()],
    "modules": lambda m: [n for n, _ in m.named_modules()],
    "children": lambda m: [n for n, _ in m.named_children()],
    "state": lambda m: list(m.state_dict()),
    "prefixed state": lambda m: list(m.state_dict(prefix="model.")),
    "block parameters": lambda m: [n for n, _ in m.blocks[0].named_parameters(prefix="b")],
    "counts": lambda m: [len(list(f())) for f in (m.parameters, m.buffers, m.modules, m.children)],
}


@pytest.mark.parametrize("what", NAMES)
def test_names_are_pytorchs(what):
    assert NAMES[what](Net()) == NAMES[what](TorchNet())


def test_parameter_is_a_leaf_that_shares_storage():
    data = minitorch.zeros(2)
    p = nn.Parameter(data)
    assert isinstance(p, minitorch.Tensor)
    assert p.is_leaf
    assert p.requires_grad
    with minitorch.no_grad():
        p += 1
    assert data.tolist() == [1, 1]
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert repr(p).startswith("Parameter containing:\ntensor([1., 1.]")
    assert type(p * 1) is minitorch.Tensor
    with pytest.raises(TypeError, match="must be a Tensor, got list"):
        nn.Parameter([1.0])


def test_setting_before_init_says_so():
    class Forgetful(nn.Module):
        def __init__(self, value):
            self.thing = value

    for value, kind in [(nn.Parameter(minitorch.zeros(1)), "parameter"), (nn.ReLU(), "module")]:
        with pytest.raises(
            AttributeError, match=rf"{kind} 'thing' before Module.__init__\(\) call"
        ):
            Forgetful(value)
    assert Forgetful(3).thing == 3


def test_attributes_keep_their_kind():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'weight'"):
        layer.weight = minitorch.zeros(2, 2)
    with pytest.raises(TypeError, match="cannot assign 'int' as parameter 'weight'"):
        layer.weight = 3
    layer.bias = None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    assert "bias" not in layer.state_dict()
    layer.bias = nn.Parameter(minitorch.ones(2))
    assert list(layer.state_dict()) == ["weight", "bias"]
    del layer.bias
    assert not hasattr(layer, "bias")
    assert list(layer.state_dict()) == ["weight"]

    block = Block()
    block.count = minitorch.tensor(5)
    assert block.state_dict()["count"].item() == 5
    with pytest.raises(TypeError, match="buffer 'count'"):
        block.count = 3
    with pytest.raises(TypeError, match="module 'fc'"):
        block.fc = 3
    block.fc = None
    assert list(block.state_dict()) == ["gain", "count"]


@pytest.mark.parametrize("library", [nn, torch.nn], ids=["minitorch", "torch"])
def test_bad_registrations(library):
    tensor = minitorch.zeros(1) if library is nn else torch.zeros(1)
    layer = library.Linear(2, 2)
    cases = [
        (KeyError, lambda: layer.register_parameter("a.b", None)),
        (KeyError, lambda: layer.register_parameter("", None)),
        (KeyError, lambda: layer.register_buffer("forward", tensor)),
        (KeyError, lambda: layer.add_module("weight", library.ReLU())),
        (KeyError, lambda: layer.register_buffer("weight", tensor)),
        (TypeError, lambda: layer.register_parameter(3, None)),
        (TypeError, lambda: layer.register_parameter("q", tensor)),
        (TypeError, lambda: layer.register_buffer("q", 3)),
        (TypeError, lambda: layer.add_module("q", 3)),
        (AttributeError, lambda: layer.get_parameter("foo")),
        (AttributeError, lambda: layer.get_parameter("training")),
        (AttributeError, lambda: layer.get_submodule("a.b")),
        (AttributeError, lambda: layer.get_submodule("weight")),
        (AttributeError, lambda: layer.get_buffer("weight")),
        (AttributeError, lambda: layer.missing),
        (NotImplementedError, lambda: library.Module()(1)),
        (ValueError, lambda: layer.train(3)),
        (RuntimeError, lambda: layer.to("nowhere")),
    ]
    for error, call in cases:
        with pytest.raises(error):
            call()


def test_paths():
    net = Net()
    assert net.get_submodule("blocks.1.fc") is net.blocks[1].fc
    assert net.get_submodule("") is net
    assert net.get_parameter("blocks.0.fc.bias") is net.blocks[0].fc.bias
    assert net.get_buffer("blocks.1.count") is net.blocks[1].count


def test_shared_parts_are_yielded_once():
    net = Net()
    net.blocks[1].fc.weight = net.blocks[0].fc.weight
    names = [n for n, _ in net.named_parameters()]
    assert "blocks.0.fc.weight" in names
    assert "blocks.1.fc.weight" not in names
    every = [n for n, _ in net.named_parameters(remove_duplicate=False)]
    assert "blocks.1.fc.weight" in every
    assert "blocks.1.fc.weight" in net.state_dict()

    layer = nn.Linear(2, 2)
    twice = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(twice.parameters())) == 2
    assert len(list(twice.modules())) == 3
    assert len(list(twice.children())) == 2
    assert len(twice) == 3


def test_train_eval_apply_requires_grad():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    order = []
    assert net.apply(lambda m: order.append(type(m).__name__)) is net
    assert order == ["Linear", "Block", "Linear", "Block", "ModuleList", "Linear", "Net"]
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad():
    net = Net()
    net(minitorch.ones(1, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(p.grad.abs().sum().item() == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_to_keeps_parameters_and_casts_floats_only():
    net = Net()
    net(minitorch.ones(1, 3)).sum().backward()
    before = list(net.parameters())
    assert net.double() is net
    after = list(net.parameters())
    assert all(a is b for a, b in zip(before, after))
    assert {p.dtype for p in after} == {minitorch.float64}
    assert {p.grad.dtype for p in after} == {minitorch.float64}
    assert net.blocks[0].count.dtype is minitorch.int64
    assert net.blocks[0].scratch.dtype is minitorch.float64
    assert net(minitorch.ones(1, 3, dtype=minitorch.float64)).dtype is minitorch.float64
    assert net.to(minitorch.zeros(1)).out.weight.dtype is minitorch.float32
    assert net.to(device="cpu", dtype=minitorch.float16).out.weight.dtype is minitorch.float16
    with pytest.raises(TypeError, match="floating point dtypes, got"):
        net.to(minitorch.int64)


def test_to_casts_row_sparse_gradients_and_says_what_device_is_missing():
    layer = nn.Embedding(3, 2, sparse=True)
    layer(minitorch.tensor([1, 1])).sum().backward()
    layer.double()
    assert layer.weight.grad.dtype is minitorch.float64
    assert layer.weight.grad.to_dense().tolist() == [[0, 0], [2, 2], [0, 0]]
    layer.half().float().cpu()
    assert layer.weight.dtype is minitorch.float32
    if backend.why_unavailable("cuda") is None:
        return
    for missing in (lambda: layer.cuda(), lambda: layer.cuda(1), lambda: layer.to("cuda:0")):
        with pytest.raises(RuntimeError, match="device 'cuda"):
            missing()


def test_an_optimizer_goes_on_after_a_cast():
    layer = nn.Linear(2, 1)
    optimizer = minitorch.optim.SGD(layer.parameters(), lr=0.5)
    layer.double()
    before = layer.weight.detach().clone()
    layer(minitorch.ones(1, 2, dtype=minitorch.float64)).sum().backward()
    optimizer.step()
    assert (before - layer.weight).tolist() == [[0.5, 0.5]]


def test_state_dict_shares_storage_and_round_trips():
    source, target = Net(), Net()
    state = source.state_dict()
    assert not any(v.requires_grad for v in state.values())
    assert source.state_dict(keep_vars=True)["out.weight"] is source.out.weight
    kept = list(target.parameters())
    result = target.load_state_dict(state)
    assert str(result) == "<All keys matched successfully>"
    assert all(a is b for a, b in zip(kept, target.parameters()))
    x = minitorch.randn(4, 3)
    assert source(x).tolist() == target(x).tolist()
    with minitorch.no_grad():
        source.out.weight.zero_()
    assert state["out.weight"].abs().sum().item() == 0
    assert target.out.weight.abs().sum().item() > 0


def test_load_state_dict_lists_every_error_and_changes_nothing():
    net = Net()
    state = {name: minitorch.zeros(*value.shape) for name, value in net.state_dict().items()}
    before = {name: value.tolist() for name, value in net.state_dict().items()}
    del state["out.weight"], state["blocks.0.gain"]
    state["nobody"] = state["nothing"] = minitorch.zeros(1)
    state["blocks.0.fc.weight"] = minitorch.zeros(2, 3)
    state["blocks.1.fc.bias"] = minitorch.zeros(3, 1)
    state["blocks.1.gain"] = [1, 2, 3]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    for part in [
        "Error(s) in loading state_dict for Net:",
        'Missing key(s) in state_dict: "blocks.0.gain", "out.weight".',
        'Unexpected key(s) in state_dict: "nobody", "nothing".',
        "size mismatch for blocks.0.fc.weight: copying a param with shape (2, 3) from checkpoint, "
        "the shape in current model is (3, 3).",
        "size mismatch for blocks.1.fc.bias",
        "blocks.1.gain: expected a Tensor, got list",
    ]:
        assert part in message
    assert {name: value.tolist() for name, value in net.state_dict().items()} == before
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state, strict=False)
    assert "Missing" not in str(caught.value)
    assert "size mismatch" in str(caught.value)
    with pytest.raises(TypeError, match="dict-like, got list"):
        net.load_state_dict([])


def test_load_state_dict_not_strict():
    layer = nn.Linear(2, 2)
    result = layer.load_state_dict({"bias": minitorch.ones(2), "x": minitorch.ones(1)}, False)
    assert result.missing_keys == ["weight"]
    assert result.unexpected_keys == ["x"]
    assert layer.bias.tolist() == [1, 1]


def test_state_of_torch_loads():
    theirs, ours = TorchNet(), Net()
    ours.load_state_dict({k: minitorch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    np.testing.assert_array_equal(
        ours.out.weight.detach().cpu().numpy(), theirs.out.weight.detach().numpy()
    )


def test_deepcopy_is_independent_and_keeps_ties():
    net = Net()
    net.blocks[1].fc.weight = net.blocks[0].fc.weight
    twin = copy.deepcopy(net)
    assert twin.blocks[1].fc.weight is twin.blocks[0].fc.weight
    assert isinstance(twin.blocks[0].fc.weight, nn.Parameter)
    x = minitorch.randn(2, 3)
    before = net(x).tolist()
    assert twin(x).tolist() == before
    with minitorch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert net(x).tolist() == before
    twin.extra = nn.Linear(1, 1)
    assert not hasattr(net, "extra")


def test_forward_hooks():
    block, x = Block(), minitorch.randn(2, 3)
    plain = block(x)
    seen = []
    handles = [
        block.register_forward_pre_hook(lambda m, args: seen.append("pre")),
        block.register_forward_hook(lambda m, args, out: seen.append("post")),
        block.register_forward_hook(lambda m, args, out: seen.append("first"), prepend=True),
    ]
    assert block(x).tolist() == plain.tolist()
    assert seen == ["pre", "first", "post"]
    for handle in handles:
        handle.remove()
    block(x)
    assert len(seen) == 3

    with block.register_forward_pre_hook(lambda m, args: args[0] * 0):
        assert block(x).tolist() == block(x * 0).tolist()
    with block.register_forward_hook(lambda m, args, out: out + 1):
        assert block(x).tolist() == (plain + 1).tolist()
    with block.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"extra": 5}), with_kwargs=True
    ):
        assert block(x, extra=1).tolist() == (plain + 5).tolist()
    with block.register_forward_hook(
        lambda m, args, kwargs, out: out * kwargs["extra"], with_kwargs=True
    ):
        assert block(x, extra=2).tolist() == ((plain + 2) * 2).tolist()
    assert block(x).tolist() == plain.tolist()


def test_repr_is_nested_as_pytorchs():
    def build(library):
        return library.Sequential(
            library.Linear(2, 3),
            library.Sequential(library.ReLU(), library.Dropout(0.25)),
            library.ModuleDict({"a": library.ReLU(inplace=True), "b": library.Identity()}),
        )

    assert repr(build(nn)) == repr(build(torch.nn))

    class Two(nn.Module):
        def extra_repr(self):
            return "one\ntwo"

    assert repr(Two()) == "Two(\n  one\n  two\n)"
    assert repr(nn.Module()) == "Module()"


# ---------------------------------------------------------------------- graphs of modules


def _assign(child, ancestor):
    child.up = ancestor


@pytest.mark.parametrize(
    "close",
    [
        _assign,
        lambda child, ancestor: child.add_module("up", ancestor),
        lambda child, ancestor: child.append(ancestor),
        lambda child, ancestor: child.__setitem__(0, ancestor),
    ],
    ids=["attribute", "add_module", "append", "item"],
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_module_that_contains_itself_is_an_error(close, depth):
    child = ancestor = nn.Sequential(nn.Linear(2, 2))
    for _ in range(depth):
        ancestor = nn.Sequential(ancestor)
    before = list(ancestor.state_dict())
    with pytest.raises(ValueError, match="a module may not contain itself"):
        close(child, ancestor)
    assert list(ancestor.state_dict()) == before  # nothing was registered
    child.parent = (ancestor,)  # another kind of reference is no child


def test_a_module_used_twice_is_no_cycle():
    shared = nn.Linear(2, 2, dtype=minitorch.float64)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    assert len(list(model.parameters())) == 2
    x = minitorch.ones(1, 2, dtype=minitorch.float64)
    y = torch.ones(1, 2, dtype=torch.float64)
    twin = torch.nn.Linear(2, 2, dtype=torch.float64)
    twin.load_state_dict({k: torch.tensor(array(v)) for k, v in shared.state_dict().items()})
    model(x).sum().backward()
    twin(twin(y).tanh()).sum().backward()
    np.testing.assert_allclose(array(shared.weight.grad), twin.weight.grad.numpy(), rtol=1e-12)


class Again(nn.Module):
    """Calls what it is given, with itself as the last of all."""

    def __init__(self, *others):
        super().__init__()
        self.first = nn.Linear(2, 2, device="cpu")  # calls into C may hide where it went too deep
        self.others = others

    def forward(self, x):
        for other in self.others or (self,):
            x = other(self.first(x))
        return x


def test_a_recursion_that_ends_is_not_blamed_for_another():
    class Leaf(nn.Module):
        def forward(self, x):
            def endless(n):
                return endless(n + 1)

            return endless(0)

    class Tree(nn.Module):
        def __init__(self):
            super().__init__()
            self.leaf = Leaf()

        def forward(self, x, depth):
            return self(x, depth - 1) if depth else self.leaf(x)

    with pytest.raises(RecursionError) as caught:
        Tree()(minitorch.ones(1, device="cpu"), 2)
    assert type(caught.value) is RecursionError


def test_a_recursion_without_an_end_names_the_modules():
    x = minitorch.ones(1, 2, device="cpu")
    told = "forward of Again calls itself without an end: Again -> Again; a cycle"
    with pytest.raises(RecursionError, match=told):
        Again()(x)
    first = nn.Sequential(nn.Tanh())
    second = Again(first)
    first.append(Again(lambda x: second(x)))  # a reference that registration does not see
    with pytest.raises(RecursionError, match="calls itself without an end: ") as caught:
        first(x)
    circle = str(caught.value).split("end: ")[1].split(";")[0].split(" -> ")
    assert circle in (
        ["Sequential", "Again", "Again", "Sequential"],
        ["Again", "Sequential", "Again", "Again"],
        ["Again", "Again", "Sequential", "Again"],
    )
    handle = first.register_forward_hook(lambda *_: None)
    with pytest.raises(RecursionError, match="calls itself without an end: "):
        first(x)
    handle.remove()


def test_other_recursions_are_left_alone():
    class Tree(nn.Module):
        def forward(self, x, depth):
            return x if depth == 0 else self(x * 2, depth - 1)

    assert Tree()(minitorch.ones(()), 20).item() == 2**20

    def forever(n):
        return forever(n + 1)

    class Calls(nn.Module):
        def forward(self, x):
            return forever(0)

    with pytest.raises(RecursionError, match="maximum recursion depth"):
        Calls()(1)


# ---------------------------------------------------------------------- shallow copies
def test_a_shallow_copy_has_the_same_parts_and_a_registry_of_its_own():
    layer = nn.BatchNorm1d(3)
    layer.register_forward_hook(lambda *args: calls.append("hook"))
    calls = []
    twin = copy.copy(layer)
    assert type(twin) is nn.BatchNorm1d
    assert twin.weight is layer.weight
    keys = list(layer.state_dict())
    x = minitorch.ones(2, 3)
    twin.extra = nn.Parameter(minitorch.zeros(1))
    twin.child = nn.Linear(3, 3)
    twin.weight = nn.Parameter(minitorch.zeros(3))
    twin.register_buffer("seen", minitorch.zeros(1), persistent=False)
    twin.register_forward_hook(lambda *args: calls.append("twin"))
    twin.eval()
    del twin.bias
    assert list(layer.state_dict()) == keys
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.training
    assert layer.weight.tolist() == [1, 1, 1]
    layer(x)
    assert calls == ["hook"]
    assert "extra" in twin.state_dict() and "seen" not in twin.state_dict()


def test_a_shallow_copy_of_a_container():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    twin = copy.copy(model)
    twin.append(nn.Linear(3, 1))
    assert (len(model), len(twin)) == (2, 3)
    x = minitorch.ones(4, 2)
    assert model(x).tolist() == twin[:2](x).tolist()
    assert tuple(twin(x).shape) == (4, 1)


def test_zero_grad_reaches_the_frozen():
    for set_to_none in (True, False):
        layer = nn.Linear(2, 1)
        layer(minitorch.ones(1, 2)).sum().backward()
        layer.weight.requires_grad_(False)
        assert layer.weight.grad is not None
        layer.zero_grad(set_to_none=set_to_none)
        grad = layer.weight.grad
        assert grad is None if set_to_none else grad.tolist() == [[0, 0]]


# ---------------------------------------------------------------------- data of another dtype
X64 = np.ones((2, 4, 3))
OTHER_DTYPE = {
    "Linear": lambda: nn.Linear(3, 2),
    "Linear without bias": lambda: nn.Linear(3, 2, bias=False),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU()),
    "RNN": lambda: nn.RNN(3, 2),
    "LSTM": lambda: nn.LSTM(3, 2),
    "GRU": lambda: nn.GRU(3, 2),
    "matmul": lambda: lambda x: x @ minitorch.ones(3, 2),
}


@pytest.mark.parametrize("name", OTHER_DTYPE)
@pytest.mark.parametrize("dtype", ["float64", "int64", "float16"])
def test_data_of_another_dtype_are_told_the_conversion(name, dtype):
    with pytest.raises((RuntimeError, ValueError), match=r"use (x|input|)\.float\(\)") as error:
        OTHER_DTYPE[name]()(minitorch.tensor(X64.astype(dtype)))
    assert dtype in str(error.value)


def test_a_converted_module_names_its_own_dtype():
    with pytest.raises(RuntimeError, match=r"use x\.double\(\)"):
        nn.Linear(3, 2).double()(minitorch.ones(2, 3))

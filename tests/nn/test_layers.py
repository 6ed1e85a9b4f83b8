import numpy as np
import pytest
import torch

import minitorch
from minitorch import nn
from tests.referee import settle

RNG = np.random.default_rng(0)
X24, X3 = RNG.normal(size=(6, 4)), RNG.normal(size=(5, 4, 3))
IDS = np.array([[0, 3, 1], [3, 2, 4]])
BAGS = np.array([0, 3, 3, 2]), np.array([0, 1, 1, 3])


def array(x):
    return x.detach().cpu().numpy()


def ours(x):
    x = minitorch.tensor(x)
    return x.requires_grad_() if x.is_floating_point() else x


def theirs(x):
    x = torch.tensor(x)
    return x.requires_grad_() if x.is_floating_point() else x


LAYERS = {
    "linear": (lambda n: n.Linear(4, 3), X24),
    "linear without bias, 3-D": (lambda n: n.Linear(3, 2, bias=False), X3),
    "linear, 1-D": (lambda n: n.Linear(4, 2), X24[0]),
    "embedding": (lambda n: n.Embedding(5, 3), IDS),
    "embedding with padding": (lambda n: n.Embedding(5, 3, padding_idx=3), IDS),
    "embedding with padding from the end": (lambda n: n.Embedding(5, 3, padding_idx=-2), IDS),
    "embedding of one index": (lambda n: n.Embedding(5, 3), np.array(2)),
    "flatten": (lambda n: n.Flatten(), X3),
    "flatten the first": (lambda n: n.Flatten(0, 1), X3),
    "identity": (lambda n: n.Identity(3, any=4), X3),
    "layer norm": (lambda n: n.LayerNorm(4), X24),
    "layer norm over two": (lambda n: n.LayerNorm([4, 3], eps=1e-3), X3),
    "layer norm without affine": (lambda n: n.LayerNorm(3, elementwise_affine=False), X3),
    "layer norm without bias": (lambda n: n.LayerNorm(3, bias=False), X3),
    "batch norm": (lambda n: n.BatchNorm1d(4), X24),
    "batch norm 3-D": (lambda n: n.BatchNorm1d(4, eps=1e-3, momentum=0.3), X3),
    "batch norm averaging": (lambda n: n.BatchNorm1d(4, momentum=None), X3),
    "batch norm without bias": (lambda n: n.BatchNorm1d(4, bias=False), X24),
    "batch norm without affine": (lambda n: n.BatchNorm1d(4, affine=False), X24),
    "batch norm without stats": (lambda n: n.BatchNorm1d(4, track_running_stats=False), X24),
    "unflatten": (lambda n: n.Unflatten(1, (2, 2)), X24),
    "rms norm": (lambda n: n.RMSNorm(3), X3),
    "rms norm over two": (lambda n: n.RMSNorm([4, 3], eps=0.1), X3),
    "rms norm without weight": (lambda n: n.RMSNorm(3, elementwise_affine=False), X3),
    "group norm": (lambda n: n.GroupNorm(2, 4), X3),
    "group norm of rows": (lambda n: n.GroupNorm(2, 4, eps=0.1, bias=False), X24),
    "cosine": (lambda n: n.CosineSimilarity(-1), X3, X3[::-1].copy()),
    "distance": (lambda n: n.PairwiseDistance(), X24, X24[::-1].copy()),
    "distance 1": (lambda n: n.PairwiseDistance(1.0, keepdim=True), X24, X24[0]),
    "bilinear": (lambda n: n.Bilinear(4, 3, 2), X24, X3[:3, :2].reshape(6, 3)),
    "bilinear 3-D": (lambda n: n.Bilinear(3, 3, 2, bias=False), X3, X3),
    "embedding of limited length": (lambda n: n.Embedding(5, 3, None, 0.5, 1.0), IDS),
    "embedding by frequency": (lambda n: n.Embedding(5, 3, scale_grad_by_freq=True), IDS),
    "bags": (lambda n: n.EmbeddingBag(5, 3), IDS),
    "bags of limited length": (lambda n: n.EmbeddingBag(5, 3, max_norm=0.5, mode="sum"), IDS),
    # PyTorch errs where numbers differ in frequency
    "bags by frequency": (lambda n: n.EmbeddingBag(5, 3, scale_grad_by_freq=True), IDS[[0, 0]]),
    "bags max": (lambda n: n.EmbeddingBag(5, 3, mode="max"), IDS),
    "bags padded": (lambda n: n.EmbeddingBag(5, 3, mode="max", padding_idx=3), IDS),
    "bags by offsets": (lambda n: n.EmbeddingBag(5, 3, padding_idx=3), *BAGS),
    "bags weighted": (lambda n: n.EmbeddingBag(5, 3, mode="sum"), *BAGS, X24[0]),
    "bags max by offsets": (lambda n: n.EmbeddingBag(5, 3, mode="max"), *BAGS),
    "bags with an end": (lambda n: n.EmbeddingBag(5, 3, include_last_offset=True), *BAGS),
    "dropout of nothing": (lambda n: n.Dropout(0.0), X24),
    "dropout of everything": (lambda n: n.Dropout(1.0), X24),
}


def pair(make):
    """The layer in both libraries, in float64, with the same parameters, none of them special."""
    theirs_, ours_ = make(torch.nn).double(), make(nn).double()
    with torch.no_grad():
        for p in theirs_.parameters():
            p.add_(torch.linspace(0.1, 0.5, p.numel(), dtype=p.dtype).reshape(p.shape))
    state = {k: minitorch.tensor(v.numpy()) for k, v in theirs_.state_dict().items()}
    ours_.load_state_dict(state)
    return ours_, theirs_


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_pytorchs(name, training):
    make, *data = LAYERS[name]
    a, b = pair(make)
    for factor in (1, 1.5):  # twice, so that running statistics move on
        given = [x * factor if x.dtype == float else x for x in data]
        x, y = list(map(ours, given)), list(map(theirs, given))
        a.train(training), b.train(training)
        p, q = a(*x), b(*y)
        assert p.shape == q.shape
        np.testing.assert_allclose(array(p), array(q), rtol=1e-12, atol=1e-12)
        if not q.requires_grad:
            continue
        (p * p.cos()).sum().backward()
        (q * q.cos()).sum().backward()
        for ours_one, theirs_one in zip([*x, *a.parameters()], [*y, *b.parameters()]):
            if theirs_one.grad is not None:
                np.testing.assert_allclose(
                    array(ours_one.grad), array(theirs_one.grad), rtol=1e-9, atol=1e-11
                )
    for key, value in b.state_dict().items():
        np.testing.assert_allclose(array(a.state_dict()[key]), array(value), rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_initial_values_names_and_repr_are_pytorchs(name):
    make = LAYERS[name][0]
    a, b = make(nn), make(torch.nn)
    assert repr(a) == repr(b)
    assert list(a.state_dict()) == list(b.state_dict())
    for key, value in b.state_dict().items():
        mine = a.state_dict()[key]
        assert (mine.shape, str(mine.dtype)[10:]) == (value.shape, str(value.dtype)[6:])
        if "norm" in name:
            np.testing.assert_array_equal(array(mine), array(value))


def test_a_sparse_bag_is_the_dense_one():
    grads = []
    for sparse in (False, True):
        bag = nn.EmbeddingBag.from_pretrained(minitorch.ones(5, 3), freeze=False, sparse=sparse)
        bag(minitorch.tensor(IDS)).sum().backward()
        grads.append(bag.weight.grad)
    assert isinstance(grads[1], minitorch.RowGrad)
    np.testing.assert_allclose(array(grads[1].to_dense()), array(grads[0]))
    with pytest.raises(IndexError):  # its first bag does not begin at 0
        settle(bag(minitorch.tensor([1, 2]), minitorch.tensor([1])))


BAG = nn.functional.embedding_bag


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, i: BAG(i, x[0]), ValueError, "weight has to be 2-D"),
        (lambda x, i: BAG(i[0, 0], x), ValueError, "input has to be 1-D or 2-D"),
        (lambda x, i: BAG(i, x, i[0]), ValueError, "offsets has to be None"),
        (lambda x, i: BAG(i[0], x), ValueError, "needs offsets"),
        (lambda x, i: BAG(i, x, mode="min"), ValueError, "one of sum, mean or max"),
        (lambda x, i: BAG(i, x, mode="max", sparse=True), ValueError, "no sparse"),
        (lambda x, i: BAG(i, x, per_sample_weights=x), ValueError, "expected that of the input"),
        (lambda x, i: BAG(i, x, per_sample_weights=i / 2), NotImplementedError, "mode='sum'"),
        (lambda x, i: nn.EmbeddingBag(5, 3, padding_idx=5), ValueError, "EmbeddingBag: padding"),
        (lambda x, i: nn.GroupNorm(3, 4), ValueError, "divisible by num_groups"),
        (lambda x, i: nn.GroupNorm(2, 4)(x), RuntimeError, "divisible by num_groups=2"),
        (lambda x, i: nn.RMSNorm(4)(x), RuntimeError, "expected input of shape"),
        (lambda x, i: nn.Bilinear(0, 3, 2), ValueError, "in1_features must be > 0"),
    ],
)
def test_bad_input_of_tables_and_norms(call, error, message):
    with pytest.raises(error, match=message):
        call(minitorch.zeros(5, 3), minitorch.tensor(IDS))


def test_linear_starts_uniform():
    layer = nn.Linear(100, 300)
    for p in (layer.weight, layer.bias):
        values = array(p).ravel()
        assert abs(values).max() <= 0.1
        assert abs(values).max() > 0.098
        assert abs(values.mean()) < 0.01
        assert abs(values.std() - 0.1 / 3**0.5) < 0.004
    assert nn.Linear(2, 2, dtype=minitorch.float64).weight.dtype is minitorch.float64


def test_linear_without_inputs_gives_its_bias():
    layer = nn.Linear(0, 2)
    assert layer.bias.tolist() == [0, 0]
    assert nn.Linear(1, 300).bias.abs().max().item() > 0.95
    layer.bias = nn.Parameter(minitorch.tensor([1.0, 2.0]))
    assert layer(minitorch.zeros(3, 0)).tolist() == [layer.bias.tolist()] * 3


def test_embedding_starts_normal():
    values = array(nn.Embedding(300, 100, padding_idx=7).weight)
    assert (values[7] == 0).all()
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03


def test_sparse_embedding_gives_rows():
    layer = nn.Embedding(1000, 2, sparse=True)
    layer(minitorch.tensor([5, 7, 5])).sum().backward()
    grad = layer.weight.grad
    assert grad.indices.tolist() == [5, 7, 5]
    assert grad.values.tolist() == [[1, 1]] * 3
    assert tuple(grad.shape) == (1000, 2)


def test_sparse_padding_gets_no_gradient():
    layer = nn.Embedding(4, 2, padding_idx=1, sparse=True)
    layer(minitorch.tensor([0, 1, 3])).sum().backward()
    assert layer.weight.grad.to_dense().tolist() == [[1, 1], [0, 0], [0, 0], [1, 1]]


def test_from_pretrained():
    table = minitorch.arange(6.0).reshape(3, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen(minitorch.tensor([2])).tolist() == [[4, 5]]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    with pytest.raises(ValueError, match="2-D"):
        nn.Embedding.from_pretrained(minitorch.zeros(3))


def test_dropout_keeps_the_mean_and_is_off_in_evaluation():
    layer, x = nn.Dropout(0.3), minitorch.ones(100, 100, requires_grad=True)
    y = layer(x)
    values = array(y)
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((values == 0).mean() - 0.3) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(array(x.grad), values)
    assert layer.eval()(x) is x
    minitorch.manual_seed(1)
    first = layer.train()(x)
    minitorch.manual_seed(1)
    assert layer(x).tolist() == first.tolist()
    z = minitorch.ones(10)
    assert nn.Dropout(0.5, inplace=True)(z) is z


@pytest.mark.parametrize("library", [nn, torch.nn], ids=["minitorch", "torch"])
def test_bad_input(library):
    make = minitorch.zeros if library is nn else torch.zeros
    for error, call in [
        (ValueError, lambda: library.Dropout(1.5)),
        (ValueError, lambda: library.BatchNorm1d(3)(make(4))),
        (ValueError, lambda: library.BatchNorm1d(3)(make(1, 3))),
        (RuntimeError, lambda: library.BatchNorm1d(3)(make(2, 4))),
        (RuntimeError, lambda: library.LayerNorm(3)(make(2, 4))),
        (RuntimeError, lambda: library.Linear(3, 2)(make(2, 4))),
        (TypeError, lambda: library.Linear(3)),
    ]:
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.BatchNorm1d(4),
        lambda n: n.BatchNorm1d(4, bias=False),
        lambda n: n.BatchNorm1d(4, affine=False, track_running_stats=False),
        lambda n: n.LayerNorm(4),
        lambda n: n.LayerNorm(4, bias=False),
    ],
)
def test_reset_restores_the_initial_values(make):
    layer, fresh = make(nn), make(nn).state_dict()
    with minitorch.no_grad():
        for p in layer.parameters():
            p.add_(1)
    layer(minitorch.randn(6, 4))
    layer.reset_parameters()
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == {
        k: v.tolist() for k, v in fresh.items()
    }


def test_layers_are_made_where_and_as_asked(device):
    for make in (
        lambda **k: nn.Linear(2, 3, **k),
        lambda **k: nn.Embedding(2, 3, **k),
        lambda **k: nn.LayerNorm(3, **k),
        lambda **k: nn.BatchNorm1d(3, **k),
    ):
        layer = make(device=device, dtype=minitorch.float64)
        for value in layer.state_dict().values():
            assert value.device.type == device
            assert value.dtype in (minitorch.float64, minitorch.int64)


def test_bad_embedding():
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)
    with pytest.raises(IndexError):
        nn.Embedding(3, 2)(minitorch.tensor([3])).tolist()
    with pytest.raises(ValueError, match="expected \\(3, 2\\)"):
        nn.Embedding(3, 2, _weight=minitorch.zeros(2, 3))


def test_a_small_model_learns():
    x = minitorch.randn(64, 2)
    target = (x[:, 0] * x[:, 1] > 0).long()
    model = nn.Sequential(
        nn.Linear(2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.05), nn.Linear(32, 2)
    )
    optimizer = minitorch.optim.Adam(model.parameters(), lr=0.02)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(150):
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
    model.eval()
    assert (model(x).argmax(1) == target).float().mean().item() > 0.95

"""Making tensors, against PyTorch."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import minitorch
from tests.referee import DTYPES, Raised, array, attempt, compare, ours

SIZES = [(), (3,), (2, 3), (0, 2), (1, 1, 4)]

MAKERS = {
    "zeros": lambda m, s: (m.zeros(s), m.zeros(*s or [()]), m.zeros(list(s))),
    "ones": lambda m, s: (m.ones(s), m.ones(*s or [()])),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", SIZES)
def test_by_size(name, size):
    compare(lambda m: MAKERS[name](m, size))


@pytest.mark.parametrize("size", SIZES)
def test_full_and_empty(size):
    compare(lambda m: (m.full(size, 2), m.full(size, 2.5), m.full(size, True)))
    compare(lambda m: m.full(size, 1, dtype=m.float16))
    assert tuple(minitorch.empty(size).shape) == tuple(minitorch.empty(*size).shape) == size


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_dtype(dtype):
    def call(m):
        d = getattr(m, dtype)
        filled = (
            m.zeros(2, dtype=d),
            m.ones(2, 2, dtype=d),
            m.full((2,), 1, dtype=d),
            m.eye(2, dtype=d),
        )
        return filled, m.tensor([0, 1, 2], dtype=d), m.tensor([[0.0], [1.5]], dtype=d)

    compare(call)
    if dtype != "bool":
        compare(
            lambda m: (m.arange(5, dtype=getattr(m, dtype)), m.tensor(3, dtype=getattr(m, dtype)))
        )
        compare(lambda m: m.linspace(0, 9, 4, dtype=getattr(m, dtype)))


DATA = [
    3, 2.5, True, [], [1, 2], [1, 2.5], [True, False], [True, 2], [[1, 2], [3, 4]], [[1.5], [2]],
    (1, 2, 3), [[]], [[[1]]], np.float64(2.5), np.int64(3), [np.float32(1.5)], np.arange(3),
    np.ones((2, 2), "float32"), np.ones(2, "uint8"), np.array(True), np.ones(2, "float16"),
    range(3), float("nan"), 2**40, [2**40, 1.0],
]  # fmt: skip


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_from_data(data):
    compare(lambda m: (m.tensor(data), m.as_tensor(data)))


@pytest.mark.parametrize("data", ["a", None, [1, "a"], [[1], [1, 2]], {1: 2}, [1j], object()])
def test_from_what_is_no_data(data):
    mine = attempt(lambda m: m.tensor(data), minitorch)
    assert isinstance(mine, Raised)
    assert "tensor: expected numbers" in str(mine)


def test_tensor_copies_and_from_numpy_shares():
    a = np.arange(3.0)
    copied, shared, as_tensor = minitorch.tensor(a), minitorch.from_numpy(a), minitorch.as_tensor(a)
    a[0] = 7
    assert copied.tolist() == [0.0, 1.0, 2.0]
    assert shared.tolist() == [7.0, 1.0, 2.0]
    assert as_tensor.tolist() == shared.tolist() or as_tensor.device.type != "cpu"
    shared[1] = 8.0
    assert a.tolist() == [7.0, 8.0, 2.0]
    assert shared.numpy() is not None
    x = ours(a)
    assert minitorch.as_tensor(x) is x
    y = minitorch.tensor(x)
    y.zero_()
    assert x[0].item() == 7.0


def test_strided_and_foreign_arrays():
    a = np.arange(12.0).reshape(3, 4)
    for b in (a.T, a[::2, 1:], a[:, ::-1], a.astype(">f8"), np.broadcast_to(a[0], (3, 4))):
        x = minitorch.tensor(b)
        assert x.tolist() == b.tolist()
        assert x.is_contiguous()
    assert minitorch.from_numpy(a.T).stride() == (1, 4)


def test_a_tensor_of_a_tracked_tensor_is_a_leaf():
    x = ours(np.ones(2), True)
    y = minitorch.tensor(x * 2)
    assert y.is_leaf
    assert not y.requires_grad
    assert minitorch.tensor([1.0], requires_grad=True).requires_grad


RANGES = [
    (5,), (0,), (1, 4), (1, 10, 3), (10, 1, -3), (0, 1, 0.25), (1.5,), (0.0, 3), (5, 5), (-3, 3),
    (1, 2, 0.3), (0, 1, 0), (1, 0), (3, 1, 1), (-5,), (0, 2**40, 2**38),
]  # fmt: skip


@pytest.mark.parametrize("arguments", RANGES, ids=repr)
def test_arange(arguments):
    compare(lambda m: m.arange(*arguments))
    compare(lambda m: m.arange(*arguments, dtype=m.float64))


@pytest.mark.parametrize("arguments", [(0, 1, 5), (1, 0, 3), (-2, 2, 1), (0, 1, 0), (3, 3, 4)])
def test_linspace(arguments):
    compare(lambda m: (m.linspace(*arguments), m.linspace(*arguments, dtype=m.float64)))


@pytest.mark.parametrize("size", [(3,), (2, 4), (4, 2), (0,), (1, 0)])
def test_eye(size):
    compare(lambda m: (m.eye(*size), m.eye(*size, dtype=m.int64)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_like(dtype):
    a = np.ones((2, 3), dtype)

    def call(m, x):
        made = m.zeros_like(x), m.ones_like(x), m.full_like(x, 1), m.empty_like(x).zero_()
        return made, m.zeros_like(x, dtype=m.float64), m.ones_like(x.T)

    compare(call, a, grad=False)
    x = ours(a)
    for made in (minitorch.rand_like, minitorch.randn_like):
        if np.dtype(dtype).kind == "f":
            assert made(x).dtype is x.dtype
            assert tuple(made(x).shape) == (2, 3)
    drawn = minitorch.randint_like(x, 5, 6, dtype=minitorch.int64)
    assert drawn.tolist() == [[5] * 3] * 2
    below = minitorch.randint_like(x, 1)
    assert (below.dtype, below.tolist()) == (x.dtype, [[0] * 3] * 2)


def test_requires_grad_and_device_arguments():
    makers = (
        lambda **k: minitorch.zeros(2, **k), lambda **k: minitorch.ones(2, **k),
        lambda **k: minitorch.full((2,), 1.0, **k), lambda **k: minitorch.empty(2, **k),
        lambda **k: minitorch.rand(2, **k), lambda **k: minitorch.randn(2, **k),
        lambda **k: minitorch.eye(2, **k), lambda **k: minitorch.linspace(0, 1, 3, **k),
        lambda **k: minitorch.arange(3.0, **k), lambda **k: minitorch.tensor([1.0], **k),
    )  # fmt: skip
    for make in makers:
        x = make(requires_grad=True, device="cpu")
        assert x.requires_grad
        assert x.is_leaf
        assert x.device == minitorch.device("cpu")
        assert not make().requires_grad
    for make in makers:
        with pytest.raises(RuntimeError, match=r"floating[ -]point"):
            make(requires_grad=True, dtype=minitorch.int64)


def test_numbers_out_of_a_tensor():
    x = ours(np.array([[1.5, 2.0]]))
    assert x[0, 0].item() == 1.5
    assert float(x[0, 0]) == 1.5
    assert int(x[0, 1]) == 2
    assert bool(x[0, 0])
    assert f"{x[0, 0]:.3f}" == "1.500"
    assert [10, 20, 30][ours(np.array(2))] == 30
    assert len(x) == 1
    assert x.numel() == x.nelement() == 2
    assert x.nbytes == 16
    assert x.tolist() == [[1.5, 2.0]]
    assert np.asarray(x.cpu()).tolist() == [[1.5, 2.0]]
    assert [row.tolist() for row in x] == [[1.5, 2.0]]


CONVERSIONS = {
    "item": lambda m, x: x.item(),
    "bool": lambda m, x: bool(x),
    "float": lambda m, x: float(x),
    "int": lambda m, x: int(x),
    "len of 0-d": lambda m, x: len(x[0, 0]),
    "iterate 0-d": lambda m, x: list(x[0, 0]),
    "index by float": lambda m, x: [1, 2][x[0, 0]],
    "size": lambda m, x: x.size(5),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_that_cannot_be(name):
    compare(CONVERSIONS[name], np.ones((2, 2)))
    assert isinstance(attempt(CONVERSIONS[name], minitorch, ours(np.ones((2, 2)))), Raised)


ERRORS = {
    "zeros: size: lengths cannot be negative, got (-1, 2)": lambda: minitorch.zeros(-1, 2),
    "zeros: size: expected integers, got 1.5": lambda: minitorch.zeros(1.5),
    "full: fill_value: expected a number, got 'a'": lambda: minitorch.full((2,), "a"),
    "arange: step must be nonzero": lambda: minitorch.arange(0, 1, 0),
    "arange: start 1 and end 0 do not agree with the sign of step 1": lambda: minitorch.arange(
        1, 0
    ),
    "linspace: steps must be non-negative, got -1": lambda: minitorch.linspace(0, 1, -1),
    "from_numpy: expected a NumPy array, got list": lambda: minitorch.from_numpy([1]),
    "tensor: expected numbers in lists of equal lengths": lambda: minitorch.tensor([[1], [1, 2]]),
    "eye: size: lengths cannot be negative": lambda: minitorch.eye(-1),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((TypeError, RuntimeError, ValueError)) as error:
        ERRORS[message]()
    assert message in str(error.value)


def test_creation_is_on_the_default_device(device):
    for x in (minitorch.zeros(1), minitorch.tensor(1.0), minitorch.rand(1), minitorch.arange(2)):
        assert x.device.type == minitorch.device(device).type
    assert array(minitorch.zeros(1)).tolist() == [0.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(itertools.islice(minitorch.arange(3).tolist(), 2)) == [0, 1]


# ------------------------------------------------------------------ memory shared with NumPy
def on_cpu(a, requires_grad=False):
    return minitorch.tensor(a, device="cpu", requires_grad=requires_grad)


@pytest.mark.parametrize("read", [np.array, np.copy, lambda t: np.array(t, copy=True)])
@pytest.mark.parametrize("dtype", [*DTYPES])
def test_numpy_s_copies_are_copies(read, dtype):
    t = on_cpu(np.ones((2, 3), dtype))
    for x in (t, t.T, t[0], t[0, 0]):
        a = read(x)
        assert (a.dtype, a.shape) == (np.dtype(dtype), tuple(x.shape))
        a[...] = 0
        assert t.sum().item() == 6


def test_numpy_s_views_share_memory():
    t = on_cpu(np.ones(6, "float32"))
    for number, read in enumerate(
        (
            np.asarray,
            lambda t: t.numpy(),
            lambda t: np.asarray(t, "float32"),
            lambda t: t.detach().numpy(),
            lambda t: np.array(t, copy=None if NUMPY_2 else False),
            lambda t: t.__array__(copy=False),
        )
    ):
        a = read(t)
        a[0] = number
        assert t[0].item() == number
        assert np.shares_memory(a, np.asarray(t))
    assert not np.shares_memory(np.asarray(t, "float64"), np.asarray(t))
    with pytest.raises(ValueError, match="a copy is needed to convert float32 to float64"):
        t.__array__("float64", copy=False)


NUMPY_2 = int(np.__version__.split(".")[0]) >= 2
GIVE = {
    "numpy": lambda: (t := on_cpu(np.ones((2, 3))), t.numpy()),
    "asarray": lambda: (t := on_cpu(np.ones((2, 3))), np.asarray(t)),
    "from_numpy": lambda: (minitorch.from_numpy(a := np.ones((2, 3))), a),
    "as_tensor": lambda: (minitorch.as_tensor(a := np.ones((2, 3)), device="cpu"), a),
    "as_tensor with a dtype": lambda: (
        minitorch.as_tensor(a := np.ones((2, 3)), dtype=minitorch.float64, device="cpu"),
        a,
    ),
    "parameter": lambda: (
        p := minitorch.nn.Parameter(on_cpu(np.ones((2, 3)))),
        p.detach().numpy(),
    ),
}


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
@pytest.mark.parametrize("name", GIVE)
def test_an_array_in_another_shape_does_not_reshape_the_tensor(name):
    t, a = GIVE[name]()
    a.shape = (6,)
    a[5] = 7
    a.flags.writeable = False
    assert tuple(t.shape) == (2, 3)
    assert t.detach()[1, 2].item() == 7
    t.detach().fill_(2)
    assert a.tolist() == [2.0] * 6


# ------------------------------------------------------------------ the constructor
CONSTRUCTED = {
    "numbers": lambda m: m.Tensor([1.0, 2.0]),
    "rows": lambda m: m.Tensor([[1, 2], [3, 4]]),
    "a tuple": lambda m: m.Tensor((2, 3)),
    "bools": lambda m: m.Tensor([True, False]),
    "a range": lambda m: m.Tensor(range(3)),
    "nothing": lambda m: m.Tensor(),
    "no numbers": lambda m: m.Tensor([]),
    "an array": lambda m: m.Tensor(np.arange(3)),
    "a 0-d array": lambda m: m.Tensor(np.array(3.0)),
    "lengths": lambda m: m.Tensor(2, 3).shape,
    "a length": lambda m: m.Tensor(np.int64(5)).shape,
    "a Size": lambda m: m.Tensor(m.ones(2, 3).shape).shape,
    "an empty Size": lambda m: m.Tensor(m.ones(()).shape).shape,
    "a length of 0": lambda m: m.Tensor(0, 3),
    "a tensor": lambda m: m.Tensor(m.arange(3)),
    "a float": lambda m: m.Tensor(2.5),
    "a NumPy float": lambda m: m.Tensor(np.float64(2.5)),
    "a bool": lambda m: m.Tensor(True),
    "a string": lambda m: m.Tensor("12"),
    "None": lambda m: m.Tensor(None),
    "a dict": lambda m: m.Tensor({1: 2}),
    "a negative length": lambda m: m.Tensor(2, -3),
    "two lists": lambda m: m.Tensor([1], [2]),
    "ragged": lambda m: m.Tensor([[1, 2], [3]]),
    "dtype=": lambda m: m.Tensor([1], dtype=m.int64),
    "arithmetic": lambda m: (m.Tensor([1, 2]) * 3 + m.Tensor([[1], [2]])).sum(0),
    "filled": lambda m: m.Tensor(2, 3).fill_(4).T,
    "gradient": lambda m: _gradient_of(m, m.Tensor([1, 2, 3]).requires_grad_()),
}


def _gradient_of(m, x):
    (x * x).sum().backward()
    return x.grad


@pytest.mark.parametrize("name", CONSTRUCTED)
def test_the_constructor_makes_what_pytorchs_does(name):
    compare(CONSTRUCTED[name], grad=False)


def test_the_constructor_s_error_says_what_was_given():
    with pytest.raises(TypeError, match=r"Tensor: expected lengths, or a sequence.*got float"):
        minitorch.Tensor(2.5)
    with pytest.raises(TypeError, match=r"Tensor\(\) got an unexpected keyword argument 'dtype'"):
        minitorch.Tensor([1], dtype=minitorch.int64)


def test_the_constructor_s_device_and_dtype(device):
    assert minitorch.Tensor([1, 2]).device.type == device
    assert minitorch.Tensor([1, 2], device="cpu").device.type == "cpu"
    minitorch.set_default_dtype(minitorch.float64)
    try:
        assert minitorch.Tensor([1, 2]).dtype is minitorch.float64
    finally:
        minitorch.set_default_dtype(minitorch.float32)


def test_a_tensor_of_a_tensor_is_an_alias():
    def call(m, x):
        y = x * 1
        alias = m.Tensor(y)
        alias.mul_(3)
        y.add_(1)
        return y, alias, alias * 2

    compare(call, np.array([1.0, 2.0]), may_raise=False)

    class Own(minitorch.Tensor):
        pass

    own = Own([1, 2])
    assert type(own) is Own
    assert (own + 1).tolist() == [2, 3]


# ---------------------------------------------------------------------- dtypes
# Called in minitorch and in PyTorch: the dtype and the values must be PyTorch's.
DATA = {
    "float64 scalars": lambda m: m.tensor([np.float64(1)]),
    "nested": lambda m: m.tensor([[np.float64(1)], [2]]),
    "beside a Python number": lambda m: m.tensor([1, np.float64(2)]),
    "float32 scalars": lambda m: m.tensor([np.float32(1), 2.0]),
    "integer scalars": lambda m: m.tensor([np.int32(1), np.int32(2)]),
    "arrays": lambda m: m.as_tensor([np.ones(2), np.ones(2)]),
    "arrays of float32": lambda m: m.as_tensor([np.ones(2, np.float32)]),
    "tensors": lambda m: m.tensor(
        [m.tensor(1.0, dtype=m.float64, device="cpu"), m.tensor(2.0, device="cpu")]
    ),
    "tensors where they are": lambda m: m.tensor([m.tensor(1.0), m.tensor(2.0)]),
    "a tensor beside a number": lambda m: m.tensor([m.tensor(1), 2]),
    "tensors that are tracked": lambda m: m.tensor([m.tensor(1.0).requires_grad_(), m.tensor(2.0)]),
    "a float": lambda m: m.tensor(5.0),
    "full of an int64": lambda m: m.full((2,), np.int64(3)),
    "arange of a float32": lambda m: m.arange(np.float32(3)),
    "arange of a float64": lambda m: m.arange(np.float64(3)),
    "arange of an int64": lambda m: m.arange(np.int64(3)),
    "uint8 from the other end": lambda m: m.tensor([-1, -255], dtype=m.uint8),
}
RANGES = [
    (3.1,),
    (0, 3.1),
    (1, 10, 2.5),
    (0, -3.5, -1),
    (5, 0, -1.5),
    (0.1, 0.9),
    (-2.9, 2.1),
    (2.9, 17.2),
    (3,),
]


@pytest.mark.parametrize("name", DATA)
def test_data_keep_their_dtype(name):
    compare(DATA[name], may_raise=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
@pytest.mark.parametrize("ends", RANGES)
def test_ranges_of_a_dtype(ends, dtype):
    if min(ends) < 0 and dtype == "uint8":
        return
    compare(lambda m: m.arange(*ends, dtype=getattr(m, dtype)), may_raise=False)
    if len(ends) == 2:
        for numbers in ((*ends, 1), (*ends, 4), (*ends, 5), (*ends[::-1], 5)):
            compare(lambda m, n=numbers: m.linspace(*n, dtype=getattr(m, dtype)), may_raise=False)


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("uint8", 300), ("uint8", -300), ("int32", 2**31), ("int32", -(2**31) - 1), ("int64", 2**63)],
)
def test_a_number_that_an_integer_dtype_lacks_is_refused(dtype, number):
    kind = getattr(minitorch, dtype)
    x, mask = minitorch.ones(2, dtype=kind), minitorch.tensor([True, False])
    calls = [
        lambda: x.clamp(max=number),
        lambda: x.clamp(min=number),
        lambda: x.fill_(number),
        lambda: x.masked_fill(mask, number),
        lambda: x.masked_fill_(mask, number),
        lambda: x.__setitem__(0, number),
        lambda: x.index_fill_(0, minitorch.tensor([0]), number),
        lambda: minitorch.where(mask, x, number),
        lambda: minitorch.full((2,), number, dtype=kind),
        lambda: minitorch.full_like(x, number),
        lambda: x == number,
        lambda: x < number,
        lambda: x >= number,
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="does not fit"):
            call()
    with pytest.raises((RuntimeError, TypeError)):
        minitorch.tensor([number], dtype=kind)
    for number in (float("nan"), float("inf")):
        with pytest.raises(RuntimeError, match="does not fit"):
            x.fill_(number)
    assert array(x).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("dtype", "number"), [("uint8", -1.5), ("uint8", -0.5), ("uint8", 255.5), ("int8", -128.5)]
)
def test_a_fraction_beyond_the_ends_of_an_integer_dtype_is_refused(dtype, number):
    for call in (
        lambda m: m.full((2,), number, dtype=getattr(m, dtype)),
        lambda m: m.ones(2, dtype=getattr(m, dtype)).fill_(number),
        lambda m: m.linspace(number, 1, 2, dtype=getattr(m, dtype)),
    ):
        for library in (minitorch, torch):
            with pytest.raises(RuntimeError, match=r"does not fit|without overflow"):
                call(library)


def test_linspace_takes_numpys_numbers():
    compare(lambda m: m.linspace(np.float32(0), np.int64(2), np.int64(3)), may_raise=False)

"""dtypes and promotion, against the whole of PyTorch's table."""

import itertools
import pickle

import numpy as np
import pytest
import torch

import minitorch
from minitorch.core import dtypes
from tests.referee import DTYPES, compare, dtype_name, theirs

NUMBERS = (True, 2, 2.5)


def both(name):
    return getattr(minitorch, name), getattr(torch, name)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)))
def test_promote_types(a, b):
    (x, y), (s, t) = both(a), both(b)
    assert dtype_name_of(minitorch.promote_types(x, s)) == dtype_name_of(torch.promote_types(y, t))


def dtype_name_of(d):
    return str(d).split(".")[-1]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)))
def test_results_of_two_tensors(a, b):
    """Tensors with dimensions outweigh 0-d ones of the same category."""
    for s, t in itertools.product([(2,), ()], repeat=2):
        x, y = np.ones(s, a), np.ones(t, b)
        expected = torch.result_type(theirs(x), theirs(y))
        result = minitorch.tensor(x) * minitorch.tensor(y)
        assert dtype_name(result) == dtype_name_of(expected)
        assert dtype_name(minitorch.tensor(x) + minitorch.tensor(y)) == dtype_name_of(expected)


@pytest.mark.parametrize(("a", "number"), list(itertools.product(DTYPES, NUMBERS)))
def test_results_with_python_numbers(a, number):
    for shape in [(2,), ()]:
        x = np.ones(shape, a)
        expected = torch.result_type(theirs(x), number)
        assert dtype_name(minitorch.tensor(x) * number) == dtype_name_of(expected)
        assert dtype_name(number * minitorch.tensor(x)) == dtype_name_of(expected)


def test_three_tiers_at_once():
    tensors = [
        np.ones(s, d) for s, d in itertools.product([(2,), ()], ("int32", "float32", "bool"))
    ]
    for a, b, c in itertools.product(tensors, repeat=3):
        compare(lambda m, x, y, z: m.where(x > 0, y, z), a, b, c, tolerance=1e-6, grad=False)
        compare(lambda m, x, y, z: m.cat([x.view(-1), y.view(-1), z.view(-1)]), a, b, c, grad=False)


@pytest.mark.parametrize("default", ["float32", "float64"])
def test_the_default_dtype(default):
    before = minitorch.get_default_dtype()
    try:
        minitorch.set_default_dtype(getattr(minitorch, default))
        torch.set_default_dtype(getattr(torch, default))

        def call(m, x, k):
            made = m.zeros(2), m.ones(2), m.tensor([1.5]), m.full((2,), 1.5), m.arange(0, 1, 0.5)
            return made, x + 1.5, k * 2.5, k / 2, k.sin(), k.float(), m.linspace(0, 1, 3), m.eye(2)

        compare(call, np.ones(2, "float32"), np.ones(2, "int64"), grad=False)
    finally:
        minitorch.set_default_dtype(before)
        torch.set_default_dtype(torch.float32)


def test_python_s_types_stand_for_dtypes():
    compare(lambda m: (m.zeros(2, dtype=float), m.zeros(2, dtype=int), m.zeros(2, dtype=bool)))


def test_properties():
    for name in DTYPES:
        mine, other = both(name)
        assert mine.is_floating_point == other.is_floating_point
        assert mine.itemsize == other.itemsize
        assert repr(mine) == f"minitorch.{name}"
        assert minitorch.zeros(3, dtype=mine).element_size() == other.itemsize
        assert pickle.loads(pickle.dumps(mine)) is mine


def test_integers_wrap_around_as_in_pytorch():
    compare(lambda m, x: (x + 300, x - 3, x * -1, 250 + x), np.array([1, 2], "uint8"))
    compare(lambda m, x: (x + 2**40, x * 2**33), np.array([1, 2], "int32"))
    compare(lambda m, x: x + x, np.array([2**31 - 1], "int32"))


ERRORS = {
    "dtype: expected a minitorch dtype such as minitorch.float32, got 'float32'": lambda: (
        minitorch.zeros(2, dtype="float32")
    ),
    "dtype: expected a minitorch dtype": lambda: minitorch.zeros(2, dtype=np.float32),
    "dtype uint16 is not supported: use one of bool, uint8": lambda: minitorch.from_numpy(
        np.ones(2, "uint16")
    ),
    "only floating-point types are supported": lambda: minitorch.set_default_dtype(minitorch.int64),
    "full: fill_value: 300 does not fit into minitorch.uint8": lambda: minitorch.full(
        (2,), 300, dtype=minitorch.uint8
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((TypeError, RuntimeError)) as error:
        ERRORS[message]()
    assert message in str(error.value)


def test_the_table_of_arrays():
    assert [d.name for d in dtypes.DTYPES] == list(DTYPES)
    for d in dtypes.DTYPES:
        assert dtypes.FROM_ARRAY[d.array_dtype] is d


ALIASES = ("half", "float", "double", "short", "int", "long", "bool")


@pytest.mark.parametrize("name", ALIASES)
def test_other_names_of_dtypes(name):
    assert dtype_name_of(getattr(minitorch, name)) == dtype_name_of(getattr(torch, name))
    assert dtype_name(minitorch.zeros(2, dtype=getattr(minitorch, name))) == dtype_name(
        torch.zeros(2, dtype=getattr(torch, name))
    )


@pytest.mark.parametrize("name", [*ALIASES, "byte", "char"])
def test_methods_that_convert(name):
    compare(lambda m, x: getattr(x, name)(), np.array([1.0, 2.5, -3.0]), grad=False)


def test_names_of_dtypes_hide_no_builtin():
    """Neither in the module nor in one that imports all of it."""
    importing = {}
    exec("from minitorch import *", importing)
    for names in (vars(minitorch), importing):
        assert not {"float", "int", "bool"} & set(names)

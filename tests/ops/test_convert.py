"""dtypes, devices and copies against PyTorch; and that no public function is left untested."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import minitorch
from minitorch.ops import methods
from tests.referee import DTYPES, compare, draw_array, ours

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_casts(dtype):
    a = draw_array(RNG, (3, 4), dtype)
    for to in DTYPES:
        compare(lambda m, x, to=to: x.to(getattr(m, to)), a, tolerance=1e-3)
        compare(lambda m, x, to=to: x.to(dtype=getattr(m, to)), a, tolerance=1e-3)
        compare(lambda m, x, to=to: x.type_as(m.zeros(1, dtype=getattr(m, to))), a, tolerance=1e-3)
        compare(lambda m, x, to=to: x.to(m.zeros(1, dtype=getattr(m, to))), a, tolerance=1e-3)
    compare(lambda m, x: (x.float(), x.double(), x.half()), a, tolerance=1e-3)
    compare(lambda m, x: (x.int(), x.long(), x.byte(), x.bool()), np.abs(a * 1))
    compare(lambda m, x: (x.to(float), x.to(int), x.to(bool)), a)


def test_nothing_is_copied_that_fits():
    x = ours(np.ones(3))
    assert x.to(x.dtype) is x
    assert x.to(x.device) is x
    assert x.to(x) is x
    assert x.double() is x
    assert x.contiguous() is x
    assert x.to(x.dtype, copy=True) is not x
    assert x.cpu().device.type == "cpu"


def test_clone_and_copies_are_differentiable():
    a = draw_array(RNG, (3, 4), "float64")
    compare(lambda m, x: (x.clone(), x.T.clone(), m.clone(x)), a)
    compare(lambda m, x: x.to("cpu").to(m.float64, copy=True), a)
    compare(lambda m, x: x.float() * 2, a)
    compare(lambda m, x: x.long() * 2, a)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(DTYPES, DTYPES)))
def test_new_tensors_like_this_one(first, second):
    a = draw_array(RNG, (2, 3), first)

    def call(m, x):
        to = getattr(m, second)
        made = (x.new_zeros(2), x.new_zeros((2, 3)), x.new_ones(2, dtype=to), x.new_full((2,), 1))
        given = x.new_tensor([1, 0]), x.new_tensor([1.5], dtype=to), x.new_empty(0, 3)
        return made, given, m.zeros_like(x), m.ones_like(x, dtype=to), m.full_like(x, 1)

    compare(call, a)


def test_errors_say_what_is_wrong():
    x = ours(np.ones(3))
    with pytest.raises(RuntimeError, match="device: expected one of"):
        x.to("gpu")
    with pytest.raises(TypeError, match="dtype: expected a minitorch dtype"):
        x.to(dtype="float32")
    if minitorch.backend.why_unavailable("cuda") is not None:
        with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
            x.cuda()


# ---------------------------------------------------------------------- is everything tested?
SOURCES = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
# These are in tests/test_random.py.
ELSEWHERE = {
    "is_pinned",
    "pin_memory",
    "normal_",
    "uniform_",
    "bernoulli_",
    "random_",
    "bernoulli",
    "multinomial",
    "record_stream",
}


# A sample of each of these is run by tests/conformance.
DATABASE = set((Path(__file__).parents[1] / "conformance" / "covered.txt").read_text().split())


def named(name):
    """Whether a test calls it, or has it in a table."""
    return name.removesuffix("_") in DATABASE or any(
        form in SOURCES for form in (f'"{name}"', f".{name}(", f"ops.{name},")
    )


@pytest.mark.parametrize("name", sorted(minitorch.ops.__all__))
def test_every_function_is_tested(name):
    assert named(name)


@pytest.mark.parametrize(
    "name", sorted(set(" ".join(methods.METHODS_ONLY.values()).split()) - ELSEWHERE)
)
def test_every_method_is_tested(name):
    assert named(name) or name in minitorch.ops.inplace.UNARY

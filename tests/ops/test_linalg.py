"""Products against PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
from tests.referee import LAYOUTS, compare, draw_array, laid_out, ours

RNG = np.random.default_rng(0)
SHAPES = [
    ((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (5, 6)), ((), (3,)),
    ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((2, 3, 4), (3, 4, 5)), ((2, 0, 3), (2, 3, 4)),
    ((1,), (1,)), ((0,), (0,)), ((2, 3, 4), (2, 4, 2)), ((3, 4), (3,)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_matmul(shapes, dtype):
    a, b = (draw_array(RNG, s, dtype) for s in shapes)
    compare(lambda m, x, y: (m.matmul(x, y), x @ y, x.matmul(y)), a, b)
    if a.ndim > 1 and b.ndim > 1:
        compare(lambda m, x, y: x.mT @ y.mT, a, b)


@pytest.mark.parametrize("name", ["mm", "mv", "bmm", "dot", "outer"])
def test_by_name(name):
    for shapes in SHAPES:
        a, b = (draw_array(RNG, s, "float64") for s in shapes)
        compare(lambda m, x, y: (getattr(m, name)(x, y), getattr(x, name)(y)), a, b)


def test_dtypes_must_agree():
    compare(lambda m, x, y: x @ y, np.ones((2, 2)), np.ones((2, 2), "float32"))
    with pytest.raises(RuntimeError) as error:
        ours(np.ones((2, 2))) @ ours(np.ones((2, 2), "float32"))
    assert "matmul: expected operands of the same dtype, got float64 and float32" in str(
        error.value
    )


EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("ij->ji", (3, 4)), ("ij->", (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("...ij,...jk->...ik", (2, 3, 4), (5, 1, 4, 2)), ("i,j->ij", (3,), (4,)),
    ("ijk,jl,kl->il", (2, 3, 4), (3, 5), (4, 5)), ("ij,ij->", (3, 4), (3, 4)),
    ("ij,ij->i", (3, 4), (3, 4)), ("i...->...i", (2, 3, 4)), ("...", (2, 3)),
    ("ij,j", (3, 4), (4,)),
    ("ij, jk -> ik", (3, 4), (4, 5)), ("ij,jk->ij", (3, 4), (4, 5)), ("iij->ij", (3, 3, 2)),
    ("ij,kl->ijkl", (2, 3), (1, 2)), ("ij,kj->ik", (3, 4), (1, 4)), ("ij,jk->ik", (3, 4), (1, 5)),
    ("aab,bc->ac", (2, 2, 3), (3, 4)), ("ij,jk->ikl", (3, 4), (4, 5)), ("ij->iij", (3, 4)),
    ("ij", (3,)), ("i,i,i->i", (3,), (3,), (3,)), ("i,i,i", (3,), (3,), (3,)), (",->", (), ()),
    ("b...,b...->b", (2, 3), (2, 3)), ("Ab,bA->A", (2, 3), (3, 2)), ("ij,jk->ik", (0, 4), (4, 5)),
    ("ij,jk->ik", (3, 0), (0, 5)), ("...i,...i->...", (4, 3), (3,)), ("ij,jk", (3, 4)),
    ("ij,jk->ik", (3, 4), (5, 6)), ("i1->i", (3, 4)),
    ("bhqd,bhkd->bhqk", (1, 2, 3, 2), (1, 2, 4, 2)),
]  # fmt: skip


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda c: c[0])
def test_einsum(case):
    equation, *shapes = case
    arrays = [draw_array(RNG, s, "float64") for s in shapes]
    compare(lambda m, *xs: (m.einsum(equation, *xs), m.einsum(equation, list(xs))), *arrays)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
    st.lists(st.integers(1, 2), max_size=2),
    st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(["float32", "float64"]),
)  # fmt: skip
@settings(max_examples=150, derandomize=True)
def test_drawn_matmul(n, k, p, lead, left, right, dtype):
    x, f = laid_out(draw_array(RNG, (*lead, n, k), dtype), left)
    y, g = laid_out(draw_array(RNG, (k, p), dtype), right)
    compare(lambda m, x, y: (x @ y, (x @ y).mT @ x), x, y, views=[f, g], may_raise=False)


ERRORS = {
    "matmul: (3, 4) @ (5, 6): 4 ≠ 5": lambda: minitorch.ones(3, 4) @ minitorch.ones(5, 6),
    "matmul: (4,) @ (3,): 4 ≠ 3": lambda: minitorch.ones(4) @ minitorch.ones(3),
    "matmul: () @ (3,): both need at least 1": lambda: minitorch.ones(()) @ minitorch.ones(3),
    "matmul: (2, 3, 4) @ (3, 4, 5): the leading dimensions": lambda: (
        minitorch.ones(2, 3, 4) @ minitorch.ones(3, 4, 5)
    ),
    "matmul: other: expected a tensor, got int": lambda: minitorch.ones(3) @ 2,
    "mm: expected 2-D and 2-D tensors, got (3,) and (3,)": lambda: minitorch.mm(
        minitorch.ones(3), minitorch.ones(3)
    ),
    "bmm: (2, 3, 4) @ (3, 4, 5): 2 ≠ 3": lambda: minitorch.bmm(
        minitorch.ones(2, 3, 4), minitorch.ones(3, 4, 5)
    ),
    "einsum: 'ij,jk' names 2 operands, got 1": lambda: minitorch.einsum(
        "ij,jk", minitorch.ones(2, 2)
    ),
    "einsum: 'ij,jk': label 'j' has length 4 and 5": lambda: minitorch.einsum(
        "ij,jk", minitorch.ones(3, 4), minitorch.ones(5, 6)
    ),
    "einsum: expected at least one operand": lambda: minitorch.einsum("ij"),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises((RuntimeError, TypeError)) as error:
        ERRORS[message]()
    assert message in str(error.value)

"""The checks of derivatives find what is wrong, and say where."""

import numpy as np
import pytest

import minitorch
from minitorch import autograd
from minitorch.testing import check_derivatives, gradcheck, gradgradcheck
from tests.referee import ours

X = np.random.default_rng(0).normal(size=(2, 3))


def wrong(reverse=1.0, forward=1.0, at=(1, 2)):
    """x*x*x, whose derivative is off by a factor at one element, in either mode."""

    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            factor = minitorch.ones_like(x)
            factor[at] = reverse
            return g * 3 * x * x * factor

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            factor = minitorch.ones_like(x)
            factor[at] = forward
            return t * 3 * x * x * factor

    return Wrong.apply


def test_what_is_right_passes():
    x, y = ours(X), ours(X[0])
    f = lambda x, y: ((x * y).sin(), x.exp().sum(0), "no tensor", (x > 0))  # noqa: E731
    assert gradcheck(f, (x, y))
    assert gradcheck(wrong(), x)
    assert gradgradcheck(f, (x, y))
    assert gradgradcheck(lambda x: x**3, [x], [ours(X)])
    check_derivatives(f, (x, y), order=2)
    check_derivatives(wrong(), x, order=3)


def test_gradcheck_names_the_mode_and_the_element():
    with pytest.raises(AssertionError, match=r"reverse mode.*output 0 by inputs\[0\]\[1, 2\]") as e:
        gradcheck(wrong(reverse=1.5), ours(X))
    assert "central differences say" in str(e.value)
    with pytest.raises(AssertionError, match=r"forward mode.*\[1, 2\]: element \[1, 2\] is"):
        gradcheck(wrong(forward=0.5), ours(X))


def test_check_derivatives_finds_either_mode():
    with pytest.raises(AssertionError, match="reverse mode of f: <J"):
        check_derivatives(wrong(reverse=1.001), ours(X), order=1)
    with pytest.raises(AssertionError, match=r"forward mode of f, output 0: element \[1, 2\]"):
        check_derivatives(wrong(forward=1.001), ours(X), order=1)


def first_order_only(mode):
    """x*x whose derivative is right but, in one mode, cut off from the tape: order two is lost."""

    class Square(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g * (x.detach() if mode == "reverse" else x)

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 2 * t * (x.detach() if mode == "forward" else x)

    return Square.apply


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_second_order_that_is_lost_is_found(mode):
    check_derivatives(first_order_only(mode), ours(X), order=1)
    with pytest.raises(AssertionError, match=rf"{mode}\(f\)"):
        check_derivatives(first_order_only(mode), ours(X), order=2)


def test_gradgradcheck_finds_a_lost_second_order():
    assert gradcheck(first_order_only("reverse"), ours(X))
    with pytest.raises(AssertionError, match="gradcheck"):
        gradgradcheck(first_order_only("reverse"), ours(X))


def test_nan_and_shapes_are_found():
    nan = lambda x: x.sqrt().nan_free() if hasattr(x, "nan_free") else (x * 0).sqrt()  # noqa: E731
    with pytest.raises(AssertionError):
        gradcheck(nan, ours(np.ones(2)))


def test_only_what_varies_is_checked():
    x, y = ours(X, True), ours(X)
    assert gradcheck(lambda x, y, k: x * y * k, (x, y, 3))
    index = minitorch.tensor([1, 0])
    check_derivatives(lambda x, i: x[i].sin(), (ours(X), index))
    assert gradcheck(lambda x: x[:0], ours(X))
    assert gradcheck(lambda x: x * 2, ours(np.zeros((0, 3))))


def test_the_user_s_random_numbers_are_left_alone():
    state = minitorch.get_rng_state().tolist()
    check_derivatives(lambda x: x.sin(), ours(X))
    gradgradcheck(lambda x: x.sin(), ours(X))
    assert minitorch.get_rng_state().tolist() == state


def test_bad_inputs():
    with pytest.raises(
        ValueError, match=r"gradcheck: inputs\[0\]: expected float64, got .*float32"
    ):
        gradcheck(lambda x: x, minitorch.ones(2))
    with pytest.raises(ValueError, match="gradcheck: inputs: expected a floating-point tensor"):
        gradcheck(lambda x: x, minitorch.tensor([1]))

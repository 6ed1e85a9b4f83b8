"""The checks of derivatives find what is wrong, and say where."""

import numpy as np
import pytest

import minitorch
from minitorch import autograd
from minitorch.testing import (
    GradcheckError,
    check_derivatives,
    check_dot_product,
    gradcheck,
    gradgradcheck,
    numerical_jacobian,
    step_size,
)
from tests.referee import array, ours

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


def test_pytorchs_names():
    assert minitorch.autograd.gradcheck is gradcheck
    assert minitorch.autograd.gradgradcheck is gradgradcheck
    with pytest.raises(AttributeError, match=r"'minitorch\.autograd' has no attribute 'gradchek'"):
        _ = minitorch.autograd.gradchek


def test_what_is_right_passes():
    x, y = ours(X), ours(X[0])
    f = lambda x, y: ((x * y).sin(), x.exp().sum(0), "no tensor", (x > 0))  # noqa: E731
    assert gradcheck(f, (x, y))
    assert gradcheck(wrong(), x)
    assert gradgradcheck(f, (x, y))
    assert gradgradcheck(lambda x: x**3, [x], [ours(X)])
    check_derivatives(f, (x, y), order=2)
    check_derivatives(wrong(), x, order=3)


def test_gradcheck_reports_the_worst_element():
    with pytest.raises(GradcheckError, match=r"gradcheck: reverse mode: d output 0\[1, 2\]") as e:
        gradcheck(wrong(reverse=1.5), ours(X))
    report, slope = e.value.report, 3 * X[1, 2] ** 2
    assert (report.mode, report.output, report.input) == ("reverse", 0, 0)
    assert report.output_index == report.input_index == [1, 2]
    assert report.analytic == pytest.approx(1.5 * slope)
    assert report.numerical == pytest.approx(slope, rel=1e-6)
    assert report.error == pytest.approx(abs(0.5 * slope), rel=1e-5)
    assert (report.wrong, report.of) == (1, 36)
    for part in ("analytic", "numerical", "error", "1 of 36 elements"):
        assert part in str(e.value)
    with pytest.raises(
        GradcheckError, match=r"forward mode: d output 0\[1, 2\] / d input 0\[1, 2\]"
    ):
        gradcheck(wrong(forward=0.5), ours(X))


def test_the_worst_of_several():
    f, g = wrong(reverse=1.01, at=(0, 0)), wrong(reverse=2.0, at=(1, 1))
    with pytest.raises(GradcheckError) as e:
        gradcheck(lambda i, x, y: (f(x), "text", g(x + y)), (3, ours(X), ours(X[:1])))
    assert (e.value.report.output, e.value.report.input) == (1, 1)
    assert e.value.report.output_index == [1, 1]


def test_gradcheck_on_request():
    assert not gradcheck(wrong(reverse=1.5), ours(X), raise_exception=False)
    assert gradcheck(wrong(reverse=1.5), ours(X), check_backward_ad=False)
    assert gradcheck(wrong(forward=1.5), ours(X), check_forward_ad=False)
    assert gradcheck(wrong(reverse=1.0001), ours(X))
    assert not gradcheck(wrong(reverse=1.0001), ours(X), rtol=1e-6, raise_exception=False)
    with pytest.raises(ValueError, match="neither check_forward_ad nor check_backward_ad"):
        gradcheck(wrong(), ours(X), check_forward_ad=False, check_backward_ad=False)


class NoForward(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_a_function_without_forward_mode():
    assert gradcheck(NoForward.apply, ours(X))
    assert gradgradcheck(NoForward.apply, ours(X))
    assert gradcheck(NoForward.apply, ours(X), check_forward_ad=False)
    for options in ({"check_forward_ad": True}, {"check_backward_ad": False}):
        with pytest.raises(NotImplementedError, match="NoForward: define jvp"):
            gradcheck(NoForward.apply, ours(X), **options)


@pytest.mark.parametrize("method", ["central", "forward"])
@pytest.mark.parametrize("dtype", [minitorch.float64, minitorch.float32])
def test_steps_fit_the_dtype(method, dtype):
    """Within 30 times of the best error that rounding allows; a step 100 times off is worse."""
    x = ours(np.array(1.3)).to(dtype)
    exact = np.cos(1.3)

    def error(factor):
        eps = factor * step_size(dtype, method)
        ((slope,),) = numerical_jacobian(lambda x: x.sin(), x, eps=eps, method=method)
        return abs(slope.item() - exact)

    u = {minitorch.float64: 2.0**-52, minitorch.float32: 2.0**-23}[dtype]
    assert error(1) < 30 * u ** (2 / 3 if method == "central" else 1 / 2)
    assert error(100) > error(1)
    assert gradcheck(lambda x: x.sin() * x, x, method="central")


def test_float32_is_checked_roughly():
    x = ours(X).float()
    assert gradcheck(lambda x: (x * x).sin(), x)
    assert not gradcheck(wrong(reverse=1.2), x, raise_exception=False)
    check_dot_product(lambda x: (x * x).sin(), x)


def test_numerical_jacobian():
    x, y = ours(X, True), ours(X[0], True)
    blocks = numerical_jacobian(lambda x, y: (x @ y, x.sum(), "text"), (x, y))
    expected = np.kron(np.eye(2), X[0])
    np.testing.assert_allclose(array(blocks[0][0]), expected, atol=1e-9)
    np.testing.assert_allclose(array(blocks[0][1]), X, atol=1e-9)
    np.testing.assert_allclose(array(blocks[1][0]), np.ones((1, 6)), atol=1e-9)
    assert not np.any(array(blocks[1][1])) and len(blocks) == 2


def test_check_dot_product():
    check_dot_product(wrong(), ours(X))
    check_dot_product(lambda x, y: ((x * y).sin(), x.exp().sum(0)), (ours(X), ours(X[0])))
    check_dot_product(wrong(reverse=1.3, forward=1.3), ours(X))  # both have the same mistake
    with pytest.raises(AssertionError, match=r"<J\^T w, v> is .* but <w, J v> by forward mode is"):
        check_dot_product(wrong(reverse=1 + 1e-8), ours(X))
    check_dot_product(wrong(reverse=1 + 1e-8), ours(X), tolerance=1e-6)


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
    for inputs in (minitorch.ones(2).half(), (minitorch.ones(2), ours(X))):
        with pytest.raises(ValueError, match=r"inputs\[[01]\]: expected float64 \(or float32 for"):
            gradcheck(lambda *xs: xs[0], inputs)
    with pytest.raises(ValueError, match=r"check_derivatives: inputs: expected float64, got .*32"):
        check_derivatives(lambda x: x, minitorch.ones(2))
    for result, told in ((None, "NoneType"), ((), "nothing"), (minitorch.tensor(1), "Tensor")):
        with pytest.raises(ValueError, match=f"returned no floating-point tensor, but {told}"):
            gradcheck(lambda x, result=result: result, ours(X))
    with pytest.raises(ValueError, match="method: expected 'central' or 'forward', got 'up'"):
        gradcheck(lambda x: x, ours(X), method="up")
    with pytest.raises(ValueError, match=r"dtype: expected float64 or float32, got .*int64"):
        step_size(minitorch.int64)
    for check in (gradcheck, gradgradcheck, check_dot_product, check_derivatives):
        with pytest.raises(TypeError, match=f"{check.__name__}: inputs: .* arguments, got float"):
            check(lambda x: x, 3.0)
    with pytest.raises(ValueError, match="gradcheck: inputs: expected a floating-point tensor"):
        gradcheck(lambda x: x, minitorch.tensor([1]))

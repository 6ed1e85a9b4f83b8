"""Recurrent layers on the simulated GPU: every step's kernel, both ways, beside the CPU's."""

import numpy as np
import pytest

import minitorch.sim
from minitorch import backend
from minitorch.backend import sim
from tests.backend.cuda.test_fused import CPU, SIM, close, kernels, on_sim

KINDS = {
    "rnn": (1, 1, {"nonlinearity": "tanh"}),
    "rnn of relu": (1, 1, {"nonlinearity": "relu"}),
    "lstm": (4, 2, {}),
    "gru": (3, 1, {}),
}
SHAPES = [(3, 2, 4), (1, 1, 1), (2, 130, 5), (2, 0, 3), (2, 3, 701)]  # steps, n, size


@pytest.fixture(params=[False, True], ids=["fast", "checked"])
def build(request):
    """A device of 2048 threads, fewer than the largest state has elements."""
    processors = backend.named("sim").gpu._processors
    with minitorch.sim.config(checked=request.param, processors=1):
        processors.clear()
        yield
    processors.clear()


def arguments(kind, dtype, steps, n, size):
    """The gradient of the result, then gates, state, weight (and bias)."""
    gates, kinds, _ = KINDS[kind]
    rng = np.random.default_rng(0)
    shapes = [(kinds, steps + 1, n, size), (steps, n, gates * size), (kinds, n, size)]
    shapes += [(gates * size, size)] + [(3 * size,)] * (kind == "gru")
    drawn = [rng.normal(size=shape) / 2 for shape in shapes]
    drawn[3] /= size**0.5  # the weight, as layers draw it
    return [a.astype(dtype) for a in drawn]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_gradients_are_the_cpus(kind, shape, dtype, build):
    name, params = kind.split()[0], KINDS[kind][2]
    g, *given = arguments(kind, dtype, *shape)
    exact = [a.astype("float64") for a in (g, *given)]
    wanted, *wide = CPU[name](*exact[1:], **params)
    r, *kept = SIM[name](*map(on_sim, given), **params)
    limit = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert r.dtype == dtype
    np.testing.assert_allclose(r.get(), wanted, rtol=limit, atol=limit)
    for unneeded in range(-1, len(given)):
        needs = tuple(n != unneeded for n in range(len(given)))
        grads = SIM[name + "_backward"](on_sim(g), *kept, needs=needs, **params)
        expected = CPU[name + "_backward"](exact[0], *wide, needs=needs, **params)
        for mine, theirs, needed in zip(grads, expected, needs, strict=True):
            assert (mine is not None) == (theirs is not None) == needed
            if needed:
                assert mine.dtype == dtype
                scale = max(1.0, np.abs(theirs).max(initial=0))
                np.testing.assert_allclose(mine.get(), theirs, atol=4 * limit * scale)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_step_is_a_product_and_a_launch(kind):
    g, *given = arguments(kind, "float32", 3, 2, 4)
    given, params = [on_sim(a) for a in given], KINDS[kind][2]
    minitorch.sim.clear()
    _, *kept = SIM[kind](*given, **params)
    assert [k for k in kernels() if "from" not in k] == ["gemm_float32", f"{kind}_f32"] * 3
    minitorch.sim.clear()
    needs = (True,) * len(given)
    SIM[f"{kind}_backward"](on_sim(g), *kept, needs=needs, **params)
    steps = [k for k in kernels() if k.startswith(kind) or k == "gemm_float32"]
    assert steps == [f"{kind}_backward_f32", "gemm_float32"] * 3 + [
        "gemm_float32"
    ]  # the last is the weight's


def test_operands_may_be_laid_out_in_any_way():
    g, *given = arguments("gru", "float64", 3, 2, 4)
    wanted, *kept = CPU["gru"](*given)
    turned = [sim.asarray(np.ascontiguousarray(a.T)).T for a in given]
    r, *mine = SIM["gru"](*turned)
    close(r, wanted, "float64")
    needs = (True,) * 4
    expected = CPU["gru_backward"](g, *kept, needs=needs)
    back = sim.asarray(np.ascontiguousarray(g.T)).T
    for a, b in zip(SIM["gru_backward"](back, *mine, needs=needs), expected, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-12, atol=1e-12)

"""Kernels of fused ops write into `out`: the same numbers, bit for bit, in the same memory."""

import numpy as np
import pytest

import minitorch.text  # noqa: F401  (which has a fused op of its own)
from minitorch import backend
from minitorch.core.dispatch import REGISTRY

CPU = backend.named("cpu").kernels
RNG = np.random.default_rng(0)


def numbers(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def linear(dtype, *lead, **params):
    x, weight, bias = numbers(*lead, 6), numbers(5, 6), numbers(5)
    return tuple(a.astype(dtype) for a in (x, weight, bias)), params


def cross_entropy(dtype, targets=(0, 2, 1, 2), **params):
    x, target = 3 * numbers(4, 3, dtype=dtype), np.array(targets)
    return (x,), {"target": target, "ignore_index": -100, "reduction": "mean"} | params


def skip_gram(scale):
    x, y, weights = scale * numbers(2, 4, 3), numbers(2, 9, 3), np.abs(numbers(2, 6, 4))
    return (x, y, weights), {"width": 3}


def bce_with_logits_loss(dtype, scale, reduction):
    x, target = scale * numbers(3, 5), RNG.uniform(size=(3, 5))
    return (x.astype(dtype),), {"target": target.astype(dtype), "reduction": reduction}


def layer_norm(dtype, shape, dims, given=3):
    arrays = numbers(*shape), numbers(*shape[-dims:]), numbers(*shape[-dims:])
    return tuple(a.astype(dtype) for a in arrays[:given]), {"dims": dims, "eps": 1e-5}


def batch_norm(dtype, shape, activation, **params):
    arrays = (a.astype(dtype) for a in (numbers(*shape), *(numbers(shape[1]) for _ in range(2))))
    return tuple(arrays), {"eps": 1e-5, "activation": activation, **params}


def by_running(dtype, shape, activation):
    arrays, params = batch_norm(dtype, shape, activation)
    return (*arrays, arrays[1], arrays[2] ** 2), params


def dropped(dtype, activation):
    params = {"activation": activation, "p": 0.3, "seed": 1, "offset": 0, "memo": []}
    return (numbers(4, 6).astype(dtype),), params


NO_RUNNING = {"mean": None, "var": None, "count": None, "momentum": 0.1}
NO_RUNNING |= {"p": 0.0, "seed": 0, "offset": 0, "memo": []}


def recurrent(gates, kinds, dtype, steps=4, n=3, size=2, **params):
    """Arguments of `rnn` (one gate), `gru` (three, and a bias) or `lstm` (four)."""
    shapes = [(steps, n, gates * size), (kinds, n, size), (gates * size, size)]
    shapes += [(3 * size,)] * (gates == 3)
    return tuple(numbers(*shape, dtype=dtype) for shape in shapes), params


FLOATS = ("float16", "float32", "float64")
# Arguments of the forward kernel; two drawings of each are of the same shapes.
CASES = {
    "linear": [
        *(lambda d=d: linear(d, 7, activation="relu") for d in FLOATS),
        *(
            lambda a=a, lead=lead: linear("float32", *lead, activation=a)
            for a in ("none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh")
            for lead in ((7,), (2, 3), (0,))
        ),
    ],
    "cross_entropy": [
        *(
            lambda d=d, r=r: cross_entropy(d, reduction=r)
            for d in FLOATS
            for r in ("mean", "sum", "none")
        ),
        *(
            lambda i=i, r=r: cross_entropy("float32", reduction=r, ignore_index=i)
            for i in (2, -1)
            for r in ("mean", "none")
        ),
        lambda: cross_entropy("float32", targets=(-7, 2, 1, -7), ignore_index=-7),
    ],
    "bce_with_logits_loss": [
        *(
            lambda d=d, s=s, r=r: bce_with_logits_loss(d, s, r)
            for d in FLOATS
            for s in (1, 200)
            for r in ("mean", "sum")
        ),
    ],
    "layer_norm": [
        *(lambda d=d: layer_norm(d, (4, 6), 1) for d in FLOATS),
        *(lambda s=s: layer_norm("float32", s, 2) for s in ((3, 2, 5), (2, 3, 2, 5), (0, 2, 5))),
        *(lambda n=n: layer_norm("float32", (4, 6), 1, n) for n in (1, 2)),
    ],
    "batch_norm": [
        *(lambda d=d: batch_norm(d, (5, 3), "none", **NO_RUNNING) for d in FLOATS),
        *(
            lambda a=a, s=s: batch_norm("float32", s, a, **NO_RUNNING)
            for a in ("none", "relu", "tanh", "sigmoid", "gelu")
            for s in ((6, 4), (2, 3, 5))
        ),
        *(
            lambda a=a: batch_norm("float32", (6, 4), a, **NO_RUNNING | {"p": 0.3, "memo": []})
            for a in ("none", "relu", "gelu", "gelu_tanh")
        ),
    ],
    "batch_norm_eval": [
        *(lambda d=d: by_running(d, (5, 3), "none") for d in FLOATS),
        *(
            lambda a=a, s=s: by_running("float32", s, a)
            for a in ("relu", "gelu")
            for s in ((6, 4), (2, 3, 5), (0, 4))
        ),
    ],
    "activation_dropout": [
        *(lambda d=d: dropped(d, "relu") for d in FLOATS),
        *(lambda a=a: dropped("float32", a) for a in ("tanh", "sigmoid", "gelu")),
    ],
    "rnn": [
        lambda d=d, f=f: recurrent(1, 1, d, nonlinearity=f)
        for d in FLOATS
        for f in ("tanh", "relu")
    ],
    "gru": [
        *(lambda d=d: recurrent(3, 1, d) for d in FLOATS),
        lambda: recurrent(3, 1, "float32", steps=9, n=40, size=64),
    ],
    "lstm": [
        *(lambda d=d: recurrent(4, 2, d) for d in FLOATS),
        lambda: recurrent(4, 2, "float32", steps=9, n=40, size=64),
    ],
    "negative_sampling": [lambda: skip_gram(1), lambda: skip_gram(100)],
}
EACH = [(name, i) for name, makers in CASES.items() for i in range(len(makers))]


def written(name, arguments, params, out):
    """What the kernel gives without `out` and with it; both must be equal to the last bit."""
    expected = CPU[name](*arguments, **params)
    given = CPU[name](*arguments, **params, out=out)
    assert len(given) == len(expected) == len(out)
    for mine, theirs, place in zip(given, expected, out, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is None:
            continue
        assert isinstance(theirs, np.ndarray)
        assert mine is place or any(mine is a for a in arguments)
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        assert mine.tobytes() == theirs.tobytes()
    return given


def test_the_cases_cover_every_fused_op():
    assert set(CASES) == {name for name, op in REGISTRY.items() if op.family == "fused"}


@pytest.mark.parametrize(("name", "i"), EACH)
def test_forward_writes_into_out(name, i):
    make = CASES[name][i]
    out = CPU[name](*make()[0], **make()[1])
    arguments, params = make()
    written(name, arguments, params, out)


@pytest.mark.parametrize(("name", "i"), EACH)
def test_backward_writes_into_out(name, i):
    make = CASES[name][i]
    outs = {}
    for _ in range(2):  # the second time into what the first one gave
        arguments, params = make()
        result, *kept = CPU[name](*arguments, **params)
        g = RNG.normal(size=np.shape(result)).astype(result.dtype)
        for seed in (g, 2.0, 1.0)[: 3 if g.ndim == 0 else 1]:
            for unneeded in range(-1, len(arguments)):
                needs = tuple(n != unneeded for n in range(len(arguments)))
                given = {"needs": needs} | params
                key = (type(seed), seed == 1 if g.ndim == 0 else None, unneeded)
                copies = [a if a is None else a.copy() for a in kept]
                if key in outs:
                    written(name + "_backward", (seed, *kept), given, outs[key])
                else:
                    outs[key] = CPU[name + "_backward"](seed, *kept, **given)
                for before, after in zip(copies, kept, strict=True):
                    assert before is None or before.tobytes() == after.tobytes()

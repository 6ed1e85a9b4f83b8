"""Users' own ops: kernels for each device, and what stands before the kernels of all ops."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minitorch
from minitorch import backend, library
from minitorch.autograd import detect_anomaly
from minitorch.core import device as devices
from minitorch.core import dispatch
from minitorch.core.dispatch import intercepted
from minitorch.testing import check_derivatives
from tests.referee import array
from tests.test_function import Cube

GPUS = ("cuda", "sim")
SOURCE = """
#include "groups.cuh"
#if MT_FLOATING
// out = x times *factor (or 1 where that is null) times by
KERNEL(scaled)(T* out, const T* x, const T* factor, C by, i64 n) {
    const C f = factor ? C(*factor) * by : by;
    for (i64 i = first(); i < n; i += step()) out[i] = T(C(x[i]) * f);
}
KERNEL(dot)(T* out, const T* x, const T* y, i64 n) {
    Acc sum = 0;
    for (i64 i = 0; i < n; i++) sum += C(x[i]) * C(y[i]);
    out[0] = T(sum);
}
#endif
"""
NULL = np.uint64(0)


def launch_scaled(gpu, x, factor=NULL, by=1.0, out=None):
    out = gpu.empty(x.shape, x.dtype) if out is None else out
    by = np.float64(by) if x.dtype == np.float64 else np.float32(by)
    gpu.launch_contiguous("own", "scaled", out, (gpu.contiguous(x), factor, by))
    return out


@pytest.fixture(autouse=True)
def _source(own_ops):
    library.cuda_source("own", SOURCE)


@pytest.fixture
def scaled():
    """A linear op, x * by."""
    scaled = library.linear("scaled", lambda g, shape, by: scaled(g, by=by))
    library.register_kernel(scaled, "cpu", lambda x, by: x * x.dtype.type(by))
    library.register_kernel("scaled", GPUS, lambda gpu, x, by: launch_scaled(gpu, x, by=by))
    return scaled


@pytest.fixture
def dot():
    """A fused op of two vectors, of which NumPy gives numbers and no arrays."""
    dot = library.fused("dot", lambda x, y: (x * y).sum(), arity=2)

    @library.register_kernel("dot", "cpu")
    def _(x, y):
        return x @ y, x, y

    @library.register_kernel("dot_backward", "cpu")
    def _(g, x, y, needs):
        return g * y if needs[0] else None, g * x if needs[1] else None

    @library.register_kernel("dot", GPUS)
    def _(gpu, x, y):
        out, (x, y) = gpu.empty((), x.dtype), map(gpu.contiguous, (x, y))
        gpu.launch("own", "dot", x.dtype, (1,), (1,), (out, x, y, np.int64(x.size)))
        return out, x, y

    @library.register_kernel("dot_backward", GPUS)
    def _(gpu, g, x, y, needs):
        factor = NULL if isinstance(g, float) else g
        return launch_scaled(gpu, y, factor), launch_scaled(gpu, x, factor)

    return dot


def vectors(dtype=minitorch.float64):
    return [minitorch.randn(4, dtype=dtype, requires_grad=True) for _ in range(2)]


def test_derivatives_follow_from_the_family(scaled):
    check_derivatives(partial(scaled, by=1.5), vectors()[0])
    assert array(scaled(minitorch.ones(3), by=2)).tolist() == [2, 2, 2]


def test_derivatives_of_a_fused_op_follow_from_its_reference(dot):
    check_derivatives(dot, tuple(vectors()))
    x, y = vectors(minitorch.float32)
    dot(x, y).backward()
    assert array(x.grad).tolist() == array(y).tolist()
    assert (3 * dot(x, y)).dtype == minitorch.float32
    (g,) = minitorch.autograd.grad(dot(x, y) * 3, x)
    assert array(g).tolist() == array(3 * y).tolist()


def test_in_a_compiled_step(dot, scaled):
    weight, x = vectors(minitorch.float32)
    optimizer = minitorch.optim.SGD([weight], lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = scaled(dot(weight, x), by=0.5)
        loss.backward()
        optimizer.step()
        return loss

    before, x = array(weight).copy(), x.detach()
    fast = minitorch.compile(step, fullgraph=True, verify=2)
    losses = [float(fast(x)) for _ in range(5)]
    norm = float(x.square().sum())
    start = float((before * array(x)).sum())
    expected = [0.5 * start - i * 0.1 * 0.25 * norm for i in range(5)]
    assert losses == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_what_stands_before_kernels_sees_them(dot, scaled):
    x, y = vectors()
    seen = []

    def wrap(op, array_type, kernel):
        return lambda *args, **params: seen.append(op.name) or kernel(*args, **params)

    with intercepted(wrap):
        scaled(dot(x, y), by=2).backward()
    assert seen[:2] == ["dot", "scaled"]
    assert "dot_backward" in seen
    large = x.detach() * 0 + 1e300
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"scaled made inf at \[0\] out of"):
        scaled(large, by=1e300)


def test_what_stands_before_rules_and_hears_of_nodes(dot, scaled):
    x, y = vectors()
    seen, made = [], []

    def wrap(name, rule):
        return lambda node, given: seen.append((name, node.name)) or rule(node, given)

    with intercepted(rule=wrap, node=lambda node: made.append(node.name)):
        loss = scaled(dot(x, y), by=2)
        assert made == ["dot", "scaled"]
        loss.backward(retain_graph=True)
        loss.backward(create_graph=True)
        Cube.apply(x, 2.0).sum().backward()
    for name in ("vjp", "reference"):
        assert (name, "dot") in seen
    assert ("vjp", "scaled") in seen and ("vjp", "Cube") in seen
    before = len(seen)
    scaled(dot(x, y), by=2).backward()
    assert len(seen) == before


def test_anomaly_mode_checks_the_rules_of_an_op_that_is_made_meanwhile():
    with detect_anomaly():
        bad = library.linear("bad", lambda g, shape: g / 0)
        library.register_kernel(bad, "cpu", lambda x: +x)
        library.register_kernel(bad, GPUS, launch_scaled)
        with pytest.raises(RuntimeError, match=r"the backward of \w*bad\w* made inf"):
            bad(vectors()[0]).sum().backward()


def test_a_write_counts_up_the_version_and_is_not_for_what_is_tracked():
    double_ = library.write("double_")
    library.register_kernel(double_, "cpu", lambda x: np.multiply(x, 2, out=x))
    library.register_kernel(double_, GPUS, lambda gpu, x: launch_scaled(gpu, x, by=2, out=x))
    doubles_ = library.update("doubles_")
    library.register_kernel(doubles_, "cpu", lambda xs: [np.multiply(x, 2, out=x) for x in xs])
    library.register_kernel(
        doubles_, GPUS, lambda gpu, xs: [launch_scaled(gpu, x, by=2, out=x) for x in xs]
    )
    w, x = minitorch.ones(3, requires_grad=True), minitorch.ones(3)
    y = w * x
    double_(x)
    doubles_([[x]], [])
    assert array(x).tolist() == [4, 4, 4]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    for call in (lambda: double_(w), lambda: doubles_([[w]], [])):
        with pytest.raises(RuntimeError, match="call it under no_grad"):
            call()
        with minitorch.no_grad():
            call()


class Other:
    """An array of a device that is made later."""


def test_a_kernel_waits_for_its_device(monkeypatch, scaled):
    def make():
        parts = dict.fromkeys(("from_host", "to_host", "as_array", "address"), id)
        return backend.Backend("later", Other, {}, frozenset(), **parts)

    monkeypatch.setattr(devices, "_makers", dict(devices._makers))
    backend.register_lazily("later", make)
    library.register_kernel("scaled", "later", lambda x, by: (x, by))
    try:
        assert backend.named("later").kernels["scaled"](1, by=2) == (1, 2)
    finally:
        backend.unregister("later")


def test_what_is_wrong_is_said(scaled):
    cases = [
        (lambda: library.constant("scaled"), "op: name: there is an op of the name 'scaled'"),
        (lambda: library.fused("scaled", None, 1), "there is an op of the name 'scaled'"),
        (
            lambda: library.register_kernel("scaled", "cpu", abs),
            "register_kernel: scaled has a kernel for device 'cpu' already",
        ),
        (
            lambda: library.register_kernel("scaled", ("sim", "tpu"), abs),
            "register_kernel: device_types: expected some of cpu, .*, got 'tpu'",
        ),
        (lambda: library.register_kernel("add", "cpu", abs), "got 'add': it is minitorch's own"),
        (lambda: library.register_kernel("adds", "cpu", abs), "got 'adds': there is no such op"),
        (lambda: library.cuda_source("own", SOURCE), "a source of the name 'own' already"),
        (lambda: library.cuda_source("reduce", SOURCE), "a source of the name 'reduce' already"),
    ]
    before = set(dispatch.REGISTRY)
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert set(dispatch.REGISTRY) == before
    with pytest.raises(TypeError, match="func: expected a function, got 3"):
        library.register_kernel("scaled", "cpu", 3)
    with pytest.raises(TypeError, match=r"or a pathlib.Path of a file, got 'own.cu'"):
        library.cuda_source("more", "own.cu")
    with pytest.raises(FileNotFoundError, match=r"cuda_source: .*nowhere\.cu does not exist"):
        library.cuda_source("more", Path("nowhere.cu"))


def test_an_op_without_a_kernel_and_one_that_gives_no_tuple(device):
    x = minitorch.ones(3)
    bare = library.constant("bare")
    with pytest.raises(NotImplementedError, match=f"bare: device '{backend.of(x.array).name}' has"):
        bare(x)
    taken_apart = library.fused("taken_apart", lambda x: x, arity=1)
    library.register_kernel(taken_apart, ("cpu", *GPUS), lambda *args: args[-1])
    with pytest.raises(TypeError, match="taken_apart: the kernel of a fused op gives a tuple"):
        taken_apart(x)


@pytest.fixture
def gpu(device):
    """The Gpu of the device under test, or the simulated one."""
    if backend.why_unavailable("sim") is not None:
        pytest.skip(backend.why_unavailable("sim"))
    return backend.named("sim" if device == "cpu" else device.partition(":")[0]).gpu


def test_sources_are_files_too_and_say_what_does_not_compile(gpu, tmp_path):
    path = tmp_path / "mine.cu"
    (tmp_path / "half.cuh").write_text("#pragma once\n#define HALF C(0.5)\n")
    path.write_text(
        '#include "groups.cuh"\n#include "half.cuh"\n#if MT_FLOATING\n'
        "KERNEL(halved)(T* x, i64 n) { if (first() < n) x[first()] = T(C(x[first()]) * HALF); }\n"
        "#endif\n"
    )
    library.cuda_source("mine", path)
    library.cuda_source("broken", "#include <nothing>\nint x = ;\n")
    x = minitorch.ones(3, device=gpu.name)
    gpu.launch_contiguous("mine", "halved", x.array, ())
    assert array(x).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(RuntimeError, match=r"the CUDA source 'broken' does not compile for float"):
        gpu.launch_contiguous("broken", "f", x.array, ())
    with pytest.raises(ValueError, match="there is no CUDA source 'nowhere'"):
        gpu.launch_contiguous("nowhere", "f", x.array, ())

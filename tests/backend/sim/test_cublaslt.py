"""The look-alike of NVIDIA's bindings: what it refuses; that the real ones take the same calls."""

import gc
import inspect
import sys
import threading
from enum import EnumMeta

import numpy as np
import pytest

import minitorch
from minitorch import backend, fused
from minitorch.backend import sim
from minitorch.backend.cuda import cublaslt
from minitorch.backend.cuda.graph import capture

try:
    sim.check_compiler()
except RuntimeError:
    pytest.skip("g++ is not installed", allow_module_level=True)

ours = sim.cublaslt
GPU = backend.named("sim").gpu
SIM = backend.named("sim").kernels
REASON = "nvmath-python is not installed: pip install -e '.[kernels]'"


# ---------------------------------------------------------------------- the real bindings
@pytest.fixture(scope="module")
def real():
    return pytest.importorskip("nvmath.bindings.cublasLt", reason=REASON)


FUNCTIONS = [name for name in ours.__all__ if inspect.isfunction(getattr(ours, name))]
ENUMERATIONS = [name for name in ours.__all__ if isinstance(getattr(ours, name), EnumMeta)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nvidia_s_function_takes_the_same(name, real):
    mine, theirs = (inspect.signature(getattr(m, name)) for m in (ours, real))
    assert list(mine.parameters) == list(theirs.parameters)


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_nvidia_s_numbers_are_the_same(name, real):
    theirs = getattr(real, name)
    assert {member.name: member.value for member in getattr(ours, name)} == {
        member.name: int(theirs[member.name]) for member in getattr(ours, name)
    }


@pytest.mark.parametrize("kind", ["MatmulDesc", "MatrixLayout", "MatmulPreference"])
def test_nvidia_s_attributes_have_the_same_types(kind, real):
    function = f"get_{''.join('_' * c.isupper() + c.lower() for c in kind)[1:]}_attribute_dtype"
    for attribute in getattr(ours, f"{kind}Attribute"):
        mine, theirs = (getattr(m, function)(attribute) for m in (ours, real))
        assert np.dtype(mine) == np.dtype(theirs), attribute.name


def test_nvidia_s_algorithms_have_the_same_layout(real):
    assert real.matmul_heuristic_result_dtype == ours._RESULT
    mine, theirs = (m.MatmulHeuristicResult(1) for m in (ours, real))
    assert theirs.ptr == theirs.algo.ctypes.data  # what `matmul` is given
    for name in ("ptr", "workspace_size"):
        assert type(getattr(mine, name)) is type(getattr(theirs, name)) is int


def test_nvidia_s_types_have_our_numbers(real):
    from nvmath import CudaDataType
    from nvmath.bindings.cublas import ComputeType

    for dtype, form in cublaslt.FORMATS.items():
        bits = 8 * dtype.itemsize
        kind = "BF" if dtype == "bfloat16" else "F"
        assert CudaDataType(form.data).name == f"CUDA_R_{bits}{kind}"
        assert ComputeType(form.compute).name == f"COMPUTE_{max(32, bits)}F"
        assert cublaslt.FORMATS[form.sums].data == (1 if bits == 64 else 0)
    assert ComputeType(cublaslt._TF32).name == "COMPUTE_32F_FAST_TF32"


def test_the_bindings_are_missing_or_found(monkeypatch):
    """A lack of them is a warning that says what to install."""
    monkeypatch.setitem(sys.modules, "nvmath.bindings", None)
    with pytest.warns(RuntimeWarning, match=r"nvmath.*\.\[cuda12\]"):
        assert cublaslt.bindings() is None


# ---------------------------------------------------------------------- what is refused
X = sim.asarray(np.arange(12, dtype=np.float32).reshape(3, 4))
Y = sim.asarray(np.ones((4, 5), np.float32))
LONG = sim.asarray(np.ones((1, 64), np.float32)), sim.asarray(np.ones((64, 1), np.float32))
WRONG = {
    "a handle of another device": ("light_handle", lambda v: other_device(), "another device"),
    "a handle that does not live": ("light_handle", lambda v: 1 << 40, "is no handle that lives"),
    "a handle as a layout": ("adesc", lambda v: GPU.products.handle(), "is no layout that lives"),
    "factors swapped": ("adesc", None, "do not agree"),
    "another stream": ("stream", lambda v: v + 1, "is not the current one"),
    "memory of nobody": ("a", lambda v: 16, "no memory of"),
    "too little memory": ("d", lambda v: v + 256, "no memory of"),
    "a workspace over a factor": ("workspace", lambda v: LONG[0].data.ptr, "overlaps"),
    "an odd address": ("b", lambda v: v + 4, "is not aligned to"),
    "no workspace": ("workspace", lambda v: 0, "the workspace: no memory of"),
    "a small workspace": ("workspace_size_in_bytes", lambda v: v - 1, "are needed"),
    "beta": ("beta", lambda v: v - 4, "only alpha = 1 and beta = 0"),
}


def other_device():
    with sim.cuda.Device(1):
        return ours.create()


@pytest.mark.parametrize("name", WRONG)
def test_what_the_look_alike_refuses(name, monkeypatch):
    argument, change, message = WRONG[name]
    right = ours.matmul

    def wrong(*args):
        given = dict(zip(inspect.signature(right).parameters, args, strict=True))
        given[argument] = given["bdesc"] if change is None else change(given[argument])
        right(**given)

    monkeypatch.setattr(ours, "matmul", wrong)
    x, y = LONG if "workspace" in argument else (X, Y)
    with pytest.raises(sim.SimError, match=message):
        SIM["matmul"](x, y)


def test_an_algorithm_belongs_to_a_product(monkeypatch):
    right, algorithms = ours.matmul, []

    def with_the_first(*args):
        algorithms.append(args[12])
        right(*args[:12], algorithms[0], *args[13:])

    monkeypatch.setattr(ours, "matmul", with_the_first)
    SIM["matmul"](X, Y)
    with pytest.raises(sim.SimError, match="chosen for another product"):
        SIM["matmul"](X, Y[:, :3])


def test_an_attribute_has_its_size():
    product, value = ours.matmul_desc_create(68, 0), np.array(1, np.int64)
    with pytest.raises(sim.SimError, match="attribute 3 has 4 bytes, not 8"):
        ours.matmul_desc_set_attribute(product, 3, value.ctypes.data, value.nbytes)
    ours.matmul_desc_destroy(product)
    with pytest.raises(sim.SimError, match="is no product that lives"):
        ours.matmul_desc_destroy(product)


# ---------------------------------------------------------------------- our side
def test_what_a_thread_was_given_goes_back():
    gc.collect()
    before = set(ours._alive)
    thread = threading.Thread(target=lambda: SIM["matmul"](X, Y).get())
    thread.start()
    thread.join()
    gc.collect()
    assert set(ours._alive) == before


def test_what_the_library_does_not_take_our_kernel_multiplies(monkeypatch):
    def none(*args):
        raise ours.cuBLASLtError(15)

    monkeypatch.setattr(ours, "matmul_algo_get_heuristic", none)
    monkeypatch.setattr(GPU, "products", cublaslt.Library(GPU, ours))
    minitorch.sim.clear()
    got = SIM["matmul"](X, Y)
    np.testing.assert_array_equal(got.get(), X.get() @ Y.get())
    x, weight, bias = (minitorch.ones(*shape, device="sim") for shape in ((2, 3), (4, 3), (4,)))
    assert fused.linear(x, weight, bias, "relu").tolist() == [[4.0] * 4] * 2
    names = [r.name for r in minitorch.sim.launches() if r.kind in ("kernel", "gemm")]
    assert "matmul_f32" in names and not [name for name in names if name.startswith("gemm")]


def test_an_error_of_the_library_is_not_hidden(monkeypatch):
    def broken(*args):
        raise ours.cuBLASLtError(14)

    monkeypatch.setattr(ours, "matmul_algo_get_heuristic", broken)
    monkeypatch.setattr(GPU, "products", cublaslt.Library(GPU, ours))
    with pytest.raises(ours.cuBLASLtError):
        SIM["matmul"](X, Y)


def test_plans_are_made_once(monkeypatch):
    asked = []
    right = ours.matmul_algo_get_heuristic
    monkeypatch.setattr(
        ours, "matmul_algo_get_heuristic", lambda *args: (asked.append(1), right(*args))
    )
    monkeypatch.setattr(GPU, "products", cublaslt.Library(GPU, ours))
    for _ in range(3):
        SIM["matmul"](X, Y), SIM["matmul"](X, Y[:, ::2])
    assert len(asked) == 2


def test_a_captured_product_reads_its_factors_anew_and_keeps_its_precision():
    x, y = (sim.asarray(np.ones(shape, np.float32)) for shape in ((2, 300), (300, 2)))
    try:
        minitorch.set_float32_matmul_precision("high")
        with capture(GPU, 0) as graph:
            product = SIM["matmul"](x, y)
    finally:
        minitorch.set_float32_matmul_precision("highest")
    for factor in (2, 3):
        x.set(np.full((2, 300), factor, np.float32))
        minitorch.sim.clear()
        graph.replay()
        assert product.get().tolist() == [[300.0 * factor] * 2] * 2
        assert "gemm_float32_tf32 m=2 n=2 k=300 batch=1" in [
            r.name for r in minitorch.sim.launches()
        ]

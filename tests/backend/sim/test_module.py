"""Kernels are compiled, found and launched; arguments that a GPU would misread raise."""

import re

import numpy as np
import pytest

import minitorch.sim
from tests.backend.sim.common import ADD, MODULE, floats, sim

PAIR = np.dtype([("a", np.int32), ("b", np.float64)], align=True)


def test_a_kernel_runs():
    x, y = floats(1, 2, 3), floats(10, 20, 30)
    minitorch.sim.clear()
    MODULE.get_function("add")((1,), (32,), (x, y, np.int64(3)))
    assert [(e.kind, e.name) for e in minitorch.sim.launches()] == [("kernel", "add")]
    np.testing.assert_array_equal(y.get(), [11, 22, 33])


def test_arguments_of_every_kind():
    out = sim.empty(1, np.float64)
    pair = np.array((1, 2.5), PAIR)[()]
    args = (pair, np.int32(3), np.float32(0.25), np.float64(8), np.True_, out)
    MODULE.get_function("kinds")((1,), (1,), args)
    assert out.get() == [1 + 2.5 + 3 + 0.25 + 8 + 1]


def test_dynamic_shared_memory():
    out = sim.empty(32, np.float32)
    kernel = MODULE.get_function("dynamic")
    kernel((1,), (32,), (out,), shared_mem=128)
    np.testing.assert_array_equal(out.get(), np.arange(32)[::-1])
    assert kernel.max_dynamic_shared_size_bytes == 48 << 10
    with pytest.raises(sim.SimError, match="65536 bytes of static and dynamic shared"):
        kernel((1,), (32,), (out,), shared_mem=64 << 10)
    kernel.max_dynamic_shared_size_bytes = 64 << 10
    assert kernel.max_dynamic_shared_size_bytes == 64 << 10
    kernel((1,), (32,), (out,), shared_mem=64 << 10)


def test_a_kernel_that_is_not_there():
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_NOT_FOUND.*subtract"):
        MODULE.get_function("subtract")


def test_a_source_that_does_not_compile():
    source = 'extern "C" __global__ void f(float* x) {\n  x[0] = y;\n}\n'
    with pytest.raises(sim.cuda.compiler.CompileException) as error:
        sim.RawModule(code=source).compile()
    assert re.search(r":2:\d+: error: .*y", str(error.value))
    assert error.value.source == source


def test_a_pointer_may_be_null_or_into_memory():
    y = floats(1, 2)
    kernel = MODULE.get_function("add")
    inside = np.uint64((y.data + 4).ptr)
    kernel((1,), (32,), (inside, y, np.int64(1)))
    np.testing.assert_array_equal(y.get(), [3, 2])
    kernel((1,), (32,), (np.uint64(0), y, np.int64(0)))
    pinned = sim.cuda.alloc_pinned_memory(4)
    kernel((1,), (32,), (np.uint64(pinned.ptr), y, np.int64(1)))
    np.testing.assert_array_equal(y.get(), [3, 2])


def freed_pointer():
    return np.uint64(floats(1, 2).data.ptr)


def other_device():
    with sim.cuda.Device(1):
        return floats(1, 2)


WRONG = {
    "a host array": (
        0, lambda: np.ones(2, np.float32), "const float32*", "NumPy array (float32[2])",
    ),
    "another dtype": (0, lambda: sim.empty(2, np.float64), "const float32*", "float64[2]"),
    "integers": (0, lambda: sim.empty(2, np.int32), "const float32*", "int32[2]"),
    "a half": (0, lambda: sim.empty(2, np.float16), "const float32*", "float16[2]"),
    "a strided array": (1, lambda: sim.empty((2, 3), np.float32).T, "float32*", "strides (4, 12)"),
    "every other": (1, lambda: sim.empty(4, np.float32)[::2], "float32*", "strides (8,)"),
    "an array of another device": (
        1, other_device, "float32*", "of device 1 in a launch on device 0",
    ),
    "a pointer into another device": (
        1, lambda: np.uint64(OTHER.data.ptr), "float32*", "of device 1 in a launch on device 0",
    ),
    "freed memory": (0, freed_pointer, "const float32*", "where no memory is"),
    "any address": (0, lambda: np.uint64(64), "const float32*", "0x40, where no memory is"),
    "a signed pointer": (0, lambda: np.int64(0), "const float32*", "0 of type int64"),
    "a list": (0, lambda: [1.0, 2.0], "const float32*", "of type list"),
    "Python's int": (2, lambda: 2, "int64", "2 of type int"),
    "Python's float": (2, lambda: 2.0, "int64", "2.0 of type float"),
    "int32 for int64": (2, lambda: np.int32(2), "int64", "2 of type int32"),
    "uint64 for int64": (2, lambda: np.uint64(2), "int64", "2 of type uint64"),
    "float64 for int64": (2, lambda: np.float64(2), "int64", "2.0 of type float64"),
    "an array for a number": (2, lambda: floats(2), "int64", "an array (float32[1])"),
}  # fmt: skip
with sim.cuda.Device(1):
    OTHER = floats(1, 2)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named(name):
    number, make, expected, given = WRONG[name]
    args = [floats(1, 2), floats(1, 2), np.int64(2)]
    args[number] = make()
    with pytest.raises(sim.SimError) as error:
        MODULE.get_function("add")((1,), (32,), tuple(args))
    assert f"add, argument {number}: expected {expected}, given " in str(error.value)
    assert given in str(error.value)


def test_structs_of_the_wrong_layout():
    kernel = MODULE.get_function("kinds")
    rest = (np.int32(3), np.float32(1), np.float64(8), np.True_, sim.empty(1, np.float64))
    packed = np.dtype([("a", np.int32), ("b", np.float64)])
    with pytest.raises(
        sim.SimError, match="argument 0: expected struct of 16 bytes, given a struct of 12"
    ):
        kernel((1,), (1,), (np.array((1, 2.5), packed)[()], *rest))
    flat = np.dtype([("a", np.int32), ("x", np.int32), ("b", np.float64)])
    with pytest.raises(sim.SimError, match="aligned to 1 bytes, not 8: make its dtype with align"):
        kernel((1,), (1,), (np.array((1, 0, 2.5), flat)[()], *rest))


@pytest.mark.parametrize("count", [2, 4])
def test_the_number_of_arguments(count):
    args = (floats(1), floats(1), np.int64(1), np.int64(1))[:count]
    with pytest.raises(sim.SimError, match=f"add: {count} arguments given, 3 declared"):
        MODULE.get_function("add")((1,), (32,), args)


def test_a_raw_kernel_by_itself():
    kernel = sim.RawKernel(ADD, "add")
    x, y = floats(1), floats(2)
    kernel((1,), (32,), (x, y, np.int64(1)))
    assert y.get() == [3]


def test_the_checked_build_is_used_where_it_is_asked_for():
    x, y = floats(*range(8)), floats(*range(8))
    kernel = MODULE.get_function("add")
    with (
        minitorch.sim.config(checked=True),
        pytest.raises(sim.SimError, match=r"add: .*kernel.cu:4"),
    ):
        kernel((1,), (32,), (x, y, np.int64(9)))

"""What the look-alike offers exists in CuPy, with a signature that takes the same calls."""

import importlib
import inspect
import re

import numpy as np
import pytest

pytest.importorskip("minitorch.backend.sim")
cupy = pytest.importorskip("cupy", reason="CuPy is not installed")

from minitorch.backend import sim  # noqa: E402
from minitorch.backend.cuda import fused, index, optim, reduce, shape, strides  # noqa: E402

# Names of the simulator's own, and where CuPy has them elsewhere.
OWN = {"sim.SimError", "sim.check_compiler", "sim.cublaslt"}
CLASSES = [
    "ndarray",
    "RawModule",
    "RawKernel",
    "cuda.Device",
    "cuda.Event",
    "cuda.Graph",
    "cuda.Memory",
    "cuda.MemoryHook",
    "cuda.MemoryPointer",
    "cuda.MemoryPool",
    "cuda.PinnedMemoryPointer",
    "cuda.Stream",
    "cuda.memory.OutOfMemoryError",
    "cuda.memory.PooledMemory",
    "cuda.compiler.CompileException",
    "cuda.runtime.CUDARuntimeError",
]
MODULES = ["", "cuda", "cuda.runtime", "cuda.compiler", "cuda.memory", "cuda.pinned_memory"]


def at(root, path):
    for name in path.split(".") if path else ():
        root = getattr(root, name)
    return root


def public(thing):
    """Its public names, and the special methods that it defines itself."""
    special = {"__array__", "__array_ufunc__", "__getitem__", "__len__", "__eq__", "__bool__"}
    special |= {"__float__", "__int__", "__call__", "__enter__", "__exit__", "__add__"}
    return sorted(n for n in vars(thing) if not n.startswith("_") or n in special)


def members():
    for path in CLASSES:
        for name in public(at(sim, path)):
            yield f"{path}.{name}"
    for path in MODULES:
        module = at(sim, path)
        for name in getattr(module, "__all__", None) or defined(module):
            yield f"{path}.{name}".lstrip(".")


def defined(module):
    """The public functions and classes that a module defines itself, and not for the others."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
            yield name


# Helpers for the rest of the simulator, in modules that have no __all__.
HELPERS = {"cuda.memory.memory_at", "cuda.memory.add_host_memory", "cuda.memory.block_of"}
HELPERS |= {"cuda.memory.remove_host_memory", "cuda.memory.record_copy"}
# CuPy has these in the package that exports them.
HELPERS |= {"cuda.memory.get_default_memory_pool", "cuda.memory.using_allocator"}


@pytest.mark.parametrize("path", sorted(set(members()) - HELPERS))
def test_cupy_has_it_too(path):
    if f"sim.{path}" in OWN:
        return
    real = at(cupy, path)
    ours = at(sim, path)
    if callable(ours):
        assert callable(real) or isinstance(real, property)


def documented(function):
    """The names of a function's parameters: from its signature, or its docstring's first lines."""
    try:
        signature = inspect.signature(function)
        kinds = {p.kind for p in signature.parameters.values()}
        names = [p for p in signature.parameters if p != "self"]
        if not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            return names
    except (TypeError, ValueError):
        pass
    found = []
    for line in (inspect.getdoc(function) or "").splitlines()[:4]:
        match = re.match(r"[\w.]+\((.*)\)", line)
        if match:
            words = [w.split("=")[0].split() for w in match[1].split(",")]
            names = [w[-1].lstrip("\\*") for w in words if w]
            found.append([n for n in names if n not in ("self", "", "/")])
    return max(reversed(found), key=len, default=None)


def ours_of(function):
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self",) and not p.name.startswith("_") and p.kind != p.VAR_POSITIONAL
    ]


FUNCTIONS = [path for path in sorted(set(members()) - HELPERS) if f"sim.{path}" not in OWN]
FUNCTIONS = [
    p
    for p in FUNCTIONS
    if inspect.isfunction(at(sim, p)) and (not p.endswith("__") or p.endswith("__call__"))
]
# What no user makes: what these are made with is the simulator's own business.
MADE_BY_OTHERS = {"cuda.Graph", "cuda.memory.PooledMemory", "cuda.runtime.CUDARuntimeError"}
# Parameters that only the simulator has: what errors call the memory, what it counts.
MORE = {"label", "counts"}


@pytest.mark.parametrize("path", sorted({*FUNCTIONS, *CLASSES} - MADE_BY_OTHERS))
def test_it_takes_what_cupy_s_takes(path):
    ours, real = at(sim, path), at(cupy, path)
    names = documented(real)
    if names is None:
        pytest.skip("CuPy does not say what it takes")
    if inspect.isclass(ours) and ours.__init__ is object.__init__:
        return
    mine = [name for name in ours_of(ours) if name not in MORE]
    positional = [name for name in names if name in mine]
    assert mine == positional, f"{path}{tuple(mine)}; CuPy: {path}{tuple(names)}"


# There are versions of CuPy that take structs of less than 64 bytes only.
STRUCTS = {
    "iteration": strides.iteration_type(4),
    "index": index._LOOKUP,
    "product": fused.PRODUCT,
    "cross entropy": fused.JOB,
    "optimizer": optim.TABLE,
    "reduction": reduce._REDUCTION,
    "shape": shape._PLAN,
}


@pytest.mark.parametrize("name", STRUCTS)
def test_cupy_takes_our_structs_by_value(name):
    """What becomes of a kernel's argument needs no GPU."""
    scalar = importlib.import_module("cupy._core._scalar").CScalar
    struct = np.zeros((), STRUCTS[name])[()]
    assert scalar(struct).value is struct


@pytest.mark.parametrize("index", [(), (slice(None, None, 2),), (..., 0), (0, slice(1, 3))])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_whether_elements_lie_in_order_is_told_as_cupy_tells_it(order, index):
    """By attributes that CuPy does not document, and its flags, which take long to ask."""
    memory = cupy.cuda.UnownedMemory(1 << 20, 1 << 20, None, 0)  # nobody reads there
    real = cupy.ndarray((3, 4, 5), cupy.float32, cupy.cuda.MemoryPointer(memory, 0))
    ours = sim.ndarray((3, 4, 5), np.float32)
    real, ours = (x.transpose(order)[index] for x in (real, ours))
    for name in ("c_contiguous", "f_contiguous"):
        told = getattr(real.flags, name)
        assert getattr(real, "_" + name) == told
        assert getattr(ours, "_" + name) == getattr(ours.flags, name) == told

"""`nvmath.bindings.cublasLt`: NVIDIA's bindings of cublasLt, as far as `backend.cuda` calls them.

Descriptors, addresses and sizes are checked; NumPy multiplies. Matrices lie by columns; the log
says m, n and k as somebody says them whose matrices lie by rows.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np

from minitorch.backend.cpu.elementwise import gelu_tanh
from minitorch.backend.sim import driver
from minitorch.backend.sim.cuda import memory
from minitorch.backend.sim.cuda.stream import current_queue, get_current_stream
from minitorch.backend.sim.driver import Record, SimError
from minitorch.backend.sim.machine import current_device
from minitorch.core.dtypes import ARRAY_DTYPES

__all__ = [
    "Epilogue",
    "MatmulDescAttribute",
    "MatmulHeuristicResult",
    "MatmulPreferenceAttribute",
    "MatrixLayoutAttribute",
    "create",
    "cuBLASLtError",
    "destroy",
    "get_matmul_desc_attribute_dtype",
    "get_matmul_preference_attribute_dtype",
    "get_matrix_layout_attribute_dtype",
    "matmul",
    "matmul_algo_get_heuristic",
    "matmul_desc_create",
    "matmul_desc_destroy",
    "matmul_desc_set_attribute",
    "matmul_preference_create",
    "matmul_preference_destroy",
    "matmul_preference_set_attribute",
    "matrix_layout_create",
    "matrix_layout_destroy",
    "matrix_layout_set_attribute",
]

_NOT_SUPPORTED = 15


class cuBLASLtError(Exception):
    """The library's status where it is no success."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cublasStatus_t {status}")


# ---------------------------------------------------------------------- enumerations
class Epilogue(IntEnum):
    """What follows a product."""

    DEFAULT = 1
    BIAS = 4
    RELU_BIAS = 6
    GELU_AUX_BIAS = 164
    BGRADB = 512


class MatmulDescAttribute(IntEnum):
    """Attributes of a product."""

    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8
    EPILOGUE_AUX_POINTER = 11
    EPILOGUE_AUX_LD = 12


class MatrixLayoutAttribute(IntEnum):
    """Attributes of a layout."""

    BATCH_COUNT = 5
    STRIDED_BATCH_OFFSET = 6


class MatmulPreferenceAttribute(IntEnum):
    """Attributes of the limits for an algorithm."""

    MAX_WORKSPACE_BYTES = 1
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6
    MIN_ALIGNMENT_C_BYTES = 7
    MIN_ALIGNMENT_D_BYTES = 8


_DESC = {
    MatmulDescAttribute.TRANSA: np.int32,
    MatmulDescAttribute.TRANSB: np.int32,
    MatmulDescAttribute.EPILOGUE: np.uint32,
    MatmulDescAttribute.BIAS_POINTER: np.int64,
    MatmulDescAttribute.EPILOGUE_AUX_POINTER: np.int64,
    MatmulDescAttribute.EPILOGUE_AUX_LD: np.int64,
}
_LAYOUT = {
    MatrixLayoutAttribute.BATCH_COUNT: np.int32,
    MatrixLayoutAttribute.STRIDED_BATCH_OFFSET: np.int64,
}


def get_matmul_desc_attribute_dtype(attr: int) -> Any:
    """The dtype of a product's attribute."""
    return _DESC[MatmulDescAttribute(attr)]


def get_matrix_layout_attribute_dtype(attr: int) -> Any:
    """The dtype of a layout's attribute."""
    return _LAYOUT[MatrixLayoutAttribute(attr)]


def get_matmul_preference_attribute_dtype(attr: int) -> Any:
    """The dtype of a limit."""
    return np.uint64 if attr == MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES else np.uint32


# ---------------------------------------------------------------------- what is created
_numbers = itertools.count(1)
_alive: dict[int, Any] = {}  # handles and descriptors, by the numbers that stand for pointers


def _made(thing: Any) -> int:
    number = next(_numbers)
    _alive[number] = thing
    return number


def _found(number: int, kind: type) -> Any:
    thing = _alive.get(number)
    if type(thing) is not kind:
        raise SimError(f"cublasLt: {number:#x} is no {kind.__name__.strip('_').lower()} that lives")
    return thing


def _destroy(number: int, kind: type) -> None:
    _found(number, kind)
    del _alive[number]


def _set(number: int, kind: type, dtype: Any, attr: int, buf: int, size: int) -> None:
    if size != np.dtype(dtype).itemsize:
        raise SimError(
            f"cublasLt: attribute {attr} has {np.dtype(dtype).itemsize} bytes, not {size}"
        )
    value = np.frombuffer(ctypes.string_at(buf, size), dtype)[0]
    _found(number, kind).attributes[attr] = int(value)


@dataclass
class _Handle:
    device: int


@dataclass
class _Product:
    compute: int
    scale: int
    attributes: dict[int, int] = field(default_factory=dict)

    def get(self, attr: int) -> int:
        return self.attributes.get(attr, attr == MatmulDescAttribute.EPILOGUE)


@dataclass
class _Layout:
    type: int
    rows: int
    columns: int
    step: int
    attributes: dict[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.attributes.get(MatrixLayoutAttribute.BATCH_COUNT, 1)

    @property
    def stride(self) -> int:
        return self.attributes.get(MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, 0)

    def extent(self) -> int:
        """Elements from the first to behind the last."""
        return (self.count - 1) * self.stride + (self.columns - 1) * self.step + self.rows


@dataclass
class _Limits:
    attributes: dict[int, int] = field(default_factory=dict)


def create() -> int:
    """A handle of the current device."""
    return _made(_Handle(current_device()))


def destroy(light_handle: int) -> None:
    """Give a handle back."""
    _destroy(light_handle, _Handle)


def matmul_desc_create(compute_type: int, scale_type: int) -> int:
    """A product that is computed in a cublasComputeType_t, with factors of a cudaDataType."""
    return _made(_Product(compute_type, scale_type))


def matmul_desc_set_attribute(matmul_desc: int, attr: int, buf: int, size_in_bytes: int) -> None:
    """Read a product's attribute from the host's memory."""
    _set(matmul_desc, _Product, get_matmul_desc_attribute_dtype(attr), attr, buf, size_in_bytes)


def matmul_desc_destroy(matmul_desc: int) -> None:
    """Give a product back."""
    _destroy(matmul_desc, _Product)


def matrix_layout_create(type: int, rows: int, cols: int, ld: int) -> int:
    """A matrix of a cudaDataType by columns, which lie ld elements apart."""
    return _made(_Layout(type, rows, cols, ld))


def matrix_layout_set_attribute(mat_layout: int, attr: int, buf: int, size_in_bytes: int) -> None:
    """Read a layout's attribute from the host's memory."""
    _set(mat_layout, _Layout, get_matrix_layout_attribute_dtype(attr), attr, buf, size_in_bytes)


def matrix_layout_destroy(mat_layout: int) -> None:
    """Give a layout back."""
    _destroy(mat_layout, _Layout)


def matmul_preference_create() -> int:
    """Limits for an algorithm."""
    return _made(_Limits())


def matmul_preference_set_attribute(pref: int, attr: int, buf: int, size_in_bytes: int) -> None:
    """Read a limit from the host's memory."""
    _set(pref, _Limits, get_matmul_preference_attribute_dtype(attr), attr, buf, size_in_bytes)


def matmul_preference_destroy(pref: int) -> None:
    """Give limits back."""
    _destroy(pref, _Limits)


# ---------------------------------------------------------------------- problems
_AUX_POINTER = MatmulDescAttribute.EPILOGUE_AUX_POINTER
# By cudaDataType: the dtype, the compute types, and the cudaDataType of alpha and beta.
_TF32 = 77
_TYPES: dict[int, tuple[np.dtype[Any], dict[int, int]]] = {
    0: (np.dtype(np.float32), {68: 0, _TF32: 0}),
    1: (np.dtype(np.float64), {70: 1}),
    2: (np.dtype(np.float16), {68: 0}),
    14: (ARRAY_DTYPES["bfloat16"], {68: 0}),
}


class _Problem:
    """A product and its layouts, which have to agree."""

    def __init__(self, desc: int, *layouts: int) -> None:
        self.product: _Product = _found(desc, _Product)
        self.a, self.b, self.c, self.d = (_found(number, _Layout) for number in layouts)
        get = self.product.get
        self.transposed = get(MatmulDescAttribute.TRANSA), get(MatmulDescAttribute.TRANSB)
        self.epilogue = Epilogue(get(MatmulDescAttribute.EPILOGUE))
        self.bias = get(MatmulDescAttribute.BIAS_POINTER)
        self.aux, step = get(_AUX_POINTER), get(MatmulDescAttribute.EPILOGUE_AUX_LD)
        self.of_aux = _Layout(self.d.type, self.d.rows, self.d.columns, step)
        self.rows, self.inner = self._sides(self.a, self.transposed[0])
        inner, self.columns = self._sides(self.b, self.transposed[1])
        self.dtype, computes = _TYPES[self.d.type]
        given = self.a, self.b, self.d
        agree = (
            inner == self.inner
            and (self.rows, self.columns) == (self.d.rows, self.d.columns)
            and self.c == self.d
            and {x.type for x in given} == {self.d.type}
            and {x.count for x in given} == {self.d.count}
            and all(x.step >= x.rows > 0 and x.columns > 0 for x in given)
            and computes.get(self.product.compute) == self.product.scale
            and (self.epilogue is Epilogue.DEFAULT or self.bias)
            and (not self.keeps or (self.aux and step >= self.rows and step % 8 == 0))
        )
        if not agree:
            raise SimError(f"cublasLt: {self.product} and the layouts {given} do not agree")

    @staticmethod
    def _sides(x: _Layout, transposed: int) -> tuple[int, int]:
        return (x.columns, x.rows) if transposed else (x.rows, x.columns)

    @property
    def keeps(self) -> bool:
        """Whether what the activation is taken of is written too."""
        return self.epilogue is Epilogue.GELU_AUX_BIAS

    @property
    def biases(self) -> int:
        """The length of the bias, or of its gradient; 0 where there is none."""
        lengths = {Epilogue.DEFAULT: 0, Epilogue.BGRADB: self.columns}
        return int(lengths.get(self.epilogue, self.rows))

    def written(self, blocks: list[_Block]) -> list[_Block]:
        """Those of a, b, d, bias, aux and workspace that are written."""
        _, _, d, bias, aux, scratch = blocks
        return [d, aux, scratch] + [bias] * (self.epilogue is Epilogue.BGRADB)

    def supported(self) -> bool:
        """Whether there is an algorithm: what else is written has no room for a stack."""
        return not (self.keeps or self.epilogue is Epilogue.BGRADB) or self.d.count == 1

    def workspace(self) -> int:
        """Bytes for parts of a long inner dimension that are added up later."""
        long = self.inner >= 4 * max(self.rows, self.columns)
        return int(16 * self.rows * self.columns * self.d.count) if long else 0

    def mark(self) -> int:
        """A number for all that an algorithm is chosen by, addresses aside."""
        layouts = [
            (x.type, x.rows, x.columns, x.step, x.count, x.stride) for x in (self.a, self.b, self.d)
        ]
        every = self.product.compute, self.transposed, int(self.epilogue), *layouts
        return hash(every) % (1 << 63)


_ALGO = np.dtype([("data_", "<u8", (8,))])
_RESULT = np.dtype(
    [
        ("algo", _ALGO),
        ("workspace_size", "<u8"),
        ("state", "<i4"),
        ("waves_count", "<f4"),
        ("reserved", "<i4", (4,)),
    ]
)


class MatmulHeuristicResult:
    """Room for an algorithm and what it needs, at the address `ptr`."""

    def __init__(self, size: int = 1) -> None:
        self._data = np.full(_RESULT.itemsize, 0xFF, np.uint8).view(_RESULT)
        self.ptr = self._data.ctypes.data
        if size != 1:
            raise SimError("cublasLt: only one algorithm at a time is simulated")

    @property
    def workspace_size(self) -> int:
        """Bytes of workspace."""
        return int(self._data["workspace_size"][0])


def matmul_algo_get_heuristic(
    light_handle: int,
    operation_desc: int,
    adesc: int,
    bdesc: int,
    cdesc: int,
    ddesc: int,
    preference: int,
    requested_algo_count: int,
    heuristic_results_array: int,
    return_algo_count: int,
) -> None:
    """Write the best algorithm and the number 1; cuBLASLtError where there is none."""
    _found(light_handle, _Handle)
    problem = _Problem(operation_desc, adesc, bdesc, cdesc, ddesc)
    limits = _found(preference, _Limits).attributes
    if requested_algo_count != 1:
        raise SimError("cublasLt: only one algorithm at a time is simulated")
    if not problem.supported():
        raise cuBLASLtError(_NOT_SUPPORTED)
    needed = problem.workspace()
    if needed > limits.get(MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES, 0):
        needed = 0
    aligned = [
        limits.get(getattr(MatmulPreferenceAttribute, f"MIN_ALIGNMENT_{x}_BYTES"), 256)
        for x in "ABCD"
    ]
    result = np.zeros(1, _RESULT)
    result["algo"]["data_"][0, :6] = [problem.mark(), needed, *aligned]
    result["workspace_size"] = needed
    ctypes.memmove(heuristic_results_array, result.tobytes(), _RESULT.itemsize)
    ctypes.c_int.from_address(return_algo_count).value = 1


# ---------------------------------------------------------------------- products
class _Block:
    """Bytes of the device that a product reads or writes."""

    def __init__(self, name: str, address: int, nbytes: int) -> None:
        self.address, self.nbytes = address, nbytes
        self._memory = memory.memory_at(address)
        if nbytes:
            self._check(name)

    def _check(self, name: str) -> None:
        found, end = self._memory, self.address + self.nbytes
        if found is None or end > found.ptr + found.size:
            raise SimError(
                f"cublasLt: {name}: no memory of {self.nbytes} bytes is at {self.address:#x}"
            )
        if found.device_id != current_device():
            raise SimError(f"cublasLt: {name} is on device {found.device_id}")

    def array(self, dtype: Any, shape: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
        """NumPy's view of it; steps in elements."""
        strides = tuple(step * np.dtype(dtype).itemsize for step in steps)
        offset = self.address - self._memory.ptr
        return np.ndarray(shape, dtype, self._memory._buffer(), offset, strides)

    def matrices(self, dtype: Any, x: _Layout, transposed: int = 0) -> np.ndarray:
        """The view of a stack of matrices."""
        shape, steps = (x.rows, x.columns), (1, x.step)
        if transposed:
            shape, steps = shape[::-1], steps[::-1]
        return self.array(dtype, (x.count, *shape), (x.stride, *steps))

    def overlaps(self, other: _Block) -> bool:
        """Whether both have a byte in common."""
        ends = self.address + self.nbytes, other.address + other.nbytes
        return max(self.address, other.address) < min(ends)


def matmul(
    light_handle: int,
    compute_desc: int,
    alpha: int,
    a: int,
    adesc: int,
    b: int,
    bdesc: int,
    beta: int,
    c: int,
    cdesc: int,
    d: int,
    ddesc: int,
    algo: int,
    workspace: int,
    workspace_size_in_bytes: int,
    stream: int,
) -> None:
    """d = alpha * a @ b + beta * c and an epilogue, in the current stream; alpha is 1, beta 0."""
    problem = _Problem(compute_desc, adesc, bdesc, cdesc, ddesc)
    device = current_device()
    if _found(light_handle, _Handle).device != device:
        raise SimError("cublasLt: the handle is one of another device")
    if stream != get_current_stream().ptr:
        raise SimError(f"cublasLt: the stream {stream:#x} is not the current one")
    if (_scale(problem, alpha), _scale(problem, beta)) != (1, 0):
        raise SimError("cublasLt: only alpha = 1 and beta = 0 are simulated")
    _check_algorithm(problem, algo, workspace_size_in_bytes, (a, b, c, d))
    size = problem.dtype.itemsize
    given = (("a", a, problem.a), ("b", b, problem.b), ("d", d, problem.d))
    blocks = [_Block(name, address, size * x.extent()) for name, address, x in given]
    blocks.append(_Block("the bias", problem.bias, size * problem.biases))
    kept = size * problem.of_aux.extent() if problem.keeps else 0
    blocks.append(_Block("the auxiliary output", problem.aux, kept))
    blocks.append(_Block("the workspace", workspace, workspace_size_in_bytes))
    if any(x is not y and x.overlaps(y) for x in problem.written(blocks) for y in blocks):
        raise SimError("cublasLt: memory that is written overlaps with other memory")
    current_queue(device).submit(partial(_multiply, problem, blocks, device))


def _scale(problem: _Problem, address: int) -> float:
    """The number at an address of the host, in the type of alpha and beta."""
    kind = _TYPES[problem.product.scale][0]
    return float(np.frombuffer(ctypes.string_at(address, kind.itemsize), kind)[0])


def _check_algorithm(
    problem: _Problem, algo: int, workspace: int, addresses: tuple[int, ...]
) -> None:
    """SimError where an algorithm was chosen for something else."""
    chosen = np.frombuffer(ctypes.string_at(algo, _ALGO.itemsize), np.uint64).tolist()
    mark, needed, *aligned = chosen[:6]
    if mark != problem.mark():
        raise SimError("cublasLt: the algorithm was chosen for another product")
    if workspace < needed:
        raise SimError(f"cublasLt: a workspace of {workspace} bytes, where {needed} are needed")
    for name, address, limit in zip("abcd", addresses, aligned, strict=True):
        if address % limit:
            raise SimError(f"cublasLt: {name} is not aligned to {limit} bytes, as was promised")


def _multiply(problem: _Problem, blocks: list[_Block], device: int) -> None:
    """Halves are multiplied exactly and added up in float32, as on tensor cores.

    The workspace is left full of 0xFF. Factors that may be rounded to TF32 are not.
    """
    a, b, d, bias, aux, scratch = blocks
    dtype, wide = problem.dtype, _TYPES[problem.product.scale][0]
    left = a.matrices(dtype, problem.a, problem.transposed[0]).astype(wide, copy=False)
    right = b.matrices(dtype, problem.b, problem.transposed[1]).astype(wide, copy=False)
    ends = bias.array(dtype, (problem.biases,), (1,)) if problem.biases else None
    with np.errstate(all="ignore"):
        product = np.matmul(left, right)
        if problem.epilogue is Epilogue.BGRADB:
            assert ends is not None
            ends[:] = right[0].sum(0)
        elif ends is not None:
            product += ends[:, None]
        if problem.epilogue is Epilogue.RELU_BIAS:
            np.maximum(product, 0, out=product)
        if problem.keeps:
            aux.matrices(dtype, problem.of_aux)[...] = product
            product = gelu_tanh(product)
        d.matrices(dtype, problem.d)[...] = product
    if scratch.nbytes:
        scratch.array(np.uint8, (scratch.nbytes,), (1,))[:] = 0xFF
    for block in problem.written(blocks):
        if block.nbytes:
            driver.mark_written(block.address, block.nbytes)
    _record(problem, device)


def _record(problem: _Problem, device: int) -> None:
    """Log the product: each operand counts as moved once."""
    x, y, d = problem.b, problem.a, problem.d
    mode = "_tf32" if problem.product.compute == _TF32 else ""
    if problem.epilogue is not Epilogue.DEFAULT:
        mode += f"_{problem.epilogue.name.lower()}"
    sizes = f"m={problem.columns} n={problem.rows} k={problem.inner} batch={d.count}"
    elements = [z.rows * z.columns * (z.count if z.stride or z is d else 1) for z in (x, y, d)]
    size, ends = problem.dtype.itemsize, problem.biases
    summed = problem.epilogue is Epilogue.BGRADB
    read = size * (sum(elements[:2]) + (0 if summed else ends))
    written = size * (elements[2] * (1 + problem.keeps) + (ends if summed else 0))
    name = f"gemm_{problem.dtype}{mode} {sizes}"
    driver.record(Record("gemm", name, device, read=read, written=written))

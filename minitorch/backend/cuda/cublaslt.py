"""Matrix products by NVIDIA's cublasLt, called through the bindings of nvmath-python.

Each call names its stream and its workspace, so that a captured stream takes it as well. The
library reads matrices by columns, where a matrix by rows is its transpose: out = x @ y is computed
as out.T = y.T @ x.T, and y.T and x.T are the arrays as they are.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minitorch.backend.cuda import installed
from minitorch.backend.cuda.strides import batch_steps, merge
from minitorch.backend.precision import get_float32_matmul_precision
from minitorch.core.dtypes import ARRAY_DTYPES, FLOAT32, FLOAT64

if TYPE_CHECKING:
    from minitorch.backend.cuda.gpu import Gpu

Array = Any
WORKSPACE = 32 << 20  # bytes that an algorithm may ask for: NVIDIA's advice for an H100
_ALIGNED = 256  # bytes; no algorithm asks for more
_KEPT = 4096  # products that a thread remembers
_NOT_SUPPORTED = 15  # of cublasStatus_t
_DECLINED = (7, _NOT_SUPPORTED)  # 7: "an impossible configuration"
_TF32 = 77  # of cublasComputeType_t: CUBLAS_COMPUTE_32F_FAST_TF32


class Format(NamedTuple):
    """A dtype in the library: its cudaDataType, and the cublasComputeType_t and dtype of sums."""

    data: int
    compute: int
    sums: np.dtype[Any]


FORMATS = {
    ARRAY_DTYPES["float16"]: Format(2, 68, FLOAT32),
    ARRAY_DTYPES["bfloat16"]: Format(14, 68, FLOAT32),
    FLOAT32: Format(0, 68, FLOAT32),
    FLOAT64: Format(1, 70, FLOAT64),
}


def bindings() -> Any:
    """`nvmath.bindings.cublasLt`; None, with a warning, where it or the library is missing."""
    try:
        from nvmath.bindings import cublasLt

        cublasLt.get_version()
    except (ImportError, OSError, RuntimeError) as error:
        warnings.warn(
            "matrix products run in minitorch's own kernels, which are slower than cublasLt: "
            f"{error}; {installed.hint()}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return cublasLt


# ---------------------------------------------------------------------- layouts
class _Layout(NamedTuple):
    """A stack's matrices as the library reads them, by columns; lengths and steps in elements.

    step: between columns; stride: between matrices. transposed: they are those of x, which lies in
    memory by columns, and not of x.T.
    """

    rows: int
    columns: int
    step: int
    transposed: bool
    stride: int = 0


def _layout(x: Array) -> _Layout | None:
    """The layout of x's last two dimensions; None where the library has none for them."""
    (rows, columns), size = x.shape[-2:], x.itemsize
    down, across = (stride // size for stride in x.strides[-2:])
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return _Layout(columns, rows, columns if rows == 1 else down, False)
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return _Layout(rows, columns, rows if columns == 1 else across, True)
    return None


def _readable(x: Array) -> bool:
    """Whether the library can read a stack of matrices where it lies."""
    if x._c_contiguous:
        return True
    batch = x.shape[:-2]
    return _layout(x) is not None and len(merge(batch, batch_steps(x, batch))[0]) < 2


def _stacks(*arrays: Array) -> tuple[Any, ...] | None:
    """The number of products, and the layouts of the arrays; the last array is the result.

    None where the library has no layout for one, or matrices do not lie at equal distances.
    """
    layouts = [found for found in map(_layout, arrays) if found is not None]
    batch = arrays[-1].shape[:-2]
    shape, steps = merge(batch, *[batch_steps(x, batch) for x in arrays])
    if len(shape) > 1 or len(layouts) < len(arrays):
        return None
    if not shape:
        return 1, layouts
    return shape[0], [x._replace(stride=step) for x, (step,) in zip(layouts, steps, strict=True)]


def _alignment(address: int) -> int:
    """The largest power of two up to 256 that divides an address."""
    return (address | _ALIGNED) & -(address | _ALIGNED)


# ---------------------------------------------------------------------- descriptors
class _Owned:
    """A handle or descriptor by the library's number, which is given back when this dies."""

    def __init__(self, number: int, destroy: Callable[[int], None]) -> None:
        self.number = number
        self._destroy = destroy

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not finalizing():
            self._destroy(self.number)


class _Descriptor(_Owned):
    """A descriptor of the library. kind: in its functions' names; attributes: its enumeration."""

    def __init__(self, lt: Any, kind: str, attributes: Any, *given: int) -> None:
        super().__init__(getattr(lt, f"{kind}_create")(*given), getattr(lt, f"{kind}_destroy"))
        self._set = getattr(lt, f"{kind}_set_attribute")
        self._dtype_of = getattr(lt, f"get_{kind}_attribute_dtype")
        self._attributes = attributes

    def set(self, **values: int) -> None:
        """Give attributes their values."""
        for name, value in values.items():
            attribute = self._attributes[name]
            number = np.array(value, self._dtype_of(attribute))
            self._set(self.number, attribute, number.ctypes.data, number.nbytes)


class _Problem(NamedTuple):
    """A product to plan. layouts: of the library's a, b and d (our y, x and out).

    bias: an address that the epilogue reads or writes, or 0. aux: one of d's shape that it writes,
    or 0. aligned: the alignments of a, b, d.
    """

    dtype: np.dtype[Any]
    tf32: bool
    epilogue: str
    bias: int
    aux: int
    aligned: tuple[int, int, int]
    batch: int
    layouts: list[_Layout]


class _Plan:
    """A product in the library's descriptors, and the algorithm that it chose."""

    def __init__(self, lt: Any, handle: int, problem: _Problem) -> None:
        self._lt = lt
        form = FORMATS[problem.dtype]
        self._product = self._describe(form, problem)
        self._layouts = [self._layout(form, problem.batch, x) for x in problem.layouts]
        self._scales = np.array([1, 0], form.sums)
        self._bias, self._aux = np.array([problem.bias]), np.array([problem.aux])
        self._choice = lt.MatmulHeuristicResult(1)
        self._choose(handle, problem)
        self.workspace = int(self._choice.workspace_size)
        alpha, (a, b, d) = self._scales.ctypes.data, (x.number for x in self._layouts)
        beta, algorithm = alpha + form.sums.itemsize, self._choice.ptr  # its first field
        self._given = self._product.number, alpha, a, b, beta, d, algorithm
        names = lt.MatmulDescAttribute
        self._to_bias, self._to_aux = (
            (self._product.number, name, pointer.ctypes.data, pointer.nbytes)
            for name, pointer in (
                (names.BIAS_POINTER, self._bias),
                (names.EPILOGUE_AUX_POINTER, self._aux),
            )
        )

    def _describe(self, form: Format, problem: _Problem) -> _Descriptor:
        names, compute = self._lt.MatmulDescAttribute, _TF32 if problem.tf32 else form.compute
        found = _Descriptor(self._lt, "matmul_desc", names, compute, FORMATS[form.sums].data)
        a, b, d = problem.layouts
        found.set(TRANSA=a.transposed, TRANSB=b.transposed)
        found.set(EPILOGUE=self._lt.Epilogue[problem.epilogue])
        if problem.bias:
            found.set(BIAS_POINTER=problem.bias)
        if problem.aux:
            found.set(EPILOGUE_AUX_POINTER=problem.aux, EPILOGUE_AUX_LD=d.rows)
        return found

    def _layout(self, form: Format, count: int, x: _Layout) -> _Descriptor:
        names, given = self._lt.MatrixLayoutAttribute, (form.data, x.rows, x.columns, x.step)
        found = _Descriptor(self._lt, "matrix_layout", names, *given)
        if count > 1:
            found.set(BATCH_COUNT=count, STRIDED_BATCH_OFFSET=x.stride)
        return found

    def _choose(self, handle: int, problem: _Problem) -> None:
        """Ask for the best algorithm; raises the library's error where there is none."""
        lt, product = self._lt, self._product.number
        limits = _Descriptor(lt, "matmul_preference", lt.MatmulPreferenceAttribute)
        limits.set(MAX_WORKSPACE_BYTES=WORKSPACE)
        for name, bytes_ in zip("ABDC", (*problem.aligned, problem.aligned[-1]), strict=True):
            limits.set(**{f"MIN_ALIGNMENT_{name}_BYTES": bytes_})
        found = np.zeros((), np.int32)
        a, b, d = (x.number for x in self._layouts)
        asked = handle, product, a, b, d, d, limits.number
        lt.matmul_algo_get_heuristic(*asked, 1, self._choice.ptr, found.ctypes.data)
        if not found:
            raise lt.cuBLASLtError(_NOT_SUPPORTED)

    def run(
        self, handle: int, a: int, b: int, d: int, bias: int, aux: int, workspace: int, stream: int
    ) -> None:
        """Multiply matrices at these addresses."""
        if bias != self._bias[0]:
            self._bias[0] = bias
            self._lt.matmul_desc_set_attribute(*self._to_bias)
        if aux != self._aux[0]:
            self._aux[0] = aux
            self._lt.matmul_desc_set_attribute(*self._to_aux)
        product, alpha, of_a, of_b, beta, of_d, algorithm = self._given
        self._lt.matmul(
            *(handle, product, alpha, a, of_a, b, of_b, beta, d, of_d, d, of_d),
            *(algorithm, workspace, self.workspace, stream),
        )


# ---------------------------------------------------------------------- products
_Copies = tuple[bool, bool]  # of x and y


class _Local(threading.local):
    """A thread's handles, by device, and its plans: the address of a bias is in a descriptor.

    In place of a plan there are the copies to make first, or None if there is no algorithm.
    """

    def __init__(self) -> None:
        self.handles: dict[int, _Owned] = {}
        self.plans: dict[Any, _Plan | _Copies | None] = {}


class Library:
    """cublasLt on one kind of GPU: CuPy's with NVIDIA's bindings, or both their look-alikes."""

    def __init__(self, gpu: Gpu, lt: Any) -> None:
        self._gpu = gpu
        self._lt = lt
        self._local = _Local()

    def multiply(
        self,
        x: Array,
        y: Array,
        out: Array,
        epilogue: str = "DEFAULT",
        bias: Array | None = None,
        aux: Array | None = None,
    ) -> bool:
        """x @ y into a contiguous out, in the current stream; False where it has no algorithm.

        x, y: stacks of matrices of one of FORMATS; one that the library cannot read where it lies
        is copied. epilogue: the library's name of what else is done: BIAS and RELU_BIAS add `bias`
        to each row, BGRADB fills it with x.sum(-1). GELU_AUX_BIAS, the gelu of tanh, puts its
        argument into `aux`, which is contiguous and has a multiple of 8 columns.
        """
        gpu, plans = self._gpu, self._local.plans
        a, b, d = y.data.ptr, x.data.ptr, out.data.ptr
        extra = 0 if bias is None else bias.data.ptr
        behind = 0 if aux is None else aux.data.ptr
        aligned = _alignment(a), _alignment(b), _alignment(d)
        tf32 = x.dtype == FLOAT32 and get_float32_matmul_precision() != "highest"
        key = (
            *(gpu.current(), x.dtype, tf32, epilogue, _alignment(extra), aligned, x.shape, y.shape),
            *(None if x._c_contiguous else x.strides, None if y._c_contiguous else y.strides),
        )
        if key not in plans:
            if len(plans) >= _KEPT:
                plans.clear()
            what = x.dtype, tf32, epilogue, extra, behind, aligned
            plans[key] = self._plan(what, x, y, out)
        plan = plans[key]
        if isinstance(plan, tuple):
            x, y = (gpu.contiguous(a) if copied else a for a, copied in zip((x, y), plan))
            return self.multiply(x, y, out, epilogue, bias, aux)
        if plan is None:
            return False
        scratch = gpu.empty((plan.workspace,), np.uint8) if plan.workspace else None
        workspace = 0 if scratch is None else scratch.data.ptr
        stream = gpu.xp.cuda.get_current_stream().ptr
        plan.run(self.handle(), a, b, d, extra, behind, workspace, stream)
        return True

    def handle(self) -> int:
        """The library's handle for this thread and the current device."""
        device, handles = self._gpu.current(), self._local.handles
        if device not in handles:
            handles[device] = _Owned(self._lt.create(), self._lt.destroy)
        return handles[device].number

    def _plan(
        self, what: tuple[Any, ...], x: Array, y: Array, out: Array
    ) -> _Plan | _Copies | None:
        copies = not _readable(x), not _readable(y)
        if any(copies):
            return copies
        stacks = _stacks(y, x, out)
        if stacks is None:
            return None
        problem = _Problem(*what, *stacks)
        try:
            return _Plan(self._lt, self.handle(), problem)
        except self._lt.cuBLASLtError as error:
            if error.status not in _DECLINED:
                raise
            return None

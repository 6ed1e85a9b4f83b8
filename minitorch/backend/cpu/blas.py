"""The BLAS that multiplies matrices: NumPy's or Intel's MKL, and its threads.

NumPy brings OpenBLAS. Where the environment has MINITORCH_BLAS=mkl when minitorch is imported, and
MKL is installed (extra `mkl`), products of two float32 or float64 matrices of some size go to it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minitorch.backend.extras import install_hint

__all__ = ["get_num_threads", "set_num_threads"]

Array = Any
Gemm = Callable[..., None]

# cblas.h
_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112
# Below this NumPy's OpenBLAS is as fast or faster: MKL's calls cost some 8 µs more.
_FEWEST_MULTIPLICATIONS = 1_500_000
_LONGEST = 2**31 - 1  # an int


# ---------------------------------------------------------------------- which
def blas() -> dict[str, str]:
    """Return `name`, `version` and `threads` of the BLAS that multiplies matrices."""
    if matmul is not np.matmul:
        return {"name": "mkl", "version": _mkl_version(), "threads": str(get_num_threads())}
    config: Any = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return {
        "name": str(found.get("name", "unknown")),
        "version": str(found.get("version", "unknown")),
        "threads": str(_openblas_threads() or "unknown"),
    }


def _mkl_version() -> str:
    text = ctypes.create_string_buffer(200)
    _mkl_library().MKL_Get_Version_String(text, len(text))
    words = text.value.decode().split()
    return words[words.index("Version") + 1] if "Version" in words else "unknown"


def _openblas(action: str) -> Callable[..., Any] | None:
    """A function of the OpenBLAS that NumPy loaded, by its name; None where there is none."""
    for path in loaded_libraries("openblas"):
        library = ctypes.CDLL(path)
        for name in (f"scipy_openblas_{action}64_", f"openblas_{action}64_", f"openblas_{action}"):
            if hasattr(library, name):
                function: Callable[..., Any] = getattr(library, name)
                return function
    return None


def _openblas_threads() -> int | None:
    ask = _openblas("get_num_threads")
    return None if ask is None else int(ask())


def loaded_libraries(word: str) -> list[str]:
    """Paths of the shared libraries in this process whose name has `word`, NumPy's own first."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    paths = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "/" in line}
    named = [path for path in paths if word in os.path.basename(path) and os.path.exists(path)]
    return sorted(named, key=lambda path: ("numpy" not in path, path))


# ---------------------------------------------------------------------- threads
def get_num_threads() -> int:
    """Return how many threads a matrix product on the CPU may use.

    Raises ImportError where threadpoolctl (extra `blas`) is not installed.
    """
    pools = [pool for pool in _threadpoolctl().threadpool_info() if pool["user_api"] == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def set_num_threads(num: int) -> None:
    """Let matrix products on the CPU use `num` threads (of every BLAS in the process).

    Raises ImportError where threadpoolctl (extra `blas`) is not installed, TypeError for a `num`
    that is not an int, and RuntimeError for one out of range.
    """
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads: expected an int, got {type(num).__name__}")
    if not 1 <= num < 2**31:
        raise RuntimeError(f"set_num_threads: expected a positive number of threads, got {num}")
    _threadpoolctl().threadpool_limits(num, user_api="blas")
    if matmul is not np.matmul:
        _calm_openblas()


def _threadpoolctl() -> Any:
    try:
        import threadpoolctl
    except ImportError:
        raise ImportError(f"threads of BLAS need threadpoolctl: {install_hint('blas')}") from None
    return threadpoolctl


# ---------------------------------------------------------------------- MKL
def _mkl_library() -> Any:
    """Load MKL from pip's folder, or from a folder of the system."""
    from ctypes.util import find_library  # imported late: only MKL needs it

    folder = Path(sys.prefix) / ("Library/bin" if os.name == "nt" else "lib")
    paths = [str(path) for path in sorted(folder.glob("*mkl_rt*"))]
    paths += [path for path in [find_library("mkl_rt")] if path]
    for path in paths:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise ImportError(f"MINITORCH_BLAS=mkl needs MKL: {install_hint('mkl')}")


def product(sgemm: Any, dgemm: Any, integer: Any = ctypes.c_int) -> Callable[..., Array]:
    """Return a `np.matmul` that calls these functions of CBLAS, whose integers are `integer`.

    NumPy multiplies small matrices, and those that CBLAS does not support (other dtypes and
    dimensions, strides where neither rows nor columns are contiguous).
    """
    pointer = ctypes.c_void_p
    by_dtype: dict[Any, Gemm] = {}
    for dtype, real, gemm in (
        (np.dtype(np.float32), ctypes.c_float, sgemm),
        (np.dtype(np.float64), ctypes.c_double, dgemm),
    ):
        enums, sizes, matrix = [ctypes.c_int] * 3, [integer] * 3, [pointer, integer]
        gemm.argtypes = [*enums, *sizes, real, *matrix, *matrix, real, *matrix]
        gemm.restype = None
        by_dtype[dtype] = gemm
    numpy_matmul, empty, overlap = np.matmul, np.empty, np.may_share_memory

    def prepared(
        x: Array, y: Array, out: Array | None
    ) -> tuple[Gemm, Array, tuple[Any, ...]] | None:
        """The function, the result that it fills and its arguments; None where NumPy multiplies."""
        if x.ndim != 2 or y.ndim != 2:
            return None
        (m, k), (inner, n) = x.shape, y.shape
        gemm = by_dtype.get(x.dtype)
        if (
            gemm is None
            or y.dtype is not x.dtype
            or k != inner
            or m * n * k < _FEWEST_MULTIPLICATIONS
            or (left := _layout(x)) is None
            or (right := _layout(y)) is None
            or n > _LONGEST
        ):
            return None
        if out is None:
            out = empty((m, n), x.dtype)
        elif (
            out.shape != (m, n)
            or out.dtype is not x.dtype
            or not out.flags.c_contiguous
            or overlap(out, x)
            or overlap(out, y)
        ):
            return None
        (turn_x, long_x), (turn_y, long_y) = left, right
        addresses = x.ctypes.data, long_x, y.ctypes.data, long_y, 0.0, out.ctypes.data, n
        return gemm, out, (_ROW_MAJOR, turn_x, turn_y, m, n, k, 1.0, *addresses)

    def matmul(x: Array, y: Array, out: Array | None = None) -> Array:
        found = prepared(x, y, out)
        if found is None:
            return numpy_matmul(x, y, out)
        gemm, out, arguments = found
        gemm(*arguments)
        return out

    def repeated(x: Array, y: Array, out: Array) -> Callable[[], Any]:
        found = prepared(x, y, out)
        if found is None:
            return partial(numpy_matmul, x, y, out)
        gemm, _, arguments = found
        call = partial(gemm, *arguments)
        call.memory = x, y, out  # type: ignore[attr-defined]  # kept alive: the arguments are addresses
        return call

    matmul.repeated = repeated  # type: ignore[attr-defined]
    return matmul


def _layout(x: Array) -> tuple[int, int] | None:
    """CBLAS's flag of a matrix (transposed or not) and its leading dimension in elements."""
    size = x.itemsize
    (rows, columns), (down, across) = x.shape, x.strides
    if across == size and down >= columns * size and down % size == 0:
        transposed, distance = _AS_IS, down // size
    elif down == size and across >= rows * size and across % size == 0:
        transposed, distance = _TRANSPOSED, across // size
    else:
        return None
    return None if max(rows, columns, distance) > _LONGEST else (transposed, distance)


def _calm_openblas() -> None:
    """Limit OpenBLAS to one thread: it only has small products, and its threads disturb MKL's.

    Idle threads poll for work: a step of 59 ms takes 98 ms beside them.
    """
    limit = _openblas("set_num_threads")
    if limit is not None:
        limit(1)


def _chosen() -> Callable[..., Array]:
    name = os.environ.get("MINITORCH_BLAS", "")
    if name in ("", "numpy"):
        return np.matmul
    if name != "mkl":
        raise ValueError(f"MINITORCH_BLAS: expected numpy or mkl, got {name!r}")
    library = _mkl_library()
    _calm_openblas()
    return product(library.cblas_sgemm, library.cblas_dgemm)


matmul: Callable[..., Array] = _chosen()
# Of two matrices: `dot` takes half a microsecond less than `np.matmul`.
dot: Callable[..., Array] = np.ndarray.dot if matmul is np.matmul else matmul


def repeated_dot(x: Array, y: Array, out: Array) -> Callable[[], Any]:
    """A function that computes `dot(x, y, out)` at each call, with its look-ups done once."""
    prepare = getattr(dot, "repeated", None)
    return partial(dot, x, y, out) if prepare is None else prepare(x, y, out)

"""What device "cuda" needs beside a GPU: a driver, one CuPy and CUDA's libraries, of one CUDA."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from importlib.metadata import distributions
from typing import Any

from minitorch.backend.cuda import driver
from minitorch.backend.extras import install_hint

_CUPY = re.compile(r"cupy(-cuda(\d+)x)?")


def cupys() -> dict[str, int | None]:
    """The distributions of CuPy that are installed, with the CUDA that each is for, if it tells."""
    names = sorted({str(found.metadata["Name"]) for found in distributions()})
    matches = {name: match for name in names if (match := _CUPY.fullmatch(name))}
    return {name: int(match[2]) if match[2] else None for name, match in matches.items()}


def hint() -> str:
    """The command that installs CuPy for this machine's driver."""
    try:
        return install_hint(f"cuda{driver.cuda_major()}")
    except RuntimeError:
        return f"{install_hint('cuda12')} (or [cuda13])"


def conflict() -> str | None:
    """Why these CuPys cannot work with this driver and what to install; None also with neither."""
    found = cupys()
    instead = f"pip uninstall {' '.join(found)}, then {hint()}"
    if len(found) > 1:
        return f"{' and '.join(found)} are installed over each other: {instead}"
    try:
        runs = driver.cuda_version()
    except RuntimeError:
        return None
    if runs[0] < min(driver.MAJORS):
        return driver.too_old(runs)
    for name, major in found.items():
        if major is not None and not min(driver.MAJORS) <= major <= runs[0]:
            return (
                f"{name} is for CUDA {major}, the NVIDIA driver runs {runs[0]}.{runs[1]}: {instead}"
            )
    return None


# ---------------------------------------------------------------------- CUDA's libraries
def _nvrtc_version(library: Any) -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _cublas_version(library: Any) -> tuple[int, int]:
    parts = ctypes.c_int(), ctypes.c_int()
    for which, part in enumerate(parts):
        library.cublasGetProperty(which, ctypes.byref(part))
    return parts[0].value, parts[1].value


# By name: what cuda.pathfinder calls it, and how it tells its version.
LIBRARIES: dict[str, tuple[str, Callable[[Any], tuple[int, int]]]] = {
    "NVRTC": ("nvrtc", _nvrtc_version),
    "cuBLAS": ("cublas", _cublas_version),
}


def library(name: str) -> str:
    """Version and file of a library that CuPy will load; RuntimeError where that does not fit."""
    short, version_of = LIBRARIES[name]
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # as CuPy does

        path = load_nvidia_dynamic_lib(short).abs_path
    except (ImportError, RuntimeError):
        raise RuntimeError(f"{name} is not installed: {hint()}") from None
    major, minor = version_of(ctypes.CDLL(path))
    wanted = {cuda for cuda in cupys().values() if cuda is not None} or {major}
    if major not in wanted:
        raise RuntimeError(
            f"{name} is of CUDA {major}.{minor} ({path}), CuPy for CUDA {wanted.pop()}: install "
            f"minitorch in an environment without the package that brought it, as PyTorch may have"
        )
    return f"{major}.{minor}, {path}"

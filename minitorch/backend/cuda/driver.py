"""The NVIDIA driver, asked without any package: `python -I driver.py` prints the CUDA to install.

It prints 12 or 13, which the extras are named after, or says on stderr why there is none.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys

MAJORS = {12: "525", 13: "580"}  # of CUDA, with the first NVIDIA driver that runs it
_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def cuda_version() -> tuple[int, int]:
    """The newest CUDA that the driver runs, (major, minor); RuntimeError where there is none."""
    found = _from_library() or _from_nvidia_smi()
    if found is None:
        raise RuntimeError(
            f"there is no NVIDIA driver: found neither {_LIBRARY} nor an nvidia-smi that tells of "
            f"one; install the driver of the GPU ({MAJORS[12]} or newer)"
        )
    return found


def cuda_major() -> int:
    """The CUDA to install, a key of MAJORS. RuntimeError where the driver is missing or too old."""
    version = cuda_version()
    fitting = [major for major in MAJORS if major <= version[0]]
    if not fitting:
        raise RuntimeError(too_old(version))
    return max(fitting)


def too_old(version: tuple[int, int]) -> str:
    """The message about a driver that runs no CUDA of MAJORS."""
    return (
        f"the NVIDIA driver is too old: it runs CUDA {version[0]}.{version[1]}, expected "
        f"{min(MAJORS)}.0 or newer; install driver {MAJORS[12]} or newer"
    )


def _from_library() -> tuple[int, int] | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) or not number.value:
        return None
    return number.value // 1000, number.value % 1000 // 10


def _from_nvidia_smi() -> tuple[int, int] | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    found = re.search(r"CUDA Version: *(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


if __name__ == "__main__":
    try:
        print(cuda_major())
    except RuntimeError as error:
        sys.exit(str(error))

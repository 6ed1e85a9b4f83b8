"""Load, compile and cache the CUDA C++ sources in `kernels/`, which every GPU backend runs.

A source file is compiled once for each element type, `T` in the source; the functions of
`reduce.cu` for float32 are named `sum_f32`, ... The loader inserts headers into the source, because
CuPy's disk cache does not look into included files.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minitorch.core.dtypes import ARRAY_DTYPES

SUFFIXES = {
    ARRAY_DTYPES[name]: suffix
    for name, suffix in (
        ("float16", "f16"),
        ("bfloat16", "bf16"),
        ("float32", "f32"),
        ("float64", "f64"),
        ("uint8", "u8"),
        ("int8", "i8"),
        ("int16", "i16"),
        ("int32", "i32"),
        ("int64", "i64"),
        ("bool", "b8"),
    )
}
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_PACKAGE = Path(__file__).resolve().parent.parent
_added: dict[str, str | Path] = {}  # sources of users, by name: see `add_source`


def folder() -> Path:
    """The folder of the sources: inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / "kernels"
    return inside if inside.is_dir() else _PACKAGE.parent / "kernels"


def files() -> list[str]:
    """The names of the source files, without `.cu`."""
    return sorted(path.stem for path in folder().glob("*.cu"))


def add_source(name: str, source: str | Path) -> None:
    """Register a source, or a file of one, beside those in `kernels/`; see `library`."""
    if name in _added or name in files():
        raise ValueError(f"cuda_source: name: there is a source of the name {name!r} already")
    if isinstance(source, Path):
        source = source.resolve()
        if not source.is_file():
            raise FileNotFoundError(f"cuda_source: {source} does not exist")
    elif not isinstance(source, str) or "\n" not in source:
        raise TypeError(
            f"cuda_source: source: expected CUDA C++, or a pathlib.Path of a file, got {source!r}"
        )
    _added[name] = source


def _origin(file: str) -> str:
    """The origin of a source, for messages."""
    added = _added.get(file)
    if added is None:
        return f"kernels/{file}.cu"
    return str(added) if isinstance(added, Path) else f"the CUDA source {file!r}"


@cache
def source(file: str) -> str:
    """The text of `kernels/FILE.cu`, or of a user's source of this name, for the compiler.

    It contains its headers, and #line marks. Raises ValueError if there is no such source.
    """
    included: set[str] = set()
    added = _added.get(file)
    if added is None and file not in files():
        raise ValueError(f"launch: there is no CUDA source {file!r}: see library.cuda_source")
    folders = [added.parent, folder()] if isinstance(added, Path) else [folder()]

    def text_of(name: str) -> str:
        if name == f"{file}.cu" and added is not None:
            return added if isinstance(added, str) else added.read_text(encoding="utf-8")
        path = next((p for f in folders if (p := f / name).is_file()), folders[-1] / name)
        return path.read_text(encoding="utf-8")

    def read(name: str) -> str:
        text = text_of(name).replace("#pragma once\n", "\n")
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate(text.splitlines(), 1):
            match = _INCLUDE.match(line)
            if match is None:
                lines.append(line)
            elif match[1] not in included:
                included.add(match[1])
                lines += [read(match[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("")
        return "\n".join(lines) + "\n"

    return read(f"{file}.cu")


def options(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """The compiler's options for an element type."""
    return ("-std=c++17", f"-DMT_{SUFFIXES[dtype]}")


class Kernels:
    """The compiled functions of `kernels/` on one kind of device.

    xp: CuPy, or the simulator's look-alike.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._modules: dict[tuple[str, Any, int], Any] = {}
        self._functions: dict[tuple[str, str, Any, int], Any] = {}

    def function(self, file: str, name: str, dtype: np.dtype[Any], device: int) -> Any:
        """`NAME_suffix` of `kernels/FILE.cu` compiled for dtype, to call as f(grid, block, args).

        Raises RuntimeError with the compiler's log if the source does not compile.
        """
        key = (file, name, dtype, device)
        found = self._functions.get(key)
        if found is None:
            module = self.module(file, dtype, device)
            found = module.get_function(f"{name}_{SUFFIXES[dtype]}")
            self._functions[key] = found
        return found

    def loaded(self) -> set[tuple[str, str, Any]]:
        """The functions that launches have used so far: (file, name, dtype)."""
        return {(file, name, dtype) for file, name, dtype, _ in self._functions}

    def module(self, file: str, dtype: np.dtype[Any], device: int) -> Any:
        """The module of `kernels/FILE.cu` for an element type."""
        key = (file, dtype, device)
        if key not in self._modules:
            self._modules[key] = self._compile(file, dtype)
        return self._modules[key]

    def _compile(self, file: str, dtype: np.dtype[Any]) -> Any:
        module = self.xp.RawModule(code=source(file), options=options(dtype), backend="nvrtc")
        try:
            module.compile()
        except self.xp.cuda.compiler.CompileException as error:
            raise RuntimeError(f"{_origin(file)} does not compile for {dtype}:\n{error}") from None
        return module

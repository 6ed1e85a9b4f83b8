"""Read compiled kernels: their parameters from the ELF file, their instructions from SASS."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

from minitorch.backend.extras import install_hint

_KPARAM_INFO = 0x17  # EIATTR_KPARAM_INFO: ordinal, offset and size of one parameter
_WITH_VALUE = 4  # EIFMT_SVAL: the attribute's size, then its value
_LABEL = re.compile(r"^\.text\.(?P<kernel>[\w$.]+):$|^\$(?P<caller>\w+)\$(?P<function>\w+):$")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)")


class Section(NamedTuple):
    """A section of an ELF file."""

    name: str
    data: bytes


def sections(cubin: bytes) -> Iterator[Section]:
    """The sections of a 64-bit ELF file."""
    if cubin[:5] != b"\x7fELF\x02":
        raise ValueError("cubin: not a 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + i * size) for i in range(count)]
    strings = headers[names][4]
    for name, kind, _, _, offset, length, *_ in headers:
        end = cubin.index(b"\0", strings + name)
        content = b"" if kind == 8 else cubin[offset : offset + length]  # 8: SHT_NOBITS
        yield Section(cubin[strings + name : end].decode(), content)


def parameters(cubin: bytes) -> dict[str, tuple[tuple[int, int], ...]]:
    """(offset, bytes) of every parameter of each kernel, in their order."""
    prefix = ".nv.info."
    return {
        section.name.removeprefix(prefix): _parameters(section.data)
        for section in sections(cubin)
        if section.name.startswith(prefix)
    }


def _parameters(info: bytes) -> tuple[tuple[int, int], ...]:
    """The parameters in a kernel's attributes: (format, number, value or size of the value)."""
    found, at = {}, 0
    while at + 4 <= len(info):
        kind, attribute, value = struct.unpack_from("<BBH", info, at)
        at += 4
        if kind != _WITH_VALUE:
            continue
        if attribute == _KPARAM_INFO:
            _, ordinal, offset, flags = struct.unpack_from("<IHHI", info, at)
            found[ordinal] = offset, flags >> 18
        at += value
    return tuple(found[ordinal] for ordinal in sorted(found))


def instructions(cubin: bytes) -> dict[str, dict[str, Counter[str]]]:
    """How often each instruction occurs in the functions of each kernel.

    A kernel's own code is under the function name "", a callee's code under the callee's name.
    Raises ImportError where nvdisasm is not installed.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [disassembler(), "-c", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nvdisasm failed: {done.stderr.strip()}")
    return _count(done.stdout)


def _count(sass: str) -> dict[str, dict[str, Counter[str]]]:
    kernels: dict[str, dict[str, Counter[str]]] = {}
    here: Counter[str] | None = None
    for line in sass.splitlines():
        if label := _LABEL.match(line):
            kernel, function = label["kernel"] or label["caller"], label["function"] or ""
            here = kernels.setdefault(kernel, {}).setdefault(function, Counter())
        elif here is not None and (found := _INSTRUCTION.match(line)):
            here[found[1]] += 1
    return kernels


@cache
def disassembler() -> str:
    """The path of nvdisasm: of the Python package that carries it, or of an installed toolkit."""
    try:
        for path in files("nvidia-cuda-nvdisasm") or ():
            if path.stem == "nvdisasm":
                return str(Path(str(path.locate())))
    except PackageNotFoundError:
        pass
    found = shutil.which("nvdisasm")
    if found is None:
        raise ImportError(f"nvdisasm is not installed: {install_hint('kernels')}")
    return found

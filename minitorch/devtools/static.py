"""Static checks of the code that the real compiler generates for every kernel; no GPU is needed.

NVRTC compiles `kernels/*.cu` with CuPy's options for each element type and architecture. Its log
contains registers, stack, spills and shared memory; the ELF file the layout of parameters; the
disassembly the 128-bit accesses and the accesses to local memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatch
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minitorch.backend import cuda_sources
from minitorch.backend.extras import install_hint
from minitorch.backend.sim import build
from minitorch.devtools import cubin
from minitorch.files import replacing

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
# The options that CuPy adds to those of a RawModule.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
MAX_PARAMETER_BYTES = 4096  # before CUDA 12.1, and of sm_60 to sm_75
# Functions of the mathematics library that are rarely called and keep an array in local memory.
SLOW_PATHS = ("__internal_trig_reduction_slowpathd",)
# Kernels that may use local memory in their own code, as FILE:KERNEL patterns.
LOCAL = {
    "functions:sin_*": "reduces large arguments with the digits of 2/pi in an array, inlined",
    "functions:cos_*": "as sin",
    "functions:tan_*": "as sin",
}
# Kernels that have to move 128 bits at a time, as FILE:KERNEL patterns; the first match counts.
LOADS, STORES, BOTH, NEITHER = ("loads",), ("stores",), ("loads", "stores"), ()
VECTORISED: dict[str, tuple[str, ...]] = {
    "*_strided_*": NEITHER,
    "convert:fill_*": STORES,
    **{f"convert:from_{suffix}_{suffix}": BOTH for suffix in cuda_sources.SUFFIXES.values()},
    **{f"elementwise:{name}_*": LOADS for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "elementwise:*": BOTH,
    "functions:*": BOTH,
    "index:take_packs_*": BOTH,
    "reduce:*_row_*": LOADS,
    "*:curvature_packed_*": LOADS,
    "hogwild:*_packed_*": LOADS,  # what it writes are additions
    "*_packed_*": BOTH,
    "fused:bias_activation_*": BOTH,
    "optim:*_rows_*": NEITHER,
    "optim:norm_all_*": LOADS,
    "optim:fill_all_f64": NEITHER,  # sm_75: two stores of 64 bits
    "optim:fill_all_*": STORES,
    "optim:update_scale_*": NEITHER,
    "optim:*": BOTH,
}
_PROPERTIES = re.compile(
    r"Function properties for (?P<name>\w+)\n"
    r"\D*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\n"
    r"(?:.*Used (?P<registers>\d+) registers(?P<memory>.*)\n)?"
)
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Compiled:
    """One kernel as compiled for one architecture.

    stack, spill_stores, spill_loads, shared: bytes. parameters: (offset, bytes) of each.
    wide_loads, wide_stores: 128-bit instructions to global memory. local: instructions to local
    memory, by the name of their function ("" is the kernel itself).
    """

    file: str
    name: str
    arch: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int
    parameters: tuple[tuple[int, int], ...]
    wide_loads: int
    wide_stores: int
    local: dict[str, int]


class DoesNotCompile(RuntimeError):
    """A source that the compiler refuses, with the compiler's log."""


class Unit(NamedTuple):
    """A unit of compilation: a file, for one element type and one architecture."""

    file: str
    dtype: np.dtype[Any]
    arch: str


# ---------------------------------------------------------------------- compiling
def units(files: Iterable[str], architectures: Iterable[str] = ARCHITECTURES) -> list[Unit]:
    """Every file for every element type and architecture."""
    archs = list(architectures)
    return [
        Unit(f, dtype, arch) for f in files for dtype in cuda_sources.SUFFIXES for arch in archs
    ]


def compile_all(
    wanted: Sequence[Unit], done: Callable[[], object] = lambda: None, processes: int | None = None
) -> list[Compiled]:
    """Compile in parallel; the cache folder has the results of equal sources.

    done: called after each unit. Raises DoesNotCompile.
    """
    results: dict[Unit, list[Compiled]] = {}
    missing = []
    for unit in wanted:
        found = _cached(unit)
        if found is None:
            missing.append(unit)
        else:
            results[unit] = found
            done()
    if missing:
        count = min(processes or os.cpu_count() or 1, len(missing))
        # NVRTC takes one program at a time in a process.
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            for unit, compiled in zip(missing, pool.map(_compile_and_keep, missing)):
                results[unit] = compiled
                done()
    return [kernel for unit in wanted for kernel in results[unit]]


def _compile_and_keep(unit: Unit) -> list[Compiled]:
    found = compile_unit(unit)
    path = _cache_file(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps([asdict(kernel) for kernel in found]), encoding="utf-8")
    return found


def _cached(unit: Unit) -> list[Compiled] | None:
    try:
        rows = json.loads(_cache_file(unit).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return [
        Compiled(**{**row, "parameters": tuple(tuple(p) for p in row["parameters"])})
        for row in rows
    ]


def _cache_file(unit: Unit) -> Path:
    """The cache file, whose name is a hash of everything that the result depends on."""
    code = Path(cubin.__file__).read_bytes() + repr([f.name for f in fields(Compiled)]).encode()
    version = _nvrtc().getVersion()
    parts = (
        unit.file,
        cuda_sources.source(unit.file),
        _options(unit),
        version,
        cubin.disassembler(),
    )
    key = hashlib.sha256(code + repr(parts).encode()).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minitorch" / "static" / f"{key}.json"


def _options(unit: Unit) -> tuple[str, ...]:
    own = cuda_sources.options(unit.dtype)
    # Where there is a driver, NVRTC caches its results; the log of a cached result is empty.
    anew = ("--no-cache",) if _nvrtc().getVersion() >= (12, 9) else ()
    return (*own, f"-arch={unit.arch}", *CUPY_OPTIONS, "--ptxas-options=-v", *anew)


def _nvrtc() -> Any:
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:  # CuPy raises RuntimeError without the library
        raise ImportError(f"NVRTC is not installed ({error}): {install_hint('kernels')}") from None
    return nvrtc


def check_installed(architectures: Iterable[str]) -> None:
    """Raise ImportError where NVRTC or nvdisasm is missing, ValueError for an unknown arch."""
    nvrtc = _nvrtc()
    cubin.disassembler()
    known = [f"sm_{number}" for number in nvrtc.getSupportedArchs()]
    unknown = [arch for arch in architectures if arch not in known]
    if unknown:
        version = ".".join(map(str, nvrtc.getVersion()))
        raise ValueError(
            f"NVRTC {version} does not know {', '.join(unknown)}, but {', '.join(known)}"
        )


def compile_unit(unit: Unit) -> list[Compiled]:
    """The kernels of a unit. Raises DoesNotCompile."""
    nvrtc = _nvrtc()
    program = nvrtc.createProgram(cuda_sources.source(unit.file), f"{unit.file}.cu", (), ())
    try:
        nvrtc.compileProgram(program, _options(unit))
        image = nvrtc.getCUBIN(program) + b"\0"  # CuPy leaves out the last byte
        log = nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise DoesNotCompile(
            f"kernels/{unit.file}.cu does not compile for {unit.dtype} on {unit.arch}: {error}\n"
            f"{nvrtc.getProgramLog(program)}"
        ) from None
    finally:
        nvrtc.destroyProgram(program)
    return list(_kernels(unit, image, log))


def _kernels(unit: Unit, image: bytes, log: str) -> Iterator[Compiled]:
    code = cubin.instructions(image)
    properties = {found["name"]: found for found in _PROPERTIES.finditer(log)}
    for name, parameters in cubin.parameters(image).items():
        found, functions = properties[name], code[name]
        whole: Counter[str] = sum(functions.values(), Counter())
        yield Compiled(
            unit.file,
            name,
            unit.arch,
            int(found["registers"]),
            int(found["stack"]),
            int(found["stores"]),
            int(found["loads"]),
            int(shared[1]) if (shared := _SHARED.search(found["memory"])) else 0,
            parameters,
            _number(whole, "LDG*.128*"),
            _number(whole, "STG*.128*"),
            {
                function: number
                for function, counts in functions.items()
                if (number := _number(counts, "LDL*") + _number(counts, "STL*"))
            },
        )


def _number(counts: Counter[str], pattern: str) -> int:
    return sum(number for opcode, number in counts.items() if fnmatch(opcode, pattern))


# ---------------------------------------------------------------------- checking
V = TypeVar("V")


def _matching(kernel: Compiled, patterns: Mapping[str, V]) -> V | None:
    """The value of the first FILE:KERNEL pattern that fits."""
    name = f"{kernel.file}:{kernel.name}"
    return next((value for pattern, value in patterns.items() if fnmatch(name, pattern)), None)


def _spills(kernel: Compiled) -> str | None:
    if kernel.spill_stores or kernel.spill_loads:
        return f"spills {kernel.spill_stores} bytes, reloads {kernel.spill_loads}"
    return None


def _local(kernel: Compiled) -> str | None:
    allowed = [*SLOW_PATHS, *([""] if _matching(kernel, LOCAL) else [])]
    functions = [name or "its own code" for name in kernel.local if name not in allowed]
    return f"uses local memory in {', '.join(functions)}" if functions else None


def _wide(kernel: Compiled) -> str | None:
    present = {"loads": kernel.wide_loads, "stores": kernel.wide_stores}
    missing = [what for what in _matching(kernel, VECTORISED) or () if not present[what]]
    return f"has no 128-bit {' and '.join(missing)}" if missing else None


def _size(kernel: Compiled) -> str | None:
    end = max((offset + size for offset, size in kernel.parameters), default=0)
    return f"has {end} bytes of parameters" if end > MAX_PARAMETER_BYTES else None


@cache
def simulated_parameters(file: str) -> dict[str, tuple[tuple[int, int], ...]]:
    """(offset, bytes) of every parameter of a file's kernels as g++ lays them out.

    The simulator compares these with the arguments of launches, structs included.
    """
    found = {}
    for dtype in cuda_sources.SUFFIXES:
        with suppress(build.CompileError):  # `_parameters` reports it for each kernel
            module = build.CompiledModule(cuda_sources.source(file), cuda_sources.options(dtype))
            found.update({name: _layout(k.params) for name, k in module.kernels.items()})
    return found


def _layout(params: Iterable[build.Param]) -> tuple[tuple[int, int], ...]:
    offsets, end = [], 0
    for param in params:
        start = -(-end // param.align) * param.align
        offsets.append((start, param.size))
        end = start + param.size
    return tuple(offsets)


def _parameters(kernel: Compiled) -> str | None:
    if shutil.which("g++") is None:
        return None
    expected = simulated_parameters(kernel.file).get(kernel.name)
    if expected is None:
        return "does not compile with g++"
    if expected != kernel.parameters:
        return f"has parameters at {kernel.parameters}, but on the simulator at {expected}"
    return None


CHECKS = (_spills, _local, _wide, _size, _parameters)


def violations(compiled: Iterable[Compiled]) -> list[str]:
    """The faults of the kernels, a line for each, with all architectures that have it."""
    found: dict[str, list[str]] = {}
    for kernel in compiled:
        for check in CHECKS:
            if (what := check(kernel)) is not None:
                found.setdefault(f"{kernel.file}.cu: {kernel.name} {what}", []).append(kernel.arch)
    return [f"{what} ({', '.join(archs)})" for what, archs in found.items()]


# ---------------------------------------------------------------------- printing
COLUMNS = (
    "kernel",
    "registers",
    "stack",
    "spills",
    "shared",
    "LDG.128",
    "STG.128",
    "LDL/STL",
    "parameters",
)


def table(compiled: Iterable[Compiled]) -> list[tuple[str, ...]]:
    """A row of COLUMNS for each kernel; a number that depends on the architecture as LEAST-MOST."""
    groups: dict[tuple[str, str], list[Compiled]] = {}
    for kernel in compiled:
        groups.setdefault((kernel.file, kernel.name), []).append(kernel)
    return [(f"{file}.cu: {name}", *_row(group)) for (file, name), group in groups.items()]


def _row(group: Sequence[Compiled]) -> Iterator[str]:
    numbers: tuple[Callable[[Compiled], int], ...] = (
        lambda k: k.registers,
        lambda k: k.stack,
        lambda k: k.spill_stores + k.spill_loads,
        lambda k: k.shared,
        lambda k: k.wide_loads,
        lambda k: k.wide_stores,
        lambda k: sum(k.local.values()),
    )
    for number in numbers:
        values = [number(kernel) for kernel in group]
        least, most = min(values), max(values)
        yield str(least) if least == most else f"{least}-{most}"
    yield "+".join(str(size) for _, size in group[0].parameters)

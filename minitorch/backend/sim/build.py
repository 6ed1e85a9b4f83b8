"""Kernels and the simulator's runtime, compiled by g++ into shared libraries and kept.

The libraries lie in `$XDG_CACHE_HOME/minitorch/sim` (or `~/.cache/...`) under a hash of all
that went into them, so a second process loads what the first one built.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from stat import S_IWGRP, S_IWOTH
from typing import Any

logger = logging.getLogger(__name__)

NATIVE = Path(__file__).resolve().parent / "native"
COMMON_FLAGS = (
    *("-std=c++17", "-x", "c++", "-fPIC", "-w"),
    *("-fno-gnu-unique", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"),
    *("-fno-strict-aliasing", "-fno-stack-protector", "-fno-math-errno", "-ffp-contract=fast"),
    "-fno-optimize-sibling-calls",  # a call into the runtime shows where it came from
)
FAST_FLAGS = ("-O2", "-g1", "-gdwarf-4")
# Optimised as far as every access of the source stays one access of the same size.
CHECKED_FLAGS = (
    *("-O1", "-g", "-gdwarf-4", "-DSIM_CHECKED"),
    *("-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"),
    *("-fno-tree-sra", "-fno-ipa-sra", "-fno-tree-vectorize", "-fno-tree-slp-vectorize"),
    "-fsanitize=bounds,shift-exponent,integer-divide-by-zero,signed-integer-overflow",
)
RUNTIME_FLAGS = ("-O2", "-std=c++17", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti", "-w")
_FORMAT = 2  # of what is kept
_OPTION = re.compile(r"-[DU]\w+(=.*)?$")  # g++ need not know the rest of NVRTC's options
_KERNEL = re.compile(
    r'extern\s+"C"\s+sim_is_kernel\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)'
)
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*)?((?:[\w:]+\s+)*?[\w:]+)\s+(\w+)\s*\[\s*\]\s*;"
)


class CompileError(Exception):
    """A source does not compile; str() is the compiler's log, with the source's line numbers."""


def check_compiler() -> None:
    """Raise RuntimeError, saying how to get it, if there is no Unix system or no g++."""
    if find_spec("fcntl") is None:
        raise RuntimeError("the simulated GPU needs Linux (on Windows: WSL)")
    if shutil.which("g++") is None:
        raise RuntimeError(
            "the simulated GPU compiles kernels with g++, which is not installed: "
            "apt install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), "
            "or conda install gxx_linux-64"
        )


def cache_folder() -> Path:
    """Where compiled libraries are kept; made if it is not there.

    Where that is another user's, who could put other code there, or cannot be written to, it is a
    folder that goes away with this process.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "minitorch" / "sim"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            if not _is_ours(folder):
                folder.chmod(0o700)
            if os.access(folder, os.W_OK):
                return folder
    except OSError as error:
        logger.debug("%s: %s", folder, error)
    return _passing_folder(folder)


@cache
def _passing_folder(instead_of: Path) -> Path:
    """A new folder that is removed when this process ends."""
    logger.warning("%s is not ours to write to: kernels are compiled for this process", instead_of)
    made = Path(tempfile.mkdtemp(prefix="minitorch-sim-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _is_ours(path: Path) -> bool:
    """Whether nobody else can have written a file, or to a folder."""
    stat = path.stat()
    return stat.st_uid == os.geteuid() and not stat.st_mode & (S_IWGRP | S_IWOTH)


@dataclass(frozen=True)
class Param:
    """A kernel's parameter.

    kind: "p" pointer, "i" signed, "u" unsigned, "f" floating, "?" bool, "s" struct.
    pointee, pointee_size, const: of what a pointer points to ("v" for void).
    """

    kind: str
    size: int
    align: int
    pointee: str = ""
    pointee_size: int = 0
    const: bool = False

    def __str__(self) -> str:
        names = {"i": "int{}", "u": "uint{}", "f": "float{}", "?": "bool", "v": "void"}
        struct = "struct of {bytes} bytes"

        def name(kind: str, size: int) -> str:
            return names.get(kind, struct).format(size * 8, bytes=size)

        if self.kind == "p":
            return f"{'const ' if self.const else ''}{name(self.pointee, self.pointee_size)}*"
        return name(self.kind, self.size)


@dataclass
class Kernel:
    """A compiled `__global__` function. shared_bytes: of its static shared arrays."""

    name: str
    params: tuple[Param, ...]
    address: int
    module: CompiledModule
    shared_bytes: int = 0
    shared: Any = None  # a C array of the runtime's regions
    shared_count: int = 0
    max_dynamic_shared: int | None = field(default=None)  # what the launcher has opted in to


class _CParam(ctypes.Structure):
    """`sim::Param` of native/interface.h."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("align", ctypes.c_uint32),
        ("kind", ctypes.c_char),
        ("pointee", ctypes.c_char),
        ("is_const", ctypes.c_uint16),
        ("pointee_size", ctypes.c_uint32),
    )


class _CKernel(ctypes.Structure):
    """`sim::Kernel` of native/interface.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("count", ctypes.c_uint32),
        ("params", ctypes.POINTER(_CParam)),
    )


class CompiledModule:
    """The kernels of one source.

    code: CUDA C++, self-contained (headers in it, `#line` marks if it had any).
    options: NVRTC's; of these -D and -U matter. checked: whether every access is checked.
    Raises CompileError with g++'s log.
    """

    def __init__(self, code: str, options: tuple[str, ...] = (), checked: bool = False) -> None:
        self.checked = checked
        self.path, description = _compile(code, options, checked)
        runtime()
        self._library = ctypes.CDLL(str(self.path))
        count = len(description["kernels"])
        self._table = (_CKernel * count).in_dll(self._library, "sim_kernels")
        self.base = ctypes.addressof(self._table) - description["table"]
        regions = [
            (s["function"], s["bytes"], self._shared_region(s)) for s in description["shared"]
        ]
        self.kernels = {k.name.decode(): self._kernel(k, regions) for k in self._table}
        if checked:
            self._make_readable()

    def _shared_region(self, shared: dict[str, Any]) -> int:
        label = f"shared array {shared['name']} of {shared['bytes']} bytes"
        address = self.base + shared["offset"]
        return int(runtime().sim_add_shared(address, shared["bytes"], label.encode()))

    def _kernel(self, entry: Any, regions: list[tuple[str, int, int]]) -> Kernel:
        name = entry.name.decode()
        params = tuple(
            Param(
                kind=p.kind.decode(),
                size=p.size,
                align=p.align,
                pointee=p.pointee.decode().strip("\0"),
                pointee_size=p.pointee_size,
                const=bool(p.is_const),
            )
            for p in entry.params[: entry.count]
        )
        # Those of its own, and those of functions that it may call.
        others = {k.name.decode() for k in self._table} - {name}
        mine = [(size, region) for function, size, region in regions if function not in others]
        return Kernel(
            name,
            params,
            ctypes.addressof(entry),
            self,
            shared_bytes=sum(size for size, _ in mine),
            shared=(ctypes.c_void_p * len(mine))(*[region for _, region in mine]),
            shared_count=len(mine),
        )

    def _make_readable(self) -> None:
        """Tell the checks which addresses hold the module's constants."""
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(str(self.path)):
                low, high = (int(address, 16) for address in line.split()[0].split("-"))
                runtime().sim_add_module(low, high)

    def places(self, addresses: list[int]) -> list[str]:
        """The source lines of return addresses in the code: "common.cuh:57, reduce.cu:31".

        Of inlined functions the innermost comes first.
        """
        call = ["addr2line", "-e", str(self.path), "-i", "-a"]
        call += [hex(address - 1 - self.base) for address in addresses]
        output = subprocess.run(call, capture_output=True, text=True, check=False).stdout
        found: list[list[str]] = []
        for line in output.splitlines():
            if line.startswith("0x"):
                found.append([])
            elif found:
                place = line.split(" (")[0].rsplit("/", 1)[-1]
                if not place.startswith(("device.h:", "?")) and place not in found[-1]:
                    found[-1].append(place)
        return [", ".join(frames) for frames in found]


# ------------------------------------------------------------------ g++
@cache
def _compiler() -> str:
    check_compiler()
    call = ["g++", "-dumpfullversion", "-dumpmachine"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


@cache
def _machine_flags() -> tuple[str, ...]:
    """Fused multiply-add, which a GPU always has, where this machine has it too."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
        if flags and {"fma", "avx2"} <= set(flags[1].split()):
            return ("-mfma", "-mavx2")
    return ()


def _header_text() -> str:
    return "".join((NATIVE / name).read_text() for name in ("interface.h", "device.h"))


def _compile(code: str, options: tuple[str, ...], checked: bool) -> tuple[Path, Any]:
    options = tuple(option for option in options if _OPTION.match(option))
    flags = [
        *COMMON_FLAGS,
        *_machine_flags(),
        *(CHECKED_FLAGS if checked else FAST_FLAGS),
        *options,
    ]
    key = (code, flags, _header_text(), _compiler(), _DYNAMIC.pattern)

    def make(target: Path) -> dict[str, Any]:
        text = code if code.startswith("#line") else f'#line 1 "kernel.cu"\n{code}'
        names = _kernel_names(text, options)
        text = _DYNAMIC.sub(r"\1* const \2 = (\1*)sim_dynamic_shared();", text)
        rows = "".join(f"    SIM_KERNEL({name}),\n" for name in names)
        table = '\n#line 1 "device.h"\nextern "C" __attribute__((visibility("default"))) '
        table += f"const sim::Kernel sim_kernels[] = {{\n{rows}    {{}}}};\n"
        _run_compiler([*flags, "-include", str(NATIVE / "device.h")], text + table, target)
        return {"kernels": names, **_symbols(target)}

    return _cached(key, make)


def _run_compiler(flags: list[str], text: str, target: Path) -> None:
    """Compile and link in two steps: at the second, -fsanitize= would add libraries."""
    compiled = target.with_suffix(".o")
    _run(["g++", *flags, "-c", "-", "-o", str(compiled)], text)
    # No start files: nothing of the library may run when it is loaded.
    _run(["g++", "-shared", "-nostartfiles", str(compiled), "-lm", "-o", str(target)])


def _run(call: list[str], text: str | None = None) -> str:
    done = subprocess.run(call, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        if (full := os.strerror(errno.ENOSPC)) in done.stderr:
            raise OSError(errno.ENOSPC, full, str(cache_folder()))
        raise CompileError(done.stderr)
    return done.stdout


def _kernel_names(text: str, options: tuple[str, ...]) -> list[str]:
    """The `extern "C" __global__` functions, after macros have been expanded."""
    call = ["g++", "-E", "-P", "-x", "c++", "-std=c++17", "-w", "-D__global__=sim_is_kernel"]
    call += [*options, "-"]
    return list(dict.fromkeys(_KERNEL.findall(_run(call, text))))


def _symbols(library: Path) -> dict[str, Any]:
    """Where the kernel table and the static shared arrays lie in a library."""

    def lines(*flags: str) -> list[str]:
        call = ["nm", *flags, str(library)]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()

    table, shared = 0, []
    for mangled, readable in zip(lines("-S"), lines("-S", "-C"), strict=True):
        parts = mangled.split()
        if len(parts) != 4:
            continue
        offset, size, kind, symbol = parts
        if symbol == "sim_kernels":
            table = int(offset, 16)
        elif kind in "bBdDuvV" and symbol.startswith("_ZZ"):  # a variable of a function
            owner, _, name = readable.split(None, 3)[3].rpartition("::")
            shared.append(
                {
                    "offset": int(offset, 16),
                    "bytes": int(size, 16),
                    "name": name,
                    "function": owner.split("(")[0],
                }
            )
    return {"table": table, "shared": shared}


# ------------------------------------------------------------------ the cache
def _cached(key: Any, make: Callable[[Path], dict[str, Any]]) -> tuple[Path, Any]:
    """The library for a key and what is known of it, built by make(path) if no process has yet.

    make returns what is known, which is written beside the library, with a checksum of both. One
    that is damaged, or that others could have written, is built anew.
    """
    folder = cache_folder()
    name = hashlib.sha256(repr((_FORMAT, key)).encode()).hexdigest()[:24]
    library = folder / f"{name}.so"
    known = _known(library)
    if known is not None:
        return library, known
    with _locked(folder / f"{name}.lock"):
        known = _known(library)
        if known is None:
            if library.exists():
                logger.warning("%s is damaged, or not ours: it is built anew", library)
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                made = Path(temporary) / library.name
                known = make(made)
                about = json.dumps(known)
                described = made.with_suffix(".json")
                described.write_text(json.dumps([_checksum(made, about), about]))
                for part in (described, made):
                    part.chmod(0o700)
                    os.replace(part, folder / part.name)
    return library, known


def _known(library: Path) -> Any:
    """What is known of a library that is there, ours, and as it was built; otherwise None."""
    description = library.with_suffix(".json")
    try:
        if _is_ours(library) and _is_ours(description):
            checksum, about = json.loads(description.read_bytes())
            return json.loads(about) if checksum == _checksum(library, about) else None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        pass  # it is not there, or no such description
    return None


def _checksum(library: Path, about: str) -> str:
    return hashlib.sha256(library.read_bytes() + about.encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock; the file goes with the last who held it."""
    import fcntl  # late: Windows, which has none, has to be told in `check_compiler`

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@cache
def runtime() -> Any:
    """The simulator's runtime library."""
    sources = {path.name: path.read_text() for path in sorted(NATIVE.iterdir()) if path.is_file()}

    def make(target: Path) -> dict[str, Any]:
        _run(["g++", *RUNTIME_FLAGS, str(NATIVE / "runtime.cpp"), "-o", str(target)])
        return {}

    path, _ = _cached((sources, RUNTIME_FLAGS, _compiler()), make)
    library = ctypes.PyDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    c_u64, c_int, c_char_p, c_void_p = (
        ctypes.c_uint64,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_void_p,
    )
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "sim_allocate": (c_u64, (c_u64, c_char_p, ctypes.c_uint32, c_int)),
        "sim_release": (c_int, (c_u64,)),
        "sim_relabel": (None, (c_u64, c_char_p)),
        "sim_mark_written": (None, (c_u64, c_u64)),
        "sim_is_written": (c_int, (c_u64, c_u64)),
        "sim_empty_pool": (None, ()),
        "sim_add_shared": (c_u64, (c_u64, c_u64, c_char_p)),
        "sim_add_module": (None, (c_u64, c_u64)),
        "sim_line_counts": (c_u64, (c_void_p, c_u64)),
        "sim_sectors": (None, (c_void_p,)),
        "sim_launch": (
            c_int,
            (c_u64, c_char_p, c_void_p, c_void_p, c_u64, c_void_p, c_u64, c_void_p),
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library

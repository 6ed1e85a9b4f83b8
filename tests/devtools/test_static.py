"""Static checks: what NVRTC makes of the kernels, and whether the checks see what is wrong."""

import fnmatch
import re
import shutil
from functools import partial

import numpy as np
import pytest

from minitorch import cli
from minitorch.backend import cuda_sources
from minitorch.devtools import cubin, static

try:
    static.check_installed(())
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)

FLOAT32 = np.dtype("float32")
HEAD = '#include "common.cuh"\n'


@pytest.fixture
def compiled(monkeypatch):
    """Compile a source for float32; return its kernels, as of kernels/FILE.cu."""

    def compile(text, file="planted", arch="sm_80"):
        source = HEAD + text
        headers = cuda_sources.source("word2vec").split('#line 1 "common.cuh"', 1)[1]
        headers = headers.split("#line", 1)[0]
        monkeypatch.setattr(cuda_sources, "source", lambda name: source.replace(HEAD, headers))
        return static.compile_unit(static.Unit(file, FLOAT32, arch))

    return compile


@pytest.fixture
def no_gxx(monkeypatch):
    """Leave out the comparison with the simulator's layout."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_every_kernel_passes_on_one_architecture():
    """For the architecture that `.ci/run` has compiled just before: it is in the cache."""
    compiled = static.compile_all(static.units(cuda_sources.files(), ["sm_75"]))
    assert static.violations(compiled) == []
    assert {kernel.file for kernel in compiled} == set(cuda_sources.files())
    assert {kernel.name.rpartition("_")[2] for kernel in compiled} == set(
        cuda_sources.SUFFIXES.values()
    )
    known = [f"{kernel.file}:{kernel.name}" for kernel in compiled]
    for pattern in (*static.VECTORISED, *static.LOCAL):  # none is left over
        assert fnmatch.filter(known, pattern), pattern


@pytest.mark.parametrize("arch", static.ARCHITECTURES)
def test_word_vectors_pass_on_every_architecture(arch):
    compiled = static.compile_all(static.units(["word2vec"], [arch]))
    assert [kernel.arch for kernel in compiled] == [arch] * 10
    assert static.violations(compiled) == []


def test_spills_are_seen(compiled, no_gxx):
    many = "".join(f"a[{i}] = x[i + {i} * n];" for i in range(300))
    sums = "".join(f"x[i + {i} * n] = a[{i}] * s;" for i in range(300))
    (kernel,) = compiled(
        f"KERNEL(f)(T* x, i64 n) {{ i64 i = first(); T a[300]; {many}"
        f"T s = 0; for (int k = 0; k < 300; ++k) s += a[k]; __syncthreads(); {sums} }}"
    )
    assert kernel.spill_stores > 0
    assert re.match(r"planted.cu: f_f32 spills \d+ bytes", static.violations([kernel])[0])


def test_local_arrays_are_seen(compiled, no_gxx):
    (kernel,) = compiled(
        "KERNEL(f)(T* x, const int* place, i64 n) { T a[64];"
        "for (int k = 0; k < 64; ++k) a[k] = x[k * n]; __syncthreads();"
        "for (int k = 0; k < 64; ++k) x[k] = a[place[k]]; }"
    )
    assert kernel.local.keys() == {""}
    assert kernel.stack >= 256
    assert static.violations([kernel]) == [
        "planted.cu: f_f32 uses local memory in its own code (sm_80)"
    ]


def test_the_slow_path_of_a_double_sine_may_use_local_memory(compiled, no_gxx):
    (kernel,) = compiled("KERNEL(f)(double* x) { x[first()] = sin(x[first()]); }")
    assert kernel.local.keys() == {"__internal_trig_reduction_slowpathd"}
    assert static.violations([kernel]) == []


COPY = "KERNEL({})(const T* x, T* y) {{ {} }}"
PACKED = "store_pack(y + first() * PACK, load_pack(x + first() * PACK));"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (PACKED, []),
        ("y[first()] = x[first()];", ["has no 128-bit loads and stores"]),
        ("store_pack(y, Pack{{x[first()]}});", ["has no 128-bit loads"]),
    ],
)
def test_declared_vectorised(compiled, no_gxx, body, wrong):
    found = compiled(COPY.format("copy_packed", body), file="word2vec")
    assert static.violations(found) == [
        f"word2vec.cu: copy_packed_f32 {what} (sm_80)" for what in wrong
    ]


def test_parameters(compiled, no_gxx):
    (kernel,) = compiled(
        "struct S { i64 n; int a, b, c; }; KERNEL(f)(T* x, S s, int i, double d) { *x = d * i; }"
    )
    assert kernel.parameters == ((0, 8), (8, 24), (32, 4), (40, 8))


def test_parameters_that_differ_from_the_simulators(monkeypatch):
    (kernel, *_) = static.compile_all(static.units(["word2vec"], ["sm_90"]))
    other = {kernel.name: kernel.parameters[:-1]}
    monkeypatch.setattr(static, "simulated_parameters", lambda file: other)
    assert len(static.violations([kernel])) == 1
    monkeypatch.setattr(static, "simulated_parameters", lambda file: {})
    assert "does not compile with g++" in static.violations([kernel])[0]


def test_shared_memory_and_registers(compiled, no_gxx):
    (kernel,) = compiled(
        "KERNEL(f)(T* x) { __shared__ T a[100]; a[threadIdx.x] = x[threadIdx.x];"
        "__syncthreads(); x[threadIdx.x] = a[99 - threadIdx.x]; }"
    )
    assert kernel.shared == 400
    assert 0 < kernel.registers < 32


def test_the_log_of_a_source_that_does_not_compile(compiled):
    with pytest.raises(static.DoesNotCompile, match=r"planted.cu does not compile for float32 on"):
        compiled("KERNEL(f)(T* x) { *x = nonsense; }")


def test_architectures_are_put_together():
    kernel = static.Compiled("a", "f_f32", "sm_75", 10, 0, 4, 4, 0, (), 0, 0, {})
    again = static.Compiled("a", "f_f32", "sm_80", 12, 0, 4, 4, 0, (), 0, 0, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static, "CHECKS", (static._spills,))
        wrong = static.violations([kernel, again])
    assert wrong == ["a.cu: f_f32 spills 4 bytes, reloads 4 (sm_75, sm_80)"]
    assert static.table([kernel, again]) == [
        ("a.cu: f_f32", "10-12", "0", "8", "0", "0", "0", "0", "")
    ]


def test_results_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    units = [static.Unit("word2vec", FLOAT32, "sm_90")]
    first = static.compile_all(units)
    assert len(list(tmp_path.rglob("*.json"))) == 1
    monkeypatch.setattr(static, "compile_unit", partial(pytest.fail, "compiled again"))
    monkeypatch.setattr(static, "ProcessPoolExecutor", partial(pytest.fail, "compiled again"))
    done = []
    assert static.compile_all(units, lambda: done.append(1)) == first
    assert done == [1]


def test_not_an_elf_file():
    with pytest.raises(ValueError, match="not a 64-bit ELF file"):
        cubin.parameters(b"text")


# ---------------------------------------------------------------------- the command
def test_command(capsys):
    assert cli.main(["kernels", "check", "word2vec", "--arch", "sm_90", "--kernel", "scaled*"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == list(static.COLUMNS)
    assert [row.split()[1] for row in rows] == ["scaled_packed_f32", "scaled_packed_f64"]
    assert last == "10 kernels for sm_90: nothing wrong"


def test_command_says_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr(static, "VECTORISED", {"word2vec:negative_sampling_f32": static.LOADS})
    assert cli.main(["kernels", "check", "word2vec", "--arch", "sm_90", "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "word2vec.cu: negative_sampling_f32 has no 128-bit loads (sm_90)",
        "10 kernels for sm_90: 1 wrong",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], r"kernels/nowhere\.cu does not exist: there are .*word2vec"),
        (["word2vec", "--arch", "sm_1"], r"NVRTC [\d.]+ does not know sm_1, but sm_"),
    ],
)
def test_command_refuses(capsys, words, message):
    assert cli.main(["kernels", "check", *words]) == 2
    assert re.search(message, capsys.readouterr().err)

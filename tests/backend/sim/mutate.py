"""A mutation run over the kernels: small changes, one at a time, each of which a test has to see.

    python tests/backend/sim/mutate.py [--files reduce.cu tile.cuh:24] [--sample 200] [--seed 0]

Every mutant is a changed copy of kernels/ in a temporary folder; the tree is only read. First the
tests of that file run with every kernel checked, in the element types that the change is about (of
these one floating-point and one integer type); what survives meets the files' tests as they stand,
in all types, and the counts of sectors. A survivor whose machine code is the original's is
equivalent; every other one has to be explained in survivors.py.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from minitorch.backend import cuda_sources
from minitorch.backend.sim import build
from minitorch.backend.sim.settings import settings

ROOT = Path(__file__).resolve().parents[3]
TESTS = [
    ROOT / "tests" / folder for folder in ("backend/cuda", "devtools", "text/word2vec/kernels")
]
sys.path.insert(0, str(Path(__file__).resolve().parent))
from survivors import SURVIVORS  # noqa: E402

# Which test files cover a file, those likely to see a change first; and words of those tests'
# names that are enough while every access is checked ("": all of them).
_LAYOUTS = "out or overlap or copy or cast or pack or grid or wide"
COVERED_BY = {
    "blocks.cuh": ("cuda hogwild", ""),
    "common.cuh": ("elementwise fused errors reduce", ""),
    "columns.cuh": ("fused norm", "linear or layer"),
    "convert.cu": ("elementwise source", f"{_LAYOUTS} or full"),
    "convert.cuh": ("elementwise source", "cast or copy or halves or full or arange or linspace"),
    "elementwise.cu": ("elementwise", "argument or where or integer or pack or negative"),
    "elementwise.cuh": ("elementwise", "argument or where or pack or grid or zero or negative"),
    "functions.cu": ("elementwise", "argument"),
    "fused.cu": ("fused", "linear or bias or cross or target or loss"),
    "groups.cuh": ("elementwise", f"where or {_LAYOUTS}"),
    "hogwild.cu": ("hogwild", ""),
    "index.cu": ("index", ""),
    "logsum.cuh": ("reduce", "softmax or logsumexp or special or lengths"),
    "matmul.cu": ("fused", "own_matrix"),
    "norm.cu": ("norm", ""),
    "optim.cu": ("optim", ""),
    "philox.cuh": ("source", "uniform or normal or randint or perm or words or dropout"),
    "recurrent.cu": ("recurrent", ""),
    "reduce.cu": ("reduce", ""),
    "scan.cu": ("reduce", "cumsum or lengths or layouts or running"),
    "shape.cu": ("shape", ""),
    "softmax.cu": ("reduce", "softmax or lengths or layouts or special"),
    "sort.cu": ("sort", ""),
    "source.cu": ("source", ""),
    "special.cuh": ("elementwise fused", "argument or linear"),
    "strides.cuh": ("elementwise", f"where or dimensions or {_LAYOUTS}"),
    "tile.cuh": ("reduce", ""),
    "word2vec.cu": ("cuda", ""),
}
# Without a kernel in them, or long examples of what short ones show too.
NOT_THESE = ("a_view_is_found", "past_32_bits", "same_bits", "stay_near_their_exact")
NOT_CHECKED = ("test_shapes",)
SECONDS = {"quick": 240, "whole": 600}  # after which a mutant counts as hanging

_INSIDE = r"(?:[^()\n]|\((?:[^()\n]|\([^()\n]*\))*\))*"  # parentheses that match
# Names, what is replaced, and by what.
OPERATORS = (
    ("no barrier", r"__syncthreads\(\);", ""),
    ("no fence", r"__threadfence\(\);", ""),
    ("no atomic add", rf"atomicAdd\(({_INSIDE}), ({_INSIDE})\)", r"((*(\1) += (\2)) - (\2))"),
    ("no atomic exchange", rf"atomicExch\(({_INSIDE}), ({_INSIDE})\)", r"(*(\1) = (\2))"),
    ("no atomic maximum", rf"atomicMax\(({_INSIDE}), ({_INSIDE})\)", r"(*(\1) = (\2))"),
    ("no atomic swap", rf"atomicCAS\(({_INSIDE}), 0ull, (\w+)\)", r"(*(\1) = \2, 0ull)"),
    ("no atomic count", rf"atomicInc\(({_INSIDE}), ({_INSIDE})\)", r"((*(\1))++)"),
    ("half the mask", r"FULL_MASK,", "0x0000ffffu,"),
    ("< to <=", r"(?<=[\w)\]]) < (?=[\w(-])", " <= "),
    ("<= to <", r" <= ", " < "),
    ("> to >=", r"(?<=[\w)\]]) > (?=[\w(-])", " >= "),
    (">= to >", r" >= ", " > "),
    ("== to !=", r" == ", " != "),
    ("!= to ==", r" != ", " == "),
    ("+ to -", r"(?<=[\w)\]]) \+ ", " - "),
    ("- to +", r"(?<=[\w)\]]) - ", " + "),
    ("* to +", r"(?<=[\w)\]]) \* (?=[\w(])", " + "),
    ("/ to *", r"(?<=[\w)\]]) / ", " * "),
    ("% to /", r" % ", " / "),
    ("&& to ||", r" && ", " || "),
    ("|| to &&", r" \|\| ", " && "),
    ("if (true)", rf"\bif \({_INSIDE}\)", "if (true)"),
    ("if (false)", rf"\bif \({_INSIDE}\)", "if (false)"),
    ("choices swapped", r" \? ([^?:;,\n]+) : ([^?:;,)}\n]+)", r" ? \2 : \1"),
    ("not added up", rf"(?<=[\w\]]) \+= (?={_INSIDE};)", " = "),
    ("starts at 1", r"(?<=[\w] = )0(?=[;,])", "1"),
    ("loop starts 1 later", r"(\bfor \((?:const )?\w+ \w+ = )([^;\n]+);", r"\1(\2) + 1;"),
    ("loop ends 1 earlier", r"(\bfor \([^;\n]*; \w+ < )([\w.]+)(?=;)", r"\1\2 - 1"),
    ("step + 1", rf"(\bfor \([^;\n]*;[^;\n]*; \w+ \+= )({_INSIDE})\)", r"\1(\2) + 1)"),
    ("factor 4 per step", r"(<<=|>>=) 1\b", r"\1 2"),
    ("x and y swapped", r"(threadIdx|blockDim)\.x", r"\1.y"),
    ("y and x swapped", r"(threadIdx|blockDim)\.y", r"\1.x"),
    ("32 to 31", r"\b32\b", "31"),
    ("31 to 15", r"\b31\b", "15"),
    ("no padding", r"(?<=\w) \+ \d(?=\]|;  // so that)", ""),
    ("32-bit", r"\((?:i64|u64)\)(?=[\w(])", "(int)"),
    ("32-bit variable", r"\bconst i64 (?=\w+ =)", "const int "),
)


@dataclass(frozen=True)
class Mutant:
    """A change: text[start:end] of a file becomes `new`."""

    file: str
    line: int
    operator: str
    code: str  # the line that is changed
    start: int
    end: int
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.operator}: {self.code}"

    def explained(self) -> str | None:
        """Why it may survive, if survivors.py says so."""
        for file, operator, piece, reason in SURVIVORS:
            named = file in (self.file, "*") and operator in (self.operator, "*")
            if named and piece in self.code:
                return reason
        return None


# ---------------------------------------------------------------------- mutants
def without_comments(text: str) -> str:
    """The text with blanks for comments and for lines that begin with #."""
    return re.sub(r"//[^\n]*|^[ \t]*#[^\n]*", lambda m: " " * len(m[0]), text, flags=re.MULTILINE)


def mutants(file: str) -> Iterator[Mutant]:
    """Every change that an operator makes somewhere in a file."""
    original = (cuda_sources.folder() / file).read_text()
    bare = without_comments(original)
    for operator, pattern, new in OPERATORS:
        text = original if operator == "no padding" else bare
        for found in re.finditer(pattern, text):
            line = original.count("\n", 0, found.start()) + 1
            code = original.splitlines()[line - 1].strip()
            if code == found[0]:  # alone, it does not say where
                code = f"{original.splitlines()[line - 2].strip()} {code}"
            start, end = found.span()
            yield Mutant(file, line, operator, code, start, end, found.expand(new))


def chosen(files: Iterable[str], count: int | None, seed: int) -> list[Mutant]:
    """`count` mutants of the files, in turn from every file and operator; None is all.

    They come in no order of places, so that those at the beginning are a sample, too.
    """
    groups: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for name in files:
        file, _, line = name.partition(":")
        for mutant in mutants(file):
            if not line or mutant.line == int(line):
                groups[file, mutant.operator].append(mutant)
    rng = random.Random(seed)
    for group in groups.values():
        rng.shuffle(group)
    order = sorted(groups)
    rng.shuffle(order)
    depth = max(map(len, groups.values()), default=0)
    found = [groups[key][k] for k in range(depth) for key in order if k < len(groups[key])]
    return found[:count]


def write(mutant: Mutant, folder: Path) -> None:
    """A changed copy of kernels/ in a folder."""
    shutil.copytree(cuda_sources.folder(), folder)
    path = folder / mutant.file
    text = path.read_text()
    path.write_text(text[: mutant.start] + mutant.new + text[mutant.end :])


# ---------------------------------------------------------------------- what the compiler sees
def users(file: str) -> list[str]:
    """The source files (without .cu) that a file is part of."""
    if file.endswith(".cu"):
        return [file[:-3]]
    return [
        name for name in cuda_sources.files() if f'#line 1 "{file}"' in cuda_sources.source(name)
    ]


def _compiler(folder: Path, name: str, dtype: str, *flags: str) -> str:
    """What g++ makes of kernels/NAME.cu for an element type; empty where it does not compile."""
    options = [*cuda_sources.options(np.dtype(dtype)), "-I", str(folder), *flags]
    text = (folder / f"{name}.cu").read_text()
    call = ["g++", *build.COMMON_FLAGS, *build._machine_flags(), *options, "-o", "-", "-"]
    done = subprocess.run(call, input=_dynamic(text), capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout


def _dynamic(text: str) -> str:
    """Dynamic shared memory as `build` writes it."""
    return build._DYNAMIC.sub(r"\1* const \2 = (\1*)sim_dynamic_shared();", text)


@cache
def _original(name: str, dtype: str, *flags: str) -> str:
    return _compiler(cuda_sources.folder(), name, dtype, *flags)


def dtypes_changed(mutant: Mutant, folder: Path) -> list[str]:
    """The element types for which the change is in what the preprocessor leaves."""
    user, flags = users(mutant.file)[0], ("-E", "-P")
    names = [str(dtype) for dtype in cuda_sources.SUFFIXES]
    return [d for d in names if _compiler(folder, user, d, *flags) != _original(user, d, *flags)]


def same_code(mutant: Mutant, folder: Path, dtypes: Iterable[str]) -> bool:
    """Whether the compiler makes the same machine code of the mutant as of the original."""
    flags = ("-O2", "-DSIM_CHECKED", "-include", str(build.NATIVE / "device.h"), "-S")
    for user in users(mutant.file):
        for dtype in dtypes:
            original = _original(user, dtype, *flags)
            assert original, f"{user}.cu does not compile for {dtype}"
            if _compiler(folder, user, dtype, *flags) != original:
                return False
    return True


# ---------------------------------------------------------------------- tests
KINDS = (
    ("does not compile", r"does not compile"),
    ("race", r"\brace in "),
    ("uninitialised", r"uninitialised"),
    ("bounds", r"out-of-bounds|out of bounds of an array|invalid memory access|far from every"),
    ("misaligned", r"misaligned"),
    ("barrier", r"divergent|nobody can go on|__syncthreads\(\)"),
    ("warp", r"shuffle|mask 0x|lanes of a warp"),
    ("arithmetic", r"overflow|division by zero|shift by"),
    ("count of sectors", r"wasteful|excess|\.moved"),
)


def kind_of(message: str) -> str:
    """Which check a failure's message is of."""
    return next((kind for kind, words in KINDS if re.search(words, message)), "wrong result")


class Failures:
    """A pytest plugin that keeps the first failure's test and message."""

    found: tuple[str, str] | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.found is None:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.found = (report.nodeid.rpartition("/")[2], message)


def test_files(names: str) -> list[str]:
    """The paths of test files: "reduce" is tests/backend/cuda/test_reduce.py."""
    paths = ([folder / f"test_{name}.py" for folder in TESTS] for name in names.split())
    return [str(next(path for path in found if path.exists())) for found in paths]


def chosen_tests(words: str, dtypes: set[str]) -> str:
    """The -k of the tests that run checked: not those of other element types, nor long ones."""
    unwanted = [str(dtype) for dtype in cuda_sources.SUFFIXES if str(dtype) not in dtypes]
    unwanted += [*NOT_THESE, *NOT_CHECKED]
    return f"{f'({words}) and ' if words else ''}not ({' or '.join(unwanted)})"


def _test(folder: Path, log: Path, whole: bool, files: list[str], words: str) -> None:
    """In a process of its own: the tests on a folder of kernels; the log says what failed."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(ROOT)
    cuda_sources.folder = lambda: folder
    cuda_sources.source.cache_clear()
    settings.checked = not whole
    hypothesis.settings.register_profile(
        "mutants",
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        derandomize=True,
        database=None,
    )
    hypothesis.settings.load_profile("mutants")
    failures = Failures()
    arguments = ["-x", "-q", "-p", "no:cacheprovider"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis, imported above
    arguments += ["-k", words]
    status = pytest.main([*arguments, *files], plugins=[failures])
    if status == 1 and failures.found:
        log.write_text("\n".join(failures.found))
    elif status:
        log.write_text(f"pytest\nstatus {status}")
    else:
        log.write_text("passed\n")
    os._exit(0)


def fails(folder: Path, whole: bool, names: str, words: str) -> str | None:
    """How the tests see a mutant: "race (test_reduce.py::...)"; None where they pass."""
    log = folder / ("whole.log" if whole else "quick.log")
    process = multiprocessing.get_context("fork").Process(
        target=_test, args=(folder, log, whole, test_files(names), words)
    )
    process.start()
    process.join(SECONDS["whole" if whole else "quick"])
    if process.is_alive():
        process.kill()
        process.join()
        return "hangs"
    if not log.exists():
        return f"crash (exit {process.exitcode})"
    test, message = log.read_text().split("\n", 1)
    return None if test == "passed" else f"{kind_of(message)} ({test})"


@dataclass
class Result:
    """What became of a mutant: "race (...)", "equivalent", "survived", "not simulated"."""

    mutant: Mutant
    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:5.1f} s  {self.mutant}\n         {self.outcome}"

    @property
    def kind(self) -> str:
        return self.outcome.split(" (")[0]


def judge(mutant: Mutant, room: Path, whole: bool, end: float) -> Result | None:
    """Run the tests on one mutant; None after the time `end`."""
    start = time.monotonic()
    if start > end:
        return None
    folder = Path(tempfile.mkdtemp(dir=room)) / "kernels"
    write(mutant, folder)
    outcome = _outcome(mutant, folder, whole)
    shutil.rmtree(folder.parent)
    return Result(mutant, outcome, time.monotonic() - start)


def _outcome(mutant: Mutant, folder: Path, whole: bool) -> str:
    changed = dtypes_changed(mutant, folder)
    if not changed:
        return "not simulated"
    floats = [d for d in ("float32", "float64", "float16") if d in changed]
    whole_numbers = [d for d in ("int32", "int64", "uint8", "bool") if d in changed]
    wanted = {*floats[:1], *whole_numbers[:1]}
    files, words = COVERED_BY[mutant.file]
    found = fails(folder, False, files, chosen_tests(words, wanted))
    if found:
        return found
    if same_code(mutant, folder, changed):
        return "equivalent"
    if whole and mutant.explained() is None:
        found = fails(folder, True, f"{files} coalescing steps", f"not ({' or '.join(NOT_THESE)})")
    return found or "survived"


def unmutated_failures(files: Iterable[str], room: Path, jobs: int) -> list[str]:
    """What fails with the kernels as they are: the tests have to pass before they can judge."""

    def check(covering: tuple[str, str]) -> str | None:
        names, words = covering
        folder = Path(tempfile.mkdtemp(dir=room)) / "kernels"
        shutil.copytree(cuda_sources.folder(), folder)
        found = fails(folder, False, names, chosen_tests(words, {"float32", "int32"}))
        return found and f"{names}: {found}"

    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(check, sorted({COVERED_BY[file] for file in files}))
        return [failure for failure in found if failure]


# ---------------------------------------------------------------------- the command
def table(results: list[Result]) -> str:
    """How many mutants of each file were killed by what."""
    counts = Counter((r.mutant.file, r.kind) for r in results)
    kinds = sorted({r.kind for r in results}, key=lambda k: -sum(r.kind == k for r in results))
    rows = [["", *kinds, "all"]]
    for file in [*sorted({r.mutant.file for r in results}), "all"]:
        row = [
            sum(n for (f, k), n in counts.items() if file in (f, "all") and k == kind)
            for kind in kinds
        ]
        rows.append([file, *(str(n or "") for n in row), str(sum(row))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    """Run the command; 1 where a survivor is not explained."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", nargs="+", default=sorted(COVERED_BY), metavar="FILE[:LINE]")
    parser.add_argument("--sample", type=int, help="how many mutants; all if not given")
    parser.add_argument("--operators", nargs="+", help="only these operators")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which none is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="checked tests alone")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    options = parser.parse_args()
    work = chosen(options.files, options.sample, options.seed)
    if options.operators:
        work = [m for m in work if m.operator in options.operators]
    if options.list:
        print(*work, f"{len(work)} mutants", sep="\n")
        return 0
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    room = Path(tempfile.mkdtemp(prefix="mutants-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, room, ignore_errors=True)
        compiled = shutil.ignore_patterns("*.lock", "tmp*")
        shutil.copytree(build.cache_folder(), room / "minitorch" / "sim", ignore=compiled)
        os.environ["XDG_CACHE_HOME"] = str(room)
        shutil.copytree(cuda_sources.folder(), room / "kernels")  # which may change meanwhile
        cuda_sources.folder = lambda: room / "kernels"
        failures = unmutated_failures({m.file for m in work}, room, options.jobs)
        if failures:
            print("the tests fail with the kernels as they are:", *failures, sep="\n")
            return 2
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))
        end = time.monotonic() + 60 * options.minutes
        whole = not options.quick
        jobs = [pool.submit(judge, mutant, room, whole, end) for mutant in work]
        results = []
        for job in as_completed(jobs):
            result = job.result()
            if result is not None:
                results.append(result)
                print(result, flush=True)
    results.sort(key=lambda r: (r.mutant.file, r.mutant.line))
    print("\n" + table(results) + "\n")
    unexplained = 0
    for result in results:
        if result.outcome == "survived":
            reason = result.mutant.explained()
            unexplained += reason is None
            print(f"{result.mutant}\n    {reason or 'NOT EXPLAINED'}")
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())

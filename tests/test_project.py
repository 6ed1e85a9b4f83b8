"""The house rules, read from the sources: imports, the NumPy fence, the README."""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from functools import reduce
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import minitorch
from minitorch import cli
from minitorch.backend.extras import install_hint
from tests import house
from tests.referee import require_newest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minitorch"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each line may import from itself and from the lines above it, never from below.
LAYERS = [
    "contexts core core/dtypes core/pytree recording",
    "core/device",
    "backend files boundary protocols",
    "core/grad_mode core/sparse autocasting",
    "core/tensor",
    "operands core/dispatch",
    "core/tape",
    "core/families",
    "core/engine core/function",
    "printing underived formats",
    "ops fused creation random",
    "library",
    "autograd",
    "cuda sim",
    "linalg",
    "matrices special",
    "func nn serialization symbolic testing",
    "optim data",
    "amp compiler utils",
    "profiler",
    "text train",
    "viz distributed",
    "apps",
    "devtools",
    "cli",
    "__init__ __main__",
]
RANK = {name: rank for rank, line in enumerate(LAYERS) for name in line.split()}
EXTRAS = [
    "matplotlib",
    "cupy",
    "numba",
    "threadpoolctl",
    "torch",
    "gensim",
    "sympy",
    "sklearn",
    "hypothesis",
    "pytest",
    "ot",
    "annoy",
    "hnswlib",
]
NUMPY_ALLOWED = (
    *("core/dtypes.py", "core/device.py"),  # below the backends
    *("backend/", "data/", "viz/", "apps/", "devtools/", "text/word2vec/kernels/"),
    *(
        f"text/{name}.py"
        for name in (
            *("cooccurrence", "lsa", "vocab", "io/corpus", "io/encoded", "io/model_file"),
            *("word2vec/parallel", "word2vec/shared"),
            "vector_table",  # gives out NumPy arrays, as gensim does
        )
    ),
)


def unit(path):
    """The name of the file or folder just below minitorch/ that a path belongs to; core's files."""
    first, *rest = path.relative_to(PACKAGE).parts
    if first == "core" and rest != ["__init__.py"]:
        return f"core/{rest[0].removesuffix('.py')}"
    return first.removesuffix(".py")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def walk(tree):
    """The nodes of a tree but for those that type checkers alone see."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from walk(child)


def imports(tree):
    """(line, dotted module) of every import; `from a import b` counts as a.b where that exists."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


# Public names that a room passes on from a room above it; they are imported at their first use.
REEXPORTS = {"minitorch.viz": ["minitorch.apps.playground", "minitorch.apps.projector"]}


def own_imports(path, tree):
    """(line, dotted module, unit) of every import of minitorch's own, without the re-exports."""
    listed = REEXPORTS.get(".".join(path.parent.relative_to(ROOT).parts), ())
    for line, module in imports(tree):
        target = own_unit(module)
        if target and not (path.name == "__init__.py" and module in listed):
            yield line, module, target


def own_unit(module):
    """The unit of minitorch that a dotted import names, or None for another package."""
    parts = module.split(".")
    if parts[0] != "minitorch":
        return None
    known = len(parts) > 1 and {parts[1], f"{parts[1]}.py"} & {p.name for p in PACKAGE.iterdir()}
    if not known:
        return "__init__"
    if parts[1] == "core" and len(parts) > 2:
        return f"core/{parts[2]}"
    return parts[1]


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(), feature_version=(3, 10)) for path in FILES}


def test_every_file_has_a_layer():
    assert {unit(path) for path in FILES} <= set(RANK)


def upward_imports():
    """The imports of a room from one above it."""
    return [
        f"{name_of(path)}:{line} imports {module}"
        for path in FILES
        for line, module, target in own_imports(path, ast.parse(path.read_text()))
        if RANK[target] > RANK[unit(path)]
    ]


def test_imports_go_one_way():
    assert upward_imports() == []


def test_the_core_and_its_files_are_short():
    assert house.too_long() == []


def test_daily_paths_stay_short():
    """Calls, files and switches of files on four paths, fewer than before the core had a room.

    In a process of its own: where other tests have made GPUs, word vectors' thread asks for their
    streams.
    """
    command = [sys.executable, "-m", "tests.calls"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = re.findall(r"^(.*\S) +(\d+) +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    counts = {path: tuple(map(int, numbers)) for path, *numbers in rows}
    before = {
        "x * y": (5, 4, 3),
        "(x * y).sum().backward()": (72, 12, 41),
        "F.cross_entropy(model(x), y)": (41, 10, 24),
        "Word2Vec.train": (872, 36, 403),
    }
    assert counts.keys() == before.keys()
    for path, found in counts.items():
        assert all(a < b for a, b in zip(found, before[path], strict=True)), (path, found)


def test_no_list_of_names_is_kept_twice():
    assert house.kept_twice() == []


def test_a_list_that_is_kept_twice_is_found(tmp_path):
    names = [f"name_{i}" for i in range(10)]
    (tmp_path / "a.py").write_text(f"__all__ = {names}\n")
    (tmp_path / "b.py").write_text(f"from a import {', '.join(names[:8])}\n")
    (tmp_path / "c.py").write_text(f"NAMES = '{' '.join(names[:7])}'\n")
    assert house.kept_twice(tmp_path) == ["a.py:1 and b.py:1 share 8 names"]


def test_the_script_prints_each_room_and_fails_with_what_is_wrong():
    command = [sys.executable, "-m", "tests.house"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert {line.split()[0] for line in done.stdout.splitlines()} >= {"core", "nn", "text", "all"}
    wrong = [*house.too_long(), *house.kept_twice(), *upward_imports()]
    assert done.stderr.splitlines() == wrong
    assert done.returncode == bool(wrong)


def test_no_import_circle(trees):
    graph = {}
    for path, tree in trees.items():
        targets = {target for *_, target in own_imports(path, tree)} - {unit(path)}
        graph.setdefault(unit(path), set()).update(targets)
    TopologicalSorter(graph).prepare()


def test_re_exports_are_what_they_name():
    for package, modules in REEXPORTS.items():
        room = importlib.import_module(package)
        for module in modules:
            name = module.rpartition(".")[2]
            assert name in room.__all__
            assert getattr(room, name) is importlib.import_module(module)


# What is only imported when somebody asks for its device, or has Numba.
LAZY = (
    "minitorch.backend.sim",
    "minitorch.text.word2vec.kernels.blockwise",
    "minitorch.backend.cpu.compiled_optim",
    "minitorch.text.word2vec.kernels.wordwise",
    "minitorch.text.word2vec.kernels.cuda",
)


def test_no_import_of_minitorch_in_a_function(trees):
    hidden = [
        f"{name_of(path)}:{line} imports {module}"
        for path, tree in trees.items()
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for line, module in imports(function)
        if own_unit(module) and module not in LAZY
    ]
    assert hidden == []


def test_numpy_stays_below_the_fence(trees):
    inside = [
        f"{name_of(path)}:{line}"
        for path, tree in trees.items()
        if not path.relative_to(PACKAGE).as_posix().startswith(NUMPY_ALLOWED)
        for line, module in imports(tree)
        if module.split(".")[0] in ("numpy", "cupy")
    ]
    assert inside == []


def test_base_install_imports_no_extra():
    """`import minitorch` and the command need none of the optional packages."""
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import minitorch, minitorch.cli, minitorch.utils.data
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


# What `import minitorch` leaves to those who use it: it costs more than a millisecond to import.
HEAVY = [
    *(
        "scipy.special",
        "scipy.sparse",
        "safetensors",
        "tqdm",
        "cupy",
        "matplotlib",
        "threadpoolctl",
    ),
    *("multiprocessing", "concurrent.futures", "asyncio", "subprocess", "urllib.request", "http"),
    *("unittest", "numpy.testing", "numpy.ma", "minitorch.backend.sim", "minitorch.backend.cuda"),
    *("minitorch.cuda", "minitorch.sim", "minitorch.text", "minitorch.train", "minitorch.viz"),
    *("minitorch.apps", "minitorch.devtools"),
]


def test_the_import_leaves_heavy_modules_alone():
    script = f"""
import sys, numpy
numpys = set(sys.modules)
import minitorch
print([name for name in {HEAVY} if name in sys.modules and name not in numpys])
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def readme():
    return (ROOT / "README.md").read_text()


def test_readme_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        if '"sim"' not in snippet or shutil.which("g++"):
            exec(compile(snippet, "README.md", "exec"), {})


def test_readme_commands_are_make_targets_or_minitorch():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", readme(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", readme())
    assert sum(link.startswith("examples/pictures/") for link in links) == 3
    links += re.findall(r"`((?:minitorch|kernels|examples|tests|benchmarks)/[\w/.-]*)`", readme())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_reads_the_core_in_the_order_of_its_docstring():
    (order,) = re.findall(r"in this order[^:]*: (.*?)\.", readme(), re.DOTALL)
    docstring = ast.get_docstring(ast.parse((PACKAGE / "core" / "__init__.py").read_text()))
    stated = re.findall(r"^    (\w+) ", docstring, re.MULTILINE)
    assert re.findall(r"`(\w+)`", order) == stated
    files = {path.stem for path in (PACKAGE / "core").glob("*.py")} - {"__init__"}
    assert sorted(stated) == sorted(files)


def test_readme_says_how_much_of_pytorch_there_is():
    import torch  # a referee

    require_newest()
    rows = re.findall(r"^\| `torch\.?([\w.]*)` \| (\d+) \| (\d+) \|$", readme(), re.MULTILINE)
    assert len(rows) == 7
    for name, ours, theirs in rows:
        parts = name.split(".") if name else []
        found = [public_callables(reduce(getattr, parts, root)) for root in (minitorch, torch)]
        assert (int(ours), int(theirs)) == (len(found[0] & found[1]), len(found[1])), (
            name or "torch"
        )


def public_callables(namespace):
    return {n for n in dir(namespace) if n[0] != "_" and callable(getattr(namespace, n))}


def test_readme_begins_with_installing_the_clone():
    text = readme()
    assert re.findall(r"^## .*$", text, re.MULTILINE)[0] == "## Installing"
    (first, *_) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert [line.split()[0] for line in first.splitlines()] == [
        *("git", "cd", "python3", ".", "pip", "minitorch")
    ]


def test_readme_commands_parse():
    text = readme()
    lines = re.findall(r"^minitorch .*$", text, re.MULTILINE)
    commands = [shlex.split(line, comments=True)[1:] for line in lines]
    assert len(commands) >= 7
    for words in commands:
        cli._parser().parse_args(words)


def test_hints_to_install_name_what_a_clone_has():
    """No index has the distribution: a hint names the clone's folder, and an extra that it has."""
    extras = (ROOT / "pyproject.toml").read_text().partition("optional-dependencies]")[2]
    known = set(re.findall(r"^(\w+) = \[", extras.partition("\n[")[0], re.MULTILINE))
    package = {path: path.read_text() for path in FILES}
    hints = re.findall(r"\binstall_hint\(['\"](\w+)['\"]\)", "".join(package.values()))
    assert set(hints) >= {"viz", "graph", "numba", "cuda12", "kernels", "symbolic", "mkl"}
    texts = [*package.values(), readme()]
    texts += [path.read_text() for path in (ROOT / "examples").rglob("*.py")]
    for extra in [*hints, *re.findall(r"pip install -e ['\"]\.\[([\w,]+)\]", "".join(texts))]:
        assert set(extra.split(",")) <= known, extra
    for text in texts:
        assert "minitorch-cupy[" not in text
    assert install_hint("viz") == 'pip install -e ".[viz]" in the clone of minitorch'


def test_make_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    listed = subprocess.run(["make", "-s"], cwd=ROOT, check=True, capture_output=True, text=True)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for target in phony.split():
        assert f"make {target} " in listed.stdout


# Tests that are about the cpu alone: every other test must pass on every device.
CPU_ONLY: dict[str, str] = {}


def test_the_tests_of_the_cpu_alone_are_these():
    marked, marks = {}, 0
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT / "tests").as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            marks += isinstance(node, ast.Attribute) and node.attr == "cpu_only"
            for mark in getattr(node, "decorator_list", []):
                if ast.unparse(mark).startswith("pytest.mark.cpu_only("):
                    marked[f"{file}::{node.name}"] = mark.args[0].value
    assert marked == CPU_ONLY
    assert marks == len(marked), "the mark stands on functions and classes only"


MARKED_TEST = """
import pytest
@pytest.mark.cpu_only("it looks at NumPy's arrays")
def test_cpu(): assert False
def test_other(device):
    import minitorch
    assert minitorch.zeros(1).device.type == device
"""


def run_tests(folder, text, *options):
    """Run a file of tests under the conftest of this suite."""
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_some.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = cpu_only\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_test_of_the_cpu_alone_is_skipped_elsewhere(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    done = run_tests(tmp_path, MARKED_TEST, "--device", "sim")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "about the cpu only: it looks at NumPy's arrays" in done.stdout
    assert run_tests(tmp_path, MARKED_TEST).returncode == 1


def test_a_device_that_is_missing_stops_the_suite_at_once(tmp_path):
    done = run_tests(tmp_path, MARKED_TEST, "--device", "warp")
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].startswith("ERROR: device: expected one of cpu, cuda, sim")


SKIPPED_TEST = """
import pytest
@pytest.mark.skip(reason="gensim is not installed")
def test_referee(): pass
@pytest.mark.skip(reason="only on Windows")
def test_other(): pass
"""
SKIPPED_MODULE = """
import pytest
pytest.skip("no sympy", allow_module_level=True)
"""


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        (SKIPPED_TEST, [], 0),
        (SKIPPED_TEST, ["--require-referees"], 1),
        (SKIPPED_TEST, ["--require-referees", "-k", "other"], 0),
        (SKIPPED_MODULE, [], 5),
        (SKIPPED_MODULE, ["--require-referees"], 2),
    ],
)
def test_a_skipped_referee_fails_where_referees_are_required(tmp_path, text, options, status):
    done = run_tests(tmp_path, text, *options)
    assert done.returncode == status, done.stdout + done.stderr


def test_the_package_makes_tensors_of_arrays_by_tensor_of():
    """`Tensor(...)` is the users' constructor: it would copy an array into the default dtype."""
    for path in sorted((ROOT / "minitorch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "Tensor"), (
                f"{path.name}:{node.lineno}: use tensor_of(array)"
            )

"""The house rules, read from the sources: imports, the NumPy fence, the README."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minitorch"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each line may import from itself and from the lines above it, never from below.
LAYERS = [
    "backend",
    "dtypes tensor printing",
    "operands views",
    "rules",
    "ops fused creation random",
    "autograd",
    "cuda sim",
    "func nn serialization testing",
    "optim data",
    "compile utils",
    "text train",
    "viz distributed",
    "kernel_commands",
    "cli",
    "__init__ __main__",
]
RANK = {name: rank for rank, line in enumerate(LAYERS) for name in line.split()}
EXTRAS = ["matplotlib", "cupy", "torch", "gensim", "sympy", "sklearn", "hypothesis", "pytest"]
NUMPY_ALLOWED = ("backend/", "data/", "viz/", "text/corpus.py", "text/vocab.py")


def unit(path):
    """The name of the file or folder just below minitorch/ that a path belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def imports(tree):
    """(line, dotted module) of every import; `from a import b` counts as a.b where that exists."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def own_unit(module):
    """The unit of minitorch that a dotted import names, or None for another package."""
    parts = module.split(".")
    if parts[0] != "minitorch":
        return None
    known = len(parts) > 1 and {parts[1], f"{parts[1]}.py"} & {p.name for p in PACKAGE.iterdir()}
    return parts[1] if known else "__init__"


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(), feature_version=(3, 10)) for path in FILES}


def test_every_file_has_a_layer():
    assert {unit(path) for path in FILES} <= set(RANK)


def test_imports_go_one_way(trees):
    backwards = [
        f"{name_of(path)}:{line} imports {module}"
        for path, tree in trees.items()
        for line, module in imports(tree)
        if (target := own_unit(module)) and RANK[target] > RANK[unit(path)]
    ]
    assert backwards == []


def test_no_import_circle(trees):
    graph = {}
    for path, tree in trees.items():
        targets = {own_unit(module) for _, module in imports(tree)} - {None, unit(path)}
        graph.setdefault(unit(path), set()).update(targets)
    TopologicalSorter(graph).prepare()


# What is only imported when somebody asks for its device.
LAZY = ("minitorch.backend.sim",)


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


def test_readme_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})


def test_readme_commands_are_make_targets_or_minitorch():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_make_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    listed = subprocess.run(["make", "-s"], cwd=ROOT, check=True, capture_output=True, text=True)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for target in phony.split():
        assert f"make {target} " in listed.stdout


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
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_skips.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr

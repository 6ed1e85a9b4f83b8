"""Documentation: every public name has a docstring; examples there and in the guides hold."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minitorch
import minitorch.data
import minitorch.text
from minitorch import nn, optim

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "examples" / "guides"


def modules():
    """All modules of the package."""
    found = pkgutil.walk_packages(minitorch.__path__, "minitorch.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return [minitorch, *map(importlib.import_module, names)]


def public(module):
    """(name, object) of what a module lists in `__all__`, or else defines without an underscore."""
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", [n for n in own if not n.startswith("_")]):
        value = getattr(module, name)
        if callable(value) and getattr(value, "__module__", "").startswith("minitorch"):
            yield f"{module.__name__}.{name}", value


def members(name, kind):
    """(name, object) of a class's own methods and properties without an underscore."""
    fields = getattr(kind, "__dataclass_fields__", {})  # the class tells of those
    for member, value in vars(kind).items():
        value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not member.startswith("_") and member not in fields:
            if inspect.isfunction(value):
                yield f"{name}.{member}", getattr(kind, member)
            elif isinstance(value, property):
                yield f"{name}.{member}", value


def says_nothing(value):
    """Whether help() says nothing of it, or what a dataclass or a named tuple says by itself."""
    if inspect.isclass(value):
        text = value.__doc__ or ""
        return not text.strip() or text.startswith(f"{value.__name__}(")
    return not (inspect.getdoc(value) or "").strip()  # a method may have that of its base class


def test_every_public_name_has_a_docstring():
    empty = [module.__name__ for module in modules() if not (module.__doc__ or "").strip()]
    seen = 0
    for module in modules():
        for name, value in public(module):
            found = [(name, value), *(members(name, value) if inspect.isclass(value) else ())]
            seen += len(found)
            empty += [name for name, value in found if says_nothing(value)]
    assert seen > 1000
    assert empty == []


# ---------------------------------------------------------------------- examples
class Checker(doctest.OutputChecker):
    """Examples show neither the device of a tensor nor the module of an error."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r", device='\w+:0'", "", got)
        got = re.sub(r"^minitorch\.[\w.]+\.(\w+: )", r"\1", got)
        return super().check_output(want, got, optionflags)


FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_example(example):
    """Run a doctest; a difference is an error that shows it."""
    complaints = []
    runner = doctest.DocTestRunner(Checker(), optionflags=FLAGS, verbose=False)
    runner.run(example, out=complaints.append, clear_globs=False)
    assert not complaints, "".join(complaints)


def docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        yield from (found for found in finder.find(module) if found.examples)


def test_examples_in_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {example.name: example for example in docstring_examples()}
    assert len(found) >= 30
    for example in found.values():
        minitorch.manual_seed(0)
        example.globs = {"minitorch": minitorch, "nn": nn, "F": nn.functional, "optim": optim}
        run_example(example)


def blocks(name):
    """(line, language, text) of a guide's blocks of code."""
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, block.start()) + 1, *block.groups()


def run_block(name, line, language, text, namespace):
    if language == "python":
        exec(compile("\n" * line + text, f"{name}.md", "exec"), namespace)
    elif language == "pycon":
        parser = doctest.DocTestParser()
        example = parser.get_doctest(text, {}, f"{name}.md", f"{name}.md", line)
        example.globs = namespace
        run_example(example)


@pytest.mark.parametrize(
    "name", ["autograd", "own_op", "devices", "word_vectors", "compiled_steps"]
)
def test_a_guide(name, own_ops, tmp_path, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "guide"}
    for line, language, text in blocks(name):
        run_block(name, line, language, text, namespace)
    assert len(namespace) > 2


# ---------------------------------------------------------------------- how to add something
def changes():
    """(section, path, hunks) of `adding.md`: a hunk is (lines there, lines instead), of a new file
    its text."""
    text = (GUIDES / "adding.md").read_text(encoding="utf-8")
    change = re.compile(
        r"^`([\w/.]+)`(, a new file)?\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL
    )
    for section in text.split("\n## ")[1:]:
        for path, new, block in change.findall(section):
            yield section.partition("\n")[0], path, block if new else hunks(block)


def hunks(block):
    for hunk in block.split("@@\n"):
        lines = hunk.splitlines()
        assert all(line[0] in " +-" for line in lines), hunk
        before, after = (
            "".join(f"{s[1:]}\n" for s in lines if s[0] in kept) for kept in (" -", " +")
        )
        yield before, after


@pytest.fixture(scope="module")
def changed_copy(tmp_path_factory):
    """A copy of the package to which everything that `adding.md` adds was added."""
    folder = tmp_path_factory.mktemp("adding")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("minitorch", "kernels"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for _, name, change in changes():
        path = folder / name
        if isinstance(change, str):
            assert not path.exists(), f"{name} is not new"
            path.write_text(change, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        for before, after in change:
            assert text.count(before) == 1, f"adding.md: not once in {name}:\n{before}"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")
    return folder


def test_what_the_guide_adds_works(device, changed_copy):
    """On the device under test: asinh, a layer, Lion, a fused op; in a process of its own."""
    script = f"""
from tests.test_docs import blocks, run_block
import minitorch
assert minitorch.__file__.startswith({str(changed_copy)!r})
minitorch.set_default_device({device!r})
namespace = {{}}
for line, language, text in blocks("adding"):
    if language == "pycon":
        run_block("adding", line, language, text, namespace)
assert {{"norm", "optimizer", "log_cosh"}} <= namespace.keys()
"""
    environment = os.environ | {"PYTHONPATH": f"{changed_copy}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=changed_copy, check=True)


def test_what_is_added_touches_few_files_of_the_library():
    named = {section: set() for section, *_ in changes()}
    for section, path, _ in changes():
        named[section] |= {path} if path.startswith("minitorch/") else set()
    assert {s: len(paths) for s, paths in named.items()} == {
        "An op": 3,  # and the stub
        "A layer": 1,
        "An optimizer": 2,
        "A kernel": 3,
    }


def test_the_code_that_the_guide_adds_is_formatted():
    for _, path, change in changes():
        added = change if isinstance(change, str) else "".join(after for _, after in change)
        assert max(map(len, added.splitlines())) <= 100, path
        if isinstance(change, str) and path.endswith(".py"):
            ast.parse(change)


def test_paths_that_the_guides_name_are_there():
    new = {path for _, path, change in changes() if isinstance(change, str)}
    for guide in GUIDES.glob("*.md"):
        text = guide.read_text(encoding="utf-8")
        named = set(re.findall(r"`((?:minitorch|kernels|examples|tests)/[\w/.]*)`", text))
        assert [path for path in named - new if not (ROOT / path).exists()] == []
        links = re.findall(r"\]\(([^):]+)\)", text)
        assert [link for link in links if not (GUIDES / link).exists()] == []


def test_the_list_of_guides_is_complete():
    from examples.guides import build

    assert sorted(build.GUIDES) == sorted(path.stem for path in GUIDES.glob("*.md"))
    index = (GUIDES / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+)\.md\)", index) == build.GUIDES[1:]
    assert {"minitorch", "minitorch.nn", "minitorch.sim", "minitorch.library"} <= set(build.rooms())


def test_the_reference_shows_what_classes_inherit():
    """A base class in a file of its own has no page, so that its methods stand with the class."""
    pytest.importorskip("pdoc", reason="pdoc is not installed: `make docs` does that")
    from examples.guides import build

    page = build.reference()["minitorch.text"]
    for kind, names in (
        ("KeyedVectors", {"load", "most_similar", "vectors"}),
        ("Word2Vec", {"train", "save", "load", "score", "vector_size"}),
    ):
        assert names <= {member.name for member in page.get(kind).own_members}

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
class OnAnyDevice(doctest.OutputChecker):
    """A tensor on another device than the cpu prints it, which examples do not show."""

    def check_output(self, want, got, optionflags):
        return super().check_output(want, re.sub(r", device='\w+:0'", "", got), optionflags)


FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_example(example):
    """Run a doctest; a difference is an error that shows it."""
    complaints = []
    runner = doctest.DocTestRunner(OnAnyDevice(), optionflags=FLAGS, verbose=False)
    runner.run(example, out=complaints.append, clear_globs=False)
    assert not complaints, "".join(complaints)


def docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        yield from (found for found in finder.find(module) if found.examples)


def test_examples_in_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {example.name: example for example in docstring_examples()}
    assert len(found) >= 20
    for example in found.values():
        minitorch.manual_seed(0)
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

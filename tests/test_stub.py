"""tensor.pyi says what tensor.py defines and what the op table installs, no more and no less."""

import ast
import inspect
from inspect import Parameter
from pathlib import Path

import pytest

import minitorch

runtime = inspect.getmodule(minitorch.Tensor)  # minitorch.tensor is a function
STUB = ast.parse(Path(runtime.__file__).with_suffix(".pyi").read_text())
CLASSES = {
    node.name: node
    for node in STUB.body
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
}


class _Plain:
    """What Python itself puts into a class."""

    x: int

    def __init__(self):
        self.x = 1


NOT_IN_STUBS = {*vars(_Plain), "__slots__", "__new__", "__orig_bases__"} - {"__init__"}


def declared(body):
    """What a body of the stub declares: {name: its functions (overloads), or None}."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(d).split(".")[-1] for d in node.decorator_list}
            functions = found.setdefault(node.name, [])
            if decorators & {"property", "setter"}:
                found[node.name] = None
            else:
                functions.append(node)
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = None
        elif isinstance(node, ast.ClassDef):
            found[node.name] = None
    return found


def parameters_of_stub(function):
    """[(name, kind, default as text)] without self."""
    a = function.args
    assert not a.posonlyargs
    found = []
    defaults = [None] * (len(a.args) - len(a.defaults)) + a.defaults
    for arg, default in zip(a.args, defaults, strict=True):
        found.append((arg.arg, Parameter.POSITIONAL_OR_KEYWORD, default))
    if a.vararg:
        found.append((a.vararg.arg, Parameter.VAR_POSITIONAL, None))
    for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        found.append((arg.arg, Parameter.KEYWORD_ONLY, default))
    if a.kwarg:
        found.append((a.kwarg.arg, Parameter.VAR_KEYWORD, None))
    found = [(n, k, Parameter.empty if d is None else ast.literal_eval(d)) for n, k, d in found]
    return found[1:] if found and found[0][0] == "self" else found


def parameters_of_runtime(function, method=True):
    """The same of a function; a method's first parameter, whatever its name, is left out."""
    found = [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
    return found[1:] if method else found


def check(name, functions, actual, method=True):
    """The stub's functions (several where overloaded) take what the function takes."""
    if name.startswith("new_"):  # these pass on to the function that makes a tensor
        actual, method = getattr(minitorch, name.removeprefix("new_")), False
    parameters = parameters_of_runtime(actual, method)
    if [kind for _, kind, _ in parameters] in (
        [Parameter.VAR_KEYWORD],
        [Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD],
    ):
        return  # a generic function: it says nothing about its parameters
    if name.startswith("__"):  # of operators only the number counts
        needed = [p for p in parameters if p[2] is Parameter.empty]
        for function in functions:
            stub = [p for p in parameters_of_stub(function) if p[2] is Parameter.empty]
            assert len(stub) == len(needed), f"{name}: {stub} in the stub, {needed} at run time"
    elif len(functions) == 1:
        assert parameters_of_stub(functions[0]) == parameters, name
    else:  # each overload takes some of the parameters, all of them together take every one
        taken = [[p[0] for p in parameters_of_stub(f)] for f in functions]
        names = [p[0] for p in parameters]
        for overload in taken:
            assert overload == [n for n in names if n in overload], name
        assert {n for overload in taken for n in overload} == set(names), name


def test_the_module_and_its_stub_define_the_same_names():
    stub = {n for n in declared(STUB.body) if not n.startswith("_")}
    actual = {
        name
        for name, value in vars(runtime).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == runtime.__name__
    }
    actual -= {"P", "R"}  # type variables
    assert stub == actual


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_and_its_stub_have_the_same_members(name):
    stub = set(declared(CLASSES[name].body))
    actual = set().union(*(vars(c) for c in getattr(runtime, name).__mro__ if c is not object))
    instance = {"id", "mode", "_hooks", "_previous", "_next"}  # set by __init__, or private
    assert stub - actual - instance == set()
    assert actual - stub - instance - NOT_IN_STUBS == set()


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_what_the_stub_says(name):
    for method, functions in declared(CLASSES[name].body).items():
        actual = inspect.getattr_static(getattr(runtime, name), method, None)
        if functions:
            assert inspect.isfunction(actual) or method == "__hash__", method
            check(method, functions, actual)
        elif functions is None:
            assert not inspect.isfunction(actual), f"{method} is a method, not an attribute"


def test_functions_take_what_the_stub_says():
    for name, functions in declared(STUB.body).items():
        if functions:
            check(name, functions, getattr(runtime, name), method=False)

"""tensor.pyi is what `make stub` makes of tensor.py and of what the op table installs."""

import inspect

import pytest

import minitorch
from tests import stub


def test_the_stub_is_the_one_that_is_made():
    made = stub.stub()
    assert stub.PATH.read_text(encoding="utf-8") == made, "run `make stub`"
    compile(made, stub.PATH.name, "exec")


def test_a_method_is_declared_as_its_function_is(monkeypatch):
    def cbrt(input: minitorch.Tensor, *, scale: "float" = 1) -> "minitorch.Tensor":
        return input

    assert "cbrt" not in stub.stub()
    cbrt.__annotations__["return"] = "Tensor"
    monkeypatch.setattr(minitorch.Tensor, "cbrt", cbrt, raising=False)
    assert "    def cbrt(self, *, scale: _float = 1) -> Tensor: ...\n" in stub.stub()


@pytest.mark.parametrize("name", stub.ATTRIBUTES)
def test_a_class_has_the_attributes_that_the_stub_lists(name):
    kind = getattr(stub.MODULE, name)
    listed = set(stub.ATTRIBUTES[name])
    plain = {"__module__", "__doc__", "__slots__", "__dict__", "__weakref__", "__annotations__"}
    plain |= {"__firstlineno__", "__static_attributes__"}
    own = {
        n
        for n, value in vars(kind).items()
        if not (inspect.isroutine(value) or isinstance(value, property))
    }
    assert {n for n in own - plain if n != "_next"} <= listed
    assert listed - own <= {"id"}  # which __init__ sets

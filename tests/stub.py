"""The stub of core/tensor.py, made of what its classes have once everything is imported.

python -m tests.stub

It writes minitorch/core/tensor.pyi; test_stub.py compares the file with what is made here. The
signatures are those of the functions on Tensor. Where one says Any, the parameter's name says what
it takes (ANY). What returns this or that stands in OVERLOADS.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minitorch
from minitorch import creation

MODULE = inspect.getmodule(minitorch.Tensor)
assert MODULE is not None and MODULE.__file__ is not None
PATH = Path(MODULE.__file__).with_suffix(".pyi")
WIDTH = 100
HEAD = """\
# Made by `make stub`: what importers of tensor.py see, its own definitions and what modules above
# it install on Tensor. `make lint` checks the code of tensor.py itself as well.
#
# Tensor has methods called `bool`, `float` and `int`, so these types go by other names here.

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

from minitorch.core.device import Device
from minitorch.core.dtypes import Array, Size
from minitorch.core.dtypes import dtype as Dtype
from minitorch.core.sparse import RowGrad
from minitorch.ops.reduce import Extremes, Reduced
from minitorch.random import Generator

__all__ = ["Tensor"]

_bool: TypeAlias = bool
_float: TypeAlias = float
_int: TypeAlias = int
_Dims: TypeAlias = int | Sequence[int] | None
_Device: TypeAlias = Device | str | None
_DtypeLike: TypeAlias = Dtype | type | None
_Operand: TypeAlias = Tensor | float
Saved: TypeAlias = tuple[Array, Node | None, list[Any] | None, int]
"""
ATTRIBUTES = {
    "Node": {
        "op": "Any",
        "parents": "tuple[Node | None, ...]",
        "saved": "Any",
        "params": "Any",
        "shape": "tuple[_int, ...]",
        "grad": "Any",
        "hooks": "dict[_int, Callable[[Any], Any]] | None",
        "retain": "_bool",
        "trace": "tuple[Any, ...]",
        "version_checked": "tuple[Any, ...]",
    },
    "RemovableHandle": {"id": "_int"},
    "Tensor": {
        "_base": "Tensor",
        "_grad": "Any",
        "_member": "Any",
        "array": "Array",
        "node": "Node | None",
        "version": "list[Any]",
        "__array_ufunc__": "None",
    },
}
# What a parameter takes that is annotated as Any, by its name, or by method and name.
ANY = {
    **dict.fromkeys(("other", "exponent", "value", "values", "src"), "_Operand"),
    **dict.fromkeys(("min", "max"), "_Operand | None"),
    **dict.fromkeys(("histc.min", "histc.max"), "_float"),
    **dict.fromkeys(("dim", "dims"), "_Dims"),
    **dict.fromkeys(("shifts", "split_size_or_sections"), "_int | Sequence[_int]"),
    "to.args": "Tensor | Dtype | Device | type | str | _bool",
    "device": "_Device",
    "dtype": "_DtypeLike",
    "generator": "Generator | None",
    "inputs": "Tensor | Sequence[Tensor] | None",
    "protocol": "SupportsIndex",
    "__array__.dtype": "Any",
    "__setitem__.value": "Any",
    "bernoulli_.p": "_Operand",
    "copy_.src": "Any",
    **dict.fromkeys(("flip.dims", "permute.dims", "permute_dims.dims"), "Any"),
    "cuda.device": "_Device | _int",
    "lerp.weight": "_Operand",
    **dict.fromkeys(("scatter.src", "scatter_.src"), "_Operand | None"),
}
# Types that go by another name here than where they are used.
TYPES = {"Dims": "_Dims", "DeviceLike": "_Device", "dtype": "Dtype", "dtypes.dtype": "Dtype"}
EXTREME = [
    "(self, dim: Tensor | None = None) -> Tensor",
    "(self, dim: _int, keepdim: _bool = False) -> Reduced",
]
OVERLOADS = {
    "size": ["(self, dim: None = None) -> Size", "(self, dim: _int) -> _int"],
    "stride": ["(self, dim: None = None) -> tuple[_int, ...]", "(self, dim: _int) -> _int"],
    "nonzero": [
        "(self, *, as_tuple: Literal[False] = False) -> Tensor",
        "(self, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]",
    ],
    "unique": [
        "(self, sorted: _bool = True, return_inverse: Literal[False] = False, "
        "return_counts: Literal[False] = False, dim: _int | None = None) -> Tensor",
        "(self, sorted: _bool = True, return_inverse: _bool = False, "
        "return_counts: _bool = False, dim: _int | None = None) -> Any",
    ],
    "max": EXTREME,
    "min": EXTREME,
    "__iter__": ["(self) -> Iterator[Tensor]"],
    "__reversed__": ["(self) -> Tensor"],
    "__copy__": ["(self) -> Tensor"],
    "__deepcopy__": ["(self, memo: dict[_int, Any]) -> Tensor"],
    "_cat": ["(self, *others: Tensor, dim: _int = 0) -> Tensor"],
}
BITWISE = ("__rand__", "__ror__", "__rxor__", "__rlshift__", "__rrshift__")


def type_of(annotation: Any, method: str, parameter: str = "") -> str:
    """An annotation as it stands in the stub."""
    text = "Any" if annotation is inspect.Parameter.empty else str(annotation)
    if text == "Any" and parameter:
        text = ANY.get(f"{method}.{parameter}", ANY.get(parameter, text))
    text = re.sub(r"(?<![\w.])(bool|int|float)\b", r"_\1", text)
    return re.sub(r"[\w.]+", lambda m: TYPES.get(m[0], m[0]), text)


def parameters_of(method: str, function: Any) -> list[str]:
    """A method's parameters behind `self`, and the stars among them."""
    if method.startswith("new_"):  # which passes on to the function that makes a tensor
        given = inspect.signature(getattr(creation, method.removeprefix("new_"))).parameters
        found = list(given.values())
    else:
        found = list(inspect.signature(function).parameters.values())[1:]
        found = [p for p in found if p.name != "out"]  # which functions alone take
    texts: list[str] = []
    starred = False
    for p in found:
        if p.kind is p.KEYWORD_ONLY and not starred:
            texts.append("*")
        starred = starred or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        text = f"{stars}{p.name}: {type_of(p.annotation, method, p.name)}"
        texts.append(text if p.default is p.empty else f"{text} = {quoted(p.default)}")
    return texts


def quoted(default: Any) -> str:
    if callable(default):
        return "..."
    return f'"{default}"' if isinstance(default, str) else repr(default)


def operator(name: str, function: Any) -> tuple[list[str], str]:
    """Parameters and result of an operator, whose arguments come by position."""
    count = len(inspect.signature(function).parameters.keys() - {"out"}) - 1
    other = "_Operand"
    if re.match(r"__r(?!shift)\w+__", name):
        other = "_int" if name in BITWISE else "_float"
    if name == "__matmul__":
        other = "Tensor"
    return [f"other: {other}"] if count else [], "Tensor"


def laid_out(name: str, parameters: list[str], result: str, indent: str, remark: str) -> str:
    """A function without a body, in the project's format."""
    line = f"{indent}def {name}({', '.join(parameters)}) -> {result}: ...{remark}"
    if len(line) - len(remark) <= WIDTH:
        return line
    inner = ", ".join(parameters)
    if len(indent) + 4 + len(inner) <= WIDTH:
        return f"{indent}def {name}(\n{indent}    {inner}\n{indent}) -> {result}: ..."
    listed = "".join(f"\n{indent}    {p}," for p in parameters)
    return f"{indent}def {name}({listed}\n{indent}) -> {result}: ..."


def methods(kind: type) -> Iterator[str]:
    """The lines of what a class and its bases have."""
    members: dict[str, Any] = {}
    for each in kind.__mro__[-2::-1]:
        members |= vars(each)
    for name, value in members.items():
        if isinstance(value, property):
            yield from of_property(name, value)
        elif name in OVERLOADS:
            for text in OVERLOADS[name]:
                inner, result = text[1:].split(") -> ")
                if len(OVERLOADS[name]) > 1:
                    yield "    @overload"
                yield laid_out(name, re.split(r", (?![^\[]*\])", inner), result, "    ", "")
        elif name == "__hash__":
            yield "    def __hash__(self) -> _int: ..."
        elif inspect.isfunction(value):
            yield of_method(kind, name, value)


def of_method(kind: type, name: str, value: Callable[..., Any]) -> str:
    function = inspect.unwrap(value)
    own = function.__qualname__ in [f"{each.__name__}.{name}" for each in kind.__mro__]
    remark = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
    if name.startswith("__") and not own and name not in NAMED:
        parameters, result = operator(name, function)
    else:
        parameters = parameters_of(name, function)
        result = type_of(inspect.signature(function).return_annotation, name)
    return laid_out(name, ["self", *parameters], result, "    ", remark)


NAMED = ("__init__", "__repr__", "__getitem__", "__setitem__")  # whose parameters have names


def of_property(name: str, value: property) -> Iterator[str]:
    result = type_of(value.fget.__annotations__["return"], name)  # type: ignore[union-attr]
    yield "    @property"
    yield f"    def {name}(self) -> {result}: ..."
    if value.fset is not None:
        given = next(iter(value.fset.__annotations__.values()))
        yield f"    @{name}.setter"
        yield f"    def {name}(self, value: {type_of(given, name, 'tensor')}) -> None: ..."


def stub() -> str:
    """The text of the stub."""
    lines = [HEAD]
    for name, value in vars(MODULE).items():
        if getattr(value, "__module__", "") != MODULE.__name__ or name.startswith("_"):
            continue
        if inspect.isclass(value):
            lines.append(f"class {name}:")
            lines += [f"    {n}: {t}" for n, t in ATTRIBUTES[name].items()]
            lines += [*methods(value), ""]
        else:
            signature = inspect.signature(value)
            parameters = [
                f"{p.name}: {type_of(p.annotation, name)}"
                + ("" if p.default is p.empty else f" = {p.default!r}")
                for p in signature.parameters.values()
            ]
            result = type_of(signature.return_annotation, name)
            lines.append(laid_out(name, parameters, result, "", ""))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")

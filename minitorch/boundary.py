"""The boundary of the library: wrong arguments become errors that name function and argument.

A function that is given a list for a tensor fails where it first uses the list, with an
AttributeError that says nothing to its caller. Functions do not check their arguments for that,
which would take time in every call. `guarded` translates such errors when they leave the public
function; operators and methods of tensors that take no other tensor are not guarded.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cache, wraps
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from minitorch.backend import OutOfMemoryError

_ACCIDENTS = (AttributeError, KeyError, OverflowError, ZeroDivisionError, MemoryError)
_NAMED = re.compile(r"[\w.\[\]]+: |device '")
_OURS = {"minitorch", "numpy", "scipy", "safetensors", "tqdm", "matplotlib", "sympy"}


def guarded(function: Any, module: str | None = None) -> Any:
    """The same function or class, whose accidents are TypeErrors, ValueErrors or RuntimeErrors.

    module: the module that exports it, if another one defines it.
    """
    if inspect.isclass(function):
        if "__init__" in vars(function):
            init = guarded(vars(function)["__init__"])
            type.__setattr__(function, "__init__", init)
        return function
    if hasattr(function, "guarded") or hasattr(function, "op"):  # ops look at their operands
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _ACCIDENTS as error:
            if _called_by_subclass(call, args):
                raise
            better = explained(error, function, args, kwargs)
            if better is error:
                raise
            raise better from error
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            trace = error.__traceback__
            if kwargs and type(error) is TypeError and trace is not None and trace.tb_next is None:
                plan = _respelling(function, tuple(kwargs))  # the function did not begin
                if plan is not None:
                    return _respelled(call, plan, args, kwargs)
            if not _called_by_subclass(call, args):
                _name(error, function, args, kwargs)
            raise

    call.guarded = True  # type: ignore[attr-defined]
    if module is not None:
        call.__module__ = module
    return call


def guard(namespace: MutableMapping[str, Any], names: list[str] | None = None) -> None:
    """Guard the public functions and classes of a module, given by its globals().

    names: those in question; None: its `__all__`.
    """
    module = namespace["__name__"]
    for name in namespace["__all__"] if names is None else names:
        value = namespace.get(name)
        if inspect.isfunction(value) or (inspect.isclass(value) and _is_ours(value)):
            namespace[name] = guarded(value, module)


def _is_ours(kind: type) -> bool:
    # An exception is made in the midst of an error, and a tuple's fields are its own.
    return kind.__module__.startswith("minitorch") and not issubclass(kind, (Exception, tuple))


# ---------------------------------------------------------------------- other spellings
# NumPy's names of arguments, which PyTorch takes as well, and what they may be called here.
_OTHER_NAMES = {
    "axis": ("dim", "dims"),
    "axes": ("dim", "dims"),
    "keepdims": ("keepdim",),
    "x": ("input",),
    "x1": ("input",),
    "x2": ("other",),
    "self": ("input",),
}


_MEANINGLESS = ("memory_format", "layout", "pin_memory")  # see `formats`


class _Respelling(NamedTuple):
    """How given keywords become those of a function."""

    names: dict[str, str]
    spread: str | None  # the keyword whose elements the function takes one by one, as `*dims`
    out: bool


@cache
def _respelling(function: Callable[..., Any], given: tuple[str, ...]) -> _Respelling | None:
    """What to call the keywords that a function does not know; None: one is not known at all."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    star = next((n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    names, spread, out = {}, None, False
    for name in given:
        targets = (name, *_OTHER_NAMES.get(name, ()))
        target = next((t for t in targets if t in parameters), None)
        if target is None and name == "out":
            out = True
        elif target is None and name in _MEANINGLESS:
            continue
        elif target is None:
            return None
        elif target == star:
            spread = name
        else:
            names[name] = target
    return _Respelling(names, spread, out)


def _respelled(
    call: Callable[..., Any], plan: _Respelling, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if plan.spread is not None:
        args = (*args, kwargs[plan.spread])
    renamed = {target: kwargs[name] for name, target in plan.names.items()}
    if not plan.out or kwargs["out"] is None:
        return call(*args, **renamed)
    return writer.into(call.__name__, kwargs["out"], call, *args, **renamed)


class Writer:
    """What `out=` does: into(name, out, function, *args, **kwargs) writes a result into `out`.

    `ops.inplace` fills it in, which knows tensors.
    """

    into: Callable[..., Any]


writer = Writer()


# ---------------------------------------------------------------------- what went wrong
def explained(
    error: Exception, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Exception:
    """The error that the caller of function(*args, **kwargs) can use; the same from users' code."""
    if _from_users_code(error.__traceback__):
        return error
    name = _name_of(function, args)
    if isinstance(error, MemoryError):
        return OutOfMemoryError(f"{name}: out of memory: {error}")
    if isinstance(error, ArithmeticError):
        return ValueError(f"{name}: a number is out of range: {error}")
    given = list(_arguments(function, args, kwargs))
    if isinstance(error, KeyError):
        text = error.args[0] if error.args else ""
        if type(error) is not KeyError or (isinstance(text, str) and " " in text):
            return error  # it was meant
        wrong = [a for a, value, _ in given if _same(value, error.args[:1])]
        return ValueError(f"{name}: {wrong[0] + ': ' if wrong else ''}there is no {error}")
    culprit = getattr(error, "obj", None)
    if isinstance(culprit, ModuleType):
        return error  # our own mistake
    for argument, value, annotation in given:
        if value is culprit and not (value is None and "None" in annotation):
            return _unexpected(name, argument, value, annotation)
    for argument, value, annotation in given:
        if annotation == "Tensor" and not hasattr(value, "array"):
            return _unexpected(name, argument, value, annotation)
    return TypeError(f"{name}: an argument is of the wrong type: {error}")


def _name(
    error: Exception, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Let an error that names no function say in which, and a TypeError what that was given."""
    name, text = _name_of(function, args), str(error)
    plain = type(error) in (TypeError, ValueError, RuntimeError, IndexError)
    if not plain or name in text or _NAMED.match(text) or _from_users_code(error.__traceback__):
        return
    if type(error) is TypeError:
        given = ", ".join(
            f"{argument}: {type(value).__name__}"
            for argument, value, _ in _arguments(function, args, kwargs)
            if "[" not in argument and argument != "self"
        )
        text += f" (given {given})"
    error.args = (f"{name}: {text}",)


def _name_of(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    return type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__


def _called_by_subclass(call: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether this is an __init__ within that of another class of ours, which knows more."""
    if call.__name__ != "__init__" or not args:
        return False
    own = (vars(kind).get("__init__") for kind in type(args[0]).__mro__)
    return next((init for init in own if hasattr(init, "guarded")), call) is not call


def _unexpected(name: str, argument: str, value: Any, annotation: str) -> TypeError:
    wanted = "a tensor" if "Tensor" in annotation else annotation
    expected = f"expected {wanted}, got" if wanted not in ("", "Any") else "did not expect"
    return TypeError(f"{name}: {argument}: {expected} {type(value).__name__}")


def _from_users_code(trace: TracebackType | None) -> bool:
    """Whether an error came through code that is neither ours nor of what we are built on."""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in _OURS and package not in sys.stdlib_module_names:
            return True
        trace = trace.tb_next
    return False


def _same(value: Any, key: tuple[Any, ...]) -> bool:
    return bool(key) and type(value) is type(key[0]) and value is key[0]


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Any, str]]:
    """Name, value and annotation of what was given; elements of lists and dicts come too."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return
    for name, value in bound.items():
        parameter = signature.parameters[name]
        annotation = parameter.annotation
        said = "" if annotation is parameter.empty else str(annotation)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield from ((n, v, said) for n, v in _elements(name, value))
        else:
            yield name, value, said
            yield from ((n, v, said) for n, v in _elements(name, value))


def _elements(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        for i, element in enumerate(value):
            yield f"{name}[{i}]", element
            yield from _elements(f"{name}[{i}]", element)
    elif isinstance(value, dict):
        for key, element in value.items():
            yield f"{name}[{key!r}]", element

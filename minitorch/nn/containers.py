"""Modules that hold modules or parameters: Sequential, lists and dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeVar, overload

from minitorch import fused
from minitorch.core import dispatch
from minitorch.core.tensor import Tensor
from minitorch.nn import functional as F
from minitorch.nn.activations import GELU, ReLU, Sigmoid, Tanh
from minitorch.nn.layers import BatchNorm1d, Dropout, LayerNorm, Linear
from minitorch.nn.module import Module, Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

L = TypeVar("L", bound="_Numbered")


class _Numbered(Module):
    """Children in order, counted from 0; what Sequential and ModuleList share."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    def _name(self, index: int) -> str:
        names = list(self._modules)
        if not -len(names) <= index < len(names):
            raise IndexError(f"index {index} is out of range for {len(names)} modules")
        return names[index]

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self: L, index: slice) -> L: ...
    def __getitem__(self: L, index: int | slice) -> Module | L:
        if not isinstance(index, slice):
            return getattr(self, self._name(index))  # type: ignore[no-any-return]
        part = self._empty(type(self))
        for name, module in list(self._modules.items())[index]:
            part.add_module(name if isinstance(self, Sequential) else str(len(part)), module)
        return part

    def _empty(self: L, kind: type[L]) -> L:
        """Such a container, or its base where it is not made as that is."""
        base = Sequential if isinstance(self, Sequential) else ModuleList
        return (kind if kind.__init__ is base.__init__ else base)()  # type: ignore

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index]
        self._renumber(modules)

    def _renumber(self, modules: list[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        self.extend(modules)

    def append(self: L, module: Module) -> L:
        """Add `module` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: L, modules: Iterable[Module]) -> L:
        """Add all `modules` at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put `module` before position `index`."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def pop(self, index: int = -1) -> Module:
        """Take the module at `index` out and return it."""
        module = self[index]
        del self[index]
        return module

    def __iadd__(self: L, modules: Iterable[Module]) -> L:
        return self.extend(modules)

    def __add__(self: L, modules: Iterable[Module]) -> L:
        whole = Sequential() if isinstance(self, Sequential) else ModuleList()
        return whole.extend([*self, *modules])  # type: ignore


class Sequential(_Numbered):
    """Feeds its input through the modules in order.

    `Sequential(a, b, ...)`, or `Sequential({"name": a, ...})` to name them.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> model(minitorch.ones(5, 3)).shape
    minitorch.Size([5, 2])
    >>> sum(p.numel() for p in model.parameters())
    26
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0] if len(args) == 1 and isinstance(args[0], Mapping) else None
        for name, module in named.items() if named is not None else enumerate(args):
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        values = self.__dict__
        modules = []
        for name, kind in self._kinds.items():
            if kind == "module":
                modules.append(values[name])
        fuses = not dispatch.observed and _functions(F) == _FUNCTIONS
        padded = [*modules, None, None]
        behind = 0  # modules whose work the one before has done
        for i, module in enumerate(modules):
            if behind:
                behind -= 1
            elif (
                fuses
                and type(module) in _TAKE_ALONG
                and isinstance(input, Tensor)
                and _untouched(module)
            ):
                activation = _ACTIVATIONS.get(type(padded[i + 1]), "none")
                if activation != "none" and not _untouched(padded[i + 1]):
                    activation = "none"
                elif activation == "gelu" and getattr(padded[i + 1], "approximate", "") == "tanh":
                    activation = "gelu_tanh"
                behind = int(activation != "none")
                last = padded[i + 1 + behind]
                p = _dropped(last) if type(last) is Dropout else 0.0
                if type(module) is Linear and not (p and behind):
                    input = fused.linear(input, module.weight, module.bias, activation)
                else:
                    input, behind = _together(module, input, activation, p)
            else:
                input = module(input)
        return input


def _together(
    layer: Linear | BatchNorm1d | LayerNorm, input: Tensor, activation: str, p: float
) -> tuple[Tensor, int]:
    """The layer with what kernels can do at once behind it, and the number of modules done."""
    if isinstance(layer, BatchNorm1d):
        p = p if layer.training else 0.0
        return layer.forward_with(input, activation, p), (activation != "none") + (p > 0)
    result = layer.forward(input)
    if not p or activation == "none":
        return result, 0
    # The kernel saves `result`, which no one else can change.
    return fused.activation_dropout(result, activation, p), 2


def _dropped(module: Any) -> float:
    """The p of dropout that another kernel can do; else 0."""
    done = module.training and not module.inplace and module.p < 1 and _untouched(module)
    return module.p if done else 0.0


_ACTIVATIONS: dict[Any, str] = {kind: kind.__name__.lower() for kind in (ReLU, Tanh, Sigmoid, GELU)}
_TAKE_ALONG: tuple[Any, ...] = (Linear, BatchNorm1d, LayerNorm)  # and what is behind them
_CALL = Module.__call__
_FORWARDS: dict[type, Any] = {kind: kind.forward for kind in (*_TAKE_ALONG, *_ACTIVATIONS, Dropout)}
# The functions that the forwards call, which a user may have replaced.
_functions = attrgetter("linear", "batch_norm", "dropout", *_ACTIVATIONS.values())
_FUNCTIONS = _functions(F)


def _untouched(module: Any) -> bool:
    """Whether a module has the forward of its class and no hooks."""
    values, kind = module.__dict__, type(module)
    return (
        kind.forward is _FORWARDS[kind]
        and kind.__call__ is _CALL
        and not (
            values["_forward_hooks"]
            or values["_forward_pre_hooks"]
            or "forward" in values
            or values.get("approximate", "none") not in ("none", "tanh")
        )
    )


class ModuleList(_Numbered):
    """A list of modules; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())


class ModuleDict(Module):
    """A dict of modules in order of insertion; it has no forward of its own."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)  # type: ignore[no-any-return]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return self._kinds.get(key) == "module"

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return names with modules."""
        return self._modules.items()  # type: ignore[return-value]

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules from a mapping or from (name, module) pairs."""
        for name, module in dict(modules).items():
            self[name] = module

    def pop(self, key: str) -> Module:
        """Take the module `key` out and return it."""
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for name in list(self):
            del self[name]


P = TypeVar("P", bound="_Parameters")


class _Parameters(Module):
    """Values by name, in order; what ParameterList and ParameterDict share.

    A Tensor becomes a Parameter, and other values stay as they are. There is no forward.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}

    def _put(self, key: str, value: Any) -> None:
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
        setattr(self, key, Parameter(value) if plain else value)
        self._keys[key] = None

    def __len__(self) -> int:
        return len(self._keys)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{type(self).__name__} should not be called.")

    def extra_repr(self) -> str:
        return "\n".join(f"  ({key}): {_described(getattr(self, key))}" for key in self._keys)


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(map(str, value.shape))
    return f"{kind} containing: [{value.dtype} of size {size}]"


class ParameterList(_Parameters):
    """A list of parameters; each Tensor put into it becomes one."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def _key(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} parameters")
        return str(index % len(self))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(*index.indices(len(self)))])
        return getattr(self, self._key(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self._put(self._key(index), value)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __iadd__(self: P, values: Iterable[Any]) -> P:
        return self.extend(values)  # type: ignore[attr-defined, no-any-return]

    def append(self: P, value: Any) -> P:
        """Add a value at the end."""
        self._put(str(len(self)), value)
        return self

    def extend(self: P, values: Iterable[Any]) -> P:
        """Add all values at the end; TypeError for a Tensor, which is one value."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(
                f"ParameterList.extend: values: expected an iterable, got {type(values).__name__}"
            )
        for value in list(values):
            self.append(value)  # type: ignore[attr-defined]
        return self


class ParameterDict(_Parameters):
    """A dict of parameters in order of insertion; each Tensor put into it becomes one."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"ParameterDict: expected a str as key, got {type(key).__name__}")
        self._put(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        del self._keys[key]
        delattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __or__(self, other: Any) -> ParameterDict:
        return ParameterDict({**dict(self.items()), **dict(other.items())})

    def __ior__(self, other: Any) -> ParameterDict:
        self.update(other)
        return self

    def copy(self) -> ParameterDict:
        """Return another dict of the same parameters."""
        return ParameterDict(dict(self.items()))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        return getattr(self, key) if key in self else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, which is `default` if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take the value of `key` out and return it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last pair out and return it."""
        if not self._keys:
            raise KeyError("popitem: the ParameterDict is empty")
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        """Take all values out."""
        for key in list(self):
            del self[key]

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """Return the values."""
        return [self[key] for key in self]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names with values."""
        return [(key, self[key]) for key in self]

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """Return a new dict with one value for all `keys`."""
        return ParameterDict(dict.fromkeys(keys, default))

    def update(self, parameters: Any) -> None:
        """Add or replace values from a mapping or from (name, value) pairs."""
        named = parameters.items() if hasattr(parameters, "items") else parameters
        for key, value in named:
            self[key] = value

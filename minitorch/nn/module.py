"""Parameter and Module: what layers and models are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from minitorch import recording
from minitorch.backend import Device
from minitorch.boundary import explained
from minitorch.core.dtypes import bfloat16, float16, float32, float64
from minitorch.core.dtypes import dtype as DType
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import RemovableHandle, Tensor
from minitorch.nn.hooks import BackwardHook, observer_of
from minitorch.underived import update

__all__ = ["Module", "Parameter"]

T = TypeVar("T", bound="Module")


class Parameter(Tensor):
    """A leaf tensor that a Module lists as trainable once it is set as an attribute.

    It shares its storage with `data`. Raises TypeError if `data` is not a Tensor.
    """

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}")
        self.array, self.node, self.version = data.array, None, [0]
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class IncompatibleKeys(NamedTuple):
    """The keys that `load_state_dict` did not find, and those that it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self[0]}, unexpected_keys={self[1]})"


class EndlessRecursion(RecursionError):
    """Modules that call each other in a circle, with no case that ends the recursion."""


_MANY = 10  # calls of one module inside each other: fewer are a recursion that ends


def _circle() -> str | None:
    """The error message for modules whose calls go in a circle on the stack; None without one."""
    calls: list[Module] = []  # the innermost first
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is Module.__call__.__code__:
            calls.append(frame.f_locals["self"])
        frame = frame.f_back
    for i, module in enumerate(calls):
        again = next((j for j in range(i + 1, len(calls)) if calls[j] is module), None)
        if again is not None and sum(m is module for m in calls) >= _MANY:
            names = " -> ".join(type(m).__name__ for m in reversed(calls[i : again + 1]))
            return (
                f"the forward of {type(module).__name__} calls itself without an end: {names}; a "
                "cycle of modules has no value: for a loop through time pass the state along, as "
                "nn.RNNCell does, and a recursion needs a case in which it stops"
            )
    return None


class Module:
    """Base class of layers and models.

    A Parameter, a Module or a buffer that is set as an attribute is registered under that name.
    The values live in the instance as ordinary attributes, so reading them costs nothing extra;
    `_kinds` remembers which names are registered and as what, in order of registration.

    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(minitorch.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool
    _kinds: dict[str, str]
    _volatile: set[str]
    _forward_hooks: dict[int, tuple[Any, bool]]
    _forward_pre_hooks: dict[int, tuple[Any, bool]]  # also the backward hooks: see `hooks`
    _stamp = 0  # the version stamp of the last change, for compiled steps: see `_guarded`

    def __init__(self) -> None:
        self.__dict__.update(
            training=True, _kinds={}, _volatile=set(), _forward_hooks={}, _forward_pre_hooks={}
        )

    def _forward_missing(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass writes its own `forward`."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._forward_hooks or self._forward_pre_hooks or recording.recorder:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except RecursionError as error:
            circle = None if isinstance(error, EndlessRecursion) else _circle()
            if circle is None:
                raise
            raise EndlessRecursion(circle) from None
        except AttributeError as error:
            if isinstance(error.obj, Module):
                raise
            better = explained(error, type(self).forward, (self, *args), kwargs)
            if better is error:
                raise
            raise better from error

    # ---- registration

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._register("parameter", name)
        elif isinstance(value, Module):
            self._check_no_cycle(name, value)
            self._register("module", name)
        else:
            kind = self.__dict__.get("_kinds", {}).get(name)
            fits = value is None or (kind == "buffer" and isinstance(value, Tensor))
            if kind and not fits:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as {kind} '{name}' "
                    f"({_CLASSES[kind].__name__} or None expected)"
                )
        object.__setattr__(self, name, value)
        self.__dict__["_stamp"] = recording.edited()

    def __copy__(self: T) -> T:
        """A copy that shares parameters and buffers; new ones and hooks are of one module alone."""
        twin = type(self).__new__(type(self))
        own = (name for name, kind in Module.__annotations__.items() if name[0] == "_")
        twin.__dict__.update(self.__dict__, **{name: copy(self.__dict__[name]) for name in own})
        return twin

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._kinds.pop(name, None)
        self._volatile.discard(name)
        self._edited()

    def _register(self, kind: str, name: str) -> None:
        kinds = self.__dict__.get("_kinds")
        if kinds is None:
            raise AttributeError(
                f"cannot assign {kind} '{name}' before Module.__init__() call: "
                f"call super().__init__() first in {type(self).__name__}.__init__"
            )
        if kinds.get(name) != kind:
            kinds.pop(name, None)
            kinds[name] = kind
            self._volatile.discard(name)

    def _check_no_cycle(self, name: str, child: Module) -> None:
        """Raise ValueError where the child has this module below it: iteration would never end."""
        if any(module is self for module in child.modules()):
            raise ValueError(
                f"cannot register {type(child).__name__} as '{name}' of {type(self).__name__}: "
                "a module may not contain itself; for a loop through time pass the state along, "
                "as nn.RNNCell does, and keep other references in a tuple or list"
            )

    def _register_checked(self, kind: str, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string, got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got "{name}"')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if value is not None and not isinstance(value, _CLASSES[kind]):
            raise TypeError(
                f"cannot assign '{type(value).__name__}' object to {kind} '{name}' "
                f"({_CLASSES[kind].__name__} or None required)"
            )
        registered = self.__dict__.get("_kinds", {}).get(name)
        if registered != kind and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")
        if isinstance(value, Module):
            self._check_no_cycle(name, value)
        self._register(kind, name)
        self.__dict__[name] = value
        self._edited()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register `param` under `name`; None reserves the name."""
        self._register_checked("parameter", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is state but not trained; `persistent`: part of state_dict."""
        self._register_checked("buffer", name, tensor)
        (self._volatile.discard if persistent else self._volatile.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register `module` as the child `name`."""
        self._register_checked("module", name, module)

    register_module = add_module

    def _registered(self, kind: str) -> dict[str, Any]:
        values = self.__dict__
        return {name: values[name] for name, k in self._kinds.items() if k == kind}

    @property
    def _parameters(self) -> dict[str, Parameter | None]:
        return self._registered("parameter")

    @property
    def _buffers(self) -> dict[str, Tensor | None]:
        return self._registered("buffer")

    @property
    def _modules(self) -> dict[str, Module | None]:
        return self._registered("module")

    # ---- iteration over the tree

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct children with their names, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct children, each once."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        below = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in below if recurse else [(prefix, self)]:
            for name, value in module._registered(kind).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield _join(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their dotted names; a tied one once, unless told otherwise."""
        return self._named_members("parameter", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, each once."""
        return (value for _, value in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with their dotted names."""
        return self._named_members("buffer", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, each once."""
        return (value for _, value in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module at the dotted path `target`; AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not a Module")
        return module

    def _get_member(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if module._kinds.get(name) != kind:
            raise AttributeError(f"`{name}` is not a {kind}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at the dotted path `target`; AttributeError if there is none."""
        return self._get_member("parameter", target)  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at the dotted path `target`; AttributeError if there is none."""
        return self._get_member("buffer", target)  # type: ignore[no-any-return]

    # ---- changing everything below

    def apply(self: T, fn: Callable[[Module], None]) -> T:
        """Call `fn` on every child, then on this module; return this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: T, mode: bool = True) -> T:
        """Switch training behaviour (dropout, batch statistics) on or off, all the way down."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: T) -> T:
        """Switch to evaluation: the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Make all parameters require gradients, or freeze them."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        zero_grads(self.parameters(), set_to_none)

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Move to a device and/or cast floating-point parameters and buffers to a dtype.

        `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`, or by keyword. Parameters
        stay the same objects, so an optimizer made before goes on working. `non_blocking` is
        that of `Tensor.to`.
        """
        device, dtype, non_blocking = _parse_to(*args, **kwargs)

        def convert(tensor: Tensor) -> Tensor:
            if dtype is not None and tensor.is_floating_point():
                tensor = tensor.to(dtype)
            if device is None:
                return tensor
            return tensor.to(device, non_blocking=non_blocking)

        return self._convert(convert)

    def _convert(self: T, convert: Callable[[Tensor], Tensor]) -> T:
        for param in self.parameters():
            grad = param.grad
            param.data = convert(param.data)
            if isinstance(grad, RowGrad):
                values = convert(grad.values)
                param.grad = RowGrad(grad.indices.to(values.device), values, grad.shape)
            elif grad is not None:
                param.grad = convert(grad)
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module.__dict__[name] = convert(buffer)
            module._edited()
        return self

    def float(self: T) -> T:
        """Cast floating-point parameters and buffers to float32."""
        return self.to(float32)

    def double(self: T) -> T:
        """Cast floating-point parameters and buffers to float64."""
        return self.to(float64)

    def half(self: T) -> T:
        """Cast floating-point parameters and buffers to float16."""
        return self.to(float16)

    def bfloat16(self: T) -> T:
        """Cast floating-point parameters and buffers to bfloat16."""
        return self.to(bfloat16)

    def cpu(self: T) -> T:
        """Move parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self: T, device: int | str | Device | None = None) -> T:
        """Move parameters and buffers to a GPU, given by number or name; None: the current one."""
        return self.to(Device.cuda(device))

    # ---- state

    def state_dict(
        self,
        *,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Return parameters and persistent buffers by dotted name.

        The tensors are detached and share storage with the module's; `keep_vars` gives
        the parameters themselves.
        """
        state = {} if destination is None else destination
        for name, value in [*self._parameters.items(), *self._buffers.items()]:
            if value is not None and name not in self._volatile:
                state[prefix + name] = value if keep_vars else value.detach()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy the tensors of `state_dict` into parameters and buffers of the same names.

        Raises RuntimeError that lists every missing key, unexpected key (both only if `strict`)
        and size mismatch; unlike PyTorch's, a load that fails changes nothing.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}."
            )
        own = self.state_dict(keep_vars=True)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        shared = [name for name in own if name in state_dict]
        errors = []
        if strict and missing:
            errors.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
        if strict and unexpected:
            errors.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
        errors += [e for name in shared if (e := _mismatch(name, own[name], state_dict[name]))]
        if errors:
            raise RuntimeError(
                "\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *errors])
            )
        with no_grad():
            for name in shared:
                own[name].copy_(state_dict[name].to(own[name].device))
        return IncompatibleKeys(missing, unexpected)

    # ---- hooks

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once the gradients of the inputs are known.

        Both are tuples, with None for what has no gradient (PyTorch has zeros for an argument that
        does not require one); grad_input is for the positional arguments. It may return another
        grad_input. Where no argument has a gradient, the hook is called with those of the outputs.
        A call of a module that has such hooks copies its arguments and outputs.
        """
        return self._add_hook(
            "register_full_backward_hook",
            self._forward_pre_hooks,
            (BackwardHook(hook, False), False),
            prepend,
        )

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the backward pass of each forward.

        It may return another grad_output.
        """
        return self._add_hook(
            "register_full_backward_pre_hook",
            self._forward_pre_hooks,
            (BackwardHook(hook, True), False),
            prepend,
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; it may return new arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)` and returns `(args, kwargs)` or None.
        """
        return self._add_hook(
            "register_forward_pre_hook", self._forward_pre_hooks, (hook, with_kwargs), prepend
        )

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; it may return a new output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`.
        """
        return self._add_hook(
            "register_forward_hook", self._forward_hooks, (hook, with_kwargs), prepend
        )

    def _add_hook(
        self,
        name: str,
        hooks: dict[int, tuple[Any, bool]],
        registered: tuple[Any, bool],
        prepend: bool,
    ) -> RemovableHandle:
        hook = registered[0].hook if isinstance(registered[0], BackwardHook) else registered[0]
        if not callable(hook):
            raise TypeError(f"{name}: hook: expected something to call, got {type(hook).__name__}")
        earlier = list(hooks.items())
        handle = RemovableHandle(hooks, registered, self._edited)
        if prepend:
            for key, other in earlier:
                del hooks[key]
                hooks[key] = other
        return handle

    def _edited(self) -> None:
        self.__dict__["_stamp"] = recording.edited()

    def _guarded(self) -> list[Any]:
        """The guarded values of a replay: every attribute and every hook."""
        values = [value for name, value in self.__dict__.items() if name != "_stamp"]
        tensors = [v for v in values if isinstance(v, Tensor)]
        values += [part for v in tensors for part in (v.array, v.node)]
        return [*values, *self._forward_hooks, *self._forward_pre_hooks]

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for module in self.modules() if recording.recorder else ():
            recording.guard(module)
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            if isinstance(hook, BackwardHook):
                continue
            if with_kwargs:
                result = hook(self, args, kwargs)
                if result is not None:
                    args, kwargs = result
            else:
                result = hook(self, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)
        observer = observer_of(self)
        if observer is not None:
            args = observer.inputs(args)
        output = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._forward_hooks.values()):
            result = hook(self, args, kwargs, output) if with_kwargs else hook(self, args, output)
            if result is not None:
                output = result
        return output if observer is None else observer.outputs(output)

    # ---- printing

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the repr; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if not children and len(lines) < 2:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines + children) + "\n)"


_CLASSES: dict[str, type] = {"parameter": Parameter, "buffer": Tensor, "module": Module}


_fill_all_ = update("fill_all_")


def zero_grads(params: Iterable[Tensor], set_to_none: bool) -> None:
    """Drop the gradients of `params`, or fill them with zeros."""
    if set_to_none and not recording.recorder:
        for param in params:
            node = param.node
            if node is not None:
                node.grad = None
            elif param.grad is not None:
                param.grad = None
        return
    filled: dict[Device, list[Tensor]] = {}
    for param in params:
        node = param.node
        if recording.recorder and node is not None:
            recording.gradient(node, reads=not set_to_none)
        grad = param.grad if node is None else node.grad
        if grad is None:
            continue
        if set_to_none or isinstance(grad, RowGrad):
            param.grad = None
            continue
        grad.node = None
        filled.setdefault(grad.device, []).append(grad)
    for grads in filled.values():
        _fill_all_((grads,), (), value=0)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _mismatch(name: str, own: Tensor, given: Any) -> str | None:
    if not isinstance(given, Tensor):
        return f"{name}: expected a Tensor, got {type(given).__name__}."
    if tuple(given.shape) != tuple(own.shape):
        return (
            f"size mismatch for {name}: copying a param with shape {tuple(given.shape)} from "
            f"checkpoint, the shape in current model is {tuple(own.shape)}."
        )
    return None


def _parse_to(
    *args: Any, device: Any = None, dtype: DType | None = None, non_blocking: bool = False
) -> tuple[Any, DType | None, bool]:
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, bool):
            non_blocking = arg
        elif arg is not None:
            device = arg
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"nn.Module.to only accepts floating point dtypes, got {dtype}")
    return device, dtype, non_blocking

"""Finding an op's kernel, and the one stack of interceptors of kernels, rules and nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

from minitorch import backend, recording
from minitorch.core.tensor import Node, Saved, Tensor, restore, saved_of

Function = Callable[..., Any]


class KernelsByType(dict[type, Function]):
    """An op's kernel for each array type, filled on first use; wrappers may replace kernels.

    plain: the kernels without the stack's wrappers; None while the stack is empty.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.plain: dict[type, Function] | None = None

    def __missing__(self, array_type: type) -> Function:
        serving = backend.of_type(array_type)
        try:
            kernel = serving.kernels[self.name]
        except KeyError:
            raise NotImplementedError(
                f"{self.name}: device '{serving.name}' has no such op"
            ) from None
        with wrapping:
            self[array_type] = kernel = self._wrapped(array_type, kernel)
        return kernel

    def _wrapped(self, array_type: type, kernel: Function) -> Function:
        for on in stack:
            if on.kernel is not None:
                kernel = on.kernel(REGISTRY[self.name], array_type, kernel)
        return kernel

    def renew(self) -> None:
        """Wrap the kernels by the current stack; the caller holds the lock `wrapping`."""
        served = [there.array_type for there in backend.registered()]
        plain = self if self.plain is None else self.plain
        plain = self.plain = {t: plain[t] for t in served if t in plain}
        for array_type in [t for t in self if t not in plain]:
            del self[array_type]
        self.update({t: self._wrapped(t, kernel) for t, kernel in plain.items()})
        if not stack:
            self.plain = None


def require_new(name: str) -> None:
    """Raise ValueError if there is an op of this name."""
    if name in REGISTRY:
        raise ValueError(f"op: name: there is an op of the name {name!r} already")


class AnyOp:
    """The maker of a node: an op of the registry, a user's function, or a compiled step.

    vjp(node, g) gives a gradient (or None) for each parent; jvp(node, tangents) the tangent of
    the result, where a tangent is None for an argument that does not vary.
    """

    __slots__ = ()
    name: str
    vjp: Any
    jvp: Any
    family = "function"
    reference: Function | None = None
    view = False

    def saved(self, node: Node) -> tuple[Sequence[Saved | None], Saved | None]:
        """A node's saved arguments and its saved result, as far as its rules need them."""
        return (), None


class Op(AnyOp):
    """One op: its kernels by array type and its derivative rules.

    layout(node) finds the result of the method `saved` in `node.saved`.
    """

    __slots__ = (
        *("kernels", "family", "jvp", "layout", "name", "parts", "reference", "rules", "view"),
        "vjp",
    )

    def __init__(
        self,
        name: str,
        family: str,
        vjp: Function | None = None,
        jvp: Function | None = None,
        view: bool = False,
        reference: Function | None = None,
        layout: Callable[[Node], tuple[Sequence[Saved | None], Saved | None]] | None = None,
    ) -> None:
        require_new(name)
        self.name = name
        self.family = family
        self.kernels = KernelsByType(name)
        self.rules = vjp, jvp
        self.view = view
        self.reference = reference
        self.layout = layout
        self.parts: Function | None = None  # see `fused`
        with wrapping:
            self.renew()
            REGISTRY[name] = self

    def renew(self) -> None:
        """Wrap kernels and rules by the current stack; the caller holds the lock `wrapping`."""
        self.kernels.renew()
        vjp, jvp = self.rules
        self.vjp = vjp and wrapped_rule("vjp", vjp)
        self.jvp = jvp and wrapped_rule("jvp", jvp)

    def saved(self, node: Node) -> tuple[Sequence[Saved | None], Saved | None]:
        """A node's saved arguments and its saved result, as far as its rules need them."""
        return self.layout(node) if node.saved and self.layout is not None else ((), None)

    def inputs(self, node: Node) -> list[Tensor]:
        """A node's saved arguments; RuntimeError where one was changed or is freed."""
        saved_of(node)
        arguments, result = self.saved(node)
        tensors = [restore(self, s) for s in (*arguments, result) if s is not None]
        return tensors[: len(node.parents)]

    def __repr__(self) -> str:
        return f"<op {self.name}, {self.family}>"


REGISTRY: dict[str, Op] = {}


# ---------------------------------------------------------------------- interception
# A thread that changes the stack, or asks for a kernel that depends on it, holds the lock.
stack: list[intercepted] = []  # the last interceptor is the outermost
wrapping = RLock()
observed = False  # whether an interceptor other than a recorder is on, which a replay would miss


class intercepted:
    """An interceptor: while it is on, ops call its wrappers of their kernels and rules.

    kernel: `kernel(op, array_type, kernel)` gives the wrapper of a kernel.
    rule: `rule(name, rule)` gives the wrapper of a "vjp", a "jvp", or the "reference" of a fused
    op; the first argument of each is the node.
    node: `node(node)` is called with each new node.
    An interceptor holds on every device and for all threads. Several may be on, in any order and
    from several threads; the latest one is the outermost. Meanwhile compiled steps run as they are.
    records: a recorder. It is the innermost: its recordings run when the others are gone.
    """

    def __init__(
        self,
        kernel: Callable[[Op, type, Function], Function] | None = None,
        rule: Callable[[str, Function], Function] | None = None,
        node: Callable[[Node], None] | None = None,
        records: bool = False,
    ) -> None:
        self.kernel = kernel
        self.rule = rule
        self.node = node
        self.records = records

    def __enter__(self) -> None:
        recording.impossible(
            "ops are looked at while they run (anomaly mode, a flop counter), which a replay would "
            "not be; do so outside of the step"
        )
        with wrapping:
            stack.insert(0 if self.records else len(stack), self)
            _renew()

    def __exit__(self, *_: object) -> None:
        with wrapping:
            stack.remove(self)
            _renew()


def wrapped_rule(name: str, rule: Function) -> Function:
    """A rule in the wrappers of the stack."""
    for on in stack:
        if on.rule is not None:
            rule = on.rule(name, rule)
    return rule


_plain_init = Node.__init__


def _observed_init(node: Node, *args: Any) -> None:
    _plain_init(node, *args)
    for on in stack:
        if on.node is not None:
            on.node(node)


def _renew() -> None:
    global observed
    observed = any(not on.records for on in stack)
    for op in list(REGISTRY.values()):  # another thread may import a module that has ops
        op.renew()
    init: Any = _observed_init if any(on.node for on in stack) else _plain_init
    if Node.__init__ is not init:
        Node.__init__ = init  # type: ignore[method-assign]

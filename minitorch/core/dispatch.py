"""Finding an op's kernel, and what may stand before all of them for a while."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any

from minitorch import backend
from minitorch.core import recording

Function = Callable[..., Any]


class Entries(dict[type, Function]):
    """An op's entry for each array type, filled on first use; anything may stand in for one.

    plain: what was there before the first of the wrappers that are on; None while there is none.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.plain: dict[type, Function] | None = None

    def __missing__(self, array_type: type) -> Function:
        serving = backend.of_type(array_type)
        try:
            entry = serving.entries[self.name]
        except KeyError:
            raise NotImplementedError(
                f"{self.name}: device '{serving.name}' has no such op"
            ) from None
        with wrapping:
            self[array_type] = entry = self._wrapped(array_type, entry)
        return entry

    def _wrapped(self, array_type: type, entry: Function) -> Function:
        for wrap in wrappers:
            entry = wrap(REGISTRY[self.name], array_type, entry)
        return entry

    def renew(self) -> None:
        """Put entries in place as the wrappers are now; `wrapping` is held."""
        served = [there.array_type for there in backend.registered()]
        plain = self if self.plain is None else self.plain
        plain = self.plain = {t: plain[t] for t in served if t in plain}
        for array_type in [t for t in self if t not in plain]:
            del self[array_type]
        self.update({t: self._wrapped(t, entry) for t, entry in plain.items()})
        if not wrappers:
            self.plain = None


def require_new(name: str) -> None:
    """Raise ValueError if there is an op of this name."""
    if name in REGISTRY:
        raise ValueError(f"op: name: there is an op of the name {name!r} already")


class Op:
    """What is known of one op: its entries by array type and its derivative rules.

    vjp(node, g) gives a gradient (or None) for each parent; jvp(node, tangents) the tangent of
    the result, where a tangent is None for an argument that does not vary.
    """

    __slots__ = ("entries", "family", "jvp", "name", "parts", "reference", "view", "vjp")

    def __init__(
        self,
        name: str,
        family: str,
        vjp: Function | None = None,
        jvp: Function | None = None,
        view: bool = False,
        reference: Function | None = None,
    ) -> None:
        require_new(name)
        self.name = name
        self.family = family
        self.entries = Entries(name)
        self.vjp = vjp
        self.jvp = jvp
        self.view = view
        self.reference = reference
        self.parts: Function | None = None  # see `fused`
        REGISTRY[name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}, {self.family}>"


REGISTRY: dict[str, Op] = {}
Wrap = Callable[[Op, type, Function], Function]


# ---------------------------------------------------------------------- interception
# What stands before all entries, see `intercepted`; whoever changes it, or asks for an entry that
# depends on it, holds the lock.
wrappers: list[Wrap] = []
wrapping = RLock()
observers: list[Wrap] = []  # those of the wrappers that want to see every call, also a replay's


class intercepted:
    """While it is on, ops call `wrap(op, array_type, entry)` instead of their entry.

    It holds on every device and for all threads. Several may be on, in any order and from several
    threads; the one that came last goes first. While one is on, compiled steps run as they are.
    records: it is a recorder. That goes last: what it records runs when the others are gone.
    """

    def __init__(self, wrap: Wrap, records: bool = False) -> None:
        self._wrap = wrap
        self._records = records

    def __enter__(self) -> None:
        recording.impossible(
            "ops are looked at while they run (anomaly mode, a flop counter), which a replay would "
            "not be; do so outside of the step"
        )
        with wrapping:
            if self._records:
                wrappers.insert(0, self._wrap)
            else:
                wrappers.append(self._wrap)
                observers.append(self._wrap)
            _renew()

    def __exit__(self, *_: object) -> None:
        with wrapping:
            wrappers.remove(self._wrap)
            if not self._records:
                observers.remove(self._wrap)
            _renew()


def _renew() -> None:
    for op in list(REGISTRY.values()):  # another thread may import a module that has ops
        op.entries.renew()

"""Something that stands between all ops and their entries for a while: checks, counts."""

from __future__ import annotations

from minitorch.backend import recording
from minitorch.rules import REGISTRY, Wrap, wrappers, wrapping

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

"""Guards: the objects that a replay relies on beside its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, is_, methodcaller
from typing import Any

from minitorch import autocasting, backend, recording
from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.compiler.recorder import Recorder
from minitorch.compiler.values import alike, kind_of
from minitorch.core import dtypes
from minitorch.core.grad_mode import grad_mode
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Node, Tensor

_array, _node, _stamp = attrgetter("array"), attrgetter("node"), attrgetter("_stamp")
_grad = attrgetter("grad")  # of a node
_call = methodcaller("__call__")


class Guards:
    """Modules, optimizers, tensors, gradients and defaults, as they were after a recording."""

    def __init__(self, recorder: Recorder) -> None:
        self._epoch = recording.epoch
        self._modes = recorder.modes
        self._defaults = _defaults()
        self._owners = [owner for owner, _ in recorder.owners.values()]
        self._before = [values for _, values in recorder.owners.values()]
        self._values = [owner._guarded() for owner in self._owners]
        self._stamps = list(map(_stamp, self._owners))
        self._options = [read for owner in self._owners for read in _options_of(owner)]
        self._seen = list(map(_call, self._options))
        self.entered: list[tuple[Node, Any]] = [
            (node, before) for node, reads, before in recorder.leaves.values() if reads
        ]
        self._entered = [node for node, _ in self.entered]
        self._before_step = [before for _, before in self.entered]
        self.guard([x for values in self._values for x in values if isinstance(x, Tensor)])

    def guard(self, tensors: Iterable[Tensor]) -> None:
        """Guard these tensors: their arrays, whether they are tracked, and their hooks."""
        known = {id(t): t for t in (*getattr(self, "_tensors", ()), *tensors)}
        self._tensors = list(known.values())
        self._arrays = list(map(_array, self._tensors))
        self._nodes = list(map(_node, self._tensors))
        self._hooks = _hooks(self._nodes)
        self._untracked = [t for t in self._tensors if t.node is None]
        self._grads = _grads(self._untracked)

    def changed_by_step(self) -> Any:
        """A module or optimizer with other values after the step than before, or None."""
        for owner, before, after in zip(self._owners, self._before, self._values):
            if not _same(before, after):
                return owner
        return None

    def hold(self) -> bool:
        """Whether all guarded objects are as they were."""
        try:
            now = grad_mode.enabled, autocasting.state.dtypes
            if self._modes != now or self._seen != list(map(_call, self._options)):
                return False
        except (RuntimeError, ValueError):  # unequal tensors or arrays
            return False
        return (recording.epoch == self._epoch or self._unedited()) and (
            all(map(is_, map(_grad, self._entered), self._before_step))  # no Python code for each
            or all(map(_enters, self._entered, self._before_step))
        )

    def _unedited(self) -> bool:
        """Whether no edit since the last check concerns this program."""
        epoch = recording.epoch
        same = (
            all(map(is_, map(_array, self._tensors), self._arrays))
            and all(map(is_, map(_node, self._tensors), self._nodes))
            and self._defaults == _defaults()
            and self._hooks == _hooks(self._nodes)
            and all(map(is_, _grads(self._untracked), self._grads))
            and self._unstamped()
        )
        if same:
            self._epoch = epoch
        return same

    def _unstamped(self) -> bool:
        """Whether modules and optimizers have their stamps, or new ones and the same values."""
        stamps = list(map(_stamp, self._owners))
        for owner, new, old, values in zip(self._owners, stamps, self._stamps, self._values):
            if new != old and not _same(owner._guarded(), values):
                return False
        self._stamps = stamps
        return True


def _options_of(owner: Any) -> list[Callable[[], Any]]:
    """Readers of an owner's values without a stamp, which plain dicts hold."""
    options: list[Callable[[], Any]] = getattr(owner, "_guarded_options", list)()
    return options


def _same(a: list[Any], b: list[Any]) -> bool:
    """The same objects, or equal constants."""
    return len(a) == len(b) and all(x is y or alike(x, y) for x, y in zip(a, b))


def _defaults() -> tuple[Any, ...]:
    return (
        dtypes.get_default_dtype(),
        backend.get_default_device(),
        are_deterministic_algorithms_enabled(),
    )


def _hooks(nodes: Sequence[Node | None]) -> list[list[int]]:
    return [list(n.hooks) if n is not None and n.hooks else [] for n in nodes]


def _grads(tensors: Iterable[Tensor]) -> list[Any]:
    return [getattr(t, "_grad", None) for t in tensors]


def _enters(node: Node, before: Any) -> bool:
    """Whether a leaf's gradient can replace the one with which the step was recorded."""
    grad = node.grad
    if before is None or type(grad) is not type(before):
        return before is grad
    return isinstance(grad, RowGrad) or kind_of(grad.array) == kind_of(before.array)

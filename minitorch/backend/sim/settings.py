"""How the simulated GPU behaves, and changing that for a while."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random
from typing import Any

SCHEDULES = ("forward", "reverse", "random")


@dataclass
class Settings:
    """The simulated GPU's settings.

    checked: kernels run in the build that checks every access.
    counted: checked launches also count the sectors of every warp request, line by line.
    schedule: the order of blocks and threads, "forward", "reverse" or "random".
    seed: of the random schedule; the same seed gives the same order.
    devices: how many GPUs there are. memory: bytes of each.
    deferred: work waits in its stream until somebody synchronises.
    interleaved: streams go on by turns, in a random order that events allow: between the moment
        of the submission and that of a synchronisation. The same seed gives the same order, where
        one thread of the host submits. It goes before `deferred`.
    processors: multiprocessors of a device, from which launchers choose their grids.
    blocks: (first, count) runs only that part of each grid, in the schedule's order; None: all.
    """

    checked: bool = False
    counted: bool = False
    schedule: str = "random"
    seed: int = 0
    devices: int = 2
    memory: int = 16 << 30
    deferred: bool = False
    interleaved: bool = False
    processors: int = 4
    blocks: tuple[int, int] | None = None


settings = Settings()
dice = Random(settings.seed)  # of the order of interleaved streams
_NAMES = tuple(f.name for f in fields(Settings))


class config:
    """Change settings: at once, and back again at the end of a `with` block if used in one.

        config(checked=True)                      # from here on
        with config(schedule="reverse"): ...      # within the block

    None leaves a setting as it is. Raises TypeError for an unknown setting, ValueError for a
    value that there is not.
    """

    def __init__(self, **changes: Any) -> None:
        for name, value in changes.items():
            if name not in _NAMES:
                raise TypeError(f"no setting {name!r}; there are {', '.join(_NAMES)}")
            if name == "schedule" and value is not None and value not in SCHEDULES:
                raise ValueError(f"schedule {value!r}; there are {', '.join(SCHEDULES)}")
            if name in ("devices", "memory", "processors") and value is not None and value < 1:
                raise ValueError(f"{name}={value}: at least 1 is needed")
        changes = {name: value for name, value in changes.items() if value is not None}
        self._before = {name: getattr(settings, name) for name in changes}
        for name, value in changes.items():
            setattr(settings, name, value)
        dice.seed(settings.seed)

    def __enter__(self) -> Settings:
        return settings

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            setattr(settings, name, value)

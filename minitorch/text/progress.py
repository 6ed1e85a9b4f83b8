"""Progress of long work: a bar on a terminal, elsewhere a line of the log now and then."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

_SECONDS = 10.0  # between two lines of the log, at least

logger = logging.getLogger(__name__)


def hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable` for: show a bar, do not, or (None) do where stderr is a terminal."""
    return None if progress is None else not progress


class Progress:
    """Shows how much of the work is done, in a `with` block.

    total: of the work, None if nobody knows. unit: what it is counted in. what: what is done.
    progress: True for a bar, False for none, None for one where stderr is a terminal. Where there
    is none, a line goes to the log (INFO), no more often than every ten seconds.
    """

    def __init__(
        self, what: str, total: int | None, unit: str, progress: bool | None, done: int = 0
    ) -> None:
        self.what, self.total, self.done = what, total, done
        self.bar: tqdm[NoReturn] = tqdm(
            desc=what,
            total=total,
            initial=done,
            unit=unit,
            unit_scale=True,
            disable=hidden(progress),
        )
        self.logged = time.monotonic()

    def name(self, what: str) -> None:
        """Set the name of the work from here on."""
        self.what = what
        self.bar.set_description(what)

    def show(self, done: int, note: str) -> None:
        """Show that so much is done by now; note: a text beside the bar."""
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.done)
        self.done = done
        if self.bar.disable and time.monotonic() - self.logged >= _SECONDS:
            self.logged = time.monotonic()
            share = f" {done / self.total:.1%}," if self.total else ""
            logger.info("%s:%s %s", self.what, share, note)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

"""Waiting, within a bound, for a disk that takes nothing at present."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from harness.clock import UNWATCHED_CLOCK, Clock

PASSING = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN))
"""What may be otherwise a moment later: somebody makes room, a quota is raised, a network's file system comes back."""
_PAUSE = 0.5
"""Seconds between two tries."""


class DiskPatience:
    """Has writes that fail for want of room tried again for a while. Thread-safe as far as its callbacks are.

    One full disk must not end a soak of hours: a message is printed, and somebody may free some space.
    """

    def __init__(
        self,
        seconds: float,
        tell: Callable[[str], None],
        *,
        is_over: Callable[[], bool] = lambda: False,
        clock: Clock = UNWATCHED_CLOCK,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`seconds` is how long one write is tried again, 0 not at all; `tell` gets what a person should know, and must
        write no event; `is_over` says that nobody wants to wait any more."""
        self._seconds = seconds
        self._tell = tell
        self._is_over = is_over
        self._clock = clock
        self._pause = pause

    def write(self, write: Callable[[], None], what: str) -> float:
        """Call `write` until it raises no such error; return the seconds that were waited, 0 where there was no error.
        Raises its OSError where it is another one, or the time is over."""
        began: float | None = None
        while True:
            try:
                write()
            except OSError as error:
                now = self._clock.monotonic()
                if error.errno not in PASSING or not self._seconds or self._is_over():
                    raise
                if began is None:
                    began = now
                    self._tell(
                        f"{what} cannot be written: {error.strerror}; waiting for up to {self._seconds:g} s. Free some "
                        "space, and it goes on"
                    )
                elif now - began >= self._seconds:
                    raise
                self._pause(_PAUSE)
            else:
                if began is None:
                    return 0.0
                waited = self._clock.monotonic() - began
                self._tell(f"{what} can be written again, after {waited:.1f} s")
                return waited


NO_PATIENCE = DiskPatience(0.0, lambda _words: None)

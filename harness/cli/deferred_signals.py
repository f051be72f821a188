"""Signals around the event loop: they end the waits, and never what is being written."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from harness.cli.interrupts import ENDING, reset_after_one
from harness.deadline import Cancellation
from harness.errors import ExitCode

ONE_EVENT = 2.0
"""Seconds within which several signals are one event: a terminal that is closed sends SIGHUP, its shell sends it once
more, and the session's manager SIGTERM (systemd.kill(5), SendSIGHUP)."""


class DeferredSignals:
    """From the first event of a run to its results: a signal that ends programs ends the waits, and what is learnt by
    then is written. To be used in the main thread; at its end as a context manager the handlers are as they were.

    The same signal once more, or another one some time later, ends the process at once for all that; but not SIGHUP,
    which nobody sends by hand.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self.abandon: Callable[[], None] = lambda: None
        """Called before the process ends at once: gives a terminal back, say."""
        self._before = [signal.getsignal(number) for number in ENDING]
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> DeferredSignals:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(ENDING, self._before, strict=True):
            if handler is not None:
                signal.signal(number, handler)

    def install(self) -> None:
        """Handle the signals here. One that is ignored (nohup) stays so."""
        for number, before in zip(ENDING, self._before, strict=True):
            if before is not signal.SIG_IGN:
                signal.signal(number, self._take)
                reset_after_one(number)

    def _is_second(self, number: int) -> bool:
        """Take a signal; whether it is one more that somebody sends to have the process end at once."""
        now = time.monotonic()
        if self._first is None:
            self._first = (number, now)
            return False
        if number == signal.SIGHUP:
            return False
        first, at = self._first
        return number == first or now - at > ONE_EVENT

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._is_second(number):
            # What gives the cursor back may wait for a lock that the interrupted code holds.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(2)
            self.abandon()
            os._exit(int(ExitCode.INTERRUPTED))  # machines end by themselves: their supervisors see that we are gone
        self.install()
        # In a thread of its own: the code that was interrupted may hold the lock that cancelling takes.
        reason = f"interrupted by {signal.Signals(number).name}"
        threading.Thread(target=self._cancellation.cancel, args=(reason,), daemon=True).start()

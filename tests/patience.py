"""How much longer than on a quiet machine a test may take now: one measured factor, for every deadline of the tests.

A deadline in a test is what a quiet machine of two cores needs, with room to spare. On a machine that is slow, or busy
with other work, it is multiplied by :func:`factor`; nothing is run again because it came too late.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import cache

PATIENCE = 10.0
"""Seconds from which on a deadline is one that is not to pass."""
MOST = 8.0
"""The largest factor: a test that has not ended by then hangs."""
_REFERENCE = 0.0040
"""Seconds of CPU that :func:`_work` takes on the machine on which the deadlines were chosen (2026, 2 virtual cores)."""
_TRIES = 5


def factor() -> float:
    """Return by how much deadlines are to be multiplied now, between 1 and `MOST`: how much slower than the reference a
    core is here, times how many processes want each core (the load average of the last minute)."""
    return min(MOST, _slowness() * max(1.0, os.getloadavg()[0] / _cores()))


def scaled(seconds: float) -> float:
    """Return what `seconds` on a quiet machine are on this one, now."""
    return seconds * factor()


def patient(seconds: float) -> float:
    """Return `seconds`, scaled where they are a deadline that is not to pass (ten and more); a shorter time is mostly
    what a test is about."""
    return scaled(seconds) if seconds >= PATIENCE else seconds


class PatientTimer:
    """Calls `expired` after `seconds` times the factor. The factor counts as it is then, so that load that comes in
    between counts too; with `end` (monotonic) not later than that."""

    def __init__(
        self,
        seconds: float,
        expired: Callable[[], None],
        *,
        end: float | None = None,
        measure: Callable[[], float] = factor,
    ) -> None:
        self._seconds = seconds
        self._expired = expired
        self._end = end
        self._measure = measure
        self._began = time.monotonic()
        self._most = measure()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._wait, daemon=True, name="patient-timer")

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def cancel(self) -> None:
        """End the wait; `expired` is not called any more once this has returned."""
        self._cancelled.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _wait(self) -> None:
        while True:
            self._most = max(self._most, self._measure())
            at = self._began + self._seconds * self._most
            if self._end is not None:
                at = min(at, self._end)
            rest = at - time.monotonic()
            if rest <= 0:
                self._expired()
                return
            if self._cancelled.wait(rest):
                return


@cache
def _slowness() -> float:
    """Return how many times slower than the reference a core is, at least 1."""
    return max(1.0, min(_cpu_seconds() for _ in range(_TRIES)) / _REFERENCE)


@cache
def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _cpu_seconds() -> float:
    began = time.thread_time()
    _work()
    return time.thread_time() - began


def _work() -> None:
    digest = b""
    for number in range(8000):
        digest = hashlib.sha256(digest + str(number).encode()).digest()

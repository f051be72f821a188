"""One absolute, monotonic deadline, passed down to every wait.

A wait never takes a time-out in seconds: it takes a :class:`Deadline`, so that nested waits cannot add up
to more than the person asked for. A deadline may carry a :class:`Cancellation`: cancelling it (Ctrl-C, a
panic on the console) ends every wait that holds the deadline, at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from harness.errors import Cancelled, DeadlineExpired


class Clock(Protocol):
    """Where time comes from; tests give a fake one."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""

    def time(self) -> float:
        """Seconds since the epoch, for people and records only."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


SYSTEM_CLOCK: Clock = SystemClock()

LONGEST_WAIT = 20 * 86400.0
"""Seconds that one wait may take. poll(2) takes its time-out in an int of milliseconds, 24.8 days at most; sockets and
subprocesses inherit that, and threading has a limit of its own (`threading.TIMEOUT_MAX`)."""


class AnchoredClock:
    """A clock whose wall time is read once and then advances with its monotonic time.

    The difference of two of its times is a true duration, also where the machine's wall clock is set in between.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        return self._clock.monotonic() + self._offset


class Cancellation:
    """A one-way switch, shared by all waits that must end together. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self.reason = ""

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, reason: str) -> None:
        """Ends all waits; the first reason given is kept. Calling it again does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raises :class:`Cancelled` when it was cancelled."""
        if self.cancelled:
            raise Cancelled(self.reason)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` once when cancelled (now, if it is already); returns the call that unregisters it."""
        with self._lock:
            if not self._event.is_set():
                key = self._next
                self._next += 1
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def _forget(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds` (infinity: until cancelled); true when it was cancelled meanwhile."""
        left = max(0.0, seconds)
        while left > LONGEST_WAIT:
            if self._event.wait(LONGEST_WAIT):
                return True
            left -= LONGEST_WAIT
        return self._event.wait(left)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock after which nothing new is started.

    `at` is in seconds of `clock.monotonic()`; it is infinite where there is no deadline (:meth:`never`).
    """

    at: float
    clock: Clock = SYSTEM_CLOCK
    cancellation: Cancellation = field(default_factory=Cancellation, compare=False)

    @classmethod
    def after(
        cls, seconds: float, *, clock: Clock = SYSTEM_CLOCK, cancellation: Cancellation | None = None
    ) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(clock.monotonic() + seconds, clock, cancellation or Cancellation())

    @classmethod
    def never(cls, *, clock: Clock = SYSTEM_CLOCK, cancellation: Cancellation | None = None) -> Deadline:
        """No deadline: a wait that holds it ends with what it waits for, or with the cancellation."""
        return cls(float("inf"), clock, cancellation or Cancellation())

    def remaining(self) -> float:
        """Seconds that may be waited now: until the deadline, never negative, and at most :data:`LONGEST_WAIT`, which
        every system call and library takes. Who has waited that long looks at `expired`, and waits again."""
        return min(max(0.0, self.at - self.clock.monotonic()), LONGEST_WAIT)

    @property
    def expired(self) -> bool:
        return self.clock.monotonic() >= self.at

    def clamp(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now; shares the cancellation."""
        return Deadline(min(self.at, self.clock.monotonic() + seconds), self.clock, self.cancellation)

    def check(self, doing: str) -> None:
        """Raises :class:`Cancelled` or :class:`DeadlineExpired` when waiting further makes no sense."""
        if self.cancellation.cancelled:
            raise Cancelled(self.cancellation.reason)
        if self.expired:
            raise DeadlineExpired(doing)

    def sleep(self, seconds: float) -> None:
        """Sleeps that long or until the deadline. Raises :class:`Cancelled` at once when cancelled."""
        if self.cancellation.wait(min(seconds, max(0.0, self.at - self.clock.monotonic()))):
            raise Cancelled(self.cancellation.reason)
